/* Names for libcurl. See curl-name.h.
 *
 * The order is: name, then transfer. While the name is asked for nothing is in libcurl's hands, so
 * giving up is only to forget the question. CURLOPT_RESOLVE then answers libcurl from its own table
 * ("HOST:PORT:ADDRESS[,ADDRESS]..."), and the URL, with it the Host header and the name that the
 * certificate is checked against, stays as it was. */
#include "api/curl-name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "basic/buffer.h"
#include "basic/macro.h"

#define PIN_MAX 1024

int curl_names_init(CurlNames *c, Nest *nest, ResolveLookup lookup)
{
    *c = (CurlNames){0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    int r = curl_glue_new(nest, &c->glue);
    return r < 0 ? r : resolver_new(nest, lookup, &c->resolver);
}

void curl_names_done(CurlNames *c)
{
    c->glue = curl_glue_free(c->glue);
    c->resolver = resolver_free(c->resolver);
}

static int transfer_start(CurlNamed *n)
{
    int r = curl_glue_add(n->names->glue, &n->transfer);

    n->added = r >= 0;
    return r;
}

static void address_append(Buffer *b, const struct sockaddr_storage *a)
{
    char text[INET6_ADDRSTRLEN];
    const void *raw = a->ss_family == AF_INET
                          ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
                          : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;

    if (inet_ntop(a->ss_family, raw, text, sizeof text))
        buffer_printf(b, a->ss_family == AF_INET ? "%s" : "[%s]", text);
}

static int pin(CurlNamed *n, const ResolveAnswer *a)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(PIN_MAX);

    buffer_printf(&b, "%s:%s:", n->host, n->port);
    for (size_t i = 0; i < a->n; i++) {
        if (i)
            buffer_char(&b, ',');
        address_append(&b, &a->addresses[i]);
    }
    if (buffer_error(&b))
        return buffer_error(&b);
    n->pinned = curl_slist_append(NULL, buffer_cstr(&b));
    if (!n->pinned || curl_easy_setopt(n->transfer.easy, CURLOPT_RESOLVE, n->pinned) != CURLE_OK)
        return -ENOMEM;
    return transfer_start(n);
}

static void on_answer(ResolveQuery *query, const ResolveAnswer *a)
{
    CurlNamed *n = container_of(query, CurlNamed, query);

    n->resolving = false;
    int r = a->error < 0 ? a->error : pin(n, a);
    if (r < 0)
        n->failed(n, r);
}

static bool is_literal(const char *host)
{
    uint8_t address[16];

    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

int curl_named_start(CurlNamed *n, Now now)
{
    ResolveAnswer a;

    if (is_literal(n->host) || strcasecmp(n->host, "localhost") == 0)
        return transfer_start(n);
    int r = resolve_start(n->names->resolver, n->host, &n->query, now, &a);
    if (r > 0) /* from memory, which keeps no failures */
        return pin(n, &a);
    n->resolving = r == 0;
    return r;
}

static int url_part(CURLU *u, CURLUPart part, unsigned flags, char **ret)
{
    char *text = NULL;
    CURLUcode bad = curl_url_get(u, part, &text, flags);

    if (bad)
        return bad == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
    *ret = strdup(text);
    curl_free(text);
    return *ret ? 0 : -ENOMEM;
}

static int url_parts(CurlNamed *n, const char *url)
{
    CURLU *u = curl_url();
    CURLUcode bad =
        u ? curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) : CURLUE_OUT_OF_MEMORY;
    int r = !bad ? 0 : bad == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;

    if (r >= 0)
        r = url_part(u, CURLUPART_SCHEME, 0, &n->scheme);
    if (r >= 0)
        r = url_part(u, CURLUPART_HOST, 0, &n->host);
    if (r >= 0)
        r = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, &n->port);
    curl_url_cleanup(u);
    return r;
}

static int set_options(CURL *e, const char *url, const char *protocols, uint32_t timeout_ms)
{
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
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
    };
    const struct {
        CURLoption option;
        const char *value;
    } texts[] = {
        {CURLOPT_URL, url},     {CURLOPT_PROTOCOLS_STR, protocols},  {CURLOPT_PROXY, ""},
        {CURLOPT_NOPROXY, "*"}, {CURLOPT_USERAGENT, "services_api"},
    };

    for (size_t i = 0; i < ELEMENTS(numbers); i++)
        if (curl_easy_setopt(e, numbers[i].option, numbers[i].value) != CURLE_OK)
            return -ENOMEM;
    for (size_t i = 0; i < ELEMENTS(texts); i++)
        if (curl_easy_setopt(e, texts[i].option, texts[i].value) != CURLE_OK)
            return -ENOMEM;
    return 0;
}

int curl_named_init(CurlNamed *n, CurlNames *names, const char *url, const char *protocols,
                    uint32_t timeout_ms, void (*done)(CurlTransfer *t, CURLcode result),
                    void (*failed)(CurlNamed *n, int error))
{
    *n = (CurlNamed){.names = names, .failed = failed};
    n->transfer.done = done;
    n->query.answer = on_answer;
    n->transfer.easy = curl_easy_init();
    int r = n->transfer.easy ? url_parts(n, url) : -ENOMEM;
    return r < 0 ? r : set_options(n->transfer.easy, url, protocols, timeout_ms);
}

void curl_named_done(CurlNamed *n)
{
    if (!n->names)
        return;
    resolve_cancel(n->names->resolver, &n->query);
    if (n->added)
        curl_glue_remove(n->names->glue, &n->transfer);
    curl_easy_cleanup(n->transfer.easy);
    curl_slist_free_all(n->pinned);
    free(n->scheme);
    free(n->host);
    free(n->port);
    *n = (CurlNamed){0};
}
