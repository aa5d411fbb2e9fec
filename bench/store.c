/* bench-store: what history costs (S9): bytes and CPU time per check, a question for one service's
 * day, and the longest wait of the loop while a day of that size is forgotten.
 *
 * Unlike its neighbours it links with the daemon's code: the store has no face to the outside. Time
 * is virtual. The checks of each STORE_GATHER_MS of it become one transaction, as they would in the
 * daemon; what is faster than life is only the pause between two of them. CPU time is the whole
 * process's, both threads, checkpoints included. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/history.h"
#include "api/store-schema.h"
#include "api/store.h"
#include "basic/clock.h"
#include "bench/bench.h"

#define FLUSH_MS 60000U

typedef struct Options {
    uint64_t services, hours, interval_s, questions;
    const char *folder;
} Options;

static void help(void)
{
    puts("Usage: bench-store [OPTION...]\n\n"
         "Fills a history with checks and prints what they cost as one JSON line.\n\n"
         "  --services N    services that are checked (default 1000)\n"
         "  --hours N       of checks (default 24, at most 24)\n"
         "  --interval N    seconds between two checks of a service (default 10)\n"
         "  --questions N   for a service's day with 500 points (default 200)\n"
         "  --folder PATH   where the file is made and removed again (default /tmp)\n"
         "  -h, --help      this text");
}

static Options parse_options(int argc, char **argv)
{
    static const struct option table[] = {
        {"services", required_argument, NULL, 's'},
        {"hours", required_argument, NULL, 't'},
        {"interval", required_argument, NULL, 'i'},
        {"questions", required_argument, NULL, 'q'},
        {"folder", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    Options o = {
        .services = 1000, .hours = 24, .interval_s = 10, .questions = 200, .folder = "/tmp"};

    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) >= 0;) {
        switch (c) {
        case 's': o.services = number_or_exit("--services", optarg, 1, 100000); break;
        case 't': o.hours = number_or_exit("--hours", optarg, 1, 24); break;
        case 'i': o.interval_s = number_or_exit("--interval", optarg, 1, 3600); break;
        case 'q': o.questions = number_or_exit("--questions", optarg, 1, 100000); break;
        case 'f': o.folder = optarg; break;
        case 'h': help(); exit(0);
        default: exit(2);
        }
    }
    if (optind < argc)
        usage_error("unexpected: %s", argv[optind]);
    return o;
}

static Store *open_store(const char *path, uint32_t days)
{
    char note[512];
    Store *s = NULL;
    int r = store_open(path, days, 730, note, sizeof note, &s);

    if (r < 0)
        fatal(r, "%s", note);
    return s;
}

static void tell_services(Store *s, const Options *o)
{
    char app_id[32];

    for (uint32_t i = 1; i <= o->services; i++) {
        snprintf(app_id, sizeof app_id, "service-%05u", i);
        store_add_service(s, i, app_id, "workstation");
    }
}

static void flush(Store *s)
{
    int r = store_flush(s, FLUSH_MS);

    if (r < 0)
        fatal(r, "the store did not write");
}

/* The checks that are due in second t; returns how many. */
static uint64_t add_second(Store *s, const Options *o, int64_t start_ms, uint64_t t)
{
    uint64_t n = 0;

    for (uint64_t i = t % o->interval_s; i < o->services; i += o->interval_s, n++)
        store_add_check(s, start_ms + (int64_t)(t * 1000 + i % 1000), (uint32_t)i + 1,
                        ACTIVE_ACTIVE, LOAD_LOADED, 1, 200,
                        (int32_t)(400 + (i * 7919 + t * 104729) % 20000));
    store_commit(s);
    return n;
}

static void fill(const char *path, const Options *o, int64_t start_ms)
{
    Store *s = open_store(path, 366);
    uint64_t checks = 0, gather_s = STORE_GATHER_MS / 1000;
    Samples commits = {0};

    tell_services(s, o);
    flush(s);
    uint64_t cpu = bench_own_cpu_us(), wall = bench_now_us();
    for (uint64_t t = 0; t < o->hours * 3600; t++) {
        checks += add_second(s, o, start_ms, t);
        if (t % gather_s == gather_s - 1) {
            uint64_t before = bench_now_us();
            flush(s);
            samples_add(&commits, (double)(bench_now_us() - before) / 1000.0);
        }
    }
    flush(s);
    store_close(s);
    cpu = bench_own_cpu_us() - cpu;
    wall = bench_now_us() - wall;
    struct stat st;
    if (stat(path, &st) < 0)
        fatal(-errno, "%s", path);
    report_int("checks", (int64_t)checks);
    report_number("bytes_per_check", (double)st.st_size / (double)checks);
    report_number("cpu_us_per_check", (double)cpu / (double)checks);
    report_number("wall_us_per_check", (double)wall / (double)checks);
    report_samples("transaction_ms", &commits);
    samples_done(&commits);
}

