/* One app: its state on each PC, and for the chosen PC its history: hours, latency, changes with
 * their evidence, journal.
 *
 * The history is asked for by REST when the panel opens, again when a change arrives, and each 30
 * s; until it is here the cards say so, and afterwards they say how old it is. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "basic/buffer.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/charts.h"
#include "monitor/panels.h"

#define COPY_MAX   (1U << 20)
#define CHART_H    196
#define LISTS_MIN  250
#define STATES_MAX 5 /* PCs shown without scrolling */

/* ---- which PC ---- */

static void choose_pc(App *a, size_t app)
{
    const Model *m = a->model;
    const ServiceRow *best = NULL;

    if (a->place.pc_id[0] && model_service(m, a->place.app_id, a->place.pc_id))
        return;
    for (size_t p = 0; p < m->n_pcs; p++) {
        const ServiceRow *row = model_cell(m, p, app);
        if (row && (!best || (view_worst(view_status(row), view_status(best)) == view_status(row) &&
                              view_status(row) != view_status(best))))
            best = row;
    }
    if (best)
        text_copy(a->place.pc_id, sizeof a->place.pc_id, best->pc_id);
}

static const ServiceRow *state_row(const App *a, size_t row)
{
    return &a->model->services[a->pc_rows.rows[row]];
}

static void state_id(void *userdata, size_t row, char *ret, size_t size)
{
    snprintf(ret, size, "state/%s", state_row(userdata, row)->pc_id);
}

static void chosen_mark(const char *pc_id)
{
    GuiVec p = gui_cursor();

    draw_rect(p.x - gui_px(9), p.y - gui_px(3), p.x - gui_px(6), p.y + gui_px(21), theme->accent,
              gui_px(2));
    gui_font_push(GUI_FONT_BOLD);
    gui_text_fit(theme->text, pc_id);
    gui_font_pop();
}

static void state_cell(void *userdata, size_t row, int column)
{
    const App *a = userdata;
    const ServiceRow *s = state_row(a, row);
    char age[VIEW_TEXT];

    switch (column) {
    case 0:
        if (strcmp(s->pc_id, a->place.pc_id) == 0)
            chosen_mark(s->pc_id);
        else
            gui_text_fit(theme->text, s->pc_id);
        break;
    case 1: badge(view_status(s), view_actual_word(s->actual)); break;
    case 2: gui_text_fit(theme->dim, view_expected_word(s->expected)); break;
    case 3: gui_text_fit(theme->dim, view_age(age, a->now_ms, s->since_ts)); break;
    default: gui_text_fit(theme->dim, view_latency(age, s->latency_us));
    }
}

static void states_list(App *a, size_t app)
{
    const Model *m = a->model;
    uint64_t key = list_key(m->version * 32 + 31, a->place.app_id);

    if (!list_renew(&a->pc_rows, key, m->n_pcs + 1))
        return;
    a->pc_rows.n = 0;
    for (size_t p = 0; p < m->n_pcs; p++) {
        const ServiceRow *row = model_cell(m, p, app);
        if (row)
            a->pc_rows.rows[a->pc_rows.n++] = (uint32_t)(row - m->services);
    }
}

static void states_card(App *a, GuiVec size)
{
    static const TableColumn columns[] = {{N_("PC"), -1},
                                          {N_("State"), 118},
                                          {N_("Expected"), 84},
                                          {N_("For"), 84},
                                          {N_("Latency"), 76}};

    gui_card_begin("states", size);
    card_title(_("State on each PC"), NULL);
    const DataTable t = {.id = "states",
                         .columns = columns,
                         .n_columns = ELEMENTS(columns),
                         .n_rows = a->pc_rows.n,
                         .focus = a->focus_panel,
                         .userdata = a,
                         .cell = state_cell,
                         .row_id = state_id};
    ptrdiff_t hit = data_table(&t, gui_avail());
    if (hit >= 0)
        text_copy(a->place.pc_id, sizeof a->place.pc_id, state_row(a, (size_t)hit)->pc_id);
    gui_card_end();
}

/* ---- what it is now, and what can be done ---- */

