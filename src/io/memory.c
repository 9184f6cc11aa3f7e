/* Looking at memory that may not be there, and what malloc() does with large blocks.  Layer: io.

   The kernel refuses to write to a pipe what is not there, with an error and without a signal.  process_vm_readv() would be one
   call for five, but sandboxes forbid it.  The call is made by its number, for a sanitizer's write() would judge the memory first. */
#define _GNU_SOURCE
#include "io/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int
memory_peek(void *to, const void *from, size_t size)
{
    int ends[2];
    if (size > PIPE_BUF) {
        return -EINVAL; /* would not be written in one piece */
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    long count = syscall(SYS_write, ends[1], from, size);
    int error = count < 0 ? errno : (size_t)count < size ? EFAULT : 0;
    if (error == 0 && read(ends[0], to, size) != (ssize_t)size) {
        error = EIO;
    }
    close(ends[0]);
    close(ends[1]);
    return -error;
}

void
memory_keep_freed(void)
{
    void *volatile block =
        malloc(MEMORY_KEPT_BYTES / 2); /* volatile: or the compiler would make nothing of both calls */
    free(block);
}
