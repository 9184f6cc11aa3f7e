/* What the sock_*() coroutines try, at once and each time that the socket is ready.  Layer: net.

   Equivalent: sock.recv(n), sock.recv_into(buf), ..., where BlockingIOError and InterruptedError mean that it would block.
   Each attempt asks the kernel not to block, whatever the blocking mode of the descriptor is; for accept() and connect()
   there is no such flag.  Addresses that only the socket object understands, it gets. */
#include "io/calls.h"
#include "net/accept.h"
#include "net/address.h"
#include "net/plain_socket.h"
#include "net/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* ---- Arguments ---- */

static int
take_size(SockCoroutine *self)
{
    if (!PyLong_CheckExact(self->arguments[0])) {
        return 0;
    }
    self->size = PyLong_AsSsize_t(self->arguments[0]);
    PyErr_Clear();
    return self->size > 0;
}

/* A buffer that is not empty.  recvfrom_into(buf) receives up to len(buf) bytes, which for a buffer of larger items is less
   than it takes, and recv_into(buf) all that it takes. */
static int
take_buffer(SockCoroutine *self)
{
    Py_buffer view;
    if (PyObject_GetBuffer(self->arguments[0], &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    Py_ssize_t size = view.len, wanted = 0;
    PyBuffer_Release(&view);
    if (self->operation == SOCK_RECVFROM_INTO) {
        PyObject *given = self->arguments[1];
        wanted = given == NULL ? 0 : PyLong_CheckExact(given) ? PyLong_AsSsize_t(given) : -1;
        wanted = wanted != 0 ? wanted : PyObject_Size(self->arguments[0]);
        PyErr_Clear();
        self->size = wanted;
    }
    return size > 0 && wanted >= 0 && wanted <= size && (wanted > 0 || self->operation == SOCK_RECV_INTO);
}

static int
take_data(SockCoroutine *self)
{
    if (PyObject_GetBuffer(self->arguments[0], &self->view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        self->view.obj = NULL;
        return 0;
    }
    return self->view.len > 0;
}

/* What asyncio's _ensure_resolved() makes of an address with a number for its host: ("::1", 1) becomes ("::1", 1, 0, 0). */
static PyObject *
resolved_address(PyObject *given, const struct address *address)
{
    if (address->storage.ss_family == AF_INET) {
        return Py_NewRef(given);
    }
    const struct sockaddr_in6 *inet6 = (const struct sockaddr_in6 *)&address->storage;
    return Py_BuildValue("OOII", PyTuple_GET_ITEM(given, 0), PyTuple_GET_ITEM(given, 1),
                         (unsigned)ntohl(inet6->sin6_flowinfo), (unsigned)inet6->sin6_scope_id);
}

/* The address of a connect that needs no resolver. */
static int
take_destination(SockCoroutine *self)
{
    struct state *state = self->base.state;
    int usable = socket_does_not_block(self->sock);
    if (usable <= 0) {
        return usable;
    }
    int family = socket_number(state, self->sock, state->str_family);
    int type = socket_number(state, self->sock, state->str_type);
    int proto = socket_number(state, self->sock, state->str_proto);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (family != AF_INET && family != AF_INET6) {
        self->address = Py_NewRef(self->arguments[0]);
        return 1;
    }
    struct address address;
    if ((type != SOCK_STREAM && type != SOCK_DGRAM) || (proto != 0 && proto != IPPROTO_TCP && proto != IPPROTO_UDP)
        || !inet_pton_is_in_place(state) || !address_from_object(&address, family, self->arguments[0])) {
        return 0;
    }
    self->address = resolved_address(self->arguments[0], &address);
    return self->address ? 1 : -1;
}

/* ---- Attempts ---- */

/* What a call that returned `count` means: as an attempt, with 1 for success. */
static int
outcome_of(ssize_t count)
{
    if (count >= 0) {
        return 1;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* The same of what a method of the socket object returned. */
static int
outcome_of_object(PyObject *result)
{
    if (result != NULL) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError) && !PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* recvfrom(), or recv() where nobody asks for the address. */
static ssize_t
receive(SockCoroutine *self, int fd, void *memory, size_t size, struct address *address)
{
    if (self->operation == SOCK_RECV || self->operation == SOCK_RECV_INTO) {
        return sys_recv(fd, memory, size, MSG_DONTWAIT);
    }
    address->length = sizeof(address->storage);
    return sys_recvfrom(fd, memory, size, MSG_DONTWAIT, (struct sockaddr *)&address->storage, &address->length);
}

/* What is received into `received`, a new reference or NULL: itself, or with the address where it is asked for. */
static int
finish_receiving_steal(SockCoroutine *self, PyObject *received, const struct address *address, PyObject **result)
{
    *result = received;
    if (received != NULL && (self->operation == SOCK_RECVFROM || self->operation == SOCK_RECVFROM_INTO)) {
        PyObject *sender = address_to_object(address);
        *result = sender ? PyTuple_Pack(2, received, sender) : NULL;
        Py_XDECREF(sender);
        Py_DECREF(received);
    }
    return *result ? 1 : -1;
}

static int
try_recv(SockCoroutine *self, int fd, PyObject **result)
{
    struct address address;
    if (self->size <= LOOP_SCRATCH_SIZE) {
        char *scratch = loop_scratch(self->loop);
        if (scratch == NULL) {
            return -1;
        }
        ssize_t count = receive(self, fd, scratch, (size_t)self->size, &address);
        counters_received(&self->loop->counters, count);
        int outcome = outcome_of(count);
        return outcome <= 0 ? outcome
                            : finish_receiving_steal(self, PyBytes_FromStringAndSize(scratch, count), &address, result);
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, self->size);
    if (data == NULL) {
        return -1;
    }
    ssize_t count = receive(self, fd, PyBytes_AS_STRING(data), (size_t)self->size, &address);
    counters_received(&self->loop->counters, count);
    int outcome = outcome_of(count);
    if (outcome <= 0) {
        Py_DECREF(data);
        return outcome;
    }
    if (count != self->size && _PyBytes_Resize(&data, count) < 0) {
        return -1;
    }
    return finish_receiving_steal(self, data, &address, result);
}

static int
try_recv_into(SockCoroutine *self, int fd, PyObject **result)
{
    struct address address;
    Py_buffer view; /* held for this attempt only: between two its owner may resize it */
    if (PyObject_GetBuffer(self->arguments[0], &view, PyBUF_WRITABLE) < 0) {
        return -1;
    }
    if (self->size > view.len) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_ValueError, "nbytes is greater than the length of the buffer");
        return -1;
    }
    ssize_t count = receive(self, fd, view.buf, (size_t)(self->size > 0 ? self->size : view.len), &address);
    counters_received(&self->loop->counters, count);
    int outcome = outcome_of(count);
    PyBuffer_Release(&view);
    return outcome <= 0 ? outcome : finish_receiving_steal(self, PyLong_FromSsize_t(count), &address, result);
}

static int
try_sendall(SockCoroutine *self, int fd, PyObject **result)
{
    const char *rest = (const char *)self->view.buf + self->sent;
    ssize_t count = sys_send(fd, rest, (size_t)(self->view.len - self->sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    int outcome = outcome_of(count);
    if (outcome > 0) {
        counters_sent(&self->loop->counters, count);
        self->sent += count;
        outcome = self->sent == self->view.len;
        *result = outcome ? Py_NewRef(Py_None) : NULL;
    }
    return outcome;
}

/* The buffer is taken for each attempt, as by asyncio.  Security hooks hear of the address, as from the socket object. */
static int
try_sendto(SockCoroutine *self, int fd, PyObject **result)
{
    struct state *state = self->base.state;
    PyObject *data = self->arguments[0], *name = self->arguments[1];
    int family = socket_number(state, self->sock, state->str_family);
    struct address address;
    Py_buffer view;
    if (family == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!address_from_object(&address, family, name) || !PyObject_CheckBuffer(data)) {
        *result = PyObject_CallMethod(self->sock, "sendto", "OO", data, name);
        return outcome_of_object(*result);
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int outcome = PySys_Audit("socket.sendto", "OO", self->sock, name);
    ssize_t count = 0;
    if (outcome == 0) {
        count = sys_sendto(fd, view.buf, (size_t)view.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                           (const struct sockaddr *)&address.storage, address.length);
        outcome = outcome_of(count);
        counters_sent(&self->loop->counters, count);
    }
    PyBuffer_Release(&view);
    if (outcome > 0 && (*result = PyLong_FromSsize_t(count)) == NULL) {
        outcome = -1;
    }
    return outcome;
}

/* OSError(error, "Connect call failed ('::1', 1, 0, 0)"). */
static void
raise_connect_failed(SockCoroutine *self, int error)
{
    PyObject *message = PyUnicode_FromFormat("Connect call failed %S", self->address);
    PyObject *exception = message ? PyObject_CallFunction(PyExc_OSError, "iO", error, message) : NULL;
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    }
    Py_XDECREF(message);
    Py_XDECREF(exception);
}

/* Whether a connect that says so goes on by itself: what makes a BlockingIOError, and EINTR. */
static bool
goes_on(int error)
{
    return error == EINPROGRESS || error == EALREADY || error == EAGAIN || error == EINTR;
}

/* What the socket's SO_ERROR says of a connect that was begun: as an attempt. */
static int
connect_ended(SockCoroutine *self, int error, PyObject **result)
{
    if (goes_on(error)) {
        return 0;
    }
    if (error != 0) {
        raise_connect_failed(self, error);
        return -1;
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

/* How a connect that was begun has gone. */
static int
see_connected(SockCoroutine *self, int fd, PyObject **result)
{
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? outcome_of(-1)
                                                                   : connect_ended(self, error, result);
}

static int
try_connect(SockCoroutine *self, int fd, PyObject **result)
{
    if (self->handle != NULL) {
        return see_connected(self, fd, result);
    }
    /* The method that makes no exception of EINPROGRESS, but names itself in the errors of an address. */
    PyObject *number = PyObject_CallMethodOneArg(self->sock, self->base.state->str_connect_ex, self->address);
    if (number == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
        *result = PyObject_CallMethodOneArg(self->sock, self->base.state->str_connect, self->address);
        return outcome_of_object(*result);
    }
    int error = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    if (goes_on(error)) {
        return 0;
    }
    if (error != 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

static int
try_accept(SockCoroutine *self, PyObject **result)
{
    struct listening listening;
    PyObject *connection, *address;
    int outcome = listening_init(&listening, self->base.state, self->sock);
    if (outcome == 0) {
        outcome = listening_accept(&listening, &connection, &address);
    }
    listening_clear(&listening);
    if (outcome > 0) {
        *result = PyTuple_Pack(2, connection, address);
        Py_DECREF(connection);
        Py_DECREF(address);
        outcome = *result ? 1 : -1;
    }
    return outcome;
}

/* ---- By the socket's methods ---- */

/* send() of the rest.  As an attempt. */
static int
send_by_method(SockCoroutine *self, PyObject **result)
{
    PyObject *rest = PyBytes_FromStringAndSize((const char *)self->view.buf + self->sent, self->view.len - self->sent);
    PyObject *count = rest ? PyObject_CallMethod(self->sock, "send", "O", rest) : NULL;
    Py_XDECREF(rest);
    if (count == NULL) {
        return rest ? outcome_of_object(NULL) : -1;
    }
    Py_ssize_t sent = PyLong_AsSsize_t(count);
    Py_DECREF(count);
    if (sent == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->sent += sent < 0 ? 0 : sent < self->view.len - self->sent ? sent : self->view.len - self->sent;
    *result = self->sent == self->view.len ? Py_NewRef(Py_None) : NULL;
    return *result != NULL;
}

/* How a connect has gone, by getsockopt().  As an attempt. */
static int
see_connected_by_method(SockCoroutine *self, PyObject **result)
{
    PyObject *number = PyObject_CallMethod(self->sock, "getsockopt", "ii", SOL_SOCKET, SO_ERROR);
    int error = number ? (int)PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (error == -1 && PyErr_Occurred()) {
        return outcome_of_object(NULL);
    }
    return connect_ended(self, error, result);
}

int
sock_attempt_by_methods(SockCoroutine *self, PyObject **result)
{
    *result = NULL;
    PyObject **arguments = self->arguments;
    switch (self->operation) {
    case SOCK_RECV:
        *result = PyObject_CallMethod(self->sock, "recv", "(O)", arguments[0]);
        break;
    case SOCK_RECVFROM:
        *result = PyObject_CallMethod(self->sock, "recvfrom", "(O)", arguments[0]);
        break;
    case SOCK_RECV_INTO:
        *result = PyObject_CallMethod(self->sock, "recv_into", "(O)", arguments[0]);
        break;
    case SOCK_RECVFROM_INTO:
        *result = PyObject_CallMethod(self->sock, "recvfrom_into", "On", arguments[0], self->size);
        break;
    case SOCK_SENDTO:
        *result = PyObject_CallMethod(self->sock, "sendto", "OO", arguments[0], arguments[1]);
        break;
    case SOCK_SENDALL:
        return send_by_method(self, result);
    case SOCK_CONNECT:
        return see_connected_by_method(self, result);
    default:
        return try_accept(self, result);
    }
    return outcome_of_object(*result);
}

/* ---- Which for which ---- */

int
sock_take_arguments(SockCoroutine *self)
{
    switch (self->operation) {
    case SOCK_RECV:
    case SOCK_RECVFROM:
        return take_size(self);
    case SOCK_RECV_INTO:
    case SOCK_RECVFROM_INTO:
        return take_buffer(self);
    case SOCK_SENDALL:
        return take_data(self);
    case SOCK_CONNECT:
        return take_destination(self);
    default:
        return 1;
    }
}

int
sock_attempt(SockCoroutine *self, int fd, PyObject **result)
{
    *result = NULL;
    loop_poll_promptly(self->loop); /* the socket's other end may be in this process */
    switch (self->operation) {
    case SOCK_RECV:
    case SOCK_RECVFROM:
        return try_recv(self, fd, result);
    case SOCK_RECV_INTO:
    case SOCK_RECVFROM_INTO:
        return try_recv_into(self, fd, result);
    case SOCK_SENDALL:
        return try_sendall(self, fd, result);
    case SOCK_SENDTO:
        return try_sendto(self, fd, result);
    case SOCK_CONNECT:
        return try_connect(self, fd, result);
    default:
        return try_accept(self, result);
    }
}
