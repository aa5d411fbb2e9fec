/* The store as the loop sees it: what is handed over is written, whatever the disk does meanwhile.
 *
 * Short forms of R6 (50 kills, no acknowledged row lost), R21 (disk full), R24 (blocked writer) and
 * R25 (damage found while running). */
#include "api/test-store.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "api/store-schema.h"
#include "api/store.h"
#include "basic/clock.h"
#include "basic/log.h"

#define MINUTE_MS 60000

/* Of the day ten days ago: what is much older falls to the clean-up. */
static int64_t noon;

static Store *open_store(const char *path)
{
    Store *s = NULL;
    char note[512];

    assert_int_equal(store_open(path, 366, 3660, note, sizeof note, &s), 0);
    assert_string_equal(note, "");
    return s;
}

static StoreStats stats_of(Store *s)
{
    StoreStats stats;

    store_stats(s, &stats);
    return stats;
}

static void add_transition(Store *s, int64_t id, uint32_t handle, const char *evidence)
{
    StoreTransition t = {
        .id = id,
        .ts_ms = noon + id,
        .handle = handle,
        .pc_id = "alpha",
        .from = ACTUAL_RUNNING,
        .to = ACTUAL_FAILED,
        .cause = CAUSE_SIGNAL,
        .sentence = "killed",
        .evidence = evidence,
    };

    store_add_transition(s, &t);
}

static void test_checks(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    static const char sql[] =
        "SELECT group_concat((ts % 86400000 - 43200000) || ' ' || app_id || '@' || pc_id || ' ' ||"
        " ifnull(systemd_state, '-') || ' ' || ifnull(port_listening, '-') || ' ' ||"
        " ifnull(http_status, '-') || ' ' || ifnull(latency_ms, '-'), ', ')"
        " FROM (SELECT * FROM service_check ORDER BY ts)";
    int64_t ts = noon;

    store_add_service(s, 1, "web", "alpha");
    store_add_service(s, 2, "web", "beta");
    store_add_check(s, ts, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1500);
    store_add_check(s, ts + 1, 2, ACTIVE_UNKNOWN, LOAD_NOT_FOUND, 0, 0, -1);
    store_add_check(s, ts + 2, 1, ACTIVE_UNKNOWN, LOAD_UNKNOWN, -1, 0, -1);
    store_add_check(s, ts + 3, 1, ACTIVE_FAILED, LOAD_LOADED, 0, 503, 0);
    /* twice within a millisecond: the later one counts */
    store_add_check(s, ts + 4, 1, ACTIVE_FAILED, LOAD_LOADED, 0, 0, -1);
    store_add_check(s, ts + 4, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 204, INT32_MAX);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_string_equal(file_text(f->path, sql),
                        "0 web@alpha active 1 200 1.5, 1 web@beta inactive 0 - -,"
                        " 2 web@alpha - - - -, 3 web@alpha failed 0 503 0.0,"
                        " 4 web@alpha active 1 204 2147483.647");
    StoreStats stats = stats_of(s);
    assert_int_equal(stats.rows_written, 6);
    assert_int_equal(stats.commits, 1);
    assert_int_equal(stats.refused, 0);
    assert_int_equal(stats.queue_bytes, 0);
    assert_true(stats.last_commit_ms > 0);
    assert_null(store_close(s));
    assert_int_equal(count_files(f->folder, "-wal"), 0);
}

static void test_close_writes_what_waits(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    store_add_service(s, 1, "web", "alpha");
    for (int i = 0; i < 100000; i++)
        store_add_check(s, noon + i * 10, (uint32_t)1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, i);
    assert_null(store_close(s)); /* without a commit of its own */
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check"), 100000);
    assert_null(store_close(NULL));
}

static int64_t count_day(const char *path, int32_t day)
{
    char table[STORE_DAY_TABLE_SIZE], sql[96];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", store_day_table(day, table));
    return file_int(path, sql);
}

