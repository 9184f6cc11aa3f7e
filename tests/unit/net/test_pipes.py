"""connect_read_pipe and connect_write_pipe: FIFOs, sockets, terminals, and who closes what."""

import asyncio
import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from .. import marks, support
from . import peers
from .peers import Recorder, in_thread, turns


@pytest.fixture
def pipes(loop):
    """`pipes(kind)` returns two file objects `(reading, writing)`, unbuffered; what is left open is closed at the end."""
    opened = []

    def pipes(kind):
        if kind == "pipe":
            reading, writing = os.pipe()
        elif kind == "socket":
            left, right = socket.socketpair()
            reading, writing = left.detach(), right.detach()
        else:
            writing, reading = os.openpty()
            raw_terminal(reading)
        opened.extend((os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)))
        return opened[-2:]

    yield pipes
    for file in opened:
        file.close()


def raw_terminal(fd):
    """Let a terminal pass on what it is given."""
    import tty

    tty.setraw(fd)


KINDS = pytest.mark.parametrize("kind", ("pipe", "socket", "terminal"))


async def write_all(file, data):
    def write():
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    await in_thread(write)


def read_exactly(file, size):
    data = b""
    while len(data) < size:
        chunk = file.read(size - len(data))
        assert chunk, "the pipe ended"
        data += chunk
    return data


async def fill(transport, protocol, chunk=b"x" * 4096):
    """Write until the protocol is told to pause; return the number of bytes."""
    written = 0
    while "pause" not in protocol.events:
        transport.write(chunk)
        written += len(chunk)
        assert written < 64 << 20
    await turns(3)
    return written


# ---- Reading ----


@KINDS
async def test_reading(loop, pipes, kind):
    reading, writing = pipes(kind)
    transport, protocol = await loop.connect_read_pipe(Recorder, reading)
    assert protocol.events == ["made"]
    assert os.get_blocking(reading.fileno()) is False
    writing.write(b"one")
    assert await protocol.bytes(3) == b"one"
    writing.write(b"two")
    assert await protocol.bytes(6) == b"onetwo"
    transport.close()
    assert await protocol.lost() is None
    assert reading.closed


async def test_reading_much(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_read_pipe(Recorder, reading)
    data = peers.payload(2 << 20)
    await write_all(writing, data)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    writing.close()
    assert await protocol.lost() is None
    assert protocol.events[-2:] == ["eof", "lost"]


@pytest.mark.parametrize("kind", ("pipe", "socket"))
@pytest.mark.parametrize("keep", (False, True))
async def test_end_of_a_pipe(loop, pipes, kind, keep):
    """Whatever eof_received() says: a pipe has no other half to keep open."""
    reading, writing = pipes(kind)
    transport, protocol = await loop.connect_read_pipe(lambda: Recorder(eof=lambda self: keep), reading)
    writing.write(b"x")
    writing.close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "data", "eof", "lost"]
    assert transport.is_closing() is True
    assert reading.closed


async def test_end_of_a_terminal(loop, pipes):
    """Reading from a terminal whose other side was closed fails with EIO, which is not reported."""
    reading, writing = pipes("terminal")
    # The master reads what the slave writes.
    transport, protocol = await loop.connect_read_pipe(Recorder, os.fdopen(os.dup(writing.fileno()), "rb", 0))
    reading_fd = reading.fileno()
    os.write(reading_fd, b"x")
    await protocol.bytes(1)
    reading.close()
    exc = await protocol.lost()
    assert type(exc) is OSError and exc.errno == errno.EIO


@pytest.mark.whole_calls
async def test_size_of_a_read(loop, pipes):
    """No more than 256 KiB at once, so that other callbacks get their turn."""
    sizes = []
    reading, writing = pipes("pipe")
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    data = peers.payload(600_000)
    writing.write(data)
    transport, protocol = await loop.connect_read_pipe(
        lambda: Recorder(data=lambda self, data: sizes.append(len(data))), reading
    )
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    assert sizes == [262_144, 262_144, 75_712]
    transport.close()
    await protocol.lost()


