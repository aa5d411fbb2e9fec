/* Incidents: one cause, one alert; pending, open, damped, frozen, absorbed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/incident.h"
#include "api/test-incident.h"
#include "basic/macro.h"

/* Linked with --wrap=calloc. */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool no_memory;

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory ? NULL : __real_calloc(n, size);
}

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

static void no_hour(void *u, Service *s, int64_t hour, uint32_t a, uint32_t b, uint32_t c)
{
    (void)u, (void)s, (void)hour, (void)a, (void)b, (void)c;
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

static void on_booted(void *userdata, FleetPc *pc, bool again)
{
    Setup *t = userdata;

    if (again)
        incidents_rebooted(t->incidents, pc, now(t));
}

static Setup *setup_new(uint32_t alert_after_s)
{
    static const FleetOps ops = {
        .transition = no_transition,
        .check = no_check,
        .hour = no_hour,
        .changed = no_change,
        .removed = no_thing,
        .added = no_thing,
        .booted = on_booted,
    };
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

static const Incident *of_kind(const Setup *t, IncidentKind kind)
{
    const Incident *i = incidents_first(t->incidents);

    while (i && i->kind != kind)
        i = i->next;
    assert_non_null(i);
    return i;
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
    /* who sleeps, or is worked at, has no say in whether it is silenced */
    fleet_pc(t->fleet, "pc-b")->silence = 77;
    fleet_pc(t->fleet, "pc-c")->may_sleep = true;
    pass(t, 1);
    assert_int_equal(of_kind(t, INCIDENT_ALL_PCS)->silence, 77);
    fleet_pc(t->fleet, "pc-c")->may_sleep = false;
    fleet_pc(t->fleet, "pc-c")->maintenance = 5;
    pass(t, 1);
    assert_int_equal(of_kind(t, INCIDENT_ALL_PCS)->silence, 77);
    fleet_pc(t->fleet, "pc-c")->maintenance = 0;
    pass(t, 1);
    assert_int_equal(of_kind(t, INCIDENT_ALL_PCS)->silence, 0);
    fleet_pc(t->fleet, "pc-b")->silence = 0;
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

static unsigned told_of(const Setup *t, IncidentKind kind)
{
    unsigned n = 0;

    for (int s = 0; s < INCIDENT_STATE_MAX; s++)
        n += t->told[s][kind];
    return n;
}

static void comes_back(Setup *t, unsigned boot)
{
    char id[BOOT_ID_LEN + 1];

    snprintf(id, sizeof id, "%08x-0000-4000-8000-000000000000", boot);
    fleet_pc_boot(fleet_pc(t->fleet, "pc-b"), id);
    pc_is(t, "pc-b", true, CAUSE_NONE);
}

/* R8. Its services stop before it goes, it is away for a minute, and they are slow to come. */
static void test_reboot_is_one_event(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    pc_is(t, "pc-b", false, CAUSE_HOST_TIMEOUT);
    comes_back(t, 1);
    unit_is(t, "a", "pc-b", ACTIVE_INACTIVE);
    unit_is(t, "b", "pc-b", ACTIVE_INACTIVE);
    pass(t, 2);
    pc_is(t, "pc-b", false, CAUSE_HOST_TIMEOUT);
    pass(t, 50);
    assert_int_equal(listed(t), 3); /* pending: nobody knows yet that it is a reboot */
    comes_back(t, 2);
    assert_int_equal(listed(t), 0);
    assert_int_equal(t->told[INCIDENT_DROPPED][INCIDENT_SERVICE], 2);
    assert_int_equal(t->told[INCIDENT_DROPPED][INCIDENT_PC], 1);
    pass(t, 100);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    assert_int_equal(listed(t), 0);
    pass(t, 19);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_REBOOT], 1);
    assert_string_equal(t->sentence, "it was rebooted");
    assert_int_equal(told_of(t, INCIDENT_REBOOT), 1);
    assert_int_equal(told_of(t, INCIDENT_SERVICE), 4);
    pass(t, 5); /* the grace is over, and b has been down since the reboot: longer than 60 s */
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1);
    unit_is(t, "b", "pc-b", ACTIVE_ACTIVE);
    pass(t, 300);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 0);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1);
    assert_int_equal(listed(t), 0);
    setup_free(t);
}

