"""Native tasks in asyncio.all_tasks() and in call graphs, at no cost for each task.

asyncio keeps the tasks that are not its own C type in a WeakSet, and adding to and removing from it would cost more than
all the rest of a task's life. Native tasks are linked in a list of the C core instead, and the set gets a class whose
iteration goes over that list as well. The set itself stays the one that asyncio's functions hold, so also an all_tasks
that was imported before us tells the truth.

Up to Python 3.13 the set is an attribute of asyncio.tasks. In 3.11 all interpreters of a process share it, so that another
interpreter than the one that made it puts a view with its own native tasks in the place of that attribute. From 3.14 on the C module holds the set privately,
where the garbage collector finds it; if that ever changes, `register` says so by raising at import, not by losing tasks.

Call graphs came with Python 3.14. TaskGroup, shield() and others tell asyncio.futures who waits for what, whose functions
take in nothing but asyncio's own types; ours take in both.
"""

from __future__ import annotations

import _asyncio
import asyncio
import gc
import itertools
from asyncio import futures, tasks
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from . import _core

# Every loop of ours that is alive, also a closed one, in the order in which they were made; for who looks from another thread,
# valuerefs() is one step.
loops: WeakValueDictionary[int, asyncio.AbstractEventLoop] = WeakValueDictionary()
_numbers = itertools.count(1)


def add_loop(loop: asyncio.AbstractEventLoop) -> None:
    loops[next(_numbers)] = loop


class TaskSet(WeakSet):  # type: ignore[type-arg]
    """asyncio's set of tasks, with the native ones."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield from _core._native_tasks()

    def __len__(self) -> int:
        return super().__len__() + len(_core._native_tasks())

    def __contains__(self, item: object) -> bool:
        return super().__contains__(item) or any(item is task for task in _core._native_tasks())


class SharedTaskSet(TaskSet):
    """A view of the set of another interpreter, with the native tasks of this one."""

    def __init__(self, shared: Any) -> None:
        super().__init__()
        self._shared = shared

    def __iter__(self) -> Iterator[Any]:
        yield from self._shared
        yield from _core._native_tasks()

    def __len__(self) -> int:
        return len(self._shared) + len(_core._native_tasks())

    def __contains__(self, item: object) -> bool:
        return item in self._shared or super().__contains__(item)

    def add(self, item: Any) -> None:
        self._shared.add(item)

    def discard(self, item: Any) -> None:
        self._shared.discard(item)


def _find_set() -> Any:
    for name in ("_all_tasks", "_scheduled_tasks"):
        found = getattr(_asyncio, name, None)
        if found is not None:
            return found
    sets = [item for item in gc.get_referents(_asyncio) if isinstance(item, WeakSet)]
    if len(sets) != 1:
        raise ImportError("asyncio_c: this Python's asyncio keeps its tasks in a place that is not known")
    return sets[0]


def register() -> None:
    """Make asyncio.all_tasks() and call graphs see native tasks. Idempotent."""
    found = _find_set()
    if type(found) is WeakSet:
        found.__class__ = TaskSet
    elif type(found) is not TaskSet and not isinstance(getattr(tasks, "_all_tasks", None), TaskSet):
        tasks._all_tasks = SharedTaskSet(found)  # type: ignore[attr-defined]
    for name in ("future_add_to_awaited_by", "future_discard_from_awaited_by"):
        if hasattr(futures, name):
            setattr(asyncio, name, getattr(_core, name))
            setattr(futures, name, getattr(_core, name))
            # The name by which it is the accelerated one of two.
            setattr(futures, f"_c_{name}", getattr(_core, name))
