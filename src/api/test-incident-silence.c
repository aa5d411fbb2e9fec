/* Incidents under silence and maintenance, acknowledged ones, and the hours of a maintenance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/incident.h"
#include "api/test-incident.h"
#include "basic/macro.h"
#include "basic/text.h"

#define S    USEC_PER_SEC
#define WALL INT64_C(1700000000000) /* 800 s before a full hour */

typedef struct Setup {
    Silences *silences;
    Fleet *fleet;
    Incidents *incidents;
    uint64_t us;
    int64_t next_silence;
    Incident last;     /* as it was told */
    unsigned released; /* open and not held: what notify would queue its opening for */
    unsigned openings; /* entries into open */
    unsigned endings;  /* closed or dropped */
    unsigned transitions;
    unsigned observed_ms, healthy_ms;
} Setup;

static void on_transition(void *u, FleetPc *pc, Service *s, const TransitionRow *row,
                          const Change *c)
{
    Setup *t = u;

    (void)pc, (void)s, (void)row, (void)c;
    t->transitions++;
}

static void on_hour(void *u, Service *s, int64_t hour, uint32_t healthy, uint32_t observed,
                    uint32_t transitions)
{
    Setup *t = u;

    (void)hour, (void)transitions;
    if (strcmp(s->want.app_id, "a") != 0 || strcmp(s->pc->pc_id, "pc-b") != 0)
        return;
    t->healthy_ms += healthy;
    t->observed_ms += observed;
}

static void on_incident(void *userdata, const Incident *i)
{
    Setup *t = userdata;
    bool was_open = t->last.id == i->id && t->last.state == INCIDENT_OPEN;

    t->openings += i->state == INCIDENT_OPEN && !was_open;
    t->released += i->state == INCIDENT_OPEN && !i->held && (!was_open || t->last.held);
    t->endings += i->state == INCIDENT_CLOSED || i->state == INCIDENT_DROPPED;
    t->last = *i;
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
    {.app_id = "a", .pc_id = "pc-c", .unit = "a.service", .timeout_ms = 2000},
};

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

static void pc_is(Setup *t, const char *pc, bool reachable)
{
    PcFacts facts = {.known = true,
                     .reachable = reachable,
                     .cause = reachable ? CAUSE_NONE : CAUSE_HOST_TIMEOUT};

    fleet_pc_answer(t->fleet, fleet_pc(t->fleet, pc), &facts, now(t));
}

static void pass(Setup *t, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        t->us += S;
        if (silences_tick(t->silences, now(t)))
            fleet_cover(t->fleet, t->silences, now(t));
        incidents_scan(t->incidents, now(t));
    }
}

static int64_t begin(Setup *t, SilenceKind kind, const char *app, const char *pc, unsigned seconds)
{
    const Silence *kept;
    Silence s = {.id = ++t->next_silence,
                 .kind = kind,
                 .from_ms = now(t).wall_ms,
                 .until_ms = now(t).wall_ms + seconds * 1000LL,
                 .created_ms = now(t).wall_ms,
                 .comment = "new disk"};

    text_copy(s.app_id, sizeof s.app_id, app);
    text_copy(s.pc_id, sizeof s.pc_id, pc);
    assert_int_equal(silences_add(t->silences, &s, now(t), &kept), 0);
    fleet_cover(t->fleet, t->silences, now(t));
    return s.id;
}

static void end(Setup *t, int64_t id)
{
    Silence ended;

    assert_int_equal(silences_end(t->silences, id, now(t), &ended), 0);
    fleet_cover(t->fleet, t->silences, now(t));
}

