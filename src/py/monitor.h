/* What guards an object that may be used before it belongs to a loop, and by the threads of several loops.  Layer: py.

   One thread is in its methods at a time, as deeply as it likes.  Unlike a critical section a monitor is kept while that thread
   waits for something else, and a thread that waits for it lets go of its loop meanwhile.  So nobody is in one who calls what a
   program has written, which may take a lock that another thread holds while that one waits for the monitor: with a GIL the other
   one would be let in.  A thread steps out around such calls, from all its methods at once, and of all the monitors that it is in: a
   condition calls its lock, a barrier its condition.  What it calls so can change anything, as with a GIL.

   A program's are: methods that may be overridden, comparisons, iterators of anything but a plain container, functions in Python
   of asyncio's own, which a program may trace, and finalizers, so that what was in a field is let go of by MONITOR_SET().

   In a forked child those who were in a monitor are not there any more, but for the thread that has forked: where it is used there for
   the first time, it is free.

   With a GIL nothing of this exists. */
#ifndef AC_PY_MONITOR_H
#define AC_PY_MONITOR_H

#include "base/macros.h"
#include "py/state.h"

#if AC_FREE_THREADED
/* Zeroed: free. */
struct monitor {
    compat_parking_mutex mutex;
    unsigned generation; /* state->fork_generation of the process that has used it last: private */
    uintptr_t thread;    /* compat_thread() of who is in it; 0: nobody */
};

/* First in a function: until it returns nobody else is in the monitor. */
struct monitor_guard {
    struct monitor *monitor; /* NULL: the thread was in it already */
    struct state *state;
    struct monitor_guard *outer; /* by which the same thread is in the monitor that it has entered before; or NULL */
};

/* Those of this thread, from the last one on. */
extern _Thread_local struct monitor_guard *monitor_guards;

/* In a forked child: those that this thread is in stay its own. */
void monitors_after_fork(struct state *state);
void monitor_leave_parent(struct monitor *monitor, struct state *state);

static inline void
monitor_settle(struct monitor *monitor, struct state *state)
{
    if (AC_UNLIKELY(COMPAT_LOAD_PUBLISHED(monitor->generation) != (unsigned)state->fork_generation)) {
        monitor_leave_parent(monitor, state);
    }
}

static inline void
monitor_enter(struct monitor *monitor)
{
    compat_parking_mutex_lock(&monitor->mutex);
    COMPAT_STORE(monitor->thread, compat_thread());
}

static inline void
monitor_leave(struct monitor *monitor)
{
    COMPAT_STORE(monitor->thread, 0);
    compat_parking_mutex_unlock(&monitor->mutex);
}

static inline void
monitor_guard_begin(struct monitor_guard *guard, struct monitor *monitor, struct state *state)
{
    guard->monitor = NULL;
    monitor_settle(monitor, state);
    if (AC_LIKELY(COMPAT_LOAD(monitor->thread) != compat_thread())) {
        monitor_enter(monitor);
        *guard = (struct monitor_guard){ monitor, state, monitor_guards };
        monitor_guards = guard;
    }
}

static inline void
monitor_guard_end(struct monitor_guard *guard)
{
    if (AC_LIKELY(guard->monitor != NULL)) {
        monitor_guards = guard->outer;
        monitor_leave(guard->monitor);
    }
}

/* Of an object with the fields `monitor` and `state`. */
#define MONITOR_GUARD(self)                                                          \
    __attribute__((cleanup(monitor_guard_end))) struct monitor_guard monitor_guard_; \
    monitor_guard_begin(&monitor_guard_, &(self)->monitor, (self)->state)

/* Leaves all monitors, and returns by which guards the thread was in them. */
static inline struct monitor_guard *
monitor_step_out(void)
{
    struct monitor_guard *guards = monitor_guards;
    for (struct monitor_guard *guard = guards; guard != NULL; guard = guard->outer) {
        monitor_leave(guard->monitor);
    }
    monitor_guards = NULL;
    return guards;
}

/* Enters them again, in the order in which it had entered them. */
void monitor_step_in(struct monitor_guard **guards);

/* In a block, around a call of what a program may have written: until its end this thread is in no monitor, and in them again
   afterwards.  Needs: somebody holds what they guard. */
#define MONITOR_OUTSIDE() \
    __attribute__((unused, cleanup(monitor_step_in))) struct monitor_guard *monitor_outside_ = monitor_step_out()

/* Puts `value`, which it takes, or NULL, into a field, and lets go of what was there.  Runs Python. */
static inline void
monitor_set_steal(PyObject **place, PyObject *value)
{
    PyObject *old = *place;
    *place = value;
    if (old != NULL && old != Py_None) {
        MONITOR_OUTSIDE();
        Py_DECREF(old);
    }
}
#define MONITOR_SET(place, value) monitor_set_steal(&(place), value)
#else
#define MONITOR_GUARD(self) ((void)0)
#define MONITOR_OUTSIDE() ((void)0)
#define MONITOR_SET(place, value) Py_XSETREF(place, value)
#endif

#endif
