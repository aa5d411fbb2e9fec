/* bench-httpfarm: many small HTTP servers in one process, as things for a monitor to look at.
 *
 * N ports from a base upward answer GET /health at once with 200, as cheaply as one thread can, so
 * that what is measured is the monitor. Each port has a mode that a script changes through our
 * stdin, one command a line:
 *
 *     PORT MODE        FROM-TO MODE        all MODE        count        quit
 *
 * Modes: a status number 100-599 (answers with it), hang (accepts and reads, never answers), deaf
 * (listens, never accepts: the accept queue fills), closed (does not listen). Each command is
 * answered by one JSON line. End of input is not the end: it serves until `quit` or a signal.
 * Connections that the client leaves open stay open, up to a maximum beyond which new ones are
 * closed at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "bench/bench.h"

#define PORTS_MAX       20000
#define CONNECTIONS_MAX 20000
#define REQUEST_HEAD    2048
#define BACKLOG         64

enum { MODE_HANG = 1, MODE_DEAF, MODE_CLOSED }; /* 100-599: a status */

typedef enum SourceKind { SOURCE_PORT, SOURCE_CONNECTION, SOURCE_INPUT, SOURCE_SIGNAL } SourceKind;

typedef struct Source { /* first member of all that epoll points to */
    SourceKind kind;
    int fd;
} Source;

typedef struct Port {
    Source source;
    uint16_t number;
    int mode;
    uint64_t requests;
} Port;

typedef struct Connection {
    Source source;
    Port *port;
    size_t len;
    char head[REQUEST_HEAD];
} Connection;

typedef struct Farm {
    int epoll;
    struct in_addr address;
    Port *ports;
    size_t n_ports;
    size_t n_connections;
    uint64_t refused;
    Source input, signals;
    char line[256];
    size_t line_len;
    bool quit;
} Farm;

static void watch(Farm *f, Source *s)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};

    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, s->fd, &e) < 0)
        fatal(-errno, "epoll_ctl");
}

/* ---- ports ---- */

static int port_listen(Farm *f, Port *p)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(p->number), .sin_addr = f->address};
    int one = 1;
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    p->source.fd = TAKE_FD(fd);
    return 0;
}

static int port_set_mode(Farm *f, Port *p, int mode)
{
    if (p->mode == mode)
        return 0;
    if (p->source.fd >= 0 && p->mode != MODE_DEAF)
        epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->source.fd, NULL);
    if (mode == MODE_CLOSED) {
        p->source.fd = close_fd(p->source.fd);
    } else {
        int r = p->source.fd < 0 ? port_listen(f, p) : 0;
        if (r < 0) {
            p->mode = MODE_CLOSED;
            return r;
        }
        if (mode != MODE_DEAF)
            watch(f, &p->source);
    }
    p->mode = mode;
    return 0;
}

/* ---- connections ---- */

static void connection_close(Farm *f, Connection *c)
{
    close(c->source.fd);
    f->n_connections--;
    free(c);
}

