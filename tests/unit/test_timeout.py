"""timeout(), timeout_at(), Timeout: deadlines that come or not, what they leave, and where asyncio's own code has the word."""

import asyncio
import contextvars
import gc
import inspect
import weakref

import pytest

import asyncio_c

from . import support


def test_is_asyncios(impl, loop):
    assert issubclass(impl.Timeout, asyncio.Timeout)
    assert repr(impl.Timeout(None)) == "<Timeout [created]>"
    with pytest.raises(TypeError):
        impl.Timeout()
    with pytest.raises(RuntimeError, match="no running event loop"):
        impl.timeout(1)

    async def main():
        return type(impl.timeout(1)), type(impl.timeout_at(None))

    assert loop.run_until_complete(main()) == (impl.Timeout, impl.Timeout)


def test_signatures(impl):
    assert list(inspect.signature(impl.timeout).parameters) == ["delay"]
    assert list(inspect.signature(impl.timeout_at).parameters) == ["when"]
    assert list(inspect.signature(impl.Timeout).parameters) == ["when"]
    assert inspect.iscoroutinefunction(impl.Timeout.__aenter__)
    assert inspect.iscoroutinefunction(impl.Timeout.__aexit__)


@pytest.mark.parametrize("delay", [None, 1000, 1000.0, 10**400])
def test_unused(impl, loop, delay):
    async def main():
        if delay == 10**400:
            with pytest.raises(OverflowError, match="int too large to convert to float"):
                impl.timeout(delay)
            return
        async with impl.timeout(delay) as scope:
            assert scope._task is asyncio.current_task() and scope._cancelling == 0
            assert repr(scope).startswith("<Timeout [active] when=")
            assert (scope.when() is None) == (delay is None)
            await impl.sleep(0)
        assert repr(scope) == "<Timeout [finished]>"
        assert not scope.expired() and scope._timeout_handler is None
        assert asyncio.current_task().cancelling() == 0

    loop.run_until_complete(main())
    assert not loop._scheduled or all(handle.cancelled() for handle in loop._scheduled)


@pytest.mark.parametrize("delay", [0.001, 0, -1, -0.5])
def test_expired(impl, loop, delay):
    async def main():
        with pytest.raises(TimeoutError) as caught:
            async with impl.timeout(delay=delay) as scope:
                await impl.sleep(1000)
        assert type(caught.value.__cause__) is asyncio.CancelledError
        assert caught.value.__context__ is caught.value.__cause__
        assert scope.expired() and repr(scope) == "<Timeout [expired]>"
        assert asyncio.current_task().cancelling() == 0

    loop.run_until_complete(main())


def test_expired_and_another_exception(impl, loop):
    async def main():
        with pytest.raises(ValueError) as caught:
            async with impl.timeout(0) as scope:
                try:
                    await impl.sleep(1000)
                except asyncio.CancelledError:
                    raise ValueError from None
        assert scope.expired()
        context = caught.value.__context__
        # From 3.13 on the chain tells of the timeout.
        expected = (
            TimeoutError if hasattr(asyncio.Timeout, "_insert_timeout_error") else asyncio.CancelledError
        )
        assert type(context) is expected
        assert asyncio.current_task().cancelling() == 0

    loop.run_until_complete(main())


def test_cancelled_as_well(impl, loop):
    """A cancellation from outside is not taken for the timeout's."""

    async def main():
        async with impl.timeout(0):
            asyncio.current_task().cancel()
            await impl.sleep(1000)

    task = loop.create_task(main())
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_inner_and_outer(impl, loop):
    async def main():
        with pytest.raises(TimeoutError):
            async with impl.timeout(0) as outer:
                async with impl.timeout(1000) as inner:
                    await impl.sleep(1000)
        assert outer.expired() and not inner.expired()
        async with impl.timeout(1000) as outer:
            with pytest.raises(TimeoutError):
                async with impl.timeout(0) as inner:
                    await impl.sleep(1000)
        assert inner.expired() and not outer.expired()

    loop.run_until_complete(main())


def test_both_at_once(impl, loop):
    async def main():
        with pytest.raises(TimeoutError):
            async with impl.timeout(0) as outer:
                async with impl.timeout(0) as inner:
                    await impl.sleep(1000)
        return outer.expired(), inner.expired(), asyncio.current_task().cancelling()

    assert loop.run_until_complete(main()) == (True, True, 0)


def test_reschedule(impl, loop):
    async def main():
        async with impl.timeout(0) as scope:
            scope.reschedule(loop.time() + 1000)
            await impl.sleep(0)
            scope.reschedule(loop.time() - 1)
            scope.reschedule(None)
            await impl.sleep(0)
            await impl.sleep(0)
        assert not scope.expired() and scope.when() is None
        with pytest.raises(TimeoutError):
            async with impl.timeout_at(None) as scope:
                scope.reschedule(loop.time() - 1)
                scope.reschedule(loop.time() + 1000)
                scope.reschedule(when=loop.time())
                await impl.sleep(1000)
        with pytest.raises(RuntimeError, match="Cannot change state of expired Timeout"):
            scope.reschedule(None)
        with pytest.raises(RuntimeError, match="Timeout has not been entered"):
            impl.timeout(1).reschedule(None)

    loop.run_until_complete(main())


def test_rescheduled_from_the_queue(impl, loop):
    """A deadline that has come, but has not had its turn, is taken back; the new one holds."""

    async def main():
        async with impl.timeout(None) as scope:
            for _ in range(3):
                scope.reschedule(loop.time() - 1)
            scope.reschedule(loop.time() + 1000)
            await impl.sleep(0)
            await impl.sleep(0)
        return scope.expired()

    assert loop.run_until_complete(main()) is False


