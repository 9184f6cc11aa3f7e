/* DatagramTransport: receiving and sending of a datagram socket.  Layer: net.

   The Python class asyncio_c.transports.DatagramTransport derives from this type first and from asyncio's own datagram
   transport second, as the stream transport does.  Here is what runs for each datagram:

       def _read_ready(self):
           for _ in range(16):
               data, addr = recvfrom()                   # error_received(), _fatal_error() and nothing there as in asyncio
               self._protocol.datagram_received(data, addr)
               if anything_else_could_run_now(): break

       def sendto(self, data, addr=None):
           ...                                           # the same checks
           if queue_is_empty and sent_at_once: return
           queue.append((bytes(data), addr)); self._maybe_pause_protocol()

   Reading on: asyncio receives one datagram for each turn of its loop.  Here several are received in one turn, where nobody
   can tell: as soon as a callback is queued, a timer is due, stop() was called or the transport paused or closed, the rest
   stays in the socket until the next turn.  So whatever asyncio would have run between two datagrams runs between them here,
   and the sockets that get ready meanwhile wait for 16 datagrams or 50 microseconds, whichever is less.  A datagram received
   so costs 1.1 microseconds instead of 1.9; looking for one that is not there costs 0.45, so it is not done each time where
   questions and answers alternate.

   The system calls are made here where the socket is of a known family and plain at that moment (plain_socket.h); else it is
   asked itself.  A socket that is not plain from the beginning has a transport of asyncio's.
   Addresses: the last one and the kernel's form of it are kept, because most often the next datagram comes from there, and
   the answer goes there.

   Where releases of asyncio miscount the buffer (a memoryview's items for bytes, headers that 3.13.0 adds and never takes off,
   the size after abort() before 3.15), the size here is right.

   Invariants: the queue holds tuples (bytes, address); `waiting` means that the loop watches for writability. */
#include "base/clock.h"
#include "base/ring.h"
#include "core/loop.h"
#include "core/reader.h"
#include "io/calls.h"
#include "net/address.h"
#include "net/net.h"
#include "net/plain_socket.h"
#include "net/transport.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    BASE_SLOTS = 5, /* of asyncio.transports._FlowControlMixin; ours have their names and hide them */
    READ_SIZE = LOOP_SCRATCH_SIZE,
    READS_AT_ONCE = 16,
    READS_WITHOUT_LUCK = 8,         /* turns that receive one datagram, after one that looked for a second in vain */
    HEADER_SIZE = AC_PY313 ? 8 : 0, /* what a queued datagram counts for beside its data */
    FAMILY_NOT_ASKED = -1,
};

#define READ_BUDGET_NS 50000

typedef struct {
    PyObject_HEAD
    PyObject *base_slots[BASE_SLOTS]; /* always NULL */
    struct state *state;
    struct ring queue;  /* tuples, owned */
    PyObject *loop;     /* owned, as are all; None after the end */
    PyObject *sock;     /* None after the end */
    PyObject *protocol; /* None after the end */
    PyObject *server;   /* None */
    PyObject *extra;
    PyObject *address;   /* remote_addr of create_datagram_endpoint(), or None */
    PyObject *context;   /* 3.15: of all callbacks; None */
    PyObject *last_name; /* what Python calls last_address, or NULL */
    struct address last_address;
    Py_ssize_t size_bytes; /* of the queue */
    Py_ssize_t high_water;
    Py_ssize_t low_water;
    int fd;
    int family;       /* of the socket; AF_UNSPEC: it does not matter, the socket object is asked */
    int conn_lost;    /* not 0: connection_lost() is on its way; counts the sends after that */
    int single_reads; /* how many turns shall receive one datagram only */
    bool closing;
    bool paused;
    bool protocol_connected;
    bool protocol_paused;
    bool waiting;
    LOOP_HOME
} DatagramTransport;

static Loop *
loop_borrow(DatagramTransport *self)
{
    return transport_loop_borrow(self->state, self->loop);
}

static int
end_soon(DatagramTransport *self, PyObject *exception)
{
    return transport_end_soon(self->state, (PyObject *)self, self->loop, exception, self->context, &self->closing,
                              &self->conn_lost);
}

