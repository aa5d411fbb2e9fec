/* One message by libcurl.
 *
 * The way to the server is that of the health looks (curl-name.c). Unlike them a send must know how
 * the whole exchange ended, so the reply is read to its end, or until it is too long, which then
 * changes nothing: the status has been said by then.
 *
 * The URL may be a secret (a webhook's token is in its path). It is given to libcurl and to nobody
 * else: results are made of our words and curl_easy_strerror(), never of the error buffer, the URL
 * or the reply.
 *
 * A password leaves this PC only inside TLS; without TLS it is an error, not a fallback. */
#include "api/notify-send.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/curl-name.h"
#include "basic/macro.h"
#include "basic/text.h"

#define ADDRESS_MAX 2048

struct Sender {
    CurlNames names;
};

struct Send {
    CurlNamed named;
    struct curl_slist *headers, *recipients;
    char *body;
    size_t len, sent, received;
    uint64_t deadline_us;
    SendDone done;
    void *userdata;
};

DEFINE_CLEANUP(Sender, sender_free);
DEFINE_CLEANUP(Send, send_free);

int sender_new(Nest *nest, ResolveLookup lookup, Sender **ret)
{
    CLEANUP(sender_freep) Sender *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    int r = curl_names_init(&s->names, nest, lookup);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

Sender *sender_free(Sender *s)
{
    if (s) {
        curl_names_done(&s->names);
        free(s);
    }
    return NULL;
}

uint64_t sender_next_us(const Sender *s)
{
    return curl_glue_next_us(s->names.glue);
}

void sender_tick(Sender *s, Now now)
{
    curl_glue_tick(s->names.glue, now);
}

/* ---- the end ---- */

static bool is_mail(const Send *s)
{
    return strncmp(s->named.scheme, "smtp", 4) == 0;
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
    Send *s = container_of(t, Send, named.transfer);
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
    s->named.added = false;
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
              s->named.resolving ? "its name cannot be resolved in time" : "no answer in time");
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

static int set_common(Send *s)
{
    CURL *e = s->named.transfer.easy;

    if (curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_reply) != CURLE_OK ||
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
    CURL *e = s->named.transfer.easy;
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
    CURL *e = s->named.transfer.easy;
    /* to this PC nothing is gained by TLS, and its mail server's certificate is seldom a real one
     */
    long tls = is_loopback(s->named.host) ? CURLUSESSL_NONE
               : q->password              ? CURLUSESSL_ALL
                                          : CURLUSESSL_TRY;
    char from[ADDRESS_MAX], to[ADDRESS_MAX];

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

static void on_failed(CurlNamed *n, int error)
{
    Send *s = container_of(n, Send, named);
    SendResult r = {0};

    text_copy(r.text, sizeof r.text,
              error == -ENOENT ? "there is no host of that name" : "its name cannot be resolved");
    s->done(s->userdata, &r);
}

int send_new(Sender *sender, const SendRequest *q, Now now, SendDone done, void *userdata,
             Send **ret)
{
    CLEANUP(send_freep) Send *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    s->done = done;
    s->userdata = userdata;
    s->deadline_us = now.mono_us + (NOTIFY_TIMEOUT_MS + 1000) * USEC_PER_MSEC;
    s->len = q->body ? q->len : 0;
    s->body = malloc(s->len + 1);
    if (!s->body)
        return -ENOMEM;
    if (q->body)
        memcpy(s->body, q->body, s->len);
    int r = curl_named_init(&s->named, &sender->names, q->url, "http,https,smtp,smtps",
                            NOTIFY_TIMEOUT_MS, on_done, on_failed);
    if (r >= 0)
        r = set_common(s);
    if (r >= 0)
        r = is_mail(s) ? set_mail(s, q) : set_http(s, q);
    if (r >= 0)
        r = curl_named_start(&s->named, now);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

Send *send_free(Send *s)
{
    if (!s)
        return NULL;
    curl_named_done(&s->named);
    curl_slist_free_all(s->headers);
    curl_slist_free_all(s->recipients);
    free(s->body);
    free(s);
    return NULL;
}
