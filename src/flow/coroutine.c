/* The part of a C coroutine that every one has: the protocol and its errors.  Layer: flow. */
#include "flow/coroutine.h"

#include "py/args.h"
#include "py/errors.h"
#include "py/spare_stop.h"

void
coroutine_init(Coroutine *self, struct state *state, const struct coroutine_body *body)
{
    self->state = state;
    self->body = body;
}

int
coroutine_traverse(Coroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->delegate);
    Py_VISIT(self->awaiting);
    return 0;
}

void
coroutine_clear(Coroutine *self)
{
    COMPAT_STORE(self->coroutine_state, COROUTINE_CLOSED);
    Py_CLEAR(self->delegate);
    Py_CLEAR(self->awaiting);
}

/* Lets go of its arguments, and of all else, as a frame does that is cleared. */
static void
let_go(Coroutine *self)
{
    Py_TYPE(self)->tp_clear((PyObject *)self);
}

/* It has ended: nothing outside may point to it any more. */
static void
coroutine_end(Coroutine *self, bool begun)
{
    COMPAT_STORE(self->coroutine_state, COROUTINE_CLOSED);
    if (begun) {
        self->body->leave(self);
    }
    let_go(self);
}

/* After something of it has run: it waits, or it has ended. */
static PySendResult
settle(Coroutine *self, PySendResult outcome)
{
    if (outcome == PYGEN_NEXT) {
        COMPAT_STORE(self->coroutine_state, COROUTINE_SUSPENDED);
        return outcome;
    }
    PyObject *error = outcome == PYGEN_ERROR ? compat_exception_take() : NULL;
    coroutine_end(self, true);
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    return outcome;
}

/* Resumes the delegate, and has the body conclude if that ends it. */
static PySendResult
send_to_delegate(Coroutine *self, PyObject *value, PyObject **result)
{
    PySendResult outcome = PyIter_Send(self->delegate, value, result);
    return outcome == PYGEN_NEXT || self->body->conclude == NULL ? outcome
                                                                 : self->body->conclude(self, outcome, result);
}

PySendResult
coroutine_suspend_on(Coroutine *self, Future *future, PyObject **result)
{
    future->blocking = true;
    Py_XSETREF(self->awaiting, Py_NewRef((PyObject *)future));
    *result = Py_NewRef((PyObject *)future);
    return PYGEN_NEXT;
}

void
coroutine_leave_nothing(Coroutine *Py_UNUSED(self))
{
}

PyObject *
coroutine_await_steal(PyObject *awaitable)
{
    if (awaitable == NULL || PyCoro_CheckExact(awaitable)) {
        return awaitable;
    }
    PyAsyncMethods *methods = Py_TYPE(awaitable)->tp_as_async;
    PyObject *iterator = NULL;
    if (methods != NULL && methods->am_await != NULL) {
        iterator = methods->am_await(awaitable);
    }
    else {
        PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression", Py_TYPE(awaitable)->tp_name);
    }
    Py_DECREF(awaitable);
    return iterator;
}

/* Goes on with its body.  Whoever resumes it by hand while its future is pending gets that future again, as from asyncio's
   coroutines, unless nobody has taken notice of it yet. */
static PySendResult
resume(Coroutine *self, PyObject **result)
{
    Future *future = (Future *)self->awaiting;
    if (AC_LIKELY(future == NULL || future->future_state != FUTURE_PENDING)) {
        return self->body->resume(self, result);
    }
    if (future->blocking) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    return coroutine_suspend_on(self, future, result);
}

static bool
may_run(enum coroutine_state state)
{
    return state == COROUTINE_CREATED || state == COROUTINE_SUSPENDED;
}

/* Has it run from here on, in this thread alone, if it may.  Returns its state until then. */
static enum coroutine_state
begin_running(Coroutine *self)
{
    unsigned char state = COMPAT_LOAD(self->coroutine_state);
    while (AC_LIKELY(may_run(state)) && !COMPAT_EXCHANGE_IF(self->coroutine_state, &state, COROUTINE_RUNNING)) {
        /* another thread was first, and `state` is what it made of it */
    }
    return state;
}

/* After a begin_running() that returned a state in which it may not: the exception is a coroutine's. */
static void
set_refusal(enum coroutine_state state)
{
    if (state == COROUTINE_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    }
    else {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    }
}

/* After begin_running(): what it does to the loop of the future that it waits for, is done in that loop's critical section. */
#if AC_FREE_THREADED
static inline void
guard_of_awaited(struct guard *guard, Coroutine *self)
{
    Loop *loop = self->awaiting ? ((Future *)self->awaiting)->native_loop : NULL;
    guard->object = NULL;
    if (loop != NULL) {
        guard_begin(guard, loop, NULL);
    }
}
#define AWAITED_GUARD(self)                                     \
    __attribute__((cleanup(guard_end))) struct guard guard_of_; \
    guard_of_awaited(&guard_of_, self)
#else
#define AWAITED_GUARD(self) ((void)0)
#endif

