/* Publish over a real fleet of two PCs: deltas, the ring and its limits, cached bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "api/test-publish.h"
#include "common/json.h"

static struct {
    TestFleet f;
    uint64_t seq; /* of the last message */
    size_t calls;
    char *json;
    Json *message;
} t;

static void on_message(void *userdata, uint64_t seq, const char *json, size_t len)
{
    assert_ptr_equal(userdata, &t);
    assert_int_equal(seq, t.seq + 1); /* gap-free */
    t.seq = seq;
    t.calls++;
    free(t.json);
    t.json = strndup(json, len);
    t.message = json_free(t.message);
    t.message = json_parse(json, len);
    assert_non_null(t.message);
    assert_int_equal(json_as_int(json_get(t.message, "seq"), 0), seq);
    assert_string_equal(json_as_string(json_get(t.message, "type"), ""), "delta");
    assert_string_equal(json_as_string(json_get(t.message, "stream"), ""),
                        publish_stream(t.f.publish));
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    assert_int_equal(test_fleet_new(&t.f, on_message, &t), 0);
    assert_int_equal(test_fleet_apply(&t.f, 2, 3), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_fleet_done(&t.f);
    t.message = json_free(t.message);
    free(t.json);
    return 0;
}

static void flush(void)
{
    test_fleet_pass(&t.f, 1000);
    publish_flush(t.f.publish, t.f.now);
}

static size_t count(const char *key)
{
    const Json *array = json_get(t.message, key);

    assert_true(json_is_array(array));
    return json_length(array);
}

static void test_first_delta_has_all(void **state)
{
    (void)state;
    assert_int_equal(publish_seq(t.f.publish), 0);
    assert_int_equal(strlen(publish_stream(t.f.publish)), 16);
    flush();
    assert_int_equal(t.calls, 1);
    assert_int_equal(count("pcs"), 2);
    assert_int_equal(count("services"), 6);
    assert_int_equal(count("checks"), 0);
    assert_int_equal(count("removed"), 0);
    flush();
    assert_int_equal(t.calls, 1); /* nothing new: nothing said */
    assert_int_equal(publish_seq(t.f.publish), 1);
}

static void test_change_is_one_row(void **state)
{
    (void)state;
    test_fleet_reachable(&t.f, "pc-1");
    test_fleet_unit(&t.f, "a1", ACTIVE_ACTIVE);
    flush();
    test_fleet_unit(&t.f, "a1", ACTIVE_FAILED);
    flush();
    assert_int_equal(t.calls, 2);
    assert_int_equal(count("services"), 1);
    const Json *row = json_first(json_get(t.message, "services"));
    assert_string_equal(json_as_string(json_get(row, "app_id"), ""), "a1");
    assert_string_equal(json_as_string(json_get(row, "systemd_state"), ""), "failed");
    assert_int_equal(count("pcs"), 0);
    assert_int_equal(count("checks"), 0);
}

static void test_check_is_four_values(void **state)
{
    (void)state;
    test_fleet_reachable(&t.f, "pc-1");
    for (int i = 0; i < 2; i++) {
        test_fleet_unit(&t.f, "a0", ACTIVE_ACTIVE);
        test_fleet_check(&t.f, "a0", 1500);
        flush();
    }
    test_fleet_check(&t.f, "a0", 2500);
    int64_t ts = t.f.now.wall_ms;
    flush();
    assert_int_equal(count("services"), 0);
    assert_int_equal(count("checks"), 1);
    const Json *app = json_first(json_first(json_get(t.message, "checks")));
    const Json *pc = json_next(app), *at = json_next(pc), *latency = json_next(at);
    assert_string_equal(json_as_string(app, ""), "a0");
    assert_string_equal(json_as_string(pc, ""), "pc-1");
    assert_int_equal(json_as_int(at, 0), ts);
    assert_true(json_as_double(latency, 0) == 2.5);
    assert_null(json_next(latency));
}

static void test_removed(void **state)
{
    (void)state;
    flush();
    assert_int_equal(test_fleet_apply(&t.f, 1, 2), 0);
    flush();
    bool pc_gone = false;
    size_t services_gone = 0;
    for (const Json *r = json_first(json_get(t.message, "removed")); r; r = json_next(r)) {
        const Json *app = json_first(r), *pc = json_next(app);
        assert_non_null(json_as_string(pc, NULL));
        if (json_is_null(app))
            pc_gone = strcmp(json_as_string(pc, ""), "pc-2") == 0;
        else
            services_gone++;
    }
    assert_true(pc_gone);
    assert_true(services_gone >= 1); /* a2 of pc-1; those of pc-2 may go with it */
}

static void test_transitions_and_alerts(void **state)
{
    TransitionRow row = {.id = 7,
                         .ts = 1,
                         .app_id = "a0",
                         .pc_id = "pc-1",
                         .from = ACTUAL_RUNNING,
                         .to = ACTUAL_FAILED,
                         .cause = CAUSE_EXIT_CODE,
                         .sentence = "exit code 1 </script> \xff",
                         .evidence = "{\"exit_code\":1}"};

    (void)state;
    flush();
    publish_transition(t.f.publish, &row);
    row.id = 8;
    row.evidence = NULL;
    publish_transition(t.f.publish, &row);
    publish_alert(t.f.publish, "{\"id\":1}", 8);
    publish_alert(t.f.publish, "{\"id\":2}", 8);
    flush();
    assert_int_equal(count("transitions"), 2);
    assert_int_equal(count("alerts"), 2);
    const Json *first = json_first(json_get(t.message, "transitions"));
    assert_int_equal(json_as_int(json_get(first, "id"), 0), 7);
    assert_int_equal(json_as_int(json_get(json_get(first, "evidence"), "exit_code"), 0), 1);
    assert_int_equal(json_as_int(json_get(json_next(first), "id"), 0), 8);
    flush();
    assert_int_equal(t.calls, 2); /* they were said once */
}

static bool hello_has(const char *part)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(4096);

    publish_hello(t.f.publish, &b);
    return strstr(buffer_cstr(&b), part) != NULL;
}

