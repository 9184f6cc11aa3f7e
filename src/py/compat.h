/* What differs between the CPythons that we build for, and every use of a private name.  Layer: py.

   The only file that asks for PY_VERSION_HEX.  The AC_PYnnn constants are for plain `if`s in the code that follows a
   version's behaviour.  Private: the layout of a context (compat_context), where a thread keeps its running loop and current
   task (compat_running), the exception that another thread has set in it (compat_async_exception_is_set), how a method is found
   (compat_has_method), and the version of a class (compat_type_version). */
#ifndef AC_PY_COMPAT_H
#define AC_PY_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <frameobject.h>
#include <pthread.h>
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

/* Without a GIL two threads could meet in a freelist; the stress build wants each object to be new. */
#if defined(Py_GIL_DISABLED) || defined(ASYNCIO_C_STRESS)
#define AC_FREELISTS 0
#else
#define AC_FREELISTS 1
#endif

/* Whether threads run at the same time: the free-threaded build, from 3.13 on.  With a GIL all of this is nothing, and what it
   guards costs nothing. */
#ifdef Py_GIL_DISABLED
#define AC_FREE_THREADED 1
/* Not PyMutex: who waits for that lets go of all critical sections, in the middle of what they guard.  Whoever holds one of these
   calls nothing that could wait, nor Python. */
