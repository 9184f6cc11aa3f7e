"""asyncio_c.record(): what loops did, as exact events and spans of known programs."""

import asyncio
import gc
import socket
import sys
import threading
import weakref

import pytest

import asyncio_c
from asyncio_c import _core
from asyncio_c.monitor.recording import Recording
from asyncio_c.monitor.waits import describe

from . import support


def record_run(ours, main):
    """Run a coroutine function on a new loop of an implementation, and return the Recording."""
    with asyncio_c.record() as recording:
        ours.run(main())
    return recording


def shape(task):
    """Return the states of a task and what it waited for."""
    return [(span.state, span.what) if span.state == "waiting" else span.state for span in task.spans]


def waited(recording, name="main"):
    """Return the spans in which the task waited that runs the function `name`."""
    task = next(task for task in recording.tasks if task.function == name)
    return [span for span in task.spans if span.state == "waiting"]


# ---- spans ----


def test_a_step_a_wait_and_a_step(ours):
    async def main():
        await ours.sleep(0.001)

    task = record_run(ours, main).tasks[0]
    assert shape(task) == ["ready", "running", ("waiting", "sleep(0.001)"), "ready", "running"]
    assert (task.function, task.outcome, task.found) == ("main", "result", False)
    assert task.name.startswith("Task-")
    # The timer counts from the call of sleep(), in the step, and fires within the clock's resolution of its time.
    assert round(task.spans[2].end - task.spans[1].start, 6) >= 0.001 and task.spans[2].woken_by == "a timer"
    assert task.spans[2].where == f"{__file__}:{main.__code__.co_firstlineno + 1}"
    assert task.made <= task.spans[0].start and task.ended == task.spans[-1].end
    assert all(before.end == after.start for before, after in zip(task.spans, task.spans[1:], strict=False))


def test_sleep_0_is_ready_again_at_once(ours):
    async def main():
        await ours.sleep(0)

    assert shape(record_run(ours, main).tasks[0]) == ["ready", "running", "ready", "running"]


def test_who_made_and_who_woke_a_task(ours):
    async def child(future):
        await future

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(child(future), name="child")
        await ours.sleep(0)
        future.set_result(None)
        await task

    recording = record_run(ours, main)
    main_task, child_task = recording.tasks[0], recording.task("child")
    assert (child_task.made_by, child_task.maker) == (main_task.name, main_task.number)
    wait = waited(recording, "child")[0]
    assert (wait.kind, wait.what, wait.woken_by, wait.waker) == (
        "future",
        "a future",
        main_task.name,
        main_task.number,
    )
    wait = waited(recording)[0]
    assert (wait.kind, wait.what, wait.woken_by, wait.waker) == (
        "task",
        "task child",
        "child",
        child_task.number,
    )


def test_gather_is_woken_by_the_last_of_its_children(ours):
    async def child(delay):
        await ours.sleep(delay)

    async def main():
        await ours.gather(child(0.001), child(0.003))

    recording = record_run(ours, main)
    wait = waited(recording)[0]
    assert (wait.kind, wait.what) == ("gather", "gather of 2")
    assert wait.waker == recording.tasks[2].number


def test_outcomes(ours):
    async def fail():
        raise ValueError("no such thing")

    async def main():
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(fail(), name="fails"), loop.create_task(ours.sleep(3600), name="cancelled")]
        await ours.sleep(0)
        tasks[1].cancel()
        await ours.wait(tasks)
        tasks[0].exception()
        loop.create_task(ours.sleep(3600), name="left")
        await ours.sleep(0)

    recording = record_run(ours, main)
    failed, cancelled = recording.task("fails"), recording.task("cancelled")
    assert (failed.outcome, failed.error) == ("exception", "ValueError: no such thing")
    assert (cancelled.outcome, cancelled.error) == ("cancelled", "")
    assert waited(recording)[0].kind == "tasks"
    assert cancelled.cancelled_by == recording.tasks[0].name
    assert recording.task("left").outcome == "cancelled"  # by run() itself


