/* What the parts of the client share: client.c (addresses, token, REST), client-link.c (one
 * WebSocket connection), client-stream.c (the thread that keeps one). Nobody else includes this. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/buffer.h"

#define CLIENT_BODY_MAX (32U << 20)

/* Where to, and as whom. */
typedef struct ClientTarget {
    char *base;            /* "http://127.0.0.1:8485", without a slash at its end */
    const char *authority; /* within base: "127.0.0.1:8485/..." */
    size_t authority_len;
    char *socket_path; /* NULL: TCP. Else the file to connect to in place of the authority */
    char *token;       /* NULL: none */
} ClientTarget;

/* token NULL: that of the default token file, for a loopback host only, since it is the secret of
 * this machine's daemon. -EINVAL: not a usable URL or token; error_text says which. */
int client_target_init(ClientTarget *ret, const char *base_url, const char *token, char *error_text,
                       size_t size);
void client_target_done(ClientTarget *t);

/* One curl handle for base + path with everything that is the same for all requests. CURL is void.
 */
int client_curl_new(const ClientTarget *t, const char *path, uint32_t timeout_ms, void **ret);

/* Translates a CURLcode to -errno and one sentence. */
int client_curl_error(void *curl, int code, const ClientTarget *t, char *error_text, size_t size);

typedef struct ClientLink ClientLink;

/* Connects and upgrades, at most 5 s each. stop_fd readable: -ECANCELED at once (within 1 s while a
 * name is being resolved). */
int client_link_open(const ClientTarget *t, const char *path, int stop_fd, ClientLink **ret,
                     char *error_text, size_t size);
ClientLink *client_link_free(ClientLink *l);
ssize_t client_link_receive(ClientLink *l, void *buf, size_t size); /* 0: closed; -EAGAIN: wait */
int client_link_send(ClientLink *l,
                     Buffer *out); /* consumes what went out; 0 also when it is full */

/* Until the link is readable (or writable, when want_write) 0; -ETIMEDOUT; -ECANCELED: stop_fd. */
int client_link_wait(const ClientLink *l, bool want_write, uint32_t timeout_ms);
