/* The daemon's core.
 *
 * Two heaps say what is due: services (a look at port and health) and PCs (a level check of all
 * units). Regular looks are spread over the interval in batches, one batch a second, because many
 * small wake-ups cost four times as much per look as few larger ones; the first round starts at
 * once so that every state is known early.
 *
 * Whatever changes a row marks its service; publish takes the marked list, so an event costs the
 * same with ten services as with ten thousand.
 *
 * Time is booked on each service's hour under the verdict that held while it passed: judge() books
 * before it looks at new facts. Unknown, unreachable, maintenance and gaps are not observed: they
 * count neither way. */
#include "api/fleet-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define SKEW_NOISE_MS 50  /* how well a clock can be read through a shell */
#define BATCH_MIN     32U /* services whose regular looks start together */
#define QUEUE_LOOK_US \
    (1U * 1000000U) /* a queue that does not fall brings a look forward, at most each second */

const uint32_t fleet_latency_bounds_us[LATENCY_BOUNDS] = {
    1000, 5000, 25000, 100000, 250000, 1000000, 2500000, 10000000,
};

#define IDS_UNTIL_MS INT64_C(8000000000000) /* the year 2223; below FLEET_ID_MAX on their scale */

/* ---- small things ---- */

int fleet_new(const FleetOps *ops, void *userdata, uint32_t interval_ms, int64_t boot_s,
              Fleet **ret)
{
    Fleet *f = calloc(1, sizeof *f);

    if (!f)
        return -ENOMEM;
    f->ops = *ops;
    f->userdata = userdata;
    f->interval_ms = interval_ms;
    f->next_id = boot_s << 20;
    f->n_handles = 1;
    f->version = 1;
    *ret = f;
    return 0;
}

size_t fleet_n_pcs(const Fleet *f)
{
    return f->n_pcs;
}

FleetPc *fleet_pc_at(const Fleet *f, size_t i)
{
    return i < f->n_pcs ? f->pcs[i] : NULL;
}

uint32_t fleet_interval_ms(const Fleet *f)
{
    return f->interval_ms;
}

size_t fleet_n_services(const Fleet *f)
{
    return f->n_services;
}

uint64_t fleet_version(const Fleet *f)
{
    return f->version;
}

static int compare_pc(const void *key, const void *element)
{
    return strcmp(key, (*(FleetPc *const *)element)->pc_id);
}

static int compare_service(const void *key, const void *element)
{
    return strcmp(key, (*(Service *const *)element)->want.app_id);
}

FleetPc *fleet_pc(const Fleet *f, const char *pc_id)
{
    FleetPc **found =
        f->n_pcs ? bsearch(pc_id, f->pcs, f->n_pcs, sizeof *f->pcs, compare_pc) : NULL;

    return found ? *found : NULL;
}

Service *fleet_pc_service(const FleetPc *pc, const char *app_id)
{
    Service **found = pc->n_services ? bsearch(app_id, pc->services, pc->n_services,
                                               sizeof *pc->services, compare_service)
                                     : NULL;
    return found ? *found : NULL;
}

Service *fleet_service(const Fleet *f, const char *app_id, const char *pc_id)
{
    FleetPc *pc = fleet_pc(f, pc_id);

    return pc ? fleet_pc_service(pc, app_id) : NULL;
}

Service *fleet_by_handle(const Fleet *f, uint32_t handle)
{
    return handle > 0 && handle < f->n_handles ? f->by_handle[handle] : NULL;
}

int64_t fleet_next_transition_id(Fleet *f)
{
    return f->next_id++;
}

void fleet_ids_after(Fleet *f, int64_t wall_ms, int64_t last_id)
{
    /* the scale of boot_s, only finer */
    if (wall_ms > 0 && wall_ms < IDS_UNTIL_MS)
        f->next_id = MAX(f->next_id, wall_ms * 1048576 / 1000);
    if (last_id < FLEET_ID_MAX)
        f->next_id = MAX(f->next_id, last_id + 1);
}

/* ---- marks ---- */

void fleet_mark(Fleet *f, Service *s)
{
    f->version++;
    if (s->is_marked)
        return;
    s->is_marked = true;
    s->marked_next = f->marked;
    f->marked = s;
}

