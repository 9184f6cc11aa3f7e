"""The timeline as text: a row for each task, its time from left to right."""

from __future__ import annotations

from dataclasses import dataclass

from . import timeline
from .recording import Recording, Span, TaskRecord
from .timeline import Group, View

_ROWS = 30
_SENTENCES = 14  # so many tasks are told in words, too


@dataclass(frozen=True)
class _Characters:
    running: str
    short: str  # a step of less than half a column
    waiting: str
    ready: str
    outcomes: dict[str, str]
    levels: str  # of a group, from none of its tasks to all
    by: str
    axis: str
    tick: str


_UNICODE = _Characters(
    "█",
    "┃",
    "─",
    "░",
    {"result": "✓", "exception": "✗", "cancelled": "⊘", "pending": "…"},
    " ▁▂▃▄▅▆▇█",
    "←",
    "╌",
    "┴",
)
_ASCII = _Characters(
    "#",
    "|",
    "-",
    ".",
    {"result": "+", "exception": "!", "cancelled": "x", "pending": ">"},
    " .:-=+*%@",
    "<-",
    "-",
    "+",
)

_COLOURS = {
    "running": "1;32",
    "ready": "33",
    "waiting": "2",
    "label": "36",
    "name": "1",
    "dim": "2",
    "group": "34",
    "result": "32",
    "exception": "1;31",
    "cancelled": "35",
    "pending": "33",
}


def draw(recording: Recording, width: int, colour: bool, ascii: bool) -> str:
    """Return the lines; see Recording.text."""
    return _Drawing(recording, max(width, 40), colour, _ASCII if ascii else _UNICODE).lines()


