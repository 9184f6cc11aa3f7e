/* StreamReader: the reading side of a stream.  Layer: streams. */
#ifndef AC_STREAMS_STREAM_READER_H
#define AC_STREAMS_STREAM_READER_H

#include "streams/byte_queue.h"
#include "sync/primitive.h"

typedef struct {
    PRIMITIVE_HEAD
    struct byte_queue buffer;
    PyObject *limit_object; /* owned */
    PyObject *waiter;       /* owned, as are all; None: nobody waits */
    PyObject *exception;
    PyObject *transport;
    PyObject *spare_waiter; /* or NULL; of a wait that is over, for the next one */
    Py_ssize_t limit;       /* limit_object; 0: that is no int of C's size above 0 */
    bool eof;
    bool paused;
} StreamReader;

/* Whether it is one, or of a class derived from it. */
static inline bool
stream_reader_check(struct state *state, PyObject *object)
{
    return state_type_check(object, state->StreamReader_type);
}

/* reader.feed_data(data) of any kind of reader.  Returns 0 or -1.  Runs Python. */
int stream_reader_feed(struct state *state, PyObject *reader, PyObject *data);

/* The exception that reader.exception() would return, borrowed, where that is known without calling it; else NULL. */
PyObject *stream_reader_exception_borrow(struct state *state, PyObject *reader);

#endif
