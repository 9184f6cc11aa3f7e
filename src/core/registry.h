/* Who is the current task, and which tasks are there, as stock asyncio sees it.  Layer: core.

   asyncio.current_task() reads a place of CPython's own: a dictionary {loop: task} up to 3.13, the thread state from 3.14
   on.  A native task is published there before its coroutine runs, so that everybody's current_task(), however early it
   was imported, tells the truth.  Publishing costs 10 to 20 ns, so the loop is lazy about taking it back: between two
   steps of tasks one replaces the other, and a step of the same task changes nothing.  It is taken back before anything
   that is not a step runs, and before the loop polls.

   all_tasks() is served without registering anything: native tasks are linked in state->tasks until they are done, and
   asyncio_c/_registry.py makes asyncio's own set of tasks iterate over that list too. */
#ifndef AC_CORE_REGISTRY_H
#define AC_CORE_REGISTRY_H

#include "core/loop.h"

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
