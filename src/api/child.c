/* fork, exec, and an orderly end.
 *
 * fork() rather than posix_spawn(): the latter can set neither PR_SET_PDEATHSIG nor close all
 * descriptors. Between fork and exec only async-signal-safe calls are made, for other threads may
 * hold any lock.
 *
 * stdin is a memfd that holds the whole input: nothing has to be fed while the child runs. stdout
 * and stderr are pipes. The end is the pidfd becoming readable, not EOF, because a grandchild may
 * keep a pipe open for ever; what is in the pipes by then is still read. While the zombie is not
 * reaped its process group can safely be killed.
 *
 * A Child frees itself: after the callback, or, when it was cancelled or could not be killed (state
 * D), whenever its end is seen at last. Until then it is on no list; only its own event sources
 * know it. */
#include "api/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "basic/buffer.h"
#include "basic/macro.h"
#include "basic/text.h"

#define PIPE_READ      16384
#define CANCEL_WAIT_MS 500 /* a killed one is gone in a few ms, on a busy machine in some more */
#define EXIT_NO_EXEC   127

typedef enum ChildPhase { PHASE_RUNNING, PHASE_TERMINATED, PHASE_KILLED } ChildPhase;

struct Child {
    pid_t pid;
    int pidfd;
    int out_fd;
    int err_fd;
    sd_event_source *exit_source;
    sd_event_source *out_source;
    sd_event_source *err_source;
    sd_event_source *timer;
    ChildPhase phase;
    int error;
    Buffer out;
    Buffer err;
    ChildCallback callback; /* NULL: told already, or cancelled */
    void *userdata;
};

static Child *child_free(Child *c)
{
    if (!c)
        return NULL;
    sd_event_source_disable_unref(c->exit_source);
    sd_event_source_disable_unref(c->out_source);
    sd_event_source_disable_unref(c->err_source);
    sd_event_source_disable_unref(c->timer);
    close_fd(c->pidfd);
    close_fd(c->out_fd);
    close_fd(c->err_fd);
    buffer_done(&c->out);
    buffer_done(&c->err);
    free(c);
    return NULL;
}

static void child_tell(Child *c, int status)
{
    ChildCallback callback = c->callback;
    char err[CHILD_ERR_MAX + 1];

    if (!callback)
        return;
    c->callback = NULL;
    text_clean(err, sizeof err, c->err.data ? c->err.data : "", c->err.len);
    callback(c->userdata, c->error, status, buffer_cstr(&c->out), c->out.len, err);
}

/* ---- its end ---- */

static void child_stop(Child *c, int error)
{
    if (c->error == 0)
        c->error = error;
    if (c->phase != PHASE_RUNNING)
        return;
    c->phase = PHASE_TERMINATED;
    kill(-c->pid, SIGTERM);
    sd_event_source_set_time_relative(c->timer, CHILD_KILL_US);
    sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s, uint64_t usec UNUSED, void *userdata)
{
    Child *c = userdata;

    switch (c->phase) {
    case PHASE_RUNNING: child_stop(c, -ETIMEDOUT); break;
    case PHASE_TERMINATED:
        c->phase = PHASE_KILLED;
        kill(-c->pid, SIGKILL);
        sd_event_source_set_time_relative(s, CHILD_KILL_US);
        sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        break;
    case PHASE_KILLED: child_tell(c, -1); break;
    }
    return 0;
}

/* False: nothing more will come. */
static bool out_read(Child *c)
{
    char bytes[PIPE_READ];
    ssize_t n = read(c->out_fd, bytes, sizeof bytes);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    size_t room = c->out.max - c->out.len;
    buffer_append(&c->out, bytes, MIN((size_t)n, room));
    if ((size_t)n > room)
        child_stop(c, -EFBIG);
    else if (buffer_error(&c->out))
        child_stop(c, -ENOMEM);
    return n > 0 && c->error == 0;
}

static bool err_read(Child *c)
{
    char bytes[CHILD_ERR_MAX];
    ssize_t n = read(c->err_fd, bytes, sizeof bytes);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    size_t keep = CHILD_ERR_MAX - (size_t)n;
    if (c->err.len > keep)
        buffer_consume(&c->err, c->err.len - keep);
    buffer_append(&c->err, bytes, (size_t)n);
    return n > 0;
}

static int on_out(sd_event_source *s, int fd UNUSED, uint32_t events UNUSED, void *userdata)
{
    if (!out_read(userdata))
        sd_event_source_set_enabled(s, SD_EVENT_OFF);
    return 0;
}

static int on_err(sd_event_source *s, int fd UNUSED, uint32_t events UNUSED, void *userdata)
{
    if (!err_read(userdata))
        sd_event_source_set_enabled(s, SD_EVENT_OFF);
    return 0;
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}

