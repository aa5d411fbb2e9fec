/* The client's live stream: a thread that keeps one WebSocket connection and tells the truth about
 * it; see client.h.
 *
 * One round of the thread is one connection: open, feed the codec, judge each message, until
 * something ends it. What the receiver holds is described by (stream, seq): hello names the stream,
 * a snapshot or a delta moves seq. The next connection asks to go on from there. A delta that does
 * not follow exactly means that the receiver's picture is wrong: the picture is given up
 * (has_picture) and the next connection, made at once, begins with a snapshot. A second gap within
 * HEALTHY_MS waits like any other failure, so that a broken daemon is not asked in a tight loop.
 *
 * Everything in ClientStream but stop_fd and the thread belongs to the thread; ops, URL and token
 * do not change after its start. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/text.h"
#include "common/client-private.h"
#include "common/client.h"
#include "common/name.h"
#include "common/protocol.h"
#include "common/websocket.h"

#define SILENCE_MS  12000
#define HEALTHY_MS  5000 /* a connection that was live for so long wipes out past failures */
#define BACKOFF_MS  500  /* doubled with each failure, up to 8 s */
#define REPLIES_MAX (64U << 10)

struct ClientStream {
    char *base_url;
    char *token;
    ClientStreamOps ops;
    void *userdata;
    uint32_t silence_ms;
    int stop_fd;
    pthread_t thread;

    char stream[ID_MAX + 1]; /* which life of the daemon the picture is of */
    int64_t seq;
    bool has_picture;

    /* of the present connection */
    uint64_t opened_us;
    bool said_hello;
    uint64_t live_since_us; /* 0: not live */
    int error;              /* why it ended */
    char sentence[SENTENCE_MAX];

    unsigned failures;
    ClientState state;
};

static void stream_fail(ClientStream *s, int error, const char *format, ...) PRINTF(3, 4);

/* The first reason counts: what follows is its consequence. */
static void stream_fail(ClientStream *s, int error, const char *format, ...)
{
    char raw[SENTENCE_MAX * 2];
    va_list ap;

    if (s->error)
        return;
    va_start(ap, format);
    vsnprintf(raw, sizeof raw, format, ap);
    va_end(ap);
    text_clean(s->sentence, sizeof s->sentence, raw, strlen(raw));
    s->error = error;
}

static void stream_set_state(ClientStream *s, ClientState state)
{
    s->state = state;
    s->ops.state(s->userdata, state, state == CLIENT_LOST ? s->sentence : "");
}

static void stream_set_live(ClientStream *s)
{
    if (s->live_since_us)
        return;
    s->live_since_us = clock_now().mono_us;
    stream_set_state(s, CLIENT_LIVE);
}

static void handle_hello(ClientStream *s, const Json *message)
{
    const char *stream = json_as_string(json_get(message, "stream"), NULL);
    int64_t protocol = json_as_int(json_get(message, "protocol"), -1);

    if (protocol != PROTOCOL_VERSION)
        return stream_fail(
            s, -EPROTONOSUPPORT,
            _("The daemon speaks protocol %lld, this program %d: update the older one."),
            (long long)protocol, PROTOCOL_VERSION);
    if (s->said_hello || !name_is_id(stream))
        return stream_fail(s, -EBADMSG, _("The daemon's greeting makes no sense."));
    s->said_hello = true;
    if (strcmp(stream, s->stream) != 0)
        s->has_picture = false;
    text_copy(s->stream, sizeof s->stream, stream);
    s->ops.message(s->userdata, "hello", message);
    if (s->has_picture)
        stream_set_live(s);
}

static void handle_snapshot(ClientStream *s, const Json *message, int64_t seq)
{
    s->seq = seq;
    s->has_picture = true;
    s->ops.message(s->userdata, "snapshot", message);
    stream_set_live(s);
}

