/* The units of one bus: which there are, what is known of them, and the reading of one unit's
 * properties.
 *
 * Units are sorted by name and counted by reference: each watch holds one, each timer one of the
 * unit that it triggers, and whoever calls out with a unit at hand one for that time, because a
 * callback may drop the last watch. A Unit owns the two slots it may have at sd-bus, its match and
 * the one call that is out for it.
 *
 * What should be read of a unit is queued; at most UNIT_BUS_IN_FLIGHT_MAX reads are out, so that a
 * resync of thousands of units stays a trickle for the watched PC. A wish that comes while a read
 * is out is carried out after it. */
#include "api/probe-unit-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/probe-unit-props.h"
#include "basic/macro.h"
#include "common/name.h"

bool unit_is_askable(const char *name)
{
    return name_is_unit(name) && !strstr(name, "@.");
}

size_t unit_place(const UnitBus *b, const char *name, bool *ret_found)
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

void unit_check_done(Unit *u)
{
    if (!u->in_check)
        return;
    u->in_check = false;
    u->bus->check_pending--;
}

Unit *unit_free(Unit *u)
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

void unit_unref(Unit *u)
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

void unit_want(Unit *u, bool details)
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

int unit_match_installed(sd_bus_message *m UNUSED, void *userdata UNUSED, sd_bus_error *e UNUSED)
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
        unit_queue_pump(b);
        return 0;
    }
    unit_take(u, &next, &extras);
    /* A load state does not travel in signals, nor does the cgroup of a unit that had none before.
     */
    if (u->facts.load != LOAD_LOADED || (unit_runs(u) && !u->control_group))
        unit_want(u, true);
    if (strcmp(interface, MANAGER ".Unit") == 0)
        unit_tell(u, true);
    unit_queue_pump(b);
    return 0;
}

int unit_match(Unit *u)
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
                                  unit_match_installed, u);
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

int unit_get(UnitBus *b, const char *name, Unit **ret)
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
    Cause cause = unit_bus_error_cause(u->bus, m);

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
        unit_bus_answered(b);
    } else {
        unit_bus_check_fail(b, cause);
    }
    unit_queue_pump(b);
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
        unit_bus_answered(b);
    }
    if (u->wants_details)
        unit_want(u, true);
    unit_queue_pump(b);
    return 0;
}

static int unit_ask(Unit *u)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    bool details = u->wants_details;
    int r = unit_bus_call_new(u->bus, u->path, PROPERTIES, details ? "GetAll" : "Get", &m);

    if (r < 0)
        return r;
    u->wants_invocation = false;
    u->wants_details = false;
    r = details ? sd_bus_message_append(m, "s", "")
                : sd_bus_message_append(m, "ss", MANAGER ".Unit", "InvocationID");
    if (r < 0)
        return r;
    r = unit_bus_call_send(u->bus, m, details ? on_details : on_invocation, u, &u->call,
                           &u->asked_us);
    if (r < 0)
        return r;
    u->bus->flight[u->bus->n_flight++] = u;
    return 0;
}

void unit_queue_pump(UnitBus *b)
{
    while (b->bus && !b->has_pending && b->queue_first && b->n_flight < UNIT_BUS_IN_FLIGHT_MAX) {
        Unit *u = b->queue_first;
        queue_remove(b, u);
        if (unit_ask(u) < 0)
            unit_bus_fail_later(b, CAUSE_BUS_ERROR);
    }
}
