/* The Python face of Task.  Layer: core. */
#include "core/task_parts.h"
#include "py/args.h"
#include "py/errors.h"

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

/* The loop may be another thread's. */
static int
init_in_loop(Task *self, PyObject *coroutine, PyObject *loop, PyObject *name, PyObject *context, bool eager_start)
{
    GUARD(loop_cast(self->state, loop), self);
    if (AC_FREE_THREADED) {
        registry_remove(self); /* the list is the old loop's, which may end with the next line */
    }
    future_reset((Future *)self);
    self->future_state = FUTURE_PENDING;
    self->blocking = self->log_traceback = false;
    if (task_init_future(self, self->state, loop, coroutine, context) < 0) {
        return -1;
    }
    task_clear(self);
    self->must_cancel = false;
    self->cancels_requested = 0;
    return task_init_coroutine(self, coroutine, name, context) < 0 ? -1 : task_begin(self, eager_start);
}

/* From 3.15 on a task cannot be made anew. */
static int
check_fresh(Task *self)
{
    if (AC_PY315 && self->loop != NULL) {
        PyErr_Format(PyExc_RuntimeError, "%T object is already initialized", self);
        return -1;
    }
    return 0;
}

/* The loop that it had may be another one. */
static int
init_again(Task *self, PyObject *coroutine, PyObject *loop, PyObject *name, PyObject *context, bool eager_start)
{
    FUTURE_GUARD(self);
    return check_fresh(self) < 0 ? -1 : init_in_loop(self, coroutine, loop, name, context, eager_start);
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
    if (check_fresh(self) < 0) {
        return -1;
    }
    loop = loop == Py_None ? future_default_loop(self->state) : Py_NewRef(loop);
    if (loop == NULL) {
        return -1;
    }
    name = name == Py_None ? NULL : name;
    context = context == Py_None ? NULL : context;
    int result = future_begins((Future *)self) ? init_in_loop(self, coroutine, loop, name, context, eager_start)
                                               : init_again(self, coroutine, loop, name, context, eager_start);
    Py_DECREF(loop);
    return result;
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
    registry_remove(self);
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
    registry_remove(self); /* before anything runs that could find it there */
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
    FUTURE_GUARD(self);
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
    FUTURE_GUARD(self);
    return PyLong_FromLong(self->cancels_requested);
}

static PyObject *
Task_uncancel(Task *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
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
    FUTURE_GUARD(self);
    return Py_NewRef(self->coroutine ? self->coroutine : Py_None);
}

static PyObject *
Task_get_context(Task *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    bool initialized = self->context.context != NULL || self->context.variables != NULL;
    return initialized ? Py_XNewRef(lazy_context_borrow(&self->context, self->state)) : Py_NewRef(Py_None);
}

static PyObject *
Task_get_name(Task *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    if (self->name == NULL) {
        self->name = PyUnicode_FromFormat("Task-%llu", (unsigned long long)self->number);
    }
    return Py_XNewRef(self->name);
}

static PyObject *
Task_set_name(Task *self, PyObject *name)
{
    FUTURE_GUARD(self);
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
    FUTURE_GUARD(self);
    return Task_get_coro(self, NULL);
}

static PyObject *
Task_get_fut_waiter(Task *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return Py_NewRef(self->fut_waiter ? self->fut_waiter : Py_None);
}

static PyObject *
Task_get_must_cancel(Task *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return PyBool_FromLong(self->must_cancel);
}

static PyObject *
Task_get_log_destroy_pending(Task *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return PyBool_FromLong(self->log_destroy_pending);
}

static int
Task_set_log_destroy_pending(Task *self, PyObject *value, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
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

PyDoc_STRVAR(Task_doc, "Task(coro, *, loop=None, name=None, context=None" COMPAT_TASK_EAGER_START ")\n--\n\n"
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
    if (task_step_register(module) < 0
        || state_add_type(module, &state->Task_type, &Task_spec, state->Future_type) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Task_type);
}
