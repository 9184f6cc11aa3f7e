/* The event loop: ready queue, timers, poller.  Layer: core.

   loop.c runs it; loop_life.c opens and closes it; loop_type.c is its Python face; reader.c watches descriptors for
   add_reader().  The Python class asyncio_c.Loop completes it with asyncio's BaseEventLoop. */
#ifndef AC_CORE_LOOP_H
#define AC_CORE_LOOP_H

#include "base/clock.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/ring.h"
#include "core/counters.h"
#include "core/observe.h"
#include "core/recorder.h"
#include "core/runnable.h"
#include "core/threads.h"
#include "io/poller.h"
#include "io/waker.h"
#include "py/state.h"

#include <assert.h>
#include <stdbool.h>

/* Something that is due at a time: the heap's node, and what to run then. */
struct timer {
    struct heap_node node;
    struct runnable *runnable;
};

struct loop_watch;

struct loop_watch_ops {
    /* Queues what is to run.  Returns 0, or -1 with an exception set. */
    int (*ready)(Loop *loop, struct loop_watch *watch, unsigned events);
    /* Visits what it owns. */
    int (*traverse)(struct loop_watch *watch, visitproc visit, void *arg);
    /* Frees it when the loop is closed: the poller has forgotten it.  Runs Python. */
    void (*close)(struct loop_watch *watch);
};

/* A watch of the loop's poller: who is told that it is ready. */
struct loop_watch {
    struct watch watch;
    const struct loop_watch_ops *ops;
};

/* Something to do as soon as the callback or task step that is running has ended: a transport's writes. */
struct deferred {
    struct list_node link;
    /* Returns 0, or -1 with an exception that leaves the loop.  Runs Python.  The caller holds the owner. */
    int (*run)(struct deferred *deferred, Loop *loop);
    PyObject *owner; /* borrowed: the object that embeds this */
};

enum {
    LOOP_SCRATCH_SIZE = 256 * 1024,
    LOOP_PROMPT_POLLS = 64, /* ARCHITECTURE.md says why so many */
};

struct Loop {
    PyObject_HEAD
    struct state *state;

    struct ring ready;  /* struct runnable *, each with a reference to its owner */
    struct heap timers; /* struct timer, likewise */
    struct poller poller;
    struct waker waker;
    struct loop_watch waker_watch;
    struct list_node deferred;  /* struct deferred, each with a reference to its owner */
    struct list_node link;      /* in state->loops */
    struct deferred decision;   /* as soon as a callback ends: about `fused`, if it is undecided */
    struct deferred collection; /* likewise: of what asyncio's call_at() has pushed: queue_views.py */
    char *scratch;              /* or NULL: loop_scratch() aligns it */

    /* True while the fused paths may be taken: not in debug mode, and no method that they would bypass is overridden.
       Decided by loop_decide_fused() alone. */
    bool fused;
    bool undecided;                 /* something was replaced since: it goes the long way until it is decided again */
    bool time_overridden;           /* time() is somebody else's clock */
    bool create_task_overridden;    /* by a subclass or on the instance */
    bool debug_overridden;          /* get_debug() is */
    bool make_transport_overridden; /* _make_socket_transport() is */
    bool add_reader_overridden;     /* _add_reader() is */
    bool selects;                   /* it waits by loop._selector, which somebody has brought: selector.h */
    bool initialized;
    bool closed;
    bool stopping;
    bool debug;
    bool debug_counted;     /* in state->debug_loops: it is in debug mode, and not closed */
    bool running_entries;   /* a callback or step runs, after which what it deferred is done */
    bool untracked_timers;  /* there may be timers that the garbage collector does not know: handle.c */
    bool closes_when_awake; /* another thread has closed it while it waited: loop_close() */
    unsigned waits;         /* threads in the poller, whose memory the kernel may write to */
    unsigned runs;          /* of loop_run(): it holds the loop, so that all that is queued is alive */
    volatile bool
        sleeping; /* in a poll without the GIL, and nobody has woken it: who adds work wakes it; if it selects, always */
    unsigned prompt_polls; /* so many of the next turns poll although work is queued: loop_poll_promptly() */
    unsigned passes;       /* turns since the last poll */
    int64_t polled_ns;     /* when it was */
    uint64_t turn;         /* how many have begun */
    struct counters counters;
    struct observation observed;
    uint64_t cancelled_in; /* 1 + the turn in which a timer was cancelled last */
    uint64_t fork_generation;
    uint64_t changes_known;   /* without a GIL: state->stand_ins.changes, when `fused` was decided */
    uint64_t class_version;   /* 3.11: of its class when `fused` was decided, */
    uint64_t methods_version; /* the same, and that of no class while a method has stepped aside, */
    uint64_t clock_version;   /* and of the modules `time`, */
    uint64_t events_version;  /* asyncio.base_events, which has a name for that, */
    uint64_t tasks_version;   /* asyncio.tasks */
    uint64_t futures_version; /* and asyncio.futures */
    unsigned long thread_id;  /* of the thread that runs it; 0: none */

