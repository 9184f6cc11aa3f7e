"""TaskGroup: asyncio's, with its tasks, entering and leaving in C."""

from __future__ import annotations

from asyncio import taskgroups

from . import _core


class TaskGroup(_core.TaskGroup, taskgroups.TaskGroup):
    """Asynchronous context manager that waits for the tasks which it has created, and cancels them if one fails.

    Mirrors asyncio.TaskGroup ("Coroutines and Tasks", "Task Groups"). Leaving it raises an ExceptionGroup of what the
    tasks have raised.
    """
