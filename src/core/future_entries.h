/* Who waits for a future, as far as the rest of Future needs to know; future.h has what everybody may do.  Layer: core. */
#ifndef AC_CORE_FUTURE_ENTRIES_H
#define AC_CORE_FUTURE_ENTRIES_H

#include "core/future.h"

/* The future is done: everybody who waits gets a place in the queue.  Returns 0 or -1.  Runs Python. */
int future_queue_entries(Future *self);

int future_traverse_entries(Future *self, visitproc visit, void *arg);
void future_drop_entries(Future *self);

/* Removes every entry whose callback equals `callback`; none if a comparison raises.  Returns the number removed or -1.
   Runs Python. */
Py_ssize_t future_remove_callback(Future *self, PyObject *callback);

/* What `_callbacks` answers: a list of (callback, context), or None.  New reference. */
PyObject *future_callbacks_list(Future *self);

#endif
