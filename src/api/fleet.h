/* The daemon's core: every PC and service with its present facts and verdict. No I/O, no clock, no
 * thread.
 *
 * Facts are put in from the left (probe, or the simulation's fake world); what follows from them
 * leaves to the right by the callbacks the composition root wired (store, publish, journal). The
 * fleet says what it wants looked at next through fleet_due(), it never starts a look itself. The
 * same code runs under the simulation's virtual clock.
 *
 * Identity: a Service lives from the registry that names it to the one that does not; its `handle`
 * is never reused while the daemon runs, so a late answer for a removed service finds nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/reconcile.h"
#include "api/registry.h"
#include "api/silence.h"
#include "basic/heap.h"
#include "common/name.h"
#include "common/protocol.h"

#define DAY_HOURS 24

#define LATENCY_BOUNDS 8
extern const uint32_t fleet_latency_bounds_us[LATENCY_BOUNDS]; /* upper, inclusive, rising */

typedef struct Fleet Fleet;
typedef struct FleetPc FleetPc;
typedef struct Service Service;

/* What a row shows beyond check time and latency: a change of it makes the row dirty. */
typedef struct ServiceLook {
    Actual actual;
    Light light;
    Cause cause;
    uint32_t hints;
    LoadState load;
    ActiveState active;
    int32_t http_status;
    int32_t exec_status;
    uint32_t runs;
    uint32_t n_restarts;
    uint32_t owner_pid;
    int8_t port_listening;
    int64_t since_ms;
} ServiceLook;

/* Counted since the service came into this fleet. */
typedef struct ServiceTally {
    uint32_t latency[LATENCY_BOUNDS + 1]; /* answers within each bound, the last: beyond all */
    uint32_t no_answer;                   /* health requests that nothing or nonsense answered */
    uint32_t transitions;
    uint64_t latency_sum_us;
} ServiceTally;

struct Service {
    uint32_t handle; /* 1.. */
    FleetPc *pc;
    Want want; /* own copies of all strings, in one block: want_block */
    char *want_block;
    Facts facts;
    Track track;
    ServiceLook look;
    HeapNode due;         /* next look at port and health */
    uint64_t wanted_us;   /* when the look that was handed out last had been due */
    bool unstarted;       /* and that look was put back at once: it is late since then */
    uint32_t slot;        /* second within the interval at which its regular look starts */
    bool in_flight;       /* a health request is out */
    bool again;           /* look once more as soon as the present request ends */
    bool dirty;           /* row differs from the one last published */
    bool checked;         /* checked since the last publish */
    Service *marked_next; /* list of dirty or checked services; see fleet_marked() */
    bool is_marked;
    int64_t last_check_ms;       /* wall; 0: not yet */
    int64_t last_healthy_ms;     /* wall; 0: never */
    uint32_t by_hour[DAY_HOURS]; /* transitions per hour of the last day, ring by hour number */
    int64_t by_hour_last;        /* hour number (wall ms / 3,600,000) the ring ends with */
    ServiceTally tally;
    uint64_t booked_us; /* mono time up to which its hour has been booked; 0: nothing yet */
    uint32_t healthy_ms, observed_ms, hour_transitions; /* booked, not yet handed to the store */
    int64_t silence, maintenance; /* ids of what covers it now; 0: nothing does */
    struct Incident *incident;    /* pending or open; incident.c's own */
    struct AutoFixMemory *fix;    /* auto-fix.c's own */
    const char *note; /* follows its sentence while it is not well; NULL: none. See fleet_note() */
    void *watch;      /* the probe layer's watch of its unit */
};

struct FleetPc {
    char *pc_id;
    char *ssh_host; /* the pc_id when the registry names none */
    bool is_self;
    bool may_sleep;
    PcFacts facts;
    Actual stored; /* ACTUAL_RUNNING (reachable and readable), ACTUAL_UNREACHABLE, ACTUAL_UNKNOWN */
    int64_t since_ms;
    uint64_t back_us; /* mono: when it was reachable and readable again; 0: never away */
    int32_t lag_us;
    bool events;
    bool skew_known;
    int64_t skew_ms; /* its clock minus ours */
    char uname[160];
    char boot_id[BOOT_ID_LEN + 1];  /* "" while it told none */
    bool boot_is_new, boot_differs; /* told since the last answer; and another one was known */
    uint64_t rebooted_us;           /* mono: its first answer after a reboot; 0: none was seen */
    uint64_t reboot_told_us;        /* mono, of the last reboot's incident; incident.c's own */
    int64_t last_check_ms;
    int64_t silence, maintenance; /* as a service's */
    bool dirty;
    Service **services; /* sorted by app_id */
    size_t n_services, cap_services;
    HeapNode due; /* next level check (ListUnitsByNames) */
    void *probe;  /* the probe layer's own object for this PC */
};

typedef struct FleetOps {
    /* A transition happened; row is complete; change (NULL for a PC's) has the evidence known so
     * far; s is NULL for a PC's. */
    void (*transition)(void *userdata, FleetPc *pc, Service *s, const TransitionRow *row,
                       const Change *change);
    /* A service was looked at: one history row. */
    void (*check)(void *userdata, Service *s, int64_t ts_ms);
    /* A part of an hour, to be added up in history. */
    void (*hour)(void *userdata, Service *s, int64_t hour_ms, uint32_t healthy_ms,
                 uint32_t observed_ms, uint32_t transitions);
    /* Something visible changed by an event: publish now, not with the next tick. */
    void (*changed)(void *userdata);
    /* A service (or, with s NULL, a PC) is about to disappear. */
    void (*removed)(void *userdata, FleetPc *pc, Service *s);
    /* A service is new (or its unit changed), a PC is new: history and the probes adapt. */
    void (*added)(void *userdata, FleetPc *pc, Service *s);
    /* The PC answers, and its boot id is news, or is seen for the first time. again: another one
     * was known, so it was rebooted. May be NULL. */
    void (*booted)(void *userdata, FleetPc *pc, bool again);
} FleetOps;

