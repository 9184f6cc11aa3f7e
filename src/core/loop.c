/* The loop's engine: queue, timers, poll, one turn.  Layer: core.

   One turn (ARCHITECTURE.md has the diagram): poll, if it is time to; what is ready goes behind what was queued; timers
   that are due go behind that; then exactly what is in the queue at this point runs, and what is added meanwhile waits
   for the next turn.  This is the order that programs see with asyncio.

   When is a poll skipped?  While work is queued, a poll can only find descriptors, so with none but the waker watched it
   finds nothing: threads put their work into the queue itself.  With some, programs count on asyncio's polling in every turn
   ("two sleep(0), then the data is there"), and we do, too, until LOOP_PROMPT_POLLS turns in a row had work queued and
   nothing to do with a descriptor; from then on a poll is put off for at most POLL_BUDGET_NS and POLL_BUDGET_TURNS.
   Timers are looked at in every turn: the clock is a tenth of a poll.

   Threads, with a GIL: all fields change under it.  Without one, threads.h says how a loop is shared:

     under the loop's critical section, which the thread that runs the loop holds and any other takes for a method: the queues, the
       timers, the poller and what it watches, the deferred, the scratch, the recorder and all else in `struct Loop`, and all fields of
       tasks, futures, handles and transports.  LOOP_ASSERT_INSIDE() says so in debug builds, wherever queues, timers and watches change;
     while a thread waits (`waits`), its alone, without the section: the poller's descriptor and memory; who closes the loop leaves them to it;
     under threads.inbox_lock: the inbox, `sleeping` while the loop is about to wait or wakes, the waker's end for writing;
     under threads.tasks.lock: the list of tasks; under state->loops_lock: `link`;
     by themselves, as single words (COMPAT_LOAD): `closed`, `debug`, `debug_overridden`, `stopping`, `selects`, `thread_id`,
       `entered_task` and `published`, `threads.section` and `threads.filled`.

   With a GIL, `sleeping` is set before the GIL is released for a poll, so whoever queues
   work sees it and writes to the waker, or came before and the queue was not empty: no wake-up is lost. */
#include "core/loop.h"

#include "core/handle.h"
#include "core/registry.h"
#include "core/selector.h"
#include "io/memory.h"
#include "py/errors.h"
#include "py/running.h"

#include <errno.h>

/* No poll waits longer; asyncio has the same limit, and a timer may be further away than a poll can say. */
#define LONGEST_POLL_NS (24 * 3600 * CLOCK_NS_PER_S)
#define NS_PER_MS (CLOCK_NS_PER_S / 1000)
#define POLL_BUDGET_NS 25000

enum { POLL_BUDGET_TURNS = 64 };

/* ---- Queueing ---- */

