"""What looks into the loops of other threads, and changes what they go by, while they run; without a GIL at the same time.

With a GIL it has to hold as well. What spins here spins until somebody outside has got what he asked for.
"""

import asyncio
import contextlib
import threading
import time
from asyncio import base_events, tasks

import pytest

import asyncio_c

from . import support


class Spinner:
    """A loop in a thread of its own, of which a callback spins in Python for the length of a block."""

    def __init__(self, impl, loop):
        self.loop = loop
        self.task = loop.create_task(asyncio.Event().wait(), name="waits")
        self.future = loop.create_future()
        self.turns = 0
        self._began = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def spin(self, item=0):
        self._began.set()
        while not self._over:
            self.turns += 1
        return item

    def _run(self):
        self.loop.call_later(0, self.enter)
        self.loop.run_forever()

    def enter(self):
        self.spin()

    @contextlib.contextmanager
    def spinning(self):
        self._thread.start()
        self._began.wait()
        try:
            yield self
        finally:
            self._over = True
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.task.cancel()
            self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))


ASKED = {
    "done": lambda spinner: spinner.future.done(),
    "cancel": lambda spinner: spinner.task.cancel(),
    "get_stack": lambda spinner: spinner.task.get_stack(),
    "repr": lambda spinner: repr(spinner.task),
    "get_name": lambda spinner: spinner.task.get_name(),
    "set_result": lambda spinner: spinner.future.set_result(1),
    "call_soon": lambda spinner: spinner.loop.call_soon_threadsafe(int).cancel(),
    "all_tasks": lambda spinner: asyncio.all_tasks(spinner.loop),
}


@pytest.mark.parametrize("asked", ASKED)
def test_loop_that_spins_until_it_was_asked(impl, loop, asked):
    with Spinner(impl, loop).spinning() as spinner:
        ASKED[asked](spinner)
        assert not spinner._over


def test_several_threads_ask_a_loop_that_spins(impl, loop):
    with Spinner(impl, loop).spinning() as spinner:
        support.at_once(*[lambda: [spinner.future.done() for _ in range(2000)]] * 3)


class SpinnerInSort(Spinner):
    """It spins in the middle of what has a lock of its own, and then uses its loop."""

    def enter(self):
        future = self.loop.create_future()
        self.called = []

        def key(item):
            self.spin()
            self.loop.call_soon(self.called.append, item)
            future.add_done_callback(self.called.append)
            return -item

        self.sorted = [1, 2, 3]
        self.sorted.sort(key=key)
        future.set_result(None)


def test_loop_that_spins_in_a_sort(impl, loop):
    with SpinnerInSort(impl, loop).spinning() as spinner:
        for _ in range(3):
            spinner.future.done()
            spinner.task.get_name()
    assert spinner.sorted == [3, 2, 1]
    assert len(spinner.called) == 6


# ---- What others replace ----


def working(loop, stop, done):
    """Run what goes by classes and modules in a loop of this thread until `stop` is set; append how often to `done`."""

    async def one():
        await asyncio.sleep(0)
        return 1

    async def main():
        count = 0
        while not stop.is_set() or count == 0:
            count += sum(await asyncio.gather(*(loop.create_task(one()) for _ in range(3))))
            loop.call_soon(int)
            loop.call_later(0, int).cancel()
            await asyncio.sleep(0)
        return count

    with contextlib.closing(loop):
        done.append(loop.run_until_complete(main()))


@contextlib.contextmanager
def replaced(owner, name):
    """Have a wrapper stand there, and give the list of what it was called for."""
    stock = getattr(owner, name)
    calls = []

    def wrapper(*args, **kwargs):
        calls.append(args)
        return stock(*args, **kwargs)

    setattr(owner, name, wrapper)
    try:
        yield calls
    finally:
        setattr(owner, name, stock)


