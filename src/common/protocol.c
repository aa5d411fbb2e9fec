/* The records of REST and WebSocket as JSON, both directions; see protocol.h and docs/protocol.md.
 *
 * Order and names of the members here are the contract. Reading trusts nothing: what identifies or
 * judges a row (ids, words of expected, actual and light) must be there and known, else the row is
 * refused; what only describes it is taken if it makes sense and counts as absent otherwise, so an
 * older client copes with a newer daemon's causes and ranges. Text passes text_clean(), so a record
 * that was read can be shown as it is. */
#include "common/protocol.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "basic/text.h"
#include "common/name.h"

typedef struct HintWord {
    Hint hint;
    const char *word;
} HintWord;

static const HintWord hint_words[] = {
    {HINT_NOT_ENABLED, "not-enabled"},
    {HINT_LINGER_OFF, "linger-off"},
};

static void write_text(Buffer *b, const char *key, const char *text)
{
    json_string(b, key, text[0] ? text : NULL);
}

static void write_number(Buffer *b, const char *key, int64_t value, int64_t absent)
{
    if (value == absent)
        json_null(b, key);
    else
        json_int(b, key, value);
}

static void write_hints(Buffer *b, uint32_t hints)
{
    if (!hints)
        return;
    json_open_array(b, "hints");
    for (size_t i = 0; i < ELEMENTS(hint_words); i++)
        if (hints & (uint32_t)hint_words[i].hint)
            json_string(b, NULL, hint_words[i].word);
    json_close_array(b);
}

static void write_maintenance(Buffer *b, const Maintenance *m)
{
    if (!m->until_ts)
        return;
    json_open_object(b, "maintenance");
    json_time(b, "until_ts", m->until_ts);
    json_string(b, "comment", m->comment);
    json_close_object(b);
}

void service_row_write(Buffer *b, const ServiceRow *row)
{
    json_open_object(b, NULL);
    json_string(b, "app_id", row->app_id);
    json_string(b, "pc_id", row->pc_id);
    if (row->title[0])
        json_string(b, "title", row->title);
    if (row->tag[0])
        json_string(b, "tag", row->tag);
    json_string(b, "expected", expected_to_string(row->expected));
    json_string(b, "actual", actual_to_string(row->actual));
    json_string(b, "light", light_to_string(row->light));
    write_text(b, "cause", cause_to_string(row->cause));
    write_text(b, "sentence", row->sentence);
    write_hints(b, row->hints);
    write_number(b, "port", row->port, 0);
    write_text(b, "systemd_state", row->systemd_state);
    if (row->port_listening < 0)
        json_null(b, "port_listening");
    else
        json_bool(b, "port_listening", row->port_listening);
    write_number(b, "http_status", row->http_status, 0);
    json_ms(b, "latency_ms", row->latency_us);
    json_time(b, "since_ts", row->since_ts);
    json_time(b, "last_check_ts", row->last_check_ts);
    json_time(b, "last_healthy_ts", row->last_healthy_ts);
    json_int(b, "transitions_24h", row->transitions_24h);
    json_int(b, "restarts", row->restarts);
    write_maintenance(b, &row->maintenance);
    json_close_object(b);
}

void pc_row_write(Buffer *b, const PcRow *row)
{
    json_open_object(b, NULL);
    json_string(b, "pc_id", row->pc_id);
    json_bool(b, "is_self", row->is_self);
    json_bool(b, "reachable", row->reachable);
    json_ms(b, "lag_ms", row->lag_us);
    write_text(b, "version_uname", row->version_uname);
    write_text(b, "cause", cause_to_string(row->cause));
    write_text(b, "sentence", row->sentence);
    json_time(b, "since_ts", row->since_ts);
    json_bool(b, "events", row->events);
    if (row->skew_known)
        json_int(b, "skew_ms", row->skew_ms);
    else
        json_null(b, "skew_ms");
    json_time(b, "last_check_ts", row->last_check_ts);
    json_int(b, "services", row->services);
    json_bool(b, "may_sleep", row->may_sleep);
    write_maintenance(b, &row->maintenance);
    json_close_object(b);
}

