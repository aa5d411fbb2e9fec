/* The ssh process, with a program of ours in its place: what it is called with, what it says, that
 * it ends with us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/tunnel.h"

static char folder[64];

static void write_ssh(const char *body)
{
    char path[128];

    snprintf(path, sizeof path, "%s/ssh", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "#!/bin/sh\necho $$ > %s/pid\nfor a in \"$@\"; do echo \"$a\"; done > %s/argv.new\nmv "
            "%s/argv.new %s/argv\n%s\n",
            folder, folder, folder, folder, body);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static int make_folder(void **state)
{
    char path[256];

    (void)state;
    strcpy(folder, "/tmp/tunnel-test.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", folder);
    return setenv("PATH", path, 1) | setenv("XDG_RUNTIME_DIR", folder, 1);
}

static int drop_folder(void **state)
{
    static const char *const names[] = {"ssh", "pid", "argv"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return remove(folder);
}

static char *read_file(const char *name, char *ret, size_t size)
{
    char path[128];
    size_t len = 0;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (int i = 0; i < 500 && len == 0; i++) {
        FILE *f = fopen(path, "r");
        if (f) {
            len = fread(ret, 1, size - 1, f);
            fclose(f);
        }
        if (len == 0)
            poll(NULL, 0, 20);
    }
    ret[len] = '\0';
    return ret;
}

static void test_argv(void **state)
{
    char argv[2048], pid[32], path[128];
    struct stat st;
    Tunnel *t;

    (void)state;
    write_ssh("exec sleep 600");
    assert_int_equal(tunnel_new("home-wsl", &t), 0);
    read_file("argv", argv, sizeof argv);
    assert_non_null(strstr(argv, "\n--\nhome-wsl\n"));
    assert_ptr_equal(strstr(argv, "\n--\nhome-wsl\n") + strlen("\n--\nhome-wsl\n"),
                     argv + strlen(argv));
    assert_non_null(strstr(argv, "\nBatchMode=yes\n"));
    assert_non_null(strstr(argv, "\nStrictHostKeyChecking=yes\n"));
    assert_non_null(strstr(argv, "\nExitOnForwardFailure=yes\n"));
    assert_int_equal(sscanf(argv, "-N\n-T\n-L\n%127[^:]:127.0.0.1:8485\n", path), 1);
    assert_int_equal(strncmp(tunnel_url(t), "unix:", 5), 0);
    assert_string_equal(tunnel_url(t) + 5, path);
    assert_false(tunnel_is_open(t));
    *strrchr(path, '/') = '\0';
    assert_int_equal(strncmp(path, folder, strlen(folder)), 0); /* in $XDG_RUNTIME_DIR */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    pid_t child = (pid_t)atoi(read_file("pid", pid, sizeof pid));
    assert_true(child > 1 && kill(child, 0) == 0);
    assert_null(tunnel_free(t));
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(stat(path, &st), -1); /* nothing is left behind */
}

static void check_error(const char *script, const char *expected, bool lives)
{
    char error[256] = "", pid[32];
    Tunnel *t;

    write_ssh(script);
    assert_int_equal(tunnel_new("home-wsl", &t), 0);
    for (int i = 0; i < 500 && !error[0]; i++) {
        poll(NULL, 0, 20);
        tunnel_error(t, error, sizeof error);
    }
    assert_string_equal(error, expected);
    if (lives) {
        assert_int_equal(kill((pid_t)atoi(read_file("pid", pid, sizeof pid)), 0), 0);
        tunnel_works(t);
        tunnel_error(t, error, sizeof error);
        assert_string_equal(error, "");
    }
    tunnel_free(t);
}

static void test_error_is_told(void **state)
{
    (void)state;
    check_error("printf 'debug\nssh: \033[1mno way.\n' >&2; exit 255", "ssh: ?[1mno way.", false);
    check_error(
        "printf 'No ED25519 host key is known for x.\nHost key verification failed.\r\n' "
        ">&2; exit 255",
        "ssh does not know the host key of home-wsl yet: connect once by hand and check it.",
        false);
    check_error("printf 'fn@x: Permission denied (publickey).\r\n' >&2; exit 255",
                "home-wsl accepts none of your ssh keys: try it by hand with ssh.", false);
    check_error("printf 'channel 1: open failed: connect failed: Connection refused\n' >&2; exec "
                "sleep 600",
                "ssh reaches home-wsl, but services_api does not answer there. Is it running?",
                true);
    check_error("exit 1", "ssh ended", false);
}

static void test_bad_hosts(void **state)
{
    static const char *const hosts[] = {"",   "-oProxyCommand=id", "user@host", "a b", "$(id)",
                                        "a/b"};
    Tunnel *t = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_int_equal(tunnel_new(hosts[i], &t), -EINVAL);
    assert_null(t);
    assert_null(tunnel_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_argv),
                                       cmocka_unit_test(test_error_is_told),
                                       cmocka_unit_test(test_bad_hosts)};

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
