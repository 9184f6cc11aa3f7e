/* loop._ready and loop._scheduled: what Python's views of the queues are made of.  Layer: core.

   asyncio's loop has a deque of handles and a heap of timer handles there, in which programs look, and reorder, remove and put
   back what they find.  Here entries are tasks, slots and timers without a handle.  So whatever is looked at one by one is
   replaced, in its place, by the handle that stands for it: the handle is from then on what runs, and taking it out, cancelling
   it or putting it elsewhere means what it means in asyncio.

   Both types hold their loop weakly, as a deque would not hold it at all; the views of a loop that is gone are empty.
   asyncio_c/queue_views.py derives from them, with a deque's methods and a list's. */
#include "core/queue_view.h"

#include "core/foreign_handle.h"
#include "core/handle.h"

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *loop_reference; /* owned; weak; NULL before __init__() */
    Py_ssize_t changes;       /* made through this view */
} QueueView;

/* A new reference; NULL without an exception where the loop has gone. */
static Loop *
view_loop(QueueView *self)
{
    GUARD(NULL, self);
    PyObject *loop = self->loop_reference ? compat_weakref_get(self->loop_reference) : NULL;
    return (Loop *)loop;
}

/* Likewise, with an exception where it is gone or closed. */
static Loop *
view_open_loop(QueueView *self)
{
    Loop *loop = view_loop(self);
    if (loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the loop of this queue is gone");
    }
    else if (loop_check_closed(loop) < 0) {
        Py_CLEAR(loop);
    }
    return loop;
}

/* What other threads have queued is to be seen, too. */
#define VIEW_GUARD(loop)                              \
    GUARD(loop, self);                                \
    if (loop != NULL && loop_check_inbox(loop) < 0) { \
        PyErr_Clear();                                \
    }

/* ---- The ready queue ---- */

static Py_ssize_t
ReadyQueue_length(QueueView *self)
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    Py_ssize_t count = loop ? (Py_ssize_t)ring_count(&loop->ready) : 0;
    Py_XDECREF(loop);
    return count;
}

static PyObject *
index_error(void)
{
    PyErr_SetString(PyExc_IndexError, "deque index out of range");
    return NULL;
}

/* The handle at `index`, which has taken the place of what was there.  New reference.  Runs Python. */
static PyObject *
ready_handle(Loop *loop, size_t index)
{
    while (index < ring_count(&loop->ready)) {
        struct runnable *runnable = ring_peek(&loop->ready, index);
        PyObject *handle = loop_handle_of(loop, runnable);
        if (handle == NULL) {
            return NULL;
        }
        /* Making it may have run anything. */
        if (index < ring_count(&loop->ready) && ring_peek(&loop->ready, index) == runnable) {
            if (handle_check(loop->state, handle) && handle != runnable->owner) {
                PyObject *owner = runnable->owner;
                ring_replace(&loop->ready, index, &((Handle *)Py_NewRef(handle))->runnable);
                Py_DECREF(owner);
            }
            return handle;
        }
        Py_DECREF(handle);
    }
    return index_error();
}

static PyObject *
ReadyQueue_item(QueueView *self, Py_ssize_t index)
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    PyObject *handle = loop != NULL && index >= 0 ? ready_handle(loop, (size_t)index) : index_error();
    Py_XDECREF(loop);
    return handle;
}

static void
drop_entry(Loop *loop, size_t index)
{
    PyObject *owner = ((struct runnable *)ring_take(&loop->ready, index))->owner;
    runnable_leaves_queue(owner);
    Py_DECREF(owner);
}

static int
ReadyQueue_set_item(QueueView *self, Py_ssize_t index, PyObject *handle)
{
    PyObject *owner = NULL;
    struct runnable *runnable = handle ? runnable_of_handle(self->state, handle, &owner) : NULL;
    Loop *loop = handle != NULL && runnable == NULL ? NULL : view_loop(self);
    VIEW_GUARD(loop);
    int result = -1;
    if (loop != NULL && index >= 0 && (size_t)index < ring_count(&loop->ready)) {
        self->changes++;
        result = 0;
        if (runnable == NULL) {
            drop_entry(loop, (size_t)index);
        }
        else {
            struct runnable *replaced = ring_peek(&loop->ready, (size_t)index);
            ring_replace(&loop->ready, (size_t)index, runnable);
            runnable_leaves_queue(replaced->owner);
            Py_DECREF(replaced->owner);
            owner = NULL; /* its reference is the queue's */
        }
    }
    else if (!PyErr_Occurred()) {
        (void)index_error();
    }
    Py_XDECREF(owner);
    Py_XDECREF(loop);
    return result;
}

