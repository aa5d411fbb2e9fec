/* The hands of the fleet.
 *
 * A tick each second looks at the ports and starts the health requests whose time has come, in
 * bursts of at most BURST, so that latencies stay true and hung endpoints (which keep their request
 * open for the whole timeout) hold nobody else up. Everything else is driven by events: the
 * transport says when the PC can be used, the buses bring unit facts, requests end.
 *
 * A bus that went away is tried again after 1, 2, 4, 8 s. A remote bus that falls silent means that
 * the PC is frozen or cut off, so the PC counts as unreachable; the own PC is never unreachable. */
#include "api/probe-private.h"

#include <errno.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define IN_FLIGHT_MAX 512U
#define PORTS_FRESH_US                                                         \
    (40U * 1000U) /* a table this young serves a look that was brought forward \
                   */
#define RECONNECT_MAX_US  (8U * USEC_PER_SEC)
#define DOUBT_US          (2U * USEC_PER_SEC)
#define LINGER_REFRESH_US (60U * USEC_PER_SEC)
#define PORTS_REMOTE_US                                                      \
    (400U * USEC_PER_MSEC) /* the same for a PC where a look costs a process \
                            */

/* ---- PC facts ---- */

void probe_tell_fleet(ProbePc *p)
{
    PcFacts facts = {.known = true, .reachable = true, .linger_off = p->linger_off};
    const ProbeBus *user = &p->buses[SCOPE_USER];

    if (p->transport_cause == CAUSE_NOT_CHECKED_YET)
        return;
    if (p->transport_cause != CAUSE_NONE) {
        facts.reachable = false;
        facts.cause = p->transport_cause;
    } else if (user->cause == CAUSE_NOT_CHECKED_YET) {
        return; /* connected, first word of the bus pending */
    } else if (user->cause == CAUSE_BUS_SILENT && !p->pc->is_self) {
        facts.reachable = false;
        facts.cause = CAUSE_BUS_SILENT;
    }
    if (facts.reachable && p->transport->is_polled)
        facts.cause = CAUSE_FORWARD_REFUSED;
    for (int i = 0; i < SCOPE_MAX; i++)
        facts.scope_cause[i] = p->buses[i].cause;
    fleet_pc_answer(p->probe->fleet, p->pc, &facts, clock_now());
}

static bool has_events(const ProbePc *p)
{
    return p->transport->ops->has_events && !p->transport->is_polled;
}

/* Its clock was read somewhere between question and answer; in the middle is the best guess. */
static void take_clock(ProbePc *p, const char *text, size_t len)
{
    static const char key[] = "\nclock=";
    const char *at = memmem(text, len, key, sizeof key - 1);
    const char *end = text + len;
    Now now = clock_now();
    int64_t theirs = 0;

    if (!at)
        return;
    for (at += sizeof key - 1; at < end && *at >= '0' && *at <= '9' && theirs < INT64_MAX / 100;)
        theirs = theirs * 10 + (*at++ - '0');
    if (at == end || *at != '\n' || theirs == 0 || theirs > INT64_C(1) << 53)
        return;
    int64_t passed_ms = (int64_t)((now.mono_us - p->asked.mono_us) / USEC_PER_MSEC);
    fleet_pc_skew(p->probe->fleet, p->pc, theirs - (now.wall_ms - passed_ms / 2));
}

static void on_about(void *userdata, int error, const char *output, size_t len)
{
    ProbePc *p = userdata;
    char uname[160] = "";
    const char *end = error < 0 || !output ? NULL : memchr(output, '\n', len);

    if (!end || !p->pc)
        return;
    text_clean(uname, sizeof uname, output, (size_t)(end - output));
    size_t rest = len - (size_t)(end - output);
    bool off = memmem(end, rest, "linger=no", strlen("linger=no")) != NULL;
    fleet_pc_about(p->probe->fleet, p->pc, uname, has_events(p));
    take_clock(p, end, rest);
    if (off != p->linger_off) {
        p->linger_off = off;
        probe_tell_fleet(p);
    }
}

