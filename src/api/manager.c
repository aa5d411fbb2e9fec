/* The composition root.
 *
 * One sd_event loop with few sources: the nested epoll (all sockets), one timer that is re-armed
 * before each sleep with the nearest wish of all parts, the buses, signals. When an event changed
 * something visible, a deferred source lets the delta leave right then; all other news waits for
 * the tick each second.
 *
 * Order of birth: registry and config are checked before any port is opened, the store before the
 * first fact, the server last. Order of death is the reverse. */
#include "api/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "api/evidence.h"
#include "api/fleet.h"
#include "api/incident.h"
#include "api/notify.h"
#include "api/paths.h"
#include "api/probe.h"
#include "api/publish.h"
#include "api/registry-watch.h"
#include "api/routes.h"
#include "api/store.h"
#include "api/stream.h"
#include "api/transport-ssh.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define TICK_US          USEC_PER_SEC
#define BOOK_US          (60U * USEC_PER_SEC)
#define FIRST_BOOK_US    (3U * USEC_PER_SEC)  /* so that the next life knows early who was well */
#define GAP_US           (15U * USEC_PER_SEC) /* a tick this late: we slept, or were stopped */
#define TOKEN_BYTES      32U
#define TIMEOUT_SLACK_MS 500U

typedef struct Manager {
    const ManagerOptions *options;
    Config *config;
    Registry *registry;
    const RegistryPc *self;
    StoreRecall *recalls;
    size_t n_recalls;
    char *token;
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
    Incidents *incidents;
    Notify *notify;
    RegistryWatch *watch;
    HttpServer *server;
    Routes routes;
    sd_event_source *timer, *nest_source;
    sd_event_source *urgent; /* enabled when an event changed something visible: publish it now */
    uint64_t timer_us;       /* what the timer is set to; UINT64_MAX: not set */
    uint64_t tick_us, book_us;
} Manager;

/* ---- from left to right ---- */

static const char *state_word(const Service *s, Actual a)
{
    return !s && a == ACTUAL_RUNNING ? "reachable" : actual_to_string(a);
}

static void on_transition(void *userdata, FleetPc *pc, Service *s, const TransitionRow *row,
                          const Change *change)
{
    Manager *m = userdata;
    Buffer evidence = BUFFER_INIT(4096);
    TransitionRow full = *row;

    if (change) {
        evidence_write(&evidence, change);
        full.evidence = buffer_cstr(&evidence);
    }
    StoreTransition t = {
        .id = row->id,
        .ts_ms = row->ts,
        .handle = s ? s->handle : 0,
        .pc_id = pc->pc_id,
        .from = row->from,
        .to = row->to,
        .cause = row->cause,
        .sentence = row->sentence,
        .evidence = full.evidence,
    };
    store_add_transition(m->store, &t);
    publish_transition(m->publish, &full);
    log_info("%s%s%s: %s -> %s%s%s", pc->pc_id, s ? "/" : "", s ? s->want.app_id : "",
             state_word(s, row->from), state_word(s, row->to), row->sentence[0] ? ": " : "",
             row->sentence);
    if (change && change->wants_journal)
        evidence_collect(m->evidence, s, &full, change, clock_now());
    buffer_done(&evidence);
}

static void on_check(void *userdata, Service *s, int64_t ts_ms)
{
    Manager *m = userdata;

    store_add_check(m->store, ts_ms, s->handle, s->facts.unit.active, s->facts.unit.load,
                    s->look.port_listening, s->facts.http.status, s->facts.http.latency_us);
    routes_checked(&m->routes, s, clock_now());
}

static void on_hour(void *userdata, Service *s, int64_t hour_ms, uint32_t healthy_ms,
                    uint32_t observed_ms, uint32_t transitions)
{
    Manager *m = userdata;

    store_add_hour(m->store, hour_ms, s->handle, healthy_ms, observed_ms, transitions);
}

static void on_changed(void *userdata)
{
    Manager *m = userdata;

    sd_event_source_set_enabled(m->urgent, SD_EVENT_ONESHOT);
}

static void on_removed(void *userdata, FleetPc *pc, Service *s)
{
    Manager *m = userdata;

    publish_removed(m->publish, s ? s->want.app_id : NULL, pc->pc_id);
    probe_removed(m->probe, pc, s);
}

static int compare_recall(const void *a, const void *b)
{
    const StoreRecall *x = a, *y = b;
    int app = strcmp(x->app_id, y->app_id);

    return app ? app : strcmp(x->pc_id, y->pc_id);
}

