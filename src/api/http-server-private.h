/* What the http-server*.c files share; nobody else includes this. */
#pragma once

#include <microhttpd.h>

#include "api/http-server.h"
#include "common/unit.h"

#define LISTENERS_MAX 4
#define CACHED_MAX    4
#define ARGUMENTS_MAX 16

typedef struct Connection Connection;

/* One function may change a phase's deadline: connection_enter(). */
typedef enum Phase {
    PHASE_FRESH,     /* accepted, nothing understood yet */
    PHASE_IDLE,      /* kept alive after a reply */
    PHASE_HEAD,      /* the request line is here, the gate has not seen it yet */
    PHASE_BODY,      /* passed the gate and the role check */
    PHASE_HANDLER,   /* the route's handler is running, or has suspended the request */
    PHASE_SUSPENDED, /* waits for its reply; libmicrohttpd does not look at the socket */
    PHASE_REPLY,     /* a response is set */
    PHASE_GONE,      /* the client left while suspended: to be closed without a reply */
    PHASE_MAX
} Phase;

typedef struct Argument {
    const char *name;
    const char *value;
} Argument;

struct HttpRequest {
    Connection *connection;
    const HttpRoute *route;
    GateRole role;         /* of who asks, once it was judged */
    unsigned role_age;     /* the server's token_changes by then */
    Buffer target;         /* as it came, with a NUL */
    const char *raw;       /* where libmicrohttpd holds it: for request_head_is_whole() only */
    const char *query;     /* within target, "" when there is none */
    Buffer arguments_text; /* the query cut into arguments */
    Argument arguments[ARGUMENTS_MAX];
    size_t n_arguments;
    char segments[HTTP_SEGMENTS_MAX][ID_MAX + 1];
    size_t n_segments;
    Buffer body;
    bool suspend; /* http_suspend() was called */
    void (*gone)(void *userdata);
    void *gone_userdata;
    NestWatch watch; /* for the client's leaving, while suspended */
    struct MHD_Response *response;
    bool response_is_shared; /* belongs to the cache */
    unsigned status;
};

struct Connection {
    HttpServer *server;
    struct MHD_Connection *mhd;
    Connection *prev, *next;
    int fd;
    Phase phase;
    uint64_t deadline_us;
    bool peer_known;
    GateRole peer_role;
    int64_t peer_uid;    /* -1: unknown */
    HttpRequest request; /* one at a time: pipelined ones wait in libmicrohttpd */
};

/* A body that many requests share: GET /api/services at one state version. */
typedef struct Cached {
    const char *json;
    uint64_t version;
    struct MHD_Response *response;
} Cached;

typedef struct Listener {
    HttpServer *server;
    NestWatch watch;
    struct MHD_Daemon *daemon;
} Listener;

struct HttpServer {
    Nest *nest;
    HttpServerOptions options;
    Listener listeners[LISTENERS_MAX];
    size_t n_listeners;
    Connection *connections, *oldest; /* newest first */
    size_t n_connections;
    Cached cached[CACHED_MAX];
    size_t cached_next;
    char etag_salt[9]; /* versions start anew with every daemon */
    int diag_fd;
    uint64_t now_us;
    uint64_t swept_us;
    unsigned token_changes;
    bool again; /* libmicrohttpd has work that it does not tell of */
};

void connection_enter(Connection *c, Phase phase);

/* Routing and arguments (http-server-request.c). */
bool request_take_target(HttpRequest *r, const char *target);
/* The head as libmicrohttpd cut it up. */
typedef struct Head {
    const char *method;
    const char *version;
    size_t len; /* from the method to the empty line, included */
    GateHeader headers[GATE_HEADERS_MAX + 1];
    size_t n_headers;
} Head;

bool request_head_is_whole(const HttpRequest *r, const Head *head);
void request_split_query(HttpRequest *r);
/* 0 with r->route set, or the status of the refusal: 404, 405 (allow gets the methods). */
int request_route(HttpRequest *r, const char *method, char *allow, size_t size);
void request_reset(HttpRequest *r);
bool header_has_word(const char *value, const char *word);

/* Replies (http-server-reply.c). */
enum MHD_Result request_queue(HttpRequest *r);
void reply_refusal(HttpRequest *r, unsigned status, const char *detail, const char *header,
                   const char *value);
void reply_upgrade(HttpRequest *r, const char *accept_key, MHD_UpgradeHandler upgraded);
void reply_cache_drop(HttpServer *s);
