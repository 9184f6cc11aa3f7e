/* Looking at memory that may not be there, and what malloc() does with large blocks.  Layer: io. */
#ifndef AC_IO_MEMORY_H
#define AC_IO_MEMORY_H

#include <stddef.h>

/* Copies `size` bytes from an address that need not be one.  Returns 0 or -errno: -EFAULT where there is no such memory. */
int memory_peek(void *to, const void *from, size_t size);

/* Has malloc() keep up to MEMORY_KEPT_BYTES that were freed at the end of its heap, unless its user has set that.

   glibc gives the end of the heap back to the kernel as soon as 128 KiB are free there.  A program that receives, passes on and
   frees messages of that size then has each page of each message made anew, zeroed, and taken away again: most of its time.
   glibc raises the threshold by itself, to twice the size of a block which had a mapping of its own and is freed.  Some programs
   have such a block early and others never, which is why the same server is fast or slow by chance; so this is one.  Environment
   variables (MALLOC_TRIM_THRESHOLD_ and others) and mallopt() turn this mechanism off, and keep what they say. */
enum { MEMORY_KEPT_BYTES = 16 * 1024 * 1024 };
void memory_keep_freed(void);

#endif
