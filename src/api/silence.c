/* Silences and maintenance.
 *
 * One sorted array, at most SILENCES_MAX entries: few, long-lived and asked rarely, because the
 * fleet keeps what covers a service with the service and asks anew only after silences_tick() said
 * so. An entry leaves the array when its time is over; what it was is the store's to remember.
 *
 * The array holds pointers, so an entry keeps its address as long as it lives. */
#include "api/silence.h"

#include <errno.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/json.h"
#include "common/name.h"

struct Silences {
    Silence *entries[SILENCES_MAX]; /* by id */
    size_t n;
    bool changed;     /* since the last tick */
    uint64_t seen_us; /* mono time of the last tick */
};

static const char *const silence_kind_table[] = {"silence", "maintenance"};
_Static_assert(ELEMENTS(silence_kind_table) == SILENCE_KIND_MAX, "every kind has its word");

const char *silence_kind_to_string(SilenceKind kind)
{
    return (unsigned)kind < SILENCE_KIND_MAX ? silence_kind_table[kind] : "";
}

SilenceKind silence_kind_from_string(const char *s)
{
    for (size_t i = 0; s && i < SILENCE_KIND_MAX; i++)
        if (strcmp(silence_kind_table[i], s) == 0)
            return (SilenceKind)i;
    return SILENCE_KIND_INVALID;
}

int silences_new(Silences **ret)
{
    Silences *x = calloc(1, sizeof *x);

    if (!x)
        return -ENOMEM;
    *ret = x;
    return 0;
}

Silences *silences_free(Silences *x)
{
    for (size_t i = 0; x && i < x->n; i++)
        free(x->entries[i]);
    free(x);
    return NULL;
}

/* Where the id is, or where it belongs. */
static size_t position(const Silences *x, int64_t id)
{
    size_t low = 0, high = x->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x->entries[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const Silences *x, size_t at, int64_t id)
{
    return at < x->n && x->entries[at]->id == id;
}

static bool is_subject(const char *app_id, const char *pc_id)
{
    return (app_id[0] || pc_id[0]) && (!app_id[0] || name_is_id(app_id)) &&
           (!pc_id[0] || name_is_id(pc_id));
}

static int check(const Silence *s, Now now)
{
    if ((unsigned)s->kind >= SILENCE_KIND_MAX || !is_subject(s->app_id, s->pc_id) ||
        s->from_ms < 0 || s->until_ms <= s->from_ms)
        return -EINVAL;
    if (s->until_ms - s->from_ms > SILENCE_LENGTH_MAX)
        return -ERANGE;
    return s->until_ms <= now.wall_ms ? -ETIME : 0;
}

/* A wall time of the entry on the monotonic clock, never further away than it was when the entry
 * was made: a clock that is wrong now, or was then, can neither stretch nor put off anything. */
static uint64_t mono_of(const Silence *s, int64_t ms, Now now)
{
    int64_t left_ms = MIN(ms - now.wall_ms, ms - MIN(s->from_ms, s->created_ms));

    return now.mono_us + (uint64_t)MAX(left_ms, 0) * USEC_PER_MSEC;
}

int silences_add(Silences *x, const Silence *s, Now now, const Silence **ret)
{
    size_t at = position(x, s->id);
    int r = check(s, now);

    if (r < 0)
        return r;
    if (is_at(x, at, s->id))
        return -EEXIST;
    if (x->n == SILENCES_MAX)
        return -ENOSPC;
    Silence *own = malloc(sizeof *own);
    if (!own)
        return -ENOMEM;
    *own = *s;
    text_clean(own->comment, sizeof own->comment, s->comment, strlen(s->comment));
    text_clean(own->by, sizeof own->by, s->by, strlen(s->by));
    own->from_us = mono_of(own, own->from_ms, now);
    own->until_us = mono_of(own, own->until_ms, now);
    memmove(x->entries + at + 1, x->entries + at, (x->n - at) * sizeof *x->entries);
    x->entries[at] = own;
    x->n++;
    x->changed = true;
    *ret = own;
    return 0;
}

static void drop(Silences *x, size_t at)
{
    free(x->entries[at]);
    memmove(x->entries + at, x->entries + at + 1, (--x->n - at) * sizeof *x->entries);
    x->changed = true;
}

int silences_end(Silences *x, int64_t id, Now now, Silence *ret)
{
    size_t at = position(x, id);

    if (!is_at(x, at, id))
        return -ENOENT;
    Silence ended = *x->entries[at];
    ended.until_ms = MIN(ended.until_ms, now.wall_ms);
    ended.until_us = MIN(ended.until_us, now.mono_us);
    drop(x, at);
    *ret = ended;
    return 0;
}

bool silences_tick(Silences *x, Now now)
{
    for (size_t i = x->n; i-- > 0;) {
        if (now.mono_us >= x->entries[i]->until_us)
            drop(x, i);
        else if (x->entries[i]->from_us > x->seen_us && x->entries[i]->from_us <= now.mono_us)
            x->changed = true;
    }
    bool changed = x->changed;
    x->changed = false;
    x->seen_us = now.mono_us;
    return changed;
}

static bool covers(const Silence *s, SilenceKind kind, const char *app_id, const char *pc_id,
                   Now now)
{
    if (s->kind != kind || now.mono_us < s->from_us || now.mono_us >= s->until_us)
        return false;
    return (!s->app_id[0] || strcmp(s->app_id, app_id) == 0) &&
           (!s->pc_id[0] || strcmp(s->pc_id, pc_id) == 0);
}

const Silence *silences_cover(const Silences *x, SilenceKind kind, const char *app_id,
                              const char *pc_id, Now now)
{
    const Silence *best = NULL;

    for (size_t i = 0; i < x->n; i++) {
        const Silence *s = x->entries[i];
        if (covers(s, kind, app_id, pc_id, now) && (!best || s->until_us > best->until_us))
            best = s;
    }
    return best;
}

const Silence *silences_find(const Silences *x, int64_t id)
{
    size_t at = position(x, id);

    return is_at(x, at, id) ? x->entries[at] : NULL;
}

size_t silences_n(const Silences *x)
{
    return x->n;
}

const Silence *silences_at(const Silences *x, size_t i)
{
    return i < x->n ? x->entries[i] : NULL;
}

void silence_write(Buffer *b, const Silence *s)
{
    json_open_object(b, NULL);
    json_int(b, "id", s->id);
    json_string(b, "kind", silence_kind_to_string(s->kind));
    json_string(b, "app_id", s->app_id[0] ? s->app_id : NULL);
    json_string(b, "pc_id", s->pc_id[0] ? s->pc_id : NULL);
    json_time(b, "from_ts", s->from_ms);
    json_time(b, "until_ts", s->until_ms);
    json_string(b, "comment", s->comment);
    json_string(b, "by", s->by);
    json_time(b, "created_ts", s->created_ms);
    json_close_object(b);
}
