/* How old tasks are, which they note while somebody may look from outside.  Layer: monitor. */
#include "monitor/births.h"

#include "base/clock.h"
#include "core/task.h"

/* ---- Python face ---- */

static PyObject *
note_births(PyObject *module, PyObject *noted)
{
    int truth = PyObject_IsTrue(noted);
    if (truth < 0) {
        return NULL;
    }
    task_note_births(state_of_module(module), truth);
    Py_RETURN_NONE;
}

static PyObject *
age(PyObject *module, PyObject *task)
{
    int64_t ns = PyObject_TypeCheck(task, state_of_module(module)->Task_type) ? task_age_ns((Task *)task) : -1;
    if (ns < 0) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(clock_seconds(ns));
}

PyDoc_STRVAR(note_births_doc, "_note_births($module, noted, /)\n--\n\n"
                              "Have each task that is made from now on note when that is, or no more.");
PyDoc_STRVAR(age_doc, "_age($module, task, /)\n--\n\n"
                      "Return how many seconds ago a task was made, to 10 ms; None if it has not noted that.");

static PyMethodDef functions[] = {
    { "_note_births", note_births, METH_O, note_births_doc },
    { "_age", age, METH_O, age_doc },
    { 0 },
};

int
births_register(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
