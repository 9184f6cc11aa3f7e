/* asyncio's own stream classes, fed from C.  Layer: streams.

   On a loop of ours without patch() a stream is asyncio's StreamReaderProtocol and StreamReader, of which Python runs two methods,
   a property and a helper for all that comes.  Equivalent to these, where there is no need to pause the transport:

       reader = protocol._stream_reader_wr()
       reader._buffer.extend(data)
       waiter, reader._waiter = reader._waiter, None
       if waiter is not None and not waiter.cancelled(): waiter.set_result(None)

   That holds for objects of just these classes, while neither the classes nor the objects have other methods than they had when
   we were imported, which were asyncio's; what they are is told by the versions of the classes, the codes of the functions, and by
   asking the objects.  Anything else is left to asyncio's methods, and nothing has happened then. */
#include "streams/stock_streams.h"

#include "core/future.h"
#include "streams/byte_queue.h"

static PyTypeObject *
class_of(PyObject *class)
{
    return (PyTypeObject *)class;
}

static bool
keeps_attributes_in_its_dictionary(PyObject *class)
{
    PyTypeObject *type = class_of(class);
    return type->tp_getattro == PyObject_GenericGetAttr && type->tp_setattro == PyObject_GenericSetAttr;
}

AC_COLD static bool
decide(struct state *state)
{
    PyObject *reader = state->asyncio_StreamReader, *protocol = state->asyncio_StreamReaderProtocol;
    PyObject *plain_names[] = { state->str__buffer, state->str__eof, state->str__limit, state->str__waiter };
    bool stock = keeps_attributes_in_its_dictionary(reader) && keeps_attributes_in_its_dictionary(protocol)
                 && state_class_has(protocol, state->str_data_received, state->asyncio_data_received)
                 && state_class_has(protocol, state->str__stream_reader, state->asyncio_stream_reader)
                 && state_class_has(protocol, state->str__stream_reader_wr, NULL)
                 && state_class_has(reader, state->str_feed_data, state->asyncio_feed_data)
                 && state_class_has(reader, state->str__wakeup_waiter, state->asyncio_wakeup_waiter);
    for (size_t i = 0; i < AC_ARRAY_SIZE(plain_names); i++) {
        stock &= state_class_has(reader, plain_names[i], NULL);
    }
    state->stock_reader_version = stock ? compat_type_version(class_of(reader)) : 0;
    state->stock_protocol_version = stock ? compat_type_version(class_of(protocol)) : 0;
    return stock;
}

/* Keeps what is done here of asyncio's, with its code: function, code, function, code ...  Nothing, if somebody has put something else
   there before we came.  Returns 0 or -1. */
int
stock_streams_register(struct state *state)
{
    PyObject *globals = state_import("asyncio.streams", "__dict__");
    PyObject *getter = globals ? PyObject_GetAttrString(state->asyncio_stream_reader, "fget") : NULL;
    if (getter == NULL) {
        Py_XDECREF(globals);
        PyErr_Clear();
        return globals ? 0 : -1;
    }
    PyObject *functions[] = { state->asyncio_data_received, getter, state->asyncio_feed_data,
                              state->asyncio_wakeup_waiter };
    bool own = true;
    for (size_t i = 0; i < AC_ARRAY_SIZE(functions); i++) {
        own = own && PyFunction_Check(functions[i]) && PyFunction_GET_GLOBALS(functions[i]) == globals;
    }
    PyObject *codes = own ? PyTuple_New(2 * AC_ARRAY_SIZE(functions)) : NULL;
    for (size_t i = 0; codes != NULL && i < AC_ARRAY_SIZE(functions); i++) {
        PyTuple_SET_ITEM(codes, 2 * i, Py_NewRef(functions[i]));
        PyTuple_SET_ITEM(codes, 2 * i + 1, Py_NewRef(PyFunction_GET_CODE(functions[i])));
    }
    Py_XSETREF(state->stock_stream_codes, codes);
    Py_DECREF(getter);
    Py_DECREF(globals);
    return own && codes == NULL ? -1 : 0;
}

