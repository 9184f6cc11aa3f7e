/* Addresses of sockets.  Layer: net.

   The objects are those that the socket module makes, whose source is the only definition of what a Unix address is to
   Python.  The other way there is much that only the socket object can do, and it has the texts of the errors: names, the
   empty host, "<broadcast>", zones after a per cent sign, paths. */
#include "net/address.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

enum {
    MAX_PORT = 65535,
    MAX_FLOWINFO = 0xFFFFF,
};

bool
address_family_is_known(int family)
{
    return family == AF_INET || family == AF_INET6 || family == AF_UNIX;
}

/* ---- To an object ---- */

/* "127.0.0.1" of four bytes; the C library's inet_ntop() takes ten times as long, by way of sprintf().  Returns the length. */
static Py_ssize_t
format_inet(char *text, const unsigned char *bytes)
{
    char *end = text;
    for (int i = 0; i < 4; i++) {
        unsigned byte = bytes[i];
        if (byte >= 100) {
            *end++ = (char)('0' + byte / 100);
        }
        if (byte >= 10) {
            *end++ = (char)('0' + byte / 10 % 10);
        }
        *end++ = (char)('0' + byte % 10);
        *end++ = '.';
    }
    return end - 1 - text;
}

static PyObject *
inet_to_object(const struct sockaddr_in *inet)
{
    char text[INET_ADDRSTRLEN];
    Py_ssize_t length = format_inet(text, (const unsigned char *)&inet->sin_addr);
    PyObject *host = PyUnicode_FromStringAndSize(text, length), *port = PyLong_FromLong(ntohs(inet->sin_port));
    PyObject *name = host && port ? PyTuple_Pack(2, host, port) : NULL;
    Py_XDECREF(host);
    Py_XDECREF(port);
    return name;
}

static PyObject *
inet6_to_object(const struct sockaddr_in6 *inet6)
{
    char host[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &inet6->sin6_addr, host, sizeof(host));
    return Py_BuildValue("siII", host, (int)ntohs(inet6->sin6_port), (unsigned)ntohl(inet6->sin6_flowinfo),
                         (unsigned)inet6->sin6_scope_id);
}

static PyObject *
unix_to_object(const struct sockaddr_un *local, socklen_t length)
{
    size_t offset = offsetof(struct sockaddr_un, sun_path), size = length > offset ? length - offset : 0;
    size = size < sizeof(local->sun_path) ? size : sizeof(local->sun_path);
    if (size > 0 && local->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(local->sun_path, (Py_ssize_t)size); /* abstract */
    }
    return PyUnicode_DecodeFSDefaultAndSize(local->sun_path, (Py_ssize_t)strnlen(local->sun_path, size));
}

PyObject *
address_to_object(const struct address *address)
{
    if (address->length == 0) {
        Py_RETURN_NONE;
    }
    switch (address->storage.ss_family) {
    case AF_INET:
        return inet_to_object((const struct sockaddr_in *)&address->storage);
    case AF_INET6:
        return inet6_to_object((const struct sockaddr_in6 *)&address->storage);
    default:
        return unix_to_object((const struct sockaddr_un *)&address->storage, address->length);
    }
}

/* ---- From an object ---- */

/* Item `index` of the tuple as a number up to `maximum`, or `*number` as it is where the tuple ends before. */
static bool
number_at(PyObject *tuple, Py_ssize_t index, unsigned long maximum, unsigned long *number)
{
    if (index >= PyTuple_GET_SIZE(tuple)) {
        return true;
    }
    PyObject *item = PyTuple_GET_ITEM(tuple, index);
    if (!PyLong_CheckExact(item)) {
        return false;
    }
    *number = PyLong_AsUnsignedLong(item);
    if (*number == (unsigned long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return *number <= maximum;
}

/* The first item of the tuple as a numeric host, in network byte order. */
static bool
numeric_host(PyObject *tuple, int family, void *host)
{
    PyObject *item = PyTuple_GET_ITEM(tuple, 0);
    if (!PyUnicode_CheckExact(item)) {
        return false;
    }
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(item, &size);
    if (text == NULL) {
        PyErr_Clear();
        return false;
    }
    return strlen(text) == (size_t)size && inet_pton(family, text, host) == 1;
}

static bool
inet_from_object(struct address *address, PyObject *tuple)
{
    struct sockaddr_in inet = { .sin_family = AF_INET };
    unsigned long port = 0;
    if (PyTuple_GET_SIZE(tuple) != 2 || !number_at(tuple, 1, MAX_PORT, &port)
        || !numeric_host(tuple, AF_INET, &inet.sin_addr)) {
        return false;
    }
    inet.sin_port = htons((uint16_t)port);
    memcpy(&address->storage, &inet, sizeof(inet));
    address->length = sizeof(inet);
    return true;
}

static bool
inet6_from_object(struct address *address, PyObject *tuple)
{
    struct sockaddr_in6 inet6 = { .sin6_family = AF_INET6 };
    unsigned long port = 0, flowinfo = 0, scope_id = 0;
    Py_ssize_t size = PyTuple_GET_SIZE(tuple);
    if (size < 2 || size > 4 || !number_at(tuple, 1, MAX_PORT, &port) || !number_at(tuple, 2, MAX_FLOWINFO, &flowinfo)
        || !number_at(tuple, 3, UINT_MAX, &scope_id) || !numeric_host(tuple, AF_INET6, &inet6.sin6_addr)) {
        return false;
    }
    inet6.sin6_port = htons((uint16_t)port);
    inet6.sin6_flowinfo = htonl((uint32_t)flowinfo);
    inet6.sin6_scope_id = (uint32_t)scope_id;
    memcpy(&address->storage, &inet6, sizeof(inet6));
    address->length = sizeof(inet6);
    return true;
}

bool
address_from_object(struct address *address, int family, PyObject *object)
{
    if (!PyTuple_CheckExact(object)) {
        return false;
    }
    return family == AF_INET    ? inet_from_object(address, object)
           : family == AF_INET6 ? inet6_from_object(address, object)
                                : false;
}
