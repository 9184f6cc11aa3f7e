/* Which sockets the C code may use by their number.  Layer: net.

   The system calls that asyncio makes by a method of the socket object (sock.recv(), sock.connect(), sock.family, ...) are
   made here directly where nobody can tell: the object is exactly a socket.socket, and the methods of that class are Python's
   own at this moment.  Every other socket, one of a derived class, an imitation, any at all while a tool has replaced a
   method of socket.socket, goes asyncio's own way, by asyncio's code. */
#ifndef AC_NET_PLAIN_SOCKET_H
#define AC_NET_PLAIN_SOCKET_H

#include "core/loop.h"

/* Whether the methods of socket.socket are Python's own.  Runs no Python, and leaves no exception. */
bool plain_socket_look_again(struct state *state);

/* Whether `sock` may be used by its number now.  Cheap: to be asked before each system call. */
static inline bool
socket_is_plain(struct state *state, PyObject *sock)
{
    return (PyObject *)Py_TYPE(sock) == state->socket_type
           && AC_LIKELY(compat_type_version(Py_TYPE(sock)) == COMPAT_LOAD(state->socket_version)
                        || plain_socket_look_again(state));
}

/* Whether socket.socket is still that class, by which accept() makes a connection's object. */
bool socket_class_is_in_place(struct state *state);

/* Whether socket.inet_pton is Python's own, by which asyncio tells addresses from names. */
bool inet_pton_is_in_place(struct state *state);

#endif
