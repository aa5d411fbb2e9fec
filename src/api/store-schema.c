/* The shape of services_api.db.
 *
 * Checks are by far the most rows (1,000 services: 8.6 million a day), so they get the smallest
 * ones: one table per UTC day, integers only, PRIMARY KEY(app, ts) WITHOUT ROWID. One service's day
 * is one walk over neighbouring rows, and forgetting a day is a DROP, not millions of DELETEs. `ts`
 * is the offset within the day in ms, `facts` packs three small numbers (store_facts_pack()),
 * `latency` is in us.
 *
 * People query the view service_check, whose arms decode the day tables. The program reads day
 * tables directly: the view over a week is slow for all but one service's rows. A day table and the
 * view that names it always change in one transaction, so no reader ever meets a view with a
 * missing table.
 *
 * Transitions are rare; they keep their ids and words as text, so a row says what it means also
 * when its service has left the registry or an enum has grown.
 *
 * A migration once released is never edited; a change of shape is a new row of the table. */
#include "api/store-schema.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "basic/buffer.h"
#include "basic/macro.h"

#define VIEW_COLUMNS "ts, app_id, pc_id, systemd_state, port_listening, http_status, latency_ms"

const StoreMigration store_migrations[] = {
    {1,
     "CREATE TABLE service("
     " id INTEGER PRIMARY KEY, app_id TEXT NOT NULL, pc_id TEXT NOT NULL, UNIQUE(app_id, pc_id));"
     "CREATE VIEW service_check(" VIEW_COLUMNS ") AS"
     " SELECT 0, '', '', NULL, NULL, NULL, NULL WHERE 0;"
     "CREATE TABLE service_transition("
     " id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, app_id TEXT NOT NULL, pc_id TEXT NOT NULL,"
     " \"from\" TEXT NOT NULL, \"to\" TEXT NOT NULL, cause TEXT NOT NULL, sentence TEXT NOT NULL,"
     " evidence TEXT);"
     "CREATE INDEX service_transition_service ON service_transition(app_id, pc_id, ts);"
     "CREATE INDEX service_transition_ts ON service_transition(ts);"
     "CREATE TABLE pc_transition("
     " id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, pc_id TEXT NOT NULL,"
     " \"from\" TEXT NOT NULL, \"to\" TEXT NOT NULL, cause TEXT NOT NULL, sentence TEXT NOT NULL,"
     " evidence TEXT);"
     "CREATE INDEX pc_transition_ts ON pc_transition(ts);"
     "CREATE TABLE service_hour("
     " service INTEGER NOT NULL, hour INTEGER NOT NULL, healthy_ms INTEGER NOT NULL,"
     " observed_ms INTEGER NOT NULL, transitions INTEGER NOT NULL,"
     " PRIMARY KEY(service, hour)) WITHOUT ROWID;"
     "CREATE VIEW service_state_hourly(hour_bucket, app_id, pc_id, healthy_ratio, transitions) AS"
     " SELECT h.hour * 3600000, s.app_id, s.pc_id,"
     " CASE WHEN h.observed_ms > 0 THEN min(1.0, 1.0 * h.healthy_ms / h.observed_ms) END,"
     " h.transitions FROM service_hour h JOIN service s ON s.id = h.service;"},
    {2, "CREATE TABLE incident("
        " id INTEGER PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, app_id TEXT, pc_id TEXT,"
        " began_ts INTEGER NOT NULL, opened_ts INTEGER, closed_ts INTEGER, cause TEXT NOT NULL,"
        " sentence TEXT NOT NULL);"
        "CREATE INDEX incident_living ON incident(state) WHERE state IN ('pending', 'open');"},
    {3, "CREATE TABLE outbox("
        " incident INTEGER NOT NULL, event TEXT NOT NULL, channel TEXT NOT NULL,"
        " state TEXT NOT NULL, created_ts INTEGER NOT NULL, ended_ts INTEGER,"
        " kind TEXT NOT NULL, app_id TEXT, pc_id TEXT, began_ts INTEGER NOT NULL,"
        " opened_ts INTEGER, closed_ts INTEGER, cause TEXT NOT NULL, sentence TEXT NOT NULL,"
        " PRIMARY KEY(incident, event, channel)) WITHOUT ROWID;"
        "CREATE INDEX outbox_waiting ON outbox(created_ts) WHERE state = 'waiting';"
        "CREATE INDEX outbox_ts ON outbox(created_ts);"},
    {4, "CREATE TABLE audit("
        " id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, ended_ts INTEGER, origin TEXT NOT NULL,"
        " role TEXT NOT NULL, uid INTEGER, app_id TEXT NOT NULL, pc_id TEXT NOT NULL,"
        " unit TEXT NOT NULL, action TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL);"
        "CREATE INDEX audit_ts ON audit(ts);"
        "CREATE INDEX audit_requested ON audit(id) WHERE outcome = 'requested';"},
    {5, "CREATE TABLE silence("
        " id INTEGER PRIMARY KEY, kind TEXT NOT NULL, app_id TEXT, pc_id TEXT,"
        " from_ts INTEGER NOT NULL, until_ts INTEGER NOT NULL, comment TEXT NOT NULL,"
        " made_by TEXT NOT NULL, created_ts INTEGER NOT NULL);"
        "CREATE INDEX silence_until ON silence(until_ts);"
        "ALTER TABLE incident ADD COLUMN acked_ts INTEGER;"
        "ALTER TABLE incident ADD COLUMN acked_by TEXT;"
        "ALTER TABLE incident ADD COLUMN ack_comment TEXT;"
        "ALTER TABLE incident ADD COLUMN held INTEGER NOT NULL DEFAULT 0;"},
    {6, "CREATE TABLE pc_boot("
        " pc_id TEXT PRIMARY KEY, boot_id TEXT NOT NULL, ts INTEGER NOT NULL) WITHOUT ROWID;"},
};
const size_t store_n_migrations = ELEMENTS(store_migrations);

