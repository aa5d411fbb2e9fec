/* What systemctl and curl print, read back. */
#include "api/ssh-poll.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/probe-port.h"
#include "basic/macro.h"

static const char three[] =
    "Type=notify\nRemainAfterExit=no\nMainPID=4711\nNRestarts=3\nResult=success\n"
    "ExecMainExitTimestamp=\nExecMainCode=0\nExecMainStatus=0\n"
    "ControlGroup=/user.slice/a.service\nId=a.service\nLoadState=loaded\nActiveState=active\n"
    "SubState=running\nInvocationID=00112233445566778899aabbccddeeff\nUnitFileState=enabled\n"
    "StateChangeTimestamp=Tue 2026-11-24 06:53:17.123456 UTC\n"
    "ActiveEnterTimestamp=Tue 2026-11-24 06:53:17.123456 UTC\nInactiveEnterTimestamp=\n"
    "\n"
    "Id=gone.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n"
    "\n"
    "Type=oneshot\nRemainAfterExit=yes\nResult=signal\nExecMainCode=2\nExecMainStatus=9\n"
    "Id=b.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\n"
    "ExecMainExitTimestamp=Thu 1970-01-01 00:00:01.000999 UTC\n";

static void test_units(void **state)
{
    UnitFacts u[3];
    static const uint8_t id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

    (void)state;
    assert_int_equal(ssh_units_parse(three, strlen(three), 3, u), 3);
    assert_int_equal(u[0].load, LOAD_LOADED);
    assert_int_equal(u[0].active, ACTIVE_ACTIVE);
    assert_string_equal(u[0].sub, "running");
    assert_int_equal(u[0].kind, KIND_SERVICE);
    assert_int_equal(u[0].main_pid, 4711);
    assert_int_equal(u[0].n_restarts, 3);
    assert_memory_equal(u[0].invocation, id, 16);
    assert_string_equal(u[0].file_state, "enabled");
    assert_int_equal(u[0].active_enter_ms, INT64_C(1795503197123));
    assert_int_equal(u[0].inactive_enter_ms, 0);
    assert_int_equal(u[0].cgroup_id, port_cgroup_hash("/user.slice/a.service"));
    assert_true(u[0].has_details);
    assert_int_equal(u[1].load, LOAD_NOT_FOUND);
    assert_int_equal(u[2].active, ACTIVE_FAILED);
    assert_true(u[2].oneshot && u[2].remain_after_exit);
    assert_int_equal(u[2].exec_code, 2);
    assert_int_equal(u[2].exec_status, 9);
    assert_string_equal(u[2].result, "signal");
    assert_int_equal(u[2].exec_exit_ms, 1000);
}

static void test_fewer_answers_than_units(void **state)
{
    UnitFacts u[5];

    (void)state;
    assert_int_equal(ssh_units_parse(three, strlen(three), 5, u), 3);
    assert_int_equal(u[4].load, LOAD_UNKNOWN);
    assert_false(u[4].has_details);
    assert_int_equal(ssh_units_parse(three, strlen(three), 1, u), 1);
    assert_int_equal(ssh_units_parse("", 0, 2, u), -EBADMSG);
    assert_int_equal(ssh_units_parse("Failed to connect\n", 18, 2, u), -EBADMSG);
}

static void test_hostile_values(void **state)
{
    static const char text[] = "LoadState=\033[31m\nActiveState=active\nSubState=\xff\xfe\n"
                               "MainPID=99999999999999999999\nNRestarts=-1\nInvocationID=zz\n"
                               "ExecMainCode=4000000000\nExecMainStatus=4000000000\n"
                               "ActiveEnterTimestamp=Tue 2026-11-24 06:53:17.123456 CET\n"
                               "StateChangeTimestamp=now\nControlGroup=../x\n=\nnothing\n";
    UnitFacts u;

    (void)state;
    assert_int_equal(ssh_units_parse(text, strlen(text), 1, &u), -EBADMSG);
    assert_int_equal(u.load, LOAD_UNKNOWN);
    assert_int_equal(u.main_pid, 0);
    assert_int_equal(u.n_restarts, 0);
    assert_int_equal(u.exec_status, 255);
    assert_int_equal(u.exec_code, 6);
    assert_int_equal(u.active_enter_ms, 0);
    assert_int_equal(u.state_change_ms, 0);
    assert_int_equal(u.cgroup_id, 0);
    assert_string_equal(u.sub, "\xef\xbf\xbd\xef\xbf\xbd");
}

static void test_request(void **state)
{
    Buffer out = BUFFER_INIT(10000);

    (void)state;
    ssh_health_request(&out, 0, "127.0.0.1:8401", "/a?b=\"c\\d", 2050);
    ssh_health_request(&out, 1, "[::1]:1", "/", 100);
    const char *text = buffer_cstr(&out);
    assert_non_null(strstr(text, "url = \"http://127.0.0.1:8401/a?b=\\\"c\\\\d\"\n"));
    assert_non_null(strstr(text, "max-time = 2.050\n"));
    assert_non_null(strstr(text, "\nnext\nurl = \"http://[::1]:1/\"\nmax-time = 0.100\n"));
    assert_non_null(strstr(text, "\"1 %{http_code} %{time_starttransfer} %{exitcode}\\n\"\n"));
    buffer_done(&out);
}

typedef struct Answer {
    const char *line;
    HttpOutcome outcome;
    int status, latency_us;
} Answer;

static void test_answers(void **state)
{
    static const Answer table[] = {
        {"0 200 0.001234 0\n", HTTP_OK, 200, 1234},
        {"0 302 1.000000 0\n", HTTP_OK, 302, 1000000},
        {"0 503 0.002000 0\n", HTTP_BAD_STATUS, 503, 2000},
        {"0 200 0.500000 28\n", HTTP_OK, 200, 500000}, /* the head was there in time */
        {"0 200 0.500000 63\n", HTTP_OK, 200, 500000},
        {"0 000 0.000000 7\n", HTTP_REFUSED, 0, -1},
        {"0 000 0.000000 28\n", HTTP_TIMEOUT, 0, -1},
        {"0 000 0.000000 52\n", HTTP_EOF, 0, -1},
        {"0 000 0.000000 56\n", HTTP_RESET, 0, -1},
        {"0 000 0.000000 1\n", HTTP_BAD_REPLY, 0, -1},
        {"0 000 0.000000 6\n", HTTP_UNRESOLVED, 0, -1},
        {"0 000 0.000000 60\n", HTTP_TLS, 0, -1},
        {"0 000 0.000000 99\n", HTTP_ERROR, 0, -1},
        {"7 200 0.001000 0\n", HTTP_NOT_ASKED, 0, 0},
        {"0 200\n", HTTP_NOT_ASKED, 0, 0},
        {"0 200 0.001 0 rest\n", HTTP_NOT_ASKED, 0, 0},
        {"-1 200 0.001 0\n", HTTP_NOT_ASKED, 0, 0},
        {"", HTTP_NOT_ASKED, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        HttpFacts f = {0};
        ssh_health_parse(table[i].line, strlen(table[i].line), &f, 1);
        assert_int_equal(f.outcome, table[i].outcome);
        assert_int_equal(f.status, table[i].status);
        assert_int_equal(f.latency_us, table[i].latency_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),          cmocka_unit_test(test_fewer_answers_than_units),
        cmocka_unit_test(test_hostile_values), cmocka_unit_test(test_request),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
