/* The HTTP server: libmicrohttpd on the loop's thread, one daemon per listening socket.
 *
 * libmicrohttpd keeps its connections in an epoll of its own; that epoll fd is one watch of our
 * nest. The life of a connection is a Phase (http-server-private.h), each with its own deadline,
 * because libmicrohttpd's timeout starts anew with every byte and so never ends a slowloris. What
 * 0.9.75 does that one would not expect, each measured and covered by a test:
 *
 * - The head's limit is the connection's memory pool, and a head that does not fit stalls the
 *   connection instead of being refused: the deadline ends it, with a 431 of ours.
 * - A closed upgrade handle neither wakes the epoll fd nor shows in MHD_get_timeout(): `again`. An
 *   upgraded socket is duplicated and its connection closed at once, so libmicrohttpd holds no
 * memory and no slot for a WebSocket client.
 * - Suspended connections are not watched, so their leaving is seen by a watch of ours, and all
 * must be resumed before the daemon may stop.
 * - Options it "accepts" (two Hosts, absolute URIs, decoded NULs) are the gate's business. */
#include "api/http-server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "api/http-server-private.h"
#include "basic/clock.h"
#include "common/websocket.h"

#define POOL_SIZE    (16U << 10) /* holds a head of HTTP_HEAD_MAX with what is parsed out of it */
#define SWEEP_US     USEC_PER_SEC
#define RUNS_AT_ONCE 16

/* ---- connections ---- */

void connection_enter(Connection *c, Phase phase)
{
    const uint64_t request_us = c->server->options.request_timeout_ms * USEC_PER_MSEC;
    const uint64_t limits_us[PHASE_MAX] = {
        [PHASE_FRESH] = request_us,
        [PHASE_IDLE] = HTTP_IDLE_TIMEOUT_MS * USEC_PER_MSEC,
        [PHASE_HEAD] = request_us,
        [PHASE_BODY] = request_us,
        [PHASE_REPLY] = HTTP_REPLY_TIMEOUT_MS * USEC_PER_MSEC,
    };

    c->phase = phase;
    c->deadline_us = limits_us[phase] ? c->server->now_us + limits_us[phase] : UINT64_MAX;
}

static Connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

/* libmicrohttpd sees the end of the stream and cleans up. */
static void connection_cut(Connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
    c->deadline_us = UINT64_MAX;
}

/* Ends a connection whose time is up. */
static void connection_expire(Connection *c)
{
    static const char too_large[] = "HTTP/1.1 431 Request Header Fields Too Large\r\n"
                                    "Connection: close\r\nContent-Length: 0\r\n\r\n";
    int unread = 0;

    /* Bytes that libmicrohttpd left lying: the head filled its pool. Nothing was sent yet. */
    if (c->phase < PHASE_BODY && ioctl(c->fd, FIONREAD, &unread) == 0 && unread > 0)
        send(c->fd, too_large, strlen(too_large), MSG_NOSIGNAL | MSG_DONTWAIT);
    connection_cut(c);
}

/* Before all places are taken, which would lock everybody out: of those who ask nothing now, the
 * one that has been there longest goes. Who asks at once is never that one. */
static void make_room(HttpServer *s)
{
    if (s->n_connections < HTTP_CONNECTIONS_CROWD)
        return;
    for (Connection *c = s->oldest; c; c = c->prev)
        if (c->phase < PHASE_BODY && c->deadline_us != UINT64_MAX) {
            connection_cut(c);
            return;
        }
}

static void connection_new(HttpServer *s, struct MHD_Connection *mhd, void **context)
{
    Connection *c = calloc(1, sizeof *c);

    if (!c)
        return; /* on_target() finds no connection and the request ends there */
    c->server = s;
    c->mhd = mhd;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    c->request.connection = c;
    c->request.watch = NEST_WATCH_INIT;
    connection_enter(c, PHASE_FRESH);
    make_room(s);
    c->next = s->connections;
    if (c->next)
        c->next->prev = c;
    else
        s->oldest = c;
    s->connections = c;
    s->n_connections++;
    *context = c;
}

