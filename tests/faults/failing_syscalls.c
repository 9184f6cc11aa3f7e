/* System calls that fail at the chosen call of a chosen function; preloaded by tests/faults.

   Only calls of the thread that has called faults_arm() are counted and fail.  A close() that fails has closed, as Linux does
   it; nothing else that fails has had any effect. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

static __thread char armed[32]; /* empty: nothing fails */
static __thread int spared;
static __thread long first, times, counted;
static __thread int error_number;
static __thread long waits; /* of all polls, armed or not */

/* From now on the calls of `function` fail with `error`, from the one with number `first_call`, counted from 0, on, and
   `how_often`, or for ever where that is negative. */
void
faults_arm(const char *function, long first_call, long how_often, int error)
{
    first = first_call;
    times = how_often;
    error_number = error;
    counted = 0;
    strncpy(armed, function, sizeof(armed) - 1);
}

/* Returns how many calls of the function there were since faults_arm(). */
long
faults_disarm(void)
{
    armed[0] = '\0';
    return counted;
}

/* Has the calls of this thread neither counted nor failed, or ends that: for what the peer does. */
void
faults_spare(int on)
{
    spared = on;
}

/* Returns how often this thread has polled in its life. */
long
faults_waits(void)
{
    return waits;
}

static int
fails(const char *function)
{
    if (spared || strcmp(armed, function) != 0) {
        return 0;
    }
    long number = counted++;
    if (number < first || (times >= 0 && number >= first + times)) {
        return 0;
    }
    errno = error_number;
    return 1;
}

#define FAILING(result, function, parameters, arguments)    \
    result function parameters                              \
    {                                                       \
        static __typeof__(&function) real;                  \
        if (real == NULL) {                                 \
            real = (__typeof__(&function))dlsym(RTLD_NEXT, #function); \
        }                                                   \
        return fails(#function) ? (result)-1 : real arguments; \
    }

#define WAITING(result, function, parameters, arguments)    \
    result function parameters                              \
    {                                                       \
        static __typeof__(&function) real;                  \
        if (real == NULL) {                                 \
            real = (__typeof__(&function))dlsym(RTLD_NEXT, #function); \
        }                                                   \
        waits++;                                            \
        return fails(#function) ? (result)-1 : real arguments; \
    }

extern int pipe2(int fds[2], int flags);
extern int close(int fd);
extern ssize_t read(int fd, void *data, size_t size);
extern ssize_t write(int fd, const void *data, size_t size);
extern ssize_t sendfile(int out, int in, off_t *offset, size_t count);

FAILING(int, epoll_create1, (int flags), (flags))
FAILING(int, epoll_ctl, (int ep, int operation, int fd, struct epoll_event *event), (ep, operation, fd, event))
WAITING(int, epoll_wait, (int ep, struct epoll_event *events, int size, int timeout), (ep, events, size, timeout))
FAILING(int, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout))
WAITING(int, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
        (fds, count, timeout, mask))
FAILING(int, fstat, (int fd, struct stat *status), (fd, status))
FAILING(int, pipe2, (int fds[2], int flags), (fds, flags))
FAILING(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size))
FAILING(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING(ssize_t, writev, (int fd, const struct iovec *vectors, int count), (fd, vectors, count))
FAILING(ssize_t, sendfile, (int out, int in, off_t *offset, size_t count), (out, in, offset, count))
FAILING(int, socket, (int family, int type, int protocol), (family, type, protocol))
FAILING(int, socketpair, (int family, int type, int protocol, int fds[2]), (family, type, protocol, fds))
FAILING(int, bind, (int fd, const struct sockaddr *name, socklen_t length), (fd, name, length))
FAILING(int, listen, (int fd, int backlog), (fd, backlog))
FAILING(int, connect, (int fd, const struct sockaddr *name, socklen_t length), (fd, name, length))
FAILING(int, accept4, (int fd, struct sockaddr *name, socklen_t *length, int flags), (fd, name, length, flags))
FAILING(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *length),
        (fd, level, option, value, length))
FAILING(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t length),
        (fd, level, option, value, length))
FAILING(int, getsockname, (int fd, struct sockaddr *name, socklen_t *length), (fd, name, length))
FAILING(int, getpeername, (int fd, struct sockaddr *name, socklen_t *length), (fd, name, length))
FAILING(int, shutdown, (int fd, int how), (fd, how))
FAILING(ssize_t, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
FAILING(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
FAILING(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
FAILING(ssize_t, recvfrom, (int fd, void *data, size_t size, int flags, struct sockaddr *name, socklen_t *length),
        (fd, data, size, flags, name, length))
FAILING(ssize_t, sendto,
        (int fd, const void *data, size_t size, int flags, const struct sockaddr *name, socklen_t length),
        (fd, data, size, flags, name, length))

int
close(int fd)
{
    static __typeof__(&close) real;
    if (real == NULL) {
        real = (__typeof__(&close))dlsym(RTLD_NEXT, "close");
    }
    int result = real(fd);
    return result == 0 && fails("close") ? -1 : result;
}

/* With one argument at most, as all that the core asks for. */
int
fcntl(int fd, int operation, ...)
{
    static __typeof__(&fcntl) real;
    if (real == NULL) {
        real = (__typeof__(&fcntl))dlsym(RTLD_NEXT, "fcntl");
    }
    va_list list;
    va_start(list, operation);
    long argument = va_arg(list, long);
    va_end(list);
    return fails("fcntl") ? -1 : real(fd, operation, argument);
}

/* What libc has no function for, or a younger one than the interpreter or the core was built for. */
long
syscall(long number, ...)
{
    static __typeof__(&syscall) real;
    if (real == NULL) {
        real = (__typeof__(&syscall))dlsym(RTLD_NEXT, "syscall");
    }
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        arguments[i] = va_arg(list, long);
    }
    va_end(list);
#ifdef SYS_epoll_pwait2
    if (number == SYS_epoll_pwait2) {
        waits++;
        if (fails("epoll_pwait2")) {
            return -1;
        }
    }
#endif
    if (number == SYS_pidfd_open && fails("pidfd_open")) {
        return -1;
    }
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
