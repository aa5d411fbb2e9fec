/* Questions that must not become anything else, and answers that may be anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/journal.h"
#include "basic/macro.h"
#include "common/json.h"

static const uint8_t invocation[16] = {0x01, 0xab, [15] = 0xff};

static void join(const JournalCommand *c, char *ret, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; c->argv[i]; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%s", i ? " " : "", c->argv[i]);
}

static void test_question_to_command(void **state UNUSED)
{
    static const char head[] =
        "journalctl --quiet --no-pager --output=json --output-fields=MESSAGE,PRIORITY -n ";
    static const struct {
        JournalQuestion q;
        const char *input, *tail;
    } rows[] = {
        {{SCOPE_USER, "a.service", NULL, 50},
         "user\na.service\n-\n50\n",
         "50 --user-unit a.service"},
        {{SCOPE_SYSTEM, "a@b\\x2d.service", NULL, 1},
         "system\na@b\\x2d.service\n-\n1\n",
         "1 --unit a@b\\x2d.service"},
        {{SCOPE_USER, "a.service", invocation, 1000},
         "user\na.service\n01ab00000000000000000000000000ff\n1000\n",
         "1000 _SYSTEMD_INVOCATION_ID=01ab00000000000000000000000000ff + "
         "USER_INVOCATION_ID=01ab00000000000000000000000000ff"},
        {{SCOPE_SYSTEM, "a.service", invocation, 3},
         "system\na.service\n01ab00000000000000000000000000ff\n3\n",
         "3 _SYSTEMD_INVOCATION_ID=01ab00000000000000000000000000ff + "
         "INVOCATION_ID=01ab00000000000000000000000000ff"},
    };

    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        char input[400], text[600];
        JournalCommand c;
        assert_int_equal(journal_input(&rows[i].q, input, sizeof input), 0);
        assert_string_equal(input, rows[i].input);
        assert_int_equal(journal_command(input, &c), 0);
        join(&c, text, sizeof text);
        assert_int_equal(strncmp(text, head, sizeof head - 1), 0);
        assert_string_equal(text + sizeof head - 1, rows[i].tail);
    }
}

static void test_bad_questions(void **state UNUSED)
{
    static const JournalQuestion bad[] = {
        {SCOPE_USER, NULL, NULL, 5},
        {SCOPE_USER, "-rf.service", NULL, 0},
        {SCOPE_USER, "a.service", NULL, 0},
        {SCOPE_USER, "a.service", NULL, JOURNAL_LINES_MAX + 1},
        {SCOPE_USER, "a b.service", NULL, 5},
        {SCOPE_USER, "a.service\nx", NULL, 5},
        {SCOPE_INVALID, "a.service", NULL, 5},
    };
    char input[400];

    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(journal_input(&bad[i], input, sizeof input), -EINVAL);
    assert_int_equal(journal_input(&(JournalQuestion){SCOPE_USER, "a.service", NULL, 5}, input, 10),
                     -ENAMETOOLONG);
}

static void test_bad_inputs(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "user",
        "user\na.service\n-\n5",
        "user\na.service\n-\n5\nmore\n",
        "root\na.service\n-\n5\n",
        "user\n--flush\n-\n5\n",
        "user\na.service; id\n-\n5\n",
        "user\na.service\n-\n0\n",
        "user\na.service\n-\n1001\n",
        "user\na.service\n-\n99999\n",
        "user\na.service\n-\n-5\n",
        "user\na.service\n-\n\n",
        "user\na.service\n01AB00000000000000000000000000ff\n5\n",
        "user\na.service\n01ab\n5\n",
        "user\na.service\n--since=0\n5\n",
    };

    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        JournalCommand c;
        assert_int_equal(journal_command(bad[i], &c), -EINVAL);
    }
}

static Json *convert(const char *output, size_t len, size_t lines)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(8U << 20);

    assert_int_equal(journal_to_json(output, len, &b), lines);
    assert_int_equal(buffer_error(&b), 0);
    Json *j = json_parse(b.data, b.len);
    assert_non_null(j);
    assert_int_equal(json_length(j), lines);
    return j;
}

static void test_answer(void **state UNUSED)
{
    static const char output[] =
        "{\"__REALTIME_TIMESTAMP\":\"1700000000123456\",\"PRIORITY\":\"3\",\"MESSAGE\":\"one\"}\n"
        "{\"MESSAGE\":[104,105,27,255]}\n"
        "{\"MESSAGE\":null,\"PRIORITY\":\"9\"}\n"
        "{\"MESSAGE\":[\"first\",\"second\"],\"PRIORITY\":[\"4\",\"5\"]}\n"
        "{\"MESSAGE\":\"a\\u001b[31m\\u202eb\\nc\"}";
    static const struct {
        int64_t ts;
        int priority;
        const char *message;
    } rows[] = {
        {1700000000123, 3, "one"}, {0, 6, "hi?\xEF\xBF\xBD"}, {0, 6, ""},
        {0, 4, "first"},           {0, 6, "a?[31m?b c"},
    };
    CLEANUP(json_freep) Json *j = convert(output, sizeof output - 1, ELEMENTS(rows));
    const Json *row = json_first(j);

    for (size_t i = 0; i < ELEMENTS(rows); i++, row = json_next(row)) {
        assert_int_equal(json_as_int(json_get(row, "ts"), 0), rows[i].ts);
        assert_int_equal(json_as_int(json_get(row, "priority"), -1), rows[i].priority);
        assert_string_equal(json_as_string(json_get(row, "message"), ""), rows[i].message);
    }
}

static void test_garbage_lines_are_skipped(void **state UNUSED)
{
    static const char output[] = "-- No entries --\n\n[]\n\"text\"\n{\"MESSAGE\":\"cut\n"
                                 "{\"MESSAGE\":[1,2,-1,999,\"x\",{}]}\n"
                                 "{\"MESSAGE\":{\"a\":1},\"PRIORITY\":7,"
                                 "\"__REALTIME_TIMESTAMP\":\"99999999999999999999\"}\n"
                                 "\xff\xfe{}\n{}\n";
    CLEANUP(json_freep) Json *j = convert(output, sizeof output - 1, 3);
    CLEANUP(json_freep) Json *none = convert("", 0, 0);

    assert_true(json_is_array(none));
    assert_string_equal(json_as_string(json_get(json_first(j), "message"), ""), "??");
}

static void test_flood_is_cut(void **state UNUSED)
{
    static const char line[] = "{\"MESSAGE\":\"x\"}\n";
    size_t n = JOURNAL_LINES_MAX + 500, len = sizeof line - 1;
    CLEANUP_FREE char *output = malloc(n * len);

    for (size_t i = 0; i < n; i++)
        memcpy(output + i * len, line, len);
    CLEANUP(json_freep) Json *j = convert(output, n * len, JOURNAL_LINES_MAX);
    assert_non_null(j);
}

static void test_long_message_is_cut(void **state UNUSED)
{
    size_t size = 200000;
    CLEANUP_FREE char *output = malloc(size);

    memset(output, 'm', size);
    memcpy(output, "{\"MESSAGE\":\"", 12);
    memcpy(output + size - 3, "\"}\n", 3);
    CLEANUP(json_freep) Json *j = convert(output, size, 1);
    assert_int_equal(strlen(json_as_string(json_get(json_first(j), "message"), "")), 4095);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question_to_command),
        cmocka_unit_test(test_bad_questions),
        cmocka_unit_test(test_bad_inputs),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_garbage_lines_are_skipped),
        cmocka_unit_test(test_flood_is_cut),
        cmocka_unit_test(test_long_message_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
