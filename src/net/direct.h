/* Protocols in C that take what has come without a call of Python.  Layer: net.

   A StreamTransport whose protocol is a DirectProtocol receives into the loop's scratch memory and hands that over.  There is one
   such type, TLSProtocol, whose structure begins as this.  A stream's protocol is given the bytes object, as any other, but not by
   a method. */
#ifndef AC_NET_DIRECT_H
#define AC_NET_DIRECT_H

#include "core/loop.h"

typedef struct {
    PyObject_HEAD
    /* Takes what has come: `data` is the beginning of the loop's scratch memory, and good until Python runs.  Returns 0 or
       -1.  Runs Python. */
    int (*received)(PyObject *self, Loop *loop, char *data, size_t size);
} DirectProtocol;

/* protocol.data_received(data), where data is exactly bytes.  A stream's protocol, ours or asyncio's own, gives it to the reader
   without that call, by state->feed_stream: 1: that was done; 0: it is no such protocol, or something in it was replaced; -1 with
   what data_received() would raise.  Returns 0 or -1.  Runs Python. */
static inline int
direct_give(struct state *state, PyObject *protocol, PyObject *data)
{
    PyTypeObject *type = Py_TYPE(protocol);
    bool is_stream =
        type->tp_base == state->StreamReaderProtocol_type || (PyObject *)type == state->asyncio_StreamReaderProtocol;
    int fed = is_stream && state->feed_stream != NULL ? state->feed_stream(state, protocol, data) : 0;
    if (fed != 0) {
        return fed > 0 ? 0 : -1;
    }
    PyObject *args[] = { protocol, data };
    PyObject *done = PyObject_VectorcallMethod(state->str_data_received, args, 2, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

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
