/* From the model to what is shown: words, ages, counts, orders. Pure: no clock, no GUI, time is an
 * argument. */
#pragma once

#include "monitor/model.h"

/* What a shape and a hue stand for. */
typedef enum Status {
    STATUS_OK,
    STATUS_OFF, /* stopped, as expected */
    STATUS_WARN,
    STATUS_BUSY, /* starting or stopping */
    STATUS_DOWN,
    STATUS_UNKNOWN,
    STATUS_ABSENT, /* that app is not expected on that PC */
    STATUS_MAX
} Status;

#define VIEW_TEXT 64 /* bytes for an age, a time, a duration, a latency */

Status view_status(const ServiceRow *row); /* NULL: STATUS_ABSENT */
Status view_pc_status(const PcRow *row);
Status view_actual_status(Actual actual, Expected expected);
Status view_worst(Status a, Status b);
const char *view_status_word(Status status); /* translated */
const char *view_actual_word(Actual actual); /* translated */
const char *view_expected_word(Expected expected);

/* The word of a PC's own change: "reachable", "unreachable", "no user manager". */
const char *view_pc_actual_word(Actual actual);

/* Ages in steps of 10 s, after a minute in steps of 1 min: all ages on the screen change at the
 * same moments, so a window at rest is drawn anew at most each 10 s. ts 0: "never". */
const char *view_age(char ret[static VIEW_TEXT], int64_t now_ms, int64_t ts);
const char *view_duration(char ret[static VIEW_TEXT], int64_t ms);  /* exact below a minute */
const char *view_latency(char ret[static VIEW_TEXT], int64_t us);   /* -1: a dash */
const char *view_clock(char ret[static VIEW_TEXT], int64_t ts);     /* 23:59:59 */
const char *view_date(char ret[static VIEW_TEXT], int64_t ts);      /* 24 Nov 23:59:59 */
const char *view_day(char ret[static VIEW_TEXT], int64_t ts);       /* Tue 24 Nov */
const char *view_percent(char ret[static VIEW_TEXT], double ratio); /* negative: a dash */
int64_t view_next_tick(int64_t now_ms); /* when an age may change next */

typedef struct Counts {
    size_t pcs, pcs_reachable;
    size_t services; /* rows */
    size_t status[STATUS_MAX];
    size_t attention; /* rows that are neither ok nor off */
    size_t open_alerts;
    uint64_t transitions_24h;
} Counts;

Counts view_counts(const Model *m);
Status view_pc_worst(const Model *m, size_t pc);
Status view_app_worst(const Model *m, size_t app);

/* Contains `needle`, without regard to case in ASCII and Latin-1 letters. An empty needle is in
 * everything. */
bool view_matches(const char *haystack, const char *needle);
bool view_row_matches(const ServiceRow *row,
                      const char *filter); /* app, title, PC, tag, state, sentence */

typedef enum ServiceOrder {
    ORDER_STATUS,
    ORDER_APP,
    ORDER_PC,
    ORDER_SINCE,
    ORDER_CHANGES,
    ORDER_LATENCY,
    ORDER_PORT,
    ORDER_MAX
} ServiceOrder;

/* Fills ret (room for m->n_services) with indexes of rows that pass; returns how many. */
size_t view_attention(const Model *m, uint32_t *ret); /* worst first, then the latest change */
size_t view_services(const Model *m, const char *filter, const char *pc_id, ServiceOrder order,
                     bool descending, uint32_t *ret);
bool view_transition_matches(const Model *m, const Transition *t, const char *filter);
/* Newest first, those that came after number `until` left out (INT64_MAX: none). ret: room for
 * m->n_transitions. */
size_t view_transitions(const Model *m, const char *filter, int64_t until, uint32_t *ret);
/* Open first (newest first), then closed. ret: room for m->n_alerts. */
size_t view_alerts(const Model *m, bool with_closed, uint32_t *ret);
int64_t view_all_well_since(const Model *m); /* end of the last alert, 0: not known */

/* "under maintenance until 24 Nov 14:00:00: new disk"; "" when it is not. Returns ret. */
const char *view_maintenance(char ret[static SENTENCE_MAX], const Maintenance *m);

/* The daemon's sentence in the language of this window; see common/sentence.h. Returns ret. */
const char *view_sentence(char ret[static SENTENCE_MAX], const char *sentence);
