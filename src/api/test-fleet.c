/* The fleet: due looks, taking a registry over by difference, hours, marks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/fleet.h"
#include "basic/macro.h"

#define S    USEC_PER_SEC
#define WALL INT64_C(1700000000000) /* 800 s after a full hour */

typedef struct Seen {
    unsigned transitions, checks, changed, removed, added;
    uint64_t healthy_ms, observed_ms;
    int64_t last_hour;
} Seen;

static void on_transition(void *userdata, FleetPc *pc, Service *s, const TransitionRow *row,
                          const Change *change)
{
    (void)pc, (void)s, (void)row, (void)change;
    ((Seen *)userdata)->transitions++;
}

static void on_check(void *userdata, Service *s, int64_t ts_ms)
{
    (void)s, (void)ts_ms;
    ((Seen *)userdata)->checks++;
}

static void on_hour(void *userdata, Service *s, int64_t hour_ms, uint32_t healthy_ms,
                    uint32_t observed_ms, uint32_t transitions)
{
    Seen *seen = userdata;

    (void)s, (void)transitions;
    assert_int_equal(hour_ms % 3600000, 0);
    seen->last_hour = hour_ms;
    seen->healthy_ms += healthy_ms;
    seen->observed_ms += observed_ms;
}

static void on_changed(void *userdata)
{
    ((Seen *)userdata)->changed++;
}

static void on_removed(void *userdata, FleetPc *pc, Service *s)
{
    (void)pc, (void)s;
    ((Seen *)userdata)->removed++;
}

static void on_added(void *userdata, FleetPc *pc, Service *s)
{
    (void)pc, (void)s;
    ((Seen *)userdata)->added++;
}

static const FleetOps ops = {on_transition, on_check, on_hour, on_changed, on_removed, on_added};

typedef struct Setup {
    Fleet *fleet;
    Seen seen;
    RegistryPc pcs[2];
    Registry registry;
    Want *wants;
    char (*ids)[16];
    size_t n;
} Setup;

static Now at(uint64_t us)
{
    return (Now){.mono_us = 1000 * S + us, .wall_ms = WALL + (int64_t)(us / 1000)};
}

/* n services with a unit and a health endpoint on pc-a. */
static Setup *setup_new(size_t n)
{
    Setup *t = calloc(1, sizeof *t);

    assert_non_null(t);
    assert_int_equal(fleet_new(&ops, &t->seen, 10000, WALL / 1000, &t->fleet), 0);
    t->pcs[0].pc_id = strdup("pc-a");
    t->pcs[1].pc_id = strdup("pc-b");
    t->registry = (Registry){.pcs = t->pcs, .n_pcs = 2};
    t->wants = calloc(n, sizeof *t->wants);
    t->ids = calloc(n, sizeof *t->ids);
    t->n = n;
    for (size_t i = 0; i < n; i++) {
        snprintf(t->ids[i], sizeof t->ids[i], "app-%05zu", i);
        t->wants[i] = (Want){.app_id = t->ids[i],
                             .pc_id = t->pcs[0].pc_id,
                             .unit = "a.service",
                             .port = 80,
                             .health = "/health",
                             .timeout_ms = 2000};
    }
    assert_int_equal(fleet_apply(t->fleet, &t->registry, &t->pcs[0], t->wants, n, at(0)), 0);
    return t;
}

static void setup_free(Setup *t)
{
    fleet_free(t->fleet);
    free(t->pcs[0].pc_id);
    free(t->pcs[1].pc_id);
    free(t->wants);
    free(t->ids);
    free(t);
}

static void make_well(Setup *t, uint64_t us)
{
    PcFacts facts = {.known = true, .reachable = true};
    UnitFacts unit = {.load = LOAD_LOADED,
                      .active = ACTIVE_ACTIVE,
                      .sub = "running",
                      .kind = KIND_SERVICE,
                      .has_details = true,
                      .invocation = {1},
                      .active_enter_ms = WALL - 3600000};
    PortFacts port = {.looked = true, .listening = true, .at_us = at(us).mono_us};
    FleetPc *pc = fleet_pc(t->fleet, "pc-a");

    fleet_pc_answer(t->fleet, pc, &facts, at(us));
    for (size_t i = 0; i < pc->n_services; i++) {
        fleet_unit(t->fleet, pc->services[i], &unit, false, at(us));
        fleet_port(t->fleet, pc->services[i], &port, at(us));
    }
}

