/* POST .../action and GET /api/audit.
 *
 * What can be judged from the head (flag, token, type of the body) has been judged before anything
 * here runs; the server tells of what it refused, so that it can be written down. Then, in this
 * order: the body to the letter, the rate of all callers together, the registry, and action.c.
 *
 * Whoever asks waits for the outcome for as long as a client is patient (REPLY_US). After that the
 * answer is 202, "still at work", with the id of the audit row in which the outcome will stand. A
 * failure is a problem document, never a 200: a script must not have to read the sentence. */
#include "api/routes-action.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define REPLY_US      (6U * USEC_PER_SEC)
#define WINDOW_US     (60U * USEC_PER_SEC)
#define PER_WINDOW    30U
#define AUDIT_ASKERS  16U
#define REPLY_MAX     (1U << 20)
#define SENTENCE_ROOM (SENTENCE_MAX + UNIT_MAX + ID_MAX + 64)

struct ActionWait {
    struct ActionWait *next;
    Routes *routes;
    HttpRequest *request; /* NULL: answered or gone */
    int64_t id;
    uint32_t handle;
    uint64_t deadline_us;
    char app_id[ID_MAX + 1], pc_id[ID_MAX + 1];
};

struct AuditWait {
    struct AuditWait *next;
    Routes *routes;
    HttpRequest *request; /* NULL: gone */
    uint64_t question;
};

/* ---- who asks ---- */

/* What a client says of itself is no proof of anything, but it is what people want to know. */
static ActionOrigin origin_of(const HttpRequest *request)
{
    static const struct {
        const char *agent;
        ActionOrigin origin;
    } agents[] = {{"services_api/", ORIGIN_CLI}, {"services_monitor/", ORIGIN_DESKTOP}};
    const char *agent = http_header(request, "User-Agent");

    for (size_t i = 0; agent && i < ELEMENTS(agents); i++)
        if (strncmp(agent, agents[i].agent, strlen(agents[i].agent)) == 0)
            return agents[i].origin;
    return ORIGIN_API;
}

static ActionAsk ask_of(HttpRequest *request, ActionVerb verb)
{
    static const char *const roles[] = {
        [ROLE_NOBODY] = "nobody", [ROLE_LOCAL] = "local", [ROLE_TOKEN] = "token"};

    return (ActionAsk){
        .verb = verb,
        .origin = origin_of(request),
        .role = roles[http_role(request)],
        .uid = http_caller_uid(request),
        .app_id = http_segment(request, 0),
        .pc_id = http_segment(request, 1),
    };
}

void routes_action_refused(void *userdata, HttpRequest *request, int status, const char *why)
{
    Routes *r = userdata;
    ActionAsk ask = ask_of(request, ACTION_VERB_INVALID);
    char reason[160];

    snprintf(reason, sizeof reason, "%d: %s", status, why);
    action_refuse(r->actions, &ask, reason, clock_now());
}

/* ---- what is asked ---- */

/* {"action":"restart"} and nothing else. */
static ActionVerb read_body(HttpRequest *request)
{
    size_t len;
    const char *body = http_body(request, &len);
    CLEANUP(json_freep) Json *j = json_parse(body, len);

    if (!json_is_object(j) || json_next(json_first(j)))
        return ACTION_VERB_INVALID;
    return action_verb_from_string(json_as_string(json_get(j, "action"), NULL));
}

/* Refuses and writes it down. */
static void refuse(Routes *r, HttpRequest *request, ActionVerb verb, int status, const char *title,
                   const char *detail)
{
    ActionAsk ask = ask_of(request, verb);

    action_refuse(r->actions, &ask, detail, clock_now());
    http_reply_problem(request, status, title, detail);
}

/* ---- what is answered ---- */

