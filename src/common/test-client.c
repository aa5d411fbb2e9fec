/* The client against servers that the test plays itself: for requests a thread with one canned
 * answer; for the stream the test's own thread, since the stream brings its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "basic/macro.h"
#include "common/client.h"
#include "common/websocket.h"

#define PATIENCE_MS 20000 /* for what must happen; only a failing test waits so long */

/* a listening socket and one connection of it */

static int listen_on_loopback(char url[static 64])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(url, 64, "http://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static int accept_one(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, PATIENCE_MS) == 1 ? accept4(fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static void send_all(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the client has seen enough */
        at += (size_t)n;
    }
}

/* Reads one request (head, and a body of its Content-Length). Empty when none came. */
static void read_request(int fd, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    while (len + 1 < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const char *end = strstr(ret, "\r\n\r\n"), *length = strcasestr(ret, "\nContent-Length:");
        size_t body = end && length ? strtoul(length + 16, NULL, 10) : 0;
        if (end && len >= (size_t)(end + 4 - ret) + body)
            return;
        ssize_t n = poll(&p, 1, PATIENCE_MS) == 1 ? recv(fd, ret + len, size - 1 - len, 0) : 0;
        if (n <= 0)
            return;
        len += (size_t)n;
        ret[len] = '\0';
    }
}

/* requests */

typedef struct Canned {
    int fd;
    const char *answer; /* NULL: none, the connection stays open until the client leaves */
    size_t len;
    size_t repeat; /* the answer's tail: so many times 64 KiB of spaces */
    char request[8192];
    char url[64];
    pthread_t thread;
} Canned;

static void *canned_main(void *userdata)
{
    Canned *c = userdata;
    static const char spaces[65536];
    char byte;

    CLEANUP_CLOSE int fd = accept_one(c->fd);
    if (fd < 0)
        return NULL;
    read_request(fd, c->request, sizeof c->request);
    if (c->answer)
        send_all(fd, c->answer, c->len);
    else if (recv(fd, &byte, 1, 0) > 0)
        return NULL;
    for (size_t i = 0; i < c->repeat; i++)
        send_all(fd, spaces, sizeof spaces);
    return NULL;
}

/* fd: listens, and is closed by canned_stop(). c->url is the caller's. */
static void canned_serve(Canned *c, int fd, const char *answer, size_t len, size_t repeat)
{
    c->fd = fd;
    c->answer = answer;
    c->len = len;
    c->repeat = repeat;
    c->request[0] = '\0';
    assert_int_equal(pthread_create(&c->thread, NULL, canned_main, c), 0);
}

static void canned_start(Canned *c, const char *answer, size_t len, size_t repeat)
{
    canned_serve(c, listen_on_loopback(c->url), answer, len, repeat);
}

static void canned_stop(Canned *c)
{
    pthread_join(c->thread, NULL);
    close(c->fd);
}

static int ask(Canned *c, const char *token, const char *body, ClientReply *reply, char error[256])
{
    int r = client_request(c->url, token, "/api/x?y=1", body, PATIENCE_MS, reply, error, 256);

    canned_stop(c);
    return r;
}

static void test_get(UNUSED void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]";
    ClientReply reply = {0};
    char error[256] = "?";
    Canned c;

    canned_start(&c, answer, sizeof answer - 1, 0);
    assert_int_equal(ask(&c, NULL, NULL, &reply, error), 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, 5);
    assert_string_equal(reply.body, "[1,2]");
    assert_string_equal(error, "");
    assert_non_null(strstr(c.request, "GET /api/x?y=1 HTTP/1.1\r\n"));
    assert_null(strstr(c.request, "Authorization"));
    assert_null(strstr(c.request, "Content-Type"));
    client_reply_done(&reply);
    assert_null(reply.body);
}