static void answer(Setup *t, Service *s, HttpOutcome outcome, uint64_t us)
{
    HttpFacts facts = {.outcome = outcome,
                       .status = outcome == HTTP_OK ? 200 : 0,
                       .latency_us = 300,
                       .started_us = at(us).mono_us,
                       .at_us = at(us).mono_us};

    fleet_http(t->fleet, s, &facts, at(us));
}

static void test_first_round_at_once_then_spread(void **state)
{
    Setup *t = setup_new(1000);
    size_t per_second[10] = {0}, first = 0;
    Service *s;

    (void)state;
    make_well(t, 0);
    while ((s = fleet_due(t->fleet, at(0)))) {
        answer(t, s, HTTP_OK, 0);
        first++;
    }
    assert_int_equal(first, 1000);
    for (unsigned k = 1; k <= 10; k++)
        while ((s = fleet_due(t->fleet, at(k * S)))) {
            answer(t, s, HTTP_OK, k * S);
            per_second[k - 1]++;
        }
    for (unsigned k = 0; k < 10; k++)
        assert_int_equal(per_second[k], 100);
    setup_free(t);
}

static void test_small_fleet_shares_one_second(void **state)
{
    Setup *t = setup_new(10);
    unsigned busy_seconds = 0;
    Service *s;

    (void)state;
    make_well(t, 0);
    while ((s = fleet_due(t->fleet, at(0))))
        answer(t, s, HTTP_OK, 0);
    for (unsigned k = 1; k <= 10; k++) {
        size_t n = 0;
        for (; (s = fleet_due(t->fleet, at(k * S))); n++)
            answer(t, s, HTTP_OK, k * S);
        busy_seconds += n > 0;
    }
    assert_int_equal(busy_seconds, 1);
    setup_free(t);
}

static void test_a_look_in_flight_is_not_doubled(void **state)
{
    Setup *t = setup_new(1);

    (void)state;
    make_well(t, 0);
    Service *s = fleet_due(t->fleet, at(0));
    assert_non_null(s);
    assert_null(fleet_due(t->fleet, at(20 * S)));
    fleet_look_now(t->fleet, s, at(21 * S));
    assert_null(fleet_due(t->fleet, at(21 * S)));
    answer(t, s, HTTP_OK, 22 * S);
    assert_ptr_equal(fleet_due(t->fleet, at(22 * S)), s); /* asked for again meanwhile */
    fleet_put_back(t->fleet, s, at(22 * S));
    assert_ptr_equal(fleet_due(t->fleet, at(22 * S)), s);
    setup_free(t);
}

static void test_closed_port_needs_no_request(void **state)
{
    Setup *t = setup_new(1);
    PortFacts closed = {.looked = true, .misses = 2, .at_us = at(S).mono_us};
    ServiceRow row;

    (void)state;
    make_well(t, 0);
    Service *s = fleet_due(t->fleet, at(0));
    answer(t, s, HTTP_OK, 0);
    fleet_port(t->fleet, s, &closed, at(S));
    assert_null(fleet_due(t->fleet, at(20 * S)));
    fleet_service_row(t->fleet, s, at(20 * S), &row);
    assert_int_equal(row.actual, ACTUAL_DEGRADED);
    assert_int_equal(row.http_status, 0);
    assert_int_equal(row.latency_us, -1);
    assert_int_equal(row.last_check_ts, at(20 * S).wall_ms);
    assert_true(t->seen.checks >= 2);
    setup_free(t);
}

