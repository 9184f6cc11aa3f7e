"""Future: states, results, callbacks, awaiting, private attributes that libraries read."""

import asyncio
import contextvars
import sys
import weakref

import pytest

from . import support


@pytest.fixture(params=["class", "create_future"])
def future(request, impl, loop):
    """A pending future, made in both ways."""
    return impl.Future(loop=loop) if request.param == "class" else loop.create_future()


def test_pending(future, loop):
    assert not future.done() and not future.cancelled()
    assert future.get_loop() is loop
    assert future._loop is loop
    assert future._state == "PENDING"
    assert future._result is None and future._exception is None
    assert future._callbacks is None
    assert future._log_traceback is False
    assert future._asyncio_future_blocking is False
    with pytest.raises(asyncio.InvalidStateError, match="Result is not set."):
        future.result()
    with pytest.raises(asyncio.InvalidStateError, match="Exception is not set."):
        future.exception()


def test_set_result(future):
    value = object()
    assert future.set_result(value) is None
    assert future.done() and not future.cancelled()
    assert future.result() is value
    assert future.exception() is None
    assert future._state == "FINISHED"
    assert future._result is value


def test_set_exception(future):
    error = ValueError("x")
    assert future.set_exception(error) is None
    assert future.done()
    assert future._log_traceback is True
    assert future._exception is error
    assert future.exception() is error
    assert future._log_traceback is False
    with pytest.raises(ValueError) as caught:
        future.result()
    assert caught.value is error


def test_set_exception_of_a_class(future):
    future.set_exception(LookupError)
    assert type(future.exception()) is LookupError


def test_tracebacks_do_not_grow(future):
    """result() raises with the traceback saved when the exception was set."""

    def depth():
        try:
            future.result()
        except ValueError as exc:
            traceback, n = exc.__traceback__, 0
            while traceback:
                traceback, n = traceback.tb_next, n + 1
            return n

    try:
        raise ValueError
    except ValueError as exc:
        future.set_exception(exc)
    depth()
    second = depth()
    assert [depth() for _ in range(5)] == [second] * 5


def test_cancel(future):
    assert future.cancel() is True
    assert future.cancelled() and future.done()
    assert future.cancel() is False
    assert future._state == "CANCELLED"
    with pytest.raises(asyncio.CancelledError) as caught:
        future.result()
    assert caught.value.args == ()
    with pytest.raises(asyncio.CancelledError):
        future.exception()


@pytest.mark.parametrize("message", ["text", "", 0, ("a", "b")])
def test_cancel_message(impl, loop, message):
    for cancel in (lambda f: f.cancel(message), lambda f: f.cancel(msg=message)):
        future = impl.Future(loop=loop)
        cancel(future)
        assert future._cancel_message == message
        with pytest.raises(asyncio.CancelledError) as caught:
            future.result()
        assert caught.value.args == (message,)


@pytest.mark.parametrize(
    "finish",
    [lambda f: f.set_result(1), lambda f: f.set_exception(KeyError(1)), lambda f: f.cancel()],
    ids=["result", "exception", "cancelled"],
)
@pytest.mark.parametrize("again", [lambda f: f.set_result(2), lambda f: f.set_exception(KeyError(2))])
def test_finishing_twice(future, finish, again):
    finish(future)
    with pytest.raises(asyncio.InvalidStateError):
        again(future)
    if not future.cancelled():
        future.exception()


@pytest.mark.parametrize("bad", [None, 1, "text", object, int])
def test_set_exception_of_no_exception(future, bad):
    with pytest.raises(TypeError):
        future.set_exception(bad)
    assert not future.done()


@pytest.mark.parametrize("stop", [StopIteration, StopIteration("value")])
def test_set_exception_of_stop_iteration(future, stop):
    """3.13 wraps it in a RuntimeError, earlier versions refuse."""
    if support.PY313:
        future.set_exception(stop)
        with pytest.raises(RuntimeError) as caught:
            future.result()
        assert isinstance(caught.value.__cause__, StopIteration)
    else:
        with pytest.raises(TypeError):
            future.set_exception(stop)


