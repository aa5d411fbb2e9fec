/* The database's shape: migrations that are whole or not there, also when the process is killed in
 * the middle (R26), day tables and their view, and the files that older versions left. */
#include "api/test-store.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "api/store-schema.h"

static sqlite3 *fresh(const char *path)
{
    sqlite3 *db = db_open(path);

    db_exec(db, "PRAGMA journal_mode = WAL");
    assert_int_equal(store_schema_migrate(db, store_migrations, store_n_migrations), 0);
    return db;
}

static void test_numbers_count_up(void **state UNUSED)
{
    for (size_t i = 0; i < store_n_migrations; i++)
        assert_int_equal(store_migrations[i].version, i + 1);
}

static void test_fresh(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = fresh(s->path);

    assert_int_equal(strtol(db_text(db, "PRAGMA application_id"), NULL, 10), STORE_APPLICATION_ID);
    assert_int_equal(strtoul(db_text(db, "PRAGMA user_version"), NULL, 10), store_n_migrations);
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_check"), "0");
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_state_hourly"), "0");
    assert_string_equal(db_text(db, "SELECT group_concat(name, ' ') FROM"
                                    " pragma_table_info('service_check')"),
                        "ts app_id pc_id systemd_state port_listening http_status latency_ms");
    assert_string_equal(db_text(db, "SELECT group_concat(name, ' ') FROM"
                                    " pragma_table_info('service_transition')"),
                        "id ts app_id pc_id from to cause sentence evidence");
    /* again: nothing to do */
    assert_int_equal(store_schema_migrate(db, store_migrations, store_n_migrations), 0);
    sqlite3_close(db);
}

static void test_newer_is_refused(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = fresh(s->path);

    db_exec(db, "PRAGMA user_version = 9999");
    assert_int_equal(store_schema_migrate(db, store_migrations, store_n_migrations), -EUCLEAN);
    db_exec(db, "PRAGMA user_version = -1");
    assert_int_equal(store_schema_migrate(db, store_migrations, store_n_migrations), -EBADMSG);
    sqlite3_close(db);
}

/* Three versions that touch many pages, as a real change of shape would. */
static const StoreMigration later[] = {
    {1, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT NOT NULL);"
        "INSERT INTO t SELECT value, hex(zeroblob(200)) FROM generate_series_of_ours"},
    {2, "ALTER TABLE t RENAME TO old;"
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT NOT NULL, c INTEGER NOT NULL);"
        "INSERT INTO t SELECT a, b, a * 2 FROM old; DROP TABLE old"},
    {3, "CREATE INDEX t_c ON t(c, b); CREATE VIEW v AS SELECT a, c FROM t"},
};

#define SERIES                                                                                   \
    "CREATE TEMP VIEW generate_series_of_ours AS WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL" \
    " SELECT value + 1 FROM n WHERE value < 2000) SELECT value FROM n"

static sqlite3 *open_later(const char *path)
{
    sqlite3 *db = db_open(path);

    /* a small cache: pages reach the file before the commit */
    db_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
                " PRAGMA cache_size = 10; " SERIES);
    return db;
}

/* Which version the file is, having checked that it is exactly that. */
static int64_t assert_whole(const char *path)
{
    sqlite3 *db = db_open(path);
    int64_t version = strtoll(db_text(db, "PRAGMA user_version"), NULL, 10);

    assert_string_equal(db_text(db, "PRAGMA integrity_check"), "ok");
    const char *schema = db_text(db, "SELECT group_concat(name, ' ') FROM sqlite_schema");
    const char *const expected[] = {"NULL", "t", "t", "t t_c v"};
    assert_in_range(version, 0, 3);
    assert_string_equal(schema, expected[version]);
    if (version >= 1)
        assert_string_equal(db_text(db, "SELECT count(*) FROM t WHERE length(b) = 400"), "2000");
    if (version >= 2)
        assert_string_equal(db_text(db, "SELECT count(*) FROM t WHERE c = 2 * a"), "2000");
    if (version >= 1)
        assert_int_equal(strtol(db_text(db, "PRAGMA application_id"), NULL, 10),
                         STORE_APPLICATION_ID);
    sqlite3_close(db);
    return version;
}

