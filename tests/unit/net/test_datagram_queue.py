"""Datagrams that wait for room, and the end of datagram transports."""

import asyncio
import contextlib
import gc
import socket
import weakref

import pytest

from .. import support
from .peers import DatagramRecorder, in_thread, turns


def name(transport):
    return transport.get_extra_info("sockname")


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


# ---- The queue ----


@pytest.fixture
def full(unix_datagrams):
    """`await full(**actions)` returns `(transport, protocol, sock)`: a transport with datagrams in its queue."""

    async def full(**actions):
        sock = unix_datagrams.new()
        transport, protocol = await unix_datagrams.endpoint(lambda: DatagramRecorder(**actions))
        while transport.get_write_buffer_size() == 0:
            transport.sendto(b"first", sock.getsockname())
        return transport, protocol, sock

    yield full


async def receive_until(sock, last):
    """Receive up to the datagram `last`, in a thread; return how many came before it."""

    def receive():
        count = 0
        while sock.recv(100_000) != last:
            count += 1
        return count

    return await in_thread(receive)


HEADER = 8 if support.PY313 else 0


async def test_size_of_the_queue(full):
    transport, protocol, sock = await full()
    assert transport.get_write_buffer_size() == 5 + HEADER
    transport.sendto(b"second", sock.getsockname())
    assert transport.get_write_buffer_size() == 11 + 2 * HEADER
    transport.sendto(b"", sock.getsockname())
    assert transport.get_write_buffer_size() == 11 + (3 if HEADER else 2) * HEADER
    transport.abort()
    await protocol.lost()


async def test_size_after_the_queue(full, impl):
    transport, protocol, sock = await full()
    transport.sendto(memoryview(bytes(64)).cast("I"), sock.getsockname())
    transport.sendto(b"end", sock.getsockname())
    await receive_until(sock, b"end")
    await turns()
    if impl.native_transports:
        assert transport.get_write_buffer_size() == 0, "asyncio of some versions miscounts"
    await finish(transport, protocol)


async def test_queue_keeps_the_order_and_the_addresses(full, unix_datagrams):
    transport, protocol, sock = await full()
    other = unix_datagrams.new()
    transport.sendto(b"second", sock.getsockname())
    transport.sendto(b"other", other.getsockname())
    transport.sendto(b"third", sock.getsockname())
    assert await receive_until(sock, b"second") > 0
    assert await receive_until(sock, b"third") == 0
    assert await in_thread(other.recv, 100) == b"other"
    await finish(transport, protocol)


async def test_repr_with_a_queue(full):
    transport, protocol, sock = await full()
    size = transport.get_write_buffer_size()
    assert f"write=<polling, bufsize={size}>" in repr(transport)
    transport.close()
    assert f"closing fd={transport._sock_fd} read=idle write=<polling, bufsize={size}>" in repr(transport)
    transport.abort()
    await protocol.lost()


async def test_error_in_the_queue(full, tmp_path):
    """The protocol is told, and what comes behind it is sent."""
    transport, protocol, sock = await full()
    transport.sendto(b"nobody", str(tmp_path / "absent"))
    transport.sendto(b"end", sock.getsockname())
    assert protocol.errors == []
    await receive_until(sock, b"end")
    assert [type(error) for error in protocol.errors] == [FileNotFoundError]
    await finish(transport, protocol)


async def test_error_at_the_end_of_the_queue(full, tmp_path):
    """A transport that closes ends all the same."""
    transport, protocol, sock = await full()
    transport.sendto(b"nobody", str(tmp_path / "absent"))
    transport.close()
    while not protocol.errors:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.recv(100)
        await turns(1)
    assert await protocol.lost() is None
    assert protocol.events == ["made", "error", "lost"]


async def test_wrong_address_in_the_queue(full, impl, reports):
    transport, protocol, sock = await full()
    transport.sendto(b"x", 5)
    assert reports == []
    while not reports:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.recv(100)
        await turns(1)
    assert reports.pop(0)["message"] == "Fatal write error on datagram transport"
    assert type(await protocol.lost()) is TypeError
    await turns()
    if not impl.native_transports:
        reports.clear()  # asyncio calls its _sendto_ready() once more


async def test_sending_in_resume_writing(full):
    def resumed(self):
        if self.events.count("resume") == 1:
            self.transport.sendto(b"end", sock.getsockname())

    transport, protocol, sock = await full(resume=resumed)
    while "pause" not in protocol.events:
        transport.sendto(bytes(1000), sock.getsockname())
    await receive_until(sock, b"end")
    assert protocol.events == ["made", "pause", "resume"]
    await finish(transport, protocol)