static void connection_free(Connection *c)
{
    request_reset(&c->request);
    if (c->prev)
        c->prev->next = c->next;
    else
        c->server->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        c->server->oldest = c->prev;
    c->server->n_connections--;
    free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_new(cls, mhd, context);
    else if (*context)
        connection_free(*context);
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, a, sizeof in6);
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

static void learn_peer(Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    uint32_t uid;

    if (c->peer_known)
        return;
    c->peer_known = true;
    c->peer_role = ROLE_NOBODY;
    c->peer_uid = -1;
    if (!info || !info->client_addr || !is_loopback(info->client_addr) ||
        http_peer_uid_by(c->server->diag_fd, c->fd, &uid) < 0)
        return;
    c->peer_uid = uid;
    if (uid == 0 || uid == getuid())
        c->peer_role = ROLE_LOCAL;
}

static GateRole request_role(const HttpRequest *r)
{
    Connection *c = r->connection;

    if (gate_token_matches(http_header(r, "Authorization"), c->server->options.token))
        return ROLE_TOKEN;
    learn_peer(c);
    return c->peer_role;
}

/* ---- the way of a request: gate, route, role, body, handler ---- */

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    Head *head = cls;

    (void)kind;
    if (head->n_headers == ELEMENTS(head->headers))
        return MHD_NO;
    head->headers[head->n_headers++] = (GateHeader){name, value ? value : name + strlen(name)};
    return MHD_YES;
}

static unsigned gate_status(GateVerdict verdict)
{
    static const unsigned statuses[] = {
        [GATE_PASS] = 0,
        [GATE_BAD_REQUEST] = 400,
        [GATE_FORBIDDEN_HOST] = 421,
        [GATE_FORBIDDEN_ORIGIN] = 403,
        [GATE_TOO_LARGE] = 413,
        [GATE_URI_TOO_LONG] = 414,
    };

    return statuses[verdict];
}

static unsigned pass_gate(HttpRequest *r, const char *method, const char *version, const char **why)
{
    struct MHD_Connection *mhd = r->connection->mhd;
    Head head = {.method = method, .version = version};

    head.len = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
    if (head.len > HTTP_HEAD_MAX) {
        *why = "The request's head is larger than 8 KiB.";
        return 431;
    }
    MHD_get_connection_values(mhd, MHD_HEADER_KIND, on_header, &head);
    GateRequest request = {
        .method = method,
        .target = r->target.data,
        .version = version,
        .headers = head.headers,
        .n_headers = head.n_headers,
    };
    GateVerdict verdict = gate_check(&r->connection->server->options.rules, &request, why);
    if (verdict == GATE_PASS && !request_head_is_whole(r, &head)) {
        *why = "The request's head has NUL bytes, folded lines or doubled spaces in it.";
        verdict = GATE_BAD_REQUEST;
    }
    return gate_status(verdict);
}

static bool is_json_type(const char *type)
{
    static const char json[] = "application/json";

    return type && strncasecmp(type, json, strlen(json)) == 0 && strchr("; \t", type[strlen(json)]);
}

/* A refused wish to act is written down, unless the daemon does not act at all. */
static void tell_refused(HttpRequest *r, unsigned status, const char *why)
{
    const HttpServerOptions *o = &r->connection->server->options;

    if (o->refused && o->actions_enabled && r->route && r->route->need == NEED_ACTION)
        o->refused(o->userdata, r, (int)status, why);
}

static void refuse_role(HttpRequest *r, int status)
{
    static const char no_token[] =
        "This needs the token of this daemon, as \"Authorization: Bearer ...\".";

    if (status == 403)
        return reply_refusal(r, 403, "Actions are switched off (features.actions in config.yaml).",
                             NULL, NULL);
    tell_refused(r, 401, no_token);
    reply_refusal(r, 401, no_token, "WWW-Authenticate", "Bearer");
}

