/* asyncio.as_completed(): what it gives.  Layer: sync.

   Equivalent, behind the checks of the arguments:

       class as_completed:
           def __init__(self, aws, timeout):
               self._done = Queue()
               self._todo = {ensure_future(aw) for aw in aws}
               for future in self._todo: future.add_done_callback(self._handle_completion)
               if timeout is not None: self._timeout_handle = loop.call_later(timeout, self._handle_timeout)
               self._todo_left = len(self._todo)
           def __next__(self):
               if not self._todo_left: raise StopIteration
               self._todo_left -= 1
               return self._wait_for_one(resolve=True)
           async def __anext__(self):
               if not self._todo_left: raise StopAsyncIteration
               self._todo_left -= 1
               return await self._wait_for_one()
           async def _wait_for_one(self, resolve=False):
               future = await self._done.get()
               if future is None: raise TimeoutError
               return future.result() if resolve else future
           def _handle_completion(self, future):
               self._todo.remove(future)
               self._done.put_nowait(future)
               if not self._todo and self._timeout_handle is not None: self._timeout_handle.cancel()
           def _handle_timeout(self):
               for future in self._todo: (forget it) and self._done.put_nowait(None)

   Before Python 3.13 as_completed() is a generator, which yields what __next__() gives.  As in wait(), a slot for each future takes
   the place of the callback.  The native way is for native futures of the running loop, and for coroutines, which it makes tasks of; for
   anything else asyncio_c/completion.py calls asyncio's own function. */
#include "core/handle.h"
#include "core/registry.h"
#include "core/task.h"
#include "sync/primitive_coroutine.h"
#include "sync/queue.h"
#include "sync/sync.h"

struct completion_slot {
    struct runnable runnable;
    Future *future; /* owned; NULL when it is done, or was given up */
};

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *done;              /* owned; the queue of what is done */
    PyObject *timeout_handle;    /* owned or NULL */
    PyObject *waiting_task;      /* owned or NULL: whose step made it, for the call graph of 3.14 on */
    struct lazy_context context; /* of the call, in which it is told */
    struct completion_slot *slots;
    Py_ssize_t slot_count;
    Py_ssize_t todo; /* how many of them have a future */
    Py_ssize_t left; /* how many are still to be given out */
    LOOP_HOME
} AsCompleted;

/* ---- Something happens ---- */

static int
handle_completion(AsCompleted *self, struct completion_slot *slot)
{
    Future *future = slot->future;
    if (future == NULL || self->done == NULL) {
        return 0; /* the time was over first */
    }
    slot->future = NULL;
    self->todo--;
    int result = queue_put(self->done, (PyObject *)future);
    Py_DECREF((PyObject *)future);
    if (result == 0 && self->todo == 0 && self->timeout_handle != NULL) {
        PyObject *cancelled = PyObject_CallMethodNoArgs(self->timeout_handle, self->state->str_cancel);
        Py_XDECREF(cancelled);
        result = cancelled ? 0 : -1;
    }
    return result;
}

static int
slot_run(struct runnable *runnable, Loop *loop)
{
    if (registry_leave(loop) < 0) {
        return -1;
    }
    return handle_completion((AsCompleted *)runnable->owner,
                             AC_CONTAINER_OF(runnable, struct completion_slot, runnable));
}

