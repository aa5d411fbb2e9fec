/* ack, silence, maintenance, silences, unsilence: thin callers of the API, whose rules are
 * silence.h's.
 *
 * They act on nothing but the daemon's own mind, so there is no way without a daemon. What is wrong
 * with a wish the daemon says; only the length of time is read here, because "2h" is for people. */
#include "api/cli-silence.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/cli-options.h"
#include "api/cli-table.h"
#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/client.h"
#include "common/sentence.h"

#define REQUEST_MS  10000U
#define BODY_MAX    8192U
#define OUTPUT_MAX  (4U << 20)
#define LENGTH_MAX  (366 * 86400)
#define ID_COLUMNS  18
#define WORD_INDENT 2

typedef enum Method { METHOD_GET, METHOD_POST, METHOD_DELETE } Method;

typedef struct Ask {
    const char *command;
    const char *url;
    bool as_json;
} Ask;

/* "90s", "30m", "2h", "3d", "1h30m": at least a second, at most 366 days. False: it is none. */
static bool read_duration(const char *text, int64_t *ret_s)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    int64_t sum = 0;

    if (!*text)
        return false;
    while (*text) {
        int64_t n = 0;
        size_t digits = strspn(text, "0123456789"), u = 0;
        if (digits == 0 || digits > 9)
            return false;
        for (size_t i = 0; i < digits; i++)
            n = 10 * n + (*text++ - '0');
        while (u < ELEMENTS(units) && units[u].letter != *text)
            u++;
        if (u == ELEMENTS(units))
            return false;
        sum += n * units[u].seconds;
        if (sum > LENGTH_MAX)
            return false;
        text++;
    }
    if (sum < 1)
        return false;
    *ret_s = sum;
    return true;
}

static int complain(const Ask *a, const ClientReply *reply, const Json *j)
{
    char text[512], sentence[SENTENCE_MAX];
    const char *detail =
        json_as_string(json_get(j, "detail"), _("the answer is not what it should be"));

    snprintf(text, sizeof text, _("%s answers %ld: %s"), a->url, reply->status,
             sentence_translate(sentence, detail));
    cli_complain(a->command, text);
    return CLI_EXIT_BAD;
}

/* 0 with the parsed answer; else the exit code, after a complaint. raw gets the answer's text. */
static int ask(const Ask *a, Method method, const char *path, const char *body, Buffer *raw,
               Json **ret)
{
    char why[512] = "";
    CLEANUP(client_reply_done) ClientReply reply = {0};

    int r = method == METHOD_DELETE
                ? client_delete(a->url, NULL, path, REQUEST_MS, &reply, why, sizeof why)
                : client_request(a->url, NULL, path, body, REQUEST_MS, &reply, why, sizeof why);
    if (r == -ECONNREFUSED)
        return cli_complain_no_daemon(a->command);
    if (r < 0) {
        cli_complain(a->command, why);
        return CLI_EXIT_BAD;
    }
    CLEANUP(json_freep) Json *j = json_parse(reply.body, reply.len);
    if (reply.status < 200 || reply.status > 299 || !j)
        return complain(a, &reply, j);
    buffer_append(raw, reply.body, reply.len);
    buffer_char(raw, '\n');
    *ret = TAKE_PTR(j);
    return 0;
}

static void clean_member(const Json *j, const char *key, char *ret, size_t size)
{
    const char *text = json_as_string(json_get(j, key), "");

    text_clean(ret, size, text, strlen(text));
}

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789")] == '\0' && strlen(text) <= 20;
}

/* "web on alpha", "web on every PC", "alpha" */
static void write_subject(Buffer *out, const Json *j)
{
    char app[ID_MAX + 1], pc[ID_MAX + 1];

    clean_member(j, "app_id", app, sizeof app);
    clean_member(j, "pc_id", pc, sizeof pc);
    if (app[0])
        buffer_printf(out, _("%s on %s"), app, pc[0] ? pc : _("every PC"));
    else
        buffer_str(out, pc);
}

