"""StreamReader, StreamReaderProtocol and StreamWriter: what is read, who waits, and what whoever looks finds.

That the events come in asyncio's order is the affair of tests/differential; CPython's own tests are in tests/conformance.
"""

import asyncio
import gc
import inspect
import os
import platform
import socket
import subprocess
import sys
import tracemalloc
import warnings
import weakref
from unittest import mock

import pytest
from same_output import ROOT

from . import support
from .support import PY313

CLASSES = ["StreamReader", "StreamReaderProtocol", "StreamWriter"]
COROUTINE_METHODS = [
    *[("StreamReader", name) for name in ("read", "readline", "readuntil", "readexactly", "__anext__")],
    ("StreamWriter", "drain"),
]
METHODS = [
    *[("StreamReader", name) for name in ("feed_data", "exception", "at_eof")],
    ("StreamReaderProtocol", "data_received"),
    *[("StreamWriter", name) for name in ("write", "writelines", "close", "is_closing")],
]


class Transport(asyncio.Transport):
    """A transport that only keeps what is asked of it."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.closing = False

    def is_closing(self):
        return self.closing

    def close(self):
        self.calls.append("close")
        self.closing = True

    def write(self, data):
        self.calls.append(data)

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")


@pytest.fixture
def new_reader(impl, loop):
    def new(limit=2**16, cls=None, transport=None):
        reader = (cls or impl.StreamReader)(limit=limit, loop=loop)
        if transport is not None:
            reader.set_transport(transport)
        return reader

    return new


@pytest.fixture
def new_writer(impl, loop):
    """A function that returns `(writer, protocol, reader, transport)`; the writer is closed at the end."""
    made = []

    def new(cls=None):
        reader, transport = impl.StreamReader(loop=loop), Transport()
        protocol = impl.StreamReaderProtocol(reader, loop=loop)
        protocol.connection_made(transport)
        made.append(transport)
        return (cls or impl.StreamWriter)(transport, protocol, reader, loop), protocol, reader, transport

    yield new
    for transport in made:
        transport.closing = True


def at_once(coroutine):
    """The result of a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it waits")


def fails_at_once(error, coroutine):
    with pytest.raises(error) as caught:
        at_once(coroutine)
    return caught.value


def started(loop, coroutine):
    task = loop.create_task(coroutine)
    support.run_once(loop)
    return task


def finished(loop, task):
    support.run_once(loop)
    assert task.done()
    return task.result()


# ---- what they are ----


@pytest.mark.parametrize("name", CLASSES)
def test_are_asyncios(impl, name):
    ours, stock = getattr(impl, name), getattr(asyncio, name)
    assert issubclass(ours, stock) and ours.__name__ == name and ours.__qualname__ == name
    assert ours.__module__ == "asyncio.streams"
    assert str(inspect.signature(ours)) == str(inspect.signature(stock))
    assert issubclass(ours, ours) and issubclass(stock, ours) and not issubclass(int, ours)


@pytest.mark.parametrize("name, method", COROUTINE_METHODS)
def test_coroutine_methods(impl, name, method):
    stock, ours = getattr(getattr(asyncio, name), method), getattr(getattr(impl, name), method)
    assert inspect.iscoroutinefunction(ours)
    assert (ours.__name__, ours.__qualname__) == (stock.__name__, stock.__qualname__)
    assert inspect.signature(ours) == inspect.signature(stock)


@pytest.mark.parametrize("name, method", METHODS)
def test_plain_methods(impl, name, method):
    stock, ours = getattr(getattr(asyncio, name), method), getattr(getattr(impl, name), method)
    assert ours.__name__ == stock.__name__
    assert [*inspect.signature(ours).parameters] == [*inspect.signature(stock).parameters]


def test_stock_objects_are_instances(impl, loop):
    """A library that took the names before patch() makes asyncio's own objects, and asks isinstance() of the new names."""
    stock = asyncio.StreamReader(loop=loop)
    assert isinstance(stock, impl.StreamReader)

    class Mine(impl.StreamReader):
        pass

    assert (impl.StreamReader is asyncio.StreamReader) or not isinstance(stock, Mine)
    assert isinstance(Mine(loop=loop), impl.StreamReader) and not isinstance(3, impl.StreamReader)
    with mock.patch.object(asyncio.streams, "StreamReader", impl.StreamReader):
        transport = Transport()
        writer = asyncio.StreamWriter(transport, mock.Mock(), stock, loop)
        transport.closing = True
    assert writer.transport is transport


