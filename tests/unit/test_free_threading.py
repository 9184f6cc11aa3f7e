"""What other threads may do to a loop, and to what belongs to it: without a GIL they do it at the same time.

Where asyncio promises something, or the GIL does, asyncio is held to it as well. What it does not promise (a future's methods
from another thread) is ours alone: each method happens as a whole, before or after another one.
"""

import asyncio
import contextlib
import functools
import gc
import io
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import weakref

import pytest

from . import support
from .net import peers
from .test_fork import in_child

# How many threads meet. More than there are cores does no harm: who is stopped in the middle is what the others meet.
THREADS = 4

# How often each does what it does: a meeting is a matter of chance, and with a GIL of 0.01 ms.
TIMES = support.often(2000) if support.FREE_THREADED else 200


pytestmark = pytest.mark.usefixtures("threads_take_turns_often")


@pytest.fixture
def safe(impl):
    """`impl`, unless it is that of a Python whose own asyncio is not made for threads at the same time: before 3.14."""
    if support.FREE_THREADED and impl.name == "asyncio" and not support.PY314:
        pytest.skip("asyncio's own tasks are safe without a GIL from Python 3.14 on")
    return impl


def meanwhile(work, *looks):
    """Call `work` in a thread, and each of `looks` in one of its own, again and again until `work` has ended."""
    ended = threading.Event()

    def to_the_end():
        try:
            return work()
        finally:
            ended.set()

    def again(look):
        look()
        while not ended.is_set():
            look()

    return support.at_once(to_the_end, *(functools.partial(again, look) for look in looks))[0]


def in_each_thread(function):
    """Call `function(number)` in several threads at once."""
    return support.at_once(*(functools.partial(function, number) for number in range(THREADS)))


# ---- The import ----


@pytest.mark.skipif(not support.FREE_THREADED, reason="a Python with a GIL")
def test_import_leaves_the_gil_off():
    program = "import asyncio_c, sys; asyncio_c.patch(); print(sys._is_gil_enabled())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=environment
    )
    assert (answer.stdout, answer.stderr) == ("False\n", "")


@pytest.mark.skipif(not support.FREE_THREADED, reason="a Python with a GIL")
def test_these_tests_run_without_a_gil(native):
    assert not sys._is_gil_enabled()


# ---- call_soon_threadsafe() and run_coroutine_threadsafe() ----


def test_storm_against_stop(loop):
    """However often the loop is stopped, each callback runs once, and those of a thread in their order."""
    count = TIMES
    ran = [[] for _ in range(THREADS)]

    def send(number):
        for i in range(count):
            loop.call_soon_threadsafe(ran[number].append, i)
            if i % 20 == 19:
                loop.call_soon_threadsafe(loop.stop)

    def run():
        while any(len(items) < count for items in ran):
            loop.run_forever()

    support.at_once(run, *(functools.partial(send, number) for number in range(THREADS)))
    support.run_once(loop, 2)
    assert ran == [list(range(count))] * THREADS


class Token:
    """An argument that says when it has gone."""


def test_storm_against_close(impl):
    """What came in time runs, or is dropped by close(), in the order of its thread; what comes too late is told so."""
    for turns in range(6):
        loop = impl.new_event_loop()
        ran = [[] for _ in range(THREADS)]
        tokens = [Token() for _ in range(THREADS)]
        gone = [weakref.ref(token) for token in tokens]

        def send(number, loop=loop, ran=ran, tokens=tokens):
            token, tokens[number] = tokens[number], None
            for sent in range(TIMES):
                try:
                    loop.call_soon_threadsafe(lambda i, token: ran[number].append(i), sent, token)
                except RuntimeError as error:
                    assert str(error) == "Event loop is closed"
                    return sent
            return TIMES

        def close(loop=loop, turns=turns):
            support.run_once(loop, turns)
            loop.close()

        _, *sent = support.at_once(close, *(functools.partial(send, number) for number in range(THREADS)))
        for items, count in zip(ran, sent, strict=True):
            assert items == list(range(len(items)))
            assert len(items) <= count
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            loop.call_soon_threadsafe(int)
        del loop, send, close
        gc.collect()
        assert [reference() for reference in gone] == [None] * THREADS


