/* TLSProtocol and TLSTransport: what asyncio's sslproto does for each read and write, in C.  Layer: tls. */
#ifndef AC_TLS_TLS_PROTOCOL_H
#define AC_TLS_TLS_PROTOCOL_H

#include "net/chunks.h"
#include "net/direct.h"
#include "net/transport.h"
#include "py/context.h"
#include "tls/engine.h"

/* asyncio.sslproto.SSLProtocolState, in its order. */
enum tls_state {
    TLS_UNWRAPPED,
    TLS_DO_HANDSHAKE,
    TLS_WRAPPED,
    TLS_FLUSHING,
    TLS_SHUTDOWN,
};

/* What asyncio's methods work on: field, and the name of the attribute. */
#define TLS_OBJECTS(X)                                     \
    X(loop, _loop)                                         \
    X(transport, _transport)                               \
    X(app_transport, _app_transport)                       \
    X(app_protocol, _app_protocol)                         \
    X(app_get_buffer, _app_protocol_get_buffer)            \
    X(app_buffer_updated, _app_protocol_buffer_updated)    \
    X(app_state, _app_state)                               \
    X(waiter, _waiter)                                     \
    X(sslcontext, _sslcontext)                             \
    X(server_hostname, _server_hostname)                   \
    X(extra, _extra)                                       \
    X(handshake_timeout, _ssl_handshake_timeout)           \
    X(shutdown_timeout, _ssl_shutdown_timeout)             \
    X(handshake_start_time, _handshake_start_time)         \
    X(handshake_timeout_handle, _handshake_timeout_handle) \
    X(shutdown_timeout_handle, _shutdown_timeout_handle)

typedef struct {
    DirectProtocol direct;
    struct state *state;
    struct tls_session session;
    struct chunks backlog;              /* what the application has written and is not encrypted */
    struct deferred deferred;           /* its encryption at the end of the callback */
    struct lazy_context write_context;  /* of the write() that this is for */
#define X(field, name) PyObject *field; /* owned; NULL where it was never set */
    TLS_OBJECTS(X)
#undef X
    PyObject *foreign_buffer; /* owned; while a transport that is not ours fills it */
    Py_ssize_t outgoing_high_water, outgoing_low_water;
    Py_ssize_t incoming_high_water, incoming_low_water;
    int conn_lost;
    enum tls_state tls_state;
    bool server_side;
    bool app_is_buffered;
    bool app_transport_created;
    bool app_reading_paused, app_writing_paused;
    bool ssl_reading_paused, ssl_writing_paused;
    bool eof_received;
    bool encrypting; /* the backlog, at this moment */
    LOOP_HOME
} TLSProtocol;

/* Encrypts what was deferred, and has it sent.  Returns 0 or -1.  Runs Python. */
int tls_protocol_flush(TLSProtocol *self);

/* What _write_appdata((data,)) does with a bytes-like object.  Returns 0 or -1.  Runs Python. */
int tls_protocol_write(TLSProtocol *self, PyObject *data);

/* How much is not given to the transport yet, or -1. */
Py_ssize_t tls_protocol_write_buffer_size(TLSProtocol *self);

/* Lets go of OpenSSL, at the end of the module. */
void tls_release_library(struct state *state);

/* Each adds its type to the state and the module.  Return 0 or -1. */
int tls_protocol_register(PyObject *module);
int tls_transport_register(PyObject *module);

#endif
