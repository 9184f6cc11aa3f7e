/* The two methods of asyncio.TaskGroup that run once per task.  Layer: flow.

   The class in Python (asyncio_c/taskgroups.py) has this type before asyncio's: entering, leaving, aborting and collecting
   errors are asyncio's, of that Python.  Here is the way of a task that is made without keywords and returns; whatever is
   different in the least is passed on to asyncio's method of the same name before anything has happened.

       def create_task(self, coro):                        def _on_task_done(self, task):
           task = self._loop.create_task(coro)                 if self._on_completed_fut is not None and len(self._tasks) <= 1:
           self._tasks.add(task)                                   (asyncio's method)
           task.add_done_callback(self._on_task_done)          self._tasks.discard(task)
           return task

   From Python 3.14 on, the task of the group is noted as the one that waits for each of its tasks (core/awaited_by.c). */
#include "core/task.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/args.h"

/* The attribute that asyncio's __init__() or __aenter__() has set, borrowed; NULL where there is none. */
static PyObject *
own_borrow(PyObject *dict, PyObject *name)
{
    return PyDict_GetItemWithError(dict, name);
}

/* Where tasks may be made at once: the group is entered and goes on, and its loop is ours and as we made it. Borrowed. */
static Loop *
open_loop_borrow(struct state *state, PyObject *dict)
{
    if (own_borrow(dict, state->str__entered) != Py_True || own_borrow(dict, state->str__exiting) != Py_False
        || own_borrow(dict, state->str__aborting) != Py_False) {
        return NULL;
    }
    PyObject *object = own_borrow(dict, state->str__loop);
    Loop *loop = object ? loop_cast(state, object) : NULL;
    bool plain = loop && loop->fused && !loop->closed && loop->task_factory == Py_None && !loop->create_task_overridden;
    return plain ? loop : NULL;
}

/* The task in which the group was entered, where asyncio has call graphs; else NULL.  New reference. */
static PyObject *
parent_of(struct state *state, PyObject *dict)
{
    PyObject *parent = AC_PY314 ? own_borrow(dict, state->str__parent_task) : NULL;
    return parent != Py_None ? Py_XNewRef(parent) : NULL;
}

/* Adds the task to the group, which will hear when it is done.  `parent` may be NULL.  Returns 0 or -1. */
static int
join(PyObject *self, PyObject *tasks, Task *task, PyObject *parent)
{
    struct state *state = task->state;
    if (parent != NULL && awaited_by_add((Future *)task, parent) < 0) {
        return -1;
    }
    PyObject *callback = PyObject_GetAttr(self, state->str__on_task_done);
    int result = callback ? PySet_Add(tasks, (PyObject *)task) : -1;
    if (result == 0) {
        result = future_add_callback((Future *)task, callback, NULL);
    }
    Py_XDECREF(callback);
    return result;
}

/* asyncio's method; the group is the first argument. */
static PyObject *
call_asyncio(struct state *state, PyObject *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *function = PyObject_GetAttr(state->asyncio_TaskGroup, name);
    PyObject *result = function ? PyObject_Vectorcall(function, args, (size_t)nargs, kwnames) : NULL;
    Py_XDECREF(function);
    return result;
}

/* self._tasks as asyncio made it, or NULL.  New reference. */
static PyObject *
tasks_of(struct state *state, PyObject *dict)
{
    PyObject *tasks = own_borrow(dict, state->str__tasks);
    return tasks && PySet_CheckExact(tasks) ? Py_NewRef(tasks) : NULL;
}