static void recall(Manager *m, Service *s)
{
    StoreRecall key;

    text_copy(key.app_id, sizeof key.app_id, s->want.app_id);
    text_copy(key.pc_id, sizeof key.pc_id, s->pc->pc_id);
    const StoreRecall *r =
        m->n_recalls ? bsearch(&key, m->recalls, m->n_recalls, sizeof key, compare_recall) : NULL;
    if (r)
        fleet_recall(m->fleet, s, r->last_to, r->last_ts_ms, r->last_healthy_ms, r->transitions_24h,
                     clock_now());
}

static void on_added(void *userdata, FleetPc *pc, Service *s)
{
    Manager *m = userdata;

    if (s) {
        store_add_service(m->store, s->handle, s->want.app_id, pc->pc_id);
        recall(m, s);
    }
    probe_added(m->probe, pc, s);
}

static const FleetOps fleet_ops = {
    .transition = on_transition,
    .check = on_check,
    .hour = on_hour,
    .changed = on_changed,
    .removed = on_removed,
    .added = on_added,
};

static void on_evidence(void *userdata, const TransitionRow *row, uint32_t handle)
{
    Manager *m = userdata;
    StoreTransition t = {
        .id = row->id,
        .ts_ms = row->ts,
        .handle = handle,
        .pc_id = row->pc_id,
        .from = row->from,
        .to = row->to,
        .cause = row->cause,
        .sentence = row->sentence,
        .evidence = row->evidence,
    };

    store_add_transition(m->store, &t);
    publish_transition(m->publish, row);
    sd_event_source_set_enabled(m->urgent, SD_EVENT_ONESHOT);
}

static void on_incident(void *userdata, const Incident *i)
{
    Manager *m = userdata;
    Buffer b = BUFFER_INIT(1U << 20);

    StoreIncident kept = {
        .id = i->id,
        .began_ms = i->began_ms,
        .opened_ms = i->opened_ms,
        .closed_ms = i->closed_ms,
        .cause = i->cause,
    };
    text_copy(kept.kind, sizeof kept.kind, incident_kind_to_string(i->kind));
    text_copy(kept.state, sizeof kept.state, incident_state_to_string(i->state));
    text_copy(kept.app_id, sizeof kept.app_id, i->app_id);
    text_copy(kept.pc_id, sizeof kept.pc_id, i->pc_id);
    text_copy(kept.sentence, sizeof kept.sentence, i->sentence);
    notify_incident(m->notify, &kept, clock_now());
    store_add_incident(m->store, &kept);
    incident_write(&b, m->incidents, i);
    if (!buffer_error(&b))
        publish_alert(m->publish, b.data, b.len);
    buffer_done(&b);
    if (i->state == INCIDENT_OPEN || i->state == INCIDENT_CLOSED)
        log_warning("incident %s: %s%s%s: %s", incident_state_to_string(i->state), i->pc_id,
                    i->app_id[0] ? "/" : "", i->app_id, i->sentence);
}

/* Incidents of an earlier daemon go on as the same ones: nobody is told twice. */
static void recall_incidents(Manager *m, Now now)
{
    CLEANUP_FREE StoreIncident *rows = NULL;
    size_t n = 0;

    if (store_recall_incidents(m->options->db_path, &rows, &n) < 0)
        return;
    for (size_t k = 0; k < n; k++) {
        Incident i = {
            .id = rows[k].id,
            .kind = incident_kind_from_string(rows[k].kind),
            .state = incident_state_from_string(rows[k].state),
            .began_ms = rows[k].began_ms,
            .opened_ms = rows[k].opened_ms,
            .cause = rows[k].cause,
            .began_us = now.mono_us,
        };
        if (i.kind == INCIDENT_KIND_INVALID || i.state == INCIDENT_STATE_INVALID)
            continue;
        text_copy(i.app_id, sizeof i.app_id, rows[k].app_id);
        text_copy(i.pc_id, sizeof i.pc_id, rows[k].pc_id);
        text_copy(i.sentence, sizeof i.sentence, rows[k].sentence);
        if (incidents_recall(m->incidents, &i) >= 0 && i.state == INCIDENT_OPEN)
            notify_was_open(m->notify, i.id);
    }
}

static void on_message(void *userdata, uint64_t seq, const char *json, size_t len)
{
    Manager *m = userdata;

    stream_broadcast(m->stream, seq, json, len);
}

