"""record(): what the loops did in a part of a program, task by task.

The recorder in C (src/monitor/recorder.c) keeps flat events. Here they are put together: spans in which a task ran, waited, or was
ready and waited for its turn, and who woke it. Who woke a task is what ran when it was queued; where that is a callback of asyncio,
it is what had queued the callback: a timer, a descriptor, a thread, or another task.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .. import _core
from .waits import describe

DEFAULT_SIZE = 200_000

# As in src/monitor/recorder.c.
_MADE, _QUEUED, _BEGINS, _ENDS, _CANCELS = range(5)
_KINDS = ("made", "queued", "begins", "ends", "cancels")
_CAUSES = ("", "a timer", "a descriptor", "a thread")
_NONE, _WAITS, _RESULT, _EXCEPTION, _CANCELLED = range(5)
_OUTCOMES = ("", "waits", "result", "exception", "cancelled")


def _innermost(qualname: str) -> str:
    """Return a qualname without the functions around it."""
    return qualname.rpartition("<locals>.")[2]


class Event(NamedTuple):
    """One event, as it was recorded."""

    time: float  # seconds since the recording began
    kind: str  # "made", "queued", "begins", "ends", "cancels"
    loop: int  # 1 for the first loop that was recorded
    task: int | None  # its number, or None: a callback
    name: str  # of the task or, where it begins, of the callback
    detail: str  # for "ends" how, for "queued" by what other than what runs
    what: str  # what the task waits for, or the exception that ended it


@dataclass(slots=True)
class Span:
    """A stretch of a task's time, in seconds since the recording began."""

    state: Literal["running", "waiting", "ready"]
    start: float
    end: float
    kind: str = ""  # of what it waited for: see waits.describe()
    what: str = ""
    where: str = ""  # "file:line"
    function: str = ""  # what the task's coroutine awaits, and waits there; "" if it waits itself
    woken_by: str = ""  # a name, or "a timer", "a descriptor", "a thread"
    waker: int | None = None  # the number of the task that woke it

    @property
    def duration(self) -> float:
        return self.end - self.start

    @property
    def label(self) -> str:
        """What it waited for and, of another function than the task's own, in which one."""
        function = _innermost(self.function)
        return f"{self.what} in {function}" if function else self.what


@dataclass(slots=True)
class TaskRecord:
    """What one task did."""

    number: int
    name: str
    coroutine: str  # its qualname
    origin: str  # "file:line" of the coroutine's function
    loop: int
    made: float
    made_by: str = ""
    maker: int | None = None  # the number of the task that made it
    found: bool = False  # it was there when the recording began
    ended: float | None = None
    outcome: str = "pending"  # or "result", "exception", "cancelled"
    error: str = ""  # "Type: message"
    cancelled_by: str = ""
    spans: list[Span] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The name and the function, each once."""
        function = self.function
        return function if self.name == function else f"{self.name} {function}"

    @property
    def function(self) -> str:
        """The coroutine's qualname, from the innermost function on."""
        return _innermost(self.coroutine)

    def total(self, state: str) -> float:
        """Return the seconds spent running, waiting or ready."""
        return sum(span.duration for span in self.spans if span.state == state)

    @property
    def steps(self) -> int:
        return sum(span.state == "running" for span in self.spans)


class _Cause(NamedTuple):
    """Who did something."""

    name: str = ""
    task: int | None = None


@dataclass(slots=True)
class _Running:
    subject: int
    cause: _Cause  # who is to be named for what it does


