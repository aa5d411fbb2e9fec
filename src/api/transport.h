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
#include "common/unit.h"

typedef struct Transport Transport;

/* Constant commands, never built from names; `input` goes to their stdin. */
typedef enum TransportCommand {
    COMMAND_UNAME,   /* uname -srm, and whether the user lingers: "Linux 6.1.0 x86_64\nlinger=yes\n"
                      */
    COMMAND_JOURNAL, /* the last lines of a unit: see journal.h for input and output */
    COMMAND_MAX
} TransportCommand;

typedef void (*TransportReply)(void *userdata, int error, const char *output, size_t len);
typedef void (*TransportPorts)(void *userdata, int error, const PortTable *table);

typedef struct TransportEvents {
    /* It became usable (CAUSE_NONE), or stopped being so. */
    void (*state)(void *userdata, Cause cause);
} TransportEvents;

typedef struct TransportOps {
    Transport *(*free)(Transport *t);
    void (*start)(Transport *t,
                  Now now); /* begins to connect; state() follows (for the own PC from within) */
    int (*bus_address)(Transport *t, UnitScope scope, char *ret,
                       size_t size); /* -ENOTCONN, -ENOENT: no such bus */
    int (*look_ports)(Transport *t, Now now, TransportPorts callback,
                      void *userdata); /* may call back at once */
    /* Fills where to dial for a health path on that PC: address of the listener (0.0.0.0 and ::
     * become loopback). */
    int (*dial)(Transport *t, const PortEntry *entry, HttpDial *ret);
    int (*run)(Transport *t, TransportCommand command, const char *input, uint32_t timeout_ms,
               TransportReply callback, void *userdata);
    /* Name of the *.service unit that a cgroup id of this PC's port table belongs to. false: it is
     * no service unit's, or cannot be told. */
    bool (*cgroup_service)(Transport *t, uint64_t cgroup_id, char *name, size_t size);
    uint64_t (*next_us)(const Transport *t); /* mono; when tick() wants to be called */
    void (*tick)(Transport *t, Now now);
    bool has_events; /* false: only polled */
} TransportOps;

struct Transport {
    const TransportOps *ops;
    TransportEvents events;
    void *userdata; /* of the events */
};

int transport_local_new(sd_event *event, const TransportEvents *events, void *userdata,
                        Transport **ret);
