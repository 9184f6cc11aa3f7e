"""What the tasks of a process are doing, for who looks from another thread.

Everything is read under the GIL, or without one in the loop's section, a task after the other, while the loops run on: a task may
be caught between two of its states. Each that is not done is a dictionary:

    id, name        by the first one it is told from others
    coroutine       the qualified name of its coroutine function
    state           "running", "ready" (in the queue of its loop) or "waiting"
    age             seconds since it was made, or None where that is not known: of stock tasks, and of those made before
                    anybody served
    stack           {"function", "file", "line"} of each coroutine that awaits the next one, the outermost first; of a task that
                    runs, what its thread is doing right now
    at              of these, the last one that is not asyncio's or ours, or None
    waits_for       in the words that a timeline has for it (waits.py), or None
    kind            of that: "sleep", "queue", "lock" and so on, or None
    awaits          the ids of the tasks it waits for

Coroutines in C have neither frame nor line; they are named.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import random
import sys
import threading
import time
import types
from collections.abc import Iterable, Iterator
from typing import Any

from asyncio_c import _core, _registry
from asyncio_c.monitor import prompt

from . import waits

_PROMPTLY = 0.00002  # seconds
_AFTER_AT_MOST = 0.01


def loops() -> dict[int, Any]:
    """Return the loops of the process by number, closed ones too: ours, and those of others on which native tasks run."""
    found = {
        reference.key: loop for reference in _registry.loops.valuerefs() if (loop := reference()) is not None
    }
    known = {id(loop) for loop in found.values()}
    for task in _core._native_tasks():
        loop = task.get_loop()
        if id(loop) not in known:
            known.add(id(loop))
            found[max(found, default=0) + 1] = loop
    return found


def of_loop(loop: Any) -> list[Any]:
    """Return the tasks of a loop that are not done, native ones first, in the order in which they were made."""
    native = [task for task in _core._native_tasks() if task.get_loop() is loop]
    known = {id(task) for task in native}
    try:
        stock = [task for task in asyncio.all_tasks(loop) if id(task) not in known]
    except RuntimeError:  # the set changed each time, up to 3.13
        stock = []
    return native + stock


def thread_id_of(loop: Any) -> int:
    """Return the number of the thread that runs a loop, 0 if it does not run."""
    return getattr(loop, "_thread_id", None) or 0


def thread_of(loop: Any) -> str | None:
    """Return the name of the thread that runs a loop, or None if it does not run."""
    thread_id = thread_id_of(loop)
    if not thread_id:
        return None
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return names.get(thread_id, f"thread {thread_id}")


def running(loops: dict[int, Any]) -> dict[int, dict[str, Any] | None]:
    """Return, by the number of each loop, what it runs at a moment that the loops have no say in.

    That is a callback's function or a task's coroutine, and where it is; None if it waits. Without more ado this thread would get
    the interpreter when the loop waits, or after 5 ms, and see nothing that is quicker. So it asks to have it at once, after a
    while of any length, for it has just got it.
    """
    with prompt.switching(_PROMPTLY):
        time.sleep(random.random() * _AFTER_AT_MOST)
        frames = sys._current_frames()
    return {number: _run_by(frames.get(thread_id_of(loop))) for number, loop in loops.items()}


def _run_by(frame: types.FrameType | None) -> dict[str, Any] | None:
    stack = []
    while frame is not None and frame.f_code.co_name != "run_forever":
        stack.append(_entry(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    if frame is None or not stack:
        return None
    at = next((entry for entry in stack if not waits.is_own(entry["file"])), stack[0])
    return {"coroutine": stack[-1]["function"], "at": at}


def count(tasks: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Return, for each coroutine function by name, how many tasks run it, by their state."""
    counts: dict[str, dict[str, int]] = {}
    for task in tasks:
        coroutine = task.get_coro()
        states = counts.setdefault(waits.name_of(coroutine), {"running": 0, "ready": 0, "waiting": 0})
        states[_state_of(coroutine, _waiter_of(task))] += 1
    return counts


