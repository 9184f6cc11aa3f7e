/* Coroutines written in C: what sleep() and wait() return.  Layer: flow.

   To Python such an object is a coroutine: types.CoroutineType by isinstance(), with send, throw, close and what
   inspect asks for; dropped before it was started, it warns that it was never awaited.  (It can also be iterated, so that
   generator-based coroutines can `yield from` it.)  It has two ways to run: its own body, or another coroutine to which
   everything is passed on (asyncio's own function, where the loop is not to be shortcut).

   A type embeds `struct coroutine` as its first member behind the object's head and names its body in a table. */
#ifndef AC_FLOW_COROUTINE_H
#define AC_FLOW_COROUTINE_H

#include "core/future.h"

enum coroutine_state {
    COROUTINE_CREATED,
    COROUTINE_RUNNING,
    COROUTINE_SUSPENDED,
    COROUTINE_CLOSED,
};

typedef struct Coroutine Coroutine;

struct coroutine_body {
    const char *name;
    const char *qualname; /* NULL: the same */
    /* Runs to the first suspension or to the end.  May set self->delegate instead, and then returns PYGEN_NEXT with
       *result NULL. */
    PySendResult (*start)(Coroutine *self, PyObject **result);
    /* Goes on after the suspension, the future being done.  NULL: it suspends in its delegate only. */
    PySendResult (*resume)(Coroutine *self, PyObject **result);
    /* Or NULL.  What a `try` around the suspension makes of PYGEN_ERROR, an exception being thrown in while it waits for a
       future, or of the end of its delegate.  The exception is set.  May suspend again. */
    PySendResult (*conclude)(Coroutine *self, PySendResult outcome, PyObject **result);
    /* Lets go of everything outside: timers, entries.  Called once, however it ends, unless it never began.  The exception with
       which it ends is not set meanwhile. */
    void (*leave)(Coroutine *self);
};

struct Coroutine {
    PyObject_HEAD
    struct state *state;
    const struct coroutine_body *body;
    PyObject *weakreflist;
    PyObject *delegate; /* owned or NULL: a coroutine that does the work */
    PyObject *awaiting; /* owned or NULL: the future it waits for */
    unsigned char coroutine_state;
};

/* Sets the fields of a zeroed object. */
void coroutine_init(Coroutine *self, struct state *state, const struct coroutine_body *body);
/* The last part of a tp_traverse: asyncio_c/monitor/waits.py takes what is visited last for what the coroutine awaits. */
int coroutine_traverse(Coroutine *self, visitproc visit, void *arg);
void coroutine_clear(Coroutine *self);
/* The first part of a tp_dealloc.  Returns false if the object was resurrected. */
bool coroutine_dealloc_begin(Coroutine *self);

/* Whether the object is one of these, of whatever type. */
bool coroutine_check(PyObject *object);

/* Suspends on `future`: what a body returns then. */
PySendResult coroutine_suspend_on(Coroutine *self, Future *future, PyObject **result);

/* What leave() is of a body that has nothing to let go of. */
void coroutine_leave_nothing(Coroutine *self);

/* The iterator that `await` asks: a delegate, of anything that can be awaited.  NULL where `awaitable` is, or with TypeError.  Runs
   Python. */
PyObject *coroutine_await_steal(PyObject *awaitable);

/* The slots that every such type has. */
PySendResult coroutine_am_send(Coroutine *self, PyObject *value, PyObject **result);
PyObject *coroutine_next(Coroutine *self);
PyObject *coroutine_repr(Coroutine *self);
void coroutine_finalize(Coroutine *self);
extern PyMethodDef coroutine_methods[];
extern PyGetSetDef coroutine_getset[];

extern PyMemberDef coroutine_members[];

#define COROUTINE_SLOTS                                                                                           \
    { Py_tp_finalize, coroutine_finalize }, { Py_tp_repr, coroutine_repr }, { Py_am_await, PyObject_SelfIter },   \
        { Py_tp_iter, PyObject_SelfIter }, { Py_tp_iternext, coroutine_next }, { Py_am_send, coroutine_am_send }, \
        { Py_tp_methods, coroutine_methods }, { Py_tp_getset, coroutine_getset },                                 \
    {                                                                                                             \
        Py_tp_members, coroutine_members                                                                          \
    }

enum {
    COROUTINE_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
        | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

#endif
