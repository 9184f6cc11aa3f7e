"""Clients whose certificates truststore judges: a context with a wrap_bio() of its own, and objects of a class of its own."""

import asyncio
import ssl

import common
import trustme
import truststore


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def exchange(address, context, name):
    """Send more than a record to and fro; returns the transport's ssl_object."""
    reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name)
    engine = getattr(writer.transport._ssl_protocol, "_engine", None)
    assert engine in (None, "object", "openssl"), engine
    data = bytes(range(256)) * 300
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    secret = writer.get_extra_info("ssl_object")
    assert isinstance(secret, ssl.SSLObject) and secret.server_hostname == name
    assert writer.get_extra_info("peercert")["subjectAltName"] == (("DNS", "localhost"),)
    writer.close()
    await writer.wait_closed()
    return secret


async def refused(address, context, name):
    try:
        await exchange(address, context, name)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    raise AssertionError("trusted")


async def main():
    authority = trustme.CA()
    of_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(of_server)
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=of_server)
    address = server.sockets[0].getsockname()

    trusting = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert isinstance(trusting, ssl.SSLContext)
    trusting.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    secret = await exchange(address, trusting, "localhost")
    assert secret.version() == "TLSv1.3"
    assert "Hostname mismatch" in await refused(address, trusting, "other.invalid")
    ignorant = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert "unable to get local issuer" in await refused(address, ignorant, "localhost")

    # As applications have it: every context of the process is one.
    truststore.inject_into_ssl()
    try:
        everywhere = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        assert type(everywhere) is truststore.SSLContext
        await exchange(address, everywhere, "localhost")
    finally:
        truststore.extract_from_ssl()
    server.close()
    await server.wait_closed()
    await common.others_ended()


common.run(main)
