"""The running loop, the current task and the set of all tasks, as asyncio's own registry tells them."""

import asyncio
import gc
import logging
import weakref
from asyncio import base_events, futures, tasks

import pytest
from unit import support


async def nothing():
    pass


def test_running_loop_is_published(impl, loop):
    """Everybody's get_running_loop(), sniffio's, aiohttp's: all read CPython's own place."""
    seen = []
    loop.call_soon(lambda: seen.append((asyncio.get_running_loop(), asyncio._get_running_loop())))
    assert asyncio._get_running_loop() is None
    support.run_once(loop)
    assert seen == [(loop, loop)]
    assert asyncio._get_running_loop() is None


def test_current_task_is_entered_in_the_place_of_cpython(impl, loop):
    """asyncio._enter_task() and others' task classes: the place is taken while a task runs, and by that task."""

    async def main():
        me = asyncio.current_task()
        with pytest.raises(RuntimeError, match="Cannot enter into task"):
            tasks._enter_task(loop, object())
        with pytest.raises(RuntimeError):
            tasks._leave_task(loop, object())
        assert asyncio.current_task() is me
        tasks._leave_task(loop, me)
        assert asyncio.current_task() is None
        tasks._enter_task(loop, me)
        assert asyncio.current_task() is me
        await impl.sleep(0)
        assert asyncio.current_task() is me

    loop.run_until_complete(main())


def test_texts_of_entering_and_leaving(impl, loop):
    """CPython's words, and from Python 3.14 on its refusal of a loop that is not the running one."""

    async def main():
        me = asyncio.current_task()
        with pytest.raises(RuntimeError, match="while another task .*main.* is being executed"):
            tasks._enter_task(loop, foreign)
        text = "while task .*main.* is entered" if support.PY314 else "does not match the current task"
        with pytest.raises(RuntimeError, match=text):
            tasks._leave_task(loop, foreign)
        if support.PY314:
            for hook in (tasks._enter_task, tasks._leave_task, tasks._swap_current_task):
                with pytest.raises(RuntimeError, match="is not the running loop"):
                    hook(other, foreign)
        else:
            tasks._enter_task(other, foreign)
            assert asyncio.current_task(other) is foreign and asyncio.current_task() is me
            tasks._leave_task(other, foreign)
        assert asyncio.current_task() is me

    foreign = nothing()
    other = impl.new_event_loop()
    loop.run_until_complete(main())
    other.close()
    foreign.close()


@pytest.mark.skipif(support.PY314, reason="from Python 3.14 on the thread has the current task, not a table")
def test_table_of_current_tasks(impl, loop):
    """nest_asyncio and debuggers read asyncio.tasks._current_tasks: the task of each loop that runs one now."""

    async def main():
        assert tasks._current_tasks[loop] is asyncio.current_task()
        loop.call_soon(lambda: seen.append(tasks._current_tasks.get(loop)))
        await impl.sleep(0)
        assert tasks._current_tasks[loop] is asyncio.current_task()

    seen = []
    loop.run_until_complete(main())
    assert seen == [None] and loop not in tasks._current_tasks


def test_each_name_of_the_registry_answers_alike(impl, loop):
    """CPython's tests and nest_asyncio take the functions in C, and those in Python, by names of their own."""

    async def main():
        me = asyncio.current_task()
        assert asyncio.events._c_get_running_loop() is asyncio.events._c__get_running_loop() is loop
        assert asyncio.get_event_loop() is asyncio.events._c_get_event_loop() is loop
        if support.PY312:
            assert tasks._c_current_task() is tasks._c_current_task(loop) is me
        if support.PY312 and not support.PY314:
            assert tasks._py_current_task() is me
        if support.PY314:
            assert tasks._c_all_tasks() == {me}
        return asyncio.all_tasks() == asyncio.all_tasks(loop) == {me}

    assert loop.run_until_complete(main())