def test_wrong_calls(new_reader, loop):
    reader = new_reader()
    for call in (
        lambda: reader.read(1, 2),
        lambda: reader.readexactly(),
        lambda: reader.readline(b"x"),
        lambda: reader.readuntil(nothing=1),
        lambda: reader.feed_data(),
        lambda: reader.at_eof(1),
    ):
        with pytest.raises(TypeError, match="argument"):
            call()
    with pytest.raises(ValueError, match="Limit cannot be <= 0"):
        new_reader(0)
    with pytest.raises(AttributeError):
        type(reader).__new__(type(reader))._buffer


# ---- reading what is there ----


def test_what_is_there_is_read_without_waiting(new_reader):
    reader = new_reader()
    reader.feed_data(b"one\ntwo\nthree and more")
    assert at_once(reader.readline()) == b"one\n"
    assert at_once(reader.readuntil(b"\n")) == b"two\n"
    assert at_once(reader.readuntil(separator=b"ee")) == b"three"
    assert at_once(reader.readexactly(4)) == b" and"
    assert at_once(reader.readexactly(n=1)) == b" "
    assert at_once(reader.read(n=2)) == b"mo"
    assert at_once(reader.read(0)) == at_once(reader.readexactly(0)) == b""
    reader.feed_eof()
    assert not reader.at_eof()
    assert at_once(reader.read()) == b"re"
    assert reader.at_eof()
    assert at_once(reader.read()) == at_once(reader.read(5)) == at_once(reader.readline()) == b""
    fails_at_once(StopAsyncIteration, reader.__anext__())


@pytest.mark.skipif(not PY313, reason="several separators came with Python 3.13")
def test_several_separators(new_reader):
    reader = new_reader()
    reader.feed_data(b"xaabyab")
    reader.feed_data(b"c;d" * 400)
    assert at_once(reader.readuntil((b"ab", b"a"))) == b"xa"
    assert at_once(reader.readuntil((b"ab", b"b"))) == b"ab"
    assert at_once(reader.readuntil((b"abc;", b"zz"))) == b"yabc;"
    assert at_once(reader.readuntil((b"dddd", b"dc;dc"))) == b"dc;dc"
    fails_at_once(ValueError, reader.readuntil(()))
    fails_at_once(ValueError, reader.readuntil((b"a", b"")))


def test_a_whole_chunk_is_the_object_that_came(ours):
    with support.closing(ours.new_event_loop()) as loop:
        reader = asyncio.StreamReader(loop=loop) if ours.name == "loop_only" else ours.StreamReader(loop=loop)
        chunks = [bytes(5000), bytes(3000), bytes(10)]
        for chunk in chunks:
            reader.feed_data(chunk)
        same = [
            at_once(reader.readexactly(5000)) is chunks[0],
            at_once(reader.readexactly(3000)) is chunks[1],
        ]
        assert at_once(reader.read(100)) == chunks[2]
        reader.feed_data(chunks[2])
        same.append(at_once(reader.read(100)) is chunks[2])
        reader.feed_data(chunks[0])
        reader.feed_eof()
        same.append(at_once(reader.read()) is chunks[0])
        assert same == [ours.native_names] * 4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 1023, 1024, 5000])
def test_cuts_of_every_size(new_reader, size):
    """Lines, separators and blocks over the bounds of chunks."""
    reader = new_reader()
    text = b"".join(b"%d, a line that ends\r\n" % number for number in range(300))
    for place in range(0, len(text), size):
        reader.feed_data(text[place : place + size])
    reader.feed_eof()
    read = [
        at_once(reader.readline()),
        at_once(reader.readuntil(b"\r\n")),
        at_once(reader.readuntil(b"ends\r\n")),
    ]
    read += [at_once(reader.readexactly(2000)), at_once(reader.read(777))]
    assert [len(part) for part in read] == [21, 21, 21, 2000, 777]
    while line := at_once(reader.readline()):
        read.append(line)
    assert b"".join(read) == text


def test_small_chunks_take_little_memory(new_reader):
    """asyncio's memory is that of the bytes; that of an object for each would be forty times as much."""
    reader = new_reader(limit=10**6)
    tracemalloc.start()
    try:
        for number in range(100_000):
            reader.feed_data(b"%d" % (number % 10))
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()
    assert at_once(reader.readexactly(100_000)) == b"0123456789" * 10_000


def test_incomplete_reads(new_reader):
    reader = new_reader()
    reader.feed_data(b"abc")
    reader.feed_eof()
    error = fails_at_once(asyncio.IncompleteReadError, reader.readexactly(4))
    assert (error.partial, error.expected) == (b"abc", 4)
    assert reader.at_eof()
    error = fails_at_once(asyncio.IncompleteReadError, reader.readuntil(b"x"))
    assert (error.partial, error.expected) == (b"", None)


