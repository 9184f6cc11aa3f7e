"""Streams of processes: what comes is given to the reader without Python, and by way of whatever somebody has replaced."""

import asyncio
import contextlib
import contextvars
import functools
import select
import subprocess
import sys
import types
from asyncio import base_subprocess
from unittest import mock

import pytest
from same_output import ROOT

from . import support

PIPE = asyncio.subprocess.PIPE
PASSED_OVER = {
    "data_received",
    "_pipe_data_received",
    "_call",
    "pipe_data_received",
    "feed_data",
    "_wakeup_waiter",
}
REPLACED = [
    ("pipe", "data_received"),
    ("transport", "_pipe_data_received"),
    ("transport", "_call"),
    ("protocol", "pipe_data_received"),
    ("reader", "feed_data"),
    ("reader", "_wakeup_waiter"),
]
CLASSES = {
    "pipe": base_subprocess.ReadSubprocessPipeProto,
    "transport": base_subprocess.BaseSubprocessTransport,
    "protocol": asyncio.subprocess.SubprocessStreamProtocol,
    "reader": asyncio.streams.StreamReader,
}


@pytest.fixture(autouse=True)
def names(request):
    """The streams of processes are ours where asyncio is patched."""
    parameters = request.node.callspec.params
    implementation = parameters.get("impl") or parameters.get("ours")
    with support.patched() if implementation == "native" else contextlib.nullcontext():
        yield


@contextlib.asynccontextmanager
async def cat(script="cat", **keywords):
    """A process that says what it is told."""
    keywords = {"stdin": PIPE, "stdout": PIPE} | keywords
    process = await asyncio.create_subprocess_shell(script, **keywords)
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()
        process._transport.close()
        await support.turns()


async def exchange(process, reader=None):
    """The process is told something, and says it."""
    task = asyncio.ensure_future((reader or process.stdout).readline())
    await asyncio.sleep(0)
    process.stdin.write(b"x\n")
    assert await task == b"x\n"


def parts(process):
    transport = process._transport
    return {
        "pipe": transport._pipes[1],
        "transport": transport,
        "protocol": transport.get_protocol(),
        "reader": process.stdout,
    }


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_comes_is_fed_without_python(ours, name):
    called = set()

    def profile(frame, event, argument):
        if event == "call":
            called.add(frame.f_code.co_name)

    async def main():
        async with cat("cat" if name == "stdout" else "cat >&2", stderr=PIPE) as process:
            sys.setprofile(profile)
            try:
                await exchange(process, getattr(process, name))
            finally:
                sys.setprofile(None)

    ours.run(main())
    assert called and not called & PASSED_OVER


@pytest.mark.parametrize("place", ["instance", "class"])
@pytest.mark.parametrize("owner, name", REPLACED)
def test_what_is_replaced_is_called(impl, owner, name, place):
    """While it is, and not before and after."""
    calls = []

    async def main():
        async with cat() as process:
            target = parts(process)[owner] if place == "instance" else CLASSES[owner]
            original = getattr(target, name)

            def replaced(*args):
                calls.append(name)
                return original(*args)

            await exchange(process)
            with mock.patch.object(target, name, replaced):
                await exchange(process)
            assert calls
            calls.clear()
            await exchange(process)
            assert not calls

    impl.run(main())


@pytest.mark.parametrize("owner, name", REPLACED[:4])
def test_code_replaced_in_place(impl, owner, name):
    """As tracers do that rewrite bytecode."""
    function = getattr(CLASSES[owner], name)
    code, calls = function.__code__, []
    original = types.FunctionType(code, function.__globals__, name)

    def forward(self, *args):
        calls.append(name)
        return original(self, *args)

    def replacement(self, *args):
        return _forward(self, *args)  # noqa: F821

    async def main():
        async with cat() as process:
            await exchange(process)
            with mock.patch.dict(function.__globals__, _forward=forward):
                function.__code__ = replacement.__code__
                try:
                    await exchange(process)
                finally:
                    function.__code__ = code
            assert calls
            calls.clear()
            await exchange(process)
            assert not calls

    impl.run(main())


REPLACED_BEFORE = """
import asyncio, asyncio.base_subprocess, functools
calls, original = [], {owner}.{name}
@functools.wraps(original)
def replacement(*args):
    calls.append(args)
    return original(*args)
{owner}.{name} = replacement
import asyncio_c
async def main():
    process = await asyncio.create_subprocess_exec("echo", "x", stdout=-1)
    assert await process.communicate() == (b"x\\n", None)
with asyncio.Runner(loop_factory=asyncio_c.new_event_loop) as runner:
    runner.run(main())
assert calls
"""


