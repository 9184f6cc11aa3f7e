"""as_completed(): what comes first, what is left when the time is over, and who may await what it gives."""

import asyncio
import gc
import inspect
import weakref

import pytest

from . import support
from .support import PY313, turns

needs_async_for = pytest.mark.skipif(not PY313, reason="an asynchronous iterator from Python 3.13 on")
KEEPS_COUNT = PY313 and "_todo_left" in asyncio.tasks._AsCompletedIterator._wait_for_one.__code__.co_names


async def after(futures, index):
    await futures[index]
    return index


def test_function(impl):
    stock = asyncio.tasks.as_completed
    assert (
        inspect.signature(impl.as_completed).parameters.keys() == inspect.signature(stock).parameters.keys()
    )
    assert inspect.isgeneratorfunction(impl.as_completed) == inspect.isgeneratorfunction(stock)
    assert impl.as_completed.__name__ == impl.as_completed.__qualname__ == "as_completed"
    assert impl.as_completed.__doc__


def test_order_of_completion(impl, loop):
    async def main():
        futures = [loop.create_future() for _ in range(4)]
        tasks = [loop.create_task(after(futures, n)) for n in range(4)]
        got = []
        for number, awaitable in zip([2, 0, 3, 1], impl.as_completed(tasks), strict=True):
            assert asyncio.iscoroutine(awaitable)
            futures[number].set_result(None)
            got.append(await awaitable)
        return got

    assert loop.run_until_complete(main()) == [2, 0, 3, 1]


@needs_async_for
def test_order_of_completion_with_async_for(impl, loop):
    async def main():
        futures = [loop.create_future() for _ in range(3)]
        got = []
        loop.call_soon(futures[1].set_result, "b")
        async for future in impl.as_completed(futures):
            got.append(future)
            assert future.done()
            for other in futures:
                if not other.done():
                    other.set_exception(KeyError())
                    break
        assert [futures.index(future) for future in got] == [1, 0, 2]
        assert await got[0] == "b"
        for future in got[1:]:
            with pytest.raises(KeyError):
                await future

    loop.run_until_complete(main())


def test_results_that_are_there(impl, loop):
    async def main():
        future, cancelled = loop.create_future(), loop.create_future()
        future.set_result(1)
        cancelled.cancel()
        assert await next(iter(impl.as_completed([future]))) == 1
        with pytest.raises(asyncio.CancelledError):
            await next(iter(impl.as_completed([cancelled])))
        assert list(impl.as_completed([])) == []

    loop.run_until_complete(main())


def test_coroutines_and_duplicates(impl, loop):
    async def number(n):
        return n

    async def main():
        one, future = number(1), loop.create_future()
        future.set_result(2)
        awaitables = list(impl.as_completed(iter([one, future, one, future])))
        return sorted([await awaitable for awaitable in awaitables])

    assert loop.run_until_complete(main()) == [1, 2]


def test_it_becomes_tasks_at_once(impl, loop):
    ran = []

    async def run(n):
        ran.append(n)

    async def main():
        iterator = iter(impl.as_completed([run(1), run(2)]))
        if not PY313:
            first = next(iterator)  # a generator does nothing before
        assert len(asyncio.all_tasks()) == 3
        await turns()
        assert sorted(ran) == [1, 2]
        for awaitable in [first, *iterator] if not PY313 else iterator:
            await awaitable

    loop.run_until_complete(main())


@pytest.mark.parametrize("timeout", [0, 0.01, -1])
def test_the_time_is_over(impl, loop, timeout):
    async def main():
        futures = [loop.create_future() for _ in range(3)]
        futures[0].set_result("in time")
        outcomes = []
        for awaitable in impl.as_completed(futures, timeout=timeout):
            try:
                outcomes.append(await awaitable)
            except TimeoutError as error:
                assert error.args == ()
                outcomes.append("late")
        assert outcomes == ["in time", "late", "late"]
        # They go on, and nobody hears of it.
        assert [future.done() for future in futures] == [True, False, False]
        assert not futures[1]._callbacks
        futures[1].set_result(None)
        await turns()

    loop.run_until_complete(main())


@needs_async_for
def test_the_time_is_over_with_async_for(impl, loop):
    async def main():
        with pytest.raises(TimeoutError):
            async for _ in impl.as_completed([loop.create_future()], timeout=0):
                raise AssertionError

    loop.run_until_complete(main())


def test_time_enough(impl, loop):
    """The timer is cancelled with the last one."""

    async def main():
        future = loop.create_future()
        awaitable = next(iter(impl.as_completed([future], timeout=1000)))
        future.set_result(1)
        assert await awaitable == 1
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []

    loop.run_until_complete(main())


