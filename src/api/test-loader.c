/* The loader: what the thread wrote is there when the loop hears of it. Also run under
 * ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "api/loader.h"

static struct {
    Nest *nest;
    Loader loader;
    sem_t may_end;
    char text[64]; /* the thread's until `ended` */
    int works, ends, again;
} t;

static void work(void *userdata)
{
    assert_ptr_equal(userdata, &t);
    sem_wait(&t.may_end);
    snprintf(t.text, sizeof t.text, "run %d", ++t.works);
}

static void ended(void *userdata)
{
    assert_ptr_equal(userdata, &t);
    t.ends++;
    if (t.again-- > 0)
        assert_int_equal(loader_start(&t.loader), 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    sem_init(&t.may_end, 0, 0);
    return nest_new(&t.nest) < 0 || loader_init(&t.loader, t.nest, work, ended, &t) < 0;
}

static int teardown(void **state)
{
    (void)state;
    loader_done(&t.loader);
    t.nest = nest_free(t.nest);
    sem_destroy(&t.may_end);
    return 0;
}

static void turn_until(int ends)
{
    struct pollfd p = {.fd = nest_fd(t.nest), .events = POLLIN};

    while (t.ends < ends) {
        assert_int_equal(poll(&p, 1, 10000), 1);
        nest_dispatch(t.nest);
    }
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(loader_start(&t.loader), 0);
    assert_int_equal(loader_start(&t.loader), -EBUSY);
    assert_true(t.loader.running);
    sem_post(&t.may_end);
    turn_until(1);
    assert_string_equal(t.text, "run 1");
    assert_false(t.loader.running);
    assert_int_equal(loader_start(&t.loader), 0);
    sem_post(&t.may_end);
    turn_until(2);
    assert_string_equal(t.text, "run 2");
}

static void test_started_again_from_its_end(void **state)
{
    (void)state;
    t.again = 3;
    for (int i = 0; i < 4; i++)
        sem_post(&t.may_end);
    assert_int_equal(loader_start(&t.loader), 0);
    turn_until(4);
    assert_string_equal(t.text, "run 4");
}

/* The owner goes while the thread is at work: it is waited for, and nobody is told. */
static void test_done_meanwhile(void **state)
{
    (void)state;
    assert_int_equal(loader_start(&t.loader), 0);
    sem_post(&t.may_end);
    loader_done(&t.loader);
    assert_int_equal(t.works, 1);
    assert_int_equal(t.ends, 0);
}

static void test_never_made(void **state)
{
    Loader none = LOADER_INIT;

    (void)state;
    loader_done(&none);
    assert_int_equal(none.done_fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_started_again_from_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_done_meanwhile, setup, teardown),
        cmocka_unit_test(test_never_made),
    };

    return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
