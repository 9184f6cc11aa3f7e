"""Servers: create_server, create_unix_server, their keywords, accepting, and how they end."""

import asyncio
import contextlib
import errno
import itertools
import os
import re
import resource
import socket
import stat
from asyncio import trsock

import pytest

from .. import support
from . import peers
from .peers import Peer, Recorder, in_thread, turns


@pytest.fixture
def serve(loop, family, tmp_path):
    """`await serve(**keywords)` returns `(server, connect, protocols)`: `connect()` makes a Peer, in a blocking way."""
    opened = []

    async def serve(factory=Recorder, **keywords):
        protocols = []

        def make():
            protocols.append(factory())
            return protocols[-1]

        if family == "tcp":
            server = await loop.create_server(make, "127.0.0.1", 0, **keywords)
            address = server.sockets[0].getsockname()
        else:
            address = str(tmp_path / "socket")
            server = await loop.create_unix_server(make, address, **keywords)

        def connect():
            sock = socket.socket(socket.AF_INET if family == "tcp" else socket.AF_UNIX)
            sock.settimeout(peers.GUARD_SECONDS)
            opened.append(Peer(sock))
            sock.connect(address)
            return opened[-1]

        return server, connect, protocols

    yield serve
    for peer in opened:
        peer.close()


async def until(predicate):
    """Let the loop run until `predicate()`; for what tells nobody that it has happened."""
    while not predicate():
        await asyncio.sleep(0)


async def stop(server):
    server.close()
    await server.wait_closed()


# ---- Accepting ----


async def test_accepting(serve):
    server, connect, protocols = await serve()
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    (protocol,) = protocols
    assert isinstance(protocol.transport, asyncio.Transport)
    peer.send(b"question")
    assert await protocol.bytes(8) == b"question"
    protocol.transport.write(b"answer")
    assert await peer.read(6) == b"answer"
    peer.close()
    assert await protocol.lost() is None
    assert [event for event, _ in itertools.groupby(protocol.events)] == ["made", "data", "eof", "lost"]
    await stop(server)


async def test_addresses_of_accepted_transports(serve, family):
    server, connect, protocols = await serve()
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    transport = protocols[0].transport
    assert isinstance(transport.get_extra_info("socket"), trsock.TransportSocket)
    assert transport.get_extra_info("sockname") == peer.sock.getpeername()
    assert transport.get_extra_info("peername") == peer.sock.getsockname()
    if family == "tcp":
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.get_inheritable() is False
        assert sock.gettimeout() == 0
    peer.close()
    await protocols[0].lost()
    await stop(server)


async def test_storm(serve):
    """Two hundred clients that have connected before the loop looks, each with data."""
    server, connect, protocols = await serve(backlog=300)
    clients = [connect() for _ in range(200)]
    for i, client in enumerate(clients):
        client.send(b"%03d" % i)
    await until(lambda: len(protocols) == 200)
    received = [await protocol.bytes(3) for protocol in protocols]
    assert sorted(received) == [b"%03d" % i for i in range(200)]
    for client in clients:
        client.close()
    for protocol in protocols:
        assert await protocol.lost() is None
    await stop(server)


@pytest.mark.parametrize("family", ("tcp",), indirect=True)
async def test_client_that_reset_before_it_was_accepted(serve):
    server, connect, protocols = await serve()
    peer = connect()
    address = peer.sock.getsockname()
    peer.reset()
    await until(lambda: protocols and "lost" in protocols[0].events)
    assert type(protocols[0].lost_with) is ConnectionResetError
    # accept() told the address, which the socket no longer knows.
    assert protocols[0].transport.get_extra_info("peername") == address
    await stop(server)


@pytest.mark.whole_calls
async def test_client_that_left_before_it_was_accepted(serve):
    server, connect, protocols = await serve()
    peer = connect()
    peer.send(b"was here")
    peer.close()
    await until(lambda: protocols and "lost" in protocols[0].events)
    assert protocols[0].events == ["made", "data", "eof", "lost"]
    assert protocols[0].received == b"was here"
    await stop(server)