def test_too_long_lines(new_reader):
    transport = Transport()
    reader = new_reader(4, transport=transport)
    reader.feed_data(b"abcdefgh\nij")
    assert transport.calls == ["pause"]
    error = fails_at_once(asyncio.LimitOverrunError, reader.readuntil(b"\n"))
    assert (error.consumed, str(error)) == (8, "Separator is found, but chunk is longer than limit")
    error = fails_at_once(asyncio.LimitOverrunError, reader.readuntil(b"xyz"))
    assert (error.consumed, str(error)) == (9, "Separator is not found, and chunk exceed the limit")
    error = fails_at_once(ValueError, reader.readline())
    assert str(error) == "Separator is found, but chunk is longer than limit"
    assert isinstance(error.__context__, asyncio.LimitOverrunError)
    assert transport.calls == ["pause", "resume"]
    assert bytes(reader._buffer) == b"ij"
    reader.feed_data(b"klmno")
    fails_at_once(ValueError, reader.readline())
    assert bytes(reader._buffer) == b""
    reader.feed_data(b"next\n")
    assert at_once(reader.readline()) == b"next\n"


# ---- waiting ----


def test_waits_for_data(new_reader, loop):
    reader = new_reader()
    for method, fed, expected in (
        (reader.read, [b"ab"], b"ab"),
        (lambda: reader.readexactly(4), [b"ab", b"cd"], b"abcd"),
        (lambda: reader.readuntil(b"--"), [b"a-", b"b-", b"-"], b"a-b--"),
        (reader.readline, [b"ab", b"\n"], b"ab\n"),
        (reader.__anext__, [b"\n"], b"\n"),
    ):
        task = started(loop, method() if method != reader.read else reader.read(9))
        assert reader._waiter is not None and not reader._waiter.done()
        for data in fed:
            assert not task.done()
            reader.feed_data(data)
            assert reader._waiter is None
            support.run_once(loop)
        assert task.result() == expected
        assert reader._waiter is None


def test_a_line_of_many_chunks_is_searched_once(new_reader, loop):
    """Each wake-up looks at what has come since: what was searched may change, and is not seen to."""
    reader = new_reader()
    task = started(loop, reader.readuntil(b"--"))
    reader.feed_data(b"a b c d -")
    support.run_once(loop)
    reader._buffer[1:3] = b"--"
    reader.feed_data(b"- e")
    assert finished(loop, task) == b"a-- c d --"


@pytest.mark.parametrize("method", ["read", "readline", "readexactly", "readuntil", "__anext__"])
def test_cancellation_loses_nothing(new_reader, loop, method):
    reader = new_reader()
    args = {"readexactly": [4], "readuntil": [b"--"]}.get(method, [])
    task = started(loop, getattr(reader, method)(*args))
    reader.feed_data(b"ab")
    task.cancel()
    support.run_once(loop, 2)
    assert task.cancelled() and reader._waiter is None
    rest = b"" if method == "read" else b"ab"
    assert bytes(reader._buffer) in (b"ab", rest)
    reader.feed_data(b"--\n")
    assert at_once(reader.read(9)).endswith(b"--\n")


def test_two_who_wait(new_reader, loop):
    reader = new_reader()
    first = started(loop, reader.readline())
    second = started(loop, reader.readexactly(2))
    with pytest.raises(
        RuntimeError, match=r"readexactly\(\) called while another coroutine is already waiting"
    ):
        second.result()
    reader.feed_data(b"x\n")
    assert finished(loop, first) == b"x\n"


def test_exceptions(new_reader, loop):
    reader = new_reader()
    task = started(loop, reader.readline())
    error = OSError("gone")
    reader.set_exception(error)
    support.run_once(loop)
    assert task.exception() is error and reader.exception() is error and reader._waiter is None
    reader.feed_data(b"rest\n")
    for coroutine in (reader.read(1), reader.readline(), reader.readexactly(1), reader.readuntil(b"\n")):
        assert fails_at_once(OSError, coroutine) is error
    reader.set_exception(asyncio.IncompleteReadError(b"part", 9))
    assert at_once(reader.readline()) == b"part"
    reader.set_exception(KeyError)
    fails_at_once(KeyError, reader.read(3))


def test_end_while_waiting(new_reader, loop):
    reader = new_reader()
    task = started(loop, reader.read())
    for data in (b"ab", b"cd", None):
        reader.feed_data(data) if data else reader.feed_eof()
        support.run_once(loop)
    assert task.result() == b"abcd"
    with pytest.raises(AssertionError, match="feed_data after feed_eof"):
        reader.feed_data(b"late")


def test_async_for_lines(new_reader, loop):
    reader = new_reader()

    async def lines():
        return [line async for line in reader]

    task = started(loop, lines())
    reader.feed_data(b"a\nb\n")
    support.run_once(loop)
    reader.feed_data(b"c")
    reader.feed_eof()
    support.run_once(loop)
    assert task.result() == [b"a\n", b"b\n", b"c"]