static void ask_about(ProbePc *p, Now now)
{
    p->about_us = now.mono_us + LINGER_REFRESH_US;
    p->asked = now;
    p->transport->ops->run(p->transport, COMMAND_UNAME, "", 5000, on_about, p);
}

/* ---- buses ---- */

static void bus_connect(ProbePc *p, UnitScope scope)
{
    ProbeBus *b = &p->buses[scope];
    char address[256];

    b->retry_us = 0;
    int r = p->transport->ops->bus_address(p->transport, scope, address, sizeof address);
    if (r == -ENOENT)
        unit_bus_disconnect(b->bus, CAUSE_NO_BUS);
    else if (r == -ESRCH)
        unit_bus_disconnect(b->bus, CAUSE_NO_USER_MANAGER);
    else if (r >= 0 && unit_bus_connect(b->bus, address) < 0)
        unit_bus_disconnect(b->bus, CAUSE_BUS_ERROR);
}

/* The bus of another PC ends a moment before the connection that carries it, which then says why.
 * So the end is believed when the next attempt, with the next tick, fails as well. */
static bool is_first_end(const ProbePc *p, const ProbeBus *b)
{
    return !p->pc->is_self && b->wanted_up && b->backoff_us == 0 && !unit_bus_get(b->bus);
}

static void on_bus_state(void *userdata, UnitScope scope, Cause cause)
{
    ProbePc *p = userdata;
    ProbeBus *b = &p->buses[scope];
    Now now = clock_now();

    if (cause != CAUSE_NONE && is_first_end(p, b)) {
        b->backoff_us = USEC_PER_SEC;
        b->retry_us = now.mono_us;
        return;
    }
    b->doubt_us = 0;
    if (cause == CAUSE_NO_USER_MANAGER && b->cause == CAUSE_NOT_CHECKED_YET) {
        /* our connection may be what starts the bus; its manager comes onto it a moment later */
        b->doubt_us = now.mono_us + DOUBT_US;
        return;
    }
    b->cause = cause;
    if (cause == CAUSE_NONE) {
        b->backoff_us = 0;
        b->retry_us = 0;
    } else if (b->wanted_up && !unit_bus_get(b->bus)) {
        /* an open bus tells by itself when its manager is back or answers again */
        b->backoff_us = b->backoff_us ? MIN(b->backoff_us * 2, RECONNECT_MAX_US) : USEC_PER_SEC;
        b->retry_us = now.mono_us + b->backoff_us;
    }
    probe_tell_fleet(p);
}

static void on_unit(void *userdata, UnitScope scope, void *watch_userdata, const UnitFacts *facts,
                    bool is_event)
{
    ProbePc *p = userdata;

    (void)scope;
    fleet_unit(p->probe->fleet, watch_userdata, facts, is_event, clock_now());
}

static void on_checked(void *userdata, UnitScope scope, int32_t lag_us)
{
    ProbePc *p = userdata;

    if (scope == SCOPE_USER)
        fleet_pc_checked(p->probe->fleet, p->pc, lag_us, clock_now());
}

/* A cgroup is known by its inode here, by its path where the ports come from ss. */
static const UnitBusOps local_bus_ops = {
    .state = on_bus_state, .unit = on_unit, .checked = on_checked, .cgroup_id = cgroup_id_of};
static const UnitBusOps remote_bus_ops = {
    .state = on_bus_state, .unit = on_unit, .checked = on_checked, .cgroup_id = port_cgroup_hash};

static void bus_begin(ProbePc *p, UnitScope scope)
{
    if (p->transport->is_polled)
        probe_poll_start(p, scope);
    else
        bus_connect(p, scope);
}

static int bus_open(ProbePc *p, UnitScope scope)
{
    ProbeBus *b = &p->buses[scope];

    if (b->bus)
        return 0;
    int r = unit_bus_new(p->probe->event, scope, p->pc->is_self ? &local_bus_ops : &remote_bus_ops,
                         p, &b->bus);
    if (r < 0)
        return r;
    b->cause = CAUSE_NOT_CHECKED_YET;
    b->wanted_up = p->transport_cause == CAUSE_NONE && !p->transport->is_polled;
    if (p->transport_cause == CAUSE_NONE)
        bus_begin(p, scope);
    return 0;
}

