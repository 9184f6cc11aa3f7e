/* asyncio.TaskGroup: entering the block, and leaving it when its tasks are done.  Layer: flow.

   Equivalent, but for the many ways to fail:

       async def __aenter__(self):
           self._loop = get_running_loop()
           self._parent_task = current_task()
           self._entered = True
           return self
       async def __aexit__(self, et, exc, tb):
           self._exiting = True
           if et is not None: self._abort()
           while self._tasks:
               self._on_completed_fut = self._loop.create_future()
               try: await self._on_completed_fut
               except CancelledError as error: propagate = error; self._abort()
               self._on_completed_fut = None
           if self._base_error is not None: raise self._base_error
           if propagate is not None and not self._errors: raise propagate
           if self._errors: raise BaseExceptionGroup("unhandled errors in a TaskGroup", self._errors)

   Who has cancelled the parent task, the group or somebody else, is found out by task.uncancel(): up to 3.12 before the waiting
   begins, from 3.13 on after it.  What has been backported within a version is looked for in asyncio's own code. */
#include "core/registry.h"
#include "flow/block_coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/task_group.h"
#include "py/errors.h"

typedef struct {
    BlockCoroutine block;
    PyObject *propagate; /* owned or NULL: a CancelledError to be raised in the end */
    PyObject *pending;   /* owned or NULL: the CancelledError that came last while it waited */
    bool waiting;        /* it leaves, natively */
} TaskGroupCoroutine;

static TaskGroup *
group_borrow(TaskGroupCoroutine *self)
{
    return (TaskGroup *)self->block.manager;
}

/* ---- Entering ---- */

static inline bool
is_fresh(TaskGroup *group)
{
    return group->entered == Py_False && group->loop == Py_None && group->cancel_on_enter == Py_False;
}

/* Whether the group was still fresh. */
static bool
enter(TaskGroup *group, Loop *loop, PyObject *task)
{
    TASK_GROUP_GUARD(group);
    if (AC_FREE_THREADED && !is_fresh(group)) {
        return false;
    }
    Py_XSETREF(group->loop, Py_NewRef((PyObject *)loop));
    Py_XSETREF(group->parent_task, Py_NewRef(task));
    Py_XSETREF(group->entered, Py_NewRef(Py_True));
    return true;
}

/* The loop is asked for first, and is the group's home before anything of the group is touched: of several loops that enter it at the
   same time one is, and the others look at it in that one's section. */
static PySendResult
enter_start(Coroutine *base, PyObject **result)
{
    BlockCoroutine *self = (BlockCoroutine *)base;
    TaskGroup *group = (TaskGroup *)self->manager;
    struct state *state = base->state;
    Loop *loop = AC_FREE_THREADED || is_fresh(group) ? loop_running_fused(state) : NULL;
    if (loop == NULL && PyErr_Occurred()) {
        return PYGEN_ERROR;
    }
    LOOP_HOME_SETTLE(group, loop);
    PyObject *task = loop ? Py_XNewRef(registry_current_borrow(loop)) : NULL;
    PySendResult outcome = PYGEN_RETURN;
    if (task != NULL && Py_TYPE(task) == state->Task_type && enter(group, loop, task)) {
        *result = Py_NewRef((PyObject *)group);
    }
    else {
        outcome = block_delegate(self, state->asyncio_TaskGroup, state->str___aenter__);
    }
    Py_XDECREF(task);
    Py_XDECREF((PyObject *)loop);
    return outcome;
}

/* ---- Leaving ---- */

static bool
is_cancelled_error(struct state *state, PyObject *type)
{
    return type == state->CancelledError || (AC_PY313 && PyErr_GivenExceptionMatches(type, state->CancelledError));
}

/* A method of the parent task that takes nothing and returns a number.  -1 with an exception. */
static long
ask_parent(TaskGroup *group, PyObject *method)
{
    PyObject *parent = Py_NewRef(group->parent_task ? group->parent_task : Py_None);
    PyObject *answer = PyObject_CallMethodNoArgs(parent, method);
    long number = answer ? PyLong_AsLong(answer) : -1;
    Py_DECREF(parent);
    Py_XDECREF(answer);
    return number;
}

/* Takes back what the group has done to its parent.  If nobody else wants that cancelled, nothing is propagated.  Returns 0 or
   -1. */
