"""Functions and methods that a tool has replaced for the process: asyncio calls what is there when it needs it.

Guards of connect() as pytest-socket's, mocks of single methods in the middle of a connection, os.read() and os.write() under
pipes, socket.getaddrinfo(), socket.socket itself.
"""

import _socket
import asyncio
import contextlib
import os
import re
import socket
from unittest import mock

import pytest
from unit import support

from .test_sockets import (
    LOCAL,
    BufferedClient,
    Client,
    Datagrams,
    Echo,
    connected,
    datagrams,
    name_of,
    nonblocking,
    run,
)


class GuardError(Exception):
    pass


def guard(*args):
    raise GuardError


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def replaced(name, function):
    return mock.patch.object(socket.socket, name, function)


# ---- Guards ----


async def by_open_connection(loop, listener):
    await asyncio.open_connection(*listener.getsockname())


async def by_sock_connect(loop, listener):
    with nonblocking(socket.socket()) as sock:
        await loop.sock_connect(sock, listener.getsockname())


async def by_local_address(loop, listener):
    await loop.create_connection(Client, *listener.getsockname(), local_addr=LOCAL)


async def by_datagram_endpoint(loop, listener):
    await loop.create_datagram_endpoint(Datagrams, remote_addr=listener.getsockname())


async def by_unix_connection(loop, listener):
    await loop.create_unix_connection(Client, "\0asyncio_c of nobody")


@pytest.mark.parametrize(
    "connect",
    (
        by_open_connection,
        by_sock_connect,
        by_local_address,
        by_datagram_endpoint,
        by_unix_connection,
    ),
    ids=lambda connect: connect.__name__,
)
def test_guard_of_connect(loop, connect):
    """pytest-socket's allow_hosts: nothing is connected past a connect() that somebody has put into socket.socket."""
    with socket.create_server(LOCAL) as listener, replaced("connect", guard):
        with pytest.raises(GuardError):
            loop.run_until_complete(connect(loop, listener))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("how", ("deleted", "put back"))
def test_guard_that_is_taken_away(impl, how):
    """By mock, which deletes it, or as by pytest-socket, which puts the method of the C type into the class."""

    async def connect(loop, listener, stack):
        transport, _ = await loop.create_connection(Client, *listener.getsockname())
        kind = type(transport)
        transport.abort()
        await support.turns()
        return kind

    own = socket.socket.connect
    with socket.create_server(LOCAL) as listener:
        before = run(impl, connect, listener)
        socket.socket.connect = guard
        try:
            with pytest.raises(GuardError):
                run(impl, connect, listener)
            if how == "put back":
                socket.socket.connect = own
        finally:
            if how == "deleted":
                del socket.socket.connect
        assert run(impl, connect, listener) is before
        if how == "put back":
            del socket.socket.connect


@pytest.mark.parametrize("name", ("connect", "family", "accept"))
def test_guard_that_comes_a_thousand_times(impl, name):
    """A class that is changed very often gets no version any more, by which a change could be noticed."""

    async def connect(loop, stack):
        listener = nonblocking(stack.enter_context(socket.create_server(LOCAL)))
        with nonblocking(socket.socket()) as sock:
            await loop.sock_connect(sock, listener.getsockname())
            connection, _ = await loop.sock_accept(listener)
            connection.close()

    stock = vars(socket.socket).get(name)
    bad = property(guard) if name == "family" else guard
    for _ in range(1500):
        setattr(socket.socket, name, bad)
        assert vars(socket.socket)[name] is bad is socket.socket.__dict__[name]
        getattr(socket.socket, name)  # which gives it a version
        if stock is None:
            delattr(socket.socket, name)
        else:
            setattr(socket.socket, name, stock)
        getattr(socket.socket, name)
    run(impl, connect)
    with replaced(name, bad), pytest.raises(GuardError):
        run(impl, connect)
    run(impl, connect)


