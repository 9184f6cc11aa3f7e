/* asyncio.TaskGroup: the type, and what happens for each task.  Layer: flow.

   Equivalent, where nothing fails:

       class TaskGroup:
           def create_task(self, coro, *, name=None, context=None):
               task = self._loop.create_task(coro, name=name, context=context)
               self._tasks.add(task)
               task.add_done_callback(self._on_task_done)
               return task
           def _on_task_done(self, task):
               self._tasks.discard(task)
               if self._on_completed_fut is not None and not self._tasks: self._on_completed_fut.set_result(True)
               if task failed: self._errors.append(task.exception()); self._abort(); self._parent_task.cancel()
           def _abort(self):
               self._aborting = True
               for task in self._tasks: task.cancel()

   The class in Python (asyncio_c/taskgroups.py) has this type before asyncio's.  Each attribute is a field under asyncio's name,
   and what is different in the least (another loop, a factory of tasks, debug mode, a refused call) is asyncio's method of the
   same name, on the same attributes, before anything has happened.  So are repr() and, from 3.15 on, cancel().

   In the place of the callback of each task there is a member: an entry of the task that takes its own turn, as the handle would.
   From Python 3.14 on, the task of the group is noted as the one that waits for each of its tasks (core/awaited_by.c). */
#include "flow/task_group.h"

#include "core/handle.h"
#include "core/registry.h"
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct runnable runnable;
    TaskGroup *group;            /* owned */
    Task *task;                  /* owned */
    struct lazy_context context; /* owned; that of whoever has made the task */
} TaskGroupMember;

/* ---- Whether methods are ours ---- */

/* Whose replacement matters to others; asyncio has not all of them in each version. */
static const char *const method_names[] = { "_on_task_done", "_abort", "_is_base_error", "_aexit", "cancel" };

/* An attribute of a class, None where there is none.  New reference. */
static PyObject *
method_of(PyObject *class, const char *name)
{
    PyObject *method = PyObject_GetAttrString(class, name);
    if (method == NULL) {
        PyErr_Clear();
        method = Py_NewRef(Py_None);
    }
    return method;
}

/* What each class has under these names: pairs of what our objects have, and what asyncio's class has. */
static PyObject *
methods_found(PyObject *ours, PyObject *theirs)
{
    PyObject *found = PyTuple_New(2 * AC_ARRAY_SIZE(method_names));
    for (size_t i = 0; found != NULL && i < AC_ARRAY_SIZE(method_names); i++) {
        PyObject *method = method_of(theirs, method_names[i]), *own = method_of(ours, method_names[i]);
        if (own == Py_None) {
            Py_SETREF(own, Py_NewRef(method)); /* inherited by the class in Python */
        }
        PyTuple_SET_ITEM(found, (Py_ssize_t)(2 * i), own);
        PyTuple_SET_ITEM(found, (Py_ssize_t)(2 * i + 1), method);
    }
    return found;
}

/* Asks it of the classes.  An exception that is set stays. */
static bool
decide_plain(TaskGroup *self)
{
    struct state *state = self->state;
    PyObject *error = compat_exception_take();
    unsigned version = compat_type_version(Py_TYPE(self));
    PyObject *found = methods_found((PyObject *)Py_TYPE(self), state->asyncio_TaskGroup);
    bool plain = found != NULL;
    for (Py_ssize_t i = 0; plain && i < PyTuple_GET_SIZE(found); i++) {
        plain = PyTuple_GET_ITEM(found, i) == PyTuple_GET_ITEM(state->task_group_methods, i);
    }
    Py_XDECREF(found);
    PyErr_Clear();
    if (plain) {
        COMPAT_STORE(state->task_group_version, compat_type_version_since(Py_TYPE(self), version));
    }
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    return plain;
}

bool
task_group_is_plain(TaskGroup *self)
{
    unsigned version = compat_type_version(Py_TYPE(self));
    bool known = version != 0 && version == COMPAT_LOAD(self->state->task_group_version);
    return !self->touched && (AC_LIKELY(known) || decide_plain(self));
}

