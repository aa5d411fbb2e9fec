/* UTF-8 by the letter of RFC 3629, and cleaning of what hostile PCs send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

static bool is_utf8(const char *s)
{
    return text_is_utf8(s, strlen(s));
}

static void test_valid(UNUSED void **state)
{
    assert_true(is_utf8(""));
    assert_true(is_utf8("plain"));
    assert_true(text_is_utf8("a\0b", 3));
    assert_true(is_utf8("\xC2\x80"));         /* smallest of two bytes */
    assert_true(is_utf8("\xE0\xA0\x80"));     /* of three */
    assert_true(is_utf8("\xF0\x90\x80\x80")); /* of four */
    assert_true(is_utf8("\xF4\x8F\xBF\xBF")); /* U+10FFFF */
    assert_true(is_utf8("\xED\x9F\xBF"));     /* last before the surrogates */
    assert_true(is_utf8("\xEE\x80\x80"));     /* first behind them */
}

static void test_invalid(UNUSED void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xC2",
        "\xC2\x41",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xE2\x82",
        "\xF0\x90",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "ok\xFF",
    };

    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_false(is_utf8(bad[i]));
}

/* Every code point survives encode and decode; every surrogate is refused. */
static void test_decode_all(UNUSED void **state)
{
    for (uint32_t c = 0x800; c <= 0xFFFF; c++) {
        char s[] = {(char)(0xE0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3F)),
                    (char)(0x80 | (c & 0x3F))};
        uint32_t got = 0;
        size_t n = text_decode(s, sizeof s, &got);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;

        assert_int_equal(n, surrogate ? 0 : 3);
        assert_int_equal(got, surrogate ? 0 : c);
        assert_int_equal(text_decode(s, 2, &got), 0);
    }
}

static const char *clean(const char *src, size_t len)
{
    static char out[256];
    size_t n = text_clean(out, sizeof out, src, len);

    assert_int_equal(n, strlen(out));
    assert_true(text_is_utf8(out, n));
    return out;
}

#define CLEAN(s) clean(s, sizeof(s) - 1)

static void test_clean(UNUSED void **state)
{
    assert_string_equal(CLEAN("plain text"), "plain text");
    assert_string_equal(CLEAN("a\tb\nc\rd"), "a b c?d");
    assert_string_equal(CLEAN("\x1B[31mred\x07"), "?[31mred?");
    assert_string_equal(CLEAN("nul\0in"), "nul?in");
    assert_string_equal(CLEAN("\x7F\xC2\x85"), "??"); /* DEL, NEL (C1) */
    assert_string_equal(CLEAN("a\xE2\x80\xAE"
                              "b\xE2\x81\xA6"
                              "c\xD8\x9C"),
                        "a?b?c?");
    assert_string_equal(CLEAN("\xE2\x80\xA8\xEF\xBB\xBF"), "??");
    assert_string_equal(CLEAN("\xFFx\xC3"), "\xEF\xBF\xBDx\xEF\xBF\xBD");
    assert_string_equal(CLEAN("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"),
                        "gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80");
}

static void test_clean_bounds(UNUSED void **state)
{
    char out[4] = "###";

    assert_int_equal(text_clean(out, 0, "abc", 3), 0);
    assert_string_equal(out, "###");
    assert_int_equal(text_clean(out, 1, "abc", 3), 0);
    assert_string_equal(out, "");
    assert_int_equal(text_clean(out, 4, "abcdef", 6), 3);
    assert_string_equal(out, "abc");
    assert_int_equal(text_clean(out, 4, "ab\xC3\xBC", 4), 2); /* never half a character */
    assert_string_equal(out, "ab");
    assert_int_equal(text_clean(out, 4, "a\xFF", 2), 1); /* nor half a replacement */
    assert_int_equal(text_clean(out, 4, "", 0), 0);
    assert_string_equal(out, "");
}

static void test_copy(UNUSED void **state)
{
    char out[5];

    assert_ptr_equal(text_copy(out, sizeof out, "ab"), out);
    assert_string_equal(out, "ab");
    assert_string_equal(text_copy(out, sizeof out, "abcdefg"), "abcd");
    assert_string_equal(text_copy(out, sizeof out, "abc\xC3\xBC"), "abc");
    assert_string_equal(text_copy(out, sizeof out, "ab\xC3\xBC"), "ab\xC3\xBC");
    assert_string_equal(text_copy(out, 1, "x"), "");
}

static void test_width(UNUSED void **state)
{
    size_t width = 0;

    setlocale(LC_CTYPE, "C.UTF-8");
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("ca\xC3\xAD"
                                "do"),
                     5);
    assert_int_equal(text_width("o\xCC\x81"), 1);                /* a combining accent */
    assert_int_equal(text_width("\xE6\x97\xA5\xE6\x9C\xAC"), 4); /* two wide characters */
    assert_int_equal(text_width("\xFF\xC3"), 2);                 /* each stray byte is one */
    assert_int_equal(text_fit("\xE6\x97\xA5\xE6\x9C\xAC", 3, &width), 3);
    assert_int_equal(width, 2); /* the second one does not fit */
    assert_int_equal(text_fit("ca\xC3\xAD"
                              "do",
                              3, &width),
                     4);
    assert_int_equal(width, 3);
    assert_int_equal(text_fit("abc", 0, NULL), 0);
    setlocale(LC_CTYPE, "C");
    assert_int_equal(text_width("ca\xC3\xAD"
                                "do"),
                     5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_decode_all),   cmocka_unit_test(test_clean),
        cmocka_unit_test(test_clean_bounds), cmocka_unit_test(test_copy),
        cmocka_unit_test(test_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
