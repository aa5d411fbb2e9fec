/* See ssh-cause.h. One table, searched from the top over the whole text: ssh often says more than
 * one thing (through a jump host first what the jump met, then that the connection closed), and the
 * more telling words stand higher. A PC may write what it likes to our stderr once the session
 * runs, and a banner even before; it can lie about itself only. */
#include "api/ssh-cause.h"

#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

typedef struct SshWords {
    const char *words;
    Cause cause;
} SshWords;

static const SshWords table[] = {
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", CAUSE_HOST_KEY_CHANGED},
    {" has changed and you have requested strict checking", CAUSE_HOST_KEY_CHANGED},
    {"REVOKED HOST KEY DETECTED", CAUSE_HOST_KEY_CHANGED},
    {" marked as revoked", CAUSE_HOST_KEY_CHANGED},
    {" host key is known for ", CAUSE_HOST_KEY_UNKNOWN},
    {"Host key verification failed", CAUSE_HOST_KEY_UNKNOWN},
    {"Bad owner or permissions on ", CAUSE_SSH_CONFIG},
    {": Bad configuration option", CAUSE_SSH_CONFIG},
    {" bad configuration options", CAUSE_SSH_CONFIG},
    {"Can't open user config file", CAUSE_SSH_CONFIG},
    {"command-line: line 0:", CAUSE_SSH_CONFIG},
    {"Bad dynamic forwarding specification", CAUSE_SSH_CONFIG},
    {"unknown option -- ", CAUSE_SSH_CONFIG},
    {": Permission denied (", CAUSE_KEY_REFUSED},
    {"Permission denied, please try again", CAUSE_KEY_REFUSED},
    {"Too many authentication failures", CAUSE_KEY_REFUSED},
    {"no more authentication methods", CAUSE_KEY_REFUSED},
    {"Could not resolve hostname", CAUSE_HOST_UNKNOWN},
    {"No route to host", CAUSE_HOST_UNROUTABLE},
    {"Network is unreachable", CAUSE_HOST_UNROUTABLE},
    {"Host is down", CAUSE_HOST_UNROUTABLE},
    {": Connection refused", CAUSE_HOST_REFUSED}, /* of connect to host; a channel's is skipped */
    {" not responding.", CAUSE_BUS_SILENT},       /* Timeout, server X not responding. */
    {" timed out", CAUSE_HOST_TIMEOUT},
    {"This account is currently not available", CAUSE_SHELL_BROKEN},
    {"cannot bind to path", CAUSE_SSH_FAILED},
    {"Could not request local forwarding", CAUSE_SSH_FAILED},
    {"Exceeded MaxStartups", CAUSE_HOST_REFUSED},
    {"kex_exchange_identification: ", CAUSE_HOST_REFUSED},
    {"ssh_exchange_identification: ", CAUSE_HOST_REFUSED},
};

/* What a channel met says nothing about the connection as a whole. */
static bool is_noise(const char *line, size_t len)
{
    static const char *const noise[] = {"channel ",
                                        "Transferred: ", "Bytes per second: ", "Authenticated to ",
                                        "Authenticated using "};

    for (size_t i = 0; i < ELEMENTS(noise); i++)
        if (len >= strlen(noise[i]) && memcmp(line, noise[i], strlen(noise[i])) == 0)
            return true;
    return false;
}

/* The next line; NULL at the end. */
static const char *line_next(const char **text, size_t *left, size_t *ret_len)
{
    const char *line = *text;

    if (*left == 0)
        return NULL;
    const char *end = memchr(line, '\n', *left);
    size_t len = end ? (size_t)(end - line) : *left;
    *text += len + (end != NULL);
    *left -= len + (end != NULL);
    while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
        len--;
    while (len && *line == ' ') {
        line++;
        len--;
    }
    *ret_len = len;
    return line;
}

static bool has_words(const char *text, size_t left, const char *words, bool with_noise)
{
    const char *line;
    size_t len;

    while ((line = line_next(&text, &left, &len)))
        if ((with_noise || !is_noise(line, len)) && memmem(line, len, words, strlen(words)))
            return true;
    return false;
}

Cause ssh_cause(const char *text, size_t len, bool authenticated, int status)
{
    for (size_t i = 0; i < ELEMENTS(table); i++)
        if (has_words(text, len, table[i].words, false))
            return table[i].cause;
    return authenticated && status != 255 ? CAUSE_SHELL_BROKEN : CAUSE_SSH_FAILED;
}

bool ssh_said_authenticated(const char *text, size_t len)
{
    return has_words(text, len, "Authenticated to ", true);
}

bool ssh_said_prohibited(const char *text, size_t len)
{
    return has_words(text, len, "open failed: administratively prohibited", true);
}

bool ssh_said_no_socket_socks(const char *text, size_t len)
{
    return has_words(text, len, "Bad dynamic forwarding specification", false);
}

void ssh_last_line(const char *text, size_t len, char *ret, size_t size)
{
    const char *line;
    size_t n;

    text_copy(ret, size, "");
    while ((line = line_next(&text, &len, &n)))
        if (n && !is_noise(line, n))
            text_clean(ret, size, line, n);
}
