/* The server is driven without a thread: pump() turns the loop, the client is a raw socket beside
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http-server.h"
#include "basic/clock.h"
#include "basic/macro.h"

#define TOKEN   "a-token-for-the-test"
#define HOST    "Host: localhost:8485\r\n"
#define UPGRADE "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
#define WS_KEY  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

typedef struct Reply {
    int status;
    char text[262144]; /* head and body, NUL terminated */
    size_t len;
    bool closed;
} Reply;

static struct {
    Nest *nest;
    HttpServer *server;
    uint16_t port[2]; /* IPv4, IPv6 */
    HttpRequest *kept;
    int calls; /* of any handler */
    int gone;
    int upgraded_fd;
    char upgraded_query[128];
    char upgraded_extra[64];
    char body[131072];
    uint64_t version;
    Reply reply;
} t;

static void on_text(void *userdata, HttpRequest *r)
{
    char text[256];
    int error = 0;
    int64_t n = http_query_int(r, "n", -5, 100, 7, &error);
    const char *x = http_query(r, "x");

    assert_ptr_equal(userdata, &t);
    t.calls++;
    int len =
        snprintf(text, sizeof text, "[%s][%s][%s] n=%lld e=%d x=%s",
                 http_segment(r, 0) ? http_segment(r, 0) : "-",
                 http_segment(r, 1) ? http_segment(r, 1) : "-",
                 http_segment(r, 2) ? http_segment(r, 2) : "-", (long long)n, error, x ? x : "-");
    http_reply_text(r, 200, "text/plain", text, (size_t)len);
}

static void on_echo(void *userdata, HttpRequest *r)
{
    size_t len;
    const char *body = http_body(r, &len);

    (void)userdata;
    t.calls++;
    http_reply_json(r, 200, body, len);
}

static void on_cached(void *userdata, HttpRequest *r)
{
    (void)userdata;
    t.calls++;
    http_reply_cached(r, t.body, strlen(t.body), t.version);
}

static void on_gone(void *userdata)
{
    assert_ptr_equal(userdata, &t);
    t.gone++;
    t.kept = NULL;
}

static void on_slow(void *userdata, HttpRequest *r)
{
    (void)userdata;
    t.calls++;
    http_suspend(r, on_gone, &t);
    if (http_query(r, "at-once"))
        http_reply_problem(r, 503, "Busy", "at once");
    else
        t.kept = r;
}

static void on_mute(void *userdata, HttpRequest *r)
{
    (void)userdata;
    (void)r;
    t.calls++;
}

static void on_upgraded(void *userdata, int fd, const char *query, const void *extra,
                        size_t extra_len)
{
    assert_ptr_equal(userdata, &t);
    t.upgraded_fd = fd;
    snprintf(t.upgraded_query, sizeof t.upgraded_query, "%s", query);
    snprintf(t.upgraded_extra, sizeof t.upgraded_extra, "%.*s", (int)extra_len,
             (const char *)extra);
}

static const HttpRoute routes[] = {
    {"GET", "/text", NEED_READ, on_text, false},
    {"GET", "/api/services", NEED_READ, on_cached, false},
    {"GET", "/api/services/*/*", NEED_READ, on_text, false},
    {"POST", "/api/services/*/*/check", NEED_CHECK, on_echo, false},
    {"POST", "/api/services/*/*/action", NEED_ACTION, on_echo, false},
    {"GET", "/api/slow", NEED_READ, on_slow, false},
    {"POST", "/api/slow", NEED_READ, on_slow, false},
    {"GET", "/api/mute", NEED_READ, on_mute, false},
    {"GET", "/api/ws", NEED_READ, NULL, true},
};

static int listen_any(int family, uint16_t *ret_port)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct sockaddr *a = family == AF_INET ? (struct sockaddr *)&in4 : (struct sockaddr *)&in6;
    socklen_t len = family == AF_INET ? sizeof in4 : sizeof in6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, a, len) < 0 || listen(fd, 128) < 0)
        return close_fd(fd);
    getsockname(fd, a, &len);
    *ret_port = ntohs(family == AF_INET ? in4.sin_port : in6.sin6_port);
    return fd;
}

