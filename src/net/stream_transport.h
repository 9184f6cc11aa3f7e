/* StreamTransport's structure, and what its two files have of each other.  Layer: net.

   stream_transport.c reads and writes; stream_lifecycle.c opens and ends. */
#ifndef AC_NET_STREAM_TRANSPORT_H
#define AC_NET_STREAM_TRANSPORT_H

#include "net/chunks.h"
#include "net/transport.h"
#include "py/context.h"

enum { STREAM_BASE_SLOTS = 5 }; /* of asyncio.transports._FlowControlMixin; ours have their names and hide them */

typedef struct {
    PyObject_HEAD
    PyObject *base_slots[STREAM_BASE_SLOTS]; /* always NULL */
    struct state *state;
    struct chunks chunks;
    struct deferred deferred;          /* the flush at the end of the callback */
    struct lazy_context write_context; /* of the write() that the flush is for */
    PyObject *loop;                    /* owned, as are all; None after the end */
    PyObject *sock;
    PyObject *protocol;
    PyObject *server;
    PyObject *extra; /* the dictionary of get_extra_info(); NULL until somebody asks, then made of `info` */
    struct {
        PyObject *sock;
        PyObject *sockname;
        PyObject *peername;
    } info;
    PyObject *empty_waiter;
    PyObject *context; /* 3.15: of all callbacks */
    Py_ssize_t high_water;
    Py_ssize_t low_water;
    int fd;
    int conn_lost; /* not 0: connection_lost() is on its way; counts the writes after that */
    bool closing;
    bool paused;
    bool eof;
    bool protocol_connected;
    bool protocol_paused;
    bool protocol_buffered; /* it is a BufferedProtocol */
    bool waiting;
    bool touched; /* a method that writers call was set on the instance */
    LOOP_HOME
} StreamTransport;

/* A transport of the connected socket `sock`, as loop._make_socket_transport() makes it; connection_made() is called soon.
   What is NULL there is nothing of: a waiter, an extra dictionary, a server, a context.  `peername` is what get_extra_info()
   shall say, or NULL: ask the socket.  New reference, or NULL with an exception.  Runs Python. */
PyObject *stream_transport_new(Loop *loop, PyObject *sock, PyObject *protocol, PyObject *waiter, PyObject *extra,
                               PyObject *peername, PyObject *server, PyObject *context);

/* For who writes without calling a method of Python's, stream_transport_write(): whether `object` is one of the very class
   asyncio_c.transports.StreamTransport, of which neither the class nor the instance has another write() or is_closing(). */
bool stream_transport_decide_plain(struct state *state, PyObject *object);
static inline bool
stream_transport_is_plain(struct state *state, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    unsigned version = compat_type_version(type);
    return (PyObject *)type == COMPAT_LOAD(state->stream_transport_class) && !((StreamTransport *)object)->touched
           && (AC_LIKELY(version != 0 && version == COMPAT_LOAD(state->stream_transport_version))
               || stream_transport_decide_plain(state, object));
}

/* transport.write(data).  Returns 0 or -1.  Runs Python. */
int stream_transport_write(StreamTransport *self, PyObject *data);

/* What write() does with data that has the memory of somebody else: sends it at once, unless something waits, and copies what
   the kernel does not take before Python runs.  `context` is that of the write that this is for, and is taken if it is needed;
   without variables in it, it is the current one.  Returns 0 or -1.  Runs Python. */
int stream_transport_send(StreamTransport *self, const char *data, size_t size, struct lazy_context *context);

/* Whether `object` is one, and of the very class asyncio_c.transports.StreamTransport.  No exception. */
bool stream_transport_is_exact(struct state *state, PyObject *object);

/* Returns 0 or -1.  Runs Python. */
int stream_transport_set_protocol(StreamTransport *self, PyObject *protocol);

/* asyncio's own method `name` of this transport.  New reference.  Runs Python. */
PyObject *stream_transport_call_asyncio(StreamTransport *self, const char *name);

/* What stream_lifecycle.c has for the type. */
int StreamTransport_init(StreamTransport *self, PyObject *args, PyObject *kwargs);
void StreamTransport_finalize(StreamTransport *self);
PyObject *StreamTransport_get_extra_info(StreamTransport *self, PyObject *const *args, Py_ssize_t nargs,
                                         PyObject *kwnames);
PyObject *StreamTransport_get_extra(StreamTransport *self, void *closure);
int StreamTransport_set_extra(StreamTransport *self, PyObject *value, void *closure);
PyObject *StreamTransport__read_ready__on_eof(StreamTransport *self, PyObject *ignored);
PyObject *StreamTransport__call_connection_lost(StreamTransport *self, PyObject *exception);

#endif
