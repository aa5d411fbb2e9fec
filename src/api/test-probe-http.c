/* Every outcome of a health look against servers that this test plays itself, in the same thread: a
 * scripted server is a listening socket on the nest whose connections get a fixed reply and an end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/probe-http.h"
#include "basic/macro.h"

typedef enum End {
    END_KEEP,  /* says no more and keeps the connection */
    END_CLOSE, /* FIN */
    END_RESET, /* RST */
    END_FLOOD, /* the reply again and again */
} End;

typedef struct Server {
    NestWatch listener;
    const char *reply;
    size_t reply_len;
    End end;
    unsigned accepted;
    unsigned bad_connections; /* the first so many are closed at once, whatever the script says */
    char request[2048];
    size_t request_len;
    NestWatch connection;
    size_t flooded;
    uint16_t port;
} Server;

typedef struct Result {
    unsigned calls;
    uint32_t handle;
    HttpFacts facts;
} Result;

static Nest *nest;
static HttpProber *prober;
static Result result;

static void on_result(void *userdata, uint32_t handle, const HttpFacts *facts)
{
    Result *r = userdata;

    r->calls++;
    r->handle = handle;
    r->facts = *facts;
}

static int set_up(void **state UNUSED)
{
    memset(&result, 0, sizeof result);
    return nest_new(&nest) < 0 || http_prober_new(nest, on_result, &result, &prober) < 0;
}

static int tear_down(void **state UNUSED)
{
    prober = http_prober_free(prober);
    nest = nest_free(nest);
    return 0;
}

/* ---- the scripted server ---- */

static void server_end(Server *s, int fd)
{
    struct linger hard = {.l_onoff = 1};

    nest_remove(nest, &s->connection);
    if (s->end == END_RESET)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

static void server_reply(Server *s, int fd)
{
    ssize_t n;

    do {
        n = send(fd, s->reply, s->reply_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        s->flooded += n > 0 ? (size_t)n : 0;
    } while (s->end == END_FLOOD && n > 0);
    if (s->end == END_FLOOD && n < 0 && errno == EAGAIN)
        nest_modify(nest, &s->connection, EPOLLOUT);
    else if (s->end != END_KEEP)
        server_end(s, fd);
}

static void on_connection(NestWatch *w, uint32_t events UNUSED)
{
    Server *s = container_of(w, Server, connection);
    int fd = w->fd;
    ssize_t n =
        recv(fd, s->request + s->request_len, sizeof s->request - 1 - s->request_len, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        s->end = END_CLOSE;
        server_end(s, fd);
        return;
    }
    s->request_len += n > 0 ? (size_t)n : 0;
    if (s->end != END_KEEP || s->request_len > 0)
        server_reply(s, fd);
}

static void on_accept(NestWatch *w, uint32_t events UNUSED)
{
    Server *s = container_of(w, Server, listener);
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);

    assert_true(fd >= 0);
    if (s->accepted++ < s->bad_connections) {
        shutdown(fd, SHUT_WR);
        char sink[4096];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 1000) > 0 && recv(fd, sink, sizeof sink, MSG_DONTWAIT) < 0)
            assert_int_equal(errno, ECONNRESET);
        close(fd);
        return;
    }
    s->request_len = 0;
    assert_int_equal(nest_add(nest, &s->connection, fd, EPOLLIN, on_connection), 0);
}

static void server_listen(Server *s, int fd, const struct sockaddr *a, socklen_t len)
{
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, a, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    s->connection = NEST_WATCH_INIT;
    assert_int_equal(nest_add(nest, &s->listener, fd, EPOLLIN, on_accept), 0);
}

static void server_start(Server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    server_listen(s, fd, (struct sockaddr *)&a, len);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
}

static void server_stop(Server *s)
{
    int fd = s->listener.fd, connection = s->connection.fd;

    nest_remove(nest, &s->listener);
    close(fd);
    if (connection >= 0) {
        nest_remove(nest, &s->connection);
        close(connection);
    }
}

/* ---- looking ---- */

