/* The OpenMetrics text: a small parser checks the grammar of whatever is written, and is itself
 * checked with texts that break it; then the numbers, hostile names, and the held body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>

#include "api/metrics.h"
#include "api/test-dir.h"
#include "api/test-publish.h"
#include "basic/text.h"

#define SERIES_MAX   8192
#define FAMILIES_MAX 64

/* ---- the parser ---- */

typedef struct Reader {
    char family[128], type[16];
    char families[FAMILIES_MAX][128];
    size_t n_families;
    char *series[SERIES_MAX];
    size_t n_series;
    bool has_samples; /* of the present family */
    double bound, bucket;
    char bucket_of[1024]; /* labels of the present histogram without le */
    bool ended;
} Reader;

typedef struct Sample {
    char name[160];
    char labels[1024]; /* as written, without le */
    char le[64];
    bool has_le, has_own; /* own: the label of a state set */
    double value;
} Sample;

static size_t name_len(const char *s)
{
    size_t n = 0;

    while (isalpha((unsigned char)s[n]) || s[n] == '_' || (n && isdigit((unsigned char)s[n])))
        n++;
    return n;
}

/* The end of a quoted value, NULL when it is none. */
static const char *skip_value(const char *s)
{
    if (*s++ != '"')
        return NULL;
    for (; *s != '"'; s++) {
        if (!*s)
            return NULL;
        if (*s == '\\' && !strchr("\\\"n", *++s))
            return NULL;
    }
    return s + 1;
}

static const char *read_labels(const Reader *r, const char *at, Sample *x)
{
    char names[8][128];
    size_t n = 0;

    for (char end = ','; end == ','; at++) {
        size_t len = name_len(at);
        if (len == 0 || len >= sizeof names[0] || n == ELEMENTS(names) || at[len] != '=')
            return NULL;
        snprintf(names[n], sizeof names[n], "%.*s", (int)len, at);
        for (size_t i = 0; i < n; i++)
            if (strcmp(names[i], names[n]) == 0)
                return NULL;
        const char *value = at + len + 1, *past = skip_value(value);
        if (!past)
            return NULL;
        if (strcmp(names[n], "le") == 0) {
            x->has_le = true;
            snprintf(x->le, sizeof x->le, "%.*s", (int)(past - value - 2), value + 1);
        } else {
            size_t used = strlen(x->labels);
            snprintf(x->labels + used, sizeof x->labels - used, "%.*s,", (int)(past - at), at);
        }
        x->has_own |= strcmp(names[n], r->family) == 0;
        n++;
        at = past;
        end = *at;
        if (end != ',' && end != '}')
            return NULL;
    }
    return at;
}

static const char *read_sample(const Reader *r, const char *line, Sample *x)
{
    size_t len = name_len(line);
    char *end;

    *x = (Sample){0};
    if (len == 0 || len >= sizeof x->name)
        return "a sample without a name";
    snprintf(x->name, sizeof x->name, "%.*s", (int)len, line);
    line += len;
    if (*line == '{' && !(line = read_labels(r, line + 1, x)))
        return "labels";
    if (*line++ != ' ' || !isdigit((unsigned char)*line))
        return "no value, or a negative one";
    x->value = strtod(line, &end);
    return *end ? "something behind the value" : NULL;
}

static bool has_suffix(const Reader *r, const Sample *x, const char *suffix)
{
    size_t len = strlen(r->family);

    return strncmp(x->name, r->family, len) == 0 && strcmp(x->name + len, suffix) == 0;
}

static const char *check_histogram(Reader *r, const Sample *x)
{
    if (has_suffix(r, x, "_bucket")) {
        double bound = strcmp(x->le, "+Inf") == 0 ? 1e300 : strtod(x->le, NULL);
        bool is_first = strcmp(r->bucket_of, x->labels) != 0;
        if (!x->has_le || (bound < 1e300 && !strchr(x->le, '.')))
            return "a bucket's bound";
        if (is_first && r->has_samples && r->bound < 1e300)
            return "a histogram without +Inf";
        if (!is_first && (bound <= r->bound || x->value < r->bucket))
            return "buckets do not rise";
        snprintf(r->bucket_of, sizeof r->bucket_of, "%s", x->labels);
        r->bound = bound;
        r->bucket = x->value;
        return NULL;
    }
    if (strcmp(r->bucket_of, x->labels) != 0 || r->bound < 1e300)
        return "count or sum not behind its own buckets";
    if (has_suffix(r, x, "_count"))
        return x->value == r->bucket ? NULL : "count differs from +Inf";
    return has_suffix(r, x, "_sum") ? NULL : "suffix";
}

