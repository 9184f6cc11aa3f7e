"""What tracers, profilers, mocks and clocks replace for the whole process: methods of asyncio's own classes, and the time."""

import asyncio
import contextlib
import threading
import time
import types
from unittest import mock

import pytest
from unit import support


@contextlib.contextmanager
def replaced(owner, name, make):
    """Put make(what is there) into `owner` for a while, as monkeypatching does."""
    stock = vars(owner)[name]
    setattr(owner, name, make(stock))
    try:
        yield
    finally:
        setattr(owner, name, stock)


def noted(calls):
    """Return what makes a wrapper of a method that notes its name."""

    def make(stock):
        def wrapper(self, *args, **kwargs):
            calls.append(stock.__name__)
            return stock(self, *args, **kwargs)

        return wrapper

    return make


async def nothing():
    pass


async def sleep_a_little(impl):
    await impl.sleep(1e-6)


USES = {
    "create_task": lambda impl, loop: loop.create_task(nothing()),
    "create_future": lambda impl, loop: loop.create_future(),
    "call_later": lambda impl, loop: loop.call_later(0, int),
    "time": lambda impl, loop: loop.time(),
    "get_debug": lambda impl, loop: loop.get_debug(),
    "is_running": lambda impl, loop: loop.is_running(),
    "is_closed": lambda impl, loop: loop.is_closed(),
    "stop": lambda impl, loop: loop.stop(),
    "run_in_executor": lambda impl, loop: loop.run_until_complete(loop.run_in_executor(None, int)),
    "run_forever": lambda impl, loop: support.run_once(loop),
    "run_until_complete": lambda impl, loop: loop.run_until_complete(nothing()),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("when", ["before the loop is made", "after"])
def test_method_replaced(impl, name, when):
    """ddtrace, opentelemetry and many a script wrap methods of BaseEventLoop."""
    calls = []
    with contextlib.ExitStack() as stack:
        if when == "after":
            loop = stack.enter_context(support.closing(impl.new_event_loop()))
        with replaced(asyncio.BaseEventLoop, name, noted(calls)):
            if when != "after":
                loop = stack.enter_context(support.closing(impl.new_event_loop()))
            USES[name](impl, loop)
            assert name in calls
            calls.clear()
        USES[name](impl, loop)
        assert calls == []
        loop.run_until_complete(nothing())


@pytest.mark.parametrize("name", ["create_task", "create_future", "call_later", "time", "is_running"])
def test_method_replaced_while_the_loop_runs(impl, loop, name):
    """A mock within a coroutine sees the next call, and none after its end."""
    calls = []

    async def main():
        for _ in range(3):
            with replaced(asyncio.BaseEventLoop, name, noted(calls)):
                USES[name](impl, loop)
                assert name in calls
                await sleep_a_little(impl)
                calls.clear()
                USES[name](impl, loop)
                assert name in calls
            calls.clear()
            USES[name](impl, loop)
            assert calls == []
            await sleep_a_little(impl)
            assert calls == []

    loop.run_until_complete(main())


def test_what_the_library_calls_itself(impl, loop):
    """A wrapper sees the calls that asyncio makes: tasks by create_task(), the futures and timers of sleep()."""
    calls = []

    async def main():
        await impl.create_task(sleep_a_little(impl))
        await impl.gather(sleep_a_little(impl))

    names = ["create_task", "create_future", "call_later"]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(replaced(asyncio.BaseEventLoop, name, noted(calls)))
        loop.run_until_complete(main())
    assert [name for name in calls if name == "create_task"] == ["create_task"] * 3
    assert calls.count("call_later") == 2
    assert calls.count("create_future") >= 2
    calls.clear()
    loop.run_until_complete(main())
    assert calls == []


def test_mock_patch_object(impl, loop):
    async def main():
        with mock.patch.object(
            asyncio.BaseEventLoop, "call_later", autospec=True, return_value=7
        ) as call_later:
            assert loop.call_later(1, int) == 7
            call_later.assert_called_once_with(loop, 1, int)
        assert loop.call_later(0, int) != 7

    loop.run_until_complete(main())


def test_code_replaced(impl, loop):
    """ddtrace's bytecode wrapping leaves the function where it is, and gives it another code."""
    stock = asyncio.BaseEventLoop.create_task
    copy = types.FunctionType(
        stock.__code__, stock.__globals__, "copy", stock.__defaults__, stock.__closure__
    )
    copy.__kwdefaults__ = stock.__kwdefaults__
    seen = []

    def create_task(self, coro, **kwargs):
        return _copy_of_create_task(self, coro, kwargs)  # noqa: F821

    def forward(self, coro, kwargs):
        seen.append(coro)
        return copy(self, coro, **kwargs)

    code = stock.__code__
    with mock.patch.object(asyncio.base_events, "_copy_of_create_task", forward, create=True):
        stock.__code__ = create_task.__code__
        try:
            coro = nothing()
            loop.run_until_complete(coro)
            assert seen == [coro]
        finally:
            stock.__code__ = code
    loop.run_until_complete(nothing())
    assert len(seen) == 1


def test_a_replaced_method_of_another_base(impl):
    """The next class in the order of inheritance counts as well."""
    calls = []

    def create_task(self, coro, **kwargs):
        calls.append("create_task")
        return asyncio.BaseEventLoop.create_task(self, coro, **kwargs)

    asyncio.SelectorEventLoop.create_task = create_task
    try:
        with support.closing(impl.new_event_loop()) as loop:
            loop.run_until_complete(nothing())
            assert calls == ["create_task"]
    finally:
        del asyncio.SelectorEventLoop.create_task
    calls.clear()
    with support.closing(impl.new_event_loop()) as loop:
        loop.run_until_complete(nothing())
        assert calls == []


def test_an_override_in_a_subclass_comes_first(impl):
    calls = []

    class Loop(impl.Loop):
        def create_task(self, coro, **kwargs):
            calls.append("subclass")
            return super().create_task(coro, **kwargs)

    with replaced(asyncio.BaseEventLoop, "create_task", noted(calls)), support.closing(Loop()) as loop:
        loop.run_until_complete(nothing())
        assert calls == ["subclass", "create_task"]


def test_names_that_the_loop_goes_by(impl, loop):
    """asyncio's loop looks Task and Future up when it makes one."""

    class Task(asyncio.tasks._PyTask):
        pass

    class Future(asyncio.futures._PyFuture):
        pass

    with mock.patch.object(asyncio.tasks, "Task", Task), mock.patch.object(asyncio.futures, "Future", Future):
        task = loop.create_task(nothing())
        assert type(task) is Task
        assert type(loop.create_future()) is Future
        loop.run_until_complete(task)
    assert type(loop.create_future()) is not Future
    task = loop.create_task(nothing())
    assert type(task) is not Task
    loop.run_until_complete(task)


def test_replaced_by_another_thread_while_the_loop_waits(impl, loop):
    calls = []
    undo = contextlib.ExitStack()

    def replace():
        undo.enter_context(replaced(asyncio.BaseEventLoop, "create_future", noted(calls)))
        loop.call_soon_threadsafe(woken.set)

    async def main():
        thread = threading.Thread(target=replace)
        thread.start()
        await woken.wait()
        await sleep_a_little(impl)
        thread.join()

    with undo:
        woken = asyncio.Event()
        loop.run_until_complete(main())
        assert "create_future" in calls


# ---- The time ----


def test_monotonic_replaced(impl, loop):
    """mock.patch("time.monotonic") is seen by loop.time(), and by the timers that are set with it."""
    with mock.patch("time.monotonic", return_value=77.5):
        assert loop.time() == 77.5
        assert loop.call_later(1, int).when() == 78.5
    assert loop.time() == pytest.approx(time.monotonic(), abs=60)


def test_timers_follow_the_replaced_time(impl, loop):
    """What is due is a question of the replaced clock."""
    now = [1000.0]
    order = []

    async def main():
        loop.call_later(100, order.append, 100)
        loop.call_later(50, order.append, 50)
        loop.call_later(1000, order.append, 1000)
        for _ in range(3):
            await asyncio.sleep(0)
        assert order == []
        now[0] += 60
        for _ in range(3):
            await asyncio.sleep(0)
        assert order == [50]
        now[0] += 60
        for _ in range(3):
            await asyncio.sleep(0)
        assert order == [50, 100]

    with mock.patch("time.monotonic", lambda: now[0]):
        loop.run_until_complete(main())


def test_time_replaced_within_a_callback(impl, loop):
    async def main():
        started = loop.time()
        stock = time.monotonic
        fired = []
        loop.call_later(3600, fired.append, 1)
        with mock.patch("time.monotonic", lambda: stock() + 3600):
            assert loop.time() >= started + 3600
            for _ in range(3):
                await asyncio.sleep(0)
            assert fired == [1]
        assert loop.time() < started + 3600
        await sleep_a_little(impl)

    loop.run_until_complete(main())
