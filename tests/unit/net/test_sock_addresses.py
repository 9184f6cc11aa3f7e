"""The sock_* coroutines that deal with addresses, and whose errors are the socket object's own."""

import asyncio
import contextlib
import errno
import os
import socket

import pytest

from .. import support
from .peers import audited, turns


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def new_socket(stack, family=socket.AF_INET, kind=socket.SOCK_DGRAM):
    sock = stack.enter_context(socket.socket(family, kind))
    sock.setblocking(False)
    return sock


@pytest.fixture
def udp(stack):
    """Two UDP sockets on the loopback address, not connected."""
    sockets = [new_socket(stack) for _ in range(2)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    return sockets


def new_listener(stack, family=socket.AF_INET, address=("127.0.0.1", 0)):
    listener = new_socket(stack, family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    return listener


async def started(coroutine):
    task = asyncio.ensure_future(coroutine)
    await turns(3)
    assert not task.done()
    return task


# ---- Errors ----


def raised_by(function, *args):
    with pytest.raises(Exception) as caught:
        function(*args)
    return support.described(caught.value)


async def raised_by_await(coroutine):
    with pytest.raises(Exception) as caught:
        await coroutine
    return support.described(caught.value)


@pytest.mark.whole_calls  # accept() that is told to wait does so for ever on a socket that does not listen
@pytest.mark.parametrize(
    "method, args",
    [
        ("recvfrom", (-1,)),
        ("recvfrom", ("x",)),
        ("recvfrom", (1 << 70,)),
        ("recvfrom_into", (b"read-only", 1)),
        ("recvfrom_into", (bytearray(4), 5)),
        ("recvfrom_into", (bytearray(4), -1)),
        ("recvfrom_into", (bytearray(4), "x")),
        ("recvfrom_into", (None, 1)),
        ("sendto", ("text", ("127.0.0.1", 1))),
        ("sendto", (b"x", "text")),
        ("sendto", (b"x", ("127.0.0.1",))),
        ("sendto", (b"x", ("127.0.0.1", 70_000))),
        ("sendto", (b"x", ("127.0.0.1", -1))),
        ("sendto", (b"x", ("127.0.0.1", "1"))),
        ("sendto", (bytes(70_000), ("127.0.0.1", 1))),
        ("accept", ()),
    ],
)
async def test_errors_are_the_sockets_own(loop, udp, method, args):
    sock = udp[0]
    expected = raised_by(getattr(sock, method), *args)
    assert await raised_by_await(getattr(loop, "sock_" + method)(sock, *args)) == expected


@pytest.mark.parametrize("address", (5, ("127.0.0.1", 1), "x" * 200, None))
async def test_errors_of_a_unix_connect(loop, stack, address):
    sock = new_socket(stack, socket.AF_UNIX, socket.SOCK_STREAM)
    assert await raised_by_await(loop.sock_connect(sock, address)) == raised_by(sock.connect, address)


async def test_closed_sockets(loop, udp):
    sock = udp[0]
    sock.close()
    address = ("127.0.0.1", 1)
    for coroutine in (
        loop.sock_recvfrom(sock, 1),
        loop.sock_recvfrom_into(sock, bytearray(1)),
        loop.sock_sendto(sock, b"x", address),
        loop.sock_connect(sock, address),
        loop.sock_accept(sock),
    ):
        with pytest.raises(OSError) as caught:
            await coroutine
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
async def test_refused_connect_names_the_resolved_address(loop, stack, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = new_socket(stack, family, socket.SOCK_STREAM)
    listener = new_listener(stack, family, (host, 0))
    address = listener.getsockname()
    listener.close()
    with pytest.raises(ConnectionRefusedError) as caught:
        await loop.sock_connect(sock, address[:2])
    assert caught.value.args == (errno.ECONNREFUSED, f"Connect call failed {address}")


async def test_refused_datagrams(loop, stack, udp):
    """What the peer of a connected UDP socket refused, the next call is told."""
    sock, absent = udp
    absent.close()
    sock.connect(("127.0.0.1", 9))
    sock.send(b"x")
    with pytest.raises(ConnectionRefusedError):
        await loop.sock_recvfrom(sock, 1)


async def test_waiting_recvfrom_is_refused(loop, udp):
    sock, absent = udp
    sock.connect(absent.getsockname())
    absent.close()
    task = await started(loop.sock_recvfrom(sock, 1))
    sock.send(b"x")
    with pytest.raises(ConnectionRefusedError):
        await task


# ---- Addresses ----


async def test_addresses_of_each_family(loop, stack, tmp_path):
    for family, ours, theirs in (
        (socket.AF_INET, ("127.0.0.1", 0), ("127.0.0.12", 0)),
        (socket.AF_INET6, ("::1", 0), ("::1", 0)),
        (socket.AF_UNIX, str(tmp_path / "ours"), str(tmp_path / "theirs")),
        (socket.AF_UNIX, b"\0asyncio_c ours %d" % os.getpid(), b"\0asyncio_c theirs %d" % os.getpid()),
    ):
        receiver, sender = new_socket(stack, family), new_socket(stack, family)
        receiver.bind(ours)
        sender.bind(theirs)
        buffer = bytearray(10)
        assert await loop.sock_sendto(sender, b"one", receiver.getsockname()) == 3
        assert await loop.sock_recvfrom(receiver, 10) == (b"one", sender.getsockname())
        task = await started(loop.sock_recvfrom_into(receiver, buffer))
        assert await loop.sock_sendto(sender, memoryview(b"three"), receiver.getsockname()) == 5
        assert await task == (5, sender.getsockname())


async def test_unnamed_unix_sender(loop, stack, tmp_path):
    receiver, sender = (new_socket(stack, socket.AF_UNIX) for _ in range(2))
    receiver.bind(str(tmp_path / "receiver"))
    for _ in range(2):
        sender.sendto(b"x", receiver.getsockname())
    assert await loop.sock_recvfrom(receiver, 10) == (b"x", None)
    assert receiver.recvfrom(10) == (b"x", None)


async def test_recvfrom_of_a_stream(loop):
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.send(b"xy")
        data, address = await loop.sock_recvfrom(left, 1)
        assert (data, address) == (b"x", left.recvfrom(1)[1])
        right.close()
        assert (await loop.sock_recvfrom(left, 1))[0] == b""


async def test_sendto_a_name(loop, udp):
    sender, receiver = udp
    await loop.sock_sendto(sender, b"x", ("localhost", receiver.getsockname()[1]))
    assert await loop.sock_recvfrom(receiver, 10) == (b"x", sender.getsockname())


async def test_empty_and_large_datagrams(loop, udp):
    sender, receiver = udp
    for data in (b"", bytes(range(256)) * 200):
        assert await loop.sock_sendto(sender, data, receiver.getsockname()) == len(data)
        assert (await loop.sock_recvfrom(receiver, 1 << 20))[0] == data


@pytest.mark.whole_calls
async def test_audit_hooks_hear_of_addresses(loop, udp):
    """Of those that the socket object tells of."""
    sender, receiver = udp
    address = receiver.getsockname()
    with audited("socket.sendto", "socket.connect") as heard:
        await loop.sock_sendto(sender, b"x", address)
        await loop.sock_connect(sender, address)
    assert heard == [("socket.sendto", sender, address), ("socket.connect", sender, address)]


# ---- Buffers ----


async def test_recvfrom_into_with_a_size(loop, udp):
    sender, receiver = udp
    for nbytes, expected in ((2, b"ab\0\0"), (0, b"abcd"), (4, b"abcd")):
        buffer = bytearray(4)
        sender.sendto(b"abcdef", receiver.getsockname())
        assert (await loop.sock_recvfrom_into(receiver, buffer, nbytes))[0] == min(nbytes or 4, 6)
        assert buffer == expected
    sender.sendto(b"abcdef", receiver.getsockname())
    assert (await loop.sock_recvfrom_into(receiver, buffer, nbytes=3))[0] == 3


async def test_recvfrom_into_counts_items(loop, udp):
    """Without a size asyncio takes len(), which for larger items is less than the buffer holds."""
    sender, receiver = udp
    buffer = memoryview(bytearray(8)).cast("I")
    sender.sendto(b"abcdef", receiver.getsockname())
    assert (await loop.sock_recvfrom_into(receiver, buffer))[0] == 2


async def test_recvfrom_into_a_buffer_that_shrinks(loop, udp):
    sender, receiver = udp
    buffer = bytearray(8)
    task = await started(loop.sock_recvfrom_into(receiver, buffer, 6))
    del buffer[4:]
    sender.sendto(b"abcdef", receiver.getsockname())
    with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
        await task


# ---- Accepting ----


@pytest.mark.parametrize("family", (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX))
async def test_accepted_sockets_are_like_their_listener(loop, stack, tmp_path, family):
    addresses = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}
    listener = new_listener(stack, family, addresses.get(family, str(tmp_path / "listener")))
    client = new_socket(stack, family, socket.SOCK_STREAM)
    await loop.sock_connect(client, listener.getsockname())
    connection, address = await loop.sock_accept(listener)
    with connection:
        assert type(connection) is socket.socket
        assert (connection.family, connection.type, connection.proto) == (
            family,
            socket.SOCK_STREAM,
            listener.proto,
        )
        assert connection.gettimeout() == 0.0
        assert connection.getblocking() is False
        assert not connection.get_inheritable()
        assert address == client.getsockname()
        assert connection.getsockname() == listener.getsockname()


async def test_subclasses_accept_in_their_own_way(loop, stack):
    class Listener(socket.socket):
        def accept(self):
            connection, address = super().accept()
            return connection, ("own", address)

    listener = stack.enter_context(Listener())
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    client = new_socket(stack, kind=socket.SOCK_STREAM)
    task = await started(loop.sock_accept(listener))
    await loop.sock_connect(client, listener.getsockname())
    connection, address = await task
    connection.close()
    assert address == ("own", client.getsockname())


async def test_accepted_socket_does_not_block_whatever_the_default(loop, stack):
    listener = new_listener(stack)
    client = stack.enter_context(socket.create_connection(listener.getsockname()))
    socket.setdefaulttimeout(5)
    try:
        connection, _ = await loop.sock_accept(listener)
    finally:
        socket.setdefaulttimeout(None)
    with connection:
        assert connection.gettimeout() == 0.0
        client.send(b"x")
        assert await loop.sock_recv(connection, 1) == b"x"


# ---- Waiting ----


@pytest.mark.parametrize("operation", ("sock_recvfrom", "sock_recvfrom_into", "sock_accept"))
async def test_cancelled_waits_leave_nothing(loop, stack, udp, operation):
    sock = new_listener(stack) if operation == "sock_accept" else udp[0]
    args = {"sock_recvfrom": (1,), "sock_recvfrom_into": (bytearray(1),)}.get(operation, ())
    task = await started(getattr(loop, operation)(sock, *args))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.remove_reader(sock) is False


async def test_a_closed_sockets_waiter_takes_nothing_of_the_next_owner(loop, impl):
    """Its descriptor is another's by the time that this one's writer wakes the old reader."""
    if not impl.native_loop:
        pytest.skip("asyncio's selector fails here: it cannot watch the number again")
    old, old_peer = socket.socketpair()
    old.setblocking(False)
    task = await started(loop.sock_recv(old, 10))
    number = old.fileno()
    old.close()
    old_peer.close()
    new, new_peer = socket.socketpair()
    with contextlib.ExitStack() as stack:
        for sock in (new, new_peer):
            stack.enter_context(sock)
        if new.fileno() != number:
            new, new_peer = new_peer, new
        assert new.fileno() == number
        new.setblocking(False)
        new_peer.send(b"not for the old one")
        written = asyncio.Event()
        loop.add_writer(new, written.set)
        await written.wait()
        await turns(3)
        loop.remove_writer(new)
        assert new.recv(100) == b"not for the old one"
        with pytest.raises(OSError) as caught:
            await task
        assert caught.value.errno == errno.EBADF


async def test_descriptor_of_a_transport(loop, stack):
    """Only where the operation would have to wait, as in asyncio."""
    listener = new_listener(stack)
    client = new_socket(stack, kind=socket.SOCK_STREAM)
    await loop.sock_connect(client, listener.getsockname())
    connection, _ = await loop.sock_accept(listener)
    transport, protocol = await loop.create_connection(asyncio.Protocol, sock=connection)
    text = f"RuntimeError: File descriptor {connection.fileno()} is used by transport {transport!r}"
    assert await raised_by_await(loop.sock_recvfrom(connection, 1)) == support.masked(text)
    assert await raised_by_await(loop.sock_recvfrom_into(connection, bytearray(1))) == support.masked(text)
    transport.close()
    await turns(3)
