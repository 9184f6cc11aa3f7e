/* asyncio.StreamReader.  Layer: streams.

   Equivalent, where nothing is odd:

       class StreamReader:
           def feed_data(self, data):
               self._buffer.extend(data)
               (wakes _waiter)
               if self._transport and not self._paused and len(self._buffer) > 2 * self._limit:
                   self._transport.pause_reading()
                   self._paused = True

           async def read(self, n=-1):
               if self._exception: raise self._exception
               if n == 0: return b""
               if n < 0: return b"".join(all that read(self._limit) gives until the end)
               if not self._buffer and not self._eof: await self._wait_for_data("read")
               (takes at most n bytes; resumes the transport if it was paused and there is little enough)

           async def _wait_for_data(self, name):
               (resumes the transport)
               self._waiter = self._loop.create_future()
               try: await self._waiter
               finally: self._waiter = None

           (readexactly(), readuntil() and readline() likewise)

   Of readuntil() each byte is searched once: `offset` says how far it has come.  Nothing happens before a coroutine is awaited,
   as in any coroutine. */
#include "streams/stream_reader.h"

#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "net/transport.h"
#include "py/args.h"
#include "py/errors.h"
#include "streams/streams.h"
#include "sync/primitive_coroutine.h"

static const char *const reader_methods[] = { "read",      "readexactly", "readuntil",      "readline",
                                              "__anext__", "feed_data",   "_wakeup_waiter", "_maybe_resume_transport",
                                              "exception", "at_eof",      "_wait_for_data" };

enum {
    READER_READ,
    READER_READEXACTLY,
    READER_READUNTIL,
    READER_READLINE,
    READER_ANEXT,
    READER_FEED_DATA,
    READER_WAKEUP_WAITER,
    READER_MAYBE_RESUME_TRANSPORT,
    READER_EXCEPTION,
    READER_AT_EOF,
    READER_WAIT_FOR_DATA,
};

enum { DEFAULT_LIMIT = 64 * 1024 };

static const struct primitive_kind reader_kind = PRIMITIVE_KIND(StreamReader, reader_methods);

static inline bool
is_plain(StreamReader *self, unsigned methods)
{
    return AC_LIKELY(byte_queue_is_plain(&self->buffer) && !primitive_overrides((Primitive *)self, methods));
}

/* ---- Feeding ---- */

/* self._wakeup_waiter().  Returns 0 or -1. */
static int
wake_up(StreamReader *self)
{
    struct state *state = self->state;
    PyObject *waiter = self->waiter;
    if (!transport_is_set(waiter)) {
        return 0;
    }
    self->waiter = Py_NewRef(Py_None);
    int result;
    if (AC_LIKELY(Py_TYPE(waiter) == state->Future_type)) {
        FUTURE_GUARD((Future *)waiter); /* whatever somebody has put there */
        bool cancelled = ((Future *)waiter)->future_state == FUTURE_CANCELLED;
        result = cancelled ? 0 : future_set_result((Future *)waiter, Py_None);
    }
    else {
        MONITOR_OUTSIDE();
        PyObject *answer = PyObject_CallMethodNoArgs(waiter, state->str_cancelled);
        int cancelled = answer ? PyObject_IsTrue(answer) : -1;
        Py_XSETREF(answer, cancelled == 0 ? PyObject_CallMethodOneArg(waiter, state->str_set_result, Py_None) : NULL);
        result = cancelled > 0 || answer != NULL ? 0 : -1;
        Py_XDECREF(answer);
    }
    Py_DECREF(waiter);
    return result;
}

