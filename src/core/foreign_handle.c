/* Handles that are not ours, in the ready queue.  Layer: core.

   asyncio's methods make handles of asyncio's class (a Python selector's readers), and programs put some into loop._ready.  An
   entry for one runs what asyncio's loop would:

       if not handle._cancelled:
           handle._run() */
#include "core/foreign_handle.h"

#include "core/handle.h"
#include "core/registry.h"

typedef struct {
    PyObject_HEAD
    struct state *state;
    struct runnable runnable;
    PyObject *handle; /* owned */
} ForeignHandle;

static int
foreign_handle_run(struct runnable *runnable, Loop *loop)
{
    ForeignHandle *self = AC_CONTAINER_OF(runnable, ForeignHandle, runnable);
    if (registry_leave(loop) < 0) {
        return -1;
    }
    PyObject *handle = Py_XNewRef(self->handle);
    if (handle == NULL) {
        return 0; /* the collector has cleared it */
    }
    PyObject *cancelled = PyObject_GetAttrString(handle, "_cancelled"), *done = NULL;
    int skipped = cancelled ? PyObject_IsTrue(cancelled) : -1;
    if (skipped == 0) {
        done = PyObject_CallMethod(handle, "_run", NULL);
    }
    Py_XDECREF(cancelled);
    Py_XDECREF(done);
    Py_DECREF(handle);
    return skipped > 0 || done != NULL ? 0 : -1;
}

static PyObject *
foreign_handle_as_handle(struct runnable *runnable, Loop *Py_UNUSED(loop))
{
    ForeignHandle *self = AC_CONTAINER_OF(runnable, ForeignHandle, runnable);
    return Py_NewRef(self->handle ? self->handle : Py_None);
}

static const struct runnable_ops foreign_handle_ops = {
    .run = foreign_handle_run,
    .as_handle = foreign_handle_as_handle,
};

struct runnable *
runnable_of_handle(struct state *state, PyObject *handle, PyObject **owner)
{
    if (handle_check(state, handle)) {
        *owner = Py_NewRef(handle);
        return &((Handle *)handle)->runnable;
    }
    int is_handle = PyObject_IsInstance(handle, state->asyncio_Handle);
    if (is_handle <= 0) {
        if (is_handle == 0) {
            PyErr_Format(PyExc_TypeError, "the queues of a loop hold handles, not %.200s", Py_TYPE(handle)->tp_name);
        }
        return NULL;
    }
    ForeignHandle *self = (ForeignHandle *)freelist_new(&state->ForeignHandle_freelist, state->ForeignHandle_type);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->runnable = (struct runnable){ &foreign_handle_ops, (PyObject *)self };
    self->handle = Py_NewRef(handle);
    PyObject_GC_Track(self);
    *owner = (PyObject *)self;
    return &self->runnable;
}

PyObject *
Loop__add_callback(Loop *self, PyObject *handle)
{
    GUARD(self, self);
    PyObject *owner, *cancelled = PyObject_GetAttrString(handle, "_cancelled");
    int skipped = cancelled ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (skipped > 0) {
        Py_RETURN_NONE;
    }
    struct runnable *runnable = skipped == 0 ? runnable_of_handle(self->state, handle, &owner) : NULL;
    if (runnable == NULL) {
        return NULL;
    }
    int result = loop_check_closed(self) < 0 ? -1 : loop_push(self, runnable);
    Py_DECREF(owner);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- The type: nobody sees it ---- */

static int
ForeignHandle_traverse(ForeignHandle *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->handle);
    return 0;
}

static int
ForeignHandle_clear(ForeignHandle *self)
{
    Py_CLEAR(self->handle);
    return 0;
}

static void
ForeignHandle_dealloc(ForeignHandle *self)
{
    PyObject_GC_UnTrack(self);
    ForeignHandle_clear(self);
    freelist_free(&self->state->ForeignHandle_freelist, self->state->ForeignHandle_type, (PyObject *)self);
}

static PyType_Slot ForeignHandle_slots[] = {
    { Py_tp_dealloc, ForeignHandle_dealloc },
    { Py_tp_traverse, ForeignHandle_traverse },
    { Py_tp_clear, ForeignHandle_clear },
    { 0, NULL },
};

static PyType_Spec ForeignHandle_spec = {
    .name = "asyncio_c._core.ForeignHandle",
    .basicsize = sizeof(ForeignHandle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ForeignHandle_slots,
};

int
foreign_handle_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    return state_add_type(module, &state->ForeignHandle_type, &ForeignHandle_spec, NULL);
}
