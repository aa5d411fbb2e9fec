/* Finds a command's output in what a remote shell prints. Pure.
 *
 * Each command has a nonce of its own. The remote script prints "<nonce> begin" on a line, then the
 * output, then "<nonce> end <status>" on a line; what comes before (a greeting of a chatty .bashrc,
 * the rest of an earlier command) is passed over. Bounded: more output than the maximum is dropped
 * and said so, the end is still found. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "basic/buffer.h"

#define SSH_NONCE_LEN   32
#define SSH_GARBAGE_MAX (1U << 20) /* before the begin of one command */

typedef struct SshFrame {
    char nonce[SSH_NONCE_LEN + 1];
    Buffer data;
    size_t max;
    size_t garbage;
    bool begun;
    bool too_long; /* output was dropped */
    int status;    /* of the command, once it has ended */
} SshFrame;

void ssh_frame_begin(SshFrame *f, const char nonce[SSH_NONCE_LEN + 1], size_t max);
void ssh_frame_done(SshFrame *f);

/* 1: the end has been found; data holds the output, status its exit code. 0: more is needed.
 * -EBADMSG: too much garbage, or an end that is none; -ENOMEM. */
int ssh_frame_feed(SshFrame *f, const char *bytes, size_t len);
