/* The life of the connection.
 *
 *   idle -> connecting -> checking -> up -> (ending) -> idle -> ...
 *
 * The first log-in has no forwards and only learns the remote uid, because the path of the user bus
 * holds it; the session proper follows at once. The uid is remembered for as long as we run, and a
 * session that finds another one begins anew.
 *
 * The end of a connection is always the end of its process, seen by pidfd; whatever else goes wrong
 * (a deadline, a shell that talks nonsense) only stops the process and notes the cause. So there is
 * one place where everything is torn down. Process, shell and trials call back from the nest; none
 * of them is freed inside its own callback, but for the process in its last one.
 *
 * sshd refuses a channel to a UNIX socket with the same words whether it is forbidden or the socket
 * is missing; therefore the shell is asked which it is. */
#include "api/transport-ssh-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "api/ssh-cause.h"
#include "basic/log.h"
#include "basic/text.h"
#include "common/name.h"

#define CONNECT_US (15U * USEC_PER_SEC)
#define TRIAL_US   (3U * USEC_PER_SEC)
#define STABLE_US  (10U * USEC_PER_SEC) /* a session that lived this long begins backoff anew */
#define ENDING_US  (1100U * USEC_PER_MSEC)
#define PORTS_EVERY_US \
    (10U * USEC_PER_SEC) /* a look is three processes there; rechecks come sooner */
#define ABOUT_MAX 4096
#define ABOUT_MS  8000

static void connect_now(SshTransport *t, Now now);

static void tell(SshTransport *t, Cause cause)
{
    if (t->told == cause)
        return;
    t->told = cause;
    t->base.events.state(t->base.userdata, cause);
}

/* ---- the end ---- */

static void end_session(SshTransport *t, Cause cause)
{
    if (t->phase == SSH_ENDING || !t->process)
        return;
    t->phase = SSH_ENDING;
    t->ending_cause = cause;
    t->deadline_us = clock_now().mono_us + ENDING_US;
    ssh_process_stop(t->process, clock_now().mono_us);
}

static void tear_down(SshTransport *t)
{
    ssh_trial_stop(&t->bus_trial);
    ssh_trial_stop(&t->socks_trial);
    if (t->shell)
        ssh_shell_abort(t->shell);
    t->shell = ssh_shell_free(t->shell);
    t->process = ssh_process_free(t->process);
    ssh_sockets_unlink(&t->sockets, t->forwarded, t->n_forwarded);
    ssh_limiter_done(t->limiter, &t->pace);
    t->phase = SSH_IDLE;
    t->deadline_us = UINT64_MAX;
    t->about_pending = false;
    ssh_health_flush(t, clock_now().mono_us); /* what still waits is told that it cannot be asked */
}

static void slow_down(SshTransport *t, bool was_up)
{
    uint64_t now_us = clock_now().mono_us;
    uint32_t chance = 0;

    if (was_up && now_us - t->up_since_us >= STABLE_US)
        ssh_pace_succeeded(&t->pace);
    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != (ssize_t)sizeof chance)
        chance = (uint32_t)now_us;
    ssh_pace_failed(&t->pace, now_us, chance);
}

static void failed(SshTransport *t, Cause cause, bool was_up)
{
    slow_down(t, was_up);
    t->report.cause = cause;
    if (t->told != cause)
        log_info("%s: no connection: %s%s%s", t->pc_id, cause_to_string(cause),
                 t->report.last_line[0] ? ": " : "", t->report.last_line);
    tell(t, cause);
}

static void on_ended(void *userdata, int status)
{
    SshTransport *t = userdata;
    bool was_up = t->up_since_us != 0;
    size_t len;
    const char *said = ssh_process_said(t->process, &len);
    Cause cause = t->ending_cause;
    bool again = t->has_learned;

    ssh_last_line(said, len, t->report.last_line, sizeof t->report.last_line);
    if (!t->no_socket_socks && ssh_said_no_socket_socks(said, len)) {
        t->no_socket_socks = again = true;
        t->report.socks_supported = false;
    }
    if (cause == CAUSE_NONE)
        cause = ssh_cause(said, len, t->report.authenticated, status);
    tear_down(t);
    t->has_learned = false;
    if (again) {
        connect_now(t, clock_now());
        return;
    }
    failed(t, cause, was_up);
    t->up_since_us = 0;
}