static HttpDial dial_to(uint16_t port)
{
    HttpDial d = {.address_len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&d.address;

    *in = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return d;
}

static void run_until(unsigned calls)
{
    while (result.calls < calls) {
        uint64_t now = clock_now().mono_us, next = http_prober_next_us(prober);
        struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};
        int ms = next == UINT64_MAX ? 10000 : next <= now ? 0 : (int)((next - now) / 1000) + 1;
        assert_true(poll(&p, 1, ms) >= 0);
        nest_dispatch(nest);
        http_prober_tick(prober, clock_now());
    }
}

static HttpFacts look(const HttpLook *l)
{
    assert_int_equal(http_health_probe(prober, l, clock_now()), 0);
    assert_int_equal(result.calls, 0);
    run_until(1);
    assert_int_equal(http_prober_in_flight(prober), 0);
    assert_int_equal(result.handle, l->handle);
    result.calls = 0;
    return result.facts;
}

static HttpFacts look_at(uint16_t port, uint32_t timeout_ms)
{
    return look(&(HttpLook){.dial = dial_to(port),
                            .host = "127.0.0.1:80",
                            .target = "/health?deep=1",
                            .timeout_ms = timeout_ms,
                            .handle = 7});
}

static HttpFacts look_at_reply(const char *reply, End end, uint32_t timeout_ms)
{
    Server s = {.reply = reply, .reply_len = strlen(reply), .end = end};

    server_start(&s);
    HttpFacts f = look_at(s.port, timeout_ms);
    server_stop(&s);
    return f;
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

static void test_ok(void **state UNUSED)
{
    Server s = {.reply = OK_HEAD "ok", .reply_len = strlen(OK_HEAD "ok"), .end = END_KEEP};
    uint64_t before = clock_now().mono_us;

    server_start(&s);
    HttpFacts f = look_at(s.port, 5000);
    assert_int_equal(f.outcome, HTTP_OK);
    assert_int_equal(f.status, 200);
    assert_true(f.latency_us >= 0 && f.latency_us < 5000000);
    assert_true(f.started_us >= before && f.at_us >= f.started_us);
    assert_string_equal(s.request, "GET /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"
                                   "User-Agent: services_api\r\nAccept: */*\r\n"
                                   "Connection: close\r\n\r\n");
    server_stop(&s);
}

static void test_replies(void **state UNUSED)
{
    static const struct {
        const char *reply;
        End end;
        HttpOutcome outcome;
        int status;
    } rows[] = {
        {"HTTP/1.0 204 No Content\r\n\r\n", END_KEEP, HTTP_OK, 204},
        {"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n", END_KEEP, HTTP_OK, 301},
        {"HTTP/1.1 399\r\n\r\n", END_KEEP, HTTP_OK, 399},
        {"HTTP/1.1 404 Not Found\n\n", END_KEEP, HTTP_BAD_STATUS, 404},
        {"HTTP/1.1 503 Busy\r\n\r\n", END_CLOSE, HTTP_BAD_STATUS, 503},
        {"HTTP/1.1 101 Switching\r\n\r\n", END_KEEP, HTTP_BAD_STATUS, 101},
        {"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK_HEAD, END_KEEP,
         HTTP_OK, 200},
        {"HTTP/1.1 200 OK\r\nServer: x", END_CLOSE, HTTP_OK, 200},
        {"HTTP/1.1 200 OK", END_CLOSE, HTTP_EOF, 0},
        {"HTTP/1.1 100 Continue\r\n\r\n", END_CLOSE, HTTP_EOF, 0},
        {"HTTP/1.1 600 X\r\n\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"HTTP/1.1 099 X\r\n\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"HTTP/2.0 200 OK\r\n\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"HTTP/1.1  200 OK\r\n\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"HTTP/1.1 200OK\r\n\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"SSH-2.0-OpenSSH_9.2\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"\r\n", END_KEEP, HTTP_BAD_REPLY, 0},
        {"220 smtp ready\r\n", END_CLOSE, HTTP_BAD_REPLY, 0},
        {"", END_CLOSE, HTTP_EOF, 0},
        {"", END_RESET, HTTP_RESET, 0},
        {"", END_KEEP, HTTP_TIMEOUT, 0},
        {"HTTP/1.1 200 OK\r\nX: y\r\n", END_KEEP, HTTP_TIMEOUT, 0},
    };

    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        HttpFacts f = look_at_reply(rows[i].reply, rows[i].end,
                                    rows[i].outcome == HTTP_TIMEOUT ? 100 : 20000);
        assert_int_equal(f.outcome, rows[i].outcome);
        assert_int_equal(f.status, rows[i].status);
        assert_int_equal(f.latency_us >= 0, rows[i].status > 0);
    }
}

