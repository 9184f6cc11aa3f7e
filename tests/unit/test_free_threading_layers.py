"""What threads do to the objects of each other's loops, above the core: primitives, blocks, transports, streams.

That is misuse, as with asyncio, where little of it is promised.  Nothing of it may crash, nor lose what it was given; without a GIL
the threads are really in there at the same time.
"""

import asyncio
import collections
import contextlib
import gc
import os
import signal
import socket
import threading

import pytest

from . import support
from .test_fork import fork, in_child

TIMES = support.often(10000)

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
                await asyncio.wait_for(work(), 60)
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


class Turn:
    """What code of a program does that waits for a lock, whose owner waits for an answer of the primitive that has called it."""

    def __init__(self):
        self.lock, self.inside, self.held = threading.Lock(), threading.Event(), threading.Event()
        self.taken = []

    def take(self):
        self.inside.set()
        self.held.wait(30)
        self.taken.append(self.lock.acquire(timeout=30))  # who is kept from it would never get it
        if self.taken[-1]:
            self.lock.release()
        return True

    def ask(self, look):
        with self.lock:
            self.held.set()
            self.inside.wait()
            return look()


class Sortable:
    def __init__(self, turn):
        self.turn = turn

    def __lt__(self, other):
        return self.turn.take()


class Finalized(int):
    turn = None

    def __del__(self):
        self.turn.take()


def foreign_future(turn, loop, then=lambda: None):
    class Future(asyncio.Future):
        def set_result(self, result):
            turn.take()
            then()
            super().set_result(result)

    return Future(loop=loop)


async def own_put(native, turn):
    class Queue(native.Queue):
        def _put(self, item):
            turn.take()
            super()._put(item)

    queue = Queue()
    yield queue.qsize
    await queue.put(None)


async def predicate(native, turn):
    condition = native.Condition()
    yield lambda: condition._waiters
    async with condition:
        assert await condition.wait_for(turn.take)


async def future_of_an_event(native, turn):
    event = native.Event()
    event._waiters.append(foreign_future(turn, asyncio.get_running_loop()))
    yield event.is_set
    event.set()


async def future_of_a_condition_s_lock(native, turn):
    """wait() gives the lock to who is first in its deque: the thread is in two primitives' methods then."""
    condition, loop = native.Condition(), asyncio.get_running_loop()

    async def wait():
        async with condition:
            lock = condition._lock
            lock._waiters = collections.deque()
            lock._waiters.append(foreign_future(turn, loop, then=lock._waiters.clear))
            await condition.wait()

    yield lambda: condition._waiters
    waiting = asyncio.ensure_future(wait())
    while not condition._waiters:
        await asyncio.sleep(0)
    async with condition:
        condition.notify()
    await waiting


async def comparison(native, turn):
    queue = native.PriorityQueue()
    queue.put_nowait(Sortable(turn))
    yield queue.qsize
    await queue.put(Sortable(turn))
    assert queue.qsize() == 2
    queue.get_nowait()


async def finalizer(native, turn):
    class Maxsize(Finalized):
        pass

    Maxsize.turn = turn
    queue = native.Queue()
    queue._maxsize = Maxsize()
    yield queue.qsize
    queue._maxsize = 0


async def descriptor(native, turn):
    """Whether a method was replaced is asked of the class, which asks it."""

    class Method:
        def __get__(self, instance, owner):
            turn.take()
            return native.Queue.qsize.__get__(instance, owner)

    class Queue(native.Queue):
        pass

    queue = Queue(1)
    yield lambda: queue._maxsize
    Queue.qsize = Method()
    queue.put_nowait(None)


async def attribute(native, turn):
    class Lock(native.Lock):
        name = property(fset=lambda self, value: turn.take())

    lock = Lock()
    yield lock.locked
    lock.name = "mine"


async def call_soon(native, turn):
    """By which a future of a loop with a method of its own tells who waits."""

    class Loop(type(asyncio.get_running_loop())):
        def call_soon(self, *args, **kwargs):
            turn.take()
            return super().call_soon(*args, **kwargs)

    event, loop = native.Event(), Loop()
    future = loop.create_future()
    future.add_done_callback(print)
    event._waiters.append(future)
    yield event.is_set
    event.set()
    loop.close()


@pytest.mark.parametrize(
    "calls",
    [
        own_put,
        predicate,
        future_of_an_event,
        future_of_a_condition_s_lock,
        comparison,
        finalizer,
        descriptor,
        attribute,
        call_soon,
    ],
    ids=lambda calls: calls.__name__,
)
def test_what_a_primitive_calls_may_wait_for_a_thread_that_asks_it(impl, calls):
    turn = Turn()

    async def main():
        case = calls(impl, turn)
        asking = asyncio.get_running_loop().run_in_executor(None, turn.ask, await anext(case))
        async for _ in case:
            pass
        await asking

    impl.run(main())
    assert turn.taken
    assert all(turn.taken)


