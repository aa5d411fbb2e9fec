/* action and audit.
 *
 * The daemon answers an action when systemd's job has ended, or after some seconds with 202 and the
 * id of the audit row in which the outcome will stand. Then the row is asked for each second, also
 * across a restart of the daemon itself, which for that long answers nobody. What is printed is
 * what the row says, so that the command and the audit cannot differ. */
#include "api/cli-action.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/cli-options.h"
#include "api/cli-table.h"
#include "basic/buffer.h"
#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/client.h"
#include "common/name.h"
#include "common/protocol.h"
#include "common/sentence.h"

#define REQUEST_MS      10000U
#define WAIT_S          120U
#define OUTPUT_MAX      (16U << 20)
#define OUTCOME_COLUMNS 10
#define ACTION_COLUMNS  8
#define ORIGIN_COLUMNS  9

typedef struct Wish {
    const char *url;
    const char *app_id, *pc_id, *verb;
    uint32_t wait_s;
    bool as_json;
    bool is_tty; /* progress is shown */
} Wish;

/* A member as text that can be shown; "" when it is null. */
static void get_text(const Json *j, const char *key, char *ret, size_t size)
{
    const char *text = json_as_string(json_get(j, key), "");

    text_clean(ret, size, text, strlen(text));
}

static int complain_unreachable(const char *command, int error, const char *why)
{
    if (error == -ECONNREFUSED)
        return cli_complain_no_daemon(command);
    cli_complain(command, why);
    return CLI_EXIT_BAD;
}

/* ---- action ---- */

static const char *outcome_word(const char *outcome)
{
    return strcmp(outcome, "done") == 0      ? C_("outcome", "done")
           : strcmp(outcome, "failed") == 0  ? C_("outcome", "failed")
           : strcmp(outcome, "refused") == 0 ? C_("outcome", "refused")
           : strcmp(outcome, "unknown") == 0 ? C_("outcome", "unknown")
                                             : outcome;
}

static int print_outcome(const Wish *w, const Json *action, const ClientReply *reply)
{
    char outcome[16], sentence[SENTENCE_MAX], translated[SENTENCE_MAX];

    get_text(action, "outcome", outcome, sizeof outcome);
    get_text(action, json_get(action, "reason") ? "reason" : "sentence", sentence, sizeof sentence);
    if (w->as_json)
        printf("%.*s\n", (int)reply->len, reply->body);
    else
        printf(_("%s of %s on %s: %s%s%s\n"), w->verb, w->app_id, w->pc_id, outcome_word(outcome),
               sentence[0] ? ": " : "", sentence_translate(translated, sentence));
    if (strcmp(outcome, "done") == 0)
        return CLI_EXIT_OK;
    return strcmp(outcome, "failed") == 0 || strcmp(outcome, "refused") == 0 ? CLI_EXIT_BAD
                                                                             : CLI_EXIT_UNKNOWN;
}

static void progress(const Wish *w, uint64_t elapsed_s, bool over)
{
    if (!w->is_tty)
        return;
    if (over)
        fputs("\r\033[K", stderr);
    else {
        fputc('\r', stderr);
        fprintf(stderr, _("%s of %s on %s: still at work, %u s"), w->verb, w->app_id, w->pc_id,
                (unsigned)elapsed_s);
    }
    fflush(stderr);
}

/* One look at its row. True: it has an outcome, and *code is what to exit with. */
static bool look(const Wish *w, const char *path, int *code)
{
    CLEANUP(client_reply_done) ClientReply reply = {0};
    CLEANUP(json_freep) Json *j = NULL;
    char why[256], outcome[16] = "";

    if (client_request(w->url, NULL, path, NULL, REQUEST_MS, &reply, why, sizeof why) < 0 ||
        reply.status != 200)
        return false; /* it may be about to come back */
    j = json_parse(reply.body, reply.len);
    get_text(json_first(j), "outcome", outcome, sizeof outcome);
    if (!outcome[0] || strcmp(outcome, "requested") == 0)
        return false;
    progress(w, 0, true);
    *code = print_outcome(w, json_first(j), &reply);
    return true;
}

