"""loop._ready and loop._scheduled: what asyncio has as a deque and a list of handles, and programs look into and change."""

import asyncio
import collections
import contextvars
import copy
import gc
import heapq
import operator
import pickle
import random
import signal
import weakref

import pytest

from . import support


@pytest.fixture
def queued(loop):
    """`(loop, handles, ran)` with five callbacks in the queue that note their number."""
    ran = []
    return loop, [loop.call_soon(ran.append, number) for number in range(5)], ran


def test_it_is_a_deque_of_the_handles(queued):
    loop, handles, _ = queued
    ready = loop._ready
    assert ready is loop._ready and isinstance(ready, collections.deque)
    assert len(ready) == 5 and ready and list(ready) == handles and list(reversed(ready)) == handles[::-1]
    assert [ready[i] for i in range(-5, 5)] == handles * 2
    assert ready == collections.deque(handles) and ready != collections.deque() and ready != handles
    assert collections.deque(handles) == ready
    assert handles[2] in ready and object() not in ready
    assert ready.count(handles[0]) == 1 and ready.count(None) == 0
    assert ready.index(handles[3]) == 3 and ready.index(handles[3], 1, 4) == 3
    assert repr(ready) == repr(collections.deque(handles))
    assert type(ready.copy()) is type(copy.copy(ready)) is collections.deque and ready.copy() == ready
    assert ready + collections.deque([1]) == collections.deque([*handles, 1])
    assert ready.maxlen is None
    with pytest.raises(TypeError):
        hash(ready)


def test_changes_are_what_runs(queued):
    loop, handles, ran = queued
    ready = loop._ready
    assert ready.popleft() is handles[0] and ready.pop() is handles[4]
    ready.append(handles[0])
    ready.appendleft(handles[4])
    ready.remove(handles[2])
    ready.insert(1, handles[2])
    ready.rotate(2)
    ready.reverse()
    ready.extend([handles[1], handles[1]])
    ready.extendleft([handles[0], handles[2]])
    del ready[-1]
    ready[0] = handles[3]
    ready += [handles[0]]
    numbers = [handle._args[0] for handle in ready]
    assert len(numbers) == 9
    support.run_once(loop)
    assert ran == numbers and not ready


@pytest.mark.parametrize("seed", range(10))
def test_any_changes_are_those_of_a_deque(impl, loop, seed):
    """Also where the ring of a native loop wraps around, and has to grow."""
    chance = random.Random(seed)
    ran, shadow = [], collections.deque()
    for number in range(chance.randrange(60)):
        loop.call_soon(ran.append, number)
    support.run_once(loop)
    spare = [asyncio.Handle(ran.append, (number,), loop) for number in range(100, 200)]

    def step(queue, choice, place, handle):
        if choice == 0:
            queue.append(handle)
        elif choice == 1:
            queue.appendleft(handle)
        elif choice == 2:
            queue.insert(place, handle)
        elif choice == 3:
            return queue.pop()
        elif choice == 4:
            return queue.popleft()
        elif choice == 5:
            queue.rotate(place)
        elif choice == 6:
            queue[place] = handle
        elif choice == 7:
            del queue[place]
        elif choice == 8:
            queue.remove(handle)
        elif choice == 9:
            queue.reverse()
        elif choice == 10:
            queue.extendleft([handle, handle])
        else:
            return queue.index(handle)
        return None

    def outcome(*arguments):
        try:
            return step(*arguments)
        except (IndexError, ValueError) as error:
            return support.described(error)

    for _ in range(400):
        arguments = (
            chance.choice([0, 0, 1, 1, 2, 2, *range(3, 12)]),
            chance.randrange(-90, 90),
            chance.choice(spare),
        )
        assert outcome(loop._ready, *arguments) == outcome(shadow, *arguments)
        assert list(loop._ready) == list(shadow)
    ran.clear()
    support.run_once(loop)
    assert ran == [handle._args[0] for handle in shadow]


def test_empty(loop):
    ready = loop._ready
    for attempt, text in [
        (ready.pop, "pop from an empty deque"),
        (ready.popleft, "pop from an empty deque"),
        (lambda: ready[0], "deque index out of range"),
        (lambda: ready[-1], "deque index out of range"),
        (lambda: ready.__setitem__(0, loop.call_soon(print).cancel() or ready.pop()), "deque"),
    ]:
        with pytest.raises(IndexError, match=text):
            attempt()
    with pytest.raises(ValueError, match="not in deque"):
        ready.remove(1)
    with pytest.raises(ValueError, match="not in deque"):
        ready.index(1)
    ready.rotate(3)
    ready.reverse()
    ready.clear()
    assert not ready and list(ready) == [] and repr(ready) == "deque([])"


