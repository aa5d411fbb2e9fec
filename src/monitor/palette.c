/* The popups: Ctrl+K (jump to a PC, a service or a panel by a few letters), '?' (the keys), and the
 * options.
 *
 * The palette lists at most PALETTE_ROWS matches, panels first, then PCs, then apps, then single
 * services; arrows and Enter choose. It reads the model anew in each frame, so it is right while
 * things change under it. */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/panels.h"

#define PALETTE_ROWS 60

typedef struct Entry {
    Place place;
    const char *icon, *kind;
    Status status;
    char name[2 * ID_MAX + 8];
} Entry;

typedef struct Entries {
    Entry rows[PALETTE_ROWS];
    int n;
} Entries;

static Entry *entry_add(Entries *e, PlaceKind kind, const char *icon, const char *word, Status s)
{
    if (e->n == PALETTE_ROWS)
        return NULL;
    Entry *row = &e->rows[e->n++];
    *row = (Entry){.place = {.kind = kind}, .icon = icon, .kind = word, .status = s};
    return row;
}

static void add_panels(Entries *e, const char *text)
{
    for (int i = PLACE_OVERVIEW; i <= PLACE_ALERTS; i++) {
        const char *title = i18n_text(panels[i].title);
        Entry *row = view_matches(title, text)
                         ? entry_add(e, (PlaceKind)i, panels[i].icon, _("Panel"), STATUS_ABSENT)
                         : NULL;
        if (row)
            text_copy(row->name, sizeof row->name, title);
    }
}

static void add_pcs(Entries *e, const Model *m, const char *text)
{
    for (size_t i = 0; i < m->n_pcs && e->n < PALETTE_ROWS; i++) {
        if (!view_matches(m->pcs[i].pc_id, text))
            continue;
        Entry *row = entry_add(e, PLACE_PC, ICON_PC, _("PC"), view_pc_worst(m, i));
        text_copy(row->place.pc_id, sizeof row->place.pc_id, m->pcs[i].pc_id);
        text_copy(row->name, sizeof row->name, m->pcs[i].pc_id);
    }
}

static void add_apps(Entries *e, const Model *m, const char *text)
{
    for (size_t i = 0; i < m->n_apps && e->n < PALETTE_ROWS; i++) {
        if (!view_matches(m->apps[i].app_id, text) && !view_matches(m->apps[i].title, text))
            continue;
        Entry *row = entry_add(e, PLACE_APP, ICON_SERVICES, _("Service"), view_app_worst(m, i));
        text_copy(row->place.app_id, sizeof row->place.app_id, m->apps[i].app_id);
        text_copy(row->name, sizeof row->name, m->apps[i].app_id);
    }
}

static void add_pairs(Entries *e, const Model *m, const char *text)
{
    for (size_t i = 0; text[0] && i < m->n_services && e->n < PALETTE_ROWS; i++) {
        char name[2 * ID_MAX + 8];
        snprintf(name, sizeof name, "%s @ %s", m->services[i].app_id, m->services[i].pc_id);
        if (!view_matches(name, text) ||
            (view_matches(m->services[i].app_id, text) && m->n_pcs == 1))
            continue;
        Entry *row = entry_add(e, PLACE_APP, ICON_SERVICES, _("Service on a PC"),
                               view_status(&m->services[i]));
        text_copy(row->place.app_id, sizeof row->place.app_id, m->services[i].app_id);
        text_copy(row->place.pc_id, sizeof row->place.pc_id, m->services[i].pc_id);
        text_copy(row->name, sizeof row->name, name);
    }
}

static bool entry_draw(const Entry *row, bool chosen)
{
    GuiVec p = gui_cursor();
    float w = gui_avail().x, h = gui_px(34);
    GuiVec z = gui_text_size(GUI_FONT_SMALL, row->kind);
    char id[200], place[160];
    bool hovered;

    place_write(&row->place, place, sizeof place);
    snprintf(id, sizeof id, "palette/%s", place);
    bool hit = gui_hit(id, row->name, gui_vec(w, h), &hovered);
    if (hovered || chosen)
        draw_rect(p.x, p.y, p.x + w, p.y + h, chosen ? gui_alpha(theme->accent, 40) : theme->veil,
                  gui_px(7));
    draw_text(GUI_FONT_BODY, p.x + gui_px(12), p.y + gui_px(8), theme->faint, row->icon);
    if (row->status != STATUS_ABSENT)
        status_light(p.x + gui_px(52), p.y + h / 2, gui_px(6), row->status);
    draw_text_fit(GUI_FONT_BODY, p.x + gui_px(70), p.y + gui_px(8), w - gui_px(90) - z.x,
                  theme->text, row->name);
    draw_text(GUI_FONT_SMALL, p.x + w - z.x - gui_px(12), p.y + gui_px(9), theme->faint, row->kind);
    return hit;
}

