/* The daily clean-up, with the clock as an argument. */
#include "api/test-store.h"

#include "api/store-clean.h"
#include "api/store-schema.h"

#define TODAY 20500

static const Now noon = {.mono_us = 1000000, .wall_ms = TODAY * STORE_DAY_MS + STORE_DAY_MS / 2};

static sqlite3 *make(const char *path)
{
    sqlite3 *db = db_open(path);

    db_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    assert_int_equal(store_schema_migrate(db, store_migrations, store_n_migrations), 0);
    assert_int_equal(store_days_change(db, TODAY - 20, TODAY, INT32_MIN), 0);
    return db;
}

/* Runs it to the end; returns how many slices it took. */
static int clean_all(StoreClean *c, sqlite3 *db, Now now)
{
    int slices = 0, r;

    while ((r = store_clean_step(c, db, now)) == 1)
        slices++;
    assert_int_equal(r, 0);
    return slices;
}

static int32_t first_day(sqlite3 *db, size_t *ret_n)
{
    int32_t days[STORE_DAYS_MAX];

    assert_int_equal(store_days_list(db, days, ret_n), 0);
    return days[0];
}

static void test_days(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    size_t n;

    store_clean_init(&c, 7, 730);
    clean_all(&c, db, noon);
    assert_int_equal(first_day(db, &n), TODAY - 7);
    assert_int_equal(n, 9); /* seven, today, tomorrow */
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_check"), "0");
    /* once a day */
    assert_int_equal(store_days_change(db, TODAY - 9, TODAY - 9, INT32_MIN), 0);
    assert_int_equal(clean_all(&c, db, noon), 0);
    assert_int_equal(first_day(db, &n), TODAY - 9);
    Now next = {.mono_us = noon.mono_us + 86400 * USEC_PER_SEC,
                .wall_ms = noon.wall_ms + STORE_DAY_MS};
    assert_true(clean_all(&c, db, next) > 0);
    assert_int_equal(first_day(db, &n), TODAY - 6);
    assert_int_equal(n, 9);
    sqlite3_close(db);
}

static void test_transitions(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[512];

    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof sql,
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)"
                 " INSERT INTO %s SELECT i, (%d - 30) * 86400000 + (i - 2500) * 1000,"
                 " %s 'alpha', 'a', 'b', 'c', 'd', NULL FROM n",
                 i ? "pc_transition" : "service_transition", TODAY, i ? "" : "'web',");
        db_exec(db, sql);
    }
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) >= 6); /* in slices of a thousand */
    assert_string_equal(db_text(db, "SELECT count(*) || ' ' || min(id) FROM service_transition"),
                        "1001 2500");
    assert_string_equal(db_text(db, "SELECT count(*) || ' ' || min(id) FROM pc_transition"),
                        "1001 2500");
    sqlite3_close(db);
}

static void test_outbox(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[1024];

    /* 2,500 old ones that were sent, an old one that waits, one of an incident that is still open,
     * and a new one */
    snprintf(sql, sizeof sql,
             "INSERT INTO incident(id, kind, state, pc_id, began_ts, opened_ts, cause, sentence)"
             " VALUES(9001, 'pc', 'open', 'alpha', 1, 1, '', '');"
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
             " INSERT INTO outbox SELECT i, 'opened', 'mail', 'sent', i, i, 'pc', NULL, 'alpha', 1,"
             " 1, NULL, '', '' FROM n;"
             "INSERT INTO outbox SELECT 9000, event, channel, 'waiting', 5, NULL, kind, app_id,"
             " pc_id, 1, 1, NULL, '', '' FROM outbox WHERE incident = 1;"
             "INSERT INTO outbox SELECT 9001, event, channel, 'sent', 5, 6, kind, app_id, pc_id, 1,"
             " 1, NULL, '', '' FROM outbox WHERE incident = 1;"
             "INSERT INTO outbox SELECT 9002, event, channel, 'sent', %d * 86400000, 6, kind,"
             " app_id, pc_id, 1, 1, NULL, '', '' FROM outbox WHERE incident = 1;",
             TODAY);
    db_exec(db, sql);
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) >= 3);
    assert_string_equal(db_text(db, "SELECT group_concat(incident) FROM outbox"), "9000,9001,9002");
    sqlite3_close(db);
}

static void test_audit(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[512];

    /* 2,000 old ones and as many of today that the newest 200,000 are left of them */
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 203000)"
             " INSERT INTO audit SELECT i, CASE WHEN i <= 2000 THEN 5 ELSE %d * 86400000 + i END,"
             " NULL, 'api', 'local', NULL, 'web', 'alpha', '', 'stop', 'refused', '' FROM n",
             TODAY);
    db_exec(db, sql);
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) >= 3);
    assert_string_equal(db_text(db, "SELECT count(*) || ' ' || min(id) FROM audit"), "200000 3001");
    sqlite3_close(db);
}

#define INCIDENT "id, kind, state, app_id, pc_id, began_ts, opened_ts, closed_ts, cause, sentence"

static void test_silences(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[512];

    /* 2,500 that ended long ago, one that ended today, one that goes on */
    snprintf(
        sql, sizeof sql,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
        " INSERT INTO silence SELECT i, 'silence', 'web', NULL, i, i + 5, '', 'local', i FROM n;"
        "INSERT INTO silence VALUES(9001, 'maintenance', NULL, 'alpha', 1, %d * 86400000 + 1, '',"
        " 'local', 1), (9002, 'silence', 'web', NULL, 1, %d * 86400000, '', 'token', 1)",
        TODAY, TODAY + 100);
    db_exec(db, sql);
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) >= 3);
    assert_string_equal(db_text(db, "SELECT group_concat(id) FROM silence"), "9001,9002");
    sqlite3_close(db);
}

