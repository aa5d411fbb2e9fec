/* Applies changes to the rows.
 *
 * A delta that touches known rows is a binary search per row. A row that is new, or gone, rebuilds
 * the index: sort once, then one walk gives apps, places and PC starts. That is rare and costs 2 ms
 * for 10,000 rows.
 *
 * A snapshot replaces rows and PCs, but old and new rows are compared on the way, so that a service
 * that died while we were cut off is announced like any other. Alerts of a snapshot replace too.
 * Transitions are merged by id: an update carries the evidence of a transition that was published
 * before. */
#include "monitor/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define SILENCE_MS  12000
#define GRACE_MS    2000
#define SMALL_SKEW  2000
#define FIRST_COUNT 64

int model_new(Model **ret)
{
    Model *m = calloc(1, sizeof *m);

    if (!m)
        return -ENOMEM;
    m->pc_first = calloc(1, sizeof *m->pc_first);
    m->transitions = calloc(MODEL_TRANSITIONS_MAX, sizeof *m->transitions);
    if (!m->pc_first || !m->transitions) {
        model_free(m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

Model *model_free(Model *m)
{
    if (!m)
        return NULL;
    for (size_t i = 0; i < m->n_transitions; i++)
        transition_done(&m->transitions[i]);
    for (size_t i = 0; i < m->n_alerts; i++)
        alert_done(&m->alerts[i]);
    for (size_t i = 0; i < m->n_details; i++)
        detail_free(m->details[i]);
    free(m->pcs);
    free(m->apps);
    free(m->services);
    free(m->service_app);
    free(m->service_pc);
    free(m->pc_first);
    free(m->transitions);
    free(m->alerts);
    free(m->silences);
    free(m);
    return NULL;
}

void model_watch(Model *m, ModelCallback changed, ModelPcCallback pc_changed, void *userdata)
{
    m->changed = changed;
    m->pc_changed = pc_changed;
    m->userdata = userdata;
}

/* ---- finding ---- */

static int compare_pcs(const void *a, const void *b)
{
    return strcmp(((const PcRow *)a)->pc_id, ((const PcRow *)b)->pc_id);
}

static int compare_apps(const void *a, const void *b)
{
    return strcmp(((const ModelApp *)a)->app_id, ((const ModelApp *)b)->app_id);
}

static int compare_services(const void *a, const void *b)
{
    const ServiceRow *x = a, *y = b;
    int r = strcmp(x->pc_id, y->pc_id);

    return r ? r : strcmp(x->app_id, y->app_id);
}

size_t model_find_pc(const Model *m, const char *pc_id)
{
    PcRow key;

    text_copy(key.pc_id, sizeof key.pc_id, pc_id);
    const PcRow *p = m->n_pcs ? bsearch(&key, m->pcs, m->n_pcs, sizeof key, compare_pcs) : NULL;
    return p ? (size_t)(p - m->pcs) : MODEL_NONE;
}

size_t model_find_app(const Model *m, const char *app_id)
{
    ModelApp key;

    text_copy(key.app_id, sizeof key.app_id, app_id);
    const ModelApp *a =
        m->n_apps ? bsearch(&key, m->apps, m->n_apps, sizeof key, compare_apps) : NULL;
    return a ? (size_t)(a - m->apps) : MODEL_NONE;
}

static ServiceRow *find_service(const Model *m, const char *app_id, const char *pc_id)
{
    ServiceRow key;

    text_copy(key.app_id, sizeof key.app_id, app_id);
    text_copy(key.pc_id, sizeof key.pc_id, pc_id);
    return m->n_services ? bsearch(&key, m->services, m->n_services, sizeof key, compare_services)
                         : NULL;
}

const ServiceRow *model_service(const Model *m, const char *app_id, const char *pc_id)
{
    return find_service(m, app_id, pc_id);
}

const ServiceRow *model_cell(const Model *m, size_t pc, size_t app)
{
    size_t low = m->pc_first[pc], high = m->pc_first[pc + 1];

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->service_app[middle] == app)
            return &m->services[middle];
        if (m->service_app[middle] < app)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- index ---- */

static int index_apps(Model *m)
{
    ModelApp *apps = calloc(m->n_services + 1, sizeof *apps);
    size_t n = 0;

    if (!apps)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_services; i++) {
        memcpy(apps[i].app_id, m->services[i].app_id, sizeof apps[i].app_id);
        memcpy(apps[i].title, m->services[i].title, sizeof apps[i].title);
    }
    qsort(apps, m->n_services, sizeof *apps, compare_apps);
    for (size_t i = 0; i < m->n_services; i++)
        if (n == 0 || strcmp(apps[n - 1].app_id, apps[i].app_id) != 0)
            apps[n++] = apps[i];
    free(m->apps);
    m->apps = apps;
    m->n_apps = n;
    return 0;
}

static int index_rebuild(Model *m)
{
    CLEANUP_FREE uint32_t *app = calloc(m->n_services + 1, sizeof *app);
    CLEANUP_FREE uint32_t *pc = calloc(m->n_services + 1, sizeof *pc);
    CLEANUP_FREE uint32_t *first = calloc(m->n_pcs + 1, sizeof *first);
    size_t s = 0;

    if (m->n_services)
        qsort(m->services, m->n_services, sizeof *m->services, compare_services);
    if (!app || !pc || !first || index_apps(m) < 0)
        return -ENOMEM;
    for (size_t p = 0; p < m->n_pcs; p++) {
        first[p] = (uint32_t)s;
        for (; s < m->n_services && strcmp(m->services[s].pc_id, m->pcs[p].pc_id) == 0; s++) {
            pc[s] = (uint32_t)p;
            app[s] = (uint32_t)model_find_app(m, m->services[s].app_id);
        }
    }
    first[m->n_pcs] = (uint32_t)s;
    free(m->service_app);
    free(m->service_pc);
    free(m->pc_first);
    m->service_app = TAKE_PTR(app);
    m->service_pc = TAKE_PTR(pc);
    m->pc_first = TAKE_PTR(first);
    return 0;
}

/* ---- rows ---- */

static int pc_set(Model *m, const PcRow *row)
{
    size_t at = model_find_pc(m, row->pc_id);

    if (at != MODEL_NONE) {
        if (m->pc_changed)
            m->pc_changed(m->userdata, &m->pcs[at], row);
        m->pcs[at] = *row;
        return 0;
    }
    if (m->n_pcs == MODEL_PCS_MAX)
        return 0;
    PcRow *pcs = realloc(m->pcs, (m->n_pcs + 1) * sizeof *pcs);
    if (!pcs)
        return -ENOMEM;
    m->pcs = pcs;
    m->pcs[m->n_pcs++] = *row;
    qsort(m->pcs, m->n_pcs, sizeof *m->pcs, compare_pcs);
    return 1;
}

/* A service of a PC that no message named yet: the PC is there, and nothing is known of it. */
static int pc_ensure(Model *m, const char *pc_id)
{
    PcRow row = {.cause = CAUSE_NOT_CHECKED_YET, .lag_us = -1};

    if (model_find_pc(m, pc_id) != MODEL_NONE)
        return 0;
    text_copy(row.pc_id, sizeof row.pc_id, pc_id);
    return pc_set(m, &row);
}

/* Adds the rows that are new behind the sorted ones; the caller rebuilds the index. Returns how
 * many. */
static int services_set(Model *m, const ServiceRow *rows, size_t n)
{
    size_t known = m->n_services, fresh = 0;
    int r = 0;

    for (size_t i = 0; i < n && r >= 0; i++)
        r = MAX(r, pc_ensure(m, rows[i].pc_id));
    if (r < 0)
        return r;
    ServiceRow *services = realloc(m->services, (known + n + 1) * sizeof *services);
    if (!services)
        return -ENOMEM;
    m->services = services;
    for (size_t i = 0; i < n; i++) {
        ServiceRow *row = known ? find_service(m, rows[i].app_id, rows[i].pc_id) : NULL;
        if (row) {
            if (m->changed)
                m->changed(m->userdata, row, &rows[i]);
            *row = rows[i];
        } else if (known + fresh < MODEL_SERVICES_MAX &&
                   model_find_pc(m, rows[i].pc_id) != MODEL_NONE)
            m->services[known + fresh++] = rows[i];
    }
    m->n_services = known + fresh;
    return (int)fresh + r;
}

static bool drop_services(Model *m, const char *app_id, const char *pc_id)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n_services; i++) {
        const ServiceRow *row = &m->services[i];
        bool gone =
            strcmp(row->pc_id, pc_id) == 0 && (!app_id[0] || strcmp(row->app_id, app_id) == 0);
        if (!gone && kept++ != i)
            m->services[kept - 1] = *row;
    }
    bool changed = kept != m->n_services;
    m->n_services = kept;
    return changed;
}

