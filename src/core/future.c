/* Future.  Layer: core.

   Equivalent:

       class Future:
           def set_result(self, result):
               if self._state != PENDING: raise InvalidStateError
               self._state, self._result = FINISHED, result
               for callback, context in self._callbacks: self._loop.call_soon(callback, self, context=context)
           def __await__(self):
               if not self.done():
                   self._asyncio_future_blocking = True
                   yield self
               return self.result()

   This file makes futures and finishes them.  future_entries.c: who waits; future_iter.c: awaiting; awaited_by.c: call graphs;
   future_type.c: the Python face.

   Invariant: a done future never changes its state again. */
#include "core/future.h"

#include "core/future_entries.h"
#include "py/errors.h"
#include "py/monitor.h"

#if AC_FREE_THREADED
#include <sched.h>
#endif

/* ---- Making ---- */

PyObject *
future_default_loop(struct state *state)
{
    return PyObject_CallNoArgs(state->get_event_loop);
}

PyObject *
future_get_loop(struct state *state, PyObject *future)
{
    if (future_is_exact(state, future)) {
        PyObject *loop = ((Future *)future)->loop;
        return Py_NewRef(loop ? loop : Py_None);
    }
    PyObject *loop = PyObject_CallMethodNoArgs(future, state->str_get_loop);
    if (loop == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        loop = PyObject_GetAttr(future, state->str__loop);
    }
    return loop;
}

AC_COLD struct future_rare *
future_rare(Future *self)
{
    if (self->rare == NULL && (self->rare = PyMem_Calloc(1, sizeof(*self->rare))) == NULL) {
        PyErr_NoMemory();
    }
    return self->rare;
}

AC_COLD static int
remember_origin(Future *self)
{
    MONITOR_OUTSIDE(); /* of whoever makes a future to wait for */
    PyObject *traceback = PyObject_CallNoArgs(self->state->extract_stack);
    struct future_rare *rare = traceback ? future_rare(self) : NULL;
    if (rare == NULL) {
        Py_XDECREF(traceback);
        return -1;
    }
    Py_XSETREF(rare->source_traceback, traceback);
    return 0;
}

int
future_init(Future *self, struct state *state, PyObject *loop)
{
    self->state = state;
    self->loop = Py_NewRef(loop);
    self->native_loop = loop_cast(state, loop);
#if AC_FREE_THREADED
    COMPAT_STORE_PUBLISHED(self->begun, FUTURE_HAS_LOOP);
#endif
    if (AC_LIKELY(self->native_loop != NULL && !COMPAT_LOAD(self->native_loop->debug_overridden))) {
        return AC_UNLIKELY(COMPAT_LOAD(self->native_loop->debug)) ? remember_origin(self) : 0;
    }
    MONITOR_OUTSIDE();
    PyObject *debug = PyObject_CallMethodNoArgs(loop, state->str_get_debug);
    int truth = debug ? PyObject_IsTrue(debug) : -1;
    Py_XDECREF(debug);
    if (truth < 0) {
        return -1;
    }
    return truth ? remember_origin(self) : 0;
}

#if AC_FREE_THREADED
bool
future_begins(Future *self)
{
    const uintptr_t me = compat_thread();
    uintptr_t begun = 0;
    if (!COMPAT_EXCHANGE_IF(self->begun, &begun, me)) {
        while (begun != FUTURE_HAS_LOOP && begun != me) { /* me: what the first one frees calls __init__(), too */
            Py_BEGIN_ALLOW_THREADS
            sched_yield();
            Py_END_ALLOW_THREADS
            begun = COMPAT_LOAD_PUBLISHED(self->begun);
        }
        return false;
    }
    return true;
}
#endif

Future *
future_new(struct state *state, PyObject *loop)
{
    Future *self = (Future *)freelist_new(&state->Future_freelist, state->Future_type);
    if (self == NULL) {
        return NULL;
    }
    int result = future_init(self, state, loop);
    PyObject_GC_Track(self);
    if (result < 0) {
        Py_CLEAR(self);
    }
    return self;
}

void
future_keep_spare_steal(PyObject **spare, Future *future)
{
    if (AC_FREELISTS && Py_REFCNT(future) == 1 && future->weakreflist == NULL) {
        Py_XSETREF(*spare, (PyObject *)future);
    }
    else {
        Py_DECREF(future);
    }
}

/* The garbage collector shows the spare future to whoever asks for all objects, so whatever can be done to a future may have been
   done to it. */
