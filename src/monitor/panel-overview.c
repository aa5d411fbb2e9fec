/* The first look: four numbers, the grid, what needs attention with its sentence, and the latest
 * changes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/panels.h"

#define RECENT_MAX 40
#define LISTS_MIN  250

static void ring_gauge(float x, float y, double part)
{
    float r = gui_px(20), w = gui_px(6), start = -1.5708F;

    draw_ring(x, y, r, theme->active, w);
    if (part > 0)
        draw_arc(x, y, r, start, start + 6.2832F * (float)part, theme_status(STATUS_OK), w);
}

/* part < 0: a light instead of a gauge */
static void number_card(const char *id, float width, const char *label, size_t value,
                        const char *unit, double part, Status light)
{
    char text[24];

    gui_card_begin(id, gui_vec(width, gui_px(94)));
    GuiVec p = gui_cursor(), room = gui_avail();
    snprintf(text, sizeof text, "%zu", value);
    float number = gui_text_size(GUI_FONT_HUGE, text).x;
    float picture = room.x < gui_px(190) ? 0 : gui_px(52);
    draw_text_fit(GUI_FONT_SMALL, p.x, p.y - gui_px(1), room.x - picture, theme->dim, label);
    draw_text(GUI_FONT_HUGE, p.x, p.y + gui_px(22), theme->text, text);
    draw_text_fit(GUI_FONT_BODY, p.x + number + gui_px(8), p.y + gui_px(36),
                  room.x - number - gui_px(8) - picture, theme->faint, unit);
    if (picture <= 0)
        draw_line(p.x, p.y + gui_px(68), p.x + room.x, p.y + gui_px(68),
                  theme_status(part >= 0 && part < 1 ? STATUS_WARN : light), gui_px(3));
    else if (part >= 0)
        ring_gauge(p.x + room.x - gui_px(24), p.y + gui_px(33), part);
    else
        status_light(p.x + room.x - gui_px(24), p.y + gui_px(33), gui_px(15), light);
    GuiRect r = {p.x, p.y, p.x + room.x, p.y + gui_px(60)};
    gui_mark(id, text, r);
    gui_card_end();
}

static Status worst_of(const Counts *c)
{
    static const Status order[] = {STATUS_DOWN, STATUS_WARN, STATUS_UNKNOWN, STATUS_BUSY};

    for (size_t i = 0; i < ELEMENTS(order); i++)
        if (c->status[order[i]])
            return order[i];
    return STATUS_OK;
}

static void numbers(App *a, float width)
{
    const Counts *c = &a->counts;
    float gap = gui_px(14), w = floorf((width - 3 * gap) / 4);
    size_t good = c->status[STATUS_OK] + c->status[STATUS_OFF];
    char unit[80];

    snprintf(unit, sizeof unit, _("of %zu"), c->pcs);
    number_card("count/pcs", w, _("PCs reachable"), c->pcs_reachable, unit,
                c->pcs ? (double)c->pcs_reachable / (double)c->pcs : 0, STATUS_OK);
    gui_same_line(gap);
    snprintf(unit, sizeof unit, P_("of %zu service", "of %zu services", c->services), c->services);
    number_card("count/healthy", w, _("As they should be"), good, unit,
                c->services ? (double)good / (double)c->services : 0, STATUS_OK);
    gui_same_line(gap);
    number_card("count/attention", w, _("Need attention"), c->attention,
                P_("service", "services", c->attention), -1, worst_of(c));
    gui_same_line(gap);
    number_card("count/alerts", w, _("Open alerts"), c->open_alerts,
                P_("alert", "alerts", c->open_alerts), -1,
                c->open_alerts ? STATUS_DOWN : STATUS_OK);
}

static void legend(float right, float y)
{
    for (int s = STATUS_MAX; s-- > 0;) {
        const char *word = view_status_word((Status)s);
        right -= gui_text_size(GUI_FONT_SMALL, word).x;
        draw_text(GUI_FONT_SMALL, right, y, theme->dim, word);
        right -= gui_px(12);
        status_light(right, y + gui_px(8), gui_px(6), (Status)s);
        right -= gui_px(18);
    }
}

