/* Fan-out to WebSocket clients. See stream.h.
 *
 * Frames are reference-counted: a delta for 2,000 clients exists once, however many of them are
 * slow, and so does the snapshot of one sequence number when all clients come back after a restart.
 * What a client owns is a short array of pointers, made when its socket is full for the first time
 * and freed when it has caught up, and a codec made with its first byte.
 *
 * The usual case is an empty queue: the frame goes straight into the socket, without EPOLLOUT.
 *
 * A client is never freed while somebody above on the stack may still use it: whoever finds it
 * unusable sets CLIENT_DEAD, and the outermost function (watch callback, broadcast, tick, accept)
 * calls client_settle(). */
#include "api/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "basic/macro.h"
#include "common/websocket.h"

#define SNAPSHOT_MAX (256U << 20)
#define QUEUE_FIRST  8
#define SEND_BUFFER  (128 << 10) /* the kernel's part of a slow client's queue */

typedef struct Frame {
    unsigned refs;
    bool is_free; /* does not count against the queue: hello, snapshot, replay */
    char *data;
    size_t len;
} Frame;

typedef enum ClientState {
    CLIENT_OPEN,
    CLIENT_CLOSING, /* we sent a close frame and wait for the client's */
    CLIENT_ENDING,  /* all is said: flush, then wait for the end of the client's stream */
    CLIENT_DEAD,    /* to be freed by client_settle() */
} ClientState;

typedef struct Client Client;

struct Client {
    NestWatch watch;
    Stream *stream;
    Client *prev, *next;
    WsCodec *codec; /* NULL until it sends something */
    Frame **queue;  /* ring of `cap` (a power of two) */
    uint32_t first, n, cap;
    size_t sent; /* bytes of the first frame that are out */
    size_t cost; /* of what is queued */
    uint64_t heard_us;
    uint64_t close_by_us; /* deadline of CLOSING and ENDING */
    ClientState state;
    uint8_t ping_phase;
    bool by_token;
};

struct Stream {
    Nest *nest;
    Publish *publish;
    Client *clients;
    size_t n_clients;
    uint64_t cut_off;
    uint64_t now_us;
    uint32_t ticks;
    uint8_t next_phase;
    Frame *ping;
    Frame *snapshot; /* as of the last delta; dropped with the next */
    uint64_t snapshot_seq;
};

static size_t frame_cost(const Frame *f)
{
    return f->is_free ? 0 : MIN(f->len, STREAM_FRAME_COST_MAX);
}

static Frame *frame_unref(Frame *f)
{
    if (f && --f->refs == 0) {
        free(f->data);
        free(f);
    }
    return NULL;
}

DEFINE_CLEANUP(Frame, frame_unref);

/* Takes the bytes of b; NULL when they are none or there is no memory. */
static Frame *frame_new(Buffer *b, bool is_free)
{
    size_t len;
    char *data = buffer_error(b) || b->len == 0 ? NULL : buffer_take(b, &len);
    Frame *f = data ? calloc(1, sizeof *f) : NULL;

    buffer_done(b);
    if (!f) {
        free(data);
        return NULL;
    }
    *f = (Frame){.refs = 1, .is_free = is_free, .data = data, .len = len};
    return f;
}

static Frame *frame_text(const char *json, size_t len, bool is_free)
{
    Buffer b = BUFFER_INIT(len + 16);

    ws_frame(&b, false, WS_TEXT, json, len);
    return frame_new(&b, is_free);
}

/* ---- one client's queue ---- */

static int queue_add(Client *c, Frame *f)
{
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : QUEUE_FIRST;
        Frame **queue = calloc(cap, sizeof(Frame *));
        if (!queue)
            return -ENOMEM;
        for (uint32_t i = 0; i < c->n; i++)
            queue[i] = c->queue[(c->first + i) & (c->cap - 1)];
        free(c->queue);
        c->queue = queue;
        c->cap = cap;
        c->first = 0;
    }
    c->queue[(c->first + c->n++) & (c->cap - 1)] = f;
    c->cost += frame_cost(f);
    f->refs++;
    return 0;
}

static void queue_drop_first(Client *c)
{
    Frame *f = c->queue[c->first];

    c->first = (c->first + 1) & (c->cap - 1);
    c->n--;
    c->cost -= frame_cost(f);
    c->sent = 0;
    frame_unref(f);
}