static void test_boot_loop_is_told_once_in_a_grace(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    comes_back(t, 1);
    for (unsigned i = 2; i < 42; i++) { /* each 6 s for 4 min */
        pc_is(t, "pc-b", false, CAUSE_HOST_REFUSED);
        pass(t, 3);
        comes_back(t, i);
        pass(t, 3);
    }
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_REBOOT], 2);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC] + t->told[INCIDENT_OPEN][INCIDENT_SERVICE],
                     0);
    setup_free(t);
}

/* R11: what was bad before we slept has not been bad for as long as we slept. */
static void test_sleep_opens_and_ends_nothing(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    unit_is(t, "b", "pc-b", ACTIVE_FAILED);
    pass(t, 10);
    unit_is(t, "b", "pc-b", ACTIVE_ACTIVE);
    pass(t, 10);
    t->us += 600 * S;
    pass(t, 10);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0);
    assert_int_equal(t->told[INCIDENT_DROPPED][INCIDENT_SERVICE], 0);
    pass(t, 15);
    assert_int_equal(t->told[INCIDENT_DROPPED][INCIDENT_SERVICE], 1);
    pass(t, 30);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 1);
    setup_free(t);
}

static void test_sentence_follows_the_cause(void **state)
{
    Setup *t = setup_new(5);

    (void)state;
    pc_is(t, "pc-b", false, CAUSE_BUS_SILENT);
    pass(t, 10);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 1);
    pc_is(t, "pc-b", false, CAUSE_HOST_KEY_CHANGED);
    pass(t, 1);
    assert_string_equal(t->sentence, "its host key has changed");
    assert_int_equal(incidents_first(t->incidents)->cause, CAUSE_HOST_KEY_CHANGED);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 1);
    assert_int_equal(listed(t), 1);
    setup_free(t);
}

static void recall(Setup *t, int64_t id, IncidentKind kind, IncidentState state, const char *app,
                   const char *pc)
{
    Incident i = {.id = id, .kind = kind, .state = state, .began_ms = WALL - 100000};

    strcpy(i.app_id, app);
    strcpy(i.pc_id, pc);
    assert_int_equal(incidents_recall(t->incidents, &i), 0);
}

static void test_recall_of_all_kinds(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    recall(t, 1, INCIDENT_SERVICE, INCIDENT_CLOSED, "a", "pc-b");
    assert_int_equal(listed(t), 0);
    recall(t, 2, INCIDENT_SERVICE, INCIDENT_PENDING, "b", "pc-b");
    recall(t, 3, INCIDENT_PC, INCIDENT_OPEN, "", "pc-b");
    recall(t, 4, INCIDENT_PC, INCIDENT_OPEN, "", "pc-c");
    recall(t, 5, INCIDENT_PC, INCIDENT_OPEN, "", "nowhere");
    recall(t, 6, INCIDENT_REBOOT, INCIDENT_OPEN, "", "nowhere");
    recall(t, 7, INCIDENT_SERVICE, INCIDENT_OPEN, "gone", "pc-b");
    pass(t, 1);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_PC], 1); /* what left the registry */
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_SERVICE], 1);
    pass(t, 60);
    assert_int_equal(t->told[INCIDENT_CLOSED][INCIDENT_PC], 3);
    setup_free(t);
    assert_null(incidents_free(NULL));
}

/* When there are as many as there may be, no more are told of; those that are known go on. */
static void test_maximum(void **state)
{
    Setup *t = setup_new(0);
    Incident more = {.id = 99, .kind = INCIDENT_SERVICE, .state = INCIDENT_OPEN};

    (void)state;
    for (int64_t id = 1; id <= INCIDENTS_MAX; id++)
        recall(t, id, INCIDENT_REBOOT, INCIDENT_OPEN, "", "pc-b");
    assert_int_equal(incidents_recall(t->incidents, &more), -ENOMEM);
    unit_is(t, "a", "pc-c", ACTIVE_FAILED);
    pass(t, 1);
    assert_int_equal(t->told[INCIDENT_PENDING][INCIDENT_SERVICE], 0);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0);
    setup_free(t);
}

