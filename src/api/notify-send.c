/* One message by libcurl.
 *
 * Like the health looks (probe-http-curl.c) a send resolves its host off the loop and pins the
 * addresses, because libcurl's own resolver would block. Unlike them it must know how the whole
 * exchange ended, so the reply is read to its end, or until it is too long, which then changes
 * nothing: the status has been said by then.
 *
 * The URL may be a secret (a webhook's token is in its path). It is given to libcurl and to nobody
 * else: results are made of our words and curl_easy_strerror(), never of the error buffer, the URL
 * or the reply.
 *
 * A password leaves this PC only inside TLS; without TLS it is an error, not a fallback. */
#include "api/notify-send.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/buffer.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/curl-glue.h"

#define PIN_MAX    1024
#define HEADER_MAX 2048

struct Sender {
    CurlGlue *glue;
    Resolver *resolver;
};

struct Send {
    Sender *sender;
    CurlTransfer transfer;
    ResolveQuery query;
    struct curl_slist *headers, *recipients, *pinned;
    char *scheme, *host, *port;
    char *body;
    size_t len, sent, received;
    uint64_t deadline_us;
    bool resolving, added;
    SendDone done;
    void *userdata;
};

DEFINE_CLEANUP(Sender, sender_free);
DEFINE_CLEANUP(Send, send_free);

