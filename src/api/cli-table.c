/* The picture in the terminal.
 *
 * A state is hue and shape and word, so it is read without colours too. Widths are counted in
 * characters; every text was cleaned where it came in, so no escape sequence of a service can reach
 * the terminal. */
#include "api/cli-table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "basic/macro.h"
#include "basic/text.h"

#define RESET "\033[0m"
#define DIM   "\033[2m"
#define BOLD  "\033[1m"

static const struct {
    const char *symbol;
    const char *colour;
} looks[LIGHT_MAX] = {
    [LIGHT_OK] = {"●", "\033[32m"},
    [LIGHT_WARN] = {"▲", "\033[33m"},
    [LIGHT_DOWN] = {"■", "\033[31m"},
    [LIGHT_UNKNOWN] = {"○", "\033[90m"},
};

static size_t characters(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += (*s & 0xC0) != 0x80;
    return n;
}

/* Appends at most `width` characters of s and pads with spaces up to it. */
static void cell(Buffer *out, const char *s, size_t width)
{
    size_t n = 0;

    for (; *s && (n < width || (*s & 0xC0) == 0x80); s++) {
        n += (*s & 0xC0) != 0x80;
        buffer_char(out, *s);
    }
    for (; n < width; n++)
        buffer_char(out, ' ');
}

static void colour(Buffer *out, const TableOptions *o, const char *code)
{
    if (o->colour)
        buffer_str(out, o->stale && strcmp(code, RESET) != 0 ? DIM : code);
}

char *table_age(int64_t ms, char *ret, size_t size)
{
    int64_t s = MAX(ms, 0) / 1000;

    if (s < 1)
        snprintf(ret, size, "now");
    else if (s < 60)
        snprintf(ret, size, "%d s", (int)s);
    else if (s < 3600)
        snprintf(ret, size, "%d min", (int)(s / 60));
    else if (s < 86400)
        snprintf(ret, size, "%d h %d min", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(ret, size, "%lld d %d h", (long long)(s / 86400), (int)(s / 3600 % 24));
    return ret;
}

static void render_pc(Buffer *out, const char *pc_id, const PcRow *pc, const TableOptions *o)
{
    char age[32];

    colour(out, o, BOLD);
    buffer_str(out, pc_id);
    colour(out, o, RESET);
    colour(out, o, DIM);
    if (!pc || pc->cause == CAUSE_NOT_CHECKED_YET) {
        buffer_str(out, "  not checked yet");
    } else if (pc->sentence[0]) {
        buffer_printf(out, "  %s: %s", pc->reachable ? "reachable, but" : "unreachable",
                      pc->sentence);
    } else {
        buffer_printf(out, "  %s", pc->is_self ? "this PC" : "over ssh");
        if (pc->version_uname[0])
            buffer_printf(out, " · %s", pc->version_uname);
        if (!pc->events)
            buffer_str(out, " · polled, no events");
        if (pc->last_check_ts) {
            table_age(o->now_ms - pc->last_check_ts, age, sizeof age);
            buffer_printf(out, " · checked %s%s", age, strcmp(age, "now") == 0 ? "" : " ago");
        }
    }
    colour(out, o, RESET);
    buffer_char(out, '\n');
}

static void reason(char *ret, size_t size, const ServiceRow *r)
{
    text_copy(ret, size, r->sentence);
    if (r->sentence[0])
        return;
    if (r->hints & HINT_NOT_ENABLED)
        text_copy(ret, size, "not enabled: will not survive a reboot");
    else if (r->hints & HINT_LINGER_OFF)
        text_copy(ret, size, "linger is off: stops at logout");
}

static void render_service(Buffer *out, const ServiceRow *r, size_t name_width,
                           const TableOptions *o)
{
    char text[SENTENCE_MAX], age[32];
    size_t used = 2 + 2 + name_width + 2 + 11 + 12 + 7 + 5 + 10;

    buffer_str(out, "  ");
    colour(out, o, looks[r->light].colour);
    buffer_printf(out, "%s ", looks[r->light].symbol);
    colour(out, o, RESET);
    cell(out, r->app_id, name_width + 2);
    colour(out, o, looks[r->light].colour);
    cell(out, actual_to_string(r->actual), 11);
    colour(out, o, RESET);
    colour(out, o, DIM);
    cell(out, r->since_ts ? table_age(o->now_ms - r->since_ts, age, sizeof age) : "", 12);
    text[0] = '\0';
    if (r->port)
        snprintf(text, sizeof text, ":%u", r->port);
    cell(out, text, 7);
    text[0] = '\0';
    if (r->http_status)
        snprintf(text, sizeof text, "%d", r->http_status);
    cell(out, text, 5);
    text[0] = '\0';
    if (r->latency_us >= 0)
        snprintf(text, sizeof text, "%.1f ms", r->latency_us / 1000.0);
    cell(out, text, 10);
    colour(out, o, RESET);
    reason(text, sizeof text, r);
    if (r->light != LIGHT_OK)
        colour(out, o, looks[r->light].colour);
    else
        colour(out, o, DIM);
    if (o->width == 0)
        buffer_str(out, text);
    else if (o->width > used)
        cell(out, text, MIN(characters(text), o->width - used));
    colour(out, o, RESET);
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buffer_char(out, '\n');
}

static void render_summary(Buffer *out, const ServiceRow *services, size_t n, size_t n_pcs,
                           const TableOptions *o)
{
    static const char *const words[LIGHT_MAX] = {"ok", "warn", "down", "unknown"};
    size_t count[LIGHT_MAX] = {0};
    const char *separator = "";

    for (size_t i = 0; i < n; i++)
        count[services[i].light]++;
    for (int l = 0; l < LIGHT_MAX; l++) {
        if (count[l] == 0)
            continue;
        buffer_str(out, separator);
        separator = " · ";
        colour(out, o, looks[l].colour);
        buffer_printf(out, "%s %zu %s", looks[l].symbol, count[l], words[l]);
        colour(out, o, RESET);
    }
    colour(out, o, DIM);
    buffer_printf(out, "%s%zu service%s on %zu PC%s", separator, n, n == 1 ? "" : "s", n_pcs,
                  n_pcs == 1 ? "" : "s");
    colour(out, o, RESET);
    buffer_char(out, '\n');
}

static const PcRow *find_pc(const PcRow *pcs, size_t n, const char *pc_id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(pcs[i].pc_id, pc_id) == 0)
            return &pcs[i];
    return NULL;
}

