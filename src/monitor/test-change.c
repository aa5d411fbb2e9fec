/* Messages and details: the good ones whole, the hostile ones bounded and cleaned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"
#include "monitor/change.h"

#define ROW(app, pc)                                                                           \
    "{\"app_id\":\"" app "\",\"pc_id\":\"" pc                                                  \
    "\",\"expected\":\"running\",\"actual\":\"failed\",\"light\":\"down\","                    \
    "\"cause\":\"signal\",\"sentence\":\"killed by "                                           \
    "SIGKILL\",\"port\":80,\"systemd_state\":\"failed\","                                      \
    "\"port_listening\":false,\"http_status\":null,\"latency_ms\":null,\"since_ts\":5,\"last_" \
    "check_ts\":6,"                                                                            \
    "\"last_healthy_ts\":null,\"transitions_24h\":1,\"restarts\":0}"
#define PC(pc)                                                                                    \
    "{\"pc_id\":\"" pc "\",\"is_self\":true,\"reachable\":true,\"lag_ms\":1.5,\"version_uname\":" \
    "\"Linux\",\"cause\":null,"                                                                   \
    "\"sentence\":null,\"since_ts\":5,\"events\":true,\"skew_ms\":0,\"last_check_ts\":6,"         \
    "\"services\":1,\"may_sleep\":false}"

static Change *parse(const char *type, const char *text)
{
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    Change *c = NULL;

    assert_non_null(j);
    assert_int_equal(change_from_message(type, j, 1000, &c), 0);
    return c;
}

static void test_hello(void **state)
{
    CLEANUP(change_freep)
    Change *c = parse("hello", "{\"type\":\"hello\",\"seq\":41,\"ts\":900,\"version\":\"0.1.0\","
                               "\"features\":{\"actions\":true}}");
    CLEANUP(change_freep) Change *list = parse("hello", "{\"features\":[\"actions\"]}");
    CLEANUP(change_freep) Change *none = parse("hello", "{}");

    (void)state;
    assert_int_equal(c->kind, CHANGE_HELLO);
    assert_int_equal(c->seq, 41);
    assert_int_equal(c->ts, 900);
    assert_true(c->has_features && c->actions);
    assert_string_equal(c->version, "0.1.0");
    assert_true(list->actions);
    assert_false(none->has_features);
}

static void test_snapshot_and_delta(void **state)
{
    CLEANUP(change_freep)
    Change *s = parse("snapshot", "{\"seq\":7,\"pcs\":[" PC("p") "],\"services\":[" ROW(
                                      "a", "p") "," ROW("b", "p") "],\"alerts\":[]}");
    CLEANUP(change_freep)
    Change *d = parse("delta", "{\"seq\":8,\"checks\":[[\"a\",\"p\",77,1.234],[\"b\",\"p\",78,null]"
                               "],\"removed\":[[\"a\",\"p\"],[null,\"q\"]],"
                               "\"transitions\":[{\"id\":3,\"ts\":9,\"app_id\":\"a\",\"pc_id\":"
                               "\"p\",\"from\":\"running\",\"to\":\"failed\","
                               "\"cause\":\"signal\",\"sentence\":\"killed\",\"evidence\":{"
                               "\"signal\":\"KILL\",\"code\":9,\"journal\":"
                               "[{\"ts\":1,\"message\":\"one\"},\"two\"]}}]}");

    (void)state;
    assert_int_equal(s->n_pcs, 1);
    assert_int_equal(s->n_services, 2);
    assert_int_equal(s->services[0].light, LIGHT_DOWN);
    assert_int_equal(d->n_checks, 2);
    assert_int_equal(d->checks[0].latency_us, 1234);
    assert_int_equal(d->checks[1].latency_us, -1);
    assert_int_equal(d->n_removed, 2);
    assert_string_equal(d->removed[1].app_id, "");
    assert_string_equal(d->removed[1].pc_id, "q");
    assert_int_equal(d->n_transitions, 1);
    assert_string_equal(d->transitions[0].evidence, "signal: KILL\ncode: 9\none\ntwo");
}

static void test_bad_rows_are_left_out(void **state)
{
    CLEANUP(change_freep)
    Change *c =
        parse("delta", "{\"services\":[1,null,{},{\"app_id\":\"../x\",\"pc_id\":\"p\"}," ROW(
                           "ok", "p") "],\"pcs\":[{\"pc_id\":\"-x\"},[]],"
                                      "\"checks\":[[],[\"a\"],[\"a\",\"p\"],[\"a\",\"p\",\"x\",1],{"
                                      "}],\"removed\":[[],[null,null],[\"a b\",\"p\"],5],"
                                      "\"transitions\":[{},7],\"alerts\":[{},{\"id\":1,\"kind\":"
                                      "\"x\",\"state\":\"open\"}]}");
    CLEANUP(change_freep)
    Change *wrong = parse("snapshot", "{\"services\":\"x\",\"pcs\":{\"a\":1},\"alerts\":7,"
                                      "\"checks\":null,\"seq\":-5,\"ts\":\"x\"}");

    (void)state;
    assert_int_equal(c->n_services, 1);
    assert_string_equal(c->services[0].app_id, "ok");
    assert_int_equal(c->n_pcs + c->n_checks + c->n_removed + c->n_transitions + c->n_alerts, 0);
    assert_int_equal(wrong->n_services + wrong->n_pcs + wrong->n_alerts, 0);
    assert_int_equal(wrong->seq, 0);
}

static void test_wrong_messages(void **state)
{
    CLEANUP(json_freep) Json *array = json_parse("[]", 2);
    CLEANUP(json_freep) Json *object = json_parse("{}", 2);
    Change *c = NULL;

    (void)state;
    assert_int_equal(change_from_message("hello", array, 1, &c), -EBADMSG);
    assert_int_equal(change_from_message("nonsense", object, 1, &c), -EBADMSG);
    assert_int_equal(change_from_message("delta", NULL, 1, &c), -EBADMSG);
    assert_null(c);
}

static void test_alerts(void **state)
{
    const char *text = "{\"id\":12,\"kind\":\"pc\",\"app_id\":null,\"pc_id\":\"p\",\"opened_ts\":5,"
                       "\"closed_ts\":null,\"state\":\"open\","
                       "\"cause\":\"bus-silent\",\"sentence\":\"a\\u202eb\\n\",\"behind\":[[\"a\","
                       "\"p\"],[\"b\",\"p\"],3],\"acked\":null}";
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    Alert a;

    (void)state;
    assert_int_equal(alert_read(j, &a), 0);
    assert_string_equal(a.id, "12");
    assert_int_equal(a.kind, ALERT_PC);
    assert_int_equal(a.state, ALERT_OPEN);
    assert_int_equal(a.cause, CAUSE_BUS_SILENT);
    assert_string_equal(a.sentence, "a?b ");
    assert_int_equal(a.n_behind, 2);
    assert_int_equal(a.behind_total, 3);
    assert_false(a.acknowledged);
    alert_done(&a);
}

static void test_alert_handled(void **state)
{
    const char *text =
        "{\"id\":12,\"kind\":\"service\",\"app_id\":\"a\",\"pc_id\":\"p\",\"state\":\"dropped\","
        "\"acked\":{\"ts\":5,\"by\":\"local\",\"comment\":\"on\\u202e it\"},"
        "\"silenced\":{\"id\":3,\"until_ts\":77,\"comment\":\"\"}}";
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    Alert a;

    (void)state;
    assert_int_equal(alert_read(j, &a), 0);
    assert_int_equal(a.state, ALERT_CLOSED); /* nobody needs to look at it any more */
    assert_true(a.acknowledged);
    assert_string_equal(a.acked_by, "local");
    assert_string_equal(a.ack_comment, "on? it");
    assert_int_equal(a.silenced_until_ts, 77);
    alert_done(&a);
}