int sender_new(Nest *nest, ResolveLookup lookup, Sender **ret)
{
    CLEANUP(sender_freep) Sender *s = calloc(1, sizeof *s);

    if (!s || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    int r = curl_glue_new(nest, &s->glue);
    if (r < 0 || (r = resolver_new(nest, lookup, &s->resolver)) < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

Sender *sender_free(Sender *s)
{
    if (s) {
        curl_glue_free(s->glue);
        resolver_free(s->resolver);
        free(s);
    }
    return NULL;
}

uint64_t sender_next_us(const Sender *s)
{
    return curl_glue_next_us(s->glue);
}

void sender_tick(Sender *s, Now now)
{
    curl_glue_tick(s->glue, now);
}

/* ---- the end ---- */

static bool is_mail(const Send *s)
{
    return strncmp(s->scheme, "smtp", 4) == 0;
}

static void judge_status(long status, SendResult *r)
{
    bool busy = status == 408 || status == 425 || status == 429 || status >= 500;

    r->delivered = status >= 200 && status < 300;
    r->refused = !r->delivered && status > 0 && !busy;
    if (status >= 300 && status < 400)
        snprintf(r->text, sizeof r->text, "the server answers %ld: redirects are not followed",
                 status);
    else
        snprintf(r->text, sizeof r->text, "the server answers %ld", status);
}

/* libcurl has a code for each thing that a mail server refuses; the status tells for how long. */
static void judge_mail(CURLcode code, long status, SendResult *r)
{
    r->delivered = code == CURLE_OK;
    r->refused = !r->delivered && status >= 500 && status < 600;
    if (r->delivered)
        text_copy(r->text, sizeof r->text, "the mail server took it");
    else if (status >= 400)
        snprintf(r->text, sizeof r->text, "the mail server answers %ld", status);
    else
        text_copy(r->text, sizeof r->text, curl_easy_strerror(code));
}

static void on_done(CurlTransfer *t, CURLcode code)
{
    Send *s = container_of(t, Send, transfer);
    SendResult r = {0};
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    bool answered = code == CURLE_OK || (code == CURLE_WRITE_ERROR && status >= 200);
    if (is_mail(s))
        judge_mail(code, status, &r);
    else if (answered)
        judge_status(status, &r);
    else if (code == CURLE_UNSUPPORTED_PROTOCOL)
        text_copy(r.text, sizeof r.text, "the server answers something that is no HTTP");
    else
        text_copy(r.text, sizeof r.text, curl_easy_strerror(code));
    s->added = false;
    s->done(s->userdata, &r);
}

uint64_t send_deadline_us(const Send *s)
{
    return s->deadline_us;
}

void send_overdue(const Send *s, SendResult *ret)
{
    *ret = (SendResult){0};
    text_copy(ret->text, sizeof ret->text,
              s->resolving ? "its name cannot be resolved in time" : "no answer in time");
}

/* ---- the transfer ---- */

static size_t on_reply(char *data UNUSED, size_t size, size_t n, void *userdata)
{
    Send *s = userdata;

    s->received += size * n;
    return s->received > NOTIFY_REPLY_MAX ? 0 : size * n;
}

static size_t on_upload(char *data, size_t size, size_t n, void *userdata)
{
    Send *s = userdata;
    size_t len = MIN(size * n, s->len - s->sent);

    memcpy(data, s->body + s->sent, len);
    s->sent += len;
    return len;
}

static int set_common(Send *s, const char *url)
{
    CURL *e = s->transfer.easy;
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_TIMEOUT_MS, NOTIFY_TIMEOUT_MS},
        {CURLOPT_CONNECTTIMEOUT_MS, NOTIFY_TIMEOUT_MS},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_FORBID_REUSE, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_DISALLOW_USERNAME_IN_URL, 1},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
    };

    for (size_t i = 0; i < ELEMENTS(numbers); i++)
        if (curl_easy_setopt(e, numbers[i].option, numbers[i].value) != CURLE_OK)
            return -ENOMEM;
    if (curl_easy_setopt(e, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https,smtp,smtps") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_PROXY, "") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_USERAGENT, "services_api") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_reply) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_WRITEDATA, s) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_reply) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HEADERDATA, s) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

static int append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int set_http(Send *s, const SendRequest *q)
{
    CURL *e = s->transfer.easy;
    int r = append(&s->headers, "Expect:"); /* no second of waiting for "100 Continue" */

    for (size_t i = 0; i < q->n_headers && r >= 0; i++)
        r = strpbrk(q->headers[i], "\r\n") ? -EINVAL : append(&s->headers, q->headers[i]);
    if (r < 0)
        return r;
    if (curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->headers) != CURLE_OK)
        return -ENOMEM;
    if (!q->body)
        return 0;
    if (curl_easy_setopt(e, CURLOPT_POST, 1L) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->len) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, s->body) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0 ||
           strcasecmp(host, "localhost") == 0;
}

static int set_mail(Send *s, const SendRequest *q)
{
    CURL *e = s->transfer.easy;
    /* to this PC nothing is gained by TLS, and its mail server's certificate is seldom a real one
     */
    long tls = is_loopback(s->host) ? CURLUSESSL_NONE
               : q->password        ? CURLUSESSL_ALL
                                    : CURLUSESSL_TRY;
    char from[HEADER_MAX], to[HEADER_MAX];

    if (!q->mail_from || !q->mail_to || !q->body)
        return -EINVAL;
    snprintf(from, sizeof from, "<%s>", q->mail_from);
    snprintf(to, sizeof to, "<%s>", q->mail_to);
    int r = append(&s->recipients, to);
    if (r < 0)
        return r;
    if (curl_easy_setopt(e, CURLOPT_USE_SSL, tls) || curl_easy_setopt(e, CURLOPT_MAIL_FROM, from) ||
        curl_easy_setopt(e, CURLOPT_MAIL_RCPT, s->recipients) ||
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L) ||
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)s->len) ||
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_upload) ||
        curl_easy_setopt(e, CURLOPT_READDATA, s))
        return -ENOMEM;
    if (q->user && q->password &&
        (curl_easy_setopt(e, CURLOPT_USERNAME, q->user) ||
         curl_easy_setopt(e, CURLOPT_PASSWORD, q->password)))
        return -ENOMEM;
    return 0;
}

static int transfer_start(Send *s)
{
    int r = curl_glue_add(s->sender->glue, &s->transfer);

    s->added = r >= 0;
    return r;
}

/* ---- the name ---- */

static void address_append(Buffer *b, const struct sockaddr_storage *a)
{
    char text[INET6_ADDRSTRLEN];
    const void *raw = a->ss_family == AF_INET
                          ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
                          : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;

    if (inet_ntop(a->ss_family, raw, text, sizeof text))
        buffer_printf(b, a->ss_family == AF_INET ? "%s" : "[%s]", text);
}

