"""Condition and Barrier: who is told, who gets the lock next, what a cancellation leaves, and whose lock it is."""

import asyncio
import copy
import inspect
import pickle
import weakref
from unittest import mock

import pytest

from . import support
from .support import turns

PASSES_ON = hasattr(asyncio.Condition, "_notify")  # from Python 3.13 on


async def waiting(condition, told=None, name=None):
    async with condition:
        result = await condition.wait()
        if told is not None:
            told.append(name)
        return result


def made(impl, name):
    return impl.Barrier(2) if name == "Barrier" else impl.Condition()


both = pytest.mark.parametrize("name", ["Condition", "Barrier"])


# ---- what they are ----


@both
def test_are_asyncios(impl, name):
    ours, stock = getattr(impl, name), getattr(asyncio, name)
    assert issubclass(ours, stock)
    assert isinstance(made(impl, name), stock)
    assert ours.__qualname__ == stock.__qualname__
    assert str(inspect.signature(ours)) == str(inspect.signature(stock))


@pytest.mark.parametrize(
    "name, method",
    [
        *[("Condition", method) for method in ("wait", "wait_for", "__aenter__", "__aexit__")],
        *[("Barrier", method) for method in ("wait", "reset", "abort", "__aenter__", "__aexit__")],
    ],
)
def test_coroutine_methods(impl, name, method):
    stock, ours = getattr(getattr(asyncio, name), method), getattr(getattr(impl, name), method)
    bound = getattr(made(impl, name), method)
    assert inspect.iscoroutinefunction(ours)
    assert inspect.iscoroutinefunction(bound)
    assert (ours.__name__, ours.__qualname__) == (stock.__name__, stock.__qualname__)
    assert inspect.signature(ours) == inspect.signature(stock)
    assert inspect.signature(bound) == inspect.signature(getattr(made(asyncio, name), method))


@pytest.mark.parametrize(
    "name, method",
    [
        *[("Condition", method) for method in ("wait", "wait_for", "notify", "notify_all")],
        *[("Condition", method) for method in ("acquire", "release", "locked")],
        ("Barrier", "wait"),
    ],
)
def test_wrong_calls(impl, name, method):
    def errors(source):
        primitive = made(source, name)
        for args, kwargs in [((1, 2, 3), {}), ((), {"nonsense": 1})]:
            with pytest.raises(TypeError) as caught:
                getattr(primitive, method)(*args, **kwargs)
            yield str(caught.value)

    assert list(errors(impl)) == list(errors(asyncio))


@pytest.mark.parametrize("method", ["notify", "notify_all"])
def test_signatures_of_plain_methods(impl, method):
    ours = getattr(impl.Condition(), method)
    assert str(inspect.signature(ours)) == str(inspect.signature(getattr(asyncio.Condition(), method)))
    assert ours.__doc__


@pytest.mark.parametrize("args", [(1, 2), (0,), (-3,), ("x",), (None,), (2.5,), (True,), (2**70,), ()])
def test_odd_parties(impl, args):
    def outcome(source):
        try:
            barrier = source.Barrier(*args)
            return barrier.parties, barrier._parties, barrier.n_waiting, barrier._count, barrier.broken
        except Exception as error:
            return type(error), str(error)

    assert outcome(impl) == outcome(asyncio)


def test_a_barrier_of_odd_parties_waits(impl, loop):
    async def main():
        barrier = impl.Barrier(1.0)
        assert await barrier.wait() == 0
        barrier._parties = 2
        return await asyncio.gather(barrier.wait(), barrier.wait())

    assert sorted(loop.run_until_complete(main())) == [0, 1]


def test_arguments_by_keyword(impl, loop):
    lock = impl.Lock()
    assert impl.Condition(lock=lock)._lock is lock
    assert impl.Barrier(parties=3).parties == 3
    with pytest.raises(TypeError):
        impl.Condition(loop=loop)


