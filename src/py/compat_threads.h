/* The part of compat.h for threads that run at the same time: Pythons without a GIL, from 3.13 on.  Layer: py.

   With a GIL all of this is nothing but compat_try_incref(), and what it guards costs nothing.  Private: how a thread keeps its critical
   sections and what the bits of a PyMutex say (all of compat_section_*, compat_after_fork), the two counts of a reference
   (compat_try_incref, compat_is_unique), what makes an object immortal before 3.15 (compat_immortalize), and the number of a thread
   (compat_thread).  All of it is what public headers show, the same from 3.13 to 3.15.  Nothing proves it for a later Python: there the
   module does not say that it can be without a GIL, so that its import switches that on. */
#ifndef AC_PY_COMPAT_THREADS_H
#define AC_PY_COMPAT_THREADS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdbool.h>

#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x03100000
#define AC_FREE_THREADED 1
#define AC_MODULE_GIL_SLOT { Py_mod_gil, Py_MOD_GIL_NOT_USED },
#else
#define AC_FREE_THREADED 0
#define AC_MODULE_GIL_SLOT
#endif

/* Without a GIL two threads could meet in a freelist; the stress build wants each object to be new. */
#if defined(Py_GIL_DISABLED) || defined(ASYNCIO_C_STRESS)
#define AC_FREELISTS 0
#else
#define AC_FREELISTS 1
#endif

#if AC_FREE_THREADED

/* ---- Words and locks ---- */