static int make_transport(void *userdata, const FleetPc *pc, const TransportEvents *events,
                          void *events_userdata, Transport **ret)
{
    Manager *m = userdata;

    *ret = NULL;
    if (pc->is_self)
        return transport_local_new(m->event, events, events_userdata, ret);
    return transport_ssh_new(m->nest, pc->ssh_host, pc->pc_id, m->limiter, events, events_userdata,
                             ret);
}

/* ---- the registry in force ---- */

static int find_self(Manager *m, const Registry *r, const RegistryPc **ret, RegistryError *error)
{
    const char *wanted = m->options->self ? m->options->self : m->config->self;
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    return registry_self(r, wanted, host, ret, error);
}

static int apply_registry(Manager *m, Registry *registry, RegistryError *error)
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
    registry_free(m->registry);
    m->registry = registry;
    m->self = self;
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

    if (registry && apply_registry(m, registry, &own) >= 0)
        return;
    if (registry && registry != m->registry)
        registry_free(registry);
    text_copy(m->routes.registry_error, sizeof m->routes.registry_error,
              own.text[0] ? own.text : "the registry could not be loaded");
    log_error("the changed registry is not taken over, the last good one stays in force: %s",
              m->routes.registry_error);
}

/* ---- the clockwork ---- */

static void flush(Manager *m, Now now)
{
    publish_flush(m->publish, now);
    store_commit(m->store);
}

static void tick(Manager *m, Now now)
{
    bool gap = m->tick_us && now.mono_us > m->tick_us + GAP_US;

    if (gap || now.mono_us >= m->book_us) {
        m->book_us = now.mono_us + BOOK_US;
        fleet_book(m->fleet, now, gap);
    }
    m->tick_us = now.mono_us + TICK_US;
    incidents_scan(m->incidents, now);
    notify_tick(m->notify, now);
    stream_tick(m->stream, now);
    routes_tick(&m->routes, now);
    http_server_run(m->server); /* out of descriptors it stops accepting, and nothing wakes it */
    flush(m, now);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    Manager *m = userdata;
    Now now = clock_now();

    (void)source;
    (void)usec;
    m->timer_us = UINT64_MAX;
    if (now.mono_us >= m->tick_us)
        tick(m, now); /* before the probes: a gap must be booked before fresh facts are judged */
    if (now.mono_us >= probe_next_us(m->probe))
        probe_run(m->probe, now);
    evidence_tick(m->evidence, now);
    if (now.mono_us >= notify_next_us(m->notify))
        notify_run(m->notify, now);
    if (http_server_timeout_ms(m->server) == 0)
        http_server_run(m->server);
    return 0;
}

/* Before each sleep: one timer for the nearest wish of all parts. */
static int on_prepare(sd_event_source *source, void *userdata)
{
    Manager *m = userdata;
    uint64_t next = MIN(MIN(m->tick_us, probe_next_us(m->probe)), evidence_next_us(m->evidence));
    int64_t http_ms = http_server_timeout_ms(m->server);

    (void)source;
    next = MIN(next, notify_next_us(m->notify));
    if (http_ms >= 0)
        next = MIN(next, clock_now().mono_us + (uint64_t)http_ms * USEC_PER_MSEC);
    if (next >= m->timer_us) /* it will fire in time, and then be set anew */
        return 0;
    m->timer_us = next;
    sd_event_source_set_time(m->timer, next);
    return sd_event_source_set_enabled(m->timer, SD_EVENT_ONESHOT);
}

static int on_nest(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    Manager *m = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    nest_dispatch(m->nest);
    return 0;
}

static int on_urgent(sd_event_source *source, void *userdata)
{
    (void)source;
    flush(userdata, clock_now());
    return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Manager *m = userdata;

    (void)source;
    (void)info;
    log_info("SIGHUP: reading the registry again");
    registry_watch_reload(m->watch);
    return 0;
}

/* ---- birth ---- */

static int make_token(const char *path, char **ret)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[TOKEN_BYTES];
    char text[TOKEN_BYTES * 2 + 2];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    for (size_t i = 0; i < TOKEN_BYTES; i++) {
        text[i * 2] = digits[random[i] >> 4];
        text[i * 2 + 1] = digits[random[i] & 15];
    }
    text[TOKEN_BYTES * 2] = '\n';
    text[TOKEN_BYTES * 2 + 1] = '\0';
    int r = paths_make_parents(path);
    if (r < 0)
        return r;
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0)
        return -errno;
    text[TOKEN_BYTES * 2] = '\0';
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

