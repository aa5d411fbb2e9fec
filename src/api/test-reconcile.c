/* The truth table of expected, unit state, port and HTTP; what becomes of a service over time is in
 * test-reconcile-runs.c. */
#include "api/test-reconcile.h"

/* ---- the table ---- */

typedef struct UnitCase {
    const char *name;
    UnitFacts facts;
    Actual alone;   /* without port and health */
    bool asks_more; /* the unit is well, port and health decide */
    Cause cause;
} UnitCase;

static size_t unit_cases(UnitCase *ret)
{
    size_t n = 0;
    UnitFacts u;

    ret[n++] =
        (UnitCase){"active", unit(ACTIVE_ACTIVE, "running"), ACTUAL_RUNNING, true, CAUSE_NONE};
    u = unit(ACTIVE_ACTIVE, "exited");
    u.oneshot = u.remain_after_exit = true;
    ret[n++] = (UnitCase){"oneshot remains", u, ACTUAL_RUNNING, true, CAUSE_NONE};
    u = unit(ACTIVE_INACTIVE, "dead");
    u.oneshot = true;
    u.inactive_enter_ms = WALL - 1000;
    ret[n++] = (UnitCase){"oneshot finished", u, ACTUAL_FINISHED, false, CAUSE_NONE};
    u.inactive_enter_ms = 0;
    ret[n++] = (UnitCase){"oneshot never ran", u, ACTUAL_INACTIVE, false, CAUSE_STOPPED};
    ret[n++] = (UnitCase){"inactive", unit(ACTIVE_INACTIVE, "dead"), ACTUAL_INACTIVE, false,
                          CAUSE_STOPPED};
    u = unit(ACTIVE_FAILED, "failed");
    strcpy(u.result, "exit-code");
    ret[n++] = (UnitCase){"failed", u, ACTUAL_FAILED, false, CAUSE_EXIT_CODE};
    u = unit(ACTIVE_ACTIVATING, "auto-restart");
    strcpy(u.result, "signal");
    ret[n++] = (UnitCase){"auto-restart", u, ACTUAL_FAILED, false, CAUSE_SIGNAL};
    ret[n++] = (UnitCase){"activating", unit(ACTIVE_ACTIVATING, "start"), ACTUAL_STARTING, false,
                          CAUSE_STARTING};
    ret[n++] = (UnitCase){"reloading", unit(ACTIVE_RELOADING, "reload"), ACTUAL_STARTING, false,
                          CAUSE_STARTING};
    ret[n++] = (UnitCase){"deactivating", unit(ACTIVE_DEACTIVATING, "stop-sigterm"),
                          ACTUAL_STOPPING, false, CAUSE_STOPPING};
    u = unit(ACTIVE_DEACTIVATING, "stop-post");
    strcpy(u.result, "core-dump");
    u.exec_code = CLD_DUMPED;
    ret[n++] = (UnitCase){"dead, ExecStopPost at work", u, ACTUAL_FAILED, false, CAUSE_CORE_DUMP};
    u = (UnitFacts){.load = LOAD_NOT_FOUND, .active = ACTIVE_INACTIVE, .kind = KIND_SERVICE};
    ret[n++] = (UnitCase){"not found", u, ACTUAL_MISSING, false, CAUSE_NOT_FOUND};
    u = unit(ACTIVE_INACTIVE, "dead");
    u.load = LOAD_MASKED;
    ret[n++] = (UnitCase){"masked", u, ACTUAL_INACTIVE, false, CAUSE_MASKED};
    u.load = LOAD_BAD_SETTING;
    ret[n++] = (UnitCase){"bad setting", u, ACTUAL_INACTIVE, false, CAUSE_BAD_SETTING};
    u = unit(ACTIVE_ACTIVE, "waiting");
    u.kind = KIND_TIMER;
    u.triggered_failed = true;
    ret[n++] = (UnitCase){"timer whose service failed", u, ACTUAL_DEGRADED, false,
                          CAUSE_TIMER_SERVICE_FAILED};
    ret[n++] =
        (UnitCase){"not read yet", (UnitFacts){0}, ACTUAL_UNKNOWN, false, CAUSE_NOT_CHECKED_YET};
    return n;
}

typedef struct PortCase {
    PortFacts facts;
    Actual actual;
    bool asks_more;
    Cause cause;
} PortCase;

