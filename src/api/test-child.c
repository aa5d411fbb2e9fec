/* Children that end well, late, never, and with too much to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "api/child.h"
#include "basic/clock.h"
#include "basic/macro.h"

typedef struct Ended {
    unsigned calls;
    int error;
    int status;
    char out[256];
    size_t out_len;
    char err[CHILD_ERR_MAX + 1];
} Ended;

static void on_end(void *userdata, int error, int status, const char *out, size_t out_len,
                   const char *err)
{
    Ended *e = userdata;

    e->calls++;
    e->error = error;
    e->status = status;
    e->out_len = out_len;
    snprintf(e->out, sizeof e->out, "%s", out);
    snprintf(e->err, sizeof e->err, "%s", err);
}

static sd_event *event;

static int set_up(void **state UNUSED)
{
    return sd_event_new(&event) < 0;
}

static int tear_down(void **state UNUSED)
{
    event = sd_event_unref(event);
    return 0;
}

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void wait_for(Ended *e, unsigned calls)
{
    while (e->calls < calls)
        assert_true(sd_event_run(event, UINT64_MAX) >= 0);
}

static Ended run_spec(const ChildSpec *spec)
{
    Ended e = {0};

    assert_int_equal(child_run(event, spec, on_end, &e, NULL), 0);
    assert_int_equal(e.calls, 0);
    wait_for(&e, 1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* ECHILD: no zombie */
    assert_int_equal(errno, ECHILD);
    return e;
}

static Ended run_sh(const char *script, uint32_t timeout_ms)
{
    const char *const argv[] = {"sh", "-c", script, NULL};

    return run_spec(&(ChildSpec){.argv = argv, .output_max = 200, .timeout_ms = timeout_ms});
}

static void test_output_and_status(void **state UNUSED)
{
    Ended e = run_sh("echo out; echo bad >&2; exit 3", 5000);

    assert_int_equal(e.error, 0);
    assert_int_equal(e.status, 3);
    assert_string_equal(e.out, "out\n");
    assert_string_equal(e.err, "bad ");
}

static void test_signal(void **state UNUSED)
{
    assert_int_equal(run_sh("kill -9 $$", 5000).status, 128 + 9);
}

static void test_no_such_program(void **state UNUSED)
{
    const char *const argv[] = {"no-such-program-here", NULL};

    assert_int_equal(
        run_spec(&(ChildSpec){.argv = argv, .output_max = 10, .timeout_ms = 5000}).status, 127);
}

static void test_input(void **state UNUSED)
{
    const char *const argv[] = {"cat", NULL};
    Ended e = run_spec(&(ChildSpec){
        .argv = argv, .input = "a\0b", .input_len = 3, .output_max = 100, .timeout_ms = 5000});

    assert_int_equal(e.out_len, 3);
    assert_memory_equal(e.out, "a", 2);
}

static void test_no_input_is_eof(void **state UNUSED)
{
    Ended e = run_sh("cat; echo end", 5000);

    assert_string_equal(e.out, "end\n");
}

static void test_deadline(void **state UNUSED)
{
    uint64_t begin = clock_now().mono_us;
    Ended e = run_sh("echo early; exec sleep 60", 100);

    assert_int_equal(e.error, -ETIMEDOUT);
    assert_int_equal(e.status, 128 + SIGTERM);
    assert_string_equal(e.out, "early\n");
    assert_true(clock_now().mono_us - begin < 30 * USEC_PER_SEC);
}

static void test_ignores_sigterm(void **state UNUSED)
{
    Ended e = run_sh("trap '' TERM; while :; do sleep 1; done", 100);

    assert_int_equal(e.error, -ETIMEDOUT);
    assert_int_equal(e.status, 128 + SIGKILL);
}

static void test_endless_output(void **state UNUSED)
{
    const char *const argv[] = {"yes", NULL};
    Ended e = run_spec(&(ChildSpec){.argv = argv, .output_max = 200, .timeout_ms = 20000});

    assert_int_equal(e.error, -EFBIG);
    assert_int_equal(e.out_len, 200);
}

