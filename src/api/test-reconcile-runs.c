/* What becomes of a service over time: runs, crashes, restarts, seen and missed, and what of it is
 * a transition; then sentences and hints. */
#include "api/test-reconcile.h"

/* ---- stories ---- */

typedef struct Story {
    Want want;
    PcFacts pc;
    Facts facts;
    Track track;
    Change changes[32];
    size_t n;
} Story;

static Story story_of_running(bool with_health)
{
    Story s = {.want = {.app_id = "a", .pc_id = "p", .unit = "a.service", .timeout_ms = 2000},
               .pc = well};

    if (with_health) {
        s.want.port = 80;
        s.want.health = "/health";
        s.facts.port = port(true, 0);
        s.facts.http = http(HTTP_OK, 200, 0);
    }
    s.facts.unit = unit(ACTIVE_ACTIVE, "running");
    return s;
}

static void look(Story *s, uint64_t us)
{
    Change now[CHANGES_MAX];
    size_t n = reconcile(&s->track, &s->want, &s->pc, &s->facts, 0, at(us), now);

    assert_true(s->n + n <= ELEMENTS(s->changes));
    memcpy(s->changes + s->n, now, n * sizeof *now);
    s->n += n;
}

static void unit_is(Story *s, ActiveState active, const char *sub, uint64_t us)
{
    s->facts.unit.active = active;
    strcpy(s->facts.unit.sub, sub);
    s->facts.unit.state_change_ms = at(us).wall_ms;
    look(s, us);
}

static void crash(Story *s, uint64_t us)
{
    s->facts.unit.exec_code = CLD_KILLED;
    s->facts.unit.exec_status = SIGKILL;
    strcpy(s->facts.unit.result, "signal");
    s->facts.unit.inactive_enter_ms = at(us).wall_ms;
    unit_is(s, ACTIVE_FAILED, "failed", us);
}

static void restart(Story *s, uint64_t us)
{
    unit_is(s, ACTIVE_ACTIVATING, "auto-restart", us);
    unit_is(s, ACTIVE_INACTIVE, "dead", us + 100);
    s->facts.unit.invocation[0]++;
    s->facts.unit.n_restarts++;
    strcpy(s->facts.unit.result, "success");
    s->facts.unit.exec_code = s->facts.unit.exec_status = 0;
    s->facts.unit.active_enter_ms = at(us + 200).wall_ms;
    unit_is(s, ACTIVE_ACTIVE, "running", us + 200);
}

static void test_crash_healed_at_once_is_two_transitions(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    look(&s, 0);
    crash(&s, 60 * S);
    restart(&s, 60 * S + 10000);
    for (uint64_t t = 61; t < 80; t++)
        look(&s, t * S);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[0].from, ACTUAL_RUNNING);
    assert_int_equal(s.changes[0].to, ACTUAL_FAILED);
    assert_int_equal(s.changes[0].cause, CAUSE_SIGNAL);
    assert_int_equal(s.changes[0].exec_status, SIGKILL);
    assert_int_equal(s.changes[0].ts_ms, at(60 * S).wall_ms);
    assert_true(s.changes[0].wants_journal);
    assert_int_equal(s.changes[0].invocation[0], 1);
    assert_int_equal(s.changes[1].to, ACTUAL_RUNNING);
    assert_int_equal(s.changes[1].ts_ms, at(60 * S + 10200).wall_ms);
    assert_int_equal(s.track.runs, 1);
}

static void test_stale_health_does_not_hide_a_crash(void **state)
{
    Story s = story_of_running(true);

    (void)state;
    look(&s, 0);
    assert_int_equal(s.track.shown.actual, ACTUAL_RUNNING);
    crash(&s, 60 * S);
    restart(&s, 60 * S + 10000);
    assert_int_equal(s.track.shown.actual,
                     ACTUAL_STARTING); /* the old 200 says nothing about this run */
    assert_true(s.track.shown.recheck_at_us > 0);
    s.facts.port = port(true, 60 * S + 60000);
    look(&s, 60 * S + 60000);
    assert_int_equal(s.track.shown.actual, ACTUAL_STARTING);
    s.facts.http = http(HTTP_OK, 200, 60 * S + 61000);
    look(&s, 60 * S + 62000);
    assert_int_equal(s.track.shown.actual, ACTUAL_RUNNING);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[1].ts_ms, at(60 * S + 62000).wall_ms);
}

