/* The seeded simulation: the daemon's core under a virtual clock against a fake world.
 *
 *   sim [--seeds N] [--first S] [--minutes M] [--pcs P --services K] [--db FILE]
 *   sim --scenes      the directed stories of sim-scenes.c
 *   sim --usage [--minutes M] [--pcs P --services K]
 *                     no checker and no client: one line of JSON with what the core costs
 *
 * Each seed is one story of disturbances. After every disturbance and at the end a checker compares
 * what the fleet shows, what a client has built from the published deltas, and the world's truth:
 *   - nothing is called down without positive evidence, and a cut PC makes no service down
 *   - what has been left alone for a while is shown as it is (recovery ends in truth)
 *   - every crash that could be seen is counted, none is invented
 *   - the sequence has no gap, and the client's picture equals REST's
 *   - checks go on through clock jumps
 *   - no incident opens for what cannot be seen, and each ends when all is well
 *   - a reboot is told once, and none of that PC's services is told of within the grace
 *   - with --db: the database agrees with both
 * A violation prints its seed, which replays it. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "basic/macro.h"
#include "sim-play.h"

static uint64_t changes; /* transitions of all stories */

/* Returns false when a rule was broken. */
static bool story(uint64_t seed, int minutes, int pcs, int services, const char *db)
{
    Sim *s = calloc(1, sizeof *s);
    bool good = false;

    if (!s || sim_begin(s, seed, pcs, services, db) < 0) {
        fprintf(stderr, "sim: the story cannot begin\n");
        free(s);
        return false;
    }
    for (int t = 0; t < minutes * 60 && !s->world.failure[0]; t++) {
        /* bursts of trouble, then quiet times in which the truth must come out */
        for (int k = 0; t % 90 > 5 && t % 90 < 40 && k <= pcs * services / 10; k++)
            if (sim_random(&s->world, 3) == 0)
                sim_disturb(&s->world);
        sim_second(s);
        sim_check(s);
        sim_check_client(s);
        if (t % 60 == 59)
            fleet_book(s->world.fleet, s->world.now, false);
    }
    if (s->world.checks < (uint64_t)minutes)
        sim_fail(s, "hardly anything was checked", NULL);
    sim_check_rest(s);
    if (db)
        sim_check_store(s, db);
    changes += s->transitions;
    good = !s->world.failure[0];
    if (db)
        printf("seed %llu: %llu transitions, %llu checks\n", (unsigned long long)seed,
               (unsigned long long)s->transitions, (unsigned long long)s->world.checks);
    if (!good)
        printf("seed %llu: %s\n", (unsigned long long)seed, s->world.failure);
    sim_end(s);
    free(s);
    return good;
}

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What fleet, incidents and publish cost, and no more than a little of the world's own: a quiet
 * hour with a disturbance every ten seconds. The checker looks on once a minute, unpaid. */
static bool usage(int minutes, int pcs, int services)
{
    Sim *s = calloc(1, sizeof *s);
    size_t before = mallinfo2().uordblks;
    double spent = 0;

    if (!s || sim_begin(s, 1, pcs, services, NULL) < 0) {
        fprintf(stderr, "sim: the story cannot begin\n");
        free(s);
        return false;
    }
    s->is_deaf = s->world.is_lean = true;
    for (int t = 0; t < minutes * 60 && !s->world.failure[0]; t++) {
        if (t % 10 == 0)
            sim_disturb(&s->world);
        double began = cpu_s();
        sim_second(s);
        if (t % 60 == 59)
            fleet_book(s->world.fleet, s->world.now, false);
        spent += cpu_s() - began;
        if (t % 60 == 59)
            sim_check(s);
    }
    bool good = !s->world.failure[0];
    printf("{\"pcs\":%d,\"services\":%zu,\"virtual_s\":%d,\"cpu_s\":%.3f,\"core_percent\":%.3f,"
           "\"checks\":%llu,\"cpu_us_per_check\":%.2f,\"heap_kb\":%zu}\n",
           pcs, fleet_n_services(s->world.fleet), minutes * 60, spent, 100 * spent / (minutes * 60),
           (unsigned long long)s->world.checks,
           1e6 * spent / (double)MAX(s->world.checks, UINT64_C(1)),
           (mallinfo2().uordblks - before) / 1024);
    if (!good)
        fprintf(stderr, "sim: %s\n", s->world.failure);
    sim_end(s);
    free(s);
    return good;
}

static unsigned long number(const char *text, const char *option)
{
    char *rest;
    unsigned long n = strtoul(text, &rest, 10);

    if (*rest || rest == text) {
        fprintf(stderr, "sim: --%s wants a number, not '%s'\n", option, text);
        exit(2);
    }
    return n;
}

int main(int argc, char *argv[])
{
    enum { SEEDS, FIRST, MINUTES, PCS, SERVICES, N_NUMBERS, DB = N_NUMBERS, SCENES, USAGE };
    static const struct option options[] = {
        {"seeds", required_argument, NULL, SEEDS},
        {"first", required_argument, NULL, FIRST},
        {"minutes", required_argument, NULL, MINUTES},
        {"pcs", required_argument, NULL, PCS},
        {"services", required_argument, NULL, SERVICES},
        {"db", required_argument, NULL, DB},
        {"scenes", no_argument, NULL, SCENES},
        {"usage", no_argument, NULL, USAGE},
        {0},
    };
    const char *db = NULL;
    bool measures = false;
    unsigned long value[N_NUMBERS] = {200, 1, 3, 3, 5}, bad = 0;
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (code == '?')
            return 2;
        if (code == SCENES)
            return sim_scenes() != 0;
        if (code == DB)
            db = optarg;
        else if (code == USAGE)
            measures = true;
        else
            value[code] = number(optarg, options[code].name);
    }
    if (value[PCS] < 1 || value[PCS] > SIM_PCS_MAX || value[SERVICES] < 1 ||
        value[SERVICES] > SIM_SERVICES_MAX) {
        fprintf(stderr, "sim: 1-%d PCs, 1-%d services\n", SIM_PCS_MAX, SIM_SERVICES_MAX);
        return 2;
    }
    if (measures)
        return !usage((int)value[MINUTES], (int)value[PCS], (int)value[SERVICES]);
    for (unsigned long i = 0; i < value[SEEDS]; i++)
        bad += !story(value[FIRST] + i, (int)value[MINUTES], (int)value[PCS], (int)value[SERVICES],
                      db);
    printf("%lu seeds, %lu broke a rule; %llu transitions; %.1f s of CPU\n", value[SEEDS], bad,
           (unsigned long long)changes, (double)clock() / CLOCKS_PER_SEC);
    return bad != 0;
}