def test_representation(impl, loop):
    async def main():
        condition, barrier = impl.Condition(), impl.Barrier(2)
        assert repr(condition).startswith("<asyncio.locks.Condition object at 0x")
        assert repr(condition).endswith(" [unlocked]>")
        tasks = [asyncio.ensure_future(waiting(condition)), asyncio.ensure_future(barrier.wait())]
        await turns()
        async with condition:
            assert repr(condition).endswith(" [locked, waiters:1]>")
        assert repr(barrier).startswith("<asyncio.locks.Barrier object at 0x")
        assert repr(barrier).endswith(" [filling, waiters:1/2]>")
        for task in tasks:
            task.cancel()
        await turns()
        await barrier.abort()
        assert repr(barrier).endswith(" [broken]>")

    loop.run_until_complete(main())


@both
def test_weak_references_and_attributes(impl, name):
    primitive = made(impl, name)
    primitive.mark = primitive
    reference = weakref.ref(primitive)
    del primitive
    support.collect()
    assert reference() is None


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_copies(impl, loop, copied):
    condition, barrier = impl.Condition(), impl.Barrier(2)
    condition.mark = 1
    other = copied(condition)
    assert (type(other), other.mark) == (type(condition), 1)
    assert (other._lock is condition._lock) == (copied is copy.copy)

    async def main():
        # It has the methods of its own lock.
        async with other:
            assert other._lock.locked()
            assert condition.locked() == (copied is copy.copy)
            other.notify()
        assert not other.locked()

    loop.run_until_complete(main())
    assert copied(barrier).parties == 2
    assert copied(barrier)._state is barrier._state


def test_without_init(impl):
    class Bare(impl.Condition):
        def __init__(self):
            pass

    for name in ("_waiters", "_lock", "acquire", "release", "locked"):
        with pytest.raises(AttributeError, match=f"'Bare' object has no attribute '{name}'"):
            getattr(Bare(), name)

    class BareBarrier(impl.Barrier):
        def __init__(self):
            pass

    for name in ("_cond", "_parties", "_state", "_count"):
        with pytest.raises(AttributeError, match=f"'BareBarrier' object has no attribute '{name}'"):
            getattr(BareBarrier(), name)
    with pytest.raises(AttributeError):
        BareBarrier().wait().send(None)
    with pytest.raises(AttributeError):
        Bare().wait().send(None)


# ---- the lock ----


def test_the_locks_methods_are_on_the_instance(impl, loop):
    class Own(impl.Condition):
        async def acquire(self):
            raise AssertionError("hidden by the lock's")

    lock = impl.Lock()
    condition = Own(lock)
    for name in ("acquire", "release", "locked"):
        assert getattr(condition, name) == getattr(lock, name)
        assert vars(condition)[name] == getattr(lock, name)

    async def main():
        async with condition as value:
            assert value is None
            assert lock.locked()
            assert condition.locked()
        assert await condition.acquire() is True
        condition.release()
        assert not lock.locked()

    loop.run_until_complete(main())


class ForeignLock:
    """What trio, aiologic and others may give: the three methods, and nothing else."""

    def __init__(self):
        self.taken = False
        self.calls = []

    async def acquire(self):
        self.calls.append("acquire")
        while self.taken:
            await asyncio.sleep(0)
        self.taken = True

    def release(self):
        self.calls.append("release")
        self.taken = False

    def locked(self):
        return self.taken


def locks(impl):
    class Own(impl.Lock):
        async def acquire(self):
            return await super().acquire()

        def release(self):
            super().release()

    return {"native": impl.Lock, "stock": asyncio.Lock, "own": Own, "foreign": ForeignLock}


@pytest.mark.parametrize("kind", ["native", "stock", "own", "foreign"])
def test_a_lock_that_is_given(impl, loop, kind):
    lock = locks(impl)[kind]()
    condition, other, told = impl.Condition(lock), impl.Condition(lock), []

    async def main():
        tasks = [loop.create_task(waiting(condition, told, n)) for n in range(2)]
        await turns()
        async with other:
            other.notify_all()
            assert lock.locked()
        await turns()
        assert told == []
        async with other:
            condition.notify()
        await turns()
        assert told == [0]
        async with lock if kind != "foreign" else condition:
            condition.notify_all()
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())
    assert told == [0, 1]
    if kind == "foreign":
        assert lock.calls.count("acquire") == lock.calls.count("release") == 7


