/* What __aenter__() and __aexit__() of an `async with` in C return: TaskGroup's and Timeout's.  Layer: flow.

   A type is such a coroutine, or begins with one.  What is odd about a call (keywords, another class, debug mode) goes to asyncio's
   method before there is any coroutine; what is odd about the object, to that method's coroutine as the delegate. */
#ifndef AC_FLOW_BLOCK_COROUTINE_H
#define AC_FLOW_BLOCK_COROUTINE_H

#include "flow/coroutine.h"

typedef struct {
    Coroutine base;
    PyObject *manager;   /* owned: the object after `async with` */
    PyObject *type;      /* owned; NULL: it enters */
    PyObject *error;     /* owned; with which the block was left, or None */
    PyObject *traceback; /* owned */
} BlockCoroutine;

/* Whether the arguments are `count`, of which the first is of that type, and nothing else is to be seen to. */
bool block_is_plain(struct state *state, PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    Py_ssize_t count);

/* Begins a zeroed object, or NULL, which is returned: `args` are those of __aenter__(self), or of __aexit__(self, type, error,
   traceback).  Steals `self`, which comes back tracked. */
PyObject *block_begin_steal(PyObject *self, struct state *state, const struct coroutine_body *body,
                            PyObject *const *args, Py_ssize_t nargs);

/* What a body's start() returns to leave everything to the method `name` of asyncio's class. */
PySendResult block_delegate(BlockCoroutine *self, PyObject *class, PyObject *name);

int block_traverse(BlockCoroutine *self, visitproc visit, void *arg);
int block_clear(BlockCoroutine *self);

#endif
