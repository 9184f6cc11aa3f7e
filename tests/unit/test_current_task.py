"""current_task and all_tasks: stock's, ours, and stock's bound before asyncio_c was imported."""

import asyncio
import subprocess
import sys
import threading
from asyncio import all_tasks as early_all_tasks
from asyncio import current_task as early_current_task

import pytest

from . import support


@pytest.fixture(params=["late", "early", "own"])
def names(request, impl):
    """`(current_task, all_tasks)` as three kinds of program reach them."""
    return {
        "late": (asyncio.current_task, asyncio.all_tasks),
        "early": (early_current_task, early_all_tasks),
        "own": (impl.current_task, impl.all_tasks),
    }[request.param]


def test_inside_a_task(impl, loop, names):
    current_task, all_tasks = names

    async def main():
        seen = current_task()
        assert seen is current_task(loop)
        assert all_tasks() == {seen} == all_tasks(loop)
        await impl.sleep(0)
        assert current_task() is seen
        await impl.sleep(0.0001)
        assert current_task() is seen
        return seen

    task = impl.Task(main(), loop=loop)
    assert loop.run_until_complete(task) is task


def test_none_in_a_callback(impl, loop, names):
    current_task, _ = names
    seen = []

    async def coro():
        loop.call_soon(lambda: seen.append(current_task()))
        await impl.sleep(0)
        loop.call_soon(lambda: seen.append(current_task()))
        loop.call_later(0, lambda: seen.append(current_task()))

    task = loop.create_task(coro())
    task.add_done_callback(lambda f: seen.append(current_task()))
    loop.call_soon(lambda: seen.append(current_task()))
    support.run_once(loop, 5)
    assert seen == [None] * 5


def test_outside_of_a_loop(loop, names):
    current_task, all_tasks = names
    assert current_task(loop) is None
    assert all_tasks(loop) == set()
    for function in names:
        with pytest.raises(RuntimeError, match="no running event loop"):
            function()


def test_after_an_exit_exception(impl, loop, names):
    current_task, _ = names

    async def coro():
        raise SystemExit

    loop.create_task(coro())
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert current_task(loop) is None
    seen = []
    loop.call_soon(lambda: seen.append(current_task()))
    support.run_once(loop)
    assert seen == [None]


def test_all_tasks_lists_what_is_pending(impl, loop, names):
    _, all_tasks = names

    async def child(n):
        for _ in range(n):
            await impl.sleep(0)

    async def main():
        me = asyncio.current_task()
        tasks = [impl.create_task(child(n)) for n in range(4)]
        counts = []
        while any(not task.done() for task in tasks):
            assert all_tasks() == {me, *(task for task in tasks if not task.done())}
            counts.append(len(all_tasks()))
            await impl.sleep(0)
        assert all_tasks() == {me}
        return counts

    assert loop.run_until_complete(main())[0] == 5


def test_all_tasks_lists_sleepers(impl, loop, names):
    _, all_tasks = names

    async def main():
        tasks = {impl.create_task(impl.sleep(1000)) for _ in range(3)}
        await impl.sleep(0)
        assert tasks < all_tasks()
        for task in tasks:
            task.cancel()
        await impl.wait(tasks)

    loop.run_until_complete(main())


def test_all_tasks_does_not_keep_tasks_alive(impl, loop, names):
    import weakref

    _, all_tasks = names

    async def child():
        pass

    task = loop.create_task(child())
    ref = weakref.ref(task)
    assert all_tasks(loop) == {task}
    support.run_once(loop)
    del task
    support.collect()
    assert ref() is None
    assert all_tasks(loop) == set()


def test_all_tasks_of_each_loop(impl, names):
    _, all_tasks = names

    async def child():
        pass

    with support.closing(impl.new_event_loop()) as first, support.closing(impl.new_event_loop()) as second:
        a, b = first.create_task(child()), second.create_task(child())
        assert all_tasks(first) == {a}
        assert all_tasks(second) == {b}
        support.run_once(first)
        support.run_once(second)


def test_stock_and_native_tasks_together(native, names):
    current_task, all_tasks = names

    async def child():
        me = current_task()
        await native.sleep(0)
        assert current_task() is me
        return me

    with support.closing(native.new_event_loop()) as loop:

        async def main():
            tasks = [asyncio.tasks._CTask(child()), native.Task(child())]
            assert set(tasks) < all_tasks()
            results = await asyncio.gather(*tasks)
            assert results == tasks

        loop.run_until_complete(main())


def test_native_tasks_on_a_stock_loop(native, stock, names):
    current_task, all_tasks = names

    async def main():
        me = current_task()
        assert me in all_tasks()
        await native.sleep(0)
        assert current_task() is me
        return me

    with support.closing(stock.new_event_loop()) as loop:
        task = native.Task(main(), loop=loop)
        assert task in all_tasks(loop)
        assert loop.run_until_complete(task) is task
        assert all_tasks(loop) == set()
        assert current_task(loop) is None


def test_all_tasks_from_another_thread(impl, loop, names):
    _, all_tasks = names
    counts = []

    async def main():
        tasks = [impl.create_task(impl.sleep(1000)) for _ in range(5)]
        await impl.sleep(0)
        await loop.run_in_executor(None, lambda: counts.append(len(all_tasks(loop))))
        for task in tasks:
            task.cancel()
        await impl.wait(tasks)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert counts == [6]


def test_current_task_is_per_thread(impl, names):
    current_task, _ = names
    barrier = threading.Barrier(2, timeout=30)
    results = []

    async def main():
        me = current_task()
        for _ in range(20):
            barrier.wait()
            await impl.sleep(0)
            results.append(current_task() is me)

    threads = [threading.Thread(target=impl.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


def test_the_third_party_registry_hooks(impl, loop):
    """Other task implementations use these functions on our loop."""

    class Foreign:
        def __init__(self):
            self._loop = loop

        def get_loop(self):
            return loop

        def done(self):
            return False

    foreign = Foreign()
    asyncio.tasks._register_task(foreign)
    assert foreign in asyncio.all_tasks(loop)
    assert foreign in impl.all_tasks(loop)
    seen = []

    def step():
        asyncio.tasks._enter_task(loop, foreign)
        seen.append((asyncio.current_task(), impl.current_task()))
        asyncio.tasks._leave_task(loop, foreign)

    loop.call_soon(step)
    support.run_once(loop)
    asyncio.tasks._unregister_task(foreign)
    assert seen == [(foreign, foreign)]
    assert foreign not in asyncio.all_tasks(loop)


@pytest.mark.parametrize("install", [False, True])
def test_names_bound_before_the_import_of_asyncio_c(native, install):
    """In a process of its own: `from asyncio import ...` runs before asyncio_c exists."""
    program = f"""
from asyncio import current_task, all_tasks, Task, Future, sleep, gather
import asyncio
import asyncio_c
if {install}:
    asyncio_c.install()

async def child(n):
    me = current_task()
    assert isinstance(me, Task) and isinstance(me, Future)
    assert me in all_tasks()
    await sleep(0)
    assert current_task() is me
    return n

async def main():
    tasks = [asyncio.create_task(child(n)) for n in range(3)]
    assert all_tasks() == {{current_task(), *tasks}}
    return await gather(*tasks)

if {install}:
    assert asyncio.run(main()) == [0, 1, 2]
else:
    with asyncio.Runner(loop_factory=asyncio_c.new_event_loop) as runner:
        assert runner.run(main()) == [0, 1, 2]
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
