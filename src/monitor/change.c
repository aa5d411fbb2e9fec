/* Messages of the wire format (docs/protocol.md) to Change records. Pure.
 *
 * A row that is malformed is left out and the rest of the message counts: one bad service must not
 * blind the window. Key fields are checked by protocol.c; free text is cleaned here, once, so that
 * no panel has to think of it. */
#include "monitor/change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

int change_new(ChangeKind kind, int64_t received_ms, Change **ret)
{
    Change *c = calloc(1, sizeof *c);

    if (!c)
        return -ENOMEM;
    c->kind = kind;
    c->received_ms = received_ms;
    *ret = c;
    return 0;
}

Change *change_free(Change *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->n_transitions; i++)
        transition_done(&c->transitions[i]);
    for (size_t i = 0; i < c->n_alerts; i++)
        alert_done(&c->alerts[i]);
    free(c->pcs);
    free(c->services);
    free(c->checks);
    free(c->removed);
    free(c->transitions);
    free(c->alerts);
    free(c->silences);
    detail_free(c->detail);
    free(c);
    return NULL;
}

/* An array for as many rows as `array` has, at most max; NULL only without memory. */
static void *rows_new(const Json *array, size_t size, size_t max)
{
    size_t n = json_is_array(array) ? json_length(array) : 0;

    return calloc(MIN(n, max) + 1, size);
}

static int read_pcs(Change *c, const Json *array)
{
    c->pcs = rows_new(array, sizeof *c->pcs, CHANGE_ROWS_MAX);
    if (!c->pcs)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_pcs < CHANGE_ROWS_MAX; j = json_next(j)) {
        PcRow *row = &c->pcs[c->n_pcs];
        if (pc_row_read(j, row) < 0 || !name_is_id(row->pc_id))
            continue;
        field_clean(row->sentence, sizeof row->sentence);
        field_clean(row->version_uname, sizeof row->version_uname);
        field_clean(row->maintenance.comment, sizeof row->maintenance.comment);
        c->n_pcs++;
    }
    return 0;
}

static int read_services(Change *c, const Json *array)
{
    c->services = rows_new(array, sizeof *c->services, CHANGE_ROWS_MAX);
    if (!c->services)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_services < CHANGE_ROWS_MAX;
         j = json_next(j)) {
        ServiceRow *row = &c->services[c->n_services];
        if (service_row_read(j, row) < 0 || !name_is_id(row->app_id) || !name_is_id(row->pc_id))
            continue;
        field_clean(row->title, sizeof row->title);
        field_clean(row->tag, sizeof row->tag);
        field_clean(row->sentence, sizeof row->sentence);
        field_clean(row->systemd_state, sizeof row->systemd_state);
        field_clean(row->maintenance.comment, sizeof row->maintenance.comment);
        c->n_services++;
    }
    return 0;
}

/* [app, pc] or {"app_id":, "pc_id":}; the app may be null or "" where allowed: the PC itself. */
static bool read_pair(const Json *j, bool allow_pc, Pair *ret)
{
    const Json *app = json_is_array(j) ? json_first(j) : json_get(j, "app_id");
    const Json *pc = json_is_array(j) ? json_next(app) : json_get(j, "pc_id");
    const char *app_id = json_as_string(app, ""), *pc_id = json_as_string(pc, "");

    if (!name_is_id(pc_id) || (app_id[0] ? !name_is_id(app_id) : !allow_pc))
        return false;
    text_copy(ret->app_id, sizeof ret->app_id, app_id);
    text_copy(ret->pc_id, sizeof ret->pc_id, pc_id);
    return true;
}

static int read_checks(Change *c, const Json *array)
{
    c->checks = rows_new(array, sizeof *c->checks, CHANGE_ROWS_MAX);
    if (!c->checks)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_checks < CHANGE_ROWS_MAX; j = json_next(j)) {
        Check *check = &c->checks[c->n_checks];
        if (!json_is_array(j) || !read_pair(j, false, &check->pair))
            continue;
        const Json *ts = json_next(json_next(json_first(j)));
        double ms = json_as_double(json_next(ts), -1);
        check->ts = json_as_int(ts, 0);
        check->latency_us = ms >= 0 && ms < 2e6 ? (int32_t)(ms * 1000 + 0.5) : -1;
        if (check->ts > 0)
            c->n_checks++;
    }
    return 0;
}