static void fleet(App *a, GuiVec size)
{
    gui_card_begin("fleet", size);
    GuiVec p = gui_cursor();
    card_title(_("All services"), NULL);
    if (gui_avail().x > gui_px(700))
        legend(p.x + gui_avail().x, p.y + gui_px(1));
    if (a->model->n_services)
        status_grid(a, gui_avail());
    else
        empty_state(ICON_SERVICES, _("Nothing is registered yet"),
                    _("services_api discover finds the services of this PC."), NULL);
    gui_card_end();
}

/* ---- what needs attention ---- */

static const ServiceRow *attention_row(const App *a, size_t row)
{
    return &a->model->services[a->attention.rows[row]];
}

static void attention_id(void *userdata, size_t row, char *ret, size_t size)
{
    const ServiceRow *s = attention_row(userdata, row);

    snprintf(ret, size, "attention/%s/%s", s->pc_id, s->app_id);
}

static void attention_cell(void *userdata, size_t row, int column)
{
    const App *a = userdata;
    const ServiceRow *s = attention_row(a, row);
    char text[SENTENCE_MAX], age[VIEW_TEXT];

    switch (column) {
    case 0: badge(view_status(s), view_actual_word(s->actual)); break;
    case 1: gui_text_fit(theme->text, s->app_id); break;
    case 2: gui_text_fit(theme->dim, s->pc_id); break;
    case 3: gui_text_fit(theme->dim, view_age(age, a->now_ms, s->since_ts)); break;
    default: gui_text_fit(theme->dim, view_sentence(text, s->sentence));
    }
}

static void attention(App *a, GuiVec size)
{
    static const TableColumn columns[] = {{N_("State"), 122},
                                          {N_("Service"), -.8F},
                                          {N_("PC"), -.7F},
                                          {N_("For"), 86},
                                          {N_("Why"), -1.7F}};

    if (list_renew(&a->attention, list_key(a->model->version * 2, ""), a->model->n_services))
        a->attention.n = view_attention(a->model, a->attention.rows);
    gui_card_begin("attention", size);
    card_title(_("Needs attention"), NULL);
    if (a->counts.attention == 0 || a->attention.n == 0)
        empty_state(ICON_CHECK, _("All is well"),
                    _("Every service on every PC is as it should be."), NULL);
    else {
        const DataTable t = {.id = "attention",
                             .columns = columns,
                             .n_columns = ELEMENTS(columns),
                             .n_rows = a->attention.n,
                             .userdata = a,
                             .cell = attention_cell,
                             .row_id = attention_id};
        ptrdiff_t hit = data_table(&t, gui_avail());
        if (hit >= 0)
            app_go_app(a, attention_row(a, (size_t)hit)->app_id,
                       attention_row(a, (size_t)hit)->pc_id);
    }
    gui_card_end();
}

/* ---- the latest changes ---- */

