/* The queue of what a transport has still to send.  Layer: net. */
#include "net/chunks.h"

#include <errno.h>

enum { CHUNKS_AT_ONCE = AC_STRESS_OR(2, 64) };

void
chunks_init(struct chunks *chunks)
{
    ring_init(&chunks->ring);
    chunks->offset = chunks->size_bytes = 0;
}

void
chunks_clear(struct chunks *chunks)
{
    chunks->offset = chunks->size_bytes = 0;
    while (!chunks_empty(chunks)) {
        Py_DECREF((PyObject *)ring_pop(&chunks->ring));
    }
    ring_release(&chunks->ring);
}

void
chunks_truncate(struct chunks *chunks, size_t count)
{
    if (count == 0) {
        chunks_clear(chunks);
    }
    while (chunks_count(chunks) > count) {
        PyObject *last = ring_take(&chunks->ring, chunks_count(chunks) - 1);
        chunks->size_bytes -= (size_t)PyBytes_GET_SIZE(last);
        Py_DECREF(last);
    }
}

PyObject *
chunk_new(PyObject *data)
{
    return PyBytes_CheckExact(data) ? Py_NewRef(data) : PyBytes_FromObject(data);
}

int
chunks_append_steal(struct chunks *chunks, PyObject *chunk)
{
    if (chunk == NULL) {
        return -1;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(chunk);
    if (size == 0) {
        Py_DECREF(chunk);
        return 0;
    }
    if (ring_push(&chunks->ring, chunk) < 0) {
        Py_DECREF(chunk);
        PyErr_NoMemory();
        return -1;
    }
    chunks->size_bytes += size;
    return 0;
}

/* Takes `count` bytes that were sent off the queue.  There may be fewer: while `send` was without the GIL, another thread
   may have aborted the transport, though it has no business with it. */
void
chunks_consume(struct chunks *chunks, size_t count)
{
    count = count < chunks->size_bytes ? count : chunks->size_bytes;
    chunks->size_bytes -= count;
    count += chunks->offset;
    while (count > 0) {
        PyObject *chunk = ring_peek(&chunks->ring, 0);
        size_t size = (size_t)PyBytes_GET_SIZE(chunk);
        if (count < size) {
            break;
        }
        count -= size;
        ring_pop(&chunks->ring);
        Py_DECREF(chunk);
    }
    chunks->offset = count;
}

/* Fills in what the first chunks are, and holds them: without the GIL, another thread may abort the transport.  Returns how
   many, and their size. */
static size_t
take_vectors(const struct chunks *chunks, PyObject **held, struct iovec *vectors, size_t *size)
{
    size_t count = ring_count(&chunks->ring);
    count = count < CHUNKS_AT_ONCE ? count : CHUNKS_AT_ONCE;
    *size = 0;
    for (size_t i = 0; i < count; i++) {
        PyObject *chunk = held[i] = Py_NewRef((PyObject *)ring_peek(&chunks->ring, i));
        size_t skipped = i == 0 ? chunks->offset : 0;
        vectors[i].iov_base = PyBytes_AS_STRING(chunk) + skipped;
        vectors[i].iov_len = (size_t)PyBytes_GET_SIZE(chunk) - skipped;
        *size += vectors[i].iov_len;
    }
    return count;
}

/* The same as below for one chunk, which is what most callbacks write. */
static int
send_only_chunk(struct chunks *chunks, int fd, ssize_t (*send)(int fd, struct iovec *vectors, size_t count))
{
    PyObject *chunk = Py_NewRef((PyObject *)ring_peek(&chunks->ring, 0));
    struct iovec vector = { PyBytes_AS_STRING(chunk) + chunks->offset,
                            (size_t)PyBytes_GET_SIZE(chunk) - chunks->offset };
    ssize_t sent = send(fd, &vector, 1);
    int error = errno;
    Py_DECREF(chunk);
    if (AC_UNLIKELY(sent < 0)) {
        return error == EAGAIN || error == EINTR ? 0 : -error;
    }
    chunks_consume(chunks, (size_t)sent);
    return 0;
}

int
chunks_send(struct chunks *chunks, int fd, ssize_t (*send)(int fd, struct iovec *vectors, size_t count))
{
    if (AC_LIKELY(chunks_count(chunks) == 1)) {
        return send_only_chunk(chunks, fd, send);
    }
    for (;;) {
        struct iovec vectors[CHUNKS_AT_ONCE];
        PyObject *held[CHUNKS_AT_ONCE];
        size_t size, count = take_vectors(chunks, held, vectors, &size);
        if (count == 0) {
            return 0;
        }
        ssize_t sent = send(fd, vectors, count);
        int error = errno;
        for (size_t i = 0; i < count; i++) {
            Py_DECREF(held[i]);
        }
        if (sent < 0) {
            return error == EAGAIN || error == EINTR ? 0 : -error;
        }
        chunks_consume(chunks, (size_t)sent);
        if ((size_t)sent < size || chunks_empty(chunks)) {
            return 0;
        }
    }
}

PyObject *
chunks_list(const struct chunks *chunks)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < ring_count(&chunks->ring); i++) {
        PyObject *chunk = ring_peek(&chunks->ring, i);
        Py_ssize_t size = PyBytes_GET_SIZE(chunk), skipped = i == 0 ? (Py_ssize_t)chunks->offset : 0;
        PyObject *rest = skipped == 0 ? Py_NewRef(chunk)
                                      : PyBytes_FromStringAndSize(PyBytes_AS_STRING(chunk) + skipped, size - skipped);
        if (rest == NULL || PyList_Append(list, rest) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(rest);
    }
    return list;
}

