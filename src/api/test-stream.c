/* Clients are the other ends of socket pairs; whatever the stream does is seen by reading them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/stream.h"
#include "api/test-publish.h"
#include "common/json.h"
#include "common/websocket.h"

#define CLIENTS  101
#define RESTLESS 8 /* of them, where few must come often */

typedef struct Peer {
    int fd;
    Buffer in;
    bool eof;
    WsOpcode opcode; /* of the frame that peer_next() took */
    Buffer payload;
} Peer;

static struct {
    TestFleet f;
    Nest *nest;
    Stream *stream;
    Peer peers[CLIENTS];
} t;

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    assert_int_equal(nest_new(&t.nest), 0);
    assert_int_equal(stream_new(t.nest, &t.stream), 0);
    assert_int_equal(test_fleet_new(&t.f, stream_broadcast, t.stream), 0);
    stream_set_publish(t.stream, t.f.publish);
    assert_int_equal(test_fleet_apply(&t.f, 2, 3), 0);
    publish_flush(t.f.publish, t.f.now);
    for (size_t i = 0; i < CLIENTS; i++)
        t.peers[i].fd = -1;
    return 0;
}

static void peer_close(Peer *p)
{
    p->fd = close_fd(p->fd);
    buffer_done(&p->in);
    buffer_done(&p->payload);
    p->eof = false;
}

static int teardown(void **state)
{
    (void)state;
    t.stream = stream_free(t.stream);
    for (size_t i = 0; i < CLIENTS; i++)
        peer_close(&t.peers[i]);
    test_fleet_done(&t.f);
    t.nest = nest_free(t.nest);
    return 0;
}

static void turn(void)
{
    struct pollfd fd = {.fd = nest_fd(t.nest), .events = POLLIN};

    while (poll(&fd, 1, 0) > 0)
        nest_dispatch(t.nest);
}

static Peer *peer_open_with(size_t i, const char *query, const void *extra, size_t extra_len)
{
    Peer *p = &t.peers[i];
    int fds[2];

    peer_close(p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    p->fd = fds[0];
    p->in = p->payload = BUFFER_INIT(64U << 20);
    stream_accept(t.stream, fds[1], i % 2 == 1, query, extra, extra_len, t.f.now);
    return p;
}

static Peer *peer_open(size_t i, const char *query)
{
    return peer_open_with(i, query, NULL, 0);
}

static void peer_read(Peer *p)
{
    char bytes[65536];

    for (;;) {
        ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            p->eof = p->eof || n == 0 || errno != EAGAIN;
            return;
        }
        buffer_append(&p->in, bytes, (size_t)n);
        turn();
    }
}

/* Takes one frame out of what came; false when there is no whole one. */
static bool peer_next(Peer *p)
{
    peer_read(p);
    const uint8_t *b = (const uint8_t *)p->in.data;
    if (p->in.len < 2)
        return false;
    assert_int_equal(b[0] & 0xf0, 0x80); /* final, no extension bits */
    assert_int_equal(b[1] & 0x80, 0);    /* a server does not mask */
    size_t head = 2, len = b[1];
    size_t wide = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (p->in.len < head + wide)
        return false;
    for (size_t i = 0; wide && i < wide; i++)
        len = (i ? len << 8 : 0) | b[2 + i];
    head += wide;
    if (p->in.len < head + len)
        return false;
    p->opcode = b[0] & 0x0f;
    buffer_reset(&p->payload);
    buffer_append(&p->payload, p->in.data + head, len);
    buffer_consume(&p->in, head + len);
    return true;
}

static int64_t expect_message(Peer *p, const char *type)
{
    assert_true(peer_next(p));
    assert_int_equal(p->opcode, WS_TEXT);
    Json *j = json_parse(p->payload.data, p->payload.len);
    assert_string_equal(json_as_string(json_get(j, "type"), ""), type);
    int64_t seq = json_as_int(json_get(j, "seq"), -1);
    json_free(j);
    return seq;
}

