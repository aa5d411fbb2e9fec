/* A small fleet for the tests of publish and stream: PCs pc-1 and pc-2, on each the services a0,
 * a1,
 * ... */
#pragma once

#include <stdio.h>
#include <string.h>

#include "api/fleet.h"
#include "api/publish.h"
#include "basic/macro.h"

#define TEST_PCS          2
#define TEST_SERVICES_MAX 64

typedef struct TestFleet {
    Fleet *fleet;
    Publish *publish; /* gets `removed` when it is set */
    Now now;
} TestFleet;

static void test_on_transition(void *userdata, FleetPc *pc, Service *s, const TransitionRow *row,
                               const Change *change)
{
    TestFleet *t = userdata;

    (void)pc;
    (void)s;
    (void)change;
    publish_transition(t->publish, row);
}

static void test_on_removed(void *userdata, FleetPc *pc, Service *s)
{
    TestFleet *t = userdata;

    publish_removed(t->publish, s ? s->want.app_id : NULL, pc->pc_id);
}

static void test_on_check(void *userdata, Service *s, int64_t ts_ms)
{
    (void)userdata;
    (void)s;
    (void)ts_ms;
}

static void test_on_hour(void *userdata, Service *s, int64_t hour_ms, uint32_t healthy_ms,
                         uint32_t observed_ms, uint32_t transitions)
{
    (void)userdata;
    (void)s;
    (void)hour_ms;
    (void)healthy_ms;
    (void)observed_ms;
    (void)transitions;
}

static void test_on_changed(void *userdata)
{
    (void)userdata;
}

static void test_on_added(void *userdata, FleetPc *pc, Service *s)
{
    (void)userdata;
    (void)pc;
    (void)s;
}

/* n services on each of the first n_pcs PCs. */
static int test_fleet_apply(TestFleet *t, size_t n_pcs, size_t n)
{
    static char app_ids[TEST_SERVICES_MAX][24], pc_ids[TEST_PCS][24];
    RegistryPc pcs[TEST_PCS] = {0};
    Want wants[TEST_PCS * TEST_SERVICES_MAX];
    Registry registry = {.pcs = pcs, .n_pcs = n_pcs};
    size_t n_wants = 0;

    for (size_t i = 0; i < n_pcs; i++) {
        snprintf(pc_ids[i], sizeof pc_ids[i], "pc-%zu", i + 1);
        pcs[i].pc_id = pc_ids[i];
        for (size_t k = 0; k < n; k++) {
            snprintf(app_ids[k], sizeof app_ids[k], "a%zu", k);
            wants[n_wants++] = (Want){.app_id = app_ids[k],
                                      .pc_id = pc_ids[i],
                                      .unit = "some.service",
                                      .health = "/health",
                                      .port = 8000,
                                      .timeout_ms = 2000};
        }
    }
    return fleet_apply(t->fleet, &registry, n_pcs ? &pcs[0] : NULL, wants, n_wants, t->now);
}

static int test_fleet_new(TestFleet *t, PublishCallback callback, void *userdata)
{
    static const FleetOps ops = {
        .transition = test_on_transition,
        .check = test_on_check,
        .hour = test_on_hour,
        .changed = test_on_changed,
        .removed = test_on_removed,
        .added = test_on_added,
    };

    *t = (TestFleet){.now = {.mono_us = 1000 * USEC_PER_SEC, .wall_ms = INT64_C(1700000000000)}};
    int r = fleet_new(&ops, t, 10000, 1700000000, &t->fleet);
    if (r >= 0)
        r = publish_new(t->fleet, "{\"actions\":false}", callback, userdata, &t->publish);
    return r;
}

static void test_fleet_done(TestFleet *t)
{
    t->publish = publish_free(t->publish);
    t->fleet = fleet_free(t->fleet);
}

UNUSED static void test_fleet_pass(TestFleet *t, uint64_t ms)
{
    t->now.mono_us += ms * USEC_PER_MSEC;
    t->now.wall_ms += (int64_t)ms;
}

/* A change that everybody sees: the unit's state flips. */
UNUSED static void test_fleet_unit(TestFleet *t, const char *app_id, ActiveState active)
{
    Service *s = fleet_service(t->fleet, app_id, "pc-1");
    UnitFacts facts = {.load = LOAD_LOADED,
                       .active = active,
                       .kind = KIND_SERVICE,
                       .has_details = true,
                       .invocation = {1}};
    snprintf(facts.sub, sizeof facts.sub, "%s", active == ACTIVE_ACTIVE ? "running" : "failed");
    snprintf(facts.result, sizeof facts.result, "%s",
             active == ACTIVE_ACTIVE ? "success" : "exit-code");

    fleet_unit(t->fleet, s, &facts, true, t->now);
}

/* A look that changes nothing but its time and latency (after the first). */
UNUSED static void test_fleet_check(TestFleet *t, const char *app_id, int32_t latency_us)
{
    Service *s = fleet_service(t->fleet, app_id, "pc-1");
    HttpFacts facts = {.outcome = HTTP_OK,
                       .status = 200,
                       .latency_us = latency_us,
                       .started_us = t->now.mono_us,
                       .at_us = t->now.mono_us};

    fleet_http(t->fleet, s, &facts, t->now);
}

UNUSED static void test_fleet_reachable(TestFleet *t, const char *pc_id)
{
    PcFacts facts = {.known = true, .reachable = true};

    fleet_pc_answer(t->fleet, fleet_pc(t->fleet, pc_id), &facts, t->now);
}