static void test_missed_crash_is_found_by_invocation(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    look(&s, 0);
    s.facts.unit.invocation[0] = 9;
    s.facts.unit.n_restarts = 1;
    s.facts.unit.inactive_enter_ms = at(5 * S).wall_ms;
    s.facts.unit.active_enter_ms = at(5 * S + 100000).wall_ms;
    look(&s, 10 * S);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[0].to, ACTUAL_FAILED);
    assert_int_equal(s.changes[0].ts_ms, at(5 * S).wall_ms);
    assert_int_equal(s.changes[0].invocation[0], 1); /* the dead run's journal is what is wanted */
    assert_int_equal(s.changes[1].to, ACTUAL_RUNNING);
    assert_int_equal(s.changes[1].ts_ms, at(5 * S + 100000).wall_ms);
    s.facts.unit.invocation[0] = 10; /* by hand: no automatic restart counted */
    s.facts.unit.n_restarts = 0;
    s.facts.unit.inactive_enter_ms = at(20 * S).wall_ms;
    s.facts.unit.active_enter_ms = at(21 * S).wall_ms;
    look(&s, 30 * S);
    assert_int_equal(s.n, 4);
    assert_int_equal(s.changes[2].to, ACTUAL_INACTIVE);
    assert_int_equal(s.changes[2].cause, CAUSE_STOPPED);
}

static void test_restart_while_unreachable_is_filled_in(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    look(&s, 0);
    s.pc = (PcFacts){.known = true, .cause = CAUSE_BUS_SILENT};
    look(&s, 10 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_UNREACHABLE);
    s.pc = well;
    s.facts.unit.invocation[0] = 4;
    s.facts.unit.n_restarts = 2;
    s.facts.unit.inactive_enter_ms = at(40 * S).wall_ms;
    s.facts.unit.active_enter_ms = at(41 * S).wall_ms;
    look(&s, 100 * S);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[0].ts_ms, at(40 * S).wall_ms);
    assert_int_equal(s.changes[1].ts_ms, at(41 * S).wall_ms);
}

static void test_restart_while_we_were_off_is_filled_in(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    reconcile_recall(&s.track, ACTUAL_RUNNING, WALL - 7200000, WALL - 5000000);
    s.facts.unit.inactive_enter_ms = WALL - 4000000;
    s.facts.unit.active_enter_ms = WALL - 3999000;
    look(&s, 0);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[0].to, ACTUAL_INACTIVE);
    assert_int_equal(s.changes[0].ts_ms, WALL - 4000000);
    assert_int_equal(s.changes[1].to, ACTUAL_RUNNING);
}

static void test_recall_without_change_is_no_transition(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    reconcile_recall(&s.track, ACTUAL_RUNNING, WALL - 7200000, WALL - 1000);
    look(&s, 0);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.track.since_ms, WALL - 7200000);
    Story down = story_of_running(false);
    reconcile_recall(&down.track, ACTUAL_RUNNING, WALL - 7200000, WALL - 60000);
    down.facts.unit.inactive_enter_ms = WALL - 30000;
    down.facts.unit.active = ACTIVE_INACTIVE;
    look(&down, 0);
    assert_int_equal(down.n, 1);
    assert_int_equal(down.changes[0].to, ACTUAL_INACTIVE);
    assert_int_equal(down.changes[0].ts_ms, WALL - 30000);
}

