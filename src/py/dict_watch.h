/* Notices that somebody replaces what a module or class defines.  Layer: py.

   A module or class is its dictionary.  From Python 3.12 on the interpreter tells of each change, just before it is made, in the
   thread that makes it, and while that has the critical section of the dictionary; on 3.11 dictionaries have a version, which
   dict_watch_look() compares.  Nothing is paid as long as nothing changes. */
#ifndef AC_PY_DICT_WATCH_H
#define AC_PY_DICT_WATCH_H

#include "py/compat.h"

#include <stdbool.h>

struct state;

/* What is about to become of a dictionary: all borrowed.  Without a dictionary anything may have changed already. */
struct change {
    PyObject *dict;
    PyObject *key;
    PyObject *value; /* NULL: it is deleted */
};

struct dict_watch {
    struct watched_dict *dicts; /* private */
    size_t count;
    int watcher; /* from 3.12 on: the interpreter's number for us */
};

/* Watches the dictionary of `owner`, a module or a class, once.  Returns 0 or -1. */
int dict_watch_add(struct state *state, PyObject *owner);

/* The dictionary of a module or class. */
PyObject *dict_of_borrow(PyObject *owner);

/* On 3.11: whether any of the dictionaries has changed since the last call.  Always false where Python tells. */
bool dict_watch_look(struct dict_watch *watch);

/* What `dict` has under `key`, and will have after `change`, which may be NULL.  New reference; NULL without an exception if there
   is nothing.  A change that we were told of by another thread has been made before.  Runs no Python, but may wait for
   another thread, so that without a GIL it is not called in the middle of a change. */
PyObject *dict_get(PyObject *dict, PyObject *key, const struct change *change);

int dict_watch_traverse(struct dict_watch *watch, visitproc visit, void *arg);
void dict_watch_close(struct state *state);

#endif
