/* labsvc: the small service that plays every role in the lab's PCs. Linked statically, so that it
 * runs in a PC whatever that PC has installed.
 *
 *   labsvc [--port N] [--addr A] [--backlog N] [--notify] [--start-delay MS]
 *          [--exit-after MS [--exit-code C]] [--mode M] [--mode-file PATH] [--bind-optional]
 *
 * GET anything -> 200 {"status":"ok",...}. Without --port it takes the first socket that systemd
 * hands over (LISTEN_FDS), or runs without a listener. It serves one connection at a time, on
 * purpose: many real services do, and a monitor must not be able to block them.
 *
 * The mode file (default $XDG_RUNTIME_DIR/labsvc-PORT.mode) changes the behaviour while it runs;
 * --mode is what holds without such a file:
 *
 *   ok       answers
 *   slow     answers one second late
 *   fail     answers 503
 *   garbage  answers, but not HTTP
 *   reset    closes the connection with RST
 *   hang     accepts and reads, never answers
 *   deaf     does not accept any more, so that the accept queue fills
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX         128 /* connections that mode "hang" keeps open at most */
#define FIRST_SYSTEMD_FD 3   /* SD_LISTEN_FDS_START */

struct options {
    const char *addr;
    const char *mode;
    const char *mode_file;
    int port;
    int backlog;
    int exit_code;
    long start_delay_ms;
    long exit_after_ms;
    bool notify;
    bool bind_optional;
};

static volatile sig_atomic_t stop_requested;

static void on_term(int sig)
{
    (void)sig;
    stop_requested = 1;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* A number from 0 to max; anything else ends the program: it is a slip in a unit file. */
static long number(const char *text, long max)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 0 || n > max) {
        fprintf(stderr, "labsvc: not a number from 0 to %ld: %s\n", max, text);
        exit(2);
    }
    return n;
}

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

/* What sd_notify() does; libsystemd has no static library. */
static void notify_systemd(const char *message)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd;

    if (!path || strlen(path) >= sizeof sa.sun_path)
        return;
    memcpy(sa.sun_path, path, strlen(path));
    if (sa.sun_path[0] == '@')
        sa.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, message, strlen(message), 0, (const struct sockaddr *)&sa,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
        perror("labsvc: notify");
    close(fd);
}

static int open_listener(const struct options *o)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((unsigned short)o->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (inet_pton(AF_INET, o->addr, &sa.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, o->backlog) < 0) {
        int err = errno;

        close(fd);
        return -err;
    }
    return fd;
}

/* The first socket of a .socket unit, or -1. */
static int inherited_listener(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");

    if (!pid || !count || number(pid, INT_MAX) != (long)getpid() || number(count, 64) < 1)
        return -1;
    return FIRST_SYSTEMD_FD;
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address = {0};
    socklen_t len = sizeof address;

    if (fd < 0 || getsockname(fd, &address.any, &len) < 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
}

static void read_mode(const char *path, const char *standard, char mode[16])
{
    FILE *f = fopen(path, "re");

    if (!f || fscanf(f, "%15s", mode) != 1)
        snprintf(mode, 16, "%s", standard);
    if (f)
        fclose(f);
}

/* Keeps a connection open without an answer. The oldest one goes when there are too many: its
 * client has given up long ago, and this process must not run out of descriptors over the days. */
static void hold(int fd)
{
    static int held[HELD_MAX];
    static unsigned next;
    int *slot = &held[next++ % HELD_MAX];

    if (*slot > 0)
        close(*slot);
    *slot = fd;
}

static void answer(int fd, int port, const char *mode, long number)
{
    bool fail = strcmp(mode, "fail") == 0;
    char body[160], reply[512];
    int body_len, len;

    body_len =
        snprintf(body, sizeof body, "{\"status\":\"%s\",\"port\":%d,\"pid\":%d,\"requests\":%ld}\n",
                 fail ? "fail" : "ok", port, (int)getpid(), number);
    if (strcmp(mode, "garbage") == 0)
        len = snprintf(reply, sizeof reply, "SSH-2.0-this_is_no_http\r\n");
    else
        len = snprintf(reply, sizeof reply,
                       "HTTP/1.1 %s\r\n"
                       "Content-Type: application/json\r\n"
                       "Content-Length: %d\r\n"
                       "Connection: close\r\n\r\n%s",
                       fail ? "503 Service Unavailable" : "200 OK", body_len, body);
    if (write(fd, reply, (size_t)len) != len)
        fprintf(stderr, "labsvc: short write\n");
}

static void serve_one(int listener, const char *mode, int port)
{
    static long number;
    char request[2048];
    struct pollfd p;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    p = (struct pollfd){.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 2000) == 1 && read(fd, request, sizeof request) < 0)
        fprintf(stderr, "labsvc: read: %s\n", strerror(errno));
    if (strcmp(mode, "hang") == 0) {
        hold(fd);
        return;
    }
    if (strcmp(mode, "reset") == 0) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    } else {
        if (strcmp(mode, "slow") == 0)
            sleep_ms(1000);
        answer(fd, port, mode, ++number);
    }
    close(fd);
}