/* ---- up ---- */

static void go_up(SshTransport *t)
{
    size_t len;
    const char *said = ssh_process_said(t->process, &len);

    t->tcp_refused =
        t->socks_trial.nest && !t->socks_trial.answered && ssh_said_prohibited(said, len);
    t->bus_refused = t->report.bus_exists && t->bus_trial.is_over && !t->bus_trial.answered;
    ssh_trial_stop(&t->bus_trial);
    ssh_trial_stop(&t->socks_trial);
    t->base.is_polled = t->bus_refused;
    t->report.bus_forwarded = t->report.bus_exists && !t->bus_refused;
    t->report.tcp_forwarded = !t->tcp_refused;
    t->report.cause = CAUSE_NONE;
    t->phase = SSH_UP;
    t->deadline_us = UINT64_MAX;
    t->up_since_us = clock_now().mono_us;
    ssh_owners_done(&t->owners);
    log_info("%s: connected%s%s", t->pc_id, t->bus_refused ? ", its sshd forbids the bus" : "",
             t->tcp_refused ? ", its sshd forbids TCP forwards" : "");
    tell(t, CAUSE_NONE);
}

static void on_trial_over(void *userdata)
{
    SshTransport *t = userdata;

    if (t->phase == SSH_CHECKING && t->bus_trial.is_over && t->socks_trial.is_over)
        go_up(t);
}

static void begin_trials(SshTransport *t)
{
    t->deadline_us = clock_now().mono_us + TRIAL_US;
    if (!t->report.bus_exists ||
        ssh_trial_bus(&t->bus_trial, t->nest, t->sockets.user_bus, on_trial_over, t) < 0)
        t->bus_trial.is_over = true;
    if (t->no_socket_socks ||
        ssh_trial_socks(&t->socks_trial, t->nest, t->sockets.socks, on_trial_over, t) < 0)
        t->socks_trial.is_over = true;
    on_trial_over(t);
}

/* ---- who we are there ---- */

/* The value behind "\nkey="; false: there is none. */
static bool value_find(const char *text, size_t len, const char *key, char *ret, size_t size)
{
    char mark[32];
    int n = snprintf(mark, sizeof mark, "\n%s=", key);
    const char *at = memmem(text, len, mark, (size_t)n);

    if (!at)
        return false;
    at += n;
    size_t left = (size_t)(text + len - at);
    const char *end = memchr(at, '\n', left);
    text_clean(ret, size, at, end ? (size_t)(end - at) : left);
    return true;
}

static bool is_yes(const char *text, size_t len, const char *key)
{
    char value[8];

    return value_find(text, len, key, value, sizeof value) && strcmp(value, "yes") == 0;
}

static bool about_read(SshTransport *t, const char *text, size_t len, uint32_t *ret_uid)
{
    char value[16];

    if (!value_find(text, len, "uid", value, sizeof value) || !value[0] ||
        value[strspn(value, "0123456789")])
        return false;
    unsigned long long uid = strtoull(value, NULL, 10);
    if (uid >= UINT32_MAX)
        return false;
    t->report.lingers = is_yes(text, len, "linger");
    t->report.bus_exists = is_yes(text, len, "bus");
    t->report.has_manager = t->report.bus_exists || is_yes(text, len, "manager");
    char boot[BOOT_ID_LEN + 8]; /* room, so that a longer one does not become a good one */
    bool tells = value_find(text, len, "boot", boot, sizeof boot) && name_is_boot_id(boot);
    text_copy(t->base.boot_id, sizeof t->base.boot_id, tells ? boot : "");
    *ret_uid = (uint32_t)uid;
    return true;
}

static void on_first_about(void *userdata, int error, const char *output, size_t len)
{
    SshTransport *t = userdata;
    uint32_t uid;

    if (t->phase != SSH_CHECKING)
        return;
    if (error < 0 || !about_read(t, output, len, &uid)) {
        end_session(t, CAUSE_SHELL_BROKEN);
        return;
    }
    bool is_new = !t->uid_known || uid != t->report.uid;
    t->uid_known = true;
    t->report.uid = uid;
    if (t->is_learning || is_new) {
        t->has_learned = true;
        end_session(t, CAUSE_NONE);
    } else {
        begin_trials(t);
    }
}

