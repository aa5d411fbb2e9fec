/* The bearer token: who has it may do what the daemon's own user may, from anywhere.
 *
 * One line of text in a file that belongs to its user alone. It is made at the daemon's first start
 * and replaced as a whole, never written into: a reader sees the old one or the new one. */
#pragma once

#include <stddef.h>

#define TOKEN_SIZE 256 /* of the text with its NUL */
#define TOKEN_MIN  16  /* characters */

/* Reads the file. -ENOENT: there is none. -EPERM: not a file of our own with mode 0600 (a symlink
 * is none). -EINVAL: no token in it. why gets one sentence without the path and without any of the
 * content. ret has TOKEN_SIZE bytes. */
int token_read(const char *path, char *ret, char *why, size_t size);

/* Puts a fresh one in the place of whatever is there. As token_read(). */
int token_renew(const char *path, char *ret, char *why, size_t size);

/* token_read(), and token_renew() when there is none yet. */
int token_load(const char *path, char *ret, char *why, size_t size);
