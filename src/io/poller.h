/* What a loop needs of the kernel to wait for descriptors: a table of functions.  Layer: io.

   A watch says which events of one descriptor are wanted.  Its owner embeds it; the poller finds it by descriptor, never
   by a pointer that the kernel gives back, so that an event that is late for a watch already gone finds nothing.
   One descriptor has at most one watch in one poller.  All functions return 0 (or a count) or -errno. */
#ifndef AC_IO_POLLER_H
#define AC_IO_POLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waker;

enum {
    POLLER_READ = 1,
    POLLER_WRITE = 2,
};

struct watch {
    int fd;
    unsigned wanted; /* POLLER_READ | POLLER_WRITE; what the kernel was last told */
    uint32_t serial; /* private to the backend: of the announcement to the kernel */
};

struct poll_event {
    int fd;         /* not the watch, which may be gone by the time that the event is looked at */
    unsigned ready; /* of what the watch wanted */
};

struct poller;

struct poller_backend {
    const char *name;
    int (*open)(struct poller *poller);
    void (*close)(struct poller *poller);
    /* Tells the kernel that `wanted` of watch->fd matters from now on, 0 for nothing. */
    int (*set)(struct poller *poller, struct watch *watch, unsigned wanted);
    /* A wait has three parts, because only the middle one runs without the GIL, when other threads may change watches.
       prepare (may be NULL) takes a picture of the watches; wait blocks until something is ready or `timeout_ns`
       (negative: for ever) is over and returns a count; collect makes poller->events of it and returns their number.
       -EINTR is reported, not retried: signals are the caller's. */
    int (*prepare)(struct poller *poller);
    int (*wait)(struct poller *poller, int64_t timeout_ns);
    int (*collect)(struct poller *poller, int count);
    /* Whether poller->fd is a poller that watches the open file `fd`.  NULL: this backend has no descriptor. */
    bool (*has)(const struct poller *poller, int fd);
};

struct poller {
    const struct poller_backend *backend;
    struct watch **watches; /* by descriptor */
    size_t watches_size;
    size_t watch_count;
    struct poll_event *events; /* what the last wait found */
    size_t events_size;
    const struct waker *known_by; /* or NULL: see poller_is_ours() */
    bool lost;                    /* by poller_lose() */
    /* private to the backend */
    int fd;
    void *memory;
    size_t memory_size;
    uint32_t serial; /* epoll: of the last announcement */
    bool haunted;    /* epoll: the last wait told of a file that nobody watches */
};

extern const struct poller_backend poller_epoll;
extern const struct poller_backend poller_poll;

/* Opens a poller with the backend of that name, or with the best one where `name` is NULL.  -EINVAL: no such backend. */
int poller_open(struct poller *poller, const char *name);

/* Frees everything; watches are forgotten, no descriptor but the poller's own is closed, and that only if it is ours. */
void poller_close(struct poller *poller);

/* Whether the poller's descriptor is still what poller_open() opened: it watches the waker `known_by`, which the owner sets
   when it is watched.  Before that, nobody has had the time to close anything. */
bool poller_is_ours(const struct poller *poller);

/* Leaves the poller's descriptor alone from now on.  All but to want less fails with -EBADF. */
void poller_lose(struct poller *poller);

/* Changes what `watch` wants; the first call announces it and the last, with 0, forgets it.  To want less cannot
   fail. */
int poller_set(struct poller *poller, struct watch *watch, unsigned wanted);

/* For the child of a fork: a new poller with the same watches, without touching the one that the parent goes on using.  Only
   `moved` watches `fd` from now on.  Returns 0 or -errno, in which case the poller is as it was. */
int poller_reopen(struct poller *poller, struct watch *moved, int fd);

/* The three parts of a wait: see poller_backend. */
static inline int
poller_prepare(struct poller *poller)
{
    return poller->backend->prepare ? poller->backend->prepare(poller) : 0;
}

int poller_wait(struct poller *poller, int64_t timeout_ns);
int poller_collect(struct poller *poller, int count);

/* The watch of `fd`, or NULL. */
static inline struct watch *
poller_find(const struct poller *poller, int fd)
{
    return fd >= 0 && (size_t)fd < poller->watches_size ? poller->watches[fd] : NULL;
}

/* For backends: makes room for `size` events.  Returns 0 or -ENOMEM. */
int poller_reserve_events(struct poller *poller, size_t size);

#endif
