/* asyncio.Barrier.  Layer: sync.

   Equivalent:

       class Barrier:
           def __init__(self, parties):
               self._cond, self._parties, self._state, self._count = Condition(), parties, FILLING, 0
           async def wait(self):
               async with self._cond:
                   while self._state in (DRAINING, RESETTING): await self._cond.wait()
                   if self._state is BROKEN: raise BrokenBarrierError
                   try:
                       index = self._count
                       self._count += 1
                       if index + 1 == self._parties:
                           self._state = DRAINING
                           self._cond.notify_all()
                       else:
                           while self._state is FILLING: await self._cond.wait()
                           if self._state in (BROKEN, RESETTING): raise BrokenBarrierError
                       return index
                   finally:
                       self._count -= 1
                       if self._count == 0:
                           if self._state in (RESETTING, DRAINING): self._state = FILLING
                           self._cond.notify_all()

   It waits by the coroutines of its condition and of the lock under that, one after the other.  What is rare is asyncio's: reset(),
   abort(), the properties, and wait() itself where its parts are overridden. */
#include "flow/coroutine_function.h"
#include "py/args.h"
#include "sync/condition.h"
#include "sync/primitive_coroutine.h"
#include "sync/sync.h"

typedef struct {
    PRIMITIVE_HEAD
    PyObject *condition;     /* owned; `_cond` */
    PyObject *parties;       /* owned */
    PyObject *barrier_state; /* owned; `_state`, of asyncio's enumeration */
    Py_ssize_t limit;        /* the parties; 0: no int of C's size */
    Py_ssize_t count;
} Barrier;

static const char *const barrier_methods[] = {
    "_get_loop", "wait", "_block", "_release", "_wait", "_exit", "__aenter__"
};

enum {
    BARRIER_GET_LOOP,
    BARRIER_WAIT,
    BARRIER__BLOCK,
    BARRIER__RELEASE,
    BARRIER__WAIT,
    BARRIER__EXIT,
    BARRIER_AENTER,
};

static const struct primitive_kind barrier_kind = PRIMITIVE_KIND(Barrier, barrier_methods);

/* ---- The condition ---- */

/* Its lock, if that is taken and given back here, as a new reference; or NULL. */
static Lock *
lock_of(Barrier *self)
{
    Condition *condition = condition_cast(self->state, self->condition);
    return condition ? condition_lock(condition) : NULL;
}

/* A method of the condition, without arguments.  New reference. */
static PyObject *
call_condition(Barrier *self, const char *name)
{
    if (self->condition == NULL) {
        return primitive_no_attribute((Primitive *)self, "_cond");
    }
    PyObject *condition = Py_NewRef(self->condition);
    MONITOR_OUTSIDE();
    PyObject *result = PyObject_CallMethod(condition, name, NULL);
    Py_DECREF(condition);
    return result;
}

/* The same of a method that returns nothing.  Returns 0 or -1. */
static int
tell_condition(Barrier *self, const char *name)
{
    PyObject *result = call_condition(self, name);
    bool called = result != NULL;
    MONITOR_SET(result, NULL);
    return called ? 0 : -1;
}

static int
notify_all(Barrier *self)
{
    Lock *lock = lock_of(self);
    bool plain = lock != NULL && lock->locked;
    Py_XDECREF((PyObject *)lock);
    if (plain) {
        Condition *condition = (Condition *)Py_NewRef(self->condition);
        int result = condition_notify_all(condition);
        Py_DECREF((PyObject *)condition);
        return result;
    }
    return tell_condition(self, "notify_all");
}

/* Begins `await self._cond.wait()`. */
static PySendResult
wait_for_change(PrimitiveCoroutine *self, PyObject **result)
{
    Barrier *barrier = (Barrier *)self->owner;
    Condition *condition = condition_cast(barrier->state, barrier->condition);
    PyObject *waiting = condition ? condition_wait(condition) : call_condition(barrier, "wait");
    MONITOR_OUTSIDE();
    self->base.delegate = condition ? waiting : coroutine_await_steal(waiting);
    return self->base.delegate ? PyIter_Send(self->base.delegate, Py_None, result) : PYGEN_ERROR;
}

