/* The queue of what has come and was not read yet.  Layer: streams. */
#define _GNU_SOURCE
#include "streams/byte_queue.h"

#include "py/monitor.h"

#include <string.h>

enum {
    SMALL = 1024,                          /* what is smaller is copied, if it is not the only one */
    OWN_SIZE = AC_STRESS_OR(64, 8 * 1024), /* of the chunks that it is copied to */
};

/* A part of a chunk. */
struct span {
    const char *data;
    size_t size;
};

static inline PyObject *
chunk_borrow(const struct byte_queue *self, size_t index)
{
    return ring_peek(&self->chunks, index);
}

static inline struct span
span_at(const struct byte_queue *self, size_t index)
{
    PyObject *chunk = chunk_borrow(self, index);
    bool has_room = self->filled != 0 && index + 1 == ring_count(&self->chunks);
    size_t end = has_room ? self->filled : (size_t)PyBytes_GET_SIZE(chunk), begin = index == 0 ? self->offset : 0;
    return (struct span){ PyBytes_AS_STRING(chunk) + begin, end - begin };
}

static void
check(const struct byte_queue *self)
{
#ifndef NDEBUG
    size_t size = 0;
    for (size_t i = 0; i < ring_count(&self->chunks); i++) {
        assert(span_at(self, i).size > 0);
        size += span_at(self, i).size;
    }
    assert(size == self->size && (self->array == NULL || ring_count(&self->chunks) == 0));
#else
    (void)self;
#endif
}

static void
drop_chunks(struct byte_queue *self)
{
    self->offset = self->filled = self->size = 0;
    while (ring_count(&self->chunks) > 0) {
        Py_DECREF((PyObject *)ring_pop(&self->chunks));
    }
    ring_release(&self->chunks);
}

void
byte_queue_init(struct byte_queue *self)
{
    drop_chunks(self);
    self->exists = true;
    MONITOR_SET(self->array, NULL);
}

void
byte_queue_release(struct byte_queue *self)
{
    byte_queue_set_array(self, NULL);
}

int
byte_queue_traverse(struct byte_queue *self, visitproc visit, void *arg)
{
    Py_VISIT(self->array);
    return 0;
}

/* ---- As a bytearray ---- */

/* Copies what is there from `from` on. */
static void
copy_out(const struct byte_queue *self, char *to, size_t size)
{
    for (size_t i = 0; size > 0; i++) {
        struct span span = span_at(self, i);
        size_t part = span.size < size ? span.size : size;
        memcpy(to, span.data, part);
        to += part;
        size -= part;
    }
}

PyObject *
byte_queue_get_array(struct byte_queue *self)
{
    if (!self->exists) {
        return NULL;
    }
    if (self->array == NULL) {
        PyObject *array = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)self->size);
        if (array == NULL) {
            return NULL;
        }
        copy_out(self, PyByteArray_AS_STRING(array), self->size);
        drop_chunks(self);
        self->array = array;
    }
    return Py_NewRef(self->array);
}

void
byte_queue_set_array(struct byte_queue *self, PyObject *array)
{
    drop_chunks(self);
    self->exists = array != NULL;
    MONITOR_SET(self->array, Py_XNewRef(array));
}

bool
byte_queue_is_plain(struct byte_queue *self)
{
    if (AC_LIKELY(self->array == NULL)) {
        return self->exists;
    }
    if (!PyByteArray_CheckExact(self->array)) {
        return false;
    }
    if (PyByteArray_GET_SIZE(self->array) == 0 && compat_is_unique(self->array)) {
        Py_CLEAR(self->array);
    }
    return true;
}

int
bytearray_append(PyObject *array, PyObject *data)
{
    Py_ssize_t before = PyByteArray_GET_SIZE(array), added = PyBytes_GET_SIZE(data);
    if (PyByteArray_Resize(array, before + added) < 0) {
        return -1;
    }
    memcpy(PyByteArray_AS_STRING(array) + before, PyBytes_AS_STRING(data), (size_t)added);
    return 0;
}

