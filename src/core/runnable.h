/* What the ready queue holds: anything that the loop can run once.  Layer: core.

   Handles, tasks, and the slots of gather and wait embed a `struct runnable` and push a pointer to it, so that the loop
   needs to know none of them.  Each place that keeps a runnable for later (ready queue, timer heap, a future's entries)
   owns one reference to its `owner`. */
#ifndef AC_CORE_RUNNABLE_H
#define AC_CORE_RUNNABLE_H

#include "base/macros.h"
#include "py/compat.h"

typedef struct Loop Loop;
struct runnable;

struct runnable_ops {
    /* Runs it.  Returns 0, or -1 with an exception set, which the loop reports.  Runs Python.  The caller holds the
       owner. */
    int (*run)(struct runnable *runnable, Loop *loop);

    /* A handle that stands for it, where Python asks to see one: error reports, loop._ready.  New reference. */
    PyObject *(*as_handle)(struct runnable *runnable, Loop *loop);

    /* For what waits in a future's entries: the callable and the context that say the same to a loop which is not ours
       to shortcut.  NULL with an exception set. */
    PyObject *(*as_callback)(struct runnable *runnable);
    PyObject *(*context_borrow)(struct runnable *runnable);

    /* The task or future that waits by it, for the call graph; NULL: none. */
    PyObject *(*awaiter_borrow)(struct runnable *runnable);
};

struct runnable {
    const struct runnable_ops *ops;
    PyObject *owner; /* borrowed: the object that embeds this */
};

/* Handles may be unknown to the garbage collector while they are queued in a loop that runs (handle.c says why).  When they
   leave the queue, and somebody else holds them, they become known. */
static inline void
runnable_leaves_queue(PyObject *owner)
{
    if (AC_UNLIKELY(Py_REFCNT(owner) > 1) && !PyObject_GC_IsTracked(owner)) {
        PyObject_GC_Track(owner);
    }
}

#endif
