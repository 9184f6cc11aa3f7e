"""TLS over the loop's stream transports: handshakes, upgrades, shutdowns, and peers that fail to take part."""

import asyncio
import contextlib
import socket
import ssl
import threading
import tracemalloc
import warnings

import pytest

from .. import support
from . import peers
from .peers import Peer, Recorder, finish, in_thread, turns
from .peers import connect_tls as connect

OVER_TLS = True


async def test_handshake_and_data(loop, serve, client_context):
    address, protocols, stop = await serve()
    transport, protocol = await connect(loop, address, client_context)
    assert protocol.events == ["made"]
    transport.write(b"question")
    (other,) = protocols
    assert await other.bytes(8) == b"question"
    other.transport.writelines([b"an", b"swer"])
    assert await protocol.bytes(6) == b"answer"
    await finish(transport, protocol)
    assert await other.lost() is None
    await stop()


async def test_unix_sockets(loop, tmp_path, server_context, client_context):
    """A server and a client by path, and streams."""
    path, protocols = str(tmp_path / "socket"), []

    def make():
        protocols.append(Recorder(data=lambda self, data: self.transport.write(data[::-1])))
        return protocols[-1]

    times = {"ssl_handshake_timeout": peers.GUARD_SECONDS, "ssl_shutdown_timeout": peers.GUARD_SECONDS}
    async with await loop.create_unix_server(make, path, ssl=server_context, **times):
        secure = {"ssl": client_context, "server_hostname": "localhost"}
        transport, protocol = await loop.create_unix_connection(Recorder, path, **secure, **times)
        transport.write(b"question")
        assert await protocol.bytes(8) == b"noitseuq"
        assert transport.get_extra_info("peername") == path
        assert transport.get_extra_info("socket").family == socket.AF_UNIX
        assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        await finish(transport, protocol)
        reader, writer = await asyncio.open_unix_connection(path, **secure)
        writer.write(b"line\n")
        assert await reader.readexactly(5) == b"\nenil"
        writer.close()
        await writer.wait_closed()
        for other in protocols:
            assert await other.lost() is None
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            secure["server_hostname"] = "other.invalid"
            await loop.create_unix_connection(Recorder, path, **secure)
        await turns(5)


async def test_overridden_make_socket_transport_is_not_asked(loop, serve, client_context, monkeypatch):
    """What is overridden has the parameters of the Python at hand, and makes transports for the user's protocols."""
    address, protocols, stop = await serve()
    monkeypatch.setattr(loop, "_make_socket_transport", None)
    transport, protocol = await connect(loop, address, client_context)
    await finish(transport, protocol)
    (other,) = protocols
    assert await other.lost() is None
    await stop()


@pytest.mark.skipif(not support.PY312, reason="asyncio looks for another transport since Python 3.12")
async def test_socket_that_a_transport_has(loop, client_context):
    ours, theirs = peers.socket_pair("tcp")
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        made = []
        with pytest.raises(RuntimeError, match=r"^File descriptor .* is used by transport "):
            await loop.create_connection(
                lambda: made.append(Recorder()) or made[0],
                sock=ours,
                ssl=client_context,
                server_hostname="localhost",
            )
        assert made[0].events == []
        transport.close()
        await protocol.lost()


@pytest.mark.parametrize("buffered", (False, True))
async def test_large_data_both_ways(loop, serve, client_context, buffered):
    data = peers.payload(3 << 20)

    # asyncio's TLS slices the buffer, and so needs one whose slices are views.
    def get_buffer(self, sizehint):
        return memoryview(bytearray(50_000))

    kind = (lambda: peers.BufferedRecorder(get_buffer=get_buffer)) if buffered else Recorder
    address, protocols, stop = await serve(kind)
    transport, protocol = await connect(loop, address, client_context, kind)
    await turns(5)
    transport.write(data)
    while not protocols or not protocols[0].events:
        await asyncio.sleep(0)
    other = protocols[0]
    other.transport.write(data[::-1])
    assert peers.digest(await other.bytes(len(data))) == peers.digest(data)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data[::-1])
    await finish(transport, protocol)
    await other.lost()
    await stop()


