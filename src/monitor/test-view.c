/* What is shown: words, ages on their grid, counts, orders, filters, and the daemon's sentences in
 * another language. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/view.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define NOW    INT64_C(1800000000000) /* on the grid of a minute */

static Model *m;

static void add(Change *c, const char *app, const char *pc, Actual actual, Light light,
                int64_t since)
{
    ServiceRow *row = &c->services[c->n_services++];

    strcpy(row->app_id, app);
    strcpy(row->pc_id, pc);
    row->actual = actual;
    row->light = light;
    row->since_ts = since;
    row->latency_us = -1;
    row->transitions_24h = 2;
}

static int fill(void **state)
{
    Change *c = NULL;

    (void)state;
    assert_int_equal(model_new(&m), 0);
    assert_int_equal(change_new(CHANGE_SNAPSHOT, NOW, &c), 0);
    c->services = calloc(8, sizeof *c->services);
    c->pcs = calloc(2, sizeof *c->pcs);
    assert_true(c->services && c->pcs);
    strcpy(c->pcs[0].pc_id, "p1");
    strcpy(c->pcs[1].pc_id, "p2");
    c->pcs[0].reachable = true;
    c->n_pcs = 2;
    add(c, "api", "p1", ACTUAL_RUNNING, LIGHT_OK, NOW - HOUR);
    add(c, "job", "p1", ACTUAL_FAILED, LIGHT_DOWN, NOW - 2 * HOUR);
    add(c, "web", "p1", ACTUAL_DEGRADED, LIGHT_WARN, NOW - 3 * HOUR);
    add(c, "api", "p2", ACTUAL_UNREACHABLE, LIGHT_UNKNOWN, NOW - HOUR);
    add(c, "job", "p2", ACTUAL_FAILED, LIGHT_DOWN, NOW - MINUTE);
    add(c, "web", "p2", ACTUAL_INACTIVE, LIGHT_OK, NOW - HOUR);
    c->services[5].expected = EXPECTED_STOPPED;
    strcpy(c->services[1].sentence, "exit code 1");
    strcpy(c->services[2].title, "P\xC3\x81GINAS web");
    assert_int_equal(model_apply(m, c), 0);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    m = model_free(m);
    return 0;
}

static void test_status(void **state)
{
    ServiceRow row = {.light = LIGHT_WARN, .actual = ACTUAL_STARTING};

    (void)state;
    assert_int_equal(view_status(NULL), STATUS_ABSENT);
    assert_int_equal(view_status(&row), STATUS_BUSY);
    row.actual = ACTUAL_RUNNING;
    assert_int_equal(view_status(&row), STATUS_WARN);
    row.light = LIGHT_OK;
    assert_int_equal(view_status(&row), STATUS_OK);
    row.expected = EXPECTED_STOPPED;
    assert_int_equal(view_status(&row), STATUS_OFF);
    assert_int_equal(view_worst(STATUS_WARN, STATUS_DOWN), STATUS_DOWN);
    assert_int_equal(view_worst(STATUS_OK, STATUS_UNKNOWN), STATUS_UNKNOWN);
    assert_int_equal(view_actual_status(ACTUAL_FAILED, EXPECTED_STOPPED), STATUS_OFF);
    assert_int_equal(view_actual_status(ACTUAL_INACTIVE, EXPECTED_RUNNING), STATUS_DOWN);
    for (int s = 0; s < STATUS_MAX; s++)
        assert_true(strlen(view_status_word((Status)s)) > 0);
    for (int s = 0; s < ACTUAL_MAX; s++)
        assert_true(strlen(view_actual_word((Actual)s)) > 1);
    assert_string_equal(view_actual_word(ACTUAL_INVALID), "?");
}

static void test_age(void **state)
{
    static const struct {
        int64_t age;
        const char *text;
    } cases[] = {{0, "<10 s"},
                 {9999, "10 s"},
                 {10 * SECOND, "10 s"},
                 {55 * SECOND, "1 min"},
                 {60 * SECOND, "1 min"},
                 {61 * SECOND, "2 min"},
                 {59 * MINUTE, "59 min"},
                 {60 * MINUTE, "1 h 0 min"},
                 {9 * HOUR, "9 h 0 min"},
                 {10 * HOUR, "10 h"},
                 {24 * HOUR, "1 d 0 h"},
                 {2400 * HOUR, "100 d"},
                 {-5 * SECOND, "<10 s"},
                 {-HOUR, "<10 s"}};
    char text[VIEW_TEXT];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        assert_string_equal(view_age(text, NOW, NOW - cases[i].age), cases[i].text);
    assert_string_equal(view_age(text, NOW, 0), "never");
    assert_string_equal(view_age(text, INT64_MAX, 1), "99999 d");
}

