"""Datagram transports: UDP and Unix datagrams, connected or not."""

import asyncio
import contextlib
import errno
import os
import re
import socket
from asyncio import trsock

import pytest

from .. import marks, support
from . import peers
from .peers import DatagramRecorder, in_thread, turns

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def peer():
    """A blocking UDP socket on the loopback address."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(peers.GUARD_SECONDS)
        sock.bind(LOCAL)
        yield sock


@pytest.fixture
def unix_pair(loop, tmp_path):
    """`await unix_pair()` returns `(transport, protocol, sock)`: connected Unix datagram sockets, which know back pressure.

    They have names: asyncio takes a peer without a name for none.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:

        async def unix_pair(factory=DatagramRecorder):
            local, remote = str(tmp_path / "ours"), str(tmp_path / "theirs")
            theirs.bind(remote)
            theirs.setblocking(False)
            transport, protocol = await loop.create_datagram_endpoint(
                factory, local_addr=local, remote_addr=remote, family=socket.AF_UNIX
            )
            theirs.connect(local)
            return transport, protocol, theirs

        yield unix_pair


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


def name(transport):
    return transport.get_extra_info("sockname")


# ---- Not connected ----


async def test_datagrams(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    assert protocol.events == ["made"]
    assert transport.get_extra_info("peername") is None
    transport.sendto(b"question", peer.getsockname())
    assert await in_thread(peer.recvfrom, 100) == (b"question", name(transport))
    peer.sendto(b"answer", name(transport))
    await protocol.until(lambda: protocol.datagrams)
    assert protocol.datagrams == [(b"answer", peer.getsockname())]
    assert type(protocol.datagrams[0][0]) is bytes
    await finish(transport, protocol)
    assert protocol.events == ["made", "datagram", "lost"]


async def test_many_datagrams_keep_their_borders_and_order(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    sizes = [1, 1000, 10, 9000, 3, 60_000, 5] * 3
    sent = [peers.payload(size, i) for i, size in enumerate(sizes)]
    for i, data in enumerate(sent):
        peer.sendto(data, name(transport))
        await protocol.until(lambda: len(protocol.datagrams) > i)
    assert [peers.digest(data) for data, _ in protocol.datagrams] == [peers.digest(data) for data in sent]
    for data in sent:
        transport.sendto(data, peer.getsockname())
        assert peers.digest(await in_thread(peer.recv, 70_000)) == peers.digest(data)
    await finish(transport, protocol)


async def test_a_burst(loop, peer):
    """Datagrams that lie in the socket before the loop looks, more than one read takes."""
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    for i in range(100):
        peer.sendto(b"%d" % i, name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 100)
    assert [data for data, _ in protocol.datagrams] == [b"%d" % i for i in range(100)]
    await finish(transport, protocol)


async def test_empty_datagrams_are_received(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    peer.sendto(b"", name(transport))
    peer.sendto(b"x", name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 2)
    assert [data for data, _ in protocol.datagrams] == [b"", b"x"]
    await finish(transport, protocol)


async def test_empty_datagrams_are_sent(loop, peer):
    """Since Python 3.13; before, nothing is sent."""
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    transport.sendto(b"", peer.getsockname())
    transport.sendto(b"x", peer.getsockname())
    received = [await in_thread(peer.recv, 100)]
    if support.PY313:
        received.append(await in_thread(peer.recv, 100))
        assert received == [b"", b"x"]
    else:
        assert received == [b"x"]
    await finish(transport, protocol)


async def test_answer_in_datagram_received(loop, peer):
    """An echo server."""

    def echo(self, data, address):
        self.transport.sendto(data, address)

    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DatagramRecorder(datagram=echo), local_addr=LOCAL
    )

    def ask():
        for i in range(50):
            peer.sendto(b"%d" % i, name(transport))
            assert peer.recv(100) == b"%d" % i

    await in_thread(ask)
    await finish(transport, protocol)


# ---- Connected ----


async def test_connected(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, remote_addr=peer.getsockname()
    )
    assert transport.get_extra_info("peername") == peer.getsockname()
    transport.sendto(b"one")
    transport.sendto(b"two", None)
    transport.sendto(b"three", peer.getsockname())
    assert [await in_thread(peer.recv, 100) for _ in range(3)] == [b"one", b"two", b"three"]
    with pytest.raises(ValueError) as caught:
        transport.sendto(b"x", ("127.0.0.1", 1))
    assert str(caught.value) == f"Invalid address: must be None or {peer.getsockname()}"
    peer.sendto(b"answer", name(transport))
    await protocol.until(lambda: protocol.datagrams)
    assert protocol.datagrams == [(b"answer", peer.getsockname())]
    await finish(transport, protocol)


async def test_connected_hears_only_its_peer(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=LOCAL, remote_addr=peer.getsockname()
    )
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"stranger", name(transport))
    peer.sendto(b"peer", name(transport))
    await protocol.until(lambda: protocol.datagrams)
    assert protocol.datagrams == [(b"peer", peer.getsockname())]
    await finish(transport, protocol)


async def test_refused(loop, peer):
    """The answer of a host that nobody listens there reaches error_received, and the transport stays open."""
    address = peer.getsockname()
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, remote_addr=address)
    peer.close()
    transport.sendto(b"x")
    await protocol.until(lambda: protocol.errors)
    assert type(protocol.errors[0]) is ConnectionRefusedError
    assert transport.is_closing() is False
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(address)
        again.settimeout(peers.GUARD_SECONDS)
        transport.sendto(b"y")
        assert await in_thread(again.recv, 100) == b"y"
    await finish(transport, protocol)