static PyObject *
ReadyQueue_insert(QueueView *self, PyObject *args)
{
    Py_ssize_t index;
    PyObject *handle, *owner;
    if (!PyArg_ParseTuple(args, "nO:insert", &index, &handle)) {
        return NULL;
    }
    struct runnable *runnable = runnable_of_handle(self->state, handle, &owner);
    Loop *loop = runnable ? view_open_loop(self) : NULL;
    VIEW_GUARD(loop);
    if (loop == NULL) {
        if (runnable != NULL) {
            Py_DECREF(owner);
        }
        return NULL;
    }
    Py_ssize_t count = (Py_ssize_t)ring_count(&loop->ready);
    if (index < 0) {
        index = index + count > 0 ? index + count : 0;
    }
    int error = ring_insert(&loop->ready, (size_t)(index < count ? index : count), runnable);
    Py_DECREF(loop);
    if (error < 0) {
        Py_DECREF(owner);
        return PyErr_NoMemory();
    }
    self->changes++;
    Py_RETURN_NONE; /* the reference to the owner is the queue's */
}

static PyObject *
ReadyQueue_clear_entries(QueueView *self, PyObject *Py_UNUSED(ignored))
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    self->changes++;
    /* What the end of an entry queues goes, too, as it does in asyncio's while the loop closes. */
    for (size_t left = loop ? ring_count(&loop->ready) : 0; left > 0 && ring_count(&loop->ready) > 0; left--) {
        drop_entry(loop, 0);
    }
    Py_XDECREF(loop);
    Py_RETURN_NONE;
}

/* Something that is another one after each change. */
static PyObject *
ReadyQueue__version(QueueView *self, PyObject *Py_UNUSED(ignored))
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    PyObject *version =
        loop ? Py_BuildValue("(nnn)", (Py_ssize_t)loop->ready.head, (Py_ssize_t)loop->ready.tail, self->changes)
             : Py_BuildValue("()");
    Py_XDECREF(loop);
    return version;
}

/* ---- The timers ---- */

static Py_ssize_t
TimerQueue_length(QueueView *self)
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    Py_ssize_t count = loop ? (Py_ssize_t)loop->timers.count : 0;
    Py_XDECREF(loop);
    return count;
}

/* The handle of a timer, which has taken the place of what was there.  New reference.  Runs Python. */
static PyObject *
timer_handle_of(Loop *loop, struct timer *timer)
{
    PyObject *owner = Py_NewRef(timer->runnable->owner);
    double when = timer_when(loop, heap_entry_of(&loop->timers, &timer->node));
    PyObject *handle = loop_handle_of(loop, timer->runnable);
    if (handle != NULL && handle != owner && heap_node_queued(&timer->node)) {
        TimerHandle *other = (TimerHandle *)handle;
        other->when = when;
        loop_replace_timer(loop, timer, &other->timer);
    }
    Py_DECREF(owner);
    return handle;
}

