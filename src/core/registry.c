/* The lazy half of asyncio's _enter_task/_leave_task; registry.h says why it is right.  Layer: core. */
#include "core/registry.h"

#include "py/running.h"

/* What asyncio's functions do, up to 3.13 with a public enough dictionary, and from 3.14 on with a reference of the thread.
   `task` is NULL to take back what is published. */
static int
publish_in_dictionary(Loop *loop, PyObject *task)
{
    struct state *state = loop->state;
    if (task != NULL) {
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

static int
swap(Loop *loop, PyObject *task)
{
    struct state *state = loop->state;
    if (state->current_tasks != NULL) {
        return publish_in_dictionary(loop, task);
    }
    struct compat_running *place = running_place(state);
    if (AC_LIKELY(place != NULL && place->loop == (PyObject *)loop)) {
        PyObject *previous = place->task;
        place->task = Py_XNewRef(task);
        Py_XDECREF(previous); /* the loop holds it, too */
        return 0;
    }
    PyObject *args[] = { (PyObject *)loop, task ? task : Py_None };
    PyObject *previous = PyObject_Vectorcall(state->swap_current_task, args, 2, NULL);
    Py_XDECREF(previous);
    return previous ? 0 : -1;
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

static int
publish_again(struct deferred *Py_UNUSED(deferred), Loop *loop)
{
    return loop->entered_task ? swap(loop, loop->entered_task) : 0;
}

void
registry_doubt(Loop *loop)
{
    struct deferred *doubt = &loop->doubt;
    if (loop->entered_task != NULL && !list_linked(&doubt->link) && loop_defer(loop, doubt)) {
        *doubt = (struct deferred){ .link = doubt->link, .run = publish_again, .owner = Py_NewRef((PyObject *)loop) };
    }
}

int
registry_withdraw(Loop *loop)
{
    PyObject *previous = loop->entered_task;
    loop->entered_task = NULL;
    int result = swap(loop, NULL);
    Py_DECREF(previous);
    return result;
}

PyObject *
registry_current_borrow(Loop *loop)
{
    struct state *state = loop->state;
    PyObject *task = loop->entered_task, *current;
    if (task == NULL) {
        return NULL;
    }
    if (state->current_tasks != NULL) {
        current = PyDict_GetItemWithError(state->current_tasks, (PyObject *)loop);
    }
    else {
        struct compat_running *place = running_place(state);
        if (place != NULL) {
            current = place->loop == (PyObject *)loop ? place->task : NULL;
        }
        else {
            PyObject *args[] = { (PyObject *)loop };
            current = PyObject_Vectorcall(state->asyncio_current_task, args, 1, NULL);
            Py_XDECREF(current); /* if it is `task`, the loop holds it */
        }
    }
    if (AC_UNLIKELY(current != task)) {
        PyErr_Clear();
        return NULL;
    }
    return task;
}
