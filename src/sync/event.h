/* Event, as far as Queue needs it.  Layer: sync. */
#ifndef AC_SYNC_EVENT_H
#define AC_SYNC_EVENT_H

#include "sync/primitive.h"

typedef struct {
    PRIMITIVE_HEAD
    struct lazy_deque waiters; /* of futures */
    bool value;
} Event;

/* asyncio_c.Event(), set.  New reference. */
PyObject *event_new_set(struct state *state);

/* event.wait() of anything that was given for an event: a coroutine.  New reference.  Runs Python. */
PyObject *event_wait(struct state *state, PyObject *event);

/* event.set() and event.clear() of anything that was given for an event.  0 or -1.  Run Python. */
int event_set(struct state *state, PyObject *event);
int event_clear(struct state *state, PyObject *event);

#endif
