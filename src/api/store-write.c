/* The writing connection.
 *
 * A batch is sorted by (day, service, time), the order of the primary keys, so that each leaf page
 * is touched once however many rows it gets. Services are known by handle above and by rowid in the
 * file; the map between them is filled as names come and forgets its rowids whenever a transaction
 * fails or the file changes: they are then looked up again.
 *
 * SQLite checkpoints nothing on its own here. Every service's last page is in every transaction, so
 * a checkpoint after several of them copies each page once instead of several times: the log is let
 * grow to some transactions' size, within 4 and 32 MiB. A PASSIVE checkpoint then copies what it
 * can without waiting for anyone; if readers kept it from finishing until the log reached
 * TRUNCATE_PAGES, one that waits for them cuts it. */
#include "api/store-write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/store-clean.h"
#include "api/store-file.h"
#include "api/store-schema.h"
#include "basic/macro.h"

#define CHECKPOINT_MIN   1000 /* pages: 4 MiB */
#define CHECKPOINT_MAX   8192
#define CHECKPOINT_AFTER 8 /* transactions as large as the last one */
#define TRUNCATE_PAGES   16384
#define DAY_STMTS        2 /* around midnight two days are written to */

typedef struct Named {
    int64_t rowid; /* 0: not looked up yet */
    char *pc_id;   /* within the same block as app_id */
    char app_id[];
} Named;

typedef enum Stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_SERVICE_FIND,
    STMT_SERVICE_ADD,
    STMT_TRANSITION,
    STMT_PC_TRANSITION,
    STMT_INCIDENT,
    STMT_OUTBOX,
    STMT_AUDIT,
    STMT_SILENCE,
    STMT_BOOT,
    STMT_HOUR,
    STMT_MAX
} Stmt;

typedef struct DayStmt {
    int32_t day;
    sqlite3_stmt *stmt;
} DayStmt;

struct StoreWrite {
    StoreFile file;
    sqlite3_stmt *stmts[STMT_MAX];
    DayStmt day_stmts[DAY_STMTS];
    size_t next_day_stmt;
    Named **named; /* by handle */
    size_t n_named;
    int log_pages;  /* in the write-ahead log after the last commit */
    int last_pages; /* that this commit put there */
    char error[160];

    StoreClean clean;
};

#define UPSERT_EVIDENCE                                                                \
    " ON CONFLICT(id) DO UPDATE SET evidence = COALESCE(excluded.evidence, evidence)," \
    " cause = COALESCE(NULLIF(excluded.cause, ''), cause),"                            \
    " sentence = COALESCE(NULLIF(excluded.sentence, ''), sentence)"

