/* Listening sockets and sock_diag questions. See http-server-socket.h.
 *
 * The uid of a peer decides who reads without a token, so the look-up believes only what leaves no
 * doubt: the exact connection (not a listener that happens to own the port), in a state in which
 * somebody still holds it, with an inode. The kernel reports orphaned sockets and those in
 * TIME_WAIT with uid 0, which would look like root. */
#include "api/http-server-socket.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "api/config.h"
#include "basic/macro.h"
#include "basic/text.h"

#define LISTEN_BACKLOG  4096
#define HOLDER_PIDS_MAX 65536 /* entries of /proc that are looked at */

typedef union Address {
    struct sockaddr sa;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
} Address;

typedef struct DiagRequest {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
} DiagRequest;

typedef struct Holder {
    uint32_t inode;
    uint32_t uid;
    int pid; /* 0: not to be seen */
    char name[32];
} Holder;

int http_diag_open(void)
{
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct timeval limit = {.tv_sec = 1};

    if (fd < 0)
        return -errno;
    /* The kernel answers within the send(); the limit only guards against the unforeseen. */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

/* The peer's socket as sock_diag names it: its local end is our remote one. */
static int diag_id_of_peer(int fd, DiagRequest *ret)
{
    Address here, there;
    socklen_t here_len = sizeof here, there_len = sizeof there;
    struct inet_diag_sockid *id = &ret->req.id;

    if (getsockname(fd, &here.sa, &here_len) < 0 || getpeername(fd, &there.sa, &there_len) < 0)
        return -ENOENT;
    if (here.sa.sa_family == AF_INET) {
        id->idiag_sport = there.in4.sin_port;
        id->idiag_dport = here.in4.sin_port;
        id->idiag_src[0] = there.in4.sin_addr.s_addr;
        id->idiag_dst[0] = here.in4.sin_addr.s_addr;
    } else if (here.sa.sa_family == AF_INET6) {
        id->idiag_sport = there.in6.sin6_port;
        id->idiag_dport = here.in6.sin6_port;
        memcpy(id->idiag_src, &there.in6.sin6_addr, sizeof there.in6.sin6_addr);
        memcpy(id->idiag_dst, &here.in6.sin6_addr, sizeof here.in6.sin6_addr);
    } else {
        return -ENOENT;
    }
    ret->req.sdiag_family = (uint8_t)here.sa.sa_family;
    return 0;
}

static bool diag_is_held_connection(const struct inet_diag_msg *m, const DiagRequest *asked)
{
    bool open = m->idiag_state == TCP_ESTABLISHED || m->idiag_state == TCP_FIN_WAIT1 ||
                m->idiag_state == TCP_FIN_WAIT2;

    return open && m->idiag_inode != 0 && m->id.idiag_sport == asked->req.id.idiag_sport &&
           m->id.idiag_dport == asked->req.id.idiag_dport;
}

/* Answers of questions that were given up may still be in the socket: only our number counts. */
static int diag_receive(int diag_fd, const DiagRequest *asked, uint32_t *ret_uid)
{
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } in;

    for (int i = 0; i < 16; i++) {
        ssize_t n = recv(diag_fd, &in, sizeof in, 0);
        if (n < 0)
            return -errno;
        if (!NLMSG_OK(&in.head, (size_t)n) || in.head.nlmsg_seq != asked->head.nlmsg_seq)
            continue;
        if (in.head.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            in.head.nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
            return -ENOENT;
        const struct inet_diag_msg *m = NLMSG_DATA(&in.head);
        if (!diag_is_held_connection(m, asked))
            return -ENOENT;
        *ret_uid = m->idiag_uid;
        return 0;
    }
    return -ENOENT;
}

int http_peer_uid_by(int diag_fd, int fd, uint32_t *ret_uid)
{
    static uint32_t seq;
    DiagRequest q = {
        .head = {.nlmsg_len = sizeof q,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST,
                 .nlmsg_seq = ++seq},
        .req = {.sdiag_protocol = IPPROTO_TCP, .idiag_states = UINT32_MAX},
    };
    int r = diag_id_of_peer(fd, &q);

    if (r < 0)
        return r;
    q.req.id.idiag_cookie[0] = q.req.id.idiag_cookie[1] = (uint32_t)INET_DIAG_NOCOOKIE;
    if (send(diag_fd, &q, sizeof q, 0) < 0)
        return -errno;
    return diag_receive(diag_fd, &q, ret_uid);
}

int http_peer_uid(int fd, uint32_t *ret_uid)
{
    CLEANUP_CLOSE int diag_fd = http_diag_open();

    return diag_fd < 0 ? diag_fd : http_peer_uid_by(diag_fd, fd, ret_uid);
}

/* Walks one datagram of a dump. Returns true when the dump is over. */
static bool holder_in(const struct nlmsghdr *h, size_t len, uint16_t port, Holder *holder)
{
    for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
            return true;
        const struct inet_diag_msg *m = NLMSG_DATA(h);
        if (ntohs(m->id.idiag_sport) == port && m->idiag_inode) {
            holder->inode = m->idiag_inode;
            holder->uid = m->idiag_uid;
        }
    }
    return false;
}

