/* PCs by apps, one light per cell: the picture that tells in a glance whether all is well.
 *
 * Drawn by hand, since ImGui's tables stop at 64 columns. Two densities: up to 14 apps and 12 PCs a
 * cell is a card with its age; beyond that it is a small square, where healthy ones recede and the
 * rest keep their shapes. Only cells lie in the scrolled child; PC names and app names are drawn
 * around it with its scroll, so they are frozen. Cells a row and a column beyond the edge are built
 * too: the arrow keys walk onto them and the child scrolls along. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/panels.h"

#define CARD_APPS_MAX 14
#define CARD_PCS_MAX  12
#define TURN          (-0.93F)

typedef struct Grid {
    App *a;
    bool cards;
    bool turned;       /* app names are too wide for their columns */
    float label, head; /* width of the PC names, height of the app names */
    float cell_w, cell_h, gap;
    GuiVec origin; /* top left of the whole */
    GuiVec size;
    GuiVec scroll;
    size_t hovered_pc, hovered_app; /* by mouse or keyboard */
    bool by_mouse;
} Grid;

static const char *app_name(const Model *m, size_t app)
{
    return m->apps[app].app_id;
}

static float widest_app(const Model *m)
{
    float widest = 0;

    for (size_t i = 0; i < m->n_apps; i++)
        widest = fmaxf(widest, gui_text_size(GUI_FONT_SMALL, app_name(m, i)).x);
    return fminf(widest, gui_px(190));
}

static void grid_measure(Grid *g, App *a, GuiVec size)
{
    const Model *m = a->model;
    float widest = widest_app(m), n = (float)MAX(m->n_apps, 1U);

    *g = (Grid){.a = a, .size = size, .hovered_pc = MODEL_NONE, .hovered_app = MODEL_NONE};
    g->cards = m->n_apps <= CARD_APPS_MAX && m->n_pcs <= CARD_PCS_MAX;
    g->label = gui_px(g->cards ? 206 : 168);
    g->gap = gui_px(g->cards ? 6 : 3);
    g->cell_w = g->cards ? fminf((size.x - g->label + g->gap) / n, gui_px(170)) : gui_px(26);
    g->cell_h = gui_px(g->cards ? 70 : 26);
    g->turned = g->cell_w < widest + gui_px(8);
    g->head = g->turned ? widest * .80F + gui_px(20) : gui_px(28);
}

float status_grid_height(App *a, float width)
{
    Grid g;

    grid_measure(&g, a, gui_vec(width, 0));
    return g.cards ? g.head + (float)a->model->n_pcs * g.cell_h + gui_px(2) : 0;
}

static void cell_age(const Grid *g, const ServiceRow *row, Status s, float center, float y)
{
    char age[VIEW_TEXT];
    const char *text = row ? view_age(age, g->a->now_ms, row->since_ts) : _("not here");
    GuiVec z = gui_text_size(GUI_FONT_SMALL, text);
    GuiColor c = !row                                ? theme->faint
                 : s == STATUS_OK || s == STATUS_OFF ? theme->dim
                                                     : theme_status(s);

    if (z.x >
        g->cell_w - g->gap) { /* "3 d 14 h" -> "3 d"; too narrow for that too: the tooltip tells */
        char *cut = row ? strchr(age, ' ') : NULL;
        cut = cut ? strchr(cut + 1, ' ') : NULL;
        if (cut)
            *cut = '\0';
        z = gui_text_size(GUI_FONT_SMALL, text);
    }
    if (z.x <= g->cell_w - g->gap)
        draw_text(GUI_FONT_SMALL, center - z.x / 2, y + gui_px(41), c, text);
}

static void cell_paint(const Grid *g, const ServiceRow *row, GuiRect r, bool hovered)
{
    Status s = view_status(row);
    GuiColor c = theme_status(s);
    float rounding = gui_px(g->cards ? 8 : 5), center = (r.x0 + r.x1) / 2;
    bool quiet = s == STATUS_OK || s == STATUS_OFF;

    if (row && (g->cards || !quiet || hovered)) /* many healthy cells: their dots are enough */
        draw_rect(r.x0, r.y0, r.x1, r.y1,
                  gui_alpha(c, hovered ? 62
                               : quiet ? theme->tint
                                       : 46),
                  rounding);
    else if (g->cards)
        draw_rect(r.x0, r.y0, r.x1, r.y1, theme->veil, rounding);
    if (hovered)
        draw_frame(r.x0, r.y0, r.x1, r.y1, theme->accent, rounding, gui_px(1.6F));
    else if (s == STATUS_DOWN || s == STATUS_WARN)
        draw_frame(r.x0, r.y0, r.x1, r.y1, gui_alpha(c, 120), rounding, 1);
    if (g->cards) {
        status_light(center, r.y0 + gui_px(23), gui_px(11), s);
        cell_age(g, row, s, center, r.y0);
    } else if (s == STATUS_OK)
        draw_circle(center, (r.y0 + r.y1) / 2, gui_px(4.5F), gui_alpha(c, 190));
    else
        status_light(center, (r.y0 + r.y1) / 2, gui_px(7), s);
}

