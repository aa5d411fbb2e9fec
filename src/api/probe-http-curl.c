/* Health looks by libcurl.
 *
 * curl-name.c finds the host and knows what may and may not count; here is what makes it a look.
 *
 * The transfer is aborted by our header callback at the blank line that ends the final head: the
 * status is all we want, and a body of any size is never read. CURLE_WRITE_ERROR is therefore the
 * normal end. */
#include "api/probe-http-curl.h"

#include <errno.h>

#include "api/curl-name.h"
#include "api/probe-http.h"
#include "basic/macro.h"

struct HttpCurl {
    CurlNames names;
};

struct CurlLook {
    CurlNamed named;
    struct curl_slist *headers;
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

    if (!c)
        return -ENOMEM;
    int r = curl_names_init(&c->names, nest, lookup);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(c);
    return 0;
}

HttpCurl *http_curl_free(HttpCurl *c)
{
    if (c) {
        curl_names_done(&c->names);
        free(c);
    }
    return NULL;
}

uint64_t http_curl_next_us(const HttpCurl *c)
{
    return curl_glue_next_us(c->names.glue);
}

void http_curl_tick(HttpCurl *c, Now now)
{
    curl_glue_tick(c->names.glue, now);
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
    case CURLE_COULDNT_CONNECT: return connect_outcome(l->named.transfer.easy);
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
    CurlLook *l = container_of(t, CurlLook, named.transfer);
    HttpOutcome outcome = outcome_of(l, result);
    bool has_status = outcome == HTTP_OK || outcome == HTTP_BAD_STATUS;

    l->named.added = false;
    l->done(l->userdata, outcome, has_status ? l->status : 0);
}

static void on_failed(CurlNamed *n, int error)
{
    CurlLook *l = container_of(n, CurlLook, named);
    bool is_name = error == -ENOENT || error == -EAGAIN || error == -EBUSY;

    l->done(l->userdata, is_name ? HTTP_UNRESOLVED : HTTP_ERROR, 0);
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
    curl_easy_getinfo(l->named.transfer.easy, CURLINFO_RESPONSE_CODE, &code);
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

static int set_options(CurlLook *l)
{
    CURL *e = l->named.transfer.easy;

    l->headers = curl_slist_append(NULL, "Connection: close");
    if (!l->headers || curl_easy_setopt(e, CURLOPT_HTTPHEADER, l->headers) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)HTTP_HEAD_MAX) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HEADERDATA, l) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK)
        return -ENOMEM;
    return 0;
}

int curl_look_new(HttpCurl *c, const char *url, uint32_t timeout_ms, Now now, CurlLookDone done,
                  void *userdata, CurlLook **ret)
{
    CLEANUP(curl_look_freep) CurlLook *l = calloc(1, sizeof *l);

    if (!l)
        return -ENOMEM;
    l->done = done;
    l->userdata = userdata;
    int r =
        curl_named_init(&l->named, &c->names, url, "http,https", timeout_ms, on_done, on_failed);
    if (r >= 0)
        r = set_options(l);
    if (r >= 0)
        r = curl_named_start(&l->named, now);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(l);
    return 0;
}

CurlLook *curl_look_free(CurlLook *l)
{
    if (!l)
        return NULL;
    curl_named_done(&l->named);
    curl_slist_free_all(l->headers);
    free(l);
    return NULL;
}

HttpOutcome curl_look_overdue(const CurlLook *l)
{
    return l->named.resolving ? HTTP_UNRESOLVED : HTTP_TIMEOUT;
}
