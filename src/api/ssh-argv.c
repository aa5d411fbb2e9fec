/* See ssh-argv.h. What the user's own ssh_config says holds, except where it would take the process
 * out of our hands (ControlPersist, RemoteCommand, a tty, a local command) or ask somebody who is
 * not there. LogLevel VERBOSE says when the log-in was accepted, which tells a slow handshake from
 * a broken shell.
 *
 * The pid in a socket's name keeps `discover` and a running daemon from unlinking each other's
 * sockets (StreamLocalBindUnlink), and says whose leftovers a name is. */
#include "api/ssh-argv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/paths.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

static const char *const options[] = {
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=5",
    "ServerAliveInterval=2",
    "ServerAliveCountMax=2",
    "ExitOnForwardFailure=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ControlPersist=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "PermitLocalCommand=no",
    "StreamLocalBindUnlink=yes",
    "StreamLocalBindMask=0177",
    "ForwardAgent=no",
    "LogLevel=VERBOSE",
};

/* ---- sockets ---- */

/* "1234-..." of a process that lives no more. */
static bool is_stale(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);

    return pid > 0 && *end == '-' && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static void sweep(int dir_fd)
{
    int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    if (!dir) {
        close_fd(fd);
        return;
    }
    while ((e = readdir(dir)))
        if (is_stale(e->d_name))
            unlinkat(dir_fd, e->d_name, 0);
    closedir(dir);
}

/* Nothing that -L, ssh's tokens or a D-Bus address would take for more than a name. */
static bool is_plain(const char *path)
{
    return path[0] == '/' &&
           path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "-_/.")] == '\0';
}

int ssh_socket_dir(char *ret, size_t size)
{
    CLEANUP_FREE char *path = paths_runtime_dir();
    struct stat st;

    if (!path)
        return -ENOENT;
    if (strlen(path) >= size)
        return -ENAMETOOLONG;
    if (!is_plain(path))
        return -EINVAL;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid())
        return -EPERM;
    if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) < 0)
        return -errno;
    sweep(fd);
    text_copy(ret, size, path);
    return 0;
}

static uint32_t hash_of(const char *s)
{
    uint32_t h = 2166136261U; /* FNV-1a */

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619U;
    return h;
}

int ssh_sockets_name(const char *dir, const char *pc_id, unsigned pid, SshSockets *ret)
{
    struct {
        char *to;
        char kind;
    } names[] = {{ret->socks, 's'}, {ret->user_bus, 'u'}, {ret->system_bus, 'y'}, {ret->port, 'p'}};

    for (size_t i = 0; i < ELEMENTS(names); i++) {
        int n = snprintf(names[i].to, SSH_SOCKET_MAX, "%s/%u-%08x.%c", dir, pid, hash_of(pc_id),
                         names[i].kind);
        if (n < 0 || (size_t)n + sizeof "65535" > SSH_SOCKET_MAX)
            return -ENAMETOOLONG;
    }
    return 0;
}

void ssh_sockets_unlink(const SshSockets *s, const uint16_t *ports, size_t n_ports)
{
    char path[SSH_SOCKET_MAX + 8];

    unlink(s->socks);
    unlink(s->user_bus);
    unlink(s->system_bus);
    for (size_t i = 0; i < n_ports; i++) {
        snprintf(path, sizeof path, "%s%u", s->port, ports[i]);
        unlink(path);
    }
}

/* ---- argv ---- */

typedef struct ArgvWriter {
    SshArgv *out;
    size_t n, used;
    int error;
} ArgvWriter;

static void put(ArgvWriter *w, const char *word)
{
    if (w->n + 1 >= SSH_ARGV_MAX)
        w->error = -E2BIG;
    else
        w->out->argv[w->n++] = word;
}

static void PRINTF(2, 3) put_text(ArgvWriter *w, const char *format, ...)
{
    size_t room = sizeof w->out->text - w->used;
    char *at = w->out->text + w->used;
    va_list args;

    va_start(args, format);
    int n = vsnprintf(at, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room) {
        w->error = -E2BIG;
        return;
    }
    w->used += (size_t)n + 1;
    put(w, at);
}

static void put_head(ArgvWriter *w)
{
    put(w, "ssh");
    put(w, "-T");
    put(w, "-x");
    put(w, "-a");
    for (size_t i = 0; i < ELEMENTS(options); i++) {
        put(w, "-o");
        put(w, options[i]);
    }
}

static int put_tail(ArgvWriter *w, const char *host)
{
    put(w, "--");
    put_text(w, "%s", host);
    put(w, "exec sh");
    w->out->argv[w->n] = NULL;
    return w->error;
}

int ssh_argv_plain(const char *host, SshArgv *ret)
{
    ArgvWriter w = {.out = ret};

    if (!name_is_ssh_host(host))
        return -EINVAL;
    put_head(&w);
    return put_tail(&w, host);
}

int ssh_argv_session(const char *host, uint32_t uid, const SshSockets *sockets,
                     const uint16_t *ports, size_t n_ports, SshArgv *ret)
{
    ArgvWriter w = {.out = ret};

    if (!name_is_ssh_host(host) || n_ports > SSH_PORTS_MAX)
        return -EINVAL;
    put_head(&w);
    if (!ports) {
        put(&w, "-D");
        put_text(&w, "%s", sockets->socks);
    }
    put(&w, "-L");
    put_text(&w, "%s:/run/user/%u/bus", sockets->user_bus, uid);
    put(&w, "-L");
    put_text(&w, "%s:/run/dbus/system_bus_socket", sockets->system_bus);
    for (size_t i = 0; ports && i < n_ports; i++) {
        put(&w, "-L");
        put_text(&w, "%s%u:127.0.0.1:%u", sockets->port, ports[i], ports[i]);
    }
    return put_tail(&w, host);
}
