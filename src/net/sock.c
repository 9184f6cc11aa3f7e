/* The coroutines loop.sock_recv(), sock_recv_into(), sock_recvfrom(), sock_recvfrom_into(), sock_sendall(), sock_sendto(),
   sock_connect() and sock_accept().  Layer: net.

   Equivalent, of sock_recv(), where asyncio's loop has these coroutines in Python:

       async def sock_recv(self, sock, n):
           while True:
               try: return sock.recv(n)
               except BlockingIOError: pass
               await readable(sock)

   with the difference, which asyncio has too, that the attempt is made by the reader's callback, and the task is woken with
   its outcome.  What is unusual (debug mode, a socket that is not plain, odd arguments, overridden methods, names to be
   resolved) is passed on to asyncio's own coroutine.  sock_attempt.c has the attempts. */
#include "flow/coroutine_function.h"
#include "net/net.h"
#include "net/plain_socket.h"
#include "net/sock.h"
#include "net/transport.h"
#include "py/args.h"
#include "py/stand_in.h"

static const char *
operation_name(enum sock_operation operation)
{
    static const char *const names[SOCK_OPERATIONS] = {
        [SOCK_RECV] = "sock_recv",         [SOCK_RECV_INTO] = "sock_recv_into",
        [SOCK_RECVFROM] = "sock_recvfrom", [SOCK_RECVFROM_INTO] = "sock_recvfrom_into",
        [SOCK_SENDALL] = "sock_sendall",   [SOCK_SENDTO] = "sock_sendto",
        [SOCK_CONNECT] = "sock_connect",   [SOCK_ACCEPT] = "sock_accept",
    };
    return names[operation];
}

static int
direction_of(const SockCoroutine *self)
{
    switch (self->operation) {
    case SOCK_SENDALL:
    case SOCK_SENDTO:
    case SOCK_CONNECT:
        return READER_WRITE;
    default:
        return READER_READ;
    }
}

/* The descriptor that the socket object has now.  0, or -1 with an exception. */
static int
socket_fd(SockCoroutine *self, int *fd)
{
    PyObject *number = PyObject_CallMethodNoArgs(self->sock, self->base.state->str_fileno);
    if (number == NULL) {
        return -1;
    }
    *fd = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    return *fd == -1 && PyErr_Occurred() ? -1 : 0;
}

/* ---- The body ---- */

static int SockCoroutine_clear(SockCoroutine *self);

/* Tries again, while it waits.  As sock_attempt(). */
static int
attempt_again(SockCoroutine *self, PyObject **result)
{
    int outcome;
    self->attempting = true;
    if (AC_LIKELY(socket_is_plain(self->base.state, self->sock))) {
        int fd; /* asked again: the socket may be closed by now, and its number another's, who waits for the other direction */
        outcome = socket_fd(self, &fd) < 0 ? -1 : sock_attempt(self, fd, result);
    }
    else {
        outcome = sock_attempt_by_methods(self, result);
    }
    self->attempting = false;
    if (AC_UNLIKELY(self->base.coroutine_state == COROUTINE_CLOSED)) {
        PyObject *error = outcome < 0 ? compat_exception_take() : NULL;
        SockCoroutine_clear(self);
        if (error != NULL) {
            compat_exception_restore_steal(error);
        }
    }
    return outcome;
}

/* The reader's callback. */
static PyObject *
sock_ready(SockCoroutine *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self->loop, self);
    Future *future = (Future *)self->base.awaiting;
    if (future == NULL || future->future_state != FUTURE_PENDING || self->handle == NULL) {
        Py_RETURN_NONE; /* cancelled, but not resumed yet */
    }
    Py_INCREF(future);
    PyObject *result = NULL;
    int outcome = attempt_again(self, &result);
    if (outcome > 0) {
        outcome = future_set_result(future, result);
    }
    else if (outcome < 0) {
        PyObject *exception = compat_exception_take();
        outcome = future_set_exception(future, exception);
        Py_DECREF(exception);
    }
    Py_XDECREF(result);
    Py_DECREF(future);
    return outcome < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef sock_ready_def = { "_sock_ready", (PyCFunction)sock_ready, METH_NOARGS, NULL };

