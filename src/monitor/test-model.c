/* The model under snapshots, deltas, gaps, and more than it may hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"
#include "monitor/model.h"

static Model *m;
static int row_changes, pc_changes;
static Light last_before, last_after;

static void on_row(void *userdata, const ServiceRow *before, const ServiceRow *after)
{
    (void)userdata;
    row_changes++;
    last_before = before->light;
    last_after = after->light;
}

static void on_pc(void *userdata, const PcRow *before, const PcRow *after)
{
    (void)userdata;
    pc_changes += before->reachable != after->reachable;
}

static int fresh(void **state)
{
    (void)state;
    row_changes = pc_changes = 0;
    int r = model_new(&m);
    if (r == 0)
        model_watch(m, on_row, on_pc, NULL);
    return r;
}

static int drop(void **state)
{
    (void)state;
    m = model_free(m);
    return 0;
}

static Change *change(ChangeKind kind, size_t services, size_t pcs)
{
    Change *c = NULL;

    assert_int_equal(change_new(kind, 1000, &c), 0);
    c->services = calloc(services + 1, sizeof *c->services);
    c->pcs = calloc(pcs + 1, sizeof *c->pcs);
    assert_true(c->services && c->pcs);
    return c;
}

static void add_service(Change *c, const char *app, const char *pc, Light light)
{
    ServiceRow *row = &c->services[c->n_services++];

    strcpy(row->app_id, app);
    strcpy(row->pc_id, pc);
    row->light = light;
    row->latency_us = -1;
}

static void add_pc(Change *c, const char *pc, bool reachable)
{
    strcpy(c->pcs[c->n_pcs].pc_id, pc);
    c->pcs[c->n_pcs++].reachable = reachable;
}

static void add_transition(Change *c, int64_t id, int64_t ts, const char *evidence)
{
    if (!c->transitions)
        c->transitions = calloc(20000, sizeof *c->transitions);
    assert_non_null(c->transitions);
    Transition *t = &c->transitions[c->n_transitions++];
    t->row.id = id;
    t->row.ts = ts;
    strcpy(t->row.app_id, "a");
    strcpy(t->row.pc_id, "p1");
    t->evidence = evidence ? strdup(evidence) : NULL;
}

static void three_by_two(void)
{
    Change *c = change(CHANGE_SNAPSHOT, 5, 2);

    add_pc(c, "p2", true);
    add_pc(c, "p1", true);
    add_service(c, "b", "p2", LIGHT_OK);
    add_service(c, "a", "p1", LIGHT_OK);
    add_service(c, "c", "p1", LIGHT_OK);
    add_service(c, "a", "p2", LIGHT_OK);
    assert_int_equal(model_apply(m, c), 0);
}

static void test_snapshot(void **state)
{
    (void)state;
    three_by_two();
    assert_true(m->has_snapshot);
    assert_int_equal(m->n_pcs, 2);
    assert_int_equal(m->n_apps, 3);
    assert_int_equal(m->n_services, 4);
    size_t p1 = model_find_pc(m, "p1"), p2 = model_find_pc(m, "p2");
    assert_non_null(model_cell(m, p1, model_find_app(m, "c")));
    assert_null(model_cell(m, p2, model_find_app(m, "c")));
    assert_null(model_cell(m, p1, model_find_app(m, "b")));
    assert_string_equal(model_cell(m, p2, model_find_app(m, "b"))->pc_id, "p2");
    assert_int_equal(model_find_app(m, "nope"), MODEL_NONE);
    assert_int_equal(row_changes, 0);
}

static void test_delta(void **state)
{
    (void)state;
    three_by_two();
    Change *c = change(CHANGE_DELTA, 3, 1);
    add_service(c, "a", "p1", LIGHT_DOWN);
    add_service(c, "new", "p9", LIGHT_OK);
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(row_changes, 1);
    assert_int_equal(last_before, LIGHT_OK);
    assert_int_equal(last_after, LIGHT_DOWN);
    assert_int_equal(model_service(m, "a", "p1")->light, LIGHT_DOWN);
    assert_int_equal(m->n_pcs, 3);
    assert_non_null(model_cell(m, model_find_pc(m, "p9"), model_find_app(m, "new")));
    c = change(CHANGE_DELTA, 0, 1);
    add_pc(c, "p1", false);
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(pc_changes, 1);
}

static void test_checks(void **state)
{
    (void)state;
    three_by_two();
    Change *c = change(CHANGE_DELTA, 0, 0);
    c->checks = calloc(2, sizeof *c->checks);
    assert_non_null(c->checks);
    c->checks[0] = (Check){{"a", "p1"}, 5000, 1234};
    c->checks[1] = (Check){{"zz", "p1"}, 5000, 1};
    c->n_checks = 2;
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(model_service(m, "a", "p1")->last_check_ts, 5000);
    assert_int_equal(model_service(m, "a", "p1")->last_healthy_ts, 5000);
    assert_int_equal(model_service(m, "a", "p1")->latency_us, 1234);
    assert_int_equal(m->pcs[model_find_pc(m, "p1")].last_check_ts, 5000);
}

static void test_removed(void **state)
{
    (void)state;
    three_by_two();
    Change *c = change(CHANGE_DELTA, 0, 0);
    c->removed = calloc(2, sizeof *c->removed);
    assert_non_null(c->removed);
    c->removed[0] = (Pair){"a", "p1"};
    c->removed[1] = (Pair){"", "p2"};
    c->n_removed = 2;
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->n_pcs, 1);
    assert_int_equal(m->n_services, 1);
    assert_int_equal(m->n_apps, 1);
    assert_non_null(model_service(m, "c", "p1"));
}

static void test_second_snapshot_replaces(void **state)
{
    (void)state;
    three_by_two();
    Change *c = change(CHANGE_SNAPSHOT, 2, 1);
    add_pc(c, "p1", true);
    add_service(c, "a", "p1", LIGHT_DOWN);
    add_service(c, "z", "p1", LIGHT_OK);
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->n_services, 2);
    assert_int_equal(m->n_pcs, 1);
    assert_null(model_service(m, "c", "p1"));
    assert_int_equal(row_changes, 1);
    assert_int_equal(last_after, LIGHT_DOWN);
    c = change(CHANGE_SNAPSHOT, 0, 0);
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->n_services + m->n_pcs + m->n_apps, 0);
}

static void test_transitions(void **state)
{
    (void)state;
    Change *c = change(CHANGE_DELTA, 0, 0);
    add_transition(c, 5, 500, NULL);
    assert_int_equal(model_apply(m, c), 0);
    c = change(CHANGE_HISTORY, 0, 0);
    add_transition(c, 5, 500, NULL);
    add_transition(c, 4, 400, "old");
    add_transition(c, 3, 300, NULL);
    assert_int_equal(model_apply(m, c), 0);
    assert_true(m->has_history);
    assert_int_equal(m->n_transitions, 3);
    assert_int_equal(m->transitions_seen, 1);
    assert_int_equal(m->transitions[0].row.id, 3);
    assert_int_equal(m->transitions[2].row.id, 5);
    c = change(CHANGE_DELTA, 0, 0);
    add_transition(c, 5, 500, "exit code 1");
    add_transition(c, 4, 400, NULL);
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->n_transitions, 3);
    assert_string_equal(m->transitions[2].evidence, "exit code 1");
    assert_string_equal(m->transitions[1].evidence, "old");
}

static void test_transitions_are_bounded(void **state)
{
    (void)state;
    Change *c = change(CHANGE_DELTA, 0, 0);
    for (int i = 0; i < MODEL_TRANSITIONS_MAX + 500; i++)
        add_transition(c, i + 1, i + 1, i % 100 ? NULL : "x");
    assert_int_equal(model_apply(m, c), 0);
    assert_true(m->n_transitions <= MODEL_TRANSITIONS_MAX);
    assert_int_equal(m->transitions[m->n_transitions - 1].row.id, MODEL_TRANSITIONS_MAX + 500);
}

static void test_alerts(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_ALERTS_MAX + 10; i++) {
        Change *c = change(CHANGE_DELTA, 0, 0);
        c->alerts = calloc(1, sizeof *c->alerts);
        assert_non_null(c->alerts);
        c->n_alerts = 1;
        snprintf(c->alerts[0].id, sizeof c->alerts[0].id, "%d", i);
        c->alerts[0].behind = calloc(1, sizeof(Pair));
        assert_int_equal(model_apply(m, c), 0);
    }
    assert_int_equal(m->n_alerts, MODEL_ALERTS_MAX);
    assert_string_equal(m->alerts[0].id, "10");
    Change *c = change(CHANGE_SNAPSHOT, 0, 0);
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->n_alerts, 0);
}

static void test_details(void **state)
{
    char app[16];

    (void)state;
    for (int i = 0; i < MODEL_DETAILS_MAX * 2; i++) {
        snprintf(app, sizeof app, "a%d", i);
        assert_int_equal(model_want_detail(m, app, "p"), 0);
        assert_int_equal(model_want_detail(m, app, "p"), 0);
    }
    assert_int_equal(m->n_details, MODEL_DETAILS_MAX);
    assert_null(model_detail(m, "a0", "p"));
    Change *c = change(CHANGE_DETAIL, 0, 0);
    assert_int_equal(detail_new(app, "p", &c->detail), 0);
    c->detail->state = DETAIL_READY;
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(model_detail(m, app, "p")->state, DETAIL_READY);
    c = change(CHANGE_DETAIL, 0, 0);
    assert_int_equal(detail_new(app, "p", &c->detail), 0);
    c->detail->state = DETAIL_FAILED;
    strcpy(c->detail->error, "gone");
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(model_detail(m, app, "p")->state, DETAIL_READY);
    assert_string_equal(model_detail(m, app, "p")->error, "gone");
    c = change(CHANGE_DETAIL, 0, 0);
    assert_int_equal(detail_new("nobody", "p", &c->detail), 0);
    assert_int_equal(model_apply(m, c), 0);
    assert_null(model_detail(m, "nobody", "p"));
}

static void set_state(ClientState s, int64_t when)
{
    Change *c = change(CHANGE_STATE, 0, 0);

    c->state = s;
    c->received_ms = when;
    strcpy(c->text, s == CLIENT_LOST ? "refused" : "");
    assert_int_equal(model_apply(m, c), 0);
}

static void test_stale(void **state)
{
    (void)state;
    assert_true(model_is_stale(m, 1000));
    set_state(CLIENT_CONNECTING, 1000);
    set_state(CLIENT_LIVE, 2000);
    assert_false(model_is_stale(m, 999999));
    set_state(CLIENT_LOST, 5000);
    assert_string_equal(m->sentence, "refused");
    assert_false(model_is_stale(m, 6000));
    assert_true(model_is_stale(m, 7001));
    set_state(CLIENT_LOST, 8000); /* a further attempt that failed does not make it fresher */
    assert_int_equal(m->lost_ms, 5000);
    assert_true(model_is_stale(m, 8001));
    set_state(CLIENT_LIVE, 9000);
    assert_false(model_is_stale(m, 9001));
}

