"""The private attributes of Future and Task that asyncio's own Python code and libraries read and write."""

import asyncio
import contextvars
import io

import pytest
from unit import support


async def nothing():
    pass


def test_surface(impl, loop):
    """asyncio's base_futures, base_tasks, tests and graph.py: every name that CPython's types have, ours have."""
    stock_future = asyncio.Future(loop=loop)
    stock_task = asyncio.Task(nothing(), loop=loop)
    assert set(dir(stock_future)) - set(dir(impl.Future(loop=loop))) == set()
    task = impl.Task(nothing(), loop=loop)
    assert set(dir(stock_task)) - set(dir(task)) == set()
    support.run_once(loop, 2)


def test_state_of_a_future(loop):
    """base_futures._future_repr and debuggers read _state, _result, _exception and _loop."""
    pending, finished, failed, cancelled = (loop.create_future() for _ in range(4))
    error = ValueError()
    finished.set_result(1)
    failed.set_exception(error)
    cancelled.cancel("why")
    assert [f._state for f in (pending, finished, failed, cancelled)] == [
        "PENDING",
        "FINISHED",
        "FINISHED",
        "CANCELLED",
    ]
    assert finished._result == 1 and pending._result is None
    assert failed._exception is error and finished._exception is None
    assert cancelled._cancel_message == "why"
    cancelled._cancel_message = "because"
    with pytest.raises(asyncio.CancelledError) as caught:
        cancelled.result()
    assert caught.value.args == ("because",)
    assert failed.exception() is error


def test_callbacks(loop):
    """anyio and debuggers read _callbacks: None, or a list of (callback, context)."""
    future = loop.create_future()
    context = contextvars.Context()
    assert future._callbacks is None
    future.add_done_callback(print, context=context)
    future.add_done_callback(repr)
    assert [callback for callback, _ in future._callbacks] == [print, repr]
    assert future._callbacks[0][1] is context
    assert type(future._callbacks[1][1]) is contextvars.Context
    assert future.remove_done_callback(print) == 1
    future.cancel()
    support.run_once(loop)
    assert future._callbacks is None


def test_callbacks_are_a_copy(loop):
    """From Python 3.14 on whoever changes the list that _callbacks gives changes nothing of the future."""
    future = loop.create_future()
    called = []
    future.add_done_callback(called.append)
    future.add_done_callback(called.append)
    assert future._callbacks == future._callbacks
    if support.PY314:
        future._callbacks.clear()
    future.set_result(None)
    support.run_once(loop)
    assert called == [future, future]


def test_log_traceback_is_only_ever_cleared(loop):
    """asyncio.shield, gather and aiohttp clear _log_traceback; nobody may set it."""
    future = loop.create_future()
    future.set_exception(ValueError())
    assert future._log_traceback is True
    with pytest.raises(ValueError, match="_log_traceback can only be set to False"):
        future._log_traceback = True
    future._log_traceback = False
    assert future._log_traceback is False


def test_source_traceback_can_be_trimmed(loop):
    """base_events.create_task() and others remove their own frames: del future._source_traceback[-1]."""
    assert loop.create_future()._source_traceback is None
    loop.set_debug(True)
    future = loop.create_future()
    length = len(future._source_traceback)
    del future._source_traceback[-1]
    assert len(future._source_traceback) == length - 1 > 0


def test_make_cancelled_error(loop):
    """gather's outer future calls _make_cancelled_error() of its children."""
    future = loop.create_future()
    future.cancel("message")
    error = future._make_cancelled_error()
    assert type(error) is asyncio.CancelledError and error.args == ("message",)
    plain = loop.create_future()
    plain.cancel()
    assert plain._make_cancelled_error().args == ()


def test_blocking_flag(loop):
    """Each task class reads and writes _asyncio_future_blocking of what a coroutine yielded."""
    future = loop.create_future()
    assert future._asyncio_future_blocking is False
    iterator = future.__await__()
    assert next(iterator) is future
    assert future._asyncio_future_blocking is True
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        next(iterator)
    future._asyncio_future_blocking = False
    iterator = future.__await__()
    assert next(iterator) is future
    future.set_result("done")
    with pytest.raises(StopIteration) as caught:
        next(iterator)
    assert caught.value.value == "done"