static int setup(void **state)
{
    static const FleetOps ops = {
        .transition = on_transition,
        .check = no_check,
        .hour = on_hour,
        .changed = no_change,
        .removed = no_thing,
        .added = no_thing,
    };
    Registry r = {.pcs = pcs, .n_pcs = ELEMENTS(pcs)};
    Setup *t = calloc(1, sizeof *t);

    assert_non_null(t);
    assert_int_equal(silences_new(&t->silences), 0);
    assert_int_equal(fleet_new(&ops, t, 10000, WALL / 1000, &t->fleet), 0);
    assert_int_equal(incidents_new(t->fleet, 60, 120, on_incident, t, &t->incidents), 0);
    assert_int_equal(fleet_apply(t->fleet, &r, &pcs[0], wants, ELEMENTS(wants), now(t)), 0);
    for (size_t i = 0; i < ELEMENTS(pcs); i++)
        pc_is(t, pcs[i].pc_id, true);
    for (size_t i = 0; i < ELEMENTS(wants); i++)
        unit_is(t, wants[i].app_id, wants[i].pc_id, ACTIVE_ACTIVE);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    Setup *t = *state;

    incidents_free(t->incidents);
    fleet_free(t->fleet);
    silences_free(t->silences);
    free(t);
    return 0;
}

static const char *shown(Setup *t, Buffer *b)
{
    buffer_reset(b);
    incident_write(b, t->incidents, &t->last);
    return buffer_cstr(b);
}

static void test_silenced_until_its_end(void **state)
{
    Setup *t = *state;
    Buffer b = BUFFER_INIT(8192);

    begin(t, SILENCE_NOTICES, "a", "pc-b", 300);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 70);
    assert_int_equal(t->openings, 1); /* it opens, it is shown as silenced, nobody is told */
    assert_int_equal(t->released, 0);
    assert_true(t->last.held);
    assert_non_null(strstr(shown(t, &b), "\"silenced\":{\"id\":1,\"until_ts\":1700000300000,"
                                         "\"comment\":\"new disk\"}"));
    pass(t, 229);
    assert_int_equal(t->released, 0);
    pass(t, 2); /* over, and still down: now it is told, once */
    assert_int_equal(t->released, 1);
    assert_non_null(strstr(shown(t, &b), "\"silenced\":null"));
    pass(t, 500);
    assert_int_equal(t->released, 1);
    assert_int_equal(t->openings, 1);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->last.state, INCIDENT_CLOSED);
    assert_false(t->last.held);
    buffer_done(&b);
}

static void test_over_before_the_silence(void **state)
{
    Setup *t = *state;

    begin(t, SILENCE_NOTICES, "", "pc-b", 300);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 100);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->last.state, INCIDENT_CLOSED);
    assert_true(t->last.held); /* so there is no recovery either */
    pass(t, 300);
    assert_int_equal(t->released, 0);
}

/* Ended by hand while all is well again, but not yet for long enough: not told of unless it comes
 * back. */
static void test_no_late_opening_of_what_is_well(void **state)
{
    Setup *t = *state;
    int64_t id = begin(t, SILENCE_NOTICES, "a", "", 3000);

    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 100);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 5);
    end(t, id);
    pass(t, 5);
    assert_int_equal(t->released, 0);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 2);
    assert_int_equal(t->released, 1);
    assert_int_equal(t->openings, 1);
}

/* Somebody was told before: the silence does not take that back, nor the recovery. */
static void test_silenced_after_it_opened(void **state)
{
    Setup *t = *state;

    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 70);
    assert_int_equal(t->released, 1);
    begin(t, SILENCE_NOTICES, "a", "pc-b", 3000);
    pass(t, 2);
    assert_int_equal(t->last.silence, 1);
    assert_false(t->last.held);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->last.state, INCIDENT_CLOSED);
    assert_false(t->last.held);
    assert_int_equal(t->released, 1);
}

static void test_silence_of_pcs(void **state)
{
    Setup *t = *state;

    begin(t, SILENCE_NOTICES, "a", "pc-b", 3000); /* a pair does not cover the PC's loss */
    pc_is(t, "pc-b", false);
    pass(t, 70);
    assert_int_equal(t->last.kind, INCIDENT_PC);
    assert_int_equal(t->released, 1);
    /* all lost: silenced when each is */
    begin(t, SILENCE_NOTICES, "", "pc-b", 3000);
    begin(t, SILENCE_NOTICES, "", "pc-c", 3000);
    pc_is(t, "pc-c", false);
    pass(t, 70);
    assert_int_equal(t->last.kind, INCIDENT_ALL_PCS);
    assert_int_equal(t->last.state, INCIDENT_OPEN);
    assert_true(t->last.held);
    assert_int_equal(t->released, 1);
}

