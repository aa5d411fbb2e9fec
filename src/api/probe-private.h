/* Shared by the files probe*.c: the objects, and the steps that stand in a file of their own. */
#pragma once

#include "api/probe-unit.h"
#include "api/probe.h"

typedef struct ProbeBus {
    ProbePc *owner;
    UnitBus *bus;      /* NULL: not needed */
    Cause cause;       /* CAUSE_NONE: readable */
    bool wanted_up;    /* the transport is usable, so it should be connected */
    uint64_t retry_us; /* mono: reconnect then; 0: no */
    uint64_t backoff_us;
    uint64_t doubt_us; /* mono: a missing manager is believed then; 0: no */
} ProbeBus;

/* A round of questions by command, where a bus cannot be reached. */
typedef struct ProbePoll {
    ProbePc *owner;
    UnitScope scope;
    bool is_out;
    size_t at;         /* place among the PC's services from which the next question is filled */
    uint64_t began_us; /* mono */
    size_t n;
    uint32_t handles[TRANSPORT_UNITS_MAX];
} ProbePoll;

struct ProbePc {
    Probe *probe;
    FleetPc *pc; /* NULL once the PC left the fleet */
    Transport *transport;
    Cause transport_cause; /* CAUSE_NOT_CHECKED_YET until its first word */
    ProbeBus buses[SCOPE_MAX];
    ProbePoll polls[SCOPE_MAX];
    PortTable ports;
    bool ports_pending;
    bool linger_off;
    uint64_t ping_us;
    uint64_t about_us; /* when uname and linger are asked again */
    Now asked;         /* when they were asked last */
    ProbePc *next;
};

struct Probe {
    sd_event *event;
    Nest *nest;
    Fleet *fleet;
    ProbeTransportFactory factory;
    void *factory_userdata;
    HttpProber *http;
    ProbePc *pcs;
    uint64_t tick_us;  /* mono: next tick */
    uint64_t burst_us; /* mono: the next burst may start then; 0: nothing waits */
};

/* Says what is known of the PC as a whole. */
void probe_tell_fleet(ProbePc *p);

/* probe-poll.c: one round of questions by command about the units of a scope. */
void probe_poll_start(ProbePc *p, UnitScope scope);

/* probe-health.c */
void probe_on_http(void *userdata, uint32_t handle, const HttpFacts *facts); /* a look has ended */
void probe_start_requests(Probe *p, Now now); /* starts what is due, at most a burst of it */
