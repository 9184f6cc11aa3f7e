"""Stream transports, reading: data of all sizes, pausing, the end of the stream, and protocols that change."""

import asyncio
import contextvars

import pytest

from .. import marks
from . import peers
from .peers import BufferedRecorder, Recorder

SIZES = (1, 2, 1000, 65535, 65536, 65537, 256 * 1024, 256 * 1024 + 1, 3 << 20)


@pytest.mark.parametrize("size", SIZES)
async def test_data_of_all_sizes(connect, size):
    transport, protocol, peer = await connect(Recorder)
    data = peers.payload(size)
    await peer.send_all(data)
    assert peers.digest(await protocol.bytes(size)) == peers.digest(data)
    transport.close()
    assert await protocol.lost() is None
    assert protocol.events[0] == "made" and protocol.events[-1] == "lost"
    assert set(protocol.events[1:-1]) == {"data"}


@pytest.mark.parametrize("size", SIZES)
async def test_buffered_data_of_all_sizes(connect, size):
    transport, protocol, peer = await connect(lambda: BufferedRecorder(65536))
    data = peers.payload(size)
    await peer.send_all(data)
    assert peers.digest(await protocol.bytes(size)) == peers.digest(data)
    transport.close()
    assert await protocol.lost() is None


@pytest.mark.whole_calls
async def test_data_is_bytes_of_its_own(connect):
    """A protocol may keep what it was given: later reads do not change it."""
    kept = []
    transport, protocol, peer = await connect(lambda: Recorder(data=lambda self, data: kept.append(data)))
    sent = [bytes([65 + i]) * (i * 700 + 1) for i in range(20)]
    total = 0
    for data in sent:
        peer.send(data)
        total += len(data)
        await protocol.bytes(total)
    assert {type(data) for data in kept} == {bytes}
    assert kept == sent
    transport.close()
    await protocol.lost()


@pytest.mark.whole_calls
async def test_callback_of_reading_in_a_handle_that_somebody_keeps(loop, connect, reports):
    """It is called as any other callback: with the arguments and in the context of the handle."""
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []
    transport, protocol, peer = await connect(
        lambda: Recorder(data=lambda self, data: seen.append((variable.get(), data)))
    )
    await asyncio.sleep(0)  # reading begins in a callback of its own
    transport.pause_reading()
    peer.send(b"x")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    kept = [
        loop.call_soon(transport._read_ready, 1),
        loop.call_soon(transport._read_ready, context=context),
        loop.call_soon(seen.append, variable),
    ]
    await asyncio.sleep(0)
    assert seen == [("inside", b"x"), variable] and len(kept) == 3
    assert type(reports.pop()["exception"]) is TypeError
    transport.close()
    await protocol.lost()


async def test_one_byte_at_a_time(connect):
    transport, protocol, peer = await connect(Recorder)
    data = peers.payload(300)

    def trickle():
        for i in range(len(data)):
            peer.send(data[i : i + 1])

    await peers.in_thread(trickle)
    assert await protocol.bytes(300) == data
    transport.close()
    await protocol.lost()


@pytest.mark.whole_calls
async def test_data_that_came_before_the_transport(loop, family):
    ours, theirs = peers.socket_pair(family)
    with peers.Peer(theirs) as peer:
        peer.send(b"early")
        peer.half_close()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        assert await protocol.lost() is None
        assert bytes(protocol.received) == b"early"
        assert protocol.events == ["made", "data", "eof", "lost"]


async def test_nothing_is_read_before_connection_made_returned(loop, family):
    """Readiness is watched only after connection_made(), and the waiter of create_connection wakes after that."""
    ours, theirs = peers.socket_pair(family)
    with peers.Peer(theirs) as peer:
        peer.send(b"early")
        order = []
        factory = lambda: Recorder(  # noqa: E731
            made=lambda self, transport: loop.call_soon(order.append, "soon"),
            data=lambda self, data: order.append("data"),
        )
        transport, protocol = await loop.create_connection(factory, sock=ours)
        order.append("connected")
        await protocol.bytes(5)
        assert order[0] in ("soon", "connected") and order[-1] == "data"
        transport.close()
        await protocol.lost()


# ---- Pausing ----


