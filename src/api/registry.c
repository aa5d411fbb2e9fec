/* The registry as a value: its lifetime, the rules that span rows, and the questions asked of it.
 *
 * Reading and writing are registry-yaml.c and registry-db.c; what is true of one value alone is
 * registry-columns.c. Both readers end in registry_find_fault(), so a registry that exists has
 * passed every rule, and everything behind it (fleet, transports, probes) may use its names without
 * a further look.
 *
 * Rows are sorted by id, which makes look-ups binary searches and the duplicate check a look at the
 * neighbour. A row remembers its place in the file it came from, because sorting must not cost the
 * error its line. */
#include "api/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/registry-columns.h"
#include "api/suggest.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

Registry *registry_free(Registry *r)
{
    if (!r)
        return NULL;
    for (size_t t = 0; t < TABLE_MAX; t++)
        for (size_t i = 0; i < registry_count(&registry_tables[t], r); i++)
            registry_row_done(&registry_tables[t], registry_row(&registry_tables[t], r, i));
    free(r->pcs);
    free(r->apps);
    free(r->targets);
    free(r);
    return NULL;
}

static int fault(RegistryFault *ret, int table, const char *column, uint32_t place)
{
    const RegistryTable *t = &registry_tables[table];

    ret->table = t;
    ret->column = NULL;
    ret->place = place;
    for (size_t i = 0; column && i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, column) == 0)
            ret->column = &t->columns[i];
    return -EINVAL;
}

static int check_values(const Registry *r, const RegistryTable *t, RegistryFault *ret)
{
    for (size_t i = 0; i < registry_count(t, r); i++) {
        const void *row = registry_row(t, r, i);
        if (registry_row_check(t, row, &ret->column, ret->why) < 0) {
            ret->table = t;
            ret->place = registry_place(t, row);
            return -EINVAL;
        }
    }
    return 0;
}

/* The table is sorted. */
static int check_duplicates(const Registry *r, int table, RegistryFault *ret)
{
    const RegistryTable *t = &registry_tables[table];

    for (size_t i = 1; i < registry_count(t, r); i++) {
        const void *a = registry_row(t, r, i - 1), *b = registry_row(t, r, i);
        if (t->compare(a, b) != 0)
            continue;
        fault(ret, table, t->columns[0].name, MAX(registry_place(t, a), registry_place(t, b)));
        const char *id = registry_get_text(&t->columns[0], b);
        if (table == TABLE_TARGETS)
            snprintf(ret->why, sizeof(ret->why), _("%s on %s has two targets, leave one out"), id,
                     ((const RegistryTarget *)b)->pc_id);
        else
            snprintf(ret->why, sizeof(ret->why), _("%s is here twice, give each its own id"), id);
        return -EINVAL;
    }
    return 0;
}

static int dangling(const Registry *r, int of, const char *id, RegistryFault *ret)
{
    const RegistryTable *t = &registry_tables[of];
    Suggestion suggestion = SUGGESTION_INIT(id);

    for (size_t i = 0; i < registry_count(t, r); i++)
        suggest_try(&suggestion, registry_get_text(&t->columns[0], registry_row(t, r, i)));
    snprintf(ret->why, sizeof(ret->why),
             _("%s is not in %s, add it there or leave this target out"), id, t->name);
    suggest_append(&suggestion, ret->why, sizeof(ret->why));
    return -EINVAL;
}

/* Can it be watched with these values? */
static int check_complete(const char *unit, uint16_t port, const char *health, char *why,
                          size_t size)
{
    if (health && *health == '/' && port == 0)
        snprintf(why, size, _("the path %.64s needs a port, give port too"), health);
    else if (!unit && !port && !health)
        snprintf(why, size, _("nothing to watch, give unit, port or health_endpoint"));
    else
        return 0;
    return -EINVAL;
}

