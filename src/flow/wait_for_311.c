/* asyncio.wait_for() of Python 3.11.  Layer: flow.

   Equivalent:

       async def wait_for(fut, timeout):
           if timeout is None: return await fut
           if timeout <= 0: ...                                            (asyncio's)
           waiter = loop.create_future()
           timer = loop.call_later(timeout, release_waiter, waiter)
           fut = ensure_future(fut)
           fut.add_done_callback(release_waiter)                           (the slot)
           try:
               try: await waiter
               except CancelledError:
                   if fut.done(): return fut.result()
                   await cancel_and_wait(fut)
                   raise
               if fut.done(): return fut.result()
               await cancel_and_wait(fut)
               try: return fut.result()
               except CancelledError as error: raise TimeoutError() from error
           finally: timer.cancel()

   cancel_and_wait() waits in the same way, with another waiter and without a timer. */
#include "flow/wait_for.h"

#include "core/handle.h"
#include "core/registry.h"
#include "core/task.h"
#include "flow/timeout.h"
#include "py/errors.h"

typedef struct {
    Coroutine base;
    PyObject *awaitable;     /* owned; from the start on, the future that it has become */
    PyObject *timeout;       /* owned; seconds or None */
    PyObject *loop;          /* owned; set while it waits */
    PyObject *cancellation;  /* owned or NULL: the CancelledError that it was told, and will raise */
    struct runnable slot;    /* among the entries of the future */
    struct runnable overdue; /* what the timer runs */
    struct timer timer;
    bool cancelling; /* the future has been cancelled, and it waits for that */
} WaitForCoroutine;

/* ---- Something happens ---- */

static int
release_waiter(WaitForCoroutine *self, Loop *loop)
{
    Future *waiter = (Future *)Py_XNewRef(self->base.awaiting);
    int result = registry_leave(loop);
    if (waiter == NULL || waiter->future_state != FUTURE_PENDING) {
        Py_XDECREF(waiter);
        return result;
    }
    result = result == 0 ? future_set_result(waiter, Py_None) : future_without_memory(waiter);
    Py_DECREF(waiter);
    return result;
}

static int
slot_run(struct runnable *runnable, Loop *loop)
{
    return release_waiter((WaitForCoroutine *)runnable->owner, loop);
}

/* The waiter of cancel_and_wait() is none of the timer's. */
static int
overdue_run(struct runnable *runnable, Loop *loop)
{
    WaitForCoroutine *self = (WaitForCoroutine *)runnable->owner;
    return self->cancelling ? registry_leave(loop) : release_waiter(self, loop);
}