def test_what_is_no_lock(impl):
    for lock in (1, object()):
        with pytest.raises(AttributeError, match="has no attribute 'locked'"):
            impl.Condition(lock)


@pytest.mark.parametrize("call", ["wait", "notify", "notify_all"])
def test_without_the_lock(impl, loop, call):
    condition = impl.Condition()
    verb = "wait on" if call == "wait" else "notify on"

    async def main():
        with pytest.raises(RuntimeError, match=f"^cannot {verb} un-acquired lock$"):
            result = getattr(condition, call)()
            await result

    loop.run_until_complete(main())


# ---- waiting and telling ----


@pytest.mark.parametrize(
    "count, expected", [(0, []), (1, [0]), (2, [0, 1]), (7, [0, 1, 2]), (-1, []), (1.5, [0, 1])]
)
def test_how_many_are_told(impl, loop, count, expected):
    condition, told = impl.Condition(), []

    async def main():
        tasks = [loop.create_task(waiting(condition, told, n)) for n in range(3)]
        await turns()
        assert len(condition._waiters) == 3
        async with condition:
            condition.notify(count)
            assert [future.done() for future in condition._waiters] == [n in expected for n in range(3)]
        await turns(8)
        assert told == expected
        async with condition:
            condition.notify_all()
        assert await asyncio.gather(*tasks) == [True] * 3

    loop.run_until_complete(main())


def test_what_is_waited_for(impl, loop):
    """task._fut_waiter is the future in _waiters."""
    condition = impl.Condition()

    async def main():
        task = loop.create_task(waiting(condition))
        await turns()
        assert task._fut_waiter is condition._waiters[0]
        async with condition:
            condition._waiters[0].set_result("from outside")
            await turns()
            # Now for the lock.
            assert task._fut_waiter is condition._lock._waiters[0]
        assert await task is True
        assert not condition._waiters

    loop.run_until_complete(main())


def test_wait_for(impl, loop):
    condition, answers = impl.Condition(), iter([0, "", (), "yes"])

    async def main():
        async def wait():
            async with condition:
                return await condition.wait_for(lambda: next(answers))

        task = loop.create_task(wait())
        for _ in range(3):
            await turns()
            assert not task.done()
            async with condition:
                condition.notify()
        assert await task == "yes"
        async with condition:
            assert await condition.wait_for(lambda: 5) == 5
        # Without waiting there is no need for the lock.
        assert await condition.wait_for(lambda: 6) == 6
        with pytest.raises(RuntimeError, match="^cannot wait on un-acquired lock$"):
            await condition.wait_for(lambda: 0)

    loop.run_until_complete(main())


def test_a_predicate_that_fails(impl, loop):
    condition, calls = impl.Condition(), []

    def predicate():
        calls.append(condition.locked())
        return 1 / 0 if len(calls) == 2 else None

    async def main():
        async def wait():
            async with condition:
                await condition.wait_for(predicate)

        task = loop.create_task(wait())
        await turns()
        async with condition:
            condition.notify()
        with pytest.raises(ZeroDivisionError):
            await task
        assert not condition.locked()
        with pytest.raises(TypeError):
            await condition.wait_for(None)

    loop.run_until_complete(main())
    assert calls == [True, True]


# ---- cancellation ----


def test_cancelled_while_waiting(impl, loop):
    condition = impl.Condition()

    async def main():
        task = loop.create_task(waiting(condition))
        await turns()
        task.cancel("reason")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("reason",)
        assert not condition._waiters
        assert not condition.locked()

    loop.run_until_complete(main())


@pytest.mark.parametrize("first", ["cancel", "notify"])
def test_cancelled_in_the_turn_of_the_notification(impl, loop, first):
    """From Python 3.13 on another one is told; before, the notification is lost if it came first."""
    condition = impl.Condition()

    async def main():
        tasks = [loop.create_task(waiting(condition)) for _ in range(2)]
        await turns()
        async with condition:
            if first == "cancel":
                tasks[0].cancel()
                condition.notify()
            else:
                condition.notify()
                tasks[0].cancel()
        await turns(8)
        assert tasks[0].cancelled()
        assert tasks[1].done() == (PASSES_ON or first == "cancel")
        tasks[1].cancel()
        await turns()

    loop.run_until_complete(main())


