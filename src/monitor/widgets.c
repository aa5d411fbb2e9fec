/* Drawn by hand where ImGui has no such thing, composed where it has.
 *
 * Every status is told three times: by hue, by shape and by word (the word in a badge, in a tooltip
 * or in the legend), so that neither colour blindness nor a grey screenshot hides it. Sizes are
 * logical pixels through gui_px(). */
#include "monitor/widgets.h"

#include <math.h>
#include <stdio.h>

#include "basic/i18n.h"
#include "basic/macro.h"

static void shape_tick(float x, float y, float r, GuiColor c, float t)
{
    const GuiVec tick[] = {gui_vec(x - r * .45F, y + r * .04F), gui_vec(x - r * .12F, y + r * .38F),
                           gui_vec(x + r * .47F, y - r * .34F)};

    draw_circle(x, y, r, c);
    draw_polyline(tick, 3, theme->ink, t);
}

static void shape_triangle(float x, float y, float r, GuiColor c, float t)
{
    float k = r * 1.16F;

    draw_triangle(gui_vec(x, y - k * .98F), gui_vec(x + k, y + k * .76F),
                  gui_vec(x - k, y + k * .76F), c);
    draw_line(x, y - r * .42F, x, y + r * .26F, theme->ink, t * 1.05F);
    draw_circle(x, y + r * .58F, t * .62F, theme->ink);
}

static void shape_cross(float x, float y, float r, GuiColor c, float t)
{
    float side = r * .94F, arm = r * .42F;

    draw_rect(x - side, y - side, x + side, y + side, c, r * .28F);
    draw_line(x - arm, y - arm, x + arm, y + arm, theme->ink, t * 1.1F);
    draw_line(x - arm, y + arm, x + arm, y - arm, theme->ink, t * 1.1F);
}

static void shape_question(float x, float y, float r, GuiColor c, float t)
{
    draw_ring(x, y, r * .86F, c, t * .8F);
    if (r <= gui_px(8)) {
        draw_circle(x, y, r * .22F, c);
        return;
    }
    GuiVec z = gui_text_size(GUI_FONT_SMALL, "?");
    draw_text(GUI_FONT_SMALL, x - z.x / 2, y - z.y / 2, c, "?");
}

void status_light(float x, float y, float r, Status status)
{
    GuiColor c = theme_status(status);
    float t = fmaxf(r * .24F, 1.3F);

    switch (status) {
    case STATUS_OK: shape_tick(x, y, r, c, t); break;
    case STATUS_OFF:
        draw_ring(x, y, r * .86F, c, t * .8F);
        draw_line(x - r * .38F, y, x + r * .38F, y, c, t);
        break;
    case STATUS_WARN: shape_triangle(x, y, r, c, t); break;
    case STATUS_BUSY:
        draw_arc(x, y, r * .84F, -1.2F, 3.4F, c, t * 1.15F);
        draw_circle(x, y, r * .32F, c);
        break;
    case STATUS_DOWN: shape_cross(x, y, r, c, t); break;
    case STATUS_UNKNOWN: shape_question(x, y, r, c, t); break;
    default: draw_line(x - r * .5F, y, x + r * .5F, y, c, t);
    }
}

bool is_narrow(void)
{
    return gui_avail().x < gui_px(880);
}

void card_gap(void)
{
    GuiVec p = gui_cursor();

    gui_set_cursor(gui_vec(p.x, p.y + gui_px(6)));
}

float badge_width(const char *word)
{
    return gui_text_size(GUI_FONT_SMALL, word).x + gui_px(31);
}

void badge(Status status, const char *word)
{
    GuiVec p = gui_cursor(), z = gui_text_size(GUI_FONT_SMALL, word);
    float h = gui_line_height() + gui_px(4), w = badge_width(word), y = p.y - gui_px(2);
    GuiColor c = theme_status(status);

    draw_rect(p.x, y, p.x + w, y + h, gui_alpha(c, 30), h / 2);
    status_light(p.x + gui_px(12), y + h / 2, gui_px(5.5F), status);
    draw_text(GUI_FONT_SMALL, p.x + gui_px(22), y + (h - z.y) / 2, c, word);
    gui_dummy(gui_vec(w, gui_line_height()));
}

void card_title(const char *title, const char *note)
{
    gui_font_push(GUI_FONT_BOLD);
    gui_text(theme->text, title);
    gui_font_pop();
    if (note) {
        gui_same_line(gui_px(10));
        gui_text_fit(theme->faint, note);
    }
}

bool empty_state(const char *icon, const char *title, const char *hint, const char *action)
{
    GuiVec room = gui_avail(), p = gui_cursor();
    float height = gui_px(action ? 200 : 150), center = p.x + room.x / 2;
    float y = p.y + fmaxf((room.y - height) / 2, 0);
    GuiVec z = gui_text_size(GUI_FONT_ICON, icon);

    draw_circle(center, y + gui_px(36), gui_px(36), gui_alpha(theme->accent, 24));
    draw_text(GUI_FONT_ICON, center - z.x / 2, y + gui_px(36) - z.y / 2, theme->accent, icon);
    z = gui_text_size(GUI_FONT_TITLE, title);
    draw_text(GUI_FONT_TITLE, center - z.x / 2, y + gui_px(86), theme->text, title);
    z = gui_text_size(GUI_FONT_BODY, hint);
    float width = fminf(z.x, room.x);
    draw_text_fit(GUI_FONT_BODY, center - width / 2, y + gui_px(120), width + 1, theme->dim, hint);
    if (!action)
        return false;
    z = gui_text_size(GUI_FONT_BODY, action);
    gui_set_cursor(gui_vec(center - z.x / 2 - gui_px(14), y + gui_px(154)));
    return gui_button("empty-action", action, gui_vec(z.x + gui_px(28), 0));
}

