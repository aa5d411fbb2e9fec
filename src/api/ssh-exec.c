/* See ssh-exec.h. The script is one compound command, because some shells (dash) read their stdin
 * in blocks: only when the closing brace has been parsed is it certain that what we send next is
 * left for `read`. It says so with the frame of the first nonce, and we send nothing before.
 *
 * A request is "<nonce> <word> <seconds>", lines of data, and the nonce again. The remote stderr is
 * closed to the commands, so that ours holds ssh's own words; only a sign of life (a space) is
 * written there every 30 s: a PC that lost us while its link was down notices by it that nobody is
 * there and ends the session, which sshd alone would do after two hours. The script's end takes its
 * whole process group along: nothing of ours stays on a PC. */
#include "api/ssh-exec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "api/ssh-frame.h"
#include "basic/buffer.h"
#include "basic/clock.h"
#include "basic/macro.h"

#define ENDED_US  (500U * USEC_PER_MSEC) /* from EOF to the end of ssh, which knows why */
#define MARGIN_US (3U * USEC_PER_SEC)    /* our deadline beyond the remote one */
#define READ_MAX  16384

typedef struct SshRun {
    char nonce[SSH_NONCE_LEN + 1];
    char *request;
    size_t request_len;
    size_t output_max;
    uint32_t timeout_ms;
    SshReply callback;
    void *userdata;
    struct SshRun *next;
} SshRun;

struct SshShell {
    Nest *nest;
    NestWatch in_watch, out_watch;
    int in, out;
    Buffer to_send;
    SshFrame frame;
    bool is_ready, is_broken, is_ended;
    SshRun *current; /* the first of the queue, once it was sent */
    SshRun *queue, **queue_end;
    size_t n_queued;
    uint64_t deadline_us; /* of the start, or of the current run */
    SshShellEvents events;
    void *userdata;
};

/* clang-format off */
const char ssh_script[] =
"{ exec 3>&2 2>/dev/null\n"
"LC_ALL=C PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"
"unset SYSTEMD_COLORS SYSTEMD_PAGER; uid=$(id -u); XDG_RUNTIME_DIR=/run/user/$uid\n"
"export LC_ALL PATH XDG_RUNTIME_DIR\n"
"has() { command -v \"$1\" >/dev/null; }\n"
"is() { if \"$@\"; then echo yes; else echo no; fi; }\n"
"listens() { test -S \"$1\" && { ! has ss || [ -n \"$(timeout 5 ss -Hxl src \"$1\")\" ]; }; }\n"
"has timeout || timeout() { shift; \"$@\"; }\n"
"about() {\n"
" uname -srm; echo \"clock=$(date +%s%3N)\"; echo \"uid=$uid\"\n"
" boot=; read -r boot </proc/sys/kernel/random/boot_id; echo \"boot=$boot\"\n"
" echo \"linger=$(is test -e \"/var/lib/systemd/linger/$(id -un)\")\"\n"
" bus=$(is listens \"$XDG_RUNTIME_DIR/bus\"); echo \"bus=$bus\"\n"
" [ $bus = yes ] || echo \"manager=$(is timeout 5 systemctl is-active -q \"user@$uid.service\")\"\n"
"}\n"
"journal() {\n"
" s=$1 u=$2 i=$3; set -- -q --no-pager --output=json --output-fields=MESSAGE,PRIORITY -n \"$4\"\n"
" case $s,$i in\n"
" user,-) set -- \"$@\" --user-unit \"$u\" ;;\n"
" system,-) set -- \"$@\" --unit \"$u\" ;;\n"
" user,*) set -- \"$@\" \"_SYSTEMD_INVOCATION_ID=$i\" + \"USER_INVOCATION_ID=$i\" ;;\n"
" *) set -- \"$@\" \"_SYSTEMD_INVOCATION_ID=$i\" + \"INVOCATION_ID=$i\" ;;\n"
" esac; timeout $limit journalctl \"$@\"\n"
"}\n"
"units() {\n"
" s=$1; shift; timeout $limit systemctl \"--$s\" --no-pager --timestamp=us+utc show"
" -p Id,LoadState,ActiveState,SubState,Type,RemainAfterExit,MainPID,NRestarts,Result"
" -p ExecMainCode,ExecMainStatus,InvocationID,UnitFileState,ControlGroup,ActiveEnterTimestamp"
" -p InactiveEnterTimestamp,StateChangeTimestamp,ExecMainExitTimestamp -- \"$@\"\n"
"}\n"
"health() { printf '%s\\n' \"$@\" | timeout $limit curl -q -s -Z --parallel-max 64 --config -; }\n"
"tools() { for t in timeout ss curl journalctl systemctl loginctl; do echo \"$t=$(is has $t)\"; done; }\n"
"(while sleep 30 <&- >&- 3>&-; do printf ' ' >&3 || exit; done) </dev/null >/dev/null &\n"
"trap 'trap \"\" TERM; kill -TERM 0' EXIT; trap exit HUP INT PIPE TERM\n"
"printf '\\n%s begin\\n\\n%s end 0\\n' $nonce $nonce\n"
"while read -r nonce word limit; do\n"
" set --; while IFS= read -r line && [ \"$line\" != \"$nonce\" ]; do set -- \"$@\" \"$line\"; done\n"
" printf '\\n%s begin\\n' \"$nonce\"\n"
" case $word in\n"
" about) about ;;\n"
" ports) timeout $limit ss -Htlne ;;\n"
" journal) journal \"$@\" ;;\n"
" units) units \"$@\" ;;\n"
" health) health \"$@\" ;;\n"
" tools) tools ;;\n"
" *) (exit 127) ;;\n"
" esac </dev/null\n"
" printf '\\n%s end %d\\n' \"$nonce\" $?\n"
"done; exit; }\n";
/* clang-format on */

