/* One connection to one message bus, and the units of the systemd manager behind it.
 *
 * Who owns what: a UnitBus owns its Units (one per name, sorted), a Unit is kept by its watches and
 * by the timers that trigger it, and owns the two slots it may have at sd-bus: its match and the
 * one call that is out for it. Whatever is freed unrefs its slots first, so no answer can find a
 * dead Unit.
 *
 * Deadlines are ours, not sd-bus's: one timer with a lower priority than the bus itself. A daemon
 * that was stopped for a while (or slept: CLOCK_MONOTONIC stands still then) so reads what has
 * arrived before it calls anybody silent. Silence keeps the connection, because a late answer is
 * the quickest proof that a frozen PC is back; only a call that is out for UNIT_BUS_GIVE_UP_US
 * closes it.
 *
 * The manager's UnitNew, UnitRemoved and JobRemoved are not subscribed to: they come for every unit
 * of that PC, also for those nobody watches, in storms at each daemon-reload, and say nothing that
 * PropertiesChanged of a watched path or the next level check does not. Reloading (its end) and
 * UnitFilesChanged lead to a resync.
 *
 * A slice of names is answered row by row in the order asked, under the name a unit really has:
 * rows are matched by position, and a unit known by an alias gets its match on the path of the row.
 */
#include "api/probe-unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/probe-unit-props.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

#define MANAGER      "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_PATH    "/org/freedesktop/systemd1/unit"
#define PROPERTIES   "org.freedesktop.DBus.Properties"

#define TIMER_ACCURACY_US 50000

typedef struct Unit Unit;

struct UnitWatch {
    Unit *unit;
    void *userdata;
    UnitWatch *next;
};

struct Unit {
    UnitBus *bus;
    char *name;
    char *path;
    char *control_group; /* NULL unknown; kept while the unit is stopped */
    UnitFacts facts;
    UnitWatch *watches;
    Unit *triggers;
    uint32_t refs;
    uint32_t triggered_by;
    sd_bus_slot *match;
    sd_bus_slot *call;
    uint64_t asked_us;
    Unit *queue_next;
    bool queued;
    bool wants_details;
    bool wants_invocation;
    bool in_check; /* the level check waits for its details */
    bool changed;  /* since they were handed over */
};

/* A call that belongs to no unit. */
typedef struct Call {
    sd_bus_slot *slot;
    uint64_t asked_us;
} Call;

struct UnitBus {
    sd_event *event;
    UnitScope scope;
    const UnitBusOps *ops;
    void *userdata;
    sd_bus *bus;
    sd_event_source *timer;
    Cause cause;
    Cause pending; /* told, with the connection closed, by the timer */
    bool ready;
    bool has_pending;

    Unit **units; /* sorted by name */
    size_t n_units, cap_units;
    UnitWatch *deliver_next;

    Unit *queue_first, *queue_last;
    Unit *flight[UNIT_BUS_IN_FLIGHT_MAX];
    size_t n_flight;

    Call ping;
    Call check;
    Unit *slice[UNIT_BUS_SLICE]; /* NULL: gone since it was asked */
    size_t n_slice;
    size_t check_pending; /* units with in_check */
    bool checking;        /* from the first slice to the last detail */
    bool rows_done;
    bool check_again;
    bool resync; /* the next rows make all details stale */
    int32_t check_lag_us;

    size_t recheck_at;
    uint64_t recheck_us;
};

DEFINE_CLEANUP(UnitBus, unit_bus_free);

static void queue_pump(UnitBus *b);
static void check_start(UnitBus *b);
static void check_fail(UnitBus *b, Cause cause);

static uint64_t mono(const UnitBus *b)
{
    uint64_t us = 0;

    sd_event_now(b->event, CLOCK_MONOTONIC, &us);
    return us;
}

/* ---- state and deadlines ---- */

static void cause_set(UnitBus *b, Cause cause)
{
    b->ready = cause == CAUSE_NONE;
    if (cause == b->cause)
        return;
    b->cause = cause;
    b->ops->state(b->userdata, b->scope, cause);
}

static uint64_t oldest_asked(const UnitBus *b)
{
    uint64_t oldest = UINT64_MAX;

    if (b->ping.slot)
        oldest = MIN(oldest, b->ping.asked_us);
    if (b->check.slot)
        oldest = MIN(oldest, b->check.asked_us);
    for (size_t i = 0; i < b->n_flight; i++)
        oldest = MIN(oldest, b->flight[i]->asked_us);
    return oldest;
}

