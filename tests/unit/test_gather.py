"""gather: results, duplicates, exceptions, cancellation, the future it returns."""

import asyncio
import gc
import weakref

import pytest

from . import support


async def value(impl, n, steps=1):
    for _ in range(steps):
        await impl.sleep(0)
    return n


async def failure(impl, exc, steps=1):
    for _ in range(steps):
        await impl.sleep(0)
    raise exc


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_results_in_order_of_the_arguments(impl, loop, count):
    async def main():
        return await impl.gather(*(value(impl, n, steps=(count - n) % 5) for n in range(count)))

    assert loop.run_until_complete(main()) == list(range(count))


def test_empty(impl, loop):
    async def main():
        future = impl.gather()
        assert asyncio.isfuture(future)
        assert future.done()
        return await future, await impl.gather(return_exceptions=True)

    assert loop.run_until_complete(main()) == ([], [])


def test_mixed_awaitables(impl, loop):
    class Awaitable:
        def __await__(self):
            yield
            return "awaitable"

    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        done = loop.create_future()
        done.set_result("done")
        return await impl.gather(
            value(impl, "coroutine"), impl.create_task(value(impl, "task")), future, done, Awaitable()
        )

    assert loop.run_until_complete(main()) == ["coroutine", "task", "future", "done", "awaitable"]


def test_duplicates_are_awaited_once(impl, loop):
    runs = []

    async def once():
        runs.append(1)
        return object()

    async def main():
        coro = once()
        task = impl.create_task(once())
        a, b, c, d, e = await impl.gather(coro, task, coro, task, coro)
        assert a is c is e and b is d and a is not b

    loop.run_until_complete(main())
    assert len(runs) == 2


def test_first_exception_is_raised_and_the_others_go_on(impl, loop):
    finished = []

    async def slow():
        await value(impl, 0, steps=5)
        finished.append(1)

    async def main():
        with pytest.raises(ValueError, match="first"):
            await impl.gather(
                slow(), failure(impl, ValueError("first"), 1), failure(impl, KeyError("second"), 2)
            )
        assert finished == []
        await value(impl, 0, steps=8)

    loop.run_until_complete(main())
    assert finished == [1]


def test_return_exceptions(impl, loop):
    error = ValueError("kept")

    async def cancelled():
        raise asyncio.CancelledError("c")

    async def main():
        return await impl.gather(value(impl, 1), failure(impl, error), cancelled(), return_exceptions=True)

    one, two, three = loop.run_until_complete(main())
    assert one == 1 and two is error
    assert isinstance(three, asyncio.CancelledError)


def test_base_exceptions_of_children(impl, loop):
    class Odd(BaseException):
        pass

    async def main():
        with pytest.raises(Odd):
            await impl.gather(failure(impl, Odd()))
        [result] = await impl.gather(failure(impl, Odd()), return_exceptions=True)
        return type(result)

    assert loop.run_until_complete(main()) is Odd


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_cancelling_the_future_cancels_the_children(impl, loop, return_exceptions):
    async def main():
        children = [impl.create_task(value(impl, n, steps=50)) for n in range(3)]
        future = impl.gather(*children, return_exceptions=return_exceptions)
        await impl.sleep(0)
        assert future.cancel("why") is True
        assert not future.done()
        with pytest.raises(asyncio.CancelledError):
            await future
        await impl.sleep(0)
        assert all(child.cancelled() for child in children)
        return future.cancelled()

    assert isinstance(loop.run_until_complete(main()), bool)


def test_cancelling_a_done_gather(impl, loop):
    async def main():
        future = impl.gather(value(impl, 1))
        await future
        return future.cancel()

    assert loop.run_until_complete(main()) is False


def test_cancelling_when_every_child_is_done_but_the_gather_is_not(impl, loop):
    """The children's callbacks are still queued: there is nothing left that could be cancelled."""

    async def main():
        child = loop.create_future()
        future = impl.gather(child)
        child.set_result(1)
        assert future.cancel() is False
        return await future

    assert loop.run_until_complete(main()) == [1]


def test_cancelling_one_child(impl, loop):
    async def main():
        children = [impl.create_task(value(impl, n, steps=5)) for n in range(3)]
        future = impl.gather(*children)
        await impl.sleep(0)
        children[1].cancel("child")
        with pytest.raises(asyncio.CancelledError):
            await future
        assert [child.cancelled() for child in children] == [False, True, False]
        await impl.wait(children)
        return [children[0].result(), children[2].result()]

    assert loop.run_until_complete(main()) == [0, 2]


