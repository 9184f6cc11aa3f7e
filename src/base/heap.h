/* A heap of deadlines, for timers.  Layer: base.

   Four children a node: half the depth of a binary heap, and the four lie in two cache lines, because the keys are kept
   in the array itself and a comparison follows no pointer.  Ties go by order of insertion.

   A node embeds `struct heap_node` and so knows its place: removing a timer is O(log n) and leaves no dead entry.
   Invariants: entries[i] is not after any of entries[4i+1 .. 4i+4]; entries[i].node->index == i. */
#ifndef AC_BASE_HEAP_H
#define AC_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NOT_QUEUED SIZE_MAX

struct heap_node {
    size_t index; /* HEAP_NOT_QUEUED while it is in no heap */
};

struct heap_entry {
    int64_t deadline_ns;
    uint64_t sequence;
    struct heap_node *node;
};

struct heap {
    struct heap_entry *entries;
    size_t count;
    size_t capacity;
    uint64_t next_sequence;
};

void heap_init(struct heap *heap);

/* Frees the memory; the nodes are the caller's. */
void heap_release(struct heap *heap);

/* Queues `node`.  Needs: it is in no heap.  Returns 0 or -ENOMEM. */
int heap_insert(struct heap *heap, struct heap_node *node, int64_t deadline_ns);

/* Takes `node` out.  Needs: it is in this heap. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* Puts `other` in the place of `node`.  Needs: `node` is in this heap, `other` in none. */
void heap_replace(struct heap *heap, struct heap_node *node, struct heap_node *other);

/* Asserts the invariants; debug builds only. */
void heap_check(const struct heap *heap);

static inline void
heap_node_init(struct heap_node *node)
{
    node->index = HEAP_NOT_QUEUED;
}

static inline bool
heap_node_queued(const struct heap_node *node)
{
    return node->index != HEAP_NOT_QUEUED;
}

/* The entry that is due first, or NULL. */
static inline const struct heap_entry *
heap_first(const struct heap *heap)
{
    return heap->count ? &heap->entries[0] : NULL;
}

#endif
