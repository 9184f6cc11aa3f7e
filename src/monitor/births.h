/* How old tasks are, for Python.  Layer: monitor. */
#ifndef AC_MONITOR_BIRTHS_H
#define AC_MONITOR_BIRTHS_H

#include "py/compat.h"

/* Adds to the module what asyncio_c/monitor asks for.  Returns 0 or -1. */
int births_register(PyObject *module);

#endif