/* Whether the system calls are made here. */
static bool
is_direct(DatagramTransport *self)
{
    if (!socket_is_plain(self->state, transport_or_none(self->sock))) {
        return false;
    }
    if (AC_UNLIKELY(self->family == FAMILY_NOT_ASKED)) {
        struct sockaddr_storage name;
        socklen_t length = sizeof(name);
        bool known =
            getsockname(self->fd, (struct sockaddr *)&name, &length) == 0 && address_family_is_known(name.ss_family);
        self->family = known ? name.ss_family : AF_UNSPEC;
    }
    return self->family != AF_UNSPEC;
}

/* Whether the exception that is set says that the socket is not ready; then it is cleared. */
static bool
clear_not_ready(void)
{
    bool not_ready = PyErr_ExceptionMatches(PyExc_BlockingIOError) || PyErr_ExceptionMatches(PyExc_InterruptedError);
    if (not_ready) {
        PyErr_Clear();
    }
    return not_ready;
}

/* The socket raised: an OSError is the protocol's to know, anything else the end.  Returns 0 or -1. */
static int
socket_failed(DatagramTransport *self, const char *message)
{
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return transport_fatal_error((PyObject *)self, message);
    }
    PyObject *protocol = Py_NewRef(transport_or_none(self->protocol));
    int result = transport_call_handling(protocol, "error_received", NULL);
    Py_DECREF(protocol);
    return result;
}

static void
remember(DatagramTransport *self, PyObject *name, const struct address *address)
{
    self->last_address = *address;
    Py_XSETREF(self->last_name, Py_NewRef(name));
}

/* ---- Receiving ---- */

/* The name of who sent a datagram.  New reference. */
static PyObject *
name_of_sender(DatagramTransport *self, const struct address *address)
{
    bool whole = address->length > 0 && address->length <= sizeof(address->storage);
    if (whole && self->last_name != NULL && self->last_address.length == address->length
        && memcmp(&self->last_address.storage, &address->storage, address->length) == 0) {
        return Py_NewRef(self->last_name);
    }
    PyObject *name = address_to_object(address);
    if (name != NULL && whole) {
        remember(self, name, address);
    }
    return name;
}

/* One datagram and its sender, new references.  Returns 1, 0 if none is there, or -1 with an exception. */
static int
receive(DatagramTransport *self, Loop *loop, PyObject **data, PyObject **name)
{
    char *scratch = loop_scratch(loop);
    if (scratch == NULL) {
        return -1;
    }
    struct address address = { .length = sizeof(address.storage) };
    ssize_t count =
        sys_recvfrom(self->fd, scratch, READ_SIZE, MSG_DONTWAIT, (struct sockaddr *)&address.storage, &address.length);
    if (count < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : raise_errno(-errno);
    }
    counters_received(&loop->counters, count);
    *data = PyBytes_FromStringAndSize(scratch, count);
    *name = *data ? name_of_sender(self, &address) : NULL;
    if (*name == NULL) {
        Py_CLEAR(*data);
        return -1;
    }
    return 1;
}

/* The same, by the socket object.  Runs Python. */
static int
receive_by_object(DatagramTransport *self, PyObject **data, PyObject **name)
{
    PyObject *sock = Py_NewRef(transport_or_none(self->sock));
    PyObject *pair = PyObject_CallMethod(sock, "recvfrom", "i", READ_SIZE);
    Py_DECREF(sock);
    if (pair == NULL) {
        return clear_not_ready() ? 0 : -1;
    }
    PyObject *tuple = PySequence_Tuple(pair);
    Py_DECREF(pair);
    int result = tuple && PyArg_ParseTuple(tuple, "OO", data, name) ? 1 : -1;
    if (result > 0) {
        Py_INCREF(*data);
        Py_INCREF(*name);
    }
    Py_XDECREF(tuple);
    return result;
}

/* Receives one datagram.  Returns 1 if the protocol was given it, 0 if there was none to give and what had to be done about it
   is done, -1 with an exception.  Runs Python. */
static int
read_one(DatagramTransport *self, Loop *loop)
{
    PyObject *data = NULL, *name = NULL;
    int result = AC_LIKELY(is_direct(self)) ? receive(self, loop, &data, &name) : receive_by_object(self, &data, &name);
    if (AC_UNLIKELY(result < 0)) {
        return socket_failed(self, "Fatal read error on datagram transport");
    }
    if (result > 0) {
        PyObject *args[] = { Py_NewRef(transport_or_none(self->protocol)), data, name };
        PyObject *done = PyObject_VectorcallMethod(self->state->str_datagram_received, args, 3, NULL);
        Py_DECREF(args[0]);
        Py_DECREF(data);
        Py_DECREF(name);
        Py_XDECREF(done);
        result = done ? 1 : -1;
    }
    return result;
}

