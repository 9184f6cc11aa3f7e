"""What comes to a loop's objects by ways that are no method of theirs: the end of a coroutine, an iterator, the collector.

A debug build asserts that whoever changes a loop's queue or its timers is in the loop's critical section; without a GIL that is what
each of these tests is about, also where a single thread does it all. Threads make the same race where nothing asserts.
"""

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest

import asyncio_c

from . import support
from .test_free_threading_layers import MISUSE, hammer

pytestmark = pytest.mark.usefixtures("threads_take_turns_often")

TIMES = support.often(300) if support.FREE_THREADED else 50


@pytest.fixture
def loop_of_ours(ours):
    with support.closing(ours.new_event_loop()) as loop:
        loop.set_exception_handler(lambda loop, context: None)
        yield loop


# ---- A coroutine that is closed ----


async def in_wait_for(impl, future):
    await impl.wait_for(future, 3600)


async def in_wait_for_of_a_coroutine(impl, future):
    await impl.wait_for(waits(future), 3600)


async def in_timeout(impl, future):
    async with impl.timeout(3600):
        await future


async def in_group(impl, future):
    async with impl.TaskGroup() as group:
        group.create_task(waits(future))
        await impl.sleep(3600)


async def in_sleep(impl, future):
    await impl.sleep(3600)


async def in_wait(impl, future):
    await impl.wait([future], timeout=3600)


async def waits(future):
    await future


BLOCKS = [in_wait_for, in_wait_for_of_a_coroutine, in_timeout, in_group, in_sleep, in_wait]


def timers_of(loop):
    return [handle for handle in getattr(loop, "_scheduled", []) if not handle.cancelled()]


@pytest.mark.parametrize("block", BLOCKS)
def test_coroutine_is_closed_while_nobody_runs_its_loop(ours, loop_of_ours, block):
    loop = loop_of_ours
    task = loop.create_task(block(ours, loop.create_future()))
    support.run_once(loop, 3)
    with contextlib.suppress(RuntimeError):  # a group waits for its tasks, whatever is raised in it
        task.get_coro().close()
    assert timers_of(loop) == []
    task.cancel()
    support.run_once(loop, 5)
    assert task.done()


MAKERS = {
    "wait_for": lambda impl, future: impl.wait_for(future, 3600),
    "sleep": lambda impl, future: impl.sleep(3600),
    "wait": lambda impl, future: impl.wait([future], timeout=3600),
}
if support.PY312:  # before, it makes a task, which outlives it
    MAKERS["wait_for of a coroutine"] = lambda impl, future: impl.wait_for(impl.sleep(3600), 3600)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_coroutines_are_closed_by_other_threads(native, make):
    """Or cancelled by their loop, or both at the same time: each task ends, and leaves no timer. A coroutine of Python's own is
    CPython's to guard, and on 3.13 it does not."""
    tasks = []

    async def main():
        for _ in range(TIMES):
            task = loop.create_task(make(native, loop.create_future()))
            for _ in range(3):
                await native.sleep(0)
            tasks.append(task)
            for _ in range(5):
                await native.sleep(0)
            task.cancel()
            await native.wait([task])

    def close():
        while not done.is_set():
            for task in tasks[-1:]:
                with contextlib.suppress(*MISUSE):
                    task.get_coro().close()

    def work():
        try:
            loop.run_until_complete(main())
        finally:
            done.set()

    done = threading.Event()
    with support.closing(native.new_event_loop()) as loop:
        loop.set_exception_handler(lambda loop, context: None)
        support.at_once(work, close, close)
        assert len(tasks) == TIMES and all(task.done() for task in tasks)
        assert timers_of(loop) == []


# ---- What is another loop's ----


@pytest.mark.parametrize("runs", [False, True])
def test_timeouts_expire_in_another_thread(ours, loop_of_ours, runs):
    """The block's callback, called by hand: the task is cancelled in its loop. asyncio's own class cancels first and notes that it has
    expired afterwards: the task may end in between, by the cancellation itself."""
    loop = loop_of_ours
    entered = []

    async def main():
        try:
            async with ours.timeout(3600) as timeout:
                entered.append(timeout)
                await loop.create_future()
        except TimeoutError:
            return "expired"

    tasks = [loop.create_task(main()) for _ in range(50)]
    support.run_once(loop, 2)
    assert len(entered) == len(tasks)

    def expire():
        for timeout in entered:
            timeout._on_timeout()
        loop.call_soon_threadsafe(loop.stop)

    if runs:
        support.at_once(loop.run_forever, expire)
    else:
        expire()
    support.run_once(loop, 5)
    cancelled = [task for task in tasks if task.cancelled()]
    assert not cancelled or (runs and not ours.native_names)
    assert [task.result() for task in tasks if task not in cancelled] == ["expired"] * (
        len(tasks) - len(cancelled)
    )


def test_group_that_waits_for_another_loops_future(native):
    """Which somebody has put there: it is finished in that loop."""
    with support.closing(native.new_event_loop()) as loop, support.closing(native.new_event_loop()) as other:
        foreign = other.create_future()

        async def main():
            group = native.TaskGroup()
            async with group:
                task = group.create_task(native.sleep(0))
                group._on_completed_fut = foreign
                await task
                await native.sleep(0)
                assert foreign.result() is True
                group._on_completed_fut = None

        loop.run_until_complete(main())


