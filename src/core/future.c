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

   Who waits is an array of entries, the first of them inline: most futures have one.  An entry of ours (a task to wake, a
   slot of gather or wait) is pushed onto the loop's queue as it is, where asyncio would have queued a handle for a
   callback, so the order of events is the same; a Python callable gets its Handle.  On a loop that is not native, or in
   debug mode, or where call_soon() is overridden, an entry of ours turns into a callable for that loop's call_soon().

   Invariants: entries exist only while the future is pending; has_first is false only if rest is empty or first was
   removed; a done future never changes its state again. */
#include "core/future.h"

#include "core/handle.h"
#include "py/args.h"
#include "py/errors.h"

#include <string.h>

/* ---- Entries ---- */

static void
entry_hold(const struct future_entry *entry)
{
    if (entry->callback == NULL) {
        Py_INCREF(entry->native->owner);
    }
    else {
        Py_INCREF(entry->callback);
        Py_INCREF(entry->context);
    }
}

static void
entry_release(struct future_entry *entry)
{
    if (entry->callback == NULL) {
        Py_DECREF(entry->native->owner);
    }
    else {
        Py_DECREF(entry->callback);
        Py_DECREF(entry->context);
    }
}

static int
entry_visit(struct future_entry *entry, visitproc visit, void *arg)
{
    if (entry->callback == NULL) {
        Py_VISIT(entry->native->owner);
    }
    else {
        Py_VISIT(entry->callback);
        Py_VISIT(entry->context);
    }
    return 0;
}

