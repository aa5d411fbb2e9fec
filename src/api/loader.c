/* A short-lived thread and its way back to the loop.
 *
 * The thread rings an eventfd as its last act and is then joined on the loop, so what it wrote is
 * visible there without any lock. It inherits the loop's blocked signals. */
#include "api/loader.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "basic/macro.h"

static void *thread_main(void *userdata)
{
    Loader *l = userdata;

    l->work(l->userdata);
    eventfd_write(l->done_fd, 1); /* cannot fail: it is read after each write */
    return NULL;
}

int loader_start(Loader *l)
{
    if (l->running)
        return -EBUSY;
    l->running = pthread_create(&l->thread, NULL, thread_main, l) == 0;
    return l->running ? 0 : -EAGAIN;
}

static void on_done(NestWatch *watch, uint32_t events UNUSED)
{
    Loader *l = container_of(watch, Loader, done);
    eventfd_t n;

    if (eventfd_read(l->done_fd, &n) < 0)
        return;
    pthread_join(l->thread, NULL);
    l->running = false;
    l->ended(l->userdata);
}

int loader_init(Loader *l, Nest *nest, LoaderCallback work, LoaderCallback ended, void *userdata)
{
    *l = LOADER_INIT;
    l->nest = nest;
    l->work = work;
    l->ended = ended;
    l->userdata = userdata;
    l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return l->done_fd < 0 ? -errno : nest_add(nest, &l->done, l->done_fd, EPOLLIN, on_done);
}

void loader_done(Loader *l)
{
    if (l->running)
        pthread_join(l->thread, NULL);
    l->running = false;
    if (l->nest)
        nest_remove(l->nest, &l->done);
    l->done_fd = close_fd(l->done_fd);
}
