/* WebSocket codec (RFC 6455): wslay's event API fed from memory; see websocket.h.
 *
 * wslay pulls; here bytes are pushed. During ws_feed() the codec lends wslay the fed span (the
 * receive callback ends with WOULDBLOCK where the span ends) and the caller's buffer (the send
 * callback appends to it), both only for the call. Masking, reserved bits, fragment order, lengths
 * and UTF-8 of text are checked by wslay, which answers most violations by a close frame; for those
 * that it sees in a frame's header it does not, so ws_feed() adds it.
 *
 * Two limits are ours. wslay allocates for each fragment, so a message in one-byte fragments would
 * take forty times its size: more than WS_FRAGMENTS_MAX end the connection. And ws_frame() writes
 * frames without wslay, because a broadcast is framed once for n receivers while wslay's queue
 * would copy it for each.
 *
 * After the first violation or close frame the codec is deaf: every later ws_feed() is -EPROTO. */
#include "common/websocket.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "basic/text.h"

#define WS_FRAGMENTS_MAX   1024
#define CONTROL_LENGTH_MAX 125

struct WsCodec {
    struct wslay_event_context *wslay;
    bool is_client;
    WsMessageCallback callback;
    void *userdata;
    size_t fragments;    /* of the message that is being received */
    const uint8_t *data; /* lent for the length of one ws_feed() */
    size_t len;
    Buffer *out;
};

static ssize_t on_receive(wslay_event_context_ptr wslay, uint8_t *buf, size_t len, UNUSED int flags,
                          void *userdata)
{
    WsCodec *c = userdata;
    size_t n = MIN(len, c->len);

    if (n == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, c->data, n);
    c->data += n;
    c->len -= n;
    return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *data, size_t len,
                       UNUSED int flags, void *userdata)
{
    WsCodec *c = userdata;

    buffer_append(c->out, data, len);
    if (buffer_error(c->out)) {
        wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)len;
}

static int random_bytes(void *buf, size_t len)
{
    return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -EIO;
}

static int on_mask(wslay_event_context_ptr wslay, uint8_t *buf, size_t len, UNUSED void *userdata)
{
    if (random_bytes(buf, len) == 0)
        return 0;
    wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static void on_frame_start(wslay_event_context_ptr wslay,
                           const struct wslay_event_on_frame_recv_start_arg *arg, void *userdata)
{
    WsCodec *c = userdata;

    if (wslay_is_ctrl_frame(arg->opcode) || ++c->fragments <= WS_FRAGMENTS_MAX)
        return;
    wslay_event_queue_close(wslay, WSLAY_CODE_POLICY_VIOLATION, NULL, 0);
    wslay_event_shutdown_read(wslay);
}

static void on_message(UNUSED wslay_event_context_ptr wslay,
                       const struct wslay_event_on_msg_recv_arg *arg, void *userdata)
{
    WsCodec *c = userdata;

    if (!wslay_is_ctrl_frame(arg->opcode))
        c->fragments = 0;
    c->callback(c->userdata, (WsOpcode)arg->opcode, arg->msg, arg->msg_length);
}

int ws_codec_new(bool is_client, size_t max_message, WsMessageCallback callback, void *userdata,
                 WsCodec **ret)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_receive,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_frame_recv_start_callback = on_frame_start,
        .on_msg_recv_callback = on_message,
    };
    WsCodec *c = calloc(1, sizeof *c);

    if (!c)
        return -ENOMEM;
    c->is_client = is_client;
    c->callback = callback;
    c->userdata = userdata;
    int r = is_client ? wslay_event_context_client_init(&c->wslay, &callbacks, c)
                      : wslay_event_context_server_init(&c->wslay, &callbacks, c);
    if (r != 0) {
        free(c);
        return -ENOMEM;
    }
    wslay_event_config_set_max_recv_msg_length(c->wslay, max_message);
    *ret = c;
    return 0;
}

WsCodec *ws_codec_free(WsCodec *c)
{
    if (c) {
        wslay_event_context_free(c->wslay);
        free(c);
    }
    return NULL;
}

static int receive(WsCodec *c)
{
    int r = wslay_event_recv(c->wslay);

    if (r == 0 && wslay_event_want_write(c->wslay))
        r = wslay_event_send(c->wslay);
    if (buffer_error(c->out))
        return buffer_error(c->out);
    if (r == WSLAY_ERR_NOMEM)
        return -ENOMEM;
    if (r == 0)
        return wslay_event_get_read_enabled(c->wslay) ? 0 : -EPROTO;
    if (!wslay_event_get_close_sent(c->wslay))
        ws_frame_close(c->out, c->is_client, WSLAY_CODE_PROTOCOL_ERROR, "");
    return -EPROTO;
}

int ws_feed(WsCodec *c, const uint8_t *data, size_t len, Buffer *out)
{
    if (!wslay_event_get_read_enabled(c->wslay))
        return -EPROTO;
    c->data = data;
    c->len = len;
    c->out = out;
    int r = receive(c);
    c->data = NULL;
    c->len = 0;
    c->out = NULL;
    if (r < 0)
        wslay_event_shutdown_read(c->wslay);
    return r;
}

static size_t put_header(uint8_t *h, WsOpcode opcode, bool is_client, size_t len)
{
    uint8_t mask = is_client ? 0x80 : 0;
    size_t n = 2, bytes = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

    h[0] = (uint8_t)(0x80 | opcode);
    h[1] = (uint8_t)(mask | (bytes == 0 ? len : bytes == 2 ? 126 : 127));
    while (bytes > 0)
        h[n++] = (uint8_t)((uint64_t)len >> 8 * --bytes);
    return n;
}

void ws_frame(Buffer *out, bool is_client, WsOpcode opcode, const void *payload, size_t len)
{
    uint8_t header[14], mask[4];

    assert(opcode < WS_CLOSE || len <= CONTROL_LENGTH_MAX);
    size_t n = put_header(header, opcode, is_client, len);
    if (!is_client) {
        buffer_append(out, header, n);
        buffer_append(out, payload, len);
        return;
    }
    if (random_bytes(mask, sizeof mask) < 0) {
        /* a predictable mask would let a payload speak to proxies; not reached on Linux, where four
         * bytes never come short */
        abort();
    }
    memcpy(header + n, mask, sizeof mask);
    buffer_append(out, header, n + sizeof mask);
    char *room = buffer_reserve(out, len);
    if (!room)
        return;
    for (size_t i = 0; i < len; i++)
        room[i] = (char)(((const uint8_t *)payload)[i] ^ mask[i % 4]);
    buffer_advance(out, len);
}

void ws_frame_close(Buffer *out, bool is_client, uint16_t code, const char *reason)
{
    char payload[CONTROL_LENGTH_MAX + 1] = {(char)(code >> 8), (char)code};

    text_copy(payload + 2, sizeof payload - 2, reason);
    ws_frame(out, is_client, WS_CLOSE, payload, 2 + strlen(payload + 2));
}

/* 16 bytes in base64: 22 digits and "==" */
static bool is_key(const char *key)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    return strspn(key, digits) == 22 && strcmp(key + 22, "==") == 0;
}

int ws_accept_key(const char *key, char ret[static 29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
    char joined[24 + sizeof guid];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!key || !is_key(key))
        return -EINVAL;
    memcpy(joined, key, 24);
    memcpy(joined + 24, guid, sizeof guid);
    if (!EVP_Digest(joined, sizeof joined - 1, digest, &len, EVP_sha1(), NULL) || len != 20)
        return -EIO;
    EVP_EncodeBlock((uint8_t *)ret, digest, (int)len);
    return 0;
}
