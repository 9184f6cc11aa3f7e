/* A StopIteration that is raised again and again; spare_stop.h says why.  Layer: py. */
#include "py/spare_stop.h"

#include "py/errors.h"

/* Has it another value, and another item in its tuple; takes none. */
static void
set_value(PyObject *exception, PyObject *value)
{
    PyStopIterationObject *stop = (PyStopIterationObject *)exception;
    PyObject *item = PyTuple_GET_ITEM(stop->args, 0);
    PyTuple_SET_ITEM(stop->args, 0, Py_NewRef(value));
    Py_XSETREF(stop->value, Py_NewRef(value));
    Py_XDECREF(item);
}

/* Whether it is as it was made, but for the value. */
static bool
is_as_new(PyObject *exception)
{
    PyStopIterationObject *stop = (PyStopIterationObject *)exception;
    PyObject *args = stop->args;
    bool bare = !stop->traceback && !stop->context && !stop->cause && !stop->notes && !stop->dict;
    return bare && !stop->suppress_context && PyTuple_CheckExact(args) && PyTuple_GET_SIZE(args) == 1
           && Py_REFCNT(args) == 1;
}

void
spare_stop_take_back(struct spare_stop *spare)
{
    spare->lent_to = NULL;
    PyObject *exception = spare->exception;
    if (AC_LIKELY(exception != NULL && Py_REFCNT(exception) == 1 && is_as_new(exception))) {
        set_value(exception, Py_None);
    }
    else {
        Py_CLEAR(spare->exception);
    }
}

/* Whether it would get a context. */
static bool
has_context(struct state *state)
{
    if (AC_PY314 || !state->stop_has_context) {
        return false;
    }
    PyObject *handled = PyErr_GetHandledException();
    Py_XDECREF(handled);
    return handled != NULL;
}

/* Raises it with `value`, or returns false.  Runs Python. */
static bool
lend(struct state *state, PyObject *self, PyObject *value)
{
    struct spare_stop *spare = &state->spare_stop;
    if (!AC_PY312 || !AC_FREELISTS || !compat_is_temporary(self) || has_context(state)) {
        return false;
    }
    if (AC_UNLIKELY(spare->lent_to != NULL)) {
        spare_stop_take_back(spare); /* something in C holds the iterator that has it, which is not over with its end */
    }
    if (AC_UNLIKELY(spare->lent_to != NULL)) { /* that has run Python */
        return false;
    }
    PyObject *exception = spare->exception;
    if (AC_UNLIKELY(exception == NULL || Py_REFCNT(exception) != 1)) { /* the collector has shown it to somebody */
        exception = PyObject_CallOneArg(PyExc_StopIteration, Py_None); /* may collect garbage */
        if (exception == NULL || spare->lent_to != NULL) {
            PyErr_Clear();
            Py_XDECREF(exception);
            return false;
        }
        Py_XSETREF(spare->exception, exception);
    }
    PyObject *args = ((PyStopIterationObject *)exception)->args;
    if (!PyObject_GC_IsTracked(args)) {
        PyObject_GC_Track(args); /* the collector forgets tuples that have nothing for it to visit */
    }
    set_value(exception, value);
    spare->lent_to = self;
    compat_exception_restore_steal(Py_NewRef(exception));
    return true;
}

PyObject *
spare_stop_next(struct state *state, PyObject *self, PySendResult outcome, PyObject *result)
{
    if (outcome != PYGEN_RETURN) {
        return result;
    }
    if (AC_LIKELY(result == Py_None || lend(state, self, result))) {
        Py_DECREF(result);
        return NULL;
    }
    return send_result_as_method(state, outcome, result);
}
