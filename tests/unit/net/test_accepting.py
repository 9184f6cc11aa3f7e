"""How a server's connections come into being and end: the seams that programs override, and what a transport knows."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from asyncio import trsock

import pytest

from .. import support
from .peers import Recorder, turns


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


class Closing(asyncio.Protocol):
    """Closes its connection at once; `made` has the transports."""

    made: list

    def __init__(self, made):
        self.made = made

    def connection_made(self, transport):
        self.made.append(transport)
        transport.close()


def connected(stack, server):
    """Return a blocking client of `server`."""
    return stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))


async def accepted(loop, stack, factory, **keywords):
    """Return the one transport of a server that has accepted one client, which it has closed by now, and that client."""
    made = []
    server = await loop.create_server(lambda: Closing(made), "127.0.0.1", 0, **keywords)
    client = connected(stack, server)
    while not made:
        await turns(1)
    server.close()
    await server.wait_closed()
    await turns(3)
    return made[0], client


# ---- Seams ----


@pytest.mark.parametrize("how", ("subclass", "instance"))
def test_make_socket_transport_may_be_overridden(impl, stack, how):
    calls = []

    class Loop(impl.Loop):
        if how == "subclass":

            def _make_socket_transport(self, sock, protocol, *args, **keywords):
                calls.append(
                    (type(sock), type(protocol), args, set(keywords) - {"context"}, keywords["extra"])
                )
                return super()._make_socket_transport(sock, protocol, *args, **keywords)

    loop = Loop()
    original = loop._make_socket_transport

    def replacement(sock, protocol, *args, **keywords):
        calls.append((type(sock), type(protocol), args, set(keywords) - {"context"}, keywords["extra"]))
        return original(sock, protocol, *args, **keywords)

    if how == "instance":
        loop._make_socket_transport = replacement
    with support.closing(loop):
        transport, client = loop.run_until_complete(accepted(loop, stack, Recorder))
    ((sock_type, protocol_type, args, keywords, extra),) = calls
    assert (sock_type, protocol_type, args) == (socket.socket, Closing, ())
    assert keywords - {"waiter"} == {"extra", "server"}
    assert extra["peername"] == client.getsockname()


def test_accept_connection_may_be_overridden(impl, stack):
    calls = []

    class Loop(impl.Loop):
        def _accept_connection(self, protocol_factory, sock, *args):
            calls.append(sock)
            return super()._accept_connection(protocol_factory, sock, *args)

    loop = Loop()
    with support.closing(loop):
        loop.run_until_complete(accepted(loop, stack, Recorder))
    assert calls and all(isinstance(sock, socket.socket) for sock in calls)


class FailingListener(socket.socket):
    """A listener whose accept() raises first what `errors` has."""

    errors: list

    def accept(self):
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


def listening(stack, errors):
    listener = stack.enter_context(FailingListener())
    listener.errors = errors
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    return listener


async def test_aborted_connections_are_passed_over(loop, stack):
    aborted = ConnectionAbortedError(errno.ECONNABORTED, "aborted")
    made = []
    server = await loop.create_server(lambda: Closing(made), sock=listening(stack, [aborted, aborted]))
    connected(stack, server)
    while not made:
        await turns(1)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("number", (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
async def test_lack_of_resources(loop, impl, stack, reports, number, monkeypatch):
    """Reported once, and tried again after a while, by _start_serving()."""
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0)
    error = OSError(number, "none left")
    listener = listening(stack, [error])
    made = []
    server = await loop.create_server(lambda: Closing(made), sock=listener)
    connected(stack, server)
    while not made:
        await turns(1)
    (context,) = reports
    reports.clear()
    assert context["message"] == "socket.accept() out of system resource"
    assert context["exception"] is error
    assert isinstance(context["socket"], trsock.TransportSocket)
    assert context["socket"].fileno() == listener.fileno()
    assert set(context) == {"message", "exception", "socket"}
    server.close()
    await server.wait_closed()


async def test_other_errors_are_reported_as_of_a_callback(loop, stack, reports):
    error = OSError(errno.EPERM, "forbidden")
    made = []
    server = await loop.create_server(lambda: Closing(made), sock=listening(stack, [error]))
    connected(stack, server)
    while not made:
        await turns(1)
    (context,) = reports
    reports.clear()
    assert context["exception"] is error
    assert context["message"].startswith("Exception in callback ")
    server.close()
    await server.wait_closed()


# ---- Factories that do harm ----


@pytest.mark.over_tls
@pytest.mark.whole_calls
async def test_task_factory_that_closes_the_listener(loop, stack, reports):
    """The listener's number is another listener's then, of whose connections none is taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    other.setblocking(False)
    waiting = stack.enter_context(socket.create_connection(other.getsockname()))
    server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=context)
    number = server.sockets[0].fileno()
    connected(stack, server)
    accepting = []

    async def nothing():
        pass

    def factory(loop, coroutine, **keywords):
        accepting.append(coroutine)
        server.close()
        os.dup2(other.fileno(), number)
        return asyncio.Task(nothing(), loop=loop)

    loop.set_task_factory(factory)
    while not accepting:
        await turns(1)
    loop.set_task_factory(None)
    os.close(number)
    (coroutine,) = accepting
    coroutine.cr_frame.f_locals["conn"].close()
    coroutine.close()
    assert reports.pop()["exception"].errno == errno.EBADF
    connection, address = other.accept()
    connection.close()
    assert address == waiting.getsockname()