/* The token file must be ours and closed to all others: whoever can read it may act. */
static int load_token(const char *path, char **ret)
{
    char text[256];
    struct stat st;

    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return make_token(path, ret);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int r = -errno;
        log_error("%s: %s", path, strerror(-r));
        return r;
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
        log_error("%s: must be a file of your own with mode 0600: chmod 600 it, or delete it and a "
                  "new one is made",
                  path);
        return -EPERM;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    size_t len = n > 0 ? (size_t)n : 0;
    while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    text[len] = '\0';
    bool is_one_word = strlen(text) == len;
    for (size_t i = 0; i < len; i++)
        is_one_word = is_one_word && text[i] > ' ' && text[i] <= '~';
    if (len < 16 || !is_one_word) {
        log_error("%s: holds no token of at least 16 characters; delete it and a new one is made",
                  path);
        return -EINVAL;
    }
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

static int load_inputs(Manager *m, Registry **ret_registry)
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
    return load_token(m->options->token_path, &m->token);
}

static int open_store(Manager *m)
{
    char note[512] = "";
    const char *path = m->options->db_path;

    int r = paths_make_parents(path);
    if (r >= 0)
        r = store_open(path, m->config->retention_checks_days,
                       m->config->retention_transitions_days, note, sizeof note, &m->store);
    if (note[0])
        log_warning("%s", note);
    if (r < 0) {
        log_error("%s: the history cannot be opened: %s", path, strerror(-r));
        return r;
    }
    /* what it knew before: without it history merely begins anew */
    if (store_recall(path, clock_now().wall_ms, &m->recalls, &m->n_recalls) < 0)
        m->n_recalls = 0;
    if (m->n_recalls)
        qsort(m->recalls, m->n_recalls, sizeof *m->recalls, compare_recall);
    return history_new(path, m->nest, &m->history);
}

static void on_upgraded(void *userdata, int fd, const char *query, const void *extra,
                        size_t extra_len)
{
    Routes *r = userdata;

    stream_accept(r->stream, fd, query, extra, extra_len, clock_now());
}

static int open_server(Manager *m)
{
    const char *address = m->options->listen ? m->options->listen : m->config->listen;
    char why[256] = "";
    int fds[2];
    size_t n = 0;

    int r = http_listen(address, fds, &n, why, sizeof why);
    if (r < 0) {
        log_error("cannot listen on %s: %s", address, why[0] ? why : strerror(-r));
        return r;
    }
    HttpServerOptions options = {
        .routes = routes_table,
        .n_routes = routes_table_len,
        .rules = {.hosts = (const char *const *)m->config->hosts.items,
                  .n_hosts = m->config->hosts.n,
                  .origins = (const char *const *)m->config->origins.items,
                  .n_origins = m->config->origins.n},
        .token = m->token,
        .actions_enabled = false,
        .userdata = &m->routes,
        .upgraded = on_upgraded,
    };
    r = http_server_new(m->nest, fds, n, &options, &m->server);
    if (r < 0) {
        log_error("the HTTP server cannot be started: %s", strerror(-r));
        return r;
    }
    m->routes.server = m->server;
    log_info("listening on %s", address);
    return 0;
}

