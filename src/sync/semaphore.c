/* asyncio.Semaphore and BoundedSemaphore.  Layer: sync.

   Equivalent, from Python 3.13 on:

       class Semaphore:
           def locked(self):
               return self._value == 0 or any(not w.cancelled() for w in self._waiters or ())
           async def acquire(self):
               if not self.locked():
                   self._value -= 1
                   return True
               future = self._get_loop().create_future()
               self._waiters.append(future)
               try:
                   try: await future
                   finally: self._waiters.remove(future)
               except CancelledError:
                   if future.done() and not future.cancelled(): self._value += 1
                   raise
               finally:
                   while self._value > 0 and self._wake_up_next(): pass
               return True
           def release(self):
               self._value += 1
               self._wake_up_next()
           def _wake_up_next(self):                       (the one who is woken need not take it any more)
               for future in self._waiters or ():
                   if not future.done():
                       self._value -= 1
                       future.set_result(True)
                       return True

   Earlier ones wake one more at the end, and in the `except` clause only if they have given theirs back.  Which it is, is
   asked of asyncio's own _wake_up_next(), which returned nothing then.

   `_value` is a number in C.  Should somebody put something else there than an int, it is kept, and asyncio's methods do what
   they can with it. */
#include "flow/coroutine_function.h"
#include "py/args.h"
#include "sync/primitive_coroutine.h"
#include "sync/sync.h"
#include "sync/waiters.h"

typedef struct {
    PRIMITIVE_HEAD
    struct lazy_deque waiters; /* of futures */
    Py_ssize_t value;
    PyObject *odd_value; /* owned; in place of value, if it is no int of C's size */
    PyObject *bound;     /* owned; BoundedSemaphore's `_bound_value` */
} Semaphore;

static const char *const semaphore_methods[] = { "_get_loop",     "acquire",    "release",  "locked",
                                                 "_wake_up_next", "__aenter__", "__aexit__" };

enum {
    SEMAPHORE_GET_LOOP,
    SEMAPHORE_ACQUIRE,
    SEMAPHORE_RELEASE,
    SEMAPHORE_LOCKED,
    SEMAPHORE_WAKE_UP_NEXT,
    SEMAPHORE_AENTER,
    SEMAPHORE_AEXIT,
};

static const struct primitive_kind semaphore_kind = PRIMITIVE_KIND(Semaphore, semaphore_methods);
static const struct primitive_kind bounded_kind = PRIMITIVE_KIND(BoundedSemaphore, semaphore_methods);

static inline bool
is_plain(Semaphore *self, unsigned methods)
{
    bool known = lazy_deque_exists(&self->waiters) && self->odd_value == NULL;
    return AC_LIKELY(known && !primitive_overrides((Primitive *)self, methods));
}

/* Takes an int for `_value`, or whatever it is.  Returns 0 or -1. */
static int
set_value(Semaphore *self, PyObject *value)
{
    Py_ssize_t number = PyLong_CheckExact(value) ? PyLong_AsSsize_t(value) : -1;
    bool odd = number == -1 && (!PyLong_CheckExact(value) || PyErr_Occurred());
    PyErr_Clear();
    self->value = odd ? 0 : number;
    MONITOR_SET(self->odd_value, odd ? Py_NewRef(value) : NULL);
    return 0;
}

static int
is_locked(Semaphore *self)
{
    return self->value == 0 ? 1 : waiters_any_not_cancelled(&self->waiters, self->state);
}

/* Wakes the next, to whom one belongs from then on.  1, 0 if nobody waits, or -1. */
static int
wake_up_next(Semaphore *self)
{
    if (lazy_deque_is_empty(&self->waiters)) {
        return 0;
    }
    self->value--; /* before the future is told: this may run Python */
    Py_ssize_t woken = waiters_wake(&self->waiters, self->state, 1, Py_True);
    if (woken == 0) {
        self->value++;
    }
    return (int)woken;
}

static int
wake_up_next_of_any(Semaphore *self)
{
    if (is_plain(self, 1 << SEMAPHORE_WAKE_UP_NEXT)) {
        return wake_up_next(self);
    }
    return primitive_ask((Primitive *)self, SEMAPHORE_WAKE_UP_NEXT);
}

/* ---- Acquiring ---- */

enum { ACQUIRING = 1 << SEMAPHORE_GET_LOOP | 1 << SEMAPHORE_LOCKED | 1 << SEMAPHORE_WAKE_UP_NEXT };

