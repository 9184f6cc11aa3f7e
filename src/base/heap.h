/* A heap of deadlines, for timers.  Layer: base.

   Four children a node: half the depth of a binary heap, and the four lie in one or two cache lines, because the keys are kept
   in the array itself.  Ties go by order of insertion, which is counted in 32 bits: when these are used up, once in four thousand
   million insertions, those that are queued are numbered anew.

   A node embeds `struct heap_node` and can be taken out in O(log n), which leaves no dead entry.  For that its place in the array
   must be known, which changes with each insertion and removal.  It is not kept in the node: with many timers the nodes lie
   all over the memory, and each step of sifting would wait for another one.  A node has a number instead, as long as it is
   queued, and the places are an array by these numbers, small and dense.
   Invariants: entries[i] is not after any of entries[4i+1 .. 4i+4]; places[entries[i].number] == i; the numbers below `numbered`
   that nobody has are linked through places, from first_free on. */
#ifndef AC_BASE_HEAP_H
#define AC_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NOT_QUEUED UINT32_MAX

struct heap_node {
    uint32_t number; /* HEAP_NOT_QUEUED while it is in no heap */
};

struct heap_entry {
    int64_t deadline_ns;
    uint32_t sequence; /* of insertion */
    uint32_t number;
};

struct heap {
    struct heap_entry *entries;
    uint32_t *places;         /* by number: where its entry is */
    struct heap_node **nodes; /* by number: whose it is */
    size_t count;
    size_t capacity;
    uint32_t numbered;   /* so many numbers have been given out */
    uint32_t first_free; /* HEAP_NOT_QUEUED: none of them is free */
    uint32_t next_sequence;
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

/* Puts the entries in order, first the one that is due first: a sorted array is a heap as well. */
void heap_sort(struct heap *heap);

/* Asserts the invariants; stress builds only. */
void heap_check(const struct heap *heap);

static inline void
heap_node_init(struct heap_node *node)
{
    node->number = HEAP_NOT_QUEUED;
}

static inline bool
heap_node_queued(const struct heap_node *node)
{
    return node->number != HEAP_NOT_QUEUED;
}

/* The entry that is due first, or NULL. */
static inline const struct heap_entry *
heap_first(const struct heap *heap)
{
    return heap->count ? &heap->entries[0] : NULL;
}

/* Whose entry it is. */
static inline struct heap_node *
heap_node_of(const struct heap *heap, const struct heap_entry *entry)
{
    return heap->nodes[entry->number];
}

/* The entry of a node that is in this heap. */
static inline const struct heap_entry *
heap_entry_of(const struct heap *heap, const struct heap_node *node)
{
    return &heap->entries[heap->places[node->number]];
}

#endif