typedef pthread_mutex_t compat_mutex;
typedef PyCriticalSection compat_section;
/* Whoever waits for this one does let go of them. */
typedef PyMutex compat_parking_mutex;
#define compat_parking_mutex_lock(mutex) PyMutex_Lock(mutex)
#define compat_parking_mutex_unlock(mutex) PyMutex_Unlock(mutex)
#define compat_mutex_init(mutex) ((void)pthread_mutex_init((mutex), NULL))
#define compat_mutex_lock(mutex) ((void)pthread_mutex_lock(mutex))
#define compat_mutex_unlock(mutex) ((void)pthread_mutex_unlock(mutex))
#define compat_section_begin PyCriticalSection_Begin
#define compat_section_end PyCriticalSection_End
/* A word that other threads write or read at any time, and by which nothing else is published. */
#define COMPAT_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define COMPAT_STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define COMPAT_ADD(place, number) __atomic_add_fetch(&(place), (number), __ATOMIC_RELAXED)
/* Between fields of a structure that should not share a line of the cache. */
#define COMPAT_APART(name) char apart_##name[64]
/* An object that some thread puts in a place for all others, once. */
#define COMPAT_LOAD_PUBLISHED(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
/* Whether the word was *expected, and is `value` from now on; if not, *expected is what it was. */
#define COMPAT_EXCHANGE_IF(place, expected, value) \
    __atomic_compare_exchange_n(&(place), (expected), (value), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
/* A count of references: how many are left. */
#define COMPAT_GIVE_BACK(place) __atomic_sub_fetch(&(place), 1, __ATOMIC_ACQ_REL)
/* A word by which what was written before is published, once; and true if this was the first. */
#define COMPAT_PUBLISH(place, value) \
    __atomic_compare_exchange_n(&(place), &(__typeof__(place)){ 0 }, (value), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define AC_FREE_THREADED 0
#define COMPAT_APART(name)
typedef struct {
    char nothing;
} compat_mutex;
typedef struct {
    char nothing;
} compat_section;
#define compat_mutex_init(mutex) ((void)(mutex))
#define compat_mutex_lock(mutex) ((void)(mutex))
#define compat_mutex_unlock(mutex) ((void)(mutex))
#define compat_section_begin(section, object) ((void)(section), (void)(object))
#define compat_section_end(section) ((void)(section))
#define COMPAT_LOAD(place) (place)
#define COMPAT_STORE(place, value) ((void)((place) = (value)))
#define COMPAT_ADD(place, number) ((place) += (number))
#define COMPAT_LOAD_PUBLISHED(place) (place)
#define COMPAT_EXCHANGE_IF(place, expected, value) ((void)(expected), (place) = (value), true)
#define COMPAT_GIVE_BACK(place) (--(place))
#define COMPAT_PUBLISH(place, value) ((place) == 0 && ((place) = (value), true))
#endif

/* Puts `object` into `*place`, unless something has come there meanwhile.  Takes it.  Returns what is there, borrowed. */
static inline PyObject *
compat_publish_steal(PyObject **place, PyObject *object)
{
    PyObject *first = NULL;
#ifdef Py_GIL_DISABLED
    if (__atomic_compare_exchange_n(place, &first, object, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return object;
    }
#else
    if ((first = *place) == NULL) {
        return *place = object;
    }
#endif
    Py_DECREF(object);
    return first;
}

#ifdef Py_GIL_DISABLED
/* Private: how a thread keeps its critical sections, the same in 3.13 and 3.14, and what the bits of a PyMutex say.  There is no
   public way to ask whether a section is held, nor to begin it only where nobody has to be waited for.

   A thread has a list of them.  One that lets go of its thread state, or is stopped, gives all of them up, and comes back with the
   first of the list alone; the next one it takes again at the end of that.  The lowest bit of the pointer to one says that it is given up,
   and then so are those that follow. */
static inline bool
compat_section_holds(PyObject *object)
{
    uintptr_t tag = PyThreadState_GetUnchecked()->critical_section;
    while (tag != 0 && (tag & 1) == 0) {
        PyCriticalSection *section = (PyCriticalSection *)(tag & ~(uintptr_t)3);
        if (section->_cs_mutex == &object->ob_mutex) {
            return true;
        }
        tag = section->_cs_prev;
    }
    return false;
}

/* Whether `section`, which may be 0, is the one that this thread has begun last, and is not given up. */
static inline bool
compat_section_is_first(uintptr_t section)
{
    return section != 0 && PyThreadState_GetUnchecked()->critical_section == section;
}

/* Whether a forked child may stop the world.  On 3.13 a thread of the parent that was about to do that itself, and waited for the
   fork to end, has locked first what it waits with: nobody unlocks that in the child, which then hangs. */
#define COMPAT_CHILD_STOPS_THE_WORLD (PY_VERSION_HEX >= 0x030E0000)

/* Begins the section, if nobody else has it.  The thread has to be without it. */
static inline bool
compat_section_try_begin(compat_section *section, PyObject *object)
{
    uint8_t bits = __atomic_load_n(&object->ob_mutex._bits, __ATOMIC_RELAXED);
    do {
        if (bits & _Py_LOCKED) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&object->ob_mutex._bits, &bits, (uint8_t)(bits | _Py_LOCKED), false,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    PyThreadState *thread = PyThreadState_GetUnchecked();
    section->_cs_mutex = &object->ob_mutex;
    section->_cs_prev = thread->critical_section;
    thread->critical_section = (uintptr_t)section;
    return true;
}
#endif

/* From now on nobody counts the references to the object, and it is never freed.  What all threads use all the time, as a type, a
   method, a function, would be a counter that they take from each other each time.  3.15 has it in public; before, it is what the
   headers call immortal.  With a GIL it is nothing. */
static inline void
compat_immortalize(PyObject *object)
{
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030F0000
    (void)PyUnstable_SetImmortal(object);
#elif defined(Py_GIL_DISABLED)
    if (object->ob_ref_local != _Py_IMMORTAL_REFCNT_LOCAL) {
        object->ob_tid = _Py_UNOWNED_TID;
        object->ob_ref_local = _Py_IMMORTAL_REFCNT_LOCAL;
        object->ob_ref_shared = 0;
    }
#else
    (void)object;
#endif
}

/* Tells the threads that are alive apart; not 0. */
static inline uintptr_t
compat_thread(void)
{
#ifdef Py_GIL_DISABLED
    return _Py_ThreadId();
#else
    return 1;
#endif
}

/* In a forked child: what a thread that is not there any more has locked is not locked. */
static inline void
compat_after_fork(PyObject *object, bool lost)
{
#ifdef Py_GIL_DISABLED
    if (lost) {
        object->ob_mutex = (PyMutex){ 0 };
    }
#else
    (void)object;
    (void)lost;
#endif
}

/* Holds an object which is known to exist, but may be dying in another thread: true with a reference, unless it is.  Who makes
   the object says first that this will be asked.  3.14 has it in public; before, by the two counts of a reference, as the headers
   show them: the thread that made the object counts for itself, all others in a word that says how the two stand to each other. */
#if !defined(Py_GIL_DISABLED)
#define compat_enable_try_incref(object) ((void)(object))
static inline bool
compat_try_incref(PyObject *object)
{
    Py_INCREF(object);
    return true;
}
#elif PY_VERSION_HEX >= 0x030E0000
#define compat_enable_try_incref PyUnstable_EnableTryIncRef
#define compat_try_incref PyUnstable_TryIncRef
#else
/* _Py_REF_MAYBE_WEAKREF: from now on the last reference is given back by a change of that word, which somebody who has come first
   makes fail. */
static inline void
compat_enable_try_incref(PyObject *object)
{
    Py_ssize_t shared = __atomic_load_n(&object->ob_ref_shared, __ATOMIC_RELAXED);
    while ((shared & _Py_REF_SHARED_FLAG_MASK) == 0
           && !__atomic_compare_exchange_n(&object->ob_ref_shared, &shared, shared | _Py_REF_MAYBE_WEAKREF, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static inline bool
compat_try_incref(PyObject *object)
{
    if (_Py_IsOwnedByCurrentThread(object)) {
        uint32_t local = __atomic_load_n(&object->ob_ref_local, __ATOMIC_RELAXED);
        if (local > 0) {
            if (local != _Py_IMMORTAL_REFCNT_LOCAL) {
                __atomic_store_n(&object->ob_ref_local, local + 1, __ATOMIC_RELAXED);
            }
            return true;
        }
    }
    Py_ssize_t shared = __atomic_load_n(&object->ob_ref_shared, __ATOMIC_RELAXED);
    do {
        if (shared == 0 || shared == _Py_REF_MERGED) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&object->ob_ref_shared, &shared, shared + (1 << _Py_REF_SHARED_SHIFT), false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return true;
}
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
#if PY_VERSION_HEX >= 0x03100000 || defined(Py_GIL_DISABLED)
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

/* Whether nobody else holds the object. */
static inline bool
compat_is_unique(PyObject *object)
{
#if !defined(Py_GIL_DISABLED)
    return Py_REFCNT(object) == 1;
#elif PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniquelyReferenced(object) != 0;
#else
    return _Py_IsOwnedByCurrentThread(object) && __atomic_load_n(&object->ob_ref_local, __ATOMIC_RELAXED) == 1
           && __atomic_load_n(&object->ob_ref_shared, __ATOMIC_RELAXED) == 0;
#endif
}

/* list[index], which is there unless another thread has taken it away meanwhile: a new reference, or NULL with IndexError. */
static inline PyObject *
compat_list_get(PyObject *list, Py_ssize_t index)
{
#ifdef Py_GIL_DISABLED
    return PyList_GetItemRef(list, index);
#else
    return Py_NewRef(PyList_GET_ITEM(list, index));
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
#ifdef Py_GIL_DISABLED
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

#ifdef Py_GIL_DISABLED
#define AC_MODULE_GIL_SLOT { Py_mod_gil, Py_MOD_GIL_NOT_USED },
#else
#define AC_MODULE_GIL_SLOT
#endif

/* 3.12 asks a module whether it can live in several interpreters, each with a GIL of its own: nothing is shared. */
#if PY_VERSION_HEX < 0x030C0000
#define AC_MODULE_SLOTS
#else
#define AC_MODULE_SLOTS { Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED }, AC_MODULE_GIL_SLOT
#endif

#endif
