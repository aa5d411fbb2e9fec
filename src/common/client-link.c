/* One WebSocket connection of the client: libcurl connects (names, IPv4 and IPv6, TLS), then steps
 * aside (CONNECT_ONLY); the upgrade of RFC 6455 section 4.1 is ours, and bytes pass by
 * client_link_receive() and _send(). libcurl 7.88 as Debian builds it has no WebSocket of its own.
 *
 * Nothing blocks but client_link_wait() and the connect, and both give way to stop_fd. Over TLS
 * libcurl may hold bytes that the descriptor no longer shows: receive first, wait only on -EAGAIN.
 * The answer to the upgrade must be exactly what was asked for; whatever else answers at that port
 * is told apart from our daemon here, before a byte of it reaches the codec. */
#include <curl/curl.h>
#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "basic/clock.h"
#include "basic/i18n.h"
#include "common/client-private.h"
#include "common/websocket.h"

#define OPEN_TIMEOUT_MS 5000
#define HEAD_MAX        8192

struct ClientLink {
    CURL *curl;
    int fd;
    int stop_fd;
    Buffer early; /* what came behind the head of the answer, until it has been received */
};

static bool is_stopped(int stop_fd)
{
    struct pollfd p = {.fd = stop_fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

static int on_progress(void *userdata, UNUSED curl_off_t dl_total, UNUSED curl_off_t dl_now,
                       UNUSED curl_off_t ul_total, UNUSED curl_off_t ul_now)
{
    const ClientLink *l = userdata;

    return is_stopped(l->stop_fd);
}

ClientLink *client_link_free(ClientLink *l)
{
    if (l) {
        curl_easy_cleanup(l->curl);
        buffer_done(&l->early);
        free(l);
    }
    return NULL;
}

DEFINE_CLEANUP(ClientLink, client_link_free);

ssize_t client_link_receive(ClientLink *l, void *buf, size_t size)
{
    size_t n = 0;

    if (l->early.len > 0) {
        n = MIN(size, l->early.len);
        memcpy(buf, l->early.data, n);
        buffer_consume(&l->early, n);
        return (ssize_t)n;
    }
    CURLcode code = curl_easy_recv(l->curl, buf, size, &n);
    if (code == CURLE_OK)
        return (ssize_t)n;
    return code == CURLE_AGAIN ? -EAGAIN : -ECONNRESET;
}

int client_link_send(ClientLink *l, Buffer *out)
{
    while (out->len > 0) {
        size_t n = 0;
        CURLcode code = curl_easy_send(l->curl, out->data, out->len, &n);
        if (code == CURLE_AGAIN)
            return 0;
        if (code != CURLE_OK)
            return -ECONNRESET;
        buffer_consume(out, n);
    }
    return 0;
}

int client_link_wait(const ClientLink *l, bool want_write, uint32_t timeout_ms)
{
    struct pollfd p[] = {
        {.fd = l->fd, .events = (short)(POLLIN | (want_write ? POLLOUT : 0))},
        {.fd = l->stop_fd, .events = POLLIN},
    };

    int n = poll(p, ELEMENTS(p), (int)timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[1].revents)
        return -ECANCELED;
    return n == 0 ? -ETIMEDOUT : 0;
}

static int link_connect(ClientLink *l, const ClientTarget *t, char *error_text, size_t size)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    int r = client_curl_new(t, "/", OPEN_TIMEOUT_MS, (void **)&l->curl);

    if (r < 0)
        return r;
    curl_easy_setopt(l->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(l->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(l->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(l->curl, CURLOPT_XFERINFODATA, l);
    CURLcode code = curl_easy_perform(l->curl);
    if (code != CURLE_OK)
        return client_curl_error(l->curl, (int)code, t, error_text, size);
    code = curl_easy_getinfo(l->curl, CURLINFO_ACTIVESOCKET, &fd);
    if (code != CURLE_OK || fd == CURL_SOCKET_BAD)
        return client_curl_error(l->curl, CURLE_RECV_ERROR, t, error_text, size);
    l->fd = fd;
    return 0;
}

static void write_request(Buffer *out, const ClientTarget *t, const char *path, const char *key)
{
    const char *base_path = t->authority + t->authority_len;

    buffer_printf(out, "GET %s%s HTTP/1.1\r\nHost: %.*s\r\n", base_path, path,
                  (int)t->authority_len, t->authority);
    buffer_printf(out,
                  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    buffer_printf(out, "Sec-WebSocket-Key: %s\r\n", key);
    if (t->token)
        buffer_printf(out, "Authorization: Bearer %s\r\n", t->token);
    buffer_str(out, "\r\n");
}

static uint32_t left_ms(uint64_t deadline_us)
{
    uint64_t now_us = clock_now().mono_us;

    return now_us >= deadline_us ? 0 : (uint32_t)((deadline_us - now_us) / USEC_PER_MSEC) + 1;
}

/* Fills `early` until it holds a whole head. Returns the head's length, final empty line included.
 */
static ssize_t read_head(ClientLink *l, uint64_t deadline_us)
{
    char chunk[2048];

    for (;;) {
        const char *end = l->early.len ? memmem(l->early.data, l->early.len, "\r\n\r\n", 4) : NULL;
        if (end)
            return end + 4 - l->early.data;
        if (l->early.len >= HEAD_MAX)
            return -EPROTO;
        size_t n = 0;
        CURLcode code = curl_easy_recv(l->curl, chunk, sizeof chunk, &n);
        if (code == CURLE_AGAIN) {
            int r = client_link_wait(l, false, left_ms(deadline_us));
            if (r < 0)
                return r;
        } else if (code != CURLE_OK || n == 0) {
            return -EPROTO;
        }
        buffer_append(&l->early, chunk, n);
        if (buffer_error(&l->early))
            return buffer_error(&l->early);
    }
}

/* The value of the only header of that name in the head (a C string); NULL: none, or several. */
static const char *header_value(const char *head, const char *name, size_t *ret_len)
{
    const char *value = NULL;
    size_t name_len = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        if (value)
            return NULL;
        value = line + name_len + 1;
        value += strspn(value, " \t");
        *ret_len = strcspn(value, "\r");
        while (*ret_len > 0 && strchr(" \t", value[*ret_len - 1]))
            (*ret_len)--;
    }
    return value;
}

static bool header_is(const char *head, const char *name, const char *expected, bool any_case)
{
    size_t len = 0;
    const char *value = header_value(head, name, &len);

    return value && len == strlen(expected) &&
           (any_case ? strncasecmp(value, expected, len) : strncmp(value, expected, len)) == 0;
}

static int refused(const ClientTarget *t, int status, char *error_text, size_t size)
{
    if (status == 401 || status == 403)
        snprintf(error_text, size, _("%s does not let this user in: it wants its token."), t->base);
    else if (status)
        snprintf(error_text, size, _("%s answered HTTP status %d to the stream."), t->base, status);
    else
        snprintf(error_text, size, _("What answers at %s is not services_api."), t->base);
    return status == 401 || status == 403 ? -EACCES : -EPROTO;
}

static int check_head(const char *head, size_t len, const char *accept, const ClientTarget *t,
                      char *error_text, size_t size)
{
    int status = 0;

    if (strlen(head) != len || strncmp(head, "HTTP/1.1 ", 9) != 0 ||
        sscanf(head + 9, "%3d", &status) != 1 || status < 100)
        return refused(t, 0, error_text, size);
    if (status != 101)
        return refused(t, status, error_text, size);
    if (!header_is(head, "Upgrade", "websocket", true) ||
        !header_is(head, "Connection", "Upgrade", true) ||
        !header_is(head, "Sec-WebSocket-Accept", accept, false) ||
        strcasestr(head, "\nSec-WebSocket-Extensions:") ||
        strcasestr(head, "\nSec-WebSocket-Protocol:"))
        return refused(t, 0, error_text, size);
    return 0;
}

static int make_key(char key[static 25], char accept[static 29])
{
    uint8_t random[16];

    if (getrandom(random, sizeof random, 0) != sizeof random)
        return -EIO;
    EVP_EncodeBlock((uint8_t *)key, random, sizeof random);
    return ws_accept_key(key, accept);
}

static int link_upgrade(ClientLink *l, const ClientTarget *t, const char *path, char *error_text,
                        size_t size)
{
    CLEANUP(buffer_done) Buffer request = BUFFER_INIT(HEAD_MAX);
    CLEANUP_FREE char *head = NULL;
    uint64_t deadline_us = clock_now().mono_us + OPEN_TIMEOUT_MS * USEC_PER_MSEC;
    char key[25], accept[29];

    int r = make_key(key, accept);
    if (r < 0)
        return r;
    write_request(&request, t, path, key);
    r = buffer_error(&request) ? buffer_error(&request) : client_link_send(l, &request);
    if (r < 0 || request.len > 0) /* a fresh connection takes a few hundred bytes at once */
        return client_curl_error(l->curl, CURLE_SEND_ERROR, t, error_text, size);
    ssize_t len = read_head(l, deadline_us);
    if (len == -ETIMEDOUT)
        return client_curl_error(l->curl, CURLE_OPERATION_TIMEDOUT, t, error_text, size);
    if (len == -EPROTO)
        return refused(t, 0, error_text, size);
    if (len < 0)
        return (int)len;
    head = strndup(buffer_cstr(&l->early), (size_t)len);
    if (!head)
        return -ENOMEM;
    buffer_consume(&l->early, (size_t)len);
    return check_head(head, (size_t)len, accept, t, error_text, size);
}

int client_link_open(const ClientTarget *t, const char *path, int stop_fd, ClientLink **ret,
                     char *error_text, size_t size)
{
    CLEANUP(client_link_freep) ClientLink *l = calloc(1, sizeof *l);

    if (!l)
        return -ENOMEM;
    l->fd = -1;
    l->stop_fd = stop_fd;
    l->early = BUFFER_INIT(HEAD_MAX * 2);
    int r = link_connect(l, t, error_text, size);
    if (r == 0)
        r = link_upgrade(l, t, path, error_text, size);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(l);
    return 0;
}
