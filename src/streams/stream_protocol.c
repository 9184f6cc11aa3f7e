/* asyncio.StreamReaderProtocol.  Layer: streams.

   Equivalent:

       class StreamReaderProtocol:
           def data_received(self, data):
               reader = self._stream_reader_wr and self._stream_reader_wr()
               if reader is not None: reader.feed_data(data)

   What comes once per connection, and what the transport tells of its buffer, is asyncio's, on the attributes that are here. */
#include "streams/stream_protocol.h"

#include "net/transport.h"
#include "py/args.h"
#include "streams/stock_streams.h"
#include "streams/stream_reader.h"
#include "streams/streams.h"

static const char *const protocol_methods[] = { "data_received", "_stream_reader", "_drain_helper" };

enum {
    PROTOCOL_DATA_RECEIVED,
    PROTOCOL_STREAM_READER,
    PROTOCOL_DRAIN_HELPER,
};

static const struct primitive_kind protocol_kind = PRIMITIVE_KIND(StreamReaderProtocol, protocol_methods);

StreamReaderProtocol *
stream_protocol_cast(struct state *state, PyObject *object)
{
    StreamReaderProtocol *self = (StreamReaderProtocol *)object;
    bool ours = state_type_check(object, state->StreamReaderProtocol_type);
    return ours && !primitive_overrides((Primitive *)self, 1 << PROTOCOL_DRAIN_HELPER) ? self : NULL;
}

/* Whether data_received() is done here, where `methods`, a set of bits, are not overridden. */
static inline bool
is_usual(StreamReaderProtocol *self, unsigned methods)
{
    PyObject *weakref = self->reader_weakref;
    return AC_LIKELY(weakref != NULL && (weakref == Py_None || PyWeakref_CheckRef(weakref))
                     && !primitive_overrides((Primitive *)self, methods));
}

/* data_received(data).  Needs: usual.  Returns 0 or -1. */
static int
give_to_reader(StreamReaderProtocol *self, PyObject *data)
{
    PyObject *weakref = self->reader_weakref;
    PyObject *reader = weakref == Py_None ? NULL : compat_weakref_get(weakref);
    int result = reader ? stream_reader_feed(self->state, reader, data) : 0;
    MONITOR_SET(reader, NULL);
    return result;
}

/* What transports call, as net/direct.h says.  Needs: the protocol is of our class, or asyncio's very own. */
static int
feed_stream(struct state *state, PyObject *protocol, PyObject *data)
{
    StreamReaderProtocol *self = (StreamReaderProtocol *)protocol;
    if ((PyObject *)Py_TYPE(protocol) == state->asyncio_StreamReaderProtocol) {
        return stock_streams_feed(state, protocol, data);
    }
    PRIMITIVE_GUARD(self);
    if (!is_usual(self, 1 << PROTOCOL_DATA_RECEIVED | 1 << PROTOCOL_STREAM_READER)) {
        return 0;
    }
    return give_to_reader(self, data) < 0 ? -1 : 1;
}

/* ---- Python face ---- */

static PyObject *
StreamReaderProtocol_data_received(StreamReaderProtocol *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 1 || kwnames != NULL || !is_usual(self, 1 << PROTOCOL_STREAM_READER))) {
        return primitive_call_asyncio_method((Primitive *)self, PROTOCOL_DATA_RECEIVED, args, nargs, kwnames);
    }
    return transport_none_unless(give_to_reader(self, args[0]));
}

static PyObject *
StreamReaderProtocol_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    struct freelist *freelist = state ? &state->StreamReaderProtocol_freelist : NULL;
    return state ? (PyObject *)primitive_alloc(type, freelist, state, &protocol_kind) : NULL;
}

static int
StreamReaderProtocol_traverse(StreamReaderProtocol *self, visitproc visit, void *arg)
{
    Py_VISIT(self->reader_weakref);
    return primitive_traverse((Primitive *)self, visit, arg);
}

static int
StreamReaderProtocol_clear(StreamReaderProtocol *self)
{
    Py_CLEAR(self->reader_weakref);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
StreamReaderProtocol_dealloc(StreamReaderProtocol *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    StreamReaderProtocol_clear(self);
    freelist_free(&state->StreamReaderProtocol_freelist, NULL, (PyObject *)self);
}

PyDoc_STRVAR(data_received_doc, "data_received($self, data)\n--\n\n"
                                "Give data to the reader, if there is still one.\n\n"
                                "asyncio documentation: Transports and Protocols, Streaming Protocols.");

static PyMethodDef StreamReaderProtocol_methods[] = {
    { "data_received", AC_FAST(StreamReaderProtocol_data_received), METH_FASTCALL | METH_KEYWORDS, data_received_doc },
    { 0 },
};

static const struct primitive_attribute reader_attribute = { "_stream_reader_wr",
                                                             offsetof(StreamReaderProtocol, reader_weakref) };

static PyGetSetDef StreamReaderProtocol_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    PRIMITIVE_OBJECT_ATTRIBUTE("_stream_reader_wr", "A weak reference to the reader, or None.", reader_attribute),
    { 0 },
};

static PyMemberDef StreamReaderProtocol_members[] = {
    { "_paused", T_BOOL, offsetof(StreamReaderProtocol, paused), 0, "Whether the transport has too much to send." },
    { "_connection_lost", T_BOOL, offsetof(StreamReaderProtocol, connection_lost), 0, NULL },
    { 0 },
};

PyDoc_STRVAR(StreamReaderProtocol_doc, "The native half of asyncio_c.StreamReaderProtocol.");

static PyType_Slot StreamReaderProtocol_slots[] = {
    { Py_tp_doc, (void *)StreamReaderProtocol_doc }, { Py_tp_new, StreamReaderProtocol_new },
    { Py_tp_dealloc, StreamReaderProtocol_dealloc }, { Py_tp_traverse, StreamReaderProtocol_traverse },
    { Py_tp_clear, StreamReaderProtocol_clear },     { Py_tp_methods, StreamReaderProtocol_methods },
    { Py_tp_getset, StreamReaderProtocol_getset },   { Py_tp_members, StreamReaderProtocol_members },
    { Py_tp_setattro, primitive_setattro },          { 0, NULL },
};

static PyType_Spec StreamReaderProtocol_spec = {
    .name = "asyncio_c._core.StreamReaderProtocol",
    .basicsize = sizeof(StreamReaderProtocol),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = StreamReaderProtocol_slots,
};

int
stream_protocol_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->StreamReaderProtocol_type, &StreamReaderProtocol_spec, NULL) < 0) {
        return -1;
    }
    state->feed_stream = feed_stream;
    return stock_streams_register(module) < 0 ? -1 : primitive_register(module, &protocol_kind);
}
