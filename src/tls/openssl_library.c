/* Where OpenSSL's functions are, and its structure inside of an SSLObject.  Layer: tls.

   An _ssl._SSLSocket has had the same beginning since CPython 3.7: the object's head, a reference to a socket, the SSL
   structure.  That is no promise, so it is believed of an interpreter only after a proof with its first object, in steps
   that cannot crash:

   1. What the word points to is read by the kernel, which says so if there is nothing (io/memory.h).
   2. In it lie, side by side, the two BIOs that the object was made with, where SSL_get_rbio() finds the first of them: it is
      asked of a copy.
   3. Each of the two points to the very method table that BIO_s_mem() returns: so the functions that were looked up are
      of the library that made them, and not of another copy in the process.

   Then OpenSSL itself is asked, of each object: SSL_get_rbio(), SSL_get_wbio(), and SSL_get_ex_data(), where CPython keeps
   the way back to its object. */
#define _GNU_SOURCE
#include "tls/openssl_library.h"

#include "io/memory.h"

#include <dlfcn.h>

/* The first three words of either object behind the head. */
struct socket_layout {
    PyObject_HEAD
    PyObject *sock;
    SSL *ssl;
};
struct bio_layout {
    PyObject_HEAD
    BIO *bio;
};

enum {
    SSL_WORDS = 64, /* in which the BIOs lie: they come early in every version */
    BIO_WORDS = 4,  /* in which a BIO's method lies */
};

/* ---- Looking up ---- */

/* The module's library, or the program where it is built in. */
static void *
open_module(PyObject *module)
{
    PyObject *file = PyObject_GetAttrString(module, "__file__");
    const char *path = file && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    void *handle = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : dlopen(NULL, RTLD_LAZY);
    PyErr_Clear();
    Py_XDECREF(file);
    return handle;
}