PyObject *
task_group_call_asyncio(struct state *state, PyObject *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return args_call_steal(PyObject_GetAttr(state->asyncio_TaskGroup, name), args, nargs, kwnames);
}

/* ---- Tasks and errors ---- */

/* self._tasks if it is a plain set, or NULL. */
static PyObject *
tasks_borrow(TaskGroup *self)
{
    return self->tasks != NULL && PySet_CheckExact(self->tasks) ? self->tasks : NULL;
}

int
task_group_has_tasks(TaskGroup *self)
{
    PyObject *tasks = tasks_borrow(self);
    if (AC_LIKELY(tasks != NULL)) {
        return PySet_GET_SIZE(tasks) > 0;
    }
    if (self->tasks == NULL) {
        return raise_no_attribute((PyObject *)self, "_tasks");
    }
    tasks = Py_NewRef(self->tasks);
    int truth = PyObject_IsTrue(tasks);
    Py_DECREF(tasks);
    return truth;
}

/* The list of errors, made if need be; whatever somebody has put there.  Borrowed, or NULL with an exception. */
static PyObject *
errors_borrow(TaskGroup *self)
{
    if (self->errors == NULL && self->has_errors) {
        PyObject *errors = PyList_New(0); /* a collection may have made one meanwhile */
        if (self->errors == NULL) {
            self->errors = errors;
        }
        else {
            Py_XDECREF(errors);
        }
    }
    else if (self->errors == NULL) {
        raise_no_attribute((PyObject *)self, "_errors");
    }
    return self->errors;
}

int
task_group_add_error(TaskGroup *self, PyObject *error)
{
    PyObject *errors = Py_XNewRef(errors_borrow(self));
    int result = -1;
    if (errors != NULL && PyList_CheckExact(errors)) {
        result = PyList_Append(errors, error);
    }
    else if (errors != NULL) {
        PyObject *done = PyObject_CallMethod(errors, "append", "O", error);
        result = done ? 0 : -1;
        Py_XDECREF(done);
    }
    Py_XDECREF(errors);
    return result;
}

void
task_group_note_base_error(TaskGroup *self, PyObject *error)
{
    bool leaves = PyErr_GivenExceptionMatches(error, PyExc_SystemExit)
                  || PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt);
    if (leaves && self->base_error == Py_None) {
        Py_XSETREF(self->base_error, Py_NewRef(error));
    }
}

/* task.done() of any task: 1, 0 or -1. */
static int
task_is_done(struct state *state, PyObject *task)
{
    if (AC_LIKELY(Py_TYPE(task) == state->Task_type)) {
        return ((Task *)task)->future_state != FUTURE_PENDING;
    }
    PyObject *done = PyObject_CallMethodNoArgs(task, state->str_done);
    int truth = done ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    return truth;
}