static void test_incidents(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[2048];

    /* 2,500 old ones; then, as old: one that is open, one that is pending, one whose notice still
     * waits, one whose notices are sent; and one that was closed today */
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
             " INSERT INTO incident(" INCIDENT
             ") SELECT i, 'service', CASE i %% 2 WHEN 0 THEN 'closed'"
             " ELSE 'dropped' END, 'web', 'alpha', i, i, i + 1, '', '' FROM n;"
             "INSERT INTO incident(" INCIDENT ") VALUES"
             "(9001, 'pc', 'open', NULL, 'alpha', 1, 1, NULL, '', ''),"
             "(9002, 'pc', 'pending', NULL, 'beta', 1, NULL, NULL, '', ''),"
             "(9003, 'pc', 'closed', NULL, 'gamma', 1, 1, 2, '', ''),"
             "(9004, 'pc', 'closed', NULL, 'delta', 1, 1, 2, '', ''),"
             "(9005, 'pc', 'closed', NULL, 'delta', 1, 1, %d * 86400000, '', '');"
             "INSERT INTO outbox VALUES(9003, 'opened', 'mail', 'waiting', 2, NULL, 'pc', NULL,"
             " 'gamma', 1, 1, NULL, '', ''),"
             "(9004, 'opened', 'mail', 'sent', 1, 2, 'pc', NULL, 'delta', 1, 1, NULL, '', ''),"
             "(9004, 'recovered', 'mail', 'sent', 2, 3, 'pc', NULL, 'delta', 1, 1, 2, '', '')",
             TODAY);
    db_exec(db, sql);
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) >= 3);
    assert_string_equal(db_text(db, "SELECT group_concat(id) FROM incident"),
                        "9001,9002,9003,9005");
    assert_string_equal(db_text(db, "SELECT group_concat(incident) FROM outbox"), "9003");
    sqlite3_close(db);
}

static void test_boots(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[256];

    snprintf(sql, sizeof sql,
             "INSERT INTO pc_boot VALUES('alpha', 'a', 1), ('beta', 'b', %d * 86400000)", TODAY);
    db_exec(db, sql);
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) > 0);
    assert_string_equal(db_text(db, "SELECT group_concat(pc_id) FROM pc_boot"), "beta");
    sqlite3_close(db);
}

static void test_hours(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    char sql[512];

    /* 250 services with 10 old hours and 2 new ones, one with 2,500 old hours */
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 249)"
             " INSERT INTO service SELECT i + 1, 'app' || i, 'alpha' FROM n;"
             "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 11)"
             " INSERT INTO service_hour SELECT s.id, (%d - 30) * 24 - 10 + i, 1, 1, 0"
             " FROM n, service s;"
             "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)"
             " INSERT INTO service_hour SELECT 100, i, 1, 1, 0 FROM n",
             TODAY);
    db_exec(db, sql);
    store_clean_init(&c, 7, 30);
    assert_true(clean_all(&c, db, noon) >= 6);
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_hour"), "500");
    snprintf(sql, sizeof sql, "SELECT min(hour) - (%d - 30) * 24 FROM service_hour", TODAY);
    assert_string_equal(db_text(db, sql), "0");
    assert_true(sqlite3_get_autocommit(db));
    sqlite3_close(db);
}

/* A clock that is a year ahead for a while must not cost the history. */
static void test_clock_jump(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;
    size_t n;
    Now now = noon;

    store_clean_init(&c, 7, 730);
    clean_all(&c, db, now);
    now.mono_us += 60 * USEC_PER_SEC;
    now.wall_ms += 60000 + 366 * STORE_DAY_MS;
    assert_int_equal(clean_all(&c, db, now), 0);
    now.mono_us += 3000 * USEC_PER_SEC;
    now.wall_ms += 3000000;
    assert_int_equal(clean_all(&c, db, now), 0);
    /* back again: another jump, another hour */
    now.wall_ms -= 366 * STORE_DAY_MS;
    now.wall_ms += STORE_DAY_MS;
    assert_int_equal(clean_all(&c, db, now), 0);
    assert_int_equal(first_day(db, &n), TODAY - 7);
    now.mono_us += 3601 * USEC_PER_SEC;
    now.wall_ms += 3601000;
    assert_true(clean_all(&c, db, now) > 0);
    assert_int_equal(first_day(db, &n), TODAY - 6);
    sqlite3_close(db);
}

static void test_limits(void **state UNUSED)
{
    StoreClean c;

    store_clean_init(&c, 0, 0);
    assert_int_equal(c.checks_days, 1);
    assert_int_equal(c.transitions_days, 1);
    store_clean_init(&c, UINT32_MAX, UINT32_MAX);
    assert_int_equal(c.checks_days, 366);
    assert_int_equal(c.transitions_days, 3660);
}

static void test_failure_is_told(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = make(s->path);
    StoreClean c;

    db_exec(db, "DROP TABLE service_transition");
    store_clean_init(&c, 7, 730);
    assert_int_equal(store_clean_step(&c, db, noon), 1);
    assert_true(store_clean_step(&c, db, noon) < 0);
    assert_true(store_clean_step(&c, db, noon) < 0);
    store_clean_restart(&c);
    assert_int_equal(store_clean_step(&c, db, noon), 1);
    sqlite3_close(db);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_days),
        WITH_SCRATCH(test_transitions),
        WITH_SCRATCH(test_hours),
        WITH_SCRATCH(test_outbox),
        WITH_SCRATCH(test_incidents),
        WITH_SCRATCH(test_boots),
        WITH_SCRATCH(test_silences),
        WITH_SCRATCH(test_audit),
        WITH_SCRATCH(test_clock_jump),
        cmocka_unit_test(test_limits),
        WITH_SCRATCH(test_failure_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
