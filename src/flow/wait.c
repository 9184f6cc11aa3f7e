/* asyncio.wait().  Layer: flow.

   Equivalent, behind the checks of the arguments:

       waiter = loop.create_future()
       for future in fs: future.add_done_callback(on_completion)       (which finishes the waiter when enough are done)
       try: await waiter
       finally: cancel the timeout, remove the callbacks
       return done, pending

   As in gather, a slot for each future takes the place of the callback.  The native way is for exact native futures of
   the running loop; everything else, and every wrong argument, is asyncio's own coroutine. */
#include "core/handle.h"
#include "core/registry.h"
#include "core/task.h"
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"

#include <string.h>

enum return_when {
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    ALL_COMPLETED,
};

struct wait_slot {
    struct runnable runnable;
    Future *future; /* owned */
};

typedef struct {
    Coroutine base;
    PyObject *fs;           /* owned */
    PyObject *timeout;      /* owned; seconds or None */
    PyObject *return_when;  /* owned */
    PyObject *loop;         /* owned; set while it waits */
    PyObject *waiting_task; /* owned or NULL: whose step began it, for the call graph of 3.14 on */
    struct runnable timeout_runnable;
    struct timer timer;
    struct wait_slot *slots;
    Py_ssize_t slot_count;
    Py_ssize_t left;
    enum return_when when;
    bool begun;
    LOOP_HOME /* of the loop in which it has waited */
} WaitCoroutine;

/* ---- Something happens ---- */

/* Ends the wait, unless it has ended. */
static int
wait_release(WaitCoroutine *self)
{
    Future *waiter = (Future *)self->base.awaiting;
    if (waiter == NULL || waiter->future_state != FUTURE_PENDING) {
        return 0;
    }
    Py_INCREF(waiter);
    int result = future_set_result(waiter, Py_None);
    Py_DECREF(waiter);
    return result;
}

/* The waiter ends with the MemoryError that is set.  Returns 0 or -1. */
AC_COLD static int
wait_without_memory(WaitCoroutine *self)
{
    Future *waiter = (Future *)Py_XNewRef(self->base.awaiting);
    int result = waiter ? future_without_memory(waiter) : -1;
    Py_XDECREF(waiter);
    return result;
}

static int
wait_one_done(WaitCoroutine *self, Future *future)
{
    bool enough = --self->left <= 0 || self->when == FIRST_COMPLETED;
    if (!enough && self->when == FIRST_EXCEPTION && future->future_state != FUTURE_CANCELLED) {
        future->log_traceback = false;
        enough = future->exception != NULL;
    }
    if (!enough) {
        return 0;
    }
    if (self->loop != NULL) {
        loop_remove_timer((Loop *)self->loop, &self->timer);
    }
    return wait_release(self);
}

static int
slot_run(struct runnable *runnable, Loop *loop)
{
    struct wait_slot *slot = AC_CONTAINER_OF(runnable, struct wait_slot, runnable);
    WaitCoroutine *self = (WaitCoroutine *)runnable->owner;
    if (registry_leave(loop) < 0) {
        return wait_without_memory(self);
    }
    return slot->future ? wait_one_done(self, slot->future) : 0;
}

