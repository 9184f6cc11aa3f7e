"""Debug mode, contexts, representations, and task factories: what tools print and libraries carry along."""

import asyncio
import contextvars
import sys

import pytest
from unit import support

variable = contextvars.ContextVar("variable", default="default")


async def nothing():
    pass


# ---- Debug mode ----


def test_debug_mode_checks_the_thread(loop):
    """asyncio's words; uvicorn's reloader and many tests meet them."""
    loop.set_debug(True)

    async def main():
        for call in (loop.call_soon, lambda callback: loop.call_later(0, callback)):
            with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
                await asyncio.to_thread(call, print)
        await asyncio.to_thread(loop.call_soon_threadsafe, int)

    loop.run_until_complete(main())


def test_debug_mode_checks_the_callback(loop):
    """asyncio's words for the two usual mistakes."""
    loop.set_debug(True)
    coroutine = nothing()
    with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
        loop.call_soon(coroutine)
    with pytest.raises(TypeError, match="coroutines cannot be used with call_at"):
        loop.call_at(0, nothing)
    with pytest.raises(TypeError, match="a callable object was expected by call_soon"):
        loop.call_soon("not callable")
    coroutine.close()


def test_origin_of_coroutines(loop):
    """The warning about a coroutine never awaited tells where it was made: set_debug() of a running loop turns that on and off."""
    seen = []

    async def main():
        for debug in (True, False):
            loop.set_debug(debug)
            await asyncio.sleep(0)
            seen.append(sys.get_coroutine_origin_tracking_depth() > 0)

    loop.run_until_complete(main())
    assert seen == [True, False] and sys.get_coroutine_origin_tracking_depth() == 0


def test_slow_step_names_its_task(loop):
    """uvloop #103: the line about a slow callback has the task in it, not only its wrapper."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    with support.recorded_logs() as logs:
        loop.run_until_complete(loop.create_task(nothing(), name="the-slow-one"))
    lines = [message for _, message, _ in logs if message.startswith("Executing <Task")]
    assert any("name='the-slow-one'" in line for line in lines)


def test_connections_are_logged(loop):
    """asyncio's debug log, which people turn on to see who connects to whom, and what a process is started with."""
    loop.set_debug(True)

    async def main():
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
        transport.close()
        server.close()

    with support.recorded_logs("DEBUG") as logs:
        loop.run_until_complete(main())
    assert [text for _, text, _ in logs if " is serving" in text]
    assert [text for _, text, _ in logs if " connected to " in text]
    loop.set_debug(False)


def test_streams_and_futures_tell_where_they_were_made(impl, loop):
    """asyncio's debug mode: _source_traceback ends in the user's line, for streams as well."""
    loop.set_debug(True)

    async def main():
        task = loop.create_task(nothing())
        await task
        made = impl.Future(), task, asyncio.StreamReader()
        return [thing._source_traceback[-1].name for thing in made]

    assert loop.run_until_complete(main()) == ["main"] * 3
    loop.set_debug(False)


# ---- Reports ----


def test_handlers_that_fail(impl):
    """asyncio's words for a handler that raises, and for a default handler that does as well."""

    class Loop(impl.Loop):
        def default_exception_handler(self, context):
            raise LookupError

    def handler(loop, context):
        raise ValueError

    with support.closing(Loop()) as loop, support.recorded_logs() as logs:
        loop.call_exception_handler({"message": "by the default handler"})
        loop.set_exception_handler(handler)
        loop.call_exception_handler({"message": "by the handler"})
        loop.set_exception_handler(None)
    assert [(message.partition("\n")[0], name) for _, message, name in logs] == [
        ("Exception in default exception handler", "LookupError"),
        (
            "Exception in default exception handler while handling an unexpected error in custom exception handler",
            "LookupError",
        ),
    ]


def test_default_report(loop):
    """Log filters look for asyncio's lines: the message, then the other keys in order."""
    with support.recorded_logs() as logs:
        loop.call_exception_handler({"message": "text", "b": 2, "a": 1, "exception": ValueError()})
        loop.call_exception_handler({})
    assert [(message, name) for _, message, name in logs] == [
        ("text\na: 1\nb: 2", "ValueError"),
        ("Unhandled exception in event loop", None),
    ]


def test_generator_begun_after_they_were_shut_down(loop):
    """asyncio's ResourceWarning, and its hooks, which are there only while the loop runs."""

    async def numbers():
        yield 1

    async def main():
        await loop.shutdown_asyncgens()
        assert sys.get_asyncgen_hooks().firstiter is not None
        generator = numbers()
        with pytest.warns(ResourceWarning, match="was scheduled after loop.shutdown_asyncgens"):
            await generator.__anext__()
        await generator.aclose()

    hooks = sys.get_asyncgen_hooks()
    loop.run_until_complete(main())
    assert sys.get_asyncgen_hooks() == hooks


# ---- Contexts ----


