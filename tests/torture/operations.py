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


def turns_that_may_fail(loop, count):
    """As many turns, each of which may lack memory: the others are made all the same."""
    for _ in range(count):
        with contextlib.suppress(MemoryError):
            turns(loop, 1)


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
        turns_that_may_fail(loop, 1)
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


# ---- Signals, processes and the rest of the core ----


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
    turns_that_may_fail(loop, 3)
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


@operation
def stats(impl, loop):
    if not impl.native_loop:
        yield
        return
    loop.stats()  # imports
    yield
    loop.measure()
    for _ in range(20):
        loop.call_later(0, nothing)
    turns(loop, 2)
    loop.stats()
    loop.measure(False)


@operation
def pulse(impl, loop):
    """What a watch knows of its loop: the thread is left out, which hangs in Python's own modules when it lacks memory."""
    if not impl.native_loop:
        yield
        return
    from asyncio_c import _core

    looked = []
    pulse = _core._Pulse(0.0, nothing, lambda owner, number, seconds: looked.append(owner))
    pulse.open(loop)
    loop.call_soon(lambda: looked.append(pulse.look(0, True)))
    yield
    turns(loop, 1)
    loop.call_soon(nothing)
    turns(loop, 1)
    other = _core._Pulse(1.0, nothing, nothing)
    other.open(loop)
    other.close()
    yield
    turns(loop, 2)
    pulse.close()
    assert pulse.closed
