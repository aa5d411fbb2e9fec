/* The words and numbers of the window.
 *
 * Ages: both ends are put on the same grid of 10 s (or 60 s) before they are subtracted. So all
 * ages flip together, and an age is off by less than one step. A value is never called younger than
 * "<10 s".
 *
 * Sorting works on indexes with qsort_r and falls back to the model's own order (PC, app), so equal
 * rows keep still. */
#include "monitor/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "common/sentence.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* ---- words ---- */

Status view_status(const ServiceRow *row)
{
    if (!row)
        return STATUS_ABSENT;
    switch (row->light) {
    case LIGHT_OK: return row->expected == EXPECTED_STOPPED ? STATUS_OFF : STATUS_OK;
    case LIGHT_WARN:
        return row->actual == ACTUAL_STARTING || row->actual == ACTUAL_STOPPING ? STATUS_BUSY
                                                                                : STATUS_WARN;
    case LIGHT_DOWN: return STATUS_DOWN;
    default: return STATUS_UNKNOWN;
    }
}

Status view_pc_status(const PcRow *row)
{
    if (!row->reachable)
        return STATUS_UNKNOWN;
    return row->cause == CAUSE_NONE ? STATUS_OK : STATUS_WARN;
}

Status view_actual_status(Actual actual, Expected expected)
{
    switch (actual) {
    case ACTUAL_RUNNING: return expected == EXPECTED_STOPPED ? STATUS_WARN : STATUS_OK;
    case ACTUAL_FINISHED: return expected == EXPECTED_STOPPED ? STATUS_OFF : STATUS_OK;
    case ACTUAL_DEGRADED: return STATUS_WARN;
    case ACTUAL_STARTING:
    case ACTUAL_STOPPING: return STATUS_BUSY;
    case ACTUAL_INACTIVE:
    case ACTUAL_FAILED:
    case ACTUAL_MISSING: return expected == EXPECTED_STOPPED ? STATUS_OFF : STATUS_DOWN;
    default: return STATUS_UNKNOWN;
    }
}

static int severity(Status s)
{
    static const int order[STATUS_MAX] = {
        [STATUS_ABSENT] = 0,  [STATUS_OFF] = 1,  [STATUS_OK] = 2,  [STATUS_BUSY] = 3,
        [STATUS_UNKNOWN] = 4, [STATUS_WARN] = 5, [STATUS_DOWN] = 6};

    return order[s];
}

Status view_worst(Status a, Status b)
{
    return severity(a) >= severity(b) ? a : b;
}

const char *view_status_word(Status status)
{
    static const char *const words[STATUS_MAX] = {
        [STATUS_OK] = N_("Healthy"),      [STATUS_OFF] = N_("Off"),
        [STATUS_WARN] = N_("Degraded"),   [STATUS_BUSY] = N_("Changing"),
        [STATUS_DOWN] = N_("Down"),       [STATUS_UNKNOWN] = N_("Unknown"),
        [STATUS_ABSENT] = N_("Not here"),
    };

    return i18n_text(words[status]);
}

const char *view_actual_word(Actual actual)
{
    static const char *const words[ACTUAL_MAX] = {
        [ACTUAL_UNKNOWN] = N_("Unknown"),   [ACTUAL_UNREACHABLE] = N_("Unreachable"),
        [ACTUAL_RUNNING] = N_("Running"),   [ACTUAL_FINISHED] = N_("Finished"),
        [ACTUAL_DEGRADED] = N_("Degraded"), [ACTUAL_STARTING] = N_("Starting"),
        [ACTUAL_STOPPING] = N_("Stopping"), [ACTUAL_INACTIVE] = N_("Inactive"),
        [ACTUAL_FAILED] = N_("Failed"),     [ACTUAL_MISSING] = N_("Missing"),
    };

    return (unsigned)actual < ACTUAL_MAX ? i18n_text(words[actual]) : "?";
}

const char *view_pc_actual_word(Actual actual)
{
    switch (actual) {
    case ACTUAL_RUNNING: return _("Reachable");
    case ACTUAL_UNREACHABLE: return _("Unreachable");
    default: return _("Unknown");
    }
}

const char *view_expected_word(Expected expected)
{
    return expected == EXPECTED_STOPPED ? _("Stopped") : _("Running");
}

