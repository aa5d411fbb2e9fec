/* The connection's life, with a fake ssh: a script in PATH that does what the test wants, and a
 * real `sh` behind it. */
#include "api/transport-ssh.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "api/test-dir.h"
#include "api/way.h"
#include "basic/macro.h"

#define WELL                                                              \
    "echo 'Authenticated to x ([1.2.3.4]:22) using \"publickey\".' >&2\n" \
    "for word; do :; done\nexec sh -c \"$word\"\n"

typedef struct Test {
    Way way;
    char *dir;
    Cause told[16];
    size_t n_told;
    unsigned replies;
    int error;
    char text[4096];
    size_t n_ports, n_units;
    HttpFacts http;
} Test;

static void script(const Test *t, const char *text)
{
    const char *path = test_path(t->dir, "ssh");
    char content[2000];
    int n = snprintf(content, sizeof content, "#!/bin/sh\necho \"$*\" >>%s/argv\n%s", t->dir, text);

    test_write(path, content, (size_t)n);
    chmod(path, 0700);
}

static int setup(void **state)
{
    Test *t = calloc(1, sizeof *t);
    char *path = NULL;

    t->dir = test_dir_new();
    if (asprintf(&path, "%s:/usr/sbin:/usr/bin:/sbin:/bin", t->dir) < 0)
        return -1;
    setenv("PATH", path, 1);
    setenv("XDG_RUNTIME_DIR", t->dir, 1);
    free(path);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    Test *t = *state;

    way_done(&t->way);
    test_dir_free(t->dir);
    free(t);
    return 0;
}

static void on_state(void *userdata, Cause cause)
{
    Test *t = userdata;

    if (t->n_told < ELEMENTS(t->told))
        t->told[t->n_told++] = cause;
}

static Transport *start(Test *t, const char *text)
{
    static const TransportEvents events = {.state = on_state};

    script(t, text);
    assert_int_equal(way_open(&t->way, "pc", "host.example", false, &events, t), 0);
    t->way.transport->ops->start(t->way.transport, clock_now());
    return t->way.transport;
}

#define WAIT(t, condition)                                                      \
    do {                                                                        \
        for (int i_ = 0; i_ < 1000 && !(condition); i_++)                       \
            assert_true(sd_event_run((t)->way.event, 20 * USEC_PER_MSEC) >= 0); \
        assert_true(condition);                                                 \
    } while (0)

static void on_reply(void *userdata, int error, const char *output, size_t len)
{
    Test *t = userdata;

    t->replies++;
    t->error = error;
    snprintf(t->text, sizeof t->text, "%.*s", (int)len, output);
}

static void on_ports(void *userdata, int error, const PortTable *table)
{
    Test *t = userdata;

    t->replies++;
    t->error = error;
    t->n_ports = error < 0 ? 0 : table->n;
}

static void on_units(void *userdata, int error, const UnitFacts *facts, size_t n)
{
    Test *t = userdata;

    (void)facts;
    t->replies++;
    t->error = error;
    t->n_units = n;
}

static void on_http(void *userdata, uint32_t handle, const HttpFacts *facts)
{
    Test *t = userdata;

    assert_int_equal(handle, 7);
    t->replies++;
    t->http = *facts;
}

static size_t argv_lines(const Test *t)
{
    FILE *f = fopen(test_path(t->dir, "argv"), "r");
    size_t n = 0;

    for (int c; f && (c = fgetc(f)) != EOF;)
        n += c == '\n';
    if (f)
        fclose(f);
    return n;
}

static void test_up_and_commands(void **state)
{
    Test *t = *state;
    Transport *tr = start(t, WELL);
    SshReport report;
    char address[256];
    HttpDial dial;
    PortEntry entry = {.port = 8401};

    assert_int_equal(tr->ops->run(tr, COMMAND_UNAME, "", 1000, on_reply, t), -ENOTCONN);
    assert_int_equal(tr->ops->look_ports(tr, clock_now(), on_ports, t), -ENOTCONN);
    assert_int_equal(tr->ops->dial(tr, &entry, &dial), -ENOTCONN);
    assert_int_equal(tr->ops->bus_address(tr, SCOPE_USER, address, sizeof address), -ENOTCONN);
    WAIT(t, t->n_told);
    assert_int_equal(t->told[0], CAUSE_NONE);
    assert_int_equal(argv_lines(t), 2); /* the first one learns the uid */
    transport_ssh_report(tr, &report);
    assert_int_equal(report.uid, getuid());
    assert_true(report.authenticated && report.shell_ran);
    assert_true(name_is_boot_id(tr->boot_id)); /* known before it said that it is up */

    assert_int_equal(tr->ops->run(tr, COMMAND_UNAME, "", 5000, on_reply, t), 0);
    WAIT(t, t->replies == 1);
    assert_memory_equal(t->text, "Linux ", 6);
    assert_int_equal(tr->ops->run(tr, COMMAND_JOURNAL, "user\nx y.service\n-\n5\n", 1, on_reply, t),
                     -EINVAL);
    assert_int_equal(tr->ops->run(tr, COMMAND_MAX, "", 1, on_reply, t), -EINVAL);
    assert_int_equal(tr->ops->look_ports(tr, clock_now(), on_ports, t), 0);
    assert_int_equal(tr->ops->look_ports(tr, clock_now(), on_ports, t), -EBUSY);
    WAIT(t, t->replies == 2);
    assert_int_equal(tr->ops->bus_address(tr, SCOPE_SYSTEM, address, sizeof address), 0);
    assert_memory_equal(address, "unix:path=/", 11);
}

