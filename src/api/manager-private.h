/* What the manager*.c files share; nobody else includes this. */
#pragma once

#include <systemd/sd-event.h>

#include "api/action.h"
#include "api/auto-fix.h"
#include "api/evidence.h"
#include "api/fleet.h"
#include "api/incident.h"
#include "api/loader.h"
#include "api/manager.h"
#include "api/notify.h"
#include "api/probe.h"
#include "api/publish.h"
#include "api/registry-watch.h"
#include "api/routes.h"
#include "api/silence.h"
#include "api/store.h"
#include "api/stream.h"
#include "api/token.h"
#include "api/transport-ssh.h"

/* config.yaml and the token, read again while we run (manager-reload.c). */
typedef struct Inputs {
    Loader loader;
    sd_event_source *inotify;
    bool want_config, want_token; /* asked for */
    /* what the thread is at, and what came of it */
    bool read_config, read_token;
    Config *config;
    ConfigError config_error;
    int token_result;
    char token[TOKEN_SIZE];
    char token_error[256];
} Inputs;

typedef struct Manager {
    const ManagerOptions *options;
    Config *config; /* replaced by a reload: who keeps a pointer into it must be told there */
    Registry *registry;
    const RegistryPc *self;
    StoreRecall *recalls;
    size_t n_recalls;
    StoreBoot *boots; /* each is used once, by the PC that comes first */
    size_t n_boots;
    char token[TOKEN_SIZE];
    sd_event *event;
    Nest *nest;
    Fleet *fleet;
    Store *store;
    History *history;
    Publish *publish;
    Stream *stream;
    SshLimiter *limiter;
    Probe *probe;
    Evidence *evidence;
    Silences *silences;
    Incidents *incidents;
    Notify *notify;
    Actions *actions;
    AutoFix *auto_fix;
    RegistryWatch *watch;
    HttpServer *server;
    Routes routes;
    Inputs inputs;
    sd_event_source *timer, *nest_source;
    sd_event_source *urgent; /* enabled when an event changed something visible: publish it now */
    uint64_t timer_us;       /* what the timer is set to; UINT64_MAX: not set */
    uint64_t tick_us, book_us;
} Manager;

/* Config, registry and token at the start. Negative errno after a line in the log. */
int manager_load_inputs(Manager *m, Registry **ret_registry);
/* From the first fact on: takes the registry over (it is ours if it succeeds), then follows changes
 * on disk and SIGHUP. */
int manager_apply_registry(Manager *m, Registry *registry, RegistryError *error);
int manager_watch_inputs(Manager *m);
void manager_unwatch_inputs(Manager *m);

/* Silences and maintenance (manager-silence.c): what an earlier daemon left, and, each second and
 * after the registry changed, what they cover now. */
int manager_recall_silences(Manager *m, Now now);
void manager_cover(Manager *m, bool registry_changed, Now now);

/* manager-action.c */
int manager_make_actions(Manager *m);
void manager_configure_actions(Manager *m);
void manager_recall_actions(Manager *m); /* once the registry is in force */

GateRules manager_gate_rules(const Manager *m);
void manager_write_features(const Manager *m, char *ret, size_t size); /* as in hello */
