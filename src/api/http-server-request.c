/* What a request asks for: its target taken apart, matched against the route table, handed out.
 *
 * Nothing is decoded. A path has no percent-encoding (the gate saw to it) and every '*' of a
 * pattern takes one segment that is a valid id; query values are plain numbers and ids. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/http-server-private.h"
#include "common/name.h"

/* The target is copied because libmicrohttpd cuts it up in place. One byte more than the gate
 * allows is kept, so that the gate sees what is too long. */
bool request_take_target(HttpRequest *r, const char *target)
{
    r->raw = target;
    r->target.max = GATE_TARGET_MAX + 2;
    buffer_append(&r->target, target, strnlen(target, GATE_TARGET_MAX + 1));
    buffer_char(&r->target, '\0');
    return buffer_error(&r->target) == 0;
}

/* Steps over one piece of the head, and before it over the bytes that may separate it from the last
 * one. */
static bool head_step(const char **at, const char *end, const char *piece, size_t len,
                      size_t gap_max)
{
    static const char separators[] = " \t\r\n:"; /* and NUL, which libmicrohttpd writes over them */

    if (piece < *at || piece > end || (size_t)(end - piece) < len ||
        (size_t)(piece - *at) > gap_max)
        return false;
    for (; *at < piece; ++*at)
        if (!memchr(separators, **at, sizeof separators))
            return false;
    *at = piece + len;
    return true;
}

/* Is what the gate sees all there is? libmicrohttpd hands strings over, so a NUL on the wire would
 * hide what stands behind it, and of a folded line it makes a header of another name. But it cuts
 * the head up in place: the pieces must follow each other with nothing but separators in between.
 */
bool request_head_is_whole(const HttpRequest *r, const Head *head)
{
    const char *at = head->method, *end = head->method + head->len;

    if (!head_step(&at, end, head->method, strlen(head->method), 0) ||
        !head_step(&at, end, r->raw, r->target.len - 1, 1) ||
        !head_step(&at, end, head->version, strlen(head->version), 1))
        return false;
    for (size_t i = 0; i < head->n_headers; i++) {
        const GateHeader *h = &head->headers[i];
        if (!head_step(&at, end, h->name, strlen(h->name), head->len) ||
            !head_step(&at, end, h->value, strlen(h->value), head->len))
            return false;
    }
    return head_step(&at, end, end, 0, head->len);
}

void request_split_query(HttpRequest *r)
{
    size_t path_len = strcspn(r->target.data, "?");

    r->query = r->target.data + path_len + (r->target.data[path_len] == '?');
    r->n_arguments = 0;
    if (*r->query == '\0')
        return;
    r->arguments_text.max = GATE_TARGET_MAX + 1;
    buffer_append(&r->arguments_text, r->query, strlen(r->query) + 1);
    char *rest = buffer_error(&r->arguments_text) ? NULL : r->arguments_text.data;
    while (rest && r->n_arguments < ARGUMENTS_MAX) {
        char *name = strsep(&rest, "&");
        char *equals = strchr(name, '=');
        if (equals)
            *equals++ = '\0';
        r->arguments[r->n_arguments++] = (Argument){name, equals ? equals : ""};
    }
}

/* Does path (len bytes) match? Fills the segments as it goes. */
static bool pattern_matches(HttpRequest *r, const char *pattern, const char *path, size_t len)
{
    size_t n = 0, at = 0;

    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (at >= len || path[at++] != *pattern)
                return false;
            continue;
        }
        const char *slash = memchr(path + at, '/', len - at);
        size_t width = slash ? (size_t)(slash - path) - at : len - at;
        if (n == HTTP_SEGMENTS_MAX || width > ID_MAX)
            return false;
        memcpy(r->segments[n], path + at, width);
        r->segments[n][width] = '\0';
        if (!name_is_id(r->segments[n++]))
            return false;
        at += width;
    }
    r->n_segments = n;
    return at == len;
}

static bool method_matches(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void allow_add(char *allow, size_t size, const char *method)
{
    size_t len = strlen(allow);

    snprintf(allow + len, size - len, "%s%s%s", len ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

int request_route(HttpRequest *r, const char *method, char *allow, size_t size)
{
    const HttpServerOptions *o = &r->connection->server->options;
    size_t path_len = strcspn(r->target.data, "?");

    allow[0] = '\0';
    for (size_t i = 0; i < o->n_routes; i++) {
        const HttpRoute *route = &o->routes[i];
        if (!pattern_matches(r, route->pattern, r->target.data, path_len))
            continue;
        if (method_matches(route->method, method)) {
            r->route = route;
            return 0;
        }
        allow_add(allow, size, route->method);
    }
    return allow[0] ? 405 : 404;
}

/* Keeps no memory: ten thousand idle connections hold none. */
void request_reset(HttpRequest *r)
{
    Connection *c = r->connection;

    if (r->response && !r->response_is_shared)
        MHD_destroy_response(r->response);
    nest_remove(c->server->nest, &r->watch);
    buffer_done(&r->target);
    buffer_done(&r->arguments_text);
    buffer_done(&r->body);
    *r = (HttpRequest){.connection = c, .watch = NEST_WATCH_INIT};
}

const char *http_segment(const HttpRequest *r, size_t i)
{
    return i < r->n_segments ? r->segments[i] : NULL;
}

const char *http_query(const HttpRequest *r, const char *name)
{
    for (size_t i = 0; i < r->n_arguments; i++)
        if (strcmp(r->arguments[i].name, name) == 0)
            return r->arguments[i].value;
    return NULL;
}

int64_t http_query_int(const HttpRequest *r, const char *name, int64_t min, int64_t max,
                       int64_t otherwise, int *error)
{
    const char *text = http_query(r, name);

    if (!text)
        return otherwise;
    bool negative = *text == '-';
    const char *digits = text + negative;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 18 || digits[n] != '\0') {
        *error = -EINVAL;
        return otherwise;
    }
    int64_t value = 0;
    for (; *digits; digits++)
        value = value * 10 + (*digits - '0');
    value = negative ? -value : value;
    if (value < min || value > max) {
        *error = -EINVAL;
        return otherwise;
    }
    return value;
}

const char *http_header(const HttpRequest *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection->mhd, MHD_HEADER_KIND, name);
}

const char *http_body(const HttpRequest *r, size_t *ret_len)
{
    *ret_len = r->body.len;
    return r->body.len ? r->body.data : "";
}

/* Is word one of the comma-separated words of value? Parameters (";...") do not count. */
bool header_has_word(const char *value, const char *word)
{
    size_t len = strlen(word);

    while (value && *value) {
        value += strspn(value, " \t,");
        size_t n = strcspn(value, " \t,;");
        if (n == len && strncasecmp(value, word, len) == 0)
            return true;
        value += strcspn(value, ",");
    }
    return false;
}
