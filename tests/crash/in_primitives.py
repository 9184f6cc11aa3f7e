"""Programs that take away from a primitive what it goes by, while tasks wait in it: by attributes, in predicates, in finalizers."""

import asyncio
import contextlib
import functools
import gc

from .table import attempt, cases, new_loop, set_or_delete, turns

MAKERS = {
    "lock": lambda impl: impl.Lock(),
    "semaphore": lambda impl: impl.Semaphore(1),
    "bounded": lambda impl: impl.BoundedSemaphore(1),
    "event": lambda impl: impl.Event(),
    "condition": lambda impl: impl.Condition(),
    "barrier": lambda impl: impl.Barrier(3),
    "queue": lambda impl: impl.Queue(1),
    "priority": lambda impl: impl.PriorityQueue(1),
    "lifo": lambda impl: impl.LifoQueue(1),
}


class Hostile:
    """Whatever it is asked, it does something else first, some times."""

    def __init__(self, act, left=5):
        self.left = left
        self.act = act

    def acts(self):
        if self.left > 0:
            self.left -= 1
            attempt(self.act)

    def __getattr__(self, name):
        self.acts()
        raise AttributeError(name)

    def __iter__(self):
        self.acts()
        return iter([self])

    def __bool__(self):
        self.acts()
        return self.left > 0

    def __del__(self):
        self.acts()

    def done(self):
        self.acts()
        return False

    cancelled = done

    def set_result(self, result):
        self.acts()


def attributes(primitive):
    """The names of what asyncio has in an instance of that class."""
    stock = {
        "_loop",
        "_waiters",
        "_locked",
        "_value",
        "_bound_value",
        "_lock",
        "acquire",
        "release",
        "locked",
    }
    stock |= {
        "_cond",
        "_parties",
        "_state",
        "_count",
        "_maxsize",
        "_getters",
        "_putters",
        "_queue",
        "_finished",
    }
    return sorted(name for name in stock | {"_unfinished_tasks", "_is_shutdown"} if hasattr(primitive, name))


def coroutines(primitive):
    """Coroutines of it that may wait, and some that do not."""
    for name in ("acquire", "wait", "get", "join", "__aenter__", "reset", "abort"):
        if hasattr(primitive, name):
            yield getattr(primitive, name)()
    if hasattr(primitive, "put"):
        yield primitive.put(1)
        yield primitive.put(2)
    if hasattr(primitive, "wait_for"):
        yield inside(primitive, lambda: primitive.wait_for(lambda: False))
        yield inside(primitive, primitive.wait)


async def inside(condition, wait):
    async with condition:
        await wait()


def use(primitive):
    for name in ("release", "set", "clear", "notify_all", "get_nowait", "task_done", "locked", "qsize"):
        if hasattr(primitive, name):
            attempt(lambda name=name: getattr(primitive, name)())
    attempt(lambda: primitive.put_nowait(3))
    attempt(lambda: repr(primitive))


def values(loop, primitive):
    return {
        "deleted": None,
        "none": lambda: None,
        "number": lambda: 3,
        "list": lambda: [],
        "futures": lambda: [loop.create_future(), None],
        "hostile": lambda: Hostile(lambda: (use(primitive), gc.collect())),
        "itself": lambda: primitive,
        "closing": lambda: Hostile(loop.close),
    }


@cases("primitive", MAKERS)
def primitive(impl, make):
    """Each of its attributes becomes each of those values while tasks wait, and back to what it was."""
    with new_loop(impl) as probe:
        kinds = list(values(probe, None))
        names = attributes(make(impl))
    for name in names:
        for kind in kinds:
            with new_loop(impl) as loop:
                one = make(impl)
                tasks = [loop.create_task(coroutine) for coroutine in coroutines(one)]
                attempt(turns, loop, 2)
                before = getattr(one, name)
                set_or_delete(one, name, values(loop, one)[kind])
                attempt(use, one)
                attempt(turns, loop, 2)
                attempt(tasks[0].cancel)
                attempt(turns, loop, 2)
                attempt(setattr, one, name, before)
                attempt(use, one)
                attempt(turns, loop, 2)
                for task in tasks:
                    attempt(task.cancel)
                attempt(turns, loop, 4)
                del tasks
                gc.collect()


@cases("primitive_in_a_cycle", MAKERS)
def primitive_in_a_cycle(impl, make):
    """The collector finds primitives with who waits, and a finalizer resumes what it has cleared."""
    with new_loop(impl) as loop:
        one = make(impl)
        begun, new = [], list(coroutines(one))

        async def begin(one, begun):
            for coroutine in coroutines(one):
                attempt(coroutine.send, None)
                begun.append(coroutine)

        def resume(coroutines):
            for coroutine in coroutines:
                attempt(coroutine.send, None)
                attempt(coroutine.throw, KeyError())

        loop.run_until_complete(begin(one, begun))
        one.cycle = (one, begun, new)
        one.again = Hostile(functools.partial(resume, [*begun, *new]))
        del begun, new, one
        gc.collect()


ENDS = {
    "closes": lambda task, condition: task.get_coro().close(),
    "cancels": lambda task, condition: task.cancel(),
    "releases": lambda task, condition: condition.release(),
    "notifies": lambda task, condition: condition.notify_all(),
    "replaces": lambda task, condition: setattr(condition, "release", None),
    "collects": lambda task, condition: gc.collect(),
    "anew": lambda task, condition: condition.__init__(),
}


@cases("predicate", ENDS)
def predicate(impl, end):
    with new_loop(impl) as loop:
        condition = impl.Condition()

        def asked():
            attempt(end, task, condition)
            return False

        async def main():
            async with condition:
                await condition.wait_for(asked)

        task = loop.create_task(main())
        for _ in range(3):
            turns(loop, 2)
            attempt(condition._lock.acquire().send, None)
            attempt(condition.notify)
            attempt(condition._lock.release)
        task.cancel()
        turns(loop, 4)


@cases("as_completed", {"closed": "close", "collected": "collect", "anew": "anew"})
def as_completed(impl, action):
    """What it gives is awaited by hand, and what it waits for ends in the middle of it."""
    with new_loop(impl) as loop:

        async def main():
            futures = [loop.create_future() for _ in range(4)]
            futures[0].cycle = futures
            given = list(impl.as_completed(futures, timeout=0))
            for coroutine in given:
                attempt(coroutine.send, None)
            futures[1].set_result(None)
            futures[2].cancel()
            if action == "close":
                for coroutine in given[1:]:
                    coroutine.close()
            elif action == "collect":
                del futures, coroutine
                given.clear()
                gc.collect()
            else:
                for future in futures:
                    attempt(future.__init__, loop=loop)
            await asyncio.sleep(0.001)
            for coroutine in given:
                with contextlib.suppress(asyncio.CancelledError):  # 3.15 passes on what futures[2] has
                    attempt(coroutine.send, None)
                with contextlib.suppress(asyncio.CancelledError):
                    attempt(coroutine.throw, KeyError())

        loop.run_until_complete(main())
        gc.collect()
