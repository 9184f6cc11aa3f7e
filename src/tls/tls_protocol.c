/* TLSProtocol: between the transport of a socket and a protocol that knows nothing of TLS.  Layer: tls.

   The Python class asyncio_c.tls.SSLProtocol derives from this type first and from asyncio's SSLProtocol second.  Here is what
   runs for each read and write.  Handshake, shutdown, timeouts, errors and logs are asyncio's methods, of the Python at
   hand, and work on the attributes that this type has in common with them.  Equivalent is, of asyncio's

       buffer_updated  _do_read  _write_appdata  _do_write  _process_outgoing  _control_app_writing  _control_ssl_reading

   with these differences, of which a program sees that it is faster:

       - What has come is decrypted out of the loop's scratch memory into another part of it, and becomes one bytes object of its
         size; there is no buffer of 256 KiB for each connection and each record.
       - What one callback or task step writes is encrypted when that ends, as few records, and sent by one system call.  Who asks
         for the size of the buffer, closes or breaks off has it encrypted first, and so has more than DEFER_LIMIT.
       - Where the stream breaks, what came before is still given to the protocol; asyncio drops what it has decrypted in
         the same turn.
       - While the transport wants nothing, what is written stays as it is: it is encrypted when there is room for it.

   OpenSSL and an SSLObject of somebody's own class call back, and an allocation may collect garbage: so Python can run in
   each call of the engine.  Hence the scratch memory is taken from the loop for that time, and a write that comes in the
   middle of another one only joins the backlog.

   Invariants: `deferred` is linked only if the backlog is not empty.  What is lent to the engine is read, taken or kept before
   the scratch memory goes back. */
#include "tls/tls_protocol.h"

#include "net/stream_transport.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"
#include "tls/openssl_library.h"

enum {
    DEFER_LIMIT = 64 * 1024,
    /* The scratch memory: of what has come, DIRECT_READ_SIZE; then what it says in plain. */
    PLAIN_SIZE = LOOP_SCRATCH_SIZE - DIRECT_READ_SIZE,
    /* The same while something is encrypted, at another time: what comes out, then small pieces that become one record. */
    GATHER_SIZE = TLS_PLAIN_MAX,
    OUTPUT_SIZE = LOOP_SCRATCH_SIZE - GATHER_SIZE,
    PIECE_RECORDS = 4,                                              /* so many are encrypted by one call */
    OUTPUT_FULL = OUTPUT_SIZE - (PIECE_RECORDS + 1) * TLS_BODY_MAX, /* beyond that another piece might not fit */
    FOREIGN_BUFFER_SIZE = 64 * 1024,
    ANSWERS_MAX = 16 * 1024,
};

#define FATAL_TLS "Fatal error on SSL protocol"

static const char *const state_names[] = { "UNWRAPPED", "DO_HANDSHAKE", "WRAPPED", "FLUSHING", "SHUTDOWN" };

static Loop *
loop_borrow(TLSProtocol *self)
{
    return transport_loop_borrow(self->state, self->loop);
}