/* It had been well ever since an earlier daemon knew it, so there was never a transition. */
static void test_recall_of_one_that_was_always_well(void **state)
{
    Story fine = story_of_running(false), stopped = story_of_running(false);
    Story dead = story_of_running(false), again = story_of_running(false);

    (void)state;
    reconcile_recall(&fine.track, ACTUAL_INVALID, 0, WALL - 1000);
    fine.facts.unit.oneshot = true;
    fine.facts.unit.active = ACTIVE_INACTIVE; /* finished, that is */
    fine.facts.unit.inactive_enter_ms = WALL - 500000;
    look(&fine, 0);
    assert_int_equal(fine.track.stored, ACTUAL_FINISHED);
    assert_int_equal(fine.n, 0);

    reconcile_recall(&stopped.track, ACTUAL_INVALID, 0, WALL - 1000);
    stopped.want.expected = EXPECTED_STOPPED;
    stopped.facts.unit.active = ACTIVE_INACTIVE;
    look(&stopped, 0);
    assert_int_equal(stopped.n, 0);

    reconcile_recall(&dead.track, ACTUAL_INVALID, 0, WALL - 60000);
    dead.facts.unit.active = ACTIVE_FAILED;
    dead.facts.unit.inactive_enter_ms = WALL - 30000;
    look(&dead, 0);
    assert_int_equal(dead.n, 1);
    assert_int_equal(dead.changes[0].from, ACTUAL_RUNNING);
    assert_int_equal(dead.changes[0].to, ACTUAL_FAILED);
    assert_int_equal(dead.changes[0].ts_ms, WALL - 30000);

    reconcile_recall(&again.track, ACTUAL_INVALID, 0, WALL - 60000);
    again.facts.unit.inactive_enter_ms = WALL - 30000;
    again.facts.unit.active_enter_ms = WALL - 29000;
    look(&again, 0);
    assert_int_equal(again.n, 2);
    assert_int_equal(again.changes[1].to, ACTUAL_RUNNING);
    look(&again, S);
    assert_int_equal(again.n, 2); /* and no more */
}

static void test_bad_signs_are_confirmed(void **state)
{
    static const HttpOutcome outcomes[] = {HTTP_BAD_STATUS, HTTP_REFUSED, HTTP_RESET, HTTP_EOF};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(outcomes); i++) {
        Story s = story_of_running(true);
        look(&s, 0);
        s.facts.http = http(outcomes[i], outcomes[i] == HTTP_BAD_STATUS ? 503 : 0, 10 * S);
        s.facts.http.misses = 1;
        look(&s, 10 * S + 2000);
        assert_int_equal(s.track.shown.actual, ACTUAL_RUNNING);
        assert_true(s.track.shown.recheck_at_us <= at(12 * S).mono_us);
        s.facts.http.misses = 2;
        look(&s, 11 * S);
        assert_int_equal(s.track.shown.actual, ACTUAL_DEGRADED);
        assert_int_equal(s.n, 1);
    }
    Story s = story_of_running(true);
    look(&s, 0);
    s.facts.http = http(HTTP_TIMEOUT, 0, 10 * S);
    s.facts.http.misses = 1;
    look(&s, 12 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_DEGRADED);
    s = story_of_running(true);
    look(&s, 0);
    s.facts.port = port(false, 10 * S);
    s.facts.port.misses = 1;
    look(&s, 10 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_RUNNING);
    s.facts.port.misses = 2;
    look(&s, 11 * S);
    assert_int_equal(s.track.shown.cause, CAUSE_PORT_CLOSED);
}

static void test_young_run_is_starting_then_degraded(void **state)
{
    Story s = story_of_running(true);

    (void)state;
    s.facts.port = port(false, 0);
    s.facts.unit.active_enter_ms = WALL - 1000;
    look(&s, 0);
    assert_int_equal(s.track.shown.actual, ACTUAL_STARTING);
    s.facts.port = port(false, 8 * S);
    look(&s, 8 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_STARTING);
    s.facts.port = port(false, 11 * S);
    look(&s, 11 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_DEGRADED);
}

static void test_starting_too_long_is_down(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    unit_is(&s, ACTIVE_ACTIVATING, "start", 0);
    assert_int_equal(s.track.shown.light, LIGHT_WARN);
    look(&s, 3 * S);
    look(&s, 91 * S);
    assert_int_equal(s.track.shown.light, LIGHT_DOWN);
    assert_int_equal(s.track.shown.cause, CAUSE_STARTING_TOO_LONG);
    s.facts.unit.oneshot = true; /* a long job is at work, not stuck */
    look(&s, 92 * S);
    assert_int_equal(s.track.shown.light, LIGHT_OK);
}

