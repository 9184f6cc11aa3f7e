/* Whether a number is still the descriptor of the file that was opened under it.  Layer: io.

   The kernel gives the lowest free number, so whoever closes our descriptor, as a daemon does that closes all it has
   inherited, opens a file of its own under the same number soon after.  To close by a number that was remembered would
   close that file.  So what closes a descriptor long after it was opened asks first, and leaves what is not its own.

   A file is known by its device and inode, which no other file has while a copy of the descriptor is open anywhere, and
   which pipes and sockets do not get again (the kernel counts up).  All epolls and eventfds share one inode: they cannot be
   told apart in this way.  That is why the waker is a pipe, and why a poller is known by the waker that is watched in it
   (poller_is_ours). */
#ifndef AC_IO_FILE_IDENTITY_H
#define AC_IO_FILE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct file_identity {
    uint64_t device, inode;
};

/* What `fd` is now.  Returns 0 or -errno. */
int file_identify(int fd, struct file_identity *identity);

/* Whether `fd` is open and that file. */
bool file_is(int fd, const struct file_identity *identity);

/* Closes `fd` if it is that file, else does nothing. */
void file_close(int fd, const struct file_identity *identity);

#endif
