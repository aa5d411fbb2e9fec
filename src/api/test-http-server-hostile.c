/* What the server does against everybody else: malformed, smuggled, forged, slow and endless
 * requests. */
#include "api/test-http-server.h"

#include <sys/resource.h>

static void test_not_found(void **state)
{
    static const char *const paths[] = {
        "/",
        "/textx",
        "/tex",
        "/text/",
        "/api/services/",
        "/api/services/a",
        "/api/services/a/",
        "/api/services/a/b/",
        "/api/services/a/b/c",
        "/api/services/-a/b",
        "/api/services/a/b!",
        "/api/services/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/b",
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(paths); i++) {
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        Reply *r = ask(text);
        assert_problem(r, 404);
        assert_safe_headers(r);
    }
    assert_int_equal(t.calls, 0);
}

static void test_wrong_method(void **state)
{
    (void)state;
    Reply *r = ask("DELETE /api/services HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(r, 405);
    assert_non_null(strstr(r->text, "Allow: GET, HEAD\r\n"));
    r = ask("GET /api/services/a/b/check HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(r, 405);
    assert_non_null(strstr(r->text, "Allow: POST\r\n"));
    r = ask("OPTIONS /api/slow HTTP/1.1\r\n" HOST "Origin: http://localhost\r\n"
            "Access-Control-Request-Method: POST\r\n\r\n");
    assert_problem(r, 405);
    assert_safe_headers(r);
    assert_non_null(strstr(r->text, "Allow: GET, HEAD, POST\r\n"));
    assert_problem(ask("get /text HTTP/1.1\r\n" HOST "\r\n"), 405);
    assert_int_equal(t.calls, 0);
}

static void test_post_refused(void **state)
{
    static const char *const types[] = {"", "Content-Type: text/plain\r\n", "Content-Type:\r\n",
                                        "Content-Type: application/jsonx\r\n",
                                        "Content-Type: application/x-www-form-urlencoded\r\n"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(types); i++) {
        snprintf(text, sizeof text,
                 "POST /api/services/a/b/check HTTP/1.1\r\n" HOST "%sContent-Length: 2\r\n\r\n{}",
                 types[i]);
        assert_problem(ask(text), 415);
    }
    assert_problem(ask("POST /api/services/a/b/check HTTP/1.1\r\n" HOST
                       "Content-Type: application/json\r\nContent-Length: 65537\r\n\r\n"),
                   413);
    assert_int_equal(t.calls, 0);
}

/* Nothing that follows a refused request on its connection is taken for a request. */
static void test_no_smuggling(void **state)
{
    static const char *const attacks[] = {
        /* two lengths, in every order and form */
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Content-Length: 4\r\nContent-Length: 0\r\n\r\n",
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Transfer-Encoding: xchunked\r\n\r\n",
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Content-Length: 0, 44\r\n\r\n",
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Content-Length: -1\r\n\r\n",
        "POST /api/slow HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Content-Length : 4\r\n\r\n",
        "GET /text HTTP/1.1\r\n" HOST "Content-Length: 44\r\n\r\n",
        "GET /text HTTP/1.1\r\n" HOST HOST "\r\n",
        "GET /text HTTP/1.1\r\n" HOST "X: a\rContent-Length: 3\r\n\r\n",
        "GET http://localhost/text HTTP/1.1\r\n" HOST "\r\n",
        "GET /text HTTP/2.0\r\n" HOST "\r\n",
        "GET /text\r\n\r\n",
        "GET  /text HTTP/1.1\r\n" HOST "\r\n",
        "GET /text HTTP/1.1\r\n" HOST "X: 1\r\n folded\r\n\r\n",
        "GET /text HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\t4\r\n\r\n",
        "nonsense\r\n\r\n",
    };
    static const char next[] = "GET /text HTTP/1.1\r\n" HOST "\r\n";

    (void)state;
    for (size_t i = 0; i < ELEMENTS(attacks); i++) {
        int fd = client_on(0);
        put(fd, attacks[i], strlen(attacks[i]));
        put(fd, next, strlen(next));
        Reply *r = get_reply(fd, false);
        assert_int_not_equal(r->status, 200);
        assert_true(is_closed_by_server(fd));
        close(fd);
        assert_int_equal(t.calls, 0);
    }
}

static void test_nul_bytes(void **state)
{
    static const char in_target[] = "GET /text\0/../x HTTP/1.1\r\n" HOST "\r\n";
    static const char in_query[] = "GET /text?n=3\0 HTTP/1.1\r\n" HOST "\r\n";
    static const char in_value[] = "GET /text HTTP/1.1\r\nHost: localhost\0.evil\r\n\r\n";
    static const char in_name[] = "GET /text HTTP/1.1\r\n" HOST "X\0Y: 1\r\n\r\n";
    static const char in_last[] = "GET /text HTTP/1.1\r\n" HOST "X: 1\0Host: evil\r\n\r\n";
    static const char in_method[] = "GET\0 /text HTTP/1.1\r\n" HOST "\r\n";

    (void)state;
    assert_int_equal(exchange(in_target, sizeof in_target - 1)->status, 400);
    assert_int_equal(exchange(in_query, sizeof in_query - 1)->status, 400);
    assert_int_not_equal(exchange(in_value, sizeof in_value - 1)->status, 200);
    assert_int_not_equal(exchange(in_name, sizeof in_name - 1)->status, 200);
    assert_int_not_equal(exchange(in_method, sizeof in_method - 1)->status, 200);
    assert_int_not_equal(exchange(in_last, sizeof in_last - 1)->status, 200);
    assert_int_equal(t.calls, 0);
}

/* Every route x every variant of Host and Origin: refused before a handler, never a CORS header. */
static void test_hosts_and_origins(void **state)
{
    static const char *const heads[] = {
        "Host: evil.example\r\n",
        "Host: evil.example:8485\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: localhost:8485@evil.example\r\n",
        "Host: evil.example@localhost\r\n",
        "Host:\r\n",
        "Host: null\r\n",
        "Host: *\r\n",
        "Host: 0.0.0.0\r\n",
        "Host: 127.0.0.2\r\n",
        "Host: [::]\r\n",
        "Host: localhost:0\r\n",
        "Host: localhost:99999\r\n",
        "Host: localhost:\r\n",
        "Host: localhost, evil.example\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: evil.example\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: localhost\r\n",
        "X-Forwarded-Host: localhost\r\n",
        "",
        HOST "Origin: null\r\n",
        HOST "Origin:\r\n",
        HOST "Origin: http://evil.example\r\n",
        HOST "Origin: https://evil.example\r\n",
        HOST "Origin: http://localhost.evil.example\r\n",
        HOST "Origin: http://localhost:8485.evil.example\r\n",
        HOST "Origin: http://evil.example:8485\r\n",
        HOST "Origin: http://evil.example#http://localhost\r\n",
        HOST "Origin: https://localhost:8485\r\n",
        HOST "Origin: file://\r\n",
        HOST "Origin: localhost\r\n",
        HOST "Origin: http://localhost:8485\r\nOrigin: http://localhost:8485\r\n",
        HOST "Origin: http://localhost:8485\r\nOrigin: http://evil.example\r\n",
        HOST "Origin: http://localhost:8485, http://evil.example\r\n",
        HOST "Origin: http://localhost:8485/\r\n",
        HOST "Origin: chrome-extension://aaaa\r\n",
        HOST "Origin: *\r\n",
        HOST "Origin: http://[::2]\r\n",
    };
    static const char *const targets[] = {"/text",
                                          "/api/services",
                                          "/api/services/a/b",
                                          "/api/services/a/b/check",
                                          "/api/services/a/b/action",
                                          "/api/slow",
                                          "/api/mute",
                                          "/api/ws",
                                          "/none"};
    char text[512];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(heads); i++) {
        for (size_t k = 0; k < ELEMENTS(targets); k++) {
            const char *method = strstr(targets[k], "/b/") ? "POST" : "GET";
            snprintf(text, sizeof text,
                     "%s %s HTTP/1.1\r\n%s" UPGRADE WS_KEY "Sec-WebSocket-Version: 13\r\n"
                     "Authorization: Bearer " TOKEN "\r\nContent-Type: application/json\r\n\r\n",
                     method, targets[k], heads[i]);
            Reply *r = ask(text);
            assert_true(r->status == 400 || r->status == 403 || r->status == 421);
            assert_null(strcasestr(r->text, "Access-Control"));
        }
    }
    assert_int_equal(t.calls, 0);
    assert_int_equal(t.upgraded_fd, -1);
}

static void test_absolute_targets(void **state)
{
    static const char *const targets[] = {"http://localhost:8485/text",
                                          "http://evil.example/text",
                                          "//evil.example/text",
                                          "/%74ext",
                                          "/text%00",
                                          "/a/../text",
                                          "/./text",
                                          "*",
                                          "localhost:8485",
                                          "text",
                                          "/text#x",
                                          "\\text"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(targets); i++) {
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", targets[i]);
        assert_int_equal(ask(text)->status, 400);
    }
    assert_int_equal(t.calls, 0);
}

static void test_upgrade_refused(void **state)
{
    static const struct {
        int status;
        const char *head;
    } table[] = {
        {426, ""},
        {426, "Connection: Upgrade\r\n"},
        {426, "Upgrade: websocket\r\n" WS_KEY "Sec-WebSocket-Version: 13\r\n"},
        {426, "Connection: Upgrade\r\nUpgrade: h2c\r\n" WS_KEY "Sec-WebSocket-Version: 13\r\n"},
        {426, UPGRADE WS_KEY},
        {426, UPGRADE WS_KEY "Sec-WebSocket-Version: 12\r\n"},
        {400, UPGRADE "Sec-WebSocket-Version: 13\r\n"},
        {400, UPGRADE "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"},
        {400,
         UPGRADE "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ!=\r\n"},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        snprintf(text, sizeof text, "GET /api/ws HTTP/1.1\r\n" HOST "%s\r\n", table[i].head);
        assert_problem(ask(text), table[i].status);
    }
    assert_int_equal(t.upgraded_fd, -1);
}

static void test_action_needs_flag(void **state)
{
    (void)state;
    assert_problem(ask("POST /api/services/a/b/action HTTP/1.1\r\n" HOST
                       "Authorization: Bearer " TOKEN "\r\nContent-Type: application/json\r\n"
                       "Content-Length: 2\r\n\r\n{}"),
                   403);
    assert_int_equal(t.calls, 0);
}

static void test_action_needs_token(void **state)
{
    static const char *const bad[] = {
        "", "Authorization: Bearer x\r\n", "Authorization: Bearer \r\n",
        "Authorization: Basic " TOKEN "\r\n", "Authorization: Bearer " TOKEN "x\r\n"};
    char text[512];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        snprintf(text, sizeof text,
                 "POST /api/services/a/b/action HTTP/1.1\r\n" HOST
                 "%sContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                 bad[i]);
        Reply *r = ask(text);
        assert_problem(r, 401);
        assert_non_null(strstr(r->text, "WWW-Authenticate: Bearer\r\n"));
    }
    assert_int_equal(t.calls, 0);
    assert_int_equal(ask("POST /api/services/a/b/action HTTP/1.1\r\n" HOST
                         "Authorization: Bearer " TOKEN "\r\nContent-Type: application/json\r\n"
                         "Content-Length: 2\r\n\r\n{}")
                         ->status,
                     200);
}

/* A socket belongs to the uid that made it. */
static int client_of_another_uid(int which)
{
    setfsuid(65534);
    int fd = client_on(which);
    setfsuid(geteuid());
    return fd;
}

static void test_other_uid(void **state)
{
    static const char plain[] = "GET /text HTTP/1.1\r\n" HOST "\r\n";
    static const char token[] =
        "GET /text HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN "\r\n\r\n";

    (void)state;
    if (geteuid() != 0)
        skip();
    for (int which = 0; which < (t.port[1] ? 2 : 1); which++) {
        int fd = client_of_another_uid(which);
        put(fd, plain, strlen(plain));
        Reply *r = get_reply(fd, false);
        assert_problem(r, 401);
        close(fd);
        assert_int_equal(t.calls, which);
        fd = client_of_another_uid(which);
        put(fd, token, strlen(token));
        assert_int_equal(get_reply(fd, false)->status, 200);
        close(fd);
    }
}

/* A connection that is kept alive: what was let in a moment ago is not let in by the old token. */
static void test_token_changes(void **state)
{
    static const char old[] =
        "GET /text HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN "\r\n\r\n";
    static const char new[] =
        "GET /text HTTP/1.1\r\n" HOST "Authorization: Bearer another-token-altogether\r\n\r\n";

    (void)state;
    if (geteuid() != 0)
        skip();
    int fd = client_of_another_uid(0);
    put(fd, old, strlen(old));
    assert_int_equal(get_reply(fd, false)->status, 200);
    http_server_set_token(t.server, "another-token-altogether");
    put(fd, old, strlen(old));
    assert_problem(get_reply(fd, false), 401);
    close(fd);
    fd = client_of_another_uid(0);
    put(fd, new, strlen(new));
    assert_int_equal(get_reply(fd, false)->status, 200);
    close(fd);
}

/* The head was let in by the old token, as "100 Continue" says; then the body takes its time. */
static void test_token_changes_before_the_body(void **state)
{
    static const char head[] = "POST /api/services/a/b/action HTTP/1.1\r\n" HOST
                               "Authorization: Bearer " TOKEN "\r\nExpect: 100-continue\r\n"
                               "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n";

    (void)state;
    for (int change = 0; change < 2; change++) {
        int fd = client_on(0);
        put(fd, head, strlen(head));
        assert_int_equal(get_reply(fd, true)->status, 100);
        if (change)
            http_server_set_token(t.server, "another-token-altogether");
        put(fd, "{}", 2);
        assert_int_equal(get_reply(fd, false)->status, change ? 401 : 200);
        assert_int_equal(t.calls, 1);
        close(fd);
    }
}

static void test_rules_change(void **state)
{
    static const char *const hosts[] = {"monitor.lan"};
    const GateRules rules = {.hosts = hosts, .n_hosts = 1};
    static const char named[] = "GET /text HTTP/1.1\r\nHost: monitor.lan\r\n\r\n";
    static const char action[] = "POST /api/services/a/b/action HTTP/1.1\r\n" HOST
                                 "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

    (void)state;
    assert_problem(ask(named), 421);
    http_server_configure(t.server, &rules, true);
    assert_int_equal(ask(named)->status, 200);
    assert_problem(ask(action), 401);
    http_server_configure(t.server, &(GateRules){0}, false);
    assert_problem(ask(named), 421);
    assert_problem(ask(action), 403);
}

/* Such a table does not compile with HTTP_ROUTE(); one made otherwise is not served. */
static void test_route_without_need(void **state)
{
    static const HttpRoute careless[] = {{.method = "GET", .pattern = "/", .handler = on_text}};
    const HttpServerOptions options = {.routes = careless, .n_routes = 1, .token = TOKEN};
    HttpServer *s = NULL;

    (void)state;
    assert_int_equal(http_server_new(t.nest, NULL, 0, &options, &s), -EINVAL);
    assert_null(s);
}

static void test_head_limits(void **state)
{
    static char text[65536];

    (void)state;
    /* 7 KiB of head are fine, 9 KiB are told so */
    for (int kib = 7; kib <= 9; kib += 2) {
        int n = snprintf(text, sizeof text, "GET /text HTTP/1.1\r\n" HOST "X: ");
        memset(text + n, 'a', (size_t)kib * 1024);
        memcpy(text + n + kib * 1024, "\r\n\r\n", 5);
        Reply *r = ask(text);
        assert_int_equal(r->status, kib == 7 ? 200 : 431);
    }
    int n = snprintf(text, sizeof text, "GET /");
    memset(text + n, 'a', 3000);
    snprintf(text + n + 3000, 64, " HTTP/1.1\r\n" HOST "\r\n");
    assert_problem(ask(text), 414);
    n = snprintf(text, sizeof text, "GET /text HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 70; i++)
        n += snprintf(text + n, 64, "X-%d: 1\r\n", i);
    snprintf(text + n, 8, "\r\n");
    assert_problem(ask(text), 400);
}

/* Slow and endless requests are ended by the server's own deadline; the others do not feel them. */
static void test_slow_requests(void **state)
{
    static const char *const starts[] = {
        "",
        "G",
        "GET /text HTTP/1.1\r\n",
        "GET /text HTTP/1.1\r\n" HOST "X: ",
        "POST /api/services/a/b/check HTTP/1.1\r\n" HOST
        "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    };
    static char huge[60000];
    int fds[ELEMENTS(starts) + 1];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(starts); i++) {
        fds[i] = client_on(0);
        put(fds[i], starts[i], strlen(starts[i]));
    }
    fds[ELEMENTS(starts)] = client_on(0);
    int n = snprintf(huge, sizeof huge, "GET /text HTTP/1.1\r\nX: ");
    memset(huge + n, 'a', sizeof huge - (size_t)n);
    put(fds[ELEMENTS(starts)], huge, sizeof huge);
    assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
    for (size_t i = 0; i < ELEMENTS(fds); i++) {
        Reply *r = get_reply(fds[i], false);
        assert_true(r->closed || r->status == 431);
        assert_true(r->status == 0 || i == ELEMENTS(starts));
        close(fds[i]);
    }
    assert_int_equal(t.calls, 1);
}

/* More of them than there are places: each newcomer pushes the oldest out, and who asks at once is
 * served. */
static void test_more_slow_requests_than_places(void **state)
{
    enum { N = HTTP_CONNECTIONS_MAX + 200 };
    static int fds[N];
    struct rlimit limit, raised;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    raised = (struct rlimit){.rlim_cur = MIN(limit.rlim_max, 4096), .rlim_max = limit.rlim_max};
    if (raised.rlim_cur < 2 * N + 100 || setrlimit(RLIMIT_NOFILE, &raised) < 0)
        fail_msg("the test needs %d file descriptors", 2 * N + 100);
    for (size_t i = 0; i < N; i++) {
        fds[i] = client_on(0);
        put(fds[i], "GET /text HT", 12);
        turn(-1);
    }
    size_t gone = 0;
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
    for (size_t i = 0; i < N; i++) {
        char c;
        ssize_t n = recv(fds[i], &c, 1, MSG_DONTWAIT);
        gone += n == 0 || (n < 0 && errno == ECONNRESET);
        close(fds[i]);
    }
    assert_in_range(gone, N - HTTP_CONNECTIONS_MAX, N);
    assert_int_equal(t.calls, 10);
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Spaces around values, bare line feeds, empty lines before a request: known and harmless. */
static void test_lenient_forms(void **state)
{
    (void)state;
    assert_int_equal(
        ask("GET /text HTTP/1.1\r\nHost:   localhost\r\nX: \t a \r\nY:\r\n\r\n")->status, 200);
    assert_int_equal(ask("\r\n\r\nGET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
    assert_int_equal(ask("GET /text HTTP/1.1\nHost: localhost\nCookie: a=b; c\n\n")->status, 200);
}

/* A byte every now and then does not buy more time. */
static void test_dripping_head(void **state)
{
    int fd = client_on(0);
    bool closed = false;
    char c;

    (void)state;
    put(fd, "GET /text HTTP/1.1\r\nX: ", 23);
    for (uint64_t end = clock_now().mono_us + 10 * USEC_PER_SEC;
         !closed && clock_now().mono_us < end;) {
        if (send(fd, "a", 1, MSG_NOSIGNAL) < 0)
            closed = true;
        usleep(20000);
        turn(-1);
        closed = closed || recv(fd, &c, 1, 0) == 0;
    }
    assert_true(closed);
    close(fd);
}

static void test_garbage(void **state)
{
    unsigned seed = 1;
    char bytes[600];

    (void)state;
    for (int i = 0; i < 200; i++) {
        int fd = client_on(0);
        for (size_t k = 0; k < sizeof bytes; k++) {
            seed = seed * 1103515245U + 12345U;
            bytes[k] = (char)(seed >> 16);
        }
        if (i % 2)
            memcpy(bytes, "GET /text HTTP/1.1\r\n", 20);
        put(fd, bytes, sizeof bytes);
        turn(-1);
        close(fd);
        turn(-1);
    }
    assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
    assert_int_equal(t.calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_method, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_smuggling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nul_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts_and_origins, setup_actions, teardown),
        cmocka_unit_test_setup_teardown(test_absolute_targets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upgrade_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_action_needs_flag, setup, teardown),
        cmocka_unit_test_setup_teardown(test_action_needs_token, setup_actions, teardown),
        cmocka_unit_test_setup_teardown(test_other_uid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_changes_before_the_body, setup_actions,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rules_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_route_without_need, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lenient_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_requests, setup_hasty, teardown),
        cmocka_unit_test_setup_teardown(test_dripping_head, setup_hasty, teardown),
        cmocka_unit_test_setup_teardown(test_more_slow_requests_than_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
