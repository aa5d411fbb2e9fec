/* What the file knew of every service when the daemon starts.
 *
 * One read-only connection, one pass over the services with a few index look-ups each; no day table
 * but the newest two is touched. "Last healthy" is not stored: it follows from the last transition
 * (a service that was healthy by then was so until its last check), or, where there was never a
 * transition, from the last hour with healthy time in it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/store-schema.h"
#include "api/store.h"
#include "basic/buffer.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

#define SERVICES_MAX    100000
#define INCIDENTS_LIMIT "20000"

static bool is_healthy(Actual a)
{
    return a == ACTUAL_RUNNING || a == ACTUAL_FINISHED;
}

static void closep_db(sqlite3 **db)
{
    sqlite3_close(*db);
}

/* "the time of its last check, over the newest two day tables that are there" */
static int last_check_sql(sqlite3 *db, int64_t now_ms, Buffer *b)
{
    int32_t days[STORE_DAYS_MAX], today = store_day_of(now_ms);
    char table[STORE_DAY_TABLE_SIZE];
    size_t n, used = 0;
    int r = store_days_list(db, days, &n);

    if (r < 0)
        return r;
    buffer_str(b, "COALESCE(");
    for (size_t i = n; i-- > 0 && used < 2;)
        if (days[i] <= today) {
            buffer_printf(b, "(SELECT %lld + max(ts) FROM %s WHERE app = s.id), ",
                          (long long)days[i] * STORE_DAY_MS, store_day_table(days[i], table));
            used++;
        }
    buffer_str(b, "0, 0)");
    return 0;
}

#define OF_SERVICE " FROM service_transition t WHERE t.app_id = s.app_id AND t.pc_id = s.pc_id"

static int recall_prepare(sqlite3 *db, int64_t now_ms, sqlite3_stmt **ret)
{
    Buffer b = BUFFER_INIT(8192);

    buffer_str(&b, "SELECT s.app_id, s.pc_id,"
                   " (SELECT \"to\"" OF_SERVICE " ORDER BY ts DESC, id DESC LIMIT 1),"
                   " (SELECT ts" OF_SERVICE " ORDER BY ts DESC, id DESC LIMIT 1),"
                   " (SELECT ts" OF_SERVICE " AND \"from\" IN ('running', 'finished')"
                   " ORDER BY ts DESC LIMIT 1),"
                   " (SELECT count(*) FROM (SELECT 1" OF_SERVICE " AND ts > ?1 LIMIT 100000)),"
                   " (SELECT max(hour) FROM (SELECT hour, healthy_ms FROM service_hour"
                   " WHERE service = s.id ORDER BY hour DESC LIMIT 48) WHERE healthy_ms > 0), ");
    int r = last_check_sql(db, now_ms, &b);
    buffer_printf(&b, " FROM service s LIMIT %d", SERVICES_MAX);
    const char *sql = buffer_cstr(&b);
    if (r >= 0)
        r = buffer_error(&b);
    if (r >= 0)
        r = store_errno(sqlite3_prepare_v2(db, sql, -1, ret, NULL));
    buffer_done(&b);
    return r < 0 ? r : store_errno(sqlite3_bind_int64(*ret, 1, now_ms - STORE_DAY_MS));
}

static int64_t last_healthy(const StoreRecall *row, sqlite3_stmt *stmt, int64_t now_ms)
{
    int64_t left = sqlite3_column_int64(stmt, 4);
    int64_t hour_end = (sqlite3_column_int64(stmt, 6) + 1) * STORE_HOUR_MS;
    int64_t check = sqlite3_column_int64(stmt, 7);

    if (row->last_to != ACTUAL_INVALID)
        return is_healthy(row->last_to) ? MAX(check, row->last_ts_ms) : left;
    if (sqlite3_column_type(stmt, 6) == SQLITE_NULL)
        return 0;
    if (check)
        return MIN(check, hour_end);
    return hour_end <= now_ms ? hour_end : 0; /* some time in this hour: we cannot say when */
}

/* False for a row that nobody but a person with an editor can have made. *row is zero. */
typedef bool (*ReadRow)(sqlite3_stmt *stmt, int64_t now_ms, void *row);

