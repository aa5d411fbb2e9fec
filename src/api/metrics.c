/* The OpenMetrics writer.
 *
 * OpenMetrics wants all samples of a family in one block behind its TYPE, UNIT and HELP, so the
 * fleet is walked once per family. One table says what there is; a family is a row with a function
 * that yields one number of one service, PC or daemon, and ABSENT where nothing is known. Only the
 * histogram and the state set write more than one line per service.
 *
 * Ten thousand services are some 200,000 lines, on the loop: hence no printf here, and a body that
 * is held for a second, so that scraping in a loop costs what one scrape a second costs.
 *
 * There is no timestamp on any sample and no _created: the daemon's restart shows as the reset of
 * its counters, which Prometheus understands. */
#include "api/metrics.h"

#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define PREFIX "services_monitor_"
#define ABSENT UINT64_MAX

typedef enum MetricType { TYPE_GAUGE, TYPE_COUNTER } MetricType;

/* Exactly one of the functions is set; unit "seconds": they yield microseconds. */
typedef struct Family {
    const char *name; /* behind PREFIX, without _total */
    MetricType type;
    const char *unit; /* "": none; the name ends in it */
    const char *help;
    uint64_t (*of_service)(const Service *s);
    uint64_t (*of_pc)(const FleetPc *pc);
    uint64_t (*of_daemon)(const MetricsDaemon *d);
} Family;

/* ---- text ---- */

