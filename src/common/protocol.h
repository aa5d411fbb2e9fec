/* The records that the API speaks (REST and WebSocket alike), written by the daemon and read by
 * every client.
 *
 * Field names and units are the contract of docs/protocol.md and of data/openapi.yaml: times are
 * Unix ms (0 = null), latencies are microseconds in C and milliseconds in JSON. `*_write` appends
 * one JSON object; `*_read` fills a record from a parsed object, copies its strings into the
 * record's own fixed fields and returns -EBADMSG when a key field is missing or malformed: the
 * other side is not trusted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/json.h"
#include "common/unit.h"

#define PROTOCOL_VERSION 1
#define SENTENCE_MAX     256
#define TITLE_MAX        128
#define COMMENT_MAX      120 /* of an acknowledgement, a silence, a maintenance */
#define BY_MAX           32  /* who wrote it */

/* A row's maintenance. until_ts 0: none; omitted from JSON then. */
typedef struct Maintenance {
    int64_t until_ts;
    char comment[COMMENT_MAX + 1];
} Maintenance;

/* One row of GET /api/services. */
typedef struct ServiceRow {
    char app_id[ID_MAX + 1];
    char pc_id[ID_MAX + 1];
    char title[TITLE_MAX + 1]; /* "" = absent; omitted from JSON then */
    char tag[ID_MAX + 1];      /* "" = absent; omitted from JSON then */
    Expected expected;
    Actual actual;
    Light light;
    Cause cause;
    char sentence[SENTENCE_MAX]; /* "" when all is well; null in JSON */
    uint32_t hints;         /* Hint bits; array of words in JSON: "not-enabled", "linger-off" */
    uint16_t port;          /* 0: null */
    char systemd_state[16]; /* "" : null */
    int8_t port_listening;  /* -1: null */
    int32_t http_status;    /* 0: null */
    int32_t latency_us;     /* -1: null; "latency_ms" in JSON */
    int64_t since_ts;       /* when `actual` became what it is */
    int64_t last_check_ts;
    int64_t last_healthy_ts;
    uint32_t transitions_24h;
    uint32_t restarts; /* seen by this daemon: runs of the unit beyond the first */
    Maintenance maintenance;
} ServiceRow;

/* One row of GET /api/pcs. */
typedef struct PcRow {
    char pc_id[ID_MAX + 1];
    bool is_self;
    bool reachable;
    Cause cause;
    char sentence[SENTENCE_MAX];
    int32_t lag_us; /* -1: null; "lag_ms" in JSON: time one question on its bus took */
    char version_uname[160];
    int64_t since_ts;
    bool events;     /* false: polled */
    int64_t skew_ms; /* its clock minus ours */
    bool skew_known;
    int64_t last_check_ts;
    uint32_t services;
    bool may_sleep;
    Maintenance maintenance;
} PcRow;

typedef struct TransitionRow {
    int64_t id; /* daemon boot (upper 40 bits: its start in Unix s) << 20 | counter; unique over
                   restarts */
    int64_t ts;
    char app_id[ID_MAX + 1]; /* "" : a pc_transition */
    char pc_id[ID_MAX + 1];
    Actual from, to; /* of a PC: ACTUAL_RUNNING = reachable, ACTUAL_UNREACHABLE, ACTUAL_UNKNOWN */
    Cause cause;
    char sentence[SENTENCE_MAX];
    bool is_update;       /* evidence of an id already published */
    const char *evidence; /* JSON object text or NULL; borrowed: valid during the call that hands
                             the row over */
} TransitionRow;

/* What a client keeps of an alert object (the whole is in docs/protocol.md). */
typedef struct AlertRow {
    int64_t id;
    char state[12];          /* "pending", "open", "closed", "dropped" */
    char app_id[ID_MAX + 1]; /* "": a PC's, or all PCs' */
    char pc_id[ID_MAX + 1];
    int64_t began_ts;
    char sentence[SENTENCE_MAX];
    uint32_t behind;
    int64_t acked_ts; /* 0: nobody acknowledged it; the next two are "" then */
    char acked_by[BY_MAX + 1];
    char ack_comment[COMMENT_MAX + 1];
    int64_t silenced_until_ts; /* 0: it is not silenced */
} AlertRow;

int alert_row_read(const Json *j, AlertRow *ret);

void service_row_write(Buffer *b, const ServiceRow *row);
int service_row_read(const Json *j, ServiceRow *ret);
void pc_row_write(Buffer *b, const PcRow *row);
int pc_row_read(const Json *j, PcRow *ret);
void transition_row_write(Buffer *b, const TransitionRow *row);
int transition_row_read(const Json *j,
                        TransitionRow *ret); /* evidence stays NULL: read it from j */
