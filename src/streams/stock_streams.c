/* asyncio's own stream classes, fed from C.  Layer: streams.

   On a loop of ours without patch() a stream is asyncio's StreamReaderProtocol and StreamReader, of which Python runs two methods,
   a property and a helper for all that comes.  Equivalent to these, where there is no need to pause the transport:

       reader = protocol._stream_reader_wr()
       reader._buffer.extend(data)
       waiter, reader._waiter = reader._waiter, None
       if waiter is not None and not waiter.cancelled(): waiter.set_result(None)

   That holds for objects of just these classes, while neither the classes nor the objects have other methods than they had when
   we were imported, which were asyncio's; what they are is told by the versions of the classes, the codes of the functions, and by
   asking the objects.  Anything else is left to asyncio's methods, and nothing has happened then.

   Between a pipe of a process and its reader, which is asyncio's or ours, asyncio has more, with a turn of the loop in it:

       pipe.data_received(data)                                        # ReadSubprocessPipeProto
       -> pipe.proc._pipe_data_received(pipe.fd, data)                 # the transport
       -> transport._loop.call_soon(transport._protocol.pipe_data_received, fd, data)
       -> (protocol.stdout if fd == 1 else protocol.stderr).feed_data(data)

   Here what is called soon is the last of these in C, under the name of asyncio's. */
#include "streams/stock_streams.h"

#include "core/future.h"
#include "core/handle.h"
#include "py/args.h"
#include "streams/byte_queue.h"
#include "streams/stream_reader.h"

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
    unsigned reader_version = compat_type_version(class_of(reader));
    unsigned protocol_version = compat_type_version(class_of(protocol));
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
    COMPAT_STORE(state->stock_reader_version, stock ? compat_type_version_since(class_of(reader), reader_version) : 0);
    COMPAT_STORE(state->stock_protocol_version,
                 stock ? compat_type_version_since(class_of(protocol), protocol_version) : 0);
    return stock;
}