/* Byte by byte only for text that should not exist: ids have passed name_is_id(). */
static void write_repaired(Buffer *out, const char *value)
{
    size_t left = strlen(value);

    while (left) {
        uint32_t c;
        size_t n = text_decode(value, left, &c);
        if (n == 0)
            buffer_str(out, "\xef\xbf\xbd");
        else if (*value == '\n')
            buffer_str(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buffer_append(out, (const char[]){'\\', *value}, 2);
        else
            buffer_append(out, value, n);
        value += MAX(n, (size_t)1);
        left -= MAX(n, (size_t)1);
    }
}

void metrics_write_label(Buffer *out, const char *value)
{
    size_t len = strlen(value);

    buffer_char(out, '"');
    if (strcspn(value, "\"\\\n") == len && text_is_utf8(value, len))
        buffer_append(out, value, len);
    else
        write_repaired(out, value);
    buffer_char(out, '"');
}

static void write_uint(Buffer *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buffer_append(out, digits + at, sizeof digits - at);
}

/* "0.25", "1.0": without trailing zeros, as the canonical form of a bucket's bound wants it. */
static void write_seconds(Buffer *out, uint64_t us)
{
    char fraction[6];
    size_t len = sizeof fraction;
    uint64_t rest = us % USEC_PER_SEC;

    for (size_t i = sizeof fraction; i-- > 0; rest /= 10)
        fraction[i] = (char)('0' + rest % 10);
    while (len > 1 && fraction[len - 1] == '0')
        len--;
    write_uint(out, us / USEC_PER_SEC);
    buffer_char(out, '.');
    buffer_append(out, fraction, len);
}

static void write_head(Buffer *out, const char *name, const char *type, const char *unit,
                       const char *help)
{
    const char *const lines[][2] = {{"# TYPE ", type}, {"# UNIT ", unit}, {"# HELP ", help}};

    for (size_t i = 0; i < ELEMENTS(lines); i++) {
        if (!*lines[i][1])
            continue;
        buffer_str(out, lines[i][0]);
        buffer_str(out, PREFIX);
        buffer_str(out, name);
        buffer_char(out, ' ');
        buffer_str(out, lines[i][1]);
        buffer_char(out, '\n');
    }
}

static void write_name(Buffer *out, const char *name, const char *suffix)
{
    buffer_str(out, PREFIX);
    buffer_str(out, name);
    buffer_str(out, suffix);
}

/* Up to the last value, without the closing brace. */
static void write_labels(Buffer *out, const Service *s)
{
    buffer_str(out, "{app=");
    metrics_write_label(out, s->want.app_id);
    buffer_str(out, ",pc=");
    metrics_write_label(out, s->pc->pc_id);
}

/* ---- one number of a service ---- */

static uint64_t service_up(const Service *s)
{
    return s->track.shown.light == LIGHT_UNKNOWN || !s->pc->facts.known
               ? ABSENT
               : s->track.shown.light == LIGHT_OK;
}

/* Of a PC that does not answer the last facts are kept, but they are no measurement of now. */
static uint64_t unit_active(const Service *s)
{
    ActiveState state = s->facts.unit.active;
    const PcFacts *pc = &s->pc->facts;

    if (!s->want.unit || !pc->reachable || pc->scope_cause[s->want.scope] != CAUSE_NONE ||
        state == ACTIVE_UNKNOWN)
        return ABSENT;
    return state == ACTIVE_ACTIVE || state == ACTIVE_RELOADING;
}

static uint64_t port_listening(const Service *s)
{
    if (!s->want.port || !s->pc->facts.reachable || !s->facts.port.looked)
        return ABSENT;
    return s->facts.port.listening;
}

static uint64_t restarts(const Service *s)
{
    return s->want.unit ? s->track.runs : ABSENT;
}

static uint64_t transitions(const Service *s)
{
    return s->tally.transitions;
}

static uint64_t no_answer(const Service *s)
{
    return s->want.health ? s->tally.no_answer : ABSENT;
}

/* ---- of a PC ---- */

static uint64_t pc_reachable(const FleetPc *pc)
{
    return pc->facts.known ? pc->facts.reachable : ABSENT;
}

static uint64_t pc_lag(const FleetPc *pc)
{
    bool measured = pc->facts.reachable && pc->last_check_ms && pc->lag_us >= 0;

    return measured ? (uint64_t)pc->lag_us : ABSENT;
}

/* ---- of the daemon ---- */

static uint64_t cycle_lag(const MetricsDaemon *d)
{
    return d->late_us;
}

static uint64_t longest_turn(const MetricsDaemon *d)
{
    return d->turn_us;
}

static uint64_t queue_bytes(const MetricsDaemon *d)
{
    return d->store.queue_bytes;
}

static uint64_t rows_written(const MetricsDaemon *d)
{
    return d->store.rows_written;
}

static uint64_t failed_commits(const MetricsDaemon *d)
{
    return d->store.failed_commits;
}

static uint64_t dropped_checks(const MetricsDaemon *d)
{
    return d->store.dropped_checks;
}

static uint64_t dropped_others(const MetricsDaemon *d)
{
    return d->store.dropped_others;
}

static uint64_t clients(const MetricsDaemon *d)
{
    return d->clients;
}

static uint64_t cut_off(const MetricsDaemon *d)
{
    return d->cut_off;
}

static uint64_t notices(const MetricsDaemon *d)
{
    return d->notices;
}

static const Family families[] = {
    {.name = "service_up",
     .help = "1: the service is as it is expected to be, 0: it is not. Absent while unknown.",
     .of_service = service_up},
    {.name = "unit_active",
     .help = "1: systemd says active or reloading, 0: another state.",
     .of_service = unit_active},
    {.name = "port_listening",
     .help = "1: something listens on the service's port, 0: nothing does.",
     .of_service = port_listening},
    {.name = "service_restarts",
     .type = TYPE_COUNTER,
     .help = "Runs of the unit seen beyond the first.",
     .of_service = restarts},
    {.name = "service_transitions",
     .type = TYPE_COUNTER,
     .help = "Changes of state that went into history.",
     .of_service = transitions},
    {.name = "health_no_answer",
     .type = TYPE_COUNTER,
     .help = "Health requests without a usable answer; they are not in the latency histogram.",
     .of_service = no_answer},
    {.name = "pc_reachable", .help = "1: the PC answers, 0: it does not.", .of_pc = pc_reachable},
    {.name = "pc_lag_seconds",
     .unit = "seconds",
     .help = "How long the PC's last answer to a full look took.",
     .of_pc = pc_lag},
    {.name = "cycle_lag_seconds",
     .unit = "seconds",
     .help = "How late the most belated look of the last one to two intervals started.",
     .of_daemon = cycle_lag},
    {.name = "loop_turn_seconds",
     .unit = "seconds",
     .help = "The longest turn of the event loop in the last one to two minutes.",
     .of_daemon = longest_turn},
    {.name = "store_queue_bytes",
     .unit = "bytes",
     .help = "History that waits in memory for the disk.",
     .of_daemon = queue_bytes},
    {.name = "store_rows_written",
     .type = TYPE_COUNTER,
     .help = "Rows of history that are on disk.",
     .of_daemon = rows_written},
    {.name = "store_failed_commits",
     .type = TYPE_COUNTER,
     .help = "Transactions that failed and were or will be tried again.",
     .of_daemon = failed_commits},
    {.name = "store_dropped_checks",
     .type = TYPE_COUNTER,
     .help = "Checks that never reached the disk for lack of room.",
     .of_daemon = dropped_checks},
    {.name = "store_dropped_others",
     .type = TYPE_COUNTER,
     .help = "Transitions, hours and incidents that never reached the disk for lack of room.",
     .of_daemon = dropped_others},
    {.name = "websocket_clients", .help = "WebSocket clients now.", .of_daemon = clients},
    {.name = "websocket_cut_off",
     .type = TYPE_COUNTER,
     .help = "WebSocket clients that were cut off because they read too slowly.",
     .of_daemon = cut_off},
    {.name = "notices_waiting", .help = "Notices that wait to be sent.", .of_daemon = notices},
};

/* ---- families ---- */

static void write_value(Buffer *out, const Family *x, uint64_t value)
{
    buffer_char(out, ' ');
    if (x->unit && strcmp(x->unit, "seconds") == 0)
        write_seconds(out, value);
    else
        write_uint(out, value);
    buffer_char(out, '\n');
}

static const char *suffix_of(const Family *x)
{
    return x->type == TYPE_COUNTER ? "_total" : "";
}

static void write_services(Buffer *out, const Family *x, const FleetPc *pc)
{
    for (size_t i = 0; i < pc->n_services; i++) {
        uint64_t value = x->of_service(pc->services[i]);
        if (value == ABSENT)
            continue;
        write_name(out, x->name, suffix_of(x));
        write_labels(out, pc->services[i]);
        buffer_char(out, '}');
        write_value(out, x, value);
    }
}

static void write_pc(Buffer *out, const Family *x, const FleetPc *pc)
{
    uint64_t value = x->of_pc(pc);

    if (value == ABSENT)
        return;
    write_name(out, x->name, suffix_of(x));
    buffer_str(out, "{pc=");
    metrics_write_label(out, pc->pc_id);
    buffer_char(out, '}');
    write_value(out, x, value);
}

static void write_family(Buffer *out, const Family *x, const Fleet *f, const MetricsDaemon *d)
{
    write_head(out, x->name, x->type == TYPE_COUNTER ? "counter" : "gauge", x->unit ? x->unit : "",
               x->help);
    if (x->of_daemon) {
        write_name(out, x->name, suffix_of(x));
        write_value(out, x, x->of_daemon(d));
        return;
    }
    for (size_t i = 0; i < fleet_n_pcs(f); i++) {
        if (x->of_pc)
            write_pc(out, x, fleet_pc_at(f, i));
        else
            write_services(out, x, fleet_pc_at(f, i));
    }
}

/* A state set: its own name is the label, as the format asks for. */
static void write_light(Buffer *out, const Service *s, const Buffer *labels)
{
    Light shown = s->pc->facts.known ? s->track.shown.light : LIGHT_UNKNOWN;

    for (Light light = 0; light < LIGHT_MAX; light++) {
        write_name(out, "service_light", "");
        buffer_append(out, labels->data, labels->len);
        buffer_str(out, "," PREFIX "service_light=");
        metrics_write_label(out, light_to_string(light));
        buffer_str(out, light == shown ? "} 1\n" : "} 0\n");
    }
}

static void write_part(Buffer *out, const char *suffix, const Buffer *labels, const char *le)
{
    write_name(out, "health_latency_seconds", suffix);
    buffer_append(out, labels->data, labels->len);
    buffer_str(out, le);
}

static void write_latency(Buffer *out, const Service *s, const Buffer *labels)
{
    const ServiceTally *t = &s->tally;
    uint64_t count = 0;

    if (!s->want.health)
        return;
    for (size_t i = 0; i < LATENCY_BOUNDS; i++) {
        count += t->latency[i];
        write_part(out, "_bucket", labels, ",le=\"");
        write_seconds(out, fleet_latency_bounds_us[i]);
        buffer_str(out, "\"} ");
        write_uint(out, count);
        buffer_char(out, '\n');
    }
    count += t->latency[LATENCY_BOUNDS];
    write_part(out, "_bucket", labels, ",le=\"+Inf\"} ");
    write_uint(out, count);
    buffer_char(out, '\n');
    write_part(out, "_count", labels, "} ");
    write_uint(out, count);
    buffer_char(out, '\n');
    write_part(out, "_sum", labels, "} ");
    write_seconds(out, t->latency_sum_us);
    buffer_char(out, '\n');
}

/* For the families with many lines per service: its labels are written once and copied. */
static void write_each(Buffer *out, const Fleet *f,
                       void (*write)(Buffer *out, const Service *s, const Buffer *labels))
{
    Buffer labels = BUFFER_INIT(out->max);

    for (size_t i = 0; i < fleet_n_pcs(f); i++) {
        const FleetPc *pc = fleet_pc_at(f, i);
        for (size_t k = 0; k < pc->n_services && !buffer_error(out); k++) {
            buffer_reset(&labels);
            write_labels(&labels, pc->services[k]);
            if (buffer_error(&labels))
                buffer_reserve(out, SIZE_MAX); /* fails it: lines without labels would be lies */
            else
                write(out, pc->services[k], &labels);
        }
    }
    buffer_done(&labels);
}

static void write_build(Buffer *out)
{
    write_head(out, "build", "info", "", "The program that answers.");
    buffer_str(out, PREFIX "build_info{version=");
    metrics_write_label(out, SERVICES_MONITOR_VERSION);
    buffer_str(out, "} 1\n");
}

void metrics_write(Buffer *out, const Fleet *f, const MetricsDaemon *daemon)
{
    for (size_t i = 0; i < ELEMENTS(families); i++)
        write_family(out, &families[i], f, daemon);
    write_head(out, "service_light", "stateset", "", "The light that people see.");
    write_each(out, f, write_light);
    write_head(out, "health_latency_seconds", "histogram", "seconds",
               "From connecting to the end of the answer's head, of every request that got one.");
    write_each(out, f, write_latency);
    write_build(out);
    buffer_str(out, "# EOF\n");
}

/* ---- the body in hand ---- */

const char *metrics_body(Metrics *m, const Fleet *f, Store *store, const Stream *stream,
                         const Notify *notify, Now now, size_t *ret_len)
{
    MetricsDaemon daemon = {
        .clients = stream_clients(stream),
        .cut_off = stream_cut_off(stream),
        .late_us = fleet_late_us(f, now),
        .notices = notify_waiting(notify),
    };

    metrics_note_turn(m, 0, now.mono_us);
    daemon.turn_us = MAX(m->turn_us, m->turn_before_us);
    if (!m->built_us || now.mono_us >= m->built_us + METRICS_HOLD_US || buffer_error(&m->body)) {
        store_stats(store, &daemon.store);
        m->body.max = METRICS_MAX;
        buffer_reset(&m->body);
        metrics_write(&m->body, f, &daemon);
        m->built_us = now.mono_us;
    }
    if (buffer_error(&m->body))
        return NULL;
    *ret_len = m->body.len;
    return m->body.data;
}

void metrics_note_turn(Metrics *m, uint64_t took_us, uint64_t now_us)
{
    if (now_us >= m->turns_us + METRICS_TURNS_US) {
        m->turn_before_us = now_us < m->turns_us + 2 * METRICS_TURNS_US ? m->turn_us : 0;
        m->turn_us = 0;
        m->turns_us = now_us;
    }
    m->turn_us = MAX(m->turn_us, took_us);
}

void metrics_done(Metrics *m)
{
    buffer_done(&m->body);
    *m = (Metrics){0};
}