static int
uncancel_parent(TaskGroupCoroutine *self)
{
    if (AC_LIKELY(group_borrow(self)->parent_cancel_requested != Py_True)) {
        return 0;
    }
    long left = ask_parent(group_borrow(self), self->block.base.state->str_uncancel);
    if (left == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (left == 0) {
        Py_CLEAR(self->propagate);
    }
    else if (self->propagate == NULL && self->block.base.state->task_group_keeps_cancellation) {
        Py_XSETREF(self->propagate, Py_XNewRef(self->pending));
    }
    return 0;
}

/* Whether there are errors to raise: 1, 0 or -1. */
static int
has_errors(TaskGroup *group)
{
    if (AC_LIKELY(group->errors == NULL && group->has_errors)) {
        return 0;
    }
    if (group->errors == NULL) {
        return raise_no_attribute((PyObject *)group, "_errors");
    }
    PyObject *errors = Py_NewRef(group->errors);
    int truth = PyObject_IsTrue(errors);
    Py_DECREF(errors);
    return truth;
}

/* Raises the exception as it is, in the context of what is handled. */
static PySendResult
raise_error(PyObject *error)
{
    raise_instance_steal(Py_NewRef(error));
    return PYGEN_ERROR;
}

/* Who else has cancelled the parent finds it cancelled again, with the same count.  Returns 0 or -1. */
static int
cancel_parent_again(struct state *state, TaskGroup *group)
{
    long cancelling = ask_parent(group, state->str_cancelling);
    if (cancelling <= 0) {
        return cancelling == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (ask_parent(group, state->str_uncancel) == -1 && PyErr_Occurred()) {
        return -1;
    }
    PyObject *parent = Py_NewRef(group->parent_task);
    int result = task_call_cancel(state, parent);
    Py_DECREF(parent);
    return result;
}

/* raise BaseExceptionGroup(..., errors) from None */
static PySendResult
raise_group(TaskGroupCoroutine *self)
{
    TaskGroup *group = group_borrow(self);
    struct state *state = self->block.base.state;
    if (AC_PY313) {
        if (cancel_parent_again(state, group) < 0) {
            return PYGEN_ERROR;
        }
    }
    if (AC_PY315 && PyErr_GivenExceptionMatches(self->block.type, PyExc_GeneratorExit) && group->errors != NULL
        && PyList_CheckExact(group->errors) && PyList_GET_SIZE(group->errors) == 1) {
        return raise_error(self->block.error);
    }
    PyObject *errors = Py_NewRef(group->errors ? group->errors : Py_None);
    PyObject *raised = PyObject_CallFunction(PyExc_BaseExceptionGroup, "sO", "unhandled errors in a TaskGroup", errors);
    Py_DECREF(errors);
    if (raised != NULL) {
        PyException_SetCause(raised, NULL); /* which suppresses the context, too */
        raise_instance_steal(raised);
    }
    group->has_errors = false;
    Py_XSETREF(group->errors, Py_NewRef(Py_None));
    return PYGEN_ERROR;
}

/* All tasks are done. */
static PySendResult
exit_finish(TaskGroupCoroutine *self, PyObject **result)
{
    TaskGroup *group = group_borrow(self);
    if (AC_UNLIKELY(group->base_error != Py_None)) {
        return group->base_error ? raise_error(group->base_error)
                                 : (raise_no_attribute((PyObject *)group, "_base_error"), PYGEN_ERROR);
    }
    if (AC_PY313 && uncancel_parent(self) < 0) {
        return PYGEN_ERROR;
    }
    int failed = has_errors(group);
    if (failed < 0) {
        return PYGEN_ERROR;
    }
    if (self->propagate != NULL && !failed) {
        return raise_error(self->propagate);
    }
    if (self->block.type != Py_None && !is_cancelled_error(self->block.base.state, self->block.type)) {
        if (task_group_add_error(group, self->block.error) < 0) {
            return PYGEN_ERROR;
        }
        failed = 1;
    }
    if (AC_UNLIKELY(failed)) {
        return raise_group(self);
    }
    *result = Py_NewRef(AC_PY315 ? Py_True : Py_None);
    return PYGEN_RETURN;
}

/* Waits as long as there are tasks. */
static PySendResult
exit_wait(TaskGroupCoroutine *self, PyObject **result)
{
    TaskGroup *group = group_borrow(self);
    int some = task_group_has_tasks(group);
    if (some <= 0) {
        return some < 0 ? PYGEN_ERROR : exit_finish(self, result);
    }
    PyObject *loop = Py_NewRef(group->loop ? group->loop : Py_None);
    Future *completed = future_new(self->block.base.state, loop);
    Py_DECREF(loop);
    if (completed == NULL) {
        return PYGEN_ERROR;
    }
    Py_XSETREF(group->on_completed, Py_NewRef((PyObject *)completed));
    PySendResult outcome = coroutine_suspend_on(&self->block.base, completed, result);
    Py_DECREF(completed);
    return outcome;
}

/* Something was thrown in while it waits: a CancelledError ends the tasks, and the waiting goes on. */
static PySendResult
exit_interrupted(TaskGroupCoroutine *self, PyObject **result)
{
    TaskGroup *group = group_borrow(self);
    PyObject *error = compat_exception_take();
    int left = 0;
    if (!PyErr_GivenExceptionMatches(error, self->block.base.state->CancelledError)) {
        compat_exception_restore_steal(error);
        return PYGEN_ERROR;
    }
    Py_XSETREF(self->pending, Py_NewRef(error));
    if (group->aborting != Py_True) {
        Py_XSETREF(self->propagate, Py_NewRef(error));
        PyObject *outer = handling_begin(error);
        left = task_group_abort(group);
        handling_end_steal(outer);
    }
    Py_DECREF(error);
    if (left < 0) {
        return PYGEN_ERROR;
    }
    Py_XSETREF(group->on_completed, Py_NewRef(Py_None));
    return exit_wait(self, result);
}

/* The end of a delegate, or an exception while it waits. */
static PySendResult
exit_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    TaskGroupCoroutine *self = (TaskGroupCoroutine *)base;
    TASK_GROUP_GUARD(group_borrow(self));
    return outcome == PYGEN_ERROR && self->waiting ? exit_interrupted(self, result) : outcome;
}

static PySendResult
exit_resume(Coroutine *base, PyObject **result)
{
    TaskGroupCoroutine *self = (TaskGroupCoroutine *)base;
    TASK_GROUP_GUARD(group_borrow(self));
    PyObject *value = future_get_result((Future *)base->awaiting);
    if (value == NULL) {
        return exit_interrupted(self, result);
    }
    Py_DECREF(value);
    Py_XSETREF(group_borrow(self)->on_completed, Py_NewRef(Py_None));
    return exit_wait(self, result);
}

/* Whether the group is left here, and not by asyncio's method. */
static bool
can_leave(TaskGroup *group)
{
    Loop *loop = group->loop ? loop_cast(group->state, group->loop) : NULL;
    PyObject *parent = group->parent_task;
    return loop != NULL && loop->fused && group->on_completed == Py_None && parent != NULL
           && Py_TYPE(parent) == group->state->Task_type && task_group_is_plain(group);
}

static PySendResult
exit_start(Coroutine *base, PyObject **result)
{
    TaskGroupCoroutine *self = (TaskGroupCoroutine *)base;
    TaskGroup *group = group_borrow(self);
    TASK_GROUP_GUARD(group); /* close() of a coroutine comes here without its loop, too */
    if (!can_leave(group)) {
        return block_delegate(&self->block, base->state->asyncio_TaskGroup, base->state->str___aexit__);
    }
    self->waiting = true;
    Py_XSETREF(group->exiting, Py_NewRef(Py_True));
    if (AC_LIKELY(self->block.type == Py_None && self->block.error == Py_None)) {
        return !AC_PY313 && uncancel_parent(self) < 0 ? PYGEN_ERROR : exit_wait(self, result);
    }
    if (self->block.error != Py_None) {
        task_group_note_base_error(group, self->block.error);
    }
    if (is_cancelled_error(base->state, self->block.type)) {
        Py_XSETREF(self->propagate, self->block.error != Py_None ? Py_NewRef(self->block.error) : NULL);
    }
    if (!AC_PY313 && uncancel_parent(self) < 0) {
        return PYGEN_ERROR;
    }
    if (self->block.type != Py_None && group->aborting != Py_True && task_group_abort(group) < 0) {
        return PYGEN_ERROR;
    }
    return exit_wait(self, result);
}

/* asyncio lets go of what may be in a cycle with the exception, where it has _aexit(). */
static void
exit_leave(Coroutine *base)
{
    TaskGroupCoroutine *self = (TaskGroupCoroutine *)base;
    TaskGroup *group = group_borrow(self);
    if (self->waiting && base->state->task_group_clears && group != NULL) {
        TASK_GROUP_GUARD(group);
        group->has_errors = false;
        Py_XSETREF(group->parent_task, Py_NewRef(Py_None));
        Py_XSETREF(group->errors, Py_NewRef(Py_None));
        Py_XSETREF(group->base_error, Py_NewRef(Py_None));
    }
    Py_CLEAR(self->propagate);
    Py_CLEAR(self->pending);
}

/* It suspends in its delegate only. */
static const struct coroutine_body enter_body = {
    .name = "__aenter__",
    .qualname = "TaskGroup.__aenter__",
    .start = enter_start,
    .leave = coroutine_leave_nothing,
};

static const struct coroutine_body exit_body = {
    .name = "__aexit__",
    .qualname = "TaskGroup.__aexit__",
    .start = exit_start,
    .resume = exit_resume,
    .conclude = exit_conclude,
    .leave = exit_leave,
};

/* ---- Python face ---- */

static int
TaskGroupCoroutine_traverse(TaskGroupCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->propagate);
    Py_VISIT(self->pending);
    return block_traverse(&self->block, visit, arg);
}

