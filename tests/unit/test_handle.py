"""Handle and TimerHandle."""

import asyncio
import contextvars
import weakref

import pytest

from . import support


def test_call_soon_returns_a_handle(loop):
    handle = loop.call_soon(int)
    assert isinstance(handle, asyncio.Handle)
    assert not isinstance(handle, asyncio.TimerHandle)
    assert handle.cancelled() is False


@pytest.mark.parametrize("delay", [0, -5, 0.0, 3600])
def test_call_later_returns_a_timer_handle(loop, delay):
    handle = loop.call_later(delay, int)
    assert isinstance(handle, asyncio.TimerHandle)
    assert isinstance(handle, asyncio.Handle)
    assert isinstance(handle.when(), float)


def test_call_at_keeps_when(loop):
    when = loop.time() + 100.5
    assert loop.call_at(when, int).when() == when


def test_when_may_be_an_integer(loop):
    handle = loop.call_at(10**6, int)
    assert (handle.when(), type(handle.when())) == (10**6, int)


def test_cancelled_handle_does_not_run(loop):
    called = []
    handle = loop.call_soon(called.append, 1)
    handle.cancel()
    assert handle.cancelled() is True
    support.run_once(loop)
    assert called == []


def test_cancel_is_idempotent_and_returns_none(loop):
    for handle in (loop.call_soon(int), loop.call_later(100, int)):
        assert handle.cancel() is None
        assert handle.cancel() is None
        assert handle.cancelled()


def test_cancel_after_run_is_harmless(loop):
    handle = loop.call_soon(int)
    timer = loop.call_later(0, int)
    support.run_once(loop, 3)
    handle.cancel()
    timer.cancel()
    support.run_once(loop)


def test_cancel_drops_callback_and_arguments(loop):
    class Payload:
        def __call__(self, other):
            raise AssertionError("a cancelled callback ran")

    for schedule in (loop.call_soon, lambda *a: loop.call_later(1000, *a)):
        callback, argument = Payload(), Payload()
        refs = weakref.ref(callback), weakref.ref(argument)
        handle = schedule(callback, argument)
        del callback, argument
        handle.cancel()
        assert [ref() for ref in refs] == [None, None]


def test_run_handle_drops_callback_and_arguments_once_released(loop):
    class Payload:
        def __call__(self):
            pass

    payload = Payload()
    ref = weakref.ref(payload)
    loop.call_soon(payload)
    del payload
    support.run_once(loop)
    assert ref() is None


def test_cancel_of_one_ready_handle_by_another(loop):
    called = []
    loop.call_soon(lambda: second.cancel())
    second = loop.call_soon(called.append, "second")
    loop.call_soon(called.append, "third")
    support.run_once(loop)
    assert called == ["third"]


def test_cancel_of_a_due_timer_by_a_ready_callback(virtual):
    loop, clock = virtual
    called = []
    timer = loop.call_later(1, called.append, "timer")
    clock.now += 1
    loop.call_soon(timer.cancel)
    support.run_once(loop, 3)
    assert called == []


def test_handle_may_cancel_itself_while_it_runs(loop):
    seen = []

    def callback():
        handle.cancel()
        seen.append(handle.cancelled())

    handle = loop.call_soon(callback)
    support.run_once(loop)
    assert seen == [True]


def test_handle_is_weakly_referenceable(loop):
    handle = loop.call_soon(int)
    timer = loop.call_later(1000, int)
    assert weakref.ref(handle)() is handle
    assert weakref.ref(timer)() is timer


def test_recycled_handles_do_not_alias(loop):
    """Handles may come from a freelist: one that a user still holds must not be reused."""
    kept = [loop.call_soon(int) for _ in range(100)]
    support.run_once(loop)
    fresh = [loop.call_soon(int) for _ in range(100)]
    assert not {id(h) for h in kept} & {id(h) for h in fresh}
    for handle in kept:
        handle.cancel()
    assert not any(handle.cancelled() for handle in fresh)


@pytest.mark.skipif(not support.PY312, reason="Handle.get_context is new in 3.12")
def test_get_context(loop):
    context = contextvars.copy_context()
    assert loop.call_soon(int, context=context).get_context() is context
    assert loop.call_later(5, int, context=context).get_context() is context
    assert isinstance(loop.call_soon(int).get_context(), contextvars.Context)


