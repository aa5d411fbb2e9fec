/* auto_fix under a virtual clock: when it starts a service, when it keeps its hands off, and that
 * it stops at its budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/auto-fix.h"
#include "basic/macro.h"

#define WALL INT64_C(1700000000000)

typedef struct World {
    Fleet *fleet;
    AutoFix *fix;
    FleetPc *pc;
    Service *s;
    RegistryPc pcs[1];
    Registry registry;
    Want want;
    uint64_t now_s;
    unsigned starts, gave_up, rounds;
    char sentence[128];
    bool busy, start_fails;
    uint64_t start_s[200];
    unsigned heals_after; /* a start mends it from this one on; 0: none does */
    unsigned runs_for_s;  /* else it is down again after so long */
    uint64_t dies_s;
} World;

static Now now_of(const World *w)
{
    return (Now){.mono_us = w->now_s * USEC_PER_SEC, .wall_ms = WALL + (int64_t)w->now_s * 1000};
}

static void set_state(World *w, Actual actual, ActiveState active)
{
    w->s->track.shown.actual = actual;
    w->s->track.shown.light = actual == ACTUAL_RUNNING ? LIGHT_OK : LIGHT_DOWN;
    w->s->track.shown.cause = actual == ACTUAL_FAILED ? CAUSE_EXIT_CODE : CAUSE_NONE;
    w->s->facts.unit.active = active;
}

static bool on_busy(void *userdata, const Service *s)
{
    World *w = userdata;

    assert_ptr_equal(s, w->s);
    return w->busy;
}

static bool on_start(void *userdata, Service *s, Now now)
{
    World *w = userdata;

    assert_ptr_equal(s, w->s);
    assert_int_equal(now.mono_us, now_of(w).mono_us);
    if (w->start_fails)
        return false;
    w->start_s[w->starts++] = w->now_s;
    if (w->heals_after && w->starts >= w->heals_after) {
        set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    } else if (w->runs_for_s) {
        set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
        w->dies_s = w->now_s + w->runs_for_s;
    }
    return true;
}

static void on_gave_up(void *userdata, Service *s, const char *sentence, Now now UNUSED)
{
    World *w = userdata;

    assert_ptr_equal(s, w->s);
    w->gave_up++;
    snprintf(w->sentence, sizeof w->sentence, "%s", sentence);
}

static void no_transition(void *userdata UNUSED, FleetPc *pc UNUSED, Service *s UNUSED,
                          const TransitionRow *row UNUSED, const Change *change UNUSED)
{
}

static void no_check(void *userdata UNUSED, Service *s UNUSED, int64_t ts_ms UNUSED)
{
}

static void no_hour(void *userdata UNUSED, Service *s UNUSED, int64_t hour_ms UNUSED,
                    uint32_t healthy_ms UNUSED, uint32_t observed_ms UNUSED, uint32_t n UNUSED)
{
}

static void no_news(void *userdata UNUSED)
{
}

static void no_fleet_change(void *userdata UNUSED, FleetPc *pc UNUSED, Service *s UNUSED)
{
}

static const FleetOps fleet_ops = {
    .transition = no_transition,
    .check = no_check,
    .hour = no_hour,
    .changed = no_news,
    .removed = no_fleet_change,
    .added = no_fleet_change,
};
static const AutoFixOps fix_ops = {.busy = on_busy, .start = on_start, .gave_up = on_gave_up};
static const AutoFixLimits limits = {
    .on = true, .budget = 3, .window_s = 600, .reboot_grace_s = 120};

static void world_fleet(World *w)
{
    static char pc_id[] = "pc-a";

    w->pcs[0].pc_id = pc_id;
    w->registry = (Registry){.pcs = w->pcs, .n_pcs = 1};
    w->want = (Want){
        .app_id = "app", .pc_id = pc_id, .unit = "a.service", .port = 80, .timeout_ms = 2000};
    w->now_s = 10000;
    assert_int_equal(fleet_new(&fleet_ops, w, 10000, WALL / 1000, &w->fleet), 0);
    assert_int_equal(fleet_apply(w->fleet, &w->registry, NULL, &w->want, 1, now_of(w)), 0);
    w->pc = fleet_pc_at(w->fleet, 0);
    w->s = w->pc->services[0];
    w->pc->facts = (PcFacts){.known = true, .reachable = true};
    w->s->facts.unit = (UnitFacts){.load = LOAD_LOADED, .kind = KIND_SERVICE, .has_details = true};
}

