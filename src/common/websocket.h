/* WebSocket codec (RFC 6455) on wslay, for the server and the client side. Bytes in, messages out;
 * no socket here.
 *
 * Incoming bytes are pushed with ws_feed(); complete messages reach the callback. Control frames
 * are answered by the codec: what is to be sent back collects in the caller's `out` buffer. Sending
 * a broadcast does not pass through a WsCodec at all: ws_frame() builds the bytes once and the
 * caller appends them to n queues. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"

typedef struct WsCodec WsCodec;

typedef enum WsOpcode {
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xA
} WsOpcode;

/* Gets messages and control frames alike (pings are answered already). payload is valid during the
 * call only; that of WS_CLOSE is the code in two bytes and the reason, or empty. */
typedef void (*WsMessageCallback)(void *userdata, WsOpcode opcode, const uint8_t *payload,
                                  size_t len);

/* max_message: longer messages (or frames) end the connection with close code 1009 */
int ws_codec_new(bool is_client, size_t max_message, WsMessageCallback callback, void *userdata,
                 WsCodec **ret);
WsCodec *ws_codec_free(WsCodec *c);

/* Feeds len received bytes. Replies to pings and closes are appended to out, at most about as many
 * bytes as were fed. Returns 0; -EPROTO once the peer broke the protocol or sent its close frame:
 * flush out, then drop the connection; -ENOBUFS or -ENOMEM when out or memory is exhausted: drop
 * it. The callback must not free the codec. */
int ws_feed(WsCodec *c, const uint8_t *data, size_t len, Buffer *out);

/* Appends one unfragmented frame. A client's frame is masked (RFC 6455 section 5.3). Payload of a
 * control frame: at most 125 bytes. A reason is UTF-8 and cut to 123 bytes. */
void ws_frame(Buffer *out, bool is_client, WsOpcode opcode, const void *payload, size_t len);
void ws_frame_close(Buffer *out, bool is_client, uint16_t code, const char *reason);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key of 24 characters; -EINVAL for any other key. */
int ws_accept_key(const char *key, char ret[static 29]);
