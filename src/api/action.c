/* Start, stop and restart of a unit over D-Bus.
 *
 * The life of one: its audit row is handed to the writer (STAGE_AUDIT); when that row is on disk,
 * systemd is asked (STAGE_CALL); systemd accepts it as a job (STAGE_JOB); JobRemoved tells what
 * became of the job, and after a failure the unit's properties tell why (STAGE_REASON). Each stage
 * has its own deadline, and whatever ends it is written into the same row. A row without an outcome
 * thus means that the daemon died in between; the next one says so.
 *
 * JobRemoved is subscribed to only while an action is out on that bus: it comes for every unit of
 * the PC. Jobs are told apart by their object path and not by the unit's name, which may be an
 * alias. A signal that overtakes the answer to our call is kept until the answer is there.
 *
 * A unit that has failed is reset before it is started, as a person would have to do: otherwise
 * systemd's start limit refuses the very start that is meant to mend it.
 *
 * The daemon may restart the unit it runs in, but then it cannot see the end: whoever waits is
 * answered first, and the daemon that comes writes the outcome. It does not stop itself: nobody
 * would be left to start it again.
 *
 * Callbacks of sd-bus only note what happened; the waiter is called from actions_run() alone, so
 * that it can ask for the next thing without standing in the middle of this one. */
#include "api/action.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/action-reason.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define MANAGER      "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_PATH    "/org/freedesktop/systemd1/unit"

#define POLL_AUDIT_US   (5U * USEC_PER_MSEC)
#define POLL_US         USEC_PER_SEC /* is the connection still there? */
#define REASON_US       (2U * USEC_PER_SEC)
#define SELF_PAUSE_US   (300U * USEC_PER_MSEC) /* for the reply to get out before we are ended */
#define WINDOW_US       (60U * USEC_PER_SEC)
#define SEEN_MAX        8 /* the last jobs that ended before our call was answered */
#define JOB_PATH_SIZE   96
#define JOB_RESULT_SIZE 16

#define SELF_RESTART "the daemon restarts itself: the one that comes will say how it ended"

typedef enum Stage {
    STAGE_AUDIT,
    STAGE_SELF, /* its row is on disk; a moment for the reply, then the call */
    STAGE_CALL,
    STAGE_JOB,
    STAGE_REASON,
    STAGE_ENDED, /* its waiter is to be called */
} Stage;

typedef struct Job {
    char path[JOB_PATH_SIZE];
    char result[JOB_RESULT_SIZE];
} Job;

typedef struct Action Action;

struct Action {
    Actions *owner;
    Action *next;
    Stage stage;
    uint64_t stage_us; /* mono: when it began */
    uint64_t wake_us;  /* mono: to be looked at again */
    ActionResult result;
    StoreAudit row;
    uint64_t durable_at;
    UnitScope scope;
    bool is_self;
    sd_bus *bus;
    sd_bus_slot *match, *call;
    Job job; /* ours, once it is known */
    Job seen[SEEN_MAX];
    size_t n_seen;
    ActionDone done; /* NULL: nobody waits */
    void *userdata;
};

struct Actions {
    Fleet *fleet;
    Store *store;
    ActionBus bus;
    void *userdata;
    Action *first;
    size_t n;
    uint64_t window_us; /* of the rows of refused wishes */
    uint32_t in_window, left_out;
};

static const char *const members[ACTION_VERB_MAX] = {
    [ACTION_START] = "StartUnit", [ACTION_STOP] = "StopUnit", [ACTION_RESTART] = "RestartUnit"};

/* ---- the audit ---- */

static StoreAudit audit_row(Actions *a, const ActionAsk *ask, const char *unit, Now now)
{
    StoreAudit row = {
        .id = fleet_next_transition_id(a->fleet),
        .ts_ms = now.wall_ms,
        .uid = ask->uid,
    };
    const char *verb = action_verb_to_string(ask->verb);

    text_copy(row.origin, sizeof row.origin, action_origin_to_string(ask->origin));
    text_copy(row.role, sizeof row.role, ask->role);
    text_copy(row.app_id, sizeof row.app_id, ask->app_id);
    text_copy(row.pc_id, sizeof row.pc_id, ask->pc_id);
    text_copy(row.unit, sizeof row.unit, unit);
    text_copy(row.action, sizeof row.action, verb ? verb : "");
    return row;
}

