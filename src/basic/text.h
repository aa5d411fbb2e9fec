/* Bytes from outside made safe to show: see text_clean(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool text_is_utf8(const char *s, size_t len); /* strict UTF-8 (RFC 3629), NUL allowed */

/* Decodes the character at s (len >= 1). Returns its length in bytes, 0 when it is no valid UTF-8.
 */
size_t text_decode(const char *s, size_t len, uint32_t *ret);

/* C0 and C1 controls, DEL, line and paragraph separators, the byte order mark and the bidirectional
 * controls (U+061C, U+200E/F, U+202A-E, U+2066-9): what may change how the text around it looks. */
bool text_is_control(uint32_t c);

/* Copies src into dst (size bytes, always NUL terminated unless size is 0): each invalid byte
 * becomes U+FFFD, each control '?', tab and newline a space. Cuts at a character boundary. Returns
 * the length written. */
size_t text_clean(char *dst, size_t size, const char *src, size_t len);

/* Bounded copy (size >= 1), always NUL terminated, for text that is clean already. Cuts at a
 * character boundary. Returns dst. */
char *text_copy(char *dst, size_t size, const char *src);

/* How many columns a terminal takes for s: combining marks none, wide characters two (as LC_CTYPE
 * knows them; in the C locale each character counts one). */
size_t text_width(const char *s);

/* How many bytes of s fit into that many columns; ret_width (may be NULL) gets how many they take.
 */
size_t text_fit(const char *s, size_t columns, size_t *ret_width);