static void expect_close(Peer *p, unsigned code)
{
    assert_true(peer_next(p));
    assert_int_equal(p->opcode, WS_CLOSE);
    assert_true(p->payload.len >= 2);
    assert_int_equal((uint8_t)p->payload.data[0] << 8 | (uint8_t)p->payload.data[1], code);
}

static void expect_nothing(Peer *p)
{
    assert_false(peer_next(p));
    assert_int_equal(p->in.len, 0);
    assert_false(p->eof);
}

static void peer_send(Peer *p, WsOpcode opcode, const void *data, size_t len)
{
    Buffer b = BUFFER_INIT(1U << 20);

    ws_frame(&b, true, opcode, data, len);
    assert_int_equal(send(p->fd, b.data, b.len, MSG_NOSIGNAL), b.len);
    buffer_done(&b);
    turn();
}

static void delta(size_t len)
{
    char *json = malloc(len + 2);

    assert_non_null(json);
    memset(json, 'x', len + 2);
    json[0] = json[len + 1] = '"';
    publish_alert(t.f.publish, json, len + 2);
    free(json);
    publish_flush(t.f.publish, t.f.now);
}

static void pass_seconds(unsigned n)
{
    while (n-- > 0) {
        test_fleet_pass(&t.f, 1000);
        stream_tick(t.stream, t.f.now);
        turn();
    }
}

static void test_hello_snapshot_deltas(void **state)
{
    (void)state;
    Peer *p = peer_open(0, "");
    assert_int_equal(expect_message(p, "hello"), 1);
    assert_int_equal(expect_message(p, "snapshot"), 1);
    for (int64_t seq = 2; seq < 6; seq++) {
        delta(10);
        assert_int_equal(expect_message(p, "delta"), seq);
    }
    expect_nothing(p);
    assert_int_equal(stream_clients(t.stream), 1);
}

static void test_snapshot_is_of_now(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        Peer *p = peer_open(0, "");
        assert_int_equal(expect_message(p, "hello"), i + 1);
        assert_int_equal(expect_message(p, "snapshot"), i + 1);
        p = peer_open(1, ""); /* shares it */
        assert_int_equal(expect_message(p, "hello"), i + 1);
        assert_int_equal(expect_message(p, "snapshot"), i + 1);
        delta(1);
    }
}

static void test_resume(void **state)
{
    char query[64];

    (void)state;
    for (int i = 0; i < 4; i++)
        delta(10); /* 2 to 5 */
    snprintf(query, sizeof query, "x=1&stream=%s&since=3", publish_stream(t.f.publish));
    Peer *p = peer_open(0, query);
    assert_int_equal(expect_message(p, "hello"), 5);
    assert_int_equal(expect_message(p, "delta"), 4);
    assert_int_equal(expect_message(p, "delta"), 5);
    expect_nothing(p);
    snprintf(query, sizeof query, "since=5&stream=%s", publish_stream(t.f.publish));
    p = peer_open(1, query);
    assert_int_equal(expect_message(p, "hello"), 5);
    expect_nothing(p);
    delta(10);
    assert_int_equal(expect_message(p, "delta"), 6);
}

static void test_resume_not_possible(void **state)
{
    static const char *const since[] = {"",
                                        "x",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1x",
                                        "99",
                                        "18446744073709551616",
                                        "0000000000000000000000001",
                                        "%31"};
    char query[128];

    (void)state;
    delta(10);
    for (size_t i = 0; i < ELEMENTS(since); i++) {
        snprintf(query, sizeof query, "stream=%s&since=%s", publish_stream(t.f.publish), since[i]);
        Peer *p = peer_open(0, query);
        assert_int_equal(expect_message(p, "hello"), 2);
        assert_int_equal(expect_message(p, "snapshot"), 2);
        expect_nothing(p);
    }
    static const char *const queries[] = {
        "stream=0000000000000000&since=1",
        "stream=&since=1",
        "since=1",
        "stream",
        "stream=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&since=1",
        "&&&",
        "streams=1&since",
    };
    for (size_t i = 0; i < ELEMENTS(queries); i++) {
        Peer *p = peer_open(0, queries[i]);
        assert_int_equal(expect_message(p, "hello"), 2);
        assert_int_equal(expect_message(p, "snapshot"), 2);
    }
}

