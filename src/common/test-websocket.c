/* The codec in both roles: frames of every size, split at every byte, and what a hostile peer
 * sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "basic/macro.h"
#include "common/websocket.h"

#define MESSAGE_MAX 4096

typedef struct Peer {
    WsCodec *codec;
    Buffer out;
    Buffer got; /* payload of the last message */
    WsOpcode opcode;
    unsigned messages;
} Peer;

static void on_message(void *userdata, WsOpcode opcode, const uint8_t *payload, size_t len)
{
    Peer *p = userdata;

    p->messages++;
    p->opcode = opcode;
    buffer_reset(&p->got);
    buffer_append(&p->got, payload, len);
}

static void peer_init(Peer *p, bool is_client)
{
    *p = (Peer){.out = BUFFER_INIT(1 << 20), .got = BUFFER_INIT(1 << 20)};
    assert_int_equal(ws_codec_new(is_client, MESSAGE_MAX, on_message, p, &p->codec), 0);
}

static void peer_done(Peer *p)
{
    p->codec = ws_codec_free(p->codec);
    buffer_done(&p->out);
    buffer_done(&p->got);
}

static int feed(Peer *p, const Buffer *bytes)
{
    return ws_feed(p->codec, (const uint8_t *)bytes->data, bytes->len, &p->out);
}

/* What the peer answered as a close frame's code; 0: nothing or something else. */
static unsigned close_code(const Peer *p, bool is_client)
{
    const uint8_t *d = (const uint8_t *)p->out.data;
    size_t head = is_client ? 6 : 2;

    if (p->out.len < head + 2 || d[0] != 0x88)
        return 0;
    uint8_t a = d[head], b = d[head + 1];
    if (is_client) {
        a ^= d[2];
        b ^= d[3];
    }
    return (unsigned)(a << 8 | b);
}

static void test_sizes(UNUSED void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 1000, MESSAGE_MAX};

    for (int is_client = 0; is_client < 2; is_client++)
        for (size_t i = 0; i < ELEMENTS(sizes); i++) {
            Peer receiver;
            Buffer frame = BUFFER_INIT(1 << 20);
            char text[MESSAGE_MAX];
            memset(text, 'x', sizeof text);
            peer_init(&receiver, !is_client);
            ws_frame(&frame, is_client, WS_TEXT, text, sizes[i]);
            assert_int_equal(feed(&receiver, &frame), 0);
            assert_int_equal(receiver.messages, 1);
            assert_int_equal(receiver.opcode, WS_TEXT);
            assert_int_equal(receiver.got.len, sizes[i]);
            assert_true(sizes[i] == 0 || memcmp(receiver.got.data, text, sizes[i]) == 0);
            assert_int_equal(receiver.out.len, 0);
            buffer_done(&frame);
            peer_done(&receiver);
        }
}

static void test_header_lengths(UNUSED void **state)
{
    static const struct {
        size_t len;
        size_t header;
    } table[] = {{0, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}};
    static char text[65536];

    for (size_t i = 0; i < ELEMENTS(table); i++) {
        Buffer plain = BUFFER_INIT(1 << 20), masked = BUFFER_INIT(1 << 20);
        ws_frame(&plain, false, WS_BINARY, text, table[i].len);
        ws_frame(&masked, true, WS_BINARY, text, table[i].len);
        assert_int_equal(plain.len, table[i].header + table[i].len);
        assert_int_equal(masked.len, plain.len + 4);
        assert_int_equal((uint8_t)plain.data[0], 0x82);
        assert_int_equal((uint8_t)masked.data[1] & 0x80, 0x80);
        buffer_done(&plain);
        buffer_done(&masked);
    }
}

static void test_byte_by_byte(UNUSED void **state)
{
    Peer p;
    Buffer bytes = BUFFER_INIT(1 << 20);

    peer_init(&p, false);
    ws_frame(&bytes, true, WS_TEXT, "hello", 5);
    ws_frame(&bytes, true, WS_PING, "abc", 3);
    ws_frame(&bytes, true, WS_BINARY, "\0\1", 2);
    for (size_t i = 0; i < bytes.len; i++)
        assert_int_equal(ws_feed(p.codec, (uint8_t *)bytes.data + i, 1, &p.out), 0);
    assert_int_equal(p.messages, 3);
    assert_int_equal(p.opcode, WS_BINARY);
    assert_int_equal(p.got.len, 2);
    assert_int_equal(p.out.len, 5);
    assert_memory_equal(p.out.data,
                        "\x8A\x03"
                        "abc",
                        5); /* the pong */
    assert_int_equal(ws_feed(p.codec, NULL, 0, &p.out), 0);
    buffer_done(&bytes);
    peer_done(&p);
}

