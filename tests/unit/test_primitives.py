"""Lock, Event, Semaphore and the queues: who gets what, what a cancellation leaves, what is seen by whoever looks."""

import asyncio
import collections
import copy
import functools
import gc
import inspect
import pickle
import weakref
from unittest import mock

import pytest

from . import support
from .support import turns

LOCKS = ["Lock", "Semaphore", "BoundedSemaphore"]
QUEUES = ["Queue", "PriorityQueue", "LifoQueue"]
PRIMITIVES = [*LOCKS, "Event", *QUEUES]


@pytest.fixture(params=LOCKS)
def lock(impl, request):
    return getattr(impl, request.param)()


@pytest.fixture(params=QUEUES)
def queue_type(impl, request):
    return getattr(impl, request.param)


@pytest.fixture(params=PRIMITIVES)
def primitive_type(impl, request):
    return getattr(impl, request.param)


def started(loop, *coroutines):
    """Return tasks, each of which has got to where it waits."""
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    support.run_once(loop)
    return tasks


# ---- what they are ----


def test_are_asyncios(primitive_type):
    stock = getattr(asyncio, primitive_type.__name__)
    assert issubclass(primitive_type, stock)
    assert isinstance(primitive_type(), stock)
    assert primitive_type.__qualname__ == stock.__qualname__
    assert str(inspect.signature(primitive_type)) == str(inspect.signature(stock))


def test_queues_and_semaphores_are_of_each_other(impl):
    assert issubclass(impl.PriorityQueue, impl.Queue)
    assert issubclass(impl.LifoQueue, impl.Queue)
    assert issubclass(impl.BoundedSemaphore, impl.Semaphore)


def test_representation(impl, loop):
    def shown(value):
        return support.masked(repr(value))

    address = shown(object()).split()[-1]
    assert shown(impl.Lock()) == f"<asyncio.locks.Lock object at {address[:-1]} [unlocked]>"
    assert shown(impl.Event()).endswith("[unset]>")
    assert shown(impl.Semaphore(2)).startswith("<asyncio.locks.Semaphore object")
    assert shown(impl.BoundedSemaphore(2)).endswith("[unlocked, value:2]>")
    assert str(impl.PriorityQueue(2)) == "<PriorityQueue maxsize=2>"

    class Mine(impl.Lock):
        pass

    assert f"{__name__}." in repr(Mine())
    lock = impl.Lock()
    tasks = started(loop, lock.acquire(), lock.acquire(), lock.acquire())
    assert repr(lock).endswith("[locked, waiters:2]>")
    for task in tasks:
        task.cancel()
    support.run_until_idle(loop)


COROUTINE_METHODS = [
    *[(name, "acquire") for name in LOCKS],
    *[(name, method) for name in LOCKS for method in ("__aenter__", "__aexit__")],
    ("Event", "wait"),
    *[(name, method) for name in QUEUES for method in ("get", "put", "join")],
]
METHODS = [
    *[(name, method) for name in LOCKS for method in ("release", "locked")],
    *[("Event", method) for method in ("set", "clear", "is_set")],
    *[
        (name, method)
        for name in QUEUES
        for method in ("get_nowait", "put_nowait", "empty", "full", "qsize", "task_done")
    ],
]


@pytest.mark.parametrize("name, method", COROUTINE_METHODS)
def test_coroutine_methods(impl, name, method):
    stock, ours = getattr(getattr(asyncio, name), method), getattr(getattr(impl, name), method)
    bound = getattr(getattr(impl, name)(), method)
    assert inspect.iscoroutinefunction(ours)
    assert inspect.iscoroutinefunction(bound)
    assert inspect.ismethod(bound)
    assert (ours.__name__, ours.__qualname__) == (stock.__name__, stock.__qualname__)
    assert inspect.signature(ours) == inspect.signature(stock)
    assert str(inspect.signature(bound)) == str(inspect.signature(getattr(getattr(asyncio, name)(), method)))
    assert bound.__self__ is not None
    assert ours.__doc__ or not stock.__doc__


