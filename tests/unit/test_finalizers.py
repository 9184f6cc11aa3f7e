"""What ends by losing its last reference may run anything, at moments that the loop does not choose."""

import asyncio
import os
import subprocess
import sys
import weakref

import pytest

import asyncio_c

from . import support


async def fails():
    raise ValueError("lost")


def test_exception_handler_of_a_lost_task_stops_the_loop(loop):
    loop.set_exception_handler(lambda loop, context: loop.stop())
    loop.create_task(fails())
    loop.run_forever()


def test_exception_handler_of_a_lost_task_sets_the_timer_that_stops_the_loop(loop):
    loop.set_exception_handler(lambda loop, context: loop.call_later(0.001, loop.stop))
    loop.create_task(fails())
    loop.run_forever()


def test_end_of_a_task_sets_the_timer_that_stops_the_loop(loop):
    async def returns():
        pass

    task = loop.create_task(returns())
    weakref.finalize(task, lambda: loop.call_later(0.001, loop.stop))
    del task
    loop.run_forever()


def test_a_lost_task_is_reported_without_a_current_task(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(asyncio.current_task(loop)))

    async def main():
        loop.create_task(fails())
        loop.create_task(asyncio.sleep(0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == [None]


def test_all_tasks_while_a_task_is_destroyed(impl):
    seen = []
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    coro = fails()
    task = loop.create_task(coro)
    watcher = weakref.ref(task, lambda ref: seen.append(asyncio.all_tasks(loop)))
    del task
    loop.close()
    support.collect()
    assert watcher() is None
    assert seen == [set()]
    coro.close()


class Ends:
    """Calls a function when it goes."""

    def __init__(self, function):
        self.function = function

    def __del__(self):
        self.function()


def test_a_loop_is_not_listed_while_its_attributes_go(ours):
    """Their ends may let other threads in, which list all loops, too."""
    recordings = []

    def record():
        with asyncio_c.record() as recording:
            pass
        recordings.append(recording)

    loop = ours.new_event_loop()
    loop.close()
    gone = weakref.ref(loop)
    loop.ends = Ends(record)
    del loop
    support.collect()
    assert gone() is None and len(recordings) == 1


def test_a_task_is_not_listed_while_its_attributes_go(impl):
    if support.FREE_THREADED and not support.PY314 and not impl.native_names:
        pytest.skip("3.13 without a GIL lists asyncio's own task while it goes, and aborts")

    class Mine(impl.Task):
        pass

    seen = []
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    coro = fails()
    task = Mine(coro, loop=loop)
    task.ends = Ends(lambda: seen.append(asyncio.all_tasks(loop)))
    del task
    loop.close()
    support.collect()
    assert seen == [set()]
    coro.close()


def test_reader_removed_by_the_end_of_a_cancelled_one(loop):
    """Cancelling the handle of a reader takes it out of the loop in the next turn; what that frees removes the others."""
    removed = []

    class Remover:
        def __init__(self, fds):
            self.fds = fds

        def __call__(self):
            pytest.fail("the reader was cancelled")

        def __del__(self):
            removed.extend(loop.remove_reader(fd) for fd in self.fds)

    first, second = os.pipe(), os.pipe()
    try:
        for _, writer in (first, second):
            os.write(writer, b"x")
        loop._add_reader(first[0], Remover([first[0], second[0]])).cancel()
        loop.add_reader(second[0], int)
        support.run_once(loop, 2)
        support.collect()
        loop.remove_reader(second[0])
        assert len(removed) == 2
    finally:
        for fd in (*first, *second):
            os.close(fd)


def test_all_that_is_ready_counts_in_one_turn(loop):
    pipes = [os.pipe() for _ in range(200)]
    seen = []
    try:
        for reader, writer in pipes:
            loop.add_reader(reader, seen.append, reader)
            os.write(writer, b"x")
        support.run_once(loop)
        assert sorted(seen) == sorted(reader for reader, _ in pipes)
    finally:
        for reader, writer in pipes:
            loop.remove_reader(reader)
            os.close(reader)
            os.close(writer)


@pytest.mark.parametrize("fd", [10**8, 2**31 - 1])
def test_number_that_is_no_descriptor(loop, fd):
    with pytest.raises(OSError):
        loop.add_reader(fd, int)


def test_keywords_through_super(impl):
    class Mine(impl.Loop):
        def call_later(self, delay, callback, *args, context=None):
            return super().call_later(delay=delay, callback=callback, context=context)

    with support.closing(Mine()) as loop:
        loop.call_later(0, loop.stop)
        loop.run_forever()


def test_attributes_set_before_init(impl, loop):
    class Mine(impl.Future):
        def __init__(self, **options):
            self.early = 1
            super().__init__(**options)

    assert Mine(loop=loop).early == 1


def test_no_task_is_current_after_a_single_turn(loop):
    async def waits():
        await loop.create_future()

    task = loop.create_task(waits())
    support.run_once(loop)
    assert asyncio.current_task(loop) is None
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))


def test_long_chain_of_tasks_is_cancelled_or_refused(loop):
    async def chain(awaited):
        await awaited

    async def main():
        innermost = loop.create_future()
        tasks = [loop.create_task(chain(innermost))]
        for _ in range(20_000):
            tasks.append(loop.create_task(chain(tasks[-1])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            tasks[-1].cancel()
        except RecursionError:
            innermost.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    loop.run_until_complete(main())


LEFT_OPEN = """
import asyncio, importlib
loop = importlib.import_module({module!r}).{factory}()
asyncio.set_event_loop(loop)

async def answer():
    return 1

{name} = loop.create_task(answer())
assert loop.run_until_complete({name}) == 1
"""


@pytest.mark.parametrize("name", ["task", "me", "_", "loop.task"])
def test_current_loop_left_open_at_the_end_of_the_interpreter(impl, name):
    """It may outlive asyncio's modules, and says nothing."""
    factory = impl.new_event_loop
    code = LEFT_OPEN.format(module=factory.__module__, factory=factory.__name__, name=name)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
