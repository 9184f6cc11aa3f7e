/* The engine that calls OpenSSL.  Layer: tls.

   The SSL structure of the SSLObject is given one BIO of ours in place of its two memory BIOs.  It reads what was kept, then
   what is lent: the loop's scratch memory, into which the transport has received.  It appends what comes out to memory
   of its own, or to what is lent for that.  So no byte of a record is copied on its way but by OpenSSL, and a connection
   that is idle holds no memory here.

   CPython's own methods (do_handshake, unwrap, read by somebody else) go through the same BIO.

   Errors are CPython's, with its texts and attributes: what OpenSSL says of a failed call stays in its queue, and CPython's
   read() or write() is called, which fails in the same way, finds it there and raises it.

   The BIO belongs to the structure, which lives as long as anybody holds the SSLObject; the stream is freed by
   whoever is last, the BIO or the session. */
#include "tls/engine.h"
#include "tls/openssl_library.h"

#include <stdatomic.h>

typedef void *(*bio_get_data_function)(BIO *bio);

struct openssl_stream {
    struct openssl_library *library; /* counted */
    SSL *ssl;                        /* lives as long as session->ssl_socket */
    int owners;                      /* the session, and the BIO */
    bool busy;                       /* OpenSSL is at work, and calls back */
    const char *lent;                /* what has come and was not copied */
    size_t lent_size;
    char *kept; /* owned; before that, what had come earlier */
    size_t kept_start, kept_size, kept_capacity;
    char *output; /* owned, unless it is lent */
    size_t output_size, output_capacity;
    bool output_lent;
    bool lacked_memory; /* for what comes out: the stream has a gap, and is at its end */
};

/* The way from a BIO to its stream, and with that to everything else: OpenSSL tells its callbacks nothing but the BIO.  A fact
   about the process, like the address of a function that is linked: whoever sets it sets it to the same. */
static _Atomic(bio_get_data_function) get_data;

/* ---- What has come ---- */

static void
free_kept(struct openssl_stream *stream)
{
    PyMem_RawFree(stream->kept);
    stream->kept = NULL;
    stream->kept_start = stream->kept_size = stream->kept_capacity = 0;
}

/* Appends to what is kept, whose memory is as large as that, until it grows again and again.  Returns 0, or -1 with MemoryError
   set. */
static int
keep(struct openssl_stream *stream, const char *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (stream->kept_start > 0) {
        memmove(stream->kept, stream->kept + stream->kept_start, stream->kept_size);
        stream->kept_start = 0;
    }
    size_t needed = stream->kept_size + size;
    if (needed > stream->kept_capacity) {
        size_t capacity = stream->kept_size > 0 ? needed + needed / 2 : needed;
        char *grown = PyMem_RawRealloc(stream->kept, capacity);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        stream->kept = grown;
        stream->kept_capacity = capacity;
    }
    memcpy(stream->kept + stream->kept_size, data, size);
    stream->kept_size = needed;
    return 0;
}

static int
openssl_feed(struct tls_session *session, const char *data, size_t size, bool lent)
{
    struct openssl_stream *stream = session->stream;
    if (!lent) {
        return keep(stream, data, size);
    }
    assert(stream->lent_size == 0);
    stream->lent = data;
    stream->lent_size = size;
    return 0;
}

static int
openssl_keep_rest(struct tls_session *session)
{
    struct openssl_stream *stream = session->stream;
    size_t size = stream->lent_size;
    stream->lent_size = 0;
    return keep(stream, stream->lent, size);
}

/* ---- What comes out ---- */

/* Makes room for `size` bytes more, in memory of its own.  Returns 0 or -1, without an exception: OpenSSL asks. */
static int
grow_output(struct openssl_stream *stream, size_t size)
{
    size_t needed = stream->output_size + size, capacity = needed + needed / 2;
    char *grown = PyMem_RawRealloc(stream->output_lent ? NULL : stream->output, capacity);
    if (grown == NULL) {
        return -1;
    }
    if (stream->output_lent) {
        memcpy(grown, stream->output, stream->output_size);
        stream->output_lent = false;
    }
    stream->output = grown;
    stream->output_capacity = capacity;
    return 0;
}

/* Begins anew: the memory is another's by now. */
static void
forget_output(struct openssl_stream *stream)
{
    stream->output = NULL;
    stream->output_size = stream->output_capacity = 0;
    stream->output_lent = false;
}

static void
free_output(struct openssl_stream *stream)
{
    if (!stream->output_lent) {
        PyMem_RawFree(stream->output);
    }
    forget_output(stream);
}

static void
openssl_drop_output(struct tls_session *session)
{
    free_output(session->stream);
}

/* Only where nothing is waiting yet: what is in memory of its own stays there. */
static void
openssl_lend_output(struct tls_session *session, char *memory, size_t size)
{
    struct openssl_stream *stream = session->stream;
    if (stream->output == NULL) {
        stream->output = memory;
        stream->output_capacity = size;
        stream->output_lent = true;
    }
}