def test_no_wake_up_is_lost(loop):
    """A call that comes a moment before the loop sleeps, or after it: nothing else would wake it."""
    seen = []

    def send():
        for n in range(TIMES):
            loop.call_soon_threadsafe(seen.append, n)
            while len(seen) <= n:
                pass  # an event would come later than the moment that is meant
            for _ in range(n % 100):
                pass
        loop.call_soon_threadsafe(loop.stop)

    support.at_once(loop.run_forever, send)
    assert seen == list(range(TIMES))


def test_each_thread_gets_its_answer(loop):
    def ask(_):
        for _ in range(100):
            answered = threading.Event()
            loop.call_soon_threadsafe(answered.set)
            assert answered.wait(60)

    with support.running_in_thread(loop):
        in_each_thread(ask)


def test_storm_of_coroutines(loop, impl):
    async def double(n):
        await impl.sleep(0)
        return 2 * n

    def send(_):
        futures = [asyncio.run_coroutine_threadsafe(double(n), loop) for n in range(50)]
        assert [future.result(60) for future in futures] == [2 * n for n in range(50)]

    with support.running_in_thread(loop):
        in_each_thread(send)


def test_storm_of_coroutines_that_are_cancelled(loop, impl):
    """Whether they have begun or not, none is left."""
    begun, ended = [], []

    async def wait():
        begun.append(1)
        try:
            await loop.create_future()
        finally:
            ended.append(1)

    def send(_):
        futures = [asyncio.run_coroutine_threadsafe(wait(), loop) for _ in range(50)]
        assert all(future.cancel() for future in futures)

    with support.running_in_thread(loop):
        in_each_thread(send)
    support.run_until_idle(loop)
    assert len(ended) == len(begun)
    assert asyncio.all_tasks(loop) == set()


def test_coroutines_of_other_threads_while_the_loop_stops_and_goes_on(loop, impl):
    async def answer(n):
        for _ in range(3):
            await impl.sleep(0)
        return n

    left = THREADS

    def end():
        nonlocal left
        left -= 1
        loop.stop()

    def send(number):
        for n in range(30):
            future = asyncio.run_coroutine_threadsafe(answer(n), loop)
            loop.call_soon_threadsafe(loop.stop)
            assert future.result(60) == n
        loop.call_soon_threadsafe(end)

    def run():
        while left > 0:
            loop.run_forever()

    support.at_once(run, *(functools.partial(send, number) for number in range(THREADS)))


# ---- Order ----


def queued_by_call_soon(loop, note):
    loop.call_soon(note)


def queued_by_a_task(loop, note):
    async def step():
        note()

    loop.create_task(step())


def queued_by_a_future(loop, note):
    future = loop.create_future()
    future.add_done_callback(lambda _: note())
    future.set_result(None)


QUEUED_BY = [queued_by_call_soon, queued_by_a_task, queued_by_a_future]


@pytest.mark.parametrize("queue_one", QUEUED_BY)
@pytest.mark.parametrize("runs", [True, False])
def test_what_a_joined_thread_has_queued_comes_first(loop, queue_one, runs):
    """In a callback of the loop, and while nobody runs it."""
    order = []

    def take_turns():
        for i in range(0, 20, 2):
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(order.append, i))
            thread.start()
            thread.join()
            queue_one(loop, functools.partial(order.append, i + 1))

    if runs:
        loop.call_soon(take_turns)
    else:
        take_turns()
    support.run_until_idle(loop)
    assert order == list(range(20))


def test_timer_that_is_due_follows_what_a_thread_has_queued(virtual):
    loop, clock = virtual
    order = []
    loop.call_at(clock.now + 2, order.append, "timer")
    support.run_once(loop)
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(order.append, "thread"))
    thread.start()
    thread.join()
    support.run_once(loop, 3)
    assert order == ["thread", "timer"]


# ---- Looking on ----


