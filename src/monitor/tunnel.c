/* A thread that keeps one ssh child alive.
 *
 * The thread forks, so that PR_SET_PDEATHSIG (which follows the *thread* that forked) ends the
 * child with it, also when we are killed. It reads the child's stderr, which holds the reason that
 * a person needs, and starts it again after 1, 2, 4, then 8 s. The local end is a socket file in a
 * folder that only this user may enter, made once: a port of 127.0.0.1 would let every user of this
 * PC speak to the other PC's daemon as us. ssh tells of a service that it cannot reach over there
 * while it runs, so its stderr is read as it comes.
 * `--` before the host, and the validated form of the host, keep it from ever being an option. */
#include "monitor/tunnel.h"

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

static bool set_reason(Tunnel *t, const char *said, size_t len, bool ended)
{
    char text[sizeof t->error];

    for (size_t i = 0; i < ELEMENTS(reasons); i++) {
        if ((!ended && !reasons[i].lives) ||
            !memmem(said, len, reasons[i].says, strlen(reasons[i].says)))
            continue;
        const char *sentence = i18n_text(reasons[i].sentence), *rest = strstr(sentence, "%s") + 2;
        snprintf(text, sizeof text, "%.*s%s%s", (int)(rest - 2 - sentence), sentence, t->host,
                 rest);
        set_error(t, text, strlen(text));
        return true;
    }
    return false;
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

/* Only async-signal-safe calls from here on: the process has threads. */
static void child_exec(const Tunnel *t, int stderr_fd, pid_t parent)
{
    const char *const argv[] = {
        "ssh",
        "-N",
        "-T",
        "-L",
        t->forward,
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
        "--",
        t->host,
        NULL,
    };
    sigset_t none;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
        dup2(stderr_fd, 2) < 0)
        _exit(127);
    execvp("ssh", (char *const *)argv);
    static const char missing[] = "the program ssh is not installed";
    if (write(2, missing, sizeof missing - 1) < 0)
        _exit(126);
    _exit(127);
}

static pid_t child_start(const Tunnel *t, int *ret_stderr)
{
    int fds[2];
    pid_t parent = getpid();

    unlink(socket_path(t)); /* of a child that was killed */
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        child_exec(t, fds[1], parent);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return -errno;
    }
    *ret_stderr = fds[0];
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

static void child_end(pid_t pid)
{
    kill(pid, SIGTERM);
    for (int i = 0; i < 20; i++) {
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return;
        poll(NULL, 0, 25);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
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
        pid_t pid = child_start(t, &stderr_fd);
        if (pid < 0)
            set_error(t, strerror((int)-pid), strlen(strerror((int)-pid)));
        else {
            bool again = child_watch(t, stderr_fd);
            close(stderr_fd);
            child_end(pid);
            if (!again)
                return NULL;
        }
        wait_ms = clock_now().mono_us - started > GOOD_RUN_US ? 1000 : wait_ms;
        if (stopped_within(t, wait_ms))
            return NULL;
        wait_ms = MIN(wait_ms * 2, BACKOFF_MAX);
    }
}

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

Tunnel *tunnel_free(Tunnel *t)
{
    uint64_t one = 1;

    if (!t)
        return NULL;
    if (t->has_thread && write(t->stop_fd, &one, sizeof one) == sizeof one)
        pthread_join(t->thread, NULL);
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
