/* From a row of the outbox to a request.
 *
 * The mail password is read from its file for each mail: mails are few, a corrected file counts at
 * once, and the secret is in memory no longer than the transfer. The file must be the user's own
 * and closed to all others, like the token's. */
#include "api/notify-channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/notify-text.h"
#include "basic/buffer.h"
#include "basic/macro.h"
#include "basic/text.h"

#define PASSWORD_SIZE 256
#define TITLE_SIZE    1024

static const char *const channel_table[] = {"webhook", "ntfy", "mail"};
_Static_assert(ELEMENTS(channel_table) == NOTIFY_CHANNEL_MAX, "a word for every channel");

const char *notify_channel_to_string(NotifyChannel channel)
{
    return (unsigned)channel < NOTIFY_CHANNEL_MAX ? channel_table[channel] : "";
}

NotifyChannel notify_channel_from_string(const char *s)
{
    for (int i = 0; s && i < NOTIFY_CHANNEL_MAX; i++)
        if (strcmp(channel_table[i], s) == 0)
            return (NotifyChannel)i;
    return NOTIFY_CHANNEL_INVALID;
}

static int mail_state(const Config *c, const char **ret_why)
{
    bool any = c->notify_smtp_url || c->notify_mail_from || c->notify_mail_to ||
               c->notify_smtp_user || c->notify_smtp_password_file;

    if (!any)
        return 0;
    if (!c->notify_smtp_url || !c->notify_mail_from || !c->notify_mail_to) {
        *ret_why = "mail needs notify.smtp_url, notify.mail_from and notify.mail_to";
        return -EINVAL;
    }
    if (!c->notify_smtp_user != !c->notify_smtp_password_file) {
        *ret_why = "notify.smtp_user and notify.smtp_password_file go together";
        return -EINVAL;
    }
    return 1;
}

int notify_channel_state(const Config *c, NotifyChannel channel, const char **ret_why)
{
    switch (channel) {
    case NOTIFY_WEBHOOK: return c->notify_webhook_url != NULL;
    case NOTIFY_NTFY: return c->notify_ntfy_url != NULL;
    case NOTIFY_MAIL: return mail_state(c, ret_why);
    case NOTIFY_CHANNEL_MAX:
    case NOTIFY_CHANNEL_INVALID: break;
    }
    return 0;
}

static int say(char *why, size_t size, const char *text, int r)
{
    text_copy(why, size, text);
    return r;
}

static int read_password(const char *path, char ret[static PASSWORD_SIZE], char *why, size_t size)
{
    struct stat st;
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) < 0) {
        int r = -errno;
        snprintf(why, size, "the file with the mail password cannot be read: %s", strerror(-r));
        return r;
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return say(why, size,
                   "the file with the mail password must be your own, with mode 0600: chmod 600 it",
                   -EPERM);
    ssize_t n = read(fd, ret, PASSWORD_SIZE);
    size_t len = n > 0 ? (size_t)n : 0;
    while (len && (ret[len - 1] == '\n' || ret[len - 1] == '\r'))
        len--;
    if (len == 0 || len == PASSWORD_SIZE || memchr(ret, '\n', len) || memchr(ret, '\0', len)) {
        explicit_bzero(ret, PASSWORD_SIZE);
        return say(why, size,
                   "the file with the mail password must hold one line of at most 255 bytes",
                   -EINVAL);
    }
    ret[len] = '\0';
    return 0;
}

/* A channel's own attempt, and what it is made of. */
typedef struct Attempt {
    Sender *sender;
    const Config *config;
    const StoreOutbox *row;
    Now now;
    SendDone done;
    void *userdata;
} Attempt;

static int start(const Attempt *a, const SendRequest *q, const Buffer *body, Send **ret)
{
    return buffer_error(body) ? buffer_error(body)
                              : send_new(a->sender, q, a->now, a->done, a->userdata, ret);
}

