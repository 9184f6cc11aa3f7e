/* Future: a result to come, and who waits for it.  Layer: core. */
#ifndef AC_CORE_FUTURE_H
#define AC_CORE_FUTURE_H

#include "core/loop.h"

enum future_state {
    FUTURE_PENDING,
    FUTURE_CANCELLED,
    FUTURE_FINISHED,
};

/* Who is told when the future is done: a Python callable with its context, or a runnable of ours. */
struct future_entry {
    PyObject *callback; /* owned; NULL: it is native */
    union {
        PyObject *context;       /* owned */
        struct runnable *native; /* its owner is owned */
    };
};

/* Those who asked after the first one, in order. */
struct future_rest {
    unsigned count;
    unsigned size;
    struct future_entry entries[];
};

/* What few futures have, out of the way of the many: 100,000 of them may be pending. */
struct future_rare {
    PyObject *exception_traceback; /* owned; as it was when the exception was set */
    PyObject *source_traceback;    /* owned; debug mode */
    PyObject *cancel_message;      /* owned */
    PyObject *cancelled_error;     /* owned; the CancelledError that ended a task, once */
    PyObject *awaited_by;          /* owned; who said so: NULL, one, or a set of them */
};

/* Without a GIL: how far the first __init__() has come, once it is known which loop it is for.  0: there was none; FUTURE_HAS_LOOP; else
   compat_thread() of who is in it. */
#if AC_FREE_THREADED
#define FUTURE_HAS_LOOP ((uintptr_t)1)
#define FUTURE_BEGUN uintptr_t begun;
#else
#define FUTURE_BEGUN
#endif

#define FUTURE_HEAD                                                      \
    PyObject_HEAD                                                        \
    struct state *state;                                                 \
    PyObject *dict;                                                      \
    PyObject *weakreflist;                                               \
    PyObject *loop;    /* owned; NULL: __init__ was not called */        \
    Loop *native_loop; /* borrowed: `loop`, if it is a native one */     \
    PyObject *result;  /* owned; set if finished without an exception */ \
    PyObject *exception;                                                 \
    struct future_rare *rare;  /* owned; NULL: it has none of that */    \
    struct future_entry first; /* who asked first */                     \
    struct future_rest *rest;  /* owned; NULL: nobody else */            \
    unsigned char future_state;                                          \
    bool has_first;                                                      \
    bool blocking;                                                       \
    bool log_traceback;                                                  \
    FUTURE_BEGUN

typedef struct {
    FUTURE_HEAD
} Future;

/* First in each method.  By which loop's section it is guarded is read without that: what sets it is the first __init__(), before
   anybody else calls a method (but for __init__(): future_begins()), and a second one, for which asyncio has no lock either, and from
   3.15 on refuses it.  The garbage collector clears only what nobody can find any more: a task has left the list of tasks by then. */
#define FUTURE_GUARD(self) GUARD((self)->native_loop, self)

/* A pending Future of `loop`.  New reference. */
Future *future_new(struct state *state, PyObject *loop);

/* For who waits again and again, one future at a time: one that is done and that nobody else has is kept for the next time.
   *spare: owned or NULL. */
void future_keep_spare_steal(PyObject **spare, Future *future);
/* As future_new(), of what was kept if that is as good as new: nobody has got hold of it since.  The state of its loop is asked for
   anew, as when a future is made. */
Future *future_new_of_spare(struct state *state, PyObject *loop, PyObject **spare);

/* For types that begin with FUTURE_HEAD: sets the fields of a zeroed object.  Returns 0 or -1. */
int future_init(Future *self, struct state *state, PyObject *loop);
/* Whether this __init__() is the first, which has to call future_init() then.  If it is not, another thread may be in the first one: that
   is waited for, until FUTURE_GUARD() finds by which loop's section the future is guarded. */
