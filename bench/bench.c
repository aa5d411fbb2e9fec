/* The shared part of the benchmark programs; see bench.h.
 *
 * CPU time is read from a process's own CPU clock (clock_getcpuclockid(3)): nanoseconds, ended
 * threads included, any process of this machine, where /proc/PID/stat counts in ticks of 10 ms.
 * Children that were waited for are known only in ticks. A child that neither lives nor was waited
 * for within the tree is not seen: for such programs there is the cgroup's account. */
#include "bench/bench.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>

#define PROCESSES_MAX 65536

static uint64_t clock_us(clockid_t id)
{
    struct timespec t = {0};

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000U;
}

uint64_t bench_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t bench_wall_us(void)
{
    return (int64_t)clock_us(CLOCK_REALTIME);
}

uint64_t bench_own_cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- samples ---- */

void samples_done(Samples *s)
{
    free(s->values);
    *s = (Samples){0};
}

static uint64_t next_random(uint64_t *state) /* xorshift64 */
{
    uint64_t x = *state ? *state : UINT64_C(0x9E3779B97F4A7C15);

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

void samples_add(Samples *s, double value)
{
    s->max = s->seen++ ? fmax(s->max, value) : value;
    if (s->n == SAMPLES_MAX) {
        uint64_t at = next_random(&s->random) % s->seen;
        if (at < s->n)
            s->values[at] = value;
        return;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 1024;
        double *values = realloc(s->values, cap * sizeof *values);
        if (!values)
            fatal(-ENOMEM, "samples");
        s->values = values;
        s->cap = cap;
    }
    s->values[s->n++] = value;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_percentile(Samples *s, double percent)
{
    if (s->n == 0)
        return 0;
    qsort(s->values, s->n, sizeof *s->values, compare_doubles);
    size_t rank = (size_t)ceil(percent / 100 * (double)s->n); /* nearest rank */
    return s->values[MIN(MAX(rank, 1U), s->n) - 1];
}

/* ---- process tree ---- */

typedef struct Process {
    pid_t pid, parent;
    uint64_t own_ticks, waited_ticks;
    uint32_t threads;
    bool in_tree;
} Process;

static ssize_t read_text(const char *path, char *buffer, size_t size)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    if (fd < 0)
        return -errno;
    while (len < size - 1) {
        ssize_t n = read(fd, buffer + len, size - 1 - len);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    buffer[len] = '\0';
    return (ssize_t)len;
}

static bool read_process(const char *name, Process *ret)
{
    char path[64], text[1024];
    int parent;
    unsigned long user, system, waited_user, waited_system;
    long threads;

    if (!isdigit((unsigned char)name[0]))
        return false;
    snprintf(path, sizeof path, "/proc/%.20s/stat", name);
    if (read_text(path, text, sizeof text) <= 0)
        return false;
    const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (!rest ||
        sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu %*d %*d %ld",
               &parent, &user, &system, &waited_user, &waited_system, &threads) != 6)
        return false;
    *ret = (Process){
        .pid = (pid_t)strtol(name, NULL, 10),
        .parent = parent,
        .own_ticks = user + system,
        .waited_ticks = waited_user + waited_system,
        .threads = (uint32_t)threads,
    };
    return true;
}

static int read_processes(Process **ret, size_t *ret_n)
{
    CLEANUP_FREE Process *all = NULL;
    size_t n = 0, cap = 0;
    DIR *folder = opendir("/proc");
    int r = 0;

    if (!folder)
        return -errno;
    for (struct dirent *e; r == 0 && n < PROCESSES_MAX && (e = readdir(folder));) {
        if (n == cap) {
            cap = cap ? cap * 2 : 256;
            Process *more = realloc(all, cap * sizeof *all);
            if (!more) {
                r = -ENOMEM;
                break;
            }
            all = more;
        }
        n += read_process(e->d_name, &all[n]);
    }
    closedir(folder);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(all);
    *ret_n = n;
    return 0;
}

static const Process *find_process(const Process *all, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (all[i].pid == pid)
            return &all[i];
    return NULL;
}

static void mark_tree(Process *all, size_t n, const pid_t *roots, size_t n_roots)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_roots; k++)
            all[i].in_tree |= all[i].pid == roots[k];
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            const Process *parent = all[i].in_tree ? NULL : find_process(all, n, all[i].parent);
            if (parent && parent->in_tree)
                changed = all[i].in_tree = true;
        }
    }
}

