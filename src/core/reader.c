/* _add_reader() and _add_writer(): a handle for each direction of a descriptor.  Layer: core.

   The public methods without the underscore are asyncio's, which look first whether a transport uses the descriptor.

   asyncio keeps the reader and the writer of a descriptor together, replaces and cancels the older handle, and queues the
   handle itself each time the descriptor is ready: so do we.  It also keeps the object that the descriptor was asked of,
   and so can remove the reader of a socket that is closed by now and has no number any more.  The waker's descriptor is
   not one of ours, which `ops` tells.

   Interest that is kept: sock_recv() wants to know of one event, and most often the same socket is asked again soon.  So
   when it is done the kernel is not told.  If the next sock_recv() comes first, there is nothing to tell either; if an
   event comes first, the interest ends then.  The number alone does not say that it is still the same open file, so the
   socket object is remembered, weakly: as long as it lives it has closed nothing.  (Who puts another file under a living
   socket's number with dup2() deceives it, and has to call remove_reader() first.) */
#include "core/reader.h"

#include "core/handle.h"
#include "core/selector.h"
#include "py/args.h"
#include "py/errors.h"

#include <stdlib.h>

struct reader {
    struct loop_watch base;
    Handle *handles[2]; /* owned; for POLLER_READ and POLLER_WRITE */
    PyObject *file; /* owned or NULL: the object that was given for the descriptor, by which it is found when closed */
    PyObject
        *kept_for; /* owned or NULL: weak reference to the socket for which POLLER_READ is kept, without a handle */
};

static const unsigned directions[2] = { POLLER_READ, POLLER_WRITE };

static unsigned
reader_wanted(const struct reader *reader)
{
    return (reader->handles[0] || reader->kept_for ? directions[0] : 0) | (reader->handles[1] ? directions[1] : 0);
}

/* Tells the kernel what is wanted after something has gone, and frees the reader if that is nothing.  Returns 0 or -1.
   Runs Python. */
static int
reader_update(Loop *loop, struct reader *reader)
{
    if (reader->kept_for != NULL && reader->handles[0] == NULL && reader->handles[1] == NULL
        && reader->base.watch.wanted != POLLER_READ) {
        /* The kernel has to be told anyway.  Forgetting cannot fail, unlike a change, should the socket be closed by now. */
        Py_CLEAR(reader->kept_for);
    }
    unsigned wanted = reader_wanted(reader);
    /* Nothing wanted is always told: poll(2) wants nothing of a closed descriptor whose watch is still in the table. */
    bool told = wanted != 0 && wanted == reader->base.watch.wanted;
    int result = told ? 0 : loop_set_watch(loop, &reader->base, wanted);
    if (wanted == 0 && result == 0) {
        /* A forked child may fail to leave the parent's poller: then it is still there. */
        PyObject *file = reader->file;
        free(reader);
        Py_XDECREF(file);
    }
    return result;
}

static int
reader_ready(Loop *loop, struct loop_watch *watch, unsigned events)
{
    struct reader *reader = AC_CONTAINER_OF(watch, struct reader, base);
    for (int i = 0; i < 2; i++) {
        Handle *handle = reader->handles[i];
        if (!(events & directions[i])) {
            continue;
        }
        if (handle == NULL) {
            if (i == READER_READ && reader->kept_for != NULL) {
                Py_CLEAR(reader->kept_for);
                return reader_update(loop, reader);
            }
            continue;
        }
        if (!handle->cancelled) {
            if (loop_push(loop, &handle->runnable) < 0) {
                return -1;
            }
            continue;
        }
        /* Cancelled by its handle: nobody will take it out of the poller but us.  The last decref may run Python. */
        reader->handles[i] = NULL;
        int result = reader_update(loop, reader);
        Py_DECREF(handle);
        return result; /* what is left of it stays ready, for the next turn */
    }
    return 0;
}

static int
reader_traverse(struct loop_watch *watch, visitproc visit, void *arg)
{
    struct reader *reader = AC_CONTAINER_OF(watch, struct reader, base);
    Py_VISIT(reader->handles[0]);
    Py_VISIT(reader->handles[1]);
    Py_VISIT(reader->file);
    Py_VISIT(reader->kept_for);
    return 0;
}

static void
reader_close(struct loop_watch *watch)
{
    struct reader *reader = AC_CONTAINER_OF(watch, struct reader, base);
    Handle *handles[2] = { reader->handles[0], reader->handles[1] };
    PyObject *kept_for = reader->kept_for, *file = reader->file;
    free(reader);
    Py_XDECREF(handles[0]);
    Py_XDECREF(handles[1]);
    Py_XDECREF(kept_for);
    Py_XDECREF(file);
}

