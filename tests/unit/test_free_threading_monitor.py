"""What looks into the loops of other threads, and changes what they go by, while they run; without a GIL at the same time.

With a GIL it has to hold as well. What spins here spins until somebody outside has got what he asked for.
"""

import asyncio
import contextlib
import threading

import pytest

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
        errors = support.in_threads([lambda: [spinner.future.done() for _ in range(2000)]] * 3)
        assert errors == []


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
