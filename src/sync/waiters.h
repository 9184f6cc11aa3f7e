/* Who waits: futures in a deque, as asyncio has them under `_waiters`, `_getters` and `_putters`.  Layer: sync.

   The futures are native, but whoever looks may have put others there, which are asked by their methods.  These need what
   lazy_deque.h says, and may run Python. */
#ifndef AC_SYNC_WAITERS_H
#define AC_SYNC_WAITERS_H

#include "core/future.h"
#include "sync/primitive.h"

/* Whether one of them is not cancelled: any(not w.cancelled() for w in waiters or ()).  1, 0 or -1. */
int waiters_any_not_cancelled(struct lazy_deque *waiters, struct state *state);

/* Sets the result of the first, unless it is done: 1, 0 or -1. */
int waiters_wake_first(struct lazy_deque *waiters, struct state *state, PyObject *result);

/* Sets that of the first `limit` of them that are not done.  How many, or -1. */
Py_ssize_t waiters_wake(struct lazy_deque *waiters, struct state *state, Py_ssize_t limit, PyObject *result);

/* Takes waiters out until one has been woken, or none is left.  0 or -1. */
int waiters_wake_next(struct lazy_deque *waiters, struct state *state);

#endif