static void test_fragments(UNUSED void **state)
{
    static const uint8_t frames[] = {0x01, 0x02, 'a', 'b',  0x89, 0x00,
                                     0x00, 0x01, 'c', 0x80, 0x01, 'd'};
    Peer p;

    peer_init(&p, true);
    assert_int_equal(ws_feed(p.codec, frames, sizeof frames, &p.out), 0);
    assert_int_equal(p.messages, 2); /* the ping between the fragments, then the text */
    assert_int_equal(p.opcode, WS_TEXT);
    assert_string_equal(buffer_cstr(&p.got), "abcd");
    assert_int_equal((uint8_t)p.out.data[0], 0x8A);
    peer_done(&p);
}

static void test_too_many_fragments(UNUSED void **state)
{
    Peer p;
    Buffer frames = BUFFER_INIT(1 << 20);

    peer_init(&p, true);
    buffer_append(&frames, "\x01\x01x", 3);
    for (size_t i = 0; i < 1030; i++)
        buffer_append(&frames, "\x00\x01y", 3);
    assert_int_equal(feed(&p, &frames), -EPROTO);
    assert_int_equal(close_code(&p, true), 1008);
    assert_int_equal(p.messages, 0);
    peer_done(&p);

    /* the count is of one message, not of the connection */
    peer_init(&p, true);
    buffer_reset(&frames);
    for (size_t i = 0; i < 3000; i++)
        ws_frame(&frames, false, WS_TEXT, "z", 1);
    assert_int_equal(feed(&p, &frames), 0);
    assert_int_equal(p.messages, 3000);
    buffer_done(&frames);
    peer_done(&p);
}

static void check_refused(bool is_client, const char *bytes, size_t len, unsigned code)
{
    Peer p;

    peer_init(&p, is_client);
    assert_int_equal(ws_feed(p.codec, (const uint8_t *)bytes, len, &p.out), -EPROTO);
    assert_int_equal(p.messages, 0);
    assert_int_equal(close_code(&p, is_client), code);
    size_t sent = p.out.len;
    assert_int_equal(ws_feed(p.codec, (const uint8_t *)"\x81\x00", 2, &p.out), -EPROTO); /* deaf */
    assert_int_equal(p.messages, 0);
    assert_int_equal(p.out.len, sent);
    peer_done(&p);
}

#define REFUSED(is_client, bytes, code) check_refused(is_client, bytes, sizeof(bytes) - 1, code)

static void test_violations(UNUSED void **state)
{
    REFUSED(false, "\x81\x01x", 1002);                 /* unmasked to a server */
    REFUSED(true, "\x81\x81\1\2\3\4y", 1002);          /* masked to a client */
    REFUSED(true, "\xC1\x01x", 1002);                  /* reserved bit */
    REFUSED(true, "\x83\x01x", 1002);                  /* unknown opcode */
    REFUSED(true, "\x8B\x00", 1002);                   /* unknown control opcode */
    REFUSED(true, "\x80\x01x", 1002);                  /* continues nothing */
    REFUSED(true, "\x01\x01x\x01\x01y", 1002);         /* begins within a message */
    REFUSED(true, "\x09\x01x", 1002);                  /* a fragmented ping */
    REFUSED(true, "\x89\x7E\x00\x7E", 1002);           /* a ping of 126 bytes */
    REFUSED(true, "\x81\x7E\x00\x01x", 1002);          /* length not in its shortest form */
    REFUSED(true, "\x81\x7F\x80\0\0\0\0\0\0\0", 1002); /* highest bit of a length */
    REFUSED(true, "\x81\x02\xC3\x28", 1007);           /* text that is not UTF-8 */
    REFUSED(true, "\x81\x02x\xC3", 1007);              /* or ends within a character */
    REFUSED(true, "\x81\x7E\x10\x01x", 1009);          /* one too long: refused at its first byte */
    REFUSED(true, "\x81\x7F\0\0\0\0\xFF\xFF\xFF\xFFx", 1009);
}