static PySendResult
start(Coroutine *base, PyObject **result, int method, unsigned methods, PyObject *value)
{
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    Semaphore *semaphore = (Semaphore *)self->owner;
    if (!is_plain(semaphore, methods)) {
        return primitive_delegate(self, method);
    }
    int locked = is_locked(semaphore);
    if (locked > 0) {
        return primitive_wait(self, &semaphore->waiters, false, method, result);
    }
    semaphore->value -= locked == 0;
    *result = locked == 0 ? Py_NewRef(value) : NULL;
    return locked == 0 ? PYGEN_RETURN : PYGEN_ERROR;
}

/* What is left to do at the end, however it ends, from Python 3.13 on: new waiters may have come while there was one for them,
   which they had to leave to who was first. */
static int
wake_as_many_as_may(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    Semaphore *semaphore = (Semaphore *)self->owner;
    int woken = 1;
    while (semaphore->value > 0 && woken > 0) {
        woken = wake_up_next_of_any(semaphore);
    }
    return woken < 0 ? -1 : 0;
}

/* `finally`. */
static int
stop_waiting(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    return primitive_stop_waiting(self, &((Semaphore *)self->owner)->waiters);
}

/* `except CancelledError`. */
static int
handle_cancellation(PrimitiveCoroutine *self, PyObject *error)
{
    Semaphore *semaphore = (Semaphore *)self->owner;
    struct state *state = self->base.state;
    Future *future = (Future *)self->base.awaiting;
    if (!PyErr_GivenExceptionMatches(error, state->CancelledError) || future->future_state == FUTURE_CANCELLED) {
        return 0;
    }
    if (state->semaphore_wakes_all) {
        semaphore->value += future->future_state != FUTURE_PENDING;
        return 0;
    }
    semaphore->value++;
    return wake_up_next_of_any(semaphore) < 0 ? -1 : 0;
}

static PySendResult
acquire_conclude(Coroutine *base, PySendResult outcome, PyObject **Py_UNUSED(result))
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (base->delegate != NULL) {
        return outcome;
    }
    (void)primitive_handle(self, stop_waiting);
    (void)primitive_handle(self, handle_cancellation);
    return base->state->semaphore_wakes_all ? primitive_handle(self, wake_as_many_as_may) : PYGEN_ERROR;
}

static PySendResult
acquire_resume(Coroutine *base, PyObject **result, PyObject *value)
{
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (primitive_waited(self) < 0) {
        return acquire_conclude(base, PYGEN_ERROR, result);
    }
    if (stop_waiting(self, NULL) < 0) {
        return base->state->semaphore_wakes_all ? primitive_handle(self, wake_as_many_as_may) : PYGEN_ERROR;
    }
    Semaphore *semaphore = (Semaphore *)self->owner;
    if (base->state->semaphore_wakes_all) {
        if (wake_as_many_as_may(self, NULL) < 0) {
            return PYGEN_ERROR;
        }
    }
    else if (semaphore->value > 0 && wake_up_next_of_any(semaphore) < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(value);
    return PYGEN_RETURN;
}

static PySendResult
semaphore_acquire_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return start(base, result, SEMAPHORE_ACQUIRE, ACQUIRING, Py_True);
}

static PySendResult
semaphore_acquire_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return acquire_resume(base, result, Py_True);
}

static PySendResult
semaphore_enter_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return start(base, result, SEMAPHORE_AENTER, ACQUIRING | 1 << SEMAPHORE_ACQUIRE, Py_None);
}

static PySendResult
semaphore_enter_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return acquire_resume(base, result, Py_None);
}

