/* Waiting by a Python selector instead of the C poller.  Layer: core.

   The C poller does the waiting unless somebody brings a selector: as an argument of the loop, as selectors.DefaultSelector
   (gevent), or by setting anything on loop._selector (virtual clocks replace its select()).  Such a selector can see all that
   asyncio does with it, and what it answers has to count: which descriptors are registered, with which handles; the timeout of
   each select(), once in each turn; events that it makes up.  So from then on, for good, the loop does what asyncio does, by
   asyncio's own methods (_add_reader(), _process_events(), the pair of sockets that wakes it), and no shortcut is taken: a
   loop that `selects` is not `fused`.  The C poller is left with nothing but the waker, and not asked any more.

   asyncio_c/selector.py has the other half: what _selector is before that, and how the loop changes over. */
#include "core/selector.h"

#include "core/handle.h"
#include "core/reader.h"
#include "core/registry.h"

int
selector_wait(Loop *loop)
{
    if (loop_check_closed(loop) < 0) {
        return -1;
    }
    /* It may end the task, and so queue something. */
    if (ring_count(&loop->ready) == 0 && !COMPAT_LOAD(loop->stopping) && registry_leave(loop) < 0) {
        return -1;
    }
    bool busy = ring_count(&loop->ready) > 0 || COMPAT_LOAD(loop->stopping);
    const struct heap_entry *first = heap_first(&loop->timers);
    PyObject *when = first ? PyFloat_FromDouble(timer_when(loop, first)) : Py_NewRef(Py_None);
    if (!busy) {
        loop->counters.waiting_since_ns = clock_now_ns();
    }
    PyObject *done =
        when ? PyObject_CallMethod((PyObject *)loop, "_wait_by_selector", "OO", busy ? Py_True : Py_False, when) : NULL;
    Py_XDECREF(when);
    Py_XDECREF(done);
    loop_poll_promptly(loop); /* however busy it is */
    if (loop->running_holder != NULL) {
        loop->state->running_loop = loop; /* another thread's may have been, meanwhile */
    }
    return done ? 0 : -1;
}

int
selector_wake(Loop *loop)
{
    PyObject *done = PyObject_CallMethod((PyObject *)loop, "_write_to_self", NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

int
selector_watch(Loop *loop, int fd, int direction, PyObject *callback, PyObject *context)
{
    const char *method = direction == READER_READ ? "_add_reader" : "_add_writer";
    PyObject *number = PyLong_FromLong(fd), *args[] = { number, callback, context }, *handle = NULL, *copy = NULL;
    if (number == NULL) {
        return -1;
    }
    if (context == NULL || AC_PY315) {
        handle = loop_call_asyncio(loop, method, args, 2, context ? loop->state->context_kwnames : NULL);
    }
    else if ((copy = PyContext_Copy(context)) != NULL && PyContext_Enter(copy) == 0) {
        /* asyncio's methods take no context before 3.15: their handles copy the current one. */
        handle = loop_call_asyncio(loop, method, args, 2, NULL);
        PyObject *exception = handle ? NULL : compat_exception_take();
        if (PyContext_Exit(copy) < 0) {
            Py_CLEAR(handle);
            Py_CLEAR(exception);
        }
        if (exception != NULL) {
            compat_exception_restore_steal(exception);
        }
    }
    Py_XDECREF(copy);
    Py_XDECREF(handle);
    Py_DECREF(number);
    return handle ? 0 : -1;
}

int
selector_unwatch(Loop *loop, int fd, int direction)
{
    const char *method = direction == READER_READ ? "_remove_reader" : "_remove_writer";
    PyObject *number = PyLong_FromLong(fd);
    PyObject *removed = number ? loop_call_asyncio(loop, method, &number, 1, NULL) : NULL;
    Py_XDECREF(number);
    Py_XDECREF(removed);
    return removed ? 0 : -1;
}
