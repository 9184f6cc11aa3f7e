"""Garbage: cycles are collected, weak references die, nothing leaks."""

import asyncio
import gc
import sys
import warnings
import weakref

import pytest

from . import support


class Token:
    """Something whose death can be watched."""


def assert_dies(make):
    """`make()` returns an object that nothing else holds, to which a Token was attached: both must be collected."""
    thing, token = make()
    refs = weakref.ref(thing), weakref.ref(token)
    del thing, token
    support.collect()
    assert [ref() for ref in refs] == [None, None]


def test_future_that_holds_itself(impl, loop):
    def by_result():
        future, token = impl.Future(loop=loop), Token()
        future.set_result((future, token))
        return future, token

    def by_exception():
        future, token = impl.Future(loop=loop), Token()
        error = ValueError(future, token)
        future.set_exception(error)
        future.exception()
        return future, token

    def by_callback():
        future, token = impl.Future(loop=loop), Token()
        future.add_done_callback(lambda f: (future, token))
        return future, token

    def by_many_callbacks():
        future, token = impl.Future(loop=loop), Token()
        for _ in range(10):
            future.add_done_callback(lambda f: (future, token))
        return future, token

    def by_attribute():
        future, token = impl.Future(loop=loop), Token()
        future.me, future.token = future, token
        return future, token

    def by_cancel_message():
        future, token = impl.Future(loop=loop), Token()
        future.cancel((future, token))
        return future, token

    for make in (by_result, by_exception, by_callback, by_many_callbacks, by_attribute, by_cancel_message):
        assert_dies(make)


def test_abandoned_pending_task(impl, loop):
    """A task that waits for a future which nobody else holds: the usual lost task."""

    def make():
        token = Token()

        async def coro():
            await loop.create_future()
            return token

        task = impl.Task(coro(), loop=loop)
        task._log_destroy_pending = False
        support.run_once(loop)
        return task, token

    assert_dies(make)


def test_task_that_holds_itself(impl, loop):
    def make():
        token = Token()
        holder = []

        async def coro():
            await impl.sleep(0)
            return holder, token

        task = impl.Task(coro(), loop=loop)
        holder.append(task)
        support.run_once(loop, 3)
        return task, token

    assert_dies(make)


def test_failed_task_with_its_traceback(impl, loop):
    def make():
        token = Token()

        async def coro():
            # The frame in the exception's traceback holds the task that holds the exception.
            me = asyncio.current_task()
            raise ValueError(token, me)

        task = impl.Task(coro(), loop=loop)
        support.run_once(loop)
        task.exception()
        return task, token

    assert_dies(make)


def test_cancelled_task(impl, loop):
    def make():
        token = Token()

        async def coro():
            try:
                await impl.sleep(1000)
            finally:
                token.task = asyncio.current_task()

        task = impl.Task(coro(), loop=loop)
        support.run_once(loop)
        task.cancel()
        support.run_once(loop, 2)
        assert task.cancelled()
        return task, token

    assert_dies(make)


def test_abandoned_gather(impl, loop):
    def make():
        token = Token()
        children = [loop.create_future() for _ in range(3)]
        future = impl.gather(*children)
        children[0].add_done_callback(lambda f: (future, token))
        return future, token

    assert_dies(make)


def test_finished_gather(impl, loop):
    def make():
        token = Token()

        async def child():
            return token

        async def main():
            future = impl.gather(child(), child())
            future.me = future
            await future
            return future

        return loop.run_until_complete(main()), token

    assert_dies(make)


def test_abandoned_waiter(impl, loop):
    def make():
        token = Token()
        futures = [loop.create_future() for _ in range(3)]
        task = impl.Task(impl.wait(futures), loop=loop)
        task._log_destroy_pending = False
        futures[0].add_done_callback(lambda f: (task, token))
        support.run_once(loop)
        return task, token

    assert_dies(make)


def test_loop_in_a_cycle(impl):
    def make():
        loop, token = impl.new_event_loop(), Token()
        loop.me, loop.token = loop, token
        loop.call_soon(lambda: (loop, token))
        loop.call_later(1000, lambda: (loop, token))
        loop.set_exception_handler(lambda *args: (loop, token))
        loop.set_task_factory(lambda *args: (loop, token))
        loop.close()
        return loop, token

    assert_dies(make)


def test_unclosed_loop_in_a_cycle(impl):
    def make():
        loop, token = impl.new_event_loop(), Token()
        loop.call_soon(lambda: (loop, token))
        loop.call_later(1000, lambda: (loop, token))
        return loop, token

    # Recording the warning would keep the loop, which is its source, alive.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_dies(make)