@contextlib.contextmanager
def no_descriptors():
    """Let every new descriptor be one too many."""
    with open(os.devnull) as probe:
        first_free = probe.fileno()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "family", ("tcp",), indirect=True
)  # each takes the second after which asyncio tries again
async def test_out_of_descriptors(serve, reports):
    """accept() fails with EMFILE: it is reported, and tried again after a second, rather than in every turn."""
    both = asyncio.get_running_loop().create_future()

    def made(self, transport):
        if len(protocols) == 2 and not both.done():
            both.set_result(None)

    server, connect, protocols = await serve(lambda: Recorder(made=made), backlog=1)
    first = connect()
    with no_descriptors():
        await until(lambda: reports)
        count = len(reports)
        await turns(50)
        assert len(reports) == count
    # asyncio reports each of the as many attempts of one wake-up as its backlog has places.
    assert count <= 2
    context = reports[0]
    assert set(context) == {"message", "exception", "socket"}
    assert context["message"] == "socket.accept() out of system resource"
    assert context["exception"].errno == 24  # EMFILE
    assert type(context["socket"]) is trsock.TransportSocket
    assert context["socket"].fileno() == server.sockets[0].fileno()
    assert protocols == []
    del context
    reports.clear()
    second = connect()
    await both
    for client in (first, second):
        client.close()
    for protocol in protocols:
        await protocol.lost()
    await stop(server)


async def test_server_closed_while_it_backs_off(serve, reports):
    server, connect, protocols = await serve(backlog=1)
    connect()
    with no_descriptors():
        await until(lambda: reports)
    reports.clear()
    await stop(server)
    await turns(5)
    assert protocols == []


# ---- Exceptions ----


async def test_factory_that_raises(serve, reports):
    """The connection is dropped; outside of debug mode nothing is said."""

    def fail():
        raise LookupError("factory")

    server, connect, protocols = await serve(fail)
    with support.recorded_warnings():  # asyncio leaves the socket to the garbage collector
        peer = connect()
        assert await peer.read_all() == b""
        support.collect()
    await stop(server)


async def test_factory_that_raises_in_debug_mode(loop, serve, reports):
    def fail():
        raise LookupError("factory")

    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    server, connect, protocols = await serve(fail)
    with support.recorded_warnings():
        peer = connect()
        await until(lambda: reports)
        context = reports.pop()
        assert set(context) == {"message", "exception"}
        assert context["message"] == "Error on transport creation for incoming connection"
        assert type(context["exception"]) is LookupError
        del context
        await turns()
        support.collect()
        assert await peer.read_all() == b""
    await stop(server)


async def test_connection_made_that_raises(serve, reports):
    def fail(self, transport):
        raise LookupError("made")

    server, connect, protocols = await serve(lambda: Recorder(made=fail))
    peer = connect()
    await until(lambda: reports)
    context = reports.pop()
    assert type(context["exception"]) is LookupError
    assert context["message"].startswith("Exception in callback ")
    peer.send(b"x")
    await protocols[0].bytes(1)
    peer.close()
    await protocols[0].lost()
    await stop(server)


# ---- Closing ----


async def test_close(serve, family):
    server, connect, protocols = await serve()
    assert server.is_serving() is True
    assert server.close() is None
    assert server.is_serving() is False
    assert server.sockets == ()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        connect()
    server.close()
    await server.wait_closed()
    await server.wait_closed()


async def test_close_keeps_connections(serve):
    server, connect, protocols = await serve()
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    server.close()
    await turns()
    peer.send(b"x")
    assert await protocols[0].bytes(1) == b"x"
    waiting = asyncio.ensure_future(server.wait_closed())
    await turns(5)
    # Python 3.11 does not wait for the connections of a closed server.
    assert waiting.done() is not support.PY312
    peer.close()
    await protocols[0].lost()
    await waiting


async def test_wait_closed_before_close(serve):
    server, connect, protocols = await serve()
    waiting = asyncio.ensure_future(server.wait_closed())
    await turns(5)
    assert not waiting.done()
    server.close()
    await waiting


async def test_wait_closed_waits_for_every_connection(serve):
    server, connect, protocols = await serve()
    clients = [connect() for _ in range(3)]
    await until(lambda: len(protocols) == 3 and all(protocol.events for protocol in protocols))
    waiting = asyncio.ensure_future(server.wait_closed())
    await turns(2)
    server.close()
    for client, protocol in zip(clients, protocols):
        await turns(5)
        assert not waiting.done()
        protocol.transport.abort()
        await protocol.lost()
    await waiting