static const char *const stmt_sql[] = {
    [STMT_BEGIN] = "BEGIN IMMEDIATE",
    [STMT_COMMIT] = "COMMIT",
    [STMT_ROLLBACK] = "ROLLBACK",
    [STMT_SERVICE_FIND] = "SELECT id FROM service WHERE app_id = ? AND pc_id = ?",
    [STMT_SERVICE_ADD] = "INSERT INTO service(app_id, pc_id) VALUES(?, ?)",
    [STMT_TRANSITION] = "INSERT INTO service_transition(id, ts, \"from\", \"to\", cause, sentence,"
                        " evidence, pc_id, app_id) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)" //
    UPSERT_EVIDENCE,
    [STMT_PC_TRANSITION] = "INSERT INTO pc_transition(id, ts, \"from\", \"to\", cause, sentence,"
                           " evidence, pc_id) VALUES(?, ?, ?, ?, ?, ?, ?, ?)" //
    UPSERT_EVIDENCE,
    [STMT_INCIDENT] =
        "INSERT OR REPLACE INTO incident(id, kind, state, app_id, pc_id, began_ts,"
        " opened_ts, closed_ts, cause, sentence, acked_ts, acked_by, ack_comment, held)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_SILENCE] = "INSERT OR REPLACE INTO silence(id, kind, app_id, pc_id, from_ts, until_ts,"
                     " comment, made_by, created_ts) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_BOOT] = "INSERT OR REPLACE INTO pc_boot(pc_id, boot_id, ts) VALUES(?, ?, ?)",
    [STMT_OUTBOX] =
        "INSERT OR REPLACE INTO outbox(incident, event, channel, state, created_ts,"
        " ended_ts, kind, app_id, pc_id, began_ts, opened_ts, closed_ts, cause, sentence)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_AUDIT] = "INSERT INTO audit(id, ts, ended_ts, origin, role, uid, app_id, pc_id, unit,"
                   " action, outcome, reason) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                   " ON CONFLICT(id) DO UPDATE SET ended_ts = excluded.ended_ts,"
                   " outcome = excluded.outcome, reason = excluded.reason",
    [STMT_HOUR] = "INSERT INTO service_hour(service, hour, healthy_ms, observed_ms, transitions)"
                  " VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                  " healthy_ms = healthy_ms + excluded.healthy_ms,"
                  " observed_ms = observed_ms + excluded.observed_ms,"
                  " transitions = transitions + excluded.transitions",
};
_Static_assert(ELEMENTS(stmt_sql) == STMT_MAX, "every statement has its text");

int store_write_new(const char *path, uint32_t checks_days, uint32_t transitions_days,
                    StoreWrite **ret)
{
    StoreWrite *w = calloc(1, sizeof *w);

    if (!w)
        return -ENOMEM;
    w->file = STORE_FILE_INIT;
    w->file.path = strdup(path);
    store_clean_init(&w->clean, checks_days, transitions_days);
    if (!w->file.path) {
        free(w);
        return -ENOMEM;
    }
    *ret = w;
    return 0;
}

StoreWrite *store_write_free(StoreWrite *w)
{
    if (w) {
        store_write_close(w, false, NULL, 0);
        for (size_t i = 0; i < w->n_named; i++)
            free(w->named[i]);
        free(w->named);
        free(w->file.path);
        free(w);
    }
    return NULL;
}

/* Their tables may be gone: dropped, or made in a transaction that was rolled back. */
static void drop_day_stmts(StoreWrite *w)
{
    for (size_t i = 0; i < DAY_STMTS; i++) {
        sqlite3_finalize(w->day_stmts[i].stmt);
        w->day_stmts[i].stmt = NULL;
    }
}

static void forget_rowids(StoreWrite *w)
{
    for (size_t i = 0; i < w->n_named; i++)
        if (w->named[i])
            w->named[i]->rowid = 0;
}

static int count_pages(void *userdata, sqlite3 *db UNUSED, const char *name UNUSED, int pages)
{
    StoreWrite *w = userdata;

    w->last_pages = pages > w->log_pages ? pages - w->log_pages : pages;
    w->log_pages = pages;
    return SQLITE_OK;
}

int store_write_open(StoreWrite *w, char *note, size_t size)
{
    if (w->file.db)
        return 0;
    int r = store_file_open(&w->file, note, size);
    if (r < 0) {
        snprintf(w->error, sizeof w->error, "%s", note);
        return r;
    }
    sqlite3_wal_hook(w->file.db, count_pages, w);
    forget_rowids(w);
    w->log_pages = 0;
    store_clean_restart(&w->clean);
    return 0;
}

static void drop_stmts(StoreWrite *w)
{
    for (size_t i = 0; i < STMT_MAX; i++) {
        sqlite3_finalize(w->stmts[i]);
        w->stmts[i] = NULL;
    }
    drop_day_stmts(w);
}

void store_write_close(StoreWrite *w, bool damaged, char *note, size_t size)
{
    bool was_open = w->file.db != NULL;

    drop_stmts(w);
    store_file_close(&w->file, !damaged);
    if (damaged && was_open)
        store_file_set_aside(w->file.path, "is damaged", note, size);
}

void store_write_follow(StoreWrite *w)
{
    if (!w->file.db || store_file_is_current(&w->file))
        return;
    drop_stmts(w);
    store_file_leave(&w->file);
}

const char *store_write_error(const StoreWrite *w)
{
    return w->error;
}

/* Remembers SQLite's words before a rollback replaces them. */
static int failed(StoreWrite *w, int rc)
{
    snprintf(w->error, sizeof w->error, "%s", sqlite3_errmsg(w->file.db));
    return store_errno(rc);
}

static int failed_errno(StoreWrite *w, int r)
{
    snprintf(w->error, sizeof w->error, "%s", strerror(-r));
    return r;
}

static int prepare(StoreWrite *w, Stmt which, sqlite3_stmt **ret)
{
    if (!w->stmts[which]) {
        int rc = sqlite3_prepare_v3(w->file.db, stmt_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &w->stmts[which], NULL);
        if (rc != SQLITE_OK)
            return failed(w, rc);
    }
    *ret = w->stmts[which];
    return 0;
}

/* Steps a bound statement to its end and makes it ready for the next row. */
static int finish(StoreWrite *w, sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt), r = store_errno(rc) < 0 ? failed(w, rc) : 0;

    sqlite3_reset(stmt);
    return r;
}

static int run(StoreWrite *w, Stmt which)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, which, &stmt);

    return r < 0 ? r : finish(w, stmt);
}