static void test_refused_later_and_once(void **state UNUSED)
{
    Server s = {.reply = ""};

    server_start(&s);
    server_stop(&s);
    assert_int_equal(look_at(s.port, 5000).outcome, HTTP_REFUSED);
}

static void test_full_accept_queue_is_a_timeout(void **state UNUSED)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fds[8], fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    for (size_t i = 0; i < ELEMENTS(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fds[i], (struct sockaddr *)&a, len);
    }
    HttpFacts f = look_at(ntohs(a.sin_port), 200);
    assert_int_equal(f.outcome, HTTP_TIMEOUT);
    assert_int_equal(f.latency_us, -1);
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        close(fds[i]);
    close(fd);
}

static void test_one_retry_before_the_first_byte(void **state UNUSED)
{
    Server s = {.reply = OK_HEAD, .reply_len = strlen(OK_HEAD), .bad_connections = 1};

    server_start(&s);
    assert_int_equal(look_at(s.port, 5000).outcome, HTTP_OK);
    assert_int_equal(s.accepted, 2);
    s.accepted = 0;
    s.bad_connections = 2;
    HttpOutcome outcome = look_at(s.port, 5000).outcome;
    assert_true(outcome == HTTP_EOF || outcome == HTTP_RESET);
    assert_int_equal(s.accepted, 2);
    server_stop(&s);
}

/* R42: none of these keeps us past the deadline or makes us read more than a head. */
static void test_endless_head(void **state UNUSED)
{
    static char line[4096];
    Server s = {.reply = line, .reply_len = sizeof line, .end = END_FLOOD};

    memcpy(line, "HTTP/1.1 200 OK\r\n", 17);
    memset(line + 17, 'a', sizeof line - 17);
    server_start(&s);
    assert_int_equal(look_at(s.port, 20000).outcome, HTTP_BAD_REPLY);
    server_stop(&s);
}

static void test_endless_interim_replies(void **state UNUSED)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    Server s = {.reply = interim, .reply_len = sizeof interim - 1, .end = END_FLOOD};

    server_start(&s);
    assert_int_equal(look_at(s.port, 20000).outcome, HTTP_BAD_REPLY);
    server_stop(&s);
}

static void test_endless_body_is_not_read(void **state UNUSED)
{
    static char body[65536] = OK_HEAD;
    Server s = {.reply = body, .reply_len = sizeof body, .end = END_FLOOD};

    server_start(&s);
    assert_int_equal(look_at(s.port, 20000).outcome, HTTP_OK);
    assert_true(s.flooded < (64U << 20));
    server_stop(&s);
}

static void test_byte_by_byte(void **state UNUSED)
{
    Server s = {.reply = "", .end = END_KEEP};
    HttpLook l = {.host = "h", .target = "/", .timeout_ms = 20000};

    server_start(&s);
    l.dial = dial_to(s.port);
    assert_int_equal(http_health_probe(prober, &l, clock_now()), 0);
    while (s.request_len == 0)
        nest_dispatch(nest);
    for (size_t i = 0; i < strlen(OK_HEAD); i++) {
        assert_int_equal(result.calls, 0);
        assert_int_equal(send(s.connection.fd, OK_HEAD + i, 1, MSG_NOSIGNAL), 1);
        nest_dispatch(nest);
    }
    run_until(1);
    assert_int_equal(result.facts.outcome, HTTP_OK);
    server_stop(&s);
}