static void handle_delta(ClientStream *s, const Json *message, int64_t seq)
{
    if (!s->has_picture || seq != s->seq + 1) {
        s->has_picture = false;
        return stream_fail(s, -ESTALE, _("The stream had a gap."));
    }
    s->seq = seq;
    s->ops.message(s->userdata, "delta", message);
}

static void handle_text(ClientStream *s, const char *text, size_t len)
{
    CLEANUP(json_freep) Json *message = json_parse(text, len);
    const char *type = json_as_string(json_get(message, "type"), NULL);
    int64_t seq = json_as_int(json_get(message, "seq"), -1);

    if (!type || seq < 0)
        return stream_fail(s, -EBADMSG, _("The daemon sent a message that makes no sense."));
    if (strcmp(type, "hello") == 0)
        return handle_hello(s, message);
    if (!s->said_hello)
        return stream_fail(s, -EBADMSG, _("The daemon did not greet."));
    if (strcmp(type, "snapshot") == 0)
        handle_snapshot(s, message, seq);
    else if (strcmp(type, "delta") == 0)
        handle_delta(s, message, seq);
}

static void on_message(void *userdata, WsOpcode opcode, const uint8_t *payload, size_t len)
{
    ClientStream *s = userdata;

    if (s->error)
        return;
    if (opcode == WS_TEXT)
        handle_text(s, (const char *)payload, len);
    else if (opcode == WS_CLOSE && len > 2)
        stream_fail(s, -ECONNRESET, _("The daemon closed the stream: %.*s."), (int)len - 2,
                    (const char *)payload + 2);
    else if (opcode == WS_CLOSE)
        stream_fail(s, -ECONNRESET, _("The daemon closed the stream."));
}

/* One step: what has come is fed, else waits for more. Whatever ends the connection is in s->error.
 */
static void stream_step(ClientStream *s, ClientLink *link, WsCodec *codec, Buffer *out,
                        uint64_t *heard_us)
{
    uint8_t bytes[16384];
    ssize_t n = client_link_receive(link, bytes, sizeof bytes);
    int r = 0;

    if (n > 0) {
        *heard_us = clock_now().mono_us;
        r = ws_feed(codec, bytes, (size_t)n, out);
        if (client_link_send(link, out) < 0 && r == 0)
            r = -ECONNRESET;
        if (r == -EPROTO)
            stream_fail(s, r, _("The daemon broke the WebSocket protocol."));
        else if (r < 0)
            stream_fail(s, r, _("The connection to the daemon broke off."));
        return;
    }
    if (n != -EAGAIN)
        return stream_fail(s, -ECONNRESET, _("The daemon closed the connection."));
    /* A daemon that pings but never greets has no picture for us: that counts as silence. */
    uint64_t since_us = s->live_since_us ? *heard_us : s->opened_us;
    uint64_t silent_ms = (clock_now().mono_us - since_us) / USEC_PER_MSEC;
    if (silent_ms >= s->silence_ms)
        return stream_fail(s, -ETIMEDOUT, _("No word from the daemon for %.3g s."),
                           s->silence_ms / 1000.0);
    r = client_link_wait(link, out->len > 0, s->silence_ms - (uint32_t)silent_ms);
    if (r == -ECANCELED)
        stream_fail(s, r, _("Stopped."));
    else if (r == 0 && client_link_send(link, out) < 0)
        stream_fail(s, -ECONNRESET, _("The connection to the daemon broke off."));
}

static bool is_stopped(const ClientStream *s, uint32_t wait_ms)
{
    struct pollfd p = {.fd = s->stop_fd, .events = POLLIN};

    return poll(&p, 1, (int)wait_ms) > 0;
}

DEFINE_CLEANUP(ClientLink, client_link_free);
DEFINE_CLEANUP(WsCodec, ws_codec_free);