/* Where it was to go can be told when nothing but its Host or Origin is wrong. */
static void refuse_gate(HttpRequest *r, const char *method, unsigned status, const char *why)
{
    char allow[64];

    if ((status == 421 || status == 403) && request_route(r, method, allow, sizeof allow) == 0)
        tell_refused(r, status, why);
    reply_refusal(r, status, why, NULL, NULL);
}

/* Everything that can be judged from the head. Refusals are answered here, before any body. */
static void request_judge(HttpRequest *r, const char *method, const char *version)
{
    HttpServer *s = r->connection->server;
    const char *why = NULL;
    char allow[64];
    unsigned refused = pass_gate(r, method, version, &why);

    if (refused)
        return refuse_gate(r, method, refused, why);
    int status = request_route(r, method, allow, sizeof allow);
    if (status == 404)
        return reply_refusal(r, 404, "There is nothing at this path.", NULL, NULL);
    if (status == 405)
        return reply_refusal(r, 405, "This path does not know that method.", "Allow", allow);
    r->role = request_role(r);
    r->role_age = s->token_changes;
    status = gate_allows(r->route->need, r->role, s->options.actions_enabled);
    if (status)
        return refuse_role(r, status);
    if (strcmp(method, "POST") == 0 && !is_json_type(http_header(r, "Content-Type"))) {
        why = "A POST needs Content-Type: application/json.";
        tell_refused(r, 415, why);
        return reply_refusal(r, 415, why, NULL, NULL);
    }
    request_split_query(r);
    r->body.max = GATE_BODY_MAX;
    connection_enter(r->connection, PHASE_BODY);
}

static void on_upgraded(void *cls, struct MHD_Connection *mhd, void *request, const char *extra,
                        size_t extra_len, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
    static const int one = 1;
    HttpRequest *r = request;
    HttpServer *s = r->connection->server;
    bool is_past = r->role == ROLE_TOKEN && r->role_age != s->token_changes;
    int own = is_past ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);

    (void)cls;
    (void)mhd;
    if (own >= 0) {
        fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK);
        setsockopt(own, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        s->options.upgraded(s->options.userdata, own, r->role, r->query, extra, extra_len);
    }
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
    s->again = true;
}

static void request_upgrade(HttpRequest *r)
{
    const char *key = http_header(r, "Sec-WebSocket-Key");
    const char *version = http_header(r, "Sec-WebSocket-Version");
    char accept_key[29];

    if (!header_has_word(http_header(r, "Upgrade"), "websocket") ||
        !header_has_word(http_header(r, "Connection"), "Upgrade"))
        return reply_refusal(r, 426, "This path speaks WebSocket only.", "Upgrade", "websocket");
    if (!version || strcmp(version, "13") != 0)
        return reply_refusal(r, 426, "WebSocket version 13 is spoken here.",
                             "Sec-WebSocket-Version", "13");
    if (!key || ws_accept_key(key, accept_key) < 0)
        return reply_refusal(r, 400, "Sec-WebSocket-Key is malformed.", NULL, NULL);
    reply_upgrade(r, accept_key, on_upgraded);
}

static void on_client_left(NestWatch *w, uint32_t events)
{
    HttpRequest *r = container_of(w, HttpRequest, watch);
    Connection *c = r->connection;

    (void)events;
    nest_remove(c->server->nest, w);
    connection_enter(c, PHASE_GONE);
    r->gone(r->gone_userdata);
    MHD_resume_connection(c->mhd);
}

static void request_suspend(HttpRequest *r)
{
    Connection *c = r->connection;

    connection_enter(c, PHASE_SUSPENDED);
    MHD_suspend_connection(c->mhd);
    /* Without the watch (no memory for it) a leaving client is noticed when the reply is sent. */
    nest_add(c->server->nest, &r->watch, c->fd, EPOLLRDHUP, on_client_left);
}

