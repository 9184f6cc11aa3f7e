/* What the synchronization primitives have in common.  Layer: sync. */
#include "sync/primitive.h"

#include "py/args.h"
#include "py/errors.h"

/* What is kept of each method: the name, what a type has that overrides nothing, and asyncio's. */
enum { METHOD_NAME, METHOD_EXPECTED, METHOD_ASYNCIO, METHOD_WORDS };

static PyObject **
found_of(struct state *state, const struct primitive_kind *kind)
{
    return (PyObject **)((char *)state + kind->found);
}

static PyObject *
asyncio_class_borrow(struct state *state, const struct primitive_kind *kind)
{
    return *(PyObject **)((char *)state + kind->asyncio);
}

static PyObject *
method_borrow(struct state *state, const struct primitive_kind *kind, int method, int word)
{
    return PyTuple_GET_ITEM(*found_of(state, kind), method * METHOD_WORDS + word);
}

PyObject *
primitive_method_borrow(Primitive *self, int method)
{
    return method_borrow(self->state, self->kind, method, METHOD_EXPECTED);
}

/* Whether the attribute of a class is what it was when we were imported; what cannot be found out is not. */
static bool
is_as_it_was(PyObject *class, PyObject *name, PyObject *expected)
{
    PyObject *found = PyObject_GetAttr(class, name);
    bool same = found == expected || (found == NULL && expected == Py_None);
    Py_XDECREF(found);
    PyErr_Clear();
    return same;
}

/* What is to say about one method: a set of bits. */
static unsigned
find_overrides(Primitive *self, PyObject *dict, int method)
{
    struct state *state = self->state;
    PyObject *name = method_borrow(state, self->kind, method, METHOD_NAME);
    PyObject *expected = method_borrow(state, self->kind, method, METHOD_EXPECTED);
    PyObject *theirs = method_borrow(state, self->kind, method, METHOD_ASYNCIO);
    bool own = dict != NULL && PyDict_Contains(dict, name) != 0;
    PyErr_Clear();
    unsigned overridden = own || !is_as_it_was((PyObject *)Py_TYPE(self), name, expected) ? 1u << method : 0;
    bool replaced = !is_as_it_was(asyncio_class_borrow(state, self->kind), name, theirs);
    return overridden | (replaced ? PRIMITIVE_REPLACED : 0);
}

/* The same of all methods, of which a descriptor may be the program's. */
static unsigned
look_for_overrides(Primitive *self, bool touched)
{
    MONITOR_OUTSIDE();
    PyObject *dict = touched ? PyObject_GenericGetDict((PyObject *)self, NULL) : NULL;
    PyErr_Clear();
    unsigned overridden = 0;
    for (int i = 0; i < self->kind->method_count; i++) {
        overridden |= find_overrides(self, dict, i);
    }
    Py_XDECREF(dict);
    return overridden;
}

unsigned
primitive_decide(Primitive *self)
{
    unsigned version = compat_type_version(Py_TYPE(self)), touches = self->touches;
    PyObject *error = compat_exception_take();
    unsigned overridden = look_for_overrides(self, touches > 0);
    if (error != NULL) {
        compat_exception_restore_steal(error);
    }
    self->overridden = overridden;
    self->version = self->touches == touches ? compat_type_version_since(Py_TYPE(self), version) : 0;
    return overridden;
}

int
primitive_setattro(Primitive *self, PyObject *name, PyObject *value)
{
    int result = PyObject_GenericSetAttr((PyObject *)self, name, value);
    PRIMITIVE_GUARD(self);
    for (int i = 0; i < self->kind->method_count; i++) {
        if (name == method_borrow(self->state, self->kind, i, METHOD_NAME)) {
            self->touches++;
            self->version = 0;
        }
    }
    return result;
}

Loop *
primitive_loop(Primitive *self)
{
    if (AC_UNLIKELY(primitive_overrides(self, PRIMITIVE_GET_LOOP))) {
        return NULL;
    }
    Loop *loop = loop_running_fused(self->state);
    if (AC_UNLIKELY(loop == NULL || (PyObject *)loop == self->loop)) {
        return loop;
    }
    if (self->loop != NULL) {
        Py_DECREF(loop);
        return NULL;
    }
    self->loop = Py_NewRef((PyObject *)loop);
    return loop;
}

Loop *
primitive_loop_again(Primitive *self)
{
    Loop *loop = primitive_loop(self);
    if (AC_LIKELY(loop != NULL) || PyErr_Occurred()) {
        return loop;
    }
    MONITOR_OUTSIDE();
    PyObject *args[] = { (PyObject *)self };
    PyObject *found = primitive_call_asyncio(self->state, self->kind, 0, args, 1, NULL);
    if (found == NULL || loop_cast(self->state, found) != NULL) {
        return (Loop *)found;
    }
    PyErr_Format(PyExc_RuntimeError, "%R is not the loop on which the waiting began", found);
    Py_DECREF(found);
    return NULL;
}

PyObject *
primitive_call_asyncio(struct state *state, const struct primitive_kind *kind, int method, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames)
{
    MONITOR_OUTSIDE();
    PyObject *name = method_borrow(state, kind, method, METHOD_NAME);
    return args_call_steal(PyObject_GetAttr(asyncio_class_borrow(state, kind), name), args, nargs, kwnames);
}

PyObject *
primitive_call_asyncio_method(Primitive *self, int method, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    MONITOR_OUTSIDE();
    PyObject *name = method_borrow(self->state, self->kind, method, METHOD_NAME);
    PyObject *function = PyObject_GetAttr(asyncio_class_borrow(self->state, self->kind), name);
    return args_call_bound_steal(function, (PyObject *)self, args, nargs, kwnames);
}

