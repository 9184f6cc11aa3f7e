/* Task.  Layer: core.

   Equivalent, much shortened:

       class Task(Future):
           def __step(self, exc=None):
               try:
                   result = self._coro.send(None) if exc is None else self._coro.throw(exc)
               except StopIteration as stop: Future.set_result(self, stop.value)
               except CancelledError: Future.cancel(self)
               except BaseException as error: Future.set_exception(self, error)
               else:
                   if result is None: self._loop.call_soon(self.__step)
                   else: result.add_done_callback(self.__wakeup); self._fut_waiter = result

   On a native loop nothing of that is a callback: the task itself is what the ready queue and a future's entries hold.
   When its turn comes, fut_waiter says whether it is woken by a future, whose exception is then thrown, or just goes on.
   A task is in at most one place: in a queue, among the entries of fut_waiter, or running.

   On other loops, and where a native loop must not be shortcut (debug mode, overridden methods), a step is a TaskStep
   object and a wake-up is the builtin method `task_wakeup`, both passed to loop.call_soon(), as asyncio's own tasks do. */
#include "core/task.h"

#include "core/handle.h"
#include "core/registry.h"
#include "py/args.h"
#include "py/errors.h"

static int task_step(Task *self, PyObject *exception);
static int task_schedule(Task *self, PyObject *exception);

/* ---- TaskStep: a step as a callable ---- */

typedef struct {
    PyObject_HEAD
    struct state *state;
    Task *task;          /* owned */
    PyObject *exception; /* owned or NULL */
} TaskStep;

static PyObject *
task_step_object(Task *task, PyObject *exception)
{
    struct state *state = task->state;
    TaskStep *self = (TaskStep *)freelist_new(&state->TaskStep_freelist, state->TaskStep_type);
    if (self != NULL) {
        self->state = state;
        self->task = (Task *)Py_NewRef((PyObject *)task);
        self->exception = Py_XNewRef(exception);
        PyObject_GC_Track(self);
    }
    return (PyObject *)self;
}

/* A step that a Handle of whatever loop runs: the context is entered, the current task is not set. */
static PyObject *
task_step_called(Task *task, PyObject *exception)
{
    struct state *state = task->state;
    int result;
    if (AC_UNLIKELY(task->loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
        return NULL;
    }
    if (task->native_loop != NULL) {
        Loop *loop = (Loop *)Py_NewRef(task->loop);
        result = registry_enter(loop, (PyObject *)task);
        if (result == 0) {
            result = task_step(task, exception);
            PyObject *error = result < 0 ? compat_exception_take() : NULL;
            if (registry_leave(loop) < 0) {
                result = -1;
                Py_CLEAR(error);
            }
            if (error != NULL) {
                compat_exception_restore_steal(error);
            }
        }
        Py_DECREF(loop);
    }
    else {
        PyObject *args[] = { Py_NewRef(task->loop), (PyObject *)task };
        PyObject *entered = PyObject_Vectorcall(state->enter_task, args, 2, NULL);
        result = entered ? task_step(task, exception) : -1;
        if (entered != NULL) {
            PyObject *error = result < 0 ? compat_exception_take() : NULL;
            PyObject *left = PyObject_Vectorcall(state->leave_task, args, 2, NULL);
            if (left == NULL) {
                result = -1;
                Py_CLEAR(error);
            }
            Py_XDECREF(left);
            Py_DECREF(entered);
            if (error != NULL) {
                compat_exception_restore_steal(error);
            }
        }
        Py_DECREF(args[0]);
    }
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
TaskStep_call(TaskStep *self, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "TaskStepMethWrapper takes no arguments");
        return NULL;
    }
    return task_step_called(self->task, self->exception);
}

static PyObject *
TaskStep_get_self(TaskStep *self, void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)self->task);
}

static int
TaskStep_traverse(TaskStep *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->task);
    Py_VISIT(self->exception);
    return 0;
}

static int
TaskStep_clear(TaskStep *self)
{
    Py_CLEAR(self->task);
    Py_CLEAR(self->exception);
    return 0;
}