@pytest.mark.parametrize("name, method", METHODS)
def test_plain_methods(impl, name, method):
    stock, ours = getattr(getattr(asyncio, name)(), method), getattr(getattr(impl, name)(), method)
    assert not inspect.iscoroutinefunction(ours)
    assert str(inspect.signature(ours)) == str(inspect.signature(stock))
    assert ours.__name__ == method
    assert ours.__doc__ or not stock.__doc__


@pytest.mark.parametrize("name, method", [*COROUTINE_METHODS, *METHODS])
def test_wrong_calls(impl, name, method):
    def errors(source):
        primitive = getattr(source, name)()
        for args, kwargs in [((1, 2, 3, 4, 5), {}), ((), {"nonsense": 1})]:
            with pytest.raises(TypeError) as caught:
                getattr(primitive, method)(*args, **kwargs)
            yield str(caught.value)

    assert list(errors(impl)) == list(errors(asyncio))


def test_arguments_by_keyword(impl, loop):
    queue = impl.Queue(maxsize=3)
    queue.put_nowait(item=1)
    loop.run_until_complete(queue.put(item=2))
    assert (queue.maxsize, list(queue._queue), impl.Semaphore(value=7)._value) == (3, [1, 2], 7)


@pytest.mark.parametrize("args", [(1, 2), (-1,), ("x",), (None,)])
@pytest.mark.parametrize("name", [*LOCKS, "Event", "Queue"])
def test_odd_arguments(impl, name, args):
    def outcome(source):
        try:
            primitive = getattr(source, name)(*args)
            return getattr(primitive, "_maxsize", None)
        except Exception as error:
            return type(error), str(error)

    assert outcome(impl) == outcome(asyncio)


def test_a_coroutine_that_is_not_awaited_does_nothing(lock, loop):
    with support.recorded_warnings() as caught:
        coroutine = lock.acquire()
        assert asyncio.iscoroutine(coroutine)
        del coroutine
        support.collect()
    name = "Lock" if isinstance(lock, asyncio.Lock) else "Semaphore"
    assert caught == [("RuntimeWarning", f"coroutine '{name}.acquire' was never awaited")]
    assert not lock.locked()


def test_weak_references_and_attributes(primitive_type):
    primitive = primitive_type()
    primitive.mark = 1
    reference = weakref.ref(primitive)
    assert (primitive.mark, reference()) == (1, primitive)
    primitive.cycle = primitive
    del primitive
    support.collect()
    assert reference() is None


def test_are_collected_with_who_waits(impl):
    loop = impl.new_event_loop()
    lock, event, queue = impl.Lock(), impl.Event(), impl.Queue()
    references = [weakref.ref(primitive) for primitive in (lock, event, queue)]

    async def wait(event, queue, lock):
        await asyncio.gather(event.wait(), queue.get(), lock.acquire(), lock.acquire())

    task = loop.create_task(wait(event, queue, lock))
    support.run_until_idle(loop)
    task.cancel()
    support.run_until_idle(loop)
    loop.close()
    del lock, event, queue, task, loop
    support.collect()
    assert [reference() for reference in references] == [None] * 3


def test_copies(primitive_type):
    for copied in (copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        primitive = primitive_type()
        primitive.mark = [1]
        other = copied(primitive)
        assert type(other) is type(primitive)
        assert other.mark == [1]
        assert (other.mark is primitive.mark) == (copied is copy.copy)
        assert support.masked(repr(other)) == support.masked(repr(primitive))


def test_copy_shares_the_items(impl):
    queue = impl.Queue()
    queue.put_nowait(1)
    other = copy.copy(queue)
    other.put_nowait(2)
    assert list(queue._queue) == [1, 2]
    deep = copy.deepcopy(queue)
    deep.put_nowait(3)
    assert (queue.qsize(), deep.qsize(), deep._unfinished_tasks) == (2, 3, 2)


def test_without_init(impl):
    class Bare(impl.Lock):
        def __init__(self):
            pass

    for name in ("_waiters", "_locked"):
        with pytest.raises(AttributeError, match=f"'Bare' object has no attribute '{name}'"):
            getattr(Bare(), name)
    with pytest.raises(AttributeError):
        Bare().locked()

    class BareQueue(impl.Queue):
        def __init__(self):
            pass

    with pytest.raises(AttributeError):
        BareQueue().put_nowait(1)


# ---- locks ----


def test_acquire_and_release(lock, loop):
    assert not lock.locked()
    assert loop.run_until_complete(lock.acquire()) is True
    assert lock.locked()
    assert lock.release() is None
    assert not lock.locked()


def test_with_statement(lock, loop):
    async def main():
        async with lock as value:
            assert value is None
            assert lock.locked()
        with pytest.raises(KeyError):
            async with lock:
                raise KeyError
        assert not lock.locked()

    loop.run_until_complete(main())


def test_release_of_what_is_not_locked(impl):
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        impl.Lock().release()
    with pytest.raises(ValueError, match="^BoundedSemaphore released too many times$"):
        impl.BoundedSemaphore(1).release()
    semaphore = impl.Semaphore(0)
    semaphore.release()
    assert semaphore._value == 1


def test_order_of_the_waiting(lock, loop):
    got = []

    async def take(number):
        async with lock:
            got.append(number)
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.wait_for(gathered(loop, *map(take, range(6))), None))
    assert got == list(range(6))


