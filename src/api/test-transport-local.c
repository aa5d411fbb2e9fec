/* The own PC: its buses by environment, its ports, its uname, a journal question. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "api/journal.h"
#include "api/transport.h"
#include "basic/macro.h"

static sd_event *event;
static Transport *transport;
static unsigned n_states, n_replies, n_tables;
static int reply_error;
static char reply[4096];

static void on_state(void *userdata, Cause cause)
{
    assert_ptr_equal(userdata, &n_states);
    assert_int_equal(cause, CAUSE_NONE);
    n_states++;
}

static void on_reply(void *userdata UNUSED, int error, const char *output, size_t len)
{
    n_replies++;
    reply_error = error;
    snprintf(reply, sizeof reply, "%.*s", (int)len, output);
}

static int set_up(void **state UNUSED)
{
    static const TransportEvents events = {.state = on_state};

    n_states = n_replies = n_tables = 0;
    return sd_event_new(&event) < 0 ||
           transport_local_new(event, &events, &n_states, &transport) < 0;
}

static int tear_down(void **state UNUSED)
{
    transport = transport->ops->free(transport);
    event = sd_event_unref(event);
    return 0;
}

static void test_start(void **state UNUSED)
{
    assert_int_equal(n_states, 0);
    transport->ops->start(transport, clock_now());
    assert_int_equal(n_states, 1);
    assert_true(transport->ops->has_events);
    assert_int_equal(transport->ops->next_us(transport), UINT64_MAX);
    transport->ops->tick(transport, clock_now());
    assert_null(transport->ops->free(NULL));
}

static int user_address(char ret[256])
{
    strcpy(ret, "untouched");
    return transport->ops->bus_address(transport, SCOPE_USER, ret, 256);
}

static void test_user_bus(void **state UNUSED)
{
    char dir[] = "/tmp/test-transport-XXXXXX", path[64], variable[128], expected[128], got[256];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/bus", dir);
    snprintf(expected, sizeof expected, "unix:path=%s", path);
    unsetenv("DBUS_SESSION_BUS_ADDRESS");
    setenv("XDG_RUNTIME_DIR", dir, 1);
    assert_int_equal(user_address(got), -ENOENT); /* no such file yet */
    assert_string_equal(got, "untouched");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(user_address(got), 0);
    assert_string_equal(got, expected);
    setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
    snprintf(variable, sizeof variable, "unix:path=%s,guid=0123;unix:abstract=x", path);
    setenv("DBUS_SESSION_BUS_ADDRESS", variable, 1);
    assert_int_equal(user_address(got), 0);
    assert_string_equal(got, expected);
    setenv("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=/tmp/x", 1); /* not a path: the default */
    assert_int_equal(user_address(got), -ENOENT);
    setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/tmp", 1);
    assert_int_equal(transport->ops->bus_address(transport, SCOPE_USER, got, 5), -ENAMETOOLONG);
    setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/tmp/%2e", 1);
    assert_int_equal(user_address(got), -ENOENT);
    memset(variable, 'x', sizeof variable - 1);
    memcpy(variable, "unix:path=/", 11);
    variable[sizeof variable - 1] = '\0';
    setenv("DBUS_SESSION_BUS_ADDRESS", variable, 1); /* no socket path is that long */
    assert_int_equal(user_address(got), -ENOENT);
    rmdir(path);
    rmdir(dir);
}

static void on_ports(void *userdata, int error, const PortTable *table)
{
    assert_int_equal(error, 0);
    n_tables++;
    assert_true(port_listening_check(table, *(const uint16_t *)userdata, NULL));
}

static void test_ports(void **state UNUSED)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    uint16_t port = ntohs(a.sin_port);
    assert_int_equal(transport->ops->look_ports(transport, clock_now(), on_ports, &port), 0);
    assert_int_equal(n_tables, 1);
    close(fd);
}

static void test_cgroup_service_cannot_tell(void **state UNUSED)
{
    char name[64] = "untouched";

    for (uint64_t id = 0; id < 3; id++)
        assert_false(transport->ops->cgroup_service(transport, id, name, sizeof name));
    assert_false(transport->ops->cgroup_service(transport, cgroup_id_of("/"), name, sizeof name));
    assert_false(transport->ops->cgroup_service(transport, UINT64_MAX, name, sizeof name));
    assert_string_equal(name, "untouched");
}

