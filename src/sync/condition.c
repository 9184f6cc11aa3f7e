/* asyncio.Condition.  Layer: sync.

   Equivalent, from Python 3.13 on:

       class Condition:
           def __init__(self, lock=None):
               self._lock = lock if lock is not None else Lock()
               self.locked, self.acquire, self.release = lock.locked, lock.acquire, lock.release
           async def wait(self):
               if not self.locked(): raise RuntimeError
               future = self._get_loop().create_future()
               self.release()
               try:
                   try:
                       self._waiters.append(future)
                       try: await future
                       finally: self._waiters.remove(future)
                   finally:
                       cancelled = None
                       while True:
                           try: await self.acquire(); break
                           except CancelledError as error: cancelled = error
                       if cancelled is not None: raise cancelled
               except BaseException:
                   self._notify(1)                        (who was told may be the one who has failed)
                   raise
               return True
           async def wait_for(self, predicate):
               while not (result := predicate()): await self.wait()
               return result
           def notify(self, n=1):
               if not self.locked(): raise RuntimeError
               self._notify(n)                            (sets the result False of the first n of _waiters that are not done)

   Earlier ones have no _notify(), do not tell anybody else, and raise a new CancelledError at the end.

   wait() is left in three phases: it waits for the future, then for the lock, which it takes at once where that is free; then it is over.
   wait_for() goes through them again and again.

   The lock's methods are attributes of the instance, as asyncio has them, so that they hide what a subclass defines and go with the
   lock that was given.  While they are those of a native lock, they are not called but done (condition_lock()). */
#include "sync/condition.h"

#include "flow/coroutine_function.h"
#include "py/args.h"
#include "py/errors.h"
#include "sync/primitive_coroutine.h"
#include "sync/sync.h"
#include "sync/waiters.h"

static const char *const condition_methods[] = { "_get_loop", "wait",       "wait_for",   "notify",
                                                 "_notify",   "notify_all", "__aenter__", "__aexit__" };

enum {
    CONDITION_GET_LOOP,
    CONDITION_WAIT,
    CONDITION_WAIT_FOR,
    CONDITION_NOTIFY,
    CONDITION__NOTIFY,
    CONDITION_NOTIFY_ALL,
    CONDITION_AENTER,
    CONDITION_AEXIT,
};

static const struct primitive_kind condition_kind = PRIMITIVE_KIND(Condition, condition_methods);

static inline bool
is_plain(Condition *self, unsigned methods)
{
    return AC_LIKELY(lazy_deque_exists(&self->waiters) && !primitive_overrides((Primitive *)self, methods));
}

/* ---- The lock ---- */

/* Looks whose methods the instance has. */
static void
find_lock(Condition *self)
{
    struct state *state = self->state;
    PyObject *error = compat_exception_take();
    PyObject *dict = PyObject_GenericGetDict((PyObject *)self, NULL);
    PyObject *acquire = dict ? compat_dict_get(dict, state->str_acquire) : NULL;
    PyObject *release = dict ? compat_dict_get(dict, state->str_release) : NULL;
    PyObject *locked = dict ? compat_dict_get(dict, state->str_locked) : NULL;
    PyErr_Clear();
    Lock *lock = lock_of_methods_borrow(state, acquire, release, locked), *before = self->plain_lock;
    self->plain_lock = (Lock *)Py_XNewRef((PyObject *)lock);
    self->lock_known = true;
    MONITOR_OUTSIDE();
    Py_XDECREF((PyObject *)before);
    Py_XDECREF(acquire);
    Py_XDECREF(release);
    Py_XDECREF(locked);
    Py_XDECREF(dict);
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
}

static Lock *
lock_borrow(Condition *self)
{
    if (AC_UNLIKELY(!self->lock_known)) {
        find_lock(self);
    }
    Lock *lock = self->plain_lock;
    return lock != NULL && lock_is_plain(lock) ? lock : NULL;
}

Lock *
condition_lock(Condition *self)
{
    PRIMITIVE_GUARD(self);
    return (Lock *)Py_XNewRef((PyObject *)lock_borrow(self));
}

/* Whether it is known to be locked, without asking what may be somebody's own method. */
static bool
is_surely_locked(Condition *self)
{
    Lock *lock = lock_borrow(self);
    return lock != NULL && lock->locked;
}

