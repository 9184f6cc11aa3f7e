"""What a suspended task waits for: described once, when its step ends, by what it awaits and the frames on the way there."""

from __future__ import annotations

import asyncio
import os
from asyncio import base_futures
from typing import Any, NamedTuple

from .. import _core

_OWN_FOLDERS = (
    os.path.dirname(asyncio.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
)

# What a function of asyncio waits for, by its qualname or the beginning of it.
_KINDS = {
    "sleep": "sleep",
    "gather": "gather",
    "wait": "tasks",
    "wait_for": "tasks",
    "shield": "task",
    "to_thread": "thread",
    "TaskGroup.": "tasks",
    "as_completed": "tasks",
    "_AsCompletedIterator.": "tasks",
    "Queue.": "queue",
    "PriorityQueue.": "queue",
    "LifoQueue.": "queue",
    "Lock.": "lock",
    "Semaphore.": "lock",
    "BoundedSemaphore.": "lock",
    "Condition.": "event",
    "Event.": "event",
    "Barrier.": "event",
    "StreamReader.": "stream",
    "StreamWriter.": "stream",
    "Process.": "process",
    "Server.": "server",
    "open_connection": "connection",
    "open_unix_connection": "connection",
    "create_subprocess": "process",
    "subprocess_": "process",
    "create_": "connection",
    "start_tls": "connection",
    "connect_": "connection",
    "getaddrinfo": "thread",
    "getnameinfo": "thread",
    "run_in_executor": "thread",
    "shutdown_default_executor": "thread",
    "sock_": "socket",
    "_sock_": "socket",
    "sendfile": "socket",
}

# The `async with` of locks and semaphores, which says less than the acquire() within.
_BLOCK = "_ContextManagerMixin."


class Wait(NamedTuple):
    """What a task waits for."""

    kind: str  # sleep, task, tasks, gather, queue, lock, event, stream, socket, thread, process, future, turn, ...
    text: str  # for people
    where: str  # "file:line" of the innermost frame of the program; "" if there is none


def describe(task: Any) -> tuple[str, str, str]:
    """Return what a task waits for that has just been suspended, as the fields of Wait.

    All of them are strings: the recording keeps nothing of the program alive.
    """
    awaited, where = _walk(task.get_coro())
    function = getattr(awaited, "__qualname__", "")
    waiter = task._fut_waiter
    if function == "sleep":
        delay = _delay(awaited)
        return ("sleep", "sleep(0)" if waiter is None else f"sleep({delay:g})" if delay else "sleep", where)
    if waiter is None:
        return ("turn", "its turn", where)
    what = _describe_future(waiter)
    if not function or what[0] == "gather":
        return (*what, where)
    if function.startswith(_BLOCK):
        return ("lock", "a lock", where)
    # A method of the loop is known by its name, whatever class of it has it.
    owner, _, name = function.rpartition(".")
    text = name if "EventLoop" in owner or owner == "Loop" else function
    kind = next((kind for start, kind in _KINDS.items() if text.startswith(start)), what[0])
    if owner:
        text = text.removesuffix(".__aenter__").removesuffix(".__aexit__").removesuffix(".__anext__")
    return (kind, f"{text}({what[1]})" if what[0] == "task" else text, where)


def _walk(coroutine: Any) -> tuple[Any, str]:
    """Follow what awaits what: the outermost function of asyncio that the program awaits, and where it does so."""
    awaited, where = None, ""
    while coroutine is not None:
        code = _attribute(coroutine, "code")
        if code is not None and not code.co_filename.startswith(_OWN_FOLDERS):
            frame = _attribute(coroutine, "frame")
            line = frame.f_lineno if frame is not None else code.co_firstlineno
            awaited, where = None, f"{code.co_filename}:{line}"
        elif isinstance(qualname := getattr(coroutine, "__qualname__", None), str):
            if awaited is None or awaited.__qualname__.startswith(_BLOCK):
                awaited = coroutine if qualname else awaited
        coroutine = _attribute(coroutine, "await")
    return awaited, where


def _attribute(awaitable: Any, name: str) -> Any:
    """Return cr_code, gi_code or ag_code, and likewise."""
    for prefix in ("cr_", "ag_"):
        found = getattr(awaitable, prefix + name, None)
        if found is not None:
            return found
    return getattr(awaitable, "gi_yieldfrom" if name == "await" else "gi_" + name, None)


def _delay(coroutine: Any) -> float | None:
    """Return the delay of what sleep() returns: ours, or asyncio's coroutine."""
    seconds = _core.Recorder.sleep_seconds(coroutine)
    frame = _attribute(coroutine, "frame")
    if seconds is None and frame is not None:
        seconds = frame.f_locals.get("delay")
    return seconds if isinstance(seconds, int | float) else None


def _describe_future(future: Any) -> tuple[str, str]:
    if isinstance(future, asyncio.Task):
        return ("task", f"task {future.get_name()}")
    children = getattr(future, "_children", None)
    if isinstance(children, list):
        return ("gather", f"gather of {len(children)}")
    if base_futures.isfuture(future) and _is_chained(future):
        return ("thread", "a thread")
    return ("future", "a future")


def _is_chained(future: Any) -> bool:
    """Return whether it is the twin of a concurrent.futures.Future, as run_in_executor() makes them."""
    callbacks = getattr(future, "_callbacks", None) or ()
    return any(
        getattr(callback, "__qualname__", "").startswith("_chain_future.") for callback, *_ in callbacks
    )
