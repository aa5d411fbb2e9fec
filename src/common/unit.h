/* The vocabulary of both programs: what is expected, what was observed, what it means.
 *
 * Only value types and their texts; no I/O, no allocation. The words are those of systemd
 * (org.freedesktop.systemd1(5), systemctl(1)) and of the REST API. Every enum has _MAX and
 * _INVALID, a table `x_to_string` (never NULL for a valid value) and `x_from_string` (_INVALID for
 * anything unknown: the text may come from a hostile PC). */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/clock.h"

#define ID_MAX   64  /* bytes of an app_id or pc_id, NUL included is ID_MAX + 1 */
#define UNIT_MAX 255 /* systemd's UNIT_NAME_MAX - 1 */

typedef enum Expected {
    EXPECTED_RUNNING,
    EXPECTED_STOPPED,
    EXPECTED_MAX,
    EXPECTED_INVALID = -EINVAL
} Expected;

typedef enum UnitScope { SCOPE_USER, SCOPE_SYSTEM, SCOPE_MAX, SCOPE_INVALID = -EINVAL } UnitScope;

typedef enum Actual {
    ACTUAL_UNKNOWN, /* the PC answers but the facts cannot be read */
    ACTUAL_UNREACHABLE,
    ACTUAL_RUNNING,
    ACTUAL_FINISHED, /* a oneshot that ended with success */
    ACTUAL_DEGRADED,
    ACTUAL_STARTING,
    ACTUAL_STOPPING,
    ACTUAL_INACTIVE,
    ACTUAL_FAILED,
    ACTUAL_MISSING,
    ACTUAL_MAX,
    ACTUAL_INVALID = -EINVAL
} Actual;

typedef enum Light {
    LIGHT_OK,
    LIGHT_WARN,
    LIGHT_DOWN,
    LIGHT_UNKNOWN,
    LIGHT_MAX,
    LIGHT_INVALID = -EINVAL
} Light;

/* Why a verdict is not ok. CAUSE_NONE has the text "" and is null in JSON. */
typedef enum Cause {
    CAUSE_NONE,
    /* unit */
    CAUSE_EXIT_CODE,
    CAUSE_SIGNAL,
    CAUSE_CORE_DUMP,
    CAUSE_TIMEOUT,
    CAUSE_WATCHDOG,
    CAUSE_OOM_KILL,
    CAUSE_START_LIMIT,
    CAUSE_RESOURCES,
    CAUSE_PROTOCOL,
    CAUSE_UNIT_FAILED, /* failed, and systemd gave no known result */
    CAUSE_STOPPED,     /* inactive: stopped by somebody or never started */
    CAUSE_NOT_FOUND,
    CAUSE_MASKED,
    CAUSE_BAD_SETTING, /* the unit file does not load */
    CAUSE_STARTING,
    CAUSE_STARTING_TOO_LONG,
    CAUSE_STOPPING,
    CAUSE_TIMER_SERVICE_FAILED,
    CAUSE_RUNNING, /* expected to be stopped, but runs */
    /* port */
    CAUSE_PORT_CLOSED,
    CAUSE_PORT_FOREIGN,
    CAUSE_PORT_NOT_ACCEPTING,
    /* health */
    CAUSE_HTTP_REFUSED,
    CAUSE_HTTP_RESET,
    CAUSE_HTTP_EOF,
    CAUSE_HTTP_STATUS,
    CAUSE_HTTP_TIMEOUT,
    CAUSE_HTTP_BAD_REPLY,
    CAUSE_HTTP_UNRESOLVED,
    CAUSE_HTTP_TLS,
    CAUSE_HTTP_ERROR,
    /* PC */
    CAUSE_NOT_CHECKED_YET,
    CAUSE_NO_BUS,          /* no user bus socket on that PC */
    CAUSE_NO_USER_MANAGER, /* bus, but systemd --user does not answer on it */
    CAUSE_BUS_ERROR,
    CAUSE_BUS_SILENT, /* no answer within the deadline: frozen or cut */
    CAUSE_HOST_UNKNOWN,
    CAUSE_HOST_REFUSED,
    CAUSE_HOST_TIMEOUT,
    CAUSE_HOST_UNROUTABLE,
    CAUSE_HOST_KEY_UNKNOWN,
    CAUSE_HOST_KEY_CHANGED,
    CAUSE_KEY_REFUSED,
    CAUSE_FORWARD_REFUSED,
    CAUSE_SHELL_BROKEN,
    CAUSE_SSH_CONFIG,
    CAUSE_SSH_FAILED,
    CAUSE_REBOOTED, /* of a PC's way back, and of the end that its services' runs met by it */
    CAUSE_MAX,
    CAUSE_INVALID = -EINVAL
} Cause;

/* Observations that never change a light. A bit set. */
typedef enum Hint {
    HINT_NOT_ENABLED = 1 << 0, /* will not survive a reboot */
    HINT_LINGER_OFF = 1 << 1,  /* user services stop at logout */
} Hint;

/* systemd's words. The order is fixed: history stores the number of ActiveState. */
typedef enum LoadState {
    LOAD_UNKNOWN,
    LOAD_LOADED,
    LOAD_NOT_FOUND,
    LOAD_BAD_SETTING,
    LOAD_ERROR,
    LOAD_MASKED,
    LOAD_STUB,
    LOAD_MERGED,
    LOAD_MAX,
    LOAD_INVALID = -EINVAL
} LoadState;