@pytest.mark.parametrize("callback", ("pause", "resume"))
@pytest.mark.parametrize("method", ("close", "abort"))
async def test_end_in_flow_control(full, impl, callback, method):
    if (callback, method) == ("resume", "abort") and not impl.native_transports:
        pytest.skip("asyncio calls connection_lost() a second time, on a socket that is gone")
    transport, protocol, sock = await full(**{callback: lambda self: getattr(self.transport, method)()})
    while callback == "resume" and "pause" not in protocol.events:
        transport.sendto(bytes(1000), sock.getsockname())
    while "pause" not in protocol.events:
        transport.sendto(bytes(1000), sock.getsockname())
    sock.setblocking(False)
    while "lost" not in protocol.events:
        with contextlib.suppress(BlockingIOError):
            sock.recv(2000)
        await turns(1)
    await turns()
    assert protocol.events.count("lost") == 1


@pytest.mark.parametrize("failing", ("pause", "resume"))
async def test_exception_in_flow_control(full, reports, failing):
    def fail(self):
        raise LookupError(failing)

    transport, protocol, sock = await full(**{failing: fail})
    while "pause" not in protocol.events:
        transport.sendto(bytes(1000), sock.getsockname())
    transport.sendto(b"end", sock.getsockname())
    await receive_until(sock, b"end")
    await protocol.until(lambda: "resume" in protocol.events)
    context = reports.pop()
    assert type(context["exception"]) is LookupError
    assert context["message"] == f"protocol.{failing}_writing() failed"
    await finish(transport, protocol)


# ---- The end ----


@pytest.mark.whole_calls
async def test_farewell(udp):
    """Without a remote address, what is sent between close() and connection_lost() is sent."""
    sock = udp.new()
    transport, protocol = await udp.endpoint(
        lambda: DatagramRecorder(
            lost=lambda self, exc: self.transport.sendto(b"in connection_lost", sock.getsockname())
        )
    )
    transport.close()
    transport.sendto(b"after close", sock.getsockname())
    await protocol.lost()
    assert [await in_thread(sock.recv, 100) for _ in range(2)] == [b"after close", b"in connection_lost"]


async def test_sending_after_the_end(udp):
    """Without a remote address there is nothing to tell it from a mistake."""
    transport, protocol = await udp.endpoint()
    await finish(transport, protocol)
    await turns()
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute"):
        transport.sendto(b"x", udp.new().getsockname())
    transport.close()
    transport.abort()


async def test_full_socket_after_close(full, impl):
    """What finds no room after close() is lost, and no watch of the descriptor stays."""
    if not impl.native_transports:
        pytest.skip(
            "asyncio leaves the descriptor in its selector, and who opens the next one waits for ever"
        )
    transport, protocol, sock = await full()
    transport.abort()
    transport.sendto(b"x", sock.getsockname())
    fd = transport._sock_fd
    assert await protocol.lost() is None
    left, right = socket.socketpair()
    with left, right:
        assert fd in (left.fileno(), right.fileno())
        left.setblocking(False)
        loop = asyncio.get_running_loop()
        assert loop._watched(fd) is None
        woken = loop.create_future()
        loop.add_writer(left, woken.set_result, None)
        await woken
        loop.remove_writer(left)


async def test_abort_after_a_flush(full, impl):
    transport, protocol, sock = await full()
    transport.sendto(b"end", sock.getsockname())
    transport.close()
    await receive_until(sock, b"end")
    assert await protocol.lost() is None
    await turns()
    if impl.native_transports:
        transport.abort()  # asyncio's fails here
    await turns()
    assert protocol.events == ["made", "lost"]


async def test_last_reference_in_a_callback(udp):
    """Nothing but the loop holds the transport, and the protocol lets go of it while it is called."""

    def received(self, data, address):
        self.transport.close()
        self.transport = None
        gc.collect()

    transport, protocol = await udp.endpoint(lambda: DatagramRecorder(datagram=received))
    sock = udp.new()
    address = name(transport)
    reference = weakref.ref(transport)
    del transport
    for _ in range(3):
        sock.sendto(b"x", address)
    assert await protocol.lost() is None
    await turns()
    support.collect()
    assert reference() is None
    assert protocol.events == ["made", "datagram", "lost"]


async def test_queue_and_transport_in_a_cycle(full):
    """Of which the garbage collector knows."""

    class Data(bytes):
        pass

    transport, protocol, sock = await full()
    data = Data(b"x")
    data.transport = transport
    transport.sendto(data, sock.getsockname())
    reference = weakref.ref(transport)
    transport.close()
    transport._loop._remove_writer(transport._sock_fd)
    with support.recorded_warnings() as warned:
        protocol.transport = None
        del transport, data
        support.collect()
    assert [kind for kind, text in warned if "unclosed transport" in text] == ["ResourceWarning"]
    support.collect()  # what the warning kept until here
    assert reference() is None