int store_errno(int rc)
{
    switch (rc & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return 0;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return -EBADMSG;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return -EBUSY;
    case SQLITE_INTERRUPT: return -ETIMEDOUT;
    case SQLITE_NOMEM: return -ENOMEM;
    case SQLITE_READONLY: return -EROFS;
    case SQLITE_PERM:
    case SQLITE_AUTH: return -EACCES;
    case SQLITE_TOOBIG: return -E2BIG;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH: return -EINVAL;
    case SQLITE_ERROR:
    case SQLITE_SCHEMA: return -ENOTSUP; /* the statement does not fit this file */
    default: return -EIO;
    }
}

int store_query_int(sqlite3 *db, const char *sql, int64_t otherwise, int64_t *ret)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = otherwise;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            value = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    if (store_errno(rc) < 0)
        return store_errno(rc);
    *ret = value;
    return 0;
}

static int exec(sqlite3 *db, const char *sql)
{
    return store_errno(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static int migrate_one(sqlite3 *db, const StoreMigration *m)
{
    char pragmas[96];
    int r = exec(db, "BEGIN IMMEDIATE");

    if (r < 0)
        return r;
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             STORE_APPLICATION_ID, m->version);
    r = exec(db, m->sql);
    if (r >= 0)
        r = exec(db, pragmas);
    if (r >= 0)
        r = exec(db, "COMMIT");
    if (r < 0 && !sqlite3_get_autocommit(db))
        exec(db, "ROLLBACK");
    return r;
}

int store_schema_migrate(sqlite3 *db, const StoreMigration *table, size_t n)
{
    int64_t version;
    int r = store_query_int(db, "PRAGMA user_version", 0, &version);

    if (r < 0)
        return r;
    if (version < 0)
        return -EBADMSG;
    if ((uint64_t)version > n)
        return -EUCLEAN;
    for (size_t i = (size_t)version; i < n && r >= 0; i++)
        r = migrate_one(db, &table[i]);
    return r;
}

/* state: bits 0-2, port (0 not looked, 1 closed, 2 listening): bits 3-4, HTTP status: bits 5-14 */
uint16_t store_facts_pack(ActiveState state, int8_t port_listening, int32_t http_status)
{
    unsigned word = (unsigned)state < ACTIVE_MAX ? (unsigned)state : ACTIVE_UNKNOWN;
    unsigned port = port_listening < 0 ? 0 : port_listening == 0 ? 1 : 2;
    unsigned http = http_status > 0 && http_status < 1024 ? (unsigned)http_status : 0;

    _Static_assert(ACTIVE_MAX <= 8, "three bits hold every state");
    return (uint16_t)(word | port << 3 | http << 5);
}

int32_t store_day_of(int64_t ts_ms)
{
    return (int32_t)(ts_ms / STORE_DAY_MS - (ts_ms % STORE_DAY_MS < 0));
}

const char *store_day_table(int32_t day, char ret[static STORE_DAY_TABLE_SIZE])
{
    time_t t = (time_t)day * 86400;
    struct tm tm;

    gmtime_r(&t, &tm);
    snprintf(ret, STORE_DAY_TABLE_SIZE, "service_check_%04u%02u%02u",
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
             (unsigned)tm.tm_mday % 100);
    return ret;
}

/* The day of a table's name; -1 when it is not a day table of ours (a person's copy, say). */
static int32_t day_of_table(const char *name)
{
    char again[STORE_DAY_TABLE_SIZE];
    struct tm tm = {0};

    if (sscanf(name, "service_check_%4d%2d%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3)
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int32_t day = store_day_of((int64_t)timegm(&tm) * 1000);
    return day >= 0 && strcmp(store_day_table(day, again), name) == 0 ? day : -1;
}

int store_days_list(sqlite3 *db, int32_t ret[static STORE_DAYS_MAX], size_t *ret_n)
{
    static const char sql[] = "SELECT name FROM sqlite_schema WHERE type = 'table' AND"
                              " name GLOB 'service_check_[0-9]*' ORDER BY name";
    sqlite3_stmt *stmt = NULL;
    size_t n = 0;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW)
            break;
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        int32_t day = name ? day_of_table(name) : -1;
        if (day >= 0 && n < STORE_DAYS_MAX)
            ret[n++] = day;
    }
    sqlite3_finalize(stmt);
    if (store_errno(rc) < 0)
        return store_errno(rc);
    *ret_n = n;
    return 0;
}

/* One arm of the view. The words come from the program's own table, so they cannot drift apart. */
static void view_arm(Buffer *b, int32_t day)
{
    char table[STORE_DAY_TABLE_SIZE];

    buffer_printf(b, "SELECT %lld + c.ts, s.app_id, s.pc_id, CASE c.facts & 7",
                  (long long)day * STORE_DAY_MS);
    for (ActiveState a = ACTIVE_UNKNOWN + 1; a < ACTIVE_MAX; a++)
        buffer_printf(b, " WHEN %d THEN '%s'", (int)a, active_state_to_string(a));
    buffer_printf(b,
                  " END, CASE c.facts >> 3 & 3 WHEN 1 THEN 0 WHEN 2 THEN 1 END,"
                  " NULLIF(c.facts >> 5, 0), c.latency / 1000.0"
                  " FROM %s c JOIN service s ON s.id = c.app",
                  store_day_table(day, table));
}

static int view_make(sqlite3 *db, const int32_t *days, size_t n)
{
    Buffer b = BUFFER_INIT(1U << 20);

    buffer_str(&b, "DROP VIEW IF EXISTS service_check;"
                   "CREATE VIEW service_check(" VIEW_COLUMNS ") AS ");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buffer_str(&b, " UNION ALL ");
        view_arm(&b, days[i]);
    }
    if (n == 0)
        buffer_str(&b, "SELECT 0, '', '', NULL, NULL, NULL, NULL WHERE 0");
    const char *sql = buffer_cstr(&b);
    int r = buffer_error(&b) ? buffer_error(&b) : exec(db, sql);
    buffer_done(&b);
    return r;
}