static void
TaskStep_dealloc(TaskStep *self)
{
    PyObject_GC_UnTrack(self);
    TaskStep_clear(self);
    freelist_free(&self->state->TaskStep_freelist, self->state->TaskStep_type, (PyObject *)self);
}

static PyGetSetDef TaskStep_getset[] = {
    { "__self__", (getter)TaskStep_get_self, NULL, "The task.", NULL },
    { 0 },
};

static PyType_Slot TaskStep_slots[] = {
    { Py_tp_dealloc, TaskStep_dealloc }, { Py_tp_traverse, TaskStep_traverse }, { Py_tp_clear, TaskStep_clear },
    { Py_tp_call, TaskStep_call },       { Py_tp_getset, TaskStep_getset },     { 0, NULL },
};

static PyType_Spec TaskStep_spec = {
    .name = "asyncio_c._core.TaskStepMethWrapper",
    .basicsize = sizeof(TaskStep),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = TaskStep_slots,
};

/* ---- Waking ---- */

/* What a done future makes the coroutine see: an exception to throw or NULL.  Returns 0, or -1 with one set.  */
static int
exception_of_future(struct state *state, PyObject *future, PyObject **exception)
{
    if (AC_LIKELY(future_is_exact(state, future))) {
        Future *native = (Future *)future;
        if (AC_LIKELY(native->future_state == FUTURE_FINISHED && native->exception == NULL)) {
            *exception = NULL;
            return 0;
        }
        if (native->future_state != FUTURE_PENDING) {
            *exception = future_take_exception(native);
            if (native->future_state == FUTURE_CANCELLED && *exception != NULL) {
                /* As if result() had raised it: what the caller of the loop handles becomes its context. */
                PyErr_SetObject((PyObject *)Py_TYPE(*exception), *exception);
                Py_DECREF(*exception);
                *exception = compat_exception_take();
            }
            return *exception ? 0 : -1;
        }
    }
    Py_INCREF(future); /* the task that waits for it may let go of it */
    PyObject *result = PyObject_CallMethodNoArgs(future, state->str_result);
    Py_DECREF(future);
    Py_XDECREF(result);
    *exception = result ? NULL : compat_exception_take();
    return 0;
}

static PyObject *
task_wakeup(PyObject *task, PyObject *future)
{
    Task *self = (Task *)task;
    PyObject *exception;
    if (exception_of_future(self->state, future, &exception) < 0) {
        return NULL;
    }
    PyObject *result = task_step_called(self, exception);
    Py_XDECREF(exception);
    return result;
}

static PyMethodDef task_wakeup_def = { "task_wakeup", task_wakeup, METH_O, NULL };

/* Memory ran out before the coroutine could be resumed, or before the task could wait, so that nobody would ever resume it:
   its next step throws the MemoryError that is set into the coroutine.  Any other exception stays.  Returns 0 or -1. */
AC_COLD static int
task_interrupt(Task *self)
{
    if (self->future_state != FUTURE_PENDING || !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return -1;
    }
    PyObject *error = compat_exception_take();
    int result = task_schedule(self, error);
    Py_DECREF(error);
    return result;
}

/* One step, in the task's context.  Returns 0 or -1. */
static int
task_step_in_context(Task *self, PyObject *exception)
{
    PyObject *context = Py_XNewRef(lazy_context_borrow(&self->context, self->state));
    if (context == NULL) {
        return task_interrupt(self);
    }
    int result = -1;
    if (PyContext_Enter(context) == 0) {
        result = task_step(self, exception);
        if (AC_UNLIKELY(result < 0)) {
            PyObject *error = compat_exception_take();
            if (PyContext_Exit(context) < 0) {
                PyErr_Clear();
            }
            compat_exception_restore_steal(error);
        }
        else {
            result = PyContext_Exit(context);
        }
    }
    Py_DECREF(context);
    lazy_context_fold(&self->context, self->state);
    return result;
}

