/* loop._ready and loop._scheduled.  Layer: core. */
#ifndef AC_CORE_QUEUE_VIEW_H
#define AC_CORE_QUEUE_VIEW_H

#include "core/loop.h"

int queue_view_register(PyObject *module);

#endif
