/* The REST routes.
 *
 * What the loop knows is answered at once, from bodies that publish caches per state version. What
 * must be asked elsewhere (history on its thread, a journal, a fresh look) suspends the request: a
 * ServiceRequest waits until all its parts are there or its deadline has come. It stays in the list
 * until the last part has reported back, also when the client is long gone, because a part cannot
 * be told to forget us. */
#include "api/routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/journal.h"
#include "api/routes-action.h"
#include "api/routes-silence.h"
#include "basic/macro.h"

#define JOURNAL_WAIT_MS   2000U
#define CHECK_WAIT_US     (5U * USEC_PER_SEC)  /* beyond the service's own timeout */
#define CHECK_WINDOW_US   (10U * USEC_PER_SEC) /* at most CHECKS_PER_WINDOW "check now" in it */
#define CHECKS_PER_WINDOW 100U
#define REPLY_MAX         (32U << 20)
#define PENDING_MAX       256U

typedef struct ServiceRequest ServiceRequest;

struct ServiceRequest {
    Routes *routes;
    HttpRequest *request; /* NULL once answered or gone */
    uint32_t handle;
    bool is_check;
    unsigned parts; /* that still have to report back */
    uint64_t deadline_us;
    Buffer history; /* members of the reply, ready-made: without the braces */
    Buffer journal; /* array */
    const char *journal_error;
    ServiceRequest *next;
};

/* ---- waiting requests ---- */

static void on_gone(void *userdata)
{
    ServiceRequest *q = userdata;

    q->request = NULL;
}

static ServiceRequest *pending_new(Routes *r, HttpRequest *request, uint32_t handle)
{
    size_t n = 0;

    for (ServiceRequest *q = r->pending; q; q = q->next)
        n++;
    ServiceRequest *q = n < PENDING_MAX ? calloc(1, sizeof *q) : NULL;
    if (!q) {
        http_reply_problem(request, 503, "Busy", "too many requests are waiting, try again later");
        return NULL;
    }
    q->routes = r;
    q->request = request;
    q->handle = handle;
    q->history = BUFFER_INIT(REPLY_MAX);
    q->journal = BUFFER_INIT(REPLY_MAX);
    q->next = r->pending;
    r->pending = q;
    http_suspend(request, on_gone, q);
    return q;
}

static void pending_free(ServiceRequest *q)
{
    buffer_done(&q->history);
    buffer_done(&q->journal);
    free(q);
}

/* Frees what was answered (or left by its client) and has no part outstanding. */
static void sweep(Routes *r)
{
    for (ServiceRequest **at = &r->pending; *at;) {
        ServiceRequest *q = *at;
        if (q->request || q->parts) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        pending_free(q);
    }
}

void routes_done(Routes *r)
{
    metrics_done(&r->metrics);
    while (r->pending) {
        ServiceRequest *q = r->pending;
        r->pending = q->next;
        pending_free(q);
    }
}

/* ---- one service ---- */

static void write_unit(Buffer *b, const Service *s)
{
    const UnitFacts *u = &s->facts.unit;
    char hex[33];

    for (size_t i = 0; i < 16; i++)
        snprintf(hex + i * 2, 3, "%02x", u->invocation[i]);
    json_open_object(b, "unit");
    json_string(b, "name", s->want.unit);
    json_string(b, "scope", unit_scope_to_string(s->want.scope));
    json_string(b, "load", load_state_to_string(u->load));
    json_string(b, "active", active_state_to_string(u->active));
    json_string(b, "sub", u->sub);
    json_string(b, "result", u->result);
    json_int(b, "main_pid", u->main_pid);
    json_int(b, "n_restarts", u->n_restarts);
    json_int(b, "exec_code", u->exec_code);
    json_int(b, "exec_status", u->exec_status);
    json_string(b, "invocation", hex);
    json_string(b, "file_state", u->file_state);
    json_time(b, "active_enter_ts", u->active_enter_ms);
    json_time(b, "inactive_enter_ts", u->inactive_enter_ms);
    json_time(b, "state_change_ts", u->state_change_ms);
    json_close_object(b);
}

static void write_port(Buffer *b, const Service *s)
{
    static const char *const owners[] = {"unknown", "self", "foreign"};
    const PortFacts *p = &s->facts.port;

    json_open_object(b, "port");
    json_int(b, "number", s->want.port);
    if (p->looked)
        json_bool(b, "listening", p->listening);
    else
        json_null(b, "listening");
    json_string(b, "owner", owners[p->owner]);
    json_int(b, "owner_pid", p->owner_pid);
    json_string(b, "owner_name", p->owner_name);
    json_int(b, "queue", p->queue);
    json_int(b, "backlog", p->backlog);
    json_close_object(b);
}