/* ---- As a runnable ---- */

static int
task_run(struct runnable *runnable, Loop *loop)
{
    Task *self = AC_CONTAINER_OF(runnable, Task, runnable);
    if (registry_enter(loop, (PyObject *)self) < 0) {
        return task_interrupt(self);
    }
    PyObject *exception = self->step_exception;
    self->step_exception = NULL;
    if (exception == NULL && self->fut_waiter != NULL
        && exception_of_future(self->state, self->fut_waiter, &exception) < 0) {
        return task_interrupt(self);
    }
    int result = task_step_in_context(self, exception);
    Py_XDECREF(exception);
    return result;
}

static PyObject *
task_as_callback(struct runnable *runnable)
{
    return PyCFunction_New(&task_wakeup_def, runnable->owner);
}

static PyObject *
task_context_borrow(struct runnable *runnable)
{
    Task *self = AC_CONTAINER_OF(runnable, Task, runnable);
    return lazy_context_borrow(&self->context, self->state);
}

static PyObject *
task_as_handle(struct runnable *runnable, Loop *loop)
{
    Task *self = AC_CONTAINER_OF(runnable, Task, runnable);
    /* Held, for an allocation may collect garbage, and that may make the task anew. */
    PyObject *waiter = Py_XNewRef(self->fut_waiter), *error = Py_XNewRef(self->step_exception);
    PyObject *callback = waiter ? task_as_callback(runnable) : task_step_object(self, error);
    PyObject *context = callback ? task_context_borrow(runnable) : NULL, *args[] = { waiter };
    Handle *handle =
        context ? handle_new(self->state, (PyObject *)loop, callback, args, waiter ? 1 : 0, context) : NULL;
    Py_XDECREF(waiter);
    Py_XDECREF(error);
    Py_XDECREF(callback);
    return (PyObject *)handle;
}

static PyObject *
task_awaiter_borrow(struct runnable *runnable)
{
    return runnable->owner;
}

static const struct runnable_ops task_ops = {
    .run = task_run,
    .as_handle = task_as_handle,
    .as_callback = task_as_callback,
    .context_borrow = task_context_borrow,
    .awaiter_borrow = task_awaiter_borrow,
};