def test_a_task_that_is_not_done(ours):
    with support.closing(ours.new_event_loop()) as loop:
        with asyncio_c.record(loop) as recording:
            task = loop.create_task(ours.sleep(3600))
            support.run_once(loop, 2)
        assert [task.outcome for task in recording.tasks] == ["pending"]
        assert recording.tasks[0].spans[-1].end == recording.duration
        task.cancel()
        support.run_once(loop, 2)


def test_a_thread_wakes(ours):
    async def main():
        loop, begun = asyncio.get_running_loop(), threading.Event()
        loop.call_later(0.001, begun.set)
        await loop.run_in_executor(None, begun.wait)

    wait = waited(record_run(ours, main))[0]
    assert (wait.kind, wait.what, wait.woken_by) == ("thread", "a thread", "a thread")


def test_a_descriptor_wakes(ours):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            loop = asyncio.get_running_loop()
            loop.call_later(0.001, right.send, b"x")
            await loop.sock_recv(left, 1)

    wait = waited(record_run(ours, main))[0]
    assert (wait.kind, wait.what, wait.woken_by) == ("socket", "sock_recv", "a descriptor")


WAITS = {
    "queue": ("queue", "Queue.get", lambda ours: ours.Queue().get()),
    "event": ("event", "Event.wait", lambda ours: ours.Event().wait()),
    "semaphore": ("lock", "Semaphore.acquire", lambda ours: ours.Semaphore(0).acquire()),
    "barrier": ("event", "Barrier.wait", lambda ours: ours.Barrier(2).wait()),
    "sleep": ("sleep", "sleep(3600)", lambda ours: ours.sleep(3600)),
    "reader": ("stream", "StreamReader.readline", lambda ours: ours.StreamReader().readline()),
    "gather": ("gather", "gather of 1", lambda ours: ours.gather(ours.sleep(3600))),
    "future": ("future", "a future", lambda ours: asyncio.get_running_loop().create_future()),
}


@pytest.mark.parametrize("case", WAITS)
def test_what_is_waited_for(case, ours):
    kind, what, wait_for_it = WAITS[case]

    async def waits():
        await wait_for_it(ours)

    async def main():
        task = asyncio.get_running_loop().create_task(waits())
        await ours.sleep(0)
        task.cancel()
        await ours.wait([task])

    wait = waited(record_run(ours, main), "waits")[0]
    assert (wait.kind, wait.what) == (kind, what)
    assert wait.where == f"{__file__}:{waits.__code__.co_firstlineno + 1}"


def test_in_which_function_it_waits(ours):
    """Not the task's own coroutine, and none of asyncio."""
    reached = None

    async def inner():
        await ours.sleep(0.001)

    async def own():
        await ours.sleep(0.001)
        await inner()
        reached.set()
        await ours.Event().wait()

    async def main():
        nonlocal reached
        reached = ours.Event()
        task = asyncio.get_running_loop().create_task(own())
        await reached.wait()
        task.cancel()
        await ours.wait([task])

    waits = waited(record_run(ours, main), "own")
    assert [wait.function for wait in waits] == ["", inner.__qualname__, ""]
    assert [wait.label for wait in waits] == ["sleep(0.001)", "sleep(0.001) in inner", "Event.wait"]


@pytest.mark.parametrize("class_name", ["_CTask", "_PyTask"])
def test_tasks_of_asyncio(class_name, stock):
    """They are recorded, too: a step is a handle of which the callback is bound to the task."""
    task_class = getattr(asyncio.tasks, class_name)

    async def child(future):
        await future
        await asyncio.sleep(0)
        raise KeyError("x")

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        task = task_class(child(future), loop=loop, name="child")
        await asyncio.tasks.sleep(0.001)
        future.set_result(None)
        await asyncio.tasks.wait([task])
        task.exception()

    async def stock_main():
        await task_class(main(), loop=asyncio.get_running_loop(), name="stock main")

    with asyncio_c.record() as recording:
        asyncio_c.run(stock_main())
    task = recording.task("child")
    assert shape(task) == ["ready", "running", ("waiting", "a future"), *["ready", "running"] * 2]
    assert (task.outcome, task.error) == ("exception", "KeyError: 'x'")
    assert task.spans[2].woken_by == task.made_by == "stock main"
    waits = waited(recording)
    assert [(wait.kind, wait.what) for wait in waits] == [("sleep", "sleep(0.001)"), ("tasks", "wait")]
    assert [wait.woken_by for wait in waits] == ["a timer", "child"]


