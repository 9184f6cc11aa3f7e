"""What a timeline shows of a recording: which tasks and groups of tasks, over what time, in which words."""

from __future__ import annotations

import html
import math
import os
from dataclasses import dataclass
from typing import NamedTuple

from .recording import Recording, TaskRecord

# What a run does at its end, for every program.
_HOUSEKEEPING = {"BaseEventLoop.shutdown_asyncgens", "BaseEventLoop.shutdown_default_executor"}

_TELLING_TASKS = 5  # of each group


@dataclass(slots=True)
class Group:
    """Tasks of one coroutine function, shown as one row."""

    function: str
    tasks: list[TaskRecord]

    def alive(self, start: float, end: float) -> int:
        """Return how many of them live in that time."""
        return sum(task.made < end and (task.ended is None or task.ended >= start) for task in self.tasks)

    @property
    def summary(self) -> str:
        counts = {
            outcome: sum(task.outcome == outcome for task in self.tasks)
            for outcome in ("result", "exception", "cancelled", "pending")
        }
        words = {"result": "done", "exception": "failed", "cancelled": "cancelled", "pending": "not done"}
        return ", ".join(f"{count:,} {words[outcome]}" for outcome, count in counts.items() if count)


class View(NamedTuple):
    """What is to be drawn."""

    rows: list[Group | TaskRecord]
    start: float
    end: float
    hidden: int  # tasks that have no row of their own, nor are in a group


def choose(recording: Recording, limit: int) -> View:
    """Choose what to show in about `limit` rows.

    Each task has a row if there is room; otherwise the tasks of a function are a group, which is followed by its most
    telling tasks: those that failed or were cancelled, ran longest, or waited longest.
    """
    tasks = [task for task in recording.tasks if not _is_housekeeping(task)] or recording.tasks
    start = min((task.made for task in tasks), default=0.0)
    end = max(
        (recording.duration if task.ended is None else task.ended for task in tasks),
        default=recording.duration,
    )
    end = max(end, start + 1e-6)
    if len(tasks) <= limit:
        return View(list(tasks), start, end, 0)
    by_function: dict[str, list[TaskRecord]] = {}
    for task in tasks:
        by_function.setdefault(task.function, []).append(task)
    groups = [Group(function, members) for function, members in by_function.items()]
    rows: list[Group | TaskRecord] = []
    # The groups that ran longest, in the order in which they began.
    shown = sorted(groups, key=lambda group: -sum(task.total("running") for task in group.tasks))
    kept = {group.function for group in shown[: max(limit // 2, 1)]}
    each = max(min((limit - len(kept)) // len(kept), _TELLING_TASKS), 1)
    for group in groups:
        if group.function not in kept:
            continue
        if len(group.tasks) == 1:
            rows.append(group.tasks[0])
            continue
        rows.append(group)
        rows += telling(group.tasks, each)
    hidden = sum(len(group.tasks) for group in groups if group.function not in kept)
    return View(rows, start, end, hidden)


def telling(tasks: list[TaskRecord], count: int) -> list[TaskRecord]:
    """Return the tasks that tell the most, in the order in which they were made."""
    by_time = {
        "running": sorted(tasks, key=lambda task: -task.total("running")),
        "waiting": sorted(tasks, key=lambda task: -task.total("waiting")),
        "exception": [task for task in tasks if task.outcome == "exception"],
        "cancelled": [task for task in tasks if task.outcome == "cancelled"],
    }
    chosen: dict[int, TaskRecord] = {}
    for rank in range(count):
        for candidates in by_time.values():
            if rank < len(candidates) and len(chosen) < count:
                chosen[candidates[rank].number] = candidates[rank]
    return [chosen[number] for number in sorted(chosen)]


def _is_housekeeping(task: TaskRecord) -> bool:
    return task.coroutine in _HOUSEKEEPING and task.outcome == "result"


def seconds(value: float) -> str:
    """Return a duration with three digits and a unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if abs(value) * factor >= 0.9995 or unit == "us":
            scaled = value * factor
            digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
            return f"{scaled:.{digits}f} {unit}"
    raise AssertionError


def place(where: str) -> str:
    """Return "file:line", relative to the working directory for what is in it."""
    folder = os.path.join(os.getcwd(), "")
    return where.removeprefix(folder)


def ticks(length: float, count: int) -> list[tuple[float, str]]:
    """Return at most about `count` round times from 0 to `length`, each with its text."""
    step = length / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(step))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= step * 0.999)
    factor, unit = next(
        ((factor, unit) for factor, unit in ((1, "s"), (1e3, "ms")) if step * factor >= 0.1), (1e6, "us")
    )
    return [
        (index * step, f"{index * step * factor:g} {unit}") for index in range(int(length / step + 1e-9) + 1)
    ]


def title(recording: Recording) -> str:
    """Return one line about the whole recording."""
    tasks = [task for task in recording.tasks if not _is_housekeeping(task)]
    counts = [
        f"{number:,} {word}"
        for word, number in (
            ("failed", sum(task.outcome == "exception" for task in tasks)),
            ("cancelled", sum(task.outcome == "cancelled" for task in tasks)),
            ("not done", sum(task.outcome == "pending" for task in tasks)),
        )
        if number
    ]
    loops = len({task.loop for task in tasks})
    return ", ".join(
        [
            f"{len(tasks):,} task{'s' * (len(tasks) != 1)}" + (f" on {loops} loops" if loops > 1 else ""),
            seconds(recording.duration),
            *counts,
        ]
    )


def incomplete(recording: Recording) -> str:
    """Return the sentence about what is missing, or nothing."""
    if not recording.dropped:
        return ""
    return f"The beginning is missing: the recording was full, and its oldest {recording.dropped:,} events were dropped."


def sentence(task: TaskRecord) -> str:
    """Return what a task did, in a line."""
    steps = task.steps
    words = [f"ran {seconds(task.total('running'))} in {steps} step{'s' * (steps != 1)}"]
    waits: dict[str, list[float]] = {}
    for span in task.spans:
        if span.state == "waiting":
            by = f", woken by {span.woken_by}" if span.woken_by and span.woken_by not in span.what else ""
            waits.setdefault(span.label + by, []).append(span.duration)
    for what, durations in sorted(waits.items(), key=lambda item: -sum(item[1]))[:3]:
        times = f" ({len(durations)} times)" if len(durations) > 1 else ""
        words.append(f"waited {seconds(sum(durations))} for {what}{times}")
    if len(waits) > 3:
        words.append(f"and for {len(waits) - 3} other thing{'s' * (len(waits) > 4)}")
    if (ready := task.total("ready")) > 0.01 * (task.total("running") + ready) and ready >= 1e-3:
        words.append(f"was ready {seconds(ready)} before its turn")
    if task.outcome == "exception":
        words.append(f"failed: {task.error}")
    elif task.outcome == "cancelled":
        words.append("was cancelled" + (f" by {task.cancelled_by}" if task.cancelled_by else ""))
    elif task.outcome == "pending":
        words.append("is not done")
    return "; ".join(words)


def table(recording: Recording, limit: int = 200) -> str:
    """Return the sentences of the tasks that have rows, as a table of HTML that opens."""
    rows = [row for row in choose(recording, limit).rows if isinstance(row, TaskRecord)]
    lines = "\n".join(
        f"<tr><td>{html.escape(task.label)}</td><td>{html.escape(sentence(task))}</td></tr>" for task in rows
    )
    return f"<details><summary>In words</summary>\n<table>\n{lines}\n</table></details>\n"
