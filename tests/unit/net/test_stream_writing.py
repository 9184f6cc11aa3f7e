"""Stream transports, writing: what is accepted, flow control, and the end of the stream."""

import asyncio
import fractions
import math
import socket
import sys
from asyncio import selector_events

import pytest

from .. import support
from ..test_fork import in_child
from . import peers
from .peers import SMALL, Recorder

SIZES = (1, 1000, 65536, 65537, 1 << 20, 5 << 20)


@pytest.fixture
def connect_small(connect):
    """Like `connect`, with socket buffers that are soon full."""

    def connect_small(factory):
        return connect(factory, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)

    return connect_small


async def closed(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


@pytest.mark.parametrize("size", SIZES)
async def test_data_of_all_sizes(connect, size):
    transport, protocol, peer = await connect(Recorder)
    data = peers.payload(size)
    assert transport.write(data) is None
    assert peers.digest(await peer.read(size)) == peers.digest(data)
    await closed(transport, protocol)
    assert await peer.read_all() == b""


async def test_a_slow_peer(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    data = peers.payload(300_000)
    transport.write(data)
    assert await peer.read(1) == data[:1]
    rest = b"".join([await peer.read(29_999) for _ in range(10)])
    assert peers.digest(rest) == peers.digest(data[1:299_991])
    assert await peer.read(9) == data[299_991:]
    await closed(transport, protocol)


async def test_many_small_writes(connect):
    transport, protocol, peer = await connect(Recorder)
    for i in range(2000):
        transport.write(b"%d;" % i)
    expected = b"".join(b"%d;" % i for i in range(2000))
    assert await peer.read(len(expected)) == expected
    await closed(transport, protocol)


async def test_writes_of_one_step_come_in_order(connect, loop):
    transport, protocol, peer = await connect(Recorder)
    transport.write(b"a")
    transport.writelines([b"b", bytearray(b"c"), memoryview(b"d")])
    loop.call_soon(transport.write, b"f")
    transport.write(b"e")
    assert await peer.read(6) == b"abcdef"
    await closed(transport, protocol)


async def test_writes_of_many_sizes_while_blocked(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    chunks = [peers.payload(size, size) for size in (200_000, 1, 70_000, 2, 3, 100_000, 65_536, 10)] * 3
    for i, chunk in enumerate(chunks):
        if i % 2:
            transport.write(chunk)
        else:
            transport.writelines([chunk[:1], chunk[1:]])
    expected = b"".join(chunks)
    assert peers.digest(await peer.read(len(expected))) == peers.digest(expected)
    await closed(transport, protocol)


async def test_more_buffers_than_one_sendmsg_takes(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    lines = [b"%06d\n" % i for i in range(20_000)]
    transport.writelines(lines)
    expected = b"".join(lines)
    assert peers.digest(await peer.read(len(expected))) == peers.digest(expected)
    await closed(transport, protocol)


# ---- What may be written ----


@pytest.mark.parametrize("kind", (bytes, bytearray, memoryview))
@pytest.mark.parametrize("size", (10, 300_000))
async def test_kinds_of_bytes(connect_small, kind, size):
    transport, protocol, peer = await connect_small(Recorder)
    data = peers.payload(size)
    transport.write(kind(data))
    assert peers.digest(await peer.read(size)) == peers.digest(data)
    await closed(transport, protocol)


async def test_memoryview_of_wide_items(connect):
    """What counts are bytes, not items."""
    transport, protocol, peer = await connect(Recorder)
    transport.write(memoryview(bytes(range(16))).cast("I"))
    transport.write(b"!")
    assert await peer.read(17) == bytes(range(16)) + b"!"
    await closed(transport, protocol)


async def test_bytes_subclass(connect):
    class Name(bytes):
        pass

    transport, protocol, peer = await connect(Recorder)
    transport.write(Name(b"name"))
    assert await peer.read(4) == b"name"
    await closed(transport, protocol)


async def test_bytearray_changed_after_a_write_that_was_sent(connect):
    transport, protocol, peer = await connect(Recorder)
    data = bytearray(b"before")
    transport.write(data)
    data[:] = b"after!!"
    assert await peer.read(6) == b"before"
    await closed(transport, protocol)


@pytest.mark.parametrize("view", (False, True), ids=("bytearray", "memoryview"))
async def test_buffer_changed_after_a_write_that_is_pending(connect_small, impl, view):
    if support.PY312 and not impl.native_transports:
        pytest.skip("asyncio keeps a view of a mutable buffer since 3.12")
    transport, protocol, peer = await connect_small(Recorder)
    original = peers.payload(400_000)
    data = bytearray(original)
    transport.write(memoryview(data) if view else data)
    for i in range(0, len(data), 1000):
        data[i] ^= 0xFF
    if not view:
        data.clear()
    tail = bytearray(b"tail")
    transport.write(tail)
    tail[:] = b"----"
    assert peers.digest(await peer.read(400_000)) == peers.digest(original)
    assert await peer.read(4) == b"tail"
    await closed(transport, protocol)


@pytest.mark.parametrize("wrong", ("text", None, 5, [b"x"], object()), ids=lambda wrong: type(wrong).__name__)
async def test_wrong_type(connect, wrong):
    transport, protocol, peer = await connect(Recorder)
    words = selector_events._SelectorSocketTransport.write.__code__.co_consts  # changed within 3.13
    kinds = "bytes, bytearray, or memoryview object"
    if f"data argument must be a {kinds}, not " not in words:
        kinds = "bytes-like object"
    with pytest.raises(TypeError) as caught:
        transport.write(wrong)
    assert str(caught.value) == f"data argument must be a {kinds}, not {type(wrong).__name__!r}"
    transport.write(b"still works")
    assert await peer.read(11) == b"still works"
    await closed(transport, protocol)


async def test_wrong_type_in_writelines(connect, impl):
    transport, protocol, peer = await connect(Recorder)
    # From 3.15 on asyncio keeps what comes before the wrong one, without a watch that would send it.
    good = [] if support.PY315 and not impl.native_transports else [b"good"]
    with pytest.raises(TypeError):
        transport.writelines([*good, "bad"])
    with pytest.raises(TypeError):
        transport.writelines(5)
    transport.write(b"x")
    assert await peer.read(1) == b"x", "nothing of a refused list was sent"
    await closed(transport, protocol)


@pytest.mark.parametrize("empty", (b"", bytearray(), memoryview(b"")), ids=lambda empty: type(empty).__name__)
async def test_write_of_nothing(connect, empty):
    transport, protocol, peer = await connect(Recorder)
    transport.write(empty)
    transport.writelines([])
    assert transport.get_write_buffer_size() == 0
    transport.write(b"x")
    await closed(transport, protocol)
    assert await peer.read_all() == b"x"


@pytest.mark.skipif(not support.PY312, reason="the lines are joined before Python 3.12")
@pytest.mark.parametrize("nothing", ([], (), b"", None, 0), ids=repr)
async def test_writelines_of_nothing(connect, nothing):
    """Whatever is false is no lines."""
    transport, protocol, peer = await connect(Recorder)
    transport.writelines(nothing)
    assert transport.get_write_buffer_size() == 0
    await closed(transport, protocol)
    assert await peer.read_all() == b""


@pytest.mark.parametrize(
    "kind", (tuple, iter, lambda lines: (line for line in lines)), ids=("tuple", "iterator", "generator")
)
async def test_writelines_of_what_is_no_list(connect, kind):
    transport, protocol, peer = await connect(Recorder)
    transport.writelines(kind([b"%d" % i for i in range(5)]))
    assert await peer.read(5) == b"01234"
    await closed(transport, protocol)


@pytest.mark.skipif(not support.PY312, reason="the lines are joined before Python 3.12")
async def test_writelines_of_lines_that_say_they_are_many(connect, impl):
    """More than there is memory for; they are taken one by one, and none after one that is no data."""

    class Lines:
        def __init__(self, *lines):
            self.left = list(lines)

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            return self.left.pop(0)

        def __length_hint__(self):
            return 1 << 40

    transport, protocol, peer = await connect(Recorder)
    # From 3.15 on asyncio keeps what comes before the wrong one, without a watch that would send it.
    good = [] if support.PY315 and not impl.native_transports else [b"zero"]
    lines = Lines(*good, 2, b"three")
    with pytest.raises(TypeError):
        transport.writelines(lines)
    assert lines.left == [b"three"]
    transport.writelines(Lines(b"one", b"two"))
    assert await peer.read(6) == b"onetwo"
    await closed(transport, protocol)


async def test_writelines_that_cannot_be_sent_at_once(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    data = peers.payload(500_000)
    lines = [data[i : i + 777] for i in range(0, len(data), 777)]
    transport.writelines(lines)
    assert peers.digest(await peer.read(len(data))) == peers.digest(data)
    await closed(transport, protocol)


# ---- Flow control ----


async def test_default_limits(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    assert transport.get_write_buffer_size() == 0
    await closed(transport, protocol)


@pytest.mark.parametrize(
    "arguments, limits",
    (
        ({}, (16384, 65536)),
        ({"high": 1000}, (250, 1000)),
        ({"low": 100}, (100, 400)),
        ({"high": 1000, "low": 0}, (0, 1000)),
        ({"high": 0}, (0, 0)),
        ({"high": 7, "low": 7}, (7, 7)),
        ({"low": 0}, (0, 0)),
    ),
)
async def test_set_limits(connect, arguments, limits):
    transport, protocol, peer = await connect(Recorder)
    assert transport.set_write_buffer_limits(**arguments) is None
    assert transport.get_write_buffer_limits() == limits
    await closed(transport, protocol)


@pytest.mark.parametrize(
    "arguments, text",
    (
        ({"high": 1, "low": 2}, "high (1) must be >= low (2) must be >= 0"),
        ({"high": -1}, "high (-1) must be >= low (-1) must be >= 0"),
        ({"low": -1}, "high (-4) must be >= low (-1) must be >= 0"),
        ({"high": 5, "low": -1}, "high (5) must be >= low (-1) must be >= 0"),
    ),
)
async def test_wrong_limits(connect, arguments, text):
    transport, protocol, peer = await connect(Recorder)
    with pytest.raises(ValueError) as caught:
        transport.set_write_buffer_limits(**arguments)
    assert str(caught.value) == text
    assert transport.get_write_buffer_limits() == (16384, 65536)
    await closed(transport, protocol)


@pytest.mark.parametrize(
    "arguments, limits",
    (
        ({"high": 1e6}, (250_000, 1_000_000)),
        ({"high": 1.5, "low": 0.5}, (0.5, 1.5)),
        ({"high": fractions.Fraction(7, 2), "low": True}, (1, 3.5)),
        ({"high": math.inf, "low": 5}, (5, math.inf)),
        ({"high": 2**70}, (2**68, 2**70)),
    ),
)
async def test_limits_that_are_no_sizes(impl, connect, arguments, limits):
    """asyncio compares sizes with what it was given, and so takes any number."""
    transport, protocol, peer = await connect(Recorder)
    transport.set_write_buffer_limits(**arguments)
    if impl.native_loop:
        limits = tuple(int(min(limit, sys.maxsize)) for limit in limits)  # the same to a number of bytes
    assert transport.get_write_buffer_limits() == limits
    await closed(transport, protocol)


async def test_endless_limit(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    transport.set_write_buffer_limits(high=math.inf, low=0)
    transport.write(bytes(1 << 20))
    await peers.turns(3)
    assert transport.get_write_buffer_size() > 65536
    assert protocol.events == ["made"]
    transport.set_write_buffer_limits(high=65536.5)
    assert protocol.events == ["made", "pause"]
    transport.abort()
    assert await protocol.lost() is None


async def test_pause_and_resume_writing(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    written = peers.fill(transport)
    assert protocol.events == ["made", "pause"]
    assert transport.get_write_buffer_size() > 65536
    for _ in range(5):
        transport.write(bytes(70_000))
    await peers.turns(5)
    assert protocol.events == ["made", "pause"], "once is enough"
    resumed_at = []
    protocol._actions["resume"] = lambda self: resumed_at.append(transport.get_write_buffer_size())
    await peer.read(written + 350_000)
    await protocol.until(lambda: "resume" in protocol.events)
    assert protocol.events == ["made", "pause", "resume"]
    assert resumed_at[0] <= 16384
    await closed(transport, protocol)


async def test_pausing_and_resuming_alternate(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    for _ in range(3):
        written = peers.fill(transport)
        await peer.read(written)
        await protocol.until(lambda: protocol.events[-1] == "resume")
    await closed(transport, protocol)
    assert protocol.events == ["made"] + ["pause", "resume"] * 3 + ["lost"]


async def test_size_of_what_is_pending(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    peers.fill(transport)
    await peers.turns(3)
    size = transport.get_write_buffer_size()
    for more in (1, 1000, 100_000):
        transport.write(bytes(more))
        size += more
        assert transport.get_write_buffer_size() == size
    transport.abort()
    assert transport.get_write_buffer_size() == 0
    await protocol.lost()


async def test_exactly_the_high_water_mark_is_not_above_it(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    peers.fill(transport)
    await peers.turns(3)
    protocol.events.clear()
    second = Recorder()
    transport.set_write_buffer_limits(high=transport.get_write_buffer_size() + 10)
    # The protocol is paused already, and is told so again only after it was resumed.
    transport.set_protocol(second)
    transport.write(bytes(10))
    transport.write(bytes(1))
    assert second.events == []
    transport.abort()
    await second.lost()


async def test_limits_set_while_data_is_pending(connect_small):
    """A new limit counts at the next write: 3.12 and older say nothing about what is pending already."""
    transport, protocol, peer = await connect_small(Recorder)
    transport.set_write_buffer_limits(high=64 << 20)
    transport.write(bytes(1 << 20))
    await peers.turns(3)
    assert protocol.events == ["made"]
    transport.set_write_buffer_limits(high=1000)
    transport.write(b"x")
    assert "pause" in protocol.events
    await peer.read((1 << 20) + 1)
    await protocol.until(lambda: protocol.events[-1] == "resume")
    assert protocol.events == ["made", "pause", "resume"]
    await closed(transport, protocol)


async def test_high_water_mark_of_zero(connect_small):
    """Every byte that cannot be sent at once pauses, and the last one sent resumes."""
    transport, protocol, peer = await connect_small(Recorder)
    transport.set_write_buffer_limits(high=0)
    written = peers.fill(transport, b"x" * 1000)
    sizes = []
    protocol._actions["resume"] = lambda self: sizes.append(transport.get_write_buffer_size())
    await peer.read(written)
    await protocol.until(lambda: "resume" in protocol.events)
    assert sizes == [0]
    await closed(transport, protocol)


async def test_small_writes_do_not_pause(connect):
    transport, protocol, peer = await connect(Recorder)
    for _ in range(100):
        transport.write(bytes(100))
    await peer.read(10_000)
    await closed(transport, protocol)
    assert protocol.events == ["made", "lost"]


async def test_write_in_resume_writing(connect_small):
    transport, protocol, peer = await connect_small(
        lambda: Recorder(resume=lambda self: self.transport.write(b"resumed"))
    )
    written = peers.fill(transport)
    await peer.read(written)
    assert await peer.read(7) == b"resumed"
    await closed(transport, protocol)


async def test_refilling_in_resume_writing(connect_small):
    """A producer that writes in resume_writing until it is paused again, as an application that streams does."""
    data = peers.payload(2 << 20)
    offset = 0

    def produce(self):
        nonlocal offset
        pauses = self.events.count("pause")
        while offset < len(data) and self.events.count("pause") == pauses:
            self.transport.write(data[offset : offset + 10_000])
            offset += 10_000

    transport, protocol, peer = await connect_small(lambda: Recorder(resume=produce))
    produce(protocol)
    assert peers.digest(await peer.read(len(data))) == peers.digest(data)
    await closed(transport, protocol)


async def test_close_in_resume_writing(connect_small, impl):
    if not support.PY315 and not impl.native_transports:
        pytest.skip("asyncio may lose the connection twice here, before 3.15")
    transport, protocol, peer = await connect_small(
        lambda: Recorder(resume=lambda self: self.transport.close())
    )
    written = peers.fill(transport)
    assert len(await peer.read_all()) == written
    assert await protocol.lost() is None
    assert protocol.events == ["made", "pause", "resume", "lost"]


async def test_abort_in_pause_writing(connect_small):
    transport, protocol, peer = await connect_small(
        lambda: Recorder(pause=lambda self: self.transport.abort())
    )
    peers.fill(transport)
    assert await protocol.lost() is None
    assert protocol.events == ["made", "pause", "lost"]


@pytest.mark.parametrize("callback", ("pause", "resume"))
async def test_exception_in_flow_control(connect_small, reports, callback):
    """It is reported, and the transport goes on."""

    def fail(self):
        raise ZeroDivisionError(callback)

    transport, protocol, peer = await connect_small(lambda: Recorder(**{callback: fail}))
    written = peers.fill(transport)
    await peer.read(written)
    await protocol.until(lambda: "resume" in protocol.events)
    await peers.turns()
    context = reports.pop()
    assert set(context) == {"message", "exception", "transport", "protocol"}
    assert context["message"] == f"protocol.{callback}_writing() failed"
    assert isinstance(context["exception"], ZeroDivisionError)
    assert context["transport"] is transport
    assert context["protocol"] is protocol
    transport.write(b"goes on")
    assert await peer.read(7) == b"goes on"
    await closed(transport, protocol)


async def test_stream_writer_drain(connect_small, loop):
    """asyncio.StreamWriter, the main user of flow control."""
    reader = asyncio.StreamReader()
    transport, protocol, peer = await connect_small(lambda: asyncio.StreamReaderProtocol(reader))
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    data = peers.payload(1 << 20)

    async def produce():
        for i in range(0, len(data), 50_000):
            writer.write(data[i : i + 50_000])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    task = asyncio.ensure_future(produce())
    assert peers.digest(await peer.read_all()) == peers.digest(data)
    await task


# ---- write_eof ----


async def test_write_eof(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.can_write_eof() is True
    transport.write(b"all")
    assert transport.write_eof() is None
    assert await peer.read_all() == b"all"
    assert transport.is_closing() is False
    peer.send(b"answer")
    assert await protocol.bytes(6) == b"answer"
    await closed(transport, protocol)


async def test_write_eof_after_pending_data(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    data = peers.payload(500_000)
    transport.write(data)
    transport.write_eof()
    assert peers.digest(await peer.read_all()) == peers.digest(data)
    peer.send(b"x")
    await protocol.bytes(1)
    await closed(transport, protocol)


async def test_write_eof_twice(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.write_eof()
    transport.write_eof()
    assert await peer.read_all() == b""
    await closed(transport, protocol)


async def test_write_after_write_eof(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.write_eof()
    for data in (b"x", b""):
        with pytest.raises(RuntimeError) as caught:
            transport.write(data)
        assert str(caught.value) == "Cannot call write() after write_eof()"
    with pytest.raises(RuntimeError) as caught:
        transport.writelines([b"x"])
    verb = "writelines" if support.PY312 else "write"
    assert str(caught.value) == f"Cannot call {verb}() after write_eof()"
    assert await peer.read_all() == b""
    await closed(transport, protocol)


async def test_wrong_type_is_told_before_write_eof(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.write_eof()
    with pytest.raises(TypeError):
        transport.write("x")
    await closed(transport, protocol)


async def test_write_eof_and_close(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.write(b"x")
    transport.write_eof()
    await closed(transport, protocol)
    assert await peer.read_all() == b"x"


async def test_write_eof_then_close_with_pending_data(connect_small):
    transport, protocol, peer = await connect_small(Recorder)
    data = peers.payload(500_000)
    transport.write(data)
    transport.write_eof()
    transport.close()
    assert peers.digest(await peer.read_all()) == peers.digest(data)
    assert await protocol.lost() is None


async def test_write_eof_of_a_closing_transport_does_nothing(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.close()
    transport.write_eof()
    assert await protocol.lost() is None
    transport.write_eof()
    assert protocol.events == ["made", "lost"]


@pytest.mark.whole_calls
async def test_write_eof_after_a_write_that_fails(connect, family):
    """The write has closed the transport, so what is written after write_eof() is dropped as after close()."""
    transport, protocol, peer = await connect(Recorder)
    transport.pause_reading()
    peer.reset() if family == "tcp" else peer.close()
    transport.write(b"x")
    transport.write_eof()
    transport.write(b"y")
    assert transport.is_closing()
    assert type(await protocol.lost()) in (BrokenPipeError, ConnectionResetError)


@pytest.mark.whole_calls
async def test_write_eof_then_the_peer_ends_too(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.write_eof()
    assert await peer.read_all() == b""
    peer.send(b"bye")
    peer.close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "data", "eof", "lost"]


# ---- The socket's options ----


@pytest.mark.parametrize("family", ("tcp",), indirect=True)
async def test_nagle_is_off(connect):
    transport, protocol, peer = await connect(Recorder)
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    await closed(transport, protocol)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__() is of 3.12")
async def test_writelines_of_a_list_that_changes(connect, impl):
    if support.PY315 and not impl.native_transports:
        pytest.skip("asyncio iterates over the list while it changes, from Python 3.15 on")
    transport, protocol, peer = await connect(Recorder)

    class Line:
        def __buffer__(self, flags):
            lines.clear()
            return memoryview(b"line")

    lines = [Line()]
    transport.writelines(lines)
    assert await peer.read(4) == b"line"
    await closed(transport, protocol)


@pytest.mark.whole_calls
async def test_a_nested_turn_of_the_loop_sends_what_was_written_before(connect, loop):
    transport, protocol, peer = await connect(Recorder)
    received, done = [], loop.create_future()
    peer.sock.setblocking(False)
    loop.add_reader(peer.sock, lambda: received.append(peer.sock.recv(10)))

    def ask():
        transport.write(b"question")
        while not received:
            loop._run_once()  # as nest_asyncio does
        done.set_result(None)

    loop.call_soon(ask)
    await done
    assert received == [b"question"]
    loop.remove_reader(peer.sock)
    await closed(transport, protocol)


@pytest.mark.whole_calls
async def test_shutdown_of_the_socket_comes_after_what_was_written(connect):
    """asyncio has no API of its own for it, so this is how programs shut a direction down."""
    transport, protocol, peer = await connect(Recorder)
    transport.write(b"data")
    transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
    assert await peer.read_all() == b"data"
    await closed(transport, protocol)


@pytest.mark.whole_calls
async def test_what_was_written_before_a_fork_is_sent_once(connect):
    transport, protocol, peer = await connect(Recorder)

    def child():
        transport.write(b"child ")
        return transport.get_write_buffer_size()

    transport.write(b"parent ")
    assert in_child(child) == 0
    transport.write(b"parent")
    transport.close()
    assert await peer.read_all() == b"parent child parent"
    assert await protocol.lost() is None