static int setup(void **state)
{
    World *w = calloc(1, sizeof *w);

    assert_non_null(w);
    world_fleet(w);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    assert_int_equal(auto_fix_new(w->fleet, &fix_ops, w, &w->fix), 0);
    auto_fix_configure(w->fix, &limits);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    World *w = *state;

    auto_fix_free(w->fix);
    fleet_free(w->fleet);
    free(w);
    return 0;
}

static void pass(World *w, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        w->now_s++;
        if (w->dies_s && w->now_s >= w->dies_s) {
            w->dies_s = 0;
            set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
        }
        auto_fix_scan(w->fix, now_of(w));
    }
}

static void test_one_start_mends(void **state)
{
    World *w = *state;

    w->heals_after = 1;
    pass(w, 20);
    assert_int_equal(w->starts, 0);
    assert_null(w->s->fix); /* nothing is remembered of what is well */
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 5);
    assert_int_equal(w->starts, 0); /* it waits */
    pass(w, 1);
    assert_int_equal(w->starts, 1);
    pass(w, 2000);
    assert_int_equal(w->starts, 1);
    assert_int_equal(w->gave_up, 0);
    assert_null(w->s->fix);
    set_state(w, ACTUAL_INACTIVE, ACTIVE_INACTIVE);
    pass(w, 10);
    assert_int_equal(w->starts, 2);
}

/* What is dead on arrival, and what dies again a while later: three starts, then it says so once.
 */
static void test_budget(void **state)
{
    static const unsigned lives[] = {0, 1, 30, 100};
    World *w = *state;

    for (size_t i = 0; i < ELEMENTS(lives); i++) {
        w->starts = w->gave_up = 0;
        w->runs_for_s = lives[i];
        set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
        pass(w, 590);
        assert_int_equal(w->starts, 3);
        for (unsigned k = 1; k < w->starts; k++)
            assert_true(w->start_s[k] >= w->start_s[k - 1] + MAX(5U, lives[i] + 1));
        assert_int_equal(w->gave_up, 1);
        assert_string_equal(w->sentence, "auto_fix has stopped after 3 starts within 600 s");
        ServiceRow row;
        fleet_service_row(w->fleet, w->s, now_of(w), &row);
        assert_non_null(strstr(row.sentence, "; auto_fix has stopped after 3 starts within 600 s"));
        pass(w, 3000); /* a window that has passed is no reason to begin anew */
        assert_int_equal(w->starts, 3);
        assert_int_equal(w->gave_up, 1);
        set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE); /* a person has mended it */
        pass(w, 1);
        fleet_service_row(w->fleet, w->s, now_of(w), &row);
        assert_null(strstr(row.sentence, "auto_fix"));
        assert_null(w->s->fix);
    }
}

/* Mended by a person right after it gave up, and dead again: the window still counts. */
static void test_budget_outlives_a_short_life(void **state)
{
    World *w = *state;

    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 60);
    assert_int_equal(w->gave_up, 1);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 1);
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 60);
    assert_int_equal(w->starts, 3);
    assert_int_equal(w->gave_up, 2);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 600);
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 10);
    assert_int_equal(w->starts, 4);
}

