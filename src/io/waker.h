/* Wakes a loop that sleeps in its poller, from any thread: an eventfd.  Layer: io. */
#ifndef AC_IO_WAKER_H
#define AC_IO_WAKER_H

/* Returns the descriptor to watch for reading, or -errno. */
int waker_open(void);
void waker_close(int fd);

/* Gives it another, higher number, which is returned, or -errno; then it is closed. */
int waker_move_up(int fd);

/* Makes `fd` readable.  Safe in any thread and in a signal handler. */
void waker_wake(int fd);

/* Makes it unreadable again. */
void waker_drain(int fd);

#endif
