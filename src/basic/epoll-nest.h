/* Many sockets behind one epoll fd, which the event loop sees as one single source.
 *
 * sd-event costs O(n) per dispatched event when many fds are ready at once; an epoll nested into it
 * costs 0.3 us. A NestWatch is embedded in its owner. Callbacks may add, change and remove any
 * watch, their own included: a removed watch is never called again, also not from the batch that is
 * being dispatched. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct Nest Nest;
typedef struct NestWatch NestWatch;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR as in epoll_ctl(2), level triggered */
typedef void (*NestCallback)(NestWatch *w, uint32_t events);

struct NestWatch {
    NestCallback callback;
    int fd;          /* -1 while not watched; the watch does not own it */
    uint32_t events; /* what it waits for */
};

#define NEST_WATCH_INIT ((NestWatch){.fd = -1})

int nest_new(Nest **ret);
Nest *nest_free(Nest *n);
int nest_fd(const Nest *n);  /* readable when a watch is ready */
void nest_dispatch(Nest *n); /* handles what is ready now, at most 256 watches, never blocks */

int nest_add(Nest *n, NestWatch *w, int fd, uint32_t events, NestCallback callback);
int nest_modify(Nest *n, NestWatch *w, uint32_t events); /* no system call when nothing changes */
void nest_remove(Nest *n, NestWatch *w); /* before close(fd); no-op when not watched */
