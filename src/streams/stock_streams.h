/* asyncio's own stream classes, fed from C.  Layer: streams. */
#ifndef AC_STREAMS_STOCK_STREAMS_H
#define AC_STREAMS_STOCK_STREAMS_H

#include "py/state.h"

/* protocol.data_received(data) of asyncio's very StreamReaderProtocol, where data is exactly bytes: 1, or 0 where nothing was
   done because something is not asyncio's or would have to be told to the transport, or -1.  Runs Python. */
int stock_streams_feed(struct state *state, PyObject *protocol, PyObject *data);

/* Of the module that is being imported.  Returns 0 or -1. */
int stock_streams_register(PyObject *module);

#endif
