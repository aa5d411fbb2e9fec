/* Questions about the past: right answers, in order, within bounds, and never a word after the
 * asker has gone. */
#include "api/test-store.h"

#include <errno.h>
#include <poll.h>

#include "api/history.h"
#include "api/store-schema.h"
#include "api/store.h"
#include "basic/clock.h"
#include "basic/log.h"
#include "common/json.h"

static int64_t noon; /* of the day ten days ago */

typedef struct Answer {
    int calls;
    int error;
    Json *json;
    char *text;
} Answer;

static void answer_done(Answer *a)
{
    json_free(a->json);
    free(a->text);
    *a = (Answer){0};
}

static void on_answer(void *userdata, int error, const char *json, size_t len)
{
    Answer *a = userdata;

    a->calls++;
    a->error = error;
    if (json) {
        assert_int_equal(strlen(json), len);
        a->json = json_parse(json, len);
        assert_non_null(a->json);
        a->text = strdup(json);
    }
}

/* Runs the loop until the answer is there. */
static void wait_for(Nest *nest, const Answer *a)
{
    for (int i = 0; i < 3000 && a->calls == 0; i++) {
        struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};
        poll(&p, 1, 10);
        nest_dispatch(nest);
    }
    assert_int_equal(a->calls, 1);
}

static HistoryQuestion about_web(uint32_t transitions, uint32_t hours, uint32_t points)
{
    return (HistoryQuestion){
        .kind = HISTORY_SERVICE,
        .app_id = "web",
        .pc_id = "alpha",
        .transitions = transitions,
        .hours = hours,
        .points = points,
        .now_ms = noon,
    };
}

static Answer ask(const char *path, const HistoryQuestion *q)
{
    Nest *nest = NULL;
    History *h = NULL;
    Answer a = {0};

    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(path, nest, &h), 0);
    assert_int_equal(history_ask(h, q, on_answer, &a, NULL), 0);
    wait_for(nest, &a);
    assert_null(history_free(h));
    nest_free(nest);
    return a;
}

static Store *open_store(const char *path)
{
    char note[512];
    Store *s = NULL;

    assert_int_equal(store_open(path, 366, 3660, note, sizeof note, &s), 0);
    store_add_service(s, 1, "web", "alpha");
    store_add_service(s, 2, "db", "alpha");
    return s;
}

static void add_transition(Store *s, int64_t id, int64_t ts, uint32_t handle, const char *evidence)
{
    StoreTransition t = {
        .id = id,
        .ts_ms = ts,
        .handle = handle,
        .pc_id = "beta",
        .from = ACTUAL_RUNNING,
        .to = ACTUAL_UNREACHABLE,
        .cause = CAUSE_HOST_TIMEOUT,
        .sentence = "no answer",
        .evidence = evidence,
    };

    store_add_transition(s, &t);
}

static int64_t int_of(const Json *object, const char *key)
{
    return json_as_int(json_get(object, key), INT64_MIN);
}

static void test_transitions_of_one(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    for (int64_t i = 1; i <= 50; i++)
        add_transition(s, i, noon - 1000 + i / 2, (uint32_t)(1 + i % 2),
                       i % 4 == 0 ? "{\"status\": 9}" : NULL);
    store_close(s);
    HistoryQuestion q = about_web(10, 0, 0);
    Answer a = ask(f->path, &q);
    assert_int_equal(a.error, 0);
    const Json *list = json_get(a.json, "transitions");
    assert_int_equal(json_length(list), 10);
    int64_t id = 50;
    for (const Json *row = json_first(list); row; row = json_next(row), id -= 2) {
        assert_int_equal(int_of(row, "id"), id);
        assert_int_equal(int_of(row, "ts"), noon - 1000 + id / 2);
        assert_string_equal(json_as_string(json_get(row, "app_id"), ""), "web");
        assert_string_equal(json_as_string(json_get(row, "to"), ""), "unreachable");
        assert_string_equal(json_as_string(json_get(row, "cause"), ""), "host-timeout");
        assert_int_equal(int_of(json_get(row, "evidence"), "status"), id % 4 ? INT64_MIN : 9);
    }
    assert_int_equal(json_length(json_get(a.json, "hours")), 0);
    assert_int_equal(json_length(json_get(a.json, "latency")), 0);
    answer_done(&a);
}