/* A PC that was not asked yet is neither lost nor well; one that sleeps or is worked at is not
 * counted when all are lost. */
static void test_lost_among_sleepers(void **state)
{
    Setup *t = setup_new(5);
    PcFacts not_yet = {0};

    (void)state;
    fleet_pc_answer(t->fleet, fleet_pc(t->fleet, "pc-c"), &not_yet, now(t));
    pass(t, 10);
    assert_int_equal(listed(t), 0);
    pcs[1].may_sleep = true;
    apply(t, ELEMENTS(wants));
    pc_is(t, "pc-b", false, CAUSE_BUS_SILENT);
    pc_is(t, "pc-c", false, CAUSE_BUS_SILENT);
    pass(t, 10);
    unsigned told = 0;
    for (int k = 0; k < INCIDENT_KIND_MAX; k++)
        told += t->told[INCIDENT_OPEN][k];
    assert_int_equal(told, 1);
    fleet_pc(t->fleet, "pc-c")->maintenance = 1;
    pass(t, 10);
    pcs[1].may_sleep = false;
    setup_free(t);
}

/* What cannot be seen any more is neither well nor bad: its incident waits. */
static void test_unseen_service_waits(void **state)
{
    Setup *t = setup_new(60);

    (void)state;
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 10);
    assert_int_equal(listed(t), 1);
    pc_is(t, "pc-b", true, CAUSE_NO_USER_MANAGER);
    pass(t, 200);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_SERVICE], 0);
    assert_int_equal(t->told[INCIDENT_DROPPED][INCIDENT_SERVICE], 0);
    assert_int_equal(t->told[INCIDENT_OPEN][INCIDENT_PC], 1);
    setup_free(t);
}

static void test_no_memory(void **state)
{
    Incidents *x = NULL;

    (void)state;
    no_memory = true;
    int r = incidents_new(NULL, 60, 60, on_incident, NULL, &x);
    no_memory = false;
    assert_int_equal(r, -ENOMEM);
    assert_null(x);
}

static void test_written_without_names(void **state)
{
    Setup *t = setup_new(5);
    Incident all = {.id = 5, .kind = INCIDENT_ALL_PCS, .state = INCIDENT_OPEN};
    Buffer b = BUFFER_INIT(4096);

    (void)state;
    incident_write(&b, t->incidents, &all);
    assert_non_null(strstr(buffer_cstr(&b), "\"app_id\":null,\"pc_id\":null"));
    assert_non_null(strstr(buffer_cstr(&b), "\"cause\":null"));
    assert_non_null(strstr(buffer_cstr(&b), "\"behind\":[[null,\"pc-b\"],[null,\"pc-c\"]]"));
    buffer_done(&b);
    setup_free(t);
}

static void test_words(void **state)
{
    (void)state;
    assert_int_equal(incident_kind_from_string(NULL), INCIDENT_KIND_INVALID);
    assert_int_equal(incident_state_from_string("nonsense"), INCIDENT_STATE_INVALID);
    assert_string_equal(incident_kind_to_string(INCIDENT_KIND_MAX), "");
    assert_string_equal(incident_state_to_string(INCIDENT_STATE_MAX), "");
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
        cmocka_unit_test(test_recall_of_all_kinds),
        cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_lost_among_sleepers),
        cmocka_unit_test(test_unseen_service_waits),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_written_without_names),
        cmocka_unit_test(test_reboot_is_one_event),
        cmocka_unit_test(test_boot_loop_is_told_once_in_a_grace),
        cmocka_unit_test(test_sleep_opens_and_ends_nothing),
        cmocka_unit_test(test_sentence_follows_the_cause),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
