"""wrapt and aspectlib: wrappers around functions of asyncio, and around methods of its loop."""

import asyncio
import inspect

import aspectlib
import common
import wrapt

FUNCTIONS = ["sleep", "wait_for", "wait", "gather", "shield", "create_task", "timeout"]
METHODS = [
    "create_task",
    "create_future",
    "call_later",
    "call_at",
    "call_soon",
    "call_soon_threadsafe",
    "time",
]
OF_CLASSES = [
    (asyncio.Lock, "acquire"),
    (asyncio.Queue, "put"),
    (asyncio.Event, "wait"),
    (asyncio.TaskGroup, "create_task"),
    (asyncio.Timeout, "reschedule"),
    (asyncio.Lock, "release"),
    (asyncio.Queue, "get_nowait"),
    (asyncio.Event, "set"),
]


async def use_everything():
    async def coroutine():
        await asyncio.sleep(0.001)

    loop = asyncio.get_running_loop()
    await asyncio.wait_for(coroutine(), 10)
    await asyncio.wait([asyncio.create_task(coroutine())])
    await asyncio.gather(asyncio.shield(coroutine()), loop.run_in_executor(None, int))
    async with asyncio.timeout(10) as timeout, asyncio.TaskGroup() as group:
        group.create_task(coroutine())
        timeout.reschedule(loop.time() + 10)
    lock, queue, event = asyncio.Lock(), asyncio.Queue(), asyncio.Event()
    await lock.acquire()
    lock.release()
    await queue.put(1)
    assert queue.get_nowait() == 1
    event.set()
    await event.wait()
    loop.call_at(loop.time(), int).cancel()
    loop.call_at(loop.time(), int).cancel()


def by_wrapt(calls):
    """Wrap all, and return what takes the wrappers away."""

    def wrapper(wrapped, instance, args, kwargs):
        calls.add(wrapped.__name__)
        return wrapped(*args, **kwargs)

    wrapped = [(asyncio, name) for name in FUNCTIONS] + OF_CLASSES
    wrapped += [(asyncio.BaseEventLoop, name) for name in METHODS]
    originals = [(owner, name, inspect.getattr_static(owner, name)) for owner, name in wrapped]
    inherited = [name not in vars(owner) for owner, name, _ in originals]
    for owner, name in wrapped:
        before = getattr(owner, name)
        wrapt.wrap_function_wrapper(owner, name, wrapper)
        after = getattr(owner, name)
        assert after.__wrapped__ is before or after.__wrapped__ == before
        assert inspect.signature(after) == inspect.signature(before)
        assert inspect.iscoroutinefunction(after) == inspect.iscoroutinefunction(before)

    def undo():
        for (owner, name, original), was_inherited in zip(originals, inherited, strict=True):
            delattr(owner, name) if was_inherited else setattr(owner, name, original)

    return {name for _, name in wrapped}, undo


def by_aspectlib(calls):
    """The same, by advice for the functions and methods that are no coroutine functions."""

    @aspectlib.Aspect(bind=True)
    def advice(cutpoint, *args, **kwargs):
        calls.add(cutpoint.__name__)
        yield aspectlib.Proceed

    names = ["gather", "shield", "create_task", "timeout"]
    woven = [aspectlib.weave(asyncio, advice, methods=f"^{name}$") for name in names]
    woven += [aspectlib.weave(asyncio.BaseEventLoop, advice, methods=f"^{name}$") for name in METHODS]

    def undo():
        for entanglement in reversed(woven):
            entanglement.rollback()

    return {*names, *METHODS}, undo


async def main():
    for wrap in (by_wrapt, by_aspectlib):
        calls = set()
        names, undo = wrap(calls)
        await asyncio.sleep(0)
        await use_everything()
        undo()
        assert calls == names, (wrap, names - calls)
        calls.clear()
        await asyncio.sleep(0)
        await use_everything()
        assert not calls, calls
    await asyncio.get_running_loop().shutdown_default_executor()


common.run(main)
