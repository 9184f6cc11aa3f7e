"""TaskGroup: tasks and block in C, and where the work has to be left to asyncio's."""

import asyncio
import contextvars
import gc
import inspect
import warnings
import weakref
from unittest import mock

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


def in_turns(loop, turns, callback, *args):
    """Call back after that many turns of the loop."""
    if turns:
        loop.call_soon(in_turns, loop, turns - 1, callback, *args)
    else:
        callback(*args)


async def forever():
    await asyncio.get_running_loop().create_future()


def test_methods_look_like_asyncios(impl):
    for name in ("__aenter__", "__aexit__"):
        method, stock = getattr(impl.TaskGroup, name), getattr(asyncio.taskgroups.TaskGroup, name)
        assert inspect.iscoroutinefunction(method)
        assert inspect.signature(method) == inspect.signature(stock)
        assert method.__qualname__ == stock.__qualname__
    with pytest.raises(TypeError):
        impl.TaskGroup(1)


def test_attributes_of_a_new_group(impl):
    group = impl.TaskGroup()
    assert (group._entered, group._exiting, group._aborting, group._parent_cancel_requested) == (False,) * 4
    assert (group._loop, group._parent_task, group._base_error, group._on_completed_fut) == (None,) * 4
    assert (group._tasks, group._errors) == (set(), [])
    group._errors.append(1)
    assert group._errors == [1]