def test_unclosed_loop_in_a_cycle_that_its_del_does_not_close(impl):
    """The collector alone drops what is queued."""

    class Loop(impl.Loop):
        def __del__(self):
            pass

    async def enter_timeout():
        await impl.timeout(1000).__aenter__()

    def make():
        loop, token = Loop(), Token()
        loop.call_later(1000, lambda: (loop, token))
        loop.run_until_complete(enter_timeout())
        return loop, token

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_dies(make)


def test_unclosed_loop_in_a_cycle_with_handles_that_are_queued(impl):
    """Whether they were made while it ran or not, and whatever else holds them."""

    def make():
        loop, token = impl.new_event_loop(), Token()
        holder = [token]

        def schedule():
            holder.append(loop.call_soon(lambda: (loop, holder)))
            holder.append(loop.call_later(1000, lambda: (loop, holder)))

        schedule()
        loop.call_soon(schedule)
        loop.call_soon(loop.stop)
        loop.run_forever()
        schedule()
        return loop, token

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_dies(make)


def test_what_a_running_loop_has_queued_survives_collections(impl, loop):
    """The loop itself may be all that holds it."""
    ran = []

    async def main():
        loop.call_later(0.001, lambda: ran.append(Token()))
        loop.call_soon(lambda: ran.append(Token()))
        support.collect()
        while len(ran) < 2:
            await asyncio.sleep(0)
            support.collect()

    loop.run_until_complete(main())
    assert [type(thing) for thing in ran] == [Token, Token]


@pytest.mark.parametrize("how", ["fires", "is cancelled"])
def test_timer_of_a_running_loop_in_a_cycle(impl, loop, how):
    def make():
        token = Token()
        holder = [token]

        async def main():
            fired = loop.create_future()
            holder.append(loop.call_later(0, lambda *args: fired.set_result(None), holder))
            holder.append(holder)
            if how == "fires":
                await fired
            else:
                holder[1].cancel()

        loop.run_until_complete(main())
        assert holder[1].cancelled() is (how == "is cancelled")
        return holder[1], token

    assert_dies(make)


def test_loop_is_not_kept_by_what_ran_on_it(impl):
    def make():
        loop, token = impl.new_event_loop(), Token()

        async def child():
            await impl.sleep(0)
            return token

        async def main():
            await impl.gather(child(), child())
            await impl.wait([impl.create_task(child())])
            await asyncio.sleep(0.0001)

        loop.run_until_complete(main())
        loop.close()
        return loop, token

    assert_dies(make)


def test_handle_given_to_the_exception_handler_in_a_cycle(loop):
    class Holder:
        pass

    def make():
        holder, token = Holder(), Token()
        loop.set_exception_handler(lambda loop, context: setattr(holder, "handle", context["handle"]))
        loop.call_soon(divmod, holder, token)
        support.run_once(loop)
        loop.set_exception_handler(None)
        assert holder.handle._args == (holder, token)
        return holder, token

    assert_dies(make)


def test_handle_of_a_step_given_to_the_exception_handler_in_a_cycle(impl, loop):
    class Odd:
        @property
        def _asyncio_future_blocking(self):
            raise LookupError

        def __await__(self):
            yield self

    async def coro():
        await Odd()

    def make():
        task, token = impl.Task(coro(), loop=loop), Token()
        task._log_destroy_pending = False
        loop.set_exception_handler(lambda loop, context: setattr(task, "handle", context["handle"]))
        support.run_once(loop, 2)
        loop.set_exception_handler(None)
        task.token = token
        assert task.handle._callback.__self__ is task
        return task, token

    assert_dies(make)


def test_handle_in_a_cycle(loop):
    def make():
        token = Token()
        holder = []

        def callback(*args):
            pass

        handle = loop.call_soon(callback, holder, token)
        holder.append(handle)
        support.run_once(loop)
        return handle, token

    assert_dies(make)


def test_sleep_objects_in_a_cycle(impl, loop):
    def make():
        token = Token()
        holder = [token]

        async def coro():
            holder.append(impl.sleep(1000, holder))
            await holder[1]

        task = impl.Task(coro(), loop=loop)
        support.run_once(loop)
        task.cancel()
        support.run_once(loop, 2)
        return task, token

    assert_dies(make)