static PyObject *
release_waiter_called(PyObject *waiter, PyObject *Py_UNUSED(future))
{
    bool waits = waiter != Py_None && ((Future *)waiter)->future_state == FUTURE_PENDING;
    if (waits && future_set_result((Future *)waiter, Py_None) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef release_waiter_def = { "_release_waiter", release_waiter_called, METH_O, NULL };

static PyObject *
slot_as_callback(struct runnable *runnable)
{
    /* The waiter of now: a later one is not to be released by an old callback. */
    PyObject *waiter = ((Coroutine *)runnable->owner)->awaiting;
    return PyCFunction_New(&release_waiter_def, waiter ? waiter : Py_None);
}

static PyObject *
slot_as_handle(struct runnable *runnable, Loop *loop)
{
    return handle_for_runnable(runnable, loop, ((WaitForCoroutine *)runnable->owner)->awaitable);
}

static PyObject *
no_context(struct runnable *Py_UNUSED(runnable))
{
    return Py_None;
}

static const struct runnable_ops slot_ops = {
    .run = slot_run,
    .as_handle = slot_as_handle,
    .as_callback = slot_as_callback,
    .context_borrow = no_context,
};

static PyObject *
overdue_as_handle(struct runnable *runnable, Loop *loop)
{
    WaitForCoroutine *self = (WaitForCoroutine *)runnable->owner;
    struct state *state = self->base.state;
    PyObject *args[] = { Py_NewRef(self->base.awaiting ? self->base.awaiting : Py_None) };
    TimerHandle *handle = timer_handle_new(state, (PyObject *)loop, 0.0, state->release_waiter, args, 1, NULL);
    Py_DECREF(args[0]);
    return (PyObject *)handle;
}

static const struct runnable_ops overdue_ops = {
    .run = overdue_run,
    .as_handle = overdue_as_handle,
};

/* ---- The body ---- */

/* The future of what is awaited, as ensure_future() makes it.  NULL without an exception where that is asyncio's to do. */
static PyObject *
native_future(struct state *state, Loop *loop, PyObject *awaitable)
{
    if (future_is_exact(state, awaitable)) {
        return ((Future *)awaitable)->loop == (PyObject *)loop ? Py_NewRef(awaitable) : NULL;
    }
    bool native = PyCoro_CheckExact(awaitable) || coroutine_check(awaitable);
    if (!native || loop->task_factory != Py_None || loop->create_task_overridden) {
        return NULL;
    }
    return (PyObject *)task_new(state, (PyObject *)loop, awaitable, NULL, NULL, false);
}

/* Waits with a new waiter until the future is done.  Returns PYGEN_NEXT or PYGEN_ERROR. */
static PySendResult
wait_for_future(WaitForCoroutine *self, PyObject **result)
{
    Future *waiter = future_new(self->base.state, self->loop);
    PySendResult outcome = PYGEN_ERROR;
    if (waiter != NULL && future_add_native((Future *)self->awaitable, &self->slot) == 0) {
        outcome = coroutine_suspend_on(&self->base, waiter, result);
    }
    Py_XDECREF(waiter);
    return outcome;
}

/* The future is not done, and shall not go on. */
static PySendResult
cancel_and_wait(WaitForCoroutine *self, PyObject **result)
{
    PyObject *future = self->awaitable;
    future_remove_native((Future *)future, &self->slot);
    self->cancelling = true;
    PySendResult outcome = wait_for_future(self, result);
    if (outcome == PYGEN_NEXT) {
        PyObject *cancelled = PyObject_CallMethodNoArgs(future, self->base.state->str_cancel);
        if (cancelled == NULL) {
            Py_CLEAR(*result);
            return PYGEN_ERROR;
        }
        Py_DECREF(cancelled);
    }
    return outcome;
}

static PySendResult
return_result(WaitForCoroutine *self, PyObject **result)
{
    *result = future_get_result((Future *)self->awaitable);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

static bool
is_done(WaitForCoroutine *self)
{
    return ((Future *)self->awaitable)->future_state != FUTURE_PENDING;
}

static PySendResult
wait_for_start(Coroutine *base, PyObject **result)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    struct state *state = base->state;
    if (!wait_for_is_plain_number(self->timeout)) {
        return wait_for_delegate(base, self->awaitable, self->timeout);
    }
    Loop *loop = loop_running_fused(state);
    if (loop == NULL) {
        return PyErr_Occurred() ? PYGEN_ERROR : wait_for_delegate(base, self->awaitable, self->timeout);
    }
    double delay = PyFloat_AsDouble(self->timeout);
    int64_t deadline_ns = clock_ns_not_before(clock_seconds(clock_now_ns()) + delay);
    PyObject *future = native_future(state, loop, self->awaitable);
    PySendResult outcome = PYGEN_ERROR;
    if (future == NULL) {
        outcome = PyErr_Occurred() ? PYGEN_ERROR : wait_for_delegate(base, self->awaitable, self->timeout);
    }
    else {
        Py_SETREF(self->awaitable, Py_NewRef(future));
        self->loop = Py_NewRef((PyObject *)loop);
        if (loop_add_timer(loop, &self->timer, deadline_ns) == 0) {
            outcome = wait_for_future(self, result);
        }
    }
    Py_XDECREF(future);
    Py_DECREF((PyObject *)loop);
    return outcome;
}

/* raise TimeoutError() from the exception that is set, if the future was cancelled. */
static PySendResult
raise_timeout_error(WaitForCoroutine *self)
{
    if (!PyErr_ExceptionMatches(self->base.state->CancelledError)) {
        return PYGEN_ERROR;
    }
    PyObject *error = compat_exception_take();
    PyObject *outer = handling_begin(error);
    PyObject *timeout_error = PyObject_CallNoArgs(PyExc_TimeoutError);
    if (timeout_error != NULL) {
        PyException_SetCause(timeout_error, Py_NewRef(error));
        PyErr_SetObject(PyExc_TimeoutError, timeout_error);
        Py_DECREF(timeout_error);
    }
    handling_end_steal(outer);
    Py_DECREF(error);
    return PYGEN_ERROR;
}

static PySendResult
wait_for_resume(Coroutine *base, PyObject **result)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    PyObject *nothing = future_get_result((Future *)base->awaiting);
    if (nothing == NULL) {
        return PYGEN_ERROR; /* there was no memory to release it */
    }
    Py_DECREF(nothing);
    if (!self->cancelling) {
        return is_done(self) ? return_result(self, result) : cancel_and_wait(self, result);
    }
    future_remove_native((Future *)self->awaitable, &self->slot);
    if (self->cancellation != NULL) {
        PyObject *error = self->cancellation;
        self->cancellation = NULL;
        compat_exception_restore_steal(error);
        return PYGEN_ERROR;
    }
    PySendResult outcome = return_result(self, result);
    return outcome == PYGEN_ERROR ? raise_timeout_error(self) : outcome;
}

/* The exception that is set again, as if raised while `handled` is being handled. */
static void
raise_while_handling(PyObject *handled)
{
    PyObject *error = compat_exception_take();
    PyObject *outer = handling_begin(handled);
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    handling_end_steal(outer);
    Py_DECREF(error);
}

/* An exception is thrown in. */
static PySendResult
wait_for_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    if (base->delegate != NULL || outcome != PYGEN_ERROR) {
        return outcome;
    }
    if (self->cancelling) {
        if (self->cancellation != NULL) {
            raise_while_handling(self->cancellation);
        }
        return PYGEN_ERROR;
    }
    if (!PyErr_ExceptionMatches(base->state->CancelledError)) {
        return PYGEN_ERROR;
    }
    PyObject *error = compat_exception_take();
    if (is_done(self)) {
        outcome = return_result(self, result);
    }
    else {
        Py_XSETREF(self->cancellation, Py_NewRef(error));
        outcome = cancel_and_wait(self, result);
    }
    if (outcome == PYGEN_ERROR) {
        raise_while_handling(error);
    }
    Py_DECREF(error);
    return outcome;
}