typedef enum ActiveState {
    ACTIVE_UNKNOWN, /* not read yet, or no unit */
    ACTIVE_ACTIVE,
    ACTIVE_RELOADING,
    ACTIVE_INACTIVE,
    ACTIVE_FAILED,
    ACTIVE_ACTIVATING,
    ACTIVE_DEACTIVATING,
    ACTIVE_MAINTENANCE,
    ACTIVE_MAX,
    ACTIVE_INVALID = -EINVAL
} ActiveState;

typedef enum UnitKind { KIND_OTHER, KIND_SERVICE, KIND_SOCKET, KIND_TIMER } UnitKind;

typedef struct UnitFacts {
    LoadState load;
    ActiveState active;
    char sub[20];
    UnitKind kind;
    bool oneshot;
    bool remain_after_exit;
    bool triggered_failed; /* timer: the service it starts is in state failed */
    bool has_details;      /* false: only load, active, sub are known yet (ListUnitsByNames) */
    uint32_t main_pid;
    uint32_t n_restarts; /* systemd's NRestarts of the present series of automatic restarts */
    char result[20];     /* "success", "exit-code", "signal", ... */
    int32_t exec_code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED of waitid(2); 0: the main process has
                            not ended */
    int32_t exec_status; /* exit code or signal number */
    uint8_t invocation[16];  /* all zero: never started */
    char file_state[16];     /* UnitFileState: "enabled", "disabled", "static", "transient", ... */
    int64_t active_enter_ms; /* that PC's wall clock, Unix ms, 0 when never */
    int64_t inactive_enter_ms;
    int64_t state_change_ms;
    int64_t exec_exit_ms;
    uint64_t cgroup_id; /* inode of the unit's cgroup directory, 0 unknown */
} UnitFacts;

typedef enum PortOwner { OWNER_UNKNOWN, OWNER_SELF, OWNER_FOREIGN } PortOwner;

typedef struct PortFacts {
    bool looked; /* a look at the ports of that PC has been had */
    bool listening;
    PortOwner owner;
    uint32_t queue;         /* connections that wait for accept() */
    uint32_t backlog;       /* the listen(2) backlog; queue > backlog: full */
    uint64_t full_since_us; /* mono; 0 while the queue is not full */
    uint32_t misses;        /* consecutive looks that saw it closed */
    uint32_t owner_pid;     /* foreign holder, 0 unknown */
    char owner_name[32];    /* its unit or process name, cleaned */
    uint64_t at_us;         /* mono time of the last look */
} PortFacts;

typedef enum HttpOutcome {
    HTTP_NOT_ASKED,
    HTTP_OK, /* 2xx or 3xx in time */
    HTTP_BAD_STATUS,
    HTTP_REFUSED,
    HTTP_RESET,
    HTTP_EOF,
    HTTP_TIMEOUT,
    HTTP_BAD_REPLY,
    HTTP_UNRESOLVED,
    HTTP_TLS,
    HTTP_ERROR, /* could not be asked (local resource) */
    HTTP_OUTCOME_MAX
} HttpOutcome;

typedef struct HttpFacts {
    HttpOutcome outcome;
    int32_t status;      /* 100-599; 0 none */
    int32_t latency_us;  /* -1 none; connect to end of the head */
    uint32_t misses;     /* consecutive results other than HTTP_OK */
    uint64_t started_us; /* mono time at which the last finished look was started: judges if it saw
                            this run */
    uint64_t at_us;      /* mono time at which it ended */
} HttpFacts;

/* How a PC answers. reachable and cause == CAUSE_NONE: all is well. reachable and a cause: it
 * answers, but a bus is not readable (user_bus_cause). Not reachable: cause says why. */
typedef struct PcFacts {
    bool known; /* false until the first attempt has ended */
    bool reachable;
    Cause cause;
    Cause scope_cause[SCOPE_MAX]; /* per bus; CAUSE_NONE: readable */
    uint64_t rebooted_us; /* mono: its first answer after the last reboot; 0: none was seen */
    bool linger_off;
} PcFacts;

typedef struct Facts {
    UnitFacts unit;
    PortFacts port;
    HttpFacts http;
} Facts;

/* What the registry asks of one (app, pc) with the target's overrides applied. Strings belong to
 * the registry or the fleet, whoever made the Want; NULL unit: known by port or health only; port
 * 0: none; NULL health: none. */
typedef struct Want {
    const char *app_id;
    const char *pc_id;
    const char *title; /* NULL: none */
    const char *tag;   /* NULL: none */
    const char *unit;
    const char *health; /* a path ("/health") or a full http(s) URL */
    Expected expected;
    UnitScope scope;
    uint16_t port;
    uint32_t timeout_ms; /* of the health request; 100-3,599,500 */
} Want;

#define DECLARE_STRING_TABLE(type, name)      \
    const char *name##_to_string(type value); \
    type name##_from_string(const char *s)

DECLARE_STRING_TABLE(Expected, expected);
DECLARE_STRING_TABLE(UnitScope, unit_scope);
DECLARE_STRING_TABLE(Actual, actual);
DECLARE_STRING_TABLE(Light, light);
DECLARE_STRING_TABLE(Cause, cause);
DECLARE_STRING_TABLE(LoadState, load_state);
DECLARE_STRING_TABLE(ActiveState, active_state);

UnitKind unit_kind_of(const char *unit); /* by suffix; NULL: KIND_OTHER */

/* The word that `systemctl is-active` prints ("active", "inactive", "failed", ...). "" while it is
 * not known. */
const char *unit_state_word(const UnitFacts *u);
