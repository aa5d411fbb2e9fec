/* The exact command line, and who may stand in it. */
#include "api/ssh-argv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "api/test-dir.h"
#include "basic/macro.h"

#define HEAD                                                                                    \
    "ssh", "-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o",    \
        "ConnectTimeout=5", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2", "-o", \
        "ExitOnForwardFailure=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o",   \
        "ControlPersist=no", "-o", "RemoteCommand=none", "-o", "RequestTTY=no", "-o",           \
        "PermitLocalCommand=no", "-o", "StreamLocalBindUnlink=yes", "-o",                       \
        "StreamLocalBindMask=0177", "-o", "ForwardAgent=no", "-o", "LogLevel=VERBOSE"

static void check(const SshArgv *got, const char *const *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_non_null(got->argv[i]);
        assert_string_equal(got->argv[i], expected[i]);
    }
    assert_null(got->argv[n]);
}

static void test_plain(void **state)
{
    static const char *const expected[] = {HEAD, "--", "home-wsl", "exec sh"};
    SshArgv got;

    (void)state;
    assert_int_equal(ssh_argv_plain("home-wsl", &got), 0);
    check(&got, expected, ELEMENTS(expected));
}

static void test_session(void **state)
{
    static const char *const expected[] = {
        HEAD,
        "-D",
        "/run/user/1000/services_api/42-4f91ab1c.s",
        "-L",
        "/run/user/1000/services_api/42-4f91ab1c.u:/run/user/4242/bus",
        "-L",
        "/run/user/1000/services_api/42-4f91ab1c.y:/run/dbus/system_bus_socket",
        "--",
        "organic-machine.com",
        "exec sh"};
    SshSockets sockets;
    SshArgv got;

    (void)state;
    assert_int_equal(ssh_sockets_name("/run/user/1000/services_api", "pc", 42, &sockets), 0);
    assert_int_equal(ssh_argv_session("organic-machine.com", 4242, &sockets, NULL, 0, &got), 0);
    char *hash = strchr(sockets.socks, '-');
    assert_non_null(hash);
    for (size_t i = 0; i < ELEMENTS(expected); i++) { /* the hash is the implementation's own */
        const char *at = strstr(expected[i], "-4f91ab1c");
        char word[200];
        if (at)
            snprintf(word, sizeof word, "%.*s%.9s%s", (int)(at - expected[i]), expected[i], hash,
                     at + 9);
        assert_string_equal(got.argv[i], at ? word : expected[i]);
    }
    assert_null(got.argv[ELEMENTS(expected)]);
}

static void test_forward_per_port(void **state)
{
    static const uint16_t ports[] = {8401, 65535};
    uint16_t many[SSH_PORTS_MAX + 1] = {0};
    SshSockets sockets;
    SshArgv got;
    char expected[200];
    size_t n = 0;

    (void)state;
    assert_int_equal(ssh_sockets_name("/run/x", "pc", 42, &sockets), 0);
    assert_int_equal(ssh_argv_session("a", 1, &sockets, ports, 2, &got), 0);
    for (; got.argv[n]; n++)
        assert_string_not_equal(got.argv[n], "-D");
    snprintf(expected, sizeof expected, "%s65535:127.0.0.1:65535", sockets.port);
    assert_string_equal(got.argv[n - 4], expected);
    assert_string_equal(got.argv[n - 3], "--");
    for (size_t i = 0; i < ELEMENTS(many); i++)
        many[i] = (uint16_t)(10000 + i);
    assert_int_equal(ssh_argv_session("a", 1, &sockets, many, SSH_PORTS_MAX, &got), 0);
    assert_int_equal(ssh_argv_session("a", 1, &sockets, many, SSH_PORTS_MAX + 1, &got), -EINVAL);
}

static void test_hostile_hosts(void **state)
{
    static const char *const hosts[] = {
        "",         "-oProxyCommand=touch /tmp/canary",
        "a b",      "a;b",
        "$(id)",    "user@host",
        "../a",     "a\nb",
        "%h",       "host:22",
        "\xc3\xa4", "--",
        "[::1]",    "a/b",
        "a'b",      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    SshSockets sockets = {.socks = "/x"};
    SshArgv got;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(hosts); i++) {
        assert_int_equal(ssh_argv_plain(hosts[i], &got), -EINVAL);
        assert_int_equal(ssh_argv_session(hosts[i], 1, &sockets, NULL, 0, &got), -EINVAL);
    }
}

