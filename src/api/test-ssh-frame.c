/* Output between nonces, whatever stands around it and however it is cut. */
#include "api/ssh-frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define N     "0123456789abcdef0123456789abcdef"
#define OTHER "ffffffffffffffffffffffffffffffff"

static int feed_all(SshFrame *f, const char *text, size_t step)
{
    size_t len = strlen(text);
    int r = 0;

    for (size_t at = 0; at < len && r == 0; at += step)
        r = ssh_frame_feed(f, text + at, len - at < step ? len - at : step);
    return r;
}

static void check(const char *text, size_t max, int result, const char *output, int status)
{
    for (size_t step = 1; step < 80; step += 3) {
        SshFrame f = {0};
        ssh_frame_begin(&f, N, max);
        assert_int_equal(feed_all(&f, text, step), result);
        if (result == 1) {
            assert_string_equal(buffer_cstr(&f.data), output);
            assert_int_equal(f.status, status);
        }
        ssh_frame_done(&f);
    }
}

static void test_outputs(void **state)
{
    (void)state;
    check("\n" N " begin\nhello\n\n" N " end 0\n", 100, 1, "hello\n", 0);
    check(N " begin\nhello\n\n" N " end 0\n", 100, 1, "hello\n", 0);
    check("\n" N " begin\n\n" N " end 127\n", 100, 1, "", 127);
    check("\n" N " begin\nno newline\n" N " end 3\n", 100, 1, "no newline", 3);
    check("Welcome!\n" OTHER " begin\nx\n" OTHER " end 0\n\n" N " begin\ny\n\n" N " end 0\nmore",
          100, 1, "y\n", 0);
    check("\n" N " begin\na\n" OTHER " end 0\nb\n " N " end 0\nc\n\n" N " end 1\n", 100, 1,
          "a\n" OTHER " end 0\nb\n " N " end 0\nc\n", 1);
    check("\n" N " begin\nhello", 100, 0, "", 0);
    check("nothing to see here", 100, 0, "", 0);
    check("\n" N " end 0\n", 100, 0, "", 0);
}

static void test_bad_ends(void **state)
{
    (void)state;
    check("\n" N " begin\n\n" N " end \n", 100, -EBADMSG, "", 0);
    check("\n" N " begin\n\n" N " end -1\n", 100, -EBADMSG, "", 0);
    check("\n" N " begin\n\n" N " end 9999\n", 100, -EBADMSG, "", 0);
    check("\n" N " begin\n\n" N " end 0                  \n", 100, -EBADMSG, "", 0);
}

static void test_too_long(void **state)
{
    char line[1000];
    SshFrame f = {0};

    (void)state;
    memset(line, 'x', sizeof line);
    ssh_frame_begin(&f, N, 5000);
    assert_int_equal(ssh_frame_feed(&f, N " begin\n", strlen(N " begin\n")), 0);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(ssh_frame_feed(&f, line, sizeof line), 0);
        assert_true(f.data.len < 10000);
    }
    assert_int_equal(feed_all(&f, "\n" N " end 0\n", 7), 1);
    assert_true(f.too_long);
    assert_int_equal(f.data.len, 0);
    ssh_frame_begin(&f, N, 3); /* the same when it all comes in one piece */
    assert_int_equal(feed_all(&f, N " begin\nlong\n" N " end 0\n", 999), 1);
    assert_true(f.too_long);
    assert_int_equal(f.data.len, 0);
    ssh_frame_begin(&f, N, 5000); /* and the next one is a clean one */
    assert_int_equal(feed_all(&f, N " begin\nok\n" N " end 0\n", 9), 1);
    assert_false(f.too_long);
    assert_string_equal(buffer_cstr(&f.data), "ok");
    ssh_frame_done(&f);
}

static void test_garbage_has_an_end(void **state)
{
    char line[4096];
    SshFrame f = {0};
    int r = 0;

    (void)state;
    memset(line, '\n', sizeof line);
    ssh_frame_begin(&f, N, 100);
    for (size_t n = 0; r == 0; n += sizeof line) {
        r = ssh_frame_feed(&f, line, sizeof line);
        assert_true(n < 2 * SSH_GARBAGE_MAX);
        assert_true(f.data.len < 200);
    }
    assert_int_equal(r, -EBADMSG);
    ssh_frame_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_bad_ends),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_garbage_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
