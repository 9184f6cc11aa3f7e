"""From a network result to words: requests, ratios, latencies, CPU time, and whether the project's targets are met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import report
from ..report import OURS, Rows

RIVALS = ("asyncio", "uvloop", "aiofastnet", "floor")


@dataclass(frozen=True)
class Aim:
    """A target of the project: on these cases, ours is at least `wanted` times as good as `rival`.

    `key` names the samples that are compared, which are better the smaller they are.
    """

    words: str
    kind: str
    rival: str
    wanted: float
    key: str = "samples"
    size: int = 1024
    connections: tuple[int, ...] = (10, 100)

    def concerns(self, entry: dict[str, Any]) -> bool:
        found = (entry["group"], entry["size"])
        return found == (self.kind, self.size) and entry["connections"] in self.connections


AIMS = (
    Aim("requests", "protocol", "uvloop", 1.0),
    Aim("requests", "protocol", "floor", 0.85),
    Aim("1 / CPU per request", "protocol", "uvloop", 1.0, "cpu_samples"),
    Aim("requests", "streams", "uvloop", 1.1),
    Aim("requests", "sock", "uvloop", 4.0),
)


def summary(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each target of the project, case and mode that this result can judge."""
    rows = []
    for aim in AIMS:
        for entry in filter(aim.concerns, result["operations"]):
            for mode in OURS:
                ratios = report.round_ratios(entry, aim.rival, mode, aim.key)
                failed = "error" in entry["targets"].get(mode, {})
                if ratios or failed:
                    row = {"mode": mode, "case": entry["title"], "what": aim.words, "rival": aim.rival}
                    row["ratio"] = round(report.median(ratios), 3) if ratios else None
                    row |= {
                        "target": aim.wanted,
                        "verdict": "FAILED" if failed else report.judge(ratios, aim.wanted),
                    }
                    rows.append(row)
    return rows


def table(result: dict[str, Any]) -> str:
    """Return the whole report as text."""
    targets = report.usable_targets(result)
    pairs = [(mode, rival) for mode in OURS if mode in targets for rival in RIVALS if rival in targets]
    if not pairs and {"uvloop", "asyncio"} <= set(targets):
        pairs = [("uvloop", "asyncio")]
    lines = about_lines(result)
    lines += section(result, "requests per second", targets, rate)
    lines += section(result, "times as many requests per second", pairs, times)
    lines += section(result, "latency, p50 / p99 (µs)", targets, latency)
    lines += section(result, "the server's CPU time per request, user + system (µs)", targets, cpu)
    if result.get("processes", 1) > 1:
        lines += section(result, "requests per second of each process", targets, each_process)
    return "\n".join([*lines, "", *judgement(result)])


def section(
    result: dict[str, Any], title: str, columns: list[Any], cell: Callable[[dict[str, Any], Any], str]
) -> list[str]:
    """Return the lines of one table: a row a case, a column for each of `columns`, cells by `cell(entry, column)`."""
    if not columns:
        return []
    pairs = [column if isinstance(column, tuple) else (column, "") for column in columns]
    rows: Rows = [["", *(f"{ours} /" if rival else ours for ours, rival in pairs)]]
    if any(rival for _, rival in pairs):
        rows.append(["", *(rival for _, rival in pairs)])
    for entry in result["operations"]:
        rows.append(["  " + entry["title"], *(cell(entry, column) for column in columns)])
    return ["", title, *report.aligned(rows)]


def measured_or_text(entry: dict[str, Any], target: str) -> tuple[dict[str, Any], str]:
    """Return what was measured, and what to print instead if that is nothing."""
    measured = entry["targets"].get(target)
    return measured or {}, "-" if measured is None else "FAILED" if "error" in measured else ""


def rate(entry: dict[str, Any], target: str) -> str:
    measured, text = measured_or_text(entry, target)
    if text:
        return text
    spread = (measured["q3"] - measured["q1"]) / 2 / measured["median"] * 100
    return f"{report.number(1e9 / measured['median'])} ±{spread:.0f}%"


def each_process(entry: dict[str, Any], target: str) -> str:
    measured, text = measured_or_text(entry, target)
    return text or " ".join(report.number(1e9 / median) for median in measured["processes"])


def times(entry: dict[str, Any], pair: tuple[str, str]) -> str:
    ours, rival = pair
    value = report.ratio(entry, rival, ours)
    return f"{value:.2f}x" if value else "-"


def latency(entry: dict[str, Any], target: str) -> str:
    measured, text = measured_or_text(entry, target)
    return text or " / ".join(report.number(measured[key] / 1000) for key in ("p50_ns", "p99_ns"))


def cpu(entry: dict[str, Any], target: str) -> str:
    measured, text = measured_or_text(entry, target)
    return text or " + ".join(f"{measured[key] / 1000:.1f}" for key in ("user_ns", "system_ns"))


def progress_line(entry: dict[str, Any]) -> str:
    cells = ", ".join(f"{target} {rate(entry, target)}" for target in entry["targets"])
    return f"{entry['title']} (requests/s): {cells}"


def about_lines(result: dict[str, Any]) -> list[str]:
    servers, load = (", ".join(map(str, cpus)) for cpus in result["cpus"])
    lines = [
        *report.machine_lines(result),
        f"median of {result['rounds']} interleaved windows of {result['sample_ms']} ms, ± half of q3 - q1",
        f"servers on CPU {servers}, load on CPU {load}; HTTP is loaded by {result['http_load']}",
        f"{result.get('processes', 1)} process(es) of each target but the floor, of which the fastest counts",
        "one request at a time on each connection; every byte of an echo is checked",
        "a / b: how many times as many requests per second a answers, median of the rounds",
    ]
    for about in result["targets"].values():
        name = " ".join(filter(None, (about["title"], about.get("version"))))
        lines.append(
            f"{name}: left out, {about['error']}" if "error" in about else f"{name}: {about['loop']}"
        )
    return lines + [f"left out: {left['title']}: {left['reason']}" for left in result["left_out"]]


def judgement(result: dict[str, Any]) -> list[str]:
    """Return a line for each target of the project that this result can judge, and for each failure."""
    lines = []
    for row in summary(result):
        value = f"{row['ratio']:.2f}x" if row["ratio"] else "-"
        lines.append(
            f"{row['mode']}: {row['case']}: {row['what']} {value} {row['rival']}"
            f" (target {row['target']:g}x: {row['verdict']})"
        )
    if not lines:
        lines.append(
            "No target of the project is judged: that needs their cases, asyncio_c, and uvloop or the floor."
        )
    return lines + [f"FAILED: {text}" for text in report.failures(result)]