async def come_and_go(impl, rounds=60):
    """Tasks by the thousand: suspended, cancelled, failed, and eager ones where there are such."""
    loop = asyncio.get_running_loop()

    async def child(n):
        await impl.sleep(0)
        if n % 3 == 0:
            raise LookupError
        await impl.sleep(0)

    for _ in range(rounds):
        tasks = [loop.create_task(child(n)) for n in range(20)]
        await impl.sleep(0)
        tasks[-1].cancel()
        await impl.wait(tasks)
        for task in tasks:
            task.cancelled() or task.exception()


def test_all_tasks_while_tasks_come_and_go(safe, loop):
    main = loop.create_task(come_and_go(safe))

    def look():
        tasks = asyncio.all_tasks(loop)
        assert main in tasks or main.done()
        assert all(task.get_loop() is loop for task in tasks)

    def look_ours():
        assert main in safe.all_tasks(loop) or main.done()

    meanwhile(lambda: loop.run_until_complete(main), look, look_ours)


def test_all_tasks_while_short_ones_come_and_go(safe, loop):
    """Each is there for a step, so that those who look meet it on its way in or out."""

    async def pass_by():
        pass

    async def main():
        for _ in range(TIMES):
            for _ in range(10):
                loop.create_task(pass_by())
            await safe.sleep(0)

    def look():
        assert all(task.get_loop() is loop for task in asyncio.all_tasks(loop))

    meanwhile(lambda: loop.run_until_complete(main()), look, look)
    assert asyncio.all_tasks(loop) == set()


def test_all_tasks_while_pending_ones_are_dropped(safe):
    """Who finds a task either holds it, or does not see it any more."""
    reports = []

    async def never():
        raise AssertionError("it was not to begin")

    for _ in range(3):
        loop = safe.new_event_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
        for _ in range(20):
            loop.create_task(never())

        def look(loop=loop):
            assert all(task.get_loop() is loop for task in asyncio.all_tasks(loop))

        with support.recorded_warnings() as warned:
            meanwhile(loop.close, look, look)
        assert warned == [("RuntimeWarning", f"coroutine '{never.__qualname__}' was never awaited")] * 20
    assert reports == ["Task was destroyed but it is pending!"] * 60


def test_all_tasks_of_several_loops(safe):
    """Each loop's are its own, seen from within and from another loop's thread."""
    loops = [safe.new_event_loop() for _ in range(3)]

    def run(loop, other):
        async def main():
            for _ in range(40):
                tasks = {loop.create_task(safe.sleep(0)) for _ in range(10)}
                assert asyncio.all_tasks() == tasks | {asyncio.current_task()}
                assert all(task.get_loop() is other for task in asyncio.all_tasks(other))
                await safe.wait(tasks)

        loop.run_until_complete(main())

    support.at_once(*(functools.partial(run, loops[i], loops[i - 1]) for i in range(3)))
    for loop in loops:
        loop.close()


def test_current_task_of_a_loop_in_another_thread(safe, loop):
    def look():
        task = asyncio.current_task(loop)
        assert task is None or task.get_loop() is loop

    meanwhile(lambda: loop.run_until_complete(come_and_go(safe)), look, look)


def test_current_task_is_that_of_the_thread(safe):
    def run(_):
        async def child():
            await safe.sleep(0)
            assert asyncio.current_task() is safe.current_task() is names[safe.current_task().get_name()]

        async def main():
            for n in range(100):
                task = asyncio.get_running_loop().create_task(child(), name=str(n))
                names[str(n)] = task
                await task

        names = {}
        safe.run(main())

    in_each_thread(run)


def looks_at(task):
    """What debuggers, dumps of tasks and monitors in other threads ask."""
    # The code of repr() is asyncio's: it reads the callbacks twice, and the task may end in between.
    with contextlib.suppress(TypeError):
        repr(task)
        task.print_stack(file=io.StringIO())
    task.get_stack()
    task.get_coro()
    task.get_name()
    task.cancelling()
    with contextlib.suppress(asyncio.InvalidStateError, asyncio.CancelledError, LookupError):
        if task.exception() is None or support.GUARDED_EXCEPTIONS:
            task.result()


def test_tasks_are_looked_at_from_other_threads(ours, loop_of_ours):
    loop = loop_of_ours
    main = loop.create_task(come_and_go(ours, 30))

    def look():
        looks_at(main)
        for task in asyncio.all_tasks(loop):
            looks_at(task)

    meanwhile(lambda: loop.run_until_complete(main), look, look)


