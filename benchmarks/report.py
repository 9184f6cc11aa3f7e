"""From a result to words: the table, the ratios, the geometric means, and whether the project's targets are met."""

from __future__ import annotations

import math
import statistics
from typing import Any

from .registry import GROUP_TITLES, GROWTH, LIFECYCLE, MEMORY, NATIVE, OTHER

OURS = ("patched", "loop-only")

# The least ratio to a rival that each operation must reach: {mode: {group: (rival, ratio)}}.
EACH = {
    "patched": {
        NATIVE: ("uvloop", 2.0),
        OTHER: ("uvloop", 1.0),
        LIFECYCLE: ("asyncio", 1.0),
        MEMORY: ("asyncio", 1 / 0.7),
        GROWTH: ("asyncio", 1.0),
    },
    "loop-only": {
        NATIVE: ("uvloop", 1.0),
        OTHER: ("uvloop", 1.0),
        LIFECYCLE: ("asyncio", 1.0),
        MEMORY: ("asyncio", 1 / 0.7),
        GROWTH: ("asyncio", 1.0),
    },
}

# The geometric means that must be reached: (mode, words, groups, ratio to uvloop).
MEANS = (
    ("patched", "native operations", (NATIVE,), 5.0),
    ("patched", "core operations", (NATIVE, OTHER), 3.0),
    ("loop-only", "core operations", (NATIVE, OTHER), 2.5),
)


Rows = list[list[str] | str]  # the cells of a row, or the title of those below it


def groups(result: dict[str, Any]) -> dict[str, str]:
    """Return the titles of the groups of a result by their names, in the order of the report."""
    return result.get("groups", GROUP_TITLES)


def round_ratios(entry: dict[str, Any], rival: str, mode: str, key: str = "samples") -> list[float]:
    """Return `rival`/`mode` of each round, of the samples under `key`; empty where either has no result.

    The samples of one round are taken within a moment, so that their ratio hardly knows how busy the machine was.
    """
    theirs, ours = (entry["targets"].get(name, {}).get(key, []) for name in (rival, mode))
    return [their / our for their, our in zip(theirs, ours, strict=False) if our > 0]


def ratio(entry: dict[str, Any], rival: str, mode: str) -> float | None:
    """Return how many times less `mode` needs than `rival` (the median of the rounds), or None."""
    ratios = round_ratios(entry, rival, mode)
    return median(ratios) if ratios else None


def median(values: list[float]) -> float:
    return statistics.median(values)


