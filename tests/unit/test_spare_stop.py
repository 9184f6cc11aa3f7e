"""The StopIteration that an awaited value comes back in: nobody can tell that it is made once."""

import asyncio
import operator
import sys
import weakref

import pytest

from . import support


class Value:
    pass


def queue_with(impl, value):
    queue = impl.Queue()
    queue.put_nowait(value)
    return queue.get()


def done_future(impl, value):
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


def sleep(impl, value):
    return impl.sleep(0, value)


@pytest.fixture(params=[queue_with, done_future, sleep], ids=lambda function: function.__name__)
def awaitable(request, impl):
    return lambda value: request.param(impl, value)


def test_an_awaited_value_is_held_by_nobody_else(loop, awaitable):
    async def main():
        for _ in range(3):
            value = Value()
            gone = weakref.ref(value)
            value = await awaitable(value)
            assert gone() is value
            del value
            assert gone() is None

    loop.run_until_complete(main())


def test_an_awaited_value_is_not_held_by_an_iterator_that_has_ended(loop, impl):
    async def main():
        value = Value()
        gone = weakref.ref(value)
        get = queue_with(impl, value)
        del value
        assert gone() is await get
        assert gone() is None
        return get

    loop.run_until_complete(main())


@pytest.mark.parametrize("value", [(), (1, 2), ValueError, StopIteration(3)], ids=repr)
def test_values_come_as_they_are(loop, awaitable, value):
    async def main():
        return await awaitable(value)

    assert loop.run_until_complete(main()) is value


def raised_by(iterator_of, resume=next):
    """The exception, where only the call holds the iterator."""
    try:
        resume(iterator_of())
    except StopIteration as error:
        return error


def test_one_that_is_caught_stays_as_it_is(loop):
    errors = []
    for value in (1, (2, 3), 4):
        future = loop.create_future()
        future.set_result(value)
        errors.append(raised_by(future.__await__))
    assert [(error.value, error.args) for error in errors] == [(1, (1,)), ((2, 3), ((2, 3),)), (4, (4,))]
    assert all(type(error) is StopIteration and error.__context__ is None for error in errors)


def test_one_that_was_caught_leaves_no_trace(loop):
    for value in (1, 2):
        future = loop.create_future()
        future.set_result(value)
        error = raised_by(future.__await__)
        assert (error.__dict__, error.__cause__, error.__suppress_context__) == ({}, None, False)
        assert error.__traceback__.tb_next is None
        error.mark = value
        error.__cause__ = ValueError()
        del error


def resumed_by_hand(loop, value, hold, resume):
    future = loop.create_future()
    future.set_result(value)
    iterator = hold(future.__await__())
    try:
        resume(iterator)
    except StopIteration:
        pass


@pytest.mark.parametrize("resume", [next, operator.methodcaller("__next__")], ids=["next", "__next__"])
def test_one_that_a_program_catches_keeps_nothing_alive(loop, resume):
    """The iterator is held by a local variable, which Python 3.14 does not count; the traceback holds that."""
    value = Value()
    gone = weakref.ref(value)
    resumed_by_hand(loop, value, lambda iterator: iterator, resume)
    del value
    assert gone() is None


def test_one_of_an_iterator_that_is_held_in_c_goes_with_the_next(loop):
    value = Value()
    gone = weakref.ref(value)
    resumed_by_hand(loop, value, lambda iterator: map(id, iterator), next)
    del value

    async def main():
        future = loop.create_future()
        future.set_result(1)
        return await future

    assert loop.run_until_complete(main()) == 1
    assert gone() is None


@pytest.mark.parametrize("resume", [next, lambda iterator: iterator.send(None)], ids=["next", "send"])
def test_its_context_is_that_of_the_interpreters_own(loop, resume):
    """What is being handled, up to a release of Python 3.13; then nothing."""

    def returns():
        return 1
        yield

    future = loop.create_future()
    future.set_result(1)
    try:
        raise ValueError
    except ValueError as handled:
        context = raised_by(future.__await__, resume).__context__
        assert context is raised_by(returns, resume).__context__
        assert context is handled or support.PY312
        assert context is None or not support.PY314


@pytest.mark.skipif(support.PY315, reason="from 3.15 on a tracer is not told how an await ends")
def test_what_a_tracer_keeps_is_its_own(loop):
    seen = []

    def tracer(frame, event, argument):
        if event == "exception" and argument[0] is StopIteration:
            seen.append(argument[1])
        return tracer

    async def main():
        total = 0
        for value in (1, 2, 3):
            future = loop.create_future()
            future.set_result(value)
            total += await future
        return total

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert loop.run_until_complete(main()) == 6
    finally:
        sys.settrace(before)
    assert [error.value for error in seen] == [1, 2, 3]