def test_callback_runs_in_the_context_of_scheduling(loop):
    var = contextvars.ContextVar("var", default="default")
    seen = []
    var.set("scheduled")
    loop.call_soon(lambda: seen.append(var.get()))
    loop.call_later(0, lambda: seen.append(var.get()))
    loop.call_soon_threadsafe(lambda: seen.append(var.get()))
    var.set("later")
    support.run_once(loop, 3)
    assert seen == ["scheduled"] * 3


def test_explicit_context(loop):
    var = contextvars.ContextVar("var", default="default")
    context = contextvars.copy_context()
    context.run(var.set, "explicit")
    seen = []
    loop.call_soon(lambda: seen.append(var.get()), context=context)
    loop.call_soon(lambda: var.set("written"), context=context)
    support.run_once(loop)
    assert seen == ["explicit"]
    assert context[var] == "written"
    assert var.get() == "default"


def test_callbacks_without_context_share_the_current_one(loop):
    """A copy is taken per call: what one callback sets, the next does not see."""
    var = contextvars.ContextVar("var", default=0)
    seen = []

    def callback():
        seen.append(var.get())
        var.set(1)

    loop.call_soon(callback)
    loop.call_soon(callback)
    support.run_once(loop)
    assert seen == [0, 0]


def test_timer_handles_compare_by_when(loop):
    def callback(*args):
        pass

    first = loop.call_at(1e6, callback)
    same = loop.call_at(1e6, callback)
    second = loop.call_at(2e6, callback)
    assert first < second and first <= second and second > first and second >= first
    assert first <= same and first >= same and not first < same
    assert first == same and hash(first) == hash(same)
    assert first != second
    assert not first == 1
    with pytest.raises(TypeError):
        first < 1


def test_cancelled_timer_differs_from_a_live_one(loop):
    def callback():
        pass

    live, cancelled = loop.call_at(1e6, callback), loop.call_at(1e6, callback)
    cancelled.cancel()
    assert live != cancelled


def test_timer_hash_is_that_of_when(loop):
    timer = loop.call_at(12345.5, int)
    assert hash(timer) == hash(12345.5)


def test_attributes_tools_read(loop):
    def callback(*args):
        pass

    handle = loop.call_soon(callback, 1, 2)
    assert handle._callback is callback
    assert handle._args == (1, 2)
    assert handle._cancelled is False
    assert handle._loop is loop
    assert handle._source_traceback is None
    assert isinstance(handle._context, contextvars.Context)
    handle.cancel()
    assert handle._callback is None
    assert handle._args is None
    assert handle._cancelled is True
    timer = loop.call_at(5e6, callback)
    assert timer._when == 5e6
    assert timer._scheduled is True


def test_timer_is_not_scheduled_any_more_after_it_ran(loop):
    timer = loop.call_later(0, int)
    assert timer._scheduled is True
    support.run_once(loop, 2)
    assert timer._scheduled is False


def test_running_a_handle_by_hand(loop):
    called = []
    handle = loop.call_soon(called.append, 1)
    handle._run()
    assert called == [1]


def test_callback_exception_goes_to_the_exception_handler(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    def callback():
        1 / 0

    handle = loop.call_soon(callback)
    after = []
    loop.call_soon(after.append, True)
    support.run_once(loop)
    assert after == [True]
    [context] = contexts
    assert context["handle"] is handle
    assert isinstance(context["exception"], ZeroDivisionError)
    assert context["message"].startswith("Exception in callback ")
    assert "callback" in context["message"]


@pytest.mark.parametrize("exc_type", [KeyboardInterrupt, SystemExit])
def test_exit_exceptions_leave_the_loop(loop, exc_type):
    order = []

    def callback():
        raise exc_type("out")

    loop.call_soon(order.append, 1)
    loop.call_soon(callback)
    loop.call_soon(order.append, 2)
    with pytest.raises(exc_type, match="out"):
        loop.run_forever()
    assert order == [1]
    assert not loop.is_running()
    # What was queued behind is kept for the next run.
    support.run_once(loop)
    assert order == [1, 2]


def test_base_exception_stays_in_the_loop(loop):
    class Odd(BaseException):
        pass

    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    def callback():
        raise Odd

    loop.call_soon(callback)
    support.run_once(loop)
    assert isinstance(contexts[0]["exception"], Odd)


@pytest.mark.parametrize("make", [asyncio.Handle, None])
def test_stock_handles_can_be_made_for_our_loop(loop, make):
    called = []
    if make is None:
        handle = asyncio.TimerHandle(loop.time() + 1, called.append, (1,), loop)
    else:
        handle = make(called.append, (1,), loop)
    handle._run()
    assert called == [1]
    handle.cancel()
    assert handle.cancelled()
