"""Subclasses in Python, attributes on the instance, constructors that are skipped or called twice."""

import asyncio

import pytest

from . import support


async def noop(value=None):
    return value


# ---- the loop ----


def test_overridden_call_soon_sees_every_wake_up(ours, stock):
    """What passes through call_soon is stock's: task steps, wake-ups, callbacks of futures."""

    def program(impl):
        names = []

        class Recording(impl.Loop):
            def call_soon(self, callback, *args, context=None):
                names.append(len(args))
                return super().call_soon(callback, *args, context=context)

        with support.closing(Recording()) as loop:

            async def main():
                future = loop.create_future()
                future.add_done_callback(lambda f: None)
                loop.call_soon(future.set_result, 1)
                await future
                task = loop.create_task(noop())
                await task
                await impl.sleep(0)
                return await impl.gather(noop(1), noop(2))

            assert loop.run_until_complete(main()) == [1, 2]
            recorded = list(names)
        return recorded

    assert program(ours) == program(stock)


def test_overridden_call_soon_on_the_instance(impl, loop):
    seen = []
    original = loop.call_soon

    def call_soon(callback, *args, context=None):
        seen.append(callback)
        return original(callback, *args, context=context)

    loop.call_soon = call_soon

    async def main():
        await impl.sleep(0)
        return await loop.create_task(noop("value"))

    assert loop.run_until_complete(main()) == "value"
    assert len(seen) >= 5
    del loop.call_soon
    count = len(seen)
    assert loop.run_until_complete(main()) == "value"
    assert len(seen) == count


def test_override_set_while_the_loop_runs(impl, loop):
    seen = []

    async def main():
        original = loop.call_soon

        def call_soon(callback, *args, context=None):
            seen.append(callback)
            return original(callback, *args, context=context)

        loop.call_soon = call_soon
        await impl.sleep(0)
        await loop.create_task(noop())
        del loop.call_soon
        count = len(seen)
        await impl.sleep(0)
        return count, len(seen)

    before, after = loop.run_until_complete(main())
    assert before >= 3
    assert after == before


def test_time_overridden_in_a_subclass(impl, virtual):
    loop, clock = virtual
    fired = []
    loop.call_later(5, lambda: fired.append(loop.time()))
    start = clock.now
    support.run_once(loop, 10)
    assert len(fired) == 1 and fired[0] >= start + 5


def test_time_overridden_on_the_instance(impl, loop):
    now = [100.0]
    loop.time = lambda: now[0]
    fired = []
    handle = loop.call_later(50, fired.append, 1)
    assert handle.when() == 150.0
    support.run_once(loop, 3)
    assert fired == []
    now[0] = 150.0
    support.run_once(loop)
    assert fired == [1]
    task = impl.Task(impl.sleep(1000), loop=loop)
    support.run_once(loop, 2)
    assert not task.done()
    now[0] = 1e6
    support.run_once(loop, 3)
    assert task.done()
    del loop.time


def test_call_later_and_call_at_overridden(ours, stock):
    def program(impl):
        calls = []

        class Recording(impl.Loop):
            def call_later(self, delay, callback, *args, context=None):
                calls.append("later")
                return super().call_later(delay, callback, *args, context=context)

            def call_at(self, when, callback, *args, context=None):
                calls.append("at")
                return super().call_at(when, callback, *args, context=context)

        with support.closing(Recording()) as loop:

            async def main():
                await impl.sleep(0.0001)
                await impl.wait([loop.create_task(noop())], timeout=1000)
                async with asyncio.timeout(1000):
                    pass

            loop.run_until_complete(main())
        return calls

    assert program(ours) == program(stock)


def test_create_task_and_create_future_overridden(impl):
    made = []

    class Recording(impl.Loop):
        def create_task(self, coro, **kwargs):
            task = super().create_task(coro, **kwargs)
            made.append("task")
            return task

        def create_future(self):
            made.append("future")
            return super().create_future()

    with support.closing(Recording()) as loop:

        async def main():
            await impl.create_task(noop())
            await asyncio.create_task(noop())
            await impl.gather(noop(), noop())

        loop.run_until_complete(main())
        assert made.count("task") == 5  # main and four children


def test_call_exception_handler_overridden(impl):
    seen = []

    class Recording(impl.Loop):
        def call_exception_handler(self, context):
            seen.append(context["message"].split(" ")[0])

    with support.closing(Recording()) as loop:
        loop.call_soon(divmod, 1, 0)
        support.run_once(loop)
        future = loop.create_future()
        future.set_exception(ValueError())
        del future
        support.collect()
    assert seen == ["Exception", "Future"]