static const char *check_type(Reader *r, const Sample *x)
{
    if (strcmp(r->type, "histogram") == 0)
        return check_histogram(r, x);
    if (x->has_le)
        return "le outside of a histogram";
    if (strcmp(r->type, "counter") == 0)
        return has_suffix(r, x, "_total") ? NULL : "a counter without _total";
    if (strcmp(r->type, "info") == 0)
        return has_suffix(r, x, "_info") && x->value == 1 ? NULL : "info";
    if (!has_suffix(r, x, ""))
        return "a sample outside of its family";
    if (strcmp(r->type, "stateset") == 0)
        return x->has_own && (x->value == 0 || x->value == 1) ? NULL : "state set";
    return NULL;
}

static const char *take_sample(Reader *r, const char *line)
{
    Sample x;
    const char *error = r->n_families ? read_sample(r, line, &x) : "a sample before any TYPE";

    if (!error)
        error = check_type(r, &x);
    if (error)
        return error;
    const char *value = strrchr(line, ' ');
    char *series = strndup(line, (size_t)(value - line));
    for (size_t i = 0; i < r->n_series; i++) {
        if (strcmp(r->series[i], series) == 0) {
            free(series);
            return "a series twice";
        }
    }
    assert_true(r->n_series < SERIES_MAX);
    r->series[r->n_series++] = series;
    r->has_samples = true;
    return NULL;
}

static const char *take_type(Reader *r, const char *name, const char *type)
{
    static const char *const types[] = {"gauge", "counter", "histogram", "stateset", "info"};
    bool known = false;

    for (size_t i = 0; i < ELEMENTS(types); i++)
        known |= strcmp(types[i], type) == 0;
    if (!known)
        return "unknown type";
    for (size_t i = 0; i < r->n_families; i++)
        if (strcmp(r->families[i], name) == 0)
            return "a family twice";
    if (strcmp(r->type, "histogram") == 0 && r->has_samples && r->bound < 1e300)
        return "a histogram without +Inf";
    assert_true(r->n_families < FAMILIES_MAX);
    snprintf(r->families[r->n_families++], sizeof r->families[0], "%s", name);
    snprintf(r->family, sizeof r->family, "%s", name);
    snprintf(r->type, sizeof r->type, "%s", type);
    r->has_samples = false;
    r->bucket_of[0] = '\0';
    return NULL;
}

static const char *take_descriptor(Reader *r, const char *line)
{
    char word[8] = "", name[128] = "";
    int at = 0;

    if (sscanf(line, "# %7[A-Z] %127[a-zA-Z0-9_] %n", word, name, &at) != 2 || at == 0)
        return "a comment";
    if (strcmp(word, "TYPE") == 0)
        return take_type(r, name, line + at);
    if (strcmp(name, r->family) != 0 || r->has_samples)
        return "UNIT or HELP outside of the head of its family";
    if (strcmp(word, "HELP") == 0)
        return strpbrk(line + at, "\\\"") ? "HELP is not escaped" : NULL;
    size_t unit = strlen(line + at), len = strlen(name);
    if (strcmp(word, "UNIT") != 0 || unit + 1 >= len || name[len - unit - 1] != '_')
        return "UNIT";
    return strcmp(name + len - unit, line + at) == 0 ? NULL : "the name does not end in its unit";
}

static const char *take_line(Reader *r, const char *line)
{
    if (r->ended)
        return "something behind # EOF";
    if (strcmp(line, "# EOF") == 0) {
        r->ended = true;
        return NULL;
    }
    return *line == '#' ? take_descriptor(r, line) : take_sample(r, line);
}

