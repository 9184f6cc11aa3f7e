"""What is tortured of timeouts, of waiting for one thing or in a thread, and of the ends of groups and queues."""

import asyncio
import concurrent.futures
import contextlib
import sys

from asyncio_c import _core

from .operations import cancel_all, drive, operation, start, turns, turns_that_may_fail


@operation
def timeout(impl, loop):
    """One that expires within one that does not: whoever gets out of both in order is asked to be cancelled by nobody."""
    ended = []

    async def main():
        async with impl.timeout(None) as outer:
            outer.reschedule(loop.time() + 3600)
            with contextlib.suppress(TimeoutError):
                async with impl.timeout_at(loop.time()) as inner:
                    await impl.sleep(0.01)
            repr(inner)
            outer.reschedule(None)
        ended.append((outer.expired(), asyncio.current_task().cancelling()))

    yield
    drive(loop, main(), strict=False)
    yield
    assert ended in ([], [(False, 0)])
    cancel_all(loop)


@operation
def timeout_of_who_is_cancelled(impl, loop):
    async def main():
        async with impl.timeout(3600):
            await loop.create_future()

    tasks = [None]
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, [main()])
        turns(loop, 2)
        tasks[0].cancel()
    turns_that_may_fail(loop, 3)
    yield
    cancel_all(loop)
    turns(loop, 3)
    assert tasks[0] is None or tasks[0].done()


@operation
def wait_for(impl, loop):
    """What is done, what is done in time, what is not, and what cannot be."""

    async def never():
        await loop.create_future()

    async def main():
        done = loop.create_future()
        done.set_result(1)
        assert await impl.wait_for(done, 5) == 1
        assert await impl.wait_for(impl.sleep(0, 2), 5) == 2
        assert await impl.wait_for(impl.sleep(0, 3), None) == 3
        for timeout in (0, 0.000001):
            with contextlib.suppress(TimeoutError):
                await impl.wait_for(never(), timeout)
            with contextlib.suppress(TimeoutError):
                await impl.wait_for(loop.create_future(), timeout)

    yield
    drive(loop, main(), strict=False)
    yield
    cancel_all(loop)


@operation
def wait_for_that_is_cancelled(impl, loop):
    future = loop.create_future()
    tasks = [None]
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, [impl.wait_for(future, 3600), impl.wait_for(impl.sleep(3600), 3600)])
        turns(loop, 2)
        for task in tasks[:2]:
            task.cancel()
    turns_that_may_fail(loop, 5)
    yield
    cancel_all(loop)
    turns(loop, 5)
    assert all(task is None or task.done() for task in tasks)


@operation
def shield(impl, loop):
    """What is shielded is not cancelled with who waits, and who waits is told of its end."""
    shielded = loop.create_future()

    async def main():
        return await impl.shield(shielded)

    tasks = [None]
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, [main() for _ in range(3)])
        turns(loop, 2)
        tasks[1].cancel()
        turns(loop, 2)
        shielded.set_result(1)
    turns_that_may_fail(loop, 5)
    yield
    assert not shielded.cancelled()
    if not shielded.done():
        shielded.set_exception(ValueError())
    turns(loop, 5)
    cancel_all(loop)
    assert all(task is None or task.done() for task in tasks)


class AtOnce(concurrent.futures.ThreadPoolExecutor):
    def submit(self, function, /, *args, **kwargs):
        future = concurrent.futures.Future()
        future.set_result(function(*args, **kwargs))
        return future


@operation
def to_thread(impl, loop):
    """By an executor that calls at once: threads that lack memory, as they start or work, hang in Python's own modules."""
    loop.set_default_executor(AtOnce())

    async def main():
        await impl.to_thread(max, 1, 2, key=abs)

    yield
    drive(loop, main(), strict=False)
    yield
    cancel_all(loop)


@operation
def as_completed_by_async_for(impl, loop):
    if sys.version_info < (3, 13):
        yield
        return
    futures = [loop.create_future() for _ in range(3)]

    async def main():
        with contextlib.suppress(TimeoutError):
            async for future in impl.as_completed([*futures, impl.sleep(0, 3)], timeout=0.001):
                assert future.result() in range(4)

    yield
    for number, future in enumerate(futures[1:]):
        loop.call_soon(future.set_result, number)
    drive(loop, main(), strict=False)
    yield
    cancel_all(loop)


@operation
def task_group_that_is_cancelled(impl, loop):
    """One within another: nobody is left in them."""

    async def main():
        async with impl.TaskGroup() as outer:
            outer.create_task(impl.sleep(3600))
            async with impl.TaskGroup() as inner:
                inner.create_task(impl.sleep(3600))

    async def who_ends_it():
        with contextlib.suppress(ExceptionGroup):
            async with impl.TaskGroup() as group:
                group.create_task(impl.sleep(3600))
                if hasattr(group, "cancel"):
                    group.cancel()
                else:
                    raise ValueError

    tasks = [None]
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, [main(), who_ends_it()])
        turns(loop, 3)
        tasks[0].cancel()
    turns_that_may_fail(loop, 5)
    yield
    for _ in range(3):
        cancel_all(loop)
    assert all(task is None or task.done() for task in tasks), tasks


@operation
def task_group_whose_tasks_end_first(impl, loop):
    """Before it waits for them, one of them with an error: it does not wait for ever."""

    async def child(fails):
        await impl.sleep(0)
        if fails:
            raise ValueError

    async def main(fails):
        async with impl.TaskGroup() as group:
            group.create_task(child(False))
            group.create_task(child(fails))
            for _ in range(4):
                await impl.sleep(0)

    tasks = [None]
    yield
    with contextlib.suppress(MemoryError):
        start(loop, tasks, [main(False), main(True)])
    turns_that_may_fail(loop, 10)
    yield
    turns(loop, 10)
    cancel_all(loop)
    assert all(task is None or task.done() for task in tasks)


@operation
def queue_that_is_shut_down(impl, loop):
    if sys.version_info < (3, 13):
        yield
        return
    empty, full = impl.Queue(), impl.Queue(1)
    full.put_nowait(0)
    tasks = [None]
    yield
    told = False
    with contextlib.suppress(MemoryError):
        start(loop, tasks, [empty.get(), full.put(1), full.join()])
        turns(loop, 2)
        empty.shutdown()
        full.shutdown(immediate=True)
        told = True
    turns_that_may_fail(loop, 5)
    yield
    turns(loop, 5)
    assert not told or all(task.done() for task in tasks if task is not None)
    for queue in (empty, full):
        queue.shutdown(immediate=True)
    cancel_all(loop)
    turns(loop, 5)
    assert all(task is None or task.done() for task in tasks)


@operation
def recording(impl, loop):
    """What lacks memory is left out of the recording, and changes nothing else."""
    if not impl.native_loop:
        yield
        yield
        return
    ended = []

    async def child():
        await impl.sleep(0.001)

    async def main():
        task = loop.create_task(child())
        await impl.sleep(0)
        await task
        ended.append(True)

    recorder = _core.Recorder(8, lambda task: ("sleep", "sleep", ""))
    recorder.start(loop)
    yield
    drive(loop, main(), strict=False)
    yield
    cancel_all(loop)
    recorder.stop()
    assert len(recorder.events()) <= 8
    assert ended in ([], [True])