/* Each of these alone keeps its hands off for as long as it lasts, and the wait begins anew. */
static void test_hands_off(void **state)
{
    World *w = *state;
    Service *s = w->s;
    PcFacts well = w->pc->facts;
    unsigned cases = 0;

#define NEVER(hinder, undo)                          \
    do {                                             \
        w->starts = 0;                               \
        set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);  \
        hinder;                                      \
        pass(w, 50);                                 \
        assert_int_equal(w->starts, 0);              \
        undo;                                        \
        set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE); \
        pass(w, 2);                                  \
        cases++;                                     \
    } while (false)

    NEVER(s->want.expected = EXPECTED_STOPPED, s->want.expected = EXPECTED_RUNNING);
    NEVER(s->want.scope = SCOPE_SYSTEM, s->want.scope = SCOPE_USER);
    NEVER(s->maintenance = 7, s->maintenance = 0);
    NEVER(w->pc->maintenance = 7, w->pc->maintenance = 0);
    NEVER(w->pc->facts.reachable = false, w->pc->facts = well);
    NEVER(w->pc->facts.known = false, w->pc->facts = well);
    NEVER(w->pc->facts.cause = CAUSE_FORWARD_REFUSED, w->pc->facts = well);
    NEVER(w->pc->facts.scope_cause[SCOPE_USER] = CAUSE_NO_USER_MANAGER, w->pc->facts = well);
    NEVER(w->pc->rebooted_us = now_of(w).mono_us, w->pc->rebooted_us = 0);
    NEVER(s->facts.unit.load = LOAD_MASKED, s->facts.unit.load = LOAD_LOADED);
    NEVER(s->facts.unit.load = LOAD_BAD_SETTING, s->facts.unit.load = LOAD_LOADED);
    NEVER(s->facts.unit.oneshot = true, s->facts.unit.oneshot = false);
    NEVER(w->busy = true, w->busy = false);
    /* systemd is about to restart it by itself, or at it */
    NEVER(set_state(w, ACTUAL_FAILED, ACTIVE_ACTIVATING), (void)0);
    NEVER(set_state(w, ACTUAL_STARTING, ACTIVE_ACTIVATING), (void)0);
    NEVER(set_state(w, ACTUAL_STOPPING, ACTIVE_DEACTIVATING), (void)0);
    /* not by its unit */
    NEVER(set_state(w, ACTUAL_DEGRADED, ACTIVE_ACTIVE), (void)0);
    NEVER(set_state(w, ACTUAL_MISSING, ACTIVE_INACTIVE), (void)0);
    NEVER(set_state(w, ACTUAL_UNREACHABLE, ACTIVE_FAILED), (void)0);
    NEVER(set_state(w, ACTUAL_UNKNOWN, ACTIVE_FAILED), (void)0);
    NEVER(set_state(w, ACTUAL_FINISHED, ACTIVE_INACTIVE), (void)0);
    /* a person wants it so, until it has run again */
    NEVER(auto_fix_stopped(w->fix, s), (void)0);
    assert_int_equal(cases, 22);
    /* and it does run on, from the wish to the end of systemd's job */
    w->busy = true;
    auto_fix_stopped(w->fix, s);
    pass(w, 5);
    w->busy = false;
    set_state(w, ACTUAL_INACTIVE, ACTIVE_INACTIVE);
    pass(w, 50);
    assert_int_equal(w->starts, 0);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 2);
    assert_int_equal(w->gave_up, 0);
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 10);
    assert_int_equal(w->starts, 1);
}

static void test_interrupted_wait_begins_anew(void **state)
{
    World *w = *state;

    for (int i = 0; i < 20; i++) {
        set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
        pass(w, 4);
        set_state(w, ACTUAL_STARTING, ACTIVE_ACTIVATING);
        pass(w, 1);
    }
    assert_int_equal(w->starts, 0);
}

/* What could not even be asked for costs no budget. */
static void test_refused_start_is_none(void **state)
{
    World *w = *state;

    w->start_fails = true;
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 300);
    assert_int_equal(w->gave_up, 0);
    w->start_fails = false;
    /* nor what was asked for and then not done, because the disk is full */
    for (unsigned i = 0, asked; i < 300; i++) {
        asked = w->starts;
        pass(w, 1);
        if (w->starts > asked)
            auto_fix_not_started(w->s);
    }
    assert_true(w->starts > 3);
    assert_int_equal(w->gave_up, 0);
    w->starts = 0;
    w->heals_after = 1;
    pass(w, 10);
    assert_int_equal(w->starts, 1);
}

