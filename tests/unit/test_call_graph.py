"""Call graphs: who waits for whom, told by entries of futures and by asyncio's own TaskGroup, shield and so on."""

import asyncio
import gc
import weakref

import pytest

from . import support

pytestmark = pytest.mark.skipif(not support.PY314, reason="call graphs came with Python 3.14")


def awaiters(future):
    """Return the names of the tasks that wait for a future, sorted."""
    return sorted(task.get_name() for task in future._asyncio_awaited_by or ())


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


WAYS = {
    "await": lambda impl, future: await_it(future),
    "gather": lambda impl, future: impl.gather(future),
    "stock_gather": lambda impl, future: asyncio.gather(future),
    "wait": lambda impl, future: impl.wait([future]),
    "stock_wait": lambda impl, future: asyncio.wait([future]),
    "shield": lambda impl, future: asyncio.shield(future),
    "wait_for": lambda impl, future: asyncio.wait_for(future, 3600),
    "timeout": lambda impl, future: await_in_timeout(future),
    "as_completed": lambda impl, future: next(asyncio.as_completed([future])),
}


async def await_it(awaitable):
    return await awaitable


async def await_in_timeout(future):
    async with asyncio.timeout(3600):
        return await future


@pytest.mark.parametrize("way", WAYS)
def test_a_future_knows_who_waits_for_it_and_forgets(impl, loop, way):
    async def waiter(future):
        await WAYS[way](impl, future)

    async def main():
        future = loop.create_future()
        task = loop.create_task(waiter(future), name="waiter")
        await settle()
        waiting = awaiters(future)
        future.set_result(None)
        await task
        return waiting, future._asyncio_awaited_by

    assert loop.run_until_complete(main()) == (["waiter"], None)


@pytest.mark.parametrize("named", [True, False])
def test_task_group_waits_for_its_tasks(impl, loop, named):
    async def child(future):
        await future

    async def main():
        future = loop.create_future()
        async with impl.TaskGroup() as group:
            tasks = [
                group.create_task(child(future), **({"name": "child"} if named else {})) for n in range(2)
            ]
            for number, task in enumerate(tasks):
                task.set_name(f"child {number}")
            asyncio.current_task().set_name("main")
            await settle()
            waiting = [awaiters(future), *map(awaiters, tasks)]
            future.set_result(None)
        return waiting, [task._asyncio_awaited_by for task in tasks]

    assert loop.run_until_complete(main()) == ([["child 0", "child 1"], ["main"], ["main"]], [None, None])


@pytest.mark.parametrize("kind", ["stock", "python"])
def test_tasks_of_asyncio_that_wait_for_a_future_of_the_loop(impl, loop, kind):
    """As far as they can: asyncio's Task in Python sees futures of the loop, which are in C, by its own function only."""
    task_type = asyncio.tasks._PyTask if kind == "python" else asyncio.tasks._CTask

    async def main():
        future = loop.create_future()
        task = task_type(await_it(future), loop=loop, name="waiter")
        await settle()
        waiting = awaiters(future)
        future.set_result(None)
        await task
        return waiting, future._asyncio_awaited_by

    expected = [] if kind == "python" and not impl.native_loop else ["waiter"]
    assert loop.run_until_complete(main()) == (expected, None)


def test_several_are_told_and_taken_back(impl, loop):
    add, discard = asyncio.future_add_to_awaited_by, asyncio.future_discard_from_awaited_by
    assert (add, discard) == (
        asyncio.futures.future_add_to_awaited_by,
        asyncio.futures.future_discard_from_awaited_by,
    )
    future, *waiters = (loop.create_future() for _ in range(4))
    seen = []
    for change, waiter in [
        (add, waiters[0]),
        (add, waiters[0]),
        (discard, waiters[1]),
        (add, waiters[1]),
        (add, waiters[2]),
        (add, waiters[1]),
        (discard, waiters[0]),
        (discard, waiters[0]),
        (discard, waiters[2]),
        (discard, waiters[1]),
        (add, waiters[2]),
        (discard, waiters[2]),
    ]:
        assert change(future, waiter) is None
        seen.append({waiters.index(waiter) for waiter in future._asyncio_awaited_by or ()})
    assert seen == [{0}, {0}, {0}, {0, 1}, {0, 1, 2}, {0, 1, 2}, {1, 2}, {1, 2}, {1}, set(), {2}, set()]


def test_what_is_no_future_is_passed_over(impl, loop):
    add, discard = asyncio.future_add_to_awaited_by, asyncio.future_discard_from_awaited_by
    future = loop.create_future()
    for pair in [(future, None), (future, {future}), (None, future), (1, 2)]:
        assert add(*pair) is None and discard(*pair) is None
    assert future._asyncio_awaited_by is None
    for call in (add, discard):
        with pytest.raises(TypeError):
            call(future)
        with pytest.raises(TypeError):
            call(fut=future, waiter=future)


@pytest.mark.parametrize("count", [1, 2])
def test_a_circle_of_futures_is_collected(impl, loop, count):
    futures = [loop.create_future() for _ in range(3)]
    for future in futures[1:]:
        for waiter in futures[:count]:
            asyncio.future_add_to_awaited_by(future, waiter)
    asyncio.future_add_to_awaited_by(futures[0], futures[1])
    reference = weakref.ref(futures[0])
    del futures, future, waiter
    gc.collect()
    assert reference() is None


def test_stock_futures_are_still_told(impl, loop):
    future, waiter = (asyncio.futures._CFuture(loop=loop) for _ in range(2))
    asyncio.future_add_to_awaited_by(future, waiter)
    assert future._asyncio_awaited_by == {waiter}
    asyncio.future_discard_from_awaited_by(future, waiter)
    assert future._asyncio_awaited_by is None


def test_printed_graph(impl, loop):
    async def child(future):
        await future

    async def main():
        future = loop.create_future()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child(future), name="child")
            asyncio.current_task().set_name("main")
            await settle()
            graph = asyncio.format_call_graph(task)
            future.set_result(None)
        return graph

    lines = [line.strip().partition(" at 0x")[0] for line in loop.run_until_complete(main()).splitlines()]
    assert "async test_printed_graph.<locals>.child()" in "\n".join(lines)
    assert any("main" in line for line in lines)
