/* The queue between the outbox and the servers.
 *
 * One list of notices, oldest first, over all channels; the outbox on disk is its copy. Each
 * channel sends one at a time. A failure that is the server's (no answer, busy) holds the whole
 * channel back; one that is the message's (refused) holds back that notice alone, so it blocks no
 * other. A recovery never overtakes its opening.
 *
 * Who knows of an incident is kept per incident that is open: a recovery goes only where the
 * opening was queued. An incident that was open before anything was configured is known with no
 * channel, so it is never told late. One that is held (silenced, or acknowledged before it opened)
 * is told late on purpose: when it is no longer held.
 *
 * The heartbeat has its own transfer. It stops when an incident is open that is not held, or when
 * history cannot be written: whoever waits for it shall then come and look. The first one goes a
 * full period after the start: a daemon that dies again and again sends none. */
#include "api/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/notify-channel.h"
#include "api/notify-text.h"
#include "basic/buffer.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

typedef struct Notice {
    struct Notice *next;
    StoreOutbox row;
    NotifyChannel channel;
    uint64_t durable_at; /* sent once store_durable() is there; 0: it was on disk before */
    uint64_t queued_us, deadline_us;
    uint64_t due_us;   /* not before, because it was refused */
    unsigned failures; /* refusals in a row */
} Notice;

typedef struct Channel {
    Notify *notify;
    NotifyChannel which;
    bool on;
    Send *send;
    Notice *sending; /* in the list all the while */
    uint64_t due_us;
    unsigned failures; /* of the server, in a row */
} Channel;

typedef struct Known {
    int64_t incident;
    unsigned told; /* bit of each channel that the opening was queued for */
    bool held;     /* the opening is still to be queued */
} Known;

struct Notify {
    Nest *nest;
    ResolveLookup lookup;
    const Config *config;
    Store *store;
    Sender *sender; /* NULL: nothing was ever configured */
    Channel channels[NOTIFY_CHANNEL_MAX];
    Notice *first;
    size_t n;
    Known *known; /* the open incidents */
    size_t n_known, cap_known;
    Send *beat;
    uint64_t beat_us; /* the next one */
    bool beat_failed;
};

DEFINE_CLEANUP(Notify, notify_free);

static const char *name_of(const Channel *c)
{
    return notify_channel_to_string(c->which);
}

/* ---- the open incidents ---- */

static Known *find_known(const Notify *n, int64_t incident)
{
    for (size_t i = 0; i < n->n_known; i++)
        if (n->known[i].incident == incident)
            return &n->known[i];
    return NULL;
}

static Known *add_known(Notify *n, int64_t incident)
{
    if (n->n_known == n->cap_known) {
        size_t cap = MAX(2 * n->cap_known, (size_t)16);
        Known *more = reallocarray(n->known, cap, sizeof *more);
        if (!more)
            return NULL;
        n->known = more;
        n->cap_known = cap;
    }
    Known *k = &n->known[n->n_known++];
    *k = (Known){.incident = incident};
    return k;
}

void notify_was_open(Notify *n, int64_t incident, bool held)
{
    Known *k = find_known(n, incident);

    if (!k)
        k = add_known(n, incident);
    if (k)
        k->held = held;
}

/* ---- the list ---- */

static bool is_sending(const Notify *n, const Notice *x)
{
    return n->channels[x->channel].sending == x;
}

static void unlink_notice(Notify *n, const Notice *x)
{
    for (Notice **at = &n->first; *at; at = &(*at)->next)
        if (*at == x) {
            *at = x->next;
            n->n--;
            return;
        }
}

static void end_notice(Notify *n, Notice *x, const char *state, int64_t wall_ms)
{
    text_copy(x->row.state, sizeof x->row.state, state);
    x->row.ended_ms = wall_ms;
    store_add_outbox(n->store, &x->row);
    unlink_notice(n, x);
    free(x);
}

static void give_up(Notify *n, Notice *x, const char *why, Now now)
{
    char key[NOTIFY_KEY_SIZE];

    log_warning("notify: %s to %s is given up: %s", notify_key(&x->row, key),
                notify_channel_to_string(x->channel), why);
    end_notice(n, x, "dropped", now.wall_ms);
}