def test_private_setters(future):
    with pytest.raises(ValueError, match="_log_traceback can only be set to False"):
        future._log_traceback = True
    future._log_traceback = False
    future._asyncio_future_blocking = True
    assert future._asyncio_future_blocking is True
    future._asyncio_future_blocking = False
    future._cancel_message = "set by hand"
    assert future._cancel_message == "set by hand"
    for name in ("_state", "_result", "_exception", "_callbacks", "_loop", "_source_traceback"):
        with pytest.raises(AttributeError):
            setattr(future, name, None)


def test_make_cancelled_error(future):
    future.cancel("message")
    assert future._make_cancelled_error().args == ("message",)


# ---- callbacks ----


def test_callbacks_run_in_order_in_the_next_iteration(future, loop):
    order = []
    for i in range(20):
        future.add_done_callback(lambda f, i=i: order.append((i, f is future)))
    future.set_result(None)
    assert order == []
    support.run_once(loop)
    assert order == [(i, True) for i in range(20)]
    assert not future._callbacks


def test_callback_added_when_done_runs_soon(future, loop):
    order = []
    future.set_result(None)
    future.add_done_callback(order.append)
    assert order == []
    support.run_once(loop)
    assert order == [future]


def test_callback_order_among_other_callbacks(future, loop):
    order = []
    future.add_done_callback(lambda f: order.append("callback 1"))
    future.add_done_callback(lambda f: order.append("callback 2"))
    loop.call_soon(order.append, "before")
    future.set_result(None)
    loop.call_soon(order.append, "after")
    support.run_once(loop)
    assert order == ["before", "callback 1", "callback 2", "after"]


def test_remove_done_callback(future, loop):
    order = []

    def one(f):
        order.append(1)

    def two(f):
        order.append(2)

    for callback in (one, two, one, one, two):
        future.add_done_callback(callback)
    assert future.remove_done_callback(one) == 3
    assert future.remove_done_callback(one) == 0
    assert [callback for callback, _ in future._callbacks] == [two, two]
    assert future.remove_done_callback(two) == 2
    assert not future._callbacks
    future.add_done_callback(two)
    future.set_result(None)
    assert future.remove_done_callback(two) == 0
    support.run_once(loop)
    assert order == [2]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_remove_at_each_position(future, loop, position, count):
    order = []
    callbacks = [lambda f, i=i: order.append(i) for i in range(count)]
    for callback in callbacks:
        future.add_done_callback(callback)
    removed = future.remove_done_callback(callbacks[position]) if position < count else None
    future.set_result(None)
    support.run_once(loop)
    assert removed in (1, None)
    assert order == [i for i in range(count) if i != position]


def test_remove_compares_by_equality(future):
    class Equal:
        def __eq__(self, other):
            return True

        def __call__(self, future):
            pass

    future.add_done_callback(print)
    assert future.remove_done_callback(Equal()) == 1


def test_remove_while_comparison_mutates_the_list(future):
    """Comparing runs the user's code, which may add and remove callbacks of the same future."""

    class Evil:
        nested = False

        def __eq__(self, other):
            if not Evil.nested:
                Evil.nested = True
                future.add_done_callback(int)
                future.remove_done_callback(int)
                Evil.nested = False
            return False

        def __call__(self, future):
            pass

    for _ in range(5):
        future.add_done_callback(Evil())
    assert future.remove_done_callback(Evil()) == 0


def test_remove_while_comparison_empties_the_list(future):
    class Evil:
        armed = True

        def __eq__(self, other):
            if Evil.armed:
                Evil.armed = False
                for callback, _ in list(future._callbacks or ()):
                    future.remove_done_callback(callback)
            return self is other

    for _ in range(5):
        future.add_done_callback(Evil())
    future.remove_done_callback(Evil())


def test_remove_when_comparison_raises(future):
    class Evil:
        def __eq__(self, other):
            raise LookupError("compared")

    future.add_done_callback(print)
    future.add_done_callback(int)
    with pytest.raises(LookupError, match="compared"):
        future.remove_done_callback(Evil())
    assert [callback for callback, _ in future._callbacks] == [print, int]