void app_actions_row(App *a, const char *app_id, const char *pc_id)
{
    static const struct {
        const char *id, *label, *action;
    } actions[] = {{"action/start", N_("Start"), "start"},
                   {"action/stop", N_("Stop"), "stop"},
                   {"action/restart", N_("Restart"), "restart"}};
    const char *reason = app_actions_reason(a);
    bool tip = false;
    char check[64];

    snprintf(check, sizeof check, ICON_REFRESH "  %s", _("Check now"));
    gui_disabled_begin(a->stale);
    if (gui_button("check", check, gui_vec(0, 0)))
        app_check(a, app_id, pc_id);
    gui_disabled_end();
    gui_disabled_begin(reason != NULL);
    for (size_t i = 0; i < ELEMENTS(actions); i++) {
        gui_same_line(gui_px(8));
        if (gui_button(actions[i].id, i18n_text(actions[i].label), gui_vec(0, 0)))
            app_action(a, app_id, pc_id, actions[i].action);
        tip = tip || gui_item_hovered();
    }
    gui_disabled_end();
    if (reason && tip) {
        gui_tooltip_begin();
        gui_text(theme->text, reason);
        gui_tooltip_end();
    }
    if (reason) {
        gui_font_push(GUI_FONT_SMALL);
        gui_text_fit(theme->faint, reason);
        gui_font_pop();
    }
}

static void now_lines(App *a, const ServiceRow *s)
{
    char sentence[SENTENCE_MAX], age[VIEW_TEXT], healthy[VIEW_TEXT], checked[VIEW_TEXT], line[256];

    badge(view_status(s), view_actual_word(s->actual));
    gui_same_line(gui_px(10));
    gui_textf(theme->dim, _("for %s"), view_age(age, a->now_ms, s->since_ts));
    if (s->sentence[0])
        gui_text_fit(theme->text, view_sentence(sentence, s->sentence));
    snprintf(line, sizeof line, _("last check: %s  \u00b7  last healthy: %s"),
             view_age(checked, a->now_ms, s->last_check_ts),
             view_age(healthy, a->now_ms, s->last_healthy_ts));
    if (s->port) {
        size_t len = strlen(line);
        snprintf(line + len, sizeof line - len, _("  \u00b7  port %u"), s->port);
    }
    if (s->restarts) {
        size_t len = strlen(line);
        snprintf(line + len, sizeof line - len,
                 P_("  \u00b7  %u restart", "  \u00b7  %u restarts", s->restarts), s->restarts);
    }
    gui_text_fit(theme->faint, line);
    if (s->maintenance.until_ts)
        gui_text_fit(theme->accent, view_maintenance(sentence, &s->maintenance));
    if (s->hints)
        gui_text_fit(theme->faint, s->hints & HINT_NOT_ENABLED
                                       ? _("not enabled: will not survive a reboot")
                                       : _("linger is off: it stops at logout"));
}

static void now_card(App *a, const ServiceRow *s, GuiVec size)
{
    char title[2 * ID_MAX + 16];

    gui_card_begin("now", size);
    snprintf(title, sizeof title, _("Now on %s"), s->pc_id);
    card_title(title, NULL);
    now_lines(a, s);
    float rest = gui_avail().y, want = gui_px(58);
    if (rest > want)
        gui_space(rest - want - gui_px(8));
    app_actions_row(a, s->app_id, s->pc_id);
    gui_card_end();
}

/* ---- history ---- */

static bool detail_ready(const Detail *d)
{
    if (d && d->state == DETAIL_READY)
        return true;
    if (d && d->state == DETAIL_FAILED)
        gui_text_wrap(theme->dim, d->error);
    else
        gui_text(theme->faint, _("Asking for the history\u2026"));
    return false;
}

static void hours_card(const Detail *d, GuiVec size)
{
    gui_card_begin("hours", size);
    card_title(_("Healthy ratio per hour"), _("last 7 days; gaps were not observed"));
    if (detail_ready(d))
        chart_hours(d, gui_avail().y);
    gui_card_end();
}

static void latency_card(const Detail *d, GuiVec size)
{
    gui_card_begin("latency", size);
    card_title(_("Latency"), _("of the health request"));
    if (detail_ready(d))
        chart_latency(d, gui_avail().y);
    gui_card_end();
}

typedef struct Changes {
    App *a;
    const Detail *d;
} Changes;

static void change_id(void *userdata, size_t row, char *ret, size_t size)
{
    snprintf(ret, size, "change/%zu", row);
    (void)userdata;
}

static void change_cell(void *userdata, size_t row, int column)
{
    const Changes *c = userdata;
    const Transition *t = &c->d->transitions[row];
    char text[SENTENCE_MAX], time[VIEW_TEXT];

    switch (column) {
    case 0:
        gui_font_push(GUI_FONT_MONO);
        gui_text_fit(t->row.id == c->a->evidence_id ? theme->accent : theme->dim,
                     view_date(time, t->row.ts));
        gui_font_pop();
        break;
    case 1: transition_badges(c->a, &t->row); break;
    case 2:
        if (row == 0)
            gui_text_fit(theme->dim, view_age(time, c->a->now_ms, t->row.ts));
        else
            gui_text_fit(theme->dim,
                         view_duration(time, c->d->transitions[row - 1].row.ts - t->row.ts));
        break;
    default: gui_text_fit(theme->dim, view_sentence(text, t->row.sentence));
    }
}

