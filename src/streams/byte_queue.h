/* What has come and was not read yet: a queue of bytes objects.  Layer: streams.

   asyncio keeps one bytearray, to which each chunk is copied and from which each read is copied.  Here a chunk is kept as the
   object that it came as, and a read of the whole of it gives that object away.  What is small and comes while there is
   something already is collected in a chunk of our own, so that the memory is bounded by the number of bytes, as asyncio's is,
   whatever the sizes in which they come; each byte is copied once for that.

   Who looks at `_buffer` wants a real bytearray, which changes as data comes and goes.  So it is made when somebody looks, and
   has everything from then on; when it is empty and nobody else holds it, the queue is one of chunks again.

   Invariants: no chunk is empty; `size` is the sum of all; if `array` is set there are no chunks.  `filled` is not 0 only if the
   last chunk is our own, nobody has seen it, and it has room. */
#ifndef AC_STREAMS_BYTE_QUEUE_H
#define AC_STREAMS_BYTE_QUEUE_H

#include "base/ring.h"
#include "py/compat.h"

struct byte_queue {
    /* private */
    struct ring chunks; /* owned: exactly bytes */
    size_t offset;      /* how much of the first chunk was read */
    size_t filled;      /* of the last chunk; 0: all of it */
    size_t size;        /* of all chunks, without what was read */
    PyObject *array;    /* owned or NULL: a bytearray in place of the chunks, or whatever somebody has put there */
    bool exists;        /* the attribute was not deleted */
};

/* Empty, and there.  Needs: zeroed, or initialized before. */
void byte_queue_init(struct byte_queue *self);
/* Drops everything, and the attribute. */
void byte_queue_release(struct byte_queue *self);
int byte_queue_traverse(struct byte_queue *self, visitproc visit, void *arg);

/* The attribute, as Python sees it.  New reference; NULL without an exception: it was deleted; or with one. */
PyObject *byte_queue_get_array(struct byte_queue *self);
/* Puts another object there, or deletes the attribute where it is NULL. */
void byte_queue_set_array(struct byte_queue *self, PyObject *array);

/* Whether it is chunks, or may be chunks again, or is a bytearray; nothing else works below. */
bool byte_queue_is_plain(struct byte_queue *self);

/* All that follows needs: plain.  None of it runs Python, but the end of an object, or an allocation, may. */

static inline size_t
byte_queue_size(const struct byte_queue *self)
{
    return AC_LIKELY(self->array == NULL) ? self->size : (size_t)PyByteArray_GET_SIZE(self->array);
}

/* Appends exactly bytes, by reference where that is better.  0 or -1. */
int byte_queue_append(struct byte_queue *self, PyObject *data);

/* array.extend(data) of exactly bytearray and bytes.  0, or -1 with BufferError or MemoryError. */
int bytearray_append(PyObject *array, PyObject *data);

/* Takes the first `size` bytes; if they are just one chunk, that is returned itself.  Needs: there are as many.  New reference,
   or NULL, and nothing is taken. */
PyObject *byte_queue_take(struct byte_queue *self, size_t size);

/* Drops the first `size` bytes.  Needs: there are as many.  0 or -1. */
int byte_queue_drop(struct byte_queue *self, size_t size);

/* Where `pattern`, of at least one byte, begins, at `from` or behind it; -1: nowhere. */
Py_ssize_t byte_queue_find(const struct byte_queue *self, const char *pattern, size_t size, size_t from);

/* Whether `pattern` is there at `place`. */
bool byte_queue_matches(const struct byte_queue *self, const char *pattern, size_t size, size_t place);

#endif
