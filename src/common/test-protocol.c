/* Rows to JSON and back, the exact text of the contract, and rows from a hostile daemon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "common/protocol.h"

#define CHECK(b, expected)                             \
    do {                                               \
        assert_int_equal(buffer_error(b), 0);          \
        assert_string_equal(buffer_cstr(b), expected); \
        buffer_done(b);                                \
    } while (0)

static const ServiceRow quiet = {
    .app_id = "sqlite_api",
    .pc_id = "organic-machine.com",
    .actual = ACTUAL_RUNNING,
    .port_listening = -1,
    .latency_us = -1,
};

static const ServiceRow loud = {
    .app_id = "a",
    .pc_id = "b",
    .title = "SQLite <API>",
    .tag = "service",
    .expected = EXPECTED_STOPPED,
    .actual = ACTUAL_DEGRADED,
    .light = LIGHT_WARN,
    .cause = CAUSE_HTTP_STATUS,
    .sentence = "HTTP status 500",
    .hints = HINT_NOT_ENABLED | HINT_LINGER_OFF,
    .port = 8401,
    .systemd_state = "active",
    .port_listening = 1,
    .http_status = 500,
    .latency_us = 12345,
    .since_ts = 1700000000001,
    .last_check_ts = 1700000000002,
    .last_healthy_ts = 1700000000003,
    .transitions_24h = 7,
    .restarts = 3,
    .maintenance = {1700000000004, "new <disk>"},
};

static void test_service_text(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(4096);

    service_row_write(&b, &quiet);
    CHECK(&b, "{\"app_id\":\"sqlite_api\",\"pc_id\":\"organic-machine.com\","
              "\"expected\":\"running\",\"actual\":\"running\",\"light\":\"ok\",\"cause\":null,"
              "\"sentence\":null,\"port\":null,\"systemd_state\":null,\"port_listening\":null,"
              "\"http_status\":null,\"latency_ms\":null,\"since_ts\":null,\"last_check_ts\":null,"
              "\"last_healthy_ts\":null,\"transitions_24h\":0,\"restarts\":0}");
    service_row_write(&b, &loud);
    CHECK(&b,
          "{\"app_id\":\"a\",\"pc_id\":\"b\",\"title\":\"SQLite \\u003cAPI>\",\"tag\":\"service\","
          "\"expected\":\"stopped\",\"actual\":\"degraded\",\"light\":\"warn\","
          "\"cause\":\"http-status\",\"sentence\":\"HTTP status 500\","
          "\"hints\":[\"not-enabled\",\"linger-off\"],\"port\":8401,\"systemd_state\":\"active\","
          "\"port_listening\":true,\"http_status\":500,\"latency_ms\":12.345,"
          "\"since_ts\":1700000000001,\"last_check_ts\":1700000000002,"
          "\"last_healthy_ts\":1700000000003,\"transitions_24h\":7,\"restarts\":3,"
          "\"maintenance\":{\"until_ts\":1700000000004,\"comment\":\"new \\u003cdisk>\"}}");
}

static int read_service(const char *text, ServiceRow *ret)
{
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));

    assert_non_null(j);
    return service_row_read(j, ret);
}

static void check_same_service(const ServiceRow *a)
{
    Buffer b = BUFFER_INIT(4096), again = BUFFER_INIT(4096);
    ServiceRow back;

    service_row_write(&b, a);
    assert_int_equal(read_service(buffer_cstr(&b), &back), 0);
    service_row_write(&again, &back);
    assert_string_equal(buffer_cstr(&b), buffer_cstr(&again));
    assert_int_equal(back.latency_us, a->latency_us);
    assert_int_equal(back.port_listening, a->port_listening);
    assert_int_equal(back.hints, a->hints);
    assert_string_equal(back.title, a->title);
    buffer_done(&b);
    buffer_done(&again);
}

static void test_service_round_trip(UNUSED void **state)
{
    ServiceRow row = loud;

    check_same_service(&quiet);
    check_same_service(&loud);
    row.port_listening = 0;
    row.port = UINT16_MAX;
    row.latency_us = 0;
    row.restarts = UINT32_MAX;
    row.hints = HINT_LINGER_OFF;
    check_same_service(&row);
    row.latency_us = INT32_MAX;
    check_same_service(&row);
    for (int i = 0; i < ACTUAL_MAX; i++) {
        row.actual = (Actual)i;
        check_same_service(&row);
    }
    for (int i = 0; i < CAUSE_MAX; i++) {
        row.cause = (Cause)i;
        check_same_service(&row);
    }
}

#define KEYS "\"app_id\":\"a\",\"pc_id\":\"b\",\"expected\":\"running\",\"actual\":\"failed\","

static void test_service_refused(UNUSED void **state)
{
    static const char *const bad[] = {
        "[]",
        "null",
        "1",
        "{}",
        "{\"app_id\":\"a\",\"pc_id\":\"b\"}",
        "{" KEYS "\"x\":1}",
        "{" KEYS "\"light\":\"green\"}",
        "{" KEYS "\"light\":1}",
        "{\"app_id\":\"-a\",\"pc_id\":\"b\",\"expected\":\"running\",\"actual\":\"failed\","
        "\"light\":\"ok\"}",
        "{\"app_id\":\"a\",\"pc_id\":\"b/"
        "c\",\"expected\":\"running\",\"actual\":\"failed\",\"light\":\"ok\"}",
        "{\"app_id\":7,\"pc_id\":\"b\",\"expected\":\"running\",\"actual\":\"failed\",\"light\":"
        "\"ok\"}",
        "{\"app_id\":\"a\",\"pc_id\":\"b\",\"expected\":\"\",\"actual\":\"failed\",\"light\":"
        "\"ok\"}",
        "{\"app_id\":\"a\",\"pc_id\":\"b\",\"expected\":\"running\",\"actual\":null,\"light\":"
        "\"ok\"}",
    };
    ServiceRow row = loud;

    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(read_service(bad[i], &row), -EBADMSG);
    assert_memory_equal(&row, &loud, sizeof row); /* untouched */
    assert_int_equal(service_row_read(NULL, &row), -EBADMSG);
}

