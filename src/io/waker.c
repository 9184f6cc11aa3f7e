/* The pipe behind call_soon_threadsafe().  Layer: io. */
#define _GNU_SOURCE
#include "io/waker.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
waker_open(struct waker *waker)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    *waker = (struct waker){ .fd = ends[0], .write_fd = ends[1] };
    int error = file_identify(waker->fd, &waker->identity);
    if (error < 0) {
        close(ends[0]);
        close(ends[1]);
    }
    return error;
}

void
waker_close(struct waker *waker)
{
    file_close(waker->fd, &waker->identity);
    file_close(waker->write_fd, &waker->identity);
}

int
waker_move_up(struct waker *waker)
{
    int above = fcntl(waker->fd, F_DUPFD_CLOEXEC, waker->fd + 1), error = errno;
    if (above < 0) {
        waker_close(waker);
        return -error;
    }
    close(waker->fd);
    waker->fd = above;
    return 0;
}

/* A full pipe (EAGAIN) is readable already, which is all that is asked. */
void
waker_wake(const struct waker *waker)
{
    while (write(waker->write_fd, "", 1) < 0 && errno == EINTR) {
    }
}

/* One read, for a loop is woken once for each time that it sleeps; what is left of more wakes it again. */
void
waker_drain(const struct waker *waker)
{
    char bytes[64];
    while (read(waker->fd, bytes, sizeof(bytes)) < 0 && errno == EINTR) {
    }
}