def test_class_with_a_base_more(impl):
    """Other bases of the class are noticed, though it has no other attributes."""

    class Guard:
        connect = guard

    async def connect(loop, stack):
        with nonblocking(socket.socket()) as sock:
            await loop.sock_connect(sock, ("127.0.0.1", 1))

    bases = socket.socket.__bases__
    socket.socket.__bases__ = (Guard, *bases)
    try:
        with pytest.raises(GuardError):
            run(impl, connect)
    finally:
        socket.socket.__bases__ = bases
    with pytest.raises(ConnectionRefusedError):
        run(impl, connect)


def test_class_that_is_replaced(impl):
    """pytest-socket's disable_socket: accept() makes an object of the class that socket.socket is by then."""

    class Derived(socket.socket):
        pass

    async def accept(loop, stack):
        listener = nonblocking(stack.enter_context(socket.create_server(LOCAL)))
        stack.enter_context(socket.create_connection(listener.getsockname()))
        server = await loop.create_server(Echo, *LOCAL)
        kinds = []
        with mock.patch.object(socket, "socket", Derived):
            connection, _ = await loop.sock_accept(listener)
            kinds.append(type(connection))
            connection.close()
            transport, protocol = await loop.create_connection(Client, *server.sockets[0].getsockname())
            kinds.append(type(transport.get_extra_info("socket")._sock))
            transport.write(b"x")
            await protocol.until(b"x")
        transport.close()
        await protocol.ended
        server.close()
        await server.wait_closed()
        return kinds

    assert run(impl, accept) == [Derived, Derived]


# ---- Methods that are replaced while a connection or a call is under way ----


@pytest.mark.whole_calls
@pytest.mark.parametrize("protocol_class", (Client, BufferedClient), ids=("data", "buffer"))
def test_reading_of_a_stream(impl, protocol_class):
    """The next read is the replaced method's."""

    def recv(sock, size):
        return own_recv(sock, size).upper()

    def recv_into(sock, buffer):
        data = own_recv(sock, len(buffer)).upper()
        buffer[: len(data)] = data
        return len(data)

    async def read(loop, stack):
        sock, peer = connected(socket.socket, stack)
        transport, protocol = await loop.create_connection(protocol_class, sock=sock)
        peer.send(b"a")
        await protocol.until(b"a")
        with replaced("recv", recv), replaced("recv_into", recv_into):
            peer.send(b"b")
            await protocol.until(b"aB")
        peer.send(b"c")
        await protocol.until(b"aBc")
        failing = mock.Mock(side_effect=ConnectionResetError("mocked"))
        with replaced("recv", failing), replaced("recv_into", failing):
            peer.send(b"d")
            assert str(await protocol.ended) == "mocked"

    own_recv = socket.socket.recv
    run(impl, read)


@pytest.mark.whole_calls
def test_writing_of_a_stream(impl):
    """As many calls of send() and sendmsg() as by asyncio, of as much; what they do not take waits."""
    calls = []

    def recorder(name, limit=None):
        own = getattr(socket.socket, name)

        def method(sock, data):
            if sock is not transport_socket:
                return own(sock, data)
            joined = bytes(data) if name == "send" else b"".join(data)
            calls.append((name, joined))
            if limit == 0:
                raise BlockingIOError
            return _socket.socket.send(sock, joined[:limit])

        return replaced(name, method)

    async def write(loop, stack):
        nonlocal transport_socket
        transport_socket, peer = connected(socket.socket, stack)
        transport, protocol = await loop.create_connection(Client, sock=transport_socket)
        transport.write(b"before")
        with recorder("send"), recorder("sendmsg"):
            transport.write(b"one")
            transport.write(b"two")
            transport.writelines([b"three", b"four"])
            assert transport.get_write_buffer_size() == 0
        with recorder("send", 1), recorder("sendmsg", 2):
            transport.write(b"short")
            assert transport.get_write_buffer_size() == 4
            assert await loop.sock_recv(peer, 100) == b"beforeonetwothreefours"
            received = b""
            while received != b"hort":
                received += await loop.sock_recv(peer, 100)
        with recorder("send", 0):
            transport.write(b"late")
        assert await loop.sock_recv(peer, 100) == b"late"
        failing = mock.Mock(side_effect=BrokenPipeError("mocked"))
        with replaced("send", failing):
            transport.write(b"x")
        assert str(await protocol.ended) == "mocked"
        assert failing.call_count == 1

    transport_socket = None
    run(impl, write)
    assert calls[:2] == [("send", b"one"), ("send", b"two")]
    # From 3.12 on, what waits is given to sendmsg().
    later = "sendmsg" if support.PY312 else "send"
    assert calls[2:] == [
        (later, b"threefour"),
        ("send", b"short"),
        *((later, b"hort"[taken:]) for taken in range(0, 4, 2 if support.PY312 else 1)),
        ("send", b"late"),
    ]