static int child_reap(Child *c)
{
    siginfo_t info = {0};

    kill(-c->pid, SIGKILL); /* whatever it left behind; the zombie still holds the group's number */
    if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) < 0)
        return -1;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

static int on_exit_seen(sd_event_source *s UNUSED, int fd UNUSED, uint32_t events UNUSED,
                        void *userdata)
{
    Child *c = userdata;
    int status = child_reap(c);

    while (c->error == 0 && is_readable(c->out_fd) && out_read(c))
        ;
    /* a pipe holds 64 KiB; whoever escaped the kill and goes on writing is not waited for */
    for (int i = 0; i < 64 && is_readable(c->err_fd) && err_read(c); i++)
        ;
    child_tell(c, status);
    child_free(c);
    return 0;
}

Child *child_cancel(Child *c)
{
    if (!c)
        return NULL;
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    c->callback = NULL;
    kill(-c->pid, SIGKILL);
    c->phase = PHASE_KILLED;
    if (poll(&p, 1, CANCEL_WAIT_MS) > 0) {
        child_reap(c);
        child_free(c);
    }
    return NULL;
}

/* ---- its beginning ---- */

static void child_exec(const char *const *argv, int in, int out, int err, pid_t parent)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_NO_EXEC);
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || close_range(3, ~0U, 0) < 0)
        _exit(EXIT_NO_EXEC);
    execvp(argv[0], (char *const *)argv);
    _exit(EXIT_NO_EXEC);
}

static int input_open(const ChildSpec *spec)
{
    CLEANUP_CLOSE int fd = -1;

    if (!spec->input) {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : TAKE_FD(fd);
    }
    fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < spec->input_len;) {
        ssize_t n = write(fd, spec->input + at, spec->input_len - at);
        if (n < 0)
            return -errno;
        at += (size_t)n;
    }
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return TAKE_FD(fd);
}

/* The read end is ours and does not block, the write end is the child's. */
static int pipe_open(int *ret_read, int *ret_write)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *ret_read = fds[0];
    *ret_write = fds[1];
    return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* A descriptor at 0-2 would be overwritten by the dup2() of another one. */
static int lift(int *fd)
{
    if (*fd > 2)
        return 0;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    if (higher < 0)
        return -errno;
    close(*fd);
    *fd = higher;
    return 0;
}

int child_begin(const char *const *argv, int fds[3], pid_t *ret_pid, int *ret_pidfd)
{
    pid_t parent = getpid();
    int r;

    if ((r = lift(&fds[0])) < 0 || (r = lift(&fds[1])) < 0 || (r = lift(&fds[2])) < 0)
        return r;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        child_exec(argv, fds[0], fds[1], fds[2], parent);
    setpgid(pid, pid); /* both sides do it: whoever comes first */
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        r = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return r;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

static int child_spawn(Child *c, const ChildSpec *spec)
{
    int fds[3] = {input_open(spec), -1, -1};
    int r = fds[0];

    if (r < 0)
        return r;
    if ((r = pipe_open(&c->out_fd, &fds[1])) >= 0 && (r = pipe_open(&c->err_fd, &fds[2])) >= 0)
        r = child_begin(spec->argv, fds, &c->pid, &c->pidfd);
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        close_fd(fds[i]);
    return r;
}

static int child_watch(Child *c, sd_event *event, uint32_t timeout_ms)
{
    int r = sd_event_add_io(event, &c->out_source, c->out_fd, EPOLLIN, on_out, c);

    if (r < 0 || (r = sd_event_add_io(event, &c->err_source, c->err_fd, EPOLLIN, on_err, c)) < 0 ||
        (r = sd_event_add_time_relative(event, &c->timer, CLOCK_MONOTONIC,
                                        (uint64_t)timeout_ms * USEC_PER_MSEC, 1, on_timer, c)) < 0)
        return r;
    r = sd_event_add_io(event, &c->exit_source, c->pidfd, EPOLLIN, on_exit_seen, c);
    if (r < 0)
        return r;
    sd_event_source_set_description(c->exit_source, "child");
    return 0;
}

int child_run(sd_event *event, const ChildSpec *spec, ChildCallback callback, void *userdata,
              Child **ret)
{
    Child *c = calloc(1, sizeof *c);

    if (!c)
        return -ENOMEM;
    c->pidfd = c->out_fd = c->err_fd = -1;
    c->out = BUFFER_INIT(spec->output_max);
    c->err = BUFFER_INIT(CHILD_ERR_MAX);
    int r = child_spawn(c, spec);
    if (r < 0) {
        child_free(c);
        return r;
    }
    r = child_watch(c, event, spec->timeout_ms);
    if (r < 0) {
        child_reap(c);
        child_free(c);
        return r;
    }
    c->callback = callback;
    c->userdata = userdata;
    if (ret)
        *ret = c;
    return 0;
}