/* A transaction that SQLite has ended by itself (full disk, I/O error) needs no rollback. */
static int roll_back(StoreWrite *w, int r)
{
    if (!sqlite3_get_autocommit(w->file.db)) {
        char kept[sizeof w->error];
        memcpy(kept, w->error, sizeof kept);
        run(w, STMT_ROLLBACK);
        memcpy(w->error, kept, sizeof kept);
    }
    return r;
}

static int commit(StoreWrite *w, int r)
{
    if (r >= 0)
        r = run(w, STMT_COMMIT);
    return r < 0 ? roll_back(w, r) : 0;
}

/* A row that this database will never take: skipped and counted, lest it block all that follow. */
static bool is_row_fault(int r)
{
    return r == -EINVAL || r == -E2BIG;
}

static int learn_name(StoreWrite *w, const StoreName *n)
{
    size_t app = strlen(n->app_id) + 1, pc = strlen(n->pc_id) + 1;

    if (n->handle >= STORE_HANDLES_MAX)
        return 0;
    if (n->handle >= w->n_named) {
        size_t count = MAX((size_t)n->handle + 1, MIN(2 * w->n_named, (size_t)STORE_HANDLES_MAX));
        Named **named = reallocarray(w->named, count, sizeof *named);
        if (!named)
            return -ENOMEM;
        memset(named + w->n_named, 0, (count - w->n_named) * sizeof *named);
        w->named = named;
        w->n_named = count;
    }
    Named *e = malloc(sizeof *e + app + pc);
    if (!e)
        return -ENOMEM;
    e->rowid = 0;
    memcpy(e->app_id, n->app_id, app);
    e->pc_id = e->app_id + app;
    memcpy(e->pc_id, n->pc_id, pc);
    free(w->named[n->handle]);
    w->named[n->handle] = e;
    return 0;
}

static Named *find_named(StoreWrite *w, uint32_t handle)
{
    return handle < w->n_named ? w->named[handle] : NULL;
}

static int find_service(StoreWrite *w, const Named *e, int64_t *ret)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, STMT_SERVICE_FIND, &stmt);

    if (r < 0)
        return r;
    sqlite3_bind_text(stmt, 1, e->app_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, e->pc_id, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    r = store_errno(rc) < 0 ? failed(w, rc) : 0;
    sqlite3_reset(stmt);
    return r;
}

/* The service's id in the file, made when it has none. 0 for an unknown handle. */
static int service_rowid(StoreWrite *w, uint32_t handle, int64_t *ret)
{
    Named *e = find_named(w, handle);
    sqlite3_stmt *stmt = NULL;

    *ret = 0;
    if (!e)
        return 0;
    if (e->rowid == 0) {
        int r = find_service(w, e, &e->rowid);
        if (r < 0)
            return r;
    }
    if (e->rowid == 0) {
        int r = prepare(w, STMT_SERVICE_ADD, &stmt);
        if (r < 0)
            return r;
        sqlite3_bind_text(stmt, 1, e->app_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, e->pc_id, -1, SQLITE_STATIC);
        r = finish(w, stmt);
        if (r < 0)
            return r;
        e->rowid = sqlite3_last_insert_rowid(w->file.db);
    }
    *ret = e->rowid;
    return 0;
}

/* A check as it lies in the file. */
typedef struct Row {
    int64_t app;
    int32_t day, ts, latency;
    uint16_t facts;
} Row;

static int by_key(const void *a, const void *b)
{
    const Row *x = a, *y = b;

    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    if (x->app != y->app)
        return x->app < y->app ? -1 : 1;
    return (x->ts > y->ts) - (x->ts < y->ts);
}