static const char *const words[SSH_COMMAND_MAX] = {
    [SSH_ABOUT] = "about", [SSH_PORTS] = "ports",   [SSH_JOURNAL] = "journal",
    [SSH_UNITS] = "units", [SSH_HEALTH] = "health", [SSH_TOOLS] = "tools",
};

static int nonce_make(char ret[SSH_NONCE_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[SSH_NONCE_LEN / 2];

    if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return -EIO;
    for (size_t i = 0; i < sizeof random; i++) {
        ret[2 * i] = digits[random[i] >> 4];
        ret[2 * i + 1] = digits[random[i] & 15];
    }
    ret[SSH_NONCE_LEN] = '\0';
    return 0;
}

/* ---- the queue ---- */

static SshRun *run_free(SshRun *r)
{
    if (r) {
        free(r->request);
        free(r);
    }
    return NULL;
}

static SshRun *queue_pop(SshShell *s)
{
    SshRun *r = s->queue;

    s->queue = r->next;
    if (!s->queue)
        s->queue_end = &s->queue;
    s->n_queued--;
    return r;
}

static void queue_clear(SshShell *s)
{
    s->current = run_free(s->current);
    while (s->queue)
        run_free(queue_pop(s));
}

static void break_down(SshShell *s, Cause cause)
{
    if (s->is_broken)
        return;
    s->is_broken = true;
    s->deadline_us = 0;
    nest_remove(s->nest, &s->in_watch);
    nest_remove(s->nest, &s->out_watch);
    s->events.broken(s->userdata, cause);
}

static void run_abort(SshRun *r)
{
    r->callback(r->userdata, -ENOTCONN, "", 0);
    run_free(r);
}

void ssh_shell_abort(SshShell *s)
{
    s->is_broken = true;
    s->deadline_us = 0;
    nest_remove(s->nest, &s->in_watch);
    nest_remove(s->nest, &s->out_watch);
    if (s->current)
        run_abort(TAKE_PTR(s->current));
    while (s->queue)
        run_abort(queue_pop(s));
}

/* ---- sending ---- */

static void send_more(SshShell *s)
{
    while (s->to_send.len > 0) {
        ssize_t n = write(s->in, s->to_send.data, s->to_send.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            nest_remove(s->nest, &s->in_watch); /* its end is seen on the other side */
            return;
        }
        if (n < 0)
            break;
        buffer_consume(&s->to_send, (size_t)n);
    }
    bool wants = s->to_send.len > 0;
    if (!wants)
        nest_remove(s->nest, &s->in_watch);
    else if (s->in_watch.fd < 0)
        nest_add(s->nest, &s->in_watch, s->in, EPOLLOUT, s->in_watch.callback);
}

static void on_in(NestWatch *w, uint32_t events UNUSED)
{
    send_more(container_of(w, SshShell, in_watch));
}

static void send(SshShell *s, const char *text, size_t len)
{
    buffer_append(&s->to_send, text, len);
    s->in_watch.callback = on_in;
    send_more(s);
}

static void next_run(SshShell *s)
{
    if (s->current || !s->queue || !s->is_ready || s->is_broken || s->is_ended)
        return;
    s->current = queue_pop(s);
    ssh_frame_begin(&s->frame, s->current->nonce, s->current->output_max);
    s->deadline_us = clock_now().mono_us + s->current->timeout_ms * USEC_PER_MSEC + MARGIN_US;
    send(s, s->current->request, s->current->request_len);
}

/* ---- receiving ---- */

static int error_of(const SshFrame *f)
{
    if (f->too_long)
        return -EFBIG;
    switch (f->status) {
    case 0: return 0;
    case 124: return -ETIMEDOUT; /* of timeout(1) */
    case 126:
    case 127: return -ENOENT;
    default: return -EIO;
    }
}

static void on_frame(SshShell *s)
{
    SshRun *r = TAKE_PTR(s->current);

    s->deadline_us = 0;
    if (!s->is_ready) {
        s->is_ready = true;
        s->events.ready(s->userdata);
    } else if (r) {
        /* the callback may start further runs: they wait until this frame is done with */
        s->is_ready = false;
        r->callback(r->userdata, error_of(&s->frame), buffer_cstr(&s->frame.data),
                    s->frame.data.len);
        s->is_ready = true;
        run_free(r);
    }
    next_run(s);
}

static void on_out(NestWatch *w, uint32_t events UNUSED)
{
    SshShell *s = container_of(w, SshShell, out_watch);
    char bytes[READ_MAX];
    ssize_t n = read(s->out, bytes, sizeof bytes);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* why, ssh's end tells, which follows; but ssh stays while channels are open */
        s->is_ended = true;
        s->deadline_us = clock_now().mono_us + ENDED_US;
        nest_remove(s->nest, &s->out_watch);
        return;
    }
    if (s->is_ready && !s->current)
        return; /* nobody asked */
    int r = ssh_frame_feed(&s->frame, bytes, (size_t)n);
    if (r > 0)
        on_frame(s);
    else if (r < 0)
        break_down(s, CAUSE_SHELL_BROKEN);
}