static void test_silences(void **state)
{
    const char *text =
        "[{\"id\":7,\"kind\":\"maintenance\",\"app_id\":\"a\",\"pc_id\":null,\"from_ts\":1,"
        "\"until_ts\":9,\"comment\":\"new\\ndisk\",\"by\":\"token\",\"created_ts\":1},"
        "{\"id\":8,\"kind\":\"silence\",\"app_id\":null,\"pc_id\":null,\"until_ts\":9},"
        "{\"id\":8,\"kind\":\"silence\",\"app_id\":\"-a\",\"pc_id\":\"p\",\"until_ts\":9},"
        "{\"id\":0,\"app_id\":\"a\",\"until_ts\":9},{\"id\":9,\"app_id\":\"a\"},7,"
        "{\"id\":10,\"kind\":\"silence\",\"pc_id\":\"p\",\"until_ts\":9}]";
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    CLEANUP(change_freep) Change *c = NULL;

    (void)state;
    assert_non_null(j);
    assert_int_equal(change_from_silences(j, 5, &c), 0);
    assert_int_equal(c->kind, CHANGE_SILENCES);
    assert_int_equal(c->n_silences, 2);
    assert_true(c->silences[0].maintenance);
    assert_string_equal(c->silences[0].pair.app_id, "a");
    assert_string_equal(c->silences[0].pair.pc_id, "");
    assert_string_equal(c->silences[0].comment, "new disk");
    assert_string_equal(c->silences[0].by, "token");
    assert_int_equal(c->silences[1].id, 10);
    assert_false(c->silences[1].maintenance);
}

