/* What loops tell whoever records them.  Layer: core.

   A loop that is recorded has a Recorder, of which the core knows no more than this table; src/monitor/recorder.c makes them.
   A loop that is not has NULL there: then each of these places costs a branch. */
#ifndef AC_CORE_RECORDER_H
#define AC_CORE_RECORDER_H

#include "core/runnable.h"

typedef struct Recorder Recorder;

struct recorder_ops {
    /* From now on the loop is recorded.  Returns 0 or -1. */
    int (*attached)(Recorder *self, Loop *loop);

    /* `runnable` was put into the ready queue, because its time has come if `by_timer`.  Any thread.  Runs no Python, and changes
       no exception that is set. */
    void (*queued)(Recorder *self, Loop *loop, struct runnable *runnable, bool by_timer);

    /* `runnable` is about to run.  The caller holds it and the recorder.  Runs Python. */
    void (*begins)(Recorder *self, Loop *loop, struct runnable *runnable);

    /* It has run, with this outcome, of which the exception is set.  Returns the outcome, or -1 with what has come up meanwhile
       (a signal's handler).  Runs Python. */
    int (*ends)(Recorder *self, Loop *loop, struct runnable *runnable, int outcome);

    /* Somebody cancels the task.  Runs no Python, and changes no exception that is set. */
    void (*cancels)(Recorder *self, Loop *loop, PyObject *task);
};

/* How a Recorder begins. */
struct Recorder {
    PyObject_HEAD
    const struct recorder_ops *ops;
};

#endif