def test_clear_drops_what_is_queued(queued):
    loop, _, ran = queued
    loop._ready.clear()
    support.run_once(loop)
    assert ran == [] and len(loop._ready) == 0


def test_change_while_it_is_iterated_over(queued):
    loop, _, _ = queued
    for change in (lambda: loop.call_soon(print), loop._ready.pop, lambda: loop._ready.rotate(1)):
        iterator = iter(loop._ready)
        next(iterator)
        change()
        with pytest.raises(RuntimeError, match="deque mutated during iteration"):
            next(iterator)
    iterator = iter(loop._ready)
    loop.call_soon(print)
    with pytest.raises(RuntimeError):
        list(iterator)
    loop._ready.clear()


def test_change_by_a_comparison(queued):
    loop, _, _ = queued

    class Changes:
        def __eq__(self, other):
            loop._ready.pop()
            return False

    with pytest.raises(RuntimeError, match="deque mutated during iteration"):
        loop._ready.index(Changes())
    with pytest.raises(RuntimeError):
        Changes() in loop._ready  # noqa: B015


def test_callback_changes_what_runs_next(queued):
    loop, handles, ran = queued

    def change():
        ran.append("change")
        loop._ready.rotate(-1)  # 0 goes behind 4
        loop._ready.remove(handles[2])
        loop.call_soon(ran.append, "added")

    loop._ready.appendleft(loop.call_soon(change))
    loop._ready.pop()
    support.run_once(loop)
    # As many as there were when the turn began.
    assert ran == ["change", 1, 3, 4, 0, "added"]


def test_what_is_added_to_the_front_runs_in_the_turn_and_the_last_in_the_next(queued):
    loop, _, ran = queued
    loop._ready[0] = asyncio.Handle(
        lambda: loop._ready.appendleft(asyncio.Handle(ran.append, ("front",), loop)), (), loop
    )
    support.run_once(loop)
    assert ran == ["front", 1, 2, 3]
    support.run_once(loop)
    assert ran == ["front", 1, 2, 3, 4]


@pytest.mark.parametrize("debug", [False, True])
def test_asyncios_own_handles_run_in_their_context(impl, loop, debug):
    loop.set_debug(debug)
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    seen = []
    handle = asyncio.Handle(lambda: seen.append(variable.get()), (), loop, context)
    cancelled = asyncio.Handle(seen.append, ("cancelled",), loop)
    failing = asyncio.Handle(lambda: 1 / 0, (), loop)
    loop.set_exception_handler(lambda loop, details: seen.append(details["handle"] is failing))
    loop._ready.extend([handle, cancelled, failing])
    assert (
        loop._ready[0] is handle
        and loop._ready[0] is handle
        and list(loop._ready) == [handle, cancelled, failing]
    )
    cancelled.cancel()
    support.run_once(loop)
    assert seen == ["inside", True]


def test_a_timer_among_what_is_ready(impl, loop):
    ran = []
    timer = loop.call_later(1000, ran.append, "timer")
    loop._ready.append(timer)
    support.run_once(loop)
    assert ran == ["timer"] and loop._scheduled[0] is timer
    timer.cancel()


def test_order_of_tasks(impl, loop):
    """What asynkit and tests of races do: tasks in another order than they were made in."""
    ran = []

    async def note(number):
        ran.append(number)
        await impl.sleep(0)
        ran.append(number + 10)
        return number

    async def main():
        tasks = [impl.create_task(note(number)) for number in range(4)]
        found = [handle._callback.__self__ for handle in loop._ready]
        assert found == tasks
        loop._ready.reverse()
        await impl.sleep(0)
        assert ran == [3, 2, 1, 0]
        loop._ready.rotate(1)
        return await impl.gather(*tasks)

    assert loop.run_until_complete(main()) == [0, 1, 2, 3]
    assert ran[4:] == [10, 13, 12, 11]


