/* What may change while the daemon runs: the registry, config.yaml and the token.
 *
 * All three are read on a thread, because a slow disk must not stall the loop, checked as strictly
 * as at the start, and taken over whole or not at all; what is refused leaves the old in force and
 * says so, in the log and in GET /api/health. Nothing that is known is forgotten: the fleet, the
 * stream and the clients go on, and each part is told its new numbers.
 *
 * The registry and the token are followed on disk; config.yaml is read at SIGHUP only, so that an
 * editor that saves half a thought changes nothing. The address we listen on and which PC we are
 * stay as they were: both would be a new daemon.
 *
 * Parts may borrow from the config, so the old one lives until all were told of the new. */
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "api/manager-private.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define TIMEOUT_SLACK_MS 500U

static int find_self(Manager *m, const Registry *r, const RegistryPc **ret, RegistryError *error)
{
    const char *wanted = m->options->self ? m->options->self : m->config->self;
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    return registry_self(r, wanted, host, ret, error);
}

int manager_load_inputs(Manager *m, Registry **ret_registry)
{
    ConfigError config_error = {""};
    RegistryError error = {""};

    int r = config_load(m->options->config_path, &m->config, &config_error);
    if (r < 0) {
        log_error("%s", config_error.text);
        return r;
    }
    r = registry_load(m->options->registry_path, ret_registry, &error);
    if (r == -ENOENT)
        log_error("there is no registry at %s: make one with 'services_api discover --write' or "
                  "'services_api import FILE.yaml'",
                  m->options->registry_path);
    else if (r < 0)
        log_error("%s", error.text);
    if (r < 0)
        return r;
    const RegistryPc *self;
    r = find_self(m, *ret_registry, &self, &error);
    if (r < 0) {
        log_error("%s", error.text);
        return r;
    }
    char why[256];
    r = token_load(m->options->token_path, m->token, why, sizeof why);
    if (r < 0)
        log_error("%s: %s", m->options->token_path, why);
    return r;
}

/* ---- the registry in force ---- */

int manager_apply_registry(Manager *m, Registry *registry, RegistryError *error)
{
    uint32_t interval = fleet_interval_ms(m->fleet);
    const RegistryPc *self;
    CLEANUP_FREE Want *wants = NULL;
    size_t n = 0;

    int r = find_self(m, registry, &self, error);
    if (r >= 0)
        r = registry_wants(registry, self, interval - MIN(TIMEOUT_SLACK_MS, interval / 2), &wants,
                           &n);
    if (r < 0)
        return r;
    r = fleet_apply(m->fleet, registry, self, wants, n, clock_now());
    manager_cover(m, true, clock_now());
    m->self = self;
    if (m->registry == registry) /* only the interval has changed */
        return r;
    registry_free(m->registry);
    m->registry = registry;
    m->routes.registry_loaded_ms = clock_now().wall_ms;
    m->routes.registry_error[0] = '\0';
    log_info("registry: %zu PCs, %zu services to watch; this PC is %s", registry->n_pcs, n,
             self ? self->pc_id : "none of them");
    return r;
}

static void on_registry(void *userdata, Registry *registry, const RegistryError *error)
{
    Manager *m = userdata;
    RegistryError own = *error;

    if (registry && manager_apply_registry(m, registry, &own) >= 0)
        return;
    if (registry && registry != m->registry)
        registry_free(registry);
    text_copy(m->routes.registry_error, sizeof m->routes.registry_error,
              own.text[0] ? own.text : "the registry could not be loaded");
    log_error("the changed registry is not taken over, the last good one stays in force: %s",
              m->routes.registry_error);
}

/* ---- the config in force ---- */

GateRules manager_gate_rules(const Manager *m)
{
    return (GateRules){
        .hosts = (const char *const *)m->config->hosts.items,
        .n_hosts = m->config->hosts.n,
        .origins = (const char *const *)m->config->origins.items,
        .n_origins = m->config->origins.n,
    };
}

void manager_write_features(const Manager *m, char *ret, size_t size)
{
    snprintf(ret, size, "{\"actions\":%s,\"auto_fix\":%s}",
             m->config->feature_actions ? "true" : "false", m->config->auto_fix ? "true" : "false");
}

/* A key that only a restart takes over: true when it has changed. Then both configs have the old
 * value, in one copy. */
static bool keep_old(const char *key, char **value, char *old)
{
    bool same = *value && old ? strcmp(*value, old) == 0 : *value == old;

    if (same)
        return false;
    log_warning("config: %s: needs a restart, until then it stays %s", key,
                old ? old : "as it was found");
    free(*value);
    *value = old;
    return true;
}

/* A longest timeout of a health look follows from the interval, hence the registry anew. */
static void change_interval(Manager *m)
{
    RegistryError error = {""};

    if (m->options->interval_ms || fleet_interval_ms(m->fleet) == m->config->interval_ms)
        return;
    fleet_set_interval(m->fleet, m->config->interval_ms, clock_now());
    if (manager_apply_registry(m, m->registry, &error) < 0)
        log_error("config: interval_ms: %s", error.text[0] ? error.text : "out of memory");
}

/* Every part that works by the config. */
static void tell_parts(Manager *m)
{
    const Config *c = m->config;
    GateRules rules = manager_gate_rules(m);
    char features[64];

    http_server_configure(m->server, &rules, c->feature_actions);
    incidents_configure(m->incidents, c->alert_after_s, c->reboot_grace_s);
    store_keep(m->store, c->retention_checks_days, c->retention_transitions_days);
    if (notify_configure(m->notify, c, clock_now()) < 0)
        log_error("notify: no memory to send anything");
    manager_configure_actions(m);
    m->routes.actions_enabled = c->feature_actions;
    m->routes.auto_fix = c->auto_fix;
    manager_write_features(m, features, sizeof features);
    if (publish_features(m->publish, features) < 0)
        log_error("config: no memory to tell the clients of changed features");
    change_interval(m);
    sd_event_source_set_enabled(m->urgent, SD_EVENT_ONESHOT);
}