def test_cancelling_the_awaiting_task(impl, loop):
    async def main():
        children = [impl.create_task(value(impl, n, steps=50)) for n in range(3)]

        async def parent():
            await impl.gather(*children)

        task = impl.create_task(parent())
        await impl.sleep(0)
        await impl.sleep(0)
        task.cancel("parent")
        with pytest.raises(asyncio.CancelledError):
            await task
        return [child.cancelled() for child in children]

    assert loop.run_until_complete(main()) == [True, True, True]


def test_exception_after_the_gather_is_done_is_retrieved(impl, loop):
    """gather consumes the later exceptions of its children, so nothing is logged."""

    async def main():
        with pytest.raises(ValueError):
            await impl.gather(failure(impl, ValueError(), 1), failure(impl, KeyError(), 3))
        await value(impl, 0, steps=6)

    with support.recorded_logs() as logs:
        loop.run_until_complete(main())
        support.collect()
    assert logs == []


def test_dropped_gather_is_not_reported_as_destroyed(impl, loop):
    async def main():
        impl.gather(value(impl, 1), value(impl, 2))
        await value(impl, 0, steps=4)

    with support.recorded_logs() as logs:
        loop.run_until_complete(main())
        support.collect()
    assert logs == []


def test_unretrieved_exception_of_a_gather_is_reported(impl, loop):
    async def main():
        impl.gather(failure(impl, ValueError("lost"), 1))
        await value(impl, 0, steps=4)

    with support.recorded_logs() as logs:
        loop.run_until_complete(main())
        support.collect()
    assert len(logs) == 1 and "exception was never retrieved" in logs[0][1]


def test_the_future_it_returns(impl, loop):
    async def main():
        future = impl.gather(value(impl, 1), value(impl, 2))
        assert isinstance(future, asyncio.Future)
        assert not isinstance(future, asyncio.Task)
        assert not asyncio.iscoroutine(future)
        assert future.get_loop() is loop
        order = []
        future.add_done_callback(order.append)
        assert await future == [1, 2]
        await impl.sleep(0)
        assert order == [future]
        assert future.result() == [1, 2]
        return support.masked(repr(future))

    assert loop.run_until_complete(main()) == "<_GatheringFuture finished result=[1, 2]>"


def test_pending_repr(ours, stock):
    def text(impl):
        with support.closing(impl.new_event_loop()) as loop:

            async def main():
                future = impl.gather(value(impl, 1))
                texts = [repr(future)]

                async def waits():
                    await future

                task = impl.create_task(waits())
                await impl.sleep(0)
                texts.append(repr(future))
                texts.append(repr(future._fut_waiter) if hasattr(future, "_fut_waiter") else None)
                await task
                return [text and support.masked(text) for text in texts]

            return loop.run_until_complete(main())

    assert text(ours) == text(stock)


def test_children_attribute(impl, loop):
    """asyncio's own test suite and debuggers read it."""

    async def main():
        task = impl.create_task(value(impl, 1))
        future = impl.gather(task, task)
        assert future._children == [task, task]
        await future

    loop.run_until_complete(main())


def test_not_awaited_gather_still_runs(impl, loop):
    ran = []

    async def child():
        ran.append(1)

    async def main():
        impl.gather(child(), child())
        await impl.sleep(0)

    loop.run_until_complete(main())
    assert ran == [1, 1]


def test_outside_a_loop_with_futures(impl, loop):
    """The loop is that of the first argument."""
    a, b = loop.create_future(), loop.create_future()
    future = impl.gather(a, b)
    assert future.get_loop() is loop
    loop.call_soon(a.set_result, 1)
    loop.call_soon(b.set_result, 2)
    assert loop.run_until_complete(future) == [1, 2]


def test_done_futures_only(impl, loop):
    """All children are done already when gather is called."""

    async def main():
        futures = [loop.create_future() for _ in range(3)]
        for n, future in enumerate(futures):
            future.set_result(n)
        return await impl.gather(*futures)

    assert loop.run_until_complete(main()) == [0, 1, 2]