static void on_answer(void *userdata, int error, const char *json, size_t len)
{
    if (error < 0 || !json || len < 1000)
        fatal(error, "no answer worth the name (%zu bytes)", len);
    *(bool *)userdata = true;
}

static void question(const char *path, const Options *o, int64_t now_ms)
{
    Nest *nest = NULL;
    History *h = NULL;
    Samples times = {0};
    int r = nest_new(&nest);

    if (r >= 0)
        r = history_new(path, nest, &h);
    if (r < 0)
        fatal(r, "history");
    for (uint64_t i = 0; i < o->questions; i++) {
        HistoryQuestion q = {.kind = HISTORY_SERVICE, .transitions = 50, .hours = 168};
        bool done = false;
        q.points = 500;
        q.now_ms = now_ms;
        snprintf(q.app_id, sizeof q.app_id, "service-%05u", (unsigned)(i * 7919 % o->services) + 1);
        snprintf(q.pc_id, sizeof q.pc_id, "workstation");
        uint64_t before = bench_now_us();
        r = history_ask(h, &q, on_answer, &done, NULL);
        while (r >= 0 && !done) {
            struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};
            poll(&p, 1, 3000);
            nest_dispatch(nest);
        }
        if (r < 0)
            fatal(r, "history_ask");
        samples_add(&times, (double)(bench_now_us() - before) / 1000.0);
    }
    report_samples("day_500_points_ms", &times);
    samples_done(&times);
    history_free(h);
    nest_free(nest);
}

static bool is_forgotten(const char *path, int64_t day_ms)
{
    char table[STORE_DAY_TABLE_SIZE], sql[128];
    int64_t n = 1;
    sqlite3 *db = NULL;

    snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_schema WHERE name = '%s'",
             store_day_table(store_day_of(day_ms), table));
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK)
        store_query_int(db, sql, 1, &n);
    sqlite3_close(db);
    return n == 0;
}

/* Adds and commits each millisecond while the clean-up drops the day that was filled; what the loop
 * waits for each of them, and how long the writer was busy with the drop at most. */
static void forget(const char *path, const Options *o, int64_t start_ms)
{
    Store *s = open_store(path, 1);
    Samples loop = {0}, writer = {0};
    int64_t now = clock_now().wall_ms;

    tell_services(s, o);
    uint64_t begin = bench_now_us();
    for (uint64_t i = 0; i < 200 || (!is_forgotten(path, start_ms) && i < 60000); i++) {
        uint64_t before = bench_now_us();
        store_add_check(s, now + (int64_t)i, (uint32_t)(i % o->services) + 1, ACTIVE_ACTIVE,
                        LOAD_LOADED, 1, 200, 500);
        store_commit(s);
        samples_add(&loop, (double)(bench_now_us() - before));
        before = bench_now_us();
        flush(s);
        samples_add(&writer, (double)(bench_now_us() - before) / 1000.0);
        poll(NULL, 0, 1);
    }
    report_number("forget_day_ms", (double)(bench_now_us() - begin) / 1000.0);
    report_samples("forget_loop_us", &loop);
    report_samples("forget_commit_ms", &writer);
    samples_done(&loop);
    samples_done(&writer);
    store_close(s);
}

static void remove_files(const char *path)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    char name[600];

    for (size_t i = 0; i < ELEMENTS(parts); i++) {
        snprintf(name, sizeof name, "%s%s", path, parts[i]);
        unlink(name);
    }
}

int main(int argc, char **argv)
{
    Options o = parse_options(argc, argv);
    char folder[512], path[544];
    /* a whole day, ten days ago: kept while it is filled, forgotten at the end */
    int64_t start_ms = (store_day_of(clock_now().wall_ms) - 10) * STORE_DAY_MS;

    if (snprintf(folder, sizeof folder, "%s/bench-store-XXXXXX", o.folder) >= (int)sizeof folder)
        usage_error("--folder is too long");
    if (!mkdtemp(folder))
        fatal(-errno, "%s", folder);
    snprintf(path, sizeof path, "%s/services_api.db", folder);
    report_begin("bench-store");
    report_int("services", (int64_t)o.services);
    report_int("hours", (int64_t)o.hours);
    fill(path, &o, start_ms);
    question(path, &o, start_ms + (int64_t)o.hours * STORE_HOUR_MS);
    forget(path, &o, start_ms);
    report_end();
    remove_files(path);
    rmdir(folder);
    return 0;
}