async def test_factory_that_closes_its_server(loop, stack):
    """Then there is nobody to serve the connection: it is dropped, with a warning, and on 3.13 the server fails once more."""
    protocols = []

    def factory():
        server.close()
        protocols.append(Recorder())
        return protocols[-1]

    with support.recorded_warnings(), support.recorded_unraisables():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        client = connected(stack, server)
        client.settimeout(10)
        while not protocols:
            await turns(1)
        await turns(3)
        support.collect()
        assert client.recv(1) == b""
        assert protocols[0].transport is None


@pytest.mark.parametrize("leaving", (KeyboardInterrupt, SystemExit))
def test_factory_that_ends_the_program(loop, stack, reports, leaving):
    def factory():
        raise leaving

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    connected(stack, server)
    with support.recorded_warnings(), pytest.raises(leaving):
        loop.run_forever()
    server.close()
    loop.run_until_complete(server.wait_closed())
    with support.recorded_warnings():
        support.collect()
    # Where each connection has a task, it is that task's exception, too.
    assert all(context["message"] == "Task exception was never retrieved" for context in reports)
    reports.clear()


async def test_burst_after_single_connections(loop, stack):
    """However few a wake-up accepts, none is forgotten."""
    made = []
    server = await loop.create_server(lambda: Closing(made), "127.0.0.1", 0, backlog=100)
    for count in (1, 1, 1, 40, 1, 30):
        before = len(made)
        clients = [connected(stack, server) for _ in range(count)]
        while len(made) < before + count:
            await turns(1)
        await turns(3)
        for client in clients:
            assert client.recv(1) == b""
            client.close()
    server.close()
    await server.wait_closed()
    assert len(made) == 74


# ---- What a transport knows ----


async def test_extra_info_of_an_accepted_connection(loop, stack):
    transport, client = await accepted(loop, stack, Recorder)
    assert transport.get_extra_info("peername") == client.getsockname(), "after the end, too"
    assert transport.get_extra_info("sockname") == client.getpeername()
    assert transport.get_extra_info(name="sockname", default=1) == client.getpeername()
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, trsock.TransportSocket)
    assert sock is transport.get_extra_info("socket")
    assert sock.fileno() == -1
    assert transport.get_extra_info("absent") is None
    assert transport.get_extra_info("absent", 5) == 5
    assert transport.get_extra_info("absent", default=5) == 5
    assert set(transport._extra) == {"socket", "sockname", "peername"}
    transport._extra["mark"] = 1
    assert transport.get_extra_info("mark") == 1
    transport._extra = {"peername": "other"}
    assert transport.get_extra_info("peername") == "other"
    with pytest.raises(TypeError):
        transport.get_extra_info()
    with pytest.raises(TypeError):
        transport.get_extra_info([])


