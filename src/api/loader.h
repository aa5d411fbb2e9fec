/* One function on a short-lived thread: for files that are read while the daemon runs, because a
 * slow disk must not stall the loop.
 *
 * One run at a time: who wants another one during a run starts it when that has ended. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "basic/epoll-nest.h"

typedef void (*LoaderCallback)(void *userdata);

/* Embedded in its owner. */
typedef struct Loader {
    Nest *nest;
    LoaderCallback work;  /* on the thread; nobody else touches what it fills until `ended` */
    LoaderCallback ended; /* on the loop, when the thread is gone */
    void *userdata;
    int done_fd;
    NestWatch done;
    pthread_t thread;
    bool running;
} Loader;

#define LOADER_INIT                            \
    (Loader)                                   \
    {                                          \
        .done_fd = -1, .done = NEST_WATCH_INIT \
    }

int loader_init(Loader *l, Nest *nest, LoaderCallback work, LoaderCallback ended, void *userdata);
int loader_start(Loader *l); /* -EBUSY: one is under way; -EAGAIN: no thread is to be had now */
void loader_done(Loader *l); /* waits for the thread; `ended` is not called */
