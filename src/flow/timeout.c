/* asyncio.timeout(), timeout_at() and Timeout.  Layer: flow.

   Equivalent:

       class Timeout:
           def reschedule(self, when):
               self._when = when
               if self._timeout_handler is not None: self._timeout_handler.cancel()
               if when is None: self._timeout_handler = None
               elif when <= loop.time(): self._timeout_handler = loop.call_soon(self._on_timeout)
               else: self._timeout_handler = loop.call_at(when, self._on_timeout)
           async def __aenter__(self):
               self._task = current_task()
               self._cancelling = self._task.cancelling()
               self.reschedule(self._when)
               return self
           async def __aexit__(self, exc_type, exc_val, exc_tb):
               if self._timeout_handler is not None: self._timeout_handler.cancel()
               if expiring and self._task.uncancel() <= self._cancelling and exc_type is CancelledError:
                   raise TimeoutError from exc_val
           def _on_timeout(self):
               self._task.cancel()                                 (from here on it is expiring)

   The class in Python (asyncio_c/timeouts.py) has this type before asyncio's.  The timer is in the object itself, and what it
   queues takes the place of the handle.  Who asks for `_timeout_handler` gets a handle, made then, which takes the timer's
   place in the heap.  Entering and setting a deadline are native in a native task of a loop that may be shortcut; everything
   else, and every mistake, is asyncio's method of the same name, on the same attributes. */
#include "flow/timeout.h"

#include "core/handle.h"
#include "core/registry.h"
#include "flow/block_coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"

/* Numbers up to this are the same as int and as double. */
static const double exact_limit = 9007199254740992.0;

/* ---- The timer ---- */

/* New reference: who deletes the attribute deletes the deadline. */
static PyObject *
when_of(Timeout *self)
{
    return Py_NewRef(self->when ? self->when : Py_None);
}

static PyObject *
bound_on_timeout(Timeout *self)
{
    return PyObject_GetAttr((PyObject *)self, self->state->str__on_timeout);
}

/* The deadline has come.  Whoever has changed the attributes by hand hears what asyncio would say. */
static int
expire(Timeout *self)
{
    if (self->timeout_state != TIMEOUT_ENTERED) {
        PyErr_SetNone(PyExc_AssertionError);
        return -1;
    }
    PyObject *task = Py_NewRef(self->task ? self->task : Py_None);
    int result = task_call_cancel(self->state, task);
    Py_DECREF(task);
    if (result == 0) {
        self->timeout_state = TIMEOUT_EXPIRING;
        Py_CLEAR(self->handler);
        Py_CLEAR(self->stand_in);
    }
    return result;
}

/* In the context of whoever has set the deadline: a cancel() in Python can see it.  Where there is no memory for one the task is
   cancelled all the same, as nobody else would end it. */
static int
expire_in_context(Timeout *self)
{
    PyObject *context = Py_XNewRef(lazy_context_borrow(&self->context, self->state));
    if (context == NULL) {
        PyErr_Clear();
        return expire(self);
    }
    if (PyContext_Enter(context) < 0) {
        Py_DECREF(context);
        return -1;
    }
    int result = expire(self);
    PyObject *error = result < 0 ? compat_exception_take() : NULL;
    if (PyContext_Exit(context) < 0) {
        result = -1;
        Py_CLEAR(error);
    }
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    Py_DECREF(context);
    lazy_context_clear(&self->context);
    return result;
}

static int
timeout_due(struct runnable *runnable, Loop *loop)
{
    Timeout *self = AC_CONTAINER_OF(runnable, Timeout, runnable);
    PyObject *stand_in = self->stand_in;
    bool goes_on = !self->outdated || (stand_in != NULL && !((Handle *)stand_in)->cancelled);
    self->stand_in = NULL;
    self->outdated = self->armed = false;
    Py_XDECREF(stand_in);
    Py_CLEAR(self->loop);
    if (!goes_on) {
        return 0;
    }
    if (registry_leave(loop) < 0) {
        PyErr_Clear(); /* for lack of memory, as above */
    }
    return expire_in_context(self);
}

