/* The context of a callback, made when the callback runs.  Layer: py.

   A callback runs with the context variables of the moment in which it was queued.  contextvars' way to say so is a copy
   of the current context: one object for each callback, which the garbage collector counts and visits.  But the
   variables of a context are an immutable mapping that it points to.  So it is enough to hold that mapping; the context
   is made when the callback runs, and if nobody has kept it by the end, only its variables stay and the next callback gets
   it.  Who asks for the context earlier or later (Handle.get_context()) gets one that stays.

   Where the private structure behind this is not what compat.h knows, the context is copied at once. */
#ifndef AC_PY_CONTEXT_H
#define AC_PY_CONTEXT_H

#include "py/state.h"

#include <stdbool.h>

struct lazy_context {
    PyObject *context;   /* owned; NULL: there is none at present */
    PyObject *variables; /* owned; what it will have; NULL while there is one */
};

/* Finds out whether the variables can be had.  Returns 0 or -1. */
int lazy_context_probe(struct state *state);

/* Takes `given`, or a snapshot of the current context where it is NULL.  Returns 0 or -1. */
int lazy_context_init(struct lazy_context *self, struct state *state, PyObject *given);

/* The context, made if need be: the same one as long as somebody holds it.  NULL with MemoryError set. */
PyObject *lazy_context_borrow(struct lazy_context *self, struct state *state);

/* After a run: where `self` alone holds the context, keeps its variables only and hands the context to the next run of
   whatever.  Nobody can tell, for nobody has seen it.  Needs: not entered. */
void lazy_context_fold(struct lazy_context *self, struct state *state);

int lazy_context_traverse(struct lazy_context *self, visitproc visit, void *arg);
void lazy_context_clear(struct lazy_context *self);

#endif
