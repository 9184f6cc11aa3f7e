/* Condition, as far as Barrier needs it.  Layer: sync. */
#ifndef AC_SYNC_CONDITION_H
#define AC_SYNC_CONDITION_H

#include "sync/lock.h"

typedef struct {
    PRIMITIVE_HEAD
    struct lazy_deque waiters; /* of futures */
    PyObject *lock;            /* owned; `_lock`, whatever that is */
    Lock *plain_lock;          /* owned or NULL; whose are `acquire`, `release` and `locked` of the instance */
    bool lock_known;           /* it is decided what plain_lock is */
} Condition;

/* asyncio_c.Condition().  New reference. */
PyObject *condition_new(struct state *state);

/* `object` as a condition of ours on which nothing is overridden that Barrier calls, or NULL. */
Condition *condition_cast(struct state *state, PyObject *object);

/* The lock under it, if lock.h's functions may do what `acquire` and `release` are; or NULL.  New reference. */
Lock *condition_lock(Condition *self);

/* condition.wait(): a coroutine.  New reference. */
PyObject *condition_wait(Condition *self);

/* condition.notify_all(), its lock being taken.  0 or -1. */
int condition_notify_all(Condition *self);

#endif