/* ---- Telling ---- */

static int
notify(Condition *self, Py_ssize_t limit)
{
    return waiters_wake(&self->waiters, self->state, limit, Py_False) < 0 ? -1 : 0;
}

int
condition_notify_all(Condition *self)
{
    PRIMITIVE_GUARD(self);
    return notify(self, PY_SSIZE_T_MAX);
}

/* `except BaseException`, from 3.13 on. */
static int
notify_another(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    Condition *condition = (Condition *)self->owner;
    if (is_plain(condition, 1 << CONDITION__NOTIFY)) {
        return notify(condition, 1);
    }
    PyObject *one = PyLong_FromLong(1);
    int result = one ? primitive_tell(self->owner, CONDITION__NOTIFY, one) : -1;
    Py_XDECREF(one);
    return result;
}

/* ---- wait() ---- */

enum phase {
    DELEGATED, /* it is asyncio's method that waits */
    WAITING,
    ACQUIRING,
    WAITING_BY_METHOD, /* wait_for(): by a wait() that is not to be done here */
};

/* wait() is over with the exception that is set. */
static PySendResult
fail(PrimitiveCoroutine *self)
{
    return self->base.state->condition_passes_on ? primitive_handle(self, notify_another) : PYGEN_ERROR;
}

/* The exception that is set: what came while self->error was being handled. */
static PyObject *
take_chained(PrimitiveCoroutine *self)
{
    PyObject *error = compat_exception_take();
    if (self->error == NULL || error == self->error) {
        return error;
    }
    PyObject *outer = handling_begin(self->error);
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    handling_end_steal(outer);
    Py_DECREF(error);
    return compat_exception_take();
}

/* The lock is taken, or cannot be. */
static PySendResult
finish(PrimitiveCoroutine *self, PyObject **result)
{
    PyObject *error = self->error, *cancelled = self->cancelled;
    self->error = self->cancelled = NULL;
    if (error == NULL && cancelled == NULL) {
        *result = Py_NewRef(Py_True);
        return PYGEN_RETURN;
    }
    if (cancelled == NULL) {
        compat_exception_restore_steal(error);
        return fail(self);
    }
    PyObject *outer = error ? handling_begin(error) : NULL;
    if (self->base.state->condition_passes_on) {
        PyErr_SetObject((PyObject *)Py_TYPE(cancelled), cancelled);
    }
    else {
        PyErr_SetNone(self->base.state->CancelledError);
    }
    if (error != NULL) {
        handling_end_steal(outer);
    }
    Py_XDECREF(error);
    Py_DECREF(cancelled);
    return fail(self);
}

/* What came of one attempt to acquire the lock: whether that was the last one. */
static bool
acquire_ended(PrimitiveCoroutine *self, PySendResult outcome, PyObject **result)
{
    MONITOR_SET(self->base.delegate, NULL);
    if (outcome == PYGEN_RETURN) {
        MONITOR_SET(*result, NULL);
        return true;
    }
    PyObject *error = take_chained(self);
    if (PyErr_GivenExceptionMatches(error, self->base.state->CancelledError)) {
        MONITOR_SET(self->cancelled, error);
        return false;
    }
    MONITOR_SET(self->cancelled, NULL);
    MONITOR_SET(self->error, error);
    return true;
}

/* Begins `await self.acquire()`. */
static PySendResult
acquire(PrimitiveCoroutine *self, PyObject **result)
{
    Lock *lock = lock_borrow((Condition *)self->owner);
    *result = NULL;
    if (AC_LIKELY(lock != NULL)) {
        Py_INCREF((PyObject *)lock);
        int acquired = lock_acquire_at_once(lock);
        PyObject *waiting = acquired == 0 ? lock_acquire(lock) : NULL;
        Py_DECREF((PyObject *)lock);
        if (acquired > 0) {
            return PYGEN_RETURN;
        }
        self->base.delegate = waiting;
    }
    else {
        MONITOR_OUTSIDE();
        PyObject *awaitable = PyObject_CallMethodNoArgs((PyObject *)self->owner, self->base.state->str_acquire);
        self->base.delegate = coroutine_await_steal(awaitable);
    }
    MONITOR_OUTSIDE();
    return self->base.delegate ? PyIter_Send(self->base.delegate, Py_None, result) : PYGEN_ERROR;
}