# ---- Errors of sendto ----


async def test_datagram_that_is_too_long(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    transport.sendto(bytes(70_000), peer.getsockname())
    await protocol.until(lambda: protocol.errors)
    assert protocol.errors[0].errno == errno.EMSGSIZE
    transport.sendto(b"x", peer.getsockname())
    assert await in_thread(peer.recv, 100) == b"x"
    await finish(transport, protocol)


@pytest.mark.parametrize("wrong", ("text", None, 5), ids=lambda wrong: type(wrong).__name__)
async def test_wrong_data(loop, peer, wrong):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    with pytest.raises(TypeError) as caught:
        transport.sendto(wrong, peer.getsockname())
    assert str(caught.value) == f"data argument must be a bytes-like object, not {type(wrong).__name__!r}"
    await finish(transport, protocol)


async def test_address_that_is_none(loop, reports):
    """A fatal error, with or without a report: what the socket raises is no OSError."""
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    transport.sendto(b"x", 5)
    assert type(await protocol.lost()) is TypeError
    context = reports.pop()
    assert context["message"] == "Fatal write error on datagram transport"
    assert set(context) == {"message", "exception", "transport", "protocol"}


@pytest.mark.parametrize("kind", (bytes, bytearray, memoryview))
async def test_kinds_of_bytes(unix_pair, kind):
    """What is queued is a copy."""
    transport, protocol, sock = await unix_pair()
    data = bytearray(b"before")
    sent = 0
    while transport.get_write_buffer_size() == 0:
        transport.sendto(kind(data))
        sent += 1
        await turns(1)
    data[:] = b"after!"
    for _ in range(sent):
        while True:
            try:
                received = sock.recv(100)
                break
            except BlockingIOError:
                await turns(1)
        assert received == b"before"
    await finish(transport, protocol)


# ---- Flow control ----


async def fill(transport, protocol, data=b"x" * 1000):
    """Send until the protocol is told to pause; return how many datagrams were sent."""
    count = 0
    while "pause" not in protocol.events:
        transport.sendto(data)
        count += 1
        assert count < 100_000
    return count


async def drain(sock, count):
    received = 0
    while received < count:
        try:
            assert sock.recv(2000) == b"x" * 1000
            received += 1
        except BlockingIOError:
            await turns(1)


@pytest.mark.whole_calls
async def test_pause_and_resume_writing(unix_pair):
    transport, protocol, sock = await unix_pair()
    count = await fill(transport, protocol)
    await turns(5)
    assert protocol.events == ["made", "pause"]
    assert transport.get_write_buffer_size() > 64 * 1024
    await drain(sock, count)
    await protocol.until(lambda: "resume" in protocol.events)
    assert transport.get_write_buffer_size() <= 16 * 1024
    await finish(transport, protocol)
    assert protocol.events == ["made", "pause", "resume", "lost"]


async def test_limits(unix_pair):
    transport, protocol, sock = await unix_pair()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=5000)
    assert transport.get_write_buffer_limits() == (1250, 5000)
    count = await fill(transport, protocol)
    await turns(3)
    before = transport.get_write_buffer_size()
    transport.sendto(b"x" * 1000)
    header = 8 if support.PY313 else 0
    assert transport.get_write_buffer_size() - before == 1000 + header
    await drain(sock, count + 1)
    await protocol.until(lambda: "resume" in protocol.events)
    transport.set_write_buffer_limits(high=1e6)
    assert transport.get_write_buffer_limits() == (250_000, 1_000_000)
    await finish(transport, protocol)