/* Fragments count together. */
static void test_fragments_too_big(UNUSED void **state)
{
    Peer p;
    Buffer bytes = BUFFER_INIT(1 << 20);
    char text[MESSAGE_MAX] = {0};

    peer_init(&p, true);
    buffer_append(&bytes, "\x01\x7E\x0F\xFF", 4);
    buffer_append(&bytes, text, MESSAGE_MAX - 1);
    buffer_append(&bytes, "\x80\x02xy", 4);
    assert_int_equal(feed(&p, &bytes), -EPROTO);
    assert_int_equal(close_code(&p, true), 1009);
    assert_int_equal(p.messages, 0);
    buffer_done(&bytes);
    peer_done(&p);
}

static void test_close(UNUSED void **state)
{
    Peer client, server;
    Buffer bytes = BUFFER_INIT(1000);

    peer_init(&client, true);
    peer_init(&server, false);
    ws_frame_close(&bytes, false, 1001, "going away");
    assert_int_equal(feed(&client, &bytes), -EPROTO);
    assert_int_equal(client.opcode, WS_CLOSE);
    assert_int_equal(client.got.len, 12);
    assert_memory_equal(client.got.data, "\x03\xE9going away", 12);
    assert_int_equal(close_code(&client, true), 1001);
    assert_int_equal(feed(&server, &client.out), -EPROTO);
    assert_int_equal(server.opcode, WS_CLOSE);
    peer_done(&client);
    peer_done(&server);

    /* a reason is cut at 123 bytes, between characters */
    char reason[200];
    memset(reason, 'r', sizeof reason);
    memcpy(reason + 122, "\xC3\xBC", 3);
    buffer_reset(&bytes);
    ws_frame_close(&bytes, false, 1000, reason);
    assert_int_equal(bytes.len, 2 + 2 + 122);
    buffer_done(&bytes);
}

static void test_bad_close_frames(UNUSED void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"\x88\x01\x03", 3},
               {"\x88\x02\x03\xED", 4},
               {"\x88\x03\x03\xE8\xFF", 5},
               {"\x88\x02\x00\x00", 4}};

    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        Peer p;
        peer_init(&p, true);
        assert_int_equal(ws_feed(p.codec, (const uint8_t *)bad[i].bytes, bad[i].len, &p.out),
                         -EPROTO);
        assert_true(p.out.len > 0);
        peer_done(&p);
    }
}

/* Many pings in one feed: the answers stay within what was fed; a full out is an error. */
static void test_ping_flood(UNUSED void **state)
{
    Peer p;
    Buffer pings = BUFFER_INIT(1 << 20), small = BUFFER_INIT(100);
    char text[125] = "x";

    for (size_t i = 0; i < 1000; i++)
        ws_frame(&pings, true, WS_PING, text, sizeof text);
    peer_init(&p, false);
    assert_int_equal(feed(&p, &pings), 0);
    assert_true(p.out.len <= pings.len);
    assert_int_equal(p.messages, 1000);
    assert_int_equal(ws_feed(p.codec, (uint8_t *)pings.data, pings.len, &small), -ENOBUFS);
    assert_int_equal(ws_feed(p.codec, (uint8_t *)pings.data, pings.len, &p.out), -EPROTO);
    buffer_done(&pings);
    buffer_done(&small);
    peer_done(&p);
}

static void test_random_bytes(UNUSED void **state)
{
    uint32_t seed = 3;

    for (size_t round = 0; round < 2000; round++) {
        Peer p;
        int r = 0;
        peer_init(&p, round % 2);
        for (size_t chunk = 0; chunk < 20; chunk++) {
            uint8_t bytes[16];
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)((seed = seed * 1664525U + 1013904223U) >> 24);
            r = ws_feed(p.codec, bytes, sizeof bytes, &p.out);
            assert_true(r == 0 || r == -EPROTO);
        }
        assert_true(p.out.len <= 1000);
        peer_done(&p);
    }
}

static void test_accept_key(UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQQ=",
        "dGhlIHNhbXBsZSBub25jZ\r==",
        "dGhlIHNhbXBsZSBub25jZ-==",
        "======================",
    };
    char accept[29] = "untouched";

    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(ws_accept_key(bad[i], accept), -EINVAL);
    assert_int_equal(ws_accept_key(NULL, accept), -EINVAL);
    assert_string_equal(accept, "untouched");
    assert_int_equal(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); /* RFC 6455 section 1.3 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_header_lengths),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_too_many_fragments),
        cmocka_unit_test(test_violations),
        cmocka_unit_test(test_fragments_too_big),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_bad_close_frames),
        cmocka_unit_test(test_ping_flood),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_accept_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
