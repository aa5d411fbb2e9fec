/* bench-wsload: N WebSocket clients of the API's stream, and how long a change takes to reach them.
 *
 * One thread and one epoll. Every client follows its messages: type, the gap-free seq of its
 * deltas, how old the delta's own timestamp is on arrival. Frames are parsed where they were
 * received; only a cut one is kept, so a client costs little between messages and 10,000 of them
 * measure the server, not this program.
 *
 * Commands on stdin, one a line, each answered by one JSON line, one at a time:
 *
 *     mark NEEDLE...      from now until the text NEEDLE has been seen in a delta by every client
 *     kill PID NEEDLE...  the same from a SIGKILL to PID, sent by us, so that the start is exact
 *     count               the counters so far
 *     quit                the final report, then the end
 *
 * A needle that not all have seen after --timeout is reported with how many have. For a service's
 * death it is a text that only the expected delta holds, like its row's "app_id":"x". Frames of the
 * server are expected unfragmented. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "bench/bench.h"

#define CLIENTS_MAX 60000
#define FRAME_MAX   (64U << 20)
#define RECEIVE     (256U << 10)
#define PEEK        512 /* bytes of a message in which type, seq and ts are looked for */

typedef enum ClientState { CLIENT_OPENING, CLIENT_ASKED, CLIENT_LIVE, CLIENT_GONE } ClientState;

typedef struct Client {
    int fd;
    ClientState state;
    uint64_t seq; /* of its last delta or snapshot; 0: none yet */
    uint64_t seen_mark;
    char *rest; /* the beginning of a cut frame, or of the handshake's answer */
    size_t rest_len, rest_cap;
} Client;

typedef struct Options {
    Target target;
    Extra extra;
    pid_t pid;
    uint64_t clients, seconds, timeout_ms, opening;
    const char *label;
} Options;

typedef struct Mark {
    uint64_t number; /* 0: none yet */
    uint64_t start_us, first_us, last_us;
    uint64_t seen;
    char needle[256];
    size_t needle_len; /* 0: no mark is open */
} Mark;

typedef struct Load {
    const Options *options;
    int epoll;
    Client *clients;
    size_t n_started, n_live, n_opening;
    uint64_t messages, deltas, snapshots, bytes, gaps, gone, refused, pings;
    Samples age_us, first_us, last_us;
    Mark mark;
    char line[512];
    size_t line_len;
    bool has_input, quit;
} Load;

/* ---- marks ---- */

static void mark_report(Load *l)
{
    Mark *m = &l->mark;

    report_begin("wsload");
    report_string("mark", m->needle);
    report_int("seen", (int64_t)m->seen);
    report_int("live", (int64_t)l->n_live);
    if (m->seen) {
        report_int("first_us", (int64_t)(m->first_us - m->start_us));
        report_int("last_us", (int64_t)(m->last_us - m->start_us));
        samples_add(&l->first_us, (double)(m->first_us - m->start_us));
        samples_add(&l->last_us, (double)(m->last_us - m->start_us));
    }
    report_end();
    m->needle_len = 0;
}

static void mark_look(Load *l, Client *c, const char *payload, size_t len)
{
    Mark *m = &l->mark;

    if (m->needle_len == 0 || c->seen_mark == m->number ||
        !memmem(payload, len, m->needle, m->needle_len))
        return;
    m->last_us = bench_now_us();
    if (m->seen++ == 0)
        m->first_us = m->last_us;
    c->seen_mark = m->number;
    if (m->seen >= l->n_live)
        mark_report(l);
}

static void mark_begin(Load *l, const char *needle)
{
    Mark *m = &l->mark;

    m->number++;
    m->seen = 0;
    m->needle_len = strlen(needle);
    memcpy(m->needle, needle, m->needle_len + 1);
    m->start_us = bench_now_us();
}

/* ---- clients ---- */

