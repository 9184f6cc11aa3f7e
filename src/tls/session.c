/* The session of a connection: which engine drives it.  Layer: tls. */
#include "tls/engine.h"

/* Whether the class has CPython's own method of this name, as a class that only adds to the handshake does. */
static int
has_own_method(PyObject *type, PyObject *own_type, PyObject *name)
{
    PyObject *method = PyObject_GetAttr(type, name), *own = PyObject_GetAttr(own_type, name);
    int same = method && own ? method == own : -1;
    Py_XDECREF(method);
    Py_XDECREF(own);
    return same;
}

/* Takes out what is inside of the SSLObject, if reading and writing can go there directly.  Returns 0 or -1. */
static int
find_socket(struct tls_session *session)
{
    struct state *state = session->state;
    Py_CLEAR(session->ssl_socket);
    if (state->SSLObject == NULL || !PyType_Check(state->SSLObject)
        || !PyObject_TypeCheck(session->sslobj, (PyTypeObject *)state->SSLObject)
        || (PyObject *)Py_TYPE(session->incoming) != state->MemoryBIO
        || (PyObject *)Py_TYPE(session->outgoing) != state->MemoryBIO) {
        return 0;
    }
    PyObject *const names[] = { state->str_read, state->str_write, state->str_pending };
    for (size_t i = 0; i < AC_ARRAY_SIZE(names); i++) {
        int own = has_own_method((PyObject *)Py_TYPE(session->sslobj), state->SSLObject, names[i]);
        if (own <= 0) {
            return own;
        }
    }
    PyObject *inside = PyObject_GetAttr(session->sslobj, state->str__sslobj);
    if (inside == NULL) {
        return -1;
    }
    if ((PyObject *)Py_TYPE(inside) == state->SSLSocket) {
        Py_XSETREF(session->ssl_socket, inside);
    }
    else {
        Py_DECREF(inside);
    }
    return 0;
}

static void
close_stream(struct tls_session *session)
{
    if (session->stream != NULL) {
        openssl_stream_close(session->stream);
        session->stream = NULL;
    }
}

int
tls_session_check_idle(struct tls_session *session)
{
    if (session->stream != NULL && openssl_stream_is_busy(session->stream)) {
        PyErr_SetString(PyExc_RuntimeError, "the TLS session is in use");
        return -1;
    }
    return 0;
}

int
tls_session_start(struct tls_session *session, bool openssl)
{
    if (tls_session_check_idle(session) < 0) {
        return -1;
    }
    close_stream(session);
    session->engine = &tls_object_engine;
    tls_records_init(&session->records);
    if (session->sslobj == NULL || session->incoming == NULL || session->outgoing == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a TLS session needs an SSLObject and two BIOs");
        return -1;
    }
    if (find_socket(session) < 0) {
        return -1;
    }
    if (openssl && session->ssl_socket != NULL && (session->stream = openssl_stream_open(session)) != NULL) {
        session->engine = &tls_openssl_engine;
    }
    return 0;
}

int
tls_session_traverse(struct tls_session *session, visitproc visit, void *arg)
{
    Py_VISIT(session->sslobj);
    Py_VISIT(session->incoming);
    Py_VISIT(session->outgoing);
    Py_VISIT(session->ssl_socket);
    return 0;
}

void
tls_session_clear(struct tls_session *session)
{
    close_stream(session);
    session->engine = NULL;
    Py_CLEAR(session->sslobj);
    Py_CLEAR(session->incoming);
    Py_CLEAR(session->outgoing);
    Py_CLEAR(session->ssl_socket);
}
