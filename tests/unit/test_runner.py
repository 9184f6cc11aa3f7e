"""Runner: what it calls of its loop, Ctrl-C, closing, and what subclasses and tools do to it."""

import asyncio
import asyncio.runners
import contextvars
import functools
import gc
import inspect
import signal
import threading
import types
import warnings
import weakref
from asyncio import events
from unittest import mock

import pytest

import asyncio_c

from . import marks, support

STATES = asyncio.runners._State


@pytest.fixture(params=["asyncio", "asyncio_c", "patched"])
def api(request):
    """`Runner` and `run`, and the module in which run() finds its Runner."""
    if request.param == "asyncio_c":
        yield types.SimpleNamespace(Runner=asyncio_c.Runner, run=asyncio_c.run, module="asyncio_c.runners")
    elif request.param == "asyncio":
        yield types.SimpleNamespace(Runner=asyncio.Runner, run=asyncio.run, module="asyncio.runners")
    else:
        asyncio_c.patch()
        try:
            assert asyncio.Runner is asyncio.runners.Runner is asyncio_c.Runner
            yield types.SimpleNamespace(Runner=asyncio.Runner, run=asyncio.run, module="asyncio.runners")
        finally:
            asyncio_c.uninstall()


@pytest.fixture(autouse=True)
def default_handler():
    """Each test begins with Python's own handler of SIGINT, and leaves it so."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert handler is signal.default_int_handler


async def noop():
    return "done"


async def forever():
    await asyncio.get_running_loop().create_future()


def interrupt():
    signal.raise_signal(signal.SIGINT)


# ---- What it calls ----


class FakeLoop:
    """Notes what is called of it, and runs a coroutine to its end without suspending."""

    def __init__(self, log):
        self.log = log

    def set_debug(self, enabled):
        self.log.append(("set_debug", enabled))

    def create_task(self, coro, *, context=None):
        self.log.append(("create_task", type(context)))
        return types.SimpleNamespace(coro=coro, context=context, done=lambda: False)

    def run_until_complete(self, future):
        handler = signal.getsignal(signal.SIGINT)
        self.log.append(("run_until_complete", type(future).__name__, type(handler).__name__))
        coroutine = future.coro if isinstance(future, types.SimpleNamespace) else future
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value

    async def shutdown_asyncgens(self):
        self.log.append("shutdown_asyncgens")

    async def shutdown_default_executor(self, *arguments):
        self.log.append(("shutdown_default_executor", arguments))

    def close(self):
        self.log.append("close")


@pytest.mark.parametrize("debug", [None, False, True])
def test_calls_of_the_loop(api, debug):
    log = []
    with api.Runner(debug=debug, loop_factory=lambda: FakeLoop(log)) as runner:
        log.append("entered")
        assert runner.run(noop()) == "done"
        log.append("has run")
    timeout = (300,) if support.PY312 else ()
    assert log == [
        *([] if debug is None else [("set_debug", debug)]),
        "entered",
        ("create_task", contextvars.Context),
        ("run_until_complete", "SimpleNamespace", "partial"),
        "has run",
        ("run_until_complete", "coroutine", "builtin_function_or_method"),
        "shutdown_asyncgens",
        ("run_until_complete", "coroutine", "builtin_function_or_method"),
        ("shutdown_default_executor", timeout),
        "close",
    ]


def test_attributes(api):
    def factory():
        return asyncio.SelectorEventLoop()

    def attributes():
        names = ("_state", "_debug", "_loop", "_context", "_interrupt_count", "_set_event_loop")
        return [getattr(runner, name) for name in names]

    runner = api.Runner(debug=True, loop_factory=factory)
    assert attributes() == [STATES.CREATED, True, None, None, 0, False]
    assert runner._loop_factory is factory
    loop = runner.get_loop()
    assert attributes() == [STATES.INITIALIZED, True, loop, runner._context, 0, False]
    assert type(runner._context) is contextvars.Context
    runner.close()
    assert attributes()[:3] == [STATES.CLOSED, True, None]
    runner = api.Runner()
    assert runner._loop_factory is None
    runner.get_loop()
    assert runner._set_event_loop is True
    runner.close()


def test_deleted_attribute(api):
    runner = api.Runner()
    loop = runner.get_loop()
    del runner._loop
    with pytest.raises(AttributeError, match="object has no attribute '_loop'"):
        runner.get_loop()
    runner._loop = loop
    runner.close()


@pytest.mark.parametrize("debug", [None, False, True])
def test_debug(api, debug, monkeypatch):
    monkeypatch.delenv("PYTHONASYNCIODEBUG", raising=False)

    async def main():
        return asyncio.get_running_loop().get_debug()

    assert api.run(main(), debug=debug) is bool(debug)


def test_new_event_loop_that_was_replaced(api):
    made = []

    def new_event_loop():
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    with mock.patch.object(events, "new_event_loop", new_event_loop), api.Runner() as runner:
        assert runner.get_loop() is made[0]
    assert len(made) == 1 and made[0].is_closed()


class Policy:
    """One of the program's own, in the place that set_event_loop_policy() sets, which warns from 3.14 on."""

    def new_event_loop(self):
        return asyncio.SelectorEventLoop()

    def set_event_loop(self, loop):
        pass