static void client_end(Load *l, Client *c, bool is_refusal)
{
    if (c->state == CLIENT_LIVE)
        l->n_live--;
    else
        l->n_opening--;
    l->gone += !is_refusal;
    l->refused += is_refusal;
    c->state = CLIENT_GONE;
    c->fd = close_fd(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->rest_len = c->rest_cap = 0;
}

static void client_open(Load *l, Client *c)
{
    *c = (Client){.fd = target_connect(&l->options->target)};
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};

    l->n_opening++;
    if (c->fd < 0)
        return client_end(l, c, true);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
        fatal(-errno, "epoll_ctl");
}

static void client_ask(Load *l, Client *c)
{
    char request[REQUEST_MAX];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    int n = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        l->options->target.path, l->options->target.host, l->options->extra.text);

    if (n >= (int)sizeof request)
        usage_error("the request is longer than %d bytes", REQUEST_MAX);
    if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        return client_end(l, c, true);
    c->state = CLIENT_ASKED;
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static uint64_t find_number(const char *payload, size_t len, const char *key)
{
    const char *at = memmem(payload, len, key, strlen(key));
    uint64_t value = 0;

    for (at = at ? at + strlen(key) : NULL; at && at < payload + len && *at >= '0' && *at <= '9';
         at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static bool has_type(const char *payload, size_t len, const char *type)
{
    return memmem(payload, len, type, strlen(type)) != NULL;
}

static void client_message(Load *l, Client *c, const char *payload, size_t len)
{
    size_t peek = MIN(len, (size_t)PEEK);

    l->messages++;
    if (has_type(payload, peek, "\"type\":\"delta\"")) {
        uint64_t seq = find_number(payload, peek, "\"seq\":"),
                 ts = find_number(payload, peek, "\"ts\":");
        l->deltas++;
        l->gaps += c->seq && seq != c->seq + 1;
        c->seq = seq;
        if (ts)
            samples_add(&l->age_us, (double)(bench_wall_us() - (int64_t)ts * 1000));
        mark_look(l, c, payload, len);
    } else if (has_type(payload, peek, "\"type\":\"snapshot\"")) {
        l->snapshots++;
        c->seq = find_number(payload, peek, "\"seq\":");
    }
}

/* A masked frame with the zero key: the payload as it is. */
static void client_reply(Client *c, uint8_t opcode, const char *payload, size_t len)
{
    uint8_t frame[6 + 125] = {(uint8_t)(0x80 | opcode), (uint8_t)(0x80 | len)};

    memcpy(frame + 6, payload, len);
    if (send(c->fd, frame, 6 + len, MSG_NOSIGNAL) < 0)
        return; /* the next recv() tells why */
}

/* Length of the head; 0: more bytes are needed. */
static size_t frame_head(const uint8_t *data, size_t len, uint64_t *ret_payload)
{
    uint64_t payload = len >= 2 ? data[1] & 0x7F : 0;
    size_t extended = payload == 127 ? 8 : payload == 126 ? 2 : 0;

    if (len < 2 + extended)
        return 0;
    if (extended)
        payload = 0;
    for (size_t i = 0; i < extended; i++)
        payload = payload << 8 | data[2 + i];
    *ret_payload = payload;
    return 2 + extended;
}

/* Handles the complete frames; returns how many bytes they were, or -EPROTO when the connection is
 * over. */
static ssize_t client_frames(Load *l, Client *c, const char *data, size_t len)
{
    size_t at = 0;

    for (;;) {
        uint64_t payload;
        size_t head = frame_head((const uint8_t *)data + at, len - at, &payload);
        if (head == 0)
            return (ssize_t)at;
        if (payload > FRAME_MAX)
            return -EPROTO;
        if (len - at - head < payload)
            return (ssize_t)at;
        uint8_t opcode = data[at] & 0x0F;
        const char *content = data + at + head;
        if (opcode == 0x8)
            return -EPROTO;
        if (opcode == 0x9 && payload <= 125) {
            l->pings++;
            client_reply(c, 0xA, content, (size_t)payload);
        } else if (opcode <= 0x2) {
            client_message(l, c, content, (size_t)payload);
        }
        at += head + (size_t)payload;
    }
}

/* The same for the answer to the handshake. */
static ssize_t client_handshake(Load *l, Client *c, const char *data, size_t len)
{
    static const char good[] = "HTTP/1.1 101 ";
    const char *end = memmem(data, len, "\r\n\r\n", 4);

    if (!end)
        return len > 8192 ? -EPROTO : 0;
    if (memcmp(data, good, strlen(good)) != 0)
        return -EPROTO;
    c->state = CLIENT_LIVE;
    l->n_opening--;
    l->n_live++;
    return end + 4 - data;
}

static ssize_t client_parse(Load *l, Client *c, const char *data, size_t len)
{
    ssize_t used = 0, n;

    if (c->state == CLIENT_ASKED &&
        ((used = client_handshake(l, c, data, len)) < 0 || c->state == CLIENT_ASKED))
        return used;
    n = client_frames(l, c, data + used, len - (size_t)used);
    return n < 0 ? n : used + n;
}

static void client_keep(Client *c, const char *data, size_t len)
{
    if (c->rest_len + len > c->rest_cap) {
        c->rest_cap = MAX(c->rest_len + len, c->rest_cap * 2);
        char *more = realloc(c->rest, c->rest_cap);
        if (!more)
            fatal(-ENOMEM, "a client's frame");
        c->rest = more;
    }
    memcpy(c->rest + c->rest_len, data, len);
    c->rest_len += len;
}

static int client_take(Load *l, Client *c, const char *data, size_t len)
{
    bool kept = c->rest_len > 0;

    if (kept)
        client_keep(c, data, len);
    const char *all = kept ? c->rest : data;
    size_t all_len = kept ? c->rest_len : len;
    ssize_t used = client_parse(l, c, all, all_len);
    if (used < 0)
        return (int)used;
    if (!kept) {
        if ((size_t)used < len)
            client_keep(c, data + used, len - (size_t)used);
        return 0;
    }
    c->rest_len -= (size_t)used;
    if (used && c->rest_len)
        memmove(c->rest, c->rest + used, c->rest_len);
    if (c->rest_len == 0) {
        free(c->rest);
        c->rest = NULL;
        c->rest_cap = 0;
    }
    return 0;
}

static void client_read(Load *l, Client *c)
{
    static char buffer[RECEIVE];

    for (;;) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 || client_take(l, c, buffer, (size_t)n) < 0)
            return client_end(l, c, c->state != CLIENT_LIVE);
        l->bytes += (uint64_t)n;
        if ((size_t)n < sizeof buffer)
            return;
    }
}