def test_get_debug_overridden(impl):
    class Debugging(impl.Loop):
        def get_debug(self):
            return True

    with support.closing(Debugging()) as loop:
        assert impl.Future(loop=loop)._source_traceback is not None


def test_subclass_with_an_init_of_its_own(impl):
    class Mine(impl.Loop):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def run_forever(self):
            self.value += 1
            return super().run_forever()

    with support.closing(Mine(1)) as loop:
        assert loop.run_until_complete(noop("x")) == "x"
        assert loop.value == 2


def test_close_replaced_on_the_instance(impl, loop):
    """sentry does so."""
    closed = []
    original = loop.close
    loop.close = lambda: (closed.append(1), original())
    loop.close()
    assert closed == [1] and loop.is_closed()


def test_class_of_the_instance_replaced(impl, loop):
    """looptime assigns `loop.__class__`."""

    class Patched(type(loop)):
        def time(self):
            return 12345.0

    loop.__class__ = Patched
    assert loop.time() == 12345.0
    assert loop.call_later(5, int).when() == 12350.0
    assert loop.run_until_complete(noop(1)) == 1


def test_attribute_set_on_the_class_later(impl):
    class Mine(impl.Loop):
        pass

    with support.closing(Mine()) as loop:
        assert loop.run_until_complete(noop(1)) == 1
        Mine.time = lambda self: 777.0
        assert loop.time() == 777.0
        # A native loop looks at its class when it starts to run.
        loop.run_until_complete(noop(1))
        assert loop.call_later(1, int).when() == 778.0


# ---- futures ----


def test_future_subclass(impl, loop):
    class Mine(impl.Future):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.log = []

        def set_result(self, value):
            self.log.append(("result", value))
            super().set_result(value)

        def cancel(self, msg=None):
            self.log.append(("cancel", msg))
            return super().cancel(msg=msg)

        def result(self):
            self.log.append("asked")
            return super().result()

    async def waits(future):
        return await future

    future = Mine(loop=loop)
    loop.call_soon(future.set_result, 1)
    assert loop.run_until_complete(waits(future)) == 1
    assert ("result", 1) in future.log

    future = Mine(loop=loop)
    task = impl.Task(waits(future), loop=loop)
    support.run_once(loop)
    task.cancel("why")
    assert ("cancel", "why") in future.log
    support.run_once(loop)
    assert task.cancelled()


def test_overridden_result_is_asked_at_the_wake_up(ours, stock):
    def program(impl):
        calls = []

        class Mine(impl.Future):
            def result(self):
                calls.append("result")
                return super().result()

            def add_done_callback(self, callback, *, context=None):
                calls.append("add")
                super().add_done_callback(callback, context=context)

            def get_loop(self):
                calls.append("loop")
                return super().get_loop()

        with support.closing(impl.new_event_loop()) as loop:
            future = Mine(loop=loop)

            async def coro():
                return await future

            task = impl.Task(coro(), loop=loop)
            support.run_once(loop)
            future.set_result(1)
            loop.run_until_complete(task)
        return calls

    assert program(ours) == program(stock)


def test_future_subclass_with_slots_and_del(impl, loop):
    deleted = []

    class Mine(impl.Future):
        __slots__ = ("extra",)

        def __del__(self):
            deleted.append(self.extra)
            super().__del__()

    future = Mine(loop=loop)
    future.extra = "value"
    del future
    support.collect()
    assert deleted == ["value"]


def test_future_init_not_called(impl, loop):
    class Mine(impl.Future):
        def __init__(self):
            pass

    future = Mine()
    with pytest.raises((RuntimeError, asyncio.InvalidStateError)):
        future.set_result(1)
    with pytest.raises((RuntimeError, asyncio.InvalidStateError)):
        future.result()
    del future
    support.collect()


def outcome_of_each(calls):
    results = []
    for call in calls:
        try:
            results.append(call())
        except Exception as exc:
            results.append(support.described(exc))
    return results


def test_uninitialised_objects_answer_as_stock_does(ours, stock):
    def program(impl):
        future = impl.Future.__new__(impl.Future)
        task = impl.Task.__new__(impl.Task)
        calls = []
        for thing in (future, task):
            calls += [
                lambda t=thing: t.done(),
                lambda t=thing: t.cancelled(),
                lambda t=thing: t.cancel(),
                lambda t=thing: t.result(),
                lambda t=thing: t.exception(),
                lambda t=thing: t.get_loop(),
                lambda t=thing: t.add_done_callback(int),
                lambda t=thing: t.remove_done_callback(int),
                lambda t=thing: t.__await__(),
                lambda t=thing: t._state,
                lambda t=thing: t._callbacks,
                lambda t=thing: t._loop,
                lambda t=thing: t._log_traceback,
                lambda t=thing: t._source_traceback,
                lambda t=thing: t._exception,
                lambda t=thing: t._result,
            ]
        calls += [
            lambda: future.set_result(1),
            lambda: future.set_exception(ValueError()),
        ]
        return outcome_of_each(calls)

    assert program(ours) == program(stock)