/* Between two ticks no age on the screen changes, whatever its start. */
static void test_ages_move_on_ticks_only(void **state)
{
    char first[VIEW_TEXT], later[VIEW_TEXT];

    (void)state;
    srand(3);
    for (int i = 0; i < 20000; i++) {
        int64_t now = NOW + rand() % (int)HOUR, ts = now - rand() % (int)(3 * HOUR);
        int64_t tick = view_next_tick(now);
        assert_true(tick > now && tick <= now + 10 * SECOND);
        assert_string_equal(view_age(first, now, ts), view_age(later, tick - 1, ts));
    }
}

static void test_numbers(void **state)
{
    char text[VIEW_TEXT];

    (void)state;
    assert_string_equal(view_duration(text, 13), "13 ms");
    assert_string_equal(view_duration(text, -5), "0 s");
    assert_string_equal(view_duration(text, 61500), "1 min");
    assert_string_equal(view_latency(text, 1250), "1.2 ms");
    assert_string_equal(view_latency(text, 123456), "123 ms");
    assert_string_equal(view_latency(text, -1), "\u2014");
    assert_string_equal(view_percent(text, 1), "100 %");
    assert_string_equal(view_percent(text, 0.98765), "98.77 %");
    assert_string_equal(view_percent(text, 0), "0 %");
    assert_string_equal(view_percent(text, -1), "\u2014");
    assert_string_equal(view_clock(text, NOW + 5 * SECOND), "08:00:05");
    assert_string_equal(view_date(text, NOW), "15 Jan 08:00:00");
    assert_string_equal(view_day(text, NOW), "Fri 15 Jan");
}

static void test_counts(void **state)
{
    Counts c = view_counts(m);

    (void)state;
    assert_int_equal(c.pcs, 2);
    assert_int_equal(c.pcs_reachable, 1);
    assert_int_equal(c.services, 6);
    assert_int_equal(c.status[STATUS_OK], 1);
    assert_int_equal(c.status[STATUS_OFF], 1);
    assert_int_equal(c.status[STATUS_DOWN], 2);
    assert_int_equal(c.attention, 4);
    assert_int_equal(c.transitions_24h, 12);
    assert_int_equal(view_pc_worst(m, 0), STATUS_DOWN);
    assert_int_equal(view_app_worst(m, model_find_app(m, "web")), STATUS_WARN);
}

static void expect_rows(const uint32_t *rows, size_t n, const char *expected)
{
    char text[256] = "";

    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s@%s ", m->services[rows[i]].app_id,
                 m->services[rows[i]].pc_id);
    }
    assert_string_equal(text, expected);
}

static void test_orders(void **state)
{
    uint32_t rows[8];

    (void)state;
    expect_rows(rows, view_attention(m, rows), "job@p2 job@p1 web@p1 api@p2 ");
    expect_rows(rows, view_services(m, "", NULL, ORDER_APP, false, rows),
                "api@p1 api@p2 job@p1 job@p2 web@p1 web@p2 ");
    expect_rows(rows, view_services(m, "", NULL, ORDER_PC, true, rows),
                "api@p2 job@p2 web@p2 api@p1 job@p1 web@p1 ");
    expect_rows(rows, view_services(m, "", "p1", ORDER_STATUS, false, rows),
                "job@p1 web@p1 api@p1 ");
    expect_rows(rows, view_services(m, "JOB", NULL, ORDER_SINCE, false, rows), "job@p2 job@p1 ");
    expect_rows(rows, view_services(m, "exit code", NULL, ORDER_APP, false, rows), "job@p1 ");
    expect_rows(rows, view_services(m, "p\xC3\xA1gin", NULL, ORDER_APP, false, rows), "web@p1 ");
    assert_int_equal(view_services(m, "zzz", NULL, ORDER_APP, false, rows), 0);
}

static void test_matches(void **state)
{
    (void)state;
    assert_true(view_matches("abc", ""));
    assert_true(view_matches("", ""));
    assert_false(view_matches("", "a"));
    assert_true(view_matches("xxABCxx", "abc"));
    assert_true(view_matches("aab", "ab"));
    assert_true(view_matches("Espa\xC3\x91ol", "\xC3\xB1ol"));
    assert_false(view_matches("abc", "abcd"));
}

static void add_transition(Change *c, int64_t id, int64_t ts, const char *app, const char *pc)
{
    Transition *t = &c->transitions[c->n_transitions++];

    t->row.id = id;
    t->row.ts = ts;
    t->row.from = ACTUAL_RUNNING;
    t->row.to = ACTUAL_FAILED;
    strcpy(t->row.app_id, app);
    strcpy(t->row.pc_id, pc);
}

