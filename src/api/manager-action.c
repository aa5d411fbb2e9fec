/* The wiring of actions and auto_fix: what a wish needs of the other parts, and what an earlier
 * daemon left behind. The recall waits for the registry, because it is about its services. */
#include <string.h>

#include "api/manager-private.h"
#include "basic/log.h"
#include "basic/macro.h"

static sd_bus *bus_of(void *userdata, FleetPc *pc, UnitScope scope)
{
    Manager *m = userdata;

    return probe_bus(m->probe, pc, scope);
}

static ActionAsk fix_ask(const Service *s, ActionVerb verb)
{
    return (ActionAsk){
        .verb = verb,
        .origin = ORIGIN_AUTO_FIX,
        .role = "daemon",
        .uid = getuid(),
        .app_id = s->want.app_id,
        .pc_id = s->pc->pc_id,
    };
}

static bool fix_busy(void *userdata, const Service *s)
{
    Manager *m = userdata;

    return action_is_busy(m->actions, s);
}

static void fix_done(void *userdata, const ActionResult *result)
{
    Manager *m = userdata;
    Service *s = fleet_by_handle(m->fleet, result->handle);

    if (s && result->outcome == ACTION_REFUSED)
        auto_fix_not_started(s);
}

static bool fix_start(void *userdata, Service *s, Now now)
{
    Manager *m = userdata;
    ActionAsk ask = fix_ask(s, ACTION_START);
    ActionResult result;

    return action_ask(m->actions, &ask, s, fix_done, m, now, &result);
}

static void fix_gave_up(void *userdata, Service *s, const char *sentence, Now now)
{
    Manager *m = userdata;
    ActionAsk ask = fix_ask(s, ACTION_VERB_INVALID);

    action_refuse(m->actions, &ask, sentence, now);
    log_warning("%s/%s: %s; it needs a person now", s->pc->pc_id, s->want.app_id, sentence);
    sd_event_source_set_enabled(m->urgent, SD_EVENT_ONESHOT);
}

void manager_configure_actions(Manager *m)
{
    AutoFixLimits limits = {
        .on = m->config->auto_fix,
        .budget = m->config->auto_fix_budget,
        .window_s = m->config->auto_fix_window_s,
        .reboot_grace_s = m->config->reboot_grace_s,
    };

    auto_fix_configure(m->auto_fix, &limits);
}

int manager_make_actions(Manager *m)
{
    static const AutoFixOps ops = {.busy = fix_busy, .start = fix_start, .gave_up = fix_gave_up};
    int r = actions_new(m->fleet, m->store, bus_of, m, &m->actions);

    if (r >= 0)
        r = auto_fix_new(m->fleet, &ops, m, &m->auto_fix);
    if (r >= 0)
        manager_configure_actions(m);
    return r;
}

void manager_recall_actions(Manager *m)
{
    CLEANUP_FREE StoreAudit *rows = NULL;
    Now now = clock_now();
    int64_t window_ms = m->config->auto_fix_window_s * INT64_C(1000);
    size_t n = 0;

    if (store_recall_audits(m->options->db_path, now.wall_ms - window_ms, &rows, &n) < 0)
        return;
    actions_recall(m->actions, rows, n, now);
    auto_fix_recall(m->auto_fix, rows, n, now);
}
