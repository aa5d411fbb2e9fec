/* The reading connection of history.
 *
 * Each question is one read transaction, so its parts fit together, and the transaction ends with
 * it: a reader that stays open keeps the writer from reusing the log, which then grows for ever.
 * The points come from the day tables by primary key, never from the view over all of them.
 *
 * The connection is opened at the first question and again whenever the path names another file
 * (the writer set a damaged one aside) or after an error. What is read back is not trusted: ids,
 * texts and evidence of a file that somebody edited must not break the JSON. */
#include "api/history-read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/store-schema.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/json.h"
#include "common/name.h"
#include "common/protocol.h"

#define STEPS_PER_LOOK 4000
#define BUSY_MS        500

struct HistoryRead {
    char *path;
    sqlite3 *db;
    dev_t dev;
    ino_t ino;
    bool (*stop)(void *userdata);
    void *userdata;
};

static int look_up(void *userdata)
{
    HistoryRead *h = userdata;

    return h->stop(h->userdata);
}

int history_read_new(const char *path, bool (*stop)(void *userdata), void *userdata,
                     HistoryRead **ret)
{
    HistoryRead *h = calloc(1, sizeof *h);

    if (!h)
        return -ENOMEM;
    h->path = strdup(path);
    h->stop = stop;
    h->userdata = userdata;
    if (!h->path) {
        free(h);
        return -ENOMEM;
    }
    *ret = h;
    return 0;
}

static void history_read_close(HistoryRead *h)
{
    sqlite3_close(h->db);
    h->db = NULL;
}

HistoryRead *history_read_free(HistoryRead *h)
{
    if (h) {
        history_read_close(h);
        free(h->path);
        free(h);
    }
    return NULL;
}