/* Calls a method of the transport that returns nothing.  Returns 0 or -1. */
static int
tell_transport(StreamReader *self, PyObject *method)
{
    PyObject *transport = Py_NewRef(transport_or_none(self->transport));
    MONITOR_OUTSIDE();
    PyObject *result = PyObject_CallMethodNoArgs(transport, method);
    Py_DECREF(transport);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Returns 0 or -1. */
static int
pause_if_too_much(StreamReader *self)
{
    Py_ssize_t size = (Py_ssize_t)byte_queue_size(&self->buffer);
    if (AC_LIKELY(size - self->limit <= self->limit || self->paused || !transport_is_set(self->transport))) {
        return 0;
    }
    if (tell_transport(self, self->state->str_pause_reading) == 0) {
        self->paused = true;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
        return -1;
    }
    PyErr_Clear(); /* it cannot be paused: then all is kept */
    MONITOR_SET(self->transport, Py_NewRef(Py_None));
    return 0;
}

/* Needs: plain, not at its end, the limit is a plain number.  Returns 0 or -1. */
static int
feed(StreamReader *self, PyObject *data)
{
    if (byte_queue_append(&self->buffer, data) < 0 || wake_up(self) < 0) {
        return -1;
    }
    /* What was woken by a loop that is not ours may have looked at the buffer. */
    return AC_LIKELY(byte_queue_is_plain(&self->buffer)) ? pause_if_too_much(self) : 0;
}

static inline bool
takes(StreamReader *self, PyObject *data, unsigned methods)
{
    bool usual = PyBytes_CheckExact(data) && PyBytes_GET_SIZE(data) > 0 && !self->eof && self->limit > 0;
    return AC_LIKELY(usual && is_plain(self, methods | 1 << READER_WAKEUP_WAITER));
}

int
stream_reader_feed(struct state *state, PyObject *reader, PyObject *data)
{
    StreamReader *self = (StreamReader *)reader;
    if (AC_LIKELY(stream_reader_check(state, reader))) {
        PRIMITIVE_GUARD(self);
        if (AC_LIKELY(takes(self, data, 1 << READER_FEED_DATA))) {
            return feed(self, data);
        }
    }
    MONITOR_OUTSIDE();
    PyObject *result = PyObject_CallMethodOneArg(reader, state->str_feed_data, data);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

PyObject *
stream_reader_exception_borrow(struct state *state, PyObject *reader)
{
    StreamReader *self = (StreamReader *)reader;
    return stream_reader_check(state, reader) && is_plain(self, 1 << READER_EXCEPTION) ? self->exception : NULL;
}

/* ---- What the coroutines have in common ---- */

typedef struct {
    Coroutine base;
    StreamReader *reader; /* owned */
    PyObject *argument;   /* owned or NULL: the method's */
    PyObject *blocks;     /* owned or NULL: a list, of what read(-1) has read */
    Py_ssize_t offset;    /* readuntil(): in what comes before, there is no separator */
    Py_ssize_t size;      /* readexactly() */
} ReadCoroutine;

struct read_method {
    const struct coroutine_body *body;
    int method;
    Py_ssize_t required; /* arguments behind self */
    const char *keyword; /* of the only argument, or NULL where there is none */
};

/* asyncio's own does it; nothing was done yet.  What start() returns then. */
static PySendResult
delegate(ReadCoroutine *self, int method)
{
    PyObject *args[] = { (PyObject *)self->reader, self->argument };
    self->base.delegate =
        primitive_call_asyncio(self->base.state, &reader_kind, method, args, self->argument ? 2 : 1, NULL);
    return self->base.delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

/* Whether a method is done here, of which these others are needed, too. */
static bool
is_ours(ReadCoroutine *self, unsigned methods)
{
    enum { ALL = 1 << READER_WAIT_FOR_DATA | 1 << READER_MAYBE_RESUME_TRANSPORT };
    StreamReader *reader = self->reader;
    Loop *loop = reader->loop ? loop_cast(self->base.state, reader->loop) : NULL;
    return AC_LIKELY(loop != NULL && loop->fused && reader->limit > 0 && is_plain(reader, methods | ALL));
}

/* if self._exception is not None: raise self._exception.  Returns 0 or -1. */
static int
check_exception(StreamReader *self)
{
    PyObject *error = self->exception;
    if (AC_LIKELY(!transport_is_set(error))) {
        return 0;
    }
    if (PyExceptionInstance_Check(error)) {
        raise_instance_steal(Py_NewRef(error));
    }
    else {
        PyErr_SetObject(PyExceptionClass_Check(error) ? error : PyExc_TypeError, NULL);
    }
    return -1;
}

/* The queue can be used again, after Python has run: somebody may have put another object there.  Returns 0 or -1. */
static int
check_plain(StreamReader *self)
{
    if (AC_LIKELY(byte_queue_is_plain(&self->buffer))) {
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "StreamReader._buffer was replaced while a read was under way");
    return -1;
}

static PySendResult
wait_for_data(ReadCoroutine *self, const char *method, PyObject **result)
{
    StreamReader *reader = self->reader;
    if (transport_is_set(reader->waiter)) {
        PyErr_Format(PyExc_RuntimeError, "%s() called while another coroutine is already waiting for incoming data",
                     method);
        return PYGEN_ERROR;
    }
    if (reader->paused) {
        reader->paused = false;
        if (tell_transport(reader, self->base.state->str_resume_reading) < 0) {
            return PYGEN_ERROR;
        }
    }
    if (reader->loop == NULL) {
        (void)primitive_no_attribute((Primitive *)reader, "_loop");
        return PYGEN_ERROR;
    }
    Future *future = future_new_of_spare(self->base.state, reader->loop, &reader->spare_waiter);
    if (future == NULL) {
        return PYGEN_ERROR;
    }
    MONITOR_SET(reader->waiter, Py_NewRef((PyObject *)future));
    PySendResult outcome = coroutine_suspend_on(&self->base, future, result);
    Py_DECREF(future);
    return outcome;
}

/* `finally`, where an exception is thrown in. */
static PySendResult
read_conclude(Coroutine *base, PySendResult outcome, PyObject **Py_UNUSED(result))
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    if (base->delegate == NULL) {
        PyObject *error = compat_exception_take();
        MONITOR_SET(self->reader->waiter, Py_NewRef(Py_None));
        compat_exception_restore_steal(error);
    }
    return outcome;
}

/* The end of waiting: takes the outcome of the future.  Returns 0, or -1 with the exception that it raises. */
static int
waited(ReadCoroutine *self)
{
    PyObject *value = future_get_result((Future *)self->base.awaiting);
    if (value == NULL) {
        (void)read_conclude(&self->base, PYGEN_ERROR, NULL);
        return -1;
    }
    Py_DECREF(value);
    MONITOR_SET(self->reader->waiter, Py_NewRef(Py_None));
    Future *future = (Future *)self->base.awaiting;
    self->base.awaiting = NULL;
    future_keep_spare_steal(&self->reader->spare_waiter, future);
    return check_plain(self->reader);
}

/* self._maybe_resume_transport().  Returns 0 or -1. */
static int
maybe_resume(StreamReader *self)
{
    if (AC_LIKELY(!self->paused) || (Py_ssize_t)byte_queue_size(&self->buffer) > self->limit) {
        return 0;
    }
    self->paused = false;
    return tell_transport(self, self->state->str_resume_reading);
}

/* The last steps of a read: takes so much, and resumes the transport. */
static PySendResult
finish(StreamReader *self, size_t size, PyObject **result)
{
    *result = byte_queue_take(&self->buffer, size);
    if (*result != NULL && maybe_resume(self) < 0) {
        Py_CLEAR(*result);
    }
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

/* Takes all that is there, and raises IncompleteReadError with it.  `expected` is of the exception, too; -1: None. */
static PySendResult
raise_incomplete(StreamReader *self, Py_ssize_t expected)
{
    PyObject *partial = byte_queue_take(&self->buffer, byte_queue_size(&self->buffer));
    MONITOR_OUTSIDE();
    PyObject *number = expected < 0 ? Py_NewRef(Py_None) : PyLong_FromSsize_t(expected);
    PyObject *error = partial && number
                          ? PyObject_CallFunctionObjArgs(self->state->IncompleteReadError, partial, number, NULL)
                          : NULL;
    Py_XDECREF(partial);
    Py_XDECREF(number);
    raise_instance_steal(error);
    return PYGEN_ERROR;
}

static PySendResult
raise_limit_overrun(StreamReader *self, const char *message, Py_ssize_t consumed)
{
    MONITOR_OUTSIDE();
    raise_instance_steal(PyObject_CallFunction(self->state->LimitOverrunError, "sn", message, consumed));
    return PYGEN_ERROR;
}

/* The method's argument as a number.  Returns 0, or -1 without an exception where it is no int of C's size. */
static int
size_of_argument(ReadCoroutine *self, Py_ssize_t *size)
{
    if (self->argument == NULL) {
        *size = -1;
        return 0;
    }
    if (!PyLong_CheckExact(self->argument)) {
        return -1;
    }
    *size = PyLong_AsSsize_t(self->argument);
    if (*size == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    return 0;
}

static PySendResult
return_empty(PyObject **result)
{
    *result = PyBytes_FromStringAndSize(NULL, 0);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

/* ---- read() ---- */

static PySendResult
read_now(ReadCoroutine *self, PyObject **result)
{
    size_t there = byte_queue_size(&self->reader->buffer), size = (size_t)self->size;
    return finish(self->reader, size < there ? size : there, result);
}

/* b"".join(blocks), after the empty block that is the end; that is read, too, and so may resume the transport. */
static PySendResult
join_blocks(ReadCoroutine *self, PyObject **result)
{
    PyObject *blocks = self->blocks;
    if (maybe_resume(self->reader) < 0) {
        return PYGEN_ERROR;
    }
    if (PyList_GET_SIZE(blocks) == 1) {
        *result = Py_NewRef(PyList_GET_ITEM(blocks, 0));
        return PYGEN_RETURN;
    }
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    *result = empty ? PyObject_CallMethod(empty, "join", "O", blocks) : NULL;
    Py_XDECREF(empty);
    return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

/* read(-1): asyncio takes at most `limit` bytes at a time, one part after the other without waiting; here they are taken at
   once, which leaves the transport and the buffer in the same state. */
static PySendResult
read_all(ReadCoroutine *self, PyObject **result)
{
    StreamReader *reader = self->reader;
    if (self->blocks == NULL) {
        self->blocks = PyList_New(0);
    }
    size_t there;
    while (self->blocks != NULL && (there = byte_queue_size(&reader->buffer)) > 0) {
        PyObject *block;
        int appended = finish(reader, there, &block) == PYGEN_RETURN ? PyList_Append(self->blocks, block) : -1;
        Py_XDECREF(block);
        if (appended < 0 || check_plain(reader) < 0 || check_exception(reader) < 0) {
            return PYGEN_ERROR;
        }
    }
    if (self->blocks == NULL) {
        return PYGEN_ERROR;
    }
    return reader->eof ? join_blocks(self, result) : wait_for_data(self, "read", result);
}

static PySendResult
read_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    StreamReader *reader = self->reader;
    if (!is_ours(self, 1 << READER_READ) || size_of_argument(self, &self->size) < 0) {
        return delegate(self, READER_READ);
    }
    if (check_exception(reader) < 0) {
        return PYGEN_ERROR;
    }
    if (self->size <= 0) {
        return self->size == 0 ? return_empty(result) : read_all(self, result);
    }
    if (byte_queue_size(&reader->buffer) == 0 && !reader->eof) {
        return wait_for_data(self, "read", result);
    }
    return read_now(self, result);
}

static PySendResult
read_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    if (waited(self) < 0) {
        return PYGEN_ERROR;
    }
    if (AC_LIKELY(self->size > 0)) {
        return read_now(self, result);
    }
    if (byte_queue_size(&self->reader->buffer) == 0) {
        return join_blocks(self, result); /* an empty block is the end, whether or not it is that of the stream */
    }
    return read_all(self, result);
}

/* ---- readexactly() ---- */

static PySendResult
readexactly_now(ReadCoroutine *self, PyObject **result)
{
    StreamReader *reader = self->reader;
    if (byte_queue_size(&reader->buffer) >= (size_t)self->size) {
        return finish(reader, (size_t)self->size, result);
    }
    return reader->eof ? raise_incomplete(reader, self->size) : wait_for_data(self, "readexactly", result);
}

static PySendResult
readexactly_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    if (!is_ours(self, 0) || size_of_argument(self, &self->size) < 0 || self->size < 0) {
        return delegate(self, READER_READEXACTLY);
    }
    if (check_exception(self->reader) < 0) {
        return PYGEN_ERROR;
    }
    return self->size == 0 ? return_empty(result) : readexactly_now(self, result);
}

static PySendResult
readexactly_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    return waited(self) < 0 ? PYGEN_ERROR : readexactly_now(self, result);
}

/* ---- readuntil() ---- */

/* The separators that it looks for: none given is a newline; a tuple from 3.13 on. */
static Py_ssize_t
separator_count(ReadCoroutine *self)
{
    return self->argument && PyTuple_CheckExact(self->argument) ? PyTuple_GET_SIZE(self->argument) : 1;
}

static const char *
separator_at(ReadCoroutine *self, Py_ssize_t index, Py_ssize_t *size)
{
    PyObject *separator = self->argument;
    if (separator == NULL) {
        *size = 1;
        return "\n";
    }
    if (PyTuple_CheckExact(separator)) {
        separator = PyTuple_GET_ITEM(separator, index);
    }
    *size = PyBytes_GET_SIZE(separator);
    return PyBytes_AS_STRING(separator);
}

/* Whether all are exactly bytes, and not empty. */
static bool
has_plain_separators(ReadCoroutine *self)
{
    PyObject *argument = self->argument;
    if (argument == NULL || PyBytes_CheckExact(argument)) {
        return argument == NULL || PyBytes_GET_SIZE(argument) > 0;
    }
    if (!AC_PY313 || !PyTuple_CheckExact(argument) || PyTuple_GET_SIZE(argument) == 0) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(argument); i++) {
        PyObject *separator = PyTuple_GET_ITEM(argument, i);
        if (!PyBytes_CheckExact(separator) || PyBytes_GET_SIZE(separator) == 0) {
            return false;
        }
    }
    return true;
}

struct match {
    Py_ssize_t begin; /* of the separator */
    Py_ssize_t end;   /* -1: none */
};

/* The separator that ends first, of those the shortest. */
static struct match
find_separator(ReadCoroutine *self)
{
    struct match match = { -1, -1 };
    for (Py_ssize_t i = 0; i < separator_count(self); i++) {
        Py_ssize_t size;
        const char *separator = separator_at(self, i, &size);
        Py_ssize_t begin = byte_queue_find(&self->reader->buffer, separator, (size_t)size, (size_t)self->offset);
        Py_ssize_t end = begin + size;
        if (begin >= 0 && (match.end < 0 || end < match.end || (end == match.end && begin > match.begin))) {
            match = (struct match){ begin, end };
        }
    }
    return match;
}

static PySendResult
readuntil_now(ReadCoroutine *self, PyObject **result)
{
    StreamReader *reader = self->reader;
    Py_ssize_t there = (Py_ssize_t)byte_queue_size(&reader->buffer), shortest = PY_SSIZE_T_MAX, longest = 0, size;
    for (Py_ssize_t i = 0; i < separator_count(self); i++) {
        (void)separator_at(self, i, &size);
        shortest = size < shortest ? size : shortest;
        longest = size > longest ? size : longest;
    }
    if (there - self->offset >= shortest) {
        struct match match = find_separator(self);
        if (match.end >= 0) {
            return match.begin <= reader->limit
                       ? finish(reader, (size_t)match.end, result)
                       : raise_limit_overrun(reader, "Separator is found, but chunk is longer than limit", match.begin);
        }
        self->offset = there + 1 > longest ? there + 1 - longest : 0;
        if (self->offset > reader->limit) {
            return raise_limit_overrun(reader, "Separator is not found, and chunk exceed the limit", self->offset);
        }
    }
    return reader->eof ? raise_incomplete(reader, -1) : wait_for_data(self, "readuntil", result);
}

static PySendResult
readuntil_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    if (!is_ours(self, 0) || !has_plain_separators(self)) {
        return delegate(self, READER_READUNTIL);
    }
    return check_exception(self->reader) < 0 ? PYGEN_ERROR : readuntil_now(self, result);
}

