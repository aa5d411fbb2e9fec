/* From verdicts to incidents.
 *
 * A scan walks the fleet once a second and asks of each PC and service: is it bad, can it be seen,
 * may it open? The answers drive one small state machine (step). Everything that makes alerts fewer
 * and truer is in those answers: an unseen service neither opens nor ends, a PC's services stand
 * behind their PC, and all PCs lost at once are one loss of our own.
 *
 * Incidents live in one list; a service points at its own, so one that is well and has none is
 * passed over without looking. */
#include "api/incident.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define GAP_US (15U * USEC_PER_SEC) /* scans this far apart: we slept, or were stopped */

struct Incidents {
    Fleet *fleet;
    uint64_t alert_after_us, grace_us;
    uint64_t scanned_us; /* mono; 0: not yet */
    IncidentCallback callback;
    void *userdata;
    Incident *first;
    size_t n;
};

static const char *const incident_kind_table[] = {"service", "pc", "all-pcs", "reboot"};
static const char *const incident_state_table[] = {"pending", "open", "closed", "dropped"};

#define DEFINE_TABLE(type, name, max, invalid)                     \
    const char *name##_to_string(type value)                       \
    {                                                              \
        return (unsigned)value < (max) ? name##_table[value] : ""; \
    }                                                              \
    type name##_from_string(const char *s)                         \
    {                                                              \
        for (size_t i = 0; s && i < (max); i++)                    \
            if (strcmp(name##_table[i], s) == 0)                   \
                return (type)i;                                    \
        return invalid;                                            \
    }                                                              \
    _Static_assert(ELEMENTS(name##_table) == (max), #name " has a text for every value")

DEFINE_TABLE(IncidentKind, incident_kind, INCIDENT_KIND_MAX, INCIDENT_KIND_INVALID);
DEFINE_TABLE(IncidentState, incident_state, INCIDENT_STATE_MAX, INCIDENT_STATE_INVALID);

int incidents_new(Fleet *fleet, uint32_t alert_after_s, uint32_t grace_s, IncidentCallback callback,
                  void *userdata, Incidents **ret)
{
    Incidents *x = calloc(1, sizeof *x);

    if (!x)
        return -ENOMEM;
    *x = (Incidents){.fleet = fleet, .callback = callback, .userdata = userdata};
    incidents_configure(x, alert_after_s, grace_s);
    *ret = x;
    return 0;
}

Incidents *incidents_free(Incidents *x)
{
    while (x && x->first) {
        Incident *i = x->first;
        x->first = i->next;
        free(i);
    }
    free(x);
    return NULL;
}

void incidents_configure(Incidents *x, uint32_t alert_after_s, uint32_t grace_s)
{
    x->alert_after_us = alert_after_s * USEC_PER_SEC;
    x->grace_us = grace_s * USEC_PER_SEC;
}

const Incident *incidents_first(const Incidents *x)
{
    return x->first;
}

static void tell(Incidents *x, const Incident *i)
{
    x->callback(x->userdata, i);
}

/* That of a PC, or of all; a service holds its own. */
static Incident *find(const Incidents *x, IncidentKind kind, const char *pc_id)
{
    for (Incident *i = x->first; i; i = i->next)
        if (i->kind == kind && strcmp(i->pc_id, pc_id) == 0)
            return i;
    return NULL;
}

static void forget(Incidents *x, Incident *gone)
{
    Service *v =
        gone->kind == INCIDENT_SERVICE ? fleet_service(x->fleet, gone->app_id, gone->pc_id) : NULL;

    if (v)
        v->incident = NULL;
    Incident **at = &x->first;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    x->n--;
    free(gone);
}

static Incident *add(Incidents *x, const Incident *from)
{
    Incident *i = x->n < INCIDENTS_MAX ? malloc(sizeof *i) : NULL;

    if (!i)
        return NULL;
    *i = *from;
    i->next = x->first;
    x->first = i;
    x->n++;
    return i;
}

int incidents_recall(Incidents *x, const Incident *stored)
{
    if (stored->state != INCIDENT_OPEN && stored->state != INCIDENT_PENDING)
        return 0;
    return add(x, stored) ? 0 : -ENOMEM;
}

int incidents_ack(Incidents *x, int64_t id, const char *by, const char *comment, Now now,
                  const Incident **ret)
{
    Incident *i = x->first;

    while (i && i->id != id)
        i = i->next;
    if (!i)
        return -ENOENT;
    i->acked_ms = now.wall_ms;
    text_clean(i->acked_by, sizeof i->acked_by, by, strlen(by));
    text_clean(i->ack_comment, sizeof i->ack_comment, comment, strlen(comment));
    tell(x, i);
    *ret = i;
    return 0;
}

/* ---- silences ---- */

/* Another PC that should be awake: its loss is one of "all". */
static bool is_missed(const FleetPc *pc)
{
    return !pc->is_self && !pc->may_sleep && !pc->maintenance;
}

/* The loss of all others is silenced when each of them is. */
static int64_t silence_of_all(const Incidents *x)
{
    int64_t id = 0;

    for (size_t p = 0; p < fleet_n_pcs(x->fleet); p++) {
        const FleetPc *pc = fleet_pc_at(x->fleet, p);
        if (!is_missed(pc))
            continue;
        if (!pc->silence)
            return 0;
        id = pc->silence;
    }
    return id;
}

/* v: the service that it is of, NULL: of none. */
static int64_t silence_of(const Incidents *x, const Incident *i, const Service *v)
{
    if (v)
        return v->silence;
    if (i->kind == INCIDENT_ALL_PCS)
        return silence_of_all(x);
    const FleetPc *pc = i->kind == INCIDENT_PC ? fleet_pc(x->fleet, i->pc_id) : NULL;
    return pc ? pc->silence : 0;
}

static void scan_silence(Incidents *x, Incident *i, const Service *v)
{
    int64_t silence = silence_of(x, i, v);

    if (silence == i->silence)
        return;
    i->silence = silence;
    tell(x, i);
}

/* ---- one subject, one step ---- */

typedef struct Subject {
    IncidentKind kind;
    const char *app_id, *pc_id;
    bool bad;
    bool seen;     /* it can be judged now; otherwise nothing moves */
    bool may_open; /* neither within a grace nor standing behind another incident */
    bool maintained;
    Cause cause;
    char sentence[SENTENCE_MAX];
    int64_t since_ms;
    uint64_t since_us; /* mono; 0: now */
} Subject;

static void end(Incidents *x, Incident *i, Now now)
{
    i->state = i->state == INCIDENT_OPEN ? INCIDENT_CLOSED : INCIDENT_DROPPED;
    i->closed_ms = now.wall_ms;
    tell(x, i);
    forget(x, i);
}

static void begin(Incidents *x, const Subject *s, Now now)
{
    Incident fresh = {
        .id = fleet_next_transition_id(x->fleet),
        .kind = s->kind,
        .state = INCIDENT_PENDING,
        .began_ms = s->since_ms ? s->since_ms : now.wall_ms,
        .cause = s->cause,
        .began_us = s->since_us ? s->since_us : now.mono_us,
    };

    text_copy(fresh.app_id, sizeof fresh.app_id, s->app_id);
    text_copy(fresh.pc_id, sizeof fresh.pc_id, s->pc_id);
    text_copy(fresh.sentence, sizeof fresh.sentence, s->sentence);
    Service *v = s->kind == INCIDENT_SERVICE ? fleet_service(x->fleet, s->app_id, s->pc_id) : NULL;
    fresh.silence = silence_of(x, &fresh, v);
    Incident *i = add(x, &fresh);
    if (!i)
        return;
    if (v)
        v->incident = i;
    tell(x, i);
}

static void go_on(Incidents *x, Incident *i, const Subject *s, Now now)
{
    bool news = i->cause != s->cause || strcmp(i->sentence, s->sentence) != 0;

    i->well_since_us = 0;
    i->cause = s->cause;
    text_copy(i->sentence, sizeof i->sentence, s->sentence);
    if (i->state == INCIDENT_PENDING && s->may_open &&
        now.mono_us >= i->began_us + x->alert_after_us) {
        i->state = INCIDENT_OPEN;
        i->opened_ms = now.wall_ms;
        i->held = i->silence || i->acked_ms;
        news = true;
    } else if (i->state == INCIDENT_OPEN && i->held && !i->silence && !i->acked_ms) {
        i->held = false; /* nothing speaks against telling of it any more, and it is still true */
        news = true;
    }
    if (news)
        tell(x, i);
}

static void step(Incidents *x, Incident *i, const Subject *s, Now now)
{
    if (s->maintained && (!i || i->state == INCIDENT_PENDING)) {
        if (i)
            end(x, i, now);
        return;
    }
    if (!s->seen)
        return;
    if (s->bad && i)
        go_on(x, i, s, now);
    else if (s->bad)
        begin(x, s, now);
    else if (i && i->well_since_us == 0)
        i->well_since_us = now.mono_us;
    if (!s->bad && i && now.mono_us >= i->well_since_us + INCIDENT_WELL_US)
        end(x, i, now);
    /* an open PC incident that the loss of all absorbs stays: somebody was told of it already */
    else if (s->bad && i && i->state == INCIDENT_PENDING && s->kind == INCIDENT_PC && !s->may_open)
        i->began_us = now.mono_us;
}

/* ---- the fleet's subjects ---- */

static bool is_lost(const FleetPc *pc)
{
    return pc->facts.known && !pc->facts.reachable;
}

/* Every other PC that should be awake is unreachable, and there is more than one. */
static bool all_lost(const Incidents *x)
{
    size_t others = 0;

    for (size_t p = 0; p < fleet_n_pcs(x->fleet); p++) {
        const FleetPc *pc = fleet_pc_at(x->fleet, p);
        if (!is_missed(pc))
            continue;
        if (!is_lost(pc))
            return false;
        others++;
    }
    return others > 1;
}

static void scan_all(Incidents *x, bool lost, Now now)
{
    Subject s = {.kind = INCIDENT_ALL_PCS,
                 .app_id = "",
                 .pc_id = "",
                 .bad = lost,
                 .seen = true,
                 .may_open = true,
                 .cause = CAUSE_HOST_UNROUTABLE};

    text_copy(s.sentence, sizeof s.sentence,
              "no other PC can be reached: this one seems to be cut off");
    step(x, find(x, INCIDENT_ALL_PCS, ""), &s, now);
}

static bool is_within(uint64_t since_us, uint64_t span_us, Now now)
{
    return since_us && now.mono_us < since_us + span_us;
}

static void scan_pc(Incidents *x, const FleetPc *pc, bool absorbed, Now now)
{
    PcRow row;
    Incident *i = find(x, INCIDENT_PC, pc->pc_id);

    fleet_pc_row(x->fleet, pc, &row);
    bool lost = is_lost(pc);
    if (!lost && !i && is_within(pc->rebooted_us, x->grace_us, now))
        return;
    Subject s = {
        .kind = INCIDENT_PC,
        .app_id = "",
        .pc_id = pc->pc_id,
        .bad = pc->facts.known && pc->stored != ACTUAL_RUNNING && !(lost && pc->may_sleep),
        .seen = pc->facts.known,
        .may_open = !(lost && absorbed),
        .maintained = pc->maintenance != 0,
        .cause = row.cause,
        .since_ms = pc->since_ms,
    };
    if (pc->facts.reachable)
        snprintf(s.sentence, sizeof s.sentence, "%.180s: none of its %zu user services can be seen",
                 row.sentence, pc->n_services);
    else
        text_copy(s.sentence, sizeof s.sentence, row.sentence);
    step(x, i, &s, now);
}

/* Of one that is down or has an incident. */
static void scan_service(Incidents *x, const Service *v, Incident *i, Now now)
{
    const Verdict *shown = &v->track.shown;
    bool seen = shown->actual != ACTUAL_UNKNOWN && shown->actual != ACTUAL_UNREACHABLE;
    Subject s = {
        .kind = INCIDENT_SERVICE,
        .app_id = v->want.app_id,
        .pc_id = v->pc->pc_id,
        .bad = shown->light == LIGHT_DOWN, /* never that of one that shall be stopped */
        .seen = seen,
        .may_open = !is_within(v->pc->back_us, x->grace_us, now),
        .maintained = v->maintenance != 0,
        .cause = shown->cause,
        .since_ms = v->track.since_ms,
    };

    if (!i && is_within(v->pc->rebooted_us, x->grace_us, now))
        return;
    if (is_within(v->pc->rebooted_us, x->grace_us, (Now){.mono_us = v->track.shown_since_us}))
        s.since_us = MAX(v->track.shown_since_us, v->pc->rebooted_us);
    if (s.bad)
        fleet_sentence(v, s.sentence, sizeof s.sentence);
    step(x, i, &s, now);
}

/* Ends the incidents of what the registry no longer names; ties the others to their services and
 * to what silences them. */
static void scan_ties(Incidents *x, Now now)
{
    for (Incident *i = x->first, *next; i; i = next) {
        next = i->next;
        Service *v =
            i->kind == INCIDENT_SERVICE ? fleet_service(x->fleet, i->app_id, i->pc_id) : NULL;
        bool gone = (i->kind == INCIDENT_SERVICE && !v) ||
                    (i->kind == INCIDENT_PC && !fleet_pc(x->fleet, i->pc_id));
        if (v)
            v->incident = i;
        if (gone)
            end(x, i, now);
        else
            scan_silence(x, i, v);
    }
}

/* Nobody was looked at meanwhile, so that time speaks for and against nobody. */
static void leave_out_gap(Incidents *x, Now now)
{
    uint64_t passed = x->scanned_us ? now.mono_us - x->scanned_us : 0;

    x->scanned_us = now.mono_us;
    for (Incident *i = passed > GAP_US ? x->first : NULL; i; i = i->next) {
        i->began_us += passed;
        i->well_since_us += i->well_since_us ? passed : 0;
    }
}

void incidents_scan(Incidents *x, Now now)
{
    bool lost = all_lost(x);

    leave_out_gap(x, now);
    scan_ties(x, now);
    scan_all(x, lost, now);
    for (size_t p = 0; p < fleet_n_pcs(x->fleet); p++) {
        const FleetPc *pc = fleet_pc_at(x->fleet, p);
        scan_pc(x, pc, lost, now);
        for (size_t k = 0; k < pc->n_services; k++) {
            const Service *v = pc->services[k];
            if (v->track.shown.light == LIGHT_DOWN || v->incident)
                scan_service(x, v, v->incident, now);
        }
    }
}

/* What was pending on that PC was its going down. */
static void drop_pending(Incidents *x, const char *pc_id, Now now)
{
    for (Incident *i = x->first, *next; i; i = next) {
        next = i->next;
        if (i->state == INCIDENT_PENDING && strcmp(i->pc_id, pc_id) == 0)
            end(x, i, now);
    }
}

void incidents_rebooted(Incidents *x, FleetPc *pc, Now now)
{
    bool again = is_within(pc->reboot_told_us, x->grace_us, now);

    drop_pending(x, pc->pc_id, now);
    if (again || pc->maintenance)
        return;
    pc->reboot_told_us = now.mono_us;
    Incident i = {
        .id = fleet_next_transition_id(x->fleet),
        .kind = INCIDENT_REBOOT,
        .state = INCIDENT_CLOSED,
        .began_ms = now.wall_ms,
        .opened_ms = now.wall_ms,
        .closed_ms = now.wall_ms,
        .cause = CAUSE_REBOOTED,
        .silence = pc->silence,
        .held = pc->silence != 0,
    };

    text_copy(i.pc_id, sizeof i.pc_id, pc->pc_id);
    text_copy(i.sentence, sizeof i.sentence, cause_sentence(CAUSE_REBOOTED));
    tell(x, &i);
}

/* ---- as the API shows it ---- */

static void write_behind(Buffer *b, const char *app_id, const char *pc_id)
{
    json_open_array(b, NULL);
    json_string(b, NULL, app_id);
    json_string(b, NULL, pc_id);
    json_close_array(b);
}

static void write_all_behind(Buffer *b, const Incidents *x, const Incident *i)
{
    const FleetPc *pc = i->kind == INCIDENT_PC ? fleet_pc(x->fleet, i->pc_id) : NULL;

    for (size_t k = 0; pc && k < pc->n_services; k++)
        if (pc->services[k]->want.expected == EXPECTED_RUNNING)
            write_behind(b, pc->services[k]->want.app_id, pc->pc_id);
    for (size_t p = 0; i->kind == INCIDENT_ALL_PCS && p < fleet_n_pcs(x->fleet); p++)
        if (!fleet_pc_at(x->fleet, p)->is_self)
            write_behind(b, NULL, fleet_pc_at(x->fleet, p)->pc_id);
}

static void write_acked(Buffer *b, const Incident *i)
{
    if (!i->acked_ms) {
        json_null(b, "acked");
        return;
    }
    json_open_object(b, "acked");
    json_time(b, "ts", i->acked_ms);
    json_string(b, "by", i->acked_by);
    json_string(b, "comment", i->ack_comment);
    json_close_object(b);
}

static void write_silenced(Buffer *b, const Silence *s)
{
    if (!s) {
        json_null(b, "silenced");
        return;
    }
    json_open_object(b, "silenced");
    json_int(b, "id", s->id);
    json_time(b, "until_ts", s->until_ms);
    json_string(b, "comment", s->comment);
    json_close_object(b);
}

void incident_write(Buffer *b, const Incidents *x, const Incident *i)
{
    json_open_object(b, NULL);
    json_int(b, "id", i->id);
    json_string(b, "kind", incident_kind_to_string(i->kind));
    json_string(b, "state", incident_state_to_string(i->state));
    json_string(b, "app_id", i->app_id[0] ? i->app_id : NULL);
    json_string(b, "pc_id", i->pc_id[0] ? i->pc_id : NULL);
    json_time(b, "began_ts", i->began_ms);
    json_time(b, "opened_ts", i->opened_ms);
    json_time(b, "closed_ts", i->closed_ms);
    json_string(b, "cause", i->cause ? cause_to_string(i->cause) : NULL);
    json_string(b, "sentence", i->sentence);
    json_open_array(b, "behind");
    write_all_behind(b, x, i);
    json_close_array(b);
    write_acked(b, i);
    write_silenced(b, fleet_silence(x->fleet, i->silence));
    json_close_object(b);
}