void transition_line(App *a, const Transition *t, const char *id)
{
    const TransitionRow *row = &t->row;
    const ServiceRow *service =
        row->app_id[0] ? model_service(a->model, row->app_id, row->pc_id) : NULL;
    Expected expected = service ? service->expected : EXPECTED_RUNNING;
    GuiVec p = gui_cursor();
    float w = gui_avail().x, h = gui_px(31), pc_w = w * .32F;
    char clock[VIEW_TEXT];
    bool hovered;

    if (gui_hit(id, row->app_id[0] ? row->app_id : row->pc_id, gui_vec(w, h - gui_px(8)),
                &hovered)) {
        if (row->app_id[0])
            app_go_app(a, row->app_id, row->pc_id);
        else
            app_go_pc(a, row->pc_id);
    }
    if (hovered)
        draw_rect(p.x, p.y, p.x + w, p.y + h - gui_px(3), theme->veil, gui_px(5));
    draw_text(GUI_FONT_MONO, p.x, p.y + gui_px(6), theme->faint, view_clock(clock, row->ts));
    status_light(p.x + gui_px(86), p.y + gui_px(14), gui_px(6),
                 view_actual_status(row->from, expected));
    draw_text(GUI_FONT_SMALL, p.x + gui_px(98), p.y + gui_px(6), theme->faint, "\u2192");
    status_light(p.x + gui_px(124), p.y + gui_px(14), gui_px(6),
                 view_actual_status(row->to, expected));
    draw_text_fit(GUI_FONT_BODY, p.x + gui_px(142), p.y + gui_px(4), w - gui_px(150) - pc_w,
                  theme->text, row->app_id[0] ? row->app_id : _("whole PC"));
    float pw = fminf(gui_text_size(GUI_FONT_BODY, row->pc_id).x, pc_w);
    draw_text_fit(GUI_FONT_BODY, p.x + w - pw - gui_px(4), p.y + gui_px(4), pw + 1, theme->dim,
                  row->pc_id);
    draw_line(p.x, p.y + h - gui_px(2), p.x + w, p.y + h - gui_px(2), theme->line_soft, 1);
}

static void recent(App *a, GuiVec size)
{
    const Model *m = a->model;
    char id[48];

    gui_card_begin("recent", size);
    GuiVec p = gui_cursor();
    float right = p.x + gui_avail().x;
    card_title(_("Recent changes"), NULL);
    GuiVec after = gui_cursor();
    float bw = gui_text_size(GUI_FONT_BODY, _("Live")).x + gui_px(46);
    gui_set_cursor(gui_vec(right - bw, p.y - gui_px(6)));
    char label[64];
    snprintf(label, sizeof label, "%s  " ICON_FORWARD, _("Live"));
    if (gui_button_ghost("go-live", label, gui_vec(bw, gui_px(30))))
        app_go_panel(a, PLACE_LIVE);
    gui_set_cursor(after);
    if (m->n_transitions == 0)
        empty_state(ICON_CLOCK, _("No changes yet"),
                    _("A change of any service appears here within a second."), NULL);
    else {
        gui_child_begin("list", gui_avail(), false);
        for (size_t i = 0; i < MIN(m->n_transitions, (size_t)RECENT_MAX); i++) {
            const Transition *t = &m->transitions[m->n_transitions - 1 - i];
            snprintf(id, sizeof id, "recent/%zu", i);
            transition_line(a, t, id);
        }
        gui_child_end();
    }
    gui_card_end();
}

static void lists(App *a, float height)
{
    float width = gui_avail().x, left = floorf(width * .58F);

    card_gap();
    if (is_narrow()) {
        attention(a, gui_vec(width, gui_px(LISTS_MIN)));
        card_gap();
        recent(a, gui_vec(width, gui_px(LISTS_MIN)));
        return;
    }
    attention(a, gui_vec(left, height));
    gui_same_line(gui_px(14));
    recent(a, gui_vec(width - left - gui_px(14), height));
}

/* A small fleet has its natural height and the lists below it, scrolled where the window is low. A
 * big one takes it all. */
void panel_overview(App *a)
{
    const float gap = gui_px(14);
    bool big = a->model->n_services && status_grid_height(a, gui_avail().x - gui_px(32)) <= 0;

    if (big) {
        numbers(a, gui_avail().x);
        card_gap();
        fleet(a, gui_avail());
        return;
    }
    float room = gui_avail().y;
    gui_child_begin("scroll", gui_avail(), false);
    float width = gui_avail().x;
    numbers(a, width);
    card_gap();
    float natural =
        (a->model->n_services ? status_grid_height(a, width - gui_px(32)) : gui_px(154)) +
        gui_px(56);
    fleet(a, gui_vec(width, natural));
    lists(a, fmaxf(room - gui_px(94) - natural - 2 * gap, gui_px(LISTS_MIN)));
    gui_child_end();
}
