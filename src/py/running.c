/* Where a thread's running loop and current task are.  Layer: py.

   A mark is made the running loop, which shows where the thread state keeps it, and another one the current task, which
   shows that this is its neighbour.  Both get back what they were. */
#include "py/running.h"

static int
set_running_loop(struct state *state, PyObject *loop)
{
    PyObject *done = PyObject_CallOneArg(state->set_running_loop, loop);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static size_t
offset_of(PyObject *mark)
{
    const char *start = (const char *)PyThreadState_Get();
    for (int i = 0; i < COMPAT_RUNNING_WORDS; i++) {
        size_t offset = sizeof(PyThreadState) + (size_t)i * sizeof(PyObject *);
        PyObject *word;
        memcpy(&word, start + offset, sizeof(word));
        if (word == mark) {
            return offset;
        }
    }
    return 0;
}

/* Whether the task is kept behind the loop; while `mark` is the running loop.  1, 0 or -1. */
static int
task_is_neighbour(struct state *state, PyObject *mark)
{
    PyObject *other = PyList_New(0);
    PyObject *before = other ? PyObject_CallFunctionObjArgs(state->swap_current_task, mark, other, NULL) : NULL;
    int result = before ? running_place(state)->task == other : -1;
    PyObject *again = before ? PyObject_CallFunctionObjArgs(state->swap_current_task, mark, before, NULL) : NULL;
    Py_XDECREF(other);
    Py_XDECREF(before);
    Py_XDECREF(again);
    return again ? result : -1;
}

static int
probe_with(struct state *state, PyObject *mark)
{
    if (set_running_loop(state, mark) < 0) {
        return -1;
    }
    state->running_offset = offset_of(mark);
    if (state->running_offset == 0 || state->current_tasks != NULL) {
        return 0;
    }
    int found = task_is_neighbour(state, mark);
    if (found <= 0) {
        state->running_offset = 0;
    }
    return found < 0 ? -1 : 0;
}

int
running_probe(struct state *state)
{
    if (COMPAT_RUNNING_WORDS == 0 || (state->current_tasks == NULL && state->swap_current_task == NULL)) {
        return 0;
    }
    PyObject *running = PyObject_CallNoArgs(state->get_running_loop);
    PyObject *mark = running ? PyList_New(0) : NULL;
    int result = mark ? probe_with(state, mark) : -1;
    if (mark != NULL) {
        PyObject *error = compat_exception_take();
        if (set_running_loop(state, running) < 0) {
            result = -1;
        }
        if (error != NULL) {
            compat_exception_restore_steal(error);
        }
    }
    Py_XDECREF(mark);
    Py_XDECREF(running);
    return result;
}