@pytest.mark.skipif(not support.PY313, reason="new in Python 3.13")
@pytest.mark.parametrize("end", ("close_clients", "abort_clients"))
async def test_closing_clients(serve, end):
    server, connect, protocols = await serve()
    clients = [connect() for _ in range(3)]
    await until(lambda: len(protocols) == 3 and all(protocol.events for protocol in protocols))
    server.close()
    getattr(server, end)()
    await server.wait_closed()
    for client, protocol in zip(clients, protocols):
        assert protocol.events == ["made", "lost"]
        assert protocol.lost_with is None
        assert await client.read_all() == b""


@pytest.mark.skipif(not support.PY313, reason="new in Python 3.13")
async def test_close_clients_flushes_and_abort_clients_does_not(serve):
    server, connect, protocols = await serve()
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    data = peers.payload(4 << 20)
    protocols[0].transport.write(data)
    server.close()
    server.close_clients()
    waiting = asyncio.ensure_future(server.wait_closed())
    await turns(5)
    assert not waiting.done()
    assert len(await peer.read(1000)) == 1000
    server.abort_clients()
    await waiting
    assert len(await peer.read_all()) < len(data) - 1000


async def test_context_manager(serve):
    server, connect, protocols = await serve()
    async with server as entered:
        assert entered is server
        assert server.is_serving()
    assert not server.is_serving()
    assert server.sockets == ()


async def test_server_closed_in_connection_made(serve):
    server, connect, protocols = await serve(lambda: Recorder(made=lambda self, transport: server.close()))
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    peer.close()
    await protocols[0].lost()
    await server.wait_closed()


async def test_open_transport_keeps_its_server_unclosed_only_while_it_lives(serve):
    """A server object that nobody holds goes on serving."""
    server, connect, protocols = await serve()
    closing = server.close
    del server
    support.collect()
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    peer.close()
    await protocols[0].lost()
    closing()
    await turns()


# ---- start_serving and serve_forever ----


async def test_start_serving_later(serve):
    server, connect, protocols = await serve(start_serving=False)
    assert server.is_serving() is False
    assert len(server.sockets) == 1
    with pytest.raises(ConnectionRefusedError):
        connect()
    await server.start_serving()
    assert server.is_serving() is True
    await server.start_serving()
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    peer.close()
    await protocols[0].lost()
    await stop(server)


async def test_closed_without_having_served(serve):
    server, connect, protocols = await serve(start_serving=False)
    await stop(server)


async def test_serve_forever(serve):
    server, connect, protocols = await serve(start_serving=False)
    serving = asyncio.ensure_future(server.serve_forever())
    await turns()
    assert server.is_serving()
    with pytest.raises(RuntimeError) as caught:
        await server.serve_forever()
    assert str(caught.value) == f"server {server!r} is already being awaited on serve_forever()"
    peer = connect()
    await until(lambda: protocols and protocols[0].events)
    peer.close()
    await protocols[0].lost()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert server.sockets == ()
    with pytest.raises(RuntimeError) as caught:
        await server.serve_forever()
    assert str(caught.value) == f"server {server!r} is closed"


async def test_close_ends_serve_forever(serve):
    server, connect, protocols = await serve()
    serving = asyncio.ensure_future(server.serve_forever())
    await turns()
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_get_loop_and_repr(serve, loop):
    server, connect, protocols = await serve()
    assert server.get_loop() is loop
    assert re.match(r"<Server sockets=[\[(]<asyncio\.TransportSocket fd=\d+", repr(server)) or re.match(
        r"<Server sockets=\[<socket\.socket fd=\d+", repr(server)
    )
    assert isinstance(server, asyncio.AbstractServer) and isinstance(server, asyncio.Server)
    await stop(server)


# ---- create_server ----


async def test_sockets(loop):
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    (sock,) = server.sockets
    assert type(sock) is trsock.TransportSocket
    assert sock.getsockname()[0] == "127.0.0.1" and sock.getsockname()[1] != 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    await stop(server)


async def test_several_hosts(loop):
    server = await loop.create_server(Recorder, ["127.0.0.1", "127.0.0.2", "127.0.0.1"], 0)
    assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2"]
    for sock in server.sockets:
        with socket.create_connection(sock.getsockname()) as peer:
            assert await in_thread(peer.send, b"x") == 1
    await turns(10)
    await stop(server)