/* self.method(), of asyncio's class or of ours.  Returns 0 or -1. */
static int
call_method(TLSProtocol *self, PyObject *name)
{
    PyObject *result = PyObject_CallMethodNoArgs((PyObject *)self, name);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* asyncio's `except Exception` around its steps.  Returns 0 or -1. */
static int
fatal_error(TLSProtocol *self)
{
    return PyErr_ExceptionMatches(PyExc_Exception) ? transport_fatal_error((PyObject *)self, FATAL_TLS) : -1;
}

/* The loop's scratch memory while it is ours. */
struct scratch {
    Loop *loop;   /* owned */
    char *memory; /* NULL: not taken, or returned */
};

/* Takes it, unless it is taken already.  Returns 0 or -1. */
static int
scratch_take(struct scratch *scratch, Loop *loop)
{
    if (scratch->memory == NULL && loop != NULL && (scratch->memory = loop_scratch_take(loop)) != NULL) {
        scratch->loop = (Loop *)Py_NewRef(loop);
    }
    return scratch->memory ? 0 : -1;
}

static void
scratch_return(struct scratch *scratch)
{
    if (scratch->memory != NULL) {
        loop_scratch_return(scratch->loop, scratch->memory);
        scratch->memory = NULL;
        Py_CLEAR(scratch->loop);
    }
}

static int
check_session(TLSProtocol *self)
{
    if (self->session.engine == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the TLS protocol has no session");
        return -1;
    }
    return 0;
}

/* ---- Outgoing ---- */

Py_ssize_t
tls_protocol_write_buffer_size(TLSProtocol *self)
{
    TRANSPORT_GUARD(self);
    Py_ssize_t pending = check_session(self) < 0 ? -1 : self->session.engine->pending_output(&self->session);
    return pending < 0 ? -1 : pending + (Py_ssize_t)self->backlog.size_bytes;
}

/* Has the protocol paused or resumed where that is due; asyncio's method does it.  Returns 0 or -1. */
static int
control_app_writing(TLSProtocol *self)
{
    Py_ssize_t size = tls_protocol_write_buffer_size(self);
    if (size < 0) {
        return -1;
    }
    bool pause = size >= self->outgoing_high_water && !self->app_writing_paused;
    bool resume = size <= self->outgoing_low_water && self->app_writing_paused;
    return AC_UNLIKELY(pause || resume) ? call_method(self, self->state->str__control_app_writing) : 0;
}

/* Gives `output` to the transport, which copies what it keeps before it runs Python.  Returns 0 or -1. */
static int
send_output(TLSProtocol *self, struct tls_output *output)
{
    struct state *state = self->state;
    PyObject *transport = Py_NewRef(transport_or_none(self->transport));
    int result;
    if (stream_transport_is_exact(state, transport)) {
        result =
            stream_transport_send((StreamTransport *)transport, output->data, output->size_bytes, &self->write_context);
    }
    else {
        PyObject *data = PyBytes_FromStringAndSize(output->data, (Py_ssize_t)output->size_bytes);
        PyObject *args[] = { transport, data };
        PyObject *done = data ? PyObject_VectorcallMethod(state->str_write, args, 2, NULL) : NULL;
        Py_XDECREF(data);
        Py_XDECREF(done);
        result = done ? 0 : -1;
    }
    Py_DECREF(transport);
    return result;
}

/* Sends what has been encrypted, unless the transport wants nothing at present.  Returns 0 or -1. */
static int
send_encrypted(TLSProtocol *self)
{
    const struct tls_engine *engine = self->session.engine;
    if (self->ssl_writing_paused) {
        return engine->keep_output(&self->session);
    }
    struct tls_output output;
    if (engine->take_output(&self->session, &output) < 0) {
        return -1;
    }
    int result = output.size_bytes > 0 ? send_output(self, &output) : 0;
    tls_output_release(&output);
    return result;
}

static int
process_outgoing(TLSProtocol *self)
{
    if (check_session(self) < 0 || send_encrypted(self) < 0) {
        return -1;
    }
    return control_app_writing(self);
}

struct piece {
    const char *data;
    size_t size_bytes;
};

/* What is encrypted next: some of the first chunk, or as many small ones as one record holds, gathered. */
static void
next_piece(TLSProtocol *self, char *gather, struct piece *piece)
{
    size_t offset = self->backlog.offset, count = ring_count(&self->backlog.ring);
    PyObject *first = ring_peek(&self->backlog.ring, 0);
    piece->data = PyBytes_AS_STRING(first) + offset;
    piece->size_bytes = (size_t)PyBytes_GET_SIZE(first) - offset;
    if (piece->size_bytes > PIECE_RECORDS * TLS_PLAIN_MAX) {
        piece->size_bytes = PIECE_RECORDS * TLS_PLAIN_MAX;
    }
    if (count == 1 || piece->size_bytes >= GATHER_SIZE) {
        return;
    }
    size_t size = piece->size_bytes;
    memcpy(gather, piece->data, size);
    for (size_t i = 1; i < count && size < GATHER_SIZE; i++) {
        PyObject *chunk = ring_peek(&self->backlog.ring, i);
        size_t more = (size_t)PyBytes_GET_SIZE(chunk);
        more = more < GATHER_SIZE - size ? more : GATHER_SIZE - size;
        memcpy(gather + size, PyBytes_AS_STRING(chunk), more);
        size += more;
    }
    piece->data = gather;
    piece->size_bytes = size;
}

/* Encrypts the backlog into `scratch`, and sends what fills it.  Returns what the last write() said, or TLS_FAILED; a session
   that has become another one goes no further. */
static Py_ssize_t
encrypt_backlog(TLSProtocol *self, char *scratch, bool all)
{
    const struct tls_engine *engine = self->session.engine;
    Py_ssize_t written = 0;
    engine->lend_output(&self->session, scratch, OUTPUT_SIZE);
    while (!chunks_empty(&self->backlog) && (all || !self->ssl_writing_paused)) {
        struct piece piece;
        next_piece(self, scratch + OUTPUT_SIZE, &piece);
        PyObject *held = Py_NewRef((PyObject *)ring_peek(&self->backlog.ring, 0));
        written = engine->write(&self->session, piece.data, piece.size_bytes);
        Py_DECREF(held);
        if (written < 0) {
            break;
        }
        chunks_consume(&self->backlog, (size_t)written);
        if (self->session.engine != engine) {
            break;
        }
        /* Before the memory is full. */
        Py_ssize_t pending = engine->pending_output(&self->session);
        if (pending < 0) {
            return TLS_FAILED;
        }
        if (pending > OUTPUT_FULL && !self->ssl_writing_paused) {
            if (send_encrypted(self) < 0) {
                return TLS_FAILED;
            }
            if (self->session.engine != engine) {
                break;
            }
            engine->lend_output(&self->session, scratch, OUTPUT_SIZE);
        }
    }
    return written;
}

/* Encrypts the backlog, as far as the session goes at present, and has it sent.  What the transport does not want yet
   waits, unless this is the end of the stream, or `all` of it is asked for.  Returns 0 or -1. */
static int
write_backlog(TLSProtocol *self, bool all)
{
    if (AC_UNLIKELY(self->encrypting)) {
        return 0; /* who is at it goes on with what was added */
    }
    struct scratch scratch = { 0 };
    if (check_session(self) < 0 || scratch_take(&scratch, loop_borrow(self)) < 0) {
        return -1;
    }
    const struct tls_engine *engine = self->session.engine;
    self->encrypting = true;
    Py_ssize_t written = encrypt_backlog(self, scratch.memory, all || self->tls_state != TLS_WRAPPED);
    self->encrypting = false;
    PyObject *exception = written == TLS_FAILED ? compat_exception_take() : NULL;
    /* What was encrypted before a failure goes on its way. */
    int result = self->session.engine == engine ? send_encrypted(self) : 0;
    scratch_return(&scratch);
    if (AC_UNLIKELY(exception != NULL)) {
        PyErr_Clear();
        compat_exception_restore_steal(exception);
        return -1;
    }
    return result < 0 ? -1 : control_app_writing(self);
}

/* Takes the encryption that was deferred, which happens now. */
static void
undefer(TLSProtocol *self)
{
    if (loop_undefer(&self->deferred)) {
        Py_DECREF(self);
    }
}

/* Encrypts now what may be deferred.  Returns 0 or -1. */
static int
flush(TLSProtocol *self, bool all)
{
    Py_INCREF(self);
    undefer(self);
    int result = write_backlog(self, all);
    lazy_context_clear(&self->write_context);
    if (result < 0) {
        result = fatal_error(self);
    }
    Py_DECREF(self);
    return result;
}

int
tls_protocol_flush(TLSProtocol *self)
{
    TRANSPORT_GUARD(self);
    return list_linked(&self->deferred.link) ? flush(self, false) : 0;
}

/* fatal_error() after the callback that wrote has ended, in the context that it had, or else in the loop's. */
AC_COLD static int
fail_later(TLSProtocol *self)
{
    PyObject *context = transport_enter_context(self->state, &self->write_context);
    int result = fatal_error(self);
    transport_leave_context_steal(context, (PyObject *)self);
    if (result < 0 && !exception_leaves_loop()) {
        PyErr_WriteUnraisable((PyObject *)self);
        result = 0;
    }
    return result;
}

static int
run_deferred(struct deferred *deferred, Loop *Py_UNUSED(loop))
{
    TLSProtocol *self = AC_CONTAINER_OF(deferred, TLSProtocol, deferred);
    Py_INCREF(self);
    undefer(self);
    int result = write_backlog(self, false);
    if (AC_UNLIKELY(result < 0)) {
        result = fail_later(self);
    }
    lazy_context_clear(&self->write_context);
    Py_DECREF(self);
    return result;
}

/* After the backlog has grown.  Returns 0 or -1. */
static int
backlog_appended(TLSProtocol *self)
{
    size_t size = self->backlog.size_bytes;
    bool small = size <= DEFER_LIMIT && (Py_ssize_t)size < self->outgoing_high_water;
    if (list_linked(&self->deferred.link)) {
        return small ? 0 : flush(self, false);
    }
    lazy_context_clear(&self->write_context); /* the end of a context's variables may write, too */
    Loop *loop = loop_borrow(self);
    if (loop == NULL || lazy_context_init(&self->write_context, self->state, NULL) < 0) {
        return -1;
    }
    if (small && !self->ssl_writing_paused && !self->app_writing_paused && !list_linked(&self->deferred.link)
        && !chunks_empty(&self->backlog) && loop_defer(loop, &self->deferred)) {
        Py_INCREF(self);
        return 0;
    }
    return flush(self, false);
}

/* Whether what is written now is for nobody any more; then it is counted.  Returns 1, 0 or -1. */
static int
refuse_write(TLSProtocol *self)
{
    if (self->tls_state == TLS_WRAPPED || self->tls_state == TLS_DO_HANDSHAKE) {
        return 0;
    }
    return transport_count_lost_write(self->state, &self->conn_lost, "SSL connection is closed") < 0 ? -1 : 1;
}

/* Appends to the backlog.  What is no buffer fails when it is to be encrypted, as by asyncio.  Returns 0 or -1. */
static int
append_data(TLSProtocol *self, PyObject *data)
{
    if (!PyObject_CheckBuffer(data)) {
        PyErr_Format(PyExc_TypeError, "a bytes-like object is required, not '%.100s'", Py_TYPE(data)->tp_name);
        return -1;
    }
    return chunks_append_steal(&self->backlog, chunk_new(data));
}

int
tls_protocol_write(TLSProtocol *self, PyObject *data)
{
    TRANSPORT_GUARD(self);
    int refused = refuse_write(self);
    if (refused != 0) {
        return refused < 0 ? -1 : 0;
    }
    if (append_data(self, data) < 0) {
        return self->tls_state == TLS_WRAPPED ? fatal_error(self) : -1;
    }
    return self->tls_state == TLS_WRAPPED ? backlog_appended(self) : 0;
}

/* ---- Incoming ---- */

/* What is decrypted: in the scratch memory, or, where that is too small for what has been paused, in memory of its own. */
struct plain {
    char *data;
    size_t size, capacity;
    bool owned;
};

static int
plain_grow(struct plain *plain)
{
    size_t capacity = plain->capacity * 2;
    char *grown = PyMem_RawRealloc(plain->owned ? plain->data : NULL, capacity);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (!plain->owned) {
        memcpy(grown, plain->data, plain->size);
    }
    plain->data = grown;
    plain->capacity = capacity;
    plain->owned = true;
    return 0;
}

/* Decrypts all that has come.  Returns what the last read() said: 0 for the end, TLS_WANTS or TLS_FAILED. */
static Py_ssize_t
decrypt_all(TLSProtocol *self, struct plain *plain)
{
    const struct tls_engine *engine = self->session.engine;
    for (;;) {
        int may = engine->may_read(&self->session);
        if (may <= 0) {
            return may < 0 ? TLS_FAILED : TLS_WANTS;
        }
        if (plain->capacity - plain->size < TLS_PLAIN_MAX && plain_grow(plain) < 0) {
            return TLS_FAILED;
        }
        Py_ssize_t count = engine->read(&self->session, plain->data + plain->size, plain->capacity - plain->size);
        if (count <= 0) {
            return count;
        }
        plain->size += (size_t)count;
        if (self->session.engine != engine) {
            return TLS_WANTS;
        }
    }
}

/* protocol.data_received(data).  Returns 0 or -1. */
static int
data_received(TLSProtocol *self, PyObject *data)
{
    PyObject *protocol = Py_NewRef(transport_or_none(self->app_protocol));
    int given = direct_give(self->state, protocol, data);
    Py_DECREF(protocol);
    return given;
}

/* The peer's end of the stream.  Returns 0 or -1. */
static int
end_received(TLSProtocol *self)
{
    return call_method(self, self->state->str__call_eof_received) < 0
               ? -1
               : call_method(self, self->state->str__start_shutdown);
}

/* What came before a failure is delivered before that is raised; what the protocol raises comes first, as by asyncio.  Takes the
   exception of the failure, or NULL.  Returns 0 or -1. */
static int
raise_after_steal(int result, PyObject *exception)
{
    if (AC_LIKELY(exception == NULL)) {
        return result;
    }
    if (result < 0) {
        Py_DECREF(exception);
    }
    else {
        compat_exception_restore_steal(exception);
    }
    return -1;
}

static int
read_copied(TLSProtocol *self, struct scratch *scratch)
{
    if (scratch_take(scratch, scratch->memory ? NULL : loop_borrow(self)) < 0) {
        return -1;
    }
    struct plain plain = { .data = scratch->memory + DIRECT_READ_SIZE, .capacity = PLAIN_SIZE };
    Py_ssize_t last = decrypt_all(self, &plain);
    PyObject *exception = last == TLS_FAILED ? compat_exception_take() : NULL;
    if (AC_UNLIKELY(self->session.engine->keep_rest(&self->session) < 0)) {
        Py_XDECREF(exception);
        exception = compat_exception_take();
    }
    PyObject *data = plain.size > 0 ? PyBytes_FromStringAndSize(plain.data, (Py_ssize_t)plain.size) : NULL;
    int result = data || plain.size == 0 ? 0 : -1;
    if (plain.owned) {
        PyMem_RawFree(plain.data);
    }
    scratch_return(scratch);
    if (data != NULL) {
        result = data_received(self, data);
        Py_DECREF(data);
    }
    result = raise_after_steal(result, exception);
    return result == 0 && last == 0 ? end_received(self) : result;
}

/* Decrypts into the view, until it is full.  Returns what the last read() said, TLS_WANTS where there was nothing to ask for;
   a positive size where the view is full. */
static Py_ssize_t
decrypt_into(TLSProtocol *self, Py_buffer *view, size_t *size)
{
    const struct tls_engine *engine = self->session.engine;
    Py_ssize_t count = TLS_WANTS;
    do {
        int may = engine->may_read(&self->session);
        if (may <= 0) {
            return may < 0 ? TLS_FAILED : TLS_WANTS;
        }
        count = engine->read(&self->session, (char *)view->buf + *size, (size_t)view->len - *size);
        if (count <= 0) {
            return count;
        }
        *size += (size_t)count;
    } while (*size < (size_t)view->len && self->session.engine == engine);
    return *size < (size_t)view->len ? TLS_WANTS : count;
}

/* The protocol's buffer.  Returns 0 or -1. */
static int
get_view(TLSProtocol *self, Py_buffer *view)
{
    Py_ssize_t hint = self->session.engine->pending_input(&self->session);
    PyObject *size = hint < 0 ? NULL : PyLong_FromSsize_t(hint);
    PyObject *get_buffer = Py_NewRef(transport_or_none(self->app_get_buffer));
    PyObject *buffer = size ? PyObject_CallOneArg(get_buffer, size) : NULL;
    Py_DECREF(get_buffer);
    Py_XDECREF(size);
    if (buffer == NULL || PyObject_Size(buffer) < 0) {
        Py_XDECREF(buffer);
        return -1;
    }
    int result = PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE);
    if (result < 0) {
        PyErr_Format(PyExc_TypeError, "read() argument 2 must be read-write bytes-like object, not %.200s",
                     Py_TYPE(buffer)->tp_name);
    }
    Py_DECREF(buffer);
    return result;
}