/* A loop that was held up past the deadline finds the answer in the socket: that is no timeout. */
static void test_answer_waits_while_the_loop_stalls(void **state UNUSED)
{
    Server s = {.reply = "", .end = END_KEEP};
    HttpLook l = {.host = "h", .target = "/", .timeout_ms = 1000};
    Now now = clock_now();

    server_start(&s);
    l.dial = dial_to(s.port);
    assert_int_equal(http_health_probe(prober, &l, now), 0);
    while (s.request_len == 0)
        nest_dispatch(nest);
    assert_int_equal(send(s.connection.fd, OK_HEAD, strlen(OK_HEAD), MSG_NOSIGNAL),
                     strlen(OK_HEAD));
    now.mono_us += 600 * USEC_PER_SEC;
    http_prober_tick(prober, now);
    assert_int_equal(result.calls, 1);
    assert_int_equal(result.facts.outcome, HTTP_OK);
    server_stop(&s);
}

static void test_maximum_and_cancel(void **state UNUSED)
{
    Server s = {.reply = "", .end = END_KEEP};
    HttpLook l = {.host = "h", .target = "/", .timeout_ms = 60000};

    server_start(&s);
    l.dial = dial_to(s.port);
    http_prober_set_max(prober, 3);
    for (l.handle = 1; l.handle <= 3; l.handle++)
        assert_int_equal(http_health_probe(prober, &l, clock_now()), 0);
    assert_int_equal(http_health_probe(prober, &l, clock_now()), -EBUSY);
    http_prober_cancel(prober, 2);
    http_prober_cancel(prober, 99);
    assert_int_equal(http_prober_in_flight(prober), 2);
    assert_int_equal(http_health_probe(prober, &l, clock_now()), 0);
    Now late = clock_now();
    late.mono_us += 120 * USEC_PER_SEC;
    http_prober_tick(prober, late);
    assert_int_equal(result.calls, 3);
    assert_int_equal(result.facts.outcome, HTTP_TIMEOUT);
    assert_int_equal(http_prober_next_us(prober), UINT64_MAX);
    assert_int_equal(http_health_probe(prober, &l, clock_now()), 0); /* still out at tear_down */
    server_stop(&s);
}

static void test_hostile_words_are_refused(void **state UNUSED)
{
    static const char *const targets[] = {"", "health", "/a b", "/a\r\nX: y", "/\x80", "/\x7F"};
    static const char *const hosts[] = {"", "a b", "a\r\nX: y"};
    static const char *const urls[] = {"",
                                       "ftp://127.0.0.1/",
                                       "http://",
                                       "http://u@127.0.0.1/",
                                       "http://127.0.0.1:0/",
                                       "http://[::1",
                                       "file:///etc/passwd",
                                       "https://u:p@h/"};

    for (size_t i = 0; i < ELEMENTS(targets); i++)
        assert_int_equal(http_health_probe(prober,
                                           &(HttpLook){.dial = dial_to(1),
                                                       .host = "h",
                                                       .target = targets[i],
                                                       .timeout_ms = 1000},
                                           clock_now()),
                         -EINVAL);
    for (size_t i = 0; i < ELEMENTS(hosts); i++)
        assert_int_equal(http_health_probe(prober,
                                           &(HttpLook){.dial = dial_to(1),
                                                       .host = hosts[i],
                                                       .target = "/",
                                                       .timeout_ms = 1000},
                                           clock_now()),
                         -EINVAL);
    for (size_t i = 0; i < ELEMENTS(urls); i++)
        assert_int_equal(
            http_health_probe(prober, &(HttpLook){.url = urls[i], .timeout_ms = 1000}, clock_now()),
            -EINVAL);
    assert_int_equal(http_prober_in_flight(prober), 0);
}

/* ---- SOCKS ---- */

static HttpFacts look_by_socks(const char *reply, size_t len, End end, char *request, size_t size)
{
    Server s = {.reply = reply, .reply_len = len, .end = end};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    HttpLook l = {.dial = {.socks = true, .preamble = "\5\1\0SOCKS", .preamble_len = 8},
                  .host = "127.0.0.1:80",
                  .target = "/",
                  .timeout_ms = end == END_KEEP ? 200 : 20000};

    snprintf(a.sun_path, sizeof a.sun_path, "/tmp/test-probe-http.%d", getpid());
    unlink(a.sun_path);
    server_listen(&s, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&a,
                  sizeof a);
    memcpy(&l.dial.address, &a, sizeof a);
    l.dial.address_len = sizeof a;
    HttpFacts f = look(&l);
    server_stop(&s);
    unlink(a.sun_path);
    if (request)
        snprintf(request, size, "%.*s", (int)s.request_len - 8, s.request + 8);
    return f;
}