static void make_room(Notify *n, Now now)
{
    Notice *x = n->first;

    if (n->n < NOTIFY_WAITING_MAX)
        return;
    while (x && is_sending(n, x))
        x = x->next;
    if (x)
        give_up(n, x, "too many wait", now);
}

/* Behind all others. NULL: no memory. */
static Notice *append_notice(Notify *n, NotifyChannel channel, const StoreOutbox *row, Now now)
{
    make_room(n, now);
    Notice *x = calloc(1, sizeof *x), **at = &n->first;
    if (!x)
        return NULL;
    x->row = *row;
    x->channel = channel;
    x->queued_us = now.mono_us;
    x->deadline_us = now.mono_us + NOTIFY_LIFE_MS * USEC_PER_MSEC;
    while (*at)
        at = &(*at)->next;
    *at = x;
    n->n++;
    return x;
}

/* Without memory for the notice the row on disk is still there for the next daemon. */
static void queue(Notify *n, NotifyChannel channel, const StoreIncident *i, const char *event,
                  Now now)
{
    StoreOutbox row = {.incident = *i, .created_ms = now.wall_ms};

    text_copy(row.event, sizeof row.event, event);
    text_copy(row.channel, sizeof row.channel, notify_channel_to_string(channel));
    text_copy(row.state, sizeof row.state, "waiting");
    Notice *x = append_notice(n, channel, &row, now);
    uint64_t durable_at = store_add_outbox(n->store, &row);
    if (x)
        x->durable_at = durable_at;
}

static unsigned queue_all(Notify *n, unsigned mask, const StoreIncident *i, const char *event,
                          Now now)
{
    unsigned queued = 0;

    for (unsigned c = 0; c < NOTIFY_CHANNEL_MAX; c++)
        if (n->channels[c].on && (mask & 1U << c)) {
            queue(n, (NotifyChannel)c, i, event, now);
            queued |= 1U << c;
        }
    return queued;
}

void notify_incident(Notify *n, const StoreIncident *i, Now now)
{
    bool open = strcmp(i->state, "open") == 0, closed = strcmp(i->state, "closed") == 0;
    Known *k = find_known(n, i->id);

    if (closed && !k && !i->held && strcmp(i->kind, "reboot") == 0)
        queue_all(n, ~0U, i, "opened", now); /* it begins and ends in one: one notice */
    if (open && !k) {
        k = add_known(n, i->id);
        if (k)
            k->held = true;
    }
    if (open && k && k->held && !i->held) {
        k->held = false;
        k->told = queue_all(n, ~0U, i, "opened", now);
    } else if (closed && k) {
        queue_all(n, k->told, i, "recovered", now);
        *k = n->known[--n->n_known];
    }
}

size_t notify_waiting(const Notify *n)
{
    return n->n;
}

/* ---- what an earlier daemon left ---- */

static void recall_one(Notify *n, const StoreOutbox *row, Now now)
{
    NotifyChannel channel = notify_channel_from_string(row->channel);
    bool opened = strcmp(row->event, "opened") == 0;
    Known *k = opened ? find_known(n, row->incident.id) : NULL;
    int64_t left_ms = NOTIFY_LIFE_MS - (now.wall_ms - row->created_ms);

    if (channel == NOTIFY_CHANNEL_INVALID || (!opened && strcmp(row->event, "recovered") != 0))
        return;
    if (k)
        k->told |= 1U << channel;
    if (strcmp(row->state, "waiting") != 0)
        return;
    Notice *x = append_notice(n, channel, row, now);
    if (!x)
        return;
    x->deadline_us = now.mono_us + (uint64_t)MIN(MAX(left_ms, 0), NOTIFY_LIFE_MS) * USEC_PER_MSEC;
    if (!n->channels[channel].on)
        give_up(n, x, "the config no longer has this channel", now);
}

