/* Accepting connections for servers: loop._accept_connection().  Layer: net.

   Equivalent, where asyncio starts a task for each connection:

       def _accept_connection(self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, ...):
           for _ in range(backlog):
               try: connection, address = accept(sock)
               except ConnectionAbortedError: continue
               except BlockingIOError: return
               except OSError as error: return self._accept_failed(error, ...)     # which tries again in a second
               self.call_soon(self._open_accepted, (protocol_factory, connection, address, server, context))

       def _open_accepted(self, accepted):
           try:
               protocol = protocol_factory()
               self._make_socket_transport(connection, protocol, extra={"peername": address}, server=server)
           except BaseException as error: self._open_failed(error, connection, protocol)

   It is the reader's callback that _start_serving(), which is asyncio's, gives to the listening socket, and each of these
   methods may be overridden.  What is rare (errors, TLS, debug mode) is in Python, asyncio_c/loop.py. */
#include "net/accept.h"
#include "net/net.h"
#include "net/plain_socket.h"
#include "net/stream_transport.h"
#include "py/errors.h"

#include "core/handle.h"

#include <errno.h>

/* How _accept_connection() was called: asyncio's parameters. */
struct serving {
    PyObject *args; /* borrowed: the tuple with all of them, as they go to _start_serving() again */
    PyObject *factory, *sock, *sslcontext, *server, *context;
    long backlog;
};

enum { ARGUMENTS = AC_PY315 ? 8 : 7 };

/* What is wrong with the arguments asyncio's own function says.  Returns 0 or -1. */
static int
read_arguments(struct serving *serving, PyObject *args)
{
    PyObject *const *given = &PyTuple_GET_ITEM(args, 0);
    *serving = (struct serving){ args, given[0], given[1], given[2], given[3], AC_PY315 ? given[7] : Py_None, 0 };
    serving->backlog = PyLong_AsLong(given[4]);
    return serving->backlog == -1 && PyErr_Occurred() ? -1 : 0;
}

/* loop.method(*args), for what Python sees to.  Returns 0 or -1. */
static int
call_method(Loop *loop, const char *name, PyObject *const *args, size_t count)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)loop, name);
    PyObject *result = method ? PyObject_Vectorcall(method, args, count, NULL) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* After accept() raised: 1 to go on with the next connection, 0 to stop, -1 with what the loop shall report. */
static int
accept_failed(Loop *loop, const struct serving *serving)
{
    if (PyErr_ExceptionMatches(PyExc_ConnectionAbortedError)) {
        PyErr_Clear();
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return -1;
    }
    PyObject *error = compat_exception_take();
    PyObject *args[] = { error, serving->args };
    PyObject *outer = handling_begin(error);
    int result = call_method(loop, "_accept_failed", args, 2);
    handling_end_steal(outer);
    Py_DECREF(error);
    return result;
}

/* Queues the opening of an accepted connection, in a copy of the server's context where there is one.  Returns 0 or -1. */
static int
queue_opening(Loop *loop, const struct serving *serving, PyObject *opening, PyObject *connection, PyObject *address)
{
    PyObject *context = transport_is_set(serving->context) ? PyContext_Copy(serving->context) : Py_NewRef(Py_None);
    PyObject *accepted =
        context ? PyTuple_Pack(5, serving->factory, connection, address, serving->server, context) : NULL;
    Handle *handle =
        accepted ? handle_new(loop->state, (PyObject *)loop, opening, &accepted, 1, context != Py_None ? context : NULL)
                 : NULL;
    int result = handle ? loop_push(loop, &handle->runnable) : -1;
    Py_XDECREF(context);
    Py_XDECREF(accepted);
    Py_XDECREF((PyObject *)handle);
    return result;
}

/* Accepts up to as many as wait, to the backlog, as asyncio: in which turn each connection comes programs can see.  That no
   other waits costs a system call to learn.  Returns 0, 1 or -1. */
