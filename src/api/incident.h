/* From verdicts to incidents, pure: no clock, no I/O. One cause, one alert.
 *
 * A service's incident: it is expected to run and its light is down. A PC's: it is unreachable, or
 * its user manager cannot be read; the services behind it make none of their own. All PCs': every
 * other PC is lost at once, so it is we who are cut off; it absorbs the PCs' own. A reboot's: a PC
 * came back with another boot id; opened and closed in one.
 *
 * An incident is pending at once and opens after alert_after. It ends once all has been well for
 * INCIDENT_WELL_US, so flapping opens it once and closes it once. What cannot be seen neither opens
 * nor ends anything, and time we slept through does not count. After a PC is back its services have
 * a grace in which none opens. A PC that may sleep never alerts.
 *
 * After a reboot all that is down on that PC belongs to it: what was pending there is dropped, and
 * within the grace nothing new begins; what is still down then counts from when it began. Further
 * reboots within the grace of the last one told are no news.
 *
 * What is under maintenance begins none (silence.h). One whose opening nobody shall be told of for
 * now, because it opened silenced or acknowledged, is held until it is neither and is seen to be
 * wrong still. An acknowledgement lasts until the incident ends. */
#pragma once

#include "api/fleet.h"
#include "basic/buffer.h"

#define INCIDENT_WELL_US (30U * 1000000U)
#define INCIDENTS_MAX    20000

typedef enum IncidentKind {
    INCIDENT_SERVICE,
    INCIDENT_PC,
    INCIDENT_ALL_PCS,
    INCIDENT_REBOOT,
    INCIDENT_KIND_MAX,
    INCIDENT_KIND_INVALID = -EINVAL
} IncidentKind;

typedef enum IncidentState {
    INCIDENT_PENDING,
    INCIDENT_OPEN,
    INCIDENT_CLOSED,  /* was open, all is well again */
    INCIDENT_DROPPED, /* ended while pending: nobody was told */
    INCIDENT_STATE_MAX,
    INCIDENT_STATE_INVALID = -EINVAL
} IncidentState;

DECLARE_STRING_TABLE(IncidentKind, incident_kind);
DECLARE_STRING_TABLE(IncidentState, incident_state);

typedef struct Incident {
    int64_t id; /* unique over restarts */
    IncidentKind kind;
    IncidentState state;
    char app_id[ID_MAX + 1];                /* "" unless it is a service's */
    char pc_id[ID_MAX + 1];                 /* "" for all-pcs */
    int64_t began_ms, opened_ms, closed_ms; /* wall; 0: not yet */
    Cause cause;
    char sentence[SENTENCE_MAX];
    uint64_t began_us, well_since_us; /* mono; well_since 0: not well */
    int64_t silence;                  /* id of the one that covers it now; 0: none */
    bool held;
    int64_t acked_ms; /* wall; 0: nobody did; the next two are "" then */
    char acked_by[BY_MAX + 1];
    char ack_comment[COMMENT_MAX + 1];
    struct Incident *next;
} Incident;

typedef struct Incidents Incidents;

/* i is new, or something in it changed that is shown or kept; valid during the call. */
typedef void (*IncidentCallback)(void *userdata, const Incident *i);

int incidents_new(Fleet *fleet, uint32_t alert_after_s, uint32_t grace_s, IncidentCallback callback,
                  void *userdata, Incidents **ret);
Incidents *incidents_free(Incidents *x);
void incidents_configure(Incidents *x, uint32_t alert_after_s, uint32_t grace_s);

/* What was open when an earlier daemon ended: it goes on as the same incident. Before the first
 * scan. */
int incidents_recall(Incidents *x, const Incident *stored);

/* Looks at the whole fleet; each second. */
void incidents_scan(Incidents *x, Now now);

/* A PC came back with another boot id. */
void incidents_rebooted(Incidents *x, FleetPc *pc, Now now);

/* Somebody took it on; again: by the newer words. The texts are cleaned. -ENOENT: none that is
 * pending or open has this id. */
int incidents_ack(Incidents *x, int64_t id, const char *by, const char *comment, Now now,
                  const Incident **ret);

/* Pending and open ones, newest first, linked by next. */
const Incident *incidents_first(const Incidents *x);

/* One alert object of the API; behind: the services (or PCs) that this one stands for. */
void incident_write(Buffer *b, const Incidents *x, const Incident *i);
