/* Looks with the very transport that the daemon uses, so what is well here is well there; the
 * environment is that of the user's manager, because the daemon usually has no ssh agent where a
 * terminal has one. Only if the log-in fails without it is it tried once more with it, to tell "the
 * key is not known there" from "only your agent has the key". */
#include "api/doctor.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/child.h"
#include "api/cli-options.h"
#include "api/doctor-steps.h"
#include "api/paths.h"
#include "api/registry.h"
#include "api/way.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

#define LOG_IN_US    (40U * USEC_PER_SEC) /* two log-ins of at most 15 s */
#define ASK_MS       8000
#define NAME_COLUMNS 22 /* the longest name of a step in any language, and a space */
#define AGENT        "SSH_AUTH_SOCK"

typedef struct Visit {
    Way way;
    bool is_over;
    int status;
    char *text; /* where an answer goes, size bytes */
    size_t size;
} Visit;

/* ---- small questions to programs ---- */

static void on_child(void *userdata, int error, int status, const char *out, size_t out_len,
                     const char *err)
{
    Visit *v = userdata;

    v->is_over = true;
    v->status = error < 0 ? 255 : status;
    const char *from = v->status == 0 ? out : err;
    size_t len = v->status == 0 ? out_len : strlen(err);
    snprintf(v->text, v->size, "%.*s", (int)MIN(len, v->size - 1), from);
}

/* Returns the exit code; text gets the output, or what the program complained. */
static int ask_program(const char *const *argv, char *text, size_t size)
{
    Visit v = {.text = text, .size = size, .status = 255};
    ChildSpec spec = {.argv = argv, .output_max = 65536, .timeout_ms = ASK_MS};
    sigset_t mask;

    text_copy(text, size, "");
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int r = sd_event_new(&v.way.event);
    if (r >= 0)
        r = child_run(v.way.event, &spec, on_child, &v, NULL);
    while (r >= 0 && !v.is_over)
        r = sd_event_run(v.way.event, UINT64_MAX);
    sd_event_unref(v.way.event);
    return r < 0 ? 255 : v.status;
}

/* The value of a line "key value" (or "key=value"), cleaned. */
static bool line_value(const char *text, const char *key, char *ret, size_t size)
{
    size_t len = strlen(key);

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, key, len) != 0)
            continue;
        const char *value = line + len;
        text_clean(ret, size, value, strcspn(value, "\n"));
        return true;
    }
    return false;
}

/* ---- another PC ---- */

static void on_state(void *userdata, Cause cause)
{
    Visit *v = userdata;

    (void)cause;
    v->is_over = true;
}

static void on_tools(void *userdata, int error, const char *output, size_t len)
{
    Visit *v = userdata;

    v->is_over = true;
    if (error >= 0)
        snprintf(v->text, v->size, "%.*s", (int)MIN(len, v->size - 1), output);
}

static void wait_for(Visit *v)
{
    uint64_t deadline = clock_now().mono_us + LOG_IN_US;

    while (!v->is_over && clock_now().mono_us < deadline)
        if (sd_event_run(v->way.event, 100 * USEC_PER_MSEC) < 0)
            return;
}

static int visit(DoctorFacts *f)
{
    static const TransportEvents events = {.state = on_state};
    Visit v = {.text = f->tools, .size = sizeof f->tools};
    int r = way_open(&v.way, f->host, f->host, false, &events, &v);

    if (r >= 0) {
        v.way.transport->ops->start(v.way.transport, clock_now());
        wait_for(&v);
        transport_ssh_report(v.way.transport, &f->ssh);
        v.is_over = false;
        if (f->ssh.cause == CAUSE_NONE && transport_ssh_tools(v.way.transport, on_tools, &v) >= 0)
            wait_for(&v);
    }
    way_done(&v.way);
    return r;
}

static void read_config(DoctorFacts *f)
{
    const char *const argv[] = {"ssh", "-G", "--", f->host, NULL};
    char text[65536];

    if (ask_program(argv, text, sizeof text) != 0) {
        text_clean(f->config_error, sizeof f->config_error, text, strcspn(text, "\n"));
        if (!f->config_error[0])
            text_copy(f->config_error, sizeof f->config_error, _("ssh is not installed"));
        return;
    }
    line_value(text, "hostname ", f->address, sizeof f->address);
    line_value(text, "user ", f->user, sizeof f->user);
}

static void read_agent(DoctorFacts *f)
{
    static const char *const argv[] = {"systemctl", "--user", "show-environment", NULL};
    const char *here = getenv(AGENT);
    char text[65536], value[256];

    f->agent_here = here && *here;
    f->agent_in_service = ask_program(argv, text, sizeof text) == 0 &&
                          line_value(text, AGENT "=", value, sizeof value) && value[0];
}

static int examine(DoctorFacts *f)
{
    const char *here = getenv(AGENT);
    CLEANUP_FREE char *agent = here ? strdup(here) : NULL;

    read_config(f);
    if (f->config_error[0])
        return 0;
    read_agent(f);
    if (!f->agent_here || f->agent_in_service || !agent)
        return visit(f);
    unsetenv(AGENT);
    int r = visit(f);
    setenv(AGENT, agent, 1);
    if (r < 0 || f->ssh.cause != CAUSE_KEY_REFUSED)
        return r;
    SshReport without = f->ssh;
    r = visit(f);
    f->needs_agent = f->ssh.cause == CAUSE_NONE;
    if (!f->needs_agent)
        f->ssh = without;
    return r;
}

/* ---- this PC ---- */