/* Whether the next datagram would be the next thing to happen in asyncio's loop as well. */
static bool
may_read_on(const DatagramTransport *self, const Loop *loop)
{
    if (self->conn_lost || self->closing || self->paused || !loop->fused || COMPAT_LOAD(loop->stopping)
        || ring_count(&loop->ready) > 0 || !socket_is_plain(self->state, transport_or_none(self->sock))) {
        return false;
    }
    int64_t now_ns = clock_now_ns();
    const struct heap_entry *timer = heap_first(&loop->timers);
    return now_ns - loop->polled_ns < READ_BUDGET_NS && (timer == NULL || timer->deadline_ns > now_ns);
}

static int
read_ready(DatagramTransport *self)
{
    Loop *loop = loop_borrow(self);
    if (loop == NULL) {
        return -1;
    }
    Py_INCREF(loop);
    int limit = self->single_reads > 0 ? 1 : READS_AT_ONCE, count = 0, result;
    do {
        result = read_one(self, loop);
        count += result > 0;
    } while (result > 0 && count < limit && may_read_on(self, loop));
    if (limit == 1) {
        self->single_reads--;
    }
    else if (count == 1 && result == 0) {
        self->single_reads = READS_WITHOUT_LUCK;
    }
    Py_DECREF(loop);
    return result < 0 ? -1 : 0;
}

/* ---- Sending ---- */

/* The kernel's form of an address, or NULL, without an exception, if only the socket object knows. */
static const struct address *
find_address(DatagramTransport *self, PyObject *name)
{
    if (name != self->last_name) {
        struct address address;
        if (!address_from_object(&address, self->family, name)) {
            return NULL;
        }
        remember(self, name, &address);
    }
    return &self->last_address;
}

/* Outcome of a system call: 1 if it did it, 0 if it would have to wait, -1 with an exception. */
static int
outcome_of(ssize_t count)
{
    if (count >= 0) {
        return 1;
    }
    return errno == EAGAIN || errno == EINTR ? 0 : raise_errno(-errno);
}

/* Sends to the peer, where `address` is NULL.  Returns as outcome_of(). */
static int
send_directly(DatagramTransport *self, PyObject *data, const struct address *address)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (AC_UNLIKELY(!transport_is_set(self->sock))) {
        /* The end came with an audit hook or the data's own __buffer__(): the number may be another's by now. */
        PyBuffer_Release(&view);
        return raise_errno(-EBADF);
    }
    ssize_t count = address == NULL ? sys_send(self->fd, view.buf, (size_t)view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : sys_sendto(self->fd, view.buf, (size_t)view.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                                                 (const struct sockaddr *)&address->storage, address->length);
    int outcome = outcome_of(count);
    transport_sent(self->state, self->loop, (size_t)view.len, outcome > 0 ? 0 : (size_t)view.len);
    PyBuffer_Release(&view);
    return outcome;
}

/* The same, by the socket object.  Runs Python. */
static int
send_by_object(DatagramTransport *self, PyObject *data, PyObject *name, bool connected)
{
    PyObject *sock = Py_NewRef(transport_or_none(self->sock));
    PyObject *result = connected ? PyObject_CallMethod(sock, "send", "O", data)
                                 : PyObject_CallMethod(sock, "sendto", "OO", data, name);
    Py_DECREF(sock);
    Py_XDECREF(result);
    return result ? 1 : clear_not_ready() ? 0 : -1;
}

