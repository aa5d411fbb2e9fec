/* Every change as it comes, newest on top; pause to read, filter to follow one thing, a row to jump
 * to it.
 *
 * Paused means that the list stands still: what comes meanwhile is counted and shown when it goes
 * on. */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/panels.h"

static size_t live_row(const App *a, size_t row)
{
    return a->live.rows[row];
}

static void live_id(void *userdata, size_t row, char *ret, size_t size)
{
    const App *a = userdata;
    const TransitionRow *t = &a->model->transitions[live_row(a, row)].row;

    snprintf(ret, size, "live/%s/%s/%lld", t->pc_id, t->app_id, (long long)t->id);
}

void transition_badges(App *a, const TransitionRow *row)
{
    const ServiceRow *service =
        row->app_id[0] ? model_service(a->model, row->app_id, row->pc_id) : NULL;
    Expected expected = service ? service->expected : EXPECTED_RUNNING;
    bool pc = !row->app_id[0];

    badge(view_actual_status(row->from, expected),
          pc ? view_pc_actual_word(row->from) : view_actual_word(row->from));
    gui_same_line(gui_px(7));
    gui_text(theme->faint, "\u2192");
    gui_same_line(gui_px(7));
    badge(view_actual_status(row->to, expected),
          pc ? view_pc_actual_word(row->to) : view_actual_word(row->to));
}

static void live_cell(void *userdata, size_t row, int column)
{
    App *a = userdata;
    const TransitionRow *t = &a->model->transitions[live_row(a, row)].row;
    char text[SENTENCE_MAX], time[VIEW_TEXT];

    switch (column) {
    case 0:
        gui_font_push(GUI_FONT_MONO);
        gui_text_fit(theme->dim, view_date(time, t->ts));
        gui_font_pop();
        break;
    case 1: gui_text_fit(theme->dim, t->pc_id); break;
    case 2:
        gui_text_fit(t->app_id[0] ? theme->text : theme->dim,
                     t->app_id[0] ? t->app_id : _("whole PC"));
        break;
    case 3: transition_badges(a, t); break;
    default: gui_text_fit(theme->dim, view_sentence(text, t->sentence));
    }
}

static void toolbar(App *a)
{
    const Model *m = a->model;
    char text[96];
    long fresh = (long)(m->transitions_seen - a->live_until);

    filter_field("filter", _("Filter by PC, service, state or reason"), a->live_filter,
                 sizeof a->live_filter, gui_px(380), a->focus_filter);
    gui_same_line(gui_px(10));
    snprintf(text, sizeof text, "%s  %s", a->live_paused ? ICON_PLAY : ICON_PAUSE,
             a->live_paused ? _("Go on") : _("Pause"));
    if (gui_button("pause", text, gui_vec(0, 0)))
        live_pause(a, !a->live_paused);
    gui_same_line(gui_px(14));
    gui_align_text();
    if (a->live_paused)
        snprintf(text, sizeof text, P_("paused, %ld new", "paused, %ld new", (unsigned long)fresh),
                 fresh);
    else
        snprintf(text, sizeof text, P_("%zu change", "%zu changes", a->live.n), a->live.n);
    gui_text_fit(a->live_paused ? theme_status(STATUS_WARN) : theme->faint, text);
    gui_space(gui_px(2));
}

void panel_live(App *a)
{
    static const TableColumn columns[] = {{N_("Time"), 150},
                                          {N_("PC"), -.85F, .below = 560},
                                          {N_("Service"), -.9F},
                                          {N_("Change"), 286},
                                          {N_("Why"), -1.6F, .below = 860}};
    int64_t until = a->live_paused ? a->live_until : INT64_MAX;
    uint64_t key = list_key(a->model->version * 2 + a->live_paused, a->live_filter);

    if (list_renew(&a->live, key, a->model->n_transitions))
        a->live.n = view_transitions(a->model, a->live_filter, until, a->live.rows);
    gui_card_begin("live", gui_vec(0, 0));
    toolbar(a);
    if (a->model->n_transitions == 0)
        empty_state(ICON_LIVE, _("No changes yet"),
                    _("A change of any service appears here within a second."), NULL);
    else if (a->live.n == 0) {
        if (empty_state(ICON_SEARCH, _("Nothing matches"), _("No change matches this filter."),
                        _("Clear filter")))
            a->live_filter[0] = '\0';
    } else {
        const DataTable t = {.id = "live",
                             .columns = columns,
                             .n_columns = ELEMENTS(columns),
                             .n_rows = a->live.n,
                             .stripes = true,
                             .focus = a->focus_panel,
                             .userdata = a,
                             .cell = live_cell,
                             .row_id = live_id};
        ptrdiff_t hit = data_table(&t, gui_avail());
        if (hit >= 0) {
            const TransitionRow row = a->model->transitions[live_row(a, (size_t)hit)].row;
            row.app_id[0] ? app_go_app(a, row.app_id, row.pc_id) : app_go_pc(a, row.pc_id);
        }
    }
    gui_card_end();
}
