/* Notices that registry.db has changed on disk and loads it, off the loop.
 *
 * The directory is watched (people and `import` replace the file by rename, sqlite3(1) writes into
 * it), so a new, changed or vanished file is seen. Loading happens on a short-lived thread: a slow
 * disk must not stall the loop. */
#pragma once

#include <systemd/sd-event.h>

#include "api/registry.h"
#include "basic/epoll-nest.h"

typedef struct RegistryWatch RegistryWatch;

/* registry: now the receiver's; NULL when it could not be loaded (error has the reason). */
typedef void (*RegistryCallback)(void *userdata, Registry *registry, const RegistryError *error);

int registry_watch_new(sd_event *event, Nest *nest, const char *path, RegistryCallback callback,
                       void *userdata, RegistryWatch **ret);
RegistryWatch *registry_watch_free(RegistryWatch *w);
void registry_watch_reload(RegistryWatch *w); /* as if the file had changed */