static void timer_arm(UnitBus *b, uint64_t at_us)
{
    sd_event_source_set_time(b->timer, at_us);
    sd_event_source_set_enabled(b->timer, SD_EVENT_ONESHOT);
}

/* Something was sent: the timer that is armed for an older call rearms itself for this one. */
static void timer_want(UnitBus *b)
{
    int enabled = SD_EVENT_OFF;

    sd_event_source_get_enabled(b->timer, &enabled);
    if (enabled == SD_EVENT_OFF)
        timer_arm(b, mono(b) + UNIT_BUS_CALL_TIMEOUT_US);
}

/* The connection is of no use; said by the timer, so that no caller of ours is called back from
 * within. */
static void fail_later(UnitBus *b, Cause cause)
{
    b->pending = cause;
    b->has_pending = true;
    timer_arm(b, 0);
}

static int on_timer(sd_event_source *s UNUSED, uint64_t usec UNUSED, void *userdata)
{
    UnitBus *b = userdata;

    if (b->has_pending) {
        unit_bus_disconnect(b, b->pending);
        return 0;
    }
    uint64_t oldest = oldest_asked(b), now = mono(b);
    if (oldest == UINT64_MAX)
        return 0;
    if (now >= oldest + UNIT_BUS_GIVE_UP_US) {
        unit_bus_disconnect(b, CAUSE_BUS_SILENT);
    } else if (now >= oldest + UNIT_BUS_CALL_TIMEOUT_US) {
        timer_arm(b, oldest + UNIT_BUS_GIVE_UP_US);
        cause_set(b, CAUSE_BUS_SILENT);
    } else {
        timer_arm(b, oldest + UNIT_BUS_CALL_TIMEOUT_US);
    }
    return 0;
}

/* What an error reply means for the whole bus; CAUSE_NONE: the connection is going down and says so
 * itself. */
static Cause error_cause(const UnitBus *b, sd_bus_message *m)
{
    static const char *const no_manager[] = {
        SD_BUS_ERROR_SERVICE_UNKNOWN,
        SD_BUS_ERROR_NAME_HAS_NO_OWNER,
        SD_BUS_ERROR_NO_REPLY, /* the manager went away with our call */
        "org.freedesktop.DBus.Error.Spawn.ChildExited",
        "org.freedesktop.DBus.Error.Spawn.ServiceNotFound",
    };
    const sd_bus_error *e = sd_bus_message_get_error(m);

    if (!b->bus || sd_bus_is_open(b->bus) <= 0)
        return CAUSE_NONE;
    for (size_t i = 0; e && i < ELEMENTS(no_manager); i++)
        if (strcmp(e->name, no_manager[i]) == 0)
            return CAUSE_NO_USER_MANAGER;
    return CAUSE_BUS_ERROR;
}

/* ---- calls ---- */

static int call_new(UnitBus *b, const char *path, const char *interface, const char *member,
                    sd_bus_message **ret)
{
    int r = sd_bus_message_new_method_call(b->bus, ret, MANAGER, path, interface, member);

    return r < 0 ? r : sd_bus_message_set_auto_start(*ret, false);
}

static int call_send(UnitBus *b, sd_bus_message *m, sd_bus_message_handler_t callback,
                     void *userdata, sd_bus_slot **ret_slot, uint64_t *ret_asked_us)
{
    int r = sd_bus_call_async(b->bus, ret_slot, m, callback, userdata, UINT64_MAX);

    if (r < 0)
        return r;
    *ret_asked_us = mono(b);
    timer_want(b);
    return 0;
}

/* ---- units ---- */

static bool unit_is_askable(const char *name)
{
    return name_is_unit(name) && !strstr(name, "@.");
}

