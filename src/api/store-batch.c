/* Records that wait to be written.
 *
 * Checks lie in chunks of 16 KiB: there may be 2 million of them when the disk has been full for
 * half an hour, and neither growing one array of that size nor dropping its front may stall the
 * loop. Whoever moves a batch hands chunks over; only what fits into the last chunk of the receiver
 * is copied, so two neighbouring chunks together always hold more than one could.
 *
 * Hours are one array: their parts can be added up, so their number is bounded by services x hours
 * and not by time. */
#include "api/store-batch.h"

#include <errno.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

static void drop_first_chunk(StoreBatch *b)
{
    StoreChunk *c = b->chunks;

    b->chunks = c->next;
    if (!b->chunks)
        b->last_chunk = NULL;
    b->n_checks -= c->n;
    b->bytes -= sizeof *c;
    free(c);
}

static void drop_first_event(StoreBatch *b)
{
    StoreEvent *e = b->events;

    b->events = e->next;
    if (!b->events)
        b->last_event = NULL;
    b->n_events--;
    b->bytes -= e->bytes;
    free(e);
}

void store_batch_done(StoreBatch *b)
{
    while (b->chunks)
        drop_first_chunk(b);
    while (b->events)
        drop_first_event(b);
    while (b->names) {
        StoreName *next = b->names->next;
        free(b->names);
        b->names = next;
    }
    free(b->hours);
    *b = (StoreBatch){0};
}

bool store_batch_is_empty(const StoreBatch *b)
{
    return b->n_checks == 0 && !b->events && !b->names && b->n_hours == 0;
}

static void append_chunk(StoreBatch *b, StoreChunk *c)
{
    c->next = NULL;
    if (b->last_chunk)
        b->last_chunk->next = c;
    else
        b->chunks = c;
    b->last_chunk = c;
    b->n_checks += c->n;
    b->bytes += sizeof *c;
}

int store_batch_add_check(StoreBatch *b, const StoreCheck *check)
{
    if (!b->last_chunk || b->last_chunk->n == STORE_CHUNK_CHECKS) {
        StoreChunk *c = malloc(sizeof *c);
        if (!c)
            return -ENOMEM;
        c->n = 0;
        append_chunk(b, c);
    }
    b->last_chunk->checks[b->last_chunk->n++] = *check;
    b->n_checks++;
    return 0;
}

/* Copies s behind what was put so far; NULL stays NULL. */
static const char *put_text(char **at, const char *s, size_t len)
{
    char *start = *at;

    if (!s)
        return NULL;
    memcpy(start, s, len);
    start[len] = '\0';
    *at += len + 1;
    return start;
}

static void append_event(StoreBatch *b, StoreEvent *e)
{
    if (b->last_event)
        b->last_event->next = e;
    else
        b->events = e;
    b->last_event = e;
    b->n_events++;
    b->bytes += e->bytes;
}

const StoreIncident *store_event_incident(const StoreEvent *e)
{
    return (const StoreIncident *)(e + 1);
}

const Silence *store_event_silence(const StoreEvent *e)
{
    return (const Silence *)(e + 1);
}

const StoreBoot *store_event_boot(const StoreEvent *e)
{
    return (const StoreBoot *)(e + 1);
}

const StoreOutbox *store_event_outbox(const StoreEvent *e)
{
    return (const StoreOutbox *)(e + 1);
}

const StoreAudit *store_event_audit(const StoreEvent *e)
{
    return (const StoreAudit *)(e + 1);
}

static int add_record(StoreBatch *b, StoreEventKind kind, const void *record, size_t size)
{
    size_t bytes = sizeof(StoreEvent) + size;
    StoreEvent *e = malloc(bytes);

    if (!e)
        return -ENOMEM;
    *e = (StoreEvent){.bytes = bytes, .kind = kind};
    memcpy(e + 1, record, size);
    append_event(b, e);
    return 0;
}

