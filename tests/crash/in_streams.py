"""Programs that take away from a stream what it goes by, while it is read and drained: by attributes, transports and data."""

import asyncio
import contextlib
import functools
import gc
import select

from tests.torture.programs import ENGINES, tls_contexts, tls_streams
from tests.unit.support import patched

from .in_endpoints import leave
from .in_primitives import Hostile
from .table import attempt, cases, new_loop, pair, set_or_delete, turns

PARTS = {
    "reader": lambda reader, writer: reader,
    "protocol": lambda reader, writer: writer.transport.get_protocol(),
    "writer": lambda reader, writer: writer,
}
# One at a time: asyncio allows one task to wait.
READS = (
    lambda reader: reader.readline(),
    lambda reader: reader.readexactly(50),
    lambda reader: reader.readuntil(b"--"),
    lambda reader: reader.read(),
    lambda reader: reader.read(10),
    lambda reader: anext(reader),
)


def attributes(part):
    names = {name for name in dir(part) if name.startswith("_") and not name.startswith(("__", "_abc"))}
    names |= {name for name in ("drain", "close", "feed_data", "feed_eof", "at_eof") if hasattr(part, name)}
    return sorted(names - {"_stock"})


def use(reader, writer):
    for step in (
        lambda: reader.feed_data(b"line\n"),
        lambda: reader.feed_data(bytearray(b"x" * 70)),
        lambda: writer.write(b"x" * 300_000),
        lambda: writer.writelines([b"a", bytearray(b"b")]),
        lambda: writer.drain().send(None),
        lambda: writer.transport.get_protocol().data_received(b"--"),
        lambda: writer.transport.get_protocol().pause_writing(),
        lambda: writer.transport.get_protocol().resume_writing(),
        lambda: reader.at_eof(),
        lambda: writer.is_closing(),
        lambda: (repr(reader), repr(writer)),
    ):
        attempt(step)


def values(loop, reader, writer):
    return {
        "deleted": None,
        "none": lambda: None,
        "number": lambda: 3,
        "negative": lambda: -(2**70),
        "bytes": lambda: bytearray(b"ab\ncd--" * 20),
        "future": lambda: loop.create_future(),
        "hostile": lambda: Hostile(lambda: (use(reader, writer), gc.collect())),
        "itself": lambda: reader,
        "closing": lambda: Hostile(loop.close),
    }


@cases("stream", PARTS)
def stream(impl, choose):
    """Each of its attributes becomes each of those values while a task reads and one drains, and back to what it was."""
    with new_loop(impl) as probe:
        reader = impl.StreamReader(loop=probe)
        writer = impl.StreamWriter(None, impl.StreamReaderProtocol(reader, loop=probe), None, probe)
        part = writer._protocol if choose is PARTS["protocol"] else choose(reader, writer)
        names, kinds = attributes(part), list(values(probe, reader, writer))
        writer._transport = Hostile(int)
    number = 0
    for name in names:
        for kind in kinds:
            number += 1
            attempt(change, impl, choose, name, kind, READS[number % len(READS)])


def change(impl, choose, name, kind, read):
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    ours, theirs = pair()
    with ours, theirs:
        reader, writer = loop.run_until_complete(impl.open_connection(sock=ours, limit=32))
        transport = writer.transport
        tasks = [loop.create_task(ask(read, reader)), loop.create_task(writer.drain())]
        attempt(turns, loop, 1)
        writer.write(b"x" * 1_000_000)
        tasks.append(loop.create_task(writer.drain()))
        attempt(turns, loop, 1)
        part = choose(reader, writer)
        before = getattr(part, name, None)
        set_or_delete(part, name, values(loop, reader, writer)[kind])
        attempt(use, reader, writer)
        theirs.send(b"y" * 100 + b"\n")
        attempt(turns, loop, 3)
        attempt(tasks[0].cancel)
        attempt(tasks[-1].cancel)
        attempt(turns, loop, 2)
        attempt(setattr, part, name, before)
        attempt(use, reader, writer)
        theirs.send(b"--")
        attempt(turns, loop, 2)
        for end in (reader.feed_eof, writer.close, transport.abort):
            attempt(end)
            attempt(turns, loop, 2)
        for task in tasks:
            attempt(task.cancel)
        attempt(turns, loop, 3)
        attempt(loop.close)
    gc.collect()


async def ask(read, reader):
    return await read(reader)


ACTS = {
    "feeds": lambda reader, writer: reader.feed_data(b"x" * 40 + b"\n"),
    "ends": lambda reader, writer: reader.feed_eof(),
    "fails": lambda reader, writer: reader.set_exception(ValueError()),
    "replaces_the_buffer": lambda reader, writer: setattr(reader, "_buffer", bytearray(b"z" * 50)),
    "clears_the_buffer": lambda reader, writer: reader._buffer.clear(),
    "deletes_the_buffer": lambda reader, writer: delattr(reader, "_buffer"),
    "begins_anew": lambda reader, writer: reader.__init__(limit=1, loop=reader._loop),
    "writer_anew": lambda reader, writer: writer.__init__(None, None, None, reader._loop),
    "wakes": lambda reader, writer: reader._waiter.cancel(),
    "closes_the_loop": lambda reader, writer: reader._loop.close(),
    "raises": lambda reader, writer: 1 / 0,
    "collects": lambda reader, writer: gc.collect(),
}


