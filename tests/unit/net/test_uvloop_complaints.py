"""What users of uvloop have reported for years, a test for each kind: none of it happens here."""

import asyncio
import fcntl
import functools
import os
import signal
import socket
import ssl
import sys

import pytest

from .. import support
from . import peers
from .peers import Recorder, turns


def take_number(number):
    """Open something on a descriptor's number, which must be free; return what identifies it."""
    fd = os.open("/dev/null", os.O_RDONLY)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    return os.fstat(number)


def still_open(number, stat):
    """Whether the descriptor is what take_number() has opened; closes it."""
    same = os.path.samestat(os.fstat(number), stat)
    os.close(number)
    return same


def descriptors():
    """The numbers of the open descriptors."""
    return set(peers.open_descriptors())


def flags(sock):
    return fcntl.fcntl(sock, fcntl.F_GETFL)


# ---- Descriptors ----


async def test_cancelled_connect_closes_its_descriptor_once(loop):
    """The number of its socket may be somebody else's as soon as the cancellation is through."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second, socket.socket() as third:
            for sock in (second, third):  # the backlog is full: nobody accepts
                sock.setblocking(False)
                sock.connect_ex(address)
            before = descriptors()
            connecting = loop.create_task(loop.create_connection(Recorder, *address))
            while not descriptors() - before:
                await asyncio.sleep(0)
            (number,) = descriptors() - before
            await turns(3)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            stat = take_number(number)
            del connecting
            support.collect()
            await turns(5)
            assert still_open(number, stat)


@pytest.mark.parametrize("when", ["before", "after"])
def test_accept_that_is_interrupted_closes_its_descriptor_once(impl, loop, when):
    """A signal's handler may raise while the socket object is made: it has got the descriptor by then, or has not."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.connect(listener.getsockname())
        before = descriptors()

        def interrupting(frame, event, arg):
            if frame.f_code is socket.socket.__init__.__code__:
                if event == ("return" if when == "after" else "call"):
                    raise ZeroDivisionError
                return interrupting

        with support.recorded_warnings():
            tracing = sys.gettrace()
            sys.settrace(interrupting)
            try:
                loop.run_until_complete(loop.sock_accept(listener))
                raise AssertionError("was not interrupted")
            except ZeroDivisionError as error:
                # As another thread may do, before what has raised lets go of the object.
                taken = {os.open(os.devnull, os.O_RDONLY) for _ in range(3)}
                del error
            finally:
                sys.settrace(tracing)
            support.collect()
        assert descriptors() >= before | taken
        left = descriptors() - before - taken
        for fd in taken | left:
            os.close(fd)
        if impl.native_loop:
            assert not left  # asyncio leaves open what has no object yet


async def test_closed_transport_does_not_close_again(connect):
    transport, protocol, peer = await connect(Recorder)
    number = transport.get_extra_info("socket").fileno()
    transport.close()
    await turns()
    stat = take_number(number)
    transport.close()
    transport.abort()
    del transport, protocol
    support.collect()
    await turns()
    assert still_open(number, stat)


