/* Recorder: what loops did, event by event.  Layer: monitor. */
#ifndef AC_MONITOR_RECORDER_H
#define AC_MONITOR_RECORDER_H

#include "py/compat.h"

/* Adds its type to the state and the module.  Returns 0 or -1. */
int recorder_register(PyObject *module);

#endif
