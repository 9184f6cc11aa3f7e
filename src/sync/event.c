/* asyncio.Event.  Layer: sync.

   Equivalent:

       class Event:
           async def wait(self):
               if not self._value:
                   future = self._get_loop().create_future()
                   self._waiters.append(future)
                   try: await future
                   finally: self._waiters.remove(future)
               return True
           def set(self):
               if not self._value:
                   self._value = True
                   for future in self._waiters:
                       if not future.done(): future.set_result(True)
           def clear(self):
               self._value = False */
#include "sync/event.h"

#include "flow/coroutine_function.h"
#include "py/args.h"
#include "sync/primitive_coroutine.h"
#include "sync/sync.h"
#include "sync/waiters.h"

static const char *const event_methods[] = { "_get_loop", "wait", "set", "clear", "is_set" };

enum {
    EVENT_GET_LOOP,
    EVENT_WAIT,
    EVENT_SET,
    EVENT_CLEAR,
    EVENT_IS_SET,
};

static const struct primitive_kind event_kind = PRIMITIVE_KIND(Event, event_methods);

static int
set_and_wake(Event *self)
{
    PRIMITIVE_GUARD(self);
    if (self->value) {
        return 0;
    }
    self->value = true;
    return waiters_wake(&self->waiters, self->state, PY_SSIZE_T_MAX, Py_True) < 0 ? -1 : 0;
}

/* `event` as one of ours whose `method` is ours, or NULL. */
static Event *
event_cast(struct state *state, PyObject *event, int method)
{
    Event *self = (Event *)event;
    bool ours = PyObject_TypeCheck(event, state->Event_type) && lazy_deque_exists(&self->waiters);
    return ours && !primitive_overrides((Primitive *)self, 1u << method) ? self : NULL;
}

/* The same method of what is not.  Returns 0 or -1. */
static int
tell(PyObject *event, const char *method)
{
    Py_INCREF(event);
    MONITOR_OUTSIDE();
    PyObject *result = PyObject_CallMethod(event, method, NULL);
    Py_DECREF(event);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

int
event_set(struct state *state, PyObject *event)
{
    Event *self = event_cast(state, event, EVENT_SET);
    if (AC_LIKELY(self != NULL)) {
        return set_and_wake(self);
    }
    return tell(event, "set");
}

int
event_clear(struct state *state, PyObject *event)
{
    Event *self = event_cast(state, event, EVENT_CLEAR);
    if (AC_LIKELY(self != NULL)) {
        PRIMITIVE_GUARD(self);
        self->value = false;
        return 0;
    }
    return tell(event, "clear");
}

/* ---- Waiting ---- */

static PySendResult
wait_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    Event *event = (Event *)self->owner;
    if (AC_UNLIKELY(!lazy_deque_exists(&event->waiters))) {
        return primitive_delegate(self, EVENT_WAIT);
    }
    if (event->value) {
        *result = Py_NewRef(Py_True);
        return PYGEN_RETURN;
    }
    return primitive_wait(self, &event->waiters, false, EVENT_WAIT, result);
}

/* `finally`. */
static int
stop_waiting(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    return primitive_stop_waiting(self, &((Event *)self->owner)->waiters);
}

static PySendResult
wait_conclude(Coroutine *base, PySendResult outcome, PyObject **Py_UNUSED(result))
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return base->delegate ? outcome : primitive_handle((PrimitiveCoroutine *)base, stop_waiting);
}

static PySendResult
wait_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (primitive_waited(self) < 0) {
        return wait_conclude(base, PYGEN_ERROR, result);
    }
    if (stop_waiting(self, NULL) < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(Py_True);
    return PYGEN_RETURN;
}

static const struct coroutine_body wait_body = {
    .name = "wait",
    .qualname = "Event.wait",
    .start = wait_start,
    .resume = wait_resume,
    .conclude = wait_conclude,
    .leave = coroutine_leave_nothing,
};

static const struct primitive_method wait_method = { &event_kind, EVENT_WAIT, &wait_body, 0 };

static PyObject *
Event_wait(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&wait_method, function, args, nargsf, kwnames);
}

PyObject *
event_wait(struct state *state, PyObject *event)
{
    Event *self = event_cast(state, event, EVENT_WAIT);
    MONITOR_OUTSIDE();
    return self ? primitive_coroutine_new((Primitive *)self, &wait_body, NULL)
                : PyObject_CallMethod(event, "wait", NULL);
}

PyObject *
event_new_set(struct state *state)
{
    MONITOR_OUTSIDE();
    PyObject *class = state_class_borrow(&state->event_class, "asyncio_c.primitives", "Event");
    PyObject *event = class ? PyObject_CallNoArgs(class) : NULL;
    if (event != NULL && event_set(state, event) < 0) {
        Py_CLEAR(event);
    }
    return event;
}

/* ---- Python face ---- */

