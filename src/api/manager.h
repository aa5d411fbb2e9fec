/* The composition root of the daemon: owns the loop and every part, wires data from left to right,
 * and carries wishes (check now, reload) from right to left. */
#pragma once

#include "api/config.h"

typedef struct ManagerOptions {
    const char *registry_path;
    const char *db_path;
    const char *config_path;
    const char *token_path;
    const char *listen;   /* NULL: as the config says */
    const char *self;     /* NULL: as the config says, else find out */
    uint32_t interval_ms; /* 0: as the config says */
} ManagerOptions;

/* Runs until SIGTERM or SIGINT. 0 for a clean end; negative errno after a clear line on stderr. */
int manager_run(const ManagerOptions *options);