def test_waiter_and_coroutine_of_a_task(impl, loop):
    """anyio's cancel scopes and wait_all_tasks_blocked() read _fut_waiter, which must be a Future; aiomonitor _coro."""
    future = loop.create_future()

    async def waits(awaitable):
        await awaitable

    tasks = {
        "future": loop.create_task(waits(future)),
        "sleep": loop.create_task(waits(impl.sleep(1000))),
        "gather": loop.create_task(waits(impl.gather(future))) if impl.name != "asyncio" else None,
    }
    tasks = {name: task for name, task in tasks.items() if task is not None}
    for task in tasks.values():
        assert task._fut_waiter is None and task._must_cancel is False
        assert task._coro is task.get_coro()
    support.run_once(loop, 2)
    assert tasks["future"]._fut_waiter is future
    for task in tasks.values():
        assert isinstance(task._fut_waiter, asyncio.Future) and not task._fut_waiter.done()
    future.set_result(None)
    tasks["sleep"].cancel()
    support.run_until_idle(loop)
    for task in tasks.values():
        assert task._fut_waiter is None and task.done()


def test_must_cancel(impl, loop):
    """anyio reads _must_cancel before it delivers a cancellation: true between cancel() and the step."""
    task = loop.create_task(impl.sleep(1000))
    assert task.cancel("first") is True
    assert task._must_cancel is True and task.cancelling() == 1
    support.run_once(loop, 2)
    assert task._must_cancel is False and task.cancelled()
    with pytest.raises(AttributeError):
        task._must_cancel = True


def test_uncancel_forgets_the_cancellation(impl, loop):
    """asyncio.timeout and TaskGroup: uncancel() to 0 takes a pending cancellation back, from Python 3.13 on."""
    task = loop.create_task(nothing())
    task.cancel()
    assert task.uncancel() == 0
    assert task._must_cancel is not support.PY313
    support.run_once(loop, 2)
    assert task.cancelled() is not support.PY313


def test_cancellation_of_a_task_that_ends_at_once(loop):
    """asyncio's rules: a return in the step in which the cancellation is pending makes the task cancelled; a done one stays."""

    async def cancels_itself():
        asyncio.current_task().cancel("self")
        return "result"

    task = loop.create_task(cancels_itself())
    support.run_once(loop)
    assert task.cancelled() and task.cancelling() == 1
    done = loop.create_task(nothing())
    support.run_once(loop)
    assert done.cancel() is False and done.cancelling() == 0 and not done.cancelled()


def test_stack_of_a_task(loop):
    """Debuggers and base_tasks read the frames of what a task waits in, and print them."""

    async def inner():
        await loop.create_future()

    async def outer():
        await inner()

    task = loop.create_task(outer(), name="n")
    support.run_once(loop)
    # A suspended coroutine shows its own frame only.
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
    printed = io.StringIO()
    task.print_stack(file=printed)
    assert printed.getvalue().startswith("Stack for <Task pending name='n'")
    assert "await inner()" in printed.getvalue()


def test_every_cancel_is_delivered(loop):
    """asyncio.timeout, anyio: a second cancel() reaches a task that swallowed the first."""
    caught = []

    async def stubborn():
        for _ in range(3):
            try:
                await loop.create_future()
            except asyncio.CancelledError as error:
                caught.append(error.args)

    task = loop.create_task(stubborn())
    for message in (None, "two", 3):
        support.run_once(loop)
        assert task.cancel(message)
        support.run_once(loop)
    assert caught == [(), ("two",), (3,)]
    assert task.cancelling() == 3


def test_cancel_takes_the_message_in_both_ways(loop):
    """The C task calls fut_waiter.cancel(msg), the Python task fut_waiter.cancel(msg=msg)."""
    by_position, by_name = loop.create_future(), loop.create_future()
    assert by_position.cancel("m") and by_position._cancel_message == "m"
    assert by_name.cancel(msg="k") and by_name._cancel_message == "k"


