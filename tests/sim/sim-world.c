/* See sim-world.h. Times are chosen so that a whole story of minutes costs milliseconds. */
#include "sim-world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "basic/macro.h"

#define RETRY_US  (8U * USEC_PER_SEC)
#define NOTICE_US (3U * USEC_PER_SEC) /* a cut PC is noticed after this long, see transport-ssh */

/* xorshift64*: one seed, one story, on every machine. */
uint32_t sim_random(SimWorld *w, uint32_t below)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return below ? (uint32_t)((w->random * UINT64_C(2685821657736338717)) >> 33) % below : 0;
}

static void new_run(SimWorld *w, SimService *s)
{
    for (size_t i = 0; i < sizeof s->unit.invocation; i++)
        s->unit.invocation[i] = (uint8_t)sim_random(w, 256);
    s->unit.invocation[0] |= 1;
    s->unit.active = ACTIVE_ACTIVE;
    strcpy(s->unit.sub, "running");
    strcpy(s->unit.result, "success");
    s->unit.exec_code = s->unit.exec_status = 0;
    s->unit.active_enter_ms = s->unit.state_change_ms = w->now.wall_ms;
}

void sim_world_init(SimWorld *w, uint64_t seed, int pcs, int services)
{
    *w = (SimWorld){
        .random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1,
        .now = {.mono_us = 1000 * USEC_PER_SEC, .wall_ms = INT64_C(1700000000000)},
        .n_pcs = pcs,
    };
    for (int p = 0; p < pcs; p++) {
        SimPc *pc = &w->pcs[p];
        snprintf(pc->pc_id, sizeof pc->pc_id, "pc-%02d", p);
        pc->n_services = services;
        pc->boot = 1;
        pc->calm_since_us = w->now.mono_us;
        pc->notice_us = w->now.mono_us + 1 + sim_random(w, 1000000);
        for (int i = 0; i < services; i++) {
            SimService *s = &pc->services[i];
            snprintf(s->app_id, sizeof s->app_id, "app-%02d", i);
            s->unit = (UnitFacts){.load = LOAD_LOADED, .kind = KIND_SERVICE, .has_details = true};
            new_run(w, s);
            s->unit.active_enter_ms -= 3600000;
            s->has_port = sim_random(w, 4) != 0;
            s->has_health = s->has_port && sim_random(w, 3) != 0;
            s->calm_since_us = w->now.mono_us;
            s->listening = true;
            s->http_status = 200;
            s->counts = true;
        }
    }
}

int sim_world_apply(SimWorld *w)
{
    static const char *const units[] = {"a.service"};
    RegistryPc pcs[SIM_PCS_MAX];
    CLEANUP_FREE Want *wants = calloc((size_t)w->n_pcs * SIM_SERVICES_MAX, sizeof *wants);
    Registry r = {.pcs = pcs, .n_pcs = (size_t)w->n_pcs};
    size_t n = 0;

    if (!wants)
        return -ENOMEM;
    for (int p = 0; p < w->n_pcs; p++) {
        pcs[p] = (RegistryPc){.pc_id = w->pcs[p].pc_id};
        for (int i = 0; i < w->pcs[p].n_services; i++) {
            const SimService *s = &w->pcs[p].services[i];
            wants[n++] = (Want){.app_id = s->app_id,
                                .pc_id = w->pcs[p].pc_id,
                                .unit = units[0],
                                .port = s->has_port ? 8000 : 0,
                                .health = s->has_health ? "/health" : NULL,
                                .timeout_ms = 2000};
        }
    }
    return fleet_apply(w->fleet, &r, &pcs[0], wants, n, w->now);
}

static void touch(SimPc *pc)
{
    pc->next_us = 0;
}

/* "pc-07": its number is its place. */
static SimPc *find_pc(SimWorld *w, const char *pc_id)
{
    return &w->pcs[strtoul(pc_id + strlen("pc-"), NULL, 10)];
}

SimService *sim_find(SimWorld *w, const Service *s)
{
    return &find_pc(w, s->pc->pc_id)->services[strtoul(s->want.app_id + strlen("app-"), NULL, 10)];
}

