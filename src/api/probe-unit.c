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
 * A slice of names is answered row by row in the order asked, under the name a unit really
 * has: rows are matched by position, and a unit known by an alias gets its match on the path of the
 * row.
 */
#include "api/probe-unit.h"

#include <errno.h>
#include <string.h>

#include "api/probe-unit-private.h"
#include "api/probe-unit-props.h"
#include "basic/macro.h"
#include "basic/text.h"

#define TIMER_ACCURACY_US 50000

DEFINE_CLEANUP(UnitBus, unit_bus_free);

static uint64_t mono(const UnitBus *b)
{
    uint64_t us = 0;

    sd_event_now(b->event, CLOCK_MONOTONIC, &us);
    return us;
}

/* ---- state and deadlines ---- */

void unit_bus_set_cause(UnitBus *b, Cause cause)
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
void unit_bus_fail_later(UnitBus *b, Cause cause)
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
        unit_bus_set_cause(b, CAUSE_BUS_SILENT);
    } else {
        timer_arm(b, oldest + UNIT_BUS_CALL_TIMEOUT_US);
    }
    return 0;
}

/* What an error reply means for the whole bus; CAUSE_NONE: the connection is going down and says so
 * itself. */
Cause unit_bus_error_cause(const UnitBus *b, sd_bus_message *m)
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

int unit_bus_call_new(UnitBus *b, const char *path, const char *interface, const char *member,
                      sd_bus_message **ret)
{
    int r = sd_bus_message_new_method_call(b->bus, ret, MANAGER, path, interface, member);

    return r < 0 ? r : sd_bus_message_set_auto_start(*ret, false);
}

int unit_bus_call_send(UnitBus *b, sd_bus_message *m, sd_bus_message_handler_t callback,
                       void *userdata, sd_bus_slot **ret_slot, uint64_t *ret_asked_us)
{
    int r = sd_bus_call_async(b->bus, ret_slot, m, callback, userdata, UINT64_MAX);

    if (r < 0)
        return r;
    *ret_asked_us = mono(b);
    timer_want(b);
    return 0;
}

/* ---- the level check ---- */

static void check_start(UnitBus *b);

void unit_bus_check_settle(UnitBus *b)
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
void unit_bus_answered(UnitBus *b)
{
    b->answered_us = clock_now().mono_us;
    unit_bus_check_settle(b);
    if (b->bus && sd_bus_is_open(b->bus) > 0 && !b->ready && !b->checking)
        check_start(b);
}

static int on_rows(sd_bus_message *m, void *userdata, sd_bus_error *e);

/* Asks for the next slice behind `after` (NULL: the first). 0: nothing was left to ask; 1: it is
 * out. */
static int slice_send(UnitBus *b, const char *after)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    bool found = false;
    size_t at = after ? unit_place(b, after, &found) : 0;
    int r = unit_bus_call_new(b, MANAGER_PATH, MANAGER ".Manager", "ListUnitsByNames", &m);

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
    r = unit_bus_call_send(b, m, on_rows, b, &b->check.slot, &b->check.asked_us);
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

void unit_bus_check_fail(UnitBus *b, Cause cause)
{
    b->checking = false;
    b->check_again = false;
    for (size_t i = 0; i < b->n_units; i++)
        unit_check_done(b->units[i]);
    if (cause != CAUSE_NONE)
        unit_bus_set_cause(b, cause);
}

/* The rows of all units are in. */
static void rows_finish(UnitBus *b)
{
    b->rows_done = true;
    b->resync = false;
    unit_bus_set_cause(b, CAUSE_NONE);
    unit_bus_check_settle(b);
    unit_queue_pump(b);
}

static int on_rows(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    UnitBus *b = userdata;
    char last[UNIT_MAX + 1] = "";

    b->check.slot = sd_bus_slot_unref(b->check.slot);
    b->check_lag_us = MAX(b->check_lag_us, (int32_t)(mono(b) - b->check.asked_us));
    if (sd_bus_message_is_method_error(m, NULL)) {
        unit_bus_check_fail(b, unit_bus_error_cause(b, m));
        return 0;
    }
    if (rows_apply(b, m) < 0) {
        unit_bus_check_fail(b, CAUSE_BUS_ERROR);
        return 0;
    }
    for (size_t i = b->n_slice; i > 0 && !*last; i--)
        if (b->slice[i - 1])
            text_copy(last, sizeof last, b->slice[i - 1]->name);
    int r = *last ? slice_send(b, last) : 0;
    if (r < 0)
        unit_bus_fail_later(b, CAUSE_BUS_ERROR);
    else if (r == 0)
        rows_finish(b);
    else
        unit_queue_pump(b);
    return 0;
}

static void check_start(UnitBus *b)
{
    b->check_again = false;
    b->checking = true;
    b->rows_done = false;
    b->check_lag_us = 0;
    if (slice_send(b, NULL) < 0)
        unit_bus_fail_later(b, CAUSE_BUS_ERROR);
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
    unit_queue_pump(b);
}

void unit_bus_check(UnitBus *b, Now now)
{
    if (!b->bus || b->has_pending)
        return;
    recheck_some(b, now.mono_us);
    unit_bus_check_settle(b); /* the last unit it waited for may have been unwatched */
    if (b->bus && !b->checking)
        check_start(b);
}

static int on_pong(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    UnitBus *b = userdata;

    b->ping.slot = sd_bus_slot_unref(b->ping.slot);
    if (sd_bus_message_is_method_error(m, NULL)) {
        Cause cause = unit_bus_error_cause(b, m);
        if (cause != CAUSE_NONE)
            unit_bus_set_cause(b, cause);
    } else {
        unit_bus_answered(b);
    }
    return 0;
}

void unit_bus_ping(UnitBus *b, Now now)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    if (!b->bus || b->has_pending || b->ping.slot)
        return;
    recheck_some(b, now.mono_us);
    if (unit_bus_call_new(b, MANAGER_PATH, PROPERTIES, "Get", &m) < 0 ||
        sd_bus_message_append(m, "ss", MANAGER ".Manager", "NFailedUnits") < 0 ||
        unit_bus_call_send(b, m, on_pong, b, &b->ping.slot, &b->ping.asked_us) < 0)
        unit_bus_fail_later(b, CAUSE_BUS_ERROR);
}

/* ---- the connection ---- */

static void subscribe(UnitBus *b)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    if (unit_bus_call_new(b, MANAGER_PATH, MANAGER ".Manager", "Subscribe", &m) < 0 ||
        sd_bus_message_set_expect_reply(m, false) < 0 || sd_bus_send(b->bus, m, NULL) < 0)
        unit_bus_fail_later(b, CAUSE_BUS_ERROR);
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
        unit_bus_set_cause(b, CAUSE_NO_USER_MANAGER);
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
                                   unit_match_installed, b);
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
        unit_bus_fail_later(b, CAUSE_NO_BUS);
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

uint64_t unit_bus_answered_us(const UnitBus *b)
{
    return b ? b->answered_us : UINT64_MAX;
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
    unit_queue_pump(b);
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
