/* A loop's critical section, and the ways into a loop that go around it; threads.h says what is guarded how.  Layer: core. */
#include "core/threads.h"

#include "core/loop.h"

#if AC_FREE_THREADED

/* ---- The critical section ---- */

/* The thread may have to wait, for as long as a callback of the loop runs that never waits itself. */
void
guard_begin_outside(struct guard *guard, Loop *loop, PyObject *self)
{
    guard->object =
        Py_NewRef(loop ? (PyObject *)loop : self); /* what the method does may drop the last other reference */
    if (loop != NULL) {
        COMPAT_ADD(loop->threads.waiting, 1);
    }
    compat_section_begin(&guard->section, guard->object);
    if (loop != NULL) {
        COMPAT_ADD(loop->threads.waiting, -1);
    }
}

void
guard_end_outside(struct guard *guard)
{
    compat_section_end(&guard->section);
    PyObject *exception = compat_exception_take(); /* that of the method */
    Py_DECREF(guard->object);
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
}

void
run_guard_begin(struct run_guard *guard, Loop *loop)
{
    guard->loop = NULL;
    if (loop->threads.runner != compat_thread()) {
        guard->loop = (Loop *)Py_NewRef((PyObject *)loop);
        compat_section_begin(&guard->section, (PyObject *)loop);
        COMPAT_STORE(loop->threads.runner, compat_thread());
    }
}

void
run_guard_end(struct run_guard *guard)
{
    if (guard->loop != NULL) {
        COMPAT_STORE(guard->loop->threads.runner, 0);
        compat_section_end(&guard->section);
        PyObject *exception = compat_exception_take();
        Py_DECREF(guard->loop);
        if (exception != NULL) {
            compat_exception_restore_steal(exception);
        }
    }
}

/* Letting go of the thread state lets go of all critical sections.  A thread that has waited for a millisecond gets the lock
   handed over. */
AC_COLD void
loop_give_way(Loop *Py_UNUSED(loop))
{
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
}

/* ---- The inbox ---- */

/* Needs: the inbox's lock.  In a forked child it is the parent's thread that slept. */
static void
wake_locked(Loop *loop)
{
    if (COMPAT_LOAD(loop->sleeping) && !COMPAT_LOAD(loop->selects)
        && loop->fork_generation == loop->state->fork_generation) {
        COMPAT_STORE(loop->sleeping, false); /* once is enough */
        waker_wake(&loop->waker);
    }
}

void
loop_wake_sleeping(Loop *loop)
{
    compat_mutex_lock(&loop->threads.inbox_lock);
    wake_locked(loop);
    compat_mutex_unlock(&loop->threads.inbox_lock);
}

int
loop_push_from_outside(Loop *loop, struct runnable *runnable)
{
    struct threads *threads = &loop->threads;
    loop_queued_while_idle(runnable->owner); /* the collector looks into the inbox */
    compat_mutex_lock(&threads->inbox_lock);
    if (COMPAT_LOAD(loop->closed)) {
        compat_mutex_unlock(&threads->inbox_lock);
        return loop_check_closed(loop);
    }
    Py_INCREF(runnable->owner); /* before the loop may find it, run it and let go of it */
    int error = ring_push(&threads->inbox, runnable);
    if (error == 0) {
        COMPAT_STORE(threads->filled, true);
        wake_locked(loop);
    }
    compat_mutex_unlock(&threads->inbox_lock);
    if (error < 0) {
        Py_DECREF(runnable->owner);
        PyErr_NoMemory();
        return -1;
    }
    return COMPAT_LOAD(loop->selects) ? loop_wake(loop) : 0;
}

/* In the critical section, as all that the ready queue is. */
int
loop_take_inbox(Loop *loop)
{
    struct threads *threads = &loop->threads;
    struct ring taken;
    ring_init(&taken);
    compat_mutex_lock(&threads->inbox_lock);
    struct ring empty = taken;
    taken = threads->inbox;
    threads->inbox = empty;
    COMPAT_STORE(threads->filled, false);
    compat_mutex_unlock(&threads->inbox_lock);
    int result = 0;
    while (ring_count(&taken) > 0) {
        struct runnable *runnable = ring_pop(&taken);
        PyObject *owner = runnable->owner;
        if (result == 0 && !loop->closed) {
            result = loop_push_now(loop, runnable);
        }
        Py_DECREF(owner);
    }
    ring_release(&taken);
    return result;
}

#endif
