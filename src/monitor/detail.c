/* Parses one detail answer. Pure: JSON in, arrays out; no clock, no I/O, no GUI.
 *
 * The answer may be huge or wrong in any part: a part that is not an array counts as empty, an item
 * that is malformed is left out, and what passes a maximum is cut at the old end. Only an answer
 * that is no object at all is an error. */
#include "monitor/detail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define LINE_MAX_BYTES 2048
#define FLATTEN_DEPTH  4

int detail_new(const char *app_id, const char *pc_id, Detail **ret)
{
    Detail *d = calloc(1, sizeof *d);

    if (!d)
        return -ENOMEM;
    text_copy(d->app_id, sizeof d->app_id, app_id);
    text_copy(d->pc_id, sizeof d->pc_id, pc_id);
    *ret = d;
    return 0;
}

Detail *detail_free(Detail *d)
{
    if (!d)
        return NULL;
    for (size_t i = 0; i < d->n_transitions; i++)
        transition_done(&d->transitions[i]);
    for (size_t i = 0; i < d->n_journal; i++)
        free(d->journal[i].message);
    free(d->transitions);
    free(d->hours);
    free(d->latency);
    free(d->journal);
    free(d->facts);
    free(d);
    return NULL;
}

void transition_done(Transition *t)
{
    free(t->evidence);
    t->evidence = NULL;
}

void field_clean(char *text, size_t size)
{
    char copy[512];
    size_t len = strnlen(text, MIN(size, sizeof copy) - 1);

    memcpy(copy, text, len);
    text_clean(text, size, copy, len);
}

int transition_read(const Json *j, Transition *ret)
{
    Transition t = {0};
    int r = transition_row_read(j, &t.row);

    if (r < 0)
        return r;
    t.row.evidence = NULL;
    field_clean(t.row.sentence, sizeof t.row.sentence);
    t.evidence = evidence_text(json_get(j, "evidence"));
    *ret = t;
    return 0;
}

/* A scalar as text; "" for null, arrays and objects. */
static void scalar_text(char *ret, size_t size, const Json *j)
{
    const char *s = json_as_string(j, NULL);
    int64_t n = json_as_int(j, INT64_MIN);

    ret[0] = '\0';
    if (s)
        text_clean(ret, size, s, strlen(s));
    else if (n != INT64_MIN)
        snprintf(ret, size, "%lld", (long long)n);
    else if (json_as_bool(j, false) || !json_as_bool(j, true))
        text_copy(ret, size, json_as_bool(j, false) ? "yes" : "no");
    else if (!json_is_null(j) && !json_is_array(j) && !json_is_object(j))
        snprintf(ret, size, "%g", json_as_double(j, 0));
}

typedef void (*FlattenCallback)(void *userdata, const char *key, const char *value);

static void flatten(const Json *j, const char *prefix, int depth, FlattenCallback callback,
                    void *userdata)
{
    char value[LINE_MAX_BYTES], path[128], name[64];

    for (const Json *item = json_first(j); item; item = json_next(item)) {
        const char *key = json_is_array(j) ? NULL : json_key(item);
        text_clean(name, sizeof name, key ? key : "", key ? strlen(key) : 0);
        if (snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] && name[0] ? "." : "", name) >=
            (int)sizeof path)
            continue;
        if (json_is_object(item) && json_get(item, "message"))
            scalar_text(value, sizeof value, json_get(item, "message"));
        else if (json_is_object(item) || json_is_array(item)) {
            if (depth < FLATTEN_DEPTH)
                flatten(item, path, depth + 1, callback, userdata);
            continue;
        } else
            scalar_text(value, sizeof value, item);
        if (value[0])
            callback(userdata, json_is_array(j) ? "" : path, value);
    }
}

static void evidence_line(void *userdata, const char *key, const char *value)
{
    Buffer *b = userdata;

    if (b->len + strlen(key) + strlen(value) + 4 > b->max)
        return;
    buffer_printf(b, "%s%s%s%s", b->len ? "\n" : "", key, key[0] ? ": " : "", value);
}

char *evidence_text(const Json *j)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(EVIDENCE_MAX);

    if (!json_is_object(j))
        return NULL;
    flatten(j, "", 0, evidence_line, &b);
    return b.len ? buffer_take(&b, NULL) : NULL;
}

