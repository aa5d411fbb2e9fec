/* The REST routes: what each answers, built from the fleet, the caches of publish and the history.
 */
#pragma once

#include "api/action.h"
#include "api/auto-fix.h"
#include "api/fleet.h"
#include "api/history.h"
#include "api/http-server.h"
#include "api/incident.h"
#include "api/metrics.h"
#include "api/probe.h"
#include "api/publish.h"
#include "api/store.h"
#include "api/stream.h"

/* Which config.yaml is in force. */
typedef struct ConfigStatus {
    int64_t loaded_ms;
    char error[512];               /* "" when it is the one on disk */
    bool listen_waits, self_waits; /* changed on disk; a restart takes them over */
} ConfigStatus;

/* How often something was asked for in the present window. All zero: never. */
typedef struct Rate {
    uint64_t window_us; /* mono: when it began */
    uint32_t n;
} Rate;

/* What the handlers work with; owned by the manager, which outlives every request. */
typedef struct Routes {
    Fleet *fleet;
    Silences *silences;
    Incidents *incidents;
    Publish *publish;
    Probe *probe;
    Store *store;
    History *history;
    HttpServer *server;
    Stream *stream;
    bool actions_enabled;
    bool auto_fix;
    Metrics metrics;
    const Notify *notify;
    Now started;
    int64_t registry_loaded_ms;
    char registry_error[512]; /* "" when the registry in force is the one on disk */
    ConfigStatus config;
    struct ServiceRequest *pending; /* requests that wait for history, journal or a check */
    Rate checks;                    /* "check now" */
    Actions *actions;
    AutoFix *auto_fix_set;
    struct ActionWait *action_waits; /* routes-action.c's own, as what follows */
    struct AuditWait *audit_waits;
    size_t n_audit_waits;
    Rate actions_rate;
    Rate silence_changes; /* acknowledgements, silences and their ends */
} Routes;

/* Counts one more; false: more than max in a window of that length. */
bool rate_take(Rate *rate, uint64_t length_us, uint32_t max, Now now);

/* The one table of routes; every row says what a caller needs. */
extern const HttpRoute routes_table[];
extern const size_t routes_table_len;

void routes_checked(Routes *r, const Service *s,
                    Now now);         /* a look has ended: answers a waiting check */
void routes_tick(Routes *r, Now now); /* deadlines of waiting requests */
void routes_done(Routes *r);

/* The members of an array of all pending and open alerts; userdata: the Incidents. */
void routes_write_alerts(void *userdata, Buffer *out);
