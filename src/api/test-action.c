/* Actions against a manager that is good, slow, silent and lying: nothing is called before its
 * audit row is on disk, and whatever happens ends up in that row. */
#include "api/test-action.h"

static bool ask(const char *app_id, ActionVerb verb, ActionResult *ret)
{
    ActionAsk a = {.verb = verb,
                   .origin = ORIGIN_CLI,
                   .role = "token",
                   .uid = 1000,
                   .app_id = app_id,
                   .pc_id = "alpha"};

    return action_ask(w.actions, &a, w_service(app_id), w_done, &w, clock_now(), ret);
}

static void start(const char *app_id, ActionVerb verb)
{
    ActionResult result;

    assert_true(ask(app_id, verb, &result));
    assert_int_equal(result.outcome, ACTION_REQUESTED);
    assert_true(result.id > 0);
}

static void wait_done(void)
{
    unsigned before = w.n_done;

    for (int i = 0; i < 5000 && w.n_done == before; i++)
        w_turn();
    assert_int_equal(w.n_done, before + 1);
}

static void wait_call(const char *member)
{
    for (int i = 0; i < 5000 && strcmp(w.last_call, member) != 0; i++)
        w_turn();
    assert_string_equal(w.last_call, member);
}

/* The row's outcome and reason. */
static const char *row(void)
{
    return w_sql("SELECT outcome || ':' || reason FROM audit ORDER BY id DESC LIMIT 1");
}

static void test_done(void **state UNUSED)
{
    static const char *const members[] = {"StartUnit", "StopUnit", "RestartUnit"};

    for (int verb = 0; verb < ACTION_VERB_MAX; verb++) {
        start(verb == ACTION_STOP ? "sock" : "web", (ActionVerb)verb);
        wait_done();
        assert_string_equal(w.last_call, members[verb]);
        assert_string_equal(w.last_unit, verb == ACTION_STOP ? "sock.socket" : "web.service");
        assert_string_equal(w.last_mode, "replace");
        assert_int_equal(w.result.outcome, ACTION_DONE);
        assert_string_equal(w.result.sentence, "");
        assert_true(w.result.ended_ms >= w.result.ts_ms);
    }
    assert_int_equal(w.n_calls, 3);
    assert_string_equal(
        w_sql("SELECT group_concat(origin || role || uid || app_id || pc_id || unit || action ||"
              " outcome || reason || (ended_ts >= ts), ' ') FROM audit"),
        "clitoken1000webalphaweb.servicestartdone1 "
        "clitoken1000sockalphasock.socketstopdone1 "
        "clitoken1000webalphaweb.servicerestartdone1");
}

/* While the disk is stuck nothing is asked of systemd, and after a while nothing will be. */
static void test_row_first(void **state UNUSED)
{
    ActionResult result;
    Now now = clock_now();

    store_set_delay_ms(w.store, 600000);
    start("web", ACTION_RESTART);
    for (int i = 0; i < 40; i++)
        w_turn();
    assert_int_equal(w.n_calls, 0);
    store_set_delay_ms(w.store, 0);
    wait_done();
    assert_int_equal(w.n_calls, 1);
    assert_int_equal(w.result.outcome, ACTION_DONE);

    store_set_delay_ms(w.store, 600000);
    start("web", ACTION_RESTART);
    assert_true(action_is_busy(w.actions, w_service("web")));
    assert_false(ask("web", ACTION_STOP, &result));
    assert_int_equal(result.refusal, REFUSAL_BUSY);
    now.mono_us += ACTION_AUDIT_US + 2 * USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_int_equal(w.n_done, 2);
    assert_int_equal(w.result.outcome, ACTION_REFUSED);
    assert_false(action_is_busy(w.actions, w_service("web")));
    store_set_delay_ms(w.store, 0);
    assert_string_equal(
        w_sql("SELECT reason FROM audit ORDER BY id LIMIT 1 OFFSET 1"),
        "the history cannot be written, and nothing is done without a record of it");
    assert_int_equal(w.n_calls, 1);
}

