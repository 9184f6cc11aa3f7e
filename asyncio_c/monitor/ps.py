"""python -m asyncio_c ps [PID]: the tasks of a process as a tree, from who waits to whom it waits for."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from . import client

NARROW = 100  # from so many columns on, a task has one line


def duration(seconds: float | None) -> str:
    """Return a time of at most six characters."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 100 else f"{hours // 24}d{hours % 24:02}h"


def cut(text: str, width: int) -> str:
    """Return the text in so many columns; what is left out of the end is an ellipsis."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def printable(text: str) -> str:
    """Return names that a program has chosen without what would move the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def place(entry: dict[str, Any] | None, folder: str) -> str:
    """Return file:line and function; the file is relative to a folder in which it is."""
    if entry is None:
        return "-"
    file = str(entry["file"])
    inside = os.path.join(folder, "")
    if file.startswith(inside):
        file = file[len(inside) :]
    return printable(f"{file}:{entry['line']} {entry['function']}")


def tree(tasks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield (lines before its name, task, whether it was shown before) from top to bottom.

    A task stands below each that waits for it, and with what it waits for itself only the first time. Tasks that wait for each
    other in a circle have the one that was made first for the top.
    """
    by_id = {task["id"]: task for task in tasks}
    children = {task["id"]: [child for child in task["awaits"] if child in by_id] for task in tasks}
    awaited = {child for task in tasks for child in children[task["id"]]}
    shown: set[int] = set()
    roots = [task["id"] for task in tasks if task["id"] not in awaited]
    for root in [*roots, *by_id]:
        if root in shown:
            continue
        waiting = [(root, "", "")]
        while waiting:
            task_id, before, below = waiting.pop()
            again = task_id in shown
            yield before, by_id[task_id], again
            if again:
                continue
            shown.add(task_id)
            own = children[task_id]
            waiting += [
                (child, below + ("├─ ", "└─ ")[child is own[-1]], below + ("│  ", "   ")[child is own[-1]])
                for child in reversed(own)
            ]


def _rows(tasks: list[dict[str, Any]], folder: str) -> Iterator[tuple[str, ...]]:
    for before, task, again in tree(tasks):
        name = before + printable(task["name"])
        if again:
            yield (f"{name} (shown above)", "", "", "", "")
            continue
        what = printable(task["waits_for"] or "-")
        yield (name, task["state"], duration(task["age"]), place(task["at"], folder), what)


_HEADS = ("TASK", "STATE", "AGE", "AT", "WAITS FOR")


def _table(tasks: list[dict[str, Any]], width: int | None, folder: str) -> Iterator[str]:
    """Yield the lines of the tasks of a loop; in a narrow terminal each has two."""
    rows = [_HEADS, *_rows(tasks, folder)]
    if width is not None and width < NARROW:
        yield from _narrow(rows[1:])
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADS))]
    if width is not None:
        # What is too much is taken from the places, then the names, then what is waited for.
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        for i, least in ((3, 30), (0, 24), (4, 12)):
            taken = min(max(excess, 0), max(widths[i] - least, 0))
            widths[i] -= taken
            excess -= taken
    for row in rows:
        yield "  ".join(cut(cell, w).ljust(w) for cell, w in zip(row, widths)).rstrip()


def _narrow(rows: list[tuple[str, ...]]) -> Iterator[str]:
    for name, state, age, at, what in rows:
        if not state:  # it was shown above
            yield name
            continue
        yield f"{name}  {state}" + ("" if age == "-" else f" {age}")
        indent = " " * (len(name) - len(name.lstrip("│├└─ ")) + 2)
        yield indent + (at if what == "-" else f"{at}, for {what}")


def report(answer: dict[str, Any], width: int | None, folder: str) -> Iterator[str]:
    """Yield the lines about a process, none of which is longer than the width in columns. width: None: any."""
    for line in _full_report(answer, width, folder):
        yield line if width is None else cut(line, width)


def _full_report(answer: dict[str, Any], width: int | None, folder: str) -> Iterator[str]:
    yield heading(answer)
    for loop in answer["loops"]:
        if loop["closed"]:
            continue
        yield ""
        yield f"{loop_heading(loop)}, {counted(loop['task_count'], 'task')}"
        if loop["tasks"]:
            yield from _table(loop["tasks"], width, folder)
        left_out = loop["task_count"] - len(loop["tasks"])
        if left_out:
            yield f"… and {counted(left_out, 'task')} more; --limit shows more"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def heading(answer: dict[str, Any]) -> str:
    return printable(
        f"{answer['pid']}  {answer['command']}  (Python {answer['python']}, asyncio_c {answer['asyncio_c']})"
    )


def loop_heading(loop: dict[str, Any]) -> str:
    where = f"runs in {loop['thread']}" if loop["thread"] else "does not run"
    return printable(f"loop {loop['number']}, {loop['class']}, {where}")


def check_loops(answer: dict[str, Any]) -> None:
    """Raise MonitorError where nothing is to be seen."""
    if not answer["loops"]:
        raise client.MonitorError(f"process {answer['pid']} has no loop")
    if all(loop["closed"] for loop in answer["loops"]):
        raise client.MonitorError(f"process {answer['pid']} has closed its loops")


def terminal_width(out: TextIO) -> int | None:
    return shutil.get_terminal_size().columns if out.isatty() or "COLUMNS" in os.environ else None


def print_processes(out: TextIO) -> int:
    """Print who can be looked at."""
    found = client.processes()
    width = terminal_width(out)
    for answer in found:
        line = heading(answer)
        print(cut(line, width) if width else line, file=out)
    if not found:
        raise client.MonitorError(
            "there is no process to look at: start one with ASYNCIO_C_MONITOR=1, or have it call "
            "asyncio_c.monitor.serve()"
        )
    return 0


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_number.__name__ = "number"


def command_parser(name: str, description: str, **more: Any) -> argparse.ArgumentParser:
    """Return the parser of a command that looks at a process, or at none."""
    parser = argparse.ArgumentParser(prog=f"python -m asyncio_c {name}", description=description, **more)
    parser.add_argument("pid", metavar="PID", type=_number, nargs="?")
    return parser


def main(arguments: list[str]) -> int:
    parser = command_parser(
        "ps",
        "Show the tasks of a process as a tree: below each task are those it waits for. Without PID: the processes that can be "
        "looked at, which are those started with ASYNCIO_C_MONITOR=1 and those that called asyncio_c.monitor.serve().",
    )
    parser.add_argument("--json", action="store_true", help="print what the process answers, as JSON")
    parser.add_argument(
        "--limit", metavar="N", type=_number, default=1000, help="show at most N tasks (1000)"
    )
    options = parser.parse_args(arguments)
    if options.pid is None:
        if options.json:
            print(json.dumps(client.processes(), indent=2))
            return 0
        return print_processes(sys.stdout)
    answer = client.ask(options.pid, "tasks", limit=options.limit)
    check_loops(answer)
    if options.json:
        print(json.dumps(answer, indent=2))
    else:
        for line in report(answer, terminal_width(sys.stdout), os.getcwd()):
            print(line)
    return 0
