"""Threads: call_soon_threadsafe, run_coroutine_threadsafe, loops in several threads. No wake-up may be lost."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import socket
import threading

import pytest

from . import marks, support


def test_call_soon_threadsafe_wakes_a_sleeping_loop(loop):
    with support.running_in_thread(loop):
        for _ in range(200):
            done = threading.Event()
            loop.call_soon_threadsafe(done.set)
            assert done.wait(30)


def test_call_soon_threadsafe_returns_a_handle(loop):
    handle = loop.call_soon_threadsafe(int)
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()
    assert handle.cancelled()
    support.run_once(loop)


def test_cancelled_threadsafe_handle_does_not_run(loop):
    called = []
    loop.call_soon_threadsafe(called.append, 1).cancel()
    loop.call_soon_threadsafe(called.append, 2)
    support.run_once(loop)
    assert called == [2]


waits_for_the_callback = pytest.mark.skipif(
    not support.PY314, reason="cancel() in another thread waits for a callback that runs from Python 3.14 on"
)


class AskedWhileItRuns:
    """A callback that lets another thread ask its handle, and notes whether that has waited for its end."""

    def __init__(self, loop, ask):
        self.ask, self.notes, self.threads = ask, [], []
        self.handle = loop.call_soon_threadsafe(self)

    def ask_in_thread(self):
        thread = threading.Thread(target=lambda: self.notes.append(("answered", self.ask(self.handle))))
        self.threads.append(thread)
        thread.start()
        support.wait_until_blocked_or_ended(thread)

    def __call__(self):
        self.ask_in_thread()
        self.notes.append("end")

    def join(self):
        for thread in self.threads:
            thread.join()


@marks.needs_system_calls_of_threads
@waits_for_the_callback
def test_threadsafe_handle_that_is_run_again(loop):
    """Each run is waited for anew."""
    callback = AskedWhileItRuns(loop, lambda handle: handle.cancelled())
    support.run_once(loop, 2)
    callback.join()
    loop._ready.append(callback.handle)
    support.run_once(loop, 2)
    callback.join()
    assert callback.notes == ["end", ("answered", False)] * 2


@marks.needs_system_calls_of_threads
@waits_for_the_callback
def test_cancelled_threadsafe_handle_is_not_run_again(loop):
    callback = AskedWhileItRuns(loop, lambda handle: handle.cancel())
    for _ in range(3):
        support.run_once(loop, 2)
        callback.join()
        loop._ready.append(callback.handle)
    callback.handle._run()
    assert callback.notes == ["end", ("answered", None)]


@marks.needs_system_calls_of_threads
@waits_for_the_callback
def test_threadsafe_handle_run_within_its_own_callback(loop, caplog):
    """It cannot, for its context is entered; its own run has not ended with that."""

    class Nested(AskedWhileItRuns):
        def __call__(self):
            self.handle._run()
            super().__call__()

    callback = Nested(loop, lambda handle: handle.cancel())
    support.run_once(loop, 2)
    callback.join()
    assert callback.notes == ["end", ("answered", None)]
    assert "cannot enter context" in caplog.text


@marks.needs_system_calls_of_threads
@waits_for_the_callback
def test_several_threads_wait_for_a_threadsafe_handle(loop):
    class AskedTwice(AskedWhileItRuns):
        def __call__(self):
            self.ask_in_thread()
            super().__call__()

    callback = AskedTwice(loop, lambda handle: handle.cancel())
    callback.handle._run()
    callback.join()
    assert callback.notes == ["end", ("answered", None), ("answered", None)]


def test_order_of_one_threads_callbacks(loop):
    order = []
    for i in range(100):
        loop.call_soon_threadsafe(order.append, i)
    support.run_once(loop)
    assert order == list(range(100))


def test_threadsafe_and_plain_callbacks_of_the_loops_thread_keep_their_order(loop):
    order = []

    def callback():
        for i in range(0, 10, 2):
            loop.call_soon(order.append, i)
            loop.call_soon_threadsafe(order.append, i + 1)

    loop.call_soon(callback)
    support.run_once(loop, 3)
    assert order == list(range(10))


def test_many_threads_lose_nothing(loop):
    count, threads = 2000, 4
    seen = []
    done = threading.Event()

    def receive(item):
        seen.append(item)
        if len(seen) == count * threads:
            done.set()

    def send(sender):
        for i in range(count):
            loop.call_soon_threadsafe(receive, (sender, i))

    with support.running_in_thread(loop):
        workers = [threading.Thread(target=send, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert done.wait(60)
    for sender in range(threads):
        assert [i for s, i in seen if s == sender] == list(range(count))


def test_wake_up_races_with_going_to_sleep(loop):
    """Each message is sent when the loop is about to sleep; a lost wake-up would hang."""
    with support.running_in_thread(loop):
        for _ in range(1000):
            future = concurrent.futures.Future()
            loop.call_soon_threadsafe(lambda f=future: loop.call_soon(f.set_result, None))
            future.result(30)


def test_run_coroutine_threadsafe(loop, impl):
    async def add(a, b):
        await impl.sleep(0)
        return a + b

    async def fail():
        raise LookupError("from the loop")

    with support.running_in_thread(loop):
        assert asyncio.run_coroutine_threadsafe(add(1, 2), loop).result(30) == 3
        with pytest.raises(LookupError, match="from the loop"):
            asyncio.run_coroutine_threadsafe(fail(), loop).result(30)


def test_cancelling_a_threadsafe_coroutine(loop):
    started = threading.Event()
    cancelled = threading.Event()

    async def wait_forever():
        started.set()
        try:
            await loop.create_future()
        finally:
            cancelled.set()

    with support.running_in_thread(loop):
        future = asyncio.run_coroutine_threadsafe(wait_forever(), loop)
        assert started.wait(30)
        assert future.cancel()
        assert cancelled.wait(30)


def test_stop_from_another_thread(loop):
    thread = threading.Thread(target=loop.run_forever)
    started = threading.Event()
    loop.call_soon(started.set)
    thread.start()
    started.wait()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    assert not thread.is_alive()
    assert not loop.is_running()


def test_running_loop_is_per_thread(loop):
    with support.running_in_thread(loop):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        seen = concurrent.futures.Future()
        loop.call_soon_threadsafe(lambda: seen.set_result(asyncio.get_running_loop()))
        assert seen.result(30) is loop
        assert loop.is_running()
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(loop.create_future())
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()


def test_several_loops_in_several_threads(impl):
    """A ball goes round the loops; each hop is one cross-thread wake-up."""
    loops = [impl.new_event_loop() for _ in range(3)]
    done = threading.Event()
    path = []

    def hop(left):
        path.append(asyncio.get_running_loop())
        if left == 0:
            done.set()
        else:
            loops[left % 3].call_soon_threadsafe(hop, left - 1)

    with contextlib.ExitStack() as stack:
        for loop in loops:
            stack.enter_context(support.closing(loop))
        for loop in loops:
            stack.enter_context(support.running_in_thread(loop))
        loops[0].call_soon_threadsafe(hop, 300)
        assert done.wait(60)
    assert len(path) == 301
    assert set(path) == set(loops)


def test_tasks_of_concurrent_loops_do_not_mix(impl):
    async def work(n):
        total = 0
        for i in range(200):
            total += i
            if i % 3 == 0:
                await impl.sleep(0)
            assert asyncio.current_task() is impl.current_task()
        return n, total

    async def main():
        return await impl.gather(*(work(n) for n in range(10)))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: impl.run(main()), range(6)))
    assert results == [[(n, 19900) for n in range(10)]] * 6


def test_future_completed_through_another_loops_thread(impl):
    with support.closing(impl.new_event_loop()) as first, support.closing(impl.new_event_loop()) as second:

        async def ask():
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer(), second))

        async def answer():
            await impl.sleep(0)
            return "answer"

        with support.running_in_thread(second):
            assert first.run_until_complete(ask()) == "answer"


def test_threadsafe_call_captures_the_senders_context(loop):
    import contextvars

    var = contextvars.ContextVar("var", default="nobody")
    seen = concurrent.futures.Future()

    def send():
        var.set("sender")
        loop.call_soon_threadsafe(lambda: seen.set_result(var.get()))

    with support.running_in_thread(loop):
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
        assert seen.result(30) == "sender"


def test_close_races_with_threadsafe_calls(impl):
    """A sender that comes too late gets RuntimeError, never a crash."""
    for _ in range(20):
        loop = impl.new_event_loop()
        go = threading.Event()
        outcome = []

        def send(loop=loop, go=go, outcome=outcome):
            go.wait()
            try:
                while True:
                    loop.call_soon_threadsafe(int)
            except RuntimeError as exc:
                outcome.append(str(exc))

        thread = threading.Thread(target=send)
        thread.start()
        go.set()
        support.run_once(loop, 5)
        loop.close()
        thread.join()
        assert outcome == ["Event loop is closed"]


class _OnceClosing(logging.Handler):
    """In debug mode close() logs, when it has seen that the loop does not run: then this is called."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def emit(self, record):
        if record.msg.startswith("Close"):
            self.function()