async def test_named_fifo(loop, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
    with open(path, "wb", 0) as writing:
        transport, protocol = await loop.connect_read_pipe(Recorder, reading)
        writing.write(b"through the file system")
        assert await protocol.bytes(23) == b"through the file system"
    assert await protocol.lost() is None


@marks.not_early
async def test_pausing(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_read_pipe(Recorder, reading)
    assert transport.is_reading() is True
    transport.pause_reading()
    transport.pause_reading()
    assert transport.is_reading() is False
    writing.write(b"x")
    await turns(10)
    assert protocol.events == ["made"]
    transport.resume_reading()
    transport.resume_reading()
    await protocol.bytes(1)
    transport.close()
    assert transport.is_reading() is False
    transport.resume_reading()
    await protocol.lost()


@marks.not_early
async def test_pause_in_connection_made(loop, pipes):
    reading, writing = pipes("pipe")
    writing.write(b"x")
    transport, protocol = await loop.connect_read_pipe(
        lambda: Recorder(made=lambda self, transport: transport.pause_reading()), reading
    )
    await turns(10)
    assert protocol.events == ["made"]
    transport.resume_reading()
    await protocol.bytes(1)
    transport.close()
    await protocol.lost()


@pytest.mark.parametrize("callback", ("made", "data", "eof"))
async def test_close_in_callbacks(loop, pipes, callback):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_read_pipe(
        lambda: Recorder(**{callback: lambda self, *args: self.transport.close()}), reading
    )
    if callback == "data":
        writing.write(b"x")
    elif callback == "eof":
        writing.close()
    assert await protocol.lost() is None
    await turns(5)
    assert protocol.events == (["made", "lost"] if callback == "made" else ["made", callback, "lost"])


@pytest.mark.whole_calls
async def test_exception_in_data_received(loop, pipes, reports):
    """It is reported, and the pipe is read on: pipes are not as strict as sockets."""

    def fail(self, data):
        if data == b"bad":
            raise LookupError("data")

    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_read_pipe(lambda: Recorder(data=fail), reading)
    writing.write(b"bad")
    await protocol.bytes(3)
    await turns(2)
    assert type(reports.pop()["exception"]) is LookupError
    writing.write(b"good")
    await protocol.bytes(7)
    transport.close()
    await protocol.lost()


async def test_no_protocol(loop, pipes, reports):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_read_pipe(Recorder, reading)
    transport.set_protocol(None)
    writing.write(b"x")
    while not reports:
        await turns(1)
    await turns(3)
    assert [str(context["exception"]) for context in reports] == [
        "'NoneType' object has no attribute 'data_received'"
    ]
    reports.clear()
    transport.set_protocol(protocol)
    transport.close()
    assert await protocol.lost() is None


async def test_set_protocol_of_a_reading_pipe(loop, pipes):
    reading, writing = pipes("pipe")
    second = Recorder()
    transport, protocol = await loop.connect_read_pipe(
        lambda: Recorder(data=lambda self, data: self.transport.set_protocol(second)), reading
    )
    writing.write(b"x")
    await protocol.bytes(1)
    writing.write(b"y")
    await second.bytes(1)
    assert transport.get_protocol() is second
    writing.close()
    assert await second.lost() is None


async def test_regular_files_are_refused(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with open(path, "rb") as file:
        with pytest.raises(ValueError) as caught:
            await loop.connect_read_pipe(Recorder, file)
        assert str(caught.value) == "Pipe transport is for pipes/sockets only."
        assert not file.closed
    with open(path, "wb") as file:
        with pytest.raises(ValueError) as caught:
            await loop.connect_write_pipe(Recorder, file)
        assert str(caught.value) == "Pipe transport is only for pipes, sockets and character devices"
        assert not file.closed


async def test_stream_reader_of_a_pipe(loop, pipes):
    reading, writing = pipes("pipe")
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), reading)
    await write_all(writing, b"".join(b"line %d\n" % i for i in range(10_000)))
    writing.close()
    for i in range(10_000):
        assert await reader.readline() == b"line %d\n" % i
    assert await reader.read() == b""
    await turns()


# ---- Writing ----


@KINDS
async def test_writing(loop, pipes, kind):
    reading, writing = pipes(kind)
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    assert os.get_blocking(writing.fileno()) is False
    transport.write(b"one")
    transport.write(bytearray(b"two"))
    transport.writelines([memoryview(b"three"), b"four"])
    transport.write(b"")
    assert await in_thread(read_exactly, reading, 15) == b"onetwothreefour"
    transport.close()
    assert await protocol.lost() is None
    assert writing.closed


@pytest.mark.parametrize("kind", ("pipe", "socket"))
async def test_writing_much(loop, pipes, kind):
    reading, writing = pipes(kind)
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    data = peers.payload(1 << 20)
    transport.write(data)
    transport.close()
    assert peers.digest(await in_thread(read_exactly, reading, len(data))) == peers.digest(data)
    assert await in_thread(reading.read, 1) == b""
    assert await protocol.lost() is None


async def test_buffers_changed_after_the_write(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    original = peers.payload(300_000)
    data = bytearray(original)
    transport.write(data)
    data[:] = bytes(len(data))
    data.clear()
    assert peers.digest(await in_thread(read_exactly, reading, 300_000)) == peers.digest(original)
    transport.close()
    await protocol.lost()


@pytest.mark.whole_calls
async def test_pause_and_resume_writing(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    assert transport.get_write_buffer_limits() == (16384, 65536)
    written = await fill(transport, protocol)
    assert transport.get_write_buffer_size() > 65536
    before = transport.get_write_buffer_size()
    transport.write(b"y" * 100)
    assert transport.get_write_buffer_size() == before + 100
    await in_thread(read_exactly, reading, written + 100)
    await protocol.until(lambda: "resume" in protocol.events)
    assert protocol.events == ["made", "pause", "resume"]
    transport.close()
    await protocol.lost()


async def test_wrong_type(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    with pytest.raises((TypeError, AssertionError)):
        transport.write("text")
    transport.close()
    await protocol.lost()


@pytest.mark.parametrize("kind", ("pipe", "socket"))
async def test_reader_goes_away(loop, pipes, kind):
    reading, writing = pipes(kind)
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    reading.close()
    assert await protocol.lost() is None
    assert protocol.events == ["made", "lost"]
    assert writing.closed


async def test_reader_goes_away_with_data_pending(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    await fill(transport, protocol)
    reading.close()
    assert type(await protocol.lost()) is BrokenPipeError
    assert protocol.events == ["made", "pause", "lost"]


@pytest.mark.whole_calls
async def test_reader_is_found_gone_by_a_write(loop, pipes, logged):
    """The write fails before the loop has had a chance to see it: no report, for that is how pipes end."""
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    reading.close()
    for _ in range(7):
        transport.write(b"x")
    assert transport.is_closing() is True
    assert type(await protocol.lost()) is BrokenPipeError
    assert protocol.events == ["made", "lost"]
    assert logged == ["pipe closed by peer or os.write(pipe, data) raised exception."] * 2
    logged.clear()


async def test_socket_that_answers(loop, pipes):
    """A socket as a pipe can be read as well; something to read is taken for the end."""
    reading, writing = pipes("socket")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    os.write(reading.fileno(), b"answer")
    assert await protocol.lost() is None
    assert protocol.events == ["made", "lost"]


@pytest.mark.whole_calls
async def test_writes_are_not_put_off(loop, pipes):
    """Who else writes to the same pipe can rely on the order."""
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    transport.write(b"one ")
    os.write(writing.fileno(), b"two ")
    transport.write(b"three")
    assert read_exactly(reading, 13) == b"one two three"
    transport.close()
    await protocol.lost()


async def test_many_small_writes_to_a_full_pipe(loop, pipes):
    """A slow reader takes one page at a time; what is queued meanwhile is in hundreds of pieces."""
    reading, writing = pipes("pipe")
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    data = peers.payload(1 << 20)
    for start in range(0, len(data), 1500):
        transport.write(data[start : start + 1500])
    transport.close()
    received = b""
    while len(received) < len(data):
        received += await in_thread(reading.read, 4096)
    assert peers.digest(received) == peers.digest(data)
    assert await protocol.lost() is None
    assert protocol.events == ["made", "pause", "resume", "lost"]


@pytest.mark.whole_calls
async def test_limits(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    transport.set_write_buffer_limits(high=0)
    transport.write(b"x" * 1000)
    assert "pause" not in protocol.events  # it went into the pipe
    written = await fill(transport, protocol)
    assert transport.get_write_buffer_size() > 0
    await in_thread(read_exactly, reading, 1000 + written)
    await protocol.until(lambda: "resume" in protocol.events)
    assert transport.get_write_buffer_size() == 0
    with pytest.raises(ValueError):
        transport.set_write_buffer_limits(high=1, low=2)
    transport.set_write_buffer_limits(high=1e6)
    assert transport.get_write_buffer_limits() == (250_000, 1_000_000)
    transport.close()
    await protocol.lost()


@pytest.mark.parametrize("how", ("close", "abort", "write_eof"))
async def test_end_in_resume_writing(impl, loop, pipes, how):
    if not impl.native_loop:
        pytest.skip("asyncio ends the pipe twice here, of which the second fails")
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(
        lambda: Recorder(resume=lambda self: getattr(self.transport, how)()), writing
    )
    written = await fill(transport, protocol)
    await in_thread(read_exactly, reading, written)
    assert await protocol.lost() is None
    await turns(5)
    assert protocol.events == ["made", "pause", "resume", "lost"]
    assert writing.closed


async def test_write_and_close_in_resume_writing(impl, loop, pipes):
    if not impl.native_loop:
        pytest.skip("asyncio loses what was written here")
    more = peers.payload(300_000)

    def write_and_close(self):
        self.transport.write(more)
        self.transport.close()

    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(lambda: Recorder(resume=write_and_close), writing)
    written = await fill(transport, protocol)
    data = await in_thread(read_exactly, reading, written + len(more))
    assert peers.digest(data[written:]) == peers.digest(more)
    assert await in_thread(reading.read, 1) == b""
    assert await protocol.lost() is None
    assert protocol.events.count("lost") == 1


@pytest.mark.parametrize("first", ("close", "abort", "write_eof"))
async def test_ended_twice(impl, loop, pipes, first):
    if not impl.native_loop:
        pytest.skip("asyncio calls connection_lost() twice here, of which the second fails")
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    getattr(transport, first)()
    transport.abort()
    assert await protocol.lost() is None
    transport.abort()
    await turns(5)
    assert protocol.events == ["made", "lost"]


@pytest.mark.parametrize("method", ("close", "write_eof", "abort"))
async def test_end_by_another_thread_during_a_write(impl, loop, pipes, method):
    """The kernel writes, which lets that thread in; when it has written all, nothing but the end is left to be done."""
    if not impl.native_transports:
        pytest.skip("asyncio does not count what it writes, which tells the thread that it does")
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    os.set_blocking(writing.fileno(), False)
    full = writing.write(bytes(1 << 20))
    os.set_blocking(writing.fileno(), True)
    started = threading.Event()

    def end():
        started.set()
        while transport.get_write_buffer_size() == 0:
            pass
        getattr(transport, method)()
        return read_exactly(reading, full)

    ended = loop.run_in_executor(None, end)
    started.wait()
    transport.write(b"x")
    await ended
    assert await protocol.lost() is None
    assert protocol.events == ["made", "lost"]
    assert reading.read(2) == b"x"
    assert writing.closed


@pytest.mark.parametrize("writes", (True, False), ids=("writing", "reading"))
@pytest.mark.whole_calls
def test_descriptor_that_became_blocking(impl, writes):
    """Another process can take non-blocking mode away from a terminal or pipe. Other threads run on all the same.

    In a process of its own: if this goes wrong no thread runs any more, not even one that could say so.
    """
    script = f"""
    import asyncio, os, threading
    if {impl.native_loop}:
        from asyncio_c import new_event_loop
    else:
        from asyncio import SelectorEventLoop as new_event_loop

    reading, writing = os.pipe()
    size = 1 << 20

    def read_all():
        rest = size
        while rest:
            rest -= len(os.read(reading, rest))

    async def write():
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.Protocol, os.fdopen(writing, "wb", 0))
        os.set_blocking(writing, True)
        thread = threading.Thread(target=read_all)
        thread.start()
        transport.write(bytes(size))
        transport.close()
        thread.join()

    async def read():
        lost = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_lost(self, exc):
                lost.set_result(None)

        transport, _ = await asyncio.get_running_loop().connect_read_pipe(Protocol, os.fdopen(reading, "rb", 0))
        os.set_blocking(reading, True)
        go = threading.Semaphore(0)
        thread = threading.Thread(target=lambda: (go.acquire(), os.close(writing)))
        thread.start()
        go.release()
        transport._read_ready()  # as if another reader of the same terminal had been quicker
        await lost
        thread.join()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run({"write" if writes else "read"}())
    print("done")
    """
    program = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(program, capture_output=True, text=True, timeout=peers.GUARD_SECONDS)
    assert (result.stdout, result.stderr) == ("done\n", "")


async def test_write_eof(loop, pipes):
    """It is close(), for a pipe has but one half."""
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    assert transport.can_write_eof() is True
    written = await fill(transport, protocol)
    transport.write_eof()
    assert transport.is_closing() is True
    transport.write_eof()
    await in_thread(read_exactly, reading, written)
    assert await in_thread(reading.read, 1) == b""
    assert await protocol.lost() is None


async def test_abort(loop, pipes):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    written = await fill(transport, protocol)
    transport.abort()
    assert transport.is_closing() is True
    assert await protocol.lost() is None
    assert len(await in_thread(reading.read, written)) < written


async def test_write_after_close(loop, pipes, logged):
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_write_pipe(Recorder, writing)
    transport.close()
    for _ in range(7):
        transport.write(b"x")
    assert logged == ["pipe closed by peer or os.write(pipe, data) raised exception."] * 2
    logged.clear()
    assert await protocol.lost() is None
    assert await in_thread(reading.read, 1) == b""


@pytest.mark.whole_calls
async def test_writing_character_device(loop):
    transport, protocol = await loop.connect_write_pipe(Recorder, open("/dev/null", "wb", 0))
    transport.write(b"x" * 1_000_000)
    transport.close()
    assert await protocol.lost() is None


# ---- Both ----


def connecting(loop, end):
    return loop.connect_read_pipe if end == 0 else loop.connect_write_pipe


@pytest.mark.parametrize("end", (0, 1), ids=("read", "write"))
async def test_information(loop, pipes, end):
    pair = pipes("pipe")
    pipe = pair[end]
    fd = pipe.fileno()
    transport, protocol = await connecting(loop, end)(Recorder, pipe)
    await turns()
    assert isinstance(transport, (asyncio.ReadTransport, asyncio.WriteTransport)[end])
    assert transport.get_extra_info("pipe") is pipe
    assert transport.get_extra_info("nothing", 5) == 5
    assert transport.get_protocol() is protocol
    shape = (f"fd={fd} polling", f"fd={fd} idle bufsize=0")[end]
    assert re.fullmatch(rf"<\w+ {shape}>", repr(transport))
    transport.close()
    assert re.match(rf"<\w+ closing fd={fd} ", repr(transport))
    await protocol.lost()
    await turns()
    assert re.fullmatch(rf"<\w+ closed fd={fd} closed>", repr(transport))


@pytest.mark.parametrize("end", (0, 1), ids=("read", "write"))
async def test_closed_once(loop, pipes, end):
    """The number of the closed pipe is used again at once: nobody closes it a second time."""
    pair = pipes("pipe")
    fd = pair[end].fileno()
    transport, protocol = await connecting(loop, end)(Recorder, pair[end])
    transport.close()
    transport.close()
    await protocol.lost()
    await turns()
    copies = [os.dup(0) for _ in range(3)]
    assert fd in copies
    transport.close()
    protocol.transport = None
    del transport, protocol
    pair[end].close()
    support.collect()
    for copy in copies:
        os.close(copy)


async def test_unclosed_transport_warns(loop, pipes):
    """A paused one: a pipe that is watched is kept by the loop, as each is that is written to."""
    reading, writing = pipes("pipe")
    transport, protocol = await loop.connect_read_pipe(Recorder, reading)
    await turns()
    transport.pause_reading()
    protocol.transport = None
    with support.recorded_warnings() as warned:
        del transport
        support.collect()
    assert [text for kind, text in warned if kind == "ResourceWarning" and "unclosed transport" in text]


@pytest.mark.parametrize("end", (0, 1), ids=("read", "write"))
async def test_factory_that_raises(loop, pipes, end):
    def fail():
        raise LookupError("factory")

    pair = pipes("pipe")
    with pytest.raises(LookupError):
        await connecting(loop, end)(fail, pair[end])
    assert not pair[end].closed


async def test_both_ends_on_one_loop(loop, pipes):
    reading, writing = pipes("pipe")
    _, reader = await loop.connect_read_pipe(Recorder, reading)
    transport, writer = await loop.connect_write_pipe(Recorder, writing)
    data = peers.payload(1 << 20)
    transport.write(data)
    transport.close()
    assert await reader.lost() is None
    assert await writer.lost() is None
    assert peers.digest(reader.received) == peers.digest(data)


@pytest.mark.parametrize("end", (0, 1), ids=("read", "write"))
async def test_debug_mode_tells_of_the_end(loop, pipes, end):
    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    pair = pipes("pipe")
    transport, protocol = await connecting(loop, end)(Recorder, pair[end])
    with support.recorded_logs() as logs:
        pair[1 - end].close()
        assert await protocol.lost() is None
    assert [level for level, text, _ in logs if text.endswith("was closed by peer")] == ["INFO"]


@pytest.mark.parametrize("end", (0, 1), ids=("read", "write"))
async def test_native(impl, loop, pipes, end):
    pair = pipes("pipe")
    transport, protocol = await connecting(loop, end)(Recorder, pair[end])
    if impl.native_loop:
        from asyncio_c import _core

        assert isinstance(transport, (_core.ReadPipeTransport, _core.WritePipeTransport)[end])
    unix_events = asyncio.unix_events
    assert isinstance(
        transport, (unix_events._UnixReadPipeTransport, unix_events._UnixWritePipeTransport)[end]
    )
    transport.close()
    await protocol.lost()


async def test_unclosed_writing_transport_warns(loop):
    """One on a character device: it is not watched until it has to wait."""
    file = open("/dev/null", "wb", 0)
    transport, protocol = await loop.connect_write_pipe(Recorder, file)
    await turns()
    text = f"unclosed transport {transport!r}"
    protocol.transport = None
    with support.recorded_warnings() as warned:
        del transport
        support.collect()
    assert ("ResourceWarning", text) in warned
    assert file.closed


@pytest.mark.parametrize("end", (0, 1), ids=("read", "write"))
async def test_transport_in_a_cycle_is_collected(loop, pipes, end):
    import weakref

    pair = pipes("pipe")
    transport, protocol = await connecting(loop, end)(Recorder, pair[end])
    transport.more = transport
    transport.close()
    await protocol.lost()
    await turns()
    alive = weakref.ref(transport)
    protocol.transport = None
    del transport
    support.collect()
    assert alive() is None
