/* The picture in the terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/cli-table.h"

static ServiceRow row(const char *app, const char *pc, Actual actual, Light light)
{
    ServiceRow r = {.actual = actual,
                    .light = light,
                    .latency_us = -1,
                    .port_listening = -1,
                    .since_ts = 1000000};

    strcpy(r.app_id, app);
    strcpy(r.pc_id, pc);
    return r;
}

static void test_table(void **state)
{
    ServiceRow rows[] = {row("web", "alpha", ACTUAL_RUNNING, LIGHT_OK),
                         row("db", "beta", ACTUAL_FAILED, LIGHT_DOWN)};
    PcRow pcs[] = {{.pc_id = "alpha",
                    .is_self = true,
                    .reachable = true,
                    .events = true,
                    .services = 1,
                    .version_uname = "Linux"},
                   {.pc_id = "beta",
                    .reachable = false,
                    .services = 1,
                    .sentence = "its host key has changed"},
                   {.pc_id = "gamma", .reachable = true, .events = true}};
    TableOptions plain = {.now_ms = 1000000 + 90061000};
    Buffer out = BUFFER_INIT(8192);

    (void)state;
    rows[0].port = 8080;
    rows[0].http_status = 200;
    rows[0].latency_us = 1234;
    strcpy(rows[1].sentence, "exit code 1");
    table_render(&out, rows, 2, pcs, 3, &plain);
    assert_string_equal(
        buffer_cstr(&out),
        "alpha  this PC · Linux\n"
        "  ● web           running    1 d 1 h     :8080  200  1.2 ms\n"
        "\n"
        "beta  unreachable: its host key has changed\n"
        "  ■ db            failed     1 d 1 h                           exit code 1\n"
        "\n"
        "gamma  over ssh\n"
        "\n"
        "● 1 ok · ■ 1 down · 2 services on 3 PCs\n");
    assert_null(strchr(buffer_cstr(&out), '\033'));
    buffer_reset(&out);
    plain.colour = true;
    table_render(&out, rows, 2, pcs, 3, &plain);
    assert_non_null(strstr(buffer_cstr(&out), "\033[31m■"));
    buffer_reset(&out);
    plain.stale = true; /* nothing stale looks fresh */
    table_render(&out, rows, 2, pcs, 3, &plain);
    assert_null(strstr(buffer_cstr(&out), "\033[31m"));
    buffer_done(&out);
}

static void test_narrow_terminal_cuts_the_reason_only(void **state)
{
    ServiceRow r = row("web", "alpha", ACTUAL_FAILED, LIGHT_DOWN);
    TableOptions o = {.width = 70, .now_ms = 2000000};
    Buffer out = BUFFER_INIT(8192);

    (void)state;
    memset(r.sentence, 'x', sizeof r.sentence - 1);
    table_render(&out, &r, 1, NULL, 0, &o);
    const char *line = strstr(buffer_cstr(&out), "  ■ web");
    assert_non_null(line);
    assert_true(strcspn(line, "\n") <= 70 + 2); /* the square is three bytes long */
    buffer_done(&out);
}

static void test_ages(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{-5, "now"},
                 {999, "now"},
                 {1000, "1 s"},
                 {59999, "59 s"},
                 {60000, "1 min"},
                 {3599999, "59 min"},
                 {3600000, "1 h 0 min"},
                 {86399999, "23 h 59 min"},
                 {86400000, "1 d 0 h"},
                 {INT64_C(31536000000), "365 d 0 h"}};
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(table_age(cases[i].ms, text, sizeof text), cases[i].text);
}

static void test_exit_codes(void **state)
{
    ServiceRow rows[] = {row("a", "p", ACTUAL_RUNNING, LIGHT_OK),
                         row("b", "p", ACTUAL_UNREACHABLE, LIGHT_UNKNOWN),
                         row("c", "p", ACTUAL_DEGRADED, LIGHT_WARN)};

    (void)state;
    assert_int_equal(table_exit_code(rows, 0), 0);
    assert_int_equal(table_exit_code(rows, 1), 0);
    assert_int_equal(table_exit_code(rows, 2), 3);
    assert_int_equal(table_exit_code(rows, 3), 1);
}

static void test_lines(void **state)
{
    TransitionRow t = {.ts = 1700000000123,
                       .from = ACTUAL_RUNNING,
                       .to = ACTUAL_FAILED,
                       .app_id = "db",
                       .pc_id = "beta",
                       .sentence = "killed by SIGKILL"};
    AlertRow alert = {.id = 1,
                      .state = "open",
                      .pc_id = "beta",
                      .began_ts = 0,
                      .sentence = "it is gone",
                      .behind = 3};
    TableOptions o = {.now_ms = 120000};
    Buffer out = BUFFER_INIT(1024);

    (void)state;
    table_transition(&out, &t, &o);
    assert_non_null(
        strstr(buffer_cstr(&out), ".123  db on beta  running → failed: killed by SIGKILL"));
    buffer_reset(&out);
    t.app_id[0] = '\0';
    t.to = ACTUAL_RUNNING;
    t.from = ACTUAL_UNREACHABLE;
    table_transition(&out, &t, &o);
    assert_non_null(strstr(buffer_cstr(&out), "beta  unreachable → reachable"));
    buffer_reset(&out);
    table_alert(&out, &alert, &o);
    assert_string_equal(buffer_cstr(&out), "  ■ open    beta for 2 min: it is gone (3 behind it)");
    buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_narrow_terminal_cuts_the_reason_only),
        cmocka_unit_test(test_ages),  cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
