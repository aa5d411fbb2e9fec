/* Answers questions about the past on its own thread, with its own query_only connection and a
 * limit of 2 s each. Results come back on the loop through an eventfd. A question that outlives its
 * asker is cancelled by its id. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/epoll-nest.h"
#include "common/unit.h"

#define HISTORY_TRANSITIONS_MAX 10000U
#define HISTORY_HOURS_MAX       8784U /* a leap year */
#define HISTORY_POINTS_MAX      2000U
#define HISTORY_WAITING_MAX     64U

typedef struct History History;

typedef enum HistoryKind {
    /* {"transitions":[rows, newest first],
     *  "hours":[{"hour":ms,"healthy_ratio":x|null,"transitions":n,"observed_ms":n}, oldest first],
     *  "latency":[[ts,latency_ms|null], oldest first]} */
    HISTORY_SERVICE,
    /* array of the transitions of all services and PCs, newest first */
    HISTORY_TRANSITIONS,
    /* array of the audit's rows, newest first */
    HISTORY_AUDIT,
} HistoryKind;

typedef struct HistoryQuestion {
    HistoryKind kind;
    char app_id[ID_MAX + 1], pc_id[ID_MAX + 1];
    uint32_t transitions; /* at most; 0-10,000 */
    uint32_t hours;       /* hourly ratios: 0-8,784, the present hour included */
    /* Latency points over the last 24 h: 0-2,000. The day is cut into that many stretches; each
     * that has a check yields the mean time and mean latency of its checks (null: none had one). */
    uint32_t points;
    int64_t since_ms; /* HISTORY_TRANSITIONS: only ts > since_ms */
    uint32_t limit;   /* HISTORY_TRANSITIONS, HISTORY_AUDIT: 1-10,000 */
    int64_t id;       /* HISTORY_AUDIT: this row alone; 0: all */
    int64_t now_ms;
} HistoryQuestion;

/* json: a JSON text (object for HISTORY_SERVICE, array for the others), borrowed, NUL
 * behind it. NULL on error: -ETIMEDOUT (2 s), -EBADMSG (damaged file), -ENOENT (no file), -ENOBUFS
 * (more than 32 MiB), ... It may ask and cancel, but not free the History. */
typedef void (*HistoryCallback)(void *userdata, int error, const char *json, size_t len);

int history_new(const char *path, Nest *nest, History **ret);
/* No callback afterwards. Waits until the reader has stopped, at most about a row's time. */
History *history_free(History *h);
/* Numbers beyond the limits above are cut to them. At most 64 questions wait or are unanswered;
 * more: -EBUSY. ret_id (may be NULL) is for history_cancel(); it is never 0. */
int history_ask(History *h, const HistoryQuestion *q, HistoryCallback callback, void *userdata,
                uint64_t *ret_id);
void history_cancel(History *h, uint64_t id); /* its callback will not be called; 0: no-op */
