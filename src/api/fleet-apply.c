/* The fleet takes a registry over, by difference: what stays keeps its facts, its track and its
 * handle, so a changed line of the registry never makes anything look as if it had just begun. */
#include "api/fleet-private.h"

#include <errno.h>
#include <string.h>

#include "basic/macro.h"

static size_t text_size(const char *s)
{
    return s ? strlen(s) + 1 : 0;
}

static const char *text_put(char **at, const char *s)
{
    if (!s)
        return NULL;
    char *copy = *at;
    size_t size = strlen(s) + 1;

    memcpy(copy, s, size);
    *at += size;
    return copy;
}

/* Copies a Want with all its strings in one block; pc_id is the PC's own. */
static int want_copy(const Want *from, const char *pc_id, Want *ret, char **ret_block)
{
    size_t size = text_size(from->app_id) + text_size(from->title) + text_size(from->tag) +
                  text_size(from->unit) + text_size(from->health);
    char *block = malloc(size), *at = block;

    if (!block)
        return -ENOMEM;
    *ret = *from;
    ret->pc_id = pc_id;
    ret->app_id = text_put(&at, from->app_id);
    ret->title = text_put(&at, from->title);
    ret->tag = text_put(&at, from->tag);
    ret->unit = text_put(&at, from->unit);
    ret->health = text_put(&at, from->health);
    *ret_block = block;
    return 0;
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static Service *service_free(Fleet *f, Service *s)
{
    heap_remove(&f->services_due, &s->due);
    fleet_unmark(f, s);
    f->by_handle[s->handle] = NULL;
    f->n_services--;
    free(s->want_block);
    free(s);
    return NULL;
}

static FleetPc *pc_free(Fleet *f, FleetPc *pc)
{
    for (size_t i = 0; i < pc->n_services; i++)
        service_free(f, pc->services[i]);
    heap_remove(&f->pcs_due, &pc->due);
    free(pc->services);
    free(pc->pc_id);
    free(pc->ssh_host);
    free(pc);
    return NULL;
}

Fleet *fleet_free(Fleet *f)
{
    if (!f)
        return NULL;
    for (size_t i = 0; i < f->n_pcs; i++)
        pc_free(f, f->pcs[i]);
    heap_done(&f->services_due);
    heap_done(&f->pcs_due);
    free(f->pcs);
    free(f->by_handle);
    free(f);
    return NULL;
}

static void remove_service(Fleet *f, FleetPc *pc, size_t i, Now now)
{
    Service *s = pc->services[i];

    fleet_book_service(f, s, now, false);
    fleet_flush_hour(f, s, now.wall_ms - now.wall_ms % HOUR_MS);
    f->ops.removed(f->userdata, pc, s);
    service_free(f, s);
    memmove(pc->services + i, pc->services + i + 1,
            (pc->n_services - i - 1) * sizeof *pc->services);
    pc->n_services--;
    fleet_mark_pc(f, pc);
}

static void remove_pc(Fleet *f, size_t i, Now now)
{
    FleetPc *pc = f->pcs[i];

    while (pc->n_services)
        remove_service(f, pc, pc->n_services - 1, now);
    f->ops.removed(f->userdata, pc, NULL);
    pc_free(f, pc);
    memmove(f->pcs + i, f->pcs + i + 1, (f->n_pcs - i - 1) * sizeof *f->pcs);
    f->n_pcs--;
    f->version++;
}

static int grow(void **array, size_t have, size_t want, size_t size)
{
    if (want <= have)
        return 0;
    void *bigger = realloc(*array, want * size);
    if (!bigger)
        return -ENOMEM;
    *array = bigger;
    return 0;
}

static int add_service(Fleet *f, FleetPc *pc, const Want *want, Now now)
{
    size_t at = 0;
    CLEANUP_FREE Service *s = calloc(1, sizeof *s);

    if (!s || grow((void **)&f->by_handle, 0, f->n_handles + 1, sizeof *f->by_handle) < 0)
        return -ENOMEM;
    if (pc->n_services == pc->cap_services) {
        size_t cap = pc->cap_services ? pc->cap_services * 2 : 8;
        if (grow((void **)&pc->services, pc->cap_services, cap, sizeof *pc->services) < 0)
            return -ENOMEM;
        pc->cap_services = cap;
    }
    s->due = HEAP_NODE_INIT;
    s->facts.http.latency_us = -1;
    if (heap_set(&f->services_due, &s->due, now.mono_us) < 0)
        return -ENOMEM;
    if (want_copy(want, pc->pc_id, &s->want, &s->want_block) < 0) {
        heap_remove(&f->services_due, &s->due);
        return -ENOMEM;
    }
    s->pc = pc;
    s->look.port_listening = -1;
    s->handle = (uint32_t)f->n_handles++;
    s->by_hour_last = now.wall_ms / HOUR_MS;
    f->by_handle[s->handle] = s;
    while (at < pc->n_services && strcmp(pc->services[at]->want.app_id, want->app_id) < 0)
        at++;
    memmove(pc->services + at + 1, pc->services + at, (pc->n_services - at) * sizeof *pc->services);
    pc->services[at] = s;
    pc->n_services++;
    f->n_services++;
    s->dirty = true;
    fleet_mark(f, s);
    fleet_mark_pc(f, pc);
    f->ops.added(f->userdata, pc, s);
    fleet_judge(f, TAKE_PTR(s), now);
    return 0;
}

/* The registry says something new about a service that stays. */
static int update_service(Fleet *f, Service *s, const Want *want, Now now)
{
    Want old = s->want;
    char *old_block = s->want_block;
    bool same_unit = text_equal(old.unit, want->unit) && old.scope == want->scope;
    bool same_port = old.port == want->port, same_health = text_equal(old.health, want->health);

    if (same_unit && same_port && same_health && old.expected == want->expected &&
        old.timeout_ms == want->timeout_ms && text_equal(old.title, want->title) &&
        text_equal(old.tag, want->tag))
        return 0;
    if (!same_unit)
        f->ops.removed(f->userdata, s->pc, s);
    int r = want_copy(want, s->pc->pc_id, &s->want, &s->want_block);
    if (r < 0)
        return r;
    if (!same_unit) {
        s->facts.unit = (UnitFacts){0};
        memset(s->track.invocation, 0, sizeof s->track.invocation);
    }
    if (!same_port)
        s->facts.port = (PortFacts){0};
    if (!same_port || !same_health)
        s->facts.http = (HttpFacts){.latency_us = -1};
    if (!same_unit)
        f->ops.added(f->userdata, s->pc, s);
    free(old_block);
    s->dirty = true;
    fleet_mark(f, s);
    fleet_judge(f, s, now);
    fleet_look_now(f, s, now);
    return 0;
}

static int add_pc(Fleet *f, const RegistryPc *from, bool is_self, Now now)
{
    size_t at = 0;
    FleetPc *pc = calloc(1, sizeof *pc);

    if (!pc)
        return -ENOMEM;
    pc->due = HEAP_NODE_INIT;
    pc->pc_id = strdup(from->pc_id);
    pc->ssh_host = strdup(from->ssh_host ? from->ssh_host : from->pc_id);
    pc->is_self = is_self;
    pc->may_sleep = from->may_sleep;
    pc->lag_us = -1;
    pc->since_ms = now.wall_ms;
    if (!pc->pc_id || !pc->ssh_host || heap_set(&f->pcs_due, &pc->due, now.mono_us) < 0 ||
        grow((void **)&f->pcs, 0, f->n_pcs + 1, sizeof *f->pcs) < 0) {
        pc_free(f, pc);
        return -ENOMEM;
    }
    while (at < f->n_pcs && strcmp(f->pcs[at]->pc_id, pc->pc_id) < 0)
        at++;
    memmove(f->pcs + at + 1, f->pcs + at, (f->n_pcs - at) * sizeof *f->pcs);
    f->pcs[at] = pc;
    f->n_pcs++;
    fleet_mark_pc(f, pc);
    f->ops.added(f->userdata, pc, NULL);
    return 0;
}

/* Same PC, but reached otherwise: it is begun anew. */
static bool pc_differs(const FleetPc *pc, const RegistryPc *r, bool is_self)
{
    return pc->is_self != is_self ||
           strcmp(pc->ssh_host, r->ssh_host ? r->ssh_host : r->pc_id) != 0;
}

static int apply_pcs(Fleet *f, const Registry *r, const RegistryPc *self, Now now)
{
    for (size_t i = f->n_pcs; i-- > 0;) {
        const RegistryPc *row = registry_find_pc(r, f->pcs[i]->pc_id);
        if (!row || pc_differs(f->pcs[i], row, row == self))
            remove_pc(f, i, now);
        else
            f->pcs[i]->may_sleep = row->may_sleep;
    }
    for (size_t i = 0; i < r->n_pcs; i++) {
        if (fleet_pc(f, r->pcs[i].pc_id))
            continue;
        int e = add_pc(f, &r->pcs[i], &r->pcs[i] == self, now);
        if (e < 0)
            return e;
    }
    return 0;
}

static int compare_want(const void *key, const void *element)
{
    const Want *a = key, *b = element;
    int pc = strcmp(a->pc_id, b->pc_id);

    return pc ? pc : strcmp(a->app_id, b->app_id);
}

int fleet_apply(Fleet *f, const Registry *r, const RegistryPc *self, const Want *wants, size_t n,
                Now now)
{
    if (f->epoch_us == 0)
        f->epoch_us = now.mono_us;
    int e = apply_pcs(f, r, self, now);
    for (size_t p = 0; p < f->n_pcs; p++) {
        FleetPc *pc = f->pcs[p];
        for (size_t i = pc->n_services; i-- > 0;)
            if (!n || !bsearch(&pc->services[i]->want, wants, n, sizeof *wants, compare_want))
                remove_service(f, pc, i, now);
    }
    for (size_t i = 0; i < n && e >= 0; i++) {
        FleetPc *pc = fleet_pc(f, wants[i].pc_id);
        Service *s = pc ? fleet_pc_service(pc, wants[i].app_id) : NULL;
        if (pc)
            e = s ? update_service(f, s, &wants[i], now) : add_service(f, pc, &wants[i], now);
    }
    fleet_assign_slots(f);
    f->ops.changed(f->userdata);
    return e;
}

void fleet_set_interval(Fleet *f, uint32_t interval_ms, Now now)
{
    if (interval_ms == f->interval_ms)
        return;
    f->interval_ms = interval_ms;
    fleet_assign_slots(f);
    for (size_t p = 0; p < f->n_pcs; p++) {
        heap_set(&f->pcs_due, &f->pcs[p]->due, now.mono_us);
        for (size_t i = 0; i < f->pcs[p]->n_services; i++)
            fleet_look_now(f, f->pcs[p]->services[i], now);
    }
}
