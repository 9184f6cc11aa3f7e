"""Stream transports, their end: close, abort, peers that reset, and callbacks that raise."""

import asyncio
import contextlib
import contextvars
import errno
import gc
import re
import weakref

import pytest

from .. import support
from . import peers
from .peers import SMALL, BufferedRecorder, Recorder

TCP = pytest.mark.parametrize("family", ("tcp",), indirect=True)
WARNING = "socket.send() raised exception."


async def filled(connect, factory=Recorder):
    """Return a connection whose transport has pending data, and how much has been written."""
    transport, protocol, peer = await connect(factory, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    written = peers.fill(transport)
    await peers.turns(3)
    assert transport.get_write_buffer_size() > 0
    return transport, protocol, peer, written


# ---- close ----


async def test_close(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.is_closing() is False
    assert transport.close() is None
    assert transport.is_closing() is True
    assert transport.is_reading() is False
    assert protocol.events == ["made"], "connection_lost() is never called from within close()"
    transport.close()
    assert await protocol.lost() is None
    assert await peer.read_all() == b""
    transport.close()
    transport.abort()
    await peers.turns(5)
    assert protocol.events == ["made", "lost"]


async def test_connection_lost_comes_in_the_next_turn(connect, loop):
    transport, protocol, peer = await connect(Recorder)
    order = []
    protocol._actions["lost"] = lambda self, exc: order.append("lost")
    loop.call_soon(order.append, "before")
    transport.close()
    loop.call_soon(order.append, "after")
    await protocol.lost()
    await peers.turns()
    assert order == ["before", "lost", "after"]


async def test_close_flushes(connect):
    data = peers.payload(2 << 20)
    transport, protocol, peer = await connect(Recorder)
    transport.write(data)
    transport.close()
    assert transport.is_closing() is True
    assert peers.digest(await peer.read_all()) == peers.digest(data)
    assert await protocol.lost() is None
    assert protocol.events[-1] == "lost" and protocol.events.count("lost") == 1


async def test_connection_lost_comes_after_pending_data(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.close()
    await peers.turns(10)
    assert "lost" not in protocol.events
    assert len(await peer.read_all()) == written
    assert await protocol.lost() is None


async def test_nothing_is_read_while_closing(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.close()
    peer.send(b"too late")
    await peers.turns(10)
    # The kernel answers with a reset to data that nobody reads.
    with contextlib.suppress(ConnectionResetError):
        await peer.read(written)
    await protocol.lost()
    assert protocol.received == b""


async def test_abort(connect):
    transport, protocol, peer = await connect(Recorder)
    assert transport.abort() is None
    assert transport.is_closing() is True
    assert protocol.events == ["made"]
    transport.abort()
    transport.close()
    assert await protocol.lost() is None
    assert await peer.read_all() == b""
    await peers.turns()
    assert protocol.events == ["made", "lost"]


async def test_abort_drops_what_is_pending(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.abort()
    assert transport.get_write_buffer_size() == 0
    assert await protocol.lost() is None
    assert len(await peer.read_all()) < written


async def test_abort_after_close_with_pending_data(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.close()
    await peers.turns()
    assert "lost" not in protocol.events
    transport.abort()
    assert await protocol.lost() is None
    assert len(await peer.read_all()) < written
    assert protocol.events.count("lost") == 1


@pytest.mark.whole_calls
async def test_a_write_that_was_sent_survives_abort(connect):
    """What a finished callback has written and the socket has taken is not taken back."""
    transport, protocol, peer = await connect(Recorder)
    transport.write(b"sent")
    await peers.turns(1)
    transport.abort()
    assert await peer.read_all() == b"sent"
    assert await protocol.lost() is None


@pytest.mark.parametrize("end", ("close", "abort"))
@pytest.mark.parametrize("callback", ("made", "data", "eof", "lost", "pause"))
async def test_end_in_each_callback(connect, callback, end):
    def ending(self, *args):
        getattr(self.transport, end)()

    transport, protocol, peer = await connect(
        lambda: Recorder(**{callback: ending}), ours_sndbuf=SMALL, theirs_rcvbuf=SMALL
    )
    if callback == "data":
        peer.send(b"x")
    elif callback == "eof":
        peer.half_close()
    elif callback == "pause":
        peers.fill(transport)
        if end == "close":
            await peer.read_all()
    elif callback == "lost":
        transport.close()
    assert await protocol.lost() is None
    await peers.turns(5)
    expected = {
        "made": ["made", "lost"],
        "data": ["made", "data", "lost"],
        "eof": ["made", "eof", "lost"],
        "lost": ["made", "lost"],
        "pause": ["made", "pause", "lost"],
    }[callback]
    if (callback, end) == ("pause", "close"):
        # Flushing goes below the low water mark.
        expected = ["made", "pause", "resume", "lost"]
    assert protocol.events == expected


@pytest.mark.parametrize("end", ("close", "abort"))
async def test_end_in_buffered_callbacks(connect, end):
    def ending(self, nbytes):
        getattr(self.transport, end)()

    transport, protocol, peer = await connect(lambda: BufferedRecorder(updated=ending))
    peer.send(b"x")
    assert await protocol.lost() is None
    assert protocol.events == ["made", "updated", "lost"]


@pytest.mark.whole_calls
async def test_write_and_close_in_data_received(connect):
    """The simplest server: answer and hang up."""
    answer = peers.payload(700_000)

    def data(self, data):
        self.transport.write(answer)
        self.transport.close()

    transport, protocol, peer = await connect(lambda: Recorder(data=data))
    peer.send(b"question")
    assert peers.digest(await peer.read_all()) == peers.digest(answer)
    assert await protocol.lost() is None
    assert protocol.events.count("data") == 1


async def test_the_count_of_lost_writes_has_no_end(connect, logged):
    """Not even one at which the connection would seem to be there again."""
    transport, protocol, peer = await connect(Recorder)
    transport.abort()
    transport._conn_lost = 2**31 - 1
    for _ in range(3):
        transport.write(b"x")
        assert transport._conn_lost > 2**31 - 2
    assert logged == [WARNING] * 3
    logged.clear()
    await protocol.lost()


async def test_write_in_connection_lost_is_dropped(connect):
    transport, protocol, peer = await connect(lambda: Recorder(lost=lambda self, exc: transport.write(b"x")))
    transport.close()
    await protocol.lost()
    assert await peer.read_all() == b""


# ---- Writing after the end ----


@pytest.mark.parametrize("end", ("close", "abort"))
async def test_write_after_the_end_is_dropped_and_logged_from_the_sixth_on(connect, logged, end):
    """The closing itself counts as the first of five."""
    transport, protocol, peer = await connect(Recorder)
    getattr(transport, end)()
    logs = []
    for _ in range(7):
        transport.write(b"lost")
        logs.append(len(logged))
    assert logs == [0, 0, 0, 0, 1, 2, 3]
    assert logged == [WARNING] * 3
    logged.clear()
    assert transport.get_write_buffer_size() == 0
    assert await protocol.lost() is None
    assert await peer.read_all() == b""


async def test_write_of_nothing_after_the_end_is_not_counted(connect, logged):
    transport, protocol, peer = await connect(Recorder)
    transport.close()
    for _ in range(10):
        transport.write(b"")
    assert logged == []
    await protocol.lost()


async def test_write_after_connection_lost(connect, logged):
    transport, protocol, peer = await connect(Recorder)
    transport.close()
    await protocol.lost()
    for _ in range(5):
        transport.write(b"x")
    assert logged == [WARNING]
    logged.clear()


async def test_writing_and_abort_after_a_close_that_flushed(connect, impl, logged):
    """The end of a connection that was closed with data left to send is one as any other."""
    if not support.PY314 and not impl.native_transports:
        pytest.skip("asyncio before 3.14 fails with an AttributeError of its insides")
    transport, protocol, peer, written = await filled(connect)
    transport.close()
    assert len(await peer.read_all()) == written
    await protocol.lost()
    transport.write(b"x")
    transport.writelines([b"x"])
    transport.abort()
    assert logged == [] and protocol.events[-1] == "lost" and protocol.events.count("lost") == 1


async def test_writelines_after_close(connect, impl):
    if support.PY312 and not support.PY314 and not impl.native_transports:
        pytest.skip("asyncio 3.12 and 3.13 fail with a TypeError of their insides")
    transport, protocol, peer = await connect(Recorder)
    transport.close()
    transport.writelines([b"x", b"y"])
    assert await protocol.lost() is None
    assert await peer.read_all() == b""


async def test_write_while_closing_goes_behind_what_is_pending(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.close()
    transport.write(b"one more")
    received = await peer.read_all()
    assert len(received) == written + 8
    assert received.endswith(b"one more")
    assert await protocol.lost() is None


# ---- Peers that reset ----


@TCP
async def test_reset_while_reading(connect):
    transport, protocol, peer = await connect(Recorder)
    peer.reset()
    exc = await protocol.lost()
    assert type(exc) is ConnectionResetError
    assert exc.errno == errno.ECONNRESET
    assert str(exc) == "[Errno 104] Connection reset by peer"
    assert protocol.events == ["made", "lost"]
    assert transport.is_closing() is True


@pytest.mark.whole_calls
async def test_peer_closes_with_unread_data(connect):
    """The kernel answers with a reset, on Unix sockets too."""
    transport, protocol, peer = await connect(Recorder)
    transport.write(b"never read")
    await peers.turns(2)
    peer.close()
    exc = await protocol.lost()
    assert type(exc) is ConnectionResetError
    assert protocol.events == ["made", "lost"]


@TCP
async def test_reset_after_data(connect):
    """A reset drops what is in flight; the data that has been read before is delivered."""
    transport, protocol, peer = await connect(Recorder)
    peer.send(b"x")
    await protocol.bytes(1)
    peer.reset()
    assert type(await protocol.lost()) is ConnectionResetError
    assert protocol.events == ["made", "data", "lost"]


@TCP
async def test_reset_with_buffered_protocol(connect):
    transport, protocol, peer = await connect(BufferedRecorder)
    peer.reset()
    assert type(await protocol.lost()) is ConnectionResetError
    assert protocol.events == ["made", "lost"]


async def test_write_to_a_peer_that_is_gone(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.pause_reading()
    peer.close()
    # TCP learns of it by the reset that answers the first write.
    for _ in range(100):
        transport.write(b"x" * 1000)
        if transport.is_closing():
            break
        await peers.turns(3)
    exc = await protocol.lost()
    assert type(exc) in (BrokenPipeError, ConnectionResetError)
    assert protocol.events == ["made", "lost"]


async def test_peer_goes_away_while_data_is_pending(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.pause_reading()
    if peer.sock.family.name == "AF_INET":
        peer.reset()
    else:
        peer.close()
    exc = await protocol.lost()
    assert type(exc) in (BrokenPipeError, ConnectionResetError)
    assert transport.get_write_buffer_size() == 0
    assert protocol.events == ["made", "pause", "lost"]


async def test_peer_goes_away_while_closing_with_pending_data(connect):
    transport, protocol, peer, written = await filled(connect)
    transport.close()
    if peer.sock.family.name == "AF_INET":
        peer.reset()
    else:
        peer.close()
    exc = await protocol.lost()
    assert type(exc) in (BrokenPipeError, ConnectionResetError)
    assert protocol.events.count("lost") == 1


@TCP
async def test_writes_after_a_reset_are_logged(connect, logged):
    transport, protocol, peer = await connect(Recorder)
    peer.reset()
    await protocol.lost()
    for _ in range(10):
        transport.write(b"x")
    assert logged == [WARNING] * 6
    logged.clear()


@TCP
async def test_reset_while_idle_and_paused_is_seen_at_the_next_read(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.pause_reading()
    peer.reset()
    await peers.turns(10)
    transport.resume_reading()
    assert type(await protocol.lost()) is ConnectionResetError


# ---- Callbacks that raise ----

FATAL = {
    "data": "Fatal error: protocol.data_received() call failed.",
    "eof": "Fatal error: protocol.eof_received() call failed.",
    "updated": "Fatal error: protocol.buffer_updated() call failed.",
    "get_buffer": "Fatal error: protocol.get_buffer() call failed.",
}


@pytest.mark.parametrize("callback", FATAL)
async def test_fatal_exceptions(connect, reports, callback):
    """Reported with the transport and the protocol, and given to connection_lost()."""
    failure = LookupError("oops")

    def fail(self, *args):
        raise failure

    kind = Recorder if callback in ("data", "eof") else BufferedRecorder
    transport, protocol, peer = await connect(lambda: kind(**{callback: fail}))
    if callback == "eof":
        peer.half_close()
    else:
        peer.send(b"x")
    assert await protocol.lost() is failure
    context = reports.pop()
    assert context == {
        "message": FATAL[callback],
        "exception": failure,
        "transport": transport,
        "protocol": protocol,
    }
    assert protocol.events == ["made", callback, "lost"]
    assert transport.is_closing() is True
    if callback != "get_buffer":
        assert await peer.read_all() == b""


@pytest.mark.parametrize("callback", ("data", "eof"))
async def test_os_errors_of_callbacks_are_not_reported(connect, callback):
    """asyncio takes them for errors of the connection, whoever raised them."""
    failure = OSError(errno.EIO, "mine")

    def fail(self, *args):
        raise failure

    transport, protocol, peer = await connect(lambda: Recorder(**{callback: fail}))
    if callback == "eof":
        peer.half_close()
    else:
        peer.send(b"x")
    assert await protocol.lost() is failure


async def test_exception_in_connection_made(loop, family, reports):
    """It is reported as that of any callback, and the transport works."""

    def fail(self, transport):
        raise LookupError("made")

    ours, theirs = peers.socket_pair(family)
    with peers.Peer(theirs) as peer:
        transport, protocol = await loop.create_connection(lambda: Recorder(made=fail), sock=ours)
        context = reports.pop()
        assert context["message"].startswith("Exception in callback ")
        assert "connection_made" in context["message"] or "Recorder" in context["message"]
        assert type(context["exception"]) is LookupError
        assert set(context) == {"message", "exception", "handle"}
        del context
        peer.send(b"x")
        await protocol.bytes(1)
        transport.close()
        await protocol.lost()


async def test_exception_in_connection_lost(connect, reports):
    def fail(self, exc):
        raise LookupError("lost")

    transport, protocol, peer = await connect(lambda: Recorder(lost=fail))
    transport.close()
    assert await peer.read_all() == b"", "the socket is closed all the same"
    context = reports.pop()
    assert context["message"].startswith("Exception in callback ")
    assert type(context["exception"]) is LookupError
    assert set(context) == {"message", "exception", "handle"}
    assert protocol.events == ["made", "lost"]


@pytest.mark.parametrize("failure", (KeyboardInterrupt, SystemExit))
@pytest.mark.parametrize("callback", ("data", "eof"))
def test_exceptions_that_leave_the_loop(loop, connect, failure, callback):
    def fail(self, *args):
        raise failure("out")

    transport, protocol, peer = loop.run_until_complete(connect(lambda: Recorder(**{callback: fail})))
    if callback == "eof":
        peer.half_close()
    else:
        peer.send(b"x")
    with pytest.raises(failure):
        loop.run_forever()
    # The transport is as it was; the loop can run on.
    protocol._actions.clear()
    transport.abort()
    loop.run_until_complete(protocol.lost())


async def test_empty_buffer(connect, reports):
    transport, protocol, peer = await connect(lambda: BufferedRecorder(0))
    peer.send(b"x")
    exc = await protocol.lost()
    assert type(exc) is RuntimeError
    assert str(exc) == "get_buffer() returned an empty buffer"
    assert reports.pop()["message"] == FATAL["get_buffer"]


@pytest.mark.parametrize("wrong", (None, 5))
async def test_get_buffer_returns_no_buffer(connect, reports, wrong):
    transport, protocol, peer = await connect(
        lambda: BufferedRecorder(get_buffer=lambda self, sizehint: wrong)
    )
    peer.send(b"x")
    exc = await protocol.lost()
    assert type(exc) is TypeError
    context = reports.pop()
    assert context["message"] == FATAL["get_buffer"]
    assert context["exception"] is exc


async def test_get_buffer_returns_a_buffer_that_cannot_be_written(connect, reports):
    transport, protocol, peer = await connect(
        lambda: BufferedRecorder(get_buffer=lambda self, sizehint: b"constant")
    )
    peer.send(b"x")
    exc = await protocol.lost()
    assert type(exc) in (TypeError, BufferError)
    assert reports.pop()["exception"] is exc


# ---- What is left ----


async def test_a_lost_transport_keeps_nothing_alive(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.write(b"x")
    transport.close()
    await protocol.lost()
    await peers.turns()
    protocol_ref = weakref.ref(protocol)
    del protocol
    support.collect()
    assert protocol_ref() is None, "the transport let go of its protocol"


async def test_a_lost_transport_is_freed(connect):
    transport, protocol, peer = await connect(Recorder)
    transport.close()
    await protocol.lost()
    await peers.turns()
    ref = weakref.ref(transport)
    protocol.transport = None
    del transport
    support.collect()
    assert ref() is None


async def test_an_open_transport_is_kept_by_the_loop(connect):
    """A program need not hold a transport that is reading."""
    transport, protocol, peer = await connect(Recorder)
    events = protocol.events
    seen = asyncio.get_running_loop().create_future()
    protocol._actions["lost"] = lambda self, exc: seen.set_result(exc)
    protocol.transport = None
    del transport, protocol
    gc.collect()
    peer.close()
    assert await seen is None
    assert events == ["made", "eof", "lost"]


def test_unclosed_transport_warns(loop, connect):
    transport, protocol, peer = loop.run_until_complete(connect(Recorder))
    fd = transport.get_extra_info("socket").fileno()
    transport.pause_reading()
    with support.recorded_warnings() as warned:
        protocol.transport = None
        del transport
        support.collect()
    assert [
        text
        for kind, text in warned
        if re.search(f"^unclosed transport .*fd={fd}", text) and kind == "ResourceWarning"
    ]
    # The descriptor is closed with it.
    assert loop.run_until_complete(peer.read_all()) == b""


def test_closed_transport_does_not_warn(loop, connect):
    transport, protocol, peer = loop.run_until_complete(connect(Recorder))
    transport.close()
    loop.run_until_complete(protocol.lost())
    protocol.transport = None
    del transport
    support.collect()


def test_loop_closed_under_a_transport(loop, connect):
    """The transport can no longer be told; it still says that it was left open, and its descriptor is closed."""
    transport, protocol, peer = loop.run_until_complete(connect(Recorder))
    support.run_until_idle(loop)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert re.fullmatch(r"<\S+ fd=\d+>", repr(transport))
    with support.recorded_warnings() as warned:
        protocol.transport = None
        del transport
        support.collect()
    assert [
        text for kind, text in warned if text.startswith("unclosed transport") and kind == "ResourceWarning"
    ]
    assert peer.sock.recv(1) == b""


# ---- Writes that fail when the callback that wrote has ended ----

UNIX = pytest.mark.parametrize("family", ("unix",), indirect=True)
variable = contextvars.ContextVar("variable", default="default")


@pytest.mark.skipif(support.PY315, reason="from Python 3.15 on a connection has a context of its own")
@UNIX
async def test_connection_lost_by_a_write_has_the_context_of_the_write(connect):
    seen = []
    transport, protocol, peer = await connect(
        lambda: Recorder(lost=lambda self, exc: seen.append(variable.get()))
    )
    transport.pause_reading()
    peer.close()
    variable.set("writer's")
    transport.write(b"x")
    assert type(await protocol.lost()) is BrokenPipeError
    assert seen == ["writer's"]


@UNIX
async def test_a_failing_write_never_stops_the_loop(connect, impl, reports):
    transport, protocol, peer = await connect(Recorder)
    transport.pause_reading()
    peer.close()

    def fail(*args):
        raise ZeroDivisionError

    transport._fatal_error = fail
    with contextlib.suppress(ZeroDivisionError):
        transport.write(b"x")  # asyncio's raises here
    while impl.native_transports and not reports:
        await peers.turns(1)
    assert [report["exception"].__class__ for report in reports] == [
        ZeroDivisionError
    ] * impl.native_transports
    reports.clear()
    del transport._fatal_error
    transport.abort()
    await protocol.lost()
