"""Any mix works: tasks, futures and loops of different implementations, and whatever else can be awaited."""

import asyncio
import collections.abc
import contextlib
import types

import pytest

from . import marks, support

TASKS = {
    "native": lambda: support.load("native").Task,
    "stock": lambda: asyncio.tasks._CTask,
    "python": lambda: asyncio.tasks._PyTask,
}
FUTURES = {
    "native": lambda: support.load("native").Future,
    "stock": lambda: asyncio.futures._CFuture,
    "python": lambda: asyncio.futures._PyFuture,
}
LOOPS = {"our loop": lambda: support.load("native"), "stock loop": lambda: support.load("asyncio")}


def outer_product(*tables):
    """Every combination, but those without any native member, which would test asyncio alone."""
    import itertools

    combinations = [c for c in itertools.product(*tables) if "native" in c or "our loop" in c]
    return [pytest.param(*c, id="-".join(c).replace(" ", "_")) for c in combinations]


@pytest.fixture
def made(request):
    """`(loop, Task, Future)` of the combination that the test is parametrised with."""
    loop_name, task_name, future_name = request.param
    with support.closing(LOOPS[loop_name]().new_event_loop()) as loop:
        yield loop, TASKS[task_name](), FUTURES[future_name]()


combinations = pytest.mark.parametrize(
    "made",
    [pytest.param(p.values, id=p.id) for p in outer_product(LOOPS, TASKS, FUTURES)],
    indirect=True,
)


@combinations
def test_task_awaits_future(made):
    loop, Task, Future = made
    future = Future(loop=loop)

    async def coro():
        return await future

    task = Task(coro(), loop=loop)
    support.run_once(loop)
    assert task._fut_waiter is future
    future.set_result("value")
    assert loop.run_until_complete(task) == "value"


@combinations
def test_task_awaits_a_failing_future(made):
    loop, Task, Future = made
    future = Future(loop=loop)
    error = LookupError()

    async def coro():
        try:
            await future
        except LookupError as exc:
            return exc is error

    task = Task(coro(), loop=loop)
    support.run_once(loop)
    future.set_exception(error)
    assert loop.run_until_complete(task) is True


@combinations
def test_cancelling_the_task_cancels_the_future(made):
    loop, Task, Future = made
    future = Future(loop=loop)

    async def coro():
        await future

    task = Task(coro(), loop=loop)
    support.run_once(loop)
    assert task.cancel("why") is True
    assert future.cancelled()
    support.run_once(loop)
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert caught.value.args == ("why",)


@combinations
def test_cancelling_the_future_cancels_the_task(made):
    loop, Task, Future = made
    future = Future(loop=loop)

    async def coro():
        await future

    task = Task(coro(), loop=loop)
    support.run_once(loop)
    future.cancel("why")
    support.run_once(loop)
    assert task.cancelled()


@combinations
def test_wake_up_order(made):
    loop, Task, Future = made
    future = Future(loop=loop)
    order = []

    async def coro(n):
        await future
        order.append(n)

    tasks = []
    for n in range(4):
        tasks.append(Task(coro(n), loop=loop))
        future_callback = lambda f, n=n: order.append(f"callback {n}")  # noqa: E731
        loop.call_soon(future.add_done_callback, future_callback)
    support.run_once(loop)
    future.set_result(None)
    support.run_once(loop)
    assert order == [0, "callback 0", 1, "callback 1", 2, "callback 2", 3, "callback 3"]


@pytest.mark.parametrize("loop_name, outer, inner", outer_product(LOOPS, TASKS, TASKS))
def test_task_awaits_task(loop_name, outer, inner):
    with support.closing(LOOPS[loop_name]().new_event_loop()) as loop:
        Outer, Inner = TASKS[outer](), TASKS[inner]()

        async def child(n):
            await asyncio.sleep(0)
            if n == 2:
                raise ValueError(n)
            return n

        async def parent():
            results = []
            for n in range(4):
                try:
                    results.append(await Inner(child(n), loop=loop))
                except ValueError as exc:
                    results.append(repr(exc))
            return results

        assert loop.run_until_complete(Outer(parent(), loop=loop)) == [0, 1, "ValueError(2)", 3]


