/* See clock.h. CLOCK_BOOTTIME, not CLOCK_MONOTONIC: a PC that slept must find its deadlines passed,
 * not postponed. Both clocks are read in one place so that a test can put its own Now in. */
#include "basic/clock.h"

#include <time.h>

Now clock_now(void)
{
    struct timespec boot, real;

    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &real);
    return (Now){
        .mono_us = (uint64_t)boot.tv_sec * 1000000U + (uint64_t)boot.tv_nsec / 1000U,
        .wall_ms = (int64_t)real.tv_sec * 1000 + real.tv_nsec / 1000000,
    };
}
