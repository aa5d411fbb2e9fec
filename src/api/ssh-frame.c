/* See ssh-frame.h. The search goes on where it stopped, less the length of a marker, so that a
 * megabyte that arrives in small pieces is not searched again and again. */
#include "api/ssh-frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MARK_MAX  (1U + SSH_NONCE_LEN + sizeof " begin\n")
#define END_EXTRA 16U /* room for the status behind the mark */

void ssh_frame_begin(SshFrame *f, const char nonce[SSH_NONCE_LEN + 1], size_t max)
{
    Buffer data = f->data;

    buffer_reset(&data);
    data.max = max + SSH_GARBAGE_MAX + MARK_MAX + END_EXTRA;
    *f = (SshFrame){.data = data, .max = max};
    memcpy(f->nonce, nonce, SSH_NONCE_LEN);
    buffer_char(&f->data, '\n'); /* a marker may be the very first thing that comes */
}

void ssh_frame_done(SshFrame *f)
{
    buffer_done(&f->data);
}

static const char *mark_find(const SshFrame *f, const char *word, size_t from, size_t *ret_len)
{
    char mark[MARK_MAX + 1];
    int n = snprintf(mark, sizeof mark, "\n%s %s", f->nonce, word);

    *ret_len = (size_t)n;
    return from < f->data.len ? memmem(f->data.data + from, f->data.len - from, mark, (size_t)n)
                              : NULL;
}

/* Looks for the begin; drops what is known not to hold it. */
static int begin_find(SshFrame *f)
{
    size_t mark;
    const char *at = mark_find(f, "begin\n", 0, &mark);

    if (at) {
        f->begun = true;
        buffer_consume(&f->data, (size_t)(at - f->data.data) + mark);
        return 1;
    }
    if (f->data.len > MARK_MAX) {
        size_t drop = f->data.len - MARK_MAX;
        f->garbage += drop;
        buffer_consume(&f->data, drop);
    }
    return f->garbage > SSH_GARBAGE_MAX ? -EBADMSG : 0;
}

/* " 12\n" behind the end's mark. 1: read; 0: not there yet. */
static int status_read(SshFrame *f, const char *at)
{
    size_t left = (size_t)(f->data.data + f->data.len - at);
    const char *end = memchr(at, '\n', left);
    int status = 0;

    if (!end)
        return left > END_EXTRA ? -EBADMSG : 0;
    if (end == at || end - at > 3)
        return -EBADMSG;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return -EBADMSG;
        status = status * 10 + (*at - '0');
    }
    f->status = status;
    return 1;
}

static void cut_long(SshFrame *f)
{
    size_t keep = MARK_MAX + END_EXTRA;

    if (f->data.len <= f->max + keep)
        return;
    f->too_long = true;
    buffer_consume(&f->data, f->data.len - keep);
}

static int end_find(SshFrame *f, size_t from)
{
    size_t mark;
    const char *at =
        mark_find(f, "end ", from > MARK_MAX + END_EXTRA ? from - MARK_MAX - END_EXTRA : 0, &mark);
    if (!at) {
        cut_long(f);
        return 0;
    }
    int r = status_read(f, at + mark);
    if (r <= 0)
        return r;
    f->data.len = (size_t)(at - f->data.data);
    f->too_long = f->too_long || f->data.len > f->max;
    if (f->too_long)
        f->data.len = 0;
    return 1;
}

int ssh_frame_feed(SshFrame *f, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t part = len < 65536 ? len : 65536, from = f->data.len;
        buffer_append(&f->data, bytes, part);
        if (buffer_error(&f->data))
            return -ENOMEM;
        bytes += part;
        len -= part;
        if (!f->begun) {
            int r = begin_find(f);
            if (r < 0)
                return r;
            if (r == 0)
                continue;
            from = 0;
        }
        int r = end_find(f, from);
        if (r != 0)
            return r;
    }
    return 0;
}
