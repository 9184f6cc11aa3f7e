/* StreamTransport: reading and writing of a connected socket.  Layer: net.

   The Python class asyncio_c.transports.StreamTransport derives from this type first and from asyncio's own socket
   transport second.  Here is what runs for each read and write; stream_lifecycle.c opens and ends; the reports of errors and
   what is rare are asyncio's, of the Python at hand, and work on the attributes that this type has in common with it.

   Reading: the loop has one scratch buffer; a read copies what has come into a bytes object of that size.

   The system calls say themselves that they must not block, as they are made with the GIL: a socket that does not block can
   become one that does, because that belongs to the open file, which other processes may share.

   Writing, compared with asyncio's, which sends at once:

       def write(self, data):
           ...                                   # the same checks
           self._chunks.append(bytes(data))      # by reference if it is bytes
           if self._waiting: self._maybe_pause_protocol()
           elif size <= limit: loop.defer(self._flush)
           else: self._flush()

   So what one callback or task step writes leaves in one sendmsg() when that ends: a head and a body are one packet.  The
   protocol is called as by asyncio, because the limit is at most the high-water mark (it would not have been paused), and
   whatever asks for the size of the buffer, closes or ends the stream flushes first, as do a fork and a nested run.  What
   ends the process in the same callback (os._exit(), execv()) or blocks in it comes before the data.  Outside of a callback
   nothing is deferred.

   Invariants: `waiting` means that the loop watches for writability, and then there are chunks; `deferred` is linked only if
   there are chunks and `waiting` is false. */
#include "net/stream_transport.h"

#include "core/reader.h"
#include "io/calls.h"
#include "net/direct.h"
#include "net/net.h"
#include "net/plain_socket.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    READ_SIZE = LOOP_SCRATCH_SIZE,
    DEFER_LIMIT = 64 * 1024,
    HIGH_WATER = 64 * 1024,
};

static Loop *
loop_borrow(StreamTransport *self)
{
    return transport_loop_borrow(self->state, self->loop);
}

static inline bool
is_plain(StreamTransport *self)
{
    return self->sock != NULL && socket_is_plain(self->state, self->sock);
}

/* Has connection_lost(exception) called soon, and stops reading.  Where memory lacks for that, nothing has happened: what is
   ready to read may try it again, and so may close().  Returns 0 or -1.  Runs Python. */
static int
end_soon(StreamTransport *self, PyObject *exception)
{
    PyObject *loop = Py_NewRef(transport_or_none(self->loop));
    int result = transport_end_soon(self->state, (PyObject *)self, loop, exception, self->context, &self->closing,
                                    &self->conn_lost);
    Loop *ours = loop_cast(self->state, loop);
    if (self->conn_lost && transport_is_set(self->sock) && ours != NULL) {
        PyObject *raised = result < 0 ? compat_exception_take() : NULL;
        int stopped = reader_unwatch(ours, self->fd, READER_READ);
        if (raised == NULL) {
            result = stopped;
        }
        else {
            compat_exception_restore_steal(raised); /* in place of whatever that has raised */
        }
    }
    Py_DECREF(loop);
    return result;
}

static int
fatal_error(StreamTransport *self, const char *message)
{
    return transport_fatal_error((PyObject *)self, message);
}

/* ---- Writing ---- */