static void test_detail(void **state)
{
    const char *text =
        "{\"facts\":{\"unit\":{\"main_pid\":7,\"ok\":true},\"list\":[1,\"x\"],\"gone\":null},"
        "\"transitions\":[],\"hours\":[{\"hour\":3600000,\"healthy_ratio\":0.5,\"transitions\":2,"
        "\"observed_ms\":9},"
        "{\"hour\":7200000,\"healthy_ratio\":null},{\"hour\":1,\"healthy_ratio\":7},{\"healthy_"
        "ratio\":1},3],"
        "\"latency\":[[1,0.5],[2,null],[],[3,-1],[4,1e300]],"
        "\"journal\":[{\"ts\":1,\"priority\":99,\"message\":\"a\\u001b[31mb\"},{\"message\":5},{}],"
        "\"journal_error\":null}";
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));
    CLEANUP(json_freep) Json *array = json_parse("[1]", 3);
    CLEANUP(detail_freep) Detail *d = NULL;
    CLEANUP(detail_freep) Detail *bad = NULL;

    (void)state;
    assert_int_equal(detail_new("a", "p", &d), 0);
    assert_int_equal(detail_new("a", "p", &bad), 0);
    assert_int_equal(detail_read(bad, array), -EBADMSG);
    assert_int_equal(bad->state, DETAIL_LOADING);
    assert_int_equal(detail_read(d, j), 0);
    assert_int_equal(d->state, DETAIL_READY);
    assert_int_equal(d->n_hours, 3);
    assert_true(d->hours[0].ratio == 0.5 && d->hours[1].ratio == -1 && d->hours[2].ratio == 1);
    assert_int_equal(d->n_latency, 4);
    assert_int_equal(d->latency[0].latency_us, 500);
    assert_int_equal(d->latency[1].latency_us, -1);
    assert_int_equal(d->latency[3].latency_us, -1);
    assert_int_equal(d->n_journal, 3);
    assert_string_equal(d->journal[0].message, "a?[31mb");
    assert_int_equal(d->journal[0].priority, 7);
    assert_string_equal(d->journal[1].message, "5");
    assert_string_equal(d->facts[0].key, "unit.main_pid");
    assert_string_equal(d->facts[0].value, "7");
    assert_string_equal(d->facts[1].value, "yes");
    assert_int_equal(d->n_facts, 4);
}

static void test_detail_is_bounded(void **state)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(8U << 20);
    CLEANUP(detail_freep) Detail *d = NULL;

    (void)state;
    buffer_str(&b, "{\"journal\":[");
    for (int i = 0; i < DETAIL_JOURNAL_MAX * 2; i++)
        buffer_printf(&b, "%s{\"message\":\"%d\"}", i ? "," : "", i);
    buffer_str(&b, "],\"hours\":[");
    for (int i = 0; i < DETAIL_HOURS_MAX * 2; i++)
        buffer_printf(&b, "%s{\"hour\":%d}", i ? "," : "", i + 1);
    buffer_str(&b, "],\"facts\":{");
    for (int i = 0; i < DETAIL_FACTS_MAX * 2; i++)
        buffer_printf(&b, "%s\"k%d\":%d", i ? "," : "", i, i);
    buffer_str(&b, "}}");
    CLEANUP(json_freep) Json *j = json_parse(b.data, b.len);
    assert_non_null(j);
    assert_int_equal(detail_new("a", "p", &d), 0);
    assert_int_equal(detail_read(d, j), 0);
    assert_int_equal(d->n_journal, DETAIL_JOURNAL_MAX);
    assert_int_equal(d->n_hours, DETAIL_HOURS_MAX);
    assert_int_equal(d->n_facts, DETAIL_FACTS_MAX);
}

static void test_evidence_is_bounded(void **state)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(4U << 20);

    (void)state;
    buffer_str(&b, "{\"journal\":[\"x\"");
    for (int i = 0; i < 5000; i++)
        buffer_str(&b, ",\"a line of the journal that is repeated\"");
    buffer_str(&b, "]}");
    CLEANUP(json_freep) Json *j = json_parse(b.data, b.len);
    CLEANUP_FREE char *text = evidence_text(j);
    assert_non_null(text);
    assert_true(strlen(text) <= EVIDENCE_MAX);
    assert_int_equal(strncmp(text, "x\na line", 8), 0);
    assert_null(evidence_text(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_snapshot_and_delta),
        cmocka_unit_test(test_bad_rows_are_left_out),
        cmocka_unit_test(test_wrong_messages),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_alert_handled),
        cmocka_unit_test(test_silences),
        cmocka_unit_test(test_detail),
        cmocka_unit_test(test_detail_is_bounded),
        cmocka_unit_test(test_evidence_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