@pytest.mark.parametrize("cancellations", [1, 3])
def test_cancelled_while_it_waits_for_the_lock(impl, loop, cancellations):
    condition = impl.Condition()
    errors = []

    async def wait():
        async with condition:
            try:
                await condition.wait()
            except asyncio.CancelledError as error:
                errors.append(error)
                assert condition.locked()
                raise

    async def main():
        tasks = [loop.create_task(wait()) for _ in range(2)]
        await turns()
        async with condition:
            condition.notify()
            await turns()
            for n in range(cancellations):
                tasks[0].cancel(f"reason {n}")
                await turns()
                assert not tasks[0].done()
            assert len(condition._lock._waiters) == 1
        await turns(8)
        assert tasks[0].cancelled()
        # The last one, or before 3.13 a new one.
        assert errors[0].args == ((f"reason {cancellations - 1}",) if PASSES_ON else ())
        assert errors[0].__context__ is None
        assert tasks[1].done() == PASSES_ON
        tasks[1].cancel()
        await turns()

    loop.run_until_complete(main())


def test_cancelled_while_waiting_and_again_for_the_lock(impl, loop):
    condition = impl.Condition()

    async def wait():
        async with condition:
            try:
                await condition.wait()
            except asyncio.CancelledError as error:
                return error.args, error.__context__.args, error.__context__.__context__

    async def main():
        task = loop.create_task(wait())
        await turns()
        async with condition:
            task.cancel("first")
            await turns()
            task.cancel("second")
            await turns()
            assert not task.done()
        return await task

    assert loop.run_until_complete(main()) == (("second",) if PASSES_ON else (), ("first",), None)


@pytest.mark.parametrize("locked", [False, True])
def test_closed_while_waiting(impl, loop, locked):
    condition = impl.Condition()

    async def main():
        await condition.acquire()
        coroutine = condition.wait()
        future = coroutine.send(None)
        assert list(condition._waiters) == [future]
        assert not condition.locked()
        if not locked:
            coroutine.close()
            assert condition.locked()
        else:
            await condition.acquire()
            with pytest.raises(RuntimeError, match="^coroutine ignored GeneratorExit$"):
                coroutine.close()
            condition.release()
            with pytest.raises(GeneratorExit):
                coroutine.send(None)
        assert not condition._waiters

    loop.run_until_complete(main())


def test_thrown_in(impl, loop):
    condition = impl.Condition()

    async def main():
        await condition.acquire()
        coroutine = condition.wait()
        coroutine.send(None)
        with pytest.raises(KeyError):
            coroutine.throw(KeyError())
        assert condition.locked()
        coroutine = condition.wait()
        coroutine.send(None)
        await condition.acquire()
        coroutine.throw(KeyError())  # waits for the lock now
        with pytest.raises(ValueError, match="^out$") as caught:
            coroutine.throw(ValueError("out"))
        assert type(caught.value.__context__) is KeyError
        assert condition.locked()

    loop.run_until_complete(main())


# ---- overriding ----


@pytest.mark.parametrize("name", ["acquire", "release", "locked"])
def test_a_mock_on_the_instance(impl, loop, name):
    condition = impl.Condition()

    async def main():
        await condition.acquire()
        task = loop.create_task(waiting(condition))
        with mock.patch.object(condition, name, wraps=getattr(condition, name)) as method:
            condition.notify()
            await turns()
            condition.release()
            await turns()
            await condition.acquire()
            condition.notify()
            condition.release()
            await task
        assert method.call_count >= 2
        assert not condition.locked()

    loop.run_until_complete(main())


def test_wait_for_calls_what_is_overridden(impl, loop):
    calls = []

    class Own(impl.Condition):
        async def wait(self):
            calls.append("wait")
            return await super().wait()

        def notify(self, n=1):
            calls.append(n)
            super().notify(n)

    condition, ready = Own(), []

    async def main():
        async def wait():
            async with condition:
                await condition.wait_for(lambda: ready)

        task = loop.create_task(wait())
        await turns()
        ready.append(1)
        async with condition:
            condition.notify_all()
        await task

    loop.run_until_complete(main())
    assert calls == ["wait", 1]


