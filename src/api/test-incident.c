/* Incidents: one cause, one alert; pending, open, damped, frozen, absorbed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/incident.h"
#include "basic/macro.h"

#define S    USEC_PER_SEC
#define WALL INT64_C(1700000000000)

typedef struct Setup {
    Fleet *fleet;
    Incidents *incidents;
    uint64_t us;
    unsigned told[INCIDENT_STATE_MAX][INCIDENT_KIND_MAX]; /* entries into a state */
    int64_t last_id;
    IncidentState last_state;
    char sentence[SENTENCE_MAX];
} Setup;

static void no_transition(void *u, FleetPc *pc, Service *s, const TransitionRow *row,
                          const Change *c)
{
    (void)u, (void)pc, (void)s, (void)row, (void)c;
}

static void no_check(void *u, Service *s, int64_t ts)
{
    (void)u, (void)s, (void)ts;
}

static void no_hour(void *u, Service *s, int64_t hour, uint32_t a, uint32_t b, uint32_t c)
{
    (void)u, (void)s, (void)hour, (void)a, (void)b, (void)c;
}

static void no_change(void *u)
{
    (void)u;
}

static void no_thing(void *u, FleetPc *pc, Service *s)
{
    (void)u, (void)pc, (void)s;
}

static void on_incident(void *userdata, const Incident *i)
{
    Setup *t = userdata;

    if (i->id != t->last_id || i->state != t->last_state)
        t->told[i->state][i->kind]++;
    t->last_id = i->id;
    t->last_state = i->state;
    memcpy(t->sentence, i->sentence, sizeof t->sentence);
}

static Now now(const Setup *t)
{
    return (Now){.mono_us = 1000 * S + t->us, .wall_ms = WALL + (int64_t)(t->us / 1000)};
}

static RegistryPc pcs[] = {
    {.pc_id = (char *)"here"}, {.pc_id = (char *)"pc-b"}, {.pc_id = (char *)"pc-c"}};
static const Want wants[] = {
    {.app_id = "a", .pc_id = "pc-b", .unit = "a.service", .timeout_ms = 2000},
    {.app_id = "b", .pc_id = "pc-b", .unit = "b.service", .timeout_ms = 2000},
    {.app_id = "stopped",
     .pc_id = "pc-b",
     .unit = "s.service",
     .expected = EXPECTED_STOPPED,
     .timeout_ms = 2000},
    {.app_id = "a", .pc_id = "pc-c", .unit = "a.service", .timeout_ms = 2000},
};

static void apply(Setup *t, size_t n)
{
    Registry r = {.pcs = pcs, .n_pcs = ELEMENTS(pcs)};

    assert_int_equal(fleet_apply(t->fleet, &r, &pcs[0], wants, n, now(t)), 0);
}

static void unit_is(Setup *t, const char *app, const char *pc, ActiveState active)
{
    UnitFacts u = {.load = LOAD_LOADED,
                   .active = active,
                   .kind = KIND_SERVICE,
                   .has_details = true,
                   .invocation = {1},
                   .active_enter_ms = WALL - 3600000,
                   .result = "exit-code",
                   .exec_status = 3};

    fleet_unit(t->fleet, fleet_service(t->fleet, app, pc), &u, true, now(t));
}

static void pc_is(Setup *t, const char *pc, bool reachable, Cause cause)
{
    PcFacts facts = {
        .known = true, .reachable = reachable, .cause = reachable ? CAUSE_NONE : cause};

    if (reachable)
        facts.scope_cause[SCOPE_USER] = cause;
    fleet_pc_answer(t->fleet, fleet_pc(t->fleet, pc), &facts, now(t));
}

