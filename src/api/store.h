/* History on disk. The writer thread owns the only SQLite connection that writes and checkpoints.
 *
 * The loop collects records in the open batch (store_add_*: memory only, never blocks, never fails
 * visibly) and hands it over with store_commit() once per tick or at an event. Transitions are
 * written at once, with all that was handed over before; checks and hours alone may wait up to
 * STORE_GATHER_MS for company, because a page that takes six rows costs little more than one that
 * takes a single row. What StoreStats.rows_written counts survives a kill -9.
 *
 * When the disk is stuck or full everything waits in memory and the writer tries again each second.
 * Past STORE_QUEUE_MAX bytes the oldest *checks* are dropped (counted); only when twice as much
 * waits and no check is among it, the oldest transitions.
 *
 * A database file that is corrupt or foreign is renamed to NAME.damaged-YYYYMMDD-HHMMSS (the newest
 * five are kept) and a new one is begun, at the start and at any later time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/silence.h"
#include "common/name.h"
#include "common/unit.h"

#define STORE_QUEUE_MAX (64U << 20) /* bytes */
#define STORE_GATHER_MS 60000U

typedef struct Store Store;

typedef struct StoreTransition {
    int64_t id; /* primary key: writing it again updates cause, sentence and evidence */
    int64_t ts_ms;
    uint32_t handle;   /* 0: a PC's transition */
    const char *pc_id; /* of a PC's transition */
    Actual from, to;
    Cause cause;
    const char *sentence; /* NULL or "": none; on an update: as it was */
    const char *evidence; /* JSON text of at most 64 KiB or NULL; on an update NULL: as it was */
} StoreTransition;

/* An incident as it is kept; writing its id again replaces the row. Words as of incident.h. */
typedef struct StoreIncident {
    int64_t id;
    char kind[12];
    char state[12];
    char app_id[ID_MAX + 1]; /* "": none */
    char pc_id[ID_MAX + 1];
    int64_t began_ms, opened_ms, closed_ms; /* 0: not yet */
    Cause cause;
    char sentence[256];
    bool held;        /* it is open, and nobody is told of it yet */
    int64_t acked_ms; /* 0: not acknowledged; the next two are "" then */
    char acked_by[BY_MAX + 1];
    char ack_comment[COMMENT_MAX + 1];
} StoreIncident;

/* One notice of an incident to one channel; writing it again replaces the row. */
typedef struct StoreOutbox {
    StoreIncident incident; /* as it was when the notice came up */
    char event[12];         /* "opened" or "recovered" */
    char channel[12];
    char state[12]; /* "waiting", "sent", or "dropped" */
    int64_t created_ms, ended_ms;
} StoreOutbox;

/* One wish to act on a unit, and what came of it; writing its id again replaces outcome, end and
 * reason. Words as of action.h. */
typedef struct StoreAudit {
    int64_t id;
    int64_t ts_ms, ended_ms; /* ended_ms 0: not yet */
    int64_t uid;             /* of who asked, -1: unknown */
    char origin[12];         /* "api", "cli", "desktop", "auto_fix" */
    char role[12];           /* "nobody", "local", "token", "daemon" */
    char app_id[ID_MAX + 1], pc_id[ID_MAX + 1];
    char unit[UNIT_MAX + 1]; /* "": it never came to one */
    char action[12];         /* "": none that we know */
    char outcome[12];
    char reason[256];
} StoreAudit;

/* Which boot of a PC was seen last; one row for each PC. */
typedef struct StoreBoot {
    char pc_id[ID_MAX + 1];
    char boot_id[BOOT_ID_LEN + 1];
    int64_t ts_ms;
} StoreBoot;

/* One row per service for start-up: what the store knew of it. */
typedef struct StoreRecall {
    char app_id[ID_MAX + 1];
    char pc_id[ID_MAX + 1];
    Actual last_to; /* ACTUAL_INVALID: no transition known */
    int64_t last_ts_ms;
    int64_t last_healthy_ms; /* 0: never */
    uint32_t transitions_24h;
} StoreRecall;