static ssize_t
send_vectors(int fd, struct iovec *vectors, size_t count)
{
    struct msghdr message = { .msg_iov = vectors, .msg_iovlen = count };
    return count == 1 ? sys_send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
                      : sys_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* By the socket's methods, as asyncio: from 3.12 on a sendmsg() of what has waited, or of several lines. */
AC_COLD static int
send_chunks_by_methods(StreamTransport *self)
{
    bool apart = AC_PY312 && (self->waiting || chunks_count(&self->chunks) > 1);
    PyObject *send = PyObject_GetAttrString(transport_or_none(self->sock), apart ? "sendmsg" : "send");
    int result = send ? chunks_offer(&self->chunks, send, NULL, apart) : -1;
    Py_XDECREF(send);
    if (self->conn_lost) {
        chunks_clear(&self->chunks); /* lost meanwhile */
    }
    return result;
}

/* Sends as much as there is room for.  Returns 0, or -1 with an exception.  Runs Python where the socket is not plain. */
static inline int
send_chunks(StreamTransport *self, bool plain)
{
    if (AC_UNLIKELY(!plain)) {
        return send_chunks_by_methods(self);
    }
    size_t size = self->chunks.size_bytes;
    int error = chunks_send(&self->chunks, self->fd, send_vectors);
    transport_sent(self->state, self->loop, size, self->chunks.size_bytes);
    return AC_LIKELY(error == 0) ? 0 : raise_errno(error);
}

static int
stop_waiting(StreamTransport *self)
{
    self->waiting = false;
    Loop *loop = loop_borrow(self);
    return loop ? reader_unwatch(loop, self->fd, READER_WRITE) : -1;
}

/* The connection is lost by the exception that is set.  Returns 0 or -1. */
static int
write_failed(StreamTransport *self)
{
    PyObject *exception = compat_exception_take();
    if (self->waiting && stop_waiting(self) < 0) {
        Py_DECREF(exception);
        return -1;
    }
    chunks_clear(&self->chunks);
    compat_exception_restore_steal(Py_NewRef(exception));
    int result = fatal_error(self, "Fatal write error on socket transport");
    if (result == 0 && transport_is_set(self->empty_waiter)) {
        PyObject *waiter = Py_NewRef(self->empty_waiter);
        PyObject *done = PyObject_CallMethod(waiter, "set_exception", "O", exception);
        Py_DECREF(waiter);
        Py_XDECREF(done);
        result = done ? 0 : -1;
    }
    if (result < 0 && !self->conn_lost) {
        /* Memory lacked.  Nothing may follow the gap in what was sent: the reader finds the end of the stream. */
        (void)shutdown(self->fd, SHUT_RDWR);
    }
    Py_DECREF(exception);
    return result;
}

/* Has the protocol paused if there is too much.  Returns 0 or -1. */
static int
maybe_pause_protocol(StreamTransport *self)
{
    if (self->protocol_paused || (Py_ssize_t)self->chunks.size_bytes <= self->high_water) {
        return 0;
    }
    PyObject *result = PyObject_CallMethod((PyObject *)self, "_maybe_pause_protocol", NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int
wait_for_room(StreamTransport *self)
{
    PyObject *ready = PyObject_GetAttr((PyObject *)self, self->state->str__write_ready);
    Loop *loop = ready ? loop_borrow(self) : NULL;
    if (loop == NULL) {
        Py_XDECREF(ready);
        return -1;
    }
    Py_INCREF(loop); /* making the context may collect garbage */
    PyObject *context =
        transport_is_set(self->context) ? self->context : lazy_context_borrow(&self->write_context, self->state);
    int result = context ? reader_watch(loop, self->fd, READER_WRITE, ready, context) : -1;
    self->waiting = result == 0;
    Py_DECREF(loop);
    Py_DECREF(ready);
    return result;
}

/* write_failed() after the callback that wrote has ended, in the context that it had, or else in the loop's. */
AC_COLD static int
write_failed_later(StreamTransport *self)
{
    PyObject *context = transport_enter_context(self->state, &self->write_context);
    int result = write_failed(self);
    transport_leave_context_steal(context, (PyObject *)self);
    return result;
}

/* Sends what was deferred, or waits until it can be sent.  Does nothing where there is nothing to flush.  `later` says that
   the callback that wrote has ended.  Returns 0 or -1.  Runs Python. */
static int
flush_chunks(StreamTransport *self, bool later)
{
    if (self->waiting || chunks_empty(&self->chunks)) {
        return 0;
    }
    int result = 0;
    /* What was put off was written while it was plain. */
    bool plain = later || list_linked(&self->deferred.link) || is_plain(self);
    bool lost = send_chunks(self, plain) < 0;
    if (!lost && !chunks_empty(&self->chunks) && !self->waiting) {
        result = wait_for_room(self) < 0 ? -1 : maybe_pause_protocol(self);
        /* What can neither be sent nor waited for is the end: some of it may have been sent. */
        lost = result < 0 && !self->waiting
               && (PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_MemoryError));
    }
    if (AC_UNLIKELY(lost)) {
        result = later ? write_failed_later(self) : write_failed(self);
    }
    if (loop_undefer(&self->deferred)) {
        Py_DECREF(self);
    }
    lazy_context_clear(&self->write_context);
    return result;
}

static int
flush(StreamTransport *self)
{
    return flush_chunks(self, false);
}

/* What write() would have raised, had it sent at once, has nobody to go to but the exception handler.  Returns 0, or -1 with
   what has to leave the loop. */
AC_COLD static int
report_flush_error(StreamTransport *self, Loop *loop)
{
    if (exception_leaves_loop()) {
        return -1;
    }
    PyObject *exception = compat_exception_take();
    PyObject *result = PyObject_CallMethod((PyObject *)loop, "call_exception_handler", "({sssOsOsO})", "message",
                                           "Exception in a write on socket transport", "exception", exception,
                                           "transport", self, "protocol", self->protocol ? self->protocol : Py_None);
    Py_DECREF(exception);
    Py_XDECREF(result);
    if (result != NULL) {
        return 0;
    }
    if (exception_leaves_loop()) {
        return -1;
    }
    PyErr_WriteUnraisable((PyObject *)loop);
    return 0;
}

static int
run_deferred(struct deferred *deferred, Loop *loop)
{
    StreamTransport *self = AC_CONTAINER_OF(deferred, StreamTransport, deferred);
    return flush_chunks(self, true) < 0 ? report_flush_error(self, loop) : 0;
}

/* After chunks were appended.  Returns 0 or -1. */
static int
chunks_appended(StreamTransport *self)
{
    if (self->waiting) {
        return maybe_pause_protocol(self);
    }
    if (list_linked(&self->deferred.link)) {
        if ((Py_ssize_t)self->chunks.size_bytes <= self->high_water && self->chunks.size_bytes <= DEFER_LIMIT) {
            return 0;
        }
        return flush(self);
    }
    lazy_context_clear(&self->write_context); /* the end of a context's variables may write, too */
    Loop *loop = loop_borrow(self);
    if (loop == NULL || lazy_context_init(&self->write_context, self->state, NULL) < 0) {
        return -1;
    }
    loop_poll_promptly(loop);
    if ((Py_ssize_t)self->chunks.size_bytes <= self->high_water && self->chunks.size_bytes <= DEFER_LIMIT
        && !list_linked(&self->deferred.link) && loop_defer(loop, &self->deferred)) {
        Py_INCREF(self);
        return 0;
    }
    return flush(self);
}

/* The same where the socket is not plain: nothing is put off. */
AC_COLD static int
chunks_appended_by_methods(StreamTransport *self)
{
    if (self->waiting) {
        return maybe_pause_protocol(self);
    }
    transport_acts(self->state, self->loop);
    lazy_context_clear(&self->write_context);
    return lazy_context_init(&self->write_context, self->state, NULL) < 0 ? -1 : flush(self);
}

/* write(chunk) where the socket is not plain any more.  Returns 0 or -1. */
AC_COLD static int
write_by_methods_steal(StreamTransport *self, PyObject *chunk)
{
    int result = flush(self); /* what was put off is not to be sent together with it */
    if (result == 0 && self->conn_lost) {
        result = transport_count_lost_write(self->state, &self->conn_lost, TRANSPORT_SOCKET_WARNING);
    }
    else if (result == 0) {
        return chunks_append_steal(&self->chunks, chunk) < 0 ? -1 : chunks_appended_by_methods(self);
    }
    Py_DECREF(chunk);
    return result;
}

/* What write() and writelines() ask first.  Returns 0 or -1. */
static int
check_writable(StreamTransport *self, const char *method)
{
    if (self->eof) {
        PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()", method);
        return -1;
    }
    if (transport_is_set(self->empty_waiter)) {
        PyErr_Format(PyExc_RuntimeError, "unable to %s; sendfile is in progress", method);
        return -1;
    }
    return 0;
}

/* Queues what the kernel has not taken of what was to be sent at once.  Returns 0 or -1. */
static int
queue_rest(StreamTransport *self, const char *data, size_t size, struct lazy_context *context)
{
    if (chunks_append_steal(&self->chunks, PyBytes_FromStringAndSize(data, (Py_ssize_t)size)) < 0) {
        return -1;
    }
    if (self->waiting || list_linked(&self->deferred.link)) {
        return chunks_appended(self);
    }
    lazy_context_clear(&self->write_context);
    if (context->context != NULL || context->variables != NULL) {
        self->write_context = *context;
        *context = (struct lazy_context){ 0 };
    }
    else if (lazy_context_init(&self->write_context, self->state, NULL) < 0) {
        return -1;
    }
    int result = self->waiting || wait_for_room(self) == 0 ? maybe_pause_protocol(self) : -1;
    lazy_context_clear(&self->write_context);
    return result;
}

int
stream_transport_send(StreamTransport *self, const char *data, size_t size, struct lazy_context *context)
{
    if (check_writable(self, "write") < 0) {
        return -1;
    }
    if (AC_UNLIKELY(self->conn_lost)) {
        return transport_count_lost_write(self->state, &self->conn_lost, TRANSPORT_SOCKET_WARNING);
    }
    if (AC_UNLIKELY(!is_plain(self))) {
        PyObject *chunk = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
        return chunk ? write_by_methods_steal(self, chunk) : -1;
    }
    transport_acts(self->state, self->loop);
    size_t sent = 0;
    if (chunks_empty(&self->chunks)) {
        ssize_t count = sys_send(self->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        transport_sent(self->state, self->loop, size, count > 0 ? size - (size_t)count : size);
        if (AC_LIKELY(count == (ssize_t)size)) {
            return 0;
        }
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            raise_errno(-errno);
            return write_failed(self);
        }
        sent = count > 0 ? (size_t)count : 0;
    }
    return queue_rest(self, data + sent, size - sent, context);
}

/* In the words of asyncio, which has changed them within 3.13. */
AC_COLD static void
refuse_data(StreamTransport *self, PyObject *data)
{
    static const char older[] = "data argument must be a bytes-like object, not ";
    static const char newer[] = "data argument must be a bytes, bytearray, or memoryview object, not ";
    int is_newer = state_code_has(self->state->asyncio_SocketTransport, "write", "co_consts", newer);
    PyObject *name = is_newer < 0 ? NULL : PyType_GetName(Py_TYPE(data));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, "%s%R", is_newer ? newer : older, name);
        Py_DECREF(name);
    }
}