static Setup *setup_new(uint32_t alert_after_s)
{
    static const FleetOps ops = {no_transition, no_check, no_hour, no_change, no_thing, no_thing};
    Setup *t = calloc(1, sizeof *t);

    assert_non_null(t);
    assert_int_equal(fleet_new(&ops, t, 10000, WALL / 1000, &t->fleet), 0);
    assert_int_equal(incidents_new(t->fleet, alert_after_s, 120, on_incident, t, &t->incidents), 0);
    apply(t, ELEMENTS(wants));
    for (size_t i = 0; i < ELEMENTS(pcs); i++)
        pc_is(t, pcs[i].pc_id, true, CAUSE_NONE);
    for (size_t i = 0; i < ELEMENTS(wants); i++)
        unit_is(t, wants[i].app_id, wants[i].pc_id, ACTIVE_ACTIVE);
    return t;
}

static void setup_free(Setup *t)
{
    incidents_free(t->incidents);
    fleet_free(t->fleet);
    free(t);
}

static void pass(Setup *t, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        t->us += S;
        incidents_scan(t->incidents, now(t));
    }
}

static unsigned listed(const Setup *t)
{
    unsigned n = 0;

    for (const Incident *i = incidents_first(t->incidents); i; i = i->next)
        n++;
    return n;
}

static void test_pending_open_closed(void **state)
{
    Setup *t = setup_new(300);

    (void)state;
    pass(t, 5);
    assert_int_equal(listed(t), 0);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 1);
    assert_int_equal(t->told[INCIDENT_PENDING][INCIDENT_SERVICE], 1);
    assert_string_equal(t->sentence, "exit code 3");
    pass(t, 299);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0);
    pass(t, 2);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1);
    pass(t, 600);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 29);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 0);
    pass(t, 3);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 1);
    assert_int_equal(listed(t), 0);
    setup_free(t);
}

static void test_short_trouble_tells_nobody(void **state)
{
    Setup *t = setup_new(300);

    (void)state;
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 100);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->told[INCIDENT_DROPPED][INCIDENT_SERVICE], 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0);
    unit_is(t, "stopped", "pc-b", ACTIVE_FAILED); /* expected stopped never alerts */
    pass(t, 400);
    assert_int_equal(listed(t), 0);
    setup_free(t);
}

static void test_flapping_is_one_alert(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    for (int i = 0; i < 300; i++) { /* R7: each 2 s for 10 min */
        unit_is(t, "a", "pc-b", i & 1 ? ACTIVE_ACTIVE : ACTIVE_FAILED);
        pass(t, 2);
    }
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 0);
    pass(t, 40);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 1);
    setup_free(t);
}

static void test_unreachable_pc_is_one_alert(void **state)
{
    Setup *t = setup_new(60);
    Buffer b = BUFFER_INIT(8192);

    (void)state;
    unit_is(t, "b", "pc-b", ACTIVE_FAILED);
    pass(t, 10);
    pc_is(t, "pc-b", false, CAUSE_HOST_TIMEOUT);
    pass(t, 200);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0); /* b cannot be seen: it waits */
    const Incident *i = incidents_first(t->incidents);
    while (i->kind != INCIDENT_PC)
        i = i->next;
    incident_write(&b, t->incidents, i);
    assert_non_null(strstr(buffer_cstr(&b), "\"behind\":[[\"a\",\"pc-b\"],[\"b\",\"pc-b\"]]"));
    assert_non_null(strstr(buffer_cstr(&b), "\"cause\":\"host-timeout\""));
    buffer_done(&b);
    pc_is(t, "pc-b", true, CAUSE_NONE);
    pass(t, 40);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_PC], 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0); /* within the grace */
    pass(t, 100);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1); /* b is still down */
    setup_free(t);
}

static void test_missing_user_manager_is_one_alert(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    pc_is(t, "pc-b", true, CAUSE_NO_USER_MANAGER);
    pass(t, 70);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 1);
    assert_non_null(strstr(t->sentence, "none of its 3 user services"));
    assert_int_equal(listed(t), 1);
    setup_free(t);
}

