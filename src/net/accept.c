/* Accepting connections as socket objects.  Layer: net.

   Equivalent:

       connection, address = sock.accept()
       connection.setblocking(False)

   in one system call, and one more that socket.socket() makes to look at any descriptor that it is given.  The flags of
   accept4() say all that the two would set afterwards, and the object learns by the same flag in its type that it does not
   block.  A socket that is not plain (plain_socket.h), one of an unusual family, and one that blocks accept in their own
   way. */
#define _GNU_SOURCE
#include "net/accept.h"

#include "io/calls.h"
#include "net/address.h"
#include "net/plain_socket.h"

#include <errno.h>
#include <unistd.h>

int
socket_number(struct state *state, PyObject *sock, PyObject *name)
{
    /* The C type's own attribute: socket.socket hides it behind an enumeration, which costs a microsecond. */
    PyObject *member = PyObject_GetAttr(state->socket_base, name);
    PyObject *value = member ? Py_TYPE(member)->tp_descr_get(member, sock, (PyObject *)Py_TYPE(sock)) : NULL;
    int number = value ? (int)PyLong_AsLong(value) : -1;
    Py_XDECREF(member);
    Py_XDECREF(value);
    return number;
}

int
socket_does_not_block(PyObject *sock)
{
    PyObject *timeout = PyObject_CallMethod(sock, "gettimeout", NULL);
    int result = timeout ? PyFloat_CheckExact(timeout) && PyFloat_AS_DOUBLE(timeout) == 0.0 : -1;
    Py_XDECREF(timeout);
    return result;
}

int
listening_init(struct listening *self, struct state *state, PyObject *sock)
{
    *self = (struct listening){ .state = state, .sock = sock, .fd = -1, .by_object = true };
    if (!socket_is_plain(state, sock) || !socket_class_is_in_place(state)) {
        return 0;
    }
    int direct = socket_does_not_block(sock);
    int family = direct > 0 ? socket_number(state, sock, state->str_family) : -1;
    if (direct < 0 || (family == -1 && PyErr_Occurred())) {
        return -1;
    }
    if (!direct || !address_family_is_known(family)) {
        return 0;
    }
    int type = socket_number(state, sock, state->str_type), proto = socket_number(state, sock, state->str_proto);
    self->by_object = false;
    self->kind = PyErr_Occurred() ? NULL : Py_BuildValue("iii", family, type | SOCK_NONBLOCK, proto);
    return self->kind ? listening_look_again(self) : -1;
}

int
listening_look_again(struct listening *self)
{
    if (self->by_object) {
        return 0;
    }
    PyObject *number = PyObject_CallMethodNoArgs(self->sock, self->state->str_fileno);
    self->fd = number ? (int)PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    return self->fd == -1 && PyErr_Occurred() ? -1 : 0;
}

void
listening_clear(struct listening *self)
{
    Py_CLEAR(self->kind);
}

/* Whether the socket object `connection`, whose __init__() has raised, has got the descriptor: then it closes that at its end.
   The C type's own method, for which the object need not be complete. */
static bool
has_descriptor(struct listening *self, PyObject *connection, int fd)
{
    PyObject *exception = compat_exception_take();
    PyObject *number = PyObject_CallMethod(self->state->socket_base, "fileno", "O", connection);
    bool has = number != NULL && PyLong_AsLong(number) == fd;
    Py_XDECREF(number);
    PyErr_Clear();
    compat_exception_restore_steal(exception);
    return has;
}

/* socket.socket(family, type, proto, fd); the descriptor is the object's, or closed.  In two steps: a signal's handler may
   raise within __init__(), before the object has the descriptor or after, and what is closed twice is another's. */
static PyObject *
new_socket_steal(struct listening *self, int fd)
{
    PyTypeObject *type = (PyTypeObject *)self->state->socket_type;
    PyObject *const *kind = &PyTuple_GET_ITEM(self->kind, 0);
    PyObject *args = Py_BuildValue("OOOi", kind[0], kind[1], kind[2], fd);
    PyObject *connection = args ? type->tp_new(type, args, NULL) : NULL;
    bool taken = false;
    if (connection != NULL && type->tp_init(connection, args, NULL) < 0) {
        taken = has_descriptor(self, connection, fd);
        PyObject *exception = compat_exception_take();
        Py_CLEAR(connection); /* which may warn that it was not closed */
        compat_exception_restore_steal(exception);
    }
    Py_XDECREF(args);
    if (connection == NULL && !taken) {
        close(fd);
    }
    return connection;
}

static int
accept_directly(struct listening *self, PyObject **connection, PyObject **address)
{
    struct address peer = { .length = sizeof(peer.storage) };
    int fd = sys_accept4(self->fd, (struct sockaddr *)&peer.storage, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return 0;
        }
        PyErr_SetFromErrno(PyExc_OSError); /* also for ENOMEM, which servers treat like other lacks of the system */
        return -1;
    }
    *connection = new_socket_steal(self, fd);
    *address = *connection ? address_to_object(&peer) : NULL;
    if (*address == NULL) {
        Py_CLEAR(*connection);
        return -1;
    }
    return 1;
}

static int
accept_by_object(struct listening *self, PyObject **connection, PyObject **address)
{
    PyObject *pair = PyObject_CallMethod(self->sock, "accept", NULL);
    if (pair == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_BlockingIOError) && !PyErr_ExceptionMatches(PyExc_InterruptedError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    PyObject *items = PySequence_Tuple(pair), *done = NULL;
    Py_DECREF(pair);
    *connection = *address = NULL;
    if (items != NULL && PyArg_ParseTuple(items, "OO", connection, address)) {
        done = PyObject_CallMethod(*connection, "setblocking", "O", Py_False);
    }
    *connection = done ? Py_NewRef(*connection) : NULL;
    *address = done ? Py_NewRef(*address) : NULL;
    Py_XDECREF(items);
    Py_XDECREF(done);
    return done ? 1 : -1;
}

int
listening_accept(struct listening *self, PyObject **connection, PyObject **address)
{
    return self->by_object ? accept_by_object(self, connection, address) : accept_directly(self, connection, address);
}
