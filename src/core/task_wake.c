/* How a step of a task comes about: queued, woken by a future, called by a loop.  Layer: core.

   On a native loop nothing of that is a callback: the task itself is what the ready queue and a future's entries hold.
   When its turn comes, fut_waiter says whether it is woken by a future, whose exception is then thrown, or just goes on.
   A task is in at most one place: in a queue, among the entries of fut_waiter, or running.

   On other loops, and where a native loop must not be shortcut (debug mode, overridden methods), a step is a TaskStep
   object and a wake-up is the builtin method `task_wakeup`, both passed to loop.call_soon(), as asyncio's own tasks do. */
#include "core/handle.h"
#include "core/registry.h"
#include "core/task_parts.h"

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
    FUTURE_GUARD(self->task);
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "TaskStepMethWrapper takes no arguments");
        return NULL;
    }
    /* In loop._ready this may have taken the place of the task, which then need not throw it once more. */
    if (self->exception != NULL && self->task->step_exception == self->exception) {
        Py_CLEAR(self->task->step_exception);
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
    FUTURE_GUARD(self);
    PyObject *exception;
    if (exception_of_future(self->state, future, &exception) < 0) {
        return NULL;
    }
    PyObject *result = task_step_called(self, exception);
    Py_XDECREF(exception);
    return result;
}

static PyMethodDef task_wakeup_def = { "task_wakeup", task_wakeup, METH_O, NULL };

PyObject *
task_wakeup_new(Task *self)
{
    return PyCFunction_New(&task_wakeup_def, (PyObject *)self);
}

AC_COLD int
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

int
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
    return task_wakeup_new((Task *)runnable->owner);
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
    bool wakes = waiter != NULL && error == NULL;
    PyObject *callback = wakes ? task_as_callback(runnable) : task_step_object(self, error);
    PyObject *context = callback ? task_context_borrow(runnable) : NULL, *args[] = { waiter };
    Handle *handle = context ? handle_new(self->state, (PyObject *)loop, callback, args, wakes ? 1 : 0, context) : NULL;
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

const struct runnable_ops task_ops = {
    .run = task_run,
    .as_handle = task_as_handle,
    .as_callback = task_as_callback,
    .context_borrow = task_context_borrow,
    .awaiter_borrow = task_awaiter_borrow,
};

int
task_schedule(Task *self, PyObject *exception)
{
    Loop *loop = self->native_loop;
    if (AC_LIKELY(loop != NULL && loop->fused)) {
        GUARD(loop, loop); /* a task that was made anew may be queued in its old loop, too, whose thread steps it */
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

int
task_step_register(PyObject *module)
{
    return state_add_type(module, &state_of_module(module)->TaskStep_type, &TaskStep_spec, NULL);
}