def test_policy_of_the_program(api):
    """A new default loop under install() is what the policy makes; asyncio_c.Runner without it always makes ours."""
    with mock.patch.object(events, "_event_loop_policy", Policy()), api.Runner() as runner:
        is_ours_alone = api.Runner is asyncio_c.Runner and asyncio.Runner is not asyncio_c.Runner
        assert type(runner.get_loop()) is (asyncio_c.Loop if is_ours_alone else asyncio.SelectorEventLoop)


def test_factory_that_raises_is_asked_again(api):
    outcomes = [LookupError("no loop"), asyncio.SelectorEventLoop()]
    runner = api.Runner(loop_factory=mock.Mock(side_effect=outcomes))
    with pytest.raises(LookupError, match="no loop"):
        runner.__enter__()
    assert runner._state is STATES.CREATED
    assert runner.get_loop() is outcomes[1]
    runner.close()


def test_current_loop_that_cannot_be_set_is_made_anew(api):
    loops = []

    def refuse(loop):
        loops.append(loop)
        raise LookupError("refused")

    runner = api.Runner()
    with mock.patch.object(events, "set_event_loop", refuse), pytest.raises(LookupError, match="refused"):
        runner.get_loop()
    assert (runner._state, runner._set_event_loop) == (STATES.CREATED, False)
    loops[0].close()
    assert runner.get_loop() is not loops[0]
    runner.close()


# ---- What it runs ----


def test_refuses_to_run_in_a_running_loop(api):
    async def main():
        coroutine = noop()
        with pytest.raises(RuntimeError) as raised:
            runner.run(coroutine)
        assert str(raised.value) == "Runner.run() cannot be called from a running event loop"
        with pytest.warns(RuntimeWarning, match="coroutine 'noop' was never awaited"):
            del coroutine, raised
            gc.collect()

    with api.Runner() as runner:
        runner.run(main())


def test_refuses_before_a_loop_is_made(api):
    factory = mock.Mock(side_effect=asyncio.SelectorEventLoop)
    runner = api.Runner(loop_factory=factory)

    async def main():
        coroutine = noop()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            runner.run(coroutine)
        coroutine.close()

    api.run(main())
    assert factory.call_count == 0


@pytest.mark.parametrize("method", ["run", "get_loop", "__enter__"])
def test_closed(api, method):
    runner = api.Runner()
    runner.get_loop()
    runner.close()
    coroutine = noop()
    arguments = (coroutine,) if method == "run" else ()
    with pytest.raises(RuntimeError) as raised:
        getattr(runner, method)(*arguments)
    assert str(raised.value) == "Runner is closed"
    coroutine.close()
    runner.close()


def test_closing_what_never_had_a_loop(api):
    factory = mock.Mock()
    runner = api.Runner(loop_factory=factory)
    runner.close()
    assert runner._state is STATES.CREATED and factory.call_count == 0


def test_context_lasts_from_run_to_run(api):
    variable = contextvars.ContextVar("variable", default="nothing")

    async def put(value):
        before = variable.get()
        variable.set(value)
        return before

    own = contextvars.copy_context()
    variable.set("outside")
    with api.Runner() as runner:
        variable.set("set when it was there")
        assert runner.run(put(1)) == "outside"
        assert runner.run(put(2), context=own) == "nothing"
        assert runner.run(put(3), context=None) == 1
        assert runner.run(put(4)) == 3
        assert runner._context[variable] == 4
    assert own[variable] == 2 and variable.get() == "set when it was there"