@pytest.mark.parametrize("owner, name", REPLACED[:4])
def test_replaced_before_the_import(owner, name):
    """As by a tracer that starts the program."""
    class_ = CLASSES[owner]
    code = REPLACED_BEFORE.format(owner=f"{class_.__module__}.{class_.__qualname__}", name=name)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_overriding_protocol(impl):
    """A program's own class, derived from asyncio's, by the documented way."""
    received = []

    class Mine(asyncio.subprocess.SubprocessStreamProtocol):
        def pipe_data_received(self, fd, data):
            received.append(data)
            assert fd == 1
            super().pipe_data_received(fd, data.upper())

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: Mine(limit=100, loop=loop), "echo", "out", stdin=None, stderr=None
        )
        assert await protocol.stdout.read() == b"OUT\n"
        await transport._wait()
        transport.close()
        await support.turns()

    impl.run(main())
    assert b"".join(received) == b"out\n"


@pytest.mark.parametrize("owner", ["pipe", "transport", "protocol"])
def test_attributes_found_another_way(impl, owner):
    """As by a mock, or a tracer, that gives a class a __getattribute__."""
    seen = []

    def getattribute(self, name):
        seen.append(name)
        return object.__getattribute__(self, name)

    async def main():
        async with cat() as process:
            with mock.patch.object(CLASSES[owner], "__getattribute__", getattribute, create=True):
                await exchange(process)
            assert PASSED_OVER & set(seen)
            seen.clear()
            await exchange(process)
            assert not seen

    impl.run(main())


def read_at_once(pipe):
    """What is said goes to the loop's queue, and no further."""
    assert select.select([pipe.get_extra_info("pipe")], [], [], 30)[0]
    pipe._read_ready()


@pytest.mark.whole_calls
def test_replaced_between_two_turns(impl):
    """What was looked up when data came is called in the next turn, whatever is there by then; what that looks up is not."""
    calls = []

    async def main():
        async with cat() as process:
            protocol, reader = process._transport.get_protocol(), process.stdout
            process.stdin.write(b"x")
            read_at_once(process._transport.get_pipe_transport(1))
            protocol.pipe_data_received = lambda *args: calls.append("late")
            reader.feed_data = functools.partial(
                lambda feed, data: (calls.append(data), feed(data)), reader.feed_data
            )
            await support.turns(2)
            del protocol.pipe_data_received, reader.feed_data
            assert await reader.readexactly(1) == b"x"

    impl.run(main())
    assert calls == [b"x"]


@pytest.mark.whole_calls
def test_no_reader(impl):
    """Somebody has let go of it by the time."""

    async def main():
        async with cat() as process:
            protocol = process._transport.get_protocol()
            process.stdin.write(b"x")
            read_at_once(process._transport.get_pipe_transport(1))
            reader, protocol.stdout = protocol.stdout, None
            await support.turns(2)
            protocol.stdout = reader
            await exchange(process)

    impl.run(main())


@pytest.mark.whole_calls
def test_what_fails_is_reported_as_asyncio_does(impl):
    reports = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: reports.append(
                (context["message"], type(context["exception"]), str(context["handle"]))
            )
        )
        async with cat() as process:
            with memoryview(process.stdout._buffer):
                process.stdin.write(b"x")
                read_at_once(process._transport.get_pipe_transport(1))
                await support.turns(2)
            await exchange(process)

    impl.run(main())
    ((message, error, handle),) = reports
    call = message.removeprefix("Exception in callback ")
    assert call.startswith("SubprocessStreamProtocol.pipe_data_received(")  # and, up to 3.13, the arguments
    assert (error, handle) == (BufferError, f"<Handle {call}>")


@pytest.mark.parametrize("debug", [False, True])
def test_paused_and_resumed(impl, debug):
    """A process that says more than is read waits."""

    async def main():
        asyncio.get_running_loop().set_debug(debug)
        process = await asyncio.create_subprocess_exec(
            "head", "-c", "300000", "/dev/zero", stdout=PIPE, limit=100
        )
        while not process.stdout._paused:
            await asyncio.sleep(0)
        pipe = process._transport.get_pipe_transport(1)
        assert not pipe.is_reading()
        size = 0
        while data := await process.stdout.read(7_000):
            size += len(data)
        assert size == 300_000
        assert await process.wait() == 0
        process._transport.close()
        await support.turns()

    impl.run(main())


@pytest.mark.whole_calls
def test_context(impl):
    """The reader is fed in a copy of the context in which the pipe was read."""
    where, seen = contextvars.ContextVar("where", default="outside"), []

    async def main():
        where.set("inside")
        async with cat() as process:
            where.set("later")
            waiter = process.stdout._waiter = asyncio.get_running_loop().create_future()
            process.stdout._wakeup_waiter = lambda: seen.append(where.get())
            process.stdin.write(b"x")
            read_at_once(process._transport.get_pipe_transport(1))
            await support.turns(2)
            del process.stdout._wakeup_waiter
            process.stdout._waiter = None
            waiter.cancel()
            await process.stdout.readexactly(1)

    impl.run(main())
    assert seen == ["later"]
