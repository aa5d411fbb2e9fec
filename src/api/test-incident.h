/* What the tests of incidents do not care about: callbacks of the fleet that do nothing. */
#pragma once

#include "api/fleet.h"

static inline void no_check(void *u, Service *s, int64_t ts)
{
    (void)u, (void)s, (void)ts;
}

static inline void no_change(void *u)
{
    (void)u;
}

static inline void no_thing(void *u, FleetPc *pc, Service *s)
{
    (void)u, (void)pc, (void)s;
}
