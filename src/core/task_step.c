/* One step of a task: the coroutine is resumed once, and what it yields is waited for.  Layer: core. */
#include "core/task_parts.h"
#include "py/errors.h"

/* The coroutine did something wrong: it is told by a RuntimeError in the next step. */
AC_COLD static int
task_complain_steal(Task *self, PyObject *message)
{
    PyObject *error = message ? PyObject_CallOneArg(PyExc_RuntimeError, message) : NULL;
    int result = error ? task_schedule(self, error) : task_interrupt(self);
    Py_XDECREF(message);
    Py_XDECREF(error);
    return result;
}

/* From here on the task waits for `future`; a cancellation that came during the step goes on to it. */
static int
task_wait_for(Task *self, PyObject *future)
{
    Py_XSETREF(self->fut_waiter, Py_NewRef(future));
    if (self->must_cancel) {
        PyObject *message = Py_XNewRef(FUTURE_RARE(self, cancel_message)); /* another may be set meanwhile */
        int cancelled = task_cancel_any(self->state, future, message);
        Py_XDECREF(message);
        if (cancelled < 0) {
            return -1;
        }
        if (cancelled) {
            self->must_cancel = false;
        }
    }
    return 0;
}

static int
task_await_native(Task *self, Future *future)
{
    if (AC_UNLIKELY(future->loop != self->loop)) {
        return task_complain_steal(
            self, PyUnicode_FromFormat("Task %R got Future %R attached to a different loop", self, (PyObject *)future));
    }
    if (AC_UNLIKELY(!future->blocking)) {
        return task_complain_steal(self, PyUnicode_FromFormat("yield was used instead of yield from in task %R with %R",
                                                              self, (PyObject *)future));
    }
    future->blocking = false;
    if (future_add_native(future, &self->runnable) < 0) {
        return task_interrupt(self);
    }
    return task_wait_for(self, (PyObject *)future);
}

/* Futures that are not ours, by the attributes that make a future.  `blocking` is the one found. */
static int
task_await_foreign(Task *self, PyObject *future, PyObject *blocking)
{
    struct state *state = self->state;
    PyObject *loop = future_get_loop(state, future);
    if (loop == NULL) {
        return -1;
    }
    bool same = loop == self->loop;
    Py_DECREF(loop);
    if (!same) {
        return task_complain_steal(
            self, PyUnicode_FromFormat("Task %R got Future %R attached to a different loop", self, future));
    }
    int truth = PyObject_IsTrue(blocking);
    if (truth < 0) {
        return -1;
    }
    if (!truth) {
        return task_complain_steal(
            self, PyUnicode_FromFormat("yield was used instead of yield from in task %R with %R", self, future));
    }
    if (PyObject_SetAttr(future, state->str__asyncio_future_blocking, Py_False) < 0) {
        return -1;
    }
    PyObject *wakeup = task_wakeup_new(self);
    PyObject *context = wakeup ? Py_XNewRef(lazy_context_borrow(&self->context, state)) : NULL;
    if (context == NULL) {
        Py_XDECREF(wakeup);
        return -1;
    }
    PyObject *args[] = { future, wakeup, context };
    PyObject *added = PyObject_VectorcallMethod(state->str_add_done_callback, args, 2, state->context_kwnames);
    Py_DECREF(wakeup);
    Py_DECREF(context);
    if (added == NULL) {
        return -1;
    }
    Py_DECREF(added);
    return task_wait_for(self, future);
}

/* The coroutine yielded `what`.  Returns 0 or -1; asyncio, too, reports such a failure as that of a
   callback and leaves the task pending. */
static int
task_handle_yield(Task *self, PyObject *what)
{
    struct state *state = self->state;
    if (AC_LIKELY(what == Py_None)) {
        return task_schedule(self, NULL);
    }
    if (AC_UNLIKELY(what == (PyObject *)self)) {
        return task_complain_steal(self, PyUnicode_FromFormat("Task cannot await on itself: %R", self));
    }
    if (AC_LIKELY(future_is_exact(state, what))) {
        return task_await_native(self, (Future *)what);
    }
    PyObject *blocking = PyObject_GetAttr(what, state->str__asyncio_future_blocking);
    if (blocking == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    }
    else if (blocking != Py_None) {
        int result = task_await_foreign(self, what, blocking);
        Py_DECREF(blocking);
        return result;
    }
    Py_XDECREF(blocking);
    if (PyGen_CheckExact(what)) {
        return task_complain_steal(
            self,
            PyUnicode_FromFormat("yield was used instead of yield from for generator in task %R with %R", self, what));
    }
    return task_complain_steal(self, PyUnicode_FromFormat("Task got bad yield: %R", what));
}