static void test_short_passing_states_are_not_stored(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    look(&s, 0);
    unit_is(&s, ACTIVE_RELOADING, "reload", 10 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_STARTING);
    assert_int_equal(s.track.shown.recheck_at_us, at(12 * S).mono_us);
    unit_is(&s, ACTIVE_ACTIVE, "running", 11 * S);
    assert_int_equal(s.n, 0);
    unit_is(&s, ACTIVE_DEACTIVATING, "stop-sigterm", 20 * S);
    look(&s, 22 * S);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.changes[0].to, ACTUAL_STOPPING);
    s.facts.unit.inactive_enter_ms = at(23 * S).wall_ms;
    unit_is(&s, ACTIVE_INACTIVE, "dead", 23 * S);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[1].to, ACTUAL_INACTIVE);
}

static void test_inactive_after_failed_is_held(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    look(&s, 0);
    crash(&s, 10 * S);
    unit_is(&s, ACTIVE_INACTIVE, "dead", 11 * S);
    assert_int_equal(s.track.shown.actual, ACTUAL_FAILED);
    look(&s, 12 * S);
    assert_int_equal(s.n, 1);
    look(&s, 13 * S); /* it stays so: reset-failed by hand */
    assert_int_equal(s.track.shown.actual, ACTUAL_INACTIVE);
    assert_int_equal(s.n, 2);
}

/* The bus is lost right after the crash, and is back while systemd is on its way to the restart. */
static void test_inactive_after_failed_is_held_over_a_gap(void **state)
{
    for (int i = 0; i < 2; i++) {
        Story s = story_of_running(false);

        look(&s, 0);
        crash(&s, 10 * S);
        s.pc.scope_cause[SCOPE_USER] = i ? CAUSE_NO_BUS : CAUSE_NONE;
        s.pc.reachable = i != 0;
        s.pc.cause = i ? CAUSE_NONE : CAUSE_BUS_SILENT;
        look(&s, 11 * S);
        assert_int_equal(s.track.shown.actual, i ? ACTUAL_UNKNOWN : ACTUAL_UNREACHABLE);
        s.pc = well;
        unit_is(&s, ACTIVE_INACTIVE, "dead", 12 * S);
        assert_int_equal(s.track.shown.actual, ACTUAL_FAILED);
        assert_int_equal(s.track.shown.cause, CAUSE_SIGNAL);
        assert_int_equal(s.n, 1);
        look(&s, 14 * S);
        assert_int_equal(s.track.shown.actual, ACTUAL_INACTIVE);
        assert_int_equal(s.n, 2);
    }
    (void)state;
}

static void test_crash_loop_counts_and_is_bounded(void **state)
{
    Story s = story_of_running(true);
    Change now[CHANGES_MAX];
    size_t failed = 0, stored = 0;

    (void)state;
    look(&s, 0);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t us = 10 * S + i * 100000;
        s.facts.unit.exec_code = CLD_EXITED;
        s.facts.unit.exec_status = 3;
        strcpy(s.facts.unit.result, "exit-code");
        s.facts.unit.active = ACTIVE_FAILED;
        s.facts.unit.inactive_enter_ms = at(us).wall_ms;
        size_t n = reconcile(&s.track, &s.want, &s.pc, &s.facts, 0, at(us), now);
        for (size_t k = 0; k < n; k++)
            failed += now[k].to == ACTUAL_FAILED;
        stored += n;
        s.facts.unit.invocation[0]++;
        s.facts.unit.invocation[1] = 1;
        s.facts.unit.active = ACTIVE_ACTIVE;
        s.facts.unit.active_enter_ms = at(us + 50000).wall_ms;
        stored += reconcile(&s.track, &s.want, &s.pc, &s.facts, 0, at(us + 50000), now);
    }
    assert_int_equal(s.track.runs, 200);
    assert_int_equal(failed, 1 + PAIRS_MAX);
    assert_true(stored <= 1 + 2 * PAIRS_MAX);
}

/* Type=notify, or a failing ExecStartPre=: it is never active, and every death is one all the same.
 */