static void test_silenced_over_a_restart(void **state)
{
    Setup *t = *state;
    Incident stored = {.id = 4711,
                       .kind = INCIDENT_SERVICE,
                       .state = INCIDENT_OPEN,
                       .app_id = "a",
                       .pc_id = "pc-b",
                       .began_ms = WALL - 100000,
                       .opened_ms = WALL - 50000,
                       .cause = CAUSE_EXIT_CODE,
                       .sentence = "exit code 3",
                       .held = true};

    begin(t, SILENCE_NOTICES, "a", "pc-b", 100);
    assert_int_equal(incidents_recall(t->incidents, &stored), 0);
    t->last = stored;
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 90);
    assert_int_equal(t->released, 0);
    pc_is(t, "pc-b", false); /* what cannot be seen is not told of as if it could */
    pass(t, 12);
    assert_int_equal(t->released, 0);
    pc_is(t, "pc-b", true);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 2);
    assert_int_equal(t->released, 1);
    assert_int_equal(t->last.id, 4711);
}

static void test_acknowledged(void **state)
{
    Setup *t = *state;
    const Incident *i = NULL;
    Buffer b = BUFFER_INIT(8192);

    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 70);
    assert_int_equal(incidents_ack(t->incidents, 1, "local", "", now(t), &i), -ENOENT);
    assert_null(i);
    int64_t id = t->last.id;
    assert_int_equal(incidents_ack(t->incidents, id, "local", "on\033 it\n", now(t), &i), 0);
    assert_int_equal(i->id, id);
    assert_string_equal(t->last.ack_comment, "on? it ");
    assert_non_null(strstr(shown(t, &b), "\"acked\":{\"ts\":1700000070000,\"by\":\"local\","
                                         "\"comment\":\"on? it \"}"));
    assert_int_equal(incidents_ack(t->incidents, id, "token", "mine", now(t), &i), 0);
    assert_string_equal(t->last.acked_by, "token");
    pass(t, 300); /* it stays, and stays so, whatever its cause becomes */
    assert_int_equal(incidents_first(t->incidents)->id, id);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->last.state, INCIDENT_CLOSED);
    assert_false(t->last.held); /* the recovery is told to whoever heard of the opening */
    assert_int_equal(t->released, 1);
    assert_int_equal(incidents_ack(t->incidents, id, "token", "late", now(t), &i), -ENOENT);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED); /* the next one is another one */
    pass(t, 70);
    assert_int_equal(t->released, 2);
    assert_int_equal(t->last.acked_ms, 0);
    buffer_done(&b);
}

static void test_acknowledged_while_pending(void **state)
{
    Setup *t = *state;
    const Incident *i;

    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 10);
    assert_int_equal(t->last.state, INCIDENT_PENDING);
    assert_int_equal(incidents_ack(t->incidents, t->last.id, "local", "", now(t), &i), 0);
    pass(t, 200);
    assert_int_equal(t->openings, 1);
    assert_int_equal(t->released, 0);
}