def test_attributes_while_it_runs(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            seen = [group._entered, group._exiting, group._loop is loop]
            seen.append(group._parent_task is asyncio.current_task())

            async def look():
                await asyncio.sleep(0)
                seen.extend([group._exiting, group._on_completed_fut.done(), repr(group)])

            group.create_task(look())
        return seen + [group._on_completed_fut, group._exiting]

    assert loop.run_until_complete(main()) == [
        *(True, False, True, True),
        *(True, False, "<TaskGroup tasks=1 entered>"),
        *(None, True),
    ]


@pytest.mark.parametrize(
    "attribute", ["_tasks", "_errors", "_base_error", "_parent_task", "_on_completed_fut"]
)
def test_attribute_lost_before_the_end(impl, loop, attribute):
    async def main():
        group = impl.TaskGroup()
        await group.__aenter__()
        delattr(group, attribute)
        with pytest.raises(AttributeError):
            getattr(group, attribute)
        await group.__aexit__(ValueError, ValueError(), None)

    with pytest.raises((AttributeError, ExceptionGroup)) as caught:
        loop.run_until_complete(main())
    with support.closing(asyncio.SelectorEventLoop()) as stock, pytest.raises(type(caught.value)):
        stock.run_until_complete(main())


def test_callback_of_a_task_is_the_method(impl, loop):
    async def main():
        group = impl.TaskGroup()
        async with group:
            task, forgotten = group.create_task(value(1)), group.create_task(value(2))
            [(callback, context)] = task._callbacks
            assert callback == group._on_task_done
            assert type(context) is contextvars.Context
            assert "_on_task_done" in repr(task)
            assert forgotten.remove_done_callback(group._on_task_done) == 1
            await forgotten
            assert forgotten in group._tasks
            group._on_task_done(forgotten)
        return task.result()

    assert loop.run_until_complete(main()) == 1


@pytest.mark.parametrize("method", ["_abort", "_is_base_error", "_on_task_done"])
@pytest.mark.parametrize("where", ["subclass", "class", "asyncio's class", "instance"])
def test_a_replaced_method_is_called(impl, loop, method, where):
    called = []
    stock = getattr(asyncio.taskgroups.TaskGroup, method)

    class Derived(impl.TaskGroup):
        pass

    def replacement(self, *args):
        called.append(method)
        return stock(self, *args)

    async def main():
        group = (Derived if where == "subclass" else impl.TaskGroup)()
        owner = {"subclass": Derived, "class": impl.TaskGroup, "instance": group}.get(
            where, asyncio.taskgroups.TaskGroup
        )
        function = replacement.__get__(group) if where == "instance" else replacement
        with mock.patch.object(owner, method, function):
            with pytest.raises(ExceptionGroup):
                async with group:
                    group.create_task(fail(ValueError()))
                    await forever()

    loop.run_until_complete(main())
    assert called == ["_is_base_error"] * 2 if method == "_is_base_error" else called == [method]


def test_a_patched_method_is_ours_again_afterwards(impl, loop):
    async def main():
        for _ in range(2):
            async with impl.TaskGroup() as group:
                group.create_task(value(1))
                await asyncio.sleep(0)
        return group._tasks

    stock = asyncio.taskgroups.TaskGroup._on_task_done
    with mock.patch.object(impl.TaskGroup, "_on_task_done", autospec=True, side_effect=stock) as patched:
        loop.run_until_complete(main())
    assert patched.call_count == 2
    assert loop.run_until_complete(main()) == set()
    assert patched.call_count == 2


def test_a_task_makes_tasks_while_the_group_waits(impl, loop):
    made = []

    async def spread(group, depth):
        made.append(depth)
        if depth:
            group.create_task(spread(group, depth - 1), name=f"depth {depth}")
        await asyncio.sleep(0)

    async def main():
        async with impl.TaskGroup() as group:
            group.create_task(spread(group, 5))

    loop.run_until_complete(main())
    assert made == [5, 4, 3, 2, 1, 0]


def test_the_parents_own_cancel_is_called(impl, loop):
    """A scope may shield a task by a cancel() in its dictionary."""
    called = []

    async def main():
        task = asyncio.current_task()
        original = task.cancel
        task.cancel = lambda *args: called.append(args) or original(*args)
        try:
            async with impl.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                await forever()
        finally:
            del task.cancel

    with pytest.raises(ExceptionGroup):
        loop.run_until_complete(main())
    assert called == [()]


def test_errors_are_handled_in_the_context_of_who_made_the_task(impl, loop):
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    async def main():
        async with impl.TaskGroup() as group:
            variable.set("making")
            group.create_task(fail(ValueError()))
            variable.set("later")
            group._parent_task = Recorder()
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            finally:
                group._parent_task = asyncio.current_task()
                group._parent_cancel_requested = False

    class Recorder:
        def done(self):
            return False

        def cancel(self):
            seen.append(variable.get())

    with pytest.raises(ExceptionGroup):
        loop.run_until_complete(main())
    assert seen == ["making"]


def test_error_of_a_task_whose_parent_is_done(impl, loop):
    reports = []

    async def parent(group):
        await group.__aenter__()
        return asyncio.current_task()

    async def main():
        group = impl.TaskGroup()
        owner = await asyncio.create_task(parent(group))
        task = group.create_task(fail(ValueError("late")))
        await asyncio.wait([task])
        await asyncio.sleep(0)
        return owner, task

    loop.set_exception_handler(lambda loop, context: reports.append(context))
    owner, task = loop.run_until_complete(main())
    [report] = reports
    assert set(report) == {"message", "exception", "task"}
    assert report["task"] is task and str(report["exception"]) == "late"
    assert (
        report["message"] == f"Task {task!r} has errored out but its parent task {owner} is already completed"
    )


@pytest.mark.parametrize("times", [1, 2, 3])
def test_parent_cancelled_while_the_group_waits(impl, loop, times):
    async def stubborn():
        try:
            await forever()
        except asyncio.CancelledError:
            for _ in range(5):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    pass

    async def main():
        task = asyncio.current_task()
        for n in range(times):
            in_turns(loop, n + 3, task.cancel, f"number {n}")
        try:
            async with impl.TaskGroup() as group:
                group.create_task(stubborn())
        except asyncio.CancelledError as error:
            return error.args, task.cancelling(), group._tasks

    assert loop.run_until_complete(main()) == (("number 0",), times, set())


def test_counts_of_cancellations(impl, loop):
    """The group takes back its own only, and only from 3.13 on is somebody else's still to come."""

    async def main():
        task = asyncio.current_task()
        seen = []
        try:
            async with impl.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                await forever()
        except* ValueError:
            seen.append(task.cancelling())
        try:
            async with impl.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                in_turns(loop, 1, task.cancel)
                await forever()
        except* ValueError:
            seen.append(task.cancelling())
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            seen.append("cancelled")
        return seen

    assert loop.run_until_complete(main()) == [0, 1, *(["cancelled"] if support.PY313 else [])]


def test_what_is_thrown_in_while_it_waits(impl, loop):
    async def main():
        group = impl.TaskGroup()
        await group.__aenter__()
        task = group.create_task(forever())
        leaving = group.__aexit__(None, None, None)
        future = leaving.send(None)
        assert future is group._on_completed_fut
        future._asyncio_future_blocking = False
        with pytest.raises(LookupError, match="thrown in"):
            leaving.throw(LookupError("thrown in"))
        leaving = group.__aexit__(None, None, None)
        assert leaving.send(None) is future
        future._asyncio_future_blocking = False
        leaving.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            leaving.send(None)
        task.cancel()

    loop.run_until_complete(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_base_error_of_the_block_goes_before_the_others(impl, loop, error):
    async def main():
        with pytest.raises(error) as caught:
            async with impl.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                raise error("first")
        return str(caught.value), group._base_error

    text, kept = loop.run_until_complete(main())
    assert text == "first"
    assert kept is None if hasattr(asyncio.taskgroups.TaskGroup, "_aexit") else type(kept) is error


def test_order_and_chain_of_errors(impl, loop):
    async def main():
        async def last():
            try:
                await forever()
            finally:
                raise TypeError("last")

        try:
            async with impl.TaskGroup() as group:
                group.create_task(fail(ValueError("first")))
                group.create_task(last())
                await asyncio.sleep(0)
                raise LookupError("block")
        except BaseException as error:
            return error, group._errors

    group, left = loop.run_until_complete(main())
    assert str(group) == "unhandled errors in a TaskGroup (3 sub-exceptions)"
    assert [error.args for error in group.exceptions] == [("first",), ("last",), ("block",)]
    assert group.__cause__ is None and group.__suppress_context__
    assert group.__context__ is group.exceptions[-1]
    assert left is None


def test_debug_mode_is_set_meanwhile(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            first = group.create_task(value(1))
            loop.set_debug(True)
            second = group.create_task(value(2))
        assert group._tasks == set()
        return first.result(), second.result()

    assert loop.run_until_complete(main()) == (1, 2)


def test_is_collected_with_its_tasks(impl, loop):
    async def main():
        group = impl.TaskGroup()
        await group.__aenter__()
        task = group.create_task(forever())
        await asyncio.sleep(0)
        task._log_destroy_pending = False
        return weakref.ref(group), weakref.ref(task)

    group, task = loop.run_until_complete(main())
    gc.collect()
    assert group() is None and task() is None


def test_made_anew(impl, loop):
    async def main():
        async with impl.TaskGroup() as group:
            group.create_task(value(1))
        group.__init__()
        assert repr(group) == "<TaskGroup>"
        async with group:
            task = group.create_task(value(2))
        return task.result()

    assert loop.run_until_complete(main()) == 2


def test_what_its_coroutines_hold_goes_with_them(impl, loop):
    """One that is dropped, unstarted or while it waits, leaves the group as it was."""

    async def main():
        group = impl.TaskGroup()
        with pytest.warns(RuntimeWarning, match="TaskGroup.__aenter__' was never awaited"):
            group.__aenter__()
            gc.collect()
        assert not group._entered
        await group.__aenter__()
        with pytest.raises(RuntimeError, match="has already been entered"):
            await group.__aenter__()
        reference = weakref.ref(group)
        await group.__aexit__(None, None, None)
        del group
        gc.collect()
        return reference()

    assert loop.run_until_complete(main()) is None
