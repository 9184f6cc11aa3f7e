/* A loop's critical section, and the ways into a loop that go around it; threads.h says what is guarded how.  Layer: core. */
#include "core/threads.h"

#include "core/registry.h"

#if AC_FREE_THREADED

/* ---- The critical section ---- */

/* After that time a thread breaks in; it is sys.getswitchinterval() of a Python that has a GIL. */
#define PATIENCE_NS 5000000
/* Whoever waits at the door looks whether the loop has begun to wait for something itself, which nobody tells, after */
#define FIRST_LOOK_NS 50000
#define LAST_LOOK_NS 1000000

static void
init_locks(struct threads *threads)
{
    pthread_condattr_t attributes;
    compat_mutex_init(&threads->tasks.lock);
    compat_mutex_init(&threads->inbox_lock);
    compat_mutex_init(&threads->door_lock);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&threads->door, &attributes);
    pthread_condattr_destroy(&attributes);
}

void
threads_init(struct threads *threads)
{
    init_locks(threads);
    list_init(&threads->tasks.head);
    ring_init(&threads->inbox);
}

void
threads_after_fork(Loop *loop)
{
    struct threads *threads = &loop->threads;
    bool lost = !compat_section_holds((PyObject *)loop);
    init_locks(threads);
    compat_after_fork((PyObject *)loop, lost);
    threads->section = lost ? 0 : threads->section;
    threads->waiting = 0;
    threads->open = false;
}

/* Needs: the door's lock. */
static void
wait_at_door(struct threads *threads, int64_t until_ns)
{
    struct timespec until = { .tv_sec = until_ns / CLOCK_NS_PER_S, .tv_nsec = until_ns % CLOCK_NS_PER_S };
    (void)pthread_cond_timedwait(&threads->door, &threads->door_lock, &until);
}

/* What a thread does that wants to break in, while all others are stopped. */
struct attempt {
    compat_section *section;
    PyObject *object;
    bool tried, entered;
};

static int
try_while_stopped(PyObject *Py_UNUSED(any), void *arg)
{
    struct attempt *attempt = arg;
    if (!attempt->tried) {
        attempt->tried = true;
        attempt->entered = compat_section_try_begin(attempt->section, attempt->object);
    }
    return 0; /* no other object is of interest */
}

/* Stops all other threads, which are then without their sections: each at its next bytecode, if it runs any.  Only one that has
   waited for the section, and to which it was handed over, has it all the same.  The collector's way to its objects is the public one
   to have the world stopped. */
static bool
break_in(compat_section *section, PyObject *object)
{
    struct attempt attempt = { .section = section, .object = object };
    PyUnstable_GC_VisitObjects(try_while_stopped, &attempt);
    return attempt.entered;
}

/* Waits for the section of a loop that runs. */
static void
guard_begin_waiting(compat_section *section, Loop *loop)
{
    struct threads *threads = &loop->threads;
    const bool breaks_in = COMPAT_CHILD_STOPS_THE_WORLD || loop->state->fork_generation == 0;
    const int64_t patient_until_ns = clock_now_ns() + PATIENCE_NS;
    int64_t look_ns = FIRST_LOOK_NS;
    bool entered = false;
    compat_mutex_lock(&threads->door_lock);
    COMPAT_STORE(threads->waiting, threads->waiting + 1);
    compat_mutex_unlock(&threads->door_lock);
    while (!entered) {
        Py_BEGIN_ALLOW_THREADS
        compat_mutex_lock(&threads->door_lock);
        if (!threads->open) {
            wait_at_door(threads, clock_now_ns() + look_ns);
        }
        compat_mutex_unlock(&threads->door_lock);
        Py_END_ALLOW_THREADS
        look_ns = look_ns < LAST_LOOK_NS ? 2 * look_ns : LAST_LOOK_NS;
        entered = compat_section_try_begin(section, (PyObject *)loop);
        if (!entered && breaks_in && clock_now_ns() >= patient_until_ns) {
            entered = break_in(section, (PyObject *)loop);
        }
    }
    compat_mutex_lock(&threads->door_lock);
    COMPAT_STORE(threads->waiting, threads->waiting - 1);
    threads->entered++;
    pthread_cond_broadcast(&threads->door);
    compat_mutex_unlock(&threads->door_lock);
}

/* True if this thread is in the section, and stays in it.  Else it is not in it, or not any more: where it has begun others within, it
   lets go of all of them, and can begin this one anew. */
static bool
stays_inside(PyObject *object)
{
    if (compat_section_holds_first(object)) {
        return true;
    }
    if (compat_section_holds(object)) {
        Py_BEGIN_ALLOW_THREADS
        Py_END_ALLOW_THREADS
    }
    return false;
}

