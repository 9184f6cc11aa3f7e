/* StreamTransport: how it is opened, what it knows of its socket, how it ends.  Layer: net.

   Equivalent are asyncio's methods, whose order of events this keeps.  What a server does for each of its connections and
   hardly anybody asks for is put off: the dictionary behind get_extra_info() and the socket object in it are made when they
   are asked for.  The names are not: after the peer has gone the kernel may not know them any more. */
#include "net/stream_transport.h"

#include "core/reader.h"
#include "net/accept.h"
#include "net/address.h"
#include "net/fd_map.h"
#include "net/net.h"
#include "net/plain_socket.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/stand_in.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* ---- What get_extra_info() knows ---- */

typedef int (*name_function)(int fd, struct sockaddr *address, socklen_t *length);

/* What sock.method() returns, or None if it raises OSError; from `function` directly if the kind of socket is known. */
static PyObject *
ask_name(PyObject *sock, int fd, bool direct, name_function function, PyObject *method)
{
    if (direct) {
        struct address address = { .length = sizeof(address.storage) };
        if (function(fd, (struct sockaddr *)&address.storage, &address.length) < 0) {
            Py_RETURN_NONE;
        }
        if (address_family_is_known(address.storage.ss_family)) {
            return address_to_object(&address);
        }
    }
    PyObject *name = PyObject_CallMethodNoArgs(sock, method);
    if (name == NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return name;
}

/* Takes down what get_extra_info() shall say.  Returns 0 or -1. */
static int
note_info(StreamTransport *self, PyObject *sock, PyObject *peername)
{
    struct state *state = self->state;
    bool direct = socket_is_plain(state, sock);
    Py_XSETREF(self->info.sock, Py_NewRef(sock));
    PyObject *sockname = ask_name(sock, self->fd, direct, getsockname, state->str_getsockname);
    if (sockname == NULL) {
        return -1;
    }
    Py_XSETREF(self->info.sockname, sockname);
    peername = peername ? Py_NewRef(peername) : ask_name(sock, self->fd, direct, getpeername, state->str_getpeername);
    if (peername == NULL) {
        return -1;
    }
    Py_XSETREF(self->info.peername, peername);
    return 0;
}

/* extra[key] = value, as of a new transport.  `extra` is held by the caller, and may be any mapping. */
static int
fill_extra(StreamTransport *self, PyObject *extra)
{
    struct state *state = self->state;
    PyObject *sock = Py_NewRef(transport_or_none(self->info.sock));
    PyObject *sockname = Py_NewRef(transport_or_none(self->info.sockname));
    PyObject *peername = Py_NewRef(transport_or_none(self->info.peername));
    PyObject *socket = PyObject_CallMethod((PyObject *)self, "_transport_socket", "(O)", sock);
    int result = socket ? PyObject_SetItem(extra, state->str_socket, socket) : -1;
    if (result == 0) {
        result = PyObject_SetItem(extra, state->str_sockname, sockname);
    }
    int known = result == 0 ? PySequence_Contains(extra, state->str_peername) : -1;
    if (known <= 0) {
        result = known < 0 ? -1 : PyObject_SetItem(extra, state->str_peername, peername);
    }
    Py_XDECREF(socket);
    Py_DECREF(sock);
    Py_DECREF(sockname);
    Py_DECREF(peername);
    return result;
}

/* The dictionary, borrowed; None for a transport that was never opened.  NULL with an exception. */
static PyObject *
extra_borrow(StreamTransport *self)
{
    if (self->extra == NULL) {
        PyObject *extra = PyDict_New();
        if (extra == NULL || (self->info.peername != NULL && fill_extra(self, extra) < 0)) {
            Py_XDECREF(extra);
            return NULL;
        }
        Py_XSETREF(self->extra, extra);
    }
    return self->extra;
}

PyObject *
StreamTransport_get_extra(StreamTransport *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return Py_XNewRef(extra_borrow(self));
}

int
StreamTransport_set_extra(StreamTransport *self, PyObject *value, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    Py_XSETREF(self->extra, Py_XNewRef(value));
    return 0;
}

PyObject *
StreamTransport_get_extra_info(StreamTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    static const char *const names[] = { "name", "default" };
    struct state *state = self->state;
    PyObject *values[AC_ARRAY_SIZE(names)];
    int aside = stand_in_stepped_aside(state, Py_TYPE(self), &state->transport_version, Py_TYPE(self),
                                       state->str_get_extra_info);
    if (AC_UNLIKELY(aside != 0)) {
        PyObject *method = aside < 0 ? NULL : PyObject_GetAttr((PyObject *)self, state->str_get_extra_info);
        return args_call_steal(method, args, nargs, kwnames);
    }
    if (args_parse("get_extra_info", names, 1, AC_ARRAY_SIZE(names), args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    PyObject *name = values[0], *default_value = values[1] ? values[1] : Py_None;
    /* The names without the dictionary, which is all that an access log wants. */
    PyObject *known = self->extra != NULL           ? NULL
                      : name == state->str_peername ? self->info.peername
                      : name == state->str_sockname ? self->info.sockname
                                                    : NULL;
    if (known != NULL) {
        return Py_NewRef(known);
    }
    PyObject *extra = Py_XNewRef(extra_borrow(self)); /* the name may be anything, and so may its __eq__() */
    PyObject *value = extra ? PyObject_CallMethod(extra, "get", "OO", name, default_value) : NULL;
    Py_XDECREF(extra);
    return value;
}

/* ---- Opening ---- */

/* server._attach(self) or server._detach(self); to 3.12 they take no argument.  Returns 0 or -1. */
static int
call_server(StreamTransport *self, PyObject *server, PyObject *method)
{
    PyObject *args[] = { Py_NewRef(server), (PyObject *)self };
    PyObject *result = PyObject_VectorcallMethod(method, args, AC_PY313 ? 2 : 1, NULL);
    Py_DECREF(args[0]);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Tells the server and loop._transports.  Returns 0 or -1. */
static int
announce(StreamTransport *self, PyObject *loop, PyObject *server)
{
    if (transport_is_set(server) && call_server(self, server, self->state->str__attach) < 0) {
        return -1;
    }
    PyObject *transports = PyObject_GetAttr(loop, self->state->str__transports);
    if (transports == NULL) {
        return -1;
    }
    int result;
    if (PyObject_TypeCheck(transports, self->state->FdMap_type)) {
        result = fd_map_set((FdMap *)transports, self->fd, (PyObject *)self);
    }
    else {
        PyObject *fd = PyLong_FromLong(self->fd);
        result = fd ? PyObject_SetItem(transports, fd, (PyObject *)self) : -1;
        Py_XDECREF(fd);
    }
    Py_DECREF(transports);
    return result;
}

/* connection_made(), then the first read, then the waiter: in asyncio's order, each a turn of its own in the queue.  Returns
   0 or -1. */
static int
schedule_start(StreamTransport *self, PyObject *loop, PyObject *waiter, PyObject *context)
{
    struct state *state = self->state;
    if (transport_call_soon(state, self->protocol, loop, state->str_connection_made, (PyObject *)self, context) < 0
        || transport_call_soon(state, (PyObject *)self, loop, state->str__start_reading, NULL, context) < 0) {
        return -1;
    }
    if (!transport_is_set(waiter)) {
        return 0;
    }
    PyObject *args[] = { loop, state->set_result_unless_cancelled, waiter, Py_None, context };
    PyObject *kwnames = transport_is_set(context) ? state->context_kwnames : NULL;
    PyObject *handle = PyObject_VectorcallMethod(state->str_call_soon, args, 4, kwnames);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* Small writes are not to wait for the peer's acknowledgement of earlier ones.  Whatever is not TCP refuses, and asyncio's
   question after the socket's protocol misses sockets that were made without naming one. */
static void
set_nodelay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* What __init__() does, with what the caller holds: what it calls may take any field from the transport.  Returns 0 or -1. */
static int
open_transport(StreamTransport *self, PyObject *loop, PyObject *sock, PyObject *protocol, PyObject *waiter,
               PyObject *extra, PyObject *peername, PyObject *server, PyObject *context)
{
    GUARD(loop_cast(self->state, loop), self);
    Py_XSETREF(self->loop, Py_NewRef(loop));
    Py_XSETREF(self->extra, transport_is_set(extra) ? Py_NewRef(extra) : NULL);
    Py_XSETREF(self->context, Py_NewRef(context ? context : Py_None));
    if (stream_transport_set_protocol(self, protocol) < 0 || transport_loop_borrow(self->state, self->loop) == NULL) {
        return -1;
    }
    PyObject *fd = PyObject_CallMethodNoArgs(sock, self->state->str_fileno);
    long number = fd ? PyLong_AsLong(fd) : -1;
    Py_XDECREF(fd);
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (number < INT_MIN || number > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "fileno() returned what is no file descriptor");
        return -1;
    }
    self->fd = (int)number;
    /* From here on the transport owns the socket. */
    Py_XSETREF(self->sock, Py_NewRef(sock));
    Py_XSETREF(self->server, Py_NewRef(server ? server : Py_None));
    if (socket_is_plain(self->state, sock)) {
        set_nodelay(self->fd);
    }
    if (note_info(self, sock, peername) < 0 || (transport_is_set(extra) && fill_extra(self, extra) < 0)) {
        return -1;
    }
    return announce(self, loop, server) < 0 || schedule_start(self, loop, waiter, context) < 0 ? -1 : 0;
}

int
StreamTransport_init(StreamTransport *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = { "loop", "sock", "protocol", "waiter", "extra", "server", "context", NULL };
    PyObject *loop, *sock, *protocol, *waiter = NULL, *extra = NULL, *server = NULL, *context = NULL, *peername = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|OOOO:StreamTransport", names, &loop, &sock, &protocol, &waiter,
                                     &extra, &server, &context)) {
        return -1;
    }
    /* Not asked for where it is given: of what was accepted and has been left by its peer nobody else knows it. */
    if (transport_is_set(extra)) {
        peername = PyObject_CallMethod(extra, "get", "O", self->state->str_peername);
        int known = peername ? PySequence_Contains(extra, self->state->str_peername) : -1;
        if (known <= 0) {
            Py_CLEAR(peername);
        }
        if (known < 0) {
            return -1;
        }
    }
    int result = open_transport(self, loop, sock, protocol, waiter, extra, peername, server, context);
    Py_XDECREF(peername);
    return result;
}

/* The Python class.  Borrowed. */
static PyObject *
transport_class_borrow(struct state *state)
{
    return state_class_borrow(&state->stream_transport_class, "asyncio_c.transports", "StreamTransport");
}

bool
stream_transport_is_exact(struct state *state, PyObject *object)
{
    if (!PyObject_TypeCheck(object, state->StreamTransport_type)) {
        return false;
    }
    PyObject *class = transport_class_borrow(state);
    if (class == NULL) {
        PyErr_Clear();
    }
    return (PyObject *)Py_TYPE(object) == class;
}

PyObject *
stream_transport_new(Loop *loop, PyObject *sock, PyObject *protocol, PyObject *waiter, PyObject *extra,
                     PyObject *peername, PyObject *server, PyObject *context)
{
    struct state *state = loop->state;
    PyTypeObject *class = (PyTypeObject *)transport_class_borrow(state);
    PyObject *none = class ? PyTuple_New(0) : NULL;
    StreamTransport *self = none ? (StreamTransport *)class->tp_new(class, none, NULL) : NULL;
    Py_XDECREF(none);
    if (self != NULL
        && open_transport(self, (PyObject *)loop, sock, protocol, waiter, extra, peername, server, context) < 0) {
        PyObject *exception = compat_exception_take();
        Py_CLEAR(self); /* which warns that it was not closed */
        compat_exception_restore_steal(exception);
    }
    return (PyObject *)self;
}

/* ---- Ending ---- */

PyObject *
stream_transport_call_asyncio(StreamTransport *self, const char *name)
{
    PyObject *object = (PyObject *)self;
    return args_call_steal(PyObject_GetAttrString(self->state->asyncio_SocketTransport, name), &object, 1, NULL);
}

PyObject *
StreamTransport__read_ready__on_eof(StreamTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    struct state *state = self->state;
    Loop *loop = transport_loop_borrow(state, self->loop);
    if (loop == NULL) {
        return NULL;
    }
    if (!loop->fused) {
        return stream_transport_call_asyncio(self, "_read_ready__on_eof"); /* which logs it in debug mode */
    }
    /* Held, for looking the method up may set another; None where there is none has no such method. */
    PyObject *protocol = Py_NewRef(self->protocol ? self->protocol : Py_None);
    PyObject *answer = PyObject_CallMethodNoArgs(protocol, state->str_eof_received);
    Py_DECREF(protocol);
    int keep_open = answer ? PyObject_IsTrue(answer) : -1;
    if (answer == NULL) {
        return transport_none_unless(
            transport_fatal_error((PyObject *)self, "Fatal error: protocol.eof_received() call failed."));
    }
    Py_DECREF(answer);
    if (keep_open < 0) {
        return NULL;
    }
    if (!keep_open) {
        return PyObject_CallMethodNoArgs((PyObject *)self, state->str_close);
    }
    loop = loop_cast(state, transport_or_none(self->loop)); /* eof_received() may have ended it */
    return transport_none_unless(loop && !loop->closed ? reader_unwatch(loop, self->fd, READER_READ) : 0);
}

/* Ends what still waits for the socket, a sendfile(): its number is soon another's.  Returns 0 or -1. */
static int
stop_watching(StreamTransport *self, PyObject *sock)
{
    Loop *loop = self->loop ? loop_cast(self->state, self->loop) : NULL;
    if (AC_LIKELY(loop == NULL || loop->closed || !reader_may_watch(loop, self->fd))) {
        return 0;
    }
    Py_INCREF(loop); /* which fileno() may take from the transport */
    PyObject *number = PyObject_CallMethodNoArgs(sock, self->state->str_fileno);
    long fd =
        number ? PyLong_AsLong(number) : -1; /* who has closed the socket behind our back has given the number away */
    Py_XDECREF(number);
    int result = PyErr_Occurred() ? -1 : 0;
    if (result == 0 && fd == self->fd) {
        result = reader_unwatch(loop, self->fd, READER_READ) < 0 ? -1 : reader_unwatch(loop, self->fd, READER_WRITE);
    }
    Py_DECREF(loop);
    return result;
}

/* Lets go of the socket and of everything else.  Returns 0 or -1. */
static int
release_everything(StreamTransport *self)
{
    PyObject *sock = Py_NewRef(self->sock ? self->sock : Py_None);
    PyObject *closed = NULL;
    if (stop_watching(self, sock) == 0) {
        closed = PyObject_CallMethodNoArgs(sock, self->state->str_close);
    }
    Py_DECREF(sock);
    if (closed == NULL) {
        return -1;
    }
    Py_DECREF(closed);
    Py_XSETREF(self->sock, Py_NewRef(Py_None));
    Py_XSETREF(self->protocol, Py_NewRef(Py_None));
    Py_XSETREF(self->loop, Py_NewRef(Py_None));
    PyObject *server = self->server;
    if (!transport_is_set(server)) {
        return 0;
    }
    Py_INCREF(server);
    int result = call_server(self, server, self->state->str__detach);
    if (result == 0) {
        Py_XSETREF(self->server, Py_NewRef(Py_None));
    }
    Py_DECREF(server);
    return result;
}

/* For who waits for the buffer to be empty.  Returns 0 or -1. */
static int
fail_empty_waiter(StreamTransport *self)
{
    if (!transport_is_set(self->empty_waiter)) {
        return 0;
    }
    PyObject *waiter = Py_NewRef(self->empty_waiter);
    PyObject *error = PyObject_CallFunction(PyExc_ConnectionError, "s", "Connection is closed by peer");
    PyObject *result = error ? PyObject_CallMethod(waiter, "set_exception", "O", error) : NULL;
    Py_DECREF(waiter);
    Py_XDECREF(error);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* One step of what happens in any case: an exception of its own takes the place of `*exception`. */
static void
do_finally(StreamTransport *self, int (*step)(StreamTransport *self), PyObject **exception)
{
    if (step(self) < 0) {
        PyObject *raised = compat_exception_take();
        if (*exception != NULL) {
            PyException_SetContext(raised, *exception); /* takes it */
        }
        *exception = raised;
    }
}

PyObject *
StreamTransport__call_connection_lost(StreamTransport *self, PyObject *reason)
{
    TRANSPORT_GUARD(self);
    PyObject *exception = NULL;
    if (self->protocol_connected) {
        PyObject *protocol = Py_NewRef(self->protocol ? self->protocol : Py_None);
        PyObject *result = PyObject_CallMethodOneArg(protocol, self->state->str_connection_lost, reason);
        Py_DECREF(protocol);
        exception = result ? NULL : compat_exception_take();
        Py_XDECREF(result);
    }
    do_finally(self, release_everything, &exception);
    if (AC_PY314 || exception == NULL) {
        do_finally(self, fail_empty_waiter, &exception);
    }
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* asyncio's __del__(), which warns, where there is something to warn of. */
void
StreamTransport_finalize(StreamTransport *self)
{
    if (!transport_is_set(self->sock)) {
        return;
    }
    PyObject *saved = compat_exception_take();
    PyObject *result = stream_transport_call_asyncio(self, "__del__");
    if (result == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(result);
    if (saved != NULL) {
        compat_exception_restore_steal(saved);
    }
}

/* ---- Python face of the loop ---- */

PyDoc_STRVAR(make_socket_transport_doc,
             "_make_socket_transport($self, /, sock, protocol, waiter=None, *, extra=None, server=None,\n"
             "                       context=None)\n--\n\n"
             "Return a transport of a connected socket, whose protocol is told soon.");

static PyObject *
Loop__make_socket_transport(Loop *self, PyObject *args, PyObject *kwargs)
{
    GUARD(self, self);
    static char *names[] = { "sock", "protocol", "waiter", "extra", "server", "context", NULL };
    PyObject *sock, *protocol, *waiter = NULL, *extra = NULL, *server = NULL, *context = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$OOO:_make_socket_transport", names, &sock, &protocol, &waiter,
                                     &extra, &server, &context)) {
        return NULL;
    }
    struct state *state = self->state;
    if (!socket_is_plain(state, sock)) {
        PyObject *function = PyObject_GetAttr(state->asyncio_SelectorEventLoop, state->str__make_socket_transport);
        PyObject *method = function ? PyMethod_New(function, (PyObject *)self) : NULL;
        PyObject *transport = method ? PyObject_Call(method, args, kwargs) : NULL;
        Py_XDECREF(function);
        Py_XDECREF(method);
        return transport;
    }
    if (AC_PY312) {
        PyObject *free = PyObject_CallMethod((PyObject *)self, "_ensure_fd_no_transport", "(O)", sock);
        if (free == NULL) {
            return NULL;
        }
        Py_DECREF(free);
    }
    PyObject *class = transport_class_borrow(state);
    PyObject *given[] = { (PyObject *)self,
                          sock,
                          protocol,
                          waiter ? waiter : Py_None,
                          extra ? extra : Py_None,
                          server ? server : Py_None,
                          context ? context : Py_None };
    return class ? PyObject_Vectorcall(class, given, AC_ARRAY_SIZE(given), NULL) : NULL;
}

static PyMethodDef loop_methods[] = {
    { "_make_socket_transport", (PyCFunction)(void (*)(void))Loop__make_socket_transport, METH_VARARGS | METH_KEYWORDS,
      make_socket_transport_doc },
};

int
stream_lifecycle_register(PyObject *module)
{
    return loop_add_methods(state_of_module(module), loop_methods, AC_ARRAY_SIZE(loop_methods));
}
