/* Records that wait to be written, in memory.
 *
 * A batch owns copies of everything in it. Moving records from one batch to another cannot fail and
 * copies next to nothing, so the lock that guards the waiting batch is held for moments only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/store.h"

#define STORE_CHUNK_CHECKS 680 /* 16 KiB */
#define STORE_EVIDENCE_MAX (64U << 10)

typedef struct StoreCheck {
    int64_t ts_ms;
    uint32_t handle;
    int32_t latency_us; /* < 0: none */
    uint16_t facts;     /* store_facts_pack() */
} StoreCheck;

typedef struct StoreChunk {
    struct StoreChunk *next;
    size_t n;
    StoreCheck checks[STORE_CHUNK_CHECKS];
} StoreChunk;

typedef enum StoreEventKind {
    STORE_EVENT_TRANSITION,
    STORE_EVENT_INCIDENT, /* the record follows the struct, and t is empty */
    STORE_EVENT_OUTBOX,   /* the same */
    STORE_EVENT_AUDIT,    /* the same */
    STORE_EVENT_SILENCE,  /* the same */
    STORE_EVENT_BOOT,     /* the same */
} StoreEventKind;

typedef struct StoreEvent {
    struct StoreEvent *next;
    size_t bytes;
    StoreEventKind kind;
    StoreTransition t; /* its strings follow the struct */
} StoreEvent;

typedef struct StoreName {
    struct StoreName *next;
    uint32_t handle;
    char app_id[ID_MAX + 1];
    char pc_id[ID_MAX + 1];
} StoreName;

typedef struct StoreHour {
    int64_t hour_ms;
    uint32_t handle;
    uint32_t healthy_ms, observed_ms, transitions;
} StoreHour;

typedef struct StoreBatch {
    StoreChunk *chunks, *last_chunk;
    StoreEvent *events, *last_event;
    StoreName *names, *last_name;
    StoreHour *hours;
    size_t n_hours, cap_hours;
    size_t n_checks, n_events;
    size_t bytes;      /* of memory in use, about */
    uint64_t sequence; /* of the last outbox or audit row in it; 0: none */
} StoreBatch;

void store_batch_done(StoreBatch *b); /* empty and usable afterwards */
bool store_batch_is_empty(const StoreBatch *b);

/* -ENOMEM leaves the batch as it was. */
int store_batch_add_check(StoreBatch *b, const StoreCheck *check);
int store_batch_add_event(StoreBatch *b,
                          const StoreTransition *t); /* too long evidence is left out */
int store_batch_add_incident(StoreBatch *b, const StoreIncident *i);
int store_batch_add_outbox(StoreBatch *b, const StoreOutbox *o, uint64_t sequence);
int store_batch_add_audit(StoreBatch *b, const StoreAudit *a, uint64_t sequence);
int store_batch_add_silence(StoreBatch *b, const Silence *i);
int store_batch_add_boot(StoreBatch *b, const StoreBoot *boot);
const StoreIncident *store_event_incident(const StoreEvent *e);
const Silence *store_event_silence(const StoreEvent *e);
const StoreBoot *store_event_boot(const StoreEvent *e);
const StoreOutbox *store_event_outbox(const StoreEvent *e);
const StoreAudit *store_event_audit(const StoreEvent *e);
int store_batch_add_name(StoreBatch *b, uint32_t handle, const char *app_id, const char *pc_id);
int store_batch_add_hour(StoreBatch *b, const StoreHour *hour);

/* Appends all of `from` to `to`, in order. What finds no memory (hours only) stays in from. */
void store_batch_move(StoreBatch *to, StoreBatch *from);
/* The same for at most max_checks checks (rounded up to a chunk), the oldest. */
void store_batch_take(StoreBatch *to, StoreBatch *from, size_t max_checks);

/* Makes room: each frees what is oldest until b->bytes <= max or nothing of its kind is left, and
 * returns how many records went. */
size_t store_batch_drop_checks(StoreBatch *b, size_t max);
size_t store_batch_drop_events(StoreBatch *b, size_t max);
void store_batch_merge_hours(StoreBatch *b); /* adds up the parts of the same hour and service */