static bool drop_pair(Model *m, const Pair *pair)
{
    bool changed = drop_services(m, pair->app_id, pair->pc_id);
    size_t at = pair->app_id[0] ? MODEL_NONE : model_find_pc(m, pair->pc_id);

    if (at == MODEL_NONE)
        return changed;
    memmove(&m->pcs[at], &m->pcs[at + 1], (m->n_pcs - at - 1) * sizeof *m->pcs);
    m->n_pcs--;
    return true;
}

/* What a snapshot no longer has. The lists of the snapshot are sorted first, so this is a merge. */
static void keep_only(Model *m, Change *c)
{
    size_t kept = 0, i, k;

    qsort(c->services, c->n_services, sizeof *c->services, compare_services);
    qsort(c->pcs, c->n_pcs, sizeof *c->pcs, compare_pcs);
    for (i = 0, k = 0; i < m->n_services; i++) {
        while (k < c->n_services && compare_services(&c->services[k], &m->services[i]) < 0)
            k++;
        if (k < c->n_services && compare_services(&c->services[k], &m->services[i]) == 0)
            m->services[kept++] = m->services[i];
    }
    m->n_services = kept;
    for (i = 0, k = 0, kept = 0; i < m->n_pcs; i++) {
        while (k < c->n_pcs && compare_pcs(&c->pcs[k], &m->pcs[i]) < 0)
            k++;
        if (k < c->n_pcs && compare_pcs(&c->pcs[k], &m->pcs[i]) == 0)
            m->pcs[kept++] = m->pcs[i];
    }
    m->n_pcs = kept;
}

