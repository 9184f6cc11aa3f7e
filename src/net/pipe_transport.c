/* ReadPipeTransport and WritePipeTransport: reading and writing of pipes, FIFOs, sockets and terminals.  Layer: net.

   The Python classes of these names in asyncio_c.transports derive from these types first and from asyncio's own pipe
   transports second.  Here is what runs for each read and write; opening, the reports of errors and the end are asyncio's,
   of the Python at hand, and work on the attributes that these types have in common with it.

   Reading, as asyncio does it but through the scratch buffer of the loop:

       def _read_ready(self):
           try: data = os.read(self._fileno, self.max_size)
           except (BlockingIOError, InterruptedError): pass
           except OSError as exc: self._fatal_error(exc, 'Fatal read error on pipe transport')
           else: self._protocol.data_received(data) if data else self._end_of_file()

   Writing: what can be written at once is, and the rest is queued.

       def write(self, data):
           ...                                      # the same checks
           self._chunks.append(bytes(data))         # by reference if it is bytes
           if len(self._chunks) == 1: self._write_ready()
           self._maybe_pause_protocol()

   Nothing is put off to the end of the callback, as a stream transport does it: who shares a pipe or a terminal with others
   relies on the order in which it was written to.

   Where os.read() or os.write() is not Python's own at that moment, it is called.

   A descriptor that was made non-blocking can become blocking again, because that belongs to the open file, which other
   processes may share: a terminal above all.  So that such a call stops at most this thread, as with asyncio, reads and writes
   give up the GIL.

   Invariants: if there are chunks, the loop watches for writability; `ending` means that connection_lost() is on its way or
   has been called. */
#include "core/reader.h"
#include "io/calls.h"
#include "net/chunks.h"
#include "net/direct.h"
#include "net/net.h"
#include "net/transport.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"

#include <errno.h>
#include <unistd.h>

enum {
    READ_BASE_SLOTS = 1,  /* of asyncio.transports.BaseTransport; ours have their names and hide them */
    WRITE_BASE_SLOTS = 5, /* of asyncio.transports._FlowControlMixin */
};

typedef struct {
    PyObject_HEAD
    PyObject *base_slots[READ_BASE_SLOTS]; /* always NULL */
    struct state *state;
    PyObject *loop; /* owned, as are all; None after the end */
    PyObject *pipe;
    PyObject *protocol;
    PyObject *extra;
    int fd; /* -1: None */
    bool closing;
    bool paused;
    LOOP_HOME
} ReadPipeTransport;

typedef struct {
    PyObject_HEAD
    PyObject *base_slots[WRITE_BASE_SLOTS]; /* always NULL */
    struct state *state;
    struct chunks chunks;
    PyObject *loop; /* owned, as are all; None after the end */
    PyObject *pipe;
    PyObject *protocol;
    PyObject *extra;
    Py_ssize_t high_water;
    Py_ssize_t low_water;
    int fd;        /* -1: None */
    int conn_lost; /* how many writes failed, or came after the end */
    bool closing;
    bool ending;
    bool protocol_paused;
    LOOP_HOME
} WritePipeTransport;

/* What os.<name> is, if it has been replaced: a new reference, or NULL. */
static PyObject *
replaced(struct state *state, PyObject *name, PyObject *own)
{
    PyObject *function = compat_dict_get(state->os_globals, name);
    if (AC_LIKELY(function == own)) {
        Py_CLEAR(function);
    }
    return function;
}

/* ---- Reading ---- */

/* The other side has closed: eof_received() and connection_lost(), each in a turn of its own.  Returns 0 or -1. */
static int
report_end_of_file(ReadPipeTransport *self, Loop *loop)
{
    struct state *state = self->state;
    PyObject *debug = PyObject_CallMethodNoArgs((PyObject *)loop, state->str_get_debug);
    int log = debug ? PyObject_IsTrue(debug) : -1;
    Py_XDECREF(debug);
    if (log > 0) {
        PyObject *logged = PyObject_CallMethod(state->asyncio_logger, "info", "sO", "%r was closed by peer", self);
        log = logged ? 0 : -1;
        Py_XDECREF(logged);
    }
    self->closing = true;
    if (log < 0 || transport_call_soon(state, self->protocol, self->loop, state->str_eof_received, NULL, NULL) < 0
        || transport_call_soon(state, (PyObject *)self, self->loop, state->str__call_connection_lost, Py_None, NULL)
               < 0) {
        /* Without memory for it, it is found again in the next turn. */
        self->closing = !PyErr_ExceptionMatches(PyExc_MemoryError);
        return -1;
    }
    return reader_unwatch(loop, self->fd, READER_READ);
}

