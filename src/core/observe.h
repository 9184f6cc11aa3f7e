/* Watching the entries of the queue run: how long each takes, how late timers are, and which one runs now.  Layer: core.

   A loop that nobody observes pays a branch for each turn.  One that is observed runs its entries by a second copy of the code
   that does so (run_queue() in loop.c), which reads the clock after each entry and calls the functions here.

   Two kinds of observers:

   struct timings   histograms, which loop.measure() switches on and loop.stats() shows.

   Pulse            what another thread may know of the entry that runs.  The thread never touches the loop, which may be gone:
                    it asks its Pulse, which the loop lets go of when it is closed, and which holds the loop while it looks.  It
                    looks at most twice in the time after which it reports; when it finds that nothing runs it parks, and the
                    next entry wakes it, and starts it if it is not there, as at the beginning and in the child of a fork.  An
                    entry that has taken too long is told at its end by the loop itself, in the loop's thread. */
#ifndef AC_CORE_OBSERVE_H
#define AC_CORE_OBSERVE_H

#include "base/histogram.h"
#include "py/state.h"

#include <stdbool.h>

typedef struct Loop Loop;

/* A timer in the queue: the entry at `position` of the ring was due at `deadline_ns`. */
struct due {
    size_t position;
    int64_t deadline_ns;
};

struct timings {
    struct histogram callbacks; /* nanoseconds that each entry took */
    struct histogram lag;       /* from the deadline of a timer to its start */
    struct due *due;            /* private: first come, first served */
    size_t due_first, due_count, due_capacity;
};

typedef struct Pulse {
    PyObject_HEAD
    Loop *loop;         /* borrowed: which has it among its pulses; or NULL; changes under the lock */
    compat_mutex lock;  /* of that pointer; all else is guarded by the loop's critical section */
    struct Pulse *next; /* owned by that loop */
    PyObject *wake;     /* owned or, when cleared, NULL: wake() starts or wakes the thread */
    PyObject *tell;     /* likewise: tell(owner, number, seconds) hears of an entry that took longer than the limit */
    int64_t limit_ns;
    bool parked; /* the thread wants to be woken by the next turn */
    uint64_t fork_generation;
    uint64_t woken, told; /* the entries for which it was called last */
} Pulse;

struct observation {
    bool wanted; /* timings or pulses are there */
    struct timings *timings;
    Pulse *pulses; /* owned */
    /* The entry that runs; kept while there are pulses. */
    uint64_t entry;
    int64_t entry_since_ns;
    bool waking;           /* it is about to run: observers are being woken */
    PyObject *entry_owner; /* borrowed: run_queue() holds it; NULL: none runs */
    unsigned long thread;  /* the thread that runs it */
};

/* Switches the timings on, with nothing in them unless they are on, or off.  Returns 0, or -1 with MemoryError set. */
int observe_measure(Loop *loop, bool wanted);

/* A timer that was due at `deadline_ns` goes to the end of the queue. */
void observe_timer(Loop *loop, int64_t deadline_ns);

/* An entry, which was at `position` of the ring, begins.  The caller holds the owner.  Runs Python. */
void observe_entry(Loop *loop, PyObject *owner, size_t position, int64_t now_ns);

/* It has ended.  An exception may be set, and stays.  Runs Python. */
void observe_end(Loop *loop, PyObject *owner, int64_t began_ns, int64_t now_ns);

/* A turn begins in the middle of an entry, whose owner is returned, or NULL: the loop is no longer held up.  Runs Python. */
PyObject *observe_nested_borrow(Loop *loop);

/* It has ended, and the entry around it goes on.  Runs Python. */
void observe_again(Loop *loop, PyObject *owner);

/* Lets go of the pulses: the loop is closed.  Runs Python. */
void observe_close(Loop *loop);

int observe_register(PyObject *module);

#endif
