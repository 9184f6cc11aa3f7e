"""The timeline as a picture that stands alone: SVG with hover texts, for light and dark.

A row for each task: what runs is a solid block, never thinner than the eye can see; what waits is a band that says for what; an
arrow leads from who woke a task to the task. Only for who made whom the line is dotted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape

from . import timeline
from .recording import Recording, Span, TaskRecord
from .timeline import Group

_ROWS = 60
_MOST_ARROWS = 200
_WIDTH = 960
_TOP, _ROW, _BAND = 58, 36, 20  # heights: above the rows, of a row, of the band in it
_LETTER, _BOLD = 6.4, 7.5  # the width of a letter, and of one of a name in bold, about
_SHORTEST = 3.0  # of a step

# The families of what is waited for, as the colours go.
_FAMILIES = {
    "sleep": "sleep",
    "task": "task",
    "tasks": "task",
    "gather": "task",
    "queue": "sync",
    "lock": "sync",
    "event": "sync",
    "stream": "io",
    "socket": "io",
    "connection": "io",
    "server": "io",
    "thread": "outside",
    "process": "outside",
}
_FAMILY_WORDS = {
    "sleep": "sleeps",
    "task": "waits for tasks",
    "sync": "for a queue, lock, event",
    "io": "for a socket",
    "outside": "for a thread, process",
    "other": "for a future",
}

_LIGHT = {
    "back": "#ffffff",
    "text": "#1f2328",
    "muted": "#6a737d",
    "grid": "#e4e8ec",
    "lane": "#f6f8fa",
    "run": "#16a34a",
    "ready": "#f59e0b",
    "arrow": "#64748b",
    "result": "#15803d",
    "exception": "#dc2626",
    "cancelled": "#9333ea",
    "pending": "#b45309",
    "sleep": "#dbeafe",
    "sleep-text": "#1e40af",
    "task": "#ede9fe",
    "task-text": "#5b21b6",
    "sync": "#fef3c7",
    "sync-text": "#854d0e",
    "io": "#ccfbf1",
    "io-text": "#115e59",
    "outside": "#fce7f3",
    "outside-text": "#9d174d",
    "other": "#e5e7eb",
    "other-text": "#374151",
}
_DARK = {
    "back": "#0d1117",
    "text": "#e6edf3",
    "muted": "#8d96a0",
    "grid": "#21262d",
    "lane": "#151b23",
    "run": "#3fb950",
    "ready": "#d29922",
    "arrow": "#7d8895",
    "result": "#3fb950",
    "exception": "#f85149",
    "cancelled": "#c084fc",
    "pending": "#e3b341",
    "sleep": "#1e3a5f",
    "sleep-text": "#bfdbfe",
    "task": "#3b2f63",
    "task-text": "#ddd6fe",
    "sync": "#4a3a12",
    "sync-text": "#fde68a",
    "io": "#134e4a",
    "io-text": "#99f6e4",
    "outside": "#581c3c",
    "outside-text": "#fbcfe8",
    "other": "#30363d",
    "other-text": "#d0d7de",
}

_STYLE = """\
.asyncio-timeline { %(light)s }
@media (prefers-color-scheme: dark) { .asyncio-timeline { %(dark)s } }
.asyncio-timeline text { font: 11px ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", sans-serif; fill: var(--text); }
.asyncio-timeline .title { font-size: 14px; font-weight: 600; }
.asyncio-timeline .name { font-size: 12px; font-weight: 600; }
.asyncio-timeline .muted { font-weight: 400; fill: var(--muted); }
.asyncio-timeline .mark { font-size: 14px; font-weight: 700; }
.asyncio-timeline .grid { stroke: var(--grid); stroke-width: 1; }
.asyncio-timeline .wakes { fill: none; stroke: var(--arrow); stroke-width: 1.3; }
.asyncio-timeline .makes { fill: none; stroke: var(--arrow); stroke-width: 1.2; stroke-dasharray: 1.5 3; }
.asyncio-timeline .tip { fill: var(--arrow); }
.asyncio-timeline rect:hover, .asyncio-timeline path:hover { filter: brightness(1.12); }
"""


def draw(recording: Recording) -> str:
    """Return the document; see Recording.svg."""
    return "\n".join(_Drawing(recording).elements()) + "\n"


def _label_width(first: str, second: str) -> float:
    return len(first) * _BOLD + (6 + len(second) * _LETTER if second else 0)


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _text(words: str) -> str:
    """Escape for XML, which has no place for most control characters."""
    return escape(re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", words))


class _Drawing:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.view = timeline.choose(recording, _ROWS)
        widest = max((_label_width(*self.label(row)) for row in self.view.rows), default=0.0)
        self.grouped = {row.function for row in self.view.rows if isinstance(row, Group)}
        self.left = min(max(90.0, (48 if self.grouped else 36) + widest), 300.0)
        self.right = _WIDTH - 46
        self.scale = (self.right - self.left) / (self.view.end - self.view.start)
        self.bottom = _TOP + _ROW * max(len(self.view.rows), 1)
        self.row_of = {
            row.number: index for index, row in enumerate(self.view.rows) if isinstance(row, TaskRecord)
        }
        self.by_number = {task.number: task for task in recording.tasks}
        self.families: set[str] = set()
        self.states: set[str] = set()

    def elements(self) -> Iterator[str]:
        # The legend shows what there is, which is known when the rows have been drawn.
        rows = [element for index in range(len(self.view.rows)) for element in self.row(index)]
        legend, height = self.legend()
        style = _STYLE % {"light": _variables(_LIGHT), "dark": _variables(_DARK)}
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="asyncio-timeline" viewBox="0 0 {_WIDTH} {height:g}" '
            f'width="{_WIDTH}" height="{height:g}" role="img">'
        )
        yield f"<style>{style}</style>"
        yield (
            '<defs><marker id="asyncio-timeline-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" '
            'markerHeight="6.5" orient="auto-start-reverse"><path class="tip" d="M0,0.5 L8,4 L0,7.5 z"/></marker></defs>'
        )
        yield f'<rect width="{_WIDTH}" height="{height:g}" rx="8" style="fill: var(--back)"/>'
        yield f'<text x="20" y="30" class="title">{_text(timeline.title(self.recording))}</text>'
        if missing := timeline.incomplete(self.recording):
            yield f'<text x="20" y="46" style="fill: var(--exception)">{_text(missing)}</text>'
        yield from self.axis()
        yield from rows
        yield from self.arrows()
        yield from legend
        yield "</svg>"

    def x(self, time: float) -> float:
        return self.left + (time - self.view.start) * self.scale

    def middle(self, index: int) -> float:
        return _TOP + _ROW * index + _ROW / 2

    # ---- Rows ----

    @staticmethod
    def label(row: Group | TaskRecord) -> tuple[str, str]:
        """Return what is set in bold, and what less."""
        if isinstance(row, Group):
            return f"{len(row.tasks):,} × {row.function}", ""
        if re.fullmatch(r"Task-\d+", row.name):
            return row.function, row.name
        return row.name, row.function if row.function != row.name else ""

    def row(self, index: int) -> Iterator[str]:
        row = self.view.rows[index]
        top = self.middle(index) - _BAND / 2
        if index % 2 == 0:
            yield (
                f'<rect x="8" y="{_TOP + _ROW * index}" width="{_WIDTH - 16}" height="{_ROW}" rx="4" '
                'style="fill: var(--lane)"/>'
            )
        if isinstance(row, Group):
            yield self.name(index, *self.label(row), row.summary)
            yield from self.group(row, top)
            return
        hover = [row.label, *timeline.sentence(row).split("; ")]
        if row.made_by:
            hover.append(f"made by {row.made_by}")
        if row.origin:
            hover.append(timeline.place(row.origin))
        yield self.name(index, *self.label(row), "\n".join(hover))
        # What runs is drawn over what waits: it is always seen.
        for span in sorted(row.spans, key=lambda span: span.state == "running"):
            yield from self.span(row, span, top)
        yield from self.outcome(row, index)

    def name(self, index: int, first: str, second: str, hover: str) -> str:
        row = self.view.rows[index]
        x = 32 if isinstance(row, TaskRecord) and row.function in self.grouped else 20
        room = self.left - 16 - x
        first = first if len(first) * _BOLD <= room else first[: int(room / _BOLD) - 1] + "…"
        if _label_width(first, second) > room:
            left = int((room - _label_width(first, "")) / _LETTER) - 1
            second = second[:left] + "…" if left > 3 else ""
        return (
            f'<text x="{x}" y="{self.middle(index) + 4:g}" class="name">{_text(first)}'
            f'<tspan class="muted" dx="6">{_text(second)}</tspan><title>{_text(hover)}</title></text>'
        )

    def span(self, task: TaskRecord, span: Span, top: float) -> Iterator[str]:
        start, end = self.x(span.start), self.x(span.end)
        if span.state == "running" or end - start >= 1:  # what is thinner has no colour to be explained
            self.states.add(span.state)
        if span.state == "running":
            width = max(end - start, _SHORTEST)
            start = min(start, self.right - width)
            hover = f"{task.label}\nran {timeline.seconds(span.duration)} at {timeline.seconds(span.start - self.view.start)}"
            yield self.block(start, top - 1, width, _BAND + 2, "run", hover, 1.5)
            return
        if end - start < 0.3:
            return
        if span.state == "ready":
            hover = f"{task.label}\nwas ready {timeline.seconds(span.duration)} before its turn"
            yield self.block(start, top + _BAND / 2 - 2, end - start, 4, "ready", hover, 0)
            return
        family = _FAMILIES.get(span.kind, "other")
        self.families.add(family)
        hover = "\n".join(
            words
            for words in (
                task.label,
                f"waited {timeline.seconds(span.duration)} for {span.label}",
                f"woken by {span.woken_by}" if span.woken_by else "",
                timeline.place(span.where),
            )
            if words
        )
        yield self.block(start, top, end - start, _BAND, family, hover, 2)
        room = int((end - start - 10) / _LETTER)
        words = span.label if room >= len(span.label) else span.what
        if room >= len(words):
            yield (
                f'<text x="{(start + end) / 2:.1f}" y="{top + _BAND / 2 + 4:g}" text-anchor="middle" '
                f'pointer-events="none" style="fill: var(--{family}-text)">{_text(words)}</text>'
            )

    @staticmethod
    def block(x: float, y: float, width: float, height: float, colour: str, hover: str, radius: float) -> str:
        return (
            f'<rect x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="{height:g}" rx="{radius:g}" '
            f'style="fill: var(--{colour})"><title>{_text(hover)}</title></rect>'
        )

    def outcome(self, task: TaskRecord, index: int) -> Iterator[str]:
        mark = {"result": "✓", "exception": "✗", "cancelled": "⊘", "pending": "…"}[task.outcome]
        x = max(self.x(task.ended), self.x(task.made) + _SHORTEST) if task.ended is not None else self.right
        words = {"result": "done", "exception": task.error, "cancelled": "cancelled", "pending": "not done"}
        yield (
            f'<text x="{x + 6:.1f}" y="{self.middle(index) + 5:g}" class="mark" style="fill: var(--{task.outcome})">{mark}'
            f"<title>{_text(words[task.outcome])}</title></text>"
        )

    def group(self, group: Group, top: float) -> Iterator[str]:
        """Draw how many of the tasks are alive, as a hill."""
        columns = 200
        step = (self.view.end - self.view.start) / columns
        alive = [
            group.alive(self.view.start + index * step, self.view.start + (index + 1) * step)
            for index in range(columns)
        ]
        most, floor = max(alive) or 1, top + _BAND + 2
        points = [f"{self.left:.1f},{floor:g}"]
        for index, count in enumerate(alive):
            y = floor - (_BAND + 4) * count / most
            points += [f"{self.x(self.view.start + (index + side) * step):.1f},{y:.1f}" for side in (0, 1)]
        points.append(f"{self.right:.1f},{floor:g}")
        hover = f"{group.function}: {group.summary}\nat most {most:,} at the same time"
        yield (
            f'<path d="M{" L".join(points)} z" style="fill: var(--task-text); fill-opacity: 0.25">'
            f"<title>{_text(hover)}</title></path>"
        )
        yield (
            f'<text x="{(self.left + self.right) / 2:.1f}" y="{floor - 7:g}" text-anchor="middle" pointer-events="none" '
            f'style="fill: var(--task-text)">{_text(group.summary)}</text>'
        )

    # ---- Who woke and who made whom ----

    def arrows(self) -> Iterator[str]:
        drawn = 0
        for task in self.recording.tasks:
            target = self.row_of.get(task.number)
            if target is None:
                continue
            links = [(task.made, task.maker, "makes")]
            links += [(span.end, span.waker, "wakes") for span in task.spans if span.state == "waiting"]
            for time, other, kind in links:
                source = self.row_of.get(other or 0)
                if source is None or source == target or drawn >= _MOST_ARROWS:
                    continue
                drawn += 1
                hover = f"{self.by_number[other or 0].label} {kind} {task.label}"
                yield self.arrow(self.x(time), source, target, kind, hover)

    def arrow(self, x: float, source: int, target: int, kind: str, hover: str) -> str:
        down = 1 if target > source else -1
        start = self.middle(source) + down * (_BAND / 2 + 1)
        end = self.middle(target) - down * (_BAND / 2 + 1)
        x = min(max(x, self.left + 1.5), self.right) + (1.5 if kind == "makes" else 0)
        marker = ' marker-end="url(#asyncio-timeline-tip)"' if kind == "wakes" else ""
        self.states.add(kind)
        return f'<path class="{kind}" d="M{x:.1f},{start:g} L{x:.1f},{end:g}"{marker}><title>{_text(hover)}</title></path>'

    # ---- What is around the rows ----

    def axis(self) -> Iterator[str]:
        for time, words in timeline.ticks(self.view.end - self.view.start, 9):
            x = self.left + time * self.scale
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{self.bottom + 4}" class="grid"/>'
            anchor = "middle" if x < self.right - 10 else "end"
            yield f'<text x="{x:.1f}" y="{self.bottom + 18}" text-anchor="{anchor}" class="muted">{words}</text>'

    def legend(self) -> tuple[list[str], float]:
        """Return the elements of the legend, and the height of the picture with it."""
        items = [("run", "runs")] if "running" in self.states else []
        items += [(family, words) for family, words in _FAMILY_WORDS.items() if family in self.families]
        items += [("ready", "ready, not its turn yet")] if "ready" in self.states else []
        parts, x, y = [], 20.0, self.bottom + 44.0
        drawn: list[tuple[str, str, str]] = [
            (f'<rect x="%s" y="%s" width="14" height="10" rx="2" style="fill: var(--{colour})"/>', words, "")
            for colour, words in items
        ]
        outcomes = {task.outcome for task in self.view.rows if isinstance(task, TaskRecord)}
        marks = {"result": ("✓", "done"), "exception": ("✗", "failed"), "cancelled": ("⊘", "cancelled")}
        marks["pending"] = ("…", "not done")
        for outcome, (mark, words) in marks.items():
            if outcome in outcomes:
                drawn.append(("", words, f'<text x="%s" y="%s" style="fill: var(--{outcome})">{mark}</text>'))
        arrow = '<path class="{}" d="M%s,%s l12,0" {}/>'
        if any(span.waker in self.row_of for task in self.recording.tasks for span in task.spans):
            drawn.append((arrow.format("wakes", 'marker-end="url(#asyncio-timeline-tip)"'), "wakes", "path"))
        if any(task.maker in self.row_of for task in self.recording.tasks):
            drawn.append((arrow.format("makes", ""), "makes a task", "path"))
        for shape, words, mark in drawn:
            width = (20 if shape else 14) + len(words) * 5.9 + 14
            if x + width > _WIDTH - 10:
                x, y = 20.0, y + 20
            if mark == "path":
                parts.append(shape % (f"{x:.1f}", f"{y - 4:g}"))
            else:
                parts.append((shape or mark) % (f"{x:.1f}", f"{y - 9:g}" if shape else f"{y:g}"))
            gap = 20 if shape else 14
            parts.append(f'<text x="{x + gap:.1f}" y="{y:g}" class="muted">{_text(words)}</text>')
            x += width
        if self.view.hidden:
            y += 20
            parts.append(
                f'<text x="20" y="{y:g}" class="muted">{self.view.hidden:,} other tasks are not shown.</text>'
            )
        return parts, y + 18