@cases("transport_of_a_stream", ACTS)
def transport_of_a_stream(impl, act):
    """Each method of the transport acts while it is called by the stream."""

    class Transport(asyncio.Transport):
        left = 30

        def acts(self, *args):
            if self.left > 0:
                self.left -= 1
                act(reader, writer)

        write = writelines = pause_reading = resume_reading = close = acts

        def is_closing(self):
            self.acts()
            return self.left % 2 == 0

    with new_loop(impl) as loop:
        transport = Transport()
        reader = impl.StreamReader(limit=16, loop=loop)
        protocol = impl.StreamReaderProtocol(reader, loop=loop)
        writer = impl.StreamWriter(transport, protocol, reader, loop)
        reader.set_transport(transport)
        for read in READS:
            task = attempt(lambda read=read: loop.create_task(ask(read, reader)))
            for data in (b"a" * 20, b"b" * 200, b"\n--", b"c" * 60):
                attempt(reader.feed_data, data)
                attempt(writer.write, data)
                attempt(writer.writelines, [data])
                attempt(lambda: writer.drain().send(None))
                attempt(turns, loop, 1)
            attempt(lambda task=task: task.cancel())
            attempt(writer.close)
            attempt(turns, loop, 2)
        leave(loop)


class HostileBytes(bytearray):
    """As what is fed or looked for: it acts when it is asked how long it is, or for what it has."""

    act = staticmethod(int)

    def __len__(self):
        attempt(self.act)
        return super().__len__()

    def __getitem__(self, index):
        attempt(self.act)
        return super().__getitem__(index)

    def __bool__(self):
        attempt(self.act)
        return True


class HostileTuple(tuple):
    act = staticmethod(int)

    def __iter__(self):
        attempt(self.act)
        return super().__iter__()


class HostileNumber(int):
    act = staticmethod(int)

    def _any(self, *args):
        attempt(self.act)
        return True

    __lt__ = __gt__ = __le__ = __ge__ = __eq__ = __index__ = __bool__ = _any
    __hash__ = int.__hash__

    def __mul__(self, other):
        attempt(self.act)
        return 3

    __rmul__ = __add__ = __sub__ = __rsub__ = __mul__


@cases("what_a_stream_is_given", ACTS)
def what_a_stream_is_given(impl, act):
    with new_loop(impl) as loop:
        reader = impl.StreamReader(limit=16, loop=loop)
        ours, theirs = pair()
        with ours, theirs:
            _, writer = loop.run_until_complete(impl.open_connection(sock=ours))
            data = HostileBytes(b"ab\n--cd" * 5)
            separators = HostileTuple((b"--", HostileBytes(b"\n"), b"cd"))
            number = HostileNumber(7)
            for one in (data, separators, number):
                one.act = functools.partial(act, reader, writer)
            steps = (
                lambda: reader.feed_data(data),
                lambda: reader.readuntil(data).send(None),
                lambda: reader.readuntil(separators).send(None),
                lambda: reader.feed_data(memoryview(data)),
                lambda: reader.read(number).send(None),
                lambda: reader.readexactly(number).send(None),
                lambda: setattr(reader, "_limit", number),
                lambda: reader.feed_data(b"x" * 20),
                lambda: reader.readline().send(None),
                lambda: writer.write(data),
                lambda: writer.writelines(HostileTuple((data, b"x"))),
                lambda: impl.StreamReader(limit=number, loop=loop).feed_data(data),
                lambda: reader._buffer.extend(data),
                lambda: reader.__init__(loop=loop),
            )
            for _ in range(3):
                for step in steps:
                    attempt(step)
                attempt(turns, loop, 1)
            leave(loop)


@cases("client_connected", {**ACTS, "forgets": lambda reader, writer: writer.transport.set_protocol(None)})
def client_connected(impl, act):
    """The callback of a server acts, as a function, as a coroutine, and after it has waited."""
    with new_loop(impl) as loop:

        def function(reader, writer):
            act(reader, writer)

        async def coroutine(reader, writer):
            act(reader, writer)

        async def later(reader, writer):
            await reader.read(1)
            attempt(act, reader, writer)
            await reader.readline()
            await writer.drain()

        async def main():
            for callback in (function, coroutine, later):
                server = await impl.start_server(callback, "127.0.0.1", 0)
                reader, writer = await impl.open_connection(*server.sockets[0].getsockname())
                writer.write(b"x" * 100_000)
                for _ in range(5):
                    await impl.sleep(0)
                writer.close()
                server.close()
                await impl.sleep(0)

        attempt(loop.run_until_complete, main())
        leave(loop)