int
stream_transport_write(StreamTransport *self, PyObject *data)
{
    TRANSPORT_GUARD(self);
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        refuse_data(self, data);
        return -1;
    }
    if (check_writable(self, "write") < 0) {
        return -1;
    }
    PyObject *chunk = chunk_new(data);
    if (chunk == NULL || PyBytes_GET_SIZE(chunk) == 0) {
        Py_XDECREF(chunk);
        return chunk ? 0 : -1;
    }
    if (AC_UNLIKELY(!is_plain(self))) {
        return write_by_methods_steal(self, chunk);
    }
    if (AC_UNLIKELY(self->conn_lost)) {
        Py_DECREF(chunk);
        return transport_count_lost_write(self->state, &self->conn_lost, TRANSPORT_SOCKET_WARNING);
    }
    return chunks_append_steal(&self->chunks, chunk) < 0 ? -1 : chunks_appended(self);
}

/* ---- Reading ---- */

/* The end of a read: `count` as of recv().  Returns 1 if there is data, 0 if there was none to have and what had to be done
   about it is done, -1 with an exception.  Runs Python. */
static int
check_read(StreamTransport *self, ssize_t count)
{
    if (AC_LIKELY(count > 0)) {
        return 1;
    }
    if (count == 0) {
        PyObject *result = PyObject_CallMethodNoArgs((PyObject *)self, self->state->str__read_ready__on_eof);
        Py_XDECREF(result);
        return result ? 0 : -1;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    raise_errno(-errno);
    return fatal_error(self, "Fatal read error on socket transport");
}

static int
read_data(StreamTransport *self, PyObject *protocol)
{
    Loop *loop = loop_borrow(self);
    char *scratch = loop ? loop_scratch(loop) : NULL;
    if (scratch == NULL) {
        return -1;
    }
    ssize_t count = sys_recv(self->fd, scratch, READ_SIZE, MSG_DONTWAIT);
    counters_received(&loop->counters, count);
    int result = check_read(self, count);
    if (result <= 0) {
        return result;
    }
    PyObject *data = PyBytes_FromStringAndSize(scratch, count);
    int given = data ? direct_give(self->state, protocol, data) : -1;
    Py_XDECREF(data);
    return AC_LIKELY(given == 0) ? 0 : fatal_error(self, "Fatal error: protocol.data_received() call failed.");
}

/* For a protocol in C that takes the scratch memory itself. */
static int
read_directly(StreamTransport *self, DirectProtocol *protocol)
{
    Loop *loop = loop_borrow(self);
    char *scratch = loop ? loop_scratch(loop) : NULL;
    if (scratch == NULL) {
        return -1;
    }
    ssize_t count = sys_recv(self->fd, scratch, DIRECT_READ_SIZE, MSG_DONTWAIT);
    counters_received(&loop->counters, count);
    int result = check_read(self, count);
    if (result <= 0) {
        return result;
    }
    if (AC_UNLIKELY(protocol->received((PyObject *)protocol, loop, scratch, (size_t)count) < 0)) {
        return fatal_error(self, "Fatal error: protocol.buffer_updated() call failed.");
    }
    return 0;
}

/* The protocol's buffer.  Returns 0 or -1 with the exception that protocol.get_buffer() or the lack of a buffer raised. */
static int
get_buffer(StreamTransport *self, PyObject *protocol, PyObject **buffer)
{
    PyObject *args[] = { protocol, self->state->minus_one };
    *buffer = PyObject_VectorcallMethod(self->state->str_get_buffer, args, 2, NULL);
    Py_ssize_t length = *buffer ? PyObject_Size(*buffer) : -1;
    if (length == 0) {
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
    }
    if (length <= 0) {
        Py_CLEAR(*buffer);
        return -1;
    }
    return 0;
}

static int
read_into_buffer(StreamTransport *self, PyObject *protocol)
{
    PyObject *buffer;
    if (get_buffer(self, protocol, &buffer) < 0) {
        return fatal_error(self, "Fatal error: protocol.get_buffer() call failed.");
    }
    Py_buffer view;
    int result = PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE);
    if (result < 0) {
        PyErr_Format(PyExc_TypeError, "recv_into() argument 1 must be read-write bytes-like object, not %.200s",
                     Py_TYPE(buffer)->tp_name);
        Py_DECREF(buffer);
        return fatal_error(self, "Fatal read error on socket transport");
    }
    Py_DECREF(buffer);
    if (AC_UNLIKELY(!transport_is_set(self->sock))) {
        /* get_buffer() has seen the end of the connection: the number may be another's by now. */
        PyBuffer_Release(&view);
        return 0;
    }
    ssize_t count = sys_recv(self->fd, view.buf, (size_t)view.len, MSG_DONTWAIT);
    int error = errno;
    PyBuffer_Release(&view); /* before anything else: the protocol may want to resize it */
    Loop *loop = self->loop ? loop_cast(self->state, self->loop) : NULL;
    if (loop != NULL) {
        counters_received(&loop->counters, count);
    }
    errno = error;
    result = check_read(self, count);
    if (result <= 0) {
        return result;
    }
    PyObject *size = PyLong_FromSsize_t(count);
    /* get_buffer() may have set another protocol, which is told then, as by asyncio. */
    PyObject *now = Py_NewRef(transport_is_set(self->protocol) ? self->protocol : protocol), *args[] = { now, size };
    PyObject *done = size ? PyObject_VectorcallMethod(self->state->str_buffer_updated, args, 2, NULL) : NULL;
    Py_DECREF(now);
    Py_XDECREF(size);
    if (AC_UNLIKELY(done == NULL)) {
        return fatal_error(self, "Fatal error: protocol.buffer_updated() call failed.");
    }
    Py_DECREF(done);
    return 0;
}