static void apply_config(Manager *m, Config *next)
{
    CLEANUP(config_freep) Config *old = m->config;
    CLEANUP(buffer_done) Buffer changes = BUFFER_INIT(4096);
    ConfigStatus *status = &m->routes.config;

    *status = (ConfigStatus){
        .loaded_ms = clock_now().wall_ms,
        .listen_waits = !m->options->listen && keep_old("listen", &next->listen, old->listen),
        .self_waits = !m->options->self && keep_old("self", &next->self, old->self),
    };
    size_t n = config_changes(old, next, &changes);
    old->listen = next->listen == old->listen ? NULL : old->listen;
    old->self = next->self == old->self ? NULL : old->self;
    m->config = next;
    tell_parts(m);
    log_info("config: read again, %s%s", n ? "changed: " : "nothing has changed",
             n ? buffer_cstr(&changes) : "");
}

static void refuse_config(Manager *m, const char *why)
{
    text_copy(m->routes.config.error, sizeof m->routes.config.error, why);
    log_error("the changed config is not taken over, the old one stays in force: %s", why);
}

/* ---- the token in force ---- */

static void apply_token(Manager *m, const char *token)
{
    if (strcmp(m->token, token) == 0)
        return;
    text_copy(m->token, sizeof m->token, token);
    http_server_set_token(m->server, m->token);
    stream_end_by_token(m->stream, "the token has changed", clock_now());
    log_info("the token has changed: the old one is refused, and who came by it was cut off");
}

/* ---- reading again ---- */

static void read_inputs(void *userdata)
{
    Manager *m = userdata;
    Inputs *in = &m->inputs;

    if (in->read_config &&
        config_load(m->options->config_path, &in->config, &in->config_error) < 0 &&
        !in->config_error.text[0])
        text_copy(in->config_error.text, sizeof in->config_error.text, "out of memory");
    if (in->read_token)
        in->token_result =
            token_read(m->options->token_path, in->token, in->token_error, sizeof in->token_error);
}

static void start_reading(Manager *m)
{
    Inputs *in = &m->inputs;

    if (in->loader.running || !(in->want_config || in->want_token))
        return;
    in->read_config = in->want_config;
    in->read_token = in->want_token;
    in->want_config = in->want_token = false;
    in->config_error.text[0] = '\0';
    if (loader_start(&in->loader) >= 0)
        return;
    if (in->read_config)
        refuse_config(m, "no thread can be started to read it; try again");
    if (in->read_token)
        log_error("the token file is not read again: no thread can be started; try again");
}

static void on_read(void *userdata)
{
    Manager *m = userdata;
    Inputs *in = &m->inputs;

    if (in->read_config && in->config)
        apply_config(m, TAKE_PTR(in->config));
    else if (in->read_config)
        refuse_config(m, in->config_error.text);
    if (in->read_token && in->token_result >= 0)
        apply_token(m, in->token);
    else if (in->read_token)
        log_error("%s: %s; the token in force stays", m->options->token_path, in->token_error);
    explicit_bzero(in->token, sizeof in->token);
    start_reading(m);
}

static int on_hangup(sd_event_source *source UNUSED, const struct signalfd_siginfo *info UNUSED,
                     void *userdata)
{
    Manager *m = userdata;

    log_info("SIGHUP: reading registry, config and token again");
    registry_watch_reload(m->watch);
    m->inputs.want_config = m->inputs.want_token = true;
    start_reading(m);
    return 0;
}

static int on_token_file(sd_event_source *source UNUSED, const struct inotify_event *event,
                         void *userdata)
{
    Manager *m = userdata;
    const char *name = strrchr(m->options->token_path, '/');

    name = name ? name + 1 : m->options->token_path;
    if (!(event->mask & IN_Q_OVERFLOW) && (!event->len || strcmp(event->name, name) != 0))
        return 0;
    m->inputs.want_token = true;
    start_reading(m);
    return 0;
}

/* Without inotify the token is still read at SIGHUP. */
static void watch_token(Manager *m)
{
    CLEANUP_FREE char *copy = strdup(m->options->token_path);
    uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB;
    int r = copy ? sd_event_add_inotify(m->event, &m->inputs.inotify, dirname(copy), mask,
                                        on_token_file, m)
                 : -ENOMEM;

    if (r < 0)
        log_warning("%s: cannot be watched for changes, send SIGHUP after one: %s",
                    m->options->token_path, strerror(-r));
}

int manager_watch_inputs(Manager *m)
{
    const char *registry = m->options->registry_path;
    int r = registry_watch_new(m->event, m->nest, registry, on_registry, m, &m->watch);

    if (r < 0) {
        log_error("%s: cannot be watched for changes: %s", registry, strerror(-r));
        return r;
    }
    r = loader_init(&m->inputs.loader, m->nest, read_inputs, on_read, m);
    if (r < 0)
        return r;
    watch_token(m);
    return sd_event_add_signal(m->event, NULL, SIGHUP, on_hangup, m);
}

void manager_unwatch_inputs(Manager *m)
{
    registry_watch_free(m->watch);
    sd_event_source_disable_unref(m->inputs.inotify);
    loader_done(&m->inputs.loader);
    config_free(m->inputs.config);
    explicit_bzero(m->inputs.token, sizeof m->inputs.token);
}