/* ---- wait() ---- */

enum phase {
    DELEGATED, /* it is asyncio's method that waits */
    ENTERING,  /* for the lock */
    BLOCKING,  /* until those before have left */
    WAITING,   /* until all are here */
};

static PySendResult
break_off(Barrier *self, const char *message)
{
    PyErr_SetString(self->state->asyncio_BrokenBarrierError, message);
    return PYGEN_ERROR;
}

static void
set_state(Barrier *self, PyObject *barrier_state)
{
    MONITOR_SET(self->barrier_state, Py_NewRef(barrier_state));
}

/* The inner `finally`. */
static int
leave_barrier(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    Barrier *barrier = (Barrier *)self->owner;
    struct state *state = barrier->state;
    if (--barrier->count != 0) {
        return 0;
    }
    if (barrier->barrier_state == state->barrier_resetting || barrier->barrier_state == state->barrier_draining) {
        set_state(barrier, state->barrier_filling);
    }
    return notify_all(barrier);
}

/* The end of `async with self._cond`. */
static int
leave_condition(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    Barrier *barrier = (Barrier *)self->owner;
    Lock *lock = lock_of(barrier);
    int result = lock != NULL && lock->locked ? lock_release(lock) : tell_condition(barrier, "release");
    Py_XDECREF((PyObject *)lock);
    return result;
}

/* `finally: handler()` of a block with this outcome. */
static PySendResult
finally(PrimitiveCoroutine *self, PySendResult outcome, int (*handler)(PrimitiveCoroutine *self, PyObject *error))
{
    if (outcome == PYGEN_ERROR) {
        return primitive_handle(self, handler);
    }
    return handler(self, NULL) < 0 ? PYGEN_ERROR : outcome;
}

static PySendResult
end(PrimitiveCoroutine *self, PySendResult outcome, PyObject **result)
{
    outcome = finally(self, outcome, leave_condition);
    if (outcome == PYGEN_RETURN) {
        *result = Py_NewRef(self->item ? self->item : Py_None); /* NULL: the collector has been here */
    }
    return outcome;
}

/* Inside, and not the last one to come. */
static PySendResult
wait_for_all(PrimitiveCoroutine *self, PyObject **result)
{
    Barrier *barrier = (Barrier *)self->owner;
    struct state *state = barrier->state;
    PySendResult outcome = PYGEN_RETURN;
    self->phase = WAITING;
    while (outcome == PYGEN_RETURN && barrier->barrier_state == state->barrier_filling) {
        outcome = wait_for_change(self, result);
        if (outcome == PYGEN_NEXT) {
            return outcome;
        }
        MONITOR_SET(self->base.delegate, NULL);
        MONITOR_SET(*result, NULL);
    }
    if (outcome == PYGEN_RETURN
        && (barrier->barrier_state == state->barrier_broken || barrier->barrier_state == state->barrier_resetting)) {
        outcome = break_off(barrier, "Abort or reset of barrier");
    }
    return end(self, finally(self, outcome, leave_barrier), result);
}

/* Inside: takes the next place. */
static PySendResult
take_place(PrimitiveCoroutine *self, PyObject **result)
{
    Barrier *barrier = (Barrier *)self->owner;
    if (barrier->barrier_state == barrier->state->barrier_broken) {
        return end(self, break_off(barrier, "Barrier aborted"), result);
    }
    PyObject *index = PyLong_FromSsize_t(barrier->count);
    if (index == NULL) {
        return end(self, PYGEN_ERROR, result);
    }
    Py_XSETREF(self->item, index);
    if (++barrier->count != barrier->limit) {
        return wait_for_all(self, result);
    }
    set_state(barrier, barrier->state->barrier_draining);
    PySendResult outcome = notify_all(barrier) < 0 ? PYGEN_ERROR : PYGEN_RETURN;
    return end(self, finally(self, outcome, leave_barrier), result);
}

