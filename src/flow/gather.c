/* asyncio.gather().  Layer: flow.

   Equivalent:

       def gather(*coros_or_futures, return_exceptions=False):
           children = [ensure_future(arg) for arg in coros_or_futures]      (a duplicate argument is one child)
           outer = _GatheringFuture(children)
           for child in children: child.add_done_callback(done)             (a child that is done already: done(child))
           return outer

   A child has a slot in the outer future; the slot is what waits in the child's entries and then takes the place in the
   queue that a handle for done() would have had.  The native way is taken only where every argument is a coroutine or an
   exact native future of the running loop, and nothing is overridden; everything else is asyncio's own gather(). */
#include "core/handle.h"
#include "core/registry.h"
#include "core/task.h"
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"

#include "base/pointer_map.h"
#include "py/args.h"

typedef struct GatheringFuture GatheringFuture;

struct gather_slot {
    struct runnable runnable;
    Future *child; /* owned */
};

struct GatheringFuture {
    FUTURE_HEAD
    struct gather_slot *slots; /* one for each child */
    PyObject *waiting_task;    /* owned or NULL: whose step made it, for the call graph of 3.14 on */
    size_t *order;             /* of each argument, the slot; NULL: as they are */
    Py_ssize_t slot_count;
    Py_ssize_t result_count;
    Py_ssize_t finished;
    bool return_exceptions;
    bool cancel_requested;
};

static Future *
child_at(GatheringFuture *self, Py_ssize_t index)
{
    return self->slots[self->order ? self->order[index] : (size_t)index].child;
}

/* ---- A child is done ---- */

/* What the list of results says of one child: its result, or the exception in place of it.  New reference. */
static PyObject *
child_outcome(Future *child)
{
    if (child->future_state == FUTURE_CANCELLED) {
        PyObject *message = FUTURE_RARE(child, cancel_message);
        if (message == NULL || message == Py_None) {
            return PyObject_CallFunction(child->state->CancelledError, "s", "");
        }
        Py_INCREF(message);
        PyObject *error = PyObject_CallOneArg(child->state->CancelledError, message);
        Py_DECREF(message);
        return error;
    }
    child->log_traceback = false;
    if (child->exception != NULL) {
        return Py_NewRef(child->exception);
    }
    return future_get_result(child); /* it may have been initialized again meanwhile */
}

/* All are done. */
static int
gather_finish(GatheringFuture *self)
{
    PyObject *results = PyList_New(self->result_count);
    for (Py_ssize_t i = 0; results != NULL && i < self->result_count; i++) {
        PyObject *outcome = child_outcome(child_at(self, i));
        if (outcome == NULL) {
            Py_CLEAR(results);
            break;
        }
        PyList_SET_ITEM(results, i, outcome);
    }
    if (results == NULL) {
        return -1;
    }
    int result;
    if (self->cancel_requested) {
        /* A cancelled gather ends cancelled, return_exceptions or not. */
        PyObject *error = future_make_cancelled_error(child_at(self, self->result_count - 1));
        result = error ? future_set_exception((Future *)self, error) : -1;
        Py_XDECREF(error);
    }
    else {
        result = future_set_result((Future *)self, results);
    }
    Py_DECREF(results);
    return result;
}

static int
gather_child_done(GatheringFuture *self, Future *child)
{
    self->finished++;
    if (self->future_state != FUTURE_PENDING) {
        child->log_traceback = false; /* nobody else will look */
        return 0;
    }
    if (!self->return_exceptions) {
        PyObject *error = NULL;
        if (child->future_state == FUTURE_CANCELLED) {
            error = future_make_cancelled_error(child);
            if (error == NULL) {
                return -1;
            }
        }
        else {
            child->log_traceback = false;
            error = Py_XNewRef(child->exception);
        }
        if (error != NULL) {
            int result = future_set_exception((Future *)self, error);
            Py_DECREF(error);
            return result;
        }
    }
    return self->finished == self->slot_count ? gather_finish(self) : 0;
}

/* ---- The slot as a runnable ---- */

static int
slot_run(struct runnable *runnable, Loop *loop)
{
    struct gather_slot *slot = AC_CONTAINER_OF(runnable, struct gather_slot, runnable);
    GatheringFuture *self = (GatheringFuture *)runnable->owner;
    int result = registry_leave(loop);
    /* The collector may have cleared the children of a gather that nobody can reach. */
    if (result == 0 && slot->child != NULL) {
        result = gather_child_done(self, slot->child);
    }
    return result < 0 ? future_without_memory((Future *)self) : 0;
}