/* Whether the functions do what they did: function, code, function, code ... */
static bool
have_their_codes(PyObject *codes)
{
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
    bool known = reader != 0 && reader == COMPAT_LOAD(state->stock_reader_version) && protocol != 0
                 && protocol == COMPAT_LOAD(state->stock_protocol_version);
    return have_their_codes(state->stock_stream_codes) && (AC_LIKELY(known) || decide(state));
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
    FUTURE_GUARD(future);
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

/* ---- Of processes ---- */

/* self.<name> of the exact class, or NULL without an exception.  New reference. */
static PyObject *
get_exactly(PyObject *object, PyObject *name, PyObject *class)
{
    PyObject *value = get(object, name);
    if (value != NULL && (PyObject *)Py_TYPE(value) != class) {
        Py_CLEAR(value);
    }
    return value;
}

/* loop.call_soon(protocol.pipe_data_received, fd, data).  Returns 0 or -1. */
static int
feed_soon(struct state *state, Loop *loop, PyObject *protocol, PyObject *fd, PyObject *data)
{
    PyObject *args[] = { fd, data }, *feeder = PyMethod_New(state->process_feeder, protocol);
    Handle *handle = feeder ? handle_new(state, (PyObject *)loop, feeder, args, 2, NULL) : NULL;
    int result = handle ? loop_push_open(loop, &handle->runnable) : -1;
    Py_XDECREF((PyObject *)handle);
    Py_XDECREF(feeder);
    return result;
}

/* Whether an object, which has its attributes in no other way than usual, has a method of asyncio's. */
static bool
has_stock(PyObject *object, PyObject *name, PyObject *function)
{
    return Py_TYPE(object)->tp_getattro == PyObject_GenericGetAttr && compat_has_method(object, name, function);
}

/* transport._pipe_data_received(fd, data), as feed_process(). */
static int
transport_receives(struct state *state, PyObject *transport, PyObject *fd, PyObject *data)
{
    if (!has_stock(transport, state->str__pipe_data_received, state->transport_received)
        || !has_stock(transport, state->str__call, state->transport_call)) {
        return 0;
    }
    PyObject *pending = get(transport, state->str__pending_calls), *loop = get(transport, state->str__loop);
    PyObject *protocol = get_exactly(transport, state->str__protocol, state->asyncio_ProcessProtocol);
    Loop *ours = loop ? loop_cast(state, loop) : NULL;
    bool usual = pending == Py_None && ours != NULL && ours->fused && !ours->closed && protocol != NULL
                 && has_stock(protocol, state->str_pipe_data_received, state->process_received);
    int result = 0;
    if (AC_LIKELY(usual)) {
        result = feed_soon(state, ours, protocol, fd, data) < 0 ? -1 : 1;
    }
    Py_XDECREF(pending);
    Py_XDECREF(loop);
    Py_XDECREF(protocol);
    return result;
}

/* pipe.data_received(data) of asyncio's very ReadSubprocessPipeProto; returns as stock_streams_feed().  Runs Python. */
static int
feed_process(struct state *state, PyObject *pipe, PyObject *data)
{
    if (!have_their_codes(state->stock_process_codes)
        || !has_stock(pipe, state->str_data_received, state->pipe_received)) {
        return 0;
    }
    PyObject *transport = get(pipe, state->str_proc), *fd = get_exactly(pipe, state->str_fd, (PyObject *)&PyLong_Type);
    int result = transport != NULL && fd != NULL ? transport_receives(state, transport, fd, data) : 0;
    Py_XDECREF(transport);
    Py_XDECREF(fd);
    return result;
}

/* reader.feed_data(data) of any reader.  Returns 0 or -1. */
static int
feed_any(struct state *state, PyObject *reader, PyObject *data)
{
    bool stock = (PyObject *)Py_TYPE(reader) == state->asyncio_StreamReader && are_stock(state);
    int fed = stock ? feed(state, reader, data) : 0;
    return fed == 0 ? stream_reader_feed(state, reader, data) : fed > 0 ? 0 : -1;
}

/* SubprocessStreamProtocol.pipe_data_received(self, fd, data), which was asyncio's a turn ago. */
static PyObject *
process_feeder(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct state *state = state_of_module(module);
    if (AC_UNLIKELY(nargs != 3 || (PyObject *)Py_TYPE(args[0]) != state->asyncio_ProcessProtocol
                    || !PyLong_CheckExact(args[1]) || !have_their_codes(state->stock_process_codes))) {
        return PyObject_Vectorcall(state->process_received, args, (size_t)nargs, NULL);
    }
    long fd = PyLong_AsLong(args[1]);
    PyErr_Clear();
    PyObject *reader = fd == 1 || fd == 2 ? PyObject_GetAttr(args[0], fd == 1 ? state->str_stdout : state->str_stderr)
                                          : Py_NewRef(Py_None);
    int result = reader == NULL ? -1 : reader == Py_None ? 0 : feed_any(state, reader, args[2]);
    Py_XDECREF(reader);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(process_feeder_doc, "Give data to the reader of the pipe that it came by.\n\n"
                                 "asyncio documentation: Transports and Protocols, Subprocess Protocols.");

/* By the name that asyncio's has in reports. */
static PyMethodDef process_feeder_def = { "SubprocessStreamProtocol.pipe_data_received", AC_FAST(process_feeder),
                                          METH_FASTCALL, process_feeder_doc };

/* ---- When the module is imported ---- */

/* Keeps functions with their codes in *codes; NULL there, if one is no function of the module that has these globals: somebody has
   put something else there before we came.  Returns 0 or -1. */
static int
keep_codes(PyObject **codes, PyObject *const *functions, const char *const *modules, size_t count)
{
    PyObject *kept = PyTuple_New(2 * (Py_ssize_t)count);
    for (size_t i = 0; kept != NULL && i < count; i++) {
        PyObject *globals = state_import(modules[i], "__dict__");
        if (globals == NULL) {
            Py_DECREF(kept);
            return -1;
        }
        bool own = PyFunction_Check(functions[i]) && PyFunction_GET_GLOBALS(functions[i]) == globals;
        Py_DECREF(globals);
        if (!own) {
            Py_DECREF(kept);
            return 0;
        }
        PyTuple_SET_ITEM(kept, 2 * (Py_ssize_t)i, Py_NewRef(functions[i]));
        PyTuple_SET_ITEM(kept, 2 * (Py_ssize_t)i + 1, Py_NewRef(PyFunction_GET_CODE(functions[i])));
    }
    Py_XSETREF(*codes, kept);
    return kept ? 0 : -1;
}

static int
register_streams(struct state *state)
{
    static const char streams[] = "asyncio.streams";
    PyObject *getter = PyObject_GetAttrString(state->asyncio_stream_reader, "fget");
    if (getter == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *functions[] = { state->asyncio_data_received, getter, state->asyncio_feed_data,
                              state->asyncio_wakeup_waiter };
    const char *modules[] = { streams, streams, streams, streams };
    int result = keep_codes(&state->stock_stream_codes, functions, modules, AC_ARRAY_SIZE(functions));
    Py_DECREF(getter);
    return result;
}

static int
register_processes(struct state *state)
{
    static const char transports[] = "asyncio.base_subprocess";
    PyObject *functions[] = { state->pipe_received, state->transport_received, state->transport_call,
                              state->process_received };
    const char *modules[] = { transports, transports, transports, "asyncio.subprocess" };
    return keep_codes(&state->stock_process_codes, functions, modules, AC_ARRAY_SIZE(functions));
}

int
stock_streams_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    state->process_feeder = PyCFunction_NewEx(&process_feeder_def, module, NULL);
    if (state->process_feeder == NULL || register_streams(state) < 0 || register_processes(state) < 0) {
        return -1;
    }
    state->feed_process = feed_process;
    return 0;
}
