/* A function written in C that looks like asyncio's in Python, such as sleep.  Layer: flow.

   A builtin function would do, but for who looks at it: inspect.iscoroutinefunction(), and with it unittest.mock.patch(), wants
   __code__ and the other attributes of a function in Python, tracers copy the function by them, and some (ddtrace) give it
   another __code__ in place.  So it is an object with a copy of asyncio's own function in it, whose attributes it shows.  As long as
   that copy is as it was, what is written in C is called; after somebody has given it other code or defaults, it is. */
#include "flow/coroutine_function.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
#if AC_FREE_THREADED
    vectorcallfunc chosen; /* shared: what `vectorcall`, always call_chosen, calls */
#endif
    vectorcallfunc native;
    struct state *state;
    PyObject *dict;     /* owned, as are all */
    PyObject *function; /* a copy of asyncio's, which is its own */
    PyObject *original; /* asyncio's */
    PyObject *owner;    /* NULL but for methods of PyMethodDef: the type whose objects */
    PyCFunction method; /* this takes */
    PyObject *weakreflist;
    bool is_aside; /* asyncio's own is to be called, for what it goes by was replaced */
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
    Py_VISIT(self->function);
    Py_VISIT(self->original);
    Py_VISIT(self->owner);
    return 0;
}

static int
CoroutineFunction_clear(CoroutineFunction *self)
{
    Py_CLEAR(self->dict);
    Py_CLEAR(self->function);
    Py_CLEAR(self->original);
    Py_CLEAR(self->owner);
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
    CoroutineFunction_clear(self);
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

/* ---- The copy of asyncio's function ---- */

static PyObject *
call_function(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *function = Py_NewRef(((CoroutineFunction *)self)->function);
    PyObject *result = PyObject_Vectorcall(function, args, nargsf, kwnames);
    Py_DECREF(function);
    return result;
}

static PyObject *
call_original(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(((CoroutineFunction *)self)->original, args, nargsf, kwnames);
}

typedef PyObject *(*fast_method)(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* What a method of PyMethodDef does, as it is called; of other objects and with too few or too many arguments asyncio's own, which
   takes them or says what is wrong. */
static PyObject *
call_fast(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    CoroutineFunction *self = (CoroutineFunction *)function;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (nargs < 1 || !PyObject_TypeCheck(args[0], (PyTypeObject *)self->owner)) {
        return call_original(function, args, nargsf, kwnames);
    }
    return ((fast_method)(void (*)(void))self->method)(args[0], args + 1, nargs - 1, kwnames);
}

static PyObject *
call_without_arguments(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    CoroutineFunction *self = (CoroutineFunction *)function;
    if (PyVectorcall_NARGS(nargsf) != 1 || kwnames != NULL
        || !PyObject_TypeCheck(args[0], (PyTypeObject *)self->owner)) {
        return call_original(function, args, nargsf, kwnames);
    }
    return self->method(args[0], NULL);
}

static bool
is_as_it_was(CoroutineFunction *self)
{
    PyObject *copy = self->function, *original = self->original;
    return copy == original
           || (PyFunction_GET_CODE(copy) == PyFunction_GET_CODE(original)
               && PyFunction_GET_DEFAULTS(copy) == PyFunction_GET_DEFAULTS(original)
               && PyFunction_GET_KW_DEFAULTS(copy) == PyFunction_GET_KW_DEFAULTS(original));
}

#if AC_FREE_THREADED
static PyObject *
call_chosen(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return COMPAT_LOAD(((CoroutineFunction *)self)->chosen)(self, args, nargsf, kwnames);
}
#endif

/* A copy that somebody has changed goes by what was replaced elsewhere, too. */
static vectorcallfunc
right_call(CoroutineFunction *self)
{
    bool is_aside = COMPAT_LOAD(self->is_aside);
    return !is_as_it_was(self) ? call_function : is_aside ? call_original : self->native;
}

/* Without a GIL other threads may be calling meanwhile, and the interpreter reads `vectorcall` as a field that never changes. */
static void
choose_call(CoroutineFunction *self)
{
#if AC_FREE_THREADED
    vectorcallfunc call;
    do { /* another thread may have made a change that this one has not seen, and have stored its choice before */
        call = right_call(self);
        COMPAT_STORE(self->chosen, call);
    } while (call != right_call(self));
#else
    self->vectorcall = right_call(self);
#endif
}

/* Has it do what asyncio's own function does, or again what is written in C. */
static void
coroutine_function_step(PyObject *function, bool aside)
{
    CoroutineFunction *self = (CoroutineFunction *)function;
    COMPAT_STORE(self->is_aside, aside);
    choose_call(self);
}

/* closure: the attribute's name. */
static PyObject *
CoroutineFunction_get_of_copy(CoroutineFunction *self, void *closure)
{
    return PyObject_GetAttrString(self->function, closure);
}

static int
CoroutineFunction_set_of_copy(CoroutineFunction *self, PyObject *value, void *closure)
{
    if (PyObject_SetAttrString(self->function, closure, value) < 0) {
        return -1;
    }
    choose_call(self);
    return 0;
}

static PyObject *
CoroutineFunction_get_class(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)&PyFunction_Type);
}

