"""loop.sendfile and loop.sock_sendfile: by the kernel where it can, by reading and writing elsewhere."""

import asyncio
import contextlib
import errno
import io
import os
import socket

import pytest

from .. import support
from . import peers
from .peers import SMALL, Peer, Recorder, turns

SIZE = 700_000
DATA = peers.payload(SIZE)
RANGES = (
    (0, None, DATA),
    (1000, None, DATA[1000:]),
    (0, 5000, DATA[:5000]),
    (1234, 300_000, DATA[1234:301_234]),
    (SIZE - 10, 100, DATA[-10:]),
    (SIZE, None, b""),
    (SIZE + 10, None, b""),
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with open(path, "rb") as file:
        yield file


@pytest.fixture
def pair(loop, family):
    ours, theirs = peers.socket_pair(family, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    with ours, Peer(theirs) as peer:
        yield ours, peer


@pytest.fixture
def connect_small(connect):
    return lambda factory: connect(factory, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)


class Unmapped(io.BytesIO):
    """A file that has no descriptor."""


# ---- sock_sendfile ----


@pytest.mark.parametrize("offset, count, expected", RANGES)
@pytest.mark.parametrize("kernel", (True, False), ids=("kernel", "fallback"))
async def test_sock_sendfile(loop, pair, file, kernel, offset, count, expected):
    sock, peer = pair
    if not kernel:
        file = Unmapped(DATA)
    reading = asyncio.ensure_future(peer.read(len(expected)))
    assert await loop.sock_sendfile(sock, file, offset, count) == len(expected)
    assert peers.digest(await reading) == peers.digest(expected)
    if expected:
        assert file.tell() == offset + len(expected)


async def test_sock_sendfile_of_an_empty_file(loop, pair, tmp_path):
    sock, peer = pair
    (tmp_path / "empty").touch()
    with open(tmp_path / "empty", "rb") as file:
        assert await loop.sock_sendfile(sock, file) == 0


async def test_sock_sendfile_without_fallback(loop, pair, file):
    sock, peer = pair
    reading = asyncio.ensure_future(peer.read(SIZE))
    assert await loop.sock_sendfile(sock, file, fallback=False) == SIZE
    assert peers.digest(await reading) == peers.digest(DATA)
    with pytest.raises(asyncio.SendfileNotAvailableError) as caught:
        await loop.sock_sendfile(sock, Unmapped(DATA), fallback=False)
    assert str(caught.value) == "not a regular file"
    assert isinstance(caught.value, RuntimeError)


async def test_sock_sendfile_wrong_arguments(loop, pair, file, tmp_path):
    sock, peer = pair
    for arguments, error, text in (
        ((file, "x"), TypeError, "offset must be a non-negative integer (got 'x')"),
        ((file, -1), ValueError, "offset must be a non-negative integer (got -1)"),
        ((file, 0, "x"), TypeError, "count must be a positive integer (got 'x')"),
        ((file, 0, 0), ValueError, "count must be a positive integer (got 0)"),
        ((file, 0, -5), ValueError, "count must be a positive integer (got -5)"),
    ):
        with pytest.raises(error) as caught:
            await loop.sock_sendfile(sock, *arguments)
        assert str(caught.value) == text
    with open(tmp_path / "file") as text_file:
        with pytest.raises(ValueError) as caught:
            await loop.sock_sendfile(sock, text_file)
        assert str(caught.value) == "file should be opened in binary mode"
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        with pytest.raises(ValueError) as caught:
            await loop.sock_sendfile(udp, file)
        assert str(caught.value) == "only SOCK_STREAM type sockets are supported"


async def test_sock_sendfile_with_a_blocking_socket_in_debug_mode(loop, pair, file):
    sock, peer = pair
    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    sock.setblocking(True)
    with pytest.raises(ValueError) as caught:
        await loop.sock_sendfile(sock, file)
    assert str(caught.value) == "the socket must be non-blocking"


async def test_cancelled_sock_sendfile(loop, pair, file):
    """The socket can be used again, and the file's position tells how much was sent."""
    sock, peer = pair
    sending = asyncio.ensure_future(loop.sock_sendfile(sock, file))
    await turns(5)
    assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await turns(2)
    assert loop.remove_writer(sock) is False
    sock.shutdown(socket.SHUT_WR)
    received = await peer.read_all()
    assert 0 < len(received) < SIZE
    assert DATA.startswith(received)


async def test_sock_sendfile_that_cannot_wait_any_longer(loop, impl, pair, file):
    """The socket cannot be watched once more: the error is the coroutine's, which asyncio leaves waiting."""
    if not impl.native_loop:
        pytest.skip("asyncio's coroutine never ends")
    sock, peer = pair
    add_writer, watched, received = loop.add_writer, [], bytearray()

    def add_twice(fd, *args):
        watched.append(fd)
        if len(watched) > 2:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        # Full now: as much as is read makes room, and is less than the file.
        loop.call_soon(lambda: received.extend(peer.sock.recv(1 << 18)))
        return add_writer(fd, *args)

    loop.add_writer = add_twice
    with pytest.raises(OSError, match="Cannot allocate memory"):
        await loop.sock_sendfile(sock, file, fallback=False)
    assert len(watched) == 3
    assert not loop.remove_writer(sock)
    sock.shutdown(socket.SHUT_WR)
    assert DATA.startswith(received + await peer.read_all())


async def test_sock_sendfile_to_a_peer_that_leaves(loop, pair, file):
    sock, peer = pair
    sending = asyncio.ensure_future(loop.sock_sendfile(sock, file))
    await turns(5)
    assert not sending.done()
    if sock.family == socket.AF_INET:
        peer.reset()
    else:
        peer.close()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await sending
    assert file.tell() > 0


# ---- sendfile ----


@pytest.mark.parametrize("offset, count, expected", RANGES)
@pytest.mark.parametrize("kernel", (True, False), ids=("kernel", "fallback"))
async def test_sendfile(loop, impl, connect_small, file, kernel, offset, count, expected):
    if not kernel and support.PY312 and not impl.native_transports:
        pytest.skip("asyncio's fallback reuses its buffer, of which its transports keep views since 3.12")
    transport, protocol, peer = await connect_small(Recorder)
    if not kernel:
        file = Unmapped(DATA)
    reading = asyncio.ensure_future(peer.read(len(expected)))
    assert await loop.sendfile(transport, file, offset, count) == len(expected)
    assert peers.digest(await reading) == peers.digest(expected)
    if expected:
        assert file.tell() == offset + len(expected)
    # The transport is what it was.
    assert transport.get_protocol() is protocol
    assert transport.is_reading()
    transport.write(b"after")
    assert await peer.read(5) == b"after"
    peer.send(b"x")
    await protocol.bytes(1)
    transport.close()
    await protocol.lost()


async def test_sendfile_comes_behind_what_was_written(loop, connect_small, file):
    transport, protocol, peer = await connect_small(Recorder)
    head = peers.payload(200_000, 2)
    transport.write(head)
    sending = asyncio.ensure_future(loop.sendfile(transport, file))
    assert peers.digest(await peer.read(len(head) + SIZE)) == peers.digest(head + DATA)
    assert await sending == SIZE
    transport.close()
    await protocol.lost()


async def test_write_while_sendfile_runs(loop, connect_small, file):
    transport, protocol, peer = await connect_small(Recorder)
    sending = asyncio.ensure_future(loop.sendfile(transport, file))
    await turns(5)
    with pytest.raises(RuntimeError) as caught:
        transport.write(b"x")
    assert str(caught.value) == "unable to write; sendfile is in progress"
    with pytest.raises(RuntimeError, match="sendfile is in progress"):
        transport.writelines([b"x"])
    await peer.read(SIZE)
    await sending
    transport.close()
    await protocol.lost()


async def test_reading_is_paused_meanwhile(loop, connect_small, file):
    transport, protocol, peer = await connect_small(Recorder)
    sending = asyncio.ensure_future(loop.sendfile(transport, file))
    await turns(5)
    assert not transport.is_reading()
    peer.send(b"x")
    await turns(10)
    assert protocol.received == b""
    await peer.read(SIZE)
    await sending
    await protocol.bytes(1)
    transport.close()
    await protocol.lost()


async def test_paused_reading_stays_paused(loop, connect_small, file):
    transport, protocol, peer = await connect_small(Recorder)
    transport.pause_reading()
    reading = asyncio.ensure_future(peer.read(SIZE))
    await loop.sendfile(transport, file)
    await reading
    assert not transport.is_reading()
    transport.close()
    await protocol.lost()


async def test_sendfile_without_fallback(loop, connect_small, file):
    transport, protocol, peer = await connect_small(Recorder)
    reading = asyncio.ensure_future(peer.read(SIZE))
    assert await loop.sendfile(transport, file, fallback=False) == SIZE
    await reading
    with pytest.raises(asyncio.SendfileNotAvailableError):
        await loop.sendfile(transport, Unmapped(DATA), fallback=False)
    transport.close()
    await protocol.lost()


async def test_sendfile_on_a_closing_transport(loop, connect_small, file):
    transport, protocol, peer = await connect_small(Recorder)
    transport.close()
    with pytest.raises(RuntimeError) as caught:
        await loop.sendfile(transport, file)
    assert str(caught.value) == "Transport is closing"
    await protocol.lost()


async def test_sendfile_on_something_else(loop, file):
    transport, protocol = await loop.create_datagram_endpoint(
        peers.DatagramRecorder, local_addr=("127.0.0.1", 0)
    )
    with pytest.raises(RuntimeError) as caught:
        await loop.sendfile(transport, file)
    assert str(caught.value) == f"sendfile is not supported for transport {transport!r}"
    transport.close()
    await protocol.lost()


@pytest.mark.parametrize("kernel", (True, False), ids=("kernel", "fallback"))
async def test_peer_leaves_while_sendfile_runs(loop, connect_small, file, kernel, logged):
    transport, protocol, peer = await connect_small(Recorder)
    sending = asyncio.ensure_future(loop.sendfile(transport, file if kernel else Unmapped(DATA)))
    await turns(5)
    if peer.sock.family == socket.AF_INET:
        peer.reset()
    else:
        peer.close()
    with pytest.raises(ConnectionError):
        await sending
    transport.abort()
    await protocol.until(lambda: "lost" in protocol.events)
    logged.clear()


async def test_transport_aborted_before_sendfile_starts(loop, connect_small, file):
    """It waits for the buffer to empty; the connection ends instead."""
    transport, protocol, peer = await connect_small(Recorder)
    transport.write(bytes(300_000))
    sending = asyncio.ensure_future(loop.sendfile(transport, file))
    await turns(3)
    transport.abort()
    with pytest.raises(ConnectionError) as caught:
        await sending
    assert str(caught.value) == "Connection is closed by peer"
    await turns()
    assert protocol.events[-1] == "lost"


@pytest.mark.parametrize("end", ("abort", "close"))
async def test_transport_that_ends_while_sendfile_runs(loop, impl, connect_small, family, file, reports, end):
    """Nothing waits any more for the number of its socket, which the next connection has."""
    if not impl.native_loop:
        pytest.skip(
            "asyncio's loop fails to watch the next socket of this number, or goes on with the first file"
        )
    transport, protocol, peer = await connect_small(Recorder)
    number = transport.get_extra_info("socket").fileno()
    sending = asyncio.ensure_future(loop.sendfile(transport, file))
    await turns(5)
    getattr(transport, end)()
    assert await protocol.lost() is None
    await turns(1)
    # asyncio tells the one who waited for the buffer to empty, which it did before.
    assert type(reports.pop()["exception"]) is asyncio.InvalidStateError
    ours, theirs = peers.socket_pair(family)
    with theirs:
        if ours.fileno() != number:
            os.dup2(ours.fileno(), number)
            ours.close()
            ours = socket.socket(fileno=number)
        ours.setblocking(False)
        following, second = await loop.create_connection(Recorder, sock=ours)
        await turns(5)
        assert repr(following).endswith("read=polling write=<idle, bufsize=0>>")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        theirs.sendall(b"x")
        await second.bytes(1)
        following.close()
        assert await second.lost() is None


@pytest.mark.over_tls
async def test_sendfile_over_tls(loop, file):
    """There is only the fallback."""
    received = Recorder()
    server = await loop.create_server(lambda: received, "127.0.0.1", 0, ssl=peers.server_context())
    address = server.sockets[0].getsockname()
    transport, protocol = await peers.connect_tls(loop, address, peers.client_context())
    with pytest.raises(RuntimeError, match="fallback is disabled and native sendfile is not supported"):
        await loop.sendfile(transport, file, fallback=False)
    assert await loop.sendfile(transport, file) == SIZE
    assert peers.digest(await received.bytes(SIZE)) == peers.digest(DATA)
    transport.close()
    await protocol.lost()
    await received.lost()
    server.close()
    with contextlib.suppress(asyncio.CancelledError):
        await server.wait_closed()
