/* The PCs as a list: does it answer, how fast, how is it reached, what runs there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/panels.h"

static const PcRow *pc_row(const App *a, size_t row)
{
    return &a->model->pcs[a->pc_rows.rows[row]];
}

static void pc_id(void *userdata, size_t row, char *ret, size_t size)
{
    snprintf(ret, size, "pc/%s", pc_row(userdata, row)->pc_id);
}

static void good_of(const Model *m, size_t pc, char ret[static VIEW_TEXT])
{
    size_t good = 0, first = m->pc_first[pc], last = m->pc_first[pc + 1];

    for (size_t i = first; i < last; i++) {
        Status s = view_status(&m->services[i]);
        good += s == STATUS_OK || s == STATUS_OFF;
    }
    snprintf(ret, VIEW_TEXT, _("%zu of %zu"), good, last - first);
}

static void pc_cell(void *userdata, size_t row, int column)
{
    const App *a = userdata;
    const PcRow *p = pc_row(a, row);
    char text[SENTENCE_MAX], age[VIEW_TEXT];

    switch (column) {
    case 0: gui_text_fit(theme->text, p->pc_id); break;
    case 1: badge(view_pc_status(p), p->reachable ? _("Reachable") : _("Unreachable")); break;
    case 2: gui_text_fit(theme->dim, view_age(age, a->now_ms, p->since_ts)); break;
    case 3:
        good_of(a->model, a->pc_rows.rows[row], age);
        gui_text_fit(theme->dim, age);
        break;
    case 4: gui_text_fit(theme->dim, view_latency(age, p->reachable ? p->lag_us : -1)); break;
    case 5:
        gui_text_fit(theme->dim, p->is_self  ? _("this daemon's PC")
                                 : p->events ? _("live events")
                                             : _("polled"));
        break;
    default:
        gui_text_fit(theme->dim,
                     p->sentence[0] ? view_sentence(text, p->sentence) : p->version_uname);
    }
}

static int compare_pcs(const PcRow *x, const PcRow *y, int column)
{
    switch (column) {
    case 1: return (int)view_pc_status(y) - (int)view_pc_status(x);
    case 2: return x->since_ts < y->since_ts ? 1 : x->since_ts > y->since_ts ? -1 : 0;
    case 4: return x->lag_us < y->lag_us ? -1 : x->lag_us > y->lag_us;
    default: return strcmp(x->pc_id, y->pc_id);
    }
}

static int compare_indexes(const void *i, const void *k, void *userdata)
{
    const App *a = userdata;
    const PcRow *x = &a->model->pcs[*(const uint32_t *)i],
                *y = &a->model->pcs[*(const uint32_t *)k];
    int r = compare_pcs(x, y, a->pcs_sort.column);

    r = a->pcs_sort.descending ? -r : r;
    return r ? r : strcmp(x->pc_id, y->pc_id);
}

static void pcs_list(App *a)
{
    uint64_t key = list_key(
        a->model->version * 32 + (uint64_t)a->pcs_sort.column * 2 + a->pcs_sort.descending, "");

    if (!list_renew(&a->pc_rows, key, a->model->n_pcs + 1))
        return;
    for (size_t i = 0; i < a->model->n_pcs; i++)
        a->pc_rows.rows[i] = (uint32_t)i;
    a->pc_rows.n = a->model->n_pcs;
    qsort_r(a->pc_rows.rows, a->pc_rows.n, sizeof *a->pc_rows.rows, compare_indexes, a);
}

void panel_pcs(App *a)
{
    static const TableColumn columns[] = {
        {N_("PC"), -1},       {N_("State"), 130},         {N_("For"), 100},
        {N_("Healthy"), 100}, {N_("Lag"), 90, true, 900}, {N_("Seen by"), 140, .below = 820},
        {N_("Remark"), -1.6F}};

    pcs_list(a);
    gui_card_begin("pcs", gui_vec(0, 0));
    if (a->pc_rows.n == 0)
        empty_state(ICON_PC, _("No PCs"), _("The registry names no PC yet."), NULL);
    else {
        const DataTable t = {.id = "pcs",
                             .columns = columns,
                             .n_columns = ELEMENTS(columns),
                             .n_rows = a->pc_rows.n,
                             .sort = &a->pcs_sort,
                             .focus = a->focus_panel,
                             .userdata = a,
                             .cell = pc_cell,
                             .row_id = pc_id};
        ptrdiff_t hit = data_table(&t, gui_avail());
        if (hit >= 0)
            app_go_pc(a, pc_row(a, (size_t)hit)->pc_id);
    }
    gui_card_end();
}