/* Drops what has not begun to be sent. */
static void queue_drop_rest(Client *c)
{
    uint32_t keep = c->sent > 0 ? 1 : 0;

    while (c->n > keep) {
        Frame *f = c->queue[(c->first + --c->n) & (c->cap - 1)];
        c->cost -= frame_cost(f);
        frame_unref(f);
    }
}

static void queue_done(Client *c)
{
    c->sent = 0;
    queue_drop_rest(c);
    free(c->queue);
    c->queue = NULL;
    c->cap = c->first = 0;
}

/* Returns how many bytes went out; on a broken connection the client is dead. */
static size_t client_send(Client *c, const char *data, size_t len)
{
    ssize_t n = send(c->watch.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n >= 0)
        return (size_t)n;
    if (errno != EAGAIN && errno != EINTR)
        c->state = CLIENT_DEAD;
    return 0;
}

static void client_watch(Client *c)
{
    if (c->state != CLIENT_DEAD &&
        nest_modify(c->stream->nest, &c->watch, EPOLLIN | (c->n ? EPOLLOUT : 0U)) < 0)
        c->state = CLIENT_DEAD;
}

/* Queues f, whatever the state and the limit. */
static void client_push(Client *c, Frame *f)
{
    size_t sent = 0;

    if (c->n == 0) {
        sent = client_send(c, f->data, f->len);
        if (sent == f->len || c->state == CLIENT_DEAD)
            return;
    }
    if (queue_add(c, f) < 0) {
        c->state = CLIENT_DEAD;
        return;
    }
    if (c->n == 1) {
        c->sent = sent;
        client_watch(c);
    }
}

static void client_close(Client *c, uint16_t code, const char *reason)
{
    Buffer b = BUFFER_INIT(256);

    ws_frame_close(&b, false, code, reason);
    CLEANUP(frame_unrefp) Frame *f = frame_new(&b, true);
    if (!f) {
        c->state = CLIENT_DEAD;
        return;
    }
    c->state = CLIENT_CLOSING;
    c->close_by_us = c->stream->now_us + STREAM_CLOSING_US;
    client_push(c, f);
}

static void client_put(Client *c, Frame *f)
{
    if (c->state != CLIENT_OPEN)
        return;
    if (c->n == 0 || c->cost + frame_cost(f) <= STREAM_QUEUE_MAX) {
        client_push(c, f);
        return;
    }
    c->stream->cut_off++;
    queue_drop_rest(c);
    client_close(c, 1008, "too slow");
}

static void client_end(Client *c)
{
    c->state = CLIENT_ENDING;
    if (!c->close_by_us)
        c->close_by_us = c->stream->now_us + STREAM_CLOSING_US;
    if (c->n == 0)
        shutdown(c->watch.fd, SHUT_WR);
}

static void client_flush(Client *c)
{
    while (c->n > 0) {
        const Frame *f = c->queue[c->first];
        c->sent += client_send(c, f->data + c->sent, f->len - c->sent);
        if (c->state == CLIENT_DEAD)
            return;
        if (c->sent < f->len)
            break;
        queue_drop_first(c);
    }
    if (c->n == 0) {
        queue_done(c);
        if (c->state == CLIENT_ENDING)
            shutdown(c->watch.fd, SHUT_WR);
    }
    client_watch(c);
}

static void client_free(Client *c)
{
    int fd = c->watch.fd;

    if (c->prev)
        c->prev->next = c->next;
    else
        c->stream->clients = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->stream->n_clients--;
    nest_remove(c->stream->nest, &c->watch);
    close_fd(fd);
    queue_done(c);
    ws_codec_free(c->codec);
    free(c);
}

static void client_settle(Client *c)
{
    if (c->state == CLIENT_DEAD)
        client_free(c);
}

/* ---- what clients send ---- */

/* Messages have no meaning yet: the stream goes one way. */
static void on_message(void *userdata, WsOpcode opcode, const uint8_t *payload, size_t len)
{
    (void)userdata;
    (void)opcode;
    (void)payload;
    (void)len;
}

