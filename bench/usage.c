/* bench-usage: what processes with all their descendants (or a cgroup) use over a stretch of time.
 *
 * One line: CPU time and share of a core over the interval, memory at its end. With --seconds 0 it
 * reports the totals since the start of the processes instead. The measured ones are only looked at
 * through /proc, never stopped. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"

#define ROOTS_MAX 64

typedef struct Options {
    pid_t roots[ROOTS_MAX];
    size_t n_roots;
    const char *cgroup;
    const char *label;
    uint64_t seconds;
} Options;

static void help(void)
{
    puts("Usage: bench-usage [OPTION...] PID...\n"
         "       bench-usage [OPTION...] --cgroup FOLDER\n\n"
         "Prints the CPU time and memory of processes and all their descendants\n"
         "as one JSON line.\n\n"
         "  --cgroup FOLDER   measure a cgroup (below /sys/fs/cgroup) instead\n"
         "  --seconds N       over N seconds (default 10); 0: since they started\n"
         "  --label TEXT      put into the line as \"label\"\n"
         "  -h, --help        this text");
}

static Options parse_options(int argc, char **argv)
{
    static const struct option table[] = {
        {"cgroup", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'},
        {"label", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    Options o = {.seconds = 10, .label = ""};

    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) >= 0;) {
        switch (c) {
        case 'c': o.cgroup = optarg; break;
        case 's': o.seconds = number_or_exit("--seconds", optarg, 0, 86400); break;
        case 'l': o.label = optarg; break;
        case 'h': help(); exit(0);
        default: exit(2);
        }
    }
    for (; optind < argc; optind++) {
        if (o.n_roots == ROOTS_MAX)
            usage_error("at most %d processes", ROOTS_MAX);
        o.roots[o.n_roots++] = (pid_t)number_or_exit("PID", argv[optind], 1, INT32_MAX);
    }
    if ((o.n_roots == 0) == (o.cgroup == NULL))
        usage_error("name processes or a cgroup");
    return o;
}

static int look(const Options *o, TreeUse *ret)
{
    uint64_t bytes;
    int r;

    if (!o->cgroup)
        return tree_use(o->roots, o->n_roots, ret);
    *ret = (TreeUse){0};
    r = cgroup_cpu_us(o->cgroup, &ret->cpu_us);
    if (r == 0 && file_number(o->cgroup, "memory.current", &bytes) == 0)
        ret->rss_kb = bytes / 1024; /* page cache included */
    return r;
}

int main(int argc, char **argv)
{
    Options o = parse_options(argc, argv);
    TreeUse before = {0}, after;
    uint64_t start = bench_now_us();
    int r = o.seconds ? look(&o, &before) : 0;

    if (r < 0)
        fatal(r, "cannot measure");
    nanosleep(&(struct timespec){.tv_sec = (time_t)o.seconds}, NULL);
    uint64_t wall = bench_now_us() - start;
    r = look(&o, &after);
    if (r < 0)
        fatal(r, "cannot measure");
    uint64_t cpu = after.cpu_us > before.cpu_us ? after.cpu_us - before.cpu_us : 0;
    report_begin("usage");
    report_string("label", o.label);
    report_int("wall_us", (int64_t)wall);
    report_int("cpu_us", (int64_t)cpu);
    if (o.seconds)
        report_number("core_percent", 100.0 * (double)cpu / (double)wall);
    report_int("processes", after.processes);
    report_int("threads", after.threads);
    report_int("pss_kb", (int64_t)after.pss_kb);
    report_int("rss_kb", (int64_t)after.rss_kb);
    report_end();
    return 0;
}
