/* Hours that nobody observed are gaps, never zeros: a daemon that was off says nothing about a
 * service.
 *
 * The latency chart breaks its line where a look got no answer, marks that moment at the bottom,
 * and takes its scale from the 98th percentile, so that one outlier does not press the rest flat;
 * what is higher is cut at the top edge. */
#include "monitor/charts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "monitor/widgets.h"

#define HOUR_MS    INT64_C(3600000)
#define WEEK_HOURS 168

typedef struct Plot {
    float x0, y0, x1, y1; /* the area of the data */
} Plot;

static Plot plot_begin(float height, const char *const labels[3])
{
    GuiVec p = gui_cursor();
    float w = gui_avail().x, margin = 0;

    for (int i = 0; i < 3; i++)
        margin = fmaxf(margin, gui_text_size(GUI_FONT_SMALL, labels[i]).x);
    Plot plot = {p.x + margin + gui_px(10), p.y + gui_px(8), p.x + w, p.y + height - gui_px(24)};
    for (int i = 0; i < 3; i++) {
        float y = plot.y0 + (plot.y1 - plot.y0) * (float)i / 2;
        GuiVec z = gui_text_size(GUI_FONT_SMALL, labels[i]);
        draw_line(plot.x0, y, plot.x1, y, theme->line_soft, 1);
        draw_text(GUI_FONT_SMALL, plot.x0 - gui_px(9) - z.x, y - z.y / 2, theme->faint, labels[i]);
    }
    return plot;
}

/* ---- hours ---- */

/* The week that ends with the newest hour known: the daemon tells of no hour it was not there. */
static void week_of(const Detail *d, HourPoint week[static WEEK_HOURS])
{
    int64_t last = 0;

    for (size_t i = 0; i < d->n_hours; i++)
        last = MAX(last, d->hours[i].hour / HOUR_MS);
    for (int i = 0; i < WEEK_HOURS; i++)
        week[i] = (HourPoint){.hour = (last - WEEK_HOURS + 1 + i) * HOUR_MS, .ratio = -1};
    for (size_t i = 0; i < d->n_hours; i++) {
        int64_t back = last - d->hours[i].hour / HOUR_MS;
        if (back < WEEK_HOURS)
            week[WEEK_HOURS - 1 - back] = d->hours[i];
    }
}

static double hour_ratio(void *userdata, size_t i)
{
    return ((const HourPoint *)userdata)[i].ratio;
}

static void hours_days(const HourPoint *week, const Plot *p)
{
    float step = (p->x1 - p->x0) / WEEK_HOURS;
    float free_from = p->x0;
    char text[VIEW_TEXT];

    for (size_t i = 0; i < WEEK_HOURS; i++) {
        time_t t = (time_t)(week[i].hour / 1000);
        struct tm tm;
        localtime_r(&t, &tm);
        if (tm.tm_hour != 0)
            continue;
        float x = p->x0 + (float)i * step;
        GuiVec z = gui_text_size(GUI_FONT_SMALL, view_day(text, week[i].hour));
        draw_line(x, p->y0, x, p->y1 + gui_px(6), theme->line, 1);
        if (x >= free_from && x + z.x + gui_px(6) < p->x1) {
            draw_text(GUI_FONT_SMALL, x + gui_px(5), p->y1 + gui_px(5), theme->faint, text);
            free_from = x + z.x + gui_px(18);
        }
    }
}

static void hours_tooltip(const HourPoint *h)
{
    char day[VIEW_TEXT], text[VIEW_TEXT], observed[VIEW_TEXT], from[VIEW_TEXT], to[VIEW_TEXT];

    view_clock(from, h->hour);
    view_clock(to, h->hour + HOUR_MS);
    gui_tooltip_begin();
    gui_font_push(GUI_FONT_SMALL);
    gui_textf(theme->dim, "%s, %.5s \u2013 %.5s", view_day(day, h->hour), from, to);
    gui_font_pop();
    gui_font_push(GUI_FONT_BOLD);
    if (h->ratio < 0)
        gui_text(theme->dim, _("not observed"));
    else
        gui_textf(theme_status(ratio_status(h->ratio)), _("%s healthy"),
                  view_percent(text, h->ratio));
    gui_font_pop();
    if (h->ratio >= 0)
        gui_textf(theme->dim, _("observed for %s"), view_duration(observed, h->observed_ms));
    gui_textf(theme->dim, P_("%u change", "%u changes", h->transitions), h->transitions);
    gui_tooltip_end();
}

void chart_hours(const Detail *d, float height)
{
    static const char *const labels[] = {"100 %", "50 %", "0 %"};
    GuiVec start = gui_cursor();
    Plot p = plot_begin(height, labels);
    HourPoint week[WEEK_HOURS];
    bool hovered;

    week_of(d, week);
    gui_set_cursor(gui_vec(p.x0, p.y0));
    gui_hit("chart/hours", "", gui_vec(p.x1 - p.x0, p.y1 - p.y0), &hovered);
    if (d->n_hours) {
        const GuiRect area = {p.x0, p.y0, p.x1, p.y1};
        bars(area, WEEK_HOURS, hour_ratio, week, true);
        hours_days(week, &p);
    }
    if (hovered && d->n_hours) {
        float step = (p.x1 - p.x0) / WEEK_HOURS;
        size_t i = MIN((size_t)fmaxf((gui_mouse().x - p.x0) / step, 0), WEEK_HOURS - 1U);
        float x = p.x0 + (float)i * step;
        draw_rect(x, p.y0, x + step, p.y1, gui_alpha(theme->text, 34), 0);
        hours_tooltip(&week[i]);
    }
    gui_set_cursor(start);
    gui_dummy(gui_vec(gui_avail().x, height));
}