const char *view_sentence(char ret[static SENTENCE_MAX], const char *sentence)
{
    return sentence_translate(ret, sentence);
}

/* ---- time ---- */

static void write_span(char ret[static VIEW_TEXT], int64_t ms)
{
    int64_t minutes = ms / MINUTE;

    if (ms < MINUTE)
        snprintf(ret, VIEW_TEXT, _("%d s"), (int)(ms / SECOND));
    else if (ms < HOUR)
        snprintf(ret, VIEW_TEXT, _("%d min"), (int)minutes);
    else if (ms < 10 * HOUR)
        snprintf(ret, VIEW_TEXT, _("%d h %d min"), (int)(minutes / 60), (int)(minutes % 60));
    else if (ms < DAY)
        snprintf(ret, VIEW_TEXT, _("%d h"), (int)(minutes / 60));
    else if (ms < 100 * DAY)
        snprintf(ret, VIEW_TEXT, _("%d d %d h"), (int)(ms / DAY), (int)(ms % DAY / HOUR));
    else
        snprintf(ret, VIEW_TEXT, _("%d d"), (int)MIN(ms / DAY, 99999));
}

const char *view_age(char ret[static VIEW_TEXT], int64_t now_ms, int64_t ts)
{
    const int64_t fine = 10 * SECOND;

    if (ts <= 0) {
        snprintf(ret, VIEW_TEXT, "%s", _("never"));
        return ret;
    }
    int64_t age = now_ms / fine * fine - ts / fine * fine;
    if (age >= MINUTE)
        age = MAX(now_ms / MINUTE * MINUTE - ts / MINUTE * MINUTE, MINUTE);
    if (age < fine)
        snprintf(ret, VIEW_TEXT, "%s", _("<10 s"));
    else
        write_span(ret, age);
    return ret;
}

const char *view_duration(char ret[static VIEW_TEXT], int64_t ms)
{
    if (ms >= 0 && ms < SECOND)
        snprintf(ret, VIEW_TEXT, _("%d ms"), (int)ms);
    else
        write_span(ret, MAX(ms, 0));
    return ret;
}

const char *view_latency(char ret[static VIEW_TEXT], int64_t us)
{
    if (us < 0)
        snprintf(ret, VIEW_TEXT, "\u2014");
    else if (us < 10000)
        snprintf(ret, VIEW_TEXT, _("%d.%d ms"), (int)(us / 1000), (int)(us % 1000 / 100));
    else
        snprintf(ret, VIEW_TEXT, _("%d ms"), (int)(us / 1000));
    return ret;
}

const char *view_percent(char ret[static VIEW_TEXT], double ratio)
{
    int hundredths = (int)(ratio * 10000 + 0.5);

    if (ratio < 0 || ratio > 1)
        snprintf(ret, VIEW_TEXT, "\u2014");
    else if (hundredths == 10000 || hundredths == 0)
        snprintf(ret, VIEW_TEXT, "%d %%", hundredths / 100);
    else
        snprintf(ret, VIEW_TEXT, _("%d.%02d %%"), hundredths / 100, hundredths % 100);
    return ret;
}

static struct tm local(int64_t ts)
{
    struct tm tm = {0};
    time_t seconds = (time_t)(ts / 1000);

    localtime_r(&seconds, &tm);
    return tm;
}

static const char *month_name(const struct tm *tm)
{
    static const char *const names[] = {N_("Jan"), N_("Feb"), N_("Mar"), N_("Apr"),
                                        N_("May"), N_("Jun"), N_("Jul"), N_("Aug"),
                                        N_("Sep"), N_("Oct"), N_("Nov"), N_("Dec")};

    return i18n_text(names[(unsigned)tm->tm_mon % 12]);
}

const char *view_clock(char ret[static VIEW_TEXT], int64_t ts)
{
    struct tm tm = local(ts);

    snprintf(ret, VIEW_TEXT, "%02d:%02d:%02d", tm.tm_hour, tm.tm_min, tm.tm_sec);
    return ret;
}

const char *view_date(char ret[static VIEW_TEXT], int64_t ts)
{
    struct tm tm = local(ts);

    snprintf(ret, VIEW_TEXT, "%2d %s %02d:%02d:%02d", tm.tm_mday, month_name(&tm), tm.tm_hour,
             tm.tm_min, tm.tm_sec);
    return ret;
}