async def gathered(loop, *coroutines):
    for task in [loop.create_task(coroutine) for coroutine in coroutines]:
        await task


def test_nobody_overtakes(lock, loop):
    got = []

    async def take(number):
        await lock.acquire()
        got.append(number)

    async def main():
        await lock.acquire()
        first = loop.create_task(take(1))
        await turns()
        lock.release()
        # Released, but for the first.
        assert lock.locked() is not isinstance(lock, asyncio.Lock)
        second = loop.create_task(take(2))
        await take_now(take, 3, got)
        for task in (first, second):
            task.cancel()
        await turns()
        return got

    async def take_now(take, number, got):
        task = loop.create_task(take(number))
        await turns()
        assert got == [1]
        task.cancel()

    assert loop.run_until_complete(main()) == [1]


def test_cancelled_while_waiting(lock, loop):
    async def main():
        await lock.acquire()
        tasks = [loop.create_task(lock.acquire()) for _ in range(3)]
        await turns()
        assert len(lock._waiters) == 3
        tasks[0].cancel("reason")
        with pytest.raises(asyncio.CancelledError) as caught:
            await tasks[0]
        assert caught.value.args == ("reason",)
        assert len(lock._waiters) == 2
        lock.release()
        await turns()
        assert [task.done() for task in tasks] == [True, True, False]
        tasks[2].cancel()
        await turns()
        assert not lock._waiters

    loop.run_until_complete(main())


@pytest.mark.parametrize("first", ["cancel", "release"])
def test_cancelled_in_the_turn_of_the_release(lock, loop, first):
    """The one behind gets it, if it is in time."""

    async def main():
        await lock.acquire()
        tasks = [loop.create_task(lock.acquire()) for _ in range(2)]
        await turns()
        if first == "cancel":
            tasks[0].cancel()
            lock.release()
        else:
            lock.release()
            tasks[0].cancel()
        await turns()
        assert [task.cancelled() for task in tasks] == [True, False]
        assert tasks[1].done()
        assert lock.locked()
        lock.release()
        assert not lock.locked()

    loop.run_until_complete(main())


def test_all_waiting_are_cancelled(lock, loop):
    async def main():
        await lock.acquire()
        tasks = [loop.create_task(lock.acquire()) for _ in range(3)]
        await turns()
        for task in tasks:
            task.cancel()
        lock.release()
        # They are still there, and are passed by.
        assert len(lock._waiters) == 3
        assert await lock.acquire()
        await turns()
        assert not lock._waiters

    loop.run_until_complete(main())


def test_a_closed_coroutine_waits_no_more(lock, loop):
    loop.run_until_complete(lock.acquire())

    async def main():
        coroutine = lock.acquire()
        future = coroutine.send(None)
        assert asyncio.isfuture(future)
        assert list(lock._waiters) == [future]
        coroutine.close()
        assert not lock._waiters

    loop.run_until_complete(main())


def test_value_of_a_semaphore(impl, loop):
    semaphore = impl.Semaphore(3)

    async def main():
        await semaphore.acquire()
        assert semaphore._value == 2
        semaphore._value += 5
        assert semaphore._value == 7
        semaphore._value = 2**70
        await semaphore.acquire()
        assert semaphore._value == 2**70 - 1
        semaphore.release()
        semaphore._value = 1.5
        await semaphore.acquire()
        assert semaphore._value == 0.5

    loop.run_until_complete(main())


