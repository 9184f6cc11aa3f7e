/* Queue, as far as as_completed() needs it.  Layer: sync. */
#ifndef AC_SYNC_QUEUE_H
#define AC_SYNC_QUEUE_H

#include "sync/primitive.h"

/* asyncio_c.Queue().  New reference. */
PyObject *queue_new(struct state *state);

/* These take what queue_new() has made. */

/* queue.put_nowait(item).  0 or -1. */
int queue_put(PyObject *queue, PyObject *item);
/* queue.get_nowait(), or NULL without an exception where it is empty.  New reference. */
PyObject *queue_get_at_once(PyObject *queue);
/* queue.get(): a coroutine.  New reference. */
PyObject *queue_get(PyObject *queue);

#endif