/* A handle that says what the timer says, not queued. */
static PyObject *
new_handler(Timeout *self, Loop *loop)
{
    PyObject *callback = bound_on_timeout(self);
    if (callback == NULL) {
        return NULL;
    }
    /* Held, for an allocation may collect garbage. */
    PyObject *when = when_of(self), *context = NULL, *handler = NULL;
    double seconds = when == Py_None ? 0.0 : PyFloat_AsDouble(when);
    if (seconds == -1.0 && PyErr_Occurred()) {
        PyErr_Clear(); /* the attribute was set by hand */
    }
    context = Py_XNewRef(lazy_context_borrow(&self->context, self->state));
    if (context != NULL && self->at_once) {
        handler = (PyObject *)handle_new(self->state, (PyObject *)loop, callback, NULL, 0, context);
    }
    else if (context != NULL) {
        handler = (PyObject *)timer_handle_new(self->state, (PyObject *)loop, seconds, callback, NULL, 0, context);
    }
    if (handler != NULL) {
        PyObject_GC_Track(handler); /* the scope keeps it */
    }
    Py_XDECREF(context);
    Py_DECREF(when);
    Py_DECREF(callback);
    return handler;
}

/* From here on the deadline is that of a handle which everybody can see: it takes the timer's place in the heap, or it is run in the
   runnable's turn, and whoever looks at the queue puts it there.  Needs: armed.  Returns 0 or -1. */
static int
make_handler(Timeout *self)
{
    Loop *loop = (Loop *)Py_NewRef(self->loop);
    PyObject *handler = new_handler(self, loop);
    if (handler != NULL && self->armed) {
        self->armed = false;
        Py_XSETREF(self->handler, Py_NewRef(handler));
        Py_CLEAR(self->loop);
        if (heap_node_queued(&self->timer.node)) {
            loop_replace_timer(loop, &self->timer, &((TimerHandle *)handler)->timer);
        }
        else {
            self->outdated = true;
            Py_XSETREF(self->stand_in, Py_NewRef(handler));
        }
    }
    Py_DECREF((PyObject *)loop);
    Py_XDECREF(handler);
    return handler ? 0 : -1;
}

static PyObject *
timeout_as_handle(struct runnable *runnable, Loop *loop)
{
    Timeout *self = AC_CONTAINER_OF(runnable, Timeout, runnable);
    if (self->armed) {
        return make_handler(self) < 0 ? NULL : Py_XNewRef(self->handler);
    }
    if (self->stand_in != NULL) {
        return Py_NewRef(self->stand_in);
    }
    PyObject *handler = new_handler(self, loop);
    if (handler != NULL && self->outdated && handle_cancel((Handle *)handler) < 0) {
        Py_CLEAR(handler);
    }
    return handler;
}

static const struct runnable_ops timeout_ops = {
    .run = timeout_due,
    .as_handle = timeout_as_handle,
};

/* Takes the deadline back.  Returns 0 or -1.  Runs Python where somebody has set a handler of theirs. */
static int
disarm(Timeout *self)
{
    if (self->armed) {
        PyObject *loop = self->loop;
        self->armed = false;
        self->loop = NULL;
        if (heap_node_queued(&self->timer.node)) {
            loop_remove_timer((Loop *)loop, &self->timer);
        }
        else {
            self->outdated = true;
        }
        lazy_context_clear(&self->context);
        Py_DECREF(loop);
    }
    PyObject *handler = self->handler;
    self->handler = NULL;
    PyObject *cancelled = handler ? PyObject_CallMethodNoArgs(handler, self->state->str_cancel) : Py_NewRef(Py_None);
    Py_XDECREF(handler);
    Py_XDECREF(cancelled);
    return cancelled ? 0 : -1;
}

/* Whether `when` is a number that C compares with the clock as Python does. */
static bool
is_plain(PyObject *when, double *seconds)
{
    if (PyFloat_CheckExact(when)) {
        *seconds = PyFloat_AS_DOUBLE(when);
        return true;
    }
    if (!PyLong_CheckExact(when)) {
        return false;
    }
    *seconds = PyLong_AsDouble(when);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return *seconds <= exact_limit && *seconds >= -exact_limit;
}