static void holder_find_socket(uint8_t family, uint16_t port, Holder *holder)
{
    CLEANUP_CLOSE int fd = http_diag_open();
    DiagRequest q = {
        .head = {.nlmsg_len = sizeof q,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .req = {.sdiag_family = family,
                .sdiag_protocol = IPPROTO_TCP,
                .idiag_states = 1U << TCP_LISTEN},
    };
    union {
        struct nlmsghdr head;
        char bytes[32768];
    } in;

    if (fd < 0 || send(fd, &q, sizeof q, 0) < 0)
        return;
    for (;;) {
        ssize_t n = recv(fd, &in, sizeof in, 0);
        if (n <= 0 || holder_in(&in.head, (size_t)n, port, holder))
            return;
    }
}

static bool process_holds(int proc_fd, const char *pid, const char *link)
{
    char path[64], target[64];

    snprintf(path, sizeof path, "%.20s/fd", pid);
    int fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        close_fd(fd);
        return false;
    }
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(dir));) {
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
        if (n > 0) {
            target[n] = '\0';
            found = strcmp(target, link) == 0;
        }
    }
    closedir(dir);
    return found;
}

static void holder_read_name(int proc_fd, const char *pid, Holder *holder)
{
    char path[64], comm[32];

    snprintf(path, sizeof path, "%.20s/comm", pid);
    CLEANUP_CLOSE int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, comm, sizeof comm);
    while (n > 0 && comm[n - 1] == '\n')
        n--;
    text_clean(holder->name, sizeof holder->name, comm, n > 0 ? (size_t)n : 0);
}

static void holder_find_process(Holder *holder)
{
    char link[32];
    DIR *proc = opendir("/proc");

    if (!proc)
        return;
    snprintf(link, sizeof link, "socket:[%u]", holder->inode);
    struct dirent *e = readdir(proc);
    for (int i = 0; e && i < HOLDER_PIDS_MAX && !holder->pid; i++, e = readdir(proc)) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
            !process_holds(dirfd(proc), e->d_name, link))
            continue;
        holder->pid = (int)strtol(e->d_name, NULL, 10);
        holder_read_name(dirfd(proc), e->d_name, holder);
    }
    closedir(proc);
}

static void say_who_holds(uint8_t family, uint16_t port, char *text, size_t size)
{
    Holder h = {0};

    holder_find_socket(family, port, &h);
    if (!h.inode && family == AF_INET) /* a dual-stack wildcard is in the IPv6 table */
        holder_find_socket(AF_INET6, port, &h);
    if (h.inode)
        holder_find_process(&h);
    if (h.pid)
        snprintf(text, size, "port %u is held by pid %d (%s)", port, h.pid, h.name);
    else if (h.inode)
        snprintf(text, size, "port %u is held by a program of uid %u", port, h.uid);
    else
        snprintf(text, size, "port %u is taken", port);
}

static int address_parse(const char *host, uint16_t port, Address *ret, socklen_t *ret_len)
{
    *ret = (Address){0};
    if (inet_pton(AF_INET, host, &ret->in4.sin_addr) == 1) {
        ret->in4.sin_family = AF_INET;
        ret->in4.sin_port = htons(port);
        *ret_len = sizeof ret->in4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &ret->in6.sin6_addr) == 1) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(port);
        *ret_len = sizeof ret->in6;
        return 0;
    }
    return -EINVAL;
}

static int listen_on(const Address *a, socklen_t len)
{
    static const int one = 1;
    CLEANUP_CLOSE int fd =
        socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &a->sa, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int listen_at(const char *host, uint16_t port, char *error_text, size_t size)
{
    Address a;
    socklen_t len;
    int fd = address_parse(host, port, &a, &len);

    if (fd < 0) {
        snprintf(error_text, size, "%s is not a literal address", host);
        return fd;
    }
    fd = listen_on(&a, len);
    if (fd == -EADDRINUSE)
        say_who_holds((uint8_t)a.sa.sa_family, port, error_text, size);
    else if (fd < 0)
        snprintf(error_text, size, "cannot listen on %s port %u: %s", host, port, strerror(-fd));
    return fd;
}

bool http_is_loopback(const char *address)
{
    char host[64];
    uint16_t port;

    return config_split_address(address, host, &port) >= 0 &&
           (strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0);
}

int http_listen(const char *address, int ret_fds[2], size_t *ret_n, char *error_text, size_t size)
{
    char host[64];
    uint16_t port;
    int r = config_split_address(address, host, &port);

    if (r < 0) {
        snprintf(error_text, size, "%.100s is not of the form ADDRESS:PORT", address);
        return r;
    }
    CLEANUP_CLOSE int fd = listen_at(host, port, error_text, size);
    if (fd < 0)
        return fd;
    const char *twin = strcmp(host, "127.0.0.1") == 0 ? "::1"
                       : strcmp(host, "::1") == 0     ? "127.0.0.1"
                                                      : NULL;
    int twin_fd = twin ? listen_at(twin, port, error_text, size) : -EAFNOSUPPORT;
    /* A machine without the other address family is whole with one. */
    if (twin_fd < 0 && twin_fd != -EAFNOSUPPORT && twin_fd != -EADDRNOTAVAIL)
        return twin_fd;
    ret_fds[0] = TAKE_FD(fd);
    *ret_n = 1;
    if (twin_fd >= 0)
        ret_fds[(*ret_n)++] = twin_fd;
    return 0;
}
