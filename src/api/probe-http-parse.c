/* The pure parts of the health prober: the head of a reply, and a URL that needs no resolver.
 *
 * The head parser looks at everything from its first byte each time: heads are short, come in one
 * piece nearly always, and are at most HTTP_HEAD_MAX. Interim replies (1xx but 101) are stepped
 * over. It is lenient where a health check may be (bare LF, a missing reason phrase) and strict in
 * what it takes for HTTP at all: whatever speaks first on a port that is not HTTP must not look
 * like an answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/probe-http.h"
#include "basic/macro.h"

/* 1: the line is complete and good. 0: it may become so. */
static int status_line_parse(const char *s, size_t len, int *ret_status)
{
    static const char pattern[] = "HTTP/1.d ddd";
    int status = 0;

    for (size_t i = 0; i < sizeof pattern - 1; i++) {
        if (i == len)
            return 0;
        bool is_digit = s[i] >= '0' && s[i] <= '9';
        if (pattern[i] == 'd' ? !is_digit : s[i] != pattern[i])
            return -EBADMSG;
        if (i > 8)
            status = status * 10 + (s[i] - '0');
    }
    if (len == sizeof pattern - 1)
        return 0;
    char after = s[sizeof pattern - 1];
    if (status < 100 || status > 599 || (after != ' ' && after != '\r' && after != '\n'))
        return -EBADMSG;
    if (!memchr(s, '\n', len))
        return 0;
    *ret_status = status;
    return 1;
}

/* Length of the head with its blank line; 0: not complete. */
static size_t head_length(const char *s, size_t len)
{
    size_t at = 0;

    for (;;) {
        const char *end = memchr(s + at, '\n', len - at);
        if (!end)
            return 0;
        size_t next = (size_t)(end - s) + 1;
        size_t line = next - at;
        if (at > 0 && (line == 1 || (line == 2 && s[at] == '\r')))
            return next;
        at = next;
    }
}

int http_head_parse(const char *data, size_t len, int *ret_status)
{
    int status = 0;

    for (size_t at = 0;;) {
        int r = status_line_parse(data + at, len - at, &status);
        if (r < 0)
            return r;
        size_t head = r > 0 ? head_length(data + at, len - at) : 0;
        bool is_interim = r > 0 && status < 200 && status != 101;
        if (at + (head ? head : len - at) > HTTP_HEAD_MAX)
            return -EBADMSG;
        if (head && is_interim) {
            at += head;
            continue;
        }
        if (r > 0 && !is_interim)
            *ret_status = status;
        return head > 0;
    }
}

static int port_parse(const char *s, size_t len, uint16_t *ret)
{
    unsigned v = 0;

    if (len == 0 || len > 5)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -EINVAL;
        v = v * 10 + (unsigned)(s[i] - '0');
    }
    if (v == 0 || v > 65535)
        return -EINVAL;
    *ret = (uint16_t)v;
    return 0;
}

static int address_set(HttpDial *d, const char *host, size_t len, bool is_ipv6, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in *in = (struct sockaddr_in *)&d->address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&d->address;

    if (len == 0)
        return -EINVAL;
    if (len >= sizeof text)
        return is_ipv6 ? -EINVAL : -EDESTADDRREQ;
    memcpy(text, host, len);
    text[len] = '\0';
    memset(d, 0, sizeof *d);
    if (is_ipv6) {
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        d->address_len = sizeof *in6;
        return inet_pton(AF_INET6, text, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    d->address_len = sizeof *in;
    return inet_pton(AF_INET, text, &in->sin_addr) == 1 ? 0 : -EDESTADDRREQ;
}

/* "[::1]:8080" or "10.0.0.1" */
static int authority_parse(HttpDial *d, const char *s, size_t len)
{
    const char *end = s + len, *host = s, *host_end, *rest;
    uint16_t port = 80;
    bool is_ipv6 = *s == '[';

    if (memchr(s, '@', len))
        return -EINVAL;
    if (is_ipv6) {
        host++;
        host_end = memchr(s, ']', len);
        if (!host_end)
            return -EINVAL;
        rest = host_end + 1;
    } else {
        host_end = memchr(s, ':', len);
        if (!host_end)
            host_end = end;
        rest = host_end;
    }
    if (rest < end && (*rest != ':' || port_parse(rest + 1, (size_t)(end - rest - 1), &port) < 0))
        return -EINVAL;
    return address_set(d, host, (size_t)(host_end - host), is_ipv6, port);
}

int http_url_dial(const char *url, HttpDial *dial, char *host, size_t host_size, char *target,
                  size_t target_size)
{
    static const char scheme[] = "http://";
    HttpDial d;

    if (strncasecmp(url, "https://", 8) == 0)
        return -EDESTADDRREQ;
    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
        return -EINVAL;
    const char *authority = url + sizeof scheme - 1;
    size_t len = strcspn(authority, "/?#");
    const char *path = authority + len;
    int r = len == 0 ? -EINVAL : authority_parse(&d, authority, len);
    if (r < 0)
        return r;
    size_t path_len = strcspn(path, "#");
    if (len >= host_size || path_len + 2 > target_size)
        return -ENAMETOOLONG;
    snprintf(host, host_size, "%.*s", (int)len, authority);
    snprintf(target, target_size, "%s%.*s", *path == '/' ? "" : "/", (int)path_len, path);
    *dial = d;
    return 0;
}
