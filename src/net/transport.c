/* What the transports have in common.  Layer: net. */
#include "net/transport.h"

#include "core/handle.h"
#include "py/errors.h"

Loop *
transport_loop_borrow(struct state *state, PyObject *object)
{
    Loop *loop = object ? loop_cast(state, object) : NULL;
    if (loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport has no event loop of asyncio_c");
    }
    return loop;
}

/* The same where nobody has overridden call_soon(). */
static int
call_soon_fused(Loop *loop, PyObject *method, PyObject *argument, PyObject *context)
{
    GUARD(loop, loop); /* a transport's _loop may be set */
    Handle *handle = handle_new(loop->state, (PyObject *)loop, method, &argument, argument != NULL,
                                transport_is_set(context) ? context : NULL);
    int result = handle ? loop_push(loop, &handle->runnable) : -1;
    Py_XDECREF((PyObject *)handle);
    return result;
}

/* The same for arguments that are held. */
static int
call_method_soon(struct state *state, PyObject *object, PyObject *loop, PyObject *method_name, PyObject *argument,
                 PyObject *context)
{
    PyObject *method = PyObject_GetAttr(object, method_name);
    Loop *ours = loop_cast(state, loop);
    if (method != NULL && ours != NULL && ours->fused && !ours->closed) {
        int result = call_soon_fused(ours, method, argument, context);
        Py_DECREF(method);
        return result;
    }
    PyObject *args[4] = { loop, method };
    size_t count = 2;
    if (argument != NULL) {
        args[count++] = argument;
    }
    args[count] = context;
    PyObject *kwnames = transport_is_set(context) ? state->context_kwnames : NULL;
    PyObject *handle = method ? PyObject_VectorcallMethod(state->str_call_soon, args, count, kwnames) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

int
transport_call_soon(struct state *state, PyObject *object, PyObject *loop, PyObject *method_name, PyObject *argument,
                    PyObject *context)
{
    /* What is a field of the transport may be deleted; then None says what it lacks.  The look-up can run Python, and that can
       close the transport. */
    object = Py_NewRef(object ? object : Py_None);
    loop = Py_NewRef(loop ? loop : Py_None);
    Py_XINCREF(context);
    transport_acts(state, loop); /* what is called soon begins or ends a connection */
    int result = call_method_soon(state, object, loop, method_name, argument, context);
    Py_XDECREF(context);
    Py_DECREF(loop);
    Py_DECREF(object);
    return result;
}
int
transport_end_soon(struct state *state, PyObject *object, PyObject *loop, PyObject *exception, PyObject *context,
                   bool *closing, int *conn_lost)
{
    bool was_closing = *closing;
    *closing = true;
    ++*conn_lost;
    int result = transport_call_soon(state, object, loop, state->str__call_connection_lost, exception, context);
    if (AC_UNLIKELY(result < 0) && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        *closing = was_closing;
        --*conn_lost;
    }
    return result;
}

int
transport_call_handling(PyObject *object, const char *method, const char *message)
{
    PyObject *exception = compat_exception_take(), *outer = handling_begin(exception);
    PyObject *result = PyObject_CallMethod(object, method, message ? "Os" : "O", exception, message);
    handling_end_steal(outer);
    Py_DECREF(exception);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

int
transport_fatal_error(PyObject *self, const char *message)
{
    return exception_leaves_loop() ? -1 : transport_call_handling(self, "_fatal_error", message);
}

PyObject *
transport_enter_context(struct state *state, struct lazy_context *lazy)
{
    PyObject *exception = compat_exception_take();
    PyObject *context = Py_XNewRef(lazy_context_borrow(lazy, state));
    if (context == NULL || PyContext_Enter(context) < 0) {
        PyErr_Clear();
        Py_CLEAR(context);
    }
    compat_exception_restore_steal(exception);
    return context;
}

void
transport_leave_context_steal(PyObject *context, PyObject *self)
{
    if (context == NULL) {
        return;
    }
    PyObject *exception = compat_exception_take();
    if (PyContext_Exit(context) < 0) {
        PyErr_WriteUnraisable(self);
    }
    Py_DECREF(context);
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
}

int
transport_count_lost_write(struct state *state, int *conn_lost, const char *warning)
{
    int count = *conn_lost;
    *conn_lost = count < INT_MAX ? count + 1 : count; /* 0 would say that the connection is there */
    if (count < TRANSPORT_WARN_AFTER_WRITES) {
        return 0;
    }
    PyObject *result = PyObject_CallMethod(state->asyncio_logger, "warning", "s", warning);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

PyObject *
transport_get_mark(PyObject *self, void *offset)
{
    return PyLong_FromSsize_t(*(Py_ssize_t *)((char *)self + (uintptr_t)offset));
}

int
transport_set_mark(PyObject *self, PyObject *value, void *offset)
{
    Py_ssize_t mark = PY_SSIZE_T_MAX;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "a water mark cannot be deleted");
        return -1;
    }
    if (!PyFloat_Check(value) || PyFloat_AS_DOUBLE(value) < (double)PY_SSIZE_T_MAX) {
        PyObject *number = PyNumber_Long(value);
        mark = number ? PyNumber_AsSsize_t(number, NULL) : -1;
        Py_XDECREF(number);
        if (mark == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    *(Py_ssize_t *)((char *)self + (uintptr_t)offset) = mark;
    return 0;
}

int
transport_add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec, PyObject *base, size_t own_offset)
{
    PyTypeObject *base_type = (PyTypeObject *)base;
    if (base_type->tp_basicsize != (Py_ssize_t)own_offset || base_type->tp_dictoffset != 0) {
        PyErr_SetString(PyExc_ImportError, "asyncio_c was built for another layout of asyncio's transports");
        return -1;
    }
    return state_add_type(module, slot, spec, base_type) < 0 ? -1 : PyModule_AddType(module, *slot);
}

int
loop_add_methods(struct state *state, PyMethodDef *methods, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PyObject *method = PyDescr_NewMethod(state->Loop_type, &methods[i]);
        int result = method ? PyObject_SetAttrString((PyObject *)state->Loop_type, methods[i].ml_name, method) : -1;
        Py_XDECREF(method);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}
