/* asyncio.Lock.  Layer: sync.

   Equivalent:

       class Lock:
           async def acquire(self):
               if self._locked or any(not w.cancelled() for w in self._waiters or ()):
                   future = self._get_loop().create_future()
                   self._waiters.append(future)
                   try:
                       try: await future
                       finally: self._waiters.remove(future)
                   except CancelledError:
                       if not self._locked: self._wake_up_first()
                       raise
               self._locked = True
               return True
           def release(self):
               self._locked = False
               self._wake_up_first()
           def _wake_up_first(self):
               if self._waiters and not self._waiters[0].done(): self._waiters[0].set_result(True)

   A lock that was released for somebody is not locked until he runs, and nobody overtakes him, for he is in _waiters. */
#include "sync/lock.h"

#include "flow/coroutine_function.h"
#include "py/args.h"
#include "sync/primitive_coroutine.h"
#include "sync/sync.h"
#include "sync/waiters.h"

static const char *const lock_methods[] = { "_get_loop",      "acquire",    "release",  "locked",
                                            "_wake_up_first", "__aenter__", "__aexit__" };

enum {
    LOCK_GET_LOOP,
    LOCK_ACQUIRE,
    LOCK_RELEASE,
    LOCK_LOCKED,
    LOCK_WAKE_UP_FIRST,
    LOCK_AENTER,
    LOCK_AEXIT,
};

static const struct primitive_kind lock_kind = PRIMITIVE_KIND(Lock, lock_methods);

static inline bool
is_plain(Lock *self, unsigned methods)
{
    return AC_LIKELY(lazy_deque_exists(&self->waiters) && !primitive_overrides((Primitive *)self, methods));
}

bool
lock_is_plain(Lock *self)
{
    PRIMITIVE_GUARD(self);
    return is_plain(self, 1 << LOCK_GET_LOOP | 1 << LOCK_ACQUIRE | 1 << LOCK_RELEASE | 1 << LOCK_LOCKED
                              | 1 << LOCK_WAKE_UP_FIRST);
}

int
lock_acquire_at_once(Lock *self)
{
    PRIMITIVE_GUARD(self);
    int busy = self->locked ? 1 : waiters_any_not_cancelled(&self->waiters, self->state);
    if (busy == 0) {
        self->locked = true;
    }
    return busy < 0 ? -1 : !busy;
}

int
lock_wake_up_first(Lock *self)
{
    PRIMITIVE_GUARD(self);
    return self->locked || waiters_wake_first(&self->waiters, self->state, Py_True) >= 0 ? 0 : -1;
}

int
lock_release(Lock *self)
{
    PRIMITIVE_GUARD(self);
    self->locked = false;
    return lock_wake_up_first(self);
}

/* ---- Acquiring ---- */

/* The first step; `value` is what comes of it at once. */
static PySendResult
acquire_start(Coroutine *base, PyObject **result, int method, unsigned methods, PyObject *value)
{
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    Lock *lock = (Lock *)self->owner;
    if (!is_plain(lock, methods)) {
        return primitive_delegate(self, method);
    }
    int acquired = lock_acquire_at_once(lock);
    if (acquired == 0) {
        return primitive_wait(self, &lock->waiters, false, method, result);
    }
    *result = acquired > 0 ? Py_NewRef(value) : NULL;
    return acquired > 0 ? PYGEN_RETURN : PYGEN_ERROR;
}

/* `except CancelledError`. */
static int
handle_cancellation(PrimitiveCoroutine *self, PyObject *error)
{
    Lock *lock = (Lock *)self->owner;
    if (lock->locked || !PyErr_GivenExceptionMatches(error, self->base.state->CancelledError)) {
        return 0;
    }
    if (is_plain(lock, 1 << LOCK_WAKE_UP_FIRST)) {
        return lock_wake_up_first(lock);
    }
    return primitive_tell(self->owner, LOCK_WAKE_UP_FIRST, NULL);
}

/* `finally`. */
static int
stop_waiting(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    return primitive_stop_waiting(self, &((Lock *)self->owner)->waiters);
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
    return primitive_handle(self, handle_cancellation);
}

static PySendResult
acquire_resume(Coroutine *base, PyObject **result, PyObject *value)
{
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (primitive_waited(self) < 0) {
        return acquire_conclude(base, PYGEN_ERROR, result);
    }
    if (stop_waiting(self, NULL) < 0) {
        return PYGEN_ERROR;
    }
    ((Lock *)self->owner)->locked = true;
    *result = Py_NewRef(value);
    return PYGEN_RETURN;
}

