/* What a loop has counted, for Python.  Layer: monitor. */
#ifndef AC_MONITOR_STATS_H
#define AC_MONITOR_STATS_H

#include "py/compat.h"

/* Adds to the module what asyncio_c/monitor/stats.py asks for.  Returns 0 or -1. */
int stats_register(PyObject *module);

#endif