/* ---- Python face ---- */

static PyObject *
StreamTransport__read_ready(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->conn_lost || !transport_is_set(self->sock)) {
        Py_RETURN_NONE;
    }
    if (AC_UNLIKELY(!is_plain(self))) {
        return stream_transport_call_asyncio(self, self->protocol_buffered ? "_read_ready__get_buffer"
                                                                           : "_read_ready__data_received");
    }
    PyObject *protocol = Py_NewRef(self->protocol ? self->protocol : Py_None);
    DirectProtocol *direct = self->protocol_buffered ? direct_cast(self->state, protocol) : NULL;
    int result = direct != NULL            ? read_directly(self, direct)
                 : self->protocol_buffered ? read_into_buffer(self, protocol)
                                           : read_data(self, protocol);
    Py_DECREF(protocol);
    return transport_none_unless(result);
}

static PyObject *
StreamTransport_write(StreamTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *data = args_parse_one("write", "data", args, nargs, kwnames);
    return transport_none_unless(data ? stream_transport_write(self, data) : -1);
}

/* What is to be sent of a line.  New reference. */
static PyObject *
chunk_of_line(PyObject *line)
{
    PyObject *view = PyMemoryView_FromObject(line);
    PyObject *chunk = view ? chunk_new(PyBytes_Check(line) ? line : view) : NULL;
    Py_XDECREF(view);
    return chunk;
}

