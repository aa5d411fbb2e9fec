/* One PC: how it is reached and how it answers, and its services with expected against actual. */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/panels.h"

static const ServiceRow *service_row(const App *a, size_t row)
{
    return &a->model->services[a->pc_rows.rows[row]];
}

static void fact(float x, float y, float w, const char *key, const char *value, GuiColor color)
{
    draw_text_fit(GUI_FONT_SMALL, x, y, w - gui_px(12), theme->faint, key);
    draw_text_fit(GUI_FONT_BODY, x, y + gui_px(20), w - gui_px(12), color, value);
}

static void skew_text(const PcRow *p, char ret[static VIEW_TEXT])
{
    char size[VIEW_TEXT];

    if (!p->skew_known)
        snprintf(ret, VIEW_TEXT, "\u2014");
    else if (p->skew_ms > -1000 && p->skew_ms < 1000)
        snprintf(ret, VIEW_TEXT, "%s", _("in step"));
    else
        snprintf(ret, VIEW_TEXT, "%.20s %.30s",
                 view_duration(size, p->skew_ms < 0 ? -p->skew_ms : p->skew_ms),
                 p->skew_ms < 0 ? _("behind") : _("ahead"));
}

static void reach_card(App *a, const PcRow *p)
{
    char age[VIEW_TEXT], lag[VIEW_TEXT], skew[VIEW_TEXT], checked[VIEW_TEXT], state[128],
        sentence[SENTENCE_MAX];
    const char *way = p->is_self  ? _("directly")
                      : p->events ? _("ssh, live events")
                                  : _("ssh, by polling");
    bool trouble = p->sentence[0] != '\0';

    gui_card_begin("reach", gui_vec(0, gui_px(trouble ? 108 : 78)));
    GuiVec o = gui_cursor();
    float w = gui_avail().x / 5;
    skew_text(p, skew);
    snprintf(state, sizeof state, _("%s for %s"), p->reachable ? _("Reachable") : _("Unreachable"),
             view_age(age, a->now_ms, p->since_ts));
    fact(o.x, o.y, w, _("State"), state, p->reachable ? theme->text : theme_status(STATUS_UNKNOWN));
    fact(o.x + w, o.y, w, _("Lag"), view_latency(lag, p->reachable ? p->lag_us : -1), theme->text);
    fact(o.x + 2 * w, o.y, w, _("How it is reached"), way, theme->text);
    fact(o.x + 3 * w, o.y, w, _("Clock"), skew, theme->text);
    fact(o.x + 4 * w, o.y, w, _("Last check"), view_age(checked, a->now_ms, p->last_check_ts),
         theme->text);
    GuiRect r = {o.x, o.y, o.x + w, o.y + gui_px(40)};
    gui_mark("reach-state", state, r);
    if (trouble) {
        gui_set_cursor(gui_vec(o.x, o.y + gui_px(56)));
        GuiVec p2 = gui_cursor();
        status_light(p2.x + gui_px(8), p2.y + gui_px(9), gui_px(7), view_pc_status(p));
        gui_set_cursor(gui_vec(p2.x + gui_px(26), p2.y));
        gui_text_fit(theme->text, view_sentence(sentence, p->sentence));
    }
    gui_card_end();
}

static void row_id(void *userdata, size_t row, char *ret, size_t size)
{
    snprintf(ret, size, "row/%s", service_row(userdata, row)->app_id);
}

static void port_cell(const ServiceRow *s)
{
    char text[48];

    if (!s->port) {
        gui_text(theme->faint, "\u2014");
        return;
    }
    snprintf(text, sizeof text, "%u %s", s->port,
             s->port_listening < 0 ? ""
             : s->port_listening   ? _("open")
                                   : _("closed"));
    gui_text_fit(s->port_listening == 0 && s->expected == EXPECTED_RUNNING
                     ? theme_status(STATUS_DOWN)
                     : theme->dim,
                 text);
}

static void health_cell(const ServiceRow *s)
{
    char text[80], latency[VIEW_TEXT];
    bool good = s->http_status >= 200 && s->http_status < 400;

    if (!s->http_status) {
        gui_text(theme->faint, "\u2014");
        return;
    }
    snprintf(text, sizeof text, "%d, %s", s->http_status, view_latency(latency, s->latency_us));
    gui_text_fit(good ? theme->dim : theme_status(STATUS_WARN), text);
}

static void remark_cell(const ServiceRow *s)
{
    char text[2 * SENTENCE_MAX + 160], sentence[SENTENCE_MAX], maintenance[SENTENCE_MAX];

    view_maintenance(maintenance, &s->maintenance);
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", maintenance,
             maintenance[0] && (s->sentence[0] || s->hints) ? "; " : "",
             view_sentence(sentence, s->sentence), s->sentence[0] && s->hints ? "; " : "",
             s->hints & HINT_NOT_ENABLED ? _("not enabled: will not survive a reboot") : "",
             s->hints & HINT_NOT_ENABLED && s->hints & HINT_LINGER_OFF ? "; " : "",
             s->hints & HINT_LINGER_OFF ? _("linger is off: it stops at logout") : "");
    gui_text_fit(theme->dim, text[0] ? text : s->title);
}

