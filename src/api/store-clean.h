/* The daily clean-up, in slices. */
#pragma once

#include <sqlite3.h>
#include <stdint.h>

#include "basic/clock.h"

typedef struct StoreClean {
    int32_t checks_days, transitions_days;
    int step;
    int32_t cleaned_day;     /* INT32_MIN: not yet */
    int64_t service;         /* rowid of the last service whose hours were looked at */
    int64_t clock_offset_ms; /* wall minus mono when last looked at */
    uint64_t hold_us;        /* mono; no clean-up before; 0: never looked at the clock yet */
} StoreClean;

void store_clean_init(StoreClean *c, uint32_t checks_days, uint32_t transitions_days);
/* Other limits than before: applied with the next step. */
void store_clean_keep(StoreClean *c, uint32_t checks_days, uint32_t transitions_days);
void store_clean_restart(StoreClean *c); /* another file: begin anew */

/* One slice, a short transaction of its own: drops day tables, makes tomorrow's, deletes old
 * transitions and hours. 1: there is more; 0: done for today, or the clock is not to be trusted. */
int store_clean_step(StoreClean *c, sqlite3 *db, Now now);