def test_lock_in_a_block(ours):
    async def waits(lock):
        async with lock:
            pass

    async def main():
        lock = ours.Lock()
        async with lock:
            task = asyncio.get_running_loop().create_task(waits(lock))
            await ours.sleep(0)
        await task

    recording = record_run(ours, main)
    wait = waited(recording, "waits")[0]
    assert (wait.kind, wait.what, wait.waker) == ("lock", "Lock.acquire", recording.tasks[0].number)


# ---- which loops ----


def test_a_part_of_a_running_program(ours):
    async def other():
        await ours.sleep(3600)

    async def main():
        task = asyncio.get_running_loop().create_task(other(), name="other")
        await ours.sleep(0)
        with asyncio_c.record() as recording:
            await ours.sleep(0.001)
        await ours.sleep(0.001)
        task.cancel()
        return recording

    recording = ours.run(main())
    main_task, other_task = recording.tasks
    assert main_task.found and other_task.found
    assert shape(main_task) == ["running", ("waiting", "sleep(0.001)"), "ready", "running"]
    assert shape(other_task) == [("waiting", "sleep(3600)")]
    assert main_task.spans[-1].end == recording.duration and main_task.outcome == "pending"


def test_a_loop_that_was_made_before(ours):
    async def main():
        await ours.sleep(0)

    with support.closing(ours.new_event_loop()) as loop:
        with asyncio_c.record() as recording:
            loop.run_until_complete(main())
    assert [task.outcome for task in recording.tasks] == ["result"]