    struct deferred doubt; /* registry_doubt() */

#if AC_FREE_THREADED
    bool published; /* asyncio's dictionary of current tasks may have an entry of this loop: registry.c */
#endif
    struct threads threads; /* what other threads touch outside of the loop's critical section */

    PyObject *running_holder;         /* owned; while it runs, on 3.11: loop_running_fused() */
    PyObject *entered_task;           /* owned; the task published as current in this loop: registry.h */
    PyObject *task_factory;           /* owned; None: ours */
    PyObject *current_handle;         /* owned; debug mode */
    PyObject *slow_callback_duration; /* owned; seconds */

    Recorder *recorder;   /* owned; NULL: it is not recorded */
    unsigned recorded_as; /* its number there */
};

/* Appends `runnable` to the ready queue and holds its owner.  Needs: open.  Returns 0, or -1 with MemoryError set. */
static inline int loop_push(Loop *loop, struct runnable *runnable);

/* Likewise, although other threads may have queued something before. */
static inline int loop_push_now(Loop *loop, struct runnable *runnable);

/* Nobody else changes or wakes meanwhile what threads.h says is guarded by that lock; nothing with a GIL. */
static inline void
loop_lock_inbox(Loop *loop)
{
#if AC_FREE_THREADED
    compat_mutex_lock(&loop->threads.inbox_lock);
#else
    (void)loop;
#endif
}

static inline void
loop_unlock_inbox(Loop *loop)
{
#if AC_FREE_THREADED
    compat_mutex_unlock(&loop->threads.inbox_lock);
#else
    (void)loop;
#endif
}

/* Before the loop waits: false, if something has come from another thread.  And when it has waited. */
static inline bool loop_falls_asleep(Loop *loop);
static inline void loop_is_awake(Loop *loop);

/* Has what other threads have queued, where they do not do it themselves, follow what is in the ready queue.  Returns 0 or -1. */
static inline int loop_check_inbox(Loop *loop);

/* What the queues of a loop that does not run hold is known to the garbage collector, which then has to know all of a cycle. */
void loop_queued_while_idle(PyObject *owner);

/* loop_push, or RuntimeError('Event loop is closed'). */
int loop_push_open(Loop *loop, struct runnable *runnable);

/* Raises what call_soon() on a closed loop raises.  Returns 0 or -1. */
int loop_check_closed(Loop *loop);

/* Makes the loop look at its queue, if it sleeps.  Any thread.  Returns 0, or -1 where it selects.  Runs Python there. */
int loop_wake(Loop *loop);

/* Has loop._collect_timers() called when the callback or step that runs has ended.  False where none runs. */
bool loop_collect_timers_later(Loop *loop);

/* Nanoseconds of loop.time(), overridden or not.  Returns 0 or -1 with an exception set.  Runs Python. */
int loop_now(Loop *loop, int64_t *now_ns);

