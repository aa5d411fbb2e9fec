/* The script in real shells, over pipes as over ssh. */
#include "api/ssh-exec.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/ssh-process.h"
#include "api/test-dir.h"
#include "basic/clock.h"
#include "basic/macro.h"
#include "common/name.h"

typedef struct Session {
    Nest *nest;
    SshProcess *process;
    SshShell *shell;
    bool ready, ended;
    Cause broken;
    unsigned replies;
    int error;
    char output[8192];
} Session;

static void on_said(void *userdata)
{
    (void)userdata;
}

static void on_ended(void *userdata, int status)
{
    Session *s = userdata;

    (void)status;
    s->ended = true;
    s->process = ssh_process_free(s->process);
}

static void on_ready(void *userdata)
{
    ((Session *)userdata)->ready = true;
}

static void on_broken(void *userdata, Cause cause)
{
    ((Session *)userdata)->broken = cause;
}

static void on_reply(void *userdata, int error, const char *output, size_t len)
{
    Session *s = userdata;

    s->replies++;
    s->error = error;
    snprintf(s->output, sizeof s->output, "%.*s", (int)len, output);
}

static void turn(Session *s)
{
    struct pollfd p = {.fd = nest_fd(s->nest), .events = POLLIN};

    poll(&p, 1, 50);
    nest_dispatch(s->nest);
    if (s->shell)
        ssh_shell_tick(s->shell, clock_now().mono_us);
    if (s->process)
        ssh_process_tick(s->process, clock_now().mono_us);
}

#define WAIT(s, condition)                               \
    do {                                                 \
        for (int i_ = 0; i_ < 400 && !(condition); i_++) \
            turn(s);                                     \
        assert_true(condition);                          \
    } while (0)

static void begin(Session *s, const char *const *argv)
{
    static const SshProcessEvents process_events = {.said = on_said, .ended = on_ended};
    static const SshShellEvents shell_events = {.ready = on_ready, .broken = on_broken};

    *s = (Session){0};
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(nest_new(&s->nest), 0);
    assert_int_equal(ssh_process_new(s->nest, argv, &process_events, s, &s->process), 0);
    assert_int_equal(ssh_shell_new(s->nest, ssh_process_in(s->process), ssh_process_out(s->process),
                                   &shell_events, s, &s->shell),
                     0);
}

static void finish(Session *s)
{
    ssh_shell_free(s->shell);
    ssh_process_free(s->process);
    nest_free(s->nest);
}

static int ask(Session *s, SshCommand command, const char *data)
{
    unsigned before = s->replies;

    assert_int_equal(ssh_exec(s->shell, command, data, 4096, 5000, on_reply, s), 0);
    WAIT(s, s->replies > before);
    return s->error;
}

static void check_shell(const char *shell)
{
    const char *const argv[] = {shell, NULL};
    Session s;

    begin(&s, argv);
    WAIT(&s, s.ready);
    assert_int_equal(ask(&s, SSH_ABOUT, ""), 0);
    assert_non_null(strstr(s.output, "Linux "));
    assert_non_null(strstr(s.output, "\nclock=1"));
    assert_non_null(strstr(s.output, "\nuid="));
    assert_non_null(strstr(s.output, "\nlinger="));
    const char *boot = strstr(s.output, "\nboot=");
    char id[BOOT_ID_LEN + 1];
    assert_non_null(boot);
    snprintf(id, sizeof id, "%s", boot + strlen("\nboot="));
    assert_true(name_is_boot_id(id));
    assert_int_equal(boot[strlen("\nboot=") + BOOT_ID_LEN], '\n');
    assert_int_equal(ask(&s, SSH_TOOLS, ""), 0);
    assert_non_null(strstr(s.output, "timeout=yes\n"));
    /* several at once come back one by one */
    for (int i = 0; i < 5; i++)
        assert_int_equal(ssh_exec(s.shell, SSH_TOOLS, "", 4096, 5000, on_reply, &s), 0);
    WAIT(&s, s.replies == 7);
    assert_true(ssh_shell_is_idle(s.shell));
    finish(&s);
}

static void test_shells(void **state)
{
    (void)state;
    check_shell("sh");
    check_shell("bash");
}

static void fill_in(char *ret, size_t size, const char *text, const char *dir)
{
    const char *at = strchr(text, '@');

    snprintf(ret, size, "%.*s%s%s", (int)(at ? (size_t)(at - text) : strlen(text)), text,
             at ? dir : "", at ? at + 1 : "");
}

