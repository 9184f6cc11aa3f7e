"""Eager tasks (3.12 and later): the first step runs inside the constructor."""

import asyncio
import contextvars

import pytest

from . import support

pytestmark = pytest.mark.skipif(not support.PY312, reason="eager tasks are new in 3.12")


@pytest.fixture
def eager_loop(impl, loop):
    """A loop whose task factory makes eager tasks of the implementation."""
    loop.set_task_factory(asyncio.create_eager_task_factory(impl.Task))
    return loop


def test_finishes_without_the_loop(eager_loop):
    async def child():
        return 42

    async def main():
        task = asyncio.create_task(child())
        assert task.done()
        return task.result()

    assert eager_loop.run_until_complete(main()) == 42


def test_eager_start_keyword(impl, loop):
    async def child(order):
        order.append("child")
        await impl.sleep(0)
        order.append("child again")
        return "done"

    async def main():
        order = []
        task = impl.Task(child(order), loop=loop, eager_start=True)
        order.append("parent")
        assert not task.done()
        assert await task == "done"
        return order

    assert loop.run_until_complete(main()) == ["child", "parent", "child again"]


def test_not_eager_while_the_loop_is_stopped(ours, stock):
    """Stock decides by loop.is_running(); from 3.14 it may also raise: ask it."""

    async def child(order):
        order.append("ran")

    def outcome(impl):
        order = []
        with support.closing(impl.new_event_loop()) as loop:
            coro = child(order)
            try:
                task = impl.Task(coro, loop=loop, eager_start=True)
            except Exception as exc:
                coro.close()
                return support.described(exc)
            before = list(order), task.done()
            support.run_once(loop)
            return before, order, task.done()

    assert outcome(ours) == outcome(stock)


def test_current_task_during_the_eager_step(impl, eager_loop):
    seen = []

    async def child():
        seen.append(asyncio.current_task())
        await impl.sleep(0)
        seen.append(asyncio.current_task())

    async def main():
        me = asyncio.current_task()
        task = asyncio.create_task(child())
        assert asyncio.current_task() is me
        assert impl.current_task() is me
        await task
        return seen == [task, task]

    assert eager_loop.run_until_complete(main())


def test_all_tasks_during_the_eager_step(impl, eager_loop):
    async def child():
        return asyncio.current_task() in asyncio.all_tasks()

    async def main():
        return await asyncio.create_task(child())

    assert eager_loop.run_until_complete(main()) is True


def test_exception_of_the_eager_step(eager_loop):
    async def child():
        raise LookupError("eager")

    async def main():
        task = asyncio.create_task(child())
        assert task.done()
        with pytest.raises(LookupError, match="eager"):
            await task

    eager_loop.run_until_complete(main())


def test_exit_exception_of_the_eager_step(eager_loop):
    async def child():
        raise SystemExit(3)

    async def main():
        asyncio.create_task(child())

    with pytest.raises(SystemExit):
        eager_loop.run_until_complete(main())


def test_cancel_of_an_eager_task(impl, eager_loop):
    async def child():
        await eager_loop.create_future()

    async def main():
        task = asyncio.create_task(child())
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.args

    assert eager_loop.run_until_complete(main()) == ("why",)


def test_finished_eager_task_drops_its_coroutine(ours, stock):
    async def child():
        return 1

    def outcome(impl):
        with support.closing(impl.new_event_loop()) as loop:

            async def main():
                task = impl.Task(child(), loop=loop, eager_start=True, name="n")
                # Early 3.12 releases crash when stock is asked for the coroutine.
                return repr(task), impl.name == "asyncio" or not impl.native_names or task.get_coro() is None

            return loop.run_until_complete(main())

    assert outcome(ours) == outcome(stock) == ("<Task finished name='n' result=1>", True)


def test_context_of_the_eager_step(impl, loop):
    var = contextvars.ContextVar("var", default="default")

    async def child():
        var.set("child")
        await impl.sleep(0)
        return var.get()

    async def main():
        var.set("parent")
        task = impl.Task(child(), loop=loop, eager_start=True)
        assert var.get() == "parent"
        return await task

    assert loop.run_until_complete(main()) == "child"


