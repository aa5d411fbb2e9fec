/* The API's client: addresses, token and plain requests on libcurl; see client.h.
 *
 * The URL comes from a person and is held to the registry's rules (no userinfo, no fragment). The
 * token goes to that one place only: no redirect is followed, no proxy and no .netrc is asked, and
 * the token file's secret, which nobody gave for this URL, goes to loopback addresses alone. What
 * comes back is bounded in size and time, since anybody may have taken the port. */
#include "common/client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "basic/i18n.h"
#include "basic/text.h"
#include "common/client-private.h"
#include "common/name.h"

static void curl_init_once(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool is_loopback(const ClientTarget *t)
{
    char host[64];
    size_t len =
        t->authority[0] == '[' ? strcspn(t->authority, "]") + 1 : strcspn(t->authority, ":/");
    struct in_addr v4;

    if (t->socket_path) /* leads to another PC: our daemon's secret is none of its business */
        return false;
    if (len >= sizeof host)
        return false;
    memcpy(host, t->authority, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return strcmp(host, "[::1]") == 0 || strcasecmp(host, "localhost") == 0;
}

bool client_token_is_valid(const char *token)
{
    size_t len = strnlen(token, CLIENT_TOKEN_MAX + 1);

    if (len == 0 || len > CLIENT_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] >= 0x7F)
            return false;
    return true;
}

static int token_path(char *ret, size_t size)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    bool has_config = config && config[0] == '/';

    if (!has_config && (!home || home[0] != '/'))
        return -ENOENT;
    int n = snprintf(ret, size, "%s%s/services_api/token", has_config ? config : home,
                     has_config ? "" : "/.config");
    return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

/* NULL when there is no readable, well-formed token: the daemon then decides by the caller's uid.
 */
static char *token_from_file(void)
{
    char path[4096], text[CLIENT_TOKEN_MAX + 2];

    if (token_path(path, sizeof path) < 0)
        return NULL;
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n <= 0)
        return NULL;
    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return client_token_is_valid(text) ? strdup(text) : NULL;
}

static int target_set_token(ClientTarget *t, const char *token)
{
    if (!token) {
        t->token = is_loopback(t) ? token_from_file() : NULL;
        return 0;
    }
    if (!client_token_is_valid(token))
        return -EINVAL;
    t->token = strdup(token);
    return t->token ? 0 : -ENOMEM;
}

static int target_set_socket(ClientTarget *t, const char *path)
{
    struct sockaddr_un a;

    if (path[0] != '/' || strlen(path) >= sizeof a.sun_path)
        return -EINVAL;
    t->socket_path = strdup(path);
    return t->socket_path ? 0 : -ENOMEM;
}

int client_target_init(ClientTarget *ret, const char *base_url, const char *token, char *error_text,
                       size_t size)
{
    CLEANUP(client_target_done) ClientTarget t = {0};

    if (strncmp(base_url, CLIENT_SOCKET_PREFIX, strlen(CLIENT_SOCKET_PREFIX)) == 0) {
        int r = target_set_socket(&t, base_url + strlen(CLIENT_SOCKET_PREFIX));
        if (r == -EINVAL)
            snprintf(error_text, size, _("That is not the path of a socket."));
        if (r < 0)
            return r;
        base_url = CLIENT_URL_DEFAULT;
    }
    if (!name_is_health_url(base_url) || strchr(base_url, '?')) {
        snprintf(error_text, size, _("The address must look like %s."), CLIENT_URL_DEFAULT);
        return -EINVAL;
    }
    t.base = strdup(base_url);
    if (!t.base)
        return -ENOMEM;
    for (size_t len = strlen(t.base); t.base[len - 1] == '/'; len--)
        t.base[len - 1] = '\0';
    t.authority = strstr(t.base, "://") + 3;
    t.authority_len = strcspn(t.authority, "/");
    int r = target_set_token(&t, token);
    if (r == -EINVAL)
        snprintf(error_text, size, _("The token is not one line of at most %d visible characters."),
                 CLIENT_TOKEN_MAX);
    if (r < 0)
        return r;
    *ret = t;
    t = (ClientTarget){0};
    return 0;
}

void client_target_done(ClientTarget *t)
{
    if (t->token)
        explicit_bzero(t->token, strlen(t->token));
    free(t->token);
    free(t->socket_path);
    free(t->base);
    *t = (ClientTarget){0};
}

int client_curl_new(const ClientTarget *t, const char *path, uint32_t timeout_ms, void **ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP_FREE char *url = NULL;

    pthread_once(&once, curl_init_once);
    if (asprintf(&url, "%s%s", t->base, path) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    CURL *curl = curl_easy_init();
    if (!curl)
        return -ENOMEM;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver that hangs */
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    char agent[64];
    snprintf(agent, sizeof agent, "%.40s/" SERVICES_MONITOR_VERSION, program_invocation_short_name);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, agent); /* the audit says by what it was asked */
    CURLcode code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_URL, url);
    if (code == CURLE_OK && t->socket_path)
        code = curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, t->socket_path);
    if (code != CURLE_OK) {
        curl_easy_cleanup(curl);
        return -ENOMEM;
    }
    *ret = curl;
    return 0;
}

typedef struct CurlError {
    CURLcode code;
    int error;
    const char *sentence; /* with one %s: the address */
} CurlError;

