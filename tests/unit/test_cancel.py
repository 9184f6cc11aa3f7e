"""Cancellation of tasks: counters, messages, phases, chaining."""

import asyncio

import pytest

from . import support


async def forever(loop):
    await loop.create_future()


def test_cancel_before_the_first_step(impl, loop):
    ran = []

    async def coro():
        ran.append(1)

    task = impl.Task(coro(), loop=loop)
    assert task.cancel() is True
    assert task._must_cancel is True
    support.run_once(loop)
    assert task.cancelled() and ran == []


def test_cancel_while_waiting(impl, loop):
    task = impl.Task(forever(loop), loop=loop)
    support.run_once(loop)
    waiter = task._fut_waiter
    assert task.cancel() is True
    assert task._must_cancel is False
    assert waiter.cancelled()
    assert not task.done()
    support.run_once(loop)
    assert task.cancelled()


def test_cancel_when_the_wake_up_is_already_queued(impl, loop):
    future = loop.create_future()

    async def coro():
        return await future

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    future.set_result(1)
    assert task.cancel() is True
    assert task._must_cancel is True
    support.run_once(loop)
    assert task.cancelled()
    assert future.result() == 1


def test_cancel_between_bare_yields(impl, loop):
    async def coro():
        await impl.sleep(0)
        await impl.sleep(0)

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel()
    support.run_once(loop)
    assert task.cancelled()


def test_cancel_when_done(impl, loop):
    async def coro():
        return 1

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    assert task.cancel() is False
    assert task.cancelling() == 0
    assert task.result() == 1


@pytest.mark.parametrize("delay", [0, 1000])
def test_cancel_of_a_sleeper(impl, loop, delay):
    async def coro():
        await impl.sleep(delay)

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel("message")
    support.run_until_idle(loop)
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert caught.value.args == ("message",)


def test_cancel_passes_down_a_chain(impl, loop):
    order = []

    async def level(n):
        try:
            if n == 0:
                await loop.create_future()
            else:
                await impl.Task(level(n - 1), loop=loop)
        except asyncio.CancelledError:
            order.append(n)
            raise

    task = impl.Task(level(3), loop=loop)
    support.run_once(loop, 5)
    task.cancel()
    support.run_once(loop, 6)
    assert order == [0, 1, 2, 3]
    assert task.cancelled()


def test_swallowed(impl, loop):
    async def coro():
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            pass
        return "swallowed"

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel()
    support.run_once(loop)
    assert task.result() == "swallowed"
    assert not task.cancelled()
    assert task.cancelling() == 1


def test_replaced_by_another_exception(impl, loop):
    async def coro():
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            raise ValueError("instead")

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel()
    support.run_once(loop)
    error = task.exception()
    assert isinstance(error, ValueError)
    assert isinstance(error.__context__, asyncio.CancelledError)


@pytest.mark.parametrize("waits_for", ["future", "sleep", "task", "event"])
def test_what_the_caller_of_the_loop_handles_is_the_context(impl, loop, waits_for):
    """So a failing clean-up in asyncio.run() shows the exception by which main() ended."""
    waits = {
        "future": loop.create_future,
        "sleep": lambda: impl.sleep(100),
        "task": lambda: impl.Task(forever(loop), loop=loop),
        "event": lambda: asyncio.Event().wait(),
    }

    async def coro():
        try:
            await waits[waits_for]()
        except asyncio.CancelledError as error:
            return error.__context__

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel()
    outer = ValueError("handled while the loop runs")
    try:
        raise outer
    except ValueError:
        support.run_once(loop, 3)
    assert task.result() is outer


def test_no_context_without_a_handled_exception(impl, loop):
    async def coro():
        try:
            await loop.create_future()
        except asyncio.CancelledError as error:
            return error.__context__

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel()
    support.run_once(loop)
    assert task.result() is None


def test_cancelling_itself(impl, loop):
    async def coro():
        task.cancel("self")
        await impl.sleep(0)

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop, 3)
    assert task.cancelled()


def test_cancelling_itself_and_returning(impl, loop):
    """A coroutine that returns while a cancellation is due is cancelled, not finished."""

    async def coro():
        task.cancel()
        return "lost"

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop, 2)
    assert task.cancelled()


def test_cancelling_itself_and_raising(impl, loop):
    async def coro():
        task.cancel()
        raise ValueError("kept")

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop, 2)
    assert isinstance(task.exception(), ValueError)


def test_repeated_cancel_is_delivered_each_time(impl, loop):
    caught = []

    async def coro():
        for i in range(3):
            try:
                await loop.create_future()
            except asyncio.CancelledError as exc:
                caught.append(exc.args)
        return "done"

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    for i in range(3):
        task.cancel(i)
        support.run_once(loop)
    assert caught == [(0,), (1,), (2,)]
    assert task.result() == "done"


