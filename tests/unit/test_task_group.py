"""TaskGroup: the two native methods, and where they have to leave the work to asyncio's."""

import asyncio
import warnings

import pytest

from . import support


async def value(x):
    await asyncio.sleep(0)
    return x


async def fail(error):
    raise error


def test_is_asyncios(impl):
    assert issubclass(impl.TaskGroup, asyncio.TaskGroup)
    assert repr(impl.TaskGroup()) == "<TaskGroup>"


def test_tasks_are_done_at_the_end(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            tasks = [group.create_task(value(i)) for i in range(20)]
            assert group._tasks == set(tasks)
        assert group._tasks == set()
        return [task.result() for task in tasks]

    assert loop.run_until_complete(main()) == list(range(20))


def test_tasks_that_ended_before_the_group_waits(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            task = group.create_task(value(1))
            await task
            await asyncio.sleep(0)
            assert group._tasks == set()
        return task.result()

    assert loop.run_until_complete(main()) == 1


def test_task_is_of_the_loop_and_named(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            named = group.create_task(value(1), name="mine")
            plain = group.create_task(value(2))
            assert type(named) is type(plain) is type(asyncio.current_task())
        return named.get_name(), plain.get_name().startswith("Task-")

    assert loop.run_until_complete(main()) == ("mine", True)


def test_context_keyword(impl, loop):
    import contextvars

    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 5)

    async def read():
        return variable.get()

    async def main():
        async with impl.TaskGroup() as group:
            inside, outside = group.create_task(read(), context=context), group.create_task(read())
        return inside.result(), outside.result()

    assert loop.run_until_complete(main()) == (5, 0)


def test_one_fails_the_others_are_cancelled(impl, loop):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with impl.TaskGroup() as group:
                endless = group.create_task(loop.create_future_waiter())
                group.create_task(fail(ValueError("first")))
        return [type(error) for error in caught.value.exceptions], endless.cancelled()

    async def forever():
        await loop.create_future()

    loop.create_future_waiter = forever
    assert loop.run_until_complete(main()) == ([ValueError], True)


def test_task_cancelled_from_outside_is_no_error(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            task = group.create_task(value(1))
            task.cancel()
        return task.cancelled()

    assert loop.run_until_complete(main())


@pytest.mark.parametrize("when", ["before", "after", "aborting"])
def test_refused(impl, loop, when):
    async def main():
        group = impl.TaskGroup()
        if when != "before":
            async with group:
                pass
        if when == "aborting":
            group._exiting, group._aborting = False, True
        coroutine = value(1)
        message = {"before": "has not been entered", "after": "is finished", "aborting": "is shutting down"}
        with pytest.raises(RuntimeError, match=f"TaskGroup <TaskGroup.*> {message[when]}"):
            group.create_task(coroutine)
        coroutine.close()

    loop.run_until_complete(main())


@pytest.mark.parametrize("argument", [None, 1, "text"])
def test_what_is_no_coroutine(impl, loop, argument):
    async def main():
        with pytest.raises(TypeError, match="a coroutine was expected, got"):
            async with impl.TaskGroup() as group:
                try:
                    group.create_task(argument)
                except TypeError as error:
                    kept = error
            raise kept

    loop.run_until_complete(main())


def test_wrong_calls(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            with pytest.raises(
                TypeError, match=r"create_task\(\) missing 1 required positional argument: 'coro'"
            ):
                group.create_task()
            for extra in ((1,), (1, 2)):
                coroutine = value(1)
                with pytest.raises(TypeError, match=r"create_task\(\) takes 2 positional arguments but"):
                    group.create_task(coroutine, *extra)
                coroutine.close()
            by_keyword = group.create_task(coro=value(3))
        return by_keyword.result()

    assert loop.run_until_complete(main()) == 3


def test_task_factory(impl, loop):
    made = []

    def factory(loop, coroutine, **keywords):
        made.append(coroutine.__name__)
        return asyncio.Task(coroutine, loop=loop, **keywords)

    async def main():
        loop.set_task_factory(factory)
        async with impl.TaskGroup() as group:
            group.create_task(value(1))

    loop.run_until_complete(main())
    assert made == ["value"]


def test_loop_that_overrides_create_task(impl):
    made = []

    class Loop(impl.Loop):
        def create_task(self, coroutine, **keywords):
            made.append(coroutine.__name__)
            return super().create_task(coroutine, **keywords)

    async def main():
        made.clear()
        async with impl.TaskGroup() as group:
            group.create_task(value(1))

    with support.closing(Loop()) as loop:
        loop.run_until_complete(main())
        assert made == ["value"]


def test_subclass_that_watches(impl, loop):
    seen = []

    class Watching(impl.TaskGroup):
        def create_task(self, coro, **keywords):
            seen.append("made")
            return super().create_task(coro, **keywords)

        def _on_task_done(self, task):
            seen.append(task.result())
            super()._on_task_done(task)

    async def main():
        async with Watching() as group:
            group.create_task(value(1))
            group.create_task(value(2))

    loop.run_until_complete(main())
    assert seen == ["made", "made", 1, 2]


@pytest.mark.skipif(not support.PY312, reason="eager tasks are new in 3.12")
def test_eager_factory(impl, loop):
    async def at_once(x):
        return x

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        async with impl.TaskGroup() as group:
            first, second = group.create_task(at_once(1)), group.create_task(value(2))
            assert first.done() and not second.done()
        return first.result(), second.result()

    assert loop.run_until_complete(main()) == (1, 2)


def test_debug_mode(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            task = group.create_task(value(1))
        return task

    loop.set_debug(True)
    task = loop.run_until_complete(main())
    assert task.result() == 1 and task._source_traceback


def test_a_group_of_another_loop(impl, loop):
    """The group's own loop counts, not the one that runs."""

    async def main():
        async with impl.TaskGroup() as group:
            group._loop = other
            task = group.create_task(value(1))
            group._loop = loop
            assert task.get_loop() is other
            group._tasks.discard(task)
        return task

    with support.closing(impl.new_event_loop()) as other:
        task = loop.run_until_complete(main())
        assert other.run_until_complete(task) == 1


@pytest.mark.parametrize("attribute", ["_entered", "_exiting", "_aborting", "_tasks", "_loop"])
def test_lost_attribute(impl, loop, attribute):
    async def main():
        async with impl.TaskGroup() as group:
            before = getattr(group, attribute)
            delattr(group, attribute)
            coroutine = value(1)
            with pytest.raises(AttributeError, match=attribute):
                group.create_task(coroutine)
            coroutine.close()
            setattr(group, attribute, before)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a task was made before _tasks was looked at
        loop.run_until_complete(main())


def test_done_callback_of_what_it_does_not_know(impl, loop):
    """Whoever calls the callback by hand gets asyncio's answer."""

    async def main():
        async with impl.TaskGroup() as group:
            future = loop.create_future()
            future.set_result(None)
            group._on_task_done(future)
            with pytest.raises(AttributeError):
                group._on_task_done(None)

    loop.run_until_complete(main())