/* Tries to send.  Returns 1 if it is sent, 0 if the socket has no room, -1 with an exception.  Runs Python. */
static int
send_one(DatagramTransport *self, PyObject *data, PyObject *name)
{
    /* Held here, and where the like is asked below: a comparison may take it from the transport. */
    PyObject *extra = Py_NewRef(transport_or_none(self->extra)),
             *peername = PyObject_GetItem(extra, self->state->str_peername);
    int connected = peername ? PyObject_IsTrue(peername) : -1;
    Py_DECREF(extra);
    Py_XDECREF(peername);
    if (connected < 0) {
        return -1;
    }
    if (AC_LIKELY(is_direct(self))) {
        if (connected) {
            return send_directly(self, data, NULL);
        }
        if (find_address(self, name) != NULL) {
            /* The socket's own sendto() says so to whoever audits, which may run anything. */
            struct address address = self->last_address;
            return PySys_Audit("socket.sendto", "OO", self->sock, name) < 0 ? -1 : send_directly(self, data, &address);
        }
    }
    return send_by_object(self, data, name, connected);
}

static int
send_failed(DatagramTransport *self)
{
    return socket_failed(self, "Fatal write error on datagram transport");
}

static int
wait_for_room(DatagramTransport *self)
{
    PyObject *ready = PyObject_GetAttr((PyObject *)self, self->state->str__sendto_ready);
    Loop *loop = ready ? loop_borrow(self) : NULL;
    if (loop == NULL) {
        Py_XDECREF(ready);
        return -1;
    }
    PyObject *context = transport_is_set(self->context) ? self->context : NULL;
    int result = reader_watch(loop, self->fd, READER_WRITE, ready, context);
    self->waiting = result == 0;
    Py_DECREF(ready);
    return result;
}

static int
stop_waiting(DatagramTransport *self)
{
    if (!self->waiting) {
        return 0;
    }
    self->waiting = false;
    Loop *loop = loop_borrow(self);
    return loop ? reader_unwatch(loop, self->fd, READER_WRITE) : -1;
}

static Py_ssize_t
queued_size(PyObject *entry)
{
    return PyBytes_GET_SIZE(PyTuple_GET_ITEM(entry, 0)) + HEADER_SIZE;
}

