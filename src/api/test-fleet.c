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
    unsigned transitions, checks, changed, removed, added, boots, reboots;
    TransitionRow last, last_end; /* of any; of a service that went down */
    uint64_t healthy_ms, observed_ms;
    int64_t last_hour;
} Seen;

static void on_transition(void *userdata, FleetPc *pc, Service *s, const TransitionRow *row,
                          const Change *change)
{
    Seen *seen = userdata;

    (void)pc, (void)change;
    seen->transitions++;
    seen->last = *row;
    if (s && row->from == ACTUAL_RUNNING)
        seen->last_end = *row;
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

static void on_booted(void *userdata, FleetPc *pc, bool again)
{
    Seen *seen = userdata;

    assert_true(pc->boot_id[0]);
    seen->boots++;
    seen->reboots += again;
}

static const FleetOps ops = {
    .transition = on_transition,
    .check = on_check,
    .hour = on_hour,
    .changed = on_changed,
    .removed = on_removed,
    .added = on_added,
    .booted = on_booted,
};

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

/* The row and its sentence follow the cause, history holds one way there and one back. */
static void test_another_cause_is_no_transition(void **state)
{
    Setup *t = setup_new(2);
    PcFacts silent = {.known = true, .cause = CAUSE_BUS_SILENT},
            timeout = {.known = true, .cause = CAUSE_HOST_TIMEOUT},
            manager = {.known = true,
                       .reachable = true,
                       .scope_cause[SCOPE_USER] = CAUSE_NO_USER_MANAGER},
            bus = {.known = true, .reachable = true, .scope_cause[SCOPE_USER] = CAUSE_BUS_ERROR},
            well = {.known = true, .reachable = true};
    PcRow row;

    (void)state;
    FleetPc *pc = fleet_pc(t->fleet, "pc-a");
    make_well(t, 0);
    fleet_pc_answer(t->fleet, pc, &silent, at(5 * S));
    fleet_clear_marks(t->fleet);
    fleet_pc_answer(t->fleet, pc, &timeout, at(6 * S));
    assert_int_equal(t->seen.transitions, 1);
    assert_true(fleet_has_marks(t->fleet));
    fleet_pc_row(t->fleet, pc, &row);
    assert_int_equal(row.cause, CAUSE_HOST_TIMEOUT);
    assert_string_equal(row.sentence, "it does not answer the ssh connection in time");
    assert_int_equal(row.since_ts, at(5 * S).wall_ms);
    fleet_pc_answer(t->fleet, pc, &manager, at(7 * S));
    assert_int_equal(t->seen.transitions, 2);
    fleet_pc_answer(t->fleet, pc, &bus, at(8 * S));
    assert_int_equal(t->seen.transitions, 2);
    fleet_pc_answer(t->fleet, pc, &well, at(9 * S));
    assert_int_equal(t->seen.transitions, 3);
    assert_int_equal(t->seen.last.from, ACTUAL_UNKNOWN);
    assert_int_equal(t->seen.last.to, ACTUAL_RUNNING);
    setup_free(t);
}

#define BOOT_A "0123abcd-ef00-4444-8888-0123456789ab"
#define BOOT_B "0123abcd-ef00-4444-8888-0123456789ac"

static void test_reboot_is_told_once(void **state)
{
    Setup *t = setup_new(2);
    PcFacts away = {.known = true, .cause = CAUSE_HOST_REFUSED},
            manager = {.known = true,
                       .reachable = true,
                       .scope_cause[SCOPE_USER] = CAUSE_NO_USER_MANAGER},
            well = {.known = true, .reachable = true};

    (void)state;
    FleetPc *pc = fleet_pc(t->fleet, "pc-b");
    fleet_pc_boot(pc, BOOT_A);
    fleet_pc_answer(t->fleet, pc, &well, at(0));
    assert_int_equal(t->seen.boots, 1); /* learned */
    assert_int_equal(t->seen.transitions, 0);
    fleet_pc_answer(t->fleet, pc, &away, at(5 * S)); /* cut off, the same boot afterwards */
    fleet_pc_boot(pc, BOOT_A);
    fleet_pc_answer(t->fleet, pc, &well, at(6 * S));
    assert_int_equal(t->seen.last.cause, CAUSE_NONE);
    assert_int_equal(t->seen.boots, 1);
    fleet_pc_answer(t->fleet, pc, &away, at(7 * S));
    fleet_pc_boot(pc, "nonsense");
    fleet_pc_boot(pc, "");
    fleet_pc_boot(pc, BOOT_B);
    assert_int_equal(t->seen.reboots, 0); /* not before it answers */
    fleet_pc_answer(t->fleet, pc, &manager, at(8 * S));
    assert_int_equal(t->seen.reboots, 1);
    assert_int_equal(t->seen.last.cause, CAUSE_NO_USER_MANAGER);
    fleet_pc_answer(t->fleet, pc, &well, at(9 * S));
    assert_int_equal(t->seen.last.cause, CAUSE_REBOOTED);
    assert_string_equal(t->seen.last.sentence, "it was rebooted");
    fleet_pc_answer(t->fleet, pc, &away, at(10 * S));
    fleet_pc_boot(pc, BOOT_B);
    fleet_pc_answer(t->fleet, pc, &well, at(11 * S));
    assert_int_equal(t->seen.last.cause, CAUSE_NONE);
    assert_int_equal(t->seen.reboots, 1);
    setup_free(t);
}

/* An earlier daemon saw another boot: our first answer of it already is one after a reboot. */
static void test_reboot_while_nobody_looked(void **state)
{
    Setup *t = setup_new(2);
    PcFacts well = {.known = true, .reachable = true};

    (void)state;
    FleetPc *same = fleet_pc(t->fleet, "pc-a"), *other = fleet_pc(t->fleet, "pc-b");
    fleet_pc_recall_boot(same, BOOT_A);
    fleet_pc_recall_boot(other, "garbage");
    fleet_pc_recall_boot(other, BOOT_A);
    fleet_pc_boot(same, BOOT_A);
    fleet_pc_boot(other, BOOT_B);
    fleet_pc_answer(t->fleet, same, &well, at(0));
    assert_int_equal(t->seen.boots, 1);
    assert_int_equal(t->seen.reboots, 0);
    assert_int_equal(t->seen.transitions, 0);
    fleet_pc_answer(t->fleet, other, &well, at(0));
    assert_int_equal(t->seen.reboots, 1);
    assert_int_equal(t->seen.last.cause, CAUSE_REBOOTED);
    assert_int_equal(t->seen.last.from, ACTUAL_UNKNOWN);
    setup_free(t);
}

/* Two daemons within one second, a clock set back, a history that somebody has edited. */
static void test_ids_are_never_given_twice(void **state)
{
    Setup *t = setup_new(1);
    int64_t first = fleet_next_transition_id(t->fleet);

    (void)state;
    fleet_ids_after(t->fleet, WALL + 150, first + 3);
    int64_t second = fleet_next_transition_id(t->fleet);
    assert_true(second > first + 3);
    assert_true(second > WALL / 1000 << 20 && second < (WALL / 1000 + 1) << 20);
    fleet_ids_after(t->fleet, 17, second + 5000000);
    assert_int_equal(fleet_next_transition_id(t->fleet), second + 5000001);
    fleet_ids_after(t->fleet, INT64_MAX, INT64_MAX);
    fleet_ids_after(t->fleet, -1, -1);
    assert_int_equal(fleet_next_transition_id(t->fleet), second + 5000002);
    setup_free(t);
}

static Service *add_unit(Setup *t, const char *pc_id)
{
    Want want = {.app_id = "job", .pc_id = pc_id, .unit = "a.service", .timeout_ms = 2000};

    assert_int_equal(fleet_apply(t->fleet, &t->registry, &t->pcs[0], &want, 1, at(0)), 0);
    return fleet_service(t->fleet, "job", pc_id);
}

/* Its run ended with the PC, and history says so; a restart behind a mere cut is none of that. */
static void test_services_went_down_with_their_pc(void **state)
{
    Setup *t = setup_new(1);
    PcFacts away = {.known = true, .cause = CAUSE_HOST_REFUSED},
            well = {.known = true, .reachable = true};
    UnitFacts unit = {.load = LOAD_LOADED,
                      .active = ACTIVE_ACTIVE,
                      .kind = KIND_SERVICE,
                      .has_details = true,
                      .invocation = {1},
                      .active_enter_ms = WALL - 3600000,
                      .result = "success"};

    (void)state;
    Service *s = add_unit(t, "pc-b");
    fleet_pc_boot(s->pc, BOOT_A);
    fleet_pc_answer(t->fleet, s->pc, &well, at(0));
    fleet_unit(t->fleet, s, &unit, false, at(1 * S));
    for (unsigned i = 0; i < 2; i++) {
        unsigned before = t->seen.transitions;
        fleet_pc_answer(t->fleet, s->pc, &away, at((10 + 20 * i) * S));
        fleet_pc_boot(s->pc, BOOT_B); /* news in the first round alone */
        fleet_pc_answer(t->fleet, s->pc, &well, at((20 + 20 * i) * S));
        unit.invocation[0]++;
        unit.n_restarts = 1; /* it had trouble starting: that is no crash of the run before */
        unit.active_enter_ms = at((19 + 20 * i) * S).wall_ms;
        fleet_unit(t->fleet, s, &unit, false, at((21 + 20 * i) * S));
        assert_int_equal(t->seen.transitions - before, 4); /* the PC's two, the service's two */
        assert_int_equal(t->seen.last_end.cause, i ? CAUSE_STOPPED : CAUSE_REBOOTED);
        assert_int_equal(t->seen.last_end.to, ACTUAL_INACTIVE);
        assert_string_equal(t->seen.last_end.sentence,
                            i ? "it is not running" : "its PC was rebooted");
        assert_int_equal(t->seen.last.to, ACTUAL_RUNNING);
    }
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
        cmocka_unit_test(test_another_cause_is_no_transition),
        cmocka_unit_test(test_reboot_is_told_once),
        cmocka_unit_test(test_reboot_while_nobody_looked),
        cmocka_unit_test(test_ids_are_never_given_twice),
        cmocka_unit_test(test_services_went_down_with_their_pc),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_transitions_of_a_day),
        cmocka_unit_test(test_interval_changes_while_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
