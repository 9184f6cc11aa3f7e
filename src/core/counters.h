/* What a loop counts of itself, always.  Layer: core.

   Each costs an addition where it happens, and none of them a look at the clock for each entry: that is for who asks
   (core/observe.h).  The clock is read before a poll that may wait, after which the loop reads it anyway, and twice in a run. */
#ifndef AC_CORE_COUNTERS_H
#define AC_CORE_COUNTERS_H

#include "base/clock.h"

#include <stddef.h>
#include <sys/types.h>

struct counters {
    uint64_t callbacks; /* entries of the queue that were taken to run, of turns that have ended */
    uint64_t steps;     /* of native tasks */
    uint64_t polls;
    uint64_t bytes_in, bytes_out; /* by transports and the sock_* methods */
    int64_t waiting_ns;           /* of polls that have ended */
    int64_t running_ns;           /* of runs that have ended */
    int64_t waiting_since_ns;     /* 0: it does not wait */
    int64_t running_since_ns;     /* if runs > 0 */
    unsigned runs;                /* those that are nested are a part of the outer one */
};

static inline void
counters_run_begins(struct counters *counters)
{
    if (counters->runs++ == 0) {
        counters->running_since_ns = clock_now_ns();
    }
}

static inline void
counters_run_ends(struct counters *counters)
{
    if (--counters->runs == 0) {
        counters->running_ns += clock_now_ns() - counters->running_since_ns;
    }
}

/* What recv() or send() has returned. */
static inline void
counters_received(struct counters *counters, ssize_t count)
{
    counters->bytes_in += count > 0 ? (size_t)count : 0;
}

static inline void
counters_sent(struct counters *counters, ssize_t count)
{
    counters->bytes_out += count > 0 ? (size_t)count : 0;
}

#endif