static int read_removed(Change *c, const Json *array)
{
    c->removed = rows_new(array, sizeof *c->removed, CHANGE_ROWS_MAX);
    if (!c->removed)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_removed < CHANGE_ROWS_MAX; j = json_next(j))
        if (read_pair(j, true, &c->removed[c->n_removed]))
            c->n_removed++;
    return 0;
}

static int read_transitions(Change *c, const Json *array)
{
    c->transitions = rows_new(array, sizeof *c->transitions, CHANGE_ROWS_MAX);
    if (!c->transitions)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_transitions < CHANGE_ROWS_MAX;
         j = json_next(j))
        if (transition_read(j, &c->transitions[c->n_transitions]) == 0)
            c->n_transitions++;
    return 0;
}

void alert_done(Alert *a)
{
    free(a->behind);
    a->behind = NULL;
}

static int read_behind(Alert *a, const Json *array)
{
    a->behind_total = json_is_array(array) ? json_length(array) : 0;
    a->behind = rows_new(array, sizeof *a->behind, ALERT_BEHIND_MAX);
    if (!a->behind)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && a->n_behind < ALERT_BEHIND_MAX; j = json_next(j))
        if (read_pair(j, true, &a->behind[a->n_behind]))
            a->n_behind++;
    return 0;
}