#if AC_FREE_THREADED
bool future_begins(Future *self);
#else
#define future_begins(self) ((self)->loop == NULL)
#endif
int future_traverse(Future *self, visitproc visit, void *arg);
void future_clear(Future *self);
/* The same for a second __init__: what others have set in __dict__ stays. */
void future_reset(Future *self);

/* A field of struct future_rare, or NULL.  Borrowed. */
#define FUTURE_RARE(self, field) ((self)->rare != NULL ? (self)->rare->field : NULL)
/* Where these fields can be set.  NULL with MemoryError set. */
struct future_rare *future_rare(Future *self);

/* True for objects whose type is exactly one of ours, so that no subclass can have overridden anything. */
static inline bool
future_is_exact(struct state *state, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    return type == state->Future_type || type == state->Task_type || type == state->GatheringFuture_type;
}

/* True for ours and their subclasses. */
static inline bool
future_check(struct state *state, PyObject *object)
{
    return future_is_exact(state, object) || PyObject_TypeCheck(object, state->Future_type);
}

/* These return 0, or -1 with InvalidStateError (or what a closed loop raises) set.  They queue the entries; nothing is
   called before the next turn, except by loops that are not native. */
int future_set_result(Future *self, PyObject *result);
int future_set_exception(Future *self, PyObject *exception);

/* Where the code that would have finished a future has failed: ends it with the exception that is set if that is a
   MemoryError, for otherwise it would wait for ever.  Any other exception stays.  Returns 0 or -1. */
int future_without_memory(Future *self);
/* What cancel() was told; NULL: nothing.  Returns 0 or -1. */
int future_set_cancel_message(Future *self, PyObject *message);
/* Returns 1, 0 if it was done already, or -1.  `message` may be NULL. */
int future_cancel(Future *self, PyObject *message);

/* The result, or NULL with the future's exception, CancelledError or InvalidStateError set.  Marks it as retrieved. */
PyObject *future_get_result(Future *self);

/* The exception that awaiting a done future raises: a new reference, NULL without an exception set where it has a result,
   or NULL with one set on failure.  Marks it as retrieved. */
PyObject *future_take_exception(Future *self);

/* A CancelledError with the cancel message.  New reference. */
PyObject *future_make_cancelled_error(Future *self);

/* Has `runnable` queued when the future is done; now, if it is.  Holds its owner.  Returns 0 or -1. */
int future_add_native(Future *self, struct runnable *runnable);
/* Takes it back, if it has not been queued. */
void future_remove_native(Future *self, struct runnable *runnable);

int future_add_callback(Future *self, PyObject *callback, PyObject *context);

/* future.get_loop() of any future, or its _loop.  New reference. */
PyObject *future_get_loop(struct state *state, PyObject *future);

/* The loop a future or task without loop= belongs to: asyncio.get_event_loop().  New reference. */
PyObject *future_default_loop(struct state *state);

/* Calls the loop's exception handler with {message, [source_traceback], name: self, [exception]}. For finalizers: errors
   are reported, not raised. */
void future_call_exception_handler(Future *self, PyObject *message, const char *name, PyObject *exception);

/* The type slots that Task and GatheringFuture build on. */
void Future_finalize(Future *self);

/* The last steps of a tp_dealloc, after the finalizer: everything but freeing. */
void future_dealloc_fields(Future *self);

/* The iterator that awaiting returns: future_iter.c. */
PyObject *Future_await(Future *self);
int future_iter_register(PyObject *module);

/* A frozenset of the tasks and futures that wait for it, or None: awaited_by.c.  New reference.  Runs Python. */
PyObject *awaited_by_get(Future *self);
/* Notes that `waiter` waits for it by other means than awaiting it, or does no more.  Return 0 or -1.  Run Python. */
int awaited_by_add(Future *self, PyObject *waiter);
int awaited_by_discard(Future *self, PyObject *waiter);
int awaited_by_register(PyObject *module);

int future_register(PyObject *module);

#endif
