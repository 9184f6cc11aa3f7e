/* The loop's I/O: what runs for each read, write or accepted connection.  Layer: net. */
#ifndef AC_NET_NET_H
#define AC_NET_NET_H

#include "py/compat.h"

/* Each adds its types to the state and the module.  Return 0 or -1. */
int plain_socket_register(PyObject *module);
int fd_map_register(PyObject *module);
int stream_transport_register(PyObject *module);
int stream_lifecycle_register(PyObject *module);
int listener_register(PyObject *module);
int datagram_transport_register(PyObject *module);
int pipe_transport_register(PyObject *module);
int sock_register(PyObject *module);

#endif