static int history_read_open(HistoryRead *h)
{
    struct stat st;

    if (stat(h->path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADMSG;
    if (h->db && st.st_ino == h->ino && st.st_dev == h->dev)
        return 0;
    history_read_close(h);
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int r = store_errno(sqlite3_open_v2(h->path, &h->db, flags, NULL));
    if (r < 0)
        return r;
    h->dev = st.st_dev;
    h->ino = st.st_ino;
    sqlite3_busy_timeout(h->db, BUSY_MS);
    sqlite3_db_config(h->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(h->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_progress_handler(h->db, STEPS_PER_LOOK, look_up, h);
    return store_errno(sqlite3_exec(h->db, "PRAGMA query_only = ON", NULL, NULL, NULL));
}

static void stmt_donep(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

static const char *text_at(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return text ? text : "";
}

/* Evidence goes into the answer as it is, so it has to be what it claims. */
static const char *checked_evidence(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    if (!text)
        return NULL;
    CLEANUP(json_freep) Json *j = json_parse(text, (size_t)sqlite3_column_bytes(stmt, column));
    return json_is_object(j) ? text : NULL;
}

/* Columns: id, ts, app_id, pc_id, from, to, cause, sentence, evidence. */
static void write_transition(sqlite3_stmt *stmt, Buffer *out)
{
    const char *app_id = text_at(stmt, 2), *pc_id = text_at(stmt, 3);
    TransitionRow row = {
        .id = sqlite3_column_int64(stmt, 0),
        .ts = sqlite3_column_int64(stmt, 1),
        .from = actual_from_string(text_at(stmt, 4)),
        .to = actual_from_string(text_at(stmt, 5)),
        .cause = cause_from_string(text_at(stmt, 6)),
    };

    if ((app_id[0] && !name_is_id(app_id)) || !name_is_id(pc_id))
        return;
    text_copy(row.app_id, sizeof row.app_id, app_id);
    text_copy(row.pc_id, sizeof row.pc_id, pc_id);
    if (row.from == ACTUAL_INVALID)
        row.from = ACTUAL_UNKNOWN;
    if (row.to == ACTUAL_INVALID)
        row.to = ACTUAL_UNKNOWN;
    if (row.cause == CAUSE_INVALID)
        row.cause = CAUSE_NONE;
    const char *sentence = text_at(stmt, 7);
    text_clean(row.sentence, sizeof row.sentence, sentence, strlen(sentence));
    row.evidence = checked_evidence(stmt, 8);
    transition_row_write(out, &row);
}

/* Walks all rows; a full buffer or a wish to stop ends it early. */
static int write_rows(HistoryRead *h, sqlite3_stmt *stmt, Buffer *out,
                      void (*write)(sqlite3_stmt *stmt, Buffer *out))
{
    int rc;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        write(stmt, out);
        if (buffer_error(out))
            return buffer_error(out);
        if (h->stop(h->userdata))
            return -ETIMEDOUT;
    }
    return store_errno(rc);
}

#define EVENT_COLUMNS "pc_id, \"from\", \"to\", cause, sentence, evidence"

static int read_transitions(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
    static const char sql[] = "SELECT id, ts, app_id, " EVENT_COLUMNS " FROM service_transition"
                              " WHERE app_id = ? AND pc_id = ? ORDER BY ts DESC, id DESC LIMIT ?";
    CLEANUP(stmt_donep) sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL);

    if (rc != SQLITE_OK)
        return store_errno(rc);
    sqlite3_bind_text(stmt, 1, q->app_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, q->pc_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 3, q->transitions);
    return write_rows(h, stmt, out, write_transition);
}

/* Each half is sorted and cut by its index before the two are merged. */
static int read_all_transitions(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
    static const char sql[] =
        "SELECT * FROM (SELECT id, ts, app_id, " EVENT_COLUMNS " FROM service_transition"
        " WHERE ts > ?1 ORDER BY ts DESC, id DESC LIMIT ?2)"
        " UNION ALL SELECT * FROM (SELECT id, ts, '', " EVENT_COLUMNS " FROM pc_transition"
        " WHERE ts > ?1 ORDER BY ts DESC, id DESC LIMIT ?2)"
        " ORDER BY 2 DESC, 1 DESC LIMIT ?2";
    CLEANUP(stmt_donep) sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL);

    if (rc != SQLITE_OK)
        return store_errno(rc);
    sqlite3_bind_int64(stmt, 1, q->since_ms);
    sqlite3_bind_int64(stmt, 2, q->limit);
    return write_rows(h, stmt, out, write_transition);
}

static int find_service(HistoryRead *h, const HistoryQuestion *q, int64_t *ret)
{
    CLEANUP(stmt_donep) sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(h->db, "SELECT id FROM service WHERE app_id = ? AND pc_id = ?", -1,
                                &stmt, NULL);

    if (rc != SQLITE_OK)
        return store_errno(rc);
    sqlite3_bind_text(stmt, 1, q->app_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, q->pc_id, -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    return store_errno(rc);
}

/* Columns: hour, healthy_ms, observed_ms, transitions. */
static void write_hour(sqlite3_stmt *stmt, Buffer *out)
{
    int64_t healthy = sqlite3_column_int64(stmt, 1), observed = sqlite3_column_int64(stmt, 2);

    json_open_object(out, NULL);
    json_int(out, "hour", sqlite3_column_int64(stmt, 0) * STORE_HOUR_MS);
    if (observed > 0)
        json_double(out, "healthy_ratio",
                    healthy >= observed ? 1.0 : (double)MAX(healthy, 0) / (double)observed);
    else
        json_null(out, "healthy_ratio");
    json_int(out, "transitions", sqlite3_column_int64(stmt, 3));
    json_int(out, "observed_ms", observed);
    json_close_object(out);
}

static int read_hours(HistoryRead *h, const HistoryQuestion *q, int64_t service, Buffer *out)
{
    static const char sql[] = "SELECT hour, healthy_ms, observed_ms, transitions FROM service_hour"
                              " WHERE service = ? AND hour > ? AND hour <= ? ORDER BY hour";
    CLEANUP(stmt_donep) sqlite3_stmt *stmt = NULL;
    int64_t now = q->now_ms / STORE_HOUR_MS;
    int rc = sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL);

    if (rc != SQLITE_OK)
        return store_errno(rc);
    sqlite3_bind_int64(stmt, 1, service);
    sqlite3_bind_int64(stmt, 2, now - q->hours);
    sqlite3_bind_int64(stmt, 3, now);
    return write_rows(h, stmt, out, write_hour);
}

/* The checks of one stretch of time, added up. */
typedef struct Stretch {
    int64_t index;          /* -1: none yet */
    int64_t checks, ts_sum; /* of ts - start */
    int64_t latencies, latency_sum;
} Stretch;

static void write_stretch(const Stretch *s, int64_t start_ms, Buffer *out)
{
    if (s->checks == 0)
        return;
    json_open_array(out, NULL);
    json_int(out, NULL, start_ms + s->ts_sum / s->checks);
    if (s->latencies)
        json_ms(out, NULL, s->latency_sum / s->latencies);
    else
        json_null(out, NULL);
    json_close_array(out);
}

/* The rows of one day table within [start, now], added to the running stretch. */
static int read_day(HistoryRead *h, const HistoryQuestion *q, int64_t service, int32_t day,
                    Stretch *s, Buffer *out)
{
    CLEANUP(stmt_donep) sqlite3_stmt *stmt = NULL;
    int64_t start = q->now_ms - STORE_DAY_MS, base = (int64_t)day * STORE_DAY_MS;
    char table[STORE_DAY_TABLE_SIZE], sql[160];
    int rc;

    snprintf(sql, sizeof sql,
             "SELECT ts, latency FROM %s WHERE app = ? AND ts > ? AND ts <= ? ORDER BY ts",
             store_day_table(day, table));
    rc = sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return store_errno(rc);
    sqlite3_bind_int64(stmt, 1, service);
    sqlite3_bind_int64(stmt, 2, start - base);
    sqlite3_bind_int64(stmt, 3, q->now_ms - base);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t at = base + sqlite3_column_int64(stmt, 0) - start;
        int64_t index = at * q->points / (STORE_DAY_MS + 1);
        if (index != s->index) {
            write_stretch(s, start, out);
            *s = (Stretch){.index = index};
        }
        s->checks++;
        s->ts_sum += at;
        if (sqlite3_column_type(stmt, 1) != SQLITE_NULL) {
            s->latencies++;
            s->latency_sum += sqlite3_column_int(stmt, 1);
        }
    }
    return store_errno(rc);
}

static int read_latency(HistoryRead *h, const HistoryQuestion *q, int64_t service, Buffer *out)
{
    int32_t days[STORE_DAYS_MAX], first = store_day_of(q->now_ms - STORE_DAY_MS);
    Stretch s = {.index = -1};
    size_t n;
    int r = store_days_list(h->db, days, &n);

    for (size_t i = 0; i < n && r >= 0; i++)
        if (days[i] >= first && days[i] <= store_day_of(q->now_ms))
            r = read_day(h, q, service, days[i], &s, out);
    write_stretch(&s, q->now_ms - STORE_DAY_MS, out);
    return r;
}

static int answer_service(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
    int64_t service = 0;
    int r = find_service(h, q, &service);

    json_open_object(out, NULL);
    json_open_array(out, "transitions");
    if (r >= 0 && q->transitions)
        r = read_transitions(h, q, out);
    json_close_array(out);
    json_open_array(out, "hours");
    if (r >= 0 && service && q->hours)
        r = read_hours(h, q, service, out);
    json_close_array(out);
    json_open_array(out, "latency");
    if (r >= 0 && service && q->points)
        r = read_latency(h, q, service, out);
    json_close_array(out);
    json_close_object(out);
    return r;
}

static int answer_transitions(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
    json_open_array(out, NULL);
    int r = read_all_transitions(h, q, out);
    json_close_array(out);
    return r;
}

/* A row as any version may have written it; what people see is cleaned. */
static void write_audit(sqlite3_stmt *stmt, Buffer *out)
{
    static const char *const texts[] = {"origin", "role",   "app_id",  "pc_id",
                                        "unit",   "action", "outcome", "reason"};
    char clean[SENTENCE_MAX];

    json_open_object(out, NULL);
    json_int(out, "id", sqlite3_column_int64(stmt, 0));
    json_time(out, "ts", sqlite3_column_int64(stmt, 1));
    json_time(out, "ended_ts", sqlite3_column_int64(stmt, 2));
    if (sqlite3_column_type(stmt, 3) == SQLITE_NULL)
        json_null(out, "uid");
    else
        json_int(out, "uid", sqlite3_column_int64(stmt, 3));
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        const char *text = text_at(stmt, (int)i + 4);
        text_clean(clean, sizeof clean, text, strlen(text));
        json_string(out, texts[i], clean[0] ? clean : NULL);
    }
    json_close_object(out);
}