PyObject *
primitive_put(Primitive *self, int method, PyObject *argument)
{
    MONITOR_OUTSIDE();
    PyObject *args[] = { (PyObject *)self, argument };
    PyObject *name = method_borrow(self->state, self->kind, method, METHOD_NAME);
    return PyObject_VectorcallMethod(name, args, argument ? 2 : 1, NULL);
}

PyObject *
primitive_get(Primitive *self, int method)
{
    return primitive_put(self, method, NULL);
}

int
primitive_ask(Primitive *self, int method)
{
    MONITOR_OUTSIDE();
    PyObject *answer = primitive_get(self, method);
    int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

int
primitive_tell(Primitive *self, int method, PyObject *argument)
{
    MONITOR_OUTSIDE();
    PyObject *answer = primitive_put(self, method, argument);
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

int
primitive_init_by_asyncio(Primitive *self, PyObject *args, PyObject *kwargs)
{
    MONITOR_OUTSIDE();
    PyObject *function = PyObject_GetAttrString(asyncio_class_borrow(self->state, self->kind), "__init__");
    PyObject *method = function ? PyMethod_New(function, (PyObject *)self) : NULL;
    PyObject *result = method ? PyObject_Call(method, args, kwargs) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(method);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

PyObject *
primitive_no_attribute(Primitive *self, const char *name)
{
    raise_no_attribute((PyObject *)self, name);
    return NULL;
}

Primitive *
primitive_alloc(PyTypeObject *type, struct freelist *freelist, struct state *state, const struct primitive_kind *kind)
{
    Primitive *self = (Primitive *)freelist_alloc(freelist, NULL, type);
    if (self != NULL) {
        self->state = state;
        self->kind = kind;
    }
    return self;
}

int
primitive_traverse(Primitive *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    return 0;
}

void
primitive_clear(Primitive *self)
{
    Py_CLEAR(self->loop);
}

PyObject *
primitive_get_loop(Primitive *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return Py_NewRef(self->loop ? self->loop : Py_None);
}

int
primitive_set_loop(Primitive *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    MONITOR_SET(self->loop, value == Py_None ? NULL : Py_XNewRef(value));
    return 0;
}

PyObject *
primitive_get_object(Primitive *self, void *closure)
{
    PRIMITIVE_GUARD(self);
    const struct primitive_attribute *attribute = closure;
    PyObject *value = *(PyObject **)((char *)self + attribute->offset);
    return value ? Py_NewRef(value) : primitive_no_attribute(self, attribute->name);
}

int
primitive_set_object(Primitive *self, PyObject *value, void *closure)
{
    PRIMITIVE_GUARD(self);
    const struct primitive_attribute *attribute = closure;
    PyObject **place = (PyObject **)((char *)self + attribute->offset);
    if (value == NULL && *place == NULL) {
        primitive_no_attribute(self, attribute->name);
        return -1;
    }
    MONITOR_SET(*place, Py_XNewRef(value));
    return 0;
}

static struct lazy_deque *
deque_of(Primitive *self, const struct primitive_attribute *attribute)
{
    return (struct lazy_deque *)((char *)self + attribute->offset);
}

PyObject *
primitive_get_deque(Primitive *self, void *closure)
{
    PRIMITIVE_GUARD(self);
    const struct primitive_attribute *attribute = closure;
    PyObject *deque = lazy_deque_get(deque_of(self, attribute), self->state);
    return deque || PyErr_Occurred() ? deque : primitive_no_attribute(self, attribute->name);
}

int
primitive_set_deque(Primitive *self, PyObject *value, void *closure)
{
    PRIMITIVE_GUARD(self);
    const struct primitive_attribute *attribute = closure;
    struct lazy_deque *deque = deque_of(self, attribute);
    if (value == NULL && !lazy_deque_exists(deque)) {
        primitive_no_attribute(self, attribute->name);
        return -1;
    }
    lazy_deque_set(deque, value);
    return 0;
}

/* Appends name, expected and asyncio's.  Returns 0 or -1. */
static int
note_method(PyObject *list, PyTypeObject *type, PyObject *stock, const char *name)
{
    PyObject *interned = PyUnicode_InternFromString(name);
    PyObject *theirs = PyObject_GetAttrString(stock, name), *expected = NULL;
    if (theirs == NULL) {
        PyErr_Clear(); /* Condition.acquire is set on each instance */
        theirs = Py_NewRef(Py_None);
    }
    int own = PyObject_HasAttrString((PyObject *)type, name);
    expected = own ? PyObject_GetAttrString((PyObject *)type, name) : Py_NewRef(theirs);
    int result = interned && expected && PyList_Append(list, interned) == 0 && PyList_Append(list, expected) == 0
                         && PyList_Append(list, theirs) == 0
                     ? 0
                     : -1;
    Py_XDECREF(interned);
    Py_XDECREF(theirs);
    Py_XDECREF(expected);
    return result;
}

int
primitive_register(PyObject *module, const struct primitive_kind *kind)
{
    struct state *state = state_of_module(module);
    PyTypeObject *type = *(PyTypeObject **)((char *)state + kind->type);
    PyObject *list = PyList_New(0), *stock = asyncio_class_borrow(state, kind);
    for (int i = 0; list != NULL && i < kind->method_count; i++) {
        if (note_method(list, type, stock, kind->methods[i]) < 0) {
            Py_CLEAR(list);
        }
    }
    PyObject *methods = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    if (methods == NULL) {
        return -1;
    }
    Py_XSETREF(*found_of(state, kind), methods);
    return PyModule_AddType(module, type);
}