/* The same, with the loop held: what runs may take it from the transport. */
static int
end_of_file(ReadPipeTransport *self, Loop *loop)
{
    Py_INCREF(loop);
    int result = report_end_of_file(self, loop);
    Py_DECREF(loop);
    return result;
}

/* protocol.data_received(data).  What asyncio has between a pipe of a process and its streams is passed over, where streams know
   how: 1, as state->feed_stream.  Returns 0 or -1. */
static int
give(struct state *state, PyObject *protocol, PyObject *data)
{
    bool of_process = (PyObject *)Py_TYPE(protocol) == state->asyncio_ProcessPipe && state->feed_process != NULL;
    int fed = of_process ? state->feed_process(state, protocol, data) : 0;
    return fed == 0 ? direct_give(state, protocol, data) : fed > 0 ? 0 : -1;
}

/* Reads once and tells the protocol.  Returns 0, or -1 with what the protocol raised, which is the loop's to report. */
static int
read_once(ReadPipeTransport *self, PyObject *protocol)
{
    Loop *loop = transport_loop_borrow(self->state, self->loop);
    char *scratch = loop ? loop_scratch(loop) : NULL;
    if (scratch == NULL) {
        return -1;
    }
    ssize_t count;
    Py_BEGIN_ALLOW_THREADS
    count = sys_read(self->fd, scratch, LOOP_SCRATCH_SIZE);
    Py_END_ALLOW_THREADS
    counters_received(&loop->counters, count);
    if (AC_UNLIKELY(count < 0)) {
        if (errno == EAGAIN || errno == EINTR) {
            return 0;
        }
        raise_errno(-errno);
        return transport_fatal_error((PyObject *)self, "Fatal read error on pipe transport");
    }
    if (AC_UNLIKELY(count == 0)) {
        return end_of_file(self, loop);
    }
    PyObject *data = PyBytes_FromStringAndSize(scratch, count);
    int given = data ? give(self->state, protocol, data) : -1;
    Py_XDECREF(data);
    return given;
}

/* ---- Writing ---- */

static ssize_t
write_vectors(int fd, struct iovec *vectors, size_t count)
{
    ssize_t written;
    Py_BEGIN_ALLOW_THREADS
    written = count == 1 ? sys_write(fd, vectors[0].iov_base, vectors[0].iov_len) : sys_writev(fd, vectors, (int)count);
    Py_END_ALLOW_THREADS
    return written;
}

/* Writes as much as there is room for.  Returns 0, or -1 with an exception.  Runs Python. */
static int
write_chunks(WritePipeTransport *self)
{
    struct state *state = self->state;
    PyObject *write = replaced(state, state->str_write, state->os_write);
    if (AC_LIKELY(write == NULL)) {
        size_t size = self->chunks.size_bytes;
        int error = chunks_send(&self->chunks, self->fd, write_vectors);
        transport_sent(state, self->loop, size, self->chunks.size_bytes);
        return AC_LIKELY(error == 0) ? 0 : raise_errno(error);
    }
    PyObject *fd = PyLong_FromLong(self->fd);
    int result = fd ? chunks_offer(&self->chunks, write, fd, false) : -1;
    Py_XDECREF(fd);
    Py_DECREF(write);
    if (self->ending) {
        chunks_clear(&self->chunks); /* ended meanwhile */
    }
    return result;
}

/* After a write failed with the exception that is set.  Returns 0 or -1. */
static int
write_failed(WritePipeTransport *self)
{
    chunks_clear(&self->chunks);
    self->conn_lost++;
    return transport_fatal_error((PyObject *)self, "Fatal write error on pipe transport");
}

/* Stops watching for the end of the reader, and has connection_lost(exception) called.  Where memory lacks for that, it can be
   tried again.  Returns 0 or -1. */
