/* Binary min-heap of due times, intrusive: each element embeds a HeapNode that knows its own place,
 * so moving or removing one is O(log n). The heap owns no element. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NOWHERE SIZE_MAX

typedef struct HeapNode {
    uint64_t due_us;
    size_t index; /* HEAP_NOWHERE while it is in no heap */
} HeapNode;

typedef struct Heap {
    HeapNode **nodes;
    size_t len;
    size_t cap;
} Heap;

#define HEAP_NODE_INIT ((HeapNode){.index = HEAP_NOWHERE})

void heap_done(Heap *h);                             /* asserts that it is empty */
int heap_set(Heap *h, HeapNode *n, uint64_t due_us); /* inserts or moves; -ENOMEM */
void heap_remove(Heap *h, HeapNode *n);              /* no-op when it is in no heap */
HeapNode *heap_first(const Heap *h);                 /* earliest, NULL when empty */

static inline bool heap_contains(const HeapNode *n)
{
    return n->index != HEAP_NOWHERE;
}