static int add_sources(Manager *m)
{
    static const int signals[] = {SIGTERM, SIGINT};
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = sd_event_new(&m->event);
    for (size_t i = 0; i < ELEMENTS(signals) && r >= 0; i++)
        r = sd_event_add_signal(m->event, NULL, signals[i], NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(m->event, NULL, SIGHUP, on_hangup, m);
    if (r >= 0)
        r = nest_new(&m->nest);
    if (r >= 0)
        r = sd_event_add_io(m->event, &m->nest_source, nest_fd(m->nest), EPOLLIN, on_nest, m);
    if (r >= 0)
        r = sd_event_add_time(m->event, &m->timer, CLOCK_BOOTTIME, UINT64_MAX, 1000, on_timer, m);
    if (r >= 0)
        r = sd_event_add_defer(m->event, &m->urgent, on_urgent, m);
    if (r >= 0)
        r = sd_event_source_set_enabled(m->urgent, SD_EVENT_OFF);
    sd_event_set_watchdog(m->event, true);
    return r < 0 ? r : 0;
}

static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int make_parts(Manager *m, uint32_t interval_ms)
{
    char features[64];
    Now now = clock_now();

    snprintf(features, sizeof features, "{\"actions\":%s,\"auto_fix\":%s}", "false", "false");
    int r = fleet_new(&fleet_ops, m, interval_ms, now.wall_ms / 1000, &m->fleet);
    if (r >= 0)
        r = stream_new(m->nest, &m->stream);
    if (r >= 0)
        r = publish_new(m->fleet, features, on_message, m, &m->publish);
    if (r >= 0)
        r = ssh_limiter_new(&m->limiter);
    if (r >= 0)
        r = probe_new(m->event, m->nest, m->fleet, make_transport, m, &m->probe);
    if (r >= 0)
        r = evidence_new(m->fleet, m->probe, on_evidence, m, &m->evidence);
    if (r >= 0)
        r = incidents_new(m->fleet, m->config->alert_after_s, m->config->reboot_grace_s,
                          on_incident, m, &m->incidents);
    if (r >= 0)
        r = notify_new(m->nest, m->config, m->store, NULL, now, &m->notify);
    if (r < 0)
        return r;
    recall_incidents(m, now);
    notify_recall(m->notify, m->options->db_path, now);
    publish_set_alerts(m->publish, routes_write_alerts, m->incidents);
    stream_set_publish(m->stream, m->publish);
    m->routes = (Routes){
        .fleet = m->fleet,
        .incidents = m->incidents,
        .publish = m->publish,
        .probe = m->probe,
        .store = m->store,
        .history = m->history,
        .stream = m->stream,
        .started = now,
    };
    return 0;
}

static int start(Manager *m)
{
    Registry *registry = NULL;
    RegistryError error = {""};

    raise_limits();
    int r = load_inputs(m, &registry);
    if (r >= 0)
        r = add_sources(m);
    if (r >= 0)
        r = open_store(m);
    if (r >= 0)
        r = make_parts(m,
                       m->options->interval_ms ? m->options->interval_ms : m->config->interval_ms);
    if (r >= 0)
        r = open_server(m);
    if (r < 0) {
        registry_free(registry);
        return r;
    }
    m->book_us = clock_now().mono_us + FIRST_BOOK_US;
    r = apply_registry(m, registry, &error);
    if (r < 0) {
        log_error("%s", error.text[0] ? error.text : strerror(-r));
        if (m->registry != registry)
            registry_free(registry);
        return r;
    }
    r = registry_watch_new(m->event, m->nest, m->options->registry_path, on_registry, m, &m->watch);
    if (r < 0)
        log_error("%s: cannot be watched for changes: %s", m->options->registry_path, strerror(-r));
    if (r >= 0)
        r = sd_event_source_set_prepare(m->nest_source, on_prepare);
    return r;
}

static void stop(Manager *m)
{
    if (m->fleet && m->store) {
        fleet_book(m->fleet, clock_now(), false);
        flush(m, clock_now());
    }
    if (m->stream)
        stream_close_all(m->stream, 1001, "the daemon stops");
    registry_watch_free(m->watch);
    evidence_free(m->evidence);
    incidents_free(m->incidents);
    notify_free(m->notify);
    probe_free(m->probe);
    ssh_limiter_free(m->limiter);
    http_server_free(m->server); /* tells the waiting requests that nobody waits any more */
    routes_done(&m->routes);
    stream_free(m->stream);
    history_free(m->history);
    publish_free(m->publish);
    fleet_free(m->fleet);
    store_close(m->store);
    sd_event_source_disable_unref(m->timer);
    sd_event_source_disable_unref(m->nest_source);
    sd_event_source_disable_unref(m->urgent);
    nest_free(m->nest);
    sd_event_unref(m->event);
    registry_free(m->registry);
    config_free(m->config);
    free(m->recalls);
    free(m->token);
}

int manager_run(const ManagerOptions *options)
{
    Manager m = {.options = options, .timer_us = UINT64_MAX};

    int r = start(&m);
    if (r >= 0) {
        sd_notifyf(0, "READY=1\nSTATUS=Watching %zu services on %zu PCs", fleet_n_services(m.fleet),
                   fleet_n_pcs(m.fleet));
        r = sd_event_loop(m.event);
        if (r < 0)
            log_error("the event loop ended: %s", strerror(-r));
        else
            log_info("stopping");
        sd_notify(0, "STOPPING=1");
    }
    stop(&m);
    return r;
}