static void reply_result(const struct ActionWait *w, HttpRequest *request, int status,
                         const ActionResult *result)
{
    const Service *s = fleet_by_handle(w->routes->fleet, w->handle);
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(REPLY_MAX);
    ServiceRow row;

    if (s) {
        fleet_service_row(w->routes->fleet, s, clock_now(), &row);
        service_row_write(&b, &row);
        if (!buffer_error(&b))
            b.len--; /* its brace: more follows */
    } else {
        json_open_object(&b, NULL);
    }
    json_open_object(&b, "action");
    json_int(&b, "id", result->id);
    json_string(&b, "action", action_verb_to_string(result->verb));
    json_string(&b, "unit", result->unit);
    json_string(&b, "outcome", action_outcome_to_string(result->outcome));
    json_string(&b, "sentence", result->sentence[0] ? result->sentence : NULL);
    json_time(&b, "requested_ts", result->ts_ms);
    json_time(&b, "ended_ts", result->ended_ms);
    json_close_object(&b);
    json_close_object(&b);
    if (buffer_error(&b))
        http_reply_problem(request, 500, "Out of memory", "the reply could not be built");
    else
        http_reply_json(request, status, b.data, b.len);
}

static void reply_failure(const struct ActionWait *w, HttpRequest *request,
                          const ActionResult *result)
{
    char detail[SENTENCE_ROOM];
    bool failed = result->outcome == ACTION_FAILED, refused = result->outcome == ACTION_REFUSED;

    snprintf(detail, sizeof detail, "%s of %s on %s %s: %s", action_verb_to_string(result->verb),
             result->unit, w->pc_id,
             failed    ? "failed"
             : refused ? "was not done"
                       : "has an unknown outcome",
             result->sentence);
    http_reply_problem(request,
                       failed    ? 502
                       : refused ? 503
                                 : 504,
                       failed    ? "The action failed"
                       : refused ? "The action was not done"
                                 : "The outcome is not known",
                       detail);
}

static void free_answered(Routes *r)
{
    for (struct ActionWait **at = &r->action_waits; *at;) {
        struct ActionWait *w = *at;
        if (w->request) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w);
    }
}

static void on_done(void *userdata, const ActionResult *result)
{
    struct ActionWait *w = userdata;
    HttpRequest *request = TAKE_PTR(w->request);
    Service *s = fleet_by_handle(w->routes->fleet, w->handle);

    if (s) /* its port and health look different now */
        probe_check_now(w->routes->probe, s, clock_now());
    if (request && result->outcome == ACTION_DONE)
        reply_result(w, request, 200, result);
    else if (request && result->outcome == ACTION_REQUESTED)
        reply_result(w, request, 202, result);
    else if (request)
        reply_failure(w, request, result);
    free_answered(w->routes);
}

static void on_gone(void *userdata)
{
    struct ActionWait *w = userdata;

    w->request = NULL;
    action_forget(w->routes->actions, w->id);
    free_answered(w->routes);
}

void routes_action_tick(Routes *r, Now now)
{
    ActionResult result;

    for (struct ActionWait *w = r->action_waits; w; w = w->next) {
        if (w->deadline_us > now.mono_us || !action_look(r->actions, w->id, &result))
            continue;
        action_forget(r->actions, w->id);
        if (!result.sentence[0])
            text_copy(result.sentence, sizeof result.sentence,
                      "systemd is still at work; the outcome will stand in GET /api/audit");
        reply_result(w, TAKE_PTR(w->request), 202, &result);
    }
    free_answered(r);
}

/* ---- POST .../action ---- */

static int refusal_status(ActionRefusal refusal)
{
    switch (refusal) {
    case REFUSAL_UNREACHABLE:
    case REFUSAL_NO_MEMORY: return 503;
    default: return 409;
    }
}