@pytest.mark.parametrize("host", (None, ""))
async def test_all_interfaces(loop, host):
    server = await loop.create_server(Recorder, host, 0, family=socket.AF_INET)
    assert [sock.getsockname()[0] for sock in server.sockets] == ["0.0.0.0"]
    await stop(server)


async def test_ipv6(loop):
    server = await loop.create_server(Recorder, "::1", 0)
    (sock,) = server.sockets
    assert sock.family == socket.AF_INET6
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    with socket.create_connection(sock.getsockname()[:2]):
        await turns(3)
    await turns(5)
    await stop(server)


async def test_names(loop):
    server = await loop.create_server(Recorder, "localhost", 0, family=socket.AF_INET)
    assert server.sockets[0].getsockname()[0] == "127.0.0.1"
    await stop(server)


async def test_reuse_port(loop):
    first = await loop.create_server(Recorder, "127.0.0.1", 0, reuse_port=True)
    port = first.sockets[0].getsockname()[1]
    second = await loop.create_server(Recorder, "127.0.0.1", port, reuse_port=True)
    assert second.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) != 0
    await stop(first)
    await stop(second)


async def test_reuse_address_off(loop):
    server = await loop.create_server(Recorder, "127.0.0.1", 0, reuse_address=False)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    await stop(server)


@pytest.mark.skipif(not support.PY313, reason="new in Python 3.13")
async def test_keep_alive(loop):
    server = await loop.create_server(Recorder, "127.0.0.1", 0, keep_alive=True)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
    await stop(server)


async def test_port_in_use(loop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError) as caught:
            await loop.create_server(Recorder, "127.0.0.1", port)
        assert caught.value.errno == 98  # EADDRINUSE
        assert f"error while attempting to bind on address ('127.0.0.1', {port}): " in str(caught.value)
        assert os.strerror(errno.EADDRINUSE).lower() in str(caught.value)


async def test_own_socket(loop):
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await loop.create_server(Recorder, sock=sock)
    assert sock.gettimeout() == 0
    assert server.sockets[0].fileno() == sock.fileno()
    with socket.create_connection(sock.getsockname()):
        await turns(3)
    await turns(5)
    await stop(server)
    assert sock.fileno() == -1


async def test_wrong_arguments(loop):
    with pytest.raises(ValueError) as caught:
        await loop.create_server(Recorder)
    assert str(caught.value) == "Neither host/port nor sock were specified"
    with socket.socket() as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_server(Recorder, "127.0.0.1", 0, sock=sock)
        assert str(caught.value) == "host/port and sock can not be specified at the same time"
        assert sock.fileno() != -1
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_server(Recorder, sock=sock)
        assert str(caught.value) == f"A Stream Socket was expected, got {sock!r}"
        with pytest.raises(ValueError) as caught:
            await loop.connect_accepted_socket(Recorder, sock)
        assert str(caught.value) == f"A Stream Socket was expected, got {sock!r}"
    with pytest.raises(TypeError) as caught:
        await loop.create_server(Recorder, "127.0.0.1", 0, ssl=True)
    assert str(caught.value) == "ssl argument must be an SSLContext or None"
    for keyword in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        with pytest.raises(ValueError) as caught:
            await loop.create_server(Recorder, "127.0.0.1", 0, **{keyword: 5})
        assert str(caught.value) == f"{keyword} is only meaningful with ssl"


async def test_connect_accepted_socket(loop, family):
    ours, theirs = peers.socket_pair(family)
    ours.setblocking(True)
    with Peer(theirs) as peer:
        transport, protocol = await loop.connect_accepted_socket(Recorder, ours)
        assert ours.gettimeout() == 0
        peer.send(b"x")
        await protocol.bytes(1)
        transport.write(b"y")
        assert await peer.read(1) == b"y"
        transport.close()
        await protocol.lost()


# ---- create_unix_server ----


def text_path(tmp_path):
    return str(tmp_path / "s")


def bytes_path(tmp_path):
    return os.fsencode(tmp_path / "s")


def object_path(tmp_path):
    return tmp_path / "s"


def abstract_path(tmp_path):
    return f"\0asyncio_c-test-{os.getpid()}"