static void test_registry_by_difference(void **state)
{
    Setup *t = setup_new(5);

    (void)state;
    make_well(t, 0);
    Service *kept = fleet_service(t->fleet, "app-00001", "pc-a");
    uint32_t handle = kept->handle, gone = fleet_service(t->fleet, "app-00004", "pc-a")->handle;
    t->seen = (Seen){0};
    t->wants[1].health = "/other";
    assert_int_equal(fleet_apply(t->fleet, &t->registry, &t->pcs[0], t->wants, 4, at(S)), 0);
    assert_int_equal(t->seen.removed, 1);
    assert_int_equal(t->seen.added, 0);
    assert_int_equal(fleet_n_services(t->fleet), 4);
    assert_null(fleet_by_handle(t->fleet, gone));
    assert_null(fleet_by_handle(t->fleet, 0));
    assert_null(fleet_by_handle(t->fleet, 99999));
    assert_ptr_equal(fleet_by_handle(t->fleet, handle), kept);
    assert_string_equal(kept->want.health, "/other");
    assert_int_equal(kept->facts.unit.active, ACTIVE_ACTIVE); /* what was known stays known */
    t->wants[1].unit = "b.service";
    assert_int_equal(fleet_apply(t->fleet, &t->registry, &t->pcs[0], t->wants, 4, at(2 * S)), 0);
    assert_int_equal(t->seen.removed, 2); /* its watch is begun anew */
    assert_int_equal(t->seen.added, 1);
    assert_int_equal(kept->facts.unit.active, ACTIVE_UNKNOWN);
    t->registry.n_pcs = 1;
    assert_int_equal(fleet_apply(t->fleet, &t->registry, &t->pcs[0], t->wants, 0, at(3 * S)), 0);
    assert_int_equal(fleet_n_services(t->fleet), 0);
    assert_int_equal(fleet_n_pcs(t->fleet), 1);
    assert_int_equal(fleet_apply(t->fleet, &t->registry, &t->pcs[0], t->wants, 5, at(4 * S)), 0);
    assert_true(fleet_service(t->fleet, "app-00004", "pc-a")->handle != gone);
    setup_free(t);
}

static void test_hours_are_booked_under_the_verdict_that_held(void **state)
{
    Setup *t = setup_new(1);
    UnitFacts dead = {.load = LOAD_LOADED,
                      .active = ACTIVE_INACTIVE,
                      .kind = KIND_SERVICE,
                      .has_details = true,
                      .invocation = {1}};

    (void)state;
    make_well(t, 0);
    Service *s = fleet_due(t->fleet, at(0));
    answer(t, s, HTTP_OK, 0);
    fleet_book(t->fleet, at(60 * S), false);
    assert_int_equal(t->seen.observed_ms, 60000);
    assert_int_equal(t->seen.healthy_ms, 60000);
    fleet_unit(t->fleet, s, &dead, true, at(90 * S));
    fleet_book(t->fleet, at(120 * S), false);
    assert_int_equal(t->seen.observed_ms, 120000);
    assert_int_equal(t->seen.healthy_ms, 90000);
    fleet_book(t->fleet, at(420 * S), true); /* asleep for five minutes: neither way */
    assert_int_equal(t->seen.observed_ms, 120000);
    fleet_book(t->fleet, at(480 * S), false);
    assert_int_equal(t->seen.observed_ms, 180000);
    int64_t hour = t->seen.last_hour;
    fleet_book(t->fleet, at(500 * S), false);
    fleet_book(t->fleet, at(3300 * S), false); /* over the full hour */
    assert_int_equal(t->seen.last_hour, hour + 3600000);
    assert_int_equal(t->seen.observed_ms, 3000000);
    PcFacts away = {.known = true, .cause = CAUSE_HOST_TIMEOUT};
    fleet_pc_answer(t->fleet, fleet_pc(t->fleet, "pc-a"), &away, at(3300 * S));
    fleet_book(t->fleet, at(3360 * S), false);
    assert_int_equal(t->seen.observed_ms, 3000000); /* unreachable is not observed */
    setup_free(t);
}