/* What was seen before the connection was lost proves nothing about what runs now. */
static void forget_looks(ProbePc *p)
{
    for (size_t i = 0; i < p->pc->n_services; i++) {
        Service *s = p->pc->services[i];
        s->facts.port = (PortFacts){0};
        s->facts.http = (HttpFacts){.latency_us = -1};
    }
    p->ports.at_us = 0;
}

static void on_transport_state(void *userdata, Cause cause)
{
    ProbePc *p = userdata;

    p->transport_cause = cause;
    if (cause == CAUSE_NONE && !p->pc->is_self)
        forget_looks(p);
    for (int i = 0; i < SCOPE_MAX; i++) {
        ProbeBus *b = &p->buses[i];
        b->wanted_up = cause == CAUSE_NONE && !p->transport->is_polled;
        b->retry_us = b->backoff_us = 0;
        if (!b->bus)
            continue;
        if (cause == CAUSE_NONE) {
            bus_begin(p, (UnitScope)i);
        } else {
            unit_bus_disconnect(b->bus, cause);
            b->cause = CAUSE_NOT_CHECKED_YET;
        }
    }
    if (cause == CAUSE_NONE)
        fleet_pc_boot(p->pc, p->transport->boot_id);
    probe_tell_fleet(p);
    if (cause == CAUSE_NONE)
        ask_about(p, clock_now());
}

/* ---- ports ---- */

typedef struct OwnerQuestion {
    Transport *transport;
    const char *unit;
} OwnerQuestion;

/* A service whose own cgroup holds the port, or whose socket unit made it, is no foreigner. */
static bool is_foreign_service(void *userdata, uint64_t cgroup_id, char *name, size_t size)
{
    const OwnerQuestion *q = userdata;
    char holder[UNIT_MAX + 1];

    if (!q->unit || !q->transport->ops->cgroup_service ||
        !q->transport->ops->cgroup_service(q->transport, cgroup_id, holder, sizeof holder))
        return false;
    const char *dot = strrchr(q->unit, '.');
    size_t stem = dot ? (size_t)(dot - q->unit) : strlen(q->unit);
    bool same_stem = strncmp(holder, q->unit, stem) == 0 && strcmp(holder + stem, ".service") == 0;
    text_copy(name, size, holder);
    return !same_stem && strcmp(holder, q->unit) != 0;
}

static void on_ports(void *userdata, int error, const PortTable *table)
{
    ProbePc *p = userdata;
    Now now = clock_now();

    p->ports_pending = false;
    if (error < 0 || !p->pc)
        return;
    for (size_t i = 0; i < p->pc->n_services; i++) {
        Service *s = p->pc->services[i];
        if (!s->want.port)
            continue;
        PortFacts facts = s->facts.port;
        OwnerQuestion q = {.transport = p->transport, .unit = s->want.unit};
        port_facts_update(&facts, table, s->want.port, &s->facts.unit.cgroup_id, 1,
                          is_foreign_service, &q);
        fleet_port(p->probe->fleet, s, &facts, now);
    }
    /* where to dial: the requests need the entries, so keep a copy */
    PortEntry *entries = realloc(p->ports.entries, MAX(table->n, (size_t)1) * sizeof *entries);
    if (!entries)
        return;
    memcpy(entries, table->entries, table->n * sizeof *entries);
    p->ports =
        (PortTable){.entries = entries, .n = table->n, .cap = table->n, .at_us = now.mono_us};
}

static void look_at_ports(ProbePc *p, Now now)
{
    uint64_t fresh_us = p->pc->is_self ? PORTS_FRESH_US : PORTS_REMOTE_US;

    if (p->ports_pending || p->transport_cause != CAUSE_NONE ||
        (p->ports.at_us && p->ports.at_us + fresh_us > now.mono_us))
        return;
    p->ports_pending = true;
    if (p->transport->ops->look_ports(p->transport, now, on_ports, p) < 0)
        p->ports_pending = false;
}

/* ---- PCs come and go ---- */