static int
end_soon(WritePipeTransport *self, PyObject *exception)
{
    Loop *loop = transport_loop_borrow(self->state, self->loop);
    if (loop == NULL || reader_unwatch(loop, self->fd, READER_READ) < 0) {
        return -1;
    }
    self->closing = self->ending = true;
    int result = transport_call_soon(self->state, (PyObject *)self, self->loop, self->state->str__call_connection_lost,
                                     exception, NULL);
    if (AC_UNLIKELY(result < 0) && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        self->closing = self->ending = false;
    }
    return result;
}

/* Writes the first chunk, or as much of it as the kernel takes.  Returns 0 or -1. */
static int
write_at_once(WritePipeTransport *self)
{
    transport_acts(self->state, self->loop);
    if (AC_UNLIKELY(write_chunks(self) < 0)) {
        return write_failed(self);
    }
    if (AC_LIKELY(chunks_empty(&self->chunks))) {
        /* Whoever has closed it meanwhile, found something to be written, and left the end to who writes that. */
        return AC_UNLIKELY(self->closing && !self->ending) ? end_soon(self, Py_None) : 0;
    }
    PyObject *ready = PyObject_GetAttr((PyObject *)self, self->state->str__write_ready);
    Loop *loop = ready ? transport_loop_borrow(self->state, self->loop) : NULL;
    int result = loop ? reader_watch(loop, self->fd, READER_WRITE, ready, NULL) : -1;
    Py_XDECREF(ready);
    if (result < 0) {
        chunks_clear(&self->chunks); /* nobody would ever send it */
    }
    return result;
}

/* self.<method>(), of asyncio's flow control.  Returns 0 or -1. */
static int
control_flow(WritePipeTransport *self, const char *method)
{
    PyObject *result = PyObject_CallMethod((PyObject *)self, method, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* All has been written.  Returns 0 or -1. */
static int
end_if_drained(WritePipeTransport *self, Loop *loop)
{
    if (reader_unwatch(loop, self->fd, READER_WRITE) < 0) {
        return -1;
    }
    if (self->protocol_paused && control_flow(self, "_maybe_resume_protocol") < 0) {
        return -1;
    }
    /* resume_writing() may have written more, or have ended it already. */
    if (!self->closing || self->ending || !chunks_empty(&self->chunks)) {
        return 0;
    }
    self->ending = true;
    if (reader_unwatch(loop, self->fd, READER_READ) < 0) {
        return -1;
    }
    PyObject *lost = PyObject_CallMethodOneArg((PyObject *)self, self->state->str__call_connection_lost, Py_None);
    Py_XDECREF(lost);
    return lost ? 0 : -1;
}

/* The same, with the loop held: what runs may take it from the transport. */
static int
drained(WritePipeTransport *self)
{
    Loop *loop = transport_loop_borrow(self->state, self->loop);
    Py_XINCREF(loop);
    int result = loop ? end_if_drained(self, loop) : -1;
    Py_XDECREF(loop);
    return result;
}

/* ---- Python face ---- */

static PyObject *
ReadPipeTransport__read_ready(ReadPipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->closing || !transport_is_set(self->pipe)) {
        Py_RETURN_NONE;
    }
    struct state *state = self->state;
    PyObject *read = replaced(state, state->str_read, state->os_read);
    if (read != NULL) {
        Py_DECREF(read);
        PyObject *object = (PyObject *)self;
        return args_call_steal(PyObject_GetAttr(state->asyncio_ReadPipeTransport, state->str__read_ready), &object, 1,
                               NULL);
    }
    PyObject *protocol = Py_NewRef(self->protocol ? self->protocol : Py_None);
    int result = read_once(self, protocol);
    Py_DECREF(protocol);
    return transport_none_unless(result);
}

static PyObject *
ReadPipeTransport_is_reading(ReadPipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(!self->closing && !self->paused);
}

static PyObject *
ReadPipeTransport_is_closing(ReadPipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(self->closing);
}

static PyObject *
WritePipeTransport_write(WritePipeTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    PyObject *data = args_parse_one("write", "data", args, nargs, kwnames);
    if (data == NULL) {
        return NULL;
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_AssertionError, "%R", data);
        return NULL;
    }
    PyObject *chunk = chunk_new(data);
    if (chunk == NULL || PyBytes_GET_SIZE(chunk) == 0) {
        Py_XDECREF(chunk);
        return transport_none_unless(chunk ? 0 : -1);
    }
    if (AC_UNLIKELY(self->conn_lost || self->closing)) {
        Py_DECREF(chunk);
        return transport_none_unless(transport_count_lost_write(
            self->state, &self->conn_lost, "pipe closed by peer or os.write(pipe, data) raised exception."));
    }
    bool was_empty = chunks_empty(&self->chunks);
    if (chunks_append_steal(&self->chunks, chunk) < 0 || (was_empty && write_at_once(self) < 0)) {
        return NULL;
    }
    bool too_much = (Py_ssize_t)self->chunks.size_bytes > self->high_water && !self->protocol_paused;
    return transport_none_unless(too_much ? control_flow(self, "_maybe_pause_protocol") : 0);
}

