/* What transports of all kinds have in common.  Layer: net. */
#include "net/transport.h"

#include "py/errors.h"

Loop *
transport_loop_borrow(struct state *state, PyObject *loop)
{
    Loop *native = loop ? loop_cast(state, loop) : NULL;
    if (native == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport has no event loop of asyncio_c");
    }
    return native;
}

int
transport_call_soon(struct state *state, PyObject *loop, PyObject *object, PyObject *method_name, PyObject *argument,
                    PyObject *context)
{
    PyObject *method = PyObject_GetAttr(object, method_name);
    if (method == NULL) {
        return -1;
    }
    PyObject *args[4] = { loop, method };
    size_t count = 2;
    if (argument != NULL) {
        args[count++] = argument;
    }
    bool given = transport_is_set(context);
    args[count] = context;
    PyObject *handle =
        PyObject_VectorcallMethod(state->str_call_soon, args, count, given ? state->context_kwnames : NULL);
    Py_DECREF(method);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

int
transport_fatal_error(PyObject *self, const char *message)
{
    if (exception_leaves_loop()) {
        return -1;
    }
    PyObject *exception = compat_exception_take(), *outer = PyErr_GetHandledException();
    PyErr_SetHandledException(exception);
    PyObject *result = PyObject_CallMethod(self, "_fatal_error", "Os", exception, message);
    PyErr_SetHandledException(outer);
    Py_XDECREF(outer);
    Py_DECREF(exception);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

int
transport_check_base(PyTypeObject *base, size_t size)
{
    if (base->tp_basicsize != (Py_ssize_t)size || base->tp_dictoffset != 0) {
        PyErr_SetString(PyExc_ImportError, "asyncio_c was built for another layout of asyncio's transports");
        return -1;
    }
    return 0;
}
