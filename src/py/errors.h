/* Between C's errors and Python's exceptions.  Layer: py. */
#ifndef AC_PY_ERRORS_H
#define AC_PY_ERRORS_H

#include "py/compat.h"

#include <stdbool.h>

/* The one bridge from base and io: raises MemoryError for -ENOMEM and OSError(errno) for the rest.  Returns -1. */
int raise_errno(int negative_errno);

/* The end of a method that returns None: NULL where `failed` is -1. */
static inline PyObject *
none_unless(int failed)
{
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

/* Whether the exception that is set must leave the loop: SystemExit or KeyboardInterrupt. */
bool exception_leaves_loop(void);

/* For setters: AttributeError where `value` is NULL, the attribute being deleted.  Returns 0 or -1. */
int refuse_delete(PyObject *value, const char *attribute, const char *class);

/* An outcome of am_send in the words of tp_iternext: a return becomes a StopIteration, made so that a tuple stays whole.
   Takes `result`. */
PyObject *send_result_as_next(PySendResult outcome, PyObject *result);

#endif