static void test_transitions_of_all(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    for (int64_t i = 1; i <= 30; i++)
        add_transition(s, i, noon + i, (uint32_t)(i % 3), NULL);
    store_close(s);
    HistoryQuestion q = {
        .kind = HISTORY_TRANSITIONS, .since_ms = noon + 5, .limit = 10, .now_ms = noon};
    Answer a = ask(f->path, &q);
    assert_int_equal(json_length(a.json), 10);
    int64_t id = 30;
    for (const Json *row = json_first(a.json); row; row = json_next(row), id--) {
        assert_int_equal(int_of(row, "id"), id);
        assert_string_equal(json_as_string(json_get(row, "pc_id"), ""), id % 3 ? "alpha" : "beta");
        assert_true(json_is_null(json_get(row, "app_id")) == (id % 3 == 0));
    }
    answer_done(&a);
    q.limit = 10000;
    a = ask(f->path, &q);
    assert_int_equal(json_length(a.json), 25);
    answer_done(&a);
    q.since_ms = noon + 30;
    a = ask(f->path, &q);
    assert_string_equal(a.text, "[]");
    answer_done(&a);
}

static void test_audit(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    StoreAudit audit = {.uid = 1000,
                        .origin = "cli",
                        .role = "token",
                        .app_id = "web",
                        .pc_id = "alpha",
                        .unit = "web.service",
                        .action = "stop",
                        .outcome = "done"};

    for (int i = 1; i <= 30; i++) {
        audit.id = i;
        audit.ts_ms = noon + i;
        audit.ended_ms = i % 2 ? noon + i + 5 : 0;
        store_add_audit(s, &audit);
    }
    store_close(s);
    /* as only a person with an editor can make one */
    sqlite3 *db = db_open(f->path);
    db_exec(db, "INSERT INTO audit VALUES(31, 1, NULL, char(27) || '[2J', '', NULL, '', '', '', '',"
                " '<b>', char(8238))");
    sqlite3_close(db);
    HistoryQuestion q = {.kind = HISTORY_AUDIT, .limit = 10, .now_ms = noon};
    Answer a = ask(f->path, &q);
    assert_int_equal(json_length(a.json), 10);
    int64_t id = 30;
    for (const Json *row = json_first(a.json); row; row = json_next(row), id--) {
        assert_int_equal(int_of(row, "id"), id);
        assert_int_equal(int_of(row, "uid"), 1000);
        assert_true(json_is_null(json_get(row, "ended_ts")) == (id % 2 == 0));
        assert_true(json_is_null(json_get(row, "reason")));
        assert_string_equal(json_as_string(json_get(row, "action"), ""), "stop");
    }
    answer_done(&a);
    q.id = 7;
    a = ask(f->path, &q);
    assert_int_equal(json_length(a.json), 1);
    assert_int_equal(int_of(json_first(a.json), "ts"), noon + 7);
    answer_done(&a);
    q.id = 31;
    a = ask(f->path, &q);
    assert_null(strpbrk(a.text, "\033<"));
    assert_true(json_is_null(json_get(json_first(a.json), "uid")));
    assert_string_equal(json_as_string(json_get(json_first(a.json), "reason"), ""), "?");
    answer_done(&a);
    q.id = 99;
    a = ask(f->path, &q);
    assert_string_equal(a.text, "[]");
    answer_done(&a);
}

static void test_hours(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    for (int i = 0; i < 5; i++)
        store_add_hour(s, noon - i * STORE_HOUR_MS, 1, i == 1 ? 900000 : 0, i == 2 ? 0 : 3600000,
                       (uint32_t)i);
    store_add_hour(s, noon + STORE_HOUR_MS, 1, 1, 1, 0); /* the clock went back */
    store_close(s);
    HistoryQuestion q = about_web(0, 4, 0);
    Answer a = ask(f->path, &q);
    const Json *hours = json_get(a.json, "hours");
    assert_int_equal(json_length(hours), 4);
    int i = 3;
    for (const Json *row = json_first(hours); row; row = json_next(row), i--) {
        assert_int_equal(int_of(row, "hour"), noon - i * STORE_HOUR_MS);
        assert_int_equal(int_of(row, "transitions"), i);
        assert_int_equal(int_of(row, "observed_ms"), i == 2 ? 0 : 3600000);
        const Json *ratio = json_get(row, "healthy_ratio");
        if (i == 2)
            assert_true(ratio && json_is_null(ratio));
        else
            assert_true(json_as_double(ratio, -1) == (i == 1 ? 0.25 : 0.0));
    }
    answer_done(&a);
}

