/* Which changes are worth a word on the desktop. The bus is not asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "monitor/notify-desktop.h"

static Notices notices;
static Notice out[NOTIFY_BURST];

static int fresh(void **state)
{
    (void)state;
    notices = (Notices){0};
    return 0;
}

static void change(const char *app, Light before, Light after, int64_t now)
{
    ServiceRow a = {.light = before}, b = {.light = after};

    strcpy(a.app_id, app);
    strcpy(a.pc_id, "pc-1");
    memcpy(b.app_id, a.app_id, sizeof a.app_id);
    memcpy(b.pc_id, a.pc_id, sizeof a.pc_id);
    strcpy(b.sentence, after == LIGHT_DOWN ? "exit code 1" : "");
    notices_row(&notices, &a, &b, now);
}

static void test_down_and_recovery(void **state)
{
    (void)state;
    change("api", LIGHT_OK, LIGHT_DOWN, 1000);
    assert_int_equal(notices_take(&notices, 1000 + NOTIFY_HOLD_MS - 1, out), 0);
    assert_int_equal(notices_next(&notices), 1000 + NOTIFY_HOLD_MS);
    assert_int_equal(notices_take(&notices, 1000 + NOTIFY_HOLD_MS, out), 1);
    assert_string_equal(out[0].title, "api on pc-1 is down");
    assert_string_equal(out[0].body, "exit code 1");
    assert_true(out[0].critical);
    assert_int_equal(notices_next(&notices), 0);
    assert_int_equal(notices_take(&notices, 99999, out), 0);
    change("api", LIGHT_DOWN, LIGHT_WARN, 100000);
    assert_int_equal(notices_take(&notices, 200000, out), 0);
    change("api", LIGHT_WARN, LIGHT_OK, 200000);
    assert_int_equal(notices_take(&notices, 200000, out), 1);
    assert_string_equal(out[0].title, "api on pc-1 is healthy again");
    assert_int_equal(notices.n, 0);
}

static void test_healed_crash_is_not_said(void **state)
{
    (void)state;
    change("api", LIGHT_OK, LIGHT_DOWN, 1000);
    change("api", LIGHT_DOWN, LIGHT_OK, 1500);
    assert_int_equal(notices_take(&notices, 99999, out), 0);
    assert_int_equal(notices.n, 0);
}

static void test_unknown_is_not_said(void **state)
{
    (void)state;
    change("api", LIGHT_OK, LIGHT_UNKNOWN, 1);
    change("api", LIGHT_UNKNOWN, LIGHT_OK, 2);
    assert_int_equal(notices_take(&notices, 99999, out), 0);
}

static void test_many_are_one_number(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "api-%d", i);
        change(name, LIGHT_OK, LIGHT_DOWN, 1);
    }
    assert_int_equal(notices_take(&notices, 99999, out), 1);
    assert_string_equal(out[0].title, "40 services changed");
    assert_string_equal(out[0].body, "40 down, 0 recovered");
    assert_int_equal(notices_take(&notices, 99999, out), 0);
}

static void test_bounded(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < NOTIFY_HELD_MAX * 3; i++) {
        snprintf(name, sizeof name, "api-%d", i);
        change(name, LIGHT_OK, LIGHT_DOWN, 1);
    }
    assert_int_equal(notices.n, NOTIFY_HELD_MAX);
}

static void test_pc(void **state)
{
    PcRow up = {.pc_id = "pc-1", .reachable = true}, down = {.pc_id = "pc-1"};

    (void)state;
    notices_pc(&notices, &up, &down, 1);
    assert_int_equal(notices_take(&notices, 99999, out), 1);
    assert_string_equal(out[0].title, "pc-1 is unreachable");
    notices_pc(&notices, &down, &up, 99999);
    assert_int_equal(notices_take(&notices, 99999, out), 1);
    assert_string_equal(out[0].title, "pc-1 answers again");
    down.may_sleep = true;
    notices_pc(&notices, &up, &down, 1);
    assert_int_equal(notices.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_down_and_recovery, fresh),
        cmocka_unit_test_setup(test_healed_crash_is_not_said, fresh),
        cmocka_unit_test_setup(test_unknown_is_not_said, fresh),
        cmocka_unit_test_setup(test_many_are_one_number, fresh),
        cmocka_unit_test_setup(test_bounded, fresh),
        cmocka_unit_test_setup(test_pc, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