void transition_row_write(Buffer *b, const TransitionRow *row)
{
    json_open_object(b, NULL);
    json_int(b, "id", row->id);
    json_time(b, "ts", row->ts);
    write_text(b, "app_id", row->app_id);
    json_string(b, "pc_id", row->pc_id);
    json_string(b, "from", actual_to_string(row->from));
    json_string(b, "to", actual_to_string(row->to));
    write_text(b, "cause", cause_to_string(row->cause));
    write_text(b, "sentence", row->sentence);
    if (row->is_update)
        json_bool(b, "update", true);
    if (row->evidence)
        json_raw(b, "evidence", row->evidence, strlen(row->evidence));
    json_close_object(b);
}

static int read_id(const Json *j, const char *key, char ret[static ID_MAX + 1])
{
    const char *id = json_as_string(json_get(j, key), NULL);

    if (!name_is_id(id))
        return -EBADMSG;
    text_copy(ret, ID_MAX + 1, id);
    return 0;
}

static void read_text(const Json *j, const char *key, char *ret, size_t size)
{
    const char *text = json_as_string(json_get(j, key), "");

    text_clean(ret, size, text, strlen(text));
}

static int64_t read_number(const Json *j, const char *key, int64_t min, int64_t max, int64_t absent)
{
    int64_t value = json_as_int(json_get(j, key), absent);

    return value >= min && value <= max ? value : absent;
}

static int64_t read_time(const Json *j, const char *key)
{
    return read_number(j, key, 0, INT64_MAX, 0);
}

static void read_maintenance(const Json *row, Maintenance *ret)
{
    const Json *j = json_get(row, "maintenance");

    ret->until_ts = read_time(j, "until_ts");
    if (ret->until_ts)
        read_text(j, "comment", ret->comment, sizeof ret->comment);
}

static int32_t read_ms(const Json *j, const char *key)
{
    double us = json_as_double(json_get(j, key), -1) * 1000;

    return us >= 0 && us <= INT32_MAX ? (int32_t)lround(us) : -1;
}

static const char *read_word(const Json *j, const char *key)
{
    return json_as_string(json_get(j, key), NULL);
}

static Cause read_cause(const Json *j)
{
    Cause cause = cause_from_string(read_word(j, "cause"));

    return cause == CAUSE_INVALID ? CAUSE_NONE : cause;
}

static uint32_t read_hints(const Json *j)
{
    uint32_t hints = 0;

    for (const Json *i = json_first(json_get(j, "hints")); i; i = json_next(i))
        for (size_t k = 0; k < ELEMENTS(hint_words); k++)
            if (strcmp(json_as_string(i, ""), hint_words[k].word) == 0)
                hints |= (uint32_t)hint_words[k].hint;
    return hints;
}

static int8_t read_listening(const Json *j)
{
    const Json *value = json_get(j, "port_listening");

    return json_is_null(value) ? -1 : json_as_bool(value, false);
}

int service_row_read(const Json *j, ServiceRow *ret)
{
    ServiceRow row = {
        .expected = expected_from_string(read_word(j, "expected")),
        .actual = actual_from_string(read_word(j, "actual")),
        .light = light_from_string(read_word(j, "light")),
        .cause = read_cause(j),
        .hints = read_hints(j),
        .port = (uint16_t)read_number(j, "port", 1, UINT16_MAX, 0),
        .port_listening = read_listening(j),
        .http_status = (int32_t)read_number(j, "http_status", 100, 999, 0),
        .latency_us = read_ms(j, "latency_ms"),
        .since_ts = read_time(j, "since_ts"),
        .last_check_ts = read_time(j, "last_check_ts"),
        .last_healthy_ts = read_time(j, "last_healthy_ts"),
        .transitions_24h = (uint32_t)read_number(j, "transitions_24h", 0, UINT32_MAX, 0),
        .restarts = (uint32_t)read_number(j, "restarts", 0, UINT32_MAX, 0),
    };

    if (read_id(j, "app_id", row.app_id) < 0 || read_id(j, "pc_id", row.pc_id) < 0 ||
        row.expected == EXPECTED_INVALID || row.actual == ACTUAL_INVALID ||
        row.light == LIGHT_INVALID)
        return -EBADMSG;
    read_text(j, "title", row.title, sizeof row.title);
    read_text(j, "tag", row.tag, sizeof row.tag);
    read_text(j, "sentence", row.sentence, sizeof row.sentence);
    read_text(j, "systemd_state", row.systemd_state, sizeof row.systemd_state);
    read_maintenance(j, &row.maintenance);
    *ret = row;
    return 0;
}

