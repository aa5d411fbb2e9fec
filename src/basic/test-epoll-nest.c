/* The nest: callbacks may add, change and remove any watch, their own included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "basic/epoll-nest.h"
#include "basic/macro.h"

typedef struct Item {
    NestWatch watch;
    Nest *nest;
    struct Item *victim; /* removed and freed by the first callback that runs */
    bool *gone;          /* set when it is freed */
    int near, far;
    unsigned calls;
    uint32_t seen;
} Item;

static Item *item_new(Nest *nest)
{
    Item *i = calloc(1, sizeof *i);
    int fds[2];

    assert_non_null(i);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *i = (Item){.watch = NEST_WATCH_INIT, .nest = nest, .near = fds[0], .far = fds[1]};
    return i;
}

static Item *item_free(Item *i)
{
    nest_remove(i->nest, &i->watch);
    close_fd(i->near);
    close_fd(i->far);
    if (i->gone)
        *i->gone = true;
    free(i);
    return NULL;
}

static void item_wake(Item *i)
{
    assert_int_equal(write(i->far, "x", 1), 1);
}

static void count(NestWatch *w, uint32_t events)
{
    Item *i = container_of(w, Item, watch);

    i->calls++;
    i->seen = events;
}

static void kill_victim(NestWatch *w, uint32_t events)
{
    Item *i = container_of(w, Item, watch);

    count(w, events);
    if (i->victim)
        i->victim = item_free(i->victim);
}

static void remove_self(NestWatch *w, uint32_t events)
{
    Item *i = container_of(w, Item, watch);

    count(w, events);
    nest_remove(i->nest, w);
}

static void add_again(NestWatch *w, uint32_t events)
{
    Item *i = container_of(w, Item, watch);

    remove_self(w, events);
    assert_int_equal(nest_add(i->nest, w, i->near, EPOLLIN, count), 0);
}

static bool is_ready(const Nest *n)
{
    struct pollfd p = {.fd = nest_fd(n), .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void test_basics(UNUSED void **state)
{
    Nest *n = NULL;

    assert_int_equal(nest_new(&n), 0);
    Item *i = item_new(n);
    nest_remove(n, &i->watch); /* not watched: nothing happens */
    assert_int_equal(nest_add(n, &i->watch, -1, EPOLLIN, count), -EBADF);
    assert_int_equal(i->watch.fd, -1);
    assert_int_equal(nest_add(n, &i->watch, i->near, EPOLLIN, count), 0);
    assert_false(is_ready(n));
    nest_dispatch(n);
    assert_int_equal(i->calls, 0);

    item_wake(i);
    assert_true(is_ready(n));
    nest_dispatch(n);
    nest_dispatch(n); /* level triggered: not read yet, so it comes again */
    assert_int_equal(i->calls, 2);
    assert_int_equal(i->seen, EPOLLIN);

    assert_int_equal(nest_modify(n, &i->watch, EPOLLOUT), 0);
    assert_int_equal(nest_modify(n, &i->watch, EPOLLOUT), 0);
    nest_dispatch(n);
    assert_int_equal(i->seen, EPOLLOUT);
    i->far = close_fd(i->far);
    nest_dispatch(n);
    assert_true(i->seen & EPOLLHUP);

    nest_remove(n, &i->watch);
    assert_int_equal(i->watch.fd, -1);
    assert_false(is_ready(n));
    item_free(i);
    assert_null(nest_free(n));
    assert_null(nest_free(NULL));
}

/* Each of two is ready and frees the other, so whichever comes second must not be called. */
static void test_removed_within_batch(UNUSED void **state)
{
    Nest *n = NULL;
    bool gone[2] = {false, false};
    Item *items[2];

    assert_int_equal(nest_new(&n), 0);
    for (size_t i = 0; i < 2; i++) {
        items[i] = item_new(n);
        items[i]->gone = &gone[i];
        assert_int_equal(nest_add(n, &items[i]->watch, items[i]->near, EPOLLIN, kill_victim), 0);
        item_wake(items[i]);
    }
    items[0]->victim = items[1];
    items[1]->victim = items[0];
    nest_dispatch(n); /* a call into the freed one would be found by the sanitizer */
    assert_true(gone[0] != gone[1]);
    Item *left = items[gone[0] ? 1 : 0];
    assert_int_equal(left->calls, 1);
    nest_dispatch(n);
    assert_int_equal(left->calls, 2);
    item_free(left);
    assert_false(is_ready(n));
    nest_free(n);
}

static void test_self(UNUSED void **state)
{
    Nest *n = NULL;

    assert_int_equal(nest_new(&n), 0);
    Item *a = item_new(n), *b = item_new(n);
    assert_int_equal(nest_add(n, &a->watch, a->near, EPOLLIN, remove_self), 0);
    assert_int_equal(nest_add(n, &b->watch, b->near, EPOLLIN, add_again), 0);
    item_wake(a);
    item_wake(b);
    nest_dispatch(n);
    assert_int_equal(a->calls, 1);
    assert_int_equal(b->calls, 1);
    nest_dispatch(n);
    assert_int_equal(a->calls, 1);
    assert_int_equal(b->calls, 2);
    item_free(a);
    item_free(b);
    nest_free(n);
}

/* More ready watches than one batch holds: none starves. */
static void test_many(UNUSED void **state)
{
    enum { N = 300 };
    Nest *n = NULL;
    Item *items[N];
    unsigned called = 0;

    assert_int_equal(nest_new(&n), 0);
    for (size_t i = 0; i < N; i++) {
        items[i] = item_new(n);
        assert_int_equal(nest_add(n, &items[i]->watch, items[i]->near, EPOLLIN, remove_self), 0);
        item_wake(items[i]);
    }
    nest_dispatch(n);
    for (size_t i = 0; i < N; i++)
        called += items[i]->calls;
    assert_int_equal(called, 256);
    nest_dispatch(n);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(items[i]->calls, 1);
        item_free(items[i]);
    }
    nest_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics),
        cmocka_unit_test(test_removed_within_batch),
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