#define SOCKS_OK "\5\0\5\0\0\1\0\0\0\0\0\0"

static void test_socks(void **state UNUSED)
{
    static const char good[] = SOCKS_OK OK_HEAD;
    static const char name[] = "\5\0\5\0\0\3\4abcd\0\0" OK_HEAD;
    char request[512];
    HttpFacts f = look_by_socks(good, sizeof good - 1, END_CLOSE, request, sizeof request);

    assert_int_equal(f.outcome, HTTP_OK);
    assert_ptr_equal(strstr(request, "GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"), request);
    assert_int_equal(look_by_socks(name, sizeof name - 1, END_CLOSE, NULL, 0).outcome, HTTP_OK);
}

static void test_socks_failures(void **state UNUSED)
{
    static const struct {
        const char *reply;
        size_t len;
        End end;
        HttpOutcome outcome;
    } rows[] = {
        {"\5\0", 2, END_CLOSE, HTTP_REFUSED}, /* OpenSSH: nobody listens there */
        {"", 0, END_CLOSE, HTTP_ERROR},       /* the tunnel itself is going down */
        {"\5\0\5\5\0\1\0\0\0\0\0\0", 12, END_CLOSE, HTTP_REFUSED},
        {"\5\0\5\4\0\1\0\0\0\0\0\0", 12, END_CLOSE, HTTP_ERROR},
        {"\5\0\5\6\0\1\0\0\0\0\0\0", 12, END_CLOSE, HTTP_TIMEOUT},
        {"\5\xFF", 2, END_CLOSE, HTTP_ERROR},
        {"HTTP/1.1 200 OK\r\n\r\n", 19, END_CLOSE, HTTP_ERROR},
        {"\5\0\5\0\0\7\0\0\0\0\0\0", 12, END_CLOSE, HTTP_ERROR},
        {SOCKS_OK, 12, END_CLOSE, HTTP_EOF},
        {SOCKS_OK "SSH-2.0", 19, END_CLOSE, HTTP_BAD_REPLY},
        {"\5\0", 2, END_KEEP, HTTP_TIMEOUT},
        {SOCKS_OK, 12, END_KEEP, HTTP_TIMEOUT},
    };

    for (size_t i = 0; i < ELEMENTS(rows); i++)
        assert_int_equal(look_by_socks(rows[i].reply, rows[i].len, rows[i].end, NULL, 0).outcome,
                         rows[i].outcome);
}

static void test_socks_socket_is_gone(void **state UNUSED)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/tmp/no-such-socket-at-all"};
    HttpLook l = {.dial = {.address_len = sizeof a, .socks = true, .preamble_len = 3},
                  .host = "h",
                  .target = "/",
                  .timeout_ms = 1000};

    memcpy(&l.dial.address, &a, sizeof a);
    assert_int_equal(look(&l).outcome, HTTP_ERROR);
}

/* ---- URLs and names ---- */

