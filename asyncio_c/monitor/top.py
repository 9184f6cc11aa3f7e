"""python -m asyncio_c top PID: what the loops of a process do, again and again: counters, and the busiest coroutines.

How busy a coroutine is, is told by samples: between two pictures the process is asked up to a hundred times a second what it runs.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import client, ps

SAMPLE_EVERY = 0.005  # seconds
# What a key sorts by, and the column that it is; the most comes first, but for names.
ORDERS = {"b": "BUSY", "t": "TASKS", "r": "READY", "n": "COROUTINE"}
KEYS = "keys: b busy, t tasks, r ready, n name; q quits"


@dataclass
class Row:
    """A coroutine function, or a callback's."""

    coroutine: str
    tasks: int = 0
    ready: int = 0
    share: float = 0.0  # of the samples, in which it ran
    at: str = ""  # where it was in the most of these

    def cells(self) -> tuple[str, ...]:
        return (
            ps.printable(self.coroutine),
            f"{self.tasks:,}" if self.tasks else "-",
            f"{self.ready:,}" if self.ready else "-",
            f"{self.share:.0%}" if self.share else "-",
            self.at or "-",
        )


HEADS = ("COROUTINE", "TASKS", "READY", "BUSY", "AT")


@dataclass
class Loop:
    """What is shown of one loop."""

    heading: str
    counters: str
    rows: list[Row] = field(default_factory=list)

    def sorted(self, order: str) -> list[Row]:
        keys: dict[str, Callable[[Row], Any]] = {
            "BUSY": lambda row: (-row.share, -row.tasks, row.coroutine),
            "TASKS": lambda row: (-row.tasks, row.coroutine),
            "READY": lambda row: (-row.ready, -row.tasks, row.coroutine),
            "COROUTINE": lambda row: row.coroutine,
        }
        return sorted(self.rows, key=keys[order])


@dataclass
class Picture:
    heading: str
    loops: list[Loop]


class Samples:
    """What the loops of a process were seen to run."""

    def __init__(self) -> None:
        self.count = 0
        self.seen: dict[int, collections.Counter[str]] = {}
        self.places: dict[tuple[int, str], collections.Counter[str]] = {}

    def add(self, answer: dict[str, Any], folder: str) -> None:
        self.count += 1
        for loop in answer["loops"]:
            found = loop["running"]
            if found is not None:
                number, name = loop["number"], found["coroutine"]
                self.seen.setdefault(number, collections.Counter())[name] += 1
                self.places.setdefault((number, name), collections.Counter())[
                    ps.place(found["at"], folder)
                ] += 1


def rate(now: float, before: float, seconds: float) -> str:
    """Return how much more it is a second."""
    per_second = (now - before) / seconds
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if per_second >= factor:
            return f"{per_second / (1e3 if unit == 'k' else factor):,.1f}{unit}"
    return f"{per_second:,.0f}"


def percentile(later: list[list[float]], earlier: list[list[float]], part: float) -> float | None:
    """Return the upper bound of the bucket that has this part of what is in one histogram and not in an earlier one."""
    before = {(low, high): count for low, high, count in earlier}
    buckets = [(low, high, count - before.get((low, high), 0)) for low, high, count in later]
    left = part * sum(count for _, _, count in buckets)
    for _, high, count in buckets:
        left -= count
        if count and left <= 0:
            return high
    return None


def counters_line(now: dict[str, Any] | None, before: dict[str, Any] | None, seconds: float) -> str:
    """Return what a loop has done since the last picture, as a line; what is not measured is left out."""
    if now is None:
        return "not a loop of asyncio_c: nothing is counted"
    before = before or dict.fromkeys(now, 0)
    waited, worked = (now[name] - before[name] for name in ("seconds_waiting", "seconds_working"))
    parts = [f"busy {worked / (waited + worked):.0%}"] if waited + worked > 0 else []
    for name, unit in (("turns", ""), ("steps", ""), ("callbacks", ""), ("polls", "")):
        parts.append(f"{name} {rate(now[name], before[name], seconds)}{unit}/s")
    for name, label in (("bytes_in", "in"), ("bytes_out", "out")):
        parts.append(f"{label} {rate(now[name], before[name], seconds)}B/s")
    for name, label in (("lag", "lag"), ("callback_times", "callback")):
        if now.get(name):
            p99 = percentile(now[name], before.get(name) or [], 0.99)
            if p99 is not None:
                parts.append(f"{label} p99 {ps.duration(p99)}")
    parts += [f"{name} {now[name]:,}" for name in ("timers", "descriptors")]
    return "  ".join(parts)