static int
TaskGroupCoroutine_clear(TaskGroupCoroutine *self)
{
    int result = block_clear(&self->block);
    Py_CLEAR(self->propagate);
    Py_CLEAR(self->pending);
    return result;
}

static void
TaskGroupCoroutine_dealloc(TaskGroupCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->block.base)) {
        return;
    }
    struct state *state = self->block.base.state;
    freelist_free(&state->TaskGroupCoroutine_freelist, state->TaskGroupCoroutine_type, (PyObject *)self);
}

static PyType_Slot TaskGroupCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, TaskGroupCoroutine_dealloc },
    { Py_tp_traverse, TaskGroupCoroutine_traverse },
    { Py_tp_clear, TaskGroupCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec TaskGroupCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(TaskGroupCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = TaskGroupCoroutine_slots,
};

/* `args` begins with the group. */
static PyObject *
aenter(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (!block_is_plain(state, state->TaskGroup_type, args, nargs, kwnames, 1)) {
        return task_group_call_asyncio(state, state->str___aenter__, args, nargs, kwnames);
    }
    PyObject *self = freelist_new(&state->TaskGroupCoroutine_freelist, state->TaskGroupCoroutine_type);
    return block_begin_steal(self, state, &enter_body, args, nargs);
}

static PyObject *
aexit(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (!block_is_plain(state, state->TaskGroup_type, args, nargs, kwnames, 4)) {
        return task_group_call_asyncio(state, state->str___aexit__, args, nargs, kwnames);
    }
    PyObject *self = freelist_new(&state->TaskGroupCoroutine_freelist, state->TaskGroupCoroutine_type);
    return block_begin_steal(self, state, &exit_body, args, nargs);
}

PyDoc_STRVAR(aenter_doc, "Coroutine that enters the group, for the task which runs; returns it.");
PyDoc_STRVAR(aexit_doc, "Coroutine that waits for the tasks; raises what they and the block have raised, as a group.");

int
task_group_block_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *original = state->asyncio_TaskGroup;
    int clears = state_code_has(original, "_aexit", "co_varnames", "self");
    int keeps = clears < 0 ? -1 : state_code_has(original, "_aexit", "co_varnames", "pending_cancellation_error");
    if (clears < 0 || keeps < 0) {
        return -1;
    }
    state->task_group_clears = clears;
    state->task_group_keeps_cancellation = keeps;
    if (state_add_type(module, &state->TaskGroupCoroutine_type, &TaskGroupCoroutine_spec, NULL) < 0
        || coroutine_function_add_method(module, state->TaskGroup_type, original, "__aenter__", aenter, aenter_doc) < 0
        || coroutine_function_add_method(module, state->TaskGroup_type, original, "__aexit__", aexit, aexit_doc) < 0) {
        return -1;
    }
    return 0;
}
