/* Notices that registry.db has changed on disk and loads it, off the loop.
 *
 * One load at a time: a change during a load orders another one after it. A change is only acted on
 * once the file has been quiet for SETTLE_US, so a transaction of sqlite3(1) is read once. */
#include "api/registry-watch.h"

#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "basic/macro.h"

#define SETTLE_US (200U * 1000U)

struct RegistryWatch {
    Nest *nest;
    char *path;
    char *name; /* its last component, within path's copy below */
    char *path_copy;
    RegistryCallback callback;
    void *userdata;
    sd_event_source *inotify, *settle;
    int done_fd;
    NestWatch done;
    bool loading, again;
    pthread_t thread;
    /* the thread's result; read after joining */
    Registry *registry;
    RegistryError error;
};

static void *load_thread(void *userdata)
{
    RegistryWatch *w = userdata;
    uint64_t one = 1;

    w->registry = NULL;
    w->error.text[0] = '\0';
    registry_load(w->path, &w->registry, &w->error);
    if (write(w->done_fd, &one, sizeof one) < 0)
        return NULL; /* cannot fail for an eventfd that is read after each write */
    return NULL;
}

static void start_load(RegistryWatch *w)
{
    if (w->loading) {
        w->again = true;
        return;
    }
    w->again = false;
    w->loading = pthread_create(&w->thread, NULL, load_thread, w) == 0;
    if (!w->loading) { /* no thread now: try again later, the change must not be lost */
        sd_event_source_set_time_relative(w->settle, USEC_PER_SEC);
        sd_event_source_set_enabled(w->settle, SD_EVENT_ONESHOT);
    }
}

static void on_done(NestWatch *watch, uint32_t events)
{
    RegistryWatch *w = container_of(watch, RegistryWatch, done);
    uint64_t n;

    (void)events;
    if (read(w->done_fd, &n, sizeof n) < 0)
        return;
    pthread_join(w->thread, NULL);
    w->loading = false;
    w->callback(w->userdata, TAKE_PTR(w->registry), &w->error);
    if (w->again)
        start_load(w);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    start_load(userdata);
    return 0;
}

static int on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
    RegistryWatch *w = userdata;
    bool ours = event->len && strcmp(event->name, w->name) == 0;

    (void)source;
    if (!ours && !(event->mask & IN_Q_OVERFLOW))
        return 0;
    registry_watch_reload(w);
    return 0;
}

void registry_watch_reload(RegistryWatch *w)
{
    sd_event_source_set_time_relative(w->settle, SETTLE_US);
    sd_event_source_set_enabled(w->settle, SD_EVENT_ONESHOT);
}

int registry_watch_new(sd_event *event, Nest *nest, const char *path, RegistryCallback callback,
                       void *userdata, RegistryWatch **ret)
{
    RegistryWatch *w = calloc(1, sizeof *w);
    CLEANUP_FREE char *for_directory = strdup(path);
    uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;

    if (!w || !for_directory) {
        free(w);
        return -ENOMEM;
    }
    *w = (RegistryWatch){.nest = nest,
                         .callback = callback,
                         .userdata = userdata,
                         .done_fd = -1,
                         .done = NEST_WATCH_INIT};
    w->path = strdup(path);
    w->path_copy = strdup(path);
    w->name = w->path_copy ? basename(w->path_copy) : NULL;
    w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = !w->path || !w->name || w->done_fd < 0
                ? -ENOMEM
                : nest_add(nest, &w->done, w->done_fd, EPOLLIN, on_done);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &w->settle, CLOCK_MONOTONIC, 0, 1000, on_settled, w);
    if (r >= 0)
        r = sd_event_source_set_enabled(w->settle, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_inotify(event, &w->inotify, dirname(for_directory), mask, on_inotify, w);
    if (r < 0) {
        registry_watch_free(w);
        return r;
    }
    *ret = w;
    return 0;
}

RegistryWatch *registry_watch_free(RegistryWatch *w)
{
    if (!w)
        return NULL;
    sd_event_source_disable_unref(w->inotify);
    sd_event_source_disable_unref(w->settle);
    if (w->loading)
        pthread_join(w->thread, NULL);
    registry_free(w->registry);
    nest_remove(w->nest, &w->done);
    close_fd(w->done_fd);
    free(w->path);
    free(w->path_copy);
    free(w);
    return NULL;
}