enum { ACQUIRING = 1 << LOCK_GET_LOOP | 1 << LOCK_WAKE_UP_FIRST };

static PySendResult
lock_acquire_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return acquire_start(base, result, LOCK_ACQUIRE, ACQUIRING, Py_True);
}

static PySendResult
lock_acquire_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return acquire_resume(base, result, Py_True);
}

static PySendResult
lock_enter_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return acquire_start(base, result, LOCK_AENTER, ACQUIRING | 1 << LOCK_ACQUIRE, Py_None);
}

static PySendResult
lock_enter_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return acquire_resume(base, result, Py_None);
}

static const struct coroutine_body acquire_body = {
    .name = "acquire",
    .qualname = "Lock.acquire",
    .start = lock_acquire_start,
    .resume = lock_acquire_resume,
    .conclude = acquire_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct coroutine_body enter_body = {
    .name = "__aenter__",
    .qualname = "_ContextManagerMixin.__aenter__",
    .start = lock_enter_start,
    .resume = lock_enter_resume,
    .conclude = acquire_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct primitive_method acquire_method = { &lock_kind, LOCK_ACQUIRE, &acquire_body, 0 };
static const struct primitive_method enter_method = { &lock_kind, LOCK_AENTER, &enter_body, 0 };

static PyObject *
Lock_acquire(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&acquire_method, function, args, nargsf, kwnames);
}

static PyObject *
Lock_aenter(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&enter_method, function, args, nargsf, kwnames);
}

/* ---- Releasing ---- */

static PySendResult
lock_exit_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    Lock *lock = (Lock *)((PrimitiveCoroutine *)base)->owner;
    if (AC_UNLIKELY(!is_plain(lock, 1 << LOCK_RELEASE | 1 << LOCK_WAKE_UP_FIRST) || !lock->locked)) {
        return primitive_exit((PrimitiveCoroutine *)base, result);
    }
    if (lock_release(lock) < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static const struct coroutine_body exit_body = {
    .name = "__aexit__",
    .qualname = "_ContextManagerMixin.__aexit__",
    .start = lock_exit_start,
    .leave = coroutine_leave_nothing,
};

static const struct primitive_method exit_method = { &lock_kind, LOCK_AEXIT, &exit_body, 3 };

static PyObject *
Lock_aexit(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&exit_method, function, args, nargsf, kwnames);
}

static PyObject *
Lock_release(Lock *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    bool plain = nargs == 0 && kwnames == NULL && is_plain(self, 1 << LOCK_WAKE_UP_FIRST) && self->locked;
    if (AC_UNLIKELY(!plain)) {
        return primitive_call_asyncio_method((Primitive *)self, LOCK_RELEASE, args, nargs, kwnames);
    }
    if (lock_release(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Lock_locked(Lock *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !lazy_deque_exists(&self->waiters))) {
        return primitive_call_asyncio_method((Primitive *)self, LOCK_LOCKED, args, nargs, kwnames);
    }
    return PyBool_FromLong(self->locked);
}

/* ---- For conditions ---- */

PyObject *
lock_acquire(Lock *self)
{
    return primitive_coroutine_new((Primitive *)self, &acquire_body, NULL);
}

PyObject *
lock_enter(Lock *self)
{
    return primitive_coroutine_new((Primitive *)self, &enter_body, NULL);
}

PyObject *
lock_exit(Lock *self)
{
    return primitive_coroutine_new((Primitive *)self, &exit_body, NULL);
}

PyObject *
lock_new(struct state *state)
{
    MONITOR_OUTSIDE();
    PyObject *class = state_class_borrow(&state->lock_class, "asyncio_c.primitives", "Lock");
    return class ? PyObject_CallNoArgs(class) : NULL;
}

static bool
is_builtin_method(PyObject *object, PyObject *self, void *method)
{
    return object != NULL && PyCFunction_CheckExact(object) && PyCFunction_GET_SELF(object) == self
           && PyCFunction_GET_FUNCTION(object) == _PyCFunction_CAST(method);
}

Lock *
lock_of_methods_borrow(struct state *state, PyObject *acquire, PyObject *release, PyObject *locked)
{
    if (acquire == NULL || !PyMethod_Check(acquire)) {
        return NULL;
    }
    PyObject *self = PyMethod_GET_SELF(acquire);
    bool ours = PyObject_TypeCheck(self, state->Lock_type)
                && PyMethod_GET_FUNCTION(acquire) == primitive_method_borrow((Primitive *)self, LOCK_ACQUIRE)
                && is_builtin_method(release, self, Lock_release) && is_builtin_method(locked, self, Lock_locked);
    return ours ? (Lock *)self : NULL;
}

/* ---- Python face ---- */

static PyObject *
Lock_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Lock_freelist, state, &lock_kind) : NULL;
}

