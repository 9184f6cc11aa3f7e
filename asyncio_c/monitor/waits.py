"""What a suspended task waits for, by what it awaits and the frames on the way there: in the same words for a timeline and for ps.

The recorder asks when a step has ended, in the loop's own thread; ps from another thread, where a coroutine may go on in between.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import types
from collections.abc import Iterable
from typing import Any

from .. import _core

_OWN_FOLDERS = (
    os.path.dirname(asyncio.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
)

# Objects between a coroutine and what it awaits, of types that do not tell it. As coroutines in C, they tell the garbage collector.
_LINKS = {"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"}

_MISSING = object()

# What a function of asyncio waits for, by its qualname or the beginning of it.
_KINDS = {
    "sleep": "sleep",
    "wait": "tasks",
    "wait_for": "tasks",
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

# How a future written in Python is awaited, which says less than the future.
_FUTURE = "Future.__await__"


# ---- What awaits what ----


def name_of(awaitable: Any) -> str:
    return str(getattr(awaitable, "__qualname__", None) or type(awaitable).__name__)


def is_own(file: str) -> bool:
    """Return whether a file is asyncio's or ours."""
    return file.startswith(_OWN_FOLDERS)


def is_native(awaitable: Any) -> bool:
    """Return whether it is a coroutine of ours, which has neither a line nor a code of its own."""
    return type(awaitable).__module__ == "asyncio_c._core" and hasattr(awaitable, "cr_suspended")


def frame_of(awaitable: Any) -> types.FrameType | None:
    """Return the frame of what is written in Python."""
    if not is_native(awaitable):
        for name in ("cr_frame", "gi_frame", "ag_frame"):
            frame = getattr(awaitable, name, None)
            if frame is not None:
                return frame  # type: ignore[no-any-return]
    return None


def chain(coroutine: Any) -> list[Any]:
    """Return what awaits the next one, the outermost first: coroutines, generators, and objects between them."""
    found: list[Any] = []
    seen: set[int] = set()
    awaitable = coroutine
    while awaitable is not None and id(awaitable) not in seen:
        seen.add(id(awaitable))
        found.append(awaitable)
        awaitable = _next_of(awaitable)
    return found


def _next_of(awaitable: Any) -> Any:
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        found = getattr(awaitable, name, _MISSING)
        if found is not _MISSING:
            return found
    if is_native(awaitable):
        # Behind what it holds and its type it names what it awaits. What it holds may be a coroutine, too: an item of a queue.
        last = gc.get_referents(awaitable)[-1]
        return None if isinstance(last, type) else last
    if type(awaitable).__name__ in _LINKS:
        return next((item for item in gc.get_referents(awaitable) if _has_begun(item)), None)
    return None


def _has_begun(item: Any) -> bool:
    """Return whether something is a coroutine or generator that was started, and has not ended."""
    return any(getattr(item, name, None) is True for name in ("cr_suspended", "gi_suspended", "ag_running"))


# ---- In words ----


def describe(task: Any) -> tuple[str, str, str, str]:
    """Return what a task waits for that has just been suspended: its kind, a text for people, where, and in which function.

    The kind is sleep, task, tasks, gather, queue, lock, event, stream, socket, connection, server, thread, process, future or turn;
    where is the "file:line" of the innermost frame of the program, "" if there is none; the function is the qualname of its code, ""
    if it is that of the task's own coroutine. All of them are strings: the recording keeps nothing of the program alive.
    """
    coroutine = task.get_coro()
    awaited, frame = _look(chain(coroutine))
    where = function = ""
    if frame is not None:
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        function = "" if frame is frame_of(coroutine) else frame.f_code.co_qualname
    return (*_in_words(awaited, task._fut_waiter), where, function)


def describe_chain(awaitables: Iterable[Any], waiter: Any) -> tuple[str, str]:
    """Return kind and text of what a task waits for, by the chain of its coroutine and the future at its end."""
    return _in_words(_look(awaitables)[0], waiter)


def _look(awaitables: Iterable[Any]) -> tuple[Any, types.FrameType | None]:
    """Return the outermost function of asyncio that the program awaits, and the frame in which it does so."""
    awaited, inmost = None, None
    for awaitable in awaitables:
        frame = frame_of(awaitable)
        if frame is not None and not is_own(frame.f_code.co_filename):
            awaited, inmost = None, frame
        elif awaited is None or awaited.__qualname__.startswith(_BLOCK):
            function = getattr(awaitable, "__qualname__", None)
            if isinstance(function, str) and function not in ("", _FUTURE):
                awaited = awaitable
    return awaited, inmost


def _in_words(awaited: Any, waiter: Any) -> tuple[str, str]:
    function = getattr(awaited, "__qualname__", "")
    if function == "sleep":
        delay = _delay(awaited)
        return ("sleep", "sleep(0)" if waiter is None else f"sleep({delay:g})" if delay else "sleep")
    if waiter is None:
        return ("turn", "its turn")
    what = _describe_future(waiter)
    if not function or what[0] == "gather":
        return what
    if function.startswith(_BLOCK):
        function = _acquired_by(awaited)
        if function is None:
            return ("lock", "a lock")
    kind, text = _describe_function(function)
    return (kind or what[0], f"{text}({what[1]})" if what[0] == "task" else text)


@functools.lru_cache(256)
def _describe_function(function: str) -> tuple[str, str]:
    """Return kind and text of what a function waits for, by its qualname; the kind is "" where that does not tell it."""
    # A method of the loop is known by its name, whatever class of it has it.
    owner, _, name = function.rpartition(".")
    text = name if "EventLoop" in owner or owner == "Loop" else function
    kind = next((kind for start, kind in _KINDS.items() if text.startswith(start)), "")
    if owner:
        text = text.removesuffix(".__aenter__").removesuffix(".__aexit__").removesuffix(".__anext__")
    return (kind, text)


def _delay(coroutine: Any) -> float | None:
    """Return the delay of what sleep() returns: ours, or asyncio's coroutine."""
    seconds = _core.Recorder.sleep_seconds(coroutine)
    frame = frame_of(coroutine)
    if seconds is None and frame is not None:
        seconds = frame.f_locals.get("delay")
    return seconds if isinstance(seconds, int | float) else None


def _acquired_by(block: Any) -> str | None:
    """Return the acquire() that an `async with` of ours stands for: of a Condition, that of its lock."""
    owner = gc.get_referents(block)[0]
    function = getattr(getattr(owner, "acquire", None), "__qualname__", None)
    return function if isinstance(function, str) else None


def _describe_future(future: Any) -> tuple[str, str]:
    if hasattr(future, "get_coro"):
        return ("task", f"task {future.get_name()}")
    children = getattr(future, "_children", None)
    if isinstance(children, list):
        return ("gather", f"gather of {len(children)}")
    if asyncio.isfuture(future) and _is_chained(future):
        return ("thread", "a thread")
    return ("future", "a future")


def _is_chained(future: Any) -> bool:
    """Return whether it is the twin of a concurrent.futures.Future, as run_in_executor() makes them."""
    callbacks = getattr(future, "_callbacks", None) or ()
    return any(
        getattr(callback, "__qualname__", "").startswith("_chain_future.") for callback, *_ in callbacks
    )