static const struct loop_watch_ops reader_ops = { reader_ready, reader_traverse, reader_close };

static struct reader *
reader_find(Loop *loop, int fd)
{
    struct watch *watch = poller_find(&loop->poller, fd);
    if (watch == NULL) {
        return NULL;
    }
    struct loop_watch *base = AC_CONTAINER_OF(watch, struct loop_watch, watch);
    return base->ops == &reader_ops ? AC_CONTAINER_OF(base, struct reader, base) : NULL;
}

/* The descriptor for which `object` was given, which is closed by now.  Returns -1 if there is none. */
static int
reader_find_file(Loop *loop, PyObject *object)
{
    size_t size = loop->closed ? 0 : loop->poller.watches_size;
    for (size_t fd = 0; fd < size; fd++) {
        struct reader *reader = reader_find(loop, (int)fd);
        if (reader != NULL && reader->file == object) {
            return (int)fd;
        }
    }
    return -1;
}

/* An int, or what has a fileno(), as the selectors module takes it.  Returns -1 with an exception set.  Runs Python. */
static int
parse_fd(PyObject *object)
{
    if (!PyLong_Check(object)) {
        /* int(object.fileno()), as the selectors module asks. */
        PyObject *answer = PyObject_CallMethod(object, "fileno", NULL);
        PyObject *number = answer ? PyNumber_Long(answer) : NULL;
        Py_XDECREF(answer);
        if (number == NULL) {
            if (PyErr_ExceptionMatches(PyExc_AttributeError) || PyErr_ExceptionMatches(PyExc_TypeError)
                || PyErr_ExceptionMatches(PyExc_ValueError)) {
                PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
            }
            return -1;
        }
        int fd = parse_fd(number);
        Py_DECREF(number);
        return fd;
    }
    int overflow;
    long fd = PyLong_AsLongAndOverflow(object, &overflow);
    if (overflow > 0 || fd > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "Python int too large to convert to C int");
        return -1;
    }
    if (fd < 0) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %S", object);
        return -1;
    }
    return (int)fd;
}

/* Puts `handle` in its place, and cancels the one that was there.  `sock` is the socket of fd if that is known, or NULL, and
   `file` what shall be kept as the object of fd, or NULL.  Returns 0 or -1.  Runs Python. */
