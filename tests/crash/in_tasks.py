"""Tasks and coroutines that work against those who run them."""

import asyncio
import gc
import itertools
import os
import socket
import sys
import types

from .table import attempt, case, cases, new_loop, turns


@case
def task_deletes_itself(impl):
    with new_loop(impl) as loop:
        tasks = []

        async def main():
            tasks.clear()
            gc.collect()
            await impl.sleep(0)
            gc.collect()

        tasks.append(loop.create_task(main()))
        turns(loop)


@case
def task_cancels_itself(impl):
    with new_loop(impl) as loop:

        async def main():
            for _ in range(100):
                asyncio.current_task().cancel()
            await impl.sleep(0)

        task = loop.create_task(main())
        turns(loop)
        assert task.cancelled()


@case
def task_steps_itself(impl):
    with new_loop(impl) as loop:

        async def main():
            coro = asyncio.current_task().get_coro()
            for method in (coro.send, coro.throw):
                attempt(method, None)
            attempt(coro.close)
            await impl.sleep(0)
            return 1

        assert loop.run_until_complete(main()) == 1


@case
def coroutine_is_stepped_by_others(impl):
    with new_loop(impl) as loop:

        async def main():
            await impl.sleep(3600)

        coro = main()
        loop.create_task(coro)
        turns(loop, 2)
        attempt(coro.send, None)
        attempt(coro.throw, ValueError())
        attempt(coro.close)
        turns(loop, 2)


@case
def coroutine_of_two_tasks(impl):
    with new_loop(impl) as loop:
        coro = impl.sleep(0)
        tasks = [loop.create_task(coro) for _ in range(3)]
        turns(loop)
        assert sum(attempt(task.result) is None for task in tasks) == 1