static const Transition *evidence_of(const App *a, const Detail *d)
{
    for (size_t i = 0; i < d->n_transitions; i++)
        if (d->transitions[i].row.id == a->evidence_id)
            return &d->transitions[i];
    return NULL;
}

static void evidence(App *a, const Transition *t)
{
    gui_space(gui_px(2));
    GuiVec p = gui_cursor();
    draw_line(p.x, p.y - gui_px(4), p.x + gui_avail().x, p.y - gui_px(4), theme->line, 1);
    gui_align_text();
    gui_text(theme->faint, _("Evidence"));
    gui_same_line(gui_px(12));
    if (gui_button_ghost("evidence-close", _("Close"), gui_vec(0, 0)))
        a->evidence_id = 0;
    gui_child_begin("evidence", gui_avail(), false);
    gui_font_push(GUI_FONT_MONO);
    gui_text_wrap(theme->text, t->evidence ? t->evidence : _("There is none for this change."));
    gui_font_pop();
    gui_child_end();
}

static void changes_table(App *a, const Detail *d)
{
    static const TableColumn columns[] = {
        {N_("Time"), 128}, {N_("Change"), 232}, {N_("Lasted"), 78}, {N_("Why"), -1}};
    const Transition *open = evidence_of(a, d);
    float room = gui_avail().y;
    Changes c = {a, d};
    const DataTable t = {.id = "changes",
                         .columns = columns,
                         .n_columns = ELEMENTS(columns),
                         .n_rows = d->n_transitions,
                         .userdata = &c,
                         .cell = change_cell,
                         .row_id = change_id};
    ptrdiff_t hit = data_table(&t, gui_vec(gui_avail().x, open ? floorf(room * .5F) : room));

    if (hit >= 0)
        a->evidence_id =
            a->evidence_id == d->transitions[hit].row.id ? 0 : d->transitions[hit].row.id;
    if (open)
        evidence(a, open);
}

static void changes_card(App *a, const Detail *d, GuiVec size)
{
    char note[64] = "";

    gui_card_begin("changes", size);
    if (d && d->n_transitions)
        snprintf(note, sizeof note, _("%zu in the history; a click shows the evidence"),
                 d->n_transitions);
    card_title(_("Changes"), note[0] ? note : NULL);
    if (detail_ready(d) && d->n_transitions == 0)
        empty_state(ICON_CLOCK, _("No changes"),
                    _("It has been in its state for as long as the history goes back."), NULL);
    else if (d && d->state == DETAIL_READY)
        changes_table(a, d);
    gui_card_end();
}

/* ---- journal ---- */

static GuiColor priority_color(int priority)
{
    return priority <= 3   ? theme_status(STATUS_DOWN)
           : priority == 4 ? theme_status(STATUS_WARN)
                           : theme->text;
}

static void journal_copy(const Detail *d, const char *filter)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(COPY_MAX);
    char time[VIEW_TEXT];

    for (size_t i = 0; i < d->n_journal; i++)
        if (view_matches(d->journal[i].message, filter))
            buffer_printf(&b, "%s %s\n", view_date(time, d->journal[i].ts), d->journal[i].message);
    gui_clipboard(buffer_cstr(&b));
}

static void journal_lines(const Detail *d, const char *filter)
{
    char time[VIEW_TEXT];
    size_t shown = 0;

    gui_child_begin("lines", gui_avail(), true);
    gui_font_push(GUI_FONT_MONO);
    for (size_t i = d->n_journal; i-- > 0;) {
        const JournalLine *line = &d->journal[i];
        if (!view_matches(line->message, filter))
            continue;
        gui_text(theme->faint, view_clock(time, line->ts));
        gui_same_line(gui_px(10));
        gui_text(priority_color(line->priority), line->message);
        shown++;
    }
    gui_font_pop();
    if (shown == 0)
        gui_text(theme->faint, d->n_journal ? _("No line matches this filter.")
                                            : _("The journal of this service is empty."));
    gui_child_end();
}

static void journal_tools(App *a, const Detail *d, float right, float top)
{
    char copy[64];

    snprintf(copy, sizeof copy, ICON_COPY "  %s", _("Copy"));
    float cw = gui_text_size(GUI_FONT_BODY, copy).x + gui_px(26);
    float fw = fminf(gui_px(200), right - gui_cursor().x - cw - gui_px(190));
    gui_set_cursor(gui_vec(right - cw, top));
    if (gui_button("copy", copy, gui_vec(cw, 0)) && d)
        journal_copy(d, a->journal_filter);
    if (fw < gui_px(60))
        return;
    gui_set_cursor(gui_vec(right - cw - fw - gui_px(8), top));
    filter_field("journal-filter", _("Filter"), a->journal_filter, sizeof a->journal_filter, fw,
                 a->focus_filter);
}