/* For the record only: a translated word per cell and frame is not free. */
static const char *cell_word(const ServiceRow *row)
{
    if (!gui_record_is_on())
        return "";
    return row ? view_status_word(view_status(row)) : _("not here");
}

static void cell_draw(Grid *g, size_t pc, size_t app, GuiVec at)
{
    const Model *m = g->a->model;
    const ServiceRow *row = model_cell(m, pc, app);
    GuiRect r = {at.x, at.y, at.x + g->cell_w - g->gap, at.y + g->cell_h - g->gap};
    char id[160];
    bool hovered;

    snprintf(id, sizeof id, "cell/%s/%s", m->pcs[pc].pc_id, m->apps[app].app_id);
    gui_set_cursor(at);
    if (gui_hit(id, cell_word(row), gui_vec(r.x1 - r.x0, r.y1 - r.y0), &hovered)) {
        if (row)
            app_go_app(g->a, m->apps[app].app_id, m->pcs[pc].pc_id);
        else
            app_go_pc(g->a, m->pcs[pc].pc_id);
    }
    if (pc == 0 && app == 0 && g->a->focus_panel)
        gui_nav_default();
    if (hovered || gui_item_focused()) {
        g->hovered_pc = pc;
        g->hovered_app = app;
        g->by_mouse = hovered;
    }
    cell_paint(g, row, r, hovered);
}

/* The cells that can be seen, one more on each side. */
static void visible(float scroll, float room, float step, size_t n, size_t *ret_first,
                    size_t *ret_last)
{
    float first = floorf(scroll / step) - 1, last = floorf((scroll + room) / step) + 2;

    *ret_first = first > 0 ? (size_t)first : 0;
    *ret_last = MIN((size_t)fmaxf(last, 0), n);
}

static void cells_draw(Grid *g)
{
    const Model *m = g->a->model;
    GuiVec room = gui_vec(g->size.x - g->label, g->size.y - g->head);
    size_t p0, p1, a0, a1;

    gui_set_cursor(gui_vec(g->origin.x + g->label, g->origin.y + g->head));
    gui_child_begin("cells", room, !g->cards);
    GuiVec at = gui_cursor();
    g->scroll = gui_scroll();
    visible(g->scroll.y, room.y, g->cell_h, m->n_pcs, &p0, &p1);
    visible(g->scroll.x, room.x, g->cell_w, m->n_apps, &a0, &a1);
    for (size_t p = p0; p < p1; p++)
        for (size_t i = a0; i < a1; i++)
            cell_draw(g, p, i, gui_vec(at.x + (float)i * g->cell_w, at.y + (float)p * g->cell_h));
    gui_set_cursor(at);
    gui_dummy(gui_vec((float)m->n_apps * g->cell_w - g->gap, (float)m->n_pcs * g->cell_h - g->gap));
    gui_child_end();
}

static void pc_label(Grid *g, size_t pc, float y)
{
    const Model *m = g->a->model;
    const PcRow *row = &m->pcs[pc];
    float x = g->origin.x, w = g->label - gui_px(8), h = g->cell_h - g->gap;
    char id[80], sub[SENTENCE_MAX];
    bool hovered;

    snprintf(id, sizeof id, "pc/%s", row->pc_id);
    gui_set_cursor(gui_vec(x, y));
    if (gui_hit(id, row->pc_id, gui_vec(w, h), &hovered))
        app_go_pc(g->a, row->pc_id);
    if (hovered || pc == g->hovered_pc)
        draw_rect(x, y, x + w, y + h, theme->veil, gui_px(8));
    Status s = view_pc_worst(m, pc);
    if (!g->cards) {
        status_light(x + gui_px(11), y + h / 2, gui_px(5), s);
        draw_text_fit(GUI_FONT_SMALL, x + gui_px(24), y + gui_px(3), w - gui_px(26),
                      pc == g->hovered_pc ? theme->text : theme->dim, row->pc_id);
        return;
    }
    if (!row->reachable && row->sentence[0])
        view_sentence(sub, row->sentence);
    else
        snprintf(sub, sizeof sub, "%s",
                 row->is_self  ? _("this daemon's PC")
                 : row->events ? _("live events")
                               : _("polled"));
    status_light(x + gui_px(16), y + h / 2, gui_px(7), s);
    draw_text_fit(GUI_FONT_BOLD, x + gui_px(34), y + gui_px(12), w - gui_px(38), theme->text,
                  row->pc_id);
    draw_text_fit(GUI_FONT_SMALL, x + gui_px(34), y + gui_px(34), w - gui_px(38), theme->faint,
                  sub);
}