static int palette_list(App *a, const Entries *e, bool entered)
{
    int go = entered && e->n ? a->palette_row : -1;
    bool moved = false;

    if (gui_key(GUI_KEY_DOWN) && a->palette_row + 1 < e->n)
        a->palette_row++, moved = true;
    if (gui_key(GUI_KEY_UP) && a->palette_row > 0)
        a->palette_row--, moved = true;
    gui_child_begin("results", gui_avail(), false);
    for (int i = 0; i < e->n; i++) {
        gui_push_index(i);
        if (entry_draw(&e->rows[i], i == a->palette_row))
            go = i;
        gui_pop_id();
        if (moved && i == a->palette_row)
            gui_scroll_to_bottom();
    }
    if (e->n == 0)
        empty_state(ICON_SEARCH, _("No match"), _("No panel, PC or service has these letters."),
                    NULL);
    gui_child_end();
    return go;
}

static void popup_place(float width, float height, GuiVec *ret_position, GuiVec *ret_size)
{
    GuiVec d = gui_display();
    float w = gui_px(width) < d.x - gui_px(40) ? gui_px(width) : d.x - gui_px(40);
    float h = gui_px(height) < d.y - gui_px(80) ? gui_px(height) : d.y - gui_px(80);

    *ret_position = gui_vec((d.x - w) / 2, gui_px(60) + (d.y - h - gui_px(60)) / 5);
    *ret_size = gui_vec(w, h);
}

void palette_draw(App *a)
{
    GuiVec position, size;
    bool entered = false;

    if (a->palette_wanted && !a->popup_open) {
        gui_popup_open("palette");
        a->palette_text[0] = '\0';
        a->palette_row = 0;
        a->palette_fresh = a->popup_open = true;
    }
    a->palette_wanted = false;
    popup_place(580, 420, &position, &size);
    if (!gui_popup_begin("palette", position, size))
        return;
    Entries e = {.n = 0};
    gui_width(-1);
    if (a->palette_fresh)
        gui_focus_next();
    a->palette_fresh = false;
    if (gui_input("palette-text", _("Name of a panel, a PC or a service"), a->palette_text,
                  sizeof a->palette_text, &entered))
        a->palette_row = 0;
    add_panels(&e, a->palette_text);
    add_pcs(&e, a->model, a->palette_text);
    add_apps(&e, a->model, a->palette_text);
    add_pairs(&e, a->model, a->palette_text);
    a->palette_row = MIN(a->palette_row, MAX(e.n - 1, 0));
    int go = palette_list(a, &e, entered);
    if (go >= 0 || gui_key(GUI_KEY_ESCAPE)) {
        gui_popup_close();
        a->popup_open = false;
    }
    if (go >= 0)
        app_go(a, &e.rows[go].place);
    gui_popup_end();
}

/* ---- keys ---- */

static void help_row(const char *key, const char *what)
{
    GuiVec p = gui_cursor(), z = gui_text_size(GUI_FONT_MONO, key);

    draw_rect(p.x, p.y - gui_px(3), p.x + z.x + gui_px(16), p.y + gui_px(21), theme->hover,
              gui_px(5));
    draw_text(GUI_FONT_MONO, p.x + gui_px(8), p.y + gui_px(1), theme->text, key);
    gui_set_cursor(gui_vec(p.x + gui_px(170), p.y));
    gui_text_fit(theme->dim, what);
    gui_space(gui_px(4));
}

static bool popup_close_button(App *a)
{
    gui_space(gui_px(4));
    bool close = gui_button("close", _("Close"), gui_vec(0, 0)) || gui_key(GUI_KEY_ESCAPE);
    if (close) {
        gui_popup_close();
        a->popup_open = false;
    }
    return close;
}

static bool popup_start(App *a, const char *id, bool *wanted, float width, float height)
{
    GuiVec position, size;

    if (*wanted && !a->popup_open) {
        gui_popup_open(id);
        a->popup_open = true;
    }
    *wanted = false;
    popup_place(width, height, &position, &size);
    return gui_popup_begin(id, position, size);
}