/* Keeps a datagram for later, and has the protocol paused if there is too much.  Returns 0 or -1.  Runs Python. */
static int
enqueue(DatagramTransport *self, PyObject *data, PyObject *name)
{
    PyObject *chunk = PyBytes_Check(data) ? Py_NewRef(data) : PyBytes_FromObject(data); /* what may change is copied */
    PyObject *entry = chunk ? PyTuple_Pack(2, chunk, name) : NULL;
    Py_XDECREF(chunk);
    if (entry == NULL) {
        return -1;
    }
    if (ring_push(&self->queue, entry) < 0) {
        Py_DECREF(entry);
        PyErr_NoMemory();
        return -1;
    }
    self->size_bytes += queued_size(entry);
    if (self->protocol_paused || self->size_bytes <= self->high_water) {
        return 0;
    }
    PyObject *result = PyObject_CallMethod((PyObject *)self, "_maybe_pause_protocol", NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static void
drop_queue(DatagramTransport *self)
{
    self->size_bytes = 0;
    while (ring_count(&self->queue) > 0) {
        Py_DECREF((PyObject *)ring_pop(&self->queue));
    }
    ring_release(&self->queue);
}

/* Sends what is queued, as far as there is room.  Returns 1, 0 if a datagram failed, which the protocol knows, or -1 with an
   exception.  Runs Python. */
static int
send_queue(DatagramTransport *self)
{
    while (ring_count(&self->queue) > 0) {
        PyObject *entry = Py_NewRef((PyObject *)ring_peek(&self->queue, 0));
        int outcome = send_one(self, PyTuple_GET_ITEM(entry, 0), PyTuple_GET_ITEM(entry, 1));
        if (outcome != 0 && ring_count(&self->queue) > 0 && ring_peek(&self->queue, 0) == entry) {
            ring_pop(&self->queue);
            self->size_bytes -= queued_size(entry);
            Py_DECREF(entry);
        }
        Py_DECREF(entry);
        if (outcome <= 0) {
            return outcome == 0 ? 1 : send_failed(self);
        }
    }
    return 1;
}

/* ---- Python face ---- */

static PyObject *
DatagramTransport__read_ready(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return transport_none_unless(self->conn_lost ? 0 : read_ready(self));
}

/* The address that a datagram goes to, a new reference: that of the endpoint, if it has one.  NULL with ValueError set where
   another was given. */
static PyObject *
check_name(DatagramTransport *self, PyObject *name, bool *is_fixed)
{
    PyObject *own = Py_NewRef(transport_or_none(self->address));
    int fixed = PyObject_IsTrue(own), same = 1;
    *is_fixed = fixed > 0;
    if (fixed > 0 && name != Py_None) {
        same = PyObject_RichCompareBool(name, own, Py_EQ);
    }
    if (same == 0) {
        PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S", own);
    }
    PyObject *result = fixed < 0 || same <= 0 ? NULL : Py_NewRef(fixed > 0 ? own : name);
    Py_DECREF(own);
    return result;
}

static int
send_or_enqueue(DatagramTransport *self, PyObject *data, PyObject *name)
{
    if (ring_count(&self->queue) == 0) {
        transport_acts(self->state, self->loop);
        int outcome = send_one(self, data, name);
        if (AC_LIKELY(outcome > 0)) {
            return 0;
        }
        if (outcome < 0) {
            return send_failed(self);
        }
        /* After close(), without an earlier queue, the socket is closed before there can be room. */
        if (!self->waiting && !self->conn_lost && wait_for_room(self) < 0) {
            return -1;
        }
    }
    return enqueue(self, data, name);
}

static PyObject *
DatagramTransport_sendto(DatagramTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    static const char *const names[] = { "data", "addr" };
    PyObject *values[AC_ARRAY_SIZE(names)];
    if (args_parse("sendto", names, 1, AC_ARRAY_SIZE(names), args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    PyObject *data = values[0], *name = values[1] ? values[1] : Py_None;
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyObject *type = PyType_GetName(Py_TYPE(data));
        if (type != NULL) {
            PyErr_Format(PyExc_TypeError, "data argument must be a bytes-like object, not %R", type);
            Py_DECREF(type);
        }
        return NULL;
    }
    if (!AC_PY313 && PyObject_Size(data) <= 0) {
        return transport_none_unless(PyErr_Occurred() ? -1 : 0); /* empty datagrams are sent since 3.13 */
    }
    bool is_fixed;
    name = check_name(self, name, &is_fixed);
    if (name == NULL) {
        return NULL;
    }
    int result = self->conn_lost && is_fixed
                     ? transport_count_lost_write(self->state, &self->conn_lost, TRANSPORT_SOCKET_WARNING)
                     : send_or_enqueue(self, data, name);
    Py_DECREF(name);
    return transport_none_unless(result);
}

/* The socket has room again. */
static PyObject *
DatagramTransport__sendto_ready(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    int result = send_queue(self);
    if (result <= 0) {
        return transport_none_unless(result);
    }
    if (self->protocol_paused && self->size_bytes <= self->low_water) {
        PyObject *resumed = PyObject_CallMethod((PyObject *)self, "_maybe_resume_protocol", NULL);
        if (resumed == NULL) {
            return NULL;
        }
        Py_DECREF(resumed);
    }
    if (ring_count(&self->queue) > 0) {
        Py_RETURN_NONE; /* resume_writing() may have sent more */
    }
    if (stop_waiting(self) < 0) {
        return NULL;
    }
    if (self->closing && !self->conn_lost) {
        self->conn_lost++;
        return PyObject_CallMethod((PyObject *)self, "_call_connection_lost", "O", Py_None);
    }
    Py_RETURN_NONE;
}

static PyObject *
DatagramTransport_close(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    if (self->closing) {
        Py_RETURN_NONE;
    }
    Loop *loop = loop_borrow(self);
    if (loop == NULL) {
        return NULL;
    }
    if (reader_unwatch(loop, self->fd, READER_READ) < 0) {
        return NULL;
    }
    if (ring_count(&self->queue) > 0) {
        self->closing = true;
        Py_RETURN_NONE;
    }
    return transport_none_unless(stop_waiting(self) < 0 ? -1 : end_soon(self, Py_None));
}

static PyObject *
DatagramTransport__force_close(DatagramTransport *self, PyObject *exception)
{
    TRANSPORT_GUARD(self);
    if (self->conn_lost) {
        Py_RETURN_NONE;
    }
    Loop *loop = loop_borrow(self);
    if (loop == NULL) {
        return NULL;
    }
    if (stop_waiting(self) < 0 || (!self->closing && reader_unwatch(loop, self->fd, READER_READ) < 0)) {
        return NULL;
    }
    drop_queue(self);
    return transport_none_unless(end_soon(self, exception));
}

static PyObject *
DatagramTransport_get_write_buffer_size(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyLong_FromSsize_t(self->size_bytes);
}

static PyObject *
DatagramTransport_set_protocol(DatagramTransport *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TRANSPORT_GUARD(self);
    PyObject *protocol = args_parse_one("set_protocol", "protocol", args, nargs, kwnames);
    if (protocol == NULL) {
        return NULL;
    }
    self->protocol_connected = true;
    Py_XSETREF(self->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

static PyObject *
DatagramTransport_get_protocol(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return Py_NewRef(transport_or_none(self->protocol));
}

static PyObject *
DatagramTransport_is_closing(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(self->closing);
}

static PyObject *
DatagramTransport_is_reading(DatagramTransport *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return PyBool_FromLong(!self->closing && !self->paused);
}

static PyObject *
DatagramTransport_get_buffer(DatagramTransport *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < ring_count(&self->queue); i++) {
        if (PyList_Append(list, ring_peek(&self->queue, i)) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static int
DatagramTransport_set_buffer(DatagramTransport *Py_UNUSED(self), PyObject *Py_UNUSED(value), void *Py_UNUSED(closure))
{
    return 0; /* asyncio's __init__ sets an empty one */
}

static int
DatagramTransport_traverse(DatagramTransport *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    LOOP_HOME_VISIT(self);
    for (size_t i = 0; i < ring_count(&self->queue); i++) {
        Py_VISIT((PyObject *)ring_peek(&self->queue, i));
    }
    Py_VISIT(self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->protocol);
    Py_VISIT(self->server);
    Py_VISIT(self->extra);
    Py_VISIT(self->address);
    Py_VISIT(self->context);
    Py_VISIT(self->last_name);
    return 0;
}

static int
DatagramTransport_clear(DatagramTransport *self)
{
    drop_queue(self);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->server);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->address);
    Py_CLEAR(self->context);
    Py_CLEAR(self->last_name);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
DatagramTransport_dealloc(DatagramTransport *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    DatagramTransport_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
DatagramTransport_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    DatagramTransport *self = state ? (DatagramTransport *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = state;
        self->fd = -1;
        self->family = FAMILY_NOT_ASKED;
        ring_init(&self->queue);
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(sendto_doc,
             "sendto($self, /, data, addr=None)\n--\n\n"
             "Send data, a bytes-like object, as one datagram to addr, without blocking.\n\n"
             "What there is no room for is kept.  An endpoint with a remote address takes no other.  Raises\n"
             "TypeError if data is of another type, ValueError if addr is of another endpoint.\n\n"
             "asyncio documentation: Transports and Protocols, Datagram Transports.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Stop receiving, send what is queued, then call connection_lost(None).\n\n"
                        "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(force_close_doc, "_force_close($self, exc, /)\n--\n\n"
                              "Drop what is queued and have connection_lost(exc) called.");
PyDoc_STRVAR(get_write_buffer_size_doc, "get_write_buffer_size($self, /)\n--\n\n"
                                        "Return how many bytes wait to be sent, with a header for each datagram since\n"
                                        "Python 3.13.\n\n"
                                        "asyncio documentation: Transports and Protocols, Write-only Transports.");
PyDoc_STRVAR(set_protocol_doc, "set_protocol($self, /, protocol)\n--\n\n"
                               "Have protocol told of everything from now on.\n\n"
                               "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(get_protocol_doc, "get_protocol($self, /)\n--\n\n"
                               "Return the protocol; None after the end.\n\n"
                               "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(is_closing_doc, "is_closing($self, /)\n--\n\n"
                             "Return True if the transport is closing or closed.\n\n"
                             "asyncio documentation: Transports and Protocols, Base Transport.");
PyDoc_STRVAR(is_reading_doc, "is_reading($self, /)\n--\n\n"
                             "Return True if the transport receives data.\n\n"
                             "asyncio documentation: Transports and Protocols, Read-only Transports.");
PyDoc_STRVAR(read_ready_doc, "_read_ready($self, /)\n--\n\nReceive, and tell the protocol.");
PyDoc_STRVAR(sendto_ready_doc, "_sendto_ready($self, /)\n--\n\nSend what waits.");

static PyMethodDef DatagramTransport_methods[] = {
    { "sendto", AC_FAST(DatagramTransport_sendto), METH_FASTCALL | METH_KEYWORDS, sendto_doc },
    { "close", (PyCFunction)DatagramTransport_close, METH_NOARGS, close_doc },
    { "get_write_buffer_size", (PyCFunction)DatagramTransport_get_write_buffer_size, METH_NOARGS,
      get_write_buffer_size_doc },
    { "set_protocol", AC_FAST(DatagramTransport_set_protocol), METH_FASTCALL | METH_KEYWORDS, set_protocol_doc },
    { "get_protocol", (PyCFunction)DatagramTransport_get_protocol, METH_NOARGS, get_protocol_doc },
    { "is_closing", (PyCFunction)DatagramTransport_is_closing, METH_NOARGS, is_closing_doc },
    { "is_reading", (PyCFunction)DatagramTransport_is_reading, METH_NOARGS, is_reading_doc },
    { "_force_close", (PyCFunction)DatagramTransport__force_close, METH_O, force_close_doc },
    { "_read_ready", (PyCFunction)DatagramTransport__read_ready, METH_NOARGS, read_ready_doc },
    { "_sendto_ready", (PyCFunction)DatagramTransport__sendto_ready, METH_NOARGS, sendto_ready_doc },
    { 0 },
};

/* What asyncio's methods work on, under asyncio's names. */
#define DATAGRAM_FIELDS(X)                                \
    X(DatagramTransport, "_loop", T_OBJECT, loop)         \
    X(DatagramTransport, "_sock", T_OBJECT, sock)         \
    X(DatagramTransport, "_protocol", T_OBJECT, protocol) \
    X(DatagramTransport, "_server", T_OBJECT, server)     \
    X(DatagramTransport, "_extra", T_OBJECT, extra)       \
    X(DatagramTransport, "_address", T_OBJECT, address)   \
    X(DatagramTransport, "_context", T_OBJECT, context)

FIELD_ACCESS(DatagramTransport, TRANSPORT_GUARD)

static PyGetSetDef DatagramTransport_getset[] = {
    TRANSPORT_MARK(DatagramTransport, _high_water, high_water),
    TRANSPORT_MARK(DatagramTransport, _low_water, low_water),
    { "_buffer", (getter)DatagramTransport_get_buffer, (setter)DatagramTransport_set_buffer,
      "The list of datagrams that wait to be sent: (data, addr).", NULL },
    DATAGRAM_FIELDS(FIELD_AS_GETSET){ 0 },
};

#define MEMBER(name, type, field) { #name, type, offsetof(DatagramTransport, field), 0, NULL }

static PyMemberDef DatagramTransport_members[] = {
    MEMBER(_sock_fd, T_INT, fd),
    MEMBER(_buffer_size, T_PYSSIZET, size_bytes),
    MEMBER(_conn_lost, T_INT, conn_lost),
    MEMBER(_closing, T_BOOL, closing),
    MEMBER(_paused, T_BOOL, paused),
    MEMBER(_protocol_connected, T_BOOL, protocol_connected),
    MEMBER(_protocol_paused, T_BOOL, protocol_paused),
    DATAGRAM_FIELDS(FIELD_AS_MEMBER){ 0 },
};

PyDoc_STRVAR(DatagramTransport_doc, "What asyncio_c.transports.DatagramTransport does for each datagram.\n\n"
                                    "asyncio documentation: Transports and Protocols.");

static PyType_Slot DatagramTransport_slots[] = {
    { Py_tp_doc, (void *)DatagramTransport_doc },
    { Py_tp_new, DatagramTransport_new },
    { Py_tp_dealloc, DatagramTransport_dealloc },
    { Py_tp_traverse, DatagramTransport_traverse },
    { Py_tp_clear, DatagramTransport_clear },
    { Py_tp_methods, DatagramTransport_methods },
    { Py_tp_getset, DatagramTransport_getset },
    { Py_tp_members, DatagramTransport_members },
    { 0, NULL },
};

static PyType_Spec DatagramTransport_spec = {
    .name = "asyncio_c._core.DatagramTransport",
    .basicsize = sizeof(DatagramTransport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = DatagramTransport_slots,
};

int
datagram_transport_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    return transport_add_type(module, &state->DatagramTransport_type, &DatagramTransport_spec,
                              state->asyncio_FlowControlMixin, offsetof(DatagramTransport, state));
}
