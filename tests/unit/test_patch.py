"""install, patch and their undoing: what is rebound, and that it comes back."""

import asyncio
import sys
import types
import warnings
from asyncio import events, streams, tasks

import pytest

import asyncio_c

patch_module = sys.modules["asyncio_c.patch"]


def asyncio_modules():
    return [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "asyncio" and isinstance(module, types.ModuleType)
    ]


def snapshot():
    """Return all that asyncio's modules hold."""
    return {module.__name__: dict(vars(module)) for module in asyncio_modules()}


def assert_identical(before, after):
    for module, names in before.items():
        assert names.keys() == after[module].keys()
        changed = [name for name in names if names[name] is not after[module][name]]
        assert not changed, (module, changed)


@pytest.fixture
def stock():
    asyncio.new_event_loop().close()  # makes the default policy, if nothing has yet
    before = snapshot()
    yield before
    asyncio_c.uninstall()
    assert_identical(before, snapshot())


async def noop():
    return "done"


async def running_loop():
    return asyncio.get_running_loop()


def is_ours(loop):
    return type(loop) is asyncio_c.Loop


def close(loop):
    assert is_ours(loop)
    loop.close()


# ---- install ----


def test_install_makes_every_new_loop_ours(stock):
    asyncio_c.install()
    close(asyncio.new_event_loop())
    close(events.new_event_loop())
    assert is_ours(asyncio.run(running_loop()))
    with asyncio.Runner() as runner:
        assert is_ours(runner.get_loop())
    assert is_ours(asyncio_c.run(running_loop()))


def test_install_leaves_the_other_names_alone(stock):
    asyncio_c.install()
    rebound = {
        (module, name)
        for module, names in snapshot().items()
        for name in names
        if names[name] is not stock[module].get(name)
    }
    assert rebound == {
        ("asyncio", "new_event_loop"),
        ("asyncio.events", "new_event_loop"),
        ("asyncio.events", "_event_loop_policy"),
    }


def test_uninstall_brings_stock_loops_back(stock):
    asyncio_c.install()
    asyncio_c.uninstall()
    loop = asyncio.new_event_loop()
    assert not isinstance(loop, asyncio_c.Loop)
    loop.close()


@pytest.mark.parametrize(
    "steps", ["ii", "pp", "ip", "ipu", "pu", "pui", "ipuu", "u", "x", "px", "ipx", "pxp", "iix"]
)
def test_any_sequence_is_undone(steps, stock):
    calls = {"i": asyncio_c.install, "p": asyncio_c.patch, "u": asyncio_c.unpatch, "x": asyncio_c.uninstall}
    for step in steps:
        calls[step]()
    asyncio_c.uninstall()
    assert_identical(stock, snapshot())


def test_unpatch_goes_back_to_where_patch_began(stock):
    asyncio_c.patch()
    asyncio_c.unpatch()
    assert_identical(stock, snapshot())

    asyncio_c.install()
    installed = snapshot()
    asyncio_c.patch()
    asyncio_c.patch()
    asyncio_c.unpatch()
    assert_identical(installed, snapshot())


def test_nothing_warns(stock):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio_c.install()
        asyncio_c.patch()
        asyncio.run(noop())
        asyncio_c.unpatch()
        asyncio_c.uninstall()


def test_a_policy_that_the_program_sets_is_respected(stock):
    class Policy(asyncio_c.EventLoopPolicy):
        def new_event_loop(self):
            loop = super().new_event_loop()
            loop.from_policy = True
            return loop

    asyncio_c.install()
    policy, ours = Policy(), events._event_loop_policy
    events._event_loop_policy = policy
    loop = asyncio.new_event_loop()
    assert loop.from_policy
    loop.close()
    asyncio_c.uninstall()
    assert events._event_loop_policy is policy
    assert policy is not ours
    events._event_loop_policy = stock["asyncio.events"]["_event_loop_policy"]


def test_loops_stay_ours_without_a_policy(stock):
    asyncio_c.install()
    events._event_loop_policy = None
    assert is_ours(asyncio.run(running_loop()))
    events._event_loop_policy = stock["asyncio.events"]["_event_loop_policy"]


# ---- patch ----


def test_names_with_a_native_twin(stock):
    asyncio_c.patch()
    for name in ("Future", "Task", "create_task", "current_task", "all_tasks", "sleep", "gather", "wait"):
        assert getattr(asyncio, name) is getattr(asyncio_c, name), name
    for name in ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"):
        assert getattr(asyncio, name) is getattr(asyncio.locks, name) is getattr(asyncio_c, name), name
    for name in ("Queue", "PriorityQueue", "LifoQueue"):
        assert getattr(asyncio, name) is getattr(asyncio.queues, name) is getattr(asyncio_c, name), name
    for name in ("StreamReader", "StreamReaderProtocol", "StreamWriter"):
        assert getattr(asyncio, name) is getattr(streams, name) is getattr(asyncio_c, name), name
    assert tasks.Task is asyncio_c.Task
    assert asyncio.futures.Future is asyncio_c.Future
    assert streams.sleep is tasks.sleep is asyncio_c.sleep


@pytest.mark.parametrize("name", patch_module.NATIVE)
def test_name_that_is_excluded_stays(name, stock):
    asyncio_c.patch(exclude=[name])
    after = snapshot()
    native, holders = patch_module.NATIVE[name]
    for holder in holders:
        module = holder.__name__
        assert after[module].get(name) is stock[module].get(name)
        assert name not in after[module] or after[module][name] is not native
    for other in ("Lock", "Queue"):
        assert (getattr(asyncio, other) is getattr(asyncio_c, other)) == (other != name)


