"""Locks, events, conditions, semaphores, barriers and queues: asyncio's, with their state and their everyday methods in C.

The C type comes first in the order of inheritance. Representation, rare methods and all errors are asyncio's, as this Python
does them. asyncio's PriorityQueue comes before our Queue, so that a wrapper that somebody puts into that, such as one of
_get(), is none of PriorityQueue, which has its own.
"""

from __future__ import annotations

from asyncio import locks, queues
from typing import Any

from . import _core


class _Primitive:
    """What asyncio's classes have from object, as it is for an object whose state is not in its __dict__."""

    _module = "asyncio.locks"
    _attributes: tuple[str, ...] = ()  # beside what is in __dict__

    def __repr__(self) -> str:
        # The beginning of what asyncio's __repr__() returns; a class derived from ours has its own name.
        return super().__repr__().replace(f"<{__name__}.", f"<{self._module}.", 1)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._attributes if hasattr(self, name)}
        if self._loop is not None:  # type: ignore[attr-defined]
            state["_loop"] = self._loop  # type: ignore[attr-defined]
        return {**state, **self.__dict__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Lock(_core.Lock, locks.Lock, _Primitive):
    """A lock for tasks, given to them in the order in which they asked.

    Mirrors asyncio.Lock ("Synchronization Primitives").
    """

    _attributes = ("_waiters", "_locked")


class Event(_core.Event, locks.Event, _Primitive):
    """A flag for whose being set tasks can wait.

    Mirrors asyncio.Event ("Synchronization Primitives").
    """

    _attributes = ("_waiters", "_value")


class Condition(_core.Condition, locks.Condition, _Primitive):
    """A lock under which tasks wait until another one, which has it, notifies them.

    Mirrors asyncio.Condition ("Synchronization Primitives").
    """

    _attributes = ("_lock", "_waiters")
    _exported = ("locked", "acquire", "release")  # set on each instance, as asyncio does

    def __getstate__(self) -> dict[str, Any]:
        # Without the methods of its lock: a deep copy has a lock of its own, but would keep a method in C as it is.
        state = super().__getstate__()
        lock = state.get("_lock")
        return {
            name: value
            for name, value in state.items()
            if name not in self._exported or value != getattr(lock, name, None)
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        exported = {name: getattr(state["_lock"], name) for name in self._exported if "_lock" in state}
        super().__setstate__({**exported, **state})


class Barrier(_core.Barrier, locks.Barrier, _Primitive):  # type: ignore[misc]
    """A place where tasks wait for each other until as many are there as it has parties.

    Mirrors asyncio.Barrier ("Synchronization Primitives"). ValueError if parties is less than 1.
    """

    _attributes = ("_cond", "_parties", "_state", "_count")


class Semaphore(_core.Semaphore, locks.Semaphore, _Primitive):
    """A counter that acquire() takes from, and release() adds to; whoever would take the last but one waits.

    Mirrors asyncio.Semaphore ("Synchronization Primitives"). ValueError if value is negative.
    """

    _attributes: tuple[str, ...] = ("_waiters", "_value")


class BoundedSemaphore(_core.BoundedSemaphore, Semaphore, locks.BoundedSemaphore):
    """A semaphore that refuses to have more than at the beginning.

    Mirrors asyncio.BoundedSemaphore ("Synchronization Primitives"). release() raises ValueError then.
    """

    _attributes = ("_bound_value", "_waiters", "_value")


class Queue(_core.Queue, queues.Queue, _Primitive):  # type: ignore[type-arg]
    """A queue of at most maxsize items, first in, first out; a maxsize of 0 or less is no limit.

    Mirrors asyncio.Queue ("Queues").
    """

    _module = "asyncio.queues"
    _attributes = (
        "_maxsize",
        "_getters",
        "_putters",
        "_unfinished_tasks",
        "_finished",
        "_queue",
        "_is_shutdown",
    )


class PriorityQueue(_core.PriorityQueue, queues.PriorityQueue, Queue):  # type: ignore[type-arg]
    """A queue that gives the lowest item first.

    Mirrors asyncio.PriorityQueue ("Queues").
    """


class LifoQueue(_core.LifoQueue, queues.LifoQueue, Queue):  # type: ignore[type-arg]
    """A queue that gives the item first which was put in last.

    Mirrors asyncio.LifoQueue ("Queues").
    """
