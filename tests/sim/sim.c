/* The seeded simulation: the daemon's core under a virtual clock against a fake world.
 *
 *   sim [--seeds N] [--first S] [--minutes M] [--pcs P --services K] [--db FILE]
 *
 * Each seed is one story of disturbances. After every disturbance and at the end a checker compares
 * what the fleet shows, what a client has built from the published deltas, and the world's truth:
 *   - nothing is called down without positive evidence, and a cut PC makes no service down
 *   - what has been left alone for a while is shown as it is (recovery ends in truth)
 *   - every crash that could be seen is counted, none is invented
 *   - the sequence has no gap, and the client's picture equals REST's
 *   - checks go on through clock jumps
 *   - no incident opens for what cannot be seen, and each ends when all is well
 *   - with --db: the database agrees with both
 * A violation prints its seed, which replays it. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/incident.h"
#include "api/publish.h"
#include "api/store.h"
#include "basic/macro.h"
#include "common/world.h"
#include "sim-world.h"

#define CALM_US      (25U * USEC_PER_SEC) /* after this long undisturbed the truth must be shown */
#define UNREACHED_US (5U * USEC_PER_SEC)
#define INTERVAL_MS  10000U
#define STEP_US      USEC_PER_SEC

typedef struct Sim {
    SimWorld world;
    Publish *publish;
    Incidents *incidents;
    Store *store; /* NULL without --db */
    World client;
    uint64_t last_seq;
    uint64_t transitions;
} Sim;

static void fail(Sim *s, const char *what, const Service *service)
{
    if (s->world.failure[0])
        return;
    snprintf(s->world.failure, sizeof s->world.failure, "%s: %s/%s shows %s (%s), at %.3f s", what,
             service ? service->pc->pc_id : "-", service ? service->want.app_id : "-",
             service ? actual_to_string(service->track.shown.actual) : "-",
             service ? cause_to_string(service->track.shown.cause) : "-",
             (double)(s->world.now.mono_us - 1000 * USEC_PER_SEC) / 1e6);
}

/* ---- the fleet's right-hand side ---- */

static void on_transition(void *userdata, FleetPc *pc, Service *service, const TransitionRow *row,
                          const Change *change)
{
    Sim *s = userdata;
    StoreTransition t = {.id = row->id,
                         .ts_ms = row->ts,
                         .handle = service ? service->handle : 0,
                         .pc_id = pc->pc_id,
                         .from = row->from,
                         .to = row->to,
                         .cause = row->cause,
                         .sentence = row->sentence};

    s->transitions++;
    if (s->store)
        store_add_transition(s->store, &t);
    if (service && row->to == ACTUAL_FAILED)
        sim_find(&s->world, service)->failed_seen++;
    if (change && change->ts_ms != row->ts)
        fail(s, "a transition's time differs from its change's", service);
    publish_transition(s->publish, row);
}

static void on_check(void *userdata, Service *service, int64_t ts_ms)
{
    Sim *s = userdata;

    if (s->store)
        store_add_check(s->store, ts_ms, service->handle, service->facts.unit.active,
                        service->facts.unit.load, service->look.port_listening,
                        service->facts.http.status, service->facts.http.latency_us);
    s->world.checks++;
}

static void on_hour(void *userdata, Service *service, int64_t hour_ms, uint32_t healthy_ms,
                    uint32_t observed_ms, uint32_t transitions)
{
    Sim *s = userdata;

    (void)hour_ms, (void)transitions;
    if (healthy_ms > observed_ms || observed_ms > 3600 * 1000)
        fail(s, "an hour holds more than an hour", service);
}

static void on_changed(void *userdata)
{
    (void)userdata;
}

static void on_incident(void *userdata, const Incident *i)
{
    Sim *s = userdata;
    const Service *v =
        i->kind == INCIDENT_SERVICE ? fleet_service(s->world.fleet, i->app_id, i->pc_id) : NULL;

    if (i->state == INCIDENT_OPEN && v && v->track.shown.light != LIGHT_DOWN)
        fail(s, "an incident opened for a service that is not down", v);
    if (i->state == INCIDENT_OPEN && v && !v->pc->facts.reachable)
        fail(s, "an incident opened for a service that cannot be seen", v);
}

static void on_added(void *userdata, FleetPc *pc, Service *service)
{
    Sim *s = userdata;

    sim_world_added(&s->world, pc, service);
    if (service && s->store)
        store_add_service(s->store, service->handle, service->want.app_id, pc->pc_id);
}

static void on_removed(void *userdata, FleetPc *pc, Service *service)
{
    Sim *s = userdata;

    sim_world_removed(&s->world, pc, service);
    publish_removed(s->publish, service ? service->want.app_id : NULL, pc->pc_id);
}