def test_context_that_is_entered_already(impl, loop):
    """A task that could not start is no task: not the current one, none of all tasks, and no report when it goes."""
    if not impl.native_names and not support.PY315:
        pytest.skip("asyncio before 3.15 takes it for the current task, for ever")

    class Kept(impl.Task):
        pass

    async def child():
        pass

    async def main():
        task = Kept.__new__(Kept)
        with pytest.raises(RuntimeError, match="cannot enter context: .* is already entered"):
            context.run(lambda: task.__init__(child(), loop=loop, context=context, eager_start=True))
        assert asyncio.all_tasks() == impl.all_tasks() == {me}
        assert asyncio.current_task() is me
        assert task._log_destroy_pending is False and not task.done()

    context = contextvars.copy_context()
    me = loop.create_task(main())
    with support.recorded_logs() as logs, support.recorded_warnings() as warned:
        loop.run_until_complete(me)
        support.collect()
    assert logs == []
    assert [category for category, _ in warned] == ["RuntimeWarning"]  # the coroutine was never awaited


@pytest.mark.parametrize("context_is", ["entered", "none"])
def test_stock_task_that_cannot_start(impl, loop, context_is):
    """A stock task, also on our loop: it is the current task for the rest of the step at most (CPython issue 157301)."""
    if not impl.native_loop and not support.PY315:
        pytest.skip("asyncio before 3.15 takes it for the current task, for ever, and hangs")

    async def child():
        pass

    async def main():
        wrong = asyncio.current_task().get_context() if context_is == "entered" else 2.5
        coro = child()
        with pytest.raises((RuntimeError, TypeError)):
            asyncio.Task(coro, loop=loop, eager_start=True, context=wrong)
        coro.close()
        seen = []
        for _ in range(3):
            await impl.sleep(0)
            seen.append(asyncio.current_task())
        return seen

    me = loop.create_task(main())
    with support.recorded_logs(), support.recorded_unraisables():
        assert loop.run_until_complete(me) == [me] * 3
        support.collect()


def test_nested_eager_tasks(eager_loop):
    order = []

    async def level(n):
        order.append(("in", n))
        if n:
            await asyncio.create_task(level(n - 1))
        order.append(("out", n))

    async def main():
        await asyncio.create_task(level(5))

    eager_loop.run_until_complete(main())
    assert order == [("in", n) for n in range(5, -1, -1)] + [("out", n) for n in range(6)]


def test_gather_of_eager_tasks(impl, eager_loop):
    async def child(n):
        return n

    async def main():
        future = impl.gather(*(child(n) for n in range(5)))
        assert future.done()
        return await future

    assert eager_loop.run_until_complete(main()) == list(range(5))


def test_gather_of_an_eagerly_failing_child(impl, eager_loop):
    async def child(n):
        if n == 2:
            raise ValueError(n)
        return n

    async def main():
        with pytest.raises(ValueError):
            await impl.gather(*(child(n) for n in range(4)))
        results = await impl.gather(*(child(n) for n in range(4)), return_exceptions=True)
        return [type(r).__name__ for r in results]

    assert eager_loop.run_until_complete(main()) == ["int", "int", "ValueError", "int"]


def test_task_group_of_eager_tasks(eager_loop):
    async def child(n):
        if n % 2:
            await asyncio.sleep(0)
        return n

    async def main():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(n)) for n in range(10)]
        return [task.result() for task in tasks]

    assert eager_loop.run_until_complete(main()) == list(range(10))


def test_stock_eager_task_started_in_our_task(native):
    """The stock eager step swaps the current task, which must have been published where stock looks."""

    async def child():
        return asyncio.current_task().get_name()

    async def main():
        me = asyncio.current_task()
        task = asyncio.tasks._CTask(child(), loop=asyncio.get_running_loop(), eager_start=True, name="stock")
        assert asyncio.current_task() is me
        return await task

    assert native.run(main()) == "stock"
    with support.closing(native.new_event_loop()) as loop:
        assert loop.run_until_complete(main()) == "stock"


def test_our_eager_task_started_in_a_stock_task(native, stock):
    async def child():
        return asyncio.current_task().get_name()

    async def main():
        me = asyncio.current_task()
        task = native.Task(child(), loop=asyncio.get_running_loop(), eager_start=True, name="ours")
        assert asyncio.current_task() is me
        return await task

    with support.closing(stock.new_event_loop()) as loop:
        assert loop.run_until_complete(main()) == "ours"


def test_stock_eager_task_factory_on_our_loop(ours):
    with support.closing(ours.new_event_loop()) as loop:
        loop.set_task_factory(asyncio.eager_task_factory)

        async def child(n):
            if n % 2:
                await ours.sleep(0)
            return n

        async def main():
            return await ours.gather(*(child(n) for n in range(6)))

        assert loop.run_until_complete(main()) == list(range(6))