static int serve(const struct options *o, int listener, const char *mode_file, int port)
{
    long started = now_ms();

    while (!stop_requested) {
        long left = o->exit_after_ms < 0 ? 60000 : o->exit_after_ms - (now_ms() - started);
        struct pollfd p = {.fd = listener, .events = POLLIN};
        char mode[16];

        if (left <= 0) {
            fprintf(stderr, "labsvc: exiting with %d as told\n", o->exit_code);
            return o->exit_code;
        }
        if (poll(&p, 1, (int)left) != 1) /* a negative fd is ignored by poll() */
            continue;
        read_mode(mode_file, o->mode, mode);
        if (strcmp(mode, "deaf") == 0)
            sleep_ms(50);
        else
            serve_one(listener, mode, port);
    }
    return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value;

        if (strcmp(name, "--notify") == 0) {
            o->notify = true;
            continue;
        }
        if (strcmp(name, "--bind-optional") == 0) {
            o->bind_optional = true;
            continue;
        }
        value = argv[++i];
        if (!value) {
            fprintf(stderr, "labsvc: %s needs a value\n", name);
            return -EINVAL;
        }
        if (strcmp(name, "--port") == 0)
            o->port = (int)number(value, 65535);
        else if (strcmp(name, "--addr") == 0)
            o->addr = value;
        else if (strcmp(name, "--backlog") == 0)
            o->backlog = (int)number(value, 65535);
        else if (strcmp(name, "--start-delay") == 0)
            o->start_delay_ms = number(value, 600000);
        else if (strcmp(name, "--exit-after") == 0)
            o->exit_after_ms = number(value, LONG_MAX);
        else if (strcmp(name, "--exit-code") == 0)
            o->exit_code = (int)number(value, 255);
        else if (strcmp(name, "--mode") == 0)
            o->mode = value;
        else if (strcmp(name, "--mode-file") == 0)
            o->mode_file = value;
        else {
            fprintf(stderr, "labsvc: unknown argument %s\n", name);
            return -EINVAL;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {
        .addr = "127.0.0.1", .mode = "ok", .backlog = 64, .exit_code = 1, .exit_after_ms = -1};
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    char mode_file[256];
    int listener, port, rc;

    if (parse_options(argc, argv, &o) < 0)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    sleep_ms(o.start_delay_ms);

    listener = o.port ? open_listener(&o) : inherited_listener();
    if (o.port && listener < 0) {
        fprintf(stderr, "labsvc: cannot listen on %s:%d: %s\n", o.addr, o.port,
                strerror(-listener));
        if (!o.bind_optional)
            return 1;
    }
    port = o.port ? o.port : port_of(listener);
    if (o.mode_file)
        snprintf(mode_file, sizeof mode_file, "%s", o.mode_file);
    else
        snprintf(mode_file, sizeof mode_file, "%s/labsvc-%d.mode",
                 runtime_dir ? runtime_dir : "/tmp", port);

    printf("labsvc: up port=%d listening=%s pid=%d\n", port, listener < 0 ? "no" : "yes",
           (int)getpid());
    if (o.notify)
        notify_systemd("READY=1\nSTATUS=serving");
    rc = serve(&o, listener, mode_file, port);
    if (o.notify)
        notify_systemd("STOPPING=1");
    if (rc == 0)
        printf("labsvc: stopped\n");
    return rc;
}