static void
wait_for_leave(Coroutine *base)
{
    WaitForCoroutine *self = (WaitForCoroutine *)base;
    if (self->loop != NULL) {
        PyObject *loop = self->loop;
        self->loop = NULL;
        loop_remove_timer((Loop *)loop, &self->timer);
        future_remove_native((Future *)self->awaitable, &self->slot);
        Py_DECREF(loop);
    }
    Py_CLEAR(self->cancellation);
}

static const struct coroutine_body wait_for_body = {
    .name = "wait_for",
    .start = wait_for_start,
    .resume = wait_for_resume,
    .conclude = wait_for_conclude,
    .leave = wait_for_leave,
};

/* ---- Python face ---- */

PyObject *
wait_for_311_new(struct state *state, PyObject *awaitable, PyObject *timeout)
{
    WaitForCoroutine *self =
        (WaitForCoroutine *)freelist_new(&state->WaitForCoroutine_freelist, state->WaitForCoroutine_type);
    if (self != NULL) {
        coroutine_init(&self->base, state, &wait_for_body);
        self->slot = (struct runnable){ &slot_ops, (PyObject *)self };
        self->overdue = (struct runnable){ &overdue_ops, (PyObject *)self };
        self->timer.runnable = &self->overdue;
        heap_node_init(&self->timer.node);
        self->awaitable = Py_NewRef(awaitable);
        self->timeout = Py_NewRef(timeout);
        PyObject_GC_Track(self);
    }
    return (PyObject *)self;
}

static int
WaitForCoroutine_traverse(WaitForCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->awaitable);
    Py_VISIT(self->timeout);
    Py_VISIT(self->loop);
    Py_VISIT(self->cancellation);
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

static PyType_Slot WaitForCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, WaitForCoroutine_dealloc },
    { Py_tp_traverse, WaitForCoroutine_traverse },
    { Py_tp_clear, WaitForCoroutine_clear },
    { 0, NULL },
};

PyType_Spec wait_for_311_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(WaitForCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = WaitForCoroutine_slots,
};
