/* Health looks by libcurl.
 *
 * A look has two steps: its host is resolved by resolve.c (skipped for literal addresses and for
 * localhost, which libcurl answers itself), then the transfer runs with the addresses pinned by
 * CURLOPT_RESOLVE, so that libcurl never starts a resolver of its own: that one blocks in
 * curl_multi_perform() while a name server hangs.
 *
 * The transfer is aborted by our header callback at the blank line that ends the final head: the
 * status is all we want, and a body of any size is never read. CURLE_WRITE_ERROR is therefore the
 * normal end.
 *
 * Nothing from the environment counts: no proxy, no netrc, no redirect, no protocol but http and
 * https. */
#include "api/probe-http-curl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/probe-http.h"
#include "basic/buffer.h"
#include "basic/macro.h"
#include "common/curl-glue.h"

#define USER_AGENT       "services_api"
#define RESOLVE_LINE_MAX 1024

struct HttpCurl {
    CurlGlue *glue;
    Resolver *resolver;
};

struct CurlLook {
    HttpCurl *curl;
    CurlTransfer transfer;
    ResolveQuery query;
    struct curl_slist *headers;
    struct curl_slist *pinned;
    char *host;
    char *port;
    bool resolving;
    bool added;
    bool complete; /* the final head has ended */
    bool too_long;
    int status;
    size_t head_len;
    CurlLookDone done;
    void *userdata;
};

DEFINE_CLEANUP(HttpCurl, http_curl_free);
DEFINE_CLEANUP(CurlLook, curl_look_free);

int http_curl_new(Nest *nest, ResolveLookup lookup, HttpCurl **ret)
{
    CLEANUP(http_curl_freep) HttpCurl *c = calloc(1, sizeof *c);

    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    int r = curl_glue_new(nest, &c->glue);
    if (r < 0 || (r = resolver_new(nest, lookup, &c->resolver)) < 0)
        return r;
    *ret = TAKE_PTR(c);
    return 0;
}

HttpCurl *http_curl_free(HttpCurl *c)
{
    if (c) {
        curl_glue_free(c->glue);
        resolver_free(c->resolver);
        free(c);
    }
    return NULL;
}

uint64_t http_curl_next_us(const HttpCurl *c)
{
    return curl_glue_next_us(c->glue);
}

void http_curl_tick(HttpCurl *c, Now now)
{
    curl_glue_tick(c->glue, now);
}

/* ---- the transfer ---- */

static HttpOutcome connect_outcome(CURL *easy)
{
    long os_errno = 0;

    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    switch (os_errno) {
    case 0:
    case ECONNREFUSED: return HTTP_REFUSED;
    case ETIMEDOUT: return HTTP_TIMEOUT;
    case ECONNRESET: return HTTP_RESET;
    default: return HTTP_ERROR;
    }
}

static HttpOutcome outcome_of(const CurlLook *l, CURLcode result)
{
    if (l->too_long)
        return HTTP_BAD_REPLY;
    if (l->complete || (result == CURLE_OK && l->status > 0))
        return l->status >= 200 && l->status < 400 ? HTTP_OK : HTTP_BAD_STATUS;
    switch (result) {
    case CURLE_COULDNT_CONNECT: return connect_outcome(l->transfer.easy);
    case CURLE_COULDNT_RESOLVE_HOST: return HTTP_UNRESOLVED;
    case CURLE_OPERATION_TIMEDOUT: return HTTP_TIMEOUT;
    case CURLE_GOT_NOTHING: return HTTP_EOF;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR: return HTTP_RESET;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS: return HTTP_TLS;
    case CURLE_OK:
    case CURLE_UNSUPPORTED_PROTOCOL: /* "HTTP/0.9 when not allowed" */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_WRITE_ERROR: return HTTP_BAD_REPLY;
    default: return HTTP_ERROR;
    }
}

static void on_done(CurlTransfer *t, CURLcode result)
{
    CurlLook *l = container_of(t, CurlLook, transfer);
    HttpOutcome outcome = outcome_of(l, result);
    bool has_status = outcome == HTTP_OK || outcome == HTTP_BAD_STATUS;

    l->added = false;
    l->done(l->userdata, outcome, has_status ? l->status : 0);
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
    CurlLook *l = userdata;
    size_t len = size * n;
    long code = 0;

    l->head_len += len;
    if (l->head_len > HTTP_HEAD_MAX) {
        l->too_long = true;
        return 0;
    }
    curl_easy_getinfo(l->transfer.easy, CURLINFO_RESPONSE_CODE, &code);
    l->status = (int)code;
    bool is_blank = len == 0 || line[0] == '\r' || line[0] == '\n';
    if (!is_blank || (code >= 100 && code < 200 && code != 101))
        return len;
    l->complete = true;
    return 0;
}

static size_t on_body(char *data UNUSED, size_t size UNUSED, size_t n UNUSED, void *userdata UNUSED)
{
    return 0;
}

