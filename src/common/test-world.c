/* The picture a client builds: snapshot, deltas, removals, hostile messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/world.h"

#define ROW(app, pc, actual, light)                                                              \
    "{\"app_id\":\"" app "\",\"pc_id\":\"" pc "\",\"expected\":\"running\",\"actual\":\"" actual \
    "\",\"light\":\"" light "\",\"cause\":null}"

#define PC(id) \
    "{\"pc_id\":\"" id "\",\"is_self\":false,\"reachable\":true,\"cause\":null,\"events\":true}"

static int apply(World *w, const char *type, const char *text)
{
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));

    assert_non_null(j);
    return world_apply(w, type, j);
}

static World snapshot(void)
{
    World w = {0};

    assert_int_equal(
        apply(&w, "snapshot",
              "{\"seq\":7,\"ts\":1000,\"pcs\":[" PC("b") "," PC("a") "],\"services\":[" ROW(
                  "web", "b", "running",
                  "ok") "," ROW("db", "a", "failed",
                                "down") "],"
                                        "\"alerts\":[{\"id\":5,\"state\":\"open\",\"app_id\":"
                                        "\"db\",\"pc_id\":\"a\","
                                        "\"began_ts\":900,\"sentence\":\"exit code "
                                        "1\",\"behind\":[]}]}"),
        0);
    return w;
}

static void test_snapshot_is_sorted(void **state)
{
    World w = snapshot();

    (void)state;
    assert_int_equal(w.seq, 7);
    assert_int_equal(w.n_services, 2);
    assert_string_equal(w.services[0].pc_id, "a");
    assert_string_equal(w.pcs[0].pc_id, "a");
    assert_int_equal(w.n_alerts, 1);
    assert_string_equal(w.alerts[0].sentence, "exit code 1");
    world_done(&w);
}

static void test_delta_changes_adds_and_removes(void **state)
{
    World w = snapshot();

    (void)state;
    assert_int_equal(
        apply(&w, "delta",
              "{\"seq\":8,\"ts\":2000,\"services\":[" ROW("db", "a", "running", "ok") "," ROW(
                  "new", "a", "starting",
                  "warn") "],\"checks\":[[\"web\",\"b\",1999,1.5],[\"gone\",\"b\",1,null]],"
                          "\"removed\":[[\"none\",\"b\"]],\"alerts\":[{\"id\":5,\"state\":"
                          "\"closed\",\"app_id\":\"db\",\"pc_id\":\"a\"}],"
                          "\"transitions\":[{\"id\":9,\"ts\":1998,\"app_id\":\"db\",\"pc_id\":"
                          "\"a\",\"from\":\"failed\",\"to\":\"running\",\"cause\":null}]}"),
        0);
    assert_int_equal(w.n_services, 3);
    assert_int_equal(world_service(&w, "a", "db")->actual, ACTUAL_RUNNING);
    assert_int_equal(world_service(&w, "a", "new")->light, LIGHT_WARN);
    assert_int_equal(world_service(&w, "b", "web")->last_check_ts, 1999);
    assert_int_equal(world_service(&w, "b", "web")->latency_us, 1500);
    assert_int_equal(w.n_alerts, 0);
    assert_int_equal(world_transition(&w, 0)->to, ACTUAL_RUNNING);
    assert_null(world_transition(&w, 1));
    assert_int_equal(apply(&w, "delta", "{\"seq\":9,\"removed\":[[\"db\",\"a\"],[null,\"b\"]]}"),
                     0);
    assert_null(world_service(&w, "a", "db"));
    assert_null(world_pc(&w, "b"));
    assert_int_equal(w.seq, 9);
    world_done(&w);
}

static void test_hostile_messages(void **state)
{
    static const char *const bad[] = {
        "{\"seq\":8,\"services\":[{}]}",
        "{\"seq\":8,\"services\":[" ROW("../x", "a", "running", "ok") "]}",
        "{\"seq\":8,\"services\":[" ROW("x", "a", "purple", "ok") "]}",
        "{\"seq\":8,\"pcs\":[{\"pc_id\":7}]}",
        "{\"seq\":8,\"checks\":[[1,2]]}",
        "{\"seq\":8,\"removed\":[[\"a\"]]}",
        "{\"seq\":8,\"transitions\":[{\"id\":\"x\"}]}",
        "{\"seq\":8,\"alerts\":[{\"id\":0,\"state\":\"open\"}]}",
        "{\"seq\":8,\"alerts\":[{\"id\":1,\"state\":\"a state that is far too long\"}]}",
        "[]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        World w = snapshot();
        assert_int_equal(apply(&w, "delta", bad[i]), -EBADMSG);
        assert_int_equal(w.seq, 7); /* not taken over */
        assert_non_null(world_service(&w, "b", "web"));
        world_done(&w);
    }
}

static void test_transitions_are_a_ring(void **state)
{
    World w = snapshot();
    char text[512];

    (void)state;
    for (int i = 1; i <= 2 * WORLD_TRANSITIONS_MAX; i++) {
        snprintf(text, sizeof text,
                 "{\"seq\":%d,\"transitions\":[{\"id\":%d,\"ts\":%d,\"app_id\":\"db\",\"pc_id\":"
                 "\"a\",\"from\":\"failed\",\"to\":\"running\",\"cause\":null}]}",
                 7 + i, i, i);
        assert_int_equal(apply(&w, "delta", text), 0);
    }
    assert_int_equal(world_transition(&w, 0)->id, 2 * WORLD_TRANSITIONS_MAX);
    assert_int_equal(world_transition(&w, WORLD_TRANSITIONS_MAX - 1)->id,
                     WORLD_TRANSITIONS_MAX + 1);
    assert_null(world_transition(&w, WORLD_TRANSITIONS_MAX));
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_is_sorted),
        cmocka_unit_test(test_delta_changes_adds_and_removes),
        cmocka_unit_test(test_hostile_messages),
        cmocka_unit_test(test_transitions_are_a_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