async def test_peername_of_a_client_that_has_gone(loop, stack):
    """accept() told it; asked later the kernel would not know it any more."""
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    client = connected(stack, server)
    name = client.getsockname()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    while not protocols:
        await turns(1)
    await protocols[0].lost()
    assert protocols[0].transport.get_extra_info("peername") == name
    server.close()
    await server.wait_closed()


async def test_transports_by_descriptor(loop, stack):
    left, right = socket.socketpair()
    stack.enter_context(right)
    transport, protocol = await loop.create_connection(Recorder, sock=left)
    fd = left.fileno()
    transports = loop._transports
    assert transports[fd] is transport is transports.get(fd)
    assert fd in transports and list(transports) == [fd] and len(transports) == 1
    assert list(transports.items()) == [(fd, transport)]
    assert transports.get(10**6) is None and transports.get("x", 1) == 1 and -1 not in transports
    with pytest.raises(KeyError):
        transports[10**6]
    del transports[fd]
    assert fd not in transports
    with pytest.raises(KeyError):
        del transports[fd]
    transports[fd] = transport
    transport.close()
    await turns(3)
    del transport, protocol
    support.collect()
    assert len(transports) == 0


# ---- How it ends ----


async def test_connection_lost_that_raises(loop, stack, reports):
    """Socket and server are let go of all the same."""

    class Raising(Recorder):
        def connection_lost(self, error):
            super().connection_lost(error)
            raise LookupError("lost")

    protocols = []

    def factory():
        protocols.append(Raising())
        return protocols[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    client = connected(stack, server)
    while not protocols:
        await turns(1)
    client.close()
    await protocols[0].lost()
    server.close()
    await server.wait_closed()
    (context,) = reports
    reports.clear()
    assert repr(context["exception"]) == "LookupError('lost')"
    assert protocols[0].transport._sock is None
    assert protocols[0].transport.get_protocol() is None


@pytest.mark.parametrize("answer", (True, False, "raises"))
async def test_end_of_the_stream(loop, stack, reports, answer):
    class Half(Recorder):
        def eof_received(self):
            if answer == "raises":
                raise LookupError("eof")
            return answer

    left, right = socket.socketpair()
    stack.enter_context(right)
    transport, protocol = await loop.create_connection(Half, sock=left)
    right.shutdown(socket.SHUT_WR)
    if answer is True:
        await turns(20)
        assert not transport.is_closing()
        transport.write(b"answer")
        transport.close()
    await protocol.lost()
    if answer is True:
        assert b"".join(iter(lambda: right.recv(10), b"")) == b"answer"
    if answer == "raises":
        (context,) = reports
        reports.clear()
        assert context["message"] == "Fatal error: protocol.eof_received() call failed."
        assert context["protocol"] is protocol and context["transport"] is transport


@pytest.mark.parametrize("argument", [None, 1, [], "text"])
def test_opening_takes_what_accepting_has_queued(ours, argument):
    """_open_accepted() is private, but an attribute like any other."""
    with support.closing(ours.new_event_loop()) as loop, pytest.raises(TypeError):
        loop._open_accepted(argument)


def test_add_reader_may_be_overridden(impl):
    """What a test or a tracer puts in the place of the loop's _add_reader() is asked by transports."""
    watched = []

    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            loop._add_reader = lambda fd, callback, *args, **keywords: watched.append(fd)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            del loop._add_reader
            assert watched == [ours.fileno()]
            transport.abort()
            await turns(3)

    with support.closing(impl.new_event_loop()) as loop:
        loop.run_until_complete(main())