static bool read_service(sqlite3_stmt *stmt, int64_t now_ms, void *ret)
{
    StoreRecall *row = ret;
    const char *app_id = (const char *)sqlite3_column_text(stmt, 0);
    const char *pc_id = (const char *)sqlite3_column_text(stmt, 1);

    if (!app_id || !pc_id || !name_is_id(app_id) || !name_is_id(pc_id))
        return false;
    text_copy(row->app_id, sizeof row->app_id, app_id);
    text_copy(row->pc_id, sizeof row->pc_id, pc_id);
    row->last_to = actual_from_string((const char *)sqlite3_column_text(stmt, 2));
    row->last_ts_ms = sqlite3_column_int64(stmt, 3);
    row->transitions_24h = (uint32_t)sqlite3_column_int(stmt, 5);
    row->last_healthy_ms = last_healthy(row, stmt, now_ms);
    return true;
}

/* All rows of a statement, whose LIMIT is the maximum, in one zeroed array of rows of that size;
 * the statement may be NULL, which is no rows. It is finalized. */
static int read_all(sqlite3_stmt *stmt, int64_t now_ms, ReadRow read, size_t size, void **ret,
                    size_t *ret_n)
{
    CLEANUP_FREE char *rows = NULL;
    size_t n = 0, cap = 0;
    int rc = SQLITE_DONE;

    while (stmt && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (n == cap) {
            cap = cap ? 2 * cap : 64;
            char *more = reallocarray(rows, cap, size);
            if (!more) {
                rc = SQLITE_NOMEM;
                break;
            }
            rows = more;
        }
        memset(rows + n * size, 0, size);
        n += read(stmt, now_ms, rows + n * size);
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_DONE)
        return store_errno(rc);
    *ret = TAKE_PTR(rows);
    *ret_n = n;
    return 0;
}

/* A read-only connection; *ret NULL when there is no file. */
static int recall_open(const char *path, sqlite3 **ret)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

    *ret = NULL;
    if (access(path, F_OK) < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = store_errno(sqlite3_open_v2(path, ret, flags, NULL));
    if (r >= 0)
        sqlite3_busy_timeout(*ret, 1000);
    return r;
}

/* The rows of a query with at most two numbers; no file: none. */
static int recall_rows(const char *path, const char *sql, int64_t first, int64_t second,
                       ReadRow read, size_t size, void **ret, size_t *ret_n)
{
    CLEANUP(closep_db) sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int r = recall_open(path, &db);

    if (r >= 0 && db)
        r = store_errno(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL));
    if (r < 0)
        return r;
    if (sqlite3_bind_parameter_count(stmt) > 0)
        sqlite3_bind_int64(stmt, 1, first);
    if (sqlite3_bind_parameter_count(stmt) > 1)
        sqlite3_bind_int64(stmt, 2, second);
    return read_all(stmt, 0, read, size, ret, ret_n);
}

int store_recall(const char *path, int64_t now_ms, StoreRecall **ret, size_t *ret_n)
{
    CLEANUP(closep_db) sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    void *rows = NULL;
    int r = recall_open(path, &db);

    if (r >= 0 && db)
        r = recall_prepare(db, now_ms, &stmt);
    if (r < 0) {
        sqlite3_finalize(stmt);
        return r;
    }
    r = read_all(stmt, now_ms, read_service, sizeof **ret, &rows, ret_n);
    if (r >= 0)
        *ret = rows;
    return r;
}