static PySendResult
readuntil_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    return waited(self) < 0 ? PYGEN_ERROR : readuntil_now(self, result);
}

/* ---- readline() ---- */

/* The line that is too long is dropped, if there is a newline, or else all that is there.  Returns 0 or -1. */
static int
drop_long_line(StreamReader *self, PyObject *error)
{
    PyObject *number = PyObject_GetAttrString(error, "consumed");
    Py_ssize_t consumed = number ? PyNumber_AsSsize_t(number, NULL) : -1;
    Py_XDECREF(number);
    if (consumed == -1 && PyErr_Occurred()) {
        return -1;
    }
    bool complete = consumed >= 0 && byte_queue_matches(&self->buffer, "\n", 1, (size_t)consumed);
    size_t size = complete ? (size_t)consumed + 1 : byte_queue_size(&self->buffer);
    return byte_queue_drop(&self->buffer, size) < 0 ? -1 : maybe_resume(self);
}

/* except LimitOverrunError as error: ...; raise ValueError(error.args[0]) */
static PySendResult
raise_too_long_steal(StreamReader *self, PyObject *error)
{
    PyObject *outer = handling_begin(error);
    PyObject *args = drop_long_line(self, error) < 0 ? NULL : PyObject_GetAttrString(error, "args");
    PyObject *message = args ? PySequence_GetItem(args, 0) : NULL;
    if (message != NULL) {
        raise_instance_steal(PyObject_CallOneArg(PyExc_ValueError, message));
    }
    Py_XDECREF(args);
    Py_XDECREF(message);
    handling_end_steal(outer);
    Py_DECREF(error);
    return PYGEN_ERROR;
}

