/* The composition root.
 *
 * One sd_event loop with few sources: the nested epoll (all sockets), one timer that is re-armed
 * before each sleep with the nearest wish of all parts, the buses, signals. When an event changed
 * something visible, a deferred source lets the delta leave right then; all other news waits for
 * the tick each second.
 *
 * Order of birth: registry and config are checked before any port is opened, the store before the
 * first fact, the server last. Order of death is the reverse. What may change while we run, the
 * inputs, is in manager-reload.c. */
#include "api/manager.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "api/manager-private.h"
#include "api/paths.h"
#include "api/routes-action.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define TICK_US       USEC_PER_SEC
#define BOOK_US       (60U * USEC_PER_SEC)
#define FIRST_BOOK_US (3U * USEC_PER_SEC)  /* so that the next life knows early who was well */
#define GAP_US        (15U * USEC_PER_SEC) /* a tick this late: we slept, or were stopped */

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
    if (s)
        auto_fix_removed(s);
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

static void on_booted(void *userdata, FleetPc *pc, bool again)
{
    Manager *m = userdata;

    Now now = clock_now();
    StoreBoot row = {.ts_ms = now.wall_ms};

    text_copy(row.pc_id, sizeof row.pc_id, pc->pc_id);
    text_copy(row.boot_id, sizeof row.boot_id, pc->boot_id);
    store_add_boot(m->store, &row);
    if (again)
        incidents_rebooted(m->incidents, pc, now);
}

static void recall_boot(Manager *m, FleetPc *pc)
{
    for (size_t i = 0; i < m->n_boots; i++) {
        if (strcmp(m->boots[i].pc_id, pc->pc_id) == 0) {
            fleet_pc_recall_boot(pc, m->boots[i].boot_id);
            m->boots[i].boot_id[0] = '\0';
        }
    }
}

static void on_added(void *userdata, FleetPc *pc, Service *s)
{
    Manager *m = userdata;

    if (s) {
        store_add_service(m->store, s->handle, s->want.app_id, pc->pc_id);
        recall(m, s);
    } else {
        recall_boot(m, pc);
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
    .booted = on_booted,
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
        .held = i->held,
        .acked_ms = i->acked_ms,
    };
    text_copy(kept.acked_by, sizeof kept.acked_by, i->acked_by);
    text_copy(kept.ack_comment, sizeof kept.ack_comment, i->ack_comment);
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
            .held = rows[k].held,
            .acked_ms = rows[k].acked_ms,
        };
        if (i.kind == INCIDENT_KIND_INVALID || i.state == INCIDENT_STATE_INVALID)
            continue;
        text_copy(i.app_id, sizeof i.app_id, rows[k].app_id);
        text_copy(i.pc_id, sizeof i.pc_id, rows[k].pc_id);
        text_copy(i.sentence, sizeof i.sentence, rows[k].sentence);
        text_copy(i.acked_by, sizeof i.acked_by, rows[k].acked_by);
        text_copy(i.ack_comment, sizeof i.ack_comment, rows[k].ack_comment);
        if (incidents_recall(m->incidents, &i) >= 0 && i.state == INCIDENT_OPEN)
            notify_was_open(m->notify, i.id, i.held);
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
    manager_cover(m, false, now);
    incidents_scan(m->incidents, now);
    notify_tick(m->notify, now);
    stream_tick(m->stream, now);
    auto_fix_scan(m->auto_fix, now);
    routes_tick(&m->routes, now);
    routes_action_tick(&m->routes, now);
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
    if (now.mono_us >= actions_next_us(m->actions))
        actions_run(m->actions, now);
    if (now.mono_us >= notify_next_us(m->notify))
        notify_run(m->notify, now);
    if (http_server_timeout_ms(m->server) == 0)
        http_server_run(m->server);
    return 0;
}

/* The time that one handler took: the loop's clock stands still from the wake-up on. */
static void note_turn(Manager *m)
{
    uint64_t woke_us, now_us = clock_now().mono_us;

    if (sd_event_now(m->event, CLOCK_BOOTTIME, &woke_us) == 0 && now_us > woke_us)
        metrics_note_turn(&m->routes.metrics, now_us - woke_us, now_us);
}