static int check_target(const Registry *r, const RegistryTarget *t, RegistryFault *ret)
{
    const RegistryApp *app = registry_find_app(r, t->app_id);

    if (!app) {
        fault(ret, TABLE_TARGETS, "app_id", t->place);
        return dangling(r, TABLE_APPS, t->app_id, ret);
    }
    if (!registry_find_pc(r, t->pc_id)) {
        fault(ret, TABLE_TARGETS, "pc_id", t->place);
        return dangling(r, TABLE_PCS, t->pc_id, ret);
    }
    fault(ret, TABLE_TARGETS, "app_id", t->place);
    return check_complete(t->unit ? t->unit : app->unit, t->port ? t->port : app->port,
                          t->health ? t->health : app->health, ret->why, sizeof(ret->why));
}

/* The first target of an app, NULL when it has none: targets are sorted by app. */
static const RegistryTarget *first_target(const Registry *r, const char *app_id)
{
    size_t low = 0, high = r->n_targets;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(r->targets[middle].app_id, app_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->n_targets && strcmp(r->targets[low].app_id, app_id) == 0 ? &r->targets[low]
                                                                             : NULL;
}

/* An app must be watchable as it stands, unless it is only ever watched through targets: those are
 * checked with their overrides. */
static int check_app(const Registry *r, const RegistryApp *app, RegistryFault *ret)
{
    if (!app->is_local_only && first_target(r, app->app_id))
        return 0;
    fault(ret, TABLE_APPS, "app_id", app->place);
    return check_complete(app->unit, app->port, app->health, ret->why, sizeof(ret->why));
}

static int check_pc(const RegistryPc *pc, RegistryFault *ret)
{
    if (strcmp(pc->pc_id, "none") != 0)
        return 0;
    snprintf(ret->why, sizeof(ret->why), _("none means \"no PC\" to --self, choose another id"));
    return fault(ret, TABLE_PCS, "pc_id", pc->place);
}

static int check_rows(const Registry *r, RegistryFault *ret)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < r->n_pcs; i++)
        e = check_pc(&r->pcs[i], ret);
    for (size_t i = 0; e == 0 && i < r->n_targets; i++)
        e = check_target(r, &r->targets[i], ret);
    for (size_t i = 0; e == 0 && i < r->n_apps; i++)
        e = check_app(r, &r->apps[i], ret);
    return e;
}

int registry_find_fault(Registry *r, RegistryFault *ret)
{
    RegistryFault found = {};
    int e = 0;

    for (size_t t = 0; e == 0 && t < TABLE_MAX; t++)
        e = check_values(r, &registry_tables[t], &found);
    for (size_t t = 0; e == 0 && t < TABLE_MAX; t++) {
        size_t n = registry_count(&registry_tables[t], r);
        if (n > 0)
            qsort(registry_row(&registry_tables[t], r, 0), n, registry_tables[t].row_size,
                  registry_tables[t].compare);
        e = check_duplicates(r, (int)t, &found);
    }
    if (e == 0)
        e = check_rows(r, &found);
    if (e < 0)
        *ret = found;
    return e;
}

int registry_check(Registry *r, RegistryError *error)
{
    RegistryFault f;
    int e = registry_find_fault(r, &f);

    if (e < 0)
        snprintf(error->text, sizeof(error->text), "%s[%u]%s%s: %s", f.table->name, f.place,
                 f.column ? "." : "", f.column ? f.column->name : "", f.why);
    return e;
}

static const void *find(const Registry *r, int table, const void *like)
{
    const RegistryTable *t = &registry_tables[table];
    size_t n = registry_count(t, r);

    return n ? bsearch(like, registry_row(t, r, 0), n, t->row_size, t->compare) : NULL;
}

const RegistryPc *registry_find_pc(const Registry *r, const char *pc_id)
{
    return find(r, TABLE_PCS, &(RegistryPc){.pc_id = (char *)pc_id});
}

const RegistryApp *registry_find_app(const Registry *r, const char *app_id)
{
    return find(r, TABLE_APPS, &(RegistryApp){.app_id = (char *)app_id});
}

static const RegistryTarget *find_target(const Registry *r, const char *app_id, const char *pc_id)
{
    return find(r, TABLE_TARGETS,
                &(RegistryTarget){.app_id = (char *)app_id, .pc_id = (char *)pc_id});
}

