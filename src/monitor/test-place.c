/* Places: every text that is one, and the ones that must not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "monitor/place.h"

static void test_round_trip(void **state)
{
    static const char *const texts[] = {"overview", "pcs",
                                        "services", "live",
                                        "alerts",   "pc/organic-machine.com",
                                        "app/a",    "app/sqlite_api/pc-1"};
    char text[160];
    Place p;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(place_parse(texts[i], &p));
        place_write(&p, text, sizeof text);
        assert_string_equal(text, texts[i]);
    }
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "Overview",
        "overview ",
        "pc/",
        "pc/../x",
        "app/",
        "app//pc",
        "app/a/",
        "app/a/b/c",
        "app/-x",
        "pc/$(id)",
        "live/x",
        "pc/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    Place p = {.kind = PLACE_LIVE};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(place_parse(texts[i], &p));
    assert_int_equal(p.kind, PLACE_LIVE);
}

static void test_equal(void **state)
{
    Place a, b;

    (void)state;
    assert_true(place_parse("app/x/y", &a) && place_parse("app/x", &b));
    assert_false(place_equal(&a, &b));
    strcpy(b.pc_id, "y");
    assert_true(place_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_equal)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
