"""The command line: `python -m benchmarks core` and `net` measure, `show` prints a saved result again, `summary` draws several,
`standings` makes tables of them."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import chart, core, document, measure, report, standings, threads  # noqa: F401 (core fills OPERATIONS)
from .child import SampleFailed
from .net import cases as net_cases
from .net import report as net_report
from .net import run as net_run
from .registry import OPERATIONS
from .targets import CORE_TARGETS, NET_TARGETS, installed


@dataclass(frozen=True)
class Suite:
    """One set of benchmarks: what it measures by name, on which targets, how, and the module that reports it."""

    help: str
    items: dict[str, Any]
    targets: tuple[str, ...]
    run: Callable[..., dict[str, Any]]
    report: Any
    rounds: int
    sample_ms: int
    quick_ms: int


SUITES = {
    "core": Suite(
        "tasks, futures, callbacks, timers, synchronisation",
        OPERATIONS,
        CORE_TARGETS,
        measure.run,
        report,
        rounds=15,
        sample_ms=30,
        quick_ms=5,
    ),
    "net": Suite(
        "servers under load: echo, datagrams, HTTP",
        net_cases.CASES,
        NET_TARGETS,
        net_run.run,
        net_report,
        rounds=5,
        sample_ms=500,
        quick_ms=30,
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv`; return 0, or 1 if an operation failed or no target could be loaded."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("threads", help="a loop in each of several threads", add_help=False)
    if argv[:1] == ["threads"]:
        return threads.main(argv[1:])
    for name, suite in SUITES.items():
        options = commands.add_parser(name, help=suite.help)
        add_suite(options, suite)
        if name == "net":
            text = "servers of each target, the fastest of which counts (default 1)"
            options.add_argument("--processes", type=int, default=1, metavar="N", help=text)
    show = commands.add_parser("show", help="print a result that --json wrote")
    show.add_argument("result", type=Path, metavar="RESULT.json")
    add_only(show)
    show.add_argument("--targets", metavar="A,B", help="default: all that have a result")
    outputs(show)
    summary = commands.add_parser(
        "summary", help="draw the means of results of the core, one for each Python"
    )
    summary.add_argument("results", type=Path, nargs="+", metavar="RESULT.json")
    summary.add_argument("--svg", type=Path, required=True, metavar="PATH", help="where to draw them")
    names = ",".join(chart.SUMMARY_TARGETS)
    summary.add_argument(
        "--targets", default=names, metavar="A,B", help=f"default: {names}; all that have a result: all"
    )
    table = commands.add_parser(
        "standings", help="print all targets of results beside each other, as Markdown"
    )
    table.add_argument("results", type=Path, nargs="+", metavar="RESULT.json", help="of core, net and idle")
    table.add_argument(
        "--write", type=Path, metavar="FILE.md", help="put them into a document, at `standings`"
    )

    arguments = parser.parse_args(argv)
    if arguments.command == "summary":
        results = [json.loads(path.read_text()) for path in arguments.results]
        targets = None if arguments.targets == "all" else tuple(arguments.targets.split(","))
        arguments.svg.write_text(chart.draw_summary(results, targets))
        return 0
    if arguments.command == "standings":
        try:
            tables = standings.standings([json.loads(path.read_text()) for path in arguments.results])
            if arguments.write:
                document.replace(arguments.write, "standings", tables)
        except ValueError as error:
            parser.error(str(error))
        print(tables, end="")
        return 0
    if arguments.command == "show":
        result = json.loads(arguments.result.read_text())
        try:
            result["operations"] = select(arguments.only, result["operations"], dict.__getitem__)
            if arguments.targets:
                result = only_targets(result, arguments.targets.split(","))
        except ValueError as error:
            parser.error(str(error))
        return finish(result, arguments.svg)
    suite = SUITES[arguments.command]
    if arguments.list:
        print(listing(suite.items))
        return 0
    try:
        items = select(arguments.only, suite.items.values(), getattr)
        targets = [name.strip() for name in arguments.targets.split(",") if name.strip()]
        unknown = [name for name in targets if name not in suite.targets]
        if unknown or not targets:
            raise ValueError(f"unknown target {', '.join(unknown)!r}; there are {', '.join(suite.targets)}")
        rounds = arguments.rounds if arguments.rounds is not None else 3 if arguments.quick else suite.rounds
        if rounds < 1 or getattr(arguments, "processes", 1) < 1:
            raise ValueError("--rounds and --processes must be at least 1")
    except ValueError as error:
        parser.error(str(error))
    show_progress = Progress()
    try:
        result = suite.run(
            items,
            targets,
            rounds=rounds,
            sample_ms=suite.quick_ms if arguments.quick else suite.sample_ms,
            progress=show_progress.update,
            done=lambda entry: show_progress.line(suite.report.progress_line(entry)),
            **({"processes": arguments.processes} if suite is SUITES["net"] else {}),
        )
    except SampleFailed as failure:
        show_progress.line(f"nothing can be measured: {failure}")
        return 1
    show_progress.clear()
    result["summary"] = suite.report.summary(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return finish(result, arguments.svg)


def only_targets(result: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the result of these targets. Raises ValueError if it has not all of them."""
    if unknown := [name for name in names if name not in result["targets"]]:
        raise ValueError(f"no result of {', '.join(unknown)}; there are {', '.join(result['targets'])}")

    def chosen(targets: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in targets.items() if name in names}

    operations = [{**entry, "targets": chosen(entry["targets"])} for entry in result["operations"]]
    return {**result, "targets": chosen(result["targets"]), "operations": operations}


def add_suite(parser: argparse.ArgumentParser, suite: Suite) -> None:
    parser.add_argument("--list", action="store_true", help="list what is measured and leave")
    add_only(parser)
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"samples of each operation (default {suite.rounds})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="3 short samples: to see that it works, not to compare"
    )
    text = f"of {','.join(suite.targets)}; default: all of them, but of other loops only what is installed"
    parser.add_argument("--targets", default=",".join(installed(suite.targets)), metavar="A,B", help=text)
    outputs(parser)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the result with all samples")


def add_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", metavar="PATTERN", help="regular expression that the name or title must contain"
    )


def outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--svg", type=Path, metavar="PATH", help="draw the speed-up over asyncio")


def finish(result: dict[str, Any], svg: Path | None) -> int:
    print(SUITES[result.get("suite", "core")].report.table(result))
    if svg:
        svg.write_text(chart.draw(result))
    return 1 if report.failures(result) or not report.usable_targets(result) else 0


def listing(items: dict[str, Any]) -> str:
    """Return a line for each operation or case: name, group, description."""
    rows = [(name, getattr(item, "group", ""), item.description) for name, item in items.items()]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return "\n".join(f"{name:{widths[0]}}  {group:{widths[1]}}  {text}" for name, group, text in rows)


def select(pattern: str | None, items: Iterable[Any], get: Callable[[Any, str], str]) -> list[Any]:
    """Return the items whose "name" or "title", by `get`, contains the regular expression.

    Raises ValueError if none does.
    """
    try:
        wanted = re.compile(pattern or "", re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"--only is not a regular expression: {error}") from None
    items = list(items)
    chosen = [item for item in items if wanted.search(get(item, "name")) or wanted.search(get(item, "title"))]
    if pattern and not chosen:
        raise ValueError(f"no operation matches {pattern!r}; see --list")
    return chosen


class Progress:
    """Progress on stderr: one line that is rewritten on a terminal, a line per operation elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()

    def update(self, text: str) -> None:
        if self.terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        self.update("")

    def line(self, text: str) -> None:
        self.clear()
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
