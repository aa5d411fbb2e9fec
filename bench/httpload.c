/* bench-httpload: keep-alive GET load on one server, closed loop: each connection asks again when
 * it has its answer.
 *
 * One thread and one epoll. An answer is followed through its head (Content-Length is required) and
 * its body is counted, not kept. Latency is from the request's send() to the body's last byte. With
 * --pid the server's CPU time over the measured stretch is divided by the answers: that, not
 * requests per second of a machine that also runs the client, is the figure to compare. Answers
 * during --warmup count for nothing. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "bench/bench.h"

#define HEAD_MAX        8192
#define CONNECTIONS_MAX 10000

typedef struct Options {
    Target target;
    Extra extra;
    pid_t pid;
    uint64_t connections, requests, seconds, warmup;
    int expect; /* status that counts as good */
    const char *label;
} Options;

typedef struct Connection {
    int fd;
    uint32_t events;
    uint64_t sent_us;
    size_t sent; /* of the request */
    bool in_body;
    uint64_t missing; /* of the body */
    bool closes;      /* the server said Connection: close */
    bool answered;    /* at least once on this connection */
    size_t head_len;
    char head[HEAD_MAX];
} Connection;

typedef struct Load {
    const Options *options;
    char request[REQUEST_MAX];
    size_t request_len;
    int epoll;
    Connection *connections;
    bool measuring;
    uint64_t answers, bad_status, errors, reconnects, body_bytes;
    int last_bad;
    Samples latency;
} Load;

static void wait_for(Load *l, Connection *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    if (c->events == events)
        return;
    if (epoll_ctl(l->epoll, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) < 0)
        fatal(-errno, "epoll_ctl");
    c->events = events;
}

static void connection_open(Load *l, Connection *c)
{
    *c = (Connection){.fd = target_connect(&l->options->target)};
    if (c->fd < 0)
        fatal(c->fd, "cannot connect to %s", l->options->target.host);
    wait_for(l, c, EPOLLOUT);
}

static void connection_reopen(Load *l, Connection *c, bool is_error)
{
    l->errors += is_error;
    l->reconnects++;
    if (is_error && l->errors > 1000 && l->answers == 0)
        fatal(0, "%s gives no answer: 1,000 connections failed", l->options->target.host);
    close(c->fd);
    connection_open(l, c);
}

static void connection_send(Load *l, Connection *c)
{
    if (c->sent == 0)
        c->sent_us = bench_now_us();
    ssize_t n = send(c->fd, l->request + c->sent, l->request_len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return connection_reopen(l, c, true);
    c->sent += n > 0 ? (size_t)n : 0;
    wait_for(l, c, c->sent < l->request_len ? EPOLLOUT : EPOLLIN);
}

static void connection_done(Load *l, Connection *c)
{
    if (l->measuring) {
        l->answers++;
        samples_add(&l->latency, (double)(bench_now_us() - c->sent_us));
    }
    if (c->closes)
        return connection_reopen(l, c, false);
    c->sent = c->head_len = 0;
    c->in_body = false;
    c->answered = true;
    connection_send(l, c);
}

/* Value of a header in a NUL-terminated head, NULL when absent. */
static const char *head_value(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
            return line + 3 + len + strspn(line + 3 + len, " \t");
    return NULL;
}

static void judge_head(Load *l, Connection *c)
{
    int status = 0;
    const char *length = head_value(c->head, "Content-Length"),
               *option = head_value(c->head, "Connection");

    sscanf(c->head, "HTTP/1.%*1[01] %3d", &status);
    if (status != l->options->expect && l->measuring) {
        l->bad_status++;
        l->last_bad = status;
    }
    if (!length && status != 304 && status != 204)
        fatal(0, "an answer (status %d) without Content-Length; this program needs one", status);
    c->missing = length && status != 304 ? strtoull(length, NULL, 10) : 0;
    c->closes = option && strncasecmp(option, "close", 5) == 0;
    c->in_body = true;
}

/* Takes received bytes; false when the connection was given up or a new request is under way. */
static bool connection_take(Load *l, Connection *c, const char *data, size_t len)
{
    if (!c->in_body) {
        size_t before = c->head_len, part = MIN(len, HEAD_MAX - 1 - before);
        memcpy(c->head + before, data, part);
        c->head[before + part] = '\0';
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) {
            c->head_len += part;
            if (part < len)
                connection_reopen(l, c, true);
            return part == len;
        }
        size_t used = (size_t)(end + 4 - c->head) - before;
        end[2] = '\0';
        judge_head(l, c);
        data += used;
        len -= used;
    }
    l->body_bytes += l->measuring ? len : 0;
    c->missing -= MIN(c->missing, len);
    if (c->missing > 0)
        return true;
    connection_done(l, c);
    return false;
}