/* The `except` clauses around readuntil(). */
static PySendResult
readline_except(ReadCoroutine *self, PySendResult outcome, PyObject **result)
{
    struct state *state = self->base.state;
    if (AC_LIKELY(outcome != PYGEN_ERROR)) {
        return outcome;
    }
    if (PyErr_ExceptionMatches(state->IncompleteReadError)) {
        PyObject *error = compat_exception_take();
        *result = PyObject_GetAttrString(error, "partial");
        Py_DECREF(error);
        return *result ? PYGEN_RETURN : PYGEN_ERROR;
    }
    if (PyErr_ExceptionMatches(state->LimitOverrunError) && byte_queue_is_plain(&self->reader->buffer)) {
        return raise_too_long_steal(self->reader, compat_exception_take());
    }
    return PYGEN_ERROR;
}

static PySendResult
readline_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    if (!is_ours(self, 1 << READER_READUNTIL)) {
        return delegate(self, READER_READLINE);
    }
    PySendResult outcome = check_exception(self->reader) < 0 ? PYGEN_ERROR : readuntil_now(self, result);
    return readline_except(self, outcome, result);
}

static PySendResult
readline_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    return readline_except((ReadCoroutine *)base, readuntil_resume(base, result), result);
}

static PySendResult
readline_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    outcome = read_conclude(base, outcome, result);
    return base->delegate ? outcome : readline_except((ReadCoroutine *)base, outcome, result);
}

