/* What the methods of primitives return: coroutines that wait in them.  Layer: sync. */
#ifndef AC_SYNC_PRIMITIVE_COROUTINE_H
#define AC_SYNC_PRIMITIVE_COROUTINE_H

#include "flow/coroutine.h"
#include "sync/primitive.h"

typedef struct {
    Coroutine base;
    Primitive *owner;    /* owned: whose method it is */
    PyObject *item;      /* owned or NULL: the method's argument, or what else its body keeps there */
    PyObject *error;     /* owned or NULL: Condition.wait(): how waiting ended */
    PyObject *cancelled; /* owned or NULL: Condition.wait(): a cancellation that came later */
    unsigned char phase; /* of a body that waits for more than one thing, which says what it means */
} PrimitiveCoroutine;

/* `item` may be NULL.  New reference. */
PyObject *primitive_coroutine_new(Primitive *owner, const struct coroutine_body *body, PyObject *item);

/* The body's start() has nothing to do with it: asyncio's method number `method` does it, with the item.  What start() returns
   then. */
PySendResult primitive_delegate(PrimitiveCoroutine *self, int method);

/* Waits for a new future at the end of `waiters`, which the owner embeds.  What start() returns then, where `again` is false: it
   may be asyncio's method number `method` that waits.  And what resume() returns, where `again` is true. */
PySendResult primitive_wait(PrimitiveCoroutine *self, struct lazy_deque *waiters, bool again, int method,
                            PyObject **result);

/* The end of waiting, before anything else: takes the outcome of the future.  0, or -1 with the exception that it raises. */
int primitive_waited(PrimitiveCoroutine *self);

/* waiters.remove(future): 0 or -1. */
int primitive_stop_waiting(PrimitiveCoroutine *self, struct lazy_deque *waiters);

/* `except`: runs `handler` while the exception that is set is being handled, and raises it again, unless handler raises another.
   Returns PYGEN_ERROR. */
PySendResult primitive_handle(PrimitiveCoroutine *self, int (*handler)(PrimitiveCoroutine *self, PyObject *error));

/* A method that is a coroutine function. */
struct primitive_method {
    const struct primitive_kind *kind;
    int method;
    const struct coroutine_body *body;
    Py_ssize_t argument_count; /* behind self; if it is one, the coroutine has it as its item */
};

/* Whether the call is right, and not in debug mode. */
bool primitive_call_is_plain(const struct primitive_method *method, PyObject *function, PyObject *const *args,
                             size_t nargsf, PyObject *kwnames);

/* Has asyncio's method called.  Runs Python. */
PyObject *primitive_call_by_asyncio(const struct primitive_method *method, PyObject *function, PyObject *const *args,
                                    size_t nargsf, PyObject *kwnames);

/* What such a method does, as it is called.  In debug mode, where coroutines know where they were made, and with wrong arguments
   it is asyncio's. */
PyObject *primitive_call(const struct primitive_method *method, PyObject *function, PyObject *const *args,
                         size_t nargsf, PyObject *kwnames);

/* self.release() in `async with`, whatever it is: what start() returns then. */
PySendResult primitive_exit(PrimitiveCoroutine *self, PyObject **result);

#endif
