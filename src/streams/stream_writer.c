/* asyncio.StreamWriter.  Layer: streams.

   Equivalent, where nothing is odd:

       class StreamWriter:
           def write(self, data):
               self._transport.write(data)
           (writelines(), close() and is_closing() likewise)

           async def drain(self):
               if self._reader is not None and self._reader.exception(): raise self._reader.exception()
               if self._transport.is_closing(): await sleep(0)
               await self._protocol._drain_helper()

   _drain_helper() returns at once unless the protocol was told to pause; who waits there does so in asyncio's. */
#include "streams/stream_protocol.h"
#include "streams/stream_reader.h"

#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "net/stream_transport.h"
#include "py/args.h"
#include "py/errors.h"
#include "streams/streams.h"
#include "sync/primitive_coroutine.h"

typedef struct {
    PRIMITIVE_HEAD
    PyObject *transport; /* owned, as are all; NULL before __init__() */
    PyObject *protocol;
    PyObject *reader;       /* None: it is for writing only */
    PyObject *complete_fut; /* a future that is done; made when somebody looks */
} StreamWriter;

static const char *const writer_methods[] = { "write", "writelines", "close", "is_closing", "drain" };

enum {
    WRITER_WRITE,
    WRITER_WRITELINES,
    WRITER_CLOSE,
    WRITER_IS_CLOSING,
    WRITER_DRAIN,
};

static const struct primitive_kind writer_kind = PRIMITIVE_KIND(StreamWriter, writer_methods);

/* ---- drain() ---- */

/* await self._protocol._drain_helper() */
static PySendResult
drain_helper(PrimitiveCoroutine *self, PyObject **result)
{
    struct state *state = self->base.state;
    PyObject *protocol = Py_NewRef(transport_or_none(((StreamWriter *)self->owner)->protocol));
    StreamReaderProtocol *ours = stream_protocol_cast(state, protocol);
    PySendResult outcome = PYGEN_ERROR;
    if (AC_LIKELY(ours != NULL && !ours->paused && !ours->connection_lost)) {
        *result = Py_NewRef(Py_None);
        outcome = PYGEN_RETURN;
    }
    else {
        MONITOR_OUTSIDE();
        self->base.delegate = PyObject_CallMethodNoArgs(protocol, state->str__drain_helper);
        outcome = self->base.delegate ? PyIter_Send(self->base.delegate, Py_None, result) : PYGEN_ERROR;
    }
    Py_DECREF(protocol);
    return outcome;
}

/* The exception of the reader: 0, or -1 with it, or 1 where asyncio has to ask. */
static int
check_reader(StreamWriter *writer)
{
    PyObject *reader = writer->reader;
    if (reader == Py_None) {
        return 0;
    }
    PyObject *error = reader ? stream_reader_exception_borrow(writer->state, reader) : NULL;
    if (AC_LIKELY(error == Py_None)) {
        return 0;
    }
    if (error == NULL || !PyExceptionInstance_Check(error)) {
        return 1;
    }
    raise_instance_steal(Py_NewRef(error));
    return -1;
}

static inline bool
writes_natively(StreamWriter *self)
{
    return AC_LIKELY(self->transport != NULL && stream_transport_is_plain(self->state, self->transport));
}

/* self._transport.is_closing(): 1, 0 or -1. */
static int
is_closing(StreamWriter *self)
{
    if (writes_natively(self)) {
        return ((StreamTransport *)self->transport)->closing;
    }
    PyObject *transport = Py_NewRef(transport_or_none(self->transport));
    MONITOR_OUTSIDE();
    PyObject *answer = PyObject_CallMethodNoArgs(transport, self->state->str_is_closing);
    int closing = answer == NULL ? -1 : answer == Py_False ? 0 : PyObject_IsTrue(answer);
    Py_DECREF(transport);
    Py_XDECREF(answer);
    return closing;
}

static PySendResult
drain_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    StreamWriter *writer = (StreamWriter *)self->owner;
    bool usual = writer->transport != NULL && writer->protocol != NULL && !primitive_overrides(self->owner, 0);
    StreamReaderProtocol *protocol = usual ? stream_protocol_cast(base->state, writer->protocol) : NULL;
    int checked = protocol != NULL ? check_reader(writer) : 1;
    if (AC_UNLIKELY(checked != 0)) {
        return checked < 0 ? PYGEN_ERROR : primitive_delegate(self, WRITER_DRAIN);
    }
    /* Nothing has run Python so far. */
    if (AC_LIKELY(!protocol->paused && !protocol->connection_lost && writes_natively(writer)
                  && !((StreamTransport *)writer->transport)->closing)) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    int closing = is_closing(writer);
    if (AC_LIKELY(closing == 0)) {
        return drain_helper(self, result);
    }
    /* sleep(0): so that connection_lost() is called for who writes and drains in a loop. */
    *result = closing > 0 ? Py_NewRef(Py_None) : NULL;
    return closing > 0 ? PYGEN_NEXT : PYGEN_ERROR;
}