async def test_socket_of_a_closed_transport_is_closed(loop):
    """The socket object that was given knows that its descriptor is gone, and closes nobody else's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    number = ours.fileno()
    with theirs:
        transport, _ = await loop.create_connection(Recorder, sock=ours)
        transport.abort()
        await turns()
        assert ours.fileno() == -1
        stat = take_number(number)
        ours.close()
        del ours, transport, _
        support.collect()
        assert still_open(number, stat)


@pytest.mark.parametrize("reading", [True, False], ids=["read", "write"])
async def test_pipe_is_closed_once(loop, reading):
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as reader, open(write_end, "wb", 0) as writer:
        ours, theirs = (reader, writer) if reading else (writer, reader)
        number = ours.fileno()
        connect = loop.connect_read_pipe if reading else loop.connect_write_pipe
        transport, _ = await connect(Recorder, ours)
        theirs.close()
        await turns(5)
        transport.close()
        await turns()
        stat = take_number(number)
        transport.close()
        ours.close()
        del transport, _
        support.collect()
        assert still_open(number, stat)


async def test_readers_leave_the_blocking_mode_alone(loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = flags(ours)
        loop.add_reader(ours, int)
        loop.add_writer(ours, int)
        await turns()
        assert flags(ours) == before
        loop.remove_reader(ours)
        loop.remove_writer(ours)
        assert flags(ours) == before
        assert ours.gettimeout() is None


# ---- Transports ----


@pytest.mark.parametrize("factory", [Recorder, peers.BufferedRecorder])
async def test_socket_that_was_made_to_block_does_not_block(impl, loop, factory):
    """The blocking mode belongs to the open file, which a child process may share and change."""
    if not impl.native_loop:
        pytest.skip("asyncio's transport blocks")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        transport, protocol = await loop.create_connection(factory, sock=ours)
        os.set_blocking(ours.fileno(), True)
        transport._read_ready()  # as after an event for what is no longer there
        data = os.urandom(1 << 20)
        transport.write(data)
        received = b""
        while len(received) < len(data):
            received += await loop.sock_recv(theirs, 1 << 20)
        assert received == data
        await loop.sock_sendall(theirs, b"x")
        await turns(3)
        transport.close()
        await turns(3)


@pytest.mark.whole_calls
async def test_write_after_close_raises_nothing(connect):
    transport, _, peer = await connect(Recorder)
    transport.write(b"before")
    transport.close()
    for _ in range(3):
        transport.write(b"after")
        await turns(1)
    assert await peer.read_all() == b"before"


async def test_write_after_the_peer_has_gone_raises_nothing(connect):
    transport, protocol, peer = await connect(Recorder)
    peer.close()
    for _ in range(4):
        transport.write(b"x")
        await turns(1)
    transport.close()
    await protocol.lost()


@pytest.mark.parametrize("end", ["close", "abort", "peer closes", "peer resets"])
@pytest.mark.parametrize("paused", [False, True], ids=["reading", "paused"])
@pytest.mark.parametrize("pending", [False, True], ids=["idle", "writing"])
async def test_connection_lost_is_called_once(connect, family, end, paused, pending):
    if end == "peer resets" and family == "unix":
        pytest.skip("Unix sockets know no reset")
    transport, protocol, peer = await connect(Recorder)
    if paused:
        transport.pause_reading()
    if pending:
        transport.write(bytes(8_000_000))
        await turns()
    if end.startswith("peer"):
        peer.reset() if end == "peer resets" else peer.close()
        if paused and not pending:
            # Who does not read cannot know; the end is seen as soon as reading goes on.
            transport.resume_reading()
    else:
        getattr(transport, end)()
        if end == "close" and pending:
            await peer.read_all()
    await protocol.lost()
    await turns(5)
    assert protocol.events.count("lost") == 1


def shake_hands(tls, incoming, outgoing, peer):
    """The other end's side of a handshake, up to the last message, which is left in `outgoing`."""
    while True:
        try:
            tls.do_handshake()
            return
        except ssl.SSLWantReadError:
            peer.sendall(outgoing.read())
            incoming.write(peer.recv(1 << 16))


@pytest.mark.over_tls
@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
async def test_no_bytes_are_lost_at_start_tls(connect, loop, server_side):
    """The other end's last handshake message and its first data come in one packet."""
    transport, protocol, peer = await connect(Recorder)
    server_context = peers.new_server_context()
    client_context = peers.new_client_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    if server_side:
        tls = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        ours = {"sslcontext": server_context, "server_side": True}
    else:
        # From TLS 1.3 on the last message of a handshake is the client's.
        client_context.maximum_version = ssl.TLSVersion.TLSv1_2
        tls = server_context.wrap_bio(incoming, outgoing, server_side=True)
        ours = {"sslcontext": client_context, "server_hostname": "localhost"}

    def other_end():
        shake_hands(tls, incoming, outgoing, peer.sock)
        tls.write(b"at once")
        peer.sock.sendall(outgoing.read())

    upgrading = loop.create_task(loop.start_tls(transport, protocol, **ours))
    await peers.in_thread(other_end)
    upgraded = await upgrading
    assert await protocol.bytes(7) == b"at once"
    upgraded.abort()
    await turns()


# ---- Timers, signals, processes ----


def test_call_later_of_nothing_gives_a_timer_handle(loop):
    for delay in (0, -1, 0.0):
        before = loop.time()
        handle = loop.call_later(delay, int)
        assert isinstance(handle, asyncio.TimerHandle)
        assert before + delay <= handle.when() <= loop.time() + delay
        handle.cancel()


def test_timer_is_never_early(loop):
    early = []

    def fire(deadline):
        if loop.time() < deadline:
            early.append(deadline)

    start = loop.time()
    for n in range(200):
        deadline = start + n * 0.000137
        loop.call_at(deadline, fire, deadline)
    loop.call_at(start + 0.03, loop.stop)
    loop.run_forever()
    assert early == []


def test_keyboard_interrupt_in_a_protocol_leaves_the_loop(loop):
    def interrupt(self, data):
        signal.raise_signal(signal.SIGINT)

    ours, theirs = peers.socket_pair("unix")
    with theirs:
        transport, _ = loop.run_until_complete(
            loop.create_connection(lambda: Recorder(data=interrupt), sock=ours)
        )
        theirs.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        transport.abort()
        support.run_once(loop, 3)


forks = []


@functools.cache
def count_forks():
    """A hook cannot be removed, so there is one for all tests."""
    os.register_at_fork(before=lambda: forks.append("before"), after_in_parent=lambda: forks.append("after"))


async def test_subprocess_runs_no_at_fork_hooks(loop):
    count_forks()
    forks.clear()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    assert forks == []
