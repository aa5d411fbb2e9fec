/* A growable byte buffer with a maximum that is stated at birth.
 *
 * The first append that would pass the maximum, or that finds no memory, marks the buffer as
 * failed: it then holds nothing and every later append is ignored, so a writer checks once, at the
 * end, with buffer_error(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/macro.h"

typedef struct Buffer {
    char *data; /* not NUL terminated; see buffer_cstr() */
    size_t len;
    size_t cap;
    size_t max;
    int error; /* 0, -ENOBUFS (past the maximum) or -ENOMEM */
} Buffer;

#define BUFFER_INIT(max_) ((Buffer){.max = (max_)})

void buffer_done(Buffer *b);
void buffer_reset(Buffer *b); /* empties, keeps the memory, clears the error */
void buffer_append(Buffer *b, const void *data, size_t len);
void buffer_str(Buffer *b, const char *s);
void buffer_char(Buffer *b, char c);
void buffer_printf(Buffer *b, const char *format, ...) PRINTF(2, 3);
void buffer_consume(Buffer *b, size_t len); /* drops bytes from the front; len <= b->len */
char *buffer_reserve(Buffer *b,
                     size_t len); /* room for len bytes behind the content, NULL when failed */
void buffer_advance(Buffer *b, size_t len); /* len bytes were written into the reserved room */
const char *buffer_cstr(Buffer *b);         /* content with a NUL behind it; "" when failed */
char *buffer_take(
    Buffer *b,
    size_t *ret_len); /* NUL-terminated content, now the caller's (free); NULL when failed */

static inline int buffer_error(const Buffer *b)
{
    return b->error;
}
