"""Run CPython's own asyncio tests on every supported Python, and print a table per Python and module.

    python3 tools/run_conformance.py [--write] [--enter ENTER] [--free-threaded PROGRAM] [--results FOLDER] [VERSION...]

Each Python gets a copy of the tree, with an environment of its own; 3.14 and 3.15, where they are not in PATH, run inside the
root of ENTER, as tools/test-on-newer has it, and 3.13t, without a GIL, is where "PROGRAM path" says. A test that fails, or passes although expected.toml lists it, ends the run with
status 1. --write puts the counts into docs/compatibility.md. With --results, counts that FOLDER has, as VERSION.json, are not
made again, so that a long run can be done in pieces; "python -m tests.conformance --json FILE" makes such a file, too.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from pythons import find_interpreter

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from benchmarks import document  # noqa: E402

DOCUMENT = ROOT / "docs" / "compatibility.md"
VERSIONS = ["3.11", "3.12", "3.13", "3.13t", "3.14", "3.15"]
INSIDE = ("3.14", "3.15")  # a root of their own
OUTCOMES = ["passed", "not applicable", "known difference", "skipped", "failed", "crashed"]
ON_OUR_LOOP = "passed on our loop"  # tests that made one; those that are bound make no other
WAYS = {
    "bound": "bound to the native types and the loop",
    "installed": "as it is, under `install()`",
    "patched": "as it is, under `patch()`",
}
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "build", "*.so", "__pycache__", ".pytest_cache")
CONFORMANCE = ["-m", "tests.conformance", "--json", "conformance.json"]


def run_here(interpreter: str, tree: pathlib.Path, options: list[str]) -> None:
    """Run on an interpreter of this machine."""
    subprocess.run([interpreter, "-m", "venv", tree / ".venv"], check=True)
    python = str(tree / ".venv" / "bin" / "python")
    environment = {**os.environ, "ASYNCIO_C_WERROR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # Newer ones have no wheel for it.
    older = ["hypothesis<6.150"] if interpreter.endswith("t") else []
    install = [python, "-m", "pip", "install", "-q", "-e", f"{tree}[test]", *older]
    subprocess.run(install, check=True, env=environment)
    subprocess.run([python, *CONFORMANCE, *options], cwd=tree)


def run_inside(enter: str, version: str, tree: pathlib.Path, options: list[str]) -> None:
    """Run inside the root of `enter`."""
    script = f'ASYNCIO_C_WERROR=1 python{version} setup.py -q build_ext --inplace; exec python{version} "$@"'
    command = [enter, "run", "-C", str(tree), "sh", "-euc", script, "sh", *CONFORMANCE, *options]
    subprocess.run(command)


def find_free_threaded(program: str) -> str | None:
    """Return the path of the interpreter that `program` has installed, or None if it has not."""
    path = subprocess.run([program, "path"], check=True, capture_output=True, text=True).stdout.strip()
    return path if os.access(path, os.X_OK) else None


def run_on(version: str, enter: str | None, free_threaded: str | None, options: list[str]) -> dict | None:
    """Run on one Python; return the counts, or None if it did not come so far."""
    interpreter = find_interpreter(version)
    if interpreter is None and version.endswith("t") and free_threaded is not None:
        interpreter = find_free_threaded(free_threaded)
    if interpreter is None and (enter is None or version not in INSIDE):
        print(f"Python {version}: not found")
        return None
    # Not in /tmp, of which a root has its own.
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="asyncio_c-conformance.") as folder:
        tree = pathlib.Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT, symlinks=True)
        print(f"\n=== Python {version}", flush=True)
        if interpreter is not None:
            run_here(interpreter, tree, options)
        else:
            run_inside(str(enter), version, tree, options)
        record = tree / "conformance.json"
        return json.loads(record.read_text()) if record.exists() else None


def sums(runs: list[dict], key: str) -> dict[str, collections.Counter[str]]:
    """Return the counts of each way, or of each module."""
    table: dict[str, collections.Counter[str]] = {}
    for run in runs:
        counts = {outcome: run.get(outcome, 0) for outcome in OUTCOMES}
        table.setdefault(run[key], collections.Counter()).update(counts)
    return table


def cell(counts: collections.Counter[str] | None) -> str:
    """Return what one module did on one Python."""
    if counts is None or not counts.total():
        return "–"
    more = [
        f"{counts[outcome]} {short}"
        for outcome, short in (
            ("not applicable", "n/a"),
            ("known difference", "differ"),
            ("failed", "FAILED"),
        )
        if counts[outcome]
    ]
    return ", ".join([f"{counts['passed']}/{counts.total()}", *more])


def report(results: dict[str, dict]) -> str:
    """Return both tables in Markdown."""
    lines = [f"Results of {datetime.date.today():%-d %B %Y}, by `make conformance`.", ""]
    lines += [
        f"| Python | test_asyncio is | run | {' | '.join(OUTCOMES[:4])} | {ON_OUR_LOOP} |",
        "|---" * 8 + "|",
    ]
    for result in results.values():
        ways = sums(result["runs"], "way")
        for way in filter(ways.get, WAYS):
            counts = ways[way]
            numbers = [counts.total(), *(counts[outcome] for outcome in OUTCOMES[:4])]
            ours = [run[ON_OUR_LOOP] for run in result["runs"] if run["way"] == way and ON_OUR_LOOP in run]
            numbers.append(sum(ours) if ours else "–")
            lines.append(f"| {result['python']} | {WAYS[way]} | " + " | ".join(map(str, numbers)) + " |")
    lines += [
        "",
        "By module, the three together, passed/run. What is skipped, CPython's own conditions skip.",
        "",
    ]
    lines += ["| module | " + " | ".join(result["python"] for result in results.values()) + " |"]
    lines += ["|---" * (len(results) + 1) + "|"]
    modules = [sums(result["runs"], "module") for result in results.values()]
    for name in sorted(set().union(*modules)):
        if any(table.get(name) for table in modules):
            lines.append(f"| {name} | " + " | ".join(cell(table.get(name)) for table in modules) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help=f"of {', '.join(VERSIONS)}; default: all"
    )
    parser.add_argument("--enter", help="the command that enters the root of the newer Pythons")
    parser.add_argument(
        "--free-threaded", help="a program that says with `path` where a Python without a GIL is"
    )
    parser.add_argument("--jobs", default="1", help="how many modules run at the same time")
    parser.add_argument("--results", type=pathlib.Path, help="a folder that keeps the counts of each Python")
    parser.add_argument("--write", action="store_true", help="write the counts into docs/compatibility.md")
    arguments = parser.parse_args()
    results, bad = {}, []
    for version in arguments.versions or VERSIONS:
        kept = arguments.results / f"{version}.json" if arguments.results else None
        if kept is not None and kept.exists():
            result = json.loads(kept.read_text())
        else:
            result = run_on(version, arguments.enter, arguments.free_threaded, ["--jobs", arguments.jobs])
        if result is not None:
            results[version] = result
            if kept is not None:
                kept.write_text(json.dumps(result))
        if result is None or any(run.get(outcome) for run in result["runs"] for outcome in OUTCOMES[4:]):
            bad.append(version)
    text = report(results)
    print(f"\n{text}")
    if arguments.write:
        document.replace(DOCUMENT, "conformance", text)
    if bad:
        print("failed, or not there:", *bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
