/* The poller on Linux' epoll, level-triggered.  Layer: io.

   What epoll does that surprises:

   - It watches open files, not descriptors.  When a descriptor is closed behind our back the kernel forgets it, unless a
     duplicate keeps the open file alive: then events go on coming for a number that may mean something else by now, and
     no epoll_ctl can stop them.  So events carry the number, which is looked up among the watches of today, and which
     announcement of that number they belong to; what a watch does not want is masked out, and an event that belongs to no
     watch has the watches moved to a new epoll, without the ghost, lest every wait ends at once.
   - When the number is closed and used again, a change fails with ENOENT where we thought to modify, and with EEXIST
     where a duplicate survived and we thought to add.  Each falls back to the other.
   - Regular files are refused with EPERM; that error is the user's to see.
   - All epolls have one inode, so that a foreign one under the number of ours is told only by what it watches.  To add what
     is watched already fails with EEXIST, which changes nothing.
   - EPOLLERR and EPOLLHUP cannot be masked.  They wake whoever waits, readers and writers, who then get the error from
     their own system call. */
#define _GNU_SOURCE
#include "io/poller.h"

#include "base/clock.h"
#include "base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Headers older than Linux 5.11, as those of manylinux2014 are, lack the number, which is the same on all machines but Alpha
   and MIPS; there the call then fails as on an old kernel. */
#ifndef SYS_epoll_pwait2
#if defined(__x86_64__) || defined(__aarch64__)
#define SYS_epoll_pwait2 441
#else
#define SYS_epoll_pwait2 -1
#endif
#endif

enum { FIRST_BATCH = AC_STRESS_OR(1, 64), LARGEST_BATCH = 4096 };

static int
reserve(struct poller *poller, size_t size)
{
    struct epoll_event *memory = realloc(poller->memory, size * sizeof(*memory));
    if (memory == NULL) {
        return -ENOMEM;
    }
    poller->memory = memory;
    poller->memory_size = size;
    return poller_reserve_events(poller, size);
}

static int
epoll_backend_open(struct poller *poller)
{
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0) {
        return -errno;
    }
    int error = reserve(poller, FIRST_BATCH);
    if (error < 0) {
        close(poller->fd);
        free(poller->memory);
        poller->memory = NULL;
        poller->fd = -1;
    }
    return error;
}

static void
epoll_backend_close(struct poller *poller)
{
    if (!poller->lost) {
        close(poller->fd);
    }
    free(poller->memory);
}

static int
control(struct poller *poller, int operation, const struct watch *watch, unsigned wanted)
{
    struct epoll_event event = {
        .events = (wanted & POLLER_READ ? EPOLLIN : 0) | (wanted & POLLER_WRITE ? EPOLLOUT : 0),
        .data.u64 = (uint64_t)watch->serial << 32 | (uint32_t)watch->fd,
    };
    return epoll_ctl(poller->fd, operation, watch->fd, &event) < 0 ? -errno : 0;
}

static int
add(struct poller *poller, struct watch *watch, unsigned wanted)
{
    watch->serial = ++poller->serial;
    int error = control(poller, EPOLL_CTL_ADD, watch, wanted);
    return error == -EEXIST ? control(poller, EPOLL_CTL_MOD, watch, wanted) : error;
}

static int
epoll_backend_set(struct poller *poller, struct watch *watch, unsigned wanted)
{
    if (wanted == 0) {
        return control(poller, EPOLL_CTL_DEL, watch, 0);
    }
    int error = watch->wanted ? control(poller, EPOLL_CTL_MOD, watch, wanted) : -ENOENT;
    return error == -ENOENT ? add(poller, watch, wanted) : error;
}

/* epoll_wait with nanoseconds.  Old kernels and some containers have no epoll_pwait2: there the milliseconds are rounded
   up, so that a timer is late rather than early. */
