/* Coroutine functions written in C.  Layer: flow. */
#ifndef AC_FLOW_COROUTINE_FUNCTION_H
#define AC_FLOW_COROUTINE_FUNCTION_H

#include "py/state.h"

/* Adds to the module what `call` does under the name and with the signature of `original`, asyncio's own function; `call` is
   given the function first.  Returns 0 or -1. */
int coroutine_function_add(PyObject *module, PyObject *original, vectorcallfunc call, const char *doc);

/* For `call`. */
struct state *coroutine_function_state(PyObject *function);

#endif