/* What was missed is longer than a queue may be: the snapshot is shorter. */
static void test_resume_of_much(void **state)
{
    char query[64];

    (void)state;
    for (int i = 0; i < 10; i++)
        delta(60000);
    snprintf(query, sizeof query, "stream=%s&since=1", publish_stream(t.f.publish));
    Peer *p = peer_open(0, query);
    assert_int_equal(expect_message(p, "hello"), 11);
    assert_int_equal(expect_message(p, "snapshot"), 11);
}

static void test_large_message(void **state)
{
    (void)state;
    Peer *p = peer_open(0, ""), *q = peer_open(1, "");
    assert_int_equal(expect_message(p, "hello"), 1);
    assert_int_equal(expect_message(p, "snapshot"), 1);
    delta(3U << 20);
    delta(10);
    for (int i = 0; i < 100 && p->in.len < 3U << 20; i++) {
        turn();
        peer_read(p);
    }
    assert_int_equal(expect_message(p, "delta"), 2);
    assert_true(p->payload.len > 3U << 20);
    assert_int_equal(expect_message(p, "delta"), 3);
    assert_int_equal(expect_message(q, "hello"), 1);
    assert_int_equal(stream_cut_off(t.stream), 0);
}

/* R28: clients that never read are cut off, each with a bounded queue; the others miss nothing. */
static void test_never_reading(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        peer_open(i, "");
    Peer *good = &t.peers[0];
    assert_int_equal(expect_message(good, "hello"), 1);
    assert_int_equal(expect_message(good, "snapshot"), 1);
    for (int64_t seq = 2; seq < 2000; seq++) {
        delta(500);
        assert_int_equal(expect_message(good, "delta"), seq);
    }
    assert_int_equal(stream_cut_off(t.stream), CLIENTS - 1);
    /* one that looks again sees a whole stream up to where it was cut, and why */
    Peer *slow = &t.peers[1];
    assert_int_equal(expect_message(slow, "hello"), 1);
    assert_int_equal(expect_message(slow, "snapshot"), 1);
    for (int64_t seq = 2; peer_next(slow) && slow->opcode == WS_TEXT; seq++)
        assert_int_equal(seq < 2000, 1);
    assert_int_equal(slow->opcode, WS_CLOSE);
    assert_int_equal((uint8_t)slow->payload.data[0] << 8 | (uint8_t)slow->payload.data[1], 1008);
    /* the rest does not stay */
    pass_seconds(6);
    assert_int_equal(stream_clients(t.stream), 1);
    assert_int_equal(stream_cut_off(t.stream), CLIENTS - 1);
}

/* Large frames are counted with a maximum each, but they are counted. */
static void test_never_reading_large(void **state)
{
    (void)state;
    peer_open(0, "");
    for (int i = 0; i < 8; i++)
        delta(1U << 20);
    assert_int_equal(stream_cut_off(t.stream), 1);
    pass_seconds(6);
    assert_int_equal(stream_clients(t.stream), 0);
}

static void test_pings(void **state)
{
    unsigned pings = 0;

    (void)state;
    Peer *p = peer_open(0, "");
    expect_message(p, "hello");
    expect_message(p, "snapshot");
    for (int i = 0; i < 20; i++) {
        pass_seconds(1);
        while (peer_next(p)) {
            assert_int_equal(p->opcode, WS_PING);
            pings++;
            peer_send(p, WS_PONG, p->payload.data, p->payload.len);
        }
    }
    assert_int_equal(pings, 4);
    assert_int_equal(stream_clients(t.stream), 1);
    for (int i = 0; i < 31; i++)
        pass_seconds(1);
    assert_int_equal(stream_clients(t.stream), 0); /* it did not answer any more */
}