def test_futures_are_looked_at_from_other_threads(ours, loop_of_ours):
    """Who sees that a future is done sees its result."""
    loop = loop_of_ours
    futures = [loop.create_future() for _ in range(200)]

    def finish():
        for n, future in enumerate(futures):
            future.set_result(n)

    def look():
        for n, future in enumerate(futures):
            if future.done():
                assert future.result() == n
                assert future.exception() is None
                assert f"result={n}" in repr(future)
            else:
                repr(future)

    meanwhile(finish, look, look)


# ---- Changing futures and tasks from other threads ----


@pytest.fixture
def loop_of_ours(ours):
    with support.closing(ours.new_event_loop()) as loop:
        yield loop


def finish_by_result(future, number):
    future.set_result(number)


def finish_by_exception(future, number):
    future.set_exception(LookupError(number))


def finish_by_cancel(future, number):
    if not future.cancel():
        raise asyncio.InvalidStateError


FINISH_BY = [finish_by_result, finish_by_exception, finish_by_cancel]


@pytest.mark.parametrize("runs", [True, False])
def test_one_thread_finishes_a_future(ours, loop_of_ours, runs):
    """Of several that want to, exactly one; and each callback runs once. Whether the loop runs meanwhile, or nobody runs it."""
    loop = loop_of_ours
    futures = [loop.create_future() for _ in range(300)]
    called = []
    for future in futures:
        future.add_done_callback(called.append)
        future.add_done_callback(called.append)

    def finish(number):
        won = 0
        for future in futures:
            with contextlib.suppress(asyncio.InvalidStateError):
                FINISH_BY[number % 3](future, number)
                won += 1
        return won

    def work():
        wins = in_each_thread(finish)
        if runs:
            loop.call_soon_threadsafe(loop.stop)
        return wins

    if runs:
        _, wins = support.at_once(loop.run_forever, work)
    else:
        wins = work()
    support.run_once(loop, 2)
    assert sum(wins) == len(futures)
    assert sorted(map(id, called)) == sorted([id(future) for future in futures] * 2)
    for future in futures:
        future.cancelled() or future.exception()


def test_callbacks_are_added_and_removed_by_several_threads(ours, loop_of_ours):
    loop = loop_of_ours
    called = [[] for _ in range(THREADS)]
    count = 300
    for _ in range(3):
        future = loop.create_future()

        def add(number, future=future):
            notes = called[number] = []
            for i in range(count):
                future.add_done_callback(lambda _, i=i: notes.append(i))
                future.add_done_callback(looks_at_nothing)
                assert future.remove_done_callback(looks_at_nothing) >= 0

        in_each_thread(add)
        assert future.remove_done_callback(looks_at_nothing) == 0
        future.set_result(None)
        support.run_once(loop, 2)
        assert called == [list(range(count))] * THREADS


def looks_at_nothing(future):
    raise AssertionError("it was removed")


def test_each_callback_that_is_added_while_the_future_finishes_runs_once(ours, loop_of_ours):
    loop = loop_of_ours
    called = []
    futures = [loop.create_future() for _ in range(200)]

    def add(number):
        for n, future in enumerate(futures):
            future.add_done_callback(lambda _, n=n: called.append((number, n)))

    def finish():
        for future in futures:
            future.set_result(None)

    def work():
        support.at_once(finish, *(functools.partial(add, number) for number in range(THREADS)))
        loop.call_soon_threadsafe(loop.stop)

    support.at_once(loop.run_forever, work)
    support.run_once(loop, 2)
    assert sorted(called) == [(number, n) for number in range(THREADS) for n in range(len(futures))]


def test_tasks_are_cancelled_by_several_threads(ours, loop_of_ours):
    """Each cancel() that says it did something is counted, and each task ends."""
    loop = loop_of_ours

    async def wait():
        await loop.create_future()

    tasks = [loop.create_task(wait()) for _ in range(200)]

    def cancel(_):
        return [task.cancel() for task in tasks]

    # Nobody runs the loop.
    assert in_each_thread(cancel) == [[True] * len(tasks)] * THREADS
    assert [task.cancelling() for task in tasks] == [THREADS] * len(tasks)
    support.run_once(loop, 3)
    assert all(task.cancelled() for task in tasks)


