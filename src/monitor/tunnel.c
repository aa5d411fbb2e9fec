/* A thread that keeps one ssh child alive.
 *
 * The thread forks, so that PR_SET_PDEATHSIG (which follows the *thread* that forked) ends the
 * child with it, also when we are killed. It reads the child's stderr, which holds the reason that
 * a person needs, and starts it again after 1, 2, 4, then 8 s. The local end is a socket file in a
 * folder that only this user may enter, made once: a port of 127.0.0.1 would let every user of this
 * PC speak to the other PC's daemon as us. ssh tells of a service that it cannot reach over there
 * while it runs, so its stderr is read as it comes.
 * `--` before the host, and the validated form of the host, keep it from ever being an option.
 *
 * An action needs the token of the daemon over there. A second, short ssh reads it for each action,
 * on the thread that asks for the action, and it is kept no longer than that one request. Not in
 * the tunnel's own connection (`cat token; exec sleep infinity` in place of -N): there an account
 * that may only forward would have no window at all, a `sleep` could outlive us over there, the
 * secret would cross also where actions are off, and a token that was rotated would be an old one.
 * The command over there ends by itself: it reads a regular file, once. What comes is bounded in
 * size and time, and is one line in the form of a token or nothing. It is never told or logged. */
#include "monitor/tunnel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/client.h"
#include "common/name.h"

#define BACKOFF_MAX  8000
#define GOOD_RUN_US  (30 * USEC_PER_SEC)
#define STDERR_BYTES 4096
#define TOKEN_MS     10000 /* to log in and read it */
#define ARGV_MAX     40

struct Tunnel {
    char host[80];
    char folder[64]; /* "": none was made */
    char forward[128];
    char url[96];
    pthread_t thread;
    bool has_thread;
    int stop_fd;
    pthread_mutex_t lock;
    char error[256];
};

/* What ssh says, and what a person makes of it: the first that is found counts. */
static const struct {
    const char *says, *sentence; /* with one %s: the host */
    bool lives;                  /* ssh says it and goes on */
} reasons[] = {
    {"HOST IDENTIFICATION HAS CHANGED",
     N_("The host key of %s has changed and ssh refuses it. Find out why before you accept the new "
        "one."),
     false},
    {"Host key verification failed",
     N_("ssh does not know the host key of %s yet: connect once by hand and check it."), false},
    {"Permission denied", N_("%s accepts none of your ssh keys: try it by hand with ssh."), false},
    {"Could not resolve hostname", N_("ssh does not know a host %s."), false},
    {"administratively prohibited", N_("sshd on %s forbids forwarding (AllowTcpForwarding)."),
     true},
    {"open failed: ", N_("ssh reaches %s, but services_api does not answer there. Is it running?"),
     true},
};

/* A path that ssh takes as it is: in -L, "%", "$" and ":" mean something. */
static bool is_plain_path(const char *path)
{
    return path && path[0] == '/' && strlen(path) <= 32 &&
           strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") ==
               strlen(path);
}

static int make_folder(Tunnel *t)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *parent =
        is_plain_path(runtime) && access(runtime, W_OK | X_OK) == 0 ? runtime : "/tmp";
    char folder[sizeof t->folder];

    snprintf(folder, sizeof folder, "%.32s/services_monitor.XXXXXX", parent);
    if (!mkdtemp(folder)) /* mode 0700 */
        return -errno;
    text_copy(t->folder, sizeof t->folder, folder);
    snprintf(t->forward, sizeof t->forward, "%s/api:%s", folder,
             CLIENT_URL_DEFAULT + strlen("http://"));
    snprintf(t->url, sizeof t->url, CLIENT_SOCKET_PREFIX "%s/api", folder);
    return 0;
}

static const char *socket_path(const Tunnel *t)
{
    return t->url + strlen(CLIENT_SOCKET_PREFIX);
}

bool tunnel_is_open(const Tunnel *t)
{
    return access(socket_path(t), F_OK) == 0;
}

static void set_error(Tunnel *t, const char *text, size_t len)
{
    pthread_mutex_lock(&t->lock);
    text_clean(t->error, sizeof t->error, text, len);
    pthread_mutex_unlock(&t->lock);
}

