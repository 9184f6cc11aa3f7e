/* The Python face of the loop: `_core.Loop`.  Layer: core.

   Python's asyncio_c.Loop inherits from this and then from asyncio's BaseEventLoop, which sets and reads a few attributes
   of itself (_closed, _debug, _thread_id, _task_factory, ...).  Those that the C code needs are properties here, so that
   both halves see one state. */
#include "core/foreign_handle.h"
#include "core/future.h"
#include "core/handle.h"
#include "core/reader.h"
#include "core/registry.h"
#include "core/task.h"
#include "py/args.h"
#include "py/errors.h"

PyObject *
loop_call_asyncio(Loop *self, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *method = PyObject_GetAttrString(self->state->asyncio_SelectorEventLoop, name);
    return args_call_bound_steal(method, (PyObject *)self, args, nargs, kwnames);
}

/* Debug mode's two checks, which are BaseEventLoop's: the callback is callable and no coroutine, the thread is right. */
AC_COLD static int
check_callback(Loop *self, PyObject *callback, const char *method, bool check_thread)
{
    PyObject *result = NULL;
    if (check_thread) {
        result = PyObject_CallMethod((PyObject *)self, "_check_thread", NULL);
        if (result == NULL) {
            return -1;
        }
        Py_DECREF(result);
    }
    result = PyObject_CallMethod((PyObject *)self, "_check_callback", "Os", callback, method);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static const char *const callback_names[] = { "callback" };
static const char *const delay_names[] = { "delay", "callback" };
static const char *const when_names[] = { "when", "callback" };

/* Whether the method has to be called again in the right order: true with the *result of that. */
static inline bool
came_by_keyword(Loop *self, const char *method, const char *const *names, Py_ssize_t count, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames, PyObject **result)
{
    if (AC_LIKELY(nargs >= count || kwnames == NULL)) {
        return false;
    }
    *result = args_call_in_order(self->state->Loop_type, (PyObject *)self, method, names, count, args, nargs, kwnames);
    return *result != NULL || PyErr_Occurred();
}

/* 3.11: whoever has found our method has come before it was known that asyncio's was replaced.  True with the *result of what
   stands in its place by now. */
AC_COLD static bool
called_aside(Loop *self, PyObject *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **result)
{
    GUARD(self, self);
    *result = NULL;
    if (loop_decide_fused(self) < 0) {
        return true;
    }
    if (!stand_in_is_aside(self->state, Py_TYPE(self), name)) {
        return false;
    }
    *result = args_call_steal(PyObject_GetAttr((PyObject *)self, name), args, nargs, kwnames);
    return true;
}

#define CALLED_ASIDE(self, changed, method, args, nargs, kwnames, result) \
    (AC_UNLIKELY(changed) && called_aside(self, (self)->state->str_##method, args, nargs, kwnames, result))

/* Where threads run at the same time, another one than the loop's has to go around its critical section, and wakes it there. */
static inline int
push(Loop *self, Handle *handle, bool threadsafe)
{
#if AC_FREE_THREADED
    if (threadsafe && !loop_is_inside(self)) {
        return loop_push_from_outside(self, &handle->runnable);
    }
    /* In the section, but perhaps by a method of another thread's, while the loop sleeps. */
    if (threadsafe) {
        return loop_push(self, &handle->runnable) < 0 ? -1 : loop_wake(self);
    }
#else
    (void)threadsafe;
#endif
    return loop_push(self, &handle->runnable);
}

static PyObject *
call_soon(Loop *self, const char *name, bool check_thread, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context, *handle_by_keyword, *aside;
    if (AC_UNLIKELY(loop_methods_changed(self))) {
        PyObject *str = check_thread ? self->state->str_call_soon : self->state->str_call_soon_threadsafe;
        if (called_aside(self, str, args, nargs, kwnames, &aside)) {
            return aside;
        }
    }
    if (came_by_keyword(self, name, callback_names, 1, args, nargs, kwnames, &handle_by_keyword)) {
        return handle_by_keyword;
    }
    if (args_require(name, nargs, callback_names, 1) < 0
        || args_parse_context(name, self->state->str_context, args, nargs, kwnames, &context) < 0
        || loop_check_closed(self) < 0) {
        return NULL;
    }
    if (AC_UNLIKELY(COMPAT_LOAD(self->debug)) && check_callback(self, args[0], name, check_thread) < 0) {
        return NULL;
    }
    Handle *handle = handle_new(self->state, (PyObject *)self, args[0], args + 1, nargs - 1, context);
    if (AC_PY314 && !check_thread && handle != NULL) {
        handle->threadsafe = true;
    }
    if (handle != NULL && push(self, handle, !check_thread) < 0) {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

static PyObject *
Loop_call_soon(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    GUARD(self, self);
    return call_soon(self, "call_soon", true, args, nargs, kwnames);
}

static PyObject *
Loop_call_soon_threadsafe(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *handle = call_soon(self, "call_soon_threadsafe", false, args, nargs, kwnames);
    if (!AC_FREE_THREADED && handle != NULL && AC_UNLIKELY(loop_wake(self) < 0)) {
        Py_CLEAR(handle);
    }
    return handle;
}

static PyObject *
call_at(Loop *self, double when, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    TimerHandle *handle = timer_handle_new(self->state, (PyObject *)self, when, args[0], args + 1, nargs - 1, context);
    if (handle != NULL && loop_add_timer(self, &handle->timer, clock_ns_not_before(when)) < 0) {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

static PyObject *
Loop_call_at(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    GUARD(self, self);
    PyObject *context, *handle_by_keyword, *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self), call_at, args, nargs, kwnames, &aside)) {
        return aside;
    }
    if (came_by_keyword(self, "call_at", when_names, 2, args, nargs, kwnames, &handle_by_keyword)) {
        return handle_by_keyword;
    }
    if (args_require("call_at", nargs, when_names, 2) < 0
        || args_parse_context("call_at", self->state->str_context, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    if (loop_check_closed(self) < 0
        || (AC_UNLIKELY(self->debug) && check_callback(self, args[1], "call_at", true) < 0)) {
        return NULL;
    }
    double when = PyFloat_AsDouble(args[0]);
    if (when == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *handle = call_at(self, when, args + 1, nargs - 1, context);
    if (handle != NULL && !PyFloat_CheckExact(args[0])) {
        ((TimerHandle *)handle)->given_when = Py_NewRef(args[0]);
    }
    return handle;
}

static PyObject *
Loop_call_later(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    GUARD(self, self);
    PyObject *context, *handle_by_keyword, *aside;
    bool changed = loop_methods_changed(self) || loop_clock_changed(self);
    if (CALLED_ASIDE(self, changed, call_later, args, nargs, kwnames, &aside)) {
        return aside;
    }
    if (came_by_keyword(self, "call_later", delay_names, 2, args, nargs, kwnames, &handle_by_keyword)) {
        return handle_by_keyword;
    }
    if (args_require("call_later", nargs, delay_names, 2) < 0
        || args_parse_context("call_later", self->state->str_context, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    /* Debug mode, an overridden clock, and numbers that are neither float nor int take asyncio's own way. */
    if (!self->fused || !(PyFloat_CheckExact(args[0]) || PyLong_CheckExact(args[0]))) {
        return loop_call_asyncio(self, "call_later", args, nargs, kwnames);
    }
    double delay = PyFloat_AsDouble(args[0]);
    if ((delay == -1.0 && PyErr_Occurred()) || loop_check_closed(self) < 0) {
        return NULL;
    }
    return call_at(self, clock_seconds(clock_now_ns()) + delay, args + 1, nargs - 1, context);
}

static PyObject *
Loop_time(Loop *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *aside;
    bool changed = loop_methods_changed(self) || loop_clock_changed(self);
    if (CALLED_ASIDE(self, changed, time, NULL, 0, NULL, &aside)) {
        return aside;
    }
    return PyFloat_FromDouble(clock_seconds(clock_now_ns()));
}

static PyObject *
Loop_create_future(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    PyObject *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self) || loop_futures_changed(self), create_future, NULL, 0, NULL,
                     &aside)) {
        return aside;
    }
    return (PyObject *)future_new(self->state, (PyObject *)self);
}

/* create_task(coro, *, name=None, context=None[, eager_start=None]): what a call with our own factory needs.  Anything
   else (a task factory, a keyword that we do not know) is BaseEventLoop's to do, or to refuse in the words of its
   version. */
static PyObject *
Loop_create_task(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    GUARD(self, self);
    struct state *state = self->state;
    PyObject *name = NULL, *context = NULL, *eager = NULL, *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self) || loop_tasks_changed(self), create_task, args, nargs, kwnames,
                     &aside)) {
        return aside;
    }
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    bool plain = nargs == 1 && self->task_factory == Py_None;
    for (Py_ssize_t i = 0; i < count && plain; i++) {
        PyObject *value = args[nargs + i];
        if (args_keyword_is(kwnames, i, state->str_name)) {
            name = value == Py_None ? NULL : value;
        }
        else if (args_keyword_is(kwnames, i, state->str_context)) {
            context = value == Py_None ? NULL : value;
        }
        else if (compat_create_task_takes_eager_start() && args_keyword_is(kwnames, i, state->str_eager_start)) {
            eager = value;
        }
        else {
            plain = false;
        }
    }
    if (!plain) {
        return loop_call_asyncio(self, "create_task", args, nargs, kwnames);
    }
    if (loop_check_closed(self) < 0) {
        return NULL;
    }
    int eager_start = eager ? PyObject_IsTrue(eager) : 0;
    return eager_start < 0 ? NULL : (PyObject *)task_new(state, (PyObject *)self, args[0], name, context, eager_start);
}

static PyObject *
Loop_stop(Loop *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self), stop, NULL, 0, NULL, &aside)) {
        return aside;
    }
    COMPAT_STORE(self->stopping, true);
    Py_RETURN_NONE;
}