static uint64_t audit_write(Actions *a, StoreAudit *row, ActionOutcome outcome, const char *reason,
                            int64_t ended_ms)
{
    text_copy(row->outcome, sizeof row->outcome, action_outcome_to_string(outcome));
    text_copy(row->reason, sizeof row->reason, reason);
    row->ended_ms = ended_ms;
    uint64_t number = store_add_audit(a->store, row);
    store_commit(a->store);
    return number;
}

static void log_row(const StoreAudit *row)
{
    log_info("action: %s of %s on %s, by %s (%s): %s%s%s", row->action[0] ? row->action : "nothing",
             row->app_id, row->pc_id, row->origin, row->role, row->outcome,
             row->reason[0] ? ": " : "", row->reason);
}

/* Tells of those that were left out of the last minute. */
static void close_window(Actions *a, Now now)
{
    static const ActionAsk many = {.verb = ACTION_VERB_INVALID,
                                   .origin = ORIGIN_API,
                                   .role = "nobody",
                                   .uid = -1,
                                   .app_id = "",
                                   .pc_id = ""};
    char reason[96];

    if (a->left_out) {
        StoreAudit row = audit_row(a, &many, "", now);
        snprintf(reason, sizeof reason, "%u more requests were refused within a minute",
                 a->left_out);
        audit_write(a, &row, ACTION_REFUSED, reason, now.wall_ms);
        log_warning("action: %s", reason);
    }
    a->window_us = 0;
    a->in_window = a->left_out = 0;
}

static void refuse(Actions *a, const ActionAsk *ask, const char *unit, const char *reason, Now now,
                   int64_t *ret_id)
{
    if (a->window_us && now.mono_us >= a->window_us + WINDOW_US)
        close_window(a, now);
    if (a->window_us == 0)
        a->window_us = now.mono_us;
    /* auto_fix says only once of a service that it has given up, and must find it again */
    bool once = ask->origin == ORIGIN_AUTO_FIX && ask->verb == ACTION_VERB_INVALID;
    if (!once && a->in_window >= ACTION_REFUSALS_MAX) {
        a->left_out++;
        return;
    }
    a->in_window += !once;
    StoreAudit row = audit_row(a, ask, unit, now);
    *ret_id = row.id;
    audit_write(a, &row, ACTION_REFUSED, reason, now.wall_ms);
    log_row(&row);
}

void action_refuse(Actions *a, const ActionAsk *ask, const char *reason, Now now)
{
    int64_t id;

    refuse(a, ask, "", reason, now, &id);
}

void actions_recall(Actions *a, const StoreAudit *rows, size_t n, Now now)
{
    for (size_t i = 0; i < n; i++) {
        StoreAudit row = rows[i];
        if (strcmp(row.outcome, action_outcome_to_string(ACTION_REQUESTED)) != 0)
            continue;
        if (strcmp(row.reason, SELF_RESTART) == 0)
            audit_write(a, &row, ACTION_DONE, "this daemon is the one that came", now.wall_ms);
        else
            audit_write(a, &row, ACTION_UNKNOWN, "the daemon ended before systemd had reported",
                        now.wall_ms);
        log_row(&row);
    }
}

/* ---- one action ---- */

static void enter(Action *x, Stage stage, uint64_t now_us)
{
    x->stage = stage;
    x->stage_us = now_us;
}

static void let_go(Action *x)
{
    x->match = sd_bus_slot_unref(x->match);
    x->call = sd_bus_slot_unref(x->call);
    x->bus = sd_bus_unref(x->bus);
}