def test_entered_twice_and_outside_of_a_task(impl, loop):
    async def main():
        async with impl.timeout(1000) as scope:
            with pytest.raises(RuntimeError, match="Timeout has already been entered"):
                await scope.__aenter__()
        with pytest.raises(RuntimeError, match="Timeout has already been entered"):
            async with scope:
                pass
        outcome = []

        def callback():
            try:
                impl.timeout_at(None).__aenter__().send(None)
            except RuntimeError as error:
                outcome.append(str(error))

        loop.call_soon(callback)
        await impl.sleep(0)
        assert outcome == ["Timeout should be used inside a task"]

    loop.run_until_complete(main())


def test_the_handle(impl, loop):
    """`_timeout_handler` is the handle, whoever asks for it first; cancelled, the deadline does not come."""

    async def main():
        async with impl.timeout(1000) as scope:
            handle = scope._timeout_handler
            assert isinstance(handle, asyncio.TimerHandle) and handle is scope._timeout_handler
            assert handle.when() == scope.when()
            assert handle in loop._scheduled
            assert handle._callback == scope._on_timeout
            handle.cancel()
        async with impl.timeout(-1) as scope:
            handle = scope._timeout_handler
            assert type(handle).__name__ == "Handle" and handle in loop._ready
            handle.cancel()
            await impl.sleep(0)
            await impl.sleep(0)
        assert not scope.expired()
        with pytest.raises(TimeoutError):
            async with impl.timeout(-1) as scope:
                assert scope._timeout_handler is not None
                await impl.sleep(1000)

    loop.run_until_complete(main())


def test_overridden_reschedule(impl, loop):
    class Counting(impl.Timeout):
        calls = ()

        def reschedule(self, when):
            self.calls += (when,)
            super().reschedule(when)

    async def main():
        async with Counting(5e9) as scope:
            scope.reschedule(None)
        return scope.calls

    assert loop.run_until_complete(main()) == (5e9, None)


def test_task_of_a_subclass(impl, loop):
    """Its cancel() is the one that is called."""
    cancelled = []

    class Task(impl.Task):
        def cancel(self, msg=None):
            cancelled.append(msg)
            return super().cancel(msg)

    async def main():
        async with impl.timeout(0):
            await impl.sleep(1000)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(Task(main(), loop=loop))
    assert cancelled == [None]


def test_a_task_with_a_cancel_of_its_own(impl, loop):
    calls = []

    async def main():
        task = asyncio.current_task()
        cancel = task.cancel
        task.cancel = lambda *args: calls.append(args) or cancel(*args)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with impl.timeout(0):
                    await loop.create_future()
        if support.PY312:  # it is a timeout from then on
            with pytest.raises(TimeoutError):
                await impl.wait_for(loop.create_future(), 0.001)

    loop.run_until_complete(main())
    assert calls == [()] * (3 if support.PY312 else 2)


def test_stock_task(impl, loop):
    async def main():
        with pytest.raises(TimeoutError):
            async with impl.timeout(0) as scope:
                await asyncio.sleep(1000)
        assert scope._task is asyncio.current_task()

    loop.run_until_complete(asyncio.Task(main(), loop=loop))
    if not support.PY314:  # from then on current_task() of C does not know tasks in Python
        loop.run_until_complete(asyncio.tasks._PyTask(main(), loop=loop))


def test_context_of_the_deadline(impl, loop):
    """What cancel() runs sees the context variables of whoever has set the deadline."""
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    class Future(asyncio.futures._PyFuture):
        def cancel(self, msg=None):
            seen.append(variable.get())
            return super().cancel(msg)

    async def main():
        variable.set(1)
        with pytest.raises(TimeoutError):
            async with impl.timeout(0):
                variable.set(2)
                await Future(loop=loop)

    loop.run_until_complete(main())
    assert seen == [1]


def test_debug_mode(impl, loop):
    loop.set_debug(True)

    async def main():
        with pytest.raises(TimeoutError):
            async with impl.timeout(0):
                await impl.sleep(1000)
        async with impl.timeout(1000) as scope:
            assert scope._timeout_handler._source_traceback

    loop.run_until_complete(main())


def test_other_numbers(impl, loop):
    class Number(float):
        pass

    async def main():
        async with impl.timeout_at(Number(5e9)) as scope:
            assert type(scope.when()) is Number
        async with impl.timeout_at(10**20) as scope:
            assert scope.when() == 10**20
        with pytest.raises(TypeError):
            async with impl.timeout_at("soon"):
                pass

    loop.run_until_complete(main())


def test_nothing_is_kept(impl, loop, collections_on_demand):
    async def main():
        async with impl.timeout(1000) as scope:
            await impl.sleep(0)
        gone = weakref.ref(scope)
        del scope
        return gone

    assert loop.run_until_complete(main())() is None


def test_closed_while_it_waits(impl, loop):
    """A generator's end, as by close(), takes the deadline back."""

    async def main():
        async with impl.timeout(1000):
            await loop.create_future()

    task = loop.create_task(main())
    support.run_once(loop)
    task.get_coro().close()
    assert not loop._scheduled or all(handle.cancelled() for handle in loop._scheduled)
    task.cancel()
    support.run_until_idle(loop)
    gc.collect()


def test_entered_by_who_counts_no_requests_to_cancel():
    """As asyncio's __aenter__() up to Python 3.11.2, which Debian 12 has, where it is asyncio's that enters."""

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio_c.timeout(0) as scope:
                del scope._cancelling
                await asyncio.Event().wait()
        return asyncio.current_task().cancelling()

    assert asyncio_c.run(main()) == 0