static PySendResult
acquire_again(PrimitiveCoroutine *self, PyObject **result)
{
    PySendResult outcome;
    self->phase = ACQUIRING;
    do {
        PyObject *outer = self->error ? handling_begin(self->error) : NULL;
        outcome = acquire(self, result);
        if (self->error != NULL) {
            handling_end_steal(outer);
        }
        if (outcome == PYGEN_NEXT) {
            return outcome;
        }
    } while (!acquire_ended(self, outcome, result));
    return finish(self, result);
}

/* The future is done, or an exception is set, which came while it was not. */
static PySendResult
waited(PrimitiveCoroutine *self, PyObject **result)
{
    self->error = compat_exception_take();
    PyObject *outer = self->error ? handling_begin(self->error) : NULL;
    int stopped = primitive_stop_waiting(self, &((Condition *)self->owner)->waiters);
    if (self->error != NULL) {
        handling_end_steal(outer);
    }
    if (stopped < 0) {
        MONITOR_SET(self->error, compat_exception_take());
    }
    Py_CLEAR(self->base.awaiting);
    return acquire_again(self, result);
}

/* Whether wait() can be done here, now: then the lock and the loop, as new references.  1, 0 or -1. */
static int
may_wait_here(Condition *self, Lock **lock, Loop **loop)
{
    *lock = is_plain(self, 1 << CONDITION_GET_LOOP) ? lock_borrow(self) : NULL;
    if (*lock == NULL || !(*lock)->locked) {
        return 0;
    }
    Py_INCREF((PyObject *)*lock);
    *loop = primitive_loop((Primitive *)self);
    if (*loop == NULL) {
        Py_DECREF((PyObject *)*lock);
        return PyErr_Occurred() ? -1 : 0;
    }
    return 1;
}

/* Up to the suspension. */
static PySendResult
begin_waiting(PrimitiveCoroutine *self, Lock *lock, Loop *loop, PyObject **result)
{
    Condition *condition = (Condition *)self->owner;
    struct state *state = self->base.state;
    Future *future = future_new(state, (PyObject *)loop);
    if (future == NULL || lock_release(lock) < 0) {
        Py_XDECREF((PyObject *)future);
        return PYGEN_ERROR;
    }
    PySendResult outcome;
    if (!lazy_deque_exists(&condition->waiters)
        || lazy_deque_append(&condition->waiters, state, (PyObject *)future) < 0) {
        self->error = PyErr_Occurred() ? compat_exception_take() : NULL;
        outcome = acquire_again(self, result);
    }
    else {
        self->phase = WAITING;
        outcome = coroutine_suspend_on(&self->base, future, result);
    }
    Py_DECREF((PyObject *)future);
    return outcome;
}

static PySendResult
wait_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    Lock *lock;
    Loop *loop;
    int here = may_wait_here((Condition *)self->owner, &lock, &loop);
    if (here <= 0) {
        return here < 0 ? PYGEN_ERROR : primitive_delegate(self, CONDITION_WAIT);
    }
    PySendResult outcome = begin_waiting(self, lock, loop, result);
    Py_DECREF((PyObject *)lock);
    Py_DECREF((PyObject *)loop);
    return outcome;
}

/* What comes of wait() next, after its delegate has ended or an exception was thrown in. */
static PySendResult
wait_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (self->phase == WAITING) {
        return waited(self, result);
    }
    if (self->phase == ACQUIRING) {
        return acquire_ended(self, outcome, result) ? finish(self, result) : acquire_again(self, result);
    }
    return outcome;
}

static PySendResult
wait_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    (void)primitive_waited(self);
    return waited(self, result);
}

static const struct coroutine_body wait_body = {
    .name = "wait",
    .qualname = "Condition.wait",
    .start = wait_start,
    .resume = wait_resume,
    .conclude = wait_conclude,
    .leave = coroutine_leave_nothing,
};

PyObject *
condition_wait(Condition *self)
{
    return primitive_coroutine_new((Primitive *)self, &wait_body, NULL);
}