static void test_transitions(void **state)
{
    uint32_t rows[8];
    Change *c = NULL;

    (void)state;
    assert_int_equal(change_new(CHANGE_DELTA, NOW, &c), 0);
    c->transitions = calloc(4, sizeof *c->transitions);
    assert_non_null(c->transitions);
    add_transition(c, 1, NOW - 9000, "api", "p1");
    add_transition(c, 2, NOW - 8000, "web", "p1");
    add_transition(c, 3, NOW - 5000, "api", "p1");
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(view_transitions(m, "", INT64_MAX, rows), 3);
    assert_int_equal(rows[0], 2);
    assert_int_equal(view_transitions(m, "api", INT64_MAX, rows), 2);
    assert_int_equal(view_transitions(m, "", 2, rows), 2);
    assert_int_equal(rows[0], 1);
    assert_int_equal(view_transitions(m, "", 0, rows), 0);
    assert_int_equal(view_transitions(m, "failed", INT64_MAX, rows), 3);
}

static void test_alerts(void **state)
{
    static const AlertState states[] = {ALERT_CLOSED, ALERT_OPEN, ALERT_PENDING, ALERT_OPEN};
    uint32_t rows[8];
    Change *c = NULL;

    (void)state;
    assert_int_equal(change_new(CHANGE_DELTA, NOW, &c), 0);
    c->alerts = calloc(4, sizeof *c->alerts);
    assert_non_null(c->alerts);
    for (int i = 0; i < 4; i++) {
        snprintf(c->alerts[i].id, sizeof c->alerts[i].id, "%d", i);
        c->alerts[i].state = states[i];
        c->alerts[i].since_ts = 100 + i;
        c->alerts[i].closed_ts = states[i] == ALERT_CLOSED ? 150 : 0;
    }
    c->n_alerts = 4;
    assert_int_equal(model_apply(m, c), 0);
    assert_int_equal(view_alerts(m, false, rows), 3);
    assert_int_equal(rows[0], 3);
    assert_int_equal(rows[2], 1);
    assert_int_equal(view_alerts(m, true, rows), 4);
    assert_int_equal(rows[3], 0);
    assert_int_equal(view_all_well_since(m), 150);
    assert_int_equal(view_counts(m).open_alerts, 2);
}

static void test_sentences(void **state)
{
    static const char *const cases[][2] = {
        {"exit code 1 after 3 restarts", "c\u00f3digo de salida 1 tras 3 reinicios"},
        {"exit code 1 after 1 restart", "c\u00f3digo de salida 1 tras 1 reinicio"},
        {"exit code 137", "c\u00f3digo de salida 137"},
        {"killed by SIGKILL", "matado por SIGKILL"},
        {"port 8401 is held by pid 812 (python3)", "el puerto 8401 lo ocupa el pid 812 (python3)"},
        {"port 8401 is held by another.service", "el puerto 8401 lo ocupa another.service"},
        {"/health gives no answer within 2000 ms", "/health no responde en 2000 ms"},
        {"http://a/b answers 503", "http://a/b responde 503"},
        {"it is starting", "est\u00e1 arrancando"},
        {"its host key has changed", "su clave de host ha cambiado"},
        {"the systemd manager answers with errors", "el gestor de systemd responde con errores"},
        {"its host key has changed: none of its 4 user services can be seen",
         "su clave de host ha cambiado: no se ve ninguno de sus 4 servicios de usuario"},
        {"something nobody foresaw", "something nobody foresaw"},
        {"", ""},
    };
    char text[SENTENCE_MAX], long_text[SENTENCE_MAX];

    (void)state;
    assert_string_equal(view_sentence(text, "exit code 1"), "exit code 1");
    i18n_init("es_ES.UTF-8");
    assert_string_equal(i18n_language(), "es");
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        assert_string_equal(view_sentence(text, cases[i][0]), cases[i][1]);
    memset(long_text, 'x', sizeof long_text);
    memcpy(long_text, "killed by ", 10);
    long_text[sizeof long_text - 1] = '\0';
    view_sentence(text, long_text);
    assert_int_equal(strlen(text), SENTENCE_MAX - 1);
    assert_string_equal(view_status_word(STATUS_DOWN), "Ca\u00eddo");
    assert_string_equal(view_latency(text, 1250), "1,2 ms");
    i18n_init("en");
    assert_string_equal(view_status_word(STATUS_DOWN), "Down");
    i18n_init("xx");
    assert_string_equal(view_status_word(STATUS_DOWN), "Down");
    i18n_init("en");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fill, empty)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_ages_move_on_ticks_only),
        cmocka_unit_test(test_numbers),
        TEST(test_counts),
        TEST(test_orders),
        cmocka_unit_test(test_matches),
        TEST(test_transitions),
        TEST(test_alerts),
        cmocka_unit_test(test_sentences),
    };

    setenv("TZ", "UTC", 1);
    tzset();
    i18n_init("en");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