static bool find_reason(const Tunnel *t, const char *said, size_t len, bool ended, char *ret,
                        size_t size)
{
    for (size_t i = 0; i < ELEMENTS(reasons); i++) {
        if ((!ended && !reasons[i].lives) ||
            !memmem(said, len, reasons[i].says, strlen(reasons[i].says)))
            continue;
        const char *sentence = i18n_text(reasons[i].sentence), *rest = strstr(sentence, "%s") + 2;
        snprintf(ret, size, "%.*s%s%s", (int)(rest - 2 - sentence), sentence, t->host, rest);
        return true;
    }
    return false;
}

static bool set_reason(Tunnel *t, const char *said, size_t len, bool ended)
{
    char text[sizeof t->error];
    bool found = find_reason(t, said, len, ended, text, sizeof text);

    if (found)
        set_error(t, text, strlen(text));
    return found;
}

void tunnel_works(Tunnel *t)
{
    set_error(t, "", 0);
}

void tunnel_error(Tunnel *t, char *ret, size_t size)
{
    pthread_mutex_lock(&t->lock);
    text_copy(ret, size, t->error);
    pthread_mutex_unlock(&t->lock);
}

/* What an ssh of ours is: its own connection, nothing asked, nothing of the user's configuration
 * run. */
static const char *const ssh_options[] = {
    "-T",
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=yes",
    "-o",
    "ExitOnForwardFailure=yes",
    "-o",
    "ConnectTimeout=8",
    "-o",
    "ServerAliveInterval=3",
    "-o",
    "ServerAliveCountMax=3",
    "-o",
    "ControlMaster=no",
    "-o",
    "ControlPath=none",
    "-o",
    "ControlPersist=no",
    "-o",
    "PermitLocalCommand=no",
    "-o",
    "RemoteCommand=none",
    "-o",
    "ForwardAgent=no",
    "-o",
    "ForwardX11=no",
    "-o",
    "LogLevel=INFO", /* below it ssh does not say that nothing listens over there */
};

/* Whatever shell the user has there hands it to sh; the file is where client.c looks for its own.
 * One byte more than a token may have, its newline and one to tell that it goes on. */
#define STRING(x)  #x
#define NUMERAL(x) STRING(x)
static const char token_command[] =
    "exec sh -c 'case \"$XDG_CONFIG_HOME\" in /*) d=$XDG_CONFIG_HOME;; *) d=$HOME/.config;; esac; "
    "f=$d/services_api/token; test -f \"$f\" && exec head -c " NUMERAL(
        CLIENT_TOKEN_BYTES) " -- \"$f\" 2>/dev/null'";

static void make_argv(const Tunnel *t, bool forwards, const char *ret[static ARGV_MAX])
{
    size_t n = 0;

    static_assert(ELEMENTS(ssh_options) + 8 <= ARGV_MAX, "no room for the arguments of ssh");
    ret[n++] = "ssh";
    if (forwards) {
        ret[n++] = "-N";
        ret[n++] = "-L";
        ret[n++] = t->forward;
    } else {
        ret[n++] = "-o";
        ret[n++] = "ClearAllForwardings=yes"; /* those of the user's configuration */
    }
    for (size_t i = 0; i < ELEMENTS(ssh_options); i++)
        ret[n++] = ssh_options[i];
    ret[n++] = "--";
    ret[n++] = t->host;
    if (!forwards)
        ret[n++] = token_command;
    ret[n] = NULL;
}

/* Only async-signal-safe calls: the process has threads. stdout_fd -1: to nowhere. */
static void child_exec(const char *const *argv, int stdout_fd, int stderr_fd, pid_t parent)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || null_fd < 0 || dup2(null_fd, 0) < 0 ||
        dup2(stdout_fd < 0 ? null_fd : stdout_fd, 1) < 0 || dup2(stderr_fd, 2) < 0)
        _exit(127);
    execvp("ssh", (char *const *)argv);
    static const char missing[] = "the program ssh is not installed";
    if (write(2, missing, sizeof missing - 1) < 0)
        _exit(126);
    _exit(127);
}