/* The same of a list or tuple.  By a copy: a line's __buffer__() may change it. */
static PyObject *
chunks_of_sequence(PyObject *sequence)
{
    PyObject *lines = PySequence_Tuple(sequence);
    PyObject *chunks = lines ? PyList_New(PyTuple_GET_SIZE(lines)) : NULL;
    for (Py_ssize_t i = 0; chunks != NULL && i < PyTuple_GET_SIZE(lines); i++) {
        PyObject *chunk = chunk_of_line(PyTuple_GET_ITEM(lines, i));
        if (chunk == NULL) {
            Py_CLEAR(chunks);
            break;
        }
        PyList_SET_ITEM(chunks, i, chunk);
    }
    Py_XDECREF(lines);
    return chunks;
}

/* And of what else has lines, which are asked for one by one: it may say that there are more than memory has room for. */
static PyObject *
chunks_of_iterable(PyObject *iterable)
{
    PyObject *iterator = PyObject_GetIter(iterable), *line;
    PyObject *chunks = iterator ? PyList_New(0) : NULL;
    while (chunks != NULL && (line = PyIter_Next(iterator)) != NULL) {
        PyObject *chunk = chunk_of_line(line);
        if (chunk == NULL || PyList_Append(chunks, chunk) < 0) {
            Py_CLEAR(chunks);
        }
        Py_XDECREF(chunk);
        Py_DECREF(line);
    }
    Py_XDECREF(iterator);
    if (PyErr_Occurred()) {
        Py_CLEAR(chunks);
    }
    return chunks;
}

static PyObject *
chunks_of_lines(PyObject *lines)
{
    bool is_sequence = PyList_CheckExact(lines) || PyTuple_CheckExact(lines);
    return is_sequence ? chunks_of_sequence(lines) : chunks_of_iterable(lines);
}

static PyObject *
StreamTransport_writelines(StreamTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    PyObject *list_of_data = args_parse_one("writelines", "list_of_data", args, nargs, kwnames);
    if (list_of_data == NULL) {
        return NULL;
    }
    if (!AC_PY312) {
        /* As one piece of data, by write() and in its words. */
        PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
        PyObject *data = empty ? PyObject_CallMethod(empty, "join", "(O)", list_of_data) : NULL;
        PyObject *result = data ? PyObject_CallMethod((PyObject *)self, "write", "O", data) : NULL;
        Py_XDECREF(empty);
        Py_XDECREF(data);
        return result;
    }
    if (check_writable(self, "writelines") < 0) {
        return NULL;
    }
    int any = PyObject_IsTrue(list_of_data);
    if (any <= 0) {
        return transport_none_unless(any); /* also None, as by asyncio */
    }
    bool plain = is_plain(self);
    int (*appended)(StreamTransport *self) = plain ? chunks_appended : chunks_appended_by_methods;
    if (AC_UNLIKELY(!plain) && flush(self) < 0) {
        return NULL;
    }
    /* All are taken before the first is queued: one that is no buffer must leave nothing behind. */
    PyObject *chunks = self->conn_lost ? PyList_New(0) : chunks_of_lines(list_of_data);
    if (chunks == NULL) {
        return NULL;
    }
    int result = 0;
    if (AC_UNLIKELY(self->conn_lost)) { /* or one of them has ended it */
        result = transport_count_lost_write(self->state, &self->conn_lost, TRANSPORT_SOCKET_WARNING);
        Py_DECREF(chunks);
        return transport_none_unless(result);
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(chunks) && result == 0; i++) {
        result = chunks_append_steal(&self->chunks, Py_NewRef(PyList_GET_ITEM(chunks, i)));
    }
    Py_DECREF(chunks);
    return transport_none_unless(result == 0 && !chunks_empty(&self->chunks) ? appended(self) : result);
}

static PyObject *
shut_down_writing(StreamTransport *self)
{
    PyObject *sock = Py_NewRef(transport_or_none(self->sock));
    PyObject *result = PyObject_CallMethod(sock, "shutdown", "i", SHUT_WR);
    Py_DECREF(sock);
    return result;
}

static PyObject *
StreamTransport_write_eof(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->closing || self->eof) {
        Py_RETURN_NONE;
    }
    if (flush(self) < 0) {
        return NULL;
    }
    if (self->closing) {
        Py_RETURN_NONE; /* what was written could not be sent, or pause_writing() has closed it */
    }
    self->eof = true;
    transport_acts(self->state, self->loop);
    return chunks_empty(&self->chunks) ? shut_down_writing(self) : Py_NewRef(Py_None);
}

/* Everything has been sent by a transport that is closing.  Returns 0 or -1.  Runs Python. */
static int
end_now(StreamTransport *self)
{
    self->conn_lost++;
    PyObject *lost = PyObject_CallMethod((PyObject *)self, "_call_connection_lost", "O", Py_None);
    if (lost == NULL && PyErr_ExceptionMatches(PyExc_MemoryError) && transport_is_set(self->sock)) {
        /* It could not even be called: again in the next turn, or by the next close(). */
        self->conn_lost--;
        PyObject *exception = compat_exception_take();
        if (wait_for_room(self) < 0) {
            PyErr_Clear();
        }
        compat_exception_restore_steal(exception);
    }
    Py_XDECREF(lost);
    return lost ? 0 : -1;
}

