/* Functions written in C that look like asyncio's in Python.  Layer: flow. */
#ifndef AC_FLOW_COROUTINE_FUNCTION_H
#define AC_FLOW_COROUTINE_FUNCTION_H

#include "py/state.h"

/* Adds to `holder`, the module or a type of it, what `call` does under the name and with the signature of `original`, asyncio's
   own function; `call` is given the function first.  Returns 0 or -1. */
int coroutine_function_add(PyObject *module, PyObject *holder, PyObject *original, vectorcallfunc call,
                           const char *doc);

/* The same for the method of a type that has the name of `original`'s. */
int coroutine_function_add_method(PyObject *module, PyTypeObject *type, PyObject *original, const char *name,
                                  vectorcallfunc call, const char *doc);

/* The same for `count` methods with METH_NOARGS or METH_FASTCALL | METH_KEYWORDS: for those that are not called so often that the
   interpreter's short way for methods in C counts. */
int coroutine_function_add_methods(PyObject *module, PyTypeObject *type, PyObject *original, const PyMethodDef *methods,
                                   size_t count);

/* For `call`. */
struct state *coroutine_function_state(PyObject *function);

int coroutine_function_register(PyObject *module);

#endif