static int easy_set_up(CurlLook *l, const char *url, uint32_t timeout_ms)
{
    CURL *e = l->transfer.easy;
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_TIMEOUT_MS, (long)timeout_ms},
        {CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_FRESH_CONNECT, 1},
        {CURLOPT_FORBID_REUSE, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_DISALLOW_USERNAME_IN_URL, 1},
        {CURLOPT_BUFFERSIZE, HTTP_HEAD_MAX},
    };

    for (size_t i = 0; i < ELEMENTS(numbers); i++)
        if (curl_easy_setopt(e, numbers[i].option, numbers[i].value) != CURLE_OK)
            return -ENOMEM;
    if (curl_easy_setopt(e, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_PROXY, "") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*") != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_USERAGENT, USER_AGENT) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, l->headers) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HEADERDATA, l) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

static int transfer_start(CurlLook *l)
{
    int r = curl_glue_add(l->curl->glue, &l->transfer);

    l->added = r >= 0;
    return r;
}

/* ---- the name ---- */

static void address_append(Buffer *b, const struct sockaddr_storage *a)
{
    char text[INET6_ADDRSTRLEN];

    if (a->ss_family == AF_INET)
        buffer_str(
            b, inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, sizeof text));
    else
        buffer_printf(
            b, "[%s]",
            inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text, sizeof text));
}

/* "HOST:PORT:ADDRESS[,ADDRESS]..." */
static int pin(CurlLook *l, const ResolveAnswer *a)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(RESOLVE_LINE_MAX);

    buffer_printf(&b, "%s:%s:", l->host, l->port);
    for (size_t i = 0; i < a->n; i++) {
        if (i)
            buffer_char(&b, ',');
        address_append(&b, &a->addresses[i]);
    }
    if (buffer_error(&b))
        return buffer_error(&b);
    l->pinned = curl_slist_append(NULL, buffer_cstr(&b));
    if (!l->pinned || curl_easy_setopt(l->transfer.easy, CURLOPT_RESOLVE, l->pinned) != CURLE_OK)
        return -ENOMEM;
    return transfer_start(l);
}

static void on_answer(ResolveQuery *q, const ResolveAnswer *a)
{
    CurlLook *l = container_of(q, CurlLook, query);

    l->resolving = false;
    if (a->error < 0)
        l->done(l->userdata, HTTP_UNRESOLVED, 0);
    else if (pin(l, a) < 0)
        l->done(l->userdata, HTTP_ERROR, 0);
}

static bool is_literal(const char *host)
{
    uint8_t address[16];

    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

static int name_start(CurlLook *l, Now now)
{
    ResolveAnswer a;

    if (is_literal(l->host) || strcasecmp(l->host, "localhost") == 0)
        return transfer_start(l);
    int r = resolve_start(l->curl->resolver, l->host, &l->query, now, &a);
    if (r < 0)
        return r;
    if (r > 0)
        return pin(l, &a);
    l->resolving = true;
    return 0;
}

static int url_parts(CurlLook *l, const char *url)
{
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL;
    CURLUcode bad = CURLUE_OUT_OF_MEMORY;

    if (u) {
        bad = curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER);
        if (!bad)
            bad = curl_url_get(u, CURLUPART_HOST, &host, 0);
        if (!bad)
            bad = curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    }
    l->host = host ? strdup(host) : NULL;
    l->port = port ? strdup(port) : NULL;
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    if (bad)
        return bad == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
    return l->host && l->port ? 0 : -ENOMEM;
}

int curl_look_new(HttpCurl *c, const char *url, uint32_t timeout_ms, Now now, CurlLookDone done,
                  void *userdata, CurlLook **ret)
{
    CLEANUP(curl_look_freep) CurlLook *l = calloc(1, sizeof *l);

    if (!l)
        return -ENOMEM;
    l->curl = c;
    l->done = done;
    l->userdata = userdata;
    l->transfer.done = on_done;
    l->query.answer = on_answer;
    l->transfer.easy = curl_easy_init();
    l->headers = curl_slist_append(NULL, "Connection: close");
    if (!l->transfer.easy || !l->headers)
        return -ENOMEM;
    int r = url_parts(l, url);
    if (r < 0 || (r = easy_set_up(l, url, timeout_ms)) < 0 || (r = name_start(l, now)) < 0)
        return r;
    *ret = TAKE_PTR(l);
    return 0;
}

CurlLook *curl_look_free(CurlLook *l)
{
    if (!l)
        return NULL;
    resolve_cancel(l->curl->resolver, &l->query);
    if (l->added)
        curl_glue_remove(l->curl->glue, &l->transfer);
    curl_easy_cleanup(l->transfer.easy);
    curl_slist_free_all(l->headers);
    curl_slist_free_all(l->pinned);
    free(l->host);
    free(l->port);
    free(l);
    return NULL;
}

HttpOutcome curl_look_overdue(const CurlLook *l)
{
    return l->resolving ? HTTP_UNRESOLVED : HTTP_TIMEOUT;
}
