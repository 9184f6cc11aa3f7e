/* Handles that are not ours, in the ready queue.  Layer: core. */
#ifndef AC_CORE_FOREIGN_HANDLE_H
#define AC_CORE_FOREIGN_HANDLE_H

#include "core/loop.h"

/* What stands in the ready queue for any handle, ours or one of asyncio's own classes: itself, or something made for it.  The
   new reference in *owner keeps it alive.  NULL with TypeError for what is no asyncio.Handle.  Runs Python. */
struct runnable *runnable_of_handle(struct state *state, PyObject *handle, PyObject **owner);

PyObject *Loop__add_callback(Loop *self, PyObject *handle);

int foreign_handle_register(PyObject *module);

#endif
