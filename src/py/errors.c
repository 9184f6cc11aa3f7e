/* Between C's errors and Python's exceptions; errors.h is the manual.  Layer: py. */
#include "py/errors.h"

#include "py/state.h"

#include <errno.h>

int
raise_errno(int negative_errno)
{
    errno = -negative_errno;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

PyObject *
exception_of_failure(void)
{
    if (AC_UNLIKELY(PyErr_Occurred() == NULL)) {
        PyErr_SetString(PyExc_SystemError, "a call failed without an exception");
    }
    return compat_exception_take();
}

void
raise_instance_steal(PyObject *error)
{
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
}

bool
exception_leaves_loop(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* Compiled each time: it is rare.  The exception shows no frame of this in its traceback. */
int
run_bytecode(void)
{
    PyObject *globals = PyDict_New();
    PyObject *result = globals ? PyRun_String("None", Py_eval_input, globals, globals) : NULL;
    Py_XDECREF(globals);
    Py_XDECREF(result);
    if (result != NULL) {
        return 0;
    }
    PyObject *exception = compat_exception_take();
    (void)PyException_SetTraceback(exception, Py_None);
    compat_exception_restore_steal(exception);
    return -1;
}

PyObject *
handling_begin(PyObject *exception)
{
    PyObject *outer = PyErr_GetHandledException();
    PyErr_SetHandledException(exception);
    return outer;
}

void
handling_end_steal(PyObject *outer)
{
    PyErr_SetHandledException(outer);
    Py_XDECREF(outer);
}

int
refuse_delete(PyObject *value, const char *attribute, const char *class)
{
    if (value != NULL) {
        return 0;
    }
    if (AC_PY314) {
        PyErr_Format(PyExc_AttributeError, "attribute '%s' of '%s' objects cannot be deleted", attribute, class);
    }
    else {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
    }
    return -1;
}

int
raise_no_attribute(PyObject *object, const char *name)
{
    PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attribute '%s'", Py_TYPE(object)->tp_name, name);
    return -1;
}

PyObject *
stop_iteration_take_value(void)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyObject *stop = compat_exception_take();
    if (!PyErr_GivenExceptionMatches(stop, PyExc_StopIteration)) {
        compat_exception_restore_steal(stop); /* on 3.11 the instance is made here, or a MemoryError instead */
        return NULL;
    }
    PyObject *value = Py_NewRef(((PyStopIterationObject *)stop)->value);
    Py_DECREF(stop);
    return value;
}

/* StopIteration(value), made without the tuple of arguments being taken apart again, as a call of the type would: from 3.12 on
   `await` of whatever is not a coroutine in Python ends this way.  Returns NULL with MemoryError set. */
static PyObject *
stop_iteration_new(PyObject *value)
{
    PyObject *args = PyTuple_Pack(1, value);
    PyObject *stop =
        args ? ((PyTypeObject *)PyExc_StopIteration)->tp_new((PyTypeObject *)PyExc_StopIteration, args, NULL) : NULL;
    if (stop != NULL) {
        Py_XSETREF(((PyStopIterationObject *)stop)->value, Py_NewRef(value));
    }
    Py_XDECREF(args);
    return stop;
}

/* A generator ends as coroutines do, and futures. */
static const char program_that_returns[] = "def returns():\n"
                                           "    return 1\n"
                                           "    yield\n"
                                           "try:\n"
                                           "    raise ValueError\n"
                                           "except ValueError as handled:\n"
                                           "    try:\n"
                                           "        next(returns())\n"
                                           "    except StopIteration as stop:\n"
                                           "        has_context = stop.__context__ is handled\n";

/* On 3.11 it has, from 3.14 on it has not; in between it depends on the release. */
int
stop_iteration_probe(struct state *state)
{
    state->stop_has_context = !AC_PY314;
    if (!AC_PY312 || AC_PY314) {
        return 0;
    }
    PyObject *globals = PyDict_New();
    PyObject *done = globals ? PyRun_String(program_that_returns, Py_file_input, globals, globals) : NULL;
    PyObject *has_context = done ? PyMapping_GetItemString(globals, "has_context") : NULL;
    state->stop_has_context = has_context == Py_True;
    Py_XDECREF(has_context);
    Py_XDECREF(done);
    Py_XDECREF(globals);
    return has_context ? 0 : -1;
}

PyObject *
send_result_as_method(struct state *state, PySendResult outcome, PyObject *result)
{
    if (outcome != PYGEN_RETURN) {
        return result;
    }
    PyObject *stop = stop_iteration_new(result);
    Py_DECREF(result);
    if ((AC_PY314 || (AC_PY312 && !state->stop_has_context)) && stop != NULL) {
        compat_exception_restore_steal(stop);
    }
    else {
        raise_instance_steal(stop);
    }
    return NULL;
}
