"""What threads do to the objects of each other's loops, above the core: primitives, blocks, transports, streams.

That is misuse, as with asyncio, where little of it is promised.  Nothing of it may crash, nor lose what it was given; without a GIL
the threads are really in there at the same time.
"""

import asyncio
import contextlib
import os
import socket
import threading

import pytest

from . import support

TIMES = 10000

MISUSE = (
    RuntimeError,
    ValueError,
    asyncio.InvalidStateError,
    asyncio.QueueEmpty,
    asyncio.QueueFull,
    IndexError,
)


def hammer(*calls, times=TIMES):
    """Call each of them so many times, in a thread of its own, all at once; return what was raised that is no refusal."""
    start = threading.Barrier(len(calls))
    failures = []

    def work(call):
        start.wait()
        for i in range(times):
            try:
                call(i)
            except MISUSE:
                pass
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


async def hammer_a_running_loop(*calls, work=None, times=TIMES):
    """The same, while this loop runs `work()` again and again, which is a coroutine function."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def threads():
        failures = hammer(*calls, times=times)
        loop.call_soon_threadsafe(done.set_result, failures)

    thread = threading.Thread(target=threads)
    thread.start()
    while not done.done():
        if work is None:
            await asyncio.sleep(0)
        else:
            try:
                await asyncio.wait_for(work(), 10)
            except MISUSE:
                pass
    thread.join()
    return done.result()


pytestmark = pytest.mark.usefixtures("threads_take_turns_often")


# ---- Primitives ----


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
def test_what_threads_put_into_a_queue_is_taken_out_once(native, name):
    queue = getattr(native, name)()
    taken = [[] for _ in range(3)]

    def take(into):
        return lambda i: into.append(queue.get_nowait())

    failures = hammer(
        *(lambda i, k=k: queue.put_nowait(k * TIMES + i) for k in range(3)), *(take(into) for into in taken)
    )
    rest = [queue.get_nowait() for _ in range(queue.qsize())]
    assert not failures
    assert queue.empty()
    assert sorted(sum(taken, rest)) == list(range(3 * TIMES))


@pytest.mark.parametrize(("name", "expected"), [("Queue", 0), ("Condition", []), ("Event", True)])
def test_what_a_primitive_calls_may_wait_for_a_thread_that_asks_it(native, name, expected):
    """The called method waits for a lock, and the thread that has it for an answer of the primitive."""
    lock, inside, held = threading.Lock(), threading.Event(), threading.Event()

    def take_the_lock():
        inside.set()
        held.wait()
        assert lock.acquire(timeout=30)  # what fails here would never get it
        lock.release()
        return True

    class Queue(native.Queue):
        def _put(self, item):
            take_the_lock()
            super()._put(item)

    class Future(asyncio.Future):
        def set_result(self, result):
            take_the_lock()
            super().set_result(result)

    def ask(look):
        with lock:
            held.set()
            inside.wait()
            return look()

    async def main():
        loop = asyncio.get_running_loop()
        primitive = Queue() if name == "Queue" else getattr(native, name)()
        look = {"Condition": lambda: list(primitive._waiters), "Event": lambda: primitive.is_set()}
        asking = loop.run_in_executor(None, ask, look.get(name, lambda: primitive.qsize()))
        if name == "Condition":
            async with primitive:
                assert await primitive.wait_for(take_the_lock)
        elif name == "Event":
            primitive._waiters.append(Future(loop=loop))
            primitive.set()
        else:
            await primitive.put(None)
        return await asking

    assert native.run(main()) == expected


def test_each_release_of_a_semaphore_counts(native):
    semaphore = native.Semaphore(0)
    assert not hammer(*[lambda i: semaphore.release()] * 4)
    assert semaphore._value == 4 * TIMES


def test_a_queue_is_full_for_all_threads_at_the_same_time(native):
    queue = native.Queue(3)
    sizes = []
    put = lambda i: queue.put_nowait(i)  # noqa: E731
    assert not hammer(put, put, put, lambda i: sizes.append(queue.qsize()), lambda i: queue.get_nowait())
    assert max(sizes) <= 3
    assert queue._unfinished_tasks >= queue.qsize()


def test_unbound_primitives_in_many_threads(native):
    lock, event, semaphore = native.Lock(), native.Event(), native.BoundedSemaphore(2)
    condition, barrier = native.Condition(), native.Barrier(2)

    def look(i):
        for each in lock, event, semaphore, condition, barrier:
            assert repr(each)
            assert each._loop is None
        assert not lock._waiters
        assert len(event._waiters) == 0
        lock._waiters = None
        event._waiters = type(event._waiters)()
        condition._waiters = type(condition._waiters)()

    def change(i):
        event.set()
        event.clear()
        lock._locked = True
        semaphore._value = i % 3
        lock.release()
        semaphore.release()

    assert not hammer(look, change, look, change)


def use(lock, event, condition, semaphore, queue):
    """A coroutine function that waits for each of them, shortly."""

    async def acquire(lock):
        await lock.acquire()
        await asyncio.sleep(0)
        if lock.locked():
            lock.release()

    async def wait_for_event():
        waiting = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        event.set()
        await waiting
        event.clear()

    async def wait_for_notice():
        async with condition:
            waiting = asyncio.ensure_future(notify())
            await condition.wait()
        await waiting

    async def notify():
        async with condition:
            condition.notify_all()

    async def get_and_put():
        getting = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.put_nowait(None)
        await getting

    async def work():
        results = await asyncio.gather(
            *(acquire(lock) for _ in range(2)),
            *(acquire(semaphore) for _ in range(3)),
            wait_for_event(),
            wait_for_notice(),
            get_and_put(),
            return_exceptions=True,
        )
        for result in results:
            if result is not None and not isinstance(result, MISUSE):
                raise result

    return work


def test_primitives_of_a_running_loop_in_other_threads(native):
    """They are unbound when the threads begin, and bound to the loop while these are in them."""

    async def main():
        lock, event, condition = native.Lock(), native.Event(), native.Condition()
        semaphore, queue = native.Semaphore(2), native.Queue()

        def look(i):
            for each in lock, event, condition, semaphore, queue:
                assert repr(each)
                assert each._loop in (None, loop)
            list(lock._waiters or ())
            list(event._waiters)
            list(queue._getters)

        def change(i):
            event.set()
            queue.put_nowait(i)
            semaphore.release()
            event.clear()
            lock.release()

        loop = asyncio.get_running_loop()
        work = use(lock, event, condition, semaphore, queue)
        failures = await hammer_a_running_loop(look, change, change, work=work, times=TIMES // 50)
        await work()
        return failures

    assert not native.run(main())


def test_loops_of_two_threads_with_the_same_primitives(native):
    """One of them binds each; the other is refused where it would have to wait."""
    lock, event, condition = native.Lock(), native.Event(), native.Condition()
    semaphore, queue = native.Semaphore(2), native.Queue()

    async def main():
        work = use(lock, event, condition, semaphore, queue)
        for _ in range(20):
            done, pending = await asyncio.wait([asyncio.ensure_future(work())], timeout=0.05)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
            for task in done:
                if task.exception() is not None and not isinstance(task.exception(), MISUSE):
                    raise task.exception()

    assert not hammer(*[lambda i: native.run(main())] * 2, times=1)


# ---- Transports and streams ----


class Peer(asyncio.Protocol):
    """Notes what has come, and whether the connection has ended."""

    def __init__(self):
        self.received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.received += data

    def connection_lost(self, error):
        self.lost.set_result(error)


async def connect():
    """A connected pair of transports with their protocols."""
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    return await loop.create_connection(Peer, sock=left), await loop.create_connection(Peer, sock=right)


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def look_at(transport):
    """What threads ask transports."""

    def look(i):
        assert transport.get_write_buffer_size() >= 0
        assert transport.is_closing() in (False, True)
        transport.get_protocol()
        transport.get_extra_info("peername")
        with contextlib.suppress(AttributeError):
            repr(transport)  # in Python, by the loop, which the transport may have lost in the middle

    return look


def test_what_threads_write_to_a_transport_arrives(native):
    """Each piece once and whole, in the order of its thread."""

    async def main():
        (transport, _), (other, peer) = await connect()

        def write(letter):
            return lambda i: transport.write(b"%c%05d;" % (letter, i))

        failures = await hammer_a_running_loop(write(b"a"), write(b"b"), look_at(transport), times=1000)
        while transport.get_write_buffer_size() > 0:
            await asyncio.sleep(0)
        transport.close()
        await peer.lost
        other.close()
        return failures, bytes(peer.received)

    failures, received = native.run(main())
    assert not failures
    pieces = received.split(b";")[:-1]
    for letter in b"ab":
        assert [int(piece[1:]) for piece in pieces if piece[0] == letter] == list(range(1000))
    assert len(pieces) == 2000


def test_transports_that_threads_close(native):
    """While the loop writes, and others ask."""

    async def main():
        for _ in range(3):
            (transport, protocol), (other, peer) = await connect()

            async def write():
                transport.write(b"x" * 1000)
                other.write(b"y" * 1000)
                await asyncio.sleep(0)

            def close(i):
                transport.write(b"z")
                if i > 20:
                    transport.close()
                if i > 40:
                    transport.abort()
                    other.close()

            failures = await hammer_a_running_loop(close, close, look_at(transport), work=write, times=60)
            assert not failures
            await asyncio.gather(protocol.lost, peer.lost)

    native.run(main())
    before = descriptors()
    native.run(main())
    assert descriptors() == before


def test_datagrams_and_pipes_that_threads_send(native):
    async def main():
        loop = asyncio.get_running_loop()
        right = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        right.bind(("127.0.0.1", 0))
        datagrams, protocol = await loop.create_datagram_endpoint(Peer, remote_addr=right.getsockname())
        read_end, write_end = os.pipe()
        pipe, pipe_protocol = await loop.connect_write_pipe(Peer, open(write_end, "wb"))
        reading, reader = await loop.connect_read_pipe(Peer, open(read_end, "rb"))

        def send(i):
            datagrams.sendto(b"x" * 100)
            pipe.write(b"y" * 100)
            if i > 80:
                datagrams.close()
                pipe.close()

        def look(i):
            for each in datagrams, pipe:
                assert each.get_write_buffer_size() >= 0
                each.is_closing()
                each.get_extra_info("socket")
            reading.is_reading()
            datagrams.get_protocol()

        async def receive():
            with contextlib.suppress(BlockingIOError):
                right.recv(1000, socket.MSG_DONTWAIT)
            await asyncio.sleep(0)

        failures = await hammer_a_running_loop(send, send, look, work=receive, times=100)
        assert not failures
        while not (protocol.lost.done() and pipe_protocol.lost.done() and reader.lost.done()):
            await receive()
        right.close()
        return len(reader.received)

    assert native.run(main()) % 100 == 0


def test_streams_in_other_threads(native):
    """Feeding, writing and looking, while the loop reads."""

    async def main():
        left, right = socket.socketpair()
        reader, writer = await native.open_connection(sock=left)
        other_reader, other_writer = await native.open_connection(sock=right)

        def look(i):
            assert repr(reader)
            assert reader.at_eof() in (False, True)
            assert reader.exception() is None
            assert len(reader._buffer) >= 0
            assert writer.is_closing() in (False, True)
            assert writer.get_extra_info("peername") is not None

        async def echo():
            writer.write(b"line\n")
            other_writer.write(await other_reader.readline())
            await other_writer.drain()
            await reader.readline()

        failures = await hammer_a_running_loop(
            look,
            lambda i: writer.write(b"more\n"),
            lambda i: reader.feed_data(b"fed\n"),
            work=echo,
            times=300,
        )
        for each in writer, other_writer:
            each.close()
            await each.wait_closed()
        return failures

    assert not native.run(main())


def test_a_map_of_descriptors_in_many_threads(native):
    with support.closing(native.new_event_loop()) as loop:
        values = [Peer.__new__(Peer) for _ in range(64)]

        def change(i):
            loop._transports[i % 4096] = values[i % 64]

        def look(i):
            assert loop._transports.get(i % 4096) is None or loop._transports.get(i % 4096) in values
            if i % 100 == 0:
                assert all(isinstance(each, int) for each in loop._transports)

        assert not hammer(change, look, change, look)


# ---- What runs several at once ----


def test_groups_and_gathers_in_other_threads(native):
    """Tasks for a group, cancellations of a gathering, looks at a timeout: while the loop is in all three."""

    async def main():
        loop = asyncio.get_running_loop()
        group, timeout = native.TaskGroup(), native.timeout(1000)
        gathering = native.gather(*(loop.create_future() for _ in range(50)), return_exceptions=True)
        shielded = native.shield(gathering)

        def look(i):
            assert repr(group)
            assert repr(timeout)
            assert len(gathering._children) == 50
            timeout.when()
            timeout.expired()
            shielded.done()

        def change(i):
            child = gathering._children[i % 50]
            if not child.done():
                child.set_result(i)
            coroutine = native.sleep(0)
            try:
                group.create_task(coroutine)
            except RuntimeError:
                coroutine.close()

        async with timeout, group:
            failures = await hammer_a_running_loop(look, change, change, times=100)
        gathering.cancel()
        await asyncio.wait([gathering, shielded])
        return failures

    assert not native.run(main())


def test_a_coroutine_that_several_threads_resume(native):
    """One of them does; the others hear that it is running, or has been."""
    with support.closing(native.new_event_loop()) as loop:
        outcomes = []

        def resume(coroutine):
            try:
                outcomes.append(coroutine.send(None))
            except (RuntimeError, ValueError, StopIteration) as error:
                outcomes.append(error)

        async def main():
            return native.Lock(), native.Queue()

        lock, queue = loop.run_until_complete(main())
        for _ in range(300):
            queue.put_nowait(1)
            for coroutine, result in (lock.acquire(), True), (queue.get(), 1):
                outcomes.clear()
                assert not hammer(*[lambda i, c=coroutine: resume(c)] * 3, times=1)
                ended = [each for each in outcomes if isinstance(each, StopIteration)]
                assert [each.value for each in ended] == [result]
                assert len(outcomes) == 3
            lock.release()
            assert queue.empty()