/* A function with the look of asyncio's, whose first argument is the group. */
static PyObject *
TaskGroup_create_task(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *self = nargs > 0 ? args[0] : Py_None;
    PyObject *dict = PyObject_TypeCheck(self, state->TaskGroup_type) ? PyObject_GenericGetDict(self, NULL) : NULL;
    if (dict == NULL) {
        return PyErr_Occurred() ? NULL : call_asyncio(state, state->str_create_task, args, nargs, kwnames);
    }
    PyObject *tasks = tasks_of(state, dict);
    bool plain = nargs == 2 && kwnames == NULL && PyCoro_CheckExact(args[1]) && tasks != NULL;
    Loop *loop = plain ? (Loop *)Py_XNewRef((PyObject *)open_loop_borrow(state, dict)) : NULL;
    PyObject *result = NULL, *parent = loop ? parent_of(state, dict) : NULL;
    Py_DECREF(dict);
    if (AC_LIKELY(loop != NULL)) {
        Task *task = task_new(state, (PyObject *)loop, args[1], NULL, NULL, false);
        if (task != NULL && join(self, tasks, task, parent) < 0) {
            Py_CLEAR(task);
        }
        result = (PyObject *)task;
    }
    else if (!PyErr_Occurred()) {
        result = call_asyncio(state, state->str_create_task, args, nargs, kwnames);
    }
    Py_XDECREF((PyObject *)loop);
    Py_XDECREF(parent);
    Py_XDECREF(tasks);
    return result;
}

/* Whether all that is left to do for this task is to forget it.  The group that waits for its last task is asyncio's to
   wake. */
static bool
is_just_forgotten(struct state *state, PyObject *dict, PyObject *tasks, PyObject *object)
{
    if (tasks == NULL || Py_TYPE(object) != state->Task_type) {
        return false;
    }
    Future *task = (Future *)object;
    bool is_last = PySet_GET_SIZE(tasks) <= 1 && own_borrow(dict, state->str__on_completed_fut) != Py_None;
    return task->future_state == FUTURE_FINISHED && task->exception == NULL && !is_last;
}

static PyObject *
TaskGroup_on_task_done(PyObject *self, PyTypeObject *class, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct state *state = *(struct state **)PyType_GetModuleState(class);
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    if (dict == NULL) {
        return NULL;
    }
    PyObject *tasks = tasks_of(state, dict), *result = NULL;
    bool plain = nargs == 1 && kwnames == NULL && is_just_forgotten(state, dict, tasks, args[0]);
    PyObject *parent = plain ? parent_of(state, dict) : NULL;
    Py_DECREF(dict);
    if (AC_LIKELY(plain)) {
        bool failed =
            PySet_Discard(tasks, args[0]) < 0 || (parent != NULL && awaited_by_discard((Future *)args[0], parent) < 0);
        result = failed ? NULL : Py_NewRef(Py_None);
    }
    else if (!PyErr_Occurred()) {
        PyObject *method = PyObject_GetAttr(state->asyncio_TaskGroup, state->str__on_task_done);
        PyObject *bound = method ? PyMethod_New(method, self) : NULL;
        result = bound ? PyObject_Vectorcall(bound, args, (size_t)nargs, kwnames) : NULL;
        Py_XDECREF(method);
        Py_XDECREF(bound);
    }
    Py_XDECREF(parent);
    Py_XDECREF(tasks);
    return result;
}

PyDoc_STRVAR(create_task_doc, "Run the coroutine coro as a Task of the group; return the task.\n\n"
                              "name and context, and what else that Python knows, are as in asyncio.create_task().\n"
                              "Raises RuntimeError unless the group is entered and goes on, TypeError if coro is no\n"
                              "coroutine.\n\n"
                              "asyncio documentation: Coroutines and Tasks, Task Groups.");

PyDoc_STRVAR(TaskGroup_doc, "The native half of asyncio_c.TaskGroup.");

#define METHOD(function) AC_FAST(function), METH_METHOD | METH_FASTCALL | METH_KEYWORDS

static PyMethodDef TaskGroup_methods[] = {
    { "_on_task_done", METHOD(TaskGroup_on_task_done), "_on_task_done($self, task, /)\n--\n\nForget a task." },
    { 0 },
};

static PyType_Slot TaskGroup_slots[] = {
    { Py_tp_doc, (void *)TaskGroup_doc },
    { Py_tp_methods, TaskGroup_methods },
    { 0, NULL },
};

static PyType_Spec TaskGroup_spec = {
    .name = "asyncio_c._core.TaskGroup",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = TaskGroup_slots,
};

int
task_group_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->TaskGroup_type, &TaskGroup_spec, NULL) < 0) {
        return -1;
    }
    if (coroutine_function_add_method(module, state->TaskGroup_type, state->asyncio_TaskGroup, "create_task",
                                      TaskGroup_create_task, create_task_doc)
        < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->TaskGroup_type);
}
