/* asyncio.shield().  Layer: flow.

   Equivalent:

       def shield(arg):
           inner = ensure_future(arg)
           if inner.done(): return inner
           outer = loop.create_future()
           def inner_done(inner):
               if not outer.cancelled(): (outer ends as inner has)
           def outer_done(outer):
               if not inner.done(): inner.remove_done_callback(inner_done)
           inner.add_done_callback(inner_done)
           outer.add_done_callback(outer_done)
           return outer

   One object stands between the two futures and holds both, as the two functions do.  It waits among the entries of each by
   a slot.  Where inner ends outer, nothing is left for outer_done() to do, and it takes no turn.  The native way is for a
   coroutine, in a running loop, or an exact native future; everything else is asyncio's own shield(). */
#include "core/handle.h"
#include "core/registry.h"
#include "core/task.h"
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/context.h"

typedef struct {
    PyObject_HEAD
    struct state *state;
    Future *inner;               /* owned */
    Future *outer;               /* owned */
    PyObject *waiting_task;      /* owned or NULL: whose step made it, for the call graph of 3.14 on */
    struct lazy_context context; /* of the call, in which both are told */
    struct runnable inner_slot;
    struct runnable outer_slot;
} Shield;

/* ---- One of the two is done ---- */

static int
inner_done(Shield *self)
{
    Future *inner = self->inner, *outer = self->outer;
    if (inner == NULL || outer == NULL) {
        return 0; /* the collector has cleared what nobody can reach */
    }
    bool unheard = outer->future_state == FUTURE_CANCELLED;
    if (AC_UNLIKELY(inner->future_state == FUTURE_PENDING && !(AC_PY314 && unheard))) {
        PyErr_SetString(self->state->InvalidStateError, "Exception is not set."); /* it was made anew since */
        return -1;
    }
    if (unheard) {
        if (!AC_PY314 && inner->future_state == FUTURE_FINISHED) {
            inner->log_traceback = false; /* nobody else will look */
        }
        return 0;
    }
    future_remove_native(outer, &self->outer_slot);
    if (inner->future_state == FUTURE_CANCELLED) {
        return future_cancel(outer, NULL) < 0 ? -1 : 0;
    }
    inner->log_traceback = false;
    PyObject *outcome = Py_NewRef(inner->exception ? inner->exception : inner->result);
    int result = inner->exception ? future_set_exception(outer, outcome) : future_set_result(outer, outcome);
    Py_DECREF(outcome);
    return result;
}

static int
outer_done(Shield *self)
{
    if (self->inner != NULL && self->inner->future_state == FUTURE_PENDING) {
        future_remove_native(self->inner, &self->inner_slot);
    }
    return 0;
}

static int
inner_slot_run(struct runnable *runnable, Loop *loop)
{
    Shield *self = (Shield *)runnable->owner;
    int result = registry_leave(loop);
    if (result == 0) {
        result = inner_done(self);
    }
    return result < 0 && self->outer != NULL ? future_without_memory(self->outer) : result;
}

static int
outer_slot_run(struct runnable *runnable, Loop *loop)
{
    int result = registry_leave(loop);
    return outer_done((Shield *)runnable->owner) < 0 ? -1 : result;
}

#if AC_FREE_THREADED
/* Both are of one loop; NULL: the collector has cleared it. */
#define SHIELD_GUARD(self) GUARD(((Shield *)(self))->outer ? ((Shield *)(self))->outer->native_loop : NULL, self)
#else
#define SHIELD_GUARD(self) ((void)0)
#endif

