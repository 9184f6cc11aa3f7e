/* wait_for() in its two forms.  Layer: flow. */
#ifndef AC_FLOW_WAIT_FOR_H
#define AC_FLOW_WAIT_FOR_H

#include "flow/coroutine.h"

/* The type of the coroutine on Python 3.11, which shares nothing with that of later ones, and an object of it.  The timeout is a
   plain number or None.  New reference. */
extern PyType_Spec wait_for_311_spec;
PyObject *wait_for_311_new(struct state *state, PyObject *awaitable, PyObject *timeout);

/* Whether it is a float or int above 0, and no subclass of these, that C takes for the same number as Python. */
bool wait_for_is_plain_number(PyObject *timeout);

/* asyncio.wait_for(awaitable, timeout), as it was when this module was imported: a new coroutine for self->delegate.
   What a body's start() returns then. */
PySendResult wait_for_delegate(Coroutine *self, PyObject *awaitable, PyObject *timeout);

/* Has `self` wait for what can be awaited as it is: an exact native future, or a coroutine.  Returns what a body's start()
   returns then; PYGEN_RETURN if it is done. */
PySendResult wait_for_awaitable(Coroutine *self, PyObject *awaitable, PyObject **result);

#endif