static int
openssl_keep_output(struct tls_session *session)
{
    struct openssl_stream *stream = session->stream;
    if (!stream->output_lent) {
        return 0;
    }
    if (stream->output_size == 0) {
        openssl_drop_output(session);
        return 0;
    }
    if (grow_output(stream, 0) < 0) {
        openssl_drop_output(session);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int
openssl_take_output(struct tls_session *session, struct tls_output *output)
{
    struct openssl_stream *stream = session->stream;
    *output =
        (struct tls_output){ stream->output, stream->output_size, stream->output_lent ? NULL : stream->output, NULL };
    forget_output(stream);
    return 0;
}

static Py_ssize_t
openssl_pending_input(struct tls_session *session)
{
    return (Py_ssize_t)(session->stream->kept_size + session->stream->lent_size);
}

static Py_ssize_t
openssl_pending_output(struct tls_session *session)
{
    return (Py_ssize_t)session->stream->output_size;
}

/* ---- The BIO ---- */

static int
bio_read(BIO *bio, char *buffer, int size)
{
    struct openssl_stream *stream = get_data(bio);
    size_t wanted = size > 0 ? (size_t)size : 0, count = 0;
    stream->library->BIO_clear_flags(bio, OPENSSL_BIO_RETRIES);
    if (stream->kept_size > 0) {
        count = wanted < stream->kept_size ? wanted : stream->kept_size;
        memcpy(buffer, stream->kept + stream->kept_start, count);
        stream->kept_start += count;
        stream->kept_size -= count;
        if (stream->kept_size == 0) {
            free_kept(stream);
        }
    }
    size_t more = wanted - count < stream->lent_size ? wanted - count : stream->lent_size;
    if (more > 0) {
        memcpy(buffer + count, stream->lent, more);
        stream->lent += more;
        stream->lent_size -= more;
        count += more;
    }
    if (count == 0) {
        stream->library->BIO_set_flags(bio, OPENSSL_BIO_READS_AGAIN);
        return -1;
    }
    return (int)count;
}

static int
bio_write(BIO *bio, const char *data, int size)
{
    struct openssl_stream *stream = get_data(bio);
    size_t count = size > 0 ? (size_t)size : 0;
    stream->library->BIO_clear_flags(bio, OPENSSL_BIO_RETRIES);
    if (count > stream->output_capacity - stream->output_size && grow_output(stream, count) < 0) {
        stream->lacked_memory = true;
        return -1;
    }
    memcpy(stream->output + stream->output_size, data, count);
    stream->output_size += count;
    return (int)count;
}

static long
bio_ctrl(BIO *bio, int command, long Py_UNUSED(number), void *Py_UNUSED(pointer))
{
    struct openssl_stream *stream = get_data(bio);
    switch (command) {
    case OPENSSL_BIO_CTRL_FLUSH:
        return 1;
    case OPENSSL_BIO_CTRL_PENDING:
        return (long)(stream->kept_size + stream->lent_size);
    case OPENSSL_BIO_CTRL_WPENDING:
        return (long)stream->output_size;
    default:
        return 0;
    }
}

static void
release_stream(struct openssl_stream *stream)
{
    if (COMPAT_GIVE_BACK(stream->owners) > 0) {
        return;
    }
    struct openssl_library *library = stream->library;
    free_kept(stream);
    free_output(stream);
    PyMem_RawFree(stream);
    openssl_library_release(library);
}

static int
bio_destroy(BIO *bio)
{
    struct openssl_stream *stream = get_data(bio);
    if (stream != NULL) {
        release_stream(stream);
    }
    return 1;
}

static bool
make_method(struct openssl_library *library)
{
    bio_get_data_function known = get_data;
    if (known != NULL && known != library->BIO_get_data) {
        return false; /* another library, of another interpreter in this process */
    }
    get_data = library->BIO_get_data;
    /* Without a number of its own, of which a process has some hundred: nobody searches for a BIO of this type. */
    BIO_METHOD *method = library->BIO_meth_new(OPENSSL_BIO_SOURCE_SINK, "asyncio_c");
    if (method == NULL) {
        return false;
    }
    library->BIO_meth_set_read(method, bio_read);
    library->BIO_meth_set_write(method, bio_write);
    library->BIO_meth_set_ctrl(method, bio_ctrl);
    library->BIO_meth_set_destroy(method, bio_destroy);
    if (!COMPAT_PUBLISH(library->method, method)) {
        library->BIO_meth_free(method); /* another thread was faster */
    }
    return true;
}

/* ---- Records ---- */

/* The failure of `method`, which finds it again where OpenSSL has left it.  Returns TLS_FAILED. */
static Py_ssize_t
raise_by(struct tls_session *session, PyObject *method, PyObject *argument)
{
    if (session->stream->lacked_memory) {
        Py_XDECREF(argument);
        PyErr_NoMemory();
        return TLS_FAILED;
    }
    PyObject *held = Py_NewRef(session->ssl_socket), *args[] = { held, argument };
    PyObject *result = argument ? PyObject_VectorcallMethod(method, args, 2, NULL) : NULL;
    Py_DECREF(held);
    Py_XDECREF(argument);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_OSError, "OpenSSL has failed without a reason");
    }
    return TLS_FAILED;
}