/* Which PC am I? */

static int no_self(const Registry *r, const char *why, RegistryError *error)
{
    size_t n = (size_t)snprintf(error->text, sizeof(error->text),
                                _("%s; say which PC this is with --self ID, one of:"), why);

    if (r->n_pcs == 0)
        snprintf(error->text, sizeof(error->text),
                 _("%s: the registry has no PCs, add one or use --self none"), why);
    for (size_t i = 0; i < r->n_pcs; i++) {
        if (n + ID_MAX + 8 > sizeof(error->text)) {
            snprintf(error->text + n, sizeof(error->text) - n, " ...");
            break;
        }
        n += (size_t)snprintf(error->text + n, sizeof(error->text) - n, "%s %s", i ? "," : "",
                              r->pcs[i].pc_id);
    }
    return -ENOENT;
}

static const char *id_of(const RegistryPc *pc)
{
    return pc->pc_id;
}

static const char *host_of(const RegistryPc *pc)
{
    return pc->ssh_host ? pc->ssh_host : pc->pc_id;
}

/* Host names know no upper and lower case. Returns how many PCs match, *ret the first. */
static size_t match_name(const Registry *r, const char *name,
                         const char *(*of)(const RegistryPc *pc), const RegistryPc **ret)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_pcs; i++)
        if (strcasecmp(of(&r->pcs[i]), name) == 0 && n++ == 0)
            *ret = &r->pcs[i];
    return n;
}

static size_t match_host(const Registry *r, const char *host_name, const RegistryPc **ret)
{
    char shorter[256];
    size_t n = 0;

    text_copy(shorter, sizeof(shorter), host_name);
    shorter[strcspn(shorter, ".")] = '\0';
    const char *names[] = {host_name, shorter};
    for (size_t i = 0; n == 0 && i < ELEMENTS(names); i++) {
        n = match_name(r, names[i], id_of, ret);
        if (n == 0)
            n = match_name(r, names[i], host_of, ret);
    }
    return n;
}

static size_t match_flag(const Registry *r, const RegistryPc **ret)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_pcs; i++)
        if (r->pcs[i].is_self && n++ == 0)
            *ret = &r->pcs[i];
    return n;
}

int registry_self(const Registry *r, const char *wanted, const char *host_name,
                  const RegistryPc **ret, RegistryError *error)
{
    char why[256], clean[ID_MAX + 1];
    const RegistryPc *pc = NULL;

    if (wanted) {
        pc = strcmp(wanted, "none") == 0 ? NULL : registry_find_pc(r, wanted);
        text_clean(clean, sizeof(clean), wanted, strlen(wanted));
        snprintf(why, sizeof(why), _("there is no PC \"%s\" in the registry"), clean);
        if (!pc && strcmp(wanted, "none") != 0)
            return no_self(r, why, error);
        *ret = pc;
        return 0;
    }
    size_t n = match_host(r, host_name, &pc);
    text_clean(clean, sizeof(clean), host_name, strlen(host_name));
    snprintf(why, sizeof(why),
             n > 1 ? _("several PCs have the host name %s") : _("no PC has the host name %s"),
             clean);
    if (n == 0)
        n = match_flag(r, &pc);
    if (n != 1)
        return no_self(r, why, error);
    *ret = pc;
    return 0;
}

/* Adding */