def test_loops_of_threads(ours):
    async def main():
        await ours.sleep(0)

    with asyncio_c.record() as recording:
        threads = [threading.Thread(target=lambda: ours.run(main())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    loops = [task.loop for task in recording.tasks if task.function == "main"]
    assert sorted(loops) == [1, 2]


def test_recorded_once_at_a_time(native):
    with asyncio_c.record():
        with pytest.raises(RuntimeError, match="loops are being recorded already"):
            asyncio_c.record().__enter__()
    with support.closing(native.new_event_loop()) as loop:
        with asyncio_c.record(loop):
            with pytest.raises(RuntimeError, match="the loop is being recorded already"):
                asyncio_c.record(loop).__enter__()
        with asyncio_c.record(loop):
            pass


def test_one_after_the_other_by_the_same_object(ours):
    async def main():
        await ours.sleep(0)

    recorder, recordings = asyncio_c.record(), []
    for _ in range(2):
        with recorder as recording:
            ours.run(main())
        recordings.append(recording)
    assert [len(recording.tasks) for recording in recordings] == [len(recordings[0].tasks)] * 2
    assert all(event.time >= 0 for recording in recordings for event in recording.events)


def test_one_that_fails_to_begin_does_not_go_on(ours, monkeypatch):
    def interrupted(loop):
        raise KeyboardInterrupt

    with support.closing(ours.new_event_loop()) as loop:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "all_tasks", interrupted)
            with pytest.raises(KeyboardInterrupt):
                asyncio_c.record(loop).__enter__()
        with asyncio_c.record(loop):
            pass


def test_wrong_arguments(stock):
    with support.closing(stock.new_event_loop()) as loop:
        with pytest.raises(TypeError, match="a loop of asyncio_c was expected"):
            asyncio_c.record(loop).__enter__()
    with pytest.raises(ValueError, match="the size of a recording"):
        asyncio_c.record(size=0)


# ---- the ring ----


def test_the_oldest_events_go(ours):
    async def main():
        for _ in range(100):
            await ours.sleep(0)

    with asyncio_c.record(size=10) as recording:
        ours.run(main())
    assert len(recording.events) == 10
    assert recording.dropped > 200
    assert recording.duration > 0 and all(event.time >= 0 for event in recording.events)


def test_nothing_lives_longer(ours):
    class Result:
        pass

    references = []

    async def child():
        result = Result()
        references.append(weakref.ref(result))
        return result

    async def main():
        task = asyncio.get_running_loop().create_task(child())
        references.append(weakref.ref(task))
        await task

    recorder = _core.Recorder(1000, describe)
    recorder.start(None)
    ours.run(main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    recorder.stop()
    assert len(recorder.events()) > 5


def test_names_that_come_later(ours):
    async def main():
        asyncio.current_task().set_name("later")
        await ours.sleep(0)

    assert record_run(ours, main).tasks[0].name == "later"


def test_descriptions_are_kept_as_plain_strings(native):
    """Whatever lets go of them runs nothing."""

    class String(str):
        pass

    descriptions = [(String("kind"), String("what"), 7), [String("x")], String("y"), ()]

    async def main():
        for _ in range(4):
            await native.sleep(0)

    recorder = _core.Recorder(1000, lambda task: descriptions.pop(0) if descriptions else None)
    recorder.start(None)
    native.run(main())
    recorder.stop()
    ends = [event[6] for event in recorder.events() if event[1] == 3 and event[2] == 1]
    assert ends[:4] == [("kind", "what", ""), None, None, None]
    assert all(type(part) is str for part in ends[0])


def test_a_failing_description_is_left_out(native):
    def describe_badly(task):
        raise ValueError

    async def main():
        await native.sleep(0.001)

    recorder = _core.Recorder(1000, describe_badly)
    recorder.start(None)
    native.run(main())
    recording = Recording(recorder.events(), 0, recorder.stop())
    assert shape(recording.tasks[0])[2] == ("waiting", "?")


def test_an_interrupt_in_a_description_is_not_lost(native):
    def interrupted(task):
        raise KeyboardInterrupt

    recorder = _core.Recorder(1000, interrupted)
    recorder.start(None)
    with support.closing(native.new_event_loop()) as loop:
        task = loop.create_task(native.sleep(3600))
        with pytest.raises(KeyboardInterrupt):
            support.run_once(loop)
        recorder.stop()
        task.cancel()
        support.run_once(loop, 2)


class Unspeakable(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class Interrupted(asyncio.tasks._PyTask):
    """A signal comes while its Python runs."""

    method = ""

    def done(self):
        self.interrupt("done")
        return super().done()

    def cancelled(self):
        self.interrupt("cancelled")
        return super().cancelled()

    def interrupt(self, method):
        if self._state == "FINISHED" and self.method == method:
            self.method = ""
            raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["__str__", "done", "cancelled"])
def test_an_interrupt_at_the_end_of_a_task_is_not_lost(native, what):
    async def fail():
        raise Unspeakable if what == "__str__" else ValueError

    with support.closing(native.new_event_loop()) as loop:
        if what == "__str__":
            task = loop.create_task(fail())
        else:
            task = Interrupted(fail(), loop=loop)
            task.method = what
        with asyncio_c.record(loop) as recording:
            with pytest.raises(KeyboardInterrupt):
                support.run_once(loop)
        assert isinstance(task.exception(), (Unspeakable, ValueError))
        assert [task.steps for task in recording.tasks] == [1]


class Nosy(asyncio.tasks._PyTask):
    """Its name, which is Python, ends the recording that asks for it."""

    recorders = []  # noqa: RUF012

    @property
    def _name(self):
        while self.recorders:
            self.recorders.pop().stop()
        return "nosy"

    @_name.setter
    def _name(self, value):
        pass


def test_a_name_that_ends_the_recording_is_not_asked_for(native):
    Nosy.recorders.append(_core.Recorder(10, describe))
    with support.closing(native.new_event_loop()) as loop:
        Nosy.recorders[0].start(loop)
        task = Nosy(asyncio.tasks.sleep(0), loop=loop)
        task.cancel()
        support.run_once(loop, 2)
        (recorder,) = Nosy.recorders
        assert task.get_name() == "nosy" and Nosy.recorders == []
    assert {event[5][1] for event in recorder.events() if event[1] == 0} == {"?"}


def test_eager_tasks(native):
    if not support.PY312:
        pytest.skip("eager tasks come with Python 3.12")

    async def child():
        await native.sleep(0)

    async def main():
        loop = asyncio.get_running_loop()
        await native.Task(child(), loop=loop, eager_start=True, name="eager")

    recording = record_run(native, main)
    assert shape(recording.task("eager")) == ["running", "ready", "running"]
    assert recording.task("eager").made_by == recording.tasks[0].name


def test_the_recorder_is_freed_with_its_loop(native):
    recorder = _core.Recorder(10, describe)
    before = sys.getrefcount(recorder)
    loop = native.new_event_loop()
    recorder.start(loop)
    assert sys.getrefcount(recorder) == before + 1
    loop.close()
    del loop
    gc.collect()
    assert sys.getrefcount(recorder) == before


# ---- events ----


def test_events_in_order(ours):
    async def main():
        await ours.sleep(0)

    recording = record_run(ours, main)
    number = recording.tasks[0].number
    events = [(event.kind, event.detail) for event in recording.events if event.task == number]
    assert events == [
        ("made", ""),
        ("queued", ""),
        ("begins", ""),
        *([("queued", ""), ("ends", "waits")]),
        ("begins", ""),
        ("ends", "result"),
    ]
    times = [event.time for event in recording.events]
    assert min(times) >= 0 and max(times) <= recording.duration


# ---- what could go wrong ----


def test_recordings_that_begin_and_end_in_one_step(ours):
    async def main():
        with asyncio_c.record() as first:
            pass
        with asyncio_c.record() as second:
            await ours.sleep(0.001)
        return first, second

    first, second = ours.run(main())
    assert shape(first.tasks[0]) == ["running"]
    assert shape(second.tasks[0]) == ["running", ("waiting", "sleep(0.001)"), "ready", "running"]


def test_a_description_that_ends_the_recording(native):
    def describe_and_stop(task):
        recorder.stop()
        return ("a", "b", "c")

    recorder = _core.Recorder(3, describe_and_stop)
    recorder.start(None)
    native.run(native.sleep(0.001))
    assert len(recorder.events()) == 3


def test_a_description_that_stops_the_loop(native):
    def describe_and_stop(task):
        loop.stop()
        gc.collect()
        raise ValueError

    recorder = _core.Recorder(10, describe_and_stop)
    with support.closing(native.new_event_loop()) as loop:
        recorder.start(loop)
        task = loop.create_task(native.sleep(3600))
        loop.run_forever()
        recorder.stop()
        task.cancel()
        support.run_once(loop, 2)


def test_debug_mode(ours):
    async def main():
        await ours.sleep(0.001)

    with asyncio_c.record() as recording:
        with asyncio.Runner(debug=True, loop_factory=ours.new_event_loop) as runner:
            runner.run(main())
    states = ["ready", "running", ("waiting", "sleep(0.001)"), "ready", "running"]
    assert shape(recording.tasks[0]) == states


def test_a_loop_that_runs_in_another_thread(ours):
    async def tick():
        while True:
            turns.append(None)
            await ours.sleep(0)

    turns = []
    with support.closing(ours.new_event_loop()) as loop:
        future = asyncio.run_coroutine_threadsafe(tick(), loop)
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        with asyncio_c.record(loop) as recording:
            before = len(turns)
            while len(turns) < before + 5:
                threading.Event().wait(0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        future.cancel()
        support.run_once(loop, 3)
    task = next(task for task in recording.tasks if task.function == "tick")
    assert task.steps >= 3


def test_names_that_are_no_plain_strings(native):
    class Name(str):
        pass

    class Nameless(native.Task):
        def get_name(self):
            raise ZeroDivisionError

    async def main():
        await Nameless(native.sleep(0), loop=asyncio.get_running_loop(), name=Name("x"))

    recording = record_run(native, main)
    assert type(recording.task("x").name) is str