static void write_facts(Buffer *b, const Service *s)
{
    const HttpFacts *h = &s->facts.http;

    json_open_object(b, "facts");
    if (s->want.unit)
        write_unit(b, s);
    if (s->want.port)
        write_port(b, s);
    if (s->want.health) {
        json_open_object(b, "health");
        json_string(b, "endpoint", s->want.health);
        json_int(b, "timeout_ms", s->want.timeout_ms);
        json_int(b, "misses", h->misses);
        json_close_object(b);
    }
    json_close_object(b);
}

/* The row's own members, without the closing brace, so that more can follow. */
static void open_row(Buffer *b, const Routes *r, const Service *s)
{
    ServiceRow row;

    fleet_service_row(r->fleet, s, clock_now(), &row);
    service_row_write(b, &row);
    if (!buffer_error(b) && b->len)
        b->len--;
}

static void finish_detail(ServiceRequest *q)
{
    Service *s = fleet_by_handle(q->routes->fleet, q->handle);
    HttpRequest *request = TAKE_PTR(q->request);
    Buffer b = BUFFER_INIT(REPLY_MAX);

    if (!s) {
        http_reply_problem(request, 404, "Not found", "the service has just left the registry");
        return;
    }
    open_row(&b, q->routes, s);
    write_facts(&b, s);
    if (q->history.len > 2) {
        buffer_char(&b, ',');
        buffer_append(&b, q->history.data + 1, q->history.len - 2);
    }
    if (q->journal.len)
        json_raw(&b, "journal", q->journal.data, q->journal.len);
    else if (q->journal_error)
        json_string(&b, "journal_error", q->journal_error);
    json_close_object(&b);
    http_reply_buffer(request, 200, &b);
}

static void part_ended(ServiceRequest *q)
{
    q->parts--;
    if (q->parts == 0 && q->request)
        finish_detail(q);
}

static void on_history(void *userdata, int error, const char *json, size_t len)
{
    ServiceRequest *q = userdata;

    if (error >= 0 && json)
        buffer_append(&q->history, json, len);
    part_ended(q);
}

static void on_journal(void *userdata, int error, const char *output, size_t len)
{
    ServiceRequest *q = userdata;

    if (error < 0) {
        q->journal_error = error == -ETIMEDOUT ? "the journal did not answer within 2 s"
                                               : "the journal could not be read";
    } else {
        journal_to_json(output, len, &q->journal);
    }
    part_ended(q);
}

static void ask_journal(ServiceRequest *q, const Service *s, uint32_t lines)
{
    char input[512];
    JournalQuestion question = {.scope = s->want.scope, .unit = s->want.unit, .lines = lines};

    if (!s->want.unit) {
        q->journal_error = "this app has no unit, hence no journal";
        return;
    }
    if (journal_input(&question, input, sizeof input) < 0) {
        q->journal_error = "the journal cannot be asked for this unit";
        return;
    }
    q->parts++;
    int r = probe_run_command(q->routes->probe, s->pc, COMMAND_JOURNAL, input, JOURNAL_WAIT_MS,
                              on_journal, q);
    if (r < 0) {
        q->parts--;
        q->journal_error =
            r == -ENOTCONN ? "the PC is not reachable" : "the journal cannot be asked";
    }
}

static Service *find_service(Routes *r, HttpRequest *request)
{
    Service *s = fleet_service(r->fleet, http_segment(request, 0), http_segment(request, 1));

    if (!s)
        http_reply_problem(
            request, 404, "Not found",
            "the registry has no such app on such a PC; GET /api/services lists them");
    return s;
}

static void get_service(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    int error = 0;
    HistoryQuestion question = {
        .kind = HISTORY_SERVICE,
        .transitions = (uint32_t)http_query_int(request, "transitions", 0, 10000, 50, &error),
        .hours = (uint32_t)http_query_int(request, "hours", 0, 8784, 168, &error),
        .points = (uint32_t)http_query_int(request, "points", 0, 2000, 200, &error),
        .now_ms = clock_now().wall_ms,
    };
    uint32_t lines = (uint32_t)http_query_int(request, "journal", 0, JOURNAL_LINES_MAX, 50, &error);

    if (error < 0) {
        http_reply_problem(request, 400, "Bad query",
                           "transitions 0-10000, hours 0-8784, points 0-2000, journal 0-1000");
        return;
    }
    Service *s = find_service(r, request);
    ServiceRequest *q = s ? pending_new(r, request, s->handle) : NULL;
    if (!q)
        return;
    snprintf(question.app_id, sizeof question.app_id, "%s", s->want.app_id);
    snprintf(question.pc_id, sizeof question.pc_id, "%s", s->pc->pc_id);
    q->deadline_us = UINT64_MAX; /* both parts have deadlines of their own */
    q->parts = 1;
    q->parts++;
    if (history_ask(r->history, &question, on_history, q, NULL) < 0)
        q->parts--;
    if (lines)
        ask_journal(q, s, lines);
    part_ended(q);
    sweep(r);
}