static PySendResult
drain_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return drain_helper((PrimitiveCoroutine *)base, result);
}

static const struct coroutine_body drain_body = {
    .name = "drain",
    .qualname = "StreamWriter.drain",
    .start = drain_start,
    .resume = drain_resume,
    .leave = coroutine_leave_nothing,
};

static const struct primitive_method drain_method = { &writer_kind, WRITER_DRAIN, &drain_body, 0 };

static PyObject *
StreamWriter_drain(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&drain_method, function, args, nargsf, kwnames);
}

/* ---- Python face ---- */

/* Calls the method of the transport that has the same name, with the same arguments. */
static PyObject *
pass_on(StreamWriter *self, PyObject *name, int method, PyObject *const *args, Py_ssize_t nargs, Py_ssize_t expected,
        PyObject *kwnames)
{
    if (AC_UNLIKELY(nargs != expected || kwnames != NULL || self->transport == NULL
                    || primitive_overrides((Primitive *)self, 0))) {
        return primitive_call_asyncio_method((Primitive *)self, method, args, nargs, kwnames);
    }
    PyObject *passed[] = { Py_NewRef(self->transport), nargs ? args[0] : NULL };
    MONITOR_OUTSIDE();
    PyObject *result = PyObject_VectorcallMethod(name, passed, (size_t)nargs + 1, NULL);
    Py_DECREF(passed[0]);
    return result;
}

static PyObject *
none_for(PyObject *result)
{
    Py_XDECREF(result);
    return result ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
StreamWriter_write(StreamWriter *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    PyObject *transport = self->transport;
    if (AC_LIKELY(nargs == 1 && kwnames == NULL && !primitive_overrides((Primitive *)self, 0)
                  && writes_natively(self))) {
        Py_INCREF(transport);
        MONITOR_OUTSIDE(); /* it asks its protocol, and whoever has been given the socket */
        int result = stream_transport_write((StreamTransport *)transport, args[0]);
        Py_DECREF(transport);
        return transport_none_unless(result);
    }
    return none_for(pass_on(self, self->state->str_write, WRITER_WRITE, args, nargs, 1, kwnames));
}

static PyObject *
StreamWriter_writelines(StreamWriter *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    return none_for(pass_on(self, self->state->str_writelines, WRITER_WRITELINES, args, nargs, 1, kwnames));
}

static PyObject *
StreamWriter_close(StreamWriter *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    return pass_on(self, self->state->str_close, WRITER_CLOSE, args, nargs, 0, kwnames);
}

static PyObject *
StreamWriter_is_closing(StreamWriter *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    return pass_on(self, self->state->str_is_closing, WRITER_IS_CLOSING, args, nargs, 0, kwnames);
}

static PyObject *
StreamWriter_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->StreamWriter_freelist, state, &writer_kind) : NULL;
}

