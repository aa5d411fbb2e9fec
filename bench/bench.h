/* What the benchmark programs share: clocks, samples with percentiles, the use of a whole process
 * tree, a target to connect to, and results as JSON lines.
 *
 * The programs measure the daemon from outside, as a user's client would, so nothing here links
 * with its code: a benchmark must go on working against an older or a foreign server. Each prints
 * one JSON object per result on stdout and what is for people on stderr. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "basic/macro.h"

/* ---- time ---- */

uint64_t bench_now_us(void); /* CLOCK_MONOTONIC */
int64_t bench_wall_us(
    void); /* CLOCK_REALTIME, Unix microseconds: to compare with timestamps in messages */
uint64_t bench_own_cpu_us(void);

/* ---- samples: at most SAMPLES_MAX are kept, beyond that a uniform random choice of all ---- */

#define SAMPLES_MAX 1000000U

typedef struct Samples {
    double *values;
    size_t n, cap;
    uint64_t seen; /* all that were added */
    uint64_t random;
    double max;
} Samples;

void samples_done(Samples *s);
void samples_add(Samples *s, double value);
double samples_percentile(Samples *s, double percent); /* sorts; 0 when there are none */

/* ---- what a process and all its descendants use ---- */

typedef struct TreeUse {
    uint64_t
        cpu_us; /* of all live ones, their ended threads and the children they have waited for */
    uint64_t pss_kb; /* 0 where smaps_rollup is not readable */
    uint64_t rss_kb;
    uint32_t processes;
    uint32_t threads;
} TreeUse;

int tree_use(const pid_t *roots, size_t n,
             TreeUse *ret);                           /* -ESRCH when none of the roots is there */
int cgroup_cpu_us(const char *folder, uint64_t *ret); /* usage_usec of cpu.stat */
int file_number(const char *folder, const char *name,
                uint64_t *ret); /* a file that holds one number */

/* ---- where to connect ---- */

typedef struct Target {
    struct sockaddr_storage address;
    socklen_t address_len;
    char host[128]; /* Host header */
    char path[1024];
} Target;

/* "http://ADDRESS[:PORT][/PATH]" with a literal address or "localhost"; unix_path (may be NULL)
 * replaces the address. -EINVAL. */
int target_parse(const char *url, const char *unix_path, Target *ret);
int target_connect(
    const Target *t); /* non-blocking socket or -errno; the connection may still be in progress */

/* ---- a request head with the extra headers of the command line ---- */

#define REQUEST_MAX 4096

typedef struct Extra {
    char text[2048]; /* "Name: value\r\n..." */
    size_t len;
} Extra;

int extra_add(Extra *e, const char *header); /* "Name: value"; -EINVAL, -ENOBUFS */
/* "Authorization: Bearer <first line of the file>" */
int extra_add_token(Extra *e, const char *path);

/* ---- results ---- */

void report_begin(const char *program);
void report_int(const char *key, int64_t value);
void report_number(const char *key, double value); /* six significant digits */
void report_string(const char *key, const char *value);
void report_samples(const char *key, Samples *s); /* key_p50, _p90, _p99, _max */
void report_end(void);

/* ---- command line ---- */

int number_parse(const char *text, uint64_t min, uint64_t max,
                 uint64_t *ret); /* -EINVAL, -ERANGE */
/* As number_parse(), but a bad number ends the program with a message and status 2. */
uint64_t number_or_exit(const char *option, const char *text, uint64_t min, uint64_t max);
_Noreturn void usage_error(const char *format, ...) PRINTF(1, 2);
_Noreturn void fatal(int error, const char *format, ...)
    PRINTF(2, 3); /* status 1, with strerror(-error) unless 0 */
void raise_file_limit(void);
