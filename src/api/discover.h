/* Proposes what to watch: the enabled and hand-written user services of a PC, with their ports.
 * discover_run() is the question itself, cli_discover() the command around it. */
#pragma once

#include "api/registry.h"

/* all: every user service, not only enabled and hand-written ones. Adds an app and a target for
 * each to r; what r already names keeps its words. Returns the number added, or -errno with a
 * sentence. */
int discover_run(Registry *r, const RegistryPc *pc, bool is_self, bool all, char *error,
                 size_t size);

int cli_discover(int argc, char *argv[]);
