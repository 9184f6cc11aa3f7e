/* The coroutines behind loop.sock_*(), and what each of them tries.  Layer: net. */
#ifndef AC_NET_SOCK_H
#define AC_NET_SOCK_H

#include "core/reader.h"
#include "flow/coroutine.h"

enum sock_operation {
    SOCK_RECV,
    SOCK_RECV_INTO,
    SOCK_RECVFROM,
    SOCK_RECVFROM_INTO,
    SOCK_SENDALL,
    SOCK_SENDTO,
    SOCK_CONNECT,
    SOCK_ACCEPT,
    SOCK_OPERATIONS,
};

enum { SOCK_MAX_ARGUMENTS = 2 }; /* beside the socket */

typedef struct {
    Coroutine base;
    Loop *loop;                              /* owned */
    PyObject *sock;                          /* owned; exactly a socket.socket */
    PyObject *arguments[SOCK_MAX_ARGUMENTS]; /* owned, or NULL: as they were given */
    PyObject *address;                       /* owned, or NULL: of a connect, once it is on its way */
    Handle *handle;                          /* owned; while it waits */
    Py_buffer view;                          /* of the argument of a sendall; held until the end, as by asyncio */
    Py_ssize_t size;                         /* how much to receive; 0 in a recv_into: all that the buffer takes */
    Py_ssize_t sent;
    int fd;
    enum sock_operation operation;
    bool attempting; /* the reader's callback is at it, which runs Python that may close the coroutine */
} SockCoroutine;

/* Fills in what the operation needs of its arguments.  1; 0: asyncio's coroutine shall see to it; -1 with an exception.  Runs
   Python. */
int sock_take_arguments(SockCoroutine *self);

/* One attempt on descriptor `fd`: 1 with a new *result if it is over, 0 if it would block, -1 with an exception.  Runs
   Python. */
int sock_attempt(SockCoroutine *self, int fd, PyObject **result);

/* The same by the socket's methods, of a wait that began when it was plain. */
int sock_attempt_by_methods(SockCoroutine *self, PyObject **result);

#endif