static bool
find_functions(struct openssl_library *library, void *handle)
{
#define X(result, name, parameters)                  \
    *(void **)&library->name = dlsym(handle, #name); \
    if (library->name == NULL) {                     \
        return false;                                \
    }
    OPENSSL_FUNCTIONS(X)
#undef X
    return true;
}

/* The state's type if this module has the same; else NULL. */
static PyObject *
type_of(PyObject *module, const char *name, PyObject *type)
{
    PyObject *own = PyObject_GetAttrString(module, name);
    PyErr_Clear();
    Py_XDECREF(own);
    return own == type ? type : NULL;
}

static bool
version_is(struct openssl_library *library, PyObject *module)
{
    PyObject *version = PyObject_GetAttrString(module, "OPENSSL_VERSION");
    const char *text = version && PyUnicode_Check(version) ? PyUnicode_AsUTF8(version) : NULL;
    bool same = text != NULL && strcmp(text, library->OpenSSL_version(0)) == 0;
    PyErr_Clear();
    Py_XDECREF(version);
    return same;
}

/* Returns whether the library can be had. */
static bool
look_up(struct openssl_library *library, struct state *state)
{
    if (AC_FREE_THREADED) {
        return false; /* CPython's methods lock the object, which nobody else can */
    }
    PyObject *module = PyImport_ImportModule("_ssl");
    if (module == NULL) {
        PyErr_Clear();
        return false;
    }
    void *handle = open_module(module); /* kept open, as the module is */
    library->socket_type = type_of(module, "_SSLSocket", state->SSLSocket);
    library->bio_type = type_of(module, "MemoryBIO", state->MemoryBIO);
    bool found = handle != NULL && library->socket_type != NULL && library->bio_type != NULL
                 && find_functions(library, handle) && version_is(library, module);
    Py_DECREF(module);
    return found;
}

struct openssl_library *
openssl_library_borrow(struct state *state)
{
    if (COMPAT_LOAD_PUBLISHED(state->openssl_library) == NULL) {
        struct openssl_library *library = PyMem_RawCalloc(1, sizeof(*library));
        if (library == NULL) {
            return NULL;
        }
        library->references = 1;
        library->tried = !look_up(library, state);
        if (!COMPAT_PUBLISH(state->openssl_library, library)) {
            openssl_library_release(
                library); /* an import has run Python, which has asked, too; or another thread has */
        }
    }
    struct openssl_library *library = COMPAT_LOAD_PUBLISHED(state->openssl_library);
    return COMPAT_LOAD_PUBLISHED(library->tried) && !COMPAT_LOAD(library->proven) ? NULL : library;
}

void
openssl_library_release(struct openssl_library *library)
{
    if (COMPAT_GIVE_BACK(library->references) == 0) {
        if (library->method != NULL) {
            library->BIO_meth_free(library->method);
        }
        PyMem_RawFree(library);
    }
}

/* ---- The proof ---- */

static bool
is_memory_bio(struct openssl_library *library, BIO *bio)
{
    const void *words[BIO_WORDS];
    if (memory_peek(words, bio, sizeof(words)) < 0) {
        return false;
    }
    const void *method = library->BIO_s_mem();
    for (int i = 0; i < BIO_WORDS; i++) {
        if (words[i] == method) {
            return true;
        }
    }
    return false;
}

/* The first field is the kind of the structure from OpenSSL 3.2 on, 0 for TLS, and before that a version of the protocol.
   Only of these SSL_get_rbio() reads a field and does nothing else. */
static bool
kind_is_known(uint32_t kind)
{
    return kind == 0 || (kind >= 0x0300 && kind <= 0x0304) || kind == 0x10000;
}

static bool
has_bios(struct openssl_library *library, SSL *ssl, BIO *incoming, BIO *outgoing)
{
    const void *words[SSL_WORDS];
    uint32_t kind;
    if (memory_peek(words, ssl, sizeof(words)) < 0) {
        return false;
    }
    memcpy(&kind, words, sizeof(kind));
    for (int i = 0; i + 1 < SSL_WORDS; i++) {
        if (words[i] == incoming && words[i + 1] == outgoing) {
            return kind_is_known(kind) && library->SSL_get_rbio((const SSL *)words) == incoming;
        }
    }
    return false;
}

bool
openssl_prove(struct openssl_library *library, PyObject *ssl_socket, PyObject *incoming, PyObject *outgoing)
{
    if (Py_TYPE(ssl_socket)->tp_basicsize < (Py_ssize_t)sizeof(struct socket_layout)
        || Py_TYPE(incoming)->tp_basicsize < (Py_ssize_t)sizeof(struct bio_layout)
        || Py_TYPE(outgoing)->tp_basicsize < (Py_ssize_t)sizeof(struct bio_layout)) {
        return false;
    }
    SSL *ssl = ((struct socket_layout *)ssl_socket)->ssl;
    BIO *in = ((struct bio_layout *)incoming)->bio, *out = ((struct bio_layout *)outgoing)->bio;
    return is_memory_bio(library, in) && is_memory_bio(library, out) && has_bios(library, ssl, in, out);
}

SSL *
openssl_structure(struct openssl_library *library, PyObject *ssl_socket, PyObject *incoming, PyObject *outgoing)
{
    if ((PyObject *)Py_TYPE(ssl_socket) != library->socket_type || (PyObject *)Py_TYPE(incoming) != library->bio_type
        || (PyObject *)Py_TYPE(outgoing) != library->bio_type) {
        return NULL;
    }
    if (!COMPAT_LOAD_PUBLISHED(library->tried)) {
        COMPAT_STORE(library->proven, openssl_prove(library, ssl_socket, incoming, outgoing));
        (void)COMPAT_PUBLISH(library->tried, true);
    }
    if (!COMPAT_LOAD(library->proven)) {
        return NULL;
    }
    SSL *ssl = ((struct socket_layout *)ssl_socket)->ssl;
    bool same = library->SSL_get_rbio(ssl) == ((struct bio_layout *)incoming)->bio
                && library->SSL_get_wbio(ssl) == ((struct bio_layout *)outgoing)->bio
                && library->SSL_get_ex_data(ssl, 0) == (void *)ssl_socket;
    return same ? ssl : NULL;
}