/* ---- commands ---- */

static void report_counters(Load *l)
{
    report_int("live", (int64_t)l->n_live);
    report_int("refused", (int64_t)l->refused);
    report_int("gone", (int64_t)l->gone);
    report_int("messages", (int64_t)l->messages);
    report_int("deltas", (int64_t)l->deltas);
    report_int("snapshots", (int64_t)l->snapshots);
    report_int("pings", (int64_t)l->pings);
    report_int("bytes", (int64_t)l->bytes);
    report_int("gaps", (int64_t)l->gaps);
}

static void reply(const char *key, const char *text)
{
    report_begin("wsload");
    report_string(key, text);
    report_end();
}

static void run_kill(Load *l, char *rest)
{
    char *needle = strchr(rest, ' ');
    uint64_t pid;

    if (needle)
        *needle++ = '\0';
    if (!needle || !*needle || number_parse(rest, 2, INT32_MAX, &pid) < 0)
        return reply("error", "kill PID NEEDLE");
    mark_begin(l, needle);
    if (kill((pid_t)pid, SIGKILL) < 0) {
        l->mark.needle_len = 0;
        reply("error", strerror(errno));
    }
}

static void run_command(Load *l, char *line)
{
    if (strcmp(line, "quit") == 0) {
        l->quit = true;
    } else if (strcmp(line, "count") == 0) {
        report_begin("wsload");
        report_counters(l);
        report_end();
    } else if (l->mark.needle_len) {
        reply("error", "a mark is open");
    } else if (strncmp(line, "mark ", 5) == 0 && line[5] &&
               strlen(line + 5) < sizeof l->mark.needle) {
        mark_begin(l, line + 5);
    } else if (strncmp(line, "kill ", 5) == 0 && strlen(line + 5) < sizeof l->mark.needle) {
        run_kill(l, line + 5);
    } else {
        reply("error", "mark NEEDLE, kill PID NEEDLE, count or quit");
    }
}