static int
read_buffered(TLSProtocol *self)
{
    struct state *state = self->state;
    /* get_buffer() runs Python, after which what is lent is another's. */
    Py_buffer view;
    if (self->session.engine->keep_rest(&self->session) < 0 || get_view(self, &view) < 0) {
        return -1;
    }
    size_t size = 0;
    Py_ssize_t last = view.len == 0 ? 0 : decrypt_into(self, &view, &size);
    bool full = view.len > 0 && size == (size_t)view.len;
    PyObject *exception = last == TLS_FAILED ? compat_exception_take() : NULL;
    PyBuffer_Release(&view);
    int result = 0;
    if (full) {
        result = transport_call_soon(state, (PyObject *)self, self->loop, state->str__do_read, NULL, NULL);
    }
    if (size > 0 && result == 0) {
        PyObject *count = PyLong_FromSize_t(size), *updated = Py_NewRef(transport_or_none(self->app_buffer_updated));
        PyObject *done = count ? PyObject_CallOneArg(updated, count) : NULL;
        Py_DECREF(updated);
        Py_XDECREF(count);
        Py_XDECREF(done);
        result = done ? 0 : -1;
    }
    result = raise_after_steal(result, exception);
    return result == 0 && last == 0 ? end_received(self) : result;
}

/* Whether the peer has us say more than it reads: while the transport wants nothing, only answers are added to what is
   encrypted, such as alerts that refuse to negotiate anew. */
