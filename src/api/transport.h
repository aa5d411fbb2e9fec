/* The way to one PC. What is above cannot tell which PC it is: a transport hands out the addresses
 * of its buses, a look at its ports, a way to dial a health port, and a run of one of a few
 * constant commands.
 *
 * transport-local.c: this PC, directly. transport-ssh.c: another PC through one foreground ssh
 * process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "api/probe-http.h"
#include "api/probe-port.h"
#include "basic/clock.h"
#include "common/name.h"
#include "common/unit.h"

typedef struct Transport Transport;

/* Constant commands, never built from names; `input` goes to their stdin. */
typedef enum TransportCommand {
    COMMAND_UNAME, /* uname -srm, and whether the user lingers: "Linux 6.1.0 x86_64\nlinger=yes\n";
                      another PC adds its clock: "clock=<Unix ms>\n", and more of ssh-exec.h */
    COMMAND_JOURNAL, /* the last lines of a unit: see journal.h for input and output */
    COMMAND_MAX
} TransportCommand;

typedef void (*TransportReply)(void *userdata, int error, const char *output, size_t len);
typedef void (*TransportPorts)(void *userdata, int error, const PortTable *table);
/* facts: one for each unit that was asked for, in that order. */
typedef void (*TransportUnits)(void *userdata, int error, const UnitFacts *facts, size_t n);

#define TRANSPORT_UNITS_MAX 128 /* units in one question */

typedef struct TransportEvents {
    /* It became usable (CAUSE_NONE), or stopped being so. */
    void (*state)(void *userdata, Cause cause);
} TransportEvents;

typedef struct TransportOps {
    Transport *(*free)(Transport *t);
    void (*start)(Transport *t,
                  Now now); /* begins to connect; state() follows (for the own PC from within) */
    int (*bus_address)(Transport *t, UnitScope scope, char *ret,
                       size_t size); /* -ENOTCONN, -ENOENT: no such bus, -ESRCH: no user manager */
    int (*look_ports)(Transport *t, Now now, TransportPorts callback,
                      void *userdata); /* may call back at once */
    /* Fills where to dial for a health path on that PC: address of the listener (0.0.0.0 and ::
     * become loopback). -EOPNOTSUPP: only health() can ask it. */
    int (*dial)(Transport *t, const PortEntry *entry, HttpDial *ret);
    int (*run)(Transport *t, TransportCommand command, const char *input, uint32_t timeout_ms,
               TransportReply callback, void *userdata);
    /* Name of the *.service unit that a cgroup id of this PC's port table belongs to. false: it is
     * no service unit's, or cannot be told. */
    bool (*cgroup_service)(Transport *t, uint64_t cgroup_id, char *name, size_t size);
    uint64_t (*next_us)(const Transport *t); /* mono; when tick() wants to be called */
    void (*tick)(Transport *t, Now now);
    uint64_t ports_every_us; /* regular looks at the ports need not come more often; 0: each tick */
    bool has_events;         /* false: only polled */

    /* What a way has that may lack the straight ones; NULL where it does not.
     *
     * want_port: a health endpoint on this port will be dialled, told before start().
     * poll_units: the units' facts while is_polled. health: one request, asked over there; only
     * host, target, timeout_ms and handle of the look are used, and copied.
     * abort: whoever waits for an answer gets -ENOTCONN; called before free(), while they live. */
    void (*want_port)(Transport *t, uint16_t port);
    int (*poll_units)(Transport *t, UnitScope scope, const char *const *units, size_t n,
                      TransportUnits callback, void *userdata);
    int (*health)(Transport *t, const HttpLook *look, Now now, HttpCallback callback,
                  void *userdata);
    void (*abort)(Transport *t);
} TransportOps;

struct Transport {
    const TransportOps *ops;
    TransportEvents events;
    void *userdata; /* of the events */
    bool is_polled; /* its buses cannot be reached: poll_units() instead; may change with state() */
    char boot_id[BOOT_ID_LEN + 1]; /* checked, known before state(CAUSE_NONE); "": it tells none */
};

int transport_local_new(sd_event *event, const TransportEvents *events, void *userdata,
                        Transport **ret);