def test_arguments_by_name(api):
    with api.Runner() as runner:
        assert runner.run(coro=noop()) == "done"
        assert runner.run(context=contextvars.copy_context(), coro=noop()) == "done"


@pytest.mark.parametrize("arguments", [(), (1, 2), (None,), (noop,), (3.5,)])
def test_wrong_arguments(api, arguments):
    with asyncio.Runner() as stock, api.Runner() as runner:
        described = []
        for one in (stock, runner):
            with pytest.raises((TypeError, ValueError)) as raised:
                one.run(*arguments)
            described.append(support.described(raised.value))
    assert described[0] == described[1]


def test_wrong_names(api):
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        api.Runner(nonsense=1)
    with pytest.raises(TypeError):
        api.Runner(True)
    coroutine = noop()
    with api.Runner() as runner:
        with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
            runner.run(coroutine, nonsense=1)
        with pytest.raises(TypeError, match="multiple values for argument 'coro'"):
            runner.run(coroutine, coro=coroutine)
    coroutine.close()


# ---- Ctrl-C ----


def test_interrupted_while_it_waits(api):
    seen = []

    async def main():
        asyncio.get_running_loop().call_soon(interrupt)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    with pytest.raises(KeyboardInterrupt) as raised:
        api.run(main())
    assert raised.value.args == () and len(seen) == 1
    assert type(raised.value.__context__) is asyncio.CancelledError


@marks.needs_system_calls_of_threads
def test_interrupted_in_a_poll(api):
    main_thread = threading.main_thread()

    def interrupt_main():
        support.wait_until_asleep(main_thread.native_id)
        signal.pthread_kill(main_thread.ident, signal.SIGINT)

    async def main():
        thread.start()
        await forever()

    thread = threading.Thread(target=interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        api.run(main())
    thread.join()


def test_interrupted_while_it_is_busy(api):
    turns = []

    async def main():
        while True:
            if len(turns) == 3:
                interrupt()
            turns.append(1)
            await asyncio.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        api.run(main())
    assert len(turns) == 4


def test_second_interrupt_is_raised_where_it_comes(api):
    log = []

    async def main():
        interrupt()
        log.append("the first only cancels")
        try:
            interrupt()
        except KeyboardInterrupt:
            log.append("the second is raised")
        try:
            await forever()
        except asyncio.CancelledError:
            log.append("cancelled")

    with api.Runner() as runner:
        runner.run(main())
        assert runner._interrupt_count == 2
    assert log == ["the first only cancels", "the second is raised", "cancelled"]


def test_interrupt_that_main_absorbs(api):
    async def main():
        interrupt()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "absorbed"

    with api.Runner() as runner:
        assert runner.run(main()) == "absorbed"
        assert runner._interrupt_count == 1
        assert runner.run(noop()) == "done"
        assert runner._interrupt_count == 0


def test_interrupt_when_another_has_cancelled_too(api):
    async def main():
        asyncio.current_task().cancel()
        interrupt()
        await forever()

    with pytest.raises(asyncio.CancelledError):
        api.run(main())


def test_interrupted_task_without_uncancel(api):
    class OldTask(asyncio.Task):
        def __getattribute__(self, name):
            if name == "uncancel":
                raise AttributeError(name)
            return super().__getattribute__(name)

    async def main():
        interrupt()
        await forever()

    with api.Runner() as runner:
        runner.get_loop().set_task_factory(lambda loop, coro, **rest: OldTask(coro, loop=loop, **rest))
        with pytest.raises(asyncio.CancelledError):
            runner.run(main())


def test_uncancel_that_raises(api):
    class BadTask(asyncio.Task):
        def uncancel(self):
            raise LookupError("no")

    async def main():
        interrupt()
        await forever()

    with api.Runner() as runner:
        runner.get_loop().set_task_factory(lambda loop, coro, **rest: BadTask(coro, loop=loop, **rest))
        with pytest.raises(LookupError, match="no") as raised:
            runner.run(main())
    assert type(raised.value.__context__) is asyncio.CancelledError


def test_interrupt_after_the_end_of_main(api):
    async def main():
        asyncio.get_running_loop().call_soon(interrupt)

    with api.Runner() as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())


def test_the_handler_is_a_partial_of_a_method(api):
    async def main():
        return signal.getsignal(signal.SIGINT), asyncio.current_task()

    with api.Runner() as runner:
        handler, task = runner.run(main())
        assert type(handler) is functools.partial
        assert handler.func == runner._on_sigint and handler.args == ()
        assert handler.keywords == {"main_task": task}