static bool
is_provoked(TLSProtocol *self)
{
    return self->ssl_writing_paused && self->session.engine->pending_output(&self->session) > ANSWERS_MAX;
}

/* Has the transport stopped or started reading where that is due; asyncio's method does it where it would.  Returns 0 or -1. */
static int
control_ssl_reading(TLSProtocol *self)
{
    Py_ssize_t size = self->session.engine->pending_input(&self->session);
    if (size < 0) {
        return -1;
    }
    if (AC_UNLIKELY(is_provoked(self))) {
        if (self->ssl_reading_paused) {
            return 0;
        }
        PyObject *transport = Py_NewRef(transport_or_none(self->transport));
        self->ssl_reading_paused = true;
        PyObject *paused = PyObject_CallMethod(transport, "pause_reading", NULL);
        Py_DECREF(transport);
        Py_XDECREF(paused);
        return paused ? 0 : -1;
    }
    bool pause = size >= self->incoming_high_water && !self->ssl_reading_paused;
    bool resume = size <= self->incoming_low_water && self->ssl_reading_paused;
    return AC_UNLIKELY(pause || resume) ? call_method(self, self->state->str__control_ssl_reading) : 0;
}

static int
read_and_answer(TLSProtocol *self, struct scratch *scratch)
{
    if (!self->app_reading_paused) {
        int result = self->app_is_buffered ? read_buffered(self) : read_copied(self, scratch);
        if (result < 0 || self->session.engine == NULL) {
            return result;
        }
        /* What the protocol has written waits for the end of the callback, unless the stream is about to end. */
        if (!list_linked(&self->deferred.link) || self->tls_state != TLS_WRAPPED) {
            undefer(self);
            result = chunks_empty(&self->backlog) ? process_outgoing(self) : write_backlog(self, false);
            if (result < 0) {
                return -1;
            }
        }
    }
    return control_ssl_reading(self);
}