static void write_silence(Buffer *out, const Json *j)
{
    int64_t now_ms = clock_now().wall_ms, from = json_as_int(json_get(j, "from_ts"), 0);
    char clock[32], by[BY_MAX + 1], comment[COMMENT_MAX + 1], kind[16];

    clean_member(j, "kind", kind, sizeof kind);
    clean_member(j, "by", by, sizeof by);
    clean_member(j, "comment", comment, sizeof comment);
    buffer_printf(out, "%*s%-*lld", WORD_INDENT, "", ID_COLUMNS,
                  (long long)json_as_int(json_get(j, "id"), 0));
    buffer_printf(out, "%s  ",
                  strcmp(kind, "maintenance") == 0 ? C_("kind", "maintenance")
                                                   : C_("kind", "silence"));
    write_subject(out, j);
    buffer_char(out, ' ');
    if (from > now_ms) {
        buffer_printf(out, _("from %s"), table_clock(from, now_ms, clock, sizeof clock));
        buffer_char(out, ' ');
    }
    buffer_printf(
        out, _("until %s"),
        table_clock(json_as_int(json_get(j, "until_ts"), 0), now_ms, clock, sizeof clock));
    buffer_str(out, ", ");
    buffer_printf(out, _("by %s"), by);
    if (comment[0])
        buffer_printf(out, ": %s", comment);
    buffer_char(out, '\n');
}

/* Prints one silence, or the daemon's own words. */
static int print_silence(const Ask *a, Buffer *raw, const Json *j)
{
    Buffer out = BUFFER_INIT(OUTPUT_MAX);

    if (a->as_json) {
        cli_print(raw);
        return CLI_EXIT_OK;
    }
    buffer_done(raw);
    write_silence(&out, j);
    cli_print(&out);
    return CLI_EXIT_OK;
}

/* ---- ack ---- */

