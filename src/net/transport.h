/* What transports of all kinds have in common.  Layer: net. */
#ifndef AC_NET_TRANSPORT_H
#define AC_NET_TRANSPORT_H

#include "core/loop.h"

/* An attribute that is neither unset nor None. */
static inline bool
transport_is_set(PyObject *attribute)
{
    return attribute != NULL && attribute != Py_None;
}

/* The transport's loop, which is its attribute `loop`, or NULL with an exception if it has ended or was never opened.
   Borrowed. */
Loop *transport_loop_borrow(struct state *state, PyObject *loop);

/* loop.call_soon(self.<method_name>, argument, context=context), without the argument or the context where that is NULL, and
   without the context where it is None.  Returns 0 or -1.  Runs Python. */
int transport_call_soon(struct state *state, PyObject *self, PyObject *loop, PyObject *method_name, PyObject *argument,
                        PyObject *context);

/* self._fatal_error(exception, message), as if in an except block: the exception that is set is being handled.  What has to
   leave the loop does.  Returns 0 or -1.  Runs Python. */
int transport_fatal_error(PyObject *self, const char *message);

/* ImportError if asyncio's `base` does not have the size that our structures leave for it.  Returns 0 or -1. */
int transport_check_base(PyTypeObject *base, size_t size);

#endif
