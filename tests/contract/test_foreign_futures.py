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
    assert wakeup.__self__ is task
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


@pytest.mark.parametrize("what", ["nothing like a future", "another loop", "itself", "without await"])
def test_bad_yields(impl, loop, what):
    """asyncio's own texts for what a coroutine must not yield."""
    import types

    other = impl.new_event_loop()
    future = impl.Future(loop=other if what == "another loop" else loop)

    @types.coroutine
    def raw():
        yield 42 if what == "nothing like a future" else future

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


async def support_sleep(impl):
    await impl.sleep(0)