/* Takes over the references of `entry`; on failure they stay the caller's. */
static int
entry_append(Future *self, struct future_entry entry)
{
    if (!self->has_first && self->rest_count == 0) {
        self->first = entry;
        self->has_first = true;
        return 0;
    }
    if (self->rest_count == self->rest_size) {
        unsigned size = self->rest_size ? self->rest_size * 2 : 4; /* 0: more than can be counted */
        struct future_entry *rest = size ? PyMem_Realloc(self->rest, size * sizeof(*rest)) : NULL;
        if (rest == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->rest = rest;
        self->rest_size = size;
    }
    self->rest[self->rest_count++] = entry;
    return 0;
}

/* loop.call_soon(callback, self, context=context) in so many words. */
static int
call_soon_generic(Future *self, PyObject *callback, PyObject *context)
{
    if (context == NULL) {
        return -1;
    }
    /* Held: looking the method up may make the future anew, or run whom the context is borrowed from. */
    PyObject *args[] = { Py_NewRef(self->loop), callback, (PyObject *)self, Py_NewRef(context) };
    PyObject *handle = PyObject_VectorcallMethod(self->state->str_call_soon, args, 3, self->state->context_kwnames);
    Py_DECREF(args[0]);
    Py_DECREF(context);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* Queues one entry and releases it.  Returns 0 or -1. */
static int
entry_queue_steal(Future *self, struct future_entry *entry)
{
    Loop *loop = self->native_loop;
    int result = -1;
    if (AC_LIKELY(loop != NULL && loop->fused)) {
        if (entry->callback == NULL) {
            result = loop_push_open(loop, entry->native);
        }
        else if (loop_check_closed(loop) == 0) {
            PyObject *args[] = { (PyObject *)self };
            Py_INCREF(loop); /* a collection may make the future anew, which may be all that holds the loop */
            Handle *handle = handle_new(self->state, (PyObject *)loop, entry->callback, args, 1, entry->context);
            result = handle ? loop_push(loop, &handle->runnable) : -1;
            Py_XDECREF(handle);
            Py_DECREF(loop);
        }
    }
    else if (entry->callback == NULL) {
        PyObject *callback = entry->native->ops->as_callback(entry->native);
        if (callback != NULL) {
            result = call_soon_generic(self, callback, entry->native->ops->context_borrow(entry->native));
            Py_DECREF(callback);
        }
    }
    else {
        result = call_soon_generic(self, entry->callback, entry->context);
    }
    entry_release(entry);
    return result;
}

struct detached {
    struct future_entry first;
    struct future_entry *rest;
    unsigned rest_count;
    bool has_first;
};

static struct detached
entries_detach(Future *self)
{
    struct detached entries = { self->first, self->rest, self->rest_count, self->has_first };
    self->has_first = false;
    self->rest = NULL;
    self->rest_count = self->rest_size = 0;
    return entries;
}

static void
entries_drop(Future *self)
{
    struct detached entries = entries_detach(self);
    if (entries.has_first) {
        entry_release(&entries.first);
    }
    for (unsigned i = 0; i < entries.rest_count; i++) {
        entry_release(&entries.rest[i]);
    }
    PyMem_Free(entries.rest);
}

/* After a failure the other entries are dropped, as with asyncio.  But if it was the memory that was lacking for one, there
   may be enough for the others, who would wait for ever: `error` keeps the exception, and they have their turn. */
AC_COLD static bool
goes_on_without_memory(PyObject **error)
{
    if (!PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return false;
    }
    Py_XSETREF(*error, compat_exception_take());
    return true;
}

/* The future is done: everybody who waits gets a place in the queue. */
static int
entries_queue(Future *self)
{
    if (!self->has_first && self->rest_count == 0) {
        return 0;
    }
    struct detached entries = entries_detach(self);
    PyObject *error = NULL;
    bool going = true;
    Py_INCREF(self);
    if (entries.has_first && entry_queue_steal(self, &entries.first) < 0) {
        going = goes_on_without_memory(&error);
    }
    for (unsigned i = 0; i < entries.rest_count; i++) {
        if (!going) {
            entry_release(&entries.rest[i]);
        }
        else if (entry_queue_steal(self, &entries.rest[i]) < 0) {
            going = goes_on_without_memory(&error);
        }
    }
    PyMem_Free(entries.rest);
    Py_DECREF(self);
    if (going && error != NULL) {
        compat_exception_restore_steal(error);
        return -1;
    }
    Py_XDECREF(error);
    return going ? 0 : -1;
}

int
future_add_native(Future *self, struct runnable *runnable)
{
    struct future_entry entry = { .callback = NULL, .native = runnable };
    Py_INCREF(runnable->owner);
    if (AC_UNLIKELY(self->future_state != FUTURE_PENDING)) {
        return entry_queue_steal(self, &entry);
    }
    if (entry_append(self, entry) < 0) {
        Py_DECREF(runnable->owner);
        return -1;
    }
    return 0;
}

void
future_remove_native(Future *self, struct runnable *runnable)
{
    if (self->has_first && self->first.callback == NULL && self->first.native == runnable) {
        self->has_first = false;
        Py_DECREF(runnable->owner);
        return;
    }
    for (unsigned i = 0; i < self->rest_count; i++) {
        if (self->rest[i].callback == NULL && self->rest[i].native == runnable) {
            memmove(&self->rest[i], &self->rest[i + 1], (self->rest_count - i - 1) * sizeof(*self->rest));
            self->rest_count--;
            Py_DECREF(runnable->owner);
            return;
        }
    }
}

int
future_add_callback(Future *self, PyObject *callback, PyObject *context)
{
    struct future_entry entry = { .callback = Py_NewRef(callback) };
    entry.context = context ? Py_NewRef(context) : PyContext_CopyCurrent();
    if (entry.context == NULL) {
        Py_DECREF(callback);
        return -1;
    }
    if (self->future_state != FUTURE_PENDING) {
        return entry_queue_steal(self, &entry);
    }
    if (entry_append(self, entry) < 0) {
        entry_release(&entry);
        return -1;
    }
    return 0;
}

/* 1 if the entry's callback equals `callback`, 0 or -1.  Runs Python. */
static int
entry_equals(struct future_entry *entry, PyObject *callback)
{
    PyObject *own = entry->callback ? Py_NewRef(entry->callback) : entry->native->ops->as_callback(entry->native);
    int equal = own ? PyObject_RichCompareBool(own, callback, Py_EQ) : -1;
    Py_XDECREF(own);
    return equal;
}

/* Gives back what entries_detach() took, in an array that has room for `size` of them and becomes the future's, before what
   was added since.  Who waits for what has been finished meanwhile is told, as they would have been.  Returns 0 or -1. */
static int
entries_put_back_steal(Future *self, struct future_entry *entries, unsigned count, unsigned size)
{
    struct detached added = entries_detach(self);
    int result = 0;
    if (count == 0) {
        PyMem_Free(entries);
    }
    else {
        self->first = entries[0];
        self->has_first = true;
        memmove(entries, entries + 1, (count - 1) * sizeof(*entries));
        self->rest = entries;
        self->rest_count = count - 1;
        self->rest_size = size;
    }
    for (unsigned i = 0; i < added.rest_count + added.has_first; i++) {
        struct future_entry *entry = i == 0 && added.has_first ? &added.first : &added.rest[i - added.has_first];
        if (entry_append(self, *entry) < 0) {
            entry_release(entry);
            result = -1;
        }
    }
    PyMem_Free(added.rest);
    if (self->future_state != FUTURE_PENDING && result == 0) {
        result = entries_queue(self);
    }
    return result;
}

/* Removes every entry whose callback equals `callback`; none if a comparison raises.  The comparisons run Python, which may
   change the entries: the work is done on a detached copy.  All of its memory is there before any is taken out: who waits
   must not be lost for the lack of it.  Returns the number removed or -1. */
static Py_ssize_t
future_remove_callback(Future *self, PyObject *callback)
{
    unsigned total = self->rest_count + self->has_first, kept = 0;
    struct future_entry *entries = PyMem_Malloc(((size_t)total + 1) * sizeof(*entries));
    bool *equals = PyMem_Calloc((size_t)total + 1, sizeof(*equals));
    if (entries == NULL || equals == NULL) {
        PyMem_Free(entries);
        PyMem_Free(equals);
        PyErr_NoMemory();
        return -1;
    }
    struct detached detached = entries_detach(self);
    entries[0] = detached.first;
    if (detached.rest_count > 0) {
        memcpy(entries + detached.has_first, detached.rest, detached.rest_count * sizeof(*entries));
    }
    PyMem_Free(detached.rest);

    int equal = 0;
    for (unsigned i = 0; i < total && equal >= 0; i++) {
        equal = entry_equals(&entries[i], callback);
        equals[i] = equal > 0;
    }
    PyObject *error = equal < 0 ? compat_exception_take() : NULL;
    for (unsigned i = 0; i < total; i++) {
        if (error == NULL && equals[i]) {
            entry_release(&entries[i]);
        }
        else {
            entries[kept++] = entries[i];
        }
    }
    PyMem_Free(equals);
    int result = entries_put_back_steal(self, entries, kept, total + 1);
    if (error != NULL) {
        compat_exception_restore_steal(error);
        result = -1;
    }
    return result < 0 ? -1 : (Py_ssize_t)(total - kept);
}

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

AC_COLD static int
remember_origin(Future *self)
{
    PyObject *traceback = PyObject_CallNoArgs(self->state->extract_stack);
    if (traceback == NULL) {
        return -1;
    }
    Py_XSETREF(self->source_traceback, traceback);
    return 0;
}

int
future_init(Future *self, struct state *state, PyObject *loop)
{
    self->state = state;
    self->loop = Py_NewRef(loop);
    self->native_loop = loop_cast(state, loop);
    if (AC_LIKELY(self->native_loop != NULL && !self->native_loop->debug_overridden)) {
        return AC_UNLIKELY(self->native_loop->debug) ? remember_origin(self) : 0;
    }
    PyObject *debug = PyObject_CallMethodNoArgs(loop, state->str_get_debug);
    int truth = debug ? PyObject_IsTrue(debug) : -1;
    Py_XDECREF(debug);
    if (truth < 0) {
        return -1;
    }
    return truth ? remember_origin(self) : 0;
}

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

int
future_traverse(Future *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->dict);
    Py_VISIT(self->loop);
    Py_VISIT(self->result);
    Py_VISIT(self->exception);
    Py_VISIT(self->exception_traceback);
    Py_VISIT(self->source_traceback);
    Py_VISIT(self->cancel_message);
    Py_VISIT(self->cancelled_error);
    Py_VISIT(self->awaited_by);
    int result = self->has_first ? entry_visit(&self->first, visit, arg) : 0;
    for (unsigned i = 0; i < self->rest_count && result == 0; i++) {
        result = entry_visit(&self->rest[i], visit, arg);
    }
    return result;
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
    Py_CLEAR(self->exception_traceback);
    Py_CLEAR(self->source_traceback);
    Py_CLEAR(self->cancel_message);
    Py_CLEAR(self->cancelled_error);
    Py_CLEAR(self->awaited_by);
    entries_drop(self);
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
    return entries_queue(self);
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
    Py_XSETREF(self->exception_traceback, PyException_GetTraceback(instance));
    Py_XSETREF(self->exception, instance);
    self->future_state = FUTURE_FINISHED;
    if (entries_queue(self) < 0) {
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
future_cancel(Future *self, PyObject *message)
{
    self->log_traceback = false;
    if (self->future_state != FUTURE_PENDING) {
        return 0;
    }
    self->future_state = FUTURE_CANCELLED;
    Py_XSETREF(self->cancel_message, Py_XNewRef(message));
    return entries_queue(self) < 0 ? -1 : 1;
}

PyObject *
future_make_cancelled_error(Future *self)
{
    if (self->cancelled_error != NULL) {
        PyObject *error = self->cancelled_error;
        self->cancelled_error = NULL;
        return error;
    }
    PyObject *class = self->state->CancelledError;
    if (self->cancel_message == NULL || self->cancel_message == Py_None) {
        return PyObject_CallNoArgs(class);
    }
    PyObject *message = Py_NewRef(self->cancel_message); /* which a collection may change while the error is made */
    PyObject *error = PyObject_CallOneArg(class, message);
    Py_DECREF(message);
    return error;
}

static void
raise_instance_steal(PyObject *error)
{
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
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
    PyObject *traceback = self->exception_traceback;
    self->exception_traceback = NULL;
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
    PyObject *context = PyDict_New();
    if (context == NULL || message == NULL || PyDict_SetItem(context, state->str_message, message) < 0
        || (exception != NULL && PyDict_SetItem(context, state->str_exception, exception) < 0)
        || PyDict_SetItemString(context, name, (PyObject *)self) < 0
        || (self->source_traceback != NULL
            && PyDict_SetItem(context, state->str_source_traceback, self->source_traceback) < 0)) {
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

/* ---- Python face ---- */

static int
check_initialized(Future *self)
{
    if (AC_UNLIKELY(self->loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
        return -1;
    }
    return 0;
}

static PyObject *
Future_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    Future *self = state ? (Future *)freelist_alloc(&state->Future_freelist, state->Future_type, type) : NULL;
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int
Future_init(Future *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "loop", NULL };
    PyObject *loop = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:Future", keywords, &loop)) {
        return -1;
    }
    if (self->loop != NULL && AC_PY315) {
        PyErr_Format(PyExc_RuntimeError, "%T object is already initialized", self);
        return -1;
    }
    loop = loop == Py_None ? future_default_loop(self->state) : Py_NewRef(loop);
    if (loop == NULL) {
        return -1;
    }
    future_reset(self);
    self->future_state = FUTURE_PENDING;
    self->blocking = self->log_traceback = false;
    int result = future_init(self, self->state, loop);
    Py_DECREF(loop);
    return result;
}

static int
Future_traverse(Future *self, visitproc visit, void *arg)
{
    return future_traverse(self, visit, arg);
}

static int
Future_clear(Future *self)
{
    future_clear(self);
    return 0;
}

void
Future_finalize(Future *self)
{
    if (!self->log_traceback || self->exception == NULL || self->loop == NULL) {
        return;
    }
    self->log_traceback = false;
    PyObject *saved = compat_exception_take();
    PyObject *type = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__name__");
    PyObject *message = type ? PyUnicode_FromFormat("%U exception was never retrieved", type) : NULL;
    future_call_exception_handler(self, message, "future", self->exception);
    Py_XDECREF(message);
    Py_XDECREF(type);
    if (saved != NULL) {
        compat_exception_restore_steal(saved);
    }
}

static void
Future_dealloc(Future *self)
{
    struct state *state = self->state;
    bool exact = Py_TYPE(self) == state->Future_type;
    if (AC_UNLIKELY(!exact || self->log_traceback) && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return; /* resurrected */
    }
    /* A future may be the result of a future that is the result of one ...: the C stack must not grow with that. */
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Future_dealloc);
    future_dealloc_fields(self);
    freelist_free(&state->Future_freelist, state->Future_type, (PyObject *)self);
    Py_TRASHCAN_END;
}

static PyObject *
Future_repr(Future *self)
{
    if (check_initialized(self) < 0) {
        return NULL;
    }
    return PyObject_CallOneArg(self->state->future_repr, (PyObject *)self);
}

static PyObject *
Future_await_method(Future *self, PyObject *Py_UNUSED(ignored))
{
    return Future_await(self);
}

/* result() and exception() find an uninitialized future in an invalid state; the rest calls it a RuntimeError. */
static int
check_readable(Future *self)
{
    if (AC_UNLIKELY(self->loop == NULL)) {
        PyErr_SetString(self->state->InvalidStateError, "Future object is not initialized.");
        return -1;
    }
    return 0;
}

static PyObject *
Future_result(Future *self, PyObject *Py_UNUSED(ignored))
{
    return check_readable(self) < 0 ? NULL : future_get_result(self);
}

static PyObject *
Future_exception(Future *self, PyObject *Py_UNUSED(ignored))
{
    if (check_readable(self) < 0) {
        return NULL;
    }
    if (self->future_state == FUTURE_CANCELLED) {
        raise_instance_steal(future_make_cancelled_error(self));
        return NULL;
    }
    if (self->future_state == FUTURE_PENDING) {
        PyErr_SetString(self->state->InvalidStateError, "Exception is not set.");
        return NULL;
    }
    self->log_traceback = false;
    return Py_NewRef(self->exception ? self->exception : Py_None);
}

static PyObject *
Future_set_result(Future *self, PyObject *result)
{
    if (check_initialized(self) < 0 || future_set_result(self, result) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Future_set_exception(Future *self, PyObject *exception)
{
    if (check_initialized(self) < 0 || future_set_exception(self, exception) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Future_add_done_callback(Future *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = { "fn" };
    PyObject *context;
    if (args_require("add_done_callback", nargs, names, 1) < 0
        || args_parse_context("add_done_callback", self->state->str_context, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Future object");
        return NULL;
    }
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "add_done_callback() takes exactly 1 positional argument (%zd given)", nargs);
        return NULL;
    }
    if (future_add_callback(self, args[0], context) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Future_remove_done_callback(Future *self, PyObject *callback)
{
    if (check_initialized(self) < 0) {
        return NULL;
    }
    Py_ssize_t removed = future_remove_callback(self, callback);
    return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
}

static PyObject *
Future_cancel(Future *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "msg", NULL };
    PyObject *message = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", keywords, &message) || check_initialized(self) < 0) {
        return NULL;
    }
    int result = future_cancel(self, message);
    return result < 0 ? NULL : PyBool_FromLong(result);
}

static PyObject *
Future_cancelled(Future *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->loop != NULL && self->future_state == FUTURE_CANCELLED);
}

static PyObject *
Future_done(Future *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->loop != NULL && self->future_state != FUTURE_PENDING);
}

static PyObject *
Future_get_loop(Future *self, PyObject *Py_UNUSED(ignored))
{
    return check_initialized(self) < 0 ? NULL : Py_NewRef(self->loop);
}

static PyObject *
Future__make_cancelled_error(Future *self, PyObject *Py_UNUSED(ignored))
{
    return future_make_cancelled_error(self);
}

static PyObject *
Future_get_class(Future *self, void *Py_UNUSED(closure))
{
    struct state *state = self->state;
    PyTypeObject *type = Py_TYPE(self);
    if (type == state->Future_type) {
        return Py_NewRef(state->asyncio_Future);
    }
    if (type == state->Task_type) {
        return Py_NewRef(state->asyncio_Task);
    }
    if (type == state->GatheringFuture_type) {
        return Py_NewRef(state->asyncio_GatheringFuture);
    }
    return Py_NewRef((PyObject *)type);
}

/* closure: the offset of an owned PyObject * in Future; NULL reads as None. */
static PyObject *
Future_get_object(Future *self, void *closure)
{
    PyObject *value = *(PyObject **)((char *)self + (size_t)closure);
    return Py_NewRef(value ? value : Py_None);
}

static PyObject *
Future_get_outcome(Future *self, void *closure)
{
    return check_initialized(self) < 0 ? NULL : Future_get_object(self, closure);
}

static PyObject *
Future_get_state(Future *self, void *Py_UNUSED(closure))
{
    static const char *const names[] = { "PENDING", "CANCELLED", "FINISHED" };
    return check_initialized(self) < 0 ? NULL : PyUnicode_InternFromString(names[self->future_state]);
}

static PyObject *
Future_get_blocking(Future *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->loop != NULL && self->blocking);
}

static int
Future_set_blocking(Future *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (check_initialized(self) < 0) {
        return -1;
    }
    if (refuse_delete(value, "_asyncio_future_blocking", "Future") < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    self->blocking = truth;
    return 0;
}

static PyObject *
Future_get_log_traceback(Future *self, void *Py_UNUSED(closure))
{
    return check_initialized(self) < 0 ? NULL : PyBool_FromLong(self->log_traceback);
}

static int
Future_set_log_traceback(Future *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "_log_traceback", "Future") < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    if (truth) {
        PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
        return -1;
    }
    self->log_traceback = false;
    return 0;
}

static int
Future_set_cancel_message(Future *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "_cancel_message", "Future") < 0) {
        return -1;
    }
    Py_XSETREF(self->cancel_message, Py_NewRef(value));
    return 0;
}

/* One (callback, context) pair of `_callbacks`.  The entry is a copy, and held: an allocation may collect garbage, and that
   may change the entries. */
static int
append_entry(PyObject *list, struct future_entry entry)
{
    entry_hold(&entry);
    PyObject *callback = entry.callback ? Py_NewRef(entry.callback) : entry.native->ops->as_callback(entry.native);
    PyObject *context = entry.callback ? entry.context : entry.native->ops->context_borrow(entry.native);
    Py_XINCREF(context);
    PyObject *pair = callback && context ? PyTuple_Pack(2, callback, context) : NULL;
    int result = pair ? PyList_Append(list, pair) : -1;
    Py_XDECREF(callback);
    Py_XDECREF(context);
    Py_XDECREF(pair);
    entry_release(&entry);
    return result;
}

static PyObject *
Future_get_callbacks(Future *self, void *Py_UNUSED(closure))
{
    if (check_initialized(self) < 0) {
        return NULL;
    }
    if (!self->has_first && self->rest_count == 0) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    int result = self->has_first ? append_entry(list, self->first) : 0;
    for (unsigned i = 0; i < self->rest_count && result == 0; i++) {
        result = append_entry(list, self->rest[i]);
    }
    if (result < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *
Future_get_awaited_by(Future *self, void *Py_UNUSED(closure))
{
    return awaited_by_get(self);
}

PyDoc_STRVAR(result_doc,
             "result($self, /)\n--\n\n"
             "Return the result.\n\n"
             "Raises the exception that was set, CancelledError if cancelled, InvalidStateError if not done.\n\n"
             "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(exception_doc, "exception($self, /)\n--\n\n"
                            "Return the exception that was set, or None.\n\n"
                            "Raises CancelledError if cancelled, InvalidStateError if not done.\n\n"
                            "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(set_result_doc, "set_result($self, result, /)\n--\n\n"
                             "Finish the future with a result.  Raises InvalidStateError if it is done.\n\n"
                             "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(set_exception_doc, "set_exception($self, exception, /)\n--\n\n"
                                "Finish the future with an exception.  Raises InvalidStateError if it is done.\n\n"
                                "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(add_done_callback_doc, "add_done_callback($self, fn, /, *, context=None)\n--\n\n"
                                    "Have fn(future) called in the turn after the future is done.\n\n"
                                    "It runs in context, a contextvars.Context, or in a copy of the current one.\n\n"
                                    "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(remove_done_callback_doc, "remove_done_callback($self, fn, /)\n--\n\n"
                                       "Remove every callback that equals fn; return how many.\n\n"
                                       "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(cancel_doc, "cancel($self, /, msg=None)\n--\n\n"
                         "Cancel the future; return False if it was done already.\n\n"
                         "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(cancelled_doc, "cancelled($self, /)\n--\n\n"
                            "Return True if the future was cancelled.\n\n"
                            "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(done_doc, "done($self, /)\n--\n\n"
                       "Return True if the future has a result or an exception, or was cancelled.\n\n"
                       "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(get_loop_doc, "get_loop($self, /)\n--\n\n"
                           "Return the loop that the future belongs to.\n\n"
                           "asyncio documentation: Futures, Future Object.");
PyDoc_STRVAR(make_cancelled_error_doc, "_make_cancelled_error($self, /)\n--\n\n"
                                       "Return the CancelledError to raise, with the message of cancel().");
PyDoc_STRVAR(await_doc, "__await__($self, /)\n--\n\nReturn an iterator that waits for the result.");

static PyMethodDef Future_methods[] = {
    { "result", (PyCFunction)Future_result, METH_NOARGS, result_doc },
    { "exception", (PyCFunction)Future_exception, METH_NOARGS, exception_doc },
    { "set_result", (PyCFunction)Future_set_result, METH_O, set_result_doc },
    { "set_exception", (PyCFunction)Future_set_exception, METH_O, set_exception_doc },
    { "add_done_callback", AC_FAST(Future_add_done_callback), METH_FASTCALL | METH_KEYWORDS, add_done_callback_doc },
    { "remove_done_callback", (PyCFunction)Future_remove_done_callback, METH_O, remove_done_callback_doc },
    { "cancel", AC_FAST(Future_cancel), METH_VARARGS | METH_KEYWORDS, cancel_doc },
    { "cancelled", (PyCFunction)Future_cancelled, METH_NOARGS, cancelled_doc },
    { "done", (PyCFunction)Future_done, METH_NOARGS, done_doc },
    { "get_loop", (PyCFunction)Future_get_loop, METH_NOARGS, get_loop_doc },
    { "_make_cancelled_error", (PyCFunction)Future__make_cancelled_error, METH_NOARGS, make_cancelled_error_doc },
    { "__await__", (PyCFunction)Future_await_method, METH_NOARGS | METH_COEXIST, await_doc },
    { "__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, "Return Future[item], for annotations." },
    { 0 },
};

#define OBJECT_PROPERTY(name, field) { name, (getter)Future_get_object, NULL, NULL, (void *)offsetof(Future, field) }

static PyGetSetDef Future_getset[] = {
    { "__class__", (getter)Future_get_class, NULL, "asyncio's class, so that isinstance() holds.", NULL },
    { "_state", (getter)Future_get_state, NULL, NULL, NULL },
    { "_asyncio_future_blocking", (getter)Future_get_blocking, (setter)Future_set_blocking, NULL, NULL },
    { "_log_traceback", (getter)Future_get_log_traceback, (setter)Future_set_log_traceback, NULL, NULL },
    { "_callbacks", (getter)Future_get_callbacks, NULL, NULL, NULL },
    { "_cancel_message", (getter)Future_get_object, (setter)Future_set_cancel_message, NULL,
      (void *)offsetof(Future, cancel_message) },
    { "_asyncio_awaited_by", (getter)Future_get_awaited_by, NULL, "The tasks and futures that wait for it, or None.",
      NULL },
    OBJECT_PROPERTY("_loop", loop),
    { "_result", (getter)Future_get_outcome, NULL, NULL, (void *)offsetof(Future, result) },
    { "_exception", (getter)Future_get_outcome, NULL, NULL, (void *)offsetof(Future, exception) },
    OBJECT_PROPERTY("_source_traceback", source_traceback),
    { "__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL },
    { 0 },
};

static PyMemberDef Future_members[] = {
    { "__dictoffset__", T_PYSSIZET, offsetof(Future, dict), READONLY, NULL },
    { "__weaklistoffset__", T_PYSSIZET, offsetof(Future, weakreflist), READONLY, NULL },
    { 0 },
};

PyDoc_STRVAR(Future_doc, "Future(*, loop=None)\n--\n\n"
                         "A result that is not there yet.\n\n"
                         "Like asyncio.Future; loop is the event loop it belongs to.\n\n"
                         "asyncio documentation: Futures, Future Object.");

static PyType_Slot Future_slots[] = {
    { Py_tp_doc, (void *)Future_doc },   { Py_tp_new, Future_new },
    { Py_tp_init, Future_init },         { Py_tp_dealloc, Future_dealloc },
    { Py_tp_finalize, Future_finalize }, { Py_tp_traverse, Future_traverse },
    { Py_tp_clear, Future_clear },       { Py_tp_repr, Future_repr },
    { Py_tp_iter, Future_await },        { Py_am_await, Future_await },
    { Py_tp_methods, Future_methods },   { Py_tp_getset, Future_getset },
    { Py_tp_members, Future_members },   { 0, NULL },
};

static PyType_Spec Future_spec = {
    .name = "asyncio_c._core.Future",
    .basicsize = sizeof(Future),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Future_slots,
};

int
future_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Future_type, &Future_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Future_type);
}
