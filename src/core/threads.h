/* What threads do to each other's loops, where they run at the same time.  Layer: core.

   A loop and all that belongs to it (its tasks, futures, handles, timers, transports) are guarded by one lock: the critical
   section of the loop object.  The thread that runs the loop holds it for the whole run, so that nothing on its way takes a lock.
   It gives it up where it would give up a GIL: while it waits, also in Python code that blocks; between two callbacks, if
   another thread waits for it, to come in or to go on; and, where none of that comes in the time after which a thread would have asked
   for the GIL, in the middle of Python code, for that thread stops all others (which gives all sections up) and takes it before they
   go on.  Another thread that calls a method of one of these objects holds it meanwhile.  So what holds under a GIL for calls into
   Python ("can change anything") is what has to hold, with one rule more: a lock of CPython's own that another thread has at the moment
   gives all sections up, too, while it is waited for.  So a call that takes one on what threads share (a dictionary of asyncio's), and a
   Py_DECREF of what another thread has made, are as if they ran Python.

   Apart from that lock, because a loop may be busy for long:

     call_soon_threadsafe()   puts the handle into an inbox with a lock of its own, which the loop looks into each turn;
     all_tasks()              tasks are linked in a list of their loop, with a lock of its own;
     flags of one word        (closed, debug, the running thread) are read as they are.

   With a GIL nothing of this exists. */
#ifndef AC_CORE_THREADS_H
#define AC_CORE_THREADS_H

#include "base/list.h"
#include "base/macros.h"
#include "base/ring.h"
#include "py/state.h"

#include <stdbool.h>

typedef struct Loop Loop;
struct runnable;

#if AC_FREE_THREADED
/* Of a loop: what is not guarded by its critical section. */
struct threads {
    uintptr_t section; /* by which the thread that runs it holds the section; 0: none runs it */
    unsigned waiting;  /* how many threads want the section, and */
    unsigned entered;  /* how many of them have got it: both change under the door's lock */
    bool open;         /* those who wait may come in: the loop has stepped out for that */
    compat_mutex door_lock;
    pthread_cond_t door; /* something of that has changed */
    struct task_list tasks;
    compat_mutex inbox_lock; /* of the inbox, and of loop->sleeping and the waker */
    struct ring inbox;       /* struct runnable *, each with a reference to its owner, from other threads */
    bool filled;             /* the inbox is not empty */
    uint64_t next_number;    /* of tasks, for their names, which the loop has taken */
    uint64_t end_number;
    bool taking; /* what was in the inbox is being queued, for a recorder; in the section */
};

/* One thread in one loop's, or without a loop one object's, critical section; on the stack. */
struct guard {
    compat_section section;
    PyObject *object; /* owned; NULL: there was no need */
};

/* Whether this thread is in the section.  Between the two a list, say, may be sorted, with a section of its own: where that was
   interrupted, it is not, even in the thread that runs the loop. */
static inline bool loop_is_inside(Loop *loop);
/* And whether it is in it again when Python has run, which may let go of all sections: not in the middle of such a sort, after which
   only the list's is taken again. */
static inline bool loop_stays_inside(Loop *loop);

/* What guard_begin() of loop.h does where it is not in the section already. */
void guard_begin_outside(struct guard *guard, Loop *loop, PyObject *self);
void guard_end_outside(struct guard *guard);

static inline void
guard_end(struct guard *guard)
{
    if (AC_UNLIKELY(guard->object != NULL)) {
        guard_end_outside(guard);
    }
}

/* First in a function that Python calls, from whatever thread, or that changes what may be another loop's: until it returns nobody else is
   in the section, but where Python runs. */
#define GUARD(loop, self)                                       \
    __attribute__((cleanup(guard_end))) struct guard guard_of_; \
    guard_begin(&guard_of_, loop, (PyObject *)(self))

/* The same for the thread that begins to run a loop, and is in it by itself from then on. */
struct run_guard {
    compat_section section;
    Loop *loop; /* owned; NULL: it runs already, in this thread */
};
void run_guard_begin(struct run_guard *guard, Loop *loop);
void run_guard_end(struct run_guard *guard);
#define RUN_GUARD(loop)                                                 \
    __attribute__((cleanup(run_guard_end))) struct run_guard guard_of_; \
    run_guard_begin(&guard_of_, loop)

void threads_init(struct threads *threads);
/* In a forked child: the other threads are gone, with what they have locked. */
void threads_after_fork(Loop *loop);

/* The loop by whose section an object is guarded that other threads may use: kept from when it first belongs to one, for its own
   field may be cleared at any time.  `loop` is what it belongs to now, or NULL.  NULL: to none yet. */
#define LOOP_HOME Loop *home; /* owned or NULL */
static inline Loop *loop_find_home(Loop **home, Loop *loop);
/* Where it comes to belong to `loop`, which may be NULL: that is its home, unless it has one.  And GUARD() by it. */
#define LOOP_HOME_SETTLE(self, loop) ((void)loop_find_home(&(self)->home, loop))
#define LOOP_HOME_GUARD(self) GUARD(loop_find_home(&(self)->home, NULL), self)
#define LOOP_HOME_VISIT(self) Py_VISIT((PyObject *)(self)->home)
#define LOOP_HOME_CLEAR(self) Py_CLEAR((self)->home)

/* Whether somebody waits for the section: to come in, or to go on with a method in the middle of which he has given it up, as in a lock
   or a system call of what that has called. */
static inline bool loop_is_wanted(Loop *loop);
/* Lets those in who wait for the section, between two callbacks. */
void loop_give_way(Loop *loop);

/* The other way into the ready queue, for threads that do not run the loop: by the inbox.  Holds the owner.  Wakes the loop.
   Returns 0, or -1 with an exception set. */
int loop_push_from_outside(Loop *loop, struct runnable *runnable);
/* Has what is in the inbox follow what is in the ready queue.  Returns 0 or -1. */
int loop_take_inbox(Loop *loop);
/* loop_wake(), where no selector has been brought. */
void loop_wake_sleeping(Loop *loop);
#else
struct threads {
    char nothing;
};
#define GUARD(loop, self) ((void)0)
#define loop_is_inside(loop) ((void)(loop), true)
#define loop_stays_inside(loop) ((void)(loop), true)
#define RUN_GUARD(loop) ((void)0)
#define LOOP_HOME
#define LOOP_HOME_SETTLE(self, loop) ((void)0)
#define LOOP_HOME_GUARD(self) ((void)0)
#define LOOP_HOME_VISIT(self) ((void)0)
#define LOOP_HOME_CLEAR(self) ((void)0)
#endif

#endif