/* ret_stdout NULL: nobody reads it, and this is the one that forwards. */
static pid_t child_start(const Tunnel *t, int *ret_stdout, int *ret_stderr)
{
    const char *argv[ARGV_MAX];
    int err[2], out[2] = {-1, -1};
    pid_t parent = getpid();

    make_argv(t, !ret_stdout, argv);
    if (pipe2(err, O_CLOEXEC) < 0)
        return -errno;
    int r = ret_stdout && pipe2(out, O_CLOEXEC) < 0 ? -errno : 0;
    pid_t pid = r < 0 ? r : fork();
    if (pid == 0)
        child_exec(argv, out[1], err[1], parent);
    if (pid < 0 && r == 0)
        pid = -errno;
    close_fd(out[1]);
    close(err[1]);
    if (pid < 0) {
        close_fd(out[0]);
        close(err[0]);
        return pid;
    }
    if (ret_stdout)
        *ret_stdout = out[0];
    *ret_stderr = err[0];
    return pid;
}

static void child_ended(Tunnel *t, const char *text, size_t len)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    const char *line = len ? memrchr(text, '\n', len) : NULL;
    line = line ? line + 1 : text;
    if (len == 0)
        set_error(t, "ssh ended", strlen("ssh ended"));
    else if (!set_reason(t, text, len, true))
        set_error(t, line, (size_t)(text + len - line));
}