void fleet_mark_pc(Fleet *f, FleetPc *pc)
{
    f->version++;
    pc->dirty = true;
    f->pcs_marked = true;
}

Service *fleet_marked(const Fleet *f)
{
    return f->marked;
}

bool fleet_has_marks(const Fleet *f)
{
    return f->marked || f->pcs_marked;
}

void fleet_clear_marks(Fleet *f)
{
    while (f->marked) {
        Service *s = f->marked;
        f->marked = s->marked_next;
        s->is_marked = s->dirty = s->checked = false;
    }
    for (size_t i = 0; f->pcs_marked && i < f->n_pcs; i++)
        f->pcs[i]->dirty = false;
    f->pcs_marked = false;
}

void fleet_unmark(Fleet *f, const Service *s)
{
    for (Service **at = &f->marked; *at; at = &(*at)->marked_next) {
        if (*at == s) {
            *at = s->marked_next;
            return;
        }
    }
}

/* ---- transitions per day ---- */

static void roll_hours(Service *s, int64_t now_ms)
{
    int64_t hour = now_ms / HOUR_MS;

    if (hour <= s->by_hour_last)
        return;
    if (hour - s->by_hour_last >= DAY_HOURS)
        memset(s->by_hour, 0, sizeof s->by_hour);
    else
        for (int64_t h = s->by_hour_last + 1; h <= hour; h++)
            s->by_hour[h % DAY_HOURS] = 0;
    s->by_hour_last = hour;
}

static uint32_t transitions_24h(const Service *s, int64_t now_ms)
{
    int64_t hour = now_ms / HOUR_MS;
    uint32_t sum = 0;

    for (int64_t h = MAX(hour, s->by_hour_last) - DAY_HOURS + 1; h <= s->by_hour_last; h++)
        if (h >= 0)
            sum += s->by_hour[h % DAY_HOURS];
    return sum;
}

static void count_transition(Service *s, int64_t now_ms, uint32_t n)
{
    roll_hours(s, now_ms);
    s->by_hour[s->by_hour_last % DAY_HOURS] += n;
}

/* ---- booking ---- */

void fleet_flush_hour(Fleet *f, Service *s, int64_t hour_ms)
{
    if (s->observed_ms == 0 && s->hour_transitions == 0)
        return;
    f->ops.hour(f->userdata, s, hour_ms, s->healthy_ms, s->observed_ms, s->hour_transitions);
    s->healthy_ms = s->observed_ms = s->hour_transitions = 0;
}

static bool is_observed(const Service *s)
{
    return s->track.shown.actual != ACTUAL_UNKNOWN && s->track.shown.actual != ACTUAL_UNREACHABLE;
}

/* Adds the time since the last booking; what crosses a full hour is handed over first. The length
 * comes from the monotonic clock, the hour from the wall: a jump moves time, it never makes any. */
void fleet_book_service(Fleet *f, Service *s, Now now, bool gap)
{
    uint64_t elapsed_ms = s->booked_us ? (now.mono_us - s->booked_us) / USEC_PER_MSEC : 0;
    bool observed = is_observed(s) && !s->maintenance && !gap;
    bool healthy = observed && s->track.shown.light == LIGHT_OK;
    int64_t hour_ms = now.wall_ms - now.wall_ms % HOUR_MS;
    uint64_t in_this_hour = MIN(elapsed_ms, (uint64_t)(now.wall_ms - hour_ms));
    uint64_t before = MIN(elapsed_ms - in_this_hour, (uint64_t)HOUR_MS);

    if (s->booked_us && elapsed_ms == 0)
        return;
    if (before) {
        s->observed_ms += observed ? (uint32_t)before : 0;
        s->healthy_ms += healthy ? (uint32_t)before : 0;
        fleet_flush_hour(f, s, hour_ms - HOUR_MS);
    }
    s->observed_ms += observed ? (uint32_t)in_this_hour : 0;
    s->healthy_ms += healthy ? (uint32_t)in_this_hour : 0;
    s->booked_us = s->booked_us ? s->booked_us + elapsed_ms * USEC_PER_MSEC : now.mono_us;
}