static int word_index(const char *const *words, int n, const char *word)
{
    for (int i = 0; i < n; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

static void read_clean(const Json *j, const char *key, char *ret, size_t size)
{
    const char *text = json_as_string(json_get(j, key), "");

    text_clean(ret, size, text, strlen(text));
    field_clean(ret, size);
}

static void read_handling(const Json *j, Alert *a)
{
    const Json *acked = json_get(j, "acked");

    a->acknowledged = !json_is_null(acked);
    read_clean(acked, "by", a->acked_by, sizeof a->acked_by);
    read_clean(acked, "comment", a->ack_comment, sizeof a->ack_comment);
    a->silenced_until_ts = MAX(0, json_as_int(json_get(json_get(j, "silenced"), "until_ts"), 0));
}

int alert_read(const Json *j, Alert *ret)
{
    static const char *const kinds[] = {"service", "pc", "all-pcs", "reboot"};
    static const char *const states[] = {"pending", "open", "closed", "dropped"};
    Alert a = {0};
    int64_t id = json_as_int(json_get(j, "id"), -1);
    const char *sentence = json_as_string(json_get(j, "sentence"), "");
    const char *app_id = json_as_string(json_get(j, "app_id"), ""),
               *pc_id = json_as_string(json_get(j, "pc_id"), "");
    int kind = word_index(kinds, ELEMENTS(kinds), json_as_string(json_get(j, "kind"), ""));
    int state = word_index(states, ELEMENTS(states), json_as_string(json_get(j, "state"), ""));

    if (kind < 0 || state < 0 || (app_id[0] && !name_is_id(app_id)) ||
        (pc_id[0] && !name_is_id(pc_id)))
        return -EBADMSG;
    if (id >= 0)
        snprintf(a.id, sizeof a.id, "%lld", (long long)id);
    else
        text_copy(a.id, sizeof a.id, json_as_string(json_get(j, "id"), ""));
    field_clean(a.id, sizeof a.id);
    if (!a.id[0])
        return -EBADMSG;
    a.kind = (AlertKind)kind;
    a.state = (AlertState)MIN(state, (int)ALERT_CLOSED); /* it is over either way */
    text_copy(a.pair.app_id, sizeof a.pair.app_id, app_id);
    text_copy(a.pair.pc_id, sizeof a.pair.pc_id, pc_id);
    a.since_ts = json_as_int(json_get(j, "began_ts"), json_as_int(json_get(j, "opened_ts"), 0));
    a.closed_ts = json_as_int(json_get(j, "closed_ts"), 0);
    a.cause = cause_from_string(json_as_string(json_get(j, "cause"), ""));
    if (a.cause < 0)
        a.cause = CAUSE_NONE;
    text_clean(a.sentence, sizeof a.sentence, sentence, strlen(sentence));
    read_handling(j, &a);
    int r = read_behind(&a, json_get(j, "behind"));
    if (r < 0)
        return r;
    *ret = a;
    return 0;
}

static int read_alerts(Change *c, const Json *array)
{
    c->alerts = rows_new(array, sizeof *c->alerts, CHANGE_ALERTS_MAX);
    if (!c->alerts)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_alerts < CHANGE_ALERTS_MAX;
         j = json_next(j)) {
        int r = alert_read(j, &c->alerts[c->n_alerts]);
        if (r == -ENOMEM)
            return r;
        if (r == 0)
            c->n_alerts++;
    }
    return 0;
}

/* "features": {"actions": true} or ["actions"] */
static void read_features(Change *c, const Json *j)
{
    const Json *features = json_get(j, "features");
    const char *version = json_as_string(json_get(j, "version"), "");

    c->has_features = json_is_object(features) || json_is_array(features);
    if (json_is_object(features))
        c->actions = json_as_bool(json_get(features, "actions"), false);
    for (const Json *i = json_is_array(features) ? json_first(features) : NULL; i; i = json_next(i))
        c->actions = c->actions || strcmp(json_as_string(i, ""), "actions") == 0;
    text_clean(c->version, sizeof c->version, version, strlen(version));
}

int change_from_message(const char *type, const Json *message, int64_t received_ms, Change **ret)
{
    static const char *const types[] = {"hello", "snapshot", "delta"};
    CLEANUP(change_freep) Change *c = NULL;
    int index = word_index(types, ELEMENTS(types), type);
    int r;

    if (index < 0 || !json_is_object(message))
        return -EBADMSG;
    r = change_new((ChangeKind)(CHANGE_HELLO + index), received_ms, &c);
    if (r < 0)
        return r;
    c->seq = (uint64_t)MAX(0, json_as_int(json_get(message, "seq"), 0));
    c->ts = json_as_int(json_get(message, "ts"), 0);
    read_features(c, message);
    r = read_pcs(c, json_get(message, "pcs"));
    if (r == 0)
        r = read_services(c, json_get(message, "services"));
    if (r == 0)
        r = read_checks(c, json_get(message, "checks"));
    if (r == 0)
        r = read_removed(c, json_get(message, "removed"));
    if (r == 0)
        r = read_transitions(c, json_get(message, "transitions"));
    if (r == 0)
        r = read_alerts(c, json_get(message, "alerts"));
    if (r < 0)
        return r;
    *ret = TAKE_PTR(c);
    return 0;
}

static bool silence_read(const Json *j, SilenceRow *ret)
{
    SilenceRow s = {
        .id = json_as_int(json_get(j, "id"), 0),
        .maintenance = strcmp(json_as_string(json_get(j, "kind"), ""), "maintenance") == 0,
        .from_ts = json_as_int(json_get(j, "from_ts"), 0),
        .until_ts = json_as_int(json_get(j, "until_ts"), 0),
    };

    read_clean(j, "app_id", s.pair.app_id, sizeof s.pair.app_id);
    read_clean(j, "pc_id", s.pair.pc_id, sizeof s.pair.pc_id);
    read_clean(j, "by", s.by, sizeof s.by);
    read_clean(j, "comment", s.comment, sizeof s.comment);
    if (s.id <= 0 || s.until_ts <= 0 || (!s.pair.app_id[0] && !s.pair.pc_id[0]) ||
        (s.pair.app_id[0] && !name_is_id(s.pair.app_id)) ||
        (s.pair.pc_id[0] && !name_is_id(s.pair.pc_id)))
        return false;
    *ret = s;
    return true;
}

int change_from_silences(const Json *array, int64_t received_ms, Change **ret)
{
    CLEANUP(change_freep) Change *c = NULL;
    int r = change_new(CHANGE_SILENCES, received_ms, &c);

    if (r < 0)
        return r;
    c->silences = rows_new(array, sizeof *c->silences, SILENCES_MAX);
    if (!c->silences)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && c->n_silences < SILENCES_MAX; j = json_next(j))
        c->n_silences += silence_read(j, &c->silences[c->n_silences]);
    *ret = TAKE_PTR(c);
    return 0;
}

int change_from_history(const Json *message, int64_t received_ms, Change **ret)
{
    CLEANUP(change_freep) Change *c = NULL;
    const Json *array = json_is_array(message) ? message : json_get(message, "transitions");
    int r = change_new(CHANGE_HISTORY, received_ms, &c);

    if (r == 0)
        r = read_transitions(c, array);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(c);
    return 0;
}