async def test_close_flushes(unix_pair):
    transport, protocol, sock = await unix_pair()
    count = await fill(transport, protocol)
    transport.close()
    await turns(5)
    assert "lost" not in protocol.events
    await drain(sock, count)
    assert await protocol.lost() is None


async def test_abort_drops_what_is_pending(unix_pair):
    transport, protocol, sock = await unix_pair()
    count = await fill(transport, protocol)
    transport.abort()
    assert await protocol.lost() is None
    received = 0
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while sock.recv(2000):
            received += 1
    assert received < count


@marks.not_early
async def test_pause_reading(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    assert transport.is_reading() is True
    transport.pause_reading()
    assert transport.is_reading() is False
    peer.sendto(b"x", name(transport))
    await turns(10)
    assert protocol.datagrams == []
    transport.resume_reading()
    await protocol.until(lambda: protocol.datagrams)
    await finish(transport, protocol)


# ---- The end ----


@pytest.mark.parametrize("end", ("close", "abort"))
async def test_end(loop, end):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    assert transport.is_closing() is False
    getattr(transport, end)()
    assert transport.is_closing() is True
    assert protocol.events == ["made"]
    transport.close()
    transport.abort()
    assert await protocol.lost() is None
    await turns()
    assert protocol.events == ["made", "lost"]


@pytest.mark.parametrize("end", ("close", "abort"))
@pytest.mark.parametrize("callback", ("made", "datagram"))
async def test_end_in_callbacks(loop, peer, callback, end):
    def ending(self, *args):
        getattr(self.transport, end)()

    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DatagramRecorder(**{callback: ending}), local_addr=LOCAL
    )
    if callback == "datagram":
        for _ in range(3):
            peer.sendto(b"x", name(transport))
    assert await protocol.lost() is None
    await turns()
    assert protocol.events == (["made", "datagram", "lost"] if callback == "datagram" else ["made", "lost"])


async def test_end_in_error_received(loop, peer):
    address = peer.getsockname()
    peer.close()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DatagramRecorder(error=lambda self, exc: self.transport.close()), remote_addr=address
    )
    transport.sendto(b"x")
    assert await protocol.lost() is None
    assert protocol.events == ["made", "error", "lost"]


async def test_sendto_after_close(loop, peer, logged):
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, remote_addr=peer.getsockname()
    )
    transport.close()
    for _ in range(6):
        transport.sendto(b"x")
    assert logged == ["socket.send() raised exception."] * 2
    logged.clear()
    await protocol.lost()
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(10)


async def test_exception_in_datagram_received(loop, peer, reports):
    """It is reported, and the transport goes on."""

    def fail(self, data, address):
        if data == b"bad":
            raise LookupError("datagram")

    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DatagramRecorder(datagram=fail), local_addr=LOCAL
    )
    peer.sendto(b"bad", name(transport))
    peer.sendto(b"good", name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 2)
    context = reports.pop()
    assert type(context["exception"]) is LookupError
    assert transport.is_closing() is False
    await finish(transport, protocol)


@marks.not_early
async def test_unclosed_transport_warns(loop):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    await turns()
    transport.pause_reading()
    protocol.transport = None
    with support.recorded_warnings() as warned:
        del transport
        support.collect()
    assert [text for kind, text in warned if kind == "ResourceWarning" and "unclosed transport" in text]


# ---- What it tells ----


async def test_information(loop, impl):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    if support.PY312 or impl.native_transports:
        assert isinstance(transport, asyncio.DatagramTransport)
    assert isinstance(transport, asyncio.BaseTransport)
    sock = transport.get_extra_info("socket")
    assert type(sock) is trsock.TransportSocket
    assert sock.type == socket.SOCK_DGRAM
    assert sock.getsockname() == name(transport)
    assert transport.get_protocol() is protocol
    assert f"fd={sock.fileno()}" in repr(transport)
    with pytest.raises(RuntimeError, match="is used by transport"):
        loop.add_reader(sock.fileno(), print)
    await finish(transport, protocol)
    assert "closed" in repr(transport)


