/* Addresses of sockets, between the kernel's structures and the socket module's objects.  Layer: net. */
#ifndef AC_NET_ADDRESS_H
#define AC_NET_ADDRESS_H

#include "py/compat.h"

#include <stdbool.h>
#include <sys/socket.h>

struct address {
    struct sockaddr_storage storage;
    socklen_t length; /* 0: no address */
};

/* Whether both functions know the addresses of this family: IPv4, IPv6 and Unix. */
bool address_family_is_known(int family);

/* What the methods of socket.socket return for it: (host, port), (host, port, flowinfo, scope_id), a path, the bytes of an
   abstract name, or None.  Needs: of a known family.  NULL with an exception. */
PyObject *address_to_object(const struct address *address);

/* Takes `object` for a socket of `family` if that asks nobody, is exact, and could not be anything else: a tuple with a numeric
   host.  False, without an exception: the socket object has to look at it. */
bool address_from_object(struct address *address, int family, PyObject *object);

#endif