/* ---- As chunks ---- */

static int
push_steal(struct byte_queue *self, PyObject *chunk, size_t size)
{
    if (chunk == NULL || ring_push(&self->chunks, chunk) < 0) {
        if (chunk != NULL) {
            Py_DECREF(chunk);
            PyErr_NoMemory();
        }
        return -1;
    }
    self->size += size;
    return 0;
}

/* The last chunk shall have no room: what follows it comes apart.  0 or -1. */
static int
end_own_chunk(struct byte_queue *self)
{
    if (self->filled == 0) {
        return 0;
    }
    size_t last = ring_count(&self->chunks) - 1;
    PyObject *chunk = chunk_borrow(self, last);
    PyObject *exact = PyBytes_FromStringAndSize(PyBytes_AS_STRING(chunk), (Py_ssize_t)self->filled);
    if (exact == NULL) {
        return -1;
    }
    ring_replace(&self->chunks, last, exact);
    self->filled = 0;
    Py_DECREF(chunk);
    return 0;
}

/* Appends a copy of what is small.  0 or -1, and then nothing is appended. */
static int
append_copy(struct byte_queue *self, const char *data, size_t size)
{
    PyObject *last = chunk_borrow(self, ring_count(&self->chunks) - 1);
    size_t room = self->filled ? (size_t)PyBytes_GET_SIZE(last) - self->filled : 0;
    size_t part = room < size ? room : size, rest = size - part;
    if (rest > 0) {
        size_t capacity = rest < OWN_SIZE ? OWN_SIZE : rest;
        PyObject *own = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)capacity);
        if (own == NULL) {
            return -1;
        }
        memcpy(PyBytes_AS_STRING(own), data + part, rest);
        if (push_steal(self, own, rest) < 0) {
            return -1;
        }
    }
    if (part > 0) {
        memcpy(PyBytes_AS_STRING(last) + self->filled, data, part);
        self->size += part;
        self->filled += part;
    }
    if (rest > 0) {
        self->filled = rest < OWN_SIZE ? rest : 0;
    }
    else if (self->filled == (size_t)PyBytes_GET_SIZE(last)) {
        self->filled = 0;
    }
    return 0;
}

int
byte_queue_append(struct byte_queue *self, PyObject *data)
{
    size_t size = (size_t)PyBytes_GET_SIZE(data);
    int result;
    if (AC_UNLIKELY(self->array != NULL)) {
        return bytearray_append(self->array, data);
    }
    if (size == 0) {
        return 0;
    }
    if (size < SMALL && self->size > 0) {
        result = append_copy(self, PyBytes_AS_STRING(data), size);
    }
    else {
        result = end_own_chunk(self) < 0 ? -1 : push_steal(self, Py_NewRef(data), size);
    }
    check(self);
    return result;
}

static void
drop_from_chunks(struct byte_queue *self, size_t size)
{
    self->size -= size;
    while (size > 0) {
        struct span span = span_at(self, 0);
        if (size < span.size) {
            self->offset += size;
            break;
        }
        size -= span.size;
        self->offset = 0;
        if (ring_count(&self->chunks) == 1) {
            self->filled = 0;
        }
        Py_DECREF((PyObject *)ring_pop(&self->chunks));
    }
    check(self);
}

int
byte_queue_drop(struct byte_queue *self, size_t size)
{
    if (AC_UNLIKELY(self->array != NULL)) {
        return size > 0 ? PySequence_DelSlice(self->array, 0, (Py_ssize_t)size) : 0;
    }
    drop_from_chunks(self, size);
    return 0;
}

/* Takes the first chunk as it is, if it is of that size; else NULL. */
static inline PyObject *
take_first_whole(struct byte_queue *self, size_t size)
{
    size_t count = ring_count(&self->chunks);
    if (count == 0 || self->offset > 0 || (self->filled != 0 && count == 1)
        || (size_t)PyBytes_GET_SIZE(chunk_borrow(self, 0)) != size) {
        return NULL;
    }
    self->size -= size;
    return ring_pop(&self->chunks);
}