static void connection_read(Load *l, Connection *c)
{
    static char buffer[256 << 10];

    for (;;) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) /* closing an idle connection between two answers is the server's right */
            return connection_reopen(l, c, n < 0 || !c->answered || c->head_len > 0 || c->in_body);
        if (!connection_take(l, c, buffer, (size_t)n) || (size_t)n < sizeof buffer)
            return;
    }
}

static void load_run(Load *l, uint64_t until_us, uint64_t requests)
{
    struct epoll_event events[256];

    while (bench_now_us() < until_us && l->answers < requests) {
        int n = epoll_wait(l->epoll, events, (int)ELEMENTS(events), 100);
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c->events == EPOLLOUT)
                connection_send(l, c);
            else
                connection_read(l, c);
        }
    }
}

static void load_start(Load *l, const Options *o)
{
    int n = snprintf(l->request, sizeof l->request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
                     o->target.path, o->target.host, o->extra.text);

    if (n < 0 || (size_t)n >= sizeof l->request)
        usage_error("the request is longer than %d bytes", REQUEST_MAX);
    l->options = o;
    l->request_len = (size_t)n;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->connections = calloc(o->connections, sizeof *l->connections);
    if (l->epoll < 0 || !l->connections)
        fatal(-errno, "cannot start");
    for (uint64_t i = 0; i < o->connections; i++)
        connection_open(l, &l->connections[i]);
}

static void load_report(Load *l, uint64_t wall_us, uint64_t own_us, const TreeUse *before,
                        const TreeUse *after)
{
    const Options *o = l->options;
    double answers = (double)MAX(l->answers, 1U);

    report_begin("httpload");
    report_string("label", o->label);
    report_string("path", o->target.path);
    report_int("connections", (int64_t)o->connections);
    report_int("answers", (int64_t)l->answers);
    report_int("bad_status", (int64_t)l->bad_status);
    if (l->bad_status)
        report_int("last_bad_status", l->last_bad);
    report_int("errors", (int64_t)l->errors);
    report_int("reconnects", (int64_t)l->reconnects);
    report_number("wall_s", (double)wall_us / 1e6);
    report_number("requests_per_s", (double)l->answers * 1e6 / (double)wall_us);
    report_number("body_bytes", (double)l->body_bytes / answers);
    report_samples("latency_us", &l->latency);
    report_number("client_cpu_us", (double)own_us / answers);
    if (o->pid) {
        double us = (double)(after->cpu_us - before->cpu_us) / answers;
        report_number("server_cpu_us", us);
        report_number("requests_per_core_s", us > 0 ? 1e6 / us : 0);
        report_int("server_pss_kb", (int64_t)after->pss_kb);
    }
    report_end();
}

