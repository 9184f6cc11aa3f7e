/* Task: drives a coroutine on a loop.  Layer: core. */
#ifndef AC_CORE_TASK_H
#define AC_CORE_TASK_H

#include "core/future.h"
#include "py/context.h"

typedef struct {
    FUTURE_HEAD
    uint32_t born;            /* when it was made, for task_age_ns(); here it takes no room */
    struct runnable runnable; /* the next step */
    struct list_node link;    /* in a list of registry.h until it is done */
#if AC_FREE_THREADED
    struct task_list *listed; /* in which; NULL: none */
#endif
    PyObject *coroutine;         /* owned; NULL: __init__ was not called, or done before it was ever suspended */
    struct lazy_context context; /* owned; every step runs in it */
    PyObject *fut_waiter;        /* owned; what it awaits */
    PyObject *step_exception;    /* owned; the next step throws it */
    PyObject *name;              /* owned; NULL: made of `number` when somebody asks */
    uint64_t number;
    int cancels_requested;
    bool must_cancel;
    bool log_destroy_pending;
} Task;

/* A Task of `loop` for the coroutine, whose first step is queued or, with `eager_start` in a running loop, taken.
   `name` and `context` may be NULL.  New reference, or NULL with TypeError if `coroutine` is none. */
Task *task_new(struct state *state, PyObject *loop, PyObject *coroutine, PyObject *name, PyObject *context,
               bool eager_start);

/* From now on, or no more, new tasks note when they were made: for who looks from outside. */
void task_note_births(struct state *state, bool noted);

/* How long ago it was made, to 10 ms; -1: that was not noted. */
int64_t task_age_ns(Task *self);

/* What Task.cancel() does.  Returns 1, 0 if it was done, or -1. Runs Python. */
int task_cancel(Task *self, PyObject *message);

/* task.cancel(), of any task.  Returns 0 or -1.  Runs Python. */
int task_call_cancel(struct state *state, PyObject *task);

int task_register(PyObject *module);

#endif