void fleet_book(Fleet *f, Now now, bool gap)
{
    for (size_t i = 0; i < f->n_pcs; i++) {
        for (size_t j = 0; j < f->pcs[i]->n_services; j++) {
            Service *s = f->pcs[i]->services[j];
            fleet_book_service(f, s, now, gap);
            fleet_flush_hour(f, s, now.wall_ms - now.wall_ms % HOUR_MS);
        }
    }
}

/* ---- judging ---- */

static ServiceLook look_of(const Service *s)
{
    return (ServiceLook){
        .actual = s->track.shown.actual,
        .light = s->track.shown.light,
        .cause = s->track.shown.cause,
        .hints = s->track.shown.hints,
        .load = s->facts.unit.load,
        .active = s->facts.unit.active,
        .http_status = s->facts.http.status,
        .exec_status = s->facts.unit.exec_status,
        .runs = s->track.runs,
        .n_restarts = s->facts.unit.n_restarts,
        .owner_pid = s->facts.port.owner_pid,
        .port_listening = !s->want.port || !s->facts.port.looked ? -1 : s->facts.port.listening,
        .since_ms = s->track.since_ms,
    };
}

static bool look_equal(const ServiceLook *a, const ServiceLook *b)
{
    return a->actual == b->actual && a->light == b->light && a->cause == b->cause &&
           a->hints == b->hints && a->load == b->load && a->active == b->active &&
           a->http_status == b->http_status && a->exec_status == b->exec_status &&
           a->runs == b->runs && a->n_restarts == b->n_restarts && a->owner_pid == b->owner_pid &&
           a->port_listening == b->port_listening && a->since_ms == b->since_ms;
}

static void emit(Fleet *f, Service *s, const Change *c, Now now)
{
    TransitionRow row = {
        .id = fleet_next_transition_id(f),
        .ts = c->ts_ms,
        .from = c->from,
        .to = c->to,
        .cause = c->cause,
    };
    Verdict v = {.actual = c->to, .cause = c->cause};

    text_copy(row.app_id, sizeof row.app_id, s->want.app_id);
    text_copy(row.pc_id, sizeof row.pc_id, s->pc->pc_id);
    reconcile_sentence(&v, &s->want, &s->pc->facts, &s->facts, row.sentence, sizeof row.sentence);
    s->hour_transitions++;
    s->tally.transitions++;
    count_transition(s, now.wall_ms, 1);
    f->ops.transition(f->userdata, s->pc, s, &row, c);
}

static void pull_due(Fleet *f, Service *s, uint64_t at_us)
{
    if (heap_contains(&s->due) && at_us < s->due.due_us)
        heap_set(&f->services_due, &s->due, at_us); /* moving never allocates */
}

static bool wants_request(const Service *s)
{
    if (!s->want.health || s->want.expected == EXPECTED_STOPPED || !s->pc->facts.reachable)
        return false;
    if (s->want.port && s->facts.port.looked && !s->facts.port.listening)
        return false; /* nobody there to ask; the port says it all */
    if (!s->want.unit || s->pc->facts.scope_cause[s->want.scope] != CAUSE_NONE)
        return true;
    return s->facts.unit.active == ACTIVE_ACTIVE || s->facts.unit.active == ACTIVE_RELOADING;
}

/* Returns whether the row changed visibly. */
bool fleet_judge(Fleet *f, Service *s, Now now)
{
    Change changes[CHANGES_MAX];

    fleet_book_service(f, s, now, false);
    size_t n =
        reconcile(&s->track, &s->want, &s->pc->facts, &s->facts, s->pc->skew_ms, now, changes);
    for (size_t i = 0; i < n; i++)
        emit(f, s, &changes[i], now);
    if (s->track.shown.recheck_at_us)
        pull_due(f, s, s->track.shown.recheck_at_us);
    if (s->track.shown.cause == CAUSE_NOT_CHECKED_YET && !s->in_flight && wants_request(s))
        pull_due(f, s, now.mono_us); /* only its health is still missing */
    ServiceLook look = look_of(s);
    if (n == 0 && look_equal(&look, &s->look))
        return false;
    s->look = look;
    s->dirty = true;
    fleet_mark(f, s);
    return true;
}

/* ---- due looks ---- */