static void on_about(void *userdata, int error, const char *output, size_t len)
{
    SshTransport *t = userdata;
    uint32_t uid;

    t->about_pending = false;
    if (error >= 0)
        about_read(t, output, len, &uid);
}

void ssh_about_refresh(SshTransport *t)
{
    if (t->about_pending || t->phase != SSH_UP)
        return;
    t->about_pending = ssh_exec(t->shell, SSH_ABOUT, "", ABOUT_MAX, ABOUT_MS, on_about, t) >= 0;
}

/* ---- connecting ---- */

static void on_said(void *userdata)
{
    SshTransport *t = userdata;
    size_t len;
    const char *said = ssh_process_said(t->process, &len);

    if (t->report.authenticated || !ssh_said_authenticated(said, len))
        return;
    t->report.authenticated = true;
    ssh_limiter_done(t->limiter, &t->pace);
}

static void on_ready(void *userdata)
{
    SshTransport *t = userdata;

    t->phase = SSH_CHECKING;
    t->report.authenticated = t->report.shell_ran = true;
    ssh_limiter_done(t->limiter, &t->pace);
    if (ssh_exec(t->shell, SSH_ABOUT, "", ABOUT_MAX, ABOUT_MS, on_first_about, t) < 0)
        end_session(t, CAUSE_SSH_FAILED);
}

static void on_broken(void *userdata, Cause cause)
{
    end_session(userdata, cause);
}

static int argv_make(SshTransport *t, SshArgv *argv)
{
    t->is_learning = !t->uid_known;
    t->n_forwarded = 0;
    if (t->is_learning)
        return ssh_argv_plain(t->host, argv);
    if (t->no_socket_socks) {
        memcpy(t->forwarded, t->wanted, sizeof t->wanted);
        t->n_forwarded = t->n_wanted;
    }
    ssh_sockets_unlink(&t->sockets, t->forwarded, t->n_forwarded);
    return ssh_argv_session(t->host, t->report.uid, &t->sockets,
                            t->no_socket_socks ? t->forwarded : NULL, t->n_forwarded, argv);
}

static int sockets_make(SshTransport *t)
{
    char dir[SSH_SOCKET_MAX];
    int r = ssh_socket_dir(dir, sizeof dir);

    return r < 0 ? r : ssh_sockets_name(dir, t->pc_id, (unsigned)getpid(), &t->sockets);
}

static int begin(SshTransport *t)
{
    static const SshProcessEvents process_events = {.said = on_said, .ended = on_ended};
    static const SshShellEvents shell_events = {.ready = on_ready, .broken = on_broken};
    CLEANUP_FREE SshArgv *argv = malloc(sizeof *argv);

    if (!argv)
        return -ENOMEM;
    int r = sockets_make(t);
    if (r >= 0)
        r = argv_make(t, argv);
    if (r >= 0)
        r = ssh_process_new(t->nest, argv->argv, &process_events, t, &t->process);
    if (r >= 0)
        r = ssh_shell_new(t->nest, ssh_process_in(t->process), ssh_process_out(t->process),
                          &shell_events, t, &t->shell);
    return r;
}

static void connect_now(SshTransport *t, Now now)
{
    if (!ssh_limiter_take(t->limiter, &t->pace, now.mono_us))
        return;
    t->report.authenticated = t->report.shell_ran = false;
    t->report.last_line[0] = '\0';
    t->ending_cause = CAUSE_NONE;
    t->up_since_us = 0;
    t->bus_trial = t->socks_trial = SSH_TRIAL_INIT;
    t->phase = SSH_CONNECTING;
    t->deadline_us = now.mono_us + CONNECT_US;
    int r = begin(t);
    if (r < 0) {
        tear_down(t);
        text_copy(t->report.last_line, sizeof t->report.last_line,
                  r == -ENOENT ? "XDG_RUNTIME_DIR is not set" : strerror(-r));
        failed(t, CAUSE_SSH_FAILED, false);
    }
}

/* ---- the clockwork ---- */