PySendResult
coroutine_am_send(Coroutine *self, PyObject *value, PyObject **result)
{
    *result = NULL;
    const enum coroutine_state before = begin_running(self);
    if (AC_UNLIKELY(!may_run(before))) {
        set_refusal(before);
        return PYGEN_ERROR;
    }
    AWAITED_GUARD(self);
    PySendResult outcome;
    if (before == COROUTINE_CREATED) {
        if (value != Py_None) {
            COMPAT_STORE(self->coroutine_state, COROUTINE_CREATED);
            PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
            return PYGEN_ERROR;
        }
        outcome = self->body->start(self, result);
        if (outcome == PYGEN_NEXT && *result == NULL) {
            outcome = send_to_delegate(self, Py_None, result);
        }
    }
    else {
        outcome = self->delegate ? send_to_delegate(self, value, result) : resume(self, result);
    }
    return settle(self, outcome);
}

bool
coroutine_check(PyObject *object)
{
    PyAsyncMethods *methods = Py_TYPE(object)->tp_as_async;
    return methods != NULL && methods->am_send == (sendfunc)coroutine_am_send;
}

PyObject *
coroutine_next(Coroutine *self)
{
    PyObject *result;
    PySendResult outcome = coroutine_am_send(self, Py_None, &result);
    return spare_stop_next(self->state, (PyObject *)self, outcome, result);
}

static PyObject *
coroutine_send(Coroutine *self, PyObject *value)
{
    PyObject *result;
    PySendResult outcome = coroutine_am_send(self, value, &result);
    if (outcome == PYGEN_RETURN && result == Py_None) {
        PyErr_SetNone(PyExc_StopIteration); /* without arguments, unlike that of a future's iterator */
        Py_DECREF(result);
        return NULL;
    }
    return send_result_as_method(self->state, outcome, result);
}

/* Raises the exception where it waits.  Needs: begun, and running. */
static PySendResult
throw_steal(Coroutine *self, PyObject *error, PyObject **result)
{
    PySendResult outcome = PYGEN_ERROR;
    *result = NULL;
    if (self->delegate == NULL) {
        compat_exception_restore_steal(error);
    }
    else {
        *result = PyObject_CallMethodOneArg(self->delegate, self->state->str_throw, error);
        Py_DECREF(error);
        if (*result != NULL) {
            return settle(self, PYGEN_NEXT);
        }
        *result = stop_iteration_take_value();
        outcome = *result ? PYGEN_RETURN : PYGEN_ERROR;
    }
    if (self->body->conclude != NULL) {
        outcome = self->body->conclude(self, outcome, result);
    }
    return settle(self, outcome);
}

static PyObject *
coroutine_throw(Coroutine *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *error = args_parse_throw(args, nargs, true);
    if (error == NULL) {
        return NULL;
    }
    const enum coroutine_state before = begin_running(self);
    if (!may_run(before)) {
        set_refusal(before);
        Py_DECREF(error);
        return NULL;
    }
    AWAITED_GUARD(self);
    if (before != COROUTINE_SUSPENDED) {
        coroutine_end(self, false);
        compat_exception_restore_steal(error);
        return NULL;
    }
    PyObject *result;
    PySendResult outcome = throw_steal(self, error, &result);
    return send_result_as_method(self->state, outcome, result);
}

/* The end of a close() of which the body has to know: GeneratorExit is raised where it waits.  `closed` is what became of the
   delegate's close(), which may be an exception that is set. */
static PyObject *
close_by_raising_steal(Coroutine *self, PyObject *closed)
{
    if (closed != NULL) {
        PyErr_SetNone(PyExc_GeneratorExit);
        Py_DECREF(closed);
    }
    PyObject *result = NULL;
    PySendResult outcome = settle(self, self->body->conclude(self, PYGEN_ERROR, &result));
    Py_XDECREF(result);
    if (outcome == PYGEN_NEXT) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        return NULL;
    }
    if (outcome == PYGEN_ERROR && !PyErr_ExceptionMatches(PyExc_GeneratorExit)
        && !PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *
coroutine_close(Coroutine *self, PyObject *Py_UNUSED(ignored))
{
    const enum coroutine_state before = begin_running(self);
    if (before == COROUTINE_CLOSED) {
        Py_RETURN_NONE;
    }
    if (before == COROUTINE_RUNNING) {
        set_refusal(before);
        return NULL;
    }
    AWAITED_GUARD(self);
    bool begun = before == COROUTINE_SUSPENDED;
    PyObject *closed = Py_NewRef(Py_None);
    if (begun && self->delegate != NULL) {
        Py_SETREF(closed, PyObject_CallMethodNoArgs(self->delegate, self->state->str_close));
    }
    if (begun && self->body->conclude != NULL) {
        return close_by_raising_steal(self, closed);
    }
    PyObject *error = closed ? NULL : compat_exception_take();
    coroutine_end(self, begun);
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    return closed;
}

void
coroutine_finalize(Coroutine *self)
{
    /* Ctrl-C may strike where a function in C returns, so between `sleep(0)` and its `await`, which it cannot do where sleep()
       is in Python: whoever was interrupted has forgotten nothing. */
    bool interrupted = PyErr_Occurred() != NULL && exception_leaves_loop();
    PyObject *result, *saved = compat_exception_take();
    if (self->coroutine_state == COROUTINE_CREATED && !interrupted && self->state->warn_unawaited != NULL) {
        result = PyObject_CallOneArg(self->state->warn_unawaited, (PyObject *)self);
    }
    else {
        result = self->coroutine_state == COROUTINE_SUSPENDED ? coroutine_close(self, NULL) : Py_NewRef(Py_None);
    }
    if (result == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(result);
    if (saved != NULL) {
        compat_exception_restore_steal(saved);
    }
}

bool
coroutine_dealloc_begin(Coroutine *self)
{
    if (self->coroutine_state != COROUTINE_CLOSED) {
        if (!PyObject_GC_IsTracked((PyObject *)self)) {
            PyObject_GC_Track(self); /* the finalizer shows it to Python, where anything may become of it */
        }
        if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
            return false;
        }
    }
    PyObject_GC_UnTrack(self);
    spare_stop_dealloc(self->state, (PyObject *)self);
    if (self->weakreflist != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    if (self->coroutine_state != COROUTINE_CLOSED) {
        let_go(self);
    }
    return true;
}

static const char *
qualname_of(Coroutine *self)
{
    return self->body->qualname ? self->body->qualname : self->body->name;
}

PyObject *
coroutine_repr(Coroutine *self)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>", qualname_of(self), self);
}

static PyObject *
coroutine_get_class(Coroutine *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->state->CoroutineType);
}