static int rows_apply(Model *m, Change *c)
{
    bool structure = c->kind == CHANGE_SNAPSHOT;
    int r = 0;

    if (structure)
        keep_only(m, c);
    for (size_t i = 0; i < c->n_removed; i++)
        structure = drop_pair(m, &c->removed[i]) || structure;
    for (size_t i = 0; i < c->n_pcs && r >= 0; i++) {
        r = pc_set(m, &c->pcs[i]);
        structure = structure || r > 0;
    }
    if (r >= 0 && c->n_services)
        r = services_set(m, c->services, c->n_services);
    if (structure || r != 0) {
        int index = index_rebuild(m);
        r = r < 0 ? r : index;
    }
    return MIN(r, 0);
}

static void checks_apply(Model *m, const Change *c)
{
    for (size_t i = 0; i < c->n_checks; i++) {
        const Check *check = &c->checks[i];
        ServiceRow *row = find_service(m, check->pair.app_id, check->pair.pc_id);
        size_t pc = model_find_pc(m, check->pair.pc_id);
        if (!row)
            continue;
        row->last_check_ts = MAX(row->last_check_ts, check->ts);
        row->latency_us = check->latency_us;
        if (row->light == LIGHT_OK && row->expected == EXPECTED_RUNNING)
            row->last_healthy_ts = MAX(row->last_healthy_ts, check->ts);
        if (pc != MODEL_NONE)
            m->pcs[pc].last_check_ts = MAX(m->pcs[pc].last_check_ts, check->ts);
    }
}

/* ---- transitions ---- */