static size_t port_cases(PortCase *ret)
{
    PortFacts foreign = port(true, 0), full = port(true, 0);

    foreign.owner = OWNER_FOREIGN;
    full.queue = 6;
    full.backlog = 5;
    full.full_since_us = START - 5 * S;
    ret[0] = (PortCase){port(true, 0), ACTUAL_RUNNING, true, CAUSE_NONE};
    ret[1] = (PortCase){port(false, 0), ACTUAL_DEGRADED, false, CAUSE_PORT_CLOSED};
    ret[2] = (PortCase){foreign, ACTUAL_DEGRADED, false, CAUSE_PORT_FOREIGN};
    ret[3] = (PortCase){full, ACTUAL_DEGRADED, false, CAUSE_PORT_NOT_ACCEPTING};
    ret[4] = (PortCase){(PortFacts){0}, ACTUAL_UNKNOWN, false, CAUSE_NOT_CHECKED_YET};
    return 5;
}

static const struct {
    HttpOutcome outcome;
    int status;
    Actual actual;
    Cause cause;
} http_cases[] = {
    {HTTP_OK, 200, ACTUAL_RUNNING, CAUSE_NONE},
    {HTTP_BAD_STATUS, 503, ACTUAL_DEGRADED, CAUSE_HTTP_STATUS},
    {HTTP_REFUSED, 0, ACTUAL_DEGRADED, CAUSE_HTTP_REFUSED},
    {HTTP_RESET, 0, ACTUAL_DEGRADED, CAUSE_HTTP_RESET},
    {HTTP_EOF, 0, ACTUAL_DEGRADED, CAUSE_HTTP_EOF},
    {HTTP_TIMEOUT, 0, ACTUAL_DEGRADED, CAUSE_HTTP_TIMEOUT},
    {HTTP_BAD_REPLY, 0, ACTUAL_DEGRADED, CAUSE_HTTP_BAD_REPLY},
    {HTTP_UNRESOLVED, 0, ACTUAL_DEGRADED, CAUSE_HTTP_UNRESOLVED},
    {HTTP_TLS, 0, ACTUAL_DEGRADED, CAUSE_HTTP_TLS},
    {HTTP_ERROR, 0, ACTUAL_DEGRADED, CAUSE_HTTP_ERROR},
    {HTTP_NOT_ASKED, 0, ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET},
};

static Light expected_light(Expected e, Actual a)
{
    if (a == ACTUAL_UNKNOWN || a == ACTUAL_UNREACHABLE)
        return LIGHT_UNKNOWN;
    if (e == EXPECTED_RUNNING) {
        if (a == ACTUAL_RUNNING || a == ACTUAL_FINISHED)
            return LIGHT_OK;
        return a == ACTUAL_INACTIVE || a == ACTUAL_FAILED || a == ACTUAL_MISSING ? LIGHT_DOWN
                                                                                 : LIGHT_WARN;
    }
    return a == ACTUAL_RUNNING || a == ACTUAL_DEGRADED || a == ACTUAL_STARTING ? LIGHT_WARN
                                                                               : LIGHT_OK;
}

static void check_case(Expected e, const UnitCase *u, const PortCase *p, size_t h, bool has_port,
                       bool has_health)
{
    Want want = {.app_id = "a",
                 .pc_id = "p",
                 .unit = "a.service",
                 .expected = e,
                 .port = has_port ? 80 : 0,
                 .health = has_health ? "/health" : NULL,
                 .timeout_ms = 2000};
    Facts facts = {.unit = u->facts,
                   .port = p->facts,
                   .http = http(http_cases[h].outcome, http_cases[h].status, 0)};
    Track track = {0};
    Change changes[CHANGES_MAX];
    Actual actual = u->alone;
    Cause cause = u->cause;

    if (u->asks_more && e == EXPECTED_RUNNING) {
        if (has_port) {
            actual = p->actual;
            cause = p->cause;
        }
        if (has_health && (!has_port || p->asks_more)) {
            actual = http_cases[h].actual;
            cause = http_cases[h].cause;
        }
    } else if (u->alone == ACTUAL_DEGRADED && e == EXPECTED_STOPPED) {
        actual = ACTUAL_RUNNING;
    }
    assert_int_equal(reconcile(&track, &want, &well, &facts, 0, at(0), changes), 0);
    assert_int_equal(track.shown.actual, actual);
    assert_int_equal(track.shown.light, expected_light(e, actual));
    if (e == EXPECTED_RUNNING)
        assert_int_equal(track.shown.cause, cause);
    else if (track.shown.light == LIGHT_WARN)
        assert_int_equal(track.shown.cause, CAUSE_RUNNING);
}