@pytest.mark.parametrize("method", ["put_nowait", "get_nowait"])
def test_a_comparison_that_changes_the_priority_queue(impl, method):
    """heapq notices that its list has another size."""
    queue = impl.PriorityQueue()
    changes = []

    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            if changes:
                queue.put_nowait(changes.pop())
            return self.number < other.number

    for number in 1, 2, 3, 4:
        queue.put_nowait(Item(number))
    changes.append(Item(9))
    with pytest.raises(RuntimeError, match="^list changed size during iteration$"):
        queue.get_nowait() if method == "get_nowait" else queue.put_nowait(Item(0))
    assert not changes
    assert queue._unfinished_tasks == 5
    assert queue.qsize() == (4 if method == "get_nowait" else 6)


def test_a_priority_queue_of_what_compares_itself(native):
    """Threads that change the heap in the middle of a comparison."""
    queue = native.PriorityQueue()

    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            return self.number < other.number

    put = lambda i: queue.put_nowait(Item(i * 7919 % TIMES))  # noqa: E731
    assert not hammer(put, put, lambda i: queue.get_nowait(), lambda i: queue.get_nowait(), times=TIMES // 2)
    heap = [each.number for each in queue._queue]
    assert len(heap) == queue.qsize()


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
            while pending:  # what the other thread finishes for this loop does not wake it, as with asyncio
                _, pending = await asyncio.wait(pending, timeout=0.05)
            for task in done:
                if task.exception() is not None and not isinstance(task.exception(), MISUSE):
                    raise task.exception()

    assert not hammer(*[lambda i: native.run(main())] * 2, times=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_primitives_in_a_forked_child(impl, loop):
    """Threads of the parent are in the middle of their methods: they wait there for the loop, which is busy."""
    if support.FREE_THREADED and impl.name != "native":
        pytest.skip("asyncio's own are made of objects whose locks may stay locked in a child")
    lock, event, condition = impl.Lock(), impl.Event(), impl.Condition()
    semaphore, barrier, queue = impl.Semaphore(2), impl.Barrier(2), impl.Queue()
    primitives = lock, event, condition, semaphore, barrier, queue
    over = threading.Event()

    def look():
        return (
            lock.locked(),
            event.is_set(),
            condition.locked(),
            semaphore.locked(),
            barrier.n_waiting,
            queue.qsize(),
        )

    def look_again():
        while not over.is_set():
            look()

    def be_busy():
        if not over.is_set():
            loop.call_soon(be_busy)

    def child():
        signal.alarm(60)  # rather than to hang
        gc.disable()  # on 3.13 without a GIL a collection may wait for a lock of the interpreter: gh-137433
        return look()

    def fork_some():
        try:
            return [in_child(child) for _ in range(5)]
        finally:
            over.set()

    for each in primitives:
        each._loop = loop
    with support.running_in_thread(loop):
        loop.call_soon_threadsafe(be_busy)
        answers, *_ = support.at_once(fork_some, *[look_again] * 3)
    assert answers == [(False, False, False, False, 0, 0)] * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_fork_in_the_middle_of_a_method_of_a_primitive(impl):
    """It goes on in the child, and threads of the child find the primitive free."""
    pids = []
    over = threading.Event()

    class Queue(impl.Queue):
        def _put(self, item):
            super()._put(item)
            if item is None:
                pids.append(fork())

    queue = Queue()

    def put_again():
        while not over.is_set():
            queue.put_nowait(1)
            queue.get_nowait()

    def put_and_fork():
        for _ in range(8):
            queue.put_nowait(None)
            if pids[-1] == 0:
                with contextlib.ExitStack() as stack:
                    stack.callback(os._exit, 1)
                    signal.alarm(60)
                    gc.disable()
                    thread = threading.Thread(target=queue.put_nowait, args=(1,))
                    thread.start()
                    thread.join()
                    os._exit(0 if queue.qsize() > 0 else 1)
        over.set()

    support.at_once(put_and_fork, put_again, put_again)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 8


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
        for _ in range(support.often(300)):
            queue.put_nowait(1)
            for coroutine, result in (lock.acquire(), True), (queue.get(), 1):
                outcomes.clear()
                assert not hammer(*[lambda i, c=coroutine: resume(c)] * 3, times=1)
                ended = [each for each in outcomes if isinstance(each, StopIteration)]
                assert [each.value for each in ended] == [result]
                assert len(outcomes) == 3
            lock.release()
            assert queue.empty()


def test_a_runner_that_is_used_while_it_runs(native):
    """Other threads are refused, to run something as to close it; what they ask for they get."""
    runner = native.Runner()
    ready, end = threading.Event(), []

    async def main():
        end.append(asyncio.Event())
        ready.set()
        while not end[0].is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end[0].wait()
        return "result"

    async def other():
        await end[0].wait()

    def run(i):
        coroutine = other()
        with pytest.raises(RuntimeError, match="already running"):
            runner.run(coroutine)

    def close(i):
        with pytest.raises(RuntimeError, match="running"):
            runner.close()

    def look(i):
        assert runner.get_loop().is_running()
        assert runner._state.name == "INITIALIZED"

    results = []
    thread = threading.Thread(target=lambda: results.append(runner.run(main())))
    thread.start()
    ready.wait()
    failures = hammer(run, run, look, close, times=50)
    runner.get_loop().call_soon_threadsafe(end[0].set)
    thread.join()
    runner.close()
    assert not failures
    assert results == ["result"]


def test_a_runner_that_several_threads_ask_for_its_loop(native):
    for _ in range(support.often(100)):
        with native.Runner() as runner:
            loops = set()
            assert not hammer(
                *[lambda i, loops=loops, runner=runner: loops.add(runner.get_loop())] * 3, times=3
            )
            assert runner.get_loop() in loops
            for loop in loops - {runner.get_loop()}:
                loop.close()  # as with asyncio, where one thread comes while the other makes it


@pytest.mark.parametrize("name", ["timeout", "TaskGroup"])
def test_a_block_that_several_loops_enter(native, name):
    """One of them does, and leaves it; the others hear that it was entered."""
    for _ in range(support.often(100)):
        block = native.timeout_at(None) if name == "timeout" else native.TaskGroup()
        outcomes = []

        async def enter(block=block):
            async with block:
                await asyncio.sleep(0)
                return True

        def work(i, enter=enter, outcomes=outcomes):
            try:
                outcomes.append(native.run(enter()))
            except RuntimeError as error:
                outcomes.append("entered" in str(error))

        assert not hammer(work, work, work, times=1)
        assert outcomes == [True] * 3


def test_fields_that_change_while_threads_look_at_them(native):
    """What asyncio's methods work on: each look finds an object that is alive."""

    async def main():
        loop = asyncio.get_running_loop()
        timeout, group = native.timeout(1000), native.TaskGroup()

        def look(i):
            when, tasks, completed = timeout._when, group._tasks, group._on_completed_fut
            assert when > 0
            assert tasks is not None
            assert completed is None or completed.get_loop() is loop

        async def work():
            timeout.reschedule(loop.time() + 1000)
            nonlocal group
            group = native.TaskGroup()
            async with group:
                group.create_task(native.sleep(0))

        async with timeout:
            return await hammer_a_running_loop(look, look, look, work=work, times=TIMES // 2)

    assert not native.run(main())


def test_an_iterator_of_a_future_that_several_threads_resume(native):
    with support.closing(native.new_event_loop()) as loop:
        for _ in range(support.often(200)):
            future = loop.create_future()
            iterator = future.__await__()
            assert next(iterator) is future
            future.set_result("result")
            outcomes = []

            def resume(i, iterator=iterator, outcomes=outcomes):
                try:
                    outcomes.append(iterator.send(None))
                except StopIteration as error:
                    outcomes.append(error.value)

            assert not hammer(resume, resume, lambda i, iterator=iterator: iterator.close(), times=1)
            assert set(outcomes) <= {None, "result"}
            assert outcomes.count("result") <= 1


def test_what_waits_with_a_deadline_and_is_closed_by_another_thread(native):
    """As a task that is dropped there closes it: the deadline is taken back from a loop that goes on."""

    async def main():
        loop = asyncio.get_running_loop()
        waiting = [native.wait_for(native.sleep(1000), 1000) for _ in range(100)]
        for coroutine in waiting:
            coroutine.send(None)
        half = len(waiting) // 2
        failures = await hammer_a_running_loop(
            lambda i: waiting[i].close(),
            lambda i: waiting[half + i].close(),
            work=lambda: native.sleep(0.00001),
            times=half,
        )
        for task in native.all_tasks() - {native.current_task()}:
            task.cancel()  # up to 3.11 the other one was in a task of its own
        await native.sleep(0)
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]
        return failures

    assert not native.run(main())
