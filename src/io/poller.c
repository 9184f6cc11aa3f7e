/* The half of a poller that is the same for every backend: which watch belongs to which descriptor.  Layer: io. */
#include "io/poller.h"

#include "base/macros.h"
#include "io/calls.h"
#include "io/waker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct poller_backend *const backends[] = { &poller_epoll, &poller_poll };

int
poller_open(struct poller *poller, const char *name)
{
    *poller = (struct poller){ .fd = -1 };
    for (size_t i = 0; i < AC_ARRAY_SIZE(backends); i++) {
        if (name == NULL || strcmp(backends[i]->name, name) == 0) {
            int error = backends[i]->open(poller);
            if (error == 0) {
                poller->backend = backends[i];
            }
            return error;
        }
    }
    return -EINVAL;
}

bool
poller_is_ours(const struct poller *poller)
{
    const struct waker *waker = poller->known_by;
    if (poller->lost || waker == NULL) {
        return !poller->lost;
    }
    return file_is(waker->fd, &waker->identity)
           && (poller->backend->has == NULL || poller->backend->has(poller, waker->fd));
}

void
poller_lose(struct poller *poller)
{
    poller->lost = true;
}

static int
backend_set(struct poller *poller, struct watch *watch, unsigned wanted)
{
    return AC_UNLIKELY(poller->lost) ? -EBADF : poller->backend->set(poller, watch, wanted);
}

/* Closes what the backend has opened, as far as it is ours. */
static void
close_backend(struct poller *poller)
{
    if (!poller_is_ours(poller)) {
        poller_lose(poller);
    }
    poller->backend->close(poller);
}

void
poller_close(struct poller *poller)
{
    if (poller->backend != NULL) {
        close_backend(poller);
    }
    free(poller->watches);
    free(poller->events);
    *poller = (struct poller){ .fd = -1 };
}

static int
reserve_watch(struct poller *poller, int fd)
{
    size_t size = poller->watches_size ? poller->watches_size : AC_STRESS_OR(1, 16);
    while (size <= (size_t)fd) {
        size *= 2;
    }
    if (size == poller->watches_size) {
        return 0;
    }
    struct watch **watches = realloc(poller->watches, size * sizeof(*watches));
    if (watches == NULL) {
        return -ENOMEM;
    }
    memset(watches + poller->watches_size, 0, (size - poller->watches_size) * sizeof(*watches));
    poller->watches = watches;
    poller->watches_size = size;
    return 0;
}

int
poller_set(struct poller *poller, struct watch *watch, unsigned wanted)
{
    struct watch *known = poller_find(poller, watch->fd);
    assert(known == NULL || known == watch);
    if (wanted == 0) {
        if (known != NULL) {
            /* The kernel may have dropped a closed descriptor on its own; there is nothing to do about either. */
            (void)backend_set(poller, watch, 0);
            poller->watches[watch->fd] = NULL;
            poller->watch_count--;
            watch->wanted = 0;
        }
        return 0;
    }
    if (watch->fd < 0) {
        return -EBADF;
    }
    /* The kernel first: it refuses a number that is no descriptor, for which the table would grow without bounds. */
    int error = backend_set(poller, watch, wanted);
    if (error < 0 && known != NULL && (wanted & ~watch->wanted) == 0) {
        /* What the kernel goes on telling is not wanted, and does not get through. */
        watch->wanted = wanted;
        return 0;
    }
    if (error < 0) {
        return error;
    }
    error = reserve_watch(poller, watch->fd);
    if (error < 0) {
        (void)poller->backend->set(poller, watch, 0);
        return error;
    }
    watch->wanted = wanted;
    if (known == NULL) {
        poller->watches[watch->fd] = watch;
        poller->watch_count++;
    }
    return 0;
}

int
poller_wait(struct poller *poller, int64_t timeout_ns)
{
    if (AC_UNLIKELY(poller->lost)) {
        return -EBADF;
    }
    return stress_interrupts(timeout_ns) ? -EINTR : poller->backend->wait(poller, timeout_ns);
}

int
poller_collect(struct poller *poller, int count)
{
    count = poller->backend->collect(poller, count);
#ifdef ASYNCIO_C_STRESS
    for (int left = count; left > 1 && stress_is_on(); left--) {
        struct poll_event *last = &poller->events[left - 1], *other = &poller->events[stress_random((uint32_t)left)];
        struct poll_event event = *other;
        *other = *last;
        *last = event;
    }
#endif
    return count;
}

int
poller_reserve_events(struct poller *poller, size_t size)
{
    if (size <= poller->events_size) {
        return 0;
    }
    struct poll_event *events = realloc(poller->events, size * sizeof(*events));
    if (events == NULL) {
        return -ENOMEM;
    }
    poller->events = events;
    poller->events_size = size;
    return 0;
}

int
poller_reopen(struct poller *poller, struct watch *moved, int fd)
{
    struct poller fresh = { .fd = -1, .backend = poller->backend };
    int error = reserve_watch(poller, fd);
    if (error == 0) {
        error = fresh.backend->open(&fresh);
    }
    if (error < 0) {
        return error;
    }
    for (size_t i = 0; i < poller->watches_size && error == 0; i++) {
        struct watch *watch = poller->watches[i];
        unsigned wanted = watch && watch != moved ? watch->wanted : 0;
        if (wanted == 0) {
            continue;
        }
        watch->wanted = 0;
        error = fresh.backend->set(&fresh, watch, wanted);
        watch->wanted = wanted;
        /* What the child has closed, or replaced by a regular file, or whose number the new poller itself has got (EINVAL),
           stays among the watches until its owner looks. */
        if (error == -EBADF || error == -EPERM || error == -EINVAL) {
            error = 0;
        }
    }
    struct watch there = { .fd = fd };
    if (error == 0) {
        error = fresh.backend->set(&fresh, &there, moved->wanted);
    }
    if (error < 0) {
        fresh.backend->close(&fresh);
        free(fresh.events);
        return error;
    }
    close_backend(poller);
    free(poller->events);
    fresh.watches = poller->watches;
    fresh.watches_size = poller->watches_size;
    fresh.watch_count = poller->watch_count;
    fresh.known_by = poller->known_by;
    *poller = fresh;
    poller->watches[moved->fd] = NULL;
    poller->watches[fd] = moved;
    moved->fd = fd;
    moved->serial = there.serial;
    return 0;
}
