/* Expected against actual.
 *
 * reconcile() works in three steps, each of its own kind:
 *   1. judge_*(): facts -> Verdict. A plain decision table: the PC first, then the unit, then its
 * port, then its health; the first that is not well names the cause.
 *   2. follow_runs(): systemd gives every run of a unit its own InvocationID. A new one that nobody
 * saw begin means that the run before it ended unseen, which history must say although the light
 * never changed.
 *   3. settle(): which of the verdicts become transitions. Short starting and stopping are shown,
 * not stored, so a crash that systemd heals within milliseconds is exactly two transitions.
 *
 * Facts are only believed about the run they saw: a health answer that was asked before this run
 * began, or a look at the ports older than it, says nothing about it. That is why crash and
 * recovery cannot be glossed over by a stale 200.
 */
#include "api/reconcile.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

typedef struct Case {
    const Want *want;
    const PcFacts *pc;
    const Facts *facts;
    const Track *track;
    Now now;
    int64_t skew_ms;
} Case;

static Verdict verdict(Actual actual, Cause cause)
{
    return (Verdict){.actual = actual, .cause = cause};
}

static Verdict look_again(Verdict v, uint64_t at_us)
{
    if (v.recheck_at_us == 0 || at_us < v.recheck_at_us)
        v.recheck_at_us = at_us;
    return v;
}

static bool is_healthy(Actual a)
{
    return a == ACTUAL_RUNNING || a == ACTUAL_FINISHED;
}

static bool is_set(const uint8_t invocation[16])
{
    static const uint8_t none[16];

    return memcmp(invocation, none, 16) != 0;
}

static Cause cause_of_result(const char *result)
{
    static const struct {
        const char *result;
        Cause cause;
    } table[] = {
        {"exit-code", CAUSE_EXIT_CODE}, {"signal", CAUSE_SIGNAL},
        {"core-dump", CAUSE_CORE_DUMP}, {"timeout", CAUSE_TIMEOUT},
        {"watchdog", CAUSE_WATCHDOG},   {"oom-kill", CAUSE_OOM_KILL},
        {"resources", CAUSE_RESOURCES}, {"start-limit-hit", CAUSE_START_LIMIT},
        {"protocol", CAUSE_PROTOCOL},
    };

    for (size_t i = 0; i < ELEMENTS(table); i++)
        if (strcmp(table[i].result, result) == 0)
            return table[i].cause;
    return CAUSE_UNIT_FAILED;
}

static bool unit_has_failed(const UnitFacts *u)
{
    if (u->active == ACTIVE_FAILED)
        return true;
    if (u->active == ACTIVE_ACTIVATING)
        return strncmp(u->sub, "auto-restart", strlen("auto-restart")) == 0;
    /* a dead main process whose ExecStopPost= is still at work */
    return u->active == ACTIVE_DEACTIVATING && u->exec_code != 0 &&
           cause_of_result(u->result) != CAUSE_UNIT_FAILED;
}

static bool in_grace(const Case *c)
{
    return c->now.mono_us < c->track->active_since_us + STARTING_GRACE_US;
}

/* Not there yet, and the run is young: look again soon, at first quickly (a recovery should show at
 * once). */
static Verdict starting(const Case *c)
{
    bool very_young = c->now.mono_us < c->track->active_since_us + USEC_PER_SEC;

    return look_again(verdict(ACTUAL_STARTING, CAUSE_STARTING),
                      c->now.mono_us + (very_young ? 50 : 500) * USEC_PER_MSEC);
}

/* A bad sign that a second look should confirm before a healthy service is called degraded. */
static Verdict confirm(const Case *c, Actual actual, Cause cause, uint32_t misses)
{
    if (misses < 2 && is_healthy(c->track->shown.actual)) {
        Verdict same = verdict(c->track->shown.actual, c->track->shown.cause);
        return look_again(same, c->now.mono_us + CONFIRM_WITHIN_US);
    }
    return verdict(actual, cause);
}