/* Queues the next step, which throws `exception` if there is one.  Returns 0 or -1. */
static int
task_schedule(Task *self, PyObject *exception)
{
    Loop *loop = self->native_loop;
    if (AC_LIKELY(loop != NULL && loop->fused)) {
        if (exception != NULL) {
            Py_XSETREF(self->step_exception, Py_NewRef(exception));
        }
        return loop_push_open(loop, &self->runnable);
    }
    PyObject *step = task_step_object(self, exception);
    PyObject *context = step ? lazy_context_borrow(&self->context, self->state) : NULL;
    if (context == NULL) {
        Py_XDECREF(step);
        return -1;
    }
    /* Held: looking the method up may make the task anew. */
    PyObject *args[] = { Py_NewRef(self->loop), step, Py_NewRef(context) };
    PyObject *handle = PyObject_VectorcallMethod(self->state->str_call_soon, args, 2, self->state->context_kwnames);
    Py_DECREF(args[0]);
    Py_DECREF(context);
    Py_DECREF(step);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* ---- One step ---- */

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

/* future.cancel(message) of any kind of future.  1, 0 or -1. */
static int
cancel_any(struct state *state, PyObject *future, PyObject *message)
{
    if (Py_TYPE(future) == state->Future_type) {
        return future_cancel((Future *)future, message);
    }
    if (Py_TYPE(future) == state->Task_type) {
        /* A chain of tasks that await each other is as long as a program makes it. */
        if (Py_EnterRecursiveCall(" while cancelling a task")) {
            return -1;
        }
        int result = task_cancel((Task *)future, message);
        Py_LeaveRecursiveCall();
        return result;
    }
    PyObject *method = PyObject_GetAttr(future, state->str_cancel);
    PyObject *empty = method ? PyTuple_New(0) : NULL;
    PyObject *kwargs = empty ? PyDict_New() : NULL;
    PyObject *result = NULL;
    if (kwargs != NULL && PyDict_SetItem(kwargs, state->str_msg, message ? message : Py_None) == 0) {
        result = PyObject_Call(method, empty, kwargs);
    }
    int truth = result ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(method);
    Py_XDECREF(empty);
    Py_XDECREF(kwargs);
    Py_XDECREF(result);
    return truth;
}

/* From here on the task waits for `future`; a cancellation that came during the step goes on to it. */
static int
task_wait_for(Task *self, PyObject *future)
{
    Py_XSETREF(self->fut_waiter, Py_NewRef(future));
    if (self->must_cancel) {
        PyObject *message = Py_XNewRef(self->cancel_message); /* another may be set meanwhile */
        int cancelled = cancel_any(self->state, future, message);
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
    PyObject *wakeup = PyCFunction_New(&task_wakeup_def, (PyObject *)self);
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
    list_remove(&self->link);
}

/* The value of the StopIteration that is set: what a coroutine returned to throw().  NULL if another one is set. */
static PyObject *
take_stop_value(struct state *state)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyObject *stop = compat_exception_take();
    PyObject *value = PyObject_GetAttr(stop, state->str_value);
    Py_DECREF(stop);
    return value;
}

/* The coroutine raised what is set.  Returns 0, or -1 for what must leave the loop. */
AC_COLD static int
task_handle_exception(Task *self)
{
    PyObject *error = exception_of_failure();
    int result = 0;
    task_finish(self);
    if (PyErr_GivenExceptionMatches(error, self->state->CancelledError)) {
        Py_XSETREF(self->cancelled_error, Py_NewRef(error));
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
        result = future_cancel((Future *)self, self->cancel_message) < 0 ? -1 : 0;
    }
    else {
        result = future_set_result((Future *)self, value);
    }
    Py_DECREF(value);
    return result;
}

/* Resumes the coroutine once.  The caller holds the task, has entered its context and published it.  Returns 0, or -1
   with an exception for the loop. */
static int
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

    PySendResult outcome;
    if (AC_LIKELY(exception == NULL)) {
        outcome = PyIter_Send(coroutine, Py_None, &result);
    }
    else {
        result = PyObject_CallMethodOneArg(coroutine, state->str_throw, exception);
        outcome = PYGEN_NEXT;
        if (result == NULL) {
            result = take_stop_value(state);
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

/* ---- Making ---- */

/* Whether the object can be driven as a coroutine; TypeError is set if not. */
static int
check_coroutine(struct state *state, PyObject *object)
{
    if (AC_LIKELY(PyCoro_CheckExact(object))) {
        return 0;
    }
    PyObject *answer = PyObject_CallOneArg(state->iscoroutine, object);
    int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (truth == 0) {
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R", object);
    }
    return truth > 0 ? 0 : -1;
}

static int
task_set_name(Task *self, PyObject *name)
{
    PyObject *string = PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
    if (string == NULL) {
        return -1;
    }
    Py_XSETREF(self->name, string);
    return 0;
}

/* The first step at once, in the middle of whatever task is running, which is current again afterwards. */
static int
task_start_eagerly(Task *self)
{
    struct state *state = self->state;
    PyObject *held = Py_NewRef(self->loop); /* the step may make the task anew, for another loop */
    Loop *loop = loop_cast(state, held);
    PyObject *args[] = { held, (PyObject *)self };
    PyObject *outer = PyObject_Vectorcall(state->swap_current_task, args, 2, NULL);
    if (outer == NULL) {
        Py_DECREF(held);
        return -1;
    }
    PyObject *outer_entered = NULL;
    if (loop != NULL) {
        outer_entered = loop->entered_task;
        loop->entered_task = Py_NewRef((PyObject *)self);
    }
    int result = task_step_in_context(self, NULL);
    PyObject *error = result < 0 ? compat_exception_take() : NULL;
    if (loop != NULL) {
        Py_XSETREF(loop->entered_task, outer_entered);
    }
    args[1] = outer;
    PyObject *self_again = PyObject_Vectorcall(state->swap_current_task, args, 2, NULL);
    if (self_again == NULL) {
        result = -1;
        Py_CLEAR(error);
    }
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    Py_XDECREF(self_again);
    Py_DECREF(outer);
    Py_DECREF(held);
    if (self->future_state != FUTURE_PENDING) {
        Py_CLEAR(self->coroutine);
    }
    return result;
}

/* The first half of making a task: a loop, and arguments that will do.  What is a task already and fails here goes on as
   it was, and as everything gets its loop first, what has a coroutine has a loop.  Returns 0 or -1. */
static int
task_init_future(Task *self, struct state *state, PyObject *loop, PyObject *coroutine, PyObject *context)
{
    /* Until it has a coroutine there is nothing to warn about. */
    self->log_destroy_pending = false;
    if (future_init((Future *)self, state, loop) < 0 || check_coroutine(state, coroutine) < 0) {
        return -1;
    }
    if (AC_PY315 && context != NULL && !PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError, "a contextvars.Context was expected, got %.200s", Py_TYPE(context)->tp_name);
        return -1;
    }
    return 0;
}

/* The second half.  Needs: all of what task_clear() clears is clear.  Returns 0 or -1. */
static int
task_init_coroutine(Task *self, PyObject *coroutine, PyObject *name, PyObject *context)
{
    struct state *state = self->state;
    self->log_destroy_pending = true;
    self->runnable = (struct runnable){ &task_ops, (PyObject *)self };
    if (lazy_context_init(&self->context, state, context) < 0) {
        return -1;
    }
    Py_XSETREF(self->coroutine, Py_NewRef(coroutine));
    self->number = state->next_task_number;
    if (name == NULL) {
        state->next_task_number++;
        return 0;
    }
    return task_set_name(self, name);
}

/* Queues or takes the first step.  Needs: tracked. */
static int
task_begin(Task *self, bool eager_start)
{
    struct state *state = self->state;
    if (eager_start) {
        PyObject *loop = Py_NewRef(self->loop), *running = PyObject_CallMethodNoArgs(loop, state->str_is_running);
        Py_DECREF(loop);
        int truth = running ? PyObject_IsTrue(running) : -1;
        Py_XDECREF(running);
        if (truth < 0) {
            return -1;
        }
        eager_start = truth;
    }
    list_remove(&self->link); /* what has run may have made it anew, too: names, the old coroutine, is_running() */
    list_append(&state->tasks, &self->link);
    if (eager_start) {
        int result = task_start_eagerly(self);
        if (result < 0 && self->future_state == FUTURE_PENDING && self->fut_waiter == NULL) {
            /* There was no first step, and will be none, as whoever wanted the task knows by the exception. */
            list_remove(&self->link);
            self->log_destroy_pending = false;
        }
        return result;
    }
    if (task_schedule(self, NULL) < 0) {
        list_remove(&self->link);
        return -1;
    }
    return 0;
}

Task *
task_new(struct state *state, PyObject *loop, PyObject *coroutine, PyObject *name, PyObject *context, bool eager_start)
{
    Task *self = (Task *)freelist_new(&state->Task_freelist, state->Task_type);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    bool made = task_init_future(self, state, loop, coroutine, context) == 0
                && task_init_coroutine(self, coroutine, name, context) == 0;
    PyObject_GC_Track(self);
    if (!made || task_begin(self, eager_start) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

int
task_cancel(Task *self, PyObject *message)
{
    self->log_traceback = false;
    if (self->future_state != FUTURE_PENDING) {
        return 0;
    }
    self->cancels_requested++;
    if (self->fut_waiter != NULL) {
        PyObject *waiter = Py_NewRef(self->fut_waiter);
        int cancelled = cancel_any(self->state, waiter, message);
        Py_DECREF(waiter);
        if (cancelled != 0) {
            return cancelled;
        }
    }
    self->must_cancel = true;
    Py_XSETREF(self->cancel_message, Py_XNewRef(message));
    return 1;
}

/* ---- Python face ---- */

static int
check_initialized(Task *self)
{
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Task object is not initialized.");
        return -1;
    }
    return 0;
}

static PyObject *
Task_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    Task *self = state ? (Task *)freelist_alloc(&state->Task_freelist, state->Task_type, type) : NULL;
    if (self != NULL) {
        self->state = state;
        self->runnable = (struct runnable){ &task_ops, (PyObject *)self };
    }
    return (PyObject *)self;
}

static void
task_clear(Task *self)
{
    list_remove(&self->link);
    Py_CLEAR(self->coroutine);
    lazy_context_clear(&self->context);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->step_exception);
    Py_CLEAR(self->name);
}

static int
Task_init(Task *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "coro", "loop", "name", "context", AC_PY312 ? "eager_start" : NULL, NULL };
    PyObject *coroutine, *loop = Py_None, *name = Py_None, *context = Py_None;
    int eager_start = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, AC_PY312 ? "O|$OOOp:Task" : "O|$OOO:Task", keywords, &coroutine,
                                     &loop, &name, &context, &eager_start)) {
        return -1;
    }
    if (self->loop != NULL && AC_PY315) {
        PyErr_Format(PyExc_RuntimeError, "%T object is already initialized", self);
        return -1;
    }
    loop = loop == Py_None ? future_default_loop(self->state) : Py_NewRef(loop);
    if (loop == NULL) {
        return -1;
    }
    future_reset((Future *)self);
    self->future_state = FUTURE_PENDING;
    self->blocking = self->log_traceback = false;
    context = context == Py_None ? NULL : context;
    int result = task_init_future(self, self->state, loop, coroutine, context);
    Py_DECREF(loop);
    if (result < 0) {
        return -1;
    }
    task_clear(self);
    self->must_cancel = false;
    self->cancels_requested = 0;
    result = task_init_coroutine(self, coroutine, name == Py_None ? NULL : name, context);
    return result < 0 ? -1 : task_begin(self, eager_start);
}