static void test_points(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    int64_t start = noon - STORE_DAY_MS;

    /* a check each 10 s over 30 hours, across midnight; an hour of them without latency, an hour
     * without checks at all */
    for (int64_t ts = noon - 30 * STORE_HOUR_MS; ts <= noon; ts += 10000) {
        int64_t hour = (noon - ts) / STORE_HOUR_MS;
        if (hour == 7)
            continue;
        store_add_check(s, ts, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200,
                        hour == 3 ? -1 : (int32_t)(hour * 1000 + 500));
        store_add_check(s, ts, 2, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 77);
    }
    store_close(s);
    HistoryQuestion q = about_web(0, 0, 96);
    Answer a = ask(f->path, &q);
    const Json *points = json_get(a.json, "latency");
    assert_in_range(json_length(points), 91, 93);
    int64_t last = start, nulls = 0;
    for (const Json *p = json_first(points); p; p = json_next(p)) {
        int64_t ts = json_as_int(json_first(p), 0);
        const Json *latency = json_next(json_first(p));
        int64_t hour = (noon - ts) / STORE_HOUR_MS;
        assert_int_equal(json_length(p), 2);
        assert_true(ts > last && ts <= noon);
        assert_int_not_equal(hour, 7);
        if (json_is_null(latency))
            nulls++;
        else if ((noon - ts) % STORE_HOUR_MS / 900000 != 0) /* stretches within one hour */
            assert_true(json_as_double(latency, -1) <= (double)hour + 1.6);
        last = ts;
    }
    assert_in_range(nulls, 3, 4);
    answer_done(&a);
    /* more stretches than checks: each check is its own point, exactly */
    q.points = 2000;
    q.now_ms = noon - 29 * STORE_HOUR_MS;
    a = ask(f->path, &q);
    points = json_get(a.json, "latency");
    assert_in_range(json_length(points), 80, 361);
    answer_done(&a);
    q.points = 1;
    q.now_ms = noon;
    a = ask(f->path, &q);
    assert_int_equal(json_length(json_get(a.json, "latency")), 1);
    answer_done(&a);
}

static void test_nobody_and_nothing(void **state)
{
    Scratch *f = *state;
    HistoryQuestion q = about_web(10, 10, 10);
    Answer a = ask(f->path, &q);

    assert_int_equal(a.error, -ENOENT);
    assert_null(a.json);
    answer_done(&a);
    store_close(open_store(f->path));
    a = ask(f->path, &q); /* a service that was never checked */
    assert_string_equal(a.text, "{\"transitions\":[],\"hours\":[],\"latency\":[]}");
    answer_done(&a);
    memset(q.app_id, 'x', sizeof q.app_id); /* no end to it */
    a = ask(f->path, &q);
    assert_int_equal(a.error, 0);
    answer_done(&a);
    write_file(f->path, "not a database, though it has quite some bytes to show for itself, see",
               70);
    a = ask(f->path, &q);
    assert_int_equal(a.error, -EBADMSG);
    answer_done(&a);
}

/* Somebody edited the file: the answer stays JSON and within our words. */
static void test_hostile_rows(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    add_transition(s, 1, noon, 1, NULL);
    store_close(s);
    sqlite3 *db = db_open(f->path);
    db_exec(db,
            "UPDATE service_transition SET \"from\" = 'dancing', \"to\" = x'ff00', cause = '\"',"
            " sentence = 'a' || char(27) || '[31m' || char(8238) || '\"\\' || x'ff',"
            " evidence = '{\"a\":1},{\"b\":2}';"
            "INSERT INTO service_transition VALUES(2, 5, '../etc', 'alpha', '', '', '', '', NULL);"
            "INSERT INTO service_transition VALUES(3, 6, 'web', '', '', '', '', '', NULL);"
            "INSERT INTO service_transition VALUES(4, 'text', 'web', 'alpha', '', '', '', '',"
            " '[1]')");
    sqlite3_close(db);
    HistoryQuestion q = {.kind = HISTORY_TRANSITIONS, .limit = 100, .now_ms = noon};
    Answer a = ask(f->path, &q);
    assert_int_equal(a.error, 0);
    assert_int_equal(json_length(a.json), 2);
    for (const Json *row = json_first(a.json); row; row = json_next(row)) {
        assert_true(json_is_null(json_get(row, "evidence")));
        assert_string_equal(json_as_string(json_get(row, "from"), ""), "unknown");
        assert_string_equal(json_as_string(json_get(row, "to"), ""), "unknown");
    }
    assert_null(strchr(a.text, 27));
    answer_done(&a);
}

