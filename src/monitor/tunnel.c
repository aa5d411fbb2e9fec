/* A thread that keeps one ssh child alive.
 *
 * The thread forks, so that PR_SET_PDEATHSIG (which follows the *thread* that forked) ends the
 * child with it, also when we are killed. It reads the child's stderr, whose last line is the
 * reason a person needs, and starts it again after 1, 2, 4, then 8 s. The local end is a port of
 * 127.0.0.1 chosen once: the client's URL stays the same over restarts.
 * `--` before the host, and the validated form of the host, keep it from ever being an option. */
#include "monitor/tunnel.h"

#include <arpa/inet.h>
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

#define DAEMON_PORT  8485
#define BACKOFF_MAX  8000
#define GOOD_RUN_US  (30 * USEC_PER_SEC)
#define STDERR_BYTES 4096

struct Tunnel {
    char host[80];
    char forward[64];
    char url[64];
    pthread_t thread;
    bool has_thread;
    int stop_fd;
    pthread_mutex_t lock;
    char error[256];
};

static int free_port(uint16_t *ret)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -errno;
    *ret = ntohs(a.sin_port);
    return 0;
}

static void set_error(Tunnel *t, const char *text, size_t len)
{
    pthread_mutex_lock(&t->lock);
    text_clean(t->error, sizeof t->error, text, len);
    pthread_mutex_unlock(&t->lock);
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
        "LogLevel=ERROR",
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
    }
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    const char *line = len ? memrchr(text, '\n', len) : NULL;
    line = line ? line + 1 : text;
    if (len)
        set_error(t, line, (size_t)(text + len - line));
    else
        set_error(t, "ssh ended", strlen("ssh ended"));
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
    uint16_t port = 0;

    if (!name_is_ssh_host(host))
        return -EINVAL;
    t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->stop_fd = -1;
    pthread_mutex_init(&t->lock, NULL);
    int r = free_port(&port);
    if (r < 0)
        return r;
    text_copy(t->host, sizeof t->host, host);
    snprintf(t->forward, sizeof t->forward, "127.0.0.1:%u:127.0.0.1:%u", port, DAEMON_PORT);
    snprintf(t->url, sizeof t->url, "http://127.0.0.1:%u", port);
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
    pthread_mutex_destroy(&t->lock);
    free(t);
    return NULL;
}

const char *tunnel_url(const Tunnel *t)
{
    return t->url;
}