void sim_world_added(SimWorld *w, FleetPc *pc, Service *s)
{
    if (s)
        sim_find(w, s)->service = s;
    else
        find_pc(w, pc->pc_id)->pc = pc;
}

void sim_world_removed(SimWorld *w, FleetPc *pc, Service *s)
{
    if (s) {
        SimService *mine = sim_find(w, s);
        mine->service = NULL;
        mine->answer_us = 0;
        mine->counts = false;
        touch(find_pc(w, pc->pc_id));
    }
}

/* ---- what the probes would tell ---- */

static bool is_visible(const SimPc *pc)
{
    return pc->pc && !pc->cut && pc->pc->facts.reachable;
}

/* A signal from the unit; some are lost on purpose: the level check must make up for them. */
static void signal_unit(SimWorld *w, SimPc *pc, SimService *s)
{
    if (s->service && is_visible(pc))
        fleet_unit(w->fleet, s->service, &s->unit, true, w->now);
}

static void tell_ports(SimWorld *w, SimPc *pc)
{
    for (int i = 0; i < pc->n_services; i++) {
        SimService *s = &pc->services[i];
        if (!s->service || !s->has_port || !is_visible(pc))
            continue;
        PortFacts facts = s->service->facts.port;
        facts.looked = true;
        facts.listening = s->listening;
        facts.misses = s->listening ? 0 : facts.misses + 1;
        facts.at_us = w->now.mono_us;
        fleet_port(w->fleet, s->service, &facts, w->now);
    }
}

static void level_check(SimWorld *w, SimPc *pc)
{
    if (!is_visible(pc))
        return;
    for (int i = 0; i < pc->n_services; i++)
        if (pc->services[i].service)
            fleet_unit(w->fleet, pc->services[i].service, &pc->services[i].unit, false, w->now);
    fleet_pc_checked(w->fleet, pc->pc, 500, w->now);
    if (w->is_lean)
        tell_ports(w, pc);
}

static void start_request(SimWorld *w, SimService *s, SimPc *pc)
{
    bool silent = pc->cut || s->hung;

    s->asked_us = w->now.mono_us;
    s->answer_timeout = silent;
    s->answer_us = w->now.mono_us + (silent ? 2 * USEC_PER_SEC : 1000 + sim_random(w, 50000));
    touch(pc);
}

static void end_request(SimWorld *w, SimService *s)
{
    HttpFacts facts = {.started_us = s->asked_us, .at_us = w->now.mono_us, .latency_us = -1};

    s->answer_us = 0;
    if (!s->service)
        return;
    if (s->answer_timeout) {
        facts.outcome = HTTP_TIMEOUT;
    } else if (s->unit.active != ACTIVE_ACTIVE || !s->listening) {
        facts.outcome = HTTP_REFUSED;
    } else {
        facts.status = s->http_status;
        facts.outcome = s->http_status == 200 ? HTTP_OK : HTTP_BAD_STATUS;
        facts.latency_us = (int32_t)(w->now.mono_us - s->asked_us);
    }
    fleet_http(w->fleet, s->service, &facts, w->now);
}

static void tell_boot(SimPc *pc)
{
    char id[BOOT_ID_LEN + 1];

    snprintf(id, sizeof id, "%08x-0000-4000-8000-000000000000", pc->boot);
    pc->reboots_due += pc->boot_told && pc->boot_told != pc->boot;
    pc->boot_told = pc->boot;
    fleet_pc_boot(pc->pc, id);
}

/* While it is cut off, further attempts to connect fail for one reason or another. */
static void tell_reachability(SimWorld *w, SimPc *pc)
{
    static const Cause causes[] = {CAUSE_BUS_SILENT, CAUSE_HOST_REFUSED, CAUSE_HOST_TIMEOUT};
    PcFacts facts = {.known = true, .reachable = !pc->cut};

    if (pc->cut)
        facts.cause = causes[sim_random(w, ELEMENTS(causes))];
    pc->notice_us = pc->cut ? w->now.mono_us + 1 + sim_random(w, 2 * RETRY_US) : 0;
    if (!pc->pc)
        return;
    if (!pc->cut)
        tell_boot(pc);
    fleet_pc_answer(w->fleet, pc->pc, &facts, w->now);
    level_check(w, pc); /* a connection begins with a full resync */
    tell_ports(w, pc);
}

