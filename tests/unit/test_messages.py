"""Texts: exceptions, reprs, logged errors and warnings are those of the Python that runs, obtained by asking stock.

Each case is a function `case(impl, loop)` that returns strings; it runs on stock and on ours and the masked texts must
be equal. The texts that beginners search for are asserted literally as well.
"""

import asyncio
import warnings

import pytest

from . import support

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


async def coro_function(value=None):
    await asyncio.sleep(0)
    return value


async def failing(error):
    raise error


def callback_function(*args):
    pass


def error_of(call):
    """Return the description of what `call()` raises."""
    try:
        result = call()
    except BaseException as exc:
        return support.described(exc)
    return f"returned {result!r}"


def texts_of(impl, function):
    """Run one case with everything that it reports: its own strings, logs, warnings, unraisable errors."""
    support.collect()  # what an earlier test left must not be reported here
    with (
        support.recorded_logs() as logs,
        support.recorded_warnings() as caught,
        support.recorded_unraisables() as unraisables,
    ):
        with support.closing(impl.new_event_loop()) as loop:
            texts = function(impl, loop) or []
            support.collect()
            support.run_once(loop)
    return [support.masked(str(text)) for text in (*texts, *logs, *caught, *unraisables)]


# ---- futures ----


@case
def future_reprs(impl, loop):
    pending, result, error, cancelled = (impl.Future(loop=loop) for _ in range(4))
    result.set_result(["value"])
    error.set_exception(ValueError("x"))
    cancelled.cancel("message")
    yield from map(repr, (pending, result, error, cancelled))
    for count in range(1, 5):
        pending.add_done_callback(callback_function)
        yield repr(pending)
    error.exception()


@case
def future_repr_with_a_waiting_task(impl, loop):
    future = impl.Future(loop=loop)

    async def waits():
        await future

    task = loop.create_task(waits())
    support.run_once(loop)
    yield repr(future)
    yield repr(task)
    yield str(future._callbacks[0][0])
    future.set_result(None)
    yield repr(future)


@case
def future_repr_with_odd_callbacks(impl, loop):
    import functools

    future = impl.Future(loop=loop)
    for callback in (
        functools.partial(callback_function, 1, key=2),
        print,
        [].append,
        type("C", (), {"__call__": 1})(),
    ):
        future = impl.Future(loop=loop)
        future.add_done_callback(callback)
        yield repr(future)


@case
def future_repr_in_debug_mode(impl, loop):
    loop.set_debug(True)
    yield repr(impl.Future(loop=loop)).replace("created at ", "")


@case
def long_results_are_shortened(impl, loop):
    future = impl.Future(loop=loop)
    future.set_result("x" * 1000)
    yield repr(future)
    future = impl.Future(loop=loop)
    future.set_result(list(range(1000)))
    yield repr(future)


@case
def recursive_reprs(impl, loop):
    future = impl.Future(loop=loop)
    future.set_result([future])
    yield repr(future)
    task = loop.create_task(coro_function([future]))
    loop.run_until_complete(task)
    yield repr(task)


@case
def future_state_errors(impl, loop):
    future = impl.Future(loop=loop)
    yield error_of(future.result)
    yield error_of(future.exception)
    future.set_result(1)
    yield error_of(lambda: future.set_result(2))
    yield error_of(lambda: future.set_exception(ValueError()))
    cancelled = impl.Future(loop=loop)
    cancelled.cancel()
    yield error_of(lambda: cancelled.set_result(2))
    yield error_of(lambda: cancelled.set_exception(ValueError()))
    yield error_of(cancelled.result)
    failed = impl.Future(loop=loop)
    failed.set_exception(ValueError("x"))
    yield error_of(lambda: failed.set_result(2))
    failed.exception()


@case
def set_exception_arguments(impl, loop):
    for bad in (None, 1, "text", int, object(), StopIteration, StopIteration(1), type("E", (), {})):
        future = impl.Future(loop=loop)
        yield error_of(lambda: future.set_exception(bad))
        if future.done():
            yield error_of(future.result)