static void test_pc_transitions_and_rows(void **state)
{
    Setup *t = setup_new(2);
    PcFacts away = {.known = true, .cause = CAUSE_HOST_KEY_CHANGED},
            well = {.known = true, .reachable = true};
    PcRow row;
    ServiceRow service;

    (void)state;
    FleetPc *pc = fleet_pc(t->fleet, "pc-a");
    make_well(t, 0);
    assert_int_equal(t->seen.transitions, 0); /* the first answer is no change */
    fleet_pc_answer(t->fleet, pc, &away, at(5 * S));
    assert_int_equal(t->seen.transitions, 1); /* one for the PC, none per service */
    fleet_pc_answer(t->fleet, pc, &away, at(6 * S));
    assert_int_equal(t->seen.transitions, 1);
    fleet_pc_row(t->fleet, pc, &row);
    assert_false(row.reachable);
    assert_string_equal(row.sentence, "its host key has changed");
    fleet_service_row(t->fleet, pc->services[0], at(6 * S), &service);
    assert_int_equal(service.light, LIGHT_UNKNOWN);
    assert_string_equal(service.systemd_state, "active"); /* last known, kept */
    fleet_pc_answer(t->fleet, pc, &well, at(7 * S));
    assert_int_equal(t->seen.transitions, 2);
    setup_free(t);
}

static void test_marks(void **state)
{
    Setup *t = setup_new(3);

    (void)state;
    fleet_clear_marks(t->fleet);
    assert_false(fleet_has_marks(t->fleet));
    uint64_t version = fleet_version(t->fleet);
    make_well(t, 0);
    assert_true(fleet_version(t->fleet) > version);
    size_t n = 0;
    for (Service *s = fleet_marked(t->fleet); s; s = s->marked_next)
        n++;
    assert_int_equal(n, 3);
    t->registry.n_pcs = 2;
    fleet_apply(t->fleet, &t->registry, &t->pcs[0], t->wants, 0,
                at(S)); /* a marked service may go */
    assert_null(fleet_marked(t->fleet));
    setup_free(t);
}

static void test_transitions_of_a_day(void **state)
{
    Setup *t = setup_new(1);
    ServiceRow row;

    (void)state;
    make_well(t, 0);
    Service *s = fleet_due(t->fleet, at(0));
    answer(t, s, HTTP_OK, 0);
    answer(t, s, HTTP_TIMEOUT, 10 * S);
    answer(t, s, HTTP_OK, 20 * S);
    fleet_service_row(t->fleet, s, at(30 * S), &row);
    assert_int_equal(row.transitions_24h, 2);
    fleet_service_row(t->fleet, s, at(23 * 3600 * S), &row);
    assert_int_equal(row.transitions_24h, 2);
    fleet_service_row(t->fleet, s, at(25 * 3600 * S), &row);
    assert_int_equal(row.transitions_24h, 0);
    setup_free(t);
}

static void test_interval_changes_while_it_runs(void **state)
{
    Setup *t = setup_new(10);
    Service *s;
    size_t n = 0;

    (void)state;
    make_well(t, 0);
    while ((s = fleet_due(t->fleet, at(0))))
        answer(t, s, HTTP_OK, 0);
    fleet_set_interval(t->fleet, 1000, at(S));
    for (unsigned k = 1; k <= 5; k++)
        for (; (s = fleet_due(t->fleet, at(k * S))); n++)
            answer(t, s, HTTP_OK, k * S);
    assert_true(n >= 40);
    setup_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_round_at_once_then_spread),
        cmocka_unit_test(test_small_fleet_shares_one_second),
        cmocka_unit_test(test_a_look_in_flight_is_not_doubled),
        cmocka_unit_test(test_closed_port_needs_no_request),
        cmocka_unit_test(test_registry_by_difference),
        cmocka_unit_test(test_hours_are_booked_under_the_verdict_that_held),
        cmocka_unit_test(test_pc_transitions_and_rows),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_transitions_of_a_day),
        cmocka_unit_test(test_interval_changes_while_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