static void test_day_change(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    int64_t midnight = noon + STORE_DAY_MS / 2;

    store_add_service(s, 9, "web", "alpha");
    for (int i = -3; i < 3; i++)
        store_add_check(s, midnight + i, 9, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, i + 3);
    assert_int_equal(store_flush(s, 5000), 0);
    /* and again into the same tables, out of order */
    store_add_check(s, midnight + 5, 9, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 8);
    store_add_check(s, midnight - 5, 9, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 9);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_string_equal(
        file_text(f->path, "SELECT group_concat((ts + 43200000) % 86400000 - 43200000, ' ') FROM"
                           " (SELECT ts FROM service_check ORDER BY ts)"),
        "-5 -3 -2 -1 0 1 2 5");
    assert_int_equal(count_day(f->path, store_day_of(midnight) - 1), 4);
    assert_int_equal(count_day(f->path, store_day_of(midnight)), 4);
    /* today's and tomorrow's tables are there ahead of time */
    int32_t today = store_day_of(clock_now().wall_ms);
    assert_int_equal(count_day(f->path, today), 0);
    assert_int_equal(count_day(f->path, today + 1), 0);
    store_close(s);
}

static void test_impossible_records(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    store_add_service(s, 1, "web", "alpha");
    store_add_service(s, UINT32_MAX, "far", "alpha");
    store_add_check(s, noon, 2, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_add_check(s, noon, UINT32_MAX, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_add_check(s, -1, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_add_check(s, INT64_MAX, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_add_check(s, INT64_MIN, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_add_check(s, noon, 1, (ActiveState)99, LOAD_LOADED, 77, -8, -9);
    add_transition(s, 1, 2, NULL);
    add_transition(s, 2, 1, NULL);
    store_add_hour(s, noon, 2, 1, 1, 0);
    store_add_hour(s, -STORE_HOUR_MS, 1, 1, 1, 0);
    assert_int_equal(store_flush(s, 5000), 0);
    StoreStats stats = stats_of(s);
    assert_int_equal(stats.rows_written, 2);
    assert_int_equal(stats.refused, 8);
    assert_string_equal(stats.error, "");
    assert_string_equal(file_text(f->path, "SELECT ifnull(systemd_state, '-') || port_listening ||"
                                           " ifnull(http_status, '-') || ifnull(latency_ms, '-')"
                                           " FROM service_check"),
                        "-1--");
    store_close(s);
}

static void test_transitions(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    static const char row[] =
        "SELECT (ts % 86400000 - 43200000) || ' ' || app_id || ' ' || pc_id || ' ' || \"from\" ||"
        " ' ' || \"to\" || ' ' || cause || ' ' || sentence || ' ' ||"
        " ifnull(evidence, 'NULL') FROM service_transition WHERE id = 7";
    StoreTransition t = {.id = 7,
                         .ts_ms = noon + 1000,
                         .handle = 3,
                         .from = ACTUAL_RUNNING,
                         .to = ACTUAL_FAILED,
                         .cause = CAUSE_SIGNAL,
                         .sentence = "killed by signal 9"};

    store_add_service(s, 3, "web", "alpha");
    store_add_transition(s, &t);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_string_equal(file_text(f->path, row),
                        "1000 web alpha running failed signal killed by signal 9 NULL");
    /* the evidence follows; times and states stay */
    t.evidence = "{\"journal\":[\"it's\"]}";
    t.sentence = NULL;
    t.ts_ms = noon + 2000;
    store_add_transition(s, &t);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_string_equal(file_text(f->path, row), "1000 web alpha running failed signal killed by"
                                                 " signal 9 {\"journal\":[\"it's\"]}");
    t.evidence = NULL;
    t.cause = CAUSE_OOM_KILL;
    t.sentence = "killed for lack of memory";
    store_add_transition(s, &t);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_string_equal(file_text(f->path, row), "1000 web alpha running failed oom-kill killed for"
                                                 " lack of memory {\"journal\":[\"it's\"]}");
    StoreTransition pc = {.id = 7,
                          .ts_ms = noon + 3000,
                          .pc_id = "beta",
                          .from = ACTUAL_RUNNING,
                          .to = ACTUAL_UNREACHABLE,
                          .cause = CAUSE_HOST_TIMEOUT};
    store_add_transition(s, &pc);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_string_equal(
        file_text(f->path,
                  "SELECT (ts % 86400000 - 43200000) || pc_id || \"from\" || \"to\" || cause ||"
                  " sentence || ifnull(evidence, 'NULL')"
                  " FROM pc_transition"),
        "3000betarunningunreachablehost-timeoutNULL");
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_transition"), 1);
    store_close(s);
}

/* A transition does not wait for company, and takes along what waits. */
static void test_transitions_are_written_at_once(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    store_add_service(s, 1, "web", "alpha");
    store_add_check(s, noon, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_commit(s);
    poll(NULL, 0, 100);
    assert_int_equal(stats_of(s).rows_written, 0);
    add_transition(s, 1, 1, NULL);
    store_commit(s);
    for (int i = 0; i < 1000 && stats_of(s).rows_written < 2; i++)
        poll(NULL, 0, 10);
    assert_int_equal(stats_of(s).rows_written, 2);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check"), 1);
    store_close(s);
}

static void test_hours(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    int64_t hour = noon;

    store_add_service(s, 1, "web", "alpha");
    for (int i = 0; i < 60; i++)
        store_add_hour(s, hour, 1, i < 45 ? MINUTE_MS : 0, MINUTE_MS, i % 30 == 0);
    store_add_hour(s, hour + STORE_HOUR_MS, 1, 0, 0, 0); /* nothing was observed */
    store_add_hour(s, hour + 2 * STORE_HOUR_MS, 1, 0, MINUTE_MS, 1);
    assert_int_equal(store_flush(s, 5000), 0);
    static const char sql[] =
        "SELECT group_concat((hour_bucket / 3600000 % 24 - 12) || ' ' || app_id || '@' ||"
        " pc_id || ' ' || ifnull(healthy_ratio, 'NULL') || ' ' || transitions, ', ')"
        " FROM (SELECT * FROM service_state_hourly ORDER BY hour_bucket)";
    assert_string_equal(file_text(f->path, sql),
                        "0 web@alpha 0.75 2, 1 web@alpha NULL 0, 2 web@alpha 0.0 1");
    /* an hour goes on after a restart */
    store_close(s);
    s = open_store(f->path);
    store_add_service(s, 5, "web", "alpha");
    store_add_hour(s, hour + 2 * STORE_HOUR_MS, 5, MINUTE_MS, MINUTE_MS, 2);
    store_close(s);
    assert_string_equal(file_text(f->path, sql),
                        "0 web@alpha 0.75 2, 1 web@alpha NULL 0, 2 web@alpha 0.5 3");
}

/* One service under two handles (it left the registry and came back) is one in the file. */
static void test_same_service_again(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    store_add_service(s, 1, "web", "alpha");
    store_add_check(s, noon, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    assert_int_equal(store_flush(s, 5000), 0);
    store_add_service(s, 2, "web", "alpha");
    store_add_check(s, noon + 1, 2, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_add_service(s, 300000, "db", "alpha");
    store_add_check(s, noon, 300000, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service"), 2);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check WHERE app_id = 'web'"),
                     2);
    store_close(s);
}

static const StoreRecall *find_recall(const StoreRecall *rows, size_t n, const char *app_id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].app_id, app_id) == 0)
            return &rows[i];
    fail_msg("%s was not recalled", app_id);
    return NULL;
}

static void recall_transition(Store *s, int64_t id, uint32_t handle, int64_t ts, Actual from,
                              Actual to)
{
    StoreTransition t = {.id = id, .ts_ms = ts, .handle = handle, .from = from, .to = to};

    store_add_transition(s, &t);
}

static void test_incidents(void **state)
{
    Scratch *f = *state;
    StoreIncident *rows = NULL;
    size_t n = 9;
    StoreIncident i = {.id = 77,
                       .kind = "service",
                       .state = "pending",
                       .app_id = "web",
                       .pc_id = "alpha",
                       .began_ms = noon,
                       .cause = CAUSE_SIGNAL,
                       .sentence = "killed by SIGKILL"};
    StoreIncident all = {
        .id = 78, .kind = "all-pcs", .state = "open", .began_ms = noon, .opened_ms = noon + 1};

    assert_int_equal(store_recall_incidents(f->path, &rows, &n), 0);
    assert_int_equal(n, 0);
    Store *s = open_store(f->path);
    store_add_incident(s, &i);
    store_add_incident(s, &all);
    strcpy(i.state, "open");
    i.opened_ms = noon + 300000;
    store_add_incident(s, &i); /* the same one, further on */
    store_commit(s);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(store_recall_incidents(f->path, &rows, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].id, 77);
    assert_string_equal(rows[0].state, "open");
    assert_string_equal(rows[0].sentence, "killed by SIGKILL");
    assert_int_equal(rows[0].cause, CAUSE_SIGNAL);
    assert_int_equal(rows[0].opened_ms, noon + 300000);
    assert_string_equal(rows[1].app_id, "");
    free(rows);
    strcpy(i.state, "closed");
    store_add_incident(s, &i);
    store_close(s);
    assert_int_equal(store_recall_incidents(f->path, &rows, &n), 0);
    assert_int_equal(n, 1);
    free(rows);
}

static void test_recall_last_id(void **state)
{
    Scratch *f = *state;

    assert_int_equal(store_recall_last_id(f->path), 0);
    Store *s = open_store(f->path);
    assert_int_equal(store_recall_last_id(f->path), 0);
    store_add_service(s, 1, "web", "alpha");
    add_transition(s, 41, 1, NULL);
    store_close(s);
    assert_int_equal(store_recall_last_id(f->path), 41);
    sqlite3 *db = db_open(f->path);
    db_exec(db,
            "INSERT INTO pc_transition VALUES(99, 1, 'alpha', 'unknown', 'running', '', '', '')");
    sqlite3_close(db);
    assert_int_equal(store_recall_last_id(f->path), 99);
}

static void test_recall(void **state)
{
    Scratch *f = *state;
    StoreRecall *rows = NULL;
    size_t n = 9;

    assert_int_equal(store_recall(f->path, noon, &rows, &n), 0);
    assert_int_equal(n, 0);
    Store *s = open_store(f->path);
    assert_int_equal(store_recall(f->path, noon, &rows, &n), 0);
    assert_int_equal(n, 0);
    const char *const names[] = {"silent", "healthy", "down", "quiet", "partly"};
    for (uint32_t i = 0; i < ELEMENTS(names); i++)
        store_add_service(s, i + 1, names[i], "alpha");
    /* 1: nothing but its name is known (an hour without health) */
    store_add_hour(s, noon - STORE_HOUR_MS, 1, 0, 3600000, 0);
    /* 2: came back two hours ago, last checked a minute ago */
    recall_transition(s, 1, 2, noon - 30 * STORE_HOUR_MS, ACTUAL_RUNNING, ACTUAL_FAILED);
    recall_transition(s, 2, 2, noon - 2 * STORE_HOUR_MS, ACTUAL_FAILED, ACTUAL_RUNNING);
    store_add_check(s, noon - MINUTE_MS, 2, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    /* 3: went down three hours ago, its checks go on; it flapped on the way */
    recall_transition(s, 3, 3, noon - 3 * STORE_HOUR_MS, ACTUAL_RUNNING, ACTUAL_DEGRADED);
    recall_transition(s, 4, 3, noon - 3 * STORE_HOUR_MS, ACTUAL_DEGRADED, ACTUAL_FAILED);
    store_add_check(s, noon - MINUTE_MS, 3, ACTIVE_FAILED, LOAD_LOADED, 0, 0, -1);
    /* 4: never changed, healthy this hour, checked yesterday evening last */
    store_add_hour(s, noon - 13 * STORE_HOUR_MS, 4, 3000, 3000, 0);
    store_add_check(s, noon - 12 * STORE_HOUR_MS - 5, 4, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    /* 5: never changed; healthy some hours ago, checked since */
    store_add_hour(s, noon - 5 * STORE_HOUR_MS, 5, 3000, 3600000, 0);
    store_add_hour(s, noon - 4 * STORE_HOUR_MS, 5, 0, 3600000, 0);
    store_add_check(s, noon - MINUTE_MS, 5, ACTIVE_FAILED, LOAD_LOADED, 0, 0, -1);
    store_add_service(s, 99, "healthy", "beta");
    assert_int_equal(store_flush(s, 5000), 0);
    assert_int_equal(store_recall(f->path, noon, &rows, &n), 0);
    assert_int_equal(n, 5); /* 99 was never written about */
    const StoreRecall *r = find_recall(rows, n, "silent");
    assert_int_equal(r->last_to, ACTUAL_INVALID);
    assert_int_equal(r->last_healthy_ms, 0);
    assert_int_equal(r->transitions_24h, 0);
    r = find_recall(rows, n, "healthy");
    assert_string_equal(r->pc_id, "alpha");
    assert_int_equal(r->last_to, ACTUAL_RUNNING);
    assert_int_equal(r->last_ts_ms, noon - 2 * STORE_HOUR_MS);
    assert_int_equal(r->last_healthy_ms, noon - MINUTE_MS);
    assert_int_equal(r->transitions_24h, 1);
    r = find_recall(rows, n, "down");
    assert_int_equal(r->last_to, ACTUAL_FAILED);
    assert_int_equal(r->last_healthy_ms, noon - 3 * STORE_HOUR_MS);
    assert_int_equal(r->transitions_24h, 2);
    r = find_recall(rows, n, "quiet");
    assert_int_equal(r->last_healthy_ms, noon - 12 * STORE_HOUR_MS - 5);
    r = find_recall(rows, n, "partly");
    assert_int_equal(r->last_healthy_ms, noon - 4 * STORE_HOUR_MS);
    free(rows);
    store_close(s);
    write_file(f->path, "no database at all, but long enough to be read as a head of one, is it?",
               70);
    assert_int_equal(store_recall(f->path, noon, &rows, &n), -EBADMSG);
}

static void test_opening_faults(void **state)
{
    Scratch *f = *state;
    char note[512];
    Store *s = NULL, *other = NULL;

    write_file(f->path, "text", 4);
    assert_int_equal(store_open(f->path, 7, 730, note, sizeof note, &s), 0);
    assert_non_null(strstr(note, "set aside"));
    assert_string_equal(stats_of(s).note, note);
    assert_int_equal(store_open(f->path, 7, 730, note, sizeof note, &other), -EBUSY);
    assert_null(other);
    store_close(s);
    sqlite3 *db = db_open(f->path);
    db_exec(db, "PRAGMA user_version = 99");
    sqlite3_close(db);
    assert_int_equal(store_open(f->path, 7, 730, note, sizeof note, &other), -EUCLEAN);
    assert_non_null(strstr(note, "newer"));
    assert_null(other);
}

/* Writes transitions until it is killed; tells each that was acknowledged. */
static void writing_child(const char *path, int64_t from, int pipe_fd)
{
    Store *s = open_store(path);

    store_add_service(s, 1, "web", "alpha");
    for (int64_t id = from + 1;; id++) {
        add_transition(s, id, 1, "{\"lines\":[\"some journal lines\",\"of a dead run\"]}");
        for (int i = 0; i < 20; i++)
            store_add_check(s, noon + id * 20 + i, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, i);
        if (store_flush(s, 10000) < 0 || stats_of(s).refused ||
            write(pipe_fd, &id, sizeof id) != sizeof id)
            _exit(1);
    }
}

static void test_kill_9(void **state)
{
    Scratch *f = *state;
    int64_t acknowledged = 0, before = 0;
    unsigned seed = 42;

    for (int round = 0; round < 50; round++) {
        int fds[2], status;
        int64_t id;
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(fds[0]);
            writing_child(f->path, before, fds[1]);
        }
        close(fds[1]);
        poll(NULL, 0, rand_r(&seed) % 60);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(fds[0], &id, sizeof id) == sizeof id)
            acknowledged = id;
        close(fds[0]);
        sqlite3 *db = db_open(f->path);
        char sql[160];
        if (acknowledged == 0) { /* killed before there was a table, perhaps */
            sqlite3_close(db);
            continue;
        }
        assert_string_equal(db_text(db, "PRAGMA integrity_check"), "ok");
        snprintf(sql, sizeof sql, "SELECT count(*) FROM service_transition WHERE id <= %lld",
                 (long long)acknowledged);
        assert_int_equal(strtoll(db_text(db, sql), NULL, 10), acknowledged);
        snprintf(sql, sizeof sql, "SELECT count(*) FROM service_check WHERE ts < %lld",
                 (long long)(noon + (acknowledged + 1) * 20));
        assert_int_equal(strtoll(db_text(db, sql), NULL, 10), acknowledged * 20);
        before = strtoll(db_text(db, "SELECT max(id) FROM service_transition"), NULL, 10);
        sqlite3_close(db);
    }
    assert_true(acknowledged > 50);
    assert_int_equal(count_files(f->folder, "damaged"), 0);
}

/* No room: no file may grow past this size. */
static void limit_files(rlim_t size)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void test_disk_full(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    int64_t id = 0;

    signal(SIGXFSZ, SIG_IGN);
    store_add_service(s, 1, "web", "alpha");
    add_transition(s, ++id, 1, NULL);
    assert_int_equal(store_flush(s, 5000), 0);
    limit_files(1);
    for (int i = 0; i < 200; i++) {
        add_transition(s, ++id, 1, "{\"a\":\"some evidence that takes its room\"}");
        store_add_check(s, noon + i, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
        store_add_hour(s, noon, 1, 1000, 2000, 0);
        store_commit(s);
    }
    assert_int_equal(store_flush(s, 500), -ETIMEDOUT);
    for (int i = 0; i < 3000 && stats_of(s).failed_commits < 2; i++)
        poll(NULL, 0, 10);
    StoreStats stats = stats_of(s);
    assert_true(stats.failed_commits >= 2);
    assert_true(stats.queue_bytes > 0);
    assert_int_equal(stats.rows_written, 1);
    assert_int_equal(stats.dropped_checks + stats.dropped_others, 0);
    assert_string_not_equal(stats.error, "");
    limit_files(RLIM_INFINITY);
    assert_int_equal(store_flush(s, 10000), 0);
    stats = stats_of(s);
    assert_int_equal(stats.rows_written, 601);
    assert_string_equal(stats.error, "");
    assert_string_equal(stats.note, "");
    store_close(s);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_transition"), id);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check"), 200);
    assert_string_equal(file_text(f->path, "SELECT healthy_ratio FROM service_state_hourly"),
                        "0.5");
    assert_string_equal(file_text(f->path, "PRAGMA integrity_check"), "ok");
    assert_int_equal(count_files(f->folder, "damaged"), 0);
}

/* Full from the first moment: the store is there all the same and writes when it can. */
static void test_disk_full_at_start(void **state)
{
    Scratch *f = *state;
    Store *s = NULL;
    char note[512];

    signal(SIGXFSZ, SIG_IGN);
    limit_files(1);
    assert_int_equal(store_open(f->path, 7, 730, note, sizeof note, &s), 0);
    assert_string_not_equal(note, "");
    store_add_service(s, 1, "web", "alpha");
    add_transition(s, 1, 1, NULL);
    assert_int_equal(store_flush(s, 100), -ETIMEDOUT);
    limit_files(RLIM_INFINITY);
    assert_int_equal(store_flush(s, 10000), 0);
    store_close(s);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_transition"), 1);
    assert_int_equal(count_files(f->folder, "damaged"), 0);
}

static void test_blocked_writer(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    uint64_t n = 0;

    store_add_service(s, 1, "web", "alpha");
    store_set_delay_ms(s, 3600000);
    while (stats_of(s).dropped_checks == 0) {
        add_transition(s, (int64_t)(n / 10000) + 1, 1, NULL);
        for (int i = 0; i < 10000; i++, n++)
            store_add_check(s, (int64_t)n, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
        store_commit(s);
        assert_true(n < 10000000);
    }
    StoreStats stats = stats_of(s);
    assert_in_range(stats.queue_bytes, STORE_QUEUE_MAX / 2, STORE_QUEUE_MAX + (1 << 20));
    assert_int_equal(stats.commits, 0);
    assert_int_equal(stats.dropped_others, 0);
    /* closing gives up in time */
    uint64_t start = clock_now().mono_us;
    assert_null(store_close(s));
    assert_true(clock_now().mono_us - start < 60 * USEC_PER_SEC);
    assert_string_equal(file_text(f->path, "PRAGMA integrity_check"), "ok");
}

static void test_short_block_loses_nothing(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    store_add_service(s, 1, "web", "alpha");
    store_set_delay_ms(s, 3600000);
    for (int64_t id = 1; id <= 300; id++) {
        add_transition(s, id, 1, NULL);
        for (int i = 0; i < 100; i++)
            store_add_check(s, noon + id * 100 + i, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
        store_commit(s);
    }
    assert_int_equal(store_flush(s, 200), -ETIMEDOUT);
    store_set_delay_ms(s, 0);
    assert_int_equal(store_flush(s, 20000), 0);
    assert_int_equal(stats_of(s).rows_written, 300 * 101);
    store_close(s);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check"), 30000);
}

static void test_file_is_taken_away(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    char aside[128];

    store_add_service(s, 1, "web", "alpha");
    add_transition(s, 1, 1, NULL);
    assert_int_equal(store_flush(s, 5000), 0);
    snprintf(aside, sizeof aside, "%s/moved.db", f->folder);
    assert_int_equal(rename(f->path, aside), 0);
    add_transition(s, 2, 1, NULL);
    store_add_check(s, noon, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_int_equal(file_int(f->path, "SELECT id FROM service_transition"), 2);
    assert_string_equal(file_text(f->path, "SELECT app_id FROM service_check"), "web");
    /* the one that was moved is whole without its log */
    assert_int_equal(file_int(aside, "SELECT id FROM service_transition"), 1);
    /* and one that is put there instead, not ours */
    assert_int_equal(unlink(f->path), 0);
    write_file(f->path, "something else", 14);
    add_transition(s, 3, 1, NULL);
    assert_int_equal(store_flush(s, 5000), 0);
    assert_int_equal(file_int(f->path, "SELECT id FROM service_transition"), 3);
    assert_non_null(strstr(stats_of(s).note, "set aside"));
    store_close(s);
}

/* A large file with a damaged page that the look at the start does not reach. */
static void test_damage_found_later(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    char sql[192], table[STORE_DAY_TABLE_SIZE];

    store_add_service(s, 1, "web", "alpha");
    for (int i = 0; i < 2000; i++)
        store_add_check(s, noon + i, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_close(s);
    sqlite3 *db = db_open(f->path);
    snprintf(sql, sizeof sql,
             "SELECT pageno FROM dbstat WHERE name = '%s' AND pagetype = 'leaf'"
             " ORDER BY path DESC LIMIT 1",
             store_day_table(store_day_of(noon), table));
    off_t leaf = strtol(db_text(db, sql), NULL, 10);
    db_exec(db, "CREATE TABLE pad(x); INSERT INTO pad VALUES(zeroblob(34000000))");
    sqlite3_close(db);
    int fd = open(f->path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, (leaf - 1) * 4096), 8);
    close(fd);
    s = open_store(f->path);
    store_add_service(s, 1, "web", "alpha");
    add_transition(s, 1, 1, NULL);
    for (int i = 0; i < 100; i++)
        store_add_check(s, noon + 5000 + i, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    assert_int_equal(store_flush(s, 10000), 0);
    StoreStats stats = stats_of(s);
    assert_non_null(strstr(stats.note, "is damaged"));
    assert_int_equal(stats.rows_written, 101);
    assert_int_equal(stats.dropped_checks, 0);
    store_close(s);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check"), 100);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_transition"), 1);
    assert_int_equal(count_files(f->folder, "damaged"), count_files(f->folder, "damaged-2"));
    assert_true(count_files(f->folder, "damaged") >= 1);
}

/* Somebody drops a table of ours while we run. */
static void test_table_is_dropped(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);

    store_add_service(s, 1, "web", "alpha");
    add_transition(s, 1, 1, NULL);
    store_add_hour(s, noon, 1, 1, 1, 0);
    assert_int_equal(store_flush(s, 5000), 0);
    sqlite3 *db = db_open(f->path);
    db_exec(db, "DROP VIEW service_state_hourly; DROP TABLE service_hour");
    sqlite3_close(db);
    store_add_hour(s, noon, 1, 2, 2, 0);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_non_null(strstr(stats_of(s).note, "set aside"));
    assert_int_equal(file_int(f->path, "SELECT healthy_ms FROM service_hour"), 2);
    store_close(s);
}

static void test_retention(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    char note[512], sql[128];
    int64_t now = clock_now().wall_ms;

    store_add_service(s, 1, "web", "alpha");
    for (int day = 0; day < 12; day++)
        store_add_check(s, now - day * STORE_DAY_MS, 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, 1);
    store_close(s);
    assert_int_equal(file_int(f->path, "SELECT count(*) FROM service_check"), 12);
    assert_int_equal(store_open(f->path, 7, 730, note, sizeof note, &s), 0);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM service_check");
    for (int i = 0; i < 1000 && file_int(f->path, sql) != 8; i++)
        poll(NULL, 0, 10);
    assert_int_equal(file_int(f->path, sql), 8);
    store_close(s);
}

/* The log is checkpointed as it grows. */
static void test_log_is_bounded(void **state)
{
    Scratch *f = *state;
    Store *s = open_store(f->path);
    char wal[128];
    struct stat st;

    store_add_service(s, 1, "web", "alpha");
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    for (int64_t i = 0; i < 40; i++) {
        for (int k = 0; k < 20000; k++)
            store_add_check(s, noon + (i * 20000 + k), 1, ACTIVE_ACTIVE, LOAD_LOADED, 1, 200, k);
        assert_int_equal(store_flush(s, 10000), 0);
    }
    assert_int_equal(stat(wal, &st), 0);
    assert_true(st.st_size < 48 << 20);
    store_close(s);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_checks),
        WITH_SCRATCH(test_close_writes_what_waits),
        WITH_SCRATCH(test_day_change),
        WITH_SCRATCH(test_impossible_records),
        WITH_SCRATCH(test_transitions),
        WITH_SCRATCH(test_transitions_are_written_at_once),
        WITH_SCRATCH(test_hours),
        WITH_SCRATCH(test_incidents),
        WITH_SCRATCH(test_same_service_again),
        WITH_SCRATCH(test_recall_last_id),
        WITH_SCRATCH(test_recall),
        WITH_SCRATCH(test_opening_faults),
        WITH_SCRATCH(test_kill_9),
        WITH_SCRATCH(test_disk_full),
        WITH_SCRATCH(test_disk_full_at_start),
        WITH_SCRATCH(test_blocked_writer),
        WITH_SCRATCH(test_short_block_loses_nothing),
        WITH_SCRATCH(test_file_is_taken_away),
        WITH_SCRATCH(test_damage_found_later),
        WITH_SCRATCH(test_table_is_dropped),
        WITH_SCRATCH(test_retention),
        WITH_SCRATCH(test_log_is_bounded),
    };

    noon = (store_day_of(clock_now().wall_ms) - 10) * STORE_DAY_MS + STORE_DAY_MS / 2;
    log_set_max_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
