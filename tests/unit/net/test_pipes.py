"""connect_read_pipe and connect_write_pipe: FIFOs, sockets, terminals, and who closes what."""

import asyncio
import errno
import os
import re
import socket

import pytest

from .. import support
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


async def test_named_fifo(loop, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
    with open(path, "wb", 0) as writing:
        transport, protocol = await loop.connect_read_pipe(Recorder, reading)
        writing.write(b"through the file system")
        assert await protocol.bytes(23) == b"through the file system"
    assert await protocol.lost() is None


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