async def test_large_data_with_a_blocking_peer(loop, blocking_server, client_context):
    data = peers.payload(2 << 20)

    def echo(tls):
        remaining = len(data)
        while remaining:
            chunk = tls.recv(10_000)
            remaining -= len(chunk)
            tls.sendall(chunk)

    transport, protocol = await connect(loop, blocking_server(echo), client_context)
    transport.write(data)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    transport.close()
    await protocol.lost()


async def test_one_byte_at_a_time(loop, server_context, client_context):
    """A middle man passes on each byte of the client by itself."""
    address_of_server, protocols = None, []

    def make():
        protocols.append(Recorder())
        return protocols[-1]

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=server_context)
    address_of_server = server.sockets[0].getsockname()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pass_on(source, target, size):
            while data := source.recv(size):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

        def middle():
            client, _ = listener.accept()
            with client, socket.create_connection(address_of_server) as upstream:
                back = threading.Thread(target=pass_on, args=(upstream, client, 65536))
                back.start()
                try:
                    pass_on(client, upstream, 1)
                except OSError:
                    pass
                back.join()

        passing = asyncio.ensure_future(in_thread(middle))
        transport, protocol = await connect(loop, listener.getsockname(), client_context)
        transport.write(b"slowly")
        while not protocols:
            await asyncio.sleep(0)
        assert await protocols[0].bytes(6) == b"slowly"
        transport.close()
        await protocol.lost()
        await protocols[0].lost()
        await passing
    server.close()
    await server.wait_closed()


async def test_information(loop, serve, client_context):
    address, protocols, stop = await serve()
    transport, protocol = await connect(loop, address, client_context)
    assert isinstance(transport, asyncio.Transport)
    assert transport.get_extra_info("sslcontext") is client_context
    assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
    assert transport.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
    assert len(transport.get_extra_info("cipher")) == 3
    assert transport.get_extra_info("compression") is None
    assert transport.get_extra_info("peername") == address
    assert transport.get_extra_info("socket").family == socket.AF_INET
    assert transport.can_write_eof() is False
    with pytest.raises(NotImplementedError):
        transport.write_eof()
    assert transport.get_write_buffer_size() == 0
    await finish(transport, protocol)
    await protocols[0].lost()
    await stop()


async def test_pausing_and_flow_control(loop, serve, client_context):
    address, protocols, stop = await serve()
    transport, protocol = await connect(loop, address, client_context)
    while not protocols or not protocols[0].events:
        await asyncio.sleep(0)
    (other,) = protocols
    other.transport.pause_reading()
    assert not other.transport.is_reading()
    written = 0
    while "pause" not in protocol.events:
        transport.write(bytes(100_000))
        written += 100_000
        await turns(2)
    other.transport.resume_reading()
    await other.bytes(written)
    await protocol.until(lambda: "resume" in protocol.events)
    await finish(transport, protocol)
    await other.lost()
    await stop()


# ---- Failures ----


async def test_unknown_authority(loop, serve):
    address, protocols, stop = await serve()
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect(loop, address, ssl.create_default_context())
    await turns(5)
    await stop()


async def test_wrong_name(loop, serve, client_context):
    address, protocols, stop = await serve()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await loop.create_connection(Recorder, *address, ssl=client_context, server_hostname="other.invalid")
    await turns(5)
    await stop()


async def test_peer_that_speaks_no_tls(loop, blocking_server, client_context):
    address = blocking_server(
        lambda sock: (sock.sendall(b"220 smtp.invalid\r\n"), sock.recv(10_000)), wrap=False
    )
    with pytest.raises(ssl.SSLError):
        await connect(loop, address, client_context)


async def test_client_that_speaks_no_tls(loop, serve):
    address, protocols, stop = await serve()
    with Peer(socket.create_connection(address)) as peer:
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((ConnectionResetError, EOFError)):
            # An alert at most, then the end.
            await peer.read(10_000)
    await turns(5)
    assert [protocol.events for protocol in protocols] in ([], [[]])
    await stop()


async def test_peer_that_hangs_up_in_the_handshake(loop, blocking_server, client_context):
    address = blocking_server(lambda sock: sock.recv(10), wrap=False)
    with pytest.raises((ConnectionResetError, ConnectionAbortedError, ssl.SSLError)):
        await connect(loop, address, client_context)