def test_write_within_a_replaced_send(impl):
    """What a send() writes itself, or its end of the connection, comes after it, and nothing is lost or sent twice."""
    own = socket.socket.send
    sent = []

    def send(sock, data):
        if sock is not transport_socket:
            return own(sock, data)
        if not sent:
            sent.append(data)
            transport.write(b"inner")
            transport.close()
            return own(sock, data)
        sent.append(data)
        return own(sock, data)

    async def write(loop, stack):
        nonlocal transport_socket, transport
        transport_socket, peer = connected(socket.socket, stack)
        transport, protocol = await loop.create_connection(Client, sock=transport_socket)
        with replaced("send", send):
            transport.write(b"outer")
        assert await protocol.ended is None
        received = b""
        while data := await loop.sock_recv(peer, 100):
            received += data
        return received

    transport_socket = transport = None
    assert run(impl, write) == b"innerouter"
    assert sent == [b"outer", b"inner"]


@pytest.mark.parametrize("is_connected", (False, True), ids=("unconnected", "connected"))
def test_datagram_endpoint(impl, is_connected):
    """Each datagram is the replaced method's, and one is received in a turn."""
    calls = []

    def recorder(name):
        own = getattr(socket.socket, name)

        def method(sock, *args):
            if sock is transport_socket:
                calls.append((name, args[0]))
            return own(sock, *args)

        return replaced(name, method)

    async def exchange(loop, stack):
        nonlocal transport_socket
        transport_socket, peer = datagrams(socket.socket, stack)
        if is_connected:
            transport_socket.connect(name_of(peer))
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=transport_socket)
        transport.sendto(b"before", None if is_connected else name_of(peer))
        with recorder("send"), recorder("sendto"), recorder("recvfrom"):
            transport.sendto(b"1", None if is_connected else name_of(peer))
            for data in (b"2", b"3"):
                peer.sendto(data, name_of(transport_socket))
            assert [await protocol.received.get() for _ in range(2)] == [b"2", b"3"]
        with replaced("recvfrom", mock.Mock(side_effect=ConnectionRefusedError("mocked"))):
            peer.sendto(b"4", name_of(transport_socket))
            assert str(await protocol.received.get()) == "mocked"
        assert await protocol.received.get() == b"4"
        transport.close()
        await support.turns()

    transport_socket = None
    run(impl, exchange)
    size = 256 * 1024
    assert calls == [("send" if is_connected else "sendto", b"1"), ("recvfrom", size), ("recvfrom", size)]


