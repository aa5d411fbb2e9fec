/* See sim-play.h. What the composition root wires in the daemon is wired to the checker here. */
#include "sim-play.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"

#define CALM_US      (25U * USEC_PER_SEC) /* after this long undisturbed the truth must be shown */
#define UNREACHED_US (5U * USEC_PER_SEC)
#define INTERVAL_MS  10000U
#define STEP_US      USEC_PER_SEC
#define GAP_US       (15U * USEC_PER_SEC) /* as in manager.c */
#define GRACE_US     (SIM_GRACE_S * USEC_PER_SEC)

void sim_fail(Sim *s, const char *what, const Service *service)
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
    if (row->from == row->to && !service)
        sim_fail(s, "a PC's transition changes nothing", NULL);
    if (!service) {
        s->pc_transitions++;
        s->last_pc_cause = row->cause;
    }
    if (s->store)
        store_add_transition(s->store, &t);
    if (service && row->to == ACTUAL_FAILED) {
        sim_find(&s->world, service)->failed_seen++;
        s->failures++;
    }
    if (change && change->ts_ms != row->ts)
        sim_fail(s, "a transition's time differs from its change's", service);
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
    s->observed_ms += observed_ms;
    if (healthy_ms > observed_ms || observed_ms > 3600 * 1000)
        sim_fail(s, "an hour holds more than an hour", service);
}

static void on_changed(void *userdata)
{
    (void)userdata;
}

/* Within the grace after a reboot; a boundary that both sides round otherwise is left out. */
static bool is_excused(const Sim *s, const FleetPc *pc)
{
    return pc->rebooted_us && s->world.now.mono_us + STEP_US < pc->rebooted_us + GRACE_US;
}

static size_t place_of(const char *pc_id)
{
    return strtoul(pc_id + strlen("pc-"), NULL, 10);
}

static void on_booted(void *userdata, FleetPc *pc, bool again)
{
    Sim *s = userdata;
    size_t p = place_of(pc->pc_id);
    uint64_t now = s->world.now.mono_us;
    bool held = pc->reboot_told_us && now < pc->reboot_told_us + GRACE_US;
    uint32_t before = s->reboots_told[p];

    if (!again)
        return;
    s->reboots_seen[p]++;
    incidents_rebooted(s->incidents, pc, s->world.now);
    if (s->reboots_told[p] - before != !held)
        sim_fail(s, "a reboot is not one event", NULL);
}

static void note_incident(Sim *s, const Incident *i)
{
    if (i->id != s->told_id || i->state != s->told_state)
        s->told[i->kind][i->state]++;
    s->told_id = i->id;
    s->told_state = i->state;
    if (i->kind == INCIDENT_REBOOT)
        s->reboots_told[place_of(i->pc_id)]++;
}

static void on_incident(void *userdata, const Incident *i)
{
    Sim *s = userdata;
    const Service *v =
        i->kind == INCIDENT_SERVICE ? fleet_service(s->world.fleet, i->app_id, i->pc_id) : NULL;

    if (i->state == INCIDENT_OPEN && v && v->track.shown.light != LIGHT_DOWN)
        sim_fail(s, "an incident opened for a service that is not down", v);
    if (i->state == INCIDENT_OPEN && v && !v->pc->facts.reachable)
        sim_fail(s, "an incident opened for a service that cannot be seen", v);
    bool opens = i->state == INCIDENT_OPEN && i->opened_ms == s->world.now.wall_ms;
    if ((opens || i->state == INCIDENT_PENDING) && v && is_excused(s, v->pc))
        sim_fail(s, "an incident of a service whose PC was just rebooted", v);
    note_incident(s, i);
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

    if (seq != s->last_seq + 1)
        sim_fail(s, "the sequence has a gap", NULL);
    s->last_seq = seq;
    if (s->is_deaf)
        return;
    CLEANUP(json_freep) Json *j = json_parse(json, len);
    if (!j || world_apply(&s->client, json_as_string(json_get(j, "type"), ""), j) < 0)
        sim_fail(s, "a client cannot read a delta", NULL);
    if (s->client.seq != seq)
        sim_fail(s, "a delta carries another seq than its own", NULL);
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
        sim_fail(s, "down on an unreachable PC", v);
    if (v->facts.unit.active == ACTIVE_ACTIVE)
        sim_fail(s, "down although the unit was last seen active", v);
}