def geometric_mean(values: list[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def mean_ratio(
    result: dict[str, Any], rival: str, mode: str, groups: tuple[str, ...]
) -> tuple[float | None, int]:
    """Return the geometric mean of `rival`/`mode` over the operations in `groups`, and over how many it is."""
    return mean_over([entry for entry in result["operations"] if entry["group"] in groups], rival, mode)


def mean_over(entries: list[dict[str, Any]], rival: str, mode: str) -> tuple[float | None, int]:
    """Return the geometric mean of `rival`/`mode` over these entries, and over how many of them it is."""
    ratios = [ratio(entry, rival, mode) for entry in entries]
    known = [value for value in ratios if value]
    return (geometric_mean(known) if known else None), len(known)


def verdict(entry: dict[str, Any], mode: str) -> str:
    """Say whether an operation reaches its target in `mode`: as `judge` does, "FAILED" (no correct result), or "" where it
    has none or cannot be judged."""
    if "error" in entry["targets"].get(mode, {}):
        return "FAILED"
    if entry["group"] not in EACH[mode]:
        return ""
    rival, wanted = EACH[mode][entry["group"]]
    ratios = round_ratios(entry, rival, mode)
    return judge(ratios, wanted) if ratios else ""


def judge(ratios: list[float], wanted: float) -> str:
    """Say whether the ratios of the rounds reach a target: "met", "MISSED", or "noise" (missed by their median, but reached
    by a quarter of them)."""
    if median(ratios) >= wanted:
        return "met"
    reached = sum(value >= wanted for value in ratios)
    return "noise" if reached * 4 >= len(ratios) else "MISSED"


def summary(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the geometric means with their targets, as rows for the JSON file and the report.

    An operation that failed is not in the mean, and no target is met then.
    """
    rows = []
    for mode, words, groups, wanted in MEANS:
        value, count = mean_ratio(result, "uvloop", mode, groups)
        if value is not None:
            failed = any(
                "error" in entry["targets"].get(mode, {})
                for entry in result["operations"]
                if entry["group"] in groups
            )
            met = value >= wanted and not failed
            rows.append({"mode": mode, "over": words, "operations": count, "rival": "uvloop"})
            rows[-1] |= {"geometric_mean": round(value, 3), "target": wanted, "met": met}
    return rows


def failures(result: dict[str, Any]) -> list[str]:
    """Return a sentence for each operation that did not work on a target."""
    return [
        f"{entry['title']} on {target}: {measured['error']}"
        for entry in result["operations"]
        for target, measured in entry["targets"].items()
        if "error" in measured
    ]


def growth_lines(result: dict[str, Any]) -> list[str]:
    """Return what many cost each, as a multiple of what few do: of each two operations of that group that follow each other."""
    entries = [
        entry["targets"] | {"": entry["title"]} for entry in result["operations"] if entry["group"] == GROWTH
    ]
    lines = []
    for few, many in zip(entries[::2], entries[1::2]):
        both = [
            name
            for name in usable_targets(result)
            if "median" in few.get(name, {}) and "median" in many.get(name, {})
        ]
        cells = [f"{name} {many[name]['median'] / few[name]['median']:.2f}x" for name in both]
        lines.append(f"{many['']}, each to each of {few['']}: {', '.join(cells)}")
    return lines


def usable_targets(result: dict[str, Any]) -> list[str]:
    return [name for name, about in result["targets"].items() if "error" not in about]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def cell(measured: dict[str, Any] | None) -> str:
    """Return the median and, as a percentage of it, half the distance of the quartiles."""
    if measured is None:
        return "-"
    if "error" in measured:
        return "FAILED"
    spread = (measured["q3"] - measured["q1"]) / 2 / measured["median"] * 100 if measured["median"] else 0.0
    return f"{number(measured['median'])} ±{spread:.0f}%"


def progress_line(entry: dict[str, Any]) -> str:
    cells = ", ".join(f"{name} {cell(measured)}" for name, measured in entry["targets"].items())
    return f"{entry['title']} ({entry['unit']}): {cells}"


def table(result: dict[str, Any]) -> str:
    """Return the whole report as text."""
    targets = usable_targets(result)
    ours = [mode for mode in OURS if mode in targets]
    pairs = [(rival, mode) for mode in ours for rival in ("uvloop", "asyncio") if rival in targets]
    if not ours and {"uvloop", "asyncio"} <= set(targets):
        pairs = [("asyncio", "uvloop")]
    columns = [(target, "") for target in targets]
    columns += [(f"{rival} /", mode) for rival, mode in pairs] + [("target", mode) for mode in ours]
    rows: Rows = [["", *(top for top, _ in columns)], ["", *(below for _, below in columns)]]
    for group, title in GROUP_TITLES.items():
        entries = [entry for entry in result["operations"] if entry["group"] == group]
        if not entries:
            continue
        unit = "bytes per task" if group == MEMORY else "ns per operation"
        rows.append(f"{title} ({unit})")
        for entry in entries:
            cells = [cell(entry["targets"].get(target)) for target in targets]
            ratios = [f"{value:.2f}x" if (value := ratio(entry, *pair)) else "-" for pair in pairs]
            verdicts = [verdict(entry, mode) for mode in ours]
            rows.append(["  " + entry["title"], *cells, *ratios, *verdicts])
    if pairs:
        rows.append("geometric means")
        for title, groups in (("native", (NATIVE,)), ("native and on top of them", (NATIVE, OTHER))):
            means = [mean_ratio(result, *pair, groups) for pair in pairs]
            if any(value for value, _ in means):
                cells = [f"{value:.2f}x" if value else "-" for value, _ in means]
                rows.append(["  " + title, *[""] * len(targets), *cells, *[""] * len(ours)])
    lines = [*about_lines(result), "", *aligned(rows), "", *growth_lines(result), *judgement(result)]
    return "\n".join(lines)


def aligned(rows: Rows) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if isinstance(row, list)))]
    lines = []
    for row in rows:
        if isinstance(row, str):
            lines += ["", row]
        else:
            first, *rest = (
                text.ljust(width) if i == 0 else text.rjust(width)
                for i, (text, width) in enumerate(zip(row, widths))
            )
            lines.append("  ".join([first, *rest]).rstrip())
    return lines


def machine_lines(result: dict[str, Any]) -> list[str]:
    return [
        f"{result['implementation']} {result['python']}, {result['compiler']}, {result['system']}",
        f"{result['cpu_model']}, {result['cpu_count']} CPUs, {result['date']}",
    ]


def about_lines(result: dict[str, Any]) -> list[str]:
    lines = [
        *machine_lines(result),
        f"median of {result['rounds']} interleaved samples of about {result['sample_ms']:g} ms, ± half of q3 - q1",
        f"garbage collection: {result['gc']}",
        "a / b: how many times as long a takes as b, median of the rounds; target: whether the mode reaches the project's target",
    ]
    for about in result["targets"].values():
        name = " ".join(filter(None, (about["title"], about.get("version"))))
        if "error" in about:
            lines.append(f"{name}: left out, {about['error']}")
        else:
            lines.append(f"{name}: loop {about['loop']}, task {about['task']}, sleep of {about['sleep']}")
    return lines


def judgement(result: dict[str, Any]) -> list[str]:
    """Return a line for each target of the project that this result can judge."""
    lines = []
    for row in summary(result):
        lines.append(
            f"{row['mode']}, geometric mean over {row['operations']} {row['over']}: {row['geometric_mean']:.2f}x"
            f" {row['rival']} (target {row['target']:g}x: {'met' if row['met'] else 'MISSED'})"
        )
    for mode in OURS:
        for group, (rival, wanted) in EACH[mode].items():
            judged = [
                (ratio(entry, rival, mode), entry)
                for entry in result["operations"]
                if entry["group"] == group
            ]
            judged = [(value, entry) for value, entry in judged if value]
            if judged:
                value, entry = min(judged, key=lambda pair: pair[0])
                lines.append(
                    f"{mode}, least of {len(judged)} {group}: {entry['title']} {value:.2f}x {rival}"
                    f" (target {wanted:.3g}x each: {verdict(entry, mode)})"
                )
    if not lines:
        lines.append("No target of the project is judged: that needs asyncio, uvloop and asyncio_c.")
    lines += [f"FAILED: {text}" for text in failures(result)]
    return lines
