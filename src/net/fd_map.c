/* FdMap: what belongs to a descriptor, held weakly: loop._transports.  Layer: net.

   Equivalent: weakref.WeakValueDictionary() with descriptors for keys, as asyncio has it, where setting an item costs a
   microsecond.  Descriptors are small numbers, so this is an array of weak references.  Those of values that have died stay
   until their number is used again.  For what the fileno() of an imitated socket may return instead, there is a
   WeakValueDictionary. */
#include "net/fd_map.h"

#include "net/net.h"

enum { FD_MAP_LIMIT = 1 << 28 }; /* more than any system has */

PyObject *
fd_map_get(FdMap *self, long fd)
{
    GUARD(NULL, self);
    PyObject *weakref = fd >= 0 && fd < self->size ? self->weakrefs[fd] : NULL;
    return weakref ? compat_weakref_get(weakref) : NULL;
}

static int
reserve(FdMap *self, long fd)
{
    if (fd < self->size) {
        return 0;
    }
    Py_ssize_t size = self->size ? self->size : 16;
    while (size <= fd) {
        size *= 2;
    }
    PyObject **weakrefs = PyMem_Realloc(self->weakrefs, (size_t)size * sizeof(*weakrefs));
    if (weakrefs == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(weakrefs + self->size, 0, (size_t)(size - self->size) * sizeof(*weakrefs));
    self->weakrefs = weakrefs;
    COMPAT_STORE(self->size, size);
    return 0;
}

int
fd_map_set(FdMap *self, long fd, PyObject *value)
{
    GUARD(NULL, self);
    if (fd < 0 || fd > FD_MAP_LIMIT) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        return -1;
    }
    PyObject *weakref = PyWeakref_NewRef(value, NULL);
    if (weakref == NULL || reserve(self, fd) < 0) {
        Py_XDECREF(weakref);
        return -1;
    }
    Py_XSETREF(self->weakrefs[fd], weakref);
    return 0;
}

/* What is there for a key that is no descriptor, as a borrowed reference: nobody takes it away.  NULL: nothing. */
static PyObject *
others_borrow(FdMap *self, long fd)
{
    return fd < 0 ? COMPAT_LOAD_PUBLISHED(self->others) : NULL;
}

/* Takes out what is alive: a new reference, or NULL without an exception. */
static PyObject *
take(FdMap *self, long fd)
{
    GUARD(NULL, self);
    PyObject *value = fd_map_get(self, fd);
    if (value != NULL) {
        Py_CLEAR(self->weakrefs[fd]);
    }
    return value;
}

/* ---- Python face ---- */

/* The descriptor that `key` is, or -1 if it is none. */
static long
key_fd(PyObject *key)
{
    int overflow;
    long fd = PyLong_Check(key) ? PyLong_AsLongAndOverflow(key, &overflow) : -1;
    return fd <= FD_MAP_LIMIT ? fd : -1;
}

static PyObject *
FdMap_getitem(FdMap *self, PyObject *key)
{
    long fd = key_fd(key);
    PyObject *others = others_borrow(self, fd);
    if (others != NULL) {
        return PyObject_GetItem(others, key);
    }
    PyObject *value = fd_map_get(self, fd);
    if (value == NULL) {
        PyErr_SetObject(PyExc_KeyError, key);
    }
    return value;
}

static int
set_other(FdMap *self, PyObject *key, PyObject *value)
{
    PyObject *others = others_borrow(self, -1);
    if (others == NULL) {
        PyObject *class = state_import("weakref", "WeakValueDictionary");
        PyObject *made = class ? PyObject_CallNoArgs(class) : NULL;
        Py_XDECREF(class);
        if (made == NULL) {
            return -1;
        }
        others = compat_publish_steal(&self->others, made);
    }
    return PyObject_SetItem(others, key, value);
}

static int
FdMap_setitem(FdMap *self, PyObject *key, PyObject *value)
{
    long fd = key_fd(key);
    if (value != NULL) {
        return fd < 0 ? set_other(self, key, value) : fd_map_set(self, fd, value);
    }
    PyObject *others = others_borrow(self, fd);
    if (others != NULL) {
        return PyObject_DelItem(others, key);
    }
    PyObject *old = take(self, fd);
    if (old == NULL) {
        PyErr_SetObject(PyExc_KeyError, key);
        return -1;
    }
    Py_DECREF(old);
    return 0;
}