def test_place_is_empty_in_a_callback(impl, loop):
    """asyncio-extending: a task class of somebody else enters and leaves in its own callback."""
    seen = []
    foreign = nothing()

    def step():
        tasks._enter_task(loop, foreign)
        seen.append(asyncio.current_task())
        tasks._leave_task(loop, foreign)
        seen.append(asyncio.current_task())

    async def main():
        loop.call_soon(step)
        await impl.sleep(0)
        await impl.sleep(0)

    loop.run_until_complete(main())
    assert seen == [foreign, None]
    foreign.close()


@pytest.mark.skipif(not support.PY312, reason="_swap_current_task() is new in Python 3.12")
def test_swap_current_task(impl, loop):
    """nest_asyncio2 and stock eager tasks swap the current task away and back, inside of a task of any kind."""

    async def main():
        me = asyncio.current_task()
        assert tasks._swap_current_task(loop, None) is me
        assert asyncio.current_task() is None
        tasks._swap_current_task(loop, me)
        assert asyncio.current_task() is me
        await impl.sleep(0)
        assert asyncio.current_task() is me

    loop.run_until_complete(main())


@pytest.mark.skipif(not support.PY312, reason="eager tasks are new in Python 3.12")
@pytest.mark.parametrize("kind", ["C", "Python"])
def test_stock_eager_task_inside_a_task_of_ours(impl, loop, kind):
    """asyncio.eager_task_factory has the stock Task, whose first step swaps the current task."""
    if kind == "Python" and support.PY314:
        pytest.skip("from Python 3.14 on the Python Task has a registry of its own")
    cls = tasks._CTask if kind == "C" else tasks._PyTask
    seen = []

    async def child():
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    async def main():
        me = asyncio.current_task()
        task = cls(child(), loop=loop, eager_start=True)
        assert asyncio.current_task() is me
        await task
        assert seen == [task, task]
        assert asyncio.current_task() is me

    loop.run_until_complete(main())


def test_registered_foreign_task_is_in_all_tasks(impl, loop):
    """asyncio-extending: _register_task() and _unregister_task() are what others' task classes call."""

    class Foreign:
        def done(self):
            return False

        def get_loop(self):
            return loop

    foreign = Foreign()

    async def main():
        tasks._register_task(foreign)
        assert foreign in asyncio.all_tasks()
        assert asyncio.current_task() in asyncio.all_tasks()
        tasks._unregister_task(foreign)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop.run_until_complete(main())


@pytest.mark.skipif(not support.PY312, reason="eager tasks are new in Python 3.12")
def test_registered_foreign_eager_task_is_in_all_tasks(impl, loop):
    """The same by _register_eager_task(), which others' eager tasks call; it keeps the task alive."""

    class Foreign:
        def done(self):
            return False

        def get_loop(self):
            return loop

    async def main():
        tasks._register_eager_task(Foreign())
        (foreign,) = asyncio.all_tasks() - {asyncio.current_task()}
        assert type(foreign) is Foreign
        tasks._unregister_eager_task(foreign)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop.run_until_complete(main())


def test_done_is_a_real_bool(impl, loop):
    """all_tasks() in C (Python 3.14) compares done() with True by identity."""
    task = impl.Task(nothing(), loop=loop)
    assert task.done() is False
    loop.run_until_complete(task)
    assert task.done() is True and task.cancelled() is False


def test_isfuture(impl, loop):
    """asyncio.isfuture() and its copies look for a class attribute of __class__, and for not None."""
    for future in (loop.create_future(), impl.Task(nothing(), loop=loop)):
        assert asyncio.isfuture(future)
        assert hasattr(future.__class__, "_asyncio_future_blocking")
        assert hasattr(type(future), "_asyncio_future_blocking")
        assert futures._get_loop(future) is loop is future.get_loop() is future._loop
    support.run_once(loop)