def test_calls_that_wait(impl):
    """A sock_*() that waits when the method is replaced tries the replaced one next."""
    size = 1 << 22

    async def receive(loop, name, operation, args, sock, wake):
        waiting = loop.create_task(operation(sock, *args))
        await support.turns()
        assert not waiting.done()
        function = mock.Mock(return_value="mocked")
        with replaced(name, function):
            wake()
            assert await waiting == "mocked"
        assert function.mock_calls == [mock.call(*args)]
        _socket.socket.recv(sock, 10)

    async def wait(loop, stack):
        sock, peer = connected(socket.socket, stack)
        other, other_peer = datagrams(socket.socket, stack)
        from_peer = sock, lambda: peer.send(b"x")
        from_other = other, lambda: other_peer.sendto(b"x", name_of(other))
        await receive(loop, "recv", loop.sock_recv, (7,), *from_peer)
        await receive(loop, "recv_into", loop.sock_recv_into, (buffer,), *from_peer)
        await receive(loop, "recvfrom", loop.sock_recvfrom, (7,), *from_other)
        await receive(loop, "recvfrom_into", loop.sock_recvfrom_into, (buffer, 5), *from_other)

        data = bytes(range(256)) * (size // 256)
        waiting = loop.create_task(loop.sock_sendall(sock, memoryview(data)))
        await support.turns()
        sizes = []

        def send(sender, rest):
            if sender is sock:
                sizes.append(len(rest))
                rest = bytes(rest)[:1000]
            return _socket.socket.send(sender, rest)

        received = bytearray()
        with replaced("send", send):
            while len(sizes) < 3:
                received += await loop.sock_recv(peer, 1 << 16)
        while len(received) < size:
            received += await loop.sock_recv(peer, 1 << 20)
        await waiting
        assert received == data and sizes[0] - sizes[1] == 1000

    buffer = bytearray(9)
    run(impl, wait)


def test_connect_that_waits(impl):
    """Whether it is connected asks getsockopt(), and accept() the class, at the end of the wait."""

    async def wait(loop, stack):
        with socket.socket() as listener, nonblocking(socket.socket()) as client:
            listener.bind(LOCAL)
            listener.listen(0)
            listener.setblocking(False)
            full = []
            while True:  # Linux accepts no more than the backlog, and lets others wait
                sock = stack.enter_context(nonblocking(socket.socket()))
                full.append(sock)
                waiting = loop.create_task(loop.sock_connect(sock, listener.getsockname()))
                await support.turns(5)
                if not waiting.done():
                    break
            with replaced("getsockopt", mock.Mock(return_value=111)):
                listener.close()  # which resets those that wait
                with pytest.raises(OSError) as caught:
                    await waiting
            assert caught.value.errno == 111 and str(caught.value).startswith(
                "[Errno 111] Connect call failed"
            )
            client.close()

        listener = nonblocking(stack.enter_context(socket.create_server(LOCAL)))
        waiting = loop.create_task(loop.sock_accept(listener))
        await support.turns()
        connection = stack.enter_context(socket.socket())
        with replaced("accept", mock.Mock(return_value=(connection, "mocked"))):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            assert await waiting == (connection, "mocked")
        assert connection.gettimeout() == 0

    run(impl, wait)


def test_server_that_listens(impl):
    """accept() is the replaced one's from the next connection on."""

    async def serve(loop, stack):
        made = []
        server = await loop.create_server(lambda: made.append(Echo()) or made[-1], *LOCAL)
        own = socket.socket.accept

        def accept(sock):
            connection, _ = own(sock)
            return connection, "mocked"

        with replaced("accept", accept):
            client = stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
            while not made:
                await asyncio.sleep(0)
            await support.turns()
        peername = made[0].transport.get_extra_info("peername")
        client.close()
        made[0].transport.abort()
        await support.turns()
        server.close()
        await server.wait_closed()
        return peername

    assert run(impl, serve) == "mocked"


# ---- Imitations ----


class Imitation:
    """No socket at all: it has one, and does what it says in capital letters. Only what asyncio needs is there."""

    def __init__(self, sock):
        self._own = sock
        self.family, self.type, self.proto = sock.family, sock.type, sock.proto

    def fileno(self):
        return self._own.fileno()

    def recv(self, size):
        return self._own.recv(size).upper()

    def recvfrom(self, size):
        data, _ = self._own.recvfrom(size)
        return data.upper(), "somebody"

    def send(self, data):
        return self._own.send(bytes(data).upper())

    def sendto(self, data, address):
        return self._own.sendto(bytes(data).upper(), address[0])

    def sendmsg(self, buffers):
        return self.send(b"".join(buffers))

    def accept(self):
        connection, _ = self._own.accept()
        return type(self)(connection), "somebody"

    def connect(self, address):
        self._own.connect(address[0])

    def setblocking(self, flag):
        self._own.setblocking(flag)

    def gettimeout(self):
        return self._own.gettimeout()

    def getsockname(self):
        return "own name"

    def getpeername(self):
        return "peer's name"

    def listen(self, backlog):
        self._own.listen(backlog)

    def shutdown(self, how):
        self._own.shutdown(how)

    def close(self):
        self._own.close()


def test_imitated_stream(impl):
    async def exchange(loop, stack):
        sock, peer = connected(socket.socket, stack)
        sock = Imitation(sock)
        await loop.sock_sendall(sock, b"low")
        assert peer.recv(10) == b"LOW"
        waiting = loop.create_task(loop.sock_recv(sock, 10))
        await support.turns()
        peer.send(b"high")
        assert await waiting == b"HIGH"
        transport, protocol = await loop.create_connection(Client, sock=sock)
        names = [transport.get_extra_info(name) for name in ("sockname", "peername")]
        assert names == ["own name", "peer's name"]
        transport.write(b"a")
        transport.writelines([b"b", b"c"])
        peer.send(b"d")
        await protocol.until(b"D")
        assert peer.recv(10) == b"ABC"
        peer.close()
        assert await protocol.ended is None

    run(impl, exchange)


def test_imitated_listener(impl):
    async def serve(loop, stack):
        made = []
        listener = socket.create_server(LOCAL)
        server = await loop.create_server(lambda: made.append(Echo()) or made[-1], sock=Imitation(listener))
        client = nonblocking(stack.enter_context(socket.create_connection(listener.getsockname())))
        client.send(b"x")
        assert await loop.sock_recv(client, 10) == b"X"
        assert made[0].transport.get_extra_info("peername") == "somebody"
        client.close()
        await support.turns(10)
        server.close()
        await server.wait_closed()

    run(impl, serve)


def test_imitated_datagrams(impl):
    async def exchange(loop, stack):
        sock, peer = datagrams(socket.socket, stack)
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=Imitation(sock))
        transport._extra["peername"] = None
        transport.sendto(b"a", (name_of(peer),))
        assert peer.recv(10) == b"A"
        peer.sendto(b"b", name_of(sock))
        assert await protocol.received.get() == b"B"
        transport.close()
        await support.turns()

    run(impl, exchange)