static inline bool
is_used_up(struct state *state, Future *self)
{
    return Py_REFCNT(self) == 1 && Py_TYPE(self) == state->Future_type && self->future_state == FUTURE_FINISHED
           && self->exception == NULL && self->rare == NULL && self->dict == NULL && self->weakreflist == NULL
           && !self->blocking && !PyObject_GC_IsFinalized((PyObject *)self);
}

Future *
future_new_of_spare(struct state *state, PyObject *loop, PyObject **spare)
{
    Future *self = (Future *)*spare;
    *spare = NULL;
    if (AC_LIKELY(self != NULL && is_used_up(state, self) && self->loop == loop && self->native_loop != NULL
                  && self->native_loop->fused)) {
        self->future_state = FUTURE_PENDING;
        Py_CLEAR(self->result);
        return self;
    }
    Py_XDECREF(self);
    return future_new(state, loop);
}

int
future_traverse(Future *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->dict);
    Py_VISIT(self->loop);
    Py_VISIT(self->result);
    Py_VISIT(self->exception);
    if (self->rare != NULL) {
        Py_VISIT(self->rare->exception_traceback);
        Py_VISIT(self->rare->source_traceback);
        Py_VISIT(self->rare->cancel_message);
        Py_VISIT(self->rare->cancelled_error);
        Py_VISIT(self->rare->awaited_by);
    }
    return future_traverse_entries(self, visit, arg);
}

static void
rare_clear(Future *self)
{
    struct future_rare *rare = self->rare;
    if (rare != NULL) {
        self->rare = NULL; /* first: what dies may look at the future */
        Py_XDECREF(rare->exception_traceback);
        Py_XDECREF(rare->source_traceback);
        Py_XDECREF(rare->cancel_message);
        Py_XDECREF(rare->cancelled_error);
        Py_XDECREF(rare->awaited_by);
        PyMem_Free(rare);
    }
}

void
future_clear(Future *self)
{
    Py_CLEAR(self->dict);
    future_reset(self);
}

void
future_reset(Future *self)
{
    self->native_loop = NULL;
    Py_CLEAR(self->loop);
    Py_CLEAR(self->result);
    Py_CLEAR(self->exception);
    rare_clear(self);
    future_drop_entries(self);
}

