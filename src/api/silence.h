/* What people asked to be left alone with, pure: silences and maintenance, each of an app, a PC or
 * an app on a PC, with an end and a comment. No clock, no I/O.
 *
 * Checks and history go on in either case, and every light stays what it is.
 *
 * A silence keeps notices back. Incidents open and end as ever and are shown as silenced. The
 * opening of one that opens under a silence waits: it is sent once when the silence is over and the
 * incident still open, and never if it ends before. The recovery goes where the opening went, under
 * a silence too: whoever was called may stand down.
 *
 * Maintenance keeps incidents back. None begins for what it covers, a pending one is dropped; one
 * that was open before goes on and ends once all is well. Its time counts as unobserved in the
 * hours, nothing is repaired by itself (auto_fix), and rows say "under maintenance". When it ends
 * and the service is still down, alert_after counts from then.
 *
 * Of whom: an entry with an app only covers that app on every PC. One with a PC only covers the PC
 * and all its services. A pair covers that service alone: not the loss of its PC. The loss of all
 * PCs is silenced when every other PC is; PCs under maintenance are no part of it.
 *
 * The end is told and stored as wall time and decided by the monotonic clock, so a jump of the
 * clock neither ends nor prolongs anything. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"
#include "basic/clock.h"
#include "common/protocol.h"

#define SILENCES_MAX       1000U
#define SILENCE_LENGTH_MAX (366 * 86400 * INT64_C(1000)) /* ms between begin and end */

typedef enum SilenceKind {
    SILENCE_NOTICES, /* "silence" */
    SILENCE_MAINTENANCE,
    SILENCE_KIND_MAX,
    SILENCE_KIND_INVALID = -EINVAL
} SilenceKind;

DECLARE_STRING_TABLE(SilenceKind, silence_kind);

typedef struct Silence {
    int64_t id; /* unique over restarts, as an incident's */
    SilenceKind kind;
    char app_id[ID_MAX + 1];               /* "": every app of the PC */
    char pc_id[ID_MAX + 1];                /* "": every PC of the app; never both */
    int64_t from_ms, until_ms, created_ms; /* wall */
    char comment[COMMENT_MAX + 1];         /* cleaned; "": none */
    char by[BY_MAX + 1];                   /* who asked for it */
    uint64_t from_us, until_us;            /* mono; what decides. Set by the set */
} Silence;

typedef struct Silences Silences;

int silences_new(Silences **ret);
Silences *silences_free(Silences *x);

/* Takes a copy, with comment and by cleaned. -EINVAL: neither app nor PC, an id that is none, or no
 * time between begin and end; -ERANGE: longer than SILENCE_LENGTH_MAX; -ETIME: its end has passed;
 * -ENOSPC: SILENCES_MAX are there; -EEXIST: the id is; -ENOMEM. ret: borrowed until the set next
 * changes. */
int silences_add(Silences *x, const Silence *s, Now now, const Silence **ret);
/* Ends one before its time; ret gets it as it ends (until_ms is now). -ENOENT. */
int silences_end(Silences *x, int64_t id, Now now, Silence *ret);
/* Forgets those whose time is over. True: what is covered may differ from what it was at the last
 * call (one was added, ended, or began). Each second. */
bool silences_tick(Silences *x, Now now);

/* The entry of that kind that covers the service, or with app_id "" the PC itself, now: the one
 * that ends last. NULL: none. */
const Silence *silences_cover(const Silences *x, SilenceKind kind, const char *app_id,
                              const char *pc_id, Now now);

const Silence *silences_find(const Silences *x, int64_t id); /* NULL: it is over, or never was */
size_t silences_n(const Silences *x);
const Silence *silences_at(const Silences *x, size_t i); /* by id, the oldest first */

/* One object of GET /api/silences. */
void silence_write(Buffer *b, const Silence *s);