/* Has the lock. */
static PySendResult
wait_for_room(PrimitiveCoroutine *self, PyObject **result)
{
    Barrier *barrier = (Barrier *)self->owner;
    struct state *state = barrier->state;
    self->phase = BLOCKING;
    while (barrier->barrier_state == state->barrier_draining || barrier->barrier_state == state->barrier_resetting) {
        PySendResult outcome = wait_for_change(self, result);
        if (outcome == PYGEN_NEXT) {
            return outcome;
        }
        MONITOR_SET(self->base.delegate, NULL);
        MONITOR_SET(*result, NULL);
        if (outcome == PYGEN_ERROR) {
            return end(self, outcome, result);
        }
    }
    return take_place(self, result);
}

/* Its delegate has ended. */
static PySendResult
wait_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (self->phase == DELEGATED) {
        return outcome;
    }
    MONITOR_SET(base->delegate, NULL);
    MONITOR_SET(*result, NULL);
    if (outcome == PYGEN_ERROR) {
        outcome = self->phase == WAITING ? finally(self, outcome, leave_barrier) : outcome;
        return self->phase == ENTERING ? outcome : end(self, outcome, result);
    }
    return self->phase == WAITING ? wait_for_all(self, result) : wait_for_room(self, result);
}

static PySendResult
start(Coroutine *base, PyObject **result, int method, unsigned methods)
{
    enum { PARTS = 1 << BARRIER__BLOCK | 1 << BARRIER__RELEASE | 1 << BARRIER__WAIT | 1 << BARRIER__EXIT };
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    Barrier *barrier = (Barrier *)self->owner;
    bool plain = barrier->limit > 0 && !primitive_overrides((Primitive *)barrier, PARTS | methods);
    Lock *lock = plain ? lock_of(barrier) : NULL;
    if (lock == NULL) {
        return primitive_delegate(self, method);
    }
    int acquired = lock_acquire_at_once(lock);
    if (acquired == 0) {
        self->phase = ENTERING;
        base->delegate = lock_acquire(lock);
    }
    Py_DECREF((PyObject *)lock);
    if (acquired > 0) {
        return wait_for_room(self, result);
    }
    return base->delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

static PySendResult
wait_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return start(base, result, BARRIER_WAIT, 0);
}

static PySendResult
enter_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return start(base, result, BARRIER_AENTER, 1 << BARRIER_WAIT);
}

static const struct coroutine_body wait_body = {
    .name = "wait",
    .qualname = "Barrier.wait",
    .start = wait_start,
    .conclude = wait_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct coroutine_body enter_body = {
    .name = "__aenter__",
    .qualname = "Barrier.__aenter__",
    .start = enter_start,
    .conclude = wait_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct primitive_method wait_method = { &barrier_kind, BARRIER_WAIT, &wait_body, 0 };
static const struct primitive_method enter_method = { &barrier_kind, BARRIER_AENTER, &enter_body, 0 };

static PyObject *
Barrier_wait(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&wait_method, function, args, nargsf, kwnames);
}

static PyObject *
Barrier_aenter(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&enter_method, function, args, nargsf, kwnames);
}

/* ---- Python face ---- */

static PyObject *
Barrier_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Barrier_freelist, state, &barrier_kind) : NULL;
}

static void
set_parties(Barrier *self, PyObject *parties)
{
    Py_ssize_t limit = parties && PyLong_CheckExact(parties) ? PyLong_AsSsize_t(parties) : 0;
    PyErr_Clear();
    self->limit = limit > 0 ? limit : 0;
    MONITOR_SET(self->parties, Py_XNewRef(parties));
}

