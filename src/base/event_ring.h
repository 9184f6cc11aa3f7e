/* The last so many events: a ring that drops the oldest when it is full.  Layer: base.

   The memory grows with the events, up to the limit.  Invariant: count <= size <= limit, and only a full ring of the whole
   limit has its first event elsewhere than at 0. */
#ifndef AC_BASE_EVENT_RING_H
#define AC_BASE_EVENT_RING_H

#include <stddef.h>
#include <stdint.h>

struct event {
    int64_t time_ns;
    uint64_t subject; /* what it happened to */
    void *who, *what; /* the user's, who lets go of them */
    uint32_t source;
    uint16_t kind;
    uint16_t detail;
};

struct event_ring {
    struct event *events;
    size_t size;
    size_t limit;
    size_t first; /* index of the oldest */
    size_t count;
    uint64_t dropped;
};

/* An empty ring of at most `limit` events.  Needs: limit > 0. */
void event_ring_init(struct event_ring *ring, size_t limit);

/* Frees the memory; what the events point to is the caller's. */
void event_ring_release(struct event_ring *ring);

/* Appends a copy.  Returns 0, or 1 with the oldest in *dropped, which has made room, or -ENOMEM. */
int event_ring_push(struct event_ring *ring, const struct event *event, struct event *dropped);

/* The event `index` places behind the oldest.  Needs: index < count. */
struct event *event_ring_at(const struct event_ring *ring, size_t index);

#endif
