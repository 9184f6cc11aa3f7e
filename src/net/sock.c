/* loop.sock_recv(), sock_recv_into() and sock_sendall().  Layer: net.

   Equivalent, of sock_recv(), where asyncio's loop has these coroutines in Python:

       async def sock_recv(self, sock, n):
           while True:
               try: return sock.recv(n)
               except BlockingIOError: pass
               await readable(sock)

   with the difference, which asyncio has too, that the attempt is made by the reader's callback, and the task is woken with
   its outcome.  What is unusual (debug mode, a subclass of socket, odd arguments, overridden methods) is passed on to
   asyncio's own coroutine, and so are, always, the calls that deal with addresses (recvfrom, sendto, connect, accept): they
   are the socket object's to make.

   The descriptor's blocking mode is not touched and does not matter: each attempt asks not to block. */
#include "core/reader.h"
#include "flow/coroutine.h"
#include "io/calls.h"
#include "net/net.h"
#include "py/args.h"
#include "py/errors.h"

#include <errno.h>
#include <sys/socket.h>

enum operation {
    SOCK_RECV,
    SOCK_RECV_INTO,
    SOCK_SENDALL,
};

typedef struct {
    Coroutine base;
    Loop *loop;         /* owned */
    PyObject *sock;     /* owned */
    PyObject *argument; /* owned */
    Handle *handle;     /* owned; while it waits */
    Py_buffer view;     /* of the argument of a sendall; held until the end, as by asyncio */
    Py_ssize_t size;    /* of a recv */
    Py_ssize_t sent;
    int fd;
    enum operation operation;
} SockCoroutine;

static const char *
operation_name(enum operation operation)
{
    static const char *const names[] = { "sock_recv", "sock_recv_into", "sock_sendall" };
    return names[operation];
}

static int
direction_of(const SockCoroutine *self)
{
    return self->operation == SOCK_SENDALL ? READER_WRITE : READER_READ;
}

/* ---- One attempt: 1 and *result if it is over, 0 if it would block, -1 with an exception ---- */

/* What a call that returned `count` means: as above, with 1 for success. */
static int
outcome_of(ssize_t count)
{
    if (count >= 0) {
        return 1;
    }
    return errno == EAGAIN || errno == EINTR ? 0 : raise_errno(-errno);
}

static int
try_recv(SockCoroutine *self, PyObject **result)
{
    int outcome;
    if (self->size <= LOOP_SCRATCH_SIZE) {
        char *scratch = loop_scratch(self->loop);
        if (scratch == NULL) {
            return -1;
        }
        ssize_t count = sys_recv(self->fd, scratch, (size_t)self->size, MSG_DONTWAIT);
        outcome = outcome_of(count);
        *result = outcome > 0 ? PyBytes_FromStringAndSize(scratch, count) : NULL;
        return outcome > 0 && *result == NULL ? -1 : outcome;
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, self->size);
    if (data == NULL) {
        return -1;
    }
    ssize_t count = sys_recv(self->fd, PyBytes_AS_STRING(data), (size_t)self->size, MSG_DONTWAIT);
    outcome = outcome_of(count);
    if (outcome <= 0) {
        Py_DECREF(data);
        return outcome;
    }
    if (count != self->size && _PyBytes_Resize(&data, count) < 0) {
        return -1;
    }
    *result = data;
    return 1;
}

static int
try_recv_into(SockCoroutine *self, PyObject **result)
{
    Py_buffer view; /* held for this attempt only: between two its owner may resize it */
    if (PyObject_GetBuffer(self->argument, &view, PyBUF_WRITABLE) < 0) {
        return -1;
    }
    ssize_t count = sys_recv(self->fd, view.buf, (size_t)view.len, MSG_DONTWAIT);
    int error = errno;
    PyBuffer_Release(&view);
    errno = error;
    int outcome = outcome_of(count);
    *result = outcome > 0 ? PyLong_FromSsize_t(count) : NULL;
    return outcome > 0 && *result == NULL ? -1 : outcome;
}