/* What is no positive int is asyncio's to judge. */
static int
Barrier_init(Barrier *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    PyObject *parties;
    if (!args_parse_init(args, kwargs, "parties", &parties) || parties == NULL || !PyLong_CheckExact(parties)
        || PyLong_AsSsize_t(parties) <= 0) {
        PyErr_Clear();
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    Py_INCREF(parties);
    PyObject *condition = condition_new(self->state);
    if (condition != NULL) {
        MONITOR_SET(self->condition, condition);
        set_parties(self, parties);
        set_state(self, self->state->barrier_filling);
        self->count = 0;
    }
    Py_DECREF(parties);
    return condition ? 0 : -1;
}

static int
Barrier_traverse(Barrier *self, visitproc visit, void *arg)
{
    Py_VISIT(self->condition);
    Py_VISIT(self->parties);
    Py_VISIT(self->barrier_state);
    return primitive_traverse((Primitive *)self, visit, arg);
}

static int
Barrier_clear(Barrier *self)
{
    self->limit = 0;
    Py_CLEAR(self->condition);
    Py_CLEAR(self->parties);
    Py_CLEAR(self->barrier_state);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
Barrier_dealloc(Barrier *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Barrier_clear(self);
    freelist_free(&state->Barrier_freelist, NULL, (PyObject *)self);
}

static int
Barrier_set_parties(Barrier *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    if (value == NULL && self->parties == NULL) {
        primitive_no_attribute((Primitive *)self, "_parties");
        return -1;
    }
    set_parties(self, value);
    return 0;
}

static PyObject *
Barrier_get_count(Barrier *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return self->barrier_state ? PyLong_FromSsize_t(self->count) : primitive_no_attribute((Primitive *)self, "_count");
}

static int
Barrier_set_count(Barrier *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    Py_ssize_t number = value ? PyLong_AsSsize_t(value) : 0;
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->count = number;
    return 0;
}

PyDoc_STRVAR(wait_doc,
             "Wait until as many tasks have called this as there are parties; return the number of those before.\n\n"
             "Raises BrokenBarrierError when the barrier is reset or broken.\n\n"
             "asyncio documentation: Synchronization Primitives, Barrier.");

static const struct primitive_attribute condition_attribute = { "_cond", offsetof(Barrier, condition) };
static const struct primitive_attribute parties_attribute = { "_parties", offsetof(Barrier, parties) };
static const struct primitive_attribute state_attribute = { "_state", offsetof(Barrier, barrier_state) };

static PyGetSetDef Barrier_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    PRIMITIVE_OBJECT_ATTRIBUTE("_cond", "The condition by which it waits.", condition_attribute),
    { "_parties", (getter)primitive_get_object, (setter)Barrier_set_parties, "How many have to come.",
      (void *)&parties_attribute },
    PRIMITIVE_OBJECT_ATTRIBUTE("_state", "Whether it fills, drains or is broken.", state_attribute),
    { "_count", (getter)Barrier_get_count, (setter)Barrier_set_count, "How many are inside.", NULL },
    { 0 },
};

PyDoc_STRVAR(Barrier_doc, "Barrier(parties)\n--\n\n"
                          "The native half of asyncio_c.Barrier.");

static PyType_Slot Barrier_slots[] = {
    { Py_tp_doc, (void *)Barrier_doc },
    { Py_tp_new, Barrier_new },
    { Py_tp_init, Barrier_init },
    { Py_tp_dealloc, Barrier_dealloc },
    { Py_tp_traverse, Barrier_traverse },
    { Py_tp_clear, Barrier_clear },
    { Py_tp_getset, Barrier_getset },
    { Py_tp_setattro, primitive_setattro },
    { 0, NULL },
};

static PyType_Spec Barrier_spec = {
    .name = "asyncio_c._core.Barrier",
    .basicsize = sizeof(Barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Barrier_slots,
};

int
barrier_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *stock = state->asyncio_Barrier;
    PyTypeObject **type = &state->Barrier_type;
    if (state_add_type(module, type, &Barrier_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "wait", Barrier_wait, wait_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "__aenter__", Barrier_aenter, NULL) < 0) {
        return -1;
    }
    return primitive_register(module, &barrier_kind);
}
