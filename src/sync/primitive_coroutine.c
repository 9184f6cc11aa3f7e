/* What the methods of primitives return.  Layer: sync.

   Equivalent, of a method that waits:

       async def method(self, item):
           while not (what it wants is there):
               future = self._get_loop().create_future()
               self._waiters.append(future)
               await future
           (takes it)

   The bodies are with the primitives.  Nothing happens before it is awaited, as in any coroutine. */
#include "sync/primitive_coroutine.h"

#include "flow/coroutine_function.h"
#include "py/errors.h"
#include "sync/sync.h"

PyObject *
primitive_coroutine_new(Primitive *owner, const struct coroutine_body *body, PyObject *item)
{
    struct state *state = owner->state;
    PrimitiveCoroutine *self =
        (PrimitiveCoroutine *)freelist_new(&state->PrimitiveCoroutine_freelist, state->PrimitiveCoroutine_type);
    if (self != NULL) {
        coroutine_init(&self->base, state, body);
        self->owner = (Primitive *)Py_NewRef((PyObject *)owner);
        self->item = Py_XNewRef(item);
        PyObject_GC_Track(self);
    }
    return (PyObject *)self;
}

PySendResult
primitive_delegate(PrimitiveCoroutine *self, int method)
{
    PyObject *args[] = { (PyObject *)self->owner, self->item };
    self->base.delegate =
        primitive_call_asyncio(self->base.state, self->owner->kind, method, args, self->item ? 2 : 1, NULL);
    return self->base.delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

/* Whether there is such an attribute; AttributeError if not. */
static bool
check_exists(PrimitiveCoroutine *self, struct lazy_deque *waiters)
{
    if (AC_UNLIKELY(!lazy_deque_exists(waiters))) {
        (void)primitive_no_attribute(self->owner, "_waiters");
        return false;
    }
    return true;
}

PySendResult
primitive_wait(PrimitiveCoroutine *self, struct lazy_deque *waiters, bool again, int method, PyObject **result)
{
    struct state *state = self->base.state;
    Loop *loop = again ? primitive_loop_again(self->owner) : primitive_loop(self->owner);
    if (loop == NULL) {
        return again || PyErr_Occurred() ? PYGEN_ERROR : primitive_delegate(self, method);
    }
    Future *future = future_new(state, (PyObject *)loop);
    Py_DECREF(loop);
    PySendResult outcome = PYGEN_ERROR;
    if (future != NULL && check_exists(self, waiters) && lazy_deque_append(waiters, state, (PyObject *)future) == 0) {
        outcome = coroutine_suspend_on(&self->base, future, result);
    }
    Py_XDECREF(future);
    return outcome;
}

int
primitive_stop_waiting(PrimitiveCoroutine *self, struct lazy_deque *waiters)
{
    return check_exists(self, waiters) ? lazy_deque_remove(waiters, self->base.state, self->base.awaiting) : -1;
}

int
primitive_waited(PrimitiveCoroutine *self)
{
    PyObject *value = future_get_result((Future *)self->base.awaiting);
    Py_XDECREF(value);
    return value ? 0 : -1;
}

PySendResult
primitive_handle(PrimitiveCoroutine *self, int (*handler)(PrimitiveCoroutine *self, PyObject *error))
{
    PyObject *error = compat_exception_take();
    PyObject *outer = handling_begin(error);
    int result = handler(self, error);
    handling_end_steal(outer);
    if (result == 0) {
        compat_exception_restore_steal(error);
    }
    else {
        Py_DECREF(error);
    }
    return PYGEN_ERROR;
}

static inline bool
is_plain_call(const struct primitive_method *method, struct state *state, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    PyTypeObject *type = *(PyTypeObject **)((char *)state + method->kind->type);
    bool right = nargs == 1 + method->argument_count && kwnames == NULL && state_type_check(args[0], type);
    return AC_LIKELY(right && COMPAT_LOAD(state->debug_loops) == 0);
}

bool
primitive_call_is_plain(const struct primitive_method *method, PyObject *function, PyObject *const *args, size_t nargsf,
                        PyObject *kwnames)
{
    return is_plain_call(method, coroutine_function_state(function), args, PyVectorcall_NARGS(nargsf), kwnames);
}

PyObject *
primitive_call_by_asyncio(const struct primitive_method *method, PyObject *function, PyObject *const *args,
                          size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    return primitive_call_asyncio(state, method->kind, method->method, args, PyVectorcall_NARGS(nargsf), kwnames);
}

PyObject *
primitive_call(const struct primitive_method *method, PyObject *function, PyObject *const *args, size_t nargsf,
               PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (!is_plain_call(method, state, args, nargs, kwnames)) {
        return primitive_call_asyncio(state, method->kind, method->method, args, nargs, kwnames);
    }
    return primitive_coroutine_new((Primitive *)args[0], method->body, nargs == 2 ? args[1] : NULL);
}

PySendResult
primitive_exit(PrimitiveCoroutine *self, PyObject **result)
{
    MONITOR_OUTSIDE();
    PyObject *released = PyObject_CallMethodNoArgs((PyObject *)self->owner, self->base.state->str_release);
    Py_XDECREF(released);
    *result = released ? Py_NewRef(Py_None) : NULL;
    return released ? PYGEN_RETURN : PYGEN_ERROR;
}

/* ---- Python face ---- */

static int
PrimitiveCoroutine_traverse(PrimitiveCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->owner); /* first: asyncio_c/monitor/waits.py asks it what `async with` acquires */
    Py_VISIT(self->item);
    Py_VISIT(self->error);
    Py_VISIT(self->cancelled);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
PrimitiveCoroutine_clear(PrimitiveCoroutine *self)
{
    coroutine_clear(&self->base);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->item);
    Py_CLEAR(self->error);
    Py_CLEAR(self->cancelled);
    return 0;
}

static void
PrimitiveCoroutine_dealloc(PrimitiveCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->PrimitiveCoroutine_freelist, state->PrimitiveCoroutine_type, (PyObject *)self);
}

static PyType_Slot PrimitiveCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, PrimitiveCoroutine_dealloc },
    { Py_tp_traverse, PrimitiveCoroutine_traverse },
    { Py_tp_clear, PrimitiveCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec PrimitiveCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(PrimitiveCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = PrimitiveCoroutine_slots,
};

int
primitive_coroutine_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    return state_add_type(module, &state->PrimitiveCoroutine_type, &PrimitiveCoroutine_spec, NULL);
}