static void test_truth_table(void **state)
{
    UnitCase units[24];
    PortCase ports[8];
    size_t n_units = unit_cases(units), n_ports = port_cases(ports), cases = 0;

    (void)state;
    for (int e = 0; e < EXPECTED_MAX; e++)
        for (size_t u = 0; u < n_units; u++)
            for (size_t p = 0; p < n_ports; p++)
                for (size_t h = 0; h < ELEMENTS(http_cases); h++)
                    for (int has = 0; has < 4; has++, cases++)
                        check_case((Expected)e, &units[u], &ports[p], h, has & 1, has & 2);
    assert_int_equal(cases, 2 * n_units * n_ports * ELEMENTS(http_cases) * 4);
}

static void test_pc_comes_first(void **state)
{
    Want want = {.app_id = "a", .pc_id = "p", .unit = "a.service", .port = 80, .timeout_ms = 2000};
    Facts facts = {.unit = unit(ACTIVE_FAILED, "failed")};
    Change changes[CHANGES_MAX];
    PcFacts pc = {0};
    Track track = {0};

    (void)state;
    reconcile(&track, &want, &pc, &facts, 0, at(0), changes);
    assert_int_equal(track.shown.actual, ACTUAL_UNKNOWN);
    pc = (PcFacts){.known = true, .cause = CAUSE_HOST_KEY_CHANGED};
    reconcile(&track, &want, &pc, &facts, 0, at(1), changes);
    assert_int_equal(track.shown.actual, ACTUAL_UNREACHABLE);
    assert_int_equal(track.shown.cause, CAUSE_HOST_KEY_CHANGED);
    assert_int_equal(track.shown.light, LIGHT_UNKNOWN);
    pc = (PcFacts){
        .known = true, .reachable = true, .scope_cause[SCOPE_USER] = CAUSE_NO_USER_MANAGER};
    reconcile(&track, &want, &pc, &facts, 0, at(2), changes);
    assert_int_equal(track.shown.actual, ACTUAL_UNKNOWN);
    assert_int_equal(track.shown.cause, CAUSE_NO_USER_MANAGER);
    want.scope = SCOPE_SYSTEM; /* the other bus is well */
    reconcile(&track, &want, &pc, &facts, 0, at(3), changes);
    assert_int_equal(track.shown.actual, ACTUAL_FAILED);
}

static void test_without_unit(void **state)
{
    Want want = {.app_id = "a", .pc_id = "p", .port = 80, .timeout_ms = 2000};
    Facts facts = {.port = port(false, 0)};
    Change changes[CHANGES_MAX];
    Track track = {0};

    (void)state;
    reconcile(&track, &want, &well, &facts, 0, at(0), changes);
    assert_int_equal(track.shown.actual, ACTUAL_INACTIVE);
    assert_int_equal(track.shown.light, LIGHT_DOWN);
    facts.port = port(true, 1);
    assert_int_equal(reconcile(&track, &want, &well, &facts, 0, at(1), changes), 1);
    assert_int_equal(changes[0].to, ACTUAL_RUNNING);
    want.expected = EXPECTED_STOPPED;
    reconcile(&track, &want, &well, &facts, 0, at(2), changes);
    assert_int_equal(track.shown.light, LIGHT_WARN);
    want = (Want){.app_id = "a", .pc_id = "p", .health = "https://x.example/", .timeout_ms = 2000};
    facts.http = http(HTTP_REFUSED, 0, 3);
    reconcile(&track, &want, &well, &facts, 0, at(3), changes);
    assert_int_equal(track.shown.actual, ACTUAL_INACTIVE);
}

/* ---- what the table leaves out ---- */

static Verdict judged(const Want *want, const Facts *facts, Now now)
{
    Track track = {0};
    Change changes[CHANGES_MAX];

    assert_int_equal(reconcile(&track, want, &well, facts, 0, now, changes), 0);
    return track.shown;
}