def test_program_runs_with_any_name_excluded(stock):
    async def main():
        queue = asyncio.Queue()
        async with asyncio.timeout(60), asyncio.Lock(), asyncio.Semaphore():
            task = asyncio.create_task(queue.get())
            await asyncio.sleep(0)
            queue.put_nowait("item")
            future = asyncio.get_running_loop().create_future()
            future.set_result("done")
            return await asyncio.gather(asyncio.wait_for(task, 60), asyncio.shield(future))

    for name in patch_module.NATIVE:
        asyncio_c.patch(exclude=(name,))
        assert asyncio.run(main()) == ["item", "done"], name
        asyncio_c.unpatch()


def test_tasks_of_asyncio_with_the_name_excluded(stock):
    async def main():
        loop = asyncio.get_running_loop()
        assert is_ours(loop)
        loop.set_task_factory(lambda loop, coro, **keywords: asyncio.Task(coro, loop=loop, **keywords))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(noop())
        assert type(task) is asyncio.Task is stock["asyncio"]["Task"]
        assert await asyncio.gather(task, noop()) == ["done", "done"]

    asyncio_c.patch(exclude=["Task"])
    asyncio.run(main())


@pytest.mark.parametrize("names", ["run", ["Queue", "run"], ["queue"], [1]])
def test_name_that_is_not_rebound_cannot_be_excluded(names, stock):
    with pytest.raises(ValueError, match=r"^patch\(\) does not rebind (run|queue|1)$"):
        asyncio_c.patch(exclude=names)
    assert_identical(stock, snapshot())


def test_one_name_may_be_excluded_without_a_list(stock):
    asyncio_c.patch(exclude="Queue")
    assert asyncio.Queue is not asyncio_c.Queue
    assert asyncio.Lock is asyncio_c.Lock


def test_no_copy_of_a_rebound_name_is_left(stock):
    """Each module of asyncio that holds a rebound object under its public name is in the table."""
    asyncio_c.patch()
    left = [
        (module.__name__, name)
        for module in asyncio_modules()
        for name in patch_module.NATIVE
        if vars(module).get(name) is not None and vars(module)[name] is stock["asyncio"].get(name)
    ]
    assert left == []


def test_tasks_and_futures_are_native(stock):
    asyncio_c.patch()

    async def main():
        loop = asyncio.get_running_loop()
        assert type(loop.create_task(noop())) is asyncio_c.Task
        assert type(asyncio.ensure_future(noop())) is asyncio_c.Task
        assert type(loop.create_future()) is asyncio_c.Future
        async with asyncio.TaskGroup() as group:
            task = group.create_task(noop())
            assert type(task) is asyncio_c.Task
        return await asyncio.wait_for(asyncio.shield(noop()), 5), await asyncio.gather(noop(), task)

    assert asyncio.run(main()) == ("done", ["done", "done"])


def test_isinstance_holds_in_both_directions(stock):
    stock_future, stock_task = asyncio.Future, asyncio.Task

    async def main():
        loop = asyncio.get_running_loop()
        old_future = stock_future(loop=loop)
        old_task = stock_task(noop(), loop=loop)
        new_task = asyncio.create_task(noop())
        for task in (old_task, new_task):
            assert isinstance(task, stock_task) and isinstance(task, asyncio.Task)
            assert isinstance(task, stock_future) and isinstance(task, asyncio.Future)
        assert isinstance(old_future, asyncio.Future) and not isinstance(old_future, asyncio.Task)
        await asyncio.gather(old_task, new_task)

    asyncio_c.patch()
    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_are_native(stock):
    asyncio_c.patch()

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(noop())
        assert type(task) is asyncio_c.Task and task.done()

    asyncio.run(main())
    assert asyncio_c.eager_task_factory is asyncio.eager_task_factory is tasks.eager_task_factory


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio.EventLoop came with Python 3.13")
def test_event_loop_alias(stock):
    asyncio_c.install()
    assert asyncio.EventLoop is stock["asyncio"]["EventLoop"]
    asyncio_c.patch()
    assert is_ours(asyncio.run(running_loop(), loop_factory=asyncio.EventLoop))
    assert asyncio.SelectorEventLoop is stock["asyncio"]["SelectorEventLoop"]


def test_early_references_go_on_to_work(stock):
    sleep, gather, wait_for, current_task = (
        asyncio.sleep,
        asyncio.gather,
        asyncio.wait_for,
        asyncio.current_task,
    )

    async def main():
        assert current_task() is asyncio.current_task()
        return await gather(sleep(0, 1), asyncio.sleep(0, 2), wait_for(asyncio.sleep(0, 3), 5))

    asyncio_c.patch()
    assert asyncio.run(main()) == [1, 2, 3]


def test_a_wrapper_that_came_later_is_left_alone(stock):
    asyncio_c.patch()
    native = asyncio.sleep

    def traced(*arguments):
        return native(*arguments)

    asyncio.sleep = traced
    asyncio_c.unpatch()
    assert asyncio.sleep is traced
    assert tasks.sleep is stock["asyncio.tasks"]["sleep"]
    asyncio.sleep = stock["asyncio"]["sleep"]


def test_get_event_loop_in_the_main_thread(stock):
    asyncio_c.patch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loop = asyncio.get_event_loop()
    assert asyncio.get_event_loop() is loop
    asyncio.set_event_loop(None)
    with pytest.raises(RuntimeError, match="no current event loop"):
        asyncio.get_event_loop()
    close(loop)