static void pc_labels(Grid *g)
{
    const Model *m = g->a->model;
    float top = g->origin.y + g->head, bottom = g->origin.y + g->size.y;
    size_t p0, p1;

    visible(g->scroll.y, bottom - top, g->cell_h, m->n_pcs, &p0, &p1);
    draw_clip(g->origin.x, top, g->origin.x + g->label, bottom);
    for (size_t p = p0; p < p1; p++) {
        float y = top + (float)p * g->cell_h - g->scroll.y;
        if (y + g->cell_h > top && y < bottom)
            pc_label(g, p, y);
    }
    draw_unclip();
}

static void app_labels(Grid *g)
{
    const Model *m = g->a->model;
    float left = g->origin.x + g->label, bottom = g->origin.y + g->head;
    size_t a0, a1;

    visible(g->scroll.x, g->size.x - g->label, g->cell_w, m->n_apps, &a0, &a1);
    draw_clip(left - (g->turned ? gui_px(14) : 0), g->origin.y,
              g->origin.x + g->size.x + gui_px(14), bottom);
    for (size_t i = a0; i < a1; i++) {
        float x = left + (float)i * g->cell_w - g->scroll.x;
        GuiColor c = i == g->hovered_app ? theme->text : theme->dim;
        if (x + g->cell_w * .5F < left - gui_px(10) || x > g->origin.x + g->size.x)
            continue;
        if (g->turned)
            draw_text_rotated(GUI_FONT_SMALL, x + g->cell_w * .5F - gui_px(8), bottom - gui_px(9),
                              TURN, c, app_name(m, i));
        else {
            float w = fminf(gui_text_size(GUI_FONT_SMALL, app_name(m, i)).x, g->cell_w - g->gap);
            draw_text_fit(GUI_FONT_SMALL, x + (g->cell_w - g->gap - w) / 2, g->origin.y + gui_px(5),
                          w + 1, c, app_name(m, i));
        }
    }
    draw_unclip();
}

static void tooltip(const Grid *g)
{
    const Model *m = g->a->model;
    const ServiceRow *row = model_cell(m, g->hovered_pc, g->hovered_app);
    char age[VIEW_TEXT], checked[VIEW_TEXT], sentence[SENTENCE_MAX];

    gui_tooltip_begin();
    gui_font_push(GUI_FONT_BOLD);
    gui_textf(theme->text, _("%s on %s"), m->apps[g->hovered_app].app_id,
              m->pcs[g->hovered_pc].pc_id);
    gui_font_pop();
    if (!row)
        gui_text(theme->dim, _("This app is not expected on this PC."));
    else {
        if (row->title[0])
            gui_text(theme->dim, row->title);
        gui_space(gui_px(2));
        badge(view_status(row), view_actual_word(row->actual));
        gui_same_line(gui_px(10));
        gui_textf(theme->dim, _("for %s"), view_age(age, g->a->now_ms, row->since_ts));
        if (row->sentence[0])
            gui_text(theme->text, view_sentence(sentence, row->sentence));
        gui_textf(theme->faint, _("last check: %s"),
                  view_age(checked, g->a->now_ms, row->last_check_ts));
    }
    gui_tooltip_end();
}

void status_grid(App *a, GuiVec size)
{
    Grid g;

    grid_measure(&g, a, size);
    g.origin = gui_cursor();
    cells_draw(&g);
    pc_labels(&g);
    app_labels(&g);
    gui_set_cursor(g.origin);
    gui_dummy(size);
    if (g.by_mouse && !a->popup_open)
        tooltip(&g);
}