static void test_job_that_ends_before_the_answer(void **state UNUSED)
{
    w.early = true;
    start("web", ACTION_START);
    wait_done();
    assert_int_equal(w.result.outcome, ACTION_DONE);
}

static void test_failures(void **state UNUSED)
{
    static const struct {
        const char *job, *unit;
        int32_t code, status;
        bool mute;
        const char *sentence;
    } cases[] = {
        {"failed", "exit-code", 1, 3, false, "it failed: exit code 3"},
        {"failed", "signal", 2, 9, false, "it failed: killed by signal 9"},
        {"failed", "exit-code", 0, 0, false,
         "it failed: a command that is to run before or after it failed"},
        {"failed", "start-limit-hit", 0, 0, false,
         "it failed: it was started too often within a short time"},
        {"failed", "success", 0, 0, false, "it failed"},
        {"failed", "\033[31mred", 0, 0, false, "it failed: ?[31mred"},
        {"timeout", "timeout", 0, 0, false, "it did not finish within its own time limit: timeout"},
        {"failed", "exit-code", 1, 3, true, "it failed"},
        {"dependency", "success", 0, 0, false, "something that it depends on failed"},
        {"canceled", "success", 0, 0, false, "another job has cancelled this one"},
        {"in\033vented-and-much-too-long", "success", 0, 0, false,
         "systemd ended the job with 'in?vented-and-m'"},
    };

    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char expected[SENTENCE_MAX + 16];
        w.job_result = cases[i].job;
        w.unit_result = cases[i].unit;
        w.exec_code = cases[i].code;
        w.exec_status = cases[i].status;
        w.mute_reason = cases[i].mute;
        start("web", ACTION_START);
        if (cases[i].mute) {
            wait_call("GetAll");
            Now now = clock_now();
            now.mono_us += 3 * USEC_PER_SEC;
            actions_run(w.actions, now);
        } else {
            wait_done();
        }
        w.last_call[0] = '\0';
        assert_int_equal(w.result.outcome, ACTION_FAILED);
        assert_string_equal(w.result.sentence, cases[i].sentence);
        snprintf(expected, sizeof expected, "failed:%s", cases[i].sentence);
        assert_string_equal(row(), expected);
    }
}

static void test_systemd_refuses_or_babbles(void **state UNUSED)
{
    w.error = "Unit web.service not found.";
    start("web", ACTION_START);
    wait_done();
    assert_int_equal(w.result.outcome, ACTION_FAILED);
    assert_string_equal(row(), "failed:systemd refuses: Unit web.service not found.");
    w.error = NULL;
    w.odd = "no path";
    start("web", ACTION_START);
    wait_done();
    assert_string_equal(row(), "unknown:systemd's answer cannot be understood");
}

static void test_deadlines(void **state UNUSED)
{
    Now now;

    w.silent = true;
    start("web", ACTION_STOP);
    wait_call("StopUnit");
    now = clock_now();
    now.mono_us += ACTION_CALL_US + USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_int_equal(w.n_done, 1);
    assert_string_equal(row(), "unknown:systemd does not answer");

    w.silent = false;
    w.job_result = NULL;
    start("web", ACTION_START);
    wait_call("StartUnit");
    for (int i = 0; i < 20; i++)
        w_turn();
    assert_int_equal(w.n_done, 1); /* at work, and so it is shown */
    now = clock_now();
    now.mono_us += ACTION_JOB_US - 5 * USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_int_equal(w.n_done, 1);
    now.mono_us += 10 * USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_int_equal(w.n_done, 2);
    assert_string_equal(row(), "unknown:systemd was still at work after 10 minutes");
}

static void test_lost_connection(void **state UNUSED)
{
    w.job_result = NULL;
    start("web", ACTION_START);
    wait_call("StartUnit");
    w_close_bus();
    Now now = clock_now();
    now.mono_us += USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_int_equal(w.n_done, 1);
    assert_string_equal(row(),
                        "unknown:the connection to the PC's systemd was lost before it reported");
    ActionResult result;
    assert_false(ask("web", ACTION_START, &result));
    assert_int_equal(result.refusal, REFUSAL_UNREACHABLE);
}