static size_t room_for(const Json *array, size_t max)
{
    size_t n = json_is_array(array) ? json_length(array) : 0;

    return MIN(n, max);
}

static int read_transitions(Detail *d, const Json *array)
{
    size_t max = room_for(array, DETAIL_TRANSITIONS_MAX);

    d->transitions = calloc(max + 1, sizeof *d->transitions);
    if (!d->transitions)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && d->n_transitions < max; j = json_next(j))
        if (transition_read(j, &d->transitions[d->n_transitions]) == 0)
            d->n_transitions++;
    return 0;
}

static int read_hours(Detail *d, const Json *array)
{
    size_t max = room_for(array, DETAIL_HOURS_MAX);

    d->hours = calloc(max + 1, sizeof *d->hours);
    if (!d->hours)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && d->n_hours < max; j = json_next(j)) {
        double ratio = json_as_double(json_get(j, "healthy_ratio"), -1);
        HourPoint p = {
            .hour = json_as_int(json_get(j, "hour"), 0),
            .ratio = ratio > 1    ? 1
                     : ratio >= 0 ? ratio
                                  : -1,
            .transitions =
                (uint32_t)MAX(0, MIN(json_as_int(json_get(j, "transitions"), 0), INT32_MAX)),
            .observed_ms = MAX(0, json_as_int(json_get(j, "observed_ms"), 0)),
        };
        if (p.hour > 0)
            d->hours[d->n_hours++] = p;
    }
    return 0;
}

static int read_latency(Detail *d, const Json *array)
{
    size_t max = room_for(array, DETAIL_LATENCY_MAX);

    d->latency = calloc(max + 1, sizeof *d->latency);
    if (!d->latency)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && d->n_latency < max; j = json_next(j)) {
        const Json *ts = json_first(j);
        const Json *value = json_next(ts);
        double ms = json_as_double(value, -1);
        LatencyPoint p = {.ts = json_as_int(ts, 0),
                          .latency_us = ms >= 0 && ms < 2e6 ? (int32_t)(ms * 1000) : -1};
        if (p.ts > 0)
            d->latency[d->n_latency++] = p;
    }
    return 0;
}

static int read_journal(Detail *d, const Json *array)
{
    size_t max = room_for(array, DETAIL_JOURNAL_MAX);
    char line[LINE_MAX_BYTES];

    d->journal = calloc(max + 1, sizeof *d->journal);
    if (!d->journal)
        return -ENOMEM;
    for (const Json *j = json_first(array); j && d->n_journal < max; j = json_next(j)) {
        scalar_text(line, sizeof line, json_get(j, "message"));
        char *copy = strdup(line);
        if (!copy)
            return -ENOMEM;
        d->journal[d->n_journal++] = (JournalLine){
            .ts = json_as_int(json_get(j, "ts"), 0),
            .priority = (int)MAX(0, MIN(json_as_int(json_get(j, "priority"), 6), 7)),
            .message = copy,
        };
    }
    return 0;
}

static void fact_line(void *userdata, const char *key, const char *value)
{
    Detail *d = userdata;

    if (d->n_facts == DETAIL_FACTS_MAX)
        return;
    text_copy(d->facts[d->n_facts].key, sizeof d->facts[0].key, key);
    text_clean(d->facts[d->n_facts].value, sizeof d->facts[0].value, value, strlen(value));
    d->n_facts++;
}

int detail_read(Detail *d, const Json *j)
{
    int r;

    if (!json_is_object(j))
        return -EBADMSG;
    r = read_transitions(d, json_get(j, "transitions"));
    if (r == 0)
        r = read_hours(d, json_get(j, "hours"));
    if (r == 0)
        r = read_latency(d, json_get(j, "latency"));
    if (r == 0)
        r = read_journal(d, json_get(j, "journal"));
    if (r < 0)
        return r;
    scalar_text(d->journal_error, sizeof d->journal_error, json_get(j, "journal_error"));
    d->facts = calloc(DETAIL_FACTS_MAX, sizeof *d->facts);
    if (!d->facts)
        return -ENOMEM;
    flatten(json_get(j, "facts"), "", 0, fact_line, d);
    d->state = DETAIL_READY;
    return 0;
}
