/* Handle and TimerHandle.  Layer: core.

   Equivalent, without the error reports, which are the loop's:

       class Handle:
           def __init__(self, callback, args, loop, context=None):
               self._callback, self._args, self._loop = callback, args, loop
               self._context = contextvars.copy_context() if context is None else context
               self._cancelled = False
           def cancel(self):
               self._cancelled, self._callback, self._args = True, None, None
           def _run(self):
               self._context.run(self._callback, *self._args)

   A handle keeps up to three arguments in itself, which covers nearly all, and comes from a freelist.

   Most handles live from call_soon() or call_later() to their turn, and nobody looks at them.  While the loop runs it is alive,
   and so is what it has queued: the garbage collector need not know of a handle before that has left the queue, or the run has
   ended, and somebody still holds it.  (loop_push() and loop_add_timer() see to those that are queued while it does not run.)
   What collections of 100,000 pending timers cost otherwise is more than all the rest.  A cancelled handle stays in the ready
   queue, where running it does nothing; a cancelled timer leaves the heap at once.

   On 3.14 and later, the handle of call_soon_threadsafe() promises that after cancel() has returned in another thread
   the callback does not run.  All state changes under the GIL, or in the loop's section, so that only a cancel() that meets a
   running callback needs a lock: it makes one and waits for it.  asyncio has a reentrant lock in each. */
#include "core/handle.h"

#include "core/registry.h"
#include "py/errors.h"
#include "py/stand_in.h"

#define HANDLE_GUARD(self) GUARD(loop_cast((self)->state, (self)->loop), self)

static void
handle_drop_callback(Handle *self)
{
    /* Detach first: the decrefs may run anything. */
    PyObject *callback = self->callback, *tuple = self->args_tuple, *args[HANDLE_INLINE_ARGS];
    int count = 0;
    for (int i = 0; i < HANDLE_INLINE_ARGS; i++) {
        if (self->args[i] != NULL) {
            args[count++] = self->args[i];
            self->args[i] = NULL;
        }
    }
    self->callback = self->args_tuple = NULL;
    self->nargs = 0;
    Py_XDECREF(callback);
    Py_XDECREF(tuple);
    while (count > 0) {
        Py_DECREF(args[--count]);
    }
}

/* ---- Running ---- */

/* context.run(callback, *args): asyncio asks no more of a context than this method. */
AC_COLD static int
call_in_foreign_context(PyObject *context, PyObject *callback, PyObject *const *args, int count, PyObject *args_tuple)
{
    PyObject *run = PyObject_GetAttrString(context, "run");
    PyObject *all = run ? PyTuple_New(1 + count) : NULL;
    if (all == NULL) {
        Py_XDECREF(run);
        return -1;
    }
    PyTuple_SET_ITEM(all, 0, Py_NewRef(callback));
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(all, i + 1, Py_NewRef(args_tuple ? PyTuple_GET_ITEM(args_tuple, i) : args[i]));
    }
    PyObject *result = PyObject_Call(run, all, NULL);
    Py_DECREF(run);
    Py_DECREF(all);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* The end of a call in a context that was entered, with what it has returned.  Returns 0 or -1. */
static inline int
leave_context_steal(PyObject *context, PyObject *result)
{
    if (AC_LIKELY(result != NULL)) {
        Py_DECREF(result); /* inside of the context, as when the callback's frame ends */
        return PyContext_Exit(context);
    }
    PyObject *exception = compat_exception_take();
    if (PyContext_Exit(context) < 0) {
        Py_DECREF(exception);
    }
    else {
        compat_exception_restore_steal(exception);
    }
    return -1;
}

/* Calls what the caller keeps alive, in the handle's context, which the handle keeps.  `count` is that of the arguments before
   anything could cancel the handle: making the context may collect garbage. */
