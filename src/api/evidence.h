/* What a dead run left behind: exit code or signal, Result, and its last journal lines.
 *
 * A transition is published at once with what is known; the journal is asked a moment later (the
 * dying process's last words take some ms to get there) and follows as an update with the same id.
 */
#pragma once

#include "api/fleet.h"
#include "api/probe.h"

typedef struct Evidence Evidence;

/* evidence: JSON object text, complete; row is a copy of the transition with is_update set. */
typedef void (*EvidenceCallback)(void *userdata, const TransitionRow *row, uint32_t handle);

int evidence_new(Fleet *fleet, Probe *probe, EvidenceCallback callback, void *userdata,
                 Evidence **ret);
Evidence *evidence_free(Evidence *e);

/* The part known at once; b gets one JSON object. */
void evidence_write(Buffer *b, const Change *change);

/* Orders the journal of the run that `change` ended. At most EVIDENCE_MAX wait; more are left out.
 */
#define EVIDENCE_MAX 64
void evidence_collect(Evidence *e, const Service *s, const TransitionRow *row, const Change *change,
                      Now now);
uint64_t evidence_next_us(const Evidence *e);
void evidence_tick(Evidence *e, Now now);