/* Whether a method without arguments is done here. */
static inline bool
is_plain_call(Event *self, Py_ssize_t nargs, PyObject *kwnames)
{
    return AC_LIKELY(nargs == 0 && kwnames == NULL && lazy_deque_exists(&self->waiters));
}

static PyObject *
Event_set(Event *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (!is_plain_call(self, nargs, kwnames)) {
        return primitive_call_asyncio_method((Primitive *)self, EVENT_SET, args, nargs, kwnames);
    }
    if (set_and_wake(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
Event_clear_flag(Event *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (!is_plain_call(self, nargs, kwnames)) {
        return primitive_call_asyncio_method((Primitive *)self, EVENT_CLEAR, args, nargs, kwnames);
    }
    self->value = false;
    Py_RETURN_NONE;
}

static PyObject *
Event_is_set(Event *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (!is_plain_call(self, nargs, kwnames)) {
        return primitive_call_asyncio_method((Primitive *)self, EVENT_IS_SET, args, nargs, kwnames);
    }
    return PyBool_FromLong(self->value);
}

static PyObject *
Event_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Event_freelist, state, &event_kind) : NULL;
}

static int
Event_init(Event *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    self->value = false;
    lazy_deque_init(&self->waiters);
    return 0;
}

static int
Event_traverse(Event *self, visitproc visit, void *arg)
{
    int result = lazy_deque_traverse(&self->waiters, visit, arg);
    if (result != 0) {
        return result;
    }
    return primitive_traverse((Primitive *)self, visit, arg);
}

static int
Event_clear(Event *self)
{
    lazy_deque_clear(&self->waiters);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
Event_dealloc(Event *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Event_clear(self);
    freelist_free(&state->Event_freelist, NULL, (PyObject *)self);
}

static PyObject *
Event_get_value(Event *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return lazy_deque_exists(&self->waiters) ? PyBool_FromLong(self->value)
                                             : primitive_no_attribute((Primitive *)self, "_value");
}

static int
Event_set_value(Event *self, PyObject *value, void *Py_UNUSED(closure))
{
    int truth = value ? PyObject_IsTrue(value) : 0;
    PRIMITIVE_GUARD(self);
    if (truth >= 0) {
        self->value = truth;
    }
    return truth < 0 ? -1 : 0;
}

PyDoc_STRVAR(wait_doc, "Wait until the event is set, and return True.\n\n"
                       "asyncio documentation: Synchronization Primitives, Event.");
PyDoc_STRVAR(set_doc, "set($self)\n--\n\n"
                      "Set the event, and wake all who wait for it.\n\n"
                      "asyncio documentation: Synchronization Primitives, Event.");
PyDoc_STRVAR(clear_doc, "clear($self)\n--\n\n"
                        "Unset the event: wait() waits from now on.\n\n"
                        "asyncio documentation: Synchronization Primitives, Event.");
PyDoc_STRVAR(is_set_doc, "is_set($self)\n--\n\n"
                         "Return True while the event is set.\n\n"
                         "asyncio documentation: Synchronization Primitives, Event.");

static PyMethodDef Event_methods[] = {
    { "set", AC_FAST(Event_set), METH_FASTCALL | METH_KEYWORDS, set_doc },
    { "clear", AC_FAST(Event_clear_flag), METH_FASTCALL | METH_KEYWORDS, clear_doc },
    { "is_set", AC_FAST(Event_is_set), METH_FASTCALL | METH_KEYWORDS, is_set_doc },
    { 0 },
};

static const struct primitive_attribute waiters_attribute = { "_waiters", offsetof(Event, waiters) };

static PyGetSetDef Event_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    { "_waiters", (getter)primitive_get_deque, (setter)primitive_set_deque, "Who waits.", (void *)&waiters_attribute },
    { "_value", (getter)Event_get_value, (setter)Event_set_value, "Whether it is set.", NULL },
    { 0 },
};

PyDoc_STRVAR(Event_doc, "Event()\n--\n\n"
                        "The native half of asyncio_c.Event.");

static PyType_Slot Event_slots[] = {
    { Py_tp_doc, (void *)Event_doc },
    { Py_tp_new, Event_new },
    { Py_tp_init, Event_init },
    { Py_tp_dealloc, Event_dealloc },
    { Py_tp_traverse, Event_traverse },
    { Py_tp_clear, Event_clear },
    { Py_tp_methods, Event_methods },
    { Py_tp_getset, Event_getset },
    { Py_tp_setattro, primitive_setattro },
    { 0, NULL },
};

static PyType_Spec Event_spec = {
    .name = "asyncio_c._core.Event",
    .basicsize = sizeof(Event),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Event_slots,
};

int
event_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyTypeObject **type = &state->Event_type;
    if (state_add_type(module, type, &Event_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, state->asyncio_Event, "wait", Event_wait, wait_doc) < 0) {
        return -1;
    }
    return primitive_register(module, &event_kind);
}