static int day_make(sqlite3 *db, int32_t day)
{
    char table[STORE_DAY_TABLE_SIZE], sql[192];

    snprintf(sql, sizeof sql,
             "CREATE TABLE %s(app INTEGER, ts INTEGER, facts INTEGER, latency INTEGER,"
             " PRIMARY KEY(app, ts)) WITHOUT ROWID",
             store_day_table(day, table));
    return exec(db, sql);
}

static int day_drop(sqlite3 *db, int32_t day)
{
    char table[STORE_DAY_TABLE_SIZE], sql[64];

    snprintf(sql, sizeof sql, "DROP TABLE %s", store_day_table(day, table));
    return exec(db, sql);
}

static bool has_day(const int32_t *days, size_t n, int32_t day)
{
    for (size_t i = n; i-- > 0;)
        if (days[i] == day)
            return true;
    return false;
}

/* Within the savepoint: the tables first, then the view over what is there afterwards. */
static int days_apply(sqlite3 *db, int32_t from, int32_t to, const int32_t *days, size_t n,
                      size_t n_drop)
{
    int32_t now[STORE_DAYS_MAX];
    size_t n_now = 0;
    int r = 0;

    for (size_t i = 0; i < n_drop && r >= 0; i++)
        r = day_drop(db, days[i]);
    for (int32_t day = from; day <= to && r >= 0; day++)
        if (!has_day(days + n_drop, n - n_drop, day))
            r = day_make(db, day);
    if (r >= 0)
        r = store_days_list(db, now, &n_now);
    return r < 0 ? r : view_make(db, now, n_now);
}

int store_days_change(sqlite3 *db, int32_t from, int32_t to, int32_t keep_from)
{
    int32_t days[STORE_DAYS_MAX];
    size_t n, n_new = 0, n_drop = 0;
    int r = store_days_list(db, days, &n);

    if (r < 0)
        return r;
    for (int32_t day = from; day <= to; day++)
        n_new += !has_day(days, n, day);
    while (n_drop < n && (days[n_drop] < keep_from || n - n_drop + n_new > STORE_DAYS_MAX))
        n_drop++;
    if (n_new == 0 && n_drop == 0)
        return 0;
    r = exec(db, "SAVEPOINT days");
    if (r < 0)
        return r;
    r = days_apply(db, from, to, days, n, n_drop);
    if (r >= 0)
        return exec(db, "RELEASE days");
    exec(db, "ROLLBACK TO days");
    exec(db, "RELEASE days");
    return r;
}