static void server_start(bool actions, uint32_t request_timeout_ms)
{
    HttpServerOptions options = {
        .routes = routes,
        .n_routes = ELEMENTS(routes),
        .token = TOKEN,
        .actions_enabled = actions,
        .userdata = &t,
        .upgraded = on_upgraded,
        .request_timeout_ms = request_timeout_ms,
    };
    int fds[2];
    size_t n = 1;

    memset(&t, 0, sizeof t);
    t.upgraded_fd = -1;
    t.version = 1;
    snprintf(t.body, sizeof t.body, "[{\"app_id\":\"one\"}]");
    fds[0] = listen_any(AF_INET, &t.port[0]);
    assert_true(fds[0] >= 0);
    fds[1] = listen_any(AF_INET6, &t.port[1]);
    n += fds[1] >= 0;
    assert_int_equal(nest_new(&t.nest), 0);
    assert_int_equal(http_server_new(t.nest, fds, n, &options, &t.server), 0);
}

static int setup(void **state)
{
    (void)state;
    server_start(false, 0);
    return 0;
}

static int setup_actions(void **state)
{
    (void)state;
    server_start(true, 0);
    return 0;
}

static int setup_hasty(void **state)
{
    (void)state;
    server_start(false, 100);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    t.server = http_server_free(t.server);
    t.nest = nest_free(t.nest);
    t.upgraded_fd = close_fd(t.upgraded_fd);
    return 0;
}

/* One turn of the loop, as the manager does it. */
static void turn(int client)
{
    int64_t ms = http_server_timeout_ms(t.server);
    struct pollfd fds[] = {{.fd = nest_fd(t.nest), .events = POLLIN},
                           {.fd = client, .events = POLLIN}};

    if (ms < 0 || ms > 50)
        ms = 50;
    poll(fds, 2, (int)ms);
    nest_dispatch(t.nest);
    if (http_server_timeout_ms(t.server) == 0)
        http_server_run(t.server);
}

static int client_on(int which)
{
    int fd = socket(which ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in in4 = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons(t.port[0])};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(t.port[1])};
    int r = which ? connect(fd, (struct sockaddr *)&in6, sizeof in6)
                  : connect(fd, (struct sockaddr *)&in4, sizeof in4);

    assert_true(r == 0 || errno == EINPROGRESS);
    return fd;
}

static void put(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno != EAGAIN)
            return; /* the server has closed already: the reply tells */
        else
            turn(-1);
    }
}

static size_t content_length(const char *head)
{
    const char *p = strcasestr(head, "\r\nContent-Length:");

    return p ? strtoul(p + 17, NULL, 10) : 0;
}

/* Is the first reply in the text whole? */
static bool is_whole(const Reply *r, bool head_only)
{
    const char *end = strstr(r->text, "\r\n\r\n");

    return end && (head_only || r->len >= (size_t)(end + 4 - r->text) + content_length(r->text));
}

/* Reads one reply (or to the end, when the server closes). At most 20 s. */
static Reply *get_reply(int fd, bool head_only)
{
    Reply *r = &t.reply;

    *r = (Reply){.status = 0};
    for (uint64_t end = clock_now().mono_us + 20 * USEC_PER_SEC; clock_now().mono_us < end;) {
        ssize_t n = recv(fd, r->text + r->len, sizeof r->text - 1 - r->len, 0);
        if (n > 0)
            r->len += (size_t)n;
        r->text[r->len] = '\0';
        r->closed = n == 0 || (n < 0 && errno != EAGAIN);
        if (r->closed || is_whole(r, head_only))
            break;
        turn(fd);
    }
    if (strncmp(r->text, "HTTP/1.", 7) == 0)
        r->status = atoi(r->text + 9);
    return r;
}

static Reply *exchange(const char *bytes, size_t len)
{
    int fd = client_on(0);

    put(fd, bytes, len);
    Reply *r = get_reply(fd, strncmp(bytes, "HEAD", 4) == 0);
    close(fd);
    return r;
}

static Reply *ask(const char *text)
{
    return exchange(text, strlen(text));
}

