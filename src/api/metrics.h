/* GET /metrics: the fleet and the daemon's own numbers as OpenMetrics text.
 *
 * The label sets are fixed: {app, pc} of the registry's ids, {pc}, or none. What is not known has
 * no sample: a gap is honest, a 0 would be a claim. docs/prometheus.md describes every family. */
#pragma once

#include "api/fleet.h"
#include "api/notify.h"
#include "api/store.h"
#include "api/stream.h"
#include "basic/buffer.h"

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define METRICS_MAX          (64U << 20) /* bytes of a body */
#define METRICS_HOLD_US      (1U * 1000000U)
#define METRICS_TURNS_US     (60U * 1000000U)

typedef struct MetricsDaemon {
    StoreStats store;
    uint64_t clients; /* WebSocket clients now */
    uint64_t cut_off; /* of them, since the start */
    uint64_t late_us; /* fleet_late_us() */
    uint64_t notices; /* that wait to be sent */
    uint64_t turn_us; /* the longest turn of the loop, see metrics_note_turn() */
} MetricsDaemon;

/* The last body. Zero is the state before the first scrape. */
typedef struct Metrics {
    Buffer body;
    uint64_t built_us;                /* mono; 0: never */
    uint64_t turns_us;                /* mono: the window of turn_us began */
    uint64_t turn_us, turn_before_us; /* the longest of this window and of the one before */
} Metrics;

/* An escaped and quoted label value; invalid UTF-8 becomes U+FFFD. */
void metrics_write_label(Buffer *out, const char *value);
void metrics_write(Buffer *out, const Fleet *f, const MetricsDaemon *daemon);

/* The body to answer with, built at most once in METRICS_HOLD_US. Borrowed until the next call;
 * NULL: no memory, or past METRICS_MAX. */
const char *metrics_body(Metrics *m, const Fleet *f, Store *store, const Stream *stream,
                         const Notify *notify, Now now, size_t *ret_len);
/* The loop was busy for took_us until now_us (mono), so long nobody else had a turn. The longest
 * turn of the last one to two METRICS_TURNS_US is told. */
void metrics_note_turn(Metrics *m, uint64_t took_us, uint64_t now_us);
void metrics_done(Metrics *m);