static uint64_t ticks_to_us(uint64_t ticks)
{
    return ticks * USEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
}

static uint64_t process_cpu_us(const Process *p)
{
    clockid_t id;
    struct timespec t;

    if (clock_getcpuclockid(p->pid, &id) == 0 && clock_gettime(id, &t) == 0)
        return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000U +
               ticks_to_us(p->waited_ticks);
    return ticks_to_us(p->own_ticks + p->waited_ticks);
}

static void add_memory(pid_t pid, TreeUse *use)
{
    char path[64], text[4096];
    unsigned long kb;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    if (read_text(path, text, sizeof text) <= 0)
        return;
    const char *pss = strstr(text, "\nPss:"), *rss = strstr(text, "\nRss:");
    if (pss && sscanf(pss, "\nPss: %lu kB", &kb) == 1)
        use->pss_kb += kb;
    if (rss && sscanf(rss, "\nRss: %lu kB", &kb) == 1)
        use->rss_kb += kb;
}

int tree_use(const pid_t *roots, size_t n, TreeUse *ret)
{
    CLEANUP_FREE Process *all = NULL;
    TreeUse use = {0};
    size_t n_all = 0;
    int r = read_processes(&all, &n_all);

    if (r < 0)
        return r;
    mark_tree(all, n_all, roots, n);
    for (size_t i = 0; i < n_all; i++) {
        if (!all[i].in_tree)
            continue;
        use.processes++;
        use.threads += all[i].threads;
        use.cpu_us += process_cpu_us(&all[i]);
        add_memory(all[i].pid, &use);
    }
    if (use.processes == 0)
        return -ESRCH;
    *ret = use;
    return 0;
}

int cgroup_cpu_us(const char *folder, uint64_t *ret)
{
    char path[4096], text[4096];
    unsigned long long us;

    if (snprintf(path, sizeof path, "%s/cpu.stat", folder) >= (int)sizeof path)
        return -ENAMETOOLONG;
    ssize_t n = read_text(path, text, sizeof text);
    if (n < 0)
        return (int)n;
    const char *at = strstr(text, "usage_usec ");
    if (!at || sscanf(at, "usage_usec %llu", &us) != 1)
        return -EBADMSG;
    *ret = us;
    return 0;
}

int file_number(const char *folder, const char *name, uint64_t *ret)
{
    char path[4096], text[64];

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return -ENAMETOOLONG;
    ssize_t n = read_text(path, text, sizeof text);
    if (n < 0)
        return (int)n;
    text[strcspn(text, "\n")] = '\0';
    return number_parse(text, 0, UINT64_MAX, ret);
}

/* ---- target ---- */

static int parse_address(char *host, uint16_t port, Target *t)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&t->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&t->address;

    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) ==
        1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        t->address_len = sizeof *v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        t->address_len = sizeof *v6;
        return 0;
    }
    return -EINVAL;
}

static int use_unix(const char *path, Target *t)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&t->address;

    if (strlen(path) >= sizeof un->sun_path)
        return -EINVAL;
    t->address = (struct sockaddr_storage){.ss_family = AF_UNIX};
    memcpy(un->sun_path, path, strlen(path) + 1);
    t->address_len = sizeof *un;
    return 0;
}

