/* Replies: every one carries the same safety headers, errors are problem documents (RFC 9457), and
 * the list that everybody asks for is built once per state version and shared.
 *
 * A reply given while the handler runs is queued when the handler returns; one given to a suspended
 * request wakes it up, and libmicrohttpd then asks again. So the only call of MHD_queue_response()
 * for ordinary replies is request_queue(). There is no CORS header here, and there must never be
 * one. */
#include <stdio.h>
#include <string.h>

#include "api/http-server-private.h"
#include "common/json.h"

static const struct {
    const char *name;
    const char *value;
} common_headers[] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static struct MHD_Response *response_new(const char *body, size_t len, const char *content_type)
{
    /* The API wants a pointer to non-const but copies in this mode. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);

    if (!response)
        return NULL;
    bool ok = true;
    for (size_t i = 0; i < ELEMENTS(common_headers); i++)
        ok &= MHD_add_response_header(response, common_headers[i].name, common_headers[i].value);
    if (content_type)
        ok &= MHD_add_response_header(response, "Content-Type", content_type);
    if (ok)
        return response;
    MHD_destroy_response(response);
    return NULL;
}

/* The one place where a request gets its answer. response NULL: no memory, the client is dropped.
 */
static void request_answer(HttpRequest *r, unsigned status, struct MHD_Response *response,
                           bool is_shared)
{
    Connection *c = r->connection;
    bool suspended = c->phase == PHASE_SUSPENDED;

    r->status = status;
    r->response = response;
    r->response_is_shared = is_shared;
    connection_enter(c, response ? PHASE_REPLY : PHASE_GONE);
    if (suspended) {
        nest_remove(c->server->nest, &r->watch);
        MHD_resume_connection(c->mhd);
        c->server->again = true; /* with an external loop, resuming wakes nobody */
    }
}

enum MHD_Result request_queue(HttpRequest *r)
{
    if (!r->response)
        return MHD_NO;
    enum MHD_Result queued = MHD_queue_response(r->connection->mhd, r->status, r->response);
    if (!r->response_is_shared)
        MHD_destroy_response(r->response);
    r->response = NULL;
    return queued;
}

void http_reply_text(HttpRequest *r, int status, const char *content_type, const char *text,
                     size_t len)
{
    request_answer(r, (unsigned)status, response_new(text, len, content_type), false);
}

void http_reply_json(HttpRequest *r, int status, const char *json, size_t len)
{
    http_reply_text(r, status, "application/json", json, len);
}

static struct MHD_Response *problem_new(unsigned status, const char *title, const char *detail)
{
    Buffer b = BUFFER_INIT(16U << 10);

    json_open_object(&b, NULL);
    json_string(&b, "type", "about:blank");
    json_string(&b, "title", title);
    json_int(&b, "status", status);
    json_string(&b, "detail", detail);
    json_close_object(&b);
    struct MHD_Response *response =
        buffer_error(&b) ? NULL : response_new(b.data, b.len, "application/problem+json");
    buffer_done(&b);
    return response;
}

void http_reply_problem(HttpRequest *r, int status, const char *title, const char *detail)
{
    request_answer(r, (unsigned)status, problem_new((unsigned)status, title, detail), false);
}

static const char *refusal_title(unsigned status)
{
    static const struct {
        unsigned status;
        const char *title;
    } titles[] = {
        {400, "Bad request"},      {401, "Token needed"},       {403, "Forbidden"},
        {404, "Not found"},        {405, "Method not allowed"}, {413, "Body too large"},
        {414, "Target too long"},  {415, "JSON needed"},        {421, "Wrong host"},
        {426, "WebSocket needed"}, {431, "Head too large"},     {500, "Internal error"},
    };

    for (size_t i = 0; i < ELEMENTS(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

/* A refused request ends the connection: what follows it on the wire is not to be trusted. */
void reply_refusal(HttpRequest *r, unsigned status, const char *detail, const char *header,
                   const char *value)
{
    struct MHD_Response *response = problem_new(status, refusal_title(status), detail);

    if (response && header)
        MHD_add_response_header(response, header, value);
    if (response)
        MHD_add_response_header(response, "Connection", "close");
    request_answer(r, status, response, false);
}

void reply_upgrade(HttpRequest *r, const char *accept_key, MHD_UpgradeHandler upgraded)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, NULL);

    if (response) {
        MHD_add_response_header(response, "Upgrade", "websocket");
        MHD_add_response_header(response, "Sec-WebSocket-Accept", accept_key);
    }
    request_answer(r, 101, response, false);
}

static struct MHD_Response *cached_new(const HttpServer *s, const char *body, size_t len,
                                       uint64_t version)
{
    char etag[48];
    struct MHD_Response *response = response_new(body, len, "application/json");

    snprintf(etag, sizeof etag, "\"%s-%llu\"", s->etag_salt, (unsigned long long)version);
    if (response && !MHD_add_response_header(response, "ETag", etag)) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

static struct MHD_Response *cached_get(HttpServer *s, const char *json, size_t len,
                                       uint64_t version)
{
    size_t at = s->cached_next;

    for (size_t i = 0; i < CACHED_MAX; i++) {
        if (s->cached[i].json != json || !s->cached[i].response)
            continue;
        if (s->cached[i].version == version)
            return s->cached[i].response;
        at = i;
    }
    struct MHD_Response *response = cached_new(s, json, len, version);
    if (!response)
        return NULL;
    if (at == s->cached_next)
        s->cached_next = (s->cached_next + 1) % CACHED_MAX;
    if (s->cached[at].response)
        MHD_destroy_response(s->cached[at].response);
    s->cached[at] = (Cached){json, version, response};
    return response;
}

static bool etag_matches(const HttpServer *s, const char *wanted, uint64_t version)
{
    char etag[48];

    if (!wanted)
        return false;
    snprintf(etag, sizeof etag, "\"%s-%llu\"", s->etag_salt, (unsigned long long)version);
    const char *found = strstr(wanted, etag);
    return found || strcmp(wanted, "*") == 0;
}

void http_reply_cached(HttpRequest *r, const char *json, size_t len, uint64_t version)
{
    HttpServer *s = r->connection->server;

    if (etag_matches(s, http_header(r, "If-None-Match"), version)) {
        request_answer(r, 304, cached_new(s, "", 0, version), false);
    } else if (r->connection->phase == PHASE_SUSPENDED) {
        /* It is queued later only, when the cache may have dropped its own. */
        request_answer(r, 200, cached_new(s, json, len, version), false);
    } else {
        request_answer(r, 200, cached_get(s, json, len, version), true);
    }
}

void http_reply_buffer(HttpRequest *r, int status, Buffer *b)
{
    if (buffer_error(b))
        http_reply_problem(r, 500, "Out of memory", "the answer could not be built");
    else
        http_reply_json(r, status, b->data, b->len);
    buffer_done(b);
}

void reply_cache_drop(HttpServer *s)
{
    for (size_t i = 0; i < CACHED_MAX; i++) {
        if (s->cached[i].response)
            MHD_destroy_response(s->cached[i].response);
        s->cached[i] = (Cached){0};
    }
}