async def test_handshake_timeout(loop, client_context):
    """The peer accepts the connection, and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than 0.05 seconds"):
            await connect(loop, listener.getsockname(), client_context, ssl_handshake_timeout=0.05)


async def test_handshake_timeout_of_a_server(loop, serve):
    address, protocols, stop = await serve(ssl_handshake_timeout=0.05)
    with Peer(socket.create_connection(address)) as peer:
        assert await peer.read_all() == b""
    await turns(5)
    await stop()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02", None])
async def test_memory_of_failed_handshakes(impl, loop, serve, sent, collections_on_demand):
    """Plain HTTP, who hangs up, and who does not trust the server: nothing large waits for the garbage collector."""
    address, _, stop = await serve(asyncio.Protocol)

    async def fail():
        if sent is None:
            with pytest.raises(ssl.SSLError):
                await connect(loop, address, ssl.create_default_context(), asyncio.Protocol)
            return
        with Peer(socket.create_connection(address)) as peer:
            peer.send(sent)
            peer.half_close()
            with contextlib.suppress(ConnectionResetError):
                await peer.read_all()

    await fail()
    await turns(5)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20):
        await fail()
    await turns(5)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if impl.native_loop:  # asyncio's protocols keep their buffers until they are collected
        assert after - before < 20 * 100_000
    await stop()


async def test_cancelled_handshake(loop, client_context):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connecting = asyncio.ensure_future(connect(loop, listener.getsockname(), client_context))
        with Peer(await in_thread(lambda: listener.accept()[0])) as peer:
            await peer.read(5)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            # The rest of the greeting, then the end.
            try:
                await peer.read_all()
            except ConnectionResetError:
                pass


async def test_timeouts_have_to_be_positive(loop, serve, client_context):
    address, protocols, stop = await serve()
    with warnings.catch_warnings():
        # asyncio leaves the socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            await connect(loop, address, client_context, ssl_handshake_timeout=0)
        except ValueError as exc:
            text = str(exc)
        support.collect()
    assert text == "ssl_handshake_timeout should be a positive number, got 0"
    await turns(5)
    await stop()


# ---- The end ----


async def test_peer_closes(loop, serve, client_context):
    address, protocols, stop = await serve(lambda: Recorder(made=lambda self, transport: transport.close()))
    transport, protocol = await connect(loop, address, client_context)
    assert await protocol.lost() is None
    assert protocol.events == ["made", "eof", "lost"]
    await stop()


async def test_peer_breaks_off(loop, serve, client_context):
    """The end of the connection without TLS's own."""
    address, protocols, stop = await serve()
    transport, protocol = await connect(loop, address, client_context)
    while not protocols or not protocols[0].events:
        await asyncio.sleep(0)
    protocols[0].transport.abort()
    await protocol.lost()
    assert protocol.events[-1] == "lost" and protocol.events.count("lost") == 1
    await stop()


@pytest.mark.whole_calls
async def test_abort(loop, serve, client_context):
    address, protocols, stop = await serve()
    transport, protocol = await connect(loop, address, client_context)
    transport.write(bytes(1 << 20))
    transport.abort()
    assert await protocol.lost() is None
    while not protocols or "lost" not in protocols[0].events:
        await asyncio.sleep(0)
    await stop()


async def test_shutdown_timeout(loop, blocking_server, client_context):
    """The peer never answers the end of the session: the connection is broken off."""
    gone = threading.Event()
    address = blocking_server(lambda tls: gone.wait(peers.GUARD_SECONDS))
    transport, protocol = await connect(loop, address, client_context, ssl_shutdown_timeout=0.05)
    transport.close()
    exc = await protocol.lost()
    assert type(exc) is TimeoutError
    assert str(exc) == "SSL shutdown timed out"
    gone.set()


async def test_close_flushes(loop, serve, client_context):
    data = peers.payload(1 << 20)
    address, protocols, stop = await serve()
    transport, protocol = await connect(loop, address, client_context)
    transport.write(data)
    transport.close()
    while not protocols:
        await asyncio.sleep(0)
    assert peers.digest(await protocols[0].bytes(len(data))) == peers.digest(data)
    await protocol.lost()
    await protocols[0].lost()
    await stop()


# ---- start_tls ----


