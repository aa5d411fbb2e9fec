/* See doctor-steps.h. A connection is a chain: the cause says at which link it broke, so the links
 * before it are well and those behind it cannot be judged. */
#include "api/doctor-steps.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/reconcile.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/sentence.h"

typedef enum Link {
    LINK_CONFIG,
    LINK_NAME,
    LINK_REACH,
    LINK_HOST_KEY,
    LINK_LOG_IN,
    LINK_SHELL,
    LINK_MAX
} Link;

static const char *const link_names[LINK_MAX] = {
    [LINK_CONFIG] = N_("ssh config"), [LINK_NAME] = N_("host name"),
    [LINK_REACH] = N_("connection"),  [LINK_HOST_KEY] = N_("host key"),
    [LINK_LOG_IN] = N_("log-in"),     [LINK_SHELL] = N_("shell"),
};

typedef struct Mend {
    Cause cause;
    Link link;
    const char *fix;    /* %h: the alias, %a: the address, %u: the user there */
    const char *remark; /* a shell comment for whoever types the command; NULL: none */
} Mend;

static const Mend mends[] = {
    {CAUSE_SSH_CONFIG, LINK_CONFIG, "ssh -G %h", N_("shows the line of ~/.ssh/config to correct")},
    {CAUSE_HOST_UNKNOWN, LINK_NAME, "printf 'Host %h\\n  HostName ADDRESS\\n' >>~/.ssh/config",
     N_("its real name or address")},
    {CAUSE_HOST_REFUSED, LINK_REACH,
     "sudo apt install openssh-server && sudo systemctl enable --now ssh", N_("on that PC")},
    {CAUSE_HOST_TIMEOUT, LINK_REACH, "ping %a", N_("is it switched on, and in the same network?")},
    {CAUSE_HOST_UNROUTABLE, LINK_REACH, "ip route get %a", N_("is the network (VPN?) up?")},
    {CAUSE_BUS_SILENT, LINK_REACH, "ping %a", N_("it stopped answering while it was asked")},
    {CAUSE_HOST_KEY_UNKNOWN, LINK_HOST_KEY, "ssh -o StrictHostKeyChecking=ask %h true",
     N_("compare the fingerprint, answer yes")},
    {CAUSE_HOST_KEY_CHANGED, LINK_HOST_KEY,
     "ssh-keygen -R %a && ssh -o StrictHostKeyChecking=ask %h true",
     N_("only if you know why it changed")},
    {CAUSE_KEY_REFUSED, LINK_LOG_IN, "ssh-copy-id %h", NULL},
    {CAUSE_SHELL_BROKEN, LINK_SHELL, "ssh %h 'exec sh -c \"echo well\"'",
     N_("must print: well; see ~/.bashrc and the login shell there")},
    {CAUSE_SSH_FAILED, LINK_REACH, "ssh -v -o BatchMode=yes %h true", N_("the last lines say why")},
};

/* ---- writing ---- */

static DoctorStep *add(DoctorStep *steps, size_t *n, const char *name, DoctorState state)
{
    DoctorStep *s = &steps[(*n)++];

    *s = (DoctorStep){.name = name, .state = state};
    return s;
}

static void PRINTF(2, 3) detail(DoctorStep *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(s->detail, sizeof s->detail, format, args);
    va_end(args);
}

/* The cause's sentence in the reader's language. */
static const char *said(char ret[static SENTENCE_MAX], Cause cause)
{
    return sentence_translate(ret, cause_sentence(cause));
}

static void fix(DoctorStep *s, const DoctorFacts *f, const char *text, const char *remark)
{
    size_t n = 0;

    for (; *text && n + 1 < sizeof s->fix; text++) {
        const char *value = NULL;
        if (*text == '%')
            value = text[1] == 'h'   ? f->host
                    : text[1] == 'a' ? (f->address[0] ? f->address : f->host)
                    : text[1] == 'u' ? (f->user[0] ? f->user : "$USER")
                                     : NULL;
        if (!value) {
            s->fix[n++] = *text;
            continue;
        }
        n += strlen(text_copy(s->fix + n, sizeof s->fix - n, value));
        text++;
    }
    s->fix[n] = '\0';
    if (remark)
        snprintf(s->fix + n, sizeof s->fix - n, "   # %s", i18n_text(remark));
}

/* ---- the chain ---- */