static int wait_for_outcome(const Wish *w, int64_t id)
{
    char path[64];
    uint64_t began_us = clock_now().mono_us, elapsed_s = 0;
    int code;

    snprintf(path, sizeof path, "/api/audit?id=%lld", (long long)id);
    while (elapsed_s < w->wait_s) {
        progress(w, elapsed_s, false);
        poll(NULL, 0, 1000);
        if (look(w, path, &code))
            return code;
        elapsed_s = (clock_now().mono_us - began_us) / USEC_PER_SEC;
    }
    progress(w, 0, true);
    fprintf(stderr, _("services_api action: no outcome within %u s; see 'services_api audit'\n"),
            w->wait_s);
    return CLI_EXIT_UNKNOWN;
}

static int complain_refusal(const Wish *w, const ClientReply *reply, const Json *j)
{
    char text[768], sentence[SENTENCE_MAX];
    const char *detail =
        json_as_string(json_get(j, "detail"), _("the answer is not what it should be"));

    if (w->as_json)
        printf("%.*s\n", (int)reply->len, reply->body);
    if (reply->status == 403)
        snprintf(text, sizeof text,
                 _("the daemon does not act: set 'features: {actions: true}' in its config.yaml "
                   "and let it read that again ('systemctl --user reload services_api')"));
    else if (reply->status == 401)
        snprintf(text, sizeof text,
                 _("the daemon wants its token, and the one in the token file is not it: %s"),
                 sentence_translate(sentence, detail));
    else
        text_copy(text, sizeof text, sentence_translate(sentence, detail));
    cli_complain("action", text);
    return reply->status == 504 ? CLI_EXIT_UNKNOWN : CLI_EXIT_BAD;
}

static int carry_out(const Wish *w)
{
    CLEANUP(client_reply_done) ClientReply reply = {0};
    CLEANUP(json_freep) Json *j = NULL;
    char path[2 * ID_MAX + 64], body[48], why[256] = "";

    snprintf(path, sizeof path, "/api/services/%s/%s/action", w->app_id, w->pc_id);
    snprintf(body, sizeof body, "{\"action\":\"%s\"}", w->verb);
    int r = client_request(w->url, NULL, path, body, REQUEST_MS, &reply, why, sizeof why);
    if (r < 0) {
        complain_unreachable("action", r, why);
        return r == -ECONNREFUSED ? CLI_EXIT_BAD : CLI_EXIT_UNKNOWN;
    }
    j = json_parse(reply.body, reply.len);
    const Json *action = json_get(j, "action");
    if (reply.status == 202)
        return wait_for_outcome(w, json_as_int(json_get(action, "id"), 0));
    if (reply.status != 200)
        return complain_refusal(w, &reply, j);
    return print_outcome(w, action, &reply);
}

int cli_action(int argc, char *argv[])
{
    static const char *const verbs[] = {"start", "stop", "restart"};
    Wish w = {.url = CLIENT_URL_DEFAULT, .wait_s = WAIT_S, .is_tty = isatty(STDERR_FILENO)};
    const char *operands[3] = {NULL, NULL, NULL};
    int n = 0;
    const CliOption options[] = {
        {"json", NULL, N_("print the daemon's answer as JSON"), CLI_FLAG, &w.as_json, 0, 0},
        {"wait", "SECONDS", N_("for the outcome (default 120, at most 3600)"), CLI_NUMBER,
         &w.wait_s, 0, 3600},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &w.url, 0, 0},
    };
    const CliCommand command = {
        "action",
        "APP PC start|stop|restart",
        N_("Start, stop or restart the unit of an app on a PC; the daemon must allow it\n"
           "(features.actions). Exit code: 0 done, 1 failed or refused, 3 outcome not known."),
        options,
        ELEMENTS(options),
        3,
        3};
    bool known = false;
    int r = cli_parse(&command, argc, argv, operands, &n);

    if (r >= 0)
        return r;
    w.app_id = operands[0];
    w.pc_id = operands[1];
    w.verb = operands[2];
    for (size_t i = 0; i < ELEMENTS(verbs); i++)
        known = known || strcmp(w.verb, verbs[i]) == 0;
    if (!known)
        return cli_complain("action", _("the last word is start, stop or restart"));
    if (!name_is_id(w.app_id) || !name_is_id(w.pc_id))
        return cli_complain("action", _("no app and no PC can have such a name"));
    return carry_out(&w);
}

