"""`python -m benchmarks.instructions`: how many instructions an operation takes, counted by valgrind's callgrind.

A count is the same on a busy machine as on an idle one, so it shows what a change does long before a time would; what it
does not know is what a miss of the cache costs, which `--cache` counts beside it. `--keep FOLDER` leaves a profile of each
operation there, for callgrind_annotate. Needs valgrind with its headers, and a C compiler.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from . import core  # noqa: F401 (fills OPERATIONS)
from .child import ROOT
from .registry import OPERATIONS, Operation
from .targets import CORE_TARGETS, PEERS, Target, load

SOURCE = Path(__file__).with_name("marks.c")
OPERATIONS_EACH = 4000  # of each operation are counted, or as many as one iteration has
# The first two levels of a small server's cache: what misses both waits.
CACHE = ("--cache-sim=yes", "--D1=32768,8,64", "--I1=32768,8,64", "--LL=1048576,8,64")


def iterations(operation: Operation) -> int:
    return max(1, OPERATIONS_EACH // operation.per)


# ---- In the process that valgrind runs ----


async def counted_on_loop(operation: Operation, marks: ctypes.CDLL) -> None:
    n = iterations(operation)
    await operation.function(1)
    marks.begin()
    result = await operation.function(n)
    marks.end(operation.name.encode())
    if result != operation.expect(n):
        raise RuntimeError(f"{operation.name} returned a wrong result")


def run_counted(target: Target, names: list[str], marks: ctypes.CDLL) -> None:
    for name in names:
        with asyncio.Runner(loop_factory=target.new_loop) as runner:
            runner.run(counted_on_loop(OPERATIONS[name], marks))


# ---- In the process that asks ----


def counts(profile: Path) -> tuple[str, dict[str, int]]:
    """Return the operation of a profile, and the totals of its events by their names."""
    text = profile.read_text()
    name = re.search(r"^desc: Trigger: Client Request: (\w+)$", text, re.MULTILINE)
    events = re.search(r"^events: (.+)$", text, re.MULTILINE)
    totals = re.search(r"^totals: (.+)$", text, re.MULTILINE)
    if not (name and events and totals):
        return "", {}
    return name[1], dict(zip(events[1].split(), map(int, totals[1].split()), strict=False))


def count(
    target: str, names: list[str], folder: Path, library: Path, cache: bool
) -> dict[str, dict[str, int]]:
    """Return what each operation takes on the target, {operation: {event: how many}}."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={folder}/{target}",
        *(CACHE if cache else ()),
    ]
    command += [sys.executable, "-m", "benchmarks.instructions", "--counted", str(library), target, *names]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{target}: {done.stderr}")
    found = dict(counts(profile) for profile in folder.glob(f"{target}.*"))
    return {name: found[name] for name in names}


def table(operations: list[Operation], results: dict[str, dict[str, dict[str, int]]]) -> str:
    targets = list(results)
    lines = [f"{'':32}" + "".join(f"{target:>12}" for target in targets)]
    for operation in operations:
        calls = operation.per * iterations(operation)
        cells = [results[target][operation.name] for target in targets]
        lines.append(f"{operation.title:32}" + "".join(f"{cell['Ir'] / calls:12,.0f}" for cell in cells))
        if "DLmr" in cells[0]:
            for title, events in (("first level", ("D1mr", "D1mw")), ("second level", ("DLmr", "DLmw"))):
                misses = [sum(cell[event] for event in events) / calls for cell in cells]
                lines.append(
                    f"{'  misses of the ' + title:32}" + "".join(f"{number:12.2f}" for number in misses)
                )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="regular expression for names or titles"
    )
    default = ",".join(
        name for name in CORE_TARGETS if name not in PEERS
    )  # not all of them run under valgrind
    parser.add_argument("--targets", default=default, metavar="A,B")
    parser.add_argument(
        "--cache", action="store_true", help="count misses of the cache, too, which takes longer"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the profiles there")
    parser.add_argument("--counted", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.counted:
        library, target, *names = arguments.counted
        run_counted(load(target), names, ctypes.CDLL(library))
        return
    wanted = re.compile(arguments.only, re.IGNORECASE)
    chosen = [
        operation
        for operation in OPERATIONS.values()
        if operation.on_loop
        and not operation.alone
        and (wanted.search(operation.name) or wanted.search(operation.title))
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        library = Path(temporary) / "marks.so"
        command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", library, SOURCE]
        subprocess.run(command, check=True)
        names = [operation.name for operation in chosen]
        results = {
            target: count(target, names, folder, library, arguments.cache)
            for target in arguments.targets.split(",")
        }
    print(table(chosen, results))


if __name__ == "__main__":
    main()
