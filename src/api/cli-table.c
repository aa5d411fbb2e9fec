/* The picture in the terminal.
 *
 * A state is hue and shape and word, so it is read without colours too. Widths are counted in
 * columns, and that of the states is the longest word shown, for words have other lengths in other
 * languages. Every text was cleaned where it came in, so no escape sequence of a service can reach
 * the terminal. */
#include "api/cli-table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/sentence.h"

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

/* Appends what of s fits into `width` columns and pads with spaces up to it. */
static void cell(Buffer *out, const char *s, size_t width)
{
    size_t used, len = text_fit(s, width, &used);

    buffer_append(out, s, len);
    for (; used < width; used++)
        buffer_char(out, ' ');
}

static const char *actual_word(Actual actual)
{
    static const char *const words[ACTUAL_MAX] = {
        [ACTUAL_UNKNOWN] = N_("unknown"),   [ACTUAL_UNREACHABLE] = N_("unreachable"),
        [ACTUAL_RUNNING] = N_("running"),   [ACTUAL_FINISHED] = N_("finished"),
        [ACTUAL_DEGRADED] = N_("degraded"), [ACTUAL_STARTING] = N_("starting"),
        [ACTUAL_STOPPING] = N_("stopping"), [ACTUAL_INACTIVE] = N_("inactive"),
        [ACTUAL_FAILED] = N_("failed"),     [ACTUAL_MISSING] = N_("missing"),
    };

    return (unsigned)actual < ACTUAL_MAX ? i18n_text(words[actual]) : "?";
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
        snprintf(ret, size, "%s", _("now"));
    else if (s < 60)
        snprintf(ret, size, _("%d s"), (int)s);
    else if (s < 3600)
        snprintf(ret, size, _("%d min"), (int)(s / 60));
    else if (s < 86400)
        snprintf(ret, size, _("%d h %d min"), (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(ret, size, _("%d d %d h"), (int)(s / 86400), (int)(s / 3600 % 24));
    return ret;
}

char *table_clock(int64_t ms, int64_t now_ms, char *ret, size_t size)
{
    time_t then = (time_t)(ms / 1000), today = (time_t)(now_ms / 1000);
    struct tm a, b;

    ret[0] = '\0';
    if (!localtime_r(&then, &a) || !localtime_r(&today, &b))
        return ret;
    bool same_day = a.tm_year == b.tm_year && a.tm_yday == b.tm_yday;
    strftime(ret, size, same_day ? "%H:%M" : "%Y-%m-%d %H:%M", &a);
    return ret;
}

/* "under maintenance until 14:00: new disk" */
static void maintenance_text(const Maintenance *m, int64_t now_ms, char *ret, size_t size)
{
    char clock[32];
    int n = snprintf(ret, size, _("under maintenance until %s"),
                     table_clock(m->until_ts, now_ms, clock, sizeof clock));

    if (m->comment[0] && n > 0 && (size_t)n < size)
        snprintf(ret + n, size - (size_t)n, ": %s", m->comment);
}

static void render_pc(Buffer *out, const char *pc_id, const PcRow *pc, const TableOptions *o)
{
    char age[32], sentence[SENTENCE_MAX];

    colour(out, o, BOLD);
    buffer_str(out, pc_id);
    colour(out, o, RESET);
    colour(out, o, DIM);
    if (!pc || pc->cause == CAUSE_NOT_CHECKED_YET) {
        buffer_printf(out, "  %s", _("not checked yet"));
    } else if (pc->sentence[0]) {
        buffer_printf(out, "  %s: %s", pc->reachable ? _("reachable, but") : _("unreachable"),
                      sentence_translate(sentence, pc->sentence));
    } else {
        buffer_printf(out, "  %s", pc->is_self ? _("this PC") : _("over ssh"));
        if (pc->version_uname[0])
            buffer_printf(out, " · %s", pc->version_uname);
        if (!pc->events)
            buffer_printf(out, " · %s", _("polled, no events"));
        if (pc->last_check_ts) {
            int64_t ms = o->now_ms - pc->last_check_ts;
            buffer_str(out, " · ");
            if (ms < 1000)
                buffer_str(out, _("checked now"));
            else
                buffer_printf(out, _("checked %s ago"), table_age(ms, age, sizeof age));
        }
    }
    if (pc && pc->maintenance.until_ts) {
        maintenance_text(&pc->maintenance, o->now_ms, sentence, sizeof sentence);
        buffer_printf(out, " · %s", sentence);
    }
    colour(out, o, RESET);
    buffer_char(out, '\n');
}

static void reason(char ret[static SENTENCE_MAX], const ServiceRow *r, int64_t now_ms)
{
    const char *hint = r->hints & HINT_NOT_ENABLED  ? _("not enabled: will not survive a reboot")
                       : r->hints & HINT_LINGER_OFF ? _("linger is off: it stops at logout")
                                                    : "";

    if (r->sentence[0])
        sentence_translate(ret, r->sentence);
    else
        text_copy(ret, SENTENCE_MAX, hint);
    if (r->maintenance.until_ts) {
        char both[2 * SENTENCE_MAX], why[SENTENCE_MAX];
        maintenance_text(&r->maintenance, now_ms, why, sizeof why);
        snprintf(both, sizeof both, "%s%s%s", why, ret[0] ? "; " : "", ret);
        text_copy(ret, SENTENCE_MAX, both);
    }
}

/* What is said alike of all rows. */
typedef struct Widths {
    size_t name, state;
} Widths;

static void render_service(Buffer *out, const ServiceRow *r, const Widths *w, const TableOptions *o)
{
    char text[SENTENCE_MAX], age[32];
    size_t used = 2 + 2 + w->name + w->state + 12 + 7 + 5 + 10;
    int tenths = (int)((r->latency_us + 50) / 100);

    buffer_str(out, "  ");
    colour(out, o, looks[r->light].colour);
    buffer_printf(out, "%s ", looks[r->light].symbol);
    colour(out, o, RESET);
    cell(out, r->app_id, w->name);
    colour(out, o, looks[r->light].colour);
    cell(out, actual_word(r->actual), w->state);
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
        snprintf(text, sizeof text, _("%d.%d ms"), tenths / 10, tenths % 10);
    cell(out, text, 10);
    colour(out, o, RESET);
    reason(text, r, o->now_ms);
    if (r->light != LIGHT_OK)
        colour(out, o, looks[r->light].colour);
    else
        colour(out, o, DIM);
    if (o->width == 0)
        buffer_str(out, text);
    else if (o->width > used)
        buffer_append(out, text, text_fit(text, o->width - used, NULL));
    colour(out, o, RESET);
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buffer_char(out, '\n');
}

static void count_words(Buffer *out, Light light, size_t n)
{
    switch (light) {
    case LIGHT_OK: buffer_printf(out, P_("%zu ok", "%zu ok", n), n); break;
    case LIGHT_WARN: buffer_printf(out, P_("%zu warn", "%zu warn", n), n); break;
    case LIGHT_DOWN: buffer_printf(out, P_("%zu down", "%zu down", n), n); break;
    default: buffer_printf(out, P_("%zu unknown", "%zu unknown", n), n);
    }
}

static void render_summary(Buffer *out, const ServiceRow *services, size_t n, size_t n_pcs,
                           const TableOptions *o)
{
    size_t count[LIGHT_MAX] = {0};
    const char *separator = "";
    char of_services[64], of_pcs[64];

    for (size_t i = 0; i < n; i++)
        count[services[i].light]++;
    for (int l = 0; l < LIGHT_MAX; l++) {
        if (count[l] == 0)
            continue;
        buffer_str(out, separator);
        separator = " · ";
        colour(out, o, looks[l].colour);
        buffer_printf(out, "%s ", looks[l].symbol);
        count_words(out, (Light)l, count[l]);
        colour(out, o, RESET);
    }
    colour(out, o, DIM);
    snprintf(of_services, sizeof of_services, P_("%zu service", "%zu services", n), n);
    snprintf(of_pcs, sizeof of_pcs, P_("%zu PC", "%zu PCs", n_pcs), n_pcs);
    buffer_str(out, separator);
    buffer_printf(out, _("%s on %s"), of_services, of_pcs);
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
    Widths w = {.name = 12, .state = 9};
    const char *pc_id = NULL;

    for (size_t i = 0; i < n_services; i++) {
        w.name = MAX(w.name, strlen(services[i].app_id));
        w.state = MAX(w.state, text_width(actual_word(services[i].actual)));
    }
    w.name = MIN(w.name, 32U) + 2;
    w.state += 2;
    for (size_t i = 0; i < n_services; i++) {
        if (!pc_id || strcmp(pc_id, services[i].pc_id) != 0) {
            if (pc_id)
                buffer_char(out, '\n');
            pc_id = services[i].pc_id;
            render_pc(out, pc_id, find_pc(pcs, n_pcs, pc_id), options);
        }
        render_service(out, &services[i], &w, options);
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

/* "APP on PC", or the PC alone when it is about the whole of it. */
static void name_service(Buffer *out, const char *app_id, const char *pc_id)
{
    if (app_id[0])
        buffer_printf(out, _("%s on %s"), app_id, pc_id);
    else
        buffer_str(out, pc_id);
}

void table_transition(Buffer *out, const TransitionRow *t, const TableOptions *options)
{
    time_t seconds = (time_t)(t->ts / 1000);
    struct tm tm;
    char clock[16] = "", sentence[SENTENCE_MAX];
    bool is_pc = t->app_id[0] == '\0';
    const char *to = is_pc && t->to == ACTUAL_RUNNING ? _("reachable") : actual_word(t->to);
    const char *from = is_pc && t->from == ACTUAL_RUNNING ? _("reachable") : actual_word(t->from);

    if (localtime_r(&seconds, &tm))
        strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    colour(out, options, DIM);
    buffer_printf(out, "  %s.%03d  ", clock, (int)(t->ts % 1000));
    colour(out, options, RESET);
    name_service(out, t->app_id, t->pc_id);
    buffer_printf(out, "  %s → %s", from, to);
    if (t->sentence[0])
        buffer_printf(out, ": %s", sentence_translate(sentence, t->sentence));
}

static void render_handling(Buffer *out, const AlertRow *alert, int64_t now_ms)
{
    char clock[32];

    if (alert->acked_ts) {
        buffer_str(out, " (");
        buffer_printf(out, _("acknowledged by %s"), alert->acked_by);
        if (alert->ack_comment[0])
            buffer_printf(out, ": %s", alert->ack_comment);
        buffer_char(out, ')');
    }
    if (alert->silenced_until_ts) {
        buffer_str(out, " (");
        buffer_printf(out, _("silenced until %s"),
                      table_clock(alert->silenced_until_ts, now_ms, clock, sizeof clock));
        buffer_char(out, ')');
    }
}

void table_alert(Buffer *out, const AlertRow *alert, const TableOptions *options)
{
    bool open = strcmp(alert->state, "open") == 0;
    Light light = open ? LIGHT_DOWN : LIGHT_WARN;
    size_t width = MAX(text_width(C_("alert", "open")), text_width(C_("alert", "pending"))) + 1;
    char age[32], sentence[SENTENCE_MAX];

    table_age(MAX(options->now_ms - alert->began_ts, 1000), age, sizeof age);
    buffer_str(out, "  ");
    colour(out, options, looks[light].colour);
    buffer_printf(out, "%s ", looks[light].symbol);
    cell(out, open ? C_("alert", "open") : C_("alert", "pending"), width);
    colour(out, options, RESET);
    if (options->ids)
        buffer_printf(out, "%lld  ", (long long)alert->id);
    name_service(out, alert->app_id, alert->pc_id[0] ? alert->pc_id : _("all other PCs"));
    buffer_char(out, ' ');
    buffer_printf(out, _("for %s"), age);
    buffer_printf(out, ": %s", sentence_translate(sentence, alert->sentence));
    if (alert->behind) {
        buffer_char(out, ' ');
        buffer_printf(out, P_("(%u behind it)", "(%u behind it)", alert->behind), alert->behind);
    }
    render_handling(out, alert, options->now_ms);
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
