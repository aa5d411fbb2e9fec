/* One look at everything, without a daemon.
 *
 * The same fleet and probes as in the daemon, with nothing to their right: no store, no server. It
 * ends when nothing is unknown any more that could still become known, or at the deadline. */
#include "api/oneshot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "api/config.h"
#include "api/probe.h"
#include "api/transport-ssh.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

#define STEP_US (20U * 1000U)

typedef struct Oneshot {
    sd_event *event;
    Nest *nest;
    Fleet *fleet;
    SshLimiter *limiter;
    Probe *probe;
    Registry *registry;
    Config *config;
    const RegistryPc *self;
} Oneshot;

static void ignore_transition(void *userdata, FleetPc *pc, Service *s, const TransitionRow *row,
                              const Change *change)
{
    (void)userdata, (void)pc, (void)s, (void)row, (void)change;
}

static void ignore_check(void *userdata, Service *s, int64_t ts_ms)
{
    (void)userdata, (void)s, (void)ts_ms;
}

static void ignore_hour(void *userdata, Service *s, int64_t hour_ms, uint32_t healthy_ms,
                        uint32_t observed_ms, uint32_t transitions)
{
    (void)userdata, (void)s, (void)hour_ms, (void)healthy_ms, (void)observed_ms, (void)transitions;
}

static void ignore_changed(void *userdata)
{
    (void)userdata;
}

static void on_removed(void *userdata, FleetPc *pc, Service *s)
{
    Oneshot *o = userdata;

    probe_removed(o->probe, pc, s);
}

static void on_added(void *userdata, FleetPc *pc, Service *s)
{
    Oneshot *o = userdata;

    probe_added(o->probe, pc, s);
}

static int make_transport(void *userdata, const FleetPc *pc, const TransportEvents *events,
                          void *events_userdata, Transport **ret)
{
    Oneshot *o = userdata;

    *ret = NULL;
    if (pc->is_self)
        return transport_local_new(o->event, events, events_userdata, ret);
    return transport_ssh_new(o->nest, pc->ssh_host, pc->pc_id, o->limiter, events, events_userdata,
                             ret);
}

static int on_nest(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    Oneshot *o = userdata;

    (void)source, (void)fd, (void)revents;
    nest_dispatch(o->nest);
    return 0;
}

/* Everything that can become known is known: a PC without a way to it stays as it is. */
static bool is_complete(const Oneshot *o)
{
    for (size_t i = 0; i < fleet_n_pcs(o->fleet); i++) {
        const FleetPc *pc = fleet_pc_at(o->fleet, i);
        if (!pc->probe)
            continue;
        if (!pc->facts.known)
            return false;
        for (size_t j = 0; j < pc->n_services; j++)
            if (pc->services[j]->track.shown.cause == CAUSE_NOT_CHECKED_YET ||
                pc->services[j]->in_flight)
                return false;
    }
    return true;
}

static int run(Oneshot *o, uint32_t timeout_ms)
{
    uint64_t deadline = clock_now().mono_us + timeout_ms * USEC_PER_MSEC;

    while (!is_complete(o) && clock_now().mono_us < deadline) {
        Now now = clock_now();
        uint64_t next = probe_next_us(o->probe);
        if (next <= now.mono_us)
            probe_run(o->probe, now);
        next = probe_next_us(o->probe);
        now = clock_now();
        uint64_t wait = next > now.mono_us ? MIN(next - now.mono_us, STEP_US) : 0;
        int r = sd_event_run(o->event, wait);
        if (r < 0)
            return r;
    }
    return 0;
}

static int collect(const Oneshot *o, OneshotResult *ret)
{
    OneshotResult out = {0};
    Now now = clock_now();

    out.services = calloc(MAX(fleet_n_services(o->fleet), (size_t)1), sizeof *out.services);
    out.pcs = calloc(MAX(fleet_n_pcs(o->fleet), (size_t)1), sizeof *out.pcs);
    if (!out.services || !out.pcs) {
        oneshot_done(&out);
        return -ENOMEM;
    }
    for (size_t i = 0; i < fleet_n_pcs(o->fleet); i++) {
        const FleetPc *pc = fleet_pc_at(o->fleet, i);
        fleet_pc_row(o->fleet, pc, &out.pcs[out.n_pcs++]);
        for (size_t j = 0; j < pc->n_services; j++)
            fleet_service_row(o->fleet, pc->services[j], now, &out.services[out.n_services++]);
    }
    *ret = out;
    return 0;
}

static int load(Oneshot *o, const char *registry_path, const char *config_path, const char *self,
                char *error, size_t size)
{
    RegistryError registry_error = {""};
    ConfigError config_error = {""};
    char host[256] = "";

    int r = config_load(config_path, &o->config, &config_error);
    if (r < 0) {
        text_copy(error, size, config_error.text);
        return r;
    }
    r = registry_load(registry_path, &o->registry, &registry_error);
    if (r >= 0) {
        gethostname(host, sizeof host - 1);
        r = registry_self(o->registry, self ? self : o->config->self, host, &o->self,
                          &registry_error);
    } else if (r == -ENOENT) {
        snprintf(registry_error.text, sizeof registry_error.text,
                 _("there is no registry at %s: make one with 'services_api discover --write' or "
                   "'services_api import FILE.yaml'"),
                 registry_path);
    }
    text_copy(error, size, registry_error.text);
    return r;
}

static int start(Oneshot *o)
{
    static const FleetOps ops = {
        .transition = ignore_transition,
        .check = ignore_check,
        .hour = ignore_hour,
        .changed = ignore_changed,
        .removed = on_removed,
        .added = on_added,
    };
    CLEANUP_FREE Want *wants = NULL;
    size_t n = 0;
    uint32_t interval = o->config->interval_ms;
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = registry_wants(o->registry, o->self, interval - MIN(500U, interval / 2), &wants, &n);
    if (r >= 0)
        r = sd_event_new(&o->event);
    if (r >= 0)
        r = nest_new(&o->nest);
    if (r >= 0)
        r = sd_event_add_io(o->event, NULL, nest_fd(o->nest), EPOLLIN, on_nest, o);
    if (r >= 0)
        r = fleet_new(&ops, o, interval, 0, &o->fleet);
    if (r >= 0)
        r = ssh_limiter_new(&o->limiter);
    if (r >= 0)
        r = probe_new(o->event, o->nest, o->fleet, make_transport, o, &o->probe);
    if (r >= 0)
        r = fleet_apply(o->fleet, o->registry, o->self, wants, n, clock_now());
    return r;
}

void oneshot_done(OneshotResult *r)
{
    free(r->services);
    free(r->pcs);
    free(r->alerts);
    *r = (OneshotResult){0};
}

int oneshot_look(const char *registry_path, const char *config_path, const char *self,
                 uint32_t timeout_ms, OneshotResult *ret, char *error, size_t size)
{
    Oneshot o = {0};

    text_copy(error, size, "");
    int r = load(&o, registry_path, config_path, self, error, size);
    if (r >= 0)
        r = start(&o);
    if (r >= 0)
        r = run(&o, timeout_ms);
    if (r >= 0)
        r = collect(&o, ret);
    probe_free(o.probe);
    ssh_limiter_free(o.limiter);
    fleet_free(o.fleet);
    nest_free(o.nest);
    sd_event_unref(o.event);
    registry_free(o.registry);
    config_free(o.config);
    return r;
}