static int
call_in_context(Handle *self, PyObject *callback, PyObject *const *args, int count, PyObject *args_tuple)
{
    PyObject *result = NULL, *context = lazy_context_borrow(&self->context, self->state);
    if (AC_UNLIKELY(context != NULL && !PyContext_CheckExact(context))) {
        return call_in_foreign_context(context, callback, args, count, args_tuple);
    }
    if (context == NULL || PyContext_Enter(context) < 0) {
        return -1;
    }
    if (AC_UNLIKELY(args_tuple != NULL)) {
        result = PyObject_Call(callback, args_tuple, NULL);
    }
    else {
        result = PyObject_Vectorcall(callback, args, (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    return leave_context_steal(context, result);
}

/* Whether the callback is that of a stream's transport that has something to read. */
static inline bool
reads_stream(Handle *self, PyObject *callback)
{
    return PyCFunction_CheckExact(callback) && PyCFunction_GET_FUNCTION(callback) == self->state->read_ready
           && self->nargs == 0;
}

/* Of what is called from one handle over and over again this comes most often: it is called as the C function that it is.  The
   caller keeps the transport alive. */
static int
read_stream_in_context(Handle *self, PyObject *callback)
{
    PyObject *context = lazy_context_borrow(&self->context, self->state);
    if (AC_UNLIKELY(context == NULL || !PyContext_CheckExact(context))) {
        return call_in_context(self, callback, NULL, 0, NULL);
    }
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    return leave_context_steal(context, self->state->read_ready(PyCFunction_GET_SELF(callback), NULL));
}

/* Runs a handle that others may hold: cancel() may come from inside, so what is used is held, the inline arguments
   as a copy. */
static int
handle_call(Handle *self)
{
    PyObject *callback = self->callback;
    if (callback == NULL) {
        return 0;
    }
    bool reads = reads_stream(self, callback);
    PyObject *held[HANDLE_INLINE_ARGS + 1], *tuple = Py_XNewRef(self->args_tuple);
    PyObject **args = held + 1;
    int nargs = self->nargs, held_count = tuple ? 0 : nargs;
    for (int i = 0; i < held_count; i++) {
        args[i] = Py_NewRef(self->args[i]);
    }
    Py_INCREF(callback);
    int result = reads ? read_stream_in_context(self, callback) : call_in_context(self, callback, args, nargs, tuple);
    PyObject *exception = result < 0 ? compat_exception_take() : NULL;
    Py_DECREF(callback);
    for (int i = 0; i < held_count; i++) {
        Py_DECREF(args[i]);
    }
    Py_XDECREF(tuple);
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
    return result;
}

/* Runs a handle that the queue alone held, so that nobody can reach it while it runs: neither cancel(), by no weak reference
   either, nor the garbage collector, which does not know it.  Vectorcall may use the word before the arguments and puts it back: it is
   `callback`. */
static int
handle_call_unseen(Handle *self)
{
    int result = call_in_context(self, self->callback, self->args, self->nargs, self->args_tuple);
    lazy_context_fold(&self->context, self->state);
    return result;
}

/* A thread that waits until the handle does not run any more.  On its stack. */
struct handle_waiter {
    struct handle_waiter *next;
    PyThread_type_lock ended; /* held until then */
};

/* If it runs in another thread right now: waits until it has ended.  Returns 0 or -1. */
static int
handle_wait_while_running(Handle *self)
{
    while (self->runner != 0 && self->runner != PyThread_get_thread_ident()) {
        struct handle_waiter waiter = { self->waiters, PyThread_allocate_lock() };
        if (waiter.ended == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        PyThread_acquire_lock(waiter.ended, WAIT_LOCK);
        self->waiters = &waiter;
        Py_BEGIN_ALLOW_THREADS
        PyThread_acquire_lock(waiter.ended, WAIT_LOCK);
        Py_END_ALLOW_THREADS
        PyThread_free_lock(waiter.ended);
    }
    return 0;
}

/* Its callback may call _run(), which fails in its context, and does not end this run. */
static int
handle_call_threadsafe(Handle *self)
{
    if (handle_wait_while_running(self) < 0) {
        return -1;
    }
    if (self->cancelled) {
        return 0;
    }
    unsigned long outer = self->runner;
    self->runner = PyThread_get_thread_ident();
    int result = handle_call(self);
    self->runner = outer;
    if (outer == 0) {
        struct handle_waiter *waiter = self->waiters;
        self->waiters = NULL;
        while (waiter != NULL) {
            struct handle_waiter *next = waiter->next;
            PyThread_release_lock(waiter->ended);
            waiter = next;
        }
    }
    return result;
}

static int
handle_call_seen(Handle *self)
{
    return AC_UNLIKELY(self->threadsafe) ? handle_call_threadsafe(self) : handle_call(self);
}

static int
handle_run(struct runnable *runnable, Loop *loop)
{
    Handle *self = AC_CONTAINER_OF(runnable, Handle, runnable);
    if (registry_leave(loop) < 0) {
        return -1;
    }
    int result;
    if (AC_LIKELY(Py_REFCNT(self) == 1 && self->callback != NULL && self->weakreflist == NULL
                  && !PyObject_GC_IsTracked((PyObject *)self))) {
        result = handle_call_unseen(self);
    }
    else {
        result = handle_call_seen(self);
    }
    runnable_leaves_queue((PyObject *)self);
    return result;
}

static PyObject *
handle_as_handle(struct runnable *runnable, Loop *Py_UNUSED(loop))
{
    return Py_NewRef(runnable->owner);
}

static const struct runnable_ops handle_ops = {
    .run = handle_run,
    .as_handle = handle_as_handle,
};

/* One whose `_cancelled` was set: it keeps its callback, and does not call it. */
static int
cancelled_run(struct runnable *runnable, Loop *Py_UNUSED(loop))
{
    runnable_leaves_queue(runnable->owner);
    return 0;
}

static const struct runnable_ops cancelled_ops = {
    .run = cancelled_run,
    .as_handle = handle_as_handle,
};

/* ---- Making ---- */

static int
handle_init(Handle *self, struct state *state, PyObject *loop, PyObject *callback, PyObject *const *args,
            Py_ssize_t nargs, PyObject *context)
{
    self->state = state;
    self->runnable = (struct runnable){ &handle_ops, (PyObject *)self };
    if (lazy_context_init(&self->context, state, context) < 0) {
        return -1;
    }
    self->loop = Py_NewRef(loop);
    self->callback = Py_NewRef(callback);
    if (nargs <= HANDLE_INLINE_ARGS) {
        for (Py_ssize_t i = 0; i < nargs; i++) {
            self->args[i] = Py_NewRef(args[i]);
        }
    }
    else {
        self->args_tuple = PyTuple_New(nargs);
        if (self->args_tuple == NULL) {
            return -1;
        }
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(self->args_tuple, i, Py_NewRef(args[i]));
        }
    }
    self->nargs = (int)nargs;
    Loop *native = loop_cast(state, loop);
    if (native != NULL && AC_UNLIKELY(COMPAT_LOAD(native->debug))) {
        self->source_traceback = PyObject_CallNoArgs(state->extract_stack);
        if (self->source_traceback == NULL) {
            return -1;
        }
    }
    return 0;
}

Handle *
handle_new(struct state *state, PyObject *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
           PyObject *context)
{
    Py_XINCREF(context); /* borrowed, perhaps, from what a collection may clear: an allocation may collect */
    Handle *self = (Handle *)freelist_new(&state->Handle_freelist, state->Handle_type);
    if (self != NULL && handle_init(self, state, loop, callback, args, nargs, context) < 0) {
        Py_CLEAR(self);
    }
    Py_XDECREF(context);
    return self;
}

PyObject *
handle_for_runnable(struct runnable *runnable, Loop *loop, PyObject *argument)
{
    /* Held, for an allocation may collect garbage. */
    PyObject *args[] = { Py_NewRef(argument ? argument : Py_None) };
    PyObject *callback = runnable->ops->as_callback(runnable);
    PyObject *context = callback ? Py_XNewRef(runnable->ops->context_borrow(runnable)) : NULL;
    Handle *handle = NULL;
    if (context != NULL) {
        PyObject *given = context != Py_None ? context : NULL;
        handle = handle_new(loop->state, (PyObject *)loop, callback, args, 1, given);
    }
    Py_XDECREF(context);
    Py_XDECREF(callback);
    Py_DECREF(args[0]);
    return (PyObject *)handle;
}

TimerHandle *
timer_handle_new(struct state *state, PyObject *loop, double when, PyObject *callback, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *context)
{
    Py_XINCREF(context); /* as above */
    TimerHandle *self = (TimerHandle *)freelist_new(&state->TimerHandle_freelist, state->TimerHandle_type);
    if (self != NULL) {
        heap_node_init(&self->timer.node);
        self->timer.runnable = &self->handle.runnable;
        self->when = when;
        if (handle_init(&self->handle, state, loop, callback, args, nargs, context) < 0) {
            Py_CLEAR(self);
        }
    }
    Py_XDECREF(context);
    return self;
}

double
timer_when(Loop *loop, const struct heap_entry *entry)
{
    PyObject *owner = loop_timer_of(loop, entry)->runnable->owner;
    return Py_TYPE(owner) == loop->state->TimerHandle_type ? ((TimerHandle *)owner)->when
                                                           : clock_seconds(entry->deadline_ns);
}

static bool
is_timer(Handle *self)
{
    return Py_TYPE(self) == self->state->TimerHandle_type;
}

int
handle_cancel(Handle *self)
{
    if (handle_wait_while_running(self) < 0) {
        return -1;
    }
    if (self->cancelled) {
        return 0;
    }
    Loop *loop = loop_cast(self->state, self->loop);
    self->cancelled = true;
    if (loop != NULL && COMPAT_LOAD(loop->debug)) {
        /* The callback is about to be forgotten; debug mode wants to see it. */
        PyObject *repr = PyObject_Repr((PyObject *)self);
        if (repr == NULL) {
            return -1;
        }
        Py_XSETREF(self->cancelled_repr, repr);
    }
    if (loop != NULL && is_timer(self)) {
        TimerHandle *timer = (TimerHandle *)self;
        if (heap_node_queued(&timer->timer.node)) {
            timer->cancelled_in = loop->cancelled_in = loop->turn + 1;
        }
        loop_remove_timer(loop, &timer->timer);
    }
    handle_drop_callback(self);
    return 0;
}

/* ---- Python face ---- */

static int
Handle_traverse(Handle *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    int result = lazy_context_traverse(&self->context, visit, arg);
    if (result != 0) {
        return result;
    }
    Py_VISIT(self->callback);
    for (int i = 0; i < HANDLE_INLINE_ARGS; i++) {
        Py_VISIT(self->args[i]);
    }
    Py_VISIT(self->args_tuple);
    Py_VISIT(self->source_traceback);
    if (is_timer(self)) {
        Py_VISIT(((TimerHandle *)self)->given_when);
    }
    return 0;
}

static int
Handle_clear(Handle *self)
{
    handle_drop_callback(self);
    Py_CLEAR(self->loop);
    lazy_context_clear(&self->context);
    Py_CLEAR(self->source_traceback);
    Py_CLEAR(self->cancelled_repr);
    if (is_timer(self)) {
        Py_CLEAR(((TimerHandle *)self)->given_when);
    }
    return 0;
}

static void
Handle_dealloc(Handle *self)
{
    PyObject_GC_UnTrack(self);
    if (self->weakreflist != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    Handle_clear(self);
    struct state *state = self->state;
    if (is_timer(self)) {
        freelist_free(&state->TimerHandle_freelist, state->TimerHandle_type, (PyObject *)self);
    }
    else {
        freelist_free(&state->Handle_freelist, state->Handle_type, (PyObject *)self);
    }
}

/* True with the *result of asyncio's own method if that was replaced. */
static inline bool
called_aside(Handle *self, PyObject *name, PyObject **result)
{
    struct state *state = self->state;
    PyTypeObject *class = (PyTypeObject *)state->asyncio_TimerHandle; /* it changes with its base */
    int aside = stand_in_stepped_aside(state, class, &state->handle_version, Py_TYPE(self), name);
    if (AC_LIKELY(aside == 0)) {
        return false;
    }
    *result = aside > 0 ? PyObject_CallMethodNoArgs((PyObject *)self, name) : NULL;
    return true;
}

static PyObject *
Handle_cancel(Handle *self, PyObject *Py_UNUSED(ignored))
{
    HANDLE_GUARD(self);
    PyObject *aside;
    if (called_aside(self, self->state->str_cancel, &aside)) {
        return aside;
    }
    if (handle_cancel(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Handle_cancelled(Handle *self, PyObject *Py_UNUSED(ignored))
{
    HANDLE_GUARD(self);
    PyObject *aside;
    if (called_aside(self, self->state->str_cancelled, &aside)) {
        return aside;
    }
    if (handle_wait_while_running(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(self->cancelled);
}

static PyObject *
Handle_get_context(Handle *self, PyObject *Py_UNUSED(ignored))
{
    HANDLE_GUARD(self);
    return Py_XNewRef(lazy_context_borrow(&self->context, self->state));
}

static PyObject *
Handle_run(Handle *self, PyObject *Py_UNUSED(ignored))
{
    HANDLE_GUARD(self);
    if (handle_call_seen(self) < 0) {
        Loop *loop = loop_cast(self->state, self->loop);
        if (loop == NULL || loop_report(loop, &self->runnable) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* asyncio's own texts, of the version at hand: its methods work on anything with a handle's attributes. */
static PyObject *
handle_borrow_method(Handle *self, PyObject *name)
{
    PyObject *class = is_timer(self) ? self->state->asyncio_TimerHandle : self->state->asyncio_Handle;
    return PyObject_CallMethodOneArg(class, name, (PyObject *)self);
}

static PyObject *
Handle_repr(Handle *self)
{
    return handle_borrow_method(self, self->state->str___repr__);
}

static PyObject *
Handle_repr_info(Handle *self, PyObject *Py_UNUSED(ignored))
{
    return handle_borrow_method(self, self->state->str__repr_info);
}

static PyObject *
Handle_get_class(Handle *self, void *Py_UNUSED(closure))
{
    struct state *state = self->state;
    if (is_timer(self)) {
        return Py_NewRef(state->asyncio_TimerHandle);
    }
    if (self->threadsafe && state->asyncio_ThreadSafeHandle != NULL) {
        return Py_NewRef(state->asyncio_ThreadSafeHandle);
    }
    return Py_NewRef(state->asyncio_Handle);
}

static PyObject *
Handle_get_callback(Handle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    return Py_NewRef(self->callback ? self->callback : Py_None);
}

static PyObject *
Handle_get_args(Handle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    if (self->callback == NULL) {
        Py_RETURN_NONE;
    }
    if (self->args_tuple != NULL) {
        return Py_NewRef(self->args_tuple);
    }
    /* Held first, for making the tuple may collect garbage, and that may cancel the handle. */
    PyObject *held[HANDLE_INLINE_ARGS];
    int count = self->nargs;
    for (int i = 0; i < count; i++) {
        held[i] = Py_NewRef(self->args[i]);
    }
    PyObject *args = PyTuple_New(count);
    for (int i = 0; i < count; i++) {
        if (args != NULL) {
            PyTuple_SET_ITEM(args, i, held[i]);
        }
        else {
            Py_DECREF(held[i]);
        }
    }
    return args;
}

static PyObject *
Handle_get_cancelled(Handle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    return PyBool_FromLong(self->cancelled);
}

static PyObject *
Handle_get_loop(Handle *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->loop ? self->loop : Py_None);
}

static PyObject *
Handle_get_context_attribute(Handle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    return Handle_get_context(self, NULL);
}

static PyObject *
Handle_get_source_traceback(Handle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    return Py_NewRef(self->source_traceback ? self->source_traceback : Py_None);
}

static PyObject *
Handle_get_repr(Handle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    return Py_NewRef(self->cancelled_repr ? self->cancelled_repr : Py_None);
}

/* ---- What asyncio's own cancel() sets, and tools that wrap a callback ---- */

/* A field is not taken away, only set. */
static int
refuse_to_delete(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "this attribute of a handle cannot be deleted");
    }
    return value ? 0 : -1;
}

static int
Handle_set_callback(Handle *self, PyObject *value, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    if (refuse_to_delete(value) < 0) {
        return -1;
    }
    if (value == Py_None) {
        handle_drop_callback(self);
    }
    else {
        Py_XSETREF(self->callback, Py_NewRef(value));
    }
    return 0;
}

static int
Handle_set_args(Handle *self, PyObject *value, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    if (refuse_to_delete(value) < 0) {
        return -1;
    }
    PyObject *args = value == Py_None ? PyTuple_New(0) : PySequence_Tuple(value);
    if (args == NULL) {
        return -1;
    }
    PyObject *callback = Py_XNewRef(self->callback);
    handle_drop_callback(self);
    Py_XSETREF(self->callback, callback);
    Py_XSETREF(self->args_tuple, args);
    self->nargs = (int)PyTuple_GET_SIZE(args);
    return 0;
}

static int
Handle_set_cancelled(Handle *self, PyObject *value, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    int truth = refuse_to_delete(value) < 0 ? -1 : PyObject_IsTrue(value);
    if (truth < 0 || handle_wait_while_running(self) < 0) {
        return -1;
    }
    self->cancelled = truth;
    self->runnable.ops = truth ? &cancelled_ops : &handle_ops;
    return 0;
}

static int
Handle_set_repr(Handle *self, PyObject *value, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(self);
    if (refuse_to_delete(value) < 0) {
        return -1;
    }
    Py_XSETREF(self->cancelled_repr, value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
TimerHandle_get_when(TimerHandle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(&self->handle);
    return self->given_when ? Py_NewRef(self->given_when) : PyFloat_FromDouble(self->when);
}

static PyObject *
TimerHandle_when(TimerHandle *self, PyObject *Py_UNUSED(ignored))
{
    HANDLE_GUARD(&self->handle);
    PyObject *aside;
    if (called_aside(&self->handle, self->handle.state->str_when, &aside)) {
        return aside;
    }
    return TimerHandle_get_when(self, NULL);
}

/* asyncio leaves a cancelled timer in its heap until a turn finds it to be the first.  One that was cancelled since the turn began
   may be before it. */
static bool
cancelled_but_scheduled(TimerHandle *self)
{
    Loop *loop = loop_cast(self->handle.state, self->handle.loop);
    if (self->cancelled_in == 0 || loop == NULL) {
        return false;
    }
    const struct heap_entry *first = heap_first(&loop->timers);
    bool is_first = first == NULL || first->deadline_ns >= clock_ns_not_before(self->when);
    if (loop->turn >= loop->cancelled_in && is_first) {
        self->cancelled_in = 0;
    }
    return self->cancelled_in != 0;
}

static bool
is_scheduled(TimerHandle *self)
{
    return self->handle.mark != 0 ? self->handle.mark > 0
                                  : heap_node_queued(&self->timer.node) || cancelled_but_scheduled(self);
}

void
timer_take_out(Loop *loop, struct timer *timer)
{
    TimerHandle *self = (TimerHandle *)timer->runnable->owner;
    if (Py_IS_TYPE((PyObject *)self, loop->state->TimerHandle_type)) {
        self->handle.mark = is_scheduled(self) ? 1 : -1;
    }
    loop_remove_timer(loop, timer);
}

static PyObject *
TimerHandle_get_scheduled(TimerHandle *self, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(&self->handle);
    return PyBool_FromLong(is_scheduled(self));
}

static int
TimerHandle_set_scheduled(TimerHandle *self, PyObject *value, void *Py_UNUSED(closure))
{
    HANDLE_GUARD(&self->handle);
    int truth = refuse_to_delete(value) < 0 ? -1 : PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    self->handle.mark = 0; /* what the heap says, unless that is wrong: for its turn sets it, too */
    if ((truth != 0) != is_scheduled(self)) {
        self->handle.mark = truth ? 1 : -1;
    }
    return 0;
}

static Py_hash_t
TimerHandle_hash(TimerHandle *self)
{
    PyObject *when = TimerHandle_get_when(self, NULL);
    Py_hash_t hash = when ? PyObject_Hash(when) : -1;
    Py_XDECREF(when);
    return hash;
}

/* Every comparison of asyncio's TimerHandle works on attributes, so ours is asyncio's with the sides as given; only which
   one it is asked of must not lead back here. */
static PyObject *
TimerHandle_richcompare(PyObject *left, PyObject *right, int op)
{
    static const char *const names[] = { "__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__" };
    PyObject *class = ((Handle *)left)->state->asyncio_TimerHandle;
    if (op == Py_NE) {
        PyObject *equal = TimerHandle_richcompare(left, right, Py_EQ);
        if (equal == NULL || equal == Py_NotImplemented) {
            return equal;
        }
        int truth = PyObject_IsTrue(equal);
        Py_DECREF(equal);
        return truth < 0 ? NULL : PyBool_FromLong(!truth);
    }
    return PyObject_CallMethod(class, names[op], "OO", left, right);
}

PyDoc_STRVAR(cancel_doc, "cancel($self, /)\n--\n\n"
                         "Cancel the callback; does nothing where it has been cancelled or has run.\n\n"
                         "asyncio documentation: Event Loop, Callback Handles.");
PyDoc_STRVAR(cancelled_doc, "cancelled($self, /)\n--\n\n"
                            "Return True if the callback was cancelled.\n\n"
                            "asyncio documentation: Event Loop, Callback Handles.");
PyDoc_STRVAR(get_context_doc, "get_context($self, /)\n--\n\n"
                              "Return the contextvars.Context in which the callback runs.\n\n"
                              "asyncio documentation: Event Loop, Callback Handles.");
PyDoc_STRVAR(when_doc, "when($self, /)\n--\n\n"
                       "Return the scheduled time as float seconds of loop.time().\n\n"
                       "asyncio documentation: Event Loop, Callback Handles.");
PyDoc_STRVAR(run_doc,
             "_run($self, /)\n--\n\nRun the callback now; what it raises goes to the loop's exception handler.");
PyDoc_STRVAR(repr_info_doc,
             "_repr_info($self, /)\n--\n\nReturn the list of strings that the representation consists of.");

#define HANDLE_METHODS                                                                    \
    { "cancel", (PyCFunction)Handle_cancel, METH_NOARGS, cancel_doc },                    \
        { "cancelled", (PyCFunction)Handle_cancelled, METH_NOARGS, cancelled_doc },       \
        { "get_context", (PyCFunction)Handle_get_context, METH_NOARGS, get_context_doc }, \
        { "_run", (PyCFunction)Handle_run, METH_NOARGS, run_doc },                        \
    {                                                                                     \
        "_repr_info", (PyCFunction)Handle_repr_info, METH_NOARGS, repr_info_doc           \
    }

#define HANDLE_GETSET                                                                                  \
    { "__class__", (getter)Handle_get_class, NULL, "The class of asyncio that it stands for.", NULL }, \
        { "_callback", (getter)Handle_get_callback, (setter)Handle_set_callback, NULL, NULL },         \
        { "_args", (getter)Handle_get_args, (setter)Handle_set_args, NULL, NULL },                     \
        { "_cancelled", (getter)Handle_get_cancelled, (setter)Handle_set_cancelled, NULL, NULL },      \
        { "_loop", (getter)Handle_get_loop, NULL, NULL, NULL },                                        \
        { "_context", (getter)Handle_get_context_attribute, NULL, NULL, NULL },                        \
        { "_source_traceback", (getter)Handle_get_source_traceback, NULL, NULL, NULL },                \
    {                                                                                                  \
        "_repr", (getter)Handle_get_repr, (setter)Handle_set_repr, NULL, NULL                          \
    }

static PyMethodDef Handle_methods[] = { HANDLE_METHODS, { 0 } };
static PyGetSetDef Handle_getset[] = { HANDLE_GETSET, { 0 } };
static PyMemberDef Handle_members[] = {
    { "__weaklistoffset__", T_PYSSIZET, offsetof(Handle, weakreflist), READONLY, NULL },
    { 0 },
};

static PyMethodDef TimerHandle_methods[] = {
    HANDLE_METHODS,
    { "when", (PyCFunction)TimerHandle_when, METH_NOARGS, when_doc },
    { 0 },
};
static PyGetSetDef TimerHandle_getset[] = {
    HANDLE_GETSET,
    { "_when", (getter)TimerHandle_get_when, NULL, NULL, NULL },
    { "_scheduled", (getter)TimerHandle_get_scheduled, (setter)TimerHandle_set_scheduled, NULL, NULL },
    { 0 },
};

PyDoc_STRVAR(Handle_doc, "A callback that call_soon() or call_soon_threadsafe() has queued.\n\n"
                         "asyncio documentation: Event Loop, Callback Handles.");
PyDoc_STRVAR(TimerHandle_doc, "A callback that call_later() or call_at() has queued.\n\n"
                              "asyncio documentation: Event Loop, Callback Handles.");

static PyType_Slot Handle_slots[] = {
    { Py_tp_doc, (void *)Handle_doc }, { Py_tp_dealloc, Handle_dealloc }, { Py_tp_traverse, Handle_traverse },
    { Py_tp_clear, Handle_clear },     { Py_tp_repr, Handle_repr },       { Py_tp_methods, Handle_methods },
    { Py_tp_getset, Handle_getset },   { Py_tp_members, Handle_members }, { 0, NULL },
};

static PyType_Slot TimerHandle_slots[] = {
    { Py_tp_doc, (void *)TimerHandle_doc },
    { Py_tp_dealloc, Handle_dealloc },
    { Py_tp_traverse, Handle_traverse },
    { Py_tp_clear, Handle_clear },
    { Py_tp_repr, Handle_repr },
    { Py_tp_hash, TimerHandle_hash },
    { Py_tp_richcompare, TimerHandle_richcompare },
    { Py_tp_methods, TimerHandle_methods },
    { Py_tp_getset, TimerHandle_getset },
    { Py_tp_members, Handle_members },
    { 0, NULL },
};

enum {
    HANDLE_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
        | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

static PyType_Spec Handle_spec = {
    .name = "asyncio_c._core.Handle",
    .basicsize = sizeof(Handle),
    .flags = HANDLE_FLAGS,
    .slots = Handle_slots,
};

static PyType_Spec TimerHandle_spec = {
    .name = "asyncio_c._core.TimerHandle",
    .basicsize = sizeof(TimerHandle),
    .flags = HANDLE_FLAGS,
    .slots = TimerHandle_slots,
};

int
handle_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Handle_type, &Handle_spec, NULL) < 0
        || state_add_type(module, &state->TimerHandle_type, &TimerHandle_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Handle_type) < 0 || PyModule_AddType(module, state->TimerHandle_type) < 0
               ? -1
               : 0;
}
