/* The writer byte by byte, hostile strings, and a parser that is no more lenient than the RFC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"
#include "common/json.h"

#define CHECK(b, expected)                             \
    do {                                               \
        assert_int_equal(buffer_error(b), 0);          \
        assert_string_equal(buffer_cstr(b), expected); \
        buffer_done(b);                                \
    } while (0)

static void test_commas(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(1 << 16);

    json_open_object(&b, NULL);
    json_open_array(&b, "a");
    json_close_array(&b);
    json_open_array(&b, "b");
    json_int(&b, NULL, 1);
    json_open_object(&b, NULL);
    json_close_object(&b);
    json_null(&b, NULL);
    json_open_array(&b, NULL);
    json_string(&b, NULL, "{");
    json_string(&b, NULL, "[:");
    json_bool(&b, NULL, true);
    json_close_array(&b);
    json_close_array(&b);
    json_raw(&b, "r", "{\"x\":1}", 7);
    json_bool(&b, "f", false);
    json_string(&b, "n", NULL);
    json_close_object(&b);
    CHECK(
        &b,
        "{\"a\":[],\"b\":[1,{},null,[\"{\",\"[:\",true]],\"r\":{\"x\":1},\"f\":false,\"n\":null}");
}

static void test_integers(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(1 << 16);

    json_open_array(&b, NULL);
    json_int(&b, NULL, 0);
    json_int(&b, NULL, -1);
    json_int(&b, NULL, 10);
    json_int(&b, NULL, INT64_MAX);
    json_int(&b, NULL, INT64_MIN);
    json_time(&b, NULL, 0);
    json_time(&b, NULL, 1700000000123);
    json_ms(&b, NULL, -1);
    json_ms(&b, NULL, 0);
    json_ms(&b, NULL, 1005);
    json_ms(&b, NULL, 999);
    json_ms(&b, NULL, INT64_MAX);
    json_close_array(&b);
    CHECK(&b, "[0,-1,10,9223372036854775807,-9223372036854775808,null,1700000000123,"
              "null,0.000,1.005,0.999,9223372036854775.807]");
}

static void test_doubles(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(1 << 16);

    json_open_array(&b, NULL);
    json_double(&b, NULL, 0);
    json_double(&b, NULL, -0.0);
    json_double(&b, NULL, 1);
    json_double(&b, NULL, -1.5);
    json_double(&b, NULL, 0.987654321);
    json_double(&b, NULL, 0.000001);
    json_double(&b, NULL, -0.0000001);
    json_double(&b, NULL, 100);
    json_double(&b, NULL, 1700000000.25);
    json_double(&b, NULL, 1e15);
    json_double(&b, NULL, NAN);
    json_double(&b, NULL, -INFINITY);
    json_close_array(&b);
    CHECK(&b, "[0,0,1,-1.5,0.987654,0.000001,0,100,1700000000.25,1000000000000000,null,null]");
    json_double(&b, NULL, -1.7976931348623157e308);
    assert_int_equal(b.len, 310);
    buffer_done(&b);
}

static void check_string(const char *in, size_t len, const char *expected)
{
    Buffer b = BUFFER_INIT(1 << 16);

    json_stringn(&b, NULL, in, len);
    assert_true(text_is_utf8(b.data, b.len));
    CHECK(&b, expected);
}

#define STRING(in, expected) check_string(in, sizeof(in) - 1, expected)

static void test_strings(UNUSED void **state)
{
    STRING("", "\"\"");
    STRING("plain /text'", "\"plain /text'\"");
    STRING("a\"b\\", "\"a\\\"b\\\\\"");
    STRING("\"", "\"\\\"\"");
    STRING("\n\r\t\0\x1B[0m\x7F", "\"\\u000a\\u000d\\u0009\\u0000\\u001b[0m\\u007f\"");
    STRING("</script>", "\"\\u003c/script>\"");
    STRING("gr\xC3\xBC\xF0\x9F\x98\x80!", "\"gr\xC3\xBC\xF0\x9F\x98\x80!\"");
    STRING("\xE2\x80\xA8\xE2\x80\xA9", "\"\\u2028\\u2029\"");
    STRING("a\xE2\x80\xAE"
           "b\xE2\x81\xA6\xC2\x9B",
           "\"a\\u202eb\\u2066\\u009b\"");
    STRING("x\xFF\xC3", "\"x\xEF\xBF\xBD\xEF\xBF\xBD\"");
    STRING("\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    STRING("\xF4\x90\x80\x80z", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
}

/* Whatever bytes go in, what comes out parses, and equals the input where that was clean. */
static void test_random_strings(UNUSED void **state)
{
    uint32_t seed = 1;

    for (size_t round = 0; round < 5000; round++) {
        char in[24];
        size_t len = round % sizeof in;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525U + 1013904223U;
            in[i] = (char)(seed >> 24 ? seed >> 24 : 'x');
        }
        Buffer b = BUFFER_INIT(1 << 12);
        json_stringn(&b, NULL, in, len);
        CLEANUP(json_freep) Json *j = json_parse(b.data, b.len);
        assert_non_null(j);
        const char *back = json_as_string(j, NULL);
        assert_non_null(back);
        if (text_is_utf8(in, len)) {
            assert_int_equal(strlen(back), len);
            assert_memory_equal(back, in, len);
        }
        buffer_done(&b);
    }
}

