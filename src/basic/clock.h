/* The only reader of clocks. Everything else gets the time as an argument.
 *
 * A `Now` is one look at both clocks: mono_us counts through suspend (CLOCK_BOOTTIME) and drives
 * every deadline; wall_ms (CLOCK_REALTIME, Unix ms) is only ever shown and stored, so a clock jump
 * changes no decision. */
#pragma once

#include <stdint.h>

typedef struct Now {
    uint64_t mono_us; /* CLOCK_BOOTTIME, microseconds */
    int64_t wall_ms;  /* CLOCK_REALTIME, Unix milliseconds */
} Now;

Now clock_now(void);
