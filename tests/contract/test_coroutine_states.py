"""What inspect tells of each of asyncio's awaitables, before it begins, while it waits and when it has ended.

Debuggers, tracers and frameworks that drive coroutines themselves ask inspect.getcoroutinestate().
"""

import asyncio
import inspect
import types

import pytest

KINDS = {
    "sleep": lambda impl, has: impl.sleep(1),
    "sleep(0)": lambda impl, has: impl.sleep(0),
    "wait": lambda impl, has: impl.wait([has.task]),
    "wait_for": lambda impl, has: impl.wait_for(has.loop.create_future(), 5),
    "gather": lambda impl, has: impl.gather(has.task),
    "shield": lambda impl, has: impl.shield(has.task),
    "timeout entered": lambda impl, has: impl.timeout(5).__aenter__(),
    "lock": lambda impl, has: has.lock.acquire(),
    "lock entered": lambda impl, has: has.lock.__aenter__(),
    "lock left": lambda impl, has: has.lock.__aexit__(None, None, None),
    "semaphore": lambda impl, has: has.semaphore.acquire(),
    "condition": lambda impl, has: has.condition.acquire(),
    "condition entered": lambda impl, has: has.condition.__aenter__(),
    "condition waited for": lambda impl, has: impl.Condition(has.lock).wait(),
    "predicate": lambda impl, has: impl.Condition(has.lock).wait_for(lambda: False),
    "barrier": lambda impl, has: impl.Barrier(2).wait(),
    "read": lambda impl, has: has.reader.read(10),
    "readline": lambda impl, has: has.reader.readline(),
    "readexactly": lambda impl, has: has.reader.readexactly(10),
    "readuntil": lambda impl, has: has.reader.readuntil(b"x"),
    "event": lambda impl, has: has.event.wait(),
    "get": lambda impl, has: has.queue.get(),
    "put": lambda impl, has: has.full.put(1),
    "join": lambda impl, has: has.full.join(),
    "sock_recv": lambda impl, has: has.loop.sock_recv(has.sock, 10),
    "sock_sendall": lambda impl, has: has.loop.sock_sendall(has.sock, b"x"),
}


async def forever(loop):
    await loop.create_future()


async def states(impl, sock, kind):
    has = types.SimpleNamespace()  # what there is to wait for, and nothing of it will come
    has.loop, has.sock = asyncio.get_running_loop(), sock
    has.task = has.loop.create_task(forever(has.loop))
    has.lock, has.semaphore, has.event = impl.Lock(), impl.Semaphore(1), impl.Event()
    has.queue, has.full = impl.Queue(), impl.Queue(1)
    has.condition, has.reader = impl.Condition(), asyncio.StreamReader()
    await has.lock.acquire()
    await has.semaphore.acquire()
    await has.full.put(0)
    made = KINDS[kind](impl, has)
    seen = [inspect.isawaitable(made), inspect.iscoroutine(made), asyncio.iscoroutine(made)]
    if seen[2]:
        seen += [made.__name__, made.__qualname__, inspect.getcoroutinestate(made)]
        try:
            made.send(None)
        except StopIteration as end:
            seen.append(type(end.value).__name__)
        seen.append(inspect.getcoroutinestate(made))
        made.close()
        seen.append(inspect.getcoroutinestate(made))
    else:
        made.cancel()
        with pytest.raises(asyncio.CancelledError):
            await made
    has.task.cancel()
    await asyncio.sleep(0)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_states(ours, stock, pair, kind):
    expected = stock.run(states(stock, pair[0], kind))
    assert expected[0]
    assert ours.run(states(ours, pair[0], kind)) == expected


async def noting(made, noted):
    """Wait; on the way out note what `made`, the coroutine that awaits this one, says of itself, and what it lets be done."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        noted += [inspect.getcoroutinestate(made[0]), made[0].cr_running]
        for again in (made[0].close, lambda: made[0].send(None), lambda: made[0].throw(KeyError)):
            with pytest.raises(ValueError) as refused:
                again()
            noted.append(str(refused.value))


async def states_while_closing(impl):
    made, noted = [], []
    made.append(impl.wait_for(noting(made, noted), None))
    made[0].send(None)
    noted += [made[0].close(), inspect.getcoroutinestate(made[0]), made[0].close()]
    for again in (lambda: made[0].send(None), lambda: made[0].throw(KeyError)):
        with pytest.raises(RuntimeError) as refused:
            again()
        noted.append(str(refused.value))
    return noted


def test_states_while_what_it_awaits_is_closed(ours, stock):
    expected = stock.run(states_while_closing(stock))
    assert expected[:2] == ["CORO_RUNNING", True]
    assert ours.run(states_while_closing(ours)) == expected