/* boot_s: Unix seconds of the daemon's start, the upper part of transition ids. */
int fleet_new(const FleetOps *ops, void *userdata, uint32_t interval_ms, int64_t boot_s,
              Fleet **ret);
Fleet *fleet_free(Fleet *f); /* no callbacks */

/* Takes a registry over by difference: services that stay keep their facts and history. wants as of
 * registry_wants(). -ENOMEM leaves a consistent fleet that misses some of the new services. */
int fleet_apply(Fleet *f, const Registry *r, const RegistryPc *self, const Want *wants, size_t n,
                Now now);
void fleet_set_interval(Fleet *f, uint32_t interval_ms, Now now);
uint32_t fleet_interval_ms(const Fleet *f);

size_t fleet_n_pcs(const Fleet *f);
FleetPc *fleet_pc_at(const Fleet *f, size_t i); /* sorted by pc_id */
FleetPc *fleet_pc(const Fleet *f, const char *pc_id);
Service *fleet_service(const Fleet *f, const char *app_id, const char *pc_id);
Service *fleet_by_handle(const Fleet *f, uint32_t handle); /* NULL when it is gone */
size_t fleet_n_services(const Fleet *f);
uint64_t fleet_version(
    const Fleet *f); /* grows with every change of any row, check times included */

/* Facts come in. Each call judges what it touches and emits what follows. */
void fleet_pc_answer(Fleet *f, FleetPc *pc, const PcFacts *facts, Now now);
/* Its boot id, before the answer that it belongs to; no boot id at all is ignored. */
void fleet_pc_boot(FleetPc *pc, const char *boot_id);
/* Which boot an earlier daemon saw last; before its first answer, with which booted() tells. */
void fleet_pc_recall_boot(FleetPc *pc, const char *boot_id);
void fleet_pc_about(Fleet *f, FleetPc *pc, const char *uname, bool events); /* for the PC's row */
void fleet_pc_skew(Fleet *f, FleetPc *pc, int64_t skew_ms);
void fleet_pc_checked(Fleet *f, FleetPc *pc, int32_t lag_us,
                      Now now); /* its level check ended well */
void fleet_unit(Fleet *f, Service *s, const UnitFacts *facts, bool is_event, Now now);
void fleet_port(Fleet *f, Service *s, const PortFacts *facts, Now now);
void fleet_http(Fleet *f, Service *s, const HttpFacts *facts, Now now); /* ends the look: a check */
/* The store's memory of a service, before its first look. */
void fleet_recall(Fleet *f, Service *s, Actual last_to, int64_t last_ts_ms, int64_t last_healthy_ms,
                  uint32_t transitions_24h, Now now);

/* What is due. fleet_due() returns the next service whose health request should start now
 * (in_flight is set: answer with fleet_http()), NULL when there is none; on its way it counts those
 * that need no request as checked. fleet_pc_due() returns the next PC whose level check is due. */
Service *fleet_due(Fleet *f, Now now);
FleetPc *fleet_pc_due(Fleet *f, Now now);
uint64_t fleet_next_us(const Fleet *f); /* mono time of the earliest due look; UINT64_MAX: none */
/* How late the most belated look of this interval or the one before started, or still waits.
 * After a sleep of the computer that is the sleep: nothing was looked at meanwhile. */
uint64_t fleet_late_us(const Fleet *f, Now now);
uint64_t fleet_tick_after(const Fleet *f, Now now); /* the next full second of the regular looks */
/* Brings a look forward: a recheck, "check now", an accept queue that does not fall. */
void fleet_look_now(Fleet *f, Service *s, Now now);
/* The request could not be started (too many are out): the look stays due. */
void fleet_put_back(Fleet *f, Service *s, Now now);

/* Services that are dirty or were checked since fleet_clear_marks(), linked by marked_next. */
Service *fleet_marked(const Fleet *f);
void fleet_clear_marks(Fleet *f); /* also the PCs' */
bool fleet_has_marks(const Fleet *f);

/* What else people should know of a service that is not well; borrowed until the next call. */
void fleet_note(Fleet *f, Service *s, const char *note);
/* One sentence on how it is, as in its row. */
void fleet_sentence(const Service *s, char *ret, size_t size);

/* Rows as the API shows them. */
void fleet_service_row(const Fleet *f, const Service *s, Now now, ServiceRow *ret);
void fleet_pc_row(const Fleet *f, const FleetPc *pc, PcRow *ret);

/* Silences and maintenance as of now: whenever silences_tick() says so, and after fleet_apply().
 * x is borrowed until the fleet ends. */
void fleet_cover(Fleet *f, const Silences *x, Now now);
const Silence *fleet_silence(const Fleet *f, int64_t id); /* NULL: it is over */

/* Books the time since the last call on every service's hour and hands finished parts to the store;
 * called each minute and at exit. gap: we were asleep, so nothing was observed meanwhile. */
void fleet_book(Fleet *f, Now now, bool gap);

int64_t fleet_next_transition_id(Fleet *f);
/* Ids grow over all daemons that write one history: those of this one begin behind the last that an
 * earlier one stored, and behind this moment, so that two that start within one second, or one that
 * starts after the clock was set back, do not give the same id twice. */
#define FLEET_ID_MAX (INT64_C(1) << 53) /* what every JSON reader can hold; larger is not ours */
void fleet_ids_after(Fleet *f, int64_t wall_ms, int64_t last_id);