/* "1.2.3.4:80", "[::1]:80" or either without port, cut out of the URL */
static int parse_authority(const char *text, size_t len, Target *t)
{
    char host[sizeof t->host];
    uint64_t port = 80;

    if (len == 0 || len >= sizeof t->host)
        return -EINVAL;
    memcpy(t->host, text, len);
    t->host[len] = '\0';
    memcpy(host, t->host, len + 1);
    char *colon = strrchr(host, ':'), *bracket = strchr(host, ']');
    if (colon && colon > bracket) {
        *colon = '\0';
        if (number_parse(colon + 1, 1, UINT16_MAX, &port) < 0)
            return -EINVAL;
    }
    if (host[0] != '[')
        return parse_address(host, (uint16_t)port, t);
    if (!bracket)
        return -EINVAL;
    *bracket = '\0';
    return parse_address(host + 1, (uint16_t)port, t);
}

int target_parse(const char *url, const char *unix_path, Target *ret)
{
    static const char scheme[] = "http://";
    Target t = {.path = "/"};

    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return -EINVAL;
    const char *authority = url + strlen(scheme);
    size_t len = strcspn(authority, "/?");
    int r = parse_authority(authority, len, &t);
    if (r < 0)
        return r;
    if (authority[len] == '/' &&
        snprintf(t.path, sizeof t.path, "%s", authority + len) >= (int)sizeof t.path)
        return -EINVAL;
    if (unix_path && (r = use_unix(unix_path, &t)) < 0)
        return r;
    *ret = t;
    return 0;
}

int target_connect(const Target *t)
{
    int one = 1, fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (t->address.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&t->address, t->address_len) < 0 &&
        errno != EINPROGRESS) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int extra_add(Extra *e, const char *header)
{
    if (!strchr(header, ':') || strpbrk(header, "\r\n"))
        return -EINVAL;
    int n = snprintf(e->text + e->len, sizeof e->text - e->len, "%s\r\n", header);
    if (n < 0 || (size_t)n >= sizeof e->text - e->len)
        return -ENOBUFS;
    e->len += (size_t)n;
    return 0;
}

int extra_add_token(Extra *e, const char *path)
{
    char token[512], header[600];
    ssize_t n = read_text(path, token, sizeof token);

    if (n < 0)
        return (int)n;
    token[strcspn(token, "\r\n")] = '\0';
    snprintf(header, sizeof header, "Authorization: Bearer %s", token);
    return extra_add(e, header);
}

/* ---- results ---- */

static void print_string(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            printf("\\u%04x", (unsigned)*s);
        else
            putchar(*s);
    }
    putchar('"');
}

void report_begin(const char *program)
{
    printf("{\"program\":");
    print_string(program);
}

static void print_key(const char *key)
{
    putchar(',');
    print_string(key);
    putchar(':');
}

void report_int(const char *key, int64_t value)
{
    print_key(key);
    printf("%lld", (long long)value);
}

void report_number(const char *key, double value)
{
    print_key(key);
    if (isfinite(value))
        printf("%.6g", value);
    else
        printf("null");
}

void report_string(const char *key, const char *value)
{
    print_key(key);
    print_string(value);
}

void report_samples(const char *key, Samples *s)
{
    static const double percents[] = {50, 90, 99};
    char name[128];

    for (size_t i = 0; i < ELEMENTS(percents); i++) {
        snprintf(name, sizeof name, "%s_p%.0f", key, percents[i]);
        report_number(name, samples_percentile(s, percents[i]));
    }
    snprintf(name, sizeof name, "%s_max", key);
    report_number(name, s->max);
}

void report_end(void)
{
    printf("}\n");
    fflush(stdout);
}

/* ---- command line ---- */

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end)
        return -EINVAL;
    if (errno || value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

uint64_t number_or_exit(const char *option, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value;

    if (number_parse(text, min, max, &value) < 0)
        usage_error("%s: '%s' is no number from %llu to %llu", option, text,
                    (unsigned long long)min, (unsigned long long)max);
    return value;
}

static void complain(int error, const char *format, va_list ap)
{
    char text[1024];

    vsnprintf(text, sizeof text, format, ap);
    fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, text, error ? ": " : "",
            error ? strerror(-error) : "");
}

void usage_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    complain(0, format, ap);
    va_end(ap);
    exit(2);
}

void fatal(int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    complain(error, format, ap);
    va_end(ap);
    exit(1);
}

void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
