/* One foreground ssh that we own: its three pipes, its end, and what it said.
 *
 * It dies with us, is stopped by SIGTERM and a second later by SIGKILL, and leaves no zombie. The
 * last SSH_SAID_MAX bytes of its stderr are kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/epoll-nest.h"

#define SSH_SAID_MAX 8192

typedef struct SshProcess SshProcess;

typedef struct SshProcessEvents {
    /* It said something on stderr. */
    void (*said)(void *userdata);
    /* It has ended and was reaped; status as of child.h. The callback may free it. */
    void (*ended)(void *userdata, int status);
} SshProcessEvents;

int ssh_process_new(Nest *nest, const char *const *argv, const SshProcessEvents *events,
                    void *userdata, SshProcess **ret);
SshProcess *ssh_process_free(SshProcess *p); /* kills it if it lives */

int ssh_process_in(const SshProcess *p);  /* its stdin, non-blocking; owned by p */
int ssh_process_out(const SshProcess *p); /* its stdout, non-blocking */
const char *ssh_process_said(const SshProcess *p, size_t *ret_len);

void ssh_process_stop(SshProcess *p, uint64_t now_us); /* `ended` follows */
void ssh_process_tick(SshProcess *p, uint64_t now_us);
