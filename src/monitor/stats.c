/* What a loop has counted, for Python: asyncio_c/monitor/stats.py makes a Stats of it.  Layer: monitor. */
#include "monitor/stats.h"

#include "core/registry.h"

static PyObject *
refuse(PyObject *object)
{
    return PyErr_Format(PyExc_TypeError, "an event loop of asyncio_c is needed, not %.200s", Py_TYPE(object)->tp_name);
}

/* Any thread may ask. */
static PyObject *
counted(PyObject *module, PyObject *object)
{
    struct state *state = state_of_module(module);
    Loop *loop = loop_cast(state, object);
    if (loop == NULL) {
        return refuse(object);
    }
    GUARD(loop, object);
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
                         clock_seconds(waiting_ns), clock_seconds(running_ns - waiting_ns), registry_count(loop),
                         (Py_ssize_t)loop->timers.count, descriptors, (unsigned long long)counters->bytes_in,
                         (unsigned long long)counters->bytes_out);
}

/* (count, sum, max, ((lowest, highest, count), ...)) of the buckets with anything in them, in nanoseconds. */
static PyObject *
histogram_object(const struct histogram *histogram)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] == 0) {
            continue;
        }
        PyObject *bucket = Py_BuildValue("(LLK)", (long long)histogram_lowest(i), (long long)histogram_highest(i),
                                         (unsigned long long)histogram->buckets[i]);
        if (bucket == NULL || PyList_Append(list, bucket) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(bucket);
    }
    PyObject *buckets = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return buckets ? Py_BuildValue("(KLLN)", (unsigned long long)histogram->count, (long long)histogram->sum,
                                   (long long)histogram->max, buckets)
                   : NULL;
}

/* The histograms of the lag and the callbacks, copied first: making objects may run anything. */
static PyObject *
measured_of(Loop *loop)
{
    GUARD(loop, loop);
    if (loop->observed.timings == NULL) {
        Py_RETURN_NONE;
    }
    struct histogram *copies = PyMem_Malloc(2 * sizeof(*copies));
    if (copies == NULL) {
        return PyErr_NoMemory();
    }
    copies[0] = loop->observed.timings->lag;
    copies[1] = loop->observed.timings->callbacks;
    PyObject *lag = histogram_object(&copies[0]);
    PyObject *callbacks = lag ? histogram_object(&copies[1]) : NULL;
    PyObject *result = callbacks ? PyTuple_Pack(2, lag, callbacks) : NULL;
    Py_XDECREF(lag);
    Py_XDECREF(callbacks);
    PyMem_Free(copies);
    return result;
}

static PyObject *
measured(PyObject *module, PyObject *object)
{
    Loop *loop = loop_cast(state_of_module(module), object);
    return loop ? measured_of(loop) : Py_NewRef(Py_None);
}

static int
measure_from_now_on(Loop *loop, bool wanted)
{
    GUARD(loop, loop);
    return observe_measure(loop, wanted);
}

static PyObject *
measure(PyObject *module, PyObject *args)
{
    PyObject *object;
    int wanted;
    if (!PyArg_ParseTuple(args, "Op", &object, &wanted)) {
        return NULL;
    }
    Loop *loop = loop_cast(state_of_module(module), object);
    if (loop == NULL || measure_from_now_on(loop, wanted) < 0) {
        return loop ? NULL : refuse(object);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(counted_doc, "_counted($module, loop, /)\n--\n\n"
                          "Return what a loop has counted, in the order of the fields of monitor.stats.Stats.");

PyDoc_STRVAR(measured_doc, "_measured($module, loop, /)\n--\n\n"
                           "Return the histograms of lag and callback times, or None where they are off.");
PyDoc_STRVAR(measure_doc, "_measure($module, loop, enabled, /)\n--\n\n"
                          "Switch the histograms of lag and callback times on or off.");

static PyMethodDef functions[] = {
    { "_counted", counted, METH_O, counted_doc },
    { "_measured", measured, METH_O, measured_doc },
    { "_measure", measure, METH_VARARGS, measure_doc },
    { 0 },
};

int
stats_register(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