static void test_off(void **state)
{
    World *w = *state;
    AutoFixLimits off = limits;

    off.on = false;
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 60);
    assert_int_equal(w->gave_up, 1);
    auto_fix_configure(w->fix, &off);
    assert_null(w->s->note);
    assert_null(w->s->fix);
    w->starts = 0;
    auto_fix_stopped(w->fix, w->s);
    pass(w, 60);
    assert_int_equal(w->starts, 0);
    auto_fix_configure(w->fix, &limits);
    pass(w, 60);
    assert_int_equal(w->starts, 0); /* a person stopped it while it was off */
    auto_fix_configure(w->fix, &off);
    auto_fix_configure(w->fix, &limits);
    pass(w, 60);
    assert_int_equal(w->starts, 0);
    auto_fix_configure(w->fix, &off);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 1);
    assert_null(w->s->fix);
    auto_fix_configure(w->fix, &limits);
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 60);
    assert_int_equal(w->starts, 3);
}

static StoreAudit row_of(const World *w, const char *outcome, const char *action, int64_t ago_s)
{
    StoreAudit row = {.id = 1,
                      .ts_ms = now_of(w).wall_ms - ago_s * 1000,
                      .origin = "auto_fix",
                      .app_id = "app",
                      .pc_id = "pc-a"};

    snprintf(row.outcome, sizeof row.outcome, "%s", outcome);
    snprintf(row.action, sizeof row.action, "%s", action);
    snprintf(row.reason, sizeof row.reason, "auto_fix has stopped");
    return row;
}

/* A daemon that is restarted again and again gets no new budget each time. */
static void test_recall(void **state)
{
    World *w = *state;
    StoreAudit rows[] = {row_of(w, "done", "start", 500), row_of(w, "failed", "start", 300),
                         row_of(w, "done", "start", 100), row_of(w, "done", "restart", 50)};

    snprintf(rows[3].origin, sizeof rows[3].origin, "cli"); /* a person's is none of it */
    auto_fix_recall(w->fix, rows, 2, now_of(w));
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 30);
    assert_int_equal(w->starts, 1);
    assert_int_equal(w->gave_up, 1);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 700);
    assert_null(w->s->fix);

    /* that it has given up is remembered too */
    StoreAudit over[] = {row_of(w, "done", "start", 60), row_of(w, "refused", "", 40)};
    auto_fix_recall(w->fix, over, 2, now_of(w));
    assert_string_equal(w->s->note, "auto_fix has stopped");
    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 100);
    assert_int_equal(w->starts, 1);
    assert_int_equal(w->gave_up, 1);
    /* and a stop by a person, until it has run again */
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 700);
    StoreAudit stop = row_of(w, "done", "stop", 90000);
    snprintf(stop.origin, sizeof stop.origin, "desktop");
    auto_fix_recall(w->fix, &stop, 1, now_of(w));
    set_state(w, ACTUAL_INACTIVE, ACTIVE_INACTIVE);
    pass(w, 100);
    assert_int_equal(w->starts, 1);
    set_state(w, ACTUAL_RUNNING, ACTIVE_ACTIVE);
    pass(w, 1);
    set_state(w, ACTUAL_INACTIVE, ACTIVE_INACTIVE);
    pass(w, 10);
    assert_int_equal(w->starts, 2);
    /* of an app that is gone, or from the future */
    StoreAudit odd[] = {row_of(w, "done", "start", 60), row_of(w, "done", "start", -90000)};
    snprintf(odd[0].app_id, sizeof odd[0].app_id, "gone");
    auto_fix_recall(w->fix, odd, 2, now_of(w));
}

static void test_removed(void **state)
{
    World *w = *state;

    set_state(w, ACTUAL_FAILED, ACTIVE_FAILED);
    pass(w, 60);
    assert_non_null(w->s->fix);
    auto_fix_removed(w->s);
    assert_null(w->s->fix);
    assert_null(w->s->note);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_one_start_mends),
        IN_WORLD(test_budget),
        IN_WORLD(test_budget_outlives_a_short_life),
        IN_WORLD(test_hands_off),
        IN_WORLD(test_interrupted_wait_begins_anew),
        IN_WORLD(test_refused_start_is_none),
        IN_WORLD(test_off),
        IN_WORLD(test_recall),
        IN_WORLD(test_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