def test_loop_begins_to_run_while_another_thread_closes_it(ours):
    """What the kernel waits with is still there when it has waited."""
    loop = ours.new_event_loop()
    loop.set_debug(True)
    poller, _ = loop._own_descriptors()
    began, runs = concurrent.futures.Future(), []
    loop.call_soon(lambda: began.set_result(threading.get_native_id()))
    loop.call_later(10, int)  # were it not woken, it would be by now

    def begin():
        runs.append(executor.submit(loop.run_forever))
        support.wait_until_asleep(began.result(30))

    logger, handler = logging.getLogger("asyncio"), _OnceClosing(begin)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        try:
            loop.close()
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
        [run] = runs
        assert str(run.exception(30)) == "Event loop is closed"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(poller)


def test_to_thread(loop):
    async def main():
        return await asyncio.to_thread(threading.get_ident)

    assert loop.run_until_complete(main()) != threading.get_ident()
    loop.run_until_complete(loop.shutdown_default_executor())


# ---- Exceptions that another thread sets: stopit, time limits of task queues, debuggers ----


class Struck(Exception):
    pass


async def woken_by_call(loop, wakers):
    future = loop.create_future()
    wakers.append(lambda: loop.call_soon_threadsafe(future.set_result, None))
    await future


async def woken_by_data(loop, wakers):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        wakers.append(lambda: theirs.send(b"x"))
        assert await loop.sock_recv(ours, 10) == b"x"