int store_batch_add_incident(StoreBatch *b, const StoreIncident *i)
{
    return add_record(b, STORE_EVENT_INCIDENT, i, sizeof *i);
}

int store_batch_add_silence(StoreBatch *b, const Silence *i)
{
    return add_record(b, STORE_EVENT_SILENCE, i, sizeof *i);
}

int store_batch_add_boot(StoreBatch *b, const StoreBoot *boot)
{
    return add_record(b, STORE_EVENT_BOOT, boot, sizeof *boot);
}

int store_batch_add_outbox(StoreBatch *b, const StoreOutbox *o, uint64_t sequence)
{
    int r = add_record(b, STORE_EVENT_OUTBOX, o, sizeof *o);

    if (r >= 0)
        b->sequence = sequence;
    return r;
}

int store_batch_add_audit(StoreBatch *b, const StoreAudit *a, uint64_t sequence)
{
    int r = add_record(b, STORE_EVENT_AUDIT, a, sizeof *a);

    if (r >= 0)
        b->sequence = sequence;
    return r;
}

int store_batch_add_event(StoreBatch *b, const StoreTransition *t)
{
    size_t pc = t->pc_id ? strnlen(t->pc_id, ID_MAX) : 0;
    size_t sentence = t->sentence ? strnlen(t->sentence, 1024) : 0;
    size_t evidence = t->evidence ? strnlen(t->evidence, STORE_EVIDENCE_MAX + 1) : 0;
    size_t bytes = sizeof(StoreEvent) + pc + sentence + evidence + 3;
    StoreEvent *e = malloc(bytes);

    if (!e)
        return -ENOMEM;
    char *at = (char *)(e + 1);
    *e = (StoreEvent){.bytes = bytes, .t = *t};
    e->t.pc_id = put_text(&at, t->pc_id, pc);
    e->t.sentence = put_text(&at, t->sentence, sentence);
    e->t.evidence = evidence > STORE_EVIDENCE_MAX ? NULL : put_text(&at, t->evidence, evidence);
    append_event(b, e);
    return 0;
}

int store_batch_add_name(StoreBatch *b, uint32_t handle, const char *app_id, const char *pc_id)
{
    StoreName *n = calloc(1, sizeof *n);

    if (!n)
        return -ENOMEM;
    n->handle = handle;
    text_copy(n->app_id, sizeof n->app_id, app_id);
    text_copy(n->pc_id, sizeof n->pc_id, pc_id);
    if (b->last_name)
        b->last_name->next = n;
    else
        b->names = n;
    b->last_name = n;
    b->bytes += sizeof *n;
    return 0;
}

static int reserve_hours(StoreBatch *b, size_t n)
{
    if (b->n_hours + n <= b->cap_hours)
        return 0;
    size_t cap = MAX(2 * b->cap_hours, b->n_hours + n);
    StoreHour *hours = reallocarray(b->hours, cap, sizeof *hours);
    if (!hours)
        return -ENOMEM;
    b->bytes += (cap - b->cap_hours) * sizeof *hours;
    b->hours = hours;
    b->cap_hours = cap;
    return 0;
}

int store_batch_add_hour(StoreBatch *b, const StoreHour *hour)
{
    if (reserve_hours(b, 1) < 0)
        return -ENOMEM;
    b->hours[b->n_hours++] = *hour;
    return 0;
}

static void move_hours(StoreBatch *to, StoreBatch *from)
{
    if (from->n_hours == 0 || reserve_hours(to, from->n_hours) < 0)
        return;
    memcpy(to->hours + to->n_hours, from->hours, from->n_hours * sizeof *from->hours);
    to->n_hours += from->n_hours;
    from->bytes -= from->cap_hours * sizeof *from->hours;
    free(from->hours);
    from->hours = NULL;
    from->n_hours = from->cap_hours = 0;
}