def test_isinstance_of_the_stock_classes(impl, loop):
    """anyio, OpenTelemetry, aiomonitor and sentry-sdk ask for instances of asyncio.Task and asyncio.Future."""
    task = loop.create_task(nothing())
    future = loop.create_future()
    assert isinstance(task, asyncio.Task) and isinstance(task, asyncio.Future)
    assert isinstance(future, asyncio.Future) and not isinstance(future, asyncio.Task)
    assert isinstance(task, impl.Task) and isinstance(future, impl.Future)
    assert type(task).__name__ == "Task" and type(future).__name__ == "Future"
    loop.run_until_complete(task)


def test_tasks_are_weak_keys(impl, loop):
    """anyio keeps the state of its tasks in a WeakKeyDictionary."""
    states = weakref.WeakKeyDictionary()

    async def main():
        states[asyncio.current_task()] = 1
        assert states[asyncio.current_task()] == 1

    loop.run_until_complete(main())
    gc.collect()
    assert len(states) == 0


def test_log_records_name_the_task(impl, loop):
    """logging (3.12+) asks asyncio.current_task().get_name() for the attribute taskName of a record."""
    if not support.PY312:
        pytest.skip("taskName is new in Python 3.12")

    async def main():
        asyncio.current_task().set_name("worker")
        return logging.LogRecord("x", 0, "", 0, "", (), None).taskName

    assert loop.run_until_complete(main()) == "worker"


def test_sniffio_finds_asyncio(impl, loop):
    """sniffio, and httpx and httpcore by it: asyncio is there if and only if current_task() is not None."""
    from asyncio import current_task as bound_early

    async def main():
        return bound_early() is not None

    assert loop.run_until_complete(main()) is True
    seen = []
    loop.call_soon(lambda: seen.append(bound_early()))
    support.run_once(loop)
    assert seen == [None]


def test_containers_of_tasks(impl, loop):
    """ddtrace reads asyncio.tasks._scheduled_tasks and _eager_tasks, up to Python 3.13."""
    names = ("_scheduled_tasks", "_eager_tasks") if support.PY312 else ("_all_tasks",)
    if support.PY314:
        pytest.skip("from Python 3.14 on the C module keeps its containers to itself")

    async def child():
        listed = [task for name in names for task in list(getattr(tasks, name))]
        assert asyncio.current_task() in listed

    async def main():
        await child()
        if support.PY312:
            task = impl.Task(child(), loop=loop, eager_start=True)
            assert task.done()
            task.result()

    loop.run_until_complete(main())


def test_root_task_is_found_by_its_callback(impl, loop):
    """anyio's find_root_task() looks for asyncio's own _run_until_complete_cb in task._callbacks of all tasks."""

    async def child():
        for task in asyncio.all_tasks():
            if task._callbacks and not task.done():
                for callback, _ in task._callbacks:
                    if callback is base_events._run_until_complete_cb:
                        return task

    async def main():
        assert await impl.create_task(child()) is asyncio.current_task()

    loop.run_until_complete(main())


def test_anyio_finds_its_root_task(impl, loop):
    """The same by anyio itself."""
    pytest.importorskip("anyio", reason="anyio is optional")
    from anyio._backends._asyncio import find_root_task

    async def child():
        return find_root_task()

    async def main():
        assert await impl.create_task(child()) is asyncio.current_task()

    loop.run_until_complete(main())


@pytest.mark.skipif(not support.PY314, reason="the chain of who awaits whom is new in Python 3.14")
def test_awaited_by(impl, loop):
    """asyncio.capture_call_graph() (graph.py) reads _asyncio_awaited_by: None, or a frozenset of who waits."""

    async def child():
        await impl.sleep(0)
        return me._asyncio_awaited_by

    me = loop.create_task(child())

    async def main():
        assert me._asyncio_awaited_by is None
        assert await me == frozenset({asyncio.current_task()})
        assert me._asyncio_awaited_by is None

    loop.run_until_complete(main())
