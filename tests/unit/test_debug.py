"""Debug mode: checks of threads and callbacks, slow callbacks, source tracebacks, origin tracking."""

import asyncio
import gc
import sys
import threading
import types

import pytest

from . import support


@pytest.fixture
def debug_loop(loop):
    loop.set_debug(True)
    return loop


def test_get_and_set_debug(loop):
    assert loop.get_debug() is False
    assert loop.set_debug(True) is None
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


def test_thread_check(debug_loop):
    loop = debug_loop
    errors = []

    def other_thread():
        for call in (
            lambda: loop.call_soon(int),
            lambda: loop.call_later(1, int),
            lambda: loop.call_at(1, int),
            lambda: loop.call_soon_threadsafe(loop.stop),
        ):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))

    thread = threading.Thread(target=other_thread)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    text = "Non-thread-safe operation invoked on an event loop other than the current one"
    assert errors == [text] * 3


def test_no_thread_check_without_debug(loop):
    errors = []

    def other_thread():
        try:
            loop.call_soon(int)
        except RuntimeError as exc:
            errors.append(exc)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=other_thread)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert errors == []


def test_no_thread_check_while_the_loop_is_stopped(debug_loop):
    assert support.raised_in_thread(debug_loop.call_soon, int) is None


@pytest.mark.parametrize(
    "method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at", "run_in_executor"]
)
@pytest.mark.parametrize("kind", ["coroutine", "function", "none", "number"])
def test_callback_check(ours, stock, method, kind):
    """The text of the TypeError is stock's."""

    async def coro():
        pass

    def outcome(impl):
        with support.closing(impl.new_event_loop()) as loop:
            loop.set_debug(True)
            callback = {"coroutine": coro(), "function": coro, "none": None, "number": 1}[kind]
            before = {"call_later": (1,), "call_at": (1,), "run_in_executor": (None,)}.get(method, ())
            try:
                getattr(loop, method)(*before, callback)
            except TypeError as exc:
                return support.described(exc)
            finally:
                if kind == "coroutine":
                    callback.close()

    assert outcome(stock) is not None
    assert outcome(ours) == outcome(stock)


def test_source_tracebacks(debug_loop, impl):
    loop = debug_loop

    async def coro():
        pass

    task = loop.create_task(coro())
    made = {
        "handle": loop.call_soon(int),
        "timer at": loop.call_at(10**9, int),
        "timer later": loop.call_later(10**6, int),
        "threadsafe": loop.call_soon_threadsafe(int),
        "future": loop.create_future(),
        "named future": impl.Future(loop=loop),
        "task": task,
    }
    for what, thing in made.items():
        # Stock create_future is Python and leaves a frame of its own at the end.
        names = [frame.name for frame in thing._source_traceback[-2:]]
        assert "test_source_tracebacks" in names, what
    loop.run_until_complete(task)


def test_no_source_tracebacks_without_debug(loop):
    assert loop.call_soon(int)._source_traceback is None
    assert loop.create_future()._source_traceback is None


def test_source_traceback_is_reported(debug_loop):
    contexts = []
    debug_loop.set_exception_handler(lambda loop, context: contexts.append(context))
    debug_loop.call_soon(divmod, 1, 0)
    support.run_once(debug_loop)
    assert contexts[0]["source_traceback"][-1].name == "test_source_traceback_is_reported"


def slow_callback_message(impl, schedule):
    """Run one callback on a loop whose threshold every callback exceeds, and return what was logged."""
    loop = impl.new_event_loop()
    with support.closing(loop):
        loop.set_debug(True)
        with support.recorded_logs() as logs:
            loop.slow_callback_duration = 0.0
            schedule(loop)
            support.run_once(loop, 3)
            loop.slow_callback_duration = 3600.0
    return [support.masked(message) for level, message, _ in logs if message.startswith("Executing ")]


def plain_callback(*args):
    pass


async def plain_coroutine():
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda loop: loop.call_soon(plain_callback),
        lambda loop: loop.call_soon(plain_callback, 1, "two"),
        lambda loop: loop.call_later(0, plain_callback),
        lambda loop: loop.create_task(plain_coroutine(), name="named"),
    ],
    ids=["callback", "arguments", "timer", "task"],
)
def test_slow_callback_text(ours, stock, schedule):
    expected = slow_callback_message(stock, schedule)
    assert expected
    assert slow_callback_message(ours, schedule) == expected


def test_slow_callback_text_of_a_derived_task(ours, stock):
    def message(impl):
        class Derived(impl.Task):
            pass

        return slow_callback_message(impl, lambda loop: Derived(plain_coroutine(), loop=loop, name="named"))

    assert "Derived" in message(stock)[0]
    assert message(ours) == message(stock)


