/* A deque that is made when somebody looks, or when it has two entries.  Layer: sync. */
#include "sync/lazy_deque.h"

void
lazy_deque_init_none(struct lazy_deque *self)
{
    lazy_deque_set(self, Py_None);
}

void
lazy_deque_init(struct lazy_deque *self)
{
    lazy_deque_set(self, Py_None);
    self->used = true;
}

int
lazy_deque_traverse(struct lazy_deque *self, visitproc visit, void *arg)
{
    Py_VISIT(self->only);
    Py_VISIT(self->deque);
    return 0;
}

void
lazy_deque_clear(struct lazy_deque *self)
{
    lazy_deque_set(self, NULL);
}

void
lazy_deque_set(struct lazy_deque *self, PyObject *value)
{
    PyObject *only = self->only, *deque = self->deque;
    self->only = NULL;
    self->deque = Py_XNewRef(value);
    self->used = false;
    Py_XDECREF(only);
    Py_XDECREF(deque);
}

static inline bool
is_real(const struct lazy_deque *self, struct state *state)
{
    return Py_TYPE(self->deque) == (PyTypeObject *)state->deque;
}

/* Calls a method of the deque without searching for it, or one of that name of whatever else is there. */
static PyObject *
call_method(struct lazy_deque *self, struct state *state, PyObject *method, const char *name, PyObject *argument)
{
    PyObject *args[] = { Py_NewRef(self->deque), argument }, *result;
    if (AC_LIKELY(is_real(self, state))) {
        result = PyObject_Vectorcall(method, args, argument ? 2 : 1, NULL);
    }
    else {
        result = PyObject_CallMethod(args[0], name, argument ? "(O)" : NULL, argument);
    }
    Py_DECREF(args[0]);
    return result;
}

static int
status_steal(PyObject *result)
{
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* From here on there is a deque, and no entry beside it.  0 or -1. */
static int
make_deque(struct lazy_deque *self, struct state *state)
{
    if (self->deque == Py_None && self->used) {
        PyObject *deque = PyObject_CallNoArgs(state->deque);
        if (deque == NULL) {
            return -1;
        }
        if (self->deque != Py_None || !self->used) { /* an allocation may run anything */
            Py_DECREF(deque);
            return make_deque(self, state);
        }
        Py_SETREF(self->deque, deque);
    }
    if (self->only == NULL) {
        return 0;
    }
    PyObject *only = self->only;
    self->only = NULL;
    int result = status_steal(call_method(self, state, state->deque_append, "append", only));
    if (result < 0 && self->only == NULL) {
        self->only = only;
        return -1;
    }
    Py_DECREF(only);
    return result;
}

PyObject *
lazy_deque_get(struct lazy_deque *self, struct state *state)
{
    if (self->deque == NULL || make_deque(self, state) < 0) {
        return NULL;
    }
    return Py_XNewRef(self->deque);
}

int
lazy_deque_any(struct lazy_deque *self, struct state *state)
{
    if (self->only != NULL) {
        return 1;
    }
    if (AC_LIKELY(self->deque == Py_None)) {
        return 0;
    }
    if (AC_LIKELY(is_real(self, state))) {
        return PySequence_Size(self->deque) > 0;
    }
    PyObject *deque = Py_NewRef(self->deque);
    int any = PyObject_IsTrue(deque);
    Py_DECREF(deque);
    return any;
}

Py_ssize_t
lazy_deque_size(struct lazy_deque *self, struct state *state)
{
    if (self->only != NULL) {
        return 1;
    }
    if (self->deque == Py_None && self->used) {
        return 0;
    }
    if (AC_LIKELY(is_real(self, state))) {
        return PySequence_Size(self->deque);
    }
    PyObject *deque = Py_NewRef(self->deque);
    Py_ssize_t size = PyObject_Size(deque);
    Py_DECREF(deque);
    return size;
}

int
lazy_deque_append(struct lazy_deque *self, struct state *state, PyObject *entry)
{
    if (AC_LIKELY(self->only == NULL)) {
        bool none = self->deque == Py_None, own = !none && is_real(self, state) && Py_REFCNT(self->deque) == 1;
        if (none || (own && PySequence_Size(self->deque) == 0)) {
            self->only = Py_NewRef(entry);
            self->used |= none;
            return 0;
        }
    }
    else if (make_deque(self, state) < 0) {
        return -1;
    }
    return status_steal(call_method(self, state, state->deque_append, "append", entry));
}

int
lazy_deque_remove(struct lazy_deque *self, struct state *state, PyObject *entry)
{
    if (AC_LIKELY(self->only == entry)) {
        Py_CLEAR(self->only);
        return 0;
    }
    if (make_deque(self, state) < 0) {
        return -1;
    }
    return status_steal(call_method(self, state, state->deque_remove, "remove", entry));
}

PyObject *
lazy_deque_popleft(struct lazy_deque *self, struct state *state)
{
    PyObject *only = self->only;
    if (AC_LIKELY(only != NULL)) {
        self->only = NULL;
        return only;
    }
    if (make_deque(self, state) < 0) {
        return NULL;
    }
    return call_method(self, state, state->deque_popleft, "popleft", NULL);
}

PyObject *
lazy_deque_first(struct lazy_deque *self, struct state *state)
{
    if (AC_LIKELY(self->only != NULL)) {
        return Py_NewRef(self->only);
    }
    int any = lazy_deque_any(self, state);
    if (any <= 0) {
        return NULL;
    }
    PyObject *deque = Py_NewRef(self->deque);
    PyObject *first = PySequence_GetItem(deque, 0);
    Py_DECREF(deque);
    return first;
}