static void port_accept(Farm *f, Port *p)
{
    int fd;

    while ((fd = accept4(p->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Connection *c = f->n_connections < CONNECTIONS_MAX ? malloc(sizeof *c) : NULL;
        if (!c) {
            f->refused++;
            close(fd);
            continue;
        }
        c->source = (Source){.kind = SOURCE_CONNECTION, .fd = fd};
        c->port = p;
        c->len = 0;
        f->n_connections++;
        watch(f, &c->source);
    }
}

static bool wants_close(const char *head)
{
    size_t line = strcspn(head, "\r");

    return strcasestr(head, "\r\nConnection: close") ||
           (line >= 8 && strncmp(head + line - 8, "HTTP/1.0", 8) == 0);
}

/* Answers one request; false when the connection is to be closed. */
static bool connection_answer(Connection *c)
{
    static const char body[] = "ok\n";
    char reply[256];
    bool is_health = strncmp(c->head, "GET /health ", 12) == 0, closes = wants_close(c->head);
    int status = is_health ? c->port->mode : 404;
    int n =
        snprintf(reply, sizeof reply,
                 "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s",
                 status, status < 400 ? "OK" : "Not as it should be", sizeof body - 1,
                 closes ? "Connection: close\r\n" : "", body);

    c->port->requests++;
    return send(c->source.fd, reply, (size_t)n, MSG_NOSIGNAL) == n && !closes;
}

static void connection_read(Farm *f, Connection *c)
{
    ssize_t n = recv(c->source.fd, c->head + c->len, sizeof c->head - 1 - c->len, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        return connection_close(f, c);
    c->len += (size_t)n;
    c->head[c->len] = '\0';
    if (c->port->mode < 100) { /* hanging: forget what was said, wait until the client leaves */
        c->len = 0;
        return;
    }
    if (!strstr(c->head, "\r\n\r\n")) {
        if (c->len == sizeof c->head - 1)
            connection_close(f, c);
        return;
    }
    c->len = 0;
    if (!connection_answer(c))
        connection_close(f, c);
}

/* ---- commands ---- */

static int parse_mode(const char *word)
{
    static const char *const names[] = {
        [MODE_HANG] = "hang", [MODE_DEAF] = "deaf", [MODE_CLOSED] = "closed"};
    uint64_t status;

    for (int i = MODE_HANG; i <= MODE_CLOSED; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    return number_parse(word, 100, 599, &status) == 0 ? (int)status : -EINVAL;
}

static int parse_range(const Farm *f, char *word, uint64_t *from, uint64_t *to)
{
    uint64_t first = f->ports[0].number, last = f->ports[f->n_ports - 1].number;

    *from = first;
    *to = last;
    if (strcmp(word, "all") == 0)
        return 0;
    char *dash = strchr(word, '-');
    if (dash)
        *dash = '\0';
    if (number_parse(word, first, last, from) < 0 ||
        number_parse(dash ? dash + 1 : word, *from, last, to) < 0)
        return -EINVAL;
    return 0;
}

static void reply_count(const Farm *f)
{
    uint64_t requests = 0;

    for (size_t i = 0; i < f->n_ports; i++)
        requests += f->ports[i].requests;
    report_begin("httpfarm");
    report_int("requests", (int64_t)requests);
    report_int("connections", (int64_t)f->n_connections);
    report_int("refused", (int64_t)f->refused);
    report_int("cpu_us", (int64_t)bench_own_cpu_us());
    report_end();
}

static void reply_set(int error, uint64_t changed)
{
    report_begin("httpfarm");
    report_int("changed", (int64_t)changed);
    if (error < 0)
        report_string("error",
                      error == -EINVAL ? "PORT|FROM-TO|all MODE, count or quit" : strerror(-error));
    report_end();
}

static void run_command(Farm *f, char *line)
{
    char *save = NULL, *where = strtok_r(line, " \t\r", &save),
         *word = strtok_r(NULL, " \t\r", &save);
    uint64_t from, to, changed = 0;
    int r = 0;

    if (!where)
        return;
    if (!word && strcmp(where, "quit") == 0) {
        f->quit = true;
        return;
    }
    if (!word && strcmp(where, "count") == 0)
        return reply_count(f);
    int mode = word ? parse_mode(word) : -EINVAL;
    if (mode < 0 || parse_range(f, where, &from, &to) < 0)
        return reply_set(-EINVAL, 0);
    for (uint64_t at = from; r == 0 && at <= to; at++) {
        r = port_set_mode(f, &f->ports[at - f->ports[0].number], mode);
        changed += r == 0;
    }
    reply_set(r, changed);
}

static void read_input(Farm *f)
{
    ssize_t n = read(f->input.fd, f->line + f->line_len, sizeof f->line - 1 - f->line_len);

    if (n <= 0 || f->line_len + (size_t)n == sizeof f->line - 1) {
        epoll_ctl(f->epoll, EPOLL_CTL_DEL, f->input.fd, NULL);
        return;
    }
    f->line_len += (size_t)n;
    f->line[f->line_len] = '\0';
    for (char *end; (end = strchr(f->line, '\n'));) {
        *end = '\0';
        run_command(f, f->line);
        f->line_len -= (size_t)(end + 1 - f->line);
        memmove(f->line, end + 1, f->line_len + 1);
    }
}

/* ---- program ---- */

static void dispatch(Farm *f, Source *s)
{
    switch (s->kind) {
    case SOURCE_PORT: port_accept(f, container_of(s, Port, source)); break;
    case SOURCE_CONNECTION: connection_read(f, container_of(s, Connection, source)); break;
    case SOURCE_INPUT: read_input(f); break;
    case SOURCE_SIGNAL: f->quit = true; break;
    }
}

static void farm_run(Farm *f)
{
    struct epoll_event events[64];

    while (!f->quit) {
        int n = epoll_wait(f->epoll, events, (int)ELEMENTS(events), -1);
        if (n < 0 && errno != EINTR)
            fatal(-errno, "epoll_wait");
        for (int i = 0; i < n; i++)
            dispatch(f, events[i].data.ptr);
    }
}

static void farm_start(Farm *f, uint64_t first, uint64_t count, uint64_t hanging)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->ports = calloc(count, sizeof *f->ports);
    f->signals = (Source){.kind = SOURCE_SIGNAL, .fd = signalfd(-1, &signals, SFD_CLOEXEC)};
    f->input = (Source){.kind = SOURCE_INPUT, .fd = STDIN_FILENO};
    if (f->epoll < 0 || !f->ports || f->signals.fd < 0)
        fatal(-errno, "cannot start");
    watch(f, &f->signals);
    /* EPERM: a file or /dev/null has no commands to wait for */
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, STDIN_FILENO,
                  &(struct epoll_event){.events = EPOLLIN, .data.ptr = &f->input}) < 0 &&
        errno != EPERM && errno != EBADF)
        fatal(-errno, "epoll_ctl");
    for (f->n_ports = 0; f->n_ports < count; f->n_ports++) {
        Port *p = &f->ports[f->n_ports];
        *p = (Port){.source = {.kind = SOURCE_PORT, .fd = -1},
                    .number = (uint16_t)(first + f->n_ports)};
        int r = port_set_mode(f, p, f->n_ports >= count - hanging ? MODE_HANG : 200);
        if (r < 0)
            fatal(r, "port %u", (unsigned)p->number);
    }
}

static void help(void)
{
    puts("Usage: bench-httpfarm [OPTION...]\n\n"
         "Many small HTTP servers in one process: each port answers GET /health.\n"
         "Prints one JSON line when all ports listen, then one per command.\n\n"
         "  --ports N        how many (default 10)\n"
         "  --base PORT      the first one (default 20000)\n"
         "  --address ADDR   IPv4 address to bind (default 127.0.0.1)\n"
         "  --hang N         the last N accept, but never answer\n"
         "  -h, --help       this text\n\n"
         "Commands on stdin, one a line:\n"
         "  PORT MODE, FROM-TO MODE, all MODE\n"
         "      MODE is a status (200, 503, ...), hang (accepts, never answers),\n"
         "      deaf (listens, never accepts) or closed (does not listen)\n"
         "  count   requests answered so far, and our CPU time\n"
         "  quit");
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"ports", required_argument, NULL, 'n'},   {"base", required_argument, NULL, 'b'},
        {"address", required_argument, NULL, 'a'}, {"hang", required_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    uint64_t count = 10, first = 20000, hanging = 0;
    Farm f = {.address.s_addr = htonl(INADDR_LOOPBACK)};

    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) >= 0;) {
        switch (c) {
        case 'n': count = number_or_exit("--ports", optarg, 1, PORTS_MAX); break;
        case 'b': first = number_or_exit("--base", optarg, 1, UINT16_MAX); break;
        case 'x': hanging = number_or_exit("--hang", optarg, 0, PORTS_MAX); break;
        case 'a':
            if (inet_pton(AF_INET, optarg, &f.address) != 1)
                usage_error("--address: '%s' is no IPv4 address", optarg);
            break;
        case 'h': help(); return 0;
        default: return 2;
        }
    }
    if (optind != argc || hanging > count || first + count - 1 > UINT16_MAX)
        usage_error("no such ports; see --help");
    raise_file_limit();
    farm_start(&f, first, count, hanging);
    report_begin("httpfarm");
    report_int("ports", (int64_t)count);
    report_int("first", (int64_t)first);
    report_int("hanging", (int64_t)hanging);
    report_int("pid", getpid());
    report_end();
    farm_run(&f);
    return 0; /* sockets and connections end with the process */
}