static void client_feed(Client *c, const void *data, size_t len)
{
    Buffer out = BUFFER_INIT(STREAM_FRAME_COST_MAX);

    if (c->state > CLIENT_CLOSING || len == 0)
        return;
    if (!c->codec && ws_codec_new(false, STREAM_MESSAGE_MAX, on_message, c, &c->codec) < 0) {
        c->state = CLIENT_DEAD;
        return;
    }
    int r = ws_feed(c->codec, data, len, &out);
    CLEANUP(frame_unrefp) Frame *reply = frame_new(&out, false);
    if (reply && c->state == CLIENT_OPEN)
        client_put(c, reply);
    if (r < 0 && c->state != CLIENT_DEAD)
        client_end(c);
}

static void client_receive(Client *c)
{
    char bytes[16384];
    ssize_t n = recv(c->watch.fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n > 0) {
        c->heard_us = c->stream->now_us;
        client_feed(c, bytes, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        c->state = CLIENT_DEAD;
    }
}

static void on_client(NestWatch *w, uint32_t events)
{
    Client *c = container_of(w, Client, watch);

    if (events & EPOLLOUT)
        client_flush(c);
    if (c->state != CLIENT_DEAD && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        client_receive(c);
    client_settle(c);
}

/* ---- accepting ---- */

static void refuse(int fd)
{
    Buffer b = BUFFER_INIT(256);

    ws_frame_close(&b, false, 1013, "too many clients");
    if (b.len)
        send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buffer_done(&b);
    close(fd);
}

static Client *client_new(Stream *s, int fd)
{
    static const int size = SEND_BUFFER;
    Client *c = s->n_clients < STREAM_CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;

    if (!c || nest_add(s->nest, &c->watch, fd, EPOLLIN, on_client) < 0) {
        free(c);
        refuse(fd);
        return NULL;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    c->stream = s;
    c->heard_us = s->now_us;
    c->ping_phase = s->next_phase;
    s->next_phase = (uint8_t)((s->next_phase + 1) % STREAM_PING_EVERY_S);
    c->next = s->clients;
    if (c->next)
        c->next->prev = c;
    s->clients = c;
    s->n_clients++;
    return c;
}

/* Finds name's value in a raw query. 0 with at most size - 1 bytes copied. */
static int query_value(const char *query, const char *name, char *ret, size_t size)
{
    size_t name_len = strlen(name);

    while (*query) {
        size_t len = strcspn(query, "&");
        if (len > name_len && strncmp(query, name, name_len) == 0 && query[name_len] == '=') {
            size_t value_len = len - name_len - 1;
            if (value_len >= size)
                return -EINVAL;
            memcpy(ret, query + name_len + 1, value_len);
            ret[value_len] = '\0';
            return 0;
        }
        query += len + (query[len] == '&');
    }
    return -ENOENT;
}

static void on_replay(void *userdata, uint64_t seq, const char *json, size_t len)
{
    (void)seq;
    ws_frame(userdata, false, WS_TEXT, json, len);
}

/* The deltas that the client missed. False: it needs a snapshot, because it asks for none, they are
 * gone, or they are longer than what a queue may hold. */
static bool client_resume(Client *c, const char *query)
{
    char stream[32], since[24];
    Buffer b = BUFFER_INIT(STREAM_QUEUE_MAX);

    if (query_value(query, "stream", stream, sizeof stream) < 0 ||
        query_value(query, "since", since, sizeof since) < 0 || since[0] == '\0' ||
        strspn(since, "0123456789") != strlen(since) || strlen(since) > 18)
        return false;
    int r = publish_replay(c->stream->publish, stream, strtoull(since, NULL, 10), on_replay, &b);
    if (r < 0 || buffer_error(&b)) {
        buffer_done(&b);
        return false;
    }
    CLEANUP(frame_unrefp) Frame *f = frame_new(&b, true);
    if (f)
        client_push(c, f);
    return true;
}

/* One for all that come before the next delta. */
static Frame *get_snapshot(Stream *s, Now now)
{
    Buffer json = BUFFER_INIT(SNAPSHOT_MAX);

    if (s->snapshot && s->snapshot_seq == publish_seq(s->publish))
        return s->snapshot;
    s->snapshot = frame_unref(s->snapshot);
    s->snapshot_seq = publish_seq(s->publish);
    publish_snapshot(s->publish, now, &json);
    if (!buffer_error(&json))
        s->snapshot = frame_text(json.data, json.len, true);
    buffer_done(&json);
    return s->snapshot;
}

static void client_greet(Client *c, const char *query, Now now)
{
    Buffer json = BUFFER_INIT(4096);

    publish_hello(c->stream->publish, &json);
    CLEANUP(frame_unrefp)
    Frame *hello = buffer_error(&json) ? NULL : frame_text(json.data, json.len, true);
    buffer_done(&json);
    if (!hello) {
        c->state = CLIENT_DEAD;
        return;
    }
    client_push(c, hello);
    if (c->state == CLIENT_DEAD || client_resume(c, query))
        return;
    Frame *snapshot = get_snapshot(c->stream, now);
    if (snapshot)
        client_push(c, snapshot);
    else
        c->state = CLIENT_DEAD;
}

void stream_accept(Stream *s, int fd, bool by_token, const char *query, const void *extra,
                   size_t extra_len, Now now)
{
    s->now_us = now.mono_us;
    Client *c = client_new(s, fd);
    if (!c)
        return;
    c->by_token = by_token;
    client_greet(c, query, now);
    client_feed(c, extra, extra_len);
    client_settle(c);
}

/* ---- to all ---- */

void stream_broadcast(void *stream, uint64_t seq, const char *json, size_t len)
{
    Stream *s = stream;

    (void)seq;
    s->snapshot = frame_unref(s->snapshot);
    CLEANUP(frame_unrefp) Frame *f = s->clients ? frame_text(json, len, false) : NULL;
    for (Client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (f)
            client_put(c, f);
        else
            c->state = CLIENT_DEAD; /* without memory: a gap must not go unnoticed */
        client_settle(c);
    }
}

static void client_tick(Client *c, bool ping)
{
    Stream *s = c->stream;

    if (c->close_by_us ? s->now_us >= c->close_by_us : s->now_us >= c->heard_us + STREAM_SILENCE_US)
        c->state = CLIENT_DEAD;
    else if (ping && c->n == 0)
        client_put(c, s->ping);
    client_settle(c);
}

void stream_tick(Stream *s, Now now)
{
    uint32_t phase = s->ticks++ % STREAM_PING_EVERY_S;

    s->now_us = now.mono_us;
    for (Client *c = s->clients, *next; c; c = next) {
        next = c->next;
        client_tick(c, c->ping_phase == phase);
    }
}

/* Unlike others that are closed it gets no time for the handshake: the next tick drops it. */
static void client_expel(Client *c, const char *reason)
{
    queue_drop_rest(c);
    if (c->state == CLIENT_OPEN)
        client_close(c, 1008, reason);
    if (c->state == CLIENT_DEAD)
        return;
    client_end(c);
    c->close_by_us = c->stream->now_us;
}

void stream_end_by_token(Stream *s, const char *reason, Now now)
{
    s->now_us = now.mono_us;
    for (Client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (c->by_token)
            client_expel(c, reason);
        client_settle(c);
    }
}

void stream_close_all(Stream *s, uint16_t code, const char *reason)
{
    for (Client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (c->state == CLIENT_OPEN)
            client_close(c, code, reason);
        client_settle(c);
    }
}

size_t stream_clients(const Stream *s)
{
    return s->n_clients;
}

uint64_t stream_cut_off(const Stream *s)
{
    return s->cut_off;
}

/* ---- birth and end ---- */

int stream_new(Nest *nest, Stream **ret)
{
    Buffer ping = BUFFER_INIT(16);
    Stream *s = calloc(1, sizeof *s);

    ws_frame(&ping, false, WS_PING, NULL, 0);
    Frame *f = frame_new(&ping, false);
    if (!s || !f) {
        free(s);
        frame_unref(f);
        return -ENOMEM;
    }
    s->nest = nest;
    s->ping = f;
    *ret = s;
    return 0;
}

Stream *stream_free(Stream *s)
{
    if (!s)
        return NULL;
    while (s->clients)
        client_free(s->clients);
    frame_unref(s->ping);
    frame_unref(s->snapshot);
    free(s);
    return NULL;
}

void stream_set_publish(Stream *s, Publish *p)
{
    s->publish = p;
}
