/* Acknowledge, silence, maintenance over HTTP.
 *
 * They change what people are told, not what runs on any PC, so they need what "check now" needs:
 * the owner of this daemon, or the token. Who it was is written down as "local" (the owner, or
 * root) or "token": nothing else about the caller was checked.
 *
 * What a body names must be in the registry: a silence with a slip in its name would keep nothing
 * back and look as if it did. A change is in force and on its way to the disk before the answer. */
#include "api/routes-silence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define WINDOW_US       (10U * USEC_PER_SEC)
#define WINDOW_CHANGES  100U
#define REPLY_MAX_BYTES (1U << 20) /* SILENCES_MAX of some 700 bytes */

static bool may_change(Routes *r, HttpRequest *request, Now now)
{
    if (rate_take(&r->silence_changes, WINDOW_US, WINDOW_CHANGES, now))
        return true;
    http_reply_problem(request, 429, "Too many changes", "at most 100 in 10 s");
    return false;
}

/* Our own command line brings the token too: it is "local" all the same. */
static const char *by_whom(HttpRequest *request)
{
    int64_t uid = http_caller_uid(request);

    return uid == 0 || uid == (int64_t)getuid() ? "local" : "token";
}

/* The id in the path; 0: it is none, and the request was answered. */
static int64_t id_of(HttpRequest *request, const char *what)
{
    const char *text = http_segment(request, 0);
    char *end;

    errno = 0;
    long long id = strtoll(text, &end, 10);
    if (!errno && id > 0 && !*end && text[0] >= '1' && text[0] <= '9')
        return id;
    http_reply_problem(request, 404, "Not found", what);
    return 0;
}

static Json *body_of(HttpRequest *request)
{
    size_t len;
    const char *text = http_body(request, &len);
    Json *j = text ? json_parse(text, len) : NULL;

    return json_is_object(j) ? j : json_free(j);
}

/* A text of the body into ret; absent or null: "". False: not a text, or too long. */
static bool take_text(const Json *body, const char *key, char *ret, size_t size)
{
    const Json *j = json_get(body, key);
    const char *text = json_as_string(j, NULL);

    if (json_is_null(j)) {
        ret[0] = '\0';
        return true;
    }
    if (!text || strlen(text) >= size)
        return false;
    text_clean(ret, size, text, strlen(text));
    return true;
}

/* ---- acknowledge ---- */

void routes_post_ack(void *userdata, HttpRequest *request)
{
    static const char none[] = "no alert that is open or pending has this id";
    Routes *r = userdata;
    Now now = clock_now();
    char comment[COMMENT_MAX + 1];
    int64_t id = id_of(request, none);
    const Incident *i;

    if (!id)
        return;
    CLEANUP(json_freep) Json *body = body_of(request);
    if (!body || !take_text(body, "comment", comment, sizeof comment)) {
        http_reply_problem(request, 400, "Bad body",
                           "{\"comment\": text of at most 120 bytes} is expected");
        return;
    }
    if (!may_change(r, request, now))
        return;
    if (incidents_ack(r->incidents, id, by_whom(request), comment, now, &i) < 0) {
        http_reply_problem(request, 404, "Not found", none);
        return;
    }
    store_commit(r->store);
    log_info("incident acknowledged by %s: %s%s%s%s%s", i->acked_by, i->pc_id,
             i->app_id[0] ? "/" : "", i->app_id, comment[0] ? ": " : "", comment);
    Buffer b = BUFFER_INIT(REPLY_MAX_BYTES);
    incident_write(&b, r->incidents, i);
    http_reply_buffer(request, 200, &b);
}

/* ---- silence and maintenance ---- */

void routes_get_silences(void *userdata, HttpRequest *request)
{
    const Routes *r = userdata;
    Buffer b = BUFFER_INIT(REPLY_MAX_BYTES);

    json_open_array(&b, NULL);
    for (size_t i = 0; i < silences_n(r->silences); i++)
        silence_write(&b, silences_at(r->silences, i));
    json_close_array(&b);
    http_reply_buffer(request, 200, &b);
}

static bool is_known(const Routes *r, const Silence *s)
{
    if (s->pc_id[0] && s->app_id[0])
        return fleet_service(r->fleet, s->app_id, s->pc_id);
    if (s->pc_id[0])
        return fleet_pc(r->fleet, s->pc_id);
    for (size_t p = 0; p < fleet_n_pcs(r->fleet); p++)
        if (fleet_service(r->fleet, s->app_id, fleet_pc_at(r->fleet, p)->pc_id))
            return true;
    return false;
}

