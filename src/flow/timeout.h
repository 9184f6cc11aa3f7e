/* Timeout: a deadline for what a task does in a block.  Layer: flow. */
#ifndef AC_FLOW_TIMEOUT_H
#define AC_FLOW_TIMEOUT_H

#include "core/task.h"

enum timeout_state {
    TIMEOUT_CREATED,
    TIMEOUT_ENTERED,
    TIMEOUT_EXPIRING,
    TIMEOUT_EXPIRED,
    TIMEOUT_EXITED,
    TIMEOUT_STATES,
};

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *when;       /* owned */
    PyObject *task;       /* owned or NULL */
    PyObject *cancelling; /* owned; what task.cancelling() was; NULL before it is entered */
    PyObject *handler;    /* owned or NULL: the handle, where there has to be one; then it is not armed itself */
    PyObject *stand_in;   /* owned or NULL: the handler that the runnable in the ready queue runs, if it has its turn */
    PyObject *loop;       /* owned; set while armed */
    struct lazy_context context; /* owned; that of whoever has set the deadline */
    struct runnable runnable;    /* what the timer runs */
    struct timer timer;
    unsigned char timeout_state;
    bool armed;    /* the runnable is in the heap of timers, or in the ready queue */
    bool at_once;  /* into the queue at once, because the deadline had passed */
    bool outdated; /* the ready queue holds the runnable for a deadline that is not any more */
    LOOP_HOME      /* of who has entered it, or set the deadline */
} Timeout;

/* First in each function that Python calls, or a coroutine's close(). */
#define TIMEOUT_GUARD(self) LOOP_HOME_GUARD(self)

/* An object of C alone, which Python sees only if it looks at the loop's timers.  New reference. */
Timeout *timeout_new(struct state *state, PyObject *when);

/* loop.time() + delay, or None for None.  `loop` is the running one if its shortcuts may be taken, else NULL.
   New reference.  Runs Python. */
PyObject *timeout_deadline(struct state *state, Loop *loop, PyObject *delay);

/* Enters it in `task`, which runs.  Needs: created.  Returns 0 or -1.  Runs Python. */
int timeout_enter(Timeout *self, Task *task);

/* Sets another deadline.  Needs: entered; `loop` runs and its shortcuts may be taken.  Returns 0 or -1, or 1 where this is to be
   done by asyncio's own method, nothing having been done.  Runs Python. */
int timeout_arm(Timeout *self, Loop *loop, PyObject *when);

/* Leaves it; `type` and `error` are what __aexit__() is given.  Needs: entered, or expiring.  Returns 0, or -1 with what is to be
   raised in place of `error`, TimeoutError.  Runs Python. */
int timeout_exit(Timeout *self, PyObject *type, PyObject *error);

/* Takes the deadline back, whatever the state, where nobody is left to be told. */
void timeout_abandon(Timeout *self);

#endif
