#!/bin/sh
# In CPython 3.10 to 3.13.0 each read of `SSLObject.session` leaks a whole session: one is copied, and the copy forgotten.
# A TLS 1.3 client's session holds the server's certificate and a ticket, over 6 KB here: who asks each connection for it, to
# resume it later, grows by that much a connection. No crash, and nothing is wrong with the session. CPython #116810 mended it.
#
# Seen on 29 November 2026, with cryptography 50.0.2 and trustme 1.2.1 for the certificates; bytes that stay with each call of
# client.version(), and each read of the server's and of the client's session after one handshake:
#
#     CPython 3.9.18, OpenSSL 3.0.19                                0 0 0
#     CPython 3.10.13, 3.11.7, 3.12.1 and 3.13.0, OpenSSL 3.0.19    0 1009 6658, give or take 14
#     CPython 3.14.10 and 3.15.2, OpenSSL 3.6.5                     0 0 0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/reads.py" <<'PROGRAM'
import gc
import resource
import ssl
import sys

READS = 10_000
certificate = sys.argv[1]
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(certificate)
client_context = ssl.create_default_context(cafile=certificate)
to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
server = server_context.wrap_bio(to_server, to_client, server_side=True)


def attempt(function, *arguments):
    try:
        function(*arguments)
    except ssl.SSLWantReadError:
        pass


for _ in range(3):
    attempt(client.do_handshake)
    attempt(server.do_handshake)
attempt(client.read, 1)  # the tickets
assert client.version() == "TLSv1.3" and client.session.has_ticket


def growth(read):
    """Return by how many bytes the process grows each time."""
    for _ in range(1000):
        read()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(READS):
        read()
    gc.collect()
    return round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / READS)


version, server_session, client_session = (
    growth(client.version),
    growth(lambda: server.session),
    growth(lambda: client.session),
)
print(sys.version.split()[0], ssl.OPENSSL_VERSION, version, server_session, client_session)
sys.exit(0 if version < 100 and server_session > 500 and client_session > 4000 else 1)
PROGRAM
cat > "$folder/certify.py" <<'PROGRAM'
import sys

import trustme

authority = trustme.CA()
authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(sys.argv[1])
authority.cert_pem.write_to_path(sys.argv[1], append=True)
PROGRAM
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q trustme==1.2.1 cryptography==50.0.2
"$folder/venv/bin/python" "$folder/certify.py" "$folder/certificate.pem"
"$folder/venv/bin/python" "$folder/reads.py" "$folder/certificate.pem"