static int
FdMap_contains(FdMap *self, PyObject *key)
{
    long fd = key_fd(key);
    PyObject *others = others_borrow(self, fd);
    if (others != NULL) {
        return PySequence_Contains(others, key);
    }
    PyObject *value = fd_map_get(self, fd);
    Py_XDECREF(value);
    return value != NULL;
}

static PyObject *
FdMap_get(FdMap *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "get() takes a key and a default");
        return NULL;
    }
    PyObject *default_value = nargs > 1 ? args[1] : Py_None;
    long fd = key_fd(args[0]);
    PyObject *others = others_borrow(self, fd);
    if (others != NULL) {
        return PyObject_CallMethod(others, "get", "OO", args[0], default_value);
    }
    PyObject *value = fd_map_get(self, fd);
    return value ? value : Py_NewRef(default_value);
}

/* A list of the keys of what is alive.  Runs Python: what is looked at may have nobody else meanwhile. */
static PyObject *
live_keys(FdMap *self)
{
    PyObject *keys = PyList_New(0);
    for (Py_ssize_t fd = 0; keys != NULL && fd < COMPAT_LOAD(self->size); fd++) {
        PyObject *value = fd_map_get(self, fd);
        PyObject *key = value ? PyLong_FromSsize_t(fd) : NULL;
        if (value != NULL && (key == NULL || PyList_Append(keys, key) < 0)) {
            Py_CLEAR(keys);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    PyObject *others = others_borrow(self, -1);
    if (keys != NULL && others != NULL) {
        PyObject *list = PySequence_List(others);
        Py_SETREF(keys, list ? PySequence_InPlaceConcat(keys, list) : NULL);
        Py_XDECREF(list);
    }
    return keys;
}

static PyObject *
FdMap_iter(FdMap *self)
{
    PyObject *keys = live_keys(self), *iterator = keys ? PyObject_GetIter(keys) : NULL;
    Py_XDECREF(keys);
    return iterator;
}

static Py_ssize_t
FdMap_length(FdMap *self)
{
    PyObject *keys = live_keys(self);
    Py_ssize_t length = keys ? PyList_GET_SIZE(keys) : -1;
    Py_XDECREF(keys);
    return length;
}

static int
FdMap_traverse(FdMap *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t fd = 0; fd < self->size; fd++) {
        Py_VISIT(self->weakrefs[fd]);
    }
    Py_VISIT(self->others);
    return 0;
}

static int
FdMap_clear(FdMap *self)
{
    for (Py_ssize_t fd = 0; fd < self->size; fd++) {
        Py_CLEAR(self->weakrefs[fd]);
    }
    Py_CLEAR(self->others);
    return 0;
}

static void
FdMap_dealloc(FdMap *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    FdMap_clear(self);
    PyMem_Free(self->weakrefs);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(get_doc, "get($self, fd, default=None, /)\n--\n\nReturn what belongs to fd, if it is alive.");
PyDoc_STRVAR(FdMap_doc, "FdMap()\n--\n\nWhat belongs to a descriptor, held weakly.");

static PyMethodDef FdMap_methods[] = {
    { "get", (PyCFunction)(void (*)(void))FdMap_get, METH_FASTCALL, get_doc },
    { 0 },
};

static PyType_Slot FdMap_slots[] = {
    { Py_tp_doc, (void *)FdMap_doc },
    { Py_tp_dealloc, FdMap_dealloc },
    { Py_tp_traverse, FdMap_traverse },
    { Py_tp_clear, FdMap_clear },
    { Py_tp_iter, FdMap_iter },
    { Py_tp_methods, FdMap_methods },
    { Py_mp_length, FdMap_length },
    { Py_mp_subscript, FdMap_getitem },
    { Py_mp_ass_subscript, FdMap_setitem },
    { Py_sq_contains, FdMap_contains },
    { 0, NULL },
};

static PyType_Spec FdMap_spec = {
    .name = "asyncio_c._core.FdMap",
    .basicsize = sizeof(FdMap),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = FdMap_slots,
};

int
fd_map_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    return state_add_type(module, &state->FdMap_type, &FdMap_spec, NULL) < 0
               ? -1
               : PyModule_AddType(module, state->FdMap_type);
}
