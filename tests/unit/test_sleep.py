"""sleep: results, arguments, cancellation, what kind of object it returns."""

import asyncio
import inspect
import math
import socket

import pytest

from . import support


@pytest.mark.parametrize("delay", [0, -1, 0.0, -0.5, 1, 2.5, True])
def test_result(impl, virtual, delay):
    loop, _ = virtual
    value = object()

    async def main():
        assert await impl.sleep(delay) is None
        assert await impl.sleep(delay, value) is value
        assert await impl.sleep(delay=delay, result=value) is value
        return "slept"

    assert loop.run_until_complete(main()) == "slept"


def test_takes_its_time(impl, virtual):
    loop, clock = virtual

    async def main():
        start = loop.time()
        await impl.sleep(10)
        return loop.time() - start

    assert 10 <= loop.run_until_complete(main()) <= 12


def test_sleep_zero_lets_others_run_once(impl, loop):
    order = []

    async def coro(name):
        for i in range(3):
            order.append(f"{name}{i}")
            await impl.sleep(0)

    async def main():
        await impl.gather(coro("a"), coro("b"))

    loop.run_until_complete(main())
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_is_a_coroutine_to_everybody(impl, loop):
    sleeper = impl.sleep(0, "value")
    assert asyncio.iscoroutine(sleeper)
    assert inspect.isawaitable(sleeper)
    assert loop.run_until_complete(sleeper) == "value"
    assert asyncio.run(impl.sleep(0, "in run")) == "in run"
    assert loop.run_until_complete(loop.create_task(impl.sleep(0, "task"))) == "task"
    assert loop.run_until_complete(impl.Task(impl.sleep(0.0001, "Task"), loop=loop)) == "Task"

    async def main():
        return (
            await asyncio.ensure_future(impl.sleep(0, 1)),
            await asyncio.wait_for(impl.sleep(0, 2), 10),
            await impl.gather(impl.sleep(0, 3), impl.sleep(0.0001, 4)),
            await asyncio.shield(impl.sleep(0, 5)),
            await impl.create_task(impl.sleep(0, 6)),
        )

    assert loop.run_until_complete(main()) == (1, 2, [3, 4], 5, 6)


def test_never_awaited(impl):
    for delay in (0, 1):
        with support.recorded_warnings() as caught:
            impl.sleep(delay)
            support.collect()
        assert caught == [("RuntimeWarning", "coroutine 'sleep' was never awaited")]


def test_closed_without_a_warning(impl):
    with support.recorded_warnings() as caught:
        sleeper = impl.sleep(1)
        sleeper.close()
        del sleeper
        support.collect()
    assert caught == []


def test_coroutine_methods(impl):
    sleeper = impl.sleep(0, "value")
    assert sleeper.send(None) is None
    with pytest.raises(StopIteration) as caught:
        sleeper.send(None)
    assert caught.value.value == "value"
    sleeper = impl.sleep(0)
    with pytest.raises(ZeroDivisionError):
        sleeper.throw(ZeroDivisionError())
    sleeper = impl.sleep(0)
    sleeper.send(None)
    with pytest.raises(ZeroDivisionError):
        sleeper.throw(ZeroDivisionError())
    sleeper = impl.sleep(0)
    sleeper.send(None)
    sleeper.close()
    sleeper.close()


def test_coroutine_methods_use_the_words_of_coroutines(impl):
    sleeper = impl.sleep(0)
    for args, message in (
        ((1,), "exceptions must be classes or instances deriving from BaseException, not int"),
        ((int,), "exceptions must be classes or instances deriving from BaseException, not type"),
        ((), "throw expected at least 1 argument, got 0"),
    ):
        with pytest.raises(TypeError, match=f"^{message}$"):
            sleeper.throw(*args)
    assert sleeper.send(None) is None
    with pytest.raises(StopIteration) as caught:
        sleeper.send(None)
    assert caught.value.args == ()


@pytest.mark.parametrize("name", ["sleep", "wait", "sock_recv"])
def test_resumed_by_hand_while_it_waits(impl, loop, name):
    """It yields its future again, as asyncio's coroutines do, but only to who has taken the first one for a future."""
    left, right = socket.socketpair()
    left.setblocking(False)
    event = loop.create_future()

    async def main():
        coroutine = {
            "sleep": lambda: impl.sleep(1000, "slept"),
            "wait": lambda: impl.wait([event]),
            "sock_recv": lambda: loop.sock_recv(left, 10),
        }[name]()
        future = coroutine.send(None)
        assert future._asyncio_future_blocking is True
        future._asyncio_future_blocking = False
        assert coroutine.send("ignored") is future
        assert future._asyncio_future_blocking is True
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            coroutine.send(None)

    with left, right:
        loop.run_until_complete(main())
        support.run_once(loop)


def test_coroutine_state(impl):
    sleeper = impl.sleep(0)
    states = [inspect.getcoroutinestate(sleeper)]
    sleeper.send(None)
    states.append(inspect.getcoroutinestate(sleeper))
    sleeper.close()
    states.append(inspect.getcoroutinestate(sleeper))
    assert states == [inspect.CORO_CREATED, inspect.CORO_SUSPENDED, inspect.CORO_CLOSED]


