/* The cold half of the ring: growing, and what does not happen at its ends.  Layer: base. */
#include "base/ring.h"

#include <errno.h>
#include <stdlib.h>

enum { RING_FIRST_CAPACITY = AC_STRESS_OR(1, 8) };

void
ring_init(struct ring *ring)
{
    *ring = (struct ring){ 0 };
}

void
ring_release(struct ring *ring)
{
    free(ring->slots);
    ring_init(ring);
}

int
ring_grow(struct ring *ring)
{
    size_t count = ring_count(ring), old = ring->capacity;
    size_t capacity = old ? old * 2 : RING_FIRST_CAPACITY;
    void **slots = realloc(ring->slots, capacity * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    /* An index of one bit more: an entry stays where it is, or goes to the same place of the new half. */
    for (size_t i = 0; i < count; i++) {
        size_t index = ring->head + i;
        slots[index & (capacity - 1)] = slots[index & (old - 1)];
    }
    ring->slots = slots;
    ring->capacity = capacity;
    return 0;
}

/* Both move what lies on the nearer side. */

int
ring_insert(struct ring *ring, size_t index, void *entry)
{
    size_t count = ring_count(ring);
    if (count == ring->capacity) {
        int error = ring_grow(ring);
        if (error < 0) {
            return error;
        }
    }
    if (index < count / 2) {
        ring->head--;
        for (size_t i = 0; i < index; i++) {
            ring_replace(ring, i, ring_peek(ring, i + 1));
        }
    }
    else {
        ring->tail++;
        for (size_t i = count; i > index; i--) {
            ring_replace(ring, i, ring_peek(ring, i - 1));
        }
    }
    ring_replace(ring, index, entry);
    return 0;
}

void *
ring_take(struct ring *ring, size_t index)
{
    size_t count = ring_count(ring);
    void *entry = ring_peek(ring, index);
    if (index < count / 2) {
        for (size_t i = index; i > 0; i--) {
            ring_replace(ring, i, ring_peek(ring, i - 1));
        }
        ring->head++;
    }
    else {
        for (size_t i = index; i + 1 < count; i++) {
            ring_replace(ring, i, ring_peek(ring, i + 1));
        }
        ring->tail--;
    }
    return entry;
}
