/* The client of the API that `status`, `watch` and the desktop share: one REST snapshot, then the
 * WebSocket's deltas, with resume and backoff, and an honest word on how fresh it all is.
 *
 * client_request() is a plain blocking request for command line use. A ClientStream runs its own
 * thread: it connects, parses and hands every message over through callbacks *on that thread*; the
 * receiver does its own locking. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json.h"

#define CLIENT_URL_DEFAULT "http://127.0.0.1:8485"

typedef struct ClientReply {
    long status; /* HTTP status */
    char *body;  /* NUL terminated, at most 32 MiB */
    size_t len;
} ClientReply;

void client_reply_done(ClientReply *r);

#define CLIENT_TOKEN_MAX 256
#define CLIENT_TOKEN_BYTES \
    258 /* a token, the newline of its file, and one to tell that more comes */

bool client_token_is_valid(const char *token); /* 1 to CLIENT_TOKEN_MAX visible ASCII characters */

/* In front of the absolute path of a UNIX socket it makes a base_url: the way through that socket
 * to port 8485 of *another* PC's loopback, as `ssh -L` makes it. The Host header is that of
 * CLIENT_URL_DEFAULT. */
#define CLIENT_SOCKET_PREFIX "unix:"

/* One request. token NULL: that of the default token file ($XDG_CONFIG_HOME/services_api/token), if
 * there is one and the host is a loopback address of this PC. body NULL: GET, else POST with
 * Content-Type: application/json. Returns 0 for any HTTP reply; -ECONNREFUSED when nobody listens;
 * -ETIMEDOUT; -EPROTO for what is not HTTP; -EFBIG; other negative errno. error_text (size bytes)
 * gets one sentence, "" with 0. */
int client_request(const char *base_url, const char *token, const char *path, const char *body,
                   uint32_t timeout_ms, ClientReply *ret, char *error_text, size_t size);
/* The same with DELETE. */
int client_delete(const char *base_url, const char *token, const char *path, uint32_t timeout_ms,
                  ClientReply *ret, char *error_text, size_t size);

typedef enum ClientState {
    CLIENT_CONNECTING, /* at the beginning, and for a moment while a gap is being healed */
    CLIENT_LIVE,       /* the receiver's picture is whole and kept up */
    CLIENT_LOST,       /* said again with each attempt that failed, until it is live */
} ClientState;

typedef struct ClientStream ClientStream;

typedef struct ClientStreamOps {
    /* CLIENT_LOST comes with a sentence, the others with ""; the stream goes on trying (0.5, 1, 2,
     * 4, 8 s). */
    void (*state)(void *userdata, ClientState state, const char *sentence);
    /* hello, snapshot and delta messages in order; a gap in seq has been healed by a new snapshot
     * before. Each snapshot replaces the receiver's whole picture. */
    void (*message)(void *userdata, const char *type, const Json *message);
    uint32_t silence_ms; /* so long without a byte (the server pings each 5 s) is lost; 0: 12,000 */
} ClientStreamOps;

/* base_url and token as for client_request(); a bad one shows as CLIENT_LOST. Returns -errno when
 * no thread could be started. */
int client_stream_new(const char *base_url, const char *token, const ClientStreamOps *ops,
                      void *userdata, ClientStream **ret);

/* Joins the thread; no callback afterwards. Not from a callback. */
ClientStream *client_stream_free(ClientStream *s);