def test_pause_and_resume(new_reader, loop):
    transport = Transport()
    reader = new_reader(10, transport=transport)
    reader.feed_data(bytes(20))
    assert not reader._paused and transport.calls == []
    reader.feed_data(b"x")
    assert reader._paused and transport.calls == ["pause"]
    at_once(reader.readexactly(10))
    assert reader._paused
    at_once(reader.read(1))
    assert not reader._paused and transport.calls == ["pause", "resume"]
    reader.feed_data(bytes(20))
    task = started(loop, reader.readexactly(50))  # more than the limit: it has to go on
    assert transport.calls == ["pause", "resume", "pause", "resume"]
    reader.feed_data(bytes(20))
    assert finished(loop, task) == bytes(9) + b"x" + bytes(40)
    transport.pause_reading = mock.Mock(side_effect=NotImplementedError)
    reader.feed_data(bytes(50))
    assert reader._transport is None and not reader._paused


# ---- what whoever looks finds ----


def test_buffer_is_a_bytearray_and_lives(new_reader, loop):
    reader = new_reader()
    assert type(reader._buffer) is bytearray and reader._buffer == b""
    reader.feed_data(b"ab")
    reader.feed_data(b"cd" * 1000)
    buffer = reader._buffer
    assert type(buffer) is bytearray and buffer[:4] == b"abcd" and buffer is reader._buffer
    reader.feed_data(b"!")
    assert buffer.endswith(b"!")
    assert at_once(reader.readexactly(2)) == b"ab" and buffer.startswith(b"cd")
    buffer[:] = b"mine\nrest"
    assert at_once(reader.readline()) == b"mine\n"
    assert at_once(reader.readuntil(b"s")) == b"res"
    buffer.clear()
    task = started(loop, reader.read(3))
    buffer += b"seen"
    reader.feed_data(b"!")
    assert finished(loop, task) == b"see"
    del buffer
    assert at_once(reader.read(9)) == b"n!"
    reader.feed_data(b"again")
    assert at_once(reader.read(9)) == b"again"


def test_buffer_that_is_in_use(new_reader):
    reader = new_reader()
    reader.feed_data(b"abcd")
    with memoryview(reader._buffer) as view:
        with pytest.raises(BufferError):
            reader.feed_data(b"e")
        assert bytes(view) == b"abcd"
    assert at_once(reader.read(9)) == b"abcd"


def test_buffer_of_somebody_else(new_reader, loop):
    class Buffer(bytearray):
        pass

    reader = new_reader()
    reader.feed_data(b"ab")
    reader._buffer = Buffer(b"xy\nz")
    assert at_once(reader.readline()) == b"xy\n" and type(reader._buffer) is Buffer
    reader.feed_data(b"!")
    assert at_once(reader.read(9)) == b"z!"
    task = started(loop, reader.read(9))
    reader.feed_data(b"more")
    assert finished(loop, task) == b"more"
    del reader._buffer
    with pytest.raises(AttributeError):
        reader.feed_data(b"x")
    reader._buffer = bytearray(b"back")
    assert at_once(reader.read(9)) == b"back"


def test_state_can_be_set(new_reader, loop):
    reader = new_reader()
    reader._limit = 3
    reader.feed_data(b"abcdef")
    fails_at_once(asyncio.LimitOverrunError, reader.readuntil(b"x"))
    reader._limit = 2.5
    fails_at_once(asyncio.LimitOverrunError, reader.readuntil(b"x"))
    reader._limit = 100
    reader._eof = True
    fails_at_once(asyncio.IncompleteReadError, reader.readuntil(b"x"))
    assert reader.at_eof()
    reader._eof = False
    waiter = reader._waiter = loop.create_future()
    reader.feed_data(b"x")
    assert waiter.done() and reader._waiter is None
    waiter = reader._waiter = asyncio.futures._PyFuture(loop=loop)
    reader.feed_data(b"x")
    assert waiter.result() is None
    waiter = reader._waiter = loop.create_future()
    waiter.cancel()
    reader.feed_data(b"x")
    assert reader._waiter is None


def test_representation(new_reader, new_writer):
    reader = new_reader(4)
    assert repr(reader) == "<StreamReader limit=4>"
    reader.feed_data(b"abc")
    reader.feed_eof()
    reader.set_exception(ValueError())
    assert repr(reader) == "<StreamReader 3 bytes eof limit=4 exception=ValueError()>"
    writer, protocol, reader, transport = new_writer()
    assert repr(writer) == f"<StreamWriter transport={transport!r} reader={reader!r}>"
    assert repr(protocol).startswith("<asyncio.streams.StreamReaderProtocol object at 0x")


