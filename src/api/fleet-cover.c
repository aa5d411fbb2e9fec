/* Silences and maintenance as the fleet's services feel them.
 *
 * What covers a service is looked up when the set has changed, not whenever somebody asks: the scan
 * for incidents and the booking of hours read one number. Ids are kept, not pointers, so an entry
 * that is gone is merely not found.
 *
 * The time up to now is booked before a maintenance begins or ends. */
#include "api/fleet-private.h"

#include "basic/text.h"

static int64_t cover_id(const Silences *x, SilenceKind kind, const char *app_id, const char *pc_id,
                        Now now)
{
    const Silence *s = silences_cover(x, kind, app_id, pc_id, now);

    return s ? s->id : 0;
}

static bool cover_service(Fleet *f, const Silences *x, Service *s, Now now)
{
    int64_t silence = cover_id(x, SILENCE_NOTICES, s->want.app_id, s->pc->pc_id, now);
    int64_t maintenance = cover_id(x, SILENCE_MAINTENANCE, s->want.app_id, s->pc->pc_id, now);

    s->silence = silence;
    if (maintenance == s->maintenance)
        return false;
    fleet_book_service(f, s, now, false);
    s->maintenance = maintenance;
    s->dirty = true;
    fleet_mark(f, s);
    return true;
}

static bool cover_pc(Fleet *f, const Silences *x, FleetPc *pc, Now now)
{
    int64_t maintenance = cover_id(x, SILENCE_MAINTENANCE, "", pc->pc_id, now);
    bool changed = maintenance != pc->maintenance;

    pc->silence = cover_id(x, SILENCE_NOTICES, "", pc->pc_id, now);
    pc->maintenance = maintenance;
    if (changed)
        fleet_mark_pc(f, pc);
    for (size_t i = 0; i < pc->n_services; i++)
        changed |= cover_service(f, x, pc->services[i], now);
    return changed;
}

void fleet_cover(Fleet *f, const Silences *x, Now now)
{
    bool changed = false;

    f->silences = x;
    for (size_t i = 0; i < f->n_pcs; i++)
        changed |= cover_pc(f, x, f->pcs[i], now);
    if (changed)
        f->ops.changed(f->userdata);
}

const Silence *fleet_silence(const Fleet *f, int64_t id)
{
    return id && f->silences ? silences_find(f->silences, id) : NULL;
}

void fleet_write_maintenance(const Fleet *f, int64_t id, Maintenance *ret)
{
    const Silence *s = fleet_silence(f, id);

    if (!s)
        return;
    ret->until_ts = s->until_ms;
    text_copy(ret->comment, sizeof ret->comment, s->comment);
}