class View:
    """Describes tasks, of which all are given."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        self.tasks = list(tasks)
        self.known = {id(task) for task in self.tasks}
        self._waiting_on = {
            id(waiter): task for task in self.tasks if (waiter := _waiter_of(task)) is not None
        }
        self._awaits: dict[int, list[int]] = {}

    def link(self, task: Any) -> None:
        """Find who waits for the task. All have to be linked before the first is described."""
        for parent in self._awaiters(task, set()):
            self._awaits.setdefault(id(parent), []).append(id(task))

    def _awaiters(self, future: Any, seen: set[int]) -> Iterator[Any]:
        """Yield the tasks that wait for a future, also by way of other futures: gather()'s, or those of callbacks."""
        seen.add(id(future))
        waiting = self._waiting_on.get(id(future))
        found = [] if waiting is None else [waiting]
        found += getattr(future, "_asyncio_awaited_by", None) or ()
        for callback in _callbacks_of(future):
            found += _reached_by(callback)
        for other in found:
            if id(other) in seen:
                continue
            if id(other) in self.known:
                seen.add(id(other))
                yield other
            elif asyncio.isfuture(other):
                yield from self._awaiters(other, seen)

    def describe(self, task: Any) -> dict[str, Any]:
        coroutine = task.get_coro()
        waiter = _waiter_of(task)
        state = _state_of(coroutine, waiter)
        chain = waits.chain(coroutine)
        stack = _running_stack(task, coroutine) if state == "running" else _suspended_stack(chain)
        kind, words = waits.describe_chain(chain, waiter) if state == "waiting" else (None, None)
        theirs = (entry for entry in reversed(stack) if entry["file"] and not waits.is_own(entry["file"]))
        return {
            "id": id(task),
            "name": task.get_name(),
            "coroutine": waits.name_of(coroutine),
            "state": state,
            "age": _core._age(task),
            "stack": stack,
            "at": next(theirs, None),
            "waits_for": words,
            "kind": kind,
            "awaits": self._awaits.get(id(task), []),
        }


def _waiter_of(task: Any) -> Any:
    return getattr(task, "_fut_waiter", None)


def _state_of(coroutine: Any, waiter: Any) -> str:
    if _is_running(coroutine):
        return "running"
    return "ready" if waiter is None or waiter.done() else "waiting"


def _callbacks_of(future: Any) -> Iterable[Any]:
    """Yield the Python functions that a future calls when it is done."""
    for entry in getattr(future, "_callbacks", None) or ():
        yield entry[0] if isinstance(entry, tuple) else entry


def _reached_by(callback: Any) -> list[Any]:
    """Return the futures that one of asyncio's callbacks, or of ours, finishes: those of gather, wait, shield and so on.

    A group finishes none, and has its task for one.
    """
    owner = getattr(callback, "__self__", None)
    if asyncio.isfuture(owner):
        return [owner]
    if isinstance(callback, functools.partial):
        return [item for item in callback.args if asyncio.isfuture(item)]
    if type(owner).__module__ == "asyncio_c._core":
        # What waits in C has the future that it finishes behind those for which it waits.
        return [item for item in gc.get_referents(owner) if asyncio.isfuture(item)][-1:]
    if not str(getattr(callback, "__module__", "")).startswith("asyncio"):
        return []
    if isinstance(callback, types.MethodType):
        parent = getattr(owner, "_parent_task", None)
        return [] if parent is None else [parent]
    contents = [_content(cell) for cell in getattr(callback, "__closure__", None) or ()]
    return [item for item in contents if asyncio.isfuture(item)]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


# ---- Stacks ----


def _is_running(coroutine: Any) -> bool:
    return any(getattr(coroutine, name, None) is True for name in ("cr_running", "gi_running"))


def _entry(function: str, file: str | None = None, line: int | None = None) -> dict[str, Any]:
    return {"function": function, "file": file, "line": line}


def _suspended_stack(chain: list[Any]) -> list[dict[str, Any]]:
    stack = []
    for awaitable in chain:
        frame = waits.frame_of(awaitable)
        if frame is not None:
            stack.append(_entry(waits.name_of(awaitable), frame.f_code.co_filename, frame.f_lineno))
        elif waits.is_native(awaitable):
            stack.append(_entry(waits.name_of(awaitable)))
    return stack


def _running_stack(task: Any, coroutine: Any) -> list[dict[str, Any]]:
    """Return the stack of the thread that runs a task, from its coroutine on."""
    frame = sys._current_frames().get(thread_id_of(task.get_loop()))
    outermost = waits.frame_of(coroutine)
    stack: list[dict[str, Any]] = []
    while frame is not None:
        stack.append(_entry(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        if frame is outermost:
            return stack[::-1]
        frame = frame.f_back
    return _suspended_stack(waits.chain(coroutine))  # it has stopped running meanwhile
