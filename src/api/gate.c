/* The door of the HTTP server. See gate.h for why there is one.
 *
 * Every rule refuses what it does not know: a target that is no plain path, a Host that is not on
 * the list, a body whose length could be read in two ways. Nothing here decodes, repairs or
 * guesses, so what passed means the same to us, to libmicrohttpd and to any proxy in between.
 *
 * Chunked bodies are refused altogether: our clients never send one, and without them there is no
 * second way to say where a request ends.
 *
 * The Host check is what stops DNS rebinding: a page of evil.example whose name was pointed at
 * 127.0.0.1 reaches our port, but with its own name in Host. The Origin check stops the plain
 * cross-site request; WebSockets know no same-origin policy, so it must be us who look. */
#include "api/gate.h"

#include <string.h>
#include <strings.h>

#include "basic/macro.h"

/* Headers that may come once at most, and whose value matters here. */
typedef enum Single {
    SINGLE_HOST,
    SINGLE_ORIGIN,
    SINGLE_CONTENT_LENGTH,
    SINGLE_TRANSFER_ENCODING,
    SINGLE_AUTHORIZATION,
    SINGLE_CONTENT_TYPE,
    SINGLE_MAX
} Single;

static const char *const single_names[SINGLE_MAX] = {
    [SINGLE_HOST] = "Host",
    [SINGLE_ORIGIN] = "Origin",
    [SINGLE_CONTENT_LENGTH] = "Content-Length",
    [SINGLE_TRANSFER_ENCODING] = "Transfer-Encoding",
    [SINGLE_AUTHORIZATION] = "Authorization",
    [SINGLE_CONTENT_TYPE] = "Content-Type",
};

typedef struct View {
    const GateRules *rules;
    const GateRequest *request;
    const char *single[SINGLE_MAX]; /* NULL: absent */
    const char *why;
} View;

static const char *const loopback_names[] = {"localhost", "127.0.0.1", "[::1]"};

static GateVerdict refuse(View *v, GateVerdict verdict, const char *why)
{
    v->why = why;
    return verdict;
}

static bool is_token(const char *s)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return *s && s[strspn(s, allowed)] == '\0';
}

static bool is_field_value(const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static Single single_of(const char *name)
{
    Single i = 0;

    while (i < SINGLE_MAX && strcasecmp(name, single_names[i]) != 0)
        i++;
    return i;
}

static GateVerdict check_headers(View *v)
{
    if (v->request->n_headers > GATE_HEADERS_MAX)
        return refuse(v, GATE_BAD_REQUEST, "The request has more than 64 headers.");
    for (size_t i = 0; i < v->request->n_headers; i++) {
        const GateHeader *h = &v->request->headers[i];
        const char *value = h->value ? h->value : "";
        if (!is_token(h->name))
            return refuse(v, GATE_BAD_REQUEST, "A header's name is malformed.");
        if (!is_field_value(value))
            return refuse(v, GATE_BAD_REQUEST, "A header's value has control characters in it.");
        Single s = single_of(h->name);
        if (s == SINGLE_MAX)
            continue;
        if (v->single[s])
            return refuse(v, GATE_BAD_REQUEST, "A header that may come only once came twice.");
        v->single[s] = value;
    }
    return GATE_PASS;
}

static GateVerdict check_version(View *v)
{
    const char *version = v->request->version;

    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return refuse(v, GATE_BAD_REQUEST, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    if (!is_token(v->request->method))
        return refuse(v, GATE_BAD_REQUEST, "The request's method is malformed.");
    return GATE_PASS;
}

static bool is_dots(const char *segment, size_t len)
{
    return (len == 1 && segment[0] == '.') || (len == 2 && segment[0] == '.' && segment[1] == '.');
}

static GateVerdict check_path(View *v, const char *path, size_t len)
{
    if (memchr(path, '%', len))
        return refuse(v, GATE_BAD_REQUEST, "A path is not percent-encoded here.");
    for (size_t at = 0; at < len;) {
        size_t from = at + 1; /* path[at] is '/' */
        at = from;
        while (at < len && path[at] != '/')
            at++;
        if (at == from && at < len)
            return refuse(v, GATE_BAD_REQUEST, "The path has an empty segment.");
        if (is_dots(path + from, at - from))
            return refuse(v, GATE_BAD_REQUEST, "The path has a dot segment.");
    }
    return GATE_PASS;
}

static bool is_hex(char c)
{
    return c && strchr("0123456789abcdefABCDEF", c);
}

static GateVerdict check_query(View *v, const char *query)
{
    for (const char *p = strchr(query, '%'); p; p = strchr(p + 3, '%'))
        if (!is_hex(p[1]) || !is_hex(p[2]))
            return refuse(v, GATE_BAD_REQUEST, "The query has a malformed percent-encoding.");
    return GATE_PASS;
}

static GateVerdict check_target(View *v)
{
    const char *target = v->request->target;
    size_t len = strlen(target);

    if (len > GATE_TARGET_MAX)
        return refuse(v, GATE_URI_TOO_LONG, "The request target is longer than 2048 bytes.");
    if (target[0] != '/')
        return refuse(v, GATE_BAD_REQUEST,
                      "The request target must be a path that starts with '/'.");
    for (size_t i = 0; i < len; i++)
        if (target[i] <= ' ' || target[i] > '~' || target[i] == '#' || target[i] == '\\')
            return refuse(v, GATE_BAD_REQUEST, "The request target has a forbidden character.");
    size_t path_len = strcspn(target, "?");
    GateVerdict verdict = check_path(v, target, path_len);
    return verdict == GATE_PASS ? check_query(v, target + path_len) : verdict;
}

/* "" or ":1" to ":65535" */
static bool is_port_suffix(const char *s)
{
    uint32_t port = 0;

    if (*s == '\0')
        return true;
    if (*s++ != ':')
        return false;
    size_t digits = strspn(s, "0123456789");
    if (digits > 5 || s[digits] != '\0')
        return false;
    for (; *s; s++)
        port = port * 10 + (uint32_t)(*s - '0');
    return port >= 1 && port <= UINT16_MAX;
}

static bool host_in(const char *const *names, size_t n, const char *host)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        if (len && strncasecmp(host, names[i], len) == 0 && is_port_suffix(host + len))
            return true;
    }
    return false;
}