static void test_failed_step_leaves_the_old(void **state)
{
    Scratch *s = *state;
    StoreMigration broken[] = {later[0], later[1], {3, "CREATE INDEX t_c ON t(c); SELECT nothing"}};
    sqlite3 *db = open_later(s->path);

    assert_int_equal(store_schema_migrate(db, broken, 3), -ENOTSUP);
    assert_true(sqlite3_get_autocommit(db));
    sqlite3_close(db);
    assert_int_equal(assert_whole(s->path), 2);
    db = open_later(s->path);
    assert_int_equal(store_schema_migrate(db, later, 3), 0);
    sqlite3_close(db);
    assert_int_equal(assert_whole(s->path), 3);
}

static long steps_left;

static int count_down(void *userdata UNUSED)
{
    if (--steps_left == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

/* Migrates in a child that dies after so many steps of SQLite's machine, or when a file passes a
 * size (SIGXFSZ), whichever comes first. True when it got to the end. */
static bool migrate_and_die(const char *path, long steps, rlim_t file_size)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        sqlite3 *db = open_later(path);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_size, file_size});
        signal(SIGXFSZ, SIG_DFL);
        steps_left = steps;
        sqlite3_progress_handler(db, 1, count_down, NULL);
        int r = store_schema_migrate(db, later, 3);
        kill(getpid(), r == 0 ? SIGTERM : SIGABRT);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    int by = WTERMSIG(status);
    assert_true(by == SIGKILL || by == SIGXFSZ || by == SIGTERM);
    return by == SIGTERM;
}

static void remove_database(const char *path)
{
    char name[PATH_MAX];

    unlink(path);
    snprintf(name, sizeof name, "%s-wal", path);
    unlink(name);
    snprintf(name, sizeof name, "%s-shm", path);
    unlink(name);
}

static void test_killed_anywhere(void **state)
{
    Scratch *s = *state;
    long total = 0;

    /* how many steps there are: a little less than the first doubling that lives */
    for (long steps = 1 << 14; total == 0; steps *= 2) {
        if (migrate_and_die(s->path, steps, RLIM_INFINITY))
            total = steps;
        remove_database(s->path);
    }
    int seen[4] = {0};
    for (int i = 0; i < 30; i++) {
        migrate_and_die(s->path, total * (i + 1) / 40, RLIM_INFINITY);
        seen[assert_whole(s->path)]++;
        remove_database(s->path);
    }
    for (int i = 0; i < 30; i++) {
        migrate_and_die(s->path, LONG_MAX, (rlim_t)(i + 1) * 120000);
        seen[assert_whole(s->path)]++;
        if (i % 2) /* the next one goes on where this one died */
            remove_database(s->path);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0 && seen[3] > 0);
    sqlite3 *db = open_later(s->path);
    assert_int_equal(store_schema_migrate(db, later, 3), 0);
    sqlite3_close(db);
    assert_int_equal(assert_whole(s->path), 3);
}

static void test_days(void **state UNUSED)
{
    char table[STORE_DAY_TABLE_SIZE];

    assert_int_equal(store_day_of(0), 0);
    assert_int_equal(store_day_of(STORE_DAY_MS - 1), 0);
    assert_int_equal(store_day_of(STORE_DAY_MS), 1);
    assert_int_equal(store_day_of(-1), -1);
    assert_string_equal(store_day_table(0, table), "service_check_19700101");
    assert_string_equal(store_day_table(19782, table), "service_check_20240229");
    assert_string_equal(store_day_table(store_day_of(STORE_TS_MAX), table),
                        "service_check_99991231");
}

static size_t count_days(sqlite3 *db)
{
    int32_t days[STORE_DAYS_MAX];
    size_t n = 0;

    assert_int_equal(store_days_list(db, days, &n), 0);
    for (size_t i = 1; i < n; i++)
        assert_true(days[i - 1] < days[i]);
    return n;
}

