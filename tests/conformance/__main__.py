"""Runs the conformance suite module by module and prints a table; a crash or a hang costs one test, not the run.

Each module of CPython's suite is run in three ways: bound to the native types by the test file of that name here
("bound"), and as it is, whole, in a process where every new loop is ours, by install() and by patch() ("installed",
"patched"); see whole.py.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from tests.unit import support

from . import whole

HERE = pathlib.Path(__file__).parent
OUTCOMES = ("passed", "not applicable", "known difference", "skipped", "failed", "crashed")
BAD = ("failed", "crashed")
WAYS = ("bound", *whole.LEVELS)
# Test files that are about the harness, not about a module of the suite.
OWN = ("test_harness", "test_peers", "test_whole")


def command(way: str, module: str, hang: float) -> list[str]:
    """Return the command that runs a module in one way, and ends itself when a test hangs for so many seconds."""
    if way != "bound":
        return [sys.executable, "-m", "tests.conformance.whole", f"--hang={hang}", way, module]
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-warnings"]
    pytest += ["-o", f"faulthandler_timeout={hang}", "-o", "faulthandler_exit_on_timeout=true"]
    return [*pytest, str(HERE / f"{module}.py")]


@dataclasses.dataclass
class Run:
    """What became of a module: by the id of each test its outcome and its time; those on a loop of ours; what was printed."""

    outcomes: dict[str, str]
    seconds: dict[str, float]
    on_our_loop: set[str]
    printed: str = ""


def run(way: str, module: str, hang: float) -> Run:
    """Run a module in processes of its own."""
    printed = ""
    with tempfile.TemporaryDirectory() as folder:
        record = pathlib.Path(folder, "record")
        # What was started is not started again: a process that died is followed by one for the rest.
        while True:
            record.touch()
            size = record.stat().st_size
            process = subprocess.run(
                command(way, module, hang),
                env={**os.environ, "ASYNCIO_C_CONFORMANCE_RECORD": str(record)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            printed += process.stdout
            lines = [json.loads(line) for line in record.read_text().splitlines()]
            if record.stat().st_size == size or "finished" in lines[-1]:
                break
    result = read(lines)
    result.printed = printed
    # pytest has its statuses, of which 0, 1 and 5 (there is no such test) are of runs that came to their end.
    unfinished = way == "bound" and process.returncode not in (0, 1, 5)
    if unfinished or "finished" not in (lines[-1] if lines else {}):
        result.outcomes[f"{module}@{way}: the run itself"] = "failed"
    return result


def read(lines: list[dict[str, Any]]) -> Run:
    """Return what a record says."""
    result = Run({}, collections.defaultdict(float), set())
    for line in lines:
        if "start" in line:
            result.outcomes[line["start"]] = "crashed"
        elif "done" in line:
            result.seconds[line["done"]] += line["seconds"]
            if line.get("loops"):
                result.on_our_loop.add(line["done"])
            # A test has several outcomes if its teardown fails as well.
            if result.outcomes.get(line["done"]) != "failed":
                result.outcomes[line["done"]] = line["outcome"]
    return result


def bound_modules() -> list[str]:
    """Return the modules that have a test file here."""
    return [path.stem for path in sorted(HERE.glob("test_*.py")) if path.stem not in OWN]


def plan(modules: list[str], ways: list[str]) -> list[tuple[str, str]]:
    """Return the runs to make: way and module."""
    pairs = [("bound", module) for module in bound_modules()]
    pairs += [(level, module) for module in whole.modules() for level in whole.LEVELS]
    chosen = [(way, module) for way, module in pairs if way in ways and (not modules or module in modules)]
    return sorted(chosen, key=lambda pair: (pair[1], WAYS.index(pair[0])))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as test_tasks; all of them if none is given")
    parser.add_argument("--way", action="append", choices=WAYS, help="one way only; may be given again")
    parser.add_argument("--bindings", action="store_true", help="a row for each binding of each module")
    parser.add_argument("--jobs", type=int, default=1, help="how many modules run at the same time")
    parser.add_argument(
        "--hang", type=float, default=120, help="seconds after which a test counts as crashed"
    )
    parser.add_argument("--json", type=pathlib.Path, help="a file for the counts, see report.py")
    parser.add_argument("--verbose", action="store_true", help="print the output of runs with failures")
    return parser.parse_args()


def main() -> int:
    """Print the table; return 1 if a test failed or crashed."""
    options = arguments()
    pairs = plan(options.modules, options.way or list(WAYS))
    total: collections.Counter[str] = collections.Counter()
    bad: list[str] = []
    counted = []
    print(f"{'':40}{'run':>8}", *(f"{outcome:>16}" for outcome in OUTCOMES), f"{'seconds':>8}")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as executor:
        runs = executor.map(lambda pair: run(*pair, options.hang), pairs)
        for (way, module), result in zip(pairs, runs, strict=True):
            outcomes = result.outcomes
            rows: dict[str, list[str]] = {}
            for test_id in outcomes:
                class_name = test_id.partition("::")[2].partition("::")[0]
                binding = class_name.rpartition(".")[2] if options.bindings and way == "bound" else way
                rows.setdefault(f"{module} {binding}", []).append(test_id)
            for row, test_ids in rows.items():
                counts = collections.Counter(outcomes[test_id] for test_id in test_ids)
                print_row(row, counts, sum(result.seconds[test_id] for test_id in test_ids))
            counts = collections.Counter(outcomes.values())
            total += counts
            counted.append({"module": module, "way": way, **counts})
            if way != "bound":  # whose tests may make no other loops
                on_our_loop = [t for t in result.on_our_loop if outcomes[t] == "passed"]
                counted[-1]["passed on our loop"] = len(on_our_loop)
            broken = sorted(test_id for test_id, outcome in outcomes.items() if outcome in BAD)
            bad += [f"{outcomes[test_id]:8} {test_id}" for test_id in broken]
            if broken and options.verbose:
                print(result.printed)
    print_row("total", total, 0)
    print(*bad, sep="\n", end="\n" if bad else "")
    if options.json:
        python = sys.version.split()[0] + "t" * support.FREE_THREADED
        options.json.write_text(json.dumps({"python": python, "runs": counted}))
    return 1 if bad else 0


def print_row(name: str, counts: collections.Counter[str], seconds: float) -> None:
    """Print one line of the table."""
    print(
        f"{name:40}{sum(counts.values()):8}",
        *(f"{counts[outcome] or '':>16}" for outcome in OUTCOMES),
        f"{seconds or '':8.1f}" if seconds else "",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