/* What is no boot id is none; everything else works. */
static void test_hostile_boot_id(void **state)
{
    Test *t = *state;
    Transport *tr = start(
        t, "echo 'Authenticated to x ([1.2.3.4]:22) using \"publickey\".' >&2\n"
           "for word; do :; done\nsh -c \"$word\" | sed -u 's/^boot=.*/&0123456789abcdef0123/'\n");

    WAIT(t, t->n_told);
    assert_int_equal(t->told[0], CAUSE_NONE);
    assert_string_equal(tr->boot_id, "");
}

static void test_dial(void **state)
{
    static const uint8_t v4[] = {5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0x20, 0xD1};
    static const uint8_t v6[] = {5, 1, 0, 5, 1, 0, 4, 0, 0, 0, 0,    0,   0,
                                 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 0xD1};
    Test *t = *state;
    Transport *tr = start(t, WELL);
    PortEntry entry = {.port = 8401}, six = {.port = 8401, .is_ipv6 = true};
    HttpDial dial;

    WAIT(t, t->n_told);
    assert_int_equal(tr->ops->dial(tr, &entry, &dial), 0); /* 0.0.0.0 means the loopback */
    assert_true(dial.socks);
    assert_int_equal(dial.preamble_len, sizeof v4);
    assert_memory_equal(dial.preamble, v4, sizeof v4);
    assert_int_equal(tr->ops->dial(tr, &six, &dial), 0);
    assert_int_equal(dial.preamble_len, sizeof v6);
    assert_memory_equal(dial.preamble, v6, sizeof v6);
    memcpy(entry.addr, "\x0a\x4d\x00\x0c", 4);
    assert_int_equal(tr->ops->dial(tr, &entry, &dial), 0);
    assert_memory_equal(dial.preamble + 7, entry.addr, 4);
}

static void test_polling_ops(void **state)
{
    static const char *const units[] = {"a.service", "b.timer"};
    Test *t = *state;
    Transport *tr = start(t, WELL);
    HttpLook look = {.host = "127.0.0.1:1", .target = "/health", .timeout_ms = 500, .handle = 7};

    WAIT(t, t->n_told);
    assert_int_equal(tr->ops->poll_units(tr, SCOPE_USER, units, 0, on_units, t), -EINVAL);
    assert_int_equal(
        tr->ops->poll_units(tr, SCOPE_USER, units, TRANSPORT_UNITS_MAX + 1, on_units, t), -EINVAL);
    assert_int_equal(tr->ops->poll_units(tr, SCOPE_SYSTEM, units, 2, on_units, t), 0);
    assert_int_equal(tr->ops->poll_units(tr, SCOPE_SYSTEM, units, 2, on_units, t), -EBUSY);
    WAIT(t, t->replies == 1);
    assert_true(t->error < 0 || t->n_units == 2);
    assert_int_equal(tr->ops->health(tr, &look, clock_now(), on_http, t), 0);
    WAIT(t, t->replies == 2);
    assert_int_equal(t->http.outcome, HTTP_REFUSED);
    assert_true(t->http.at_us >= t->http.started_us && t->http.started_us > 0);
}

/* Whoever waits when the connection breaks is told; then it comes back by itself. */
static void test_break_and_return(void **state)
{
    static const char *const units[] = {"a.service"};
    Test *t = *state;
    Transport *tr = start(t, WELL);
    HttpLook look = {.host = "127.0.0.1:1", .target = "/", .timeout_ms = 500, .handle = 7};

    WAIT(t, t->n_told);
    script(t, "echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255\n");
    assert_int_equal(tr->ops->poll_units(tr, SCOPE_USER, units, 1, on_units, t), 0);
    assert_int_equal(tr->ops->look_ports(tr, clock_now(), on_ports, t), 0);
    assert_int_equal(tr->ops->run(tr, COMMAND_UNAME, "", 5000, on_reply, t), 0);
    assert_int_equal(tr->ops->health(tr, &look, clock_now(), on_http, t), 0);
    tr->ops->abort(tr);
    assert_int_equal(t->replies, 3); /* the request was not asked yet */
    assert_int_equal(t->error, -ENOTCONN);
    WAIT(t, t->replies == 4);
    assert_int_equal(t->http.outcome, HTTP_ERROR);
}

