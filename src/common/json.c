/* JSON (RFC 8259), written by hand and read by cJSON; see json.h.
 *
 * Writing. A body of 10,000 rows is built for every new state version, so a member costs one
 * reservation and one pass: numbers are formatted on the stack without printf(3) (which also knows
 * decimal commas), and a string without anything to escape, nearly all of them, is copied as it is.
 * There is no writer object: where a comma is due follows from the last byte in the buffer, since a
 * value never ends in '{', '[' or ':'. Escaped beyond what JSON demands: '<' (the text may end up
 * inside HTML) and all that text_is_control() names, so that no outlet ever shows a raw control or
 * a bidirectional override. Keys are literals of this program and are written as they are.
 *
 * Reading. cJSON is lenient where RFC 8259 is not (leading zeros, raw controls in strings, NUL by
 * \u0000 which would cut a C string, a byte order mark) and it allocates a node per item before
 * anyone could stop it. scan() therefore looks at the text first: tokens by the letter of the RFC,
 * depth and number of items within their maxima. What it passes is left to cJSON, which checks the
 * structure between the tokens. */
#include "common/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "basic/text.h"

#define INTEGER_MAX INT64_C(9007199254740992) /* 2^53: beyond it a double skips integers */

/* memcpy(3) for the short texts that most members are: fixed sizes become single instructions, the
 * last one overlapping. */
static inline char *copy(char *to, const char *from, size_t len)
{
    if (len >= 8 && len <= 32) {
        for (size_t i = 0; i < len - 8; i += 8)
            memcpy(to + i, from + i, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4 && len < 8) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else {
        memcpy(to, from, len);
    }
    return to + len;
}

/* Comma if one is due, "key": if there is a key, then the text, in quotes or bare. */
static void put(Buffer *b, const char *key, const char *text, size_t len, bool quoted)
{
    size_t key_len = key ? strlen(key) : 0;
    char last = b->len ? b->data[b->len - 1] : '[';
    bool comma = last != '{' && last != '[' && last != ':';
    size_t total = (comma ? 1 : 0) + (key ? key_len + 3 : 0) + len + (quoted ? 2 : 0);
    /* nearly always there is room: worth not asking for it */
    char *p = b->cap - b->len > total ? b->data + b->len : buffer_reserve(b, total);

    if (!p)
        return;
    if (comma)
        *p++ = ',';
    if (key) {
        *p++ = '"';
        p = copy(p, key, key_len);
        *p++ = '"';
        *p++ = ':';
    }
    if (quoted)
        *p++ = '"';
    p = copy(p, text, len);
    if (quoted)
        *p = '"';
    b->len += total;
}

void json_open_object(Buffer *b, const char *key)
{
    put(b, key, "{", 1, false);
}

void json_close_object(Buffer *b)
{
    buffer_char(b, '}');
}

void json_open_array(Buffer *b, const char *key)
{
    put(b, key, "[", 1, false);
}

void json_close_array(Buffer *b)
{
    buffer_char(b, ']');
}

void json_raw(Buffer *b, const char *key, const char *json, size_t len)
{
    put(b, key, json, len, false);
}

void json_null(Buffer *b, const char *key)
{
    put(b, key, "null", 4, false);
}

void json_bool(Buffer *b, const char *key, bool value)
{
    put(b, key, value ? "true" : "false", value ? 4 : 5, false);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\' && c != '<';
}

static size_t plain_length(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && is_plain((unsigned char)s[n]))
        n++;
    return n;
}

/* The one character at s, which is not plain. Returns how many bytes it took. */
static size_t put_special(Buffer *b, const char *s, size_t len)
{
    uint32_t c;
    size_t n = text_decode(s, len, &c);

    if (n == 0) {
        buffer_append(b, "\xEF\xBF\xBD", 3);
        return 1;
    }
    if (c == '"' || c == '\\') {
        buffer_append(b, (char[]){'\\', (char)c}, 2);
    } else if (c == '<' || text_is_control(c)) {
        static const char hex[] = "0123456789abcdef";
        char escaped[] = {'\\', 'u', hex[c >> 12], hex[c >> 8 & 15], hex[c >> 4 & 15], hex[c & 15]};
        buffer_append(b, escaped, sizeof escaped);
    } else {
        buffer_append(b, s, n);
    }
    return n;
}

