/* libmicrohttpd as a guest of our loop: its epoll fd is a watch of the nest. One listening socket
 * per address.
 *
 * Every request passes gate_check() and the role check before a route's handler sees it. A handler
 * answers at once with http_reply*() or keeps the HttpRequest (suspended) and answers later from
 * the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/gate.h"
#include "api/http-server-socket.h"
#include "basic/buffer.h"
#include "basic/epoll-nest.h"

#define HTTP_REQUEST_TIMEOUT_MS 10000
#define HTTP_IDLE_TIMEOUT_MS    30000  /* a kept-alive connection between two requests */
#define HTTP_REPLY_TIMEOUT_MS   120000 /* a client that reads its reply slowly */
#define HTTP_CONNECTIONS_MAX    1024   /* per listening socket; upgraded ones do not count */
#define HTTP_CONNECTIONS_CROWD  768    /* from here on the oldest that asks nothing makes room */
#define HTTP_HEAD_MAX           8192
#define HTTP_SEGMENTS_MAX       4

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

/* path[]: the decoded-free path segments that matched '*' in the route's pattern */
typedef void (*HttpHandler)(void *userdata, HttpRequest *request);

typedef struct HttpRoute {
    const char *method;
    const char *pattern; /* "/api/services/" "*" "/" "*" "/check": '*' is one whole segment that
                            passed name_is_id() */
    GateNeed need;
    HttpHandler handler;
    bool upgrade; /* a WebSocket route */
} HttpRoute;

/* A row of a table of routes. One that does not say what it needs does not compile. */
#define HTTP_ROUTE(method_, pattern_, need_, handler_, upgrade_)              \
    {                                                                         \
        .method = (method_), .pattern = (pattern_), .need = HTTP_NEED(need_), \
        .handler = (handler_), .upgrade = (upgrade_)                          \
    }
#define HTTP_NEED(need_)                                                                           \
    ((GateNeed)((size_t)(need_) + 0 * sizeof(struct {                                              \
                                      _Static_assert((need_) > NEED_INVALID && (need_) < NEED_MAX, \
                                                     "a route says what its caller needs");        \
                                      char unused;                                                 \
                                  })))

typedef struct HttpServerOptions {
    const HttpRoute *routes;
    size_t n_routes;
    GateRules rules;
    const char *token;
    bool actions_enabled;
    void *userdata; /* for the handlers */
    /* Hands an upgraded socket over: the receiver owns fd and closes it, the server has forgotten
     * the connection. query: the target's part behind '?', "" when there is none. extra: bytes the
     * client sent behind its request. role: why it was let in. */
    void (*upgraded)(void *userdata, int fd, GateRole role, const char *query, const void *extra,
                     size_t extra_len);
    /* A request to a route of NEED_ACTION was refused before its handler, while actions are
     * enabled; its segments and who it was can be asked for. NULL: nobody wants to know. */
    void (*refused)(void *userdata, HttpRequest *r, int status, const char *why);
    uint32_t request_timeout_ms; /* for a whole request to arrive; 0: HTTP_REQUEST_TIMEOUT_MS */
} HttpServerOptions;

/* listen_fds: bound and listening sockets, taken over. rules and token are borrowed until
 * others are put in their place. -EINVAL: a route without a need. */
int http_server_new(Nest *nest, const int *listen_fds, size_t n, const HttpServerOptions *options,
                    HttpServer **ret);
/* Both from the next request on, also on connections that are open. Who came by the token before is
 * nobody now. */
void http_server_configure(HttpServer *s, const GateRules *rules, bool actions_enabled);
void http_server_set_token(HttpServer *s, const char *token);
HttpServer *http_server_free(HttpServer *s); /* pending requests are dropped */
/* Must be called before each sleep of the loop: returns in how many ms the server wants
 * http_server_run(), -1 never. */
int64_t http_server_timeout_ms(HttpServer *s);
void http_server_run(HttpServer *s);

const char *http_segment(const HttpRequest *r,
                         size_t i); /* the i-th '*' of the pattern, NULL beyond */
const char *http_query(const HttpRequest *r,
                       const char *name); /* first value, undecoded, NULL when absent */
/* A query number within min..max: otherwise when absent; -EINVAL in *error when it is no such
 * number. */
int64_t http_query_int(const HttpRequest *r, const char *name, int64_t min, int64_t max,
                       int64_t otherwise, int *error);
const char *http_header(const HttpRequest *r, const char *name);
const char *http_body(const HttpRequest *r, size_t *ret_len); /* at most 64 KiB */
GateRole http_role(HttpRequest *r);
int64_t http_caller_uid(
    HttpRequest *r); /* at the other end of a loopback connection; -1: unknown */

/* Each answers and ends the request; r must not be used afterwards. */
void http_reply_json(HttpRequest *r, int status, const char *json, size_t len); /* copies */
/* Shared body with ETag; answers 304 to a matching If-None-Match. The same json pointer and version
 * is copied once. */
void http_reply_cached(HttpRequest *r, const char *json, size_t len, uint64_t version);
/* The JSON in b, which is freed; 500 when it could not be built. */
void http_reply_buffer(HttpRequest *r, int status, Buffer *b);
void http_reply_problem(HttpRequest *r, int status, const char *title,
                        const char *detail); /* RFC 9457 */
void http_reply_text(HttpRequest *r, int status, const char *content_type, const char *text,
                     size_t len);

/* Keeps r alive after the handler returned; the server calls gone(userdata) if the client leaves
 * before the reply. */
void http_suspend(HttpRequest *r, void (*gone)(void *userdata), void *userdata);