static const Mend *mend_of(Cause cause)
{
    for (size_t i = 0; i < ELEMENTS(mends); i++)
        if (mends[i].cause == cause)
            return &mends[i];
    return &mends[ELEMENTS(mends) - 1];
}

static void break_link(DoctorStep *s, const DoctorFacts *f, const Mend *mend)
{
    const char *ssh_said = f->config_error[0] ? f->config_error : f->ssh.last_line;
    char sentence[SENTENCE_MAX];

    s->state = DOCTOR_FAIL;
    said(sentence, mend->cause);
    if (mend->cause == CAUSE_KEY_REFUSED && f->agent_here && !f->agent_in_service)
        detail(s, _("%s (your agent is not known to user services)"), sentence);
    else
        detail(s, "%s%s%s", sentence, ssh_said[0] ? ": " : "", ssh_said);
    fix(s, f, mend->fix, mend->remark);
}

static void judge_chain(const DoctorFacts *f, DoctorStep *steps, size_t *n)
{
    Cause cause = f->config_error[0] ? CAUSE_SSH_CONFIG : f->ssh.cause;
    const Mend *mend = cause == CAUSE_NONE ? NULL : mend_of(cause);

    for (int i = 0; i < LINK_MAX; i++) {
        DoctorState state = !mend || i < (int)mend->link ? DOCTOR_OK : DOCTOR_UNTRIED;
        DoctorStep *s = add(steps, n, link_names[i], state);
        if (mend && i == (int)mend->link)
            break_link(s, f, mend);
        else if (i == LINK_CONFIG && f->address[0])
            detail(s, _("%s is %s%s%s"), f->host, f->user, f->user[0] ? "@" : "", f->address);
    }
}

static void judge_agent(const DoctorFacts *f, DoctorStep *steps, size_t *n)
{
    if (!f->needs_agent)
        return;
    DoctorStep *s = add(steps, n, N_("agent"), DOCTOR_FAIL);
    detail(s, "%s", _("only your ssh agent has the key, and user services do not know the agent"));
    fix(s, f,
        "systemctl --user import-environment SSH_AUTH_SOCK && systemctl --user restart "
        "services_api",
        NULL);
}

/* ---- what is there ---- */

static void judge_manager(const DoctorFacts *f, DoctorStep *steps, size_t *n)
{
    char sentence[SENTENCE_MAX];
    DoctorStep *s = add(steps, n, N_("user manager"), f->ssh.has_manager ? DOCTOR_OK : DOCTOR_FAIL);

    if (!f->ssh.has_manager) {
        detail(s, "%s", said(sentence, CAUSE_NO_USER_MANAGER));
        fix(s, f, "ssh -t %h 'sudo apt install libpam-systemd; sudo loginctl enable-linger %u'",
            NULL);
    }
    s = add(steps, n, N_("linger"), f->ssh.lingers ? DOCTOR_OK : DOCTOR_WARN);
    if (!f->ssh.lingers) {
        detail(s, "%s",
               _("user services stop at logout; our own log-in may be what keeps them alive"));
        fix(s, f, "ssh -t %h sudo loginctl enable-linger %u", NULL);
    }
    s = add(steps, n, N_("user bus"),
            f->ssh.bus_exists    ? DOCTOR_OK
            : f->ssh.has_manager ? DOCTOR_FAIL
                                 : DOCTOR_UNTRIED);
    if (s->state == DOCTOR_FAIL) {
        detail(s, "%s", said(sentence, CAUSE_NO_BUS));
        fix(s, f, "ssh -t %h sudo apt install dbus-user-session", N_("then log in anew there"));
    }
}

static void judge_forwards(const DoctorFacts *f, DoctorStep *steps, size_t *n)
{
    DoctorState bus = f->ssh.bus_forwarded ? DOCTOR_OK
                      : f->ssh.bus_exists  ? DOCTOR_WARN
                                           : DOCTOR_UNTRIED;
    DoctorStep *s = add(steps, n, N_("forward of the bus"), bus);

    if (bus == DOCTOR_WARN) {
        detail(s, "%s", _("its sshd forbids it: states are polled, events are missed"));
        fix(s, f,
            "ssh -t %h \"echo AllowStreamLocalForwarding yes | sudo tee "
            "/etc/ssh/sshd_config.d/00-services.conf && sudo systemctl reload ssh\"",
            NULL);
    }
    s = add(steps, n, N_("forward of ports"), f->ssh.tcp_forwarded ? DOCTOR_OK : DOCTOR_WARN);
    if (!f->ssh.tcp_forwarded) {
        detail(s, "%s", _("its sshd forbids it: health is asked by curl over there"));
        fix(s, f,
            "ssh -t %h \"echo AllowTcpForwarding yes | sudo tee "
            "/etc/ssh/sshd_config.d/00-services.conf && sudo systemctl reload ssh\"",
            NULL);
    }
}

