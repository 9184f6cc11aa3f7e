/* The methods of the loop that watch descriptors.  Layer: core. */
#ifndef AC_CORE_READER_H
#define AC_CORE_READER_H

#include "core/handle.h"

enum {
    READER_READ = 0,
    READER_WRITE = 1,
};

/* loop._add_reader(fd, callback, context=context), or _add_writer, and their removal.  Return 0 or -1.  Run Python. */
int reader_watch(Loop *loop, int fd, int direction, PyObject *callback, PyObject *context);
int reader_unwatch(Loop *loop, int fd, int direction);

/* False if certainly nobody watches fd. */
bool reader_may_watch(Loop *loop, int fd);

/* Whether interest in reading fd is kept for this socket object, so that nothing else has used the number meanwhile. */
bool reader_kept_for_socket(Loop *loop, int fd, PyObject *sock);

/* For one wait on a socket object: watches it and returns the handle, and afterwards ends that, which costs no system call if
   the same socket is waited for again soon.  Needs: open, and for the first that the loop does not select.  NULL or -1 with
   an exception.  Run Python. */
Handle *reader_wait_for_socket(Loop *loop, int fd, int direction, PyObject *sock, PyObject *callback);
int reader_socket_done(Loop *loop, int fd, int direction, PyObject *sock, Handle *handle);

PyObject *Loop__add_reader(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *Loop__add_writer(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *Loop__remove_reader(Loop *self, PyObject *fd);
PyObject *Loop__remove_writer(Loop *self, PyObject *fd);
PyObject *Loop__watched(Loop *self, PyObject *fd);
PyObject *Loop__watches(Loop *self, PyObject *ignored);

/* Takes all readers out of the C poller, for loop_select().  Returns 0 or -1.  Runs Python. */
int reader_detach_all(Loop *loop);

#endif
