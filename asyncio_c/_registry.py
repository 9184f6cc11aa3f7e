"""Native tasks in asyncio.all_tasks(), at no cost for each task.

asyncio keeps the tasks that are not its own C type in a WeakSet, and adding to and removing from it would cost more than
all the rest of a task's life. Native tasks are linked in a list of the C core instead, and the set gets a class whose
iteration goes over that list as well. The set itself stays the one that asyncio's functions hold, so also an all_tasks
that was imported before us tells the truth.

Up to Python 3.13 the set is an attribute of asyncio.tasks. From 3.14 on the C module holds it privately, where the garbage
collector finds it; if that ever changes, `register` says so by raising at import, not by losing tasks.
"""

from __future__ import annotations

import _asyncio
import asyncio
import gc
from asyncio import tasks
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from . import _core


class TaskSet(WeakSet):  # type: ignore[type-arg]
    """asyncio's set of tasks, with the native ones."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield from _core._native_tasks()

    def __len__(self) -> int:
        return super().__len__() + len(_core._native_tasks())

    def __contains__(self, item: object) -> bool:
        return super().__contains__(item) or any(item is task for task in _core._native_tasks())


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
    """Make asyncio.all_tasks() see native tasks. Idempotent."""
    found = _find_set()
    if type(found) is WeakSet:
        found.__class__ = TaskSet
    # What tasks.py calls the set, where it has a name, is the same object.
    assert getattr(tasks, "_all_tasks", found) is found or asyncio is None