# ---- what others have replaced ----


@pytest.mark.parametrize(
    "replaced",
    [
        "read",
        "readuntil",
        "readline",
        "feed_data",
        "_wait_for_data",
        "_maybe_resume_transport",
        "_wakeup_waiter",
    ],
)
def test_an_overridden_method_is_called(impl, new_reader, loop, replaced):
    calls = []

    def method(self, *args, **keywords):
        calls.append(replaced)
        return getattr(impl.StreamReader, replaced)(self, *args, **keywords)

    reader = new_reader(cls=type("Mine", (impl.StreamReader,), {replaced: method}))
    protocol = impl.StreamReaderProtocol(reader, loop=loop)
    for call, data in (
        (lambda: reader.read(), None),
        (lambda: reader.readline(), b"line\n"),
        (lambda: anext(reader), b"line\n"),
    ):
        if data is None:
            protocol.data_received(b"x")
            reader.feed_eof()
            assert at_once(call()) == b"x"
            reader._eof = False
        else:
            task = started(loop, aware(call))
            protocol.data_received(data)
            assert finished(loop, task) == data
    assert calls

    reader = new_reader()
    calls.clear()
    setattr(reader, replaced, lambda *args, **keywords: method(reader, *args, **keywords))
    reader.feed_data(b"x\n") if replaced != "feed_data" else impl.StreamReader.feed_data(reader, b"x\n")
    assert (
        at_once(reader.__anext__() if replaced not in ("read", "_wait_for_data") else reader.read(5))
        == b"x\n"
    )
    if replaced == "read":
        assert calls == ["read"]


async def aware(call):
    return await call()


def test_a_replaced_method_of_asyncio_is_called(impl, new_reader, loop):
    reader, seen = new_reader(), []
    feed_data = asyncio.StreamReader.feed_data

    def traced(self, data):
        seen.append(data)
        feed_data(self, data)

    with mock.patch.object(asyncio.StreamReader, "feed_data", traced):
        reader.feed_data(b"one")
    reader.feed_data(b"two")
    assert seen == [b"one"]
    assert at_once(reader.read(9)) == b"onetwo"


def test_overridden_methods_of_the_writer(impl, new_writer):
    class Mine(impl.StreamWriter):
        def write(self, data):
            super().write(data.upper())

    writer, protocol, reader, transport = new_writer(Mine)
    writer.write(b"abc")
    reader.exception = lambda: OSError("asked")
    assert str(fails_at_once(OSError, writer.drain())) == "asked"
    assert transport.calls == [b"ABC"]


def test_another_loop(impl, new_reader):
    """Of a loop that is not ours, or in debug mode, all is asyncio's."""
    for debug in (False, True):
        with support.closing(asyncio.SelectorEventLoop()) as loop:
            loop.set_debug(debug)
            reader = impl.StreamReader(loop=loop)
            task = started(loop, reader.readexactly(4))
            reader.feed_data(b"ab")
            reader.feed_data(b"cd")
            assert finished(loop, task) == b"abcd"
            assert (reader._source_traceback is not None) is debug


# ---- the protocol ----


def test_the_protocol_holds_the_reader_weakly(impl, loop):
    reader = impl.StreamReader(loop=loop)
    protocol = impl.StreamReaderProtocol(reader, loop=loop)
    protocol.data_received(b"ab")
    assert at_once(reader.read(2)) == b"ab" and protocol._stream_reader is reader
    gone = weakref.ref(reader)
    del reader
    gc.collect()
    assert gone() is None
    protocol.data_received(b"nobody")
    protocol._stream_reader_wr = None
    protocol.data_received(b"nobody")


def test_any_reader_is_fed(impl, loop):
    class Reader:
        _source_traceback = None
        fed = b""

        def feed_data(self, data):
            self.fed += data

    reader = Reader()
    impl.StreamReaderProtocol(reader, loop=loop).data_received(b"abc")
    assert reader.fed == b"abc"


# ---- the writer ----


def test_writing(new_writer):
    writer, protocol, reader, transport = new_writer()
    assert writer.write(b"a") is None
    transport.writelines = transport.calls.extend
    assert writer.writelines([b"b", b"c"]) is None
    assert transport.calls == [b"a", b"b", b"c"]
    assert at_once(writer.drain()) is None
    assert writer.is_closing() is False and writer.transport is transport
    assert writer._complete_fut.done() and writer._complete_fut is writer._complete_fut
    writer.close()
    assert writer.is_closing() and transport.calls[-1] == "close"
    with pytest.raises(TypeError):
        writer.write()


