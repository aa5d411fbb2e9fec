/* The state of the world as the API tells it.
 *
 * Rows live in two sorted arrays; a delta touches few of them, so a binary search and an insertion
 * are enough. A snapshot replaces everything. The sender is not trusted: what does not parse is
 * refused, and nothing grows past the stated maxima. */
#include "common/world.h"

#include <errno.h>
#include <string.h>

#include "basic/macro.h"

void world_done(World *w)
{
    free(w->services);
    free(w->pcs);
    *w = (World){0};
}

static int compare(const char *pc_a, const char *app_a, const char *pc_b, const char *app_b)
{
    int pc = strcmp(pc_a, pc_b);

    return pc ? pc : strcmp(app_a, app_b);
}

/* Where the row is, or where it belongs; *found tells which. */
static size_t find_service(const World *w, const char *pc_id, const char *app_id, bool *found)
{
    size_t low = 0, high = w->n_services;

    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const ServiceRow *row = &w->services[middle];
        int c = compare(row->pc_id, row->app_id, pc_id, app_id);
        if (c == 0) {
            *found = true;
            return middle;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t find_pc(const World *w, const char *pc_id, bool *found)
{
    size_t i = 0;

    while (i < w->n_pcs && strcmp(w->pcs[i].pc_id, pc_id) < 0)
        i++;
    *found = i < w->n_pcs && strcmp(w->pcs[i].pc_id, pc_id) == 0;
    return i;
}

/* Makes room for one more row of size bytes at index `at`. */
static int open_slot(void **rows, size_t *n, size_t *cap, size_t size, size_t at)
{
    if (*n >= WORLD_SERVICES_MAX)
        return -ENOBUFS;
    if (*n == *cap) {
        size_t bigger = *cap ? *cap * 2 : 16;
        void *new = realloc(*rows, bigger * size);
        if (!new)
            return -ENOMEM;
        *rows = new;
        *cap = bigger;
    }
    memmove((char *)*rows + (at + 1) * size, (char *)*rows + at * size, (*n - at) * size);
    ++*n;
    return 0;
}

static int put_service(World *w, const Json *j)
{
    ServiceRow row;
    bool found;

    int r = service_row_read(j, &row);
    if (r < 0)
        return r;
    size_t at = find_service(w, row.pc_id, row.app_id, &found);
    if (!found)
        r = open_slot((void **)&w->services, &w->n_services, &w->cap_services, sizeof row, at);
    if (r < 0)
        return r;
    w->services[at] = row;
    return 0;
}

static int put_pc(World *w, const Json *j)
{
    PcRow row;
    bool found;

    int r = pc_row_read(j, &row);
    if (r < 0)
        return r;
    size_t at = find_pc(w, row.pc_id, &found);
    if (!found)
        r = open_slot((void **)&w->pcs, &w->n_pcs, &w->cap_pcs, sizeof row, at);
    if (r < 0)
        return r;
    w->pcs[at] = row;
    return 0;
}

static int put_transition(World *w, const Json *j)
{
    TransitionRow row;

    int r = transition_row_read(j, &row);
    if (r < 0 || row.is_update)
        return r;
    w->transitions[w->n_transitions++ % WORLD_TRANSITIONS_MAX] = row;
    return 0;
}

static int put_alert(World *w, const Json *j)
{
    AlertRow row;
    size_t at = 0;

    int r = alert_row_read(j, &row);
    if (r < 0)
        return r;
    while (at < w->n_alerts && w->alerts[at].id != row.id)
        at++;
    bool lives = strcmp(row.state, "open") == 0 || strcmp(row.state, "pending") == 0;
    if (at < w->n_alerts && !lives)
        memmove(w->alerts + at, w->alerts + at + 1, (--w->n_alerts - at) * sizeof row);
    else if (lives && at < WORLD_ALERTS_MAX)
        w->alerts[at] = row;
    if (lives && at == w->n_alerts && at < WORLD_ALERTS_MAX)
        w->n_alerts++;
    return 0;
}

/* [app, pc, ts, latency_ms]: a look that changed nothing else. */
static int put_check(World *w, const Json *j)
{
    bool found;
    const Json *app = json_first(j), *pc = app ? json_next(app) : NULL;
    const Json *ts = pc ? json_next(pc) : NULL, *latency = ts ? json_next(ts) : NULL;
    const char *app_id = json_as_string(app, NULL), *pc_id = json_as_string(pc, NULL);

    if (!app_id || !pc_id || !ts)
        return -EBADMSG;
    size_t at = find_service(w, pc_id, app_id, &found);
    if (!found)
        return 0;
    ServiceRow *row = &w->services[at];
    row->last_check_ts = json_as_int(ts, row->last_check_ts);
    double ms = json_as_double(latency, -1);
    row->latency_us = ms < 0 || ms > 4000000 ? -1 : (int32_t)(ms * 1000 + 0.5);
    if (row->light == LIGHT_OK)
        row->last_healthy_ts = row->last_check_ts;
    return 0;
}

static int put_removed(World *w, const Json *j)
{
    bool found;
    const Json *app = json_first(j), *pc = app ? json_next(app) : NULL;
    const char *app_id = json_as_string(app, NULL), *pc_id = json_as_string(pc, NULL);

    if (!pc_id)
        return -EBADMSG;
    if (app_id) {
        size_t at = find_service(w, pc_id, app_id, &found);
        if (found)
            memmove(w->services + at, w->services + at + 1,
                    (--w->n_services - at) * sizeof *w->services);
        return 0;
    }
    size_t at = find_pc(w, pc_id, &found);
    if (found)
        memmove(w->pcs + at, w->pcs + at + 1, (--w->n_pcs - at) * sizeof *w->pcs);
    return 0;
}

static int put_all(World *w, const Json *array, int (*put)(World *w, const Json *j))
{
    for (const Json *j = json_first(array); j; j = json_next(j)) {
        int r = put(w, j);
        if (r < 0)
            return r;
    }
    return 0;
}

int world_apply(World *w, const char *type, const Json *message)
{
    bool is_snapshot = strcmp(type, "snapshot") == 0;

    if (!json_is_object(message))
        return -EBADMSG;
    w->ts = json_as_int(json_get(message, "ts"), w->ts);
    if (!is_snapshot && strcmp(type, "delta") != 0)
        return 0;
    if (is_snapshot)
        w->n_services = w->n_pcs = w->n_alerts = 0;
    int r = put_all(w, json_get(message, "removed"), put_removed);
    if (r >= 0)
        r = put_all(w, json_get(message, "pcs"), put_pc);
    if (r >= 0)
        r = put_all(w, json_get(message, "services"), put_service);
    if (r >= 0)
        r = put_all(w, json_get(message, "checks"), put_check);
    if (r >= 0)
        r = put_all(w, json_get(message, "transitions"), put_transition);
    if (r >= 0)
        r = put_all(w, json_get(message, "alerts"), put_alert);
    if (r >= 0)
        w->seq = (uint64_t)json_as_int(json_get(message, "seq"), (int64_t)w->seq);
    return r;
}

const ServiceRow *world_service(const World *w, const char *pc_id, const char *app_id)
{
    bool found;
    size_t at = find_service(w, pc_id, app_id, &found);

    return found ? &w->services[at] : NULL;
}

const PcRow *world_pc(const World *w, const char *pc_id)
{
    bool found;
    size_t at = find_pc(w, pc_id, &found);

    return found ? &w->pcs[at] : NULL;
}

const TransitionRow *world_transition(const World *w, size_t i)
{
    if (i >= w->n_transitions || i >= WORLD_TRANSITIONS_MAX)
        return NULL;
    return &w->transitions[(w->n_transitions - 1 - i) % WORLD_TRANSITIONS_MAX];
}