static void on_message(void *userdata, uint64_t seq, const char *json, size_t len)
{
    Sim *s = userdata;
    CLEANUP(json_freep) Json *j = json_parse(json, len);

    if (seq != s->last_seq + 1)
        fail(s, "the sequence has a gap", NULL);
    s->last_seq = seq;
    if (!j || world_apply(&s->client, json_as_string(json_get(j, "type"), ""), j) < 0)
        fail(s, "a client cannot read a delta", NULL);
    if (s->client.seq != seq)
        fail(s, "a delta carries another seq than its own", NULL);
}

/* ---- the checker ---- */

static bool is_calm(const Sim *s, uint64_t since_us, uint64_t for_us)
{
    return s->world.now.mono_us >= since_us + for_us;
}

static void check_evidence(Sim *s, const SimPc *pc, const SimService *mine)
{
    const Service *v = mine->service;

    if (v->track.shown.light != LIGHT_DOWN)
        return;
    if (!pc->pc->facts.reachable)
        fail(s, "down on an unreachable PC", v);
    if (v->facts.unit.active == ACTIVE_ACTIVE)
        fail(s, "down although the unit was last seen active", v);
}

/* What must be shown once a service was left alone for CALM_US on a PC that was, too. */
static void check_truth(Sim *s, const SimPc *pc, const SimService *mine)
{
    const Service *v = mine->service;
    Actual truth;

    if (pc->cut) {
        if (is_calm(s, pc->cut_us, UNREACHED_US) && v->track.shown.actual != ACTUAL_UNREACHABLE)
            fail(s, "a cut PC's service is not unreachable", v);
        return;
    }
    if (!is_calm(s, pc->calm_since_us, CALM_US) || !is_calm(s, mine->calm_since_us, CALM_US))
        return;
    if (mine->unit.active == ACTIVE_FAILED)
        truth = ACTUAL_FAILED;
    else if (mine->unit.active == ACTIVE_INACTIVE)
        truth = ACTUAL_INACTIVE;
    else if (mine->has_health && (mine->hung || mine->http_status != 200))
        truth = ACTUAL_DEGRADED;
    else
        truth = ACTUAL_RUNNING;
    if (v->track.shown.actual != truth)
        fail(s, "what was left alone is not shown as it is", v);
}

static void check_counts(Sim *s, const SimService *mine)
{
    if (mine->counts && mine->failed_seen != mine->crashes_told)
        fail(s,
             mine->failed_seen < mine->crashes_told ? "a crash was not counted"
                                                    : "a crash was invented",
             mine->service);
}

static bool rows_equal(const ServiceRow *a, const ServiceRow *b)
{
    return a->actual == b->actual && a->light == b->light && a->cause == b->cause &&
           a->expected == b->expected && a->port == b->port &&
           a->port_listening == b->port_listening && a->http_status == b->http_status &&
           a->since_ts == b->since_ts && a->restarts == b->restarts &&
           a->last_check_ts == b->last_check_ts &&
           strcmp(a->systemd_state, b->systemd_state) == 0 && strcmp(a->sentence, b->sentence) == 0;
}

/* The picture a client has built from deltas alone equals the fleet's. */
static void check_client(Sim *s)
{
    ServiceRow row;
    size_t n = 0;

    for (int p = 0; p < s->world.n_pcs; p++) {
        SimPc *pc = &s->world.pcs[p];
        const PcRow *its = world_pc(&s->client, pc->pc_id);
        if (!its || its->reachable != pc->pc->facts.reachable)
            fail(s, "the client's PC differs", NULL);
        for (int i = 0; i < SIM_SERVICES_MAX; i++) {
            Service *v = pc->services[i].service;
            if (!v)
                continue;
            n++;
            fleet_service_row(s->world.fleet, v, s->world.now, &row);
            const ServiceRow *theirs = world_service(&s->client, row.pc_id, row.app_id);
            if (!theirs || !rows_equal(&row, theirs))
                fail(s, "the client's row differs", v);
        }
    }
    if (n != s->client.n_services)
        fail(s, "the client has services that are gone", NULL);
}

static void check(Sim *s)
{
    for (int p = 0; p < s->world.n_pcs; p++) {
        SimPc *pc = &s->world.pcs[p];
        for (int i = 0; i < SIM_SERVICES_MAX; i++) {
            if (!pc->services[i].service)
                continue;
            check_evidence(s, pc, &pc->services[i]);
            check_truth(s, pc, &pc->services[i]);
            check_counts(s, &pc->services[i]);
        }
    }
}

