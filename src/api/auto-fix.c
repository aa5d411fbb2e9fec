/* When a service that is down is started by itself.
 *
 * What is remembered of a service hangs on it and exists only while there is something to remember:
 * of ten thousand services that are well, nothing. The times of the starts are a ring that is as
 * long as the largest budget.
 *
 * A service counts as down from the moment it is seen so with its PC answering; whatever interrupts
 * that (the PC is lost, systemd restarts it, maintenance begins) makes the wait begin anew. So a
 * service that systemd is about to restart (activating, auto-restart) is never ours, nor one that
 * is down only because its PC is still coming up.
 *
 * Why it does not simply try again when the window has passed: a service that three starts did not
 * mend needs a person, and one that is started for ever hides that. */
#include "api/auto-fix.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

struct AutoFixMemory {
    uint64_t bad_since_us;                /* mono; 0: it is not down */
    uint64_t starts[AUTO_FIX_BUDGET_MAX]; /* mono, oldest first */
    size_t n;
    bool gave_up;
    bool hands_off; /* until it has run again */
    char note[96];
};

struct AutoFix {
    Fleet *fleet;
    const AutoFixOps *ops;
    void *userdata;
    AutoFixLimits limits;
};

static struct AutoFixMemory *memory_of(Service *s)
{
    if (!s->fix)
        s->fix = calloc(1, sizeof *s->fix);
    return s->fix;
}

static void forget(AutoFix *x, Service *s)
{
    fleet_note(x->fleet, s, NULL);
    auto_fix_removed(s);
}

void auto_fix_removed(Service *s)
{
    s->note = NULL;
    free(s->fix);
    s->fix = NULL;
}

/* ---- the conditions ---- */

static bool pc_is_well(const AutoFix *x, const FleetPc *pc, Now now)
{
    const PcFacts *f = &pc->facts;
    uint64_t grace_us = x->limits.reboot_grace_s * USEC_PER_SEC;

    return f->known && f->reachable && f->cause == CAUSE_NONE &&
           f->scope_cause[SCOPE_USER] == CAUSE_NONE && !pc->maintenance &&
           (pc->rebooted_us == 0 || now.mono_us >= pc->rebooted_us + grace_us);
}

/* Down by its unit, and by nothing that a start cannot mend. */
static bool is_ours(const Service *s)
{
    const UnitFacts *u = &s->facts.unit;
    Actual actual = s->track.shown.actual;

    return s->want.unit && s->want.scope == SCOPE_USER && s->want.expected == EXPECTED_RUNNING &&
           !s->maintenance && (actual == ACTUAL_FAILED || actual == ACTUAL_INACTIVE) &&
           u->load == LOAD_LOADED && (u->active == ACTIVE_FAILED || u->active == ACTIVE_INACTIVE) &&
           !u->oneshot;
}

static void drop_old_starts(const AutoFix *x, struct AutoFixMemory *m, Now now)
{
    uint64_t window_us = x->limits.window_s * USEC_PER_SEC;
    size_t old = 0;

    while (old < m->n && m->starts[old] + window_us <= now.mono_us)
        old++;
    m->n -= old;
    memmove(m->starts, m->starts + old, m->n * sizeof *m->starts);
}

static void add_start(struct AutoFixMemory *m, uint64_t at_us)
{
    if (m->n == AUTO_FIX_BUDGET_MAX) {
        m->n--;
        memmove(m->starts, m->starts + 1, m->n * sizeof *m->starts);
    }
    m->starts[m->n++] = at_us;
}

/* ---- one service ---- */

static void give_up(AutoFix *x, Service *s, Now now)
{
    struct AutoFixMemory *m = s->fix;

    m->gave_up = true;
    snprintf(m->note, sizeof m->note, "auto_fix has stopped after %zu starts within %u s", m->n,
             x->limits.window_s);
    fleet_note(x->fleet, s, m->note);
    x->ops->gave_up(x->userdata, s, m->note, now);
}

static void mend(AutoFix *x, Service *s, Now now)
{
    struct AutoFixMemory *m = s->fix;

    if (m->n >= x->limits.budget) {
        give_up(x, s, now);
        return;
    }
    m->bad_since_us = now.mono_us; /* the next one not before another wait */
    if (x->ops->start(x->userdata, s, now))
        add_start(m, now.mono_us);
}

/* It runs: whatever was said of it is over, only the starts still count. */
static void is_well(AutoFix *x, Service *s)
{
    struct AutoFixMemory *m = s->fix;

    m->hands_off = m->gave_up = false;
    fleet_note(x->fleet, s, NULL);
    if (m->n == 0)
        forget(x, s);
}