/* Queues `timer` for `deadline_ns` and holds its runnable's owner.  Needs: not queued.  Returns 0 or -1. */
int loop_add_timer(Loop *loop, struct timer *timer, int64_t deadline_ns);

/* Takes `timer` back if it is queued, and drops the reference.  Also in a thread that is not in the section, where a collection clears
   what nobody can reach. */
void loop_remove_timer(Loop *loop, struct timer *timer);

/* The timer of an entry of loop->timers. */
static inline struct timer *loop_timer_of(Loop *loop, const struct heap_entry *entry);

/* Has `timer` take the place of `old`, which is queued, with the same deadline and order. */
void loop_replace_timer(Loop *loop, struct timer *old, struct timer *timer);

/* Has `deferred` run when the callback or task step that is running ends.  False where none is: then do it now.  The caller
   gives a reference to its owner, if true.  Needs: not deferred yet. */
static inline bool loop_defer(Loop *loop, struct deferred *deferred);

/* Takes it back.  True if it was deferred; then the reference to the owner is the caller's. */
static inline bool loop_undefer(struct deferred *deferred);

/* Does at once what has been deferred.  Returns 0, or -1 with an exception that leaves the loop.  Runs Python. */
int loop_run_deferred(Loop *loop);

/* Has the next turns all look for events, however busy the loop is.  Who changes what is watched, sends, connects or closes
   calls it: what comes of it is seen in the turn in which asyncio sees it. */
static inline void loop_poll_promptly(Loop *loop);

/* Memory of LOOP_SCRATCH_SIZE bytes for one read, good until Python runs.  NULL with MemoryError set. */
char *loop_scratch(Loop *loop);

/* The same memory, good until it is returned, whatever runs meanwhile, which finds other memory.  The caller holds the loop. */
char *loop_scratch_take(Loop *loop);
void loop_scratch_return(Loop *loop, char *scratch);

/* From now on the loop waits by loop._selector, where all that it watched is to be registered. */
void loop_select(Loop *loop);

/* Changes what a watch wants.  Returns 0, or -1 with OSError set.  Afterwards, with 0, the watch may be freed. */
int loop_set_watch(Loop *loop, struct loop_watch *watch, unsigned wanted);

/* Has it recorded by `recorder` from now on, in the place of any other; NULL: by none.  Returns 0 or -1. */
int loop_record(Loop *loop, Recorder *recorder);

/* The same, by the recorder of all loops, where there is one. */
int loop_record_as_all(Loop *loop);

/* One turn, as the diagram in ARCHITECTURE.md.  Returns 0, or -1 with an exception that leaves the loop.  Runs Python. */
int loop_run_once(Loop *loop, bool must_poll);

/* Turns until stopped.  Runs Python. */
int loop_run(Loop *loop);