static void test_post(UNUSED void **state)
{
    static const char answer[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    ClientReply reply = {0};
    char error[256];
    Canned c;

    canned_start(&c, answer, sizeof answer - 1, 0);
    assert_int_equal(ask(&c, "s3cret", "{\"action\":\"start\"}", &reply, error), 0);
    assert_int_equal(reply.status, 403);
    assert_string_equal(reply.body, "");
    assert_non_null(strstr(c.request, "POST /api/x"));
    assert_non_null(strstr(c.request, "Authorization: Bearer s3cret\r\n"));
    assert_non_null(strstr(c.request, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(c.request, "\r\n\r\n{\"action\":\"start\"}"));
    client_reply_done(&reply);
}

/* A redirect is an answer like any other: it is not followed, least of all with the token. */
static void test_redirect(UNUSED void **state)
{
    static const char answer[] =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    ClientReply reply = {0};
    char error[256];
    Canned c;

    canned_start(&c, answer, sizeof answer - 1, 0);
    assert_int_equal(ask(&c, "s3cret", NULL, &reply, error), 0);
    assert_int_equal(reply.status, 302);
    client_reply_done(&reply);
}

static void test_token_file(UNUSED void **state)
{
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    static const struct {
        const char *text;
        bool sent;
    } table[] = {
        {"abc123\n", true}, {"abc123", true}, {"", false}, {"a b\n", false}, {"\x01\n", false}};
    char dir[] = "/tmp/test-client-XXXXXX", path[128], error[256];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/services_api", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/services_api/token", dir);
    setenv("XDG_CONFIG_HOME", dir, 1);
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        ClientReply reply = {0};
        Canned c;
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        fputs(table[i].text, f);
        fclose(f);
        canned_start(&c, answer, sizeof answer - 1, 0);
        assert_int_equal(ask(&c, NULL, NULL, &reply, error), 0);
        assert_int_equal(!!strstr(c.request, "Authorization: Bearer abc123\r\n"), table[i].sent);
        assert_int_equal(!!strstr(c.request, "Authorization"), table[i].sent);
        client_reply_done(&reply);
    }
    unlink(path);
    snprintf(path, sizeof path, "%s/services_api", dir);
    rmdir(path);
    rmdir(dir);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
}

static void check_failure(const char *answer, size_t len, size_t repeat, int expected)
{
    ClientReply reply = {.status = 7};
    char error[256] = "";
    Canned c;

    canned_start(&c, answer, len, repeat);
    assert_int_equal(ask(&c, NULL, NULL, &reply, error), expected);
    assert_int_equal(reply.status, 7); /* untouched */
    assert_null(reply.body);
    assert_non_null(strstr(error, c.url));
}