static int
try_sendall(SockCoroutine *self, PyObject **result)
{
    const char *rest = (const char *)self->view.buf + self->sent;
    ssize_t count = sys_send(self->fd, rest, (size_t)(self->view.len - self->sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    int outcome = outcome_of(count);
    if (outcome > 0) {
        self->sent += count;
        outcome = self->sent == self->view.len;
        *result = outcome ? Py_NewRef(Py_None) : NULL;
    }
    return outcome;
}

static int
attempt(SockCoroutine *self, PyObject **result)
{
    switch (self->operation) {
    case SOCK_RECV:
        return try_recv(self, result);
    case SOCK_RECV_INTO:
        return try_recv_into(self, result);
    default:
        return try_sendall(self, result);
    }
}

/* ---- The body ---- */

/* The reader's callback: tries again. */
static PyObject *
sock_ready(SockCoroutine *self, PyObject *Py_UNUSED(ignored))
{
    Future *future = (Future *)self->base.awaiting;
    if (future == NULL || future->future_state != FUTURE_PENDING || self->handle == NULL) {
        Py_RETURN_NONE; /* cancelled, but not resumed yet */
    }
    Py_INCREF(future);
    PyObject *result = NULL;
    int outcome = attempt(self, &result);
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

/* Fills in what the operation needs of its argument.  False: asyncio's coroutine shall see to it. */
static bool
take_argument(SockCoroutine *self)
{
    if (self->operation == SOCK_RECV) {
        if (!PyLong_CheckExact(self->argument)) {
            return false;
        }
        self->size = PyLong_AsSsize_t(self->argument);
        PyErr_Clear();
        return self->size > 0;
    }
    int flags = self->operation == SOCK_SENDALL ? PyBUF_SIMPLE : PyBUF_WRITABLE;
    if (PyObject_GetBuffer(self->argument, &self->view, flags) < 0) {
        PyErr_Clear();
        self->view.obj = NULL;
        return false;
    }
    bool usable = self->view.len > 0;
    if (self->operation == SOCK_RECV_INTO) {
        PyBuffer_Release(&self->view);
    }
    return usable;
}

/* asyncio's own coroutine: loop.<operation>(*args, **kwnames). */
static PyObject *
call_asyncio(Loop *loop, enum operation operation, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *class = loop->state->asyncio_SelectorEventLoop;
    PyObject *function = PyObject_GetAttrString(class, operation_name(operation));
    PyObject *method = function ? PyMethod_New(function, (PyObject *)loop) : NULL;
    PyObject *coroutine = method ? PyObject_Vectorcall(method, args, (size_t)nargs, kwnames) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(method);
    return coroutine;
}

static PySendResult
sock_start(Coroutine *base, PyObject **result)
{
    SockCoroutine *self = (SockCoroutine *)base;
    if (!self->loop->fused || !take_argument(self)) {
        PyObject *args[] = { self->sock, self->argument };
        base->delegate = call_asyncio(self->loop, self->operation, args, 2, NULL);
        return base->delegate ? PYGEN_NEXT : PYGEN_ERROR;
    }
    PyObject *number = PyObject_CallMethodNoArgs(self->sock, base->state->str_fileno);
    if (number == NULL) {
        return PYGEN_ERROR;
    }
    self->fd = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    if (self->fd == -1 && PyErr_Occurred()) {
        return PYGEN_ERROR;
    }
    int outcome = attempt(self, result);
    if (outcome != 0) {
        return outcome > 0 ? PYGEN_RETURN : PYGEN_ERROR;
    }
    return wait_until_ready(self, result);
}

static PySendResult
sock_resume(Coroutine *base, PyObject **result)
{
    Future *future = (Future *)base->awaiting;
    if (future->future_state == FUTURE_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
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
    [SOCK_RECV] = BODY(sock_recv),
    [SOCK_RECV_INTO] = BODY(sock_recv_into),
    [SOCK_SENDALL] = BODY(sock_sendall),
};

/* ---- Python face ---- */

static PyObject *
sock_coroutine(Loop *loop, enum operation operation, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct state *state = loop->state;
    if (nargs != 2 || kwnames != NULL || !loop->fused || (PyObject *)Py_TYPE(args[0]) != state->socket_type) {
        return call_asyncio(loop, operation, args, nargs, kwnames);
    }
    SockCoroutine *self = (SockCoroutine *)freelist_new(&state->SockCoroutine_freelist, state->SockCoroutine_type);
    if (self == NULL) {
        return NULL;
    }
    coroutine_init(&self->base, state, &bodies[operation]);
    self->loop = (Loop *)Py_NewRef((PyObject *)loop);
    self->sock = Py_NewRef(args[0]);
    self->argument = Py_NewRef(args[1]);
    self->operation = operation;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
Loop_sock_recv(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return sock_coroutine(self, SOCK_RECV, args, nargs, kwnames);
}

static PyObject *
Loop_sock_recv_into(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return sock_coroutine(self, SOCK_RECV_INTO, args, nargs, kwnames);
}

static PyObject *
Loop_sock_sendall(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return sock_coroutine(self, SOCK_SENDALL, args, nargs, kwnames);
}

static int
SockCoroutine_traverse(SockCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->argument);
    Py_VISIT((PyObject *)self->handle);
    Py_VISIT(self->view.obj);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
SockCoroutine_clear(SockCoroutine *self)
{
    self->base.coroutine_state = COROUTINE_CLOSED; /* without its loop and socket it can do nothing */
    sock_leave(&self->base);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->argument);
    coroutine_clear(&self->base);
    return 0;
}

static void
SockCoroutine_dealloc(SockCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    SockCoroutine_clear(self);
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

PyDoc_STRVAR(sock_recv_doc, "sock_recv($self, /, sock, n)\n--\n\n"
                            "Coroutine that receives up to n bytes and returns them.\n\n"
                            "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_recv_into_doc, "sock_recv_into($self, /, sock, buf)\n--\n\n"
                                 "Coroutine that receives into the writable buffer buf and returns how many bytes.\n\n"
                                 "asyncio documentation: Event Loop, Working with socket objects directly.");
PyDoc_STRVAR(sock_sendall_doc, "sock_sendall($self, /, sock, data)\n--\n\n"
                               "Coroutine that sends all of data, a bytes-like object.\n\n"
                               "asyncio documentation: Event Loop, Working with socket objects directly.");

static PyMethodDef methods[] = {
    { "sock_recv", AC_FAST(Loop_sock_recv), METH_FASTCALL | METH_KEYWORDS, sock_recv_doc },
    { "sock_recv_into", AC_FAST(Loop_sock_recv_into), METH_FASTCALL | METH_KEYWORDS, sock_recv_into_doc },
    { "sock_sendall", AC_FAST(Loop_sock_sendall), METH_FASTCALL | METH_KEYWORDS, sock_sendall_doc },
};

int
sock_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->SockCoroutine_type, &SockCoroutine_spec, NULL) < 0) {
        return -1;
    }
    /* Methods of the loop, which core may not know. */
    for (size_t i = 0; i < AC_ARRAY_SIZE(methods); i++) {
        PyObject *method = PyDescr_NewMethod(state->Loop_type, &methods[i]);
        int result = method ? PyObject_SetAttrString((PyObject *)state->Loop_type, methods[i].ml_name, method) : -1;
        Py_XDECREF(method);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}