/* ---- wait_for() ---- */

/* One `await self.wait()`. */
static PySendResult
wait_once(PrimitiveCoroutine *self, PyObject **result)
{
    Condition *condition = (Condition *)self->owner;
    Lock *lock;
    Loop *loop;
    int here = is_plain(condition, 1 << CONDITION_WAIT) ? may_wait_here(condition, &lock, &loop) : 0;
    if (here < 0) {
        return PYGEN_ERROR;
    }
    if (here > 0) {
        PySendResult outcome = begin_waiting(self, lock, loop, result);
        Py_DECREF((PyObject *)lock);
        Py_DECREF((PyObject *)loop);
        return outcome;
    }
    self->phase = WAITING_BY_METHOD;
    MONITOR_OUTSIDE();
    self->base.delegate = coroutine_await_steal(primitive_get(self->owner, CONDITION_WAIT));
    PySendResult outcome = self->base.delegate ? PyIter_Send(self->base.delegate, Py_None, result) : PYGEN_ERROR;
    if (outcome != PYGEN_NEXT) {
        Py_CLEAR(self->base.delegate);
    }
    return outcome;
}

/* The truth of predicate(): 1, 0 or -1; if it is true, the value as a new reference, else NULL. */
static int
ask(PrimitiveCoroutine *self, PyObject **value)
{
    MONITOR_OUTSIDE();
    PyObject *predicate = Py_NewRef(self->item ? self->item : Py_None); /* NULL: the collector has been here */
    *value = PyObject_CallNoArgs(predicate);
    Py_DECREF(predicate);
    int truth = *value ? PyObject_IsTrue(*value) : -1;
    if (truth <= 0) {
        Py_CLEAR(*value);
    }
    return truth;
}

static PySendResult
wait_while_false(PrimitiveCoroutine *self, PyObject **result)
{
    PySendResult outcome;
    do {
        int truth = ask(self, result);
        if (truth > 0) {
            return PYGEN_RETURN;
        }
        outcome = truth < 0 ? PYGEN_ERROR : wait_once(self, result);
        if (outcome == PYGEN_RETURN) {
            MONITOR_SET(*result, NULL);
        }
    } while (outcome == PYGEN_RETURN);
    return outcome;
}

static PySendResult
wait_for_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    return wait_while_false(self, result);
}

/* Goes on after a wait() that has had this outcome. */
static PySendResult
wait_for_continue(PrimitiveCoroutine *self, PySendResult outcome, PyObject **result)
{
    if (outcome != PYGEN_RETURN) {
        return outcome;
    }
    MONITOR_SET(*result, NULL);
    return wait_while_false(self, result);
}

static PySendResult
wait_for_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (self->phase == WAITING_BY_METHOD) {
        MONITOR_SET(base->delegate, NULL);
    }
    else {
        outcome = wait_conclude(base, outcome, result);
    }
    return wait_for_continue(self, outcome, result);
}

static PySendResult
wait_for_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return wait_for_continue((PrimitiveCoroutine *)base, wait_resume(base, result), result);
}

static const struct coroutine_body wait_for_body = {
    .name = "wait_for",
    .qualname = "Condition.wait_for",
    .start = wait_for_start,
    .resume = wait_for_resume,
    .conclude = wait_for_conclude,
    .leave = coroutine_leave_nothing,
};

/* ---- Methods ---- */

static const struct primitive_method wait_method = { &condition_kind, CONDITION_WAIT, &wait_body, 0 };
static const struct primitive_method wait_for_method = { &condition_kind, CONDITION_WAIT_FOR, &wait_for_body, 1 };
static const struct primitive_method enter_method = { &condition_kind, CONDITION_AENTER, NULL, 0 };
static const struct primitive_method exit_method = { &condition_kind, CONDITION_AEXIT, NULL, 3 };

static PyObject *
Condition_wait(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&wait_method, function, args, nargsf, kwnames);
}

static PyObject *
Condition_wait_for(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&wait_for_method, function, args, nargsf, kwnames);
}

