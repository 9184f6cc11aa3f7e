"""The command line: `python -m benchmarks core` measures, `python -m benchmarks show` prints a saved result again."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from . import chart, core, measure, report  # noqa: F401 (core fills OPERATIONS)
from .registry import OPERATIONS, Operation
from .targets import TITLES


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv`; return 0, or 1 if an operation failed or no target could be loaded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("core", help="tasks, futures, callbacks, timers, synchronisation")
    run.add_argument("--list", action="store_true", help="list the operations and leave")
    run.add_argument(
        "--only", metavar="PATTERN", help="regular expression that the name or title must contain"
    )
    run.add_argument("--rounds", type=int, metavar="N", help="samples of each operation (default 15)")
    run.add_argument(
        "--quick", action="store_true", help="3 short samples: to see that it works, not to compare"
    )
    run.add_argument("--targets", default=",".join(TITLES), metavar="A,B", help=f"of {','.join(TITLES)}")
    outputs(run)
    run.add_argument("--json", type=Path, metavar="PATH", help="write the result with all samples")

    show = commands.add_parser("show", help="print a result that --json wrote")
    show.add_argument("result", type=Path, metavar="RESULT.json")
    outputs(show)

    arguments = parser.parse_args(argv)
    if arguments.command == "show":
        result = json.loads(arguments.result.read_text())
        return finish(result, arguments.svg)
    if arguments.list:
        print(listing())
        return 0
    try:
        operations = select(arguments.only)
        targets = [name.strip() for name in arguments.targets.split(",") if name.strip()]
        unknown = [name for name in targets if name not in TITLES]
        if unknown or not targets:
            raise ValueError(f"unknown target {', '.join(unknown)!r}; there are {', '.join(TITLES)}")
        rounds = arguments.rounds if arguments.rounds is not None else 3 if arguments.quick else 15
        if rounds < 1:
            raise ValueError("--rounds must be at least 1")
    except ValueError as error:
        parser.error(str(error))
    show_progress = Progress()
    result = measure.run(
        operations,
        targets,
        rounds=rounds,
        sample_ms=5 if arguments.quick else 30,
        progress=show_progress.update,
        done=lambda entry: show_progress.line(report.progress_line(entry)),
    )
    show_progress.clear()
    result["summary"] = report.summary(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return finish(result, arguments.svg)


def outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--svg", type=Path, metavar="PATH", help="draw the speed-up over asyncio")


def finish(result: dict[str, Any], svg: Path | None) -> int:
    print(report.table(result))
    if svg:
        svg.write_text(chart.draw(result))
    return 1 if report.failures(result) or not report.usable_targets(result) else 0


def listing() -> str:
    width = max(map(len, OPERATIONS))
    return "\n".join(f"{op.name:{width}}  {op.group:9}  {op.description}" for op in OPERATIONS.values())


def select(pattern: str | None) -> list[Operation]:
    """Return the operations whose name or title contains the regular expression. Raises ValueError if none does."""
    try:
        wanted = re.compile(pattern or "", re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"--only is not a regular expression: {error}") from None
    chosen = [op for op in OPERATIONS.values() if wanted.search(op.name) or wanted.search(op.title)]
    if not chosen:
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