static PyObject *
WritePipeTransport__write_ready(WritePipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (chunks_empty(&self->chunks)) {
        Py_RETURN_NONE;
    }
    if (AC_UNLIKELY(write_chunks(self) < 0)) {
        PyObject *exception = compat_exception_take();
        Loop *loop = transport_loop_borrow(self->state, self->loop);
        if (loop == NULL || reader_unwatch(loop, self->fd, READER_WRITE) < 0) {
            Py_DECREF(exception);
            return NULL;
        }
        compat_exception_restore_steal(exception);
        return transport_none_unless(write_failed(self));
    }
    return transport_none_unless(chunks_empty(&self->chunks) ? drained(self) : 0);
}

static PyObject *
WritePipeTransport_write_eof(WritePipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->closing) {
        Py_RETURN_NONE;
    }
    if (chunks_empty(&self->chunks)) {
        return transport_none_unless(end_soon(self, Py_None));
    }
    self->closing = true;
    Py_RETURN_NONE;
}

static PyObject *
WritePipeTransport__close(WritePipeTransport *self, PyObject *args)
{
    TRANSPORT_GUARD(self);
    PyObject *exception = Py_None;
    if (!PyArg_ParseTuple(args, "|O:_close", &exception)) {
        return NULL;
    }
    self->closing = true;
    if (self->ending) {
        Py_RETURN_NONE; /* asyncio calls connection_lost() a second time, which fails */
    }
    Loop *loop = transport_loop_borrow(self->state, self->loop);
    if (loop == NULL || reader_unwatch(loop, self->fd, READER_WRITE) < 0) {
        return NULL;
    }
    chunks_clear(&self->chunks);
    return transport_none_unless(end_soon(self, exception));
}

static PyObject *
WritePipeTransport_get_write_buffer_size(WritePipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyLong_FromSize_t(self->chunks.size_bytes);
}

static PyObject *
WritePipeTransport_is_closing(WritePipeTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(self->closing);
}

/* What is queued, for asyncio's methods that ask whether something is. */
static PyObject *
WritePipeTransport_get_buffer(WritePipeTransport *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return chunks_list(&self->chunks);
}

static int
WritePipeTransport_set_buffer(WritePipeTransport *Py_UNUSED(self), PyObject *Py_UNUSED(value), void *Py_UNUSED(closure))
{
    return 0; /* asyncio's __init__ sets an empty one */
}

/* The descriptor, whose place in the object `closure` is.  None where asyncio has let go of it: of a regular file. */
static PyObject *
get_fileno(PyObject *self, void *closure)
{
    int fd = *(int *)((char *)self + (uintptr_t)closure);
    return fd < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(fd);
}

static int
set_fileno(PyObject *self, PyObject *value, void *closure)
{
    int fd = -1;
    if (value != NULL && value != Py_None) {
        fd = PyObject_AsFileDescriptor(value);
        if (fd < 0) {
            return -1;
        }
    }
    *(int *)((char *)self + (uintptr_t)closure) = fd;
    return 0;
}

static int
ReadPipeTransport_traverse(ReadPipeTransport *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    LOOP_HOME_VISIT(self);
    Py_VISIT(self->loop);
    Py_VISIT(self->pipe);
    Py_VISIT(self->protocol);
    Py_VISIT(self->extra);
    return 0;
}