/* When it begins and ends. NULL, or what is wrong. */
static const char *take_times(const Json *body, Now now, Silence *s)
{
    const Json *from = json_get(body, "from_ts"), *until = json_get(body, "until_ts");
    const Json *length = json_get(body, "for_s");

    if (json_is_null(until) == json_is_null(length))
        return "either until_ts (Unix ms) or for_s (seconds) says when it ends";
    s->created_ms = now.wall_ms;
    s->from_ms = json_is_null(from) ? now.wall_ms : json_as_int(from, -1);
    if (s->from_ms < now.wall_ms || s->from_ms > now.wall_ms + SILENCE_LENGTH_MAX)
        return "from_ts is a time (Unix ms) within the next year";
    if (json_is_null(length)) {
        s->until_ms = json_as_int(until, -1);
        return s->until_ms <= s->from_ms ? "until_ts is a time (Unix ms) after its begin" : NULL;
    }
    int64_t seconds = json_as_int(length, 0);
    if (seconds < 1 || seconds > SILENCE_LENGTH_MAX / 1000)
        return "for_s is a number of seconds, at least 1 and at most a year";
    s->until_ms = s->from_ms + seconds * 1000;
    return NULL;
}

/* NULL, or what is wrong with the body. */
static const char *take_body(const Json *body, Now now, Silence *s)
{
    s->kind = silence_kind_from_string(json_as_string(json_get(body, "kind"), NULL));
    if (s->kind == SILENCE_KIND_INVALID)
        return "kind is 'silence' or 'maintenance'";
    if (!take_text(body, "app_id", s->app_id, sizeof s->app_id) ||
        !take_text(body, "pc_id", s->pc_id, sizeof s->pc_id) || (!s->app_id[0] && !s->pc_id[0]))
        return "app_id, pc_id or both say of what";
    if (!take_text(body, "comment", s->comment, sizeof s->comment))
        return "comment is a text of at most 120 bytes";
    return take_times(body, now, s);
}

static void refuse(HttpRequest *request, int error)
{
    if (error == -ENOSPC)
        http_reply_problem(request, 409, "Too many silences",
                           "there are 1,000 already; end some of them first");
    else if (error == -ENOMEM)
        http_reply_problem(request, 500, "Out of memory", "it could not be kept");
    else
        http_reply_problem(request, 400, "Bad body",
                           "it begins and ends in the future and lasts at most a year");
}

/* From now on it is so, also for who looks at the rows. */
static void take_effect(Routes *r, const Silence *s, Now now)
{
    store_add_silence(r->store, s);
    store_commit(r->store);
    fleet_cover(r->fleet, r->silences, now);
}

static void log_one(const Silence *s, const char *what)
{
    log_info("%s %s by %s: %s%s%s%s%s", silence_kind_to_string(s->kind), what, s->by,
             s->pc_id[0] ? s->pc_id : "every PC", s->app_id[0] ? "/" : "", s->app_id,
             s->comment[0] ? ": " : "", s->comment);
}

void routes_post_silence(void *userdata, HttpRequest *request)
{
    Routes *r = userdata;
    Now now = clock_now();
    Silence s = {.id = fleet_next_transition_id(r->fleet)};
    const Silence *kept;

    CLEANUP(json_freep) Json *body = body_of(request);
    const char *wrong = body ? take_body(body, now, &s) : "a JSON object is expected";
    if (wrong) {
        http_reply_problem(request, 400, "Bad body", wrong);
        return;
    }
    if (!is_known(r, &s)) {
        http_reply_problem(request, 404, "Not found",
                           "the registry has no such app or PC; GET /api/services lists them");
        return;
    }
    if (!may_change(r, request, now))
        return;
    text_copy(s.by, sizeof s.by, by_whom(request));
    int e = silences_add(r->silences, &s, now, &kept);
    if (e < 0) {
        refuse(request, e);
        return;
    }
    take_effect(r, kept, now);
    log_one(kept, "begun");
    Buffer b = BUFFER_INIT(REPLY_MAX_BYTES);
    silence_write(&b, kept);
    http_reply_buffer(request, 201, &b);
}

void routes_delete_silence(void *userdata, HttpRequest *request)
{
    static const char none[] = "no silence that is in force or still to come has this id";
    Routes *r = userdata;
    Now now = clock_now();
    int64_t id = id_of(request, none);
    Silence ended;

    if (!id)
        return;
    if (!silences_find(r->silences, id)) {
        http_reply_problem(request, 404, "Not found", none);
        return;
    }
    if (!may_change(r, request, now) || silences_end(r->silences, id, now, &ended) < 0)
        return;
    take_effect(r, &ended, now);
    log_one(&ended, "ended");
    Buffer b = BUFFER_INIT(REPLY_MAX_BYTES);
    silence_write(&b, &ended);
    http_reply_buffer(request, 200, &b);
}