static void finish(Action *x, ActionOutcome outcome, const char *sentence)
{
    Now now = clock_now();

    if (x->stage == STAGE_ENDED)
        return;
    x->result.outcome = outcome;
    text_copy(x->result.sentence, sizeof x->result.sentence, sentence);
    x->result.ended_ms = now.wall_ms;
    audit_write(x->owner, &x->row, outcome, sentence, now.wall_ms);
    log_row(&x->row);
    enter(x, STAGE_ENDED, now.mono_us);
}

static int on_reason(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED);

/* After a failure: what the unit itself says of it. */
static int ask_reason(Action *x)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    CLEANUP_FREE char *path = NULL;
    const char *interface = action_reason_interface(x->result.unit);

    if (!interface)
        return -ENOENT;
    int r = sd_bus_path_encode(UNIT_PATH, x->result.unit, &path);
    if (r >= 0)
        r = sd_bus_message_new_method_call(x->bus, &m, MANAGER, path,
                                           "org.freedesktop.DBus.Properties", "GetAll");
    if (r >= 0)
        r = sd_bus_message_set_auto_start(m, false);
    if (r >= 0)
        r = sd_bus_message_append(m, "s", interface);
    x->call = sd_bus_slot_unref(x->call);
    return r < 0 ? r : sd_bus_call_async(x->bus, &x->call, m, on_reason, x, UINT64_MAX);
}

static void finish_failed(Action *x, const char *reason)
{
    char sentence[SENTENCE_MAX];

    action_reason_sentence(x->job.result, reason, sentence, sizeof sentence);
    finish(x, ACTION_FAILED, sentence);
}

static int on_reason(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Action *x = userdata;
    char text[64] = "";

    if (x->stage != STAGE_REASON)
        return 0;
    action_reason_read(m, text, sizeof text);
    finish_failed(x, text);
    return 0;
}

static void job_ended(Action *x, const char *result)
{
    text_clean(x->job.result, sizeof x->job.result, result, strlen(result));
    if (strcmp(result, "done") == 0) {
        finish(x, ACTION_DONE, "");
        return;
    }
    enter(x, STAGE_REASON, clock_now().mono_us);
    bool has_reason = strcmp(result, "failed") == 0 || strcmp(result, "timeout") == 0;
    if (!has_reason || ask_reason(x) < 0)
        finish_failed(x, "");
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Action *x = userdata;
    const char *path, *unit, *result;
    uint32_t id;

    if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) <= 0)
        return 0;
    if (x->stage == STAGE_CALL) {
        Job *seen = &x->seen[x->n_seen++ % SEEN_MAX];
        text_copy(seen->path, sizeof seen->path, path);
        text_copy(seen->result, sizeof seen->result, result);
    } else if (x->stage == STAGE_JOB && strcmp(path, x->job.path) == 0) {
        job_ended(x, result);
    }
    return 0;
}

static int on_match(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Action *x = userdata;

    if (sd_bus_message_is_method_error(m, NULL))
        finish(x, ACTION_UNKNOWN, "systemd was asked, but its report cannot be received");
    return 0;
}

static void refused_by_systemd(Action *x, sd_bus_message *m)
{
    const sd_bus_error *e = sd_bus_message_get_error(m);
    const char *text = e && e->message ? e->message : e ? e->name : "an error without a text";
    char clean[SENTENCE_MAX], sentence[SENTENCE_MAX];

    text_clean(clean, sizeof clean - 20, text, strlen(text));
    snprintf(sentence, sizeof sentence, "systemd refuses: %.200s", clean);
    finish(x, ACTION_FAILED, sentence);
}

static int on_accepted(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Action *x = userdata;
    const char *path;

    if (x->stage != STAGE_CALL)
        return 0;
    if (sd_bus_message_is_method_error(m, NULL)) {
        refused_by_systemd(x, m);
        return 0;
    }
    if (sd_bus_message_read_basic(m, 'o', &path) <= 0 || strlen(path) >= sizeof x->job.path) {
        finish(x, ACTION_UNKNOWN, "systemd's answer cannot be understood");
        return 0;
    }
    text_copy(x->job.path, sizeof x->job.path, path);
    enter(x, STAGE_JOB, clock_now().mono_us);
    for (size_t i = 0; i < MIN(x->n_seen, (size_t)SEEN_MAX) && x->stage == STAGE_JOB; i++)
        if (strcmp(x->seen[i].path, path) == 0)
            job_ended(x, x->seen[i].result);
    return 0;
}

