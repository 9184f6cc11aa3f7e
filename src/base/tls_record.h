/* Where the records of a TLS stream end.  Layer: base, plain C.

   A record is a header of five bytes (type, version, length) and as many bytes as the header says, whatever the version and
   whether it is encrypted.  Whoever has to ask a library for what it has decrypted learns here whether there can be an answer:
   not while nothing but a part of a record has come. */
#ifndef AC_BASE_TLS_RECORD_H
#define AC_BASE_TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TLS_HEADER_SIZE = 5,
    TLS_PLAIN_MAX = 16384,               /* what a record can hold */
    TLS_BODY_MAX = TLS_PLAIN_MAX + 2048, /* the largest that any version allows, encrypted */
};

/* The place in a stream, up to which it has been looked at. */
struct tls_records {
    size_t partial_bytes; /* how many of the last bytes are the beginning of a record that is not complete */
    bool broken; /* something came that is no header: nobody knows where a record ends, and partial_bytes is 0 */
    /* private */
    unsigned char header[TLS_HEADER_SIZE];
    size_t body_bytes; /* of the record that partial_bytes belong to, once its header is complete */
};

void tls_records_init(struct tls_records *records);

/* Looks at the `size` bytes that come next. */
void tls_records_scan(struct tls_records *records, const char *data, size_t size);

#endif
