"""The watchdog: a thread that tells who blocks a loop, while it is blocked.

The loop notes when the callback or task step that runs has begun (src/core/observe.h), and the thread looks at that: at most
twice in the time after which it reports, and never while nothing runs, for then it parks until a turn has something to run. So a
loop that sleeps is not disturbed. The first turn starts the thread, also in the child of a fork.

A thread sees only what the interpreter lets it see. What blocks without the GIL (time.sleep(), a lock, a socket, a file) is
reported while it does. What holds the GIL (a regular expression, a long sum in C) is reported as soon as it lets go: at the
line that called it, when that line goes on. If nothing of the callback is left to run then, its end is all that is reported, by
name and without a stack.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import dataclasses
import functools
import logging
import os
import sys
import threading
import traceback
import types
import warnings
import weakref
from asyncio import coroutines, format_helpers, tasks
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from .. import _core

if TYPE_CHECKING:
    from ..loop import Loop

logger = logging.getLogger("asyncio_c")
VARIABLE = "ASYNCIO_C_WATCH"


@dataclasses.dataclass(frozen=True)
class Report:
    """Who blocks a loop, and since when; or who has blocked it, and for how long.

    file, line and function are those of the innermost frame of stack; they are None, and stack is empty, where there is no
    frame to see: of a function in C that the loop itself calls, and of what ended before the thread could look.
    """

    task: str | None
    """The name of the task, None for a callback."""
    callback: str
    """The coroutine of the task, or the callback, and where it is defined or waits."""
    seconds: float
    """How long it has blocked the loop until now, or, if ended, in all."""
    ended: bool
    """Whether it is over."""
    stack: traceback.StackSummary
    """The frames of the callback or task step, the innermost last; of the first report, if there was one."""
    file: str | None
    line: int | None
    function: str | None

    def __str__(self) -> str:
        who = (
            f"Task {self.task!r} ({self.callback})" if self.task is not None else f"Callback {self.callback}"
        )
        if self.ended:
            text = f"{who} blocked the event loop for {self.seconds:.3f} seconds"
        else:
            text = f"{who} has blocked the event loop for {self.seconds:.3f} seconds"
        if self.file is not None:
            text += f" in {self.function}, {self.file}:{self.line}"
        return text


def log(target: logging.Logger, report: Report) -> None:
    """Log a report as a warning, with the stack unless that was told at the beginning."""
    stack = "" if report.ended else "".join(report.stack.format())
    target.warning("%s", f"{report}\n{stack}".rstrip())


def _described(owner: Any) -> tuple[str | None, str]:
    """Return the name of the task that an entry of the queue is, or None, and the coroutine or callback."""
    try:
        return _name_and_source(owner)
    except Exception:  # of get_name() or __repr__() of somebody's making
        return None, type(owner).__name__


def _name_and_source(owner: Any) -> tuple[str | None, str]:
    callback = getattr(owner, "_callback", None)
    # In debug mode, and on loops whose call_soon() is overridden, a task's step is a callback with the task as its self.
    task = owner if isinstance(owner, (_core.Task, tasks.Task)) else getattr(callback, "__self__", None)
    if isinstance(task, (_core.Task, tasks.Task)):
        coroutine: Any = task.get_coro()
        text = coroutines._format_coroutine(coroutine) if coroutine else repr(coroutine)  # type: ignore[attr-defined]
        return task.get_name(), text
    if callback is None:
        return None, type(owner).__name__
    return None, format_helpers._format_callback_source(callback, ())


def _frames(thread: int) -> list[tuple[types.FrameType, int]]:
    """Return the frames of a thread and their lines within the innermost run of a loop, the innermost last."""
    from .. import loop

    frames: list[tuple[types.FrameType, int]] = []
    for frame, line in traceback.walk_stack(sys._current_frames().get(thread)):
        if frame.f_code is loop.Loop.run_forever.__code__:
            break
        frames.append((frame, line))
    return frames[::-1]


def _report_of(
    description: tuple[str | None, str],
    frames: list[tuple[types.FrameType, int]],
    seconds: float,
    ended: bool,
) -> Report:
    stack = traceback.StackSummary.extract(iter(frames))
    innermost = stack[-1] if stack else None
    where = (innermost.filename, innermost.lineno, innermost.name) if innermost else (None, None, None)
    return Report(*description, seconds, ended, stack, *where)


class Watch:
    """What watch() returns: close() ends it, and so does leaving a `with` block, and closing the loop."""

    def __init__(self, loop: Loop, threshold: float, report: Callable[[Report], object]) -> None:
        self._loop = weakref.ref(loop)
        self._threshold, self._report = threshold, report
        self._signal = threading.Lock()  # free: there is something to do
        self._thread: threading.Thread | None = None
        self._process = 0  # in which the thread runs
        self._known = 0  # the number of the entry that was seen last to block the loop
        self._reported: Report | None = None  # how that was reported
        self._ended: collections.deque[tuple[float, tuple[str | None, str] | None]] = collections.deque()
        self._over = False
        self._pulse = _core._Pulse(threshold, self._wake, self._tell)
        self._pulse.open(loop)  # from now on its thread, which may not be this one, calls
        _watches.add(self)

    def close(self) -> None:
        """End the watch: what blocks at the moment is not reported any more. Does nothing if it has ended."""
        self._over = True
        self._pulse.close()
        self._notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._pulse.closed else f"of {self._loop()!r}"
        return f"<Watch {state} threshold={self._threshold}>"

    # ---- Called by the loop, in its thread ----

    def _wake(self) -> None:
        """Hear that something is about to run, or that the loop is closed."""
        if self._process == os.getpid() or self._pulse.closed:
            self._notify()
            return
        self._process = os.getpid()
        self._signal = threading.Lock()
        self._signal.acquire()
        arguments = (self._signal,)
        self._thread = threading.Thread(target=self._run, args=arguments, name="asyncio_c watch", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # At the end of the interpreter, in one that allows no daemons, or where there are too many threads.
            self._thread = None
            self._pulse.close()
            logger.warning("The event loop cannot be watched: %s", error)

    def _tell(self, owner: Any, number: int, seconds: float) -> None:
        """Hear that what ran has ended, and took more than the threshold."""
        self._ended.append((seconds, None if number == self._known else _described(owner)))
        self._notify()

    def _notify(self) -> None:
        # Free already: the thread has something to do.
        with contextlib.suppress(RuntimeError):
            self._signal.release()

    # ---- The thread ----

    def _run(self, signal: threading.Lock) -> None:
        timeout = self._look(park=False)
        while True:
            signal.acquire(timeout=timeout)
            while self._ended:
                self._report_end(*self._ended.popleft())
            if self._pulse.closed:
                return
            # Who was parked is woken before something runs, which may hold the GIL until it has run for long. It does not park
            # again at once, so that a loop that often sleeps a little does not wake it each time.
            timeout = self._look(park=timeout >= 0)

    def _while_it_is_young(self, seconds: float) -> float:
        """Return for how long what has run for so many seconds need not be looked at."""
        return min(max(self._threshold / 2, (self._threshold - seconds) * 1.02), threading.TIMEOUT_MAX)

    def _look(self, park: bool) -> float:
        """Report what blocks, if it is time to, and return for how many seconds there is nothing to see; -1: until woken."""
        running = self._pulse.look(self._known, park)
        if running is None:
            return -1 if park else self._while_it_is_young(0)
        number, seconds, thread, owner = running
        if seconds < self._threshold:
            return self._while_it_is_young(seconds)
        # Quickly: the loop's thread waits for the GIL, if that is not what it has let go of.
        frames, description = _frames(thread), _described(owner)
        running = self._pulse.look(self._known, False)
        if running is not None and running[0] == number:
            self._known = number
            # Its end may come from now on, and is reported after this.
            self._reported = _report_of(description, frames, seconds, False)
            del owner, running, frames  # which are none of the reporter's
            self._give(self._reported)
        return 0

    def _report_end(self, seconds: float, description: tuple[str | None, str] | None) -> None:
        """Report the end of what was reported, or what has ended before it could be, if it is described."""
        if description is not None:
            self._give(_report_of(description, [], seconds, True))
        elif self._reported is not None:
            self._give(dataclasses.replace(self._reported, seconds=seconds, ended=True))
            self._reported = None

    def _give(self, report: Report) -> None:
        if self._over:
            return
        try:
            self._report(report)
        except BaseException:
            logger.exception("The report of a blocked event loop has failed")


def watch(
    loop: asyncio.AbstractEventLoop | None = None,
    threshold: float = 0.1,
    report: Callable[[Report], object] | logging.Logger | None = None,
) -> Watch:
    """Have a thread report whatever blocks a loop, while it does, and at its end how long it took.

    That begins with the next callback or step of a task: where a task calls this, what it does up to its next await is not watched.

    asyncio has this in debug mode only, and only at the end.

    Parameters: loop is one of asyncio_c, the running one by default. threshold is how many seconds a callback or a step of a
    task may take; what takes longer is reported once, not later than after one and a half times that, and again at its end.
    report is called with each Report, in the thread of the watch; a logger gets them as warnings, by default the logger
    "asyncio_c". What report raises is logged.

    Returns a Watch: close() ends it, and so does `with`. Raises TypeError for a loop of others, ValueError if threshold is
    not positive, RuntimeError without a running loop, or if the loop is closed.
    """
    if not threshold > 0:
        raise ValueError(f"threshold is a positive number of seconds, not {threshold}")
    if report is None:
        report = logger
    if isinstance(report, logging.Logger):
        report = functools.partial(log, report)
    chosen: Any = asyncio.get_running_loop() if loop is None else loop
    return Watch(chosen, threshold, report)


def by_environment(loop: Loop, value: str) -> None:
    """Watch a new loop, if that is what the value of ASYNCIO_C_WATCH says: a number of seconds."""
    try:
        threshold = float(value)
    except ValueError:
        threshold = -1
    if threshold > 0:
        watch(loop, threshold)
    elif threshold != 0:
        warnings.warn(
            f"{VARIABLE}={value} is no number of seconds: nothing is watched", RuntimeWarning, stacklevel=4
        )


_watches: weakref.WeakSet[Watch] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Let what has been found be reported, and leave no thread to the end of the interpreter, or to it alone for a second."""
    for each in list(_watches):
        each._pulse.close()
        each._notify()
        if each._thread is not None and each._process == os.getpid():
            each._thread.join(timeout=1)