static int
StreamWriter_init(StreamWriter *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    static char *keywords[] = { "transport", "protocol", "reader", "loop", NULL };
    PyObject *transport, *protocol, *reader, *loop;
    struct state *state = self->state;
    int parsed =
        PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:StreamWriter", keywords, &transport, &protocol, &reader, &loop);
    PyErr_Clear();
    Loop *ours = parsed ? loop_cast(state, loop) : NULL;
    if (ours == NULL || !ours->fused || (reader != Py_None && !stream_reader_check(state, reader))) {
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    MONITOR_SET(self->transport, Py_NewRef(transport));
    MONITOR_SET(self->protocol, Py_NewRef(protocol));
    MONITOR_SET(self->reader, Py_NewRef(reader));
    MONITOR_SET(self->loop, Py_NewRef(loop));
    MONITOR_SET(self->complete_fut, NULL);
    return 0;
}

static int
StreamWriter_traverse(StreamWriter *self, visitproc visit, void *arg)
{
    Py_VISIT(self->transport);
    Py_VISIT(self->protocol);
    Py_VISIT(self->reader);
    Py_VISIT(self->complete_fut);
    return primitive_traverse((Primitive *)self, visit, arg);
}

static int
StreamWriter_clear(StreamWriter *self)
{
    Py_CLEAR(self->transport);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->reader);
    Py_CLEAR(self->complete_fut);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
StreamWriter_dealloc(StreamWriter *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    StreamWriter_clear(self);
    freelist_free(&state->StreamWriter_freelist, NULL, (PyObject *)self);
}

/* asyncio makes it with the writer, and has no use for it. */
static PyObject *
StreamWriter_get_complete_fut(StreamWriter *self, void *closure)
{
    PRIMITIVE_GUARD(self);
    if (self->complete_fut == NULL && self->loop != NULL) {
        Future *future = future_new(self->state, self->loop);
        if (future == NULL || future_set_result(future, Py_None) < 0) {
            Py_XDECREF(future);
            return NULL;
        }
        self->complete_fut = (PyObject *)future;
    }
    return primitive_get_object((Primitive *)self, closure);
}

PyDoc_STRVAR(write_doc, "write($self, data)\n--\n\n"
                        "Write data, a bytes-like object, without waiting.\n\n"
                        "asyncio documentation: Streams, StreamWriter.");
PyDoc_STRVAR(writelines_doc, "writelines($self, data)\n--\n\n"
                             "Write an iterable of bytes-like objects, without waiting.\n\n"
                             "asyncio documentation: Streams, StreamWriter.");
PyDoc_STRVAR(close_doc, "close($self)\n--\n\n"
                        "Close the stream when all that was written is sent.\n\n"
                        "asyncio documentation: Streams, StreamWriter.");
PyDoc_STRVAR(is_closing_doc, "is_closing($self)\n--\n\n"
                             "Return True if the stream is closed or about to be.\n\n"
                             "asyncio documentation: Streams, StreamWriter.");
PyDoc_STRVAR(drain_doc, "Wait until it is a good time to write more.\n\n"
                        "asyncio documentation: Streams, StreamWriter.");

static PyMethodDef StreamWriter_methods[] = {
    { "write", AC_FAST(StreamWriter_write), METH_FASTCALL | METH_KEYWORDS, write_doc },
    { "writelines", AC_FAST(StreamWriter_writelines), METH_FASTCALL | METH_KEYWORDS, writelines_doc },
    { "close", AC_FAST(StreamWriter_close), METH_FASTCALL | METH_KEYWORDS, close_doc },
    { "is_closing", AC_FAST(StreamWriter_is_closing), METH_FASTCALL | METH_KEYWORDS, is_closing_doc },
    { 0 },
};

static const struct primitive_attribute transport_attribute = { "_transport", offsetof(StreamWriter, transport) };
static const struct primitive_attribute protocol_attribute = { "_protocol", offsetof(StreamWriter, protocol) };
static const struct primitive_attribute reader_attribute = { "_reader", offsetof(StreamWriter, reader) };
static const struct primitive_attribute complete_attribute = { "_complete_fut", offsetof(StreamWriter, complete_fut) };

static PyGetSetDef StreamWriter_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    PRIMITIVE_OBJECT_ATTRIBUTE("_transport", "Where it writes to.", transport_attribute),
    PRIMITIVE_OBJECT_ATTRIBUTE("_protocol", "What the transport tells of its buffer.", protocol_attribute),
    PRIMITIVE_OBJECT_ATTRIBUTE("_reader", "The reader of the same stream, or None.", reader_attribute),
    { "_complete_fut", (getter)StreamWriter_get_complete_fut, (setter)primitive_set_object, "A future that is done.",
      (void *)&complete_attribute },
    { 0 },
};

PyDoc_STRVAR(StreamWriter_doc, "StreamWriter(transport, protocol, reader, loop)\n--\n\n"
                               "The native half of asyncio_c.StreamWriter.");

static PyType_Slot StreamWriter_slots[] = {
    { Py_tp_doc, (void *)StreamWriter_doc },   { Py_tp_new, StreamWriter_new },
    { Py_tp_init, StreamWriter_init },         { Py_tp_dealloc, StreamWriter_dealloc },
    { Py_tp_traverse, StreamWriter_traverse }, { Py_tp_clear, StreamWriter_clear },
    { Py_tp_methods, StreamWriter_methods },   { Py_tp_getset, StreamWriter_getset },
    { Py_tp_setattro, primitive_setattro },    { 0, NULL },
};

static PyType_Spec StreamWriter_spec = {
    .name = "asyncio_c._core.StreamWriter",
    .basicsize = sizeof(StreamWriter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = StreamWriter_slots,
};

int
stream_writer_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyTypeObject **type = &state->StreamWriter_type;
    if (state_add_type(module, type, &StreamWriter_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, state->asyncio_StreamWriter, "drain", StreamWriter_drain,
                                         drain_doc)
               < 0) {
        return -1;
    }
    return primitive_register(module, &writer_kind);
}