int64_t store_recall_last_id(const char *path)
{
    CLEANUP(closep_db) sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t last = 0;

    if (recall_open(path, &db) >= 0 && db &&
        sqlite3_prepare_v2(db,
                           "SELECT max(id) FROM (SELECT max(id) AS id FROM service_transition"
                           " UNION ALL SELECT max(id) FROM pc_transition"
                           " UNION ALL SELECT max(id) FROM incident"
                           " UNION ALL SELECT max(id) FROM silence"
                           " UNION ALL SELECT max(id) FROM audit)",
                           -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        last = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return last;
}

static void column_text(sqlite3_stmt *stmt, int at, char *ret, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, at);

    text_clean(ret, size, text ? text : "", text ? strlen(text) : 0);
}

static bool read_incident(sqlite3_stmt *stmt, StoreIncident *i)
{
    *i = (StoreIncident){
        .id = sqlite3_column_int64(stmt, 0),
        .began_ms = sqlite3_column_int64(stmt, 5),
        .opened_ms = sqlite3_column_int64(stmt, 6),
    };
    column_text(stmt, 1, i->kind, sizeof i->kind);
    column_text(stmt, 2, i->state, sizeof i->state);
    column_text(stmt, 3, i->app_id, sizeof i->app_id);
    column_text(stmt, 4, i->pc_id, sizeof i->pc_id);
    column_text(stmt, 8, i->sentence, sizeof i->sentence);
    Cause cause = cause_from_string((const char *)sqlite3_column_text(stmt, 7));
    i->cause = cause == CAUSE_INVALID ? CAUSE_NONE : cause;
    return i->id > 0 && (!i->app_id[0] || name_is_id(i->app_id)) &&
           (!i->pc_id[0] || name_is_id(i->pc_id));
}

static bool read_open_incident(sqlite3_stmt *stmt, int64_t now_ms UNUSED, void *ret)
{
    StoreIncident *i = ret;
    bool good = read_incident(stmt, i);

    i->acked_ms = sqlite3_column_int64(stmt, 9);
    column_text(stmt, 10, i->acked_by, sizeof i->acked_by);
    column_text(stmt, 11, i->ack_comment, sizeof i->ack_comment);
    i->held = sqlite3_column_int(stmt, 12) != 0;
    return good;
}

int store_recall_incidents(const char *path, StoreIncident **ret, size_t *ret_n)
{
    void *rows = NULL;
    int r =
        recall_rows(path,
                    "SELECT id, kind, state, app_id, pc_id, began_ts, opened_ts, cause, sentence,"
                    " acked_ts, acked_by, ack_comment, held FROM incident"
                    " WHERE state IN ('pending', 'open') ORDER BY id LIMIT " INCIDENTS_LIMIT,
                    0, 0, read_open_incident, sizeof **ret, &rows, ret_n);

    if (r >= 0)
        *ret = rows;
    return r;
}

static bool read_boot(sqlite3_stmt *stmt, int64_t now_ms UNUSED, void *ret)
{
    StoreBoot *boot = ret;

    boot->ts_ms = sqlite3_column_int64(stmt, 2);
    column_text(stmt, 0, boot->pc_id, sizeof boot->pc_id);
    column_text(stmt, 1, boot->boot_id, sizeof boot->boot_id);
    return name_is_id(boot->pc_id) && name_is_boot_id(boot->boot_id);
}

int store_recall_boots(const char *path, StoreBoot **ret, size_t *ret_n)
{
    void *rows = NULL;
    int r = recall_rows(path, "SELECT pc_id, boot_id, ts FROM pc_boot LIMIT ?1", STORE_BOOTS_MAX, 0,
                        read_boot, sizeof **ret, &rows, ret_n);

    if (r >= 0)
        *ret = rows;
    return r;
}

static bool read_silence(sqlite3_stmt *stmt, int64_t now_ms UNUSED, void *ret)
{
    Silence *s = ret;

    *s = (Silence){
        .id = sqlite3_column_int64(stmt, 0),
        .kind = silence_kind_from_string((const char *)sqlite3_column_text(stmt, 1)),
        .from_ms = sqlite3_column_int64(stmt, 4),
        .until_ms = sqlite3_column_int64(stmt, 5),
        .created_ms = sqlite3_column_int64(stmt, 8),
    };
    column_text(stmt, 2, s->app_id, sizeof s->app_id);
    column_text(stmt, 3, s->pc_id, sizeof s->pc_id);
    column_text(stmt, 6, s->comment, sizeof s->comment);
    column_text(stmt, 7, s->by, sizeof s->by);
    return true;
}

int store_recall_silences(const char *path, int64_t now_ms, Silence **ret, size_t *ret_n)
{
    void *rows = NULL;
    int r = recall_rows(
        path,
        "SELECT id, kind, app_id, pc_id, from_ts, until_ts, comment, made_by, created_ts"
        " FROM silence WHERE until_ts > ?1 ORDER BY until_ts LIMIT ?2",
        now_ms, SILENCES_MAX, read_silence, sizeof **ret, &rows, ret_n);

    if (r >= 0)
        *ret = rows;
    return r;
}

static bool read_outbox(sqlite3_stmt *stmt, int64_t now_ms UNUSED, void *ret)
{
    StoreOutbox *o = ret;

    *o = (StoreOutbox){
        .created_ms = sqlite3_column_int64(stmt, 9),
        .ended_ms = sqlite3_column_int64(stmt, 10),
    };
    column_text(stmt, 2, o->state, sizeof o->state);
    column_text(stmt, 11, o->event, sizeof o->event);
    column_text(stmt, 12, o->channel, sizeof o->channel);
    bool good = read_incident(stmt, &o->incident);
    o->incident.closed_ms = sqlite3_column_int64(stmt, 13);
    /* the column of that name holds the notice's state here */
    text_copy(o->incident.state, sizeof o->incident.state,
              strcmp(o->event, "recovered") == 0 ? "closed" : "open");
    return good;
}

int store_recall_outbox(const char *path, StoreOutbox **ret, size_t *ret_n)
{
    void *rows = NULL;
    int r = recall_rows(
        path,
        "SELECT incident, kind, state, app_id, pc_id, began_ts, opened_ts, cause, sentence,"
        " created_ts, ended_ts, event, channel, closed_ts FROM outbox WHERE state = 'waiting'"
        " OR (event = 'opened' AND incident IN (SELECT id FROM incident WHERE state = 'open'))"
        " ORDER BY state = 'waiting' DESC, created_ts, incident, event LIMIT " INCIDENTS_LIMIT,
        0, 0, read_outbox, sizeof **ret, &rows, ret_n);

    if (r >= 0)
        *ret = rows;
    return r;
}

static bool read_audit(sqlite3_stmt *stmt, int64_t now_ms UNUSED, void *ret)
{
    StoreAudit *a = ret;

    *a = (StoreAudit){
        .id = sqlite3_column_int64(stmt, 0),
        .ts_ms = sqlite3_column_int64(stmt, 1),
        .ended_ms = sqlite3_column_int64(stmt, 2),
        .uid = sqlite3_column_type(stmt, 3) == SQLITE_NULL ? -1 : sqlite3_column_int64(stmt, 3),
    };
    column_text(stmt, 4, a->origin, sizeof a->origin);
    column_text(stmt, 5, a->role, sizeof a->role);
    column_text(stmt, 6, a->app_id, sizeof a->app_id);
    column_text(stmt, 7, a->pc_id, sizeof a->pc_id);
    column_text(stmt, 8, a->unit, sizeof a->unit);
    column_text(stmt, 9, a->action, sizeof a->action);
    column_text(stmt, 10, a->outcome, sizeof a->outcome);
    column_text(stmt, 11, a->reason, sizeof a->reason);
    return a->id > 0 && name_is_id(a->app_id) && name_is_id(a->pc_id);
}

int store_recall_audits(const char *path, int64_t since_ms, StoreAudit **ret, size_t *ret_n)
{
    void *rows = NULL;
    int r = recall_rows(
        path,
        "SELECT id, ts, ended_ts, uid, origin, role, app_id, pc_id, unit, action, outcome, reason"
        " FROM audit WHERE outcome = 'requested' OR (ts > ?1 AND origin = 'auto_fix')"
        " OR id IN (SELECT id FROM (SELECT id, action, max(ts) FROM audit WHERE outcome = 'done'"
        " GROUP BY app_id, pc_id) WHERE action = 'stop')"
        " ORDER BY ts, id LIMIT " INCIDENTS_LIMIT,
        since_ms, 0, read_audit, sizeof **ret, &rows, ret_n);

    if (r >= 0)
        *ret = rows;
    return r;
}
