/* The portable poller, on poll(2).  Layer: io.

   poll is told all descriptors each time, so the array of pollfd is rebuilt from the watches before a wait.  That is
   O(number of descriptors) for each wait, which is what poll itself costs; it is not the backend for ten thousand.  The
   picture is `memory`, and `fd`, which poll has no other use for, counts its entries. */
#define _GNU_SOURCE
#include "io/poller.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

static int
poll_backend_open(struct poller *poller)
{
    (void)poller;
    return 0;
}

static void
poll_backend_close(struct poller *poller)
{
    free(poller->memory);
}

/* Reports what epoll would: a descriptor that is not open. */
static int
poll_backend_set(struct poller *poller, struct watch *watch, unsigned wanted)
{
    (void)poller;
    struct pollfd probe = { .fd = watch->fd };
    if (wanted != 0 && poll(&probe, 1, 0) > 0 && probe.revents & POLLNVAL) {
        return -EBADF;
    }
    return 0;
}

static int
poll_backend_prepare(struct poller *poller)
{
    if (poller->memory_size < poller->watch_count) {
        size_t size = poller->watch_count * 2;
        struct pollfd *memory = realloc(poller->memory, size * sizeof(*memory));
        if (memory == NULL) {
            return -ENOMEM;
        }
        poller->memory = memory;
        poller->memory_size = size;
    }
    int error = poller_reserve_events(poller, poller->watch_count);
    if (error < 0) {
        return error;
    }
    struct pollfd *fds = poller->memory;
    size_t count = 0;
    for (size_t fd = 0; fd < poller->watches_size && count < poller->watch_count; fd++) {
        const struct watch *watch = poller->watches[fd];
        if (watch != NULL && watch->wanted != 0) {
            short events =
                (short)((watch->wanted & POLLER_READ ? POLLIN : 0) | (watch->wanted & POLLER_WRITE ? POLLOUT : 0));
            fds[count++] = (struct pollfd){ .fd = (int)fd, .events = events };
        }
    }
    poller->fd = (int)count;
    return 0;
}

static int
poll_backend_wait(struct poller *poller, int64_t timeout_ns)
{
    struct timespec timeout = { timeout_ns / CLOCK_NS_PER_S, timeout_ns % CLOCK_NS_PER_S };
    int found = ppoll(poller->memory, (nfds_t)poller->fd, timeout_ns < 0 ? NULL : &timeout, NULL);
    return found < 0 ? -errno : found;
}

static int
poll_backend_collect(struct poller *poller, int count)
{
    struct pollfd *fds = poller->memory;
    int kept = 0;
    for (int i = 0; i < poller->fd && count > 0; i++) {
        struct watch *watch = poller_find(poller, fds[i].fd);
        if (fds[i].revents == 0 || watch == NULL) {
            continue;
        }
        count--;
        if (fds[i].revents & POLLNVAL) {
            /* Closed behind our back: epoll would have forgotten it, poll would answer at once for ever. */
            watch->wanted = 0;
            continue;
        }
        unsigned ready =
            (fds[i].revents & ~POLLOUT ? POLLER_READ : 0u) | (fds[i].revents & ~POLLIN ? POLLER_WRITE : 0u);
        ready &= watch->wanted;
        if (ready != 0) {
            poller->events[kept++] = (struct poll_event){ watch->fd, ready };
        }
    }
    return kept;
}

const struct poller_backend poller_poll = {
    .name = "poll",
    .open = poll_backend_open,
    .close = poll_backend_close,
    .set = poll_backend_set,
    .prepare = poll_backend_prepare,
    .wait = poll_backend_wait,
    .collect = poll_backend_collect,
};