static Verdict judge_health(const Case *c)
{
    static const Cause causes[HTTP_OUTCOME_MAX] = {
        [HTTP_BAD_STATUS] = CAUSE_HTTP_STATUS,   [HTTP_REFUSED] = CAUSE_HTTP_REFUSED,
        [HTTP_RESET] = CAUSE_HTTP_RESET,         [HTTP_EOF] = CAUSE_HTTP_EOF,
        [HTTP_TIMEOUT] = CAUSE_HTTP_TIMEOUT,     [HTTP_TLS] = CAUSE_HTTP_TLS,
        [HTTP_BAD_REPLY] = CAUSE_HTTP_BAD_REPLY, [HTTP_UNRESOLVED] = CAUSE_HTTP_UNRESOLVED,
        [HTTP_ERROR] = CAUSE_HTTP_ERROR,
    };
    const HttpFacts *http = &c->facts->http;
    bool has_unit = c->want->unit != NULL;

    if (http->outcome == HTTP_NOT_ASKED ||
        (has_unit && http->started_us < c->track->active_since_us))
        return has_unit && in_grace(c) ? starting(c)
                                       : verdict(ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    if (http->outcome == HTTP_OK)
        return verdict(ACTUAL_RUNNING, CAUSE_NONE);
    if (has_unit && in_grace(c))
        return starting(c);
    if (http->outcome == HTTP_TIMEOUT) /* it had its whole time: its own confirmation */
        return verdict(ACTUAL_DEGRADED, CAUSE_HTTP_TIMEOUT);
    bool gone = http->outcome == HTTP_REFUSED && !has_unit;
    return confirm(c, gone ? ACTUAL_INACTIVE : ACTUAL_DEGRADED, causes[http->outcome],
                   http->misses);
}

static Verdict judge_port(const Case *c)
{
    const PortFacts *port = &c->facts->port;
    bool has_unit = c->want->unit != NULL;

    if (c->want->port == 0)
        return c->want->health ? judge_health(c) : verdict(ACTUAL_RUNNING, CAUSE_NONE);
    if (!port->looked || (has_unit && port->at_us < c->track->active_since_us))
        return has_unit && in_grace(c) ? starting(c)
                                       : verdict(ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    if (!port->listening) {
        if (!has_unit)
            return confirm(c, ACTUAL_INACTIVE, CAUSE_PORT_CLOSED, port->misses);
        return in_grace(c) ? starting(c)
                           : confirm(c, ACTUAL_DEGRADED, CAUSE_PORT_CLOSED, port->misses);
    }
    if (port->owner == OWNER_FOREIGN)
        return verdict(ACTUAL_DEGRADED, CAUSE_PORT_FOREIGN);
    if (port->full_since_us && c->now.mono_us - port->full_since_us >= 2 * USEC_PER_SEC)
        return verdict(ACTUAL_DEGRADED, CAUSE_PORT_NOT_ACCEPTING);
    return c->want->health ? judge_health(c) : verdict(ACTUAL_RUNNING, CAUSE_NONE);
}

/* No unit: known by its port or its health endpoint alone. */
static Verdict judge_without_unit(const Case *c)
{
    if (c->want->expected == EXPECTED_RUNNING)
        return judge_port(c);
    if (!c->facts->port.looked)
        return verdict(ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    return c->facts->port.listening ? verdict(ACTUAL_RUNNING, CAUSE_NONE)
                                    : verdict(ACTUAL_INACTIVE, CAUSE_STOPPED);
}

/* The last that was seen of it is a failure, also when it could not be seen in between. */
static bool failed_last(const Track *t)
{
    if (t->shown.actual == ACTUAL_UNKNOWN || t->shown.actual == ACTUAL_UNREACHABLE)
        return t->stored == ACTUAL_FAILED;
    return t->shown.actual == ACTUAL_FAILED;
}

static Verdict judge_inactive(const Case *c)
{
    const UnitFacts *u = &c->facts->unit;

    if (u->load == LOAD_MASKED)
        return verdict(ACTUAL_INACTIVE, CAUSE_MASKED);
    if (u->load == LOAD_BAD_SETTING || u->load == LOAD_ERROR)
        return verdict(ACTUAL_INACTIVE, CAUSE_BAD_SETTING);
    bool has_run = u->inactive_enter_ms != 0 || u->exec_exit_ms != 0;
    if (u->oneshot && !u->remain_after_exit) {
        if (has_run && strcmp(u->result, "success") == 0)
            return verdict(ACTUAL_FINISHED, CAUSE_NONE);
        /* systemd forgets a unit that nothing refers to, and with it that it ever ran */
        if (!has_run && (c->track->stored == ACTUAL_FINISHED || c->track->is_guess))
            return verdict(ACTUAL_FINISHED, CAUSE_NONE);
    }
    /* between a crash and systemd's restart the unit is inactive for a moment */
    if (failed_last(c->track) && memcmp(u->invocation, c->track->invocation, 16) == 0 &&
        (c->track->hold_since_us == 0 || c->now.mono_us < c->track->hold_since_us + SETTLE_US)) {
        uint64_t since = c->track->hold_since_us ? c->track->hold_since_us : c->now.mono_us;
        Cause cause = c->track->shown.actual == ACTUAL_FAILED ? c->track->shown.cause
                                                              : cause_of_result(u->result);
        return look_again(verdict(ACTUAL_FAILED, cause), since + SETTLE_US);
    }
    return verdict(ACTUAL_INACTIVE, CAUSE_STOPPED);
}

static Verdict judge_active(const Case *c)
{
    const UnitFacts *u = &c->facts->unit;

    if (c->want->expected == EXPECTED_STOPPED)
        return verdict(ACTUAL_RUNNING, CAUSE_NONE);
    if (u->kind == KIND_TIMER && u->triggered_failed)
        return verdict(ACTUAL_DEGRADED, CAUSE_TIMER_SERVICE_FAILED);
    return judge_port(c);
}

static Verdict judge_unit(const Case *c)
{
    const UnitFacts *u = &c->facts->unit;

    if (u->load == LOAD_NOT_FOUND && u->active != ACTIVE_ACTIVE && u->active != ACTIVE_DEACTIVATING)
        return verdict(ACTUAL_MISSING, CAUSE_NOT_FOUND);
    if (u->load == LOAD_UNKNOWN || u->active == ACTIVE_UNKNOWN)
        return verdict(ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    if (unit_has_failed(u))
        return verdict(ACTUAL_FAILED, cause_of_result(u->result));

    switch (u->active) {
    case ACTIVE_ACTIVE: return judge_active(c);
    case ACTIVE_ACTIVATING:
    case ACTIVE_RELOADING: return verdict(ACTUAL_STARTING, CAUSE_STARTING);
    case ACTIVE_DEACTIVATING:
    case ACTIVE_MAINTENANCE: return verdict(ACTUAL_STOPPING, CAUSE_STOPPING);
    default: return judge_inactive(c);
    }
}

static Verdict judge_actual(const Case *c)
{
    if (!c->pc->known)
        return verdict(ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    if (!c->pc->reachable)
        return verdict(ACTUAL_UNREACHABLE, c->pc->cause);
    if (!c->want->unit)
        return judge_without_unit(c);
    if (c->pc->scope_cause[c->want->scope] != CAUSE_NONE)
        return verdict(ACTUAL_UNKNOWN, c->pc->scope_cause[c->want->scope]);
    return judge_unit(c);
}

static Light light_of(Expected expected, Actual actual)
{
    static const Light lights[EXPECTED_MAX][ACTUAL_MAX] = {
        [EXPECTED_RUNNING] =
            {
                [ACTUAL_UNKNOWN] = LIGHT_UNKNOWN,
                [ACTUAL_UNREACHABLE] = LIGHT_UNKNOWN,
                [ACTUAL_RUNNING] = LIGHT_OK,
                [ACTUAL_FINISHED] = LIGHT_OK,
                [ACTUAL_DEGRADED] = LIGHT_WARN,
                [ACTUAL_STARTING] = LIGHT_WARN,
                [ACTUAL_STOPPING] = LIGHT_WARN,
                [ACTUAL_INACTIVE] = LIGHT_DOWN,
                [ACTUAL_FAILED] = LIGHT_DOWN,
                [ACTUAL_MISSING] = LIGHT_DOWN,
            },
        [EXPECTED_STOPPED] =
            {
                [ACTUAL_UNKNOWN] = LIGHT_UNKNOWN,
                [ACTUAL_UNREACHABLE] = LIGHT_UNKNOWN,
                [ACTUAL_RUNNING] = LIGHT_WARN,
                [ACTUAL_FINISHED] = LIGHT_OK,
                [ACTUAL_DEGRADED] = LIGHT_WARN,
                [ACTUAL_STARTING] = LIGHT_WARN,
                [ACTUAL_STOPPING] = LIGHT_OK,
                [ACTUAL_INACTIVE] = LIGHT_OK,
                [ACTUAL_FAILED] = LIGHT_OK,
                [ACTUAL_MISSING] = LIGHT_OK,
            },
    };

    return lights[expected][actual];
}

static uint32_t hints_of(const Case *c)
{
    static const char *const survives[] = {"enabled", "static",    "indirect",
                                           "alias",   "generated", "enabled-runtime"};
    const UnitFacts *u = &c->facts->unit;
    uint32_t hints = 0;

    if (!c->want->unit || !c->pc->reachable || c->want->expected != EXPECTED_RUNNING)
        return 0;
    bool enabled = u->load != LOAD_LOADED || u->file_state[0] == '\0';
    for (size_t i = 0; i < ELEMENTS(survives); i++)
        enabled = enabled || strcmp(u->file_state, survives[i]) == 0;
    if (!enabled)
        hints |= HINT_NOT_ENABLED;
    if (c->want->scope == SCOPE_USER && c->pc->linger_off)
        hints |= HINT_LINGER_OFF;
    return hints;
}

/* A oneshot at work is doing what it should, however long it takes. */
static bool is_oneshot_at_work(const Case *c)
{
    return c->facts->unit.oneshot && c->facts->unit.active == ACTIVE_ACTIVATING;
}

static Verdict judge(const Case *c)
{
    Verdict v = judge_actual(c);
    uint64_t since = v.actual == c->track->shown.actual ? c->track->shown_since_us : c->now.mono_us;

    v.light = light_of(c->want->expected, v.actual);
    if (v.actual == ACTUAL_STARTING && c->want->expected == EXPECTED_RUNNING) {
        if (is_oneshot_at_work(c)) {
            v.light = LIGHT_OK;
        } else if (c->now.mono_us >= since + STARTING_TOO_LONG_US) {
            v.light = LIGHT_DOWN;
            v.cause = CAUSE_STARTING_TOO_LONG;
        } else {
            v = look_again(v, since + STARTING_TOO_LONG_US);
        }
    }
    if ((v.actual == ACTUAL_STARTING || v.actual == ACTUAL_STOPPING) &&
        c->now.mono_us < since + SETTLE_US)
        v = look_again(v, since + SETTLE_US);
    if (v.light == LIGHT_WARN && c->want->expected == EXPECTED_STOPPED)
        v.cause = CAUSE_RUNNING;
    if (v.light == LIGHT_OK && v.actual != ACTUAL_RUNNING && c->want->expected == EXPECTED_STOPPED)
        v.cause = CAUSE_NONE;
    v.hints = hints_of(c);
    return v;
}

/* ---- changes ---- */

typedef struct Changes {
    Change *rows;
    size_t n;
} Changes;

/* systemd's timestamp on our clock; `otherwise` when it has none or it cannot be true. */
static int64_t corrected(const Case *c, int64_t theirs_ms, int64_t otherwise)
{
    if (theirs_ms <= 0)
        return otherwise;
    int64_t ours = theirs_ms - c->skew_ms;
    return ours > c->now.wall_ms || ours < c->track->stored_ms ? otherwise : ours;
}

static void add_change(Track *t, const Case *c, Changes *out, Actual to, Cause cause, int64_t ts_ms)
{
    const UnitFacts *u = &c->facts->unit;

    /* a missed end and a crash pair are the most there can be: three of CHANGES_MAX */
    Change *row = &out->rows[out->n++];
    *row = (Change){
        .from = t->stored,
        .to = to,
        .ts_ms = MAX(ts_ms, t->stored_ms),
        .cause = cause,
        .exec_code = u->exec_code,
        .exec_status = u->exec_status,
        .n_restarts = u->n_restarts,
        .wants_journal = c->want->unit && to == ACTUAL_FAILED,
    };
    memcpy(row->invocation, u->invocation, 16);
    text_copy(row->result, sizeof row->result, u->result);
    t->stored = to;
    t->stored_ms = row->ts_ms;
    t->is_guess = false;
}

/* When did the state that the verdict names begin? */
static int64_t begin_of(const Case *c, const Verdict *v)
{
    const UnitFacts *u = &c->facts->unit;
    int64_t now = c->now.wall_ms;

    if (!c->want->unit)
        return now;
    switch (v->actual) {
    case ACTUAL_RUNNING:
        /* with a port or a health endpoint it is what we saw of them that made it running, unless
         * it is old news */
        if ((c->want->port || c->want->health) && in_grace(c))
            return now;
        return corrected(c, u->active_enter_ms, now);
    case ACTUAL_FINISHED:
    case ACTUAL_INACTIVE:
    case ACTUAL_FAILED:
        return corrected(c, u->inactive_enter_ms ? u->inactive_enter_ms : u->state_change_ms, now);
    case ACTUAL_STARTING:
    case ACTUAL_STOPPING: return corrected(c, u->state_change_ms, now);
    default: return now;
    }
}

/* The run before this one ended without our seeing it: say so, with what systemd still knows. */
static void add_missed_end(Track *t, const Case *c, Changes *out, const uint8_t ended[16])
{
    const UnitFacts *u = &c->facts->unit;
    bool rebooted = c->pc->rebooted_us && c->pc->rebooted_us >= t->shown_since_us;
    bool crashed = !rebooted && u->n_restarts > t->n_restarts;
    int64_t ts = corrected(c, u->inactive_enter_ms, c->now.wall_ms);

    add_change(t, c, out, crashed ? ACTUAL_FAILED : ACTUAL_INACTIVE,
               rebooted  ? CAUSE_REBOOTED
               : crashed ? CAUSE_UNIT_FAILED
                         : CAUSE_STOPPED,
               ts);
    Change *row = &out->rows[out->n - 1];
    memcpy(row->invocation, ended, 16);
    row->exec_code = row->exec_status = 0; /* those of the present run */
    row->result[0] = '\0';
}

static bool is_up(Actual a)
{
    return is_healthy(a) || a == ACTUAL_DEGRADED;
}

/* The mono time of a moment in the past that that PC's clock gives; now when it gives none. */
static uint64_t begun_us(const Case *c, int64_t theirs_ms)
{
    int64_t age_ms = c->now.wall_ms - (theirs_ms - c->skew_ms);

    if (theirs_ms <= 0 || age_ms < 0)
        return c->now.mono_us;
    uint64_t age_us = (uint64_t)age_ms * USEC_PER_MSEC;
    return age_us < c->now.mono_us ? c->now.mono_us - age_us : 0;
}

/* Notices that a new run has begun and what became of the old one. */
static void follow_runs(Track *t, const Case *c, Changes *out)
{
    const UnitFacts *u = &c->facts->unit;

    if (!c->want->unit || !u->has_details || !c->pc->reachable ||
        c->pc->scope_cause[c->want->scope] != CAUSE_NONE)
        return;
    bool active = u->active == ACTIVE_ACTIVE || u->active == ACTIVE_RELOADING;
    if (is_set(u->invocation) && memcmp(t->invocation, u->invocation, 16) != 0) {
        bool first = !is_set(t->invocation);
        uint8_t ended[16];

        memcpy(ended, t->invocation, 16);
        memcpy(t->invocation, u->invocation, 16);
        bool restarted_unseen =
            first ? t->seen_until_ms && corrected(c, u->active_enter_ms, 0) > t->seen_until_ms
                  : is_up(t->shown.actual) || t->shown.actual == ACTUAL_UNREACHABLE ||
                        t->shown.actual == ACTUAL_UNKNOWN;
        if (!first)
            t->runs++;
        if (restarted_unseen && active && is_up(t->stored) && !u->oneshot)
            add_missed_end(t, c, out, ended);
        t->run_failed = t->run_began = false;
        t->run_was_active = first && active;
        /* one that ran before we came is as old as systemd says */
        t->active_since_us = t->run_was_active ? begun_us(c, u->active_enter_ms) : c->now.mono_us;
    }
    if (active && !t->run_was_active) {
        t->run_was_active = true;
        t->active_since_us = c->now.mono_us;
    }
    /* systemd names the next run a little before it begins, while the last one still counts as
     * failed */
    bool begun = active || (u->active == ACTIVE_ACTIVATING && !unit_has_failed(u));
    if (begun && !t->run_began) {
        t->run_began = true;
        t->run_failed = false;
    }
    t->seen_until_ms = 0;
    t->n_restarts = u->n_restarts;
}

/* A run that died before it was ever called healthy changes no state (failed stays failed), but is
 * a crash. */
static void add_crash_pair(Track *t, const Case *c, Changes *out, const Verdict *v)
{
    const UnitFacts *u = &c->facts->unit;

    if (c->now.mono_us >= t->pairs_since_us + PAIRS_WINDOW_US) {
        t->pairs_since_us = c->now.mono_us;
        t->pairs = 0;
    }
    if (t->pairs++ >= PAIRS_MAX)
        return;
    add_change(t, c, out, ACTUAL_STARTING, CAUSE_STARTING,
               t->run_was_active ? corrected(c, u->active_enter_ms, c->now.wall_ms)
                                 : begin_of(c, v));
    out->rows[out->n - 1].wants_journal = false;
    add_change(t, c, out, ACTUAL_FAILED, v->cause, begin_of(c, v));
}

/* Turns the verdict into transitions where it is a settled state that differs from the last stored
 * one. */
static void settle(Track *t, const Case *c, Changes *out, const Verdict *v)
{
    bool passing = v->actual == ACTUAL_STARTING || v->actual == ACTUAL_STOPPING;
    uint64_t since = v->actual == t->shown.actual ? t->shown_since_us : c->now.mono_us;

    if (v->actual == ACTUAL_UNKNOWN || v->actual == ACTUAL_UNREACHABLE)
        return;
    if (passing && c->now.mono_us < since + SETTLE_US)
        return;
    if (t->is_guess && (is_healthy(v->actual) || c->want->expected == EXPECTED_STOPPED))
        t->stored = ACTUAL_UNKNOWN; /* well then and now: whatever that was called is no news */
    t->is_guess = false;
    /* one that died before it was active counts, too; but a job that fails again is no crash loop
     */
    bool lived = t->run_began && (t->run_was_active || !c->facts->unit.oneshot);
    bool new_corpse = v->actual == ACTUAL_FAILED && lived && !t->run_failed;
    if (v->actual == ACTUAL_FAILED)
        t->run_failed = true;
    if (t->stored == ACTUAL_UNKNOWN) {
        t->stored = v->actual;
        t->stored_ms = 0;
    } else if (v->actual != t->stored) {
        add_change(t, c, out, v->actual, v->cause, begin_of(c, v));
    } else if (new_corpse) {
        add_crash_pair(t, c, out, v);
    }
}

static void show(Track *t, const Case *c, const Verdict *v, const Changes *out)
{
    if (v->actual != t->shown.actual || t->since_ms == 0) {
        bool first = t->since_ms == 0;
        t->shown_since_us = c->now.mono_us;
        t->since_ms = out->n ? out->rows[out->n - 1].ts_ms : begin_of(c, v);
        if (first && v->actual == t->stored && t->stored_ms)
            t->since_ms = t->stored_ms;
    }
    bool held = v->actual == ACTUAL_FAILED && c->facts->unit.active == ACTIVE_INACTIVE;
    if (!held)
        t->hold_since_us = 0;
    else if (t->hold_since_us == 0)
        t->hold_since_us = c->now.mono_us;
    t->shown = *v;
}

size_t reconcile(Track *track, const Want *want, const PcFacts *pc, const Facts *facts,
                 int64_t skew_ms, Now now, Change changes[CHANGES_MAX])
{
    Case c = {
        .want = want, .pc = pc, .facts = facts, .track = track, .now = now, .skew_ms = skew_ms};
    Changes out = {.rows = changes};

    follow_runs(track, &c, &out);
    Verdict v = judge(&c);
    settle(track, &c, &out, &v);
    show(track, &c, &v, &out);
    return out.n;
}

void reconcile_recall(Track *track, Actual last_to, int64_t last_ts_ms, int64_t last_healthy_ms)
{
    if (last_to == ACTUAL_INVALID && !last_healthy_ms)
        return;
    track->is_guess = last_to == ACTUAL_INVALID;
    track->stored = track->is_guess ? ACTUAL_RUNNING : last_to;
    track->stored_ms = last_ts_ms;
    track->seen_until_ms = last_healthy_ms;
}

/* ---- sentences ---- */

static const char *const cause_sentences[CAUSE_MAX] = {
    [CAUSE_CORE_DUMP] = "it crashed and dumped core",
    [CAUSE_TIMEOUT] = "it did not start or stop in time",
    [CAUSE_WATCHDOG] = "it hung and systemd's watchdog ended it",
    [CAUSE_OOM_KILL] = "it was killed because memory ran out",
    [CAUSE_START_LIMIT] = "it failed too often; systemd does not restart it any more",
    [CAUSE_RESOURCES] = "systemd had no resources to start it",
    [CAUSE_PROTOCOL] = "it did not follow the protocol of its unit type",
    [CAUSE_UNIT_FAILED] = "it failed",
    [CAUSE_STOPPED] = "it is not running",
    [CAUSE_MASKED] = "its unit is masked, so it cannot be started",
    [CAUSE_BAD_SETTING] = "its unit file has an error and does not load",
    [CAUSE_STARTING] = "it is starting",
    [CAUSE_STARTING_TOO_LONG] = "it has been starting for more than 90 s",
    [CAUSE_STOPPING] = "it is stopping",
    [CAUSE_TIMER_SERVICE_FAILED] = "the service that this timer starts has failed",
    [CAUSE_RUNNING] = "it runs, but is expected to be stopped",
    [CAUSE_HTTP_RESET] = "the health request was reset",
    [CAUSE_HTTP_EOF] = "the health request was closed without an answer",
    [CAUSE_HTTP_BAD_REPLY] = "the health endpoint does not speak HTTP",
    [CAUSE_HTTP_UNRESOLVED] = "the host name of the health URL does not resolve",
    [CAUSE_HTTP_TLS] = "the TLS handshake with the health URL failed",
    [CAUSE_HTTP_ERROR] = "the health endpoint could not be asked",
    [CAUSE_NOT_CHECKED_YET] = "it has not been checked yet",
    [CAUSE_NO_BUS] = "there is no user bus (dbus-user-session missing, or nobody is logged in and "
                     "linger is off)",
    [CAUSE_NO_USER_MANAGER] = "the systemd user manager is not running",
    [CAUSE_BUS_ERROR] = "the systemd manager answers with errors",
    [CAUSE_BUS_SILENT] = "the PC does not answer (frozen, suspended or cut off)",
    [CAUSE_HOST_UNKNOWN] = "its host name does not resolve",
    [CAUSE_HOST_REFUSED] = "it refuses the ssh connection (is sshd running?)",
    [CAUSE_HOST_TIMEOUT] = "it does not answer the ssh connection in time",
    [CAUSE_HOST_UNROUTABLE] = "there is no route to it",
    [CAUSE_HOST_KEY_UNKNOWN] = "its host key is not known yet (connect once by hand)",
    [CAUSE_HOST_KEY_CHANGED] = "its host key has changed",
    [CAUSE_KEY_REFUSED] = "it refuses our ssh key",
    [CAUSE_FORWARD_REFUSED] = "its sshd forbids forwarding",
    [CAUSE_SHELL_BROKEN] = "its login shell does not answer",
    [CAUSE_SSH_CONFIG] = "the ssh configuration has an error",
    [CAUSE_SSH_FAILED] = "ssh failed",
    [CAUSE_REBOOTED] = "it was rebooted",
};

const char *cause_sentence(Cause cause)
{
    const char *s = (unsigned)cause < CAUSE_MAX ? cause_sentences[cause] : NULL;

    return s ? s : "";
}

static void exit_sentence(const UnitFacts *u, char *ret, size_t size)
{
    char after[48] = "";

    if (u->n_restarts)
        snprintf(after, sizeof after, " after %u restart%s", u->n_restarts,
                 u->n_restarts == 1 ? "" : "s");
    const char *abbrev = sigabbrev_np(u->exec_status);
    if (strcmp(u->result, "signal") == 0 && abbrev)
        snprintf(ret, size, "killed by SIG%s%s", abbrev, after);
    else
        snprintf(ret, size, "exit code %d%s", u->exec_status, after);
}

static void foreign_sentence(const Want *want, const PortFacts *p, char *ret, size_t size)
{
    if (p->owner_pid)
        snprintf(ret, size, "port %u is held by pid %u (%s)", want->port, p->owner_pid,
                 p->owner_name[0] ? p->owner_name : "unknown");
    else
        snprintf(ret, size, "port %u is held by %s", want->port,
                 p->owner_name[0] ? p->owner_name : "another service");
}

void reconcile_sentence(const Verdict *v, const Want *want, const PcFacts *pc, const Facts *facts,
                        char *ret, size_t size)
{
    text_copy(ret, size, "");
    switch (v->cause) {
    case CAUSE_NONE: return;
    case CAUSE_EXIT_CODE:
    case CAUSE_SIGNAL: return exit_sentence(&facts->unit, ret, size);
    case CAUSE_NOT_FOUND:
        snprintf(ret, size, "there is no unit %s on this PC", want->unit ? want->unit : "");
        return;
    case CAUSE_REBOOTED: text_copy(ret, size, "its PC was rebooted"); return;
    case CAUSE_PORT_CLOSED: snprintf(ret, size, "port %u is closed", want->port); return;
    case CAUSE_PORT_FOREIGN: return foreign_sentence(want, &facts->port, ret, size);
    case CAUSE_PORT_NOT_ACCEPTING:
        snprintf(ret, size, "it does not accept connections on port %u (%u are waiting)",
                 want->port, facts->port.queue);
        return;
    case CAUSE_HTTP_REFUSED:
        snprintf(ret, size, "%s refuses the connection", want->health ? want->health : "");
        return;
    case CAUSE_HTTP_STATUS:
        snprintf(ret, size, "%s answers %d", want->health ? want->health : "", facts->http.status);
        return;
    case CAUSE_HTTP_TIMEOUT:
        snprintf(ret, size, "%s gives no answer within %u ms", want->health ? want->health : "",
                 want->timeout_ms);
        return;
    default: break;
    }
    if (v->actual == ACTUAL_UNREACHABLE && pc->cause == CAUSE_NONE)
        return;
    text_copy(ret, size, cause_sentence(v->cause));
}
