/* What differs between the CPythons that we build for, and every use of a private name.  Layer: py.

   With compat_threads.h, which it brings, the only file that asks for PY_VERSION_HEX.  The AC_PYnnn constants are for plain
   `if`s in the code that follows a version's behaviour.  Private: the layout of a context (compat_context), where a thread keeps
   its running loop and current task (compat_running), the exception that another thread has set in it
   (compat_async_exception_is_set), how a method is found (compat_has_method), and the version of a class (compat_type_version). */
#ifndef AC_PY_COMPAT_H
#define AC_PY_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "py/compat_threads.h"

#include <frameobject.h>
#include <stdbool.h>
#include <string.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030B0000
#error "asyncio_c needs CPython 3.11 or newer"
#endif

enum {
    AC_PY312 = PY_VERSION_HEX >= 0x030C0000,
    AC_PY313 = PY_VERSION_HEX >= 0x030D0000,
    AC_PY314 = PY_VERSION_HEX >= 0x030E0000,
    AC_PY315 = PY_VERSION_HEX >= 0x030F0000,
};

/* What else Task() takes, as its signature has it. */
#if PY_VERSION_HEX >= 0x030C0000
#define COMPAT_TASK_EAGER_START ", eager_start=False"
#else
#define COMPAT_TASK_EAGER_START ""
#endif

/* 3.11 keeps the running loop in the dictionary of the thread state, wrapped in an object that is new for each
   _set_running_loop().  Its _get_running_loop() makes a system call, getpid(), each time; looking at the wrapper tells
   whether the answer is still the same.  Should the key go away, the lookup finds nothing and the function is called. */
#if PY_VERSION_HEX < 0x030C0000
static inline PyObject *
compat_running_holder_borrow(PyObject *key)
{
    PyObject *dict = PyThreadState_GetDict();
    return dict ? PyDict_GetItemWithError(dict, key) : NULL;
}
#else
static inline PyObject *
compat_running_holder_borrow(PyObject *Py_UNUSED(key))
{
    return NULL;
}
#endif

/* Private: the references that a thread's asyncio keeps behind the public part of its thread state, the loop from 3.13 on and
   the task from 3.14 on.  The public way to them is a call from module to module for each change of task and each sleep().
   py/running.c looks for the place, in as many words as the structure has at least, and tries it before anybody uses it;
   where there is no such place the functions are called. */
struct compat_running {
    PyObject *loop;
    PyObject *task;
};

enum {
#if PY_VERSION_HEX >= 0x03100000 || PY_VERSION_HEX < 0x030D0000
    COMPAT_RUNNING_WORDS = 0,
#elif PY_VERSION_HEX >= 0x030F0000
    COMPAT_RUNNING_WORDS = 20,
#elif PY_VERSION_HEX >= 0x030E0000
    COMPAT_RUNNING_WORDS = 8,
#else
    COMPAT_RUNNING_WORDS = 1,
#endif
};

/* Private: the head of the structure of a contextvars.Context, the same from 3.11 to 3.15.  py/context.c reads the immutable
   mapping that a context points to, and gives a context which it made itself another one; there is no public way to do
   either.  It asks compat_context_is_known() first, on which everything else depends: with a later Python, or without a
   GIL, or should the sizes differ, contexts are copied at once as everywhere else. */
struct compat_context {
    PyObject_HEAD
    PyObject *previous;
    PyObject *variables;
    PyObject *weakrefs;
    int entered;
};

static inline PyObject **
compat_context_variables(PyObject *context)
{
    return &((struct compat_context *)context)->variables;
}

static inline int
compat_context_is_known(PyObject *context)
{
#if PY_VERSION_HEX >= 0x03100000 || AC_FREE_THREADED
    (void)context;
    return 0;
#else
    struct compat_context *layout = (struct compat_context *)context;
    return Py_TYPE(context)->tp_basicsize == (Py_ssize_t)sizeof(*layout) && layout->previous == NULL
           && layout->variables != NULL && strcmp(Py_TYPE(layout->variables)->tp_name, "hamt") == 0;
#endif
}

/* Not entered, and without weak references. */
static inline int
compat_context_is_plain(PyObject *context)
{
    struct compat_context *layout = (struct compat_context *)context;
    return layout->previous == NULL && layout->weakrefs == NULL && !layout->entered;
}

/* The thread's current context, NULL before there is one. */
static inline PyObject *
compat_current_context_borrow(void)
{
    return PyThreadState_Get()->context;
}

/* Private: that another thread has set an exception in this one, PyThreadState_SetAsyncExc().  It is a field of the public
   header, but of no documented structure; only the interpreter's own look is public, which it takes as it runs bytecode. */
static inline int
compat_async_exception_is_set(void)
{
    return COMPAT_LOAD(PyThreadState_Get()->async_exc) != NULL;
}