typedef struct Ending {
    const char *script;
    Cause cause;
} Ending;

static void test_endings(void **state)
{
    static const Ending endings[] = {
        {"echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255\n",
         CAUSE_HOST_REFUSED},
        {"echo 'Host key verification failed.' >&2; exit 255\n", CAUSE_HOST_KEY_UNKNOWN},
        {"exit 255\n", CAUSE_SSH_FAILED},
        {"kill -9 $$\n", CAUSE_SSH_FAILED},
        {"echo 'Authenticated to x' >&2; echo nologin; exit 1\n", CAUSE_SHELL_BROKEN},
        {"echo 'Authenticated to x' >&2; exec yes\n", CAUSE_SHELL_BROKEN},
        {"echo 'Authenticated to x' >&2; exec 1>&-; exec sleep 100\n", CAUSE_SHELL_BROKEN},
    };
    Test *t = *state;

    for (size_t i = 0; i < ELEMENTS(endings); i++) {
        t->n_told = 0;
        start(t, endings[i].script);
        WAIT(t, t->n_told);
        assert_string_equal(cause_to_string(t->told[0]), cause_to_string(endings[i].cause));
        way_done(&t->way);
    }
}

static void test_comes_back(void **state)
{
    Test *t = *state;

    start(t, "echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255\n");
    WAIT(t, t->n_told == 1);
    script(t, WELL);
    WAIT(t, t->n_told == 2);
    assert_int_equal(t->told[1], CAUSE_NONE);
}

static void test_old_ssh_gets_a_forward_per_port(void **state)
{
    Test *t = *state;
    PortEntry entry = {.addr = {127, 0, 0, 1}, .port = 8401}, other = entry;
    HttpDial dial;
    static const TransportEvents events = {.state = on_state};

    other.port = 8402;
    script(t, "last=\nfor word; do case $last,$word in -D,/*) echo \"Bad dynamic forwarding "
              "specification '$word'\" >&2; exit 255;; esac; last=$word; done\n" WELL);
    assert_int_equal(way_open(&t->way, "pc", "host.example", false, &events, t), 0);
    Transport *tr = t->way.transport;
    tr->ops->want_port(tr, 8401);
    tr->ops->want_port(tr, 8401);
    tr->ops->start(tr, clock_now());
    WAIT(t, t->n_told);
    assert_int_equal(t->told[0], CAUSE_NONE);
    assert_int_equal(argv_lines(t), 3);
    assert_int_equal(tr->ops->dial(tr, &entry, &dial), 0);
    assert_false(dial.socks);
    assert_int_equal(dial.address.ss_family, AF_UNIX);
    assert_int_equal(tr->ops->dial(tr, &other, &dial), -EOPNOTSUPP);
}

static void test_names_are_checked(void **state)
{
    static const TransportEvents events = {.state = on_state};
    Test *t = *state;
    SshLimiter *limiter;
    Transport *tr = NULL;
    Nest *nest;

    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(ssh_limiter_new(&limiter), 0);
    assert_int_equal(transport_ssh_new(nest, "-oX", "pc", limiter, &events, t, &tr), -EINVAL);
    assert_int_equal(transport_ssh_new(nest, "u@h", "pc", limiter, &events, t, &tr), -EINVAL);
    assert_int_equal(transport_ssh_new(nest, "h", "../pc", limiter, &events, t, &tr), -EINVAL);
    ssh_limiter_free(limiter);
    nest_free(nest);
}

static void test_no_runtime_directory(void **state)
{
    Test *t = *state;
    SshReport report;

    unsetenv("XDG_RUNTIME_DIR");
    start(t, WELL);
    WAIT(t, t->n_told);
    assert_int_equal(t->told[0], CAUSE_SSH_FAILED);
    transport_ssh_report(t->way.transport, &report);
    assert_string_equal(report.last_line, "XDG_RUNTIME_DIR is not set");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_up_and_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_boot_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dial, setup, teardown),
        cmocka_unit_test_setup_teardown(test_polling_ops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_break_and_return, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_ssh_gets_a_forward_per_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_runtime_directory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
