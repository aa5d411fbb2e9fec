/* The pace of attempts, under a clock of our own. */
#include "api/ssh-limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "basic/macro.h"

#define S USEC_PER_SEC

static int setup(void **state)
{
    return ssh_limiter_new((SshLimiter **)state);
}

static int teardown(void **state)
{
    ssh_limiter_free(*state);
    return 0;
}

static void test_eight_at_once(void **state)
{
    SshLimiter *l = *state;
    SshPace paces[12] = {0};

    for (size_t i = 0; i < ELEMENTS(paces); i++)
        assert_int_equal(ssh_limiter_take(l, &paces[i], S), i < SSH_HANDSHAKES);
    assert_true(ssh_limiter_take(l, &paces[0], S)); /* it has one already */
    assert_true(ssh_limiter_next_us(l, &paces[9], S) > S);
    ssh_limiter_done(l, &paces[3]);
    ssh_limiter_done(l, &paces[3]);                  /* twice is once */
    assert_false(ssh_limiter_take(l, &paces[9], S)); /* it is not the first in the queue */
    assert_true(ssh_limiter_take(l, &paces[8], S));
    assert_false(ssh_limiter_take(l, &paces[9], S));
    for (size_t i = 0; i < ELEMENTS(paces); i++)
        ssh_limiter_leave(l, &paces[i]);
    assert_true(ssh_limiter_take(l, &paces[11], S));
    ssh_limiter_leave(l, &paces[11]);
}

static void test_failed_ones_queue_behind(void **state)
{
    SshLimiter *l = *state;
    SshPace busy[SSH_HANDSHAKES] = {0}, dead = {0}, well = {0};

    for (size_t i = 0; i < ELEMENTS(busy); i++)
        assert_true(ssh_limiter_take(l, &busy[i], S));
    ssh_pace_failed(&dead, S, 0);
    assert_false(ssh_limiter_take(l, &dead, 3 * S));
    assert_false(ssh_limiter_take(l, &well, 3 * S));
    ssh_limiter_done(l, &busy[0]);
    assert_false(ssh_limiter_take(l, &dead, 3 * S));
    assert_true(ssh_limiter_take(l, &well, 3 * S));
    ssh_limiter_done(l, &well);
    assert_true(ssh_limiter_take(l, &dead, 3 * S));
    ssh_limiter_leave(l, &dead);
    for (size_t i = 1; i < ELEMENTS(busy); i++)
        ssh_limiter_leave(l, &busy[i]);
}

/* One that waits and goes away blocks nobody. */
static void test_leaving_the_queue(void **state)
{
    SshLimiter *l = *state;
    SshPace busy[SSH_HANDSHAKES] = {0}, gone = {0}, next = {0};

    for (size_t i = 0; i < ELEMENTS(busy); i++)
        assert_true(ssh_limiter_take(l, &busy[i], S));
    assert_false(ssh_limiter_take(l, &gone, S));
    assert_false(ssh_limiter_take(l, &next, S));
    ssh_limiter_leave(l, &gone);
    ssh_limiter_done(l, &busy[0]);
    assert_true(ssh_limiter_take(l, &next, S));
}

static void test_backoff(void **state)
{
    SshLimiter *l = *state;
    static const uint64_t steps[] = {1, 2, 4, 8, 8, 8};
    SshPace p = {0};
    uint64_t now = 100 * S;

    for (size_t i = 0; i < ELEMENTS(steps); i++) {
        assert_true(ssh_limiter_take(l, &p, now));
        ssh_limiter_done(l, &p);
        ssh_pace_failed(&p, now, 0);
        assert_int_equal(ssh_limiter_next_us(l, &p, now), now + steps[i] * S);
        assert_false(ssh_limiter_take(l, &p, now + steps[i] * S - 1));
        now += steps[i] * S;
    }
    ssh_pace_succeeded(&p);
    assert_true(ssh_limiter_take(l, &p, now));
    ssh_limiter_done(l, &p);
    ssh_pace_failed(&p, now, 0);
    assert_int_equal(p.backoff_us, S);
}

static void test_jitter_only_shortens(void **state)
{
    (void)state;
    for (uint32_t chance = 0; chance < 5000; chance += 7) {
        SshPace p = {.backoff_us = 4 * S};
        ssh_pace_failed(&p, 1000 * S, chance);
        assert_in_range(p.not_before_us, 1006 * S, 1008 * S);
    }
}

static void test_ten_a_minute(void **state)
{
    SshLimiter *l = *state;
    SshPace p = {0};
    unsigned n = 0;

    for (uint64_t ms = 1; ms <= 180000; ms += 10) {
        if (!ssh_limiter_take(l, &p, ms * USEC_PER_MSEC))
            continue;
        ssh_limiter_done(l, &p); /* succeeds, and breaks at once, again and again */
        n++;
        assert_true(n <= SSH_LOGINS * (ms / 60000 + 1));
    }
    assert_int_equal(n, 3 * SSH_LOGINS);
    assert_true(ssh_limiter_next_us(l, &p, 180000 * USEC_PER_MSEC) >= 180 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_eight_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_ones_queue_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving_the_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backoff, setup, teardown),
        cmocka_unit_test(test_jitter_only_shortens),
        cmocka_unit_test_setup_teardown(test_ten_a_minute, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