/* What the database says of each service's last transition is what the fleet stored last. */
static void check_store(Sim *s, const char *path)
{
    CLEANUP_FREE StoreRecall *rows = NULL;
    size_t n = 0, found = 0;
    StoreStats stats;

    if (store_flush(s->store, 30000) < 0 ||
        store_recall(path, s->world.now.wall_ms, &rows, &n) < 0) {
        fail(s, "the database does not answer", NULL);
        return;
    }
    store_stats(s->store, &stats);
    if (stats.dropped_checks || stats.dropped_others || stats.refused || stats.failed_commits)
        fail(s, "the store dropped something", NULL);
    for (size_t i = 0; i < n; i++) {
        const Service *v = fleet_service(s->world.fleet, rows[i].app_id, rows[i].pc_id);
        if (!v || !v->track.stored_ms)
            continue;
        found++;
        if (rows[i].last_to != v->track.stored || rows[i].last_ts_ms != v->track.stored_ms)
            fail(s, "the database's last transition differs", v);
    }
    if (found == 0)
        fail(s, "the database knows no transition", NULL);
}

/* ---- one story ---- */

static void second(Sim *s)
{
    sim_advance(&s->world, s->world.now.mono_us + STEP_US);
    incidents_scan(s->incidents, s->world.now);
    publish_flush(s->publish, s->world.now);
    if (s->store)
        store_commit(s->store);
}

static int begin(Sim *s, uint64_t seed, int pcs, int services, const char *db)
{
    char note[256];
    static const FleetOps ops = {
        .transition = on_transition,
        .check = on_check,
        .hour = on_hour,
        .changed = on_changed,
        .removed = on_removed,
        .added = on_added,
    };

    sim_world_init(&s->world, seed, pcs, services);
    int r = fleet_new(&ops, s, INTERVAL_MS, s->world.now.wall_ms / 1000, &s->world.fleet);
    if (r >= 0)
        r = publish_new(s->world.fleet, "{}", on_message, s, &s->publish);
    if (r >= 0)
        r = incidents_new(s->world.fleet, 60, 30, on_incident, s, &s->incidents);
    if (r >= 0 && db)
        r = store_open(db, 7, 730, note, sizeof note, &s->store);
    if (r >= 0)
        r = sim_world_apply(&s->world);
    return r;
}

static void end(Sim *s)
{
    store_close(s->store);
    incidents_free(s->incidents);
    publish_free(s->publish);
    fleet_free(s->world.fleet);
    world_done(&s->client);
}

/* Returns false when a rule was broken. */
static bool story(uint64_t seed, int minutes, int pcs, int services, const char *db)
{
    Sim *s = calloc(1, sizeof *s);
    bool good = false;

    if (!s || begin(s, seed, pcs, services, db) < 0) {
        fprintf(stderr, "sim: the story cannot begin\n");
        free(s);
        return false;
    }
    for (int t = 0; t < minutes * 60 && !s->world.failure[0]; t++) {
        /* bursts of trouble, then quiet times in which the truth must come out */
        for (int k = 0; t % 90 > 5 && t % 90 < 40 && k <= pcs * services / 10; k++)
            if (sim_random(&s->world, 3) == 0)
                sim_disturb(&s->world);
        second(s);
        check(s);
        check_client(s);
        if (t % 60 == 59)
            fleet_book(s->world.fleet, s->world.now, false);
    }
    if (s->world.checks < (uint64_t)minutes)
        fail(s, "hardly anything was checked", NULL);
    if (db)
        check_store(s, db);
    good = !s->world.failure[0];
    if (db)
        printf("seed %llu: %llu transitions, %llu checks\n", (unsigned long long)seed,
               (unsigned long long)s->transitions, (unsigned long long)s->world.checks);
    if (!good)
        printf("seed %llu: %s\n", (unsigned long long)seed, s->world.failure);
    end(s);
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
    enum { SEEDS, FIRST, MINUTES, PCS, SERVICES, N_NUMBERS, DB = N_NUMBERS };
    static const struct option options[] = {
        {"seeds", required_argument, NULL, SEEDS},
        {"first", required_argument, NULL, FIRST},
        {"minutes", required_argument, NULL, MINUTES},
        {"pcs", required_argument, NULL, PCS},
        {"services", required_argument, NULL, SERVICES},
        {"db", required_argument, NULL, DB},
        {0},
    };
    const char *db = NULL;
    unsigned long value[N_NUMBERS] = {200, 1, 3, 3, 5}, bad = 0;
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (code == '?')
            return 2;
        if (code == DB)
            db = optarg;
        else
            value[code] = number(optarg, options[code].name);
    }
    if (value[PCS] < 1 || value[PCS] > SIM_PCS_MAX || value[SERVICES] < 1 ||
        value[SERVICES] > SIM_SERVICES_MAX) {
        fprintf(stderr, "sim: 1-%d PCs, 1-%d services\n", SIM_PCS_MAX, SIM_SERVICES_MAX);
        return 2;
    }
    for (unsigned long i = 0; i < value[SEEDS]; i++)
        bad += !story(value[FIRST] + i, (int)value[MINUTES], (int)value[PCS], (int)value[SERVICES],
                      db);
    printf("%lu seeds, %lu broke a rule; %.1f s of CPU\n", value[SEEDS], bad,
           (double)clock() / CLOCKS_PER_SEC);
    return bad != 0;
}