def strike_asleep(loop, task, wakers):
    """Run the loop; when it sleeps set an exception in this thread, and wake it. Return what left the loop."""
    thread_id, native_id = threading.get_ident(), threading.get_native_id()

    def strike():
        support.wait_until_asleep(native_id)
        support.set_async_exception(thread_id, Struck)
        wakers[0]()

    thread = threading.Thread(target=strike)
    loop.call_soon(loop.call_soon, thread.start)
    try:
        loop.run_until_complete(task)
    except Struck as error:
        left = error
    else:
        left = None
    thread.join()
    return left


@marks.needs_system_calls_of_threads
@pytest.mark.parametrize("sleeps", [woken_by_call, woken_by_data])
def test_exception_of_a_thread_leaves_a_loop_that_slept(loop, sleeps):
    wakers = []
    task = loop.create_task(sleeps(loop, wakers))
    assert isinstance(strike_asleep(loop, task, wakers), Struck)
    assert not loop.is_running() and not task.done()
    # Nothing was lost: whoever was to be woken is.
    loop.run_until_complete(task)


@marks.needs_system_calls_of_threads
def test_exception_of_a_thread_leaves_a_loop_in_another_thread(loop):
    def run():
        wakers = []
        task = loop.create_task(woken_by_call(loop, wakers))
        left = strike_asleep(loop, task, wakers)
        loop.run_until_complete(task)
        return left

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert isinstance(executor.submit(run).result(), Struck)


def strike_here():
    support.set_async_exception(threading.get_ident(), Struck)
    for _ in range(100):
        pass


def test_exception_of_a_thread_strikes_the_callback_that_runs(loop):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(type(context["exception"])))
    loop.call_soon(strike_here)
    loop.call_later(0, strike_here)
    support.run_once(loop, 5)
    assert reports == [Struck, Struck]


def test_exception_of_a_thread_strikes_the_step_that_runs(loop, impl):
    async def struck():
        await impl.sleep(0)
        strike_here()

    async def other():
        for _ in range(5):
            await impl.sleep(0)
        return "other"

    async def main():
        return await impl.gather(struck(), other(), return_exceptions=True)

    first, second = loop.run_until_complete(main())
    assert isinstance(first, Struck) and second == "other"