def test_coroutine_that_its_warning_has_saved(impl):
    """Nobody awaited it, so it is in the warning and alive again, and may become part of a cycle like any object."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        impl.sleep(1)
    (warning,) = caught
    assert "never awaited" in str(warning.message)
    assert gc.is_tracked(warning.source)


def test_everything_is_tracked_by_the_collector(impl, loop):
    async def coro():
        await loop.create_future()

    task = impl.Task(coro(), loop=loop)
    things = [loop, impl.Future(loop=loop), task, loop.create_future(), impl.gather(loop.create_future())]
    assert all(gc.is_tracked(thing) for thing in things)
    for thing in things:
        gc.get_referents(thing)
    task.cancel()
    support.run_once(loop, 2)


def test_referents_include_what_is_held(impl, loop):
    token = Token()
    future = impl.Future(loop=loop)
    future.set_result(token)
    assert token in gc.get_referents(future)
    handle = loop.call_later(1000, int, token)
    reached = gc.get_referents(handle)
    assert any(token is thing or (type(thing) is tuple and token in thing) for thing in reached)


def workload(impl):
    """A bit of everything; returns nothing and keeps nothing."""

    async def child(n):
        await impl.sleep(0)
        if n % 7 == 3:
            raise ValueError(n)
        if n % 7 == 5:
            await asyncio.get_running_loop().create_future()
        await impl.sleep(0.00001)
        return n

    async def main():
        loop = asyncio.get_running_loop()
        tasks = [impl.create_task(child(n)) for n in range(14)]
        loop.call_soon(tasks[5].cancel, "a message")
        loop.call_later(0, tasks[12].cancel)
        await impl.gather(*tasks, return_exceptions=True)
        done, pending = await impl.wait([impl.create_task(child(n)) for n in range(3)], timeout=10)
        waiting = impl.create_task(impl.wait([loop.create_future()]))
        await impl.sleep(0)
        waiting.cancel()
        gathered = impl.gather(loop.create_future(), impl.sleep(1000))
        await impl.sleep(0)
        gathered.cancel()
        for future in (waiting, gathered):
            try:
                await future
            except asyncio.CancelledError:
                pass
        try:
            async with asyncio.timeout(0):
                await impl.sleep(1000)
        except TimeoutError:
            pass
        loop.call_soon(divmod, 1, 0)
        handle = loop.call_later(1000, int)
        handle.cancel()
        await impl.sleep(0)

    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    with support.closing(loop):
        loop.run_until_complete(main())


def test_objects_do_not_accumulate(impl):
    """Count the collector's objects after equal workloads."""
    for _ in range(3):
        workload(impl)
    support.collect()
    before = len(gc.get_objects())
    for _ in range(10):
        workload(impl)
    support.collect()
    # Freelists may keep a few objects; ten workloads make thousands.
    assert len(gc.get_objects()) - before < 50


@pytest.mark.skipif(not hasattr(sys, "getallocatedblocks"), reason="sys.getallocatedblocks is CPython's")
def test_memory_blocks_do_not_accumulate(impl):
    for _ in range(5):
        workload(impl)
    support.collect()
    before = sys.getallocatedblocks()
    for _ in range(20):
        workload(impl)
    support.collect()
    assert sys.getallocatedblocks() - before < 500


def test_reference_counts_of_types_and_singletons(impl):
    """A heap type that its instances do not hold or release shows here."""
    types = [impl.Future, impl.Task, impl.Loop, asyncio.CancelledError]
    for _ in range(3):
        workload(impl)
    support.collect()
    before = [sys.getrefcount(t) for t in types]
    for _ in range(10):
        workload(impl)
    support.collect()
    after = [sys.getrefcount(t) for t in types]
    assert all(abs(a - b) < 10 for a, b in zip(after, before)), (before, after)


@pytest.mark.skipif(support.FREE_THREADED, reason="nobody counts the references to a class")
def test_instances_hold_their_heap_type(impl, loop):
    class Mine(impl.Future):
        pass

    before = sys.getrefcount(Mine)
    futures = [Mine(loop=loop) for _ in range(100)]
    assert sys.getrefcount(Mine) == before + 100
    futures.clear()
    support.collect()
    assert sys.getrefcount(Mine) == before


def test_weak_references_with_callbacks(impl, loop):
    died = []

    async def coro():
        pass

    task = impl.Task(coro(), loop=loop)
    future = impl.Future(loop=loop)
    refs = [
        weakref.ref(task, lambda r: died.append("task")),
        weakref.ref(future, lambda r: died.append("future")),
    ]
    support.run_once(loop)
    del task, future
    support.collect()
    assert sorted(died) == ["future", "task"]
    assert [ref() for ref in refs] == [None, None]


def test_weak_sets_and_keys(impl, loop):
    """anyio keeps tasks as weak keys."""

    async def main():
        weak = weakref.WeakKeyDictionary()
        for n in range(20):
            weak[impl.create_task(impl.sleep(0))] = n
        await impl.sleep(0)
        await impl.sleep(0)
        await impl.sleep(0)
        support.collect()
        return len(weak)

    assert loop.run_until_complete(main()) == 0


def test_resurrection_in_del(impl, loop):
    saved = []

    class Phoenix(impl.Future):
        def __del__(self):
            saved.append(self)

    future = Phoenix(loop=loop)
    future.set_result("alive")
    del future
    support.collect()
    assert saved[0].result() == "alive"
    saved.clear()
    support.collect()
    # __del__ runs once (PEP 442), so the second death is final.
    assert saved == []