@pytest.mark.parametrize("number", ("text", -1, 1 << 40, None), ids=str)
def test_imitated_descriptor(stock, ours, number):
    """What fileno() of an imitation may return is a key of loop._transports, and refused as by asyncio when it is watched."""

    def outcome(impl):
        reports = []
        loop = impl.new_event_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        sock = mock.Mock(spec=socket.socket, type=socket.SOCK_STREAM, family=socket.AF_INET, proto=0)
        sock.fileno.return_value = number

        async def connect():
            try:
                transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
                assert loop._transports[number] is transport
                transport.abort()
            except Exception as error:
                return re.sub("id=.[0-9]+", "", repr(error))

        with support.closing(loop):
            result = loop.run_until_complete(connect())
            support.run_once(loop, 3)
        names = [call[0] for call in sock.mock_calls]
        return result, names, [repr(context["exception"]) for context in reports]

    assert outcome(ours) == outcome(stock)


@pytest.mark.parametrize("mock_class", (mock.Mock, mock.MagicMock, mock.NonCallableMock))
def test_mock_in_the_place_of_the_class(stock, ours, mock_class):
    """mock.patch("socket.socket"): what comes of it, and what the mock was asked."""

    def outcome(impl):
        loop = impl.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        fake = mock_class()
        # A number that nobody can watch: or it would be the descriptor 1 for a MagicMock.
        getattr(fake, "return_value", fake).fileno.return_value = -1

        async def connect():
            try:
                await loop.create_connection(asyncio.Protocol, "127.0.0.1", 1)
            except Exception as error:
                return type(error)
            return "connected"

        with support.closing(loop):
            with mock.patch.object(socket, "socket", fake):
                result = loop.run_until_complete(connect())
                calls = [str(call) for call in fake.mock_calls]
            support.run_once(loop, 3)
        return result, calls

    assert outcome(ours) == outcome(stock)