int
task_group_abort(TaskGroup *self)
{
    struct state *state = self->state;
    if (AC_UNLIKELY(!task_group_is_plain(self))) {
        PyObject *done = PyObject_CallMethodNoArgs((PyObject *)self, state->str__abort);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    Py_XSETREF(self->aborting, Py_NewRef(Py_True));
    if (self->tasks == NULL) {
        return raise_no_attribute((PyObject *)self, "_tasks");
    }
    PyObject *iterator = PyObject_GetIter(self->tasks), *task;
    int result = iterator ? 0 : -1;
    while (result == 0 && (task = PyIter_Next(iterator)) != NULL) {
        result = task_is_done(state, task);
        result = result != 0 ? (result < 0 ? -1 : 0) : task_call_cancel(state, task);
        Py_DECREF(task);
    }
    Py_XDECREF(iterator);
    return result < 0 || PyErr_Occurred() ? -1 : 0;
}

/* ---- A task is done ---- */

/* That the future is waited for no more, as asyncio tells it from 3.14 on. */
static int
forget_awaiter(TaskGroup *self, Future *task)
{
    PyObject *parent = AC_PY314 ? Py_XNewRef(self->parent_task) : NULL;
    int result = parent ? awaited_by_discard(task, parent) : 0;
    Py_XDECREF(parent);
    return result;
}

/* Ends the wait at the end of the block, if that has begun and no task is left.  Returns 0 or -1. */
static int
wake_if_completed(TaskGroup *self)
{
    PyObject *completed = self->on_completed;
    if (AC_LIKELY(completed == NULL || completed == Py_None || PySet_GET_SIZE(self->tasks) > 0)) {
        return completed ? 0 : raise_no_attribute((PyObject *)self, "_on_completed_fut");
    }
    Py_INCREF(completed);
    FUTURE_GUARD((Future *)completed); /* whatever somebody has put there */
    bool pending = ((Future *)completed)->future_state == FUTURE_PENDING;
    int result = pending ? future_set_result((Future *)completed, Py_True) : 0;
    Py_DECREF(completed);
    return result;
}

/* loop.call_exception_handler() for an error that nobody will collect. */
AC_COLD static int
report_orphan(TaskGroup *self, PyObject *task, PyObject *error)
{
    PyObject *message = PyUnicode_FromFormat("Task %R has errored out but its parent task %S is already completed",
                                             task, self->parent_task);
    PyObject *context =
        message ? Py_BuildValue("{sOsOsO}", "message", message, "exception", error, "task", task) : NULL;
    PyObject *loop = Py_NewRef(self->loop ? self->loop : Py_None);
    PyObject *done = context ? PyObject_CallMethodOneArg(loop, self->state->str_call_exception_handler, context) : NULL;
    Py_DECREF(loop);
    Py_XDECREF(context);
    Py_XDECREF(message);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* What a task's exception does to the group.  Returns 0 or -1. */
AC_COLD static int
collect_error(TaskGroup *self, PyObject *task, PyObject *error)
{
    struct state *state = self->state;
    if (task_group_add_error(self, error) < 0) {
        return -1;
    }
    task_group_note_base_error(self, error);
    PyObject *parent = Py_NewRef(self->parent_task ? self->parent_task : Py_None);
    int result = task_is_done(state, parent);
    if (result > 0) {
        result = report_orphan(self, task, error);
    }
    else if (result == 0 && self->aborting == Py_False && self->parent_cancel_requested == Py_False) {
        result = task_group_abort(self);
        if (result == 0) {
            Py_XSETREF(self->parent_cancel_requested, Py_NewRef(Py_True));
            result = task_call_cancel(state, parent);
        }
    }
    Py_DECREF(parent);
    return result;
}

/* Whether what is done for a task can be done here: the group is as we made it. */
static bool
is_ours(TaskGroup *self)
{
    PyObject *completed = self->on_completed;
    return tasks_borrow(self) != NULL
           && (completed == Py_None || (completed && Py_TYPE(completed) == self->state->Future_type));
}

/* Needs: is_ours().  Returns 0 or -1.  Runs Python if the task has failed. */
static int
task_done(TaskGroup *self, Task *task)
{
    if (PySet_Discard(self->tasks, (PyObject *)task) < 0 || forget_awaiter(self, (Future *)task) < 0
        || wake_if_completed(self) < 0) {
        return -1;
    }
    if (task->future_state != FUTURE_FINISHED) {
        return 0;
    }
    task->log_traceback = false;
    if (AC_LIKELY(task->exception == NULL)) {
        return 0;
    }
    PyObject *error = Py_NewRef(task->exception);
    int result = collect_error(self, (PyObject *)task, error);
    Py_DECREF(error);
    return result;
}

/* self._on_task_done(task), whose first argument is the group. */
static PyObject *
on_task_done(struct state *state, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    bool plain = nargs == 2 && kwnames == NULL && PyObject_TypeCheck(args[0], state->TaskGroup_type)
                 && Py_TYPE(args[1]) == state->Task_type && ((Task *)args[1])->future_state != FUTURE_PENDING;
    if (plain) {
        TASK_GROUP_GUARD((TaskGroup *)args[0]);
        if (task_group_is_plain((TaskGroup *)args[0]) && is_ours((TaskGroup *)args[0])) {
            return task_done((TaskGroup *)args[0], (Task *)args[1]) < 0 ? NULL : Py_NewRef(Py_None);
        }
    }
    return task_group_call_asyncio(state, state->str__on_task_done, args, nargs, kwnames);
}

/* ---- Members ---- */

/* The long way: by the method, in the context of whoever has made the task. */
static int
call_on_task_done(TaskGroupMember *self)
{
    struct state *state = self->state;
    PyObject *context = Py_XNewRef(lazy_context_borrow(&self->context, state));
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return -1;
    }
    PyObject *args[] = { (PyObject *)self->group, (PyObject *)self->task };
    PyObject *done = on_task_done(state, args, 2, NULL);
    PyObject *error = done ? NULL : compat_exception_take();
    int result = PyContext_Exit(context);
    if (error != NULL) {
        compat_exception_restore_steal(error);
        result = -1;
    }
    Py_XDECREF(done);
    Py_DECREF(context);
    return result;
}

/* A group that waits for its last task ends with the MemoryError that is set, or would wait for ever.  Returns 0 or -1. */
AC_COLD static int
member_without_memory(TaskGroupMember *self)
{
    PyObject *completed = self->group->on_completed;
    if (completed == NULL || Py_TYPE(completed) != self->state->Future_type) {
        return -1;
    }
    Py_INCREF(completed);
    FUTURE_GUARD((Future *)completed);
    int result = future_without_memory((Future *)completed);
    Py_DECREF(completed);
    return result;
}

static int
member_run(struct runnable *runnable, Loop *loop)
{
    TaskGroupMember *self = AC_CONTAINER_OF(runnable, TaskGroupMember, runnable);
    Task *task = self->task;
    TaskGroup *group = self->group;
    if (task == NULL || group == NULL) {
        return 0; /* cleared by the garbage collector */
    }
    if (registry_leave(loop) < 0) {
        return member_without_memory(self);
    }
    bool fails = task->future_state == FUTURE_FINISHED && task->exception != NULL;
    if (AC_LIKELY(!fails && task_group_is_plain(group) && is_ours(group))) {
        return task_done(group, task);
    }
    return call_on_task_done(self);
}

static PyObject *
member_as_callback(struct runnable *runnable)
{
    TaskGroupMember *self = (TaskGroupMember *)runnable->owner;
    PyObject *group = Py_NewRef(self->group ? (PyObject *)self->group : Py_None);
    PyObject *callback = PyObject_GetAttr(group, self->state->str__on_task_done);
    Py_DECREF(group);
    return callback;
}

static PyObject *
member_context_borrow(struct runnable *runnable)
{
    TaskGroupMember *self = (TaskGroupMember *)runnable->owner;
    return lazy_context_borrow(&self->context, self->state);
}

static PyObject *
member_as_handle(struct runnable *runnable, Loop *loop)
{
    return handle_for_runnable(runnable, loop, (PyObject *)((TaskGroupMember *)runnable->owner)->task);
}

static const struct runnable_ops member_ops = {
    .run = member_run,
    .as_handle = member_as_handle,
    .as_callback = member_as_callback,
    .context_borrow = member_context_borrow,
};

static int
TaskGroupMember_traverse(TaskGroupMember *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->group);
    Py_VISIT(self->task);
    return lazy_context_traverse(&self->context, visit, arg);
}

