"""Transports, servers, streams and TLS: the types and private attributes that libraries rely on."""

import asyncio
import gc
import os
import socket
import ssl
import stat
import subprocess
import sys
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


@pytest.fixture(params=("asyncio", "object", "openssl"))
def over_tls(request, loop):
    """What encrypts on our loop; on asyncio's there is one."""
    if hasattr(loop, "_tls_engine"):
        loop._tls_engine = request.param
    elif request.param != "asyncio":
        pytest.skip("of our loop")


def test_types(loop, pair):
    """aiohttp's connector and tests ask for asyncio.Transport; sendfile() for _FlowControlMixin."""

    async def main():
        transport, protocol = await loop.create_connection(lambda: Recorder(loop), sock=pair[0])
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport, asyncio.ReadTransport) and isinstance(transport, asyncio.WriteTransport)
        assert isinstance(transport, asyncio.transports._FlowControlMixin)
        assert transport._start_tls_compatible is True
        assert transport._sendfile_compatible.name == "TRY_NATIVE"
        assert not type(transport).__module__.startswith("uvloop")
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())


def test_types_of_other_transports(impl, loop):
    """Libraries ask what a transport can do by asyncio's classes; what else get_extra_info() knows has asyncio's keys."""

    async def main():
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        # Not asyncio's own, on older Pythons.
        assert isinstance(transport, asyncio.DatagramTransport) or not impl.native_loop
        assert isinstance(transport, asyncio.transports._FlowControlMixin)
        assert isinstance(transport.get_extra_info("socket"), trsock.TransportSocket)
        assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
        assert transport.get_extra_info("peername") is None
        transport.close()

        ends = [os.fdopen(number, mode) for number, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]
        reading, _ = await loop.connect_read_pipe(asyncio.Protocol, ends[0])
        writing, _ = await loop.connect_write_pipe(asyncio.Protocol, ends[1])
        assert isinstance(reading, asyncio.ReadTransport) and not isinstance(reading, asyncio.WriteTransport)
        assert isinstance(writing, asyncio.WriteTransport)
        assert isinstance(writing, asyncio.transports._FlowControlMixin)
        assert [t.get_extra_info("pipe") for t in (reading, writing)] == ends
        writing.close()
        reading.close()

    loop.run_until_complete(main())


def test_subprocess_transport(loop):
    """subprocess.Popen is behind get_extra_info("subprocess"), and its pipes behind "pipe" of the pipes' transports."""

    async def main():
        transport, protocol = await loop.subprocess_exec(
            Child, sys.executable, "-c", "input()", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert isinstance(transport, asyncio.SubprocessTransport)
        process = transport.get_extra_info("subprocess")
        assert isinstance(process, subprocess.Popen) and process.pid == transport.get_pid()
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport) and transport.get_pipe_transport(1) is None
        assert stat.S_ISFIFO(os.fstat(stdin.get_extra_info("pipe").fileno()).st_mode)
        stdin.write(b"\n")
        await protocol.ended
        assert transport.get_returncode() == 0
        transport.close()

    class Child(asyncio.SubprocessProtocol):
        def __init__(self):
            self.ended = loop.create_future()

        def connection_lost(self, exc):
            self.ended.set_result(None)

    loop.run_until_complete(main())


@pytest.mark.whole_calls
def test_order_of_the_beginning(loop, pair):
    """asyncio's order: connection_made(), then what has already come, and create_connection() returns between them."""
    pair[1].send(b"early")
    events = []

    class Protocol(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            events.append("made")

        def data_received(self, data):
            events.append(data)
            self.transport.close()

    async def main():
        _, protocol = await loop.create_connection(lambda: Protocol(loop), sock=pair[0])
        events.append("returned")
        await protocol.lost

    loop.run_until_complete(main())
    assert events == ["made", "returned", b"early"]


def test_reads_have_a_limit(loop, pair):
    """Protocols count on at most 256 KiB a call: asyncio's max_size, behind which pause_reading() can come in time."""
    sizes = []

    class Protocol(Recorder):
        def data_received(self, data):
            sizes.append(len(data))
            if sum(sizes) == len(sent):
                self.transport.close()

    async def main():
        sender, _ = await loop.create_connection(asyncio.Protocol, sock=pair[1])
        transport, protocol = await loop.create_connection(lambda: Protocol(loop), sock=pair[0])
        assert transport.max_size == 256 * 1024
        sender.write(sent)
        await protocol.lost
        sender.close()

    for sock, option in ((pair[1], socket.SO_SNDBUF), (pair[0], socket.SO_RCVBUF)):
        sock.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
    sent = bytes(1 << 20)
    loop.run_until_complete(main())
    assert max(sizes) <= 256 * 1024


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


def test_tls_transport(loop, over_tls):
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
        assert ssl_object.context is transport.get_extra_info("sslcontext")
        assert ssl_object.selected_alpn_protocol() is None and ssl_object.compression() is None
        # Channel bindings of this kind ended with TLS 1.3, where OpenSSL still answers.
        assert "tls-unique" in ssl.CHANNEL_BINDING_TYPES
        ssl_object.get_channel_binding("tls-unique")
        assert isinstance(transport.get_extra_info("socket"), trsock.TransportSocket)
        for name in ("sslcontext", "cipher", "peername"):
            assert transport.get_extra_info(name) is not None
        transport.close()
        assert await protocol.lost is None
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_eof_over_tls(loop, over_tls):
    """TLS has no half-close: what eof_received() returns is ignored, and asyncio says so."""

    class StaysOpen(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    async def main():
        served = []
        server = await loop.create_server(
            lambda: served.append(StaysOpen(loop)) or served[0], "127.0.0.1", 0, ssl=server_context()
        )
        transport, protocol = await loop.create_connection(
            lambda: Recorder(loop), *server.sockets[0].getsockname(), ssl=client_context()
        )
        transport.close()
        await protocol.lost
        await served[0].lost
        server.close()
        await server.wait_closed()
        return served[0].events

    with support.recorded_logs() as logs:
        assert loop.run_until_complete(main()) == ["made", "eof", "lost"]
    text = "returning true from eof_received() has no effect when using ssl"
    assert [message for _, message, _ in logs] == [text]


def test_starttls_of_mail_servers(loop, over_tls):
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


def test_tls_protocol_made_by_hand(loop):
    """aiosmtpd's STARTTLS makes asyncio's own SSLProtocol, puts it on the transport, and uses its `_app_transport`."""

    class Upgrading(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"STARTTLS":
                self.plain = self.transport
                self.plain.write(b"go")
                self.secured = loop.create_future()
                tls = sslproto.SSLProtocol(loop, self, server_context(), self.secured, server_side=True)
                self.plain.set_protocol(tls)
                self.transport = tls._app_transport
                tls.connection_made(self.plain)
            else:
                self.transport.write(b"secret " + data)

    async def main():
        served = []
        server = await loop.create_server(lambda: served.append(Upgrading(loop)) or served[0], "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS")
        assert await reader.readexactly(2) == b"go"
        await writer.start_tls(client_context())
        await served[0].secured
        writer.write(b"hello")
        assert await reader.readexactly(12) == b"secret hello"
        assert isinstance(served[0].transport, sslproto._SSLProtocolTransport)
        assert served[0].transport.get_extra_info("cipher") is not None
        served[0].transport.close()
        assert await reader.read() == b""
        assert await served[0].lost is None
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
