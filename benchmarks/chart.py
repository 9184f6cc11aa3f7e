"""The chart of a result as SVG: for each operation a bar per target, as long as the target is faster than asyncio.

Written by hand, as it is only rectangles and text: so the chart can be drawn wherever the benchmarks run, also on a
CPython that no plotting library has a wheel for yet.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from .registry import MEMORY, NATIVE, OTHER
from .report import groups, mean_over, mean_ratio, ratio, usable_targets

BASELINE = "asyncio"
COLOURS = {
    "uvloop": "#a3acb9",
    "aiofastnet": "#c9b18b",
    "rloop": "#e07b54",
    "rsloop": "#b5473c",
    "zuvloop": "#9ccc65",
    "zloop": "#3f8f5f",
    "talyn": "#b58bd1",
    "blazio": "#e0b84c",
    "loopmini": "#8a6d5a",
    "loop-only": "#7cb5ec",
    "patched": "#1f5fbf",
    "floor": "#3e4a59",
}
WIDTH = 920
LEFT = 258  # where the bars' area begins; the names are left of it
RIGHT = 52  # room for the number behind the longest bar
BAR = 9
GAP = 10  # between operations
HEADING = 36
FARTHEST = 100.0  # what is faster than so many times is cut off, and has its number: the others would be too short to compare

STYLE = """
.card { fill: #ffffff; }
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2933; }
.title { font-size: 20px; font-weight: 600; }
.note, .tick { fill: #5f6b7a; font-size: 12px; }
.group { font-weight: 600; fill: #5f6b7a; }
.mean { font-weight: 600; }
.value { font-size: 10px; fill: #3e4a59; }
.grid { stroke: #e4e8ee; }
.one { stroke: #1f2933; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  .card { fill: #1a1e24; } text { fill: #e4e8ee; } .note, .tick, .group { fill: #a3acb9; } .value { fill: #c3ccd8; }
  .grid { stroke: #2d343e; } .one { stroke: #e4e8ee; }
  .floor { fill: #6b7685; } .patched { fill: #3f7fdf; }
}
"""

SUMMARY_TARGETS = ("uvloop", "loop-only", "patched")
# The rows of the summary, by the groups or names of the operations that each is the mean of.
SUMMARY = (
    ("tasks, timers, callbacks", (NATIVE,)),
    ("timeout, wait_for, shield", ("timeout_unused", "wait_for", "shield")),
    (
        "queues, events, locks",
        ("queue_ping_pong", "event_ping_pong", "lock_contended", "semaphore_contended"),
    ),
    ("a free queue, a free lock", ("queue_uncontended", "lock_uncontended")),
    ("all of the core", (NATIVE, OTHER)),
)

Row = tuple[str, dict[str, float], str]  # the name, the speed-up by target, the class of the text


class Heading(NamedTuple):
    """The title and the legend of a chart, and where what is below them begins."""

    parts: list[str]
    bottom: int


def draw(result: dict[str, Any]) -> str:
    """Return the chart of `result` as the text of an SVG file.

    Targets are compared with asyncio; without it, or without another target, the chart says that it is empty.
    """
    targets = [name for name in COLOURS if "error" not in result["targets"].get(name, {"error": ""})]
    return chart(chart_rows(result, targets), heading([result], targets))


def draw_summary(results: list[dict[str, Any]], chosen_targets: tuple[str, ...] | None = None) -> str:
    """Return a chart of geometric means over SUMMARY, of results of the core on several Pythons, as the text of an SVG file.

    It is of `chosen_targets`, or of all, where any of the results has them.
    """
    there = {name for result in results for name in usable_targets(result)}
    targets = [name for name in COLOURS if name in there and name in (chosen_targets or COLOURS)]
    versions = [".".join(result["python"].split(".")[:2]) for result in results]
    rows: list[Row] = []
    for title, chosen in SUMMARY:
        for version, result in zip(versions, results, strict=True):
            entries = [
                entry for entry in result["operations"] if entry["group"] in chosen or entry["name"] in chosen
            ]
            means = {target: mean_over(entries, BASELINE, target)[0] for target in targets}
            ratios = {target: value for target, value in means.items() if value}
            if ratios:
                rows.append((f"{title}, {version}", ratios, ""))
    about = f"Means. {results[0]['implementation']} {' and '.join(versions)}"
    return chart([("", rows)], heading(results, targets, about))


def chart(charted: list[tuple[str, list[Row]]], head: Heading) -> str:
    """Return a document of these groups of rows, on one axis."""
    values = [value for _, rows in charted for _, ratios, _ in rows for value in ratios.values()]
    if not values:
        return document(120, [*head.parts, text(24, 84, "Nothing to compare with asyncio.", "note")])
    low, high = axis(values)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    parts: list[str] = []
    top = head.bottom
    y = top + 8.0
    for title, rows in charted:
        if title:
            y += HEADING
            parts.append(text(24, y - 10, title, "group"))
        for name, ratios, style in rows:
            height = BAR * len(ratios)
            parts.append(text(LEFT - 14, y + height / 2 + 4, name, style, "end"))
            for i, (target, value) in enumerate(ratios.items()):
                parts += bar(x, y + i * BAR, value, target)
            y += height + GAP
    bottom = y
    grid = []
    for value in ticks(low, high):
        style = "one" if value == 1 else "grid"
        grid.append(
            f'<line class="{style}" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{top}" y2="{bottom:.0f}"/>'
        )
        for where in (top - 8, bottom + 18):
            grid.append(text(x(value), where, f"{value:g}x", "tick", "middle"))
    return document(bottom + 34, head.parts + grid + parts)


def chart_rows(result: dict[str, Any], targets: list[str]) -> list[tuple[str, list[Row]]]:
    """Return the groups of rows, the geometric means first."""
    means = []
    for title, over in (
        ("native operations", (NATIVE,)),
        ("native, and on top of them", (NATIVE, OTHER)),
    ):
        ratios = {target: mean_ratio(result, BASELINE, target, over)[0] for target in targets}
        means.append((title, {target: value for target, value in ratios.items() if value}, "mean"))
    charted = [("geometric means", [row for row in means if row[1]])]
    for group, title in groups(result).items():
        rows = []
        for entry in result["operations"]:
            if entry["group"] == group:
                ratios = {target: ratio(entry, BASELINE, target) for target in targets}
                rows.append(
                    (
                        entry.get("label", entry["title"]),
                        {target: value for target, value in ratios.items() if value},
                        "",
                    )
                )
        title += " (how many times less than asyncio)" if group == MEMORY else ""
        charted.append((title, [row for row in rows if row[1]]))
    return [(title, rows) for title, rows in charted if rows]


def bar(x: Any, y: float, value: float, target: str) -> list[str]:
    """Return a bar from 1 to `value`, to the left if the target is slower than asyncio, with its number behind it."""
    start, end = sorted((x(1), x(min(value, FARTHEST))))
    label = f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1.05 else f"{value:.2f}"
    # The number of a bar to the left stands right of the line, where nothing else is.
    return [
        f'<rect class="{target}" x="{start:.1f}" y="{y:.1f}" width="{max(end - start, 1):.1f}" height="{BAR - 1}"'
        f' fill="{COLOURS[target]}"/>',
        text(end + 4, y + BAR - 1.5, label + (" »" if value > FARTHEST else ""), "value"),
    ]


def axis(values: list[float]) -> tuple[float, float]:
    """Return the ends of the axis: a little more than the values, and always with 1 and some room around it."""
    return min(0.8, min(values) * 0.9), max(4.0, min(max(values), FARTHEST) * 1.1)


def ticks(low: float, high: float) -> list[float]:
    steps = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
    return [value for value in steps if low <= value <= high]


def heading(results: list[dict[str, Any]], targets: list[str], first: str = "") -> Heading:
    result = results[0]
    versions = [first or f"{result['implementation']} {result['python']}"]
    versions += [f"uvloop {result['targets']['uvloop']['version']}"] if "uvloop" in targets else []
    versions += [
        result["system"].split()[0],
        f"{result['cpu_model']}, {result['cpu_count']} CPUs",
        result["date"][:10],
    ]
    parts = [
        text(24, 34, "How many times faster than asyncio", "title"),
        text(
            24, 55, "Longer is faster; logarithmic scale; 1x is asyncio. " + ", ".join(versions) + ".", "note"
        ),
    ]
    x, y = 24.0, 70
    for target in targets:
        title = next(about["targets"][target]["title"] for about in results if target in about["targets"])
        width = 46 + 7 * len(title)
        if x + width > WIDTH:
            x, y = 24.0, y + 20
        parts.append(
            f'<rect class="{target}" x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[target]}"/>'
        )
        parts.append(text(x + 18, y + 10.5, title))
        x += width
    return Heading(parts, y + 46)


def text(x: float, y: float, content: str, style: str = "", anchor: str = "start") -> str:
    attributes = f' class="{style}"' if style else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(content)}</text>'


def document(height: float, parts: list[str]) -> str:
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    background = '<rect class="card" width="100%" height="100%" rx="8"/>'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>Speed-up over asyncio</title>",
    ]
    return "\n".join([*lines, f"<style>{STYLE}</style>", background, *parts, "</svg>", ""])