void key_value(const char *key, const char *value, float key_width)
{
    GuiVec p = gui_cursor();

    draw_text_fit(GUI_FONT_BODY, p.x, p.y, key_width - gui_px(8), theme->faint, key);
    gui_set_cursor(gui_vec(p.x + key_width, p.y));
    gui_text_fit(theme->text, value);
}

void banner(const char *id, Status status, const char *title, const char *text)
{
    GuiVec p = gui_cursor();
    float w = gui_avail().x, h = gui_px(46);
    GuiColor c = theme->status[status];
    float x = p.x + gui_px(42), tw = gui_text_size(GUI_FONT_BOLD, title).x;

    draw_rect(p.x, p.y, p.x + w, p.y + h, gui_alpha(c, 34), gui_px(10));
    draw_frame(p.x, p.y, p.x + w, p.y + h, gui_alpha(c, 150), gui_px(10), 1);
    status_light(p.x + gui_px(22), p.y + h / 2, gui_px(8), status);
    draw_text(GUI_FONT_BOLD, x, p.y + gui_px(14), theme->text, title);
    draw_text_fit(GUI_FONT_BODY, x + tw + gui_px(12), p.y + gui_px(14),
                  w - (x - p.x) - tw - gui_px(24), theme->dim, text);
    GuiRect r = {p.x, p.y, p.x + w, p.y + h};
    gui_mark(id, title, r);
    gui_dummy(gui_vec(w, h + gui_px(4)));
}

bool filter_field(const char *id, const char *hint, char *text, size_t size, float width,
                  bool focus)
{
    char full[128];

    snprintf(full, sizeof full, ICON_FILTER "  %s", hint);
    gui_width(width);
    if (focus)
        gui_focus_next();
    return gui_input(id, full, text, size, NULL);
}

/* ---- table ---- */

static void table_columns(const DataTable *t, float room)
{
    for (int i = 0; i < t->n_columns; i++) {
        const TableColumn *c = &t->columns[i];
        bool stretch = c->width <= 0;
        int flags = (stretch ? GUI_COLUMN_STRETCH : 0) |
                    (t->sort && t->sort->column == i ? GUI_COLUMN_SORT_FIRST : 0) |
                    (c->descending ? GUI_COLUMN_DESCENDING : 0) |
                    (room < gui_px((float)c->below) ? GUI_COLUMN_HIDDEN : 0);
        gui_table_column(i18n_text(c->name),
                         stretch ? (c->width < 0 ? -c->width : 1) : gui_px(c->width), flags);
    }
    gui_table_header();
}

static bool table_row(const DataTable *t, size_t row)
{
    char id[200];
    bool hit = false;

    gui_table_row(0);
    gui_push_index((int)row);
    for (int i = 0; i < t->n_columns; i++) {
        if (!gui_table_cell())
            continue;
        if (i == 0 && t->row_id) {
            t->row_id(t->userdata, row, id, sizeof id);
            hit = gui_table_row_hit(id, t->line_height > 0 ? t->line_height : gui_line_height(),
                                    false);
            if (row == 0 && t->focus)
                gui_nav_default();
        }
        t->cell(t->userdata, row, i);
    }
    gui_pop_id();
    return hit;
}

ptrdiff_t data_table(const DataTable *t, GuiVec size)
{
    ptrdiff_t hit = -1;
    int flags =
        GUI_TABLE_SCROLL | (t->sort ? GUI_TABLE_SORT : 0) | (t->stripes ? GUI_TABLE_STRIPES : 0);

    if (!gui_table_begin(t->id, t->n_columns, flags, size))
        return -1;
    table_columns(t, size.x);
    if (t->sort)
        gui_table_sort(&t->sort->column, &t->sort->descending);
    for (GuiClip clip = gui_clip_begin((int)MIN(t->n_rows, INT32_MAX), -1); gui_clip_step(&clip);)
        for (int row = clip.first; row < clip.last; row++)
            if (table_row(t, (size_t)row))
                hit = row;
    gui_table_end();
    return hit;
}

/* ---- bars ---- */

Status ratio_status(double ratio)
{
    if (ratio < 0)
        return STATUS_ABSENT;
    return ratio >= .95 ? STATUS_OK : ratio >= .75 ? STATUS_WARN : STATUS_DOWN;
}

void bars(GuiRect area, size_t n, BarRatio ratio, void *userdata, bool track)
{
    float step = (area.x1 - area.x0) / (float)MAX(n, 1U), h = area.y1 - area.y0;
    float gap = step > gui_px(4) ? gui_px(1.5F) : step > 2.5F ? 1 : 0;
    float rounding = step > gui_px(4) ? gui_px(1.5F) : 0;

    for (size_t i = 0; i < n; i++) {
        double r = ratio(userdata, i);
        float x0 = area.x0 + (float)i * step, x1 = x0 + step - gap;
        Status s = ratio_status(r);
        if (r < 0) {
            draw_rect(x0, area.y1 - gui_px(2), x1, area.y1, theme->line, 0);
            continue;
        }
        float top = area.y0 + h * (1 - (float)r);
        if (track && r < 1)
            draw_rect(x0, area.y0, x1, top, gui_alpha(theme_status(s), 44), 0);
        draw_rect(x0, fminf(top, area.y1 - gui_px(2)), x1, area.y1,
                  gui_alpha(theme_status(s), s == STATUS_OK ? 180 : 255), rounding);
    }
}