int pc_row_read(const Json *j, PcRow *ret)
{
    PcRow row = {
        .is_self = json_as_bool(json_get(j, "is_self"), false),
        .reachable = json_as_bool(json_get(j, "reachable"), false),
        .cause = read_cause(j),
        .lag_us = read_ms(j, "lag_ms"),
        .since_ts = read_time(j, "since_ts"),
        .events = json_as_bool(json_get(j, "events"), false),
        .skew_ms = json_as_int(json_get(j, "skew_ms"), 0),
        .skew_known = !json_is_null(json_get(j, "skew_ms")),
        .last_check_ts = read_time(j, "last_check_ts"),
        .services = (uint32_t)read_number(j, "services", 0, UINT32_MAX, 0),
        .may_sleep = json_as_bool(json_get(j, "may_sleep"), false),
    };

    if (read_id(j, "pc_id", row.pc_id) < 0)
        return -EBADMSG;
    read_text(j, "sentence", row.sentence, sizeof row.sentence);
    read_text(j, "version_uname", row.version_uname, sizeof row.version_uname);
    read_maintenance(j, &row.maintenance);
    *ret = row;
    return 0;
}

int transition_row_read(const Json *j, TransitionRow *ret)
{
    TransitionRow row = {
        .id = json_as_int(json_get(j, "id"), -1),
        .ts = read_time(j, "ts"),
        .from = actual_from_string(read_word(j, "from")),
        .to = actual_from_string(read_word(j, "to")),
        .cause = read_cause(j),
        .is_update = json_as_bool(json_get(j, "update"), false),
    };
    bool of_pc = json_is_null(json_get(j, "app_id"));

    if (row.id < 0 || row.from == ACTUAL_INVALID || row.to == ACTUAL_INVALID ||
        read_id(j, "pc_id", row.pc_id) < 0 || (!of_pc && read_id(j, "app_id", row.app_id) < 0))
        return -EBADMSG;
    read_text(j, "sentence", row.sentence, sizeof row.sentence);
    *ret = row;
    return 0;
}

int alert_row_read(const Json *j, AlertRow *ret)
{
    AlertRow row = {.id = json_as_int(json_get(j, "id"), 0),
                    .began_ts = json_as_int(json_get(j, "began_ts"), 0),
                    .behind = (uint32_t)json_length(json_get(j, "behind"))};
    const char *state = json_as_string(json_get(j, "state"), "");
    const char *sentence = json_as_string(json_get(j, "sentence"), "");
    const char *app = json_as_string(json_get(j, "app_id"), "");
    const char *pc = json_as_string(json_get(j, "pc_id"), "");
    const Json *acked = json_get(j, "acked");

    if (row.id <= 0 || !*state || strlen(state) >= sizeof row.state || (*app && !name_is_id(app)) ||
        (*pc && !name_is_id(pc)))
        return -EBADMSG;
    text_copy(row.state, sizeof row.state, state);
    text_copy(row.app_id, sizeof row.app_id, app);
    text_copy(row.pc_id, sizeof row.pc_id, pc);
    text_clean(row.sentence, sizeof row.sentence, sentence, strlen(sentence));
    row.acked_ts = read_time(acked, "ts");
    if (row.acked_ts) {
        read_text(acked, "by", row.acked_by, sizeof row.acked_by);
        read_text(acked, "comment", row.ack_comment, sizeof row.ack_comment);
    }
    row.silenced_until_ts = read_time(json_get(j, "silenced"), "until_ts");
    *ret = row;
    return 0;
}
