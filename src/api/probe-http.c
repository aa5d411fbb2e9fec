/* The bare HTTP client, and the book of all looks that are out.
 *
 * A Request is in the heap from its start to its end: first with its deadline; a failure that is
 * known at once (refused within connect(), no socket left) moves it to the front, so that its
 * callback too comes from http_prober_tick() and never from inside http_health_probe(). It leaves
 * by request_finish() alone, which frees it before the callback: the receiver may start the next
 * look from there.
 *
 * Bytes are read into the prober's one scratch buffer; only a head that comes in pieces is kept in
 * its request's own, which is bounded by HTTP_HEAD_MAX. As soon as the head is complete the
 * connection is closed, whatever may follow.
 *
 * Through SOCKS preamble and request are sent in one write; the answer to the former is "05 00",
 * then the reply to the connect request. OpenSSH closes after "05 00" when nobody listens on the
 * port: that is "refused".
 *
 * The deadline is judged after a last read: a loop that was held up (or a daemon that was frozen)
 * must not call a service slow whose answer has been waiting in the socket. */
#include "api/probe-http.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "api/probe-http-curl.h"
#include "basic/buffer.h"
#include "basic/heap.h"
#include "basic/macro.h"

#define IN_FLIGHT_DEFAULT 32
#define HOST_MAX          1100
#define TARGET_MAX        1100
#define SOCKS_GREETING    2
#define SOCKS_REPLY_HEAD  4

typedef struct Request {
    HttpProber *prober;
    struct Request *next, **self; /* the list of all */
    HeapNode due;
    HttpOutcome known; /* HTTP_NOT_ASKED: it runs; else told by the next tick */
    uint32_t handle;
    uint64_t started_us;
    CurlLook *curl; /* NULL: a bare one, which uses what follows */
    NestWatch watch;
    int fd;
    HttpDial dial;
    char *out; /* preamble and request */
    size_t out_len, out_sent;
    Buffer head; /* what came so far, SOCKS answer included; empty while nothing is left over */
    size_t socks_left; /* bytes of the SOCKS answer that are still to come, as far as it is known */
    bool retried;
} Request;

struct HttpProber {
    Nest *nest;
    HttpCallback callback;
    void *userdata;
    Heap due;
    Request *requests;
    size_t n, max;
    HttpCurl *curl; /* made when first needed: it costs memory */
    ResolveLookup lookup;
    char scratch[HTTP_HEAD_MAX];
};

DEFINE_CLEANUP(HttpProber, http_prober_free);

/* ---- a request's end ---- */

static void request_close(Request *q)
{
    nest_remove(q->prober->nest, &q->watch);
    q->fd = close_fd(q->fd);
}

static Request *request_free(Request *q)
{
    if (!q)
        return NULL;
    request_close(q);
    heap_remove(&q->prober->due, &q->due);
    if (q->self) {
        *q->self = q->next;
        if (q->next)
            q->next->self = q->self;
        q->prober->n--;
    }
    curl_look_free(q->curl);
    buffer_done(&q->head);
    free(q->out);
    free(q);
    return NULL;
}
DEFINE_CLEANUP(Request, request_free);

static void request_finish(Request *q, HttpOutcome outcome, int status)
{
    HttpProber *p = q->prober;
    uint32_t handle = q->handle;
    HttpFacts facts = {
        .outcome = outcome,
        .status = status,
        .latency_us = -1,
        .started_us = q->started_us,
        .at_us = clock_now().mono_us,
    };

    if (status > 0)
        facts.latency_us = (int32_t)MIN(facts.at_us - facts.started_us, (uint64_t)INT32_MAX);
    request_free(q);
    p->callback(p->userdata, handle, &facts);
}

static void request_judge(Request *q, int status)
{
    request_finish(q, status >= 200 && status < 400 ? HTTP_OK : HTTP_BAD_STATUS, status);
}