/* Whatever stands in a line of data stays a line of data. */
static void test_no_name_reaches_the_shell(void **state)
{
    static const char *const names[] = {
        "$(touch @/canary)",
        "`touch @/canary`",
        "\"; touch @/canary; \"",
        "'; touch @/canary; '",
        "; touch @/canary #",
        "| touch @/canary",
        "& touch @/canary &",
        "> @/canary",
        "$IFS$(touch @/canary)",
        "\\$(touch @/canary)",
        "*",
        "~",
        "-rf @/canary",
        "${x:=`touch @/canary`}",
        "done; touch @/canary; exit",
        "--help",
        "",
    };
    const char *const argv[] = {"sh", NULL};
    char *dir = test_dir_new(), name[300], data[1200];
    Session s;

    (void)state;
    begin(&s, argv);
    WAIT(&s, s.ready);
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        fill_in(name, sizeof name, names[i], dir);
        snprintf(data, sizeof data, "user\n%s\n%s\n%s\n", name, name, name);
        ask(&s, SSH_JOURNAL, data);
        ask(&s, SSH_UNITS, data);
        ask(&s, SSH_HEALTH, data);
        assert_int_equal(test_count_files(dir), 0);
    }
    assert_int_equal(ask(&s, SSH_TOOLS, ""), 0); /* and the shell is as it was */
    finish(&s);
    test_dir_free(dir);
}

static void test_bad_data_is_refused(void **state)
{
    static const char *const bad[] = {"no newline", "a\tb\n", "a\033[31m\n", "a\rb\n", "a\x7f\n"};
    const char *const argv[] = {"sh", NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(ssh_exec(s.shell, SSH_UNITS, bad[i], 10, 10, on_reply, &s), -EINVAL);
    assert_int_equal(ssh_exec(s.shell, SSH_COMMAND_MAX, "", 10, 10, on_reply, &s), -EINVAL);
    for (int i = 0; i < SSH_QUEUE_MAX; i++)
        assert_int_equal(ssh_exec(s.shell, SSH_TOOLS, "", 10, 10, on_reply, &s), 0);
    assert_int_equal(ssh_exec(s.shell, SSH_TOOLS, "", 10, 10, on_reply, &s), -EBUSY);
    ssh_shell_abort(s.shell);
    assert_int_equal(s.replies, SSH_QUEUE_MAX);
    assert_int_equal(s.error, -ENOTCONN);
    assert_int_equal(ssh_exec(s.shell, SSH_TOOLS, "", 10, 10, on_reply, &s), -ENOTCONN);
    finish(&s);
}

static void test_too_much_output(void **state)
{
    const char *const argv[] = {"sh", NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    WAIT(&s, s.ready);
    assert_int_equal(ssh_exec(s.shell, SSH_TOOLS, "", 3, 5000, on_reply, &s), 0);
    WAIT(&s, s.replies == 1);
    assert_int_equal(ask(&s, SSH_TOOLS, ""), 0);
    finish(&s);
}

static void test_chatty_start(void **state)
{
    const char *const argv[] = {
        "sh", "-c", "echo Welcome; head -c 300000 /dev/zero; printf '\\nx begin\\n'; exec sh",
        NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    WAIT(&s, s.ready);
    assert_int_equal(ask(&s, SSH_ABOUT, ""), 0);
    assert_memory_equal(s.output, "Linux ", 6);
    finish(&s);
}

static void test_endless_garbage(void **state)
{
    const char *const argv[] = {"sh", "-c", "exec yes", NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    WAIT(&s, s.broken);
    assert_int_equal(s.broken, CAUSE_SHELL_BROKEN);
    ssh_process_stop(s.process, clock_now().mono_us);
    WAIT(&s, s.ended);
    finish(&s);
}

/* The shell goes, what holds its pipes stays: noticed all the same. */
static void test_shell_that_ends(void **state)
{
    const char *const argv[] = {"sh", "-c", "exec 1>&-; sleep 60", NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    WAIT(&s, s.broken);
    assert_false(s.ended);
    ssh_process_stop(s.process, clock_now().mono_us);
    WAIT(&s, s.ended);
    finish(&s);
}

static void test_stubborn_process_is_killed(void **state)
{
    const char *const argv[] = {"sh", "-c", "trap '' TERM; echo x; while :; do sleep 1; done",
                                NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    turn(&s);
    ssh_process_stop(s.process, clock_now().mono_us);
    WAIT(&s, s.ended);
    finish(&s);
}

static size_t said_len(const Session *s)
{
    size_t len;

    ssh_process_said(s->process, &len);
    return len;
}

static void test_stderr_is_capped(void **state)
{
    const char *const argv[] = {"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x >&2; sleep 60",
                                NULL};
    Session s;
    size_t len;

    (void)state;
    begin(&s, argv);
    WAIT(&s, said_len(&s) == SSH_SAID_MAX);
    assert_memory_equal(ssh_process_said(s.process, &len), "xxxx", 4);
    finish(&s);
}

static void test_missing_program(void **state)
{
    const char *const argv[] = {"/nonexistent/ssh", NULL};
    Session s;

    (void)state;
    begin(&s, argv);
    WAIT(&s, s.ended);
    finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shells),
        cmocka_unit_test(test_no_name_reaches_the_shell),
        cmocka_unit_test(test_bad_data_is_refused),
        cmocka_unit_test(test_too_much_output),
        cmocka_unit_test(test_chatty_start),
        cmocka_unit_test(test_endless_garbage),
        cmocka_unit_test(test_shell_that_ends),
        cmocka_unit_test(test_stubborn_process_is_killed),
        cmocka_unit_test(test_stderr_is_capped),
        cmocka_unit_test(test_missing_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