/* ---- async for ---- */

/* An empty line is the end. */
static PySendResult
anext_except(PySendResult outcome, PyObject **result)
{
    if (outcome == PYGEN_RETURN && PyBytes_CheckExact(*result) && PyBytes_GET_SIZE(*result) == 0) {
        Py_CLEAR(*result);
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return PYGEN_ERROR;
    }
    return outcome;
}

static PySendResult
anext_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    ReadCoroutine *self = (ReadCoroutine *)base;
    if (!is_ours(self, 1 << READER_READUNTIL | 1 << READER_READLINE)) {
        return delegate(self, READER_ANEXT);
    }
    return anext_except(readline_start(base, result), result);
}

static PySendResult
anext_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    return anext_except(readline_resume(base, result), result);
}

static PySendResult
anext_conclude(Coroutine *base, PySendResult outcome, PyObject **result)
{
    PRIMITIVE_GUARD(((ReadCoroutine *)base)->reader);
    outcome = readline_conclude(base, outcome, result);
    return base->delegate ? outcome : anext_except(outcome, result);
}

/* ---- The methods that are coroutine functions ---- */

#define READ_BODY(method, conclude_function) \
    {                                        \
        .name = #method,                     \
        .qualname = "StreamReader." #method, \
        .start = method##_start,             \
        .resume = method##_resume,           \
        .conclude = conclude_function,       \
        .leave = coroutine_leave_nothing,    \
    }