static void assert_verdict(Verdict v, Actual actual, Cause cause)
{
    assert_int_equal(v.actual, actual);
    assert_int_equal(v.cause, cause);
}

static void test_rare_states_of_units(void **state)
{
    Want want = {.app_id = "a", .pc_id = "p", .unit = "a.service", .timeout_ms = 2000};
    Facts facts = {.unit = unit(ACTIVE_DEACTIVATING, "stop-sigterm")};
    UnitFacts *u = &facts.unit;

    (void)state;
    u->exec_code = CLD_EXITED; /* it ended well, and its ExecStopPost= is at work */
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_STOPPING, CAUSE_STOPPING);
    *u = unit(ACTIVE_INACTIVE, "dead");
    u->load = LOAD_ERROR;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_INACTIVE, CAUSE_BAD_SETTING);
    *u = unit(ACTIVE_INACTIVE, "dead");
    u->oneshot = true;
    u->exec_exit_ms = WALL - 5;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_FINISHED, CAUSE_NONE);
    strcpy(u->result, "exit-code");
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_INACTIVE, CAUSE_STOPPED);
    u->remain_after_exit = true;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_INACTIVE, CAUSE_STOPPED);
    *u = unit(ACTIVE_ACTIVE, "waiting");
    u->kind = KIND_TIMER;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_RUNNING, CAUSE_NONE);
    *u = unit(ACTIVE_ACTIVE, "running"); /* its file was taken away while it runs */
    u->load = LOAD_NOT_FOUND;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_RUNNING, CAUSE_NONE);
    u->active = ACTIVE_DEACTIVATING;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_STOPPING, CAUSE_STOPPING);
    u->load = LOAD_LOADED;
    u->active = ACTIVE_UNKNOWN;
    assert_verdict(judged(&want, &facts, at(0)), ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
}

static void test_rare_looks(void **state)
{
    Want port_only = {.app_id = "a", .pc_id = "p", .port = 80};
    Want url_only = {.app_id = "a", .pc_id = "p", .health = "/", .timeout_ms = 2000};
    Want job = {.app_id = "a", .pc_id = "p", .unit = "a.service", .port = 80, .timeout_ms = 2000};
    Facts facts = {.port = port(true, 0)};

    (void)state;
    facts.port.full_since_us = START - S; /* full, but not for long */
    assert_verdict(judged(&port_only, &facts, at(0)), ACTUAL_RUNNING, CAUSE_NONE);
    facts = (Facts){0};
    assert_verdict(judged(&port_only, &facts, at(0)), ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    assert_verdict(judged(&url_only, &facts, at(0)), ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    port_only.expected = EXPECTED_STOPPED;
    assert_verdict(judged(&port_only, &facts, at(0)), ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    facts.port = port(false, 0);
    assert_verdict(judged(&port_only, &facts, at(0)), ACTUAL_INACTIVE, CAUSE_NONE);
    /* a run that we saw begin, not looked at yet; a job that stays is no job at work */
    facts = (Facts){.unit = unit(ACTIVE_ACTIVE, "exited")};
    facts.unit.oneshot = facts.unit.remain_after_exit = true;
    facts.unit.active_enter_ms = 0;
    Verdict v = judged(&job, &facts, at(0));
    assert_verdict(v, ACTUAL_STARTING, CAUSE_STARTING);
    assert_int_equal(v.light, LIGHT_WARN);
    facts.unit.active_enter_ms = WALL + 5000; /* a clock that is ahead of ours */
    assert_verdict(judged(&job, &facts, at(0)), ACTUAL_STARTING, CAUSE_STARTING);
    job.health = "/";
    facts.port = port(true, 1);
    assert_verdict(judged(&job, &facts, at(2)), ACTUAL_STARTING, CAUSE_STARTING);
    facts.unit.active_enter_ms = WALL - 60000;
    assert_verdict(judged(&job, &facts, at(2)), ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
    facts.port = (PortFacts){0};
    assert_verdict(judged(&job, &facts, at(2)), ACTUAL_UNKNOWN, CAUSE_NOT_CHECKED_YET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truth_table),  cmocka_unit_test(test_pc_comes_first),
        cmocka_unit_test(test_without_unit), cmocka_unit_test(test_rare_states_of_units),
        cmocka_unit_test(test_rare_looks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