static int collect_rows(StoreWrite *w, const StoreBatch *b, Row *rows, size_t *ret_n)
{
    size_t n = 0;

    for (const StoreChunk *chunk = b->chunks; chunk; chunk = chunk->next)
        for (size_t i = 0; i < chunk->n; i++) {
            const StoreCheck *c = &chunk->checks[i];
            Row *row = &rows[n];
            int r = service_rowid(w, c->handle, &row->app);
            if (r < 0)
                return r;
            if (row->app == 0 || c->ts_ms < 0 || c->ts_ms > STORE_TS_MAX)
                continue;
            row->day = store_day_of(c->ts_ms);
            row->ts = (int32_t)(c->ts_ms % STORE_DAY_MS);
            row->latency = c->latency_us;
            row->facts = c->facts;
            n++;
        }
    qsort(rows, n, sizeof *rows, by_key);
    *ret_n = n;
    return 0;
}

static int prepare_day(StoreWrite *w, int32_t day, sqlite3_stmt **ret)
{
    char table[STORE_DAY_TABLE_SIZE], sql[96];

    for (size_t i = 0; i < DAY_STMTS; i++)
        if (w->day_stmts[i].stmt && w->day_stmts[i].day == day) {
            *ret = w->day_stmts[i].stmt;
            return 0;
        }
    DayStmt *d = &w->day_stmts[w->next_day_stmt++ % DAY_STMTS];
    sqlite3_finalize(d->stmt);
    *d = (DayStmt){.day = day};
    int r = store_days_change(w->file.db, day, day, INT32_MIN);
    if (r < 0)
        return failed_errno(w, r);
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO %s VALUES(?, ?, ?, ?)",
             store_day_table(day, table));
    int rc = sqlite3_prepare_v3(w->file.db, sql, -1, SQLITE_PREPARE_PERSISTENT, &d->stmt, NULL);
    if (rc != SQLITE_OK)
        return failed(w, rc);
    *ret = d->stmt;
    return 0;
}

static int write_rows(StoreWrite *w, const Row *rows, size_t n)
{
    sqlite3_stmt *stmt = NULL;
    int r = 0;

    for (size_t i = 0; i < n && r >= 0; i++) {
        const Row *row = &rows[i];
        if (i == 0 || row->day != rows[i - 1].day) {
            r = prepare_day(w, row->day, &stmt);
            if (r < 0)
                return r;
        }
        sqlite3_bind_int64(stmt, 1, row->app);
        sqlite3_bind_int(stmt, 2, row->ts);
        sqlite3_bind_int(stmt, 3, row->facts);
        if (row->latency >= 0)
            sqlite3_bind_int(stmt, 4, row->latency);
        else
            sqlite3_bind_null(stmt, 4);
        r = finish(w, stmt);
    }
    return r;
}

static int write_checks(StoreWrite *w, const StoreBatch *b, StoreWritten *sum)
{
    size_t n = 0;

    if (b->n_checks == 0)
        return 0;
    CLEANUP_FREE Row *rows = reallocarray(NULL, b->n_checks, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    int r = collect_rows(w, b, rows, &n);
    if (r >= 0)
        r = write_rows(w, rows, n);
    sum->rows += n;
    sum->refused += b->n_checks - n;
    return r;
}

static void bind_text(sqlite3_stmt *stmt, int at, const char *text, const char *otherwise)
{
    if (text || otherwise)
        sqlite3_bind_text(stmt, at, text ? text : otherwise, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(stmt, at);
}

/* A time that has not come yet is NULL. */
static void bind_time(sqlite3_stmt *stmt, int at, int64_t ms)
{
    if (ms)
        sqlite3_bind_int64(stmt, at, ms);
    else
        sqlite3_bind_null(stmt, at);
}

static void bind_subject(sqlite3_stmt *stmt, int at, const StoreIncident *i)
{
    bind_text(stmt, at, i->app_id[0] ? i->app_id : NULL, NULL);
    bind_text(stmt, at + 1, i->pc_id[0] ? i->pc_id : NULL, NULL);
    sqlite3_bind_int64(stmt, at + 2, i->began_ms);
    bind_time(stmt, at + 3, i->opened_ms);
    bind_time(stmt, at + 4, i->closed_ms);
    bind_text(stmt, at + 5, cause_to_string(i->cause), "");
    bind_text(stmt, at + 6, i->sentence, "");
}

/* Ends a row of fixed texts and numbers; one that is never taken is skipped. */
static int finish_record(StoreWrite *w, sqlite3_stmt *stmt, StoreWritten *sum)
{
    int r = finish(w, stmt);

    sqlite3_clear_bindings(stmt);
    if (is_row_fault(r)) {
        sum->refused++;
        return 0;
    }
    sum->rows += r >= 0;
    return r;
}

static int write_incident(StoreWrite *w, const StoreIncident *i, StoreWritten *sum)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, STMT_INCIDENT, &stmt);

    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, i->id);
    bind_text(stmt, 2, i->kind, NULL);
    bind_text(stmt, 3, i->state, NULL);
    bind_subject(stmt, 4, i);
    bind_time(stmt, 11, i->acked_ms);
    bind_text(stmt, 12, i->acked_ms ? i->acked_by : NULL, NULL);
    bind_text(stmt, 13, i->acked_ms ? i->ack_comment : NULL, NULL);
    sqlite3_bind_int(stmt, 14, i->held);
    return finish_record(w, stmt, sum);
}

