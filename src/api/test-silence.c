/* Silences: who is covered, when, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/silence.h"
#include "basic/macro.h"
#include "basic/text.h"

#define WALL   INT64_C(1700000000000)
#define MINUTE INT64_C(60000)

static Now at(int64_t ms)
{
    return (Now){.mono_us = 5000000U + (uint64_t)ms * USEC_PER_MSEC, .wall_ms = WALL + ms};
}

static Silence entry(int64_t id, SilenceKind kind, const char *app, const char *pc, int64_t from_ms,
                     int64_t until_ms)
{
    Silence s = {.id = id,
                 .kind = kind,
                 .from_ms = WALL + from_ms,
                 .until_ms = WALL + until_ms,
                 .created_ms = WALL};

    text_copy(s.app_id, sizeof s.app_id, app);
    text_copy(s.pc_id, sizeof s.pc_id, pc);
    text_copy(s.comment, sizeof s.comment, "new disk");
    text_copy(s.by, sizeof s.by, "local");
    return s;
}

static int add(Silences *x, Silence s, int64_t now_ms)
{
    const Silence *kept = NULL;
    int r = silences_add(x, &s, at(now_ms), &kept);

    assert_true(r < 0 ? kept == NULL : kept->id == s.id);
    return r;
}

static Silences *fresh(void)
{
    Silences *x = NULL;

    assert_int_equal(silences_new(&x), 0);
    return x;
}

static int64_t covering(const Silences *x, SilenceKind kind, const char *app, const char *pc,
                        int64_t now_ms)
{
    const Silence *s = silences_cover(x, kind, app, pc, at(now_ms));

    return s ? s->id : 0;
}

static void test_kinds(void **state UNUSED)
{
    assert_string_equal(silence_kind_to_string(SILENCE_NOTICES), "silence");
    assert_string_equal(silence_kind_to_string(SILENCE_MAINTENANCE), "maintenance");
    assert_string_equal(silence_kind_to_string(SILENCE_KIND_INVALID), "");
    assert_int_equal(silence_kind_from_string("maintenance"), SILENCE_MAINTENANCE);
    assert_int_equal(silence_kind_from_string("Silence"), SILENCE_KIND_INVALID);
    assert_int_equal(silence_kind_from_string(NULL), SILENCE_KIND_INVALID);
}

static void test_who_is_covered(void **state UNUSED)
{
    Silences *x = fresh();

    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "web", "", 0, 10 * MINUTE), 0), 0);
    assert_int_equal(add(x, entry(2, SILENCE_NOTICES, "", "alpha", 0, 5 * MINUTE), 0), 0);
    assert_int_equal(add(x, entry(3, SILENCE_MAINTENANCE, "db", "beta", 0, 5 * MINUTE), 0), 0);
    /* an app: on every PC, but no PC */
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "beta", 1), 1);
    assert_int_equal(covering(x, SILENCE_NOTICES, "", "beta", 1), 0);
    /* a PC: itself and all its services; of two the one that ends last */
    assert_int_equal(covering(x, SILENCE_NOTICES, "", "alpha", 1), 2);
    assert_int_equal(covering(x, SILENCE_NOTICES, "db", "alpha", 1), 2);
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "alpha", 1), 1);
    /* a pair: nothing beside it, and a kind is not the other */
    assert_int_equal(covering(x, SILENCE_MAINTENANCE, "db", "beta", 1), 3);
    assert_int_equal(covering(x, SILENCE_MAINTENANCE, "", "beta", 1), 0);
    assert_int_equal(covering(x, SILENCE_MAINTENANCE, "db", "alpha", 1), 0);
    assert_int_equal(covering(x, SILENCE_NOTICES, "db", "beta", 1), 0);
    assert_int_equal(covering(x, SILENCE_MAINTENANCE, "web", "beta", 1), 0);
    /* all PCs are nobody's subject */
    assert_int_equal(covering(x, SILENCE_NOTICES, "", "", 1), 0);
    silences_free(x);
}

static void test_begin_and_end(void **state UNUSED)
{
    Silences *x = fresh();

    assert_false(silences_tick(x, at(0)));
    assert_int_equal(add(x, entry(7, SILENCE_NOTICES, "web", "", 2 * MINUTE, 3 * MINUTE), 0), 0);
    assert_true(silences_tick(x, at(1)));
    assert_false(silences_tick(x, at(2 * MINUTE - 1)));
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "a", 2 * MINUTE - 1), 0);
    assert_true(silences_tick(x, at(2 * MINUTE)));
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "a", 2 * MINUTE), 7);
    assert_false(silences_tick(x, at(3 * MINUTE - 1)));
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "a", 3 * MINUTE - 1), 7);
    /* over: not covered even before anybody tidied up, and then forgotten */
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "a", 3 * MINUTE), 0);
    assert_int_equal(silences_n(x), 1);
    assert_true(silences_tick(x, at(3 * MINUTE)));
    assert_int_equal(silences_n(x), 0);
    assert_null(silences_find(x, 7));
    assert_false(silences_tick(x, at(4 * MINUTE)));
    silences_free(x);
}