static PyObject *
done_callback(PyObject *owner, PyObject *child)
{
    FUTURE_GUARD((Future *)owner);
    if (!future_check(((Future *)owner)->state, child)) {
        PyErr_Format(PyExc_TypeError, "a native future was expected, got %R", child);
        return NULL;
    }
    if (gather_child_done((GatheringFuture *)owner, (Future *)child) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef done_callback_def = { "_done_callback", done_callback, METH_O, NULL };

static PyObject *
slot_as_callback(struct runnable *runnable)
{
    return PyCFunction_New(&done_callback_def, runnable->owner);
}

static PyObject *
slot_as_handle(struct runnable *runnable, Loop *loop)
{
    struct gather_slot *slot = AC_CONTAINER_OF(runnable, struct gather_slot, runnable);
    return handle_for_runnable(runnable, loop, (PyObject *)slot->child);
}

static PyObject *
slot_awaiter_borrow(struct runnable *runnable)
{
    return ((GatheringFuture *)runnable->owner)->waiting_task;
}

/* Asked for by loops that are not shortcut any more: they make the copy that call_soon() would have made. */
static PyObject *
no_context(struct runnable *Py_UNUSED(runnable))
{
    return Py_None;
}

static const struct runnable_ops slot_ops = {
    .run = slot_run,
    .as_handle = slot_as_handle,
    .as_callback = slot_as_callback,
    .context_borrow = no_context,
    .awaiter_borrow = slot_awaiter_borrow,
};

/* ---- Making ---- */

/* Whether all arguments can be gathered natively on `loop`. */
static bool
is_native_call(Loop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 0 || loop->task_factory != Py_None || loop->create_task_overridden) {
        return false;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        bool future = future_is_exact(loop->state, args[i]) && ((Future *)args[i])->loop == (PyObject *)loop;
        if (!future && !PyCoro_CheckExact(args[i]) && !coroutine_check(args[i])) {
            return false;
        }
    }
    return true;
}

/* Finds the distinct arguments: fills `order` and `firsts` and returns their number, or -1. */
static Py_ssize_t
find_distinct(PyObject *const *args, Py_ssize_t nargs, size_t *order, Py_ssize_t *firsts)
{
    struct pointer_map map;
    if (pointer_map_init(&map, (size_t)nargs) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; i < nargs; i++) {
        order[i] = pointer_map_set_default(&map, args[i], (size_t)count);
        if (order[i] == (size_t)count) {
            firsts[count++] = i;
        }
    }
    pointer_map_release(&map);
    return count;
}

/* The future of one argument.  New reference. */
static Future *
child_of(Loop *loop, PyObject *argument)
{
    if (future_is_exact(loop->state, argument)) {
        return (Future *)Py_NewRef(argument);
    }
    Task *task = task_new(loop->state, (PyObject *)loop, argument, NULL, NULL, false);
    if (task != NULL) {
        /* The caller has no handle on it, so it shall not be blamed for dropping it. */
        task->log_destroy_pending = false;
    }
    return (Future *)task;
}

/* Makes the children and waits for each.  Returns 0 or -1. */
static int
gather_begin(GatheringFuture *self, Loop *loop, PyObject *const *args, const Py_ssize_t *firsts)
{
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        struct gather_slot *slot = &self->slots[i];
        slot->runnable = (struct runnable){ &slot_ops, (PyObject *)self };
        slot->child = child_of(loop, args[firsts[i]]);
        if (slot->child == NULL) {
            return -1;
        }
        bool eager = AC_PY312 && slot->child->future_state != FUTURE_PENDING;
        if (!eager && future_add_native(slot->child, &slot->runnable) < 0) {
            return -1;
        }
    }
    if (AC_PY312) {
        /* From 3.12 on, what is done already counts at once, so that a gather of such is done when it is returned. */
        for (Py_ssize_t i = 0; i < self->slot_count; i++) {
            if (self->slots[i].child->future_state != FUTURE_PENDING
                && gather_child_done(self, self->slots[i].child) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static PyObject *
gather_native(Loop *loop, PyObject *const *args, Py_ssize_t nargs, bool return_exceptions)
{
    struct state *state = loop->state;
    GatheringFuture *self =
        (GatheringFuture *)freelist_new(&state->GatheringFuture_freelist, state->GatheringFuture_type);
    if (self == NULL) {
        return NULL;
    }
    self->waiting_task = AC_PY314 ? Py_XNewRef(loop->entered_task) : NULL;
    self->return_exceptions = return_exceptions;
    self->result_count = nargs;
    int result = future_init((Future *)self, state, (PyObject *)loop);
    Py_ssize_t *firsts = PyMem_New(Py_ssize_t, (size_t)nargs);
    self->order = PyMem_New(size_t, (size_t)nargs);
    if (result == 0 && firsts != NULL && self->order != NULL) {
        Py_ssize_t count = find_distinct(args, nargs, self->order, firsts);
        self->slots = count < 0 ? NULL : PyMem_Calloc((size_t)count, sizeof(*self->slots));
        self->slot_count = self->slots ? count : 0;
        if (self->slot_count == nargs) {
            PyMem_Free(self->order);
            self->order = NULL;
        }
    }
    PyObject_GC_Track(self);
    if (self->slots == NULL) {
        result = -1;
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
    }
    if (result == 0) {
        result = gather_begin(self, loop, args, firsts);
    }
    PyMem_Free(firsts);
    if (result < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* ---- Python face ---- */

static PyObject *
gather(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    int return_exceptions = 0;
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (count == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "return_exceptions") == 0) {
        return_exceptions = PyObject_IsTrue(args[nargs]);
        count = 0;
        if (return_exceptions < 0) {
            return NULL;
        }
    }
    Loop *loop = count == 0 ? loop_running_fused(state) : NULL;
    if (loop == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *outer = loop != NULL && is_native_call(loop, args, nargs)
                          ? gather_native(loop, args, nargs, return_exceptions)
                          : PyObject_Vectorcall(state->asyncio_gather, args, (size_t)nargs, kwnames);
    Py_XDECREF(loop);
    return outer;
}

static int
GatheringFuture_traverse(GatheringFuture *self, visitproc visit, void *arg)
{
    Py_VISIT(self->waiting_task);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        Py_VISIT(self->slots[i].child);
    }
    return future_traverse((Future *)self, visit, arg);
}

static int
GatheringFuture_clear(GatheringFuture *self)
{
    Py_CLEAR(self->waiting_task);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        Py_CLEAR(self->slots[i].child);
    }
    future_clear((Future *)self);
    return 0;
}

static void
GatheringFuture_dealloc(GatheringFuture *self)
{
    if (self->log_traceback && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, GatheringFuture_dealloc);
    future_dealloc_fields((Future *)self);
    GatheringFuture_clear(self);
    PyMem_Free(self->slots);
    PyMem_Free(self->order);
    freelist_free(&state->GatheringFuture_freelist, state->GatheringFuture_type, (PyObject *)self);
    Py_TRASHCAN_END;
}

/* Cancels the children; the gather itself ends when they have. */
static PyObject *
GatheringFuture_cancel(GatheringFuture *self, PyObject *args, PyObject *kwargs)
{
    FUTURE_GUARD(self);
    static char *keywords[] = { "msg", NULL };
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", keywords, &message)) {
        return NULL;
    }
    if (self->future_state != FUTURE_PENDING) {
        Py_RETURN_FALSE;
    }
    bool any = false;
    for (Py_ssize_t i = 0; i < self->result_count; i++) {
        PyObject *child = Py_XNewRef((PyObject *)child_at(self, i));
        if (child == NULL) {
            continue; /* it is being made, and the garbage collector shows it already */
        }
        PyObject *cancelled = PyObject_CallMethodOneArg(child, self->state->str_cancel, message);
        Py_DECREF(child);
        int truth = cancelled ? PyObject_IsTrue(cancelled) : -1;
        Py_XDECREF(cancelled);
        if (truth < 0) {
            return NULL;
        }
        any |= truth;
    }
    if (any) {
        self->cancel_requested = true;
    }
    return PyBool_FromLong(any);
}

static PyObject *
GatheringFuture_get_children(GatheringFuture *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    PyObject *list = PyList_New(self->result_count);
    for (Py_ssize_t i = 0; list != NULL && i < self->result_count; i++) {
        PyObject *child = (PyObject *)child_at(self, i);
        PyList_SET_ITEM(list, i, Py_NewRef(child ? child : Py_None)); /* as above */
    }
    return list;
}

static PyObject *
GatheringFuture_get_cancel_requested(GatheringFuture *self, void *Py_UNUSED(closure))
{
    FUTURE_GUARD(self);
    return PyBool_FromLong(self->cancel_requested);
}

PyDoc_STRVAR(gather_doc,
             "Return a future for the list of the results of all arguments, in their order.\n\n"
             "Coroutines become tasks.  With return_exceptions the list has exceptions in place of results;\n"
             "otherwise the first exception is the future's, and the others go on.\n\n"
             "asyncio documentation: Coroutines and Tasks, Running Tasks Concurrently.");
PyDoc_STRVAR(cancel_doc, "cancel($self, /, msg=None)\n--\n\n"
                         "Cancel all children; return True if there was one to cancel.");

static PyMethodDef GatheringFuture_methods[] = {
    { "cancel", AC_FAST(GatheringFuture_cancel), METH_VARARGS | METH_KEYWORDS, cancel_doc },
    { 0 },
};

static PyGetSetDef GatheringFuture_getset[] = {
    { "_children", (getter)GatheringFuture_get_children, NULL, NULL, NULL },
    { "_cancel_requested", (getter)GatheringFuture_get_cancel_requested, NULL, NULL, NULL },
    { 0 },
};

static PyType_Slot GatheringFuture_slots[] = {
    { Py_tp_dealloc, GatheringFuture_dealloc },
    { Py_tp_finalize, Future_finalize },
    { Py_tp_traverse, GatheringFuture_traverse },
    { Py_tp_clear, GatheringFuture_clear },
    { Py_tp_methods, GatheringFuture_methods },
    { Py_tp_getset, GatheringFuture_getset },
    { 0, NULL },
};

static PyType_Spec GatheringFuture_spec = {
    .name = "asyncio_c._core._GatheringFuture",
    .basicsize = sizeof(GatheringFuture),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = GatheringFuture_slots,
};

int
gather_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->GatheringFuture_type, &GatheringFuture_spec, state->Future_type) < 0) {
        return -1;
    }
    return coroutine_function_add(module, module, state->asyncio_gather, gather, gather_doc);
}