class Recording:
    """What record() has recorded.

    tasks: a TaskRecord for each task, in the order in which they were made or found.
    events: an Event for each of the last `size` events.
    dropped: how many older events there were.
    duration: in seconds.
    """

    def __init__(
        self, events: Sequence[Any] = (), start_ns: int = 0, end_ns: int = 0, dropped: int = 0
    ) -> None:
        self._fill(events, start_ns, end_ns, dropped)

    def _fill(self, events: Sequence[Any], start_ns: int, end_ns: int, dropped: int) -> None:
        self.dropped = dropped
        # The ring may have lost the beginning: the picture begins with what is there.
        self._origin_ns = events[0][0] if dropped and events else start_ns
        self.duration = max((end_ns - self._origin_ns) / 1e9, 0.0)
        self._raw = events
        self._tasks: dict[int, TaskRecord] = {}
        self._open: dict[int, Span] = {}
        self._signalled = 0  # the task that a signal has just cancelled
        self._stacks: dict[int, list[_Running]] = defaultdict(list)
        self._causes: dict[tuple[int, int], list[_Cause]] = defaultdict(list)
        for event in events:
            self._add(*event)
        for span in self._open.values():
            span.end = self.duration
        self.tasks = list(self._tasks.values())

    @property
    def events(self) -> list[Event]:
        result = []
        for time_ns, kind, detail, loop, subject, who, what in self._raw:
            is_task = isinstance(who, tuple)
            words = _OUTCOMES if kind == _ENDS else _CAUSES if kind in (_QUEUED, _CANCELS) else ("", "found")
            text = what if isinstance(what, str) else what[1] if isinstance(what, tuple) else ""
            result.append(
                Event(
                    self._seconds(time_ns),
                    _KINDS[kind],
                    loop,
                    subject if is_task else None,
                    who[1] if is_task else who or "",
                    words[detail],
                    text,
                )
            )
        return result

    def task(self, name: str) -> TaskRecord:
        """Return the first task of that name; KeyError if there is none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    # ---- Putting events together ----

    def _seconds(self, time_ns: int) -> float:
        return (time_ns - self._origin_ns) / 1e9

    def _add(
        self, time_ns: int, kind: int, detail: int, loop: int, subject: int, who: Any, what: Any
    ) -> None:
        time = self._seconds(time_ns)
        task = self._task(subject, who, loop, time) if isinstance(who, tuple) else None
        stack = self._stacks[loop]
        if kind == _QUEUED:
            cause = self._cause(stack, detail)
            if subject == self._signalled:
                cause = _Cause("a signal")
            self._signalled = 0
            if task is not None:
                self._wake(task, time, cause)
            else:
                self._causes[loop, subject].append(cause)
        elif kind == _BEGINS:
            if task is not None:
                self._change(task, time, Span("running", time, time))
                stack.append(_Running(subject, _Cause(task.name, task.number)))
            else:
                causes = self._causes[loop, subject]
                cause = causes.pop(0) if causes else _Cause()
                stack.append(_Running(subject, cause if cause.name else _Cause(who or "a callback")))
        elif kind == _ENDS:
            while stack and stack.pop().subject != subject:
                pass
            if task is not None:
                self._end_step(task, time, detail, what)
        elif kind == _CANCELS and task is not None:
            # No callback runs, but the loop does: it is the handler of a signal that cancels.
            by_signal = _CAUSES[detail] == "a descriptor"
            cause = _Cause("a signal") if by_signal else self._cause(stack, detail)
            task.cancelled_by = cause.name
            if by_signal:
                self._signalled = task.number
        elif kind == _MADE and task is not None:
            task.made, task.found = time, bool(detail)
            if not task.found:
                task.made_by, task.maker = self._cause(stack, 0)

    def _task(self, number: int, identity: tuple[int, str, str, str], loop: int, time: float) -> TaskRecord:
        task = self._tasks.get(number)
        if task is None:
            task = self._tasks[number] = TaskRecord(number, *identity[1:], loop, time)
        task.name = identity[1]  # which may be given later
        return task

    def _cause(self, stack: list[_Running], detail: int) -> _Cause:
        if detail:
            return _Cause(_CAUSES[detail])
        return stack[-1].cause if stack else _Cause()

    def _change(self, task: TaskRecord, time: float, span: Span | None) -> None:
        """End the span that is open, and begin another."""
        before = self._open.pop(task.number, None)
        if before is not None:
            before.end = time
        if span is not None:
            task.spans.append(span)
            self._open[task.number] = span

    def _wake(self, task: TaskRecord, time: float, cause: _Cause) -> None:
        waiting = self._open.get(task.number)
        if waiting is not None and waiting.state == "running":
            return  # sleep(0): it is ready as soon as its step has ended
        if waiting is not None:
            waiting.woken_by, waiting.waker = cause
        self._change(task, time, Span("ready", time, time, "turn", "its turn"))

    def _end_step(self, task: TaskRecord, time: float, outcome: int, what: Any) -> None:
        if outcome == _WAITS:
            kind, text, where, function = what or ("future", "?", "", "")
            state: Literal["ready", "waiting"] = (
                "ready" if kind == "turn" or text == "sleep(0)" else "waiting"
            )
            self._change(task, time, Span(state, time, time, kind, text, where, function))
            return
        self._change(task, time, None)
        task.ended = time
        task.outcome = _OUTCOMES[outcome]
        task.error = what or ""

    # ---- Pictures ----

    def text(self, width: int = 80, colour: bool = False, ascii: bool = False) -> str:
        """Return the timeline as lines of text, as wide as `width` columns.

        colour: with the terminal's colours; ascii: with characters of ASCII alone.
        """
        from .timeline_text import draw

        return draw(self, width, colour, ascii)

    def svg(self) -> str:
        """Return the timeline as an SVG document, for light and dark, with texts where the mouse is."""
        from .timeline_svg import draw

        return draw(self)

    def chrome_trace(self) -> dict[str, Any]:
        """Return the timeline as Chrome trace events: what Perfetto and chrome://tracing open, as JSON."""
        from .timeline_trace import trace

        return trace(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the timeline to a file; its suffix chooses what: .txt, .svg, .html, or .json for chrome_trace().

        Raises ValueError for another suffix, and OSError if it cannot be written.
        """
        suffix = check_suffix(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(_WRITERS[suffix](self))

    # What notebooks ask for.

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        from .timeline import table

        return f'<div style="max-width: 100%; overflow-x: auto">\n{self.svg()}{table(self)}</div>\n'

    def __repr__(self) -> str:
        return f"<Recording of {len(self.tasks)} tasks, {len(self._raw)} events, {self.duration:.3g} s>"


_WRITERS: dict[str, Callable[[Recording], str]] = {
    ".txt": lambda recording: recording.text(width=120) + "\n",
    ".svg": lambda recording: recording.svg(),
    ".html": lambda recording: f"<!DOCTYPE html>\n<meta charset='utf-8'>\n{recording._repr_html_()}",
    ".json": lambda recording: json.dumps(recording.chrome_trace(), ensure_ascii=False) + "\n",
}


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix by which save() knows what to write; ValueError if it does not."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in _WRITERS:
        raise ValueError(f"a timeline is written to a file in {', '.join(_WRITERS)}, not {os.fspath(path)!r}")
    return suffix


class record:
    """Context manager: record what loops of asyncio_c do; gives the Recording.

    loop: one loop; None is the running one or, where none runs, every loop that is made or begins to run within.
    size: how many events are kept; of more, the last ones. A step of a task is three or four events.

    The Recording is empty until the block ends. Raises RuntimeError
    where the loop is being recorded already, TypeError if it is not one of asyncio_c.

        with asyncio_c.record() as recording:
            asyncio.run(main())
        print(recording.text())
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, size: int = DEFAULT_SIZE) -> None:
        self._make_recorder = functools.partial(_core.Recorder, size, describe)
        self._recorder = self._make_recorder()
        self._loop = loop
        self._start_ns = 0

    def __enter__(self) -> Recording:
        loop = self._loop if self._loop is not None else asyncio._get_running_loop()
        self._recorder.start(loop)
        self._start_ns = time.monotonic_ns()
        try:
            if loop is not None:
                self._find_tasks(loop)
        except BaseException:
            self._recorder.stop()
            raise
        self._recording = Recording()
        return self._recording

    def _find_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note what is there already, the task that runs first."""
        current = asyncio.current_task(loop) if loop.is_running() else None
        for task in sorted(asyncio.all_tasks(loop), key=lambda task: task is not current):
            self._recorder.found(loop, task, task is current)

    def __exit__(self, *_: object) -> None:
        # It may be entered again.
        recorder, self._recorder = self._recorder, self._make_recorder()
        end_ns = recorder.stop()
        self._recording._fill(recorder.events(), self._start_ns, end_ns, recorder.dropped)