/* Whether the functions do what they did. */
static bool
have_their_codes(struct state *state)
{
    PyObject *codes = state->stock_stream_codes;
    for (Py_ssize_t i = 0; codes != NULL && i < PyTuple_GET_SIZE(codes); i += 2) {
        if (PyFunction_GET_CODE(PyTuple_GET_ITEM(codes, i)) != PyTuple_GET_ITEM(codes, i + 1)) {
            return false;
        }
    }
    return codes != NULL;
}

/* Whether the classes are as they were, and their functions. */
static inline bool
are_stock(struct state *state)
{
    unsigned reader = compat_type_version(class_of(state->asyncio_StreamReader));
    unsigned protocol = compat_type_version(class_of(state->asyncio_StreamReaderProtocol));
    bool known = reader != 0 && reader == state->stock_reader_version && protocol != 0
                 && protocol == state->stock_protocol_version;
    return have_their_codes(state) && (AC_LIKELY(known) || decide(state));
}

/* An attribute of an object of these classes, as they were: they have no other way to attributes than this.  New reference, or
   NULL without an exception. */
static PyObject *
get(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(object, name);
    if (AC_UNLIKELY(value == NULL)) {
        PyErr_Clear();
    }
    return value;
}

/* Whether so much more may wait in the buffer without the transport being paused. */
static bool
has_room(struct state *state, PyObject *reader, PyObject *buffer, PyObject *data)
{
    PyObject *limit = get(reader, state->str__limit);
    Py_ssize_t number = limit != NULL && PyLong_CheckExact(limit) ? PyLong_AsSsize_t(limit) : -1;
    PyErr_Clear();
    Py_XDECREF(limit);
    return number > 0 && PyByteArray_GET_SIZE(buffer) + PyBytes_GET_SIZE(data) - number <= number;
}

/* reader._wakeup_waiter().  Returns 0 or -1. */
static int
wake_up(struct state *state, PyObject *reader, PyObject *waiter)
{
    if (waiter == Py_None) {
        return 0;
    }
    if (PyObject_SetAttr(reader, state->str__waiter, Py_None) < 0) {
        return -1;
    }
    Future *future = (Future *)waiter;
    return future->future_state == FUTURE_CANCELLED ? 0 : future_set_result(future, Py_None);
}

static bool
has_ended(struct state *state, PyObject *reader)
{
    PyObject *eof = get(reader, state->str__eof);
    Py_XDECREF(eof);
    return eof != Py_False;
}

/* reader.feed_data(data), as stock_streams_feed(). */
static int
feed(struct state *state, PyObject *reader, PyObject *data)
{
    if (PyBytes_GET_SIZE(data) == 0 || has_ended(state, reader)
        || !compat_has_method(reader, state->str_feed_data, state->asyncio_feed_data)
        || !compat_has_method(reader, state->str__wakeup_waiter, state->asyncio_wakeup_waiter)) {
        return 0;
    }
    PyObject *buffer = get(reader, state->str__buffer), *waiter = get(reader, state->str__waiter);
    bool usual = buffer != NULL && PyByteArray_CheckExact(buffer) && waiter != NULL
                 && (waiter == Py_None || Py_TYPE(waiter) == state->Future_type)
                 && has_room(state, reader, buffer, data);
    int result = 0;
    if (AC_LIKELY(usual)) {
        result = bytearray_append(buffer, data) < 0 || wake_up(state, reader, waiter) < 0 ? -1 : 1;
    }
    Py_XDECREF(buffer);
    Py_XDECREF(waiter);
    return result;
}

int
stock_streams_feed(struct state *state, PyObject *protocol, PyObject *data)
{
    if (!are_stock(state) || !compat_has_method(protocol, state->str_data_received, state->asyncio_data_received)) {
        return 0;
    }
    PyObject *weakref = get(protocol, state->str__stream_reader_wr);
    PyObject *reader = weakref != NULL && PyWeakref_CheckRefExact(weakref) ? compat_weakref_get(weakref) : NULL;
    bool usual = reader != NULL && (PyObject *)Py_TYPE(reader) == state->asyncio_StreamReader;
    int result = usual ? feed(state, reader, data) : 0;
    Py_XDECREF(weakref);
    Py_XDECREF(reader);
    return result;
}