/* ---- the object ---- */

SshShell *ssh_shell_free(SshShell *s)
{
    if (!s)
        return NULL;
    nest_remove(s->nest, &s->in_watch);
    nest_remove(s->nest, &s->out_watch);
    queue_clear(s);
    buffer_done(&s->to_send);
    ssh_frame_done(&s->frame);
    free(s);
    return NULL;
}

int ssh_shell_new(Nest *nest, int in, int out, const SshShellEvents *events, void *userdata,
                  SshShell **ret)
{
    SshShell *s = calloc(1, sizeof *s);
    char nonce[SSH_NONCE_LEN + 1], first[SSH_NONCE_LEN + 16];

    if (!s)
        return -ENOMEM;
    *s = (SshShell){.nest = nest,
                    .in_watch = NEST_WATCH_INIT,
                    .out_watch = NEST_WATCH_INIT,
                    .in = in,
                    .out = out,
                    .to_send = BUFFER_INIT(2 * SSH_DATA_MAX),
                    .queue_end = NULL,
                    .events = *events,
                    .userdata = userdata};
    s->queue_end = &s->queue;
    int r = nonce_make(nonce);
    if (r >= 0)
        r = nest_add(nest, &s->out_watch, out, EPOLLIN, on_out);
    if (r < 0) {
        ssh_shell_free(s);
        return r;
    }
    ssh_frame_begin(&s->frame, nonce, READ_MAX);
    int n = snprintf(first, sizeof first, "nonce=%s\n", nonce);
    send(s, first, (size_t)n);
    send(s, ssh_script, strlen(ssh_script));
    *ret = s;
    return 0;
}

static bool data_is_clean(const char *data)
{
    size_t len = strlen(data);

    if (len > SSH_DATA_MAX || (len > 0 && data[len - 1] != '\n'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (data[i] != '\n' && ((unsigned char)data[i] < 0x20 || data[i] == 0x7F))
            return false;
    return true;
}

int ssh_exec(SshShell *s, SshCommand command, const char *data, size_t output_max,
             uint32_t timeout_ms, SshReply callback, void *userdata)
{
    if (s->is_broken)
        return -ENOTCONN;
    if ((unsigned)command >= SSH_COMMAND_MAX || !data_is_clean(data))
        return -EINVAL;
    if (s->n_queued >= SSH_QUEUE_MAX)
        return -EBUSY;
    SshRun *r = calloc(1, sizeof *r);
    if (!r || nonce_make(r->nonce) < 0) {
        run_free(r);
        return -ENOMEM;
    }
    r->output_max = output_max;
    r->timeout_ms = timeout_ms;
    r->callback = callback;
    r->userdata = userdata;
    int n = asprintf(&r->request, "%s %s %u\n%s%s\n", r->nonce, words[command],
                     (unsigned)((timeout_ms + 999) / 1000), data, r->nonce);
    if (n < 0) {
        r->request = NULL;
        run_free(r);
        return -ENOMEM;
    }
    r->request_len = (size_t)n;
    *s->queue_end = r;
    s->queue_end = &r->next;
    s->n_queued++;
    next_run(s);
    return 0;
}

bool ssh_shell_is_idle(const SshShell *s)
{
    return s->is_ready && !s->is_broken && !s->current && !s->queue;
}

uint64_t ssh_shell_next_us(const SshShell *s)
{
    return s->deadline_us ? s->deadline_us : UINT64_MAX;
}

void ssh_shell_tick(SshShell *s, uint64_t now_us)
{
    if (s->deadline_us && now_us >= s->deadline_us)
        break_down(s, CAUSE_SHELL_BROKEN);
}