static void test_all_pcs_lost_is_one_alert(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    pc_is(t, "pc-b", false, CAUSE_HOST_TIMEOUT);
    pc_is(t, "pc-c", false, CAUSE_HOST_TIMEOUT);
    pass(t, 300);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_ALL_PCS], 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 0);
    pc_is(t, "pc-b", true, CAUSE_NONE); /* one is back: the other's own incident begins to count */
    pass(t, 31);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_ALL_PCS], 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 0);
    pass(t, 40);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 1);
    setup_free(t);
}

static void test_sleepers_never_alert(void **state)
{
    pcs[1].may_sleep = true;
    Setup *t = setup_new(0);

    (void)state;
    pc_is(t, "pc-b", false, CAUSE_HOST_TIMEOUT);
    pass(t, 600);
    assert_int_equal(listed(t), 0);
    pcs[1].may_sleep = false;
    setup_free(t);
}

static void test_restart_goes_on_with_the_same_incident(void **state)
{
    Setup *t = setup_new(60);
    Incident stored = {.id = 4711,
                       .kind = INCIDENT_SERVICE,
                       .state = INCIDENT_OPEN,
                       .app_id = "a",
                       .pc_id = "pc-b",
                       .began_ms = WALL - 100000,
                       .opened_ms = WALL - 50000,
                       .cause = CAUSE_EXIT_CODE,
                       .sentence = "exit code 3"};

    (void)state;
    assert_int_equal(incidents_recall(t->incidents, &stored), 0);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 100);
    assert_int_equal(listed(t), 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0); /* nobody is told twice */
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 1);
    assert_int_equal(t->last_id, 4711);
    setup_free(t);
}

static void test_what_leaves_the_registry_ends(void **state)
{
    Setup *t = setup_new(0);

    (void)state;
    unit_is(t, "a", "pc-c", ACTIVE_FAILED);
    pass(t, 2);
    assert_int_equal(listed(t), 1);
    apply(t, 3);
    pass(t, 1);
    assert_int_equal(listed(t), 0);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 1);
    setup_free(t);
}

static void test_reboot_is_one_event(void **state)
{
    Setup *t = setup_new(300);

    (void)state;
    pc_is(t, "pc-b", false, CAUSE_HOST_TIMEOUT);
    pass(t, 60);
    pc_is(t, "pc-b", true, CAUSE_NONE);
    incidents_rebooted(t->incidents, fleet_pc(t->fleet, "pc-b"), now(t));
    unit_is(t, "a", "pc-b", ACTIVE_INACTIVE);
    pass(t, 60);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 300);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_REBOOT], 1);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC] + t->told[INCIDENT_OPEN][INCIDENT_SERVICE],
                     0);
    assert_int_equal(listed(t), 0);
    setup_free(t);
}

static void test_words(void **state)
{
    (void)state;
    for (int k = 0; k < INCIDENT_KIND_MAX; k++)
        assert_int_equal(incident_kind_from_string(incident_kind_to_string((IncidentKind)k)), k);
    for (int k = 0; k < INCIDENT_STATE_MAX; k++)
        assert_int_equal(incident_state_from_string(incident_state_to_string((IncidentState)k)), k);
    assert_int_equal(incident_kind_from_string("nonsense"), INCIDENT_KIND_INVALID);
    assert_int_equal(incident_state_from_string(NULL), INCIDENT_STATE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pending_open_closed),
        cmocka_unit_test(test_short_trouble_tells_nobody),
        cmocka_unit_test(test_flapping_is_one_alert),
        cmocka_unit_test(test_unreachable_pc_is_one_alert),
        cmocka_unit_test(test_missing_user_manager_is_one_alert),
        cmocka_unit_test(test_all_pcs_lost_is_one_alert),
        cmocka_unit_test(test_sleepers_never_alert),
        cmocka_unit_test(test_restart_goes_on_with_the_same_incident),
        cmocka_unit_test(test_what_leaves_the_registry_ends),
        cmocka_unit_test(test_reboot_is_one_event),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