def test_cancelling_and_uncancel_count(impl, loop):
    task = impl.Task(forever(loop), loop=loop)
    support.run_once(loop)
    assert task.cancelling() == 0
    assert task.uncancel() == 0
    task.cancel()
    assert task.cancelling() == 1
    task.cancel()
    assert task.cancelling() == 2
    assert task.uncancel() == 1
    assert task.uncancel() == 0
    assert task.uncancel() == 0
    support.run_once(loop, 2)


def test_uncancel_before_delivery(ours, stock):
    """Since 3.13, uncancel() to zero takes back a cancellation that has not been delivered."""

    def outcome(impl):
        with support.closing(impl.new_event_loop()) as loop:

            async def coro():
                task.cancel()
                left = task.uncancel()
                await impl.sleep(0)
                return left

            task = impl.Task(coro(), loop=loop)
            support.run_once(loop, 3)
            return task.cancelled() or task.result()

    assert outcome(ours) == outcome(stock)


def test_message_survives_the_chain(impl, loop):
    async def inner():
        await loop.create_future()

    async def outer():
        await impl.Task(inner(), loop=loop)

    task = impl.Task(outer(), loop=loop)
    support.run_once(loop, 2)
    task.cancel("why")
    support.run_once(loop, 4)
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert caught.value.args == ("why",)


def test_cancelled_error_without_message_has_no_arguments(impl, loop):
    task = impl.Task(forever(loop), loop=loop)
    support.run_once(loop)
    task.cancel()
    support.run_once(loop)
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert caught.value.args == ()


def test_original_cancelled_error_is_raised_first(impl, loop):
    """result() raises the very exception that left the coroutine once; awaiting it keeps its traceback."""

    class MyCancelled(asyncio.CancelledError):
        pass

    error = MyCancelled("mine")

    async def coro():
        raise error

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert caught.value is error or caught.value.__context__ is error
    with pytest.raises(asyncio.CancelledError):
        task.result()


def test_coroutine_that_raises_cancelled_error_is_cancelled(impl, loop):
    async def coro():
        raise asyncio.CancelledError("raised")

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    assert task.cancelled()
    assert task.cancelling() == 0


def test_cancel_with_a_waiter_that_refuses(impl, loop):
    """A future whose cancel() answers False: the task must be cancelled at its next step."""

    class Stubborn(impl.Future):
        def cancel(self, msg=None):
            return False

    future = Stubborn(loop=loop)

    async def coro():
        return await future

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    assert task.cancel() is True
    assert task._must_cancel is True
    future.set_result(1)
    support.run_once(loop)
    assert task.cancelled()


def test_cancel_callbacks_may_cancel_others(impl, loop):
    first = impl.Task(forever(loop), loop=loop)
    second = impl.Task(forever(loop), loop=loop)
    support.run_once(loop)
    first.add_done_callback(lambda f: second.cancel("from first"))
    first.cancel()
    support.run_once(loop, 5)
    assert first.cancelled() and second.cancelled()


def test_two_tasks_cancel_each_other(impl, loop):
    tasks = []

    async def coro(n):
        try:
            await loop.create_future()
        finally:
            tasks[1 - n].cancel()

    tasks.extend(impl.Task(coro(n), loop=loop) for n in range(2))
    support.run_once(loop)
    tasks[0].cancel()
    support.run_once(loop, 5)
    assert all(task.cancelled() for task in tasks)


def test_await_in_finally_during_cancellation(impl, loop):
    order = []

    async def coro():
        try:
            await loop.create_future()
        finally:
            await impl.sleep(0)
            order.append("clean")

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel()
    support.run_once(loop, 3)
    assert order == ["clean"]
    assert task.cancelled()


def test_generator_exit_from_a_coroutine(impl, loop):
    async def coro():
        raise GeneratorExit

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    assert isinstance(task.exception(), GeneratorExit)


def test_repr_says_cancelling(impl, loop):
    task = impl.Task(forever(loop), loop=loop)
    support.run_once(loop)
    task.cancel()
    assert repr(task).startswith("<Task cancelling name=")
    support.run_once(loop)
    assert repr(task).startswith("<Task cancelled name=")


def test_wrong_cancel_calls(impl, loop):
    task = impl.Task(forever(loop), loop=loop)
    for call in (lambda: task.cancel(1, 2), lambda: task.cancel(bogus=1), lambda: task.uncancel(1)):
        with pytest.raises(TypeError):
            call()