# ---- Functions of modules ----


@pytest.mark.whole_calls
def test_reading_and_writing_of_pipes(impl):
    """os.read() and os.write() are asked for each time; what write() does not take waits."""

    async def exchange(loop, stack):
        ends = [os.fdopen(number, mode, 0) for number, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]
        reading, protocol = await loop.connect_read_pipe(Client, ends[0])
        writing, _ = await loop.connect_write_pipe(asyncio.Protocol, ends[1])
        numbers = [end.fileno() for end in ends]
        own_read, own_write = os.read, os.write
        read = mock.Mock(side_effect=lambda fd, size: own_read(fd, size).upper())
        with mock.patch.object(os, "read", read):
            writing.write(b"a")
            await protocol.until(b"A")
        assert read.mock_calls == [mock.call(numbers[0], 256 * 1024)]
        written = []

        def write(fd, data):
            written.append((fd, bytes(data)))
            return own_write(fd, written[-1][1][:2].upper())

        with mock.patch.object(os, "write", write):
            writing.write(b"bcd")
            assert writing.get_write_buffer_size() == 1
            await protocol.until(b"ABCD")
        assert written == [(numbers[1], b"bcd"), (numbers[1], b"d")]
        with mock.patch.object(os, "write", mock.Mock(side_effect=BlockingIOError)):
            writing.write(b"e")
            assert writing.get_write_buffer_size() == 1
        await protocol.until(b"ABCDe")
        with mock.patch.object(os, "read", mock.Mock(side_effect=OSError("mocked"))):
            writing.write(b"f")
            assert str(await protocol.ended) == "mocked"
        writing.abort()
        await support.turns()

    reports = []
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
    with support.closing(loop):
        loop.run_until_complete(asyncio.wait_for(exchange(loop, None), 30))
        support.run_once(loop, 3)
    assert reports == ["Fatal read error on pipe transport"]


def test_write_to_a_pipe_that_fails(impl):
    class Ending(asyncio.BaseProtocol):
        def connection_lost(self, exc):
            self.ended.set_result(exc)

    async def write(loop, stack):
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        transport, protocol = await loop.connect_write_pipe(Ending, os.fdopen(writing, "wb", 0))
        protocol.ended = loop.create_future()
        with mock.patch.object(os, "write", mock.Mock(side_effect=BrokenPipeError("mocked"))):
            transport.write(b"x")
        assert transport.is_closing()
        return str(await protocol.ended)

    assert run(impl, write) == "mocked"


@pytest.mark.parametrize("method", ("close", "write_eof", "abort"))
@pytest.mark.parametrize("taken", (3, 1, 0))
def test_pipe_that_is_ended_while_it_is_written_to(impl, method, taken):
    """By what os.write() calls, as another thread can while the kernel writes; nothing but the end is left to be done."""
    if taken < 3 and not impl.native_loop:
        pytest.skip("asyncio goes on to write when the pipe is gone, which fails")
    lost = []

    class Ending(asyncio.BaseProtocol):
        def connection_lost(self, exc):
            lost.append(exc)

    async def write(loop, stack):
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        transport, _ = await loop.connect_write_pipe(Ending, os.fdopen(writing, "wb", 0))
        own_write = os.write

        def ending(fd, data):
            mocked.stop()
            getattr(transport, method)()
            if not taken:
                raise BlockingIOError
            return own_write(fd, data[:taken])

        mocked = mock.patch.object(os, "write", ending)
        mocked.start()
        transport.write(b"abc")
        await support.turns()
        assert transport.is_closing()
        assert lost == [None]

    run(impl, write)
    assert lost == [None]


