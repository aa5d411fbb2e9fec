/* What a notice says.
 *
 * Everything is built from the outbox row alone, so a notice that is tried again, hours later or by
 * the next daemon, is the same to the byte, and its receiver can tell it from a new one by its key.
 *
 * Sentences hold what other PCs sent. In JSON they are strings; in headers everything but printable
 * ASCII goes into RFC 2047 words in base64, so a line end cannot appear there; a body that is not
 * plain ASCII goes in base64 as well, so no mail server on the way needs 8BITMIME or cuts a line.
 */
#include "api/notify-text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/json.h"

#define WORD_BYTES 45 /* of text in one encoded word: 60 characters of base64, 72 in all */
#define LINE_BYTES 57 /* of a body in one line of base64: 76 characters */

static bool is_recovery(const StoreOutbox *o)
{
    return strcmp(o->event, "recovered") == 0;
}

static bool is_kind(const StoreOutbox *o, const char *kind)
{
    return strcmp(o->incident.kind, kind) == 0;
}

const char *notify_key(const StoreOutbox *o, char ret[static NOTIFY_KEY_SIZE])
{
    snprintf(ret, NOTIFY_KEY_SIZE, "%" PRId64 "-%s", o->incident.id, o->event);
    return ret;
}

void notify_title(Buffer *b, const StoreOutbox *o)
{
    const StoreIncident *i = &o->incident;
    bool well = is_recovery(o);

    if (is_kind(o, "test"))
        buffer_str(b, "a test of the notifications");
    else if (is_kind(o, "all-pcs"))
        buffer_str(b, well ? "other PCs can be reached again" : "no other PC can be reached");
    else if (is_kind(o, "reboot"))
        buffer_printf(b, "%s was rebooted", i->pc_id);
    else if (is_kind(o, "pc"))
        buffer_printf(b, well ? "%s is back" : "%s cannot be watched", i->pc_id);
    else
        buffer_printf(b, "%s on %s is %s", i->app_id, i->pc_id, well ? "well again" : "down");
}

static void body_time(Buffer *b, const char *label, int64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    if (ms && gmtime_r(&t, &tm))
        buffer_printf(b, "%s %04d-%02d-%02d %02d:%02d:%02d UTC\n", label, tm.tm_year + 1900,
                      tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void notify_body(Buffer *b, const StoreOutbox *o)
{
    const StoreIncident *i = &o->incident;
    char sentence[sizeof i->sentence];

    text_clean(sentence, sizeof sentence, i->sentence, strnlen(i->sentence, sizeof i->sentence));
    if (sentence[0])
        buffer_printf(b, "%s%s\n", is_recovery(o) ? "It was: " : "", sentence);
    body_time(b, "Began:", i->began_ms);
    if (is_recovery(o))
        body_time(b, "Ended:", i->closed_ms);
    buffer_printf(b, "Incident: %" PRId64 "\n", i->id);
}

void notify_webhook_json(Buffer *b, const StoreOutbox *o)
{
    CLEANUP(buffer_done) Buffer title = BUFFER_INIT(NOTIFY_LINE_MAX);
    const StoreIncident *i = &o->incident;
    char key[NOTIFY_KEY_SIZE];

    notify_title(&title, o);
    json_open_object(b, NULL);
    json_string(b, "key", notify_key(o, key));
    json_string(b, "event", o->event);
    json_string(b, "text", buffer_cstr(&title));
    json_open_object(b, "incident");
    json_int(b, "id", i->id);
    json_string(b, "kind", i->kind);
    json_string(b, "state", i->state);
    json_string(b, "app_id", i->app_id[0] ? i->app_id : NULL);
    json_string(b, "pc_id", i->pc_id[0] ? i->pc_id : NULL);
    json_time(b, "began_ts", i->began_ms);
    json_time(b, "opened_ts", i->opened_ms);
    json_time(b, "closed_ts", i->closed_ms);
    json_string(b, "cause", i->cause ? cause_to_string(i->cause) : NULL);
    json_string(b, "sentence", i->sentence);
    json_close_object(b);
    json_close_object(b);
}

const char *notify_ntfy_priority(const StoreOutbox *o)
{
    return is_recovery(o) || is_kind(o, "reboot") || is_kind(o, "test") ? "default" : "high";
}

const char *notify_ntfy_tags(const StoreOutbox *o)
{
    return is_recovery(o) || is_kind(o, "test") ? "white_check_mark"
           : is_kind(o, "reboot")               ? "arrows_counterclockwise"
                                                : "rotating_light";
}

static void base64(Buffer *b, const char *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = (const unsigned char *)data;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)s[i] << 16;
        three |= i + 1 < len ? (uint32_t)s[i + 1] << 8 : 0;
        three |= i + 2 < len ? s[i + 2] : 0;
        buffer_char(b, digits[three >> 18]);
        buffer_char(b, digits[three >> 12 & 63]);
        buffer_char(b, i + 1 < len ? digits[three >> 6 & 63] : '=');
        buffer_char(b, i + 2 < len ? digits[three & 63] : '=');
    }
}

