"""Sockets that are not plain: of derived classes, imitated in Python, and of a class whose methods a tool has replaced.

pytest-socket replaces socket.socket.connect, and the class itself; PySocks derives from it and overrides connect() and recv();
mocket imitates it; mocks replace single methods in the middle of a connection. asyncio calls the methods, and each in its turn.
"""

import _socket
import asyncio
import contextlib
import socket
import ssl
import tempfile
from unittest import mock

import pytest
from unit import support

from .test_transports import client_context, server_context

LOCAL = ("127.0.0.1", 0)

# What asyncio asks of sockets, and we of those that are plain.
METHODS = (
    "accept",
    "bind",
    "close",
    "connect",
    "connect_ex",
    "detach",
    "fileno",
    "getpeername",
    "getsockname",
    "getsockopt",
    "gettimeout",
    "listen",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "send",
    "sendmsg",
    "sendto",
    "setblocking",
    "setsockopt",
    "shutdown",
)
NAMES = {*METHODS, "family", "type", "proto"}


class Recording(socket.socket):
    """A socket that writes down which of its methods and properties are asked for."""

    asked: list

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        object.__setattr__(self, "asked", [])
        return self

    def __getattribute__(self, name):
        if name in NAMES:
            object.__getattribute__(self, "asked").append(name)
        return super().__getattribute__(name)


@contextlib.contextmanager
def recorded_class():
    """socket.socket itself writes down the calls of each IPv4 socket, in one list."""
    calls = []

    def recorder(name, original):
        def method(sock, *args):
            if _socket.socket.family.__get__(sock) == socket.AF_INET:
                calls.append((name, *map(type, args)))
            return original(sock, *args)

        return method

    with contextlib.ExitStack() as stack:
        for name in METHODS:
            original = getattr(socket.socket, name)
            stack.enter_context(mock.patch.object(socket.socket, name, recorder(name, original)))
        yield calls


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def eof_received(self):
        self.transport.close()


class Client(asyncio.Protocol):
    def __init__(self):
        self.received = b""
        self.changed = asyncio.Event()
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.received += data
        self.changed.set()

    def connection_lost(self, exc):
        self.ended.set_result(exc)

    async def until(self, data):
        while self.received != data:
            self.changed.clear()
            await self.changed.wait()


class BufferedClient(Client, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self.buffer = bytearray(1000)
        return self.buffer

    def buffer_updated(self, count):
        Client.data_received(self, bytes(self.buffer[:count]))


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.received.put_nowait(data)

    def error_received(self, exc):
        self.received.put_nowait(exc)


def nonblocking(sock):
    socket.socket.setblocking(sock, False)
    return sock


def connected(cls, stack):
    """A connected TCP socket of class `cls`, and its plain peer, neither of which blocks."""
    with socket.create_server(LOCAL) as listener:
        client = stack.enter_context(cls(socket.AF_INET, socket.SOCK_STREAM))
        _socket.socket.connect(client, listener.getsockname())
        peer, _ = listener.accept()
    return nonblocking(client), nonblocking(stack.enter_context(peer))


def datagrams(cls, stack):
    """The same of datagram sockets; the first has an address, but no peer."""
    first = stack.enter_context(cls(socket.AF_INET, socket.SOCK_DGRAM))
    peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for sock in (first, peer):
        _socket.socket.bind(sock, LOCAL)
    return nonblocking(first), nonblocking(peer)


def name_of(sock):
    return _socket.socket.getsockname(sock)


# ---- What is asked, in which order: as by asyncio ----


async def receive(loop, cls, stack):
    sock, peer = connected(cls, stack)
    waiting = loop.create_task(loop.sock_recv(sock, 10))
    await support.turns(3)
    peer.send(b"1")
    assert await waiting == b"1"
    peer.send(b"2")
    assert await loop.sock_recv(sock, 10) == b"2"
    buffer = bytearray(5)
    waiting = loop.create_task(loop.sock_recv_into(sock, buffer))
    await support.turns(3)
    peer.send(b"3")
    assert await waiting == 1 and buffer[:1] == b"3"
    return sock


async def receive_from(loop, cls, stack):
    sock, peer = datagrams(cls, stack)
    waiting = loop.create_task(loop.sock_recvfrom(sock, 10))
    await support.turns(3)
    peer.sendto(b"1", name_of(sock))
    assert await waiting == (b"1", name_of(peer))
    peer.sendto(b"2", name_of(sock))
    buffer = bytearray(5)
    assert await loop.sock_recvfrom_into(sock, buffer) == (1, name_of(peer))
    assert await loop.sock_sendto(sock, b"3", name_of(peer)) == 1
    assert peer.recv(10) == b"3"
    return sock


async def send(loop, cls, stack):
    sock, peer = connected(cls, stack)
    await loop.sock_sendall(sock, b"x")
    assert peer.recv(10) == b"x"
    return sock


async def connect_and_accept(loop, cls, stack):
    listener = stack.enter_context(socket.create_server(LOCAL))
    listener.setblocking(False)
    sock = nonblocking(stack.enter_context(cls(socket.AF_INET, socket.SOCK_STREAM)))
    await loop.sock_connect(sock, listener.getsockname())
    return sock


async def accept(loop, cls, stack):
    listener = nonblocking(stack.enter_context(cls(socket.AF_INET, socket.SOCK_STREAM)))
    _socket.socket.bind(listener, LOCAL)
    _socket.socket.listen(listener)
    waiting = loop.create_task(loop.sock_accept(listener))
    await support.turns(3)
    with socket.create_connection(name_of(listener)):
        connection, _ = await waiting
    connection.close()
    return listener


async def send_file(loop, cls, stack):
    sock, peer = connected(cls, stack)
    with tempfile.TemporaryFile() as file:
        file.write(b"file")
        file.flush()
        assert await loop.sock_sendfile(sock, file) == 4
    assert peer.recv(10) == b"file"
    return sock


async def stream(loop, cls, stack):
    sock, peer = connected(cls, stack)
    transport, protocol = await loop.create_connection(Client, sock=sock)
    transport.write(b"one")
    transport.writelines([b"two", b"three"])
    assert await loop.sock_recv(peer, 100) == b"onetwothree"
    peer.send(b"answer")
    await protocol.until(b"answer")
    transport.write_eof()
    assert await loop.sock_recv(peer, 100) == b""
    peer.close()
    assert await protocol.ended is None
    return sock


async def buffered_stream(loop, cls, stack):
    sock, peer = connected(cls, stack)
    transport, protocol = await loop.connect_accepted_socket(BufferedClient, sock)
    peer.send(b"answer")
    await protocol.until(b"answer")
    transport.close()
    assert await protocol.ended is None
    return sock


async def server(loop, cls, stack):
    listener = stack.enter_context(cls(socket.AF_INET, socket.SOCK_STREAM))
    _socket.socket.bind(listener, LOCAL)
    server = await loop.create_server(Echo, sock=listener)
    address = name_of(listener)
    with nonblocking(socket.socket()) as client:
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, b"x")
        assert await loop.sock_recv(client, 10) == b"x"
        client.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(client, 10) == b""
    server.close()
    await server.wait_closed()
    return listener