static PyObject *
coroutine_get_name(Coroutine *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(self->body->name);
}

static PyObject *
coroutine_get_qualname(Coroutine *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(qualname_of(self));
}

static PyObject *
coroutine_get_running(Coroutine *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(COMPAT_LOAD(self->coroutine_state) == COROUTINE_RUNNING);
}

static PyObject *
coroutine_get_suspended(Coroutine *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(COMPAT_LOAD(self->coroutine_state) == COROUTINE_SUSPENDED);
}

/* What inspect.getcoroutinestate() asks from 3.15 on.  Before, it goes by the frame. */
static PyObject *
coroutine_get_state(Coroutine *self, void *Py_UNUSED(closure))
{
    static const char *const names[] = { "CORO_CREATED", "CORO_RUNNING", "CORO_SUSPENDED", "CORO_CLOSED" };
    return PyUnicode_InternFromString(names[COMPAT_LOAD(self->coroutine_state)]);
}

/* inspect.getcoroutinestate() tells by it whether the coroutine has ended, and stacks of tasks are made of it.  There is none, so
   each time one is made that stands at the coroutine's name. */
static PyObject *
coroutine_get_frame(Coroutine *self, void *Py_UNUSED(closure))
{
    if (COMPAT_LOAD(self->coroutine_state) == COROUTINE_CLOSED) {
        Py_RETURN_NONE;
    }
    PyObject *code = (PyObject *)PyCode_NewEmpty("<asyncio_c>", self->body->name, 1);
    PyObject *globals = code ? PyDict_New() : NULL;
    PyFrameObject *frame = globals ? PyFrame_New(PyThreadState_Get(), (PyCodeObject *)code, globals, NULL) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(globals);
    return (PyObject *)frame;
}

static PyObject *
get_none(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

PyDoc_STRVAR(send_doc, "send($self, value, /)\n--\n\nStart or resume the coroutine.");
PyDoc_STRVAR(throw_doc, "throw($self, /, *args)\n--\n\nRaise the exception at the point where the coroutine waits.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\nEnd the coroutine.");

PyMethodDef coroutine_methods[] = {
    { "send", (PyCFunction)coroutine_send, METH_O, send_doc },
    { "throw", AC_FAST(coroutine_throw), METH_FASTCALL, throw_doc },
    { "close", (PyCFunction)coroutine_close, METH_NOARGS, close_doc },
    { 0 },
};

PyGetSetDef coroutine_getset[] = {
    { "__class__", (getter)coroutine_get_class, NULL, "types.CoroutineType, so that isinstance() holds.", NULL },
    { "__name__", (getter)coroutine_get_name, NULL, NULL, NULL },
    { "__qualname__", (getter)coroutine_get_qualname, NULL, NULL, NULL },
    { "cr_running", (getter)coroutine_get_running, NULL, NULL, NULL },
    { "cr_suspended", (getter)coroutine_get_suspended, NULL, NULL, NULL },
    { "cr_frame", (getter)coroutine_get_frame, NULL, "A frame of its name, without locals; None when it has ended.",
      NULL },
    { "cr_origin", get_none, NULL, "None: in debug mode the coroutine is asyncio's own.", NULL },
    { AC_PY315 ? "cr_state" : NULL, (getter)coroutine_get_state, NULL, NULL, NULL },
    { 0 },
};

PyMemberDef coroutine_members[] = {
    { "__weaklistoffset__", T_PYSSIZET, offsetof(Coroutine, weakreflist), READONLY, NULL },
    { 0 },
};