/* What is wrong with the text; NULL: nothing. */
static const char *grammar_error(const char *text, size_t len)
{
    Reader *r = calloc(1, sizeof *r);
    char *copy = strndup(text, len), *line = copy;
    const char *error = text_is_utf8(text, len) && strlen(copy) == len ? NULL : "not UTF-8";

    assert_non_null(r);
    while (!error && *line) {
        char *end = strchr(line, '\n');
        if (!end) {
            error = "the last line has no end";
            break;
        }
        *end = '\0';
        error = take_line(r, line);
        line = end + 1;
    }
    if (!error && !r->ended)
        error = "no # EOF";
    for (size_t i = 0; i < r->n_series; i++)
        free(r->series[i]);
    free(copy);
    free(r);
    return error;
}

static void test_parser_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "# TYPE a gauge\na 1\n",
        "# TYPE a gauge\na 1\n# EOF",
        "# TYPE a gauge\na 1\n# EOF\na 2\n",
        "a 1\n# EOF\n",
        "# TYPE a gauge\na 1\na 2\n# EOF\n",
        "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\"} 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"\\t\"} 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"b\"c\"} 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"\xff\"} 1\n# EOF\n",
        "# TYPE a gauge\na{} 1\n# EOF\n",
        "# TYPE a gauge\n\na 1\n# EOF\n",
        "# TYPE a gauge\na\n# EOF\n",
        "# TYPE a gauge\nb 1\n# EOF\n",
        "# TYPE a gauge\n# TYPE a gauge\n# EOF\n",
        "# TYPE a gauge\na 1\n# HELP a late\n# EOF\n",
        "# TYPE a gauge\n# UNIT a bytes\n# EOF\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a thing\n# EOF\n",
        "# TYPE a stateset\na{b=\"c\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 1\n# TYPE b gauge\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\n# EOF\n",
    };
    static const char good[] = "# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n# HELP a_bytes x\n"
                               "a_bytes{x=\"\\\\\\\"\\n\"} 1\n# TYPE b counter\nb_total 3\n# EOF\n";

    (void)state;
    assert_null(grammar_error(good, strlen(good)));
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (!grammar_error(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
}

/* ---- the writer ---- */

static struct {
    TestFleet f;
    MetricsDaemon daemon;
    Buffer out;
} t;

static void on_message(void *userdata, uint64_t seq, const char *json, size_t len)
{
    (void)userdata, (void)seq, (void)json, (void)len;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.out = BUFFER_INIT(METRICS_MAX);
    assert_int_equal(test_fleet_new(&t.f, on_message, &t), 0);
    assert_int_equal(test_fleet_apply(&t.f, 2, 3), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_fleet_done(&t.f);
    buffer_done(&t.out);
    return 0;
}

static const char *text(void)
{
    buffer_reset(&t.out);
    metrics_write(&t.out, t.f.fleet, &t.daemon);
    assert_int_equal(buffer_error(&t.out), 0);
    const char *error = grammar_error(buffer_cstr(&t.out), t.out.len);
    if (error)
        fail_msg("%s in:\n%s", error, buffer_cstr(&t.out));
    return buffer_cstr(&t.out);
}

/* The whole line is there, once. */
static void has(const char *line)
{
    char wanted[512];

    snprintf(wanted, sizeof wanted, "\nservices_monitor_%s\n", line);
    const char *all = text(), *found = strstr(all, wanted);
    if (!found)
        fail_msg("no \"%s\" in:\n%s", line, all);
    assert_null(strstr(found + 1, wanted));
}

/* No sample begins like this. */
static void lacks(const char *start)
{
    char wanted[256];

    snprintf(wanted, sizeof wanted, "\nservices_monitor_%s", start);
    assert_null(strstr(text(), wanted));
}

#define A0           "{app=\"a0\",pc=\"pc-1\"}"
#define LE(bound, n) "health_latency_seconds_bucket{app=\"a0\",pc=\"pc-1\",le=\"" bound "\"} " n

static void test_unknown_is_absent(void **state)
{
    (void)state;
    lacks("service_up{");
    lacks("unit_active{");
    lacks("port_listening{");
    lacks("pc_reachable{");
    lacks("pc_lag_seconds{");
    has("service_light{app=\"a0\",pc=\"pc-1\",services_monitor_service_light=\"unknown\"} 1");
    has("service_light{app=\"a0\",pc=\"pc-1\",services_monitor_service_light=\"ok\"} 0");
    has("service_transitions_total" A0 " 0");
    has("build_info{version=\"" SERVICES_MONITOR_VERSION "\"} 1");
}

static void test_empty_fleet(void **state)
{
    (void)state;
    assert_int_equal(test_fleet_apply(&t.f, 0, 0), 0);
    lacks("service_light{");
    has("cycle_lag_seconds 0.0");
}

static void listen_on(bool listening)
{
    PortFacts facts = {.looked = true, .listening = listening, .at_us = t.f.now.mono_us};

    fleet_port(t.f.fleet, fleet_service(t.f.fleet, "a0", "pc-1"), &facts, t.f.now);
}

static void test_well_then_failed(void **state)
{
    (void)state;
    test_fleet_reachable(&t.f, "pc-1");
    test_fleet_unit(&t.f, "a0", ACTIVE_ACTIVE);
    listen_on(true);
    test_fleet_check(&t.f, "a0", 4000);
    fleet_pc_checked(t.f.fleet, fleet_pc(t.f.fleet, "pc-1"), 1234, t.f.now);
    has("service_up" A0 " 1");
    has("unit_active" A0 " 1");
    has("port_listening" A0 " 1");
    has("pc_reachable{pc=\"pc-1\"} 1");
    has("pc_lag_seconds{pc=\"pc-1\"} 0.001234");
    lacks("pc_reachable{pc=\"pc-2\"}");
    uint32_t before = fleet_service(t.f.fleet, "a0", "pc-1")->tally.transitions;

    test_fleet_pass(&t.f, 20000);
    test_fleet_unit(&t.f, "a0", ACTIVE_FAILED);
    has("service_up" A0 " 0");
    has("unit_active" A0 " 0");
    has("service_light{app=\"a0\",pc=\"pc-1\",services_monitor_service_light=\"down\"} 1");
    assert_int_equal(fleet_service(t.f.fleet, "a0", "pc-1")->tally.transitions, before + 1);

    PcFacts away = {.known = true, .cause = CAUSE_HOST_TIMEOUT};
    fleet_pc_answer(t.f.fleet, fleet_pc(t.f.fleet, "pc-1"), &away, t.f.now);
    has("pc_reachable{pc=\"pc-1\"} 0");
    lacks("service_up{"); /* unknown, not down */
    lacks("unit_active{");
    lacks("port_listening{");
    lacks("pc_lag_seconds{");
}

static void test_latency(void **state)
{
    Service *s = fleet_service(t.f.fleet, "a0", "pc-1");
    HttpFacts lost = {.outcome = HTTP_TIMEOUT, .latency_us = -1, .at_us = 1};
    HttpFacts ours = {.outcome = HTTP_ERROR, .latency_us = -1, .at_us = 1};

    (void)state;
    test_fleet_reachable(&t.f, "pc-1");
    test_fleet_check(&t.f, "a0", 0);
    test_fleet_check(&t.f, "a0", 1000); /* a bound is inclusive */
    test_fleet_check(&t.f, "a0", 1001);
    test_fleet_check(&t.f, "a0", 250000);
    test_fleet_check(&t.f, "a0", INT32_MAX);
    fleet_http(t.f.fleet, s, &lost, t.f.now);
    fleet_http(t.f.fleet, s, &ours, t.f.now);
    has(LE("0.001", "2"));
    has(LE("0.005", "3"));
    has(LE("0.1", "3"));
    has(LE("0.25", "4"));
    has(LE("10.0", "4"));
    has(LE("+Inf", "5"));
    has("health_latency_seconds_count" A0 " 5");
    has("health_latency_seconds_sum" A0 " 2147.735648");
    has("health_no_answer_total" A0 " 1");
}

static void test_daemon_numbers(void **state)
{
    (void)state;
    t.daemon = (MetricsDaemon){.store = {.queue_bytes = 1,
                                         .rows_written = UINT64_MAX - 1,
                                         .failed_commits = 3,
                                         .dropped_checks = 4,
                                         .dropped_others = 5},
                               .clients = 6,
                               .cut_off = 7,
                               .notices = 8,
                               .late_us = 1500000,
                               .turn_us = 2500};
    has("store_queue_bytes 1");
    has("store_rows_written_total 18446744073709551614");
    has("store_failed_commits_total 3");
    has("store_dropped_checks_total 4");
    has("store_dropped_others_total 5");
    has("websocket_clients 6");
    has("websocket_cut_off_total 7");
    has("notices_waiting 8");
    has("cycle_lag_seconds 1.5");
    has("loop_turn_seconds 0.0025");
}

static void test_longest_turn(void **state)
{
    Metrics m = {0};
    uint64_t at = 1000 * USEC_PER_SEC;

    (void)state;
    metrics_note_turn(&m, 300, at);
    metrics_note_turn(&m, 7000, at + 1);
    metrics_note_turn(&m, 20, at + 59 * USEC_PER_SEC);
    assert_int_equal(m.turn_us, 7000);
    metrics_note_turn(&m, 50,
                      at + METRICS_TURNS_US); /* the next window; the one before still counts */
    assert_int_equal(m.turn_us, 50);
    assert_int_equal(m.turn_before_us, 7000);
    metrics_note_turn(&m, 60, at + 3 * METRICS_TURNS_US); /* nothing is known of the one between */
    assert_int_equal(m.turn_us, 60);
    assert_int_equal(m.turn_before_us, 0);
}

/* The registry refuses such ids; the writer does not rely on it. */
static void test_hostile_names(void **state)
{
    static const char *const names[] = {
        "\"} 1\nservices_monitor_service_up{app=\"x",
        "back\\slash",
        "ends in \\",
        "\n# EOF\n",
        "\xff\xfe",
        "\xc3",
        "ä€\xf0\x9f\x92\xa9",
        "{a=\"b\"}",
    };
    char pc_id[] = "p\"c\n\\";
    RegistryPc pc = {.pc_id = pc_id};
    Registry registry = {.pcs = &pc, .n_pcs = 1};
    Want wants[ELEMENTS(names)];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(names); i++)
        wants[i] = (Want){.app_id = names[i], .pc_id = pc.pc_id, .health = "/", .timeout_ms = 100};
    assert_int_equal(fleet_apply(t.f.fleet, &registry, NULL, wants, ELEMENTS(names), t.f.now), 0);
    assert_int_equal(fleet_n_services(t.f.fleet), ELEMENTS(names));
    has("service_transitions_total{app=\"back\\\\slash\",pc=\"p\\\"c\\n\\\\\"} 0");
    has("service_transitions_total{app=\"\\n# EOF\\n\",pc=\"p\\\"c\\n\\\\\"} 0");
    has("service_transitions_total{app=\"\xef\xbf\xbd\xef\xbf\xbd\",pc=\"p\\\"c\\n\\\\\"} 0");
    lacks("service_up{");
}

static void test_label(void **state)
{
    static const char *const pairs[][2] = {
        {"", "\"\""},
        {"a-b.c", "\"a-b.c\""},
        {"\\\"\n", "\"\\\\\\\"\\n\""},
        {"\xc3\"", "\"\xef\xbf\xbd\\\"\""},
        {"ä\\", "\"ä\\\\\""},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(pairs); i++) {
        buffer_reset(&t.out);
        metrics_write_label(&t.out, pairs[i][0]);
        assert_string_equal(buffer_cstr(&t.out), pairs[i][1]);
    }
}

/* ---- how late looks start ---- */

static void take_all_due(void)
{
    Service *s;

    while (fleet_pc_due(t.f.fleet, t.f.now))
        continue;
    while ((s = fleet_due(t.f.fleet, t.f.now))) {
        HttpFacts facts = {.outcome = HTTP_OK, .status = 200, .at_us = t.f.now.mono_us};
        fleet_http(t.f.fleet, s, &facts, t.f.now);
    }
}

static void test_late(void **state)
{
    uint64_t next;

    (void)state;
    take_all_due();
    assert_int_equal(fleet_late_us(t.f.fleet, t.f.now), 0);
    next = fleet_next_us(t.f.fleet);
    test_fleet_pass(&t.f, (next - t.f.now.mono_us) / USEC_PER_MSEC + 3000);
    assert_int_equal(fleet_late_us(t.f.fleet, t.f.now), t.f.now.mono_us - next); /* still waits */
    take_all_due();
    uint64_t late = t.f.now.mono_us - next;
    assert_int_equal(fleet_late_us(t.f.fleet, t.f.now), late);
    for (unsigned i = 0; i < 40; i++) { /* in time from now on: forgotten after two intervals */
        uint64_t due = fleet_next_us(t.f.fleet);
        if (due > t.f.now.mono_us + 1000 * USEC_PER_MSEC)
            test_fleet_pass(&t.f, 1000);
        else
            test_fleet_pass(&t.f, (due - t.f.now.mono_us) / USEC_PER_MSEC);
        take_all_due();
    }
    assert_true(fleet_late_us(t.f.fleet, t.f.now) < 1000);
}

/* A look that could not start is late since it was due, not since the last attempt. */
static void test_late_when_put_back(void **state)
{
    (void)state;
    test_fleet_reachable(&t.f, "pc-1");
    test_fleet_unit(&t.f, "a0", ACTIVE_ACTIVE);
    listen_on(true);
    take_all_due();
    fleet_look_now(t.f.fleet, fleet_service(t.f.fleet, "a0", "pc-1"), t.f.now);
    for (unsigned i = 0; i < 5; i++) {
        Service *s = fleet_due(t.f.fleet, t.f.now);
        assert_non_null(s);
        assert_string_equal(s->want.app_id, "a0");
        fleet_put_back(t.f.fleet, s, t.f.now);
        test_fleet_pass(&t.f, 100);
    }
    assert_non_null(fleet_due(t.f.fleet, t.f.now));
    assert_int_equal(fleet_late_us(t.f.fleet, t.f.now), 500 * USEC_PER_MSEC);
}

/* ---- the held body ---- */

static void test_body_is_held(void **state)
{
    char note[256], *dir = test_dir_new();
    Store *store = NULL;
    Stream *stream = NULL;
    Nest *nest = NULL;
    Config *config = NULL;
    Notify *notify = NULL;
    Metrics m = {0};
    size_t len = 0;

    (void)state;
    assert_int_equal(nest_new(&nest), 0);
    assert_int_equal(stream_new(nest, &stream), 0);
    assert_int_equal(store_open(test_path(dir, "x.db"), 7, 730, note, sizeof note, &store), 0);
    assert_int_equal(config_default(&config), 0);
    assert_int_equal(notify_new(nest, config, store, NULL, t.f.now, &notify), 0);
    const char *body = metrics_body(&m, t.f.fleet, store, stream, notify, t.f.now, &len);
    assert_non_null(body);
    assert_null(grammar_error(body, len));
    char *first = strndup(body, len);

    test_fleet_reachable(&t.f, "pc-1");
    test_fleet_pass(&t.f, 999);
    body = metrics_body(&m, t.f.fleet, store, stream, notify, t.f.now, &len);
    assert_int_equal(len, strlen(first));
    assert_memory_equal(body, first, len);
    test_fleet_pass(&t.f, 1);
    body = metrics_body(&m, t.f.fleet, store, stream, notify, t.f.now, &len);
    assert_null(grammar_error(body, len));
    assert_non_null(memmem(body, len, "pc_reachable{pc=\"pc-1\"} 1\n", 26));

    free(first);
    metrics_done(&m);
    assert_int_equal(m.built_us, 0);
    notify_free(notify);
    config_free(config);
    store_close(store);
    stream_free(stream);
    nest_free(nest);
    test_dir_free(dir);
}

static void test_past_the_maximum(void **state)
{
    Buffer small = BUFFER_INIT(1000);

    (void)state;
    metrics_write(&small, t.f.fleet, &t.daemon);
    assert_true(buffer_error(&small) < 0);
    buffer_done(&small);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser_refuses),
#define FLEET_TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
        FLEET_TEST(test_unknown_is_absent),
        FLEET_TEST(test_empty_fleet),
        FLEET_TEST(test_well_then_failed),
        FLEET_TEST(test_latency),
        FLEET_TEST(test_daemon_numbers),
        cmocka_unit_test(test_longest_turn),
        FLEET_TEST(test_hostile_names),
        FLEET_TEST(test_label),
        FLEET_TEST(test_late),
        FLEET_TEST(test_late_when_put_back),
        FLEET_TEST(test_body_is_held),
        FLEET_TEST(test_past_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
