/* The engine that drives an ssl.SSLObject by its methods.  Layer: tls.

   Two things are dear there, and both are avoided: a read() that finds no whole record ends in an exception, so records are
   counted as they come (base/tls_record.h); and a read() without a buffer makes a bytes object of the size that is asked
   for, whatever comes.  What is inside of a plain SSLObject is called directly, which saves a frame of Python; an object of
   another class is called as asyncio calls it. */
#include "tls/engine.h"

#include "net/transport.h"

/* The memory as an object, which nobody keeps: that is known of CPython's own types, others get a copy. */
static PyObject *
wrap_memory(bool own, const char *data, size_t size)
{
    return own ? PyMemoryView_FromMemory((char *)data, (Py_ssize_t)size, PyBUF_READ)
               : PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

static PyObject *
target_borrow(struct tls_session *session)
{
    return session->ssl_socket ? session->ssl_socket : session->sslobj;
}

static int
object_feed(struct tls_session *session, const char *data, size_t size, bool Py_UNUSED(lent))
{
    /* Asked again, as somebody may have set `_incoming`. */
    PyObject *incoming = Py_NewRef(transport_or_none(session->incoming));
    PyObject *memory = wrap_memory((PyObject *)Py_TYPE(incoming) == session->state->MemoryBIO, data, size);
    PyObject *args[] = { incoming, memory };
    PyObject *done = memory ? PyObject_VectorcallMethod(session->state->str_write, args, 2, NULL) : NULL;
    Py_DECREF(incoming);
    Py_XDECREF(memory);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    tls_records_scan(&session->records, data, size);
    return 0;
}

static int
nothing_to_keep(struct tls_session *Py_UNUSED(session))
{
    return 0;
}

static Py_ssize_t
pending_of(struct tls_session *session, PyObject *bio)
{
    PyObject *held = Py_NewRef(transport_or_none(bio)), *pending = PyObject_GetAttr(held, session->state->str_pending);
    Py_DECREF(held);
    Py_ssize_t size = pending ? PyNumber_AsSsize_t(pending, PyExc_OverflowError) : -1;
    Py_XDECREF(pending);
    return size;
}

static Py_ssize_t
object_pending_input(struct tls_session *session)
{
    return pending_of(session, session->incoming);
}

static Py_ssize_t
object_pending_output(struct tls_session *session)
{
    return pending_of(session, session->outgoing);
}

/* More than a part of a record has come, or some of one has been read. */
static int
object_may_read(struct tls_session *session)
{
    Py_ssize_t incoming = object_pending_input(session);
    if (incoming < 0 || (size_t)incoming > session->records.partial_bytes || session->records.broken) {
        return incoming < 0 ? -1 : 1;
    }
    PyObject *target = Py_NewRef(target_borrow(session));
    PyObject *pending = PyObject_CallMethodNoArgs(target, session->state->str_pending);
    Py_DECREF(target);
    int result = pending ? PyObject_IsTrue(pending) : -1;
    Py_XDECREF(pending);
    return result;
}

/* What a method has raised: TLS_WANTS where asyncio tries again later. */
static Py_ssize_t
failed(struct tls_session *session)
{
    if (!PyErr_ExceptionMatches(session->state->SSLAgainErrors)) {
        return TLS_FAILED;
    }
    PyErr_Clear();
    return TLS_WANTS;
}

/* read() of an object of some other class, which may give anything. */
static Py_ssize_t
read_copy(struct tls_session *session, char *buffer, size_t size)
{
    PyObject *target = Py_NewRef(target_borrow(session));
    PyObject *wanted = PyLong_FromSize_t(size), *args[] = { target, wanted };
    PyObject *data = wanted ? PyObject_VectorcallMethod(session->state->str_read, args, 2, NULL) : NULL;
    Py_XDECREF(wanted);
    Py_DECREF(target);
    if (data == NULL) {
        return failed(session);
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        Py_DECREF(data);
        return TLS_FAILED;
    }
    Py_ssize_t count = view.len;
    if ((size_t)count <= size) {
        memcpy(buffer, view.buf, (size_t)count);
    }
    else {
        PyErr_SetString(PyExc_ValueError, "read() returned more than it was asked for");
        count = TLS_FAILED;
    }
    PyBuffer_Release(&view);
    Py_DECREF(data);
    return count;
}

static Py_ssize_t
object_read(struct tls_session *session, char *buffer, size_t size)
{
    if (session->ssl_socket == NULL) {
        return read_copy(session, buffer, size);
    }
    size = size < INT_MAX ? size : INT_MAX;
    PyObject *target = Py_NewRef(session->ssl_socket), *wanted = PyLong_FromSize_t(size);
    PyObject *memory = PyMemoryView_FromMemory(buffer, (Py_ssize_t)size, PyBUF_WRITE);
    PyObject *args[] = { target, wanted, memory };
    PyObject *count = wanted && memory ? PyObject_VectorcallMethod(session->state->str_read, args, 3, NULL) : NULL;
    Py_XDECREF(memory);
    Py_XDECREF(wanted);
    Py_DECREF(target);
    if (count == NULL) {
        return failed(session);
    }
    Py_ssize_t result = PyNumber_AsSsize_t(count, PyExc_OverflowError);
    Py_DECREF(count);
    return result < 0 ? TLS_FAILED : result;
}

static Py_ssize_t
object_write(struct tls_session *session, const char *data, size_t size)
{
    PyObject *target = Py_NewRef(target_borrow(session));
    PyObject *memory = wrap_memory(target == session->ssl_socket, data, size), *args[] = { target, memory };
    PyObject *count = memory ? PyObject_VectorcallMethod(session->state->str_write, args, 2, NULL) : NULL;
    Py_XDECREF(memory);
    Py_DECREF(target);
    if (count == NULL) {
        return failed(session);
    }
    Py_ssize_t result = PyNumber_AsSsize_t(count, PyExc_OverflowError);
    Py_DECREF(count);
    if (result < 0 || (size_t)result > size) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "write() returned what it was not given");
        }
        return TLS_FAILED;
    }
    return result;
}

static void
object_lend_output(struct tls_session *Py_UNUSED(session), char *Py_UNUSED(memory), size_t Py_UNUSED(size))
{
}

static int
object_take_output(struct tls_session *session, struct tls_output *output)
{
    PyObject *outgoing = Py_NewRef(transport_or_none(session->outgoing));
    PyObject *data = PyObject_CallMethodNoArgs(outgoing, session->state->str_read);
    Py_DECREF(outgoing);
    char *bytes;
    Py_ssize_t size;
    if (data == NULL || PyBytes_AsStringAndSize(data, &bytes, &size) < 0) {
        Py_XDECREF(data);
        return -1;
    }
    *output = (struct tls_output){ bytes, (size_t)size, NULL, data };
    return 0;
}

static void
object_drop_output(struct tls_session *Py_UNUSED(session))
{
    /* asyncio's connection_lost() empties the MemoryBIO. */
}

const struct tls_engine tls_object_engine = {
    .name = "object",
    .feed = object_feed,
    .keep_rest = nothing_to_keep,
    .read = object_read,
    .write = object_write,
    .lend_output = object_lend_output,
    .keep_output = nothing_to_keep,
    .take_output = object_take_output,
    .drop_output = object_drop_output,
    .pending_input = object_pending_input,
    .pending_output = object_pending_output,
    .may_read = object_may_read,
};