const char *view_day(char ret[static VIEW_TEXT], int64_t ts)
{
    static const char *const names[] = {N_("Sun"), N_("Mon"), N_("Tue"), N_("Wed"),
                                        N_("Thu"), N_("Fri"), N_("Sat")};
    struct tm tm = local(ts);

    snprintf(ret, VIEW_TEXT, "%s %d %s", i18n_text(names[(unsigned)tm.tm_wday % 7]), tm.tm_mday,
             month_name(&tm));
    return ret;
}

int64_t view_next_tick(int64_t now_ms)
{
    return (now_ms / (10 * SECOND) + 1) * 10 * SECOND;
}

/* ---- counts ---- */

Counts view_counts(const Model *m)
{
    Counts c = {.pcs = m->n_pcs, .services = m->n_services};

    for (size_t i = 0; i < m->n_pcs; i++)
        c.pcs_reachable += m->pcs[i].reachable;
    for (size_t i = 0; i < m->n_services; i++) {
        Status s = view_status(&m->services[i]);
        c.status[s]++;
        c.attention += s != STATUS_OK && s != STATUS_OFF;
        c.transitions_24h += m->services[i].transitions_24h;
    }
    for (size_t i = 0; i < m->n_alerts; i++)
        c.open_alerts += m->alerts[i].state == ALERT_OPEN;
    return c;
}

Status view_pc_worst(const Model *m, size_t pc)
{
    Status worst = m->pcs[pc].reachable ? view_pc_status(&m->pcs[pc]) : STATUS_UNKNOWN;

    for (size_t i = m->pc_first[pc]; i < m->pc_first[pc + 1]; i++)
        worst = view_worst(worst, view_status(&m->services[i]));
    return worst;
}

Status view_app_worst(const Model *m, size_t app)
{
    Status worst = STATUS_ABSENT;

    for (size_t p = 0; p < m->n_pcs; p++)
        worst = view_worst(worst, view_status(model_cell(m, p, app)));
    return worst;
}

/* ---- filters ---- */

/* The next letter, in lower case: ASCII, and the Latin-1 letters in their UTF-8 form. */
static unsigned next_letter(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;

    if (p[0] == 0xC3 && p[1] >= 0x80) {
        *s += 2;
        return 0xC300U + (p[1] < 0x9F ? p[1] + 0x20U : p[1]);
    }
    *s += 1;
    return p[0] >= 'A' && p[0] <= 'Z' ? p[0] + 32U : p[0];
}

bool view_matches(const char *haystack, const char *needle)
{
    for (const char *start = haystack;; next_letter(&start)) {
        const char *h = start, *n = needle;
        while (*n && *h) {
            const char *h2 = h, *n2 = n;
            if (next_letter(&h2) != next_letter(&n2))
                break;
            h = h2;
            n = n2;
        }
        if (!*n)
            return true;
        if (!*start)
            return false;
    }
}

bool view_row_matches(const ServiceRow *row, const char *filter)
{
    return !filter[0] || view_matches(row->app_id, filter) || view_matches(row->title, filter) ||
           view_matches(row->pc_id, filter) || view_matches(row->tag, filter) ||
           view_matches(row->sentence, filter) ||
           view_matches(view_actual_word(row->actual), filter) ||
           view_matches(view_status_word(view_status(row)), filter);
}

bool view_transition_matches(const Model *m, const Transition *t, const char *filter)
{
    const TransitionRow *row = &t->row;
    const ServiceRow *service =
        filter[0] && row->app_id[0] ? model_service(m, row->app_id, row->pc_id) : NULL;

    return !filter[0] || view_matches(row->app_id, filter) || view_matches(row->pc_id, filter) ||
           view_matches(row->sentence, filter) ||
           view_matches(view_actual_word(row->from), filter) ||
           view_matches(view_actual_word(row->to), filter) ||
           (service && view_matches(service->title, filter));
}

/* ---- orders ---- */

typedef struct OrderContext {
    const Model *m;
    ServiceOrder order;
    bool descending;
} OrderContext;

