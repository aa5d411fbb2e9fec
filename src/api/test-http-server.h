/* The server of these tests and its clients. There is no thread: turn() turns the loop once, as the
 * manager does, and the client is a raw socket beside it. */
#pragma once

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
    GateRole upgraded_role;
    char upgraded_query[128];
    char upgraded_extra[64];
    char body[131072];
    uint64_t version;
    Reply reply;
} t;

UNUSED static void on_text(void *userdata, HttpRequest *r)
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

UNUSED static void on_echo(void *userdata, HttpRequest *r)
{
    size_t len;
    const char *body = http_body(r, &len);

    (void)userdata;
    t.calls++;
    http_reply_json(r, 200, body, len);
}

UNUSED static void on_cached(void *userdata, HttpRequest *r)
{
    (void)userdata;
    t.calls++;
    http_reply_cached(r, t.body, strlen(t.body), t.version);
}

UNUSED static void on_gone(void *userdata)
{
    assert_ptr_equal(userdata, &t);
    t.gone++;
    t.kept = NULL;
}

UNUSED static void on_slow(void *userdata, HttpRequest *r)
{
    (void)userdata;
    t.calls++;
    http_suspend(r, on_gone, &t);
    if (http_query(r, "at-once"))
        http_reply_problem(r, 503, "Busy", "at once");
    else
        t.kept = r;
}

UNUSED static void on_mute(void *userdata, HttpRequest *r)
{
    (void)userdata;
    (void)r;
    t.calls++;
}

UNUSED static void on_upgraded(void *userdata, int fd, GateRole role, const char *query,
                               const void *extra, size_t extra_len)
{
    assert_ptr_equal(userdata, &t);
    t.upgraded_fd = fd;
    t.upgraded_role = role;
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

UNUSED static int listen_any(int family, uint16_t *ret_port)
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

UNUSED static void server_start(bool actions, uint32_t request_timeout_ms)
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

UNUSED static int setup(void **state)
{
    (void)state;
    server_start(false, 0);
    return 0;
}

UNUSED static int setup_actions(void **state)
{
    (void)state;
    server_start(true, 0);
    return 0;
}

UNUSED static int setup_hasty(void **state)
{
    (void)state;
    server_start(false, 100);
    return 0;
}

UNUSED static int teardown(void **state)
{
    (void)state;
    t.server = http_server_free(t.server);
    t.nest = nest_free(t.nest);
    t.upgraded_fd = close_fd(t.upgraded_fd);
    return 0;
}

/* One turn of the loop, as the manager does it. */
UNUSED static void turn(int client)
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

UNUSED static int client_on(int which)
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

UNUSED static void put(int fd, const void *data, size_t len)
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

UNUSED static size_t content_length(const char *head)
{
    const char *p = strcasestr(head, "\r\nContent-Length:");

    return p ? strtoul(p + 17, NULL, 10) : 0;
}

/* Is the first reply in the text whole? */
UNUSED static bool is_whole(const Reply *r, bool head_only)
{
    const char *end = strstr(r->text, "\r\n\r\n");

    return end && (head_only || r->len >= (size_t)(end + 4 - r->text) + content_length(r->text));
}

/* Reads one reply (or to the end, when the server closes). At most 20 s. */
UNUSED static Reply *get_reply(int fd, bool head_only)
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

UNUSED static Reply *exchange(const char *bytes, size_t len)
{
    int fd = client_on(0);

    put(fd, bytes, len);
    Reply *r = get_reply(fd, strncmp(bytes, "HEAD", 4) == 0);
    close(fd);
    return r;
}

UNUSED static Reply *ask(const char *text)
{
    return exchange(text, strlen(text));
}

UNUSED static bool is_closed_by_server(int fd)
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

UNUSED static void assert_problem(const Reply *r, int status)
{
    char member[32];

    assert_int_equal(r->status, status);
    assert_non_null(strstr(r->text, "application/problem+json"));
    snprintf(member, sizeof member, "\"status\":%d", status);
    assert_non_null(strstr(r->text, member));
    assert_non_null(strstr(r->text, "\"detail\":\""));
}

UNUSED static void assert_safe_headers(const Reply *r)
{
    assert_non_null(strstr(r->text, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(r->text, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(r->text, "Referrer-Policy: no-referrer\r\n"));
    assert_non_null(strstr(r->text, "Content-Security-Policy: default-src 'none'"));
    assert_null(strcasestr(r->text, "Access-Control"));
}