static void stream_connection(ClientStream *s, ClientLink *link)
{
    CLEANUP(ws_codec_freep) WsCodec *codec = NULL;
    CLEANUP(buffer_done) Buffer out = BUFFER_INIT(REPLIES_MAX);
    uint64_t heard_us = clock_now().mono_us;

    s->opened_us = heard_us;
    if (ws_codec_new(true, CLIENT_BODY_MAX, on_message, s, &codec) < 0)
        return stream_fail(s, -ENOMEM, _("Out of memory."));
    while (!s->error && !is_stopped(s, 0))
        stream_step(s, link, codec, &out, &heard_us);
    if (s->error == -EPROTO || s->error == -ECONNRESET)
        return; /* the codec has said its last word already, or nobody would hear it */
    ws_frame_close(&out, true, 1001, "");
    client_link_send(link, &out);
}

static void stream_open(ClientStream *s, ClientLink **ret)
{
    CLEANUP(client_target_done) ClientTarget target = {0};
    char path[256] = "/api/ws/services", sentence[SENTENCE_MAX] = "Out of memory.";

    if (s->has_picture)
        snprintf(path, sizeof path, "/api/ws/services?stream=%s&since=%lld", s->stream,
                 (long long)s->seq);
    int r = client_target_init(&target, s->base_url, s->token, sentence, sizeof sentence);
    if (r == 0)
        r = client_link_open(&target, path, s->stop_fd, ret, sentence, sizeof sentence);
    if (r < 0)
        stream_fail(s, r, "%s", sentence);
}

/* One connection from its beginning to its end. Returns how long to wait before the next one. */
static uint32_t stream_round(ClientStream *s)
{
    CLEANUP(client_link_freep) ClientLink *link = NULL;

    s->said_hello = false;
    s->live_since_us = 0;
    s->error = 0;
    stream_open(s, &link);
    if (link)
        stream_connection(s, link);
    if (is_stopped(s, 0))
        return 0;
    if (s->live_since_us && clock_now().mono_us - s->live_since_us >= HEALTHY_MS * USEC_PER_MSEC)
        s->failures = 0;
    unsigned failures = s->failures++;
    if (s->error == -ESTALE && failures == 0) {
        stream_set_state(s, CLIENT_CONNECTING);
        return 0;
    }
    stream_set_state(s, CLIENT_LOST);
    return BACKOFF_MS << MIN(failures, 4U);
}

static void *stream_main(void *userdata)
{
    ClientStream *s = userdata;
    uint32_t wait_ms = 0;

    stream_set_state(s, CLIENT_CONNECTING);
    while (!is_stopped(s, wait_ms))
        wait_ms = stream_round(s);
    return NULL;
}

static ClientStream *stream_destroy(ClientStream *s)
{
    if (s) {
        close_fd(s->stop_fd);
        free(s->base_url);
        if (s->token)
            explicit_bzero(s->token, strlen(s->token));
        free(s->token);
        free(s);
    }
    return NULL;
}

DEFINE_CLEANUP(ClientStream, stream_destroy);

/* Signals are the program's business: none is ever delivered to this thread. */
static int stream_start(ClientStream *s)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&s->thread, NULL, stream_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int client_stream_new(const char *base_url, const char *token, const ClientStreamOps *ops,
                      void *userdata, ClientStream **ret)
{
    CLEANUP(stream_destroyp) ClientStream *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    s->ops = *ops;
    s->userdata = userdata;
    s->silence_ms = ops->silence_ms ? ops->silence_ms : SILENCE_MS;
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop_fd < 0)
        return -errno;
    s->base_url = strdup(base_url);
    s->token = token ? strdup(token) : NULL;
    if (!s->base_url || (token && !s->token))
        return -ENOMEM;
    int r = stream_start(s);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

ClientStream *client_stream_free(ClientStream *s)
{
    if (!s)
        return NULL;
    int r = eventfd_write(s->stop_fd, 1);
    assert(r == 0); /* an eventfd takes 2^64 - 2 of these */
    pthread_join(s->thread, NULL);
    return stream_destroy(s);
}
