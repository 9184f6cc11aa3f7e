/* Looking at memory that may not be there.  Layer: io. */
#ifndef AC_IO_MEMORY_H
#define AC_IO_MEMORY_H

#include <stddef.h>

/* Copies `size` bytes from an address that need not be one.  Returns 0 or -errno: -EFAULT where there is no such memory. */
int memory_peek(void *to, const void *from, size_t size);

#endif