static void read_input(Load *l)
{
    ssize_t n = read(STDIN_FILENO, l->line + l->line_len, sizeof l->line - 1 - l->line_len);

    if (n <= 0 || l->line_len + (size_t)n == sizeof l->line - 1) {
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        l->has_input = false;
        return;
    }
    l->line_len += (size_t)n;
    l->line[l->line_len] = '\0';
    for (char *end; (end = strchr(l->line, '\n'));) {
        *end = '\0';
        run_command(l, l->line);
        l->line_len -= (size_t)(end + 1 - l->line);
        memmove(l->line, end + 1, l->line_len + 1);
    }
}

/* ---- program ---- */

static void dispatch(Load *l, Client *c)
{
    if (!c)
        read_input(l);
    else if (c->state == CLIENT_OPENING)
        client_ask(l, c);
    else if (c->state != CLIENT_GONE)
        client_read(l, c);
}

static void load_step(Load *l)
{
    struct epoll_event events[512];
    const Options *o = l->options;

    while (l->n_started < o->clients && l->n_opening < o->opening)
        client_open(l, &l->clients[l->n_started++]);
    int n = epoll_wait(l->epoll, events, (int)ELEMENTS(events), 20);
    for (int i = 0; i < n; i++)
        dispatch(l, events[i].data.ptr);
    if (l->mark.needle_len && bench_now_us() - l->mark.start_us > o->timeout_ms * USEC_PER_MSEC)
        mark_report(l);
}

/* Every client that came in has its snapshot, or 30 s have passed. */
static void load_open(Load *l)
{
    uint64_t until = bench_now_us() + 30 * USEC_PER_SEC;

    while (!l->quit && bench_now_us() < until &&
           (l->n_started < l->options->clients || l->n_opening || l->snapshots < l->n_live))
        load_step(l);
}

static void load_start(Load *l, const Options *o)
{
    struct epoll_event e = {.events = EPOLLIN};

    l->options = o;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->clients = calloc(o->clients, sizeof *l->clients);
    if (l->epoll < 0 || !l->clients)
        fatal(-errno, "cannot start");
    l->has_input =
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e) == 0; /* not for files and /dev/null */
}

static void measure(const Options *o, TreeUse *ret)
{
    int r = o->pid ? tree_use(&o->pid, 1, ret) : 0;

    if (r < 0)
        fatal(r, "cannot measure process %d", (int)o->pid);
}

static void report_server(const Load *l, const TreeUse *idle, const TreeUse *open,
                          const TreeUse *end, uint64_t messages)
{
    double us = messages ? (double)(end->cpu_us - open->cpu_us) / (double)messages : 0;

    report_int("server_pss_kb_before", (int64_t)idle->pss_kb);
    report_int("server_pss_kb", (int64_t)open->pss_kb);
    if (l->n_live)
        report_number("server_bytes_per_client",
                      ((double)open->pss_kb - (double)idle->pss_kb) * 1024 / (double)l->n_live);
    report_int("server_cpu_us", (int64_t)(end->cpu_us - open->cpu_us));
    report_number("server_cpu_us_per_message", us);
    report_number("messages_per_core_s", us > 0 ? 1e6 / us : 0);
}

static void help(void)
{
    puts("Usage: bench-wsload [OPTION...] URL\n\n"
         "WebSocket clients, for example of http://127.0.0.1:8485/api/ws/services.\n"
         "Prints one JSON line when all are open, one per command, one at the end.\n\n"
         "  --unix PATH          connect to this UNIX socket instead\n"
         "  --clients N          how many (default 1)\n"
         "  --opening N          handshakes at once (default 64)\n"
         "  --seconds N          end N seconds after all are open (default 5)\n"
         "  --pid PID            the server: adds its CPU time and memory\n"
         "  --timeout MS         how long a mark waits (default 15000)\n"
         "  --header 'NAME: V'   add a header; may be repeated\n"
         "  --token-file PATH    send the bearer token in this file\n"
         "  --label TEXT         put into the lines as \"label\"\n"
         "  -h, --help           this text\n\n"
         "Commands on stdin, one a line:\n"
         "  mark NEEDLE       time from now until every client has had a delta with\n"
         "                    the text NEEDLE\n"
         "  kill PID NEEDLE   the same from SIGKILL to that process\n"
         "  count             the counters so far\n"
         "  quit              end now");
}

