/* What a unit, a port and a health answer look like at a moment: for the tests of reconcile. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "api/reconcile.h"
#include "basic/macro.h"

#define S     USEC_PER_SEC
#define START (1000 * S)
#define WALL  INT64_C(1700000000000)

static const PcFacts well = {.known = true, .reachable = true};

static inline Now at(uint64_t us)
{
    return (Now){.mono_us = START + us, .wall_ms = WALL + (int64_t)(us / 1000)};
}

static inline UnitFacts unit(ActiveState active, const char *sub)
{
    UnitFacts u = {
        .load = LOAD_LOADED,
        .active = active,
        .kind = KIND_SERVICE,
        .has_details = true,
        .active_enter_ms = WALL - 3600000,
        .file_state = "enabled",
        .result = "success",
        .invocation = {1},
    };
    strcpy(u.sub, sub);
    return u;
}

static inline PortFacts port(bool listening, uint64_t us)
{
    return (PortFacts){
        .looked = true, .listening = listening, .misses = listening ? 0 : 2, .at_us = START + us};
}

static inline HttpFacts http(HttpOutcome outcome, int status, uint64_t us)
{
    return (HttpFacts){.outcome = outcome,
                       .status = status,
                       .latency_us = 500,
                       .misses = outcome == HTTP_OK ? 0 : 2,
                       .started_us = START + us,
                       .at_us = START + us + 1000};
}