static PyObject *
Loop_is_running(Loop *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self), is_running, NULL, 0, NULL, &aside)) {
        return aside;
    }
    /* A stock task asks this before it starts eagerly.  Up to 3.14 one that fails to start, because its context is wrong,
       stays the current task. */
    if (AC_PY312 && !AC_PY315 && loop_is_inside(self) && COMPAT_LOAD(self->thread_id) == PyThread_get_thread_ident()) {
        registry_doubt(self);
    }
    return PyBool_FromLong(COMPAT_LOAD(self->thread_id) != 0);
}

static PyObject *
Loop_is_closed(Loop *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self), is_closed, NULL, 0, NULL, &aside)) {
        return aside;
    }
    return PyBool_FromLong(COMPAT_LOAD(self->closed));
}

static PyObject *
Loop_get_debug(Loop *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *aside;
    if (CALLED_ASIDE(self, loop_methods_changed(self), get_debug, NULL, 0, NULL, &aside)) {
        return aside;
    }
    return PyBool_FromLong(COMPAT_LOAD(self->debug));
}

static PyObject *
Loop__check_closed(Loop *self, PyObject *Py_UNUSED(ignored))
{
    /* What is not called often begins with this: a good time to look. */
    if (stand_ins_look(self->state) < 0 || loop_check_closed(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Loop__run(Loop *self, PyObject *Py_UNUSED(ignored))
{
    if (loop_run(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Loop__run_once(Loop *self, PyObject *Py_UNUSED(ignored))
{
    RUN_GUARD(self);
    if (loop_check_closed(self) < 0) {
        return NULL;
    }
    counters_run_begins(&self->counters);
    int result = loop_run_once(self, true);
    counters_run_ends(&self->counters);
    if (result < 0 || registry_leave(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Loop__run_deferred(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    if (loop_run_deferred(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Loop__write_to_self(Loop *self, PyObject *Py_UNUSED(ignored))
{
    if (COMPAT_LOAD(self->selects) && !COMPAT_LOAD(self->closed)) {
        return loop_call_asyncio(self, "_write_to_self", NULL, 0, NULL);
    }
    if (!COMPAT_LOAD(self->selects)) {
        (void)loop_wake(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
Loop__leave_poller(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    if (loop_check_closed(self) < 0) {
        return NULL;
    }
    PyObject *watches = Loop__watches(self, NULL);
    if (watches == NULL || reader_detach_all(self) < 0) {
        Py_XDECREF(watches);
        return NULL;
    }
    loop_select(self);
    return watches;
}

static PyObject *
Loop__own_descriptors(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    int poller = self->poller.backend == &poller_epoll ? self->poller.fd : -1;
    return Py_BuildValue("(ii)", poller, self->waker.fd);
}

static PyObject *
Loop__collect_afterwards(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    return PyBool_FromLong(loop_collect_timers_later(self));
}

static PyObject *
Loop__close(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    loop_close(self);
    Py_RETURN_NONE;
}

/* ---- Attributes that BaseEventLoop shares ---- */

/* closure: the offset of a bool in Loop. */
static PyObject *
Loop_get_bool(Loop *self, void *closure)
{
    return PyBool_FromLong(COMPAT_LOAD(*(bool *)((char *)self + (size_t)closure)));
}

static int
Loop_set_bool(Loop *self, PyObject *value, void *closure)
{
    GUARD(self, self);
    int truth = refuse_delete(value, "this attribute", "Loop") < 0 ? -1 : PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    COMPAT_STORE(*(bool *)((char *)self + (size_t)closure), truth != 0);
    return 0;
}

/* A loop that has let go of its poller stays closed, also when its __init__() is called again. */
static int
Loop_set_closed(Loop *self, PyObject *value, void *closure)
{
    GUARD(self, self);
    int result = Loop_set_bool(self, value, closure);
    COMPAT_STORE(self->closed, self->closed || self->poller.backend == NULL);
    loop_count_debug(self);
    return result;
}

/* Debug mode turns the fused paths off, and sleep() and wait() into asyncio's own. */
static int
Loop_set_debug_attribute(Loop *self, PyObject *value, void *closure)
{
    GUARD(self, self);
    if (Loop_set_bool(self, value, closure) < 0) {
        return -1;
    }
    loop_count_debug(self);
    return loop_decide_fused(self);
}

/* closure: the offset of a PyObject * in Loop. */
static PyObject *
Loop_get_object(Loop *self, void *closure)
{
    GUARD(self, self);
    PyObject *value = *(PyObject **)((char *)self + (size_t)closure);
    return Py_NewRef(value ? value : Py_None);
}

static int
Loop_set_object(Loop *self, PyObject *value, void *closure)
{
    GUARD(self, self);
    if (refuse_delete(value, "this attribute", "Loop") < 0) {
        return -1;
    }
    PyObject **field = (PyObject **)((char *)self + (size_t)closure);
    Py_XSETREF(*field, Py_NewRef(value));
    return 0;
}

static PyObject *
Loop_get_thread_id(Loop *self, void *Py_UNUSED(closure))
{
    unsigned long id = COMPAT_LOAD(self->thread_id);
    if (id == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(id);
}

static int
Loop_set_thread_id(Loop *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "this attribute", "Loop") < 0) {
        return -1;
    }
    unsigned long id = value == Py_None ? 0 : PyLong_AsUnsignedLong(value);
    if (id == (unsigned long)-1 && PyErr_Occurred()) {
        return -1;
    }
    COMPAT_STORE(self->thread_id, id);
    return 0;
}

/* ---- Python face ---- */

static PyObject *
Loop_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    Loop *self = state ? (Loop *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        return NULL;
    }
    freelist_count(&state->Loop_freelist, 1);
    self->state = state;
    self->task_factory = Py_NewRef(Py_None);
    self->slow_callback_duration = PyFloat_FromDouble(0.1);
    if (self->slow_callback_duration == NULL || loop_open(self, state) < 0) {
        self->closed = true;
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *
Loop__initialized(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    self->initialized = true;
    if (loop_decide_fused(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
Loop_traverse(Loop *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->running_holder);
    Py_VISIT(self->entered_task);
    Py_VISIT(self->task_factory);
    Py_VISIT(self->current_handle);
    Py_VISIT(self->slow_callback_duration);
    Py_VISIT(self->recorder);
    for (Pulse *pulse = self->observed.pulses; pulse != NULL; pulse = pulse->next) {
        Py_VISIT(pulse);
    }
    return loop_traverse_queues(self, visit, arg);
}

static int
Loop_clear(Loop *self)
{
    GUARD(self, self); /* from a list of all loops another thread may have it, until it is freed */
    loop_close(self);
    Py_CLEAR(self->running_holder);
    Py_CLEAR(self->entered_task);
    Py_CLEAR(self->task_factory);
    Py_CLEAR(self->current_handle);
    Py_CLEAR(self->slow_callback_duration);
    Py_CLEAR(self->recorder);
    return 0;
}

static void
Loop_dealloc(Loop *self)
{
    PyTypeObject *type = Py_TYPE(self);
    compat_section section; /* begun here, for a guard would hold what is dying */
    PyObject_GC_UnTrack(self);
    if (!AC_PY312 && self->state->running_loop == self) {
        self->state->running_loop = NULL;
    }
    compat_section_begin(&section, (PyObject *)self);
    Loop_clear(self);
    compat_section_end(&section);
    (void)observe_measure(self, false);
    registry_remove_loop(self);
    freelist_count(&self->state->Loop_freelist, -1);
    type->tp_free(self);
    Py_DECREF(type);
}

/* An override set on the instance counts from now on. */
static int
Loop_setattro(Loop *self, PyObject *name, PyObject *value)
{
    GUARD(self, self);
    if (PyObject_GenericSetAttr((PyObject *)self, name, value) < 0) {
        return -1;
    }
    return loop_attribute_changed(self, name);
}

PyDoc_STRVAR(call_soon_doc, "call_soon($self, /, callback, *args, context=None)\n--\n\n"
                            "Call callback(*args) in the next turn of the loop; return a Handle.\n\n"
                            "It runs in context, a contextvars.Context, or in a copy of the current one.\n"
                            "Raises RuntimeError on a closed loop.\n\n"
                            "asyncio documentation: Event Loop, Scheduling callbacks.");
PyDoc_STRVAR(call_soon_threadsafe_doc,
             "call_soon_threadsafe($self, /, callback, *args, context=None)\n--\n\n"
             "call_soon() for other threads and signal handlers: wakes the loop if it sleeps.\n\n"
             "asyncio documentation: Event Loop, Scheduling callbacks.");
PyDoc_STRVAR(call_later_doc, "call_later($self, /, delay, callback, *args, context=None)\n--\n\n"
                             "Call callback(*args) in delay seconds, not earlier; return a TimerHandle.\n\n"
                             "Raises RuntimeError on a closed loop, TypeError if delay is None.\n\n"
                             "asyncio documentation: Event Loop, Scheduling delayed callbacks.");
PyDoc_STRVAR(call_at_doc,
             "call_at($self, /, when, callback, *args, context=None)\n--\n\n"
             "Call callback(*args) when loop.time() has reached when, in seconds; return a TimerHandle.\n\n"
             "Raises RuntimeError on a closed loop, TypeError if when is None.\n\n"
             "asyncio documentation: Event Loop, Scheduling delayed callbacks.");
PyDoc_STRVAR(time_doc, "time($self, /)\n--\n\n"
                       "Return the loop's time as float seconds of time.monotonic().\n\n"
                       "asyncio documentation: Event Loop, Scheduling delayed callbacks.");
PyDoc_STRVAR(create_future_doc, "create_future($self, /)\n--\n\n"
                                "Return a new Future of this loop.\n\n"
                                "asyncio documentation: Event Loop, Creating Futures and Tasks.");
PyDoc_STRVAR(create_task_doc, "create_task($self, /, coro, **kwargs)\n--\n\n"
                              "Run the coroutine coro as a Task, which is returned.\n\n"
                              "name and context, and eager_start where that Python knows it, are as in asyncio.\n"
                              "Raises TypeError if coro is no coroutine, RuntimeError on a closed loop.\n\n"
                              "asyncio documentation: Event Loop, Creating Futures and Tasks.");
PyDoc_STRVAR(_add_reader_doc, "_add_reader($self, fd, callback, /, *args, context=None)\n--\n\n"
                              "Call callback(*args) whenever fd, an int or an object with fileno(), is ready for\n"
                              "reading; return the Handle.  Replaces the reader that fd had.\n\n"
                              "Raises OSError where the kernel cannot watch fd, RuntimeError on a closed loop.\n\n"
                              "asyncio documentation: Event Loop, Watching file descriptors.");
PyDoc_STRVAR(_add_writer_doc, "_add_writer($self, fd, callback, /, *args, context=None)\n--\n\n"
                              "Call callback(*args) whenever fd, an int or an object with fileno(), is ready for\n"
                              "writing; return the Handle.  Replaces the writer that fd had.\n\n"
                              "Raises OSError where the kernel cannot watch fd, RuntimeError on a closed loop.\n\n"
                              "asyncio documentation: Event Loop, Watching file descriptors.");
PyDoc_STRVAR(_remove_reader_doc, "_remove_reader($self, fd, /)\n--\n\n"
                                 "Stop watching fd for reading.  Return True if it was watched.");
PyDoc_STRVAR(_remove_writer_doc, "_remove_writer($self, fd, /)\n--\n\n"
                                 "Stop watching fd for writing.  Return True if it was watched.");
PyDoc_STRVAR(_watched_doc,
             "_watched($self, fd, /)\n--\n\n"
             "Return how fd is watched by a reader or writer, as the fields of a selectors.SelectorKey, or "
             "None.");
PyDoc_STRVAR(_watches_doc, "_watches($self, /)\n--\n\nReturn a list of what _watched() tells of each descriptor.");
PyDoc_STRVAR(_leave_poller_doc,
             "_leave_poller($self, /)\n--\n\n"
             "Wait by loop._selector from now on, as asyncio does; return what was watched, which is to "
             "be registered there.");
PyDoc_STRVAR(_own_descriptors_doc, "_own_descriptors($self, /)\n--\n\n"
                                   "Return the descriptors of the C poller, -1 if it has none, and of the waker.");
PyDoc_STRVAR(stop_doc, "stop($self, /)\n--\n\n"
                       "Stop the loop at the end of this turn, or of the first turn if it is not running.\n\n"
                       "asyncio documentation: Event Loop, Running and stopping the loop.");
PyDoc_STRVAR(is_running_doc, "is_running($self, /)\n--\n\n"
                             "Return True if the loop is running.\n\n"
                             "asyncio documentation: Event Loop, Running and stopping the loop.");
PyDoc_STRVAR(is_closed_doc, "is_closed($self, /)\n--\n\n"
                            "Return True if the loop was closed.\n\n"
                            "asyncio documentation: Event Loop, Running and stopping the loop.");
PyDoc_STRVAR(get_debug_doc, "get_debug($self, /)\n--\n\n"
                            "Return True if debug mode is on.\n\n"
                            "asyncio documentation: Event Loop, Enabling debug mode.");
PyDoc_STRVAR(run_doc, "_run($self, /)\n--\n\nTurn the loop until it is stopped.");
PyDoc_STRVAR(run_once_doc, "_run_once($self, /)\n--\n\nTurn the loop once.");
PyDoc_STRVAR(run_deferred_doc, "_run_deferred($self, /)\n--\n\nSend what the callback that is running has written.");
PyDoc_STRVAR(close_doc, "_close($self, /)\n--\n\nDrop what is queued and close the loop's own descriptors.");
PyDoc_STRVAR(check_closed_doc, "_check_closed($self, /)\n--\n\nRaise RuntimeError if the loop is closed.");
PyDoc_STRVAR(write_to_self_doc, "_write_to_self($self, /)\n--\n\nWake the loop if it sleeps.");
PyDoc_STRVAR(collect_afterwards_doc,
             "_collect_afterwards($self, /)\n--\n\n"
             "Have _collect_timers() called when the callback that runs has ended; return False if none runs.");
PyDoc_STRVAR(add_callback_doc, "_add_callback($self, handle, /)\n--\n\nQueue a handle that is not cancelled.");
PyDoc_STRVAR(initialized_doc, "_initialized($self, /)\n--\n\nSay that __init__ is done.");

static PyMethodDef Loop_methods[] = {
    { "call_soon", AC_FAST(Loop_call_soon), METH_FASTCALL | METH_KEYWORDS, call_soon_doc },
    { "call_soon_threadsafe", AC_FAST(Loop_call_soon_threadsafe), METH_FASTCALL | METH_KEYWORDS,
      call_soon_threadsafe_doc },
    { "call_later", AC_FAST(Loop_call_later), METH_FASTCALL | METH_KEYWORDS, call_later_doc },
    { "call_at", AC_FAST(Loop_call_at), METH_FASTCALL | METH_KEYWORDS, call_at_doc },
    { "time", (PyCFunction)Loop_time, METH_NOARGS, time_doc },
    { "create_future", (PyCFunction)Loop_create_future, METH_NOARGS, create_future_doc },
    { "create_task", AC_FAST(Loop_create_task), METH_FASTCALL | METH_KEYWORDS, create_task_doc },
    { "stop", (PyCFunction)Loop_stop, METH_NOARGS, stop_doc },
    { "is_running", (PyCFunction)Loop_is_running, METH_NOARGS, is_running_doc },
    { "is_closed", (PyCFunction)Loop_is_closed, METH_NOARGS, is_closed_doc },
    { "get_debug", (PyCFunction)Loop_get_debug, METH_NOARGS, get_debug_doc },
    { "_run", (PyCFunction)Loop__run, METH_NOARGS, run_doc },
    { "_run_once", (PyCFunction)Loop__run_once, METH_NOARGS, run_once_doc },
    { "_run_deferred", (PyCFunction)Loop__run_deferred, METH_NOARGS, run_deferred_doc },
    { "_close", (PyCFunction)Loop__close, METH_NOARGS, close_doc },
    { "_check_closed", (PyCFunction)Loop__check_closed, METH_NOARGS, check_closed_doc },
    { "_write_to_self", (PyCFunction)Loop__write_to_self, METH_NOARGS, write_to_self_doc },
    { "_collect_afterwards", (PyCFunction)Loop__collect_afterwards, METH_NOARGS, collect_afterwards_doc },
    { "_add_callback", (PyCFunction)Loop__add_callback, METH_O, add_callback_doc },
    { "_initialized", (PyCFunction)Loop__initialized, METH_NOARGS, initialized_doc },
    { "_add_reader", AC_FAST(Loop__add_reader), METH_FASTCALL | METH_KEYWORDS, _add_reader_doc },
    { "_add_writer", AC_FAST(Loop__add_writer), METH_FASTCALL | METH_KEYWORDS, _add_writer_doc },
    { "_remove_reader", (PyCFunction)Loop__remove_reader, METH_O, _remove_reader_doc },
    { "_remove_writer", (PyCFunction)Loop__remove_writer, METH_O, _remove_writer_doc },
    { "_watched", (PyCFunction)Loop__watched, METH_O, _watched_doc },
    { "_watches", (PyCFunction)Loop__watches, METH_NOARGS, _watches_doc },
    { "_leave_poller", (PyCFunction)Loop__leave_poller, METH_NOARGS, _leave_poller_doc },
    { "_own_descriptors", (PyCFunction)Loop__own_descriptors, METH_NOARGS, _own_descriptors_doc },
    { 0 },
};

#define BOOL_PROPERTY(name, field, doc) \
    { name, (getter)Loop_get_bool, (setter)Loop_set_bool, doc, (void *)offsetof(Loop, field) }
#define OBJECT_PROPERTY(name, field, doc) \
    { name, (getter)Loop_get_object, (setter)Loop_set_object, doc, (void *)offsetof(Loop, field) }

static PyGetSetDef Loop_getset[] = {
    { "_closed", (getter)Loop_get_bool, (setter)Loop_set_closed, NULL, (void *)offsetof(Loop, closed) },
    BOOL_PROPERTY("_stopping", stopping, NULL),
    { "_debug", (getter)Loop_get_bool, (setter)Loop_set_debug_attribute, NULL, (void *)offsetof(Loop, debug) },
    OBJECT_PROPERTY("_task_factory", task_factory, NULL),
    OBJECT_PROPERTY("_current_handle", current_handle, NULL),
    OBJECT_PROPERTY("slow_callback_duration", slow_callback_duration,
                    "In debug mode, a callback that takes longer than these seconds is logged."),
    { "_thread_id", (getter)Loop_get_thread_id, (setter)Loop_set_thread_id, "The thread that runs the loop, or None.",
      NULL },
    { 0 },
};

PyDoc_STRVAR(Loop_doc, "Loop()\n--\n\nThe native half of asyncio_c.Loop.");

static PyType_Slot Loop_slots[] = {
    { Py_tp_doc, (void *)Loop_doc },
    { Py_tp_new, Loop_new },
    { Py_tp_dealloc, Loop_dealloc },
    { Py_tp_traverse, Loop_traverse },
    { Py_tp_clear, Loop_clear },
    { Py_tp_setattro, Loop_setattro },
    { Py_tp_getset, Loop_getset },
    { Py_tp_methods, Loop_methods },
#if AC_FREE_THREADED
    { Py_tp_hash, registry_hash },
#endif
    { 0, NULL },
};

static PyType_Spec Loop_spec = {
    .name = "asyncio_c._core.Loop",
    .basicsize = sizeof(Loop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Loop_slots,
};

int
loop_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Loop_type, &Loop_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Loop_type);
}