def test_drain_waits_while_paused(new_writer, loop):
    writer, protocol, reader, transport = new_writer()
    protocol.pause_writing()
    tasks = [started(loop, writer.drain()), started(loop, writer.drain())]
    assert len(protocol._drain_waiters) == 2 and protocol._paused is True
    tasks[0].cancel()
    support.run_once(loop)
    protocol.resume_writing()
    support.run_once(loop)
    assert tasks[0].cancelled() and tasks[1].result() is None
    assert not protocol._drain_waiters
    protocol.pause_writing()
    task = started(loop, writer.drain())
    protocol.connection_lost(ConnectionResetError("by peer"))
    support.run_once(loop)
    assert str(task.exception()) == "by peer"
    assert str(fails_at_once(ConnectionResetError, writer.drain())) == "by peer"
    reader._exception = None
    assert str(fails_at_once(ConnectionResetError, writer.drain())) == "Connection lost"


def test_drain_of_a_closing_stream_lets_the_loop_turn(new_writer, loop):
    writer, protocol, reader, transport = new_writer()
    transport.closing = True
    coroutine = writer.drain()
    assert coroutine.send(None) is None
    protocol.connection_lost(None)
    with pytest.raises(ConnectionResetError, match="Connection lost"):
        coroutine.send(None)
    coroutine = writer.drain()
    coroutine.send(None)
    coroutine.close()


def test_unclosed_writers_warn(impl, loop):
    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await impl.open_unix_connection(sock=ours)
            with pytest.warns(ResourceWarning) as caught:
                del reader, writer
                gc.collect()
            await asyncio.sleep(0)
            assert str(caught[0].message).startswith("unclosed <StreamWriter transport=<")
            assert theirs.recv(1) == b"", "it was not closed"

    loop.run_until_complete(main())


def test_writers_of_a_closed_loop_warn(new_writer, impl, loop):
    """That they are not closed is past mending."""
    writer, protocol, reader, transport = new_writer()
    loop.close()
    with pytest.warns(ResourceWarning, match="^loop is closed$"):
        del writer
        gc.collect()
    assert transport.calls == []


# ---- over the network ----


@pytest.mark.parametrize("callback", ["coroutine", "function"])
def test_echo(impl, loop, callback):
    async def serve(reader, writer):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    tasks = []

    def start(reader, writer):
        tasks.append(loop.create_task(serve(reader, writer)))

    async def main():
        server = await impl.start_server(serve if callback == "coroutine" else start, "127.0.0.1", 0)
        reader, writer = await impl.open_connection(*server.sockets[0].getsockname())
        assert type(reader) is impl.StreamReader and type(writer) is impl.StreamWriter
        for size in (1, 1000, 70_000, 3_000_000):
            data = bytes(range(250)) * (size // 250 + 1)
            writer.write(data)
            draining = loop.create_task(writer.drain())
            assert await reader.readexactly(len(data)) == data
            await draining
        writer.write_eof()
        assert await reader.read() == b"" and reader.at_eof()
        assert writer.get_extra_info("peername") == server.sockets[0].getsockname()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())


WRITERS = []  # what the callbacks were given


async def raises_in_a_coroutine(reader, writer):
    WRITERS.append(writer)
    writer.write(b"x")
    await asyncio.sleep(0)
    raise ValueError("in the callback")


def raises_at_once(reader, writer):
    WRITERS.append(writer)
    writer.write(b"x")
    raise ValueError("in the callback")


async def is_cancelled(reader, writer):
    WRITERS.append(writer)
    writer.write(b"x")
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


def reported_of_a_callback(impl, callback):
    """What becomes of a connection whose client-connected callback fails: the reports, and what the client reads."""
    reports = []

    def handle(loop, context):
        message = context["message"].partition("(")[0]  # the handle that failed names the transport's class
        has_writer = hasattr(context.get("transport"), "write")
        reports.append((message, repr(context["exception"]), has_writer, sorted(context)))

    async def main():
        server = await impl.start_server(callback, "127.0.0.1", 0)
        reader, writer = await impl.open_connection(*server.sockets[0].getsockname())
        read = [await reader.read(1)]
        ending = asyncio.ensure_future(reader.read())
        await support.turns()
        if not ending.done():
            # Not closed: a function that fails, in early releases.
            writer.close()
        read.append(await ending)
        writer.close()
        await writer.wait_closed()
        # What a function that fails leaves open, wait_closed() would wait for, on Python 3.12 and later.
        WRITERS.pop().close()
        server.close()
        await server.wait_closed()
        return read

    with support.closing(impl.new_event_loop()) as loop:
        loop.set_exception_handler(handle)
        return loop.run_until_complete(main()), reports