int cli_ack(int argc, char *argv[])
{
    Ask a = {.command = "ack", .url = CLIENT_URL_DEFAULT};
    const char *operands[2] = {NULL, NULL};
    int n = 0;
    const CliOption options[] = {
        {"json", NULL, N_("print the alert as JSON"), CLI_FLAG, &a.as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
    };
    const CliCommand command = {
        "ack",   "ALERT-ID [COMMENT]", N_("Say that somebody takes care of an alert."),
        options, ELEMENTS(options),    1,
        2};
    Buffer body = BUFFER_INIT(BODY_MAX), raw = BUFFER_INIT(OUTPUT_MAX);
    CLEANUP(json_freep) Json *j = NULL;
    char path[128];

    int r = cli_parse(&command, argc, argv, operands, &n);
    if (r >= 0)
        return r;
    if (!is_number(operands[0]))
        return cli_complain("ack", _("ALERT-ID is a number; 'services_api alerts' shows it"));
    snprintf(path, sizeof path, "/api/alerts/%s/ack", operands[0]);
    json_open_object(&body, NULL);
    json_string(&body, "comment", operands[1] ? operands[1] : "");
    json_close_object(&body);
    r = ask(&a, METHOD_POST, path, buffer_cstr(&body), &raw, &j);
    if (r == 0 && a.as_json)
        cli_print(&raw);
    else if (r == 0)
        printf(_("alert %s is acknowledged\n"), operands[0]);
    buffer_done(&raw);
    buffer_done(&body);
    return r;
}

/* ---- silence, maintenance ---- */

static int begin(const Ask *a, const char *kind, const char *app, const char *pc, int64_t seconds,
                 const char *comment)
{
    Buffer body = BUFFER_INIT(BODY_MAX), raw = BUFFER_INIT(OUTPUT_MAX);
    CLEANUP(json_freep) Json *j = NULL;

    json_open_object(&body, NULL);
    json_string(&body, "kind", kind);
    json_string(&body, "app_id", app);
    json_string(&body, "pc_id", pc);
    json_int(&body, "for_s", seconds);
    json_string(&body, "comment", comment);
    json_close_object(&body);
    int r = ask(a, METHOD_POST, "/api/silences", buffer_cstr(&body), &raw, &j);
    buffer_done(&body);
    if (r == 0)
        return print_silence(a, &raw, j);
    buffer_done(&raw);
    return r;
}

static int run_begin(const char *kind, const char *summary, int argc, char *argv[])
{
    Ask a = {.command = kind, .url = CLIENT_URL_DEFAULT};
    const char *app = NULL, *pc = NULL, *length = NULL, *comment = "";
    const CliOption options[] = {
        {"app", "APP", N_("this app; without --pc on every PC"), CLI_TEXT, &app, 0, 0},
        {"pc", "PC", N_("this PC; without --app with all its apps"), CLI_TEXT, &pc, 0, 0},
        {"for", "TIME", N_("how long: 90s, 30m, 2h, 3d, at most 366d"), CLI_TEXT, &length, 0, 0},
        {"comment", "TEXT", N_("why; at most 120 bytes"), CLI_TEXT, &comment, 0, 0},
        {"json", NULL, N_("print what the API answers"), CLI_FLAG, &a.as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
    };
    const CliCommand command = {kind, "--for TIME", summary, options, ELEMENTS(options), 0, 0};
    int64_t seconds = 0;

    int r = cli_parse(&command, argc, argv, NULL, NULL);
    if (r >= 0)
        return r;
    if (!length || !read_duration(length, &seconds))
        return cli_complain(kind, _("--for wants a time like 90s, 30m, 2h or 3d, at most 366d"));
    if (!app && !pc)
        return cli_complain(kind, _("--app, --pc or both say of what"));
    return begin(&a, kind, app, pc, seconds, comment);
}

int cli_silence(int argc, char *argv[])
{
    return run_begin("silence",
                     N_("Send no notices of an app, a PC or an app on a PC for some time. What\n"
                        "is still wrong when the time is over is told then."),
                     argc, argv);
}

int cli_maintenance(int argc, char *argv[])
{
    return run_begin("maintenance",
                     N_("Open no alerts of an app, a PC or an app on a PC for some time, which\n"
                        "counts as unobserved."),
                     argc, argv);
}

/* ---- the list, and the end ---- */

int cli_silences(int argc, char *argv[])
{
    Ask a = {.command = "silences", .url = CLIENT_URL_DEFAULT};
    const CliOption options[] = {
        {"json", NULL, N_("print the API's array"), CLI_FLAG, &a.as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
    };
    const CliCommand command = {"silences",
                                "",
                                N_("Show silences and maintenance, those still to come too."),
                                options,
                                ELEMENTS(options),
                                0,
                                0};
    Buffer raw = BUFFER_INIT(OUTPUT_MAX), out = BUFFER_INIT(OUTPUT_MAX);
    CLEANUP(json_freep) Json *j = NULL;

    int r = cli_parse(&command, argc, argv, NULL, NULL);
    if (r >= 0)
        return r;
    r = ask(&a, METHOD_GET, "/api/silences", NULL, &raw, &j);
    for (const Json *i = json_first(j); i; i = json_next(i))
        write_silence(&out, i);
    if (r == 0 && !json_first(j))
        buffer_printf(&out, "%s\n", _("no silences"));
    if (r == 0)
        cli_print(a.as_json ? &raw : &out);
    buffer_done(&raw);
    buffer_done(&out);
    return r;
}

int cli_unsilence(int argc, char *argv[])
{
    Ask a = {.command = "unsilence", .url = CLIENT_URL_DEFAULT};
    const char *operands[1] = {NULL};
    int n = 0;
    const CliOption options[] = {
        {"json", NULL, N_("print what the API answers"), CLI_FLAG, &a.as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
    };
    const CliCommand command = {"unsilence",
                                "ID",
                                N_("End a silence or a maintenance before its time."),
                                options,
                                ELEMENTS(options),
                                1,
                                1};
    Buffer raw = BUFFER_INIT(OUTPUT_MAX);
    CLEANUP(json_freep) Json *j = NULL;
    char path[128];

    int r = cli_parse(&command, argc, argv, operands, &n);
    if (r >= 0)
        return r;
    if (!is_number(operands[0]))
        return cli_complain("unsilence", _("ID is a number; 'services_api silences' shows it"));
    snprintf(path, sizeof path, "/api/silences/%s", operands[0]);
    r = ask(&a, METHOD_DELETE, path, NULL, &raw, &j);
    if (r == 0)
        return print_silence(&a, &raw, j);
    buffer_done(&raw);
    return r;
}
