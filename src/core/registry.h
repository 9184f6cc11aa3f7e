/* Who is the current task, and which tasks are there, as stock asyncio sees it.  Layer: core.

   asyncio.current_task() reads a place of CPython's own: a dictionary {loop: task} up to 3.13, the thread state from 3.14
   on.  A native task is published there before its coroutine runs, so that everybody's current_task(), however early it
   was imported, tells the truth.  Publishing costs 10 to 20 ns, so the loop is lazy about taking it back: between two
   steps of tasks one replaces the other, and a step of the same task changes nothing.  It is taken back before anything
   that is not a step runs, and before the loop polls.  Where threads run at the same time and there is a dictionary, for all of them, it
   is published when somebody asks.

   all_tasks() is served without registering anything: native tasks are linked in a list until they are done, and
   asyncio_c/_registry.py makes asyncio's own set of tasks iterate over that list too.  It is one list in the state; where threads
   run at the same time, one for each native loop, with a lock, and that of the state has the tasks of other loops. */
#ifndef AC_CORE_REGISTRY_H
#define AC_CORE_REGISTRY_H

#include "core/task.h"

/* Publishes `task` as the current task of `loop`.  Returns 0 or -1 with an exception set. */
int registry_publish(Loop *loop, PyObject *task);

/* Takes the published task back. */
int registry_withdraw(Loop *loop);

/* Publishes again, when the step that runs has ended, who is the current task: somebody else may be about to publish another,
   and not to take it back. */
void registry_doubt(Loop *loop);
/* The native task that runs in `loop`, if asyncio, too, says that it is the current one: an eager task of asyncio's own may
   have taken its place.  Borrowed, or NULL without an exception. */
PyObject *registry_current_borrow(Loop *loop);

/* Has all_tasks() know a task, at the end, and not any more.  The second does nothing for a task that is not listed. */
static inline void registry_add(Task *task);
static inline void registry_remove(Task *task);

/* For the name of a task that is made without one. */
static inline uint64_t registry_next_number(Task *task);

/* A list of all native tasks that are not done; of one loop, or with NULL of all.  New reference.  Any thread. */
PyObject *registry_tasks(struct state *state, Loop *loop);
/* How many those of one loop are. */
Py_ssize_t registry_count(Loop *loop);

#if AC_FREE_THREADED
/* Loops that run at the same time take many numbers at once, so that they do not take the counter from each other. */
uint64_t registry_number_of_many(Task *task);
void registry_run_begins(Loop *loop);
void registry_run_ends(Loop *loop);

/* The tp_hash of loops: registry.c says what for. */
Py_hash_t registry_hash(PyObject *loop);
#endif

/* Loops, likewise. */
void registry_add_loop(Loop *loop);
void registry_remove_loop(Loop *loop);
/* All of them but those that are dying, each held, in an array that is to be freed by PyMem_RawFree(); -1 with MemoryError. */
Py_ssize_t registry_loops(struct state *state, Loop ***loops);

/* In a forked child, where only this thread is left: what others have locked. */
void registry_after_fork(struct state *state);

static inline void
registry_add(Task *task)
{
    Loop *loop = task->native_loop;
    struct task_list *tasks = &task->state->tasks;
#if AC_FREE_THREADED
    tasks = loop != NULL ? &loop->threads.tasks : tasks;
    task->listed = tasks;
    compat_enable_try_incref((PyObject *)task);
#else
    (void)loop;
#endif
    compat_mutex_lock(&tasks->lock);
    list_append(&tasks->head, &task->link);
    compat_mutex_unlock(&tasks->lock);
}

static inline uint64_t
registry_next_number(Task *task)
{
#if AC_FREE_THREADED
    return registry_number_of_many(task);
#else
    return task->state->next_task_number++;
#endif
}

static inline void
registry_remove(Task *task)
{
#if AC_FREE_THREADED
    struct task_list *tasks = task->listed;
    if (tasks == NULL) {
        return;
    }
    task->listed = NULL;
    compat_mutex_lock(&tasks->lock);
    list_remove(&task->link);
    compat_mutex_unlock(&tasks->lock);
#else
    list_remove(&task->link);
#endif
}

static inline int
registry_enter(Loop *loop, PyObject *task)
{
    return AC_LIKELY(loop->entered_task == task) ? 0 : registry_publish(loop, task);
}

/* Before anything but a task's step runs. */
static inline int
registry_leave(Loop *loop)
{
    return AC_LIKELY(loop->entered_task == NULL) ? 0 : registry_withdraw(loop);
}

#endif