static void test_crash_loop_before_ready_counts(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    look(&s, 0);
    crash(&s, 10 * S);
    for (uint64_t i = 1; i <= 3; i++) {
        uint64_t us = 10 * S + i * 100000;
        unit_is(&s, ACTIVE_ACTIVATING, "auto-restart", us - 40000);
        s.facts.unit.invocation[0]++; /* systemd names the next run a little early */
        unit_is(&s, ACTIVE_ACTIVATING, "auto-restart", us - 1000);
        unit_is(&s, ACTIVE_INACTIVE, "dead", us - 500);
        assert_int_equal(s.n, 2 * i - 1);
        unit_is(&s, ACTIVE_ACTIVATING, "start", us);
        crash(&s, us + 50000);
        look(&s, us + 50001); /* the same corpse */
        assert_int_equal(s.n, 1 + 2 * i);
        assert_int_equal(s.changes[2 * i - 1].to, ACTUAL_STARTING);
        assert_int_equal(s.changes[2 * i].to, ACTUAL_FAILED);
        assert_int_equal(s.changes[2 * i].ts_ms, at(us + 50000).wall_ms);
    }
}

/* A job that fails each hour is failed, and no crash loop. */
static void test_failing_job_stays_failed(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    s.facts.unit.oneshot = true;
    s.facts.unit.active = ACTIVE_INACTIVE;
    s.facts.unit.inactive_enter_ms = WALL - 1000;
    look(&s, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        s.facts.unit.invocation[0]++;
        unit_is(&s, ACTIVE_ACTIVATING, "start", i * 3600 * S);
        crash(&s, i * 3600 * S + S);
    }
    assert_int_equal(s.n, 1);
    assert_int_equal(s.track.runs, 3);
}

/* systemd unloads a finished job that nothing refers to, and says then that it never ran. */
static void test_forgotten_job_stays_finished(void **state)
{
    Story s = story_of_running(false), recalled, guessed, never;

    (void)state;
    s.facts.unit.oneshot = true;
    s.facts.unit.active = ACTIVE_INACTIVE;
    s.facts.unit.inactive_enter_ms = WALL - 1000;
    recalled = guessed = never = s;
    look(&s, 0);
    assert_int_equal(s.track.shown.actual, ACTUAL_FINISHED);
    s.facts.unit.inactive_enter_ms = 0;
    memset(s.facts.unit.invocation, 0, sizeof s.facts.unit.invocation);
    look(&s, S);
    assert_int_equal(s.track.shown.actual, ACTUAL_FINISHED);
    assert_int_equal(s.n, 0);

    recalled.facts = guessed.facts = never.facts = s.facts;
    reconcile_recall(&recalled.track, ACTUAL_FINISHED, WALL - 5000, WALL - 1000);
    look(&recalled, 0);
    assert_int_equal(recalled.track.shown.actual, ACTUAL_FINISHED);
    assert_int_equal(recalled.n, 0);
    reconcile_recall(&guessed.track, ACTUAL_INVALID, 0, WALL - 1000);
    look(&guessed, 0);
    look(&guessed, S);
    assert_int_equal(guessed.track.shown.actual, ACTUAL_FINISHED);
    assert_int_equal(guessed.n, 0);
    look(&never, 0);
    assert_int_equal(never.track.shown.actual, ACTUAL_INACTIVE);
}

/* It was failed when we came. Whoever starts it in vain makes a crash that counts. */
static void test_crash_of_one_that_was_failed_before(void **state)
{
    Story s = story_of_running(true);

    (void)state;
    strcpy(s.facts.unit.result, "exit-code");
    s.facts.unit.active = ACTIVE_FAILED;
    look(&s, 0);
    assert_int_equal(s.n, 0);
    s.facts.unit.invocation[0]++;
    unit_is(&s, ACTIVE_ACTIVE, "running", 10 * S);
    crash(&s, 11 * S);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.changes[0].to, ACTUAL_STARTING);
    assert_int_equal(s.changes[1].to, ACTUAL_FAILED);
}

/* What no level check can tell: a job that stays was run again, or the run that followed is over.
 */