/* A list of the first `limit` timers, sorted, as a heap may be.  Runs Python. */
static PyObject *
sorted_timers(Loop *loop, size_t limit)
{
    PyObject *list = PyList_New(0);
    size_t count = loop->timers.count;
    struct timer **timers = list ? PyMem_Malloc((count + 1) * sizeof(*timers)) : NULL;
    if (timers == NULL) {
        Py_XDECREF(list);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    if (limit < count) {
        count = limit; /* one: it lies in front */
    }
    else {
        heap_sort(&loop->timers);
    }
    /* All are held, for making a handle may end others. */
    for (size_t i = 0; i < count; i++) {
        timers[i] = loop_timer_of(loop, &loop->timers.entries[i]);
        Py_INCREF(timers[i]->runnable->owner);
    }
    for (size_t i = 0; i < count; i++) {
        struct timer *timer = timers[i];
        PyObject *owner = timer->runnable->owner;
        PyObject *handle = list && heap_node_queued(&timer->node) ? timer_handle_of(loop, timer) : NULL;
        if (handle != NULL ? PyList_Append(list, handle) < 0 : list != NULL && PyErr_Occurred() != NULL) {
            Py_CLEAR(list);
        }
        Py_XDECREF(handle);
        Py_DECREF(owner);
    }
    PyMem_Free(timers);
    return list;
}

static PyObject *
TimerQueue__sorted(QueueView *self, PyObject *limit)
{
    size_t count = PyLong_AsSize_t(limit);
    if (count == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    PyObject *list = loop ? sorted_timers(loop, count) : PyList_New(0);
    Py_XDECREF(loop);
    return list;
}

/* `object` as a timer handle of this loop, or NULL without an exception. */
static TimerHandle *
own_timer(Loop *loop, PyObject *object)
{
    bool is_own = Py_TYPE(object) == loop->state->TimerHandle_type && ((Handle *)object)->loop == (PyObject *)loop;
    return is_own ? (TimerHandle *)object : NULL;
}

static PyObject *
TimerQueue__add(QueueView *self, PyObject *object)
{
    Loop *loop = view_open_loop(self);
    VIEW_GUARD(loop);
    if (loop == NULL) {
        return NULL;
    }
    TimerHandle *handle = own_timer(loop, object);
    int result = -1;
    if (handle == NULL) {
        PyErr_Format(PyExc_TypeError, "the timers of a loop are what its call_at() and call_later() return, not %R",
                     object);
    }
    else if (heap_node_queued(&handle->timer.node)) {
        PyErr_Format(PyExc_ValueError, "%R is scheduled already", object);
    }
    else {
        if (handle->handle.mark > 0) {
            handle->handle.mark = 0; /* what the heap says by now */
        }
        result = loop_add_timer(loop, &handle->timer, clock_ns_not_before(handle->when));
    }
    Py_DECREF(loop);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
TimerQueue__carry(QueueView *self, PyObject *args)
{
    PyObject *when, *callback, *callback_args[2];
    if (!PyArg_ParseTuple(args, "OOOO:_carry", &when, &callback, &callback_args[0], &callback_args[1])) {
        return NULL;
    }
    double seconds = PyFloat_AsDouble(when);
    Loop *loop = seconds == -1.0 && PyErr_Occurred() ? NULL : view_open_loop(self);
    VIEW_GUARD(loop);
    PyObject *context = loop ? PyContext_New() : NULL;
    TimerHandle *handle =
        context ? timer_handle_new(self->state, (PyObject *)loop, seconds, callback, callback_args, 2, context) : NULL;
    if (handle != NULL && loop_add_timer(loop, &handle->timer, clock_ns_not_before(seconds)) < 0) {
        Py_CLEAR(handle);
    }
    Py_XDECREF(context);
    Py_XDECREF(loop);
    return (PyObject *)handle;
}

static PyObject *
TimerQueue__remove(QueueView *self, PyObject *object)
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    TimerHandle *handle = loop ? own_timer(loop, object) : NULL;
    bool removed = handle != NULL && heap_node_queued(&handle->timer.node);
    if (removed) {
        timer_take_out(loop, &handle->timer);
    }
    Py_XDECREF(loop);
    return PyBool_FromLong(removed);
}

static PyObject *
TimerQueue_clear_entries(QueueView *self, PyObject *Py_UNUSED(ignored))
{
    Loop *loop = view_loop(self);
    VIEW_GUARD(loop);
    for (size_t left = loop ? loop->timers.count : 0; left > 0 && loop->timers.count > 0; left--) {
        timer_take_out(loop, loop_timer_of(loop, heap_first(&loop->timers)));
    }
    Py_XDECREF(loop);
    Py_RETURN_NONE;
}

/* ---- Python face ---- */

static PyObject *
QueueView_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    QueueView *self = state ? (QueueView *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int
QueueView_init(QueueView *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "loop", NULL };
    PyObject *loop;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", keywords, &loop)) {
        return -1;
    }
    if (loop_cast(self->state, loop) == NULL) {
        PyErr_SetString(PyExc_TypeError, "a native loop is required");
        return -1;
    }
    PyObject *reference = PyWeakref_NewRef(loop, NULL);
    if (reference == NULL) {
        return -1;
    }
    GUARD(NULL, self);
    Py_XSETREF(self->loop_reference, reference);
    return 0;
}

static int
QueueView_traverse(QueueView *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop_reference);
    return 0;
}