static bool host_accepted(const GateRules *rules, const char *host)
{
    return host_in(loopback_names, ELEMENTS(loopback_names), host) ||
           host_in(rules->hosts, rules->n_hosts, host);
}

static GateVerdict check_host(View *v)
{
    const char *host = v->single[SINGLE_HOST];

    if (!host)
        return refuse(v, GATE_BAD_REQUEST, "The request has no Host header.");
    if (!host_accepted(v->rules, host))
        return refuse(v, GATE_FORBIDDEN_HOST,
                      "This server does not answer to that Host (see 'hosts' in config.yaml).");
    return GATE_PASS;
}

static bool origin_accepted(const GateRules *rules, const char *origin)
{
    static const char scheme[] = "http://";

    for (size_t i = 0; i < rules->n_origins; i++)
        if (strcmp(origin, rules->origins[i]) == 0)
            return true;
    return strncmp(origin, scheme, strlen(scheme)) == 0 &&
           host_accepted(rules, origin + strlen(scheme));
}

static GateVerdict check_origin(View *v)
{
    const char *origin = v->single[SINGLE_ORIGIN];

    if (origin && !origin_accepted(v->rules, origin))
        return refuse(v, GATE_FORBIDDEN_ORIGIN,
                      "Requests from that Origin are refused (see 'origins' in config.yaml).");
    return GATE_PASS;
}

static GateVerdict check_body(View *v)
{
    const char *length = v->single[SINGLE_CONTENT_LENGTH];
    uint64_t n = 0;

    if (v->single[SINGLE_TRANSFER_ENCODING])
        return refuse(v, GATE_BAD_REQUEST,
                      "Transfer-Encoding is not accepted, use Content-Length.");
    if (!length)
        return GATE_PASS;
    if (*length == '\0' || length[strspn(length, "0123456789")] != '\0')
        return refuse(v, GATE_BAD_REQUEST, "Content-Length is not a number.");
    for (; *length && n <= GATE_BODY_MAX; length++)
        n = n * 10 + (uint64_t)(*length - '0');
    if (n > GATE_BODY_MAX)
        return refuse(v, GATE_TOO_LARGE, "The body is larger than 64 KiB.");
    if (n && strcmp(v->request->method, "POST") != 0)
        return refuse(v, GATE_BAD_REQUEST, "Only a POST may have a body.");
    return GATE_PASS;
}

GateVerdict gate_check(const GateRules *rules, const GateRequest *request, const char **why)
{
    static GateVerdict (*const checks[])(View *) = {
        check_headers, check_version, check_target, check_host, check_origin, check_body,
    };
    View v = {.rules = rules, .request = request};

    for (size_t i = 0; i < ELEMENTS(checks); i++) {
        GateVerdict verdict = checks[i](&v);
        if (verdict != GATE_PASS) {
            *why = v.why;
            return verdict;
        }
    }
    return GATE_PASS;
}

bool gate_token_matches(const char *authorization, const char *token)
{
    static const char scheme[] = "Bearer ";

    if (!authorization || !token || !*token ||
        strncasecmp(authorization, scheme, strlen(scheme)) != 0)
        return false;
    const char *given = authorization + strlen(scheme);
    size_t given_len = strlen(given), len = strlen(token);
    /* Every byte of the token is looked at whatever was given: the time tells nothing about it. */
    volatile unsigned char difference = given_len != len;
    for (size_t i = 0; i < len; i++)
        difference |= (unsigned char)(token[i] ^ given[i % (given_len + 1)]);
    return difference == 0;
}

int gate_allows(GateNeed need, GateRole role, bool actions_enabled)
{
    static const struct {
        bool flag;  /* needs features.actions */
        bool token; /* being local is not enough */
    } needs[NEED_MAX] = {
        [NEED_READ] = {false, false},
        [NEED_CHECK] = {false, false},
        [NEED_ACTION] = {true, true},
    };

    if (need <= NEED_INVALID || need >= NEED_MAX || (needs[need].flag && !actions_enabled))
        return 403;
    if (role == ROLE_NOBODY || (needs[need].token && role != ROLE_TOKEN))
        return 401;
    return 0;
}