/* Calls asyncio's own method of that name on the loop: for what is cold, or overridden, or another version's way. */
PyObject *loop_call_asyncio(Loop *loop, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Re-reads which methods are overridden. Returns 0 or -1. */
int loop_decide_fused(Loop *loop);

/* Whether the class of the loop, or a module that it goes by, has changed since, which on 3.11 nobody tells; and without a GIL
   another thread is not told.  There the first two are of everything. */
static inline bool loop_class_changed(Loop *loop);
static inline bool loop_methods_changed(Loop *loop); /* or a method has stepped aside */
static inline bool loop_clock_changed(Loop *loop);
static inline bool loop_tasks_changed(Loop *loop);
static inline bool loop_futures_changed(Loop *loop);

/* After a change of debug or closed: keeps state->debug_loops up to date. */
void loop_count_debug(Loop *loop);

/* Does so if the attribute `name`, which somebody has set or deleted on the instance, matters.  Returns 0 or -1. */
int loop_attribute_changed(Loop *loop, PyObject *name);

/* Gives a running exception to loop.call_exception_handler(), as Handle._run() does; takes it.  `handle` is what ran.
   Returns 0, or -1 with the exception that left the handler. */
int loop_report(Loop *loop, struct runnable *runnable);

/* The handle that stands for an entry of the queue or a timer, for Python.  Whoever gets it may become a part of a cycle with
   it, so that from now on the garbage collector knows it.  New reference.  Runs Python. */
PyObject *loop_handle_of(Loop *loop, struct runnable *runnable);

/* The watch that a watch of the poller is. */
static inline struct loop_watch *
loop_watch_of(struct watch *watch)
{
    return AC_CONTAINER_OF(watch, struct loop_watch, watch);
}

/* That from now on the loop goes by what is overridden. */
void loop_begin_overrides(Loop *loop);

/* Opens the poller and the waker; closes them and forgets all that was queued. */
int loop_open(Loop *loop, struct state *state);
void loop_close(Loop *loop);
void loop_set_closed(Loop *loop, bool closed);
int loop_traverse_queues(Loop *loop, visitproc visit, void *arg);

/* `object` as a native loop of this module, or NULL (no exception). */
static inline Loop *
loop_cast(struct state *state, PyObject *object)
{
    return state_type_check(object, state->Loop_type) ? (Loop *)object : NULL;
}

/* The running loop of this thread if it is native and its shortcuts may be taken, else NULL: also where the thread is in another section
   within that of the loop.  New reference.
   An exception may be set where NULL is returned: check PyErr_Occurred(). */
Loop *loop_running_fused(struct state *state);

int loop_register(PyObject *module);

static inline struct timer *
loop_timer_of(Loop *loop, const struct heap_entry *entry)
{
    return AC_CONTAINER_OF(heap_node_of(&loop->timers, entry), struct timer, node);
}

static inline void
loop_poll_promptly(Loop *loop)
{
    loop->prompt_polls = LOOP_PROMPT_POLLS;
}

static inline bool
loop_class_changed(Loop *loop)
{
#if AC_FREE_THREADED
    return COMPAT_LOAD(loop->state->stand_ins.changes) != COMPAT_LOAD(loop->changes_known);
#else
    return !COMPAT_DICT_WATCHERS && Py_TYPE(loop)->tp_version_tag != loop->class_version;
#endif
}

static inline bool
loop_methods_changed(Loop *loop)
{
#if AC_FREE_THREADED
    return loop_class_changed(loop);
#else
    return !COMPAT_DICT_WATCHERS && Py_TYPE(loop)->tp_version_tag != loop->methods_version;
#endif
}

static inline bool
loop_clock_changed(Loop *loop)
{
    return !COMPAT_DICT_WATCHERS
           && (compat_dict_version(loop->state->time_dict) != loop->clock_version
               || compat_dict_version(loop->state->base_events_dict) != loop->events_version);
}

static inline bool
loop_tasks_changed(Loop *loop)
{
    return !COMPAT_DICT_WATCHERS && compat_dict_version(loop->state->asyncio_tasks_dict) != loop->tasks_version;
}

static inline bool
loop_futures_changed(Loop *loop)
{
    return !COMPAT_DICT_WATCHERS && compat_dict_version(loop->state->asyncio_futures_dict) != loop->futures_version;
}

#if AC_FREE_THREADED
/* Whether it is this thread that runs the loop, and it is in the section: found without a search. */
static inline bool
loop_is_run_here(Loop *loop)
{
    bool is_run_here = compat_section_is_first(COMPAT_LOAD(loop->threads.section));
    assert(!is_run_here || compat_section_holds((PyObject *)loop));
    return is_run_here;
}

static inline bool
loop_is_inside(Loop *loop)
{
    return AC_LIKELY(loop_is_run_here(loop)) || compat_section_holds((PyObject *)loop);
}

static inline bool
loop_is_wanted(Loop *loop)
{
    return COMPAT_LOAD(loop->threads.waiting) > 0 || compat_section_is_missed((PyObject *)loop);
}

static inline bool
loop_stays_inside(Loop *loop)
{
    return AC_LIKELY(compat_section_is_first(COMPAT_LOAD(loop->threads.section)))
           || compat_section_holds_first((PyObject *)loop);
}

#define LOOP_ASSERT_INSIDE(loop) assert(loop_is_inside(loop))
#else
#define LOOP_ASSERT_INSIDE(loop) ((void)0)
#endif

static inline bool
loop_defer(Loop *loop, struct deferred *deferred)
{
    LOOP_ASSERT_INSIDE(loop);
    if (loop->running_entries) {
        list_append(&loop->deferred, &deferred->link);
    }
    return loop->running_entries;
}

static inline bool
loop_undefer(struct deferred *deferred)
{
    bool was_deferred = list_linked(&deferred->link);
    list_remove(&deferred->link);
    return was_deferred;
}

static inline int
loop_check_inbox(Loop *loop)
{
#if AC_FREE_THREADED
    return AC_UNLIKELY(COMPAT_LOAD(loop->threads.filled)) ? loop_take_inbox(loop) : 0;
#else
    (void)loop;
    return 0;
#endif
}

static inline int
loop_push(Loop *loop, struct runnable *runnable)
{
    if (loop_check_inbox(loop) < 0) {
        return -1;
    }
    return loop_push_now(loop, runnable);
}

static inline int
loop_push_now(Loop *loop, struct runnable *runnable)
{
    LOOP_ASSERT_INSIDE(loop);
    if (AC_UNLIKELY(ring_push(&loop->ready, runnable) < 0)) {
        PyErr_NoMemory();
        return -1;
    }
    if (AC_UNLIKELY(loop->runs == 0)) {
        loop_queued_while_idle(runnable->owner);
    }
    Py_INCREF(runnable->owner);
    if (AC_UNLIKELY(loop->recorder != NULL)) {
        loop->recorder->ops->queued(loop->recorder, loop, runnable, false);
    }
    return 0;
}

#if AC_FREE_THREADED
static inline Loop *
loop_find_home(Loop **home, Loop *loop)
{
    Loop *found = COMPAT_LOAD_PUBLISHED(*home);
    if (AC_UNLIKELY(found == NULL) && loop != NULL) {
        Py_INCREF((PyObject *)loop);
        if (!COMPAT_PUBLISH(*home, loop)) {
            Py_DECREF((PyObject *)loop);
        }
        found = COMPAT_LOAD_PUBLISHED(*home);
    }
    return found;
}

/* The same, of what an object has as its loop, of any kind.  Once it has a home that field is not looked at: nothing guards it here. */
static inline Loop *
loop_home_of(Loop **home, struct state *state, PyObject *const *loop)
{
    Loop *found = COMPAT_LOAD_PUBLISHED(*home);
    if (AC_LIKELY(found != NULL)) {
        return found;
    }
    PyObject *object = COMPAT_LOAD_PUBLISHED(*loop);
    return loop_find_home(home, object ? loop_cast(state, object) : NULL);
}

/* `loop` may be NULL: then the section is that of `self`. */
static inline void
guard_begin(struct guard *guard, Loop *loop, PyObject *self)
{
    guard->object = NULL;
    if (AC_UNLIKELY(loop == NULL || !loop_is_run_here(loop))) {
        guard_begin_outside(guard, loop, self);
    }
}
#endif

static inline bool
loop_falls_asleep(Loop *loop)
{
#if AC_FREE_THREADED
    compat_mutex_lock(&loop->threads.inbox_lock);
    bool asleep = !loop->threads.filled;
    COMPAT_STORE(loop->sleeping, asleep);
    compat_mutex_unlock(&loop->threads.inbox_lock);
    return asleep;
#else
    loop->sleeping = true;
    return true;
#endif
}

/* If it selects by now, another thread has brought a selector since: nothing is watched here any more. */
static inline void
loop_is_awake(Loop *loop)
{
#if AC_FREE_THREADED
    compat_mutex_lock(&loop->threads.inbox_lock);
    COMPAT_STORE(loop->sleeping, loop->selects);
    compat_mutex_unlock(&loop->threads.inbox_lock);
#else
    loop->sleeping = loop->selects;
#endif
}

#endif
