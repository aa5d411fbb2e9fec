/* See ssh-process.h. The end is the pidfd becoming readable, not EOF on a pipe: a ProxyCommand that
 * outlives its ssh may hold the pipes for ever. What stderr holds by then is read first, for it is
 * the reason. */
#include "api/ssh-process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "api/child.h"
#include "basic/buffer.h"
#include "basic/macro.h"

#define KILL_AFTER_US (1U * USEC_PER_SEC)

struct SshProcess {
    Nest *nest;
    pid_t pid;
    int pidfd, in, out, err;
    NestWatch end_watch, err_watch;
    Buffer said;
    uint64_t kill_us; /* mono: SIGKILL then; 0: it has not been stopped */
    SshProcessEvents events;
    void *userdata;
};

/* False: nothing more will come. */
static bool err_read(SshProcess *p)
{
    char bytes[2048];
    ssize_t n = read(p->err, bytes, sizeof bytes);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    size_t keep = SSH_SAID_MAX - (size_t)n;
    if (p->said.len > keep)
        buffer_consume(&p->said, p->said.len - keep);
    bool is_sign = n == 1 && bytes[0] == ' ';
    if (n > 0 && !is_sign) /* the remote shell's sign of life is a space */
        buffer_append(&p->said, bytes, (size_t)n);
    return n > 0;
}

static void on_err(NestWatch *w, uint32_t events UNUSED)
{
    SshProcess *p = container_of(w, SshProcess, err_watch);

    if (err_read(p))
        p->events.said(p->userdata);
    else
        nest_remove(p->nest, &p->err_watch);
}

static int reap(SshProcess *p)
{
    siginfo_t info = {0};
    int r;

    do
        r = waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED);
    while (r < 0 && errno == EINTR);
    p->pid = 0;
    if (r < 0)
        return -1;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

static void on_end(NestWatch *w, uint32_t events UNUSED)
{
    SshProcess *p = container_of(w, SshProcess, end_watch);
    struct pollfd err = {.fd = p->err, .events = POLLIN};

    nest_remove(p->nest, &p->end_watch);
    kill(-p->pid, SIGKILL); /* a ProxyCommand it left behind; the zombie holds the group's number */
    int status = reap(p);
    for (int i = 0; i < 8 && poll(&err, 1, 0) > 0 && err_read(p); i++)
        ;
    nest_remove(p->nest, &p->err_watch);
    p->events.ended(p->userdata, status);
}

SshProcess *ssh_process_free(SshProcess *p)
{
    if (!p)
        return NULL;
    nest_remove(p->nest, &p->end_watch);
    nest_remove(p->nest, &p->err_watch);
    if (p->pid > 0) {
        kill(-p->pid, SIGKILL);
        reap(p);
    }
    close_fd(p->pidfd);
    close_fd(p->in);
    close_fd(p->out);
    close_fd(p->err);
    buffer_done(&p->said);
    free(p);
    return NULL;
}

/* ours: which end (0 read, 1 write) we keep; it does not block. */
static int pipe_open(int ours, int *ret_ours, int *ret_theirs)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *ret_ours = fds[ours];
    *ret_theirs = fds[!ours];
    return fcntl(fds[ours], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int begin(SshProcess *p, const char *const *argv)
{
    int fds[3] = {-1, -1, -1};
    int r;

    if ((r = pipe_open(1, &p->in, &fds[0])) >= 0 && (r = pipe_open(0, &p->out, &fds[1])) >= 0 &&
        (r = pipe_open(0, &p->err, &fds[2])) >= 0)
        r = child_begin(argv, fds, &p->pid, &p->pidfd);
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        close_fd(fds[i]);
    return r;
}

int ssh_process_new(Nest *nest, const char *const *argv, const SshProcessEvents *events,
                    void *userdata, SshProcess **ret)
{
    SshProcess *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    *p = (SshProcess){.nest = nest,
                      .pidfd = -1,
                      .in = -1,
                      .out = -1,
                      .err = -1,
                      .end_watch = NEST_WATCH_INIT,
                      .err_watch = NEST_WATCH_INIT,
                      .said = BUFFER_INIT(SSH_SAID_MAX),
                      .events = *events,
                      .userdata = userdata};
    int r = begin(p, argv);
    if (r >= 0)
        r = nest_add(nest, &p->err_watch, p->err, EPOLLIN, on_err);
    if (r >= 0)
        r = nest_add(nest, &p->end_watch, p->pidfd, EPOLLIN, on_end);
    if (r < 0) {
        ssh_process_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

int ssh_process_in(const SshProcess *p)
{
    return p->in;
}

int ssh_process_out(const SshProcess *p)
{
    return p->out;
}

const char *ssh_process_said(const SshProcess *p, size_t *ret_len)
{
    *ret_len = p->said.len;
    return p->said.data ? p->said.data : "";
}

void ssh_process_stop(SshProcess *p, uint64_t now_us)
{
    if (p->kill_us || p->pid <= 0)
        return;
    p->kill_us = now_us + KILL_AFTER_US;
    kill(p->pid, SIGTERM);
}

void ssh_process_tick(SshProcess *p, uint64_t now_us)
{
    if (p->kill_us && now_us >= p->kill_us && p->pid > 0)
        kill(-p->pid, SIGKILL);
}
