/* The history of one service on one PC as GET /api/services/:app/:pc tells it, parsed into plain
 * arrays.
 *
 * Everything has a maximum and every text is cleaned: the answer holds journal lines of a PC that
 * may be hostile. */
#pragma once

#include "common/protocol.h"

#define DETAIL_HOURS_MAX       2048
#define DETAIL_LATENCY_MAX     4096
#define DETAIL_JOURNAL_MAX     1000
#define DETAIL_FACTS_MAX       96
#define DETAIL_TRANSITIONS_MAX 2000
#define EVIDENCE_MAX           (16U << 10)

typedef struct Transition {
    TransitionRow row; /* row.evidence stays NULL */
    char *evidence;    /* lines a person reads, or NULL; owned */
} Transition;

typedef struct HourPoint {
    int64_t hour;
    double ratio; /* 0 to 1; negative: nothing was observed */
    uint32_t transitions;
    int64_t observed_ms;
} HourPoint;

typedef struct LatencyPoint {
    int64_t ts;
    int32_t latency_us; /* -1: no answer */
} LatencyPoint;

typedef struct JournalLine {
    int64_t ts;
    int priority;
    char *message;
} JournalLine;

typedef struct FactLine {
    char key[64];
    char value[256];
} FactLine;

typedef enum DetailState { DETAIL_LOADING, DETAIL_READY, DETAIL_FAILED } DetailState;

typedef struct Detail {
    char app_id[ID_MAX + 1];
    char pc_id[ID_MAX + 1];
    DetailState state;
    char error[SENTENCE_MAX];
    int64_t fetched_ms;
    Transition *transitions; /* newest first */
    size_t n_transitions;
    HourPoint *hours; /* oldest first */
    size_t n_hours;
    LatencyPoint *latency; /* oldest first */
    size_t n_latency;
    JournalLine *journal; /* oldest first */
    size_t n_journal;
    char journal_error[SENTENCE_MAX];
    FactLine *facts;
    size_t n_facts;
} Detail;

int detail_new(const char *app_id, const char *pc_id, Detail **ret); /* state DETAIL_LOADING */
Detail *detail_free(Detail *d);
int detail_read(Detail *d, const Json *j); /* -EBADMSG when j is no object; -ENOMEM */

void field_clean(char *text, size_t size); /* text_clean() in place, at most 512 bytes */
int transition_read(const Json *j, Transition *ret);
void transition_done(Transition *t);
/* A JSON object as lines "key: value"; nested keys joined by a dot, journal lines one per line.
 * NULL when empty. */
char *evidence_text(const Json *j);

static inline void detail_freep(Detail **d)
{
    *d = detail_free(*d);
}