/* Copies the rows of a table, leaving out the one that is like `but` (NULL: none). */
static int copy_rows(const RegistryTable *t, Registry *dst, const Registry *src, const void *but)
{
    for (size_t i = 0; i < registry_count(t, src); i++) {
        const void *row = registry_row(t, src, i);
        void *copy;

        if (but && t->compare(row, but) == 0)
            continue;
        int r = registry_append(t, dst, &copy);
        if (r == 0)
            r = registry_row_copy(t, copy, row);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_row(const RegistryTable *t, Registry *dst, const Registry *src, const void *row,
                   RegistryError *error)
{
    void *copy;
    int r = copy_rows(t, dst, src, row);

    if (r == 0 && row)
        r = registry_append(t, dst, &copy);
    if (r == 0 && row)
        r = registry_row_copy(t, copy, row);
    if (r == -E2BIG) {
        snprintf(error->text, sizeof(error->text), _("%s: more than %zu rows"), t->name, t->max);
        return -EINVAL;
    }
    return r;
}

int registry_add(Registry *r, const RegistryPc *pc, const RegistryApp *app,
                 const RegistryTarget *target, RegistryError *error)
{
    const RegistryPc *known = pc && pc->pc_id ? registry_find_pc(r, pc->pc_id) : NULL;
    CLEANUP(registry_freep) Registry *next = calloc(1, sizeof(*next));
    RegistryPc merged;

    if (!next)
        return -ENOMEM;
    if (known) { /* it stays as it is, but for a new way to reach it */
        merged = *known;
        merged.ssh_host = pc->ssh_host ? pc->ssh_host : known->ssh_host;
        pc = &merged;
    }
    if ((pc && !pc->pc_id) || (app && !app->app_id) ||
        (target && (!target->app_id || !target->pc_id))) {
        snprintf(error->text, sizeof(error->text), _("an id is missing"));
        return -EINVAL;
    }
    const void *rows[TABLE_MAX] = {[TABLE_PCS] = pc, [TABLE_APPS] = app, [TABLE_TARGETS] = target};
    for (size_t t = 0; t < TABLE_MAX; t++) {
        int e = add_row(&registry_tables[t], next, r, rows[t], error);
        if (e < 0)
            return e;
    }
    RegistryFault f;
    if (registry_find_fault(next, &f) < 0) {
        snprintf(error->text, sizeof(error->text), "%s: %s",
                 f.column ? f.column->name : f.table->name, f.why);
        return -EINVAL;
    }
    Registry old = *r;
    *r = *next;
    *next = old;
    return 0;
}

/* What is to be watched */

static Want make_want(const RegistryApp *app, const char *pc_id, const RegistryTarget *t,
                      uint32_t max_timeout_ms)
{
    uint32_t timeout = t && t->timeout_ms ? t->timeout_ms : app->timeout_ms;

    return (Want){
        .app_id = app->app_id,
        .pc_id = pc_id,
        .title = app->title,
        .tag = app->tag,
        .unit = t && t->unit ? t->unit : app->unit,
        .health = t && t->health ? t->health : app->health,
        .expected = t ? t->expected : EXPECTED_RUNNING,
        .scope = app->scope,
        .port = t && t->port ? t->port : app->port,
        .timeout_ms = MIN(timeout ? timeout : HEALTH_TIMEOUT_DEFAULT_MS, max_timeout_ms),
    };
}

static int compare_want(const void *a, const void *b)
{
    const Want *x = a, *y = b;
    int r = strcmp(x->pc_id, y->pc_id);

    return r ? r : strcmp(x->app_id, y->app_id);
}

int registry_wants(const Registry *r, const RegistryPc *self, uint32_t max_timeout_ms, Want **ret,
                   size_t *ret_n)
{
    CLEANUP_FREE Want *wants = calloc(r->n_targets + r->n_apps + 1, sizeof(*wants));
    size_t n = 0;

    if (!wants)
        return -ENOMEM;
    for (size_t i = 0; i < r->n_targets; i++) {
        const RegistryTarget *t = &r->targets[i];
        const RegistryApp *app = registry_find_app(r, t->app_id);
        if (!app->is_local_only || (self && strcmp(self->pc_id, t->pc_id) == 0))
            wants[n++] = make_want(app, t->pc_id, t, max_timeout_ms);
    }
    for (size_t i = 0; self && i < r->n_apps; i++) {
        const RegistryApp *app = &r->apps[i];
        if (app->is_local_only && !find_target(r, app->app_id, self->pc_id))
            wants[n++] = make_want(app, self->pc_id, NULL, max_timeout_ms);
    }
    qsort(wants, n, sizeof(*wants), compare_want);
    *ret = TAKE_PTR(wants);
    *ret_n = n;
    return 0;
}