static bool is_plain(const char *s)
{
    for (; *s; s++)
        if (*s < ' ' || *s > '~')
            return false;
    return true;
}

/* How much of s fits into one word, cut between two characters. */
static size_t word_len(const char *s)
{
    size_t len = 0, left = strlen(s);

    while (len < left) {
        uint32_t c;
        size_t n = text_decode(s + len, left - len, &c);
        if (n == 0 || len + n > WORD_BYTES)
            break;
        len += n;
    }
    return len;
}

void notify_header_value(Buffer *b, const char *text, const char *fold)
{
    char clean[NOTIFY_LINE_MAX];

    text_clean(clean, sizeof clean, text, strlen(text));
    if (is_plain(clean) && !strstr(clean, "=?")) {
        buffer_str(b, clean);
        return;
    }
    for (const char *s = clean; *s;) {
        size_t n = word_len(s);
        if (n == 0)
            return;
        buffer_str(b, s == clean ? "=?UTF-8?B?" : fold);
        if (s != clean)
            buffer_str(b, "=?UTF-8?B?");
        base64(b, s, n);
        buffer_str(b, "?=");
        s += n;
    }
}

/* In English whatever the locale is, as RFC 5322 wants it. */
static void mail_date(Buffer *b, int64_t ms)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    if (gmtime_r(&t, &tm))
        buffer_printf(b, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
                      tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                      tm.tm_sec);
}

static void mail_body_plain(Buffer *b, const char *body)
{
    buffer_str(b, "Content-Transfer-Encoding: 7bit\r\n\r\n");
    for (; *body; body++)
        if (*body == '\n')
            buffer_str(b, "\r\n");
        else
            buffer_char(b, *body);
}

static void mail_body_encoded(Buffer *b, const char *body)
{
    size_t len = strlen(body);

    buffer_str(b, "Content-Transfer-Encoding: base64\r\n\r\n");
    for (size_t at = 0; at < len; at += LINE_BYTES) {
        base64(b, body + at, MIN(len - at, (size_t)LINE_BYTES));
        buffer_str(b, "\r\n");
    }
}

static bool is_ascii(const char *s)
{
    for (; *s; s++)
        if (*s & 0x80)
            return false;
    return true;
}

void notify_mail(Buffer *b, const StoreOutbox *o, const char *from, const char *to)
{
    CLEANUP(buffer_done) Buffer title = BUFFER_INIT(NOTIFY_LINE_MAX);
    CLEANUP(buffer_done) Buffer body = BUFFER_INIT(NOTIFY_PAYLOAD_MAX / 2);
    const char *at = strrchr(from, '@');
    char key[NOTIFY_KEY_SIZE];

    notify_title(&title, o);
    if (o->incident.sentence[0] && !is_recovery(o))
        buffer_printf(&title, ": %s", o->incident.sentence);
    notify_body(&body, o);
    buffer_printf(b, "From: services_api <%s>\r\nTo: <%s>\r\nSubject: ", from, to);
    notify_header_value(b, buffer_cstr(&title), "\r\n ");
    buffer_str(b, "\r\n");
    mail_date(b, o->created_ms);
    buffer_printf(b, "Message-ID: <%s.services_api%s>\r\n", notify_key(o, key), at ? at : "@local");
    buffer_str(b, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\n");
    if (is_ascii(buffer_cstr(&body)))
        mail_body_plain(b, buffer_cstr(&body));
    else
        mail_body_encoded(b, buffer_cstr(&body));
}

uint32_t notify_backoff_s(unsigned failures)
{
    uint32_t s = NOTIFY_RETRY_MIN_S;

    while (failures-- > 1 && s < NOTIFY_RETRY_MAX_S)
        s *= 2;
    return MIN(s, NOTIFY_RETRY_MAX_S);
}
