/* Where the records of a TLS stream end.  Layer: base, plain C. */
#include "base/tls_record.h"

#include "base/macros.h"

#include <string.h>

void
tls_records_init(struct tls_records *records)
{
    memset(records, 0, sizeof(*records));
}

/* Types 20 (change_cipher_spec) to 24 (heartbeat) and version 3.x: whatever else comes, the library has to judge. */
static bool
header_is_known(const unsigned char *header, size_t body_bytes)
{
    return header[0] >= 20 && header[0] <= 24 && header[1] == 3 && body_bytes <= TLS_BODY_MAX;
}

/* Takes bytes for the header, of which some lack.  Returns how many. */
static size_t
take_header(struct tls_records *records, const char *data, size_t size)
{
    size_t lacking = TLS_HEADER_SIZE - records->partial_bytes;
    size_t count = size < lacking ? size : lacking;
    memcpy(records->header + records->partial_bytes, data, count);
    records->partial_bytes += count;
    if (records->partial_bytes == TLS_HEADER_SIZE) {
        records->body_bytes = (size_t)records->header[3] << 8 | records->header[4];
        records->broken = !header_is_known(records->header, records->body_bytes);
    }
    return count;
}

void
tls_records_scan(struct tls_records *records, const char *data, size_t size)
{
    while (size > 0 && !records->broken) {
        size_t count;
        if (records->partial_bytes < TLS_HEADER_SIZE) {
            count = take_header(records, data, size);
        }
        else {
            size_t lacking = TLS_HEADER_SIZE + records->body_bytes - records->partial_bytes;
            count = size < lacking ? size : lacking;
            records->partial_bytes += count;
        }
        if (records->partial_bytes >= TLS_HEADER_SIZE
            && records->partial_bytes == TLS_HEADER_SIZE + records->body_bytes) {
            records->partial_bytes = 0;
        }
        data += count;
        size -= count;
    }
    if (AC_UNLIKELY(records->broken)) {
        records->partial_bytes = 0;
    }
}