static void reply_row(Routes *r, HttpRequest *request, const Service *s)
{
    Buffer b = BUFFER_INIT(REPLY_MAX);

    open_row(&b, r, s);
    json_close_object(&b);
    http_reply_buffer(request, 200, &b);
}

bool rate_take(Rate *rate, uint64_t length_us, uint32_t max, Now now)
{
    if (now.mono_us >= rate->window_us + length_us)
        *rate = (Rate){.window_us = now.mono_us};
    return rate->n++ < max;
}

static void post_check(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    Now now = clock_now();
    Service *s = find_service(r, request);

    if (!s)
        return;
    if (!rate_take(&r->checks, CHECK_WINDOW_US, CHECKS_PER_WINDOW, now)) {
        http_reply_problem(request, 429, "Too many checks", "at most 100 in 10 s");
        return;
    }
    ServiceRequest *q = pending_new(r, request, s->handle);
    if (!q)
        return;
    q->is_check = true;
    q->deadline_us = now.mono_us + s->want.timeout_ms * USEC_PER_MSEC + CHECK_WAIT_US;
    probe_check_now(r->probe, s, now);
    sweep(r);
}

void routes_checked(Routes *r, const Service *s, Now now)
{
    (void)now;
    for (ServiceRequest *q = r->pending; q; q = q->next)
        if (q->is_check && q->request && q->handle == s->handle)
            reply_row(r, TAKE_PTR(q->request), s);
}

void routes_tick(Routes *r, Now now)
{
    for (ServiceRequest *q = r->pending; q; q = q->next) {
        if (!q->request || q->deadline_us > now.mono_us)
            continue;
        Service *s = fleet_by_handle(r->fleet, q->handle);
        HttpRequest *request = TAKE_PTR(q->request);
        if (s) /* nothing new could be learned: the row says so by its last_check_ts */
            reply_row(r, request, s);
        else
            http_reply_problem(request, 404, "Not found", "the service has just left the registry");
    }
    sweep(r);
}

/* ---- lists ---- */

static void get_services(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    size_t len;
    const char *json = publish_services(r->publish, &len);

    if (json)
        http_reply_cached(request, json, len, fleet_version(r->fleet));
    else
        http_reply_problem(request, 500, "Out of memory", "the list could not be built");
}

static void get_pcs(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    size_t len;
    const char *json = publish_pcs(r->publish, &len);

    if (json)
        http_reply_cached(request, json, len, fleet_version(r->fleet));
    else
        http_reply_problem(request, 500, "Out of memory", "the list could not be built");
}

void routes_write_alerts(void *userdata, Buffer *out)
{
    const Incidents *x = userdata;

    for (const Incident *i = incidents_first(x); i; i = i->next)
        incident_write(out, x, i);
}

static void get_alerts(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    Buffer b = BUFFER_INIT(REPLY_MAX);

    json_open_array(&b, NULL);
    routes_write_alerts(r->incidents, &b);
    json_close_array(&b);
    http_reply_buffer(request, 200, &b);
}

static void on_transitions(void *userdata, int error, const char *json, size_t len)
{
    ServiceRequest *q = userdata;

    q->parts--;
    if (!q->request)
        return;
    HttpRequest *request = TAKE_PTR(q->request);
    if (error < 0)
        http_reply_problem(request, 503, "History is not available",
                           error == -ETIMEDOUT
                               ? "the question took longer than 2 s; ask for less"
                               : "the database could not be read; see the daemon's log");
    else
        http_reply_json(request, 200, json, len);
}

static void get_transitions(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    int error = 0;
    HistoryQuestion question = {
        .kind = HISTORY_TRANSITIONS,
        .since_ms = http_query_int(request, "since", 0, INT64_MAX / 2, 0, &error),
        .limit = (uint32_t)http_query_int(request, "limit", 1, 10000, 100, &error),
        .now_ms = clock_now().wall_ms,
    };

    if (error < 0) {
        http_reply_problem(request, 400, "Bad query", "since: Unix ms; limit: 1-10000");
        return;
    }
    ServiceRequest *q = pending_new(r, request, 0);
    if (!q)
        return;
    q->deadline_us = UINT64_MAX;
    q->parts = 1;
    int e = history_ask(r->history, &question, on_transitions, q, NULL);
    if (e < 0)
        on_transitions(q, e, NULL, 0);
    sweep(r);
}

