"""Programs that work against loop._ready, loop._scheduled and loop._selector while these are in use."""

import asyncio
import gc
import random
import selectors
import socket

from .table import attempt, cases, new_loop, turns


class Ends:
    """Does something at the end of its life, or when it is compared."""

    def __init__(self, act):
        self.act = act

    def __del__(self):
        attempt(self.act)

    def __eq__(self, other):
        attempt(self.act)
        return False


def busy(loop, impl):
    """Tasks, sleeps, gathers and callbacks in the queues."""

    async def child():
        await impl.sleep(0)
        await impl.sleep(0.0001)

    async def main():
        await impl.gather(*(impl.create_task(child()) for _ in range(3)), return_exceptions=True)
        await impl.wait([impl.create_task(child())], timeout=0.0001)

    loop.create_task(main())
    for _ in range(3):
        loop.call_soon(int)
        loop.call_later(0.0001, int)


def reorder(loop):
    attempt(loop._ready.rotate, random.randrange(9))
    attempt(loop._ready.reverse)
    attempt(lambda: loop._ready.append(loop._ready.popleft()))


ACTIONS = {
    "reorders": reorder,
    "clears": lambda loop: (loop._ready.clear(), loop._scheduled.clear()),
    "looks": lambda loop: (list(loop._ready), list(loop._scheduled)),
    "runs_twice": lambda loop: loop._ready.extend(list(loop._ready)[: max(0, 50 - len(loop._ready))]),
    "runs_by_hand": lambda loop: [attempt(handle._run) for handle in list(loop._ready)],
    "moves_timers": lambda loop: [
        (loop._scheduled.remove(timer), loop._ready.append(timer), loop._scheduled.append(timer))
        for timer in list(loop._scheduled)
    ],
    "cancels": lambda loop: [handle.cancel() for handle in (*loop._ready, *loop._scheduled)],
    "inserts": lambda loop: [
        attempt(loop._ready.insert, place, asyncio.Handle(int, (), loop))
        for place in (-(2**63), -1, 0, 1, 2**63 - 1)
    ],
    "sets": lambda loop: [
        attempt(loop._ready.__setitem__, place, loop._ready[-1]) for place in (-9, -1, 0, 2, 2**40)
    ],
    "deletes": lambda loop: [
        attempt(loop._ready.__delitem__, place) for place in (2**40, -1, 0, 0, -(2**63))
    ],
    "makes_anew": lambda loop: (attempt(loop._ready.__init__, loop), attempt(loop._ready.__init__, 1)),
    "closes_the_core": lambda loop: getattr(loop, "_close", int)(),
    "collects": lambda loop: gc.collect(),
}


@cases("queues", ACTIONS, stock="asyncio's queues run empty in the middle of a turn")
def queues(impl, action):
    """From a callback, from the end of what is queued, and from comparisons."""
    with new_loop(impl) as loop:
        act = lambda: action(loop)  # noqa: E731
        for _ in range(3):
            attempt(busy, loop, impl)
            attempt(turns, loop, 1)
            attempt(loop.call_soon, attempt, act)
            attempt(loop.call_soon, lambda ends: None, Ends(act))
            attempt(lambda: loop._ready.append(loop.call_soon(int, Ends(act))))
            attempt(loop._ready.count, Ends(act))
            attempt(loop._ready.index, Ends(act))
            attempt(loop._ready.remove, Ends(act))
            attempt(loop._scheduled.remove, Ends(act))
            attempt(lambda: [act() for _ in loop._ready])
            attempt(lambda: [act() for _ in loop._scheduled])
            attempt(act)
            attempt(turns, loop, 3)


VIEWS = {
    "ready": "ReadyQueue",
    "timers": "TimerQueue",
}


@cases("view", VIEWS, stock="asyncio has none")
def view(impl, name):
    """A view that was never initialised, or of a loop that was not, or is gone."""
    from asyncio_c import _core

    class Core(_core.Loop):
        pass

    kind = getattr(_core, name)
    for made in (kind.__new__(kind), kind(Core()), kind(Core.__new__(Core))):
        gc.collect()
        attempt(len, made)
        attempt(made.clear)
        for method in (
            "insert",
            "_add",
            "_remove",
            "_sorted",
            "_version",
            "__getitem__",
            "__delitem__",
            "__setitem__",
        ):
            for arguments in (
                (),
                (0,),
                (0, 1),
                (0, asyncio.Handle(int, (), asyncio.new_event_loop())),
                (2**64,),
            ):
                attempt(lambda *arguments, name=method: getattr(made, name)(*arguments), *arguments)


SELECTORS = {
    "closes_the_core": lambda loop, timeout: getattr(loop, "_close", int)(),
    "returns_nonsense": lambda loop, timeout: [1, None],
    "returns_nothing": lambda loop, timeout: None,
    "clears": lambda loop, timeout: (loop._ready.clear(), loop._scheduled.clear()) and [],
    "runs_the_loop": lambda loop, timeout: attempt(loop.run_forever) and [],
    "forgets_all": lambda loop, timeout: (
        [loop._selector.unregister(key.fd) for key in [*loop._selector.get_map().values()]] and []
    ),
    "takes_the_selector_away": lambda loop, timeout: setattr(loop, "_selector", None) or [],
    "gives_another": lambda loop, timeout: setattr(loop, "_selector", selectors.SelectSelector()) or [],
}


@cases("select", SELECTORS, stock="select() that takes something away leaves asyncio without it, too")
def select(impl, action):
    """A select() that works against the loop, put in place in the middle of a run, with readers and sock_recv()."""
    with new_loop(impl) as loop:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        calls = []

        def replaced(timeout=None):
            calls.append(timeout)
            if len(calls) > 50:
                raise KeyError
            return action(loop, timeout)

        async def main():
            receiving = loop.create_task(loop.sock_recv(ours, 10))
            await impl.sleep(0)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=theirs)
            loop._selector.select = replaced
            transport.write(b"x" * 100_000)
            await impl.sleep(0)
            await impl.sleep(0.0001)
            receiving.cancel()

        loop.create_task(main())
        for _ in range(20):
            attempt(turns, loop, 1)
        ours.close()
        if loop._selector is None and not loop.is_closed():
            loop._selector = selectors.SelectSelector()  # which close() asks
