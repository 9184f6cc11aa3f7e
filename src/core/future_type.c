/* The Python face of Future.  Layer: core. */
#include "core/future_entries.h"
#include "py/args.h"
#include "py/errors.h"

static int
check_initialized(Future *self)
{
    if (AC_UNLIKELY(self->loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
        return -1;
    }
    return 0;
}

static PyObject *
Future_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    Future *self = state ? (Future *)freelist_alloc(&state->Future_freelist, state->Future_type, type) : NULL;
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int
Future_init(Future *self, PyObject *args, PyObject *kwargs)
{
    FUTURE_GUARD(self);
    static char *keywords[] = { "loop", NULL };
    PyObject *loop = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:Future", keywords, &loop)) {
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
    future_reset(self);
    self->future_state = FUTURE_PENDING;
    self->blocking = self->log_traceback = false;
    int result = future_init(self, self->state, loop);
    Py_DECREF(loop);
    return result;
}

static int
Future_traverse(Future *self, visitproc visit, void *arg)
{
    return future_traverse(self, visit, arg);
}

static int
Future_clear(Future *self)
{
    future_clear(self);
    return 0;
}

void
Future_finalize(Future *self)
{
    if (!self->log_traceback || self->exception == NULL || self->loop == NULL) {
        return;
    }
    self->log_traceback = false;
    PyObject *saved = compat_exception_take();
    PyObject *type = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__name__");
    PyObject *message = type ? PyUnicode_FromFormat("%U exception was never retrieved", type) : NULL;
    future_call_exception_handler(self, message, "future", self->exception);
    Py_XDECREF(message);
    Py_XDECREF(type);
    if (saved != NULL) {
        compat_exception_restore_steal(saved);
    }
}

static void
Future_dealloc(Future *self)
{
    struct state *state = self->state;
    bool exact = Py_TYPE(self) == state->Future_type;
    if (AC_UNLIKELY(!exact || self->log_traceback) && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return; /* resurrected */
    }
    /* A future may be the result of a future that is the result of one ...: the C stack must not grow with that. */
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Future_dealloc);
    future_dealloc_fields(self);
    freelist_free(&state->Future_freelist, state->Future_type, (PyObject *)self);
    Py_TRASHCAN_END;
}

static PyObject *
Future_repr(Future *self)
{
    FUTURE_GUARD(self);
    if (check_initialized(self) < 0) {
        return NULL;
    }
    return PyObject_CallOneArg(self->state->future_repr, (PyObject *)self);
}

static PyObject *
Future_await_method(Future *self, PyObject *Py_UNUSED(ignored))
{
    return Future_await(self);
}

/* result() and exception() find an uninitialized future in an invalid state; the rest calls it a RuntimeError. */
static int
check_readable(Future *self)
{
    if (AC_UNLIKELY(self->loop == NULL)) {
        PyErr_SetString(self->state->InvalidStateError, "Future object is not initialized.");
        return -1;
    }
    return 0;
}

static PyObject *
Future_result(Future *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    return check_readable(self) < 0 ? NULL : future_get_result(self);
}

static PyObject *
Future_exception(Future *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    if (check_readable(self) < 0) {
        return NULL;
    }
    if (self->future_state == FUTURE_CANCELLED) {
        raise_instance_steal(future_make_cancelled_error(self));
        return NULL;
    }
    if (self->future_state == FUTURE_PENDING) {
        PyErr_SetString(self->state->InvalidStateError, "Exception is not set.");
        return NULL;
    }
    self->log_traceback = false;
    return Py_NewRef(self->exception ? self->exception : Py_None);
}

