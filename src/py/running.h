/* The running loop and the current task of this thread, as asyncio's own functions see them.  Layer: py.

   asyncio.get_running_loop() and, from 3.14 on, asyncio.current_task() read two references in the thread state.  The core
   reads and writes the same two, so that both sides always tell the same. */
#ifndef AC_PY_RUNNING_H
#define AC_PY_RUNNING_H

#include "py/state.h"

/* Finds the place, by having asyncio put marks there.  Returns 0, also where there is none, or -1. */
int running_probe(struct state *state);

/* The two references of this thread, or NULL where they have to be had by calls.  Its task is in use only where asyncio has
   no dictionary of current tasks: from 3.14 on. */
static inline struct compat_running *
running_place(const struct state *state)
{
    if (state->running_offset == 0) {
        return NULL;
    }
    return (struct compat_running *)((char *)PyThreadState_Get() + state->running_offset);
}

#endif
