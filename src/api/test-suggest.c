/* What is near enough to be meant, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/suggest.h"
#include "basic/macro.h"

static const char *nearest(const char *word)
{
    static const char *const known[] = {"app_id",     "pc_id",           "port", "unit",
                                        "unit_scope", "health_endpoint", "title"};
    Suggestion s = SUGGESTION_INIT(word);

    for (size_t i = 0; i < ELEMENTS(known); i++)
        suggest_try(&s, known[i]);
    return s.best ? s.best : "";
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("prot"), "port");
    assert_string_equal(nearest("por"), "port");
    assert_string_equal(nearest("ports"), "port");
    assert_string_equal(nearest("app-id"), "app_id");
    assert_string_equal(nearest("pcid"), "pc_id");
    assert_string_equal(nearest("health_endpont"), "health_endpoint");
    assert_string_equal(nearest("healthendpoint"), "health_endpoint");
    assert_string_equal(nearest("unit_scop"), "unit_scope");
    assert_string_equal(nearest("unit"), "unit");
    assert_string_equal(nearest("banana"), "");
    assert_string_equal(nearest(""), "");
}

static void test_long_words_cost_nothing(void **state)
{
    static char word[100000];

    (void)state;
    memset(word, 'a', sizeof(word) - 1);
    assert_string_equal(nearest(word), "");
    word[48] = '\0';
    assert_string_equal(nearest(word), "");
}

static void test_append(void **state)
{
    Suggestion s = SUGGESTION_INIT("titel");
    char text[40] = "unknown", small[12] = "unknown";

    (void)state;
    suggest_append(&s, text, sizeof(text));
    assert_string_equal(text, "unknown");
    suggest_try(&s, "title");
    suggest_append(&s, text, sizeof(text));
    assert_string_equal(text, "unknown, did you mean title?");
    suggest_append(&s, small, sizeof(small));
    assert_string_equal(small, "unknown, di");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_long_words_cost_nothing),
        cmocka_unit_test(test_append),
    };

    return cmocka_run_group_tests_name("suggest", tests, NULL, NULL);
}
