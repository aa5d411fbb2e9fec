/* Notices that registry.db has changed on disk and loads it, off the loop.
 *
 * One load at a time: a change during a load orders another one after it. A change is only acted on
 * once the file has been quiet for SETTLE_US, so a transaction of sqlite3(1) is read once. */
#include "api/registry-watch.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <sys/inotify.h>

#include "api/loader.h"
#include "basic/macro.h"

#define SETTLE_US (200U * 1000U)

struct RegistryWatch {
    char *path;
    char *name; /* its last component, within path's copy below */
    char *path_copy;
    RegistryCallback callback;
    void *userdata;
    sd_event_source *inotify, *settle;
    Loader loader;
    bool again;
    /* the loader's result */
    Registry *registry;
    RegistryError error;
};

static void load(void *userdata)
{
    RegistryWatch *w = userdata;

    w->registry = NULL;
    w->error.text[0] = '\0';
    registry_load(w->path, &w->registry, &w->error);
}

static void start_load(RegistryWatch *w)
{
    int r = loader_start(&w->loader);

    w->again = r == -EBUSY;
    if (r == -EAGAIN) { /* no thread now: try again later, the change must not be lost */
        sd_event_source_set_time_relative(w->settle, USEC_PER_SEC);
        sd_event_source_set_enabled(w->settle, SD_EVENT_ONESHOT);
    }
}

static void on_loaded(void *userdata)
{
    RegistryWatch *w = userdata;

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
    *w = (RegistryWatch){.callback = callback, .userdata = userdata, .loader = LOADER_INIT};
    w->path = strdup(path);
    w->path_copy = strdup(path);
    w->name = w->path_copy ? basename(w->path_copy) : NULL;
    int r = !w->path || !w->name ? -ENOMEM : loader_init(&w->loader, nest, load, on_loaded, w);
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
    loader_done(&w->loader);
    registry_free(w->registry);
    free(w->path);
    free(w->path_copy);
    free(w);
    return NULL;
}