int
loop_check_closed(Loop *loop)
{
    if (AC_UNLIKELY(COMPAT_LOAD(loop->closed))) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

int
loop_push_open(Loop *loop, struct runnable *runnable)
{
    return loop_check_closed(loop) < 0 ? -1 : loop_push(loop, runnable);
}

int
loop_wake(Loop *loop)
{
    if (AC_UNLIKELY(COMPAT_LOAD(loop->selects))) {
        return selector_wake(loop);
    }
#if AC_FREE_THREADED
    loop_wake_sleeping(loop);
#else
    if (loop->sleeping) {
        if (loop->fork_generation != loop->state->fork_generation) {
            return 0; /* in a forked child it is the parent's thread that slept, and the waker is the parent's, or another file */
        }
        loop->sleeping = false; /* once is enough, though it may be long until the loop's thread has the GIL */
        waker_wake(&loop->waker);
    }
#endif
    return 0;
}

AC_COLD void
loop_queued_while_idle(PyObject *owner)
{
    if (!PyObject_GC_IsTracked(owner)) {
        PyObject_GC_Track(owner);
    }
}

/* What is still queued at the end of a run, the garbage collector is told of. */
static void
track_queued(Loop *loop)
{
    for (size_t i = 0; i < ring_count(&loop->ready); i++) {
        loop_queued_while_idle(((struct runnable *)ring_peek(&loop->ready, i))->owner);
    }
    for (size_t i = 0; i < loop->timers.count && loop->untracked_timers; i++) {
        loop_queued_while_idle(loop_timer_of(loop, &loop->timers.entries[i])->runnable->owner);
    }
    loop->untracked_timers = false;
}

int
loop_add_timer(Loop *loop, struct timer *timer, int64_t deadline_ns)
{
    LOOP_ASSERT_INSIDE(loop);
    PyObject *owner = timer->runnable->owner;
    if (heap_insert(&loop->timers, &timer->node, deadline_ns) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    if (AC_UNLIKELY(loop->runs == 0)) {
        loop_queued_while_idle(owner);
    }
    else if (!PyObject_GC_IsTracked(owner)) {
        loop->untracked_timers = true;
    }
    Py_INCREF(owner);
    return 0;
}

void
loop_remove_timer(Loop *loop, struct timer *timer)
{
    if (heap_node_queued(&timer->node)) {
        GUARD(loop, loop);
        if (AC_FREE_THREADED && !heap_node_queued(&timer->node)) {
            return; /* it came meanwhile */
        }
        PyObject *owner = timer->runnable->owner;
        heap_remove(&loop->timers, &timer->node);
        runnable_leaves_queue(owner);
        Py_DECREF(owner);
    }
}

void
loop_replace_timer(Loop *loop, struct timer *old, struct timer *timer)
{
    LOOP_ASSERT_INSIDE(loop);
    PyObject *owner = old->runnable->owner;
    heap_replace(&loop->timers, &old->node, &timer->node);
    Py_INCREF(timer->runnable->owner);
    runnable_leaves_queue(owner);
    Py_DECREF(owner);
}

int
loop_now(Loop *loop, int64_t *now_ns)
{
    if (AC_UNLIKELY(loop_clock_changed(loop)) && loop_decide_fused(loop) < 0) {
        return -1;
    }
    if (AC_LIKELY(!loop->time_overridden)) {
        *now_ns = clock_now_ns();
        return 0;
    }
    PyObject *now = PyObject_CallMethodNoArgs((PyObject *)loop, loop->state->str_time);
    if (now == NULL) {
        return -1;
    }
    double seconds = PyFloat_AsDouble(now);
    Py_DECREF(now);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    *now_ns = clock_ns_not_before(seconds);
    return 0;
}

/* ---- Descriptors ---- */

/* A forked child shares the parent's epoll and waker: what it changed there it would change for the parent.  So before the
   child uses the loop for the first time, the loop gets its own.  What of the parent's the child has closed by now stays
   as it is, for another file may have its number.

   If that is the poller, the child has closed what is watched as well, most likely, and nobody knows what the numbers mean
   now: then nothing but the waker may be watched, or the loop is lost, and says so as asyncio's does (EBADF). */
AC_COLD static int
leave_parent(Loop *loop)
{
    COMPAT_STORE(loop->sleeping, false);
    loop->waits = 0; /* that was a thread of the parent */
    if (loop->poller.watch_count > 1 && !poller_is_ours(&loop->poller)) {
        poller_lose(&loop->poller);
        COMPAT_STORE(loop->fork_generation, loop->state->fork_generation);
        return 0;
    }
    struct waker waker;
    int error = waker_open(&waker);
    /* The child may have closed what is still watched; its number is not the waker's to take. */
    while (error == 0 && poller_find(&loop->poller, waker.fd) != NULL) {
        error = waker_move_up(&waker);
    }
    if (error < 0) {
        return raise_errno(error);
    }
    error = poller_reopen(&loop->poller, &loop->waker_watch.watch, waker.fd);
    if (error < 0) {
        waker_close(&waker);
        return raise_errno(error);
    }
    loop_lock_inbox(loop);
    waker_close(&loop->waker);
    loop->waker = waker;
    COMPAT_STORE(loop->fork_generation, loop->state->fork_generation); /* only now: what failed is tried again */
    loop_unlock_inbox(loop);
    return 0;
}

static inline int
check_forked(Loop *loop)
{
    return AC_LIKELY(loop->fork_generation == loop->state->fork_generation) ? 0 : leave_parent(loop);
}

int
loop_set_watch(Loop *loop, struct loop_watch *watch, unsigned wanted)
{
    LOOP_ASSERT_INSIDE(loop);
    if (check_forked(loop) < 0) {
        return -1;
    }
    loop_poll_promptly(loop);
    int error = poller_set(&loop->poller, &watch->watch, wanted);
    return error < 0 ? raise_errno(error) : 0;
}

void
loop_select(Loop *loop)
{
    if (!loop->selects) {
        (void)loop_wake(loop);
        loop->poller
            .watch_count++; /* what the selector watches: no turn goes without a poll because of nothing to find */
    }
    COMPAT_STORE(loop->selects, true);
    COMPAT_STORE(loop->sleeping, true);
    loop->fused = false;
}

/* How long the poll may block. */
static int
poll_timeout(Loop *loop, int64_t *timeout_ns)
{
    const struct heap_entry *first = heap_first(&loop->timers);
    if (ring_count(&loop->ready) > 0 || COMPAT_LOAD(loop->stopping)) {
        *timeout_ns = 0;
        return 0;
    }
    if (first == NULL) {
        *timeout_ns = -1;
        return 0;
    }
    int64_t now_ns, deadline_ns = first->deadline_ns;
    if (loop_now(loop, &now_ns) < 0) {
        return -1;
    }
    int64_t latest_ns = now_ns < 0 ? LONGEST_POLL_NS : clock_add_ns(now_ns, LONGEST_POLL_NS);
    if (deadline_ns <= now_ns) {
        *timeout_ns = 0;
    }
    else {
        *timeout_ns = deadline_ns >= latest_ns ? LONGEST_POLL_NS : deadline_ns - now_ns;
        if (AC_UNLIKELY(loop->debug)) {
            /* To whole milliseconds, as asyncio does: two timers that were set one after the other, which takes long where each
               notes its traceback, are due in the same turn. */
            *timeout_ns = (*timeout_ns + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;
        }
    }
    return 0;
}

/* Some profilers (pyinstrument) tell what a task waits from what it works by the context that they find at each event, and no
   function in Python is called or returns between two steps of a task.  So one is called, outside of the task's context, before
   the loop waits, for the change, and after, for the time. */
AC_COLD static int
tell_profiler(Loop *loop)
{
    PyObject *told =
        loop->initialized ? PyObject_CallMethod((PyObject *)loop, "_note_waiting", NULL) : Py_NewRef(Py_None);
    Py_XDECREF(told);
    return told ? 0 : -1;
}

/* Waits for descriptors and queues what they make runnable. */
static int
loop_poll(Loop *loop)
{
    int64_t timeout_ns;
    if (AC_UNLIKELY(loop->selects)) {
        return selector_wait(loop);
    }
    /* The C half may be closed while the Python half is not, or be closed by a callback of this run. */
    if (loop_check_closed(loop) < 0 || check_forked(loop) < 0) {
        return -1;
    }
    /* Everything that may run Python comes before the last look at the queue: letting go of the current task may end it,
       and its exception handler may stop the loop or set a timer. */
    bool profiled = false;
    if (ring_count(&loop->ready) == 0 && !COMPAT_LOAD(loop->stopping)) {
        profiled = compat_profiles();
        if (registry_leave(loop) < 0 || (AC_UNLIKELY(profiled) && tell_profiler(loop) < 0)) {
            return -1;
        }
    }
    if (poll_timeout(loop, &timeout_ns) < 0 || loop_check_closed(loop) < 0) {
        return -1;
    }
    if (ring_count(&loop->ready) > 0 || COMPAT_LOAD(loop->stopping)) {
        timeout_ns = 0;
    }
    int count = poller_prepare(&loop->poller);
    if (count < 0) {
        return raise_errno(count);
    }
    if (timeout_ns == 0) {
        count = poller_wait(&loop->poller, 0);
    }
    else {
        timeout_ns = loop_falls_asleep(loop) ? timeout_ns : 0;
        loop->counters.waiting_since_ns = clock_now_ns();
        loop->waits++;
        Py_BEGIN_ALLOW_THREADS
        count = poller_wait(&loop->poller, timeout_ns);
        Py_END_ALLOW_THREADS
        loop->waits--;
        loop_is_awake(loop);
        if (loop->running_holder != NULL) {
            loop->state->running_loop = loop; /* another thread's may have been, meanwhile */
        }
    }
    /* A timer that is due already is a wake-up, too, although nothing was waited for. */
    if (count != 0 || timeout_ns != 0 || ring_count(&loop->ready) == 0) {
        loop_poll_promptly(loop);
    }
    if (AC_UNLIKELY(loop->undecided || (AC_FREE_THREADED && loop_class_changed(loop))) && loop_decide_fused(loop) < 0) {
        return -1;
    }
    if (AC_UNLIKELY(loop->closed)) {
        if (loop->closes_when_awake) {
            loop_close(loop);
        }
        return loop_check_closed(loop);
    }
    if (count < 0) {
        /* Signals are looked at in every turn. */
        return count == -EINTR ? 0 : raise_errno(count);
    }
    count = poller_collect(&loop->poller, count);
    for (int i = 0; i < count && !loop->closed && (size_t)i < loop->poller.events_size; i++) {
        /* Looked up again each time: telling one may have removed another, or a fork may have changed the poller. */
        struct poll_event event = loop->poller.events[i];
        struct watch *found = poller_find(&loop->poller, event.fd);
        if (found == NULL || !(event.ready & found->wanted)) {
            continue;
        }
        struct loop_watch *watch = loop_watch_of(found);
        if (watch->ops->ready(loop, watch, event.ready & found->wanted) < 0) {
            return -1;
        }
    }
    return AC_UNLIKELY(profiled) ? tell_profiler(loop) : 0;
}

static int
queue_timer(Loop *loop, struct timer *timer)
{
    if (loop_check_inbox(loop) < 0) {
        return -1;
    }
    if (ring_push(&loop->ready, timer->runnable) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    heap_remove(&loop->timers, &timer->node); /* its reference goes to the queue */
    if (AC_UNLIKELY(loop->recorder != NULL)) {
        loop->recorder->ops->queued(loop->recorder, loop, timer->runnable, true);
    }
    return 0;
}

/* Moves the timers that are due into the queue. */
static int
queue_due_timers(Loop *loop, int64_t now_ns)
{
    const struct heap_entry *first;
    const bool timed = loop->observed.timings != NULL;
    while ((first = heap_first(&loop->timers)) != NULL && first->deadline_ns <= now_ns) {
        if (AC_UNLIKELY(timed)) {
            observe_timer(loop, first->deadline_ns);
        }
        if (queue_timer(loop, loop_timer_of(loop, first)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Likewise by somebody else's clock, of which asyncio knows the resolution.  In floating point, as asyncio: a virtual clock
   that was moved by the difference between two times may be the last digit short of the second. */
AC_COLD static int
queue_timers_of_clock(Loop *loop)
{
    if (loop_clock_changed(loop) && loop_decide_fused(loop) < 0) {
        return -1;
    }
    PyObject *time = PyObject_CallMethodNoArgs((PyObject *)loop, loop->state->str_time);
    PyObject *digit = time ? PyObject_GetAttrString((PyObject *)loop, "_clock_resolution") : NULL;
    double now = digit ? PyFloat_AsDouble(time) : 0.0, resolution = digit ? PyFloat_AsDouble(digit) : 0.0;
    Py_XDECREF(time);
    Py_XDECREF(digit);
    if (PyErr_Occurred()) {
        return -1;
    }
    double end = now + (AC_PY315 ? fmax(resolution, nextafter(now, INFINITY) - now) : resolution);
    const struct heap_entry *first;
    while ((first = heap_first(&loop->timers)) != NULL && !(timer_when(loop, first) >= end)) {
        if (loop->observed.timings != NULL) {
            observe_timer(loop, clock_now_ns() - clock_ns_not_before(fmax(now - timer_when(loop, first), 0)));
        }
        if (queue_timer(loop, loop_timer_of(loop, first)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Running ---- */

AC_COLD PyObject *
loop_handle_of(Loop *loop, struct runnable *runnable)
{
    PyObject *owner = Py_NewRef(runnable->owner); /* an allocation may collect what takes it out of the queue */
    PyObject *handle = runnable->ops->as_handle(runnable, loop);
    if (handle != NULL && handle_check(loop->state, handle) && !PyObject_GC_IsTracked(handle)) {
        PyObject_GC_Track(handle);
    }
    Py_DECREF(owner);
    return handle;
}

int
loop_report(Loop *loop, struct runnable *runnable)
{
    if (exception_leaves_loop()) {
        return -1;
    }
    PyObject *exception = exception_of_failure();
    PyObject *handle = loop_handle_of(loop, runnable);
    PyObject *outer = handling_begin(exception);
    PyObject *result =
        handle ? PyObject_CallMethod((PyObject *)loop, "_report_callback_error", "OO", exception, handle) : NULL;
    handling_end_steal(outer);
    Py_XDECREF(handle);
    Py_XDECREF(exception);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static inline int
run_one(Loop *loop, struct runnable *runnable)
{
    if (AC_UNLIKELY(runnable->ops->run(runnable, loop) < 0)) {
        return loop_report(loop, runnable);
    }
    return 0;
}

/* Debug mode: who runs is known to the exception handler, and who took long is logged. */
AC_COLD static int
run_one_debug(Loop *loop, struct runnable *runnable)
{
    PyObject *handle = loop_handle_of(loop, runnable);
    PyObject *cancelled = handle ? PyObject_GetAttrString(handle, "_cancelled") : NULL;
    int skipped = cancelled ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (skipped != 0) {
        Py_XDECREF(handle);
        return skipped < 0 ? -1 : run_one(loop, runnable); /* which does nothing, in no time */
    }
    int64_t start_ns, end_ns;
    int result = -1;
    PyObject *outer_handle = loop->current_handle; /* in a nested run */
    loop->current_handle = Py_NewRef(handle);
    if (loop_now(loop, &start_ns) == 0 && run_one(loop, runnable) == 0 && loop_now(loop, &end_ns) == 0) {
        PyObject *duration = PyFloat_FromDouble(clock_seconds(end_ns - start_ns));
        PyObject *limit = Py_NewRef(loop->slow_callback_duration); /* its comparison may set another */
        int slow = duration ? PyObject_RichCompareBool(duration, limit, Py_GE) : -1;
        Py_DECREF(limit);
        result = slow < 0 ? -1 : 0;
        if (slow > 0) {
            PyObject *logged = PyObject_CallMethod((PyObject *)loop, "_log_slow_callback", "OO", handle, duration);
            result = logged ? 0 : -1;
            Py_XDECREF(logged);
        }
        Py_XDECREF(duration);
    }
    Py_XSETREF(loop->current_handle, outer_handle);
    Py_DECREF(handle);
    return result;
}

/* The entry itself may end the recording, or begin another. */
AC_COLD static int
run_one_recorded(Loop *loop, struct runnable *runnable)
{
    Recorder *recorder = (Recorder *)Py_NewRef((PyObject *)loop->recorder);
    recorder->ops->begins(recorder, loop, runnable);
    int result = loop->debug ? run_one_debug(loop, runnable) : run_one(loop, runnable);
    if (loop->recorder == recorder) {
        result = recorder->ops->ends(recorder, loop, runnable, result);
    }
    Py_DECREF(recorder);
    return result;
}

/* Does what the entry that has just run has deferred, also if it raised.  Takes and returns the entry's outcome. */
static int
run_deferred(Loop *loop, int result)
{
    PyObject *exception = result < 0 ? compat_exception_take() : NULL;
    while (loop->deferred.next != &loop->deferred) {
        struct deferred *deferred = AC_CONTAINER_OF(loop->deferred.next, struct deferred, link);
        PyObject *owner = deferred->owner;
        list_remove(&deferred->link);
        if (deferred->run(deferred, loop) < 0) {
            result = -1;
            if (exception != NULL) {
                PyErr_Clear(); /* the first one counts */
            }
            else {
                exception = compat_exception_take();
            }
        }
        Py_DECREF(owner);
    }
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
    return result;
}

int
loop_run_deferred(Loop *loop)
{
    return run_deferred(loop, 0);
}

/* The stress build collects garbage before each callback and task step, unless the collector is disabled; the less often, the
   longer it takes. */
static inline void
stress_collect(void)
{
#ifdef ASYNCIO_C_STRESS
    static _Thread_local int64_t skipped;
    if (skipped-- <= 0) {
        int64_t start_ns = clock_now_ns();
        (void)PyGC_Collect();
        skipped = (clock_now_ns() - start_ns) / 50000;
    }
#endif
}

/* Runs what is in the queue now, and not what is added meanwhile.  Compiled twice: `observed` is a constant. */
static inline int
run_queue(Loop *loop, const bool observed)
{
    int result = 0;
    loop->running_entries = true;
    size_t left = ring_count(&loop->ready);
    const size_t most = left;
    int64_t began_ns = observed ? clock_now_ns() : 0;
    stress_collect();
    /* A nested turn may take what this one counted. */
    for (; left > 0 && ring_count(&loop->ready) > 0 && result == 0; left--) {
        size_t position = loop->ready.head;
        struct runnable *runnable = ring_pop(&loop->ready);
        PyObject *owner = runnable->owner;
        if (observed) {
            observe_entry(loop, owner, position, began_ns);
        }
        if (AC_UNLIKELY(loop->recorder != NULL)) {
            result = run_one_recorded(loop, runnable);
        }
        else {
            result = AC_UNLIKELY(loop->debug) ? run_one_debug(loop, runnable) : run_one(loop, runnable);
        }
#if AC_FREE_THREADED
        if (AC_UNLIKELY(loop_is_wanted(loop))) {
            loop_give_way(loop); /* before the deferred: what they write is sent, too */
        }
#endif
        if (loop->deferred.next != &loop->deferred) {
            result = run_deferred(loop, result);
        }
        if (observed) {
            int64_t now_ns = clock_now_ns();
            observe_end(loop, owner, began_ns, now_ns);
            began_ns = now_ns;
        }
        Py_DECREF(owner);
        stress_collect();
    }
    loop->counters.callbacks += most - left;
    loop->running_entries = false;
    return result;
}

AC_COLD static int
run_entries_observed(Loop *loop)
{
    return run_queue(loop, true);
}

static int
run_entries(Loop *loop)
{
    return AC_UNLIKELY(loop->observed.wanted) ? run_entries_observed(loop) : run_queue(loop, false);
}

/* Whether this turn has to ask the kernel.  Gives *now_ns where it had to look at the clock for that. */
static inline bool
poll_is_due(Loop *loop, int64_t *now_ns)
{
    if (ring_count(&loop->ready) == 0) {
        return true;
    }
    if (loop->poller.watch_count <= 1) {
        return false;
    }
    if (loop->prompt_polls > 0) {
        loop->prompt_polls--;
        return true;
    }
    *now_ns = clock_now_ns();
    return ++loop->passes >= POLL_BUDGET_TURNS || *now_ns - loop->polled_ns >= POLL_BUDGET_NS;
}

static inline void
count_poll(struct counters *counters, int64_t now_ns)
{
    counters->polls++;
    if (counters->waiting_since_ns != 0) {
        counters->waiting_ns += now_ns - counters->waiting_since_ns;
        counters->waiting_since_ns = 0;
    }
}

static int
poll_and_run(Loop *loop, bool must_poll)
{
    /* Only in a nested run: what the callback around it has written so far, its peer may have to see before it answers. */
    if (AC_UNLIKELY(loop->deferred.next != &loop->deferred) && run_deferred(loop, 0) < 0) {
        return -1;
    }
    if (AC_UNLIKELY(loop_class_changed(loop)) && loop_decide_fused(loop) < 0) {
        return -1;
    }
    LOOP_ASSERT_INSIDE(loop);
    loop->turn++;
    int64_t now_ns = 0;
    bool look_at_timers;
    if (loop_check_inbox(loop) < 0) {
        return -1;
    }
    if (must_poll || poll_is_due(loop, &now_ns)) {
        int polled = loop_poll(loop);
        now_ns = clock_now_ns();
        loop->polled_ns = now_ns;
        loop->passes = 0;
        count_poll(&loop->counters, now_ns);
        /* Here asyncio's loop runs bytecode.  What is ready is in the queue by now, for the next run. */
        if (polled < 0 || raise_async_exception() < 0 || loop_check_inbox(loop) < 0) {
            return -1;
        }
        look_at_timers = heap_first(&loop->timers) != NULL || loop->time_overridden;
    }
    else if ((look_at_timers = heap_first(&loop->timers) != NULL) && now_ns == 0) {
        now_ns = clock_now_ns();
    }
    if (AC_UNLIKELY(PyErr_CheckSignals() < 0)) {
        return -1;
    }
    if (look_at_timers) {
        bool by_method = loop->time_overridden || loop_clock_changed(loop);
        if ((AC_UNLIKELY(by_method) ? queue_timers_of_clock(loop) : queue_due_timers(loop, now_ns)) < 0) {
            return -1;
        }
    }
    return run_entries(loop);
}

int
loop_run_once(Loop *loop, bool must_poll)
{
    bool outer = loop->running_entries;
    /* In a nested turn: what the callback around it has deferred must not wait for the poll, nor be deferred in it. */
    if (AC_UNLIKELY(outer)) {
        loop->running_entries = false;
        if (run_deferred(loop, 0) < 0) {
            loop->running_entries = outer;
            return -1;
        }
    }
    PyObject *outer_owner = AC_UNLIKELY(outer) ? observe_nested_borrow(loop) : NULL;
    int result = poll_and_run(loop, must_poll);
    loop->running_entries = outer;
    if (AC_UNLIKELY(outer_owner != NULL)) {
        observe_again(loop, outer_owner);
    }
    return result;
}

int
loop_record(Loop *loop, Recorder *recorder)
{
    if (loop->recorder == recorder) {
        return 0;
    }
    if (recorder != NULL && recorder->ops->attached(recorder, loop) < 0) {
        return -1;
    }
    Recorder *previous = loop->recorder;
    COMPAT_STORE(loop->recorder, (Recorder *)Py_XNewRef((PyObject *)recorder));
    Py_XDECREF((PyObject *)previous);
    return 0;
}

/* As every loop is, if so. */
int
loop_record_as_all(Loop *loop)
{
    struct state *state = loop->state;
    if (AC_LIKELY(COMPAT_LOAD(state->recorder) == NULL) || loop->recorder != NULL) {
        return 0;
    }
    compat_mutex_lock(&state->loops_lock);
    Recorder *recorder = (Recorder *)Py_XNewRef((PyObject *)state->recorder);
    compat_mutex_unlock(&state->loops_lock);
    int result = recorder != NULL ? loop_record(loop, recorder) : 0;
    if (AC_FREE_THREADED && result == 0 && COMPAT_LOAD(state->recorder) != recorder) {
        result = loop_record(loop, NULL); /* another thread has ended it, and may not have found this loop */
    }
    Py_XDECREF(recorder);
    return result;
}

int
loop_run(Loop *loop)
{
    RUN_GUARD(loop);
    if (loop_decide_fused(loop) < 0) {
        return -1;
    }
    if (loop_record_as_all(loop) < 0) {
        return -1;
    }
    /* A nested run hands the current task back as it found it. */
    PyObject *outer_task = Py_XNewRef(loop->entered_task);
    PyObject *outer_holder = loop->running_holder;
    Loop *outer_loop = AC_PY312 ? NULL : loop->state->running_loop;
    loop->running_holder = Py_XNewRef(compat_running_holder_borrow(loop->state->running_key));
    if (!AC_PY312) {
        loop->state->running_loop = loop->running_holder ? loop : NULL;
    }
    int result = 0;
    bool must_poll = true;
    loop_poll_promptly(loop); /* whatever was done between two runs */
    Py_INCREF(loop);
    loop->runs++;
    counters_run_begins(&loop->counters);
    do {
        result = loop_run_once(loop, must_poll);
        must_poll = loop->time_overridden; /* asyncio asks the clock after each poll, and a clock may count that */
    } while (result == 0 && !COMPAT_LOAD(loop->stopping));
    if (loop->runs == 1) {
        track_queued(loop);
    }
    counters_run_ends(&loop->counters);
    loop->runs--;
    PyObject *exception = compat_exception_take();
    if (registry_leave(loop) < 0 || (outer_task != NULL && registry_publish(loop, outer_task) < 0)) {
        if (exception != NULL) {
            PyErr_Clear();
        }
        result = -1;
    }
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
    Py_XSETREF(loop->running_holder, outer_holder);
    if (!AC_PY312) {
        loop->state->running_loop = outer_loop == loop ? loop : NULL;
    }
    Py_XDECREF(outer_task);
    Py_DECREF(loop); /* the caller holds it, too */
    return result;
}

/* The kernel copies what was received by "rep movsb", which some processors run at a third of the speed when the target
   starts in the first bytes of a page but not at its start (measured on AMD EPYC: 38 instead of 14 us for 64 KiB).  That is
   just where malloc() puts a block of this size, so a line of the cache is skipped. */
enum { SCRATCH_ALIGNMENT = 64 };

char *
loop_scratch(Loop *loop)
{
    if (AC_UNLIKELY(loop->scratch == NULL)) {
        loop->scratch = PyMem_Malloc(LOOP_SCRATCH_SIZE + SCRATCH_ALIGNMENT);
        if (loop->scratch == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        memory_keep_freed(); /* what is received will be as large */
    }
    return loop->scratch + SCRATCH_ALIGNMENT - (uintptr_t)loop->scratch % SCRATCH_ALIGNMENT;
}

/* What is to be freed is noted in the bytes that the alignment skips. */
char *
loop_scratch_take(Loop *loop)
{
    char *scratch = loop_scratch(loop);
    if (scratch != NULL) {
        memcpy(scratch - sizeof(loop->scratch), &loop->scratch, sizeof(loop->scratch));
        loop->scratch = NULL;
    }
    return scratch;
}

void
loop_scratch_return(Loop *loop, char *scratch)
{
    char *memory;
    memcpy(&memory, scratch - sizeof(memory), sizeof(memory));
    if (AC_LIKELY(loop->scratch == NULL && !loop->closed)) {
        loop->scratch = memory;
    }
    else {
        PyMem_Free(memory);
    }
}

/* ---- The running loop ---- */

/* What asyncio._get_running_loop() returns: None if there is no such loop. */
static PyObject *
running_loop(struct state *state)
{
    if (!AC_PY312 && state->running_loop != NULL) {
        PyObject *holder = compat_running_holder_borrow(state->running_key);
        if (holder != NULL && holder == state->running_loop->running_holder) {
            return Py_NewRef((PyObject *)state->running_loop);
        }
    }
    struct compat_running *place = running_place(state);
    if (place != NULL) {
        return Py_NewRef(place->loop ? place->loop : Py_None);
    }
    return PyObject_CallNoArgs(state->get_running_loop);
}

Loop *
loop_running_fused(struct state *state)
{
    PyObject *running = running_loop(state);
    if (running == NULL) {
        return NULL;
    }
    Loop *loop = loop_cast(state, running);
    if (loop == NULL || !loop->fused || loop->closed || !loop_stays_inside(loop)) {
        Py_DECREF(running);
        return NULL;
    }
    return loop;
}

/* ---- Overrides ---- */

/* The methods that the fused paths go around; the last ones have a flag each, and are asked for where they matter. */
#define BYPASSED(X) \
    X(call_soon)    \
    X(call_later)   \
    X(call_at) X(create_future) X(time) X(get_debug) X(create_task) X(_make_socket_transport) X(_add_reader)

enum {
#define X(name) BYPASSED_##name,
    BYPASSED(X)
#undef X
        BYPASSED_COUNT,
    ALWAYS_ASKED_FOR = BYPASSED_create_task
};

static PyObject *
bypassed_name_borrow(struct state *state, int index)
{
    PyObject *const names[] = {
#define X(name) state->str_##name,
        BYPASSED(X)
#undef X
    };
    return names[index];
}

/* Whether a subclass or the instance has its own `name`.  1, 0 or -1. */
static int
is_overridden(Loop *loop, PyObject *instance_dict, PyObject *name)
{
    int found = PyDict_Contains(instance_dict, name);
    if (found != 0) {
        return found;
    }
    PyObject *ours = PyObject_GetAttr((PyObject *)loop->state->Loop_type, name);
    PyObject *theirs = PyObject_GetAttr((PyObject *)Py_TYPE(loop), name);
    int result = ours == NULL || theirs == NULL ? -1 : ours != theirs && !stand_in_is_stock(loop->state, name, theirs);
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return result;
}

int
loop_decide_fused(Loop *loop)
{
    struct state *state = loop->state;
#if AC_FREE_THREADED
    const uint64_t changes = COMPAT_LOAD(state->stand_ins.changes);
#endif
    if (stand_ins_look(state) < 0) {
        return -1;
    }
    PyObject *dict = PyObject_GenericGetDict((PyObject *)loop, NULL);
    if (dict == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear(); /* the bare C type has none */
        dict = PyDict_New();
        if (dict == NULL) {
            return -1;
        }
    }
    int overridden[BYPASSED_COUNT] = { 0 };
    bool any = false, failed = false;
    for (int i = 0; i < BYPASSED_COUNT && !failed; i++) {
        overridden[i] = is_overridden(loop, dict, bypassed_name_borrow(state, i));
        failed = overridden[i] < 0;
    }
    Py_DECREF(dict);
    if (failed) {
        return -1;
    }
    for (int i = 0; i < ALWAYS_ASKED_FOR; i++) {
        any |= overridden[i];
    }
    loop->time_overridden = overridden[BYPASSED_time];
    loop->create_task_overridden = overridden[BYPASSED_create_task];
    loop->make_transport_overridden = overridden[BYPASSED__make_socket_transport];
    loop->add_reader_overridden = overridden[BYPASSED__add_reader];
    COMPAT_STORE(loop->debug_overridden, overridden[BYPASSED_get_debug] != 0);
    loop->fused = loop->initialized && !any && !loop->debug && !loop->selects;
    loop->undecided = false;
#if AC_FREE_THREADED
    COMPAT_STORE(loop->changes_known, changes);
#endif
    loop->class_version = compat_type_version(Py_TYPE(loop));
    loop->methods_version = stand_ins_any_aside(state) ? VERSION_UNKNOWN : loop->class_version;
    loop->clock_version = compat_dict_version(state->time_dict);
    loop->events_version = compat_dict_version(state->base_events_dict);
    loop->tasks_version = compat_dict_version(state->asyncio_tasks_dict);
    loop->futures_version = compat_dict_version(state->asyncio_futures_dict);
    return 0;
}

static int
decide_later(struct deferred *Py_UNUSED(deferred), Loop *loop)
{
    return loop->undecided ? loop_decide_fused(loop) : 0;
}

static int
collect_timers(struct deferred *Py_UNUSED(deferred), Loop *loop)
{
    PyObject *collected = PyObject_CallMethod((PyObject *)loop, "_collect_timers", NULL);
    Py_XDECREF(collected);
    return collected ? 0 : -1;
}

/* What the loop itself has to do when the callback or step that runs has ended.  Returns whether it will be done. */
static bool
defer_once(Loop *loop, struct deferred *deferred)
{
    if (!list_linked(&deferred->link)) {
        if (!loop_defer(loop, deferred)) {
            return false;
        }
        Py_INCREF(loop);
    }
    return true;
}

bool
loop_collect_timers_later(Loop *loop)
{
    return defer_once(loop, &loop->collection);
}

/* Something was replaced that matters to loops.  Nothing can be looked up in the middle of that, so the loops go the long way, as
   if everything were overridden, until the end of the callback that runs, or of the poll, or the next run.  Those that run in
   other threads at the same time find it out by themselves: loop_class_changed(). */
static void
stand_ins_changed(struct state *state)
{
    compat_mutex_lock(&state->loops_lock);
    for (struct list_node *node = state->loops.next; node != &state->loops; node = node->next) {
        Loop *loop = AC_CONTAINER_OF(node, Loop, link);
        if (!loop_is_inside(loop)) {
            continue;
        }
        loop->fused = false;
        loop->undecided = loop->time_overridden = loop->create_task_overridden = true;
        loop->make_transport_overridden = loop->add_reader_overridden = true;
        COMPAT_STORE(loop->debug_overridden, true);
        (void)defer_once(loop, &loop->decision);
    }
    compat_mutex_unlock(&state->loops_lock);
}

int
loop_attribute_changed(Loop *loop, PyObject *name)
{
    for (int i = 0; i < BYPASSED_COUNT; i++) {
        if (name == bypassed_name_borrow(loop->state, i)) {
            return loop_decide_fused(loop);
        }
    }
    return PyUnicode_CompareWithASCIIString(name, "__class__") == 0 ? loop_decide_fused(loop) : 0;
}

void
loop_begin_overrides(Loop *loop)
{
    loop->decision = (struct deferred){ .run = decide_later, .owner = (PyObject *)loop };
    loop->collection = (struct deferred){ .run = collect_timers, .owner = (PyObject *)loop };
    COMPAT_STORE(loop->state->stand_ins.changed, stand_ins_changed);
}