/* 3.12 gave the current exception as one object. */
#if PY_VERSION_HEX < 0x030C0000
static inline PyObject *
compat_exception_take(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static inline void
compat_exception_restore_steal(PyObject *exception)
{
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
}
#else
#define compat_exception_take PyErr_GetRaisedException
#define compat_exception_restore_steal PyErr_SetRaisedException
#endif

/* dict[key], for a dictionary that other threads may change meanwhile: a new reference.  NULL: there is none, or with an
   exception. */
static inline PyObject *
compat_dict_get(PyObject *dict, PyObject *key)
{
#if PY_VERSION_HEX < 0x030D0000
    return Py_XNewRef(PyDict_GetItemWithError(dict, key));
#else
    PyObject *value;
    (void)PyDict_GetItemRef(dict, key, &value);
    return value;
#endif
}

/* Whether `object` is what the weak reference refers to. */
static inline int
compat_weakref_is(PyObject *weakref, PyObject *object)
{
#if PY_VERSION_HEX < 0x030D0000
    return PyWeakref_GetObject(weakref) == object;
#else
    PyObject *referent;
    int found = PyWeakref_GetRef(weakref, &referent);
    Py_XDECREF(referent);
    return found > 0 && referent == object;
#endif
}

/* What the weak reference refers to: a new reference, or NULL without an exception where it has died. */
static inline PyObject *
compat_weakref_get(PyObject *weakref)
{
#if PY_VERSION_HEX < 0x030D0000
    PyObject *referent = PyWeakref_GetObject(weakref);
    return referent != Py_None ? Py_NewRef(referent) : NULL;
#else
    PyObject *referent;
    (void)PyWeakref_GetRef(weakref, &referent);
    return referent;
#endif
}

/* From 3.13.3 on loop.create_task() passes keywords that it does not know on to the task. */
static inline int
compat_create_task_takes_eager_start(void)
{
    return Py_Version >= 0x030D0300;
}

/* 3.12 tells of changes of dictionaries, and has a way to the dictionary of a type.  Before, each dictionary has a version, new
   for each change. */
#if PY_VERSION_HEX < 0x030C0000
#define COMPAT_DICT_WATCHERS 0
#define compat_type_dict_borrow(type) ((type)->tp_dict)

static inline uint64_t
compat_dict_version(PyObject *dict)
{
    return ((PyDictObject *)dict)->ma_version_tag;
}
#else
#define COMPAT_DICT_WATCHERS 1
#define compat_dict_version(dict) ((void)(dict), (uint64_t)0)

/* The type keeps it alive. */
static inline PyObject *
compat_type_dict_borrow(PyTypeObject *type)
{
    PyObject *dict = PyType_GetDict(type);
    Py_XDECREF(dict);
    return dict;
}
#endif

/* Whether only the interpreter's stack holds the object: nobody has it any more when the call has returned that it is given to.  From
   3.14 on the stack may borrow what a local variable holds. */
static inline bool
compat_is_temporary(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniqueReferencedTemporary(object) != 0;
#else
    return Py_REFCNT(object) == 1;
#endif
}

/* Private: a number that no two types have at the same time, and that changes with the type and its bases; 0: none was given
   out, or it is not known to be so.  (Anything that has come from an older number is then found out anew.) */
static inline unsigned
compat_type_version(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x03100000
    (void)type;
    return 0;
#else
    return COMPAT_LOAD(type->tp_version_tag);
#endif
}

/* What was found out about a type is good for this version of it: 0, none, if another thread may have changed it meanwhile. */
static inline unsigned
compat_type_version_since(PyTypeObject *type, unsigned before)
{
    unsigned version = compat_type_version(type);
#if AC_FREE_THREADED
    return version == before ? version : 0;
#else
    (void)before;
    return version; /* which the search has made, if there was none */
#endif
}

/* Private: _PyObject_GetMethod(), by which the interpreter finds what `object.name()` calls without making a bound method of it, in
   the headers up to 3.12 and in those of the interpreter itself since.  Whether the method is `function`, that of the class, and the
   object has no attribute that hides it.  The object's dictionary, which would tell, is not asked for: in 3.11 and 3.12 objects
   have none until then, and attributes cost Python more from then on. */
#if PY_VERSION_HEX >= 0x03100000
static inline bool
compat_has_method(PyObject *object, PyObject *name, PyObject *function)
{
    PyObject *method = PyObject_GetAttr(object, name);
    bool same = method != NULL && PyMethod_Check(method) && PyMethod_GET_FUNCTION(method) == function
                && PyMethod_GET_SELF(method) == object;
    Py_XDECREF(method);
    PyErr_Clear();
    return same;
}
#else
PyAPI_FUNC(int) _PyObject_GetMethod(PyObject *object, PyObject *name, PyObject **method);

static inline bool
compat_has_method(PyObject *object, PyObject *name, PyObject *function)
{
    PyObject *method = NULL;
    bool unbound = _PyObject_GetMethod(object, name, &method) != 0;
    bool same = unbound && method == function;
    Py_XDECREF(method);
    if (method == NULL) {
        PyErr_Clear();
    }
    return same;
}
#endif

/* Whether calls of this thread are profiled, by sys.setprofile() or in C.  A field that headers show and the documentation does
   not; without it pyinstrument counts all waiting as work. */
static inline bool
compat_profiles(void)
{
    return PyThreadState_Get()->c_profilefunc != NULL;
}

/* 3.12 asks a module whether it can live in several interpreters, each with a GIL of its own: nothing is shared. */
#if PY_VERSION_HEX < 0x030C0000
#define AC_MODULE_SLOTS
#else
#define AC_MODULE_SLOTS { Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED }, AC_MODULE_GIL_SLOT
#endif

#endif
