/* The simulation's world: PCs and services that live, crash, hang and get cut off, by a seed.
 *
 * It plays the part of probe and transport: it tells the fleet what real probes would have seen,
 * with latencies, lost signals and level checks, and it knows the truth, which the checker compares
 * with what the fleet shows. Everything happens at a virtual time; one seed is one story. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/fleet.h"

#define SIM_PCS_MAX      50
#define SIM_SERVICES_MAX 40 /* per PC */

typedef struct SimService {
    char app_id[16];
    Service *service; /* NULL while the registry does not name it */
    UnitFacts unit;   /* the truth */
    bool has_port, has_health;
    bool listening;
    bool hung; /* health gives no answer */
    int http_status;
    uint64_t restart_us; /* mono: systemd restarts it then; 0: no */
    uint64_t listen_us;  /* mono: the port opens then; 0: no */
    uint64_t answer_us;  /* mono: a health request in flight ends then; 0: none */
    uint64_t asked_us;
    bool answer_timeout;
    uint64_t calm_since_us; /* nothing happened to it since */
    uint32_t crashes_told;  /* deaths of a running unit that the fleet was told of by a signal */
    uint32_t failed_seen;   /* transitions to failed that the fleet emitted */
    bool counts;            /* false once something made exact counting impossible */
    uint32_t misses;
} SimService;

typedef struct SimPc {
    char pc_id[16];
    FleetPc *pc;
    bool cut;           /* nothing gets through */
    uint64_t cut_us;    /* since when */
    uint64_t notice_us; /* mono: the transport reports the cut or the way back then; 0: nothing */
    uint64_t up_us;     /* mono: it was switched off, and is up again then; 0: it is up */
    uint32_t boot, boot_told; /* which boot this is; which one the fleet knows (0: none) */
    uint32_t reboots_due;     /* times that the fleet came to know of another boot */
    uint64_t calm_since_us;   /* reachable and undisturbed since */
    uint64_t next_us;         /* mono: the first of all times in here; 0: look anew */
    SimService services[SIM_SERVICES_MAX];
    int n_services;
} SimPc;

typedef struct SimWorld {
    uint64_t random;
    Now now;
    Fleet *fleet;
    SimPc pcs[SIM_PCS_MAX];
    int n_pcs;
    uint64_t checks; /* looks that the fleet counted */
    bool is_lean; /* ports are told with each level check only: cheap for us, not for the fleet */
    char failure[512];
} SimWorld;

uint32_t sim_random(SimWorld *w, uint32_t below);
void sim_world_init(SimWorld *w, uint64_t seed, int pcs, int services);
/* The registry's word for the world, for fleet_apply(). */
int sim_world_apply(SimWorld *w);
void sim_world_added(SimWorld *w, FleetPc *pc, Service *s);
void sim_world_removed(SimWorld *w, FleetPc *pc, Service *s);
SimService *sim_find(SimWorld *w, const Service *s);

/* Something happens to something. */
void sim_disturb(SimWorld *w);
void sim_die(SimWorld *w, SimPc *pc, SimService *s); /* for good, and everybody hears of it */
void sim_come_up(SimWorld *w, SimPc *pc, SimService *s);
void sim_cut_or_heal(SimWorld *w, SimPc *pc);
/* Its services stop, it goes, is away for off_us, and they come up again one by one. Nothing while
 * it is off; a PC that is cut off reboots unseen. */
void sim_reboot(SimWorld *w, SimPc *pc, uint64_t off_us);
/* The computer that watches sleeps: time passes, and nothing is done. */
void sim_sleep(SimWorld *w, uint64_t us);
/* Lets the virtual time go on to `us`, doing everything that is due on the way. */
void sim_advance(SimWorld *w, uint64_t us);
