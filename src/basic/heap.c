/* See heap.h. Invariants: nodes[i]->index == i for every i < len; no parent is due later than its
 * child. Equal times come out in no particular order.
 *
 * A node's due time changes only through heap_set(): changing it in place would break the order
 * unseen. A timer wheel would be O(1), but a thousand nodes cost ten comparisons here, and due
 * times reach from milliseconds to an hour. */
#include "basic/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void heap_done(Heap *h)
{
    assert(h->len == 0);
    free(h->nodes);
    *h = (Heap){0};
}

static void heap_put(Heap *h, size_t at, HeapNode *n)
{
    h->nodes[at] = n;
    n->index = at;
}

static void heap_up(Heap *h, size_t at, HeapNode *n)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (h->nodes[parent]->due_us <= n->due_us)
            break;
        heap_put(h, at, h->nodes[parent]);
        at = parent;
    }
    heap_put(h, at, n);
}

static void heap_down(Heap *h, size_t at, HeapNode *n)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= h->len)
            break;
        if (child + 1 < h->len && h->nodes[child + 1]->due_us < h->nodes[child]->due_us)
            child++;
        if (n->due_us <= h->nodes[child]->due_us)
            break;
        heap_put(h, at, h->nodes[child]);
        at = child;
    }
    heap_put(h, at, n);
}

int heap_set(Heap *h, HeapNode *n, uint64_t due_us)
{
    if (heap_contains(n)) {
        bool later = due_us > n->due_us;
        n->due_us = due_us;
        if (later)
            heap_down(h, n->index, n);
        else
            heap_up(h, n->index, n);
        return 0;
    }
    if (h->len == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 16;
        HeapNode **nodes = realloc(h->nodes, cap * sizeof *nodes);
        if (!nodes)
            return -ENOMEM;
        h->nodes = nodes;
        h->cap = cap;
    }
    n->due_us = due_us;
    heap_up(h, h->len++, n);
    return 0;
}

void heap_remove(Heap *h, HeapNode *n)
{
    if (!heap_contains(n))
        return;
    size_t at = n->index;
    HeapNode *last = h->nodes[--h->len];
    n->index = HEAP_NOWHERE;
    if (last == n)
        return;
    if (at > 0 && h->nodes[(at - 1) / 2]->due_us > last->due_us)
        heap_up(h, at, last);
    else
        heap_down(h, at, last);
}

HeapNode *heap_first(const Heap *h)
{
    return h->len ? h->nodes[0] : NULL;
}
