/* The cold half of the ring: growing.  Layer: base. */
#include "base/ring.h"

#include <errno.h>
#include <stdlib.h>

enum { RING_FIRST_CAPACITY = AC_STRESS_OR(1, 64) };

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
    size_t count = ring_count(ring);
    size_t capacity = ring->capacity ? ring->capacity * 2 : RING_FIRST_CAPACITY;
    void **slots = malloc(capacity * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        slots[i] = ring_peek(ring, i);
    }
    free(ring->slots);
    *ring = (struct ring){ .slots = slots, .capacity = capacity, .head = 0, .tail = count };
    return 0;
}