static int
accept_many(Loop *loop, const struct serving *serving, struct listening *listening, PyObject *opening)
{
    int result = 1;
    for (long left = serving->backlog + AC_PY314; left > 0 && result > 0; left--) {
        PyObject *connection, *address;
        result = listening_accept(listening, &connection, &address);
        if (result < 0) {
            result = accept_failed(loop, serving);
        }
        else if (result > 0) {
            /* Asked each time: accept() of somebody's socket may change anything. */
            if (loop->fused && !loop->closed && !transport_is_set(serving->sslcontext)) {
                result = queue_opening(loop, serving, opening, connection, address);
            }
            else {
                PyObject *args[] = { connection, address, serving->args };
                result = call_method(loop, "_accepted", args, 3) < 0 ? -1 : listening_look_again(listening);
            }
            result = result < 0 ? -1 : 1;
            Py_DECREF(connection);
            Py_DECREF(address);
        }
    }
    return result;
}

static PyObject *
Loop__accept_all(Loop *self, PyObject *args)
{
    GUARD(self, self);
    if (!PyTuple_CheckExact(args) || PyTuple_GET_SIZE(args) != ARGUMENTS) {
        PyErr_SetString(PyExc_TypeError, "_accept_all() takes the arguments of _accept_connection()");
        return NULL;
    }
    struct serving serving;
    struct listening listening;
    if (read_arguments(&serving, args) < 0) {
        return NULL;
    }
    int result = listening_init(&listening, self->state, serving.sock);
    PyObject *opening = result == 0 ? PyObject_GetAttr((PyObject *)self, self->state->str__open_accepted) : NULL;
    result = opening ? accept_many(self, &serving, &listening, opening) : -1;
    Py_XDECREF(opening);
    listening_clear(&listening);
    return transport_none_unless(result);
}

/* The transport of an accepted connection, as loop._make_socket_transport() makes it. */
static PyObject *
make_transport(Loop *loop, PyObject *protocol, PyObject *sock, PyObject *address, PyObject *server, PyObject *context)
{
    struct state *state = loop->state;
    if (!loop->make_transport_overridden && !loop->closed && socket_is_plain(state, sock)) {
        return stream_transport_new(loop, sock, protocol, NULL, NULL, address, server, context);
    }
    PyObject *method = PyObject_GetAttr((PyObject *)loop, state->str__make_socket_transport);
    PyObject *args = Py_BuildValue("(OO)", sock, protocol);
    PyObject *keywords = Py_BuildValue(AC_PY315 ? "{s{sO}sOsO}" : "{s{sO}sO}", "extra", "peername", address, "server",
                                       server, "context", context);
    PyObject *transport = method && args && keywords ? PyObject_Call(method, args, keywords) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    return transport;
}

static PyObject *
Loop__open_accepted(Loop *self, PyObject *accepted)
{
    GUARD(self, self);
    PyObject *factory, *sock, *address, *server, *context;
    if (!PyTuple_CheckExact(accepted)) {
        PyErr_SetString(PyExc_TypeError, "_open_accepted() takes a tuple");
        return NULL;
    }
    if (!PyArg_ParseTuple(accepted, "OOOOO:_open_accepted", &factory, &sock, &address, &server, &context)) {
        return NULL;
    }
    PyObject *protocol = PyObject_CallNoArgs(factory);
    PyObject *transport = protocol ? make_transport(self, protocol, sock, address, server, context) : NULL;
    int result = 0;
    if (transport == NULL && exception_leaves_loop()) {
        result = -1;
    }
    else if (transport == NULL) {
        PyObject *error = compat_exception_take();
        PyObject *args[] = { error, sock, protocol ? protocol : Py_None };
        PyObject *outer = handling_begin(error);
        result = call_method(self, "_open_failed", args, 3);
        handling_end_steal(outer);
        Py_DECREF(error);
    }
    Py_XDECREF(protocol);
    Py_XDECREF(transport);
    return transport_none_unless(result);
}

/* ---- Python face ---- */

PyDoc_STRVAR(accept_all_doc, "_accept_all($self, arguments, /)\n--\n\n"
                             "What _accept_connection() does, with its arguments as a tuple.");
PyDoc_STRVAR(open_accepted_doc, "_open_accepted($self, accepted, /)\n--\n\n"
                                "Make the protocol and the transport of an accepted connection without TLS.");

static PyMethodDef loop_methods[] = {
    { "_accept_all", (PyCFunction)Loop__accept_all, METH_O, accept_all_doc },
    { "_open_accepted", (PyCFunction)Loop__open_accepted, METH_O, open_accepted_doc },
};

int
listener_register(PyObject *module)
{
    return loop_add_methods(state_of_module(module), loop_methods, AC_ARRAY_SIZE(loop_methods));
}