def test_slow_callback_text_of_a_task_in_python(ours, stock):
    """asyncio's text is that of the handle: its function looks for tasks in C."""

    def schedule(loop):
        asyncio.tasks._PyTask(plain_coroutine(), loop=loop, name="named")

    expected = slow_callback_message(stock, schedule)
    assert "Handle" in expected[0]
    assert slow_callback_message(ours, schedule) == expected


def test_slow_callback_threshold(debug_loop):
    assert debug_loop.slow_callback_duration == 0.1
    with support.recorded_logs() as logs:
        debug_loop.slow_callback_duration = 3600
        debug_loop.call_soon(int)
        support.run_once(debug_loop)
    assert not [message for _, message, _ in logs if "Executing" in message]


def test_cancelled_callback_is_not_measured(ours, stock):
    def schedule(loop):
        loop.call_soon(plain_callback).cancel()
        loop.call_soon(plain_callback, 1)

    expected = slow_callback_message(stock, schedule)
    assert len(expected) == 1
    assert slow_callback_message(ours, schedule) == expected


def test_slow_callbacks_are_not_measured_without_debug(loop):
    loop.slow_callback_duration = 0.0
    with support.recorded_logs() as logs:
        loop.call_soon(int)
        support.run_once(loop)
    assert logs == []


def test_coroutine_origin_tracking(debug_loop):
    before = sys.get_coroutine_origin_tracking_depth()
    depths = []

    def inside():
        depths.append(sys.get_coroutine_origin_tracking_depth())
        debug_loop.set_debug(False)
        depths.append(sys.get_coroutine_origin_tracking_depth())
        debug_loop.set_debug(True)
        depths.append(sys.get_coroutine_origin_tracking_depth())

    debug_loop.call_soon(inside)
    # set_debug schedules the change on a running loop, so look again later.
    debug_loop.call_soon(lambda: depths.append(sys.get_coroutine_origin_tracking_depth()))
    support.run_once(debug_loop, 3)
    assert depths[0] == 10
    assert depths[-1] in (0, 10)
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_origin_tracking_follows_set_debug_as_stock_does(ours, stock):
    def depths(impl):
        seen = []

        def note():
            seen.append(sys.get_coroutine_origin_tracking_depth())

        with support.closing(impl.new_event_loop()) as loop:
            loop.call_soon(note)
            loop.call_soon(loop.set_debug, True)
            loop.call_soon(note)
            support.run_once(loop)
            note()
            loop.call_soon(note)
            loop.call_soon(loop.set_debug, False)
            support.run_once(loop)
            note()
            loop.call_soon(note)
            support.run_once(loop, 2)
        return seen

    assert depths(ours) == depths(stock)


def test_debug_repr(debug_loop):
    assert repr(debug_loop).endswith(" running=False closed=False debug=True>")


def test_cancelled_handle_keeps_its_repr_in_debug_mode(debug_loop):
    handle = debug_loop.call_soon(plain_callback, 1)
    handle.cancel()
    assert "plain_callback" in repr(handle)
    assert "cancelled" in repr(handle)


@pytest.mark.parametrize("name", ["sleep", "wait"])
def test_a_closed_loop_in_debug_mode_turns_nothing_off(native, name):
    """In debug mode sleep() and wait() are asyncio's coroutines: as long as the loop is open, not as long as it lives."""

    def is_native():
        coroutine = native.sleep(0) if name == "sleep" else native.wait([future])
        coroutine.close()
        return type(coroutine) is not types.CoroutineType

    gc.collect()
    with support.closing(native.new_event_loop()) as other:
        future = other.create_future()
        assert is_native()
        loop = native.new_event_loop()
        loop.set_debug(True)
        loop.set_debug(True)
        assert not is_native()
        loop.close()
        assert is_native()
        loop.set_debug(False)
        loop.set_debug(True)
        assert is_native()


def test_environment_variable(impl, monkeypatch):
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with support.closing(impl.new_event_loop()) as loop:
        assert loop.get_debug() is True


def test_run_debug(impl):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert impl.run(main(), debug=True) is True
    assert impl.run(main(), debug=False) is False


def test_tasks_and_timers_work_in_debug_mode(debug_loop, impl):
    async def child(n):
        await impl.sleep(0)
        await impl.sleep(0.0001)
        return n

    async def main():
        results = await impl.gather(*(child(n) for n in range(5)))
        done, pending = await impl.wait([impl.create_task(child(n)) for n in range(5)])
        return results, len(done), len(pending)

    assert debug_loop.run_until_complete(main()) == ([0, 1, 2, 3, 4], 5, 0)
