/* A virtual CLOCK_MONOTONIC for a whole process, preloaded in front of libc.

   While it is started, time stands still, and a wait for descriptors that would sleep moves the clock to the end of the
   wait instead.  So an unmodified event loop, with all its shortcuts, runs timers at an exact place in the order of
   events, and an hour of sleeping takes no time.

   A wait first asks the kernel without waiting, then for as long as the grace says, for what the kernel delivers a moment
   later (TCP on loopback); only then nothing is ready.  A wait without a deadline stays a wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int started;
static int64_t now_ns;
static int grace_ms;
static int64_t ready_ns;

void
virtual_clock_start(int64_t ns, int grace, int64_t ready)
{
    now_ns = ns;
    grace_ms = grace;
    ready_ns = ready;
    started = 1;
}

void
virtual_clock_advance(int64_t ns)
{
    now_ns += ns;
}

void
virtual_clock_stop(void)
{
    started = 0;
}

int
clock_gettime(clockid_t clock, struct timespec *result)
{
    if (started && clock == CLOCK_MONOTONIC) {
        result->tv_sec = now_ns / 1000000000;
        result->tv_nsec = now_ns % 1000000000;
        return 0;
    }
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    return real(clock, result);
}

static int
real_epoll_wait(int fd, struct epoll_event *events, int size, int timeout_ms)
{
    static int (*real)(int, struct epoll_event *, int, int);
    if (real == NULL) {
        real = (int (*)(int, struct epoll_event *, int, int))dlsym(RTLD_NEXT, "epoll_wait");
    }
    return real(fd, events, size, timeout_ms);
}

static int
virtual_epoll_wait(int fd, struct epoll_event *events, int size, int64_t timeout_ns)
{
    int count = real_epoll_wait(fd, events, size, 0);
    if (count == 0 && timeout_ns > 0 && grace_ms > 0) {
        count = real_epoll_wait(fd, events, size, grace_ms);
    }
    now_ns += count == 0 ? timeout_ns : ready_ns;
    return count;
}

int
epoll_wait(int fd, struct epoll_event *events, int size, int timeout_ms)
{
    if (!started || timeout_ms < 0) {
        return real_epoll_wait(fd, events, size, timeout_ms);
    }
    return virtual_epoll_wait(fd, events, size, timeout_ms * (int64_t)1000000);
}

int
ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    static int (*real)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
    if (real == NULL) {
        real = (int (*)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))dlsym(RTLD_NEXT, "ppoll");
    }
    if (!started || timeout == NULL) {
        return real(fds, count, timeout, mask);
    }
    int64_t timeout_ns = timeout->tv_sec * (int64_t)1000000000 + timeout->tv_nsec;
    struct timespec at_once = {0, 0};
    struct timespec grace = {0, grace_ms * 1000000L};
    int found = real(fds, count, &at_once, mask);
    if (found == 0 && timeout_ns > 0 && grace_ms > 0) {
        found = real(fds, count, &grace, mask);
    }
    now_ns += found == 0 ? timeout_ns : ready_ns;
    return found;
}

/* epoll_pwait2() is called by its number, as many a libc does not know it. */
long
syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    long a = va_arg(arguments, long), b = va_arg(arguments, long), c = va_arg(arguments, long);
    long d = va_arg(arguments, long), e = va_arg(arguments, long), f = va_arg(arguments, long);
    va_end(arguments);
    static long (*real)(long, ...);
    if (real == NULL) {
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    }
#ifdef SYS_epoll_pwait2
    if (started && number == SYS_epoll_pwait2 && d != 0) {
        const struct timespec *timeout = (const struct timespec *)d;
        int64_t timeout_ns = timeout->tv_sec * (int64_t)1000000000 + timeout->tv_nsec;
        return virtual_epoll_wait((int)a, (struct epoll_event *)b, (int)c, timeout_ns);
    }
#endif
    return real(number, a, b, c, d, e, f);
}
