/* services_monitor.auto_fix: a service that should run and does not is started, a few times.
 *
 * Only for expected = running, only when the unit itself has failed or is inactive (a closed port
 * or a bad health answer starts nothing), never while its PC does not answer, is booting, or it is
 * under maintenance, and never a oneshot: to repeat a job is a person's decision. systemd's own
 * Restart= comes first. What a person stopped through this daemon stays stopped until it has run
 * again, also when auto_fix is switched on only later.
 *
 * After `budget` starts within `window_s` it stops and says so; it takes the service up again once
 * that has been seen running. Reads no clock, starts nothing itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/fleet.h"
#include "api/store.h"
#include "basic/clock.h"

#define AUTO_FIX_WAIT_US    (5U * 1000000U) /* down for so long, and between two starts */
#define AUTO_FIX_BUDGET_MAX 100U

typedef struct AutoFixLimits {
    bool on;
    uint32_t budget;   /* 1-AUTO_FIX_BUDGET_MAX starts ... */
    uint32_t window_s; /* ... in so long */
    uint32_t reboot_grace_s;
} AutoFixLimits;

typedef struct AutoFixOps {
    bool (*busy)(void *userdata, const Service *s);     /* somebody is acting upon it */
    bool (*start)(void *userdata, Service *s, Now now); /* false: it could not be asked for */
    void (*gave_up)(void *userdata, Service *s, const char *sentence, Now now); /* once */
} AutoFixOps;

typedef struct AutoFix AutoFix;

int auto_fix_new(Fleet *fleet, const AutoFixOps *ops, void *userdata, AutoFix **ret);
AutoFix *auto_fix_free(AutoFix *x); /* before the fleet */
void auto_fix_configure(AutoFix *x, const AutoFixLimits *limits);

/* At the start, once the services are there: what was done under an earlier daemon counts. */
void auto_fix_recall(AutoFix *x, const StoreAudit *rows, size_t n, Now now);

void auto_fix_scan(AutoFix *x, Now now);       /* each second */
void auto_fix_stopped(AutoFix *x, Service *s); /* a person stops it: hands off */
void auto_fix_not_started(Service *s); /* systemd was not asked after all: that start was none */
void auto_fix_removed(Service *s);     /* it leaves the fleet */
