/* See epoll-nest.h. The kernel hands out events in batches, and a callback may remove a watch whose
 * event waits later in the same batch; its memory may be gone by the time we come to it. Therefore
 * nest_remove() strikes the watch out of the batch that is being dispatched: this is the only
 * reason why the batch lives in the object and not on the stack. Level triggered, so an event that
 * is left unhandled comes again. A callback must not free the nest or dispatch it again. */
#include "basic/epoll-nest.h"

#include <errno.h>
#include <sys/epoll.h>

#include "basic/macro.h"

struct Nest {
    int fd;
    struct epoll_event batch[256]; /* what is being dispatched; nest_remove() strikes out of it */
    int batch_len;
    int batch_at;
};

int nest_new(Nest **ret)
{
    Nest *n = calloc(1, sizeof *n);

    if (!n)
        return -ENOMEM;
    n->fd = epoll_create1(EPOLL_CLOEXEC);
    if (n->fd < 0) {
        int r = -errno;
        free(n);
        return r;
    }
    *ret = n;
    return 0;
}

Nest *nest_free(Nest *n)
{
    if (n) {
        close_fd(n->fd);
        free(n);
    }
    return NULL;
}

int nest_fd(const Nest *n)
{
    return n->fd;
}

void nest_dispatch(Nest *n)
{
    n->batch_len = epoll_wait(n->fd, n->batch, (int)ELEMENTS(n->batch), 0);
    for (n->batch_at = 0; n->batch_at < n->batch_len; n->batch_at++) {
        NestWatch *w = n->batch[n->batch_at].data.ptr;
        if (w)
            w->callback(w, n->batch[n->batch_at].events);
    }
    n->batch_len = 0;
}

int nest_add(Nest *n, NestWatch *w, int fd, uint32_t events, NestCallback callback)
{
    struct epoll_event e = {.events = events, .data.ptr = w};

    if (epoll_ctl(n->fd, EPOLL_CTL_ADD, fd, &e) < 0)
        return -errno;
    *w = (NestWatch){.callback = callback, .fd = fd, .events = events};
    return 0;
}

int nest_modify(Nest *n, NestWatch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};

    if (w->events == events)
        return 0;
    if (epoll_ctl(n->fd, EPOLL_CTL_MOD, w->fd, &e) < 0)
        return -errno;
    w->events = events;
    return 0;
}

void nest_remove(Nest *n, NestWatch *w)
{
    if (w->fd < 0)
        return;
    epoll_ctl(n->fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
    for (int i = n->batch_at; i < n->batch_len; i++)
        if (n->batch[i].data.ptr == w)
            n->batch[i].data.ptr = NULL;
}