static void
task_finish(Task *self)
{
    registry_remove(self);
}

/* The coroutine raised what is set.  Returns 0, or -1 for what must leave the loop. */
AC_COLD static int
task_handle_exception(Task *self)
{
    PyObject *error = exception_of_failure();
    int result = 0;
    task_finish(self);
    if (PyErr_GivenExceptionMatches(error, self->state->CancelledError)) {
        struct future_rare *rare = future_rare((Future *)self);
        if (rare != NULL) {
            Py_XSETREF(rare->cancelled_error, Py_NewRef(error));
        }
        else {
            PyErr_Clear(); /* who awaits the task gets another one */
        }
        /* The error has the message; the task itself, as with asyncio, has none. */
        result = future_cancel((Future *)self, NULL) < 0 ? -1 : 0;
        Py_DECREF(error);
        return result;
    }
    bool leaves = PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt)
                  || PyErr_GivenExceptionMatches(error, PyExc_SystemExit);
    result = future_set_exception((Future *)self, error);
    if (result == 0 && leaves) {
        compat_exception_restore_steal(error);
        return -1;
    }
    Py_DECREF(error);
    return result;
}

/* The coroutine returned `value`; takes it. */
static int
task_handle_return_steal(Task *self, PyObject *value)
{
    int result;
    task_finish(self);
    if (AC_UNLIKELY(self->must_cancel)) {
        /* Cancelled in its last step. */
        self->must_cancel = false;
        result = future_cancel((Future *)self, FUTURE_RARE(self, cancel_message)) < 0 ? -1 : 0;
    }
    else {
        result = future_set_result((Future *)self, value);
    }
    Py_DECREF(value);
    return result;
}

int
task_step(Task *self, PyObject *exception)
{
    struct state *state = self->state;
    if (AC_UNLIKELY(self->future_state != FUTURE_PENDING)) {
        PyErr_Format(state->InvalidStateError, "__step(): already done: %R %R", self, exception ? exception : Py_None);
        return -1;
    }
    PyObject *coroutine = Py_XNewRef(self->coroutine);
    if (AC_UNLIKELY(coroutine == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
        return -1;
    }
    PyObject *made = NULL, *result = NULL;
    if (AC_UNLIKELY(self->must_cancel)) {
        if (exception == NULL || !PyErr_GivenExceptionMatches(exception, state->CancelledError)) {
            made = exception = future_make_cancelled_error((Future *)self);
            if (made == NULL) {
                Py_DECREF(coroutine);
                return task_interrupt(self);
            }
        }
        self->must_cancel = false;
    }
    Py_CLEAR(self->fut_waiter);
    if (AC_LIKELY(self->native_loop != NULL)) {
        self->native_loop->counters.steps++;
    }

    PySendResult outcome;
    if (AC_LIKELY(exception == NULL)) {
        outcome = PyIter_Send(coroutine, Py_None, &result);
    }
    else {
        result = PyObject_CallMethodOneArg(coroutine, state->str_throw, exception);
        outcome = PYGEN_NEXT;
        if (result == NULL) {
            result = stop_iteration_take_value();
            outcome = result ? PYGEN_RETURN : PYGEN_ERROR;
        }
    }
    Py_DECREF(coroutine);
    Py_XDECREF(made);
    if (AC_UNLIKELY(self->loop == NULL)) {
        /* Another thread is in the middle of its __init__(). */
        Py_XDECREF(result);
        PyErr_Clear();
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
        return -1;
    }
    if (AC_LIKELY(outcome == PYGEN_NEXT)) {
        int handled = task_handle_yield(self, result);
        Py_DECREF(result);
        return handled;
    }
    if (outcome == PYGEN_RETURN) {
        return task_handle_return_steal(self, result);
    }
    return task_handle_exception(self);
}
