/* Every service on every PC in one list that sorts and filters; made for 10,000 rows: order and
 * filter are computed once per change, and only the rows in sight are built. */
#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/panels.h"

static const ServiceRow *service_row(const App *a, size_t row)
{
    return &a->model->services[a->services.rows[row]];
}

static void service_id(void *userdata, size_t row, char *ret, size_t size)
{
    const ServiceRow *s = service_row(userdata, row);

    snprintf(ret, size, "service/%s/%s", s->pc_id, s->app_id);
}

static void service_cell(void *userdata, size_t row, int column)
{
    const App *a = userdata;
    const ServiceRow *s = service_row(a, row);
    char text[SENTENCE_MAX], age[VIEW_TEXT];

    switch (column) {
    case 0: badge(view_status(s), view_actual_word(s->actual)); break;
    case 1: gui_text_fit(theme->text, s->app_id); break;
    case 2: gui_text_fit(theme->dim, s->pc_id); break;
    case 3: gui_text_fit(theme->dim, view_age(age, a->now_ms, s->since_ts)); break;
    case 4:
        snprintf(age, sizeof age, "%u", s->transitions_24h);
        gui_text_fit(theme->dim, age);
        break;
    case 5: gui_text_fit(theme->dim, view_latency(age, s->latency_us)); break;
    default: gui_text_fit(theme->dim, s->sentence[0] ? view_sentence(text, s->sentence) : s->title);
    }
}

static ServiceOrder order_of(int column)
{
    static const ServiceOrder orders[] = {ORDER_STATUS,  ORDER_APP,     ORDER_PC,    ORDER_SINCE,
                                          ORDER_CHANGES, ORDER_LATENCY, ORDER_STATUS};

    return orders[(size_t)column < ELEMENTS(orders) ? (size_t)column : 0];
}

static void toolbar(App *a)
{
    char text[96];

    filter_field("filter", _("Filter by service, PC, tag, state or reason"), a->services_filter,
                 sizeof a->services_filter, gui_px(420), a->focus_filter);
    gui_same_line(gui_px(14));
    gui_align_text();
    snprintf(text, sizeof text, P_("%zu service", "%zu services", a->services.n), a->services.n);
    gui_text_fit(theme->faint, text);
    gui_space(gui_px(2));
}

void panel_services(App *a)
{
    static const TableColumn columns[] = {{N_("State"), 130},
                                          {N_("Service"), -1},
                                          {N_("PC"), -.9F},
                                          {N_("For"), 100},
                                          {N_("Changes 24 h"), 116, true, 940},
                                          {N_("Latency"), 96, true, 860},
                                          {N_("Remark"), -1.7F}};
    uint64_t key = list_key(a->model->version * 32 + (uint64_t)a->services_sort.column * 2 +
                                a->services_sort.descending,
                            a->services_filter);

    if (list_renew(&a->services, key, a->model->n_services + 1))
        a->services.n =
            view_services(a->model, a->services_filter, NULL, order_of(a->services_sort.column),
                          a->services_sort.descending, a->services.rows);
    gui_card_begin("services", gui_vec(0, 0));
    toolbar(a);
    if (a->model->n_services == 0)
        empty_state(ICON_SERVICES, _("Nothing is registered yet"),
                    _("services_api discover finds the services of this PC."), NULL);
    else if (a->services.n == 0) {
        if (empty_state(ICON_SEARCH, _("Nothing matches"), _("No service matches this filter."),
                        _("Clear filter")))
            a->services_filter[0] = '\0';
    } else {
        const DataTable t = {.id = "services",
                             .columns = columns,
                             .n_columns = ELEMENTS(columns),
                             .n_rows = a->services.n,
                             .sort = &a->services_sort,
                             .stripes = true,
                             .focus = a->focus_panel,
                             .userdata = a,
                             .cell = service_cell,
                             .row_id = service_id};
        ptrdiff_t hit = data_table(&t, gui_avail());
        if (hit >= 0)
            app_go_app(a, service_row(a, (size_t)hit)->app_id, service_row(a, (size_t)hit)->pc_id);
    }
    gui_card_end();
}
