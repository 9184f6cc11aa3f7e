"""to_thread(): where the function runs, with what, and what of it comes back."""

import asyncio
import contextvars
import inspect
import threading
from concurrent import futures

import pytest

from . import support

variable = contextvars.ContextVar("variable", default="none")


def call(*args, **kwargs):
    return threading.get_ident() != threading.main_thread().ident, args, kwargs, variable.get()


def test_function(impl):
    assert inspect.iscoroutinefunction(impl.to_thread)
    assert inspect.signature(impl.to_thread) == inspect.signature(asyncio.threads.to_thread)
    assert impl.to_thread.__qualname__ == "to_thread"
    assert impl.to_thread.__doc__


@pytest.mark.parametrize("debug", [False, True])
def test_arguments_and_context(impl, loop, debug):
    loop.set_debug(debug)

    async def main():
        variable.set("here")
        # Called, but not yet begun: the context is that of the await.
        coroutine = impl.to_thread(call, 1, 2, func=3, timeout=4)
        variable.set("awaited")
        assert asyncio.iscoroutine(coroutine)
        assert await coroutine == (True, (1, 2), {"func": 3, "timeout": 4}, "awaited")
        return await impl.to_thread(call)

    assert loop.run_until_complete(main()) == (True, (), {}, "awaited")


def test_the_context_is_a_copy(impl, loop):
    async def main():
        await impl.to_thread(variable.set, "changed")
        return variable.get()

    assert loop.run_until_complete(main()) == "none"


def test_what_it_raises(impl, loop):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await impl.to_thread(lambda: 1 / 0)
        with pytest.raises(TypeError):
            await impl.to_thread(None)

    loop.run_until_complete(main())


@pytest.mark.parametrize("kwargs", [{}, {"func": call}])
def test_without_a_function(impl, kwargs):
    with pytest.raises(TypeError, match=r"^to_thread\(\) missing 1 required positional argument: 'func'$"):
        impl.to_thread(**kwargs)


def test_without_a_loop(impl):
    coroutine = impl.to_thread(call)
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        coroutine.send(None)


def test_never_awaited(impl):
    with support.recorded_warnings() as caught:
        impl.to_thread(call)
        support.collect()
    assert caught == [("RuntimeWarning", "coroutine 'to_thread' was never awaited")]


def test_an_executor_of_ones_own(impl, loop):
    calls = []

    class Executor(futures.ThreadPoolExecutor):
        def submit(self, function, *args, **kwargs):
            calls.append((function.args, function.keywords, args, kwargs))
            return super().submit(function, *args, **kwargs)

    async def main():
        loop.set_default_executor(Executor(1))
        await impl.to_thread(call, 1, a=2)
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())
    assert calls == [((call, 1), {"a": 2}, (), {})]


def test_cancelled_while_it_runs(impl, loop):
    """The thread goes on; nobody waits for it any more."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        go_on.wait()
        ended.set()

    async def main():
        task = loop.create_task(impl.to_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel("reason")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("reason",)
        assert not ended.is_set()
        go_on.set()
        await loop.shutdown_default_executor()
        assert ended.is_set()

    loop.run_until_complete(main())


def test_on_a_loop_of_asyncios(impl):
    with support.closing(asyncio.SelectorEventLoop()) as loop:
        assert loop.run_until_complete(impl.to_thread(call, 1))[:2] == (True, (1,))
        loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.parametrize("result", ["done", "asyncio's", "other"])
def test_an_overridden_run_in_executor(impl, result):
    """It returns any awaitable."""

    class Awaitable:
        def __await__(self):
            return iter(())

    base = impl.new_event_loop()
    base.close()

    class Loop(type(base)):
        def run_in_executor(self, executor, function, *args):
            if result == "other":
                return Awaitable()
            future = self.create_future() if result == "done" else asyncio.futures._PyFuture(loop=self)
            future.set_result(function())
            return future

    with support.closing(Loop()) as loop:
        outcome = loop.run_until_complete(impl.to_thread(lambda: "result"))
    assert outcome == (None if result == "other" else "result")
