/* Protocols in C that take what has come without a call of Python.  Layer: net.

   A StreamTransport whose protocol is one receives into the loop's scratch memory and hands that over.  There is one such type,
   TLSProtocol, whose structure begins as this. */
#ifndef AC_NET_DIRECT_H
#define AC_NET_DIRECT_H

#include "core/loop.h"

typedef struct {
    PyObject_HEAD
    /* Takes what has come: `data` is the beginning of the loop's scratch memory, and good until Python runs.  Returns 0 or
       -1.  Runs Python. */
    int (*received)(PyObject *self, Loop *loop, char *data, size_t size);
} DirectProtocol;

/* So much is received at a time; the protocol may use the scratch memory behind it. */
enum { DIRECT_READ_SIZE = 112 * 1024 };

/* `protocol` as such, or NULL. */
static inline DirectProtocol *
direct_cast(struct state *state, PyObject *protocol)
{
    return state->TLSProtocol_type != NULL && PyObject_TypeCheck(protocol, state->TLSProtocol_type)
               ? (DirectProtocol *)protocol
               : NULL;
}

#endif
