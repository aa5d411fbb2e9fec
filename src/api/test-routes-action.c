/* POST .../action over real sockets, down to a systemd that counts its calls: what gets through,
 * what is answered, and that with the flag off nothing whatever reaches any bus (R35). */
#include "api/test-action.h"

#include <arpa/inet.h>
#include <errno.h>

#include "api/http-server.h"
#include "api/probe.h"
#include "api/routes-action.h"

#define TOKEN   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FUZZED  100000U
#define AT_ONCE 50U

static struct {
    Nest *nest;
    HttpServer *server;
    Probe *probe;
    AutoFix *fix;
    Routes routes;
    uint16_t port;
    char reply[16384];
    int status;
} h;

static int no_transport(void *userdata UNUSED, const FleetPc *pc UNUSED,
                        const TransportEvents *events UNUSED, void *events_userdata UNUSED,
                        Transport **ret)
{
    *ret = NULL;
    return 0;
}

static bool no_busy(void *userdata UNUSED, const Service *s UNUSED)
{
    return false;
}

static bool no_start(void *userdata UNUSED, Service *s UNUSED, Now now UNUSED)
{
    return false;
}

static void no_word(void *userdata UNUSED, Service *s UNUSED, const char *sentence UNUSED,
                    Now now UNUSED)
{
}

static int listen_here(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    h.port = ntohs(a.sin_port);
    return fd;
}

static void set_flag(bool on)
{
    GateRules rules = {0};

    http_server_configure(h.server, &rules, on);
    h.routes.actions_enabled = on;
}

static int setup(void **state)
{
    static const AutoFixOps ops = {.busy = no_busy, .start = no_start, .gave_up = no_word};
    HttpServerOptions options = {
        .routes = routes_table,
        .n_routes = routes_table_len,
        .token = TOKEN,
        .userdata = &h.routes,
        .refused = routes_action_refused,
    };

    memset(&h, 0, sizeof h);
    if (w_setup(state) < 0)
        return -1;
    assert_int_equal(nest_new(&h.nest), 0);
    assert_int_equal(probe_new(w.event, h.nest, w.fleet, no_transport, NULL, &h.probe), 0);
    assert_int_equal(auto_fix_new(w.fleet, &ops, NULL, &h.fix), 0);
    auto_fix_configure(h.fix, &(AutoFixLimits){.on = true, .budget = 3, .window_s = 600});
    h.routes = (Routes){.fleet = w.fleet,
                        .probe = h.probe,
                        .store = w.store,
                        .actions = w.actions,
                        .auto_fix_set = h.fix,
                        .started = clock_now()};
    int fd = listen_here();
    assert_int_equal(http_server_new(h.nest, &fd, 1, &options, &h.server), 0);
    return 0;
}

static int teardown(void **state)
{
    http_server_free(h.server);
    routes_action_done(&h.routes);
    auto_fix_free(h.fix);
    probe_free(h.probe);
    nest_free(h.nest);
    return w_teardown(state);
}

static void turn_server(int ms)
{
    struct pollfd p = {.fd = nest_fd(h.nest), .events = POLLIN};

    poll(&p, 1, ms);
    nest_dispatch(h.nest);
    if (http_server_timeout_ms(h.server) == 0)
        http_server_run(h.server);
}

/* ---- a client ---- */

/* Each from an address of its own: a hundred thousand connections are more than one has ports. */
static int client(uint32_t number)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(0x7F000002U + number % 0xFFFF00U)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(h.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_true(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    return fd;
}

static int post(const char *app, const char *headers, const char *body)
{
    char request[4096];
    int fd = client(0);
    int len = snprintf(request, sizeof request,
                       "POST /api/services/%s/alpha/action HTTP/1.1\r\nHost: localhost\r\n"
                       "%sContent-Length: %zu\r\n\r\n%s",
                       app, headers, strlen(body), body);

    assert_int_equal(send(fd, request, (size_t)len, MSG_NOSIGNAL), len);
    return fd;
}

#define GOOD "Authorization: Bearer " TOKEN "\r\nContent-Type: application/json\r\n"

/* Turns everything until the reply is there, which closes the connection or not. */
static int finish(int fd)
{
    ssize_t n = -1;

    for (int i = 0; i < 5000 && n < 0; i++) {
        n = recv(fd, h.reply, sizeof h.reply - 1, 0);
        if (n >= 0)
            break;
        turn_server(1);
        assert_true(sd_event_run(w.event, 0) >= 0);
        actions_run(w.actions, clock_now());
    }
    assert_true(n > 0);
    h.reply[n] = '\0';
    h.status = atoi(h.reply + strlen("HTTP/1.1 "));
    close_fd(fd);
    return h.status;
}

static bool says(const char *words)
{
    return strstr(h.reply, words) != NULL;
}

/* ---- answers ---- */

static void test_done(void **state UNUSED)
{
    set_flag(true);
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"restart\"}")), 200);
    assert_true(says("\"app_id\":\"web\"") && says("\"outcome\":\"done\"") &&
                says("\"unit\":\"web.service\"") && says("\"sentence\":null"));
    assert_int_equal(w.n_jobs, 1);
    assert_string_equal(w_sql("SELECT origin || role || uid || outcome FROM audit"),
                        getuid() == 0 ? "apitoken0done" : "apitoken1000done");
    /* what a client says of itself */
    assert_int_equal(
        finish(post("web", GOOD "User-Agent: services_monitor/0.1.0\r\n", "{\"action\":\"stop\"}")),
        200);
    assert_int_equal(
        finish(post("web", GOOD "User-Agent: services_api/9\r\n", "{\"action\":\"start\"}")), 200);
    assert_string_equal(w_sql("SELECT group_concat(origin) FROM audit"), "api,desktop,cli");
}