/* The socket has room again. */
static PyObject *
StreamTransport__write_ready(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->conn_lost || !self->waiting) {
        Py_RETURN_NONE;
    }
    if (send_chunks(self, is_plain(self)) < 0) {
        return transport_none_unless(write_failed(self));
    }
    if (self->protocol_paused && (Py_ssize_t)self->chunks.size_bytes <= self->low_water) {
        PyObject *resumed = PyObject_CallMethod((PyObject *)self, "_maybe_resume_protocol", NULL);
        if (resumed == NULL) {
            return NULL;
        }
        Py_DECREF(resumed);
    }
    if (!chunks_empty(&self->chunks) || !self->waiting) {
        Py_RETURN_NONE; /* resume_writing() may have written more, or closed */
    }
    if (stop_waiting(self) < 0) {
        return NULL;
    }
    if (transport_is_set(self->empty_waiter)) {
        PyObject *waiter = Py_NewRef(self->empty_waiter);
        PyObject *done = PyObject_CallMethod(waiter, "set_result", "O", Py_None);
        Py_DECREF(waiter);
        if (done == NULL) {
            return NULL;
        }
        Py_DECREF(done);
    }
    if (self->closing && !self->conn_lost) {
        return transport_none_unless(end_now(self));
    }
    if (self->eof && !self->closing) {
        return shut_down_writing(self);
    }
    Py_RETURN_NONE;
}

int
stream_transport_set_protocol(StreamTransport *self, PyObject *protocol)
{
    int buffered = PyObject_IsInstance(protocol, self->state->asyncio_BufferedProtocol);
    if (buffered < 0) {
        return -1;
    }
    self->protocol_buffered = buffered;
    self->protocol_connected = true;
    Py_XSETREF(self->protocol, Py_NewRef(protocol));
    return 0;
}

static PyObject *
StreamTransport_set_protocol(StreamTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    PyObject *protocol = args_parse_one("set_protocol", "protocol", args, nargs, kwnames);
    return transport_none_unless(protocol && stream_transport_set_protocol(self, protocol) == 0 ? 0 : -1);
}

static int
watch_for_reading(StreamTransport *self, Loop *loop, PyObject *ready)
{
    PyObject *context = transport_is_set(self->context) ? self->context : NULL;
    if (AC_LIKELY(!loop->add_reader_overridden)) {
        return reader_watch(loop, self->fd, READER_READ, ready, context);
    }
    struct state *state = self->state;
    PyObject *number = PyLong_FromLong(self->fd), *args[] = { (PyObject *)loop, number, ready, context };
    PyObject *added =
        number ? PyObject_VectorcallMethod(state->str__add_reader, args, 3, context ? state->context_kwnames : NULL)
               : NULL;
    Py_XDECREF(number);
    Py_XDECREF(added);
    return added ? 0 : -1;
}

static PyObject *
StreamTransport__start_reading(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->closing || self->paused) {
        Py_RETURN_NONE; /* connection_made() did */
    }
    PyObject *ready = PyObject_GetAttr((PyObject *)self, self->state->str__read_ready);
    Loop *loop = ready ? loop_borrow(self) : NULL;
    if (loop == NULL) {
        Py_XDECREF(ready);
        return NULL;
    }
    Py_INCREF(loop);
    int result = watch_for_reading(self, loop, ready);
    Py_DECREF(loop);
    Py_DECREF(ready);
    if (result < 0 && (PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_MemoryError))) {
        result = fatal_error(self, "Fatal read error on socket transport"); /* nobody would ever hear of its end */
    }
    return transport_none_unless(result);
}

static PyObject *
StreamTransport_close(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    /* Once more where the end could not be scheduled for lack of memory. */
    if (self->closing && (self->conn_lost || self->waiting || !chunks_empty(&self->chunks))) {
        Py_RETURN_NONE;
    }
    if (flush(self) < 0) {
        return NULL;
    }
    if (self->conn_lost) {
        Py_RETURN_NONE; /* a failed flush has closed it */
    }
    Loop *loop = loop_borrow(self);
    if (loop == NULL) {
        return NULL;
    }
    if (chunks_empty(&self->chunks)) {
        return transport_none_unless(end_soon(self, Py_None));
    }
    self->closing = true;
    return transport_none_unless(reader_unwatch(loop, self->fd, READER_READ));
}

static PyObject *
StreamTransport__force_close(StreamTransport *self, PyObject *exception)
{
    TRANSPORT_GUARD(self);
    if (self->conn_lost) {
        Py_RETURN_NONE;
    }
    if (loop_borrow(self) == NULL || flush(self) < 0) {
        return NULL;
    }
    if (self->conn_lost) {
        Py_RETURN_NONE;
    }
    if (self->waiting && stop_waiting(self) < 0) {
        return NULL;
    }
    chunks_clear(&self->chunks);
    return transport_none_unless(end_soon(self, exception));
}

static PyObject *
StreamTransport_get_write_buffer_size(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return flush(self) < 0 ? NULL : PyLong_FromSize_t(self->chunks.size_bytes);
}

static PyObject *
StreamTransport_get_protocol(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return Py_NewRef(self->protocol ? self->protocol : Py_None);
}

static PyObject *
StreamTransport_is_closing(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(self->closing);
}

static PyObject *
StreamTransport_is_reading(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(!self->closing && !self->paused);
}

/* What is queued, for asyncio's methods that ask whether something is. */
static PyObject *
StreamTransport_get_buffer(StreamTransport *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return flush(self) < 0 ? NULL : chunks_list(&self->chunks);
}

/* What asyncio's transport calls when there is something to read; None once it is closing, by which others know that. */
static PyObject *
StreamTransport_get_read_ready_cb(StreamTransport *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return self->closing ? Py_NewRef(Py_None) : PyObject_GetAttr((PyObject *)self, self->state->str__read_ready);
}