/* A word that other threads write or read at any time, and by which nothing else is published. */
#define COMPAT_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define COMPAT_STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define COMPAT_ADD(place, number) __atomic_add_fetch(&(place), (number), __ATOMIC_RELAXED)
/* A word by which what was written before is published; an object that some thread puts in a place for all others, once. */
#define COMPAT_LOAD_PUBLISHED(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define COMPAT_STORE_PUBLISHED(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)
/* What was there; from now on it is `value`. */
#define COMPAT_EXCHANGE(place, value) __atomic_exchange_n(&(place), (value), __ATOMIC_ACQ_REL)
/* Whether the word was *expected, and is `value` from now on; if not, *expected is what it was. */
#define COMPAT_EXCHANGE_IF(place, expected, value) \
    __atomic_compare_exchange_n(&(place), (expected), (value), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
/* A word by which what was written before is published, once; and true if this was the first. */
#define COMPAT_PUBLISH(place, value) COMPAT_EXCHANGE_IF(place, &(__typeof__(place)){ 0 }, value)
/* A count of references: how many are left. */
#define COMPAT_GIVE_BACK(place) __atomic_sub_fetch(&(place), 1, __ATOMIC_ACQ_REL)
/* Between fields of a structure that should not share a line of the cache. */
#define COMPAT_APART(name) char apart_##name[64]

/* Not PyMutex: who waits for that lets go of all critical sections, in the middle of what they guard.  Whoever holds one of these
   calls nothing that could wait, nor Python. */
typedef pthread_mutex_t compat_mutex;
#define compat_mutex_init(mutex) ((void)pthread_mutex_init((mutex), NULL))
#define compat_mutex_lock(mutex) ((void)pthread_mutex_lock(mutex))
#define compat_mutex_unlock(mutex) ((void)pthread_mutex_unlock(mutex))
/* Whoever waits for this one does let go of them. */
typedef PyMutex compat_parking_mutex;
#define compat_parking_mutex_lock(mutex) PyMutex_Lock(mutex)
#define compat_parking_mutex_unlock(mutex) PyMutex_Unlock(mutex)

/* Tells the threads that are alive apart; not 0. */
static inline uintptr_t
compat_thread(void)
{
    return _Py_ThreadId();
}

/* ---- Critical sections ---- */

/* There is no public way to ask whether a section is held, nor to begin it only where nobody has to be waited for.

   A thread has a list of them.  One that lets go of its thread state, or is stopped, gives all of them up, and comes back with the
   first of the list alone; the next one it takes again at the end of that.  The lowest bit of the pointer to one says that it is given up,
   and then so are those that follow. */
typedef PyCriticalSection compat_section;
#define compat_section_begin PyCriticalSection_Begin
#define compat_section_end PyCriticalSection_End

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

/* Whether the section of `object` is the one that this thread has begun last, and is not given up. */
static inline bool
compat_section_holds_first(PyObject *object)
{
    uintptr_t tag = PyThreadState_GetUnchecked()->critical_section;
    return tag != 0 && (tag & 1) == 0 && ((PyCriticalSection *)(tag & ~(uintptr_t)3))->_cs_mutex == &object->ob_mutex;
}

/* Whether `section`, which may be 0, is the one that this thread has begun last, and is not given up. */
static inline bool
compat_section_is_first(uintptr_t section)
{
    return section != 0 && PyThreadState_GetUnchecked()->critical_section == section;
}

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

/* In a forked child: what a thread that is not there any more has locked is not locked. */
static inline void
compat_after_fork(PyObject *object, bool lost)
{
    if (lost) {
        object->ob_mutex = (PyMutex){ 0 };
    }
}

/* Whether a thread sleeps that wants the section: the second bit, to which the headers give no name.  Those are the ones that have been
   in it, and come back from what they have given it up for. */
static inline bool
compat_section_is_missed(PyObject *object)
{
    return (__atomic_load_n(&object->ob_mutex._bits, __ATOMIC_RELAXED) & (_Py_LOCKED << 1)) != 0;
}

/* Whether a forked child may stop the world.  On 3.13 a thread of the parent that was about to do that itself, and waited for the
   fork to end, has locked first what it waits with: nobody unlocks that in the child, which then hangs. */
#define COMPAT_CHILD_STOPS_THE_WORLD (PY_VERSION_HEX >= 0x030E0000)

/* ---- References ---- */

/* From now on nobody counts the references to the object, and it is never freed.  What all threads use all the time, as a type, a
   method, a function, would be a counter that they take from each other each time.  3.15 has it in public. */
static inline void
compat_immortalize(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030F0000
    (void)PyUnstable_SetImmortal(object);
#else
    if (object->ob_ref_local != _Py_IMMORTAL_REFCNT_LOCAL) {
        object->ob_tid = _Py_UNOWNED_TID;
        object->ob_ref_local = _Py_IMMORTAL_REFCNT_LOCAL;
        object->ob_ref_shared = 0;
    }
#endif
}

/* compat_try_incref() holds an object which is known to exist, but may be dying in another thread: true with a reference, unless it is.
   Who makes the object says first that this will be asked, by compat_enable_try_incref().  Both counts are seen: the thread that made
   the object counts for itself, all others in a word that says how the two stand to each other. */
#if PY_VERSION_HEX >= 0x030E0000
#define compat_enable_try_incref PyUnstable_EnableTryIncRef
#define compat_try_incref PyUnstable_TryIncRef
#define compat_is_unique(object) (PyUnstable_Object_IsUniquelyReferenced(object) != 0)
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

static inline bool
compat_is_unique(PyObject *object)
{
    return _Py_IsOwnedByCurrentThread(object) && __atomic_load_n(&object->ob_ref_local, __ATOMIC_RELAXED) == 1
           && __atomic_load_n(&object->ob_ref_shared, __ATOMIC_RELAXED) == 0;
}
#endif

/* list[index], which is there unless another thread has taken it away meanwhile: a new reference, or NULL with IndexError. */
#define compat_list_get PyList_GetItemRef

#else

/* ---- With a GIL ---- */

#define COMPAT_LOAD(place) (place)
#define COMPAT_STORE(place, value) ((void)((place) = (value)))
#define COMPAT_ADD(place, number) ((place) += (number))
#define COMPAT_LOAD_PUBLISHED(place) (place)
#define COMPAT_EXCHANGE_IF(place, expected, value) \
    ((place) == *(expected) ? ((place) = (value), true) : (*(expected) = (place), false))
#define COMPAT_PUBLISH(place, value) ((place) == 0 && ((place) = (value), true))
#define COMPAT_GIVE_BACK(place) (--(place))
#define COMPAT_APART(name)

typedef struct {
    char nothing;
} compat_mutex;
#define compat_mutex_init(mutex) ((void)(mutex))
#define compat_mutex_lock(mutex) ((void)(mutex))
#define compat_mutex_unlock(mutex) ((void)(mutex))
typedef struct {
    char nothing;
} compat_section;
#define compat_section_begin(section, object) ((void)(section), (void)(object))
#define compat_section_end(section) ((void)(section))
#define compat_thread() ((uintptr_t)1)
#define compat_immortalize(object) ((void)(object))
#define compat_enable_try_incref(object) ((void)(object))
#define compat_is_unique(object) (Py_REFCNT(object) == 1)
#define compat_list_get(list, index) Py_NewRef(PyList_GET_ITEM(list, index))

/* What its deallocator runs, from the attributes of a class of Python on, may be any Python, and lets other threads in. */
static inline bool
compat_try_incref(PyObject *object)
{
    if (Py_REFCNT(object) == 0) {
        return false;
    }
    Py_INCREF(object);
    return true;
}

#endif

/* Puts `object` into `*place`, unless something has come there meanwhile.  Takes it.  Returns what is there, borrowed. */
static inline PyObject *
compat_publish_steal(PyObject **place, PyObject *object)
{
    PyObject *first = NULL;
    if (COMPAT_EXCHANGE_IF(*place, &first, object)) {
        return object;
    }
    Py_DECREF(object);
    return first;
}

#endif