static bool is_closed_by_server(int fd)
{
    char c;

    for (int i = 0; i < 400; i++) {
        ssize_t n = recv(fd, &c, 1, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return true;
        turn(fd);
    }
    return false;
}

static void assert_problem(const Reply *r, int status)
{
    char member[32];

    assert_int_equal(r->status, status);
    assert_non_null(strstr(r->text, "application/problem+json"));
    snprintf(member, sizeof member, "\"status\":%d", status);
    assert_non_null(strstr(r->text, member));
    assert_non_null(strstr(r->text, "\"detail\":\""));
}

static void assert_safe_headers(const Reply *r)
{
    assert_non_null(strstr(r->text, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(r->text, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(r->text, "Referrer-Policy: no-referrer\r\n"));
    assert_non_null(strstr(r->text, "Content-Security-Policy: default-src 'none'"));
    assert_null(strcasestr(r->text, "Access-Control"));
}

static void test_get(void **state)
{
    (void)state;
    Reply *r = ask("GET /text HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_safe_headers(r);
    assert_non_null(strstr(r->text, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(r->text, "[-][-][-] n=7 e=0 x=-"));
    r = ask("GET /api/services/a.b/pc-1?n=12&x=%41%2F&x=2 HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(r->text, "[a.b][pc-1][-] n=12 e=0 x=%41%2F"));
    r = ask("GET /text HTTP/1.0\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_true(is_whole(r, false));
}

static void test_query_numbers(void **state)
{
    static const struct {
        const char *text, *seen;
    } table[] = {
        {"n=100", "n=100 e=0"},    {"n=-5", "n=-5 e=0"},   {"n=101", "n=7 e=-22"},
        {"n=-6", "n=7 e=-22"},     {"n=", "n=7 e=-22"},    {"n", "n=7 e=-22"},
        {"n=1x", "n=7 e=-22"},     {"n=%31", "n=7 e=-22"}, {"n=+1", "n=7 e=-22"},
        {"n=-", "n=7 e=-22"},      {"m=3", "n=7 e=0"},     {"n=3&n=4", "n=3 e=0"},
        {"&&n=3&", "n=3 e=0"},     {"=&n=3", "n=3 e=0"},   {"n=9999999999999999999999", "e=-22"},
        {"x==&n=3", "n=3 e=0 x=="}};
    char text[256];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        snprintf(text, sizeof text, "GET /text?%s HTTP/1.1\r\n" HOST "\r\n", table[i].text);
        assert_non_null(strstr(ask(text)->text, table[i].seen));
    }
}

static void test_head(void **state)
{
    (void)state;
    Reply *r = ask("HEAD /api/services HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_int_equal(content_length(r->text), strlen(t.body));
    assert_string_equal(strstr(r->text, "\r\n\r\n"), "\r\n\r\n");
}

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

static void test_post(void **state)
{
    (void)state;
    Reply *r = ask("POST /api/services/a/b/check HTTP/1.1\r\n" HOST
                   "Content-Type: application/json; charset=utf-8\r\nContent-Length: 7\r\n\r\n"
                   "{\"a\":1}");
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->text, "{\"a\":1}"));
    r = ask("POST /api/services/a/b/check HTTP/1.1\r\n" HOST
            "Content-Type: APPLICATION/JSON\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(r->status, 200);
    assert_int_equal(t.calls, 2);
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

static void test_large_body(void **state)
{
    static char text[GATE_BODY_MAX + 256];
    int n = snprintf(text, sizeof text,
                     "POST /api/services/a/b/check HTTP/1.1\r\n" HOST
                     "Content-Type: application/json\r\nContent-Length: %u\r\n\r\n",
                     GATE_BODY_MAX);

    (void)state;
    memset(text + n, ' ', GATE_BODY_MAX);
    Reply *r = exchange(text, (size_t)n + GATE_BODY_MAX);
    assert_int_equal(r->status, 200);
    assert_int_equal(content_length(r->text), GATE_BODY_MAX);
    assert_true(is_whole(r, false));
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

static void test_keep_alive(void **state)
{
    static const char two[] = "GET /text?n=1 HTTP/1.1\r\n" HOST "\r\n"
                              "GET /text?n=2 HTTP/1.1\r\n" HOST "\r\n";
    int fd = client_on(0);

    (void)state;
    for (int i = 0; i < 5; i++) {
        put(fd, "GET /api/services HTTP/1.1\r\n" HOST "\r\n", 28 + strlen(HOST) + 2);
        assert_int_equal(get_reply(fd, false)->status, 200);
    }
    put(fd, two, strlen(two));
    for (int i = 0; i < 20 && t.calls < 7; i++)
        turn(-1);
    assert_int_equal(t.calls, 7);
    Reply *r = get_reply(fd, false);
    assert_non_null(strstr(r->text, "n=1"));
    if (!strstr(r->text, "n=2"))
        assert_non_null(strstr(get_reply(fd, false)->text, "n=2"));
    close(fd);
}

static void test_cached(void **state)
{
    char text[512], etag[64] = "";

    (void)state;
    Reply *r = ask("GET /api/services HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->text, "[{\"app_id\":\"one\"}]"));
    assert_int_equal(sscanf(strstr(r->text, "ETag: "), "ETag: %60s", etag), 1);
    /* the same pointer and version: the shared copy is sent */
    snprintf(t.body, sizeof t.body, "[{\"app_id\":\"two\"}]");
    assert_non_null(strstr(ask("GET /api/services HTTP/1.1\r\n" HOST "\r\n")->text, "one"));
    snprintf(text, sizeof text,
             "GET /api/services HTTP/1.1\r\n" HOST "If-None-Match: \"x\", %s\r\n\r\n", etag);
    r = ask(text);
    assert_int_equal(r->status, 304);
    assert_non_null(strstr(r->text, etag));
    assert_null(strstr(r->text, "app_id"));
    t.version++;
    r = ask(text);
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->text, "two"));
    assert_null(strstr(r->text, etag));
}

static void test_cache_of_many(void **state)
{
    static const char *const bodies[] = {"[1]", "[2]", "[3]", "[4]", "[5]", "[6]"};

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ELEMENTS(bodies); i++) {
            snprintf(t.body, sizeof t.body, "%s", bodies[i]);
            t.version = (uint64_t)round * 10 + i;
            assert_non_null(
                strstr(ask("GET /api/services HTTP/1.1\r\n" HOST "\r\n")->text, bodies[i]));
        }
    }
}

static void keep_one(int fd)
{
    static const char text[] = "GET /api/slow HTTP/1.1\r\n" HOST "\r\n";

    put(fd, text, strlen(text));
    for (int i = 0; i < 200 && !t.kept; i++)
        turn(-1);
    assert_non_null(t.kept);
}

static void test_suspend_and_reply(void **state)
{
    int fd = client_on(0);

    (void)state;
    for (int i = 0; i < 3; i++) { /* on one connection: it goes on after a suspended request */
        keep_one(fd);
        assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
        http_reply_json(TAKE_PTR(t.kept), 200, "[1,2]", 5);
        Reply *r = get_reply(fd, false);
        assert_int_equal(r->status, 200);
        assert_non_null(strstr(r->text, "[1,2]"));
    }
    keep_one(fd);
    http_reply_cached(TAKE_PTR(t.kept), t.body, strlen(t.body), 9);
    assert_non_null(strstr(get_reply(fd, false)->text, "one"));
    assert_int_equal(t.gone, 0);
    close(fd);
}

static void test_suspend_and_reply_at_once(void **state)
{
    (void)state;
    assert_problem(ask("GET /api/slow?at-once HTTP/1.1\r\n" HOST "\r\n"), 503);
    assert_int_equal(t.gone, 0);
}

static void test_suspended_post(void **state)
{
    int fd = client_on(0);
    static const char text[] = "POST /api/slow HTTP/1.1\r\n" HOST
                               "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

    (void)state;
    put(fd, text, strlen(text));
    for (int i = 0; i < 200 && !t.kept; i++)
        turn(-1);
    size_t len;
    assert_memory_equal(http_body(t.kept, &len), "{}", 2);
    http_reply_text(TAKE_PTR(t.kept), 200, "text/plain", "ok", 2);
    assert_int_equal(get_reply(fd, false)->status, 200);
    close(fd);
}

static void test_client_gone(void **state)
{
    (void)state;
    for (int i = 1; i <= 3; i++) {
        int fd = client_on(0);
        keep_one(fd);
        if (i == 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        close(fd);
        for (int k = 0; k < 200 && t.gone < i; k++)
            turn(-1);
        assert_int_equal(t.gone, i);
    }
    assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
}

static void test_free_with_suspended(void **state)
{
    int fd[3];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(fd); i++) {
        t.kept = NULL;
        fd[i] = client_on(0);
        keep_one(fd[i]);
    }
    t.server = http_server_free(t.server);
    assert_int_equal(t.gone, 3);
    for (size_t i = 0; i < ELEMENTS(fd); i++)
        close(fd[i]);
}

static void test_unanswered(void **state)
{
    (void)state;
    assert_problem(ask("GET /api/mute HTTP/1.1\r\n" HOST "\r\n"), 500);
}

static void test_upgrade(void **state)
{
    static const char text[] =
        "GET /api/ws?stream=0123456789abcdef&since=4 HTTP/1.1\r\n" HOST UPGRADE WS_KEY
        "Sec-WebSocket-Version: 13\r\n\r\nEXTRA";
    char in[16] = "";
    int fd = client_on(0);

    (void)state;
    put(fd, text, strlen(text));
    Reply *r = get_reply(fd, true);
    assert_int_equal(r->status, 101);
    assert_non_null(strstr(r->text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(r->text, "Upgrade: websocket\r\n"));
    assert_true(t.upgraded_fd >= 0);
    assert_string_equal(t.upgraded_query, "stream=0123456789abcdef&since=4");
    assert_string_equal(t.upgraded_extra, "EXTRA");
    for (int i = 0; i < 5; i++)
        turn(-1);
    /* the connection lives on without the server */
    t.server = http_server_free(t.server);
    assert_int_equal(send(t.upgraded_fd, "hello", 5, MSG_NOSIGNAL), 5);
    assert_int_equal(recv(fd, in, sizeof in, 0), 5);
    assert_int_equal(send(fd, "world", 5, MSG_NOSIGNAL), 5);
    assert_int_equal(recv(t.upgraded_fd, in, sizeof in, 0), 5);
    assert_string_equal(in, "world");
    assert_true(fcntl(t.upgraded_fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(t.upgraded_fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
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

static void test_ipv6(void **state)
{
    static const char text[] = "GET /text HTTP/1.1\r\nHost: [::1]:8485\r\n\r\n";

    (void)state;
    if (!t.port[1])
        skip();
    int fd = client_on(1);
    put(fd, text, strlen(text));
    assert_int_equal(get_reply(fd, false)->status, 200);
    close(fd);
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

/* Spaces around values, bare line feeds, empty lines before a request: known and harmless. */
static void test_lenient_forms(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /text HTTP/1.1\r\nHost:   localhost\r\nX: \t a \r\nY:\r\n\r\n")->status, 200);
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

static void test_many_connections(void **state)
{
    int fds[200];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        fds[i] = client_on(0);
    for (size_t i = 0; i < ELEMENTS(fds); i++) {
        put(fds[i], "GET /api/services HTTP/1.1\r\n" HOST "\r\n", 28 + strlen(HOST) + 2);
        assert_int_equal(get_reply(fds[i], false)->status, 200);
    }
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_query_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_method, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_smuggling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nul_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts_and_origins, setup_actions, teardown),
        cmocka_unit_test_setup_teardown(test_absolute_targets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cache_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspend_and_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspend_and_reply_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspended_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_with_suspended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unanswered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upgrade, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upgrade_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_action_needs_flag, setup, teardown),
        cmocka_unit_test_setup_teardown(test_action_needs_token, setup_actions, teardown),
        cmocka_unit_test_setup_teardown(test_other_uid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ipv6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lenient_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_requests, setup_hasty, teardown),
        cmocka_unit_test_setup_teardown(test_dripping_head, setup_hasty, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_connections, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
