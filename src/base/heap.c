/* The heap of deadlines; heap.h tells its shape.  Layer: base. */
#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { ARITY = 4, FIRST_CAPACITY = 16 };

static inline bool
before(const struct heap *heap, const struct heap_entry *a, const struct heap_entry *b)
{
    if (a->deadline_ns != b->deadline_ns) {
        return a->deadline_ns < b->deadline_ns;
    }
    return heap->owners[a->number].sequence < heap->owners[b->number].sequence;
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
        if (!before(heap, &entry, &heap->entries[parent])) {
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
            if (before(heap, &heap->entries[other], &heap->entries[first])) {
                first = other;
            }
        }
        if (!before(heap, &heap->entries[first], &entry)) {
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
    free(heap->places);
    free(heap->owners);
    heap_init(heap);
}

/* Makes room, also if only some of the arrays can grow: then there is no more of it than before. */
static int
grow(struct heap *heap)
{
    size_t capacity = heap->capacity ? heap->capacity * 2 : FIRST_CAPACITY;
    if (capacity > HEAP_NOT_QUEUED) {
        return -ENOMEM;
    }
    struct heap_entry *entries = realloc(heap->entries, capacity * sizeof(*entries));
    heap->entries = entries ? entries : heap->entries;
    uint32_t *places = realloc(heap->places, capacity * sizeof(*places));
    heap->places = places ? places : heap->places;
    struct heap_owner *owners = realloc(heap->owners, capacity * sizeof(*owners));
    heap->owners = owners ? owners : heap->owners;
    if (entries == NULL || places == NULL || owners == NULL) {
        return -ENOMEM;
    }
    for (size_t number = heap->capacity; number < capacity; number++) {
        places[number] = (uint32_t)number + 1;
    }
    heap->first_free = (uint32_t)heap->capacity;
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
    uint32_t number = node->number = heap->first_free;
    heap->first_free = heap->places[number];
    heap->owners[number] = (struct heap_owner){ node, heap->next_sequence++ };
    sift_up(heap, heap->count++, (struct heap_entry){ deadline_ns, number });
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
        if (index > 0 && before(heap, &last, &heap->entries[(index - 1) / ARITY])) {
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
    heap->owners[other->number].node = other;
    node->number = HEAP_NOT_QUEUED;
    heap_check(heap);
}

void
heap_check(const struct heap *heap)
{
#ifdef ASYNCIO_C_STRESS
    for (size_t i = 0; i < heap->count; i++) {
        uint32_t number = heap->entries[i].number;
        assert(heap->places[number] == i && heap->owners[number].node->number == number);
        assert(i == 0 || !before(heap, &heap->entries[i], &heap->entries[(i - 1) / ARITY]));
    }
    uint32_t free_number = heap->first_free;
    for (size_t i = heap->count; i < heap->capacity; i++) {
        assert(free_number < heap->capacity);
        free_number = heap->places[free_number];
    }
#else
    (void)heap;
#endif
}
