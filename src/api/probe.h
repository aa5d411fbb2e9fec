/* The hands of the fleet: carries out the looks it wants and brings the facts back.
 *
 * For each PC one transport, its user bus (and its system bus when an app needs it), a view of its
 * ports, and the health requests. What is here cannot tell the own PC from another one: that is the
 * transport's business. */
#pragma once

#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "api/fleet.h"
#include "api/transport.h"
#include "basic/epoll-nest.h"

typedef struct Probe Probe;
typedef struct ProbePc ProbePc;

/* Makes the way to a PC. 0 with *ret NULL: there is none (yet); the PC stays unchecked. */
typedef int (*ProbeTransportFactory)(void *userdata, const FleetPc *pc,
                                     const TransportEvents *events, void *events_userdata,
                                     Transport **ret);

int probe_new(sd_event *event, Nest *nest, Fleet *fleet, ProbeTransportFactory factory,
              void *factory_userdata, Probe **ret);
Probe *probe_free(Probe *p);

/* Wired to the fleet's `added` and `removed`. */
void probe_added(Probe *p, FleetPc *pc, Service *s);
void probe_removed(Probe *p, FleetPc *pc, Service *s);

/* Does what is due; called when the time of probe_next_us() (mono) has come. */
void probe_run(Probe *p, Now now);
uint64_t probe_next_us(const Probe *p);

/* "Check now": the level check of its PC, its port and its health. */
void probe_check_now(Probe *p, Service *s, Now now);

/* Runs one of the transport's commands on a PC. -ENOTCONN when there is no way to it now. */
int probe_run_command(Probe *p, FleetPc *pc, TransportCommand command, const char *input,
                      uint32_t timeout_ms, TransportReply callback, void *userdata);

/* The bus of a PC's manager; NULL while it is not readable. */
sd_bus *probe_bus(Probe *p, FleetPc *pc, UnitScope scope);