static int
TaskGroupMember_clear(TaskGroupMember *self)
{
    Py_CLEAR(self->group);
    Py_CLEAR(self->task);
    lazy_context_clear(&self->context);
    return 0;
}

static void
TaskGroupMember_dealloc(TaskGroupMember *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    TaskGroupMember_clear(self);
    freelist_free(&state->TaskGroupMember_freelist, state->TaskGroupMember_type, (PyObject *)self);
}

/* task.add_done_callback(group._on_task_done).  Returns 0 or -1. */
static int
add_member(TaskGroup *group, Task *task)
{
    struct state *state = group->state;
    TaskGroupMember *self =
        (TaskGroupMember *)freelist_new(&state->TaskGroupMember_freelist, state->TaskGroupMember_type);
    if (self == NULL) {
        return -1;
    }
    self->state = state;
    self->runnable = (struct runnable){ &member_ops, (PyObject *)self };
    self->group = (TaskGroup *)Py_NewRef((PyObject *)group);
    self->task = (Task *)Py_NewRef((PyObject *)task);
    PyObject_GC_Track((PyObject *)self);
    int result = lazy_context_init(&self->context, state, NULL);
    if (result == 0) {
        result = future_add_native((Future *)task, &self->runnable);
    }
    Py_DECREF((PyObject *)self);
    return result;
}