/* What must be shown once a service was left alone for CALM_US on a PC that was, too. */
static void check_truth(Sim *s, const SimPc *pc, const SimService *mine)
{
    const Service *v = mine->service;
    Actual truth;

    if (pc->cut) {
        if (is_calm(s, pc->cut_us, UNREACHED_US) && v->track.shown.actual != ACTUAL_UNREACHABLE)
            sim_fail(s, "a cut PC's service is not unreachable", v);
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
        sim_fail(s, "what was left alone is not shown as it is", v);
}

static void check_counts(Sim *s, const SimService *mine)
{
    if (mine->counts && mine->failed_seen != mine->crashes_told)
        sim_fail(s,
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
void sim_check_client(Sim *s)
{
    ServiceRow row;
    size_t n = 0;

    for (int p = 0; p < s->world.n_pcs; p++) {
        SimPc *pc = &s->world.pcs[p];
        const PcRow *its = world_pc(&s->client, pc->pc_id);
        if (!its || its->reachable != pc->pc->facts.reachable)
            sim_fail(s, "the client's PC differs", NULL);
        for (int i = 0; i < SIM_SERVICES_MAX; i++) {
            Service *v = pc->services[i].service;
            if (!v)
                continue;
            n++;
            fleet_service_row(s->world.fleet, v, s->world.now, &row);
            const ServiceRow *theirs = world_service(&s->client, row.pc_id, row.app_id);
            if (!theirs || !rows_equal(&row, theirs))
                sim_fail(s, "the client's row differs", v);
        }
    }
    if (n != s->client.n_services)
        sim_fail(s, "the client has services that are gone", NULL);
}

/* R27: what REST answers, read as a client would read a snapshot, is the client's picture. */
void sim_check_rest(Sim *s)
{
    size_t services_len, pcs_len;
    const char *services = publish_services(s->publish, &services_len);
    const char *pcs = publish_pcs(s->publish, &pcs_len);
    CLEANUP_FREE char *text = NULL;
    World rest = {0};

    if (!services || !pcs ||
        asprintf(&text, "{\"type\":\"snapshot\",\"seq\":1,\"services\":%.*s,\"pcs\":%.*s}",
                 (int)services_len, services, (int)pcs_len, pcs) < 0) {
        sim_fail(s, "REST has no answer", NULL);
        return;
    }
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    if (!j || world_apply(&rest, "snapshot", j) < 0)
        sim_fail(s, "REST's answer cannot be read", NULL);
    if (rest.n_services != s->client.n_services || rest.n_pcs != s->client.n_pcs)
        sim_fail(s, "REST and the client know different services", NULL);
    for (size_t i = 0; i < rest.n_services; i++) {
        const ServiceRow *row = &rest.services[i];
        const ServiceRow *theirs = world_service(&s->client, row->pc_id, row->app_id);
        if (!theirs || !rows_equal(row, theirs))
            sim_fail(s, "REST and the client differ", NULL);
    }
    world_done(&rest);
}

void sim_check(Sim *s)
{
    for (int p = 0; p < s->world.n_pcs; p++) {
        SimPc *pc = &s->world.pcs[p];
        if (s->reboots_seen[p] != pc->reboots_due)
            sim_fail(s, "a reboot was missed or invented", NULL);
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
void sim_check_store(Sim *s, const char *path)
{
    CLEANUP_FREE StoreRecall *rows = NULL;
    size_t n = 0, found = 0;
    StoreStats stats;

    if (store_flush(s->store, 300000) < 0 ||
        store_recall(path, s->world.now.wall_ms, &rows, &n) < 0) {
        sim_fail(s, "the database does not answer", NULL);
        return;
    }
    store_stats(s->store, &stats);
    if (stats.dropped_checks || stats.dropped_others || stats.refused || stats.failed_commits)
        sim_fail(s, "the store dropped something", NULL);
    for (size_t i = 0; i < n; i++) {
        const Service *v = fleet_service(s->world.fleet, rows[i].app_id, rows[i].pc_id);
        if (!v || !v->track.stored_ms)
            continue;
        found++;
        if (rows[i].last_to != v->track.stored || rows[i].last_ts_ms != v->track.stored_ms)
            sim_fail(s, "the database's last transition differs", v);
    }
    if (found == 0)
        sim_fail(s, "the database knows no transition", NULL);
}

/* ---- its life ---- */

void sim_second(Sim *s)
{
    if (s->tick_us && s->world.now.mono_us > s->tick_us + GAP_US)
        fleet_book(s->world.fleet, s->world.now, true);
    sim_advance(&s->world, s->world.now.mono_us + STEP_US);
    s->tick_us = s->world.now.mono_us;
    incidents_scan(s->incidents, s->world.now);
    publish_flush(s->publish, s->world.now);
    if (s->store)
        store_commit(s->store);
}

int sim_begin(Sim *s, uint64_t seed, int pcs, int services, const char *db)
{
    char note[256];
    static const FleetOps ops = {
        .transition = on_transition,
        .check = on_check,
        .hour = on_hour,
        .changed = on_changed,
        .removed = on_removed,
        .added = on_added,
        .booted = on_booted,
    };

    sim_world_init(&s->world, seed, pcs, services);
    int r = fleet_new(&ops, s, INTERVAL_MS, s->world.now.wall_ms / 1000, &s->world.fleet);
    if (r >= 0)
        r = publish_new(s->world.fleet, "{}", on_message, s, &s->publish);
    if (r >= 0)
        r = incidents_new(s->world.fleet, SIM_ALERT_AFTER_S, SIM_GRACE_S, on_incident, s,
                          &s->incidents);
    if (r >= 0 && db)
        r = store_open(db, 7, 730, note, sizeof note, &s->store);
    if (r >= 0)
        r = sim_world_apply(&s->world);
    return r;
}

void sim_end(Sim *s)
{
    store_close(s->store);
    incidents_free(s->incidents);
    publish_free(s->publish);
    fleet_free(s->world.fleet);
    world_done(&s->client);
}