static PyObject *
handle_completion_called(PyObject *owner, PyObject *future)
{
    AsCompleted *self = (AsCompleted *)owner;
    LOOP_HOME_GUARD(self);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        if ((PyObject *)self->slots[i].future == future) {
            return handle_completion(self, &self->slots[i]) < 0 ? NULL : Py_NewRef(Py_None);
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_timeout_called(PyObject *owner, PyObject *Py_UNUSED(ignored))
{
    AsCompleted *self = (AsCompleted *)owner;
    LOOP_HOME_GUARD(self);
    for (Py_ssize_t i = 0; i < self->slot_count && self->done != NULL; i++) {
        struct completion_slot *slot = &self->slots[i];
        Future *future = slot->future;
        if (future == NULL) {
            continue;
        }
        slot->future = NULL;
        self->todo--;
        future_remove_native(future, &slot->runnable);
        Py_DECREF((PyObject *)future);
        if (queue_put(self->done, Py_None) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef handle_completion_def = { "_handle_completion", handle_completion_called, METH_O, NULL };
static PyMethodDef handle_timeout_def = { "_handle_timeout", handle_timeout_called, METH_NOARGS, NULL };

static PyObject *
slot_as_callback(struct runnable *runnable)
{
    return PyCFunction_New(&handle_completion_def, runnable->owner);
}

static PyObject *
slot_as_handle(struct runnable *runnable, Loop *loop)
{
    struct completion_slot *slot = AC_CONTAINER_OF(runnable, struct completion_slot, runnable);
    return handle_for_runnable(runnable, loop, (PyObject *)slot->future);
}

static PyObject *
slot_context_borrow(struct runnable *runnable)
{
    AsCompleted *self = (AsCompleted *)runnable->owner;
    return lazy_context_borrow(&self->context, self->state);
}

static PyObject *
slot_awaiter_borrow(struct runnable *runnable)
{
    return ((AsCompleted *)runnable->owner)->waiting_task;
}

static const struct runnable_ops slot_ops = {
    .run = slot_run,
    .as_handle = slot_as_handle,
    .as_callback = slot_as_callback,
    .context_borrow = slot_context_borrow,
    .awaiter_borrow = slot_awaiter_borrow,
};

/* ---- Waiting for one ---- */

/* The coroutines' owner is the queue, and their item the iterator. */
static AsCompleted *
iterator_borrow(PrimitiveCoroutine *self)
{
    return (AsCompleted *)self->item;
}

/* What was got from the queue, which it takes. */
static PySendResult
give_steal(PrimitiveCoroutine *self, PyObject *future, bool resolve, PyObject **result)
{
    struct state *state = self->base.state;
    *result = NULL;
    if (future == Py_None) {
        PyErr_SetNone(PyExc_TimeoutError);
    }
    else if (!resolve) {
        *result = Py_NewRef(future);
    }
    else {
        bool plain = future_is_exact(state, future);
        *result = plain ? future_get_result((Future *)future) : PyObject_CallMethodNoArgs(future, state->str_result);
    }
    Py_DECREF(future);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

static PySendResult
wait_for_one(PrimitiveCoroutine *self, bool resolve, PyObject **result)
{
    PyObject *queue = (PyObject *)self->owner;
    PyObject *future = queue_get_at_once(queue);
    if (future != NULL) {
        return give_steal(self, future, resolve, result);
    }
    self->base.delegate = PyErr_Occurred() ? NULL : queue_get(queue);
    return self->base.delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

static PySendResult
got(PrimitiveCoroutine *self, PySendResult outcome, bool resolve, PyObject **result)
{
    if (outcome == PYGEN_RETURN) {
        return give_steal(self, *result, resolve, result);
    }
    AsCompleted *iterator = iterator_borrow(self);
    if (iterator != NULL && iterator->state->as_completed_keeps_count) {
        LOOP_HOME_GUARD(iterator);
        iterator->left++;
    }
    return outcome;
}

static PySendResult
next_start(Coroutine *base, PyObject **result)
{
    return wait_for_one((PrimitiveCoroutine *)base, true, result);
}

static PySendResult
next_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    return got((PrimitiveCoroutine *)base, outcome, true, result);
}

/* Whether there is one left: then it is counted as given out. */
static bool
take_one(AsCompleted *self)
{
    LOOP_HOME_GUARD(self);
    bool any = self->left > 0;
    self->left -= any;
    return any;
}

static PySendResult
anext_start(Coroutine *base, PyObject **result)
{
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    AsCompleted *iterator = iterator_borrow(self);
    if (iterator == NULL || !take_one(iterator)) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return PYGEN_ERROR;
    }
    return wait_for_one(self, false, result);
}

static PySendResult
anext_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    return got((PrimitiveCoroutine *)base, outcome, false, result);
}

static const struct coroutine_body next_body = {
    .name = "_wait_for_one",
    .qualname = AC_PY313 ? "_AsCompletedIterator._wait_for_one" : "as_completed.<locals>._wait_for_one",
    .start = next_start,
    .conclude = next_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct coroutine_body anext_body = {
    .name = "__anext__",
    .qualname = "_AsCompletedIterator.__anext__",
    .start = anext_start,
    .conclude = anext_conclude,
    .leave = coroutine_leave_nothing,
};

static PyObject *
coroutine_new(AsCompleted *self, const struct coroutine_body *body)
{
    return primitive_coroutine_new((Primitive *)self->done, body, (PyObject *)self);
}

static PyObject *
AsCompleted_next(AsCompleted *self)
{
    LOOP_HOME_GUARD(self);
    if (self->left == 0 || self->done == NULL) {
        return NULL;
    }
    PyObject *coroutine = coroutine_new(self, &next_body);
    self->left -= coroutine != NULL;
    return coroutine;
}

static PyObject *
AsCompleted_anext(AsCompleted *self)
{
    LOOP_HOME_GUARD(self);
    if (self->done == NULL) { /* the collector has been here */
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return NULL;
    }
    return coroutine_new(self, &anext_body);
}

/* ---- Making ---- */

/* Whether everything in the set is a future of the loop, or a coroutine. */
static bool
is_native(PyObject *set, Loop *loop)
{
    PyObject *iterator = PyObject_GetIter(set), *item;
    bool native = iterator != NULL;
    while (native && (item = PyIter_Next(iterator)) != NULL) {
        native = future_is_exact(loop->state, item) ? ((Future *)item)->loop == (PyObject *)loop
                                                    : PyCoro_CheckExact(item) || coroutine_check(item);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return native && !PyErr_Occurred();
}

/* Waits for one of the set: a future, or a task that is made of a coroutine.  0 or -1. */
static int
add(AsCompleted *self, Loop *loop, PyObject *item)
{
    struct completion_slot *slot = &self->slots[self->slot_count];
    slot->future = future_is_exact(self->state, item)
                       ? (Future *)Py_NewRef(item)
                       : (Future *)task_new(self->state, (PyObject *)loop, item, NULL, NULL, false);
    if (slot->future == NULL) {
        return -1;
    }
    slot->runnable = (struct runnable){ &slot_ops, (PyObject *)self };
    self->slot_count++;
    self->todo++;
    self->left++;
    return future_add_native(slot->future, &slot->runnable);
}

/* loop.call_later(timeout, self._handle_timeout).  0 or -1. */
static int
set_timeout(AsCompleted *self, Loop *loop, PyObject *timeout)
{
    PyObject *callback = PyCFunction_New(&handle_timeout_def, (PyObject *)self);
    PyObject *args[] = { (PyObject *)loop, timeout, callback };
    self->timeout_handle = callback ? PyObject_VectorcallMethod(self->state->str_call_later, args, 3, NULL) : NULL;
    Py_XDECREF(callback);
    return self->timeout_handle ? 0 : -1;
}

static PyObject *
as_completed_new(struct state *state, Loop *loop, PyObject *set)
{
    AsCompleted *self = (AsCompleted *)freelist_new(&state->AsCompleted_freelist, state->AsCompleted_type);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    LOOP_HOME_SETTLE(self, loop);
    PyObject_GC_Track((PyObject *)self);
    self->slots = PyMem_Calloc((size_t)PySet_GET_SIZE(set), sizeof(*self->slots));
    self->done = queue_new(state);
    PyObject *iterator = PyObject_GetIter(set), *item;
    int result = self->done && iterator ? lazy_context_init(&self->context, state, NULL) : -1;
    if (self->slots == NULL) {
        PyErr_NoMemory();
        result = -1;
    }
    while (result == 0 && (item = PyIter_Next(iterator)) != NULL) {
        result = add(self, loop, item);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    if (result < 0 || PyErr_Occurred()) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static PyObject *
as_completed(PyObject *module, PyObject *args)
{
    struct state *state = state_of_module(module);
    PyObject *set, *timeout;
    if (!PyArg_ParseTuple(args, "O!O:_as_completed", &PySet_Type, &set, &timeout)) {
        return NULL;
    }
    Loop *loop = loop_running_fused(state);
    if (loop == NULL || loop->task_factory != Py_None || loop->create_task_overridden || !is_native(set, loop)) {
        Py_XDECREF((PyObject *)loop);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    AsCompleted *self = (AsCompleted *)as_completed_new(state, loop, set);
    if (self != NULL) {
        self->waiting_task = state->as_completed_tells_awaiter ? Py_XNewRef(loop->entered_task) : NULL;
        if (self->todo > 0 && timeout != Py_None && set_timeout(self, loop, timeout) < 0) {
            Py_CLEAR(self);
        }
    }
    Py_DECREF((PyObject *)loop);
    return (PyObject *)self;
}

/* ---- Python face ---- */

static int
AsCompleted_traverse(AsCompleted *self, visitproc visit, void *arg)
{
    LOOP_HOME_VISIT(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->done);
    Py_VISIT(self->timeout_handle);
    Py_VISIT(self->waiting_task);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        Py_VISIT(self->slots[i].future);
    }
    return lazy_context_traverse(&self->context, visit, arg);
}

/* The slots stay: a future may still have them among its entries, or the loop in its queue. */
static int
AsCompleted_clear(AsCompleted *self)
{
    Py_CLEAR(self->done);
    Py_CLEAR(self->timeout_handle);
    Py_CLEAR(self->waiting_task);
    LOOP_HOME_CLEAR(self);
    for (Py_ssize_t i = 0; i < self->slot_count; i++) {
        Py_CLEAR(self->slots[i].future);
    }
    self->todo = self->left = 0;
    lazy_context_clear(&self->context);
    return 0;
}

static void
AsCompleted_dealloc(AsCompleted *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, AsCompleted_dealloc);
    AsCompleted_clear(self);
    PyMem_Free(self->slots);
    self->slots = NULL;
    freelist_free(&state->AsCompleted_freelist, state->AsCompleted_type, (PyObject *)self);
    Py_TRASHCAN_END;
}

static PyObject *
AsCompleted_get_done(AsCompleted *self, void *Py_UNUSED(closure))
{
    LOOP_HOME_GUARD(self);
    return Py_NewRef(self->done ? self->done : Py_None);
}

static PyObject *
AsCompleted_get_todo(AsCompleted *self, void *Py_UNUSED(closure))
{
    LOOP_HOME_GUARD(self);
    PyObject *todo = PySet_New(NULL);
    for (Py_ssize_t i = 0; todo != NULL && i < self->slot_count; i++) {
        PyObject *future = (PyObject *)self->slots[i].future;
        if (future != NULL && PySet_Add(todo, future) < 0) {
            Py_CLEAR(todo);
        }
    }
    return todo;
}

static PyObject *
AsCompleted_get_left(AsCompleted *self, void *Py_UNUSED(closure))
{
    LOOP_HOME_GUARD(self);
    return PyLong_FromSsize_t(self->left);
}

static PyGetSetDef AsCompleted_getset[] = {
    { "_done", (getter)AsCompleted_get_done, NULL, "The queue of what is done.", NULL },
    { "_todo", (getter)AsCompleted_get_todo, NULL, "A set of what is not done.", NULL },
    { "_todo_left", (getter)AsCompleted_get_left, NULL, "How many are still to be given out.", NULL },
    { 0 },
};

static PyType_Slot AsCompleted_slots[] = {
    { Py_tp_doc, (void *)"What as_completed() returns." },
    { Py_tp_dealloc, AsCompleted_dealloc },
    { Py_tp_traverse, AsCompleted_traverse },
    { Py_tp_clear, AsCompleted_clear },
    { Py_tp_iter, PyObject_SelfIter },
    { Py_tp_iternext, AsCompleted_next },
    { Py_tp_getset, AsCompleted_getset },
    { Py_am_aiter, PyObject_SelfIter },
    { Py_am_anext, AsCompleted_anext },
    { 0, NULL },
};

static PyType_Spec AsCompleted_spec = {
    .name = "asyncio_c._core._AsCompletedIterator",
    .basicsize = sizeof(AsCompleted),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = AsCompleted_slots,
};

PyDoc_STRVAR(as_completed_doc,
             "_as_completed($module, aws, timeout, /)\n--\n\n"
             "Return an iterator over the set of awaitables, or None where that is asyncio's business.\n\n"
             "asyncio_c.as_completed() says what it does.");

static PyMethodDef functions[] = {
    { "_as_completed", as_completed, METH_VARARGS, as_completed_doc },
    { 0 },
};

/* Whether this asyncio's as_completed() says who waits, and gives again what somebody has failed to wait for.  Returns 0 or -1. */
static int
look_at_asyncios(struct state *state)
{
    PyObject *iterator = state->asyncio_AsCompletedIterator;
    if (iterator == NULL) {
        return 0;
    }
    int tells = state_code_has(iterator, "__init__", "co_names", "future_add_to_awaited_by");
    int keeps = tells < 0 ? -1 : state_code_has(iterator, "_wait_for_one", "co_names", "_todo_left");
    state->as_completed_tells_awaiter = tells > 0;
    state->as_completed_keeps_count = keeps > 0;
    return keeps < 0 ? -1 : 0;
}

int
as_completed_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (look_at_asyncios(state) < 0 || state_add_type(module, &state->AsCompleted_type, &AsCompleted_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
