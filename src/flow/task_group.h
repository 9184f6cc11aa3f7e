/* TaskGroup: tasks that are waited for at the end of a block.  Layer: flow.

   task_group.c has the type and what happens for each task; task_group_block.c how the block is entered and left. */
#ifndef AC_FLOW_TASK_GROUP_H
#define AC_FLOW_TASK_GROUP_H

#include "core/task.h"

/* asyncio's attributes, each of which is an object, so that asyncio's own methods and whoever looks find what they expect, and
   owned; NULL where it is not there. */
#define TASK_GROUP_ATTRIBUTES(X)                           \
    X(entered, "_entered")                                 \
    X(exiting, "_exiting")                                 \
    X(aborting, "_aborting")                               \
    X(loop, "_loop")                                       \
    X(parent_task, "_parent_task")                         \
    X(parent_cancel_requested, "_parent_cancel_requested") \
    X(base_error, "_base_error")                           \
    X(on_completed, "_on_completed_fut")

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *entered;
    PyObject *exiting;
    PyObject *aborting;
    PyObject *loop;
    PyObject *parent_task;
    PyObject *parent_cancel_requested;
    PyObject *base_error;
    PyObject *on_completed;    /* the future that it waits for at the end, which the last task finishes */
    PyObject *cancel_on_enter; /* from 3.15 on */
    PyObject *tasks;           /* owned; a set, or NULL */
    PyObject *errors;          /* owned; a list, None, or NULL: it is made when it is needed */
    bool has_errors;           /* `errors` is there, though it may not be made yet */
    bool touched;              /* a method was set on the instance */
    LOOP_HOME
} TaskGroup;

/* First in each function that Python calls. */
#if AC_FREE_THREADED
#define TASK_GROUP_GUARD(self) GUARD(loop_home_of(&(self)->home, (self)->state, &(self)->loop), self)
#else
#define TASK_GROUP_GUARD(self) ((void)0)
#endif

/* Whether nobody has replaced a method that another one calls: in a subclass, on the instance or in asyncio's class. */
bool task_group_is_plain(TaskGroup *self);

/* asyncio's method of that name; `args` begins with the group.  Runs Python. */
PyObject *task_group_call_asyncio(struct state *state, PyObject *name, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames);

/* Whether there are tasks: 1, 0 or -1.  Runs Python where somebody has put something else into `_tasks`. */
int task_group_has_tasks(TaskGroup *self);

/* self._errors.append(error).  Returns 0 or -1. */
int task_group_add_error(TaskGroup *self, PyObject *error);

/* Notes a KeyboardInterrupt or SystemExit, if it is one and the first.  */
void task_group_note_base_error(TaskGroup *self, PyObject *error);

/* self._abort(): cancels all tasks.  Returns 0 or -1.  Runs Python. */
int task_group_abort(TaskGroup *self);

int task_group_block_register(PyObject *module);

#endif
