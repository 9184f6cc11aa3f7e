"""The critical section of a loop in the middle of what lets go of it: a sort, a wait, another thread's turn.

Without a GIL a thread that waits for anything is without its sections meanwhile, and comes back with the last of them alone.
"""

import asyncio
import functools
import linecache
import os
import sys
import threading
import weakref

import pytest

import asyncio_c

from . import support

pytestmark = pytest.mark.usefixtures("threads_take_turns_often")


@pytest.fixture
def loop_of_ours(ours):
    with support.closing(ours.new_event_loop()) as loop:
        yield loop


def test_what_is_called_from_within_a_method_of_another_thread_wakes_the_loop(ours, loop_of_ours):
    """There the thread is in the loop's section although it is not the loop's."""
    loop = loop_of_ours

    def factory(loop, coroutine, **options):
        loop.call_soon_threadsafe(loop.stop)
        return ours.Task(coroutine, loop=loop, **options)

    async def nothing():
        pass

    loop.set_task_factory(factory)
    with support.running_in_thread(loop) as thread:
        [task] = support.at_once(lambda: loop.create_task(nothing()))
        thread.join(60)
        assert not thread.is_alive(), "it was not woken"
    loop.run_until_complete(task)


@pytest.mark.parametrize("call", ["create_task", "gather", "sleep", "wait_for", "timeout", "call_soon"])
def test_use_of_the_loop_in_the_middle_of_a_sort(ours, loop_of_ours, call):
    """A list that is sorted has a section of its own, and with that alone the thread goes on after it has let go of all."""
    loop = loop_of_ours
    made = []

    async def nothing():
        return call

    async def within_timeout():
        async with ours.timeout(3600):
            return call

    makers = {
        "create_task": lambda: ours.create_task(nothing()),
        "gather": lambda: ours.gather(nothing(), nothing()),
        "sleep": lambda: loop.create_task(ours.sleep(0, call)),
        "wait_for": lambda: loop.create_task(ours.wait_for(nothing(), 3600)),
        "timeout": lambda: loop.create_task(within_timeout()),
        "call_soon": lambda: loop.call_soon(made.append, None),
    }

    def key(number):
        os.sched_yield()
        made.append(makers[call]())
        return -number

    async def main():
        numbers = [1, 2, 3]
        numbers.sort(key=key)
        assert numbers == [3, 2, 1]
        for one in made[:3]:
            if call != "call_soon":
                assert await one in (call, [call, call])

    loop.run_until_complete(main())
    assert len(made) >= 3


def test_method_that_waits_in_the_middle_goes_on_although_the_loop_is_busy(
    ours, loop_of_ours, collections_on_demand
):
    """A collection would stop the loop for it."""
    loop = loop_of_ours
    over = threading.Event()

    def factory(loop, coroutine, **options):
        for _ in range(100):
            os.sched_yield()
        return ours.Task(coroutine, loop=loop, **options)

    async def nothing():
        pass

    def be_busy():
        if over.is_set():
            loop.stop()
        else:
            loop.call_soon(be_busy)

    def make():
        try:
            return [loop.create_task(nothing()) for _ in range(3)]
        finally:
            over.set()

    loop.set_task_factory(factory)
    loop.call_soon(be_busy)
    _, tasks = support.at_once(loop.run_forever, make)
    support.run_once(loop, 2)
    assert all(task.done() for task in tasks)


def test_turn_in_another_thread_that_outlives_the_run(ours, loop_of_ours):
    """No thread is in the section of a loop that nobody runs, not even one whose stack is where that of the last one was."""
    loop = loop_of_ours
    blocked, turning, ended = threading.Event(), threading.Event(), threading.Event()

    def block():
        blocked.set()
        assert turning.wait(60)
        loop.stop()

    def outlive():
        turning.set()
        assert ended.wait(60)

    def turn():
        assert blocked.wait(60)
        loop.call_soon_threadsafe(outlive)
        loop._run_once()

    def run(loop, callback):
        loop.call_soon(callback)
        loop.run_forever()
        ended.set()

    def use_another_loop():
        loop.call_soon(int)
        other.stop()

    support.at_once(lambda: run(loop, block), turn)
    with support.closing(ours.new_event_loop()) as other:
        support.at_once(lambda: run(other, use_another_loop))


class Deadline:
    """Lets other threads run in the middle of the method that asks for it."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __float__(self):
        os.sched_yield()
        return self.seconds


def test_method_that_waits_in_the_middle_of_a_sort(ours, loop_of_ours):
    """The thread comes back to the method in the section of the loop, not in that of the list alone."""
    loop, called = loop_of_ours, []

    def key(number):
        loop.call_at(Deadline(loop.time()), called.append, number)
        return -number

    async def main():
        [1, 2, 3].sort(key=key)
        while len(called) < 3:
            await ours.sleep(0)

    loop.run_until_complete(main())
    assert called == [1, 2, 3]


def test_timeout_in_debug_mode_expires(ours, loop_of_ours):
    """Its methods are asyncio's then, and it belongs to no loop; the record of where a handle was made lets other threads run."""

    async def main():
        async with ours.timeout(0.001):
            await loop_of_ours.create_future()

    linecache.getlines(__file__)  # which that record looks at again, once it is known
    loop_of_ours.set_debug(True)
    with pytest.raises(TimeoutError):
        loop_of_ours.run_until_complete(main())