static void move_events(StoreBatch *to, StoreBatch *from)
{
    if (!from->events)
        return;
    for (const StoreEvent *e = from->events; e; e = e->next) {
        to->bytes += e->bytes;
        from->bytes -= e->bytes;
    }
    if (to->last_event)
        to->last_event->next = from->events;
    else
        to->events = from->events;
    to->last_event = from->last_event;
    to->n_events += from->n_events;
    to->sequence = MAX(to->sequence, from->sequence);
    from->events = from->last_event = NULL;
    from->n_events = 0;
    from->sequence = 0;
}

static void move_names(StoreBatch *to, StoreBatch *from)
{
    if (!from->names)
        return;
    for (const StoreName *n = from->names; n; n = n->next) {
        to->bytes += sizeof *n;
        from->bytes -= sizeof *n;
    }
    if (to->last_name)
        to->last_name->next = from->names;
    else
        to->names = from->names;
    to->last_name = from->last_name;
    from->names = from->last_name = NULL;
}

/* A few checks are copied into the room that is left, and from keeps its chunk for the next ones.
 */
static bool move_few_checks(StoreBatch *to, StoreBatch *from)
{
    StoreChunk *c = from->chunks, *last = to->last_chunk;

    if (c->next || !last || STORE_CHUNK_CHECKS - last->n < c->n)
        return false;
    memcpy(last->checks + last->n, c->checks, c->n * sizeof *c->checks);
    last->n += c->n;
    to->n_checks += c->n;
    from->n_checks -= c->n;
    c->n = 0;
    return true;
}

static void move_first_chunk(StoreBatch *to, StoreBatch *from)
{
    StoreChunk *c = from->chunks;

    from->chunks = c->next;
    if (!from->chunks)
        from->last_chunk = NULL;
    from->n_checks -= c->n;
    from->bytes -= sizeof *c;
    append_chunk(to, c);
}

void store_batch_take(StoreBatch *to, StoreBatch *from, size_t max_checks)
{
    size_t taken = 0;

    move_names(to, from);
    move_events(to, from);
    move_hours(to, from);
    while (from->n_checks && taken < max_checks) {
        size_t n = from->chunks->n;
        if (!move_few_checks(to, from))
            move_first_chunk(to, from);
        taken += n;
    }
}

void store_batch_move(StoreBatch *to, StoreBatch *from)
{
    store_batch_take(to, from, SIZE_MAX);
}

size_t store_batch_drop_checks(StoreBatch *b, size_t max)
{
    size_t before = b->n_checks;

    while (b->bytes > max && b->chunks)
        drop_first_chunk(b);
    return before - b->n_checks;
}

size_t store_batch_drop_events(StoreBatch *b, size_t max)
{
    size_t before = b->n_events;

    while (b->bytes > max && b->events)
        drop_first_event(b);
    return before - b->n_events;
}

static int by_hour(const void *a, const void *b)
{
    const StoreHour *x = a, *y = b;

    if (x->hour_ms != y->hour_ms)
        return x->hour_ms < y->hour_ms ? -1 : 1;
    return (x->handle > y->handle) - (x->handle < y->handle);
}

void store_batch_merge_hours(StoreBatch *b)
{
    size_t n = 0;

    if (b->n_hours == 0)
        return;
    qsort(b->hours, b->n_hours, sizeof *b->hours, by_hour);
    for (size_t i = 1; i < b->n_hours; i++) {
        const StoreHour *h = &b->hours[i];
        StoreHour *sum = &b->hours[n];
        if (by_hour(h, sum) == 0) {
            sum->healthy_ms += h->healthy_ms;
            sum->observed_ms += h->observed_ms;
            sum->transitions += h->transitions;
        } else {
            b->hours[++n] = *h;
        }
    }
    b->n_hours = n + 1;
    StoreHour *smaller = reallocarray(b->hours, b->n_hours, sizeof *b->hours);
    if (smaller) {
        b->bytes -= (b->cap_hours - b->n_hours) * sizeof *b->hours;
        b->hours = smaller;
        b->cap_hours = b->n_hours;
    }
}