static int send_webhook(const Attempt *a, Send **ret)
{
    CLEANUP(buffer_done) Buffer body = BUFFER_INIT(NOTIFY_PAYLOAD_MAX);
    char key[NOTIFY_KEY_SIZE], header[NOTIFY_KEY_SIZE + 32];
    const char *const headers[] = {"Content-Type: application/json", header};

    notify_webhook_json(&body, a->row);
    snprintf(header, sizeof header, "Idempotency-Key: %s", notify_key(a->row, key));
    SendRequest q = {
        .url = a->config->notify_webhook_url,
        .headers = headers,
        .n_headers = ELEMENTS(headers),
        .body = buffer_cstr(&body),
        .len = body.len,
    };
    return start(a, &q, &body, ret);
}

static int send_ntfy(const Attempt *a, Send **ret)
{
    CLEANUP(buffer_done) Buffer text = BUFFER_INIT(NOTIFY_LINE_MAX);
    CLEANUP(buffer_done) Buffer title = BUFFER_INIT(TITLE_SIZE);
    CLEANUP(buffer_done) Buffer body = BUFFER_INIT(NOTIFY_PAYLOAD_MAX);
    char key[NOTIFY_KEY_SIZE], key_header[NOTIFY_KEY_SIZE + 32], priority[64], tags[64];

    notify_title(&text, a->row);
    buffer_str(&title, "Title: ");
    notify_header_value(&title, buffer_cstr(&text), " ");
    notify_body(&body, a->row);
    snprintf(key_header, sizeof key_header, "Idempotency-Key: %s", notify_key(a->row, key));
    snprintf(priority, sizeof priority, "Priority: %s", notify_ntfy_priority(a->row));
    snprintf(tags, sizeof tags, "Tags: %s", notify_ntfy_tags(a->row));
    const char *const headers[] = {"Content-Type: text/plain; charset=utf-8", buffer_cstr(&title),
                                   priority, tags, key_header};
    SendRequest q = {
        .url = a->config->notify_ntfy_url,
        .headers = headers,
        .n_headers = ELEMENTS(headers),
        .body = buffer_cstr(&body),
        .len = body.len,
    };
    return start(a, &q, &body, ret);
}

static int send_mail(const Attempt *a, Send **ret, char *why, size_t size)
{
    CLEANUP(buffer_done) Buffer message = BUFFER_INIT(NOTIFY_PAYLOAD_MAX);
    const Config *c = a->config;
    char password[PASSWORD_SIZE];

    if (c->notify_smtp_password_file) {
        int r = read_password(c->notify_smtp_password_file, password, why, size);
        if (r < 0)
            return r;
    }
    notify_mail(&message, a->row, c->notify_mail_from, c->notify_mail_to);
    SendRequest q = {
        .url = c->notify_smtp_url,
        .body = buffer_cstr(&message),
        .len = message.len,
        .mail_from = c->notify_mail_from,
        .mail_to = c->notify_mail_to,
        .user = c->notify_smtp_user,
        .password = c->notify_smtp_password_file ? password : NULL,
    };
    int r = start(a, &q, &message, ret);
    explicit_bzero(password, sizeof password);
    return r;
}

int notify_channel_send(Sender *sender, const Config *c, NotifyChannel channel,
                        const StoreOutbox *row, Now now, SendDone done, void *userdata, Send **ret,
                        char *why, size_t size)
{
    const Attempt a = {sender, c, row, now, done, userdata};
    int r = -EINVAL;

    why[0] = '\0';
    switch (channel) {
    case NOTIFY_WEBHOOK: r = send_webhook(&a, ret); break;
    case NOTIFY_NTFY: r = send_ntfy(&a, ret); break;
    case NOTIFY_MAIL: r = send_mail(&a, ret, why, size); break;
    case NOTIFY_CHANNEL_MAX:
    case NOTIFY_CHANNEL_INVALID: break;
    }
    if (r < 0 && !why[0])
        text_copy(why, size, strerror(-r));
    return r;
}
