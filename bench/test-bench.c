/* What the benchmark programs compute with: numbers, targets, headers, percentiles, and that the
 * CPU time of a process tree has the child's in it. The one comparison of times has a bound of a
 * factor, not of a machine's speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "bench/bench.h"

static void test_number(void **state)
{
    uint64_t n = 7;

    (void)state;
    assert_int_equal(number_parse("42", 1, 100, &n), 0);
    assert_int_equal(n, 42);
    assert_int_equal(number_parse("18446744073709551615", 0, UINT64_MAX, &n), 0);
    assert_true(n == UINT64_MAX);
    n = 7;
    const char *bad[] = {"", "-1", "+1", " 1", "1 ", "1x", "0x10", "x"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(number_parse(bad[i], 0, 100, &n), -EINVAL);
    assert_int_equal(number_parse("101", 1, 100, &n), -ERANGE);
    assert_int_equal(number_parse("0", 1, 100, &n), -ERANGE);
    assert_int_equal(number_parse("18446744073709551616", 0, UINT64_MAX, &n), -ERANGE);
    assert_int_equal(n, 7);
}

static void test_target(void **state)
{
    Target t;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&t.address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&t.address;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&t.address;

    (void)state;
    assert_int_equal(target_parse("http://127.0.0.1:8485/api/services?x=1", NULL, &t), 0);
    assert_int_equal(v4->sin_family, AF_INET);
    assert_int_equal(ntohs(v4->sin_port), 8485);
    assert_int_equal(ntohl(v4->sin_addr.s_addr), INADDR_LOOPBACK);
    assert_string_equal(t.host, "127.0.0.1:8485");
    assert_string_equal(t.path, "/api/services?x=1");
    assert_int_equal(target_parse("http://[::1]:81", NULL, &t), 0);
    assert_int_equal(v6->sin6_family, AF_INET6);
    assert_int_equal(ntohs(v6->sin6_port), 81);
    assert_string_equal(t.path, "/");
    assert_int_equal(target_parse("http://localhost/", NULL, &t), 0);
    assert_int_equal(ntohs(v4->sin_port), 80);
    assert_int_equal(target_parse("http://localhost:8485/x", "/run/x.sock", &t), 0);
    assert_int_equal(un->sun_family, AF_UNIX);
    assert_string_equal(un->sun_path, "/run/x.sock");
    assert_string_equal(t.host, "localhost:8485");
}

static void test_target_refuses(void **state)
{
    const char *bad[] = {"",
                         "https://127.0.0.1/",
                         "http://",
                         "http:///x",
                         "http://name.example/",
                         "http://127.0.0.1:0/",
                         "http://127.0.0.1:65536/",
                         "http://127.0.0.1:8x/",
                         "http://[::1/",
                         "http://[]:80/"};
    char long_path[2000], long_socket[200];
    Target t = {.path = "untouched"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(target_parse(bad[i], NULL, &t), -EINVAL);
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    memcpy(long_path, "http://127.0.0.1/", strlen("http://127.0.0.1/"));
    assert_int_equal(target_parse(long_path, NULL, &t), -EINVAL);
    memset(long_socket, 's', sizeof long_socket - 1);
    long_socket[sizeof long_socket - 1] = '\0';
    assert_int_equal(target_parse("http://127.0.0.1/", long_socket, &t), -EINVAL);
    assert_string_equal(t.path, "untouched");
}

static void test_extra(void **state)
{
    Extra e = {0};
    char long_header[3000] = "A: ";

    (void)state;
    assert_int_equal(extra_add(&e, "A: 1"), 0);
    assert_int_equal(extra_add(&e, "no colon"), -EINVAL);
    assert_int_equal(extra_add(&e, "A: 1\r\nB: 2"), -EINVAL);
    memset(long_header + 3, 'x', sizeof long_header - 4);
    assert_int_equal(extra_add(&e, long_header), -ENOBUFS);
    assert_int_equal(extra_add(&e, "B: 2"), 0);
    assert_string_equal(e.text, "A: 1\r\nB: 2\r\n");
}

static void test_percentiles(void **state)
{
    Samples s = {0};

    (void)state;
    assert_true(samples_percentile(&s, 50) == 0);
    for (int i = 100; i >= 1; i--)
        samples_add(&s, i);
    assert_true(samples_percentile(&s, 50) == 50);
    assert_true(samples_percentile(&s, 99) == 99);
    assert_true(samples_percentile(&s, 100) == 100);
    assert_true(samples_percentile(&s, 0) == 1);
    assert_true(s.max == 100);
    samples_done(&s);
}

/* Beyond the maximum a fair choice is kept: the median of 0..2n-1 stays near n. */
static void test_many_samples(void **state)
{
    Samples s = {0};

    (void)state;
    for (uint32_t i = 0; i < 2 * SAMPLES_MAX; i++)
        samples_add(&s, i);
    assert_int_equal(s.n, SAMPLES_MAX);
    assert_int_equal(s.seen, 2 * SAMPLES_MAX);
    double median = samples_percentile(&s, 50) / SAMPLES_MAX;
    assert_true(median > 0.98 && median < 1.02);
    assert_true(s.max == 2 * SAMPLES_MAX - 1);
    samples_done(&s);
}

static void burn_cpu_us(uint64_t us)
{
    uint64_t start = bench_own_cpu_us();

    while (bench_own_cpu_us() - start < us)
        ;
}

static void test_tree(void **state)
{
    TreeUse before, after;
    pid_t self = getpid(), gone;
    int status;

    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        burn_cpu_us(100000);
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(tree_use(&self, 1, &before), 0);
    assert_int_equal(before.processes, 2);
    assert_true(before.threads >= 2 && before.rss_kb > 0);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_int_equal(tree_use(&self, 1, &after), 0);
    assert_true(after.cpu_us >= 100000); /* the child's, while it lives */
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(tree_use(&self, 1, &after), 0);
    assert_true(after.cpu_us >= 80000); /* and after it was waited for, in ticks of 10 ms */
    assert_int_equal(after.processes, 1);
    gone = child;
    assert_int_equal(tree_use(&gone, 1, &after), -ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number),         cmocka_unit_test(test_target),
        cmocka_unit_test(test_target_refuses), cmocka_unit_test(test_extra),
        cmocka_unit_test(test_percentiles),    cmocka_unit_test(test_many_samples),
        cmocka_unit_test(test_tree),
    };

    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
