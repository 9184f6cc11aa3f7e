/* asyncio.to_thread().  Layer: flow.

   Equivalent:

       async def to_thread(func, /, *args, **kwargs):
           call = functools.partial(contextvars.copy_context().run, func, *args, **kwargs)
           return await asyncio.get_running_loop().run_in_executor(None, call) */
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "flow/wait_for.h"

typedef struct {
    Coroutine base;
    PyObject *args;   /* owned; a tuple, of which func is the first */
    PyObject *kwargs; /* owned or NULL */
} ToThreadCoroutine;

/* What the thread has to call, in a copy of the current context.  New reference. */
static PyObject *
make_call(ToThreadCoroutine *self)
{
    PyObject *context = PyContext_CopyCurrent();
    PyObject *run = context ? PyObject_GetAttrString(context, "run") : NULL;
    PyObject *bound = run ? PyTuple_Pack(1, run) : NULL;
    PyObject *args = bound && self->args ? PySequence_Concat(bound, self->args) : NULL;
    PyObject *call = args ? PyObject_Call(self->base.state->partial, args, self->kwargs) : NULL;
    Py_XDECREF(context);
    Py_XDECREF(run);
    Py_XDECREF(bound);
    Py_XDECREF(args);
    return call;
}

static PySendResult
to_thread_start(Coroutine *base, PyObject **result)
{
    struct state *state = base->state;
    PyObject *loop = PyObject_CallNoArgs(state->asyncio_get_running_loop);
    PyObject *call = loop ? make_call((ToThreadCoroutine *)base) : NULL;
    PyObject *args[] = { loop, Py_None, call };
    PyObject *future = call ? PyObject_VectorcallMethod(state->str_run_in_executor, args, 3, NULL) : NULL;
    PySendResult outcome = PYGEN_ERROR;
    Py_XDECREF(loop);
    Py_XDECREF(call);
    if (future != NULL && future_is_exact(state, future)) {
        outcome = wait_for_awaitable(base, future, result);
    }
    else if (future != NULL) {
        base->delegate = coroutine_await_steal(Py_NewRef(future));
        outcome = base->delegate ? PYGEN_NEXT : PYGEN_ERROR;
    }
    Py_XDECREF(future);
    return outcome;
}

static PySendResult
to_thread_resume(Coroutine *base, PyObject **result)
{
    *result = future_get_result((Future *)base->awaiting);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

static const struct coroutine_body to_thread_body = {
    .name = "to_thread",
    .start = to_thread_start,
    .resume = to_thread_resume,
    .leave = coroutine_leave_nothing,
};

/* ---- Python face ---- */

static int
ToThreadCoroutine_traverse(ToThreadCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->args);
    Py_VISIT(self->kwargs);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
ToThreadCoroutine_clear(ToThreadCoroutine *self)
{
    coroutine_clear(&self->base);
    Py_CLEAR(self->args);
    Py_CLEAR(self->kwargs);
    return 0;
}

static void
ToThreadCoroutine_dealloc(ToThreadCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->ToThreadCoroutine_freelist, state->ToThreadCoroutine_type, (PyObject *)self);
}

/* The arguments in a dictionary, or NULL where there are none, with or without an exception. */
static PyObject *
keywords_of(PyObject *const *values, PyObject *kwnames)
{
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *kwargs = count > 0 ? PyDict_New() : NULL;
    for (Py_ssize_t i = 0; i < count && kwargs != NULL; i++) {
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0) {
            Py_CLEAR(kwargs);
        }
    }
    return kwargs;
}

static PyObject *
to_thread(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (AC_UNLIKELY(nargs == 0 || COMPAT_LOAD(state->debug_loops) > 0)) {
        return PyObject_Vectorcall(state->asyncio_to_thread, args, (size_t)nargs, kwnames);
    }
    PyObject *kwargs = keywords_of(args + nargs, kwnames), *tuple = PyErr_Occurred() ? NULL : PyTuple_New(nargs);
    ToThreadCoroutine *self = NULL;
    if (tuple != NULL) {
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
        }
        self = (ToThreadCoroutine *)freelist_new(&state->ToThreadCoroutine_freelist, state->ToThreadCoroutine_type);
    }
    if (self == NULL) {
        Py_XDECREF(tuple);
        Py_XDECREF(kwargs);
        return NULL;
    }
    coroutine_init(&self->base, state, &to_thread_body);
    self->args = tuple;
    self->kwargs = kwargs;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyDoc_STRVAR(to_thread_doc,
             "Coroutine that calls func with the other arguments in a thread, and returns what that returns.\n\n"
             "It runs in a copy of the context, by the loop's default executor.\n\n"
             "asyncio documentation: Coroutines and Tasks, Running in Threads.");

static PyType_Slot ToThreadCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, ToThreadCoroutine_dealloc },
    { Py_tp_traverse, ToThreadCoroutine_traverse },
    { Py_tp_clear, ToThreadCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec ToThreadCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(ToThreadCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = ToThreadCoroutine_slots,
};

int
to_thread_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->ToThreadCoroutine_type, &ToThreadCoroutine_spec, NULL) < 0) {
        return -1;
    }
    return coroutine_function_add(module, module, state->asyncio_to_thread, to_thread, to_thread_doc);
}
