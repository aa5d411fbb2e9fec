/* Each cause breaks its own link, and says what mends it. */
#include "api/doctor-steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "basic/macro.h"
#include "basic/text.h"

#define ALL_TOOLS "timeout=yes\nss=yes\ncurl=yes\njournalctl=yes\nsystemctl=yes\nloginctl=yes\n"

static DoctorFacts healthy(void)
{
    DoctorFacts f = {.host = "home-wsl",
                     .address = "10.77.0.12",
                     .user = "fn",
                     .tools = ALL_TOOLS,
                     .ssh = {.cause = CAUSE_NONE,
                             .bus_exists = true,
                             .has_manager = true,
                             .lingers = true,
                             .bus_forwarded = true,
                             .tcp_forwarded = true}};

    return f;
}

static const DoctorStep *find(const DoctorStep *steps, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(steps[i].name, name) == 0)
            return &steps[i];
    abort();
}

static size_t count(const DoctorStep *steps, size_t n, DoctorState state)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += steps[i].state == state;
    return found;
}

static void test_healthy(void **state)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    DoctorFacts f = healthy();
    size_t n = doctor_judge_remote(&f, steps);

    (void)state;
    assert_int_equal(count(steps, n, DOCTOR_OK), n);
    assert_int_equal(n, 12);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(steps[i].fix, "");
}

static void test_each_cause_breaks_one_link(void **state)
{
    static const struct {
        Cause cause;
        const char *link, *fix;
    } table[] = {
        {CAUSE_SSH_CONFIG, "ssh config", "ssh -G home-wsl"},
        {CAUSE_HOST_UNKNOWN, "host name", "Host home-wsl"},
        {CAUSE_HOST_REFUSED, "connection", "apt install openssh-server"},
        {CAUSE_HOST_TIMEOUT, "connection", "ping 10.77.0.12"},
        {CAUSE_HOST_UNROUTABLE, "connection", "ip route get 10.77.0.12"},
        {CAUSE_HOST_KEY_UNKNOWN, "host key", "ssh -o StrictHostKeyChecking=ask home-wsl true"},
        {CAUSE_HOST_KEY_CHANGED, "host key", "ssh-keygen -R 10.77.0.12"},
        {CAUSE_KEY_REFUSED, "log-in", "ssh-copy-id home-wsl"},
        {CAUSE_SHELL_BROKEN, "shell", "ssh home-wsl"},
        {CAUSE_SSH_FAILED, "connection", "ssh -v"},
        {CAUSE_NOT_CHECKED_YET, "connection", "ssh -v"},
    };
    DoctorStep steps[DOCTOR_STEPS_MAX];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        DoctorFacts f = healthy();
        f.ssh.cause = table[i].cause;
        text_copy(f.ssh.last_line, sizeof f.ssh.last_line, "what ssh said");
        size_t n = doctor_judge_remote(&f, steps);
        const DoctorStep *broken = find(steps, n, table[i].link);
        assert_int_equal(broken->state, DOCTOR_FAIL);
        assert_non_null(strstr(broken->fix, table[i].fix));
        assert_non_null(strstr(broken->detail, "what ssh said"));
        assert_int_equal(count(steps, n, DOCTOR_FAIL), 1);
        for (size_t k = 0; k < n; k++) /* well before it, untried behind it */
            assert_int_equal(steps[k].state, &steps[k] < broken   ? DOCTOR_OK
                                             : &steps[k] > broken ? DOCTOR_UNTRIED
                                                                  : DOCTOR_FAIL);
    }
}

static void test_what_is_missing_there(void **state)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    DoctorFacts f = healthy();
    size_t n;

    (void)state;
    f.ssh.bus_exists = f.ssh.bus_forwarded = false;
    n = doctor_judge_remote(&f, steps);
    assert_int_equal(find(steps, n, "user bus")->state, DOCTOR_FAIL);
    assert_non_null(strstr(find(steps, n, "user bus")->fix, "dbus-user-session"));
    assert_int_equal(find(steps, n, "forward of the bus")->state, DOCTOR_UNTRIED);

    f.ssh.has_manager = false;
    n = doctor_judge_remote(&f, steps);
    assert_int_equal(find(steps, n, "user manager")->state, DOCTOR_FAIL);
    assert_int_equal(find(steps, n, "user bus")->state, DOCTOR_UNTRIED);

    f = healthy();
    f.ssh.lingers = f.ssh.bus_forwarded = f.ssh.tcp_forwarded = false;
    n = doctor_judge_remote(&f, steps);
    assert_int_equal(count(steps, n, DOCTOR_WARN), 3);
    assert_int_equal(count(steps, n, DOCTOR_FAIL), 0);
    assert_non_null(strstr(find(steps, n, "linger")->fix, "loginctl enable-linger fn"));

    f.tools[0] = '\0';
    n = doctor_judge_remote(&f, steps);
    assert_non_null(
        strstr(find(steps, n, "programs")->fix, "coreutils iproute2 systemd systemd curl"));
    f.ssh.tcp_forwarded = true; /* then curl is not needed there */
    n = doctor_judge_remote(&f, steps);
    assert_null(strstr(find(steps, n, "programs")->detail, "curl"));
}

static void test_agent(void **state)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    DoctorFacts f = healthy();
    size_t n;

    (void)state;
    f.agent_here = f.needs_agent = true;
    n = doctor_judge_remote(&f, steps);
    assert_int_equal(find(steps, n, "agent")->state, DOCTOR_FAIL);
    assert_non_null(strstr(find(steps, n, "agent")->fix, "import-environment SSH_AUTH_SOCK"));
}

static void test_own(void **state)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    DoctorOwn own = {.has_bus = true, .has_manager = true, .lingers = true, .has_journal = true};
    size_t n = doctor_judge_own(&own, steps);

    (void)state;
    assert_int_equal(count(steps, n, DOCTOR_OK), n);
    own = (DoctorOwn){.user = "fn"};
    n = doctor_judge_own(&own, steps);
    assert_int_equal(count(steps, n, DOCTOR_FAIL), 1);
    assert_int_equal(count(steps, n, DOCTOR_WARN), 2);
    assert_non_null(strstr(find(steps, n, "journal")->fix, "systemd-journal fn "));
}

/* The longest names fit or are cut, nothing more. */
static void test_long_names(void **state)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    DoctorFacts f = healthy();
    char host[65];

    (void)state;
    memset(host, 'h', 64);
    host[64] = '\0';
    f.host = host;
    memset(f.address, 'a', sizeof f.address - 1);
    memset(f.user, 'u', sizeof f.user - 1);
    memset(f.ssh.last_line, 'x', sizeof f.ssh.last_line - 1);
    f.ssh.cause = CAUSE_HOST_KEY_CHANGED;
    size_t n = doctor_judge_remote(&f, steps);
    for (size_t i = 0; i < n; i++)
        assert_true(strlen(steps[i].fix) < sizeof steps[i].fix);
    f.ssh.cause = CAUSE_NONE;
    f.ssh.lingers = f.ssh.bus_forwarded = f.ssh.tcp_forwarded = false;
    assert_true(doctor_judge_remote(&f, steps) <= DOCTOR_STEPS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_each_cause_breaks_one_link),
        cmocka_unit_test(test_what_is_missing_there),
        cmocka_unit_test(test_agent),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_long_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
