"""The order of things within one turn of the loop, which programs see and other loops get wrong."""

import asyncio
import math
import signal
import socket
import time

import pytest
from unit import support


def test_callbacks_then_descriptors_then_timers(loop, pair):
    """uvloop #482 and #517, Semaphore's fairness: what was queued, then I/O, then timers."""
    left, right = pair
    order = []
    right.send(b"x")
    loop.add_reader(left, lambda: (order.append("reader"), left.recv(1)))
    loop.call_at(0, order.append, "timer")
    loop.call_soon(order.append, "first")
    loop.call_soon(order.append, "second")
    support.run_once(loop)
    loop.remove_reader(left)
    assert order == ["first", "second", "reader", "timer"]


def test_stop_finishes_the_batch_only(loop):
    """uvloop #517: what a callback queues after stop() waits for the next run."""
    order = []

    def callback():
        loop.stop()
        loop.call_soon(order.append, "next run")

    loop.call_soon(callback)
    loop.call_soon(order.append, "same batch")
    loop.run_forever()
    assert order == ["same batch"]
    support.run_once(loop)
    assert order == ["same batch", "next run"]


def test_timers_are_never_early(impl, loop):
    """uvloop #233, #739 and #755: time() has reached when() whenever a timer fires."""
    late = []
    for delay in (0, 1e-9, 1e-6, 0.0003, 0.001, 0.0015):
        when = loop.time() + delay
        loop.call_at(when, lambda when=when: late.append(loop.time() - when))
    loop.run_until_complete(impl.sleep(0.002))
    resolution = time.get_clock_info("monotonic").resolution
    assert len(late) == 6 and min(late) >= -resolution


def test_time_is_the_monotonic_clock_and_live(loop):
    """uvloop #29 and #359: time() is not what it was when the turn began, and not in milliseconds."""
    before = time.monotonic()
    times = [loop.time() for _ in range(1000)]
    after = time.monotonic()
    assert before <= times[0] and times[-1] <= after and times == sorted(times)
    assert len(set(times)) > 1


@pytest.mark.parametrize("delay", [1e9, 1e18, 1e300, math.inf])
def test_far_timers(loop, delay):
    """uvloop #259: no delay is too long; such a timer is just never due."""
    ran = []
    handle = loop.call_later(delay, ran.append, 1)
    support.run_once(loop, 3)
    assert ran == [] and isinstance(handle.when(), float)
    handle.cancel()


def test_none_is_no_time(loop):
    """asyncio's words."""
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(None, print)
    with pytest.raises(TypeError):
        loop.call_later(None, print)


def test_exit_exceptions_leave_the_loop(loop):
    """aiohttp's GracefulExit is a SystemExit raised by a signal handler's callback."""

    class GracefulExit(SystemExit):
        pass

    def leave():
        raise GracefulExit

    loop.call_soon(leave)
    with pytest.raises(GracefulExit):
        loop.run_forever()
    assert not loop.is_running() and asyncio._get_running_loop() is None
    support.run_once(loop)


def test_exception_of_a_signal_handler_leaves_the_loop(loop):
    """uvloop #94, #295 and #296: what a Python signal handler raises in the middle of a poll comes out of run_forever()."""

    class Interrupted(Exception):
        pass

    def handler(number, frame):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            loop.run_forever()
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert not loop.is_running()
    support.run_once(loop)


def test_wakeup_fd_is_there_only_with_signal_handlers(loop):
    """uvloop owns a wake-up descriptor always; asyncio takes it for add_signal_handler(), and gives it back."""
    assert signal.set_wakeup_fd(-1) == -1
    seen = []

    def on_signal():
        seen.append(asyncio.current_task())
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, on_signal)
    descriptor = signal.set_wakeup_fd(-1)
    assert descriptor >= 0
    signal.set_wakeup_fd(descriptor)
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    loop.run_forever()
    assert seen == [None]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_signal_handlers_that_are_refused(loop):
    """asyncio's words: coroutines, uncatchable signals, and numbers that are none."""

    async def coroutine():
        pass

    with pytest.raises(TypeError, match="coroutines cannot be used with add_signal_handler"):
        loop.add_signal_handler(signal.SIGUSR1, coroutine)
    with pytest.raises(RuntimeError, match="sig .*9.* cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(ValueError):
        loop.add_signal_handler(10000, print)
    assert signal.set_wakeup_fd(-1) == -1


def test_interrupted_main_task(impl):
    """asyncio.Runner: Ctrl-C cancels the main task, and then is KeyboardInterrupt."""
    seen = []

    async def main():
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(main())
    assert seen == ["cancelled"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_wakeup_fd_of_the_user_is_left_alone(impl):
    """Who has a wake-up descriptor of their own (trio, IPython, tornado) keeps it, unless the loop handles signals itself."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        signal.set_wakeup_fd(left.fileno())
        try:
            with support.closing(impl.new_event_loop()) as loop:
                loop.run_until_complete(impl.sleep(0))
            loop.close()
        finally:
            assert signal.set_wakeup_fd(-1) == left.fileno()


def test_signal_handlers_in_the_main_thread_only(loop):
    """asyncio's RuntimeError; and SIGINT gets its default handler back, by which Ctrl-C works again."""
    error = support.raised_in_thread(loop.add_signal_handler, signal.SIGUSR1, print)
    assert isinstance(error, RuntimeError) and "main thread" in str(error)
    loop.add_signal_handler(signal.SIGINT, print)
    assert loop.remove_signal_handler(signal.SIGINT) is True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_stopped_before_its_future_is_done(loop):
    """asyncio's words, by which uvicorn and aiohttp tell a stop from an end."""
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="^Event loop stopped before Future completed.$"):
        loop.run_until_complete(future)
    assert future._callbacks is None and not future.done()


def test_stop_before_the_loop_runs(loop, pair):
    """The documentation of stop(): one turn, with a poll that does not wait."""
    left, right = pair
    seen = []
    right.send(b"x")
    loop.add_reader(left, lambda: seen.append(left.recv(1)))
    loop.stop()
    loop.run_forever()
    assert seen == [b"x"] and not loop.is_running()
    loop.remove_reader(left)
