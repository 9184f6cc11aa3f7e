"""Stock tasks that await our futures, and our tasks that await futures of somebody else's."""

import asyncio

import pytest
from unit import support


class DuckFuture:
    """What a future needs to be awaited, and nothing else: curio's, Twisted's and PyO3's bridges have such."""

    _asyncio_future_blocking = False

    def __init__(self, loop):
        self._loop = loop
        self.callbacks = []
        self.cancelled_with = []
        self.finished = False

    def get_loop(self):
        return self._loop

    def add_done_callback(self, callback, *, context=None):
        self.callbacks.append((callback, context))

    def cancel(self, msg=None):
        self.cancelled_with.append(msg)
        return False

    def finish(self):
        self.finished = True
        for callback, context in self.callbacks:
            self._loop.call_soon(callback, self, context=context)

    def result(self):
        return "value"

    def __await__(self):
        if not self.finished:
            self._asyncio_future_blocking = True
            yield self
        return self.result()


@pytest.mark.parametrize("kind", ["_CTask", "_PyTask"])
def test_stock_task_awaits_a_future_of_ours(impl, loop, kind):
    """Stock tasks take the slow path: the flag, get_loop(), add_done_callback(wakeup, context=), result()."""
    future = impl.Future(loop=loop)

    async def waits():
        return await future

    task = getattr(asyncio.tasks, kind)(waits(), loop=loop)
    support.run_once(loop)
    assert task._fut_waiter is future and future._asyncio_future_blocking is False
    future.set_result(7)
    assert loop.run_until_complete(task) == 7


@pytest.mark.parametrize("kind", ["_CTask", "_PyTask"])
def test_stock_task_cancels_a_future_of_ours(impl, loop, kind):
    """The C task passes the message by position, the Python task by name."""
    future = impl.Future(loop=loop)

    async def waits():
        await future

    task = getattr(asyncio.tasks, kind)(waits(), loop=loop)
    support.run_once(loop)
    assert task.cancel("why")
    assert future.cancelled() and future._cancel_message == "why"
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_task_awaits_a_duck_typed_future(impl, loop):
    """Bridges to other frameworks; the context of the wake-up is the task's."""
    duck = DuckFuture(loop)

    async def waits():
        return await duck

    task = impl.Task(waits(), loop=loop)
    support.run_once(loop)
    assert task._fut_waiter is duck and duck._asyncio_future_blocking is False
    ((wakeup, context),) = duck.callbacks
    assert context is not None
    assert wakeup.__self__ is task and wakeup.__name__ == "task_wakeup"
    duck.finish()
    assert loop.run_until_complete(task) == "value"


def test_cancel_asks_the_duck_typed_future_first(impl, loop):
    """cancel() of a future that refuses leaves the cancellation to the next step."""
    duck = DuckFuture(loop)

    async def waits():
        return await duck

    task = impl.Task(waits(), loop=loop)
    support.run_once(loop)
    assert task.cancel("m") is True
    assert duck.cancelled_with == ["m"] and task._must_cancel is True
    duck.finish()
    with pytest.raises(asyncio.CancelledError, match="m"):
        loop.run_until_complete(task)


@pytest.mark.parametrize(
    "what", ["nothing like a future", "a flag of None", "another loop", "itself", "without await"]
)
def test_bad_yields(impl, loop, what):
    """asyncio's own texts for what a coroutine must not yield."""
    import types

    class Mocked:
        """mock.Mock() has every attribute: asyncio asks for one that is not None."""

        _asyncio_future_blocking = None

        def __repr__(self):
            return "Mocked"

    other = impl.new_event_loop()
    future = impl.Future(loop=other if what == "another loop" else loop)
    assert not asyncio.isfuture(Mocked())

    @types.coroutine
    def raw():
        yield {"nothing like a future": 42, "a flag of None": Mocked()}.get(what, future)

    async def waits():
        if what == "itself":
            await task
        elif what == "another loop":
            await future
        else:
            await raw()

    task = impl.Task(waits(), loop=loop)
    text = {
        "nothing like a future": "Task got bad yield: 42",
        "a flag of None": "Task got bad yield: Mocked",
        "another loop": "attached to a different loop",
        "itself": "Task cannot await on itself",
        "without await": "yield was used instead of yield from",
    }[what]
    with pytest.raises(RuntimeError, match=text):
        loop.run_until_complete(task)
    other.close()


def test_step_wrapper_tells_its_task(impl, loop):
    """base_events._format_handle and aiodebug take the task of a step from callback.__self__."""
    task = impl.Task(support_sleep(impl), loop=loop)
    (handle,) = loop._ready
    assert handle._callback.__self__ is task
    loop.run_until_complete(task)


def test_steps_are_scheduled_as_asyncio_schedules_them(impl, loop):
    """Loops that override call_soon() get each step without arguments, with the context of its task as a keyword."""
    calls = []
    call_soon = loop.call_soon

    def overridden(callback, *args, **keywords):
        calls.append((getattr(callback, "__self__", None), args, keywords))
        return call_soon(callback, *args, **keywords)

    async def main():
        await asyncio.sleep(0)

    loop.call_soon = overridden
    task = impl.Task(main(), loop=loop)
    loop.run_until_complete(task)
    steps = [(args, keywords) for owner, args, keywords in calls if owner is task]
    assert len(steps) == 2 and {args for args, _ in steps} == {()}
    assert [set(keywords) for _, keywords in steps] == [{"context"}] * 2
    assert len({id(keywords["context"]) for _, keywords in steps}) == 1


def test_functions_take_a_duck_typed_future(impl, loop):
    """asyncio's functions take whatever isfuture() takes, in one gather() or wait() with futures of ours."""

    class Future(DuckFuture):
        def done(self):
            return self.finished

        def cancelled(self):
            return False

        def exception(self):
            return None

        def remove_done_callback(self, callback):
            kept = [pair for pair in self.callbacks if pair[0] != callback]
            removed, self.callbacks = len(self.callbacks) - len(kept), kept
            return removed

    def soon():
        future = Future(loop)
        loop.call_soon(future.finish)
        return future

    async def main():
        duck = soon()
        assert asyncio.ensure_future(duck, loop=loop) is duck
        assert await asyncio.wait_for(duck, 60) == "value"
        assert await asyncio.shield(soon()) == "value"
        assert await impl.gather(soon(), impl.sleep(0, 1)) == ["value", 1]
        futures = {soon(), loop.create_task(impl.sleep(0))}
        assert await impl.wait(futures) == (futures, set())

    loop.run_until_complete(main())


async def support_sleep(impl):
    await impl.sleep(0)
