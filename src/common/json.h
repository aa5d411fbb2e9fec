/* JSON (RFC 8259). The writer appends to a Buffer and always yields valid UTF-8: each invalid byte
 * of a string becomes U+FFFD, controls (text_is_control()) and '<' are escaped. Commas are placed
 * by the writer, which takes the buffer's last byte as its state: begin with an empty buffer. The
 * parser is cJSON behind a strict check of tokens, depth and size. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "basic/buffer.h"

/* Each writes one value, with a comma before it where one is due. `key` is a literal that needs no
 * escape; NULL inside arrays and at top level. */
void json_open_object(Buffer *b, const char *key);
void json_close_object(Buffer *b);
void json_open_array(Buffer *b, const char *key);
void json_close_array(Buffer *b);
void json_string(Buffer *b, const char *key, const char *value); /* NULL value: null */
void json_stringn(Buffer *b, const char *key, const char *value, size_t len);
void json_int(Buffer *b, const char *key, int64_t value);
void json_ms(Buffer *b, const char *key, int64_t value_us); /* us as ms, 3 decimals; < 0: null */
void json_double(Buffer *b, const char *key, double value); /* up to 6 decimals; not finite: null */
void json_bool(Buffer *b, const char *key, bool value);
void json_null(Buffer *b, const char *key);
void json_time(Buffer *b, const char *key, int64_t unix_ms); /* 0: null */

/* One ready-made JSON value, not checked: only what this program wrote or parsed itself. */
void json_raw(Buffer *b, const char *key, const char *json, size_t len);

/* Parsing: an opaque node of cJSON's tree. Getters cope with NULL and wrong types by returning the
 * default. */
typedef struct cJSON Json;

#define JSON_DEPTH_MAX 32
#define JSON_ITEMS_MAX 4000000U /* values in one text: 64 bytes each in memory */

/* Parses exactly one value of len bytes. NULL: not JSON by the letter of RFC 8259, past a maximum,
 * trailing bytes, invalid UTF-8, or a string with \u0000 in it. */
Json *json_parse(const char *text, size_t len);
Json *json_free(Json *j);
const Json *json_get(const Json *object, const char *key); /* NULL when absent */
const Json *json_first(const Json *array_or_object);
const Json *json_next(const Json *item);
size_t json_length(const Json *array);
const char *json_key(const Json *item); /* of an object's member; "" otherwise */
const char *json_as_string(const Json *j, const char *otherwise);
int64_t json_as_int(const Json *j, int64_t otherwise); /* refuses fractions and |j| > 2^53 */
double json_as_double(const Json *j, double otherwise);
bool json_as_bool(const Json *j, bool otherwise);
bool json_is_null(const Json *j); /* absent counts as null */
bool json_is_array(const Json *j);
bool json_is_object(const Json *j);

static inline void json_freep(Json **p)
{
    *p = json_free(*p);
}
