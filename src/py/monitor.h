/* What guards an object that may be used before it belongs to a loop, and by the threads of several loops.  Layer: py.

   One thread is in its methods at a time, as deeply as it likes.  Unlike a critical section a monitor is kept while that thread
   waits for something else, and a thread that waits for it lets go of its loop meanwhile.  So nobody is in it who calls what a
   program has written, which may take a lock that another thread holds while that one waits for the monitor: with a GIL the other
   one would be let in.  A thread steps out around such calls, from all its methods at once.

   With a GIL nothing of this exists. */
#ifndef AC_PY_MONITOR_H
#define AC_PY_MONITOR_H

#include "py/compat.h"

#if AC_FREE_THREADED
/* Zeroed: free. */
struct monitor {
    compat_parking_mutex mutex;
    uintptr_t thread; /* compat_thread() of who is in it; 0: nobody */
};

static inline bool
monitor_is_inside(const struct monitor *monitor)
{
    return COMPAT_LOAD(monitor->thread) == compat_thread();
}

/* Returns whether it was not in it already: then, and only then, monitor_leave() has to follow. */
static inline bool
monitor_enter(struct monitor *monitor)
{
    bool enters = !monitor_is_inside(monitor);
    if (AC_LIKELY(enters)) {
        compat_parking_mutex_lock(&monitor->mutex);
        COMPAT_STORE(monitor->thread, compat_thread());
    }
    return enters;
}

static inline void
monitor_leave(struct monitor *monitor)
{
    COMPAT_STORE(monitor->thread, 0);
    compat_parking_mutex_unlock(&monitor->mutex);
}

/* First in a function: until it returns nobody else is in the monitor. */
struct monitor_guard {
    struct monitor *monitor; /* NULL: the thread was in it already */
};

static inline void
monitor_guard_end(struct monitor_guard *guard)
{
    if (guard->monitor != NULL) {
        monitor_leave(guard->monitor);
    }
}

#define MONITOR_GUARD(place)                                                                                         \
    __attribute__((unused, cleanup(monitor_guard_end))) struct monitor_guard monitor_guard_ = { monitor_enter(place) \
                                                                                                    ? (place)        \
                                                                                                    : NULL }

/* The other way round, for a block: until its end this thread is not in the monitor, and in it again afterwards if it was.  Only
   the outermost of its guards has the monitor, which knows nothing of it. */
struct monitor_outside {
    struct monitor *monitor; /* NULL: the thread was not in it */
};

static inline struct monitor_outside
monitor_step_out(struct monitor *monitor)
{
    struct monitor_outside outside = { monitor_is_inside(monitor) ? monitor : NULL };
    if (outside.monitor != NULL) {
        monitor_leave(monitor);
    }
    return outside;
}

static inline void
monitor_step_in(struct monitor_outside *outside)
{
    if (outside->monitor != NULL) {
        (void)monitor_enter(outside->monitor);
    }
}

#define MONITOR_OUTSIDE(place) \
    __attribute__((unused, cleanup(monitor_step_in))) struct monitor_outside monitor_outside_ = monitor_step_out(place)
#else
#define MONITOR_GUARD(place) ((void)0)
#define MONITOR_OUTSIDE(place) ((void)0)
#endif

#endif
