/* asyncio.wait_for().  Layer: flow.

   Equivalent, from Python 3.12 on (wait_for_311.c is the one before):

       async def wait_for(fut, timeout):
           if timeout is not None and timeout <= 0: ...                    (asyncio's)
           async with timeout(timeout): return await fut

   The Timeout is one of C alone.  The native way is for native futures and coroutines, in a native task of a loop that may be
   shortcut; everything else, and every wrong argument, is asyncio's own coroutine. */
#include "flow/wait_for.h"

#include "core/registry.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "flow/timeout.h"
#include "py/args.h"
#include "py/errors.h"

typedef struct {
    Coroutine base;
    PyObject *awaitable; /* owned */
    PyObject *timeout;   /* owned; seconds or None */
    Timeout *scope;      /* owned or NULL: it has not begun, or is asyncio's */
} WaitForCoroutine;

PySendResult
wait_for_delegate(Coroutine *self, PyObject *awaitable, PyObject *timeout)
{
    PyObject *args[] = { awaitable, timeout };
    self->delegate = PyObject_Vectorcall(self->state->asyncio_wait_for, args, 2, NULL);
    return self->delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

PySendResult
wait_for_awaitable(Coroutine *self, PyObject *awaitable, PyObject **result)
{
    if (!future_is_exact(self->state, awaitable)) {
        self->delegate = Py_NewRef(awaitable);
        return PYGEN_NEXT;
    }
    Future *future = (Future *)awaitable;
    if (future->future_state != FUTURE_PENDING) {
        *result = future_get_result(future);
        return *result ? PYGEN_RETURN : PYGEN_ERROR;
    }
    if (future->blocking) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    return coroutine_suspend_on(self, future, result);
}

/* Whether wait_for_awaitable() will do.  1, 0 or -1. */
static int
is_awaited_as_it_is(struct state *state, PyObject *awaitable)
{
    if (future_is_exact(state, awaitable)) {
        return ((Future *)awaitable)->loop != NULL;
    }
    if (coroutine_check(awaitable)) {
        return 1;
    }
    if (!PyCoro_CheckExact(awaitable)) {
        return 0;
    }
    /* One that somebody else awaits is refused, by asyncio. */
    PyObject *suspended = PyObject_GetAttr(awaitable, state->str_cr_suspended);
    Py_XDECREF(suspended); /* one of the two that are always there */
    return suspended ? suspended == Py_False : -1;
}

bool
wait_for_is_plain_number(PyObject *timeout)
{
    if (PyFloat_CheckExact(timeout)) {
        return !(PyFloat_AS_DOUBLE(timeout) <= 0.0);
    }
    int overflow;
    return PyLong_CheckExact(timeout) && PyLong_AsLongAndOverflow(timeout, &overflow) > 0;
}

/* The end of the block.  The exception, if it is one, is set. */
static PySendResult
wait_for_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    if (self->scope == NULL) {
        return outcome;
    }
    if (outcome == PYGEN_RETURN) {
        if (timeout_exit(self->scope, Py_None, Py_None) < 0) {
            Py_CLEAR(*result);
            return PYGEN_ERROR;
        }
        return outcome;
    }
    PyObject *error = compat_exception_take();
    PyObject *outer = handling_begin(error);
    int left = timeout_exit(self->scope, (PyObject *)Py_TYPE(error), error);
    handling_end_steal(outer);
    if (left < 0) {
        Py_DECREF(error);
    }
    else {
        compat_exception_restore_steal(error);
    }
    return PYGEN_ERROR;
}

/* Begins the block.  Returns 0 or -1. */
static int
enter_scope(WaitForCoroutine *self, Loop *loop, Task *task)
{
    struct state *state = self->base.state;
    PyObject *when = timeout_deadline(state, loop, self->timeout);
    Timeout *scope = when ? timeout_new(state, when) : NULL;
    int result = scope ? timeout_enter(scope, task) : -1;
    if (result == 0) {
        result = timeout_arm(scope, loop, when); /* which takes a float, and nothing that is outdated */
    }
    self->scope = result == 0 ? (Timeout *)Py_XNewRef((PyObject *)scope) : NULL;
    Py_XDECREF((PyObject *)scope);
    Py_XDECREF(when);
    return result;
}

