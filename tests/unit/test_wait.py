"""wait: return_when, timeouts, arguments, cancellation."""

import asyncio

import pytest

from . import support


async def value(impl, n, steps=1):
    for _ in range(steps):
        await impl.sleep(0)
    return n


async def failure(impl, steps=1):
    for _ in range(steps):
        await impl.sleep(0)
    raise ValueError(steps)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_all_completed(impl, loop, count):
    async def main():
        tasks = [impl.create_task(value(impl, n, n % 4)) for n in range(count)]
        done, pending = await impl.wait(tasks)
        assert type(done) is set and type(pending) is set
        assert done == set(tasks) and pending == set()

    loop.run_until_complete(main())


def test_first_completed(impl, loop):
    async def main():
        tasks = [impl.create_task(value(impl, n, 20 - 9 * n)) for n in range(3)]
        done, pending = await impl.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done == {tasks[2]} and pending == set(tasks[:2])
        await impl.wait(tasks)

    loop.run_until_complete(main())


def test_first_exception(impl, loop):
    async def main():
        tasks = [
            impl.create_task(value(impl, 1, 1)),
            impl.create_task(failure(impl, 3)),
            impl.create_task(value(impl, 2, 8)),
        ]
        done, pending = await impl.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        assert done == set(tasks[:2]) and pending == {tasks[2]}
        await impl.wait(tasks)
        tasks[1].exception()

    loop.run_until_complete(main())


def test_first_exception_without_one(impl, loop):
    async def main():
        tasks = [impl.create_task(value(impl, n, n)) for n in range(3)]
        done, pending = await impl.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        assert done == set(tasks) and not pending

    loop.run_until_complete(main())


def test_first_exception_does_not_count_cancellation(impl, loop):
    async def main():
        tasks = [impl.create_task(value(impl, n, 3 + n)) for n in range(2)]
        tasks[0].cancel()
        done, pending = await impl.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        assert done == set(tasks) and not pending

    loop.run_until_complete(main())


def test_exceptions_are_not_raised(impl, loop):
    async def main():
        task = impl.create_task(failure(impl))
        done, pending = await impl.wait([task])
        assert done == {task}
        assert isinstance(task.exception(), ValueError)

    loop.run_until_complete(main())


def test_timeout(impl, virtual):
    loop, clock = virtual

    async def main():
        fast, slow = impl.create_task(impl.sleep(2)), impl.create_task(impl.sleep(50))
        done, pending = await impl.wait([fast, slow], timeout=10)
        assert done == {fast} and pending == {slow}
        assert not slow.cancelled()
        slow.cancel()

    loop.run_until_complete(main())


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_timeout_of_nothing(impl, loop, timeout):
    async def main():
        done_task = impl.create_task(value(impl, 1, 0))
        await done_task
        pending_task = impl.create_task(value(impl, 1, 100))
        done, pending = await impl.wait([done_task, pending_task], timeout=timeout)
        assert done == {done_task} and pending == {pending_task}
        pending_task.cancel()

    loop.run_until_complete(main())


def test_timeout_that_is_not_reached_leaves_no_timer(impl, virtual):
    loop, clock = virtual

    async def main():
        await impl.wait([impl.create_task(value(impl, 1))], timeout=3)
        await impl.sleep(10)

    loop.run_until_complete(main())


def test_already_done(impl, loop):
    async def main():
        futures = [loop.create_future() for _ in range(3)]
        for future in futures:
            future.set_result(None)
        for when in (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION):
            done, pending = await impl.wait(futures, return_when=when)
            assert done == set(futures) and not pending

    loop.run_until_complete(main())


def test_duplicates(impl, loop):
    async def main():
        task = impl.create_task(value(impl, 1))
        done, pending = await impl.wait([task, task, task])
        assert done == {task} and not pending

    loop.run_until_complete(main())


@pytest.mark.parametrize("container", [list, tuple, set, frozenset, lambda ts: dict.fromkeys(ts)])
def test_containers(impl, loop, container):
    async def main():
        tasks = [impl.create_task(value(impl, n)) for n in range(3)]
        done, pending = await impl.wait(container(tasks))
        assert done == set(tasks)

    loop.run_until_complete(main())


def test_generators(ours, stock):
    """A generator is true whatever it yields, and versions differ in what they make of an empty one."""

    def outcome(impl, count):
        with support.closing(impl.new_event_loop()) as loop:

            async def main():
                try:
                    done, pending = await impl.wait(impl.create_task(value(impl, n)) for n in range(count))
                    return len(done), len(pending)
                except Exception as exc:
                    return support.described(exc)

            return loop.run_until_complete(main())

    assert outcome(ours, 2) == outcome(stock, 2)


