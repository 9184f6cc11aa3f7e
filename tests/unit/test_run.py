"""run and Runner: what they accept, close and cancel, and in which order."""

import asyncio
import contextvars
import gc

import pytest

from . import support


def test_returns_and_raises(impl):
    async def value():
        return 42

    async def error():
        raise LookupError("x")

    assert impl.run(value()) == 42
    with pytest.raises(LookupError, match="x"):
        impl.run(error())


def test_runs_on_the_right_loop(impl):
    async def main():
        return isinstance(asyncio.get_running_loop(), impl.Loop)

    assert impl.run(main()) is True


def test_cancels_what_is_left_and_closes_in_order(impl):
    order = []
    kept = []

    async def agen():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            order.append("generator closed")

    async def left_over():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            order.append("task cancelled")
            raise

    async def main():
        kept.append(asyncio.get_running_loop())
        kept.append(impl.create_task(left_over()))
        generator = agen()
        kept.append(generator)
        await generator.__anext__()
        await asyncio.get_running_loop().run_in_executor(None, int)
        order.append("main done")

    impl.run(main())
    assert order == ["main done", "task cancelled", "generator closed"]
    loop, task, _ = kept
    assert loop.is_closed() and task.cancelled()


def test_exception_while_cancelling_is_reported(impl):
    async def left_over():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ValueError("while cancelling")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        kept.append(impl.create_task(left_over()))
        await impl.sleep(0)

    contexts, kept = [], []
    impl.run(main())
    [context] = contexts
    assert context["message"] == "unhandled exception during asyncio.run() shutdown"
    assert isinstance(context["exception"], ValueError)


@pytest.mark.parametrize("bad", [None, 1, "text", lambda: None])
def test_wrong_arguments(ours, stock, bad):
    def outcome(run):
        with pytest.raises((ValueError, TypeError)) as caught:
            run(bad)
        return support.described(caught.value)

    assert outcome(ours.run) == outcome(stock.run)


def test_runner_inside_a_running_loop(impl):
    runner = asyncio.Runner(loop_factory=impl.new_event_loop)

    async def main():
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match=r"Runner.run\(\) cannot be called from a running event loop"):
            runner.run(coro)
        coro.close()
        return "still running"

    assert impl.run(main()) == "still running"
    runner.close()


def test_beginners_mistake_is_named_as_asyncio_names_it(native):
    async def main():
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError) as caught:
            native.run(coro)
        coro.close()
        return str(caught.value)

    assert native.run(main()) == "asyncio.run() cannot be called from a running event loop"


def test_run_of_an_awaitable(ours, stock):
    """3.14 accepts any awaitable, earlier versions only coroutines."""

    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    def outcome(run):
        try:
            return run(Awaitable())
        except Exception as exc:
            return support.described(exc).replace(support.described(exc), type(exc).__name__)

    assert outcome(ours.run) == outcome(stock.run)


def test_run_of_the_native_sleep_and_wait(native):
    assert native.run(native.sleep(0, "slept")) == "slept"

    async def main():
        task = native.create_task(native.sleep(0, 1))
        done, _ = await native.wait([task])
        return {t.result() for t in done}

    assert native.run(main()) == {1}


def test_run_in_run_in_sequence(impl):
    async def main(n):
        await impl.sleep(0)
        return n

    assert [impl.run(main(n)) for n in range(10)] == list(range(10))


def test_main_cancels_itself(impl):
    async def main():
        asyncio.current_task().cancel()
        await impl.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        impl.run(main())


@pytest.mark.parametrize("exc_type", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions(impl, exc_type):
    order = []

    async def left_over():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            order.append("cleaned")

    async def main():
        task = impl.create_task(left_over())
        await impl.sleep(0)
        kept.append(task)
        raise exc_type(7)

    kept = []
    with pytest.raises(exc_type):
        impl.run(main())
    assert order == ["cleaned"]


@pytest.mark.parametrize("exc_type", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("when", ["before", "within", "in a thread"])
def test_future_ended_by_what_ends_the_process(ours, exc_type, when):
    """asyncio runs for ever: nothing but the run of a task that raises such an exception ends by it."""

    async def main():
        raise exc_type("x")

    def in_thread():
        raise exc_type("x")

    with support.closing(ours.new_event_loop()) as loop:
        if when == "before":
            awaited = loop.create_task(main())
            with pytest.raises(exc_type):
                loop.run_until_complete(awaited)
        elif when == "within":
            awaited = loop.create_future()
            loop.call_soon(awaited.set_exception, exc_type("x"))
        else:
            awaited = loop.run_in_executor(None, in_thread)
        for _ in range(2):
            with pytest.raises(exc_type, match="x"):
                loop.run_until_complete(awaited)
        assert loop.run_until_complete(ours.sleep(0.001, "goes on")) == "goes on"
        loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.parametrize("exc_type", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ["derived", "in Python"])
def test_task_of_another_class_ends_its_run_and_no_other(impl, exc_type, kind):
    class Derived(impl.Task):
        pass

    async def main():
        raise exc_type("x")

    task_type = Derived if kind == "derived" else asyncio.tasks._PyTask
    reports = []
    with support.closing(impl.new_event_loop()) as loop:
        loop.set_exception_handler(lambda _, report: reports.append(report))
        awaited = task_type(main(), loop=loop)
        with pytest.raises(exc_type, match="x"):
            loop.run_until_complete(awaited)
        # Its callbacks, which are still queued, do not stop this one.
        assert loop.run_until_complete(impl.sleep(0.001, "goes on")) == "goes on"
        del awaited
        gc.collect()
    assert reports == []


def test_runner_keeps_its_loop_and_context(impl):
    var = contextvars.ContextVar("var", default=0)

    async def step():
        var.set(var.get() + 1)
        return var.get(), asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        first, loop = runner.run(step())
        second, same = runner.run(step())
        assert (first, second) == (1, 2)
        assert loop is same is runner.get_loop()
    assert var.get() == 0
    assert loop.is_closed()


def test_runner_with_a_context(impl):
    var = contextvars.ContextVar("var")
    context = contextvars.copy_context()
    context.run(var.set, "given")

    async def main():
        return var.get()

    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        assert runner.run(main(), context=context) == "given"


@pytest.mark.skipif(not support.PY312, reason="asyncio.run(loop_factory=) is new in 3.12")
def test_loop_factory_of_asyncio_run(impl):
    async def main():
        return isinstance(asyncio.get_running_loop(), impl.Loop)

    assert asyncio.run(main(), loop_factory=impl.new_event_loop) is True


def test_no_current_loop_is_left_behind(native):
    async def main():
        pass

    native.run(main())
    assert asyncio._get_running_loop() is None


def test_isolated_asyncio_test_case(ours):
    """unittest drives the loop through Runner, in debug mode."""
    import unittest

    seen = []

    class Case(unittest.IsolatedAsyncioTestCase):
        def _setupAsyncioRunner(self):
            self._asyncioRunner = asyncio.Runner(debug=True, loop_factory=ours.new_event_loop)

        async def asyncSetUp(self):
            seen.append("setup")

        async def test(self):
            await ours.sleep(0)
            seen.append(type(asyncio.get_running_loop()) is ours.Loop)

        async def asyncTearDown(self):
            seen.append("teardown")

    result = unittest.TestResult()
    Case("test").run(result)
    assert result.wasSuccessful(), result.errors
    assert seen == ["setup", True, "teardown"]