static size_t unit_place(const UnitBus *b, const char *name, bool *ret_found)
{
    size_t low = 0, high = b->n_units;

    *ret_found = false;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = strcmp(name, b->units[mid]->name);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static void queue_remove(UnitBus *b, Unit *u)
{
    Unit *before = NULL;

    if (!u->queued)
        return;
    for (Unit *at = b->queue_first; at && at != u; at = at->queue_next)
        before = at;
    if (before)
        before->queue_next = u->queue_next;
    else
        b->queue_first = u->queue_next;
    if (b->queue_last == u)
        b->queue_last = before;
    u->queue_next = NULL;
    u->queued = false;
}

static void unit_call_done(Unit *u)
{
    UnitBus *b = u->bus;

    u->call = sd_bus_slot_unref(u->call);
    for (size_t i = 0; i < b->n_flight; i++)
        if (b->flight[i] == u) {
            b->flight[i] = b->flight[--b->n_flight];
            break;
        }
}

static void check_settle(UnitBus *b)
{
    if (!b->checking || !b->rows_done || b->check_pending > 0)
        return;
    b->checking = false;
    if (b->ready)
        b->ops->checked(b->userdata, b->scope, b->check_lag_us);
    if (b->bus && !b->checking && (b->check_again || !b->ready))
        check_start(b);
}

/* A good answer to whatever question: a manager that was silent is back. */
static void answered(UnitBus *b)
{
    check_settle(b);
    if (b->bus && sd_bus_is_open(b->bus) > 0 && !b->ready && !b->checking)
        check_start(b);
}

static void unit_check_done(Unit *u)
{
    if (!u->in_check)
        return;
    u->in_check = false;
    u->bus->check_pending--;
}

static Unit *unit_free(Unit *u)
{
    if (!u)
        return NULL;
    sd_bus_slot_unref(u->match);
    free(u->control_group);
    free(u->path);
    free(u->name);
    free(u);
    return NULL;
}
DEFINE_CLEANUP(Unit, unit_free);

static void unit_unref(Unit *u)
{
    UnitBus *b = u->bus;
    bool found;

    if (--u->refs > 0)
        return;
    if (u->triggers) {
        u->triggers->triggered_by--;
        unit_unref(u->triggers);
    }
    size_t at = unit_place(b, u->name, &found);
    memmove(b->units + at, b->units + at + 1, (b->n_units - at - 1) * sizeof *b->units);
    b->n_units--;
    queue_remove(b, u);
    unit_call_done(u);
    unit_check_done(u);
    for (size_t i = 0; i < b->n_slice; i++)
        if (b->slice[i] == u)
            b->slice[i] = NULL;
    unit_free(u);
}

/* Tells whoever watches it; then the timers that trigger it. */
static void unit_deliver(Unit *u, bool is_event)
{
    UnitBus *b = u->bus;

    if (!u->changed || !u->facts.has_details)
        return;
    u->changed = false;
    if (u->control_group && b->ops->cgroup_id)
        u->facts.cgroup_id = b->ops->cgroup_id(u->control_group);
    u->refs++;
    for (UnitWatch *w = u->watches; w; w = b->deliver_next) {
        b->deliver_next = w->next;
        b->ops->unit(b->userdata, b->scope, w->userdata, &u->facts, is_event);
    }
    b->deliver_next = NULL;
    unit_unref(u);
}

static void timers_update(UnitBus *b, const Unit *triggered, bool is_event)
{
    bool failed = triggered->facts.active == ACTIVE_FAILED;
    uint32_t left = triggered->triggered_by;

    for (size_t i = 0; i < b->n_units && left > 0; i++) {
        Unit *t = b->units[i];
        if (t->triggers != triggered)
            continue;
        left--;
        if (t->facts.triggered_failed == failed)
            continue;
        t->facts.triggered_failed = failed;
        t->changed = true;
        unit_deliver(t, is_event);
    }
}

static void unit_tell(Unit *u, bool is_event)
{
    UnitBus *b = u->bus;

    u->refs++;
    if (u->triggered_by > 0)
        timers_update(b, u, is_event);
    unit_deliver(u, is_event);
    unit_unref(u);
}

static void unit_want(Unit *u, bool details)
{
    UnitBus *b = u->bus;

    if (details)
        u->wants_details = true;
    else
        u->wants_invocation = true;
    if (u->queued || u->call)
        return;
    u->queued = true;
    if (b->queue_last)
        b->queue_last->queue_next = u;
    else
        b->queue_first = u;
    b->queue_last = u;
}

static int on_match_installed(sd_bus_message *m UNUSED, void *userdata UNUSED,
                              sd_bus_error *e UNUSED)
{
    /* Refused by a limit of the bus: the level check still sees this unit. Without a handler of
     * ours sd-bus would close the connection. */
    return 0;
}

static bool facts_differ(const UnitFacts *a, const UnitFacts *b)
{
    return memcmp(a, b, sizeof *a) != 0;
}

static void unit_set_control_group(Unit *u, const char *path)
{
    if (*path == '\0' || (u->control_group && strcmp(u->control_group, path) == 0))
        return;
    char *copy = strdup(path);
    if (!copy)
        return;
    free(u->control_group);
    u->control_group = copy;
}

/* Puts merged facts in the place of the present ones. */
static void unit_take(Unit *u, const UnitFacts *next, const UnitExtras *extras)
{
    if (facts_differ(&u->facts, next)) {
        u->facts = *next;
        u->changed = true;
    }
    if (extras->seen & SEEN_CONTROL_GROUP)
        unit_set_control_group(u, extras->control_group);
}

static bool unit_runs(const Unit *u)
{
    return u->facts.active == ACTIVE_ACTIVE || u->facts.active == ACTIVE_RELOADING;
}

static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Unit *u = userdata;
    UnitBus *b = u->bus;
    UnitFacts next = u->facts;
    UnitExtras extras = {0};
    const char *interface;

    if (sd_bus_message_read_basic(m, 's', &interface) <= 0 ||
        unit_props_merge(m, UNIT_BUS_MESSAGE_MAX, &next, &extras) < 0) {
        unit_want(u, true);
        queue_pump(b);
        return 0;
    }
    unit_take(u, &next, &extras);
    /* A load state does not travel in signals, nor does the cgroup of a unit that had none before.
     */
    if (u->facts.load != LOAD_LOADED || (unit_runs(u) && !u->control_group))
        unit_want(u, true);
    if (strcmp(interface, MANAGER ".Unit") == 0)
        unit_tell(u, true);
    queue_pump(b);
    return 0;
}