class Yields:
    """An awaitable that yields what it was given."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield self.value


class Half:
    """Half of a future."""

    _asyncio_future_blocking = True


class Blocking(Half):
    def __getattr__(self, name):
        raise ZeroDivisionError


class LoopOnly(Half):
    def get_loop(self):
        return asyncio.get_running_loop()

    def add_done_callback(self, callback, *, context=None):
        gc.collect()
        callback(self)
        callback(self)


YIELDED = {
    "number": 5,
    "none": None,
    "string": "x",
    "half_of_a_future": Half(),
    "a_future_that_raises": Blocking(),
    "a_future_that_calls_twice": LoopOnly(),
    "generator": (x for x in ()),
}


@cases("task_yields", YIELDED)
def task_yields(impl, value):
    async def main():
        await Yields(value)

    with new_loop(impl) as loop:
        task = loop.create_task(main())
        turns(loop)
        if not task.done():
            task.cancel()
            turns(loop)
        attempt(task.exception)


@case
def task_awaits_itself(impl):
    with new_loop(impl) as loop:

        async def main():
            await asyncio.current_task()

        task = loop.create_task(main())
        turns(loop)
        assert isinstance(task.exception(), RuntimeError)


@case
def tasks_await_each_other(impl):
    """A circle that nothing can end but a cancellation, which recurses."""
    with new_loop(impl) as loop:
        tasks = []

        async def main(other):
            await tasks[other]

        tasks += [loop.create_task(main(1)), loop.create_task(main(0))]
        turns(loop)
        attempt(tasks[0].cancel)
        turns(loop)
        tasks.clear()
        loop.close()
        gc.collect()


COROUTINES = {
    "number": 5,
    "generator": (x for x in ()),
    "class": int,
    "none": None,
    "future": Half(),
}


@cases("task_of_a", COROUTINES)
def task_of_a(impl, coro):
    with new_loop(impl) as loop:
        attempt(impl.Task, coro, loop=loop)  # up to Python 3.11 a generator is a coroutine
        attempt(loop.create_task, coro)
        attempt(loop.run_until_complete, coro)
        turns(loop)


@case
def coroutine_from_python(impl):
    """A coroutine by registration, whose methods do the unexpected."""
    import collections.abc

    class Coroutine(collections.abc.Coroutine):
        def __init__(self, answer):
            self.answer = answer

        def send(self, value):
            if isinstance(self.answer, BaseException):
                raise self.answer
            return self.answer

        throw = send
        close = __await__ = lambda self: None

    with new_loop(impl) as loop:
        for answer in (1, None, StopIteration(5), StopIteration(StopIteration()), ValueError(), loop):
            task = loop.create_task(Coroutine(answer))
            turns(loop, 3)
            task.cancel()
            turns(loop, 3)
            attempt(task.result)


@case
def task_is_initialized_again(impl):
    with new_loop(impl) as loop:

        async def main():
            await impl.sleep(0)

        task = impl.Task(main(), loop=loop)
        turns(loop, 1)
        coro = main()
        attempt(task.__init__, coro, loop=loop)
        turns(loop)
        coro.close()


@case
def task_fields_are_overwritten(impl):
    with new_loop(impl) as loop:

        async def main():
            await impl.sleep(0)

        task = loop.create_task(main())
        turns(loop, 1)
        for name in dir(task):
            if not name.startswith("__"):
                attempt(setattr, task, name, None)
                attempt(delattr, task, name)
        gc.collect()
        attempt(turns, loop)


@case
def task_factory_misbehaves(impl):
    with new_loop(impl) as loop:
        coros = []
        for answer in (None, 5, loop):
            loop.set_task_factory(lambda loop, coro, answer=answer, **kwargs: coros.append(coro) or answer)
            attempt(loop.run_until_complete, asyncio.sleep(0))
        loop.set_task_factory(lambda loop, coro, **kwargs: loop.create_task(coro))
        coros.append(asyncio.sleep(0))
        assert isinstance(attempt(loop.create_task, coros[-1]), RecursionError)
        loop.set_task_factory(None)
        for coro in coros:
            coro.close()


@case
def everything_with_a_collection_at_each_allocation(impl):
    gc.set_threshold(1, 1, 1)
    with new_loop(impl) as loop:

        async def child(n):
            await impl.sleep(0 if n % 2 else 0.0001)
            if n % 3 == 0:
                raise ValueError
            return n

        async def main():
            tasks = [loop.create_task(child(n)) for n in range(12)]
            await impl.gather(*tasks, return_exceptions=True)
            await impl.wait([loop.create_task(child(n)) for n in range(12)])
            queue = asyncio.Queue(2)
            for n in range(2):
                await queue.put(n)
            await asyncio.wait_for(queue.get(), 1)
            condition, barrier, met = impl.Condition(), impl.Barrier(3), []

            async def meet(n):
                async with condition:
                    met.append(n)
                    condition.notify_all()
                    await condition.wait_for(lambda: len(met) == 3)
                return await barrier.wait()

            for awaitable in impl.as_completed([meet(n) for n in range(3)], timeout=60):
                await awaitable
            await impl.to_thread(int, "5", base=10)
            with open("/dev/null") as file:
                await loop.run_in_executor(None, file.read)
            async with asyncio.timeout(1):
                await impl.sleep(0)
            with_cycle = loop.create_future()
            with_cycle.me = with_cycle
            with_cycle.set_exception(ValueError())

        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())


@case
def collected_in_every_state(impl):
    with new_loop(impl) as loop:

        async def waits(future):
            await future

        async def never():
            await loop.create_future()

        async def gathers():
            await impl.gather(never(), never())

        async def waits_for():
            await impl.wait([loop.create_task(never())])

        for make in (
            never,
            gathers,
            waits_for,
            lambda: waits(loop.create_future()),
            lambda: impl.sleep(3600),
        ):
            for count in range(4):
                loop.create_task(make())
                turns(loop, count)
                gc.collect()


# ---- Depth ----

# More calls than a C stack of 8 MiB has room for.
DEEP = 60_000


@case
def chain_of_results(impl):
    with new_loop(impl) as loop:
        future = None
        for _ in range(DEEP):
            outer = impl.Future(loop=loop)
            outer.set_result(future)
            future = outer
        del future, outer


@case
def chain_of_callbacks(impl):
    with new_loop(impl) as loop:
        future = impl.Future(loop=loop)
        for _ in range(DEEP):
            inner = impl.Future(loop=loop)
            inner.add_done_callback(future.set_result)
            future = inner
        del future, inner


@case
def chain_of_waiting_tasks(impl):
    with new_loop(impl) as loop:

        async def waits(other):
            await other

        task = loop.create_future()
        for _ in range(DEEP):
            task = loop.create_task(waits(task))
        turns(loop, 1)
        loop.set_exception_handler(lambda loop, context: None)
        del task
        loop.close()
        gc.collect()


@case
def chain_of_waiting_tasks_is_cancelled(impl):
    with new_loop(impl) as loop:

        async def waits(other):
            await other

        first = task = loop.create_future()
        tasks = [task]
        for _ in range(DEEP):
            task = loop.create_task(waits(task))
            tasks.append(task)
        turns(loop, 1)
        attempt(task.cancel)
        first.cancel()
        for _ in range(DEEP + 10):
            if tasks[-1].done():
                break
            turns(loop, 1)
        assert tasks[-1].cancelled()


@case
def gather_of_gathers_is_cancelled(impl):
    with new_loop(impl) as loop:
        first = outer = loop.create_future()
        futures = [outer]
        for _ in range(DEEP // 10):

            async def gather(outer):
                return impl.gather(outer, return_exceptions=True)

            outer = loop.run_until_complete(gather(outer))
            futures.append(outer)
        attempt(outer.cancel)
        first.cancel()
        turns(loop, 5)
        while futures:
            futures.pop()


@case
def recursion_in_steps(impl):
    """A coroutine that awaits a coroutine that awaits ..."""

    async def deeper():
        await deeper()

    with new_loop(impl) as loop:
        assert isinstance(attempt(loop.run_until_complete, deeper()), RecursionError)


@case
def recursion_at_the_limit(impl):
    """Every operation, with no recursion left."""
    with new_loop(impl) as loop:

        def deepest(action):
            try:
                deepest(action)
            except RecursionError:
                attempt(action)

        async def main():
            loop.call_soon(deepest, lambda: loop.call_soon(int))
            future = loop.create_future()
            for action in (
                lambda: loop.create_task(asyncio.sleep(0)),
                lambda: loop.call_later(0, int),
                lambda: impl.sleep(1).close(),
                lambda: future.add_done_callback(int),
                lambda: future.set_result(1),
                lambda: asyncio.current_task(),
                lambda: asyncio.all_tasks(),
                lambda: repr(loop.create_future()),
            ):
                deepest(action)
            await impl.sleep(0)

        loop.run_until_complete(main())
        turns(loop)


@case
def eager_recursion(impl):
    if not hasattr(asyncio, "eager_task_factory"):
        return
    with new_loop(impl) as loop:
        loop.set_task_factory(asyncio.eager_task_factory)

        async def child():
            await loop.create_task(child())

        sys.setrecursionlimit(200)
        attempt(loop.run_until_complete, child())


@case
def stepped_after_its_loop_is_closed(impl):
    loop = impl.new_event_loop()

    async def main():
        await impl.sleep(3600)

    task = loop.create_task(main())
    turns(loop, 2)
    waiter = task._fut_waiter
    loop.close()
    attempt(waiter.set_result, None)
    attempt(task.cancel)
    attempt(task.get_coro().close)
    del task, waiter
    gc.collect()


# ---- Objects that were never made ----


def public_types(impl):
    if not impl.native_loop:
        return [asyncio.Future, asyncio.Task]
    from asyncio_c import _core

    names = [getattr(_core, name) for name in dir(_core)]
    types_of_module = [thing for thing in names if isinstance(thing, type)]
    loop = impl.new_event_loop()
    made = [loop.call_soon(int), loop.call_later(1, int), iter(loop.create_future())]
    sleeper = impl.sleep(0)
    made.append(sleeper)
    sleeper.close()
    loop.close()
    return list({*types_of_module, *map(type, made), impl.Loop})


NOT_TRIED = {"__class__", "__new__", "__init__", "__del__", "run_forever", "_run", "_run_once"}


@case(stock="crashes on a Task without __init__")
def never_initialized(impl):
    """What `__new__` gives, without `__init__`: each attribute, each method with all sorts of arguments."""
    tried = 0
    for cls in public_types(impl):
        for name in dir(cls):
            thing = attempt(cls.__new__, cls)
            if isinstance(thing, Exception) or name in NOT_TRIED:
                continue
            tried += 1
            attribute = attempt(getattr, thing, name)
            attempt(setattr, thing, name, 5)
            attempt(delattr, thing, name)
            if isinstance(attribute, (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)):
                for args in ((), (None,), (5,), (b"x",), (int,), (1, int), (None, None, None), (thing,)):
                    result = attempt(attribute, *args)
                    if hasattr(result, "close"):
                        attempt(result.close)
            attempt(repr, thing)
            del thing, attribute
    gc.collect()
    assert tried > 40


@case
def task_makes_itself_anew_in_vain(impl):
    """__init__() of a task that runs, with what is no coroutine."""
    with new_loop(impl) as loop:

        async def main():
            attempt(task.__init__, 2)
            await impl.sleep(0)

        task = loop.create_task(main())
        turns(loop)


@case
def task_in_the_queue_is_made_anew_in_vain(impl):
    """__init__() of a task whose step is queued, with what is no coroutine, and with what is no loop."""
    with new_loop(impl) as loop:

        async def main():
            await impl.sleep(0)

        for _ in range(3):
            task = loop.create_task(main())
            attempt(task.__init__, 2, loop=loop)
            turns(loop, 1)
            attempt(task.__init__, main(), loop=2)
            attempt(repr, task)
            turns(loop)


def remove_readers(loop, ours):
    attempt(loop.remove_reader, ours)
    attempt(loop.remove_writer, ours)


COLLECTED = {
    "removes_readers": remove_readers,
    "replaces_readers": lambda loop, ours: (loop.add_reader(ours, int), loop.add_writer(ours, int)),
    "cancels_tasks": lambda loop, ours: [task.cancel() for task in asyncio.all_tasks(loop)],
    "cancels_handles": lambda loop, ours: [handle.cancel() for handle in (*loop._ready, *loop._scheduled)],
    "looks_at_queues": lambda loop, ours: repr((loop._ready, loop._scheduled)),
    "closes_the_socket": lambda loop, ours: ours.close(),
    "aborts_transports": lambda loop, ours: [one.abort() for one in list(loop._transports.values())],
    "loses_connections": lambda loop, ours: [
        one._call_connection_lost(None) for one in list(loop._transports.values())
    ],
    "closes_the_core_of_the_loop": lambda loop, ours: getattr(loop, "_close", int)(),
    "sends_and_receives": lambda loop, ours: [one.write(b"x" * 1000) for one in loop._transports.values()],
}


def some_of_everything(impl, loop, ours, theirs):
    """Sockets, transports, sleeps and futures in all their states, in a few turns."""

    async def receive():
        for _ in range(2):
            attempt(theirs.send, b"x")
            await loop.sock_recv(ours, 1)
            await loop.sock_sendall(ours, b"y")

    async def connect():
        left, right = socket.socketpair()
        with right:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
            udp = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
            transport.write(b"x" * 1000)
            attempt(right.send, b"x")
            attempt(udp[0].sendto, b"x", ("127.0.0.1", 9))
            await impl.sleep(0)

    async def wait():
        await impl.sleep(0.0001)
        await impl.gather(impl.sleep(0), impl.sleep(0), return_exceptions=True)
        await impl.wait([loop.create_task(impl.sleep(0))])

    for make in (receive, connect, wait):
        attempt(loop.create_task, attempt(make))
    for _ in range(8):
        loop.stop()
        attempt(loop.run_forever)
        attempt(getattr, loop, "_ready")
        attempt(getattr, loop, "_scheduled")


@cases(
    "collection", COLLECTED, stock="what asyncio has half done when it is interrupted so is not made up for"
)
def collection(impl, action):
    """Any allocation of an object, on Python 3.11, or any step of the interpreter, may collect garbage, which may act."""
    for number in range(300):
        loop = impl.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        loop.set_debug(number % 32 == 0)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        collections = itertools.count()

        def collected(phase, info):
            if phase == "stop" and next(collections) == number:
                attempt(action, loop, ours)

        gc.callbacks.append(collected)
        gc.set_threshold(1, 1000, 1000)
        some_of_everything(impl, loop, ours, theirs)
        gc.set_threshold(700, 10, 10)
        gc.callbacks.clear()
        attempt(loop.close)
        ours.close()
        theirs.close()
    os._exit(0)


def vandal(group, what):
    """Do something to a group that waits for its tasks."""
    names = [name for name in vars(asyncio.TaskGroup()) if name.startswith("_")]
    if what == "anew":
        group.__init__()
    elif what == "lost":
        for name in names:
            attempt(delattr, group, name)
    elif what == "nonsense":
        for name in names:
            attempt(setattr, group, name, 17)
    elif what == "swapped":
        group._tasks, group._errors = [], set()
    elif what == "woken":
        group._on_completed_fut.set_result(None)
    elif what == "left":
        leaving = group.__aexit__(None, None, None)
        attempt(leaving.send, None)
        attempt(leaving.throw, asyncio.CancelledError())
        attempt(leaving.close)


@cases(
    "group_is_vandalised", {what: what for what in ["anew", "lost", "nonsense", "swapped", "woken", "left"]}
)
def group_is_vandalised(impl, what):
    with new_loop(impl) as loop:

        async def child(group, fails):
            await impl.sleep(0)
            vandal(group, what)
            gc.collect()
            if fails:
                raise ValueError
            await impl.sleep(0)

        async def main(fails):
            async with impl.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(child(group, fails))

        tasks = [loop.create_task(main(fails)) for fails in (False, True)]
        turns(loop, 20)
        for task in tasks:
            task.cancel()
        turns(loop, 20)


@case
def group_is_freed_by_its_own_tasks(impl):
    with new_loop(impl) as loop:
        groups = []

        async def child():
            groups.clear()
            gc.collect()

        async def main():
            groups.append(impl.TaskGroup())
            await groups[0].__aenter__()
            for _ in range(3):
                groups[0].create_task(child())
            await impl.sleep(0)
            gc.collect()

        loop.create_task(main())
        turns(loop, 10)


@case
def group_aborts_tasks_that_change_its_set(impl):
    with new_loop(impl) as loop:

        async def main():
            async with impl.TaskGroup() as group:
                task = loop.create_future()
                task.cancel = lambda: group._tasks.clear()
                group._tasks.add(task)
                group.create_task(impl.sleep(3600))
                raise ValueError

        task = loop.create_task(main())
        turns(loop, 10)
        task.cancel()
        turns(loop, 10)
