/* The fixed frame around every panel: sidebar, top bar, the banner of a lost daemon, and the popups
 * of help and options.
 *
 * Only the region in the middle changes with the place. The banner pushes the panel down rather
 * than covering it: while we are blind the last known state stays readable, grey and with its age.
 */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/panels.h"

#define SIDE_WIDTH 224
#define ANSWER_MS  6000

const PanelInfo panels[PLACE_MAX] = {
    [PLACE_OVERVIEW] = {N_("Overview"), NULL, ICON_OVERVIEW, panel_overview},
    [PLACE_PCS] = {N_("PCs"), N_("Every PC, how it is reached and how it answers"), ICON_PC,
                   panel_pcs},
    [PLACE_SERVICES] = {N_("Services"), N_("Every service on every PC"), ICON_SERVICES,
                        panel_services},
    [PLACE_LIVE] = {N_("Live"), N_("Every change as it happens"), ICON_LIVE, panel_live},
    [PLACE_ALERTS] = {N_("Alerts"),
                      N_("What is wrong for longer than its grace, one entry per cause"),
                      ICON_ALERTS, panel_alerts},
    [PLACE_PC] = {N_("PC"), NULL, ICON_PC, panel_pc},
    [PLACE_APP] = {N_("Service"), NULL, ICON_SERVICES, panel_app},
};

static const char *const ids[] = {"nav/overview", "nav/pcs", "nav/services", "nav/live",
                                  "nav/alerts"};

/* ---- sidebar ---- */

static void nav_count(GuiVec p, float w, float h, size_t n, bool alarm)
{
    char text[24];

    snprintf(text, sizeof text, "%zu", n);
    GuiVec z = gui_text_size(GUI_FONT_SMALL, text);
    float bw = z.x + gui_px(16), x = p.x + w - bw - gui_px(8);
    GuiColor c = alarm ? theme_status(STATUS_DOWN) : theme->dim;
    draw_rect(x, p.y + gui_px(9), x + bw, p.y + h - gui_px(9),
              alarm ? gui_alpha(c, 44) : theme->veil, gui_px(10));
    draw_text(GUI_FONT_SMALL, x + (bw - z.x) / 2, p.y + (h - z.y) / 2, c, text);
}

static void nav_item(App *a, PlaceKind kind, size_t n, bool alarm)
{
    const PanelInfo *info = &panels[kind];
    PlaceKind at = a->place.kind == PLACE_PC    ? PLACE_PCS
                   : a->place.kind == PLACE_APP ? PLACE_SERVICES
                                                : a->place.kind;
    GuiVec p = gui_cursor();
    float w = gui_avail().x, h = gui_px(38);
    bool hovered, on = at == kind;

    if (gui_hit(ids[kind], i18n_text(info->title), gui_vec(w, h), &hovered))
        app_go_panel(a, kind);
    if (on) {
        draw_rect(p.x, p.y, p.x + w, p.y + h, gui_alpha(theme->accent, 34), gui_px(8));
        draw_rect(p.x - gui_px(9), p.y + gui_px(9), p.x - gui_px(6), p.y + h - gui_px(9),
                  theme->accent, gui_px(2));
    } else if (hovered)
        draw_rect(p.x, p.y, p.x + w, p.y + h, theme->veil, gui_px(8));
    GuiVec z = gui_text_size(GUI_FONT_BODY, info->icon);
    draw_text(GUI_FONT_BODY, p.x + gui_px(21) - z.x / 2, p.y + gui_px(10),
              on ? theme->accent : theme->faint, info->icon);
    draw_text(on ? GUI_FONT_BOLD : GUI_FONT_BODY, p.x + gui_px(44), p.y + gui_px(10),
              on ? theme->text : theme->dim, i18n_text(info->title));
    if (n)
        nav_count(p, w, h, n, alarm);
}