/* ---- what happens ---- */

static void die(SimWorld *w, SimPc *pc, SimService *s, bool told)
{
    if (s->unit.active != ACTIVE_ACTIVE)
        return;
    s->unit.active = ACTIVE_FAILED;
    strcpy(s->unit.sub, "failed");
    strcpy(s->unit.result, "signal");
    s->unit.exec_code = CLD_KILLED;
    s->unit.exec_status = SIGKILL;
    s->unit.inactive_enter_ms = s->unit.state_change_ms = w->now.wall_ms;
    s->listening = false;
    s->listen_us = 0;
    s->calm_since_us = w->now.mono_us;
    if (told && s->service && is_visible(pc) && s->service->facts.unit.active == ACTIVE_ACTIVE &&
        memcmp(s->service->facts.unit.invocation, s->unit.invocation, 16) == 0)
        s->crashes_told++;
    else
        s->counts = false;
    if (told)
        signal_unit(w, pc, s);
}

static void come_up(SimWorld *w, SimPc *pc, SimService *s, bool told)
{
    s->restart_us = 0;
    new_run(w, s);
    s->listen_us = w->now.mono_us + sim_random(w, 300000);
    s->calm_since_us = w->now.mono_us;
    if (told)
        signal_unit(w, pc, s);
    else
        s->counts = false;
}

static void stop(SimWorld *w, SimPc *pc, SimService *s)
{
    if (s->unit.active != ACTIVE_ACTIVE)
        return;
    s->unit.active = ACTIVE_INACTIVE;
    strcpy(s->unit.sub, "dead");
    s->unit.inactive_enter_ms = s->unit.state_change_ms = w->now.wall_ms;
    s->listening = false;
    s->listen_us = s->restart_us = 0;
    s->calm_since_us = w->now.mono_us;
    signal_unit(w, pc, s);
}

void sim_die(SimWorld *w, SimPc *pc, SimService *s)
{
    die(w, pc, s, true);
    touch(pc);
}

void sim_come_up(SimWorld *w, SimPc *pc, SimService *s)
{
    come_up(w, pc, s, true);
    touch(pc);
}

void sim_cut_or_heal(SimWorld *w, SimPc *pc)
{
    pc->cut = !pc->cut;
    pc->calm_since_us = w->now.mono_us;
    if (pc->cut)
        pc->cut_us = w->now.mono_us;
    pc->notice_us = w->now.mono_us + sim_random(w, NOTICE_US);
    for (int i = 0; i < pc->n_services; i++)
        pc->services[i].counts = false;
    touch(pc);
}

void sim_reboot(SimWorld *w, SimPc *pc, uint64_t off_us)
{
    if (pc->up_us)
        return;
    pc->boot++;
    for (int i = 0; i < pc->n_services; i++) {
        SimService *s = &pc->services[i];
        stop(w, pc, s);
        s->counts = false;
        s->listening = false;
        s->listen_us = 0;
        s->unit = (UnitFacts){.load = LOAD_LOADED,
                              .kind = KIND_SERVICE,
                              .has_details = true,
                              .active = ACTIVE_INACTIVE,
                              .sub = "dead",
                              .result = "success"};
        s->restart_us = w->now.mono_us + off_us + 1 + sim_random(w, 15000000);
    }
    if (!pc->cut) {
        sim_cut_or_heal(w, pc);
        pc->up_us = w->now.mono_us + off_us;
    }
    touch(pc);
}

