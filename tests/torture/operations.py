"""What is tortured: each operation is a generator function of `(impl, loop)`.

What comes before `yield` is prepared with memory enough, what comes after runs while one allocation fails, and may end in any
exception. A second `yield` hands over to what has to hold in any case, again with memory enough.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - imports that lack memory are the interpreter's to survive
import contextlib
import os
import selectors
import signal
import socket
import sys
import tempfile

from .harness import LostWakeUpError
from .programs import (
    ENGINES,
    accept_and_connect,
    exchange_datagrams,
    listener_and_client,
    tls_pair,
    udp_pair,
)

OPERATIONS = {}


def for_each_engine(function):
    """Register an operation of `(impl, loop, engine)` once for each of our ways to do TLS."""
    for engine in ENGINES:

        def one(impl, loop, engine=engine):
            return function(impl, loop, engine)

        one.__name__ = f"{function.__name__}_{engine}"
        operation(one)
    return function


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


def cancel_all(loop):
    """End the tasks that an operation has left."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    turns(loop, 3)


def abort_all(loop):
    """End what an operation has left, which may be anything."""
    for transport in list(loop._transports.values()):
        transport.abort()
    cancel_all(loop)
    turns(loop, 2)


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


# ---- The queues, and the selector, as programs see them ----


@operation
def changes_of_the_queue(impl, loop):
    """Callbacks that are moved, taken out and put back; afterwards each is in the queue, or in the hands of who took it."""
    ran, out = [], []
    handles = [loop.call_soon(ran.append, number) for number in range(5)]
    foreign = asyncio.Handle(ran.append, (5,), loop)
    yield
    ready = loop._ready
    list(ready)
    repr(ready)
    ready.rotate(2)
    ready.reverse()
    ready.append(foreign)
    out.append(ready.popleft())
    ready.insert(2, out[0])
    out.clear()
    ready.remove(handles[3])
    out.append(handles[3])
    ready.extendleft([out[0]])
    ready[0] = ready[1]
    yield
    turns(loop, 1)
    assert set(ran) | {5} <= set(range(6))
    assert not loop._ready


@operation
def looking_at_tasks_that_wait_for_their_turn(impl, loop):
    """What is looked at becomes a handle, by which it still runs."""

    async def main(number):
        await impl.sleep(0)
        await impl.sleep(0.0001)
        return number

    tasks = [loop.create_task(main(number)) for number in range(2)]
    turns(loop, 2)
    tasks += [loop.create_task(main(number)) for number in range(2, 4)]
    turns(loop, 1)
    tasks += [loop.create_task(main(4)), loop.create_task(impl.sleep(0, 5))]
    gathered = impl.gather(*tasks)
    yield
    list(loop._ready)
    list(loop._scheduled)
    yield
    for _ in range(300):
        turns(loop, 1)
        if gathered.done():
            break
    else:
        raise LostWakeUpError(repr(gathered))
    assert gathered.result() == list(range(6))


@operation
def changes_of_the_timers(impl, loop):
    ran = []
    handles = [loop.call_later(3600 + number, ran.append, number) for number in range(4)]
    sleeping = loop.create_task(impl.sleep(0.0005))
    turns(loop, 1)
    yield
    scheduled = loop._scheduled
    repr(scheduled[0])
    scheduled.remove(handles[2])
    scheduled.append(handles[2])
    loop._scheduled = sorted(scheduled)
    yield
    for _ in range(300):
        turns(loop, 1)
        if sleeping.done():
            break
    else:
        raise LostWakeUpError(repr(sleeping))


@operation(may_leak="socket:")
def loop_by_a_selector(impl, loop):
    yield
    selector, other = selectors.SelectSelector(), None
    try:
        other = impl.Loop(selector)
        drive(other, impl.sleep(0), strict=False)
    finally:
        asyncio._set_running_loop(None)
        if other is not None:
            other.close()
        selector.close()


