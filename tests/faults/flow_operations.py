"""What is done while system calls fail, of primitives, waits, threads, runs, and streams of every kind; as in operations.py."""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile

from tests.torture.harness import LostWakeUpError
from tests.torture.programs import (
    accept_stream,
    connect_pipe_streams,
    patched_names,
    tls_contexts,
    tls_streams,
)

from .operations import (
    abort_all,
    ask,
    cancelling_the_rest,
    drive,
    echo_a_line,
    for_each_engine,
    operation,
    turns,
)


@operation()
def primitives(impl, loop):
    """Nothing of a poll that fails is lost on who waits for another task, in whatever."""

    async def produce(queue, event, lock, semaphore):
        for number in range(3):
            async with semaphore:
                await queue.put(number)
            await impl.sleep(0.00001)
        async with lock:
            event.set()

    async def consume(queue, condition, barrier):
        for _ in range(3):
            await queue.get()
            queue.task_done()
            async with condition:
                condition.notify_all()
        await barrier.wait()

    async def main():
        barrier, condition, event, lock = impl.Barrier(2), impl.Condition(), impl.Event(), impl.Lock()
        for queue in (impl.Queue(1), impl.PriorityQueue(1), impl.LifoQueue(1)):
            for semaphore in (impl.Semaphore(1), impl.BoundedSemaphore(1)):
                tasks = [
                    loop.create_task(produce(queue, event, lock, semaphore)),
                    loop.create_task(consume(queue, condition, barrier)),
                ]
                await impl.gather(event.wait(), barrier.wait(), queue.join(), *tasks)
                event.clear()

    yield lambda: drive(loop, main())
    turns(loop)


@operation()
def waits(impl, loop):
    async def main():
        async with impl.timeout(3600), impl.TaskGroup() as group:
            group.create_task(impl.sleep(0.00001))
            group.create_task(impl.wait_for(impl.shield(impl.sleep(0.00001)), 3600))
        with contextlib.suppress(TimeoutError):
            async with impl.timeout(0.00001):
                await loop.create_future()
        with contextlib.suppress(TimeoutError):
            await impl.wait_for(loop.create_future(), 0.00001)
        for awaitable in impl.as_completed([impl.sleep(0.00001), impl.sleep(0)]):
            await awaitable

    yield lambda: drive(loop, main())
    turns(loop)


@operation()
def to_thread(impl, loop):
    task = loop.create_task(impl.to_thread(max, 1, 2))
    # A thread takes its time, so this waits for it; the alarm ends a wait that is in vain.
    yield lambda: loop.run_until_complete(task)
    assert loop.run_until_complete(task) == 2


# As new_loop().
@operation("fstat::1", "fstat::2", "fstat::3", "epoll_ctl::1")
def run(impl, loop):
    async def main():
        await impl.sleep(0.00001)
        return 1

    def armed():
        assert impl.run(main()) == 1

    yield armed
    asyncio._set_running_loop(None)


@operation()
def unix_streams(impl, loop):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")

        async def main():
            server = await impl.start_unix_server(echo_a_line, path)
            try:
                await ask(*await impl.open_unix_connection(path))
            finally:
                server.close()

        yield lambda: drive(loop, main())
        abort_all(loop)


@operation()
def large_streams(impl, loop):
    """What is read is the beginning of what was written, and all of it where nothing failed."""
    data = os.urandom(600_000)
    ours, theirs = socket.socketpair()
    received = bytearray()
    with ours, theirs:
        near = loop.run_until_complete(impl.open_connection(sock=ours))
        far = loop.run_until_complete(impl.open_connection(sock=theirs))

        async def send():
            for at in range(0, len(data), 100_000):
                near[1].write(data[at : at + 100_000])
                await near[1].drain()
            near[1].write_eof()

        async def main():
            async with impl.TaskGroup() as group:
                group.create_task(send())
                while chunk := await far[0].read(50_000):
                    received.extend(chunk)

        error = yield lambda: drive(loop, main())
        assert data.startswith(received) if error is not None else received == data
        abort_all(loop)


@operation()
def pipe_streams(impl, loop):
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            reader, writer = await connect_pipe_streams(impl, loop, read_file, write_file, transports)
            try:
                writer.write(b"line\n" + bytes(100_000))
                await reader.readline()
                await reader.readexactly(100_000)
                await writer.drain()
            finally:
                writer.close()

        yield lambda: drive(loop, main())
        for transport in transports:
            transport.close()
        turns(loop, 5)


@for_each_engine
def tls_streams_echo(impl, loop):
    with tls_streams(impl, loop, loop._tls_engine) as ((reader, writer), (far_reader, far_writer)):

        async def far():
            with contextlib.suppress(OSError):
                far_writer.write(await far_reader.readline() + bytes(200_000))
                await far_writer.drain()
            far_writer.close()

        async def main():
            serving = loop.create_task(far())
            try:
                writer.write(b"line\n")
                await writer.drain()
                assert await reader.readline() in (b"line\n", b"")
                with contextlib.suppress(asyncio.IncompleteReadError):
                    await reader.readexactly(200_000)
            finally:
                writer.close()
                await serving

        yield lambda: drive(loop, main())


@for_each_engine
def start_tls(impl, loop):
    """Streams that begin in plain text."""
    of_server, of_client = tls_contexts()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        near = loop.run_until_complete(impl.open_connection(sock=ours))
        far = loop.run_until_complete(accept_stream(impl, loop, theirs))

        async def serve():
            try:
                await far[1].start_tls(of_server)
                await echo_a_line(*far)
            finally:
                far[1].close()

        async def main():
            serving = loop.create_task(serve())
            try:
                await near[1].start_tls(of_client, server_hostname="localhost")
                await ask(*near)
            finally:
                near[1].close()
                with contextlib.suppress(OSError):
                    await serving

        reported = []
        loop.set_exception_handler(lambda loop, context: reported.append(context["message"]))

        def armed():
            try:
                drive(loop, cancelling_the_rest(main()))
            except LostWakeUpError:
                # asyncio calls resume_reading() soon. Where that has failed, the limit of time for a handshake ends it.
                if not any("resume_reading" in message for message in reported):
                    raise

        yield armed
        abort_all(loop)
        turns(loop, 5)
        assert not asyncio.all_tasks(loop)


# As `subprocess` of operations.py.
@operation("read:EAGAIN", "fstat::0")
def streams_of_a_process(impl, loop):
    pipe = asyncio.subprocess.PIPE
    with patched_names(impl):
        process = loop.run_until_complete(asyncio.create_subprocess_exec("/bin/cat", stdin=pipe, stdout=pipe))

        async def main():
            process.stdin.write(b"line\nmore")
            await process.stdin.drain()
            assert await process.stdout.readline() == b"line\n"
            process.stdin.close()
            assert await process.stdout.read() == b"more"
            assert await process.wait() == 0

        task = loop.create_task(main())
        yield lambda: loop.run_until_complete(task)

        async def end():
            task.cancel()
            await asyncio.wait([task])
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            process._transport.close()
            await impl.sleep(0)

        loop.run_until_complete(end())
        turns(loop)
    if sys.version_info < (3, 12):
        asyncio.get_child_watcher().close()
