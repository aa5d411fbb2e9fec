/* What fleet.c and fleet-apply.c share; nobody else includes this. */
#pragma once

#include "api/fleet.h"

#define HOUR_MS (3600 * 1000LL)

struct Fleet {
    FleetOps ops;
    void *userdata;
    uint32_t interval_ms;
    int64_t next_id; /* of a transition, or of whatever else takes its id from here */
    FleetPc **pcs;   /* sorted by pc_id */
    size_t n_pcs;
    Service **by_handle;
    size_t n_handles; /* handles given out, plus one */
    size_t n_services;
    Heap services_due;
    Heap pcs_due;
    uint64_t epoch_us;       /* slots count from here */
    uint64_t handed_us;      /* mono time of the last fleet_due() that handed a look out */
    uint64_t late_window_us; /* mono time at which late_us began to be gathered */
    uint64_t late_us;        /* worst start since then */
    uint64_t late_before_us; /* worst start of the window before */
    uint64_t version;
    Service *marked;
    bool pcs_marked;
    const Silences *silences; /* of the last fleet_cover(); NULL: none yet */
};

Service *fleet_pc_service(const FleetPc *pc, const char *app_id);
void fleet_mark(Fleet *f, Service *s);
void fleet_mark_pc(Fleet *f, FleetPc *pc);
void fleet_unmark(Fleet *f, const Service *s);
void fleet_flush_hour(Fleet *f, Service *s, int64_t hour_ms);
void fleet_book_service(Fleet *f, Service *s, Now now, bool gap);
void fleet_write_maintenance(const Fleet *f, int64_t id, Maintenance *ret);
bool fleet_judge(Fleet *f, Service *s, Now now); /* whether the row changed visibly */
void fleet_assign_slots(Fleet *f);
