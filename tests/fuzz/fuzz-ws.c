/* WebSocket frames of a hostile client: no message beyond the maximum, the same messages whether
 * the bytes come in one piece or one by one, and replies that stay small. */
#include <string.h>

#include "basic/macro.h"
#include "common/websocket.h"
#include "fuzz.h"

#define MESSAGE_MAX 4096
#define REPLY_MAX   (1U << 20)

typedef struct Seen {
    size_t messages;
    uint32_t hash;
} Seen;

static void on_message(void *userdata, WsOpcode opcode, const uint8_t *payload, size_t len)
{
    Seen *seen = userdata;

    PROMISE(len <= MESSAGE_MAX);
    if (opcode == WS_CLOSE)
        return; /* wslay judges a reason's UTF-8 by chunk: a bad one may be handed over or not */
    seen->messages++;
    seen->hash = seen->hash * 31 + (uint32_t)opcode;
    for (size_t i = 0; i < len; i++)
        seen->hash = seen->hash * 31 + payload[i];
}

static int feed(const uint8_t *data, size_t len, size_t step, Seen *seen)
{
    CLEANUP(buffer_done) Buffer out = BUFFER_INIT(REPLY_MAX);
    WsCodec *codec = NULL;
    int r = 0;

    if (ws_codec_new(false, MESSAGE_MAX, on_message, seen, &codec) < 0)
        exit(1);
    for (size_t at = 0; at < len && r == 0; at += step)
        r = ws_feed(codec, data + at, MIN(step, len - at), &out);
    ws_codec_free(codec);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    Seen whole = {}, single = {};
    char key[29];

    if (len > 65536)
        return 0;
    int a = feed(data, len, MAX(len, 1U), &whole), b = feed(data, len, 1, &single);
    PROMISE(a < 0 || b == 0); /* not the reverse: the same bad reason, not complete yet */
    PROMISE(whole.messages == single.messages && whole.hash == single.hash);

    char text[32] = {};
    for (size_t i = 0; i < MIN(len, sizeof(text) - 1); i++)
        text[i] = (char)data[i];
    if (ws_accept_key(text, key) == 0)
        PROMISE(strlen(text) == 24 && strlen(key) == 28);
    return 0;
}