class _Drawing:
    def __init__(self, recording: Recording, width: int, colour: bool, characters: _Characters) -> None:
        self.recording, self.width, self.colour, self.characters = recording, width, colour, characters
        self.view: View = timeline.choose(recording, _ROWS)
        self.drawn: set[tuple[str, str]] = set()  # the styles and characters of the rows
        labels = [self.label(row) for row in self.view.rows]
        self.label_width = min(max(map(len, labels), default=0), width // 3)
        self.columns = width - self.label_width - 3
        self.scale = self.columns / (self.view.end - self.view.start)

    def lines(self) -> str:
        painted = [self.paint("name", "asyncio timeline") + ": " + timeline.title(self.recording)]
        if missing := timeline.incomplete(self.recording):
            painted.append(self.paint("exception", missing))
        if not self.view.rows:
            return "\n".join([*painted, "No task ran on a loop of asyncio_c."])
        painted.append("")
        for row in self.view.rows:
            label = self.fit(self.label(row)).ljust(self.label_width)
            bar = self.group_bar(row) if isinstance(row, Group) else self.task_bar(row)
            painted.append(f"{self.paint('name', label)} {bar}".rstrip())
        painted += self.axis()
        if self.view.hidden:
            painted.append(f"{self.view.hidden:,} other tasks are not shown.")
        painted.append(self.legend())
        tasks = [row for row in self.view.rows if isinstance(row, TaskRecord)]
        if len(tasks) <= _SENTENCES or len(tasks) < len(self.view.rows):
            painted.append("")
            for task in tasks[:_SENTENCES]:
                label = self.fit(self.label(task)).ljust(self.label_width)
                painted.append(f"{self.paint('name', label)} {timeline.sentence(task)}")
        return "\n".join(painted)

    # ---- One row ----

    def label(self, row: Group | TaskRecord) -> str:
        if isinstance(row, Group):
            return f"{len(row.tasks):,} x {row.function}"
        return (
            row.label
            if len(self.view.rows) == len(self.recording.tasks) or not self.in_group(row)
            else "  " + row.name
        )

    def in_group(self, task: TaskRecord) -> bool:
        return any(isinstance(row, Group) and row.function == task.function for row in self.view.rows)

    def fit(self, text: str) -> str:
        more = "~" if self.characters is _ASCII else "…"
        return text if len(text) <= self.label_width else text[: self.label_width - 1] + more

    def column(self, time: float) -> float:
        return (time - self.view.start) * self.scale

    def task_bar(self, task: TaskRecord) -> str:
        cells = [" "] * (self.columns + 1)
        styles = [""] * (self.columns + 1)
        covered = [0.0] * (self.columns + 1)  # how much of each column it runs
        for span in task.spans:
            if span.state != "running":
                character = self.characters.waiting if span.state == "waiting" else self.characters.ready
                for index in self.columns_of(span):
                    cells[index], styles[index] = character, span.state
        for span in task.spans:
            if span.state == "running":
                for index in self.columns_of(span):
                    left, right = max(self.column(span.start), index), min(self.column(span.end), index + 1)
                    covered[index] += max(right - left, 0.0)
                    cells[index] = self.characters.running if covered[index] >= 0.5 else self.characters.short
                    styles[index] = "running"
        for span in task.spans:
            if span.state == "waiting":
                self.write_label(cells, styles, span)
        self.write_outcome(cells, styles, task)
        self.drawn.update(zip(styles, cells, strict=True))
        return self.join(cells, styles)

    def columns_of(self, span: Span) -> range:
        first = min(max(int(self.column(span.start)), 0), self.columns - 1)
        last = min(max(int(self.column(span.end) - 1e-9), first), self.columns - 1)
        return range(first, last + 1)

    def write_label(self, cells: list[str], styles: list[str], span: Span) -> None:
        """Write what it waits for, with in which function and who woke it where there is room for them."""
        free = [index for index in self.columns_of(span) if styles[index] == "waiting"]
        by = (
            f" {self.characters.by} {span.woken_by}"
            if span.waker is not None and span.woken_by not in span.what
            else ""
        )
        for text in (span.label + by, span.label, span.what + by, span.what):
            start = free[0] + (len(free) - len(text)) // 2 if free else 0
            if text and len(text) + 4 <= len(free) and free[-1] - free[0] == len(free) - 1:
                for index, character in enumerate(f" {text} ", start - 1):
                    cells[index], styles[index] = character, "label"
                return

    def write_outcome(self, cells: list[str], styles: list[str], task: TaskRecord) -> None:
        end = self.view.end if task.ended is None else task.ended
        index = min(int(self.column(end) - 1e-9) + 1, self.columns)
        cells[index], styles[index] = self.characters.outcomes[task.outcome], task.outcome

    def group_bar(self, group: Group) -> str:
        step = 1 / self.scale
        levels = self.characters.levels
        alive = [
            group.alive(self.view.start + index * step, self.view.start + (index + 1) * step)
            for index in range(self.columns)
        ]
        most = max(alive) or 1
        cells = [levels[-(-count * (len(levels) - 1) // most)] for count in alive]
        bar = self.join(cells, ["group"] * len(cells))
        return f"{bar.rstrip()}\n{' ' * self.label_width} {self.paint('dim', group.summary)}"

    # ---- What is around the rows ----

    def axis(self) -> list[str]:
        line = [self.characters.axis] * self.columns
        text = [" "] * (self.width + 12)
        for time, words in timeline.ticks(self.view.end - self.view.start, max(self.columns // 12, 1)):
            index = min(round(time * self.scale), self.columns - 1)
            line[index] = self.characters.tick
            start = min(index, self.columns - len(words) + 1)
            if all(character == " " for character in text[max(start - 1, 0) : start + len(words)]):
                text[start : start + len(words)] = words
        indent = " " * (self.label_width + 1)
        return [
            indent + self.paint("dim", "".join(line)),
            indent + self.paint("dim", "".join(text).rstrip()),
        ]

    def legend(self) -> str:
        """Return what the characters mean, of those that are in the rows."""
        characters, outcomes = self.characters, self.characters.outcomes
        parts = [
            ("running", characters.running, "runs"),
            ("running", characters.short, "runs briefly"),
            ("waiting", characters.waiting, "waits"),
            ("ready", characters.ready, "ready, not its turn yet"),
            ("result", outcomes["result"], "done"),
            ("exception", outcomes["exception"], "failed"),
            ("cancelled", outcomes["cancelled"], "cancelled"),
            ("pending", outcomes["pending"], "not done"),
        ]
        parts = [
            (style, character, words) for style, character, words in parts if (style, character) in self.drawn
        ]
        if any(isinstance(row, Group) for row in self.view.rows):
            parts.append(("group", characters.levels[1:], "how many of the group live"))
        lines, length = [""], 0
        for style, character, words in parts:
            size = len(character) + len(words) + 3
            if length + size > self.width and lines[-1]:
                lines.append("")
                length = 0
            lines[-1] += ("  " if lines[-1] else "") + f"{self.paint(style, character)} {words}"
            length += size
        return "\n".join(lines)

    # ---- Colours ----

    def paint(self, style: str, text: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colour and text.strip() else text

    def join(self, cells: list[str], styles: list[str]) -> str:
        """Join the cells, each run of one style painted at once."""
        parts, start = [], 0
        for index in range(1, len(cells) + 1):
            if index == len(cells) or styles[index] != styles[start]:
                text = "".join(cells[start:index])
                parts.append(self.paint(styles[start], text) if styles[start] else text)
                start = index
        return "".join(parts)