void table_render(Buffer *out, const ServiceRow *services, size_t n_services, const PcRow *pcs,
                  size_t n_pcs, const TableOptions *options)
{
    size_t name_width = 12;
    const char *pc_id = NULL;

    for (size_t i = 0; i < n_services; i++)
        name_width = MAX(name_width, strlen(services[i].app_id));
    name_width = MIN(name_width, 32U);
    for (size_t i = 0; i < n_services; i++) {
        if (!pc_id || strcmp(pc_id, services[i].pc_id) != 0) {
            if (pc_id)
                buffer_char(out, '\n');
            pc_id = services[i].pc_id;
            render_pc(out, pc_id, find_pc(pcs, n_pcs, pc_id), options);
        }
        render_service(out, &services[i], name_width, options);
    }
    for (size_t i = 0; i < n_pcs; i++) {
        if (pcs[i].services)
            continue;
        buffer_char(out, '\n');
        render_pc(out, pcs[i].pc_id, &pcs[i], options);
    }
    buffer_char(out, '\n');
    render_summary(out, services, n_services, n_pcs, options);
}

void table_transition(Buffer *out, const TransitionRow *t, const TableOptions *options)
{
    time_t seconds = (time_t)(t->ts / 1000);
    struct tm tm;
    char clock[16] = "";
    bool is_pc = t->app_id[0] == '\0';
    const char *to = is_pc && t->to == ACTUAL_RUNNING ? "reachable" : actual_to_string(t->to);
    const char *from = is_pc && t->from == ACTUAL_RUNNING ? "reachable" : actual_to_string(t->from);

    if (localtime_r(&seconds, &tm))
        strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    colour(out, options, DIM);
    buffer_printf(out, "  %s.%03d  ", clock, (int)(t->ts % 1000));
    colour(out, options, RESET);
    buffer_printf(out, "%s%s%s  %s → %s", is_pc ? "" : t->app_id, is_pc ? "" : " on ", t->pc_id,
                  from, to);
    if (t->sentence[0])
        buffer_printf(out, ": %s", t->sentence);
}

void table_alert(Buffer *out, const AlertRow *alert, const TableOptions *options)
{
    bool open = strcmp(alert->state, "open") == 0;
    Light light = open ? LIGHT_DOWN : LIGHT_WARN;
    char age[32];

    table_age(options->now_ms - alert->began_ts, age, sizeof age);
    buffer_str(out, "  ");
    colour(out, options, looks[light].colour);
    buffer_printf(out, "%s %-8s", looks[light].symbol, alert->state);
    colour(out, options, RESET);
    buffer_printf(out, "%s%s%s for %s: %s", alert->app_id, alert->app_id[0] ? " on " : "",
                  alert->pc_id[0] ? alert->pc_id : "all other PCs", age, alert->sentence);
    if (alert->behind)
        buffer_printf(out, " (%u behind it)", alert->behind);
}

int table_exit_code(const ServiceRow *services, size_t n)
{
    int code = 0;

    for (size_t i = 0; i < n; i++) {
        if (services[i].light == LIGHT_WARN || services[i].light == LIGHT_DOWN)
            return 1;
        if (services[i].light == LIGHT_UNKNOWN)
            code = 3;
    }
    return code;
}