def abstract_bytes_path(tmp_path):
    return b"\0asyncio_c-test-%d" % os.getpid()


@pytest.mark.parametrize("kind", (text_path, bytes_path, object_path, abstract_path, abstract_bytes_path))
async def test_unix_paths(loop, tmp_path, kind):
    path = kind(tmp_path)
    server = await loop.create_unix_server(Recorder, path)
    assert server.sockets[0].family == socket.AF_UNIX
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(server.sockets[0].getsockname())
        await turns(5)
    await turns(5)
    transport, protocol = await loop.create_unix_connection(Recorder, path)
    transport.close()
    await protocol.lost()
    await turns(5)
    await stop(server)


async def test_unix_path_in_use(loop, tmp_path):
    """A stale socket is replaced, another file is not."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    server = await loop.create_unix_server(Recorder, path)
    await stop(server)
    regular = tmp_path / "file"
    regular.write_text("precious")
    with pytest.raises(OSError) as caught:
        await loop.create_unix_server(Recorder, str(regular))
    assert caught.value.errno == 98  # EADDRINUSE
    assert str(caught.value) == f"[Errno 98] Address {str(regular)!r} is already in use"
    assert regular.read_text() == "precious"


async def test_unix_path_after_close(loop, tmp_path):
    path = tmp_path / "socket"
    server = await loop.create_unix_server(Recorder, path)
    assert path.exists()
    await stop(server)
    # Python 3.13 removes it.
    assert path.exists() is not support.PY313


@pytest.mark.skipif(not support.PY313, reason="new in Python 3.13")
async def test_unix_cleanup_socket(loop, tmp_path):
    path = tmp_path / "socket"
    server = await loop.create_unix_server(Recorder, path, cleanup_socket=False)
    await stop(server)
    assert path.exists()
    server = await loop.create_unix_server(Recorder, path)
    path.unlink()
    path.write_text("somebody else's")
    await stop(server)
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize("start_serving", [True, False])
async def test_unix_server_that_cannot_listen(impl, loop, tmp_path, monkeypatch, start_serving):
    """Nothing of it stays open, though the loop lives on."""
    if support.PY313 and not impl.native_loop:
        pytest.skip("asyncio keeps its socket among those whose path close() has to remove")

    def listen(sock, backlog):
        raise OSError(errno.EADDRINUSE, "planted")

    before = peers.open_descriptors()
    monkeypatch.setattr(socket.socket, "listen", listen)
    server = None
    with pytest.warns(ResourceWarning, match="unclosed <socket"):
        with pytest.raises(OSError, match="planted"):
            server = await loop.create_unix_server(Recorder, tmp_path / "socket", start_serving=start_serving)
            await server.start_serving()
        del server
        support.collect()
    assert peers.open_descriptors() == before


async def test_unix_wrong_arguments(loop, tmp_path):
    with pytest.raises(ValueError) as caught:
        await loop.create_unix_server(Recorder)
    assert str(caught.value) == "path was not specified, and no sock specified"
    with socket.socket() as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_unix_server(Recorder, "path", sock=sock)
        assert str(caught.value) == "path and sock can not be specified at the same time"
        with pytest.raises(ValueError) as caught:
            await loop.create_unix_server(Recorder, sock=sock)
        assert str(caught.value) == f"A UNIX Domain Stream Socket was expected, got {sock!r}"
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_server(Recorder, tmp_path / "absent" / "socket")
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await loop.create_unix_server(Recorder, "/" + "x" * 200)


# ---- Streams ----


async def test_stream_server(loop, family, tmp_path):
    """asyncio.start_server with the stock streams, the usual way to write a server."""

    async def handle(reader, writer):
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    if family == "tcp":
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        connect = lambda: asyncio.open_connection(*address)  # noqa: E731
    else:
        server = await asyncio.start_unix_server(handle, tmp_path / "socket")
        connect = lambda: asyncio.open_unix_connection(tmp_path / "socket")  # noqa: E731

    async def ask(i):
        reader, writer = await connect()
        for j in range(5):
            writer.write(b"question %d-%d\n" % (i, j))
            assert await reader.readline() == b"QUESTION %d-%d\n" % (i, j)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*[ask(i) for i in range(30)])
    await turns(5)
    await stop(server)