void
guard_begin_outside(struct guard *guard, Loop *loop, PyObject *self)
{
    PyObject *object = loop ? (PyObject *)loop : self;
    if (stays_inside(object)) {
        return;
    }
    guard->object = Py_NewRef(object); /* what the method does may drop the last other reference */
    if (loop == NULL) {
        compat_section_begin(&guard->section, object);
    }
    else if (!compat_section_try_begin(&guard->section, object)) {
        guard_begin_waiting(&guard->section, loop);
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
    if (!stays_inside((PyObject *)loop)) {
        guard->loop = (Loop *)Py_NewRef((PyObject *)loop);
        compat_section_begin(&guard->section, (PyObject *)loop);
        COMPAT_STORE(loop->threads.section, (uintptr_t)&guard->section);
        registry_run_begins(loop);
    }
}

/* There may be another run of the loop, around this one or in another thread, whose section this thread does not have: which of them ends
   first nobody knows.  So only what is this one's is taken back, and nothing is restored: a run that is not known by its section finds
   by a search that it is inside. */
void
run_guard_end(struct run_guard *guard)
{
    if (guard->loop != NULL) {
        struct threads *threads = &guard->loop->threads;
        registry_run_ends(guard->loop);
        if (COMPAT_LOAD(threads->section) == (uintptr_t)&guard->section) {
            COMPAT_STORE(threads->section, 0);
        }
        compat_section_end(&guard->section);
        PyObject *exception = compat_exception_take();
        Py_DECREF(guard->loop);
        if (exception != NULL) {
            compat_exception_restore_steal(exception);
        }
    }
}

/* Letting go of the thread state lets go of all critical sections.  The loop waits until one of those at the door is in, for else
   it would be back before any of them was awake; then for the section.  Who was inside before waits with CPython's lock, which is handed
   over to him when he has waited for 1 ms. */
AC_COLD void
loop_give_way(Loop *loop)
{
    struct threads *threads = &loop->threads;
    Py_BEGIN_ALLOW_THREADS
    compat_mutex_lock(&threads->door_lock);
    const unsigned entered = threads->entered;
    const int64_t until_ns = clock_now_ns() + LAST_LOOK_NS;
    threads->open = true;
    pthread_cond_broadcast(&threads->door);
    while (threads->waiting > 0 && threads->entered == entered && clock_now_ns() < until_ns) {
        wait_at_door(threads, until_ns);
    }
    threads->open = false;
    compat_mutex_unlock(&threads->door_lock);
    Py_END_ALLOW_THREADS
}

/* ---- The inbox ---- */

/* Needs: the inbox's lock.  In a forked child it is the parent's thread that slept. */
static void
wake_locked(Loop *loop)
{
    if (COMPAT_LOAD(loop->sleeping) && !COMPAT_LOAD(loop->selects)
        && COMPAT_LOAD(loop->fork_generation) == loop->state->fork_generation) {
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

/* Drops what has come to a loop that is closed by now. */
static void
drop_inbox(Loop *loop)
{
    struct threads *threads = &loop->threads;
    struct ring dropped;
    compat_mutex_lock(&threads->inbox_lock);
    dropped = threads->inbox;
    ring_init(&threads->inbox);
    COMPAT_STORE(threads->filled, false);
    compat_mutex_unlock(&threads->inbox_lock);
    while (ring_count(&dropped) > 0) {
        Py_DECREF(((struct runnable *)ring_pop(&dropped))->owner);
    }
    ring_release(&dropped);
}

/* The references go from queue to queue, and nothing is called but for a recorder: callers borrow what they queue themselves.  Without
   memory what is left stays where it is. */
int
loop_take_inbox(Loop *loop)
{
    struct threads *threads = &loop->threads;
    if (COMPAT_LOAD(loop->closed)) {
        drop_inbox(loop);
        return 0;
    }
    LOOP_ASSERT_INSIDE(loop);
    int error = 0;
    size_t taken = 0;
    compat_mutex_lock(&threads->inbox_lock);
    while (ring_count(&threads->inbox) > 0 && (error = ring_push(&loop->ready, ring_peek(&threads->inbox, 0))) == 0) {
        (void)ring_pop(&threads->inbox);
        taken++;
    }
    COMPAT_STORE(threads->filled, error != 0);
    compat_mutex_unlock(&threads->inbox_lock);
    threads->taking = true;
    for (; taken > 0 && AC_UNLIKELY(loop->recorder != NULL) && taken <= ring_count(&loop->ready); taken--) {
        struct runnable *runnable = ring_peek(&loop->ready, ring_count(&loop->ready) - taken);
        loop->recorder->ops->queued(loop->recorder, loop, runnable, false);
    }
    threads->taking = false;
    if (error != 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

#endif