/* The first time after `after` that falls on the service's slot. */
static uint64_t slot_after(const Fleet *f, const Service *s, uint64_t after_us)
{
    uint64_t interval = f->interval_ms * USEC_PER_MSEC;
    uint64_t slot = f->epoch_us + (s->slot * USEC_PER_SEC) % interval;

    if (after_us < slot)
        return slot;
    return slot + ((after_us - slot) / interval + 1) * interval;
}

/* Batches of at least BATCH_MIN services share a second; more when the interval has too few. */
void fleet_assign_slots(Fleet *f)
{
    size_t seconds = MAX(f->interval_ms / 1000U, 1U);
    size_t batch = MAX((f->n_services + seconds - 1) / seconds, BATCH_MIN);
    size_t i = 0;

    for (size_t p = 0; p < f->n_pcs; p++)
        for (size_t j = 0; j < f->pcs[p]->n_services; j++)
            f->pcs[p]->services[j]->slot = (uint32_t)(i++ / batch % seconds);
}

static void count_check(Service *s, Now now)
{
    s->last_check_ms = now.wall_ms;
    s->checked = true;
}

/* After a check was judged: clients follow this by the same rule, so they need not be told. */
static void count_health(Service *s)
{
    if (s->track.shown.light == LIGHT_OK)
        s->last_healthy_ms = s->last_check_ms;
}

/* A look without a request: unit and port are known already, the health endpoint has nothing to
 * say. */
static void finish_quietly(Fleet *f, Service *s, Now now)
{
    if (!s->pc->facts.reachable) {
        fleet_judge(f, s, now);
        return;
    }
    if (s->want.health)
        s->facts.http = (HttpFacts){.latency_us = -1, .at_us = now.mono_us};
    fleet_judge(f, s, now);
    if (s->track.shown.actual == ACTUAL_UNKNOWN)
        return;
    count_check(s, now);
    count_health(s);
    fleet_mark(f, s);
    f->ops.check(f->userdata, s, now.wall_ms);
}

static uint64_t interval_us(const Fleet *f)
{
    return f->interval_ms * USEC_PER_MSEC;
}

static void note_late(Fleet *f, uint64_t wanted_us, Now now)
{
    uint64_t windows = (now.mono_us - f->late_window_us) / interval_us(f);

    if (windows) {
        f->late_before_us = windows == 1 ? f->late_us : 0;
        f->late_us = 0;
        f->late_window_us += windows * interval_us(f);
    }
    f->late_us = MAX(f->late_us, now.mono_us - wanted_us);
}

uint64_t fleet_late_us(const Fleet *f, Now now)
{
    uint64_t windows = (now.mono_us - f->late_window_us) / interval_us(f);
    uint64_t next = fleet_next_us(f), started = 0;

    if (windows == 0)
        started = MAX(f->late_us, f->late_before_us);
    else if (windows == 1)
        started = f->late_us;
    return MAX(started, now.mono_us > next ? now.mono_us - next : 0);
}

Service *fleet_due(Fleet *f, Now now)
{
    for (;;) {
        HeapNode *first = heap_first(&f->services_due);
        if (!first || first->due_us > now.mono_us)
            return NULL;
        Service *s = container_of(first, Service, due);
        s->wanted_us = s->unstarted ? s->wanted_us : first->due_us;
        s->unstarted = false;
        note_late(f, s->wanted_us, now);
        heap_set(&f->services_due, &s->due, slot_after(f, s, now.mono_us));
        if (s->in_flight) {
            s->again = true;
        } else if (wants_request(s)) {
            s->in_flight = true;
            f->handed_us = now.mono_us;
            return s;
        } else {
            finish_quietly(f, s, now);
        }
    }
}

FleetPc *fleet_pc_due(Fleet *f, Now now)
{
    HeapNode *first = heap_first(&f->pcs_due);

    if (!first || first->due_us > now.mono_us)
        return NULL;
    FleetPc *pc = container_of(first, FleetPc, due);
    note_late(f, first->due_us, now);
    uint64_t interval = f->interval_ms * USEC_PER_MSEC;
    uint64_t passed = (now.mono_us - f->epoch_us) / interval;
    heap_set(&f->pcs_due, &pc->due, f->epoch_us + (passed + 1) * interval);
    return pc;
}

