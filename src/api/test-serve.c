/* The whole program without a PC around it: no user bus, no systemd, no other PC. A daemon and the
 * commands that talk to it, each in a process of its own, as the shell would start them; the lab
 * shows the same on real systemd. What is asked here is that all of it hangs together and says
 * "unknown" of what it cannot see, and that it ends clean (under the sanitizers, without leaks). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
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

static void read_output(World *w, const char *output)
{
    int fd = open(test_path(w->dir, output), O_RDONLY | O_CLOEXEC);
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

static void write_registry(const World *w)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "pcs:\n- {pc_id: here}\n"
                     "apps:\n"
                     "- {app_id: door, port: %u, health_endpoint: /api/health}\n"
                     "- {app_id: nobody, port: 1}\n"
                     "- {app_id: unit, unit: unit.service}\n"
                     "service_targets:\n"
                     "- {app_id: door, pc_id: here, expected: running}\n"
                     "- {app_id: nobody, pc_id: here, expected: stopped}\n"
                     "- {app_id: unit, pc_id: here, expected: running}\n",
                     w->port);

    test_write(test_path(w->dir, "registry.yaml"), text, (size_t)n);
}

static int setup(void **state)
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
    write_registry(w);
    EXPECT(w, 0, "", "import", test_path(w->dir, "registry.yaml"));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    World *w = *state;

    if (w->daemon) {
        kill(w->daemon, SIGKILL);
        ended(w->daemon);
    }
    test_dir_free(w->dir);
    free(w);
    return 0;
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

static void test_routes(void **state)
{
    World *w = *state;
    static const struct {
        const char *method, *path, *body;
        int status;
    } asked[] = {
        {"GET", "/api/services", "", 200},
        {"GET", "/api/services/door/here", "", 200},
        {"GET", "/api/services/door/here?transitions=5&hours=24&points=100&journal=0", "", 200},
        {"GET", "/api/services/door/here?points=x", "", 400},
        {"GET", "/api/services/door/there", "", 404},
        {"GET", "/api/services/unit/here", "", 200},
        {"POST", "/api/services/door/here/check", "{}", 200},
        {"POST", "/api/services/door/there/check", "{}", 404},
        {"POST", "/api/services/door/here/action", "{\"action\":\"restart\"}", 403},
        {"GET", "/api/pcs", "", 200},
        {"GET", "/api/transitions?limit=10", "", 200},
        {"GET", "/api/transitions?limit=-1", "", 400},
        {"GET", "/api/alerts", "", 200},
        {"GET", "/metrics", "", 200},
        {"GET", "/api/nothing", "", 404},
        {"PUT", "/api/services", "", 405},
    };

    serve(w);
    wait_for(w, "/api/services/door/here?journal=0", "\"actual\":\"running\"");
    wait_for(w, "/api/services/unit/here?journal=0", "\"cause\":\"no-bus\"");
    wait_for(w, "/api/services/nobody/here?journal=0", "\"actual\":\"inactive\"");
    for (size_t i = 0; i < ELEMENTS(asked); i++) {
        int status = request(w, asked[i].method, asked[i].path, asked[i].body);
        if (status != asked[i].status)
            fail_msg("%s %s: %d: %s", asked[i].method, asked[i].path, status, w->said);
    }
    stop(w);
}

static void test_commands_with_a_daemon(void **state)
{
    World *w = *state;

    serve(w);
    wait_for(w, "/api/services/door/here?journal=0", "\"actual\":\"running\"");
    EXPECT(w, 3, "no user bus", "status", "--url", w->url); /* unknown is the worst there is */
    EXPECT(w, 3, "\"door\"", "status", "--json", "--url", w->url);
    EXPECT(w, 0, "door", "check", "door", "here", "--url", w->url);
    EXPECT(w, 2, "stranger", "check", "stranger", "--url", w->url);
    EXPECT(w, 0, "", "alerts", "--url", w->url);
    EXPECT(w, 0, "", "silence", "--app", "door", "--for", "1h", "--comment", "moving", "--url",
           w->url);
    EXPECT(w, 0, "", "maintenance", "--pc", "here", "--for", "30m", "--url", w->url);
    EXPECT(w, 0, "moving", "silences", "--url", w->url);
    EXPECT(w, 1, "404", "unsilence", "17", "--url", w->url);
    EXPECT(w, 1, "404", "ack", "17", "mine", "--url", w->url);
    EXPECT(w, 1, "", "action", "unit", "here", "restart", "--url", w->url); /* it is off */
    EXPECT(w, 0, "", "audit", "--url", w->url);
    /* another daemon: a clear line, and the first one goes on */
    EXPECT(w, 1, "services_api", "serve", "--self", "here", "--listen", w->listen);
    /* the registry changes while it runs */
    EXPECT(w, 0, "", "add", "late", "--port", "2", "--pc", "here");
    wait_for(w, "/api/services", "\"late\"");
    /* a broken one does not, and is told; nor does a broken config */
    const char *registry = test_path(w->dir, "services_api/registry.db");
    test_write(registry, "garbage", 7);
    wait_for(w, "/api/health", "registry.db");
    wait_for(w, "/api/services", "\"late\"");
    assert_int_equal(unlink(registry), 0);
    EXPECT(w, 0, "", "import", test_path(w->dir, "registry.yaml"));
    test_write(test_path(w->dir, "services_api/config.yaml"), "nonsense: 1\n", 12);
    assert_int_equal(kill(w->daemon, SIGHUP), 0);
    wait_for(w, "/api/health", "nonsense");
    test_write(test_path(w->dir, "services_api/config.yaml"), "alert_after_s: 60\n", 18);
    stop(w);
    /* its history goes on */
    serve(w);
    wait_for(w, "/api/services/door/here?journal=0", "\"actual\":\"running\"");
    stop(w);
}

static void test_commands_without_a_daemon(void **state)
{
    World *w = *state;
    char port[16];

    snprintf(port, sizeof port, "%u", w->port);
    EXPECT(w, 1, port, "status", "--self", "here"); /* nobody listens on door's port */
    EXPECT(w, 0, "app_id: door", "export");
    EXPECT(w, 0, "", "check-registry");
    EXPECT(w, 2, "config.yaml", "check-config", "/nonexistent/config.yaml");
    EXPECT(w, 1, "no token", "token");
    EXPECT(w, 0, "", "token", "--rotate");
    EXPECT(w, 0, "token", "token");
    EXPECT(w, 1, "bus", "discover");
    EXPECT(w, 2, "notify", "notify-test");
    EXPECT(w, 1, "here", "doctor", "--self", "here");
    EXPECT(w, 2, "nonsense", "watch", "--nonsense");
    EXPECT(w, 2, "nonsense", "nonsense");
    EXPECT(w, 0, "Usage", "--help");
    EXPECT(w, 0, ".", "--version");
    EXPECT(w, 2, "nobody-knows", "serve", "--self", "nobody-knows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_with_a_daemon, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_without_a_daemon, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
