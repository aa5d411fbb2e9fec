/* What /api/alerts says: one entry per cause, since when, why, and what lies behind it; and what
 * can be done about being told: acknowledge, silence, maintenance.
 *
 * A row leads to what it is about; its button opens a popup with the choices, so that nothing is
 * silenced by a slip of the mouse. What is silenced now stands below the alerts, each with its end,
 * because what is forgotten here is found out the hard way. */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/panels.h"

#define BEHIND_SHOWN   40
#define SILENCES_SHOWN 5 /* rows of the lower card before it scrolls */

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
    if (alert->acknowledged)
        return _("Acknowledged");
    if (alert->silenced_until_ts)
        return _("Silenced");
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

/* Why, and who has said what about it. */
static void why_text(const Alert *alert, char *ret, size_t size)
{
    char sentence[SENTENCE_MAX], until[VIEW_TEXT];
    size_t len = 0;

    text_copy(ret, size, view_sentence(sentence, alert->sentence));
    len = strlen(ret);
    if (alert->acknowledged && len < size)
        snprintf(ret + len, size - len, " \u00b7 %s%s%s", _("acknowledged"),
                 alert->ack_comment[0] ? ": " : "", alert->ack_comment);
    len = strlen(ret);
    if (alert->silenced_until_ts && alert->state != ALERT_CLOSED && len < size) {
        int n = snprintf(ret + len, size - len, " \u00b7 ");
        len = MIN(len + (size_t)MAX(n, 0), size - 1);
        snprintf(ret + len, size - len, _("silenced until %s"),
                 view_date(until, alert->silenced_until_ts));
    }
}

static void handle_cell(App *a, const Alert *alert)
{
    char id[96];

    if (alert->state == ALERT_CLOSED || alert->kind == ALERT_REBOOT)
        return;
    snprintf(id, sizeof id, "handle/%s", alert->id);
    gui_disabled_begin(a->stale);
    if (gui_button_ghost(id, _("Handle\u2026"), gui_vec(0, 0))) {
        text_copy(a->handled, sizeof a->handled, alert->id);
        a->handle_comment[0] = '\0';
        a->handle_wanted = a->handle_fresh = true;
    }
    gui_disabled_end();
}

/* A badge on the line of the row's button. */
static void badge_beside(Status status, const char *word)
{
    GuiVec p = gui_cursor();

    gui_set_cursor(gui_vec(p.x, p.y + gui_px(6)));
    badge(status, word);
}