static void test_clock_offset(void **state)
{
    (void)state;
    Change *c = change(CHANGE_DELTA, 0, 0);
    c->ts = 1000 + 1500;
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->offset_ms, 0);
    c = change(CHANGE_DELTA, 0, 0);
    c->ts = 91000;
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(m->offset_ms, 90000);
}

static void test_random_against_list(void **state)
{
    bool there[8][8] = {{false}};
    char app[8], pc[8];

    (void)state;
    srand(11);
    for (int step = 0; step < 1000; step++) {
        int a = rand() % 8, p = rand() % 8;
        Change *c = change(CHANGE_DELTA, 1, 0);
        snprintf(app, sizeof app, "a%d", a);
        snprintf(pc, sizeof pc, "p%d", p);
        there[p][a] = rand() % 2;
        if (there[p][a])
            add_service(c, app, pc, LIGHT_OK);
        else {
            c->removed = calloc(1, sizeof *c->removed);
            assert_non_null(c->removed);
            strcpy(c->removed[0].app_id, app);
            strcpy(c->removed[0].pc_id, pc);
            c->n_removed = 1;
        }
        assert_int_equal(model_apply(m, c), 0);
        size_t n = 0;
        for (p = 0; p < 8; p++)
            for (a = 0; a < 8; a++) {
                snprintf(app, sizeof app, "a%d", a);
                snprintf(pc, sizeof pc, "p%d", p);
                n += there[p][a];
                size_t i = model_find_pc(m, pc), k = model_find_app(m, app);
                bool cell = i != MODEL_NONE && k != MODEL_NONE && model_cell(m, i, k);
                assert_int_equal(cell, there[p][a]);
            }
        assert_int_equal(m->n_services, n);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, drop)
    const struct CMUnitTest tests[] = {
        TEST(test_snapshot),
        TEST(test_delta),
        TEST(test_checks),
        TEST(test_removed),
        TEST(test_second_snapshot_replaces),
        TEST(test_transitions),
        TEST(test_transitions_are_bounded),
        TEST(test_alerts),
        TEST(test_details),
        TEST(test_stale),
        TEST(test_clock_offset),
        TEST(test_random_against_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
