/* What programs use between their awaits: locks, events, conditions, semaphores, barriers, queues, of which
   primitive.h is the manual; and as_completed(), by a queue.  Layer: sync. */
#ifndef AC_SYNC_SYNC_H
#define AC_SYNC_SYNC_H

#include "py/compat.h"

/* Each adds its types to the state and the module.  Return 0 or -1. */
int primitive_coroutine_register(PyObject *module);
int lock_register(PyObject *module);
int event_register(PyObject *module);
int condition_register(PyObject *module);
int barrier_register(PyObject *module);
int semaphore_register(PyObject *module);
int queue_register(PyObject *module);
int as_completed_register(PyObject *module);

#endif