static void test_service_odd_values(UNUSED void **state)
{
    ServiceRow row;

    assert_int_equal(
        read_service(
            "{" KEYS "\"light\":\"down\",\"port\":70000,\"http_status\":-5,"
            "\"latency_ms\":1e300,\"since_ts\":-9,\"restarts\":1.5,\"cause\":\"from-the-future\","
            "\"hints\":[\"linger-off\",7,null,\"?\"],\"title\":\"\\u001b[31m\\u202e\","
            "\"sentence\":{\"a\":1},\"port_listening\":\"yes\",\"unknown\":[1]}",
            &row),
        0);
    assert_int_equal(row.light, LIGHT_DOWN);
    assert_int_equal(row.port, 0);
    assert_int_equal(row.http_status, 0);
    assert_int_equal(row.latency_us, -1);
    assert_int_equal(row.since_ts, 0);
    assert_int_equal(row.restarts, 0);
    assert_int_equal(row.cause, CAUSE_NONE);
    assert_int_equal(row.hints, HINT_LINGER_OFF);
    assert_string_equal(row.title, "?[31m?");
    assert_string_equal(row.sentence, "");
    assert_int_equal(row.port_listening, 0);
}

static void test_long_texts_are_cut(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(1 << 16);
    char huge[2000];
    ServiceRow row;

    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    buffer_printf(&b, "{" KEYS "\"light\":\"ok\",\"title\":\"%s\",\"sentence\":\"%s\",", huge,
                  huge);
    buffer_printf(&b, "\"tag\":\"%s\",\"systemd_state\":\"%s\"}", huge, huge);
    assert_int_equal(read_service(buffer_cstr(&b), &row), 0);
    assert_int_equal(strlen(row.title), TITLE_MAX);
    assert_int_equal(strlen(row.sentence), SENTENCE_MAX - 1);
    assert_int_equal(strlen(row.tag), ID_MAX);
    assert_int_equal(strlen(row.systemd_state), sizeof row.systemd_state - 1);
    buffer_done(&b);
}

static void test_pc(UNUSED void **state)
{
    static const char text[] =
        "{\"pc_id\":\"a\",\"is_self\":true,\"reachable\":true,\"lag_ms\":0.130,"
        "\"version_uname\":\"Linux 6.1\",\"cause\":\"no-bus\",\"sentence\":\"No "
        "bus.\",\"since_ts\":5,"
        "\"events\":true,\"skew_ms\":-250,\"last_check_ts\":6,\"services\":8,\"may_sleep\":true}";
    static const char empty[] =
        "{\"pc_id\":\"a\",\"is_self\":false,\"reachable\":false,\"lag_ms\":null,"
        "\"version_uname\":null,\"cause\":null,\"sentence\":null,\"since_ts\":null,"
        "\"events\":false,\"skew_ms\":null,\"last_check_ts\":null,\"services\":0,\"may_sleep\":"
        "false}";
    const char *const both[] = {text, empty, "{\"pc_id\":\"a\"}"};

    for (size_t i = 0; i < ELEMENTS(both); i++) {
        Buffer b = BUFFER_INIT(4096);
        CLEANUP(json_freep) Json *j = json_parse(both[i], strlen(both[i]));
        PcRow row;
        assert_int_equal(pc_row_read(j, &row), 0);
        pc_row_write(&b, &row);
        CHECK(&b, i ? empty : text);
    }
    PcRow row = {.lag_us = 77};
    CLEANUP(json_freep) Json *bad = json_parse("{\"pc_id\":\"a b\"}", 15);
    assert_int_equal(pc_row_read(bad, &row), -EBADMSG);
    assert_int_equal(row.lag_us, 77);
    assert_int_equal(pc_row_read(NULL, &row), -EBADMSG);
}

