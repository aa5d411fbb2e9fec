/* The picture in the terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/cli-table.h"
#include "api/reconcile.h"
#include "basic/i18n.h"
#include "common/sentence.h"

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

/* The column, in characters, at which what begins. */
static size_t column_of(const char *line, const char *what)
{
    const char *found = strstr(line, what);
    size_t column = 0;

    assert_non_null(found);
    for (const char *s = line; s < found; s++)
        column += (*s & 0xC0) != 0x80;
    return column;
}

static void test_spanish(void **state)
{
    ServiceRow rows[] = {row("a", "p", ACTUAL_RUNNING, LIGHT_OK),
                         row("b", "p", ACTUAL_STARTING, LIGHT_WARN),
                         row("c", "p", ACTUAL_UNREACHABLE, LIGHT_UNKNOWN)};
    PcRow pc = {.pc_id = "p", .services = 3, .sentence = "its host key has changed"};
    AlertRow alert = {
        .state = "pending", .app_id = "b", .pc_id = "p", .sentence = "exit code 1", .behind = 2};
    TableOptions o = {.now_ms = 1000000 + 61000};
    Buffer out = BUFFER_INIT(8192);
    const char *lines[8] = {"", "", "", "", "", "", "", ""};
    char *rest, *line;
    size_t n = 0;

    (void)state;
    i18n_init("es");
    for (size_t i = 0; i < 3; i++)
        rows[i].port = 8080;
    strcpy(rows[1].sentence, "it has been starting for more than 90 s");
    table_render(&out, rows, 3, &pc, 1, &o);
    assert_int_equal(buffer_error(&out), 0);
    rest = (char *)buffer_cstr(&out);
    while (n < 8 && (line = strsep(&rest, "\n")))
        lines[n++] = line;
    assert_string_equal(lines[0], "p  inaccesible: su clave de host ha cambiado");
    assert_non_null(strstr(lines[1], "● a"));
    assert_non_null(strstr(lines[1], "en marcha"));
    assert_non_null(strstr(lines[2], "arrancando"));
    assert_non_null(strstr(lines[2], "lleva más de 90 s arrancando"));
    assert_non_null(strstr(lines[3], "inaccesible  1 min"));
    for (size_t i = 2; i <= 3; i++)
        assert_int_equal(column_of(lines[i], ":8080"), column_of(lines[1], ":8080"));
    assert_string_equal(lines[5],
                        "● 1 bien · ▲ 1 con aviso · ○ 1 desconocido · 3 servicios en 1 PC");
    buffer_reset(&out);
    alert.began_ts = o.now_ms - 61000;
    table_alert(&out, &alert, &o);
    assert_string_equal(buffer_cstr(&out),
                        "  ▲ pendiente b en p desde hace 1 min: código de salida 1 (2 detrás)");
    buffer_done(&out);
    i18n_init("en");
}

static void test_every_cause_is_said_in_spanish(void **state)
{
    char text[SENTENCE_MAX];

    (void)state;
    i18n_init("es");
    for (int c = 0; c < CAUSE_MAX; c++) {
        const char *english = cause_sentence((Cause)c);
        if (english[0] && strcmp(sentence_translate(text, english), english) == 0)
            fail_msg("common/sentence.c does not know: %s", english);
    }
    assert_string_equal(
        sentence_translate(text, "exit code 3; auto_fix has stopped after 3 starts within 600 s"),
        "código de salida 3; auto_fix se ha detenido tras 3 inicios en 600 s");
    assert_string_equal(
        sentence_translate(text, "start of web.service on a failed: it failed: exit code 3"),
        "start de web.service en a ha fallado: falló: código de salida 3");
    i18n_init("en");
    assert_string_equal(sentence_translate(text, "it failed"), "it failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_narrow_terminal_cuts_the_reason_only),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_spanish),
        cmocka_unit_test(test_every_cause_is_said_in_spanish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