static void test_follows_another_file(void **state)
{
    Scratch *f = *state;
    Nest *nest = NULL;
    History *h = NULL;
    HistoryQuestion q = {.kind = HISTORY_TRANSITIONS, .limit = 100, .now_ms = noon};
    char aside[128];

    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &h), 0);
    for (int64_t round = 1; round <= 3; round++) {
        Store *s = open_store(f->path);
        Answer a = {0};
        for (int64_t i = 0; i < round; i++)
            add_transition(s, i + 1, noon, 1, NULL);
        assert_int_equal(store_flush(s, 10000), 0);
        assert_int_equal(history_ask(h, &q, on_answer, &a, NULL), 0);
        wait_for(nest, &a);
        assert_int_equal(a.error, 0);
        assert_int_equal(json_length(a.json), round);
        answer_done(&a);
        store_close(s);
        snprintf(aside, sizeof aside, "%s/aside%lld", f->folder, (long long)round);
        assert_int_equal(rename(f->path, aside), 0);
    }
    history_free(h);
    nest_free(nest);
}

/* No transaction is left open between questions: the log can be cut. */
static void test_leaves_nothing_open(void **state)
{
    Scratch *f = *state;
    Nest *nest = NULL;
    History *h = NULL;
    HistoryQuestion q = about_web(100, 100, 100);
    Store *s = open_store(f->path);
    Answer a = {0};

    add_transition(s, 1, noon, 1, NULL);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &h), 0);
    assert_int_equal(history_ask(h, &q, on_answer, &a, NULL), 0);
    wait_for(nest, &a);
    assert_int_equal(json_length(json_get(a.json, "transitions")), 1);
    answer_done(&a);
    assert_string_equal(file_text(f->path, "PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    history_free(h);
    nest_free(nest);
    store_close(s);
}

static void test_limit_of_questions(void **state)
{
    Scratch *f = *state;
    Nest *nest = NULL;
    History *h = NULL;
    HistoryQuestion q = about_web(1, 1, 1);
    Answer answers[HISTORY_WAITING_MAX + 8] = {0};
    size_t asked = 0, answered = 0;
    uint64_t id = 0, last = 0;

    store_close(open_store(f->path));
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &h), 0);
    /* nobody fetches the answers, so they count until somebody does */
    int r = 0;
    while (asked < ELEMENTS(answers) && r == 0) {
        r = history_ask(h, &q, on_answer, &answers[asked], &id);
        assert_true(r < 0 || id > last);
        last = id;
        asked += r == 0;
    }
    assert_int_equal(r, -EBUSY);
    assert_in_range(asked, HISTORY_WAITING_MAX, HISTORY_WAITING_MAX + 1);
    for (size_t i = 0; i < asked; i++) {
        wait_for(nest, &answers[i]);
        answered += answers[i].error == 0;
        answer_done(&answers[i]);
    }
    assert_int_equal(answered, asked);
    assert_int_equal(history_ask(h, &q, on_answer, &answers[0], NULL), 0);
    wait_for(nest, &answers[0]);
    answer_done(&answers[0]);
    history_free(h);
    nest_free(nest);
}

static void test_cancel(void **state)
{
    Scratch *f = *state;
    Nest *nest = NULL;
    History *h = NULL;
    HistoryQuestion q = about_web(1, 1, 1);
    Answer cancelled[20] = {0}, last = {0};
    uint64_t ids[20];

    store_close(open_store(f->path));
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &h), 0);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(history_ask(h, &q, on_answer, &cancelled[i], &ids[i]), 0);
    for (size_t i = 0; i < 10; i++)
        history_cancel(h, ids[i]); /* waiting, being read or answered: all the same */
    poll(NULL, 0, 50);
    for (size_t i = 10; i < 20; i++)
        history_cancel(h, ids[i]);
    history_cancel(h, 0);
    history_cancel(h, 12345);
    history_cancel(h, ids[3]);
    assert_int_equal(history_ask(h, &q, on_answer, &last, NULL), 0);
    wait_for(nest, &last);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(cancelled[i].calls, 0);
    answer_done(&last);
    /* and what still waits at the end is forgotten */
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(history_ask(h, &q, on_answer, &cancelled[i], NULL), 0);
    history_free(h);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(cancelled[i].calls, 0);
    nest_free(nest);
}