static int
Task_traverse(Task *self, visitproc visit, void *arg)
{
    Py_VISIT(self->coroutine);
    Py_VISIT(self->fut_waiter);
    Py_VISIT(self->step_exception);
    int result = lazy_context_traverse(&self->context, visit, arg);
    if (result != 0) {
        return result;
    }
    return future_traverse((Future *)self, visit, arg);
}

static int
Task_clear(Task *self)
{
    task_clear(self);
    future_clear((Future *)self);
    return 0;
}

static bool
needs_finalizer(Task *self)
{
    return self->log_traceback || (self->future_state == FUTURE_PENDING && self->log_destroy_pending);
}

static void
Task_finalize(Task *self)
{
    /* all_tasks() shall not show what is being destroyed, even if the exception handler keeps it alive. */
    list_remove(&self->link);
    if (self->future_state == FUTURE_PENDING && self->log_destroy_pending && self->loop != NULL) {
        PyObject *saved = compat_exception_take();
        PyObject *message = PyUnicode_FromString("Task was destroyed but it is pending!");
        future_call_exception_handler((Future *)self, message, "task", NULL);
        Py_XDECREF(message);
        if (saved != NULL) {
            compat_exception_restore_steal(saved);
        }
    }
    Future_finalize((Future *)self);
}

