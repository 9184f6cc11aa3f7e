"""wait_for(): what it waits for, timeouts, and cancellation at each point."""

import asyncio
import sys

import pytest

from . import support


async def value(impl, n, steps=1):
    for _ in range(steps):
        await impl.sleep(0)
    return n


async def stubborn(impl, steps):
    try:
        await impl.sleep(1000)
    except asyncio.CancelledError:
        await value(impl, 0, steps)
    return "stubborn"


@pytest.mark.parametrize("timeout", [None, 1000, 1000.0, True])
def test_in_time(impl, loop, timeout):
    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, (1, 2))
        assert await impl.wait_for(future, timeout) == (1, 2)
        assert await impl.wait_for(future, timeout=timeout) == (1, 2)
        assert await impl.wait_for(fut=value(impl, 3), timeout=timeout) == 3
        assert await impl.wait_for(loop.create_task(value(impl, 4)), timeout) == 4
        assert await impl.wait_for(impl.sleep(0, 5), timeout) == 5
        return await impl.wait_for(impl.wait_for(value(impl, 6), timeout), timeout)

    assert loop.run_until_complete(main()) == 6


@pytest.mark.parametrize("timeout", [0.001, 0, -1])
def test_too_late(impl, loop, timeout):
    async def main():
        for awaitable in (loop.create_future(), impl.sleep(1000), value(impl, 1, 10**9)):
            with pytest.raises(TimeoutError) as caught:
                await impl.wait_for(awaitable, timeout)
            assert type(caught.value.__cause__) is asyncio.CancelledError
            assert caught.value.__context__ is caught.value.__cause__
            if asyncio.isfuture(awaitable):
                assert awaitable.cancelled()
        assert asyncio.current_task().cancelling() == 0

    loop.run_until_complete(main())


def test_exception(impl, loop):
    async def fail():
        raise ValueError(1)

    async def main():
        with pytest.raises(ValueError) as caught:
            await impl.wait_for(fail(), 1000)
        assert caught.value.__context__ is None
        future = loop.create_future()
        future.set_exception(ValueError(2))
        with pytest.raises(ValueError):
            await impl.wait_for(future, 1000)

    loop.run_until_complete(main())


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_suppressed_cancellation(impl, loop, steps):
    """What swallows the cancellation gives its result, late; the timeout is not told of then."""

    async def main():
        return await impl.wait_for(stubborn(impl, steps), 0.001)

    assert loop.run_until_complete(main()) == "stubborn"


@pytest.mark.parametrize("kind", ["future", "coroutine", "stubborn"])
def test_cancelled(impl, loop, kind):
    async def main(waited):
        await impl.wait_for(waited, 1000)

    waited = {
        "future": loop.create_future,
        "coroutine": lambda: impl.sleep(1000),
        "stubborn": lambda: stubborn(impl, 2),
    }[kind]()
    task = loop.create_task(main(waited))
    support.run_once(loop, 3)
    assert task.cancel("why")
    support.run_until_idle(loop)
    # On 3.11 what was stubborn ran in a task of its own, and its waiter is cancelled all the same.
    assert task.cancelled() or (kind == "stubborn" and sys.version_info >= (3, 12))
    if kind == "future":
        assert waited.cancelled()
    assert not loop._scheduled or all(handle.cancelled() for handle in loop._scheduled)


def test_cancelled_again_while_it_waits_for_the_cancelled(impl, loop):
    async def main():
        await impl.wait_for(stubborn(impl, 5), 1000)

    task = loop.create_task(main())
    support.run_once(loop, 3)
    task.cancel()
    support.run_once(loop, 2)
    task.cancel()
    support.run_until_idle(loop)
    assert task.cancelled()


def test_cancelled_in_the_turn_of_the_result(impl, loop):
    async def main(future):
        return await impl.wait_for(future, 1000)

    for order in (0, 1):
        future = loop.create_future()
        task = loop.create_task(main(future))
        support.run_once(loop, 2)
        for step in (future.set_result, lambda _: task.cancel())[:: 1 if order == 0 else -1]:
            try:
                step(1)
            except asyncio.InvalidStateError:
                assert order == 1
        support.run_until_idle(loop)
        assert task.done()


def test_coroutine_that_somebody_awaits(impl, loop):
    async def main():
        coroutine = value(impl, 1, 5)
        task = loop.create_task(coroutine)
        await impl.sleep(0)
        if sys.version_info >= (3, 12):
            with pytest.raises(RuntimeError, match="being awaited already"):
                await impl.wait_for(coroutine, 1000)
        return await task

    assert loop.run_until_complete(main()) == 1


def test_what_cannot_be_awaited(impl, loop):
    async def main():
        with pytest.raises(TypeError):
            await impl.wait_for(3, 1000)
        with pytest.raises(TypeError):
            await impl.wait_for(loop.create_future(), "soon")
        with pytest.raises(TypeError):
            await impl.wait_for(loop.create_future())

    loop.run_until_complete(main())


def test_stock_task_and_stock_future(impl, loop):
    async def main():
        future = asyncio.futures._PyFuture(loop=loop)
        loop.call_soon(future.set_result, 1)
        assert await impl.wait_for(future, 1000) == 1
        with pytest.raises(TimeoutError):
            await impl.wait_for(asyncio.futures._PyFuture(loop=loop), 0.001)
        return await impl.wait_for(value(impl, 2), 1000)

    assert loop.run_until_complete(main()) == 2
    assert loop.run_until_complete(asyncio.Task(main(), loop=loop)) == 2
    if not support.PY314:  # from then on current_task() of C does not know tasks in Python
        assert loop.run_until_complete(asyncio.tasks._PyTask(main(), loop=loop)) == 2


def test_debug_mode(impl, loop):
    loop.set_debug(True)
    assert loop.run_until_complete(impl.wait_for(value(impl, 2), 1000)) == 2


def test_dropped_while_it_waits(impl, loop):
    """Closing the coroutine takes the deadline back."""
    future = loop.create_future()

    async def main():
        await impl.wait_for(future, 1000)

    task = loop.create_task(main())
    support.run_once(loop, 2)
    task.get_coro().close()
    assert not loop._scheduled or all(handle.cancelled() for handle in loop._scheduled)
    task.cancel()
    support.run_until_idle(loop)