/* libcurl says OUT_OF_MEMORY for a head that passes its maximum, and RECV_ERROR for bad chunks. */
static const CurlError curl_errors[] = {
    {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, N_("%s did not answer in time.")},
    {CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, N_("The host name in %s is not known.")},
    {CURLE_URL_MALFORMAT, -EINVAL, N_("%s is not an address.")},
    {CURLE_OUT_OF_MEMORY, -EPROTO, N_("The answer of %s has too large a head.")},
    {CURLE_WRITE_ERROR, -EFBIG, N_("%s answered with more than 32 MiB.")},
    {CURLE_FILESIZE_EXCEEDED, -EFBIG, N_("%s answered with more than 32 MiB.")},
    {CURLE_ABORTED_BY_CALLBACK, -ECANCELED, N_("Asking %s was given up.")},
    {CURLE_GOT_NOTHING, -EPROTO, N_("%s closed the connection without an answer.")},
    {CURLE_RECV_ERROR, -EPROTO, N_("The connection to %s broke off within the answer.")},
    {CURLE_SEND_ERROR, -ECONNRESET, N_("The connection to %s broke off.")},
    {CURLE_PARTIAL_FILE, -EPROTO, N_("The answer of %s was cut short.")},
    {CURLE_PEER_FAILED_VERIFICATION, -EACCES, N_("The certificate of %s is not trusted.")},
    {CURLE_SSL_CONNECT_ERROR, -EPROTO, N_("What answers at %s does not speak TLS.")},
};

static int connect_error(CURL *curl, const ClientTarget *t, char *error_text, size_t size)
{
    long os = 0;

    if (t->socket_path) {
        snprintf(error_text, size, _("The tunnel is not open."));
        return -ENOTCONN;
    }
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os);
    if (os == ECONNREFUSED || os == 0) {
        snprintf(error_text, size, _("Nobody listens at %s: is services_api running?"), t->base);
        return -ECONNREFUSED;
    }
    snprintf(error_text, size, _("%s cannot be reached: %s."), t->base, strerrordesc_np((int)os));
    return -(int)os;
}

int client_curl_error(void *curl, int code, const ClientTarget *t, char *error_text, size_t size)
{
    if (code == CURLE_COULDNT_CONNECT)
        return connect_error(curl, t, error_text, size);
    for (size_t i = 0; i < ELEMENTS(curl_errors); i++) {
        const CurlError *e = &curl_errors[i];
        if ((int)e->code != code)
            continue;
        const char *sentence = i18n_text(e->sentence), *rest = strstr(sentence, "%s") + 2;
        snprintf(error_text, size, "%.*s%s%s", (int)(rest - 2 - sentence), sentence, t->base, rest);
        return e->error;
    }
    snprintf(error_text, size, _("What answers at %s does not speak HTTP."), t->base);
    return -EPROTO;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
    Buffer *body = userdata;

    buffer_append(body, data, size * n);
    return buffer_error(body) ? 0 : size * n;
}

static void curl_cleanup(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void slist_cleanup(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
    char line[CLIENT_TOKEN_MAX + 64];

    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(*list, line);
    explicit_bzero(line, sizeof line);
    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int set_headers(CURL *curl, const ClientTarget *t, const char *body,
                       struct curl_slist **list)
{
    char bearer[CLIENT_TOKEN_MAX + 8];
    int r = add_header(list, "Accept", "application/json");

    if (r == 0 && t->token) {
        snprintf(bearer, sizeof bearer, "Bearer %s", t->token);
        r = add_header(list, "Authorization", bearer);
        explicit_bzero(bearer, sizeof bearer);
    }
    if (r == 0 && body)
        r = add_header(list, "Content-Type", "application/json");
    if (r < 0)
        return r;
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *list);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    return 0;
}

/* method NULL: as the body says. */
static int perform(const ClientTarget *t, const char *method, const char *path, const char *body,
                   uint32_t timeout_ms, ClientReply *ret, char *error_text, size_t size)
{
    CLEANUP(curl_cleanup) CURL *curl = NULL;
    CLEANUP(slist_cleanup) struct curl_slist *headers = NULL;
    CLEANUP(buffer_done) Buffer reply = BUFFER_INIT(CLIENT_BODY_MAX);
    ClientReply result = {0};

    int r = client_curl_new(t, path, timeout_ms, (void **)&curl);
    if (r == 0)
        r = set_headers(curl, t, body, &headers);
    if (r < 0)
        return r;
    if (method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)CLIENT_BODY_MAX);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        return client_curl_error(curl, (int)code, t, error_text, size);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &result.status);
    result.body = buffer_take(&reply, &result.len);
    if (!result.body)
        return -ENOMEM;
    *ret = result;
    return 0;
}

static int request(const char *base_url, const char *token, const char *method, const char *path,
                   const char *body, uint32_t timeout_ms, ClientReply *ret, char *error_text,
                   size_t size)
{
    CLEANUP(client_target_done) ClientTarget t = {0};

    snprintf(error_text, size, _("Out of memory."));
    if (!name_is_health_path(path)) {
        snprintf(error_text, size, _("That is not a path of the API."));
        return -EINVAL;
    }
    int r = client_target_init(&t, base_url, token, error_text, size);
    if (r == 0)
        r = perform(&t, method, path, body, timeout_ms, ret, error_text, size);
    if (r == 0 && size > 0)
        error_text[0] = '\0';
    return r;
}

int client_request(const char *base_url, const char *token, const char *path, const char *body,
                   uint32_t timeout_ms, ClientReply *ret, char *error_text, size_t size)
{
    return request(base_url, token, NULL, path, body, timeout_ms, ret, error_text, size);
}

int client_delete(const char *base_url, const char *token, const char *path, uint32_t timeout_ms,
                  ClientReply *ret, char *error_text, size_t size)
{
    return request(base_url, token, "DELETE", path, NULL, timeout_ms, ret, error_text, size);
}

void client_reply_done(ClientReply *r)
{
    free(r->body);
    *r = (ClientReply){0};
}