def test_wrong_arguments(ours, stock):
    def outcome(impl):
        with support.closing(impl.new_event_loop()) as loop:

            async def main():
                results = []
                coro, other = value(impl, 1), value(impl, 2)
                future = loop.create_future()
                for args, kwargs in (
                    (([],), {}),
                    ((set(),), {}),
                    ((future,), {}),
                    ((coro,), {}),
                    (([other],), {}),
                    (([future, other],), {}),
                    (([future],), {"return_when": "bogus"}),
                    (([future],), {"return_when": None}),
                    ((1,), {}),
                    ((None,), {}),
                ):
                    try:
                        await impl.wait(*args, **kwargs)
                        results.append("nothing raised")
                    except Exception as exc:
                        results.append(support.described(exc))
                for call in (
                    lambda: impl.wait(),
                    lambda: impl.wait([future], bogus=1),
                    lambda: impl.wait([], 1),
                ):
                    with pytest.raises(TypeError):
                        call()
                coro.close()
                other.close()
                return results

            return loop.run_until_complete(main())

    assert outcome(ours) == outcome(stock)


def test_wrong_arguments_raise_at_the_await_not_at_the_call(impl):
    for args in (([],), (1,), ([1],)):
        waiting = impl.wait(*args)
        waiting.close()


def test_cancelling_the_waiter_leaves_the_tasks_alone(impl, loop):
    async def main():
        tasks = [impl.create_task(value(impl, n, 20)) for n in range(3)]
        waiting = impl.create_task(impl.wait(tasks))
        await impl.sleep(0)
        await impl.sleep(0)
        waiting.cancel("why")
        with pytest.raises(asyncio.CancelledError) as caught:
            await waiting
        assert caught.value.args == ("why",)
        assert not any(task.done() for task in tasks)
        # wait's own callbacks are gone, too.
        assert not any(task._callbacks for task in tasks)
        done, _ = await impl.wait(tasks)
        return len(done)

    assert loop.run_until_complete(main()) == 3


def test_callbacks_are_removed_afterwards(impl, loop):
    async def main():
        slow = loop.create_future()
        await impl.wait([slow, impl.create_task(value(impl, 1))], return_when=asyncio.FIRST_COMPLETED)
        assert not slow._callbacks

    loop.run_until_complete(main())


def test_is_a_coroutine_to_everybody(impl, loop):
    async def main():
        tasks = [impl.create_task(value(impl, n)) for n in range(2)]
        waiting = impl.wait(tasks)
        assert asyncio.iscoroutine(waiting)
        done, _ = await impl.create_task(waiting)
        done, _ = await asyncio.wait_for(impl.wait(tasks), 10)
        [(done, _)] = await impl.gather(impl.wait(tasks))
        return len(done)

    assert loop.run_until_complete(main()) == 2
    futures = [loop.create_future()]
    futures[0].set_result(1)
    done, _ = loop.run_until_complete(impl.wait(futures))
    assert done == set(futures)


def test_never_awaited(impl, loop):
    future = loop.create_future()
    with support.recorded_warnings() as caught:
        impl.wait([future])
        support.collect()
    assert caught == [("RuntimeWarning", "coroutine 'wait' was never awaited")]


def test_many_waiters_of_one_task(impl, loop):
    async def main():
        task = impl.create_task(value(impl, 1, 5))
        waiters = [impl.create_task(impl.wait([task])) for _ in range(50)]
        results = await impl.gather(*waiters)
        return all(done == {task} for done, _ in results)

    assert loop.run_until_complete(main()) is True


def test_repeated_first_completed(impl, loop):
    """The usual loop over what is still pending."""

    async def main():
        pending = {impl.create_task(value(impl, n, n)) for n in range(20)}
        order = []
        while pending:
            done, pending = await impl.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            order.extend(sorted(task.result() for task in done))
        return order

    assert loop.run_until_complete(main()) == list(range(20))


def test_task_finishing_between_wake_up_and_resume(impl, loop):
    """FIRST_COMPLETED also reports what finished after the wake-up was queued."""

    async def main():
        futures = [loop.create_future() for _ in range(3)]

        def finish():
            futures[0].set_result(0)
            loop.call_soon(futures[1].set_result, 1)

        loop.call_soon(finish)
        done, pending = await impl.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        return [future in done for future in futures]

    assert loop.run_until_complete(main()) == [True, True, False]


def test_futures_of_a_foreign_class(impl, loop):
    """Anything with add_done_callback, remove_done_callback and done will do."""

    class Duck:
        _asyncio_future_blocking = False

        def __init__(self):
            self.inner = loop.create_future()

        def __getattr__(self, name):
            return getattr(self.inner, name)

    async def main():
        duck = Duck()
        loop.call_soon(duck.inner.set_result, 1)
        done, pending = await impl.wait([duck])
        return done == {duck}

    assert loop.run_until_complete(main()) is True