static int unit_match(Unit *u)
{
    char match[UNIT_PATH_MAX + 256];

    if (!u->bus->bus)
        return 0;
    snprintf(match, sizeof match,
             "type='signal',sender='" MANAGER "',path='%s',interface='" PROPERTIES
             "',member='PropertiesChanged'",
             u->path);
    u->match = sd_bus_slot_unref(u->match);
    return sd_bus_add_match_async(u->bus->bus, &u->match, match, on_properties_changed,
                                  on_match_installed, u);
}

static int unit_new(UnitBus *b, const char *name, size_t at, Unit **ret)
{
    CLEANUP(unit_freep) Unit *u = calloc(1, sizeof *u);

    if (!u)
        return -ENOMEM;
    u->bus = b;
    u->facts.kind = unit_kind_of(name);
    u->name = strdup(name);
    if (!u->name || sd_bus_path_encode(UNIT_PATH, name, &u->path) < 0)
        return -ENOMEM;
    if (b->n_units == b->cap_units) {
        size_t cap = b->cap_units ? b->cap_units * 2 : 16;
        Unit **units = realloc(b->units, cap * sizeof *units);
        if (!units)
            return -ENOMEM;
        b->units = units;
        b->cap_units = cap;
    }
    if (unit_match(u) ==
        -ENOMEM) /* any other failure is the connection's own, which says so itself */
        return -ENOMEM;
    memmove(b->units + at + 1, b->units + at, (b->n_units - at) * sizeof *b->units);
    b->units[at] = u;
    b->n_units++;
    *ret = TAKE_PTR(u);
    return 0;
}

/* A reference to the unit of that name, made if it is new. */
static int unit_get(UnitBus *b, const char *name, Unit **ret)
{
    bool found;
    size_t at = unit_place(b, name, &found);

    if (found) {
        *ret = b->units[at];
    } else {
        int r = unit_new(b, name, at, ret);
        if (r < 0)
            return r;
        if (b->bus) /* the first check may be out already, without this unit */
            unit_want(*ret, true);
    }
    (*ret)->refs++;
    return 0;
}

/* Only timers trigger, and never another timer: so there are no cycles of references. */
static void unit_set_trigger(Unit *u, const char *name)
{
    Unit *triggered = NULL;

    if (u->triggers && strcmp(u->triggers->name, name) == 0)
        return;
    if (unit_is_askable(name) && unit_kind_of(name) != KIND_TIMER)
        if (unit_get(u->bus, name, &triggered) < 0)
            return;
    if (u->triggers) {
        u->triggers->triggered_by--;
        unit_unref(u->triggers);
    }
    u->triggers = triggered;
    if (triggered)
        triggered->triggered_by++;
    u->facts.triggered_failed = triggered && triggered->facts.active == ACTIVE_FAILED;
}

/* ---- details: what is read of one unit ---- */