static void scan_service(AutoFix *x, Service *s, bool pc_well, Now now)
{
    bool bad = x->limits.on && pc_well && is_ours(s);
    struct AutoFixMemory *m = bad ? memory_of(s) : s->fix;

    if (!m)
        return;
    drop_old_starts(x, m, now);
    if (!bad) {
        m->bad_since_us = 0;
        /* what a person has just asked to be stopped runs on for a moment */
        if (pc_well && s->track.shown.actual == ACTUAL_RUNNING && !x->ops->busy(x->userdata, s))
            is_well(x, s);
        return;
    }
    if (m->bad_since_us == 0)
        m->bad_since_us = now.mono_us;
    if (m->hands_off || m->gave_up || now.mono_us < m->bad_since_us + AUTO_FIX_WAIT_US ||
        x->ops->busy(x->userdata, s))
        return;
    mend(x, s, now);
}

void auto_fix_scan(AutoFix *x, Now now)
{
    for (size_t i = 0; i < fleet_n_pcs(x->fleet); i++) {
        const FleetPc *pc = fleet_pc_at(x->fleet, i);
        bool well = pc_is_well(x, pc, now);
        for (size_t k = 0; k < pc->n_services; k++)
            scan_service(x, pc->services[k], well, now);
    }
}

void auto_fix_stopped(AutoFix *x, Service *s)
{
    struct AutoFixMemory *m = memory_of(s);

    (void)x;
    if (m)
        m->hands_off = true;
}

void auto_fix_not_started(Service *s)
{
    if (s->fix && s->fix->n)
        s->fix->n--;
}

/* ---- life ---- */

static void recall_one(AutoFix *x, const StoreAudit *row, Now now)
{
    Service *s = fleet_service(x->fleet, row->app_id, row->pc_id);
    struct AutoFixMemory *m = s ? memory_of(s) : NULL;
    uint64_t ago_us =
        row->ts_ms < now.wall_ms ? (uint64_t)(now.wall_ms - row->ts_ms) * USEC_PER_MSEC : 0;

    if (!m)
        return;
    if (strcmp(row->outcome, "refused") == 0) { /* the row that says that it stopped */
        m->gave_up = strcmp(row->action, "") == 0;
        text_copy(m->note, sizeof m->note, row->reason);
        fleet_note(x->fleet, s, m->gave_up ? m->note : NULL);
        return;
    }
    m->gave_up = false;
    fleet_note(x->fleet, s, NULL);
    add_start(m, now.mono_us > ago_us ? now.mono_us - ago_us : 1);
}

static void recall_stop(AutoFix *x, const StoreAudit *row)
{
    Service *s = fleet_service(x->fleet, row->app_id, row->pc_id);

    if (s && strcmp(row->action, "stop") == 0 && strcmp(row->outcome, "done") == 0)
        auto_fix_stopped(x, s);
}

void auto_fix_recall(AutoFix *x, const StoreAudit *rows, size_t n, Now now)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].origin, "auto_fix") != 0)
            recall_stop(x, &rows[i]);
        else if (x->limits.on)
            recall_one(x, &rows[i], now);
}

/* Its own doings; what a person stopped is not its own. */
static void forget_starts(AutoFix *x, Service *s)
{
    bool hands_off = s->fix && s->fix->hands_off;

    forget(x, s);
    if (hands_off)
        auto_fix_stopped(x, s);
}

static void for_all(AutoFix *x, void (*what)(AutoFix *x, Service *s))
{
    for (size_t i = 0; i < fleet_n_pcs(x->fleet); i++) {
        const FleetPc *pc = fleet_pc_at(x->fleet, i);
        for (size_t k = 0; k < pc->n_services; k++)
            what(x, pc->services[k]);
    }
}

void auto_fix_configure(AutoFix *x, const AutoFixLimits *limits)
{
    if (x->limits.on && !limits->on)
        for_all(x, forget_starts);
    x->limits = *limits;
}

int auto_fix_new(Fleet *fleet, const AutoFixOps *ops, void *userdata, AutoFix **ret)
{
    AutoFix *x = calloc(1, sizeof *x);

    if (!x)
        return -ENOMEM;
    x->fleet = fleet;
    x->ops = ops;
    x->userdata = userdata;
    *ret = x;
    return 0;
}

AutoFix *auto_fix_free(AutoFix *x)
{
    if (x) {
        for_all(x, forget);
        free(x);
    }
    return NULL;
}
