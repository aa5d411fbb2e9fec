/* See buffer.h for the contract. Invariants: data is NULL exactly while cap is 0; cap > len, so the
 * NUL of buffer_cstr() always has room; cap <= max + 1; a failed buffer holds nothing.
 *
 * It doubles, so n appends cost O(n). It fails as a whole instead of cutting off, because half a
 * JSON text or half a frame is worse than none. */
#include "basic/buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buffer_done(Buffer *b)
{
    free(b->data);
    *b = (Buffer){.max = b->max};
}

void buffer_reset(Buffer *b)
{
    b->len = 0;
    b->error = 0;
}

static void buffer_fail(Buffer *b, int error)
{
    buffer_done(b);
    b->error = error;
}

char *buffer_reserve(Buffer *b, size_t len)
{
    if (b->error)
        return NULL;
    if (len > b->max || b->len > b->max - len || len > SIZE_MAX / 4 - b->len) {
        buffer_fail(b, -ENOBUFS);
        return NULL;
    }
    size_t need = b->len + len + 1; /* one more for the NUL of buffer_cstr() */
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need)
            cap *= 2;
        if (cap > b->max)
            cap = b->max + 1;
        char *data = realloc(b->data, cap);
        if (!data) {
            buffer_fail(b, -ENOMEM);
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void buffer_advance(Buffer *b, size_t len)
{
    assert(b->error || b->len + len < b->cap);
    if (!b->error)
        b->len += len;
}

void buffer_append(Buffer *b, const void *data, size_t len)
{
    char *room = buffer_reserve(b, len);
    if (!room)
        return;
    if (len)
        memcpy(room, data, len);
    b->len += len;
}

void buffer_str(Buffer *b, const char *s)
{
    buffer_append(b, s, strlen(s));
}

void buffer_char(Buffer *b, char c)
{
    buffer_append(b, &c, 1);
}

void buffer_printf(Buffer *b, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0)
        return buffer_fail(b, -EINVAL);
    char *room = buffer_reserve(b, (size_t)n);
    if (!room)
        return;
    va_start(ap, format);
    vsnprintf(room, (size_t)n + 1, format, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buffer_consume(Buffer *b, size_t len)
{
    assert(len <= b->len);
    if (len && len < b->len)
        memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

const char *buffer_cstr(Buffer *b)
{
    if (!b->data && !buffer_reserve(b, 0))
        return "";
    b->data[b->len] = '\0';
    return b->data;
}

char *buffer_take(Buffer *b, size_t *ret_len)
{
    buffer_cstr(b);
    if (b->error)
        return NULL;
    char *data = b->data;
    if (ret_len)
        *ret_len = b->len;
    *b = (Buffer){.max = b->max};
    return data;
}