static void test_a_jump_of_the_clock(void **state UNUSED)
{
    Silences *x = fresh();
    Now later = at(30000), back = at(30000);

    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "web", "", 0, MINUTE), 0), 0);
    silences_tick(x, at(1));
    later.wall_ms += 366 * 86400000LL;
    assert_false(silences_tick(x, later));
    assert_non_null(silences_cover(x, SILENCE_NOTICES, "web", "a", later));
    back.wall_ms -= 366 * 86400000LL;
    assert_non_null(silences_cover(x, SILENCE_NOTICES, "web", "a", back));
    back.mono_us += 30 * USEC_PER_SEC;
    assert_null(silences_cover(x, SILENCE_NOTICES, "web", "a", back));
    /* recalled under a clock that is 50 years slow: as long as it was meant to be, no longer */
    const Silence *kept = NULL;
    Silence s = entry(2, SILENCE_NOTICES, "db", "", 0, MINUTE);
    Now slow = {.mono_us = 1, .wall_ms = 1000};
    assert_int_equal(silences_add(x, &s, slow, &kept), 0);
    assert_int_equal(kept->until_us, 1 + 60 * USEC_PER_SEC);
    assert_ptr_equal(silences_cover(x, SILENCE_NOTICES, "db", "a", slow), kept);
    /* and one that was to begin an hour after it was made begins in an hour at the latest */
    s = entry(3, SILENCE_NOTICES, "late", "", 60 * MINUTE, 61 * MINUTE);
    assert_int_equal(silences_add(x, &s, slow, &kept), 0);
    assert_int_equal(kept->from_us, 1 + 3600 * USEC_PER_SEC);
    assert_int_equal(kept->until_us, 1 + 3660 * USEC_PER_SEC);
    silences_free(x);
}

static void test_ended_early(void **state UNUSED)
{
    Silences *x = fresh();
    Silence ended = {.id = -1};

    assert_int_equal(add(x, entry(5, SILENCE_NOTICES, "web", "", 0, 10 * MINUTE), 0), 0);
    assert_int_equal(add(x, entry(3, SILENCE_NOTICES, "db", "", 0, 10 * MINUTE), 0), 0);
    assert_int_equal(silences_at(x, 0)->id, 3); /* by id, in whatever order they came */
    assert_int_equal(silences_at(x, 1)->id, 5);
    assert_null(silences_at(x, 2));
    silences_tick(x, at(1));
    assert_int_equal(silences_end(x, 4, at(MINUTE), &ended), -ENOENT);
    assert_int_equal(ended.id, -1);
    assert_int_equal(silences_end(x, 5, at(MINUTE), &ended), 0);
    assert_int_equal(ended.id, 5);
    assert_int_equal(ended.until_ms, WALL + MINUTE);
    assert_string_equal(ended.comment, "new disk");
    assert_true(silences_tick(x, at(MINUTE)));
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "a", MINUTE), 0);
    assert_int_equal(covering(x, SILENCE_NOTICES, "db", "a", MINUTE), 3);
    silences_free(x);
}

static void test_what_is_refused(void **state UNUSED)
{
    Silences *x = fresh();

    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "", "", 0, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "-web", "", 0, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "", "a b", 0, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_KIND_MAX, "web", "", 0, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_KIND_INVALID, "web", "", 0, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "web", "", MINUTE, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "web", "", -2 * WALL, MINUTE), 0), -EINVAL);
    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "web", "", 0, SILENCE_LENGTH_MAX + 1), 0),
                     -ERANGE);
    assert_int_equal(add(x, entry(1, SILENCE_NOTICES, "web", "", -MINUTE, 0), 0), -ETIME);
    assert_int_equal(silences_n(x), 0);
    assert_false(silences_tick(x, at(0)));
    for (int64_t id = 1; id <= SILENCES_MAX; id++)
        assert_int_equal(add(x, entry(id, SILENCE_NOTICES, "web", "", 0, id * MINUTE), 0), 0);
    assert_int_equal(add(x, entry(7, SILENCE_NOTICES, "web", "", 0, MINUTE), 0), -EEXIST);
    assert_int_equal(add(x, entry(5000, SILENCE_NOTICES, "web", "", 0, MINUTE), 0), -ENOSPC);
    assert_int_equal(covering(x, SILENCE_NOTICES, "web", "a", 0), SILENCES_MAX);
    assert_true(silences_tick(x, at(500 * MINUTE)));
    assert_int_equal(silences_n(x), 500);
    silences_free(x);
}

static void test_text_is_cleaned(void **state UNUSED)
{
    Silences *x = fresh();
    Buffer b = BUFFER_INIT(4096);
    Silence s = entry(12, SILENCE_MAINTENANCE, "web", "", 0, MINUTE);
    const Silence *kept = NULL;

    memset(s.comment, 'x', COMMENT_MAX);
    memcpy(s.comment, "\033[31m\xff", 6);
    memcpy(s.by, "a\nb", 4);
    assert_int_equal(silences_add(x, &s, at(0), &kept), 0);
    assert_null(strchr(kept->comment, '\033'));
    assert_true(text_is_utf8(kept->comment, strlen(kept->comment)));
    assert_true(strlen(kept->comment) <= COMMENT_MAX);
    assert_string_equal(kept->by, "a b");
    s = entry(13, SILENCE_NOTICES, "", "alpha", 0, MINUTE);
    assert_int_equal(silences_add(x, &s, at(0), &kept), 0);
    silence_write(&b, silences_find(x, 13));
    assert_string_equal(buffer_cstr(&b),
                        "{\"id\":13,\"kind\":\"silence\",\"app_id\":null,\"pc_id\":\"alpha\","
                        "\"from_ts\":1700000000000,\"until_ts\":1700000060000,"
                        "\"comment\":\"new disk\",\"by\":\"local\",\"created_ts\":1700000000000}");
    buffer_done(&b);
    silences_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),           cmocka_unit_test(test_who_is_covered),
        cmocka_unit_test(test_begin_and_end),   cmocka_unit_test(test_a_jump_of_the_clock),
        cmocka_unit_test(test_ended_early),     cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_text_is_cleaned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