static void
Task_dealloc(Task *self)
{
    struct state *state = self->state;
    bool exact = Py_TYPE(self) == state->Task_type;
    if (AC_UNLIKELY(!exact || needs_finalizer(self)) && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return; /* resurrected */
    }
    list_remove(&self->link); /* before anything runs that could find it there */
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Task_dealloc);
    future_dealloc_fields((Future *)self);
    task_clear(self);
    freelist_free(&state->Task_freelist, state->Task_type, (PyObject *)self);
    Py_TRASHCAN_END;
}

static PyObject *
Task_repr(Task *self)
{
    return check_initialized(self) < 0 ? NULL : PyObject_CallOneArg(self->state->task_repr, (PyObject *)self);
}

static PyObject *
Task_cancel(Task *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "msg", NULL };
    PyObject *message = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", keywords, &message)) {
        return NULL;
    }
    int result = task_cancel(self, message);
    return result < 0 ? NULL : PyBool_FromLong(result);
}

static PyObject *
Task_cancelling(Task *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(self->cancels_requested);
}

static PyObject *
Task_uncancel(Task *self, PyObject *Py_UNUSED(ignored))
{
    if (self->cancels_requested > 0) {
        self->cancels_requested--;
        if (self->cancels_requested == 0 && AC_PY313) {
            self->must_cancel = false;
        }
    }
    return PyLong_FromLong(self->cancels_requested);
}