PyObject *
byte_queue_take(struct byte_queue *self, size_t size)
{
    PyObject *data;
    if (AC_UNLIKELY(self->array != NULL)) {
        data = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self->array), (Py_ssize_t)size);
        if (data != NULL && byte_queue_drop(self, size) < 0) {
            Py_CLEAR(data);
        }
        return data;
    }
    data = take_first_whole(self, size);
    if (data == NULL) {
        data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (data != NULL) {
            copy_out(self, PyBytes_AS_STRING(data), size);
            drop_from_chunks(self, size);
        }
    }
    return data;
}

/* ---- Searching ---- */

/* Whether `pattern` is there from `place` of the chunk at `index` on, over as many chunks as it takes. */
static bool
matches_in(const struct byte_queue *self, const char *pattern, size_t size, size_t index, size_t place)
{
    while (size > 0) {
        if (index == ring_count(&self->chunks)) {
            return false;
        }
        struct span span = span_at(self, index++);
        size_t part = span.size - place < size ? span.size - place : size;
        if (memcmp(span.data + place, pattern, part) != 0) {
            return false;
        }
        pattern += part;
        size -= part;
        place = 0;
    }
    return true;
}

/* The chunk in which the byte at *place is, which becomes the place in it.  Needs: place < size.  If it is not the first it is
   counted from the end, for who searches again has searched all but the end. */
static size_t
chunk_of(const struct byte_queue *self, size_t *place)
{
    if (AC_LIKELY(*place < span_at(self, 0).size)) {
        return 0;
    }
    size_t index = ring_count(&self->chunks), begin = self->size;
    do {
        begin -= span_at(self, --index).size;
    } while (begin > *place);
    *place -= begin;
    return index;
}

/* The first place in the part of a chunk at which the whole pattern is, or where it begins and goes on in the next chunks. */
static Py_ssize_t
find_in_chunk(const struct byte_queue *self, const char *pattern, size_t size, size_t index, size_t from)
{
    struct span span = span_at(self, index);
    const char *data = span.data + from;
    size_t rest = span.size - from;
    const char *found = size == 1 ? memchr(data, *pattern, rest) : memmem(data, rest, pattern, size);
    if (found != NULL) {
        return found - span.data;
    }
    size_t place = rest < size ? from : span.size - size + 1;
    while (size > 1 && place < span.size) {
        const char *first = memchr(span.data + place, *pattern, span.size - place);
        if (first == NULL) {
            break;
        }
        place = (size_t)(first - span.data);
        if (matches_in(self, pattern, size, index, place)) {
            return (Py_ssize_t)place;
        }
        place++;
    }
    return -1;
}

Py_ssize_t
byte_queue_find(const struct byte_queue *self, const char *pattern, size_t size, size_t from)
{
    size_t all = byte_queue_size(self);
    if (from > all || size > all - from) {
        return -1;
    }
    if (AC_UNLIKELY(self->array != NULL)) {
        const char *data = PyByteArray_AS_STRING(self->array), *found = memmem(data + from, all - from, pattern, size);
        return found ? found - data : -1;
    }
    size_t place = from, index = chunk_of(self, &place), begin = from - place;
    for (; index < ring_count(&self->chunks); index++) {
        Py_ssize_t found = find_in_chunk(self, pattern, size, index, place);
        if (found >= 0) {
            return (Py_ssize_t)begin + found;
        }
        begin += span_at(self, index).size;
        place = 0;
    }
    return -1;
}

bool
byte_queue_matches(const struct byte_queue *self, const char *pattern, size_t size, size_t place)
{
    size_t all = byte_queue_size(self);
    if (place > all || size > all - place) {
        return false;
    }
    if (AC_UNLIKELY(self->array != NULL)) {
        return memcmp(PyByteArray_AS_STRING(self->array) + place, pattern, size) == 0;
    }
    size_t index = chunk_of(self, &place);
    return matches_in(self, pattern, size, index, place);
}