/* ---- latency ---- */

static int compare_latency(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return x < y ? -1 : x > y;
}

static int32_t nice_top(int32_t us)
{
    static const int32_t steps[] = {1, 2, 5};
    int32_t unit = 1000;

    for (;; unit *= 10)
        for (size_t i = 0; i < ELEMENTS(steps); i++)
            if (us <= steps[i] * unit || unit >= 100000000)
                return steps[i] * unit;
}

static int32_t latency_top(const Detail *d)
{
    CLEANUP_FREE int32_t *sorted = calloc(d->n_latency + 1, sizeof *sorted);
    size_t n = 0;

    for (size_t i = 0; sorted && i < d->n_latency; i++)
        if (d->latency[i].latency_us >= 0)
            sorted[n++] = d->latency[i].latency_us;
    if (n == 0)
        return 1000;
    qsort(sorted, n, sizeof *sorted, compare_latency);
    return nice_top(sorted[(n - 1) * 98 / 100]);
}

static float latency_x(const Detail *d, const Plot *p, size_t i)
{
    int64_t first = d->latency[0].ts, span = MAX(d->latency[d->n_latency - 1].ts - first, 1);
    float part = (float)((double)(d->latency[i].ts - first) / (double)span);

    return p->x0 + (p->x1 - p->x0) * fminf(fmaxf(part, 0), 1);
}

static float latency_y(const Plot *p, int32_t us, int32_t top)
{
    return p->y1 - (p->y1 - p->y0) * fminf((float)us / (float)top, 1);
}

static void latency_line(const Detail *d, const Plot *p, int32_t top)
{
    GuiVec points[256];
    int n = 0;

    for (size_t i = 0; i < d->n_latency; i++) {
        int32_t us = d->latency[i].latency_us;
        float x = latency_x(d, p, i);
        if (us < 0) {
            draw_rect(x - 1, p->y1 - gui_px(6), x + 1, p->y1, theme_status(STATUS_DOWN), 0);
        } else
            points[n++] = gui_vec(x, latency_y(p, us, top));
        if (us < 0 || n == (int)ELEMENTS(points) || i + 1 == d->n_latency) {
            if (n == 1)
                draw_circle(points[0].x, points[0].y, gui_px(1.5F), theme->accent);
            else if (n > 1)
                draw_polyline(points, n, theme->accent, gui_px(1.5F));
            if (us >= 0 && n > 1) {
                points[0] = points[n - 1]; /* the line goes on from here */
                n = 1;
            } else
                n = 0;
        }
    }
}

static void latency_tooltip(const Detail *d, const Plot *p, int32_t top)
{
    size_t best = 0;
    char text[VIEW_TEXT], time[VIEW_TEXT];

    for (size_t i = 1; i < d->n_latency; i++)
        if (fabsf(latency_x(d, p, i) - gui_mouse().x) <
            fabsf(latency_x(d, p, best) - gui_mouse().x))
            best = i;
    const LatencyPoint *point = &d->latency[best];
    float x = latency_x(d, p, best);
    draw_line(x, p->y0, x, p->y1, theme->line, 1);
    if (point->latency_us >= 0)
        draw_circle(x, latency_y(p, point->latency_us, top), gui_px(3.5F), theme->accent);
    gui_tooltip_begin();
    gui_font_push(GUI_FONT_SMALL);
    gui_text(theme->dim, view_date(time, point->ts));
    gui_font_pop();
    gui_text(theme->text,
             point->latency_us >= 0 ? view_latency(text, point->latency_us) : _("no answer"));
    gui_tooltip_end();
}

void chart_latency(const Detail *d, float height)
{
    char high[VIEW_TEXT], middle[VIEW_TEXT], first[VIEW_TEXT], last[VIEW_TEXT];
    int32_t top = latency_top(d);
    const char *const labels[] = {view_latency(high, top), view_latency(middle, top / 2), "0"};
    GuiVec start = gui_cursor();
    Plot p = plot_begin(height, labels);
    bool hovered;

    gui_set_cursor(gui_vec(p.x0, p.y0));
    gui_hit("chart/latency", "", gui_vec(p.x1 - p.x0, p.y1 - p.y0), &hovered);
    if (d->n_latency) {
        draw_clip(p.x0 - 1, p.y0 - gui_px(2), p.x1 + 1, p.y1 + 1);
        latency_line(d, &p, top);
        draw_unclip();
        view_clock(first, d->latency[0].ts);
        view_clock(last, d->latency[d->n_latency - 1].ts);
        draw_text(GUI_FONT_SMALL, p.x0, p.y1 + gui_px(5), theme->faint, first);
        draw_text(GUI_FONT_SMALL, p.x1 - gui_text_size(GUI_FONT_SMALL, last).x, p.y1 + gui_px(5),
                  theme->faint, last);
        if (hovered)
            latency_tooltip(d, &p, top);
    } else {
        const char *none = _("no health request was measured");
        GuiVec z = gui_text_size(GUI_FONT_BODY, none);
        draw_text(GUI_FONT_BODY, (p.x0 + p.x1 - z.x) / 2, (p.y0 + p.y1 - z.y) / 2, theme->faint,
                  none);
    }
    gui_set_cursor(start);
    gui_dummy(gui_vec(gui_avail().x, height));
}