/* A question that never ends is given up. The view is made to run for ever by hand. */
static void test_time_limit(void **state)
{
    Scratch *f = *state;
    HistoryQuestion q = about_web(10, 0, 0);

    store_close(open_store(f->path));
    sqlite3 *db = db_open(f->path);
    db_exec(db, "DROP TABLE service_transition; CREATE VIEW service_transition AS"
                " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                " SELECT i AS id, i AS ts, 'web' AS app_id, 'alpha' AS pc_id, '' AS \"from\","
                " '' AS \"to\", '' AS cause, '' AS sentence, NULL AS evidence FROM n"
                " WHERE i % 2 = 3");
    sqlite3_close(db);
    uint64_t start = clock_now().mono_us;
    Answer a = ask(f->path, &q);
    assert_int_equal(a.error, -ETIMEDOUT);
    answer_done(&a);
    assert_true(clock_now().mono_us - start < 20 * USEC_PER_SEC);
    /* the end does not wait for it either */
    Nest *nest = NULL;
    History *h = NULL;
    uint64_t id;
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &h), 0);
    assert_int_equal(history_ask(h, &q, on_answer, &a, &id), 0);
    poll(NULL, 0, 50);
    history_free(h);
    assert_int_equal(a.calls, 0);
    nest_free(nest);
}

/* Asking from within an answer. */
typedef struct Chain {
    History *history;
    int left;
    uint64_t other;
} Chain;

static void on_chain(void *userdata, int error, const char *json UNUSED, size_t len UNUSED)
{
    Chain *c = userdata;
    HistoryQuestion q = about_web(1, 1, 1);

    assert_int_equal(error, 0);
    history_cancel(c->history, c->other);
    if (--c->left > 0)
        assert_int_equal(history_ask(c->history, &q, on_chain, c, NULL), 0);
}

static void test_asks_from_answer(void **state)
{
    Scratch *f = *state;
    Nest *nest = NULL;
    Chain c = {.left = 5};
    HistoryQuestion q = about_web(1, 1, 1);
    Answer other = {0};

    store_close(open_store(f->path));
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &c.history), 0);
    assert_int_equal(history_ask(c.history, &q, on_chain, &c, NULL), 0);
    assert_int_equal(history_ask(c.history, &q, on_answer, &other, &c.other), 0);
    poll(NULL, 0, 50); /* both are answered by now, most likely: one batch */
    for (int i = 0; i < 3000 && c.left > 0; i++) {
        struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};
        poll(&p, 1, 10);
        nest_dispatch(nest);
    }
    assert_int_equal(c.left, 0);
    assert_int_equal(other.calls, 0);
    history_free(c.history);
    nest_free(nest);
}

/* Reader and writer at once. */
static void test_beside_the_writer(void **state)
{
    Scratch *f = *state;
    Nest *nest = NULL;
    History *h = NULL;
    Store *s = open_store(f->path);
    size_t last = 0;

    add_transition(s, 1000000, noon - 1, 1, NULL);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(history_new(f->path, nest, &h), 0);
    for (int64_t i = 1; i <= 50; i++) {
        HistoryQuestion q = about_web(10000, 24, 500);
        Answer a = {0};
        for (int64_t k = 0; k < 20; k++) {
            add_transition(s, i * 20 + k, noon - 1, 1, "{\"a\":1}");
            store_add_check(s, noon - i * 20 - k, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 9);
        }
        store_commit(s);
        assert_int_equal(history_ask(h, &q, on_answer, &a, NULL), 0);
        wait_for(nest, &a);
        assert_int_equal(a.error, 0);
        size_t n = json_length(json_get(a.json, "transitions"));
        assert_true(n >= last); /* never a step back */
        last = n;
        answer_done(&a);
    }
    assert_int_equal(store_flush(s, 10000), 0);
    history_free(h);
    nest_free(nest);
    store_close(s);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_transition"), 1001);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_transitions_of_one),
        WITH_SCRATCH(test_transitions_of_all),
        WITH_SCRATCH(test_audit),
        WITH_SCRATCH(test_hours),
        WITH_SCRATCH(test_points),
        WITH_SCRATCH(test_nobody_and_nothing),
        WITH_SCRATCH(test_hostile_rows),
        WITH_SCRATCH(test_follows_another_file),
        WITH_SCRATCH(test_leaves_nothing_open),
        WITH_SCRATCH(test_limit_of_questions),
        WITH_SCRATCH(test_cancel),
        WITH_SCRATCH(test_time_limit),
        WITH_SCRATCH(test_asks_from_answer),
        WITH_SCRATCH(test_beside_the_writer),
    };

    noon = (store_day_of(clock_now().wall_ms) - 10) * STORE_DAY_MS + STORE_DAY_MS / 2;
    log_set_max_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
