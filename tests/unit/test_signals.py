"""Unix signals: add_signal_handler, remove_signal_handler, Python's own handlers, Ctrl-C."""

import asyncio
import os
import signal
import threading

import pytest

from . import marks, support


@pytest.fixture(autouse=True)
def signals_restored():
    """Whatever a test leaves installed, the next one starts as Python does."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1


def kill_self(number):
    os.kill(os.getpid(), number)


def send_soon(loop, number, asleep=True):
    """Let another thread send the signal to the main thread once the loop sleeps, or runs.

    A moment before it sleeps the signal would be lost where Python's handler is all that there is: nothing would end the poll.
    """
    main_thread, native_id = threading.main_thread().ident, threading.get_native_id()

    def send():
        if asleep:
            support.wait_until_asleep(native_id)
        signal.pthread_kill(main_thread, number)

    loop.call_soon(threading.Thread(target=send).start)


def test_handler_is_called_in_the_loop(loop):
    seen = []

    def handler(*args):
        seen.append((args, asyncio.get_running_loop() is loop))
        loop.stop()

    assert loop.add_signal_handler(signal.SIGUSR1, handler, 1, 2) is None
    loop.call_soon(kill_self, signal.SIGUSR1)
    loop.run_forever()
    assert seen == [((1, 2), True)]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_signal_wakes_a_sleeping_loop(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    send_soon(loop, signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_signal_sent_by_another_thread(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = threading.Thread(target=kill_self, args=(signal.SIGUSR1,))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_several_signals(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    loop.add_signal_handler(signal.SIGUSR2, lambda: (seen.append(2), loop.stop()))

    def send():
        kill_self(signal.SIGUSR1)
        kill_self(signal.SIGUSR2)

    loop.call_soon(send)
    loop.run_forever()
    assert seen == [1, 2]
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGUSR2)


def test_adding_again_replaces(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "old")
    loop.add_signal_handler(signal.SIGUSR1, lambda: (seen.append("new"), loop.stop()))
    loop.call_soon(kill_self, signal.SIGUSR1)
    loop.run_forever()
    assert seen == ["new"]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_removal_restores_the_default_action(loop):
    loop.add_signal_handler(signal.SIGUSR1, int)
    assert signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, None)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    loop.add_signal_handler(signal.SIGINT, int)
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_removing_what_is_not_there(loop):
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_close_removes_handlers(impl):
    loop = impl.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, int)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_wakeup_fd_is_taken_only_while_handlers_exist(loop):
    """Another library's wake-up descriptor must not be clobbered by a loop without signal handlers."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        signal.set_wakeup_fd(write_end)
        support.run_once(loop, 2)
        assert signal.set_wakeup_fd(-1) == write_end
    finally:
        os.close(read_end)
        os.close(write_end)
    loop.add_signal_handler(signal.SIGUSR1, int)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(
    "bad, error", [("1", TypeError), (1.5, TypeError), (-1, ValueError), (10**6, ValueError)]
)
def test_invalid_signal_numbers(loop, bad, error):
    with pytest.raises(error):
        loop.add_signal_handler(bad, int)
    with pytest.raises(error):
        loop.remove_signal_handler(bad)


def test_uncatchable_signal(loop):
    with pytest.raises(RuntimeError, match=rf"sig {int(signal.SIGKILL)} cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, int)
    assert signal.set_wakeup_fd(-1) == -1


def test_coroutines_are_refused(loop):
    async def coro():
        pass

    c = coro()
    for bad in (c, coro):
        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, bad)
    c.close()


def test_only_in_the_main_thread(loop):
    error = support.raised_in_thread(loop.add_signal_handler, signal.SIGUSR1, int)
    assert isinstance(error, RuntimeError) and "main thread" in str(error)


def test_exception_of_a_python_signal_handler_leaves_the_loop(loop):
    """The loop is asleep in its poll when the signal comes; what the handler raises must come out of run_forever."""

    class FromHandler(SystemExit):
        pass

    def handler(signum, frame):
        raise FromHandler

    signal.signal(signal.SIGUSR1, handler)
    loop.call_later(3600, int)
    send_soon(loop, signal.SIGUSR1)
    with pytest.raises(FromHandler):
        loop.run_forever()
    assert not loop.is_running()
    support.run_once(loop)


