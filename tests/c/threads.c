/* What threads do to a loop, with all of it visible to the thread sanitizer: "make tsan".

   A mutex stands for the GIL, and the loop below is that of src/core/loop.c as far as threads see it: work is queued under the
   mutex, who finds the loop asleep writes to the waker, and the poll alone runs without the mutex.  Meanwhile other threads add
   and remove watches.  Several loops run at once, and each is closed while its producers still call in.  On every backend.
   Exits with 0 if no loop missed a call that it had accepted. */
#include "base/ring.h"
#include "io/poller.h"
#include "io/waker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOOPS = 3, PRODUCERS = 3, CALLS = 3000, EVENTS = 16 };

struct loop {
    pthread_mutex_t gil;
    struct ring ready;
    struct poller poller;
    struct waker waker;
    struct watch waker_watch;
    bool sleeping, closed;
    long accepted, run;
};

static void
require(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        abort();
    }
}

/* call_soon_threadsafe().  False: the loop is closed. */
static bool
call(struct loop *loop)
{
    pthread_mutex_lock(&loop->gil);
    bool open = !loop->closed;
    if (open) {
        require(ring_push(&loop->ready, loop) == 0, "ring_push");
        loop->accepted++;
        if (loop->sleeping) {
            loop->sleeping = false;
            waker_wake(&loop->waker);
        }
    }
    pthread_mutex_unlock(&loop->gil);
    return open;
}

static void *
produce(void *argument)
{
    for (int i = 0; i < CALLS && call(argument); i++) {
        if (i % 64 == 0) {
            usleep(50); /* lets the loop fall asleep */
        }
    }
    return NULL;
}

/* add_reader() and remove_reader() of descriptors that are ready or not, while the loop may be in its poll. */
static void *
watch_and_forget(void *argument)
{
    struct loop *loop = argument;
    int pipes[EVENTS][2];
    struct watch watches[EVENTS] = { 0 };
    for (int i = 0; i < EVENTS; i++) {
        require(pipe(pipes[i]) == 0 && (i % 2 || write(pipes[i][1], "x", 1) == 1), "pipe");
        watches[i].fd = pipes[i][0];
    }
    for (int i = 0; i < CALLS; i++) {
        struct watch *watch = &watches[i % EVENTS];
        pthread_mutex_lock(&loop->gil);
        if (!loop->closed) {
            require(poller_set(&loop->poller, watch, watch->wanted ? 0 : POLLER_READ) == 0, "poller_set");
        }
        pthread_mutex_unlock(&loop->gil);
    }
    pthread_mutex_lock(&loop->gil);
    for (int i = 0; i < EVENTS; i++) {
        if (!loop->closed) {
            (void)poller_set(&loop->poller, &watches[i], 0);
        }
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    pthread_mutex_unlock(&loop->gil);
    return NULL;
}

static void
turn(struct loop *loop)
{
    bool idle = ring_count(&loop->ready) == 0;
    require(poller_prepare(&loop->poller) == 0, "poller_prepare");
    loop->sleeping = idle;
    if (idle) {
        pthread_mutex_unlock(&loop->gil);
    }
    int count = poller_wait(&loop->poller, idle ? -1 : 0);
    if (idle) {
        pthread_mutex_lock(&loop->gil);
    }
    loop->sleeping = false;
    require(count >= 0 || count == -EINTR, "poller_wait");
    count = count > 0 ? poller_collect(&loop->poller, count) : 0;
    for (int i = 0; i < count; i++) {
        if (loop->poller.events[i].fd == loop->waker.fd) {
            waker_drain(&loop->waker);
        }
    }
    while (ring_count(&loop->ready) > 0) {
        (void)ring_pop(&loop->ready);
        loop->run++;
    }
}

/* Runs until two thirds of the calls have come, and closes with the rest on their way. */
static void *
run_and_close(void *argument)
{
    struct loop *loop = argument;
    pthread_t threads[PRODUCERS + 1];
    for (int i = 0; i <= PRODUCERS; i++) {
        require(pthread_create(&threads[i], NULL, i ? produce : watch_and_forget, loop) == 0, "pthread_create");
    }
    pthread_mutex_lock(&loop->gil);
    while (loop->run < PRODUCERS * CALLS * 2 / 3) {
        turn(loop);
    }
    loop->closed = true;
    poller_close(&loop->poller);
    waker_close(&loop->waker);
    ring_release(&loop->ready);
    pthread_mutex_unlock(&loop->gil);
    for (int i = 0; i <= PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
    }
    return NULL;
}

static void
open_loop(struct loop *loop, const char *backend)
{
    *loop = (struct loop){ 0 };
    require(waker_open(&loop->waker) == 0, "waker_open");
    require(poller_open(&loop->poller, backend) == 0, "poller_open");
    loop->waker_watch.fd = loop->waker.fd;
    require(poller_set(&loop->poller, &loop->waker_watch, POLLER_READ) == 0, "poller_set");
    loop->poller.known_by = &loop->waker;
    ring_init(&loop->ready);
    pthread_mutex_init(&loop->gil, NULL);
}

int
main(void)
{
    const char *const backends[] = { "epoll", "poll" };
    bool lost = false;
    for (int b = 0; b < 2; b++) {
        struct loop loops[LOOPS];
        pthread_t threads[LOOPS];
        for (int i = 0; i < LOOPS; i++) {
            open_loop(&loops[i], backends[b]);
        }
        for (int i = 0; i < LOOPS; i++) {
            require(pthread_create(&threads[i], NULL, run_and_close, &loops[i]) == 0, "pthread_create");
        }
        for (int i = 0; i < LOOPS; i++) {
            pthread_join(threads[i], NULL);
            lost |= loops[i].accepted != loops[i].run;
            printf("%s: %ld calls accepted, %ld run\n", backends[b], loops[i].accepted, loops[i].run);
        }
    }
    return lost;
}