def test_tasks_are_cancelled_while_they_run(ours, loop_of_ours):
    loop = loop_of_ours

    async def work():
        while True:
            await ours.sleep(0)

    tasks = [loop.create_task(work()) for _ in range(50)]

    def cancel(number):
        for task in tasks[number::THREADS]:
            task.cancel()

    def main():
        in_each_thread(cancel)
        loop.call_soon_threadsafe(loop.stop)

    support.at_once(loop.run_forever, main)
    support.run_once(loop, 3)
    assert all(task.cancelled() for task in tasks)


def test_tasks_are_made_by_several_threads(ours, loop_of_ours):
    """Of a loop that nobody runs: each is known, has a name of its own, and runs once."""
    loop = loop_of_ours
    ran = []

    async def note(number, n):
        ran.append((number, n))

    def make(number):
        return [loop.create_task(note(number, n)) for n in range(100)]

    made = in_each_thread(make)
    tasks = {task for some in made for task in some}
    assert asyncio.all_tasks(loop) == tasks
    assert len({task.get_name() for task in tasks}) == len(tasks) == 100 * THREADS
    support.run_once(loop, 2)
    for number in range(THREADS):
        assert [n for other, n in ran if other == number] == list(range(100))
    assert asyncio.all_tasks(loop) == set()


# ---- Handles ----


def test_handles_are_cancelled_by_other_threads(safe, loop):
    """Each runs once, unless it was cancelled."""
    ran = []
    handles = [loop.call_soon(ran.append, n) for n in range(1000)]

    def cancel(number):
        for handle in handles[number :: 2 * THREADS]:
            handle.cancel()
            assert handle.cancelled()

    def main():
        in_each_thread(cancel)
        loop.call_soon_threadsafe(loop.stop)

    support.at_once(loop.run_forever, main)
    assert len(set(ran)) == len(ran)
    for n, handle in enumerate(handles):
        assert handle.cancelled() == (n % (2 * THREADS) < THREADS)
        assert handle.cancelled() or n in ran


def test_timers_are_cancelled_by_other_threads(ours, loop_of_ours):
    """While the loop adds others, and runs those that are due."""
    loop = loop_of_ours
    ran = set()
    bag = queue.SimpleQueue()

    def add(left):
        for n in range(20):
            bag.put(loop.call_later(1000 + n % 7, ran.add, "never"))
            loop.call_later(0, ran.add, (left, n))
        if left > 0:
            loop.call_soon(add, left - 1)
        else:
            for _ in range(THREADS):
                bag.put(None)

    def cancel(_):
        while (handle := bag.get(timeout=60)) is not None:
            handle.cancel()
            assert handle.cancelled()

    def main():
        in_each_thread(cancel)
        loop.call_soon_threadsafe(loop.call_later, 0, loop.stop)

    loop.call_soon(add, 30)
    support.at_once(loop.run_forever, main)
    support.run_once(loop, 2)
    assert ran == {(left, n) for left in range(31) for n in range(20)}
    assert list(loop._scheduled) == []


# ---- Collections ----


def collect_some():
    for _ in range(5):
        gc.collect()


def test_collections_in_the_middle(safe):
    """Of other threads and of the loop's own, with all that is in cycles: tasks in tracebacks, futures that hold themselves."""

    async def fail(future):
        await safe.sleep(0)
        future.set_result(future)
        raise LookupError

    async def main():
        loop = asyncio.get_running_loop()
        for n in range(30):
            futures = [loop.create_future() for _ in range(10)]
            tasks = [loop.create_task(fail(future)) for future in futures]
            for task in tasks:
                task.mine = task
            await safe.wait(tasks)
            for task in tasks:
                assert type(task.exception()) is LookupError
            if n % 10 == 9:
                gc.collect()

    support.at_once(lambda: safe.run(main()), collect_some)