static int write_silence(StoreWrite *w, const Silence *i, StoreWritten *sum)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, STMT_SILENCE, &stmt);

    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, i->id);
    bind_text(stmt, 2, silence_kind_to_string(i->kind), NULL);
    bind_text(stmt, 3, i->app_id[0] ? i->app_id : NULL, NULL);
    bind_text(stmt, 4, i->pc_id[0] ? i->pc_id : NULL, NULL);
    sqlite3_bind_int64(stmt, 5, i->from_ms);
    sqlite3_bind_int64(stmt, 6, i->until_ms);
    bind_text(stmt, 7, i->comment, "");
    bind_text(stmt, 8, i->by, "");
    sqlite3_bind_int64(stmt, 9, i->created_ms);
    return finish_record(w, stmt, sum);
}

static int write_boot(StoreWrite *w, const StoreBoot *b, StoreWritten *sum)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, STMT_BOOT, &stmt);

    if (r < 0)
        return r;
    bind_text(stmt, 1, b->pc_id, NULL);
    bind_text(stmt, 2, b->boot_id, NULL);
    sqlite3_bind_int64(stmt, 3, b->ts_ms);
    return finish_record(w, stmt, sum);
}

static int write_outbox(StoreWrite *w, const StoreOutbox *o, StoreWritten *sum)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, STMT_OUTBOX, &stmt);

    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, o->incident.id);
    bind_text(stmt, 2, o->event, NULL);
    bind_text(stmt, 3, o->channel, NULL);
    bind_text(stmt, 4, o->state, NULL);
    sqlite3_bind_int64(stmt, 5, o->created_ms);
    bind_time(stmt, 6, o->ended_ms);
    bind_text(stmt, 7, o->incident.kind, NULL);
    bind_subject(stmt, 8, &o->incident);
    return finish_record(w, stmt, sum);
}

static int write_audit(StoreWrite *w, const StoreAudit *a, StoreWritten *sum)
{
    sqlite3_stmt *stmt = NULL;
    int r = prepare(w, STMT_AUDIT, &stmt);

    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, a->id);
    sqlite3_bind_int64(stmt, 2, a->ts_ms);
    bind_time(stmt, 3, a->ended_ms);
    bind_text(stmt, 4, a->origin, NULL);
    bind_text(stmt, 5, a->role, NULL);
    if (a->uid >= 0)
        sqlite3_bind_int64(stmt, 6, a->uid);
    else
        sqlite3_bind_null(stmt, 6);
    bind_text(stmt, 7, a->app_id, NULL);
    bind_text(stmt, 8, a->pc_id, NULL);
    bind_text(stmt, 9, a->unit, NULL);
    bind_text(stmt, 10, a->action, NULL);
    bind_text(stmt, 11, a->outcome, NULL);
    bind_text(stmt, 12, a->reason, NULL);
    return finish_record(w, stmt, sum);
}

static int write_event(StoreWrite *w, const StoreTransition *t, StoreWritten *sum)
{
    const Named *e = t->handle ? find_named(w, t->handle) : NULL;
    const char *pc_id = e ? e->pc_id : t->pc_id;
    sqlite3_stmt *stmt = NULL;

    if ((t->handle && !e) || !pc_id) {
        sum->refused++;
        return 0;
    }
    int r = prepare(w, t->handle ? STMT_TRANSITION : STMT_PC_TRANSITION, &stmt);
    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, t->id);
    sqlite3_bind_int64(stmt, 2, t->ts_ms);
    bind_text(stmt, 3, actual_to_string(t->from), "");
    bind_text(stmt, 4, actual_to_string(t->to), "");
    bind_text(stmt, 5, cause_to_string(t->cause), "");
    bind_text(stmt, 6, t->sentence, "");
    bind_text(stmt, 7, t->evidence, NULL);
    bind_text(stmt, 8, pc_id, NULL);
    if (e)
        bind_text(stmt, 9, e->app_id, NULL);
    r = finish(w, stmt);
    sqlite3_clear_bindings(stmt);
    if (is_row_fault(r)) {
        sum->refused++;
        return 0;
    }
    sum->rows += r >= 0;
    return r;
}

