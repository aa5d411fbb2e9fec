/* The picture in the terminal: services grouped by PC, a traffic light, words, ages, reasons. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"
#include "common/protocol.h"

typedef struct TableOptions {
    bool colour;
    bool stale;     /* greyed: nobody updates it any more */
    bool ids;       /* alerts with their numbers, for 'ack' */
    unsigned width; /* columns; 0: unlimited */
    int64_t now_ms;
} TableOptions;

/* Rows sorted by (pc_id, app_id), PCs by pc_id. */
void table_render(Buffer *out, const ServiceRow *services, size_t n_services, const PcRow *pcs,
                  size_t n_pcs, const TableOptions *options);

/* One line for a transition, without newline. */
void table_transition(Buffer *out, const TransitionRow *t, const TableOptions *options);

/* One line for an alert, without newline. */
void table_alert(Buffer *out, const AlertRow *alert, const TableOptions *options);

/* "3 d 4 h", "12 min", "8 s", "now": for a span in ms. Returns ret. */
char *table_age(int64_t ms, char *ret, size_t size);

/* "14:00" on the day of now_ms, "2026-11-25 14:00" otherwise; local time. Returns ret. */
char *table_clock(int64_t ms, int64_t now_ms, char *ret, size_t size);

/* Exit code of `status`: 0 all ok, 1 something warns or is down, 3 nothing worse than unknown. */
int table_exit_code(const ServiceRow *services, size_t n);