#define OF_COPY(name) \
    { name, (getter)CoroutineFunction_get_of_copy, (setter)CoroutineFunction_set_of_copy, NULL, (void *)(name) }

static PyGetSetDef CoroutineFunction_getset[] = {
    { "__class__", CoroutineFunction_get_class, NULL, "types.FunctionType, so that inspect.isfunction() holds.", NULL },
    OF_COPY("__code__"),
    OF_COPY("__defaults__"),
    OF_COPY("__kwdefaults__"),
    OF_COPY("__annotations__"),
    OF_COPY("__globals__"),
    OF_COPY("__closure__"),
    { 0 },
};

/* What else a function in Python has, in this or that version. */
static PyObject *
CoroutineFunction_getattro(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return value;
    }
    PyObject *error = compat_exception_take();
    value = PyObject_GetAttr(((CoroutineFunction *)self)->function, name);
    if (value == NULL) {
        PyErr_Clear();
        compat_exception_restore_steal(error);
        return NULL;
    }
    Py_DECREF(error);
    return value;
}

static PyObject *
copy_function(PyObject *original)
{
    if (!PyFunction_Check(original)) {
        return Py_NewRef(original); /* replaced before we came */
    }
    PyObject *copy = PyFunction_New(PyFunction_GET_CODE(original), PyFunction_GET_GLOBALS(original));
    PyObject *defaults = PyFunction_GET_DEFAULTS(original), *closure = PyFunction_GET_CLOSURE(original);
    PyObject *kwdefaults = PyFunction_GET_KW_DEFAULTS(original), *annotations = PyFunction_GetAnnotations(original);
    if (copy == NULL || PyFunction_SetDefaults(copy, defaults ? defaults : Py_None) < 0
        || PyFunction_SetKwDefaults(copy, kwdefaults ? kwdefaults : Py_None) < 0
        || PyFunction_SetClosure(copy, closure ? closure : Py_None) < 0
        || (annotations != NULL && PyFunction_SetAnnotations(copy, annotations) < 0)) {
        Py_CLEAR(copy);
    }
    return copy;
}