def test_uninitialised_task_does_not_crash(native):
    """Stock does crash on some of these, so there is nothing to compare with."""
    task = native.Task.__new__(native.Task)
    outcome_of_each(
        [
            lambda: task.get_name(),
            lambda: task.set_name("n"),
            lambda: task.get_coro(),
            lambda: task._fut_waiter,
            lambda: task._must_cancel,
            lambda: task._coro,
            lambda: task.cancelling(),
            lambda: task.uncancel(),
            lambda: task.get_stack(),
            lambda: task.print_stack(),
            lambda: repr(task),
        ]
        + ([lambda: task.get_context()] if support.PY312 else [])
    )


def test_future_initialised_twice(ours, stock):
    """3.15 refuses; earlier versions start over."""

    def program(impl):
        with support.closing(impl.new_event_loop()) as loop:
            future = impl.Future(loop=loop)
            future.add_done_callback(int)
            future.set_result(1)

            def again():
                future.__init__(loop=loop)
                return future.done(), future._callbacks

            return outcome_of_each([again])

    assert program(ours) == program(stock)


def test_task_initialised_twice(ours, stock):
    def program(impl):
        with support.closing(impl.new_event_loop()) as loop:
            task = impl.Task(noop(1), loop=loop)
            loop.run_until_complete(task)
            coro = noop(2)

            def again():
                task.__init__(coro, loop=loop)
                return loop.run_until_complete(task)

            result = outcome_of_each([again])
            coro.close()
            return result

    assert program(ours) == program(stock)


def test_failed_init(impl, loop):
    for call in (
        lambda: impl.Task(None, loop=loop),
        lambda: impl.Future(loop=loop, bogus=1),
        lambda: impl.Task(1, loop=loop, name="n"),
    ):
        with pytest.raises(TypeError):
            call()
    support.collect()


# ---- tasks ----


def test_task_subclass(impl, loop):
    class Mine(impl.Task):
        def __init__(self, coro, **kwargs):
            super().__init__(coro, **kwargs)
            self.cancel_calls = 0

        def cancel(self, msg=None):
            self.cancel_calls += 1
            return super().cancel(msg=msg)

    loop.set_task_factory(lambda loop, coro, **kwargs: Mine(coro, loop=loop, **kwargs))

    async def main():
        task = asyncio.create_task(impl.sleep(1000))
        assert type(task) is Mine
        await impl.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancel_calls

    assert loop.run_until_complete(main()) == 1
    assert type(asyncio.ensure_future(noop(), loop=loop)) is Mine
    support.run_once(loop)


def test_task_subclass_cancel_is_called_by_gather_and_groups(impl, loop):
    cancelled = []

    class Mine(impl.Task):
        def cancel(self, msg=None):
            cancelled.append(self.get_name())
            return super().cancel(msg=msg)

    async def main():
        tasks = [Mine(impl.sleep(1000), loop=loop, name=f"t{n}") for n in range(3)]
        future = impl.gather(*tasks)
        await impl.sleep(0)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future

    loop.run_until_complete(main())
    assert cancelled == ["t0", "t1", "t2"]


def test_task_init_not_called(impl):
    class Mine(impl.Task):
        def __init__(self):
            pass

    task = Mine()
    with pytest.raises((RuntimeError, asyncio.InvalidStateError)):
        task.result()
    del task
    support.collect()


def test_multiple_inheritance(impl, loop):
    class Mixin:
        def extra(self):
            return self.get_name()

    class Mine(Mixin, impl.Task):
        pass

    task = Mine(noop(1), loop=loop, name="mixed")
    assert loop.run_until_complete(task) == 1
    assert task.extra() == "mixed"


def test_subclass_of_stock_task_on_our_loop(ours):
    class Mine(asyncio.tasks._CTask):
        pass

    with support.closing(ours.new_event_loop()) as loop:
        loop.set_task_factory(lambda loop, coro, **kwargs: Mine(coro, loop=loop, **kwargs))

        async def main():
            return await ours.gather(*(noop(n) for n in range(3)))

        assert loop.run_until_complete(main()) == [0, 1, 2]


def test_instance_method_shadowed_on_a_task(impl, loop):
    """Libraries set attributes on tasks; what the loop itself calls is looked up on the type."""
    task = impl.Task(noop(1), loop=loop)
    task.marker = object()
    assert loop.run_until_complete(task) == 1