static int
StreamTransport_ignore_setting(StreamTransport *Py_UNUSED(self), PyObject *Py_UNUSED(value), void *Py_UNUSED(closure))
{
    return 0; /* asyncio's methods set what is ours to know */
}

static int
StreamTransport_traverse(StreamTransport *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    LOOP_HOME_VISIT(self);
    Py_VISIT(self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->protocol);
    Py_VISIT(self->server);
    Py_VISIT(self->extra);
    Py_VISIT(self->info.sock);
    Py_VISIT(self->info.sockname);
    Py_VISIT(self->info.peername);
    Py_VISIT(self->empty_waiter);
    Py_VISIT(self->context);
    return lazy_context_traverse(&self->write_context, visit, arg);
}

static int
StreamTransport_clear(StreamTransport *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->server);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->info.sock);
    Py_CLEAR(self->info.sockname);
    Py_CLEAR(self->info.peername);
    Py_CLEAR(self->empty_waiter);
    Py_CLEAR(self->context);
    lazy_context_clear(&self->write_context);
    chunks_clear(&self->chunks);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
StreamTransport_dealloc(StreamTransport *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    StreamTransport_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
StreamTransport_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    StreamTransport *self = state ? (StreamTransport *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = state;
        self->fd = -1;
        self->deferred = (struct deferred){ .run = run_deferred, .owner = (PyObject *)self };
        self->high_water = HIGH_WATER;
        self->low_water = HIGH_WATER / 4;
        chunks_init(&self->chunks);
    }
    return (PyObject *)self;
}

static int
StreamTransport_setattro(StreamTransport *self, PyObject *name, PyObject *value)
{
    TRANSPORT_GUARD(self);
    self->touched |= name == self->state->str_write || name == self->state->str_is_closing;
    return PyObject_GenericSetAttr((PyObject *)self, name, value);
}

/* Whether the class has the method of the C type. */
static bool
has_own(PyObject *class, PyTypeObject *type, PyObject *name)
{
    PyObject *own = PyObject_GetAttr((PyObject *)type, name);
    bool same = own != NULL && state_class_has(class, name, own);
    PyErr_Clear();
    Py_XDECREF(own);
    return same;
}

AC_COLD bool
stream_transport_decide_plain(struct state *state, PyObject *object)
{
    PyObject *class = (PyObject *)Py_TYPE(object), *error = compat_exception_take();
    unsigned version = compat_type_version(Py_TYPE(object));
    bool plain = has_own(class, state->StreamTransport_type, state->str_write)
                 && has_own(class, state->StreamTransport_type, state->str_is_closing);
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    COMPAT_STORE(state->stream_transport_version, plain ? compat_type_version_since(Py_TYPE(object), version) : 0);
    return plain;
}

PyDoc_STRVAR(write_doc,
             "write($self, /, data)\n--\n\n"
             "Write data, a bytes-like object, without blocking; keep what the peer does not take yet.\n\n"
             "What one callback or task step writes is sent when that ends.  Raises TypeError if data is of\n"
             "another type, RuntimeError after write_eof().\n\n"
             "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(writelines_doc, "writelines($self, /, list_of_data)\n--\n\n"
                             "Write an iterable of bytes-like objects, as write() does.\n\n"
                             "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(write_eof_doc, "write_eof($self, /)\n--\n\n"
                            "Shut the writing side down when everything has been sent.\n\n"
                            "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Stop reading, send what is queued, then call connection_lost(None).\n\n"
                        "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(force_close_doc, "_force_close($self, exc, /)\n--\n\n"
                              "Drop what is queued and have connection_lost(exc) called.");
PyDoc_STRVAR(get_write_buffer_size_doc, "get_write_buffer_size($self, /)\n--\n\n"
                                        "Return how many bytes wait to be sent.\n\n"
                                        "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(set_protocol_doc, "set_protocol($self, /, protocol)\n--\n\n"
                               "Have protocol told of everything from now on.\n\n"
                               "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(get_protocol_doc, "get_protocol($self, /)\n--\n\n"
                               "Return the protocol; None after the end of the connection.\n\n"
                               "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(is_closing_doc, "is_closing($self, /)\n--\n\n"
                             "Return True if the transport is closing or closed.\n\n"
                             "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(is_reading_doc, "is_reading($self, /)\n--\n\n"
                             "Return True if the transport receives data.\n\n"
                             "asyncio documentation: Transports and Protocols, Read-only Transports.");
