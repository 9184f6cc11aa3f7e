/* Who waits for a future.  Layer: core.

   It is an array of entries, the first of them inline: most futures have one.  An entry of ours (a task to wake, a slot of
   gather or wait) is pushed onto the loop's queue as it is, where asyncio would have queued a handle for a callback, so the
   order of events is the same; a Python callable gets its Handle.  On a loop that is not native, or in debug mode, or where
   call_soon() is overridden, an entry of ours turns into a callable for that loop's call_soon().

   Invariants: entries exist only while the future is pending; has_first is false only if rest is empty or first was
   removed. */
#include "core/future_entries.h"

#include "core/handle.h"
#include "py/monitor.h"

#include <string.h>

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

static inline unsigned
rest_count(const struct future_rest *rest)
{
    return rest ? rest->count : 0;
}

static inline size_t
rest_bytes(size_t size)
{
    return sizeof(struct future_rest) + size * sizeof(struct future_entry);
}

/* Takes over the references of `entry`; on failure they stay the caller's. */
static int
entry_append(Future *self, struct future_entry entry)
{
    struct future_rest *rest = self->rest;
    if (!self->has_first && rest_count(rest) == 0) {
        self->first = entry;
        self->has_first = true;
        return 0;
    }
    if (rest == NULL || rest->count == rest->size) {
        unsigned count = rest_count(rest), size = rest ? rest->size * 2 : 4; /* 0: more than can be counted */
        rest = size ? PyMem_Realloc(rest, rest_bytes(size)) : NULL;
        if (rest == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        rest->count = count;
        rest->size = size;
        self->rest = rest;
    }
    rest->entries[rest->count++] = entry;
    return 0;
}

/* loop.call_soon(callback, self, context=context) in so many words. */
static int
call_soon_generic(Future *self, PyObject *callback, PyObject *context)
{
    if (context == NULL) {
        return -1;
    }
    MONITOR_OUTSIDE(); /* of whoever finishes a future for which somebody waits */
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
        GUARD(loop, loop); /* who finishes a future that was made anew is in its old loop */
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
    struct future_rest *rest;
    bool has_first;
};

static struct detached
entries_detach(Future *self)
{
    struct detached entries = { self->first, self->rest, self->has_first };
    self->has_first = false;
    self->rest = NULL;
    return entries;
}

void
future_drop_entries(Future *self)
{
    struct detached entries = entries_detach(self);
    if (entries.has_first) {
        entry_release(&entries.first);
    }
    for (unsigned i = 0; i < rest_count(entries.rest); i++) {
        entry_release(&entries.rest->entries[i]);
    }
    PyMem_Free(entries.rest);
}

int
future_traverse_entries(Future *self, visitproc visit, void *arg)
{
    int result = self->has_first ? entry_visit(&self->first, visit, arg) : 0;
    for (unsigned i = 0; i < rest_count(self->rest) && result == 0; i++) {
        result = entry_visit(&self->rest->entries[i], visit, arg);
    }
    return result;
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

/* Where nobody else waits, as is most often so. */
static inline int
queue_only_entry(Future *self)
{
    struct future_entry entry = self->first;
    self->has_first = false;
    Py_INCREF(self);
    int result = entry_queue_steal(self, &entry);
    Py_DECREF(self);
    return result;
}

int
future_queue_entries(Future *self)
{
    if (AC_LIKELY(self->rest == NULL)) {
        return self->has_first ? queue_only_entry(self) : 0;
    }
    struct detached entries = entries_detach(self);
    PyObject *error = NULL;
    bool going = true;
    Py_INCREF(self);
    if (entries.has_first && entry_queue_steal(self, &entries.first) < 0) {
        going = goes_on_without_memory(&error);
    }
    for (unsigned i = 0; i < rest_count(entries.rest); i++) {
        if (!going) {
            entry_release(&entries.rest->entries[i]);
        }
        else if (entry_queue_steal(self, &entries.rest->entries[i]) < 0) {
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
    struct future_rest *rest = self->rest;
    for (unsigned i = 0; i < rest_count(rest); i++) {
        if (rest->entries[i].callback == NULL && rest->entries[i].native == runnable) {
            memmove(&rest->entries[i], &rest->entries[i + 1], (rest->count - i - 1) * sizeof(*rest->entries));
            rest->count--;
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

/* Gives back what entries_detach() took, of which there are `count` in `rest`, which becomes the future's, before what was added
   since.  Who waits for what has been finished meanwhile is told, as they would have been.  Returns 0 or -1. */
static int
entries_put_back_steal(Future *self, struct future_rest *rest, unsigned count)
{
    struct detached added = entries_detach(self);
    int result = 0;
    if (count == 0) {
        PyMem_Free(rest);
    }
    else {
        self->first = rest->entries[0];
        self->has_first = true;
        rest->count = count - 1;
        memmove(rest->entries, rest->entries + 1, rest->count * sizeof(*rest->entries));
        self->rest = rest;
    }
    for (unsigned i = 0; i < rest_count(added.rest) + added.has_first; i++) {
        struct future_entry *entry =
            i == 0 && added.has_first ? &added.first : &added.rest->entries[i - added.has_first];
        if (entry_append(self, *entry) < 0) {
            entry_release(entry);
            result = -1;
        }
    }
    PyMem_Free(added.rest);
    if (self->future_state != FUTURE_PENDING && result == 0) {
        result = future_queue_entries(self);
    }
    return result;
}

/* The comparisons run Python, which may change the entries: the work is done on a detached copy.  All of its memory is there
   before any is taken out: who waits must not be lost for the lack of it. */
Py_ssize_t
future_remove_callback(Future *self, PyObject *callback)
{
    unsigned total = rest_count(self->rest) + self->has_first, kept = 0;
    struct future_rest *rest = PyMem_Malloc(rest_bytes((size_t)total + 1));
    bool *equals = PyMem_Calloc((size_t)total + 1, sizeof(*equals));
    if (rest == NULL || equals == NULL) {
        PyMem_Free(rest);
        PyMem_Free(equals);
        PyErr_NoMemory();
        return -1;
    }
    rest->size = total + 1;
    struct future_entry *entries = rest->entries;
    struct detached detached = entries_detach(self);
    entries[0] = detached.first;
    if (rest_count(detached.rest) > 0) {
        memcpy(entries + detached.has_first, detached.rest->entries, detached.rest->count * sizeof(*entries));
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
    int result = entries_put_back_steal(self, rest, kept);
    if (error != NULL) {
        compat_exception_restore_steal(error);
        result = -1;
    }
    return result < 0 ? -1 : (Py_ssize_t)(total - kept);
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

PyObject *
future_callbacks_list(Future *self)
{
    if (!self->has_first && rest_count(self->rest) == 0) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    int result = self->has_first ? append_entry(list, self->first) : 0;
    for (unsigned i = 0; i < rest_count(self->rest) && result == 0; i++) {
        result = append_entry(list, self->rest->entries[i]);
    }
    if (result < 0) {
        Py_CLEAR(list);
    }
    return list;
}
