/* The heap of deadlines; heap.h tells its shape.  Layer: base. */
#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { ARITY = 4, FIRST_CAPACITY = 16 };

static inline bool
before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->deadline_ns < b->deadline_ns || (a->deadline_ns == b->deadline_ns && a->sequence < b->sequence);
}

static inline void
place(struct heap *heap, size_t index, struct heap_entry entry)
{
    heap->entries[index] = entry;
    entry.node->index = index;
}

/* Moves the hole at `index` towards the root until `entry` fits there. */
static void
sift_up(struct heap *heap, size_t index, struct heap_entry entry)
{
    while (index > 0) {
        size_t parent = (index - 1) / ARITY;
        if (!before(&entry, &heap->entries[parent])) {
            break;
        }
        place(heap, index, heap->entries[parent]);
        index = parent;
    }
    place(heap, index, entry);
}

/* Moves the hole at `index` towards the leaves until `entry` fits there. */
static void
sift_down(struct heap *heap, size_t index, struct heap_entry entry)
{
    for (;;) {
        size_t child = index * ARITY + 1;
        if (child >= heap->count) {
            break;
        }
        size_t end = child + ARITY < heap->count ? child + ARITY : heap->count;
        size_t first = child;
        for (size_t other = child + 1; other < end; other++) {
            if (before(&heap->entries[other], &heap->entries[first])) {
                first = other;
            }
        }
        if (!before(&heap->entries[first], &entry)) {
            break;
        }
        place(heap, index, heap->entries[first]);
        index = first;
    }
    place(heap, index, entry);
}

void
heap_init(struct heap *heap)
{
    *heap = (struct heap){ 0 };
}

void
heap_release(struct heap *heap)
{
    free(heap->entries);
    heap_init(heap);
}

int
heap_insert(struct heap *heap, struct heap_node *node, int64_t deadline_ns)
{
    assert(!heap_node_queued(node));
    if (heap->count == heap->capacity) {
        size_t capacity = heap->capacity ? heap->capacity * 2 : FIRST_CAPACITY;
        struct heap_entry *entries = realloc(heap->entries, capacity * sizeof(*entries));
        if (entries == NULL) {
            return -ENOMEM;
        }
        heap->entries = entries;
        heap->capacity = capacity;
    }
    struct heap_entry entry = { deadline_ns, heap->next_sequence++, node };
    sift_up(heap, heap->count++, entry);
    heap_check(heap);
    return 0;
}

void
heap_remove(struct heap *heap, struct heap_node *node)
{
    size_t index = node->index;
    assert(index < heap->count && heap->entries[index].node == node);
    node->index = HEAP_NOT_QUEUED;
    struct heap_entry last = heap->entries[--heap->count];
    if (last.node == node) {
        return;
    }
    if (index > 0 && before(&last, &heap->entries[(index - 1) / ARITY])) {
        sift_up(heap, index, last);
    }
    else {
        sift_down(heap, index, last);
    }
    heap_check(heap);
}

void
heap_replace(struct heap *heap, struct heap_node *node, struct heap_node *other)
{
    assert(heap_node_queued(node) && !heap_node_queued(other));
    other->index = node->index;
    heap->entries[other->index].node = other;
    node->index = HEAP_NOT_QUEUED;
    heap_check(heap);
}

void
heap_check(const struct heap *heap)
{
#ifdef ASYNCIO_C_STRESS
    for (size_t i = 0; i < heap->count; i++) {
        assert(heap->entries[i].node->index == i);
        assert(i == 0 || !before(&heap->entries[i], &heap->entries[(i - 1) / ARITY]));
    }
#else
    (void)heap;
#endif
}