static void test_days_come_and_go(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = fresh(s->path);

    assert_int_equal(store_days_change(db, 20000, 20001, INT32_MIN), 0);
    assert_int_equal(count_days(db), 2);
    int64_t before = strtoll(db_text(db, "PRAGMA schema_version"), NULL, 10);
    assert_int_equal(store_days_change(db, 20000, 20001, INT32_MIN), 0);
    assert_int_equal(strtoll(db_text(db, "PRAGMA schema_version"), NULL, 10), before);
    /* a person's tables are not ours */
    db_exec(db, "CREATE TABLE service_check_20241399(x); CREATE TABLE service_check_2024(x);"
                "CREATE TABLE service_check_20240101_copy(x)");
    assert_int_equal(store_days_change(db, 20005, 20006, 20001), 0);
    assert_int_equal(count_days(db), 3);
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_check"), "0");
    assert_int_equal(store_days_change(db, 1, 0, INT32_MAX), 0);
    assert_int_equal(count_days(db), 0);
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_check"), "0");
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_check_20240101_copy"), "0");
    sqlite3_close(db);
}

static void test_days_are_bounded(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = fresh(s->path);

    for (int32_t day = 20000; day < 20000 + STORE_DAYS_MAX + 50; day += 50)
        assert_int_equal(store_days_change(db, day, day + 49, INT32_MIN), 0);
    assert_int_equal(count_days(db), STORE_DAYS_MAX);
    assert_string_equal(db_text(db, "SELECT min(name) FROM sqlite_schema WHERE name GLOB"
                                    " 'service_check_*'"),
                        "service_check_20241123");
    assert_string_equal(db_text(db, "SELECT count(*) FROM service_check"), "0");
    sqlite3_close(db);
}

static void test_days_change_is_whole(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = fresh(s->path);

    assert_int_equal(store_days_change(db, 20000, 20001, INT32_MIN), 0);
    /* inside a transaction it is part of it */
    db_exec(db, "BEGIN");
    assert_int_equal(store_days_change(db, 20002, 20002, 20001), 0);
    db_exec(db, "ROLLBACK");
    assert_int_equal(count_days(db), 2);
    /* and one that cannot be done leaves all as it was */
    db_exec(db, "DROP VIEW service_check; CREATE TABLE service_check(x)");
    assert_true(store_days_change(db, 20002, 20002, 20001) < 0);
    assert_int_equal(count_days(db), 2);
    assert_true(sqlite3_get_autocommit(db));
    sqlite3_close(db);
}

static void test_view_decodes(void **state)
{
    Scratch *s = *state;
    sqlite3 *db = fresh(s->path);
    char sql[256];

    assert_int_equal(store_days_change(db, 19782, 19782, INT32_MIN), 0);
    db_exec(db, "INSERT INTO service VALUES(5, 'api', 'alpha')");
    for (int a = 0; a < ACTIVE_MAX; a++)
        for (int port = -1; port <= 1; port++) {
            uint16_t facts = store_facts_pack((ActiveState)a, (int8_t)port, a ? 100 * a : 0);
            assert_true(facts <= INT16_MAX);
            snprintf(sql, sizeof sql,
                     "INSERT OR REPLACE INTO service_check_20240229 VALUES(5, 86399999, %u, %s)",
                     facts, a ? "1234567" : "NULL");
            db_exec(db, sql);
            assert_string_equal(db_text(db, "SELECT ts FROM service_check WHERE app_id = 'api'"),
                                "1709251199999");
            assert_string_equal(db_text(db, "SELECT systemd_state FROM service_check"),
                                a ? active_state_to_string((ActiveState)a) : "NULL");
            assert_string_equal(db_text(db, "SELECT port_listening FROM service_check"),
                                port < 0 ? "NULL"
                                : port   ? "1"
                                         : "0");
            snprintf(sql, sizeof sql, "%d", 100 * a);
            assert_string_equal(db_text(db, "SELECT http_status FROM service_check"),
                                a ? sql : "NULL");
            assert_string_equal(db_text(db, "SELECT latency_ms FROM service_check"),
                                a ? "1234.567" : "NULL");
        }
    /* out of range is unknown, never another value */
    assert_int_equal(store_facts_pack(ACTIVE_INVALID, -1, 1024), 0);
    assert_int_equal(store_facts_pack(ACTIVE_MAX, -1, -5), 0);
    assert_int_equal(store_facts_pack(ACTIVE_UNKNOWN, 1, 1023), 2 << 3 | 1023 << 5);
    sqlite3_close(db);
}