static bool has_tool(const DoctorFacts *f, const char *tool)
{
    char mark[32];

    snprintf(mark, sizeof mark, "\n%s=yes\n", tool);
    const char *first = strchr(mark, '\n') + 1;
    return strncmp(f->tools, first, strlen(first)) == 0 || strstr(f->tools, mark) != NULL;
}

static void judge_tools(const DoctorFacts *f, DoctorStep *steps, size_t *n)
{
    static const struct {
        const char *tool, *package;
    } tools[] = {{"timeout", "coreutils"},
                 {"ss", "iproute2"},
                 {"journalctl", "systemd"},
                 {"systemctl", "systemd"},
                 {"curl", "curl"}};
    char missing[128] = "", packages[128] = "";

    for (size_t i = 0; i < ELEMENTS(tools); i++) {
        bool is_needed = f->ssh.tcp_forwarded ? strcmp(tools[i].tool, "curl") != 0 : true;
        if (has_tool(f, tools[i].tool) || !is_needed)
            continue;
        size_t m = strlen(missing), p = strlen(packages);
        snprintf(missing + m, sizeof missing - m, " %s", tools[i].tool);
        snprintf(packages + p, sizeof packages - p, " %s", tools[i].package);
    }
    DoctorStep *s = add(steps, n, N_("programs"), missing[0] ? DOCTOR_FAIL : DOCTOR_OK);
    if (!missing[0])
        return;
    char command[300];
    detail(s, _("missing:%s"), missing);
    snprintf(command, sizeof command, "ssh -t %%h sudo apt install%s", packages);
    fix(s, f, command, NULL);
}

size_t doctor_judge_remote(const DoctorFacts *f, DoctorStep steps[DOCTOR_STEPS_MAX])
{
    size_t n = 0;

    judge_chain(f, steps, &n);
    judge_agent(f, steps, &n);
    if (f->config_error[0] || f->ssh.cause != CAUSE_NONE)
        return n;
    judge_manager(f, steps, &n);
    judge_forwards(f, steps, &n);
    judge_tools(f, steps, &n);
    return n;
}

/* ---- the own PC ---- */

size_t doctor_judge_own(const DoctorOwn *own, DoctorStep steps[DOCTOR_STEPS_MAX])
{
    DoctorFacts f = {.host = ""};
    char sentence[SENTENCE_MAX];
    size_t n = 0;

    text_copy(f.user, sizeof f.user, own->user);
    DoctorStep *s = add(steps, &n, N_("user bus"), own->has_bus ? DOCTOR_OK : DOCTOR_FAIL);
    if (!own->has_bus) {
        detail(s, "%s", said(sentence, CAUSE_NO_BUS));
        fix(s, &f, "sudo apt install dbus-user-session", N_("then log in anew"));
    }
    s = add(steps, &n, N_("user manager"),
            own->has_manager ? DOCTOR_OK
            : own->has_bus   ? DOCTOR_FAIL
                             : DOCTOR_UNTRIED);
    if (s->state == DOCTOR_FAIL) {
        detail(s, "%s", said(sentence, CAUSE_NO_USER_MANAGER));
        fix(s, &f, "sudo systemctl restart user@$(id -u).service", NULL);
    }
    s = add(steps, &n, N_("linger"), own->lingers ? DOCTOR_OK : DOCTOR_WARN);
    if (!own->lingers) {
        detail(s, "%s", _("user services, this program among them, stop at logout"));
        fix(s, &f, "loginctl enable-linger", NULL);
    }
    s = add(steps, &n, N_("journal"), own->has_journal ? DOCTOR_OK : DOCTOR_WARN);
    if (!own->has_journal) {
        detail(s, "%s", _("the last lines of a dead service cannot be read"));
        fix(s, &f, "sudo usermod -aG systemd-journal %u", N_("then log in anew"));
    }
    return n;
}