static void logo(const App *a)
{
    GuiVec p = gui_cursor();
    char sub[96];
    bool other = model_is_other_version(a->model);

    draw_rect(p.x + gui_px(4), p.y - gui_px(1), p.x + gui_px(22), p.y + gui_px(37), theme->active,
              gui_px(6));
    draw_circle(p.x + gui_px(13), p.y + gui_px(7), gui_px(4), theme->status[STATUS_DOWN]);
    draw_circle(p.x + gui_px(13), p.y + gui_px(18), gui_px(4), theme->status[STATUS_WARN]);
    draw_circle(p.x + gui_px(13), p.y + gui_px(29), gui_px(4), theme->status[STATUS_OK]);
    if (a->model->daemon_version[0])
        snprintf(sub, sizeof sub, _("daemon %s"), a->model->daemon_version);
    else
        text_copy(sub, sizeof sub, _("systemd services, live"));
    draw_text(GUI_FONT_BOLD, p.x + gui_px(34), p.y, theme->text, "services_monitor");
    draw_text_fit(GUI_FONT_SMALL, p.x + gui_px(34), p.y + gui_px(20), gui_avail().x - gui_px(34),
                  other ? theme_status(STATUS_WARN) : theme->faint, sub);
    gui_mark("daemon-version", sub, (GuiRect){p.x, p.y, p.x + gui_avail().x, p.y + gui_px(38)});
    gui_dummy(gui_vec(1, gui_px(52)));
}

static void connection(App *a, float width, float bottom)
{
    const Model *m = a->model;
    float y = bottom - gui_px(78), x = gui_px(18), w = width - x - gui_px(58);
    bool live = m->state == CLIENT_LIVE && m->has_snapshot;
    const char *word = live                      ? _("Connected")
                       : m->state == CLIENT_LOST ? _("Reconnecting")
                                                 : _("Connecting");
    char where[600];

    if (a->tunnel)
        snprintf(where, sizeof where, "ssh %s", a->options.ssh_host);
    else
        snprintf(where, sizeof where, "%s",
                 strncmp(a->url, "http://", 7) == 0 ? a->url + 7 : a->url);
    draw_line(gui_px(14), y, width - gui_px(14), y, theme->line, 1);
    status_light(x + gui_px(8), y + gui_px(30), gui_px(6), live ? STATUS_OK : STATUS_UNKNOWN);
    draw_text(GUI_FONT_BODY, x + gui_px(26), y + gui_px(20), theme->text, word);
    draw_text_fit(GUI_FONT_MONO, x + gui_px(26), y + gui_px(42), w, theme->faint, where);
    GuiRect r = {x, y, width, bottom};
    gui_mark("connection", word, r);
    gui_set_cursor(gui_vec(width - gui_px(46), y + gui_px(20)));
    if (gui_button_ghost("options", ICON_COG, gui_vec(gui_px(34), gui_px(34))))
        a->settings_wanted = true;
}

static void sidebar(App *a, float width, float height)
{
    gui_region_begin("side", gui_vec(width, height), theme->side, gui_vec(gui_px(14), gui_px(18)));
    logo(a);
    nav_item(a, PLACE_OVERVIEW, 0, false);
    nav_item(a, PLACE_PCS, a->counts.pcs, false);
    nav_item(a, PLACE_SERVICES, a->counts.services, false);
    nav_item(a, PLACE_LIVE, 0, false);
    nav_item(a, PLACE_ALERTS, a->counts.open_alerts, true);
    connection(a, width, height);
    draw_line(width - 1, 0, width - 1, height, theme->line_soft, 1);
    gui_region_end();
}

/* ---- top bar ---- */

static Status place_status(const App *a)
{
    const Model *m = a->model;
    size_t at = a->place.kind == PLACE_PC ? model_find_pc(m, a->place.pc_id)
                                          : model_find_app(m, a->place.app_id);

    if (at == MODEL_NONE)
        return STATUS_ABSENT;
    return a->place.kind == PLACE_PC ? view_pc_worst(m, at) : view_app_worst(m, at);
}

