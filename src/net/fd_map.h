/* FdMap: what belongs to a descriptor, held weakly.  Layer: net. */
#ifndef AC_NET_FD_MAP_H
#define AC_NET_FD_MAP_H

#include "core/loop.h"

typedef struct {
    PyObject_HEAD
    PyObject **weakrefs; /* owned, or NULL; by descriptor */
    Py_ssize_t size;
    PyObject *others; /* owned, or NULL: a WeakValueDictionary of what has another key */
} FdMap;

/* self[fd] = value.  Returns 0 or -1. */
int fd_map_set(FdMap *self, long fd, PyObject *value);

/* self.get(fd): a new reference, or NULL without an exception. */
PyObject *fd_map_get(FdMap *self, long fd);

#endif