static void test_answers_ping(void **state)
{
    (void)state;
    Peer *p = peer_open(0, "");
    expect_message(p, "hello");
    expect_message(p, "snapshot");
    peer_send(p, WS_PING, "abc", 3);
    assert_true(peer_next(p));
    assert_int_equal(p->opcode, WS_PONG);
    assert_int_equal(p->payload.len, 3);
    assert_memory_equal(p->payload.data, "abc", 3);
    peer_send(p, WS_TEXT, "{\"what\":1}", 10); /* messages have no meaning, and do no harm */
    expect_nothing(p);
}

static void test_ping_flood(void **state)
{
    Buffer b = BUFFER_INIT(1U << 20);

    (void)state;
    Peer *p = peer_open(0, "");
    for (int i = 0; i < 100; i++)
        ws_frame(&b, true, WS_PING, "0123456789012345678901234567890123456789", 40);
    for (int i = 0; i < 1000 && stream_cut_off(t.stream) == 0; i++) {
        if (send(p->fd, b.data, b.len, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            break;
        turn();
    }
    buffer_done(&b);
    assert_int_equal(stream_cut_off(t.stream), 1);
    pass_seconds(6);
    assert_int_equal(stream_clients(t.stream), 0);
}

static void test_client_closes(void **state)
{
    (void)state;
    Peer *p = peer_open(0, "");
    expect_message(p, "hello");
    expect_message(p, "snapshot");
    peer_send(p, WS_CLOSE, "\x03\xe8", 2);
    expect_close(p, 1000);
    peer_read(p);
    assert_true(p->eof);
    delta(10); /* to nobody */
    peer_close(p);
    turn();
    assert_int_equal(stream_clients(t.stream), 0);
}

static void test_client_vanishes(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        Peer *p = peer_open(0, "");
        if (i == 1)
            peer_read(p);
        peer_close(p);
        if (i == 2)
            delta(10);
        turn();
        assert_int_equal(stream_clients(t.stream), 0);
    }
}

static void test_protocol_errors(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        unsigned code;
    } table[] = {
        {"\x81\x01x", 3, 1002},                          /* not masked */
        {"\xc1\x81\0\0\0\0x", 7, 1002},                  /* reserved bit */
        {"\x83\x81\0\0\0\0x", 7, 1002},                  /* reserved opcode */
        {"\x80\x81\0\0\0\0x", 7, 1002},                  /* continues nothing */
        {"\x09\x81\0\0\0\0x", 7, 1002},                  /* fragmented ping */
        {"\x81\x81\0\0\0\0\xff", 7, 1007},               /* not UTF-8 */
        {"\x81\xfe\xff\xff\0\0\0\0x", 9, 1009},          /* 64 KiB announced */
        {"\x81\xff\0\1\0\0\0\0\0\0\0\0\0\0x", 15, 1009}, /* 2^48 announced */
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        Peer *p = peer_open(0, "");
        expect_message(p, "hello");
        expect_message(p, "snapshot");
        assert_int_equal(send(p->fd, table[i].bytes, table[i].len, 0), table[i].len);
        turn();
        expect_close(p, table[i].code);
        assert_int_equal(send(p->fd, "more", 4, MSG_NOSIGNAL), 4); /* is not looked at */
        turn();
        peer_read(p);
        assert_true(p->eof);
        pass_seconds(6); /* the peer does not leave: it is left */
        assert_int_equal(stream_clients(t.stream), 0);
    }
}

static void test_extra_bytes(void **state)
{
    Buffer b = BUFFER_INIT(256);

    (void)state;
    ws_frame(&b, true, WS_PING, "early", 5);
    Peer *p = peer_open_with(0, "", b.data, b.len);
    expect_message(p, "hello");
    expect_message(p, "snapshot");
    assert_true(peer_next(p));
    assert_int_equal(p->opcode, WS_PONG);
    buffer_done(&b);
    peer_open_with(1, "", "garbage", 7);
    pass_seconds(6);
    assert_int_equal(stream_clients(t.stream), 1);
}