static void on_deadline(SshTransport *t)
{
    switch (t->phase) {
    case SSH_CONNECTING:
        end_session(t, t->report.authenticated ? CAUSE_SHELL_BROKEN : CAUSE_HOST_TIMEOUT);
        break;
    case SSH_CHECKING:
        if (t->bus_trial.nest || t->socks_trial.nest)
            go_up(t); /* no answer is no refusal */
        else
            end_session(t, CAUSE_SHELL_BROKEN);
        break;
    default: t->deadline_us = UINT64_MAX; break;
    }
}

static void ssh_tick(Transport *base, Now now)
{
    SshTransport *t = ssh_transport(base);

    if (t->process)
        ssh_process_tick(t->process, now.mono_us);
    if (t->shell && t->phase != SSH_ENDING)
        ssh_shell_tick(t->shell, now.mono_us);
    if (now.mono_us >= t->deadline_us)
        on_deadline(t);
    if (t->flush_us && now.mono_us >= t->flush_us)
        ssh_health_flush(t, now.mono_us);
    if (t->phase == SSH_IDLE && t->started)
        connect_now(t, now);
}

static uint64_t ssh_next_us(const Transport *base)
{
    const SshTransport *t = container_of(base, const SshTransport, base);

    if (!t->started)
        return UINT64_MAX;
    if (t->phase == SSH_IDLE)
        return ssh_limiter_next_us(t->limiter, &t->pace, clock_now().mono_us);
    uint64_t next = t->deadline_us;
    if (t->shell && t->phase != SSH_ENDING)
        next = MIN(next, ssh_shell_next_us(t->shell));
    return t->flush_us ? MIN(next, t->flush_us) : next;
}

static void ssh_start(Transport *base, Now now)
{
    SshTransport *t = ssh_transport(base);

    (void)now; /* the first tick connects: by then all ports are known */
    t->started = true;
}

static void ssh_abort(Transport *base)
{
    SshTransport *t = ssh_transport(base);

    if (t->shell)
        ssh_shell_abort(t->shell);
}

static Transport *ssh_free(Transport *base)
{
    if (!base)
        return NULL;
    SshTransport *t = ssh_transport(base);
    t->shell = ssh_shell_free(t->shell);
    ssh_health_drop(t);
    tear_down(t);
    ssh_limiter_leave(t->limiter, &t->pace);
    port_table_done(&t->ports);
    ssh_owners_done(&t->owners);
    free(t);
    return NULL;
}

static const TransportOps ssh_ops = {
    .free = ssh_free,
    .start = ssh_start,
    .bus_address = ssh_bus_address,
    .look_ports = ssh_look_ports,
    .dial = ssh_dial,
    .run = ssh_run,
    .cgroup_service = ssh_cgroup_service,
    .next_us = ssh_next_us,
    .tick = ssh_tick,
    .ports_every_us = PORTS_EVERY_US,
    .has_events = true,
    .want_port = ssh_want_port,
    .poll_units = ssh_poll_units,
    .health = ssh_poll_health,
    .abort = ssh_abort,
};

int transport_ssh_new(Nest *nest, const char *ssh_host, const char *pc_id, SshLimiter *limiter,
                      const TransportEvents *events, void *userdata, Transport **ret)
{
    if (!name_is_ssh_host(ssh_host) || !name_is_id(pc_id))
        return -EINVAL;
    SshTransport *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->base = (Transport){.ops = &ssh_ops, .events = *events, .userdata = userdata};
    t->nest = nest;
    t->limiter = limiter;
    text_copy(t->host, sizeof t->host, ssh_host);
    text_copy(t->pc_id, sizeof t->pc_id, pc_id);
    t->deadline_us = UINT64_MAX;
    t->told = t->report.cause = CAUSE_NOT_CHECKED_YET;
    t->report.socks_supported = true;
    t->bus_trial = t->socks_trial = SSH_TRIAL_INIT;
    *ret = &t->base;
    return 0;
}

void transport_ssh_report(const Transport *base, SshReport *ret)
{
    *ret = container_of(base, const SshTransport, base)->report;
}

int transport_ssh_tools(Transport *base, TransportReply callback, void *userdata)
{
    SshTransport *t = ssh_transport(base);

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    return ssh_exec(t->shell, SSH_TOOLS, "", ABOUT_MAX, ABOUT_MS, callback, userdata);
}