def test_done_futures_are_handled_as_in_this_version(ours, stock):
    """3.12 completes a gather of done futures at once, 3.11 in the next iteration."""

    def outcome(impl):
        with support.closing(impl.new_event_loop()) as loop:

            async def main():
                good, bad, gone = (loop.create_future() for _ in range(3))
                good.set_result(1)
                bad.set_exception(ValueError())
                gone.cancel()
                seen = []
                for children in ([good], [good, bad], [good, gone], [loop.create_future(), good]):
                    future = impl.gather(*children)
                    seen.append(future.done())
                    future.cancel()
                    await impl.wait([future])
                    seen.append(support.masked(repr(future)))
                    future.cancelled() or future.exception()
                return seen

            return loop.run_until_complete(main())

    assert outcome(ours) == outcome(stock)


def test_futures_of_different_loops(impl, loop):
    with support.closing(impl.new_event_loop()) as other:

        async def main():
            with pytest.raises(ValueError, match="belongs to a different loop"):
                impl.gather(loop.create_future(), other.create_future())

        loop.run_until_complete(main())


@pytest.mark.parametrize("bad", [1, None, "text", object])
def test_wrong_arguments(impl, loop, bad):
    async def main():
        with pytest.raises(TypeError, match="An asyncio.Future, a coroutine or an awaitable is required"):
            impl.gather(bad)

    loop.run_until_complete(main())


def test_gather_of_a_list(impl, loop):
    """The beginner's mistake of leaving out the star."""

    async def main():
        coro = value(impl, 1)
        with pytest.raises(TypeError):
            impl.gather([coro])
        coro.close()

    loop.run_until_complete(main())


def test_wrong_keywords(impl, loop):
    async def main():
        with pytest.raises(TypeError):
            impl.gather(loop.create_future(), loop=loop)
        with pytest.raises(TypeError):
            impl.gather(loop.create_future(), bogus=1)

    loop.run_until_complete(main())


def test_nested(impl, loop):
    async def main():
        return await impl.gather(
            impl.gather(value(impl, 1), value(impl, 2)),
            impl.gather(value(impl, 3), impl.gather(value(impl, 4))),
        )

    assert loop.run_until_complete(main()) == [[1, 2], [3, [4]]]


def test_gather_in_create_task_is_refused(impl, loop):
    async def main():
        future = impl.gather(value(impl, 1))
        with pytest.raises(TypeError, match="a coroutine was expected, got"):
            impl.create_task(future)
        await future

    loop.run_until_complete(main())


def test_gather_with_wait_for_and_shield(impl, loop):
    async def main():
        a = await asyncio.wait_for(impl.gather(value(impl, 1)), 10)
        b = await asyncio.shield(impl.gather(value(impl, 2)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(impl.gather(value(impl, 1, steps=10**6)), 0.001)
        return a + b

    assert loop.run_until_complete(main()) == [1, 2]


def test_child_that_completes_the_gather_while_iterating(impl, loop):
    """A child whose cancel() cancels the gather again."""

    class Child(impl.Future):
        def cancel(self, msg=None):
            if not self.entered:
                self.entered = True
                outer.cancel()
            return super().cancel(msg=msg)

    async def main():
        nonlocal outer
        children = []
        for _ in range(3):
            child = Child(loop=loop)
            child.entered = False
            children.append(child)
        outer = impl.gather(*children)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        return [child.cancelled() for child in children]

    outer = None
    assert loop.run_until_complete(main()) == [True, True, True]


def test_hash_and_equality_of_arguments_are_the_users(impl, loop):
    """Duplicates are found by == and hash(), which may raise."""

    class Unhashable:
        __hash__ = None

        def __await__(self):
            yield

    async def main():
        with pytest.raises(TypeError):
            impl.gather(Unhashable())

    loop.run_until_complete(main())


@pytest.mark.skipif(
    support.PY314, reason="from 3.14 on, gather() of asyncio itself holds its task, for the call graph"
)
def test_a_pending_gather_does_not_keep_the_task_that_made_it(impl, loop):
    """Otherwise the report of the task's unretrieved exception waits for the gather, too."""
    kept = []

    async def start_and_end():
        kept.append(impl.gather(value(impl, 1), loop.create_future()))

    async def main():
        task = weakref.ref(impl.create_task(start_and_end()))
        await impl.sleep(0)
        gc.disable()
        try:
            await impl.sleep(0)
            return task()
        finally:
            gc.enable()

    assert loop.run_until_complete(main()) is None
    kept.pop().cancel()
