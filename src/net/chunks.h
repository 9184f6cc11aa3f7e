/* What a transport has still to send: a queue of bytes objects.  Layer: net.

   Invariants: the chunks are of exactly the type bytes, so that dropping one runs no Python, and none is empty. */
#ifndef AC_NET_CHUNKS_H
#define AC_NET_CHUNKS_H

#include "base/ring.h"
#include "py/compat.h"

#include <sys/types.h>
#include <sys/uio.h>

struct chunks {
    struct ring ring;
    size_t offset;     /* how much of the first chunk has been sent */
    size_t size_bytes; /* of all chunks, without what has been sent */
};

void chunks_init(struct chunks *chunks);

/* Drops them all; an empty queue holds no memory. */
void chunks_clear(struct chunks *chunks);

/* Drops those that were appended last, until no more than `count` are left. */
void chunks_truncate(struct chunks *chunks, size_t count);

/* A chunk for what write() was given: bytes by reference, anything else as a copy, for it may change, or run Python when it
   is let go.  New reference, or NULL with an exception if `data` is no buffer.  Runs Python. */
PyObject *chunk_new(PyObject *data);

/* Takes off the queue what has been sent. */
void chunks_consume(struct chunks *chunks, size_t count);

/* Appends what chunk_new() returned; an empty one, or NULL, is not appended.  Returns 0, or -1 with an exception set. */
int chunks_append_steal(struct chunks *chunks, PyObject *chunk);

/* Gives the kernel what it takes, by `send`, which is as writev().  Returns 0 or -errno; that it takes nothing at present is
   no error. */
int chunks_send(struct chunks *chunks, int fd, ssize_t (*send)(int fd, struct iovec *vectors, size_t count));

/* Offers all of it once to a function in Python: function(data), or function(first, data) where `first` is not NULL, with one
   bytes object, or with a list of them where they are to stay apart.  What it raises to say that it takes nothing at present is
   no error.  Returns 0, or -1 with an exception.  Runs Python. */
int chunks_offer(struct chunks *chunks, PyObject *function, PyObject *first, bool apart);

/* What has not been sent, as a new list of bytes objects. */
PyObject *chunks_list(const struct chunks *chunks);

static inline size_t
chunks_count(const struct chunks *chunks)
{
    return ring_count(&chunks->ring);
}

static inline bool
chunks_empty(const struct chunks *chunks)
{
    return ring_count(&chunks->ring) == 0;
}

#endif
