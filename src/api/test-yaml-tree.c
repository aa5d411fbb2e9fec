/* The strict YAML reader: the tree and its lines, and everything that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/yaml-tree.h"
#include "basic/buffer.h"

static void test_tree(void **state)
{
    static const char text[] = "# a comment\n"
                               "list:\n"
                               "  - name: first\n"
                               "    port: 80\n"
                               "  - {name: \"second\", port: 81}\n"
                               "empty:\n"
                               "flag: true\n"
                               "words: [a, ~, 'null']\n";
    YamlTree t;
    uint64_t number;
    bool flag = false;

    (void)state;
    assert_int_equal(yaml_tree_parse(&t, "f", text, strlen(text)), 0);
    const YamlNode *root = yaml_root(&t), *list = yaml_get(&t, root, "list"),
                   *second = yaml_child(&t, list, 1);
    assert_int_equal(root->kind, YAML_MAPPING);
    assert_int_equal(list->line, 2);
    assert_int_equal(second->line, 5);
    assert_null(yaml_child(&t, list, 2));
    assert_string_equal(yaml_get(&t, second, "name")->text, "second");
    assert_true(yaml_get(&t, second, "name")->quoted);
    assert_true(yaml_as_number(yaml_get(&t, yaml_child(&t, list, 0), "port"), &number));
    assert_int_equal(number, 80);
    assert_int_equal(yaml_get(&t, yaml_child(&t, list, 0), "port")->line, 4);
    assert_true(yaml_is_null(yaml_get(&t, root, "empty")));
    assert_true(yaml_as_bool(yaml_get(&t, root, "flag"), &flag));
    assert_true(flag);
    const YamlNode *words = yaml_get(&t, root, "words");
    assert_false(yaml_is_null(yaml_child(&t, words, 0)));
    assert_true(yaml_is_null(yaml_child(&t, words, 1)));
    assert_false(yaml_is_null(yaml_child(&t, words, 2)));
    assert_null(yaml_get(&t, root, "other"));
    yaml_tree_done(&t);
}

static void test_empty(void **state)
{
    static const char *const texts[] = {"", "\n\n", "# nothing\n", "\xEF\xBB\xBF"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        YamlTree t;
        assert_int_equal(yaml_tree_parse(&t, "f", texts[i], strlen(texts[i])), 0);
        assert_null(yaml_root(&t));
        yaml_tree_done(&t);
    }
}

static void refuse(const char *text, size_t len, const char *place, const char *reason)
{
    YamlTree t;

    assert_int_equal(yaml_tree_parse(&t, "f", text, len), -EINVAL);
    if (strncmp(t.error, place, strlen(place)) != 0 || !strstr(t.error, reason))
        fail_msg("\"%s\" gave \"%s\", not \"%s ... %s\"", text, t.error, place, reason);
    yaml_tree_done(&t);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *place, *reason;
    } cases[] = {
        {"a: &x 1\n", "f:1: ", "anchors"},
        {"a: 1\nb: &x\n  c: 1\n", "f:2: ", "anchors"},
        {"a: &x [1]\n", "f:1: ", "anchors"},
        {"&x a: 1\n", "f:1: ", "anchors"},
        {"a: *x\n", "f:1: ", "aliases"},
        {"a: !!str 1\n", "f:1: ", "tags"},
        {"a: !x {b: 1}\n", "f:1: ", "tags"},
        {"a: 1\n---\nb: 2\n", "f:2: ", "second document"},
        {"%YAML 1.1\n---\na: 1\n", "f:1: ", "directives"},
        {"%TAG ! tag:x,2000:\n---\na: 1\n", "f:1: ", "directives"},
        {"a: 1\nb: 2\na: 3\n", "f:3: ", "twice"},
        {"? [a]\n: 1\n", "f:1: ", "a key must be a word"},
        {"? {a: 1}\n: 1\n", "f:1: ", "a key must be a word"},
        {"[[[[[[[[[1]]]]]]]]]\n", "f:1: ", "deeper than 8"},
        {"a: 1\n b: 2\n", "f:2: ", "not YAML"},
        {"a: \"open\n", "f:", "not YAML"},
        {"a:\n\t- b\n", "f:2: ", "not YAML"},
        {"a: [1, 2\n", "f:", "not YAML"},
        {"a: {b: 1\n", "f:", "not YAML"},
        {"a: \"\\0\"\n", "f:1: ", "NUL"},
        {"a: \xFF\n", "f:1: ", "not YAML"},
        {"a: \x01\n", "f:", "not YAML"},
        {"a: @b\n", "f:1: ", "not YAML"},
        {"\x1b[31m: *x\n", "f:", "not YAML"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        refuse(cases[i].text, strlen(cases[i].text), cases[i].place, cases[i].reason);
    refuse("a: 1\0b: 2\n", 10, "f: ", "NUL");
    refuse("\xFF\xFE"
           "a\0",
           4, "f: ", "NUL");
}

static void test_limits(void **state)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(16U << 20);

    (void)state;
    for (int i = 0; i < 257; i++)
        buffer_printf(&b, "key%d: 1\n", i);
    refuse(b.data, b.len, "f:257: ", "more than 256 keys");
    buffer_reset(&b);
    for (int i = 0; i < 100000; i++)
        buffer_char(&b, '[');
    refuse(buffer_cstr(&b), b.len, "f:1: ", "deeper than 8");
    buffer_reset(&b);
    buffer_char(&b, '[');
    for (int i = 0; i < YAML_NODES_MAX; i++)
        buffer_str(&b, "1,");
    refuse(buffer_cstr(&b), b.len, "f:1: ", "too many entries");
}

static void test_numbers_and_truth(void **state)
{
    static const char *const good[] = {"0", "1", "65535", "999999999999999999"};
    static const char *const bad[] = {"",     "-1", "+1", "01",    "1.0",  "1e3",
                                      "0x10", " 1", "1 ", "1_000", "1:30", "9999999999999999999"};
    static const char *const truths[] = {"yes", "no", "on", "True", "TRUE", "1", "0", "", "y"};
    YamlNode node = {.kind = YAML_SCALAR};
    uint64_t number;
    bool flag;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        node.text = (char *)good[i];
        assert_true(yaml_as_number(&node, &number));
        assert_int_equal(number, strtoull(good[i], NULL, 10));
    }
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        node.text = (char *)bad[i];
        assert_false(yaml_as_number(&node, &number));
    }
    for (size_t i = 0; i < ELEMENTS(truths); i++) {
        node.text = (char *)truths[i];
        assert_false(yaml_as_bool(&node, &flag));
    }
    node = (YamlNode){.kind = YAML_SCALAR, .quoted = true, .text = (char *)"1"};
    assert_false(yaml_as_number(&node, &number));
    node.text = (char *)"true";
    assert_false(yaml_as_bool(&node, &flag));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_numbers_and_truth),
    };

    return cmocka_run_group_tests_name("yaml-tree", tests, NULL, NULL);
}
