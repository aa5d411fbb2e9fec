/* Unit facts by command, for a PC whose sshd lets nobody through to its buses.
 *
 * A round asks for the units of one scope in slices; the facts are the same as those from the bus,
 * only later and without the events between two rounds. Services may come and go while an answer is
 * out: they are known by handle, never by place. */
#include "api/probe-private.h"

#include <errno.h>

#include "basic/macro.h"

static void on_units(void *userdata, int error, const UnitFacts *facts, size_t n);

/* Asks for the next units. 0: there is none left. */
static int poll_next(ProbePc *p, UnitScope scope)
{
    ProbePoll *q = &p->polls[scope];
    const char *units[TRANSPORT_UNITS_MAX];

    q->n = 0;
    for (; q->at < p->pc->n_services && q->n < TRANSPORT_UNITS_MAX; q->at++) {
        const Service *s = p->pc->services[q->at];
        if (!s->want.unit || s->want.scope != scope)
            continue;
        units[q->n] = s->want.unit;
        q->handles[q->n++] = s->handle;
    }
    if (q->n == 0)
        return 0;
    int r = p->transport->ops->poll_units(p->transport, scope, units, q->n, on_units, q);
    q->is_out = r >= 0;
    return r < 0 ? r : 1;
}

static void poll_ended(ProbePc *p, UnitScope scope)
{
    Now now = clock_now();

    if (scope == SCOPE_USER)
        fleet_pc_checked(p->probe->fleet, p->pc, (int32_t)(now.mono_us - p->polls[scope].began_us),
                         now);
}

static void on_units(void *userdata, int error, const UnitFacts *facts, size_t n)
{
    ProbePoll *q = userdata;
    ProbePc *p = q->owner;
    Cause failed = q->scope == SCOPE_USER ? CAUSE_NO_USER_MANAGER : CAUSE_BUS_ERROR;

    q->is_out = false;
    if (error == -ENOTCONN || p->transport_cause != CAUSE_NONE)
        return;
    p->buses[q->scope].cause = error < 0 ? failed : CAUSE_NONE;
    probe_tell_fleet(p);
    for (size_t i = 0; error >= 0 && i < MIN(n, q->n); i++) {
        Service *s = fleet_by_handle(p->probe->fleet, q->handles[i]);
        if (s && s->pc == p->pc && facts[i].has_details)
            fleet_unit(p->probe->fleet, s, &facts[i], false, clock_now());
    }
    if (error >= 0 && poll_next(p, q->scope) == 0)
        poll_ended(p, q->scope);
}

void probe_poll_start(ProbePc *p, UnitScope scope)
{
    ProbePoll *q = &p->polls[scope];

    if (q->is_out)
        return;
    q->owner = p;
    q->scope = scope;
    q->at = 0;
    q->began_us = clock_now().mono_us;
    if (poll_next(p, scope) != 0)
        return;
    p->buses[scope].cause = CAUSE_NONE; /* nothing is asked of it */
    probe_tell_fleet(p);
    poll_ended(p, scope);
}