def test_bound_of_a_semaphore(impl):
    semaphore = impl.BoundedSemaphore(2)
    assert semaphore._bound_value == 2
    semaphore._bound_value = 3
    semaphore.release()
    assert semaphore._value == 3


def test_two_releases_for_two(impl, loop):
    """The one that is woken first lets the next in, who came meanwhile."""
    semaphore = impl.Semaphore(0)

    async def main():
        tasks = [loop.create_task(semaphore.acquire()) for _ in range(3)]
        await turns()
        semaphore.release()
        semaphore.release()
        assert semaphore.locked()
        await turns()
        return [task.done() for task in tasks], semaphore._value

    assert loop.run_until_complete(main()) == ([True, True, False], 0)


def test_what_is_waited_for_is_a_future(impl, loop):
    """task._fut_waiter: anyio and others look."""
    lock, event, queue = impl.Lock(), impl.Event(), impl.Queue()
    loop.run_until_complete(lock.acquire())
    tasks = started(loop, lock.acquire(), event.wait(), queue.get())
    waited = [task._fut_waiter for task in tasks]
    assert waited == [lock._waiters[0], event._waiters[0], queue._getters[0]]
    assert all(isinstance(future, asyncio.Future) for future in waited)
    for deque in (lock._waiters, event._waiters, queue._getters):
        assert type(deque) is collections.deque
    for task in tasks:
        task.cancel()
    support.run_until_idle(loop)


def test_waiters_stay_the_same_deque(impl, loop):
    lock = impl.Lock()
    assert lock._waiters is None
    loop.run_until_complete(lock.acquire())
    assert lock._waiters is None
    (task,) = started(loop, lock.acquire())
    deque = lock._waiters
    assert len(deque) == 1
    lock.release()
    support.run_until_idle(loop)
    assert task.done()
    assert deque == collections.deque()
    assert lock._waiters is deque
    (other,) = started(loop, lock.acquire())
    assert len(deque) == 1
    other.cancel()
    support.run_until_idle(loop)
    assert lock._waiters is deque


@pytest.mark.parametrize("look_at", range(6))
def test_the_order_stays_when_somebody_looks(impl, loop, look_at):
    """At the waiters and the items, when so many are there."""
    lock, queue, order = impl.Lock(), impl.Queue(), []
    loop.run_until_complete(lock.acquire())

    async def take(number):
        async with lock:
            order.append(number)

    tasks = []
    for number in range(5):
        if number == look_at:
            assert len(lock._waiters or ()) == len(queue._queue) == number
        tasks += started(loop, take(number))
        queue.put_nowait(number)
    tasks[1].cancel()
    lock.release()
    support.run_until_idle(loop)
    assert order == [0, 2, 3, 4]
    assert [queue.get_nowait() for _ in range(queue.qsize())] == [0, 1, 2, 3, 4]
    assert not lock._waiters
    assert not queue._queue


def test_a_future_of_somebody_elses(impl, loop):
    """Whatever is in the deque is woken by its methods."""
    lock, event = impl.Lock(), impl.Event()
    loop.run_until_complete(lock.acquire())
    future, other = mock.Mock(), loop.create_future()
    future.done.return_value = future.cancelled.return_value = False
    lock._waiters = collections.deque([future])
    lock.release()
    future.set_result.assert_called_once_with(True)
    event._waiters.extend([future, other])
    event.set()
    assert other.result() is True
    assert future.set_result.call_count == 2


# ---- events ----


def test_event(impl, loop):
    event = impl.Event()
    assert event.is_set() is False
    tasks = started(loop, event.wait(), event.wait())
    assert event.set() is None
    assert event.is_set() is True
    event.clear()
    support.run_until_idle(loop)
    assert [task.result() for task in tasks] == [True, True]
    assert event.is_set() is False
    event.set()
    assert loop.run_until_complete(event.wait()) is True


def test_event_wakes_in_order(impl, loop):
    event, woken = impl.Event(), []

    async def wait(number):
        await event.wait()
        woken.append(number)

    started(loop, *map(wait, range(5)))
    event.set()
    support.run_until_idle(loop)
    assert woken == list(range(5))


