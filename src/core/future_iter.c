/* The iterator behind `await future`.  Layer: core.

   Equivalent:

       def __await__(self):
           if not self.done():
               self._asyncio_future_blocking = True
               yield self
           return self.result()

   With am_send in place of a generator, a result that is there is returned without a frame or a StopIteration. */
#include "core/future.h"

#include "py/args.h"
#include "py/errors.h"
#include "py/spare_stop.h"

typedef struct {
    PyObject_HEAD
    struct state *state;
    Future *future; /* owned; NULL: exhausted */
} FutureIter;

/* Without a GIL the future is out of the iterator while a thread looks at it.  To another one that resumes it meanwhile the iterator is
   exhausted. */
static inline Future *
iter_take(FutureIter *self)
{
#if AC_FREE_THREADED
    return COMPAT_EXCHANGE(self->future, NULL);
#else
    return self->future;
#endif
}

static inline void
iter_put_back(FutureIter *self, Future *future)
{
#if AC_FREE_THREADED
    (void)COMPAT_PUBLISH(self->future, future);
#else
    (void)self;
    (void)future;
#endif
}

/* What was taken is not put back. */
static inline void
iter_forget(FutureIter *self)
{
#if AC_FREE_THREADED
    (void)self;
#else
    self->future = NULL;
#endif
}

static void
iter_exhaust(FutureIter *self)
{
#if AC_FREE_THREADED
    Py_XDECREF((PyObject *)iter_take(self));
#else
    Py_CLEAR(self->future);
#endif
}

PyObject *
Future_await(Future *self)
{
    struct state *state = self->state;
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
        return NULL;
    }
    FutureIter *iter = (FutureIter *)freelist_new(&state->FutureIter_freelist, state->FutureIter_type);
    if (iter != NULL) {
        iter->state = state;
        iter->future = (Future *)Py_NewRef((PyObject *)self);
        PyObject_GC_Track(iter);
    }
    return (PyObject *)iter;
}

static PySendResult
FutureIter_am_send(FutureIter *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    Future *future = iter_take(self);
    *result = NULL;
    if (future == NULL) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    FUTURE_GUARD(future);
    if (future->future_state == FUTURE_PENDING) {
        if (future->blocking) {
            iter_put_back(self, future);
            PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
            return PYGEN_ERROR;
        }
        future->blocking = true;
        *result = Py_NewRef((PyObject *)future);
        iter_put_back(self, future);
        return PYGEN_NEXT;
    }
    iter_forget(self);
    *result = future_get_result(future);
    Py_DECREF(future);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

static PyObject *
FutureIter_next(FutureIter *self)
{
    PyObject *result;
    PySendResult outcome = FutureIter_am_send(self, Py_None, &result);
    return spare_stop_next(self->state, (PyObject *)self, outcome, result);
}

static PyObject *
FutureIter_send(FutureIter *self, PyObject *Py_UNUSED(value))
{
    PyObject *result;
    PySendResult outcome = FutureIter_am_send(self, Py_None, &result);
    return send_result_as_method(self->state, outcome, result);
}

static PyObject *
FutureIter_close(FutureIter *self, PyObject *Py_UNUSED(ignored))
{
    iter_exhaust(self);
    Py_RETURN_NONE;
}

static PyObject *
FutureIter_throw(FutureIter *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *error = args_parse_throw(args, nargs, false);
    if (error != NULL) {
        iter_exhaust(self);
        compat_exception_restore_steal(error);
    }
    return NULL;
}

static int
FutureIter_traverse(FutureIter *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->future);
    return 0;
}

static int
FutureIter_clear(FutureIter *self)
{
    Py_CLEAR(self->future);
    return 0;
}

static void
FutureIter_dealloc(FutureIter *self)
{
    PyObject_GC_UnTrack(self);
    spare_stop_dealloc(self->state, (PyObject *)self);
    Py_CLEAR(self->future);
    freelist_free(&self->state->FutureIter_freelist, self->state->FutureIter_type, (PyObject *)self);
}

PyDoc_STRVAR(iter_send_doc, "send($self, value, /)\n--\n\nResume; the value is ignored.");
PyDoc_STRVAR(iter_throw_doc, "throw($self, /, *args)\n--\n\nRaise the exception; the future is not touched.");
PyDoc_STRVAR(iter_close_doc, "close($self, /)\n--\n\nLet go of the future.");

static PyMethodDef FutureIter_methods[] = {
    { "send", (PyCFunction)FutureIter_send, METH_O, iter_send_doc },
    { "throw", AC_FAST(FutureIter_throw), METH_FASTCALL, iter_throw_doc },
    { "close", (PyCFunction)FutureIter_close, METH_NOARGS, iter_close_doc },
    { 0 },
};

static PyType_Slot FutureIter_slots[] = {
    { Py_tp_dealloc, FutureIter_dealloc }, { Py_tp_traverse, FutureIter_traverse },
    { Py_tp_clear, FutureIter_clear },     { Py_tp_iter, PyObject_SelfIter },
    { Py_tp_iternext, FutureIter_next },   { Py_am_send, FutureIter_am_send },
    { Py_tp_methods, FutureIter_methods }, { 0, NULL },
};

static PyType_Spec FutureIter_spec = {
    .name = "asyncio_c._core.FutureIter",
    .basicsize = sizeof(FutureIter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = FutureIter_slots,
};

int
future_iter_register(PyObject *module)
{
    return state_add_type(module, &state_of_module(module)->FutureIter_type, &FutureIter_spec, NULL);
}