/* Reads what the child says until it ends (true) or we are to stop (false). */
static bool child_watch(Tunnel *t, int stderr_fd)
{
    char text[STDERR_BYTES];
    size_t len = 0;

    for (;;) {
        struct pollfd p[] = {{.fd = stderr_fd, .events = POLLIN},
                             {.fd = t->stop_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return false;
        if (p[1].revents)
            return false;
        if (len == sizeof text)
            len = 0;
        ssize_t n = read(stderr_fd, text + len, sizeof text - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        if (set_reason(t, text, len, false))
            len = 0; /* said once */
    }
    child_ended(t, text, len);
    return true;
}

static bool child_ends_by_itself(pid_t pid, int *ret_status)
{
    for (int i = 0; i < 20; i++) {
        if (waitpid(pid, ret_status, WNOHANG) == pid)
            return true;
        poll(NULL, 0, 25);
    }
    return false;
}

/* Returns what waitpid() says of it. finished: it has closed its pipes and may still be exiting. */
static int child_end(pid_t pid, bool finished)
{
    int status = -1;

    if (finished && child_ends_by_itself(pid, &status))
        return status;
    kill(pid, SIGTERM);
    if (child_ends_by_itself(pid, &status))
        return status;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return status;
}

static bool stopped_within(Tunnel *t, int ms)
{
    struct pollfd p = {.fd = t->stop_fd, .events = POLLIN};

    return poll(&p, 1, ms) > 0;
}

static void *tunnel_main(void *userdata)
{
    Tunnel *t = userdata;
    int wait_ms = 1000;

    for (;;) {
        int stderr_fd = -1;
        uint64_t started = clock_now().mono_us;
        unlink(socket_path(t)); /* of a child that was killed */
        pid_t pid = child_start(t, NULL, &stderr_fd);
        if (pid < 0)
            set_error(t, strerror((int)-pid), strlen(strerror((int)-pid)));
        else {
            bool again = child_watch(t, stderr_fd);
            close(stderr_fd);
            child_end(pid, false);
            if (!again)
                return NULL;
        }
        wait_ms = clock_now().mono_us - started > GOOD_RUN_US ? 1000 : wait_ms;
        if (stopped_within(t, wait_ms))
            return NULL;
        wait_ms = MIN(wait_ms * 2, BACKOFF_MAX);
    }
}

/* ---- the token ---- */

/* Reads what there is of one pipe, for which there is room. False: it has ended. */
static bool take(int fd, char *buf, size_t size, size_t *len)
{
    ssize_t n = read(fd, buf + *len, size - *len);

    if (n > 0)
        *len += (size_t)n;
    return n > 0 || (n < 0 && errno == EINTR);
}

/* Until both pipes have ended. -ETIMEDOUT; -EBADMSG: too much; -ECANCELED: we are to stop. */
static int token_read(const Tunnel *t, int out_fd, char out[static CLIENT_TOKEN_BYTES],
                      size_t *out_len, int err_fd, char err[static STDERR_BYTES], size_t *err_len)
{
    uint64_t end = clock_now().mono_us + (uint64_t)TOKEN_MS * 1000;

    while (out_fd >= 0 || err_fd >= 0) {
        struct pollfd p[] = {{.fd = t->stop_fd, .events = POLLIN},
                             {.fd = out_fd, .events = POLLIN},
                             {.fd = err_fd, .events = POLLIN}};
        uint64_t now = clock_now().mono_us;
        if (now >= end)
            return -ETIMEDOUT;
        if (poll(p, 3, (int)((end - now) / 1000) + 1) < 0 && errno != EINTR)
            return -errno;
        if (p[0].revents)
            return -ECANCELED;
        if (p[1].revents && !take(out_fd, out, CLIENT_TOKEN_BYTES, out_len))
            out_fd = -1;
        if (*out_len == CLIENT_TOKEN_BYTES)
            return -EBADMSG;
        if (p[2].revents && !take(err_fd, err, STDERR_BYTES, err_len))
            err_fd = -1;
        if (*err_len == STDERR_BYTES)
            *err_len = 0; /* the reason comes last */
    }
    return 0;
}

/* One line, with or without its end, and nothing else: what else came is not a token file's. */
static int token_check(const char *text, size_t len, char ret[static CLIENT_TOKEN_BYTES])
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > CLIENT_TOKEN_MAX || memchr(text, '\0', len))
        return -EBADMSG;
    memcpy(ret, text, len);
    ret[len] = '\0';
    if (client_token_is_valid(ret))
        return 0;
    explicit_bzero(ret, CLIENT_TOKEN_BYTES);
    return -EBADMSG;
}

/* ssh itself ends with 255 where it fails, else as the command over there did. */
static void token_why(const Tunnel *t, int r, int status, const char *said, size_t len, char *ret,
                      size_t size)
{
    char why[sizeof t->error];
    bool ssh_failed = !WIFEXITED(status) || WEXITSTATUS(status) == 255;

    if (r == -ETIMEDOUT)
        text_copy(why, sizeof why, _("ssh took too long"));
    else if (r == -EBADMSG)
        text_copy(why, sizeof why, _("what came is not a token"));
    else if (r != -EREMOTEIO)
        text_copy(why, sizeof why, strerror(-r));
    else if (!ssh_failed)
        text_copy(why, sizeof why,
                  _("its user has no readable token file there, or may run no commands"));
    else if (!find_reason(t, said, len, true, why, sizeof why))
        text_copy(why, sizeof why, _("ssh failed"));
    snprintf(ret, size, _("An action needs the token of %s, and ssh did not bring it: %s"), t->host,
             why);
}

int tunnel_token(Tunnel *t, char ret[static CLIENT_TOKEN_BYTES], char *error, size_t size)
{
    char out[CLIENT_TOKEN_BYTES], said[STDERR_BYTES];
    size_t out_len = 0, said_len = 0;
    int out_fd = -1, err_fd = -1, status = -1;

    pid_t pid = child_start(t, &out_fd, &err_fd);
    int r = pid < 0 ? pid : token_read(t, out_fd, out, &out_len, err_fd, said, &said_len);
    close_fd(out_fd);
    close_fd(err_fd);
    if (pid > 0)
        status = child_end(pid, r == 0);
    if (r == 0)
        r = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? token_check(out, out_len, ret)
                                                          : -EREMOTEIO;
    explicit_bzero(out, sizeof out);
    if (r < 0)
        token_why(t, r, status, said, said_len, error, size);
    return r;
}

/* ---- life ---- */

int tunnel_new(const char *host, Tunnel **ret)
{
    CLEANUP(tunnel_freep) Tunnel *t = NULL;

    if (!name_is_ssh_host(host))
        return -EINVAL;
    t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->stop_fd = -1;
    pthread_mutex_init(&t->lock, NULL);
    int r = make_folder(t);
    if (r < 0)
        return r;
    text_copy(t->host, sizeof t->host, host);
    t->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->stop_fd < 0)
        return -errno;
    r = pthread_create(&t->thread, NULL, tunnel_main, t);
    if (r != 0)
        return -r;
    t->has_thread = true;
    *ret = TAKE_PTR(t);
    return 0;
}

void tunnel_stop(Tunnel *t)
{
    if (t)
        eventfd_write(t->stop_fd, 1);
}

Tunnel *tunnel_free(Tunnel *t)
{
    if (!t)
        return NULL;
    if (t->has_thread) {
        tunnel_stop(t);
        pthread_join(t->thread, NULL);
    }
    close_fd(t->stop_fd);
    if (t->folder[0]) {
        unlink(socket_path(t));
        rmdir(t->folder);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
    return NULL;
}

const char *tunnel_url(const Tunnel *t)
{
    return t->url;
}