def test_event_cancelled_in_the_turn_of_set(impl, loop):
    event = impl.Event()
    first, second = started(loop, event.wait(), event.wait())
    event.set()
    first.cancel()
    support.run_until_idle(loop)
    assert first.cancelled()
    assert second.result() is True
    assert not event._waiters


# ---- queues ----


def test_get_and_put(queue_type, loop):
    async def main():
        queue = queue_type(2)
        assert queue.empty() and not queue.full()
        assert await queue.put(1) is None
        assert queue.put_nowait(2) is None
        assert queue.full() and queue.qsize() == 2
        taken = [await queue.get(), queue.get_nowait()]
        assert sorted(taken) == [1, 2]
        assert queue.empty()

    loop.run_until_complete(main())


def test_order_of_items(impl, loop):
    async def main():
        orders = []
        for name in QUEUES:
            queue = getattr(impl, name)()
            for item in (3, 1, 2):
                await queue.put(item)
            orders.append([await queue.get() for _ in range(3)])
        return orders

    assert loop.run_until_complete(main()) == [[3, 1, 2], [1, 2, 3], [2, 1, 3]]


def test_full_and_empty(queue_type):
    queue = queue_type(1)
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    queue.put_nowait(1)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(2)


def test_items_that_cannot_be_compared(impl, loop):
    queue = impl.PriorityQueue()
    queue.put_nowait(1)
    with pytest.raises(TypeError, match="'<' not supported"):
        queue.put_nowait("a")
    with pytest.raises(TypeError, match="'<' not supported"):
        loop.run_until_complete(queue.put("b"))


def test_getters_are_served_in_order(queue_type, loop):
    queue, got = queue_type(), []

    async def get(number):
        got.append((number, await queue.get()))

    started(loop, *map(get, range(4)))
    assert len(queue._getters) == 4
    for item in range(4):
        queue.put_nowait(item)
    support.run_until_idle(loop)
    assert [number for number, _ in got] == list(range(4))
    assert sorted(item for _, item in got) == list(range(4))


def test_putters_wait_for_room(queue_type, loop):
    queue = queue_type(1)
    tasks = started(loop, *(queue.put(item) for item in range(4)))
    assert len(queue._putters) == 3

    async def drain():
        return [await queue.get() for _ in range(4)]

    assert sorted(loop.run_until_complete(drain())) == list(range(4))
    assert all(task.done() for task in tasks)


def test_who_is_faster_than_the_woken(impl, loop):
    """It goes to the end of the line."""
    queue = impl.Queue()
    first, second = started(loop, queue.get(), queue.get())
    queue.put_nowait(1)
    assert queue.get_nowait() == 1
    support.run_until_idle(loop)
    assert len(queue._getters) == 2
    queue.put_nowait(2)
    support.run_until_idle(loop)
    assert not first.done()
    assert second.result() == 2
    first.cancel()
    support.run_until_idle(loop)


@pytest.mark.parametrize("when", ["waiting", "before", "after"])
def test_cancelled_getter_leaves_the_item(queue_type, loop, when):
    """After put_nowait() has woken it the next one is to get the item."""
    queue = queue_type()
    first, second = started(loop, queue.get(), queue.get())
    if when == "waiting":
        first.cancel()
        support.run_until_idle(loop)
        queue.put_nowait(1)
    elif when == "before":
        first.cancel()
        queue.put_nowait(1)
    else:
        queue.put_nowait(1)
        first.cancel()
    support.run_until_idle(loop)
    assert first.cancelled()
    assert second.result() == 1
    assert not queue._getters


@pytest.mark.parametrize("when", ["waiting", "before", "after"])
def test_cancelled_putter_leaves_the_room(queue_type, loop, when):
    queue = queue_type(1)
    queue.put_nowait(0)
    first, second = started(loop, queue.put(1), queue.put(2))
    if when == "waiting":
        first.cancel()
        support.run_until_idle(loop)
        queue.get_nowait()
    elif when == "before":
        first.cancel()
        queue.get_nowait()
    else:
        queue.get_nowait()
        first.cancel()
    support.run_until_idle(loop)
    assert first.cancelled()
    assert second.done()
    assert list(queue._queue) == [2]
    assert not queue._putters