static void test_url_dial(void **state UNUSED)
{
    static const struct {
        const char *url;
        int r;
        uint16_t port;
        const char *host, *target;
    } rows[] = {
        {"http://127.0.0.1", 0, 80, "127.0.0.1", "/"},
        {"HTTP://10.1.2.3:8080/a?b=c#d", 0, 8080, "10.1.2.3:8080", "/a?b=c"},
        {"http://[::1]:81?q", 0, 81, "[::1]:81", "/?q"},
        {"http://[::1]", 0, 80, "[::1]", "/"},
        {"https://127.0.0.1/", -EDESTADDRREQ, 0, "", ""},
        {"http://localhost/", -EDESTADDRREQ, 0, "", ""},
        {"http://1.2.3/", -EDESTADDRREQ, 0, "", ""},
        {"http://127.0.0.1:65536/", -EINVAL, 0, "", ""},
        {"http://127.0.0.1:/", -EINVAL, 0, "", ""},
        {"http://127.0.0.1:8x/", -EINVAL, 0, "", ""},
        {"http://[127.0.0.1]/", -EINVAL, 0, "", ""},
        {"http://[::1]x/", -EINVAL, 0, "", ""},
        {"http:///a", -EINVAL, 0, "", ""},
        {"http://a@127.0.0.1/", -EINVAL, 0, "", ""},
        {"http://127.0.0.1/0123456789012345678901234567890123456789", -ENAMETOOLONG, 0, "", ""},
        {"gopher://127.0.0.1/", -EINVAL, 0, "", ""},
    };

    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        HttpDial d = {0};
        char host[32] = "", target[32] = "";
        assert_int_equal(http_url_dial(rows[i].url, &d, host, sizeof host, target, sizeof target),
                         rows[i].r);
        assert_string_equal(host, rows[i].host);
        assert_string_equal(target, rows[i].target);
        assert_int_equal(ntohs(((struct sockaddr_in *)&d.address)->sin_port), rows[i].port);
    }
}

/* "good.test" is this machine, "none.test" does not exist, "slow.test" hangs for a second. */
static void fake_lookup(const char *name, ResolveAnswer *ret)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&ret->addresses[0];

    if (strcmp(name, "slow.test") == 0)
        usleep(1000000);
    if (strcmp(name, "good.test") != 0) {
        ret->error = -ENOENT;
        return;
    }
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ret->n = 1;
}

static HttpFacts look_at_url(const char *format, uint16_t port, uint32_t timeout_ms)
{
    char url[128];
    const char *mark = strstr(format, "%u");

    snprintf(url, sizeof url, "%.*s%u%s", (int)(mark - format), format, port, mark + 2);
    return look(&(HttpLook){.url = url, .timeout_ms = timeout_ms, .handle = 3});
}

static void test_names(void **state UNUSED)
{
    Server s = {.reply = OK_HEAD "ok", .reply_len = strlen(OK_HEAD "ok"), .end = END_KEEP};

    http_prober_set_lookup(prober, fake_lookup);
    server_start(&s);
    assert_int_equal(look_at_url("http://good.test:%u/x", s.port, 5000).outcome, HTTP_OK);
    assert_non_null(strstr(s.request, "GET /x HTTP/1.1\r\nHost: good.test:"));
    assert_non_null(strstr(s.request, "Connection: close\r\n"));
    assert_int_equal(look_at_url("http://good.test:%u/", s.port, 5000).status, 200);
    assert_int_equal(look_at_url("http://none.test:%u/", s.port, 5000).outcome, HTTP_UNRESOLVED);
    assert_int_equal(look_at_url("http://slow.test:%u/", s.port, 100).outcome, HTTP_UNRESOLVED);
    assert_int_equal(look_at_url("http://127.0.0.1:%u/", s.port, 5000).outcome, HTTP_OK);
    server_stop(&s);
    assert_int_equal(look_at_url("http://good.test:%u/", s.port, 5000).outcome, HTTP_REFUSED);
}