/* Returns the cause that this answer means for the whole bus, or CAUSE_NONE. */
static Cause details_apply(Unit *u, sd_bus_message *m)
{
    UnitFacts next = {.kind = u->facts.kind,
                      .triggered_failed = u->facts.triggered_failed,
                      .cgroup_id = u->facts.cgroup_id,
                      .has_details = true};
    UnitExtras extras = {0};

    if (unit_props_merge(m, UNIT_BUS_MESSAGE_MAX, &next, &extras) < 0 ||
        !(extras.seen & SEEN_LOAD) || !(extras.seen & SEEN_ACTIVE))
        return CAUSE_BUS_ERROR;
    unit_take(u, &next, &extras);
    if (u->facts.kind == KIND_TIMER && extras.seen & SEEN_TRIGGERS)
        unit_set_trigger(u, extras.triggers);
    return CAUSE_NONE;
}

static Cause details_refused(Unit *u, sd_bus_message *m)
{
    Cause cause = error_cause(u->bus, m);

    if (cause != CAUSE_BUS_ERROR)
        return cause;
    /* The manager is there and refuses this one unit. */
    UnitFacts next = {.kind = u->facts.kind, .load = LOAD_ERROR, .has_details = true};
    unit_take(u, &next, &(UnitExtras){0});
    return CAUSE_NONE;
}

static int on_details(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Unit *u = userdata;
    UnitBus *b = u->bus;
    Cause cause;

    unit_call_done(u);
    if (u->wants_details || u->wants_invocation)
        unit_want(u, u->wants_details);
    cause = sd_bus_message_is_method_error(m, NULL) ? details_refused(u, m) : details_apply(u, m);
    unit_check_done(u);
    if (cause == CAUSE_NONE) {
        unit_tell(u, false);
        answered(b);
    } else {
        check_fail(b, cause);
    }
    queue_pump(b);
    return 0;
}

/* Another run than the one we know: a restart that no signal told of. */
static int on_invocation(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    Unit *u = userdata;
    UnitBus *b = u->bus;
    uint8_t id[16];

    unit_call_done(u);
    if (!sd_bus_message_is_method_error(m, NULL) && unit_props_invocation(m, id) == 0) {
        if (memcmp(id, u->facts.invocation, sizeof id) != 0)
            u->wants_details = true;
        answered(b);
    }
    if (u->wants_details)
        unit_want(u, true);
    queue_pump(b);
    return 0;
}

static int unit_ask(Unit *u)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    bool details = u->wants_details;
    int r = call_new(u->bus, u->path, PROPERTIES, details ? "GetAll" : "Get", &m);

    if (r < 0)
        return r;
    u->wants_invocation = false;
    u->wants_details = false;
    r = details ? sd_bus_message_append(m, "s", "")
                : sd_bus_message_append(m, "ss", MANAGER ".Unit", "InvocationID");
    if (r < 0)
        return r;
    r = call_send(u->bus, m, details ? on_details : on_invocation, u, &u->call, &u->asked_us);
    if (r < 0)
        return r;
    u->bus->flight[u->bus->n_flight++] = u;
    return 0;
}

static void queue_pump(UnitBus *b)
{
    while (b->bus && !b->has_pending && b->queue_first && b->n_flight < UNIT_BUS_IN_FLIGHT_MAX) {
        Unit *u = b->queue_first;
        queue_remove(b, u);
        if (unit_ask(u) < 0)
            fail_later(b, CAUSE_BUS_ERROR);
    }
}

/* ---- the level check ---- */

static int on_rows(sd_bus_message *m, void *userdata, sd_bus_error *e);

/* Asks for the next slice behind `after` (NULL: the first). 0: nothing was left to ask; 1: it is
 * out. */
static int slice_send(UnitBus *b, const char *after)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    bool found = false;
    size_t at = after ? unit_place(b, after, &found) : 0;
    int r = call_new(b, MANAGER_PATH, MANAGER ".Manager", "ListUnitsByNames", &m);

    b->n_slice = 0;
    if (r < 0 || (r = sd_bus_message_open_container(m, 'a', "s")) < 0)
        return r;
    for (at += found; at < b->n_units && b->n_slice < UNIT_BUS_SLICE; at++) {
        r = sd_bus_message_append(m, "s", b->units[at]->name);
        if (r < 0)
            return r;
        b->slice[b->n_slice++] = b->units[at];
    }
    /* Nobody is watched: the question is still asked once, for it shows that the manager answers.
     */
    if (b->n_slice == 0 && after)
        return 0;
    r = sd_bus_message_close_container(m);
    if (r < 0)
        return r;
    r = call_send(b, m, on_rows, b, &b->check.slot, &b->check.asked_us);
    return r < 0 ? r : 1;
}