def test_join(queue_type, loop):
    queue = queue_type()
    loop.run_until_complete(queue.join())
    queue.put_nowait(1)
    assert not queue._finished.is_set()
    (task,) = started(loop, queue.join())
    assert queue._unfinished_tasks == 1
    assert queue.task_done() is None
    support.run_until_idle(loop)
    assert task.done()
    assert task.result() is None
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        queue.task_done()


def test_items_are_where_asyncio_has_them(impl):
    queue = impl.Queue()
    queue.put_nowait(1)
    items = queue._queue
    assert type(items) is collections.deque
    items.appendleft(0)
    assert queue.get_nowait() == 0
    queue._queue.clear()
    assert queue.empty()
    assert queue._queue is items
    queue._queue = collections.deque([5])
    assert (queue.get_nowait(), items) == (5, collections.deque())
    assert type(impl.PriorityQueue()._queue) is type(impl.LifoQueue()._queue) is list


@pytest.mark.skipif(not support.PY313, reason="QueueShutDown is new in Python 3.13")
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown(queue_type, loop, immediate):
    queue = queue_type(1)
    queue.put_nowait(1)
    putter, joiner = started(loop, queue.put(2), queue.join())
    assert not queue._is_shutdown
    queue.shutdown(immediate)
    assert queue._is_shutdown
    support.run_until_idle(loop)
    assert isinstance(putter.exception(), asyncio.QueueShutDown)
    assert joiner.done() is immediate
    with pytest.raises(asyncio.QueueShutDown):
        queue.put_nowait(3)
    with pytest.raises(asyncio.QueueShutDown):
        loop.run_until_complete(queue.put(3))
    if not immediate:
        assert loop.run_until_complete(queue.get()) == 1
    with pytest.raises(asyncio.QueueShutDown):
        queue.get_nowait()
    with pytest.raises(asyncio.QueueShutDown):
        loop.run_until_complete(queue.get())
    joiner.cancel()
    support.run_until_idle(loop)


@pytest.mark.skipif(not support.PY313, reason="QueueShutDown is new in Python 3.13")
def test_shutdown_wakes_getters(queue_type, loop):
    queue = queue_type()
    getters = started(loop, queue.get(), queue.get())
    queue.shutdown()
    support.run_until_idle(loop)
    assert [type(task.exception()) for task in getters] == [asyncio.QueueShutDown] * 2


@pytest.mark.parametrize("maxsize", [2.5, float("inf"), True, 2**80, -1])
def test_odd_sizes(impl, loop, maxsize):
    queue = impl.Queue(maxsize)
    assert queue.maxsize is maxsize

    async def main():
        for item in range(3):
            if queue.full():
                break
            await queue.put(item)
        return queue.qsize()

    assert loop.run_until_complete(main()) == {2.5: 3, True: 1}.get(maxsize, 3)


# ---- overriding ----


def test_own_items_elsewhere(impl, loop):
    """There is no `_queue`, which asyncio's methods do without."""

    class Elsewhere(impl.Queue):
        def _init(self, maxsize):
            self.items = {}

        def qsize(self):
            return len(self.items)

        def empty(self):
            return not self.items

        def _get(self):
            return self.items.popitem()[0]

        def _put(self, item):
            self.items[item] = None

    async def main():
        queue = Elsewhere(2)
        getter = loop.create_task(queue.get())
        await turns()
        await queue.put(1)
        assert await getter == 1
        queue.put_nowait(2)
        queue.put_nowait(3)
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(4)
        assert await queue.get() == 3 and queue.get_nowait() == 2
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()
        if support.PY313:
            assert queue._is_shutdown is False
            queue.shutdown()
            with pytest.raises(asyncio.QueueShutDown):
                await queue.get()

    loop.run_until_complete(main())


def test_own_items(impl, loop):
    calls = []

    class Own(impl.Queue):
        def _init(self, maxsize):
            calls.append(maxsize)
            self._queue = set()

        def _get(self):
            return self._queue.pop()

        def _put(self, item):
            self._queue.add(item)

    async def main():
        queue = Own(2)
        getter = loop.create_task(queue.get())
        await turns()
        await queue.put(1)
        assert await getter == 1
        await queue.put(2)
        queue.put_nowait(2)
        assert queue.qsize() == 1
        assert queue.get_nowait() == 2

    loop.run_until_complete(main())
    assert calls == [2]


