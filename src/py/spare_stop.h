/* A StopIteration that is raised again and again.  Layer: py.

   From Python 3.12 on `await` resumes what is not a coroutine in Python by tp_iternext, so that each value that is not None comes
   back in a StopIteration.  To make one and its tuple, and to free both, costs more than the rest of an `await queue.get()`; and
   nobody sees it, for the interpreter takes the value out at once.  So one is lent to the iterator that ends, and taken back when
   that is deallocated, which is the next thing that the interpreter does: hence the value lives no longer than it would.

   It is lent where nobody can tell: only the interpreter's stack holds the iterator, and nothing is being handled that would become
   its context.  If it is not alone in our hands when it comes back, because somebody did catch it, it is his for good.  If it does not
   come back, because something in C holds the iterator, such as a map(), it is taken back when the next one ends. */
#ifndef AC_PY_SPARE_STOP_H
#define AC_PY_SPARE_STOP_H

#include "py/state.h"

/* An outcome of am_send in the words of tp_iternext, of the iterator `self`: None is returned by no exception, what else by a
   StopIteration.  Takes `result`.  Runs Python. */
PyObject *spare_stop_next(struct state *state, PyObject *self, PySendResult outcome, PyObject *result);

/* private */
void spare_stop_take_back(struct spare_stop *spare);

/* For the tp_dealloc of whoever calls spare_stop_next().  Drops the value, of which the interpreter has a reference. */
static inline void
spare_stop_dealloc(struct state *state, PyObject *self)
{
    if (AC_UNLIKELY(state->spare_stop.lent_to == self)) {
        spare_stop_take_back(&state->spare_stop);
    }
}

#endif
