/* The eventfd behind call_soon_threadsafe().  Layer: io. */
#include "io/waker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int
waker_open(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int
waker_move_up(int fd)
{
    int above = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1), error = errno;
    close(fd);
    return above < 0 ? -error : above;
}

void
waker_close(int fd)
{
    close(fd);
}

/* A full counter (EAGAIN) is readable already, which is all that is asked. */
void
waker_wake(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void
waker_drain(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}
