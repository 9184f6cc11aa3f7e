"""Transports, servers, streams and TLS: the types and private attributes that libraries rely on."""

import asyncio
import gc
import socket
import ssl
from asyncio import sslproto, trsock
from pathlib import Path

import pytest
from unit import support

CERTIFICATE = Path(__file__).parents[1] / "unit" / "net" / "localhost.pem"


class Recorder(asyncio.Protocol):
    def __init__(self, loop):
        self.events = []
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def data_received(self, data):
        assert type(data) is bytes
        self.events.append(data)

    def eof_received(self):
        self.events.append("eof")

    def connection_lost(self, exc):
        self.events.append("lost")
        self.lost.set_result(exc)


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture(autouse=True)
def nothing_reported(loop):
    """Nothing that these tests do reaches the exception handler."""
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    yield
    support.run_once(loop, 3)
    gc.collect()
    assert reports == []


def test_types(loop, pair):
    """aiohttp's connector and tests ask for asyncio.Transport; sendfile() for _FlowControlMixin."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport, asyncio.ReadTransport) and isinstance(transport, asyncio.WriteTransport)
        assert isinstance(transport, asyncio.transports._FlowControlMixin)
        assert transport._start_tls_compatible is True
        assert transport._sendfile_compatible.name == "TRY_NATIVE"
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())


def test_socket_of_a_transport(loop, pair):
    """uvloop #241, niquests #166: get_extra_info("socket") is asyncio's TransportSocket, with all its methods."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        sock = transport.get_extra_info("socket")
        assert isinstance(sock, trsock.TransportSocket)
        assert sock.fileno() == pair[0].fileno() and sock.family == socket.AF_UNIX
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        duplicate = sock.dup()
        duplicate.close()
        assert transport._sock is not None and transport._sock_fd == sock.fileno()
        assert transport.get_extra_info("unknown", "default") == "default"
        sock.shutdown(socket.SHUT_WR)
        assert pair[1].recv(1) == b""
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())


def test_write_after_close_is_ignored(loop, pair):
    """uvloop #506 and #685, aiohttp #1790: asyncio drops it, and warns after some of them; nothing is raised."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        transport.close()
        transport.write(b"dropped")
        await protocol.lost
        with support.recorded_logs() as logs:
            for _ in range(8):
                transport.write(b"dropped")
        assert logs and {message for _, message, _ in logs} == {"socket.send() raised exception."}
        assert transport.is_closing()
        transport.close()
        transport.abort()
        assert protocol.events == ["made", "lost"]

    loop.run_until_complete(main())
    assert pair[1].recv(10) == b""


def test_write_after_eof_is_refused(loop, pair):
    """asyncio's words."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        assert transport.can_write_eof() is True
        transport.write(b"x")
        transport.write_eof()
        with pytest.raises(RuntimeError, match="Cannot call write\\(\\) after write_eof\\(\\)"):
            transport.write(b"y")
        with pytest.raises(TypeError, match="data argument must be a bytes"):
            transport.write("text")
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())
    assert pair[1].recv(10) == b"x"


def test_mutable_data_is_copied(loop, pair):
    """zuvloop's finding: a bytearray may be used again as soon as write() has returned."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        data = bytearray(b"a" * 100)
        transport.write(data)
        data[:] = b"b" * 100
        await asyncio.sleep(0)
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())
    assert pair[1].recv(1000) == b"a" * 100


def test_flow_control_limits(loop, pair):
    """asyncio's defaults, and its refusal of limits that make no sense."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=100)
        assert transport.get_write_buffer_limits() == (25, 100)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(high=10, low=20)
        assert transport.get_write_buffer_size() == 0
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())