@pytest.mark.parametrize("maxlen", [0, 1, 3])
def test_items_in_a_deque_that_is_bounded(impl, maxlen):
    """A queue that forgets the oldest item when a new one comes."""

    class Last(impl.Queue):
        def _init(self, maxsize):
            self._queue = collections.deque(maxlen=maxlen)

    queue = Last()
    for item in range(5):
        queue.put_nowait(item)
    assert queue.qsize() == maxlen
    assert [queue.get_nowait() for _ in range(maxlen)] == list(range(5))[5 - maxlen :]
    assert queue.empty()


@pytest.mark.parametrize("where", ["class", "instance", "base"])
def test_replaced_methods_are_called(impl, loop, where):
    """By a mock, at any time."""

    class Mine(impl.Lock):
        pass

    lock = Mine()
    holder = {"class": Mine, "instance": lock, "base": asyncio.Lock}[where]

    async def main():
        async with lock:
            pass
        with mock.patch.object(holder, "release") as release:
            async with lock:
                pass
            assert release.call_count == 1
        asyncio.Lock.release(lock)
        with mock.patch.object(holder, "acquire") as acquire:
            assert isinstance(acquire, mock.AsyncMock)
            await lock.__aenter__()
            assert acquire.call_count == 1
        async with lock:
            assert lock.locked()
        assert not lock.locked()

    if where == "base" and type(lock).__mro__[1] is not asyncio.Lock:
        pytest.skip("tested by test_a_replaced_method_of_asyncios_class")
    loop.run_until_complete(main())


def test_a_replaced_method_of_asyncios_class(native):
    """It is asyncio's class that is patched, whatever its methods are called for."""
    queue = native.Queue()
    with mock.patch.object(asyncio.Queue, "put_nowait", autospec=True) as put:
        queue.put_nowait(1)
    put.assert_called_once_with(queue, 1)
    queue.put_nowait(2)
    assert list(queue._queue) == [2]


@pytest.mark.parametrize("method", ["full", "qsize", "empty", "get_nowait", "put_nowait", "_wakeup_next"])
def test_overridden_parts_of_a_queue(impl, loop, method):
    calls = []

    class Mine(impl.Queue):
        pass

    def override(self, *args):
        calls.append(method)
        return getattr(asyncio.Queue, method)(self, *args)

    setattr(Mine, method, override)

    async def main():
        queue = Mine(1)
        getter = loop.create_task(queue.get())
        await turns()
        await queue.put(1)
        assert await getter == 1
        await queue.put(2)
        assert await queue.get() == 2

    loop.run_until_complete(main())
    assert calls


def test_acquire_calls_what_is_overridden(impl, loop):
    calls = []

    class Mine(impl.Semaphore):
        def locked(self):
            calls.append("locked")
            return super().locked()

        def _wake_up_next(self):
            calls.append("wake")
            return super()._wake_up_next()

    async def main():
        semaphore = Mine(1)
        async with semaphore:
            task = loop.create_task(semaphore.acquire())
            await turns()
        await task

    loop.run_until_complete(main())
    assert {"locked", "wake"} <= set(calls)


# ---- loops ----


def test_bound_to_its_loop(primitive_type):
    primitive = primitive_type()
    assert primitive._loop is None
    blocked = {"Event": lambda: primitive.wait()}.get(
        primitive_type.__name__, lambda: primitive.get() if hasattr(primitive, "get") else primitive.acquire()
    )

    async def first():
        if hasattr(primitive, "locked"):
            await primitive.acquire()
        task = asyncio.ensure_future(blocked())
        await turns()
        task.cancel()
        await turns()
        return asyncio.get_running_loop()

    with asyncio.Runner() as runner:
        loop = runner.run(first())
        assert primitive._loop is loop

    with asyncio.Runner() as runner:
        with pytest.raises(RuntimeError) as caught:
            runner.run(first_of(blocked))
        assert str(caught.value) == f"{primitive!r} is bound to a different event loop"
    primitive._loop = None
    assert primitive._loop is None