static int method_new(sd_bus *bus, const char *member, const char *unit, sd_bus_message **ret)
{
    int r =
        sd_bus_message_new_method_call(bus, ret, MANAGER, MANAGER_PATH, MANAGER ".Manager", member);

    if (r >= 0)
        r = sd_bus_message_set_auto_start(*ret, false);
    return r < 0 ? r : sd_bus_message_append(*ret, "s", unit);
}

static int reset_failed(const Action *x)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    int r = method_new(x->bus, "ResetFailedUnit", x->result.unit, &m);

    if (r >= 0)
        r = sd_bus_message_set_expect_reply(m, false);
    return r < 0 ? r : sd_bus_send(x->bus, m, NULL);
}

static int send_call(Action *x)
{
    static const char match[] = "type='signal',sender='" MANAGER "',path='" MANAGER_PATH
                                "',interface='" MANAGER ".Manager',member='JobRemoved'";
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    const Service *s = fleet_service(x->owner->fleet, x->row.app_id, x->row.pc_id);

    int r = sd_bus_add_match_async(x->bus, &x->match, match, on_job_removed, on_match, x);
    if (r >= 0 && x->result.verb != ACTION_STOP && s && s->facts.unit.active == ACTIVE_FAILED)
        r = reset_failed(x);
    if (r >= 0)
        r = method_new(x->bus, members[x->result.verb], x->result.unit, &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "replace");
    return r < 0 ? r : sd_bus_call_async(x->bus, &x->call, m, on_accepted, x, UINT64_MAX);
}

static void call_systemd(Action *x, Now now)
{
    Actions *a = x->owner;
    FleetPc *pc = fleet_pc(a->fleet, x->row.pc_id);
    sd_bus *bus = pc ? a->bus(a->userdata, pc, x->scope) : NULL;

    if (!bus) {
        finish(x, ACTION_REFUSED,
               "the connection to the PC's systemd was lost before it was asked");
        return;
    }
    x->bus = sd_bus_ref(bus);
    enter(x, STAGE_CALL, now.mono_us);
    if (send_call(x) < 0)
        finish(x, ACTION_REFUSED, "systemd could not be asked");
}

/* Its row is on disk: whoever waits for a restart of ourselves is answered before. */
static void audit_is_there(Action *x, Now now)
{
    if (!x->is_self) {
        call_systemd(x, now);
        return;
    }
    enter(x, STAGE_SELF, now.mono_us);
    if (x->done)
        x->done(x->userdata, &x->result);
    x->done = NULL;
}

static void wait_for_audit(Action *x, Now now)
{
    if (store_durable(x->owner->store) >= x->durable_at)
        audit_is_there(x, now);
    else if (now.mono_us >= x->stage_us + ACTION_AUDIT_US)
        finish(x, ACTION_REFUSED,
               "the history cannot be written, and nothing is done without a record of it");
}

static void step(Action *x, Now now)
{
    if (x->bus && sd_bus_is_open(x->bus) <= 0) {
        if (x->stage == STAGE_REASON)
            finish_failed(x, "");
        else
            finish(x, ACTION_UNKNOWN,
                   "the connection to the PC's systemd was lost before it reported");
        return;
    }
    switch (x->stage) {
    case STAGE_AUDIT: wait_for_audit(x, now); break;
    case STAGE_SELF:
        if (now.mono_us >= x->stage_us + SELF_PAUSE_US)
            call_systemd(x, now);
        break;
    case STAGE_CALL:
        if (now.mono_us >= x->stage_us + ACTION_CALL_US)
            finish(x, ACTION_UNKNOWN, "systemd does not answer");
        break;
    case STAGE_JOB:
        if (now.mono_us >= x->stage_us + ACTION_JOB_US)
            finish(x, ACTION_UNKNOWN, "systemd was still at work after 10 minutes");
        break;
    case STAGE_REASON:
        if (now.mono_us >= x->stage_us + REASON_US)
            finish_failed(x, "");
        break;
    case STAGE_ENDED: break;
    }
}