static Transition *find_transition(Model *m, int64_t id)
{
    for (size_t i = m->n_transitions; i-- > 0;)
        if (m->transitions[i].row.id == id)
            return &m->transitions[i];
    return NULL;
}

static void transition_add(Model *m, Transition *t)
{
    Transition *known = t->row.id > m->newest_id ? NULL : find_transition(m, t->row.id);

    m->newest_id = MAX(m->newest_id, t->row.id);
    if (known) {
        if (!t->evidence)
            t->evidence = TAKE_PTR(known->evidence);
        transition_done(known);
        t->row.is_update = false;
        *known = *t;
        t->evidence = NULL;
        return;
    }
    if (m->n_transitions == MODEL_TRANSITIONS_MAX) {
        size_t drop = MODEL_TRANSITIONS_MAX / 10;
        for (size_t i = 0; i < drop; i++)
            transition_done(&m->transitions[i]);
        memmove(m->transitions, m->transitions + drop,
                (m->n_transitions - drop) * sizeof *m->transitions);
        m->n_transitions -= drop;
    }
    m->transitions[m->n_transitions++] = *t;
    t->evidence = NULL;
}

static int compare_transitions(const void *a, const void *b)
{
    const TransitionRow *x = &((const Transition *)a)->row, *y = &((const Transition *)b)->row;

    if (x->ts != y->ts)
        return x->ts < y->ts ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void transitions_apply(Model *m, Change *c)
{
    bool in_order = true;

    for (size_t i = 0; i < c->n_transitions; i++) {
        int64_t last = m->n_transitions ? m->transitions[m->n_transitions - 1].row.ts : 0;
        size_t before = m->n_transitions;
        in_order = in_order && c->transitions[i].row.ts >= last;
        transition_add(m, &c->transitions[i]);
        m->transitions_seen += c->kind != CHANGE_HISTORY && m->n_transitions != before;
    }
    if (!in_order)
        qsort(m->transitions, m->n_transitions, sizeof *m->transitions, compare_transitions);
}

/* ---- alerts ---- */

static int alert_set(Model *m, Alert *a)
{
    for (size_t i = 0; i < m->n_alerts; i++)
        if (strcmp(m->alerts[i].id, a->id) == 0) {
            alert_done(&m->alerts[i]);
            m->alerts[i] = *a;
            a->behind = NULL;
            return 0;
        }
    if (m->n_alerts == MODEL_ALERTS_MAX) {
        alert_done(&m->alerts[0]);
        memmove(m->alerts, m->alerts + 1, (m->n_alerts - 1) * sizeof *m->alerts);
        m->n_alerts--;
    }
    Alert *alerts = realloc(m->alerts, (m->n_alerts + 1) * sizeof *alerts);
    if (!alerts)
        return -ENOMEM;
    m->alerts = alerts;
    m->alerts[m->n_alerts++] = *a;
    a->behind = NULL;
    return 0;
}

static int alerts_apply(Model *m, Change *c)
{
    int r = 0;

    if (c->kind == CHANGE_SNAPSHOT) {
        for (size_t i = 0; i < m->n_alerts; i++)
            alert_done(&m->alerts[i]);
        m->n_alerts = 0;
    }
    for (size_t i = 0; i < c->n_alerts && r == 0; i++)
        r = alert_set(m, &c->alerts[i]);
    return r;
}

/* ---- details ---- */

static size_t detail_place(const Model *m, const char *app_id, const char *pc_id)
{
    for (size_t i = 0; i < m->n_details; i++)
        if (strcmp(m->details[i]->app_id, app_id) == 0 && strcmp(m->details[i]->pc_id, pc_id) == 0)
            return i;
    return MODEL_NONE;
}

const Detail *model_detail(const Model *m, const char *app_id, const char *pc_id)
{
    size_t at = detail_place(m, app_id, pc_id);

    return at == MODEL_NONE ? NULL : m->details[at];
}

int model_want_detail(Model *m, const char *app_id, const char *pc_id)
{
    CLEANUP(detail_freep) Detail *d = NULL;

    if (detail_place(m, app_id, pc_id) != MODEL_NONE)
        return 0;
    int r = detail_new(app_id, pc_id, &d);
    if (r < 0)
        return r;
    if (m->n_details == MODEL_DETAILS_MAX)
        m->details[m->n_details - 1] = detail_free(m->details[m->n_details - 1]);
    else
        m->n_details++;
    memmove(m->details + 1, m->details, (m->n_details - 1) * sizeof *m->details);
    m->details[0] = TAKE_PTR(d);
    return 0;
}

static void detail_apply(Model *m, Change *c)
{
    size_t at = c->detail ? detail_place(m, c->detail->app_id, c->detail->pc_id) : MODEL_NONE;

    if (at == MODEL_NONE)
        return; /* nobody wants it any more */
    if (c->detail->state == DETAIL_FAILED && m->details[at]->state == DETAIL_READY) {
        text_copy(m->details[at]->error, sizeof m->details[at]->error, c->detail->error);
        return; /* an old answer with its age is worth more than none */
    }
    detail_free(m->details[at]);
    m->details[at] = TAKE_PTR(c->detail);
}

/* ---- connection ---- */

static void state_apply(Model *m, const Change *c)
{
    if (c->state == CLIENT_LIVE) {
        m->lost_ms = 0;
        m->last_message_ms = c->received_ms;
    } else if (m->state == CLIENT_LIVE || m->lost_ms == 0)
        m->lost_ms = c->received_ms;
    if (c->state != CLIENT_CONNECTING || c->text[0])
        text_copy(m->sentence, sizeof m->sentence, c->text);
    m->state = c->state;
}

static void message_apply(Model *m, const Change *c)
{
    int64_t offset = c->ts > 0 ? c->ts - c->received_ms : m->offset_ms;

    m->offset_ms = offset > SMALL_SKEW || offset < -SMALL_SKEW ? offset : 0;
    m->last_message_ms = c->received_ms;
    m->seq = MAX(m->seq, c->seq);
    if (c->has_features)
        m->actions = c->actions;
    if (c->version[0])
        text_copy(m->daemon_version, sizeof m->daemon_version, c->version);
    if (c->kind == CHANGE_SNAPSHOT) {
        m->has_snapshot = true;
        m->seq = c->seq;
    }
}

bool model_is_other_version(const Model *m)
{
    return m->daemon_version[0] && strcmp(m->daemon_version, SERVICES_MONITOR_VERSION) != 0;
}

bool model_is_stale(const Model *m, int64_t now_ms)
{
    if (m->state == CLIENT_LIVE)
        return false; /* the client itself calls 12 s of silence lost */
    if (m->lost_ms == 0)
        return m->last_message_ms == 0 || now_ms - m->last_message_ms > SILENCE_MS + GRACE_MS;
    return now_ms - m->lost_ms > GRACE_MS;
}

int model_apply(Model *m, Change *c)
{
    CLEANUP(change_freep) Change *owned = c;
    int r = 0;

    m->version++;
    switch (c->kind) {
    case CHANGE_STATE: state_apply(m, c); return 0;
    case CHANGE_DETAIL: detail_apply(m, c); return 0;
    case CHANGE_SILENCES:
        free(m->silences);
        m->silences = TAKE_PTR(c->silences);
        m->n_silences = c->n_silences;
        return 0;
    case CHANGE_ANSWER:
        text_copy(m->answer, sizeof m->answer, c->text);
        m->answer_failed = c->failed;
        m->answer_ms = c->received_ms;
        return c->n_services ? rows_apply(m, c) : 0;
    case CHANGE_HISTORY:
        transitions_apply(m, owned);
        m->has_history = true;
        return 0;
    case CHANGE_HELLO:
    case CHANGE_SNAPSHOT:
    case CHANGE_DELTA: break;
    }
    message_apply(m, c);
    if (c->kind == CHANGE_HELLO)
        return 0;
    r = rows_apply(m, c);
    checks_apply(m, c);
    transitions_apply(m, c);
    int alerts = alerts_apply(m, c);
    return r < 0 ? r : alerts;
}