/* ---- Python face ---- */

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
    { Py_tp_dealloc, CoroutineFunction_dealloc },   { Py_tp_traverse, CoroutineFunction_traverse },
    { Py_tp_clear, CoroutineFunction_clear },       { Py_tp_call, PyVectorcall_Call },
    { Py_tp_repr, CoroutineFunction_repr },         { Py_tp_descr_get, CoroutineFunction_get },
    { Py_tp_getattro, CoroutineFunction_getattro }, { Py_tp_setattro, PyObject_GenericSetAttr },
    { Py_tp_methods, CoroutineFunction_methods },   { Py_tp_members, CoroutineFunction_members },
    { Py_tp_getset, CoroutineFunction_getset },     { 0, NULL },
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
    static const char *const same[] = { "__name__", "__qualname__" };
    PyObject *dict = Py_BuildValue("{ssss}", "__doc__", doc, "__module__", "asyncio_c._core");
    for (size_t i = 0; dict != NULL && i < AC_ARRAY_SIZE(same); i++) {
        PyObject *value = PyObject_GetAttrString(original, same[i]);
        if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear(); /* a mock, which was there before we came */
        }
        else if (value == NULL || PyDict_SetItemString(dict, same[i], value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    return dict;
}

static CoroutineFunction *
coroutine_function_new(PyObject *module, PyObject *original, vectorcallfunc call, const char *doc)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &CoroutineFunction_spec, NULL);
    CoroutineFunction *self = type ? (CoroutineFunction *)type->tp_alloc(type, 0) : NULL;
    Py_XDECREF(type);
    if (self == NULL) {
        return NULL;
    }
#if AC_FREE_THREADED
    self->vectorcall = call_chosen;
#endif
    self->native = PyFunction_Check(original) ? call : call_original;
    self->state = state_of_module(module);
    self->dict = attributes_of(original, doc);
    self->original = Py_NewRef(original);
    self->function = copy_function(original);
    if (self->function == NULL || self->dict == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    choose_call(self);
    return self;
}

int
coroutine_function_add(PyObject *module, PyObject *holder, PyObject *original, vectorcallfunc call, const char *doc)
{
    CoroutineFunction *self = coroutine_function_new(module, original, call, doc);
    PyObject *name = self ? PyObject_GetAttrString((PyObject *)self, "__name__") : NULL;
    int result = name ? PyObject_SetAttr(holder, name, (PyObject *)self) : -1;
    Py_XDECREF(name);
    Py_XDECREF(self);
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

int
coroutine_function_add_methods(PyObject *module, PyTypeObject *type, PyObject *original, const PyMethodDef *methods,
                               size_t count)
{
    int result = 0;
    for (const PyMethodDef *method = methods; method < methods + count && result == 0; method++) {
        PyObject *stock = PyObject_GetAttrString(original, method->ml_name);
        vectorcallfunc call = method->ml_flags & METH_NOARGS ? call_without_arguments : call_fast;
        CoroutineFunction *self = stock ? coroutine_function_new(module, stock, call, method->ml_doc) : NULL;
        if (self != NULL) {
            self->owner = Py_NewRef((PyObject *)type);
            self->method = method->ml_meth;
        }
        result = self ? PyObject_SetAttrString((PyObject *)type, method->ml_name, (PyObject *)self) : -1;
        Py_XDECREF(self);
        Py_XDECREF(stock);
    }
    return result;
}

static PyObject *
stand_in_function(PyObject *module, PyObject *args)
{
    struct state *state = state_of_module(module);
    PyObject *function, *needs;
    if (!PyArg_ParseTuple(args, "OO!:_stand_in_function", &function, &PyTuple_Type, &needs)) {
        return NULL;
    }
    if (Py_TYPE(function)->tp_dealloc != (destructor)CoroutineFunction_dealloc) {
        PyErr_SetString(PyExc_TypeError, "_stand_in_function() takes a function of this module");
        return NULL;
    }
    return stand_ins_add_function(state, function, coroutine_function_step, needs) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(stand_in_function_doc,
             "_stand_in_function($module, function, needs, /)\n--\n\n"
             "Let a function of this module do what asyncio's own does while something that it needs,\n"
             "as for _stand_in(), is not as it is now.");

static PyMethodDef functions[] = {
    { "_stand_in_function", stand_in_function, METH_VARARGS, stand_in_function_doc },
    { 0 },
};

int
coroutine_function_register(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
