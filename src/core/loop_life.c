/* How a loop begins and ends, and what it owns: loop.c runs it.  Layer: core. */
#include "core/handle.h"
#include "core/registry.h"
#include "py/errors.h"

#include <errno.h>
#include <stdlib.h>

/* ---- Opening ---- */

static int
waker_ready(Loop *loop, struct loop_watch *Py_UNUSED(watch), unsigned Py_UNUSED(events))
{
    waker_drain(&loop->waker);
    return 0;
}

static int
waker_traverse(struct loop_watch *Py_UNUSED(watch), visitproc Py_UNUSED(visit), void *Py_UNUSED(arg))
{
    return 0;
}

/* loop_close() leaves it out: until the poller is closed other threads may write to it. */
static const struct loop_watch_ops waker_ops = { waker_ready, waker_traverse, NULL };

int
loop_open(Loop *loop, struct state *state)
{
    loop->state = state;
    loop->fork_generation = state->fork_generation;
    ring_init(&loop->ready);
    heap_init(&loop->timers);
    list_init(&loop->deferred);
    loop_begin_overrides(loop);
    registry_add_loop(loop);
    const char *name = getenv("ASYNCIO_C_POLLER");
    int error = poller_open(&loop->poller, name != NULL && *name != '\0' ? name : NULL);
    if (error == -EINVAL) {
        PyErr_Format(PyExc_ValueError, "ASYNCIO_C_POLLER names no poller of this build: %s", name);
        return -1;
    }
    if (error < 0) {
        return raise_errno(error);
    }
    error = waker_open(&loop->waker);
    if (error < 0) {
        poller_close(&loop->poller);
        return raise_errno(error);
    }
    loop->waker_watch = (struct loop_watch){ .watch.fd = loop->waker.fd, .ops = &waker_ops };
    error = poller_set(&loop->poller, &loop->waker_watch.watch, POLLER_READ);
    if (error < 0) {
        poller_close(&loop->poller);
        waker_close(&loop->waker);
        return raise_errno(error);
    }
    loop->poller.known_by = &loop->waker;
    return loop_record_as_all(loop);
}

/* ---- Closing ---- */

/* Drops what is queued, without running it. */
static void
drop_queues(Loop *loop)
{
    (void)loop_check_inbox(loop); /* which drops what it finds, for the loop is closed */
    while (ring_count(&loop->ready) > 0) {
        PyObject *owner = ((struct runnable *)ring_pop(&loop->ready))->owner;
        runnable_leaves_queue(owner);
        Py_DECREF(owner);
    }
    while (loop->deferred.next != NULL && loop->deferred.next != &loop->deferred) {
        struct deferred *deferred = AC_CONTAINER_OF(loop->deferred.next, struct deferred, link);
        PyObject *owner = deferred->owner;
        list_remove(&deferred->link);
        Py_DECREF(owner);
    }
    const struct heap_entry *first;
    while ((first = heap_first(&loop->timers)) != NULL) {
        timer_take_out(loop, loop_timer_of(loop, first));
    }
}

/* Frees all that is watched.  The poller is about to be closed: the kernel need not be told. */
static void
close_watches(Loop *loop)
{
    for (size_t fd = 0; fd < loop->poller.watches_size; fd++) {
        struct watch *watch = poller_find(&loop->poller, (int)fd);
        if (watch != NULL && watch != &loop->waker_watch.watch) {
            loop->poller.watches[fd] = NULL;
            loop->poller.watch_count--;
            loop_watch_of(watch)->ops->close(loop_watch_of(watch));
        }
    }
}

void
loop_count_debug(Loop *loop)
{
    bool counts = loop->debug && !loop->closed;
    COMPAT_ADD(loop->state->debug_loops, counts - loop->debug_counted);
    loop->debug_counted = counts;
}

static void
close_poller(Loop *loop)
{
    loop_lock_inbox(loop);
    poller_close(&loop->poller);
    waker_close(&loop->waker);
    loop_unlock_inbox(loop);
}

void
loop_set_closed(Loop *loop, bool closed)
{
    loop_lock_inbox(loop); /* whoever puts something there looks before, under the same lock */
    COMPAT_STORE(loop->closed, closed);
    loop_unlock_inbox(loop);
}

/* asyncio refuses to close a loop that runs, but a thread may begin to run it when another one has asked already. */
static bool
is_waited_in(Loop *loop)
{
    return loop->waits > 0 && loop->fork_generation == loop->state->fork_generation;
}

void
loop_close(Loop *loop)
{
    loop_set_closed(loop, true);
    loop_count_debug(loop);
    drop_queues(loop);
    observe_close(loop);
    if (is_waited_in(loop)) {
        /* The kernel may write to the poller's memory: who waits does the rest. */
        loop->closes_when_awake = true;
        if (!loop->selects) { /* else who brought the selector has woken it */
            (void)loop_wake(loop);
        }
        return;
    }
    if (loop->poller.backend != NULL) {
        close_watches(loop);
    }
    /* Asked again: what was dropped may have closed the loop, and the waker's number may be another's by now. */
    if (loop->poller.backend != NULL) {
        close_poller(loop);
    }
    loop_set_closed(loop, true); /* whatever what was dropped has set */
    (void)loop_check_inbox(loop);
    loop_count_debug(loop);
    ring_release(&loop->ready);
#if AC_FREE_THREADED
    ring_release(&loop->threads.inbox);
#endif
    heap_release(&loop->timers);
    PyMem_Free(loop->scratch);
    loop->scratch = NULL;
}

int
loop_traverse_queues(Loop *loop, visitproc visit, void *arg)
{
    if (loop->runs > 0) {
        /* It is alive, and so is all that it holds: what is not visited counts as held from outside.  So a collection does not
           have to go through a hundred thousand timers. */
        return 0;
    }
    for (size_t i = 0; i < ring_count(&loop->ready); i++) {
        Py_VISIT(((struct runnable *)ring_peek(&loop->ready, i))->owner);
    }
#if AC_FREE_THREADED
    for (size_t i = 0; i < ring_count(&loop->threads.inbox); i++) {
        Py_VISIT(((struct runnable *)ring_peek(&loop->threads.inbox, i))->owner);
    }
#endif
    for (size_t i = 0; i < loop->timers.count; i++) {
        Py_VISIT(loop_timer_of(loop, &loop->timers.entries[i])->runnable->owner);
    }
    for (struct list_node *node = loop->deferred.next; node != NULL && node != &loop->deferred; node = node->next) {
        Py_VISIT(AC_CONTAINER_OF(node, struct deferred, link)->owner);
    }
    for (size_t fd = 0; fd < loop->poller.watches_size; fd++) {
        struct watch *watch = poller_find(&loop->poller, (int)fd);
        int result = watch ? loop_watch_of(watch)->ops->traverse(loop_watch_of(watch), visit, arg) : 0;
        if (result != 0) {
            return result;
        }
    }
    return 0;
}