static void journal_body(App *a, const Detail *d)
{
    if (d->journal_error[0])
        gui_text_wrap(theme->dim, d->journal_error);
    if (!d->journal_error[0] || d->n_journal)
        journal_lines(d, a->journal_filter);
}

static void facts_body(const Detail *d)
{
    gui_child_begin("facts", gui_avail(), false);
    for (size_t i = 0; i < d->n_facts; i++)
        key_value(d->facts[i].key, d->facts[i].value, gui_px(190));
    if (d->n_facts == 0)
        gui_text(theme->faint, _("The daemon tells no facts."));
    gui_child_end();
}

static void tab(App *a, const char *id, const char *label, bool facts)
{
    bool on = a->show_facts == facts;

    gui_font_push(on ? GUI_FONT_BOLD : GUI_FONT_BODY);
    if (on ? gui_button(id, label, gui_vec(0, 0)) : gui_button_ghost(id, label, gui_vec(0, 0)))
        a->show_facts = facts;
    gui_font_pop();
}

/* The journal, and beside it the raw facts that the verdict was made of. */
static void journal_card(App *a, const Detail *d, GuiVec size)
{
    gui_card_begin("journal", size);
    GuiVec p = gui_cursor();
    float right = p.x + gui_avail().x, top = p.y - gui_px(6);
    gui_set_cursor(gui_vec(p.x - gui_px(6), top));
    tab(a, "tab/journal", _("Journal"), false);
    gui_same_line(gui_px(4));
    tab(a, "tab/facts", _("Facts"), true);
    GuiVec after = gui_cursor();
    gui_set_cursor(p);
    if (!a->show_facts)
        journal_tools(a, d, right, top);
    gui_set_cursor(gui_vec(p.x, after.y + gui_px(2)));
    if (detail_ready(d))
        a->show_facts ? facts_body(d) : journal_body(a, d);
    gui_card_end();
}

/* ---- the panel ---- */

static void gone(App *a)
{
    gui_card_begin("gone", gui_vec(0, 0));
    if (empty_state(ICON_SERVICES, _("This service is not watched"),
                    _("The registry no longer names it."), _("All services")))
        app_go_panel(a, PLACE_SERVICES);
    gui_card_end();
}

static void wide_rows(App *a, const ServiceRow *row, const Detail *d, float states, float lists)
{
    const float gap = gui_px(14), width = gui_avail().x;
    float left = floorf(width * .58F);

    states_card(a, gui_vec(left, states));
    gui_same_line(gap);
    now_card(a, row, gui_vec(width - left - gap, states));
    card_gap();
    left = floorf(width * .62F);
    hours_card(d, gui_vec(left, gui_px(CHART_H)));
    gui_same_line(gap);
    latency_card(d, gui_vec(width - left - gap, gui_px(CHART_H)));
    card_gap();
    changes_card(a, d, gui_vec(left, lists));
    gui_same_line(gap);
    journal_card(a, d, gui_vec(width - left - gap, lists));
}

static void narrow_rows(App *a, const ServiceRow *row, const Detail *d, float states, float lists)
{
    const float width = gui_avail().x;

    now_card(a, row, gui_vec(width, gui_px(184)));
    card_gap();
    states_card(a, gui_vec(width, states));
    card_gap();
    hours_card(d, gui_vec(width, gui_px(CHART_H)));
    card_gap();
    changes_card(a, d, gui_vec(width, lists));
    card_gap();
    journal_card(a, d, gui_vec(width, lists));
    card_gap();
    latency_card(d, gui_vec(width, gui_px(CHART_H)));
}

void panel_app(App *a)
{
    const Model *m = a->model;
    size_t app = model_find_app(m, a->place.app_id);

    if (app != MODEL_NONE)
        choose_pc(a, app);
    const ServiceRow *row = model_service(m, a->place.app_id, a->place.pc_id);
    if (app == MODEL_NONE || !row) {
        gone(a);
        return;
    }
    states_list(a, app);
    const Detail *d = app_detail(a, a->place.app_id, a->place.pc_id);
    size_t shown = MAX((size_t)3, MIN(a->pc_rows.n, (size_t)STATES_MAX));
    float states = gui_px(86) + gui_px(35) * (float)shown;
    float lists =
        fmaxf(gui_avail().y - states - gui_px(CHART_H) - 2 * gui_px(14), gui_px(LISTS_MIN));

    gui_child_begin("scroll", gui_avail(), false);
    if (is_narrow())
        narrow_rows(a, row, d, states, lists);
    else
        wide_rows(a, row, d, states, lists);
    gui_child_end();
}