static void request_handle(HttpRequest *r)
{
    Connection *c = r->connection;
    HttpServer *s = c->server;

    connection_enter(c, PHASE_HANDLER);
    if (r->role_age != s->token_changes) { /* while its body was on its way */
        r->role = request_role(r);
        r->role_age = s->token_changes;
        int status = gate_allows(r->route->need, r->role, s->options.actions_enabled);
        if (status)
            return refuse_role(r, status);
    }
    if (r->route->upgrade)
        request_upgrade(r);
    else
        r->route->handler(s->options.userdata, r);
    if (c->phase != PHASE_HANDLER)
        return;
    if (r->suspend)
        request_suspend(r);
    else
        reply_refusal(r, 500, "The request was not answered.", NULL, NULL);
}

GateRole http_role(HttpRequest *r)
{
    return request_role(r);
}

int64_t http_caller_uid(HttpRequest *r)
{
    learn_peer(r->connection);
    return r->connection->peer_uid;
}

void http_suspend(HttpRequest *r, void (*gone)(void *userdata), void *userdata)
{
    r->suspend = true;
    r->gone = gone;
    r->gone_userdata = userdata;
}

/* ---- libmicrohttpd's callbacks ---- */

/* The request line is there, and nothing has been cut up or decoded yet. What is returned becomes
 * on_access()'s context. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    Connection *c = connection_of(mhd);

    (void)cls;
    if (!c || !request_take_target(&c->request, target))
        return NULL;
    connection_enter(c, PHASE_HEAD);
    return &c->request;
}

static size_t on_unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

static void request_take_body(HttpRequest *r, const char *data, size_t *len)
{
    buffer_append(&r->body, data, *len);
    *len = 0;
    if (buffer_error(&r->body))
        reply_refusal(r, 413, "The body is larger than 64 KiB.", NULL, NULL);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **context)
{
    HttpRequest *r = *context;

    (void)cls;
    (void)mhd;
    (void)url;
    if (!r)
        return MHD_NO;
    switch (r->connection->phase) {
    case PHASE_HEAD: request_judge(r, method, version); break;
    case PHASE_BODY:
        if (*len)
            request_take_body(r, data, len);
        else
            request_handle(r);
        break;
    case PHASE_REPLY: break;
    default: return MHD_NO;
    }
    switch (r->connection->phase) {
    case PHASE_BODY:
    case PHASE_SUSPENDED: return MHD_YES;
    case PHASE_REPLY: return request_queue(r);
    default: return MHD_NO;
    }
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    HttpRequest *r = *context;

    (void)cls;
    (void)mhd;
    (void)code;
    if (!r)
        return;
    *context = NULL;
    request_reset(r);
    connection_enter(r->connection, PHASE_IDLE);
}

/* ---- running ---- */

static void listener_run(Listener *l)
{
    HttpServer *s = l->server;
    MHD_UNSIGNED_LONG_LONG ms;

    s->now_us = clock_now().mono_us;
    for (int i = 0; i < RUNS_AT_ONCE; i++) {
        s->again = false;
        MHD_run(l->daemon);
        if (!s->again && (MHD_get_timeout(l->daemon, &ms) != MHD_YES || ms > 0))
            return;
    }
}

static void on_listener(NestWatch *w, uint32_t events)
{
    (void)events;
    listener_run(container_of(w, Listener, watch));
}

static void sweep(HttpServer *s)
{
    s->now_us = clock_now().mono_us;
    if (s->now_us < s->swept_us + SWEEP_US)
        return;
    s->swept_us = s->now_us;
    for (Connection *c = s->connections; c; c = c->next)
        if (c->deadline_us <= s->now_us)
            connection_expire(c);
}

void http_server_run(HttpServer *s)
{
    sweep(s);
    for (size_t i = 0; i < s->n_listeners; i++)
        listener_run(&s->listeners[i]);
}