@operation(may_leak="socket:")
def select_is_replaced(impl, loop):
    """The loop changes over to waiting by a Python selector. Whoever waits for a socket does so by the one or by the other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        receiving = loop.create_task(loop.sock_recv(ours, 10))
        turns(loop, 1)
        try:
            yield
            loop._selector.select = loop._selector.select
            yield
        finally:
            theirs.send(b"x")
            for _ in range(10):
                turns(loop, 1)
            if not receiving.done():
                raise LostWakeUpError(repr(receiving))
        assert receiving.result() == b"x"


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
        cancel_all(loop)


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
        cancel_all(loop)


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


async def serve_one(impl, start, connect):
    """Start a server, and make a connection to its address."""
    async with await start() as server:
        transport, protocol = await connect(server.sockets[0].getsockname())
        transport.write(b"x")
        await impl.sleep(0)
        transport.close()
        await impl.sleep(0)


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def server(impl, loop):
    def start():
        return loop.create_server(Recorder, "127.0.0.1", 0)

    def connect(address):
        return loop.create_connection(Recorder, *address)

    yield lambda: drive(loop, serve_one(impl, start, connect), strict=False)
    abort_all(loop)


@operation
def streams(impl, loop):
    ours, theirs = socket.socketpair()

    async def main():
        reader, writer = await impl.open_connection(sock=ours)
        writer.write(b"x")
        await writer.drain()
        theirs.send(b"line\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    with ours, theirs:
        yield lambda: drive(loop, main(), strict=False)
        abort_all(loop)


@operation
def stream_reads(impl, loop):
    """Whatever fails, what was fed is read by somebody, or an exception says that it was not taken."""
    reader = impl.StreamReader(limit=64, loop=loop)
    taken = []

    async def read():
        for call in (
            lambda: reader.readline(),
            lambda: reader.readexactly(5),
            lambda: reader.readuntil(b"--"),
            lambda: reader.read(3),
        ):
            taken.append(await call())
        return taken

    def steps():
        task = loop.create_task(read())
        turns(loop, 1)
        for data in (b"ab", b"\ncde", b"fg", bytes(2000), b"-", b"-xyz"):
            reader.feed_data(data)
            turns(loop, 1)
        task.cancel()
        turns(loop, 1)

    yield steps


class BufferedRecorder(asyncio.BufferedProtocol, Recorder):
    def __init__(self):
        self.buffer = bytearray(4)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.received += self.buffer[:count]


@operation
def buffered_protocol(impl, loop):
    """What has been read is given to the protocol, or the connection is lost; the protocol may be another by then."""
    with connected(loop) as (transport, first, theirs):
        second = BufferedRecorder()
        second.connection_lost = first.connection_lost
        theirs.send(b"0123456789")
        yield
        with contextlib.suppress(MemoryError):
            transport.set_protocol(second)
        with contextlib.suppress(MemoryError):
            turns(loop, 5)
        yield
        turns(loop, 5)
        assert first.received + second.received == b"0123456789" or first.lost


@operation
def pause_and_resume(impl, loop):
    """Reading can be resumed, however often that has failed."""
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.pause_reading()
        theirs.send(b"x")
        turns(loop, 2)
        transport.resume_reading()
        turns(loop, 2)
        yield
        if not transport.is_reading() and not protocol.lost:
            transport.resume_reading()
        turns(loop, 3)
        assert protocol.received == b"x" or protocol.lost


@operation
def write_eof(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.write(b"x" * 300_000)
        transport.write_eof()
        theirs.recv(1_000_000)
        turns(loop, 2)
        yield


@operation
def limits_and_sizes(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.set_write_buffer_limits(high=10, low=5)
        transport.get_write_buffer_limits()
        transport.write(b"x" * 1_000_000)
        transport.get_write_buffer_size()
        transport.get_extra_info("peername")
        transport.get_extra_info("socket").fileno()
        repr(transport)
        repr(transport._buffer)
        turns(loop, 2)
        yield


@operation
def abort(impl, loop):
    """abort() that has failed can be called again: connected() does."""
    with connected(loop) as (transport, protocol, theirs):
        transport.write(b"x" * 1_000_000)
        yield
        transport.abort()
        turns(loop, 2)
        yield


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def unix_server(impl, loop):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")

        def start():
            return loop.create_unix_server(Recorder, path)

        def connect(address):
            return loop.create_unix_connection(Recorder, address)

        yield lambda: drive(loop, serve_one(impl, start, connect), strict=False)
        abort_all(loop)


@operation
def accepted_socket(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield lambda: drive(loop, loop.connect_accepted_socket(Recorder, ours), strict=False)
        abort_all(loop)


@operation
def sendfile(impl, loop):
    with tempfile.TemporaryFile() as file, connected(loop) as (transport, protocol, theirs):
        file.write(b"x" * 300_000)
        file.flush()
        theirs.setblocking(False)

        async def main():
            sending = loop.create_task(loop.sendfile(transport, file))
            for _ in range(20):
                with contextlib.suppress(BlockingIOError):
                    theirs.recv(1_000_000)
                await impl.sleep(0)
            await sending

        yield lambda: drive(loop, main(), strict=False)
        cancel_all(loop)


@operation
def sock_sendfile(impl, loop):
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as file, ours, theirs:
        file.write(b"x" * 1000)
        file.flush()
        ours.setblocking(False)
        yield lambda: drive(loop, loop.sock_sendfile(ours, file), strict=False)
        cancel_all(loop)
        loop.remove_writer(ours)


@operation
def sock_datagrams(impl, loop):
    with udp_pair() as (ours, theirs):
        yield
        drive(loop, exchange_datagrams(impl, loop, ours, theirs), strict=False)
        yield
        cancel_all(loop)


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def sock_accept_and_connect(impl, loop):
    with listener_and_client() as (listener, client):
        yield
        drive(loop, accept_and_connect(loop, listener, client), strict=False)
        yield
        cancel_all(loop)


class DatagramRecorder(asyncio.DatagramProtocol):
    lost = False

    def __init__(self):
        self.received = []

    def datagram_received(self, data, addr):
        self.received.append(data)

    def connection_lost(self, exc):
        self.lost = True


@operation
def datagrams(impl, loop):
    """What a turn could not do the next ones do: the endpoint lives on, or ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        theirs = peer.getsockname()
        opening = loop.create_datagram_endpoint(DatagramRecorder, local_addr=("127.0.0.1", 0))
        transport, protocol = loop.run_until_complete(opening)
        ours = transport.get_extra_info("sockname")
        yield
        for _ in range(3):
            with contextlib.suppress(MemoryError):
                transport.sendto(b"out", theirs)
                peer.sendto(b"in", ours)
        with contextlib.suppress(MemoryError):
            turns(loop, 3)
        yield
        peer.sendto(b"last", ours)
        turns(loop, 10)
        assert protocol.received[-1:] == [b"last"] or protocol.lost
        transport.abort()
        turns(loop, 3)
        assert protocol.lost


