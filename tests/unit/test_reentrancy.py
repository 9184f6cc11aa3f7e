"""A callback may do anything: stop, close, cancel, raise, re-enter, drop the last reference to what is running."""

import asyncio
import gc
import weakref

import pytest

from . import support


def test_callback_drops_the_last_reference_to_its_handle(loop):
    holder = {}

    def callback():
        del holder["handle"]
        support.collect()

    holder["handle"] = loop.call_soon(callback)
    support.run_once(loop)
    assert holder == {}


def test_callback_cancels_everything_that_is_queued(loop):
    handles = []
    ran = []

    def cancel_all():
        for handle in handles:
            handle.cancel()

    loop.call_soon(cancel_all)
    handles += [loop.call_soon(ran.append, n) for n in range(100)]
    handles += [loop.call_later(n, ran.append, n) for n in range(100)]
    support.run_once(loop, 3)
    assert ran == []


def test_callback_closes_another_loop(impl, loop):
    other = impl.new_event_loop()
    other.call_soon(int)
    loop.call_soon(other.close)
    support.run_once(loop)
    assert other.is_closed()


def test_callback_runs_another_loop_to_its_end(impl, loop):
    """With the running loop set aside, as nested-loop tools do."""
    results = []

    def nested():
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            with support.closing(impl.new_event_loop()) as other:

                async def main():
                    await impl.sleep(0)
                    return await impl.gather(impl.sleep(0, 1), impl.sleep(0, 2))

                results.append(other.run_until_complete(main()))
        finally:
            asyncio._set_running_loop(running)

    loop.call_soon(nested)
    loop.call_soon(results.append, "after")
    support.run_once(loop)
    assert results == [[1, 2], "after"]


def test_stop_and_rerun_many_times(loop):
    count = 0

    def callback():
        nonlocal count
        count += 1
        loop.call_soon(callback)
        loop.stop()

    loop.call_soon(callback)
    for _ in range(100):
        loop.run_forever()
    assert count == 100


def test_exception_handler_raises(loop):
    def handler(loop, context):
        raise ValueError("from the handler")

    loop.set_exception_handler(handler)
    ran = []
    loop.call_soon(divmod, 1, 0)
    loop.call_soon(ran.append, 1)
    with support.recorded_logs() as logs:
        support.run_once(loop)
    assert ran == [1]
    assert [
        (level, message) for level, message, _ in logs if "Unhandled error in exception handler" in message
    ]


def test_exception_handler_schedules_stops_and_cancels(loop):
    ran = []

    def handler(loop, context):
        handle.cancel()
        loop.call_soon(ran.append, "scheduled")
        loop.stop()

    loop.set_exception_handler(handler)
    loop.call_soon(divmod, 1, 0)
    handle = loop.call_soon(ran.append, "cancelled")
    loop.run_forever()
    assert ran == []
    support.run_once(loop)
    assert ran == ["scheduled"]


def test_done_callback_adds_and_removes_callbacks(impl, loop):
    future = impl.Future(loop=loop)
    order = []

    def first(f):
        order.append("first")
        assert future.remove_done_callback(second) == 0
        future.add_done_callback(third)

    def second(f):
        order.append("second")

    def third(f):
        order.append("third")

    future.add_done_callback(first)
    future.add_done_callback(second)
    future.set_result(None)
    support.run_once(loop, 2)
    assert order == ["first", "second", "third"]


def test_result_whose_deletion_runs_code(impl, loop):
    """The value's __del__ looks at the future that is being cleared."""
    seen = []

    class Value:
        def __init__(self, future):
            self.ref = weakref.ref(future)

        def __del__(self):
            seen.append(self.ref())
            loop.call_soon(seen.append, "scheduled from __del__")

    future = impl.Future(loop=loop)
    future.set_result(Value(future))
    del future
    support.collect()
    support.run_once(loop)
    assert seen == [None, "scheduled from __del__"]


def test_callback_whose_deletion_runs_code(loop):
    seen = []

    class Callback:
        def __call__(self):
            seen.append("called")

        def __del__(self):
            loop.call_soon(seen.append, "from __del__")

    loop.call_soon(Callback())
    support.run_once(loop)
    assert seen == ["called"]
    support.run_once(loop)
    assert seen == ["called", "from __del__"]


def test_cancelled_handles_arguments_whose_deletion_runs_code(loop):
    """cancel() drops the arguments, whose __del__ cancels again and schedules more."""
    seen = []

    class Argument:
        def __del__(self):
            handle.cancel()
            loop.call_soon(seen.append, 1)

    handle = loop.call_soon(int, Argument())
    handle.cancel()
    support.run_once(loop, 2)
    assert seen == [1]


def test_timer_cancelled_by_the_deletion_of_another(loop):
    class Argument:
        def __init__(self, other=None):
            self.other = other

        def __del__(self):
            if self.other is not None:
                self.other.cancel()

    timers = []
    previous = None
    for n in range(50):
        previous = loop.call_later(1000 + n, int, Argument(previous))
        timers.append(previous)
    timers.clear()
    previous.cancel()
    assert previous.cancelled()
    support.run_once(loop)


def test_closing_while_arguments_reach_back(impl):
    """close() drops queued callbacks, whose __del__ call methods of the closed loop."""
    errors = []

    class Argument:
        def __del__(self):
            for call in (lambda: loop.call_soon(int), loop.close, loop.stop, loop.is_closed):
                try:
                    call()
                except RuntimeError as exc:
                    errors.append(str(exc))

    loop = impl.new_event_loop()
    for n in range(3):
        loop.call_soon(int, Argument())
        loop.call_later(n, int, Argument())
    loop.close()
    support.collect()
    assert set(errors) == {"Event loop is closed"}
    assert loop.is_closed()