def test_coroutine_state_while_it_runs(impl, loop):
    """Something that the coroutine itself calls asks for its state."""
    states = []

    def create_future():
        states.append(inspect.getcoroutinestate(sleeper))
        return future

    async def main():
        return await sleeper

    future = loop.create_future()
    future.set_result(None)
    sleeper = impl.sleep(3600)
    loop.create_future = create_future
    try:
        loop.run_until_complete(main())
    finally:
        del loop.create_future
    assert states == [inspect.CORO_RUNNING]


def test_frame_of_the_coroutine(impl, loop):
    """What looks into a coroutine by its frame finds one until it has ended."""

    async def main():
        sleeper = impl.sleep(1e-6)
        assert sleeper.cr_frame.f_code.co_name == "sleep"
        assert sleeper.cr_frame.f_back is None
        inspect.getcoroutinelocals(sleeper)
        task = loop.create_task(sleeper)
        await impl.sleep(0)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["sleep"]
        await task
        assert sleeper.cr_frame is None
        assert inspect.getcoroutinelocals(sleeper) == {}

    loop.run_until_complete(main())


def test_cannot_be_awaited_twice(impl, loop):
    async def main():
        sleeper = impl.sleep(0)
        await sleeper
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await sleeper

    loop.run_until_complete(main())


def test_cannot_be_sent_a_value_first(impl):
    sleeper = impl.sleep(0)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        sleeper.send(1)
    sleeper.close()


def test_coroutine_attributes(impl):
    sleeper = impl.sleep(0)
    assert sleeper.__name__ == "sleep"
    assert sleeper.__qualname__ == "sleep"
    assert sleeper.cr_running is False
    sleeper.close()


@pytest.mark.parametrize("bad", ["1", None, [], object()])
def test_delay_of_a_wrong_type(impl, loop, bad):
    async def main():
        await impl.sleep(bad)

    with pytest.raises(TypeError):
        loop.run_until_complete(main())


def test_wrong_calls(impl):
    for call in (lambda: impl.sleep(), lambda: impl.sleep(1, 2, 3), lambda: impl.sleep(1, bogus=2)):
        with pytest.raises(TypeError):
            call()


@pytest.mark.skipif(not support.PY313, reason="NaN is checked from 3.13 on")
def test_nan(impl, loop):
    async def main():
        with pytest.raises(ValueError, match="Invalid delay: NaN"):
            await impl.sleep(math.nan)

    loop.run_until_complete(main())


@pytest.mark.parametrize("delay", [math.inf, 1e300, 2**62, 2**70])
def test_endless_sleep_can_be_cancelled(impl, loop, delay):
    async def main():
        task = impl.create_task(impl.sleep(delay))
        await impl.sleep(0.001)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(main())


def test_cancelled_sleeps_leave_nothing_behind(impl, virtual):
    loop, clock = virtual

    async def main():
        tasks = [impl.create_task(impl.sleep(5 + n % 7)) for n in range(100)]
        await impl.sleep(1)
        for task in tasks[::2]:
            task.cancel()
        results = await impl.gather(*tasks, return_exceptions=True)
        return [isinstance(r, asyncio.CancelledError) for r in results]

    assert loop.run_until_complete(main()) == [True, False] * 50


def test_cancel_and_wake_up_in_one_iteration(impl, virtual):
    """The timer is due in the iteration in which the sleeper is cancelled; either way it wakes exactly once."""
    loop, clock = virtual
    woken = []

    async def sleeper():
        try:
            await impl.sleep(3)
            woken.append("time")
        except asyncio.CancelledError:
            woken.append("cancelled")

    async def main():
        for delay in range(1, 7):
            task = impl.create_task(sleeper())
            loop.call_later(delay, task.cancel)
            await impl.wait([task])

    loop.run_until_complete(main())
    assert len(woken) == 6
    assert woken[0] == "cancelled" and woken[-1] == "time"


def test_fut_waiter_of_a_sleeper(impl, loop):
    """anyio reads `_fut_waiter` to decide whether a task can be cancelled: it must be a pending future."""
    task = impl.Task(impl.sleep(1000), loop=loop)
    support.run_once(loop)
    waiter = task._fut_waiter
    assert waiter is not None
    assert isinstance(waiter, asyncio.Future)
    assert waiter.done() is False
    assert waiter.cancelled() is False
    task.cancel()
    support.run_once(loop, 2)
    assert task.cancelled()


def test_cancel_through_the_waiter(impl, loop):
    task = impl.Task(impl.sleep(1000), loop=loop)
    support.run_once(loop)
    assert task._fut_waiter.cancel("through the waiter") is True
    support.run_once(loop, 2)
    assert task.cancelled()


def test_sleep_outside_a_task(impl):
    """Without a running loop the coroutine fails at its first step, not at the call."""
    sleeper = impl.sleep(1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        sleeper.send(None)


def test_many_sleepers(impl, loop):
    async def main():
        return await impl.gather(*(impl.sleep(n % 10 / 10_000, n) for n in range(5000)))

    assert loop.run_until_complete(main()) == list(range(5000))


def test_inside_an_async_generator_and_context_manager(impl, loop):
    async def agen():
        for i in range(3):
            await impl.sleep(0.0001)
            yield i

    class Manager:
        async def __aenter__(self):
            return await impl.sleep(0, "entered")

        async def __aexit__(self, *args):
            await impl.sleep(0)

    async def main():
        async with Manager() as value:
            return value, [i async for i in agen()]

    assert loop.run_until_complete(main()) == ("entered", [0, 1, 2])