static const struct coroutine_body read_body = READ_BODY(read, read_conclude);
static const struct coroutine_body readexactly_body = READ_BODY(readexactly, read_conclude);
static const struct coroutine_body readuntil_body = READ_BODY(readuntil, read_conclude);
static const struct coroutine_body readline_body = READ_BODY(readline, readline_conclude);
static const struct coroutine_body anext_body = {
    .name = "__anext__",
    .qualname = "StreamReader.__anext__",
    .start = anext_start,
    .resume = anext_resume,
    .conclude = anext_conclude,
    .leave = coroutine_leave_nothing,
};

static PyObject *
read_coroutine_new(StreamReader *reader, const struct coroutine_body *body, PyObject *argument)
{
    struct state *state = reader->state;
    ReadCoroutine *self = (ReadCoroutine *)freelist_new(&state->ReadCoroutine_freelist, state->ReadCoroutine_type);
    if (self != NULL) {
        coroutine_init(&self->base, state, body);
        self->reader = (StreamReader *)Py_NewRef((PyObject *)reader);
        self->argument = Py_XNewRef(argument);
        PyObject_GC_Track(self);
    }
    return (PyObject *)self;
}

static const struct read_method read_method = { &read_body, READER_READ, 0, "n" };
static const struct read_method readexactly_method = { &readexactly_body, READER_READEXACTLY, 1, "n" };
static const struct read_method readuntil_method = { &readuntil_body, READER_READUNTIL, 0, "separator" };
static const struct read_method readline_method = { &readline_body, READER_READLINE, 0, NULL };
static const struct read_method anext_method = { &anext_body, READER_ANEXT, 0, NULL };

/* Whether the method was called in a usual way: then *argument is what it was given, or NULL. */
static bool
parse_call(const struct read_method *method, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           PyObject **argument)
{
    Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0, count = nargs - 1 + keywords;
    *argument = count == 1 ? args[1] : NULL;
    if (count < method->required || count > (method->keyword != NULL) || nargs < 1) {
        return false;
    }
    return keywords == 0 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), method->keyword) == 0;
}

static PyObject *
call(const struct read_method *method, PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *argument;
    bool usual = parse_call(method, args, nargs, kwnames, &argument) && stream_reader_check(state, args[0]);
    if (AC_UNLIKELY(!usual || COMPAT_LOAD(state->debug_loops) > 0)) {
        return primitive_call_asyncio(state, &reader_kind, method->method, args, nargs, kwnames);
    }
    return read_coroutine_new((StreamReader *)args[0], method->body, argument);
}

#define READ_FUNCTION(method)                                                                        \
    static PyObject *StreamReader_##method(PyObject *function, PyObject *const *args, size_t nargsf, \
                                           PyObject *kwnames)                                        \
    {                                                                                                \
        return call(&method##_method, function, args, nargsf, kwnames);                              \
    }

READ_FUNCTION(read)
READ_FUNCTION(readexactly)
READ_FUNCTION(readuntil)
READ_FUNCTION(readline)
READ_FUNCTION(anext)

static int
ReadCoroutine_traverse(ReadCoroutine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->reader);
    Py_VISIT(self->argument);
    Py_VISIT(self->blocks);
    return coroutine_traverse(&self->base, visit, arg);
}

static int
ReadCoroutine_clear(ReadCoroutine *self)
{
    coroutine_clear(&self->base);
    Py_CLEAR(self->reader);
    Py_CLEAR(self->argument);
    Py_CLEAR(self->blocks);
    return 0;
}

static void
ReadCoroutine_dealloc(ReadCoroutine *self)
{
    if (!coroutine_dealloc_begin(&self->base)) {
        return;
    }
    struct state *state = self->base.state;
    freelist_free(&state->ReadCoroutine_freelist, state->ReadCoroutine_type, (PyObject *)self);
}

static PyType_Slot ReadCoroutine_slots[] = {
    COROUTINE_SLOTS,
    { Py_tp_dealloc, ReadCoroutine_dealloc },
    { Py_tp_traverse, ReadCoroutine_traverse },
    { Py_tp_clear, ReadCoroutine_clear },
    { 0, NULL },
};

static PyType_Spec ReadCoroutine_spec = {
    .name = "asyncio_c._core.coroutine",
    .basicsize = sizeof(ReadCoroutine),
    .flags = COROUTINE_FLAGS,
    .slots = ReadCoroutine_slots,
};

/* ---- Python face ---- */