/* ---- our own health ---- */

static void write_store(Buffer *b, const Routes *r)
{
    StoreStats stats = {0};

    store_stats(r->store, &stats);
    json_open_object(b, "store");
    json_int(b, "rows_written", (int64_t)stats.rows_written);
    json_int(b, "queue_bytes", (int64_t)stats.queue_bytes);
    json_int(b, "dropped_checks", (int64_t)stats.dropped_checks);
    json_time(b, "last_commit_ts", stats.last_commit_ms);
    json_string(b, "error", stats.error[0] ? stats.error : NULL);
    json_close_object(b);
}

static void write_config(Buffer *b, const ConfigStatus *c)
{
    json_open_object(b, "config");
    json_time(b, "loaded_ts", c->loaded_ms);
    json_string(b, "error", c->error[0] ? c->error : NULL);
    json_open_array(b, "needs_restart");
    if (c->listen_waits)
        json_string(b, NULL, "listen");
    if (c->self_waits)
        json_string(b, NULL, "self");
    json_close_array(b);
    json_close_object(b);
}

static void get_health(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    Now now = clock_now();
    Buffer b = BUFFER_INIT(REPLY_MAX);

    json_open_object(&b, NULL);
    json_string(&b, "status", "ok");
    json_string(&b, "version", SERVICES_MONITOR_VERSION);
    json_int(&b, "uptime_s", (int64_t)((now.mono_us - r->started.mono_us) / USEC_PER_SEC));
    json_string(&b, "stream", publish_stream(r->publish));
    json_int(&b, "seq", (int64_t)publish_seq(r->publish));
    json_int(&b, "pcs", (int64_t)fleet_n_pcs(r->fleet));
    json_int(&b, "services", (int64_t)fleet_n_services(r->fleet));
    json_int(&b, "interval_ms", fleet_interval_ms(r->fleet));
    json_int(&b, "clients", (int64_t)stream_clients(r->stream));
    json_open_object(&b, "features");
    json_bool(&b, "actions", r->actions_enabled);
    json_bool(&b, "auto_fix", r->auto_fix);
    json_close_object(&b);
    write_store(&b, r);
    json_open_object(&b, "registry");
    json_time(&b, "loaded_ts", r->registry_loaded_ms);
    json_string(&b, "error", r->registry_error[0] ? r->registry_error : NULL);
    json_close_object(&b);
    write_config(&b, &r->config);
    json_close_object(&b);
    http_reply_buffer(request, 200, &b);
}

static void get_metrics(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    size_t len;
    const char *text =
        metrics_body(&r->metrics, r->fleet, r->store, r->stream, r->notify, clock_now(), &len);

    if (text)
        http_reply_text(request, 200, METRICS_CONTENT_TYPE, text, len);
    else
        http_reply_problem(request, 500, "Out of memory", "the metrics could not be built");
}

const HttpRoute routes_table[] = {
    HTTP_ROUTE("GET", "/api/services", NEED_READ, get_services, false),
    HTTP_ROUTE("GET", "/api/services/*/*", NEED_READ, get_service, false),
    HTTP_ROUTE("POST", "/api/services/*/*/check", NEED_CHECK, post_check, false),
    HTTP_ROUTE("POST", "/api/services/*/*/action", NEED_ACTION, routes_post_action, false),
    HTTP_ROUTE("GET", "/api/pcs", NEED_READ, get_pcs, false),
    HTTP_ROUTE("GET", "/api/alerts", NEED_READ, get_alerts, false),
    HTTP_ROUTE("POST", "/api/alerts/*/ack", NEED_CHECK, routes_post_ack, false),
    HTTP_ROUTE("GET", "/api/silences", NEED_READ, routes_get_silences, false),
    HTTP_ROUTE("POST", "/api/silences", NEED_CHECK, routes_post_silence, false),
    HTTP_ROUTE("DELETE", "/api/silences/*", NEED_CHECK, routes_delete_silence, false),
    HTTP_ROUTE("GET", "/api/transitions", NEED_READ, get_transitions, false),
    HTTP_ROUTE("GET", "/api/audit", NEED_READ, routes_get_audit, false),
    HTTP_ROUTE("GET", "/api/health", NEED_READ, get_health, false),
    HTTP_ROUTE("GET", "/metrics", NEED_READ, get_metrics, false),
    HTTP_ROUTE("GET", "/api/ws/services", NEED_READ, NULL, true),
};
const size_t routes_table_len = ELEMENTS(routes_table);