/* Before each sleep: one timer for the nearest wish of all parts. */
static int on_prepare(sd_event_source *source, void *userdata)
{
    Manager *m = userdata;
    uint64_t next = MIN(MIN(m->tick_us, probe_next_us(m->probe)), evidence_next_us(m->evidence));
    int64_t http_ms = http_server_timeout_ms(m->server);

    (void)source;
    note_turn(m);
    next = MIN(MIN(next, notify_next_us(m->notify)), actions_next_us(m->actions));
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

/* ---- birth ---- */

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
    if (store_recall_boots(path, &m->boots, &m->n_boots) < 0)
        m->n_boots = 0;
    if (m->n_recalls)
        qsort(m->recalls, m->n_recalls, sizeof *m->recalls, compare_recall);
    return history_new(path, m->nest, &m->history);
}

static void on_upgraded(void *userdata, int fd, GateRole role, const char *query, const void *extra,
                        size_t extra_len)
{
    Routes *r = userdata;

    stream_accept(r->stream, fd, role == ROLE_TOKEN, query, extra, extra_len, clock_now());
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
        .rules = manager_gate_rules(m),
        .token = m->token,
        .actions_enabled = m->config->feature_actions,
        .userdata = &m->routes,
        .upgraded = on_upgraded,
        .refused = routes_action_refused,
    };
    r = http_server_new(m->nest, fds, n, &options, &m->server);
    if (r < 0) {
        log_error("the HTTP server cannot be started: %s", strerror(-r));
        return r;
    }
    m->routes.server = m->server;
    log_info("listening on %s", address);
    if (!http_is_loopback(address))
        log_warning(
            "%s is open to other PCs: they need the token, which plain HTTP shows to whoever "
            "can listen in between, and a Host of 'hosts' in config.yaml (%zu there)",
            address, m->config->hosts.n);
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

    manager_write_features(m, features, sizeof features);
    int r = fleet_new(&fleet_ops, m, interval_ms, now.wall_ms / 1000, &m->fleet);
    if (r >= 0)
        fleet_ids_after(m->fleet, now.wall_ms, store_recall_last_id(m->options->db_path));
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
    if (r >= 0)
        r = manager_make_actions(m);
    if (r >= 0)
        r = manager_recall_silences(m, now);
    if (r < 0)
        return r;
    recall_incidents(m, now);
    notify_recall(m->notify, m->options->db_path, now);
    publish_set_alerts(m->publish, routes_write_alerts, m->incidents);
    stream_set_publish(m->stream, m->publish);
    m->routes = (Routes){
        .fleet = m->fleet,
        .silences = m->silences,
        .incidents = m->incidents,
        .publish = m->publish,
        .probe = m->probe,
        .store = m->store,
        .history = m->history,
        .stream = m->stream,
        .notify = m->notify,
        .actions = m->actions,
        .auto_fix_set = m->auto_fix,
        .actions_enabled = m->config->feature_actions,
        .auto_fix = m->config->auto_fix,
        .config = {.loaded_ms = now.wall_ms},
        .started = now,
    };
    return 0;
}

static int start(Manager *m)
{
    Registry *registry = NULL;
    RegistryError error = {""};

    raise_limits();
    int r = manager_load_inputs(m, &registry);
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
    r = manager_apply_registry(m, registry, &error);
    if (r < 0) {
        log_error("%s", error.text[0] ? error.text : strerror(-r));
        if (m->registry != registry)
            registry_free(registry);
        return r;
    }
    manager_recall_actions(m);
    r = manager_watch_inputs(m);
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
    manager_unwatch_inputs(m);
    evidence_free(m->evidence);
    incidents_free(m->incidents);
    notify_free(m->notify);
    probe_free(m->probe);
    ssh_limiter_free(m->limiter);
    http_server_free(m->server); /* tells the waiting requests that nobody waits any more */
    routes_action_done(&m->routes);
    routes_done(&m->routes);
    actions_free(m->actions);
    stream_free(m->stream);
    history_free(m->history);
    publish_free(m->publish);
    auto_fix_free(m->auto_fix);
    fleet_free(m->fleet);
    silences_free(m->silences);
    store_close(m->store);
    sd_event_source_disable_unref(m->timer);
    sd_event_source_disable_unref(m->nest_source);
    sd_event_source_disable_unref(m->urgent);
    nest_free(m->nest);
    sd_event_unref(m->event);
    registry_free(m->registry);
    config_free(m->config);
    free(m->recalls);
    free(m->boots);
    explicit_bzero(m->token, sizeof m->token);
}

int manager_run(const ManagerOptions *options)
{
    Manager m = {.options = options, .timer_us = UINT64_MAX, .inputs = {.loader = LOADER_INIT}};

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