/* With the scratch memory, if that is taken already.  Returns 0 or -1. */
static int
read_step(TLSProtocol *self, struct scratch *scratch)
{
    Py_INCREF(self);
    int result = read_and_answer(self, scratch);
    scratch_return(scratch);
    if (result < 0) {
        result = fatal_error(self);
    }
    Py_DECREF(self);
    return result;
}

static int
do_read(TLSProtocol *self)
{
    if (self->tls_state != TLS_WRAPPED && self->tls_state != TLS_FLUSHING) {
        return 0;
    }
    struct scratch scratch = { 0 };
    return check_session(self) < 0 ? -1 : read_step(self, &scratch);
}

/* What has been fed is for whichever step the connection is in.  Returns 0 or -1. */
static int
take_step(TLSProtocol *self)
{
    struct state *state = self->state;
    switch (self->tls_state) {
    case TLS_DO_HANDSHAKE:
        return call_method(self, state->str__do_handshake);
    case TLS_WRAPPED:
        return do_read(self);
    case TLS_FLUSHING:
        return call_method(self, state->str__do_flush);
    case TLS_SHUTDOWN:
        return call_method(self, state->str__do_shutdown);
    case TLS_UNWRAPPED:
        break;
    }
    return 0;
}

static int
received(PyObject *object, Loop *loop, char *data, size_t size)
{
    TLSProtocol *self = (TLSProtocol *)object;
    struct scratch scratch = { 0 };
    if (check_session(self) < 0 || scratch_take(&scratch, loop) < 0) {
        return -1;
    }
    assert(scratch.memory == data);
    /* Only what is decrypted at once can stay where it is. */
    bool lent = self->tls_state == TLS_WRAPPED && !self->app_reading_paused && !self->app_is_buffered;
    int result = self->session.engine->feed(&self->session, data, size, lent);
    if (result == 0 && lent && self->tls_state == TLS_WRAPPED) {
        return read_step(self, &scratch);
    }
    scratch_return(&scratch);
    return result < 0 ? -1 : take_step(self);
}

/* ---- Python face ---- */

static PyObject *
TLSProtocol_get_buffer(TLSProtocol *self, PyObject *Py_UNUSED(sizehint))
{
    TRANSPORT_GUARD(self);
    Py_XSETREF(self->foreign_buffer, PyByteArray_FromStringAndSize(NULL, FOREIGN_BUFFER_SIZE));
    return Py_XNewRef(self->foreign_buffer);
}

static PyObject *
TLSProtocol_buffer_updated(TLSProtocol *self, PyObject *count)
{
    TRANSPORT_GUARD(self);
    Py_ssize_t size = PyNumber_AsSsize_t(count, PyExc_OverflowError);
    PyObject *buffer = self->foreign_buffer;
    self->foreign_buffer = NULL;
    Py_ssize_t room = buffer ? PyByteArray_GET_SIZE(buffer) : 0;
    size = size < room ? size : room; /* what the transport says beyond that has not come */
    int result = size < 0 || check_session(self) < 0 ? -1 : 0;
    if (size < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "buffer_updated() of less than nothing");
    }
    else if (result == 0 && size > 0) {
        result = self->session.engine->feed(&self->session, PyByteArray_AS_STRING(buffer), (size_t)size, false);
    }
    Py_XDECREF(buffer);
    return transport_none_unless(result < 0 ? -1 : take_step(self));
}