@pytest.mark.skipif(not PASSES_ON, reason="Condition._notify() is new in Python 3.13")
def test_overridden_notify(impl, loop):
    calls = []

    class Own(impl.Condition):
        def _notify(self, n):
            calls.append(n)
            super()._notify(n)

    condition = Own()

    async def main():
        task = loop.create_task(waiting(condition))
        await turns()
        async with condition:
            condition.notify(3)
        await task
        task = loop.create_task(waiting(condition))
        await turns()
        task.cancel()
        await turns()

    loop.run_until_complete(main())
    assert calls == [3, 1]


def test_a_replaced_method_of_asyncios_class(native):
    condition = native.Condition()
    with mock.patch.object(asyncio.Condition, "notify", autospec=True) as notify:
        condition.notify(2)
    notify.assert_called_once_with(condition, 2)


def test_a_deque_of_somebody_elses(impl, loop):
    """Whatever is in _waiters is woken by its methods."""
    condition = impl.Condition()

    async def main():
        stock = asyncio.futures._PyFuture(loop=loop)
        condition._waiters = [stock]
        async with condition:
            condition.notify()
        assert stock.result() is False

    loop.run_until_complete(main())


# ---- loops ----


def test_bound_to_its_loop(impl):
    condition, barrier = impl.Condition(), impl.Barrier(2)

    async def blocked():
        async with condition:
            await asyncio.wait_for(condition.wait(), 0.0)

    async def first():
        task = asyncio.ensure_future(barrier.wait())
        with pytest.raises(TimeoutError):
            await blocked()
        # wait_for() without time does not begin.
        other = asyncio.ensure_future(waiting(condition))
        await turns()
        for waiting_task in (task, other):
            waiting_task.cancel()
        await turns()
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        loop = runner.run(first())
        assert condition._loop is loop
        assert barrier._cond._loop is loop
        assert barrier._loop is None
    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        for coroutine, bound in ((waiting(condition), condition), (barrier.wait(), barrier._cond)):
            with pytest.raises(RuntimeError) as caught:
                runner.run(coroutine)
            assert str(caught.value).startswith("<asyncio.locks.Condition object at 0x")
            assert str(caught.value).endswith("]> is bound to a different event loop")
            assert bound._waiters is not None


def test_on_a_loop_of_asyncios(impl):
    async def main():
        condition, barrier, told = impl.Condition(), impl.Barrier(2), []
        task = asyncio.ensure_future(waiting(condition, told, 1))
        await turns()
        async with condition:
            condition.notify()
        await task
        return told, sorted(await asyncio.gather(barrier.wait(), barrier.wait()))

    with support.closing(asyncio.SelectorEventLoop()) as loop:
        assert loop.run_until_complete(main()) == ([1], [0, 1])


def test_by_tasks_of_asyncios(impl, loop):
    condition = impl.Condition()

    async def main():
        task = asyncio.tasks._PyTask(waiting(condition), loop=loop)
        await turns()
        async with condition:
            condition.notify()
            await turns()
        return await task

    assert loop.run_until_complete(main()) is True


def test_debug_mode_in_the_middle(impl, loop):
    condition, barrier = impl.Condition(), impl.Barrier(2)

    async def main():
        ready = []

        async def wait():
            async with condition:
                await condition.wait_for(lambda: ready)

        tasks = [loop.create_task(wait()), loop.create_task(barrier.wait())]
        await turns()
        loop.set_debug(True)
        async with condition:
            condition.notify()
        await turns()
        ready.append(1)
        async with condition:
            condition.notify_all()
        await barrier.wait()
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())


def test_the_lock_is_replaced_in_the_middle(impl, loop):
    condition = impl.Condition()

    async def main():
        task = loop.create_task(waiting(condition))
        await turns()
        other = ForeignLock()
        async with condition:
            condition.notify()
            for name in ("acquire", "release", "locked"):
                setattr(condition, name, getattr(other, name))
            await other.acquire()
        await task
        assert other.calls == ["acquire", "release", "acquire", "release"]
        assert condition._lock.locked()

    loop.run_until_complete(main())


