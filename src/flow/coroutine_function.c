/* A coroutine function written in C, such as sleep.  Layer: flow.

   A builtin function would do, but for who asks whether a call gives a coroutine: inspect.iscoroutinefunction(), and with it
   unittest.mock.patch("asyncio.sleep"), wants __code__ and the other attributes of a function in Python, and a builtin
   function takes no attributes.  So it is an object with those of asyncio's own function; that it is called by C is all that
   is different. */
#include "flow/coroutine_function.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct state *state;
    PyObject *dict; /* owned */
    PyObject *weakreflist;
} CoroutineFunction;

struct state *
coroutine_function_state(PyObject *function)
{
    return ((CoroutineFunction *)function)->state;
}

static int
CoroutineFunction_traverse(CoroutineFunction *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->dict);
    return 0;
}

static int
CoroutineFunction_clear(CoroutineFunction *self)
{
    Py_CLEAR(self->dict);
    return 0;
}

static void
CoroutineFunction_dealloc(CoroutineFunction *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakreflist != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    Py_CLEAR(self->dict);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
CoroutineFunction_repr(CoroutineFunction *self)
{
    PyObject *name = PyObject_GetAttrString((PyObject *)self, "__qualname__");
    PyObject *repr = name ? PyUnicode_FromFormat("<function %S at %p>", name, self) : NULL;
    Py_XDECREF(name);
    return repr;
}

/* In a class it becomes a method, as a function in Python does. */
static PyObject *
CoroutineFunction_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

/* pickle and copy find it by its name. */
static PyObject *
CoroutineFunction_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyMethodDef CoroutineFunction_methods[] = {
    { "__reduce__", CoroutineFunction_reduce, METH_NOARGS, NULL },
    { 0 },
};

static PyMemberDef CoroutineFunction_members[] = {
    { "__vectorcalloffset__", T_PYSSIZET, offsetof(CoroutineFunction, vectorcall), READONLY, NULL },
    { "__dictoffset__", T_PYSSIZET, offsetof(CoroutineFunction, dict), READONLY, NULL },
    { "__weaklistoffset__", T_PYSSIZET, offsetof(CoroutineFunction, weakreflist), READONLY, NULL },
    { 0 },
};

static PyType_Slot CoroutineFunction_slots[] = {
    { Py_tp_dealloc, CoroutineFunction_dealloc },
    { Py_tp_traverse, CoroutineFunction_traverse },
    { Py_tp_clear, CoroutineFunction_clear },
    { Py_tp_call, PyVectorcall_Call },
    { Py_tp_repr, CoroutineFunction_repr },
    { Py_tp_descr_get, CoroutineFunction_get },
    { Py_tp_getattro, PyObject_GenericGetAttr },
    { Py_tp_setattro, PyObject_GenericSetAttr },
    { Py_tp_methods, CoroutineFunction_methods },
    { Py_tp_members, CoroutineFunction_members },
    { 0, NULL },
};

static PyType_Spec CoroutineFunction_spec = {
    .name = "asyncio_c._core.coroutine_function",
    .basicsize = sizeof(CoroutineFunction),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION
             | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = CoroutineFunction_slots,
};

/* The attributes of `original`, and what is our own: __doc__ and __module__. */
static PyObject *
attributes_of(PyObject *original, const char *doc)
{
    static const char *const same[] = { "__name__",     "__qualname__",   "__code__",
                                        "__defaults__", "__kwdefaults__", "__annotations__" };
    PyObject *dict = Py_BuildValue("{ssss}", "__doc__", doc, "__module__", "asyncio_c._core");
    for (size_t i = 0; dict != NULL && i < AC_ARRAY_SIZE(same); i++) {
        PyObject *value = PyObject_GetAttrString(original, same[i]);
        if (value == NULL || PyDict_SetItemString(dict, same[i], value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    return dict;
}

int
coroutine_function_add(PyObject *module, PyObject *holder, PyObject *original, vectorcallfunc call, const char *doc)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &CoroutineFunction_spec, NULL);
    CoroutineFunction *self = type ? (CoroutineFunction *)type->tp_alloc(type, 0) : NULL;
    Py_XDECREF(type);
    if (self == NULL) {
        return -1;
    }
    self->vectorcall = call;
    self->state = state_of_module(module);
    self->dict = attributes_of(original, doc);
    PyObject *name = self->dict ? PyObject_GetAttrString((PyObject *)self, "__name__") : NULL;
    int result = name ? PyObject_SetAttr(holder, name, (PyObject *)self) : -1;
    Py_XDECREF(name);
    Py_DECREF(self);
    return result;
}

int
coroutine_function_add_method(PyObject *module, PyTypeObject *type, PyObject *original, const char *name,
                              vectorcallfunc call, const char *doc)
{
    PyObject *method = PyObject_GetAttrString(original, name);
    int result = method ? coroutine_function_add(module, (PyObject *)type, method, call, doc) : -1;
    Py_XDECREF(method);
    return result;
}
