/* What /api/alerts says: one entry per cause, since when, why, and what lies behind it. */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/panels.h"

#define BEHIND_SHOWN 40

static const Alert *alert_row(const App *a, size_t row)
{
    return &a->model->alerts[a->alerts.rows[row]];
}

static void alert_title(const Alert *alert, char *ret, size_t size)
{
    switch (alert->kind) {
    case ALERT_SERVICE:
        snprintf(ret, size, _("%s on %s"), alert->pair.app_id, alert->pair.pc_id);
        break;
    case ALERT_ALL_PCS: text_copy(ret, size, _("All other PCs")); break;
    case ALERT_REBOOT: snprintf(ret, size, _("%s was restarted"), alert->pair.pc_id); break;
    default: text_copy(ret, size, alert->pair.pc_id);
    }
}

static Status alert_status(const Alert *alert)
{
    if (alert->state == ALERT_CLOSED)
        return STATUS_OK;
    if (alert->state == ALERT_PENDING)
        return STATUS_BUSY;
    return alert->kind == ALERT_SERVICE ? STATUS_DOWN : STATUS_WARN;
}

static const char *alert_word(const Alert *alert)
{
    if (alert->state == ALERT_CLOSED)
        return _("Over");
    return alert->state == ALERT_PENDING ? _("Pending") : _("Open");
}

static void alert_id(void *userdata, size_t row, char *ret, size_t size)
{
    snprintf(ret, size, "alert/%s", alert_row(userdata, row)->id);
}

static void behind_text(const Alert *alert, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < MIN(alert->n_behind, (size_t)BEHIND_SHOWN) && len + 1 < size; i++) {
        const Pair *p = &alert->behind[i];
        int n = snprintf(ret + len, size - len, "%s%s%s%s", len ? ", " : "",
                         p->app_id[0] ? p->app_id : p->pc_id,
                         p->app_id[0] && alert->kind == ALERT_ALL_PCS ? " @ " : "",
                         p->app_id[0] && alert->kind == ALERT_ALL_PCS ? p->pc_id : "");
        len = MIN(len + (size_t)MAX(n, 0), size - 1);
    }
    if (alert->behind_total > BEHIND_SHOWN && len + 32 < size)
        snprintf(ret + len, size - len, " \u2026 (%zu)", alert->behind_total);
}

static void alert_cell(void *userdata, size_t row, int column)
{
    const App *a = userdata;
    const Alert *alert = alert_row(a, row);
    char text[2048], time[VIEW_TEXT], age[VIEW_TEXT];

    switch (column) {
    case 0: badge(alert_status(alert), alert_word(alert)); break;
    case 1:
        alert_title(alert, text, sizeof text);
        gui_text_fit(theme->text, text);
        break;
    case 2:
        gui_font_push(GUI_FONT_MONO);
        gui_text_fit(theme->dim, view_date(time, alert->since_ts));
        gui_font_pop();
        break;
    case 3:
        gui_text_fit(theme->dim, alert->closed_ts
                                     ? view_duration(age, alert->closed_ts - alert->since_ts)
                                     : view_age(age, a->now_ms, alert->since_ts));
        break;
    case 4: gui_text_fit(theme->dim, view_sentence(text, alert->sentence)); break;
    default: behind_text(alert, text, sizeof text); gui_text_fit(theme->faint, text);
    }
}

static void nothing_open(App *a)
{
    int64_t since = view_all_well_since(a->model);
    char hint[160], time[VIEW_TEXT];
    bool closed = since > 0;

    if (closed)
        snprintf(hint, sizeof hint, _("The last alert ended on %s."), view_date(time, since));
    else
        text_copy(hint, sizeof hint, _("Nothing has been wrong for longer than its grace."));
    if (empty_state(ICON_CHECK, _("All is well"), hint, closed ? _("Show past alerts") : NULL))
        a->alerts_closed = true;
}

static void go_behind(App *a, const Alert *alert)
{
    if (alert->kind == ALERT_SERVICE)
        app_go_app(a, alert->pair.app_id, alert->pair.pc_id);
    else if (alert->pair.pc_id[0])
        app_go_pc(a, alert->pair.pc_id);
    else
        app_go_panel(a, PLACE_PCS);
}

void panel_alerts(App *a)
{
    static const TableColumn columns[] = {
        {N_("State"), 104}, {N_("What"), -1},   {N_("Since"), 150, .below = 760},
        {N_("For"), 92},    {N_("Why"), -1.5F}, {N_("What is behind it"), -1, .below = 960}};
    uint64_t key = list_key(a->model->version * 2 + a->alerts_closed, "");

    if (list_renew(&a->alerts, key, a->model->n_alerts + 1))
        a->alerts.n = view_alerts(a->model, a->alerts_closed, a->alerts.rows);
    gui_card_begin("alerts", gui_vec(0, 0));
    gui_checkbox("show-closed", _("Show past alerts"), &a->alerts_closed);
    gui_space(gui_px(2));
    if (a->alerts.n == 0)
        nothing_open(a);
    else {
        const DataTable t = {.id = "alerts",
                             .columns = columns,
                             .n_columns = ELEMENTS(columns),
                             .n_rows = a->alerts.n,
                             .focus = a->focus_panel,
                             .userdata = a,
                             .cell = alert_cell,
                             .row_id = alert_id};
        ptrdiff_t hit = data_table(&t, gui_avail());
        if (hit >= 0)
            go_behind(a, alert_row(a, (size_t)hit));
    }
    gui_card_end();
}