@pytest.mark.parametrize("loop_name, task", outer_product(LOOPS, TASKS))
@pytest.mark.parametrize("names", ["stock names", "native names"])
def test_gather_wait_and_sleep_in_each_kind_of_task(loop_name, task, names):
    source = support.load("native" if names == "native names" else "asyncio")
    with support.closing(LOOPS[loop_name]().new_event_loop()) as loop:
        Task = TASKS[task]()

        async def child(n):
            await source.sleep(0)
            await source.sleep(0.0001)
            return n

        async def main():
            tasks = [Task(child(n), loop=loop) for n in range(5)]
            assert await source.gather(*tasks) == list(range(5))
            assert await source.gather(*(child(n) for n in range(5))) == list(range(5))
            done, pending = await source.wait([Task(child(n), loop=loop) for n in range(5)])
            assert len(done) == 5 and not pending
            done, pending = await source.wait(
                [Task(child(1), loop=loop), loop.create_future()], timeout=0.001
            )
            assert len(pending) >= 1
            for future in pending:
                future.cancel()
            gathered = source.gather(Task(child(1), loop=loop), loop.create_future())
            await source.sleep(0)
            gathered.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gathered
            return "done"

        assert loop.run_until_complete(Task(main(), loop=loop)) == "done"


@pytest.mark.parametrize("loop_name, task", outer_product(LOOPS, TASKS))
def test_synchronisation_primitives_in_each_kind_of_task(loop_name, task):
    with support.closing(LOOPS[loop_name]().new_event_loop()) as loop:
        Task = TASKS[task]()

        async def producer(queue):
            for i in range(10):
                await queue.put(i)

        async def consumer(queue, lock, seen):
            for _ in range(5):
                item = await queue.get()
                async with lock:
                    await asyncio.sleep(0)
                    seen.append(item)

        async def main():
            queue, lock, seen = asyncio.Queue(2), asyncio.Lock(), []
            tasks = [
                Task(coro, loop=loop)
                for coro in (producer(queue), consumer(queue, lock, seen), consumer(queue, lock, seen))
            ]
            for item in tasks:
                await item
            return sorted(seen)

        assert loop.run_until_complete(Task(main(), loop=loop)) == list(range(10))


# TaskGroup and timeout ask the C registry for the current task, where 3.14's Python Task is not entered.
C_TASKS = [name for name in TASKS if name != "python"]


@marks.not_early
@pytest.mark.parametrize("loop_name, task", outer_product(LOOPS, C_TASKS))
def test_task_group_timeout_and_shield(loop_name, task):
    with support.closing(LOOPS[loop_name]().new_event_loop()) as loop:
        loop.set_task_factory(lambda loop, coro, **kwargs: TASKS[task]()(coro, loop=loop, **kwargs))

        async def child(n):
            await asyncio.sleep(0)
            return n

        async def failing():
            await asyncio.sleep(0)
            raise ValueError

        async def main():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(child(n)) for n in range(3)]
            assert [t.result() for t in tasks] == [0, 1, 2]
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(failing())
                    group.create_task(asyncio.sleep(1000))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(1000)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(1000), 0.001)
            assert await asyncio.shield(child(4)) == 4

        loop.run_until_complete(main())


# ---- coroutine-like objects ----


class CoroutineLike(collections.abc.Coroutine):
    """A coroutine written by hand, as Cython's are: only the abstract methods."""

    def __init__(self, steps, result=None):
        self.steps, self.result, self.thrown, self.closed = list(steps), result, [], False

    def send(self, value):
        if not self.steps:
            raise StopIteration(self.result)
        step = self.steps.pop(0)
        if step is not None and hasattr(step, "_asyncio_future_blocking"):
            step._asyncio_future_blocking = True
        return step

    def throw(self, *args):
        self.thrown.append(args)
        raise args[0]

    def close(self):
        self.closed = True

    def __await__(self):
        while True:
            try:
                yield self.send(None)
            except StopIteration as stop:
                return stop.value


def test_coroutine_like_object(impl, loop):
    future = loop.create_future()
    coro = CoroutineLike([None, future, None], result="by hand")
    assert asyncio.iscoroutine(coro)
    task = impl.Task(coro, loop=loop)
    loop.call_later(0, future.set_result, 1)
    assert loop.run_until_complete(task) == "by hand"


