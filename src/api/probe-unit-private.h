/* What probe-unit.c (the connection) and probe-unit-table.c (the units on it) share. For these two
 * only. */
#pragma once

#include "api/probe-unit.h"

#define MANAGER      "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_PATH    "/org/freedesktop/systemd1/unit"
#define PROPERTIES   "org.freedesktop.DBus.Properties"

typedef struct Unit Unit;

struct UnitWatch {
    Unit *unit;
    void *userdata;
    UnitWatch *next;
};

struct Unit {
    UnitBus *bus;
    char *name;
    char *path;
    char *control_group; /* NULL unknown; kept while the unit is stopped */
    UnitFacts facts;
    UnitWatch *watches;
    Unit *triggers;
    uint32_t refs;
    uint32_t triggered_by;
    sd_bus_slot *match;
    sd_bus_slot *call;
    uint64_t asked_us;
    Unit *queue_next;
    bool queued;
    bool wants_details;
    bool wants_invocation;
    bool in_check; /* the level check waits for its details */
    bool changed;  /* since they were handed over */
};

/* A call that belongs to no unit. */
typedef struct Call {
    sd_bus_slot *slot;
    uint64_t asked_us;
} Call;

struct UnitBus {
    sd_event *event;
    UnitScope scope;
    const UnitBusOps *ops;
    void *userdata;
    sd_bus *bus;
    sd_event_source *timer;
    Cause cause;
    Cause pending; /* told, with the connection closed, by the timer */
    bool ready;
    bool has_pending;
    uint64_t answered_us; /* mono: the last good answer to whatever question */

    Unit **units; /* sorted by name */
    size_t n_units, cap_units;
    UnitWatch *deliver_next;

    Unit *queue_first, *queue_last;
    Unit *flight[UNIT_BUS_IN_FLIGHT_MAX];
    size_t n_flight;

    Call ping;
    Call check;
    Unit *slice[UNIT_BUS_SLICE]; /* NULL: gone since it was asked */
    size_t n_slice;
    size_t check_pending; /* units with in_check */
    bool checking;        /* from the first slice to the last detail */
    bool rows_done;
    bool check_again;
    bool resync; /* the next rows make all details stale */
    int32_t check_lag_us;

    size_t recheck_at;
    uint64_t recheck_us;
};

/* probe-unit.c */
void unit_bus_set_cause(UnitBus *b, Cause cause);
void unit_bus_fail_later(UnitBus *b, Cause cause);
Cause unit_bus_error_cause(const UnitBus *b, sd_bus_message *m);
int unit_bus_call_new(UnitBus *b, const char *path, const char *interface, const char *member,
                      sd_bus_message **ret);
int unit_bus_call_send(UnitBus *b, sd_bus_message *m, sd_bus_message_handler_t callback,
                       void *userdata, sd_bus_slot **ret_slot, uint64_t *ret_asked_us);
void unit_bus_check_settle(UnitBus *b);
void unit_bus_check_fail(UnitBus *b, Cause cause);
void unit_bus_answered(UnitBus *b);

/* probe-unit-table.c */
bool unit_is_askable(const char *name);
/* Where a unit of that name is, or would be. */
size_t unit_place(const UnitBus *b, const char *name, bool *ret_found);
/* A reference to the unit of that name, made if it is new. */
int unit_get(UnitBus *b, const char *name, Unit **ret);
void unit_unref(Unit *u);
Unit *unit_free(Unit *u); /* for the end of the whole table */
int unit_match(Unit *u);  /* (re)places its match; 0 while not connected */
int unit_match_installed(sd_bus_message *m, void *userdata, sd_bus_error *e);
void unit_want(Unit *u, bool details); /* queues a read of its properties or its InvocationID */
void unit_check_done(Unit *u);
void unit_queue_pump(UnitBus *b);