int64_t http_server_timeout_ms(HttpServer *s)
{
    int64_t timeout = -1;

    if (s->again)
        return 0;
    if (s->connections) {
        uint64_t now_us = clock_now().mono_us;
        uint64_t due_us = s->swept_us + SWEEP_US;
        timeout = now_us >= due_us ? 0 : (int64_t)((due_us - now_us) / USEC_PER_MSEC + 1);
    }
    for (size_t i = 0; i < s->n_listeners; i++) {
        MHD_UNSIGNED_LONG_LONG ms;
        if (MHD_get_timeout(s->listeners[i].daemon, &ms) == MHD_YES &&
            (timeout < 0 || (int64_t)ms < timeout))
            timeout = (int64_t)ms;
    }
    return timeout;
}

/* ---- birth and end ---- */

static bool is_ipv6(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;

    return getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.ss_family == AF_INET6;
}

static int listener_init(Listener *l, HttpServer *s, int listen_fd)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME;

    if (is_ipv6(listen_fd))
        flags |= MHD_USE_IPv6;
    l->server = s;
    l->watch = NEST_WATCH_INIT;
    l->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL,
        MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_SIZE, MHD_OPTION_END);
    if (!l->daemon) {
        close(listen_fd);
        return -ENOMEM;
    }
    int fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return nest_add(s->nest, &l->watch, fd, EPOLLIN, on_listener);
}

static int make_etag_salt(char salt[static 9])
{
    uint32_t random;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    snprintf(salt, 9, "%08x", random);
    return 0;
}

static void http_server_freep(HttpServer **s)
{
    *s = http_server_free(*s);
}

int http_server_new(Nest *nest, const int *listen_fds, size_t n, const HttpServerOptions *options,
                    HttpServer **ret)
{
    CLEANUP(http_server_freep) HttpServer *s = calloc(1, sizeof *s);
    int r = !s ? -ENOMEM : n > LISTENERS_MAX ? -E2BIG : 0;

    for (size_t i = 0; i < options->n_routes && r == 0; i++)
        if (options->routes[i].need <= NEED_INVALID || options->routes[i].need >= NEED_MAX)
            r = -EINVAL;

    if (s) {
        s->nest = nest;
        s->options = *options;
        s->diag_fd = -1;
        s->now_us = s->swept_us = clock_now().mono_us;
        if (!s->options.request_timeout_ms)
            s->options.request_timeout_ms = HTTP_REQUEST_TIMEOUT_MS;
    }
    if (r == 0)
        r = make_etag_salt(s->etag_salt);
    if (r == 0)
        r = s->diag_fd = http_diag_open();
    for (size_t i = 0; i < n; i++) {
        if (r < 0)
            close(listen_fds[i]); /* taken over in any case */
        else
            r = listener_init(&s->listeners[s->n_listeners++], s, listen_fds[i]);
    }
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

void http_server_configure(HttpServer *s, const GateRules *rules, bool actions_enabled)
{
    s->options.rules = *rules;
    s->options.actions_enabled = actions_enabled;
}

void http_server_set_token(HttpServer *s, const char *token)
{
    s->options.token = token;
    s->token_changes++;
}

/* Whoever still works on an answer is told to forget it. */
static void drop_suspended(HttpServer *s)
{
    for (Connection *c = s->connections; c; c = c->next)
        if (c->phase == PHASE_SUSPENDED)
            on_client_left(&c->request.watch, EPOLLHUP);
}

HttpServer *http_server_free(HttpServer *s)
{
    if (!s)
        return NULL;
    drop_suspended(s);
    for (size_t i = 0; i < s->n_listeners; i++) {
        Listener *l = &s->listeners[i];
        nest_remove(s->nest, &l->watch);
        if (!l->daemon)
            continue;
        MHD_run(l->daemon); /* the resumed ones end here */
        MHD_stop_daemon(l->daemon);
    }
    reply_cache_drop(s);
    close_fd(s->diag_fd);
    free(s);
    return NULL;
}