static void test_curl_outcomes(void **state UNUSED)
{
    static char flood[65536] = OK_HEAD;
    static char head[4096] = "HTTP/1.1 200 OK\r\nX: ";
    const struct {
        const char *reply;
        size_t len;
        End end;
        const char *url;
        HttpOutcome outcome;
        int status;
    } rows[] = {
        {"HTTP/1.1 302 x\r\nLocation: http://none.test/\r\n\r\n", 0, END_KEEP,
         "http://good.test:%u/", HTTP_OK, 302},
        {"HTTP/1.1 500 x\r\n\r\n", 0, END_CLOSE, "http://good.test:%u/", HTTP_BAD_STATUS, 500},
        {"HTTP/1.1 100 c\r\n\r\n" OK_HEAD, 0, END_KEEP, "http://good.test:%u/", HTTP_OK, 200},
        {flood, sizeof flood, END_FLOOD, "http://good.test:%u/", HTTP_OK, 200},
        {head, sizeof head, END_FLOOD, "http://good.test:%u/", HTTP_BAD_REPLY, 0},
        {"SSH-2.0-x\r\n", 0, END_CLOSE, "http://good.test:%u/", HTTP_BAD_REPLY, 0},
        {"", 0, END_CLOSE, "http://good.test:%u/", HTTP_EOF, 0},
        {"", 0, END_RESET, "http://good.test:%u/", HTTP_RESET, 0},
        {"", 0, END_KEEP, "http://good.test:%u/", HTTP_TIMEOUT, 0},
        {"no tls here at all", 0, END_CLOSE, "https://good.test:%u/", HTTP_TLS, 0},
        {"", 0, END_KEEP, "https://127.0.0.1:%u/", HTTP_TIMEOUT, 0},
    };

    memset(head + 20, 'a', sizeof head - 20);
    http_prober_set_lookup(prober, fake_lookup);
    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        Server s = {.reply = rows[i].reply,
                    .reply_len = rows[i].len ? rows[i].len : strlen(rows[i].reply),
                    .end = rows[i].end};
        server_start(&s);
        HttpFacts f =
            look_at_url(rows[i].url, s.port, rows[i].outcome == HTTP_TIMEOUT ? 300 : 20000);
        server_stop(&s);
        assert_int_equal(f.outcome, rows[i].outcome);
        assert_int_equal(f.status, rows[i].status);
    }
}

static void test_free_with_everything_out(void **state UNUSED)
{
    Server s = {.reply = "", .end = END_KEEP};
    char url[64];

    http_prober_set_lookup(prober, fake_lookup);
    server_start(&s);
    HttpLook l = {.dial = dial_to(s.port), .host = "h", .target = "/", .timeout_ms = 60000};
    assert_int_equal(http_health_probe(prober, &l, clock_now()), 0);
    l.url = "http://slow.test/";
    assert_int_equal(http_health_probe(prober, &l, clock_now()), 0);
    snprintf(url, sizeof url, "http://localhost:%u/", s.port);
    l.url = url;
    assert_int_equal(http_health_probe(prober, &l, clock_now()), 0);
    http_prober_tick(prober, clock_now());
    nest_dispatch(nest);
    prober = http_prober_free(prober);
    server_stop(&s);
    assert_int_equal(result.calls, 0);
}

/* ---- the parser alone ---- */

static void test_head_in_any_two_pieces(void **state UNUSED)
{
    static const char head[] = "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\nA: b\r\n\r\n";

    for (size_t len = 0; len < sizeof head - 1; len++) {
        int status = 0;
        assert_int_equal(http_head_parse(head, len, &status), 0);
        assert_true(status == 0 || status == 204);
    }
    int status = 0;
    assert_int_equal(http_head_parse(head, sizeof head - 1, &status), 1);
    assert_int_equal(status, 204);
}

static void test_head_of_the_maximum(void **state UNUSED)
{
    static char head[HTTP_HEAD_MAX + 1];
    int status = 0;

    memset(head, 'a', sizeof head);
    memcpy(head, "HTTP/1.1 200 OK\r\n", 17);
    assert_int_equal(http_head_parse(head, HTTP_HEAD_MAX, &status), 0);
    assert_int_equal(http_head_parse(head, sizeof head, &status), -EBADMSG);
    memcpy(head + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(http_head_parse(head, HTTP_HEAD_MAX, &status), 1);
    assert_int_equal(http_head_parse(head, sizeof head, &status), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_ok),
        CASE(test_replies),
        CASE(test_refused_later_and_once),
        CASE(test_full_accept_queue_is_a_timeout),
        CASE(test_one_retry_before_the_first_byte),
        CASE(test_endless_head),
        CASE(test_endless_interim_replies),
        CASE(test_endless_body_is_not_read),
        CASE(test_byte_by_byte),
        CASE(test_answer_waits_while_the_loop_stalls),
        CASE(test_maximum_and_cancel),
        CASE(test_hostile_words_are_refused),
        CASE(test_socks),
        CASE(test_socks_failures),
        CASE(test_socks_socket_is_gone),
        CASE(test_url_dial),
        CASE(test_names),
        CASE(test_curl_outcomes),
        CASE(test_free_with_everything_out),
        CASE(test_head_in_any_two_pieces),
        CASE(test_head_of_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