int probe_new(sd_event *event, Nest *nest, Fleet *fleet, ProbeTransportFactory factory,
              void *factory_userdata, Probe **ret)
{
    CLEANUP_FREE Probe *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    p->event = event;
    p->nest = nest;
    p->fleet = fleet;
    p->factory = factory;
    p->factory_userdata = factory_userdata;
    int r = http_prober_new(nest, probe_on_http, p, &p->http);
    if (r < 0)
        return r;
    http_prober_set_max(p->http, IN_FLIGHT_MAX);
    *ret = TAKE_PTR(p);
    return 0;
}

static ProbePc *probe_pc_free(ProbePc *p)
{
    if (p->transport)
        p->transport = p->transport->ops->free(p->transport);
    for (int i = 0; i < SCOPE_MAX; i++)
        unit_bus_free(p->buses[i].bus);
    port_table_done(&p->ports);
    free(p);
    return NULL;
}

Probe *probe_free(Probe *p)
{
    if (!p)
        return NULL;
    http_prober_free(p->http);
    while (p->pcs) {
        ProbePc *pc = p->pcs;
        p->pcs = pc->next;
        probe_pc_free(pc);
    }
    free(p);
    return NULL;
}

static void add_pc(Probe *p, FleetPc *pc)
{
    static const TransportEvents events = {.state = on_transport_state};
    ProbePc *new = calloc(1, sizeof *new);

    if (!new)
        return;
    new->probe = p;
    new->pc = pc;
    new->transport_cause = CAUSE_NOT_CHECKED_YET;
    new->buses[SCOPE_USER].owner = new->buses[SCOPE_SYSTEM].owner = new;
    if (p->factory(p->factory_userdata, pc, &events, new, &new->transport) < 0 || !new->transport) {
        free(new);
        return;
    }
    new->next = p->pcs;
    p->pcs = new;
    pc->probe = new;
    pc->events = has_events(new);
    bus_open(new, SCOPE_USER);
    new->transport->ops->start(new->transport, clock_now());
}

void probe_added(Probe *p, FleetPc *pc, Service *s)
{
    UnitWatch *watch = NULL;

    if (!s) {
        add_pc(p, pc);
        return;
    }
    ProbePc *way = pc->probe;
    if (way && s->want.port && s->want.health && way->transport->ops->want_port)
        way->transport->ops->want_port(way->transport, s->want.port);
    if (!way || !s->want.unit || bus_open(way, s->want.scope) < 0)
        return;
    if (unit_bus_watch(way->buses[s->want.scope].bus, s->want.unit, s, &watch) >= 0)
        s->watch = watch;
}

static void remove_pc(Probe *p, FleetPc *pc)
{
    for (ProbePc **at = &p->pcs; *at; at = &(*at)->next) {
        if ((*at)->pc == pc) {
            ProbePc *gone = *at;
            *at = gone->next;
            if (gone->transport->ops->abort)
                gone->transport->ops->abort(gone->transport);
            pc->probe = NULL;
            probe_pc_free(gone);
            return;
        }
    }
}

void probe_removed(Probe *p, FleetPc *pc, Service *s)
{
    if (!s) {
        remove_pc(p, pc);
        return;
    }
    ProbePc *way = pc->probe;
    if (way && s->watch)
        s->watch = unit_bus_unwatch(way->buses[s->want.scope].bus, s->watch);
    http_prober_cancel(p->http, s->handle);
    s->in_flight = false;
}

/* ---- the clockwork ---- */

static bool has_ports(const FleetPc *pc)
{
    for (size_t i = 0; i < pc->n_services; i++)
        if (pc->services[i]->want.port)
            return true;
    return false;
}

/* Is there a service whose verdict waits for a look at its port? */
static bool awaits_ports(const FleetPc *pc, Now now)
{
    for (size_t i = 0; i < pc->n_services; i++) {
        const Service *s = pc->services[i];
        if (s->want.port &&
            (!s->facts.port.looked || s->facts.port.full_since_us ||
             s->track.active_since_us > s->facts.port.at_us ||
             (s->track.shown.recheck_at_us && s->track.shown.recheck_at_us <= now.mono_us)))
            return true;
    }
    return false;
}