def test_task_drops_the_last_reference_to_itself(impl, loop):
    holder = {}

    async def coro():
        holder.clear()
        support.collect()
        await impl.sleep(0)
        support.collect()
        return 1

    holder["task"] = impl.Task(coro(), loop=loop)
    support.run_once(loop, 3)
    assert holder == {}


def test_task_cancelled_from_its_own_waiters_callback(impl, loop):
    future = loop.create_future()
    task = None

    async def coro():
        await future

    future.add_done_callback(lambda f: task.cancel())
    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    future.set_result(None)
    support.run_once(loop, 3)
    assert task.cancelled()


def test_coroutine_that_finishes_its_own_waiter(impl, loop):
    async def coro():
        future = loop.create_future()
        future.set_result(1)
        return await future + await future

    assert loop.run_until_complete(impl.Task(coro(), loop=loop)) == 2


def test_task_stepped_from_within_itself_is_refused(impl, loop):
    """A coroutine cannot be sent to while it runs."""

    async def coro():
        with pytest.raises(ValueError, match="coroutine already executing"):
            task.get_coro().send(None)
        return "fine"

    task = impl.Task(coro(), loop=loop)
    assert loop.run_until_complete(task) == "fine"


def test_two_tasks_of_one_coroutine(impl, loop):
    """Nonsense, but not a crash."""

    async def coro():
        await impl.sleep(0)
        return 1

    shared = coro()
    tasks = [impl.Task(shared, loop=loop) for _ in range(2)]
    support.run_once(loop, 4)
    assert all(task.done() for task in tasks)
    for task in tasks:
        task.exception()


def test_context_manager_that_stops_the_loop_in_a_step(impl, loop):
    async def coro():
        loop.stop()
        await impl.sleep(0)
        return "resumed"

    task = impl.Task(coro(), loop=loop)
    loop.run_forever()
    assert not task.done()
    assert loop.run_until_complete(task) == "resumed"


def test_exit_exceptions_in_the_middle_of_a_batch_of_tasks(impl, loop):
    order = []

    async def coro(n):
        order.append(n)
        if n == 2:
            raise SystemExit(n)
        await impl.sleep(0)
        order.append(n + 10)

    tasks = [impl.Task(coro(n), loop=loop) for n in range(5)]
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert order == [0, 1, 2]
    support.run_once(loop, 3)
    assert order[3:5] == [3, 4] or sorted(order) == [0, 1, 2, 3, 4, 10, 11, 13, 14]
    assert all(task.done() for task in tasks)
    tasks[2].exception()


def test_collection_before_every_callback(impl, loop):
    """What the collector may do at any allocation, done on purpose everywhere."""
    gc.callbacks  # the collector is there
    thresholds = gc.get_threshold()

    async def child(n):
        await impl.sleep(0)
        event = asyncio.Event()
        loop.call_soon(event.set)
        await event.wait()
        await impl.sleep(0.0001)
        if n % 5 == 0:
            raise ValueError(n)
        return n

    async def main():
        results = await impl.gather(*(child(n) for n in range(20)), return_exceptions=True)
        tasks = [impl.create_task(child(n + 1)) for n in range(4)]
        await impl.wait(tasks, timeout=10)
        tasks[3].exception() if not tasks[3].cancelled() else None
        return [r for r in results if not isinstance(r, ValueError)]

    gc.set_threshold(1, 1, 1)
    try:
        assert loop.run_until_complete(main()) == [n for n in range(20) if n % 5]
    finally:
        gc.set_threshold(*thresholds)


def test_random_operations(impl):
    """Many small programs of random operations from inside callbacks: nothing may crash or lose a callback."""
    import random

    for seed in range(30):
        rng = random.Random(seed)
        with support.closing(impl.new_event_loop()) as loop:
            loop.set_exception_handler(lambda loop, context: None)
            objects, ran = [], [0]

            def act(depth, rng=rng, loop=loop, objects=objects, ran=ran):
                ran[0] += 1
                for _ in range(rng.randrange(3)):
                    choice = rng.randrange(9)
                    if choice == 0 and depth:
                        objects.append(loop.call_soon(act, depth - 1))
                    elif choice == 1 and depth:
                        objects.append(loop.call_later(rng.random() / 1000, act, depth - 1))
                    elif choice == 2 and objects:
                        objects[rng.randrange(len(objects))].cancel()
                    elif choice == 3 and objects:
                        objects.pop(rng.randrange(len(objects)))
                    elif choice == 4:
                        objects.append(loop.create_task(work(depth)))
                    elif choice == 5:
                        future = loop.create_future()
                        future.add_done_callback(lambda f: act(0))
                        loop.call_soon(lambda: future.done() or future.set_result(None))
                        objects.append(future)
                    elif choice == 6:
                        raise ValueError
                    elif choice == 7:
                        loop.stop()
                    else:
                        gc.collect(0)

            async def work(depth, rng=rng, act=act, objects=objects):
                await impl.sleep(rng.choice([0, 0, 0.0001]))
                if objects and rng.random() < 0.3:
                    # Only plain futures: a task that waits for itself through others would never end.
                    futures = [o for o in objects if asyncio.isfuture(o) and not isinstance(o, asyncio.Task)]
                    await impl.gather(*futures[-3:], return_exceptions=True)
                act(depth)

            for _ in range(20):
                loop.call_soon(act, 6)
            support.run_once(loop, 50)
            assert ran[0] >= 20
            for thing in objects:
                if asyncio.isfuture(thing):
                    thing.cancel()
            support.run_once(loop, 5)
            objects.clear()