@operation
def datagrams_that_wait(impl, loop):
    """A socket without room: what is queued is sent or dropped, and the endpoint closes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.setblocking(False)
        transport, protocol = loop.run_until_complete(
            loop.create_datagram_endpoint(DatagramRecorder, sock=ours)
        )

        def armed():
            for _ in range(30):
                transport.sendto(bytearray(10_000))
            with contextlib.suppress(BlockingIOError):
                while theirs.recv(100_000):
                    turns(loop, 1)
            transport.close()

        yield armed
        transport.abort()
        turns(loop, 3)
        assert protocol.lost


@operation
def datagram_endpoint(impl, loop):
    async def main():
        opening = loop.create_datagram_endpoint(DatagramRecorder, remote_addr=("127.0.0.1", 9))
        transport, _ = await opening
        transport.close()

    yield lambda: drive(loop, main(), strict=False)
    abort_all(loop)


@operation
def pipes(impl, loop):
    read_end, write_end = os.pipe()
    reader, writer = Recorder(), Recorder()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            transports.append((await loop.connect_read_pipe(lambda: reader, read_file))[0])
            transports.append((await loop.connect_write_pipe(lambda: writer, write_file))[0])

        loop.run_until_complete(main())
        yield
        with contextlib.suppress(MemoryError):
            writer.transport.write(b"x" * 100)
            writer.transport.write(bytearray(200_000))
        for _ in range(10):
            with contextlib.suppress(MemoryError):
                turns(loop, 1)
        with contextlib.suppress(MemoryError):
            writer.transport.write_eof()
            turns(loop, 3)
        yield
        turns(loop, 10)
        writer.transport.abort()
        turns(loop, 5)
        assert writer.lost
        if not reader.lost:
            reader.transport.close()
        turns(loop, 5)
        assert reader.lost


@operation
def connecting_pipes(impl, loop):
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            transports.append((await loop.connect_read_pipe(Recorder, read_file))[0])
            transports.append((await loop.connect_write_pipe(Recorder, write_file))[0])

        yield lambda: drive(loop, main(), strict=False)
        for transport in transports:
            transport.close()
        turns(loop, 5)


# socket.socketpair() forgets a socket for which memory lacks.
@operation(may_leak="socket:")
def signals(impl, loop):
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    called = []
    yield
    loop.add_signal_handler(signal.SIGUSR1, called.append, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    turns(loop, 3)
    loop.remove_signal_handler(signal.SIGUSR1)
    yield
    with contextlib.suppress(RuntimeError):
        loop.remove_signal_handler(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, previous)


@operation
def watched_process(impl, loop):
    """The end of a process is told, or its watching has failed and left nothing open."""
    if not impl.native_loop:
        yield
        return
    ended = [None]

    class Transport:
        _proc = type("P", (), {"returncode": None})

        def get_pid(self):
            return pid

        def _process_exited(self, returncode):
            ended[0] = returncode

    pid = os.fork()
    if pid == 0:
        os._exit(7)
    transport = Transport()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    watching = False
    yield
    loop._watch_process(transport)
    watching = True
    for _ in range(3):
        with contextlib.suppress(MemoryError):
            turns(loop, 1)
    yield
    turns(loop, 5)
    assert ended == [7] or not watching
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


@operation
def eager_tasks(impl, loop):
    if sys.version_info < (3, 12) or not impl.native_names:
        yield  # asyncio's own eager tasks lose wake-ups
        return
    import asyncio_c

    async def child(n):
        if n:
            await impl.sleep(0)

    async def main():
        for n in range(4):
            await loop.create_task(child(n))

    loop.set_task_factory(asyncio_c.eager_task_factory)
    yield
    try:
        drive(loop, main())
    finally:
        loop.set_task_factory(None)


@operation
def task_group(impl, loop):
    async def child(n):
        await impl.sleep(0)
        if n == 2:
            raise ValueError

    async def main():
        with contextlib.suppress(ExceptionGroup):
            async with impl.TaskGroup() as group:
                for n in range(4):
                    group.create_task(child(n))

    yield
    drive(loop, main(), strict=False)


def start(loop, tasks, coroutines):
    """Make tasks, each of which is in `tasks` as soon as it is there."""
    tasks += [None] * 3
    for number, coroutine in enumerate(coroutines):
        tasks[number] = loop.create_task(coroutine)


def passed_around(impl, loop, lock):
    """Three tasks that take turns with a lock, one of which is cancelled; it is free in the end, whatever fails."""
    left = []

    async def take(number):
        async with lock:
            await impl.sleep(0)
        left.append(number)

    tasks = []
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, map(take, range(3)))
        turns(loop, 2)
        tasks[1].cancel()
    turns(loop, 30)
    yield
    for _ in range(3):
        turns(loop, 10)
        # A coroutine into which an exception could not be thrown waits until it is closed.
        tasks[:] = [task for task in tasks if task is not None and not task.done()]
        if lock.locked():
            lock.release()  # in place of one for which memory was lacking, as whoever called it knows
        elif isinstance(lock, asyncio.Lock):
            lock._wake_up_first()  # who is closed instead of being cancelled wakes nobody, in asyncio either
    turns(loop, 10)
    assert all(task.done() for task in tasks)
    assert not lock.locked()
    assert not lock._waiters


@operation
def lock(impl, loop):
    yield from passed_around(impl, loop, impl.Lock())


@operation
def semaphore(impl, loop):
    yield from passed_around(impl, loop, impl.Semaphore(1))


@operation
def bounded_semaphore(impl, loop):
    yield from passed_around(impl, loop, impl.BoundedSemaphore(1))


@operation
def event(impl, loop):
    event = impl.Event()
    tasks = []
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, (event.wait() for _ in range(3)))
        turns(loop, 2)
        tasks[1].cancel()
        event.set()
    yield
    event.clear()
    event.set()
    turns(loop, 10)
    assert all(task is None or task.done() for task in tasks)
    assert not event._waiters


@operation
def condition(impl, loop):
    """Three tasks that wait under a lock, one of which is cancelled: it is free in the end, and nobody waits."""
    condition, ready = impl.Condition(), []

    async def wait(number):
        async with condition:
            await (condition.wait_for(lambda: ready) if number else condition.wait())

    async def tell():
        async with condition:
            condition.notify_all()

    tasks = []
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, map(wait, range(3)))
        turns(loop, 3)
        drive(loop, tell(), strict=False)
        tasks[1].cancel()
        ready.append(1)
        drive(loop, tell(), strict=False)
        turns(loop, 10)
    yield
    ready.append(1)
    for _ in range(4):
        for task in filter(None, tasks):
            task.cancel()
        turns(loop, 5)
        if condition.locked():
            condition.release()  # in place of one for which memory was lacking
        condition._lock._wake_up_first()
    turns(loop, 10)
    assert all(task is None or task.done() for task in tasks)
    assert not [waiter for waiter in condition._waiters if not waiter.done()]


@operation
def barrier(impl, loop):
    barrier = impl.Barrier(2)

    async def wait():
        with contextlib.suppress(asyncio.BrokenBarrierError):
            await barrier.wait()

    tasks = []
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, (wait() for _ in range(3)))
        turns(loop, 5)
        tasks[2].cancel()
        turns(loop, 5)
    yield
    for _ in range(4):
        for task in filter(None, tasks):
            task.cancel()
        turns(loop, 5)
        if barrier._cond.locked():
            barrier._cond.release()  # as above
        barrier._cond._lock._wake_up_first()
    turns(loop, 10)
    assert all(task is None or task.done() for task in tasks)


@operation
def as_completed(impl, loop):
    """What comes is one of the results, or is late."""
    futures = [loop.create_future() for _ in range(3)]

    async def main():
        for awaitable in impl.as_completed([*futures, impl.sleep(0, 3)], timeout=0.001):
            with contextlib.suppress(TimeoutError):
                assert await awaitable in range(4)

    yield
    for number, future in enumerate(futures[1:]):
        loop.call_soon(future.set_result, number)
    drive(loop, main(), strict=False)


def handed_over(impl, loop, make):
    """A producer and a consumer.  What was put in is taken out, or still there."""
    queue, put, got = make(1), [], []

    async def produce():
        for item in range(4):
            await queue.put(item)
            put.append(item)

    async def consume():
        while True:
            got.append(await queue.get())
            queue.task_done()

    tasks = []
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, (method() for method in (consume, produce, queue.join)))
        turns(loop, 20)
        repr(queue)
    yield
    for task in filter(None, tasks):
        task.cancel()
    turns(loop, 20)
    assert all(task is None or task.done() for task in tasks)
    assert not any(waiter for waiter in (*queue._getters, *queue._putters) if not waiter.done())
    assert queue.qsize() <= 1 and len(got) + queue.qsize() <= len(put) + 1


@operation
def queue(impl, loop):
    yield from handed_over(impl, loop, impl.Queue)


@operation
def priority_queue(impl, loop):
    yield from handed_over(impl, loop, impl.PriorityQueue)


@operation
def lifo_queue(impl, loop):
    yield from handed_over(impl, loop, impl.LifoQueue)


@operation
def task_methods(impl, loop):
    async def main():
        await impl.sleep(3600)

    task = loop.create_task(main(), name="x")
    turns(loop, 2)
    yield
    task.get_stack()
    task.set_name(5)
    task.get_name()
    task.cancel()
    task.cancelling()
    task.uncancel()
    repr(task)
    yield
    task.cancel()
    turns(loop, 3)
    assert task.cancelled()


# ---- TLS ----

# Of connections that are there: making an SSLObject that lacks memory crashes in CPython's own _ssl (seen with 3.11.7), and
# handshakes are asyncio's steps.


def check_tls(loop, protocol, other, sent):
    """All has come that was sent, or the connection is lost and it is the beginning of that."""
    turns(loop, 30)
    lost = protocol.losses or other.losses or protocol.transport.is_closing() or other.transport.is_closing()
    assert protocol.received == sent if not lost else sent.startswith(protocol.received)


@for_each_engine
def tls_echo(impl, loop, engine):
    with tls_pair(loop, engine) as (client, server):
        yield
        client.transport.write(b"head")
        client.transport.write(b"body")
        turns(loop, 3)
        server.transport.write(b"answer")
        turns(loop, 3)
        yield
        check_tls(loop, server, client, b"headbody")
        check_tls(loop, client, server, b"answer")


@for_each_engine
def tls_much(impl, loop, engine):
    """More than a socket takes, and than the transport below wants."""
    data = os.urandom(1_500_000)
    with tls_pair(loop, engine) as (client, server):
        yield
        for at in range(0, len(data), 300_000):
            client.transport.write(data[at : at + 300_000])
        client.transport.get_write_buffer_size()
        turns(loop, 20)
        yield
        check_tls(loop, server, client, data)


@for_each_engine
def tls_paused(impl, loop, engine):
    data = os.urandom(400_000)
    with tls_pair(loop, engine) as (client, server):
        server.transport.pause_reading()
        yield
        client.transport.write(data)
        turns(loop, 10)
        server.transport.resume_reading()
        turns(loop, 10)
        yield
        server.transport.pause_reading()
        server.transport.resume_reading()
        check_tls(loop, server, client, data)


@for_each_engine
def tls_close(impl, loop, engine):
    with tls_pair(loop, engine, strict=False) as (client, server):
        yield
        client.transport.write(b"last")
        client.transport.close()
        turns(loop, 10)
        yield
        check_tls(loop, server, client, b"last")