static PyObject *
Task_get_coro(Task *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self->coroutine ? self->coroutine : Py_None);
}

static PyObject *
Task_get_context(Task *self, PyObject *Py_UNUSED(ignored))
{
    bool initialized = self->context.context != NULL || self->context.variables != NULL;
    return initialized ? Py_XNewRef(lazy_context_borrow(&self->context, self->state)) : Py_NewRef(Py_None);
}

static PyObject *
Task_get_name(Task *self, PyObject *Py_UNUSED(ignored))
{
    if (self->name == NULL) {
        self->name = PyUnicode_FromFormat("Task-%llu", (unsigned long long)self->number);
    }
    return Py_XNewRef(self->name);
}

static PyObject *
Task_set_name(Task *self, PyObject *name)
{
    if (task_set_name(self, name) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Task_get_stack(Task *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "limit", NULL };
    PyObject *limit = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:get_stack", keywords, &limit)) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(self->state->task_get_stack, self, limit, NULL);
}

static PyObject *
Task_print_stack(Task *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "limit", "file", NULL };
    PyObject *limit = Py_None, *file = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OO:print_stack", keywords, &limit, &file)) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(self->state->task_print_stack, self, limit, file, NULL);
}

static PyObject *
refuse(const char *operation)
{
    PyErr_Format(PyExc_RuntimeError, "Task does not support %s operation", operation);
    return NULL;
}

static PyObject *
Task_set_result(Task *Py_UNUSED(self), PyObject *Py_UNUSED(result))
{
    return refuse("set_result");
}

static PyObject *
Task_set_exception(Task *Py_UNUSED(self), PyObject *Py_UNUSED(exception))
{
    return refuse("set_exception");
}

static PyObject *
Task_get_coro_attribute(Task *self, void *Py_UNUSED(closure))
{
    return Task_get_coro(self, NULL);
}

static PyObject *
Task_get_fut_waiter(Task *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->fut_waiter ? self->fut_waiter : Py_None);
}

static PyObject *
Task_get_must_cancel(Task *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->must_cancel);
}

static PyObject *
Task_get_log_destroy_pending(Task *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->log_destroy_pending);
}

static int
Task_set_log_destroy_pending(Task *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "_log_destroy_pending", "Task") < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    self->log_destroy_pending = truth;
    return 0;
}

PyDoc_STRVAR(cancel_doc, "cancel($self, /, msg=None)\n--\n\n"
                         "Ask the task to cancel itself: CancelledError(msg) is thrown into its coroutine.\n\n"
                         "Return False if the task is done.\n\n"
                         "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(cancelling_doc, "cancelling($self, /)\n--\n\n"
                             "Return the number of cancel() calls less that of uncancel() calls.\n\n"
                             "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(uncancel_doc, "uncancel($self, /)\n--\n\n"
                           "Take one cancellation request back; return how many remain.\n\n"
                           "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(get_coro_doc, "get_coro($self, /)\n--\n\n"
                           "Return the coroutine, or None if an eager task has ended without being suspended.\n\n"
                           "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(get_context_doc, "get_context($self, /)\n--\n\n"
                              "Return the contextvars.Context in which the coroutine runs.\n\n"
                              "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(get_name_doc, "get_name($self, /)\n--\n\n"
                           "Return the name.\n\nasyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(set_name_doc, "set_name($self, value, /)\n--\n\n"
                           "Set the name to str(value).\n\nasyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(get_stack_doc, "get_stack($self, /, *, limit=None)\n--\n\n"
                            "Return the list of the coroutine's frames, at most limit of them.\n\n"
                            "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(print_stack_doc, "print_stack($self, /, *, limit=None, file=None)\n--\n\n"
                              "Print the coroutine's stack to file, or to sys.stderr.\n\n"
                              "asyncio documentation: Coroutines and Tasks, Task Object.");
