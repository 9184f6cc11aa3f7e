/* Making and unmaking the module's state, and the freelists in it.  Layer: py. */
#include "py/state.h"

#include "py/context.h"
#include "py/errors.h"
#include "py/running.h"

#include <string.h>

PyObject *
state_import(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return value;
}

int
state_code_has(PyObject *class, const char *method, const char *kind, const char *name)
{
    PyObject *function = PyObject_GetAttrString(class, method);
    PyObject *code = function ? PyObject_GetAttrString(function, "__code__") : NULL;
    PyObject *names = code ? PyObject_GetAttrString(code, kind) : NULL;
    PyObject *string = names ? PyUnicode_FromString(name) : NULL;
    int has = string ? PySequence_Contains(names, string) : -1;
    Py_XDECREF(string);
    Py_XDECREF(names);
    Py_XDECREF(code);
    Py_XDECREF(function);
    if (has < 0 && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* no such method, or one that somebody has replaced before we came */
        return 0;
    }
    return has;
}

bool
state_class_has(PyObject *class, PyObject *name, PyObject *expected)
{
    PyObject *found = PyObject_GetAttr(class, name);
    PyErr_Clear();
    Py_XDECREF(found);
    return found == expected;
}

PyObject *
state_class_borrow(PyObject **slot, const char *module, const char *name)
{
    PyObject *class = COMPAT_LOAD_PUBLISHED(*slot);
    if (AC_UNLIKELY(class == NULL) && (class = state_import(module, name)) != NULL) {
        class = compat_publish_steal(slot, class);
    }
    return class;
}

struct state *
state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &module_def);
    return module ? state_of_module(module) : NULL;
}