static PyObject *
Future_set_result(Future *self, PyObject *result)
{
    FUTURE_GUARD(self);
    if (check_initialized(self) < 0 || future_set_result(self, result) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Future_set_exception(Future *self, PyObject *exception)
{
    FUTURE_GUARD(self);
    if (check_initialized(self) < 0 || future_set_exception(self, exception) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Future_add_done_callback(Future *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    FUTURE_GUARD(self);
    static const char *const names[] = { "fn" };
    PyObject *context;
    if (args_require("add_done_callback", nargs, names, 1) < 0
        || args_parse_context("add_done_callback", self->state->str_context, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Future object");
        return NULL;
    }
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "add_done_callback() takes exactly 1 positional argument (%zd given)", nargs);
        return NULL;
    }
    if (future_add_callback(self, args[0], context) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Future_remove_done_callback(Future *self, PyObject *callback)
{
    FUTURE_GUARD(self);
    if (check_initialized(self) < 0) {
        return NULL;
    }
    Py_ssize_t removed = future_remove_callback(self, callback);
    return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
}

static PyObject *
Future_cancel(Future *self, PyObject *args, PyObject *kwargs)
{
    FUTURE_GUARD(self);
    static char *keywords[] = { "msg", NULL };
    PyObject *message = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", keywords, &message) || check_initialized(self) < 0) {
        return NULL;
    }
    int result = future_cancel(self, message);
    return result < 0 ? NULL : PyBool_FromLong(result);
}

static PyObject *
Future_cancelled(Future *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    return PyBool_FromLong(self->loop != NULL && self->future_state == FUTURE_CANCELLED);
}

static PyObject *
Future_done(Future *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    return PyBool_FromLong(self->loop != NULL && self->future_state != FUTURE_PENDING);
}

static PyObject *
Future_get_loop(Future *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    return check_initialized(self) < 0 ? NULL : Py_NewRef(self->loop);
}

static PyObject *
Future__make_cancelled_error(Future *self, PyObject *Py_UNUSED(ignored))
{
    FUTURE_GUARD(self);
    return future_make_cancelled_error(self);
}

static PyObject *
Future_get_class(Future *self, void *Py_UNUSED(closure))
{
    struct state *state = self->state;
    PyTypeObject *type = Py_TYPE(self);
    if (type == state->Future_type) {
        return Py_NewRef(state->asyncio_Future);
    }
    if (type == state->Task_type) {
        return Py_NewRef(state->asyncio_Task);
    }
    if (type == state->GatheringFuture_type) {
        return Py_NewRef(state->asyncio_GatheringFuture);
    }
    return Py_NewRef((PyObject *)type);
}

/* closure: the offset of an owned PyObject * in Future; NULL reads as None. */
static PyObject *
Future_get_object(Future *self, void *closure)
{
    FUTURE_GUARD(self);
    PyObject *value = *(PyObject **)((char *)self + (size_t)closure);
    return Py_NewRef(value ? value : Py_None);
}

static PyObject *
Future_get_outcome(Future *self, void *closure)
{
    FUTURE_GUARD(self);
    return check_initialized(self) < 0 ? NULL : Future_get_object(self, closure);
}

static PyObject *
Future_get_state(Future *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    static const char *const names[] = { "PENDING", "CANCELLED", "FINISHED" };
    return check_initialized(self) < 0 ? NULL : PyUnicode_InternFromString(names[self->future_state]);
}

static PyObject *
Future_get_blocking(Future *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return PyBool_FromLong(self->loop != NULL && self->blocking);
}

static int
Future_set_blocking(Future *self, PyObject *value, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    if (check_initialized(self) < 0) {
        return -1;
    }
    if (refuse_delete(value, "_asyncio_future_blocking", "Future") < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    self->blocking = truth;
    return 0;
}

static PyObject *
Future_get_log_traceback(Future *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return check_initialized(self) < 0 ? NULL : PyBool_FromLong(self->log_traceback);
}

static int
Future_set_log_traceback(Future *self, PyObject *value, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    if (refuse_delete(value, "_log_traceback", "Future") < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    if (truth) {
        PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
        return -1;
    }
    self->log_traceback = false;
    return 0;
}

/* closure: the offset of an object in struct future_rare. */
static PyObject *
Future_get_rare(Future *self, void *closure)
{
    FUTURE_GUARD(self);
    PyObject *value = self->rare ? *(PyObject **)((char *)self->rare + (size_t)closure) : NULL;
    return Py_NewRef(value ? value : Py_None);
}

static int
Future_set_cancel_message(Future *self, PyObject *value, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    if (refuse_delete(value, "_cancel_message", "Future") < 0) {
        return -1;
    }
    return future_set_cancel_message(self, value);
}

static PyObject *
Future_get_callbacks(Future *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return check_initialized(self) < 0 ? NULL : future_callbacks_list(self);
}

static PyObject *
Future_get_awaited_by(Future *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return awaited_by_get(self);
}

PyDoc_STRVAR(result_doc,
             "result($self, /)\n--\n\n"
             "Return the result.\n\n"
             "Raises the exception that was set, CancelledError if cancelled, InvalidStateError if not done.\n\n"
             "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(exception_doc, "exception($self, /)\n--\n\n"
                            "Return the exception that was set, or None.\n\n"
                            "Raises CancelledError if cancelled, InvalidStateError if not done.\n\n"
                            "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(set_result_doc, "set_result($self, result, /)\n--\n\n"
                             "Finish the future with a result.  Raises InvalidStateError if it is done.\n\n"
                             "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(set_exception_doc, "set_exception($self, exception, /)\n--\n\n"
                                "Finish the future with an exception.  Raises InvalidStateError if it is done.\n\n"
                                "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(add_done_callback_doc, "add_done_callback($self, fn, /, *, context=None)\n--\n\n"
                                    "Have fn(future) called in the turn after the future is done.\n\n"
                                    "It runs in context, a contextvars.Context, or in a copy of the current one.\n\n"
                                    "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(remove_done_callback_doc, "remove_done_callback($self, fn, /)\n--\n\n"
                                       "Remove every callback that equals fn; return how many.\n\n"
                                       "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(cancel_doc, "cancel($self, /, msg=None)\n--\n\n"
                         "Cancel the future; return False if it was done already.\n\n"
                         "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(cancelled_doc, "cancelled($self, /)\n--\n\n"
                            "Return True if the future was cancelled.\n\n"
                            "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(done_doc, "done($self, /)\n--\n\n"
                       "Return True if the future has a result or an exception, or was cancelled.\n\n"
                       "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(get_loop_doc, "get_loop($self, /)\n--\n\n"
                           "Return the loop that the future belongs to.\n\n"
                           "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(make_cancelled_error_doc, "_make_cancelled_error($self, /)\n--\n\n"
                                       "Return the CancelledError to raise, with the message of cancel().");
PyDoc_STRVAR(await_doc, "__await__($self, /)\n--\n\nReturn an iterator that waits for the result.");

static PyMethodDef Future_methods[] = {
    { "result", (PyCFunction)Future_result, METH_NOARGS, result_doc },
    { "exception", (PyCFunction)Future_exception, METH_NOARGS, exception_doc },
    { "set_result", (PyCFunction)Future_set_result, METH_O, set_result_doc },
    { "set_exception", (PyCFunction)Future_set_exception, METH_O, set_exception_doc },
    { "add_done_callback", AC_FAST(Future_add_done_callback), METH_FASTCALL | METH_KEYWORDS, add_done_callback_doc },
    { "remove_done_callback", (PyCFunction)Future_remove_done_callback, METH_O, remove_done_callback_doc },
    { "cancel", AC_FAST(Future_cancel), METH_VARARGS | METH_KEYWORDS, cancel_doc },
    { "cancelled", (PyCFunction)Future_cancelled, METH_NOARGS, cancelled_doc },
    { "done", (PyCFunction)Future_done, METH_NOARGS, done_doc },
    { "get_loop", (PyCFunction)Future_get_loop, METH_NOARGS, get_loop_doc },
    { "_make_cancelled_error", (PyCFunction)Future__make_cancelled_error, METH_NOARGS, make_cancelled_error_doc },
    { "__await__", (PyCFunction)Future_await_method, METH_NOARGS | METH_COEXIST, await_doc },
    { "__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, "Return Future[item], for annotations." },
    { 0 },
};

static PyGetSetDef Future_getset[] = {
    { "__class__", (getter)Future_get_class, NULL, "asyncio's class, so that isinstance() holds.", NULL },
    { "_state", (getter)Future_get_state, NULL, NULL, NULL },
    { "_asyncio_future_blocking", (getter)Future_get_blocking, (setter)Future_set_blocking, NULL, NULL },
    { "_log_traceback", (getter)Future_get_log_traceback, (setter)Future_set_log_traceback, NULL, NULL },
    { "_callbacks", (getter)Future_get_callbacks, NULL, NULL, NULL },
    { "_cancel_message", (getter)Future_get_rare, (setter)Future_set_cancel_message, NULL,
      (void *)offsetof(struct future_rare, cancel_message) },
    { "_asyncio_awaited_by", (getter)Future_get_awaited_by, NULL, "The tasks and futures that wait for it, or None.",
      NULL },
    { "_loop", (getter)Future_get_object, NULL, NULL, (void *)offsetof(Future, loop) },
    { "_result", (getter)Future_get_outcome, NULL, NULL, (void *)offsetof(Future, result) },
    { "_exception", (getter)Future_get_outcome, NULL, NULL, (void *)offsetof(Future, exception) },
    { "_source_traceback", (getter)Future_get_rare, NULL, NULL,
      (void *)offsetof(struct future_rare, source_traceback) },
    { "__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL },
    { 0 },
};

static PyMemberDef Future_members[] = {
    { "__dictoffset__", T_PYSSIZET, offsetof(Future, dict), READONLY, NULL },
    { "__weaklistoffset__", T_PYSSIZET, offsetof(Future, weakreflist), READONLY, NULL },
    { 0 },
};

PyDoc_STRVAR(Future_doc, "Future(*, loop=None)\n--\n\n"
                         "A result that is not there yet.\n\n"
                         "Like asyncio.Future; loop is the event loop it belongs to.\n\n"
                         "asyncio documentation: Futures, Future Object.");

static PyType_Slot Future_slots[] = {
    { Py_tp_doc, (void *)Future_doc },   { Py_tp_new, Future_new },
    { Py_tp_init, Future_init },         { Py_tp_dealloc, Future_dealloc },
    { Py_tp_finalize, Future_finalize }, { Py_tp_traverse, Future_traverse },
    { Py_tp_clear, Future_clear },       { Py_tp_repr, Future_repr },
    { Py_tp_iter, Future_await },        { Py_am_await, Future_await },
    { Py_tp_methods, Future_methods },   { Py_tp_getset, Future_getset },
    { Py_tp_members, Future_members },   { 0, NULL },
};

static PyType_Spec Future_spec = {
    .name = "asyncio_c._core.Future",
    .basicsize = sizeof(Future),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Future_slots,
};

int
future_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Future_type, &Future_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Future_type);
}