int
timeout_arm(Timeout *self, Loop *loop, PyObject *when)
{
    double seconds = 0.0;
    if (when != Py_None && (!is_plain(when, &seconds) || self->outdated)) {
        return 1;
    }
    LOOP_HOME_SETTLE(self, loop);
    Py_XSETREF(self->when, Py_NewRef(when));
    if (disarm(self) < 0) {
        return -1;
    }
    if (when == Py_None) {
        return 0;
    }
    if (self->outdated) {
        return 1; /* it has become so just now */
    }
    if (lazy_context_init(&self->context, self->state, NULL) < 0) {
        return -1;
    }
    self->at_once = seconds <= clock_seconds(clock_now_ns());
    int result = self->at_once ? loop_push_open(loop, &self->runnable)
                               : loop_add_timer(loop, &self->timer, clock_ns_not_before(seconds));
    if (result < 0) {
        lazy_context_clear(&self->context);
        return -1;
    }
    self->armed = true;
    self->loop = Py_NewRef((PyObject *)loop);
    return 0;
}

/* ---- In and out ---- */

int
timeout_enter(Timeout *self, Task *task)
{
    PyObject *cancelling = PyLong_FromLong(task->cancels_requested);
    if (cancelling == NULL) {
        return -1;
    }
    LOOP_HOME_SETTLE(self, task->native_loop);
    self->timeout_state = TIMEOUT_ENTERED;
    Py_XSETREF(self->task, Py_NewRef((PyObject *)task));
    Py_XSETREF(self->cancelling, cancelling);
    return 0;
}

