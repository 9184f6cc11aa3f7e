"""The asyncio core in C: event loop, tasks and futures, locks and queues, streams, transports and TLS.

Ways in, from the least to the most:

    asyncio.run(main(), loop_factory=asyncio_c.new_event_loop)    the C loop, for this call
    asyncio_c.run(main())                                         the same, in one call
    asyncio_c.install()                                           every new loop of the process
    asyncio_c.patch()                                             and the names in asyncio that have a native twin
    python -m asyncio_c script.py                                 an unmodified script under patch()
    ASYNCIO_C=1 python script.py                                  the same, without touching the command line
    import asyncio_c as asyncio                                   every public name of asyncio, native where there is one
"""

from __future__ import annotations

import asyncio as _asyncio
import sys as _sys
from typing import TYPE_CHECKING, Any

try:
    from ._core import (
        Future,
        Handle,
        Task,
        TimerHandle,
        all_tasks,
        create_task,
        current_task,
        gather,
        shield,
        sleep,
        timeout,
        timeout_at,
        to_thread,
        wait,
        wait_for,
    )
except ModuleNotFoundError as _error:
    if _error.name != "asyncio_c._core":
        raise
    raise ImportError(
        f"asyncio_c in {__path__[0]} is not built for this Python, {_sys.version.split()[0]}: run 'pip install -e .' in the "
        "folder of the sources, or 'pip install' that folder and work elsewhere, where Python does not find the sources first",
        name=_error.name,
    ) from None
from . import _stand_ins
from .completion import as_completed
from .loop import Loop, allow_nesting
from .patch import NATIVE as _NATIVE
from .patch import install, patch, uninstall, unpatch
from .runners import Runner, new_event_loop, run
from .streams import open_connection, open_unix_connection, start_server, start_unix_server
from .taskgroups import TaskGroup
from .timeouts import Timeout

if TYPE_CHECKING:
    # What __getattr__ finds; the explicit imports above come first.
    from asyncio import *  # type: ignore[assignment]  # noqa: F403
    from asyncio import events as events
    from asyncio import exceptions as exceptions
    from asyncio import futures as futures
    from asyncio import locks as locks
    from asyncio import queues as queues
    from asyncio import streams as streams
    from asyncio import subprocess as subprocess
    from asyncio import tasks as tasks

    from .monitor import record
    from .monitor import watch as watch
    from .policy import EventLoopPolicy

    # mypy keeps what a name meant first, pyright what it meant last.
    from .runners import Runner, new_event_loop, run
    from .taskgroups import TaskGroup
    from .timeouts import Timeout

_stand_ins.register()

__version__ = "0.2.0"

__all__ = [
    "EventLoopPolicy",
    "Future",
    "Handle",
    "Loop",
    "Runner",
    "Task",
    "TaskGroup",
    "Timeout",
    "TimerHandle",
    "all_tasks",
    "allow_nesting",
    "as_completed",
    "create_task",
    "current_task",
    "gather",
    "install",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "patch",
    "record",
    "run",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "uninstall",
    "unpatch",
    "wait",
    "wait_for",
    "watch",
]

__all__ += _asyncio.__all__


# Not for type checkers, which would take any name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Lazy for a reason each: the policy, because policies are deprecated and rarely wanted; what looks at loops, which few
        # programs use; asyncio's names, so that the
        # deprecated ones among them warn when used and not before.
        if name == "EventLoopPolicy":
            from .policy import EventLoopPolicy

            return EventLoopPolicy
        if name in ("record", "watch"):
            from . import monitor

            return getattr(monitor, name)
        if not name.startswith("__") and hasattr(_asyncio, name):
            return _NATIVE[name][0] if name in _NATIVE else getattr(_asyncio, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
