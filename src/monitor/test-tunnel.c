/* The ssh process, with a program of ours in its place: what it is called with, what it says, that
 * it ends with us; and what becomes of the token it fetches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
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
    assert_int_equal(sscanf(argv, "-N\n-L\n%127[^:]:127.0.0.1:8485\n", path), 1);
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

/* The ssh of the tunnel sleeps; that of the token, which has the command as its last argument, does
 * as body says. */
static Tunnel *tunnel_with_token_ssh(const char *body)
{
    char script[2048], path[128];
    Tunnel *t;

    snprintf(script, sizeof script,
             "[ \"$1\" = -N ] && exec sleep 600\nfor c in \"$@\"; do :; done\necho $$ > %s/pid\n%s",
             folder, body);
    write_ssh(script);
    snprintf(path, sizeof path, "%s/argv", folder);
    remove(path);
    assert_int_equal(tunnel_new("home-wsl", &t), 0);
    read_file("argv", path, sizeof path); /* both write it: the tunnel's is done */
    return t;
}

static void check_token(const char *body, int expected_r, const char *expected)
{
    char token[CLIENT_TOKEN_BYTES] = "", error[512] = "";
    Tunnel *t = tunnel_with_token_ssh(body);

    assert_int_equal(tunnel_token(t, token, error, sizeof error), expected_r);
    if (expected_r == 0) {
        assert_string_equal(token, expected);
        assert_string_equal(error, "");
    } else {
        assert_string_equal(token, "");
        assert_non_null(strstr(error, "An action needs the token of home-wsl"));
        assert_non_null(strstr(error, expected));
        tunnel_error(t, error, sizeof error); /* the tunnel itself is none the worse */
        assert_string_equal(error, "");
    }
    tunnel_free(t);
}

static char *token_path(char ret[static 128])
{
    snprintf(ret, 128, "%s/services_api/token", folder);
    return ret;
}

static void write_token(const char *text)
{
    char path[128];
    FILE *f = fopen(token_path(path), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

/* The command as it is, by a shell of this PC, with a folder of ours as its home. */
static void test_token_command(void **state)
{
    char run[256], at_home[1024], argv[4096], path[128], digits[CLIENT_TOKEN_BYTES + 64];

    (void)state;
    snprintf(run, sizeof run, "XDG_CONFIG_HOME=%s exec sh -c \"$c\"", folder);
    snprintf(at_home, sizeof at_home, /* only an absolute path counts */
             "mkdir %s/.config; mv %s/services_api %s/.config/; HOME=%s XDG_CONFIG_HOME=no sh -c "
             "\"$c\"; r=$?; mv %s/.config/services_api %s/; rmdir %s/.config; exit $r",
             folder, folder, folder, folder, folder, folder, folder);
    snprintf(path, sizeof path, "%s/services_api", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_token("0123abcd\n");
    check_token(run, 0, "0123abcd");
    read_file("argv", argv, sizeof argv);
    assert_non_null(strstr(argv, "\n--\nhome-wsl\nexec sh -c '"));
    assert_non_null(strstr(argv, "\nBatchMode=yes\n"));
    assert_non_null(strstr(argv, "\nStrictHostKeyChecking=yes\n"));
    assert_non_null(strstr(argv, "ClearAllForwardings=yes\n"));
    assert_null(strstr(argv, "-L\n"));
    check_token(at_home, 0, "0123abcd");
    memset(digits, 'a', sizeof digits);
    digits[CLIENT_TOKEN_MAX] = '\0';
    write_token(digits); /* the longest, without an end */
    check_token(run, 0, digits);
    digits[CLIENT_TOKEN_MAX] = 'a';
    digits[CLIENT_TOKEN_BYTES + 8] = '\0';
    write_token(digits);
    check_token(run, -EBADMSG, "what came is not a token");
    assert_int_equal(remove(token_path(path)), 0);
    check_token(run, -EREMOTEIO, "no readable token file");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_token(run, -EREMOTEIO, "no readable token file"); /* and nobody waits for ever */
    remove(path);
    *strrchr(path, '/') = '\0';
    assert_int_equal(remove(path), 0);
}

static void test_token_is_checked(void **state)
{
    (void)state;
    check_token("printf 'abc'", 0, "abc");
    check_token("printf ''", -EBADMSG, "what came is not a token");
    check_token("printf '\\n'", -EBADMSG, "what came is not a token");
    check_token("printf 'Welcome\\nabc\\n'", -EBADMSG, "what came is not a token");
    check_token("printf 'a c'", -EBADMSG, "what came is not a token");
    check_token("printf 'abc\\000'", -EBADMSG, "what came is not a token");
    check_token("printf 'abc\\r\\n'", -EBADMSG, "what came is not a token");
    check_token("printf 'abc\\303\\251'", -EBADMSG, "what came is not a token");
    check_token("exec yes", -EBADMSG, "what came is not a token");
    check_token("printf 'abc'; exit 1", -EREMOTEIO, "may run no commands");
    check_token("echo 'cat: Permission denied' >&2; exit 1", -EREMOTEIO, "may run no commands");
    check_token("echo 'fn@x: Permission denied (publickey).' >&2; exit 255", -EREMOTEIO,
                "home-wsl accepts none of your ssh keys");
    check_token("exit 255", -EREMOTEIO, "ssh failed");
}

static void *stop_when_it_runs(void *userdata)
{
    struct stat st;
    char path[128];

    snprintf(path, sizeof path, "%s/waits", folder);
    for (int i = 0; i < 500 && stat(path, &st) < 0; i++)
        poll(NULL, 0, 20);
    tunnel_stop(userdata);
    remove(path);
    return NULL;
}

static void test_token_stops(void **state)
{
    char token[CLIENT_TOKEN_BYTES] = "", error[512] = "", body[256], pid[32];
    pthread_t thread;

    (void)state;
    snprintf(body, sizeof body, "touch %s/waits; exec sleep 600", folder);
    Tunnel *t = tunnel_with_token_ssh(body);
    assert_int_equal(pthread_create(&thread, NULL, stop_when_it_runs, t), 0);
    assert_int_equal(tunnel_token(t, token, error, sizeof error), -ECANCELED);
    pthread_join(thread, NULL);
    assert_string_equal(token, "");
    pid_t child = (pid_t)atoi(read_file("pid", pid, sizeof pid));
    assert_true(child > 1);
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(errno, ESRCH);
    tunnel_free(t);
    tunnel_stop(NULL);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_argv),          cmocka_unit_test(test_error_is_told),
        cmocka_unit_test(test_token_command), cmocka_unit_test(test_token_is_checked),
        cmocka_unit_test(test_token_stops),   cmocka_unit_test(test_bad_hosts)};

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
