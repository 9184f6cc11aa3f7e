/* A deque that is made when somebody looks.  Layer: sync. */
#include "sync/lazy_deque.h"

#include "py/monitor.h"

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
    for (size_t i = 0; i < ring_count(&self->entries); i++) {
        Py_VISIT((PyObject *)ring_peek(&self->entries, i));
    }
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
    struct ring entries = self->entries;
    PyObject *deque = self->deque;
    ring_init(&self->entries);
    self->deque = Py_XNewRef(value);
    self->used = self->made = false;
    MONITOR_OUTSIDE();
    while (ring_count(&entries) > 0) {
        Py_DECREF((PyObject *)ring_pop(&entries));
    }
    ring_release(&entries);
    Py_XDECREF(deque);
}

static inline bool
is_real(const struct lazy_deque *self, struct state *state)
{
    return Py_TYPE(self->deque) == (PyTypeObject *)state->deque;
}

/* Calls a method of the deque without searching for it, or one of that name of whatever else is there.  Runs Python where that is
   so, or where entries are compared. */
static PyObject *
call_method(struct lazy_deque *self, struct state *state, PyObject *method, const char *name, PyObject *argument)
{
    PyObject *args[] = { Py_NewRef(self->deque), argument }, *result;
    if (AC_UNLIKELY(!is_real(self, state))) {
        MONITOR_OUTSIDE();
        result = PyObject_CallMethod(args[0], name, argument ? "(O)" : NULL, argument);
    }
    else if (AC_FREE_THREADED && method == state->deque_remove) {
        MONITOR_OUTSIDE();
        result = PyObject_Vectorcall(method, args, 2, NULL);
    }
    else {
        result = PyObject_Vectorcall(method, args, argument ? 2 : 1, NULL);
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

/* Moves what is here into the deque, which is empty; all of it or, where that fails, nothing.  0 or -1. */
static int
move_entries(struct lazy_deque *self, struct state *state)
{
    for (size_t i = 0; i < ring_count(&self->entries); i++) {
        PyObject *entry = ring_peek(&self->entries, i);
        if (status_steal(call_method(self, state, state->deque_append, "append", entry)) < 0) {
            while (i-- > 0) {
                (void)PySequence_DelItem(self->deque, 0);
            }
            return -1;
        }
    }
    while (ring_count(&self->entries) > 0) {
        Py_DECREF((PyObject *)ring_pop(&self->entries)); /* the deque has it, too */
    }
    return 0;
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
        self->made = true;
    }
    return move_entries(self, state);
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
    if (lazy_deque_has_own(self)) {
        return 1;
    }
    if (AC_LIKELY(self->deque == Py_None)) {
        return 0;
    }
    if (AC_LIKELY(is_real(self, state))) {
        return PySequence_Size(self->deque) > 0;
    }
    PyObject *deque = Py_NewRef(self->deque);
    MONITOR_OUTSIDE();
    int any = PyObject_IsTrue(deque);
    Py_DECREF(deque);
    return any;
}

Py_ssize_t
lazy_deque_size(struct lazy_deque *self, struct state *state)
{
    if (lazy_deque_has_own(self) || (self->deque == Py_None && self->used)) {
        return (Py_ssize_t)ring_count(&self->entries);
    }
    if (AC_LIKELY(is_real(self, state))) {
        return PySequence_Size(self->deque);
    }
    PyObject *deque = Py_NewRef(self->deque);
    MONITOR_OUTSIDE();
    Py_ssize_t size = PyObject_Size(deque);
    Py_DECREF(deque);
    return size;
}

/* Whether an entry may be kept beside the deque: it is empty, and nobody else has it. */
static bool
is_free(struct lazy_deque *self)
{
    if (self->deque == Py_None) {
        self->used = true;
        return true;
    }
    return self->made && compat_is_unique(self->deque) && PySequence_Size(self->deque) == 0;
}

int
lazy_deque_append(struct lazy_deque *self, struct state *state, PyObject *entry)
{
    if (AC_LIKELY(is_free(self))) {
        if (ring_push(&self->entries, entry) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        Py_INCREF(entry);
        return 0;
    }
    if (make_deque(self, state) < 0) {
        return -1;
    }
    return status_steal(call_method(self, state, state->deque_append, "append", entry));
}

int
lazy_deque_remove(struct lazy_deque *self, struct state *state, PyObject *entry)
{
    for (size_t i = 0; i < ring_count(&self->entries); i++) {
        if (AC_LIKELY(ring_peek(&self->entries, i) == entry)) {
            Py_DECREF((PyObject *)ring_take(&self->entries, i));
            return 0;
        }
    }
    if (make_deque(self, state) < 0) {
        return -1;
    }
    return status_steal(call_method(self, state, state->deque_remove, "remove", entry));
}

PyObject *
lazy_deque_popleft(struct lazy_deque *self, struct state *state)
{
    if (AC_LIKELY(lazy_deque_has_own(self))) {
        return ring_pop(&self->entries);
    }
    if (make_deque(self, state) < 0) {
        return NULL;
    }
    return call_method(self, state, state->deque_popleft, "popleft", NULL);
}

PyObject *
lazy_deque_first(struct lazy_deque *self, struct state *state)
{
    if (AC_LIKELY(lazy_deque_has_own(self))) {
        return Py_NewRef((PyObject *)ring_peek(&self->entries, 0));
    }
    int any = lazy_deque_any(self, state);
    if (any <= 0) {
        return NULL;
    }
    PyObject *deque = Py_NewRef(self->deque);
    MONITOR_OUTSIDE();
    PyObject *first = PySequence_GetItem(deque, 0);
    Py_DECREF(deque);
    return first;
}