class Upgrading(Recorder):
    """A server that speaks plain text until it has read `STARTTLS` and a line end, and TLS from then on."""

    def __init__(self, loop, context):
        super().__init__()
        self.loop, self.context = loop, context
        self.secure = loop.create_future()

    def data_received(self, data):
        super().data_received(data)
        if self.received == b"STARTTLS\n":
            self.received.clear()
            self.transport.write(b"go\n")
            self.task = self.loop.create_task(self.upgrade())

    async def upgrade(self):
        self.secure.set_result(
            await self.loop.start_tls(self.transport, self, self.context, server_side=True)
        )


async def test_start_tls(loop, family, tmp_path, server_context, client_context):
    accepted = []

    def make():
        accepted.append(Upgrading(loop, server_context))
        return accepted[-1]

    path = str(tmp_path / "socket")
    if family == "tcp":
        server = await loop.create_server(make, "127.0.0.1", 0)
        connecting = loop.create_connection(Recorder, *server.sockets[0].getsockname())
    else:
        server = await loop.create_unix_server(make, path)
        connecting = loop.create_unix_connection(Recorder, path)
    plain, protocol = await connecting
    plain.write(b"STARTTLS\n")
    assert await protocol.bytes(3) == b"go\n"
    protocol.received.clear()
    transport = await loop.start_tls(plain, protocol, client_context, server_hostname="localhost")
    assert transport is not plain
    data = peers.payload(500_000)
    transport.write(data)
    secure = await accepted[0].secure
    assert peers.digest(await accepted[0].bytes(len(data))) == peers.digest(data)
    secure.write(b"answer")
    assert await protocol.bytes(6) == b"answer"
    transport.close()
    assert await protocol.lost() is None
    await accepted[0].lost()
    # Upgrading is not a new connection.
    assert protocol.events.count("made") == 1
    server.close()
    await server.wait_closed()


async def test_start_tls_wrong_arguments(loop, client_context):
    ours, theirs = peers.socket_pair("tcp")
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        with pytest.raises(
            TypeError, match="sslcontext is expected to be an instance of ssl.SSLContext, got None"
        ):
            await loop.start_tls(transport, protocol, None)
        with pytest.raises(TypeError, match="is not supported by start_tls"):
            await loop.start_tls(object(), protocol, client_context)
        await finish(transport, protocol)


async def test_start_tls_with_a_silent_peer(loop, client_context):
    ours, theirs = peers.socket_pair("tcp")
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        with pytest.raises(ConnectionAbortedError):
            await loop.start_tls(
                transport, protocol, client_context, server_hostname="localhost", ssl_handshake_timeout=0.05
            )
        await turns(5)
        assert transport.is_closing()


async def test_tls_in_tls(loop, server_context, client_context):
    """As a client of an HTTPS proxy does it."""
    accepted = []

    def make():
        accepted.append(Upgrading(loop, server_context))
        return accepted[-1]

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=server_context)
    outer, protocol = await connect(loop, server.sockets[0].getsockname(), client_context)
    outer.write(b"STARTTLS\n")
    assert await protocol.bytes(3) == b"go\n"
    protocol.received.clear()
    inner = await loop.start_tls(outer, protocol, client_context, server_hostname="localhost")
    data = peers.payload(300_000)
    inner.write(data)
    assert peers.digest(await accepted[0].bytes(len(data))) == peers.digest(data)
    (await accepted[0].secure).write(b"answer")
    assert await protocol.bytes(6) == b"answer"
    inner.close()
    await protocol.lost()
    await accepted[0].lost()
    server.close()
    await server.wait_closed()


async def test_connect_accepted_socket(loop, server_context, client_context):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connecting = asyncio.ensure_future(connect(loop, listener.getsockname(), client_context))
        sock, _ = await in_thread(listener.accept)
        other_transport, other = await loop.connect_accepted_socket(Recorder, sock, ssl=server_context)
        transport, protocol = await connecting
        other_transport.write(b"hello")
        assert await protocol.bytes(5) == b"hello"
        await finish(transport, protocol)
        await other.lost()


async def test_many_connections(loop, serve, client_context):
    address, protocols, stop = await serve(
        lambda: Recorder(data=lambda self, data: self.transport.write(data))
    )

    async def ask(i):
        transport, protocol = await connect(loop, address, client_context)
        transport.write(b"%04d" % i)
        assert await protocol.bytes(4) == b"%04d" % i
        await finish(transport, protocol)

    await asyncio.gather(*[ask(i) for i in range(20)])
    for protocol in protocols:
        await protocol.lost()
    await stop()
