"""shield(): the outer future follows the inner one, and its cancellation stays outside."""

import asyncio
import contextvars
import gc
import weakref

import pytest

from . import support


async def value(impl, n):
    await impl.sleep(0)
    return n


async def fail():
    raise ValueError(1)


def test_result_and_exception(impl, loop):
    async def main():
        assert await impl.shield(value(impl, 1)) == 1
        assert await impl.shield(impl.sleep(0, 2)) == 2
        with pytest.raises(ValueError):
            await impl.shield(fail())
        future = loop.create_future()
        loop.call_soon(future.set_result, (3, 4))
        outer = impl.shield(future)
        assert outer is not future
        assert await outer == (3, 4)
        assert impl.shield(future) is future

    loop.run_until_complete(main())


def test_outer_cancelled(impl, loop):
    async def main():
        inner = loop.create_task(value(impl, 1))
        outer = impl.shield(inner)
        assert len(outer._callbacks) == 1 and inner._callbacks
        outer.cancel()
        assert inner._callbacks
        await impl.sleep(0)
        assert not inner._callbacks
        return await inner

    assert loop.run_until_complete(main()) == 1


def test_inner_cancelled(impl, loop):
    async def main():
        inner = loop.create_future()
        outer = impl.shield(inner)
        inner.cancel("message")
        assert not outer.done()
        await impl.sleep(0)
        assert outer.cancelled()
        with pytest.raises(asyncio.CancelledError) as caught:
            await outer
        assert caught.value.args == ()

    loop.run_until_complete(main())


def test_both_in_one_turn(impl, loop):
    async def main():
        for first in (0, 1):
            inner = loop.create_future()
            outer = impl.shield(inner)
            if first:
                outer.cancel()
            inner.set_exception(ValueError(1))
            if not first:
                outer.cancel()
            await impl.sleep(0)
            assert outer.cancelled()
            inner.exception()

    with support.recorded_logs() as logs:
        loop.run_until_complete(main())
        gc.collect()
    assert logs == []


def test_outer_finished_by_hand(impl, loop):
    async def main():
        inner = loop.create_future()
        outer = impl.shield(inner)
        inner.set_result(1)
        outer.set_result(2)
        await impl.sleep(0)
        return await outer

    with support.recorded_logs() as logs:
        assert loop.run_until_complete(main()) == 2
    assert [(level, name) for level, _, name in logs] == [("ERROR", "InvalidStateError")]


def test_waiter_is_woken_in_the_same_turn(impl, loop):
    order = []

    async def wait_shielded(inner):
        await impl.shield(inner)
        order.append("shielded")

    async def main():
        inner = loop.create_future()
        task = loop.create_task(wait_shielded(inner))
        await impl.sleep(0)
        inner.set_result(None)
        for turn in range(4):
            order.append(turn)
            await impl.sleep(0)
        await task

    loop.run_until_complete(main())
    assert order == [0, 1, "shielded", 2, 3]


def test_without_a_running_loop(impl, loop):
    future = loop.create_future()
    outer = impl.shield(future)
    loop.call_soon(future.set_result, 5)
    assert loop.run_until_complete(outer) == 5
    with pytest.raises(TypeError):
        impl.shield(3)
    with pytest.raises(TypeError):
        impl.shield()


def test_stock_inner(impl, loop):
    async def main():
        future = asyncio.futures._PyFuture(loop=loop)
        loop.call_soon(future.set_result, 1)
        return await impl.shield(future)

    assert loop.run_until_complete(main()) == 1


def test_what_nobody_reaches_is_collected(impl, loop, collections_on_demand):
    async def main():
        inner = loop.create_future()
        outer = impl.shield(inner)
        return weakref.ref(inner), weakref.ref(outer)

    inner, outer = loop.run_until_complete(main())
    gc.collect()
    assert inner() is outer() is None


def test_loop_that_is_not_shortcut_any_more(impl, loop):
    async def main():
        inner = loop.create_future()
        outer, other = impl.shield(inner), impl.shield(inner)
        loop.set_debug(True)
        other.cancel()
        inner.set_result(1)
        return await outer

    assert loop.run_until_complete(main()) == 1


@pytest.mark.skipif(
    not support.PY312, reason="the exception handler runs in the handle's context from 3.12 on"
)
def test_what_goes_wrong_is_reported_in_the_context_of_the_call(impl, loop):
    var = contextvars.ContextVar("var", default="outside")
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append((type(context["exception"]), var.get())))

    async def main():
        var.set("caller")
        inner = loop.create_future()
        outer = impl.shield(inner)
        var.set("later")
        loop.call_soon(inner.set_result, 1)
        loop.call_soon(outer.set_result, 2)  # before the shield comes to it
        return await outer

    assert loop.run_until_complete(main()) == 2
    support.run_once(loop)
    assert seen == [(asyncio.InvalidStateError, "caller")]


@pytest.mark.skipif(support.PY315, reason="from 3.15 on a future is not made anew")
@pytest.mark.parametrize("unheard", [False, True])
def test_inner_made_anew_before_the_shield_hears(impl, loop, unheard):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(support.described(context["exception"])))

    async def main():
        inner = loop.create_future()
        outer = impl.shield(inner)
        inner.set_result(1)
        inner.__init__(loop=loop)
        if unheard:
            outer.cancel()
        await impl.sleep(0)
        return outer.done()

    assert loop.run_until_complete(main()) == unheard
    told = not (unheard and support.PY314)
    assert seen == ["InvalidStateError: Exception is not set."] * told