PyDoc_STRVAR(set_result_doc, "set_result($self, result, /)\n--\n\nRaise RuntimeError: the coroutine sets the result.");
PyDoc_STRVAR(set_exception_doc,
             "set_exception($self, exception, /)\n--\n\nRaise RuntimeError: the coroutine sets the exception.");

static PyMethodDef Task_methods[] = {
    { "cancel", AC_FAST(Task_cancel), METH_VARARGS | METH_KEYWORDS, cancel_doc },
    { "cancelling", (PyCFunction)Task_cancelling, METH_NOARGS, cancelling_doc },
    { "uncancel", (PyCFunction)Task_uncancel, METH_NOARGS, uncancel_doc },
    { "get_coro", (PyCFunction)Task_get_coro, METH_NOARGS, get_coro_doc },
    { "get_context", (PyCFunction)Task_get_context, METH_NOARGS, get_context_doc },
    { "get_name", (PyCFunction)Task_get_name, METH_NOARGS, get_name_doc },
    { "set_name", (PyCFunction)Task_set_name, METH_O, set_name_doc },
    { "get_stack", AC_FAST(Task_get_stack), METH_VARARGS | METH_KEYWORDS, get_stack_doc },
    { "print_stack", AC_FAST(Task_print_stack), METH_VARARGS | METH_KEYWORDS, print_stack_doc },
    { "set_result", (PyCFunction)Task_set_result, METH_O, set_result_doc },
    { "set_exception", (PyCFunction)Task_set_exception, METH_O, set_exception_doc },
    { "__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, "Return Task[item], for annotations." },
    { 0 },
};

static PyGetSetDef Task_getset[] = {
    { "_coro", (getter)Task_get_coro_attribute, NULL, NULL, NULL },
    { "_fut_waiter", (getter)Task_get_fut_waiter, NULL, NULL, NULL },
    { "_must_cancel", (getter)Task_get_must_cancel, NULL, NULL, NULL },
    { "_log_destroy_pending", (getter)Task_get_log_destroy_pending, (setter)Task_set_log_destroy_pending, NULL, NULL },
    { 0 },
};

PyDoc_STRVAR(Task_doc, "Task(coro, *, loop=None, name=None, context=None, eager_start=False)\n--\n\n"
                       "A future that runs a coroutine.\n\n"
                       "Like asyncio.Task; raises TypeError if coro is no coroutine.\n\n"
                       "asyncio documentation: Coroutines and Tasks, Task Object.");

static PyType_Slot Task_slots[] = {
    { Py_tp_doc, (void *)Task_doc },
    { Py_tp_new, Task_new },
    { Py_tp_init, Task_init },
    { Py_tp_dealloc, Task_dealloc },
    { Py_tp_finalize, Task_finalize },
    { Py_tp_traverse, Task_traverse },
    { Py_tp_clear, Task_clear },
    { Py_tp_repr, Task_repr },
    { Py_tp_methods, Task_methods },
    { Py_tp_getset, Task_getset },
    { 0, NULL },
};

static PyType_Spec Task_spec = {
    .name = "asyncio_c._core.Task",
    .basicsize = sizeof(Task),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Task_slots,
};

int
task_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->TaskStep_type, &TaskStep_spec, NULL) < 0
        || state_add_type(module, &state->Task_type, &Task_spec, state->Future_type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Task_type);
}
