/* The lazy half of asyncio's _enter_task/_leave_task; registry.h says why it is right.  Layer: core. */
#include "core/registry.h"

/* swap(loop, None or task) of 3.12 and later; up to 3.13 the dictionary is public enough to be written at once. */
static int
swap(Loop *loop, PyObject *task)
{
    struct state *state = loop->state;
    if (state->current_tasks != NULL) {
        if (task != Py_None) {
            return PyDict_SetItem(state->current_tasks, (PyObject *)loop, task);
        }
        /* None would do for current_task(), but stock tasks want to find the place empty. */
        if (PyDict_DelItem(state->current_tasks, (PyObject *)loop) < 0) {
            if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
                return -1;
            }
            PyErr_Clear();
        }
        return 0;
    }
    PyObject *args[] = { (PyObject *)loop, task };
    PyObject *previous = PyObject_Vectorcall(state->swap_current_task, args, 2, NULL);
    if (previous == NULL) {
        return -1;
    }
    Py_DECREF(previous);
    return 0;
}

int
registry_publish(Loop *loop, PyObject *task)
{
    /* If it is held here and in the published place only, it ends now, and what that runs has no current task. */
    if (loop->entered_task != NULL && Py_REFCNT(loop->entered_task) <= 2 && registry_withdraw(loop) < 0) {
        return -1;
    }
    if (swap(loop, task) < 0) {
        return -1;
    }
    PyObject *previous = loop->entered_task;
    loop->entered_task = Py_NewRef(task);
    Py_XDECREF(previous);
    return 0;
}

int
registry_withdraw(Loop *loop)
{
    PyObject *previous = loop->entered_task;
    loop->entered_task = NULL;
    int result = swap(loop, Py_None);
    Py_DECREF(previous);
    return result;
}
