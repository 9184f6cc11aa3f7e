"""The timeline as Chrome trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A track for each coroutine function of each loop has the steps of its tasks. A task is an asynchronous span with its number as the id,
and its waits are spans within it; an arrow (a flow) leads from the step that woke a task to the one it woke.
"""

from __future__ import annotations

from typing import Any

from .recording import Recording, Span, TaskRecord


def trace(recording: Recording) -> dict[str, Any]:
    """Return the object that is to be written as JSON; see Recording.chrome_trace."""
    tracks: dict[tuple[int, str], int] = {}
    by_number = {task.number: task for task in recording.tasks}
    events: list[dict[str, Any]] = []
    for task in recording.tasks:
        track = tracks.setdefault((task.loop, task.function), len(tracks) + 1)
        events += _task_events(task, track, recording.duration)
    flows = 0
    for task in recording.tasks:
        for span, step in _wake_ups(task):
            waker = by_number.get(span.waker or 0)
            source = _step_at(waker, span.end) if waker is not None else None
            if waker is not None and source is not None:
                flows += 1
                ends = (
                    ("s", waker, min(max(span.end, source.start), source.end)),
                    ("f", task, step.start),
                )
                for phase, who, time in ends:
                    flow = _event(phase, "wakes", time, tracks[who.loop, who.function], cat="wakes", id=flows)
                    events.append(flow | {"bp": "e"} if phase == "f" else flow)
    events.sort(key=lambda event: event["ts"])
    loops = len({loop for loop, _ in tracks})
    names = [_metadata("process_name", 0, "asyncio_c")]
    for (loop, function), track in tracks.items():
        names.append(_metadata("thread_name", track, f"loop {loop}: {function}" if loops > 1 else function))
    return {
        "traceEvents": names + events,
        "displayTimeUnit": "ms",
        "otherData": {"dropped events": recording.dropped},
    }


def _event(phase: str, name: str, time: float, track: int, **more: Any) -> dict[str, Any]:
    return {"ph": phase, "name": name, "ts": round(time * 1e6, 3), "pid": 1, "tid": track, **more}


def _metadata(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 1, "tid": track, "args": {"name": name}}


def _task_events(task: TaskRecord, track: int, end: float) -> list[dict[str, Any]]:
    facts = {"outcome": task.outcome, "made by": task.made_by, "defined at": task.origin, "error": task.error}
    facts["cancelled by"] = task.cancelled_by
    about = {key: value for key, value in facts.items() if value}
    # An id of the process alone: viewers show the task in its group.
    same = {"cat": "task", "id2": {"local": hex(task.number)}}
    events = [_event("b", task.label, task.made, track, **same, args=about)]
    for span in task.spans:
        if span.state == "running":
            microseconds = round(span.end * 1e6, 3) - round(span.start * 1e6, 3)
            events.append(_event("X", task.label, span.start, track, cat="step", dur=round(microseconds, 3)))
            continue
        name = span.what if span.state == "waiting" else "ready"
        woken = {"woken by": span.woken_by} if span.woken_by else {}
        where = {"at": span.where} if span.where else {}
        where |= {"in": span.function} if span.function else {}
        events.append(_event("b", name, span.start, track, **same, args={**where, **woken}))
        events.append(_event("e", name, span.end, track, **same))
    events.append(_event("e", task.label, end if task.ended is None else task.ended, track, **same))
    return events


def _wake_ups(task: TaskRecord) -> list[tuple[Span, Span]]:
    """Return the waits of a task, each with the step after it."""
    found = []
    waiting: Span | None = None
    for span in task.spans:
        if span.state == "waiting":
            waiting = span
        elif span.state == "running" and waiting is not None:
            found.append((waiting, span))
            waiting = None
    return found


def _step_at(task: TaskRecord, time: float) -> Span | None:
    """Return the last step of a task that had begun by then."""
    steps = [span for span in task.spans if span.state == "running" and span.start <= time]
    return steps[-1] if steps else None
