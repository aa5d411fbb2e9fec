/* UTF-8, strictly, and what of it may be shown.
 *
 * Text from a PC, a socket or a file passes text_clean() once, where it enters; everything behind
 * that point may print it, store it or put it into one line of a log. Replacing (never dropping)
 * keeps the reader aware that something was there, and no replacement is longer than three bytes
 * for one, so the bound of the destination is the only bound needed. The decoder is our own because
 * mbrtowc(3) depends on the locale, and because overlong forms and surrogates must be refused. */
#include "basic/text.h"

#include <string.h>
#include <wchar.h>

/* Length of the character that begins with this byte, 0 when none does. */
static size_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC2)
        return 0; /* a continuation byte, or an overlong form */
    if (first < 0xE0)
        return 2;
    if (first < 0xF0)
        return 3;
    return first < 0xF5 ? 4 : 0;
}

size_t text_decode(const char *s, size_t len, uint32_t *ret)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *u = (const unsigned char *)s;
    size_t n = sequence_length(u[0]);

    if (n == 0 || n > len)
        return 0;
    uint32_t c = n == 1 ? u[0] : u[0] & (0x7FU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (u[i] & 0x3FU);
    }
    if (c < smallest[n] || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF)
        return 0;
    *ret = c;
    return n;
}

bool text_is_utf8(const char *s, size_t len)
{
    uint32_t c;

    for (size_t i = 0, n; i < len; i += n) {
        n = text_decode(s + i, len - i, &c);
        if (n == 0)
            return false;
    }
    return true;
}

bool text_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || c == 0x061C ||
           c == 0xFEFF || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

size_t text_clean(char *dst, size_t size, const char *src, size_t len)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    size_t out = 0;

    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = text_decode(src + i, len - i, &c);
        const char *from = src + i;
        size_t put = n;

        if (n == 0) {
            from = replacement;
            put = 3;
            n = 1;
        } else if (text_is_control(c)) {
            from = c == '\t' || c == '\n' ? " " : "?";
            put = 1;
        }
        if (out + put >= size)
            break;
        memcpy(dst + out, from, put);
        out += put;
        i += n;
    }
    if (size)
        dst[out] = '\0';
    return out;
}

char *text_copy(char *dst, size_t size, const char *src)
{
    size_t len = strnlen(src, size - 1);

    if (src[len] != '\0')
        while (len > 0 && ((unsigned char)src[len] & 0xC0) == 0x80)
            len--;
    memcpy(dst, src, len);
    dst[len] = '\0';
    return dst;
}

size_t text_fit(const char *s, size_t columns, size_t *ret_width)
{
    size_t len = strlen(s), at = 0, used = 0;

    while (at < len) {
        uint32_t c = 0;
        size_t n = text_decode(s + at, len - at, &c);
        int width = n ? wcwidth((wchar_t)c) : 1;
        size_t columns_of_c = width < 0 ? 1 : (size_t)width;
        if (used + columns_of_c > columns)
            break;
        used += columns_of_c;
        at += n ? n : 1;
    }
    if (ret_width)
        *ret_width = used;
    return at;
}

size_t text_width(const char *s)
{
    size_t width;

    text_fit(s, SIZE_MAX, &width);
    return width;
}