def test_collections_while_threads_send(impl):
    loop = impl.new_event_loop()
    ran = [0] * THREADS

    def count(number):
        ran[number] += 1

    def send(number):
        for _ in range(100):
            loop.call_soon_threadsafe(count, number)

    def main():
        support.at_once(collect_some, *(functools.partial(send, number) for number in range(THREADS)))
        loop.call_soon_threadsafe(loop.stop)

    support.at_once(loop.run_forever, main)
    loop.close()
    assert ran == [100] * THREADS


# ---- Objects of several threads ----


def test_loops_are_made_and_dropped_in_several_threads(safe):
    """Closed ones, and those that are dropped open, which say so."""
    gone = [[] for _ in range(THREADS)]

    async def child(n):
        await safe.sleep(0)
        return n

    async def main():
        return await safe.gather(*(child(n) for n in range(5)))

    def live(number):
        for n in range(8):
            loop = safe.new_event_loop()
            gone[number].append(weakref.ref(loop))
            assert loop.run_until_complete(main()) == list(range(5))
            loop.call_later(1000, print, loop)
            if n % 2:
                loop.close()
            del loop

    with support.recorded_warnings() as warned:
        in_each_thread(live)
        gc.collect()
    assert [reference() for references in gone for reference in references] == [None] * 8 * THREADS
    unclosed = [text for category, text in warned if text.startswith("unclosed event loop")]
    assert len(unclosed) == 4 * THREADS


def test_tasks_and_futures_are_dropped_in_another_thread(safe):
    """What nobody has asked for is reported there, once each."""
    count = 100
    reports = []
    bag = queue.SimpleQueue()

    async def fail():
        raise LookupError

    async def succeed():
        return Token()

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
        for _ in range(count):
            failing, succeeding = loop.create_task(fail()), loop.create_task(succeed())
            future, pending = loop.create_future(), loop.create_future()
            future.set_exception(LookupError())
            await safe.wait([failing, succeeding])
            for made in (failing, succeeding, future, pending):
                bag.put(made)
            del failing, succeeding, future, pending, made
        bag.put(None)

    def drop():
        while bag.get(timeout=60) is not None:
            pass

    support.at_once(lambda: safe.run(main()), drop)
    gc.collect()
    assert (
        sorted(reports)
        == ["Future exception was never retrieved"] * count + ["Task exception was never retrieved"] * count
    )


def test_pending_tasks_are_dropped_in_another_thread(safe):
    """With the loop, which nobody runs any more."""
    count = 50
    reports = []
    bag = queue.SimpleQueue()

    async def wait():
        await asyncio.get_running_loop().create_future()

    def make():
        for _ in range(count):
            loop = safe.new_event_loop()
            loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
            task = loop.create_task(wait())
            support.run_once(loop)
            loop.close()
            bag.put(task)
            del task, loop
        bag.put(None)

    def drop():
        while bag.get(timeout=60) is not None:
            pass

    support.at_once(make, drop)
    gc.collect()
    assert reports == ["Task was destroyed but it is pending!"] * count


# ---- fork() ----


def whole_program(impl, parents):
    """What a forked child does: a loop of its own, with threads of its own that call into it; and it looks at the parent's."""

    async def work(n):
        await impl.sleep(0)
        return n

    async def main():
        loop = asyncio.get_running_loop()
        answers = await impl.gather(*(work(n) for n in range(5)))
        called = loop.create_future()
        thread = threading.Thread(
            target=lambda: loop.call_soon_threadsafe(called.set_result, len(asyncio.all_tasks(loop)))
        )
        thread.start()
        answers.append(await called)
        thread.join()
        return answers

    asyncio.all_tasks(parents)
    parents.call_soon_threadsafe(int)
    gc.collect()
    return impl.run(main())


