/* The resolver with a name server that this test plays: quick, wrong, and hanging until it is let
 * go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "api/resolve.h"
#include "basic/macro.h"

typedef struct Asked {
    ResolveQuery query;
    unsigned calls;
    ResolveAnswer answer;
} Asked;

static Nest *nest;
static Resolver *resolver;
static atomic_uint lookups;
static atomic_int server_error;
static sem_t hang;

static void lookup(const char *name, ResolveAnswer *ret)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&ret->addresses[0];

    lookups++;
    if (strncmp(name, "hang", 4) == 0)
        while (sem_wait(&hang) < 0)
            ;
    ret->error = server_error;
    if (ret->error < 0)
        return;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(lookups)};
    ret->n = 1;
}

static void on_answer(ResolveQuery *q, const ResolveAnswer *a)
{
    Asked *asked = container_of(q, Asked, query);

    asked->calls++;
    asked->answer = *a;
}

static int set_up(void **state UNUSED)
{
    lookups = 0;
    server_error = 0;
    sem_init(&hang, 0, 0);
    return nest_new(&nest) < 0 || resolver_new(nest, lookup, &resolver) < 0;
}

static int tear_down(void **state UNUSED)
{
    resolver = resolver_free(resolver);
    nest = nest_free(nest);
    return 0;
}

static int ask(Asked *a, const char *name, Now now, ResolveAnswer *ret)
{
    *a = (Asked){.query.answer = on_answer};
    return resolve_start(resolver, name, &a->query, now, ret);
}

static void wait_for_answer(const Asked *a)
{
    struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};

    while (a->calls == 0) {
        assert_true(poll(&p, 1, 20000) > 0);
        nest_dispatch(nest);
    }
}

static uint32_t address_of(const ResolveAnswer *a)
{
    return ntohl(((const struct sockaddr_in *)&a->addresses[0])->sin_addr.s_addr);
}

static void test_answer_then_memory_then_refresh(void **state UNUSED)
{
    Asked a;
    ResolveAnswer r = {0};
    Now now = clock_now();

    assert_int_equal(ask(&a, "a.test", now, &r), 0);
    wait_for_answer(&a);
    assert_int_equal(a.answer.error, 0);
    assert_int_equal(address_of(&a.answer), 1);
    assert_int_equal(ask(&a, "A.TEST", now, &r), 1);
    assert_int_equal(address_of(&r), 1);
    assert_int_equal(lookups, 1);
    now.mono_us += 2 * (uint64_t)RESOLVE_FRESH_US;
    assert_int_equal(ask(&a, "a.test", now, &r), 1); /* old, but at once; asked again behind it */
    assert_int_equal(address_of(&r), 1);
    struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};
    assert_true(poll(&p, 1, 20000) > 0);
    nest_dispatch(nest);
    assert_int_equal(ask(&a, "a.test", clock_now(), &r), 1);
    assert_int_equal(address_of(&r), 2);
}

static void test_failures(void **state UNUSED)
{
    Asked a;
    ResolveAnswer r;
    Now now = clock_now();

    server_error = -ENOENT;
    assert_int_equal(ask(&a, "none.test", now, &r), 0);
    wait_for_answer(&a);
    assert_int_equal(a.answer.error, -ENOENT);
    server_error = -EAGAIN;
    assert_int_equal(ask(&a, "none.test", now, &r), 0); /* a failure is not remembered */
    wait_for_answer(&a);
    assert_int_equal(a.answer.error, -EAGAIN);
}

static void test_what_is_gone_is_forgotten(void **state UNUSED)
{
    static const int errors[] = {-EAGAIN, -ENOENT};
    struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};

    for (size_t i = 0; i < ELEMENTS(errors); i++) {
        Asked a;
        ResolveAnswer r;
        Now late = clock_now();
        late.mono_us += 2 * (uint64_t)RESOLVE_FRESH_US;
        server_error = 0;
        if (i == 0) {
            assert_int_equal(ask(&a, "a.test", late, &r), 0);
            wait_for_answer(&a);
        }
        server_error = errors[i];
        late.mono_us += 2 * (uint64_t)RESOLVE_FRESH_US;
        assert_int_equal(ask(&a, "a.test", late, &r), 1);
        assert_true(poll(&p, 1, 20000) > 0);
        nest_dispatch(nest);
        /* a failing server takes nothing away, a name that is gone is gone */
        assert_int_equal(ask(&a, "a.test", clock_now(), &r), errors[i] == -EAGAIN);
        resolve_cancel(resolver, &a.query);
    }
}

