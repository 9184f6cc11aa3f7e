/* Waiting by a Python selector instead of the C poller.  Layer: core. */
#ifndef AC_CORE_SELECTOR_H
#define AC_CORE_SELECTOR_H

#include "core/loop.h"

/* One wait of a loop that `selects`: queues what it makes runnable.  Returns 0 or -1.  Runs Python. */
int selector_wait(Loop *loop);

/* loop._write_to_self(), as asyncio's call_soon_threadsafe() calls it.  Returns 0 or -1.  Runs Python. */
int selector_wake(Loop *loop);

/* asyncio's _add_reader() or _add_writer() (`direction` as in reader.h), and their removal, on the loop's selector; a NULL
   `context` is a copy of the current one.  Return 0 or -1.  Run Python. */
int selector_watch(Loop *loop, int fd, int direction, PyObject *callback, PyObject *context);
int selector_unwatch(Loop *loop, int fd, int direction);

#endif