@pytest.mark.skipif(
    support.FREE_THREADED and not support.PY314,
    reason="in a child of 3.13 a lock of the interpreter may stay locked, for which its next collection waits: gh-137433",
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("of", ["another thread", "the loop's thread"])
def test_fork_in_the_middle_of_a_storm(safe, of):
    """The child has the forking thread only; whatever others had locked, it runs a new loop."""
    loop = safe.new_event_loop()
    forked = threading.Event()

    def child():
        signal.alarm(60)  # rather than to hang
        asyncio._set_running_loop(None)
        return whole_program(safe, loop)

    def fork_some():
        try:
            return [in_child(child) for _ in range(2)]
        finally:
            forked.set()

    def storm(_):
        for _ in range(300):
            loop.call_soon_threadsafe(loop.create_task, safe.sleep(0))
        while not forked.is_set():
            asyncio.all_tasks(loop)
            loop.call_soon_threadsafe(int).cancel()

    def main():
        if of == "another thread":
            return fork_some()
        answered = queue.SimpleQueue()
        loop.call_soon_threadsafe(lambda: answered.put(fork_some()))
        return answered.get(timeout=60)

    with support.closing(loop), support.running_in_thread(loop):
        answers, *_ = support.at_once(main, *(functools.partial(storm, number) for number in range(2)))
        assert answers == [[0, 1, 2, 3, 4, 1]] * 2


# ---- A loop in each thread ----


async def with_queue(impl):
    queue = impl.Queue(2)

    async def produce():
        for n in range(30):
            await queue.put(n)

    producer = asyncio.get_running_loop().create_task(produce())
    assert [await queue.get() for _ in range(30)] == list(range(30))
    await producer


async def with_locks(impl):
    lock, event = impl.Lock(), impl.Event()
    inside = 0

    async def enter():
        nonlocal inside
        await event.wait()
        async with lock:
            inside += 1
            await impl.sleep(0)
            assert inside == 1
            inside -= 1

    async with impl.TaskGroup() as group:
        for _ in range(5):
            group.create_task(enter())
        await impl.sleep(0)
        event.set()


async def with_timers(impl):
    with pytest.raises(TimeoutError):
        async with impl.timeout(0):
            await asyncio.get_running_loop().create_future()
    assert await impl.wait_for(impl.sleep(0, "in time"), 60) == "in time"


async def with_streams(impl):
    ours, theirs = socket.socketpair()
    first, to_first = await impl.open_connection(sock=ours)
    second, to_second = await impl.open_connection(sock=theirs)
    for n in range(10):
        to_first.write(b"%d\n" % n)
        await to_first.drain()
        to_second.write(await second.readline())
        assert await first.readline() == b"%d\n" % n
    for writer in (to_first, to_second):
        writer.close()
        await writer.wait_closed()


async def with_tls(impl):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await impl.start_server(serve, "127.0.0.1", 0, ssl=peers.server_context())
    async with server:
        address = server.sockets[0].getsockname()
        reader, writer = await impl.open_connection(
            *address, ssl=peers.client_context(), server_hostname="localhost"
        )
        writer.write(b"over TLS\n")
        assert await reader.read() == b"over TLS\n"
        writer.close()
        await writer.wait_closed()


async def with_a_process(impl):
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert await process.communicate(b"through cat") == (b"through cat", None)
    assert process.returncode == 0


async def with_an_executor(impl):
    assert await impl.to_thread(threading.get_ident) != threading.get_ident()


PARTS = [with_queue, with_locks, with_timers, with_streams, with_tls, with_a_process, with_an_executor]


@pytest.mark.parametrize("part", PARTS)
def test_a_loop_in_each_of_eight_threads(safe, part):
    async def main():
        for _ in range(2):
            await part(safe)

    support.at_once(*(functools.partial(safe.run, main()) for _ in range(8)))


def test_everything_in_each_of_eight_threads(safe):
    """At the same time, and with signals in the main thread, which alone gets them."""
    struck = []

    async def everything():
        async with safe.TaskGroup() as group:
            for part in PARTS[:4]:
                group.create_task(part(safe))

    async def other():
        with pytest.raises((RuntimeError, ValueError), match="main thread"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
        await everything()

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, struck.append, 1)
        threads = [threading.Thread(target=safe.run, args=(other(),)) for _ in range(7)]
        for thread in threads:
            thread.start()
        for n in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            while len(struck) <= n:
                await safe.sleep(0)
        await everything()
        for thread in threads:
            await safe.to_thread(thread.join)
        loop.remove_signal_handler(signal.SIGUSR1)

    safe.run(main())
    assert len(struck) == 20