static void test_maximum(UNUSED void **state)
{
    Buffer b = BUFFER_INIT(9);

    json_open_object(&b, NULL);
    json_int(&b, "a", 123); /* {"a":123} is exactly 9 */
    json_close_object(&b);
    assert_int_equal(buffer_error(&b), 0);
    json_null(&b, NULL);
    json_string(&b, NULL, "\"later calls are ignored");
    json_close_array(&b);
    assert_int_equal(buffer_error(&b), -ENOBUFS);
    buffer_done(&b);
}

static void check_parse(const char *text, bool ok)
{
    CLEANUP(json_freep) Json *j = json_parse(text, strlen(text));

    if (!!j != ok)
        fail_msg("%s was %s", text, ok ? "refused" : "accepted");
}

static void test_parse_good(UNUSED void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1.5e+3",
        "1E2",
        "\"\"",
        "true",
        " null\n",
        "[]",
        "{}",
        "[1,2]",
        "{\"a\":{}}",
        "\"\\u00e4\\n\\/\\\"\"",
        "\t[ 1 , \"a]\" ]\r\n",
        "\"\xC3\xBC\"",
        "\"\\ud83d\\ude00\"",
    };

    for (size_t i = 0; i < ELEMENTS(good); i++)
        check_parse(good[i], true);
}

static void test_parse_bad(UNUSED void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "[",
        "]",
        "[1",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "[1 2]",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "0x1",
        "1.e1",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "\"",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u00zz\"",
        "\"\n\"",
        "\"\t\"",
        "'a'",
        "1 1",
        "{} {}",
        "[]]",
        "[}",
        "{]",
        "\xEF\xBB\xBF[]",
        "\"\xFF\"",
        "\"\xC0\x80\"",
        "\"a\\u0000b\"",
        "/**/1",
        "\"\\ud800\"",
        "\"\\ude00\"",
        "\v1",
        "[1]x",
        "\"\\",
        "\"\\u",
        "{1:2}",
        "--1",
        "1-1",
        "1.2.3",
    };

    for (size_t i = 0; i < ELEMENTS(bad); i++)
        check_parse(bad[i], false);
    assert_null(json_parse("1\0", 2));
    assert_null(json_parse("\"a\0b\"", 5));
    assert_null(json_parse("\"\\\0\"", 4));
    assert_null(json_parse("[\0]", 3));
}

static char *nested(size_t depth)
{
    char *text = malloc(depth * 2 + 1);

    assert_non_null(text);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[depth * 2] = '\0';
    return text;
}