static PyObject *
on_completion(PyObject *owner, PyObject *future)
{
    if (!future_check(((Coroutine *)owner)->state, future)) {
        PyErr_Format(PyExc_TypeError, "a native future was expected, got %R", future);
        return NULL;
    }
    LOOP_HOME_GUARD((WaitCoroutine *)owner);
    if (wait_one_done((WaitCoroutine *)owner, (Future *)future) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef on_completion_def = { "_on_completion", on_completion, METH_O, NULL };

static PyObject *
slot_as_callback(struct runnable *runnable)
{
    return PyCFunction_New(&on_completion_def, runnable->owner);
}

static PyObject *
slot_as_handle(struct runnable *runnable, Loop *loop)
{
    struct wait_slot *slot = AC_CONTAINER_OF(runnable, struct wait_slot, runnable);
    return handle_for_runnable(runnable, loop, (PyObject *)slot->future);
}

static PyObject *
slot_context_borrow(struct runnable *Py_UNUSED(runnable))
{
    return Py_None;
}

static PyObject *
slot_awaiter_borrow(struct runnable *runnable)
{
    return ((WaitCoroutine *)runnable->owner)->waiting_task;
}

static const struct runnable_ops slot_ops = {
    .run = slot_run,
    .as_handle = slot_as_handle,
    .as_callback = slot_as_callback,
    .context_borrow = slot_context_borrow,
    .awaiter_borrow = slot_awaiter_borrow,
};

static int
timeout_due(struct runnable *runnable, Loop *loop)
{
    WaitCoroutine *self = AC_CONTAINER_OF(runnable, WaitCoroutine, timeout_runnable);
    return registry_leave(loop) < 0 ? wait_without_memory(self) : wait_release(self);
}

static PyObject *
timeout_as_handle(struct runnable *runnable, Loop *loop)
{
    WaitCoroutine *self = AC_CONTAINER_OF(runnable, WaitCoroutine, timeout_runnable);
    struct state *state = self->base.state;
    /* Held, for an allocation may collect garbage, and that may close the coroutine. */
    PyObject *args[] = { Py_NewRef(self->base.awaiting ? self->base.awaiting : Py_None) };
    TimerHandle *handle = timer_handle_new(state, (PyObject *)loop, 0.0, state->release_waiter, args, 1, NULL);
    Py_DECREF(args[0]);
    return (PyObject *)handle;
}

static const struct runnable_ops timeout_ops = {
    .run = timeout_due,
    .as_handle = timeout_as_handle,
};

/* ---- The body ---- */

/* 0, or -1 where asyncio has to say what it thinks of the value. */
static int
parse_return_when(PyObject *value, enum return_when *when)
{
    static const char *const names[] = { "FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED" };
    for (size_t i = 0; i < AC_ARRAY_SIZE(names); i++) {
        if (PyUnicode_CheckExact(value) && PyUnicode_CompareWithASCIIString(value, names[i]) == 0) {
            *when = (enum return_when)i;
            return 0;
        }
    }
    return -1;
}

/* The distinct futures as a set, if all are exact native ones of `loop`.  NULL with or without an exception. */
static PyObject *
native_set(PyObject *fs, Loop *loop)
{
    if (!PyList_CheckExact(fs) && !PyTuple_CheckExact(fs) && !PyAnySet_CheckExact(fs)) {
        return NULL;
    }
    PyObject *set = PySet_New(fs);
    PyObject *iterator = set ? PyObject_GetIter(set) : NULL;
    PyObject *future;
    bool native = iterator != NULL && PySet_GET_SIZE(set) > 0;
    while (native && (future = PyIter_Next(iterator)) != NULL) {
        native = future_is_exact(loop->state, future) && ((Future *)future)->loop == (PyObject *)loop;
        Py_DECREF(future);
    }
    Py_XDECREF(iterator);
    if (set == NULL) {
        PyErr_Clear(); /* unhashable: asyncio's set() will say so in its place */
    }
    if (!native) {
        Py_CLEAR(set);
    }
    return set;
}

static PySendResult
delegate_to_asyncio(WaitCoroutine *self)
{
    PyObject *kwargs = PyDict_New();
    PyObject *args = kwargs ? PyTuple_Pack(1, self->fs) : NULL;
    if (args != NULL && PyDict_SetItemString(kwargs, "timeout", self->timeout) == 0
        && PyDict_SetItemString(kwargs, "return_when", self->return_when) == 0) {
        self->base.delegate = PyObject_Call(self->base.state->asyncio_wait, args, kwargs);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return self->base.delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

/* Waits for every future of `set`, whose order is that of asyncio's loop over the same set.  Returns 0 or -1. */
static int
wait_begin(WaitCoroutine *self, PyObject *set)
{
    PyObject *iterator = PyObject_GetIter(set), *future;
    if (iterator == NULL) {
        return -1;
    }
    /* From here on no object is made, so that nobody can change the set. */
    self->slots = PyMem_Calloc((size_t)PySet_GET_SIZE(set), sizeof(*self->slots));
    if (self->slots == NULL) {
        Py_DECREF(iterator);
        PyErr_NoMemory();
        return -1;
    }
    int result = 0;
    self->left = PySet_GET_SIZE(set);
    while (result == 0 && (future = PyIter_Next(iterator)) != NULL) {
        struct wait_slot *slot = &self->slots[self->slot_count++];
        slot->runnable = (struct runnable){ &slot_ops, (PyObject *)self };
        slot->future = (Future *)future;
        result = future_add_native(slot->future, &slot->runnable);
    }
    Py_DECREF(iterator);
    return result;
}

static PySendResult
wait_start(Coroutine *base, PyObject **result)
{
    WaitCoroutine *self = (WaitCoroutine *)base;
    bool plain_timeout =
        self->timeout == Py_None || PyFloat_CheckExact(self->timeout) || PyLong_CheckExact(self->timeout);
    Loop *loop = NULL;
    if (parse_return_when(self->return_when, &self->when) == 0 && plain_timeout) {
        loop = loop_running_fused(base->state);
    }
    PyObject *set = loop ? native_set(self->fs, loop) : NULL;
    if (set == NULL) {
        Py_XDECREF(loop);
        return PyErr_Occurred() ? PYGEN_ERROR : delegate_to_asyncio(self);
    }
    PySendResult outcome = PYGEN_ERROR;
    self->loop = (PyObject *)loop;
    LOOP_HOME_SETTLE(self, loop);
    self->waiting_task = AC_PY314 ? Py_XNewRef(loop->entered_task) : NULL;
    Future *waiter = future_new(base->state, self->loop);
    double timeout = self->timeout == Py_None ? 0.0 : PyFloat_AsDouble(self->timeout);
    if (waiter == NULL || (timeout == -1.0 && PyErr_Occurred())) {
        goto done;
    }
    if (self->timeout != Py_None
        && loop_add_timer(loop, &self->timer, clock_ns_not_before(clock_seconds(clock_now_ns()) + timeout)) < 0) {
        goto done;
    }
    if (wait_begin(self, set) < 0) {
        goto done;
    }
    outcome = coroutine_suspend_on(base, waiter, result);
done:
    Py_XDECREF(waiter);
    Py_DECREF(set);
    return outcome;
}

static PySendResult
wait_resume(Coroutine *base, PyObject **result)
{
    WaitCoroutine *self = (WaitCoroutine *)base;
    Future *waiter = (Future *)base->awaiting;
    PyObject *nothing = future_get_result(waiter);
    if (nothing == NULL) {
        return PYGEN_ERROR;
    }
    Py_DECREF(nothing);
    PyObject *done = PySet_New(NULL), *pending = PySet_New(NULL);
    bool failed = done == NULL || pending == NULL;
    for (Py_ssize_t i = 0; i < self->slot_count && !failed; i++) {
        Future *future = self->slots[i].future;
        failed = PySet_Add(future->future_state == FUTURE_PENDING ? pending : done, (PyObject *)future) < 0;
    }
    *result = failed ? NULL : PyTuple_Pack(2, done, pending);
    Py_XDECREF(done);
    Py_XDECREF(pending);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

/* A slot whose future is done may still be in the queue: the slots live as long as the object. */
static void
wait_leave(Coroutine *base)
{
    WaitCoroutine *self = (WaitCoroutine *)base;
    if (self->loop != NULL) {
        loop_remove_timer((Loop *)self->loop, &self->timer);
        Py_CLEAR(self->loop);
    }
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        if (self->slots[i].future != NULL) {
            future_remove_native(self->slots[i].future, &self->slots[i].runnable);
        }
    }
    Py_CLEAR(self->waiting_task);
}

static const struct coroutine_body wait_body = {
    .name = "wait",
    .start = wait_start,
    .resume = wait_resume,
    .leave = wait_leave,
};

/* ---- Python face ---- */

static int
WaitCoroutine_traverse(WaitCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->fs);
    Py_VISIT(self->timeout);
    Py_VISIT(self->return_when);
    Py_VISIT(self->loop);
    LOOP_HOME_VISIT(self);
    Py_VISIT(self->waiting_task);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        Py_VISIT(self->slots[i].future);
    }
    return coroutine_traverse(&self->base, visit, arg);
}

static int
WaitCoroutine_clear(WaitCoroutine *self)
{
    coroutine_clear(&self->base);
    wait_leave(&self->base);
    LOOP_HOME_CLEAR(self);
    Py_CLEAR(self->fs);
    Py_CLEAR(self->timeout);
    Py_CLEAR(self->return_when);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        Py_CLEAR(self->slots[i].future);
    }
    return 0;
}

static void
WaitCoroutine_dealloc(WaitCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    PyMem_Free(self->slots);
    struct state *state = self->base.state;
    freelist_free(&state->WaitCoroutine_freelist, state->WaitCoroutine_type, (PyObject *)self);
}

static PyObject *
wait_function(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *timeout = Py_None, *return_when = NULL;
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    bool plain = nargs == 1 && COMPAT_LOAD(state->debug_loops) == 0;
    for (Py_ssize_t i = 0; i < count && plain; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i), *value = args[nargs + i];
        if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
            timeout = value;
        }
        else if (PyUnicode_CompareWithASCIIString(name, "return_when") == 0) {
            return_when = value;
        }
        else {
            plain = false;
        }
    }
    if (!plain) {
        return PyObject_Vectorcall(state->asyncio_wait, args, (size_t)nargs, kwnames);
    }
    WaitCoroutine *self = (WaitCoroutine *)freelist_new(&state->WaitCoroutine_freelist, state->WaitCoroutine_type);
    if (self == NULL) {
        return NULL;
    }
    coroutine_init(&self->base, state, &wait_body);
    self->timeout_runnable = (struct runnable){ &timeout_ops, (PyObject *)self };
    self->timer.runnable = &self->timeout_runnable;
    heap_node_init(&self->timer.node);
    self->fs = Py_NewRef(args[0]);
    self->timeout = Py_NewRef(timeout);
    self->return_when = return_when ? Py_NewRef(return_when) : PyUnicode_InternFromString("ALL_COMPLETED");
    PyObject_GC_Track(self);
    if (self->return_when == NULL) {
        self->base.coroutine_state = COROUTINE_CLOSED;
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(wait_doc, "Coroutine that waits for the futures and tasks fs; returns two sets, (done, pending).\n\n"
                       "It ends after timeout seconds at the latest, cancelling nothing, or as return_when says:\n"
                       "FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.\n\n"
                       "asyncio documentation: Coroutines and Tasks, Waiting Primitives.");

static PyType_Slot WaitCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, WaitCoroutine_dealloc },
    { Py_tp_traverse, WaitCoroutine_traverse },
    { Py_tp_clear, WaitCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec WaitCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(WaitCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = WaitCoroutine_slots,
};

int
wait_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->WaitCoroutine_type, &WaitCoroutine_spec, NULL) < 0) {
        return -1;
    }
    return coroutine_function_add(module, module, state->asyncio_wait, wait_function, wait_doc);
}