static PyObject *
StreamReader_feed_data(StreamReader *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 1 || kwnames != NULL || !takes(self, args[0], 0))) {
        return primitive_call_asyncio_method((Primitive *)self, READER_FEED_DATA, args, nargs, kwnames);
    }
    return transport_none_unless(feed(self, args[0]));
}

static PyObject *
StreamReader_exception(StreamReader *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || self->exception == NULL)) {
        return primitive_call_asyncio_method((Primitive *)self, READER_EXCEPTION, args, nargs, kwnames);
    }
    return Py_NewRef(self->exception);
}

static PyObject *
StreamReader_at_eof(StreamReader *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !is_plain(self, 0))) {
        return primitive_call_asyncio_method((Primitive *)self, READER_AT_EOF, args, nargs, kwnames);
    }
    return PyBool_FromLong(self->eof && byte_queue_size(&self->buffer) == 0);
}

static PyObject *
StreamReader_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->StreamReader_freelist, state, &reader_kind) : NULL;
}

static int
set_limit(StreamReader *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    Py_ssize_t limit = value && PyLong_CheckExact(value) ? PyLong_AsSsize_t(value) : 0;
    PyErr_Clear();
    self->limit = limit > 0 ? limit : 0;
    MONITOR_SET(self->limit_object, Py_XNewRef(value));
    return 0;
}

/* `limit` is plain, or NULL for the default.  Returns 0 or -1. */
static int
init_natively(StreamReader *self, PyObject *limit, PyObject *loop)
{
    PyObject *number = limit ? Py_NewRef(limit) : PyLong_FromLong(DEFAULT_LIMIT);
    if (number == NULL) {
        return -1;
    }
    set_limit(self, number, NULL);
    Py_DECREF(number);
    byte_queue_init(&self->buffer);
    self->eof = self->paused = false;
    PyObject **fields[] = { &self->waiter, &self->exception, &self->transport };
    for (size_t i = 0; i < AC_ARRAY_SIZE(fields); i++) {
        MONITOR_SET(*fields[i], Py_NewRef(Py_None));
    }
    MONITOR_SET(self->loop, Py_NewRef(loop));
    return 0;
}

static int
StreamReader_init(StreamReader *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    static char *keywords[] = { "limit", "loop", NULL };
    PyObject *limit = NULL, *loop = NULL;
    int parsed = PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:StreamReader", keywords, &limit, &loop);
    PyErr_Clear();
    Loop *ours = parsed && loop != NULL ? loop_cast(self->state, loop) : NULL;
    Py_ssize_t number = limit == NULL ? 1 : PyLong_CheckExact(limit) ? PyLong_AsSsize_t(limit) : -1;
    PyErr_Clear();
    if (AC_LIKELY(ours != NULL && ours->fused && number > 0)) {
        return init_natively(self, limit, loop);
    }
    int result = primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    (void)byte_queue_is_plain(&self->buffer); /* drops the empty bytearray of asyncio's */
    return result;
}

static int
StreamReader_traverse(StreamReader *self, visitproc visit, void *arg)
{
    Py_VISIT(self->limit_object);
    Py_VISIT(self->waiter);
    Py_VISIT(self->exception);
    Py_VISIT(self->transport);
    Py_VISIT(self->spare_waiter);
    int result = byte_queue_traverse(&self->buffer, visit, arg);
    return result ? result : primitive_traverse((Primitive *)self, visit, arg);
}

static int
StreamReader_clear(StreamReader *self)
{
    byte_queue_release(&self->buffer);
    Py_CLEAR(self->limit_object);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->spare_waiter);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
StreamReader_dealloc(StreamReader *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    StreamReader_clear(self);
    freelist_free(&state->StreamReader_freelist, NULL, (PyObject *)self);
}

static PyObject *
StreamReader_get_buffer(StreamReader *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    PyObject *array = byte_queue_get_array(&self->buffer);
    return array || PyErr_Occurred() ? array : primitive_no_attribute((Primitive *)self, "_buffer");
}

static int
StreamReader_set_buffer(StreamReader *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    byte_queue_set_array(&self->buffer, value);
    return 0;
}

/* closure: the offset of a bool in the object.  Deleted, it is False. */
static PyObject *
StreamReader_get_flag(StreamReader *self, void *closure)
{
    PRIMITIVE_GUARD(self);
    return PyBool_FromLong(*(bool *)((char *)self + (uintptr_t)closure));
}

static int
StreamReader_set_flag(StreamReader *self, PyObject *value, void *closure)
{
    int truth = value ? PyObject_IsTrue(value) : 0;
    PRIMITIVE_GUARD(self);
    if (truth >= 0) {
        *(bool *)((char *)self + (uintptr_t)closure) = truth;
    }
    return truth < 0 ? -1 : 0;
}