# ---- barriers ----


def test_everybody_gets_a_number(impl, loop):
    barrier = impl.Barrier(3)

    async def main():
        tasks = [loop.create_task(barrier.wait()) for _ in range(6)]
        await turns()
        assert sorted(await asyncio.gather(*tasks)) == [0, 0, 1, 1, 2, 2]
        assert (barrier._count, barrier._state.name, barrier.n_waiting) == (0, "FILLING", 0)

    loop.run_until_complete(main())


def test_as_a_context_manager(impl, loop):
    barrier = impl.Barrier(2)

    async def enter():
        async with barrier as index:
            return index

    async def main():
        return await asyncio.gather(enter(), enter())

    assert sorted(loop.run_until_complete(main())) == [0, 1]


@pytest.mark.parametrize(
    "method, message", [("reset", "Abort or reset of barrier"), ("abort", "Abort or reset of barrier")]
)
def test_broken_while_filling(impl, loop, method, message):
    barrier = impl.Barrier(3)

    async def main():
        tasks = [loop.create_task(barrier.wait()) for _ in range(2)]
        await turns()
        assert barrier.n_waiting == 2
        await getattr(barrier, method)()
        for task in tasks:
            with pytest.raises(asyncio.BrokenBarrierError, match=f"^{message}$"):
                await task
        assert barrier.broken == (method == "abort")
        if method == "abort":
            with pytest.raises(asyncio.BrokenBarrierError, match="^Barrier aborted$"):
                await barrier.wait()
        assert not barrier._cond.locked()
        assert barrier._count == 0

    loop.run_until_complete(main())


def test_who_comes_while_it_drains_waits(impl, loop):
    barrier = impl.Barrier(2)

    async def main():
        first = [loop.create_task(barrier.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        late = loop.create_task(barrier.wait())
        assert await asyncio.gather(*first) == [0, 1]
        await turns()
        assert barrier.n_waiting == 1
        assert await barrier.wait() == 1
        assert await late == 0

    loop.run_until_complete(main())


@pytest.mark.parametrize("when", ["filling", "draining", "entering"])
def test_a_barriers_waiter_is_cancelled(impl, loop, when):
    barrier = impl.Barrier(2)

    async def main():
        if when == "entering":
            await barrier._cond.acquire()
        task = loop.create_task(barrier.wait())
        await turns()
        if when == "draining":
            other = loop.create_task(barrier.wait())
            await asyncio.sleep(0)
            assert barrier._state.name == "DRAINING"
            task.cancel()
            assert await other == 1
        else:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if when == "entering":
            barrier._cond.release()
        assert (barrier._count, barrier._state.name) == (0, "FILLING")
        assert not barrier._cond.locked()
        assert sorted(await asyncio.gather(barrier.wait(), barrier.wait())) == [0, 1]

    loop.run_until_complete(main())


@pytest.mark.parametrize("part", ["_block", "_release", "_wait", "_exit"])
def test_overridden_parts_of_a_barrier(impl, loop, part):
    calls = []

    class Own(impl.Barrier):
        pass

    original = getattr(asyncio.Barrier, part)

    def override(self):
        calls.append(part)
        return original(self)

    setattr(Own, part, override)
    barrier = Own(2)

    async def main():
        await asyncio.gather(barrier.wait(), barrier.wait())

    loop.run_until_complete(main())
    assert calls


def test_another_condition_in_a_barrier(impl, loop):
    calls = []

    class Own(impl.Condition):
        def notify_all(self):
            calls.append("notify_all")
            super().notify_all()

    async def main():
        barrier = impl.Barrier(2)
        task = loop.create_task(barrier.wait())
        await turns()
        barrier._cond.notify_all = mock.Mock(wraps=barrier._cond.notify_all)
        assert sorted(await asyncio.gather(task, barrier.wait())) == [0, 1]
        assert barrier._cond.notify_all.call_count == 2
        barrier._cond = Own()
        assert sorted(await asyncio.gather(barrier.wait(), barrier.wait())) == [0, 1]

    loop.run_until_complete(main())
    assert calls == ["notify_all"] * 2
