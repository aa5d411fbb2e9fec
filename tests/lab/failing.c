/* failing: a library to preload that lets system calls and allocations of services_api fail (R16).
 *
 * $FAILING_CONTROL names a file that is mapped shared: a test switches the faults on and off, and
 * reads how many there were, by writing to it; neither side makes a call for that. While `every` is
 * 0, or in any other program (children inherit the environment), nothing fails.
 *
 * It runs in front of the address sanitizer, too: what is not refused goes on to the next library,
 * so that a path that is only taken without memory is watched like any other.
 *
 * What can not happen in life is not done: EAGAIN and ECONNRESET are for sockets alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MEMORY = 1,      /* malloc, calloc, realloc */
    DESCRIPTORS = 2, /* what makes a descriptor */
    EPOLL = 4,       /* epoll_ctl */
    SOCKETS = 8,     /* reading from and writing to sockets */
};

/* The layout is known to test_truth.py. */
struct control {
    _Atomic uint32_t every; /* each so many-th call fails; 0: none */
    _Atomic uint32_t error; /* with this errno */
    _Atomic uint32_t calls; /* of these kinds */
    _Atomic uint32_t seen;  /* calls of these kinds so far */
    _Atomic uint32_t failed;
};

static struct control nothing;
static struct control *control = &nothing;

static bool fails(uint32_t kind)
{
    uint32_t every = control->every;

    if (!every || !(control->calls & kind))
        return false;
    if (++control->seen % every)
        return false;
    control->failed++;
    errno = (int)control->error;
    return true;
}

static bool is_socket(int fd)
{
    int saved = errno;
    struct stat st;
    bool is = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);

    errno = saved;
    return is;
}

static bool socket_fails(int fd)
{
    return control->every && (control->calls & SOCKETS) && is_socket(fd) && fails(SOCKETS);
}

#define BEHIND(name)                     \
    static void *found;                  \
    if (!found)                          \
        found = dlsym(RTLD_NEXT, #name); \
    __typeof__(&name) next = (__typeof__(&name))found

/* ---- memory ---- */

/* Until the libraries behind this one can be asked (the sanitizer's own start, dlsym() itself),
 * memory comes from a small store; what came from there is never given back. */
static void *(*next_malloc)(size_t size);
static void *(*next_calloc)(size_t n, size_t size);
static void *(*next_realloc)(void *old, size_t size);
static void (*next_free)(void *p);
static _Atomic bool ready;
static _Alignas(16) char store[1 << 20];
static _Atomic size_t stored;

#define STORE_HEAD 16 /* before each piece: its size */

static void *from_store(size_t size)
{
    size_t at = atomic_fetch_add(&stored, STORE_HEAD + (size + 15) / 16 * 16);

    if (size > sizeof store || at + STORE_HEAD + size > sizeof store)
        return NULL;
    memcpy(store + at, &size, sizeof size);
    return store + at + STORE_HEAD;
}

static bool is_from_store(const void *p)
{
    return (const char *)p >= store && (const char *)p < store + sizeof store;
}

void *malloc(size_t size)
{
    if (!ready)
        return from_store(size);
    return fails(MEMORY) ? NULL : next_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (!ready)
        return from_store(n * size);
    return fails(MEMORY) ? NULL : next_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    if (ready && !is_from_store(old))
        return fails(MEMORY) ? NULL : next_realloc(old, size);
    void *p = malloc(size);
    size_t had = 0;
    if (p && old) {
        memcpy(&had, (char *)old - STORE_HEAD, sizeof had);
        memcpy(p, old, had < size ? had : size);
    }
    return p;
}

void free(void *p)
{
    if (ready && !is_from_store(p))
        next_free(p);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAILING_CONTROL");
    int fd = -1;

    next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    next_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    ready = true;
    if (path && strcmp(program_invocation_short_name, "services_api") == 0)
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        control = map;
    close(fd);
}

/* ---- descriptors ---- */

static mode_t mode_of(int flags, va_list *list)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(*list, int) : 0;
}

#define OPEN(name)                                                \
    int name(const char *path, int flags, ...)                    \
    {                                                             \
        va_list list;                                             \
        BEHIND(name);                                             \
        va_start(list, flags);                                    \
        mode_t mode = mode_of(flags, &list);                      \
        va_end(list);                                             \
        return fails(DESCRIPTORS) ? -1 : next(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                  \
    int name(int at, const char *path, int flags, ...)                \
    {                                                                 \
        va_list list;                                                 \
        BEHIND(name);                                                 \
        va_start(list, flags);                                        \
        mode_t mode = mode_of(flags, &list);                          \
        va_end(list);                                                 \
        return fails(DESCRIPTORS) ? -1 : next(at, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int socket(int domain, int type, int protocol)
{
    BEHIND(socket);
    return fails(DESCRIPTORS) ? -1 : next(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
    BEHIND(socketpair);
    return fails(DESCRIPTORS) ? -1 : next(domain, type, protocol, fds);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    BEHIND(accept4);
    return fails(DESCRIPTORS) ? -1 : next(fd, address, len, flags);
}

int pipe2(int fds[2], int flags)
{
    BEHIND(pipe2);
    return fails(DESCRIPTORS) ? -1 : next(fds, flags);
}

int eventfd(unsigned count, int flags);
int eventfd(unsigned count, int flags)
{
    BEHIND(eventfd);
    return fails(DESCRIPTORS) ? -1 : next(count, flags);
}

int epoll_create1(int flags)
{
    BEHIND(epoll_create1);
    return fails(DESCRIPTORS) ? -1 : next(flags);
}

int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    BEHIND(epoll_ctl);
    return op != EPOLL_CTL_DEL && fails(EPOLL) ? -1 : next(epoll, op, fd, event);
}

/* ---- sockets ---- */

ssize_t read(int fd, void *buffer, size_t size)
{
    BEHIND(read);
    return socket_fails(fd) ? -1 : next(fd, buffer, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
    BEHIND(write);
    return socket_fails(fd) ? -1 : next(fd, data, size);
}

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    BEHIND(recv);
    return socket_fails(fd) ? -1 : next(fd, buffer, size, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    BEHIND(recvmsg);
    return socket_fails(fd) ? -1 : next(fd, message, flags);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    BEHIND(send);
    return socket_fails(fd) ? -1 : next(fd, data, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    BEHIND(sendmsg);
    return socket_fails(fd) ? -1 : next(fd, message, flags);
}