static int
Lock_init(Lock *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    self->locked = false;
    lazy_deque_init_none(&self->waiters);
    return 0;
}

static int
Lock_traverse(Lock *self, visitproc visit, void *arg)
{
    int result = lazy_deque_traverse(&self->waiters, visit, arg);
    if (result != 0) {
        return result;
    }
    return primitive_traverse((Primitive *)self, visit, arg);
}

static int
Lock_clear(Lock *self)
{
    lazy_deque_clear(&self->waiters);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
Lock_dealloc(Lock *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Lock_clear(self);
    freelist_free(&state->Lock_freelist, NULL, (PyObject *)self);
}

static PyObject *
Lock_get_locked(Lock *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return lazy_deque_exists(&self->waiters) ? PyBool_FromLong(self->locked)
                                             : primitive_no_attribute((Primitive *)self, "_locked");
}

static int
Lock_set_locked(Lock *self, PyObject *value, void *Py_UNUSED(closure))
{
    int truth = value ? PyObject_IsTrue(value) : 0;
    PRIMITIVE_GUARD(self);
    if (truth >= 0) {
        self->locked = truth;
    }
    return truth < 0 ? -1 : 0;
}

PyDoc_STRVAR(acquire_doc, "Wait until the lock is free, take it, and return True.\n\n"
                          "asyncio documentation: Synchronization Primitives, Lock.");
PyDoc_STRVAR(release_doc,
             "release($self)\n--\n\n"
             "Give the lock back; who has waited longest is woken.  Raises RuntimeError if it is not locked.\n\n"
             "asyncio documentation: Synchronization Primitives, Lock.");
PyDoc_STRVAR(locked_doc, "locked($self)\n--\n\n"
                         "Return True while the lock is taken.\n\n"
                         "asyncio documentation: Synchronization Primitives, Lock.");

static PyMethodDef Lock_methods[] = {
    { "release", AC_FAST(Lock_release), METH_FASTCALL | METH_KEYWORDS, release_doc },
    { "locked", AC_FAST(Lock_locked), METH_FASTCALL | METH_KEYWORDS, locked_doc },
    { 0 },
};

static const struct primitive_attribute waiters_attribute = { "_waiters", offsetof(Lock, waiters) };

static PyGetSetDef Lock_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    { "_waiters", (getter)primitive_get_deque, (setter)primitive_set_deque, "Who waits, or None.",
      (void *)&waiters_attribute },
    { "_locked", (getter)Lock_get_locked, (setter)Lock_set_locked, "Whether it is taken.", NULL },
    { 0 },
};

PyDoc_STRVAR(Lock_doc, "Lock()\n--\n\n"
                       "The native half of asyncio_c.Lock.");

static PyType_Slot Lock_slots[] = {
    { Py_tp_doc, (void *)Lock_doc },
    { Py_tp_new, Lock_new },
    { Py_tp_init, Lock_init },
    { Py_tp_dealloc, Lock_dealloc },
    { Py_tp_traverse, Lock_traverse },
    { Py_tp_clear, Lock_clear },
    { Py_tp_methods, Lock_methods },
    { Py_tp_getset, Lock_getset },
    { Py_tp_setattro, primitive_setattro },
    { 0, NULL },
};

static PyType_Spec Lock_spec = {
    .name = "asyncio_c._core.Lock",
    .basicsize = sizeof(Lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Lock_slots,
};

int
lock_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *stock = state->asyncio_Lock;
    PyTypeObject **type = &state->Lock_type;
    if (state_add_type(module, type, &Lock_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "acquire", Lock_acquire, acquire_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "__aenter__", Lock_aenter, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "__aexit__", Lock_aexit, NULL) < 0) {
        return -1;
    }
    return primitive_register(module, &lock_kind);
}