static void test_failures(void **state UNUSED)
{
    set_flag(true);
    w.job_result = "failed";
    w.unit_result = "exit-code";
    w.exec_code = 1;
    w.exec_status = 3;
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"start\"}")), 502);
    assert_true(says("start of web.service on alpha failed: it failed: exit code 3"));
    w.odd = "not a path";
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"start\"}")), 504);
    assert_true(says("has an unknown outcome"));
    assert_int_equal(finish(post("port", GOOD, "{\"action\":\"start\"}")), 409);
    w_close_bus();
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"start\"}")), 503);
}

/* A start whose job does not end by itself. */
static int post_and_wait_for_the_job(void)
{
    int fd = post("web", GOOD, "{\"action\":\"start\"}");
    for (int i = 0; i < 5000 && w.n_jobs == 0; i++) {
        turn_server(1);
        assert_true(sd_event_run(w.event, 0) >= 0);
        actions_run(w.actions, clock_now());
    }
    return fd;
}

static void test_still_at_work(void **state UNUSED)
{
    set_flag(true);
    w.job_result = NULL;
    int fd = post_and_wait_for_the_job();
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"stop\"}")), 409);
    Now now = clock_now();
    routes_action_tick(&h.routes, now);
    now.mono_us += 8 * USEC_PER_SEC;
    routes_action_tick(&h.routes, now);
    assert_int_equal(finish(fd), 202);
    assert_true(says("\"outcome\":\"requested\"") && says("\"ended_ts\":null"));
    w_job_removed(JOB_PATH, "done");
    for (int i = 0; i < 5000 && action_is_busy(w.actions, w_service("web")); i++) {
        assert_true(sd_event_run(w.event, 1000) >= 0);
        actions_run(w.actions, clock_now());
    }
    assert_string_equal(w_sql("SELECT group_concat(outcome) FROM audit"), "done,refused");
}

/* Its client leaves, or the daemon ends: the action goes on, or is left to the next one. */
static void test_nobody_waits_any_more(void **state UNUSED)
{
    set_flag(true);
    w.job_result = NULL;
    int fd = post_and_wait_for_the_job();
    close_fd(fd);
    for (int i = 0; i < 5000 && h.routes.action_waits; i++)
        turn_server(1);
    assert_null(h.routes.action_waits);
    assert_true(action_is_busy(w.actions, w_service("web")));
    fd = post("sock", GOOD, "{\"action\":\"stop\"}");
    for (int i = 0; i < 5000 && !h.routes.action_waits; i++)
        turn_server(1);
    assert_non_null(h.routes.action_waits); /* teardown ends it */
    close_fd(fd);
}

static void test_bodies(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "null",
        "\"stop\"",
        "{\"action\":1}",
        "{\"action\":null}",
        "{\"action\":\"kill\"}",
        "{\"action\":\"Stop\"}",
        "{\"action\":\"stop \"}",
        "{\"action\":[\"stop\"]}",
        "{\"action\":\"stop\",\"force\":true}",
        "{\"action\":\"stop\",\"action\":\"stop\"}",
        "{\"Action\":\"stop\"}",
        "{\"action\":\"stop\"} ,",
        "{\"action\":\"stop\"}{}",
        "{'action':'stop'}",
        "{\"action\":\"stop\\u0000\"}",
        "{\"x\":\"stop\"}",
        "action=stop",
    };

    set_flag(true);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(finish(post("web", GOOD, bad[i])), 400);
    assert_int_equal(w.n_calls, 0);
    assert_string_equal(w_sql("SELECT count(*) FROM audit WHERE outcome = 'refused'"), "20");
}

static void test_rate(void **state UNUSED)
{
    set_flag(true);
    for (int i = 0; i < 30; i++)
        assert_int_equal(finish(post("none", GOOD, "{\"action\":\"stop\"}")), 404);
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"stop\"}")), 429);
    assert_int_equal(w.n_calls, 0);
}

/* The stop of a person is remembered where auto_fix can see it. */
static void test_stop_keeps_auto_fix_off(void **state UNUSED)
{
    set_flag(true);
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"stop\"}")), 200);
    assert_non_null(w_service("web")->fix);
    assert_int_equal(finish(post("sock", GOOD, "{\"action\":\"restart\"}")), 200);
    assert_null(w_service("sock")->fix);
}

/* ---- off means off ---- */

