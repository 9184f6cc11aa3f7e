#!/bin/sh
# From OpenSSL 3.2 on, each error in a TLS record leaves one more entry in OpenSSL's queue of errors, behind the one that says
# what was wrong: "record layer failure". Code that takes the last entry for the reason, as with pyOpenSSL's error.args[0][-1],
# reads that in every case: for an altered record, one that is too long, or plain text where a record was due. Python's own ssl
# module does so: SSLError.reason of plain text is WRONG_VERSION_NUMBER with Python 3.11.7 and OpenSSL 3.0.19, and
# RECORD_LAYER_FAILURE with Python 3.14.10 and OpenSSL 3.6.5. What was the last entry before is the one in front of it.
#
# Seen on 29 November 2026 with Python 3.11.7; the reasons of pyOpenSSL's Error for an altered record and for plain text, over
# TLS 1.2:
#
#     cryptography 41.0.7, pyOpenSSL 24.0.0, OpenSSL 3.1.4
#         ['cipher operation failed', 'decryption failed or bad record mac']    ['wrong version number']
#     cryptography 42.0.8, pyOpenSSL 25.1.0, OpenSSL 3.2.2, and cryptography 50.0.2, pyOpenSSL 26.4.0, OpenSSL 4.0.3
#         ['cipher operation failed', 'decryption failed or bad record mac', 'record layer failure']
#         ['wrong version number', 'record layer failure']
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/reasons.py" <<'EOF'
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
begin = datetime.datetime(2025, 1, 1)
certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
certificate = certificate.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=9000))
certificate = certificate.sign(key, hashes.SHA256())


def move(source, target):
    try:
        target.bio_write(source.bio_read(1 << 16))
    except SSL.WantReadError:
        pass


def connected():
    server_context, client_context = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
    server_context.use_privatekey(crypto.PKey.from_cryptography_key(key))
    server_context.use_certificate(crypto.X509.from_cryptography(certificate))
    client_context.set_max_proto_version(SSL.TLS1_2_VERSION)
    server, client = SSL.Connection(server_context, None), SSL.Connection(client_context, None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(6):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            move(one, other)
    return server, client


def reasons(server, data):
    server.bio_write(data)
    try:
        server.recv(100)
    except SSL.Error as error:
        return [reason for _, _, reason in error.args[0]]


server, client = connected()
client.send(b"hello")
record = bytearray(client.bio_read(1 << 16))
record[-1] ^= 1
print(reasons(server, bytes(record)), reasons(connected()[0], b"GET / HTTP/1.1\r\n\r\n"))
EOF
check() {
    "${PYTHON:-python3}" -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install -q "cryptography==$1" "pyOpenSSL==$2"
    found=$("$folder/venv/bin/python" -W ignore "$folder/reasons.py")
    printf '%s, %s: %s\n' "$1" "$2" "$found"
    [ "$found" = "$3" ] || exit 1
}
altered="'cipher operation failed', 'decryption failed or bad record mac'"
more="'record layer failure'"
check 41.0.7 24.0.0 "[$altered] ['wrong version number']"
check 42.0.8 25.1.0 "[$altered, $more] ['wrong version number', $more]"
check 50.0.2 26.4.0 "[$altered, $more] ['wrong version number', $more]"