uint64_t fleet_next_us(const Fleet *f)
{
    HeapNode *a = heap_first(&f->services_due), *b = heap_first(&f->pcs_due);

    return MIN(a ? a->due_us : UINT64_MAX, b ? b->due_us : UINT64_MAX);
}

uint64_t fleet_tick_after(const Fleet *f, Now now)
{
    uint64_t passed = now.mono_us > f->epoch_us ? (now.mono_us - f->epoch_us) / USEC_PER_SEC : 0;

    return f->epoch_us + (passed + 1) * USEC_PER_SEC;
}

void fleet_look_now(Fleet *f, Service *s, Now now)
{
    if (s->in_flight)
        s->again = true;
    else
        pull_due(f, s, now.mono_us);
}

void fleet_put_back(Fleet *f, Service *s, Now now)
{
    s->in_flight = false;
    s->unstarted = now.mono_us == f->handed_us;
    pull_due(f, s, now.mono_us);
}

/* ---- facts ---- */

static Actual pc_state(const PcFacts *facts)
{
    if (!facts->known)
        return ACTUAL_UNKNOWN;
    if (!facts->reachable)
        return ACTUAL_UNREACHABLE;
    return facts->scope_cause[SCOPE_USER] == CAUSE_NONE ? ACTUAL_RUNNING : ACTUAL_UNKNOWN;
}

static Cause pc_cause(const PcFacts *facts)
{
    if (!facts->known)
        return CAUSE_NOT_CHECKED_YET;
    return facts->reachable ? facts->scope_cause[SCOPE_USER] : facts->cause;
}

static bool pc_facts_equal(const PcFacts *a, const PcFacts *b)
{
    return a->known == b->known && a->reachable == b->reachable && a->cause == b->cause &&
           a->scope_cause[SCOPE_USER] == b->scope_cause[SCOPE_USER] &&
           a->scope_cause[SCOPE_SYSTEM] == b->scope_cause[SCOPE_SYSTEM] &&
           a->linger_off == b->linger_off;
}

static void emit_pc(Fleet *f, FleetPc *pc, Actual to, Cause cause, Now now)
{
    TransitionRow row = {
        .id = fleet_next_transition_id(f),
        .ts = now.wall_ms,
        .from = pc->stored,
        .to = to,
        .cause = cause,
    };

    text_copy(row.pc_id, sizeof row.pc_id, pc->pc_id);
    text_copy(row.sentence, sizeof row.sentence, cause_sentence(cause));
    f->ops.transition(f->userdata, pc, NULL, &row, NULL);
}

void fleet_pc_boot(FleetPc *pc, const char *boot_id)
{
    if (!name_is_boot_id(boot_id) || strcmp(pc->boot_id, boot_id) == 0)
        return;
    pc->boot_is_new = true;
    pc->boot_differs |= pc->boot_id[0] != '\0';
    text_copy(pc->boot_id, sizeof pc->boot_id, boot_id);
}

void fleet_pc_recall_boot(FleetPc *pc, const char *boot_id)
{
    if (!name_is_boot_id(boot_id) || pc->boot_id[0])
        return;
    pc->boot_is_new = true;
    text_copy(pc->boot_id, sizeof pc->boot_id, boot_id);
}

static void take_boot(Fleet *f, FleetPc *pc, Now now)
{
    if (!pc->boot_is_new || !pc->facts.reachable)
        return;
    bool again = pc->boot_differs;
    pc->boot_is_new = pc->boot_differs = false;
    if (again)
        pc->rebooted_us = now.mono_us;
    if (f->ops.booted)
        f->ops.booted(f->userdata, pc, again);
}