static void start(Routes *r, HttpRequest *request, Service *s, ActionVerb verb, Now now)
{
    ActionAsk ask = ask_of(request, verb);
    struct ActionWait *w = calloc(1, sizeof *w);
    ActionResult result;

    if (!w) {
        http_reply_problem(request, 503, "Out of memory", "there is no memory for it");
        return;
    }
    w->routes = r;
    w->handle = s->handle;
    w->deadline_us = now.mono_us + REPLY_US;
    text_copy(w->app_id, sizeof w->app_id, s->want.app_id);
    text_copy(w->pc_id, sizeof w->pc_id, s->pc->pc_id);
    if (!action_ask(r->actions, &ask, s, on_done, w, now, &result)) {
        free(w);
        http_reply_problem(request, refusal_status(result.refusal), "Not possible",
                           result.sentence);
        return;
    }
    if (verb == ACTION_STOP)
        auto_fix_stopped(r->auto_fix_set, s);
    w->id = result.id;
    w->request = request;
    w->next = r->action_waits;
    r->action_waits = w;
    http_suspend(request, on_gone, w);
}

void routes_post_action(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    Now now = clock_now();
    ActionVerb verb = read_body(request);

    if (!r->actions_enabled) { /* switched off while the body was on its way */
        http_reply_problem(request, 403, "Forbidden",
                           "Actions are switched off (features.actions in config.yaml).");
        return;
    }
    if (verb == ACTION_VERB_INVALID) {
        refuse(r, request, verb, 400, "Bad request",
               "the body is {\"action\":\"start\"}, \"stop\" or \"restart\", and nothing else");
        return;
    }
    if (!rate_take(&r->actions_rate, WINDOW_US, PER_WINDOW, now)) {
        refuse(r, request, verb, 429, "Too many actions", "at most 30 within a minute");
        return;
    }
    Service *s = fleet_service(r->fleet, http_segment(request, 0), http_segment(request, 1));
    if (!s) {
        refuse(r, request, verb, 404, "Not found",
               "the registry has no such app on such a PC; GET /api/services lists them");
        return;
    }
    start(r, request, s, verb, now);
}

/* ---- GET /api/audit ---- */

static void audit_unlink(struct AuditWait *w)
{
    for (struct AuditWait **at = &w->routes->audit_waits; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    w->routes->n_audit_waits--;
    free(w);
}

static void on_audit(void *userdata, int error, const char *json, size_t len)
{
    struct AuditWait *w = userdata;
    HttpRequest *request = w->request;

    audit_unlink(w);
    if (error < 0)
        http_reply_problem(request, 503, "History is not available",
                           "the audit could not be read; see the daemon's log");
    else
        http_reply_json(request, 200, json, len);
}

static void on_audit_gone(void *userdata)
{
    struct AuditWait *w = userdata;

    history_cancel(w->routes->history, w->question);
    audit_unlink(w);
}

void routes_get_audit(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    int error = 0;
    HistoryQuestion question = {
        .kind = HISTORY_AUDIT,
        .limit = (uint32_t)http_query_int(request, "limit", 1, 10000, 100, &error),
        .id = http_query_int(request, "id", 1, INT64_MAX / 2, 0, &error),
        .now_ms = clock_now().wall_ms,
    };

    if (error < 0) {
        http_reply_problem(request, 400, "Bad query", "limit: 1-10000; id: of one row");
        return;
    }
    struct AuditWait *w = r->n_audit_waits < AUDIT_ASKERS ? calloc(1, sizeof *w) : NULL;
    if (!w || history_ask(r->history, &question, on_audit, w, &w->question) < 0) {
        free(w);
        http_reply_problem(request, 503, "Busy", "too many requests are waiting, try again later");
        return;
    }
    w->routes = r;
    w->request = request;
    w->next = r->audit_waits;
    r->audit_waits = w;
    r->n_audit_waits++;
    http_suspend(request, on_audit_gone, w);
}

void routes_action_done(Routes *r)
{
    while (r->action_waits) {
        struct ActionWait *w = r->action_waits;
        r->action_waits = w->next;
        action_forget(r->actions, w->id);
        free(w);
    }
    while (r->audit_waits)
        on_audit_gone(r->audit_waits);
}