/* Before a call of OpenSSL that may call back.  False where this is such a callback, which finds that nothing has come. */
static bool
enter(struct openssl_stream *stream)
{
    if (AC_UNLIKELY(stream->busy)) {
        return false;
    }
    stream->busy = true;
    stream->library->ERR_clear_error();
    return true;
}

/* After that.  Returns what OpenSSL says of its result. */
static int
leave(struct openssl_stream *stream, int result)
{
    int error = AC_LIKELY(result > 0) ? OPENSSL_ERROR_NONE : stream->library->SSL_get_error(stream->ssl, result);
    stream->busy = false;
    return error;
}

static Py_ssize_t
openssl_read(struct tls_session *session, char *buffer, size_t size)
{
    struct openssl_stream *stream = session->stream;
    struct openssl_library *library = stream->library;
    size_t count = 0;
    if (!enter(stream)) {
        return TLS_WANTS;
    }
    int error = leave(stream, library->SSL_read_ex(stream->ssl, buffer, size, &count));
    if (AC_LIKELY(error == OPENSSL_ERROR_NONE)) {
        return (Py_ssize_t)count;
    }
    if (error == OPENSSL_ERROR_WANT_READ) {
        return TLS_WANTS;
    }
    if (error == OPENSSL_ERROR_ZERO_RETURN && library->SSL_get_shutdown(stream->ssl) == OPENSSL_RECEIVED_SHUTDOWN) {
        return 0;
    }
    return raise_by(session, session->state->str_read, PyLong_FromLong(1));
}

static Py_ssize_t
openssl_write(struct tls_session *session, const char *data, size_t size)
{
    struct openssl_stream *stream = session->stream;
    size_t count = 0;
    if (!enter(stream)) {
        return TLS_WANTS;
    }
    int error = leave(stream, stream->library->SSL_write_ex(stream->ssl, data, size, &count));
    if (AC_LIKELY(error == OPENSSL_ERROR_NONE)) {
        return (Py_ssize_t)count;
    }
    if (error == OPENSSL_ERROR_WANT_READ) {
        return TLS_WANTS;
    }
    return raise_by(session, session->state->str_write,
                    PyBytes_FromStringAndSize(data, (Py_ssize_t)(size < 1 ? size : 1)));
}

static int
openssl_may_read(struct tls_session *session)
{
    struct openssl_stream *stream = session->stream;
    return stream->kept_size + stream->lent_size > 0 || stream->library->SSL_has_pending(stream->ssl);
}

const struct tls_engine tls_openssl_engine = {
    .name = "openssl",
    .feed = openssl_feed,
    .keep_rest = openssl_keep_rest,
    .read = openssl_read,
    .write = openssl_write,
    .lend_output = openssl_lend_output,
    .keep_output = openssl_keep_output,
    .take_output = openssl_take_output,
    .drop_output = openssl_drop_output,
    .pending_input = openssl_pending_input,
    .pending_output = openssl_pending_output,
    .may_read = openssl_may_read,
};

/* ---- Beginning and end ---- */

struct openssl_stream *
openssl_stream_open(struct tls_session *session)
{
    struct openssl_library *library = openssl_library_borrow(session->state);
    SSL *ssl =
        library != NULL ? openssl_structure(library, session->ssl_socket, session->incoming, session->outgoing) : NULL;
    if (ssl == NULL || (COMPAT_LOAD_PUBLISHED(library->method) == NULL && !make_method(library))) {
        return NULL;
    }
    struct openssl_stream *stream = PyMem_RawCalloc(1, sizeof(*stream));
    BIO *bio = stream ? library->BIO_new(library->method) : NULL;
    if (bio == NULL) {
        PyMem_RawFree(stream);
        return NULL;
    }
    stream->library = library;
    (void)COMPAT_ADD(library->references, 1);
    stream->ssl = ssl;
    stream->owners = 2;
    library->BIO_set_data(bio, stream);
    library->BIO_set_init(bio, 1);
    library->SSL_ctrl(ssl, OPENSSL_CTRL_MODE, OPENSSL_MODE_RELEASE_BUFFERS, NULL);
    library->SSL_set_bio(ssl, bio, bio); /* which takes the BIO, and lets the two memory BIOs go */
    return stream;
}

bool
openssl_stream_is_busy(const struct openssl_stream *stream)
{
    return stream->busy;
}

void
openssl_stream_close(struct openssl_stream *stream)
{
    stream->lent_size = 0;
    if (stream->output_lent) {
        forget_output(stream);
    }
    release_stream(stream);
}