def test_remove_when_a_later_comparison_raises(future, loop):
    """Then none is removed, not even those that were found equal before."""

    class Marked:
        def __init__(self, mark):
            self.mark = mark

        def __eq__(self, other):
            if self.mark == "raises":
                raise LookupError("compared")
            return self.mark == other.mark

        def __call__(self, future):
            order.append(self.mark)

    order = []
    marks = ["b", "a", "a", "raises", "a"]
    for mark in marks:
        future.add_done_callback(Marked(mark))
    with pytest.raises(LookupError, match="compared"):
        future.remove_done_callback(Marked("a"))
    future.set_result(None)
    support.run_once(loop)
    assert order == marks


def test_callback_context(future, loop):
    var = contextvars.ContextVar("var", default="default")
    context = contextvars.copy_context()
    context.run(var.set, "explicit")
    seen = []
    var.set("when added")
    future.add_done_callback(lambda f: seen.append(var.get()))
    future.add_done_callback(lambda f: seen.append(var.get()), context=context)
    var.set("when done")
    future.set_result(None)
    support.run_once(loop)
    assert seen == ["when added", "explicit"]


def test_callbacks_attribute_is_a_list_of_pairs(future):
    future.add_done_callback(print)
    future.add_done_callback(int)
    pairs = future._callbacks
    assert isinstance(pairs, list)
    assert [callback for callback, _ in pairs] == [print, int]
    assert all(isinstance(context, contextvars.Context) for _, context in pairs)


def test_callback_exception_is_reported(future, loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    order = []
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(order.append)
    future.set_result(None)
    support.run_once(loop)
    assert order == [future]
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)


def test_wrong_callback_calls(future):
    for call in (
        lambda: future.add_done_callback(),
        lambda: future.add_done_callback(int, None),
        lambda: future.add_done_callback(int, bogus=1),
        lambda: future.remove_done_callback(),
    ):
        with pytest.raises(TypeError):
            call()


# ---- awaiting ----


def test_await(future, loop):
    async def main():
        return await future

    loop.call_soon(future.set_result, "value")
    assert loop.run_until_complete(main()) == "value"


@pytest.mark.parametrize(
    "value", [None, (), (1,), (1, 2), StopIteration(3), ValueError("as a value"), [], {}]
)
def test_await_passes_any_value(impl, loop, value):
    """Tuples and exceptions as StopIteration values are where hand-written C goes wrong."""

    async def main(future):
        return await future

    pending = impl.Future(loop=loop)
    loop.call_soon(pending.set_result, value)
    assert loop.run_until_complete(main(pending)) is value
    done = impl.Future(loop=loop)
    done.set_result(value)
    assert loop.run_until_complete(main(done)) is value


def test_await_of_a_done_future_does_not_suspend(future):
    async def main():
        return await future

    future.set_result("at once")
    with pytest.raises(StopIteration) as caught:
        main().send(None)
    assert caught.value.value == "at once"


def test_await_of_a_failed_future(future, loop):
    async def main():
        await future

    loop.call_soon(future.set_exception, KeyError("k"))
    with pytest.raises(KeyError):
        loop.run_until_complete(main())


def test_await_of_a_cancelled_future(future, loop):
    async def main():
        with pytest.raises(asyncio.CancelledError) as caught:
            await future
        return caught.value.args

    loop.call_soon(future.cancel, "why")
    assert loop.run_until_complete(main()) == ("why",)


def test_iterator_protocol(future):
    iterator = future.__await__()
    assert iter(iterator) is iterator
    assert next(iterator) is future
    assert future._asyncio_future_blocking is True
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        next(iterator)


def test_iterator_finishes(future):
    iterator = iter(future)
    assert iterator.send(None) is future
    future.set_result("value")
    with pytest.raises(StopIteration) as caught:
        iterator.send("ignored")
    assert caught.value.value == "value"


def test_iterator_throw(future):
    iterator = future.__await__()
    next(iterator)
    with pytest.raises(ZeroDivisionError):
        iterator.throw(ZeroDivisionError("thrown"))
    error = LookupError("instance")
    with pytest.raises(LookupError) as caught:
        future.__await__().throw(error)
    assert caught.value is error


def test_iterator_throw_of_something_else(future):
    for bad in (1, None, "text", object, int):
        with pytest.raises(TypeError):
            future.__await__().throw(bad)


def test_iterator_close(future):
    iterator = future.__await__()
    next(iterator)
    assert iterator.close() is None


