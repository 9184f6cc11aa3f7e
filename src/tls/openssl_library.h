/* The OpenSSL that CPython's _ssl module uses, without its headers, and the SSL structure inside of an SSLObject.  Layer: tls.

   Nothing is linked: the functions are looked up through the _ssl module, which is loaded already, so that they are the ones
   that made the structure.  Where _ssl has OpenSSL inside of itself they are not found, and the object engine serves. */
#ifndef AC_TLS_OPENSSL_LIBRARY_H
#define AC_TLS_OPENSSL_LIBRARY_H

#include "py/state.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ssl_st SSL;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;

/* Constants of OpenSSL's interface, the same from 1.1.1 on. */
enum {
    OPENSSL_ERROR_NONE = 0,
    OPENSSL_ERROR_WANT_READ = 2,
    OPENSSL_ERROR_ZERO_RETURN = 6,
    OPENSSL_RECEIVED_SHUTDOWN = 2,
    OPENSSL_CTRL_MODE = 33,
    OPENSSL_MODE_RELEASE_BUFFERS = 0x10,
    OPENSSL_BIO_READS_AGAIN = 0x01 | 0x08, /* BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY */
    OPENSSL_BIO_RETRIES = 0x0f,
    OPENSSL_BIO_CTRL_PENDING = 10,
    OPENSSL_BIO_CTRL_FLUSH = 11,
    OPENSSL_BIO_CTRL_WPENDING = 13,
    OPENSSL_BIO_SOURCE_SINK = 0x0400,
};

/* result, name, parameters */
#define OPENSSL_FUNCTIONS(X)                                                                  \
    X(const char *, OpenSSL_version, (int type))                                              \
    X(void, ERR_clear_error, (void))                                                          \
    X(int, SSL_get_error, (const SSL *ssl, int result))                                       \
    X(int, SSL_read_ex, (SSL * ssl, void *buffer, size_t size, size_t *count))                \
    X(int, SSL_write_ex, (SSL * ssl, const void *data, size_t size, size_t *count))           \
    X(int, SSL_get_shutdown, (const SSL *ssl))                                                \
    X(long, SSL_ctrl, (SSL * ssl, int command, long number, void *pointer))                   \
    X(int, SSL_has_pending, (const SSL *ssl))                                                 \
    X(void *, SSL_get_ex_data, (const SSL *ssl, int index))                                   \
    X(BIO *, SSL_get_rbio, (const SSL *ssl))                                                  \
    X(BIO *, SSL_get_wbio, (const SSL *ssl))                                                  \
    X(void, SSL_set_bio, (SSL * ssl, BIO * in, BIO * out))                                    \
    X(const BIO_METHOD *, BIO_s_mem, (void))                                                  \
    X(BIO *, BIO_new, (const BIO_METHOD *method))                                             \
    X(void, BIO_set_data, (BIO * bio, void *data))                                            \
    X(void *, BIO_get_data, (BIO * bio))                                                      \
    X(void, BIO_set_init, (BIO * bio, int init))                                              \
    X(void, BIO_set_flags, (BIO * bio, int flags))                                            \
    X(void, BIO_clear_flags, (BIO * bio, int flags))                                          \
    X(BIO_METHOD *, BIO_meth_new, (int type, const char *name))                               \
    X(void, BIO_meth_free, (BIO_METHOD * method))                                             \
    X(int, BIO_meth_set_read, (BIO_METHOD * method, int (*read)(BIO *, char *, int)))         \
    X(int, BIO_meth_set_write, (BIO_METHOD * method, int (*write)(BIO *, const char *, int))) \
    X(int, BIO_meth_set_ctrl, (BIO_METHOD * method, long (*ctrl)(BIO *, int, long, void *)))  \
    X(int, BIO_meth_set_destroy, (BIO_METHOD * method, int (*destroy)(BIO *)))

struct openssl_library {
#define X(result, name, parameters) result(*name) parameters;
    OPENSSL_FUNCTIONS(X)
#undef X
    BIO_METHOD *method;    /* of the openssl engine's BIOs */
    PyObject *socket_type; /* borrowed from the state, as is the next: _ssl._SSLSocket */
    PyObject *bio_type;    /* _ssl.MemoryBIO */
    bool tried;            /* whether it could be had and the place of the structure be proven; with: */
    bool proven;
    size_t references; /* the module's state, and each stream: BIOs outlive the module */
};

/* The library, looked up when it is asked for first; NULL without an exception where it is not to be had.  Borrowed from
   the state. */
struct openssl_library *openssl_library_borrow(struct state *state);

/* The structure inside of `ssl_socket`, which was made with the two MemoryBIOs and has done nothing yet; NULL where it does
   not prove to be that. */
SSL *openssl_structure(struct openssl_library *library, PyObject *ssl_socket, PyObject *incoming, PyObject *outgoing);

/* What the proof rests on: whether the word where the structure is expected points to one.  Does not crash on anything. */
bool openssl_prove(struct openssl_library *library, PyObject *ssl_socket, PyObject *incoming, PyObject *outgoing);

void openssl_library_release(struct openssl_library *library);

#endif