/* A change of the cause alone is news for the row, but no transition: it still is unreachable. */
void fleet_pc_answer(Fleet *f, FleetPc *pc, const PcFacts *facts, Now now)
{
    bool first = !pc->facts.known;

    if (pc_facts_equal(&pc->facts, facts) && !pc->boot_is_new)
        return;
    pc->facts = *facts;
    take_boot(f, pc, now);
    pc->facts.rebooted_us = pc->rebooted_us;
    Actual state = pc_state(facts);
    bool changed = state != pc->stored;
    bool rebooted = state == ACTUAL_RUNNING && pc->rebooted_us > pc->back_us;
    if (facts->known && changed && (!first || rebooted || state != ACTUAL_RUNNING))
        emit_pc(f, pc, state, rebooted ? CAUSE_REBOOTED : pc_cause(facts), now);
    if (changed || first)
        pc->since_ms = now.wall_ms;
    if (state == ACTUAL_RUNNING && changed && (!first || rebooted))
        pc->back_us = now.mono_us;
    pc->stored = state;
    fleet_mark_pc(f, pc);
    for (size_t i = 0; i < pc->n_services; i++) {
        fleet_judge(f, pc->services[i], now);
        if (state == ACTUAL_RUNNING) /* fresh facts as soon as it is back */
            fleet_look_now(f, pc->services[i], now);
    }
    f->ops.changed(f->userdata);
}

void fleet_pc_about(Fleet *f, FleetPc *pc, const char *uname, bool events)
{
    if (strcmp(pc->uname, uname) == 0 && pc->events == events)
        return;
    text_clean(pc->uname, sizeof pc->uname, uname, strlen(uname));
    pc->events = events;
    fleet_mark_pc(f, pc);
}

void fleet_pc_skew(Fleet *f, FleetPc *pc, int64_t skew_ms)
{
    if (llabs(skew_ms) < SKEW_NOISE_MS)
        skew_ms = 0;
    bool moved = !pc->skew_known || llabs(pc->skew_ms - skew_ms) > 100;

    pc->skew_known = true;
    pc->skew_ms = skew_ms;
    if (moved)
        fleet_mark_pc(f, pc);
}

void fleet_pc_checked(Fleet *f, FleetPc *pc, int32_t lag_us, Now now)
{
    pc->lag_us = lag_us;
    pc->last_check_ms = now.wall_ms;
    fleet_mark_pc(f, pc);
}

/* The first round at once: what needs no request is a check as soon as its facts are there. */
static void check_first(Fleet *f, Service *s, Now now)
{
    if (s->last_check_ms == 0 && !s->in_flight && is_observed(s))
        pull_due(f, s, now.mono_us);
}

void fleet_unit(Fleet *f, Service *s, const UnitFacts *facts, bool is_event, Now now)
{
    s->facts.unit = *facts;
    if (fleet_judge(f, s, now) && is_event)
        f->ops.changed(f->userdata);
    check_first(f, s, now);
}

void fleet_port(Fleet *f, Service *s, const PortFacts *facts, Now now)
{
    PortFacts *old = &s->facts.port;
    bool news = old->looked != facts->looked || old->listening != facts->listening ||
                old->owner != facts->owner || old->owner_pid != facts->owner_pid ||
                facts->full_since_us != 0 || old->full_since_us != 0 ||
                (!facts->listening && old->misses != facts->misses && facts->misses <= 2);
    bool opened = facts->listening && (!old->looked || !old->listening);
    bool stuck = facts->queue && facts->queue >= old->queue && old->queue &&
                 now.mono_us - s->facts.http.at_us > QUEUE_LOOK_US;

    s->facts.port = *facts;
    bool waiting =
        s->track.shown.actual == ACTUAL_STARTING || s->track.shown.actual == ACTUAL_UNKNOWN;
    if ((news || waiting) && fleet_judge(f, s, now))
        f->ops.changed(f->userdata);
    if (s->want.health && (opened || stuck))
        fleet_look_now(f, s, now);
}

static void tally_http(ServiceTally *t, const HttpFacts *facts)
{
    size_t i = 0;

    if (facts->outcome == HTTP_NOT_ASKED || facts->outcome == HTTP_ERROR)
        return; /* says something about us, not about the service */
    if (facts->latency_us < 0) {
        t->no_answer++;
        return;
    }
    while (i < LATENCY_BOUNDS && (uint32_t)facts->latency_us > fleet_latency_bounds_us[i])
        i++;
    t->latency[i]++;
    t->latency_sum_us += (uint32_t)facts->latency_us;
}

