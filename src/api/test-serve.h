/* The whole program, as tests run it: a daemon and the commands that talk to it, each in a process
 * of its own, as the shell would start them; all files in a directory that goes with the test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "api/cli.h"
#include "api/test-dir.h"
#include "basic/macro.h"

#define ARGS_MAX 16

typedef struct World {
    char *dir;
    char listen[32], url[64];
    uint16_t port;
    pid_t daemon;
    char said[65536]; /* by the last command, on stdout and stderr */
} World;

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* In a child whose output goes to a file; words end with NULL. */
static pid_t start(const World *w, const char *output, const char *const words[])
{
    char *argv[ARGS_MAX + 2] = {(char *)"services_api"};
    int argc = 1;

    while (words[argc - 1] && argc <= ARGS_MAX) {
        argv[argc] = (char *)words[argc - 1];
        argc++;
    }
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    int fd = open(test_path(w->dir, output), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(99);
    close(fd);
    int code = cli_main(argc, argv);
    exit(code);
}

static int ended(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The last of it, where it is long. */
static void read_output(World *w, const char *output)
{
    int fd = open(test_path(w->dir, output), O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

    lseek(fd, MAX(size - (off_t)sizeof w->said + 1, 0), SEEK_SET);
    ssize_t n = fd < 0 ? -1 : read(fd, w->said, sizeof w->said - 1);

    assert_true(n >= 0);
    w->said[n] = '\0';
    close(fd);
}

/* The exit code; what it said is in w->said. */
static int run(World *w, const char *const words[])
{
    int code = ended(start(w, "said", words));

    read_output(w, "said");
    return code;
}

/* Ends with that code, and says that. */
static void expect(World *w, int code, const char *text, const char *const words[])
{
    int got = run(w, words);

    if (got != code || !strstr(w->said, text))
        fail_msg("%s: exit code %d, not %d with '%s': %s", words[0], got, code, text, w->said);
}

#define EXPECT(w, code, text, ...) expect(w, code, text, (const char *const[]){__VA_ARGS__, NULL})

/* GET (or POST, with a body) on a fresh connection: the status; 0: nobody there. */
static int request(World *w, const char *method, const char *path, const char *body)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(w->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
    size_t used = 0;
    ssize_t n;

    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        dprintf(fd,
                "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: "
                "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                method, path, w->listen, strlen(body), body);
        while (used < sizeof w->said - 1 &&
               (n = read(fd, w->said + used, sizeof w->said - 1 - used)) > 0)
            used += (size_t)n;
        w->said[used] = '\0';
        if (sscanf(w->said, "HTTP/1.1 %d ", &status) != 1)
            status = -1;
    }
    close(fd);
    return status;
}

static World *world_new(void)
{
    static const char *const homes[] = {"XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
                                        "XDG_RUNTIME_DIR", "HOME"};
    World *w = calloc(1, sizeof *w);

    w->dir = test_dir_new();
    for (size_t i = 0; i < ELEMENTS(homes); i++)
        setenv(homes[i], w->dir, 1);
    unsetenv("DBUS_SESSION_BUS_ADDRESS");
    unsetenv("NOTIFY_SOCKET");
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    setenv("LANGUAGE", "C", 1);
    w->port = free_port();
    snprintf(w->listen, sizeof w->listen, "127.0.0.1:%u", w->port);
    snprintf(w->url, sizeof w->url, "http://127.0.0.1:%u", w->port);
    return w;
}

static void world_free(World *w)
{
    if (w->daemon) {
        kill(w->daemon, SIGKILL);
        ended(w->daemon);
    }
    test_dir_free(w->dir);
    free(w);
}

/* Until GET path has the text in its answer, for ten seconds at most. */
static void wait_for(World *w, const char *path, const char *text)
{
    for (int i = 0; i < 500; i++) {
        if (request(w, "GET", path, "") == 200 && strstr(w->said, text))
            return;
        poll(NULL, 0, 20);
    }
    fail_msg("%s: no %s in: %s", path, text, w->said);
}

static void serve(World *w)
{
    const char *const words[] = {"serve",   "--self",        "here", "--listen",
                                 w->listen, "--interval-ms", "1000", NULL};

    w->daemon = start(w, "daemon", words);
    wait_for(w, "/api/health", "\"version\"");
}

static void stop(World *w)
{
    assert_int_equal(kill(w->daemon, SIGTERM), 0);
    int code = ended(w->daemon);
    w->daemon = 0;
    read_output(w, "daemon");
    if (code != 0)
        fail_msg("exit code %d: %s", code, w->said);
}