PyDoc_STRVAR(get_extra_info_doc, "get_extra_info($self, /, name, default=None)\n--\n\n"
                                 "Return what is known of the connection: 'socket', 'sockname', 'peername'.\n\n"
                                 "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(on_eof_doc, "_read_ready__on_eof($self, /)\n--\n\nTell the protocol, and close unless it objects.");
PyDoc_STRVAR(call_connection_lost_doc, "_call_connection_lost($self, exc, /)\n--\n\n"
                                       "Tell the protocol, then let go of the socket and everything else.");
PyDoc_STRVAR(start_reading_doc, "_start_reading($self, /)\n--\n\nWatch the socket, unless paused or closing.");
PyDoc_STRVAR(read_ready_doc, "_read_ready($self, /)\n--\n\nRead once and tell the protocol.");
PyDoc_STRVAR(write_ready_doc, "_write_ready($self, /)\n--\n\nSend what waits.");

static PyMethodDef StreamTransport_methods[] = {
    { "write", AC_FAST(StreamTransport_write), METH_FASTCALL | METH_KEYWORDS, write_doc },
    { "writelines", AC_FAST(StreamTransport_writelines), METH_FASTCALL | METH_KEYWORDS, writelines_doc },
    { "write_eof", (PyCFunction)StreamTransport_write_eof, METH_NOARGS, write_eof_doc },
    { "close", (PyCFunction)StreamTransport_close, METH_NOARGS, close_doc },
    { "get_write_buffer_size", (PyCFunction)StreamTransport_get_write_buffer_size, METH_NOARGS,
      get_write_buffer_size_doc },
    { "set_protocol", AC_FAST(StreamTransport_set_protocol), METH_FASTCALL | METH_KEYWORDS, set_protocol_doc },
    { "get_protocol", (PyCFunction)StreamTransport_get_protocol, METH_NOARGS, get_protocol_doc },
    { "is_closing", (PyCFunction)StreamTransport_is_closing, METH_NOARGS, is_closing_doc },
    { "is_reading", (PyCFunction)StreamTransport_is_reading, METH_NOARGS, is_reading_doc },
    { "_force_close", (PyCFunction)StreamTransport__force_close, METH_O, force_close_doc },
    { "get_extra_info", AC_FAST(StreamTransport_get_extra_info), METH_FASTCALL | METH_KEYWORDS, get_extra_info_doc },
    { "_read_ready__on_eof", (PyCFunction)StreamTransport__read_ready__on_eof, METH_NOARGS, on_eof_doc },
    { "_call_connection_lost", (PyCFunction)StreamTransport__call_connection_lost, METH_O, call_connection_lost_doc },
    { "_start_reading", (PyCFunction)StreamTransport__start_reading, METH_NOARGS, start_reading_doc },
    { "_read_ready", (PyCFunction)StreamTransport__read_ready, METH_NOARGS, read_ready_doc },
    { "_write_ready", (PyCFunction)StreamTransport__write_ready, METH_NOARGS, write_ready_doc },
    { 0 },
};

/* What asyncio's methods work on, under asyncio's names. */
#define STREAM_FIELDS(X)                                        \
    X(StreamTransport, "_loop", T_OBJECT, loop)                 \
    X(StreamTransport, "_sock", T_OBJECT, sock)                 \
    X(StreamTransport, "_protocol", T_OBJECT, protocol)         \
    X(StreamTransport, "_server", T_OBJECT, server)             \
    X(StreamTransport, "_empty_waiter", T_OBJECT, empty_waiter) \
    X(StreamTransport, "_context", T_OBJECT, context)

FIELD_ACCESS(StreamTransport, TRANSPORT_GUARD)

static PyGetSetDef StreamTransport_getset[] = {
    TRANSPORT_MARK(StreamTransport, _high_water, high_water),
    TRANSPORT_MARK(StreamTransport, _low_water, low_water),
    { "_buffer", (getter)StreamTransport_get_buffer, (setter)StreamTransport_ignore_setting,
      "The list of bytes objects that wait to be sent.", NULL },
    { "_extra", (getter)StreamTransport_get_extra, (setter)StreamTransport_set_extra,
      "The dictionary behind get_extra_info().", NULL },
    { "_read_ready_cb", (getter)StreamTransport_get_read_ready_cb, (setter)StreamTransport_ignore_setting,
      "What reads; None once the transport is closing.", NULL },
    STREAM_FIELDS(FIELD_AS_GETSET){ 0 },
};

#define MEMBER(name, type, field) { #name, type, offsetof(StreamTransport, field), 0, NULL }

static PyMemberDef StreamTransport_members[] = {
    MEMBER(_sock_fd, T_INT, fd),
    MEMBER(_conn_lost, T_INT, conn_lost),
    MEMBER(_closing, T_BOOL, closing),
    MEMBER(_paused, T_BOOL, paused),
    MEMBER(_eof, T_BOOL, eof),
    MEMBER(_protocol_connected, T_BOOL, protocol_connected),
    MEMBER(_protocol_paused, T_BOOL, protocol_paused),
    STREAM_FIELDS(FIELD_AS_MEMBER){ 0 },
};

PyDoc_STRVAR(StreamTransport_doc, "What asyncio_c.transports.StreamTransport does for each read and write.\n\n"
                                  "asyncio documentation: Transports and Protocols.");

static PyType_Slot StreamTransport_slots[] = {
    { Py_tp_doc, (void *)StreamTransport_doc },   { Py_tp_new, StreamTransport_new },
    { Py_tp_init, StreamTransport_init },         { Py_tp_finalize, StreamTransport_finalize },
    { Py_tp_dealloc, StreamTransport_dealloc },   { Py_tp_traverse, StreamTransport_traverse },
    { Py_tp_clear, StreamTransport_clear },       { Py_tp_methods, StreamTransport_methods },
    { Py_tp_getset, StreamTransport_getset },     { Py_tp_members, StreamTransport_members },
    { Py_tp_setattro, StreamTransport_setattro }, { 0, NULL },
};

static PyType_Spec StreamTransport_spec = {
    .name = "asyncio_c._core.StreamTransport",
    .basicsize = sizeof(StreamTransport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = StreamTransport_slots,
};

int
stream_transport_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    state->read_ready = (PyCFunction)StreamTransport__read_ready;
    return transport_add_type(module, &state->StreamTransport_type, &StreamTransport_spec,
                              state->asyncio_FlowControlMixin, offsetof(StreamTransport, state));
}