void json_stringn(Buffer *b, const char *key, const char *value, size_t len)
{
    size_t n = plain_length(value, len);

    if (n == len)
        return put(b, key, value, len, true);
    put(b, key, "\"", 1, false);
    for (size_t i = 0; i < len;) {
        buffer_append(b, value + i, n);
        i += n;
        if (i < len)
            i += put_special(b, value + i, len - i);
        n = plain_length(value + i, len - i);
    }
    buffer_char(b, '"');
}

void json_string(Buffer *b, const char *key, const char *value)
{
    if (value)
        json_stringn(b, key, value, strlen(value));
    else
        json_null(b, key);
}

/* Digits of value, right-aligned before end, two at a time. Returns where they begin. */
static char *digits_before(char *end, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";

    for (; value >= 100; value /= 100)
        end = memcpy(end - 2, pairs + value % 100 * 2, 2);
    if (value >= 10)
        return memcpy(end - 2, pairs + value * 2, 2);
    *--end = (char)('0' + value);
    return end;
}

void json_int(Buffer *b, const char *key, int64_t value)
{
    char text[24], *end = text + sizeof text;
    char *p = digits_before(end, value < 0 ? -(uint64_t)value : (uint64_t)value);

    if (value < 0)
        *--p = '-';
    put(b, key, p, (size_t)(end - p), false);
}

void json_ms(Buffer *b, const char *key, int64_t value_us)
{
    char text[24], *end = text + sizeof text;

    if (value_us < 0)
        return json_null(b, key);
    uint64_t value = (uint64_t)value_us;
    char *p = end - 3;
    p[0] = (char)('0' + value / 100 % 10);
    p[1] = (char)('0' + value / 10 % 10);
    p[2] = (char)('0' + value % 10);
    *--p = '.';
    p = digits_before(p, value / 1000);
    put(b, key, p, (size_t)(end - p), false);
}

void json_double(Buffer *b, const char *key, double value)
{
    char text[328];

    if (!isfinite(value))
        return json_null(b, key);
    if (fabs(value) >= 9e9) { /* a millionth of it is beyond a double's precision anyway */
        int n = snprintf(text, sizeof text, "%.0f", value);
        return put(b, key, text, (size_t)n, false);
    }
    int64_t scaled = llround(value * 1e6);
    uint64_t fraction = (uint64_t)llabs(scaled) % 1000000 + 1000000; /* the 1 keeps its zeros */
    char *end = text + sizeof text;
    char *p = digits_before(end, fraction);
    while (end > p + 1 && end[-1] == '0')
        end--;
    if (end == p + 1)
        end = p; /* no fraction, no point */
    else
        *p = '.';
    p = digits_before(p, (uint64_t)llabs(scaled) / 1000000);
    if (scaled < 0)
        *--p = '-';
    put(b, key, p, (size_t)(end - p), false);
}

void json_time(Buffer *b, const char *key, int64_t unix_ms)
{
    if (unix_ms == 0)
        json_null(b, key);
    else
        json_int(b, key, unix_ms);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Length of the escape at s (a backslash), 0 when it is none or means NUL. */
static size_t scan_escape(const char *s, size_t len)
{
    if (len < 2)
        return 0;
    if (strchr("\"\\/bfnrt", s[1]))
        return s[1] ? 2 : 0;
    if (s[1] != 'u' || len < 6 || memcmp(s + 2, "0000", 4) == 0)
        return 0;
    for (size_t i = 2; i < 6; i++)
        if (!is_hex(s[i]))
            return 0;
    return 6;
}

/* Length of the string at s (its opening quote), 0 when it is none. */
static size_t scan_string(const char *s, size_t len)
{
    for (size_t i = 1, n; i < len; i += n) {
        if (s[i] == '"')
            return i + 1;
        if ((unsigned char)s[i] < 0x20)
            return 0;
        n = s[i] == '\\' ? scan_escape(s + i, len - i) : 1;
        if (n == 0)
            return 0;
    }
    return 0;
}

static size_t scan_digits(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && is_digit(s[n]))
        n++;
    return n;
}

