/* Accepting connections as socket objects.  Layer: net. */
#ifndef AC_NET_ACCEPT_H
#define AC_NET_ACCEPT_H

#include "py/state.h"

#include <stdbool.h>

/* A listening socket, and what the sockets of its connections have from it. */
struct listening {
    struct state *state;
    PyObject *sock; /* borrowed: kept alive by the caller */
    PyObject *kind; /* owned or NULL: (family, type, proto) as numbers */
    int fd;
    bool by_object; /* only the socket object can do it: sock.accept() */
};

/* The number that the socket object calls its "family", "type" or "proto".  -1 with an exception set.  Needs: a plain
   socket. */
int socket_number(struct state *state, PyObject *sock, PyObject *name);

/* Whether its methods return at once.  1, 0 or -1.  Needs: as above. */
int socket_does_not_block(PyObject *sock);

/* Looks at a listening socket; clear afterwards, in any case.  Returns 0 or -1.  Runs Python. */
int listening_init(struct listening *self, struct state *state, PyObject *sock);
void listening_clear(struct listening *self);

/* To be called before accepting again where Python code may have closed the socket meanwhile.  Returns 0 or -1. */
int listening_look_again(struct listening *self);

/* Accepts one connection: as sock.accept() and connection.setblocking(False) do.  Returns 1 with a new *connection and
   *address, 0 if none waits, or -1 with an exception.  Runs Python. */
int listening_accept(struct listening *self, PyObject **connection, PyObject **address);

#endif