class Watch:
    """Looks at a process again and again."""

    def __init__(self, pid: int, folder: str) -> None:
        self.pid = pid
        self.folder = folder
        self.last = self._counters()

    def _counters(self) -> dict[str, Any]:
        answer = client.ask(self.pid, "counters")
        ps.check_loops(answer)
        return answer

    def sample(self, samples: Samples) -> None:
        samples.add(client.ask(self.pid, "running"), self.folder)

    def picture(self, samples: Samples) -> Picture:
        """Return what has happened since the last one."""
        now, before = self._counters(), self.last
        self.last = now
        seconds = max(now["time"] - before["time"], 1e-9)
        stats_before = {loop["number"]: loop["stats"] for loop in before["loops"]}
        loops = []
        for loop in now["loops"]:
            if not loop["closed"]:
                counters = counters_line(loop["stats"], stats_before.get(loop["number"]), seconds)
                heading = f"{ps.loop_heading(loop)}, {ps.counted(loop['task_count'], 'task')}"
                loops.append(Loop(heading, counters, self._rows(loop, samples)))
        return Picture(ps.heading(now), loops)

    def _rows(self, loop: dict[str, Any], samples: Samples) -> list[Row]:
        rows = {
            name: Row(name, sum(states.values()), states["ready"])
            for name, states in loop["coroutines"].items()
        }
        for name, count in samples.seen.get(loop["number"], {}).items():
            row = rows.setdefault(name, Row(name))
            row.share = count / samples.count
            row.at = samples.places[loop["number"], name].most_common(1)[0][0]
        return list(rows.values())


def lines(picture: Picture, order: str, width: int | None, height: int | None) -> Iterator[str]:
    """Yield a picture as plain text, at most so many lines. width, height: of the terminal; None: any."""
    text = list(_all_lines(picture, order, width))
    for line in text if height is None or len(text) <= height else [*text[: height - 1], "…"]:
        yield ps.cut(line, width) if width is not None else line


def _all_lines(picture: Picture, order: str, width: int | None) -> Iterator[str]:
    yield picture.heading
    for loop in picture.loops:
        yield from ("", loop.heading, loop.counters)
        cells = [HEADS, *(row.cells() for row in loop.sorted(order))]
        widths = [max(len(row[i]) for row in cells) for i in range(len(HEADS))]
        if width is not None:
            widths[0] = min(widths[0], max(12, width // 2))
        for row in cells:
            name = ps.cut(row[0], widths[0]).ljust(widths[0])
            numbers = (cell.rjust(w) for cell, w in zip(row[1:4], widths[1:4]))
            yield "  ".join((name, *numbers, row[4])).rstrip()


# ---- In the terminal ----


def _sleep(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """Provide a function that waits so many seconds, or until a key is pressed, and returns that, or nothing."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def wait_for_key(seconds: float) -> str:
        ready, _, _ = select.select([fd], [], [], max(seconds, 0))
        return os.read(fd, 1).decode("ascii", "replace") or "q" if ready else ""

    try:
        tty.setcbreak(fd)
        yield wait_for_key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def plain_screen() -> Iterator[Callable[[Picture, str], None]]:
    """Provide a function that shows a picture: in place of the last one in a terminal, below it in a file."""
    out = sys.stdout
    on_terminal = out.isatty()

    def show(picture: Picture, order: str) -> None:
        width = ps.terminal_width(out)
        if on_terminal:
            height = shutil.get_terminal_size().lines
            text = [*lines(picture, order, width, height - 2), KEYS]
            out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in text) + "\x1b[J")
        else:
            out.write("".join(f"{line}\n" for line in lines(picture, order, width, None)) + "\n")
        out.flush()

    if on_terminal:
        out.write("\x1b[?1049h\x1b[2J")
    try:
        yield show
    finally:
        if on_terminal:
            out.write("\x1b[?1049l")
            out.flush()


def screen() -> contextlib.AbstractContextManager[Callable[[Picture, str], None]]:
    """Return rich's screen in a terminal, where rich is installed, and the plain one else."""
    if sys.stdout.isatty():
        try:
            from . import top_rich
        except ImportError:
            return plain_screen()
        return top_rich.screen()
    return plain_screen()


def collect(watch: Watch, seconds: float, wait: Callable[[float], str]) -> tuple[Picture | None, str]:
    """Return the picture of the next so many seconds, or None and the key that was pressed meanwhile."""
    samples, end = Samples(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        watch.sample(samples)
        key = wait(min(SAMPLE_EVERY, left))
        if key:
            return None, key
    return watch.picture(samples), ""


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86400:
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"


def main(arguments: list[str]) -> int:
    parser = ps.command_parser(
        "top",
        "Show what the loops of a process do, and its busiest coroutines, until q is pressed. Without PID: the processes that can "
        "be looked at. pip install 'asyncio_c[top]' brings colours.",
        epilog=KEYS,
    )
    parser.add_argument("--once", action="store_true", help="print one picture as plain text, and exit")
    parser.add_argument(
        "--interval", metavar="SECONDS", type=_seconds, default=1.0, help="between two pictures (1)"
    )
    options = parser.parse_args(arguments)
    if options.pid is None:
        return ps.print_processes(sys.stdout)
    watch, order = Watch(options.pid, os.getcwd()), "BUSY"
    if options.once:
        picture, _ = collect(watch, options.interval, _sleep)
        assert picture is not None
        for line in lines(picture, order, ps.terminal_width(sys.stdout), None):
            print(line)
        return 0
    picture = None
    with contextlib.suppress(KeyboardInterrupt), keys() as wait, screen() as show:
        while True:
            found, key = collect(watch, options.interval, wait)
            picture = found or picture
            if key == "q":
                break
            order = ORDERS.get(key, order)
            if picture is not None:
                show(picture, order)
    return 0
