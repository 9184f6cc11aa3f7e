/* asyncio.sleep().  Layer: flow.

   Equivalent:

       async def sleep(delay, result=None):
           if delay <= 0:
               await bare_yield()
               return result
           loop = get_running_loop()
           future = loop.create_future()
           timer = loop.call_later(delay, set_result_unless_cancelled, future, result)
           try: return await future
           finally: timer.cancel()

   The timer is in the coroutine object itself.  When it is due the object takes the place in the queue that the handle
   would have had, and then finishes the future, which wakes the task: the same two places in the order of events. */
#include "core/handle.h"
#include "core/registry.h"
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/args.h"

typedef struct {
    Coroutine base;
    struct runnable runnable; /* what the timer runs */
    struct timer timer;
    union {
        PyObject *delay; /* owned; until it sets the timer */
        PyObject *loop;  /* owned; from then on */
    };
    PyObject *result; /* owned */
    double seconds;   /* the delay, once it waits: for who records it */
} SleepCoroutine;

/* ---- The timer ---- */

static int
sleep_due(struct runnable *runnable, Loop *loop)
{
    SleepCoroutine *self = AC_CONTAINER_OF(runnable, SleepCoroutine, runnable);
    int result = registry_leave(loop);
    Future *future = (Future *)self->base.awaiting;
    if (future == NULL || future->future_state == FUTURE_CANCELLED) {
        return result;
    }
    Py_INCREF(future);
    result = result == 0 ? future_set_result(future, self->result) : future_without_memory(future);
    Py_DECREF(future);
    return result;
}

static PyObject *
sleep_as_handle(struct runnable *runnable, Loop *loop)
{
    SleepCoroutine *self = AC_CONTAINER_OF(runnable, SleepCoroutine, runnable);
    struct state *state = self->base.state;
    /* Held, for an allocation may collect garbage, and that may close the coroutine. */
    PyObject *args[] = { Py_NewRef(self->base.awaiting ? self->base.awaiting : Py_None),
                         Py_NewRef(self->result ? self->result : Py_None) };
    TimerHandle *handle =
        timer_handle_new(state, (PyObject *)loop, 0.0, state->set_result_unless_cancelled, args, 2, NULL);
    Py_DECREF(args[0]);
    Py_DECREF(args[1]);
    return (PyObject *)handle;
}

static const struct runnable_ops sleep_ops = {
    .run = sleep_due,
    .as_handle = sleep_as_handle,
};

/* ---- The body ---- */