void fleet_http(Fleet *f, Service *s, const HttpFacts *facts, Now now)
{
    uint32_t misses = facts->outcome == HTTP_OK ? 0 : s->facts.http.misses + 1;

    s->in_flight = false;
    tally_http(&s->tally, facts);
    s->facts.http = *facts;
    s->facts.http.misses = misses;
    count_check(s, now);
    fleet_mark(f, s);
    bool changed = fleet_judge(f, s, now);
    count_health(s);
    if (changed)
        f->ops.changed(f->userdata);
    f->ops.check(f->userdata, s, now.wall_ms);
    if (s->again) {
        s->again = false;
        pull_due(f, s, now.mono_us);
    }
}

void fleet_recall(Fleet *f, Service *s, Actual last_to, int64_t last_ts_ms, int64_t last_healthy_ms,
                  uint32_t count, Now now)
{
    reconcile_recall(&s->track, last_to, last_ts_ms, last_healthy_ms);
    s->last_healthy_ms = MAX(s->last_healthy_ms, last_healthy_ms);
    count_transition(s, now.wall_ms, count);
    fleet_mark(f, s);
}

/* ---- rows ---- */

void fleet_note(Fleet *f, Service *s, const char *note)
{
    if (s->note == note)
        return;
    s->note = note;
    s->dirty = true;
    fleet_mark(f, s);
}

void fleet_sentence(const Service *s, char *ret, size_t size)
{
    reconcile_sentence(&s->track.shown, &s->want, &s->pc->facts, &s->facts, ret, size);
    size_t len = strlen(ret);
    if (s->note && len && s->track.shown.light != LIGHT_OK)
        snprintf(ret + len, size - len, "; %s", s->note);
}

void fleet_service_row(const Fleet *f, const Service *s, Now now, ServiceRow *ret)
{
    *ret = (ServiceRow){
        .expected = s->want.expected,
        .actual = s->track.shown.actual,
        .light = s->track.shown.light,
        .cause = s->track.shown.cause,
        .hints = s->track.shown.hints,
        .port = s->want.port,
        .port_listening = s->look.port_listening,
        .http_status = s->facts.http.status,
        .latency_us = s->facts.http.at_us ? s->facts.http.latency_us : -1,
        .since_ts = s->track.since_ms,
        .last_check_ts = s->last_check_ms,
        .last_healthy_ts = s->last_healthy_ms,
        .transitions_24h = transitions_24h(s, now.wall_ms),
        .restarts = s->track.runs,
    };
    if (!s->want.port || !s->facts.port.looked)
        ret->port_listening = -1;
    text_copy(ret->app_id, sizeof ret->app_id, s->want.app_id);
    text_copy(ret->pc_id, sizeof ret->pc_id, s->pc->pc_id);
    text_copy(ret->title, sizeof ret->title, s->want.title ? s->want.title : "");
    text_copy(ret->tag, sizeof ret->tag, s->want.tag ? s->want.tag : "");
    text_copy(ret->systemd_state, sizeof ret->systemd_state,
              s->want.unit ? unit_state_word(&s->facts.unit) : "");
    fleet_sentence(s, ret->sentence, sizeof ret->sentence);
    fleet_write_maintenance(f, s->maintenance, &ret->maintenance);
}

void fleet_pc_row(const Fleet *f, const FleetPc *pc, PcRow *ret)
{
    Cause cause = pc_cause(&pc->facts);

    *ret = (PcRow){
        .is_self = pc->is_self,
        .reachable = pc->facts.reachable,
        .cause = cause ? cause : pc->facts.cause, /* it answers, but not as well as it could */
        .lag_us = pc->last_check_ms && pc->facts.reachable ? pc->lag_us : -1,
        .since_ts = pc->since_ms,
        .events = pc->events,
        .skew_ms = pc->skew_ms,
        .skew_known = pc->skew_known,
        .last_check_ts = pc->last_check_ms,
        .services = (uint32_t)pc->n_services,
        .may_sleep = pc->may_sleep,
    };
    text_copy(ret->pc_id, sizeof ret->pc_id, pc->pc_id);
    text_copy(ret->version_uname, sizeof ret->version_uname, pc->uname);
    text_copy(ret->sentence, sizeof ret->sentence, cause_sentence(ret->cause));
    fleet_write_maintenance(f, pc->maintenance, &ret->maintenance);
}