static const struct option option_table[] = {
    {"unix", required_argument, NULL, 'u'},
    {"clients", required_argument, NULL, 'c'},
    {"opening", required_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, 's'},
    {"pid", required_argument, NULL, 'p'},
    {"timeout", required_argument, NULL, 'T'},
    {"header", required_argument, NULL, 'H'},
    {"token-file", required_argument, NULL, 't'},
    {"label", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static Options parse_options(int argc, char **argv)
{
    Options o = {.clients = 1, .opening = 64, .seconds = 5, .timeout_ms = 15000, .label = ""};
    const char *unix_path = NULL;
    int r = 0;

    for (int c; r == 0 && (c = getopt_long(argc, argv, "h", option_table, NULL)) >= 0;) {
        switch (c) {
        case 'u': unix_path = optarg; break;
        case 'c': o.clients = number_or_exit("--clients", optarg, 1, CLIENTS_MAX); break;
        case 'o': o.opening = number_or_exit("--opening", optarg, 1, 4096); break;
        case 's': o.seconds = number_or_exit("--seconds", optarg, 0, 86400); break;
        case 'p': o.pid = (pid_t)number_or_exit("--pid", optarg, 1, INT32_MAX); break;
        case 'T': o.timeout_ms = number_or_exit("--timeout", optarg, 1, 3600000); break;
        case 'H': r = extra_add(&o.extra, optarg); break;
        case 't': r = extra_add_token(&o.extra, optarg); break;
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

static void load_free(Load *l)
{
    for (size_t i = 0; i < l->n_started; i++) {
        close_fd(l->clients[i].fd);
        free(l->clients[i].rest);
    }
    free(l->clients);
    close(l->epoll);
    samples_done(&l->age_us);
    samples_done(&l->first_us);
    samples_done(&l->last_us);
}

int main(int argc, char **argv)
{
    Options o = parse_options(argc, argv);
    TreeUse idle = {0}, open = {0}, end = {0};
    Load l = {0};

    raise_file_limit();
    measure(&o, &idle);
    load_start(&l, &o);
    uint64_t start = bench_now_us();
    load_open(&l);
    report_begin("wsload");
    report_int("open", (int64_t)l.n_live);
    report_int("refused", (int64_t)l.refused);
    report_number("opening_s", (double)(bench_now_us() - start) / 1e6);
    report_end();
    measure(&o, &open);

    uint64_t messages = l.messages, own = bench_own_cpu_us();
    start = bench_now_us();
    while (!l.quit && bench_now_us() - start < o.seconds * USEC_PER_SEC)
        load_step(&l);
    uint64_t wall = MAX(bench_now_us() - start, 1U);
    own = bench_own_cpu_us() - own;
    messages = l.messages - messages;
    measure(&o, &end);

    report_begin("wsload");
    report_string("label", o.label);
    report_int("clients", (int64_t)o.clients);
    report_counters(&l);
    report_number("wall_s", (double)wall / 1e6);
    report_number("messages_per_s", (double)messages * 1e6 / (double)wall);
    report_samples("age_us", &l.age_us);
    if (l.first_us.n) {
        report_int("marks", (int64_t)l.first_us.n);
        report_samples("mark_first_us", &l.first_us);
        report_samples("mark_last_us", &l.last_us);
    }
    report_number("client_cpu_us_per_message", messages ? (double)own / (double)messages : 0);
    if (o.pid)
        report_server(&l, &idle, &open, &end, messages);
    report_end();
    bool failed = l.refused || l.gaps;
    load_free(&l);
    return failed ? 1 : 0;
}
