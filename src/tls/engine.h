/* What decrypts and encrypts: one interface, two engines.  Layer: tls.

   A session is the ssl.SSLObject of one connection, which context.wrap_bio() has made, and an engine that drives it:

       object    by the methods of the SSLObject and of its two MemoryBIOs: works on every CPython
       openssl   by the SSL structure inside the SSLObject, which openssl_library.c takes out and proves

   With both the SSLObject stays what it is: it makes the handshake and the shutdown, which are asyncio's steps in Python, and
   answers every question.  The engine has what runs for each record.

   What goes in is fed: all of it is copied, or lent until keep_rest(), by which time most has been read.  What comes out
   is taken, in one piece; output that the caller has lent memory for lies there until it is taken or kept. */
#ifndef AC_TLS_ENGINE_H
#define AC_TLS_ENGINE_H

#include "base/tls_record.h"
#include "py/state.h"

#include <stdbool.h>

struct openssl_stream;
struct tls_engine;

/* What read() and write() answer instead of a size. */
enum {
    TLS_FAILED = -1, /* an exception is set */
    TLS_WANTS = -2,  /* more has to come from the peer first */
};

struct tls_session {
    const struct tls_engine *engine; /* NULL: there is no session yet */
    struct state *state;
    PyObject *sslobj;              /* owned, as are all */
    PyObject *incoming, *outgoing; /* the MemoryBIOs of wrap_bio(); the openssl engine does not use them */
    PyObject *ssl_socket;          /* what is inside of `sslobj`; NULL where that is no plain ssl.SSLObject */
    struct tls_records records;    /* object: what has been fed */
    struct openssl_stream *stream; /* openssl */
};

/* What is to be sent.  Its memory is the caller's by now, and is released by tls_output_release(), unless it had lent it. */
struct tls_output {
    const char *data;
    size_t size_bytes;
    void *memory;     /* owned, or NULL */
    PyObject *object; /* owned, or NULL */
};

static inline void
tls_output_release(struct tls_output *output)
{
    PyMem_RawFree(output->memory);
    Py_CLEAR(output->object);
    output->memory = NULL;
}

struct tls_engine {
    const char *name;

    /* Gives what has come from the peer.  With `lent` the data stays where it is until keep_rest().  Return 0 or -1. */
    int (*feed)(struct tls_session *session, const char *data, size_t size, bool lent);
    int (*keep_rest)(struct tls_session *session);

    /* Decrypts up to `size` bytes, or encrypts some of them: how many; TLS_FAILED or TLS_WANTS.  A read of 0 is the end that
       the peer has announced. */
    Py_ssize_t (*read)(struct tls_session *session, char *buffer, size_t size);
    Py_ssize_t (*write)(struct tls_session *session, const char *data, size_t size);

    /* Has what comes out collected in the caller's memory.  Ends with take_output() or keep_output(). */
    void (*lend_output)(struct tls_session *session, char *memory, size_t size);
    int (*keep_output)(struct tls_session *session);

    /* Takes out what is to be sent, or forgets it.  Return 0 or -1. */
    int (*take_output)(struct tls_session *session, struct tls_output *output);
    void (*drop_output)(struct tls_session *session);

    /* Bytes, or -1 with an exception. */
    Py_ssize_t (*pending_input)(struct tls_session *session);
    Py_ssize_t (*pending_output)(struct tls_session *session);

    /* Whether read() might give something, or say something new. */
    int (*may_read)(struct tls_session *session);
};

extern const struct tls_engine tls_object_engine, tls_openssl_engine;

/* Whether it can be exchanged: not while OpenSSL is at work, which calls back.  Returns 0, or -1 with RuntimeError. */
int tls_session_check_idle(struct tls_session *session);

/* Begins with what `sslobj` and the two are set to, by the openssl engine if that is wanted and can be had.  Returns 0 or
   -1.  Runs Python. */
int tls_session_start(struct tls_session *session, bool openssl);

/* What the openssl engine has for a session whose `ssl_socket` has done nothing yet; NULL where it cannot be had, and nothing
   has changed.  The other lets go of it. */
struct openssl_stream *openssl_stream_open(struct tls_session *session);
bool openssl_stream_is_busy(const struct openssl_stream *stream); /* OpenSSL is at work, and calls back */
void openssl_stream_close(struct openssl_stream *stream);

int tls_session_traverse(struct tls_session *session, visitproc visit, void *arg);
void tls_session_clear(struct tls_session *session);

#endif