def test_class_and_module_are_replaced_while_loops_run(impl):
    stop, done = threading.Event(), []

    def replace():
        try:
            for _ in range(15):
                for owner, name in (
                    (base_events.BaseEventLoop, "call_soon"),
                    (tasks, "gather"),
                    (time, "monotonic"),
                ):
                    with replaced(owner, name):
                        pass
        finally:
            stop.set()

    loops = [impl.new_event_loop() for _ in range(2)]
    support.at_once(replace, *(lambda loop=loop: working(loop, stop, done) for loop in loops))
    assert len(done) == 2


def test_loop_of_another_thread_goes_by_what_was_replaced_from_its_next_turn_on(impl, loop):
    seen = []

    def check(calls, expected):
        finished = threading.Event()

        def second():
            del calls[:]
            handle = loop.call_soon(int)
            seen.append([call for call in calls if call[1] is int] != [])
            handle.cancel()
            finished.set()

        loop.call_soon_threadsafe(lambda: loop.call_soon(second))
        assert finished.wait(30)
        assert seen.pop() is expected

    with support.closing(impl.new_event_loop()), support.running_in_thread(loop):
        for _ in range(10):
            with replaced(base_events.BaseEventLoop, "call_soon") as calls:
                check(calls, True)
            check(calls, False)


# ---- Seeing a loop ----


def test_stats_of_loops_that_work(ours):
    stop, done = threading.Event(), []
    loops = [ours.new_event_loop() for _ in range(2)]

    def look():
        try:
            last = [loop.stats() for loop in loops]
            for index in range(100):
                for each, loop in enumerate(loops):
                    loop.measure(index % 2 == 0)
                    stats = loop.stats()
                    assert stats.callbacks >= last[each].callbacks
                    assert stats.seconds_working >= 0
                    last[each] = stats
        finally:
            stop.set()

    functions = [look, *(lambda loop=loop: working(loop, stop, done) for loop in loops)]
    support.at_once(*functions)


def test_stats_of_a_loop_that_spins(ours):
    with contextlib.closing(ours.new_event_loop()) as loop, Spinner(ours, loop).spinning():
        assert loop.stats().tasks == 1


def test_watch_of_several_loops_in_several_threads(ours):
    blocked = threading.Semaphore(0)

    def run(number):
        reports, told = [], threading.Event()

        def report(each):
            reports.append(each)
            if f"blocks_{number}" in each.callback:
                told.set()

        def block():
            while not told.is_set():
                pass

        block.__qualname__ = f"blocks_{number}"
        for _ in range(2):
            told.clear()
            with contextlib.closing(ours.new_event_loop()) as loop, asyncio_c.watch(loop, 0.01, report):
                loop.call_soon(block)
                loop.call_later(0, loop.stop)
                loop.run_forever()
        assert not any(f"blocks_{1 - number}" in each.callback for each in reports)
        blocked.release()

    support.at_once(lambda: run(0), lambda: run(1))
    assert blocked.acquire(blocking=False) and blocked.acquire(blocking=False)


def test_watches_end_while_their_loop_runs(ours):
    stop, done = threading.Event(), []
    loop = ours.new_event_loop()

    def watch():
        try:
            for _ in range(40):
                asyncio_c.watch(loop, 0.001, lambda report: None).close()
        finally:
            stop.set()

    support.at_once(watch, lambda: working(loop, stop, done))


def test_recording_of_loops_that_begin_and_end(ours):
    stop, runs = threading.Event(), []

    async def one():
        await asyncio.sleep(0)

    def record():
        try:
            for _ in range(20):
                with asyncio_c.record(size=500) as recording:
                    pass
                assert recording.text()
        finally:
            stop.set()

    def run():
        while not stop.is_set():
            with contextlib.closing(ours.new_event_loop()) as loop:
                loop.run_until_complete(asyncio.wait([loop.create_task(one()) for _ in range(5)]))
            runs.append(1)

    support.at_once(record, run, run)
    assert runs
