/* What the files of Task do for each other; task.h has what everybody may do.  Layer: core. */
#ifndef AC_CORE_TASK_PARTS_H
#define AC_CORE_TASK_PARTS_H

#include "core/registry.h"
#include "core/task.h"

/* ---- task.c ---- */

/* The first half of making a task: a loop, and arguments that will do.  What is a task already and fails here goes on as
   it was, and as everything gets its loop first, what has a coroutine has a loop.  Returns 0 or -1. */
int task_init_future(Task *self, struct state *state, PyObject *loop, PyObject *coroutine, PyObject *context);
/* The second half.  Needs: all of what task_clear() clears is clear.  Returns 0 or -1. */
int task_init_coroutine(Task *self, PyObject *coroutine, PyObject *name, PyObject *context);
/* Queues or takes the first step.  Needs: tracked.  Returns 0 or -1. */
int task_begin(Task *self, bool eager_start);

int task_set_name(Task *self, PyObject *name);

/* future.cancel(message) of any kind of future.  1, 0 or -1.  Runs Python. */
int task_cancel_any(struct state *state, PyObject *future, PyObject *message);

/* Clears what a Task has beyond a Future. */
void task_clear(Task *self);

/* ---- task_step.c ---- */

/* Resumes the coroutine once.  The caller holds the task, has entered its context and published it.  Returns 0, or -1
   with an exception for the loop.  Runs Python. */
int task_step(Task *self, PyObject *exception);

/* ---- task_wake.c ---- */

/* The task as an entry of the ready queue or of a future. */
extern const struct runnable_ops task_ops;

/* Queues the next step, which throws `exception` if there is one.  Returns 0 or -1. */
int task_schedule(Task *self, PyObject *exception);

/* One step, in the task's context.  Returns 0 or -1.  Runs Python. */
int task_step_in_context(Task *self, PyObject *exception);

/* Memory ran out before the coroutine could be resumed, or before the task could wait, so that nobody would ever resume it:
   its next step throws the MemoryError that is set into the coroutine.  Any other exception stays.  Returns 0 or -1. */
int task_interrupt(Task *self);

/* The callback by which a future that is not ours wakes the task.  New reference. */
PyObject *task_wakeup_new(Task *self);

int task_step_register(PyObject *module);

#endif