static PySendResult
wait_for_start(Coroutine *base, PyObject **result)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    struct state *state = base->state;
    bool plain_timeout = self->timeout == Py_None || wait_for_is_plain_number(self->timeout);
    int plain = plain_timeout ? is_awaited_as_it_is(state, self->awaitable) : 0;
    Loop *loop = plain > 0 ? loop_running_fused(state) : NULL;
    if (plain < 0 || (loop == NULL && PyErr_Occurred())) {
        return PYGEN_ERROR;
    }
    PyObject *task = loop ? Py_XNewRef(registry_current_borrow(loop)) : NULL;
    PySendResult outcome = PYGEN_ERROR;
    if (task == NULL || Py_TYPE(task) != state->Task_type) {
        outcome = wait_for_delegate(base, self->awaitable, self->timeout);
    }
    else if (enter_scope(self, loop, (Task *)task) == 0) {
        outcome = wait_for_awaitable(base, self->awaitable, result);
        if (outcome != PYGEN_NEXT) {
            outcome = wait_for_conclude(base, outcome, result);
        }
    }
    Py_XDECREF(task);
    Py_XDECREF((PyObject *)loop);
    return outcome;
}

static PySendResult
wait_for_resume(Coroutine *base, PyObject **result)
{
    *result = future_get_result((Future *)base->awaiting);
    return wait_for_conclude(base, *result ? PYGEN_RETURN : PYGEN_ERROR, result);
}

static void
wait_for_leave(Coroutine *base)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    if (self->scope != NULL) {
        timeout_abandon(self->scope);
        Py_CLEAR(self->scope);
    }
}

static const struct coroutine_body wait_for_body = {
    .name = "wait_for",
    .start = wait_for_start,
    .resume = wait_for_resume,
    .conclude = wait_for_conclude,
    .leave = wait_for_leave,
};

/* ---- Python face ---- */

static int
WaitForCoroutine_traverse(WaitForCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->awaitable);
    Py_VISIT(self->timeout);
    Py_VISIT(self->scope);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
WaitForCoroutine_clear(WaitForCoroutine *self)
{
    coroutine_clear(&self->base);
    wait_for_leave(&self->base);
    Py_CLEAR(self->awaitable);
    Py_CLEAR(self->timeout);
    return 0;
}

static void
WaitForCoroutine_dealloc(WaitForCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->WaitForCoroutine_freelist, state->WaitForCoroutine_type, (PyObject *)self);
}

static PyObject *
wait_for_new(struct state *state, PyObject *awaitable, PyObject *timeout)
{
    WaitForCoroutine *self =
        (WaitForCoroutine *)freelist_new(&state->WaitForCoroutine_freelist, state->WaitForCoroutine_type);
    if (self != NULL) {
        coroutine_init(&self->base, state, &wait_for_body);
        self->awaitable = Py_NewRef(awaitable);
        self->timeout = Py_NewRef(timeout);
        PyObject_GC_Track(self);
    }
    return (PyObject *)self;
}

static PyObject *
wait_for_function(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    /* Wrong calls, and fut= by keyword, are rare: asyncio's own function knows the words. */
    bool keyword = nargs == 1 && kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 1
                   && args_keyword_is(kwnames, 0, state->str_timeout);
    if (AC_UNLIKELY(COMPAT_LOAD(state->debug_loops) > 0 || !(keyword || (nargs == 2 && kwnames == NULL)))) {
        return PyObject_Vectorcall(state->asyncio_wait_for, args, (size_t)nargs, kwnames);
    }
    return AC_PY312 ? wait_for_new(state, args[0], args[1]) : wait_for_311_new(state, args[0], args[1]);
}

PyDoc_STRVAR(wait_for_doc,
             "Coroutine that waits for the awaitable fut for timeout seconds at most, and returns its result.\n\n"
             "If it takes longer it is cancelled, and TimeoutError raised; with None it may take for ever.\n\n"
             "asyncio documentation: Coroutines and Tasks, Timeouts.");

static PyType_Slot WaitForCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, WaitForCoroutine_dealloc },
    { Py_tp_traverse, WaitForCoroutine_traverse },
    { Py_tp_clear, WaitForCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec WaitForCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(WaitForCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = WaitForCoroutine_slots,
};

int
wait_for_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyType_Spec *spec = AC_PY312 ? &WaitForCoroutine_spec : &wait_for_311_spec;
    if (state_add_type(module, &state->WaitForCoroutine_type, spec, NULL) < 0) {
        return -1;
    }
    return coroutine_function_add(module, module, state->asyncio_wait_for, wait_for_function, wait_for_doc);
}
