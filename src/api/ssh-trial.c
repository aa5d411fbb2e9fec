/* See ssh-trial.h. A connect to the local end of a forward succeeds at once, so only an answer that
 * came all the way back proves the way. sshd does not say why it opens no channel to a UNIX socket
 * (forbidden and missing are the same words); the caller tells them apart by asking the shell. */
#include "api/ssh-trial.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "basic/macro.h"

static void on_answer(NestWatch *w, uint32_t events UNUSED)
{
    SshTrial *t = container_of(w, SshTrial, watch);
    char bytes[64];
    ssize_t n = recv(t->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* SOCKS: the choice of method is ssh's own; behind it comes what matters, or the end */
    if (n == 2 && bytes[0] == 5)
        return;
    t->answered = n > 0;
    ssh_trial_stop(t);
    t->over(t->userdata);
}

static int begin(SshTrial *t, Nest *nest, const char *path, const void *words, size_t len,
                 void (*over)(void *), void *userdata)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    ssh_trial_stop(t);
    *t = SSH_TRIAL_INIT;
    t->nest = nest;
    t->over = over;
    t->userdata = userdata;
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->fd < 0)
        return -errno;
    int r = connect(t->fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    if (r >= 0 && send(t->fd, words, len, MSG_NOSIGNAL) != (ssize_t)len)
        r = -EIO;
    if (r >= 0)
        r = nest_add(nest, &t->watch, t->fd, EPOLLIN, on_answer);
    if (r < 0)
        ssh_trial_stop(t);
    return r;
}

int ssh_trial_bus(SshTrial *t, Nest *nest, const char *path, void (*over)(void *), void *userdata)
{
    static const char words[] = "\0AUTH\r\n";

    return begin(t, nest, path, words, sizeof words - 1, over, userdata);
}

int ssh_trial_socks(SshTrial *t, Nest *nest, const char *path, void (*over)(void *), void *userdata)
{
    static const uint8_t words[] = {5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 1};

    return begin(t, nest, path, words, sizeof words, over, userdata);
}

void ssh_trial_stop(SshTrial *t)
{
    if (t->nest)
        nest_remove(t->nest, &t->watch);
    t->fd = close_fd(t->fd);
    t->is_over = true;
}