/* ---- A task is made ---- */

/* Where tasks may be made at once: the group is entered and goes on, or waits for others, and its loop is ours and as we made it.
   Borrowed. */
static Loop *
open_loop_borrow(TaskGroup *self)
{
    if (self->entered != Py_True || self->aborting != Py_False || !is_ours(self)
        || (self->exiting != Py_False && (self->exiting != Py_True || PySet_GET_SIZE(self->tasks) == 0))
        || !task_group_is_plain(self)) {
        return NULL;
    }
    Loop *loop = self->loop ? loop_cast(self->state, self->loop) : NULL;
    bool plain = loop && loop->fused && !loop->closed && loop->task_factory == Py_None && !loop->create_task_overridden;
    return plain ? loop : NULL;
}

/* Adds the task to the group, which will hear when it is done.  Returns 0 or -1. */
static int
join(TaskGroup *self, Task *task)
{
    PyObject *parent = AC_PY314 ? self->parent_task : NULL;
    if (parent != NULL && parent != Py_None) {
        Py_INCREF(parent);
        int noted = awaited_by_add((Future *)task, parent);
        Py_DECREF(parent);
        if (noted < 0) {
            return -1;
        }
    }
    /* First: the group would wait for ever for a task in its set of whose end it does not hear. */
    if (add_member(self, task) < 0) {
        return -1;
    }
    PyObject *tasks = Py_XNewRef(tasks_borrow(self)); /* making the task has run whatever a collection runs */
    int result = tasks ? PySet_Add(tasks, (PyObject *)task) : task_group_has_tasks(self);
    Py_XDECREF(tasks);
    return result < 0 ? -1 : 0;
}

/* The keywords that every Python knows.  Returns false where there is another one. */
static bool
parse_keywords(struct state *state, PyObject *const *values, PyObject *kwnames, PyObject **name, PyObject **context)
{
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = values[i] == Py_None ? NULL : values[i];
        if (args_keyword_is(kwnames, i, state->str_name)) {
            *name = value;
        }
        else if (args_keyword_is(kwnames, i, state->str_context)) {
            *context = value;
        }
        else {
            return false;
        }
    }
    return true;
}