def test_handle_of_a_task_is_the_same_each_time_and_runs_its_step(impl, loop):
    ran = []

    async def step():
        ran.append(asyncio.current_task())
        await impl.sleep(0)
        ran.append(asyncio.current_task())
        return "done"

    task = loop.create_task(step())
    handle = loop._ready[0]
    assert loop._ready[0] is handle and handle in loop._ready and loop._ready.index(handle) == 0
    assert loop._ready.popleft() is handle
    support.run_once(loop)
    assert ran == []
    loop._ready.append(handle)
    support.run_once(loop)
    assert ran == [task] and not task.done()
    (again,) = loop._ready
    assert again is not handle
    support.run_once(loop)
    assert ran == [task, task] and task.result() == "done"


@pytest.mark.parametrize("outcome", ["result", "exception", "cancelled"])
def test_task_that_is_woken_by_way_of_its_handle(impl, loop, outcome):
    future = loop.create_future()

    async def wait():
        return await future

    task = loop.create_task(wait())
    support.run_once(loop)
    {
        "result": lambda: future.set_result(1),
        "exception": lambda: future.set_exception(KeyError("key")),
        "cancelled": future.cancel,
    }[outcome]()
    handle = loop._ready.pop()
    assert handle._callback.__self__ is task and handle._args == (future,)
    loop._ready.append(handle)
    support.run_once(loop)
    assert task.done()
    if outcome == "result":
        assert task.result() == 1
    elif outcome == "exception":
        assert type(task.exception()) is KeyError
    else:
        assert task.cancelled()


def test_error_that_a_task_is_told_in_its_next_step_is_told_once(impl, loop):
    """`yield` of something that is no future: the next step throws a RuntimeError."""
    told = []

    class Wrong:
        def __await__(self):
            for _ in range(3):
                try:
                    yield "no future"
                except RuntimeError as error:
                    told.append(str(error))
                yield None

    async def wrong():
        await Wrong()

    task = loop.create_task(wrong())
    while not task.done():
        list(loop._ready)
        support.run_once(loop)
    assert len(told) == 3


def test_handle_of_a_task_that_is_cancelled_takes_its_step(impl, loop):
    async def never():
        raise AssertionError

    task = loop.create_task(never())
    loop._ready[0].cancel()
    support.run_once(loop)
    support.run_once(loop)
    assert not task.done()
    loop.call_soon(task.get_coro().close)
    support.run_once(loop)
    task._log_destroy_pending = False


def test_looking_changes_nothing(impl, loop):
    """gather, wait, sleep, timeouts and wake-ups with all that is queued looked at in each turn."""
    looks = []

    def look():
        looks.append((list(loop._ready), list(loop._scheduled)))
        if not stopped:
            loop.call_soon(look)

    async def child(number):
        await impl.sleep(0)
        await impl.sleep(0.001 * number)
        if number == 3:
            raise KeyError(number)
        return number

    async def main():
        results = await impl.gather(*(child(number) for number in range(5)), return_exceptions=True)
        done, pending = await impl.wait(
            [impl.create_task(child(1)), impl.create_task(child(50))], timeout=0.02
        )
        for task in pending:
            task.cancel()
        first, _ = await impl.wait(pending)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(impl.sleep(100), 0.001)
        sleeper = impl.create_task(impl.sleep(100))
        await impl.sleep(0)
        list(loop._scheduled)
        sleeper.cancel()
        await impl.wait([sleeper])
        return results, [task.result() for task in done], len(pending), first == pending, sleeper.cancelled()

    stopped = False
    look()
    results, *rest = loop.run_until_complete(main())
    stopped = True
    assert [type(result) for result in results] == [int, int, int, KeyError, int]
    assert rest == [[1], 1, True, True]
    assert max(len(timers) for _, timers in looks) > 0


def test_assignment_takes_the_handles_over(queued):
    loop, handles, ran = queued
    loop._ready = collections.deque(reversed(loop._ready))
    loop._ready.append(asyncio.Handle(ran.append, ("last",), loop))
    support.run_once(loop)
    assert ran == [4, 3, 2, 1, 0, "last"]
    loop._ready = loop._ready
    loop.call_soon(ran.append, "again")
    support.run_once(loop)
    assert ran[-1] == "again" and len(handles) == 5


