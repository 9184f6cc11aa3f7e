"""Handles: their classes, and the attributes that tools read."""

import asyncio
import contextvars
import threading

import pytest
from unit import support


def function(*args):
    pass


def test_classes(loop):
    """Tools ask isinstance(handle, asyncio.Handle); call_later(0) returns a TimerHandle with a when()."""
    handles = loop.call_soon(function), loop.call_later(0, function), loop.call_at(loop.time(), function)
    assert all(isinstance(handle, asyncio.Handle) for handle in handles)
    assert [isinstance(handle, asyncio.TimerHandle) for handle in handles] == [False, True, True]
    assert isinstance(handles[1].when(), float)
    assert isinstance(loop.call_soon_threadsafe(function), asyncio.Handle)


def test_attributes(loop):
    """aiodebug, Ray's dashboard, ddtrace and base_events._format_handle read the private attributes of handles."""
    context = contextvars.copy_context()
    handle = loop.call_soon(function, 1, 2, context=context)
    assert handle._callback is function and tuple(handle._args) == (1, 2)
    assert handle._context is context and handle._loop is loop
    assert handle._cancelled is False is handle.cancelled() and handle._source_traceback is None
    timer = loop.call_at(12.5, function)
    assert timer._when == 12.5 == timer.when() and isinstance(timer._scheduled, bool)
    handle.cancel()
    timer.cancel()
    assert handle._cancelled is True is timer._cancelled
    assert handle._callback is None and handle._args is None


def test_cancelled_timer_stays_scheduled_until_a_turn(virtual):
    """`_scheduled` tells whether the timer is in the loop's heap, which a cancelled one leaves when a turn finds it first."""
    loop, _ = virtual
    first, second = loop.call_later(100, int), loop.call_later(200, int)
    assert first._scheduled is True
    second.cancel()
    support.run_once(loop)
    assert second._scheduled is True
    first.cancel()
    first.cancel()
    assert (first._scheduled, second._scheduled) == (True, True)
    support.run_once(loop)
    assert (first._scheduled, second._scheduled) == (False, False)
    third = loop.call_later(1, int)
    support.run_once(loop, 3)
    assert third._scheduled is False
    third.cancel()
    assert third._scheduled is False


def test_scheduled_that_is_set_while_it_is_true(virtual):
    """asyncio's call_at() does so, and the turn sets it back."""
    loop, _ = virtual
    timer = loop.call_later(1, int)
    timer._scheduled = True
    support.run_once(loop, 3)
    assert timer._scheduled is False
    timer._scheduled = True
    assert timer._scheduled is True


def test_run(loop):
    """Tests and debuggers call handle._run()."""
    ran = []
    handle = loop.call_soon(ran.append, 1)
    handle._run()
    assert ran == [1]
    handle.cancel()
    support.run_once(loop)
    assert ran == [1]


def test_subclass_of_a_stock_handle_in_a_loop(loop):
    """selector_events queues handles of its own kind by _add_callback()."""
    ran = []
    handle = asyncio.Handle(ran.append, (1,), loop)
    loop._add_callback(handle)
    support.run_once(loop)
    assert ran == [1]


def test_timers_compare_and_hash(loop):
    """heapq and sets of TimerHandles: ordered by time, equal by content."""
    early, late = loop.call_at(10.0, function), loop.call_at(20.0, function)
    assert early < late and late > early and early <= late and late >= early and early != late
    assert sorted([late, early]) == [early, late]
    assert hash(early) == hash(10.0)
    early.cancel()
    late.cancel()


def test_repr(loop):
    """People and log filters read them."""
    handle = loop.call_soon(function, 1)
    assert "function" in repr(handle) and repr(handle).startswith("<Handle ")
    timer = loop.call_at(1.5, function)
    assert repr(timer).startswith("<TimerHandle when=1.5 ")
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"
    timer.cancel()


@pytest.mark.parametrize("debug", [False, True])
def test_arguments_in_reports(loop, debug):
    """Arguments may be secrets, or megabytes: from Python 3.13 on they are in reports in debug mode only."""
    loop.set_debug(debug)
    messages = []
    loop.set_exception_handler(lambda loop, context: messages.append((context["message"], context["handle"])))
    loop.call_soon(divmod, 123456, 0)
    support.run_once(loop)
    ((message, handle),) = messages
    shown = debug or not support.PY313
    assert ("123456" in message) == ("123456" in repr(handle)) == shown
    loop.set_debug(False)


@pytest.mark.skipif(not support.PY314, reason="such handles are new in Python 3.14")
def test_cancel_waits_for_the_callback_in_another_thread(loop):
    """asyncio's _ThreadSafeHandle: after cancel() in another thread the callback neither runs nor begins to."""
    order = []
    handles = []
    cancelling = threading.Event()

    def cancel():
        cancelling.set()
        handles[0].cancel()
        order.append("cancelled")

    def callback():
        thread.start()
        cancelling.wait()
        # The other thread has all the time that it wants to go past cancel(), and must not.
        thread.join(0.05)
        order.append("callback ends")

    thread = threading.Thread(target=cancel)
    handles.append(loop.call_soon_threadsafe(callback))
    assert isinstance(handles[0], asyncio.Handle)
    support.run_once(loop)
    thread.join()
    assert order == ["callback ends", "cancelled"]


def test_source_traceback_in_debug_mode(loop):
    """The exception handler's source_traceback ends where the callback was scheduled."""
    loop.set_debug(True)
    handle = loop.call_soon(function)
    assert handle._source_traceback[-1].name == "test_source_traceback_in_debug_mode"
    timer = loop.call_later(1000, function)
    assert timer._source_traceback[-1].name == "test_source_traceback_in_debug_mode"
    timer.cancel()


def test_exception_handler_runs_in_the_context_of_the_handle(loop):
    """sentry-sdk finds its scope in a context variable: from Python 3.12 on it is that of the handle."""
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(variable.get()))
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    loop.call_soon(divmod, 1, 0, context=context)
    support.run_once(loop)
    assert seen == ["inside" if support.PY312 else "outside"]
