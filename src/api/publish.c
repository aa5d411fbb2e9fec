/* From changes to messages. See publish.h.
 *
 * A message exists once, as JSON text: it goes to the subscriber and into the ring, from which a
 * client that was away gets what it missed. The ring is bounded in messages and in bytes; what left
 * it is replaced by a snapshot.
 *
 * Sequence numbers have no gaps. The one exception is a delta that finds no memory: its number is
 * used up without a message and the ring is emptied, so that every client sees the gap (or an
 * -ESTALE) and asks for a snapshot; silence would leave it wrong for ever.
 *
 * transitions and removed are kept as ready-made array content until the next flush; what else is
 * new the fleet's marks say. */
#include "api/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "basic/macro.h"

#define MESSAGE_MAX (256U << 20) /* 10,000 services are 5 MiB */
#define PENDING_MAX (16U << 20)

typedef struct Message {
    char *json;
    size_t len;
} Message;

typedef struct Body {
    Buffer json;
    uint64_t version;
    bool is_built;
} Body;

struct Publish {
    Fleet *fleet;
    PublishCallback callback;
    void *userdata;
    char *features;
    bool features_changed; /* since the last delta */
    char stream[17];
    uint64_t seq;
    Now now; /* of the last flush: bodies that are asked for in between count hours by it */
    Buffer transitions;
    Buffer removed;
    Buffer alerts;
    void (*write_alerts)(void *userdata, Buffer *out); /* of a snapshot */
    void *alerts_userdata;
    Message ring[PUBLISH_RING_MESSAGES]; /* message seq is at seq % PUBLISH_RING_MESSAGES */
    size_t ring_n;
    size_t ring_bytes;
    Body services;
    Body pcs;
};

/* ---- the ring ---- */

static void ring_drop_oldest(Publish *p)
{
    Message *m = &p->ring[(p->seq - p->ring_n + 1) % PUBLISH_RING_MESSAGES];

    p->ring_bytes -= m->len;
    p->ring_n--;
    free(m->json);
    *m = (Message){0};
}

static void ring_clear(Publish *p)
{
    while (p->ring_n > 0)
        ring_drop_oldest(p);
}

/* Makes room for a message of len bytes and takes its sequence number. */
static void ring_advance(Publish *p, size_t len)
{
    while (p->ring_n > 0 &&
           (p->ring_n == PUBLISH_RING_MESSAGES || p->ring_bytes + len > PUBLISH_RING_BYTES))
        ring_drop_oldest(p);
    p->seq++;
}

/* Takes json over. False: it is too large to be kept. */
static bool ring_keep(Publish *p, char *json, size_t len)
{
    if (len > PUBLISH_RING_BYTES)
        return false;
    p->ring[p->seq % PUBLISH_RING_MESSAGES] = (Message){json, len};
    p->ring_n++;
    p->ring_bytes += len;
    return true;
}

/* ---- what is collected ---- */

void publish_transition(Publish *p, const TransitionRow *row)
{
    transition_row_write(&p->transitions, row);
}

void publish_removed(Publish *p, const char *app_id, const char *pc_id)
{
    json_open_array(&p->removed, NULL);
    json_string(&p->removed, NULL, app_id);
    json_string(&p->removed, NULL, pc_id);
    json_close_array(&p->removed);
}

void publish_set_alerts(Publish *p, void (*write)(void *userdata, Buffer *out), void *userdata)
{
    p->write_alerts = write;
    p->alerts_userdata = userdata;
}

int publish_features(Publish *p, const char *features_json)
{
    if (strcmp(p->features, features_json) == 0)
        return 0;
    char *copy = strdup(features_json);
    if (!copy)
        return -ENOMEM;
    free(p->features);
    p->features = copy;
    p->features_changed = true;
    return 0;
}

void publish_alert(Publish *p, const char *json, size_t len)
{
    json_raw(&p->alerts, NULL, json, len);
}

/* ---- messages ---- */

static void write_head(const Publish *p, Buffer *b, const char *type, uint64_t seq, Now now)
{
    json_open_object(b, NULL);
    json_string(b, "type", type);
    json_string(b, "stream", p->stream);
    json_int(b, "seq", (int64_t)seq);
    json_time(b, "ts", now.wall_ms);
}

