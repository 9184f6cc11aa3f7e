"""What is tortured: each operation is a generator function of `(impl, loop)`.

What comes before `yield` is prepared with memory enough, what comes after runs while one allocation fails, and may end in any
exception. A second `yield` hands over to what has to hold in any case, again with memory enough.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - imports that lack memory are the interpreter's to survive
import contextlib
import socket

from .harness import LostWakeUpError

OPERATIONS = {}


def operation(function=None, *, may_leak=None):
    """Register an operation. `may_leak` is the kind of descriptor that the interpreter itself may leave open."""
    if function is None:
        return lambda function: operation(function, may_leak=may_leak)
    function.may_leak = may_leak
    OPERATIONS[function.__name__] = function
    return function


def turns(loop, count):
    # The end of a run that failed needs memory too.
    asyncio._set_running_loop(None)
    loop._thread_id = None
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def drive(loop, coro, strict=True):
    """Run a task to its end, without the done callback that ends run_until_complete() and may itself lack memory.

    With `strict` false the task may be left waiting: asyncio's own Python code, on which it waits, has lost a wake-up.
    """
    try:
        task = loop.create_task(coro)
    except BaseException:
        coro.close()
        raise
    for _ in range(300):
        with contextlib.suppress(MemoryError):
            turns(loop, 1)
        if task.done():
            return
    if strict:
        raise LostWakeUpError(repr(task))


class Recorder(asyncio.Protocol):
    transport = None
    received = b""
    lost = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data

    def connection_lost(self, exc):
        self.lost = True


@contextlib.contextmanager
def connected(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    with ours, theirs:
        protocol = Recorder()
        loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
        try:
            yield protocol.transport, protocol, theirs
        finally:
            protocol.transport.abort()
            turns(loop, 3)
            assert protocol.lost


def nothing():
    pass


# ---- The core ----


@operation
def call_soon(impl, loop):
    yield
    for _ in range(70):  # more than the ring's first capacity
        loop.call_soon(max, 1, 2, 3, 4)
    turns(loop, 1)


@operation
def call_later(impl, loop):
    yield
    handles = [loop.call_later(n % 3, nothing) for n in range(20)]
    for handle in handles[::2]:
        handle.cancel()
    turns(loop, 1)


@operation
def call_soon_threadsafe(impl, loop):
    yield
    loop.call_soon_threadsafe(nothing)
    turns(loop, 1)


@operation
def sleep(impl, loop):
    async def main():
        await impl.sleep(0)
        await impl.sleep(0.000001, "result")

    yield
    drive(loop, main())


@operation
def create_task(impl, loop):
    async def child():
        await impl.sleep(0)

    async def main():
        for _ in range(10):
            await loop.create_task(child())
        await loop.create_task(child(), name="named")

    yield
    drive(loop, main())


@operation
def task_that_fails(impl, loop):
    async def child():
        raise ValueError

    async def main():
        with contextlib.suppress(ValueError):
            await loop.create_task(child())

    yield
    drive(loop, main())


@operation
def cancel(impl, loop):
    async def child():
        await impl.sleep(3600)

    async def main():
        task = loop.create_task(child())
        await impl.sleep(0)
        task.cancel("message")
        with contextlib.suppress(asyncio.CancelledError):
            await task

    yield
    drive(loop, main())


@operation
def future(impl, loop):
    yield
    future = impl.Future(loop=loop)
    for _ in range(10):
        future.add_done_callback(len)
    future.add_done_callback(nothing)
    future.remove_done_callback(len)
    future.set_result(1)
    future.add_done_callback(repr)
    turns(loop, 2)
    repr(future)


@operation
def waiters_of_a_future(impl, loop):
    """Everybody who waits is woken, or the failure is raised to whoever completes the future."""
    future = loop.create_future()

    async def waits():
        return await future

    tasks = [loop.create_task(waits()) for _ in range(10)]
    turns(loop, 2)
    yield
    told = False
    with contextlib.suppress(MemoryError):
        future.set_result(1)
        told = True
    yield
    turns(loop, 3)
    assert not told or all(task.done() for task in tasks)


@operation
def removal_keeps_the_waiters(impl, loop):
    """Taking one callback away, or failing to, leaves the others where they are."""
    future = loop.create_future()
    called = []
    future.add_done_callback(nothing)
    for _ in range(6):
        future.add_done_callback(called.append)
    yield
    with contextlib.suppress(MemoryError):
        future.remove_done_callback(nothing)
    yield
    future.remove_done_callback(nothing)
    future.set_result(None)
    turns(loop, 2)
    assert len(called) == 6


@operation
def gather(impl, loop):
    async def child(n):
        await impl.sleep(0)
        if n == 3:
            raise ValueError

    async def main():
        await impl.gather(*[child(n) for n in range(5)], return_exceptions=True)
        with contextlib.suppress(ValueError):
            await impl.gather(*[child(n) for n in range(5)])

    yield
    drive(loop, main())


@operation
def wait(impl, loop):
    async def child(n):
        await impl.sleep(0)

    async def main():
        tasks = [loop.create_task(child(n)) for n in range(5)]
        await impl.wait(tasks, timeout=5)
        await impl.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        pending = [loop.create_future()]
        await impl.wait(pending, timeout=0.000001)

    yield
    drive(loop, main())


@operation
def stock_flow(impl, loop):
    async def main():
        async with asyncio.timeout(5):
            await impl.sleep(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 0.000001)
        queue = asyncio.Queue()
        getting = loop.create_task(queue.get())
        await impl.sleep(0)
        queue.put_nowait(1)
        await asyncio.shield(getting)
        async with asyncio.TaskGroup() as group:
            group.create_task(impl.sleep(0))

    yield
    drive(loop, main(), strict=False)


@operation
def callback_that_fails(impl, loop):
    yield
    loop.call_soon(lambda: 1 / 0)
    turns(loop, 2)


@operation
def all_tasks(impl, loop):
    async def main():
        await impl.sleep(0)

    task = loop.create_task(main())
    yield
    impl.all_tasks(loop)
    impl.current_task(loop)
    repr(task)
    yield
    loop.run_until_complete(task)


@operation
def debug_mode(impl, loop):
    loop.set_debug(True)
    # A coroutine that lacks memory to know its origin crashes Python 3.13.
    loop._set_coroutine_origin_tracking = lambda enabled: None

    async def main():
        await loop.create_task(asyncio.sleep(0))

    yield
    drive(loop, main(), strict=False)


@operation
def new_loop(impl, loop):
    yield
    other = None
    try:
        other = impl.new_event_loop()
        drive(other, impl.sleep(0))
    finally:
        if other is not None:
            other.close()


@operation
def executor(impl, loop):
    yield
    loop.run_in_executor(None, nothing)
    turns(loop, 1)


# ---- Descriptors and transports ----


@operation
def readers(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        yield
        try:
            loop.add_reader(ours, nothing)
            loop.add_writer(ours, nothing)
            turns(loop, 2)
        finally:
            loop.remove_reader(ours)
            loop.remove_writer(ours)


@operation
def many_readers(impl, loop):
    pairs = [socket.socketpair() for _ in range(20)]
    yield
    for ours, _ in pairs:
        loop.add_reader(ours, nothing)
    turns(loop, 1)
    yield
    for ours, theirs in pairs:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()


@operation
def sock_methods(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)

        async def main():
            receiving = loop.create_task(loop.sock_recv(ours, 100))
            await impl.sleep(0)
            await loop.sock_sendall(theirs, b"x" * 10)
            await receiving
            receiving = loop.create_task(loop.sock_recv_into(ours, bytearray(100)))
            await impl.sleep(0)
            await loop.sock_sendall(theirs, b"x" * 10)
            await receiving

        yield
        drive(loop, main())
        yield
        turns(loop, 2)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        turns(loop, 3)


@operation
def large_sendall(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(loop.sock_sendall(theirs, bytes(3_000_000)))
                received = 0
                while received < 3_000_000:
                    received += len(await loop.sock_recv(ours, 1_000_000))

        yield
        drive(loop, main(), strict=False)
        yield
        for task in asyncio.all_tasks(loop):
            task.cancel()
        turns(loop, 3)


@operation
def connection(impl, loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        protocol = Recorder()
        yield lambda: drive(loop, loop.create_connection(lambda: protocol, sock=ours), strict=False)
        turns(loop, 3)
        for transport in list(loop._transports.values()):
            transport.abort()  # which the protocol may not know, where connection_made() lacked memory
        turns(loop, 3)
        assert protocol.lost or protocol.transport is None


@operation
def write(impl, loop):
    with connected(loop) as (transport, protocol, theirs):

        def in_callback():
            transport.write(b"head")
            transport.write(b"body")
            transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])

        yield
        loop.call_soon(in_callback)
        turns(loop, 2)
        transport.write(b"outside")
        yield


@operation
def large_write(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.write(b"x" * 1_000_000)
        transport.write(bytearray(1_000_000))
        turns(loop, 2)
        theirs.recv(1_000_000)
        turns(loop, 2)
        yield


@operation
def read(impl, loop):
    """What has been read is given to the protocol, or the connection is lost."""
    with connected(loop) as (transport, protocol, theirs):
        theirs.send(b"0123456789")
        yield
        with contextlib.suppress(MemoryError):
            turns(loop, 2)
        yield
        turns(loop, 2)
        assert protocol.received == b"0123456789" or protocol.lost


@operation
def end_of_stream(impl, loop):
    """connection_lost() is called, whatever fails."""
    with connected(loop) as (transport, protocol, theirs):
        theirs.close()
        yield
        with contextlib.suppress(MemoryError):
            turns(loop, 4)
        yield
        transport.abort()
        turns(loop, 4)
        # As in asyncio, a call of _call_connection_lost() that lacks memory to begin is not made again.
        assert protocol.lost or transport._conn_lost
        protocol.lost = True


@operation
def close(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        transport.write(b"x" * 1_000_000)
        yield
        transport.close()
        turns(loop, 2)
        yield


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def server(impl, loop):
    async def main():
        async with await loop.create_server(Recorder, "127.0.0.1", 0) as server:
            transport, protocol = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
            transport.write(b"x")
            await impl.sleep(0)
            transport.close()
            await impl.sleep(0)

    yield lambda: drive(loop, main(), strict=False)
    for transport in list(loop._transports.values()):
        transport.abort()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    turns(loop, 5)


@operation
def streams(impl, loop):
    ours, theirs = socket.socketpair()

    async def main():
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"x")
        await writer.drain()
        theirs.send(b"line\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    with ours, theirs:
        yield lambda: drive(loop, main(), strict=False)
        for transport in list(loop._transports.values()):
            transport.abort()
        turns(loop, 5)