void
future_dealloc_fields(Future *self)
{
    PyObject_GC_UnTrack(self);
    if (self->weakreflist != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    future_clear(self);
}

/* ---- Finishing ---- */

static int
check_pending(Future *self)
{
    if (AC_UNLIKELY(self->future_state != FUTURE_PENDING)) {
        PyErr_SetString(self->state->InvalidStateError, "invalid state");
        return -1;
    }
    return 0;
}

int
future_set_result(Future *self, PyObject *result)
{
    if (check_pending(self) < 0) {
        return -1;
    }
    Py_XSETREF(self->result, Py_NewRef(result));
    self->future_state = FUTURE_FINISHED;
    return future_queue_entries(self);
}

/* An instance for `exception`, which may be a class; StopIteration is refused or, from 3.13 on, wrapped: raised into a
   coroutine it would look like a return.  New reference. */
static PyObject *
prepare_exception(PyObject *exception)
{
    PyObject *instance;
    if (PyExceptionClass_Check(exception)) {
        instance = PyObject_CallNoArgs(exception);
        if (instance == NULL) {
            return NULL;
        }
    }
    else {
        instance = Py_NewRef(exception);
    }
    if (!PyExceptionInstance_Check(instance)) {
        Py_DECREF(instance);
        PyErr_SetString(PyExc_TypeError, "invalid exception object");
        return NULL;
    }
    if (!PyObject_TypeCheck(instance, (PyTypeObject *)PyExc_StopIteration)) {
        return instance;
    }
    const char *message = "StopIteration interacts badly with generators and cannot be raised into a Future";
    if (!AC_PY313) {
        Py_DECREF(instance);
        PyErr_SetString(PyExc_TypeError, message);
        return NULL;
    }
    PyObject *wrapped = PyObject_CallFunction(PyExc_RuntimeError, "s", message);
    if (wrapped != NULL) {
        PyException_SetCause(wrapped, Py_NewRef(instance));
        PyException_SetContext(wrapped, Py_NewRef(instance));
    }
    Py_DECREF(instance);
    return wrapped;
}

/* Takes `traceback`, which may be NULL.  Without memory it is forgotten: that the future ends matters more. */
static void
remember_traceback(Future *self, PyObject *traceback)
{
    struct future_rare *rare = traceback ? future_rare(self) : self->rare;
    if (rare != NULL) {
        Py_XSETREF(rare->exception_traceback, traceback);
    }
    else if (traceback != NULL) {
        PyErr_Clear();
        Py_DECREF(traceback);
    }
}

int
future_set_exception(Future *self, PyObject *exception)
{
    if (check_pending(self) < 0) {
        return -1;
    }
    PyObject *instance = prepare_exception(exception);
    if (instance == NULL) {
        return -1;
    }
    if (check_pending(self) < 0) { /* making the instance ran Python */
        Py_DECREF(instance);
        return -1;
    }
    remember_traceback(self, PyException_GetTraceback(instance));
    Py_XSETREF(self->exception, instance);
    self->future_state = FUTURE_FINISHED;
    if (future_queue_entries(self) < 0) {
        return -1;
    }
    self->log_traceback = true;
    return 0;
}

int
future_without_memory(Future *self)
{
    if (self->future_state != FUTURE_PENDING || !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return -1;
    }
    PyObject *error = compat_exception_take();
    int result = future_set_exception(self, error);
    Py_DECREF(error);
    return result;
}

int
future_set_cancel_message(Future *self, PyObject *message)
{
    bool is_set = FUTURE_RARE(self, cancel_message) != NULL;
    if (!is_set && (message == NULL || message == Py_None)) {
        return 0; /* None is what is read where there is none */
    }
    struct future_rare *rare = future_rare(self);
    if (rare == NULL) {
        return -1;
    }
    Py_XSETREF(rare->cancel_message, Py_XNewRef(message));
    return 0;
}

int
future_cancel(Future *self, PyObject *message)
{
    self->log_traceback = false;
    if (self->future_state != FUTURE_PENDING) {
        return 0;
    }
    if (future_set_cancel_message(self, message) < 0) {
        return -1;
    }
    self->future_state = FUTURE_CANCELLED;
    return future_queue_entries(self) < 0 ? -1 : 1;
}

PyObject *
future_make_cancelled_error(Future *self)
{
    PyObject *error = FUTURE_RARE(self, cancelled_error), *message = FUTURE_RARE(self, cancel_message);
    if (error != NULL) {
        self->rare->cancelled_error = NULL;
        return error;
    }
    PyObject *class = self->state->CancelledError;
    if (message == NULL || message == Py_None) {
        return PyObject_CallNoArgs(class);
    }
    Py_INCREF(message); /* which a collection may change while the error is made */
    error = PyObject_CallOneArg(class, message);
    Py_DECREF(message);
    return error;
}

PyObject *
future_take_exception(Future *self)
{
    self->log_traceback = false;
    if (self->future_state == FUTURE_CANCELLED) {
        return future_make_cancelled_error(self);
    }
    if (self->exception == NULL) {
        return NULL;
    }
    /* Each retrieval starts from the traceback as it was set, or it would grow with every await. */
    PyObject *exception = Py_NewRef(self->exception);
    PyObject *traceback = FUTURE_RARE(self, exception_traceback);
    if (traceback != NULL) {
        self->rare->exception_traceback = NULL;
    }
    int result = PyException_SetTraceback(exception, traceback ? traceback : Py_None);
    Py_XDECREF(traceback);
    if (result < 0) {
        Py_CLEAR(exception);
    }
    return exception;
}

PyObject *
future_get_result(Future *self)
{
    if (AC_LIKELY(self->future_state == FUTURE_FINISHED && self->exception == NULL)) {
        self->log_traceback = false;
        return Py_NewRef(self->result);
    }
    if (self->future_state == FUTURE_PENDING) {
        PyErr_SetString(self->state->InvalidStateError, "Result is not set.");
        return NULL;
    }
    raise_instance_steal(future_take_exception(self));
    return NULL;
}

void
future_call_exception_handler(Future *self, PyObject *message, const char *name, PyObject *exception)
{
    struct state *state = self->state;
    PyObject *context = PyDict_New(), *origin = FUTURE_RARE(self, source_traceback);
    if (context == NULL || message == NULL || PyDict_SetItem(context, state->str_message, message) < 0
        || (exception != NULL && PyDict_SetItem(context, state->str_exception, exception) < 0)
        || PyDict_SetItemString(context, name, (PyObject *)self) < 0
        || (origin != NULL && PyDict_SetItem(context, state->str_source_traceback, origin) < 0)) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    else {
        PyObject *loop = Py_NewRef(self->loop); /* the handler may make the future anew */
        PyObject *result = PyObject_CallMethodOneArg(loop, state->str_call_exception_handler, context);
        if (result == NULL) {
            PyErr_WriteUnraisable(loop);
        }
        Py_DECREF(loop);
        Py_XDECREF(result);
    }
    Py_XDECREF(context);
}