def test_handler_of_the_program_is_kept(api):
    calls = []

    def handler(signum, frame):
        calls.append(signum)

    async def main():
        assert signal.getsignal(signal.SIGINT) is handler
        interrupt()
        await asyncio.sleep(0)
        return "not interrupted"

    signal.signal(signal.SIGINT, handler)
    try:
        assert api.run(main()) == "not interrupted"
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert calls == [signal.SIGINT]


def test_handler_that_main_sets_stays(api):
    async def main():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    try:
        api.run(main())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_in_another_thread(api):
    outcome = []

    async def main():
        return signal.getsignal(signal.SIGINT), asyncio.get_running_loop()

    def run():
        with api.Runner() as runner:
            outcome.append(runner.run(main()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    [(handler, loop)] = outcome
    assert handler is signal.default_int_handler and loop.is_closed()


def test_signals_that_cannot_be_handled(api):
    with api.Runner() as runner, mock.patch("signal.signal", side_effect=ValueError) as patched:
        assert runner.run(noop()) == "done"
        assert patched.call_count == 1


def test_functions_of_signal_that_are_mocked(api):
    calls = []

    def noting(function):
        def note(*args):
            calls.append((function.__name__, *(type(arg).__name__ for arg in args[1:])))
            return function(*args)

        return note

    with (
        api.Runner() as runner,
        mock.patch("signal.signal", noting(signal.signal)),
        mock.patch("signal.getsignal", noting(signal.getsignal)),
    ):
        assert runner.run(noop()) == "done"
    assert calls == [
        ("getsignal",),
        ("signal", "partial"),
        ("getsignal",),
        ("signal", "builtin_function_or_method"),
    ]


def test_handler_that_cannot_be_set(api):
    with api.Runner() as runner:
        with (
            mock.patch("signal.signal", side_effect=OSError("broken")),
            pytest.raises(OSError, match="broken"),
        ):
            runner.run(noop())
        assert [task.get_coro().__name__ for task in asyncio.all_tasks(runner.get_loop())] == ["noop"]


@pytest.mark.parametrize("fails", [False, True])
def test_handler_that_cannot_be_put_back(api, fails):
    set_signal = signal.signal

    def refuse_default(number, handler):
        if handler is signal.default_int_handler:
            raise OSError("broken")
        return set_signal(number, handler)

    async def main():
        if fails:
            raise LookupError("from main")

    with api.Runner() as runner:
        with mock.patch("signal.signal", refuse_default), pytest.raises(OSError, match="broken") as raised:
            runner.run(main())
    set_signal(signal.SIGINT, signal.default_int_handler)
    assert type(raised.value.__context__) is (LookupError if fails else type(None))


# ---- Closing ----


def test_exception_in_closing(api):
    runner = api.Runner()
    loop = runner.get_loop()
    with mock.patch.object(loop, "shutdown_asyncgens", side_effect=LookupError("in closing")):
        with pytest.raises(LookupError, match="in closing"):
            runner.close()
    assert loop.is_closed() and runner._loop is None and runner._state is STATES.CLOSED


def test_exception_in_the_block_and_in_closing(api):
    with pytest.raises(LookupError, match="in closing") as raised, api.Runner() as runner:
        runner.get_loop().shutdown_asyncgens = mock.Mock(side_effect=LookupError("in closing"))
        raise ValueError("in the block")
    assert str(raised.value.__context__) == "in the block"


def test_exception_of_the_block_goes_on(api):
    with pytest.raises(ValueError, match="in the block"), api.Runner() as runner:
        loop = runner.get_loop()
        raise ValueError("in the block")
    assert loop.is_closed()


def test_task_that_fails_in_closing_is_reported(api):
    reports, tasks = [], []

    async def left_over():
        try:
            await forever()
        finally:
            raise LookupError("in closing")

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        tasks.append(asyncio.get_running_loop().create_task(left_over()))
        await asyncio.sleep(0)

    api.run(main())
    [report] = reports
    assert report["message"] == "unhandled exception during asyncio.run() shutdown"
    assert report["task"] is tasks[0] and str(report["exception"]) == "in closing"


def test_collected_with_a_cycle(api):
    runner = api.Runner(loop_factory=asyncio.SelectorEventLoop)
    runner.own = runner
    runner.run(noop())
    runner.close()
    gone = weakref.ref(runner)
    del runner
    gc.collect()
    assert gone() is None


# ---- Subclasses and tools ----


def test_subclass(api):
    log = []

    class Logged(api.Runner):
        def run(self, coro, *, context=None):
            log.append("run")
            return super().run(coro, context=context)

        def get_loop(self):
            log.append("get_loop")
            return super().get_loop()

        def close(self):
            log.append("close")
            super().close()

        def _lazy_init(self):
            log.append("_lazy_init")
            super()._lazy_init()

        def _on_sigint(self, signum, frame, main_task):
            log.append("_on_sigint")
            super()._on_sigint(signum, frame, main_task)

    async def main():
        interrupt()
        await forever()

    with Logged() as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(main())
        runner.get_loop()
    assert log == ["_lazy_init", "run", "_lazy_init", "_on_sigint", "get_loop", "_lazy_init", "close"]


def test_subclass_with_a_constructor(api):
    class Own(api.Runner):
        def __init__(self, extra, **options):
            super().__init__(**options)
            self.extra = extra

    with Own("extra", debug=True) as runner:
        assert runner.extra == "extra" and runner.get_loop().get_debug()


def test_without_constructor(api):
    class Bare(api.Runner):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match="object has no attribute '_state'"):
        Bare().get_loop()


def test_run_uses_the_name_runner(api):
    with mock.patch(f"{api.module}.Runner") as patched:
        patched.return_value.__enter__.return_value.run.return_value = "mocked"
        assert api.run("main", debug=True) == "mocked"
    assert patched.call_args.kwargs["debug"] is True
    patched.return_value.__enter__.return_value.run.assert_called_once_with("main")


def test_method_that_is_mocked(api):
    with mock.patch.object(api.Runner, "run", autospec=True, return_value="mocked") as patched:
        assert api.run("main") == "mocked"
    assert patched.call_count == 1
    assert api.run(noop()) == "done"


@pytest.mark.parametrize("name", ["run", "get_loop", "__enter__", "__exit__", "close"])
def test_method_of_asyncio_that_is_wrapped(api, name):
    """A tracer wraps what it finds in asyncio's class; under patch() it finds ours."""
    stock = vars(STOCK_RUNNER)[name]
    calls = []

    def wrapper(*args, **kwargs):
        calls.append(name)
        return stock(*args, **kwargs)

    with mock.patch.object(STOCK_RUNNER, name, wrapper), api.Runner() as runner:
        runner.get_loop()
        assert runner.run(noop()) == "done"
    assert calls == [name]


def test_run_that_is_wrapped_between_two_runs(api):
    calls = []
    stock = STOCK_RUNNER.run

    def wrapper(self, coro, **options):
        calls.append(coro.__name__)
        return stock(self, coro, **options)

    with api.Runner() as runner:
        assert runner.run(noop()) == "done"
        with mock.patch.object(STOCK_RUNNER, "run", wrapper):
            assert runner.run(noop()) == "done"
        assert runner.run(noop()) == "done"
    assert calls == ["noop"]


STOCK_RUNNER = asyncio.runners.Runner


def test_signatures(api):
    assert inspect.signature(api.Runner) == inspect.signature(STOCK_RUNNER)
    for name in ("run", "get_loop", "close", "__enter__", "__exit__", "_lazy_init", "_on_sigint"):
        method, stock = getattr(api.Runner, name), getattr(STOCK_RUNNER, name)
        assert inspect.signature(method) == inspect.signature(stock)
        assert inspect.isfunction(method) and method.__name__ == name
        assert method.__code__ is stock.__code__


def test_wrapped_run(api):
    @functools.wraps(api.run)
    def wrapper(*args, **kwargs):
        return api.run(*args, **kwargs)

    assert wrapper.__name__ == "run" and wrapper.__wrapped__ is api.run
    assert list(inspect.signature(wrapper).parameters)[:2] == ["main", "debug"]
    assert not inspect.iscoroutinefunction(wrapper)
    assert wrapper(noop()) == "done"


def test_is_a_runner_of_asyncio(api):
    assert issubclass(api.Runner, STOCK_RUNNER)
    assert isinstance(api.Runner(), STOCK_RUNNER)


def test_no_warnings(api):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert api.run(noop()) == "done"