static void alert_cell(void *userdata, size_t row, int column)
{
    App *a = userdata;
    const Alert *alert = alert_row(a, row);
    char text[2048], time[VIEW_TEXT], age[VIEW_TEXT];

    if (column > 0)
        gui_align_text(); /* on the line of the row's button */
    switch (column) {
    case 0: badge_beside(alert_status(alert), alert_word(alert)); break;
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
    case 4:
        why_text(alert, text, sizeof text);
        gui_text_fit(theme->dim, text);
        break;
    case 5: handle_cell(a, alert); break;
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

/* ---- what can be done ---- */

static const Alert *find_alert(const Model *m, const char *id)
{
    for (size_t i = 0; i < m->n_alerts; i++)
        if (strcmp(m->alerts[i].id, id) == 0)
            return &m->alerts[i];
    return NULL;
}

/* A line of buttons, one for each length of time. True: one was pressed. */
static bool lengths_row(App *a, const Alert *alert, const char *kind, const char *title)
{
    static const struct {
        const char *label;
        uint32_t hours;
    } lengths[] = {{N_("1 h"), 1}, {N_("8 h"), 8}, {N_("24 h"), 24}};
    char id[64];
    bool done = false;

    gui_text(theme->dim, title);
    for (size_t i = 0; i < ELEMENTS(lengths); i++) {
        snprintf(id, sizeof id, "%s/%u", kind, lengths[i].hours);
        if (i > 0)
            gui_same_line(gui_px(8));
        if (gui_button(id, i18n_text(lengths[i].label), gui_vec(gui_px(72), 0))) {
            app_silence(a, kind, &alert->pair, lengths[i].hours * 3600, a->handle_comment);
            done = true;
        }
    }
    gui_space(gui_px(4));
    return done;
}

static bool handle_choices(App *a, const Alert *alert)
{
    char title[2 * ID_MAX + 32], why[SENTENCE_MAX];

    alert_title(alert, title, sizeof title);
    card_title(title, NULL);
    gui_text_fit(theme->dim, view_sentence(why, alert->sentence));
    gui_space(gui_px(4));
    gui_width(-1);
    if (a->handle_fresh)
        gui_focus_next();
    a->handle_fresh = false;
    gui_input("handle-comment", _("Comment, for whoever looks next"), a->handle_comment,
              sizeof a->handle_comment, NULL);
    gui_space(gui_px(4));
    bool done = gui_button("ack", alert->acknowledged ? _("Acknowledge again") : _("Acknowledge"),
                           gui_vec(0, 0));
    if (done)
        app_ack(a, alert->id, a->handle_comment);
    gui_space(gui_px(4));
    if (alert->kind != ALERT_ALL_PCS) {
        done |= lengths_row(a, alert, "silence", _("Send no notices for"));
        done |= lengths_row(a, alert, "maintenance", _("Under maintenance for"));
    }
    return gui_button("handle-close", _("Close"), gui_vec(0, 0)) || gui_key(GUI_KEY_ESCAPE) || done;
}

static void handle_draw(App *a)
{
    const Alert *alert = find_alert(a->model, a->handled);
    GuiVec d = gui_display(), size = gui_vec(MIN(gui_px(520), d.x - gui_px(40)), gui_px(352));

    if (a->handle_wanted && !a->popup_open) {
        gui_popup_open("handle");
        a->popup_open = true;
    }
    a->handle_wanted = false;
    if (!gui_popup_begin("handle", gui_vec((d.x - size.x) / 2, gui_px(90)), size))
        return;
    /* an alert that ended meanwhile has nothing to be handled any more */
    if (!alert || alert->state == ALERT_CLOSED || handle_choices(a, alert)) {
        gui_popup_close();
        a->popup_open = false;
    }
    gui_popup_end();
}

/* ---- what is left alone now ---- */

static void silence_subject(const SilenceRow *s, char *ret, size_t size)
{
    if (!s->pair.pc_id[0])
        snprintf(ret, size, _("%s on every PC"), s->pair.app_id);
    else if (!s->pair.app_id[0])
        text_copy(ret, size, s->pair.pc_id);
    else
        snprintf(ret, size, _("%s on %s"), s->pair.app_id, s->pair.pc_id);
}

static void silence_cell(void *userdata, size_t row, int column)
{
    App *a = userdata;
    const SilenceRow *s = &a->model->silences[row];
    char text[2 * ID_MAX + 32], time[VIEW_TEXT];

    if (column > 0)
        gui_align_text();
    switch (column) {
    case 0: badge_beside(STATUS_OFF, s->maintenance ? _("Maintenance") : _("Silence")); break;
    case 1:
        silence_subject(s, text, sizeof text);
        gui_text_fit(theme->text, text);
        break;
    case 2:
        gui_font_push(GUI_FONT_MONO);
        gui_text_fit(theme->dim, view_date(time, s->until_ts));
        gui_font_pop();
        break;
    case 3: gui_text_fit(theme->dim, s->comment); break;
    default:
        snprintf(text, sizeof text, "end/%lld", (long long)s->id);
        gui_disabled_begin(a->stale);
        if (gui_button_ghost(text, _("End"), gui_vec(0, 0)))
            app_unsilence(a, s->id);
        gui_disabled_end();
    }
}

static float silences_height(const Model *m)
{
    size_t n = MIN(m->n_silences, (size_t)SILENCES_SHOWN);

    return n ? gui_px(96) + (float)n * gui_px(46) : 0;
}

static void silences_card(App *a)
{
    static const TableColumn columns[] = {{N_("Kind"), 130},
                                          {N_("Of"), -1},
                                          {N_("Until"), 150},
                                          {N_("Comment"), -1, .below = 640},
                                          {N_("End"), 90}};

    gui_card_begin("silences", gui_vec(0, 0));
    card_title(_("Silences and maintenance"), NULL);
    const DataTable t = {.id = "silences",
                         .columns = columns,
                         .n_columns = ELEMENTS(columns),
                         .n_rows = a->model->n_silences,
                         .userdata = a,
                         .cell = silence_cell};
    data_table(&t, gui_avail());
    gui_card_end();
}

void panel_alerts(App *a)
{
    static const TableColumn columns[] = {{N_("State"), 104},
                                          {N_("What"), -1},
                                          {N_("Since"), 150, .below = 760},
                                          {N_("For"), 92},
                                          {N_("Why"), -1.5F},
                                          {N_("Handle"), 92},
                                          {N_("What is behind it"), -1, .below = 960}};
    uint64_t key = list_key(a->model->version * 2 + a->alerts_closed, "");

    if (list_renew(&a->alerts, key, a->model->n_alerts + 1))
        a->alerts.n = view_alerts(a->model, a->alerts_closed, a->alerts.rows);
    app_want_silences(a);
    float below = silences_height(a->model);
    gui_card_begin("alerts", gui_vec(0, below > 0 ? gui_avail().y - below - gui_px(12) : 0));
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
    if (below > 0) {
        card_gap();
        silences_card(a);
    }
    handle_draw(a);
}
