/* TLSTransport: what a protocol over TLS has for a transport.  Layer: tls.

   The Python class asyncio_c.tls.SSLProtocolTransport derives from this type first and from asyncio's second.  Here is what a
   program calls for each message; asyncio has the rest, on the three attributes. */
#include "tls/tls_protocol.h"

#include "py/args.h"
#include "py/field.h"

enum { BASE_SLOTS = 5 }; /* of asyncio.transports._FlowControlMixin; its `_loop` is hidden by ours */

typedef struct {
    PyObject_HEAD
    PyObject *base_slots[BASE_SLOTS]; /* always NULL */
    struct state *state;
    PyObject *loop; /* owned, as is the protocol, which close() after close() sets to None */
    PyObject *ssl_protocol;
    bool closed;
    LOOP_HOME
} TLSTransport;

/* ---- Python face ---- */

/* The native protocol, or NULL without an exception. */
static TLSProtocol *
protocol_borrow(TLSTransport *self)
{
    PyObject *protocol = self->ssl_protocol;
    return protocol != NULL && PyObject_TypeCheck(protocol, self->state->TLSProtocol_type) ? (TLSProtocol *)protocol
                                                                                           : NULL;
}

/* self._ssl_protocol.method(argument), whatever that is. */
static PyObject *
call_protocol(TLSTransport *self, PyObject *method, PyObject *argument)
{
    PyObject *protocol = Py_NewRef(transport_or_none(self->ssl_protocol)), *args[] = { protocol, argument };
    PyObject *result = PyObject_VectorcallMethod(method, args, argument ? 2 : 1, NULL);
    Py_DECREF(protocol);
    return result;
}

static PyObject *
TLSTransport_write(TLSTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    PyObject *data = args_parse_one("write", "data", args, nargs, kwnames);
    if (data == NULL) {
        return NULL;
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyObject *name = PyType_GetName(Py_TYPE(data));
        if (name != NULL) {
            PyErr_Format(PyExc_TypeError, "data: expecting a bytes-like instance, got %U", name);
            Py_DECREF(name);
        }
        return NULL;
    }
    int any = PyObject_IsTrue(data);
    if (any <= 0) {
        return transport_none_unless(any);
    }
    TLSProtocol *protocol = protocol_borrow(self);
    if (protocol == NULL) {
        PyObject *list = PyTuple_Pack(1, data);
        PyObject *result = list ? call_protocol(self, self->state->str__write_appdata, list) : NULL;
        Py_XDECREF(list);
        return result;
    }
    Py_INCREF(protocol);
    int result = tls_protocol_write(protocol, data);
    Py_DECREF(protocol);
    return transport_none_unless(result);
}

static PyObject *
TLSTransport_writelines(TLSTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    PyObject *list_of_data = args_parse_one("writelines", "list_of_data", args, nargs, kwnames);
    return list_of_data ? call_protocol(self, self->state->str__write_appdata, list_of_data) : NULL;
}

static PyObject *
TLSTransport_get_write_buffer_size(TLSTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    TLSProtocol *protocol = protocol_borrow(self);
    if (protocol == NULL) {
        return call_protocol(self, self->state->str__get_write_buffer_size, NULL);
    }
    Py_INCREF(protocol);
    Py_ssize_t size = tls_protocol_flush(protocol) < 0 ? -1 : tls_protocol_write_buffer_size(protocol);
    Py_DECREF(protocol);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static int
TLSTransport_traverse(TLSTransport *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    LOOP_HOME_VISIT(self);
    Py_VISIT(self->loop);
    Py_VISIT(self->ssl_protocol);
    return 0;
}

static int
TLSTransport_clear(TLSTransport *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->ssl_protocol);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
TLSTransport_dealloc(TLSTransport *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    TLSTransport_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
TLSTransport_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    TLSTransport *self = state ? (TLSTransport *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static PyMethodDef TLSTransport_methods[] = {
    { "write", AC_FAST(TLSTransport_write), METH_FASTCALL | METH_KEYWORDS,
      "write($self, /, data)\n--\n\n"
      "Write data, a bytes-like object, without blocking; keep what the peer does not take yet.\n\n"
      "What one callback or task step writes is encrypted and sent when that ends.  Raises TypeError if\n"
      "data is of another type.\n\n"
      "asyncio documentation: Transports and Protocols, Write-only Transports." },
    { "writelines", AC_FAST(TLSTransport_writelines), METH_FASTCALL | METH_KEYWORDS,
      "writelines($self, /, list_of_data)\n--\n\n"
      "Write an iterable of bytes-like objects, as write() does.\n\n"
      "asyncio documentation: Transports and Protocols, Write-only Transports." },
    { "get_write_buffer_size", (PyCFunction)TLSTransport_get_write_buffer_size, METH_NOARGS,
      "get_write_buffer_size($self, /)\n--\n\n"
      "Return how many bytes wait for the transport below.\n\n"
      "asyncio documentation: Transports and Protocols, Write-only Transports." },
    { 0 },
};

#define TLS_FIELDS(X)                        \
    X(TLSTransport, "_loop", T_OBJECT, loop) \
    X(TLSTransport, "_ssl_protocol", T_OBJECT, ssl_protocol)

FIELD_ACCESS(TLSTransport, TRANSPORT_GUARD)

static PyGetSetDef TLSTransport_getset[] = {
    TLS_FIELDS(FIELD_AS_GETSET){ 0 },
};

static PyMemberDef TLSTransport_members[] = {
    { "_closed", T_BOOL, offsetof(TLSTransport, closed), 0, NULL },
    TLS_FIELDS(FIELD_AS_MEMBER){ 0 },
};

PyDoc_STRVAR(TLSTransport_doc, "What asyncio_c.tls.SSLProtocolTransport does for each write.\n\n"
                               "asyncio documentation: Transports and Protocols.");

static PyType_Slot TLSTransport_slots[] = {
    { Py_tp_doc, (void *)TLSTransport_doc },
    { Py_tp_new, TLSTransport_new },
    { Py_tp_dealloc, TLSTransport_dealloc },
    { Py_tp_traverse, TLSTransport_traverse },
    { Py_tp_clear, TLSTransport_clear },
    { Py_tp_methods, TLSTransport_methods },
    { Py_tp_members, TLSTransport_members },
    { Py_tp_getset, TLSTransport_getset },
    { 0, NULL },
};

static PyType_Spec TLSTransport_spec = {
    .name = "asyncio_c._core.TLSTransport",
    .basicsize = sizeof(TLSTransport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = TLSTransport_slots,
};

int
tls_transport_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    return transport_add_type(module, &state->TLSTransport_type, &TLSTransport_spec, state->asyncio_FlowControlMixin,
                              offsetof(TLSTransport, state));
}
