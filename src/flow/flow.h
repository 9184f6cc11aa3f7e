/* What is built on the core's headers only: sleep, gather, wait.  Layer: flow. */
#ifndef AC_FLOW_FLOW_H
#define AC_FLOW_FLOW_H

#include "py/compat.h"

/* Whether the object is a coroutine of sleep(), and the delay for which it waits; 0.0: it is not waiting for a timer. */
bool sleep_seconds(PyObject *object, double *seconds);

/* Each adds its types to the state and its function to the module.  Return 0 or -1. */
int sleep_register(PyObject *module);
int gather_register(PyObject *module);
int wait_register(PyObject *module);
int create_task_register(PyObject *module);
int task_group_register(PyObject *module);
int runner_register(PyObject *module);
int timeout_register(PyObject *module);
int wait_for_register(PyObject *module);
int shield_register(PyObject *module);
int to_thread_register(PyObject *module);

#endif