/* ---- all of them ---- */

static Action *action_free(Action *x)
{
    let_go(x);
    free(x);
    return NULL;
}

/* Takes the first that has ended out of the list; NULL: none. */
static Action *take_ended(Actions *a)
{
    for (Action **at = &a->first; *at; at = &(*at)->next) {
        Action *x = *at;
        if (x->stage != STAGE_ENDED)
            continue;
        *at = x->next;
        a->n--;
        return x;
    }
    return NULL;
}

void actions_run(Actions *a, Now now)
{
    Action *x;

    for (x = a->first; x; x = x->next) {
        step(x, now);
        x->wake_us = now.mono_us + (x->stage == STAGE_AUDIT ? POLL_AUDIT_US : POLL_US);
    }
    while ((x = take_ended(a))) {
        if (x->done)
            x->done(x->userdata, &x->result);
        action_free(x);
    }
    if (a->window_us && now.mono_us >= a->window_us + WINDOW_US)
        close_window(a, now);
}

static uint64_t next_of(const Action *x)
{
    switch (x->stage) {
    case STAGE_SELF: return x->stage_us + SELF_PAUSE_US;
    case STAGE_REASON: return x->stage_us + REASON_US;
    case STAGE_ENDED: return 0;
    default: return x->wake_us;
    }
}

uint64_t actions_next_us(const Actions *a)
{
    uint64_t next = a->left_out ? a->window_us + WINDOW_US : UINT64_MAX;

    for (const Action *x = a->first; x; x = x->next)
        next = MIN(next, next_of(x));
    return next;
}

static const Action *find(const Actions *a, int64_t id)
{
    const Action *x = a->first;

    while (x && x->result.id != id)
        x = x->next;
    return x;
}

bool action_look(const Actions *a, int64_t id, ActionResult *ret)
{
    const Action *x = find(a, id);

    if (!x)
        return false;
    *ret = x->result;
    return true;
}

void action_forget(Actions *a, int64_t id)
{
    for (Action *x = a->first; x; x = x->next)
        if (x->result.id == id)
            x->done = NULL;
}

bool action_is_busy(const Actions *a, const Service *s)
{
    if (!s->want.unit)
        return false;
    for (const Action *x = a->first; x; x = x->next)
        if (x->scope == s->want.scope && strcmp(x->row.pc_id, s->pc->pc_id) == 0 &&
            strcmp(x->result.unit, s->want.unit) == 0)
            return true;
    return false;
}

/* ---- may it be? ---- */

static bool is_ourselves(const Service *s)
{
    return s->pc->is_self && s->facts.unit.main_pid == (uint32_t)getpid();
}

static ActionRefusal judge_pc(const Actions *a, const Service *s, char *why, size_t size)
{
    const PcFacts *f = &s->pc->facts;
    const char *cause = "";

    if (f->known && !f->reachable) {
        snprintf(why, size, "%s is not reachable: %s", s->pc->pc_id, cause_sentence(f->cause));
        return REFUSAL_UNREACHABLE;
    }
    if (f->reachable && f->cause == CAUSE_FORWARD_REFUSED) {
        snprintf(why, size,
                 "%s is only polled, because its sshd forwards nothing: what changes a unit needs "
                 "its bus",
                 s->pc->pc_id);
        return REFUSAL_POLLED;
    }
    if (a->bus(a->userdata, s->pc, s->want.scope))
        return REFUSAL_NONE;
    if (f->scope_cause[s->want.scope] != CAUSE_NONE)
        cause = cause_sentence(f->scope_cause[s->want.scope]);
    snprintf(why, size, "the systemd manager of %s cannot be reached at the moment%s%s",
             s->pc->pc_id, cause[0] ? ": " : "", cause);
    return REFUSAL_UNREACHABLE;
}