/* In the loop that the group has now: somebody may have set another one. */
static Task *
create_task_in(Loop *loop, TaskGroup *group, PyObject *coroutine, PyObject *name, PyObject *context)
{
    struct state *state = group->state;
    GUARD(loop, loop);
    Py_INCREF((PyObject *)loop);
    Task *task = task_new(state, (PyObject *)loop, coroutine, name, context, false);
    Py_DECREF((PyObject *)loop);
    if (!AC_PY313 && task != NULL && name != NULL) {
        registry_next_number(task); /* up to 3.12 asyncio names the task after it has been numbered */
    }
    if (task != NULL && join(group, task) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* A function with the look of asyncio's, whose first argument is the group. */
static PyObject *
TaskGroup_create_task(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *name = NULL, *context = NULL;
    if (AC_UNLIKELY(nargs != 2 || !PyObject_TypeCheck(args[0], state->TaskGroup_type)
                    || (!PyCoro_CheckExact(args[1]) && !coroutine_check(args[1])))) {
        return task_group_call_asyncio(state, state->str_create_task, args, nargs, kwnames);
    }
    TASK_GROUP_GUARD((TaskGroup *)args[0]);
    Loop *loop = open_loop_borrow((TaskGroup *)args[0]);
    if (AC_UNLIKELY(loop == NULL || !parse_keywords(state, args + nargs, kwnames, &name, &context))) {
        return task_group_call_asyncio(state, state->str_create_task, args, nargs, kwnames);
    }
    return (PyObject *)create_task_in(loop, (TaskGroup *)args[0], args[1], name, context);
}

/* ---- Python face ---- */

static PyObject *
TaskGroup_on_task_done(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return on_task_done(coroutine_function_state(function), args, PyVectorcall_NARGS(nargsf), kwnames);
}

static PyObject *
TaskGroup_abort(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    bool plain = nargs == 1 && kwnames == NULL && PyObject_TypeCheck(args[0], state->TaskGroup_type);
    if (!plain || !task_group_is_plain((TaskGroup *)args[0])) {
        return task_group_call_asyncio(state, state->str__abort, args, nargs, kwnames);
    }
    TASK_GROUP_GUARD((TaskGroup *)args[0]);
    return task_group_abort((TaskGroup *)args[0]) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
TaskGroup_get_errors(TaskGroup *self, void *Py_UNUSED(closure))
{
    TASK_GROUP_GUARD(self);
    return Py_XNewRef(errors_borrow(self));
}

static int
TaskGroup_set_errors(TaskGroup *self, PyObject *value, void *Py_UNUSED(closure))
{
    TASK_GROUP_GUARD(self);
    if (value == NULL && errors_borrow(self) == NULL) {
        return -1;
    }
    self->has_errors = false;
    Py_XSETREF(self->errors, Py_XNewRef(value));
    return 0;
}

static int
TaskGroup_setattro(TaskGroup *self, PyObject *name, PyObject *value)
{
    TASK_GROUP_GUARD(self);
    for (size_t i = 0; i < AC_ARRAY_SIZE(method_names) && PyUnicode_Check(name); i++) {
        self->touched = self->touched || PyUnicode_CompareWithASCIIString(name, method_names[i]) == 0;
    }
    return PyObject_GenericSetAttr((PyObject *)self, name, value);
}

static PyObject *
TaskGroup_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    TaskGroup *self = state ? (TaskGroup *)freelist_alloc(&state->TaskGroup_freelist, NULL, type) : NULL;
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int
TaskGroup_init(TaskGroup *self, PyObject *args, PyObject *kwargs)
{
    TASK_GROUP_GUARD(self);
    static char *keywords[] = { NULL };
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":TaskGroup", keywords)) {
        return -1;
    }
    PyObject *tasks = PySet_New(NULL);
    if (tasks == NULL) {
        return -1;
    }
    Py_XSETREF(self->entered, Py_NewRef(Py_False));
    Py_XSETREF(self->exiting, Py_NewRef(Py_False));
    Py_XSETREF(self->aborting, Py_NewRef(Py_False));
    Py_XSETREF(self->loop, Py_NewRef(Py_None));
    Py_XSETREF(self->parent_task, Py_NewRef(Py_None));
    Py_XSETREF(self->parent_cancel_requested, Py_NewRef(Py_False));
    Py_XSETREF(self->tasks, tasks);
    Py_XSETREF(self->base_error, Py_NewRef(Py_None));
    Py_XSETREF(self->on_completed, Py_NewRef(Py_None));
    Py_XSETREF(self->cancel_on_enter, Py_NewRef(Py_False));
    self->has_errors = true;
    Py_CLEAR(self->errors);
    return 0;
}

static int
TaskGroup_traverse(TaskGroup *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
#define X(field, name) Py_VISIT(self->field);
    TASK_GROUP_ATTRIBUTES(X)
#undef X
    Py_VISIT(self->tasks);
    Py_VISIT(self->errors);
    LOOP_HOME_VISIT(self);
    return 0;
}

static int
TaskGroup_clear(TaskGroup *self)
{
#define X(field, name) Py_CLEAR(self->field);
    TASK_GROUP_ATTRIBUTES(X)
#undef X
    Py_CLEAR(self->tasks);
    Py_CLEAR(self->errors);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
TaskGroup_dealloc(TaskGroup *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    TaskGroup_clear(self);
    freelist_free(&state->TaskGroup_freelist, state->TaskGroup_type, (PyObject *)self);
}

PyDoc_STRVAR(create_task_doc, "Run the coroutine coro as a Task of the group; return the task.\n\n"
                              "name and context, and what else that Python knows, are as in asyncio.create_task().\n"
                              "Raises RuntimeError unless the group is entered and goes on, TypeError if coro is no\n"
                              "coroutine.\n\n"
                              "asyncio documentation: Coroutines and Tasks, Task Groups.");

PyDoc_STRVAR(TaskGroup_doc, "TaskGroup()\n--\n\nThe native half of asyncio_c.TaskGroup.");

PyDoc_STRVAR(on_task_done_doc, "Forget a task, and collect its exception.");
PyDoc_STRVAR(abort_doc, "Cancel all tasks.");

FIELD_ACCESS(TaskGroup, TASK_GROUP_GUARD)

#define TASK_GROUP_FIELDS(X) \
    TASK_GROUP_ATTRIBUTES(X) \
    X(tasks, "_tasks") X(cancel_on_enter, AC_PY315 ? "_cancel_on_enter" : NULL)

static PyMemberDef TaskGroup_members[] = {
#define X(field, name) FIELD_AS_MEMBER(TaskGroup, name, T_OBJECT_EX, field)
    TASK_GROUP_FIELDS(X){ 0 },
#undef X
};

static PyGetSetDef TaskGroup_getset[] = {
    { "_errors", (getter)TaskGroup_get_errors, (setter)TaskGroup_set_errors, NULL, NULL },
#define X(field, name) FIELD_AS_GETSET(TaskGroup, name, T_OBJECT_EX, field)
    TASK_GROUP_FIELDS(X){ 0 },
#undef X
};

static PyType_Slot TaskGroup_slots[] = {
    { Py_tp_doc, (void *)TaskGroup_doc },   { Py_tp_new, TaskGroup_new },
    { Py_tp_init, TaskGroup_init },         { Py_tp_dealloc, TaskGroup_dealloc },
    { Py_tp_traverse, TaskGroup_traverse }, { Py_tp_clear, TaskGroup_clear },
    { Py_tp_members, TaskGroup_members },   { Py_tp_getset, TaskGroup_getset },
    { Py_tp_setattro, TaskGroup_setattro }, { 0, NULL },
};

static PyType_Spec TaskGroup_spec = {
    .name = "asyncio_c._core.TaskGroup",
    .basicsize = sizeof(TaskGroup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = TaskGroup_slots,
};

static PyType_Slot TaskGroupMember_slots[] = {
    { Py_tp_dealloc, TaskGroupMember_dealloc },
    { Py_tp_traverse, TaskGroupMember_traverse },
    { Py_tp_clear, TaskGroupMember_clear },
    { 0, NULL },
};

static PyType_Spec TaskGroupMember_spec = {
    .name = "asyncio_c._core.TaskGroupMember",
    .basicsize = sizeof(TaskGroupMember),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = TaskGroupMember_slots,
};

int
task_group_register(PyObject *module)
{
    const struct {
        const char *name;
        vectorcallfunc call;
        const char *doc;
    } methods[] = {
        { "create_task", TaskGroup_create_task, create_task_doc },
        { "_on_task_done", TaskGroup_on_task_done, on_task_done_doc },
        { "_abort", TaskGroup_abort, abort_doc },
    };
    struct state *state = state_of_module(module);
    PyObject *original = state->asyncio_TaskGroup;
    if (state_add_type(module, &state->TaskGroup_type, &TaskGroup_spec, NULL) < 0
        || state_add_type(module, &state->TaskGroupMember_type, &TaskGroupMember_spec, NULL) < 0
        || task_group_block_register(module) < 0) {
        return -1;
    }
    for (size_t i = 0; i < AC_ARRAY_SIZE(methods); i++) {
        if (coroutine_function_add_method(module, state->TaskGroup_type, original, methods[i].name, methods[i].call,
                                          methods[i].doc)
            < 0) {
            return -1;
        }
    }
    state->task_group_methods = methods_found((PyObject *)state->TaskGroup_type, original);
    return state->task_group_methods ? PyModule_AddType(module, state->TaskGroup_type) : -1;
}
