/* The buffer: growth, its maximum to the byte, failure as a whole, and handing over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "basic/buffer.h"

static void test_appends(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(1000);

    assert_string_equal(buffer_cstr(&b), "");
    buffer_str(&b, "ab");
    buffer_char(&b, 'c');
    buffer_append(&b, "d\0e", 3);
    buffer_append(&b, NULL, 0);
    buffer_printf(&b, "-%d-%s", 42, "x");
    assert_int_equal(b.len, 11);
    assert_memory_equal(buffer_cstr(&b), "abcd\0e-42-x", 12);
    assert_int_equal(buffer_error(&b), 0);
    buffer_done(&b);
    assert_null(b.data);
    assert_int_equal(b.max, 1000);
}

static void test_maximum_is_exact(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(5);

    buffer_str(&b, "12345");
    assert_int_equal(buffer_error(&b), 0);
    assert_true(b.cap <= 6);
    assert_string_equal(buffer_cstr(&b), "12345");
    buffer_char(&b, '6');
    assert_int_equal(buffer_error(&b), -ENOBUFS);
    assert_int_equal(b.len, 0);
    assert_string_equal(buffer_cstr(&b), "");
    buffer_str(&b, "1"); /* ignored: failed is failed */
    assert_int_equal(b.len, 0);
    assert_null(buffer_reserve(&b, 0));
    assert_null(buffer_take(&b, NULL));
    buffer_reset(&b);
    buffer_str(&b, "ok");
    assert_string_equal(buffer_cstr(&b), "ok");
    buffer_done(&b);
}

static void test_printf_fails_whole(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(8);

    buffer_printf(&b, "%s", "12345678");
    assert_int_equal(buffer_error(&b), 0);
    buffer_printf(&b, "%s", "");
    assert_int_equal(buffer_error(&b), 0);
    buffer_printf(&b, "%d", 9);
    assert_int_equal(buffer_error(&b), -ENOBUFS);
    buffer_done(&b);
}

static void test_absurd_lengths(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(SIZE_MAX);

    buffer_str(&b, "x");
    assert_null(buffer_reserve(&b, SIZE_MAX));
    assert_int_equal(buffer_error(&b), -ENOBUFS);
    buffer_reset(&b);
    assert_null(buffer_reserve(&b, SIZE_MAX - 1));
    assert_int_equal(buffer_error(&b), -ENOBUFS);
    buffer_done(&b);
}

static void test_reserve_and_advance(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(1 << 20);

    for (size_t i = 0; i < 1000; i++) {
        char *room = buffer_reserve(&b, 100);
        assert_non_null(room);
        memset(room, (int)('a' + i % 26), 100);
        buffer_advance(&b, 50);
    }
    assert_int_equal(b.len, 50000);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], 'a' + i / 50 % 26);
    buffer_done(&b);
}

static void test_consume(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(100);

    buffer_consume(&b, 0);
    buffer_str(&b, "abcdef");
    buffer_consume(&b, 2);
    assert_string_equal(buffer_cstr(&b), "cdef");
    buffer_consume(&b, 0);
    buffer_consume(&b, 4);
    assert_int_equal(b.len, 0);
    assert_string_equal(buffer_cstr(&b), "");
    buffer_done(&b);
}

static void test_take(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(100);
    size_t len = 99;

    char *empty = buffer_take(&b, &len);
    assert_string_equal(empty, "");
    assert_int_equal(len, 0);
    free(empty);

    buffer_append(&b, "\0x", 2);
    char *data = buffer_take(&b, &len);
    assert_memory_equal(data, "\0x", 3);
    assert_int_equal(len, 2);
    free(data);
    assert_int_equal(b.len, 0);
    assert_null(b.data);
    buffer_str(&b, "again");
    data = buffer_take(&b, NULL);
    assert_string_equal(data, "again");
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_maximum_is_exact),
        cmocka_unit_test(test_printf_fails_whole),
        cmocka_unit_test(test_absurd_lengths),
        cmocka_unit_test(test_reserve_and_advance),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