static void test_features(void **state)
{
    static const char off[] = "{\"actions\":false,\"auto_fix\":false}";
    static const char on[] = "{\"actions\":true,\"auto_fix\":false}";

    (void)state;
    flush();
    assert_int_equal(publish_features(t.f.publish, off), 0);
    flush();
    size_t before = t.calls;
    assert_int_equal(publish_features(t.f.publish, on), 0);
    assert_true(hello_has("\"actions\":true"));
    flush();
    assert_int_equal(t.calls, before + 1);
    const Json *features = json_get(t.message, "features");
    assert_true(json_as_bool(json_get(features, "actions"), false));
    assert_false(json_as_bool(json_get(features, "auto_fix"), true));
    assert_int_equal(publish_features(t.f.publish, on), 0);
    flush(); /* it was said */
    assert_int_equal(t.calls, before + 1);
}

static void test_hello_and_snapshot(void **state)
{
    Buffer b = BUFFER_INIT(1U << 20);

    (void)state;
    flush();
    publish_hello(t.f.publish, &b);
    Json *hello = json_parse(b.data, b.len);
    assert_string_equal(json_as_string(json_get(hello, "type"), ""), "hello");
    assert_int_equal(json_as_int(json_get(hello, "protocol"), 0), PROTOCOL_VERSION);
    assert_string_equal(json_as_string(json_get(hello, "version"), ""), SERVICES_MONITOR_VERSION);
    assert_int_equal(json_as_int(json_get(hello, "seq"), 0), 1);
    assert_false(json_as_bool(json_get(json_get(hello, "features"), "actions"), true));
    json_free(hello);
    buffer_reset(&b);
    publish_snapshot(t.f.publish, t.f.now, &b);
    Json *snapshot = json_parse(b.data, b.len);
    assert_string_equal(json_as_string(json_get(snapshot, "type"), ""), "snapshot");
    assert_string_equal(json_as_string(json_get(snapshot, "stream"), ""),
                        publish_stream(t.f.publish));
    assert_int_equal(json_as_int(json_get(snapshot, "seq"), 0), 1);
    assert_int_equal(json_length(json_get(snapshot, "pcs")), 2);
    assert_int_equal(json_length(json_get(snapshot, "services")), 6);
    json_free(snapshot);
    buffer_done(&b);
}

typedef struct Replay {
    uint64_t first, last, n, bytes;
} Replay;

static void on_replay(void *userdata, uint64_t seq, const char *json, size_t len)
{
    Replay *r = userdata;
    Json *message = json_parse(json, len);

    assert_int_equal(json_as_int(json_get(message, "seq"), 0), seq);
    json_free(message);
    if (r->n++ == 0)
        r->first = seq;
    else
        assert_int_equal(seq, r->last + 1);
    r->last = seq;
    r->bytes += len;
}

static int replay(const char *stream, uint64_t since, Replay *r)
{
    *r = (Replay){0};
    return publish_replay(t.f.publish, stream, since, on_replay, r);
}

