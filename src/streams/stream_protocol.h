/* StreamReaderProtocol: between a transport and a StreamReader.  Layer: streams. */
#ifndef AC_STREAMS_STREAM_PROTOCOL_H
#define AC_STREAMS_STREAM_PROTOCOL_H

#include "sync/primitive.h"

typedef struct {
    PRIMITIVE_HEAD
    PyObject *reader_weakref; /* owned: of the reader, or None */
    bool paused;              /* the transport has too much to send */
    bool connection_lost;
} StreamReaderProtocol;

/* `object` as one whose _drain_helper() is ours, that is asyncio's, or NULL. */
StreamReaderProtocol *stream_protocol_cast(struct state *state, PyObject *object);

#endif
