/* Start, stop and restart of a unit, on any PC whose bus we have.
 *
 * Only what the registry names, under the name it has there, of the user's own manager. One at a
 * time per unit. Every wish is a row of the audit: for one that is granted the row is on disk
 * before systemd is asked, and its outcome becomes an update of that row when systemd's job has
 * ended. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "api/fleet.h"
#include "api/store.h"
#include "basic/clock.h"

#define ACTIONS_MAX         64U               /* under way at once */
#define ACTION_AUDIT_US     (5U * 1000000U)   /* for its row to reach the disk */
#define ACTION_CALL_US      (10U * 1000000U)  /* for systemd to accept it */
#define ACTION_JOB_US       (600U * 1000000U) /* for the job to end */
#define ACTION_REFUSALS_MAX 60U               /* rows of refused wishes in a minute */

typedef enum ActionVerb {
    ACTION_START,
    ACTION_STOP,
    ACTION_RESTART,
    ACTION_VERB_MAX,
    ACTION_VERB_INVALID = -EINVAL
} ActionVerb;

typedef enum ActionOutcome {
    ACTION_REFUSED,
    ACTION_REQUESTED, /* no outcome yet */
    ACTION_DONE,      /* systemd's job ended with "done" */
    ACTION_FAILED,
    ACTION_UNKNOWN, /* we lost sight of it */
    ACTION_OUTCOME_MAX,
    ACTION_OUTCOME_INVALID = -EINVAL
} ActionOutcome;

typedef enum ActionOrigin {
    ORIGIN_API,
    ORIGIN_CLI,
    ORIGIN_DESKTOP,
    ORIGIN_AUTO_FIX,
    ACTION_ORIGIN_MAX,
    ACTION_ORIGIN_INVALID = -EINVAL
} ActionOrigin;

DECLARE_STRING_TABLE(ActionVerb, action_verb);
DECLARE_STRING_TABLE(ActionOutcome, action_outcome);
DECLARE_STRING_TABLE(ActionOrigin, action_origin);

/* Why not. */
typedef enum ActionRefusal {
    REFUSAL_NONE,
    REFUSAL_NO_UNIT,     /* an app without unit, or of the system's manager */
    REFUSAL_BUSY,        /* this unit, or all of ACTIONS_MAX */
    REFUSAL_POLLED,      /* that PC's bus cannot be reached */
    REFUSAL_UNREACHABLE, /* not now */
    REFUSAL_SELF,        /* the daemon will not stop itself */
    REFUSAL_NO_MEMORY,
} ActionRefusal;

typedef struct ActionAsk {
    ActionVerb verb; /* ACTION_VERB_INVALID: of a refused one that asked for nothing we know */
    ActionOrigin origin;
    const char *role;           /* "nobody", "local", "token", "daemon" */
    int64_t uid;                /* -1: unknown */
    const char *app_id, *pc_id; /* as they were asked for */
} ActionAsk;

typedef struct ActionResult {
    int64_t id;      /* of the audit row */
    uint32_t handle; /* of the service */
    ActionVerb verb;
    ActionOutcome outcome;
    ActionRefusal refusal;
    char unit[UNIT_MAX + 1];
    char sentence[SENTENCE_MAX];
    int64_t ts_ms, ended_ms; /* ended_ms 0: not yet */
} ActionResult;

typedef struct Actions Actions;

/* The bus of a PC's manager, NULL while there is none: probe_bus(), or a test's. */
typedef sd_bus *(*ActionBus)(void *userdata, FleetPc *pc, UnitScope scope);

/* The outcome of one, once. It may ask for others. */
typedef void (*ActionDone)(void *userdata, const ActionResult *result);

/* ids of the audit come from the fleet. */
int actions_new(Fleet *fleet, Store *store, ActionBus bus, void *userdata, Actions **ret);
/* No callback. What is under way gets no outcome: the next daemon says that it is unknown. */
Actions *actions_free(Actions *a);

/* Asks for the service's unit to be acted upon. True: it is under way, done is called with the
 * outcome (after this has returned). False: refused, *ret says why, and so does the audit. */
bool action_ask(Actions *a, const ActionAsk *ask, Service *s, ActionDone done, void *userdata,
                Now now, ActionResult *ret);
/* Whoever waits for it has gone: no callback, it goes on. */
void action_forget(Actions *a, int64_t id);
/* A copy of how far one is; false: it has ended, or never was. */
bool action_look(const Actions *a, int64_t id, ActionResult *ret);
bool action_is_busy(const Actions *a, const Service *s); /* its unit is being acted upon */

/* A wish that came to nothing before any service could be found. At most ACTION_REFUSALS_MAX rows a
 * minute; of more, their number. */
void action_refuse(Actions *a, const ActionAsk *ask, const char *reason, Now now);

/* At the start: what an earlier daemon asked for without seeing the end of it. */
void actions_recall(Actions *a, const StoreAudit *rows, size_t n, Now now);

uint64_t actions_next_us(const Actions *a); /* mono; UINT64_MAX: never */
void actions_run(Actions *a, Now now);
