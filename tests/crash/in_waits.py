"""Programs that work against timeouts, wait_for(), shield() and to_thread(): by attributes, by futures, by what is called."""

import asyncio
import concurrent.futures
import contextlib
import functools
import gc

from .in_primitives import Hostile
from .table import attempt, case, cases, new_loop, set_or_delete, turns

FIELDS = ("_state", "_when", "_task", "_timeout_handler", "_cancelling", "_on_timeout")


def values(loop, timeout):
    return {
        "deleted": None,
        "none": lambda: None,
        "number": lambda: -(2**70),
        "itself": lambda: timeout,
        "hostile": lambda: Hostile(lambda: (attempt(timeout.reschedule, 0), gc.collect())),
        "closing": lambda: Hostile(loop.close),
    }


@cases("timeout", {name.strip("_"): name for name in FIELDS})
def timeout(impl, name):
    """A field becomes each of those values in the middle, before the deadline and after it."""
    with new_loop(impl) as probe:
        kinds = list(values(probe, None))
    for kind in kinds:
        for late in (False, True):
            attempt(field_changes, impl, name, kind, late)


def field_changes(impl, name, kind, late):
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)

    async def main():
        one = impl.timeout(0 if late else 3600)
        with contextlib.suppress(TimeoutError):
            async with one:
                set_or_delete(one, name, values(loop, one)[kind])
                for use in (one.when, one.expired, lambda: one.reschedule(loop.time()), lambda: repr(one)):
                    attempt(use)
                await impl.sleep(0.001)
        attempt(one.reschedule, None)

    task = loop.create_task(main())
    attempt(turns, loop, 5)
    attempt(task.cancel)
    attempt(turns, loop, 3)
    attempt(loop.close)
    del task
    gc.collect()


ACTS = {
    "leaves": lambda one, task: one.__aexit__(None, None, None).send(None),
    "enters": lambda one, task: one.__aenter__().send(None),
    "expires": lambda one, task: one._on_timeout(),
    "reschedules": lambda one, task: one.reschedule(0),
    "begins_anew": lambda one, task: one.__init__(0),
    "ends_the_coroutine": lambda one, task: task.get_coro().close(),
    "steps_the_coroutine": lambda one, task: task.get_coro().send(None),
    "cancels": lambda one, task: task.cancel(),
    "uncancels": lambda one, task: task.uncancel(),
    "closes_the_loop": lambda one, task: task.get_loop().close(),
    "runs_a_turn": lambda one, task: (task.get_loop().call_soon(int), task.get_loop()._run_once()),
    "collects": lambda one, task: gc.collect(),
}
ANEW = {"makes_the_task_anew": lambda one, task: task.__init__(asyncio.sleep(0))}


@cases("timeout_and_what", ANEW, stock="a task crashes that is made anew within its own step")
@cases("timeout_and_what", ACTS)
def timeout_and_what(impl, act):
    """It acts within the block, in a finalizer, and as its task is cancelled."""
    if act in ANEW.values() and not impl.native_names:
        return  # stock tasks, as on asyncio
    with new_loop(impl) as loop:

        class Task(impl.Task):
            def cancel(self, msg=None):
                attempt(act, one[0], self)
                return super().cancel(msg)

        async def main(delay):
            one.append(impl.timeout(delay))
            with contextlib.suppress(TimeoutError):
                async with one[0]:
                    garbage = Hostile(functools.partial(act, one[0], asyncio.current_task()))
                    garbage.cycle = garbage
                    del garbage
                    gc.collect()
                    await impl.sleep(0.001)
                    attempt(act, one[0], asyncio.current_task())
                    await impl.sleep(0.001)

        one = []
        for delay in (0, -1, 0.0005, 3600, None):
            for kind in (impl.Task, Task):
                one.clear()
                task = attempt(kind, main(delay), loop=loop)
                attempt(turns, loop, 3)
                attempt(lambda task=task: task.cancel())
                attempt(turns, loop, 3)
                del task


@case
def timeout_is_driven_by_hand(impl):
    with new_loop(impl) as loop:

        async def main():
            for when in (None, 0, loop.time() + 3600, float("nan"), 10**400):
                one = attempt(impl.Timeout, when)
                for name in ("__aexit__", "__aenter__", "__aenter__", "__aexit__", "__aexit__"):
                    arguments = (None,) * 3 if name == "__aexit__" else ()
                    for wrong in (arguments, (1,) * 7, (ValueError, ValueError(), None)):
                        coroutine = attempt(lambda one=one, name=name, w=wrong: getattr(one, name)(*w))
                        for step in (
                            lambda c=coroutine: c.send(None),
                            lambda c=coroutine: c.send(None),
                            lambda c=coroutine: c.throw(KeyError()),
                            lambda c=coroutine: c.close(),
                        ):
                            attempt(step)
                del one

        attempt(loop.run_until_complete, main())
        unmade = impl.Timeout.__new__(impl.Timeout)
        for use in (
            unmade.when,
            unmade.expired,
            unmade._on_timeout,
            lambda: unmade.reschedule(1),
            lambda: repr(unmade),
        ):
            attempt(use)