static PyObject *
inner_done_called(PyObject *self, PyObject *Py_UNUSED(inner))
{
    SHIELD_GUARD(self);
    return inner_done((Shield *)self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
outer_done_called(PyObject *self, PyObject *Py_UNUSED(outer))
{
    SHIELD_GUARD(self);
    return outer_done((Shield *)self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef inner_done_def = { "_inner_done_callback", inner_done_called, METH_O, NULL };
static PyMethodDef outer_done_def = { "_outer_done_callback", outer_done_called, METH_O, NULL };

static PyObject *
inner_slot_as_callback(struct runnable *runnable)
{
    return PyCFunction_New(&inner_done_def, runnable->owner);
}

static PyObject *
outer_slot_as_callback(struct runnable *runnable)
{
    return PyCFunction_New(&outer_done_def, runnable->owner);
}

static PyObject *
inner_slot_as_handle(struct runnable *runnable, Loop *loop)
{
    return handle_for_runnable(runnable, loop, (PyObject *)((Shield *)runnable->owner)->inner);
}

static PyObject *
outer_slot_as_handle(struct runnable *runnable, Loop *loop)
{
    return handle_for_runnable(runnable, loop, (PyObject *)((Shield *)runnable->owner)->outer);
}

static PyObject *
slot_context_borrow(struct runnable *runnable)
{
    Shield *self = (Shield *)runnable->owner;
    return lazy_context_borrow(&self->context, self->state);
}

static PyObject *
inner_slot_awaiter_borrow(struct runnable *runnable)
{
    return ((Shield *)runnable->owner)->waiting_task;
}

static const struct runnable_ops inner_slot_ops = {
    .run = inner_slot_run,
    .as_handle = inner_slot_as_handle,
    .as_callback = inner_slot_as_callback,
    .context_borrow = slot_context_borrow,
    .awaiter_borrow = inner_slot_awaiter_borrow,
};

static const struct runnable_ops outer_slot_ops = {
    .run = outer_slot_run,
    .as_handle = outer_slot_as_handle,
    .as_callback = outer_slot_as_callback,
    .context_borrow = slot_context_borrow,
};

/* ---- Making ---- */

/* The future that `argument` is, or a task that runs it.  NULL without an exception where this is asyncio's to do. */
static Future *
inner_of(struct state *state, PyObject *argument)
{
    if (future_is_exact(state, argument)) {
        Future *future = (Future *)argument;
        bool plain = future->native_loop != NULL && future->native_loop->fused;
        return plain ? (Future *)Py_NewRef(argument) : NULL;
    }
    if (!PyCoro_CheckExact(argument) && !coroutine_check(argument)) {
        return NULL;
    }
    Loop *loop = loop_running_fused(state);
    Future *inner = NULL;
    if (loop != NULL && loop->task_factory == Py_None && !loop->create_task_overridden) {
        inner = (Future *)task_new(state, (PyObject *)loop, argument, NULL, NULL, false);
    }
    Py_XDECREF((PyObject *)loop);
    return inner;
}

/* The outer future of a pending inner one. */
static PyObject *
shield_new(struct state *state, Future *inner)
{
    Future *outer = future_new(state, inner->loop);
    Shield *self = outer ? (Shield *)freelist_new(&state->Shield_freelist, state->Shield_type) : NULL;
    if (self == NULL) {
        Py_XDECREF((PyObject *)outer);
        return NULL;
    }
    self->state = state;
    self->inner = (Future *)Py_NewRef((PyObject *)inner);
    self->outer = (Future *)Py_NewRef((PyObject *)outer);
    self->waiting_task = AC_PY314 ? Py_XNewRef(inner->native_loop->entered_task) : NULL;
    self->inner_slot = (struct runnable){ &inner_slot_ops, (PyObject *)self };
    self->outer_slot = (struct runnable){ &outer_slot_ops, (PyObject *)self };
    PyObject_GC_Track((PyObject *)self);
    if (lazy_context_init(&self->context, state, NULL) < 0 || future_add_native(inner, &self->inner_slot) < 0
        || future_add_native(outer, &self->outer_slot) < 0) {
        Py_CLEAR(outer);
    }
    Py_DECREF((PyObject *)self);
    return (PyObject *)outer;
}

/* ---- Python face ---- */

static int
Shield_traverse(Shield *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->inner);
    Py_VISIT(self->outer);
    Py_VISIT(self->waiting_task);
    return lazy_context_traverse(&self->context, visit, arg);
}

static int
Shield_clear(Shield *self)
{
    Py_CLEAR(self->inner);
    Py_CLEAR(self->outer);
    Py_CLEAR(self->waiting_task);
    lazy_context_clear(&self->context);
    return 0;
}

static void
Shield_dealloc(Shield *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Shield_dealloc);
    Shield_clear(self);
    freelist_free(&state->Shield_freelist, state->Shield_type, (PyObject *)self);
    Py_TRASHCAN_END;
}

static PyObject *
shield(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    Future *inner = nargs == 1 && kwnames == NULL ? inner_of(state, args[0]) : NULL;
    if (inner == NULL) {
        return PyErr_Occurred() ? NULL : PyObject_Vectorcall(state->asyncio_shield, args, (size_t)nargs, kwnames);
    }
    FUTURE_GUARD(inner);
    if (inner->future_state != FUTURE_PENDING) {
        return (PyObject *)inner;
    }
    PyObject *outer = shield_new(state, inner);
    Py_DECREF((PyObject *)inner);
    return outer;
}

PyDoc_STRVAR(shield_doc,
             "Return a future that ends as the awaitable arg does, and whose cancellation arg does not hear of.\n\n"
             "A coroutine becomes a task, to which the program should keep a reference.\n\n"
             "asyncio documentation: Coroutines and Tasks, Shielding From Cancellation.");

static PyType_Slot Shield_slots[] = {
    { Py_tp_dealloc, Shield_dealloc },
    { Py_tp_traverse, Shield_traverse },
    { Py_tp_clear, Shield_clear },
    { 0, NULL },
};

static PyType_Spec Shield_spec = {
    .name = "asyncio_c._core.shield",
    .basicsize = sizeof(Shield),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Shield_slots,
};

int
shield_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Shield_type, &Shield_spec, NULL) < 0) {
        return -1;
    }
    return coroutine_function_add(module, module, state->asyncio_shield, shield, shield_doc);
}