/* function(first, data), or function(data) where `first` is NULL: how many bytes it says to have taken; 0 where it would have
   to wait; -1 with an exception. */
static Py_ssize_t
call_function(PyObject *function, PyObject *first, PyObject *data)
{
    PyObject *args[] = { first ? first : data, data };
    PyObject *count = PyObject_Vectorcall(function, args, first ? 2 : 1, NULL);
    if (count == NULL) {
        bool waits = PyErr_ExceptionMatches(PyExc_BlockingIOError) || PyErr_ExceptionMatches(PyExc_InterruptedError);
        if (waits) {
            PyErr_Clear();
        }
        return waits ? 0 : -1;
    }
    Py_ssize_t taken = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    return taken >= 0 || PyErr_Occurred() ? taken : 0;
}

/* All chunks: as a list, or as one bytes object.  New reference. */
static PyObject *
chunks_data(const struct chunks *chunks, bool apart)
{
    PyObject *list = chunks_list(chunks);
    if (list == NULL || apart) {
        return list;
    }
    PyObject *joined;
    if (PyList_GET_SIZE(list) == 1) {
        joined = Py_NewRef(PyList_GET_ITEM(list, 0));
    }
    else {
        PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
        joined = empty ? PyObject_CallMethod(empty, "join", "O", list) : NULL;
        Py_XDECREF(empty);
    }
    Py_DECREF(list);
    return joined;
}

int
chunks_offer(struct chunks *chunks, PyObject *function, PyObject *first, bool apart)
{
    PyObject *data = chunks_data(chunks, apart);
    if (data == NULL) {
        return -1;
    }
    struct chunks offered = *chunks; /* what is appended meanwhile comes behind */
    chunks_init(chunks);
    Py_ssize_t taken = call_function(function, first, data);
    Py_DECREF(data);
    PyObject *exception = taken < 0 ? compat_exception_take() : NULL;
    int result = taken < 0 ? -1 : 0;
    if (taken > 0) {
        chunks_consume(&offered, (size_t)taken);
    }
    while (!chunks_empty(chunks) && result == 0) {
        result = chunks_append_steal(&offered, ring_pop(&chunks->ring));
    }
    chunks_clear(chunks);
    *chunks = offered;
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
    return result;
}
