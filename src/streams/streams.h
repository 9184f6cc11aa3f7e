/* What open_connection() and start_server() give to programs: StreamReader, StreamWriter and the protocol between them and the
   transport.  Layer: streams.

   The shape is that of the primitives (sync/primitive.h): each is a C type that comes before asyncio's own class in a class of
   the package,

       class StreamReader(_core.StreamReader, asyncio.streams.StreamReader): ...

   with the state under asyncio's attributes (`_buffer`, `_eof`, `_waiter`, `_paused`, ...), and what runs for each read and
   each write.  What runs once for each connection, and all that is odd (a method that a subclass has overridden, a loop that is
   not ours, debug mode, wrong arguments), is asyncio's method, of the Python at hand, on the same attributes.

   The way of the data:

       StreamTransport ── data_received() ──> StreamReaderProtocol ── stream_reader_feed() ──> struct byte_queue
                                                                                                     │
       the task that waits  <── its coroutine: read(), readline(), readuntil(), readexactly() <──────┘

   A chunk that the transport has made stays the object that it is until somebody reads (byte_queue.h).  A read of what is there
   returns without suspending; one that has to wait puts a native Future into `_waiter`, in the order and for the time in which
   asyncio's future would be there. */
#ifndef AC_STREAMS_STREAMS_H
#define AC_STREAMS_STREAMS_H

#include "py/compat.h"

/* Each adds its types to the state and the module.  Return 0 or -1. */
int stream_reader_register(PyObject *module);
int stream_protocol_register(PyObject *module);
int stream_writer_register(PyObject *module);

#endif