static int
ReadPipeTransport_clear(ReadPipeTransport *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->pipe);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->extra);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
ReadPipeTransport_dealloc(ReadPipeTransport *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    ReadPipeTransport_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
ReadPipeTransport_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    ReadPipeTransport *self = state ? (ReadPipeTransport *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = state;
        self->fd = -1;
    }
    return (PyObject *)self;
}

static int
WritePipeTransport_traverse(WritePipeTransport *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    LOOP_HOME_VISIT(self);
    Py_VISIT(self->loop);
    Py_VISIT(self->pipe);
    Py_VISIT(self->protocol);
    Py_VISIT(self->extra);
    return 0;
}

static int
WritePipeTransport_clear(WritePipeTransport *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->pipe);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->extra);
    chunks_clear(&self->chunks);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
WritePipeTransport_dealloc(WritePipeTransport *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    WritePipeTransport_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
WritePipeTransport_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    WritePipeTransport *self = state ? (WritePipeTransport *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = state;
        self->fd = -1;
        chunks_init(&self->chunks);
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(write_doc, "write($self, data)\n--\n\n"
                        "Write data, a bytes-like object, without blocking; keep what the pipe does not take yet.\n\n"
                        "Raises AssertionError if data is of another type.\n\n"
                        "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(write_eof_doc, "write_eof($self, /)\n--\n\n"
                            "Close the pipe when everything has been written.\n\n"
                            "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(close_doc, "_close($self, exc=None, /)\n--\n\n"
                        "Drop what is queued and have connection_lost(exc) called.");
PyDoc_STRVAR(get_write_buffer_size_doc, "get_write_buffer_size($self, /)\n--\n\n"
                                        "Return how many bytes wait to be written.\n\n"
                                        "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(is_closing_doc, "is_closing($self, /)\n--\n\n"
                             "Return True if the transport is closing or closed.\n\n"
                             "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(is_reading_doc, "is_reading($self, /)\n--\n\n"
                             "Return True if the transport receives data.\n\n"
                             "asyncio documentation: Transports and Protocols, Read-only Transports.");
PyDoc_STRVAR(read_ready_doc, "_read_ready($self, /)\n--\n\nRead once and tell the protocol.");
PyDoc_STRVAR(write_ready_doc, "_write_ready($self, /)\n--\n\nWrite what waits.");

static PyMethodDef ReadPipeTransport_methods[] = {
    { "is_closing", (PyCFunction)ReadPipeTransport_is_closing, METH_NOARGS, is_closing_doc },
    { "is_reading", (PyCFunction)ReadPipeTransport_is_reading, METH_NOARGS, is_reading_doc },
    { "_read_ready", (PyCFunction)ReadPipeTransport__read_ready, METH_NOARGS, read_ready_doc },
    { 0 },
};

static PyMethodDef WritePipeTransport_methods[] = {
    { "write", AC_FAST(WritePipeTransport_write), METH_FASTCALL | METH_KEYWORDS, write_doc },
    { "write_eof", (PyCFunction)WritePipeTransport_write_eof, METH_NOARGS, write_eof_doc },
    { "get_write_buffer_size", (PyCFunction)WritePipeTransport_get_write_buffer_size, METH_NOARGS,
      get_write_buffer_size_doc },
    { "is_closing", (PyCFunction)WritePipeTransport_is_closing, METH_NOARGS, is_closing_doc },
    { "_close", (PyCFunction)WritePipeTransport__close, METH_VARARGS, close_doc },
    { "_write_ready", (PyCFunction)WritePipeTransport__write_ready, METH_NOARGS, write_ready_doc },
    { 0 },
};

#define FILENO(type) { "_fileno", get_fileno, set_fileno, "The file descriptor, or None.", (void *)offsetof(type, fd) }

/* What asyncio's methods work on, under asyncio's names. */
#define PIPE_FIELDS(Type, X)                 \
    X(Type, "_loop", T_OBJECT, loop)         \
    X(Type, "_pipe", T_OBJECT, pipe)         \
    X(Type, "_protocol", T_OBJECT, protocol) \
    X(Type, "_extra", T_OBJECT, extra)

FIELD_ACCESS(ReadPipeTransport, TRANSPORT_GUARD)
FIELD_ACCESS(WritePipeTransport, TRANSPORT_GUARD)

static PyGetSetDef ReadPipeTransport_getset[] = {
    FILENO(ReadPipeTransport),
    PIPE_FIELDS(ReadPipeTransport, FIELD_AS_GETSET){ 0 },
};

static PyGetSetDef WritePipeTransport_getset[] = {
    FILENO(WritePipeTransport),
    TRANSPORT_MARK(WritePipeTransport, _high_water, high_water),
    TRANSPORT_MARK(WritePipeTransport, _low_water, low_water),
    { "_buffer", (getter)WritePipeTransport_get_buffer, (setter)WritePipeTransport_set_buffer,
      "The list of bytes objects that wait to be written.", NULL },
    PIPE_FIELDS(WritePipeTransport, FIELD_AS_GETSET){ 0 },
};

#define MEMBER(type, name, kind, field) { #name, kind, offsetof(type, field), 0, NULL }

static PyMemberDef ReadPipeTransport_members[] = {
    MEMBER(ReadPipeTransport, _closing, T_BOOL, closing),
    MEMBER(ReadPipeTransport, _paused, T_BOOL, paused),
    PIPE_FIELDS(ReadPipeTransport, FIELD_AS_MEMBER){ 0 },
};

static PyMemberDef WritePipeTransport_members[] = {
    MEMBER(WritePipeTransport, _conn_lost, T_INT, conn_lost),
    MEMBER(WritePipeTransport, _closing, T_BOOL, closing),
    MEMBER(WritePipeTransport, _protocol_paused, T_BOOL, protocol_paused),
    PIPE_FIELDS(WritePipeTransport, FIELD_AS_MEMBER){ 0 },
};

PyDoc_STRVAR(ReadPipeTransport_doc, "What asyncio_c.transports.ReadPipeTransport does for each read.\n\n"
                                    "asyncio documentation: Transports and Protocols.");
PyDoc_STRVAR(WritePipeTransport_doc, "What asyncio_c.transports.WritePipeTransport does for each write.\n\n"
                                     "asyncio documentation: Transports and Protocols.");

static PyType_Slot ReadPipeTransport_slots[] = {
    { Py_tp_doc, (void *)ReadPipeTransport_doc },
    { Py_tp_new, ReadPipeTransport_new },
    { Py_tp_dealloc, ReadPipeTransport_dealloc },
    { Py_tp_traverse, ReadPipeTransport_traverse },
    { Py_tp_clear, ReadPipeTransport_clear },
    { Py_tp_methods, ReadPipeTransport_methods },
    { Py_tp_getset, ReadPipeTransport_getset },
    { Py_tp_members, ReadPipeTransport_members },
    { 0, NULL },
};

static PyType_Slot WritePipeTransport_slots[] = {
    { Py_tp_doc, (void *)WritePipeTransport_doc },
    { Py_tp_new, WritePipeTransport_new },
    { Py_tp_dealloc, WritePipeTransport_dealloc },
    { Py_tp_traverse, WritePipeTransport_traverse },
    { Py_tp_clear, WritePipeTransport_clear },
    { Py_tp_methods, WritePipeTransport_methods },
    { Py_tp_getset, WritePipeTransport_getset },
    { Py_tp_members, WritePipeTransport_members },
    { 0, NULL },
};

static PyType_Spec ReadPipeTransport_spec = {
    .name = "asyncio_c._core.ReadPipeTransport",
    .basicsize = sizeof(ReadPipeTransport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = ReadPipeTransport_slots,
};

static PyType_Spec WritePipeTransport_spec = {
    .name = "asyncio_c._core.WritePipeTransport",
    .basicsize = sizeof(WritePipeTransport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = WritePipeTransport_slots,
};

int
pipe_transport_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (transport_add_type(module, &state->ReadPipeTransport_type, &ReadPipeTransport_spec,
                           state->asyncio_ReadTransport, offsetof(ReadPipeTransport, state))
        < 0) {
        return -1;
    }
    return transport_add_type(module, &state->WritePipeTransport_type, &WritePipeTransport_spec,
                              state->asyncio_FlowControlMixin, offsetof(WritePipeTransport, state));
}