static void test_bad_names(void **state UNUSED)
{
    Asked a;
    ResolveAnswer r;
    char name[RESOLVE_NAME_MAX + 2];

    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(ask(&a, name, clock_now(), &r), -EINVAL);
    assert_int_equal(ask(&a, "", clock_now(), &r), -EINVAL);
    assert_int_equal(lookups, 0);
}

static void test_one_job_for_many_queries(void **state UNUSED)
{
    Asked a[10];
    ResolveAnswer r;

    for (size_t i = 0; i < ELEMENTS(a); i++)
        assert_int_equal(ask(&a[i], "hang.test", clock_now(), &r), 0);
    resolve_cancel(resolver, &a[3].query);
    resolve_cancel(resolver, &a[3].query);
    sem_post(&hang);
    wait_for_answer(&a[0]);
    for (size_t i = 0; i < ELEMENTS(a); i++)
        assert_int_equal(a[i].calls, i == 3 ? 0 : 1);
    assert_int_equal(lookups, 1);
}

static void test_queue_is_bounded_while_the_server_hangs(void **state UNUSED)
{
    Asked a[RESOLVE_QUEUE_MAX + 2];
    ResolveAnswer r;
    char name[32];
    size_t refused = 0;

    for (size_t i = 0; i < ELEMENTS(a); i++) {
        snprintf(name, sizeof name, "hang%zu.test", i);
        int e = ask(&a[i], name, clock_now(), &r);
        assert_true(e == 0 || e == -EBUSY);
        refused += e == -EBUSY;
    }
    assert_true(refused >= 1 && refused <= 2); /* one may be at the thread already */
    for (size_t i = 0; i < ELEMENTS(a); i++) {
        resolve_cancel(resolver, &a[i].query);
        sem_post(&hang);
    }
}

static void test_memory_is_bounded(void **state UNUSED)
{
    ResolveAnswer r;
    char name[32];
    Now now = clock_now();

    for (unsigned i = 0; i < RESOLVE_CACHE_MAX + 50; i++) {
        Asked a;
        snprintf(name, sizeof name, "n%u.test", i);
        now.mono_us++;
        assert_int_equal(ask(&a, name, now, &r), 0);
        wait_for_answer(&a);
    }
    Asked a;
    assert_int_equal(ask(&a, name, now, &r), 1);
    assert_int_equal(ask(&a, "n0.test", now, &r), 0); /* the oldest made room */
    wait_for_answer(&a);
}

/* An answer that starts the next question for the same name, and cancels another one. */
static Asked again, victim;

static void on_answer_ask_again(ResolveQuery *q UNUSED, const ResolveAnswer *a UNUSED)
{
    ResolveAnswer r;

    resolve_cancel(resolver, &victim.query);
    assert_int_equal(ask(&again, "a.test", clock_now(), &r), 0);
}

static void test_questions_from_within_an_answer(void **state UNUSED)
{
    Asked first = {.query.answer = on_answer_ask_again};
    ResolveAnswer r;

    server_error = -EAGAIN;
    assert_int_equal(ask(&victim, "a.test", clock_now(), &r), 0);
    assert_int_equal(resolve_start(resolver, "a.test", &first.query, clock_now(), &r), 0);
    wait_for_answer(&again);
    assert_int_equal(again.answer.error, -EAGAIN);
    assert_int_equal(victim.calls, 0);
    assert_int_equal(lookups, 2);
}

static void test_free_while_it_hangs(void **state UNUSED)
{
    Asked a;
    ResolveAnswer r;

    assert_int_equal(ask(&a, "hang.test", clock_now(), &r), 0);
    while (lookups == 0)
        usleep(1000);
    assert_null(resolver_free(resolver)); /* does not wait */
    resolver = NULL;
    sem_post(&hang);
    usleep(20000); /* the thread cleans up behind itself; a leak would be reported at exit */
    assert_null(resolver_free(NULL));
    assert_int_equal(a.calls, 0);
}

static void test_libc_knows_localhost(void **state UNUSED)
{
    Asked a = {.query.answer = on_answer};
    ResolveAnswer r;
    Resolver *real = NULL;

    assert_int_equal(resolver_new(nest, NULL, &real), 0);
    assert_int_equal(resolve_start(real, "localhost", &a.query, clock_now(), &r), 0);
    wait_for_answer(&a);
    resolver_free(real);
    assert_int_equal(a.answer.error, 0);
    assert_true(a.answer.n >= 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_answer_then_memory_then_refresh),
        CASE(test_failures),
        CASE(test_what_is_gone_is_forgotten),
        CASE(test_bad_names),
        CASE(test_one_job_for_many_queries),
        CASE(test_queue_is_bounded_while_the_server_hangs),
        CASE(test_memory_is_bounded),
        CASE(test_questions_from_within_an_answer),
        CASE(test_free_while_it_hangs),
        CASE(test_libc_knows_localhost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
