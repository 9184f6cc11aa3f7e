/* Coroutines of an `async with` in C.  Layer: flow. */
#include "flow/block_coroutine.h"

#include "py/args.h"

bool
block_is_plain(struct state *state, PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               Py_ssize_t count)
{
    return AC_LIKELY(nargs == count && kwnames == NULL && COMPAT_LOAD(state->debug_loops) == 0
                     && PyObject_TypeCheck(args[0], type));
}

PyObject *
block_begin_steal(PyObject *object, struct state *state, const struct coroutine_body *body, PyObject *const *args,
                  Py_ssize_t nargs)
{
    BlockCoroutine *self = (BlockCoroutine *)object;
    if (self == NULL) {
        return NULL;
    }
    coroutine_init(&self->base, state, body);
    self->manager = Py_NewRef(args[0]);
    if (nargs > 1) {
        self->type = Py_NewRef(args[1]);
        self->error = Py_NewRef(args[2]);
        self->traceback = Py_NewRef(args[3]);
    }
    PyObject_GC_Track(object);
    return object;
}

PySendResult
block_delegate(BlockCoroutine *self, PyObject *class, PyObject *name)
{
    PyObject *args[] = { self->manager, self->type, self->error, self->traceback };
    self->base.delegate = args_call_steal(PyObject_GetAttr(class, name), args, self->type ? 4 : 1, NULL);
    return self->base.delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

int
block_traverse(BlockCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->manager);
    Py_VISIT(self->type);
    Py_VISIT(self->error);
    Py_VISIT(self->traceback);
    return coroutine_traverse(&self->base, visit, arg);
}

int
block_clear(BlockCoroutine *self)
{
    coroutine_clear(&self->base);
    Py_CLEAR(self->manager);
    Py_CLEAR(self->type);
    Py_CLEAR(self->error);
    Py_CLEAR(self->traceback);
    return 0;
}