static PySendResult
delegate_to_asyncio(SleepCoroutine *self)
{
    PyObject *args[] = { self->delay, self->result };
    self->base.delegate = PyObject_Vectorcall(self->base.state->asyncio_sleep, args, 2, NULL);
    return self->base.delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

static bool
is_plain_number(PyObject *delay)
{
    return PyFloat_CheckExact(delay) || PyLong_CheckExact(delay);
}

/* delay <= 0 as Python compares it.  1, 0 or -1. */
static int
is_not_positive(PyObject *delay)
{
    if (PyFloat_CheckExact(delay)) {
        return PyFloat_AS_DOUBLE(delay) <= 0.0;
    }
    if (AC_LIKELY(PyLong_CheckExact(delay))) {
        int overflow;
        long number = PyLong_AsLongAndOverflow(delay, &overflow);
        return overflow ? overflow < 0 : number <= 0;
    }
    PyObject *zero = PyLong_FromLong(0);
    int result = PyObject_RichCompareBool(delay, zero, Py_LE);
    Py_DECREF(zero);
    return result;
}

static PySendResult
sleep_start(Coroutine *base, PyObject **result)
{
    SleepCoroutine *self = (SleepCoroutine *)base;
    int at_once = is_not_positive(self->delay);
    if (at_once != 0) {
        *result = at_once > 0 ? Py_NewRef(Py_None) : NULL;
        return at_once > 0 ? PYGEN_NEXT : PYGEN_ERROR;
    }
    if (!PyObject_GC_IsTracked((PyObject *)self)) {
        PyObject_GC_Track(self);
    }
    double delay = -1.0;
    if (is_plain_number(self->delay)) {
        delay = PyFloat_AsDouble(self->delay);
        if (delay == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
        }
    }
    /* Odd numbers, NaN among them, and loops that are not to be shortcut. */
    Loop *loop = delay > 0.0 ? loop_running_fused(base->state) : NULL;
    if (loop == NULL) {
        return PyErr_Occurred() ? PYGEN_ERROR : delegate_to_asyncio(self);
    }
    Py_XSETREF(self->loop, (PyObject *)loop); /* the delay was a number */
    Future *future = future_new(base->state, self->loop);
    if (future == NULL) {
        return PYGEN_ERROR;
    }
    self->seconds = delay;
    int64_t deadline_ns = clock_add_ns(clock_now_ns(), clock_ns_not_before(delay));
    if (loop_add_timer(loop, &self->timer, deadline_ns) < 0) {
        Py_DECREF(future);
        return PYGEN_ERROR;
    }
    PySendResult outcome = coroutine_suspend_on(base, future, result);
    Py_DECREF(future);
    return outcome;
}

static PySendResult
sleep_resume(Coroutine *base, PyObject **result)
{
    SleepCoroutine *self = (SleepCoroutine *)base;
    Future *future = (Future *)base->awaiting;
    if (future == NULL) {
        *result = Py_NewRef(self->result);
        return PYGEN_RETURN;
    }
    *result = future_get_result(future);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

static void
sleep_leave(Coroutine *base)
{
    SleepCoroutine *self = (SleepCoroutine *)base;
    if (heap_node_queued(&self->timer.node)) {
        loop_remove_timer((Loop *)self->loop, &self->timer);
    }
    Py_CLEAR(self->loop); /* or the delay */
}

static const struct coroutine_body sleep_body = {
    .name = "sleep",
    .start = sleep_start,
    .resume = sleep_resume,
    .leave = sleep_leave,
};

/* ---- Python face ---- */

static PyObject *
sleep_coroutine_new(struct state *state, PyObject *delay, PyObject *result)
{
    SleepCoroutine *self = (SleepCoroutine *)freelist_new(&state->SleepCoroutine_freelist, state->SleepCoroutine_type);
    if (self != NULL) {
        coroutine_init(&self->base, state, &sleep_body);
        self->runnable = (struct runnable){ &sleep_ops, (PyObject *)self };
        self->timer.runnable = &self->runnable;
        heap_node_init(&self->timer.node);
        self->delay = Py_NewRef(delay);
        self->result = Py_NewRef(result);
        /* With numbers only it is no part of a cycle before it waits, and sleep(0) never does. */
        if (result != Py_None || !is_plain_number(delay)) {
            PyObject_GC_Track(self);
        }
    }
    return (PyObject *)self;
}

static int
SleepCoroutine_traverse(SleepCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->loop); /* or the delay */
    Py_VISIT(self->result);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
SleepCoroutine_clear(SleepCoroutine *self)
{
    coroutine_clear(&self->base);
    sleep_leave(&self->base);
    Py_CLEAR(self->result);
    return 0;
}

static void
SleepCoroutine_dealloc(SleepCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->SleepCoroutine_freelist, state->SleepCoroutine_type, (PyObject *)self);
}

static PyObject *
sleep_function(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    /* Wrong calls, and delay= by keyword, are rare: asyncio's own function knows the words.  In debug mode its coroutine
       also knows where it was made. */
    bool result_keyword = nargs == 1 && kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 1
                          && args_keyword_is(kwnames, 0, state->str_result);
    if (AC_UNLIKELY(COMPAT_LOAD(state->debug_loops) > 0 || nargs < 1 || nargs > 2
                    || (kwnames != NULL && !result_keyword))) {
        return PyObject_Vectorcall(state->asyncio_sleep, args, (size_t)nargs, kwnames);
    }
    return sleep_coroutine_new(state, args[0], nargs == 2 || result_keyword ? args[1] : Py_None);
}

PyDoc_STRVAR(sleep_doc, "Coroutine that ends after delay seconds, not earlier, and returns result.\n\n"
                        "With a delay of 0 or less the other tasks get one turn.\n\n"
                        "asyncio documentation: Coroutines and Tasks, Sleeping.");

static PyType_Slot SleepCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, SleepCoroutine_dealloc },
    { Py_tp_traverse, SleepCoroutine_traverse },
    { Py_tp_clear, SleepCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec SleepCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(SleepCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = SleepCoroutine_slots,
};

bool
sleep_seconds(PyObject *object, double *seconds)
{
    if (!coroutine_check(object) || ((Coroutine *)object)->body != &sleep_body) {
        return false;
    }
    *seconds = ((SleepCoroutine *)object)->seconds;
    return true;
}

int
sleep_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->SleepCoroutine_type, &SleepCoroutine_spec, NULL) < 0) {
        return -1;
    }
    return coroutine_function_add(module, module, state->asyncio_sleep, sleep_function, sleep_doc);
}