static void test_replay(void **state)
{
    Replay r;
    const char *stream = publish_stream(t.f.publish);

    (void)state;
    assert_int_equal(replay(stream, 0, &r), 0);
    assert_int_equal(r.n, 0);
    for (int i = 0; i < 5; i++) {
        publish_alert(t.f.publish, "{}", 2);
        flush();
    }
    assert_int_equal(replay(stream, 5, &r), 0);
    assert_int_equal(r.n, 0);
    assert_int_equal(replay(stream, 2, &r), 0);
    assert_int_equal(r.first, 3);
    assert_int_equal(r.last, 5);
    assert_int_equal(replay(stream, 0, &r), 0);
    assert_int_equal(r.n, 5);
    assert_int_equal(replay(stream, 6, &r), -ESTALE);
    assert_int_equal(replay(stream, UINT64_MAX, &r), -ESTALE);
    assert_int_equal(replay("0000000000000000", 5, &r), -ESTALE);
    assert_int_equal(replay("", 5, &r), -ESTALE);
    assert_int_equal(r.n, 0);
}

static void test_ring_forgets_by_count(void **state)
{
    Replay r;
    const uint64_t n = PUBLISH_RING_MESSAGES + 100;

    (void)state;
    for (uint64_t i = 0; i < n; i++) {
        publish_alert(t.f.publish, "{}", 2);
        publish_flush(t.f.publish, t.f.now);
    }
    assert_int_equal(t.seq, n);
    assert_int_equal(replay(publish_stream(t.f.publish), 100, &r), 0);
    assert_int_equal(r.n, PUBLISH_RING_MESSAGES);
    assert_int_equal(replay(publish_stream(t.f.publish), 99, &r), -ESTALE);
}

static void alert_of(size_t len)
{
    char *json = malloc(len);

    assert_non_null(json);
    memset(json, 'x', len);
    json[0] = json[len - 1] = '"';
    publish_alert(t.f.publish, json, len);
    free(json);
    publish_flush(t.f.publish, t.f.now);
}

static void test_ring_forgets_by_bytes(void **state)
{
    Replay r;
    const char *stream = publish_stream(t.f.publish);

    (void)state;
    for (int i = 0; i < 20; i++)
        alert_of(1U << 20);
    assert_int_equal(replay(stream, 13, &r), 0);
    assert_true(r.bytes <= PUBLISH_RING_BYTES);
    assert_int_equal(replay(stream, 11, &r), -ESTALE);
    alert_of(PUBLISH_RING_BYTES); /* sent, but too large to be kept */
    assert_int_equal(t.seq, 21);
    assert_int_equal(replay(stream, 20, &r), -ESTALE);
    assert_int_equal(replay(stream, 21, &r), 0);
    alert_of(100);
    assert_int_equal(replay(stream, 21, &r), 0);
    assert_int_equal(r.n, 1);
    assert_int_equal(replay(stream, 20, &r), -ESTALE);
}

/* What cannot be said leaves a gap that everybody sees, and no message that lies. */
static void test_too_much_is_a_gap(void **state)
{
    static char json[4U << 20];
    Replay r;

    (void)state;
    flush();
    memset(json, 'x', sizeof json);
    json[0] = json[sizeof json - 1] = '"';
    for (int i = 0; i < 5; i++)
        publish_alert(t.f.publish, json, sizeof json);
    flush();
    assert_int_equal(t.calls, 1);
    assert_int_equal(publish_seq(t.f.publish), 2);
    assert_int_equal(replay(publish_stream(t.f.publish), 1, &r), -ESTALE);
    t.seq = 2;
    publish_alert(t.f.publish, "{}", 2);
    flush();
    assert_int_equal(t.seq, 3);
    assert_int_equal(count("alerts"), 1);
    assert_int_equal(replay(publish_stream(t.f.publish), 2, &r), 0);
    assert_int_equal(r.n, 1);
}

static void test_bodies(void **state)
{
    size_t len, pcs_len, again_len;

    (void)state;
    flush();
    const char *json = publish_services(t.f.publish, &len);
    Json *services = json_parse(json, len);
    assert_int_equal(json_length(services), 6);
    json_free(services);
    const char *pcs = publish_pcs(t.f.publish, &pcs_len);
    services = json_parse(pcs, pcs_len);
    assert_int_equal(json_length(services), 2);
    json_free(services);
    assert_ptr_equal(publish_services(t.f.publish, &again_len), json);
    assert_int_equal(again_len, len);
    test_fleet_reachable(&t.f, "pc-1");
    test_fleet_unit(&t.f, "a0", ACTIVE_FAILED);
    json = publish_services(t.f.publish, &len); /* also what was not flushed yet */
    assert_non_null(strstr(json, "\"systemd_state\":\"failed\""));
    assert_int_equal(test_fleet_apply(&t.f, 0, 0), 0);
    json = publish_services(t.f.publish, &len);
    assert_string_equal(json, "[]");
    assert_string_equal(publish_pcs(t.f.publish, &len), "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_delta_has_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_change_is_one_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_is_four_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transitions_and_alerts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_features, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hello_and_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ring_forgets_by_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ring_forgets_by_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much_is_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
