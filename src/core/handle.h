/* Handle and TimerHandle: a callback that waits for its turn.  Layer: core. */
#ifndef AC_CORE_HANDLE_H
#define AC_CORE_HANDLE_H

#include "core/loop.h"
#include "py/context.h"

enum { HANDLE_INLINE_ARGS = 3 };

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct runnable runnable;
    PyObject *weakreflist;
    PyObject *loop;                     /* owned */
    struct lazy_context context;        /* owned */
    PyObject *callback;                 /* owned; NULL: cancelled.  Directly before args: handle_call_unseen() */
    PyObject *args[HANDLE_INLINE_ARGS]; /* owned; the first nargs, unless args_tuple is set */
    PyObject *args_tuple;               /* owned or NULL */
    PyObject *source_traceback;         /* owned or NULL; debug mode */
    PyObject *cancelled_repr;           /* owned or NULL; debug mode */
    int nargs;
    bool cancelled;
    signed char mark; /* a timer's `_scheduled`: 1 is True and -1 False, whatever the heap says; 0 is what that says */
    bool threadsafe;  /* made by call_soon_threadsafe() on 3.14+: cancel() waits while it runs elsewhere */
    unsigned long runner;          /* the thread that runs it, if it is threadsafe; 0: none */
    struct handle_waiter *waiters; /* other threads, until that has ended */
} Handle;

typedef struct {
    Handle handle;
    struct timer timer;
    double when;           /* seconds of loop.time() */
    uint64_t cancelled_in; /* 1 + the turn of the loop in which cancel() took it out of the heap; 0: it did not */
    PyObject *given_when;  /* owned or NULL: what call_at() was given, where that is no float */
} TimerHandle;

static inline bool
handle_check(struct state *state, PyObject *object)
{
    return Py_TYPE(object) == state->Handle_type || Py_TYPE(object) == state->TimerHandle_type;
}

/* A handle for callback(*args) in `context`, NULL for a copy of the current one.  In debug mode it remembers where it
   was made.  New reference, not queued, and not yet known to the garbage collector, which the loop's queues need not and other
   places must see to. */
Handle *handle_new(struct state *state, PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *context);
TimerHandle *timer_handle_new(struct state *state, PyObject *loop, double when, PyObject *callback,
                              PyObject *const *args, Py_ssize_t nargs, PyObject *context);

/* For a runnable's as_handle(): a handle that calls what its as_callback() returns, in the context of its context_borrow(), with this
   argument; None in the place of NULL, which is what a collection leaves.  New reference.  Runs Python. */
PyObject *handle_for_runnable(struct runnable *runnable, Loop *loop, PyObject *argument);

/* When a timer in the heap is due, in seconds of loop.time(): what it was given, or what its deadline comes to. */
double timer_when(Loop *loop, const struct heap_entry *entry);

/* Takes a timer out of the heap by other means than its turn or cancel(): where its owner is a handle, `_scheduled` stays as it is, as
   asyncio's loop, which sets it, is not asked.  Runs Python. */
void timer_take_out(Loop *loop, struct timer *timer);

/* What Handle.cancel() does.  Returns 0 or -1.  Runs Python. */
int handle_cancel(Handle *handle);

int handle_register(PyObject *module);

#endif