static int pin(Send *s, const ResolveAnswer *a)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(PIN_MAX);

    buffer_printf(&b, "%s:%s:", s->host, s->port);
    for (size_t i = 0; i < a->n; i++) {
        if (i)
            buffer_char(&b, ',');
        address_append(&b, &a->addresses[i]);
    }
    if (buffer_error(&b))
        return buffer_error(&b);
    int r = append(&s->pinned, buffer_cstr(&b));
    if (r < 0)
        return r;
    if (curl_easy_setopt(s->transfer.easy, CURLOPT_RESOLVE, s->pinned) != CURLE_OK)
        return -ENOMEM;
    return transfer_start(s);
}

static void on_answer(ResolveQuery *query, const ResolveAnswer *a)
{
    Send *s = container_of(query, Send, query);
    SendResult r = {0};

    s->resolving = false;
    if (a->error >= 0 && pin(s, a) >= 0)
        return;
    text_copy(r.text, sizeof r.text,
              a->error == -ENOENT ? "there is no host of that name"
                                  : "its name cannot be resolved");
    s->done(s->userdata, &r);
}

static bool is_literal(const char *host)
{
    uint8_t address[16];

    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

/* An answer from memory that is an error would end the send before its owner knows it: the deadline
 * passes at once instead, which the owner's next look finds. */
static int name_start(Send *s, Now now)
{
    ResolveAnswer a;

    if (is_literal(s->host) || strcasecmp(s->host, "localhost") == 0)
        return transfer_start(s);
    int r = resolve_start(s->sender->resolver, s->host, &s->query, now, &a);
    if (r < 0)
        return r;
    if (r > 0 && a.error >= 0)
        return pin(s, &a);
    s->resolving = true;
    if (r > 0)
        s->deadline_us = now.mono_us;
    return 0;
}

static int url_part(CURLU *u, CURLUPart part, unsigned flags, char **ret)
{
    char *text = NULL;

    if (curl_url_get(u, part, &text, flags) != CURLUE_OK)
        return -EINVAL;
    *ret = strdup(text);
    curl_free(text);
    return *ret ? 0 : -ENOMEM;
}

static int url_parts(Send *s, const char *url)
{
    CURLU *u = curl_url();
    int r = 0;

    if (!u)
        return -ENOMEM;
    if (curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK)
        r = -EINVAL;
    if (r >= 0)
        r = url_part(u, CURLUPART_SCHEME, 0, &s->scheme);
    if (r >= 0)
        r = url_part(u, CURLUPART_HOST, 0, &s->host);
    if (r >= 0)
        r = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, &s->port);
    curl_url_cleanup(u);
    return r;
}

int send_new(Sender *sender, const SendRequest *q, Now now, SendDone done, void *userdata,
             Send **ret)
{
    CLEANUP(send_freep) Send *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    s->sender = sender;
    s->done = done;
    s->userdata = userdata;
    s->transfer.done = on_done;
    s->query.answer = on_answer;
    s->deadline_us = now.mono_us + (NOTIFY_TIMEOUT_MS + 1000) * USEC_PER_MSEC;
    s->len = q->body ? q->len : 0;
    s->body = malloc(s->len + 1);
    s->transfer.easy = curl_easy_init();
    if (!s->transfer.easy || !s->body)
        return -ENOMEM;
    if (q->body)
        memcpy(s->body, q->body, s->len);
    int r = url_parts(s, q->url);
    if (r >= 0)
        r = set_common(s, q->url);
    if (r >= 0)
        r = is_mail(s) ? set_mail(s, q) : set_http(s, q);
    if (r >= 0)
        r = name_start(s, now);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

Send *send_free(Send *s)
{
    if (!s)
        return NULL;
    resolve_cancel(s->sender->resolver, &s->query);
    if (s->added)
        curl_glue_remove(s->sender->glue, &s->transfer);
    curl_easy_cleanup(s->transfer.easy);
    curl_slist_free_all(s->headers);
    curl_slist_free_all(s->recipients);
    curl_slist_free_all(s->pinned);
    free(s->scheme);
    free(s->host);
    free(s->port);
    free(s->body);
    free(s);
    return NULL;
}
