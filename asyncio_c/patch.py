"""install, patch and their undoing: which names of asyncio are rebound, and to what.

There are three levels, each containing the one before: stock, installed (every new loop is ours) and patched (the names
that have a native twin are rebound too). install() and patch() raise the level, unpatch() takes patch() back,
uninstall() takes everything back.

Not rebound are the names whose stock function already gives native results from what is rebound here: run (it looks
Runner up), ensure_future, open_connection, start_server and so on (they look up tasks.* and streams.* or ask the loop).
Nor are current_task and all_tasks, because asyncio's own see native tasks. SelectorEventLoop stays stock as well: it
names an implementation, takes a selector, and is what a program writes when it wants precisely that one.
"""

from __future__ import annotations

import asyncio
from asyncio import (
    AbstractEventLoop,
    events,
    futures,
    locks,
    queues,
    streams,
    taskgroups,
    tasks,
    threads,
    timeouts,
    unix_events,
)
from collections.abc import Iterable
from typing import Any

from . import _core, primitives, runners
from . import streams as native_streams
from .completion import as_completed
from .loop import Loop
from .taskgroups import TaskGroup
from .timeouts import Timeout

__all__ = ["install", "patch", "uninstall", "unpatch"]


def new_event_loop() -> AbstractEventLoop:
    """Return a new event loop: what asyncio.new_event_loop is while installed.

    A C loop, unless the program has set a policy of its own, whose loops are then what it asked for. This function, and
    not only the policy, is rebound so that asyncio.run() keeps making C loops after set_event_loop_policy(None).
    """
    policy = getattr(events, "_event_loop_policy", None)
    if policy is None or type(policy) is unix_events._UnixDefaultEventLoopPolicy:
        return runners.new_event_loop()
    loop: AbstractEventLoop = policy.new_event_loop()
    return loop


def eager_task_factory() -> Any:
    """Return asyncio's factory of eager tasks, making native ones; None before Python 3.12."""
    create = getattr(asyncio, "create_eager_task_factory", None)
    return create and create(_core.Task)


# name: (its native twin, the modules of asyncio that hold it). A module that lacks the name on this Python is passed over.
NATIVE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "Future": (_core.Future, (asyncio, futures)),
    "Task": (_core.Task, (asyncio, tasks)),
    "create_task": (_core.create_task, (asyncio, tasks)),
    "sleep": (_core.sleep, (asyncio, tasks, streams)),
    "gather": (_core.gather, (asyncio, tasks)),
    "wait": (_core.wait, (asyncio, tasks)),
    "wait_for": (_core.wait_for, (asyncio, tasks)),
    "shield": (_core.shield, (asyncio, tasks)),
    "as_completed": (as_completed, (asyncio, tasks)),
    "to_thread": (_core.to_thread, (asyncio, threads)),
    "TaskGroup": (TaskGroup, (asyncio, taskgroups)),
    "Runner": (runners.Runner, (asyncio, asyncio.runners)),
    **{
        name: (getattr(primitives, name), (asyncio, locks))
        for name in ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier")
    },
    **{
        name: (getattr(primitives, name), (asyncio, queues))
        for name in ("Queue", "PriorityQueue", "LifoQueue")
    },
    **{
        name: (getattr(native_streams, name), (asyncio, streams))
        for name in ("StreamReader", "StreamReaderProtocol", "StreamWriter")
    },
    "Timeout": (Timeout, (asyncio, timeouts)),
    "timeout": (_core.timeout, (asyncio, timeouts)),
    "timeout_at": (_core.timeout_at, (asyncio, timeouts)),
    # The stock one holds the stock Task in a closure.
    "eager_task_factory": (eager_task_factory(), (asyncio, tasks)),
    # Documented as the most efficient loop of the platform, and the loop_factory that asyncio recommends.
    "EventLoop": (Loop, (asyncio, unix_events)),
}

# What was rebound, in order: (object, name, what was there, what we put there).
_installed: list[tuple[Any, str, Any, Any]] = []
_patched: list[tuple[Any, str, Any, Any]] = []
_patch_installed = False


def _rebind(holder: Any, name: str, value: Any, done: list[tuple[Any, str, Any, Any]]) -> None:
    if hasattr(holder, name):
        done.append((holder, name, getattr(holder, name), value))
        setattr(holder, name, value)


def _restore(done: list[tuple[Any, str, Any, Any]]) -> None:
    while done:
        holder, name, before, ours = done.pop()
        # A name that somebody else has rebound since, a tracing tool or a policy of the program's, is theirs.
        if getattr(holder, name) is ours:
            setattr(holder, name, before)


def install() -> None:
    """Make every new event loop of the process a C loop: asyncio.run, Runner, new_event_loop and the policy.

    Idempotent. The names in asyncio otherwise stay the stock ones; a policy that was set is replaced. Nothing warns,
    also where policies are deprecated ("Policies").
    """
    if _installed:
        return
    _rebind(asyncio, "new_event_loop", new_event_loop, _installed)
    _rebind(events, "new_event_loop", new_event_loop, _installed)
    if hasattr(events, "_event_loop_policy"):
        from .policy import EventLoopPolicy

        # The variable itself: its setter warns from Python 3.14 on, and reading it by the getter would create a policy.
        _rebind(events, "_event_loop_policy", EventLoopPolicy(), _installed)


def uninstall() -> None:
    """Put back all that install() and patch() have rebound, except names that somebody else has rebound since.

    Idempotent. Loops and tasks that exist go on to work.
    """
    global _patch_installed
    _restore(_patched)
    _restore(_installed)
    _patch_installed = False


def patch(exclude: Iterable[str] = ()) -> None:
    """install(), and rebind the names in asyncio that have a native twin, here and in asyncio's own modules.

    `exclude` has the names that stay asyncio's own, for a tool that has to have those. Raises ValueError, and rebinds
    nothing, if one of them is no name that would be rebound.

    Idempotent: who comes second finds the names as they are. They are Future, Task, create_task, sleep, gather, wait,
    wait_for, shield, as_completed, to_thread, Timeout, timeout, timeout_at, TaskGroup, Runner, eager_task_factory and
    EventLoop, Lock, Event, Condition, Semaphore, BoundedSemaphore and Barrier, Queue, PriorityQueue and LifoQueue,
    StreamReader, StreamReaderProtocol and StreamWriter.
    References that a module took before by "from asyncio import ..." stay stock, and work with native loops and tasks
    all the same. On Python 3.14 and newer asyncio.get_event_loop() creates the main thread's loop again, as it did
    before.
    """
    global _patch_installed
    kept = {exclude} if isinstance(exclude, str) else set(exclude)
    if unknown := kept - NATIVE.keys():
        raise ValueError(f"patch() does not rebind {', '.join(sorted(map(str, unknown)))}")
    if _patched:
        return
    if not _installed:
        install()
        _patch_installed = True
    for name, (native, holders) in NATIVE.items():
        if name in kept:
            continue
        for holder in holders:
            _rebind(holder, name, native, _patched)
    if hasattr(events, "_event_loop_policy"):
        from .policy import EventLoopPolicy

        _rebind(EventLoopPolicy, "_creates_missing_loop", True, _patched)


def unpatch() -> None:
    """Undo patch(), and the install() that it implied; one that came before it stays.

    Idempotent. A name that somebody else has rebound since is left to them.
    """
    if _patch_installed:
        uninstall()
    else:
        _restore(_patched)
