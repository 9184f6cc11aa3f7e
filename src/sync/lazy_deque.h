/* A deque that is made when somebody looks.  Layer: sync.

   asyncio's primitives have collections.deque in their attributes, and programs look there: what they find has to be a real
   one, and the same each time.  But most of the time nobody looks, and calling a deque's methods costs several times what they
   do.  So entries are kept in a ring of pointers beside it, until somebody does.

   Invariant: while the ring has entries, `deque` is None, or a deque that was made here, is empty and that nobody else has. (One
   that somebody has put there may have a maxlen.) */
#ifndef AC_SYNC_LAZY_DEQUE_H
#define AC_SYNC_LAZY_DEQUE_H

#include "base/ring.h"
#include "py/state.h"

#include <stdbool.h>

struct lazy_deque {
    /* private */
    struct ring entries; /* owned, each */
    PyObject *
        deque; /* owned: a deque, or whatever somebody has put there; None: none was there yet; NULL: no such attribute */
    bool used; /* None stands for a deque that was not needed yet */
    bool made; /* the deque was made here */
};

/* What becomes of the attribute: None, and a deque only when it is needed.  0 or -1. */
void lazy_deque_init_none(struct lazy_deque *self);
/* An empty deque. */
void lazy_deque_init(struct lazy_deque *self);
int lazy_deque_traverse(struct lazy_deque *self, visitproc visit, void *arg);
void lazy_deque_clear(struct lazy_deque *self);

/* The attribute, as Python sees it.  New reference; NULL without an exception: there is none; or with one. */
PyObject *lazy_deque_get(struct lazy_deque *self, struct state *state);
/* Sets it, or deletes it where `value` is NULL. */
void lazy_deque_set(struct lazy_deque *self, PyObject *value);

static inline bool
lazy_deque_exists(const struct lazy_deque *self)
{
    return self->deque != NULL;
}

/* Whether it is one, or may become one: nothing else was put there. */
static inline bool
lazy_deque_is_deque(const struct lazy_deque *self, struct state *state)
{
    return self->deque == Py_None ? self->used : self->deque && Py_TYPE(self->deque) == (PyTypeObject *)state->deque;
}

/* Whether there are entries, and they are here: not in the deque. */
static inline bool
lazy_deque_has_own(const struct lazy_deque *self)
{
    return ring_count(&self->entries) > 0;
}

/* One of those entries, borrowed; NULL behind the last. */
static inline PyObject *
lazy_deque_own_borrow(const struct lazy_deque *self, size_t index)
{
    return index < ring_count(&self->entries) ? ring_peek(&self->entries, index) : NULL;
}

/* It is sure where it says yes: there may be a deque. */
static inline bool
lazy_deque_is_empty(const struct lazy_deque *self)
{
    return self->deque == Py_None && !lazy_deque_has_own(self);
}

/* The following need: it exists, and whoever embeds it is held.  If it is not a deque but something else, its methods are called,
   which may run Python. */

/* 1, 0 or -1. */
int lazy_deque_any(struct lazy_deque *self, struct state *state);
/* The number of entries, or -1. */
Py_ssize_t lazy_deque_size(struct lazy_deque *self, struct state *state);
/* 0 or -1. */
int lazy_deque_append(struct lazy_deque *self, struct state *state, PyObject *entry);
/* 0, or -1 with ValueError where it is not there. */
int lazy_deque_remove(struct lazy_deque *self, struct state *state, PyObject *entry);
/* New reference, or NULL with IndexError. */
PyObject *lazy_deque_popleft(struct lazy_deque *self, struct state *state);
/* The first entry.  New reference, or NULL; without an exception: there is none. */
PyObject *lazy_deque_first(struct lazy_deque *self, struct state *state);

#endif