static void test_new_run_that_is_no_missed_restart(void **state)
{
    Story job = story_of_running(false), over = story_of_running(false);
    Story down = story_of_running(false);

    (void)state;
    job.facts.unit.oneshot = job.facts.unit.remain_after_exit = true;
    look(&job, 0);
    job.facts.unit.invocation[0]++;
    look(&job, 10 * S);
    assert_int_equal(job.n, 0);

    look(&over, 0);
    over.facts.unit.invocation[0]++;
    over.facts.unit.inactive_enter_ms = at(5 * S).wall_ms;
    unit_is(&over, ACTIVE_INACTIVE, "dead", 10 * S);
    assert_int_equal(over.n, 1);
    assert_int_equal(over.changes[0].to, ACTUAL_INACTIVE);

    reconcile_recall(&down.track, ACTUAL_FAILED, WALL - 7200000, WALL - 7300000);
    look(&down, 0);
    assert_int_equal(down.n, 1);
    assert_int_equal(down.changes[0].to, ACTUAL_RUNNING);
    reconcile_recall(&down.track, ACTUAL_INVALID, 0, 0); /* nothing is known: as it was */
    assert_int_equal(down.track.stored, ACTUAL_RUNNING);
}

static void test_rare_sentences(void **state)
{
    Want want = {.app_id = "a", .pc_id = "p", .port = 80, .timeout_ms = 2000};
    Facts facts = {.unit = unit(ACTIVE_FAILED, "failed"), .http = {.status = 500}};
    PcFacts away = {.known = true};
    static const struct {
        Cause cause;
        const char *sentence;
    } without_words[] = {
        {CAUSE_NOT_FOUND, "there is no unit  on this PC"},
        {CAUSE_HTTP_REFUSED, " refuses the connection"},
        {CAUSE_HTTP_STATUS, " answers 500"},
        {CAUSE_HTTP_TIMEOUT, " gives no answer within 2000 ms"},
        {CAUSE_PORT_FOREIGN, "port 80 is held by another service"},
    };
    char text[SENTENCE_MAX];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(without_words); i++) {
        Verdict v = {.cause = without_words[i].cause};
        reconcile_sentence(&v, &want, &well, &facts, text, sizeof text);
        assert_string_equal(text, without_words[i].sentence);
    }
    Verdict foreign = {.cause = CAUSE_PORT_FOREIGN};
    strcpy(facts.port.owner_name, "x.service");
    reconcile_sentence(&foreign, &want, &well, &facts, text, sizeof text);
    assert_string_equal(text, "port 80 is held by x.service");
    facts.port.owner_pid = 7;
    reconcile_sentence(&foreign, &want, &well, &facts, text, sizeof text);
    assert_string_equal(text, "port 80 is held by pid 7 (x.service)");
    facts.port.owner_name[0] = '\0';
    reconcile_sentence(&foreign, &want, &well, &facts, text, sizeof text);
    assert_string_equal(text, "port 80 is held by pid 7 (unknown)");
    Verdict dead = {.actual = ACTUAL_FAILED, .cause = CAUSE_SIGNAL};
    strcpy(facts.unit.result, "signal");
    facts.unit.exec_status = 999; /* no such signal */
    facts.unit.n_restarts = 1;
    reconcile_sentence(&dead, &want, &well, &facts, text, sizeof text);
    assert_string_equal(text, "exit code 999 after 1 restart");
    Verdict gone = {.actual = ACTUAL_UNREACHABLE, .cause = CAUSE_HOST_TIMEOUT};
    reconcile_sentence(&gone, &want, &away, &facts, text, sizeof text);
    assert_string_equal(text, "");
    away.cause = CAUSE_HOST_TIMEOUT;
    reconcile_sentence(&gone, &want, &away, &facts, text, sizeof text);
    assert_string_equal(text, cause_sentence(CAUSE_HOST_TIMEOUT));
    assert_string_equal(cause_sentence(CAUSE_MAX), "");
}

static void test_timestamps_are_corrected_and_never_run_backwards(void **state)
{
    Story s = story_of_running(false);
    Change now[CHANGES_MAX];

    (void)state;
    look(&s, 0);
    s.facts.unit.active = ACTIVE_FAILED;
    strcpy(s.facts.unit.result, "signal");
    s.facts.unit.inactive_enter_ms = at(10 * S).wall_ms + 5000; /* its clock is 5 s ahead */
    assert_int_equal(reconcile(&s.track, &s.want, &s.pc, &s.facts, 5000, at(10 * S + 300000), now),
                     1);
    assert_int_equal(now[0].ts_ms, at(10 * S).wall_ms);
    s.facts.unit.active = ACTIVE_ACTIVE;
    s.facts.unit.invocation[0] = 2;
    s.facts.unit.active_enter_ms = 17; /* a clock that jumped to 1970 */
    assert_int_equal(reconcile(&s.track, &s.want, &s.pc, &s.facts, 5000, at(11 * S), now), 1);
    assert_int_equal(now[0].ts_ms, at(11 * S).wall_ms);
}

