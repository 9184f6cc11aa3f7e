"""Runs within runs: the event loop run again by one of its own callbacks or tasks.

asyncio refuses that, and nest_asyncio makes it possible for asyncio's loops by giving them methods that drive the queues in
Python. A loop of ours can do it by itself, once allow_nesting() or nest_asyncio asks for it. What the loop needs for that
is in loop.py: running, and whose stop() it was. This file has the rest: the current task, and who asks.
"""

from __future__ import annotations

import contextlib
import sys
from asyncio import tasks
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def current_task_set_aside(loop: Any) -> Iterator[None]:
    """Let `loop`, which is running, have no current task meanwhile: each step of a task wants to find the place empty."""
    # Up to Python 3.13 the dictionary is where all kinds of tasks are entered, afterwards that of tasks in Python only.
    entered: dict[Any, Any] = tasks._current_tasks  # type: ignore[attr-defined]
    task = entered.pop(loop, None)
    swap: Any = getattr(tasks, "_swap_current_task", None) if sys.version_info >= (3, 14) else None
    other_task = swap(loop, None) if swap else None
    try:
        yield
    finally:
        if task is not None:
            entered[loop] = task
        if other_task is not None:
            swap(loop, other_task)


def asked_by_nest_asyncio() -> bool:
    """Return whether the caller's caller is nest_asyncio, nest_asyncio2, or a copy of theirs inside of some package."""
    return "nest_asyncio" in sys._getframe(2).f_globals.get("__name__", "")