async def test_set_protocol(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    second = DatagramRecorder()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    peer.sendto(b"x", name(transport))
    await second.until(lambda: second.datagrams)
    transport.close()
    await second.lost()
    assert protocol.events == ["made"]


# ---- create_datagram_endpoint ----


async def test_own_socket(loop, peer):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
    assert sock.gettimeout() == 0
    transport.sendto(b"x", peer.getsockname())
    assert await in_thread(peer.recv, 10) == b"x"
    await finish(transport, protocol)
    assert sock.fileno() == -1


async def test_own_connected_socket(loop, peer):
    """Connected by its owner: datagrams go without an address."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.connect(peer.getsockname())
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
    transport.sendto(b"x")
    assert await in_thread(peer.recv, 10) == b"x"
    await finish(transport, protocol)


async def test_reuse_port(loop):
    first, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL, reuse_port=True)
    second, other = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=name(first), reuse_port=True
    )
    assert name(first) == name(second)
    await finish(first, protocol)
    await finish(second, other)


async def test_broadcast(loop):
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=LOCAL, allow_broadcast=True
    )
    assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) != 0
    await finish(transport, protocol)


async def test_family_alone(loop, peer):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, family=socket.AF_INET)
    transport.sendto(b"x", peer.getsockname())
    assert await in_thread(peer.recv, 10) == b"x"
    await finish(transport, protocol)


async def test_ipv6(loop):
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("::1", 0))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.sendto(b"x", name(transport))
        await protocol.until(lambda: protocol.datagrams)
        assert protocol.datagrams == [(b"x", sock.getsockname())]
    await finish(transport, protocol)


async def test_address_in_use(loop, peer):
    with pytest.raises(OSError) as caught:
        await loop.create_datagram_endpoint(DatagramRecorder, local_addr=peer.getsockname())
    assert caught.value.errno == errno.EADDRINUSE


async def test_wrong_arguments(loop):
    with pytest.raises(ValueError) as caught:
        await loop.create_datagram_endpoint(DatagramRecorder)
    assert str(caught.value) == "unexpected address family"
    with pytest.raises(TypeError) as caught:
        await loop.create_datagram_endpoint(DatagramRecorder, local_addr="127.0.0.1")
    assert str(caught.value) == "2-tuple is expected"
    with socket.socket() as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
        # The wording changed within Python 3.12.
        assert re.match("A (UDP Socket|datagram socket) was expected, got <socket", str(caught.value))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError) as caught:
            await loop.create_datagram_endpoint(DatagramRecorder, sock=sock, reuse_port=True)
        assert str(caught.value) == (
            "socket modifier keyword arguments can not be used when sock is specified. (reuse_port=True)"
        )


# ---- Unix datagrams ----


async def test_unix_paths(loop, tmp_path):
    path = str(tmp_path / "socket")
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=path, family=socket.AF_UNIX
    )
    assert name(transport) == path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        own = str(tmp_path / "own")
        sock.bind(own)
        sock.settimeout(peers.GUARD_SECONDS)
        sock.sendto(b"question", path)
        await protocol.until(lambda: protocol.datagrams)
        assert protocol.datagrams == [(b"question", own)]
        transport.sendto(b"answer", own)
        assert await in_thread(sock.recvfrom, 100) == (b"answer", path)
    transport.sendto(b"nobody", str(tmp_path / "absent"))
    await protocol.until(lambda: protocol.errors)
    assert type(protocol.errors[0]) is FileNotFoundError
    await finish(transport, protocol)


@pytest.mark.whole_calls
async def test_unix_pair(unix_pair):
    transport, protocol, sock = await unix_pair()
    transport.sendto(b"x")
    await turns(2)
    assert sock.recv(10) == b"x"
    sock.send(b"y")
    await protocol.until(lambda: protocol.datagrams)
    assert protocol.datagrams == [(b"y", sock.getsockname())]
    await finish(transport, protocol)


async def test_unix_abstract(loop):
    address = f"\0asyncio_c-test-{os.getpid()}-datagram"
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=address, family=socket.AF_UNIX
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", address)
        await protocol.until(lambda: protocol.datagrams)
    await finish(transport, protocol)