static int answer_audit(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
#define AUDIT_ROWS                                                                              \
    "SELECT id, ts, ended_ts, uid, origin, role, app_id, pc_id, unit, action, outcome, reason " \
    "FROM audit"
    const char *sql = q->id ? AUDIT_ROWS " WHERE id = ?1 LIMIT ?2"
                            : AUDIT_ROWS " WHERE ts > ?1 ORDER BY ts DESC, id DESC LIMIT ?2";
    CLEANUP(stmt_donep) sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL);

    if (rc != SQLITE_OK)
        return store_errno(rc);
    sqlite3_bind_int64(stmt, 1, q->id);
    sqlite3_bind_int64(stmt, 2, q->limit);
    json_open_array(out, NULL);
    int r = write_rows(h, stmt, out, write_audit);
    json_close_array(out);
    return r;
}

static int answer(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
    switch (q->kind) {
    case HISTORY_SERVICE: return answer_service(h, q, out);
    case HISTORY_TRANSITIONS: return answer_transitions(h, q, out);
    case HISTORY_AUDIT: return answer_audit(h, q, out);
    }
    return -EINVAL;
}

int history_read(HistoryRead *h, const HistoryQuestion *q, Buffer *out)
{
    int r = history_read_open(h);

    if (r >= 0)
        r = store_errno(sqlite3_exec(h->db, "BEGIN", NULL, NULL, NULL));
    if (r >= 0)
        r = answer(h, q, out);
    if (r >= 0 && buffer_error(out))
        r = buffer_error(out);
    if (h->db && !sqlite3_get_autocommit(h->db))
        sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
    /* a stop would interrupt the rollback too; closing always ends the transaction */
    if (h->db && (r < 0 || !sqlite3_get_autocommit(h->db)))
        history_read_close(h);
    return r;
}
