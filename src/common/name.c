/* Validators for names from outside; see name.h.
 *
 * They are lists of what is allowed, never of what is forbidden, and they look at bytes only: no
 * locale, no allocation, no look-up. Each stops at its maximum, so a text of any length costs no
 * more than the longest valid one. Two rules are narrower than the standards they come from,
 * because nobody is served by the difference: a unit name does not begin with '-' (an option, to
 * every command line tool), and a host whose last label looks like a number must be a proper dotted
 * quad
 * ("127.1" and "0x7f000001" are spellings of a loopback address that a reader does not see). */
#include "common/name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/unit.h"

#define PATH_MAX_BYTES  1024
#define HOST_MAX_BYTES  253
#define LABEL_MAX_BYTES 63

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_visible(char c)
{
    return c > ' ' && c < 0x7F;
}

bool name_is_id(const char *s)
{
    if (!s || !is_alnum(s[0]))
        return false;
    size_t len = strnlen(s, ID_MAX + 1);
    if (len > ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && !strchr("._-", s[i]))
            return false;
    return true;
}

bool name_is_ssh_host(const char *s)
{
    return name_is_id(s);
}

static bool unit_suffix_is_known(const char *dot)
{
    static const char *const known[] = {".service", ".socket", ".timer",     ".target",
                                        ".path",    ".mount",  ".automount", ".swap",
                                        ".slice",   ".scope",  ".device"};

    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (strcmp(dot, known[i]) == 0)
            return true;
    return false;
}

bool name_is_unit(const char *s)
{
    if (!s || s[0] == '-' || s[0] == '@')
        return false;
    size_t len = strnlen(s, UNIT_MAX + 1);
    if (len > UNIT_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && !strchr(":_.\\@-", s[i]))
            return false;
    const char *dot = strrchr(s, '.');
    return dot && dot != s && dot[-1] != '@' && unit_suffix_is_known(dot);
}

bool name_is_text(const char *s, size_t max)
{
    if (!s)
        return false;
    size_t len = strnlen(s, max + 1);
    if (len > max)
        return false;
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c;
        n = text_decode(s + i, len - i, &c);
        if (n == 0 || text_is_control(c))
            return false;
    }
    return true;
}

static bool is_path(const char *s)
{
    if (s[0] != '/')
        return false;
    for (; *s; s++)
        if (!is_visible(*s) || *s == '#')
            return false;
    return true;
}

bool name_is_health_path(const char *s)
{
    return s && strnlen(s, PATH_MAX_BYTES + 1) <= PATH_MAX_BYTES && is_path(s);
}

static bool is_label(const char *s, size_t len)
{
    if (len == 0 || len > LABEL_MAX_BYTES || s[0] == '-' || s[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_')
            return false;
    return true;
}

static bool is_literal(int family, const char *s, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr any;

    if (len >= sizeof copy)
        return false;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return inet_pton(family, copy, &any) == 1;
}

/* resolvers take such a host for an IPv4 address in one of its odd spellings */
static bool looks_numeric(const char *label, size_t len)
{
    size_t digits = 0;

    while (digits < len && is_digit(label[digits]))
        digits++;
    return digits == len || (len > 1 && label[0] == '0' && (label[1] | 0x20) == 'x');
}

static bool is_host_name(const char *s, size_t len)
{
    const char *label = s, *end = s + len;

    if (len == 0 || len > HOST_MAX_BYTES)
        return false;
    for (;;) {
        const char *dot = memchr(label, '.', (size_t)(end - label));
        if (!is_label(label, (size_t)((dot ? dot : end) - label)))
            return false;
        if (!dot)
            break;
        label = dot + 1;
    }
    return !looks_numeric(label, (size_t)(end - label)) || is_literal(AF_INET, s, len);
}

/* Length of the host at the front of s, brackets included; 0: none. */
static size_t host_length(const char *s)
{
    if (s[0] == '[') {
        const char *end = strchr(s, ']');
        if (!end || !is_literal(AF_INET6, s + 1, (size_t)(end - s - 1)))
            return 0;
        return (size_t)(end - s) + 1;
    }
    size_t len = strcspn(s, ":/");
    return is_host_name(s, len) ? len : 0;
}

/* Length of ":PORT" at the front of s. 0 when there is none, SIZE_MAX when it is no port. */
static size_t port_length(const char *s)
{
    uint32_t port = 0;
    size_t i = 1;

    if (s[0] != ':')
        return 0;
    for (; is_digit(s[i]) && i <= 5; i++)
        port = port * 10 + (uint32_t)(s[i] - '0');
    return port >= 1 && port <= 65535 && !is_digit(s[i]) ? i : SIZE_MAX;
}

bool name_is_boot_id(const char *s)
{
    if (!s || strnlen(s, BOOT_ID_LEN + 1) != BOOT_ID_LEN)
        return false;
    for (size_t i = 0; i < BOOT_ID_LEN; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !is_digit(s[i]) && (s[i] < 'a' || s[i] > 'f'))
            return false;
    }
    return true;
}

bool name_is_health_url(const char *s)
{
    if (!s || strnlen(s, PATH_MAX_BYTES + 1) > PATH_MAX_BYTES)
        return false;
    if (strncmp(s, "http://", 7) == 0)
        s += 7;
    else if (strncmp(s, "https://", 8) == 0)
        s += 8;
    else
        return false;
    size_t host = host_length(s);
    if (host == 0)
        return false;
    size_t port = port_length(s + host);
    if (port == SIZE_MAX)
        return false;
    s += host + port;
    return s[0] == '\0' || is_path(s);
}