static void test_close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        peer_open(i, "");
    stream_close_all(t.stream, 1001, "the daemon stops");
    stream_close_all(t.stream, 1001, "again"); /* once is enough */
    for (size_t i = 0; i < 3; i++) {
        expect_message(&t.peers[i], "hello");
        expect_message(&t.peers[i], "snapshot");
        expect_close(&t.peers[i], 1001);
        assert_memory_equal(t.peers[i].payload.data + 2, "the daemon stops", 16);
    }
    delta(10);
    expect_nothing(&t.peers[0]);
    peer_send(&t.peers[0], WS_CLOSE, "\x03\xe9", 2);
    peer_read(&t.peers[0]);
    assert_true(t.peers[0].eof);
    pass_seconds(6);
    assert_int_equal(stream_clients(t.stream), 0);
}

/* Who came by a token that is no more hears nothing, and is gone with the next second whether it
 * closes or not. The odd ones of this test came by it. */
static void test_end_by_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        peer_open(i, "");
    stream_end_by_token(t.stream, "the token has changed", t.f.now);
    stream_end_by_token(t.stream, "again", t.f.now);
    delta(10);
    for (size_t i = 0; i < 4; i++) {
        expect_message(&t.peers[i], "hello");
        expect_message(&t.peers[i], "snapshot");
        if (i % 2)
            expect_close(&t.peers[i], 1008);
        else
            expect_message(&t.peers[i], "delta");
        assert_false(peer_next(&t.peers[i]));
        assert_int_equal(t.peers[i].eof, i % 2);
    }
    pass_seconds(1);
    assert_int_equal(stream_clients(t.stream), 2);
    delta(10);
    do /* a ping may have come, too */
        assert_true(peer_next(&t.peers[0]));
    while (t.peers[0].opcode != WS_TEXT);
}

/* One that does not read is not told anything any more, and is gone as well. */
static void test_end_by_token_of_a_slow_one(void **state)
{
    (void)state;
    peer_open(1, "");
    for (int i = 0; i < 20; i++)
        delta(60000);
    stream_end_by_token(t.stream, "the token has changed", t.f.now);
    pass_seconds(1);
    assert_int_equal(stream_clients(t.stream), 0);
}

/* R29: random connects, resumes, losses, slow readers: whoever is there has a stream without a gap.
 */
static void test_random_disconnects(void **state)
{
    int64_t seen[RESTLESS] = {0};
    bool greeted[RESTLESS] = {false};
    char query[64] = "";

    (void)state;
    srand(1);
    for (int round = 0; round < 5000; round++) {
        size_t i = (size_t)rand() % RESTLESS;
        Peer *p = &t.peers[i];
        int what = rand() % 10;
        if (what == 0 || p->fd < 0 || p->eof) {
            query[0] = '\0';
            if (seen[i])
                snprintf(query, sizeof query, "stream=%s&since=%lld", publish_stream(t.f.publish),
                         (long long)seen[i]);
            peer_open(i, query);
            greeted[i] = false;
        } else if (what < 6) {
            delta((size_t)rand() % 2000);
        } else if (what == 6) {
            test_fleet_unit(&t.f, "a1", rand() % 2 ? ACTIVE_ACTIVE : ACTIVE_FAILED);
        } else {
            while (peer_next(p)) {
                if (p->opcode != WS_TEXT)
                    continue;
                Json *j = json_parse(p->payload.data, p->payload.len);
                const char *type = json_as_string(json_get(j, "type"), "");
                int64_t seq = json_as_int(json_get(j, "seq"), -1);
                if (strcmp(type, "hello") == 0) {
                    assert_false(greeted[i]);
                    greeted[i] = true;
                } else if (strcmp(type, "snapshot") == 0) {
                    assert_true(seq >= seen[i]);
                    seen[i] = seq;
                } else {
                    assert_true(greeted[i]);
                    assert_int_equal(seq, seen[i] + 1);
                    seen[i] = seq;
                }
                json_free(j);
            }
        }
        turn();
        if (round % 100 == 0)
            pass_seconds(1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hello_snapshot_deltas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot_is_of_now, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume_not_possible, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume_of_much, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_reading_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_ping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ping_flood, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_vanishes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_protocol_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extra_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_by_token, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_by_token_of_a_slow_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_disconnects, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