static void row_apply(Unit *u, const UnitRow *row, bool resync)
{
    if (strcmp(row->path, u->path) != 0) {
        char *path = strdup(row->path);
        if (path) {
            free(u->path);
            u->path = path;
            unit_match(u);
        }
    }
    if (!resync && u->facts.has_details && row->load == u->facts.load &&
        row->active == u->facts.active && strcmp(row->sub, u->facts.sub) == 0)
        return;
    if (!u->in_check) {
        u->in_check = true;
        u->bus->check_pending++;
    }
    unit_want(u, true);
}

/* All rows of a slice or none: a list of another length than asked would be matched to the wrong
 * units. */
static int rows_apply(UnitBus *b, sd_bus_message *m)
{
    UnitRow row;
    size_t n = 0;
    int r;

    if (sd_bus_message_enter_container(m, 'a', "(ssssssouso)") <= 0)
        return -EBADMSG;
    while ((r = unit_row_read(m, &row)) > 0)
        if (++n > b->n_slice)
            return -EBADMSG;
    if (r < 0 || n != b->n_slice || sd_bus_message_rewind(m, false) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < n && unit_row_read(m, &row) > 0; i++)
        if (b->slice[i])
            row_apply(b->slice[i], &row, b->resync || !b->ready);
    return 0;
}

static void check_fail(UnitBus *b, Cause cause)
{
    b->checking = false;
    b->check_again = false;
    for (size_t i = 0; i < b->n_units; i++)
        unit_check_done(b->units[i]);
    if (cause != CAUSE_NONE)
        cause_set(b, cause);
}

/* The rows of all units are in. */
static void rows_finish(UnitBus *b)
{
    b->rows_done = true;
    b->resync = false;
    cause_set(b, CAUSE_NONE);
    check_settle(b);
    queue_pump(b);
}

static int on_rows(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    UnitBus *b = userdata;
    char last[UNIT_MAX + 1] = "";

    b->check.slot = sd_bus_slot_unref(b->check.slot);
    b->check_lag_us = MAX(b->check_lag_us, (int32_t)(mono(b) - b->check.asked_us));
    if (sd_bus_message_is_method_error(m, NULL)) {
        check_fail(b, error_cause(b, m));
        return 0;
    }
    if (rows_apply(b, m) < 0) {
        check_fail(b, CAUSE_BUS_ERROR);
        return 0;
    }
    for (size_t i = b->n_slice; i > 0 && !*last; i--)
        if (b->slice[i - 1])
            text_copy(last, sizeof last, b->slice[i - 1]->name);
    int r = *last ? slice_send(b, last) : 0;
    if (r < 0)
        fail_later(b, CAUSE_BUS_ERROR);
    else if (r == 0)
        rows_finish(b);
    else
        queue_pump(b);
    return 0;
}

static void check_start(UnitBus *b)
{
    b->check_again = false;
    b->checking = true;
    b->rows_done = false;
    b->check_lag_us = 0;
    if (slice_send(b, NULL) < 0)
        fail_later(b, CAUSE_BUS_ERROR);
}

/* All details are read again; with a check that is out, by the one after it. */
static void resync(UnitBus *b)
{
    b->resync = true;
    if (b->checking)
        b->check_again = true;
    else
        check_start(b);
}

/* Spreads one look at each unit's InvocationID over a minute. */
static void recheck_some(UnitBus *b, uint64_t now_us)
{
    if (b->n_units == 0 || !b->ready || now_us < b->recheck_us || b->recheck_us == 0) {
        b->recheck_us = now_us;
        return;
    }
    uint64_t elapsed = MIN(now_us - b->recheck_us, (uint64_t)UNIT_BUS_RECHECK_US);
    uint64_t n = elapsed * b->n_units / UNIT_BUS_RECHECK_US;
    if (n == 0)
        return;
    b->recheck_us = now_us;
    for (uint64_t i = 0; i < n; i++) {
        b->recheck_at = (b->recheck_at + 1) % b->n_units;
        unit_want(b->units[b->recheck_at], false);
    }
    queue_pump(b);
}