/* RuntimeError where a transport has the descriptor, in asyncio's words.  Returns 0 or -1. */
static int
check_no_transport(SockCoroutine *self)
{
    if (direction_of(self) == READER_READ && reader_kept_for_socket(self->loop, self->fd, self->sock)) {
        return 0; /* asked before; a transport would have begun to read, and taken the interest over */
    }
    PyObject *result = PyObject_CallMethod((PyObject *)self->loop, "_ensure_fd_no_transport", "i", self->fd);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PySendResult
wait_until_ready(SockCoroutine *self, PyObject **result)
{
    if (check_no_transport(self) < 0 || loop_check_closed(self->loop) < 0) {
        return PYGEN_ERROR;
    }
    Future *future = future_new(self->base.state, (PyObject *)self->loop);
    PyObject *callback = future ? PyCFunction_New(&sock_ready_def, (PyObject *)self) : NULL;
    PySendResult outcome = PYGEN_ERROR;
    if (callback != NULL) {
        self->handle = reader_wait_for_socket(self->loop, self->fd, direction_of(self), self->sock, callback);
        if (self->handle != NULL) {
            outcome = coroutine_suspend_on(&self->base, future, result);
        }
        Py_DECREF(callback);
    }
    Py_XDECREF(future);
    return outcome;
}

/* asyncio's own coroutine: loop.<operation>(*args, **kwnames). */
static PyObject *
call_asyncio(Loop *loop, enum sock_operation operation, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    loop_poll_promptly(loop);
    return loop_call_asyncio(loop, operation_name(operation), args, nargs, kwnames);
}

static PySendResult
sock_start(Coroutine *base, PyObject **result)
{
    SockCoroutine *self = (SockCoroutine *)base;
    GUARD(self->loop, self);
    int usable = self->loop->fused && socket_is_plain(base->state, self->sock) ? sock_take_arguments(self) : 0;
    if (usable <= 0) {
        PyObject *args[] = { self->sock, self->arguments[0], self->arguments[1] };
        size_t count = 1 + (args[1] != NULL) + (args[2] != NULL);
        base->delegate = usable == 0 ? call_asyncio(self->loop, self->operation, args, (Py_ssize_t)count, NULL) : NULL;
        return base->delegate ? PYGEN_NEXT : PYGEN_ERROR;
    }
    int outcome = socket_fd(self, &self->fd) < 0 ? -1 : sock_attempt(self, self->fd, result);
    if (outcome != 0) {
        return outcome > 0 ? PYGEN_RETURN : PYGEN_ERROR;
    }
    return wait_until_ready(self, result);
}

static PySendResult
sock_resume(Coroutine *base, PyObject **result)
{
    Future *future = (Future *)base->awaiting;
    *result = future_get_result(future);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

static void
sock_leave(Coroutine *base)
{
    SockCoroutine *self = (SockCoroutine *)base;
    Handle *handle = self->handle;
    self->handle = NULL;
    if (handle != NULL) {
        GUARD(self->loop, self);
        if (reader_socket_done(self->loop, self->fd, direction_of(self), self->sock, handle) < 0) {
            PyErr_WriteUnraisable((PyObject *)self->loop);
        }
        Py_DECREF(handle);
    }
    if (self->view.obj != NULL) {
        PyBuffer_Release(&self->view);
    }
}

#define BODY(method)                                \
    { .name = #method,                              \
      .qualname = "BaseSelectorEventLoop." #method, \
      .start = sock_start,                          \
      .resume = sock_resume,                        \
      .leave = sock_leave }

static const struct coroutine_body bodies[] = {
    [SOCK_RECV] = BODY(sock_recv),         [SOCK_RECV_INTO] = BODY(sock_recv_into),
    [SOCK_RECVFROM] = BODY(sock_recvfrom), [SOCK_RECVFROM_INTO] = BODY(sock_recvfrom_into),
    [SOCK_SENDALL] = BODY(sock_sendall),   [SOCK_SENDTO] = BODY(sock_sendto),
    [SOCK_CONNECT] = BODY(sock_connect),   [SOCK_ACCEPT] = BODY(sock_accept),
};

/* ---- Python face ---- */

/* How many positional arguments it may be called with. */
static bool
count_is_right(enum sock_operation operation, Py_ssize_t nargs)
{
    switch (operation) {
    case SOCK_ACCEPT:
        return nargs == 1;
    case SOCK_RECVFROM_INTO:
        return nargs == 2 || nargs == 3;
    case SOCK_SENDTO:
        return nargs == 3;
    default:
        return nargs == 2;
    }
}

/* 3.11: whoever has found our method has come before it was known that asyncio's was replaced.  1, 0 or -1. */
AC_COLD static int
is_aside(Loop *loop, enum sock_operation operation)
{
    PyObject *name = loop_decide_fused(loop) < 0 ? NULL : PyUnicode_InternFromString(operation_name(operation));
    int aside = name ? stand_in_is_aside(loop->state, Py_TYPE(loop), name) : -1;
    Py_XDECREF(name);
    return aside;
}

static PyObject *
sock_coroutine(Loop *loop, enum sock_operation operation, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct state *state = loop->state;
    GUARD(loop, loop);
    int aside = AC_UNLIKELY(loop_methods_changed(loop)) ? is_aside(loop, operation) : 0;
    if (aside < 0) {
        return NULL;
    }
    if (aside || !count_is_right(operation, nargs) || kwnames != NULL || !loop->fused
        || !socket_is_plain(state, args[0])) {
        return call_asyncio(loop, operation, args, nargs, kwnames);
    }
    SockCoroutine *self = (SockCoroutine *)freelist_new(&state->SockCoroutine_freelist, state->SockCoroutine_type);
    if (self == NULL) {
        return NULL;
    }
    coroutine_init(&self->base, state, &bodies[operation]);
    self->loop = (Loop *)Py_NewRef((PyObject *)loop);
    self->sock = Py_NewRef(args[0]);
    for (Py_ssize_t i = 1; i < nargs; i++) {
        self->arguments[i - 1] = Py_NewRef(args[i]);
    }
    self->operation = operation;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

#define LOOP_METHOD(name, operation)                                                                     \
    static PyObject *Loop_##name(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) \
    {                                                                                                    \
        return sock_coroutine(self, operation, args, nargs, kwnames);                                    \
    }

LOOP_METHOD(sock_recv, SOCK_RECV)
LOOP_METHOD(sock_recv_into, SOCK_RECV_INTO)
LOOP_METHOD(sock_recvfrom, SOCK_RECVFROM)
LOOP_METHOD(sock_recvfrom_into, SOCK_RECVFROM_INTO)
LOOP_METHOD(sock_sendall, SOCK_SENDALL)
LOOP_METHOD(sock_sendto, SOCK_SENDTO)
LOOP_METHOD(sock_connect, SOCK_CONNECT)
LOOP_METHOD(sock_accept, SOCK_ACCEPT)

static int
SockCoroutine_traverse(SockCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->arguments[0]);
    Py_VISIT(self->arguments[1]);
    Py_VISIT(self->address);
    Py_VISIT((PyObject *)self->handle);
    Py_VISIT(self->view.obj);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
SockCoroutine_clear(SockCoroutine *self)
{
    coroutine_clear(&self->base);
    if (self->attempting) {
        return 0;
    }
    sock_leave(&self->base);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->arguments[0]);
    Py_CLEAR(self->arguments[1]);
    Py_CLEAR(self->address);
    return 0;
}

static void
SockCoroutine_dealloc(SockCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->SockCoroutine_freelist, state->SockCoroutine_type, (PyObject *)self);
}

static PyType_Slot SockCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, SockCoroutine_dealloc },
    { Py_tp_traverse, SockCoroutine_traverse },
    { Py_tp_clear, SockCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec SockCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(SockCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = SockCoroutine_slots,
};

PyDoc_STRVAR(sock_recv_doc, "Coroutine that receives up to n bytes and returns them.\n\n"
                            "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_recv_into_doc, "Coroutine that receives into the writable buffer buf and returns how many bytes.\n\n"
                                 "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_recvfrom_doc,
             "Coroutine that receives a datagram of up to bufsize bytes and returns (data, address).\n\n"
             "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_recvfrom_into_doc, "Coroutine that receives a datagram of up to nbytes bytes, or as many as fit, "
                                     "into buf.\n\nReturns (number of bytes, address).\n\n"
                                     "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_sendall_doc, "Coroutine that sends all of data, a bytes-like object.\n\n"
                               "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_sendto_doc, "Coroutine that sends data as a datagram to address and returns how many bytes.\n\n"
                              "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_connect_doc, "Coroutine that connects sock to address, whose host is resolved where it is a name.\n\n"
                               "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_accept_doc, "Coroutine that accepts a connection and returns (socket, address of the peer).\n\n"
                              "asyncio documentation: Event Loop, Working with socket objects directly.");

static const PyMethodDef methods[] = {
    { "sock_recv", AC_FAST(Loop_sock_recv), METH_FASTCALL | METH_KEYWORDS, sock_recv_doc },
    { "sock_recv_into", AC_FAST(Loop_sock_recv_into), METH_FASTCALL | METH_KEYWORDS, sock_recv_into_doc },
    { "sock_recvfrom", AC_FAST(Loop_sock_recvfrom), METH_FASTCALL | METH_KEYWORDS, sock_recvfrom_doc },
    { "sock_recvfrom_into", AC_FAST(Loop_sock_recvfrom_into), METH_FASTCALL | METH_KEYWORDS, sock_recvfrom_into_doc },
    { "sock_sendall", AC_FAST(Loop_sock_sendall), METH_FASTCALL | METH_KEYWORDS, sock_sendall_doc },
    { "sock_sendto", AC_FAST(Loop_sock_sendto), METH_FASTCALL | METH_KEYWORDS, sock_sendto_doc },
    { "sock_connect", AC_FAST(Loop_sock_connect), METH_FASTCALL | METH_KEYWORDS, sock_connect_doc },
    { "sock_accept", AC_FAST(Loop_sock_accept), METH_FASTCALL | METH_KEYWORDS, sock_accept_doc },
};

int
sock_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->SockCoroutine_type, &SockCoroutine_spec, NULL) < 0) {
        return -1;
    }
    return coroutine_function_add_methods(module, state->Loop_type, state->asyncio_SelectorEventLoop, methods,
                                          AC_ARRAY_SIZE(methods));
}
