/* Between C's errors and Python's exceptions; errors.h is the manual.  Layer: py. */
#include "py/errors.h"

#include <errno.h>

int
raise_errno(int negative_errno)
{
    if (negative_errno == -ENOMEM) {
        PyErr_NoMemory();
        return -1;
    }
    errno = -negative_errno;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

bool
exception_leaves_loop(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}