/* Small: a table has many rows. What each does, or why it may not, is in its tooltip. */
static void actions_cell(App *a, const ServiceRow *s)
{
    static const struct {
        const char *action, *icon, *label;
    } actions[] = {{"start", ICON_PLAY, N_("Start")},
                   {"stop", ICON_STOP, N_("Stop")},
                   {"restart", ICON_REPEAT, N_("Restart")}};
    const char *reason = app_actions_reason(a);
    char id[ID_MAX + 16];
    GuiVec p = gui_cursor();

    gui_set_cursor(gui_vec(p.x, p.y - gui_px(6))); /* on the middle of the line of text */
    for (size_t i = 0; i < ELEMENTS(actions); i++) {
        snprintf(id, sizeof id, "%s/%s", actions[i].action, s->app_id);
        if (i > 0)
            gui_same_line(gui_px(4));
        gui_disabled_begin(reason != NULL);
        if (gui_button_ghost(id, actions[i].icon, gui_vec(gui_px(40), gui_px(28))))
            app_action(a, s->app_id, s->pc_id, actions[i].action);
        gui_disabled_end();
        if (gui_item_hovered()) {
            gui_tooltip_begin();
            gui_text(theme->text, i18n_text(actions[i].label));
            if (reason)
                gui_text(theme->dim, reason);
            gui_tooltip_end();
        }
    }
}

static void cell(void *userdata, size_t row, int column)
{
    App *a = userdata;
    const ServiceRow *s = service_row(a, row);
    char age[VIEW_TEXT];

    switch (column) {
    case 0: gui_text_fit(theme->text, s->app_id); break;
    case 1: gui_text_fit(theme->dim, view_expected_word(s->expected)); break;
    case 2: badge(view_status(s), view_actual_word(s->actual)); break;
    case 3: gui_text_fit(theme->dim, view_age(age, a->now_ms, s->since_ts)); break;
    case 4: port_cell(s); break;
    case 5: health_cell(s); break;
    case 6:
        snprintf(age, sizeof age, "%u", s->restarts);
        gui_text_fit(s->restarts ? theme->text : theme->faint, age);
        break;
    case 7: remark_cell(s); break;
    default: actions_cell(a, s);
    }
}

static ServiceOrder order_of(int column)
{
    static const ServiceOrder orders[] = {ORDER_APP,     ORDER_APP,    ORDER_STATUS,
                                          ORDER_SINCE,   ORDER_PORT,   ORDER_LATENCY,
                                          ORDER_CHANGES, ORDER_STATUS, ORDER_STATUS};

    return orders[(size_t)column < ELEMENTS(orders) ? (size_t)column : 0];
}

static void services_card(App *a)
{
    static const TableColumn columns[] = {{N_("Service"), -1.25F},
                                          {N_("Expected"), 88, .below = 900},
                                          {N_("Actual"), 118},
                                          {N_("For"), 88},
                                          {N_("Port"), 104},
                                          {N_("Health"), 112, .below = 860},
                                          {N_("Restarts"), 84, true, 1000},
                                          {N_("Remark"), -1.8F},
                                          {N_("Actions"), 142, .below = 700}};
    uint64_t key = list_key(a->model->version * 32 + 16 + (uint64_t)a->pc_sort.column * 2 +
                                a->pc_sort.descending,
                            a->place.pc_id);

    if (list_renew(&a->pc_rows, key, a->model->n_services + 1))
        a->pc_rows.n = view_services(a->model, "", a->place.pc_id, order_of(a->pc_sort.column),
                                     a->pc_sort.descending, a->pc_rows.rows);
    gui_card_begin("apps", gui_vec(0, 0));
    card_title(_("Services"), _("expected against actual; a row opens its history"));
    if (a->pc_rows.n == 0)
        empty_state(ICON_SERVICES, _("No services"), _("The registry expects nothing on this PC."),
                    NULL);
    else {
        const DataTable t = {.id = "apps",
                             .columns = columns,
                             .n_columns = ELEMENTS(columns),
                             .n_rows = a->pc_rows.n,
                             .sort = &a->pc_sort,
                             .focus = a->focus_panel,
                             .userdata = a,
                             .cell = cell,
                             .row_id = row_id};
        ptrdiff_t hit = data_table(&t, gui_avail());
        if (hit >= 0)
            app_go_app(a, service_row(a, (size_t)hit)->app_id, a->place.pc_id);
    }
    gui_card_end();
}

void panel_pc(App *a)
{
    size_t pc = model_find_pc(a->model, a->place.pc_id);

    if (pc == MODEL_NONE) {
        gui_card_begin("gone", gui_vec(0, 0));
        if (empty_state(ICON_PC, _("This PC is not watched"), _("The registry no longer names it."),
                        _("All PCs")))
            app_go_panel(a, PLACE_PCS);
        gui_card_end();
        return;
    }
    reach_card(a, &a->model->pcs[pc]);
    card_gap();
    services_card(a);
}