static int
reader_set(Loop *loop, int fd, int direction, Handle *handle, PyObject *sock, PyObject *file)
{
    /* Asked here and not earlier: fileno() and the collector may have closed the loop since. */
    if (loop_check_closed(loop) < 0) {
        return -1;
    }
    struct reader *reader = reader_find(loop, fd);
    bool added = reader == NULL;
    if (added) {
        if (poller_find(&loop->poller, fd) != NULL) {
            PyErr_Format(PyExc_RuntimeError, "File descriptor %d is used by the event loop", fd);
            return -1;
        }
        if (loop->selects) {
            PyErr_SetString(PyExc_RuntimeError, "the loop was given another selector meanwhile");
            return -1;
        }
        reader = calloc(1, sizeof(*reader));
        if (reader == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        reader->base = (struct loop_watch){ .watch.fd = fd, .ops = &reader_ops };
    }
    /* Told anew even if nothing changes, unless it is surely the same open file: the number may have been closed and used
       again behind our back. */
    bool known = direction == READER_READ && sock != NULL && reader->kept_for != NULL
                 && compat_weakref_is(reader->kept_for, sock);
    if (!known && loop_set_watch(loop, &reader->base, reader_wanted(reader) | directions[direction]) < 0) {
        if (added) {
            free(reader);
        }
        return -1;
    }
    if (direction == READER_READ && !known) {
        Py_CLEAR(reader->kept_for);
    }
    Handle *replaced = reader->handles[direction];
    reader->handles[direction] = (Handle *)Py_NewRef(handle);
    PyObject *replaced_file = NULL;
    if (file != NULL) {
        replaced_file = reader->file;
        reader->file = Py_NewRef(file);
    }
    int result = replaced ? handle_cancel(replaced) : 0;
    Py_XDECREF(replaced);
    Py_XDECREF(replaced_file);
    return result;
}

static Handle *
reader_add(Loop *loop, int fd, int direction, PyObject *file, PyObject *callback, PyObject *const *args,
           Py_ssize_t nargs, PyObject *context)
{
    Py_INCREF(loop); /* a collection may take it from the transport that asks, and from all others */
    Handle *handle = handle_new(loop->state, (PyObject *)loop, callback, args, nargs, context);
    if (handle != NULL) {
        PyObject_GC_Track(handle); /* it stays here between its turns */
        if (reader_set(loop, fd, direction, handle, NULL, file) < 0) {
            Py_CLEAR(handle);
        }
    }
    Py_DECREF(loop);
    return handle;
}

int
reader_watch(Loop *loop, int fd, int direction, PyObject *callback, PyObject *context)
{
    if (loop_check_closed(loop) < 0) {
        return -1;
    }
    if (AC_UNLIKELY(loop->selects)) {
        return selector_watch(loop, fd, direction, callback, context);
    }
    Handle *handle = reader_add(loop, fd, direction, NULL, callback, NULL, 0, context);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* Returns 1, 0 where there was none, or -1. */
static int
reader_remove(Loop *loop, int fd, int direction)
{
    struct reader *reader = loop->closed ? NULL : reader_find(loop, fd);
    if (reader == NULL) {
        return 0;
    }
    Handle *handle = reader->handles[direction];
    reader->handles[direction] = NULL;
    bool kept = direction == READER_READ && reader->kept_for != NULL;
    if (kept) {
        Py_CLEAR(reader->kept_for);
    }
    int result = handle != NULL || kept ? reader_update(loop, reader) : 0;
    if (handle == NULL) {
        return result;
    }
    if (handle_cancel(handle) < 0) {
        result = -1;
    }
    Py_DECREF(handle);
    return result < 0 ? -1 : 1;
}

int
reader_unwatch(Loop *loop, int fd, int direction)
{
    int removed = reader_remove(loop, fd, direction);
    if (removed == 0 && loop->selects) {
        return selector_unwatch(loop, fd, direction);
    }
    return removed < 0 ? -1 : 0;
}

bool
reader_may_watch(Loop *loop, int fd)
{
    return loop->selects || poller_find(&loop->poller, fd) != NULL;
}

bool
reader_kept_for_socket(Loop *loop, int fd, PyObject *sock)
{
    struct reader *reader = reader_find(loop, fd);
    return reader != NULL && reader->kept_for != NULL && compat_weakref_is(reader->kept_for, sock);
}

Handle *
reader_wait_for_socket(Loop *loop, int fd, int direction, PyObject *sock, PyObject *callback)
{
    Handle *handle = handle_new(loop->state, (PyObject *)loop, callback, NULL, 0, NULL);
    if (handle != NULL) {
        PyObject_GC_Track(handle);
        if (reader_set(loop, fd, direction, handle, sock, NULL) < 0) {
            Py_CLEAR(handle);
        }
    }
    return handle;
}

AC_COLD static int
unwatch_by_selector(Loop *loop, int fd, int direction, Handle *handle)
{
    return handle->cancelled ? 0 : selector_unwatch(loop, fd, direction); /* cancelled: somebody else waits there now */
}

int
reader_socket_done(Loop *loop, int fd, int direction, PyObject *sock, Handle *handle)
{
    /* Made first: an allocation may collect garbage, whose end may remove the reader. */
    PyObject *weakref = direction == READER_READ ? PyWeakref_NewRef(sock, NULL) : NULL;
    if (direction == READER_READ && weakref == NULL) {
        return -1;
    }
    struct reader *reader = loop->closed ? NULL : reader_find(loop, fd);
    if (reader == NULL || reader->handles[direction] != handle) {
        Py_XDECREF(weakref);
        return AC_UNLIKELY(loop->selects) ? unwatch_by_selector(loop, fd, direction, handle)
                                          : 0; /* or somebody else waits there */
    }
    if (direction == READER_WRITE || handle->cancelled) {
        Py_XDECREF(weakref);
        return reader_unwatch(loop, fd, direction);
    }
    Py_XSETREF(reader->kept_for, weakref);
    reader->handles[direction] = NULL;
    PyObject *file = NULL;
    if (reader->handles[READER_WRITE] == NULL) {
        file = reader->file; /* of a reader whose place this wait took: interest that is kept keeps no socket alive */
        reader->file = NULL;
    }
    int result = handle_cancel(handle);
    Py_DECREF(handle);
    Py_XDECREF(file);
    return result;
}

/* The fields of a selectors.SelectorKey, as asyncio registers it; NULL without an exception where there are no handles. */
static PyObject *
reader_as_key(const struct reader *reader)
{
    PyObject *reads = (PyObject *)reader->handles[READER_READ], *writes = (PyObject *)reader->handles[READER_WRITE];
    if (reads == NULL && writes == NULL) {
        return NULL;
    }
    int fd = reader->base.watch.fd;
    unsigned events = (reads ? POLLER_READ : 0) | (writes ? POLLER_WRITE : 0);
    /* Held, for an allocation may collect garbage, and that may remove the reader. */
    PyObject *held[] = { Py_NewRef(reads ? reads : Py_None), Py_NewRef(writes ? writes : Py_None) };
    PyObject *file = Py_XNewRef(reader->file);
    if (file == NULL) {
        file = PyLong_FromLong(fd);
    }
    PyObject *key = file ? Py_BuildValue("(OiI(OO))", file, fd, events, held[0], held[1]) : NULL;
    Py_XDECREF(file);
    Py_DECREF(held[0]);
    Py_DECREF(held[1]);
    return key;
}

int
reader_detach_all(Loop *loop)
{
    /* The table may change with each that goes. */
    for (size_t fd = 0; fd < loop->poller.watches_size; fd++) {
        struct reader *reader = reader_find(loop, (int)fd);
        if (reader == NULL) {
            continue;
        }
        if (loop_set_watch(loop, &reader->base, 0) < 0) {
            return -1;
        }
        reader_close(&reader->base);
    }
    return 0;
}

/* ---- Python face ---- */

static PyObject *
add_method(Loop *self, int direction, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    if (args_parse_context("_add_reader", self->state->str_context, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "a file descriptor and a callback are required");
        return NULL;
    }
    if (loop_check_closed(self) < 0) {
        return NULL;
    }
    if (self->selects) {
        return loop_call_asyncio(self, direction == READER_READ ? "_add_reader" : "_add_writer", args, nargs, kwnames);
    }
    int fd = parse_fd(args[0]);
    if (fd < 0) {
        return NULL;
    }
    PyObject *file = PyLong_Check(args[0]) ? NULL : args[0];
    return (PyObject *)reader_add(self, fd, direction, file, args[1], args + 2, nargs - 2, context);
}

static PyObject *
remove_method(Loop *self, int direction, PyObject *object)
{
    if (self->closed) {
        Py_RETURN_FALSE;
    }
    if (self->selects) {
        const char *name = direction == READER_READ ? "_remove_reader" : "_remove_writer";
        return loop_call_asyncio(self, name, &object, 1, NULL);
    }
    int fd = parse_fd(object);
    if (fd < 0 && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear(); /* a number that nothing can have */
        Py_RETURN_FALSE;
    }
    if (fd < 0) {
        fd = PyErr_ExceptionMatches(PyExc_ValueError) ? reader_find_file(self, object) : -1;
        if (fd < 0) {
            return NULL;
        }
        PyErr_Clear();
    }
    int removed = reader_remove(self, fd, direction);
    return removed < 0 ? NULL : PyBool_FromLong(removed);
}

PyObject *
Loop__add_reader(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    GUARD(self, self);
    return add_method(self, READER_READ, args, nargs, kwnames);
}

PyObject *
Loop__add_writer(Loop *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    GUARD(self, self);
    return add_method(self, READER_WRITE, args, nargs, kwnames);
}

PyObject *
Loop__remove_reader(Loop *self, PyObject *fd)
{
    GUARD(self, self);
    return remove_method(self, READER_READ, fd);
}

PyObject *
Loop__remove_writer(Loop *self, PyObject *fd)
{
    GUARD(self, self);
    return remove_method(self, READER_WRITE, fd);
}

PyObject *
Loop__watched(Loop *self, PyObject *object)
{
    GUARD(self, self);
    int fd = parse_fd(object);
    if (fd < 0) {
        return NULL;
    }
    struct reader *reader = reader_find(self, fd);
    PyObject *key = reader ? reader_as_key(reader) : NULL;
    return key != NULL || PyErr_Occurred() ? key : Py_NewRef(Py_None);
}

PyObject *
Loop__watches(Loop *self, PyObject *Py_UNUSED(ignored))
{
    GUARD(self, self);
    PyObject *list = PyList_New(0);
    for (size_t fd = 0; list != NULL && fd < self->poller.watches_size; fd++) {
        struct reader *reader = reader_find(self, (int)fd);
        PyObject *key = reader ? reader_as_key(reader) : NULL;
        if (key != NULL ? PyList_Append(list, key) < 0 : PyErr_Occurred() != NULL) {
            Py_CLEAR(list);
        }
        Py_XDECREF(key);
    }
    return list;
}
