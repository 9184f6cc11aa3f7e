/* Lock, as far as Condition needs it.  Layer: sync. */
#ifndef AC_SYNC_LOCK_H
#define AC_SYNC_LOCK_H

#include "sync/primitive.h"

typedef struct {
    PRIMITIVE_HEAD
    struct lazy_deque waiters; /* of futures; None before the first waits */
    bool locked;
} Lock;

/* asyncio_c.Lock().  New reference. */
PyObject *lock_new(struct state *state);

/* The native lock whose methods these three are, or NULL.  They may be anything, or NULL. */
Lock *lock_of_methods_borrow(struct state *state, PyObject *acquire, PyObject *release, PyObject *locked);

/* Whether acquiring and releasing it may be done by these functions: it is initialized, and nothing is overridden. */
bool lock_is_plain(Lock *self);

/* Takes it, if that is possible without waiting.  1, 0 or -1.  Runs Python where there are foreign futures. */
int lock_acquire_at_once(Lock *self);

/* lock.acquire(), lock.__aenter__() and lock.__aexit__(): coroutines.  New references. */
PyObject *lock_acquire(Lock *self);
PyObject *lock_enter(Lock *self);
PyObject *lock_exit(Lock *self);

/* What `except CancelledError` does there, and release(): wakes the first who waits, unless it is locked.  0 or -1.  Runs Python. */
int lock_wake_up_first(Lock *self);

/* Needs: locked.  0 or -1. */
int lock_release(Lock *self);

#endif