def test_cancelling_a_coroutine_like_object(impl, loop):
    coro = CoroutineLike([loop.create_future()])
    task = impl.Task(coro, loop=loop)
    support.run_once(loop)
    task.cancel("why")
    support.run_once(loop)
    assert task.cancelled()
    assert len(coro.thrown) == 1
    assert isinstance(coro.thrown[0][0], asyncio.CancelledError)


def test_gather_and_run_of_coroutine_like_objects(impl, loop):
    async def main():
        return await impl.gather(CoroutineLike([None], 1), CoroutineLike([], 2))

    assert loop.run_until_complete(main()) == [1, 2]
    assert loop.run_until_complete(CoroutineLike([None], 3)) == 3


def test_awaiting_a_coroutine_like_object(impl, loop):
    async def main():
        return await CoroutineLike([None, None], "inner")

    assert loop.run_until_complete(impl.Task(main(), loop=loop)) == "inner"


def test_generator_based_coroutine(impl, loop):
    future = loop.create_future()

    @types.coroutine
    def inner():
        value = yield from future
        yield
        return value + 1

    @types.coroutine
    def outer():
        return (yield from inner()) + 1

    loop.call_later(0, future.set_result, 40)
    assert loop.run_until_complete(outer()) == 42


def test_generator_based_coroutine_around_sleep(impl, loop):
    @types.coroutine
    def coro():
        yield from impl.sleep(0)
        value = yield from impl.sleep(0.0001, "slept")
        return value

    async def main():
        return await coro()

    assert loop.run_until_complete(main()) == "slept"


def test_await_of_a_future_wrapped_in_a_class(impl, loop):
    class Wrapper:
        def __init__(self, future):
            self.future = future

        def __await__(self):
            return (yield from self.future)

    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, "wrapped")
        return await Wrapper(future)

    assert loop.run_until_complete(main()) == "wrapped"


