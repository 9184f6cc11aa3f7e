"""What is tortured of streams: on sockets, Unix sockets, pipes, processes and TLS, and what they do beyond reading lines."""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile

from .net_operations import abort_all, for_each_engine
from .operations import cancel_all, drive, operation, turns, turns_that_may_fail
from .programs import connect_pipe_streams, patched_names, tls_streams


async def echo_a_line(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def ask(reader, writer):
    writer.write(b"line\n")
    await writer.drain()
    await reader.read()
    writer.close()
    await writer.wait_closed()


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def stream_server(impl, loop):
    async def main():
        async with await impl.start_server(echo_a_line, "127.0.0.1", 0) as server:
            await ask(*await impl.open_connection(*server.sockets[0].getsockname()))

    yield lambda: drive(loop, main(), strict=False)
    abort_all(loop)


# As above.
@operation(may_leak="socket:")
def unix_streams(impl, loop):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")

        async def main():
            async with await impl.start_unix_server(echo_a_line, path):
                await ask(*await impl.open_unix_connection(path))

        yield lambda: drive(loop, main(), strict=False)
        abort_all(loop)


@contextlib.contextmanager
def stream(impl, loop, **options):
    """A stream on a pair of sockets: `(reader, writer, peer)`."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        yield *loop.run_until_complete(impl.open_connection(sock=ours, **options)), theirs
        abort_all(loop)


def received_by(peer):
    with contextlib.suppress(BlockingIOError):
        return peer.recv(1 << 20)
    return b""


@operation
def stream_writer(impl, loop):
    """Whatever fails, what arrives is the beginning of what was written, and nobody waits for who has gone."""
    data = os.urandom(600_000)
    with stream(impl, loop) as (reader, writer, peer):
        received = bytearray()

        async def main():
            writer.write(data[:300_000])
            writer.writelines([data[300_000:400_000], bytearray(data[400_000:])])
            await writer.drain()
            repr(writer)
            writer.get_extra_info("peername")
            if writer.can_write_eof():
                writer.write_eof()
            writer.close()
            await writer.wait_closed()

        def armed():
            task = loop.create_task(main())
            for _ in range(20):
                turns_that_may_fail(loop, 1)
                received.extend(received_by(peer))
            assert not task.done() or task.exception() is not None or received == data

        yield armed
        writer.transport.abort()
        turns(loop, 3)
        received += received_by(peer)
        assert data.startswith(received)
        cancel_all(loop)


@operation
def two_who_drain(impl, loop):
    """Both are woken when there is room, or when the connection is lost."""
    with stream(impl, loop) as (reader, writer, peer):
        tasks = []
        writer.write(bytes(1_000_000))

        def armed():
            tasks.append(loop.create_task(writer.drain()))
            tasks.append(loop.create_task(writer.drain()))
            turns(loop, 2)
            tasks[0].cancel()
            for _ in range(10):
                received_by(peer)
                turns_that_may_fail(loop, 1)

        yield armed
        writer.transport.abort()
        turns(loop, 5)
        # What passes connection_lost() on may itself have lacked memory.
        cancel_all(loop)
        assert all(task.done() for task in tasks)


@operation
def stream_limits(impl, loop):
    """Lines that are too long or cut short, and a reader that pauses its transport and goes on."""
    with stream(impl, loop, limit=64) as (reader, writer, peer):
        peer.send(b"x" * 100 + b"\nshort\n" + b"y" * 1000 + b"end")

        async def main():
            with contextlib.suppress(ValueError):
                await reader.readline()
            with contextlib.suppress(asyncio.LimitOverrunError):
                await reader.readuntil(b"end")
            await reader.read(10)
            peer.shutdown(socket.SHUT_WR)
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readexactly(5000)
            async for _ in reader:
                pass
            repr(reader)
            assert reader.at_eof()

        yield lambda: drive(loop, main(), strict=False)
        cancel_all(loop)


@operation
def exception_of_a_stream(impl, loop):
    """Who reads is told that there is no more, or that memory was lacking."""
    reader = impl.StreamReader(loop=loop)
    task = loop.create_task(reader.readexactly(3))
    turns(loop, 1)

    def armed():
        reader.feed_data(b"x")
        turns(loop, 1)
        reader.set_exception(ConnectionError())
        turns(loop, 2)
        reader.feed_eof()

    yield armed
    if not task.done():
        reader.set_exception(ConnectionError())
        reader.feed_eof()  # readexactly() that was resumed by data asks for an exception no more
    turns(loop, 3)
    assert isinstance(task.exception(), (ConnectionError, asyncio.IncompleteReadError, MemoryError))


@operation
def pipe_streams(impl, loop):
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            reader, writer = await connect_pipe_streams(impl, loop, read_file, write_file, transports)
            writer.write(b"line\n" + bytes(100_000))
            await reader.readline()
            await reader.readexactly(100_000)
            await writer.drain()
            writer.close()

        yield lambda: drive(loop, main(), strict=False)
        for transport in transports:
            transport.close()
        turns(loop, 5)
        cancel_all(loop)


@operation
def streams_of_a_process(impl, loop):
    """Of one that is there: subprocess.Popen that lacks memory leaves descriptors."""
    pipe = asyncio.subprocess.PIPE
    with patched_names(impl):
        starting = asyncio.create_subprocess_exec("/bin/cat", stdin=pipe, stdout=pipe)
        process = loop.run_until_complete(starting)

        async def main():
            process.stdin.write(b"line\n")
            await process.stdin.drain()
            await process.communicate(b"more")

        yield lambda: drive(loop, main(), strict=False)

        async def end():
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    process.wait(), 1
                )  # asyncio's own code, which tells of the end, may have lacked memory
            process._transport.close()

        loop.run_until_complete(end())
        turns(loop, 5)
    if sys.version_info < (3, 12):
        asyncio.get_child_watcher().close()


@for_each_engine
def tls_streams_echo(impl, loop, engine):
    """Over a connection that is there, as in net_operations."""
    with tls_streams(impl, loop, engine) as ((reader, writer), (far_reader, far_writer)):

        async def main():
            writer.write(b"line\n")
            await writer.drain()
            far_writer.write(await far_reader.readline())
            await far_writer.drain()
            await reader.readline()
            far_writer.write(bytes(300_000))
            await reader.readexactly(300_000)
            writer.close()
            await far_reader.read()

        yield lambda: drive(loop, main(), strict=False)
        cancel_all(loop)