void notify_recall(Notify *n, const char *db_path, Now now)
{
    CLEANUP_FREE StoreOutbox *rows = NULL;
    size_t n_rows = 0;
    int r = store_recall_outbox(db_path, &rows, &n_rows);

    if (r < 0)
        log_warning("notify: what still had to be sent cannot be read: %s", strerror(-r));
    for (size_t i = 0; i < n_rows; i++)
        recall_one(n, &rows[i], now);
    if (n->n)
        log_info("notify: %zu notices of an earlier run are still to be sent", n->n);
}

/* ---- sending ---- */

static void hold_back(Channel *c, Notice *x, const SendResult *r, Now now)
{
    unsigned *failures = r->refused ? &x->failures : &c->failures;
    uint64_t due_us = now.mono_us + notify_backoff_s(++*failures) * USEC_PER_SEC;

    if (r->refused)
        x->due_us = due_us;
    else
        c->due_us = due_us;
    if (*failures == 1)
        log_warning("notify: %s: %s; it is tried again for 24 h", name_of(c), r->text);
}

static void finish(Channel *c, const SendResult *r, Now now)
{
    Notify *n = c->notify;
    Notice *x = TAKE_PTR(c->sending);
    char key[NOTIFY_KEY_SIZE];

    c->send = send_free(c->send);
    if (!r->delivered) {
        c->failures = r->refused ? 0 : c->failures;
        hold_back(c, x, r, now);
        return;
    }
    if (c->failures)
        log_info("notify: %s works again", name_of(c));
    log_info("notify: %s sent by %s", notify_key(&x->row, key), name_of(c));
    c->failures = 0;
    end_notice(n, x, "sent", now.wall_ms);
    store_commit(n->store);
}

static bool may_leave(const Notify *n, const Notice *x, uint64_t durable, Now now)
{
    if (now.mono_us < x->due_us)
        return false;
    if (x->durable_at > durable && now.mono_us < x->queued_us + NOTIFY_STUCK_US)
        return false;
    if (strcmp(x->row.event, "opened") == 0)
        return true;
    for (const Notice *y = n->first; y != x; y = y->next)
        if (y->channel == x->channel && y->row.incident.id == x->row.incident.id)
            return false;
    return true;
}

static void start_next(Channel *c, Now now);

static void on_sent(void *userdata, const SendResult *r)
{
    Channel *c = userdata;
    Now now = clock_now();

    finish(c, r, now);
    start_next(c, now);
}

static void start_one(Channel *c, Notice *x, Now now)
{
    Notify *n = c->notify;
    SendResult failed = {.delivered = false};

    c->sending = x;
    int r = notify_channel_send(n->sender, n->config, c->which, &x->row, now, on_sent, c, &c->send,
                                failed.text, sizeof failed.text);
    if (r < 0)
        finish(c, &failed, now);
}

static void start_next(Channel *c, Now now)
{
    uint64_t durable = c->notify->n ? store_durable(c->notify->store) : 0;

    if (!c->on || c->send || now.mono_us < c->due_us)
        return;
    for (Notice *x = c->notify->first; x; x = x->next)
        if (x->channel == c->which && may_leave(c->notify, x, durable, now)) {
            start_one(c, x, now);
            return;
        }
}

static void give_up_old(Notify *n, Now now)
{
    for (Notice *x = n->first, *next; x; x = next) {
        next = x->next;
        if (now.mono_us >= x->deadline_us && !is_sending(n, x))
            give_up(n, x, "it could not be sent within 24 h", now);
    }
}

/* ---- the heartbeat ---- */

static void on_beat(void *userdata, const SendResult *r)
{
    Notify *n = userdata;

    n->beat = send_free(n->beat);
    if (!r->delivered && !n->beat_failed)
        log_warning("notify: heartbeat: %s", r->text);
    else if (r->delivered && n->beat_failed)
        log_info("notify: heartbeat works again");
    n->beat_failed = !r->delivered;
}

static bool is_well(const Notify *n)
{
    StoreStats stats;

    for (size_t i = 0; i < n->n_known; i++)
        if (!n->known[i].held)
            return false;
    store_stats(n->store, &stats);
    return !stats.error[0];
}