typedef struct StoreStats {
    uint64_t rows_written, commits, failed_commits;
    uint64_t dropped_checks, dropped_others; /* for lack of room or memory */
    uint64_t refused; /* rows of a handle that was never told, or with an impossible time */
    uint64_t queue_bytes;
    int64_t last_commit_ms; /* wall; 0 none yet */
    char error[160];        /* last error, "" when the last commit was good */
    char note[512];         /* the last time a file was set aside; "" never */
} StoreStats;

/* Opens (creating, migrating or setting aside) before it returns, on the caller's thread, then
 * starts the writer. note (size bytes) gets one sentence when a file was set aside, or why history
 * has to wait: a full or failing disk is no error, the writer goes on trying. -EUCLEAN: the file
 * is of a newer version and left alone. -EBUSY: another program holds it. -EACCES, -EROFS, ...:
 * there can be no file. note then says so. */
int store_open(const char *path, uint32_t checks_days, uint32_t transitions_days, char *note,
               size_t size, Store **ret);
/* Other limits from now on; what is older goes at once. */
void store_keep(Store *s, uint32_t checks_days, uint32_t transitions_days);
/* Commits what is queued (waits at most 5 s, then gives up what is left), checkpoints, joins. */
Store *store_close(Store *s);

/* Tells the store which service a handle means; must precede records with it. Strings are copied.
 */
void store_add_service(Store *s, uint32_t handle, const char *app_id, const char *pc_id);
void store_add_check(Store *s, int64_t ts_ms, uint32_t handle, ActiveState state, LoadState load,
                     int8_t port_listening, int32_t http_status, int32_t latency_us);
void store_add_transition(Store *s, const StoreTransition *t);
void store_add_incident(Store *s, const StoreIncident *i);
void store_add_boot(Store *s, const StoreBoot *b);  /* replaces that PC's row */
void store_add_silence(Store *s, const Silence *i); /* the same: its id again replaces it */
/* Before the incident that it is of, and without a commit between: both are then in one
 * transaction. Returns the number that store_durable() reaches once the row is on disk. */
uint64_t store_add_outbox(Store *s, const StoreOutbox *o);
/* The same for a row of the audit; 0: there was no memory for it, it will never be on disk. */
uint64_t store_add_audit(Store *s, const StoreAudit *a);
uint64_t store_durable(Store *s);
/* Added to what the hour holds already. */
void store_add_hour(Store *s, int64_t hour_ms, uint32_t handle, uint32_t healthy_ms,
                    uint32_t observed_ms, uint32_t transitions);
void store_commit(Store *s);

/* Hands over and waits until all is on disk: for tests and the end. -ETIMEDOUT. */
int store_flush(Store *s, uint32_t timeout_ms);

void store_stats(Store *s, StoreStats *ret);

/* Reads what the file knew of every service; after store_open(), before the loop runs. Bounded: a
 * few look-ups per service. No file: 0 and none. The caller frees *ret. */
int store_recall(const char *path, int64_t now_ms, StoreRecall **ret, size_t *ret_n);

/* The highest id in the file, of whatever; 0: there is none, or it cannot be read. */
int64_t store_recall_last_id(const char *path);

/* The incidents that were pending or open when the file was last written, at most 20,000; as
 * store_recall(). */
int store_recall_incidents(const char *path, StoreIncident **ret, size_t *ret_n);

/* The boots that were seen last, at most STORE_BOOTS_MAX. As store_recall(). */
#define STORE_BOOTS_MAX 10000
int store_recall_boots(const char *path, StoreBoot **ret, size_t *ret_n);

/* Silences and maintenance whose end is after now_ms, at most SILENCES_MAX. As store_recall(). */
int store_recall_silences(const char *path, int64_t now_ms, Silence **ret, size_t *ret_n);

/* The outbox: all that waits (oldest first) and, behind it, the openings that were queued of
 * incidents that are still open, in whatever state; at most 20,000. As store_recall(). */
int store_recall_outbox(const char *path, StoreOutbox **ret, size_t *ret_n);

/* Oldest first: what was requested without an outcome, all by auto_fix with ts > since_ms, and each
 * stop after which nothing was done to that service; at most 20,000. As store_recall(). */
int store_recall_audits(const char *path, int64_t since_ms, StoreAudit **ret, size_t *ret_n);

/* Test hook: the writer sleeps this long before each transaction. */
void store_set_delay_ms(Store *s, uint32_t ms);