static void test_hints_never_change_a_light(void **state)
{
    Story s = story_of_running(false);

    (void)state;
    s.pc.linger_off = true;
    strcpy(s.facts.unit.file_state, "disabled");
    look(&s, 0);
    assert_int_equal(s.track.shown.light, LIGHT_OK);
    assert_int_equal(s.track.shown.hints, HINT_LINGER_OFF | HINT_NOT_ENABLED);
    s.want.scope = SCOPE_SYSTEM;
    strcpy(s.facts.unit.file_state, "static");
    look(&s, S);
    assert_int_equal(s.track.shown.hints, 0);
}

static void test_sentences(void **state)
{
    Story s = story_of_running(true);
    char text[SENTENCE_MAX];

    (void)state;
    look(&s, 0);
    reconcile_sentence(&s.track.shown, &s.want, &s.pc, &s.facts, text, sizeof text);
    assert_string_equal(text, "");
    s.facts.unit.n_restarts = 3;
    s.facts.unit.exec_status = 1;
    strcpy(s.facts.unit.result, "exit-code");
    s.facts.unit.active = ACTIVE_FAILED;
    look(&s, S);
    reconcile_sentence(&s.track.shown, &s.want, &s.pc, &s.facts, text, sizeof text);
    assert_string_equal(text, "exit code 1 after 3 restarts");
    strcpy(s.facts.unit.result, "signal");
    s.facts.unit.exec_status = SIGKILL;
    s.facts.unit.n_restarts = 0;
    look(&s, 2 * S);
    reconcile_sentence(&s.track.shown, &s.want, &s.pc, &s.facts, text, sizeof text);
    assert_string_equal(text, "killed by SIGKILL");
    PortFacts held = {.owner_pid = 812, .owner_name = "python3"};
    s.facts.port = held;
    Verdict v = {.actual = ACTUAL_DEGRADED, .cause = CAUSE_PORT_FOREIGN};
    reconcile_sentence(&v, &s.want, &s.pc, &s.facts, text, sizeof text);
    assert_string_equal(text, "port 80 is held by pid 812 (python3)");
    for (int c = 1; c < CAUSE_MAX; c++) { /* every cause has its words */
        v.cause = (Cause)c;
        reconcile_sentence(&v, &s.want, &s.pc, &s.facts, text, sizeof text);
        assert_true(text[0] != '\0');
    }
    assert_string_equal(cause_sentence((Cause)9999), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_healed_at_once_is_two_transitions),
        cmocka_unit_test(test_stale_health_does_not_hide_a_crash),
        cmocka_unit_test(test_missed_crash_is_found_by_invocation),
        cmocka_unit_test(test_restart_while_unreachable_is_filled_in),
        cmocka_unit_test(test_restart_while_we_were_off_is_filled_in),
        cmocka_unit_test(test_recall_without_change_is_no_transition),
        cmocka_unit_test(test_recall_of_one_that_was_always_well),
        cmocka_unit_test(test_bad_signs_are_confirmed),
        cmocka_unit_test(test_young_run_is_starting_then_degraded),
        cmocka_unit_test(test_starting_too_long_is_down),
        cmocka_unit_test(test_short_passing_states_are_not_stored),
        cmocka_unit_test(test_inactive_after_failed_is_held),
        cmocka_unit_test(test_inactive_after_failed_is_held_over_a_gap),
        cmocka_unit_test(test_crash_loop_counts_and_is_bounded),
        cmocka_unit_test(test_rare_sentences),
        cmocka_unit_test(test_crash_of_one_that_was_failed_before),
        cmocka_unit_test(test_new_run_that_is_no_missed_restart),
        cmocka_unit_test(test_crash_loop_before_ready_counts),
        cmocka_unit_test(test_failing_job_stays_failed),
        cmocka_unit_test(test_forgotten_job_stays_finished),
        cmocka_unit_test(test_timestamps_are_corrected_and_never_run_backwards),
        cmocka_unit_test(test_hints_never_change_a_light),
        cmocka_unit_test(test_sentences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
