/* Between C's errors and Python's exceptions.  Layer: py. */
#ifndef AC_PY_ERRORS_H
#define AC_PY_ERRORS_H

#include "py/compat.h"

#include <stdbool.h>

/* The one bridge from base and io: raises MemoryError for -ENOMEM and OSError(errno) for the rest.  Returns -1. */
int raise_errno(int negative_errno);

/* Whether the exception that is set must leave the loop: SystemExit or KeyboardInterrupt. */
bool exception_leaves_loop(void);

#endif