static int write_hour(StoreWrite *w, const StoreHour *h, StoreWritten *sum)
{
    sqlite3_stmt *stmt = NULL;
    int64_t service;
    int r = service_rowid(w, h->handle, &service);

    if (r < 0)
        return r;
    if (service == 0 || h->hour_ms < 0 || h->hour_ms > STORE_TS_MAX) {
        sum->refused++;
        return 0;
    }
    r = prepare(w, STMT_HOUR, &stmt);
    if (r < 0)
        return r;
    sqlite3_bind_int64(stmt, 1, service);
    sqlite3_bind_int64(stmt, 2, h->hour_ms / STORE_HOUR_MS);
    sqlite3_bind_int64(stmt, 3, h->healthy_ms);
    sqlite3_bind_int64(stmt, 4, h->observed_ms);
    sqlite3_bind_int64(stmt, 5, h->transitions);
    r = finish(w, stmt);
    sum->rows += r >= 0;
    return r;
}

static int write_one(StoreWrite *w, const StoreEvent *e, StoreWritten *sum)
{
    switch (e->kind) {
    case STORE_EVENT_INCIDENT: return write_incident(w, store_event_incident(e), sum);
    case STORE_EVENT_OUTBOX: return write_outbox(w, store_event_outbox(e), sum);
    case STORE_EVENT_SILENCE: return write_silence(w, store_event_silence(e), sum);
    case STORE_EVENT_BOOT: return write_boot(w, store_event_boot(e), sum);
    case STORE_EVENT_AUDIT: return write_audit(w, store_event_audit(e), sum);
    case STORE_EVENT_TRANSITION: return write_event(w, &e->t, sum);
    }
    return 0;
}

static int write_all(StoreWrite *w, const StoreBatch *b, StoreWritten *sum)
{
    int r = write_checks(w, b, sum);

    for (const StoreEvent *e = b->events; e && r >= 0; e = e->next)
        r = write_one(w, e, sum);
    for (size_t i = 0; i < b->n_hours && r >= 0; i++)
        r = write_hour(w, &b->hours[i], sum);
    return r;
}

int store_write_batch(StoreWrite *w, const StoreBatch *b, StoreWritten *ret)
{
    StoreWritten sum = {0};

    for (const StoreName *n = b->names; n; n = n->next) {
        int r = learn_name(w, n);
        if (r < 0)
            return r;
    }
    int r = run(w, STMT_BEGIN);
    if (r < 0)
        return r;
    r = commit(w, write_all(w, b, &sum));
    if (r < 0) {
        forget_rowids(w);
        drop_day_stmts(w);
        return r;
    }
    *ret = sum;
    return 0;
}

int store_write_checkpoint(StoreWrite *w)
{
    int mode =
        w->log_pages >= TRUNCATE_PAGES ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int enough = MIN(MAX(CHECKPOINT_AFTER * w->last_pages, CHECKPOINT_MIN), CHECKPOINT_MAX);

    if (w->log_pages < enough)
        return 0;
    int rc = sqlite3_wal_checkpoint_v2(w->file.db, NULL, mode, NULL, NULL);
    if (rc == SQLITE_BUSY)
        return 0; /* a reader; the next one gets further */
    return rc == SQLITE_OK ? 0 : failed(w, rc);
}

void store_write_keep(StoreWrite *w, uint32_t checks_days, uint32_t transitions_days)
{
    store_clean_keep(&w->clean, checks_days, transitions_days);
}

int store_write_clean(StoreWrite *w, Now now)
{
    if (!w->file.db)
        return 0;
    int r = store_clean_step(&w->clean, w->file.db, now);
    drop_day_stmts(w); /* their tables may be gone */
    return r < 0 ? failed_errno(w, r) : r;
}