/* Length of the number at s, 0 when it is none: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static size_t scan_number(const char *s, size_t len)
{
    size_t at = s[0] == '-', n = scan_digits(s + at, len - at);

    if (n == 0 || (n > 1 && s[at] == '0'))
        return 0;
    at += n;
    if (at < len && s[at] == '.') {
        n = scan_digits(s + at + 1, len - at - 1);
        if (n == 0)
            return 0;
        at += n + 1;
    }
    if (at < len && (s[at] | 0x20) == 'e') {
        at++;
        if (at < len && (s[at] == '+' || s[at] == '-'))
            at++;
        n = scan_digits(s + at, len - at);
        if (n == 0)
            return 0;
        at += n;
    }
    return at <= 64 ? at : 0; /* cJSON's own limit */
}

/* Length of the token at s, 0 when none begins there. */
static size_t scan_token(const char *s, size_t len)
{
    static const char *const words[] = {"true", "false", "null"};

    if (strchr("{}[],: \t\r\n", s[0]))
        return s[0] ? 1 : 0;
    if (s[0] == '"')
        return scan_string(s, len);
    if (s[0] == '-' || is_digit(s[0]))
        return scan_number(s, len);
    for (size_t i = 0; i < ELEMENTS(words); i++) {
        size_t n = strlen(words[i]);
        if (n <= len && memcmp(s, words[i], n) == 0)
            return n;
    }
    return 0;
}

static bool scan(const char *text, size_t len)
{
    size_t depth = 0, items = 1;

    for (size_t i = 0, n; i < len; i += n) {
        char c = text[i];
        n = scan_token(text + i, len - i);
        if (n == 0)
            return false;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth-- == 0)
            return false;
        items += c == ',' || c == '{' || c == '[';
        if (depth > JSON_DEPTH_MAX || items > JSON_ITEMS_MAX)
            return false;
    }
    return depth == 0;
}

Json *json_parse(const char *text, size_t len)
{
    const char *end = NULL;

    if (!text_is_utf8(text, len) || !scan(text, len))
        return NULL;
    Json *j = cJSON_ParseWithLengthOpts(text, len, &end, false);
    if (!j)
        return NULL;
    while (end < text + len && strchr(" \t\r\n", *end))
        end++;
    return end == text + len ? j : json_free(j);
}

Json *json_free(Json *j)
{
    cJSON_Delete(j);
    return NULL;
}

const Json *json_get(const Json *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

const Json *json_first(const Json *array_or_object)
{
    return cJSON_IsArray(array_or_object) || cJSON_IsObject(array_or_object)
               ? array_or_object->child
               : NULL;
}

const Json *json_next(const Json *item)
{
    return item ? item->next : NULL;
}

size_t json_length(const Json *array)
{
    return cJSON_IsArray(array) ? (size_t)cJSON_GetArraySize(array) : 0;
}

const char *json_key(const Json *item)
{
    return item && item->string ? item->string : "";
}

const char *json_as_string(const Json *j, const char *otherwise)
{
    return cJSON_IsString(j) ? j->valuestring : otherwise;
}

int64_t json_as_int(const Json *j, int64_t otherwise)
{
    if (!cJSON_IsNumber(j) || j->valuedouble != trunc(j->valuedouble) ||
        fabs(j->valuedouble) > (double)INTEGER_MAX)
        return otherwise;
    return (int64_t)j->valuedouble;
}

double json_as_double(const Json *j, double otherwise)
{
    return cJSON_IsNumber(j) && isfinite(j->valuedouble) ? j->valuedouble : otherwise;
}

bool json_as_bool(const Json *j, bool otherwise)
{
    return cJSON_IsBool(j) ? cJSON_IsTrue(j) : otherwise;
}

bool json_is_null(const Json *j)
{
    return !j || cJSON_IsNull(j);
}

bool json_is_array(const Json *j)
{
    return cJSON_IsArray(j);
}

bool json_is_object(const Json *j)
{
    return cJSON_IsObject(j);
}