/* From 3.13 on, what is raised instead of the CancelledError has a TimeoutError in its chain of contexts. */
static int
insert_timeout_error(struct state *state, PyObject *error)
{
    PyObject *insert = PyObject_GetAttrString(state->asyncio_Timeout, "_insert_timeout_error");
    if (insert == NULL) {
        PyErr_Clear(); /* this Python has no such thing */
        return 0;
    }
    PyObject *group = state_import("builtins", "ExceptionGroup"), *members = NULL, *done = NULL;
    int is_group = group ? PyObject_IsInstance(error, group) : -1;
    if (is_group >= 0) {
        done = PyObject_CallOneArg(insert, error);
    }
    if (is_group > 0 && done != NULL) {
        members = PyObject_GetAttrString(error, "exceptions");
        for (Py_ssize_t i = 0; members != NULL && done != NULL && i < PyTuple_GET_SIZE(members); i++) {
            Py_SETREF(done, PyObject_CallOneArg(insert, PyTuple_GET_ITEM(members, i)));
        }
        if (members == NULL) {
            Py_CLEAR(done);
        }
    }
    Py_XDECREF(members);
    Py_XDECREF(group);
    Py_DECREF(insert);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* raise TimeoutError from error */
static int
raise_timeout_error(PyObject *error)
{
    PyObject *timeout_error = PyObject_CallNoArgs(PyExc_TimeoutError);
    if (timeout_error != NULL) {
        PyException_SetCause(timeout_error, error == Py_None ? NULL : Py_NewRef(error));
        PyErr_SetObject(PyExc_TimeoutError, timeout_error);
        Py_DECREF(timeout_error);
    }
    return -1;
}

int
timeout_exit(Timeout *self, PyObject *type, PyObject *error)
{
    TIMEOUT_GUARD(self); /* close() of a coroutine comes here without its loop, too */
    if (disarm(self) < 0) {
        return -1;
    }
    if (AC_LIKELY(self->timeout_state == TIMEOUT_ENTERED)) {
        self->timeout_state = TIMEOUT_EXITED;
        return 0;
    }
    self->timeout_state = TIMEOUT_EXPIRED;
    PyObject *task = Py_NewRef(self->task ? self->task : Py_None);
    PyObject *left = PyObject_CallMethodNoArgs(task, self->state->str_uncancel);
    /* The __aenter__() of Python 3.11.2 and before, where it is asyncio's that has entered, counts nothing. */
    PyObject *before = self->cancelling ? Py_NewRef(self->cancelling) : PyLong_FromLong(0);
    int ours = left && before ? PyObject_RichCompareBool(left, before, Py_LE) : -1;
    Py_XDECREF(before);
    Py_XDECREF(left);
    Py_DECREF(task);
    if (ours <= 0 || type == Py_None) {
        return ours < 0 ? -1 : 0;
    }
    if (type == self->state->CancelledError) {
        return raise_timeout_error(error);
    }
    int is_cancelled = AC_PY313 ? PyObject_IsSubclass(type, self->state->CancelledError) : 0;
    if (is_cancelled != 0) {
        return is_cancelled < 0 ? -1 : raise_timeout_error(error);
    }
    return error == Py_None ? 0 : insert_timeout_error(self->state, error);
}

void
timeout_abandon(Timeout *self)
{
    if (!self->armed && self->handler == NULL) {
        return;
    }
    TIMEOUT_GUARD(self);
    if (disarm(self) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

/* ---- __aenter__() and __aexit__() as coroutines ---- */

/* Enters it, unless somebody has done that, or it is asyncio's to do for such a task, or none: 1, 0 or -1. */
static inline int
enter_once(Timeout *self, PyObject *task)
{
    TIMEOUT_GUARD(self);
    if (self->timeout_state != TIMEOUT_CREATED || task == NULL || Py_TYPE(task) != self->state->Task_type) {
        return 0;
    }
    return timeout_enter(self, (Task *)task) < 0 ? -1 : 1;
}

static PySendResult
enter_start(Coroutine *base, PyObject **result)
{
    BlockCoroutine *self = (BlockCoroutine *)base;
    Timeout *timeout = (Timeout *)self->manager;
    struct state *state = base->state;
    Loop *loop = loop_running_fused(state);
    PyObject *task = loop ? Py_XNewRef(registry_current_borrow(loop)) : NULL;
    PySendResult outcome = PYGEN_ERROR;
    if (loop == NULL && PyErr_Occurred()) {
        return PYGEN_ERROR;
    }
    int entered = enter_once(timeout, task);
    if (entered == 0) {
        outcome = block_delegate(self, state->asyncio_Timeout, state->str___aenter__);
    }
    else if (entered > 0) {
        /* A method that anybody may have replaced. */
        PyObject *args[] = { (PyObject *)timeout, when_of(timeout) };
        PyObject *scheduled = PyObject_VectorcallMethod(state->str_reschedule, args, 2, NULL);
        Py_DECREF(args[1]);
        if (scheduled != NULL) {
            Py_DECREF(scheduled);
            *result = Py_NewRef((PyObject *)timeout);
            outcome = PYGEN_RETURN;
        }
    }
    Py_XDECREF(task);
    Py_XDECREF((PyObject *)loop);
    return outcome;
}

static PySendResult
exit_start(Coroutine *base, PyObject **result)
{
    BlockCoroutine *self = (BlockCoroutine *)base;
    Timeout *timeout = (Timeout *)self->manager;
    TIMEOUT_GUARD(timeout);
    unsigned timeout_state = timeout->timeout_state;
    if (timeout_state != TIMEOUT_ENTERED && timeout_state != TIMEOUT_EXPIRING) {
        return block_delegate(self, base->state->asyncio_Timeout, base->state->str___aexit__);
    }
    if (timeout_exit(timeout, self->type, self->error) < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

/* Neither suspends but in its delegate. */
static const struct coroutine_body enter_body = {
    .name = "__aenter__",
    .qualname = "Timeout.__aenter__",
    .start = enter_start,
    .leave = coroutine_leave_nothing,
};

static const struct coroutine_body exit_body = {
    .name = "__aexit__",
    .qualname = "Timeout.__aexit__",
    .start = exit_start,
    .leave = coroutine_leave_nothing,
};

static void
TimeoutCoroutine_dealloc(BlockCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->TimeoutCoroutine_freelist, state->TimeoutCoroutine_type, (PyObject *)self);
}

static PyType_Slot TimeoutCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, TimeoutCoroutine_dealloc },
    { Py_tp_traverse, block_traverse },
    { Py_tp_clear, block_clear },
    { 0, NULL },
};

static PyType_Spec TimeoutCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(BlockCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = TimeoutCoroutine_slots,
};

/* ---- Python face ---- */

/* `args` begins with self. */
static PyObject *
aenter(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (!block_is_plain(state, state->Timeout_type, args, nargs, kwnames, 1)) {
        return args_call_steal(PyObject_GetAttr(state->asyncio_Timeout, state->str___aenter__), args, nargs, kwnames);
    }
    PyObject *self = freelist_new(&state->TimeoutCoroutine_freelist, state->TimeoutCoroutine_type);
    return block_begin_steal(self, state, &enter_body, args, nargs);
}

static PyObject *
aexit(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (!block_is_plain(state, state->Timeout_type, args, nargs, kwnames, 4)) {
        return args_call_steal(PyObject_GetAttr(state->asyncio_Timeout, state->str___aexit__), args, nargs, kwnames);
    }
    PyObject *self = freelist_new(&state->TimeoutCoroutine_freelist, state->TimeoutCoroutine_type);
    return block_begin_steal(self, state, &exit_body, args, nargs);
}

static PyObject *
Timeout_when(Timeout *self, PyObject *Py_UNUSED(ignored))
{
    TIMEOUT_GUARD(self);
    return when_of(self);
}

static PyObject *
Timeout_expired(Timeout *self, PyObject *Py_UNUSED(ignored))
{
    TIMEOUT_GUARD(self);
    return PyBool_FromLong(self->timeout_state == TIMEOUT_EXPIRING || self->timeout_state == TIMEOUT_EXPIRED);
}

static PyObject *
Timeout_reschedule(Timeout *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    TIMEOUT_GUARD(self);
    struct state *state = self->state;
    bool plain = self->timeout_state == TIMEOUT_ENTERED && nargs == 1 && kwnames == NULL;
    Loop *loop = plain ? loop_running_fused(state) : NULL;
    if (loop == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    else {
        int result = timeout_arm(self, loop, args[0]);
        Py_DECREF(loop);
        if (result <= 0) {
            return result < 0 ? NULL : Py_NewRef(Py_None);
        }
    }
    PyObject *method = PyObject_GetAttr(state->asyncio_Timeout, state->str_reschedule);
    return args_call_bound_steal(method, (PyObject *)self, args, nargs, kwnames);
}

static PyObject *
Timeout_on_timeout(Timeout *self, PyObject *Py_UNUSED(ignored))
{
    TIMEOUT_GUARD(self);
    if (expire(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The members of asyncio's enumeration of states, in the order of ours. */
static const char *const state_names[TIMEOUT_STATES] = { "CREATED", "ENTERED", "EXPIRING", "EXPIRED", "EXITED" };

static PyObject *
Timeout_get_state(Timeout *self, void *Py_UNUSED(closure))
{
    TIMEOUT_GUARD(self);
    return PyObject_GetAttrString(self->state->asyncio_TimeoutState, state_names[self->timeout_state]);
}

static int
Timeout_set_state(Timeout *self, PyObject *value, void *Py_UNUSED(closure))
{
    TIMEOUT_GUARD(self);
    if (refuse_delete(value, "_state", "Timeout") < 0) {
        return -1;
    }
    for (int i = 0; i < TIMEOUT_STATES; i++) {
        PyObject *member = PyObject_GetAttrString(self->state->asyncio_TimeoutState, state_names[i]);
        if (member == NULL) {
            return -1;
        }
        Py_DECREF(member);
        if (member == value) {
            self->timeout_state = (unsigned char)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_TypeError, "a state of a Timeout was expected, got %R", value);
    return -1;
}

static PyObject *
Timeout_get_handler(Timeout *self, void *Py_UNUSED(closure))
{
    TIMEOUT_GUARD(self);
    if (self->handler == NULL && self->armed && make_handler(self) < 0) {
        return NULL;
    }
    return Py_NewRef(self->handler ? self->handler : Py_None);
}

/* asyncio's methods do this.  What was armed goes on by itself, as a handle would. */
static int
Timeout_set_handler(Timeout *self, PyObject *value, void *Py_UNUSED(closure))
{
    TIMEOUT_GUARD(self);
    if (refuse_delete(value, "_timeout_handler", "Timeout") < 0
        || (self->handler == NULL && self->armed && make_handler(self) < 0)) {
        return -1;
    }
    Py_XSETREF(self->handler, value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static void
init_fields(Timeout *self, struct state *state, PyObject *when)
{
    self->state = state;
    self->runnable = (struct runnable){ &timeout_ops, (PyObject *)self };
    self->timer.runnable = &self->runnable;
    heap_node_init(&self->timer.node);
    self->when = Py_NewRef(when);
}

Timeout *
timeout_new(struct state *state, PyObject *when)
{
    Timeout *self = (Timeout *)freelist_new(&state->Timeout_freelist, state->Timeout_type);
    if (self != NULL) {
        init_fields(self, state, when);
        PyObject_GC_Track((PyObject *)self);
    }
    return self;
}

static PyObject *
Timeout_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    Timeout *self = state ? (Timeout *)freelist_alloc(&state->Timeout_freelist, state->Timeout_type, type) : NULL;
    if (self != NULL) {
        init_fields(self, state, Py_None);
    }
    return (PyObject *)self;
}

static int
Timeout_init(Timeout *self, PyObject *args, PyObject *kwargs)
{
    TIMEOUT_GUARD(self);
    static char *keywords[] = { "when", NULL };
    PyObject *when;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Timeout", keywords, &when) || disarm(self) < 0) {
        return -1;
    }
    self->timeout_state = TIMEOUT_CREATED;
    Py_CLEAR(self->task);
    Py_XSETREF(self->when, Py_NewRef(when));
    return 0;
}

static int
Timeout_traverse(Timeout *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->when);
    Py_VISIT(self->task);
    Py_VISIT(self->cancelling);
    Py_VISIT(self->handler);
    Py_VISIT(self->stand_in);
    Py_VISIT(self->loop);
    LOOP_HOME_VISIT(self);
    return lazy_context_traverse(&self->context, visit, arg);
}

static int
Timeout_clear(Timeout *self)
{
    if (self->loop != NULL) {
        loop_remove_timer((Loop *)self->loop, &self->timer);
    }
    self->armed = false;
    Py_CLEAR(self->when);
    Py_CLEAR(self->task);
    Py_CLEAR(self->cancelling);
    Py_CLEAR(self->handler);
    Py_CLEAR(self->stand_in);
    Py_CLEAR(self->loop);
    LOOP_HOME_CLEAR(self);
    lazy_context_clear(&self->context);
    return 0;
}

static void
Timeout_dealloc(Timeout *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Timeout_clear(self);
    freelist_free(&state->Timeout_freelist, state->Timeout_type, (PyObject *)self);
}

/* ---- timeout() and timeout_at() ---- */

PyObject *
timeout_deadline(struct state *state, Loop *loop, PyObject *delay)
{
    if (loop != NULL && (PyFloat_CheckExact(delay) || PyLong_CheckExact(delay))) {
        double seconds = PyFloat_AsDouble(delay);
        bool failed = seconds == -1.0 && PyErr_Occurred();
        return failed ? NULL : PyFloat_FromDouble(clock_seconds(clock_now_ns()) + seconds);
    }
    PyObject *running = loop ? Py_NewRef((PyObject *)loop) : PyObject_CallNoArgs(state->asyncio_get_running_loop);
    PyObject *when = NULL;
    if (running != NULL && delay == Py_None) {
        when = Py_NewRef(Py_None);
    }
    else if (running != NULL) {
        PyObject *now = PyObject_CallMethodNoArgs(running, state->str_time);
        when = now ? PyNumber_Add(now, delay) : NULL;
        Py_XDECREF(now);
    }
    Py_XDECREF(running);
    return when;
}

/* An object of the class in Python. */
static PyObject *
new_of_class(struct state *state, PyObject *when)
{
    PyTypeObject *type = (PyTypeObject *)state_class_borrow(&state->timeout_class, "asyncio_c.timeouts", "Timeout");
    Timeout *self = type ? (Timeout *)freelist_alloc(&state->Timeout_freelist, state->Timeout_type, type) : NULL;
    if (self != NULL) {
        init_fields(self, state, when);
    }
    return (PyObject *)self;
}

static PyObject *
timeout_function(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    PyObject *delay = args_parse_one("timeout", "delay", args, PyVectorcall_NARGS(nargsf), kwnames);
    Loop *loop = delay ? loop_running_fused(state) : NULL;
    if (loop == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *when = timeout_deadline(state, loop, delay);
    PyObject *self = when ? new_of_class(state, when) : NULL;
    Py_XDECREF(when);
    Py_XDECREF((PyObject *)loop);
    return self;
}

static PyObject *
timeout_at_function(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *when = args_parse_one("timeout_at", "when", args, PyVectorcall_NARGS(nargsf), kwnames);
    return when ? new_of_class(coroutine_function_state(function), when) : NULL;
}

PyDoc_STRVAR(timeout_doc, "Asynchronous context manager that cancels its block after delay seconds.\n\n"
                          "What leaves the block then is a TimeoutError.  With None there is no deadline.\n"
                          "Raises RuntimeError where no loop runs.\n\n"
                          "asyncio documentation: Coroutines and Tasks, Timeouts.");
PyDoc_STRVAR(timeout_at_doc, "timeout() with the deadline itself, in seconds of loop.time(), or None.\n\n"
                             "asyncio documentation: Coroutines and Tasks, Timeouts.");
PyDoc_STRVAR(when_doc, "Return the deadline in seconds of loop.time(), or None.\n\n"
                       "asyncio documentation: Coroutines and Tasks, Timeouts.");
PyDoc_STRVAR(expired_doc, "Return whether the deadline has come while the block ran.\n\n"
                          "asyncio documentation: Coroutines and Tasks, Timeouts.");
PyDoc_STRVAR(reschedule_doc, "Set another deadline, in seconds of loop.time(), or None.\n\n"
                             "Raises RuntimeError unless the block is entered and the deadline has not come.\n\n"
                             "asyncio documentation: Coroutines and Tasks, Timeouts.");
PyDoc_STRVAR(aenter_doc, "Coroutine that sets the deadline, for the task which runs; returns the Timeout.");
PyDoc_STRVAR(aexit_doc, "Coroutine that takes the deadline back; raises TimeoutError if the block ended by it.");
PyDoc_STRVAR(Timeout_doc, "Timeout(when)\n--\n\nThe native half of asyncio_c.Timeout.");

static const PyMethodDef functions_of_Timeout[] = {
    { "when", (PyCFunction)Timeout_when, METH_NOARGS, when_doc },
    { "expired", (PyCFunction)Timeout_expired, METH_NOARGS, expired_doc },
    { "reschedule", AC_FAST(Timeout_reschedule), METH_FASTCALL | METH_KEYWORDS, reschedule_doc },
};

static PyMethodDef Timeout_methods[] = {
    { "_on_timeout", (PyCFunction)Timeout_on_timeout, METH_NOARGS, "_on_timeout($self, /)\n--\n\nCancel the task." },
    { 0 },
};

#define TIMEOUT_FIELDS(X)               \
    X(Timeout, "_task", T_OBJECT, task) \
    X(Timeout, "_when", T_OBJECT, when) \
    X(Timeout, "_cancelling", T_OBJECT_EX, cancelling)

FIELD_ACCESS(Timeout, TIMEOUT_GUARD)

static PyGetSetDef Timeout_getset[] = {
    { "_state", (getter)Timeout_get_state, (setter)Timeout_set_state, NULL, NULL },
    { "_timeout_handler", (getter)Timeout_get_handler, (setter)Timeout_set_handler, NULL, NULL },
    TIMEOUT_FIELDS(FIELD_AS_GETSET){ 0 },
};

static PyMemberDef Timeout_members[] = {
    TIMEOUT_FIELDS(FIELD_AS_MEMBER){ 0 },
};

static PyType_Slot Timeout_slots[] = {
    { Py_tp_doc, (void *)Timeout_doc },   { Py_tp_new, Timeout_new },
    { Py_tp_init, Timeout_init },         { Py_tp_dealloc, Timeout_dealloc },
    { Py_tp_traverse, Timeout_traverse }, { Py_tp_clear, Timeout_clear },
    { Py_tp_methods, Timeout_methods },   { Py_tp_getset, Timeout_getset },
    { Py_tp_members, Timeout_members },   { 0, NULL },
};

static PyType_Spec Timeout_spec = {
    .name = "asyncio_c._core.Timeout",
    .basicsize = sizeof(Timeout),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Timeout_slots,
};

/* Adds the function of this name, which asyncio.timeouts has as well.  Returns 0 or -1. */
static int
add_function(PyObject *module, const char *name, vectorcallfunc call, const char *doc)
{
    PyObject *original = state_import("asyncio.timeouts", name);
    int result = original ? coroutine_function_add(module, module, original, call, doc) : -1;
    Py_XDECREF(original);
    return result;
}

int
timeout_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *original = state->asyncio_Timeout;
    if (state_add_type(module, &state->TimeoutCoroutine_type, &TimeoutCoroutine_spec, NULL) < 0
        || state_add_type(module, &state->Timeout_type, &Timeout_spec, NULL) < 0
        || coroutine_function_add_method(module, state->Timeout_type, original, "__aenter__", aenter, aenter_doc) < 0
        || coroutine_function_add_method(module, state->Timeout_type, original, "__aexit__", aexit, aexit_doc) < 0
        || coroutine_function_add_methods(module, state->Timeout_type, original, functions_of_Timeout,
                                          AC_ARRAY_SIZE(functions_of_Timeout))
               < 0
        || add_function(module, "timeout", timeout_function, timeout_doc) < 0
        || add_function(module, "timeout_at", timeout_at_function, timeout_at_doc) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Timeout_type);
}