@pytest.mark.parametrize("host", ("127.0.0.1", "::1", "localhost", None))
def test_getaddrinfo(impl, host):
    """As often, and with the same arguments; asyncio calls it in a thread."""
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    async def resolve(loop, stack):
        with mock.patch.object(socket, "getaddrinfo", mock.Mock(return_value=answers)) as function:
            assert (
                await loop.getaddrinfo(host, 1, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE) == answers
            )
        await loop.shutdown_default_executor()
        return function.mock_calls

    assert run(impl, resolve) == [mock.call(host, 1, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)]


def test_getaddrinfo_that_raises(impl):
    """As pytest-socket's does."""

    async def resolve(loop, stack):
        with mock.patch.object(socket, "getaddrinfo", guard), pytest.raises(GuardError):
            await loop.create_connection(Client, "localhost", 1)
        with mock.patch.object(socket, "getaddrinfo", guard), pytest.raises(GuardError):
            await loop.getaddrinfo("127.0.0.1", 1)
        await loop.shutdown_default_executor()

    run(impl, resolve)


def test_getnameinfo(impl):
    async def resolve(loop, stack):
        with mock.patch.object(socket, "getnameinfo", mock.Mock(return_value="mocked")) as function:
            assert await loop.getnameinfo(("127.0.0.1", 1), socket.NI_NUMERICHOST) == "mocked"
        await loop.shutdown_default_executor()
        return function.mock_calls

    assert run(impl, resolve) == [mock.call(("127.0.0.1", 1), socket.NI_NUMERICHOST)]


def test_inet_pton(impl):
    """mocket takes every name for a number: then asyncio resolves none, and connect() gets the name."""

    async def connect(loop, stack):
        with nonblocking(socket.socket()) as sock:
            await loop.sock_connect(sock, ("no.such.name.invalid", 1))

    with mock.patch.object(socket, "inet_pton", mock.Mock(return_value=b"")):
        with replaced("connect", mock.Mock()) as function:
            run(impl, connect)
    assert function.mock_calls == [mock.call(("no.such.name.invalid", 1))]

    calls = []

    def inet_pton(family, host):
        calls.append(host)
        return own(family, host)

    own = socket.inet_pton
    with mock.patch.object(socket, "inet_pton", inet_pton), pytest.raises(ConnectionRefusedError):
        run(impl, lambda loop, stack: loop.create_connection(Client, "127.0.0.1", 1))
    with mock.patch.object(socket, "inet_pton", inet_pton), pytest.raises(ConnectionRefusedError):
        with nonblocking(socket.socket()) as sock:
            run(impl, lambda loop, stack: loop.sock_connect(sock, ("127.0.0.1", 1)))
    assert set(calls) == {"127.0.0.1"} and len(calls) >= 2


def test_os_sendfile(impl, tmp_path):
    """sendfile() asks os.sendfile() for each piece."""
    (tmp_path / "file").write_bytes(b"content")

    async def send(loop, stack):
        sock, peer = connected(socket.socket, stack)
        with open(tmp_path / "file", "rb") as file:
            with mock.patch.object(os, "sendfile", mock.Mock(side_effect=[7, 0])) as function:
                assert await loop.sock_sendfile(sock, file) == 7
            return [call.args[0] == sock.fileno() for call in function.mock_calls]

    assert run(impl, send) == [True, True]