/* `async with condition` is `async with` its lock, if that is a native one: then it is `of_lock`, a method of that. */
static inline PyObject *
call_on_lock(const struct primitive_method *method, PyObject *(*of_lock)(Lock *lock), PyObject *function,
             PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    bool plain = primitive_call_is_plain(method, function, args, nargsf, kwnames);
    Lock *lock = plain ? condition_lock((Condition *)args[0]) : NULL;
    if (lock == NULL) {
        return primitive_call_by_asyncio(method, function, args, nargsf, kwnames);
    }
    PyObject *coroutine = of_lock(lock);
    Py_DECREF((PyObject *)lock);
    return coroutine;
}

static PyObject *
Condition_aenter(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return call_on_lock(&enter_method, lock_enter, function, args, nargsf, kwnames);
}

static PyObject *
Condition_aexit(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return call_on_lock(&exit_method, lock_exit, function, args, nargsf, kwnames);
}

static PyObject *
Condition_notify(Condition *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    bool plain = kwnames == NULL && (nargs == 0 || (nargs == 1 && PyLong_CheckExact(args[0])))
                 && is_plain(self, 1 << CONDITION__NOTIFY) && is_surely_locked(self);
    Py_ssize_t limit = plain && nargs == 1 ? PyLong_AsSsize_t(args[0]) : 1;
    if (AC_UNLIKELY(!plain || (limit == -1 && PyErr_Occurred()))) {
        PyErr_Clear();
        return primitive_call_asyncio_method((Primitive *)self, CONDITION_NOTIFY, args, nargs, kwnames);
    }
    return notify(self, limit) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
Condition_notify_all(Condition *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    bool plain = nargs == 0 && kwnames == NULL && is_plain(self, 1 << CONDITION_NOTIFY | 1 << CONDITION__NOTIFY)
                 && is_surely_locked(self);
    if (AC_UNLIKELY(!plain)) {
        return primitive_call_asyncio_method((Primitive *)self, CONDITION_NOTIFY_ALL, args, nargs, kwnames);
    }
    return condition_notify_all(self) < 0 ? NULL : Py_NewRef(Py_None);
}

Condition *
condition_cast(struct state *state, PyObject *object)
{
    enum {
        CALLED = 1 << CONDITION_WAIT | 1 << CONDITION_WAIT_FOR | 1 << CONDITION_NOTIFY | 1 << CONDITION__NOTIFY
        | 1 << CONDITION_NOTIFY_ALL | 1 << CONDITION_AENTER | 1 << CONDITION_AEXIT
    };
    Condition *self = (Condition *)object;
    bool ours = object != NULL && PyObject_TypeCheck(object, state->Condition_type);
    return ours && is_plain(self, CALLED) ? self : NULL;
}

PyObject *
condition_new(struct state *state)
{
    MONITOR_OUTSIDE();
    PyObject *class = state_class_borrow(&state->condition_class, "asyncio_c.primitives", "Condition");
    return class ? PyObject_CallNoArgs(class) : NULL;
}

/* ---- Python face ---- */

static PyObject *
Condition_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Condition_freelist, state, &condition_kind) : NULL;
}

/* self.name = lock.name.  0 or -1. */
static int
export(Condition *self, PyObject *lock, PyObject *name)
{
    MONITOR_OUTSIDE();
    PyObject *method = PyObject_GetAttr(lock, name);
    int result = method ? PyObject_SetAttr((PyObject *)self, name, method) : -1;
    Py_XDECREF(method);
    return result;
}

static int
init(Condition *self, PyObject *lock)
{
    struct state *state = self->state;
    MONITOR_SET(self->lock, Py_NewRef(lock));
    if (export(self, lock, state->str_locked) < 0 || export(self, lock, state->str_acquire) < 0
        || export(self, lock, state->str_release) < 0) {
        return -1;
    }
    lazy_deque_init(&self->waiters);
    return 0;
}