def test_several_tasks_await_one_future(future, loop):
    order = []

    async def waiter(n):
        order.append((n, await future))

    async def main():
        tasks = [asyncio.ensure_future(waiter(n)) for n in range(10)]
        await asyncio.sleep(0)
        future.set_result("shared")
        for task in tasks:
            await task

    loop.run_until_complete(main())
    assert order == [(n, "shared") for n in range(10)]


def test_yield_from_in_a_generator(future):
    def generator():
        return (yield from future)

    g = generator()
    assert next(g) is future
    future.set_result(5)
    with pytest.raises(StopIteration) as caught:
        next(g)
    assert caught.value.value == 5


# ---- the type ----


def test_isinstance_and_isfuture(future, impl):
    assert isinstance(future, asyncio.Future)
    assert isinstance(future, impl.Future)
    assert asyncio.isfuture(future)
    assert not asyncio.isfuture(impl.Future)
    assert not isinstance(future, asyncio.Task)
    assert not asyncio.iscoroutine(future)


def test_stock_instances_are_instances_of_ours(native, stock):
    with support.closing(stock.new_event_loop()) as loop:
        future = asyncio.Future(loop=loop)
        assert isinstance(future, native.Future)
        assert not isinstance(future, native.Task)
        assert issubclass(asyncio.Future, native.Future)


def test_generic_alias(impl):
    assert impl.Future[int].__args__ == (int,)


def test_weak_reference_and_dict(future):
    assert weakref.ref(future)() is future
    future.attribute = 1
    assert future.attribute == 1


def test_loop_of_the_running_loop(impl, loop):
    async def main():
        return impl.Future().get_loop()

    assert loop.run_until_complete(main()) is loop


def test_wrong_constructor_calls(impl, loop):
    for call in (lambda: impl.Future(loop), lambda: impl.Future(bogus=1), lambda: impl.Future(1, 2)):
        with pytest.raises(TypeError):
            call()


def test_uninitialised(impl):
    future = impl.Future.__new__(impl.Future)
    for call in (
        lambda: future.set_result(1),
        lambda: future.set_exception(KeyError()),
        lambda: future.get_loop(),
        lambda: future.add_done_callback(int),
        lambda: future.__await__(),
    ):
        with pytest.raises((RuntimeError, asyncio.InvalidStateError)):
            call()


def test_repr(future):
    assert repr(future) == "<Future pending>"
    future.set_result(42)
    assert repr(future) == "<Future finished result=42>"


def test_repr_of_other_states(impl, loop):
    cancelled = impl.Future(loop=loop)
    cancelled.cancel()
    assert repr(cancelled) == "<Future cancelled>"
    failed = impl.Future(loop=loop)
    failed.set_exception(ValueError("x"))
    assert repr(failed) == "<Future finished exception=ValueError('x')>"
    failed.exception()


def test_recursive_repr(future):
    future.set_result([future])
    assert "<Future finished result=[" in repr(future)


def test_wrap_future(loop):
    import concurrent.futures

    source = concurrent.futures.Future()
    future = asyncio.wrap_future(source, loop=loop)
    assert future.get_loop() is loop
    source.set_result("wrapped")
    assert loop.run_until_complete(future) == "wrapped"


def test_result_with_arguments(future):
    for method in ("result", "exception", "done", "cancelled", "get_loop"):
        with pytest.raises(TypeError):
            getattr(future, method)(1)


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="reference counts are a CPython notion")
def test_reference_counts(impl, loop):
    """Results, exceptions and callbacks are released exactly once."""

    class Payload:
        def __call__(self, future):
            pass

    payload = Payload()
    error = ValueError()
    before = sys.getrefcount(payload), sys.getrefcount(error)
    for _ in range(50):
        future = impl.Future(loop=loop)
        future.add_done_callback(payload)
        future.add_done_callback(payload)
        future.remove_done_callback(payload)
        future.add_done_callback(payload)
        future.set_result(payload)
        assert future.result() is payload
        support.run_once(loop)
        failed = impl.Future(loop=loop)
        failed.set_exception(error)
        assert failed.exception() is error
        cancelled = impl.Future(loop=loop)
        cancelled.cancel(payload)
        dropped = impl.Future(loop=loop)
        dropped.add_done_callback(payload)
    del future, failed, cancelled, dropped
    support.collect()
    assert (sys.getrefcount(payload), sys.getrefcount(error)) == before