PyDoc_STRVAR(read_doc, "Read up to n bytes; wait for some while there are none, until the end of the stream.\n\n"
                       "With -1 read all that comes until the end.\n\nasyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(readexactly_doc, "Read exactly n bytes.\n\n"
                              "Raises IncompleteReadError where the stream ends before.\n\n"
                              "asyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(readuntil_doc,
             "Read until the separator, bytes, or from Python 3.13 on one of a tuple of them, is found.\n\n"
             "It is a part of what is returned.  Raises IncompleteReadError where the stream ends before,\n"
             "and LimitOverrunError where it is too far.\n\n"
             "asyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(readline_doc, "Read a line, with its newline; at the end of the stream what is there.\n\n"
                           "Raises ValueError, and drops the line, where it is longer than the limit.\n\n"
                           "asyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(anext_doc, "Read the next line for async for.\n\nasyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(feed_data_doc, "feed_data($self, data)\n--\n\n"
                            "Append data to what can be read, and wake the reader.\n\n"
                            "asyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(exception_doc, "exception($self)\n--\n\n"
                            "Return what set_exception() has set, or None.\n\n"
                            "asyncio documentation: Streams, StreamReader.");
PyDoc_STRVAR(at_eof_doc, "at_eof($self)\n--\n\n"
                         "Return True if the stream has ended and all of it was read.\n\n"
                         "asyncio documentation: Streams, StreamReader.");

static PyMethodDef StreamReader_methods[] = {
    { "feed_data", AC_FAST(StreamReader_feed_data), METH_FASTCALL | METH_KEYWORDS, feed_data_doc },
    { "exception", AC_FAST(StreamReader_exception), METH_FASTCALL | METH_KEYWORDS, exception_doc },
    { "at_eof", AC_FAST(StreamReader_at_eof), METH_FASTCALL | METH_KEYWORDS, at_eof_doc },
    { 0 },
};

static const struct primitive_attribute limit_attribute = { "_limit", offsetof(StreamReader, limit_object) };
static const struct primitive_attribute waiter_attribute = { "_waiter", offsetof(StreamReader, waiter) };
static const struct primitive_attribute exception_attribute = { "_exception", offsetof(StreamReader, exception) };
static const struct primitive_attribute transport_attribute = { "_transport", offsetof(StreamReader, transport) };

#define FLAG(name, doc, field)                                                 \
    { name, (getter)StreamReader_get_flag, (setter)StreamReader_set_flag, doc, \
      (void *)(uintptr_t)offsetof(StreamReader, field) }

static PyGetSetDef StreamReader_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    { "_buffer", (getter)StreamReader_get_buffer, (setter)StreamReader_set_buffer,
      "What has come and was not read yet: a bytearray, made when somebody looks.", NULL },
    { "_limit", (getter)primitive_get_object, (setter)set_limit,
      "Of the length of a line, and half that of the buffer.", (void *)&limit_attribute },
    PRIMITIVE_OBJECT_ATTRIBUTE("_waiter", "The future of whoever waits, or None.", waiter_attribute),
    PRIMITIVE_OBJECT_ATTRIBUTE("_exception", "What set_exception() has set, or None.", exception_attribute),
    PRIMITIVE_OBJECT_ATTRIBUTE("_transport", "Where the data come from, or None.", transport_attribute),
    FLAG("_eof", "Whether all has come.", eof),
    FLAG("_paused", "Whether the transport was paused.", paused),
    { 0 },
};

PyDoc_STRVAR(StreamReader_doc, "StreamReader(limit=65536, loop=None)\n--\n\n"
                               "The native half of asyncio_c.StreamReader.");

static PyType_Slot StreamReader_slots[] = {
    { Py_tp_doc, (void *)StreamReader_doc },   { Py_tp_new, StreamReader_new },
    { Py_tp_init, StreamReader_init },         { Py_tp_dealloc, StreamReader_dealloc },
    { Py_tp_traverse, StreamReader_traverse }, { Py_tp_clear, StreamReader_clear },
    { Py_tp_methods, StreamReader_methods },   { Py_tp_getset, StreamReader_getset },
    { Py_tp_setattro, primitive_setattro },    { 0, NULL },
};

static PyType_Spec StreamReader_spec = {
    .name = "asyncio_c._core.StreamReader",
    .basicsize = sizeof(StreamReader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = StreamReader_slots,
};

int
stream_reader_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *stock = state->asyncio_StreamReader;
    PyTypeObject **type = &state->StreamReader_type;
    if (state_add_type(module, &state->ReadCoroutine_type, &ReadCoroutine_spec, NULL) < 0
        || state_add_type(module, type, &StreamReader_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "read", StreamReader_read, read_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "readexactly", StreamReader_readexactly, readexactly_doc)
               < 0
        || coroutine_function_add_method(module, *type, stock, "readuntil", StreamReader_readuntil, readuntil_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "readline", StreamReader_readline, readline_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "__anext__", StreamReader_anext, anext_doc) < 0) {
        return -1;
    }
    return primitive_register(module, &reader_kind);
}