def test_python_signal_handler_that_raises_nothing_does_not_end_the_poll(loop):
    seen = []
    signal.signal(signal.SIGUSR1, lambda *args: (seen.append(1), loop.call_soon_threadsafe(loop.stop)))
    send_soon(loop, signal.SIGUSR1)
    loop.run_forever()
    assert seen == [1]


def test_python_signal_handler_runs_while_the_loop_is_busy(loop):
    """A loop that never sleeps must still give Python's handlers their turn."""
    signal.signal(signal.SIGUSR1, lambda *args: loop.stop())

    def busy():
        loop.call_soon(busy)

    loop.call_soon(busy)
    send_soon(loop, signal.SIGUSR1, asleep=False)
    loop.run_forever()


def test_ctrl_c_on_a_bare_loop(loop):
    loop.call_soon(signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


@pytest.mark.parametrize("asleep", [False, True])
def test_ctrl_c_cancels_the_main_task_first(impl, asleep):
    order = []

    async def main():
        loop = asyncio.get_running_loop()
        try:
            if asleep:
                send_soon(loop, signal.SIGINT)
            else:
                loop.call_soon(signal.raise_signal, signal.SIGINT)
            await impl.sleep(3600)
        except asyncio.CancelledError:
            order.append("cancelled")
            await impl.sleep(0)
            order.append("cleaned up")
            raise

    with pytest.raises(KeyboardInterrupt):
        impl.run(main())
    assert order == ["cancelled", "cleaned up"]


def test_ctrl_c_that_the_main_task_swallows(impl):
    async def main():
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await impl.sleep(3600)
        except asyncio.CancelledError:
            return "swallowed"

    assert impl.run(main()) == "swallowed"


def test_second_ctrl_c_is_immediate(impl):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(signal.raise_signal, signal.SIGINT)
        while True:
            try:
                await impl.sleep(3600)
            except asyncio.CancelledError:
                loop.call_soon(signal.raise_signal, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        impl.run(main())


def test_ctrl_c_handler_of_the_user_is_left_alone(impl):
    seen = []
    signal.signal(signal.SIGINT, lambda *args: seen.append("user"))

    async def main():
        signal.raise_signal(signal.SIGINT)
        await impl.sleep(0)
        return "not interrupted"

    assert impl.run(main()) == "not interrupted"
    assert seen == ["user"]


def test_ctrl_c_in_a_busy_task(impl):
    """Tasks that never sleep: the first Ctrl-C must still reach the main task."""
    seen = []

    async def spin():
        while True:
            await impl.sleep(0)

    async def main():
        tasks = [impl.create_task(spin()) for _ in range(3)]
        asyncio.get_running_loop().call_later(0, signal.raise_signal, signal.SIGINT)
        try:
            await impl.gather(*tasks)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        impl.run(main())
    assert seen == ["cancelled"]


@marks.needs_system_calls_of_threads
def test_ctrl_c_in_a_loop_that_sleeps_loses_nothing(loop, impl):
    """A bare loop: KeyboardInterrupt leaves it, and those who wait go on waiting."""
    main_thread, native_id = threading.get_ident(), threading.get_native_id()
    woken = loop.create_future()

    async def waits():
        return await woken

    task = loop.create_task(waits())

    def strike():
        support.wait_until_asleep(native_id)
        loop.call_soon_threadsafe(woken.set_result, "woken")
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=strike)
    loop.call_soon(loop.call_soon, thread.start)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()
    assert not loop.is_running()
    assert loop.run_until_complete(task) == "woken"


def test_ctrl_c_between_sleep_and_await_does_not_warn(native):
    """Where sleep() is Python's Ctrl-C cannot strike there; in C it can, as the function returns.

    Here it strikes a moment later, while the interpreter holds the coroutine as it does then.
    """

    async def main():
        await (native.sleep(0), signal.default_int_handler(signal.SIGINT, None))[0]

    with support.closing(native.new_event_loop()) as loop, support.recorded_warnings() as warned:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(main())
    assert warned == []


def test_sleep_that_is_forgotten_for_another_reason_warns(impl):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await impl.wait([impl.sleep(0), 1 / 0])

    with support.recorded_warnings() as warned:
        impl.run(main())
    assert warned == [("RuntimeWarning", "coroutine 'sleep' was never awaited")]