void unit_bus_check(UnitBus *b, Now now)
{
    if (!b->bus || b->has_pending)
        return;
    recheck_some(b, now.mono_us);
    check_settle(b); /* the last unit it waited for may have been unwatched */
    if (b->bus && !b->checking)
        check_start(b);
}

static int on_pong(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    UnitBus *b = userdata;

    b->ping.slot = sd_bus_slot_unref(b->ping.slot);
    if (sd_bus_message_is_method_error(m, NULL)) {
        Cause cause = error_cause(b, m);
        if (cause != CAUSE_NONE)
            cause_set(b, cause);
    } else {
        answered(b);
    }
    return 0;
}

void unit_bus_ping(UnitBus *b, Now now)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    if (!b->bus || b->has_pending || b->ping.slot)
        return;
    recheck_some(b, now.mono_us);
    if (call_new(b, MANAGER_PATH, PROPERTIES, "Get", &m) < 0 ||
        sd_bus_message_append(m, "ss", MANAGER ".Manager", "NFailedUnits") < 0 ||
        call_send(b, m, on_pong, b, &b->ping.slot, &b->ping.asked_us) < 0)
        fail_later(b, CAUSE_BUS_ERROR);
}

/* ---- the connection ---- */

static void subscribe(UnitBus *b)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    if (call_new(b, MANAGER_PATH, MANAGER ".Manager", "Subscribe", &m) < 0 ||
        sd_bus_message_set_expect_reply(m, false) < 0 || sd_bus_send(b->bus, m, NULL) < 0)
        fail_later(b, CAUSE_BUS_ERROR);
}

static int on_disconnected(sd_bus_message *m UNUSED, void *userdata, sd_bus_error *e UNUSED)
{
    unit_bus_disconnect(userdata, CAUSE_NO_BUS);
    return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    UnitBus *b = userdata;
    const char *name, *old, *new;

    if (sd_bus_message_read(m, "sss", &name, &old, &new) <= 0 || strcmp(name, MANAGER) != 0)
        return 0;
    if (*new == '\0') {
        cause_set(b, CAUSE_NO_USER_MANAGER);
    } else {
        subscribe(b);
        resync(b);
    }
    return 0;
}

static int on_reloading(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    int begins;

    if (sd_bus_message_read_basic(m, 'b', &begins) > 0 && !begins)
        resync(userdata);
    return 0;
}

static int on_files_changed(sd_bus_message *m UNUSED, void *userdata, sd_bus_error *e UNUSED)
{
    resync(userdata);
    return 0;
}

static int matches_add(UnitBus *b)
{
    static const struct {
        const char *match;
        sd_bus_message_handler_t callback;
    } matches[] = {
        {"type='signal',path='/org/freedesktop/DBus/Local',"
         "interface='org.freedesktop.DBus.Local',member='Disconnected'",
         on_disconnected},
        {"type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
         "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" MANAGER "'",
         on_owner_changed},
        {"type='signal',sender='" MANAGER "',path='" MANAGER_PATH "',interface='" MANAGER
         ".Manager',member='Reloading'",
         on_reloading},
        {"type='signal',sender='" MANAGER "',path='" MANAGER_PATH "',interface='" MANAGER
         ".Manager',member='UnitFilesChanged'",
         on_files_changed},
    };
    int r = 0;

    for (size_t i = 0; i < ELEMENTS(matches) && r >= 0; i++)
        r = sd_bus_add_match_async(b->bus, NULL, matches[i].match, matches[i].callback,
                                   on_match_installed, b);
    for (size_t i = 0; i < b->n_units && r >= 0; i++)
        r = unit_match(b->units[i]);
    return r;
}

static int bus_open(UnitBus *b, const char *address)
{
    int r = sd_bus_new(&b->bus);

    if (r < 0 || (r = sd_bus_set_address(b->bus, address)) < 0 ||
        (r = sd_bus_set_bus_client(b->bus, true)) < 0 ||
        (r = sd_bus_negotiate_fds(b->bus, false)) < 0 || (r = sd_bus_start(b->bus)) < 0 ||
        (r = sd_bus_attach_event(b->bus, b->event, SD_EVENT_PRIORITY_NORMAL)) < 0)
        return r;
    return matches_add(b);
}