/* That it failed is known by then; only why is not. */
static void test_connection_lost_after_the_job(void **state UNUSED)
{
    w.job_result = "failed";
    w.mute_reason = true;
    start("web", ACTION_START);
    wait_call("GetAll");
    w_close_bus();
    Now now = clock_now();
    now.mono_us += USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_int_equal(w.n_done, 1);
    assert_string_equal(row(), "failed:it failed");
}

/* Between the wish and the row on disk: then nothing was asked, and that is said. */
static void test_connection_lost_before_the_call(void **state UNUSED)
{
    store_set_delay_ms(w.store, 600000);
    start("web", ACTION_START);
    w_turn();
    w_close_bus();
    store_set_delay_ms(w.store, 0);
    wait_done();
    assert_int_equal(w.result.outcome, ACTION_REFUSED);
    assert_int_equal(w.n_calls, 0);
}

static void test_failed_unit_is_reset(void **state UNUSED)
{
    Service *s = w_service("web");

    s->facts.unit.active = ACTIVE_FAILED;
    start("web", ACTION_STOP);
    wait_done();
    assert_int_equal(w.n_resets, 0);
    start("web", ACTION_START);
    wait_done();
    start("web", ACTION_RESTART);
    wait_done();
    assert_int_equal(w.n_resets, 2);
    s->facts.unit.active = ACTIVE_INACTIVE;
    start("web", ACTION_START);
    wait_done();
    assert_int_equal(w.n_resets, 2);
}

static void test_refusals(void **state UNUSED)
{
    static const struct {
        const char *app;
        ActionVerb verb;
        ActionRefusal refusal;
        const char *words;
    } cases[] = {
        {"port", ACTION_START, REFUSAL_NO_UNIT, "has no unit"},
        {"sys", ACTION_RESTART, REFUSAL_NO_UNIT, "only units of the user"},
        {"own", ACTION_STOP, REFUSAL_SELF, "systemctl --user stop own.service"},
    };
    ActionResult result;

    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        assert_false(ask(cases[i].app, cases[i].verb, &result));
        assert_int_equal(result.outcome, ACTION_REFUSED);
        assert_int_equal(result.refusal, cases[i].refusal);
        assert_non_null(strstr(result.sentence, cases[i].words));
        assert_non_null(strstr(row(), cases[i].words));
    }
    w.pc->facts.cause = CAUSE_FORWARD_REFUSED;
    assert_false(ask("web", ACTION_START, &result));
    assert_int_equal(result.refusal, REFUSAL_POLLED);
    w.pc->facts = (PcFacts){.known = true, .cause = CAUSE_HOST_TIMEOUT};
    assert_false(ask("web", ACTION_START, &result));
    assert_int_equal(result.refusal, REFUSAL_UNREACHABLE);
    assert_string_equal(row(), "refused:alpha is not reachable: it does not answer the ssh "
                               "connection in time");
    assert_int_equal(w.n_calls, 0);
}

/* Whoever waits for a restart of the daemon is answered before it is asked for. */
static void test_own_unit(void **state UNUSED)
{
    w.silent = true;
    start("own", ACTION_RESTART);
    wait_done();
    assert_int_equal(w.result.outcome, ACTION_REQUESTED);
    assert_int_equal(w.n_calls, 0);
    wait_call("RestartUnit");
    assert_int_equal(w.n_done, 1);
    assert_non_null(strstr(row(), "requested:the daemon restarts itself"));

    /* and the next daemon writes how it ended */
    StoreAudit *rows = NULL;
    size_t n = 0;
    assert_int_equal(store_recall_audits(w.scratch->path, INT64_MAX, &rows, &n), 0);
    assert_int_equal(n, 1);
    actions_recall(w.actions, rows, n, clock_now());
    free(rows);
    assert_string_equal(row(), "done:this daemon is the one that came");
}

