/* Tries whether a forward of the running ssh leads anywhere: connects to its local socket, says a
 * few words and waits for the answer or the end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "basic/epoll-nest.h"

typedef struct SshTrial {
    Nest *nest;
    NestWatch watch;
    int fd;
    bool is_over, answered;
    void (*over)(void *userdata);
    void *userdata;
} SshTrial;

#define SSH_TRIAL_INIT ((SshTrial){.watch = NEST_WATCH_INIT, .fd = -1})

/* D-Bus: a first word to which every bus answers "REJECTED". SOCKS: a connection to port 1 of the
 * PC's loopback; whether it answers does not matter, but what ssh says on its stderr if not. */
int ssh_trial_bus(SshTrial *t, Nest *nest, const char *path, void (*over)(void *), void *userdata);
int ssh_trial_socks(SshTrial *t, Nest *nest, const char *path, void (*over)(void *),
                    void *userdata);
void ssh_trial_stop(SshTrial *t); /* no callback any more; keeps what was found */