static void examine_own(DoctorOwn *own)
{
    static const TransportEvents events = {.state = on_state};
    static const char *const manager[] = {"systemctl", "--user", "show", "-p", "Version", NULL};
    static const char *const journal[] = {"journalctl", "--user", "-q",  "-n",
                                          "1",          "-o",     "cat", NULL};
    const struct passwd *pw = getpwuid(getuid());
    char text[4096], path[128];
    Visit v = {0};

    if (pw)
        text_copy(own->user, sizeof own->user, pw->pw_name);
    snprintf(path, sizeof path, "/var/lib/systemd/linger/%s", own->user);
    own->lingers = own->user[0] && access(path, F_OK) == 0;
    own->has_manager = ask_program(manager, text, sizeof text) == 0;
    own->has_journal = ask_program(journal, text, sizeof text) == 0;
    if (way_open(&v.way, "self", NULL, true, &events, &v) >= 0)
        own->has_bus =
            v.way.transport->ops->bus_address(v.way.transport, SCOPE_USER, text, sizeof text) >= 0;
    way_done(&v.way);
}

/* ---- the command ---- */

/* Returns whether a step failed. */
static bool print_steps(const DoctorStep *steps, size_t n)
{
    /* TRANSLATORS: these four words stand at the left of a line, at most five letters each */
    const char *const marks[] = {[DOCTOR_OK] = _("ok"),
                                 [DOCTOR_WARN] = _("warn"),
                                 [DOCTOR_FAIL] = _("FAIL"),
                                 [DOCTOR_UNTRIED] = "-"};
    size_t width = MAX(MAX(text_width(_("ok")), text_width(_("warn"))), text_width(_("FAIL"))) + 1;
    bool failed = false;

    for (size_t i = 0; i < n; i++) {
        const DoctorStep *s = &steps[i];
        failed = failed || s->state == DOCTOR_FAIL;
        fputs("  ", stdout);
        cli_pad(marks[s->state], width);
        if (s->detail[0])
            cli_pad(i18n_text(s->name), NAME_COLUMNS);
        else
            fputs(i18n_text(s->name), stdout);
        printf("%s\n", s->detail);
        if (s->fix[0])
            printf("  %*s$ %s\n", (int)width, "", s->fix);
    }
    return failed;
}

static bool report_own(const char *name)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    DoctorOwn own = {0};

    printf(_("%s (this PC)\n"), name);
    fflush(stdout);
    examine_own(&own);
    return print_steps(steps, doctor_judge_own(&own, steps));
}

static bool report_remote(const char *name, const char *host)
{
    DoctorStep steps[DOCTOR_STEPS_MAX];
    CLEANUP_FREE DoctorFacts *f = calloc(1, sizeof *f);

    if (!f)
        return true;
    f->host = host;
    printf("%s (ssh %s)\n", name, host);
    fflush(stdout);
    int r = examine(f);
    if (r < 0) {
        printf("  %s %s\n", _("FAIL"), strerror(-r));
        return true;
    }
    return print_steps(steps, doctor_judge_remote(f, steps));
}

static bool report_all(const Registry *r, const RegistryPc *self, const char *host_name)
{
    bool failed = report_own(self ? self->pc_id : host_name);

    for (size_t i = 0; i < r->n_pcs; i++) {
        const RegistryPc *pc = &r->pcs[i];
        if (pc == self)
            continue;
        failed |= report_remote(pc->pc_id, pc->ssh_host ? pc->ssh_host : pc->pc_id);
    }
    return failed;
}

static int report(const char *path, const char *wanted_self, const char *operand)
{
    CLEANUP(registry_freep) Registry *r = NULL;
    const RegistryPc *self = NULL;
    RegistryError error = {""};
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    int e = registry_load(path, &r, &error);
    if (e < 0 && (e != -ENOENT || !operand))
        return e == -ENOENT ? (report_own(host) ? CLI_EXIT_BAD : CLI_EXIT_OK)
                            : cli_complain("doctor", error.text);
    if (r && registry_self(r, wanted_self, host, &self, &error) < 0)
        self = NULL; /* an observer looks at all PCs over ssh */
    if (r && !operand)
        return report_all(r, self, host) ? CLI_EXIT_BAD : CLI_EXIT_OK;
    if (!operand)
        return CLI_EXIT_BAD;
    const RegistryPc *pc = r ? registry_find_pc(r, operand) : NULL;
    if ((pc && pc == self) || (!pc && strcmp(operand, host) == 0))
        return report_own(operand) ? CLI_EXIT_BAD : CLI_EXIT_OK;
    const char *alias = pc && pc->ssh_host ? pc->ssh_host : operand;
    if (!name_is_ssh_host(alias))
        return cli_complain("doctor",
                            _("that is no PC name; use letters, digits, '.', '_' and '-'"));
    return report_remote(operand, alias) ? CLI_EXIT_BAD : CLI_EXIT_OK;
}

int cli_doctor(int argc, char *argv[])
{
    CLEANUP_FREE char *default_registry = paths_registry();
    const char *path = default_registry, *self = NULL, *operand = NULL;
    int n = 0;
    const CliOption options[] = {
        {"registry", "FILE", N_("the registry"), CLI_TEXT, &path, 0, 0},
        {"self", "ID", N_("which PC this is; none: no PC of the registry"), CLI_TEXT, &self, 0, 0},
    };
    const CliCommand command = {
        "doctor",
        "[PC]",
        N_("Tell what is missing between this PC and another one (default: each PC of the\n"
           "registry), step by step, with the command that mends it. Any ssh alias will do."),
        options,
        ELEMENTS(options),
        0,
        1};

    int e = cli_parse(&command, argc, argv, &operand, &n);
    if (e >= 0)
        return e;
    if (!path)
        return cli_complain("doctor", _("HOME is not set; give --registry FILE"));
    return report(path, self, n > 0 ? operand : NULL);
}