def test_task_that_is_made_anew_for_another_loop(ours):
    """It is the last to hold the first one."""

    async def nothing():
        pass

    first, second = ours.new_event_loop(), ours.new_event_loop()
    task = ours.Task(nothing(), loop=first)
    first.run_until_complete(task)
    first.close()
    if support.PY315:
        with pytest.raises(RuntimeError, match="already initialized"):
            task.__init__(nothing(), loop=second)
        return
    gone = weakref.ref(first)
    del first
    task.__init__(nothing(), loop=second)
    support.collect()
    assert gone() is None
    assert asyncio.all_tasks(second) == {task}
    second.run_until_complete(task)
    second.close()


made_anew = pytest.mark.skipif(support.PY315, reason="from Python 3.15 on nothing can be made anew")


@made_anew
@pytest.mark.filterwarnings("ignore:coroutine")
def test_task_that_is_made_anew_while_its_old_loop_has_it_queued(ours):
    """Its old loop steps it, and its new one is to go on with it."""

    async def wait():
        await asyncio.sleep(0)
        return 1

    first, second = ours.new_event_loop(), ours.new_event_loop()
    second.set_exception_handler(lambda loop, context: None)  # it has been queued twice there
    with support.closing(first), support.closing(second):
        task = ours.Task(wait(), loop=first)
        task.__init__(wait(), loop=second)
        support.run_once(first)
        assert second.run_until_complete(task) == 1


@made_anew
def test_future_that_is_made_anew_while_its_old_loop_is_to_finish_it(ours):
    first, second = ours.new_event_loop(), ours.new_event_loop()
    with support.closing(first), support.closing(second):
        task = first.create_task(ours.sleep(0.001))
        support.run_once(first)
        future = task._fut_waiter
        future.__init__(loop=second)
        future.add_done_callback(lambda future: second.stop())
        while not future.done():
            support.run_once(first)
        second.run_forever()


@pytest.mark.filterwarnings("ignore:coroutine")
def test_two_threads_make_the_same_task(native):
    """Each by its first __init__(), for a loop of its own: one comes after the other, and is refused from 3.15 on."""
    tasks = [
        native.Task.__new__(native.Task) for _ in range(support.often(1000) if support.FREE_THREADED else 20)
    ]
    turn = [0, 0]
    refused = []

    async def nothing():
        pass

    def make(me):
        for number, task in enumerate(tasks, 1):
            turn[me] = number
            for _ in range(20000):  # and no longer: the other thread may not be running
                if turn[1 - me] >= number:
                    break
            try:
                task.__init__(nothing(), loop=loops[me])
            except RuntimeError as error:
                refused.append(str(error))

    with (
        support.closing(native.new_event_loop()) as first,
        support.closing(native.new_event_loop()) as second,
    ):
        loops = first, second
        for loop in loops:
            loop.set_exception_handler(lambda loop, context: None)
        support.at_once(functools.partial(make, 0), functools.partial(make, 1))
        assert all(task.get_loop() in loops for task in tasks)
        for loop in loops:
            support.run_once(loop, 2)
        assert all(task.done() for task in tasks)
    assert len(refused) == (len(tasks) if support.PY315 else 0)
    assert all("already initialized" in text for text in refused)


def test_task_that_is_made_within_its_own_first_making(native, loop_of_ours):
    """What was set before is let go of, and that makes the task."""
    loop = loop_of_ours

    async def nothing(result):
        return result

    class Maker:
        def __del__(self):
            task.__init__(inner, loop=loop)

    task, inner, outer = native.Task.__new__(native.Task), nothing("inner"), nothing("outer")
    task._cancel_message = Maker()
    task.__init__(outer, loop=loop)
    loop.run_until_complete(task)
    assert task.result() in ("inner", "outer")
    inner.close()
    outer.close()


def test_group_is_entered_natively(ours, loop_of_ours):
    """Its own section, which it has until it belongs to the loop, is not in the way."""
    called = set()

    async def main():
        async with asyncio_c.TaskGroup() as group:
            group.create_task(ours.sleep(0))

    sys.setprofile(lambda frame, event, argument: called.add(frame.f_code.co_name))
    try:
        loop_of_ours.run_until_complete(main())
    finally:
        sys.setprofile(None)
    assert "main" in called and "__aenter__" not in called
