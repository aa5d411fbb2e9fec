/* The units of one systemd manager, by D-Bus: the truth that `systemctl is-active` prints, at 1/100
 * of its cost.
 *
 * Edge: Subscribe and one path= match per watched unit; the values travel in PropertiesChanged
 * itself, the messages of a unit's two interfaces (Service first, Unit after it) are merged before
 * judging. Level: ListUnitsByNames. Properties are read again only on a state change, a
 * (re)connect, a resync, and the InvocationID of each unit once a minute, staggered. Every call is
 * asynchronous and has its own deadline; a reply past UNIT_BUS_MESSAGE_MAX cuts the bus off. No
 * synchronous sd-bus call (tools/check-banned). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/clock.h"
#include "common/unit.h"

#define UNIT_BUS_CALL_TIMEOUT_US (2U * 1000000U)
#define UNIT_BUS_GIVE_UP_US \
    (15U * 1000000U) /* a call that is out this long closes the connection */
#define UNIT_BUS_MESSAGE_MAX   (4U << 20)
#define UNIT_BUS_IN_FLIGHT_MAX 16  /* property reads out at once */
#define UNIT_BUS_SLICE         256 /* names in one ListUnitsByNames */
#define UNIT_BUS_RECHECK_US                                               \
    (60U * 1000000U) /* each unit's InvocationID is read again this often \
                      */

typedef struct UnitBus UnitBus;
typedef struct UnitWatch UnitWatch;

/* Callbacks may watch, unwatch, check, connect and disconnect; they must not call unit_bus_free().
 */
typedef struct UnitBusOps {
    /* CAUSE_NONE: the manager answers (again). Else why it cannot be read. Told when it changes
     * and, also unchanged, each time a connection ended or could not be had; never from inside
     * unit_bus_connect(). */
    void (*state)(void *userdata, UnitScope scope, Cause cause);
    /* Facts of one watched unit, complete; is_event: from a signal. Also after each level check
     * that changed them. */
    void (*unit)(void *userdata, UnitScope scope, void *watch_userdata, const UnitFacts *facts,
                 bool is_event);
    /* A level check has ended well, and the facts of every unit it found changed have been handed
     * over; lag_us: how long its (slowest) answer took. */
    void (*checked)(void *userdata, UnitScope scope, int32_t lag_us);
    /* UnitFacts.cgroup_id of a ControlGroup; it must be what that PC's PortTable holds
     * (cgroup_id_of() here, port_cgroup_hash() where ports come from ss). NULL: it stays 0. */
    uint64_t (*cgroup_id)(const char *control_group);
} UnitBusOps;

int unit_bus_new(sd_event *event, UnitScope scope, const UnitBusOps *ops, void *userdata,
                 UnitBus **ret);
UnitBus *unit_bus_free(UnitBus *b); /* also frees the watches that are left */

/* Connects to a D-Bus address ("unix:path=/run/user/1000/bus"), replacing an earlier connection.
 * Never blocks; success or failure arrives by `state`. The first level check is started by itself.
 * The caller connects again, at a pace of its own, whenever unit_bus_get() is NULL: after
 * CAUSE_NO_BUS, and after CAUSE_BUS_SILENT has lasted UNIT_BUS_GIVE_UP_US. */
int unit_bus_connect(UnitBus *b, const char *address);
void unit_bus_disconnect(UnitBus *b, Cause cause); /* calls `state` */
bool unit_bus_is_ready(const UnitBus *b);
Cause unit_bus_cause(const UnitBus *b);          /* CAUSE_NOT_CHECKED_YET before the first answer */
uint64_t unit_bus_answered_us(const UnitBus *b); /* mono: its last good answer; 0: none yet */
sd_bus *unit_bus_get(UnitBus *b); /* for actions and discovery; NULL while not connected */

/* The same unit may be watched more than once. -EINVAL: no unit name systemd would take. */
int unit_bus_watch(UnitBus *b, const char *unit, void *watch_userdata, UnitWatch **ret);
UnitWatch *unit_bus_unwatch(UnitBus *b, UnitWatch *w);
const UnitFacts *unit_watch_facts(const UnitWatch *w);
const char *unit_watch_control_group(const UnitWatch *w); /* "" unknown */

/* One level check of all watched units; `checked` follows, or `state` with CAUSE_BUS_SILENT after
 * the deadline. A check that is still out is not doubled. */
void unit_bus_check(UnitBus *b, Now now);
/* A cheap question (a property of the manager) whose silence shows a frozen or cut PC. */
void unit_bus_ping(UnitBus *b, Now now);