static int compare_numbers(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_rows(const ServiceRow *x, const ServiceRow *y, ServiceOrder order)
{
    switch (order) {
    case ORDER_STATUS: return compare_numbers(severity(view_status(y)), severity(view_status(x)));
    case ORDER_APP: return strcmp(x->app_id, y->app_id);
    case ORDER_PC: return strcmp(x->pc_id, y->pc_id);
    case ORDER_SINCE: return compare_numbers(y->since_ts, x->since_ts);
    case ORDER_CHANGES: return compare_numbers(x->transitions_24h, y->transitions_24h);
    case ORDER_LATENCY: return compare_numbers(x->latency_us, y->latency_us);
    case ORDER_PORT: return compare_numbers(x->port, y->port);
    default: return 0;
    }
}

static int compare_indexes(const void *a, const void *b, void *userdata)
{
    const OrderContext *c = userdata;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    int r = compare_rows(&c->m->services[i], &c->m->services[k], c->order);

    r = c->descending ? -r : r;
    return r ? r : i < k ? -1 : i > k;
}

static int compare_attention(const void *a, const void *b, void *userdata)
{
    const OrderContext *c = userdata;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    int r = compare_rows(&c->m->services[i], &c->m->services[k], ORDER_STATUS);

    r = r ? r : compare_rows(&c->m->services[i], &c->m->services[k], ORDER_SINCE);
    return r ? r : i < k ? -1 : i > k;
}

size_t view_attention(const Model *m, uint32_t *ret)
{
    OrderContext c = {.m = m};
    size_t n = 0;

    for (size_t i = 0; i < m->n_services; i++) {
        Status s = view_status(&m->services[i]);
        if (s != STATUS_OK && s != STATUS_OFF)
            ret[n++] = (uint32_t)i;
    }
    qsort_r(ret, n, sizeof *ret, compare_attention, &c);
    return n;
}

size_t view_services(const Model *m, const char *filter, const char *pc_id, ServiceOrder order,
                     bool descending, uint32_t *ret)
{
    OrderContext c = {.m = m, .order = order, .descending = descending};
    size_t n = 0;

    for (size_t i = 0; i < m->n_services; i++) {
        const ServiceRow *row = &m->services[i];
        if ((!pc_id || strcmp(row->pc_id, pc_id) == 0) && view_row_matches(row, filter))
            ret[n++] = (uint32_t)i;
    }
    qsort_r(ret, n, sizeof *ret, compare_indexes, &c);
    return n;
}

size_t view_transitions(const Model *m, const char *filter, int64_t until, uint32_t *ret)
{
    int64_t newest = m->transitions_seen;
    size_t n = 0;

    for (size_t i = m->n_transitions; i-- > 0; newest--)
        if (newest <= until && view_transition_matches(m, &m->transitions[i], filter))
            ret[n++] = (uint32_t)i;
    return n;
}

static int compare_alerts(const void *a, const void *b, void *userdata)
{
    const Model *m = userdata;
    const Alert *x = &m->alerts[*(const uint32_t *)a], *y = &m->alerts[*(const uint32_t *)b];
    bool x_closed = x->state == ALERT_CLOSED, y_closed = y->state == ALERT_CLOSED;

    if (x_closed != y_closed)
        return x_closed ? 1 : -1;
    int r = compare_numbers(y->since_ts, x->since_ts);
    return r ? r : strcmp(x->id, y->id);
}

size_t view_alerts(const Model *m, bool with_closed, uint32_t *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_alerts; i++)
        if (with_closed || m->alerts[i].state != ALERT_CLOSED)
            ret[n++] = (uint32_t)i;
    qsort_r(ret, n, sizeof *ret, compare_alerts, (void *)m);
    return n;
}

int64_t view_all_well_since(const Model *m)
{
    int64_t last = 0;

    for (size_t i = 0; i < m->n_alerts; i++)
        last = MAX(last, m->alerts[i].closed_ts);
    return last;
}

const char *view_maintenance(char ret[static SENTENCE_MAX], const Maintenance *m)
{
    char until[VIEW_TEXT];

    ret[0] = '\0';
    if (!m->until_ts)
        return ret;
    int n =
        snprintf(ret, SENTENCE_MAX, _("under maintenance until %s"), view_date(until, m->until_ts));
    if (m->comment[0] && n > 0 && n < SENTENCE_MAX)
        snprintf(ret + n, SENTENCE_MAX - (size_t)n, ": %s", m->comment);
    return ret;
}
