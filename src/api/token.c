/* The token's file.
 *
 * Whoever can read it may act, and whoever can write it decides who may; so it counts only as a
 * regular file of our own that is closed to everybody else, and it is opened without following a
 * link: a link could be pointed at any file whose content somebody else knows. What is wrong is
 * never mended silently: a token that others could read has to be thought of as known.
 *
 * A new one is written beside the old one and renamed over it, so a crash leaves one of the two,
 * and a daemon that watches the directory is told once, by the rename. */
#include "api/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "api/paths.h"
#include "basic/macro.h"
#include "basic/text.h"

#define TOKEN_BYTES 32U

static int fail(int r, const char *sentence, char *why, size_t size)
{
    text_copy(why, size, sentence ? sentence : strerror(-r));
    return r;
}

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return len >= TOKEN_MIN;
}

int token_read(const char *path, char *ret, char *why, size_t size)
{
    char text[TOKEN_SIZE + 1];
    struct stat st;
    /* a FIFO in its place must not hold us up */
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == ELOOP)
        return fail(-EPERM, "is a symbolic link: put a file in its place", why, size);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(-errno, NULL, why, size);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return fail(-EPERM,
                    "must be a file of your own with mode 0600: others may know this token, make a "
                    "new one with 'services_api token --rotate'",
                    why, size);
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0)
        return fail(-errno, NULL, why, size);
    size_t len = (size_t)n;
    while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    if (len >= TOKEN_SIZE || !is_token(text, len))
        return fail(-EINVAL,
                    "holds no token (one line of 16 to 255 printable characters): make a new one "
                    "with 'services_api token --rotate'",
                    why, size);
    memcpy(ret, text, len);
    ret[len] = '\0';
    return 0;
}

static int make_text(char text[static TOKEN_BYTES * 2 + 2])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[TOKEN_BYTES];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    for (size_t i = 0; i < TOKEN_BYTES; i++) {
        text[i * 2] = digits[random[i] >> 4];
        text[i * 2 + 1] = digits[random[i] & 15];
    }
    text[TOKEN_BYTES * 2] = '\n';
    text[TOKEN_BYTES * 2 + 1] = '\0';
    return 0;
}

/* The name is of the new token's own making, so nobody can have put something there before. */
static int write_beside(const char *beside, const char *text)
{
    CLEANUP_CLOSE int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t len = strlen(text);

    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, len);
    if (n >= 0 && (size_t)n < len)
        return -ENOSPC;
    return n < 0 || fsync(fd) < 0 ? -errno : 0;
}

int token_renew(const char *path, char *ret, char *why, size_t size)
{
    char text[TOKEN_BYTES * 2 + 2], unique[TOKEN_BYTES * 2 + 2];
    CLEANUP_FREE char *beside = NULL;
    int r = paths_make_parents(path);

    if (r >= 0)
        r = make_text(text);
    if (r >= 0)
        r = make_text(unique);
    if (r >= 0 && asprintf(&beside, "%s.%.16s", path, unique) < 0) {
        beside = NULL;
        r = -ENOMEM;
    }
    if (r >= 0)
        r = write_beside(beside, text);
    if (r >= 0 && rename(beside, path) < 0)
        r = -errno;
    if (r < 0) {
        if (beside && r != -EEXIST)
            unlink(beside);
        return fail(r, NULL, why, size);
    }
    text[TOKEN_BYTES * 2] = '\0';
    text_copy(ret, TOKEN_SIZE, text);
    return 0;
}

int token_load(const char *path, char *ret, char *why, size_t size)
{
    int r = token_read(path, ret, why, size);

    return r == -ENOENT ? token_renew(path, ret, why, size) : r;
}