async def first_of(blocked):
    return await blocked()


def test_on_a_loop_of_asyncios(primitive_type):
    async def main():
        primitive = primitive_type()
        if hasattr(primitive, "locked"):
            async with primitive:
                task = asyncio.ensure_future(primitive.acquire())
                await turns()
                assert type(primitive._waiters[0]) is asyncio.Future
            return await task
        if hasattr(primitive, "set"):
            task = asyncio.ensure_future(primitive.wait())
            await turns()
            primitive.set()
            return await task
        task = asyncio.ensure_future(primitive.get())
        await turns()
        await primitive.put(True)
        return await task

    loop = asyncio.SelectorEventLoop()
    with support.closing(loop):
        assert loop.run_until_complete(main()) is True


def test_debug_mode(impl, loop):
    """Coroutines know where they were made."""
    loop.set_debug(True)

    async def main():
        lock = impl.Lock()
        await lock.acquire()
        task = asyncio.ensure_future(lock.acquire())
        await turns()
        assert "asyncio/locks.py" in repr(task)  # asyncio's own coroutine, which has lines
        assert lock._waiters[0]._source_traceback
        lock.release()
        return await task

    assert loop.run_until_complete(main()) is True


def test_debug_mode_in_the_middle(impl, loop):
    queue = impl.Queue()

    async def main():
        getter = asyncio.ensure_future(queue.get())
        await turns()
        loop.set_debug(True)
        queue.put_nowait(1)
        queue.get_nowait()
        await turns()
        queue.put_nowait(2)
        return await getter

    assert loop.run_until_complete(main()) == 2


def test_a_garbage_collection_at_any_time(impl, loop):
    """Collections while a queue is in use find what it has."""
    queue = impl.Queue(1)

    async def produce():
        for item in range(20):
            await queue.put([item])
            gc.collect(0)

    async def consume():
        return [(await queue.get())[0] for _ in range(20)]

    async def main():
        return (await asyncio.gather(consume(), produce()))[0]

    assert loop.run_until_complete(main()) == list(range(20))


def wrap_all(monkeypatch, cls, names, calls):
    """Put a wrapper in the place of each method of the class that only notes its name."""

    def wrap(name):
        inner = getattr(cls, name)

        @functools.wraps(inner)
        def wrapper(*args, **kwargs):
            calls.append(name)
            return inner(*args, **kwargs)

        monkeypatch.setattr(cls, name, wrapper)

    for name in names:
        wrap(name)


@pytest.mark.parametrize("kind", ["PriorityQueue", "LifoQueue"])
def test_wrappers_of_the_storage_of_queue(kind, impl, loop, monkeypatch):
    """Tracers wrap Queue._get() and its like on the class; the other queues have their own, which are not touched."""
    calls = []
    wrap_all(monkeypatch, impl.Queue, ["_init", "_put", "_get"], calls)

    async def main():
        queue = getattr(impl, kind)(3)
        for item in 2, 3, 1:
            await queue.put(item)
        return [await queue.get() for _ in range(3)]

    assert loop.run_until_complete(main()) == ([1, 2, 3] if kind == "PriorityQueue" else [1, 3, 2])
    assert calls == []
    queue = impl.Queue()
    queue.put_nowait(1)
    assert queue.get_nowait() == 1
    assert calls == ["_init", "_put", "_get"]


@pytest.mark.parametrize("kind", ["PriorityQueue", "LifoQueue"])
def test_wrappers_of_the_storage_of_other_queues(kind, impl, monkeypatch):
    """They are called, and are those of this kind of queue only, whether asyncio's class is wrapped or the one in use."""
    for cls in {getattr(impl, kind), getattr(asyncio.queues, kind)}:
        calls = []
        with monkeypatch.context() as patch:
            wrap_all(patch, cls, ["_init", "_put", "_get"], calls)
            queue = getattr(impl, kind)()
            queue.put_nowait(1)
            assert queue.get_nowait() == 1
            assert calls == ["_init", "_put", "_get"]
            plain = impl.Queue()
            plain.put_nowait(1)
            assert plain.get_nowait() == 1
        queue.put_nowait(1)
        assert queue.get_nowait() == 1
        assert calls == ["_init", "_put", "_get"]