def test_what_a_native_queue_cannot_hold_is_refused(ours):
    class Deque(collections.deque):
        pass

    with support.closing(ours.new_event_loop()) as loop:
        handle = loop.call_soon(int)
        for wrong in (1, None, print, object()):
            for attempt in (loop._ready.append, loop._ready.appendleft, lambda it: loop._ready.insert(0, it)):
                with pytest.raises(TypeError, match="the queues of a loop hold handles, not"):
                    attempt(wrong)
            with pytest.raises(TypeError, match="the queues of a loop hold handles, not"):
                loop._ready[0] = wrong
        for queue in (Deque([handle]), (handle,), None):
            with pytest.raises(TypeError, match="the ready queue takes over the handles of a deque"):
                loop._ready = queue
        with pytest.raises(TypeError, match="the queues of a loop hold handles"):
            loop._ready = collections.deque([handle, 1])
        assert list(loop._ready) == [handle]
        with pytest.raises(AttributeError):
            del loop._ready
        # What was taken over is empty, so that nobody waits in vain for what is put there.
        taken = collections.deque([handle])
        loop._ready = taken
        assert not taken and list(loop._ready) == [handle]


def test_queues_of_a_closed_loop(impl):
    loop = impl.new_event_loop()
    ready, scheduled = loop._ready, loop._scheduled
    handle = loop.call_soon(print)
    loop.call_later(1000, print)
    loop.close()
    assert not ready and not scheduled and list(ready) == list(scheduled) == []
    if impl.native_loop:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            ready.append(handle)


def test_queues_do_not_keep_the_loop_alive(impl):
    loop = impl.new_event_loop()
    ready, scheduled, gone = loop._ready, loop._scheduled, weakref.ref(loop)
    other = impl.new_event_loop()
    handle = other.call_soon(print)
    other.close()
    loop.close()
    gc.disable()
    try:
        del loop
        assert not impl.native_loop or gone() is None
    finally:
        gc.enable()
    assert not ready and not scheduled and list(ready) == []
    if impl.native_loop:
        with pytest.raises(RuntimeError, match="the loop of this queue is gone"):
            ready.append(handle)


def test_entry_whose_end_changes_the_queue(impl, loop):
    class Ends:
        def __del__(self):
            loop._ready.clear()
            loop.call_soon(ran.append, "by the end")

    ran = []
    for _ in range(3):
        loop._ready.append(loop.call_soon(lambda ends: None, Ends()))
    loop._ready.clear()
    while loop._ready:
        support.run_once(loop)
    assert set(ran) <= {"by the end"}


# ---- Timers ----