void help_draw(App *a)
{
    if (!popup_start(a, "help", &a->help_wanted, 600, 466))
        return;
    card_title(_("Keys"), NULL);
    gui_space(gui_px(6));
    help_row("Ctrl K", _("jump to a panel, a PC or a service"));
    help_row("1 \u2026 5", _("overview, PCs, services, live, alerts"));
    help_row("\u2190 \u2191 \u2193 \u2192", _("move over cells, rows and buttons"));
    help_row("Enter", _("open what is marked"));
    help_row("Esc", _("back"));
    help_row("/", _("filter the list"));
    help_row("c", _("check the shown service now"));
    help_row("p", _("pause or go on in the Live panel"));
    help_row("?", _("this list"));
    help_row("Ctrl Q", _("quit"));
    popup_close_button(a);
    gui_popup_end();
}

/* ---- options ---- */

static void choice(App *a, const char *id, const char *label, bool on, void (*choose)(App *a))
{
    GuiVec z = gui_text_size(GUI_FONT_BODY, label);
    bool hit = on ? gui_button(id, label, gui_vec(z.x + gui_px(24), 0))
                  : gui_button_ghost(id, label, gui_vec(z.x + gui_px(24), 0));

    if (on) {
        GuiRect r = gui_item_rect();
        draw_frame(r.x0, r.y0, r.x1, r.y1, theme->accent, gui_px(7), gui_px(1.5F));
    }
    if (hit && !on)
        choose(a);
    gui_same_line(gui_px(8));
}

static void choose_dark(App *a)
{
    a->settings.dark = true;
}

static void choose_light(App *a)
{
    a->settings.dark = false;
}

static void choose_english(App *a)
{
    text_copy(a->settings.language, sizeof a->settings.language, "en");
}

static void choose_spanish(App *a)
{
    text_copy(a->settings.language, sizeof a->settings.language, "es");
}

static void option_scale(App *a, float percent)
{
    char id[32], label[32];
    float now = platform_scale(a->platform), scale = percent / 100;

    snprintf(id, sizeof id, "scale/%.0f", (double)percent);
    snprintf(label, sizeof label, "%.0f %%", (double)percent);
    GuiVec z = gui_text_size(GUI_FONT_BODY, label);
    bool on = now > scale - 0.01F && now < scale + 0.01F;
    if (on ? gui_button(id, label, gui_vec(z.x + gui_px(24), 0))
           : gui_button_ghost(id, label, gui_vec(z.x + gui_px(24), 0)))
        a->settings.scale = scale;
    if (on) {
        GuiRect r = gui_item_rect();
        draw_frame(r.x0, r.y0, r.x1, r.y1, theme->accent, gui_px(7), gui_px(1.5F));
    }
    gui_same_line(gui_px(8));
}

static void option_title(const char *text)
{
    gui_space(gui_px(4));
    gui_font_push(GUI_FONT_SMALL);
    gui_text(theme->faint, text);
    gui_font_pop();
}

/* Which programs these are, and a word of warning when they are not of one version. */
static void about(const App *a)
{
    const Model *m = a->model;
    char text[SENTENCE_MAX];

    option_title(_("About"));
    if (m->daemon_version[0])
        snprintf(text, sizeof text, _("services_monitor %s, daemon services_api %s"),
                 SERVICES_MONITOR_VERSION, m->daemon_version);
    else
        snprintf(text, sizeof text, "services_monitor %s", SERVICES_MONITOR_VERSION);
    gui_text(theme->text, text);
    if (model_is_other_version(m))
        gui_text_wrap(
            theme_status(STATUS_WARN),
            _("Not of the same version: they understand each other, but update the older one."));
}

void options_draw(App *a)
{
    static const float scales[] = {75, 100, 125, 150, 200, 300};

    if (!popup_start(a, "options", &a->settings_wanted, 600, 450))
        return;
    card_title(_("Options"), NULL);
    option_title(_("Theme"));
    choice(a, "theme/dark", _("Dark"), a->settings.dark, choose_dark);
    choice(a, "theme/light", _("Light"), !a->settings.dark, choose_light);
    gui_space(1);
    option_title(_("Language"));
    choice(a, "lang/en", "English", strcmp(i18n_language(), "en") == 0, choose_english);
    choice(a, "lang/es", "Espa\u00f1ol", strcmp(i18n_language(), "es") == 0, choose_spanish);
    gui_space(1);
    option_title(_("Scale"));
    for (size_t i = 0; i < ELEMENTS(scales); i++)
        option_scale(a, scales[i]);
    gui_space(1);
    option_title(_("Notifications"));
    gui_checkbox("notify", _("Tell me on the desktop when a service goes down or recovers"),
                 &a->settings.notify);
    about(a);
    popup_close_button(a);
    gui_popup_end();
}