class Awaitable:
    """Acts whenever it is asked for what it is."""

    def __init__(self, loop, act):
        self._loop, self.act, self.left = loop, act, 10
        self._asyncio_future_blocking = False

    def acts(self):
        if self.left > 0:
            self.left -= 1
            attempt(self.act)

    def __await__(self):
        self.acts()
        yield
        self.acts()
        return 1


class HostileFuture(Awaitable):
    def get_loop(self):
        self.acts()
        return self._loop

    def add_done_callback(self, callback, *, context=None):
        self.acts()
        attempt(callback, self)

    def remove_done_callback(self, callback):
        self.acts()
        return 10**30

    def done(self):
        self.acts()
        return self.left % 3 == 0

    def cancelled(self):
        self.acts()
        return self.left % 2 == 0

    def cancel(self, *args, **kwargs):
        self.acts()
        return "yes"

    def exception(self):
        self.acts()
        return ValueError()

    def result(self):
        self.acts()
        return self

    __iter__ = Awaitable.__await__


WAITS = {
    "wait_for": lambda impl, one: impl.wait_for(one, 0.0005),
    "wait_for_now": lambda impl, one: impl.wait_for(one, 0),
    "wait_for_ever": lambda impl, one: impl.wait_for(one, None),
    "shield": lambda impl, one: impl.shield(one),
    "shield_in_wait_for": lambda impl, one: impl.wait_for(impl.shield(one), 0.0005),
}


@cases("hostile_awaitable_in", WAITS, stock="a task crashes that is made anew within its own step")
def hostile_awaitable_in(impl, wait):
    for kind in (Awaitable, HostileFuture):
        for act in (
            lambda task, loop: task.cancel(),
            lambda task, loop: task.get_coro().close(),
            lambda task, loop: task.__init__(asyncio.sleep(0), loop=loop),
            lambda task, loop: loop.close(),
            lambda task, loop: gc.collect(),
            lambda task, loop: 1 / 0,
        ):
            loop = impl.new_event_loop()
            loop.set_exception_handler(lambda loop, context: None)
            tasks = []

            async def main(kind=kind, act=act, loop=loop, tasks=tasks):
                await wait(impl, kind(loop, lambda: act(tasks[0], loop)))

            tasks.append(loop.create_task(main()))
            for _ in range(4):
                attempt(turns, loop, 2)
            attempt(tasks[0].cancel)
            attempt(turns, loop, 3)
            attempt(loop.close)
            tasks.clear()
            gc.collect()


@cases("future_changes_in", WAITS)
def future_changes_in(impl, wait):
    """A future is made anew, forgotten or completed while who waits for it is cancelled, ends or is collected."""
    with new_loop(impl) as loop:

        async def main(future):
            await wait(impl, future)

        for change in (
            lambda future, task: future.__init__(loop=loop),
            lambda future, task: (future.set_result(1), future.__init__(loop=loop)),
            lambda future, task: (task.cancel(), future.cancel()),
            lambda future, task: (future.cancel(), task.get_coro().close()),
            lambda future, task: task.get_coro().throw(KeyError()),
            lambda future, task: future._callbacks.clear(),
            lambda future, task: [callback(future) for callback, _ in future._callbacks or ()],
        ):
            future = loop.create_future()
            task = loop.create_task(main(future))
            attempt(turns, loop, 2)
            attempt(change, future, task)
            attempt(turns, loop, 2)
            future.cycle = (future, task)
            del future, task
            gc.collect()
            attempt(turns, loop, 2)


@case
def executor_of_to_thread_acts(impl):
    """What submit() returns is nothing, done already, or a future that acts; and the loop ends within it."""

    class Executor(concurrent.futures.ThreadPoolExecutor):
        def submit(self, function, /, *args, **kwargs):
            return attempt(act, function)

    def done(function):
        future = concurrent.futures.Future()
        future.set_result(function())
        return future

    async def main():
        await impl.to_thread(len, "x")

    for act in (
        done,
        lambda function: None,
        lambda function: HostileFuture(asyncio.get_running_loop(), gc.collect),
        lambda function: concurrent.futures.Future(),
        lambda function: asyncio.get_running_loop().close(),
        lambda function: asyncio.current_task().cancel(),
    ):
        loop = impl.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        loop.set_default_executor(Executor())
        task = loop.create_task(main())
        attempt(turns, loop, 3)
        attempt(task.cancel)
        attempt(turns, loop, 3)
        attempt(loop.close)
