"""BufferedProtocol: data is read in place, into whatever buffer the protocol gives this time."""

import array
import asyncio
import os
import socket

import pytest

from . import peers
from .peers import BufferedRecorder, Recorder


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


async def test_size_hint(connect):
    transport, protocol, peer = await connect(BufferedRecorder)
    peer.send(b"x")
    await protocol.bytes(1)
    assert set(protocol.hints) == {-1}
    await finish(transport, protocol)


async def test_buffer_of_one_byte(connect):
    transport, protocol, peer = await connect(lambda: BufferedRecorder(1))
    data = peers.payload(500)
    peer.send(data)
    assert await protocol.bytes(500) == data
    assert protocol.events == ["made"] + ["updated"] * 500
    await finish(transport, protocol)


async def test_buffers_that_change_every_time(connect):
    """New buffers of other sizes and kinds for each read."""
    kinds = [
        lambda size: bytearray(size),
        lambda size: memoryview(bytearray(size)),
        lambda size: memoryview(bytearray(size + 10))[10:],
    ]
    calls = 0

    def get_buffer(self, sizehint):
        nonlocal calls
        calls += 1
        return kinds[calls % 3](calls * 37 % 5000 + 1)

    transport, protocol, peer = await connect(lambda: BufferedRecorder(get_buffer=get_buffer))
    data = peers.payload(1 << 20)
    await peer.send_all(data)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    await finish(transport, protocol)


async def test_buffer_that_grows_between_reads(connect):
    """The transport keeps no view of the buffer: a bytearray can be resized in buffer_updated and between reads."""

    def updated(self, nbytes):
        if len(self.buffer) < 10_000:
            self.buffer.extend(bytes(len(self.buffer)))
        else:
            del self.buffer[100:]

    transport, protocol, peer = await connect(lambda: BufferedRecorder(10, updated=updated))
    data = peers.payload(300_000)
    await peer.send_all(data)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    protocol.buffer.clear()
    protocol.buffer.extend(b"123")
    peer.send(b"end")
    assert (await protocol.bytes(len(data) + 3)).endswith(b"end")
    await finish(transport, protocol)


@pytest.mark.whole_calls
async def test_buffer_of_wide_items(connect):
    """What is counted are bytes."""
    transport, protocol, peer = await connect(
        lambda: BufferedRecorder(
            get_buffer=lambda self, sizehint: wide, updated=lambda self, n: counts.append(n)
        )
    )
    wide, counts = memoryview(array.array("I", [0] * 4)).cast("B"), []
    peer.send(bytes(range(12)))
    await protocol.until(lambda: counts)
    assert counts == [12]
    assert bytes(wide)[:12] == bytes(range(12))
    await finish(transport, protocol)


@pytest.mark.whole_calls
async def test_data_is_in_the_buffer_when_buffer_updated_is_called(connect):
    seen = []
    transport, protocol, peer = await connect(
        lambda: BufferedRecorder(8, updated=lambda self, nbytes: seen.append(bytes(self.buffer[:nbytes])))
    )
    peer.send(b"0123456789")
    await protocol.bytes(10)
    assert b"".join(seen) == b"0123456789"
    assert max(map(len, seen)) == 8
    await finish(transport, protocol)


@pytest.mark.parametrize("keep", (False, True))
async def test_eof(connect, keep):
    transport, protocol, peer = await connect(lambda: BufferedRecorder(eof=lambda self: keep))
    peer.send(b"x")
    peer.half_close()
    await protocol.until(lambda: "eof" in protocol.events)
    await peers.turns(5)
    assert transport.is_closing() is not keep
    if keep:
        transport.write(b"answer")
        assert await peer.read(6) == b"answer"
        transport.close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "updated", "eof", "lost"]


@pytest.mark.whole_calls
async def test_pausing(connect):
    transport, protocol, peer = await connect(
        lambda: BufferedRecorder(4, updated=lambda self, nbytes: self.transport.pause_reading())
    )
    peer.send(b"0123456789")
    for count in (4, 8, 10):
        await protocol.bytes(count)
        await peers.turns(5)
        assert len(protocol.received) == count
        transport.resume_reading()
    await finish(transport, protocol)