static int
Condition_init(Condition *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    PyObject *lock;
    if (!args_parse_init(args, kwargs, "lock", &lock)) {
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    lock = lock == NULL || lock == Py_None ? lock_new(self->state) : Py_NewRef(lock);
    int result = lock ? init(self, lock) : -1;
    Py_XDECREF(lock);
    return result;
}

static int
Condition_setattro(Condition *self, PyObject *name, PyObject *value)
{
    struct state *state = self->state;
    int result = primitive_setattro((Primitive *)self, name, value);
    PRIMITIVE_GUARD(self);
    if (name == state->str_acquire || name == state->str_release || name == state->str_locked) {
        self->lock_known = false;
    }
    return result;
}

static int
Condition_traverse(Condition *self, visitproc visit, void *arg)
{
    Py_VISIT(self->lock);
    Py_VISIT(self->plain_lock);
    int result = lazy_deque_traverse(&self->waiters, visit, arg);
    return result ? result : primitive_traverse((Primitive *)self, visit, arg);
}

static int
Condition_clear(Condition *self)
{
    lazy_deque_clear(&self->waiters);
    Py_CLEAR(self->lock);
    Py_CLEAR(self->plain_lock);
    self->lock_known = false;
    primitive_clear((Primitive *)self);
    return 0;
}

static void
Condition_dealloc(Condition *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Condition_clear(self);
    freelist_free(&state->Condition_freelist, NULL, (PyObject *)self);
}

PyDoc_STRVAR(wait_doc, "Give the lock back, wait until somebody notifies, take the lock again, and return True.\n\n"
                       "Raises RuntimeError if the lock is not taken.\n\n"
                       "asyncio documentation: Synchronization Primitives, Condition.");
PyDoc_STRVAR(wait_for_doc, "Wait until predicate() is true, and return what it returned then.\n\n"
                           "It is asked at once, and after each wait().\n\n"
                           "asyncio documentation: Synchronization Primitives, Condition.");
PyDoc_STRVAR(notify_doc, "notify($self, n=1)\n--\n\n"
                         "Wake n of those who wait, at most; they go on when they get the lock.\n\n"
                         "Raises RuntimeError if the lock is not taken.\n\n"
                         "asyncio documentation: Synchronization Primitives, Condition.");
PyDoc_STRVAR(notify_all_doc, "notify_all($self)\n--\n\n"
                             "Wake all who wait.  Raises RuntimeError if the lock is not taken.\n\n"
                             "asyncio documentation: Synchronization Primitives, Condition.");

static PyMethodDef Condition_methods[] = {
    { "notify", AC_FAST(Condition_notify), METH_FASTCALL | METH_KEYWORDS, notify_doc },
    { "notify_all", AC_FAST(Condition_notify_all), METH_FASTCALL | METH_KEYWORDS, notify_all_doc },
    { 0 },
};

static const struct primitive_attribute waiters_attribute = { "_waiters", offsetof(Condition, waiters) };
static const struct primitive_attribute lock_attribute = { "_lock", offsetof(Condition, lock) };

static PyGetSetDef Condition_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    { "_waiters", (getter)primitive_get_deque, (setter)primitive_set_deque, "Who waits to be notified.",
      (void *)&waiters_attribute },
    PRIMITIVE_OBJECT_ATTRIBUTE("_lock", "The lock.", lock_attribute),
    { 0 },
};

PyDoc_STRVAR(Condition_doc, "Condition(lock=None)\n--\n\n"
                            "The native half of asyncio_c.Condition.");

static PyType_Slot Condition_slots[] = {
    { Py_tp_doc, (void *)Condition_doc },   { Py_tp_new, Condition_new },
    { Py_tp_init, Condition_init },         { Py_tp_dealloc, Condition_dealloc },
    { Py_tp_traverse, Condition_traverse }, { Py_tp_clear, Condition_clear },
    { Py_tp_methods, Condition_methods },   { Py_tp_getset, Condition_getset },
    { Py_tp_setattro, Condition_setattro }, { 0, NULL },
};

static PyType_Spec Condition_spec = {
    .name = "asyncio_c._core.Condition",
    .basicsize = sizeof(Condition),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Condition_slots,
};

int
condition_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *stock = state->asyncio_Condition;
    PyTypeObject **type = &state->Condition_type;
    state->condition_passes_on = PyObject_HasAttrString(stock, "_notify");
    if (state_add_type(module, type, &Condition_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "wait", Condition_wait, wait_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "wait_for", Condition_wait_for, wait_for_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "__aenter__", Condition_aenter, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "__aexit__", Condition_aexit, NULL) < 0) {
        return -1;
    }
    return primitive_register(module, &condition_kind);
}
