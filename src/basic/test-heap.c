/* The heap against a plain search for the earliest, over many random moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "basic/heap.h"
#include "basic/macro.h"

static void check_invariants(const Heap *h)
{
    for (size_t i = 0; i < h->len; i++) {
        assert_int_equal(h->nodes[i]->index, i);
        if (i)
            assert_true(h->nodes[(i - 1) / 2]->due_us <= h->nodes[i]->due_us);
    }
}

static void test_empty(UNUSED void **state)
{
    Heap h = {0};
    HeapNode n = HEAP_NODE_INIT;

    assert_null(heap_first(&h));
    assert_false(heap_contains(&n));
    heap_remove(&h, &n);
    heap_done(&h);
}

static void test_order(UNUSED void **state)
{
    static const uint64_t due[] = {5, 3, 9, 1, 7, 1, UINT64_MAX, 0};
    static const uint64_t sorted[] = {0, 1, 1, 3, 5, 7, 9, UINT64_MAX};
    Heap h = {0};
    HeapNode n[ELEMENTS(due)];

    for (size_t i = 0; i < ELEMENTS(due); i++) {
        n[i] = HEAP_NODE_INIT;
        assert_int_equal(heap_set(&h, &n[i], due[i]), 0);
        assert_true(heap_contains(&n[i]));
    }
    for (size_t i = 0; i < ELEMENTS(sorted); i++) {
        HeapNode *first = heap_first(&h);
        assert_true(first->due_us == sorted[i]);
        heap_remove(&h, first);
        assert_false(heap_contains(first));
        check_invariants(&h);
    }
    assert_null(heap_first(&h));
    heap_done(&h);
}

static void test_move(UNUSED void **state)
{
    Heap h = {0};
    HeapNode a = HEAP_NODE_INIT, b = HEAP_NODE_INIT;

    assert_int_equal(heap_set(&h, &a, 1), 0);
    assert_int_equal(heap_set(&h, &b, 2), 0);
    assert_ptr_equal(heap_first(&h), &a);
    assert_int_equal(heap_set(&h, &a, 3), 0);
    assert_ptr_equal(heap_first(&h), &b);
    assert_int_equal(heap_set(&h, &a, 0), 0);
    assert_ptr_equal(heap_first(&h), &a);
    assert_int_equal(h.len, 2);
    heap_remove(&h, &a);
    heap_remove(&h, &a);
    heap_remove(&h, &b);
    heap_done(&h);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static void test_random(UNUSED void **state)
{
    enum { N = 200 };
    Heap h = {0};
    HeapNode n[N];
    uint32_t seed = 7;

    for (size_t i = 0; i < N; i++)
        n[i] = HEAP_NODE_INIT;
    for (size_t step = 0; step < 20000; step++) {
        HeapNode *one = &n[next_random(&seed) % N];
        uint64_t earliest = UINT64_MAX;

        if (next_random(&seed) % 3 == 0)
            heap_remove(&h, one);
        else
            assert_int_equal(heap_set(&h, one, next_random(&seed) % 1000), 0);
        for (size_t i = 0; i < N; i++)
            if (heap_contains(&n[i]))
                earliest = MIN(earliest, n[i].due_us);
        assert_true(h.len == 0 || heap_first(&h)->due_us == earliest);
        if (step % 100 == 0)
            check_invariants(&h);
    }
    for (size_t i = 0; i < N; i++)
        heap_remove(&h, &n[i]);
    heap_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