static PyObject *
TLSProtocol__feed(TLSProtocol *self, PyObject *data)
{
    TRANSPORT_GUARD(self);
    Py_buffer view;
    if (check_session(self) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int result = self->session.engine->feed(&self->session, view.buf, (size_t)view.len, false);
    PyBuffer_Release(&view);
    return transport_none_unless(result);
}

static PyObject *
TLSProtocol__append_backlog(TLSProtocol *self, PyObject *data)
{
    TRANSPORT_GUARD(self);
    return transport_none_unless(append_data(self, data));
}

static PyObject *
TLSProtocol__do_read(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return transport_none_unless(do_read(self));
}

static PyObject *
TLSProtocol__do_write(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    undefer(self);
    return transport_none_unless(write_backlog(self, false));
}

/* Also what has waited until the transport wants it; what was put off goes on waiting for the end of the callback. */
static PyObject *
TLSProtocol__process_outgoing(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    bool waits = self->tls_state == TLS_WRAPPED && !chunks_empty(&self->backlog) && !list_linked(&self->deferred.link);
    int result = waits ? flush(self, false) : process_outgoing(self);
    if (result == 0 && self->ssl_reading_paused && self->session.engine != NULL) {
        result = control_ssl_reading(self); /* for the want of room */
    }
    return transport_none_unless(result);
}

static PyObject *
TLSProtocol__flush(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    return transport_none_unless(tls_protocol_flush(self));
}

static PyObject *
TLSProtocol__flush_all(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    bool waits = self->tls_state == TLS_WRAPPED && !chunks_empty(&self->backlog);
    return transport_none_unless(waits ? flush(self, true) : 0);
}

/* _write_appdata(list_of_data): all of it is appended, then encrypted.  Where one piece cannot be, nothing of all is sent. */
static PyObject *
TLSProtocol__write_appdata(TLSProtocol *self, PyObject *list_of_data)
{
    TRANSPORT_GUARD(self);
    int refused = refuse_write(self);
    if (refused != 0) {
        return transport_none_unless(refused < 0 ? -1 : 0);
    }
    /* What is there, neither deferred nor at work, is of a call that has failed in the middle. */
    bool waits = list_linked(&self->deferred.link) || self->encrypting;
    size_t written_before = waits ? chunks_count(&self->backlog) : 0;
    PyObject *pieces = PyObject_GetIter(list_of_data), *piece, *failure = NULL;
    while (pieces != NULL && (piece = PyIter_Next(pieces)) != NULL) {
        if (!PyObject_CheckBuffer(piece) && PyObject_Size(piece) < 0) { /* which is where asyncio fails */
            Py_CLEAR(pieces);
        }
        else if (failure == NULL && append_data(self, piece) < 0) {
            failure = compat_exception_take(); /* found when it is to be encrypted */
        }
        Py_DECREF(piece);
    }
    if (pieces == NULL || PyErr_Occurred()) {
        Py_XDECREF(pieces);
        Py_XDECREF(failure);
        return NULL;
    }
    Py_DECREF(pieces);
    if (failure != NULL) {
        chunks_truncate(&self->backlog, written_before);
        if (tls_protocol_flush(self) < 0) {
            Py_DECREF(failure);
            return NULL;
        }
        compat_exception_restore_steal(failure);
        return transport_none_unless(fatal_error(self));
    }
    return transport_none_unless(self->tls_state == TLS_WRAPPED ? backlog_appended(self) : 0);
}

static PyObject *
TLSProtocol__get_write_buffer_size(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    Py_ssize_t size = tls_protocol_write_buffer_size(self);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *
TLSProtocol__get_read_buffer_size(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    Py_ssize_t size = check_session(self) < 0 ? -1 : self->session.engine->pending_input(&self->session);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

/* The connection has ended: nothing is sent any more. */
static PyObject *
TLSProtocol__drop_outgoing(TLSProtocol *self, PyObject *Py_UNUSED(ignored))
{
    TRANSPORT_GUARD(self);
    undefer(self);
    chunks_clear(&self->backlog);
    lazy_context_clear(&self->write_context);
    if (self->session.engine != NULL) {
        self->session.engine->drop_output(&self->session);
    }
    Py_RETURN_NONE;
}

static PyObject *
TLSProtocol__start_session(TLSProtocol *self, PyObject *openssl)
{
    TRANSPORT_GUARD(self);
    int wanted = PyObject_IsTrue(openssl);
    if (wanted < 0 || tls_session_start(&self->session, wanted) < 0) {
        return NULL;
    }
    return PyUnicode_FromString(self->session.engine->name);
}

static PyObject *
TLSProtocol_get_engine(TLSProtocol *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return self->session.engine ? PyUnicode_FromString(self->session.engine->name) : Py_NewRef(Py_None);
}

static PyObject *
TLSProtocol_get_state(TLSProtocol *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return PyObject_GetAttrString(self->state->SSLProtocolState, state_names[self->tls_state]);
}

static int
TLSProtocol_set_state(TLSProtocol *self, PyObject *value, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    for (size_t i = 0; i < AC_ARRAY_SIZE(state_names); i++) {
        PyObject *member = PyObject_GetAttrString(self->state->SSLProtocolState, state_names[i]);
        if (member == NULL) {
            return -1;
        }
        Py_DECREF(member); /* the class has it */
        if (member == value) {
            self->tls_state = (enum tls_state)i;
            return 0;
        }
    }
    PyErr_SetString(PyExc_TypeError, "_state must be one of SSLProtocolState");
    return -1;
}

static PyObject *
TLSProtocol_get_backlog(TLSProtocol *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return chunks_list(&self->backlog);
}

static int
TLSProtocol_ignore_setting(TLSProtocol *Py_UNUSED(self), PyObject *Py_UNUSED(value), void *Py_UNUSED(closure))
{
    return 0; /* asyncio's methods set what is ours to know */
}

static PyObject *
TLSProtocol_get_backlog_size(TLSProtocol *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return PyLong_FromSize_t(self->backlog.size_bytes);
}

/* There is no buffer, of which asyncio's constructor makes a view. */
static PyObject *
TLSProtocol_get_empty(TLSProtocol *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return PyByteArray_FromStringAndSize(NULL, 0);
}

static PyObject *
TLSProtocol_get_sslobj(TLSProtocol *self, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    return Py_NewRef(transport_or_none(self->session.sslobj));
}

/* Another object than the one of wrap_bio() is driven by its methods. */
static int
TLSProtocol_set_sslobj(TLSProtocol *self, PyObject *value, void *Py_UNUSED(closure))
{
    TRANSPORT_GUARD(self);
    if (refuse_delete(value, "_sslobj", "TLSProtocol") < 0) {
        return -1;
    }
    if (tls_session_check_idle(&self->session) < 0) {
        return -1;
    }
    Py_XSETREF(self->session.sslobj, Py_NewRef(value));
    return self->session.engine != NULL ? tls_session_start(&self->session, false) : 0;
}

static int
TLSProtocol_traverse(TLSProtocol *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    LOOP_HOME_VISIT(self);
#define X(field, name) Py_VISIT(self->field);
    TLS_OBJECTS(X)
#undef X
    Py_VISIT(self->foreign_buffer);
    int result = tls_session_traverse(&self->session, visit, arg);
    return result ? result : lazy_context_traverse(&self->write_context, visit, arg);
}

static int
TLSProtocol_clear(TLSProtocol *self)
{
#define X(field, name) Py_CLEAR(self->field);
    TLS_OBJECTS(X)
#undef X
    Py_CLEAR(self->foreign_buffer);
    tls_session_clear(&self->session);
    lazy_context_clear(&self->write_context);
    chunks_clear(&self->backlog);
    LOOP_HOME_CLEAR(self);
    return 0;
}

static void
TLSProtocol_dealloc(TLSProtocol *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    TLSProtocol_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
TLSProtocol_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    TLSProtocol *self = state ? (TLSProtocol *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->state = self->session.state = state;
        self->direct.received = received;
        self->deferred = (struct deferred){ .run = run_deferred, .owner = (PyObject *)self };
        chunks_init(&self->backlog);
    }
    return (PyObject *)self;
}

static PyMethodDef TLSProtocol_methods[] = {
    { "get_buffer", (PyCFunction)TLSProtocol_get_buffer, METH_O,
      "get_buffer($self, sizehint, /)\n--\n\nReturn memory for what a transport of another kind receives." },
    { "buffer_updated", (PyCFunction)TLSProtocol_buffer_updated, METH_O,
      "buffer_updated($self, nbytes, /)\n--\n\nTake what has come." },
    { "_feed", (PyCFunction)TLSProtocol__feed, METH_O,
      "_feed($self, data, /)\n--\n\nTake bytes that have come before the transport was ours." },
    { "_append_backlog", (PyCFunction)TLSProtocol__append_backlog, METH_O,
      "_append_backlog($self, data, /)\n--\n\nQueue bytes for the next time that something is encrypted." },
    { "_do_read", (PyCFunction)TLSProtocol__do_read, METH_NOARGS,
      "_do_read($self, /)\n--\n\nDecrypt what has come and tell the protocol." },
    { "_do_write", (PyCFunction)TLSProtocol__do_write, METH_NOARGS,
      "_do_write($self, /)\n--\n\nEncrypt what has been written and send it." },
    { "_process_outgoing", (PyCFunction)TLSProtocol__process_outgoing, METH_NOARGS,
      "_process_outgoing($self, /)\n--\n\nSend what has been encrypted." },
    { "_flush", (PyCFunction)TLSProtocol__flush, METH_NOARGS,
      "_flush($self, /)\n--\n\nEncrypt and send what waits for the end of the callback." },
    { "_flush_all", (PyCFunction)TLSProtocol__flush_all, METH_NOARGS,
      "_flush_all($self, /)\n--\n\nEncrypt all that was written: the stream is about to end." },
    { "_write_appdata", (PyCFunction)TLSProtocol__write_appdata, METH_O,
      "_write_appdata($self, list_of_data, /)\n--\n\nWrite an iterable of bytes-like objects." },
    { "_get_write_buffer_size", (PyCFunction)TLSProtocol__get_write_buffer_size, METH_NOARGS,
      "_get_write_buffer_size($self, /)\n--\n\nReturn how many bytes the transport has not been given." },
    { "_get_read_buffer_size", (PyCFunction)TLSProtocol__get_read_buffer_size, METH_NOARGS,
      "_get_read_buffer_size($self, /)\n--\n\nReturn how many bytes have come and were not decrypted." },
    { "_drop_outgoing", (PyCFunction)TLSProtocol__drop_outgoing, METH_NOARGS,
      "_drop_outgoing($self, /)\n--\n\nForget what was not sent." },
    { "_start_session", (PyCFunction)TLSProtocol__start_session, METH_O,
      "_start_session($self, openssl, /)\n--\n\n"
      "Begin with the SSLObject that there is, by OpenSSL itself if that is asked for and possible.\n\n"
      "Returns the name of the engine." },
    { 0 },
};

#define IGNORED(name, get) { #name, (getter)(get), (setter)TLSProtocol_ignore_setting, NULL, NULL }

#define TLS_BIOS(X) X(session.incoming, _incoming) X(session.outgoing, _outgoing)

FIELD_ACCESS(TLSProtocol, TRANSPORT_GUARD)

static PyGetSetDef TLSProtocol_getset[] = {
    TRANSPORT_MARK(TLSProtocol, _outgoing_high_water, outgoing_high_water),
    TRANSPORT_MARK(TLSProtocol, _outgoing_low_water, outgoing_low_water),
    TRANSPORT_MARK(TLSProtocol, _incoming_high_water, incoming_high_water),
    TRANSPORT_MARK(TLSProtocol, _incoming_low_water, incoming_low_water),
    IGNORED(_write_backlog, TLSProtocol_get_backlog),
    IGNORED(_write_buffer_size, TLSProtocol_get_backlog_size),
    IGNORED(_ssl_buffer, TLSProtocol_get_empty),
    IGNORED(_ssl_buffer_view, TLSProtocol_get_empty),
    { "_engine", (getter)TLSProtocol_get_engine, NULL, "The engine's name: 'object' or 'openssl'; None before.", NULL },
    { "_state", (getter)TLSProtocol_get_state, (setter)TLSProtocol_set_state, NULL, NULL },
    { "_sslobj", (getter)TLSProtocol_get_sslobj, (setter)TLSProtocol_set_sslobj, NULL, NULL },
#define X(field, name) FIELD_AS_GETSET(TLSProtocol, #name, T_OBJECT, field)
    TLS_OBJECTS(X) TLS_BIOS(X){ 0 },
#undef X
};

#define MEMBER(name, type, field) { #name, type, offsetof(TLSProtocol, field), 0, NULL }

static PyMemberDef TLSProtocol_members[] = {
    MEMBER(_conn_lost, T_INT, conn_lost),
    MEMBER(_server_side, T_BOOL, server_side),
    MEMBER(_app_protocol_is_buffer, T_BOOL, app_is_buffered),
    MEMBER(_app_transport_created, T_BOOL, app_transport_created),
    MEMBER(_app_reading_paused, T_BOOL, app_reading_paused),
    MEMBER(_app_writing_paused, T_BOOL, app_writing_paused),
    MEMBER(_ssl_reading_paused, T_BOOL, ssl_reading_paused),
    MEMBER(_ssl_writing_paused, T_BOOL, ssl_writing_paused),
    MEMBER(_eof_received, T_BOOL, eof_received),
#define X(field, name) FIELD_AS_MEMBER(TLSProtocol, #name, T_OBJECT, field)
    TLS_OBJECTS(X) TLS_BIOS(X){ 0 },
#undef X
};

PyDoc_STRVAR(TLSProtocol_doc, "What asyncio_c.tls.SSLProtocol does for each read and write.\n\n"
                              "asyncio documentation: Transports and Protocols.");

static PyType_Slot TLSProtocol_slots[] = {
    { Py_tp_doc, (void *)TLSProtocol_doc },
    { Py_tp_new, TLSProtocol_new },
    { Py_tp_dealloc, TLSProtocol_dealloc },
    { Py_tp_traverse, TLSProtocol_traverse },
    { Py_tp_clear, TLSProtocol_clear },
    { Py_tp_methods, TLSProtocol_methods },
    { Py_tp_getset, TLSProtocol_getset },
    { Py_tp_members, TLSProtocol_members },
    { 0, NULL },
};

static PyType_Spec TLSProtocol_spec = {
    .name = "asyncio_c._core.TLSProtocol",
    .basicsize = sizeof(TLSProtocol),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = TLSProtocol_slots,
};

void
tls_release_library(struct state *state)
{
    if (state->openssl_library != NULL) {
        openssl_library_release(state->openssl_library);
        state->openssl_library = NULL;
    }
}

PyDoc_STRVAR(prove_openssl_doc, "_prove_openssl(ssl_socket, incoming, outgoing, /)\n--\n\n"
                                "Return whether OpenSSL's structure lies in ssl_socket where it is expected.\n\n"
                                "None where there is no OpenSSL to be called.");

static PyObject *
prove_openssl(PyObject *module, PyObject *args)
{
    PyObject *ssl_socket, *incoming, *outgoing;
    if (!PyArg_ParseTuple(args, "OOO:_prove_openssl", &ssl_socket, &incoming, &outgoing)) {
        return NULL;
    }
    struct openssl_library *library = openssl_library_borrow(state_of_module(module));
    return library ? PyBool_FromLong(openssl_prove(library, ssl_socket, incoming, outgoing)) : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    { "_prove_openssl", prove_openssl, METH_VARARGS, prove_openssl_doc },
    { 0 },
};

int
tls_protocol_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) {
        return -1;
    }
    return transport_add_type(module, &state->TLSProtocol_type, &TLSProtocol_spec, state->asyncio_BufferedProtocol,
                              offsetof(DirectProtocol, received));
}
