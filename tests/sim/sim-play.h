/* One play: the daemon's core on one side, the fake world on the other, and a checker that watches
 * both and the client that listens. */
#pragma once

#include "api/incident.h"
#include "api/publish.h"
#include "api/store.h"
#include "common/world.h"
#include "sim-world.h"

#define SIM_ALERT_AFTER_S 60
#define SIM_GRACE_S       30

typedef struct Sim {
    SimWorld world;
    Publish *publish;
    Incidents *incidents;
    Store *store; /* NULL without a database */
    World client;
    bool is_deaf; /* no client listens: nothing is built from the deltas */
    uint64_t last_seq;
    uint64_t tick_us; /* when the last second was lived through */
    uint64_t transitions, pc_transitions, failures;
    uint64_t observed_ms;                                 /* of all services */
    Cause last_pc_cause;                                  /* of the last transition of a PC */
    uint32_t told[INCIDENT_KIND_MAX][INCIDENT_STATE_MAX]; /* entries into a state */
    uint32_t reboots_seen[SIM_PCS_MAX], reboots_told[SIM_PCS_MAX];
    int64_t told_id;
    IncidentState told_state;
} Sim;

/* db NULL: without a store. *s is zero. */
int sim_begin(Sim *s, uint64_t seed, int pcs, int services, const char *db);
void sim_end(Sim *s);
/* A second passes, as in the daemon; if more than that has passed already, it was asleep. */
void sim_second(Sim *s);
void sim_check(Sim *s);        /* nothing that is shown is untrue */
void sim_check_client(Sim *s); /* the picture a client has built from deltas equals the fleet's */
void sim_check_rest(Sim *s);   /* so does what REST answers */
void sim_check_store(Sim *s, const char *db);
/* Notes the first rule that was broken; service may be NULL. */
void sim_fail(Sim *s, const char *what, const Service *service);

/* Directed stories: the promises R1, R3, R7, R8 and R11. Returns how many were broken. */
unsigned sim_scenes(void);
