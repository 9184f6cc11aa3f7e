/* The last so many events.  Layer: base. */
#include "base/event_ring.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_SIZE = 256 };

void
event_ring_init(struct event_ring *ring, size_t limit)
{
    *ring = (struct event_ring){ .limit = limit };
}

void
event_ring_release(struct event_ring *ring)
{
    free(ring->events);
    event_ring_init(ring, ring->limit);
}

static int
grow(struct event_ring *ring)
{
    size_t size = ring->size ? ring->size * 2 : FIRST_SIZE;
    size = size < ring->limit ? size : ring->limit;
    struct event *events = realloc(ring->events, size * sizeof(*events));
    if (events == NULL) {
        return -ENOMEM;
    }
    ring->events = events;
    ring->size = size;
    return 0;
}

int
event_ring_push(struct event_ring *ring, const struct event *event, struct event *dropped)
{
    if (ring->count == ring->size && ring->size < ring->limit) {
        int error = grow(ring);
        if (error < 0) {
            return error;
        }
    }
    if (ring->count < ring->size) {
        ring->events[ring->count++] = *event;
        return 0;
    }
    *dropped = ring->events[ring->first];
    ring->events[ring->first] = *event;
    ring->first = (ring->first + 1) % ring->size;
    ring->dropped++;
    return 1;
}

struct event *
event_ring_at(const struct event_ring *ring, size_t index)
{
    return &ring->events[(ring->first + index) % ring->size];
}
