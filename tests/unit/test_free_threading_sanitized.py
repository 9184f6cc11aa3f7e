"""What only the thread sanitizer sees, or what breaks too rarely to be seen otherwise: `make tsan` runs it with the tests of threads.

Each test asserts what the storm must leave; that no memory is touched by two threads at once is the sanitizer's to say.
"""

import asyncio
import functools
import gc
import threading

import pytest

from asyncio_c import _core

from . import support
from .test_free_threading import (
    THREADS,
    in_each_thread,
    meanwhile,
    with_locks,
    with_queue,
    with_streams,
)


@pytest.mark.skipif(not support.SANITIZED, reason="an interpreter without the thread sanitizer")
def test_race_on_purpose():
    """It is there if the module was built with the sanitizer, too; that it is reported tools/tsan_reports.py makes sure of."""
    support.at_once(_core._race_on_purpose, _core._race_on_purpose)


@pytest.fixture
def loop(native):
    """Ours: asyncio's own tasks and futures are not made for this before 3.14."""
    with support.closing(native.new_event_loop()) as loop:
        yield loop


def test_tasks_of_the_class_for_another_threads_loop(native, loop):
    """Not by loop.create_task(): the loop is an argument, and is guarded none the less. Each task runs once."""
    count = 100
    ran = []

    async def work(number):
        ran.append(number)

    def make(thread):
        tasks = [native.Task(work((thread, n)), loop=loop) for n in range(count)]
        # A task that is made while the loop sleeps does not wake it, as with asyncio.
        loop.call_soon_threadsafe(int)
        return tasks

    async def wait_for_all(tasks):
        await native.wait(tasks)

    with support.running_in_thread(loop):
        tasks = [task for made in in_each_thread(make) for task in made]
        asyncio.run_coroutine_threadsafe(wait_for_all(tasks), loop).result(60)
    assert sorted(ran) == [(thread, n) for thread in range(THREADS) for n in range(count)]


def test_gathers_are_cancelled_by_another_thread(native, loop):
    gathers = []

    async def main():
        cancelled = 0
        for _ in range(60):
            gathered = native.gather(*(loop.create_future() for _ in range(3)))
            gathers.append(gathered)
            try:
                await gathered
            except asyncio.CancelledError:
                cancelled += 1
        return cancelled

    def cancel():
        for gathered in gathers[-1:]:
            loop.call_soon_threadsafe(int)
            gathered.cancel()

    assert meanwhile(lambda: loop.run_until_complete(main()), cancel, cancel) == 60


def test_loops_in_debug_mode_beside_others(ours):
    """How many loops are in debug mode, all loops look at."""

    async def main():
        for program in (with_queue, with_locks, with_streams):
            await program(ours)
        return "done"

    def run(debug):
        with support.closing(ours.new_event_loop()) as loop:
            loop.slow_callback_duration = 60
            for _ in range(3):
                loop.set_debug(debug)
                assert loop.run_until_complete(main()) == "done"
                loop.set_debug(not debug)

    support.at_once(*(functools.partial(run, number % 2 == 0) for number in range(3)))


def test_questions_to_a_loop_that_runs_stops_and_is_closed(ours):
    loop = ours.new_event_loop()
    stepped = threading.Event()

    async def main():
        for _ in range(50):
            await ours.sleep(0)
            stepped.set()

    def work():
        for _ in range(10):
            loop.run_until_complete(main())
        loop.close()

    def look():
        assert loop.is_running() in (True, False)
        assert loop.is_closed() in (True, False)
        assert loop.get_debug() is False
        assert asyncio.current_task(loop) is None or isinstance(repr(loop), str)

    def collect():
        """Once a step at most: collections one after the other stop all other threads, on asyncio's loop as well."""
        if stepped.wait(0.1):
            stepped.clear()
            gc.collect(0)

    meanwhile(work, look, collect)
    assert loop.is_closed()