static void test_dial(void **state UNUSED)
{
    static const struct {
        PortEntry entry;
        const char *address;
    } rows[] = {
        {{.port = 1}, "127.0.0.1"},
        {{.port = 2, .addr = {10, 0, 0, 1}}, "10.0.0.1"},
        {{.port = 3, .is_ipv6 = true}, "::1"},
        {{.port = 4, .is_ipv6 = true, .addr = {0xfd, [15] = 9}}, "fd00::9"},
    };

    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        HttpDial d;
        char text[64];
        assert_int_equal(transport->ops->dial(transport, &rows[i].entry, &d), 0);
        const struct sockaddr_in *in = (const struct sockaddr_in *)&d.address;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&d.address;
        bool is_ipv6 = rows[i].entry.is_ipv6;
        inet_ntop(d.address.ss_family, is_ipv6 ? (const void *)&in6->sin6_addr : &in->sin_addr,
                  text, sizeof text);
        assert_string_equal(text, rows[i].address);
        assert_int_equal(ntohs(in->sin_port), rows[i].entry.port);
        assert_int_equal(d.address_len, is_ipv6 ? sizeof *in6 : sizeof *in);
        assert_false(d.socks);
    }
}

static void test_uname(void **state UNUSED)
{
    struct utsname u;
    char expected[256];

    assert_int_equal(transport->ops->run(transport, COMMAND_UNAME, "", 1000, on_reply, NULL), 0);
    assert_int_equal(n_replies, 1);
    assert_int_equal(reply_error, 0);
    uname(&u);
    int n =
        snprintf(expected, sizeof expected, "%s %s %s\nlinger=", u.sysname, u.release, u.machine);
    assert_int_equal(strncmp(reply, expected, (size_t)n), 0);
    assert_true(strcmp(reply + n, "yes\n") == 0 || strcmp(reply + n, "no\n") == 0);
    assert_true(name_is_boot_id(transport->boot_id));
}

/* journalctl is played by a script that is found first in PATH. */
static void with_journalctl(const char *script, char dir[32])
{
    char path[64], variable[256];

    strcpy(dir, "/tmp/test-transport-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/journalctl", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fchmod(fileno(f), 0755);
    fclose(f);
    snprintf(variable, sizeof variable, "%s:/usr/bin:/bin", dir);
    setenv("PATH", variable, 1);
}

static void without_journalctl(const char *dir)
{
    char path[64];

    snprintf(path, sizeof path, "%s/journalctl", dir);
    unlink(path);
    rmdir(dir);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
}

static int ask_journal(const char *input, uint32_t timeout_ms)
{
    return transport->ops->run(transport, COMMAND_JOURNAL, input, timeout_ms, on_reply, NULL);
}

static void wait_for_replies(unsigned n)
{
    while (n_replies < n)
        assert_true(sd_event_run(event, UINT64_MAX) >= 0);
}

static void test_journal(void **state UNUSED)
{
    char dir[32];

    with_journalctl("printf '%s\\n' \"$@\"", dir);
    assert_int_equal(ask_journal("user\na.service\n-\n5\n", 20000), 0);
    assert_int_equal(n_replies, 0);
    wait_for_replies(1);
    assert_int_equal(reply_error, 0);
    assert_string_equal(reply, "--quiet\n--no-pager\n--output=json\n"
                               "--output-fields=MESSAGE,PRIORITY\n-n\n5\n--user-unit\na.service\n");
    without_journalctl(dir);
}

static void test_journal_failures(void **state UNUSED)
{
    char dir[32];

    assert_int_equal(ask_journal("user\n$(id)\n-\n5\n", 20000), -EINVAL);
    assert_int_equal(transport->ops->run(transport, COMMAND_MAX, "", 1, on_reply, NULL), -EINVAL);
    with_journalctl("exit 1", dir);
    assert_int_equal(ask_journal("user\na.service\n-\n5\n", 20000), 0);
    wait_for_replies(1);
    assert_int_equal(reply_error, -EIO);
    without_journalctl(dir);
    with_journalctl("exec sleep 600", dir);
    assert_int_equal(ask_journal("user\na.service\n-\n5\n", 100), 0);
    wait_for_replies(2);
    assert_int_equal(reply_error, -ETIMEDOUT);
    without_journalctl(dir);
    with_journalctl("exec yes", dir);
    assert_int_equal(ask_journal("user\na.service\n-\n5\n", 60000), 0);
    wait_for_replies(3);
    assert_int_equal(reply_error, -EFBIG);
    without_journalctl(dir);
}

static void test_journal_runs_are_bounded_and_end_with_it(void **state UNUSED)
{
    char dir[32];
    unsigned out = 0;

    with_journalctl("exec sleep 600", dir);
    while (ask_journal("user\na.service\n-\n5\n", 60000) == 0)
        out++;
    assert_int_equal(out, 16);
    assert_int_equal(ask_journal("user\na.service\n-\n5\n", 60000), -EBUSY);
    without_journalctl(dir);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_start),
        CASE(test_user_bus),
        CASE(test_ports),
        CASE(test_cgroup_service_cannot_tell),
        CASE(test_dial),
        CASE(test_uname),
        CASE(test_journal),
        CASE(test_journal_failures),
        CASE(test_journal_runs_are_bounded_and_end_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
