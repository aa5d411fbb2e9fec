/* The state of the world as the API tells it: a snapshot, kept up to date by deltas.
 *
 * Pure: messages in, sorted rows out. Used by `watch`, by tests that compare it with REST and the
 * database, and by whoever needs one consistent picture. Rows are sorted by (pc_id, app_id). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/protocol.h"

#define WORLD_SERVICES_MAX    100000
#define WORLD_TRANSITIONS_MAX 256
#define WORLD_ALERTS_MAX      256

typedef struct World {
    ServiceRow *services;
    size_t n_services, cap_services;
    PcRow *pcs;
    size_t n_pcs, cap_pcs;
    TransitionRow transitions[WORLD_TRANSITIONS_MAX]; /* ring; evidence is never kept here */
    size_t n_transitions;              /* ever seen; the newest is at (n - 1) % MAX */
    AlertRow alerts[WORLD_ALERTS_MAX]; /* pending and open ones, in the order they came */
    size_t n_alerts;
    uint64_t seq;
    int64_t ts; /* of the last message */
} World;

void world_done(World *w);

/* Takes one message ("hello", "snapshot", "delta") over. -EBADMSG when it is malformed: the world
 * is then as it was before, except for rows that were read already. -ENOMEM. */
int world_apply(World *w, const char *type, const Json *message);

const ServiceRow *world_service(const World *w, const char *pc_id, const char *app_id);
const PcRow *world_pc(const World *w, const char *pc_id);
/* The i-th newest transition, NULL beyond what is kept. */
const TransitionRow *world_transition(const World *w, size_t i);