@pytest.mark.parametrize("callback", [raises_in_a_coroutine, raises_at_once, is_cancelled])
def test_errors_of_the_callback(stock, ours, callback):
    """As function and as coroutine: reported as asyncio does, and the connection is closed where asyncio closes it."""
    read, reports = reported_of_a_callback(stock, callback)
    assert read == [b"x", b""]
    if callback is not is_cancelled:  # of which some releases tell, and others do not
        assert [error for _, error, _, _ in reports] == ["ValueError('in the callback')"]
    if callback is raises_in_a_coroutine:
        assert reports[0][0] == "Unhandled exception in client_connected_cb"
    assert reported_of_a_callback(ours, callback) == (read, reports)


def test_connection_reset(impl, loop):
    async def main():
        ours, theirs = socket.socketpair()
        reader, writer = await impl.open_connection(sock=ours)
        task = loop.create_task(reader.readline())
        await asyncio.sleep(0)
        writer.transport.get_protocol().connection_lost(ConnectionResetError("reset"))
        with pytest.raises(ConnectionResetError, match="reset"):
            await task
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        writer.close()
        theirs.close()

    loop.run_until_complete(main())


@pytest.mark.whole_calls
def test_what_comes_is_fed_without_python(ours):
    """Also to asyncio's own reader, unless the transport has to be paused."""
    called = set()

    def profile(frame, event, argument):
        if event == "call":
            called.add(frame.f_code.co_name)

    async def main():
        here, peer = socket.socketpair()
        reader, writer = await ours.open_connection(sock=here, limit=100)
        for size in (1, 200, 100_000):
            task = asyncio.get_running_loop().create_task(reader.readexactly(size))
            await asyncio.sleep(0)
            peer.sendall(bytes(size))
            called.clear()
            sys.setprofile(profile)
            try:
                assert await task == bytes(size)
            finally:
                sys.setprofile(None)
            fed = {"data_received", "feed_data", "_wakeup_waiter"} & called
            assert not fed or (size > 200 and ours.StreamReader is asyncio.StreamReader)
        writer.close()
        await writer.wait_closed()
        peer.close()

    with support.closing(ours.new_event_loop()) as loop:
        loop.run_until_complete(main())


def test_a_view_of_the_buffer_keeps_it_from_growing(impl, loop):
    """The connection is lost by BufferError, as by any exception of a protocol's."""
    reports = []
    loop.set_exception_handler(
        lambda loop, context: reports.append((context["message"], context["exception"]))
    )

    async def main():
        here, peer = socket.socketpair()
        reader, writer = await impl.open_connection(sock=here)
        with memoryview(reader._buffer):
            peer.send(b"x")
            with pytest.raises(BufferError):
                await reader.read(1)
        with pytest.raises(BufferError):
            await writer.wait_closed()
        peer.close()

    loop.run_until_complete(main())
    assert [(message, type(error)) for message, error in reports] == [
        ("Fatal error: protocol.data_received() call failed.", BufferError)
    ]


# ---- who has got hold of the future of a wait ----


def test_future_of_a_wait_that_somebody_keeps(new_reader, loop):
    """The next wait has another one."""
    reader, seen = new_reader(), []
    for data in (b"a", b"b", b"c"):
        task = started(loop, reader.read(9))
        seen.append(reader._waiter)
        assert not reader._waiter.done() and len({*map(id, seen)}) == len(seen)
        reader.feed_data(data)
        assert finished(loop, task) == data
        assert all(future.done() and future.result() is None for future in seen)


def test_future_of_a_wait_dies_with_it(new_reader, loop):
    reader = new_reader()
    task = started(loop, reader.read(9))
    known = weakref.ref(reader._waiter)
    reader.feed_data(b"a")
    assert finished(loop, task) == b"a"
    del task
    support.collect()
    assert known() is None


made_anew = pytest.mark.skipif(support.PY315, reason="Python 3.15 makes no future a second time")


