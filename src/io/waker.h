/* Wakes a loop that sleeps in its poller, from any thread: a pipe.  Layer: io.

   An eventfd would be one descriptor less and 0.2 us faster, but is not to be told from another one, nor from an epoll: see
   file_identity.h. */
#ifndef AC_IO_WAKER_H
#define AC_IO_WAKER_H

#include "io/file_identity.h"

struct waker {
    int fd; /* to be watched for reading */
    /* private */
    int write_fd;
    struct file_identity identity; /* of both ends */
};

/* Returns 0 or -errno. */
int waker_open(struct waker *waker);

/* Closes what is still its own. */
void waker_close(struct waker *waker);

/* Gives `fd` another, higher number.  Returns 0 or -errno; then the waker is closed. */
int waker_move_up(struct waker *waker);

/* Makes `fd` readable.  Safe in any thread and in a signal handler. */
void waker_wake(const struct waker *waker);

/* Makes it unreadable again. */
void waker_drain(const struct waker *waker);

#endif