static const struct coroutine_body acquire_body = {
    .name = "acquire",
    .qualname = "Semaphore.acquire",
    .start = semaphore_acquire_start,
    .resume = semaphore_acquire_resume,
    .conclude = acquire_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct coroutine_body enter_body = {
    .name = "__aenter__",
    .qualname = "_ContextManagerMixin.__aenter__",
    .start = semaphore_enter_start,
    .resume = semaphore_enter_resume,
    .conclude = acquire_conclude,
    .leave = coroutine_leave_nothing,
};

/* ---- Releasing ---- */

/* Whether release() is done here; what a bounded one refuses, is asyncio's to say. */
static inline bool
may_release(Semaphore *self)
{
    if (!is_plain(self, 1 << SEMAPHORE_WAKE_UP_NEXT)) {
        return false;
    }
    if (self->kind == &semaphore_kind) {
        return true;
    }
    PyObject *bound = self->bound;
    return bound != NULL && PyLong_CheckExact(bound) && self->value < PyLong_AsLong(bound) && !PyErr_Occurred();
}

static int
release(Semaphore *self)
{
    self->value++;
    return wake_up_next(self) < 0 ? -1 : 0;
}

static PySendResult
semaphore_exit_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    Semaphore *semaphore = (Semaphore *)((PrimitiveCoroutine *)base)->owner;
    if (AC_UNLIKELY(!is_plain(semaphore, 1 << SEMAPHORE_RELEASE) || !may_release(semaphore))) {
        return primitive_exit((PrimitiveCoroutine *)base, result);
    }
    if (release(semaphore) < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static const struct coroutine_body exit_body = {
    .name = "__aexit__",
    .qualname = "_ContextManagerMixin.__aexit__",
    .start = semaphore_exit_start,
    .leave = coroutine_leave_nothing,
};

static PyObject *
Semaphore_release(Semaphore *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !may_release(self))) {
        PyErr_Clear();
        return primitive_call_asyncio_method((Primitive *)self, SEMAPHORE_RELEASE, args, nargs, kwnames);
    }
    if (release(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Semaphore_locked(Semaphore *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !is_plain(self, 0))) {
        return primitive_call_asyncio_method((Primitive *)self, SEMAPHORE_LOCKED, args, nargs, kwnames);
    }
    int locked = is_locked(self);
    return locked < 0 ? NULL : PyBool_FromLong(locked);
}

/* ---- Python face ---- */

static const struct primitive_method acquire_method = { &semaphore_kind, SEMAPHORE_ACQUIRE, &acquire_body, 0 };
static const struct primitive_method enter_method = { &semaphore_kind, SEMAPHORE_AENTER, &enter_body, 0 };
static const struct primitive_method exit_method = { &semaphore_kind, SEMAPHORE_AEXIT, &exit_body, 3 };

static PyObject *
Semaphore_acquire(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&acquire_method, function, args, nargsf, kwnames);
}

static PyObject *
Semaphore_aenter(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&enter_method, function, args, nargsf, kwnames);
}

static PyObject *
Semaphore_aexit(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&exit_method, function, args, nargsf, kwnames);
}

static PyObject *
Semaphore_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Semaphore_freelist, state, &semaphore_kind) : NULL;
}

static PyObject *
BoundedSemaphore_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Semaphore_freelist, state, &bounded_kind) : NULL;
}

/* The argument of __init__(value=1): borrowed, NULL where there is none.  False: asyncio shall judge it. */
static bool
parse_value(PyObject *args, PyObject *kwargs, PyObject **value)
{
    return args_parse_init(args, kwargs, "value", value)
           && (*value == NULL || (PyLong_CheckExact(*value) && PyLong_AsSsize_t(*value) >= 0));
}

