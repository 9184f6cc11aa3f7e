"""Which of our methods and functions step aside for what: tracers, profilers, mocks and clocks replace parts of asyncio.

What is named here is taken to be stock when asyncio_c is imported. While a method of asyncio's is not as it was then, or has
other code, ours leads to it; so it does while something else that asyncio's goes by, its needs, is not as it was.
src/py/stand_in.c does it.
"""

from __future__ import annotations

import time
from asyncio import (
    base_events,
    events,
    futures,
    runners,
    selector_events,
    taskgroups,
    tasks,
    timeouts,
    unix_events,
)
from typing import Any

from . import _core, transports
from . import runners as native_runners
from . import taskgroups as native_taskgroups
from . import timeouts as native_timeouts
from .loop import Loop

_Needs = tuple[tuple[Any, ...], ...]

# What is done to each handle, and our handles do by themselves.
_HANDLE: _Needs = (
    (events, "Handle"),
    *((events.Handle, name) for name in ("__init__", "cancel", "cancelled", "_run")),
)
_CALL_SOON: _Needs = ((base_events.BaseEventLoop, "_call_soon"), *_HANDLE)
_THREADSAFE_HANDLE: _Needs = ((events, "_ThreadSafeHandle"),) if hasattr(events, "_ThreadSafeHandle") else ()
_TIMER_HANDLE: _Needs = (
    (events, "TimerHandle"),
    *((events.TimerHandle, name) for name in ("__init__", "cancel", "when")),
)

# Of these, beside the method itself: (module or class, name, and what may be there as well).
_LOOP: dict[str, _Needs] = {
    "call_at": (*_HANDLE, *_TIMER_HANDLE),
    "call_later": (),
    "call_soon": _CALL_SOON,
    "call_soon_threadsafe": (*_CALL_SOON, *_THREADSAFE_HANDLE),
    "create_future": ((futures, "Future", _core.Future),),
    "create_task": ((tasks, "Task", _core.Task),),
    "get_debug": (),
    "is_closed": (),
    "is_running": (),
    "run_forever": (),
    "run_until_complete": (),
    "stop": (),
    "time": ((time, "monotonic"), (base_events, "time")),
}

# What the loop does with descriptors. asyncio's _add_reader() and its like work on loop._selector, which then becomes a real one.
_DESCRIPTORS = (
    *("sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
    *("sock_sendall", "sock_sendto"),
    *("_add_reader", "_add_writer", "_remove_reader", "_remove_writer"),
)

_TASK_GROUP = ("create_task", "_on_task_done", "_abort", "__aenter__", "__aexit__")

# Of these, asyncio's own code, whatever the name is bound to by now, and what it calls: the module, and needs.
_FUNCTIONS: dict[str, tuple[Any, _Needs]] = {
    "create_task": (tasks, ()),
    "gather": (tasks, ((tasks._GatheringFuture, "__init__"),)),  # type: ignore[attr-defined]
    "shield": (tasks, ()),
    "sleep": (tasks, ()),
    "timeout": (timeouts, ((timeouts, "Timeout", native_timeouts.Timeout),)),
    "timeout_at": (timeouts, ((timeouts, "Timeout", native_timeouts.Timeout),)),
    "wait": (tasks, ((tasks, "_wait"),)),
    "wait_for": (tasks, ((timeouts, "timeout", _core.timeout),)),
}


def register() -> None:
    """Have what is named here watched."""
    for name, needs in _LOOP.items():
        _core._stand_in(Loop, unix_events.SelectorEventLoop, (name,), needs)
    _core._stand_in(Loop, unix_events.SelectorEventLoop, _DESCRIPTORS, ())
    # What is called of the handles that were there before.
    _core._stand_in(_core.Handle, events.Handle, ("cancel", "cancelled"), ())
    _core._stand_in(_core.TimerHandle, events.TimerHandle, ("cancel", "cancelled", "when"), ())
    stream = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    _core._stand_in(transports.StreamTransport, stream, ("get_extra_info",), ())
    _core._stand_in(native_taskgroups.TaskGroup, taskgroups.TaskGroup, _TASK_GROUP, ())
    # Not _lazy_init(): asyncio's would make asyncio's loop.
    _core._stand_in(native_runners.Runner, runners.Runner, ("run",), ())
    for name, (module, needs) in _FUNCTIONS.items():
        _core._stand_in_function(getattr(_core, name), ((module, name, ...), *needs))