static void write_service(const Publish *p, Buffer *b, const Service *s, Now now)
{
    ServiceRow row;

    fleet_service_row(p->fleet, s, now, &row);
    service_row_write(b, &row);
}

static void write_all_pcs(const Publish *p, Buffer *b)
{
    PcRow row;

    for (size_t i = 0; i < fleet_n_pcs(p->fleet); i++) {
        fleet_pc_row(p->fleet, fleet_pc_at(p->fleet, i), &row);
        pc_row_write(b, &row);
    }
}

static void write_all_services(const Publish *p, Buffer *b, Now now)
{
    for (size_t i = 0; i < fleet_n_pcs(p->fleet); i++) {
        const FleetPc *pc = fleet_pc_at(p->fleet, i);
        for (size_t k = 0; k < pc->n_services; k++)
            write_service(p, b, pc->services[k], now);
    }
}

static void write_dirty_pcs(const Publish *p, Buffer *b)
{
    PcRow row;

    json_open_array(b, "pcs");
    for (size_t i = 0; i < fleet_n_pcs(p->fleet); i++) {
        const FleetPc *pc = fleet_pc_at(p->fleet, i);
        if (!pc->dirty)
            continue;
        fleet_pc_row(p->fleet, pc, &row);
        pc_row_write(b, &row);
    }
    json_close_array(b);
}

static void write_dirty_services(const Publish *p, Buffer *b, Now now)
{
    json_open_array(b, "services");
    for (const Service *s = fleet_marked(p->fleet); s; s = s->marked_next)
        if (s->dirty)
            write_service(p, b, s, now);
    json_close_array(b);
}

static void write_checks(const Publish *p, Buffer *b, Now now)
{
    ServiceRow row;

    json_open_array(b, "checks");
    for (const Service *s = fleet_marked(p->fleet); s; s = s->marked_next) {
        if (s->dirty || !s->checked)
            continue;
        fleet_service_row(p->fleet, s, now, &row);
        json_open_array(b, NULL);
        json_string(b, NULL, row.app_id);
        json_string(b, NULL, row.pc_id);
        json_time(b, NULL, row.last_check_ts);
        json_ms(b, NULL, row.latency_us);
        json_close_array(b);
    }
    json_close_array(b);
}

/* Array content that was collected: the writer's commas are in it already. */
static void write_collected(Buffer *b, const char *key, const Buffer *content)
{
    json_open_array(b, key);
    buffer_append(b, content->data, content->len);
    json_close_array(b);
}

static char *build_delta(const Publish *p, Now now, size_t *ret_len)
{
    Buffer b = BUFFER_INIT(MESSAGE_MAX);

    if (buffer_error(&p->transitions) || buffer_error(&p->removed) || buffer_error(&p->alerts))
        return NULL;
    write_head(p, &b, "delta", p->seq + 1, now);
    write_dirty_pcs(p, &b);
    write_dirty_services(p, &b, now);
    write_checks(p, &b, now);
    write_collected(&b, "removed", &p->removed);
    write_collected(&b, "transitions", &p->transitions);
    write_collected(&b, "alerts", &p->alerts);
    if (p->features_changed)
        json_raw(&b, "features", p->features, strlen(p->features));
    json_close_object(&b);
    return buffer_take(&b, ret_len);
}

static bool has_news(const Publish *p)
{
    const Buffer *collected[] = {&p->transitions, &p->removed, &p->alerts};

    for (size_t i = 0; i < ELEMENTS(collected); i++)
        if (collected[i]->len || buffer_error(collected[i]))
            return true;
    return p->features_changed || fleet_has_marks(p->fleet);
}

static void clear_news(Publish *p)
{
    fleet_clear_marks(p->fleet);
    p->features_changed = false;
    buffer_done(&p->transitions);
    buffer_done(&p->removed);
    buffer_done(&p->alerts);
}

void publish_flush(Publish *p, Now now)
{
    size_t len = 0;

    p->now = now;
    if (!has_news(p))
        return;
    CLEANUP_FREE char *json = build_delta(p, now, &len);
    clear_news(p);
    if (!json) {
        ring_clear(p);
        p->seq++;
        return;
    }
    ring_advance(p, len);
    const char *text = json;
    if (ring_keep(p, json, len))
        json = NULL;
    p->callback(p->userdata, p->seq, text, len);
}

