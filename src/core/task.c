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

   This file makes tasks and cancels them.  task_step.c: one step, and what the coroutine yields; task_wake.c: how a step comes
   about; task_type.c: the Python face. */
#include "core/task_parts.h"

#include "base/clock.h"

#define BIRTH_TICK_NS (CLOCK_NS_PER_S / 100)

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

/* Ticks of 10 ms of the clock; 0 is kept for what was not noted.  They begin again after 497 days. */
static uint32_t
birth_now(void)
{
    uint32_t ticks = (uint32_t)(clock_now_ns() / BIRTH_TICK_NS);
    return ticks != 0 ? ticks : 1;
}

void
task_note_births(struct state *state, bool noted)
{
    COMPAT_STORE(state->notes_births, noted);
}

int64_t
task_age_ns(Task *self)
{
    return self->born != 0 ? (uint32_t)(birth_now() - self->born) * BIRTH_TICK_NS : -1;
}

int
task_set_name(Task *self, PyObject *name)
{
    PyObject *string = PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
    if (string == NULL) {
        return -1;
    }
    Py_XSETREF(self->name, string);
    return 0;
}

AC_COLD static int
task_step_recorded(Task *self, Loop *loop)
{
    Recorder *recorder = (Recorder *)Py_NewRef((PyObject *)loop->recorder);
    recorder->ops->begins(recorder, loop, &self->runnable);
    int result = task_step_in_context(self, NULL);
    if (loop->recorder == recorder) {
        result = recorder->ops->ends(recorder, loop, &self->runnable, result);
    }
    Py_DECREF(recorder);
    return result;
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
    int result = loop != NULL && AC_UNLIKELY(loop->recorder != NULL) ? task_step_recorded(self, loop)
                                                                     : task_step_in_context(self, NULL);
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

int
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

int
task_init_coroutine(Task *self, PyObject *coroutine, PyObject *name, PyObject *context)
{
    struct state *state = self->state;
    self->log_destroy_pending = true;
    self->runnable = (struct runnable){ &task_ops, (PyObject *)self };
    if (lazy_context_init(&self->context, state, context) < 0) {
        return -1;
    }
    Py_XSETREF(self->coroutine, Py_NewRef(coroutine));
    if (AC_UNLIKELY(COMPAT_LOAD(state->notes_births))) {
        self->born = birth_now();
    }
    if (name == NULL) {
        self->number = registry_next_number(self);
        return 0;
    }
    return task_set_name(self, name);
}

int
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
    registry_remove(self); /* what has run may have made it anew, too: names, the old coroutine, is_running() */
    registry_add(self);
    if (eager_start) {
        int result = task_start_eagerly(self);
        if (result < 0 && self->future_state == FUTURE_PENDING && self->fut_waiter == NULL) {
            /* There was no first step, and will be none, as whoever wanted the task knows by the exception. */
            registry_remove(self);
            self->log_destroy_pending = false;
        }
        return result;
    }
    if (task_schedule(self, NULL) < 0) {
        registry_remove(self);
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

/* ---- Ending ---- */

/* Here and in task_call_cancel(): with a dictionary it may have a cancel() of its own, by which scopes shield a task; and it may be
   another loop's. */
int
task_cancel_any(struct state *state, PyObject *future, PyObject *message)
{
    bool plain = future_is_exact(state, future) && ((Future *)future)->dict == NULL;
    if (plain && Py_TYPE(future) == state->Future_type) {
        FUTURE_GUARD((Future *)future);
        return future_cancel((Future *)future, message);
    }
    if (plain && Py_TYPE(future) == state->Task_type) {
        FUTURE_GUARD((Future *)future);
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

int
task_cancel(Task *self, PyObject *message)
{
    self->log_traceback = false;
    if (self->future_state != FUTURE_PENDING) {
        return 0;
    }
    self->cancels_requested++;
    Loop *loop = self->native_loop;
    if (loop != NULL && AC_UNLIKELY(loop->recorder != NULL)) {
        loop->recorder->ops->cancels(loop->recorder, loop, (PyObject *)self);
    }
    if (self->fut_waiter != NULL) {
        PyObject *waiter = Py_NewRef(self->fut_waiter);
        int cancelled = task_cancel_any(self->state, waiter, message);
        Py_DECREF(waiter);
        if (cancelled != 0) {
            return cancelled;
        }
    }
    self->must_cancel = true;
    return future_set_cancel_message((Future *)self, message) < 0 ? -1 : 1;
}

int
task_call_cancel(struct state *state, PyObject *task)
{
    if (AC_LIKELY(Py_TYPE(task) == state->Task_type && ((Task *)task)->dict == NULL)) {
        Py_INCREF(task);
        FUTURE_GUARD((Future *)task);
        int cancelled = task_cancel((Task *)task, NULL);
        Py_DECREF(task);
        return cancelled < 0 ? -1 : 0;
    }
    PyObject *cancelled = PyObject_CallMethodNoArgs(task, state->str_cancel);
    Py_XDECREF(cancelled);
    return cancelled ? 0 : -1;
}

void
task_clear(Task *self)
{
    registry_remove(self);
    Py_CLEAR(self->coroutine);
    lazy_context_clear(&self->context);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->step_exception);
    Py_CLEAR(self->name);
}