static int
Semaphore_init(Semaphore *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    PyObject *value;
    bool bounded = self->kind == &bounded_kind;
    if (!parse_value(args, kwargs, &value)) {
        PyErr_Clear();
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    value = value ? Py_NewRef(value) : PyLong_FromLong(1);
    if (value == NULL) {
        return -1;
    }
    int result = set_value(self, value);
    lazy_deque_init_none(&self->waiters);
    if (bounded) {
        MONITOR_SET(self->bound, Py_NewRef(value));
    }
    Py_DECREF(value);
    return result;
}

static int
Semaphore_traverse(Semaphore *self, visitproc visit, void *arg)
{
    int result = lazy_deque_traverse(&self->waiters, visit, arg);
    if (result != 0) {
        return result;
    }
    Py_VISIT(self->odd_value);
    Py_VISIT(self->bound);
    return primitive_traverse((Primitive *)self, visit, arg);
}

static int
Semaphore_clear(Semaphore *self)
{
    lazy_deque_clear(&self->waiters);
    Py_CLEAR(self->odd_value);
    Py_CLEAR(self->bound);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
Semaphore_dealloc(Semaphore *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Semaphore_clear(self);
    freelist_free(&state->Semaphore_freelist, NULL, (PyObject *)self);
}

static PyObject *
Semaphore_get_value(Semaphore *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    if (!lazy_deque_exists(&self->waiters)) {
        return primitive_no_attribute((Primitive *)self, "_value");
    }
    return self->odd_value ? Py_NewRef(self->odd_value) : PyLong_FromSsize_t(self->value);
}

static int
Semaphore_set_value(Semaphore *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return set_value(self, value ? value : Py_None);
}

PyDoc_STRVAR(acquire_doc, "Wait until one is left, take it, and return True.\n\n"
                          "asyncio documentation: Synchronization Primitives, Semaphore.");
PyDoc_STRVAR(release_doc,
             "release($self)\n--\n\n"
             "Give one back; who has waited longest gets it.  A BoundedSemaphore raises ValueError where none was\n"
             "taken.\n\n"
             "asyncio documentation: Synchronization Primitives, Semaphore.");
PyDoc_STRVAR(locked_doc, "locked($self)\n--\n\n"
                         "Return True if acquire() would have to wait.\n\n"
                         "asyncio documentation: Synchronization Primitives, Semaphore.");

static PyMethodDef Semaphore_methods[] = {
    { "release", AC_FAST(Semaphore_release), METH_FASTCALL | METH_KEYWORDS, release_doc },
    { "locked", AC_FAST(Semaphore_locked), METH_FASTCALL | METH_KEYWORDS, locked_doc },
    { 0 },
};

/* The same again, as a method of its own: whether somebody has replaced it is seen by what it is. */
static PyMethodDef BoundedSemaphore_methods[] = {
    { "release", AC_FAST(Semaphore_release), METH_FASTCALL | METH_KEYWORDS, release_doc },
    { 0 },
};

static const struct primitive_attribute waiters_attribute = { "_waiters", offsetof(Semaphore, waiters) };
static const struct primitive_attribute bound_attribute = { "_bound_value", offsetof(Semaphore, bound) };

static PyGetSetDef Semaphore_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    { "_waiters", (getter)primitive_get_deque, (setter)primitive_set_deque, "Who waits, or None.",
      (void *)&waiters_attribute },
    { "_value", (getter)Semaphore_get_value, (setter)Semaphore_set_value, "How many are left.", NULL },
    { 0 },
};

static PyGetSetDef BoundedSemaphore_getset[] = {
    PRIMITIVE_OBJECT_ATTRIBUTE("_bound_value", "How many there are.", bound_attribute),
    { 0 },
};

PyDoc_STRVAR(Semaphore_doc, "Semaphore(value=1)\n--\n\n"
                            "The native half of asyncio_c.Semaphore.");
PyDoc_STRVAR(BoundedSemaphore_doc, "BoundedSemaphore(value=1)\n--\n\n"
                                   "The native half of asyncio_c.BoundedSemaphore.");

static PyType_Slot Semaphore_slots[] = {
    { Py_tp_doc, (void *)Semaphore_doc },   { Py_tp_new, Semaphore_new },
    { Py_tp_init, Semaphore_init },         { Py_tp_dealloc, Semaphore_dealloc },
    { Py_tp_traverse, Semaphore_traverse }, { Py_tp_clear, Semaphore_clear },
    { Py_tp_methods, Semaphore_methods },   { Py_tp_getset, Semaphore_getset },
    { Py_tp_setattro, primitive_setattro }, { 0, NULL },
};

static PyType_Slot BoundedSemaphore_slots[] = {
    { Py_tp_doc, (void *)BoundedSemaphore_doc },
    { Py_tp_new, BoundedSemaphore_new },
    { Py_tp_dealloc, Semaphore_dealloc },
    { Py_tp_traverse, Semaphore_traverse },
    { Py_tp_clear, Semaphore_clear },
    { Py_tp_methods, BoundedSemaphore_methods },
    { Py_tp_getset, BoundedSemaphore_getset },
    { 0, NULL },
};

static PyType_Spec Semaphore_spec = {
    .name = "asyncio_c._core.Semaphore",
    .basicsize = sizeof(Semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Semaphore_slots,
};

static PyType_Spec BoundedSemaphore_spec = {
    .name = "asyncio_c._core.BoundedSemaphore",
    .basicsize = sizeof(Semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = BoundedSemaphore_slots,
};

/* Asks asyncio's semaphore whose rules it keeps.  0 or -1. */
static int
ask_for_the_rules(struct state *state)
{
    PyObject *semaphore = PyObject_CallNoArgs(state->asyncio_Semaphore);
    PyObject *woken = semaphore ? PyObject_CallMethod(semaphore, "_wake_up_next", NULL) : NULL;
    state->semaphore_wakes_all = woken == Py_False;
    Py_XDECREF(semaphore);
    Py_XDECREF(woken);
    return woken ? 0 : -1;
}

int
semaphore_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *stock = state->asyncio_Semaphore;
    PyTypeObject **type = &state->Semaphore_type;
    if (ask_for_the_rules(state) < 0 || state_add_type(module, type, &Semaphore_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "acquire", Semaphore_acquire, acquire_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "__aenter__", Semaphore_aenter, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "__aexit__", Semaphore_aexit, NULL) < 0
        || primitive_register(module, &semaphore_kind) < 0
        || state_add_type(module, &state->BoundedSemaphore_type, &BoundedSemaphore_spec, *type) < 0) {
        return -1;
    }
    return primitive_register(module, &bounded_kind);
}