static void test_output_of_exactly_the_maximum(void **state UNUSED)
{
    Ended e = run_sh("printf '%0200d' 0", 5000);

    assert_int_equal(e.error, 0);
    assert_int_equal(e.out_len, 200);
}

static void test_endless_stderr_keeps_the_end(void **state UNUSED)
{
    Ended e = run_sh("yes 0123456789 | head -c 100000 >&2; echo END >&2", 20000);

    assert_int_equal(e.error, 0);
    assert_true(strlen(e.err) > 1000);
    assert_string_equal(e.err + strlen(e.err) - 4, "END ");
}

static void test_grandchild_holds_the_pipe(void **state UNUSED)
{
    Ended e = run_sh("sleep 600 & echo done", 60000);

    assert_int_equal(e.error, 0);
    assert_string_equal(e.out, "done\n");
}

static void test_child_sees_no_other_descriptor(void **state UNUSED)
{
    int leak = dup(2); /* without CLOEXEC */
    Ended e = run_sh("ls /proc/self/fd | wc -l", 5000);

    close(leak);
    assert_string_equal(e.out, "4\n"); /* 0, 1, 2 and the directory itself */
}

static void test_child_has_an_empty_signal_mask(void **state UNUSED)
{
    sigset_t set, before;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    Ended e = run_sh("exec grep SigBlk /proc/self/status", 5000);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_string_equal(e.out, "SigBlk:\t0000000000000000\n");
}

static void test_cancel(void **state UNUSED)
{
    const char *const argv[] = {"sh", "-c", "trap '' TERM; sleep 60", NULL};
    Ended e = {0};
    Child *c = NULL;

    assert_int_equal(
        child_run(event, &(ChildSpec){.argv = argv, .timeout_ms = 60000}, on_end, &e, &c), 0);
    assert_null(child_cancel(c));
    assert_null(child_cancel(NULL));
    for (int i = 0; i < 50 && waitpid(-1, NULL, WNOHANG) == 0; i++)
        sd_event_run(event, 100000);
    assert_int_equal(e.calls, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* R14: 10 % hang, 5 % ignore SIGTERM; nothing is left over, and none is much later than its
 * deadline. SOAK_CHILDREN: how many in all, 250 at a time. */
static void test_many(void **state UNUSED)
{
    const char *const wanted = getenv("SOAK_CHILDREN");
    const char *const quick[] = {"true", NULL};
    const char *const hang[] = {"sleep", "600", NULL};
    const char *const stubborn[] = {"sh", "-c", "trap '' TERM; sleep 600; sleep 600", NULL};
    Ended e = run_sh("true", 5000); /* the loop has its own descriptors by now */
    unsigned before = count_fds(), all = wanted ? (unsigned)atoi(wanted) : 500;
    uint64_t longest = 0;

    for (unsigned i = 0; i < all;) {
        uint64_t begin = clock_now().mono_us;
        do {
            ChildSpec spec = {.argv = i % 20 == 7   ? stubborn
                                      : i % 10 == 3 ? hang
                                                    : quick,
                              .output_max = 100,
                              .timeout_ms = i % 20 == 7 || i % 10 == 3 ? 200 : 60000};
            assert_int_equal(child_run(event, &spec, on_end, &e, NULL), 0);
        } while (++i % 250 && i < all);
        wait_for(&e, 1 + i);
        longest = MAX(longest, clock_now().mono_us - begin);
    }
    print_message("soak: R14: %u children, 10 %% hung, 5 %% ignored SIGTERM; the longest 250 took"
                  " %u ms\n",
                  all, (unsigned)(longest / USEC_PER_MSEC));
    assert_true(longest < 30 * USEC_PER_SEC);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_output_and_status),
        CASE(test_signal),
        CASE(test_no_such_program),
        CASE(test_input),
        CASE(test_no_input_is_eof),
        CASE(test_deadline),
        CASE(test_ignores_sigterm),
        CASE(test_endless_output),
        CASE(test_output_of_exactly_the_maximum),
        CASE(test_endless_stderr_keeps_the_end),
        CASE(test_grandchild_holds_the_pipe),
        CASE(test_child_sees_no_other_descriptor),
        CASE(test_child_has_an_empty_signal_mask),
        CASE(test_cancel),
        CASE(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