class DuckFuture:
    """The least that a task accepts as a future."""

    def __init__(self, loop):
        self._asyncio_future_blocking = False
        self._loop = loop
        self.callbacks = []
        self.state, self.value = "pending", None
        self.cancel_args = None

    def get_loop(self):
        return self._loop

    def add_done_callback(self, callback, *, context=None):
        self.callbacks.append((callback, context))

    def remove_done_callback(self, callback):
        kept = [pair for pair in self.callbacks if pair[0] != callback]
        removed = len(self.callbacks) - len(kept)
        self.callbacks = kept
        return removed

    def done(self):
        return self.state != "pending"

    def cancelled(self):
        return self.state == "cancelled"

    def cancel(self, msg=None):
        self.cancel_args = msg
        self.finish("cancelled", asyncio.CancelledError(msg))
        return True

    def exception(self):
        return self.value if isinstance(self.value, BaseException) else None

    def result(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    def finish(self, state, value):
        self.state, self.value = state, value
        for callback, context in self.callbacks:
            self._loop.call_soon(callback, self, context=context)
        self.callbacks = []

    def __await__(self):
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()


def test_foreign_future(impl, loop):
    future = DuckFuture(loop)

    async def coro():
        return await future

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    assert task._fut_waiter is future
    assert future._asyncio_future_blocking is False
    future.finish("finished", "duck")
    assert loop.run_until_complete(task) == "duck"


def test_foreign_future_raises(impl, loop):
    future = DuckFuture(loop)

    async def coro():
        with pytest.raises(KeyError):
            await future
        return "caught"

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    future.finish("finished", KeyError("k"))
    assert loop.run_until_complete(task) == "caught"


def test_cancel_reaches_a_foreign_future(impl, loop):
    future = DuckFuture(loop)

    async def coro():
        await future

    task = impl.Task(coro(), loop=loop)
    support.run_once(loop)
    task.cancel("why")
    assert future.cancel_args == "why"
    support.run_once(loop)
    assert task.cancelled()


def test_gather_and_wait_of_foreign_futures(impl, loop):
    async def main():
        a, b = DuckFuture(loop), DuckFuture(loop)
        loop.call_soon(a.finish, "finished", 1)
        loop.call_soon(b.finish, "finished", 2)
        assert await impl.gather(a, b) == [1, 2]
        done, pending = await impl.wait([a, b])
        return len(done), len(pending)

    # wait() adds a callback to what is done already and expects it to be called.
    class Prompt(DuckFuture):
        pass

    original = DuckFuture.add_done_callback

    def add(self, callback, *, context=None):
        if self.done():
            self._loop.call_soon(callback, self, context=context)
        else:
            original(self, callback, context=context)

    with contextlib.ExitStack() as stack:
        DuckFuture.add_done_callback = add
        stack.callback(setattr, DuckFuture, "add_done_callback", original)
        assert loop.run_until_complete(main()) == (2, 0)


# ---- factories ----


@pytest.mark.parametrize("task", TASKS)
def test_custom_task_factory(ours, task):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(TASKS[task]()(coro, loop=loop, **kwargs))
        return made[-1]

    async def child(n):
        await ours.sleep(0)
        return n

    async def main():
        return await ours.gather(*(child(n) for n in range(3)), ours.create_task(child(3)))

    with support.closing(ours.new_event_loop()) as loop:
        loop.set_task_factory(factory)
        assert loop.run_until_complete(main()) == [0, 1, 2, 3]
        assert len(made) == 5


def test_factory_that_returns_something_else(impl, loop):
    """asyncio hands out whatever the factory returns."""
    sentinel = types.SimpleNamespace(set_name=lambda name: None)
    loop.set_task_factory(lambda loop, coro, **kwargs: (coro.close(), sentinel)[1])

    async def coro():
        pass

    assert loop.create_task(coro()) is sentinel
    loop.set_task_factory(None)


def test_factory_that_raises(impl, loop):
    def factory(loop, coro, **kwargs):
        coro.close()
        raise LookupError("factory")

    async def coro():
        pass

    loop.set_task_factory(factory)
    with pytest.raises(LookupError, match="factory"):
        loop.create_task(coro())
    loop.set_task_factory(None)


# ---- greenlets ----


def test_greenlet_switch_inside_a_callback(impl, loop):
    greenlet = pytest.importorskip("greenlet", reason="greenlet is optional")
    order = []
    main = greenlet.getcurrent()

    def other():
        order.append("other 1")
        main.switch()
        order.append("other 2")
        main.switch()

    child = greenlet.greenlet(other)
    loop.call_soon(child.switch)
    loop.call_soon(order.append, "between")
    loop.call_soon(child.switch)
    support.run_once(loop)
    assert order == ["other 1", "between", "other 2"]


def test_greenlet_that_awaits_on_behalf_of_synchronous_code(impl, loop):
    """As SQLAlchemy does it: synchronous code in a greenlet, whose awaitables the parent task awaits."""
    greenlet = pytest.importorskip("greenlet", reason="greenlet is optional")

    def await_only(awaitable):
        return greenlet.getcurrent().parent.switch(awaitable)

    async def spawn(function, *args):
        child = greenlet.greenlet(function, greenlet.getcurrent())
        value = child.switch(*args)
        while not child.dead:
            try:
                result = await value
            except BaseException as exc:
                value = child.throw(exc)
            else:
                value = child.switch(result)
        return value

    def synchronous(n):
        me = asyncio.current_task()
        first = await_only(impl.sleep(0, n))
        second = await_only(impl.sleep(0.0001, n + 1))
        third = await_only(asyncio.wait_for(impl.sleep(0, n + 2), 10))
        assert asyncio.current_task() is me
        with pytest.raises(ZeroDivisionError):
            await_only(failing())
        return first + second + third

    async def failing():
        await impl.sleep(0)
        1 / 0

    async def main():
        return await impl.gather(*(spawn(synchronous, n) for n in range(5)))

    assert loop.run_until_complete(main()) == [3 * n + 3 for n in range(5)]


def test_task_step_inside_a_greenlet(impl, loop):
    """A coroutine switches greenlets in the middle of its own step and comes back later in the same step."""
    greenlet = pytest.importorskip("greenlet", reason="greenlet is optional")
    order = []

    def other(parent):
        order.append("in")
        parent.switch()
        order.append("again")

    async def coro():
        child = greenlet.greenlet(other)
        child.switch(greenlet.getcurrent())
        order.append("out")
        await impl.sleep(0)
        child.switch(greenlet.getcurrent())
        return asyncio.current_task()

    task = impl.Task(coro(), loop=loop)
    assert loop.run_until_complete(task) is task
    assert order == ["in", "out", "again"]
