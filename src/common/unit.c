/* Texts of the vocabulary: one table per enum, checked at compile time to have a text for every
 * value. */
#include "common/unit.h"

#include <string.h>

#include "basic/macro.h"

#define DEFINE_STRING_TABLE(type, name, max, invalid)                               \
    const char *name##_to_string(type value)                                        \
    {                                                                               \
        return (unsigned)value < ELEMENTS(name##_table) ? name##_table[value] : ""; \
    }                                                                               \
    type name##_from_string(const char *s)                                          \
    {                                                                               \
        for (size_t i = 0; s && i < ELEMENTS(name##_table); i++)                    \
            if (strcmp(name##_table[i], s) == 0)                                    \
                return (type)i;                                                     \
        return invalid;                                                             \
    }                                                                               \
    _Static_assert(ELEMENTS(name##_table) == (max), #name " has a text for every value")

static const char *const expected_table[] = {"running", "stopped"};
DEFINE_STRING_TABLE(Expected, expected, EXPECTED_MAX, EXPECTED_INVALID);

static const char *const unit_scope_table[] = {"user", "system"};
DEFINE_STRING_TABLE(UnitScope, unit_scope, SCOPE_MAX, SCOPE_INVALID);

static const char *const actual_table[] = {
    [ACTUAL_UNKNOWN] = "unknown",   [ACTUAL_UNREACHABLE] = "unreachable",
    [ACTUAL_RUNNING] = "running",   [ACTUAL_FINISHED] = "finished",
    [ACTUAL_DEGRADED] = "degraded", [ACTUAL_STARTING] = "starting",
    [ACTUAL_STOPPING] = "stopping", [ACTUAL_INACTIVE] = "inactive",
    [ACTUAL_FAILED] = "failed",     [ACTUAL_MISSING] = "missing",
};
DEFINE_STRING_TABLE(Actual, actual, ACTUAL_MAX, ACTUAL_INVALID);

static const char *const light_table[] = {"ok", "warn", "down", "unknown"};
DEFINE_STRING_TABLE(Light, light, LIGHT_MAX, LIGHT_INVALID);

static const char *const cause_table[] = {
    [CAUSE_NONE] = "",
    [CAUSE_EXIT_CODE] = "exit-code",
    [CAUSE_SIGNAL] = "signal",
    [CAUSE_CORE_DUMP] = "core-dump",
    [CAUSE_TIMEOUT] = "timeout",
    [CAUSE_WATCHDOG] = "watchdog",
    [CAUSE_OOM_KILL] = "oom-kill",
    [CAUSE_START_LIMIT] = "start-limit",
    [CAUSE_RESOURCES] = "resources",
    [CAUSE_PROTOCOL] = "protocol",
    [CAUSE_UNIT_FAILED] = "unit-failed",
    [CAUSE_STOPPED] = "stopped",
    [CAUSE_NOT_FOUND] = "not-found",
    [CAUSE_MASKED] = "masked",
    [CAUSE_BAD_SETTING] = "bad-setting",
    [CAUSE_STARTING] = "starting",
    [CAUSE_STARTING_TOO_LONG] = "starting-too-long",
    [CAUSE_STOPPING] = "stopping",
    [CAUSE_TIMER_SERVICE_FAILED] = "timer-service-failed",
    [CAUSE_RUNNING] = "running",
    [CAUSE_PORT_CLOSED] = "port-closed",
    [CAUSE_PORT_FOREIGN] = "port-foreign",
    [CAUSE_PORT_NOT_ACCEPTING] = "port-not-accepting",
    [CAUSE_HTTP_REFUSED] = "http-refused",
    [CAUSE_HTTP_RESET] = "http-reset",
    [CAUSE_HTTP_EOF] = "http-eof",
    [CAUSE_HTTP_STATUS] = "http-status",
    [CAUSE_HTTP_TIMEOUT] = "http-timeout",
    [CAUSE_HTTP_BAD_REPLY] = "http-bad-reply",
    [CAUSE_HTTP_UNRESOLVED] = "http-unresolved",
    [CAUSE_HTTP_TLS] = "http-tls",
    [CAUSE_HTTP_ERROR] = "http-error",
    [CAUSE_NOT_CHECKED_YET] = "not-checked-yet",
    [CAUSE_NO_BUS] = "no-bus",
    [CAUSE_NO_USER_MANAGER] = "no-user-manager",
    [CAUSE_BUS_ERROR] = "bus-error",
    [CAUSE_BUS_SILENT] = "bus-silent",
    [CAUSE_HOST_UNKNOWN] = "host-unknown",
    [CAUSE_HOST_REFUSED] = "host-refused",
    [CAUSE_HOST_TIMEOUT] = "host-timeout",
    [CAUSE_HOST_UNROUTABLE] = "host-unroutable",
    [CAUSE_HOST_KEY_UNKNOWN] = "host-key-unknown",
    [CAUSE_HOST_KEY_CHANGED] = "host-key-changed",
    [CAUSE_KEY_REFUSED] = "key-refused",
    [CAUSE_FORWARD_REFUSED] = "forward-refused",
    [CAUSE_SHELL_BROKEN] = "shell-broken",
    [CAUSE_SSH_CONFIG] = "ssh-config",
    [CAUSE_SSH_FAILED] = "ssh-failed",
    [CAUSE_REBOOTED] = "rebooted",
};
DEFINE_STRING_TABLE(Cause, cause, CAUSE_MAX, CAUSE_INVALID);

static const char *const load_state_table[] = {
    [LOAD_UNKNOWN] = "unknown",     [LOAD_LOADED] = "loaded",
    [LOAD_NOT_FOUND] = "not-found", [LOAD_BAD_SETTING] = "bad-setting",
    [LOAD_ERROR] = "error",         [LOAD_MASKED] = "masked",
    [LOAD_STUB] = "stub",           [LOAD_MERGED] = "merged",
};
DEFINE_STRING_TABLE(LoadState, load_state, LOAD_MAX, LOAD_INVALID);

static const char *const active_state_table[] = {
    [ACTIVE_UNKNOWN] = "unknown",
    [ACTIVE_ACTIVE] = "active",
    [ACTIVE_RELOADING] = "reloading",
    [ACTIVE_INACTIVE] = "inactive",
    [ACTIVE_FAILED] = "failed",
    [ACTIVE_ACTIVATING] = "activating",
    [ACTIVE_DEACTIVATING] = "deactivating",
    [ACTIVE_MAINTENANCE] = "maintenance",
};
DEFINE_STRING_TABLE(ActiveState, active_state, ACTIVE_MAX, ACTIVE_INVALID);

UnitKind unit_kind_of(const char *unit)
{
    const char *dot = unit ? strrchr(unit, '.') : NULL;

    if (!dot)
        return KIND_OTHER;
    if (strcmp(dot, ".service") == 0)
        return KIND_SERVICE;
    if (strcmp(dot, ".socket") == 0)
        return KIND_SOCKET;
    if (strcmp(dot, ".timer") == 0)
        return KIND_TIMER;
    return KIND_OTHER;
}

const char *unit_state_word(const UnitFacts *u)
{
    if (u->active == ACTIVE_UNKNOWN)
        return u->load == LOAD_NOT_FOUND ? "inactive" : "";
    return active_state_to_string(u->active);
}