/* ---- audit ---- */

static void put_padded(Buffer *out, const char *text, size_t columns)
{
    size_t width;
    size_t len = text_fit(text, columns, &width);

    buffer_append(out, text, len);
    for (; width < columns + 1; width++)
        buffer_char(out, ' ');
}

/* "cli (uid 1000, token)" */
static void write_who(const Json *j, char *ret, size_t size)
{
    char origin[16], role[16];
    int64_t uid = json_as_int(json_get(j, "uid"), -1);

    get_text(j, "origin", origin, sizeof origin);
    get_text(j, "role", role, sizeof role);
    if (uid >= 0)
        snprintf(ret, size, "%s (uid %lld, %s)", origin, (long long)uid, role);
    else
        snprintf(ret, size, "%s (%s)", origin, role);
}

static void write_line(Buffer *out, const Json *j, int64_t now_ms)
{
    char clock[32], outcome[16], action[16], who[64], app[ID_MAX + 1], pc[ID_MAX + 1];
    char reason[SENTENCE_MAX], translated[SENTENCE_MAX];

    get_text(j, "outcome", outcome, sizeof outcome);
    get_text(j, "action", action, sizeof action);
    get_text(j, "app_id", app, sizeof app);
    get_text(j, "pc_id", pc, sizeof pc);
    get_text(j, "reason", reason, sizeof reason);
    write_who(j, who, sizeof who);
    put_padded(out, table_clock(json_as_int(json_get(j, "ts"), 0), now_ms, clock, sizeof clock),
               ORIGIN_COLUMNS);
    put_padded(out, outcome_word(outcome), OUTCOME_COLUMNS);
    put_padded(out, action[0] ? action : "-", ACTION_COLUMNS);
    buffer_printf(out, "%s%s%s  %s%s%s\n", app, pc[0] ? "/" : "", pc, who, reason[0] ? ": " : "",
                  sentence_translate(translated, reason));
}

int cli_audit(int argc, char *argv[])
{
    const char *url = CLIENT_URL_DEFAULT;
    bool as_json = false;
    uint32_t limit = 20;
    const CliOption options[] = {
        {"limit", "N", N_("how many (default 20, at most 10000)"), CLI_NUMBER, &limit, 1, 10000},
        {"json", NULL, N_("print the API's array"), CLI_FLAG, &as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &url, 0, 0},
    };
    const CliCommand command = {
        "audit",
        "",
        N_("Show who wanted what done to a unit and what came of it, the newest last."),
        options,
        ELEMENTS(options),
        0,
        0};
    CLEANUP(client_reply_done) ClientReply reply = {0};
    CLEANUP(json_freep) Json *j = NULL;
    CLEANUP(buffer_done) Buffer out = BUFFER_INIT(OUTPUT_MAX);
    char path[48], why[256] = "";
    int r = cli_parse(&command, argc, argv, NULL, NULL);

    if (r >= 0)
        return r;
    snprintf(path, sizeof path, "/api/audit?limit=%u", limit);
    r = client_request(url, NULL, path, NULL, REQUEST_MS, &reply, why, sizeof why);
    if (r < 0)
        return complain_unreachable("audit", r, why);
    j = json_parse(reply.body, reply.len);
    if (reply.status != 200 || !json_is_array(j)) {
        cli_complain("audit", json_as_string(json_get(j, "detail"),
                                             _("the answer is not what it should be")));
        return CLI_EXIT_BAD;
    }
    if (as_json) {
        printf("%.*s\n", (int)reply.len, reply.body);
        return CLI_EXIT_OK;
    }
    CLEANUP_FREE const Json **rows = calloc(MAX(json_length(j), (size_t)1), sizeof *rows);
    size_t n = 0;
    for (const Json *row = json_first(j); row && rows; row = json_next(row))
        rows[n++] = row;
    while (n-- > 0)
        write_line(&out, rows[n], clock_now().wall_ms);
    cli_print(&out);
    return CLI_EXIT_OK;
}