static void test_maintenance_keeps_incidents_back(void **state)
{
    Setup *t = *state;

    unit_is(t, "b", "pc-b", ACTIVE_FAILED);
    pass(t, 10);
    assert_int_equal(t->last.state, INCIDENT_PENDING);
    begin(t, SILENCE_MAINTENANCE, "", "pc-b", 600);
    pass(t, 1);
    assert_int_equal(t->last.state, INCIDENT_DROPPED); /* it was pending: nobody knew */
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pc_is(t, "pc-b", false);
    pass(t, 200);
    pc_is(t, "pc-b", true);
    fleet_pc_boot(fleet_pc(t->fleet, "pc-b"), "00000001-0000-4000-8000-000000000000");
    pass(t, 100);
    assert_null(incidents_first(t->incidents));
    incidents_rebooted(t->incidents, fleet_pc(t->fleet, "pc-b"), now(t));
    assert_int_equal(t->openings, 0);
    assert_int_equal(t->endings, 1);
    assert_true(t->transitions > 0); /* history goes on */
    /* another PC's are its own */
    unit_is(t, "a", "pc-c", ACTIVE_FAILED);
    pass(t, 70);
    assert_int_equal(t->openings, 1);
    assert_string_equal(t->last.pc_id, "pc-c");
    /* over, and still down: it counts from now */
    pass(t, 240);
    assert_int_equal(t->openings, 1);
    pass(t, 60);
    assert_int_equal(t->openings, 3);
}

/* What was open goes on: it ends when all is well, and does not begin again. */
static void test_maintenance_of_what_is_open(void **state)
{
    Setup *t = *state;

    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 70);
    assert_int_equal(t->openings, 1);
    begin(t, SILENCE_MAINTENANCE, "a", "pc-b", 1000);
    pass(t, 100);
    assert_int_equal(t->last.state, INCIDENT_OPEN);
    unit_is(t, "a", "pc-b", ACTIVE_ACTIVE);
    pass(t, 40);
    assert_int_equal(t->last.state, INCIDENT_CLOSED);
    assert_false(t->last.held);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 300);
    assert_int_equal(t->openings, 1);
}

/* PCs under maintenance are no part of "all are lost". */
static void test_maintenance_of_all_but_one(void **state)
{
    Setup *t = *state;

    begin(t, SILENCE_MAINTENANCE, "", "pc-c", 1000);
    pc_is(t, "pc-b", false);
    pc_is(t, "pc-c", false);
    pass(t, 70);
    assert_int_equal(t->openings, 1);
    assert_int_equal(t->last.kind, INCIDENT_PC);
    assert_string_equal(t->last.pc_id, "pc-b");
}

static void test_maintenance_is_unobserved_and_shown(void **state)
{
    Setup *t = *state;
    Service *a = fleet_service(t->fleet, "a", "pc-b");
    ServiceRow row;
    PcRow pc;

    pass(t, 100);
    int64_t id = begin(t, SILENCE_MAINTENANCE, "a", "", 400);
    fleet_service_row(t->fleet, a, now(t), &row);
    assert_int_equal(row.maintenance.until_ts, WALL + 500000);
    assert_string_equal(row.maintenance.comment, "new disk");
    assert_int_equal(row.light, LIGHT_OK); /* the light stays what it is */
    assert_true(a->dirty && a->is_marked); /* and clients are told */
    fleet_pc_row(t->fleet, a->pc, &pc);
    assert_int_equal(pc.maintenance.until_ts, 0);
    unit_is(t, "a", "pc-b", ACTIVE_FAILED);
    pass(t, 200);
    fleet_book(t->fleet, now(t), false);
    assert_int_equal(t->observed_ms, 100000);
    assert_int_equal(t->healthy_ms, 100000);
    end(t, id);
    fleet_service_row(t->fleet, a, now(t), &row);
    assert_int_equal(row.maintenance.until_ts, 0);
    pass(t, 50);
    fleet_book(t->fleet, now(t), false);
    assert_int_equal(t->observed_ms, 150000);
    assert_int_equal(t->healthy_ms, 100000);
    begin(t, SILENCE_MAINTENANCE, "", "pc-b", 400);
    fleet_pc_row(t->fleet, a->pc, &pc);
    assert_int_equal(pc.maintenance.until_ts, WALL + 750000);
}

/* ---- whatever happens, in whatever order ---- */

static uint32_t roll(uint64_t *seed, uint32_t n)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % n;
}

typedef struct Watched {
    int64_t id;
    unsigned released;
    bool open;
} Watched;