/* R38: five thousand names made of what shells, ssh and URLs find special, and of what is allowed.
 * A name is refused, or it stands in the command line as one word of its own, behind "--". */
static void test_random_hosts(void **state)
{
    static const char letters[] =
        "aZ09._-_.-az\"'`$(){}[]<>|&;*?~!#%^=+,:/\\@ \t\n\r\x01\x7f\xc3\xa4\xff";
    static const char *const expected[] = {HEAD, "--"};
    const size_t at = ELEMENTS(expected);
    size_t accepted = 0;
    unsigned seed = 8485;
    SshArgv got;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        char host[80] = "";
        int len = (int)(rand_r(&seed) % 70), kinds = i % 2 ? 12 : (int)sizeof letters - 1;
        for (int k = 0; k < len; k++)
            host[k] = letters[rand_r(&seed) % (unsigned)kinds];
        size_t good =
            strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
        bool valid = len > 0 && len <= 64 && good == (size_t)len && !strchr("._-", host[0]);

        assert_int_equal(ssh_argv_plain(host, &got), valid ? 0 : -EINVAL);
        if (!valid)
            continue;
        for (size_t k = 0; k < at; k++)
            assert_string_equal(got.argv[k], expected[k]);
        assert_string_equal(got.argv[at], host);
        assert_string_equal(got.argv[at + 1], "exec sh");
        assert_null(got.argv[at + 2]);
        accepted++;
    }
    assert_in_range(accepted, 500, 2500);
}

static void test_names_differ(void **state)
{
    SshSockets a, b, c;
    char dir[200];

    (void)state;
    assert_int_equal(ssh_sockets_name("/d", "pc1", 42, &a), 0);
    assert_int_equal(ssh_sockets_name("/d", "pc2", 42, &b), 0);
    assert_int_equal(ssh_sockets_name("/d", "pc1", 43, &c), 0);
    assert_string_not_equal(a.socks, b.socks);
    assert_string_not_equal(a.socks, c.socks);
    assert_string_not_equal(a.socks, a.user_bus);
    memset(dir, 'd', sizeof dir);
    dir[60] = '\0';
    assert_int_equal(ssh_sockets_name(dir, "pc", 4194304, &a), 0);
    dir[60] = 'd';
    dir[100] = '\0';
    assert_int_equal(ssh_sockets_name(dir, "pc", 4194304, &a), -ENAMETOOLONG);
}

static void touch(const char *dir, const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static bool exists(const char *dir, const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void test_directory(void **state)
{
    char *top = test_dir_new(), dir[200], path[300], own[40], link_name[300];
    struct stat st;

    (void)state;
    setenv("XDG_RUNTIME_DIR", top, 1);
    assert_int_equal(ssh_socket_dir(dir, sizeof dir), 0);
    snprintf(path, sizeof path, "%s/services_api", top);
    assert_string_equal(dir, path);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    /* leftovers of a dead process go, what belongs to others stays */
    snprintf(own, sizeof own, "%d-00000000.s", getpid());
    touch(dir, "2147483647-aaaaaaaa.s");
    touch(dir, own);
    touch(dir, "note.txt");
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(ssh_socket_dir(dir, sizeof dir), 0);
    assert_false(exists(dir, "2147483647-aaaaaaaa.s"));
    assert_true(exists(dir, own));
    assert_true(exists(dir, "note.txt"));
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    assert_int_equal(ssh_socket_dir(dir, 5), -ENAMETOOLONG);
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(ssh_socket_dir(dir, sizeof dir), -ENOENT);
    setenv("XDG_RUNTIME_DIR", "/tmp/with space:%h", 1);
    assert_int_equal(ssh_socket_dir(dir, sizeof dir), -EINVAL);

    /* a symbolic link in its place is not followed */
    snprintf(link_name, sizeof link_name, "%s/services_api2", top);
    assert_int_equal(rename(path, link_name), 0);
    assert_int_equal(symlink(link_name, path), 0);
    setenv("XDG_RUNTIME_DIR", top, 1);
    assert_true(ssh_socket_dir(dir, sizeof dir) < 0);
    test_dir_free(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_forward_per_port),
        cmocka_unit_test(test_hostile_hosts),
        cmocka_unit_test(test_random_hosts),
        cmocka_unit_test(test_names_differ),
        cmocka_unit_test(test_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