static void test_parse_maxima(UNUSED void **state)
{
    CLEANUP_FREE char *good = nested(JSON_DEPTH_MAX), *bad = nested(JSON_DEPTH_MAX + 1),
                      *deep = nested(1000000);
    check_parse(good, true);
    check_parse(bad, false);
    check_parse(deep, false);
    check_parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", true);

    size_t len = JSON_ITEMS_MAX * 2U + 3;
    CLEANUP_FREE char *wide = malloc(len);
    assert_non_null(wide);
    for (size_t i = 0; i < len; i += 2)
        memcpy(wide + i, i + 2 < len ? "0," : "0", i + 2 < len ? 2 : 1);
    wide[0] = '[';
    wide[1] = '0';
    wide[2] = ',';
    wide[len - 1] = ']';
    assert_null(json_parse(wide, len));
}

static void test_getters(UNUSED void **state)
{
    static const char text[] =
        "{\"s\":\"x\",\"i\":42,\"f\":1.5,\"big\":9007199254740993e1,\"t\":true,"
        "\"n\":null,\"a\":[1,\"b\",null],\"o\":{\"k\":7},\"S\":\"upper\"}";
    CLEANUP(json_freep) Json *j = json_parse(text, sizeof text - 1);

    assert_true(json_is_object(j));
    assert_string_equal(json_as_string(json_get(j, "s"), "?"), "x");
    assert_string_equal(json_as_string(json_get(j, "S"), "?"), "upper");
    assert_string_equal(json_as_string(json_get(j, "i"), "?"), "?");
    assert_int_equal(json_as_int(json_get(j, "i"), -1), 42);
    assert_int_equal(json_as_int(json_get(j, "f"), -1), -1);
    assert_int_equal(json_as_int(json_get(j, "big"), -1), -1);
    assert_int_equal(json_as_int(json_get(j, "s"), -1), -1);
    assert_true(json_as_double(json_get(j, "f"), 0) == 1.5);
    assert_true(json_as_double(json_get(j, "t"), 9) == 9);
    assert_true(json_as_bool(json_get(j, "t"), false));
    assert_true(json_as_bool(json_get(j, "i"), true));
    assert_true(json_is_null(json_get(j, "n")));
    assert_true(json_is_null(json_get(j, "absent")));
    assert_false(json_is_null(json_get(j, "i")));
    assert_int_equal(json_as_int(json_get(json_get(j, "o"), "k"), 0), 7);

    const Json *a = json_get(j, "a");
    assert_true(json_is_array(a));
    assert_int_equal(json_length(a), 3);
    assert_int_equal(json_as_int(json_first(a), 0), 1);
    assert_string_equal(json_as_string(json_next(json_first(a)), ""), "b");
    assert_null(json_next(json_next(json_next(json_first(a)))));
    assert_null(json_get(a, "k"));
    assert_string_equal(json_key(json_first(j)), "s");
    assert_string_equal(json_key(json_first(a)), "");
}

static void test_getters_cope_with_nothing(UNUSED void **state)
{
    assert_null(json_free(NULL));
    assert_null(json_get(NULL, "a"));
    assert_null(json_first(NULL));
    assert_null(json_next(NULL));
    assert_int_equal(json_length(NULL), 0);
    assert_string_equal(json_key(NULL), "");
    assert_null(json_as_string(NULL, NULL));
    assert_int_equal(json_as_int(NULL, 5), 5);
    assert_true(json_as_double(NULL, 2.5) == 2.5);
    assert_true(json_as_bool(NULL, true));
    assert_true(json_is_null(NULL));
    assert_false(json_is_array(NULL));
    assert_false(json_is_object(NULL));
    CLEANUP(json_freep) Json *huge = json_parse("1e999", 5);
    assert_true(json_as_double(huge, 3) == 3);
    assert_int_equal(json_as_int(huge, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_random_strings),
        cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_parse_good),
        cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_parse_maxima),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_getters_cope_with_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
