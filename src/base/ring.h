/* A growing ring buffer of pointers: the ready queue's memory.  Layer: base.

   The capacity is a power of two, so that an index is a mask away; head and tail count up for ever and wrap with the
   width of size_t.  Invariant: tail - head <= capacity. */
#ifndef AC_BASE_RING_H
#define AC_BASE_RING_H

#include "base/macros.h"

#include <stdbool.h>

struct ring {
    void **slots;
    size_t capacity; /* 0 or a power of two */
    size_t head;     /* the next to pop */
    size_t tail;     /* where the next push goes */
};

void ring_init(struct ring *ring);

/* Frees the memory; the entries are the caller's. */
void ring_release(struct ring *ring);

/* Doubles the capacity.  Returns 0 or -ENOMEM, in which case nothing has changed. */
int ring_grow(struct ring *ring);

/* Puts `entry` in front of the one at `index`, which may be ring_count().  Returns 0 or -ENOMEM.  Linear. */
int ring_insert(struct ring *ring, size_t index, void *entry);

/* Takes the entry at `index` out.  Needs: index < ring_count().  Linear. */
void *ring_take(struct ring *ring, size_t index);

static inline size_t
ring_count(const struct ring *ring)
{
    return ring->tail - ring->head;
}

/* Appends `entry`.  Returns 0 or -ENOMEM. */
static inline int
ring_push(struct ring *ring, void *entry)
{
    if (AC_UNLIKELY(ring_count(ring) == ring->capacity)) {
        int error = ring_grow(ring);
        if (error < 0) {
            return error;
        }
    }
    ring->slots[ring->tail++ & (ring->capacity - 1)] = entry;
    return 0;
}

/* Removes and returns the oldest entry.  Needs: not empty. */
static inline void *
ring_pop(struct ring *ring)
{
    return ring->slots[ring->head++ & (ring->capacity - 1)];
}

/* The entry `index` places behind the oldest.  Needs: index < ring_count(). */
static inline void *
ring_peek(const struct ring *ring, size_t index)
{
    return ring->slots[(ring->head + index) & (ring->capacity - 1)];
}

/* Puts another entry in its place.  Needs: index < ring_count(). */
static inline void
ring_replace(struct ring *ring, size_t index, void *entry)
{
    ring->slots[(ring->head + index) & (ring->capacity - 1)] = entry;
}

#endif