static HttpOutcome outcome_of_errno(int e)
{
    switch (e) {
    case ECONNREFUSED: return HTTP_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE: return HTTP_RESET;
    case ETIMEDOUT: return HTTP_TIMEOUT;
    default: return HTTP_ERROR;
    }
}

/* It says nothing about the service: we have run out of something. */
static bool is_our_own_lack(int e)
{
    return e == EMFILE || e == ENFILE || e == ENOMEM || e == ENOBUFS;
}

/* ---- connect and send ---- */

static void on_ready(NestWatch *w, uint32_t events);

/* Sends what is left. -EAGAIN: some of it could not be sent yet. */
static int request_send(Request *q)
{
    while (q->out_sent < q->out_len) {
        ssize_t n = send(q->fd, q->out + q->out_sent, q->out_len - q->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        q->out_sent += (size_t)n;
    }
    return 0;
}

/* Over loopback the handshake is done within connect(), so the request can follow at once. */
static int request_connect(Request *q)
{
    const HttpDial *d = &q->dial;

    q->out_sent = 0;
    q->socks_left = d->socks ? SOCKS_GREETING + SOCKS_REPLY_HEAD : 0;
    q->fd = socket(d->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (q->fd < 0)
        return -errno;
    if (connect(q->fd, (const struct sockaddr *)&d->address, d->address_len) < 0 &&
        errno != EINPROGRESS)
        return d->address.ss_family == AF_UNIX ? -ENOTCONN : -errno;
    int r = request_send(q);
    if (r < 0 && r != -EAGAIN && r != -ENOTCONN && r != -EPIPE && r != -ECONNRESET)
        return r;
    return nest_add(q->prober->nest, &q->watch, q->fd, EPOLLIN | (r < 0 ? EPOLLOUT : 0), on_ready);
}

/* ---- the answer ---- */

/* Takes the SOCKS answer off the front. 1: it is all there; 0: more must come; else finished. */
static int socks_parse(const uint8_t *s, size_t len, size_t *ret_skip, HttpOutcome *ret_outcome)
{
    size_t need = SOCKS_GREETING + SOCKS_REPLY_HEAD;

    if ((len > 0 && s[0] != 5) || (len > 1 && s[1] != 0) || (len > 2 && s[2] != 5)) {
        *ret_outcome = HTTP_ERROR;
        return -EPROTO;
    }
    if (len > 3 && s[3] != 0) { /* RFC 1928: 3, 4 network or host unreachable, 6 expired */
        *ret_outcome = s[3] == 3 || s[3] == 4 ? HTTP_ERROR
                       : s[3] == 6            ? HTTP_TIMEOUT
                                              : HTTP_REFUSED;
        return -EPROTO;
    }
    if (len <= need)
        return 0;
    switch (s[5]) {
    case 1: need += 4 + 2; break;
    case 3: need += 1U + s[6] + 2; break;
    case 4: need += 16 + 2; break;
    default: *ret_outcome = HTTP_ERROR; return -EPROTO;
    }
    *ret_skip = need;
    return len >= need;
}

/* Judges what has come so far. True: the request has ended. */
static bool request_parse(Request *q, const char *data, size_t len)
{
    HttpOutcome outcome = HTTP_ERROR;
    size_t skip = 0;
    int status = 0, r = 1;

    if (q->dial.socks)
        r = socks_parse((const uint8_t *)data, len, &skip, &outcome);
    if (r < 0) {
        request_finish(q, outcome, 0);
        return true;
    }
    if (r == 0)
        return false;
    q->socks_left = 0;
    r = http_head_parse(data + skip, len - skip, &status);
    if (r < 0)
        request_finish(q, HTTP_BAD_REPLY, 0);
    else if (r > 0)
        request_judge(q, status);
    return r != 0;
}

static bool request_take(Request *q, size_t n)
{
    const char *scratch = q->prober->scratch;

    if (q->head.len == 0 && request_parse(q, scratch, n))
        return true;
    bool was_empty = q->head.len == 0;
    buffer_append(&q->head, scratch, n);
    if (buffer_error(&q->head)) {
        request_finish(q, buffer_error(&q->head) == -ENOMEM ? HTTP_ERROR : HTTP_BAD_REPLY, 0);
        return true;
    }
    return !was_empty && request_parse(q, q->head.data, q->head.len);
}

/* Bytes of the service itself, without what the tunnel said. */
static bool has_answer_begun(const Request *q)
{
    size_t skip = 0;
    HttpOutcome outcome;

    if (!q->dial.socks)
        return q->head.len > 0;
    return socks_parse((const uint8_t *)q->head.data, q->head.len, &skip, &outcome) > 0 &&
           q->head.len > skip;
}

static void request_end_early(Request *q, HttpOutcome outcome)
{
    int status = 0;

    if (!q->dial.socks && q->head.len > 0)
        http_head_parse(q->head.data, q->head.len, &status);
    if (status > 0) {
        request_judge(q, status);
        return;
    }
    if (q->dial.socks && q->socks_left > 0) {
        request_finish(q, q->head.len >= SOCKS_GREETING ? HTTP_REFUSED : HTTP_ERROR, 0);
        return;
    }
    if (has_answer_begun(q) || q->retried) {
        request_finish(q, outcome, 0);
        return;
    }
    q->retried = true;
    request_close(q);
    buffer_reset(&q->head);
    int r = request_connect(q);
    if (r < 0)
        request_finish(q, outcome_of_errno(-r), 0);
}

/* One read. True: the request has ended or began anew. */
static bool request_read(Request *q)
{
    ssize_t n = recv(q->fd, q->prober->scratch, sizeof q->prober->scratch, 0);

    if (n > 0)
        return request_take(q, (size_t)n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    HttpOutcome outcome = n == 0 ? HTTP_EOF : outcome_of_errno(errno);
    if (outcome == HTTP_EOF || outcome == HTTP_RESET)
        request_end_early(q, outcome);
    else
        request_finish(q, outcome, 0);
    return true;
}

static void on_ready(NestWatch *w, uint32_t events)
{
    Request *q = container_of(w, Request, watch);

    if (events & EPOLLOUT && !(events & (EPOLLERR | EPOLLHUP)) && request_send(q) != -EAGAIN)
        nest_modify(q->prober->nest, w, EPOLLIN); /* an error of send() is what recv() says next */
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        request_read(q);
}

/* ---- start ---- */

static bool is_visible_ascii(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7F)
            return false;
    return true;
}

static int request_write(Request *q, const char *host, const char *target)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(HOST_MAX + TARGET_MAX + 256);

    if (!*host || *target != '/' || !is_visible_ascii(host) || !is_visible_ascii(target))
        return -EINVAL;
    if (q->dial.socks)
        buffer_append(&b, q->dial.preamble, MIN(q->dial.preamble_len, sizeof q->dial.preamble));
    buffer_printf(&b,
                  "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: services_api\r\nAccept: */*\r\n"
                  "Connection: close\r\n\r\n",
                  target, host);
    q->out = buffer_take(&b, &q->out_len);
    return q->out ? 0 : buffer_error(&b);
}

static void on_curl_done(void *userdata, HttpOutcome outcome, int status)
{
    request_finish(userdata, outcome, status);
}

static int start_curl(Request *q, const HttpLook *look, Now now)
{
    HttpProber *p = q->prober;

    if (!p->curl) {
        int r = http_curl_new(p->nest, p->lookup, &p->curl);
        if (r < 0)
            return r;
    }
    return curl_look_new(p->curl, look->url, look->timeout_ms, now, on_curl_done, q, &q->curl);
}

static int start_bare(Request *q, const char *host, const char *target)
{
    int r = request_write(q, host, target);

    if (r < 0)
        return r;
    r = request_connect(q);
    if (r < 0) {
        request_close(q);
        if (is_our_own_lack(-r))
            return -EBUSY;
        q->known = outcome_of_errno(-r);
    }
    return 0;
}

static int request_start(Request *q, const HttpLook *look, Now now)
{
    char host[HOST_MAX], target[TARGET_MAX];

    if (!look->url) {
        q->dial = look->dial;
        return start_bare(q, look->host, look->target);
    }
    int r = http_url_dial(look->url, &q->dial, host, sizeof host, target, sizeof target);
    if (r == -EDESTADDRREQ)
        return start_curl(q, look, now);
    return r < 0 ? r : start_bare(q, host, target);
}

int http_health_probe(HttpProber *p, const HttpLook *look, Now now)
{
    if (p->n >= p->max)
        return -EBUSY;
    CLEANUP(request_freep) Request *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    q->prober = p;
    q->due = HEAP_NODE_INIT;
    q->watch = NEST_WATCH_INIT;
    q->fd = -1;
    q->head = BUFFER_INIT(HTTP_HEAD_MAX + 512); /* and a SOCKS answer */
    q->handle = look->handle;
    q->started_us = now.mono_us;
    int r = request_start(q, look, now);
    if (r < 0)
        return r;
    uint64_t deadline = now.mono_us + (uint64_t)look->timeout_ms * USEC_PER_MSEC;
    r = heap_set(&p->due, &q->due, q->known == HTTP_NOT_ASKED ? deadline : now.mono_us);
    if (r < 0)
        return r;
    q->next = p->requests;
    if (q->next)
        q->next->self = &q->next;
    q->self = &p->requests;
    p->requests = TAKE_PTR(q);
    p->n++;
    return 0;
}

/* ---- the prober ---- */

int http_prober_new(Nest *nest, HttpCallback callback, void *userdata, HttpProber **ret)
{
    HttpProber *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    p->nest = nest;
    p->callback = callback;
    p->userdata = userdata;
    p->max = IN_FLIGHT_DEFAULT;
    *ret = p;
    return 0;
}

HttpProber *http_prober_free(HttpProber *p)
{
    if (!p)
        return NULL;
    while (p->requests)
        request_free(p->requests);
    http_curl_free(p->curl);
    heap_done(&p->due);
    free(p);
    return NULL;
}

void http_prober_cancel(HttpProber *p, uint32_t handle)
{
    for (Request *q = p->requests, *next; q; q = next) {
        next = q->next;
        if (q->handle == handle)
            request_free(q);
    }
}

size_t http_prober_in_flight(const HttpProber *p)
{
    return p->n;
}

void http_prober_set_max(HttpProber *p, size_t max_in_flight)
{
    p->max = max_in_flight;
}

void http_prober_set_lookup(HttpProber *p, ResolveLookup lookup)
{
    p->lookup = lookup;
}

uint64_t http_prober_next_us(const HttpProber *p)
{
    const HeapNode *first = heap_first(&p->due);
    uint64_t next = first ? first->due_us : UINT64_MAX;

    return p->curl ? MIN(next, http_curl_next_us(p->curl)) : next;
}

static void request_overdue(Request *q)
{
    if (q->known != HTTP_NOT_ASKED) {
        request_finish(q, q->known, 0);
    } else if (q->curl) {
        request_finish(q, curl_look_overdue(q->curl), 0);
    } else {
        q->retried = true; /* there is no time left for another connection */
        if (!request_read(q))
            request_finish(q, HTTP_TIMEOUT, 0);
    }
}

void http_prober_tick(HttpProber *p, Now now)
{
    HeapNode *first;

    if (p->curl)
        http_curl_tick(p->curl, now);
    while ((first = heap_first(&p->due)) && first->due_us <= now.mono_us)
        request_overdue(container_of(first, Request, due));
}