def test_pause_and_resume_are_idempotent(loop, pair):
    """websockets and aiohttp pause twice; resume_reading() of a closing transport does nothing."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        for _ in range(2):
            transport.pause_reading()
            assert transport.is_reading() is False
        for _ in range(2):
            transport.resume_reading()
            assert transport.is_reading() is True
        transport.close()
        transport.resume_reading()
        assert transport.is_reading() is False
        await protocol.lost

    loop.run_until_complete(main())


@pytest.mark.whole_calls
def test_private_attributes_of_streams(loop, pair):
    """redis-py reads StreamReader._buffer; STARTTLS libraries replace _transport of reader and writer."""

    async def main():
        reader, writer = await asyncio.open_connection(sock=pair[0])
        assert not reader._buffer and reader._eof is False and reader._exception is None
        assert reader._limit == 2**16 and reader._transport is writer.transport is writer._transport
        assert writer._protocol._stream_reader is reader and writer._protocol._over_ssl is False
        pair[1].send(b"line\nrest")
        assert await reader.readline() == b"line\n"
        assert bytes(reader._buffer) == b"rest" and len(reader._buffer) == 4
        transport = reader._transport
        reader._transport = writer._transport = transport
        writer._protocol._over_ssl = True
        writer.write(b"answer")
        await writer.drain()
        writer.close()

    loop.run_until_complete(main())
    assert pair[1].recv(10) == b"answer"


def test_server(loop):
    """uvicorn, aiohttp: sockets are TransportSockets, and none after close(); tests read _sockets."""

    async def main():
        server = await loop.create_server(lambda: Recorder(loop), "127.0.0.1", 0)
        (sock,) = server.sockets
        assert type(server.sockets) is tuple and isinstance(sock, trsock.TransportSocket)
        assert server._sockets is not None and server.is_serving() and server.get_loop() is loop
        client, protocol = await loop.create_connection(lambda: Recorder(loop), *sock.getsockname())
        peer = client.get_extra_info("peername")
        assert peer == sock.getsockname() and client.get_extra_info("sockname")
        assert client._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()
        await protocol.lost
        assert client.get_extra_info("peername") == peer
        server.close()
        assert server.sockets == ()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_tls_transport(loop):
    """aiosmtpd knows STARTTLS by isinstance(transport, _SSLProtocolTransport); ssl_object is what ssl made."""

    async def main():
        server = await loop.create_server(lambda: Recorder(loop), "127.0.0.1", 0, ssl=server_context())
        address = server.sockets[0].getsockname()
        transport, protocol = await loop.create_connection(
            lambda: Recorder(loop), *address, ssl=client_context()
        )
        assert isinstance(transport, sslproto._SSLProtocolTransport)
        assert isinstance(transport, asyncio.Transport)
        assert transport.can_write_eof() is False and transport._ssl_protocol._transport is not None
        ssl_object = transport.get_extra_info("ssl_object")
        assert isinstance(ssl_object, ssl.SSLObject)
        assert ssl_object.version() and ssl_object.cipher() and ssl_object.getpeercert(True)
        assert isinstance(transport.get_extra_info("socket"), trsock.TransportSocket)
        for name in ("sslcontext", "cipher", "peername"):
            assert transport.get_extra_info(name) is not None
        transport.close()
        assert await protocol.lost is None
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_starttls_of_mail_servers(loop):
    """aiosmtpd, by hand: a protocol with streams is given to start_tls(), and then its new transport is put in place."""

    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        protocol = writer.transport.get_protocol()
        transport = await loop.start_tls(writer.transport, protocol, server_context(), server_side=True)
        assert isinstance(transport, sslproto._SSLProtocolTransport)
        reader._transport = writer._transport = transport
        protocol._over_ssl = True
        writer.write(b"secret " + await reader.readline())
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context())
        writer.write(b"hello\n")
        assert await reader.readline() == b"secret hello\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_start_tls_refuses_other_transports(loop):
    """aiohttp relies on the TypeError of start_tls()."""

    async def main():
        with pytest.raises(TypeError, match="is not supported by start_tls"):
            await loop.start_tls(object(), Recorder(loop), client_context())

    loop.run_until_complete(main())