/* Each older version is a fixture; what was in it is there in the present one. */
static void test_old_files(void **state)
{
    Scratch *s = *state;

    for (size_t v = 1; v <= store_n_migrations; v++) {
        char name[PATH_MAX], version[16];
        const char *root = getenv("FIXTURES");
        assert_non_null(root);
        snprintf(name, sizeof name, "%s/db/v%zu.sql", root, v);
        FILE *f = fopen(name, "re");
        assert_non_null(f);
        CLEANUP_FREE char *sql = calloc(1, 65536);
        assert_non_null(sql);
        assert_true(fread(sql, 1, 65535, f) > 0);
        fclose(f);
        remove_database(s->path);
        sqlite3 *db = db_open(s->path);
        db_exec(db, sql);
        snprintf(version, sizeof version, "%zu", v);
        assert_string_equal(db_text(db, "PRAGMA user_version"), version);
        assert_int_equal(store_schema_migrate(db, store_migrations, store_n_migrations), 0);
        assert_int_equal(store_days_change(db, 20001, 20002, INT32_MIN), 0);
        assert_string_equal(db_text(db, "SELECT group_concat(ts || ' ' || app_id || ' ' || pc_id"
                                        " || ' ' || systemd_state || ' ' || port_listening || ' '"
                                        " || http_status || ' ' || latency_ms, ', ')"
                                        " FROM service_check"),
                            "1728000010000 web alpha active 1 200 1.5,"
                            " 1728000020000 web alpha failed 0 503 20.25");
        assert_string_equal(
            db_text(db, "SELECT ts || ' ' || \"from\" || ' ' || \"to\" || ' ' ||"
                        " cause || ' ' || sentence || ' ' || evidence"
                        " FROM service_transition WHERE app_id = 'web'"),
            "1728000015000 running failed signal killed by signal 9 {\"status\":9}");
        assert_string_equal(db_text(db, "SELECT pc_id || ' ' || \"to\" FROM pc_transition"),
                            "beta unreachable");
        assert_string_equal(db_text(db, "SELECT group_concat(ifnull(healthy_ratio, 'NULL'), ' ')"
                                        " FROM service_state_hourly"),
                            "0.75 NULL");
        assert_string_equal(db_text(db, "SELECT group_concat(id || ' ' || state) FROM incident"),
                            v >= 2 ? "1811939328000000003 open" : "NULL");
        assert_string_equal(
            db_text(db, "SELECT group_concat(incident || ' ' || event || ' ' || channel || ' ' ||"
                        " state || ' ' || sentence) FROM outbox"),
            v >= 3 ? "1811939328000000003 opened webhook waiting killed by signal 9" : "NULL");
        assert_string_equal(
            db_text(db, "SELECT group_concat(id || ' ' || origin || ' ' || role || ' ' || uid ||"
                        " ' ' || unit || ' ' || action || ' ' || outcome) FROM audit"),
            v >= 4 ? "1811939328000000004 cli token 1000 web.service restart done" : "NULL");
        assert_string_equal(
            db_text(db, "SELECT group_concat(id || ' ' || kind || ' ' || until_ts || ' ' ||"
                        " comment || ' ' || made_by) FROM silence"),
            v >= 5 ? "1811939328000000005 maintenance 1728003600000 new disk token" : "NULL");
        assert_string_equal(
            db_text(db, "SELECT group_concat(held || ' ' || ifnull(acked_ts || ' ' || acked_by ||"
                        " ' ' || ack_comment, 'nobody')) FROM incident"),
            v >= 5   ? "1 1728000017000 local on it"
            : v >= 2 ? "0 nobody"
                     : "NULL");
        assert_string_equal(
            db_text(db, "SELECT group_concat(pc_id || ' ' || boot_id || ' ' || ts) FROM pc_boot"),
            v >= 6 ? "alpha 0123abcd-ef00-4444-8888-0123456789ab 1728000000000" : "NULL");
        sqlite3_close(db);
    }
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_count_up),
        WITH_SCRATCH(test_fresh),
        WITH_SCRATCH(test_newer_is_refused),
        WITH_SCRATCH(test_failed_step_leaves_the_old),
        WITH_SCRATCH(test_killed_anywhere),
        cmocka_unit_test(test_days),
        WITH_SCRATCH(test_days_come_and_go),
        WITH_SCRATCH(test_days_are_bounded),
        WITH_SCRATCH(test_days_change_is_whole),
        WITH_SCRATCH(test_view_decodes),
        WITH_SCRATCH(test_old_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