def test_timers_are_a_heap_of_handles(loop):
    timers = [loop.call_later(delay, print, delay) for delay in (3000, 1000, 2000, 5000, 4000)]
    scheduled = loop._scheduled
    assert scheduled is loop._scheduled and len(scheduled) == 5 and scheduled
    assert scheduled[0] is timers[1] and sorted(scheduled) == sorted(timers)
    assert timers[2] in scheduled and scheduled.index(timers[1]) == 0 and scheduled.count(timers[0]) == 1
    heap = list(scheduled)
    assert all(heap[(i - 1) // 2] <= heap[i] for i in range(1, 5))
    assert scheduled.copy() == heap and type(scheduled.copy()) is list and scheduled == heap
    assert scheduled[1:3] == heap[1:3] and scheduled[-1] is heap[-1]
    for timer in timers:
        timer.cancel()


def test_timer_that_is_removed_does_not_run(loop):
    ran = []
    timers = [loop.call_later(0, ran.append, number) for number in range(4)]
    loop._scheduled.remove(timers[1])
    assert not timers[1].cancelled() and timers[1] not in loop._scheduled
    with pytest.raises(ValueError, match="not in list"):
        loop._scheduled.remove(timers[1])
    del loop._scheduled[loop._scheduled.index(timers[2])]
    for _ in range(3):
        support.run_once(loop)
    assert ran == [0, 3]


def test_timers_are_replaced(loop):
    ran = []
    for number in range(4):
        loop.call_later(0, ran.append, number)
    loop._scheduled = [timer for timer in loop._scheduled if timer._args[0] % 2]
    assert len(loop._scheduled) == 2
    for _ in range(3):
        support.run_once(loop)
    assert ran == [1, 3]
    loop.call_later(0, ran.append, "cleared")
    loop._scheduled.clear()
    support.run_once(loop)
    assert ran == [1, 3]


def test_timer_of_a_sleep(impl, loop):
    """It is a handle that says when, and cancelling or removing it means what it means in asyncio."""
    tasks = [loop.create_task(impl.sleep(delay)) for delay in (1000, 2000)]
    support.run_once(loop)
    first, second = sorted(loop._scheduled)
    assert loop._scheduled[0] is first and isinstance(first, asyncio.TimerHandle)
    assert 999 < first.when() - loop.time() <= 1000 and 1999 < second.when() - loop.time() <= 2000
    assert first._args[0] is tasks[0]._fut_waiter
    loop._ready.append(first)
    support.run_once(loop)
    support.run_once(loop)
    assert tasks[0].done() and not tasks[1].done()
    second.cancel()
    tasks[1].cancel()
    support.run_once(loop)
    support.run_once(loop)
    assert tasks[1].cancelled()
    first.cancel()


def test_what_a_native_queue_of_timers_cannot_do_is_refused(ours):
    with support.closing(ours.new_event_loop()) as loop, support.closing(ours.new_event_loop()) as other:
        timer, others = loop.call_later(1000, print), other.call_later(1000, print)
        heapq.heappush(loop._scheduled, timer)
        with pytest.raises(ValueError, match="is scheduled already"):
            len(loop._scheduled)
        with pytest.raises(ValueError, match="is scheduled already"):
            loop._scheduled.append(timer)
        for wrong in (others, loop.call_soon(int), 1, asyncio.TimerHandle(0, print, (), other)):
            with pytest.raises(TypeError, match="the timers of a loop are what its call_at"):
                loop._scheduled.append(wrong)
        for attempt in (lambda: loop._scheduled.insert(0, timer), loop._scheduled.reverse):
            with pytest.raises(TypeError, match="a timer's place in the queue is that of its time"):
                attempt()
        with pytest.raises(IndexError):
            heapq.heappop(loop._scheduled)
        loop._scheduled.remove(timer)
        loop._scheduled.append(timer)
        assert list(loop._scheduled) == [timer]
        timer.cancel()
        others.cancel()


def stock_timer(loop, delay, callback, *args):
    """Do what asyncio's own call_at() does, of which a wrapper or an override may be what calls it."""
    return asyncio.BaseEventLoop.call_at(loop, loop.time() + delay, callback, *args)


def test_timers_that_asyncio_pushes(loop):
    """They are due among the others, and seen, cancelled and removed as they are in asyncio's list."""
    ran = []
    first = stock_timer(loop, 1000, ran.append, "first")
    second = loop.call_later(2000, ran.append, "second")
    third = stock_timer(loop, 3000, ran.append, "third")
    assert sorted(loop._scheduled) == [first, second, third] and loop._scheduled[0] is first
    assert type(first) is type(third) is asyncio.TimerHandle and first._scheduled is True
    assert isinstance(loop._scheduled, list) and len(loop._scheduled) == 3 and third in loop._scheduled
    loop._scheduled.remove(third)
    assert list(loop._scheduled) == [first, second]
    due = [stock_timer(loop, delay, ran.append, delay) for delay in (0, -1)]
    due[1].cancel()
    for _ in range(3):
        support.run_once(loop)
    assert ran == [0] and due[0]._scheduled is False
    first.cancel()
    second.cancel()
    third._scheduled = False


def test_timer_that_asyncio_pushes_while_the_loop_runs(loop):
    """The loop does not sleep past it."""

    async def main():
        future = loop.create_future()
        stock_timer(loop, 0.001, future.set_result, "woken")
        return await future

    assert loop.run_until_complete(main()) == "woken"


def test_timer_that_asyncio_pushes_between_two_callbacks(loop):
    """A handler of a signal runs where no callback does."""
    future = loop.create_future()

    def handler(*_):
        stock_timer(loop, 0.001, future.set_result, "woken")

    before = signal.signal(signal.SIGALRM, handler)
    loop.call_later(
        0.1, int
    )  # Python waits on after a signal, so that asyncio's loop, too, sees the timer in its next turn only
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        assert loop.run_until_complete(future) == "woken"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_storms_of_cancelled_timers_of_asyncio_are_forgotten(loop):
    """Most of them are gone long before their time, as on asyncio."""
    alive = weakref.WeakSet()
    for _ in range(1000):
        timer = stock_timer(loop, 1000, print)
        alive.add(timer)
        timer.cancel()
    del timer
    support.run_once(loop)
    support.run_once(loop)
    assert len(alive) < 150
    loop._scheduled.clear()


OPERATORS = {
    "queue * 2": lambda queue, plain: queue * 2,
    "0 * queue": lambda queue, plain: 0 * queue,
    "queue * 1.5": lambda queue, plain: queue * 1.5,
    "queue + other": lambda queue, plain: queue + plain,
    "other + queue": lambda queue, plain: plain + queue,
    "queue < other": lambda queue, plain: queue < plain,
    "queue <= other": lambda queue, plain: queue <= plain,
    "queue > less": lambda queue, plain: queue > plain * 0,
    "queue >= less": lambda queue, plain: queue >= plain * 0,
    "less < queue": lambda queue, plain: plain * 0 < queue,
    "other >= queue": lambda queue, plain: plain >= queue,
    "queue < queue": lambda queue, plain: queue < queue,
    "queue == other": lambda queue, plain: queue == plain and not queue != plain and plain == queue,
    "copy.copy": lambda queue, plain: copy.copy(queue),
    "copy()": lambda queue, plain: queue.copy(),
    "in": lambda queue, plain: (plain[0] in queue, 7 in queue),
    "queue['a']": lambda queue, plain: queue["a"],
    "queue[1.0]": lambda queue, plain: queue[1.0],
    "queue[99]": lambda queue, plain: queue[99],
    "hash": lambda queue, plain: hash(queue),
    "maxlen": lambda queue, plain: (
        getattr(queue, "maxlen", "no such"),
        getattr(queue, "rotate", None) is None,
    ),
    "reversed": lambda queue, plain: list(reversed(queue)) == list(reversed(plain)),
    "index of what is not there": lambda queue, plain: queue.index(7),
    "index from a place on": lambda queue, plain: (queue.index(plain[1], 1), queue.index(plain[0], -9, 2)),
    "index behind it": lambda queue, plain: queue.index(plain[0], 1),
    "count": lambda queue, plain: (queue.count(plain[0]), queue.count(7)),
    "queue *= 1": lambda queue, plain: operator.imul(queue, 1) is queue,
    "queue *= 0": lambda queue, plain: operator.imul(queue, 0) is queue and len(queue),
    "queue *= 'a'": lambda queue, plain: operator.imul(queue, "a"),
}


def outcome(operation, queue, plain):
    try:
        result = operation(queue, plain)
    except (TypeError, ValueError, IndexError) as error:
        return type(error)
    return type(result), result, list(queue)


@pytest.mark.parametrize("operation", OPERATORS)
@pytest.mark.parametrize("name", ["_ready", "_scheduled"])
def test_operators_are_those_of_a_deque_and_of_a_list(loop, name, operation):
    """They make other deques and lists, of the same handles."""
    for number in range(3):
        loop.call_soon(print, number)
        loop.call_later(100 + number, print, number)
    queue = getattr(loop, name)
    plain = {"_ready": collections.deque, "_scheduled": list}[name](queue)
    expected = outcome(OPERATORS[operation], plain.copy(), plain)
    assert outcome(OPERATORS[operation], queue, plain) == expected
    loop._scheduled.clear()
    loop._ready.clear()


def test_ready_queue_is_repeated(queued):
    """As asyncio's, whose handles then run twice."""
    loop, handles, ran = queued
    ready = loop._ready
    ready *= 2
    assert ready is loop._ready and list(ready) == handles * 2
    support.run_once(loop)
    assert ran == [*range(5), *range(5)]


def test_pickling_fails_because_of_the_handles_only(loop):
    for queue, kind in ((loop._ready, collections.deque), (loop._scheduled, list)):
        loaded = pickle.loads(pickle.dumps(queue))
        assert type(loaded) is kind and not loaded
    loop.call_soon(int)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(loop._ready)
    loop._ready.clear()


def test_timer_that_is_taken_out_is_still_marked_as_scheduled(impl):
    """asyncio's loop sets TimerHandle._scheduled when it takes a timer out by itself, and anybody may."""
    loop = impl.new_event_loop()
    timers = [loop.call_later(1000 + number, int) for number in range(5)]
    loop._scheduled.remove(timers[0])
    del loop._scheduled[0]
    assert [timer._scheduled for timer in timers] == [True] * 5
    timers[2]._scheduled = False
    assert timers[2]._scheduled is False and timers[2] in loop._scheduled
    loop._scheduled.clear()
    assert [timer._scheduled for timer in timers] == [True, True, False, True, True]
    ran = []
    timer = loop.call_at(0, ran.append, 1)
    loop._scheduled.remove(timer)
    loop._scheduled.append(timer)
    support.run_once(loop)
    assert (ran, timer._scheduled) == ([1], False)
    last = loop.call_later(1000, int)
    loop.close()
    assert last._scheduled is True
