/* One step of the world: what a message of the stream, or an answer to a request, changes.
 *
 * Made on the threads of feed.c (parsing is their work), handed over whole, applied by model.c on
 * the frame thread. */
#pragma once

#include "common/client.h"
#include "common/protocol.h"
#include "monitor/detail.h"

#define CHANGE_ROWS_MAX   65536
#define ALERT_BEHIND_MAX  256
#define CHANGE_ALERTS_MAX 4096
#define SILENCES_MAX      1000

typedef struct Pair {
    char app_id[ID_MAX + 1]; /* "": the PC itself */
    char pc_id[ID_MAX + 1];
} Pair;

typedef struct Check {
    Pair pair;
    int64_t ts;
    int32_t latency_us; /* -1: none */
} Check;

typedef enum AlertKind {
    ALERT_SERVICE,
    ALERT_PC,
    ALERT_ALL_PCS,
    ALERT_REBOOT,
    ALERT_KIND_MAX
} AlertKind;
typedef enum AlertState { ALERT_PENDING, ALERT_OPEN, ALERT_CLOSED } AlertState;

typedef struct Alert {
    char id[64];
    AlertKind kind;
    AlertState state;
    Pair pair;
    int64_t since_ts;  /* when what is wrong began */
    int64_t closed_ts; /* 0: not yet */
    Cause cause;
    char sentence[SENTENCE_MAX];
    bool acknowledged;
    char acked_by[BY_MAX + 1];
    char ack_comment[COMMENT_MAX + 1];
    int64_t silenced_until_ts; /* 0: it is not */
    Pair *behind;              /* owned */
    size_t n_behind;
    size_t behind_total; /* before the cut at ALERT_BEHIND_MAX */
} Alert;

/* A silence or a maintenance. */
typedef struct SilenceRow {
    int64_t id;
    bool maintenance;
    Pair pair; /* either id "": all of them */
    int64_t from_ts, until_ts;
    char by[BY_MAX + 1];
    char comment[COMMENT_MAX + 1];
} SilenceRow;

typedef enum ChangeKind {
    CHANGE_STATE, /* connection */
    CHANGE_HELLO,
    CHANGE_SNAPSHOT,
    CHANGE_DELTA,
    CHANGE_HISTORY, /* older transitions */
    CHANGE_DETAIL,
    CHANGE_SILENCES,
    CHANGE_ANSWER, /* of a check or an action: text, and the fresh row where there is one */
} ChangeKind;

typedef struct Change Change;

struct Change {
    Change *next;
    ChangeKind kind;
    ClientState state;
    bool failed; /* an answer that is no success */
    char text[SENTENCE_MAX];
    uint64_t seq;
    int64_t ts;          /* the daemon's clock when it wrote this; 0: not said */
    int64_t received_ms; /* our clock when it came */
    bool has_features, actions;
    char version[32];
    PcRow *pcs;
    size_t n_pcs;
    ServiceRow *services;
    size_t n_services;
    Check *checks;
    size_t n_checks;
    Pair *removed;
    size_t n_removed;
    Transition *transitions;
    size_t n_transitions;
    Alert *alerts;
    size_t n_alerts;
    SilenceRow *silences; /* of CHANGE_SILENCES: all there are */
    size_t n_silences;
    Detail *detail;
};

int change_new(ChangeKind kind, int64_t received_ms, Change **ret);
Change *change_free(Change *c); /* this one only, not its followers */
/* type: "hello", "snapshot", "delta" (others: -EBADMSG) */
int change_from_message(const char *type, const Json *message, int64_t received_ms, Change **ret);
int change_from_history(const Json *message, int64_t received_ms, Change **ret);
int change_from_silences(const Json *array, int64_t received_ms, Change **ret);
int alert_read(const Json *j, Alert *ret);
void alert_done(Alert *a);

static inline void change_freep(Change **c)
{
    *c = change_free(*c);
}
