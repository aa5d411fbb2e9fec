/* Expected against actual, pure: facts in, verdict and changes out. No clock, no I/O, no memory but
 * what is passed.
 *
 * The table of DESIGN (ARCHITECTURE.md section "States") is this file's specification;
 * test-reconcile.c walks all combinations of expected, unit state, port and HTTP.
 *
 * "Down" needs positive evidence. A second look is *returned* as recheck_at_us, not asked for. */
#pragma once

#include "common/protocol.h"
#include "common/unit.h"

#define STARTING_GRACE_US \
    (10U * 1000000U) /* active this long without port or health is still "starting" */
#define STARTING_TOO_LONG_US (90U * 1000000U) /* then the light of "starting" is down */
#define CONFIRM_WITHIN_US \
    (1500U * 1000U) /* second look after refused, reset, EOF, bad status, closed port */
#define SETTLE_US \
    (2U * 1000000U) /* starting and stopping shorter than this are shown but not stored */

typedef struct Verdict {
    Actual actual;
    Light light;
    Cause cause;
    uint32_t hints;
    uint64_t recheck_at_us; /* mono; look again (port and health) at this time; 0: at the next
                               regular check */
} Verdict;

/* What reconcile remembers of one service between two looks. Zero is the state before the first
 * look. */
typedef struct Track {
    Verdict shown;           /* what users see */
    uint64_t shown_since_us; /* mono: since when `shown.actual` is what it is */
    int64_t since_ms;        /* wall: the same for people; systemd's own time where it has one */
    Actual stored;           /* the last state that became a transition; ACTUAL_UNKNOWN: none yet */
    int64_t stored_ms;       /* wall time of that transition, 0: none */
    bool is_guess;          /* no transition was: an earlier daemon's checks say that it was well */
    int64_t seen_until_ms;  /* wall: up to here an earlier daemon saw it healthy; 0: unknown (see
                               reconcile_recall) */
    uint8_t invocation[16]; /* the run that was last judged */
    bool run_began;         /* that run was seen activating or active */
    bool run_was_active;    /* it reached active */
    bool run_failed;        /* and failed: a further look at the same corpse is no further crash */
    uint32_t runs;          /* runs seen beyond the first */
    uint32_t n_restarts;    /* systemd's count at the last look */
    uint64_t active_since_us; /* mono: when this run became active, as far as we know */
    uint64_t hold_since_us;  /* mono: inactive right after failed is held back since then; 0: not */
    uint64_t pairs_since_us; /* window of the crash pairs below */
    uint32_t pairs;          /* crashes of runs that never became healthy, in this window */
} Track;

#define PAIRS_MAX       60 /* such crashes stored per service and PAIRS_WINDOW; all are counted */
#define PAIRS_WINDOW_US (60U * 1000000U)

#define CHANGES_MAX 4

/* A transition to be stored and published. */
typedef struct Change {
    Actual from, to;
    int64_t ts_ms; /* the watched PC's own timestamp corrected by its skew where systemd has one,
                      else now */
    Cause cause;
    uint8_t invocation[16]; /* of the run that ended (or began) */
    int32_t exec_code, exec_status;
    uint32_t n_restarts;
    char result[20];
    bool wants_journal; /* the run ended badly: its last lines should follow as evidence */
} Change;

/* Judges one service. prev is its track (updated in place); skew_ms: that PC's clock minus ours (0
 * when unknown). changes gets up to CHANGES_MAX rows in time order; the number is returned.
 * Entering or leaving unreachable/unknown never yields a change here: that is the PC's own
 * transition. */
size_t reconcile(Track *track, const Want *want, const PcFacts *pc, const Facts *facts,
                 int64_t skew_ms, Now now, Change changes[CHANGES_MAX]);

/* Start-up: what an earlier daemon knew, so that the first look continues its history instead of
 * beginning a new one. last_to ACTUAL_INVALID: there was no transition yet, but maybe it was well
 * (last_healthy_ms not 0). */
void reconcile_recall(Track *track, Actual last_to, int64_t last_ts_ms, int64_t last_healthy_ms);

/* One sentence a person understands; "" when the verdict needs none. size >= SENTENCE_MAX. */
void reconcile_sentence(const Verdict *v, const Want *want, const PcFacts *pc, const Facts *facts,
                        char *ret, size_t size);

/* The sentence for a PC's cause alone. */
const char *cause_sentence(Cause cause);