static void beat(Notify *n, Now now)
{
    SendRequest q = {.url = n->config->notify_heartbeat_url};

    if (!q.url || n->beat || now.mono_us < n->beat_us)
        return;
    n->beat_us = now.mono_us + n->config->notify_heartbeat_s * USEC_PER_SEC;
    if (is_well(n) && send_new(n->sender, &q, now, on_beat, n, &n->beat) < 0)
        log_warning("notify: heartbeat: it cannot be called");
}

/* ---- the clockwork ---- */

static void cut_overdue(Notify *n, Now now)
{
    SendResult r;

    for (size_t i = 0; i < NOTIFY_CHANNEL_MAX; i++) {
        Channel *c = &n->channels[i];
        if (c->send && now.mono_us >= send_deadline_us(c->send)) {
            send_overdue(c->send, &r);
            finish(c, &r, now);
        }
    }
    if (n->beat && now.mono_us >= send_deadline_us(n->beat)) {
        send_overdue(n->beat, &r);
        on_beat(n, &r);
    }
}

void notify_tick(Notify *n, Now now)
{
    if (!n->sender)
        return;
    cut_overdue(n, now);
    give_up_old(n, now);
    for (size_t i = 0; i < NOTIFY_CHANNEL_MAX; i++)
        start_next(&n->channels[i], now);
    beat(n, now);
}

uint64_t notify_next_us(const Notify *n)
{
    return n->sender ? sender_next_us(n->sender) : UINT64_MAX;
}

void notify_run(Notify *n, Now now)
{
    if (n->sender)
        sender_tick(n->sender, now);
}

/* ---- life ---- */

/* As the config says; what is under way is left to itself. */
static int open_channels(Notify *n)
{
    bool any = n->config->notify_heartbeat_url != NULL;

    for (unsigned i = 0; i < NOTIFY_CHANNEL_MAX; i++) {
        Channel *c = &n->channels[i];
        const char *why = "";
        c->notify = n;
        c->which = (NotifyChannel)i;
        int r = notify_channel_state(n->config, c->which, &why);
        if (r < 0)
            log_error("notify: %s; no mail is sent", why);
        c->on = r > 0;
        any = any || c->on;
    }
    return any && !n->sender ? sender_new(n->nest, n->lookup, &n->sender) : 0;
}

/* What was held back because of the old settings is tried at once by the new ones. */
int notify_configure(Notify *n, const Config *config, Now now)
{
    n->config = config;
    int r = open_channels(n);
    for (unsigned i = 0; i < NOTIFY_CHANNEL_MAX; i++) {
        n->channels[i].due_us = 0;
        n->channels[i].failures = 0;
    }
    for (Notice *x = n->first, *next; x; x = next) {
        next = x->next;
        if (!n->channels[x->channel].on && !is_sending(n, x))
            give_up(n, x, "the config no longer has this channel", now);
    }
    n->beat_us = MIN(n->beat_us, now.mono_us + config->notify_heartbeat_s * USEC_PER_SEC);
    return r;
}

int notify_new(Nest *nest, const Config *config, Store *store, ResolveLookup lookup, Now now,
               Notify **ret)
{
    CLEANUP(notify_freep) Notify *n = calloc(1, sizeof *n);

    if (!n)
        return -ENOMEM;
    n->nest = nest;
    n->lookup = lookup;
    n->config = config;
    n->store = store;
    n->beat_us = now.mono_us + config->notify_heartbeat_s * USEC_PER_SEC;
    int r = open_channels(n);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(n);
    return 0;
}

Notify *notify_free(Notify *n)
{
    if (!n)
        return NULL;
    for (size_t i = 0; i < NOTIFY_CHANNEL_MAX; i++)
        send_free(n->channels[i].send);
    send_free(n->beat);
    if (n->sender)
        sender_free(n->sender);
    while (n->first) {
        Notice *x = n->first;
        n->first = x->next;
        free(x);
    }
    free(n->known);
    free(n);
    return NULL;
}