static int
QueueView_clear(QueueView *self)
{
    Py_CLEAR(self->loop_reference);
    return 0;
}

static void
QueueView_dealloc(QueueView *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    QueueView_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(insert_doc, "insert($self, index, handle, /)\n--\n\nPut a handle in front of the one at index.");
PyDoc_STRVAR(clear_doc, "clear($self, /)\n--\n\nDrop what is queued without running it.");
PyDoc_STRVAR(_version_doc, "_version($self, /)\n--\n\nReturn something that is another one after each change.");
PyDoc_STRVAR(_sorted_doc, "_sorted($self, limit, /)\n--\n\nReturn a list of so many timers, the first ones, or all.");
PyDoc_STRVAR(_add_doc, "_add($self, handle, /)\n--\n\nSchedule a timer handle that was removed.");
PyDoc_STRVAR(_carry_doc, "_carry($self, when, callback, arg, other, /)\n--\n\n"
                         "Schedule a timer for callback(arg, other), in an empty context; return its handle.");
PyDoc_STRVAR(_remove_doc, "_remove($self, handle, /)\n--\n\nRemove a timer handle; return False if it was not there.");
PyDoc_STRVAR(ReadyQueue_doc, "ReadyQueue(loop)\n--\n\nThe handles that wait for their turn.");
PyDoc_STRVAR(TimerQueue_doc, "TimerQueue(loop)\n--\n\nThe timer handles that wait for their time.");

static PyMethodDef ReadyQueue_methods[] = {
    { "insert", (PyCFunction)ReadyQueue_insert, METH_VARARGS, insert_doc },
    { "clear", (PyCFunction)ReadyQueue_clear_entries, METH_NOARGS, clear_doc },
    { "_version", (PyCFunction)ReadyQueue__version, METH_NOARGS, _version_doc },
    { 0 },
};

static PyMethodDef TimerQueue_methods[] = {
    { "clear", (PyCFunction)TimerQueue_clear_entries, METH_NOARGS, clear_doc },
    { "_sorted", (PyCFunction)TimerQueue__sorted, METH_O, _sorted_doc },
    { "_add", (PyCFunction)TimerQueue__add, METH_O, _add_doc },
    { "_carry", (PyCFunction)TimerQueue__carry, METH_VARARGS, _carry_doc },
    { "_remove", (PyCFunction)TimerQueue__remove, METH_O, _remove_doc },
    { 0 },
};

#define VIEW_SLOTS                                                                                      \
    { Py_tp_new, QueueView_new }, { Py_tp_init, QueueView_init }, { Py_tp_dealloc, QueueView_dealloc }, \
        { Py_tp_traverse, QueueView_traverse }, { Py_tp_clear, QueueView_clear },                       \
    {                                                                                                   \
        Py_tp_hash, PyObject_HashNotImplemented                                                         \
    }

static PyType_Slot ReadyQueue_slots[] = {
    VIEW_SLOTS,
    { Py_tp_doc, (void *)ReadyQueue_doc },
    { Py_tp_methods, ReadyQueue_methods },
    { Py_sq_length, ReadyQueue_length },
    { Py_sq_item, ReadyQueue_item },
    { Py_sq_ass_item, ReadyQueue_set_item },
    { 0, NULL },
};

static PyType_Slot TimerQueue_slots[] = {
    VIEW_SLOTS,
    { Py_tp_doc, (void *)TimerQueue_doc },
    { Py_tp_methods, TimerQueue_methods },
    { Py_sq_length, TimerQueue_length },
    { 0, NULL },
};

enum { VIEW_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE };

static PyType_Spec ReadyQueue_spec = {
    .name = "asyncio_c._core.ReadyQueue",
    .basicsize = sizeof(QueueView),
    .flags = VIEW_FLAGS,
    .slots = ReadyQueue_slots,
};

static PyType_Spec TimerQueue_spec = {
    .name = "asyncio_c._core.TimerQueue",
    .basicsize = sizeof(QueueView),
    .flags = VIEW_FLAGS,
    .slots = TimerQueue_slots,
};

int
queue_view_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->ReadyQueue_type, &ReadyQueue_spec, NULL) < 0
        || state_add_type(module, &state->TimerQueue_type, &TimerQueue_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->ReadyQueue_type) < 0 ? -1 : PyModule_AddType(module, state->TimerQueue_type);
}