def test_wrong_arguments(impl, loop):
    async def main():
        coroutine = turns(0)
        for wrong in (coroutine, loop.create_future()):
            with pytest.raises(TypeError, match=r"^expects? an iterable of (futures|awaitables), not "):
                next(iter(impl.as_completed(wrong)))
        with pytest.raises(TypeError):
            next(iter(impl.as_completed([1])))
        with pytest.raises(TypeError):
            next(iter(impl.as_completed(None)))
        with pytest.raises(TypeError):
            next(iter(impl.as_completed([[]])))
        with pytest.raises(TypeError):
            next(iter(impl.as_completed([coroutine], timeout="x")))

    loop.run_until_complete(main())


def test_awaited_by_several(impl, loop):
    """Who waits first gets the first."""

    async def main():
        futures = [loop.create_future() for _ in range(3)]
        tasks = [loop.create_task(coroutine) for coroutine in impl.as_completed(futures)]
        await turns()
        for n in (1, 2, 0):
            futures[n].set_result(n)
            await turns()
        return [task.result() for task in tasks]

    assert loop.run_until_complete(main()) == [1, 2, 0]


def test_cancelled_while_waiting(impl, loop):
    async def main():
        future = loop.create_future()
        iterator = iter(impl.as_completed([future]))
        task = loop.create_task(next(iterator))
        await turns()
        task.cancel("reason")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("reason",)
        assert not future.cancelled()
        future.set_result(1)
        # Newer ones give it to the next.
        assert [await awaitable for awaitable in iterator] == ([1] if KEEPS_COUNT else [])

    loop.run_until_complete(main())


@needs_async_for
def test_asynchronous_iteration_by_hand(impl, loop):
    async def main():
        future = loop.create_future()
        iterator = impl.as_completed([future])
        assert aiter(iterator) is iter(iterator) is iterator
        assert iterator._todo_left == 1
        step = anext(iterator)
        assert iterator._todo_left == 1
        future.set_result(1)
        assert await step is future
        assert iterator._todo_left == 0
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)
        with pytest.raises(StopIteration):
            next(iterator)

    loop.run_until_complete(main())


def test_an_abandoned_one_is_collected(impl, loop):
    async def main():
        future = loop.create_future()
        iterator = impl.as_completed([future])
        awaitable = next(iter(iterator))
        awaitable.close()
        reference = weakref.ref(future)
        del future, iterator, awaitable
        gc.collect()
        assert reference() is None

    loop.run_until_complete(main())


def test_a_future_that_is_its_own_result_is_collected(impl, loop):
    async def main():
        future = loop.create_future()
        future.set_result(future)
        assert await next(iter(impl.as_completed([future]))) is future
        reference = weakref.ref(future)
        del future
        await turns()
        gc.collect()
        assert reference() is None

    loop.run_until_complete(main())


def test_never_awaited(impl, loop):
    async def main():
        with support.recorded_warnings() as caught:
            for _ in impl.as_completed([loop.create_future()]):
                pass
            del _
            support.collect()
        ((kind, text),) = caught
        assert kind == "RuntimeWarning"
        assert text.startswith("coroutine '") and text.endswith("_wait_for_one' was never awaited")

    loop.run_until_complete(main())


def test_of_asyncios_futures(impl, loop):
    async def main():
        stock, own = asyncio.futures._PyFuture(loop=loop), loop.create_future()
        awaitables = iter(impl.as_completed([stock, own]))
        own.set_result(1)
        first = await next(awaitables)
        stock.set_result(2)
        return first, await next(awaitables)

    assert loop.run_until_complete(main()) == (1, 2)


def test_on_a_loop_of_asyncios(impl):
    async def main():
        return [await awaitable for awaitable in impl.as_completed([asyncio.sleep(0, 1)])]

    with support.closing(asyncio.SelectorEventLoop()) as loop:
        assert loop.run_until_complete(main()) == [1]


def test_debug_mode_in_the_middle(impl, loop):
    async def main():
        futures = [loop.create_future() for _ in range(2)]
        iterator = iter(impl.as_completed(futures))
        first = loop.create_task(next(iterator))
        await turns()
        loop.set_debug(True)
        futures[1].set_result(1)
        assert await first == 1
        futures[0].set_result(0)
        assert await next(iterator) == 0

    loop.run_until_complete(main())


def test_task_factory(impl, loop):
    made = []

    def factory(loop, coroutine, **options):
        made.append(coroutine)
        return impl.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)

    async def main():
        coroutine = turns(0)
        for awaitable in impl.as_completed([coroutine]):
            await awaitable
        assert made[1:] == [coroutine]

    loop.run_until_complete(main())


def test_callbacks_in_order(impl, loop):
    """The callback takes its place among the others, and can be seen."""
    seen = []

    async def main():
        future = loop.create_future()
        future.add_done_callback(lambda future: seen.append(1))
        awaitable = next(iter(impl.as_completed([future])))
        future.add_done_callback(lambda future: seen.append(2))
        assert len(future._callbacks) == 3

        async def wait():
            await awaitable
            seen.append(3)

        task = loop.create_task(wait())
        await turns()
        future.set_result(None)
        await task

    loop.run_until_complete(main())
    assert seen == [1, 2, 3]