@pytest.mark.whole_calls
async def test_pause_in_get_buffer(connect):
    """The read that asked is made; it is the last."""

    def get_buffer(self, sizehint):
        self.transport.pause_reading()
        return bytearray(4)

    transport, protocol, peer = await connect(lambda: BufferedRecorder(get_buffer=get_buffer))
    peer.send(b"0123456789")
    await protocol.bytes(4)
    await peers.turns(5)
    assert protocol.received == b"0123"
    transport.resume_reading()
    await protocol.bytes(8)
    await finish(transport, protocol)


@pytest.mark.parametrize("end", ("close", "abort"))
async def test_end_in_get_buffer(connect, end):
    """The connection ends once, whatever becomes of the read."""

    def get_buffer(self, sizehint):
        getattr(self.transport, end)()
        return bytearray(4)

    transport, protocol, peer = await connect(lambda: BufferedRecorder(get_buffer=get_buffer))
    peer.send(b"x")
    assert await protocol.lost() is None
    await peers.turns(3)
    assert protocol.events.count("lost") == 1


@pytest.mark.whole_calls
async def test_set_protocol_in_get_buffer(connect):
    """The next read is the new protocol's; the connection is not disturbed."""
    second = Recorder()

    def get_buffer(self, sizehint):
        self.transport.set_protocol(second)
        return bytearray(4)

    transport, protocol, peer = await connect(lambda: BufferedRecorder(get_buffer=get_buffer))
    second.buffer_updated = lambda nbytes: None
    peer.send(b"0123456789")
    await second.bytes(6)
    assert second.received == b"456789"
    transport.close()
    assert await second.lost() is None


@pytest.mark.whole_calls
async def test_set_protocol_in_buffer_updated(connect):
    second = BufferedRecorder(3)
    transport, protocol, peer = await connect(
        lambda: BufferedRecorder(4, updated=lambda self, nbytes: self.transport.set_protocol(second))
    )
    peer.send(b"0123456789")
    await second.bytes(6)
    assert protocol.received == b"0123"
    assert second.received == b"456789"
    transport.close()
    assert await second.lost() is None


async def test_stock_stream_on_a_buffered_connection(connect, loop):
    """From a buffered protocol to asyncio's streams, as an upgrade of a connection does it."""
    reader = asyncio.StreamReader()
    transport, protocol, peer = await connect(BufferedRecorder)
    peer.send(b"header")
    await protocol.bytes(6)
    transport.set_protocol(asyncio.StreamReaderProtocol(reader))
    reader.set_transport(transport)
    peer.send(b"line one\nline two\n")
    assert await reader.readline() == b"line one\n"
    assert await reader.readline() == b"line two\n"
    transport.close()
    assert await peer.read_all() == b""
    await peers.turns()


async def test_get_buffer_that_ends_the_connection_reads_nothing_of_the_next(connect, reports):
    """The number of the descriptor may belong to another file by then."""
    other, other_peer = socket.socketpair()

    def end(protocol, sizehint):
        number = transport.get_extra_info("socket").fileno()
        transport.abort()
        transport._call_connection_lost(None)
        os.dup2(other.fileno(), number, inheritable=False)
        numbers.append(number)
        return bytearray(100)

    numbers = []
    with other, other_peer:
        other_peer.send(b"another's")
        transport, protocol, peer = await connect(lambda: BufferedRecorder(get_buffer=end))
        peer.send(b"x")
        assert await protocol.lost() is None
        await peers.turns(3)
        assert other.recv(100) == b"another's"
        os.close(numbers[0])
    assert protocol.received == b""
    reports.clear()  # nobody provides for _call_connection_lost() being called twice


async def test_get_buffer_that_sets_another_protocol(connect):
    def hand_over(protocol, sizehint):
        protocol.transport.set_protocol(second)
        return second.buffer

    second = BufferedRecorder()
    transport, first, peer = await connect(lambda: BufferedRecorder(get_buffer=hand_over))
    peer.send(b"data")
    assert await second.bytes(4) == b"data"
    assert first.events == ["made", "get_buffer"]
    await finish(transport, second)