static void help(void)
{
    puts("Usage: bench-httpload [OPTION...] URL\n\n"
         "Keep-alive GET load, for example on http://127.0.0.1:8485/api/services.\n"
         "Prints one JSON line.\n\n"
         "  --unix PATH          connect to this UNIX socket instead\n"
         "  --connections N      at once (default 1)\n"
         "  --seconds N          measured time (default 5)\n"
         "  --requests N         end earlier after N answers\n"
         "  --warmup N           seconds before the measurement (default 1)\n"
         "  --pid PID            the server: adds its CPU time per answer\n"
         "  --header 'NAME: V'   add a header; may be repeated\n"
         "  --token-file PATH    send the bearer token in this file\n"
         "  --expect STATUS      the good status (default 200)\n"
         "  --label TEXT         put into the line as \"label\"\n"
         "  -h, --help           this text\n\n"
         "Exit code: 0, or 1 when an answer was not as expected.");
}

static const struct option option_table[] = {
    {"unix", required_argument, NULL, 'u'},    {"connections", required_argument, NULL, 'c'},
    {"seconds", required_argument, NULL, 's'}, {"requests", required_argument, NULL, 'n'},
    {"warmup", required_argument, NULL, 'w'},  {"pid", required_argument, NULL, 'p'},
    {"header", required_argument, NULL, 'H'},  {"token-file", required_argument, NULL, 't'},
    {"expect", required_argument, NULL, 'e'},  {"label", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},          {0},
};

static Options parse_options(int argc, char **argv)
{
    Options o = {.connections = 1,
                 .seconds = 5,
                 .warmup = 1,
                 .requests = UINT64_MAX,
                 .expect = 200,
                 .label = ""};
    const char *unix_path = NULL;
    int r = 0;

    for (int c; r == 0 && (c = getopt_long(argc, argv, "h", option_table, NULL)) >= 0;) {
        switch (c) {
        case 'u': unix_path = optarg; break;
        case 'c':
            o.connections = number_or_exit("--connections", optarg, 1, CONNECTIONS_MAX);
            break;
        case 's': o.seconds = number_or_exit("--seconds", optarg, 1, 3600); break;
        case 'n': o.requests = number_or_exit("--requests", optarg, 1, UINT64_MAX - 1); break;
        case 'w': o.warmup = number_or_exit("--warmup", optarg, 0, 3600); break;
        case 'p': o.pid = (pid_t)number_or_exit("--pid", optarg, 1, INT32_MAX); break;
        case 'H': r = extra_add(&o.extra, optarg); break;
        case 't': r = extra_add_token(&o.extra, optarg); break;
        case 'e': o.expect = (int)number_or_exit("--expect", optarg, 100, 599); break;
        case 'l': o.label = optarg; break;
        case 'h': help(); exit(0);
        default: exit(2);
        }
    }
    if (r < 0)
        usage_error("cannot use this header or token: %s", optarg);
    if (optind != argc - 1 || target_parse(argv[optind], unix_path, &o.target) < 0)
        usage_error("one URL, please: http://ADDRESS:PORT/PATH");
    return o;
}

int main(int argc, char **argv)
{
    Options o = parse_options(argc, argv);
    TreeUse before = {0}, after = {0};
    Load l = {0};
    int r;

    raise_file_limit();
    load_start(&l, &o);
    load_run(&l, bench_now_us() + o.warmup * USEC_PER_SEC, UINT64_MAX);
    if (o.pid && (r = tree_use(&o.pid, 1, &before)) < 0)
        fatal(r, "cannot measure process %d", (int)o.pid);
    l.measuring = true;
    l.errors = l.reconnects = 0;
    uint64_t start = bench_now_us(), own = bench_own_cpu_us();
    load_run(&l, start + o.seconds * USEC_PER_SEC, o.requests);
    uint64_t wall = bench_now_us() - start;
    own = bench_own_cpu_us() - own;
    if (o.pid && (r = tree_use(&o.pid, 1, &after)) < 0)
        fatal(r, "the server is gone");
    load_report(&l, wall, own, &before, &after);
    for (uint64_t i = 0; i < o.connections; i++)
        close(l.connections[i].fd);
    free(l.connections);
    close(l.epoll);
    samples_done(&l.latency);
    return l.bad_status || l.errors || l.answers == 0 ? 1 : 0;
}
