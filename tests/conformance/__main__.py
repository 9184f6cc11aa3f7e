"""Runs the conformance suite module by module and prints a table; a crash or a hang costs one test, not the run."""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
COLUMNS = ("passed", "not applicable", "known difference", "skipped", "failed", "crashed")


def run(file: pathlib.Path, hang: float) -> tuple[dict[str, str], collections.Counter[str], str]:
    """Run one test file in a process of its own.

    Return the outcome of each test by id, its time in seconds by id, and what pytest printed.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-warnings"]
    command += ["-o", f"faulthandler_timeout={hang}", "-o", "faulthandler_exit_on_timeout=true", str(file)]
    outcomes: dict[str, str] = {}
    seconds: collections.Counter[str] = collections.Counter()
    printed = ""
    with tempfile.TemporaryDirectory() as folder:
        record = pathlib.Path(folder, "record")
        # What was started is not started again: a process that died is followed by one for the rest.
        while True:
            record.touch()
            size = record.stat().st_size
            process = subprocess.run(
                command,
                env={**os.environ, "ASYNCIO_C_CONFORMANCE_RECORD": str(record)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            printed += process.stdout
            lines = [json.loads(line) for line in record.read_text().splitlines()]
            if record.stat().st_size == size or "finished" in lines[-1]:
                break
    for line in lines:
        if "start" in line:
            outcomes[line["start"]] = "crashed"
        elif "done" in line:
            seconds[line["done"]] += line["seconds"]
            # A test has several outcomes if its teardown fails as well.
            if outcomes.get(line["done"]) != "failed":
                outcomes[line["done"]] = line["outcome"]
    return outcomes, seconds, printed


def main() -> int:
    """Print the table; return 1 if a test failed or crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as test_tasks; all of them if none is given")
    parser.add_argument("--bindings", action="store_true", help="a row for each binding of each module")
    parser.add_argument("--hang", type=float, default=60, help="seconds after which a test counts as crashed")
    parser.add_argument(
        "--verbose", action="store_true", help="print pytest's output for modules with failures"
    )
    options = parser.parse_args()

    files = [path for path in sorted(HERE.glob("test_*.py")) if path.stem != "test_harness"]
    if options.modules:
        files = [path for path in files if path.stem in options.modules]
    total: collections.Counter[str] = collections.Counter()
    total_seconds = 0.0
    bad: list[str] = []
    print(f"{'':32}{'run':>8}", *(f"{column:>16}" for column in COLUMNS), f"{'seconds':>8}")
    for file in files:
        outcomes, seconds, output = run(file, options.hang)
        rows: dict[str, collections.Counter[str]] = {}
        times: collections.Counter[str] = collections.Counter()
        for test_id, outcome in outcomes.items():
            binding = test_id.split("::")[1].partition(".")[2]
            row = f"{file.stem} {binding}" if options.bindings else file.stem
            rows.setdefault(row, collections.Counter())[outcome] += 1
            total[outcome] += 1
            times[row] += seconds[test_id]
            total_seconds += seconds[test_id]
        if not outcomes and "no tests ran" not in output:
            total["failed"] += 1
            bad.append(f"failed   {file.stem}: {output[-2000:]}")
        for row, counts in rows.items():
            print_row(row, counts, times[row])
        broken = sorted(
            (test_id, outcome) for test_id, outcome in outcomes.items() if outcome in COLUMNS[-2:]
        )
        bad += [f"{outcome:8} {test_id}" for test_id, outcome in broken]
        if broken and options.verbose:
            print(output)
    print_row("total", total, total_seconds)
    print(*bad, sep="\n", end="\n" if bad else "")
    return 1 if bad else 0


def print_row(name: str, counts: collections.Counter[str], seconds: float) -> None:
    """Print one line of the table."""
    print(
        f"{name:32}{sum(counts.values()):8}",
        *(f"{counts[column] or '':>16}" for column in COLUMNS),
        f"{seconds:8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
