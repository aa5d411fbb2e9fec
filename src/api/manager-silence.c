/* Silences and maintenance in the daemon's life: they outlive it in the store, and the fleet learns
 * what they cover before incidents are looked for.
 *
 * An entry that ends by itself needs no row written: the row says when. */
#include <string.h>

#include "api/manager-private.h"
#include "basic/log.h"
#include "basic/macro.h"

int manager_recall_silences(Manager *m, Now now)
{
    CLEANUP_FREE Silence *rows = NULL;
    const Silence *kept;
    size_t n = 0;
    int r = silences_new(&m->silences);

    if (r < 0)
        return r;
    r = store_recall_silences(m->options->db_path, now.wall_ms, &rows, &n);
    if (r < 0)
        log_warning("silences of an earlier run cannot be read: %s", strerror(-r));
    for (size_t i = 0; i < n; i++)
        if (silences_add(m->silences, &rows[i], now, &kept) == -ENOMEM)
            return -ENOMEM;
    if (silences_n(m->silences))
        log_info("%zu silences and maintenances of an earlier run go on", silences_n(m->silences));
    return 0;
}

void manager_cover(Manager *m, bool registry_changed, Now now)
{
    if (silences_tick(m->silences, now) || registry_changed)
        fleet_cover(m->fleet, m->silences, now);
}