@pytest.mark.parametrize(
    "change",
    [
        lambda future: None,
        lambda future: setattr(future, "mine", 1),
        lambda future: setattr(future, "_asyncio_future_blocking", True),
        pytest.param(lambda future: future.__init__(loop=future.get_loop()), marks=made_anew),
        pytest.param(
            lambda future: (future.__init__(loop=future.get_loop()), future.cancel()), marks=made_anew
        ),
        pytest.param(
            lambda future: (future.__init__(loop=future.get_loop()), future.set_exception(OSError())),
            marks=made_anew,
        ),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_future_that_the_collector_shows_between_two_waits(new_reader, loop, change, kept):
    """Whatever is done to what is found there, the next wait has a future of its own, which is as new."""
    reader = new_reader()
    for data in (b"a", b"b"):
        task = started(loop, reader.read(9))
        reader.feed_data(data)
        assert finished(loop, task) == data
        found = [each for each in gc.get_referents(reader) if isinstance(each, asyncio.Future)]
        for future in found:
            change(future)
            if future.done() and not future.cancelled():
                future.exception()
        states = [future._state for future in found]
        if not kept:
            found.clear()
        task = started(loop, reader.read(9))
        waiter = reader._waiter
        assert not waiter.done() and not hasattr(waiter, "mine") and waiter.get_loop() is loop
        assert all(future is not waiter and future._state == state for future, state in zip(found, states))
        del waiter
        found.clear()
        reader.feed_data(b"z")
        assert finished(loop, task) == b"z"


def test_wait_on_another_loop_than_before(new_reader, loop, impl):
    reader = new_reader()
    task = started(loop, reader.read(9))
    reader.feed_data(b"a")
    assert finished(loop, task) == b"a"
    other = type(loop)()
    try:
        reader._loop = other
        task = started(other, reader.read(9))
        assert reader._waiter.get_loop() is other
        reader.feed_data(b"b")
        assert finished(other, task) == b"b"
    finally:
        other.close()


# ---- pipes and processes, memory ----


def test_lines_of_a_pipe(impl, loop):
    """Cut anywhere, and the last one without its end."""

    async def main():
        reading, writing = os.pipe()
        reader = impl.StreamReader(limit=64, loop=loop)
        protocol = impl.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, open(reading, "rb", 0))
        os.write(writing, b"one\ntw")
        assert await reader.readline() == b"one\n"
        line = loop.create_task(reader.readline())
        await asyncio.sleep(0)
        os.write(writing, b"o\n" + b"x" * 200)
        assert await line == b"two\n"
        assert await reader.readexactly(200) == b"x" * 200
        os.write(writing, b"last")
        os.close(writing)
        assert [line async for line in reader] == [b"last"]
        assert reader.at_eof()
        transport.close()

    loop.run_until_complete(main())


LINES_OF_A_CHILD = """
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("seq", "20000", stdout=-1)
    total = 0
    while line := await process.stdout.readline():
        total += int(line)
    print(total, await process.wait(), type(process.stdout) is asyncio.StreamReader)
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    process.stdin.write(b"x" * 300_000)
    await process.stdin.drain()
    out, err = await process.communicate(b"y")
    print(len(out), out[-2:], err, type(process.stdin).__module__)
asyncio.run(main())
"""


def test_lines_of_a_child():
    """In a patched process its streams are ours, and say the same."""
    stock = subprocess.check_output([sys.executable, "-c", LINES_OF_A_CHILD], cwd=ROOT)
    ours = subprocess.check_output([sys.executable, "-m", "asyncio_c", "-c", LINES_OF_A_CHILD], cwd=ROOT)
    assert ours == stock and stock.startswith(b"200010000 0 True\n300001 ")


# What a server that passes large messages on does to the heap, after its loop has received something.
LARGE_MESSAGES = """
import asyncio, asyncio_c, ctypes, resource, socket
class Heap(ctypes.Structure):
    _fields_ = [("others", ctypes.c_size_t * 9), ("free_at_the_end", ctypes.c_size_t)]
mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Heap
async def main():
    ours, theirs = socket.socketpair()
    theirs.send(b"x")
    reader, writer = await asyncio.open_connection(sock=ours)
    await reader.read(1)
    writer.close()
    theirs.close()
loop = asyncio_c.new_event_loop()
loop.run_until_complete(main())
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    messages = [bytes(100_000) for _ in range(100)]
    del messages
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[10:]), mallinfo().free_at_the_end)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="about the malloc() of glibc")
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer has a malloc() of its own"
)
@pytest.mark.parametrize("threshold", [None, "131072"])
def test_large_messages_do_not_fault_their_pages_anew(threshold):
    """Messages of 10 MB are 2,400 pages. Where the user has said so, the heap gives its end back, if that is free, as ever."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_"))}
    env |= {"MALLOC_TRIM_THRESHOLD_": threshold} if threshold else {}
    output = subprocess.check_output([sys.executable, "-c", LARGE_MESSAGES], env=env, cwd=ROOT)
    faults, free_at_the_end = map(int, output.split())
    assert faults < 2_400 if threshold is None else free_at_the_end < 1_000_000


def test_garbage_cycles(impl, loop):
    """Readers, writers and their coroutines are found by the garbage collector."""

    class Here:
        pass

    here = Here()
    gone = weakref.ref(here)
    reader = impl.StreamReader(loop=loop)
    reader.here, reader.myself = here, reader
    reader._waiter = None
    transport = Transport()
    transport.closing = True
    protocol = impl.StreamReaderProtocol(reader, loop=loop)
    writer = impl.StreamWriter(transport, protocol, reader, loop)
    protocol.writer = writer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader.coroutine = reader.readexactly(3)
        del here, reader, writer, protocol
        gc.collect()
    assert gone() is None