/* Forgets the connection and everything that is out on it. */
static void bus_drop(UnitBus *b)
{
    for (size_t i = 0; i < b->n_units; i++) {
        Unit *u = b->units[i];
        u->match = sd_bus_slot_unref(u->match);
        u->call = sd_bus_slot_unref(u->call);
        u->queued = u->wants_details = u->wants_invocation = u->in_check = false;
        u->queue_next = NULL;
    }
    b->queue_first = b->queue_last = NULL;
    b->n_flight = b->n_slice = b->check_pending = 0;
    b->ping.slot = sd_bus_slot_unref(b->ping.slot);
    b->check.slot = sd_bus_slot_unref(b->check.slot);
    b->ready = b->has_pending = b->checking = b->check_again = b->resync = false;
    b->bus = sd_bus_close_unref(b->bus);
    sd_event_source_set_enabled(b->timer, SD_EVENT_OFF);
}

int unit_bus_connect(UnitBus *b, const char *address)
{
    bus_drop(b);
    int r = bus_open(b, address);
    if (r == -ENOMEM || r == -EINVAL) {
        bus_drop(b);
        return r;
    }
    if (r < 0) {
        fail_later(b, CAUSE_NO_BUS);
        return 0;
    }
    subscribe(b);
    check_start(b);
    return 0;
}

void unit_bus_disconnect(UnitBus *b, Cause cause)
{
    bus_drop(b);
    b->cause = cause;
    b->ops->state(b->userdata, b->scope, cause);
}

bool unit_bus_is_ready(const UnitBus *b)
{
    return b->ready;
}

Cause unit_bus_cause(const UnitBus *b)
{
    return b->cause;
}

sd_bus *unit_bus_get(UnitBus *b)
{
    return b->has_pending ? NULL : b->bus;
}

int unit_bus_new(sd_event *event, UnitScope scope, const UnitBusOps *ops, void *userdata,
                 UnitBus **ret)
{
    CLEANUP(unit_bus_freep) UnitBus *b = calloc(1, sizeof *b);

    if (!b)
        return -ENOMEM;
    b->event = sd_event_ref(event);
    b->scope = scope;
    b->ops = ops;
    b->userdata = userdata;
    b->cause = CAUSE_NOT_CHECKED_YET;
    int r = sd_event_add_time(event, &b->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, on_timer, b);
    if (r < 0 || (r = sd_event_source_set_enabled(b->timer, SD_EVENT_OFF)) < 0 ||
        (r = sd_event_source_set_priority(b->timer, SD_EVENT_PRIORITY_NORMAL + 10)) < 0)
        return r;
    sd_event_source_set_description(b->timer, "unit-bus");
    *ret = TAKE_PTR(b);
    return 0;
}

UnitBus *unit_bus_free(UnitBus *b)
{
    if (!b)
        return NULL;
    if (b->timer)
        bus_drop(b);
    for (size_t i = 0; i < b->n_units; i++) {
        for (UnitWatch *w = b->units[i]->watches, *next; w; w = next) {
            next = w->next;
            free(w);
        }
        unit_free(b->units[i]);
    }
    free(b->units);
    sd_event_source_disable_unref(b->timer);
    sd_event_unref(b->event);
    free(b);
    return NULL;
}

/* ---- watches ---- */

int unit_bus_watch(UnitBus *b, const char *unit, void *watch_userdata, UnitWatch **ret)
{
    CLEANUP_FREE UnitWatch *w = calloc(1, sizeof *w);

    if (!w)
        return -ENOMEM;
    if (!unit_is_askable(unit))
        return -EINVAL;
    int r = unit_get(b, unit, &w->unit);
    if (r < 0)
        return r;
    w->userdata = watch_userdata;
    w->next = w->unit->watches;
    w->unit->watches = w;
    if (w->next && b->ready) { /* tells this watch what the others know */
        w->unit->changed = true;
        unit_want(w->unit, true);
    }
    queue_pump(b);
    *ret = TAKE_PTR(w);
    return 0;
}

UnitWatch *unit_bus_unwatch(UnitBus *b, UnitWatch *w)
{
    if (!w)
        return NULL;
    UnitWatch **at = &w->unit->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (b->deliver_next == w)
        b->deliver_next = w->next;
    unit_unref(w->unit);
    free(w);
    return NULL;
}

const UnitFacts *unit_watch_facts(const UnitWatch *w)
{
    return &w->unit->facts;
}

const char *unit_watch_control_group(const UnitWatch *w)
{
    return w->unit->control_group ? w->unit->control_group : "";
}