static uint32_t seed = 35;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525U + 1013904223U;
    return (uint32_t)(((uint64_t)(seed >> 8) * n) >> 24);
}

#define ONE_OF(table) ((table)[draw(ELEMENTS(table))])

static size_t make_body(char *ret, size_t size)
{
    static const char *const bodies[] = {
        "{\"action\":\"start\"}",
        "{\"action\":\"stop\"}",
        "{\"action\":\"restart\"}",
        "{ \"action\" : \"stop\" }",
        "{\"action\":\"stop\",\"force\":true}",
        "{\"action\":\"stop\",\"action\":\"start\"}",
        "{\"action\":\"reload\"}",
        "[\"stop\"]",
        "action=stop",
        "{\"action\":\"stop\"",
        "",
    };
    size_t len = (size_t)snprintf(ret, size, "%s", ONE_OF(bodies));

    for (uint32_t flips = draw(4) ? 0 : draw(6); flips && len; flips--)
        ret[draw((uint32_t)len)] = (char)draw(256);
    return len;
}

static size_t make_request(char *ret, size_t size)
{
    static const char *const methods[] = {"POST", "POST", "POST", "POST", "PUT", "GET", "DELETE"};
    static const char *const apps[] = {"web", "web", "sock", "own", "sys", "port", "none", "..%2f"};
    static const char *const tails[] = {"", "", "", "?action=stop", "/", "?flag=on"};
    static const char *const hosts[] = {"Host: localhost\r\n", "Host: localhost\r\n",
                                        "Host: 127.0.0.1:8485\r\n", "Host: evil.example\r\n", ""};
    static const char *const origins[] = {"", "", "", "Origin: http://localhost\r\n",
                                          "Origin: null\r\n"};
    static const char *const tokens[] = {
        "Authorization: Bearer " TOKEN "\r\n", "Authorization: Bearer " TOKEN "\r\n",
        "Authorization: Bearer x\r\n", "", "X-Features-Actions: on\r\n"};
    static const char *const types[] = {
        "Content-Type: application/json\r\n", "Content-Type: application/json\r\n",
        "Content-Type: application/json; charset=utf-8\r\n", "Content-Type: text/plain\r\n", ""};
    char body[256];
    size_t n = make_body(body, sizeof body);
    int len = snprintf(ret, size,
                       "%s /api/services/%s/alpha/action%s HTTP/1.1\r\n%s%s%s%sContent-Length: "
                       "%zu\r\n\r\n",
                       ONE_OF(methods), ONE_OF(apps), ONE_OF(tails), ONE_OF(hosts), ONE_OF(origins),
                       ONE_OF(tokens), ONE_OF(types), n);

    memcpy(ret + len, body, n);
    return (size_t)len + n;
}

/* Sends a batch at once and reads every reply's status. */
static void fuzz_batch(uint32_t first, unsigned counts[600])
{
    int fds[AT_ONCE];
    char request[2048], reply[2048];

    for (uint32_t i = 0; i < AT_ONCE; i++) {
        size_t len = make_request(request, sizeof request);
        fds[i] = client(first + i);
        assert_int_equal(send(fds[i], request, len, MSG_NOSIGNAL), len);
    }
    for (uint32_t i = 0; i < AT_ONCE; i++) {
        ssize_t n;
        while ((n = recv(fds[i], reply, sizeof reply - 1, 0)) < 0 && errno == EAGAIN)
            turn_server(1);
        reply[n > 0 ? n : 0] = '\0';
        int status = n > 12 ? atoi(reply + strlen("HTTP/1.1 ")) : 0;
        assert_in_range(status, 400, 499);
        counts[status]++;
        close_fd(fds[i]);
    }
}

static void test_flag_off_means_off(void **state UNUSED)
{
    unsigned counts[600] = {0};

    set_flag(false);
    for (uint32_t i = 0; i < FUZZED; i += AT_ONCE) {
        fuzz_batch(i, counts);
        assert_true(sd_event_run(w.event, 0) >= 0);
        assert_true(actions_next_us(w.actions) == UINT64_MAX);
    }
    assert_true(counts[403] > FUZZED / 4); /* by the flag, not by being malformed */
    assert_int_equal(counts[401] + counts[415] + counts[409] + counts[429], 0);
    assert_int_equal(w.n_calls, 0);
    assert_null(h.routes.action_waits);
    assert_string_equal(w_sql("SELECT count(*) FROM audit"), "0");

    /* so it is sure that one would have been seen */
    set_flag(true);
    assert_int_equal(finish(post("web", GOOD, "{\"action\":\"stop\"}")), 200);
    assert_int_equal(w.n_jobs, 1);
    assert_string_equal(w_sql("SELECT count(*) FROM audit"), "1");
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_done),
        IN_WORLD(test_failures),
        IN_WORLD(test_still_at_work),
        IN_WORLD(test_nobody_waits_any_more),
        IN_WORLD(test_bodies),
        IN_WORLD(test_rate),
        IN_WORLD(test_stop_keeps_auto_fix_off),
        IN_WORLD(test_flag_off_means_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