void publish_hello(Publish *p, Buffer *out)
{
    json_open_object(out, NULL);
    json_string(out, "type", "hello");
    json_int(out, "protocol", PROTOCOL_VERSION);
    json_string(out, "version", SERVICES_MONITOR_VERSION);
    json_string(out, "stream", p->stream);
    json_int(out, "seq", (int64_t)p->seq);
    json_raw(out, "features", p->features, strlen(p->features));
    json_close_object(out);
}

void publish_snapshot(Publish *p, Now now, Buffer *out)
{
    write_head(p, out, "snapshot", p->seq, now);
    json_open_array(out, "pcs");
    write_all_pcs(p, out);
    json_close_array(out);
    json_open_array(out, "services");
    write_all_services(p, out, now);
    json_close_array(out);
    json_open_array(out, "alerts");
    if (p->write_alerts)
        p->write_alerts(p->alerts_userdata, out);
    json_close_array(out);
    json_close_object(out);
}

int publish_replay(Publish *p, const char *stream, uint64_t since, PublishCallback callback,
                   void *userdata)
{
    if (strcmp(stream, p->stream) != 0 || since > p->seq || p->seq - since > p->ring_n)
        return -ESTALE;
    for (uint64_t seq = since + 1; seq <= p->seq; seq++) {
        const Message *m = &p->ring[seq % PUBLISH_RING_MESSAGES];
        callback(userdata, seq, m->json, m->len);
    }
    return 0;
}

/* ---- cached bodies ---- */

static const char *body_finish(Body *body, uint64_t version, size_t *ret_len)
{
    body->version = version;
    body->is_built = !buffer_error(&body->json);
    if (!body->is_built)
        return NULL;
    *ret_len = body->json.len;
    return buffer_cstr(&body->json);
}

static bool body_begin(Body *body, uint64_t version)
{
    if (body->is_built && body->version == version)
        return false;
    buffer_reset(&body->json);
    return true;
}

const char *publish_services(Publish *p, size_t *ret_len)
{
    uint64_t version = fleet_version(p->fleet);

    if (body_begin(&p->services, version)) {
        json_open_array(&p->services.json, NULL);
        write_all_services(p, &p->services.json, p->now);
        json_close_array(&p->services.json);
    }
    return body_finish(&p->services, version, ret_len);
}

const char *publish_pcs(Publish *p, size_t *ret_len)
{
    uint64_t version = fleet_version(p->fleet);

    if (body_begin(&p->pcs, version)) {
        json_open_array(&p->pcs.json, NULL);
        write_all_pcs(p, &p->pcs.json);
        json_close_array(&p->pcs.json);
    }
    return body_finish(&p->pcs, version, ret_len);
}

const char *publish_stream(const Publish *p)
{
    return p->stream;
}

uint64_t publish_seq(const Publish *p)
{
    return p->seq;
}

/* ---- birth and end ---- */

DEFINE_CLEANUP(Publish, publish_free);

int publish_new(Fleet *fleet, const char *features_json, PublishCallback callback, void *userdata,
                Publish **ret)
{
    CLEANUP(publish_freep) Publish *p = calloc(1, sizeof *p);
    uint64_t random;

    if (!p || !(p->features = strdup(features_json)))
        return -ENOMEM;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    snprintf(p->stream, sizeof p->stream, "%016llx", (unsigned long long)random);
    p->fleet = fleet;
    p->callback = callback;
    p->userdata = userdata;
    p->transitions = p->removed = p->alerts = BUFFER_INIT(PENDING_MAX);
    p->services.json = p->pcs.json = BUFFER_INIT(MESSAGE_MAX);
    *ret = TAKE_PTR(p);
    return 0;
}

Publish *publish_free(Publish *p)
{
    if (!p)
        return NULL;
    ring_clear(p);
    buffer_done(&p->transitions);
    buffer_done(&p->removed);
    buffer_done(&p->alerts);
    buffer_done(&p->services.json);
    buffer_done(&p->pcs.json);
    free(p->features);
    free(p);
    return NULL;
}