static Watched watched[256];

/* Told of at most once, and never while something speaks against it. */
static void check_told(Setup *t, const Incident *i)
{
    const Service *v = fleet_service(t->fleet, i->app_id, i->pc_id);
    Watched *w = watched;

    while (w->id && w->id != i->id)
        w++;
    assert_true(w < watched + ELEMENTS(watched) - 1);
    if (v && v->maintenance &&
        (i->state == INCIDENT_PENDING || (i->state == INCIDENT_OPEN && !w->open)))
        fail_msg("an incident came up under maintenance");
    w->id = i->id;
    if (i->state == INCIDENT_OPEN && !i->held && !w->released) {
        w->released++;
        assert_true(!v || !v->silence);
        assert_int_equal(i->acked_ms, 0);
    }
    if (w->released)
        assert_false(i->held);
    if (i->state == INCIDENT_CLOSED)
        assert_true(i->held == !w->released);
    w->open = i->state == INCIDENT_OPEN;
}

static void on_any_incident(void *userdata, const Incident *i)
{
    check_told(userdata, i);
    on_incident(userdata, i);
}

static void one_thing(Setup *t, uint64_t *seed)
{
    const Want *want = &wants[roll(seed, ELEMENTS(wants))];
    const Incident *i = incidents_first(t->incidents);
    SilenceKind kind = roll(seed, 2) ? SILENCE_NOTICES : SILENCE_MAINTENANCE;
    size_t n = silences_n(t->silences);

    switch (roll(seed, 8)) {
    case 0:
        begin(t, kind, want->app_id, roll(seed, 2) ? want->pc_id : "", 1 + roll(seed, 300));
        break;
    case 1: begin(t, kind, "", want->pc_id, 1 + roll(seed, 300)); break;
    case 2:
        if (n)
            end(t, silences_at(t->silences, roll(seed, (uint32_t)n))->id);
        break;
    case 3:
        if (i && roll(seed, 4) == 0)
            incidents_ack(t->incidents, i->id, "local", "", now(t), &i);
        break;
    case 4: unit_is(t, want->app_id, want->pc_id, ACTIVE_ACTIVE); break;
    default: unit_is(t, want->app_id, want->pc_id, ACTIVE_FAILED);
    }
}

static void test_any_order(void **state)
{
    for (uint64_t round = 1; round <= 100; round++) {
        uint64_t seed = round;
        teardown(state);
        setup(state);
        Setup *t = *state;
        memset(watched, 0, sizeof watched);
        incidents_free(t->incidents);
        assert_int_equal(incidents_new(t->fleet, 20, 0, on_any_incident, t, &t->incidents), 0);
        for (int k = 0; k < 60; k++) {
            one_thing(t, &seed);
            pass(t, 1 + roll(&seed, 25));
        }
        /* left alone and broken: whoever was not acknowledged has been told of */
        for (size_t k = 0; k < ELEMENTS(wants); k++)
            unit_is(t, wants[k].app_id, wants[k].pc_id, ACTIVE_FAILED);
        pass(t, 330);
        assert_int_equal(silences_n(t->silences), 0);
        for (const Incident *i = incidents_first(t->incidents); i; i = i->next)
            assert_true(i->state == INCIDENT_OPEN && (i->held ? i->acked_ms > 0 : true));
        assert_non_null(incidents_first(t->incidents));
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_silenced_until_its_end),
        CASE(test_over_before_the_silence),
        CASE(test_no_late_opening_of_what_is_well),
        CASE(test_silenced_after_it_opened),
        CASE(test_silence_of_pcs),
        CASE(test_silenced_over_a_restart),
        CASE(test_acknowledged),
        CASE(test_acknowledged_while_pending),
        CASE(test_maintenance_keeps_incidents_back),
        CASE(test_maintenance_of_what_is_open),
        CASE(test_maintenance_of_all_but_one),
        CASE(test_maintenance_is_unobserved_and_shown),
        CASE(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