static void test_transition(UNUSED void **state)
{
    static const char *const text[] = {
        "{\"id\":1782579200000001,\"ts\":1700000000001,\"app_id\":\"a\",\"pc_id\":\"b\","
        "\"from\":\"running\",\"to\":\"failed\",\"cause\":\"signal\",\"sentence\":\"Killed.\"}",
        "{\"id\":2,\"ts\":3,\"app_id\":null,\"pc_id\":\"b\",\"from\":\"running\","
        "\"to\":\"unreachable\",\"cause\":null,\"sentence\":null,\"update\":true,"
        "\"evidence\":{\"signal\":9}}",
    };

    for (size_t i = 0; i < ELEMENTS(text); i++) {
        Buffer b = BUFFER_INIT(4096);
        CLEANUP(json_freep) Json *j = json_parse(text[i], strlen(text[i]));
        TransitionRow row;
        assert_int_equal(transition_row_read(j, &row), 0);
        assert_null(row.evidence);
        assert_int_equal(row.app_id[0], i ? '\0' : 'a');
        if (!json_is_null(json_get(j, "evidence")))
            row.evidence = "{\"signal\":9}";
        transition_row_write(&b, &row);
        CHECK(&b, text[i]);
    }
}

static void test_transition_refused(UNUSED void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"ts\":3,\"app_id\":\"a\",\"pc_id\":\"b\",\"from\":\"running\",\"to\":\"failed\"}",
        "{\"id\":-1,\"app_id\":\"a\",\"pc_id\":\"b\",\"from\":\"running\",\"to\":\"failed\"}",
        "{\"id\":1,\"app_id\":\"\",\"pc_id\":\"b\",\"from\":\"running\",\"to\":\"failed\"}",
        "{\"id\":1,\"app_id\":7,\"pc_id\":\"b\",\"from\":\"running\",\"to\":\"failed\"}",
        "{\"id\":1,\"app_id\":\"a\",\"from\":\"running\",\"to\":\"failed\"}",
        "{\"id\":1,\"app_id\":\"a\",\"pc_id\":\"b\",\"from\":\"run\",\"to\":\"failed\"}",
        "{\"id\":1,\"app_id\":\"a\",\"pc_id\":\"b\",\"from\":\"running\"}",
    };

    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        CLEANUP(json_freep) Json *j = json_parse(bad[i], strlen(bad[i]));
        TransitionRow row;
        assert_non_null(j);
        assert_int_equal(transition_row_read(j, &row), -EBADMSG);
    }
}

static AlertRow alert_of(const char *rest)
{
    char text[1024];
    AlertRow row = {0};

    snprintf(text, sizeof text, "{\"id\":7,\"state\":\"open\",\"app_id\":\"a\",%s}", rest);
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    assert_non_null(j);
    assert_int_equal(alert_row_read(j, &row), 0);
    return row;
}

static void test_alert_acked_and_silenced(UNUSED void **state)
{
    AlertRow row = alert_of("\"acked\":{\"ts\":5,\"by\":\"lo\\ncal\",\"comment\":\"mine\"},"
                            "\"silenced\":{\"id\":9,\"until_ts\":6,\"comment\":\"\"}");

    assert_int_equal(row.acked_ts, 5);
    assert_string_equal(row.acked_by, "lo cal");
    assert_string_equal(row.ack_comment, "mine");
    assert_int_equal(row.silenced_until_ts, 6);
    row = alert_of("\"acked\":null,\"silenced\":null");
    assert_int_equal(row.acked_ts, 0);
    assert_int_equal(row.silenced_until_ts, 0);
    row = alert_of("\"acked\":{\"ts\":-5,\"by\":\"x\"},\"silenced\":[1]");
    assert_int_equal(row.acked_ts, 0);
    assert_string_equal(row.acked_by, "");
    assert_int_equal(row.silenced_until_ts, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_text),
        cmocka_unit_test(test_service_round_trip),
        cmocka_unit_test(test_service_refused),
        cmocka_unit_test(test_service_odd_values),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_pc),
        cmocka_unit_test(test_transition),
        cmocka_unit_test(test_transition_refused),
        cmocka_unit_test(test_alert_acked_and_silenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