async def endpoint(loop, cls, stack):
    sock, peer = datagrams(cls, stack)
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=sock)
    transport.sendto(b"1", name_of(peer))
    assert peer.recv(10) == b"1"
    for data in (b"2", b"3"):
        peer.sendto(data, name_of(sock))
    assert [await protocol.received.get() for _ in range(2)] == [b"2", b"3"]
    transport.close()
    await support.turns(3)
    return sock


async def connected_endpoint(loop, cls, stack):
    sock, peer = datagrams(cls, stack)
    _socket.socket.connect(sock, name_of(peer))
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=sock)
    transport.sendto(b"1")
    assert peer.recv(10) == b"1"
    transport.abort()
    await support.turns(3)
    return sock


async def tls(loop, cls, stack):
    """TLS from the beginning, on a socket of the class; the server has plain ones."""
    server = await loop.create_server(Echo, *LOCAL, ssl=server_context())
    sock = stack.enter_context(cls(socket.AF_INET, socket.SOCK_STREAM))
    _socket.socket.connect(sock, server.sockets[0].getsockname())
    transport, protocol = await loop.create_connection(
        Client, sock=sock, ssl=client_context(), server_hostname=""
    )
    assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
    transport.write(b"x")
    await protocol.until(b"x")
    transport.abort()
    await protocol.ended
    server.close()
    await server.wait_closed()


async def upgraded_to_tls(loop, cls, stack):
    class Upgrading(asyncio.Protocol):
        def connection_made(self, transport):
            self.task = loop.create_task(self.upgrade(transport))

        async def upgrade(self, transport):
            echo = Echo()
            transport.write(b"go")
            upgraded = await loop.start_tls(transport, echo, server_context(), server_side=True)
            echo.connection_made(upgraded)
            upgraded.write(b"!")

    server = await loop.create_server(Upgrading, *LOCAL)
    sock = stack.enter_context(cls(socket.AF_INET, socket.SOCK_STREAM))
    _socket.socket.connect(sock, server.sockets[0].getsockname())
    raw, protocol = await loop.create_connection(Client, sock=sock)
    await protocol.until(b"go")
    transport = await loop.start_tls(raw, protocol, client_context())
    await protocol.until(b"go!")
    transport.write(b"x")
    await protocol.until(b"go!x")
    transport.abort()
    await protocol.ended
    server.close()
    await server.wait_closed()


COUNTED = (
    receive,
    receive_from,
    send,
    connect_and_accept,
    accept,
    send_file,
    stream,
    buffered_stream,
    server,
    endpoint,
    connected_endpoint,
)
SCENARIOS = (*COUNTED, tls, upgraded_to_tls)  # whose records depend on how the bytes arrive


def run(impl, scenario, *args):
    """The result of a scenario on a fresh loop, to which nothing was reported."""
    reports = []
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    with support.closing(loop), contextlib.ExitStack() as stack:
        result = loop.run_until_complete(asyncio.wait_for(scenario(loop, *args, stack), 30))
        support.run_once(loop, 3)
    assert reports == []
    return result


@pytest.mark.whole_calls
@pytest.mark.parametrize("scenario", COUNTED, ids=lambda scenario: scenario.__name__)
def test_what_is_asked_of_a_derived_class(stock, ours, scenario):
    """The same methods and properties as on asyncio, as often, and in the same order."""
    expected = run(stock, scenario, Recording).asked
    assert run(ours, scenario, Recording).asked == expected != []


@pytest.mark.whole_calls
@pytest.mark.parametrize("scenario", COUNTED, ids=lambda scenario: scenario.__name__)
def test_what_is_called_of_the_class_itself(stock, ours, scenario):
    """A recorder on socket.socket sees on our loop what it sees on asyncio's."""
    with recorded_class() as expected:
        run(stock, scenario, socket.socket)
    with recorded_class() as calls:
        run(ours, scenario, socket.socket)
    assert calls == expected != []


@pytest.mark.whole_calls
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("cls", (socket.socket, Recording), ids=("plain", "derived"))
def test_scenarios(impl, scenario, cls):
    run(impl, scenario, cls)