static void place_texts(const App *a, char title[static 96], char sub[static 256])
{
    const Model *m = a->model;
    const PanelInfo *info = &panels[a->place.kind];
    size_t pc = model_find_pc(m, a->place.pc_id), app = model_find_app(m, a->place.app_id);

    snprintf(title, 96, "%s", i18n_text(info->title));
    snprintf(sub, 256, "%s", info->subtitle ? i18n_text(info->subtitle) : "");
    if (a->place.kind == PLACE_OVERVIEW && m->has_snapshot) {
        char pcs[64], services[64];
        snprintf(pcs, sizeof pcs, P_("%zu PC", "%zu PCs", m->n_pcs), m->n_pcs);
        snprintf(services, sizeof services, P_("%zu service", "%zu services", m->n_services),
                 m->n_services);
        snprintf(sub, 256, "%s, %s", pcs, services);
    } else if (a->place.kind == PLACE_PC) {
        snprintf(title, 96, "%s", a->place.pc_id);
        if (pc != MODEL_NONE)
            snprintf(sub, 256, "%s", m->pcs[pc].version_uname);
    } else if (a->place.kind == PLACE_APP) {
        snprintf(title, 96, "%s", a->place.app_id);
        if (app != MODEL_NONE)
            snprintf(sub, 256, "%s", m->apps[app].title);
    }
}

static void search_button(App *a, float x, float y, float w)
{
    const char *key = "Ctrl K";
    bool hovered;
    float h = gui_px(38), kw = gui_text_size(GUI_FONT_SMALL, key).x + gui_px(14);

    gui_set_cursor(gui_vec(x, y));
    if (gui_hit("search", _("Search or jump to\u2026"), gui_vec(w, h), &hovered))
        a->palette_wanted = true;
    draw_rect(x, y, x + w, y + h, hovered ? theme->hover : theme->card, gui_px(8));
    draw_frame(x, y, x + w, y + h, theme->line, gui_px(8), 1);
    draw_text(GUI_FONT_BODY, x + gui_px(13), y + gui_px(10), theme->faint, ICON_SEARCH);
    draw_text_fit(GUI_FONT_BODY, x + gui_px(38), y + gui_px(10), w - gui_px(56) - kw, theme->faint,
                  _("Search or jump to\u2026"));
    draw_rect(x + w - kw - gui_px(9), y + gui_px(8), x + w - gui_px(9), y + h - gui_px(8),
              theme->hover, gui_px(5));
    draw_text(GUI_FONT_SMALL, x + w - kw - gui_px(2), y + gui_px(11), theme->dim, key);
}

static void top_bar(App *a, float width)
{
    GuiVec p = gui_cursor();
    bool inside = a->place.kind == PLACE_PC || a->place.kind == PLACE_APP;
    float search = gui_px(width < gui_px(900) ? 200 : 290), x = p.x;
    char title[96], sub[256];

    place_texts(a, title, sub);
    if (inside) {
        gui_set_cursor(gui_vec(p.x, p.y + gui_px(4)));
        if (gui_button("back", ICON_BACK, gui_vec(gui_px(38), gui_px(38))))
            app_go_back(a);
        x += gui_px(54);
    }
    float room = p.x + width - search - x - gui_px(24);
    draw_text_fit(GUI_FONT_TITLE, x, p.y, room, theme->text, title);
    GuiRect r = {x, p.y, x + room, p.y + gui_px(28)};
    gui_mark("title", title, r);
    draw_text_fit(GUI_FONT_BODY, x, p.y + gui_px(30), room, theme->dim, sub);
    Status s = inside ? place_status(a) : STATUS_ABSENT;
    if (s != STATUS_ABSENT) {
        gui_set_cursor(
            gui_vec(x + gui_text_size(GUI_FONT_TITLE, title).x + gui_px(16), p.y + gui_px(6)));
        badge(s, view_status_word(s));
    }
    search_button(a, p.x + width - search, p.y + gui_px(4), search);
    gui_set_cursor(gui_vec(p.x, p.y + gui_px(66)));
}