static void test_garbage(UNUSED void **state)
{
    static const char cut[] = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[";
    static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";

    check_failure("SSH-2.0-OpenSSH\r\n", 17, 0, -EPROTO);
    check_failure("\0\1\2\3", 4, 0, -EPROTO);
    check_failure("", 0, 0, -EPROTO);
    check_failure(cut, sizeof cut - 1, 0, -EPROTO);
    check_failure(chunked, sizeof chunked - 1, 0, -EPROTO);
}

static void test_huge(UNUSED void **state)
{
    static const char announced[] = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[";
    static const char endless[] = "HTTP/1.1 200 OK\r\n\r\n";
    static const char head[] = "HTTP/1.1 200 OK\r\nX: ";

    check_failure(announced, sizeof announced - 1, 0, -EFBIG);
    check_failure(endless, sizeof endless - 1, 600, -EFBIG);
    check_failure(head, sizeof head - 1, 100, -EPROTO);
}

static void test_no_answer(UNUSED void **state)
{
    ClientReply reply = {0};
    char error[256] = "";
    Canned c;

    canned_start(&c, NULL, 0, 0);
    assert_int_equal(client_request(c.url, NULL, "/", NULL, 50, &reply, error, sizeof error),
                     -ETIMEDOUT);
    assert_non_null(strstr(error, "in time"));
    canned_stop(&c);
}

static void test_nobody_listens(UNUSED void **state)
{
    ClientReply reply = {0};
    char url[64], error[256] = "";

    close(listen_on_loopback(url));
    assert_int_equal(client_request(url, NULL, "/", NULL, 5000, &reply, error, sizeof error),
                     -ECONNREFUSED);
    assert_non_null(strstr(error, "Nobody listens"));
}

static void test_bad_arguments(UNUSED void **state)
{
    static const char *const urls[] = {"",
                                       "127.0.0.1:8485",
                                       "ftp://a/",
                                       "http://u:p@a/",
                                       "http://a/?x",
                                       "file:///etc/passwd",
                                       "http://a b"};
    ClientReply reply = {0};
    char error[256];

    for (size_t i = 0; i < ELEMENTS(urls); i++) {
        error[0] = '\0';
        assert_int_equal(client_request(urls[i], NULL, "/", NULL, 100, &reply, error, 256),
                         -EINVAL);
        assert_string_not_equal(error, "");
    }
    assert_int_equal(client_request(CLIENT_URL_DEFAULT, NULL, "x", NULL, 100, &reply, error, 256),
                     -EINVAL);
    assert_int_equal(
        client_request(CLIENT_URL_DEFAULT, "a\r\nX: y", "/", NULL, 100, &reply, error, 256),
        -EINVAL);
}

/* Through a socket file the Host is still that of the loopback address, and the token that lies
 * here stays here: it is another PC that answers. */
static void test_unix_socket(UNUSED void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    ClientReply reply = {0};
    Canned c;
    char folder[] = "/tmp/client-test.XXXXXX", config[128], token[160], error[256];

    assert_non_null(mkdtemp(folder));
    snprintf(config, sizeof config, "%s/services_api", folder);
    snprintf(token, sizeof token, "%s/token", config);
    assert_int_equal(mkdir(config, 0700), 0);
    FILE *f = fopen(token, "w");
    assert_non_null(f);
    fputs("secret-of-this-machine\n", f);
    fclose(f);
    assert_int_equal(setenv("XDG_CONFIG_HOME", folder, 1), 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s/api", folder);
    snprintf(c.url, sizeof c.url, CLIENT_SOCKET_PREFIX "%s/api", folder);
    assert_int_equal(client_request(c.url, NULL, "/", NULL, 100, &reply, error, 256), -ENOTCONN);
    assert_string_equal(error, "The tunnel is not open.");

    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    canned_serve(&c, fd, ok, sizeof ok - 1, 0);
    assert_int_equal(ask(&c, NULL, NULL, &reply, error), 0);
    assert_string_equal(reply.body, "[]");
    assert_non_null(strstr(c.request, "\r\nHost: 127.0.0.1:8485\r\n"));
    assert_null(strstr(c.request, "secret"));
    client_reply_done(&reply);
    assert_int_equal(client_request("unix:api", NULL, "/", NULL, 100, &reply, error, 256), -EINVAL);
    assert_string_not_equal(error, "");
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    unlink(a.sun_path);
    unlink(token);
    rmdir(config);
    assert_int_equal(rmdir(folder), 0);
}

/* the stream */

typedef struct Watch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char events[64][128];
    size_t n, taken;
    int fd;   /* listens */
    int peer; /* the connection of now */
    char url[64];
    char request[8192];
    ClientStream *stream;
} Watch;

static void watch_add(Watch *w, const char *format, ...) PRINTF(2, 3);

static void watch_add(Watch *w, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    pthread_mutex_lock(&w->lock);
    if (w->n < ELEMENTS(w->events)) {
        vsnprintf(w->events[w->n], sizeof w->events[0], format, ap);
        w->n++;
    }
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    va_end(ap);
}

static void on_state(void *userdata, ClientState state, const char *sentence)
{
    static const char *const names[] = {"connecting", "live", "lost"};

    watch_add(userdata, "%s%s%s", names[state], sentence[0] ? ": " : "", sentence);
}

static void on_message(void *userdata, const char *type, const Json *message)
{
    watch_add(userdata, "%s %d", type, (int)json_as_int(json_get(message, "seq"), -1));
}

/* The next event begins with this. */
static void expect(Watch *w, const char *expected)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&w->lock);
    while (w->taken == w->n && r == 0)
        r = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    const char *got = w->taken < w->n ? w->events[w->taken++] : "(nothing)";
    pthread_mutex_unlock(&w->lock);
    if (strncmp(got, expected, strlen(expected)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", expected, got);
}

static void watch_start(Watch *w, const char *token, uint32_t silence_ms)
{
    const ClientStreamOps ops = {on_state, on_message, silence_ms};

    *w = (Watch){.peer = -1};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->fd = listen_on_loopback(w->url);
    assert_int_equal(client_stream_new(w->url, token, &ops, w, &w->stream), 0);
    expect(w, "connecting");
}

static void watch_stop(Watch *w)
{
    w->stream = client_stream_free(w->stream);
    assert_null(w->stream);
    for (; w->taken < w->n; w->taken++) /* nothing unexpected but further attempts that failed */
        assert_memory_equal(w->events[w->taken], "lost: ", 6);
    w->peer = close_fd(w->peer);
    w->fd = close_fd(w->fd);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

/* Takes the next connection and its request without answering. */
static void meet(Watch *w)
{
    w->peer = close_fd(w->peer);
    w->peer = accept_one(w->fd);
    assert_true(w->peer >= 0);
    read_request(w->peer, w->request, sizeof w->request);
}

/* Writes the answer to the upgrade, with `extra` header lines. */
static void answer_upgrade(Watch *w, Buffer *out, const char *extra)
{
    char key[25] = "", accept[29];
    const char *line = strstr(w->request, "Sec-WebSocket-Key: ");

    assert_non_null(line);
    memcpy(key, line + 19, 24);
    assert_int_equal(ws_accept_key(key, accept), 0);
    buffer_printf(out,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                  accept, extra);
}

static void say(Watch *w, const char *text)
{
    Buffer frame = BUFFER_INIT(1 << 20);

    ws_frame(&frame, false, WS_TEXT, text, strlen(text));
    send_all(w->peer, frame.data, frame.len);
    buffer_done(&frame);
}

static void say_seq(Watch *w, const char *type, int seq)
{
    char text[128];

    snprintf(text, sizeof text, "{\"type\":\"%s\",\"seq\":%d,\"ts\":1}", type, seq);
    say(w, text);
}

static void greet(Watch *w, const char *stream, int seq)
{
    Buffer out = BUFFER_INIT(4096);
    char text[128];

    answer_upgrade(w, &out, "");
    snprintf(text, sizeof text, "{\"type\":\"hello\",\"protocol\":1,\"stream\":\"%s\",\"seq\":%d}",
             stream, seq);
    ws_frame(&out, false, WS_TEXT, text, strlen(text)); /* in one piece with the head */
    send_all(w->peer, out.data, out.len);
    buffer_done(&out);
    expect(w, "hello");
}

/* To the point where the client is live and has seen seq. */
static void bring_live(Watch *w, const char *stream, int seq)
{
    meet(w);
    greet(w, stream, seq);
    say_seq(w, "snapshot", seq);
    expect(w, "snapshot");
    expect(w, "live");
}

static void test_snapshot_and_deltas(UNUSED void **state)
{
    Watch w;

    watch_start(&w, "s3cret", 0);
    bring_live(&w, "aaaa", 5);
    assert_non_null(strstr(w.request, "GET /api/ws/services HTTP/1.1\r\n"));
    assert_non_null(strstr(w.request, "Authorization: Bearer s3cret\r\n"));
    assert_non_null(strstr(w.request, "Host: 127.0.0.1:"));
    say_seq(&w, "delta", 6);
    say_seq(&w, "of-tomorrow", 99); /* ignored */
    say_seq(&w, "delta", 7);
    expect(&w, "delta 6");
    expect(&w, "delta 7");
    say_seq(&w, "snapshot", 20);
    say_seq(&w, "delta", 21);
    expect(&w, "snapshot 20");
    expect(&w, "delta 21");
    watch_stop(&w);
}

static void test_split_anywhere(UNUSED void **state)
{
    Watch w;
    Buffer out = BUFFER_INIT(4096);
    static const char hello[] = "{\"type\":\"hello\",\"protocol\":1,\"stream\":\"a\",\"seq\":0}";
    static const char snapshot[] = "{\"type\":\"snapshot\",\"seq\":0}";

    watch_start(&w, NULL, 0);
    meet(&w);
    answer_upgrade(&w, &out, "X-More: 1\r\n");
    ws_frame(&out, false, WS_TEXT, hello, sizeof hello - 1);
    ws_frame(&out, false, WS_TEXT, snapshot, sizeof snapshot - 1);
    for (size_t i = 0; i < out.len; i++)
        send_all(w.peer, out.data + i, 1);
    expect(&w, "hello 0");
    expect(&w, "snapshot 0");
    expect(&w, "live");
    buffer_done(&out);
    watch_stop(&w);
}

static void test_ping_is_answered(UNUSED void **state)
{
    Watch w;
    Buffer ping = BUFFER_INIT(100);
    uint8_t pong[9];

    watch_start(&w, NULL, 0);
    bring_live(&w, "a", 0);
    ws_frame(&ping, false, WS_PING, "abc", 3);
    send_all(w.peer, ping.data, ping.len);
    assert_int_equal(recv(w.peer, pong, sizeof pong, MSG_WAITALL), sizeof pong);
    assert_int_equal(pong[0], 0x8A);
    assert_int_equal(pong[1], 0x83); /* masked, 3 bytes */
    buffer_done(&ping);
    watch_stop(&w);
}

static void test_resume(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    say_seq(&w, "delta", 6);
    expect(&w, "delta 6");
    meet(&w); /* closes the old connection: the client comes again */
    expect(&w, "lost: ");
    assert_non_null(strstr(w.request, "GET /api/ws/services?stream=aaaa&since=6 HTTP/1.1\r\n"));
    greet(&w, "aaaa", 8);
    expect(&w, "live"); /* the same life of the daemon: the picture still holds */
    say_seq(&w, "delta", 7);
    say_seq(&w, "delta", 8);
    expect(&w, "delta 7");
    expect(&w, "delta 8");
    watch_stop(&w);
}

/* The daemon was restarted: it has another stream name, so only a snapshot makes the picture whole.
 */
static void test_other_life(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    meet(&w);
    expect(&w, "lost: ");
    greet(&w, "bbbb", 5);
    say_seq(&w, "snapshot", 5);
    expect(&w, "snapshot 5");
    expect(&w, "live");
    watch_stop(&w);
}

static void test_delta_without_picture(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    meet(&w);
    expect(&w, "lost: ");
    greet(&w, "bbbb", 5);
    say_seq(&w, "delta", 6); /* would fit by its number, but belongs to another life */
    expect(&w, "lost: The stream had a gap.");
    watch_stop(&w);
}

static void test_gap_is_healed(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    say_seq(&w, "delta", 7); /* never handed over */
    say_seq(&w, "delta", 8);
    expect(&w, "connecting"); /* at once, and without a word of loss */
    bring_live(&w, "aaaa", 8);
    assert_non_null(strstr(w.request, "GET /api/ws/services HTTP/1.1\r\n"));
    say_seq(&w, "delta", 8); /* a repetition is a gap too; the second in a row is a loss */
    expect(&w, "lost: The stream had a gap.");
    bring_live(&w, "aaaa", 9);
    watch_stop(&w);
}

static void check_lost(const char *text, const char *sentence)
{
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    say(&w, text);
    expect(&w, sentence);
    watch_stop(&w);
}

static void test_bad_messages(UNUSED void **state)
{
    check_lost("not json", "lost: The daemon sent a message that makes no sense.");
    check_lost("[]", "lost: The daemon sent a message");
    check_lost("{\"type\":\"delta\"}", "lost: The daemon sent a message");
    check_lost("{\"type\":7,\"seq\":6}", "lost: The daemon sent a message");
    check_lost("{\"type\":\"delta\",\"seq\":6.5}", "lost: The daemon sent a message");
    check_lost("{\"type\":\"hello\",\"protocol\":1,\"stream\":\"a\",\"seq\":5}",
               "lost: The daemon's greeting makes no sense.");
    check_lost("{\"type\":\"hello\",\"protocol\":2,\"stream\":\"a\",\"seq\":5}",
               "lost: The daemon speaks protocol 2, this program 1");
    check_lost("\xFF", "lost: The daemon broke the WebSocket protocol.");
}

static void test_bad_greetings(UNUSED void **state)
{
    static const char *const bad[] = {
        "{\"type\":\"snapshot\",\"seq\":5}",
        "{\"type\":\"hello\",\"protocol\":1,\"seq\":5}",
        "{\"type\":\"hello\",\"protocol\":1,\"stream\":\"a&b\",\"seq\":5}",
        "{\"type\":\"hello\",\"protocol\":null,\"stream\":\"a\",\"seq\":5}",
    };

    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        Watch w;
        Buffer out = BUFFER_INIT(4096);
        watch_start(&w, NULL, 0);
        meet(&w);
        answer_upgrade(&w, &out, "");
        send_all(w.peer, out.data, out.len);
        say(&w, bad[i]);
        expect(&w, "lost: ");
        buffer_done(&out);
        watch_stop(&w);
    }
}

static void check_upgrade(const char *answer, const char *sentence)
{
    Watch w;

    watch_start(&w, NULL, 0);
    meet(&w);
    send_all(w.peer, answer, strlen(answer));
    w.peer = close_fd(w.peer);
    expect(&w, sentence);
    watch_stop(&w);
}

static void test_bad_upgrades(UNUSED void **state)
{
    CLEANUP_FREE char *endless = malloc(20001);

    assert_non_null(endless);
    memset(endless, 'x', 20000);
    endless[20000] = '\0';
    memcpy(endless, "HTTP/1.1 101 ", 13);
    check_upgrade("HTTP/1.1 401 Unauthorized\r\n\r\n", "lost: http://127.0.0.1:");
    check_upgrade("HTTP/1.1 500 Oops\r\n\r\n", "lost: http://127.0.0.1:");
    check_upgrade("SSH-2.0-OpenSSH_9.2\r\n\r\n", "lost: What answers at ");
    check_upgrade("", "lost: What answers at ");
    check_upgrade(endless, "lost: What answers at ");
    check_upgrade("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                  "lost: What answers at ");
}

static void test_unasked_extension(UNUSED void **state)
{
    static const char *const extra[] = {"Sec-WebSocket-Extensions: permessage-deflate\r\n",
                                        "Sec-WebSocket-Protocol: x\r\n", "Upgrade: websocket\r\n"};

    for (size_t i = 0; i < ELEMENTS(extra); i++) {
        Watch w;
        Buffer out = BUFFER_INIT(4096);
        watch_start(&w, NULL, 0);
        meet(&w);
        answer_upgrade(&w, &out, extra[i]);
        send_all(w.peer, out.data, out.len);
        expect(&w, "lost: What answers at ");
        buffer_done(&out);
        watch_stop(&w);
    }
}

static void test_server_dies(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    w.fd = close_fd(w.fd);
    w.peer = close_fd(w.peer);
    expect(&w, "lost: The ");
    expect(&w, "lost: Nobody listens at "); /* said again with each attempt */
    watch_stop(&w);
}

static void test_close_frame(UNUSED void **state)
{
    Watch w;
    Buffer close = BUFFER_INIT(200);

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    ws_frame_close(&close, false, 1008, "too slow");
    send_all(w.peer, close.data, close.len);
    expect(&w, "lost: The daemon closed the stream: too slow.");
    buffer_done(&close);
    watch_stop(&w);
}

static void test_silence(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 100);
    bring_live(&w, "aaaa", 5);
    expect(&w, "lost: No word from the daemon for 0.1 s.");
    watch_stop(&w);
}

/* Pings alone keep no connection: without a greeting there is nothing to show. */
static void test_pings_without_greeting(UNUSED void **state)
{
    Buffer out = BUFFER_INIT(4096);
    Watch w;

    watch_start(&w, NULL, 300);
    meet(&w);
    answer_upgrade(&w, &out, "");
    send_all(w.peer, out.data, out.len);
    buffer_done(&out);
    for (int i = 0; i < 12; i++) {
        send(w.peer, "\x89\0", 2, MSG_NOSIGNAL);
        usleep(50000);
    }
    expect(&w, "lost: No word from the daemon for 0.3 s.");
    watch_stop(&w);
}

/* A message beyond the maximum is refused by its header, whatever follows. */
static void test_huge_message(UNUSED void **state)
{
    static const char header[] = "\x81\x7F\0\0\0\1\0\0\0\0{";
    Watch w;

    watch_start(&w, NULL, 0);
    bring_live(&w, "aaaa", 5);
    send_all(w.peer, header, sizeof header - 1);
    expect(&w, "lost: The daemon broke the WebSocket protocol.");
    watch_stop(&w);
}

static void test_bad_url_shows_as_lost(UNUSED void **state)
{
    const ClientStreamOps ops = {on_state, on_message, 0};
    char url[64];
    Watch w = {.peer = -1, .fd = listen_on_loopback(url)};

    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    assert_int_equal(client_stream_new("nonsense", NULL, &ops, &w, &w.stream), 0);
    expect(&w, "connecting");
    expect(&w, "lost: The address must look like ");
    watch_stop(&w);
    assert_null(client_stream_free(NULL));
}

/* Stopping does not wait for a server that accepts and is silent. */
static void test_stop_while_opening(UNUSED void **state)
{
    Watch w;

    watch_start(&w, NULL, 0);
    meet(&w);
    watch_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_redirect),
        cmocka_unit_test(test_token_file),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_snapshot_and_deltas),
        cmocka_unit_test(test_split_anywhere),
        cmocka_unit_test(test_ping_is_answered),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_other_life),
        cmocka_unit_test(test_delta_without_picture),
        cmocka_unit_test(test_gap_is_healed),
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_bad_greetings),
        cmocka_unit_test(test_bad_upgrades),
        cmocka_unit_test(test_unasked_extension),
        cmocka_unit_test(test_server_dies),
        cmocka_unit_test(test_close_frame),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_pings_without_greeting),
        cmocka_unit_test(test_huge_message),
        cmocka_unit_test(test_bad_url_shows_as_lost),
        cmocka_unit_test(test_stop_while_opening),
    };

    setenv("XDG_CONFIG_HOME", "/nonexistent", 1); /* the caller's token is not the test's */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