static int
wait_ns(int fd, struct epoll_event *events, int size, int64_t timeout_ns)
{
    if (timeout_ns <= 0) {
        return epoll_wait(fd, events, size, timeout_ns < 0 ? -1 : 0);
    }
    struct timespec timeout = { timeout_ns / CLOCK_NS_PER_S, timeout_ns % CLOCK_NS_PER_S };
    int count = (int)syscall(SYS_epoll_pwait2, fd, events, size, &timeout, NULL, 0); /* younger than many a libc */
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
        int64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
        count = epoll_wait(fd, events, size, ms < INT32_MAX ? (int)ms : INT32_MAX);
    }
    return count;
}

static bool
epoll_backend_has(const struct poller *poller, int fd)
{
    struct epoll_event nothing = { 0 };
    if (epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &nothing) < 0) {
        return errno == EEXIST;
    }
    (void)epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &nothing); /* another's epoll: as it was */
    return false;
}

/* Leaves an epoll that tells of files which nobody watches.  What goes wrong is tried again at the next wait, but for
   -EBADF: it is another's. */
AC_COLD static int
leave_ghosts(struct poller *poller)
{
    if (!poller_is_ours(poller)) {
        return -EBADF;
    }
    int fd = epoll_create1(EPOLL_CLOEXEC), old = poller->fd;
    if (fd < 0) {
        return 0;
    }
    poller->fd = fd;
    for (size_t i = 0; i < poller->watches_size; i++) {
        struct watch *watch = poller->watches[i];
        unsigned wanted = watch ? watch->wanted : 0;
        if (wanted == 0) {
            continue;
        }
        /* What was closed behind our back, and perhaps replaced by a regular file or this epoll (EINVAL), is not worth
           staying for. */
        int error = control(poller, EPOLL_CTL_ADD, watch, wanted);
        if (error < 0 && error != -EBADF && error != -EPERM && error != -EINVAL) {
            close(fd);
            poller->fd = old;
            return 0;
        }
    }
    close(old);
    poller->haunted = false;
    return 0;
}

/* Asks for as many events as there are watches, up to a limit, so that one turn sees all that is ready. */
static int
epoll_backend_prepare(struct poller *poller)
{
    if (AC_UNLIKELY(poller->haunted)) {
        int error = leave_ghosts(poller);
        if (error < 0) {
            return error;
        }
    }
    if (AC_LIKELY(poller->watch_count <= poller->memory_size || poller->memory_size >= LARGEST_BATCH)) {
        return 0;
    }
    size_t size = poller->memory_size * 2 > poller->watch_count ? poller->memory_size * 2 : poller->watch_count;
    return reserve(poller, size < LARGEST_BATCH ? size : LARGEST_BATCH);
}

static int
epoll_backend_wait(struct poller *poller, int64_t timeout_ns)
{
    int count = wait_ns(poller->fd, poller->memory, (int)poller->memory_size, timeout_ns);
    return count < 0 ? -errno : count;
}

static int
epoll_backend_collect(struct poller *poller, int count)
{
    struct epoll_event *found = poller->memory;
    int kept = 0;
    for (int i = 0; i < count; i++) {
        struct watch *watch = poller_find(poller, (int)(uint32_t)found[i].data.u64);
        if (watch == NULL || watch->serial != found[i].data.u64 >> 32) {
            poller->haunted = true;
            continue;
        }
        unsigned ready = (found[i].events & ~(unsigned)EPOLLOUT ? POLLER_READ : 0)
                         | (found[i].events & ~(unsigned)EPOLLIN ? POLLER_WRITE : 0);
        ready &= watch->wanted;
        if (ready != 0) {
            poller->events[kept++] = (struct poll_event){ watch->fd, ready };
        }
        else {
            /* The kernel would not be told that less is wanted.  It is, by a new epoll. */
            poller->haunted = true;
        }
    }
    return kept;
}

const struct poller_backend poller_epoll = {
    .name = "epoll",
    .open = epoll_backend_open,
    .close = epoll_backend_close,
    .set = epoll_backend_set,
    .prepare = epoll_backend_prepare,
    .wait = epoll_backend_wait,
    .collect = epoll_backend_collect,
    .has = epoll_backend_has,
};