void sim_disturb(SimWorld *w)
{
    SimPc *pc = &w->pcs[sim_random(w, (uint32_t)w->n_pcs)];
    SimService *s = &pc->services[sim_random(w, (uint32_t)pc->n_services)];
    static const int64_t jumps_ms[] = {-1000, 1000, -3600000, 3600000, 31536000000, -31536000000};

    touch(pc);
    switch (sim_random(w, 13)) {
    case 0:
    case 1:
    case 2:
        die(w, pc, s, true);
        s->restart_us = w->now.mono_us + 1 + sim_random(w, 200000);
        break;
    case 3: /* a death nobody heard of */
        die(w, pc, s, false);
        come_up(w, pc, s, false);
        break;
    case 4: die(w, pc, s, true); break; /* for good */
    case 5: stop(w, pc, s); break;
    case 6: come_up(w, pc, s, true); break;
    case 7:
        s->hung = !s->hung;
        s->calm_since_us = w->now.mono_us;
        break;
    case 8:
        s->http_status = s->http_status == 200 ? 503 : 200;
        s->calm_since_us = w->now.mono_us;
        break;
    case 9:
        if (!pc->up_us)
            sim_cut_or_heal(w, pc);
        break;
    case 11: sim_reboot(w, pc, USEC_PER_SEC + sim_random(w, 20000000)); break;
    case 10: w->now.wall_ms += jumps_ms[sim_random(w, ELEMENTS(jumps_ms))]; break;
    default: /* the registry forgets a service, or learns of it again */
        pc->n_services =
            pc->n_services > 1 && sim_random(w, 2) ? pc->n_services - 1 : pc->n_services;
        sim_world_apply(w);
        break;
    }
}

/* ---- time ---- */

static uint64_t soonest(uint64_t a, uint64_t b)
{
    return b && b < a ? b : a;
}

static uint64_t pc_next(SimPc *pc)
{
    if (pc->next_us)
        return pc->next_us;
    uint64_t next = soonest(soonest(UINT64_MAX, pc->notice_us), pc->up_us);
    for (int i = 0; i < SIM_SERVICES_MAX; i++) {
        const SimService *s = &pc->services[i];
        next = soonest(soonest(soonest(next, s->restart_us), s->listen_us), s->answer_us);
    }
    pc->next_us = next;
    return next;
}

static uint64_t next_event(SimWorld *w)
{
    uint64_t next = fleet_next_us(w->fleet);

    for (int p = 0; p < w->n_pcs; p++)
        next = MIN(next, pc_next(&w->pcs[p]));
    return next;
}

static void do_due_of_pc(SimWorld *w, SimPc *pc)
{
    uint64_t now = w->now.mono_us;

    touch(pc);
    if (pc->up_us && pc->up_us <= now) {
        pc->up_us = 0;
        sim_cut_or_heal(w, pc);
    }
    if (pc->notice_us && pc->notice_us <= now)
        tell_reachability(w, pc);
    for (int i = 0; i < SIM_SERVICES_MAX; i++) {
        SimService *s = &pc->services[i];
        if (s->listen_us && s->listen_us <= now) {
            s->listening = true;
            s->listen_us = 0;
        }
        if (s->restart_us && s->restart_us <= now)
            come_up(w, pc, s, true);
        if (s->answer_us && s->answer_us <= now)
            end_request(w, s);
    }
}

static void do_due(SimWorld *w)
{
    uint64_t now = w->now.mono_us;
    Service *look;
    FleetPc *level;

    for (int p = 0; p < w->n_pcs; p++)
        if (pc_next(&w->pcs[p]) <= now)
            do_due_of_pc(w, &w->pcs[p]);
    while ((level = fleet_pc_due(w->fleet, w->now)))
        level_check(w, find_pc(w, level->pc_id));
    /* as probe.c does: a look that is due wants fresh ports */
    for (int p = 0; p < w->n_pcs && !w->is_lean && fleet_next_us(w->fleet) <= now; p++)
        tell_ports(w, &w->pcs[p]);
    while ((look = fleet_due(w->fleet, w->now)))
        start_request(w, sim_find(w, look), find_pc(w, look->pc->pc_id));
}

static void set_time(SimWorld *w, uint64_t us)
{
    w->now.wall_ms += (int64_t)(us / 1000 - w->now.mono_us / 1000);
    w->now.mono_us = us;
}

void sim_sleep(SimWorld *w, uint64_t us)
{
    set_time(w, w->now.mono_us + us);
}

void sim_advance(SimWorld *w, uint64_t us)
{
    while (w->now.mono_us < us) {
        set_time(w, MIN(MAX(next_event(w), w->now.mono_us + 1000), us));
        do_due(w);
    }
}
