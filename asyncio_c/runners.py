"""run, Runner and new_event_loop: asyncio's entry points with the C loop as the default."""

from __future__ import annotations

import asyncio
from asyncio import events, runners
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from . import _core
from .loop import Loop

_T = TypeVar("_T")


def new_event_loop() -> Loop:
    """Return a new C event loop, which is neither running nor the thread's current loop.

    Mirrors asyncio.new_event_loop ("Event Loop", "Obtaining the Event Loop"). Meant to be passed on:
    asyncio.run(main(), loop_factory=asyncio_c.new_event_loop).

    Raises OSError if the process is out of file descriptors.
    """
    return Loop()


class Runner(_core.Runner, runners.Runner):  # type: ignore[misc]
    """asyncio.Runner in C, whose loop is a C loop unless loop_factory says otherwise.

    Mirrors asyncio.Runner ("Runners", "Runner context manager"): as there, a loop of the default kind is made the
    thread's current loop and unset on closing; one that loop_factory made is not. While events.new_event_loop is not
    asyncio's own, because of install() or somebody else's, the default loop is the one that it makes.
    """


def run(
    main: Coroutine[Any, Any, _T] | Awaitable[_T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run a coroutine on a new C loop and return its result.

    Mirrors asyncio.run ("Runners", "Running an asyncio Program"), in the form with loop_factory on every Python: the
    remaining tasks are cancelled, the asynchronous generators and the default executor shut down, and the loop is
    closed at the end. What main may be besides a coroutine is up to the Python's own asyncio.Runner.

    debug: True or False sets the debug mode of the loop; None leaves it to PYTHONASYNCIODEBUG and -X dev.
    loop_factory: makes the loop; None is the C loop, which is then also the thread's current loop meanwhile.

    Raises RuntimeError if a loop is running in this thread; ValueError (TypeError from Python 3.14 on) if main cannot
    be run; whatever main raises; and KeyboardInterrupt after a Ctrl-C that main did not absorb.
    """
    # The text is asyncio's, which people search for.
    if events._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)  # type: ignore[arg-type, unused-ignore]