/* ---- what must be said above every panel ---- */

/* Why there is no daemon: with a tunnel that is what ssh says (true), if it says something. */
static bool lost_sentence(const App *a, char ret[static SENTENCE_MAX])
{
    char ssh[SENTENCE_MAX] = "";

    view_sentence(ret, a->model->sentence);
    if (a->tunnel)
        tunnel_error(a->tunnel, ssh, sizeof ssh);
    if (ssh[0])
        text_copy(ret, SENTENCE_MAX, ssh);
    return ssh[0];
}

static void blind_banner(App *a)
{
    const Model *m = a->model;
    char title[128], text[SENTENCE_MAX * 2], clock[VIEW_TEXT], why[SENTENCE_MAX];

    if (!a->stale || !m->has_snapshot)
        return;
    snprintf(title, sizeof title, _("Blind since %s"), view_clock(clock, m->last_message_ms));
    lost_sentence(a, why);
    snprintf(text, sizeof text, _("The daemon does not answer; this is the last known state. %s"),
             why);
    banner("blind", STATUS_WARN, title, text);
}

static void answer_banner(App *a)
{
    const Model *m = a->model;

    if (!m->answer_ms || a->own_ms - m->answer_ms > ANSWER_MS || a->own_ms < m->answer_ms)
        return;
    banner("answer", m->answer_failed ? STATUS_WARN : STATUS_OK,
           m->answer_failed ? _("Not done") : _("Done"), m->answer);
}

static void waiting(App *a)
{
    char why[SENTENCE_MAX];
    bool ssh_says = lost_sentence(a, why);
    /* ssh is on its way and has not complained: that is no failure yet. */
    bool logging_in = a->tunnel && !ssh_says && !tunnel_is_open(a->tunnel);

    if (a->model->state != CLIENT_LOST || logging_in) {
        empty_state(ICON_PLUG, _("Connecting\u2026"),
                    a->options.ssh_host ? a->options.ssh_host : a->url, NULL);
        return;
    }
    empty_state(ICON_PLUG, _("The daemon does not answer"), why[0] ? why : a->url, NULL);
    if (a->tunnel)
        return;
    const char *advice = _("Is services_api running? Try: systemctl --user status services_api");
    GuiVec z = gui_text_size(GUI_FONT_SMALL, advice), p = gui_cursor();
    draw_text(GUI_FONT_SMALL, p.x + (gui_avail().x - z.x) / 2, p.y + gui_avail().y - gui_px(40),
              theme->faint, advice);
}

static void main_region(App *a, float width, float height)
{
    gui_region_begin("main", gui_vec(width, height), theme->background,
                     gui_vec(gui_px(24), gui_px(16)));
    top_bar(a, gui_avail().x);
    blind_banner(a);
    answer_banner(a);
    gui_push_index((int)a->place.kind);
    if (a->model->has_snapshot)
        panels[a->place.kind].draw(a);
    else {
        gui_card_begin("waiting", gui_vec(0, 0));
        waiting(a);
        gui_card_end();
    }
    gui_pop_id();
    palette_draw(a);
    help_draw(a);
    options_draw(a);
    gui_region_end();
}

void shell_draw(App *a)
{
    GuiVec d = gui_display();
    float side = gui_px(d.x < gui_px(860) ? 188 : SIDE_WIDTH);

    gui_shell_begin(theme->background);
    sidebar(a, side, d.y);
    gui_set_cursor(gui_vec(side, 0));
    main_region(a, d.x - side, d.y);
    gui_shell_end();
    a->focus_panel = false;
    a->focus_filter = false;
}