def test_reader_that_waits_for_another_loops_future(native):
    with support.closing(native.new_event_loop()) as loop, support.closing(native.new_event_loop()) as other:
        reader = native.StreamReader(loop=loop)
        for bound in loop, None:
            reader._loop = bound
            reader._waiter = foreign = other.create_future()
            reader.feed_data(b"x")
            assert foreign.result() is None and reader._waiter is None


# ---- A future's iterator ----


@pytest.mark.skipif(
    not support.GUARDED_EXCEPTIONS, reason="3.13 without a GIL guards no exception that several threads raise"
)
def test_failed_future_is_awaited_by_hand_in_many_threads(ours, loop_of_ours):
    """Each time its traceback is set back to what it was."""
    for _ in range(TIMES):
        future = loop_of_ours.create_future()
        try:
            raise LookupError
        except LookupError as error:
            future.set_exception(error)
        raised = []

        def ask(_, future=future, raised=raised):
            try:
                future.__await__().send(None)
            except LookupError as error:
                raised.append(error)

        assert not hammer(ask, ask, ask, times=3)
        assert len(raised) == 9 and set(raised) == {future.exception()}


def test_futures_are_awaited_by_hand_while_they_are_finished(ours, loop_of_ours):
    loop = loop_of_ours
    futures = [loop.create_future() for _ in range(TIMES)]
    seen = []

    def finish(_):
        for number, future in enumerate(futures):
            future.set_result(number)

    def ask(_):
        for number, future in enumerate(futures):
            while True:
                try:
                    assert future.__await__().send(None) is future
                except StopIteration as stop:
                    seen.append((number, stop.value))
                    break
                except RuntimeError as error:
                    assert str(error) == "await wasn't used with future"

    assert not hammer(finish, ask, ask, times=1)
    assert sorted(seen) == sorted([(number, number) for number in range(len(futures))] * 2)


# ---- In the middle of what has a lock of its own ----


@pytest.mark.parametrize("call", ["call_soon", "call_later", "create_future", "create_task", "set_result"])
def test_debug_mode_in_the_middle_of_a_sort(ours, loop_of_ours, call):
    """The list has a section within the loop's, and the traceback that debug mode takes lets go of both."""
    loop = loop_of_ours
    loop.set_debug(True)
    made, called = [], []

    async def nothing():
        return call

    def finished_future():
        future = loop.create_future()
        future.add_done_callback(called.append)
        future.set_result(call)
        return future

    makers = {
        "call_soon": lambda: loop.call_soon(called.append, None),
        "call_later": lambda: loop.call_later(0, called.append, None),
        "create_future": loop.create_future,
        "create_task": lambda: loop.create_task(nothing()),
        "set_result": finished_future,
    }

    def key(number):
        made.append(makers[call]())
        return -number

    async def main():
        numbers = [1, 2, 3]
        numbers.sort(key=key)
        assert numbers == [3, 2, 1]
        if call == "create_task":
            assert [await one for one in made] == [call] * 3
        while call in ("call_soon", "call_later", "set_result") and len(called) < 3:
            await ours.sleep(0)

    loop.run_until_complete(main())
    assert len(made) == 3


def test_loop_that_runs_within_a_method_of_another(ours):
    """Which is in its own section meanwhile: a nested run has that of its loop."""
    with support.closing(ours.new_event_loop()) as loop, support.closing(ours.new_event_loop()) as other:
        ran = []

        def factory(loop, coroutine, **options):
            other.call_soon(ran.append, "other")
            support.run_once(other)
            return ours.Task(coroutine, loop=loop, **options)

        async def main():
            ran.append("task")
            return await ours.sleep(0, "done")

        loop.set_task_factory(factory)
        other.set_debug(True)
        assert loop.run_until_complete(loop.create_task(main())) == "done"
        assert ran == ["other", "task"]


# ---- The collector ----


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("by", ["reference", "collector"])
def test_loop_with_timers_is_dropped_unclosed(ours, by):
    async def main():
        async with ours.timeout(3600):
            await ours.wait_for(asyncio.get_running_loop().create_future(), 3600)

    for _ in range(3):
        loop = ours.new_event_loop()
        kept = [loop.call_later(3600, int), loop.create_task(main()), loop.create_task(ours.sleep(3600))]
        support.run_once(loop, 2)
        kept.append(loop.call_soon(int))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False
        if by == "collector":
            loop.itself = loop
        gone = weakref.ref(loop)
        del loop, kept, task
        support.collect()
        assert gone() is None


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_loops_are_dropped_while_another_thread_lists_all(ours):
    """The list of all loops gives it those that the collector is about to clear."""

    def drop(_):
        for _ in range(20):
            loop = ours.new_event_loop()
            loop.itself = loop
            loop.call_later(3600, int)
            del loop
        gc.collect()

    def look(_):
        with asyncio_c.record(size=50):
            pass

    assert not hammer(drop, drop, look, times=3 if support.FREE_THREADED else 1)