@case
def private_setters(impl, loop):
    future = impl.Future(loop=loop)
    yield error_of(lambda: setattr(future, "_log_traceback", True))
    yield error_of(lambda: delattr(future, "_log_traceback"))
    yield error_of(lambda: future.__await__().throw(1))
    iterator = future.__await__()
    next(iterator)
    yield error_of(lambda: next(iterator))


@case
def future_exception_never_retrieved(impl, loop):
    future = impl.Future(loop=loop)
    future.set_exception(ValueError("lost"))
    del future


@case
def future_exception_never_retrieved_of_create_future(impl, loop):
    loop.create_future().set_exception(ValueError("lost"))


@case
def future_exception_never_retrieved_in_debug_mode(impl, loop):
    contexts = []
    loop.set_debug(True)
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    future = impl.Future(loop=loop)
    future.set_exception(ValueError("lost"))
    del future
    support.collect()
    for context in contexts:
        yield str(sorted(context))
        yield context["message"]


@case
def keys_of_reported_contexts(impl, loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    impl.Future(loop=loop).set_exception(ValueError("future"))
    impl.Task(failing(ValueError("task")), loop=loop)
    loop.call_soon(divmod, 1, 0)
    support.run_once(loop, 2)
    support.collect()
    for context in contexts:
        yield str(sorted(context))
        yield context["message"]
        yield repr(context["exception"])


# ---- tasks ----


@case
def task_reprs(impl, loop):
    task = impl.Task(coro_function(1), loop=loop, name="given name")
    yield repr(task)
    task.add_done_callback(callback_function)
    support.run_once(loop)
    yield repr(task)
    support.run_once(loop)
    yield repr(task)
    failed = impl.Task(failing(ValueError("x")), loop=loop)
    support.run_once(loop)
    yield repr(failed)
    failed.exception()


@case
def task_reprs_while_cancelled(impl, loop):
    async def waits():
        await loop.create_future()

    task = impl.Task(waits(), loop=loop)
    support.run_once(loop)
    yield repr(task)
    task.cancel()
    yield repr(task)
    support.run_once(loop)
    yield repr(task)


@case
def task_repr_of_a_sleeper(impl, loop):
    async def sleeps():
        await impl.sleep(1000)

    task = loop.create_task(sleeps())
    support.run_once(loop)
    yield repr(task)
    yield repr(task._fut_waiter)


@case
def task_repr_while_it_waits_for_gather(impl, loop):
    async def gathers():
        await impl.gather(loop.create_future(), loop.create_future())

    task = loop.create_task(gathers())
    support.run_once(loop)
    yield repr(task)
    task.cancel()
    support.run_once(loop)


@case
def task_repr_while_it_waits_in_wait(impl, loop):
    async def waits():
        await impl.wait([loop.create_future()])

    task = loop.create_task(waits())
    support.run_once(loop)
    yield repr(task).replace("_wait.<locals>._on_completion", "on_completion")


@case
def task_constructor_errors(impl, loop):
    for bad in (None, 1, "text", int, coro_function, loop.create_future()):
        yield error_of(lambda: impl.Task(bad, loop=loop))
        yield error_of(lambda: loop.create_task(bad))


@case
def task_unsupported_operations(impl, loop):
    task = impl.Task(coro_function(), loop=loop)
    yield error_of(lambda: task.set_result(1))
    yield error_of(lambda: task.set_exception(ValueError()))


@case
def task_exception_never_retrieved(impl, loop):
    loop.create_task(failing(ValueError("lost")), name="n")
    support.run_once(loop, 2)


@case
def task_destroyed_pending(impl, loop):
    async def waits():
        await loop.create_future()

    impl.Task(waits(), loop=loop, name="n")
    support.run_once(loop)
    support.collect()


@case
def task_destroyed_pending_in_debug_mode(impl, loop):
    contexts = []
    loop.set_debug(True)
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    async def waits():
        await loop.create_future()

    impl.Task(waits(), loop=loop, name="n")
    support.run_once(loop)
    support.collect()
    for context in contexts:
        yield str(sorted(context))
        yield context["message"]


@case
def bad_yields(impl, loop):
    import types

    @types.coroutine
    def yields(value):
        yield value

    def generator():
        yield

    future = loop.create_future()
    for value in (1, "text", object, [], future, generator()):

        async def coro(value=value):
            await yields(value)

        task = loop.create_task(coro())
        support.run_once(loop, 3)
        yield error_of(task.result)


@case
def wrong_loop(impl, loop):
    with support.closing(impl.new_event_loop()) as other:
        foreign = other.create_future()

        async def coro():
            await foreign

        task = loop.create_task(coro())
        support.run_once(loop, 3)
        yield error_of(task.result)
        yield error_of(lambda: loop.run_until_complete(foreign))
        yield error_of(lambda: asyncio.ensure_future(foreign, loop=loop))


@case
def await_on_itself(impl, loop):
    async def coro():
        await task

    task = loop.create_task(coro())
    support.run_once(loop, 3)
    yield error_of(task.result)


@case
def coroutine_never_awaited(impl, loop):
    coro_function()
    impl.sleep(0)
    impl.sleep(1)
    impl.wait([loop.create_future()])


@case
def task_never_started(impl, loop):
    """The loop is closed before the first step."""
    own = impl.new_event_loop()
    own.create_task(coro_function(), name="never started")
    own.close()


@case
def cancelled_error_messages(impl, loop):
    for message in (None, "text", 0, ""):
        task = impl.Task(impl.sleep(1000), loop=loop)
        support.run_once(loop)
        task.cancel() if message is None else task.cancel(message)
        support.run_once(loop, 2)
        yield error_of(task.result)
        yield error_of(task.exception)


@case
def exception_chain_of_a_cancelled_task(impl, loop):
    async def inner():
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            raise ValueError("instead") from None

    async def outer():
        await impl.Task(inner(), loop=loop)

    task = impl.Task(outer(), loop=loop)
    support.run_once(loop, 2)
    task.cancel("x")
    support.run_once(loop, 5)
    error = task.exception()
    yield f"{error!r} {error.__cause__!r} {error.__context__!r} {error.__suppress_context__}"


@case
def print_stack(impl, loop):
    import io

    async def inner():
        await loop.create_future()

    async def outer():
        await inner()

    task = impl.Task(outer(), loop=loop, name="n")
    output = io.StringIO()
    task.print_stack(file=output)
    support.run_once(loop)
    task.print_stack(file=output)
    failed = impl.Task(failing(ValueError("x")), loop=loop, name="f")
    support.run_once(loop)
    failed.print_stack(file=output)
    failed.exception()
    yield output.getvalue()


# ---- handles and the loop ----


def reprs_of_handles(loop):
    yield repr(loop.call_soon(callback_function, 1))
    cancelled = loop.call_soon(callback_function, 1)
    cancelled.cancel()
    yield repr(cancelled)
    timer = loop.call_later(1000, callback_function, 1)
    yield repr(timer)
    timer.cancel()
    yield repr(timer)


@case
def handle_reprs(impl, loop):
    yield repr(loop.call_soon(callback_function))
    yield repr(loop.call_soon(callback_function, 1, "two"))
    yield repr(loop.call_soon(print, 1))
    yield from reprs_of_handles(loop)


@case
def handle_reprs_in_debug_mode(impl, loop):
    loop.set_debug(True)
    yield from reprs_of_handles(loop)


@case
def exception_in_a_callback(impl, loop):
    loop.call_soon(divmod, 1, 0)
    loop.call_later(0, failing_callback, "argument")
    support.run_once(loop, 2)


def failing_callback(*args):
    raise ValueError("in the callback")


@case
def exception_in_a_callback_in_debug_mode(impl, loop):
    contexts = []
    loop.set_debug(True)
    loop.slow_callback_duration = 3600
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.call_soon(failing_callback, "argument")
    support.run_once(loop)
    for context in contexts:
        yield context["message"]
        yield repr(context["handle"])
        yield str(sorted(context))


@case
def exception_in_the_exception_handler(impl, loop):
    def handler(loop, context):
        raise KeyError("handler")

    loop.set_exception_handler(handler)
    loop.call_soon(failing_callback)
    support.run_once(loop)
    loop.set_exception_handler(None)


@case
def call_exception_handler_by_hand(impl, loop):
    loop.call_exception_handler({"message": "by hand", "extra": [1, 2], "exception": ValueError("x")})
    loop.call_exception_handler({"exception": ValueError("x")})
    loop.call_exception_handler({"message": "only"})


@case
def none_delays(impl, loop):
    yield error_of(lambda: loop.call_later(None, callback_function))
    yield error_of(lambda: loop.call_at(None, callback_function))


@case
def call_type_errors_in_debug_mode(impl, loop):
    loop.set_debug(True)
    coro = coro_function()
    for method in (
        loop.call_soon,
        loop.call_soon_threadsafe,
        lambda c: loop.call_later(1, c),
        lambda c: loop.call_at(1, c),
    ):
        for bad in (coro, coro_function, None, 1, "text"):
            yield error_of(lambda: method(bad))
    coro.close()


@case
def closed_loop(impl, loop):
    own = impl.new_event_loop()
    own.close()
    yield repr(own)
    future = own.create_future()
    for call in (
        lambda: own.call_soon(callback_function),
        lambda: own.call_soon_threadsafe(callback_function),
        lambda: own.call_later(1, callback_function),
        lambda: own.call_at(1, callback_function),
        own.run_forever,
        lambda: own.run_until_complete(future),
        lambda: own.run_in_executor(None, int),
        lambda: own.add_reader(0, int),
    ):
        yield error_of(call)


@case
def run_until_complete_errors(impl, loop):
    for bad in (None, 1, "text", int):
        yield error_of(lambda: loop.run_until_complete(bad))
    loop.call_soon(loop.stop)
    yield error_of(lambda: loop.run_until_complete(loop.create_future()))


@case
def factory_and_handler_errors(impl, loop):
    yield error_of(lambda: loop.set_task_factory(1))
    yield error_of(lambda: loop.set_exception_handler(1))
    yield error_of(lambda: loop.set_default_executor(1))


@case
def signal_errors(impl, loop):
    import signal

    coro = coro_function()
    yield error_of(lambda: loop.add_signal_handler(signal.SIGKILL, int))
    yield error_of(lambda: loop.add_signal_handler("x", int))
    yield error_of(lambda: loop.add_signal_handler(10**6, int))
    yield error_of(lambda: loop.add_signal_handler(signal.SIGUSR1, coro))
    yield error_of(lambda: loop.remove_signal_handler("x"))
    coro.close()


@case
def unclosed_loop(impl, loop):
    impl.new_event_loop()
    support.collect()


# ---- functions ----


@case
def gather_errors(impl, loop):
    async def main():
        for bad in (1, None, "text", [1], {}):
            yield_texts.append(error_of(lambda: impl.gather(bad)))
        other = impl.new_event_loop()
        a, b = loop.create_future(), other.create_future()
        yield_texts.append(error_of(lambda: impl.gather(a, b)))
        other.close()

    yield_texts = []
    loop.run_until_complete(main())
    yield from yield_texts


@case
def gather_reprs(impl, loop):
    async def main():
        future = impl.gather(coro_function(1), coro_function(2))
        texts.append(repr(future))
        future.add_done_callback(callback_function)
        texts.append(repr(future))
        future.cancel()
        texts.append(repr(future))
        await impl.wait([future])
        texts.append(repr(future))
        done = impl.gather(coro_function(1))
        await done
        texts.append(repr(done))
        failed = impl.gather(failing(ValueError("x")))
        await impl.wait([failed])
        texts.append(repr(failed))
        failed.exception()

    texts = []
    loop.run_until_complete(main())
    yield from texts


@case
def gather_exception_never_retrieved(impl, loop):
    async def main():
        impl.gather(failing(ValueError("lost")))
        for _ in range(4):
            await impl.sleep(0)

    loop.run_until_complete(main())


@case
def wait_errors(impl, loop):
    async def main():
        coro = coro_function()
        future = loop.create_future()
        for args in (([],), (future,), (coro,), ([coro],), (1,), (None,), ([1],), ([future], 3)):
            try:
                await impl.wait(*args)
            except Exception as exc:
                # The signature of a C function is worded differently; only the kind of the error counts there.
                texts.append(type(exc).__name__ if len(args) > 1 else support.described(exc))
        for when in ("bogus", None, 1):
            try:
                await impl.wait([future], return_when=when)
            except Exception as exc:
                texts.append(support.described(exc))
        coro.close()

    texts = []
    loop.run_until_complete(main())
    yield from texts


@case
def sleep_errors(impl, loop):
    for bad in ("1", None, [], object(), 1j):
        yield error_of(lambda: loop.run_until_complete(impl.sleep(bad)))


@case
def no_running_loop(impl, loop):
    future = loop.create_future()
    for call in (
        impl.current_task,
        impl.all_tasks,
        asyncio.get_running_loop,
        lambda: impl.wait([future]).send(None),
        lambda: impl.sleep(1).send(None),
    ):
        yield error_of(call)
    coro = coro_function()
    yield error_of(lambda: impl.create_task(coro))
    coro.close()


@case
def run_errors(impl, loop):
    for bad in (None, 1, "text"):
        yield error_of(lambda: impl.run(bad))


@case
def task_group_and_timeout_errors(impl, loop):
    async def main():
        try:
            async with impl.TaskGroup() as group:
                group.create_task(failing(ValueError("x")), name="a")
                group.create_task(impl.sleep(1000), name="b")
        except ExceptionGroup as exc:
            texts.append(support.described(exc))
        texts.append(support.masked(repr(group)))
        scope = asyncio.timeout(1000)
        texts.append(repr(scope))
        async with scope:
            pass
        texts.append(repr(scope))

    texts = []
    loop.run_until_complete(main())
    yield from texts


@case
def slow_callbacks(impl, loop):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    loop.call_soon(callback_function, 1)
    loop.create_task(coro_function(), name="n")
    support.run_once(loop, 4)
    loop.slow_callback_duration = 3600


@pytest.mark.parametrize("name", CASES)
def test_same_texts_as_stock(ours, stock, name, collections_on_demand):
    function = CASES[name]
    run = lambda impl, loop: list(function(impl, loop) or [])  # noqa: E731
    assert texts_of(ours, run) == texts_of(stock, run)


@pytest.mark.parametrize("name", CASES)
def test_cases_are_deterministic(stock, name):
    """Otherwise the comparison above would mean nothing. Also: no case may be silent."""
    function = CASES[name]
    run = lambda impl, loop: list(function(impl, loop) or [])  # noqa: E731
    first = texts_of(stock, run)
    assert first == texts_of(stock, run)
    assert first


# ---- the texts that people search for ----


def logged(impl, function):
    support.collect()
    with support.recorded_logs() as logs, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with support.closing(impl.new_event_loop()) as loop:
            function(loop)
            support.run_once(loop, 2)
            support.collect()
    return logs


def test_task_exception_was_never_retrieved(impl):
    [(level, message, exc_type)] = logged(
        impl, lambda loop: loop.create_task(failing(ValueError("lost"))) and None
    )
    assert level == "ERROR" and exc_type == "ValueError"
    first, second = message.split("\n", 1)
    assert first == "Task exception was never retrieved"
    assert second.startswith("future: <Task finished name='Task-")
    assert second.endswith(" exception=ValueError('lost')>")


def test_task_was_destroyed_but_it_is_pending(impl):
    def program(loop):
        async def waits():
            await loop.create_future()

        loop.create_task(waits())

    [(level, message, _)] = logged(impl, program)
    assert level == "ERROR"
    first, second = message.split("\n", 1)
    assert first == "Task was destroyed but it is pending!"
    assert second.startswith("task: <Task pending name='Task-")


def test_future_exception_was_never_retrieved(impl):
    [(_, message, _)] = logged(impl, lambda loop: loop.create_future().set_exception(ValueError("lost")))
    assert message.startswith(
        "Future exception was never retrieved\nfuture: <Future finished exception=ValueError"
    )


def test_coroutine_was_never_awaited(impl):
    with support.recorded_warnings() as caught:
        impl.sleep(1)
        support.collect()
    assert caught == [("RuntimeWarning", "coroutine 'sleep' was never awaited")]


def test_no_running_event_loop(impl):
    coro = coro_function()
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        impl.create_task(coro)
    coro.close()


def test_passing_coroutines_to_wait(impl, loop):
    async def main():
        coro = coro_function()
        with pytest.raises(TypeError) as caught:
            await impl.wait([coro])
        coro.close()
        return str(caught.value)

    assert loop.run_until_complete(main()) == "Passing coroutines is forbidden, use tasks explicitly."
