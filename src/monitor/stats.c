/* What a loop has counted, for Python: asyncio_c/monitor/stats.py makes a Stats of it.  Layer: monitor. */
#include "monitor/stats.h"

#include "core/task.h"

static Py_ssize_t
count_tasks(Loop *loop)
{
    Py_ssize_t count = 0;
    struct list_node *tasks = &loop->state->tasks;
    for (struct list_node *node = tasks->next; node != tasks; node = node->next) {
        count += AC_CONTAINER_OF(node, Task, link)->native_loop == loop;
    }
    return count;
}

/* The loop is there before and after what may be asked of it by any thread: all is read under the GIL. */
static PyObject *
counted(PyObject *module, PyObject *object)
{
    struct state *state = state_of_module(module);
    Loop *loop = loop_cast(state, object);
    if (loop == NULL) {
        return PyErr_Format(PyExc_TypeError, "an event loop of asyncio_c is needed, not %.200s",
                            Py_TYPE(object)->tp_name);
    }
    const struct counters *counters = &loop->counters;
    int64_t now_ns = clock_now_ns();
    int64_t waiting_ns = counters->waiting_ns, running_ns = counters->running_ns;
    if (counters->waiting_since_ns != 0) {
        waiting_ns += now_ns - counters->waiting_since_ns;
    }
    if (counters->runs > 0) {
        running_ns += now_ns - counters->running_since_ns;
    }
    Py_ssize_t descriptors = loop->closed ? 0 : (Py_ssize_t)loop->poller.watch_count - 1; /* without the waker */
    return Py_BuildValue("(KKKKddnnnKK)", (unsigned long long)loop->turn, (unsigned long long)counters->callbacks,
                         (unsigned long long)counters->steps, (unsigned long long)counters->polls,
                         clock_seconds(waiting_ns), clock_seconds(running_ns - waiting_ns), count_tasks(loop),
                         (Py_ssize_t)loop->timers.count, descriptors, (unsigned long long)counters->bytes_in,
                         (unsigned long long)counters->bytes_out);
}

PyDoc_STRVAR(counted_doc, "_counted($module, loop, /)\n--\n\n"
                          "Return what a loop has counted, in the order of the fields of monitor.stats.Stats.");

static PyMethodDef functions[] = {
    { "_counted", counted, METH_O, counted_doc },
    { 0 },
};

int
stats_register(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
