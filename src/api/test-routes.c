/* The table of routes against the need of each, written down a second time: a route that is new, or
 * that asks for less than before, must be said here too. Who is let in by which need is in
 * test-gate.c, and all of it over real sockets in tests/lab/test_door.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/routes.h"
#include "basic/macro.h"

static const struct {
    const char *method, *pattern;
    GateNeed need;
} needs[] = {
    {"GET", "/api/services", NEED_READ},
    {"GET", "/api/services/*/*", NEED_READ},
    {"POST", "/api/services/*/*/check", NEED_CHECK},
    {"POST", "/api/services/*/*/action", NEED_ACTION},
    {"GET", "/api/pcs", NEED_READ},
    {"GET", "/api/alerts", NEED_READ},
    {"POST", "/api/alerts/*/ack", NEED_CHECK},
    {"GET", "/api/silences", NEED_READ},
    {"POST", "/api/silences", NEED_CHECK},
    {"DELETE", "/api/silences/*", NEED_CHECK},
    {"GET", "/api/transitions", NEED_READ},
    {"GET", "/api/audit", NEED_READ},
    {"GET", "/api/health", NEED_READ},
    {"GET", "/metrics", NEED_READ},
    {"GET", "/api/ws/services", NEED_READ},
};

static void test_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < routes_table_len; i++) {
        const HttpRoute *r = &routes_table[i];
        size_t found = 0;
        for (size_t k = 0; k < ELEMENTS(needs); k++)
            if (strcmp(needs[k].method, r->method) == 0 &&
                strcmp(needs[k].pattern, r->pattern) == 0) {
                assert_int_equal(needs[k].need, r->need);
                found++;
            }
        if (found != 1)
            fail_msg("%s %s is %zu times in the table of this test", r->method, r->pattern, found);
    }
    assert_int_equal(ELEMENTS(needs), routes_table_len);
}

static void test_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < routes_table_len; i++) {
        const HttpRoute *r = &routes_table[i];
        assert_int_equal(r->pattern[0], '/');
        assert_true(r->upgrade == (r->handler == NULL));
        /* what changes something is no GET: a link must not be able to do it */
        assert_int_equal(strcmp(r->method, "GET") == 0, r->need == NEED_READ);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_shape),
    };

    return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