async def test_pause_and_resume(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.is_reading() is True
    assert transport.pause_reading() is None
    assert transport.is_reading() is False
    peer.send(b"one")
    await peers.turns(10)
    assert protocol.received == b""
    assert transport.resume_reading() is None
    assert transport.is_reading() is True
    await protocol.bytes(3)
    transport.close()
    await protocol.lost()


async def test_pause_and_resume_are_idempotent(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.resume_reading()
    transport.pause_reading()
    transport.pause_reading()
    peer.send(b"x")
    await peers.turns(10)
    assert protocol.events == ["made"]
    transport.resume_reading()
    transport.resume_reading()
    await protocol.bytes(1)
    transport.close()
    await protocol.lost()


@marks.not_early
async def test_pause_in_connection_made(connect):
    transport, protocol, peer = await connect(
        lambda: Recorder(made=lambda self, transport: transport.pause_reading())
    )
    peer.send(b"x")
    await peers.turns(10)
    assert protocol.events == ["made"]
    assert transport.is_reading() is False
    transport.resume_reading()
    await protocol.bytes(1)
    transport.close()
    await protocol.lost()


async def test_pause_and_resume_in_connection_made(connect):
    def made(self, transport):
        transport.pause_reading()
        transport.resume_reading()

    transport, protocol, peer = await connect(lambda: Recorder(made=made))
    peer.send(b"x")
    await protocol.bytes(1)
    transport.close()
    await protocol.lost()


async def test_pause_in_data_received(connect):
    """No more is read after the data whose callback paused, however much is there."""
    transport, protocol, peer = await connect(
        lambda: Recorder(data=lambda self, data: transport.pause_reading())
    )
    transport.pause_reading()
    sending = asyncio.ensure_future(peer.send_all(bytes(1 << 20)))
    await peers.turns(5)
    while len(protocol.received) < 1 << 20:
        calls = protocol.events.count("data")
        transport.resume_reading()
        await protocol.until(lambda: protocol.events.count("data") > calls)
        await peers.turns(3)
        assert protocol.events.count("data") == calls + 1
    await sending
    transport.close()
    await protocol.lost()


@pytest.mark.whole_calls
async def test_paused_transport_does_not_see_the_end(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.pause_reading()
    peer.send(b"last words")
    peer.close()
    await peers.turns(10)
    assert protocol.events == ["made"]
    transport.resume_reading()
    assert await protocol.lost() is None
    assert protocol.received == b"last words"
    assert protocol.events == ["made", "data", "eof", "lost"]


async def test_pause_and_resume_of_a_closing_transport_do_nothing(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.pause_reading()
    transport.close()
    assert transport.is_reading() is False
    transport.resume_reading()
    assert transport.is_reading() is False
    await protocol.lost()
    transport.pause_reading()
    transport.resume_reading()
    assert transport.is_reading() is False


async def test_data_of_the_same_turn_as_a_close_is_dropped(connect):
    transport, protocol, peer = await connect(Recorder)
    peer.send(b"x")
    transport.close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "lost"]


# ---- The end of the stream ----


@pytest.mark.parametrize("keep", (None, False, 0, ""))
async def test_eof_closes_unless_the_protocol_says_otherwise(connect, keep):
    transport, protocol, peer = await connect(lambda: Recorder(eof=lambda self: keep))
    peer.send(b"x")
    peer.half_close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "data", "eof", "lost"]
    assert transport.is_closing() is True
    assert await peer.read_all() == b""


@pytest.mark.parametrize("keep", (True, 1, "yes"))
async def test_eof_keeps_the_writing_half(connect, keep):
    transport, protocol, peer = await connect(lambda: Recorder(eof=lambda self: keep))
    peer.half_close()
    await protocol.until(lambda: "eof" in protocol.events)
    await peers.turns(10)
    assert protocol.events == ["made", "eof"]
    assert transport.is_closing() is False
    transport.write(b"answer")
    assert await peer.read(6) == b"answer"
    transport.close()
    assert await peer.read_all() == b""
    assert await protocol.lost() is None
    assert protocol.events == ["made", "eof", "lost"]


async def test_default_eof_received_closes(connect):
    lost = []

    class Plain(asyncio.Protocol):
        def connection_lost(self, exc):
            lost.append(exc)

    transport, protocol, peer = await connect(Plain)
    peer.half_close()
    assert await peer.read_all() == b""
    assert lost == [None]


async def test_eof_flushes_what_is_pending(connect):
    data = peers.payload(1 << 20)
    transport, protocol, peer = await connect(lambda: Recorder(eof=lambda self: self.transport.write(data)))
    peer.half_close()
    assert peers.digest(await peer.read_all()) == peers.digest(data)
    assert await protocol.lost() is None


@pytest.mark.whole_calls
async def test_half_close_both_ways(connect):
    """Each side ends its stream; the transport is closed only when it is told so."""
    transport, protocol, peer = await connect(lambda: Recorder(eof=lambda self: True))
    transport.write(b"question")
    transport.write_eof()
    assert await peer.read_all() == b"question"
    peer.send(b"answer")
    await protocol.bytes(6)
    peer.half_close()
    await protocol.until(lambda: "eof" in protocol.events)
    await peers.turns(5)
    assert protocol.events == ["made", "data", "eof"]
    transport.close()
    assert await protocol.lost() is None


async def test_eof_without_data(connect):
    transport, protocol, peer = await connect(Recorder)
    peer.close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "eof", "lost"]


# ---- Protocols that change ----


@pytest.mark.whole_calls
async def test_set_protocol_in_data_received(connect):
    second = Recorder()
    transport, protocol, peer = await connect(
        lambda: Recorder(data=lambda self, data: self.transport.set_protocol(second))
    )
    peer.send(b"first")
    await protocol.bytes(5)
    assert transport.get_protocol() is second
    peer.send(b"second")
    await second.bytes(6)
    transport.close()
    assert await second.lost() is None
    assert protocol.events == ["made", "data"]
    assert second.events == ["data", "lost"]


@pytest.mark.whole_calls
async def test_set_protocol_from_protocol_to_buffered_and_back(connect):
    transport, first, peer = await connect(
        lambda: Recorder(data=lambda self, data: self.transport.set_protocol(second))
    )
    third = Recorder()
    second = BufferedRecorder(updated=lambda self, nbytes: transport.set_protocol(third))
    for protocol, data in ((first, b"one"), (second, b"twoo"), (third, b"three")):
        peer.send(data)
        assert await protocol.bytes(len(data)) == data
    transport.close()
    assert await third.lost() is None
    assert first.events == ["made", "data"]
    assert second.events == ["updated"]
    assert third.events == ["data", "lost"]


async def test_set_protocol_while_paused(connect):
    transport, first, peer = await connect(Recorder)
    transport.pause_reading()
    peer.send(b"for the second")
    second = BufferedRecorder()
    transport.set_protocol(second)
    transport.resume_reading()
    await second.bytes(14)
    transport.close()
    await second.lost()
    assert first.events == ["made"]


async def test_set_protocol_in_eof_received(connect):
    second = Recorder()
    transport, first, peer = await connect(
        lambda: Recorder(eof=lambda self: self.transport.set_protocol(second))
    )
    peer.close()
    assert await second.lost() is None
    assert first.events == ["made", "eof"]
    assert second.events == ["lost"]


async def test_no_protocol(connect, reports):
    """Without a protocol the next data is an error, rather than something that waits to be read for ever."""
    transport, protocol, peer = await connect(Recorder)
    transport.set_protocol(None)
    peer.send(b"x")
    while not transport.is_closing():
        await peers.turns(1)
    await peers.turns(2)
    assert [str(context["exception"]) for context in reports] == [
        "'NoneType' object has no attribute 'data_received'",
        "'NoneType' object has no attribute 'connection_lost'",
    ]
    reports.clear()
    assert protocol.events == ["made"]


async def test_set_protocol_of_a_protocol_that_is_only_callbacks(connect):
    """Nothing requires a subclass of asyncio.Protocol."""

    class Bare:
        data = b""

        def __init__(self):
            self.done = asyncio.get_running_loop().create_future()

        def data_received(self, data):
            self.data += data

        def eof_received(self):
            return False

        def connection_lost(self, exc):
            self.done.set_result(exc)

    transport, first, peer = await connect(Recorder)
    bare = Bare()
    transport.set_protocol(bare)
    peer.send(b"bare")
    peer.close()
    assert await bare.done is None
    assert bare.data == b"bare"


async def test_protocol_attributes_looked_up_late(connect):
    """A callback set on the instance after the connection was made is the one that is called."""
    transport, protocol, peer = await connect(Recorder)
    seen = asyncio.get_running_loop().create_future()
    protocol.data_received = seen.set_result
    peer.send(b"x")
    assert await seen == b"x"
    transport.close()
    await protocol.lost()


async def test_what_data_received_schedules_runs_before_more_data(connect, loop):
    """What data_received schedules runs before the next data of the same connection is delivered."""
    order = []

    def data(self, data):
        order.append("data")
        loop.call_soon(order.append, "soon")

    transport, protocol, peer = await connect(lambda: Recorder(data=data))
    transport.pause_reading()
    sending = asyncio.ensure_future(peer.send_all(bytes(2 << 20)))
    await peers.turns(5)
    transport.resume_reading()
    await protocol.bytes(2 << 20)
    await sending
    await peers.turns()
    assert order == ["data", "soon"] * (len(order) // 2)
    transport.close()
    await protocol.lost()