def test_callback_has_the_context_of_its_scheduling(impl, loop):
    """Contexts are copied when a callback, timer, done-callback or task is made, not when it runs."""
    seen = []
    future = loop.create_future()

    async def child():
        seen.append(("task", variable.get()))
        variable.set("child's own")

    def schedule():
        variable.set("then")
        loop.call_soon(lambda: seen.append(("soon", variable.get())))
        loop.call_later(0, lambda: seen.append(("later", variable.get())))
        future.add_done_callback(lambda f: seen.append(("done", variable.get())))
        loop.create_task(child())
        variable.set("afterwards")

    contextvars.copy_context().run(schedule)
    future.set_result(None)
    support.run_once(loop, 4)
    assert dict(seen) == dict.fromkeys(["soon", "later", "done", "task"], "then")
    assert variable.get() == "default"


def test_given_context_is_used_itself(loop):
    """Runner and pytest-asyncio pass a context, and look into it afterwards."""
    context = contextvars.copy_context()

    async def child():
        variable.set("inside")

    task = loop.create_task(child(), context=context)
    loop.run_until_complete(task)
    assert context[variable] == "inside"
    if support.PY312:
        assert task.get_context() is context


def test_handler_runs_in_the_context_of_the_task(loop):
    """sentry-sdk: from Python 3.12 on the exception handler finds the variables of the task that it is told of."""
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(variable.get()))

    async def child():
        variable.set("task's")
        raise ValueError

    def lose():
        loop.create_task(child())

    lose()
    support.run_once(loop, 2)
    support.collect()
    assert seen == ["task's" if support.PY312 else "default"]


# ---- Representations ----


def test_repr_of_futures(loop):
    """Log filters and people read asyncio's formats."""
    future = loop.create_future()
    assert repr(future) == "<Future pending>"
    future.add_done_callback(print)
    assert repr(future).startswith("<Future pending cb=[")
    done, failed, cancelled = (loop.create_future() for _ in range(3))
    done.set_result([1])
    failed.set_exception(ValueError("x"))
    failed.exception()
    cancelled.cancel()
    assert repr(done) == "<Future finished result=[1]>"
    assert repr(failed) == "<Future finished exception=ValueError('x')>"
    assert repr(cancelled) == "<Future cancelled>"


def test_repr_of_tasks(loop):
    """The same, and what the task waits for; `cancelling` from the cancellation on."""
    future = loop.create_future()

    async def waits():
        await future

    task = loop.create_task(waits(), name="n")
    text = repr(task)
    assert text.startswith("<Task pending name='n' coro=<test_repr_of_tasks.<locals>.waits() running at ")
    support.run_once(loop)
    assert "wait_for=<Future pending cb=[" in repr(task)
    task.cancel()
    assert repr(task).startswith("<Task cancelling name='n' ")
    support.run_once(loop, 2)
    assert repr(task).startswith("<Task cancelled name='n' coro=<")


def test_repr_does_not_recurse(loop):
    """A future that is its own result."""
    future = loop.create_future()
    future.set_result(future)
    assert repr(future) == "<Future finished result=...>"


def test_repr_of_the_loop(loop):
    """Some tests compare it."""
    assert repr(loop) == f"<{type(loop).__name__} running=False closed=False debug=False>"


# ---- Task factories ----


@pytest.mark.skipif(not support.PY312, reason="eager tasks are new in Python 3.12")
def test_eager_task_factory(impl, loop):
    """asyncio's own factory, with the stock Task, on the loop: the first step is taken at once."""
    steps = []

    async def child():
        steps.append(asyncio.current_task())
        return 1

    async def main():
        me = asyncio.current_task()
        task = asyncio.create_task(child(), name="eager")
        assert task.done() and task.result() == 1 and task.get_name() == "eager"
        assert steps[0] is not me and asyncio.current_task() is me
        if support.PY313:  # Python 3.12.1 crashes here
            assert task.get_coro() is None
        return await asyncio.gather(*(child() for _ in range(3)))

    loop.set_task_factory(asyncio.eager_task_factory)
    assert loop.run_until_complete(main()) == [1, 1, 1]
    loop.set_task_factory(None)


@pytest.mark.skipif(not support.PY312, reason="eager tasks are new in Python 3.12")
def test_eager_factory_of_a_class(impl, loop):
    """asyncio.create_eager_task_factory(): with our class, and with subclasses of it."""

    class Traced(impl.Task):
        pass

    async def child():
        return asyncio.current_task()

    async def main():
        task = asyncio.create_task(child())
        assert type(task) is Traced and task.done()
        assert await task is task

    loop.set_task_factory(asyncio.create_eager_task_factory(Traced))
    loop.run_until_complete(main())
    loop.set_task_factory(None)


@pytest.mark.skipif(not support.PY314, reason="create_task(eager_start=) is new in Python 3.14")
def test_eager_start_keyword(loop):
    """create_task(eager_start=True) without a factory."""

    async def main():
        return loop.create_task(nothing(), eager_start=True).done()

    assert loop.run_until_complete(main()) is True


def test_subclasses_of_the_stock_task(loop):
    """aiomonitor's TracedTask(asyncio.Task), OpenTelemetry: by a factory, on our loop."""

    class TracedTask(asyncio.Task):
        pass

    loop.set_task_factory(lambda loop, coro, **kwargs: TracedTask(coro, loop=loop, **kwargs))

    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(0, n)) for n in range(3)]
        assert all(type(task) is TracedTask for task in tasks)
        assert asyncio.all_tasks() == {asyncio.current_task(), *tasks}
        return await asyncio.gather(*tasks)

    assert loop.run_until_complete(main()) == [0, 1, 2]
    loop.set_task_factory(None)