static void tick_bus(ProbePc *p, UnitScope scope, Now now)
{
    ProbeBus *b = &p->buses[scope];

    if (b->retry_us && b->retry_us <= now.mono_us)
        bus_connect(p, scope);
    if (b->doubt_us && b->doubt_us <= now.mono_us) {
        b->doubt_us = 0;
        b->cause = CAUSE_NO_USER_MANAGER;
        probe_tell_fleet(p);
    }
}

static void tick_pc(ProbePc *p, Now now)
{
    tick_bus(p, SCOPE_USER, now);
    tick_bus(p, SCOPE_SYSTEM, now);
    if (p->transport_cause != CAUSE_NONE)
        return;
    if (!p->pc->is_self)
        unit_bus_ping(p->buses[SCOPE_USER].bus, now);
    if (now.mono_us >= p->about_us)
        ask_about(p, now);
    if (has_ports(p->pc) && (now.mono_us >= p->ports.at_us + p->transport->ops->ports_every_us ||
                             awaits_ports(p->pc, now)))
        look_at_ports(p, now);
}

static void check_level(ProbePc *p, Now now)
{
    for (int i = 0; i < SCOPE_MAX; i++) {
        ProbeBus *b = &p->buses[i];
        if (b->bus && p->transport->is_polled && p->transport_cause == CAUSE_NONE)
            probe_poll_start(p, (UnitScope)i);
        else if (b->bus && unit_bus_is_ready(b->bus))
            unit_bus_check(b->bus, now);
    }
}

/* A recheck between two ticks is about a port or an endpoint that was not there: look afresh. */
static void refresh_ports(Probe *p, Now now)
{
    for (ProbePc *pc = p->pcs; pc; pc = pc->next)
        if (has_ports(pc->pc) && (pc->pc->is_self || awaits_ports(pc->pc, now)))
            look_at_ports(pc, now);
}

void probe_run(Probe *p, Now now)
{
    FleetPc *pc;

    http_prober_tick(p->http, now);
    for (ProbePc *way = p->pcs; way; way = way->next)
        if (way->transport->ops->next_us(way->transport) <= now.mono_us)
            way->transport->ops->tick(way->transport, now);
    if (now.mono_us >= p->tick_us) {
        p->tick_us = fleet_tick_after(p->fleet, now);
        for (ProbePc *way = p->pcs; way; way = way->next)
            tick_pc(way, now);
    } else if (fleet_next_us(p->fleet) <= now.mono_us && p->burst_us == 0) {
        refresh_ports(p, now);
    }
    while ((pc = fleet_pc_due(p->fleet, now)))
        if (pc->probe)
            check_level(pc->probe, now);
    probe_start_requests(p, now);
}

uint64_t probe_next_us(const Probe *p)
{
    uint64_t next = MIN(p->tick_us, http_prober_next_us(p->http));

    next = MIN(next, p->burst_us ? p->burst_us : fleet_next_us(p->fleet));
    for (const ProbePc *pc = p->pcs; pc; pc = pc->next)
        next = MIN(next, pc->transport->ops->next_us(pc->transport));
    return next;
}

void probe_check_now(Probe *p, Service *s, Now now)
{
    ProbePc *way = s->pc->probe;

    if (way) {
        check_level(way, now);
        look_at_ports(way, now);
    }
    fleet_look_now(p->fleet, s, now);
}

int probe_run_command(Probe *p, FleetPc *pc, TransportCommand command, const char *input,
                      uint32_t timeout_ms, TransportReply callback, void *userdata)
{
    ProbePc *way = pc->probe;

    (void)p;
    if (!way || way->transport_cause != CAUSE_NONE)
        return -ENOTCONN;
    return way->transport->ops->run(way->transport, command, input, timeout_ms, callback, userdata);
}

sd_bus *probe_bus(Probe *p, FleetPc *pc, UnitScope scope)
{
    ProbePc *way = pc->probe;

    (void)p;
    if (!way || !way->buses[scope].bus || !unit_bus_is_ready(way->buses[scope].bus))
        return NULL;
    return unit_bus_get(way->buses[scope].bus);
}
