/* Between C's errors and Python's exceptions.  Layer: py. */
#ifndef AC_PY_ERRORS_H
#define AC_PY_ERRORS_H

#include "base/macros.h"
#include "py/compat.h"

#include <stdbool.h>

struct state;

/* The bridge from system calls and io: raises OSError(errno), also for ENOMEM, which is the kernel's lack of memory.
   Returns -1. */
int raise_errno(int negative_errno);

/* The exception that something which failed has set, taken.  Interpreters that lack memory forget to set one: then it is a
   SystemError, and NULL only where not even that can be made. */
PyObject *exception_of_failure(void);

/* Raises an instance as it is, taking it; where it is NULL, what is set already stays. */
void raise_instance_steal(PyObject *error);

/* Whether the exception that is set must leave the loop: SystemExit or KeyboardInterrupt. */
bool exception_leaves_loop(void);

/* Has the interpreter run a little bytecode.  Returns 0 or -1.  Runs Python. */
int run_bytecode(void);

/* Raises what another thread has set in this one, PyThreadState_SetAsyncExc(), if there is something, and what else waits for
   bytecode to run.  Returns 0 or -1.  Runs Python. */
static inline int
raise_async_exception(void)
{
    return AC_LIKELY(!compat_async_exception_is_set()) ? 0 : run_bytecode();
}

/* Between these two the exception is the one being handled, as in an `except` clause: sys.exc_info() shows it, and it becomes
   the context of what is raised. The second takes what the first has returned; neither can fail. */
PyObject *handling_begin(PyObject *exception);
void handling_end_steal(PyObject *outer);

/* For setters: AttributeError where `value` is NULL, the attribute being deleted.  Returns 0 or -1. */
int refuse_delete(PyObject *value, const char *attribute, const char *class);

/* AttributeError for what is not there, in the interpreter's words.  Returns -1. */
int raise_no_attribute(PyObject *object, const char *name);

/* The value of the StopIteration that is set, which it takes: what a coroutine returned to throw().  NULL where another exception
   is set, which stays. */
PyObject *stop_iteration_take_value(void);

/* An outcome of am_send in the words of a send() method: a return becomes a StopIteration, made so that a tuple stays whole.  Takes
   `result`. */
PyObject *send_result_as_method(struct state *state, PySendResult outcome, PyObject *result);

/* Looks whether the interpreter's own StopIteration has what is being handled as its context.  Returns 0 or -1. */
int stop_iteration_probe(struct state *state);

#endif