int
state_init(struct state *state)
{
    list_init(&state->tasks.head);
    compat_mutex_init(&state->tasks.lock);
    compat_mutex_init(&state->loops_lock);
    compat_mutex_init(&state->monitors_lock);
    list_init(&state->loops);
#define X(name, size) state->name##_freelist.limit = AC_FREELISTS ? size : 0;
    STATE_TYPES(X)
#undef X
    state->next_task_number = 1;
#define X(field, module, attribute)                               \
    if ((state->field = state_import(module, attribute)) == NULL) \
        return -1;
    STATE_IMPORTS(X)
#undef X
#define X(field, class, attribute)                                                \
    if ((state->field = PyObject_GetAttrString(state->class, attribute)) == NULL) \
        return -1;
    STATE_METHODS(X)
#undef X
#define X(field, module, attribute)                                                                      \
    if ((state->field = state_import(module, attribute)) == NULL) {                                      \
        if (!PyErr_ExceptionMatches(PyExc_AttributeError) && !PyErr_ExceptionMatches(PyExc_ImportError)) \
            return -1;                                                                                   \
        PyErr_Clear();                                                                                   \
    }
    STATE_OPTIONAL_IMPORTS(X)
#undef X
#define X(string)                                                            \
    if ((state->str_##string = PyUnicode_InternFromString(#string)) == NULL) \
        return -1;
    STATE_STRINGS(X)
#undef X
    state->context_kwnames = PyTuple_Pack(1, state->str_context);
    state->running_key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    state->minus_one = PyLong_FromLong(-1);
    if (state->context_kwnames == NULL || state->minus_one == NULL || state->running_key == NULL) {
        return -1;
    }
    return stop_iteration_probe(state) < 0 || lazy_context_probe(state) < 0 ? -1 : running_probe(state);
}

int
state_traverse(struct state *state, visitproc visit, void *arg)
{
#define X(name, limit) Py_VISIT(state->name##_type);
    STATE_TYPES(X)
#undef X
#define X(field, class, attribute) Py_VISIT(state->field);
    STATE_METHODS(X)
#undef X
#define X(field, module, attribute) Py_VISIT(state->field);
    STATE_IMPORTS(X)
    STATE_OPTIONAL_IMPORTS(X)
#undef X
#define X(name) Py_VISIT(state->name##_methods);
    STATE_PRIMITIVES(X)
#undef X
    Py_VISIT(state->stream_transport_class);
    Py_VISIT(state->event_class);
    Py_VISIT(state->queue_class);
    Py_VISIT(state->lock_class);
    Py_VISIT(state->condition_class);
    Py_VISIT(state->socket_type);
    Py_VISIT(state->socket_names);
    Py_VISIT(state->timeout_class);
    Py_VISIT(state->task_group_methods);
    Py_VISIT(state->no_variables);
    Py_VISIT(state->spare_context);
    Py_VISIT(state->spare_stop.exception);
    Py_VISIT(state->stock_stream_codes);
    Py_VISIT(state->stock_process_codes);
    Py_VISIT(state->process_feeder);
    Py_VISIT((PyObject *)state->recorder);
    int result = dict_watch_traverse(&state->dict_watch, visit, arg);
    return result ? result : stand_ins_traverse(&state->stand_ins, visit, arg);
}

static PyObject **
next_of(PyObject *dead)
{
    return (PyObject **)(dead + 1);
}

static void
freelist_clear(struct freelist *freelist)
{
    while (freelist->first != NULL) {
        PyObject *self = freelist->first;
        freelist->first = *next_of(self);
        PyObject_GC_Del(self);
    }
    freelist->limit = 0; /* what dies from now on is freed */
}

void
state_clear(struct state *state)
{
    dict_watch_close(state); /* first, for what follows changes dictionaries */
    state->feed_stream = state->feed_process = NULL;
    state->read_ready = NULL;
    stand_ins_clear(&state->stand_ins);
#define X(name, limit)                       \
    freelist_clear(&state->name##_freelist); \
    Py_CLEAR(state->name##_type);
    STATE_TYPES(X)
#undef X
#define X(field, class, attribute) Py_CLEAR(state->field);
    STATE_METHODS(X)
#undef X
#define X(field, module, attribute) Py_CLEAR(state->field);
    STATE_IMPORTS(X)
    STATE_OPTIONAL_IMPORTS(X)
#undef X
#define X(string) Py_CLEAR(state->str_##string);
    STATE_STRINGS(X)
#undef X
#define X(name) Py_CLEAR(state->name##_methods);
    STATE_PRIMITIVES(X)
#undef X
    Py_CLEAR(state->stream_transport_class);
    Py_CLEAR(state->event_class);
    Py_CLEAR(state->queue_class);
    Py_CLEAR(state->lock_class);
    Py_CLEAR(state->condition_class);
    Py_CLEAR(state->socket_type);
    Py_CLEAR(state->socket_names);
    Py_CLEAR(state->timeout_class);
    Py_CLEAR(state->task_group_methods);
    Py_CLEAR(state->context_kwnames);
    Py_CLEAR(state->minus_one);
    Py_CLEAR(state->running_key);
    Py_CLEAR(state->no_variables);
    Py_CLEAR(state->spare_context);
    Py_CLEAR(state->spare_stop.exception);
    Py_CLEAR(state->stock_stream_codes);
    Py_CLEAR(state->stock_process_codes);
    Py_CLEAR(state->process_feeder);
    Py_CLEAR(state->recorder);
}

void
state_free(struct state *state)
{
    state_clear(state);
    size_t alive = 0;
#define X(name, limit) alive += state->name##_freelist.alive;
    STATE_TYPES(X)
#undef X
    if (alive == 0 && !AC_FREE_THREADED) {
        PyMem_RawFree(state);
    }
}

int
state_add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec, PyTypeObject *base)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    return *slot ? 0 : -1;
}

int
state_register_stock(struct state *state, PyTypeObject *type, PyObject *stock)
{
    /* A spec cannot name a metaclass with a __new__ of its own, so the type is given it afterwards, and what that __new__
       would have done is done here.  The object layout is type's. */
    PyObject *plain = (PyObject *)Py_TYPE(type);
    if (plain != state->ABCMeta) {
        Py_SET_TYPE((PyObject *)type, (PyTypeObject *)Py_NewRef(state->ABCMeta));
        PyObject *init = state_import("_abc", "_abc_init");
        PyObject *done = init ? PyObject_CallOneArg(init, (PyObject *)type) : NULL;
        Py_XDECREF(init);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
    }
    PyObject *registered = PyObject_CallMethod((PyObject *)type, "register", "O", stock);
    Py_XDECREF(registered);
    return registered ? 0 : -1;
}

PyObject *
freelist_new(struct freelist *freelist, PyTypeObject *type)
{
    PyObject *self = freelist->first;
    if (AC_LIKELY(self != NULL)) {
        freelist->first = *next_of(self);
        freelist->count--;
        PyObject_Init(self, type); /* and the object's reference to its heap type */
    }
    else {
        self = (PyObject *)PyObject_GC_New(PyObject, type);
    }
    if (AC_LIKELY(self != NULL)) {
        freelist_count(freelist, 1);
        memset(self + 1, 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    }
    return self;
}

PyObject *
freelist_alloc(struct freelist *freelist, PyTypeObject *exact, PyTypeObject *type)
{
    if (type != exact) {
        PyObject *derived = type->tp_alloc(type, 0);
        freelist_count(freelist, derived != NULL);
        return derived;
    }
    PyObject *self = freelist_new(freelist, type);
    if (self != NULL) {
        PyObject_GC_Track(self);
    }
    return self;
}

void
freelist_free(struct freelist *freelist, PyTypeObject *type, PyObject *self)
{
    PyTypeObject *own = Py_TYPE(self);
    freelist_count(freelist, -1);
    /* What the collector has finalized once it will not finalize again: such memory starts no new life. */
    if (AC_LIKELY(own == type && freelist->count < freelist->limit && !PyObject_GC_IsFinalized(self))) {
        *next_of(self) = freelist->first;
        freelist->first = self;
        freelist->count++;
        Py_DECREF(own);
        return;
    }
    own->tp_free(self);
    Py_DECREF(own);
}