static ActionRefusal judge(const Actions *a, ActionVerb verb, const Service *s, char *why,
                           size_t size)
{
    if (!s->want.unit) {
        snprintf(why, size, "%s has no unit in the registry, only a port or a health endpoint",
                 s->want.app_id);
        return REFUSAL_NO_UNIT;
    }
    if (s->want.scope != SCOPE_USER) {
        snprintf(why, size,
                 "%s is a unit of the system's manager: only units of the user are acted "
                 "upon",
                 s->want.unit);
        return REFUSAL_NO_UNIT;
    }
    if (verb == ACTION_STOP && is_ourselves(s)) {
        snprintf(why, size,
                 "this is the daemon itself, and stopped it could not be started again from here; "
                 "use 'systemctl --user stop %.100s' on %s",
                 s->want.unit, s->pc->pc_id);
        return REFUSAL_SELF;
    }
    if (action_is_busy(a, s)) {
        snprintf(why, size, "%s is being acted upon already; wait until that has ended",
                 s->want.unit);
        return REFUSAL_BUSY;
    }
    if (a->n >= ACTIONS_MAX) {
        snprintf(why, size, "%u actions are under way already; try again later", ACTIONS_MAX);
        return REFUSAL_BUSY;
    }
    return judge_pc(a, s, why, size);
}

static bool begin(Actions *a, const ActionAsk *ask, Service *s, ActionDone done, void *userdata,
                  Now now, ActionResult *ret)
{
    Action *x = calloc(1, sizeof *x);

    if (!x)
        return false;
    x->owner = a;
    x->done = done;
    x->userdata = userdata;
    x->scope = s->want.scope;
    x->is_self = is_ourselves(s) && ask->verb == ACTION_RESTART;
    x->row = audit_row(a, ask, s->want.unit, now);
    x->result = *ret;
    x->result.id = x->row.id;
    x->result.outcome = ACTION_REQUESTED;
    if (x->is_self)
        text_copy(x->result.sentence, sizeof x->result.sentence, SELF_RESTART);
    x->durable_at = audit_write(a, &x->row, ACTION_REQUESTED, x->result.sentence, 0);
    if (x->durable_at == 0) {
        free(x);
        return false;
    }
    enter(x, STAGE_AUDIT, now.mono_us);
    x->next = a->first;
    a->first = x;
    a->n++;
    *ret = x->result;
    log_row(&x->row);
    return true;
}

bool action_ask(Actions *a, const ActionAsk *ask, Service *s, ActionDone done, void *userdata,
                Now now, ActionResult *ret)
{
    *ret = (ActionResult){
        .handle = s->handle, .verb = ask->verb, .outcome = ACTION_REFUSED, .ts_ms = now.wall_ms};
    text_copy(ret->unit, sizeof ret->unit, s->want.unit ? s->want.unit : "");
    ret->refusal = judge(a, ask->verb, s, ret->sentence, sizeof ret->sentence);
    if (ret->refusal == REFUSAL_NONE) {
        if (begin(a, ask, s, done, userdata, now, ret))
            return true;
        ret->outcome = ACTION_REFUSED;
        ret->refusal = REFUSAL_NO_MEMORY;
        text_copy(ret->sentence, sizeof ret->sentence, "there is no memory for it");
    }
    ret->ended_ms = now.wall_ms;
    refuse(a, ask, ret->unit, ret->sentence, now, &ret->id);
    return false;
}

/* ---- birth and end ---- */

int actions_new(Fleet *fleet, Store *store, ActionBus bus, void *userdata, Actions **ret)
{
    Actions *a = calloc(1, sizeof *a);

    if (!a)
        return -ENOMEM;
    a->fleet = fleet;
    a->store = store;
    a->bus = bus;
    a->userdata = userdata;
    *ret = a;
    return 0;
}

Actions *actions_free(Actions *a)
{
    if (a) {
        while (a->first) {
            Action *x = a->first;
            a->first = x->next;
            action_free(x);
        }
        free(a);
    }
    return NULL;
}