def test_task_refuses_results(loop):
    """asyncio's own words for set_result() and set_exception() of a task."""
    task = loop.create_task(nothing())
    with pytest.raises(RuntimeError, match="Task does not support set_result operation"):
        task.set_result(1)
    with pytest.raises(RuntimeError, match="Task does not support set_exception operation"):
        task.set_exception(ValueError())
    loop.run_until_complete(task)


def test_log_destroy_pending(impl, loop):
    """gather, run_until_complete and anyio clear _log_destroy_pending of tasks that they give up."""
    task = loop.create_task(nothing())
    assert task._log_destroy_pending is True
    task._log_destroy_pending = False
    assert task._log_destroy_pending is False
    loop.run_until_complete(task)


def test_stop_iteration_as_an_exception(loop):
    """concurrent.futures and generators: refused up to Python 3.12, wrapped into RuntimeError from 3.13 on."""
    future = loop.create_future()
    stop = StopIteration(1)
    if support.PY313:
        future.set_exception(stop)
        assert type(future.exception()) is RuntimeError
        assert future.exception().__cause__ is stop is future.exception().__context__
    else:
        with pytest.raises(TypeError):
            future.set_exception(stop)


def test_result_does_not_lengthen_the_traceback(loop):
    """result() raises with the traceback of when the exception was set, however often it is asked."""
    future = loop.create_future()
    future.set_exception(ValueError())

    def depth():
        try:
            future.result()
        except ValueError as error:
            count, traceback = 0, error.__traceback__
            while traceback is not None:
                count, traceback = count + 1, traceback.tb_next
            return count

    assert depth() == depth() == depth()


def test_subclass_without_init(impl, loop):
    """Subclasses that forget super().__init__() get an exception, not a crash."""

    class Careless(impl.Future):
        def __init__(self):
            pass

    future = Careless()
    for use in (
        lambda: future.get_loop(),
        lambda: future.set_result(1),
        lambda: future.result(),
        lambda: future.exception(),
        lambda: future.add_done_callback(print),
        lambda: future.cancel(),
    ):
        try:
            use()
        except (RuntimeError, asyncio.InvalidStateError):
            pass
    with pytest.raises((RuntimeError, asyncio.InvalidStateError)):
        future.set_result(1)


@pytest.mark.parametrize("name", ["Task", "Future"])
def test_second_init(impl, loop, name):
    """Up to Python 3.14 a second __init__() is let pass; from 3.15 on it is refused."""
    arguments = [nothing()] if name == "Task" else []
    future = getattr(impl, name)(*arguments, loop=loop)
    more = [nothing()] if name == "Task" else []
    if support.PY315:
        with pytest.raises(RuntimeError, match="already initialized"):
            future.__init__(*more, loop=loop)
        for coroutine in more:
            coroutine.close()
    else:
        future.__init__(*more, loop=loop)
    with support.recorded_logs():
        future.cancel()
        support.run_until_idle(loop)
        for coroutine in arguments + more:
            coroutine.close()


@pytest.mark.parametrize("waits", [False, True], ids=["queued", "waits"])
def test_second_init_of_a_task_with_what_is_no_coroutine(impl, loop, waits):
    """It raises, and the task takes the steps that it has before it."""
    future = loop.create_future()

    async def main():
        return await future if waits else "done"

    task = impl.Task(main(), loop=loop, name="first")
    if waits:
        support.run_until_idle(loop)
        loop.call_soon(future.set_result, "done")
    with pytest.raises(RuntimeError if support.PY315 else TypeError):
        task.__init__(2, loop=loop, name="second")
    assert task.get_name() == "first" and task.get_coro().__name__ == "main" and task.get_loop() is loop
    assert loop.run_until_complete(task) == "done"


def test_exit_leaves_the_loop_and_stays_in_the_task(loop):
    """asyncio.run(), uvicorn: SystemExit of a task leaves run_forever(); what is queued stays queued."""
    ran = []

    async def leaves():
        raise SystemExit(3)

    task = loop.create_task(leaves())
    loop.call_soon(ran.append, 1)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert type(task.exception()) is SystemExit and ran == []
    support.run_once(loop)
    assert ran == [1]
