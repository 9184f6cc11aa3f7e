/* The heap of deadlines; heap.h tells its shape.  Layer: base. */
#include "base/heap.h"

#include "base/macros.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { ARITY = 4, FIRST_CAPACITY = 16 };

#define SEQUENCES AC_STRESS_OR(64, UINT32_MAX)

static inline bool
before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->deadline_ns < b->deadline_ns || (a->deadline_ns == b->deadline_ns && a->sequence < b->sequence);
}

static inline void
place(struct heap *heap, size_t index, struct heap_entry entry)
{
    heap->entries[index] = entry;
    heap->places[entry.number] = (uint32_t)index;
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
    *heap = (struct heap){ .first_free = HEAP_NOT_QUEUED };
}

void
heap_release(struct heap *heap)
{
    free(heap->entries);
    free(heap->places);
    free(heap->nodes);
    heap_init(heap);
}

static int
compare(const void *left, const void *right)
{
    const struct heap_entry *a = left, *b = right;
    return before(a, b) ? -1 : before(b, a);
}

AC_COLD void
heap_sort(struct heap *heap)
{
    if (heap->count > 0) {
        qsort(heap->entries, heap->count, sizeof(*heap->entries), compare);
    }
    for (size_t i = 0; i < heap->count; i++) {
        heap->places[heap->entries[i].number] = (uint32_t)i;
    }
    heap_check(heap);
}

/* Sorted, the entries lie in order of ties, too. */
AC_COLD static void
number_anew(struct heap *heap)
{
    heap_sort(heap);
    for (size_t i = 0; i < heap->count; i++) {
        heap->entries[i].sequence = (uint32_t)i;
    }
    heap->next_sequence = (uint32_t)heap->count;
}

/* Makes room, also if only some of the arrays can grow: then there is no more of it than before. */
static int
grow(struct heap *heap)
{
    size_t capacity = heap->capacity ? heap->capacity * 2 : FIRST_CAPACITY;
    if (capacity >= UINT32_MAX / 2) {
        return -ENOMEM;
    }
    struct heap_entry *entries = realloc(heap->entries, capacity * sizeof(*entries));
    heap->entries = entries ? entries : heap->entries;
    uint32_t *places = realloc(heap->places, capacity * sizeof(*places));
    heap->places = places ? places : heap->places;
    struct heap_node **nodes = realloc(heap->nodes, capacity * sizeof(*nodes));
    heap->nodes = nodes ? nodes : heap->nodes;
    if (entries == NULL || places == NULL || nodes == NULL) {
        return -ENOMEM;
    }
    heap->capacity = capacity;
    return 0;
}

int
heap_insert(struct heap *heap, struct heap_node *node, int64_t deadline_ns)
{
    assert(!heap_node_queued(node));
    if (heap->count == heap->capacity && grow(heap) < 0) {
        return -ENOMEM;
    }
    if (heap->next_sequence >= SEQUENCES && heap->next_sequence > heap->count) {
        number_anew(heap);
    }
    uint32_t number = heap->first_free;
    if (number != HEAP_NOT_QUEUED) {
        heap->first_free = heap->places[number];
    }
    else {
        number = heap->numbered++;
    }
    node->number = number;
    heap->nodes[number] = node;
    sift_up(heap, heap->count++, (struct heap_entry){ deadline_ns, heap->next_sequence++, number });
    heap_check(heap);
    return 0;
}

void
heap_remove(struct heap *heap, struct heap_node *node)
{
    uint32_t number = node->number;
    size_t index = heap->places[number];
    assert(index < heap->count && heap_node_of(heap, &heap->entries[index]) == node);
    node->number = HEAP_NOT_QUEUED;
    struct heap_entry last = heap->entries[--heap->count];
    if (index < heap->count) {
        if (index > 0 && before(&last, &heap->entries[(index - 1) / ARITY])) {
            sift_up(heap, index, last);
        }
        else {
            sift_down(heap, index, last);
        }
    }
    heap->places[number] = heap->first_free;
    heap->first_free = number;
    heap_check(heap);
}

void
heap_replace(struct heap *heap, struct heap_node *node, struct heap_node *other)
{
    assert(heap_node_queued(node) && !heap_node_queued(other));
    other->number = node->number;
    heap->nodes[other->number] = other;
    node->number = HEAP_NOT_QUEUED;
    heap_check(heap);
}

void
heap_check(const struct heap *heap)
{
#ifdef ASYNCIO_C_STRESS
    for (size_t i = 0; i < heap->count; i++) {
        uint32_t number = heap->entries[i].number;
        assert(heap->places[number] == i && heap->nodes[number]->number == number);
        assert(i == 0 || !before(&heap->entries[i], &heap->entries[(i - 1) / ARITY]));
    }
    uint32_t number = heap->first_free;
    for (size_t i = heap->count; i < heap->numbered; i++) {
        assert(number < heap->numbered);
        number = heap->places[number];
    }
    assert(number == HEAP_NOT_QUEUED);
#else
    (void)heap;
#endif
}