@cases("stream_in_a_cycle", PARTS)
def stream_in_a_cycle(impl, choose):
    """The collector finds a stream with who waits, and a finalizer resumes and uses what it has cleared."""
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            reader, writer = loop.run_until_complete(impl.open_connection(sock=ours))
            begun = [reader.readline(), writer.drain(), reader.readexactly(3)]

            async def begin(coroutines):
                for coroutine in coroutines[:2]:
                    attempt(coroutine.send, None)

            def again(reader, writer, begun):
                for coroutine in begun:
                    attempt(coroutine.send, None)
                    attempt(coroutine.throw, KeyError())
                use(reader, writer)

            loop.run_until_complete(begin(begun))
            part = choose(reader, writer)
            cycle = Hostile(functools.partial(again, reader, writer, begun))
            if hasattr(part, "__dict__"):
                part.cycle = [part, cycle, begun]
            writer.transport.abort()
            turns(loop, 3)
            del reader, writer, begun, part, cycle
            gc.collect()
            leave(loop)


TLS_ACTS = {**ACTS, "starts_tls": lambda reader, writer: writer.start_tls(tls_contexts()[1]).send(None)}


def stream_over_tls(impl, act, engine):
    """What acts does so between reads and writes, and TLS is started within TLS."""
    with new_loop(impl) as loop, tls_streams(impl, loop, engine) as ((reader, writer), (other, sender)):
        tasks = [
            loop.create_task(ask(READS[0], reader)),
            loop.create_task(writer.start_tls(tls_contexts()[1])),
        ]
        attempt(turns, loop, 1)
        for _ in range(3):
            attempt(sender.write, b"x" * 100_000 + b"\n")
            attempt(writer.write, b"y" * 100_000)
            attempt(act, reader, writer)
            attempt(turns, loop, 2)
            attempt(lambda: writer.drain().send(None))
            attempt(lambda: other.read(10).send(None))
        for task in tasks:
            attempt(task.cancel)
        attempt(turns, loop, 3)
        leave(loop)


for _engine in ENGINES:
    cases(f"stream_over_tls_{_engine}", TLS_ACTS)(functools.partial(stream_over_tls, engine=_engine))


PROCESS_PARTS = {
    "pipe": lambda transport: transport._pipes[1],
    "transport": lambda transport: transport,
    "protocol": lambda transport: transport._protocol,
    "reader": lambda transport: transport._protocol.stdout,
}
PROCESS_ATTRIBUTES = {
    "pipe": ("proc", "fd", "pipe", "data_received"),
    "transport": ("_pipe_data_received", "_call", "_pending_calls", "_loop", "_protocol", "_pipes"),
    "protocol": ("pipe_data_received", "stdout", "_loop", "_transport"),
    "reader": (
        "feed_data",
        "_wakeup_waiter",
        "_buffer",
        "_limit",
        "_eof",
        "_waiter",
        "_paused",
        "_transport",
    ),
}


@cases("stream_of_a_process", PROCESS_PARTS)
def stream_of_a_process(impl, choose):
    """Each attribute that what a process says goes by becomes odd before it is read, or in the turn before it is given."""
    owner = next(name for name, value in PROCESS_PARTS.items() if value is choose)
    with patched() if impl.name == "native" else contextlib.nullcontext():
        for name in PROCESS_ATTRIBUTES[owner]:
            for kind in ("deleted", "none", "number", "bytes", "hostile", "closes", "unbinds"):
                for late in (False, True):
                    attempt(process_with, impl, choose, name, kind, late)


def odd_value(loop, transport, protocol, kind):
    return {
        "deleted": None,
        "none": lambda: None,
        "number": lambda: 3,
        "bytes": lambda: bytearray(b"ab"),
        "hostile": lambda: Hostile(gc.collect),
        "closes": lambda: Hostile(loop.close),
        "unbinds": lambda: Hostile(lambda: (vars(transport).clear(), vars(protocol).clear(), gc.collect())),
    }[kind]


def process_with(impl, choose, name, kind, late):
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    starting = asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
    process = loop.run_until_complete(starting)
    transport, protocol = process._transport, process._protocol
    popen, pipe = transport._proc, transport._pipes[1].pipe
    task = loop.create_task(process.stdout.readline())
    attempt(turns, loop, 1)
    popen.stdin.write(b"line\n")
    select.select([pipe.get_extra_info("pipe")], [], [], 5)
    if late:
        attempt(pipe._read_ready)
    set_or_delete(choose(transport), name, odd_value(loop, transport, protocol, kind))
    if not late:
        attempt(pipe._read_ready)
    attempt(turns, loop, 3)
    attempt(task.cancel)
    attempt(turns, loop, 2)
    popen.kill()
    popen.wait()
    for end in (transport.close, loop.close):
        attempt(end)
    gc.collect()
