/* One look at everything, without a daemon: what `status` and `check` do when none answers. */
#pragma once

#include <stddef.h>

#include "common/protocol.h"

typedef struct OneshotResult {
    ServiceRow *services; /* sorted by (pc_id, app_id) */
    size_t n_services;
    PcRow *pcs;
    size_t n_pcs;
    AlertRow *alerts; /* of the daemon; none from a look of our own */
    size_t n_alerts;
} OneshotResult;

void oneshot_done(OneshotResult *r);

/* Looks until every state is known, at most timeout_ms. error (size bytes) says what is wrong with
 * registry or config. */
int oneshot_look(const char *registry_path, const char *config_path, const char *self,
                 uint32_t timeout_ms, OneshotResult *ret, char *error, size_t size);