static void test_what_a_dead_daemon_left(void **state UNUSED)
{
    StoreAudit *rows = NULL;
    size_t n = 0;

    w.job_result = NULL;
    start("web", ACTION_STOP);
    wait_call("StopUnit");
    w.actions = actions_free(w.actions);
    assert_int_equal(w.n_done, 0);
    assert_string_equal(row(), "requested:");
    assert_int_equal(actions_new(w.fleet, w.store, w_bus, NULL, &w.actions), 0);
    assert_int_equal(store_recall_audits(w.scratch->path, INT64_MAX, &rows, &n), 0);
    actions_recall(w.actions, rows, n, clock_now());
    free(rows);
    assert_string_equal(row(), "unknown:the daemon ended before systemd had reported");
}

static void test_forgotten_waiter(void **state UNUSED)
{
    ActionResult result, look;

    assert_true(ask("web", ACTION_START, &result));
    assert_true(action_look(w.actions, result.id, &look));
    assert_int_equal(look.outcome, ACTION_REQUESTED);
    action_forget(w.actions, result.id);
    for (int i = 0; i < 5000 && action_look(w.actions, result.id, &look); i++)
        w_turn();
    assert_false(action_look(w.actions, result.id, &look));
    assert_int_equal(w.n_done, 0);
    assert_string_equal(row(), "done:");
}

static void test_refusals_are_bounded(void **state UNUSED)
{
    ActionAsk a = {.verb = ACTION_VERB_INVALID,
                   .origin = ORIGIN_API,
                   .role = "nobody",
                   .uid = 65534,
                   .app_id = "web",
                   .pc_id = "alpha"};
    Now now = clock_now();

    for (int i = 0; i < 1000; i++)
        action_refuse(w.actions, &a, "401: no token", now);
    assert_string_equal(w_sql("SELECT count(*) FROM audit"), "60");
    ActionAsk fix = a; /* what auto_fix must find again is not crowded out */
    fix.origin = ORIGIN_AUTO_FIX;
    action_refuse(w.actions, &fix, "auto_fix has stopped", now);
    assert_string_equal(row(), "refused:auto_fix has stopped");
    assert_true(actions_next_us(w.actions) <= now.mono_us + 60 * USEC_PER_SEC);
    now.mono_us += 61 * USEC_PER_SEC;
    actions_run(w.actions, now);
    assert_string_equal(w_sql("SELECT count(*) FROM audit"), "62");
    assert_string_equal(row(), "refused:940 more requests were refused within a minute");
    action_refuse(w.actions, &a, "401: no token", now);
    assert_string_equal(row(), "refused:401: no token");
    assert_int_equal(w.n_calls, 0);
}

static void test_words(void **state UNUSED)
{
    for (int i = 0; i < ACTION_VERB_MAX; i++)
        assert_int_equal(action_verb_from_string(action_verb_to_string((ActionVerb)i)), i);
    for (int i = 0; i < ACTION_OUTCOME_MAX; i++)
        assert_int_equal(action_outcome_from_string(action_outcome_to_string((ActionOutcome)i)), i);
    for (int i = 0; i < ACTION_ORIGIN_MAX; i++)
        assert_int_equal(action_origin_from_string(action_origin_to_string((ActionOrigin)i)), i);
    assert_int_equal(action_verb_from_string("kill"), ACTION_VERB_INVALID);
    assert_int_equal(action_verb_from_string("START"), ACTION_VERB_INVALID);
    assert_int_equal(action_verb_from_string(NULL), ACTION_VERB_INVALID);
    assert_null(action_verb_to_string(ACTION_VERB_INVALID));
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, w_setup, w_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_done),
        IN_WORLD(test_row_first),
        IN_WORLD(test_job_that_ends_before_the_answer),
        IN_WORLD(test_failures),
        IN_WORLD(test_systemd_refuses_or_babbles),
        IN_WORLD(test_deadlines),
        IN_WORLD(test_lost_connection),
        IN_WORLD(test_connection_lost_after_the_job),
        IN_WORLD(test_connection_lost_before_the_call),
        IN_WORLD(test_failed_unit_is_reset),
        IN_WORLD(test_refusals),
        IN_WORLD(test_own_unit),
        IN_WORLD(test_what_a_dead_daemon_left),
        IN_WORLD(test_forgotten_waiter),
        IN_WORLD(test_refusals_are_bounded),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
